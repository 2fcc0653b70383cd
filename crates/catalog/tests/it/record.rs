//! Entries that are handed over, proofs from stored subtrees, erased openings, and a trail that changes under a writer.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::mpsc, thread};

use ringfence_catalog::{Catalog, CatalogError, Problem, Record, Recorded, Table};
use ringfence_schema::{Digest, trail::EntryKind};
use ringfence_trust::{
    checkpoint::{self, Checkpoint},
    merkle::{self, consistency_proof, inclusion_proof},
};
use rusqlite::{Connection, params};

use crate::world::{check, draft, genesis, log_key, newest, outcome, set, signer, vault, verify};

fn record(kind: EntryKind, action: &str) -> Record {
    Record { draft: draft(kind, action), openings: Some(action.as_bytes().to_vec()) }
}

/// Whoever was first and does not wait may come late to its turn: those who wait do not depend on it.
#[test]
fn who_waits_takes_along_what_others_handed_over() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::create(&dir.path().join("catalog.db"), signer()).unwrap();
    genesis(&catalog);
    let (tell, told) = mpsc::channel();
    let hand = |action: &str| {
        let tell = tell.clone();
        let tell = Box::new(move |recorded| tell.send(recorded).unwrap());
        catalog.hand(record(EntryKind::Access, action), tell).unwrap()
    };
    assert!(hand("first"), "somebody has to write it");
    assert!(!hand("second"));
    assert!(told.try_recv().is_err(), "nothing is told before it is written");
    assert_eq!(catalog.record(record(EntryKind::Denial, "third")).unwrap(), 3);
    let told: Vec<Recorded> = told.try_iter().map(Result::unwrap).collect();
    let state = catalog.entry(0).unwrap().unwrap().entry.state;
    assert_eq!(told, [Recorded { index: 1, state }, Recorded { index: 2, state }]);
    assert!(hand("fourth"), "a new round begins");
    catalog.take_along().unwrap();
    catalog.take_along().unwrap();
    assert_eq!(catalog.size().unwrap(), 5);
}

#[test]
fn many_callers_share_transactions_and_fail_alone() {
    const THREADS: usize = 16;
    const EACH: usize = 40;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let catalog = Catalog::create(&path, signer()).unwrap();
    genesis(&catalog);
    let work = |number: usize| -> u64 {
        match number % 5 {
            // An act: two commits of its own.
            0 => {
                let intent = catalog.record(record(EntryKind::Intent, "admit")).unwrap();
                let rows = vec![set(Table::Ref, "dataset/a", &format!("{number}"))];
                catalog.commit(|tx| tx.append(outcome(intent), None, rows)).unwrap();
                2
            }
            // What no rule allows touches nobody else.
            1 => {
                let error = catalog.record(Record { draft: outcome(0), openings: None }).unwrap_err();
                assert!(matches!(error, CatalogError::Rule { .. }), "{error}");
                let change = vec![set(Table::Ref, "dataset/a", "seen")];
                let error = catalog.commit(|tx| tx.append(draft(EntryKind::Access, "look"), None, change)).unwrap_err();
                assert!(matches!(error, CatalogError::Rule { .. }), "{error}");
                let huge = Record { draft: draft(EntryKind::Access, "huge"), openings: Some(vec![0; (1 << 20) + 1]) };
                let error = catalog.record(huge).unwrap_err();
                assert!(matches!(error, CatalogError::TooLarge { .. }), "{error}");
                0
            }
            2 => {
                let action = format!("denial {number}");
                let index = catalog.record(record(EntryKind::Denial, &action)).unwrap();
                assert_eq!(catalog.entry(index).unwrap().unwrap().entry.action, action);
                1
            }
            rest => {
                let action = format!("read {number}");
                let look = record(EntryKind::Access, &action);
                let index = if rest == 3 {
                    catalog.record(look).unwrap()
                } else {
                    let (tell, told) = mpsc::channel();
                    let tell = Box::new(move |recorded| tell.send(recorded).unwrap());
                    if catalog.hand(look, tell).unwrap() {
                        catalog.take_along().unwrap();
                    }
                    told.recv().unwrap().unwrap().index
                };
                assert_eq!(catalog.entry(index).unwrap().unwrap().entry.action, action);
                1
            }
        }
    };
    let written: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || (0..EACH).map(|number| work(number + thread)).sum::<u64>()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(catalog.size().unwrap(), written + 1);
    assert!(catalog.transactions().unwrap() < written / 2, "{} for {written}", catalog.transactions().unwrap());
    assert_eq!(catalog.open_intents().unwrap(), []);
    let held = newest(&catalog);
    drop(catalog);
    assert_eq!(verify(&path, Some(&held)).unwrap().problems, []);
}

