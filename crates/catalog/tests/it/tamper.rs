//! Every row and every column of what the trail is made of, edited behind our back: found, and named.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use ringfence_catalog::{Catalog, Problem, TrailVerdict};
use ringfence_schema::{Digest, trail::Entry};
use ringfence_trust::{
    checkpoint::{self, Checkpoint},
    merkle::{Frontier, leaf_hash},
};
use rusqlite::{Connection, params};

use crate::world::{draft, log_key, sample, signer, vault, verify};

const SIZE: u64 = 14;
/// Sizes of the checkpoints of the sample.
const CHECKPOINTS: [u64; 8] = [1, 2, 3, 4, 9, 10, 13, 14];

struct Bench {
    dir: tempfile::TempDir,
    original: Vec<u8>,
    held: Checkpoint,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.db");
        let held = sample(&path);
        Self { original: fs::read(&path).unwrap(), dir, held }
    }

    fn copy(&self) -> PathBuf {
        let path = self.dir.path().join("copy.db");
        fs::write(&path, &self.original).unwrap();
        path
    }

    /// The verdict on a copy on which `tamper` was carried out, given the checkpoint that the user holds.
    fn after(&self, tamper: impl FnOnce(&Connection)) -> TrailVerdict {
        self.after_held(tamper, Some(&self.held))
    }

    fn after_held(&self, tamper: impl FnOnce(&Connection), held: Option<&Checkpoint>) -> TrailVerdict {
        let path = self.copy();
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF; PRAGMA ignore_check_constraints = ON")
            .unwrap();
        tamper(&conn);
        drop(conn);
        let verdict = verify(&path, held).unwrap();
        // The quick check may miss what is not at the end, but must not fail; and whatever opens for writing must agree
        // with itself.
        let catalog = Catalog::open_read_only(&path).unwrap();
        let _ = catalog.verify_head(&crate::world::check, held).unwrap();
        verdict
    }
}

/// The entries under the checkpoint that first covers `index`.
fn batch(index: u64) -> (u64, u64) {
    let end = CHECKPOINTS.into_iter().find(|size| *size > index).unwrap();
    let start = CHECKPOINTS.into_iter().rev().find(|size| *size <= index).unwrap_or(0);
    (start, end - 1)
}

/// Demands that entry `index` is named, by itself or within its batch.
fn names_entry(verdict: &TrailVerdict, index: u64, what: &str) {
    let (first, last) = batch(index);
    let named = verdict.problems.iter().filter_map(Problem::entries).any(|range| {
        range.contains(&index) && *range.start() >= first && (*range.end() <= last || range.start() == &index)
    });
    assert!(named, "{what}: entry {index} is not named by {:?}", verdict.problems);
}

fn flip(conn: &Connection, table: &str, column: &str, condition: &str, at: usize) {
    let sql = format!("SELECT {column} FROM {table} WHERE {condition}");
    let mut bytes: Vec<u8> =
        conn.query_row(&sql, [], |row| row.get_ref(0).map(|value| value.as_bytes().unwrap().to_vec())).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 1;
    let value = if table == "checkpoint" {
        rusqlite::types::Value::Text(String::from_utf8_lossy(&bytes).into_owned())
    } else {
        rusqlite::types::Value::Blob(bytes)
    };
    conn.execute(&format!("UPDATE {table} SET {column} = ?1 WHERE {condition}"), [value]).unwrap();
}

fn leaf(conn: &Connection, index: u64) -> Vec<u8> {
    conn.query_row("SELECT leaf FROM trail WHERE idx = ?1", [index.cast_signed()], |row| row.get(0)).unwrap()
}

#[test]
fn untouched() {
    assert_eq!(Bench::new().after(|_| ()).problems, []);
}

#[test]
fn edited_leaves() {
    let bench = Bench::new();
    for index in 0..SIZE {
        for at in [0, 1, 20, 60, 90, 140, 200, usize::MAX / 2, usize::MAX] {
            let verdict = bench.after(|conn| flip(conn, "trail", "leaf", &format!("idx = {index}"), at));
            names_entry(&verdict, index, &format!("byte {at}"));
        }
        let forged = |conn: &Connection| {
            // A leaf that is an entry by all rules, with another actor.
            let entry = Entry { actor: "mallory".to_owned(), ..Entry::from_leaf(&leaf(conn, index)).unwrap() };
            let sql = "UPDATE trail SET leaf = ?2 WHERE idx = ?1";
            conn.execute(sql, params![index.cast_signed(), entry.to_leaf().unwrap()]).unwrap();
        };
        let (first, last) = batch(index);
        assert!(bench.after(forged).problems.contains(&Problem::Range { first, last }), "entry {index}");
        for value in ["x''", "x'00'", "zeroblob(70000)"] {
            let sql = format!("UPDATE trail SET leaf = {value} WHERE idx = {index}");
            names_entry(&bench.after(|conn| conn.execute_batch(&sql).unwrap()), index, value);
        }
    }
}

#[test]
fn edited_indexes() {
    let bench = Bench::new();
    for index in 0..SIZE {
        for new in [-1, 14, 20, i64::MAX] {
            let sql = format!("UPDATE trail SET idx = {new} WHERE idx = {index}");
            let verdict = bench.after(|conn| conn.execute_batch(&sql).unwrap());
            let named = verdict.problems.iter().filter_map(Problem::entries).any(|range| range.contains(&index));
            let moved = index + 1 == SIZE && new == 14;
            assert!(named || moved, "{index} to {new}: {:?}", verdict.problems);
            assert!(!verdict.is_intact());
        }
    }
}

#[test]
fn edited_openings() {
    let bench = Bench::new();
    for index in 0..SIZE {
        for value in ["NULL", "x''", "x'00'"] {
            let sql = format!("UPDATE trail SET openings = {value} WHERE idx = {index} AND openings IS NOT {value}");
            let verdict = bench.after(|conn| {
                if conn.execute(&sql, []).unwrap() == 0 {
                    // This entry has none: give it some.
                    conn.execute(&format!("UPDATE trail SET openings = x'01' WHERE idx = {index}"), []).unwrap();
                }
            });
            assert_eq!(verdict.problems, [Problem::Openings { index }], "{value}");
        }
    }
}

#[test]
fn deleted_entries() {
    let bench = Bench::new();
    for index in 0..SIZE {
        let sql = format!("DELETE FROM trail WHERE idx = {index}");
        let verdict = bench.after(|conn| conn.execute_batch(&sql).unwrap());
        assert!(verdict.problems.contains(&Problem::Missing { first: index, last: index }), "{:?}", verdict.problems);
        // And closed up, so that no number is missing.
        let sql = format!(
            "{sql}; UPDATE trail SET idx = -idx WHERE idx > {index}; UPDATE trail SET idx = -idx - 1 WHERE idx < 0"
        );
        let verdict = bench.after(|conn| conn.execute_batch(&sql).unwrap());
        let first = verdict.problems.iter().filter_map(Problem::entries).map(|range| *range.start()).min().unwrap();
        assert!(first >= batch(index).0 && first <= batch(index).1 + 1, "{index}: {:?}", verdict.problems);
    }
}

#[test]
fn inserted_entries() {
    let bench = Bench::new();
    for index in 0..=SIZE {
        let sql = format!(
            "UPDATE trail SET idx = -idx - 1 WHERE idx >= {index}; UPDATE trail SET idx = -idx WHERE idx < 0; \
             INSERT INTO trail SELECT {index}, leaf, openings FROM trail WHERE idx = 3"
        );
        let verdict = bench.after(|conn| conn.execute_batch(&sql).unwrap());
        assert!(!verdict.is_intact());
        let first = verdict.problems.iter().filter_map(Problem::entries).map(|range| *range.start()).min().unwrap();
        assert!(first >= batch(index.min(SIZE - 1)).0 && first <= index + 1, "{index}: {:?}", verdict.problems);
    }
}

#[test]
fn swapped_entries() {
    let bench = Bench::new();
    for a in 0..SIZE {
        for b in a + 1..SIZE {
            let verdict = bench.after(|conn| {
                let (first, second) = (leaf(conn, a), leaf(conn, b));
                let sql = "UPDATE trail SET leaf = ?2 WHERE idx = ?1";
                conn.execute(sql, params![a.cast_signed(), second]).unwrap();
                conn.execute(sql, params![b.cast_signed(), first]).unwrap();
            });
            names_entry(&verdict, a, &format!("swapped with {b}"));
            let sql = format!(
                "UPDATE trail SET idx = -1 WHERE idx = {a}; UPDATE trail SET idx = {a} WHERE idx = {b}; \
                 UPDATE trail SET idx = {b} WHERE idx = -1"
            );
            names_entry(&bench.after(|conn| conn.execute_batch(&sql).unwrap()), a, &format!("whole rows with {b}"));
        }
    }
}