#[test]
fn whoever_waits_is_answered_when_nothing_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    genesis(&Catalog::create(&path, signer()).unwrap());
    let refuses = Catalog::open(&path, Box::new(|_, _| Err("the key is gone".into()))).unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let error = refuses.record(record(EntryKind::Denial, "unsigned")).unwrap_err();
                assert!(matches!(error, CatalogError::NotCommitted(_)), "{error}");
            });
        }
    });
    drop(refuses);
    // A panic of the signer is its caller's; whoever waits behind it is answered.
    let panics = Catalog::open(&path, Box::new(|_, _| panic!("the signer"))).unwrap();
    let ended = thread::scope(|scope| {
        let calls: Vec<_> =
            (0..8).map(|_| scope.spawn(|| panics.record(record(EntryKind::Denial, "unsigned")).is_err())).collect();
        calls.into_iter().map(thread::ScopedJoinHandle::join).filter(|call| !matches!(call, Ok(false))).count()
    });
    assert_eq!(ended, 8);
    drop(panics);
    assert_eq!(verify(&path, None).unwrap().entries, 1);
}

/// A trail of `size` entries.
fn trail(path: &Path, size: u64) -> Catalog {
    let catalog = Catalog::create(path, signer()).unwrap();
    genesis(&catalog);
    let fill = |count: u64| {
        let one = |tx: &mut ringfence_catalog::Tx<'_>| tx.append(draft(EntryKind::Denial, "x"), Some(b"o"), vec![]);
        catalog.commit(|tx| (0..count).try_for_each(|_| one(tx).map(drop))).unwrap();
    };
    fill(300.min(size - 1));
    fill((size - 1).saturating_sub(300));
    catalog
}