#[test]
fn cut_tails() {
    let bench = Bench::new();
    for size in 0..SIZE {
        // The entries alone.
        let sql = format!("DELETE FROM trail WHERE idx >= {size}");
        let verdict = bench.after(|conn| conn.execute_batch(&sql).unwrap());
        let gone = Problem::Missing { first: size, last: SIZE - 1 };
        assert!(verdict.problems.contains(&gone), "{size}: {:?}", verdict.problems);
        // And the checkpoints over them: what the user holds still shows it.
        let sql = format!("{sql}; DELETE FROM checkpoint WHERE size > {size}");
        let verdict = bench.after(|conn| conn.execute_batch(&sql).unwrap());
        assert!(verdict.problems.contains(&Problem::RolledBack { size, held: SIZE }), "{size}: {:?}", verdict.problems);
    }
}

#[test]
fn checkpoints() {
    let bench = Bench::new();
    for (number, size) in CHECKPOINTS.into_iter().enumerate() {
        let named = |verdict: &TrailVerdict, what: &str| {
            let named = verdict.problems.iter().any(|problem| match problem {
                Problem::Checkpoint { size: named, .. } | Problem::CheckpointMissing { size: named } => *named == size,
                // Without the newest one, nothing vouches for its entries.
                Problem::Uncovered { first, last } | Problem::Range { first, last } => {
                    size == SIZE && (*first, *last) == batch(size - 1)
                }
                _ => false,
            });
            assert!(named, "{what} of {size}: {:?}", verdict.problems);
        };
        let condition = format!("size = {size}");
        for at in (0..200).step_by(7) {
            named(&bench.after(|conn| flip(conn, "checkpoint", "note", &condition, at)), "byte");
        }
        for change in [
            format!("DELETE FROM checkpoint WHERE {condition}"),
            format!("UPDATE checkpoint SET note = '' WHERE {condition}"),
            format!("UPDATE checkpoint SET note = note || ' ' WHERE {condition}"),
            format!("UPDATE checkpoint SET size = 5 WHERE {condition}"),
            format!("UPDATE checkpoint SET size = -1 WHERE {condition}"),
            format!("UPDATE checkpoint SET size = 1000 WHERE {condition}"),
            // Signed by somebody else.
            format!("UPDATE checkpoint SET note = '{}' WHERE {condition}", forged_note(&bench, size, 2)),
        ] {
            named(&bench.after(|conn| conn.execute_batch(&change).unwrap()), &change);
        }
        for other in CHECKPOINTS.into_iter().skip(number + 1) {
            let sql = format!(
                "UPDATE checkpoint SET size = -1 WHERE size = {size}; UPDATE checkpoint SET size = {size} \
                 WHERE size = {other}; UPDATE checkpoint SET size = {other} WHERE size = -1"
            );
            named(&bench.after(|conn| conn.execute_batch(&sql).unwrap()), "swap");
        }
    }
    // One more, even a genuine one: the trail does not name it.
    let note = forged_note(&bench, 6, 1);
    let verdict = bench.after(|conn| {
        conn.execute("INSERT INTO checkpoint VALUES (6, ?1)", [&note]).unwrap();
    });
    assert!(matches!(verdict.problems[..], [Problem::Checkpoint { size: 6, .. }]), "{:?}", verdict.problems);
}

/// A note over the first `size` entries by the log key of `seed`.
fn forged_note(bench: &Bench, size: u64, seed: u64) -> String {
    let conn = Connection::open(bench.copy()).unwrap();
    let hashes: Vec<Digest> = (0..size).map(|index| leaf_hash(&leaf(&conn, index))).collect();
    let root = Frontier::from_leaves(&hashes).root();
    checkpoint::sign(&Checkpoint::new(&vault(), size, root), &[&log_key(seed)]).unwrap()
}