#[test]
fn proofs_from_stored_subtrees_are_those_from_all_leaves() {
    const SIZE: u64 = 1_300;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let catalog = trail(&path, SIZE);
    let hashes = catalog.read(|view| view.leaf_hashes(SIZE)).unwrap();
    let sizes = [1, 2, 255, 256, 257, 511, 512, 768, 1_000, 1_024, 1_299, SIZE];
    let compare = |catalog: &Catalog| {
        for size in sizes {
            let leaves = &hashes[..usize::try_from(size).unwrap()];
            for index in [0, 1, 254, 255, 256, 300, 767, 1_023, 1_024, size - 1].into_iter().filter(|i| *i < size) {
                assert_eq!(catalog.prove_inclusion(index, size).unwrap(), inclusion_proof(leaves, index).unwrap());
                let consistency = catalog.prove_consistency(index, size).unwrap();
                assert_eq!(consistency, consistency_proof(leaves, index).unwrap(), "{index} of {size}");
            }
        }
        assert!(matches!(catalog.prove_inclusion(0, SIZE + 1), Err(CatalogError::Proof(_))));
    };
    compare(&catalog);
    let held = newest(&catalog);
    drop(catalog);
    assert_eq!(verify(&path, Some(&held)).unwrap().problems, []);
    let rows = |path: &Path| -> i64 {
        let conn = Connection::open(path).unwrap();
        conn.query_row("SELECT count(*) FROM subtree", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(rows(&path), 5);

    // A file of the version before is read as it is, and gets the rows when it is opened for writing.
    Connection::open(&path).unwrap().execute_batch("DROP TABLE subtree; PRAGMA user_version = 3").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    compare(&Catalog::open_read_only(&path).unwrap());
    assert_eq!(verify(&path, Some(&held)).unwrap().problems, []);
    compare(&Catalog::open(&path, signer()).unwrap());
    assert_eq!(rows(&path), 5);
    assert_eq!(verify(&path, Some(&held)).unwrap().problems, []);

    // Whatever is changed in them is found, and proves nothing.
    let original = fs::read(&path).unwrap();
    for change in [
        "UPDATE subtree SET hash = zeroblob(32) WHERE number = 2",
        "UPDATE subtree SET number = 9 WHERE number = 4",
        "DELETE FROM subtree WHERE number = 1",
        "INSERT INTO subtree VALUES (8, 77, zeroblob(32))",
        "INSERT INTO subtree VALUES (3, 1, x'')",
    ] {
        fs::write(&path, &original).unwrap();
        Connection::open(&path).unwrap().execute_batch(change).unwrap();
        let problems = verify(&path, None).unwrap().problems;
        assert!(!problems.is_empty() && problems.iter().all(|p| matches!(p, Problem::Subtree { .. })), "{problems:?}");
        if change.starts_with("INSERT") {
            continue;
        }
        let damaged = Catalog::open_read_only(&path).unwrap();
        if let Ok(proof) = damaged.prove_consistency(200, SIZE) {
            let root = merkle::root_of(&hashes);
            let old = merkle::root_of(&hashes[..200]);
            merkle::verify_consistency(200, &old, SIZE, &root, &proof).unwrap_err();
        }
        // What is held does not lead to the end any more, as far as anybody can prove.
        let note = checkpoint::sign(&Checkpoint::new(&vault(), 200, merkle::root_of(&hashes[..200])), &[&log_key(1)]);
        let earlier = check(note.unwrap().as_bytes()).unwrap();
        let verdict = damaged.verify_head(&check, Some(&earlier)).unwrap();
        assert_eq!(verdict.problems, [Problem::Forked { held: 200 }], "{change}");
    }
}

#[test]
fn the_quick_check_finds_a_fork_and_a_rollback() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let catalog = trail(&path, 700);
    let hashes = catalog.read(|view| view.leaf_hashes(700)).unwrap();
    for size in [1_usize, 255, 256, 400, 699, 700] {
        let root = merkle::root_of(&hashes[..size]);
        let held = Checkpoint::new(&vault(), size as u64, root);
        assert!(catalog.verify_head(&check, Some(&held)).unwrap().is_intact(), "{size}");
        let other = Checkpoint { root: Digest::of(b"another history"), ..held };
        let problems = catalog.verify_head(&check, Some(&other)).unwrap().problems;
        assert_eq!(problems, [Problem::Forked { held: size as u64 }], "{size}");
    }
    let ahead = Checkpoint::new(&vault(), 701, merkle::root_of(&hashes));
    let problems = catalog.verify_head(&check, Some(&ahead)).unwrap().problems;
    assert_eq!(problems, [Problem::RolledBack { size: 700, held: 701 }]);
}

/// Brings the rows of another file into `path`, as a connection of somebody who may write the file.
fn overwrite(path: &Path, with: &Path) {
    let conn = Connection::open(path).unwrap();
    conn.execute("ATTACH ?1 AS other", [with.to_str().unwrap()]).unwrap();
    conn.execute_batch(
        "PRAGMA foreign_keys = OFF; BEGIN;
         DELETE FROM open_intent; DELETE FROM trail; DELETE FROM checkpoint; DELETE FROM edge; DELETE FROM state;
         DELETE FROM subtree;
         INSERT INTO trail SELECT * FROM other.trail; INSERT INTO checkpoint SELECT * FROM other.checkpoint;
         INSERT INTO edge SELECT * FROM other.edge; INSERT INTO state SELECT * FROM other.state;
         INSERT INTO subtree SELECT * FROM other.subtree; INSERT INTO open_intent SELECT * FROM other.open_intent;
         COMMIT",
    )
    .unwrap();
}

#[test]
fn nothing_is_built_upon_a_trail_that_was_exchanged_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("catalog.db"), dir.path().join("other.db"));
    let denial = |catalog: &Catalog, action: &str| catalog.record(record(EntryKind::Denial, action));
    // An older copy, a fork of the same length, a longer fork: all signed by the log key itself.
    for (case, forked, refused) in
        [("rolled back", 2, true), ("forked", 5, true), ("longer fork", 9, true), ("itself", 0, false)]
    {
        for file in [&path, &other] {
            let _ = fs::remove_file(file);
        }
        let catalog = Catalog::create(&path, signer()).unwrap();
        genesis(&catalog);
        for _ in 0..4 {
            denial(&catalog, "seen").unwrap();
        }
        if forked > 0 {
            let fork = Catalog::create(&other, signer()).unwrap();
            genesis(&fork);
            for _ in 1..forked {
                denial(&fork, "unseen").unwrap();
            }
        } else {
            let more = Catalog::open(&path, signer()).unwrap();
            denial(&more, "by another process").unwrap();
            fs::copy(&path, &other).unwrap();
        }
        if refused {
            overwrite(&path, &other);
        }
        let answer = denial(&catalog, "next");
        assert_eq!(matches!(answer, Err(CatalogError::Damaged { .. })), refused, "{case}: {answer:?}");
        assert_eq!(denial(&catalog, "and again").is_err(), refused, "{case}");
    }
}