#[test]
fn deciding_rows() {
    let bench = Bench::new();
    let rows: Vec<(String, Vec<u8>)> = {
        let conn = Connection::open(bench.copy()).unwrap();
        let mut statement = conn.prepare("SELECT tbl, key FROM state ORDER BY tbl, key").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    assert_eq!(rows.len(), 5);
    let expect = |sql: &str, parameters: &[&dyn rusqlite::ToSql], rows: &[(&str, &[u8])]| {
        let verdict = bench.after(|conn| assert!(conn.execute(sql, parameters).unwrap() > 0));
        let found: BTreeSet<_> = verdict
            .problems
            .iter()
            .map(|problem| match problem {
                Problem::Row { table, key } => (table.as_str(), key.as_slice()),
                other => panic!("{sql}: {other:?}"),
            })
            .collect();
        assert_eq!(found, rows.iter().copied().collect(), "{sql}");
    };
    for (table, key) in &rows {
        let row = (table.as_str(), key.as_slice());
        let whose = [table as &dyn rusqlite::ToSql, key];
        expect("DELETE FROM state WHERE tbl = ?1 AND key = ?2", &whose, &[row]);
        expect("UPDATE state SET value = x'00' WHERE tbl = ?1 AND key = ?2", &whose, &[row]);
        expect("UPDATE state SET value = x'' WHERE tbl = ?1 AND key = ?2", &whose, &[row]);
        expect("UPDATE state SET key = x'ff' WHERE tbl = ?1 AND key = ?2", &whose, &[row, (table, &[0xff])]);
        expect("UPDATE state SET tbl = 'role' WHERE tbl = ?1 AND key = ?2", &whose, &[row, ("role", key)]);
        for (other_table, other_key) in rows.iter().filter(|other| *other > &(table.clone(), key.clone())) {
            // `excluded` holds what the select saw, so the values change places.
            let sql = "INSERT INTO state SELECT a.tbl, a.key, b.value FROM state a, state b \
                       WHERE (a.tbl, a.key) IN (VALUES (?1, ?2), (?3, ?4)) AND (b.tbl, b.key) IN (VALUES (?1, ?2), (?3, ?4)) \
                       AND a.value <> b.value ON CONFLICT DO UPDATE SET value = excluded.value";
            let both = [table as &dyn rusqlite::ToSql, key, other_table, other_key];
            expect(sql, &both, &[row, (other_table, other_key)]);
        }
    }
    expect("INSERT INTO state VALUES ('role', x'01', x'02')", &[], &[("role", &[1])]);
    expect("INSERT INTO state VALUES ('unheard of', x'', x'')", &[], &[("unheard of", &[])]);
}

#[test]
fn what_is_derived() {
    let bench = Bench::new();
    let problems = |sql: &str| bench.after(|conn| conn.execute_batch(sql).unwrap()).problems;
    assert_eq!(problems("DELETE FROM open_intent"), [Problem::OpenIntent { index: 13 }]);
    assert_eq!(problems("INSERT INTO open_intent VALUES (1)"), [Problem::OpenIntent { index: 1 }]);
    for sql in [
        "UPDATE edge SET size = 13",
        "UPDATE edge SET size = -1",
        "UPDATE edge SET id = 1",
        "UPDATE edge SET hashes = zeroblob(96)",
        "UPDATE edge SET hashes = x'00'",
        "DELETE FROM edge",
    ] {
        assert_eq!(problems(sql), [Problem::Edge], "{sql}");
    }
    // What opens for writing refuses to build upon any of them.
    for sql in ["UPDATE edge SET size = 13", "DELETE FROM edge", "DELETE FROM checkpoint", "DELETE FROM state"] {
        let path = bench.copy();
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let error = Catalog::open(&path, signer()).err().unwrap();
        assert!(matches!(error, ringfence_catalog::CatalogError::Damaged { .. }), "{sql}: {error}");
    }
}

/// Rewrites the whole trail from entry `from` on with another actor, consistently, and signs with the log key of `seed`.
fn rewrite(path: &Path, from: u64, seed: u64) {
    let mut entries = Vec::new();
    {
        let conn = Connection::open(path).unwrap();
        for index in 0..SIZE {
            entries.push(Entry::from_leaf(&leaf(&conn, index)).unwrap());
        }
    }
    let conn = Connection::open(path).unwrap();
    let mut frontier = Frontier::new();
    let mut note: Option<String> = None;
    for (index, mut entry) in (0..).zip(entries) {
        if index >= from {
            "mallory".clone_into(&mut entry.actor);
        }
        if let (Some(note), true) = (&note, CHECKPOINTS.contains(&index)) {
            entry.commits.insert("checkpoint".to_owned(), Digest::of(note.as_bytes()));
        }
        let bytes = entry.to_leaf().unwrap();
        conn.execute("UPDATE trail SET leaf = ?2 WHERE idx = ?1", params![index.cast_signed(), bytes]).unwrap();
        let size = frontier.append(leaf_hash(&bytes)) + 1;
        if CHECKPOINTS.contains(&size) {
            let key = if size > from { seed } else { 1 };
            let signed = checkpoint::sign(&Checkpoint::new(&vault(), size, frontier.root()), &[&log_key(key)]).unwrap();
            conn.execute("UPDATE checkpoint SET note = ?2 WHERE size = ?1", params![size.cast_signed(), signed])
                .unwrap();
            note = Some(signed);
        }
    }
    let hashes: Vec<u8> = frontier.subtrees().iter().flat_map(Digest::as_bytes).copied().collect();
    conn.execute("UPDATE edge SET hashes = ?1", [hashes]).unwrap();
}

#[test]
fn a_rewritten_trail_without_the_log_key() {
    let bench = Bench::new();
    for from in 0..SIZE {
        let path = bench.copy();
        rewrite(&path, from, 2);
        let (first, last) = batch(from);
        let verdict = verify(&path, None).unwrap();
        assert!(verdict.problems.contains(&Problem::Range { first, last }), "{from}: {:?}", verdict.problems);
        assert_eq!(verdict.newest, None);
    }
}

#[test]
fn a_rewritten_trail_with_the_log_key_shows_against_what_is_held() {
    let bench = Bench::new();
    for from in 0..SIZE {
        let path = bench.copy();
        rewrite(&path, from, 1);
        assert!(verify(&path, None).unwrap().is_intact(), "{from}: nothing in the file can tell");
        let verdict = verify(&path, Some(&bench.held)).unwrap();
        assert_eq!(verdict.problems, [Problem::Forked { held: SIZE }], "{from}");
    }
    // An earlier checkpoint is worth as much for what it covers.
    let note = forged_note(&bench, 9, 1);
    let earlier = crate::world::check(note.as_bytes()).unwrap();
    let path = bench.copy();
    rewrite(&path, 8, 1);
    assert_eq!(verify(&path, Some(&earlier)).unwrap().problems, [Problem::Forked { held: 9 }]);
    rewrite(&path, 9, 1);
    let path = bench.copy();
    rewrite(&path, 9, 1);
    assert!(verify(&path, Some(&earlier)).unwrap().is_intact());
}

#[test]
fn an_old_copy_of_the_whole_file_shows_against_what_is_held() {
    let bench = Bench::new();
    let path = bench.copy();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let catalog = Catalog::open(&path, signer()).unwrap();
    let denial = draft(ringfence_schema::trail::EntryKind::Denial, "later");
    catalog.commit(|tx| tx.append(denial, None, vec![])).unwrap();
    let held = crate::world::newest(&catalog);
    assert!(catalog.verify_head(&crate::world::check, Some(&held)).unwrap().is_intact());
    drop(catalog);
    let path = bench.copy();
    let expected = [Problem::RolledBack { size: 14, held: 15 }];
    assert_eq!(verify(&path, Some(&held)).unwrap().problems, expected);
    let catalog = Catalog::open_read_only(&path).unwrap();
    assert_eq!(catalog.verify_head(&crate::world::check, Some(&held)).unwrap().problems, expected);
    let other = Checkpoint { origin: "ringfence/other".to_owned(), ..held };
    let problems = catalog.verify(&crate::world::check, Some(&other)).unwrap().problems;
    assert_eq!(problems, [Problem::OtherTrail { held: "ringfence/other".to_owned() }]);
    assert!(bench.after_held(|_| (), None).is_intact());
}