#[test]
fn nothing_is_built_upon_entries_that_the_log_key_did_not_sign() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let catalog = trail(&path, 5);
    let stranger = Box::new(|size, root| Ok(checkpoint::sign(&Checkpoint::new(&vault(), size, root), &[&log_key(2)])?));
    Catalog::open(&path, stranger).unwrap().record(record(EntryKind::Denial, "slipped in")).unwrap();
    let answer = catalog.record(record(EntryKind::Denial, "next"));
    assert!(matches!(answer, Err(CatalogError::Damaged { .. })), "{answer:?}");
}

#[test]
fn erased_openings_are_told_from_tampering() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let catalog = Catalog::create(&path, signer()).unwrap();
    genesis(&catalog);
    let secret = b"sealed openings that tell of somebody: 0123456789abcdef".to_vec();
    let told = Record { draft: draft(EntryKind::Denial, "told"), openings: Some(secret.clone()) };
    let told = catalog.record(told).unwrap();
    let kept = catalog.record(record(EntryKind::Denial, "kept")).unwrap();
    let held = newest(&catalog);
    let before = catalog.prove_inclusion(told, held.size).unwrap();
    let erase = |entries: &[(u64, Vec<u8>)], honest: bool| {
        let intent = catalog.record(record(EntryKind::Intent, "appoint")).unwrap();
        catalog.commit(|tx| {
            let row = tx.erase(entries)?;
            tx.append(outcome(intent), None, if honest { vec![row] } else { vec![] })
        })
    };
    erase(&[(told, b"left".to_vec())], true).unwrap();
    assert!(catalog.scrub().unwrap());
    assert_eq!(catalog.entry(told).unwrap().unwrap().openings.as_deref(), Some(&b"left"[..]));
    for file in fs::read_dir(dir.path()).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "no page holds it");
    }
    assert_eq!(catalog.prove_inclusion(told, held.size).unwrap(), before);
    let verdict = catalog.verify(&check, Some(&held)).unwrap();
    assert_eq!((verdict.problems, verdict.erased), (vec![], 1));
    // Again, for another field; what is not there cannot be erased, and then nothing is.
    erase(&[(told, b"less".to_vec())], true).unwrap();
    assert!(matches!(erase(&[(kept, b"x".to_vec()), (999, vec![])], true), Err(CatalogError::Proof(_))));
    assert_eq!(catalog.entry(kept).unwrap().unwrap().openings.as_deref(), Some(&b"kept"[..]));
    assert_eq!(catalog.verify(&check, Some(&held)).unwrap().problems, []);
    drop(catalog);

    let original = fs::read(&path).unwrap();
    let (listed, unlisted) = (told.cast_signed(), kept.cast_signed());
    let after = |tamper: &dyn Fn(&Connection)| {
        fs::write(&path, &original).unwrap();
        tamper(&Connection::open(&path).unwrap());
        verify(&path, Some(&held)).unwrap().problems
    };
    let put = |index: i64, bytes: &'static [u8]| {
        move |conn: &Connection| {
            conn.execute("UPDATE trail SET openings = ?2 WHERE idx = ?1", params![index, bytes]).map(drop).unwrap();
        }
    };
    assert_eq!(after(&put(unlisted, b"left")), [Problem::Openings { index: kept }]);
    assert_eq!(after(&put(listed, b"other")), [Problem::Openings { index: told }]);
    assert_eq!(after(&put(listed, b"left")), [Problem::Openings { index: told }], "the last erasure counts");
    assert_eq!(
        after(&|conn| drop(conn.execute("UPDATE trail SET openings = NULL WHERE idx = ?1", [listed]))),
        [Problem::Openings { index: told }]
    );
    // A row that nobody recorded is found itself.
    let mut row = kept.to_be_bytes().to_vec();
    row.extend_from_slice(Digest::of(b"left").as_bytes());
    let problems = after(&|conn| {
        put(unlisted, b"left")(conn);
        conn.execute("INSERT INTO state VALUES ('erasure', x'ff', ?1)", [&row]).unwrap();
    });
    assert!(matches!(problems[..], [Problem::Row { .. }]), "{problems:?}");
    let problems = after(&|conn| drop(conn.execute("DELETE FROM state WHERE tbl = 'erasure'", [])));
    assert!(problems.contains(&Problem::Openings { index: told }), "{problems:?}");
}
