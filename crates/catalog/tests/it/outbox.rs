//! Queues of alerts: in order, without gaps, bounded, and gone only when they were taken.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use ringfence_catalog::{
    Catalog, CatalogError, Problem, Tx,
    outbox::{ASIDE_MAX, AlertRow, Aside, Lost, QUEUE_MAX, QUEUE_RESUME, QueuedContent, SINKS_MAX},
};
use ringfence_schema::{Digest, Timestamp, trail::EntryKind};
use rusqlite::Connection;

use crate::world::{draft, genesis, outcome, sample, signer, verify};

fn catalog(dir: &Path) -> Catalog {
    let catalog = Catalog::create(&dir.join("catalog.db"), signer()).unwrap();
    genesis(&catalog);
    catalog
}

fn queue(tx: &mut Tx<'_>, sink: &str, name: &str, entry: u64) -> Result<bool, CatalogError> {
    tx.enqueue(sink, name.as_bytes(), entry, |seq| Ok(format!("{name} as {seq}").into_bytes()))
}

/// What waits, as words.
fn waiting(catalog: &Catalog, sink: &str) -> Vec<(u64, String)> {
    let pending = catalog.read(|view| view.pending(sink, 1_000)).unwrap();
    let words = |content| match content {
        QueuedContent::Alert { bytes, .. } => String::from_utf8(bytes).unwrap(),
        QueuedContent::Lost(Lost { count, first, last }) => format!("{count} lost, {first} to {last}"),
    };
    pending.into_iter().map(|queued| (queued.seq, words(queued.content))).collect()
}

/// Files alert `name` in an entry of its own and queues it for `sinks`.
fn raise(catalog: &Catalog, name: &str, sinks: &[&str]) -> Result<u64, CatalogError> {
    let intent = catalog.commit(|tx| tx.append(draft(EntryKind::Intent, "raise"), None, vec![]))?;
    catalog.commit(|tx| {
        let mut outcome = outcome(intent);
        outcome.commits.insert("alert-00".to_owned(), Digest::of(name.as_bytes()));
        let index = tx.append(outcome, None, vec![])?;
        tx.file_alert(name.as_bytes(), index, "alert-00")?;
        sinks.iter().try_for_each(|sink| queue(tx, sink, name, index).map(|_| ()))?;
        Ok(index)
    })
}

#[test]
fn each_sink_has_a_queue_and_a_cursor_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog(dir.path());
    raise(&catalog, "a", &["mail", "siem"]).unwrap();
    raise(&catalog, "b", &["siem"]).unwrap();
    raise(&catalog, "c", &["mail", "siem"]).unwrap();
    assert_eq!(waiting(&catalog, "mail"), [(1, "a as 1".into()), (2, "c as 2".into())]);
    catalog.commit(|tx| tx.delivered("siem", 2)).unwrap();
    assert_eq!(waiting(&catalog, "siem"), [(3, "c as 3".into())]);
    assert_eq!(waiting(&catalog, "mail").len(), 2);
    assert!(waiting(&catalog, "never").is_empty());
    let due = Timestamp::from_millis(5_000);
    catalog.commit(|tx| tx.failed("mail", due, b"no")).unwrap();
    catalog.commit(|tx| tx.failed("mail", due, b"still no")).unwrap();
    let mail = catalog.read(|view| view.sink("mail")).unwrap().unwrap();
    assert_eq!((mail.failures, mail.due, mail.said.as_deref(), mail.pending()), (2, due, Some(&b"still no"[..]), 2));
    catalog.commit(|tx| tx.delivered("mail", 1)).unwrap();
    let mail = catalog.read(|view| view.sink("mail")).unwrap().unwrap();
    assert_eq!((mail.failures, mail.due.millis(), &mail.said, mail.pending()), (0, 0, &None, 1));
    // A cursor goes forward only, and never beyond what was given.
    catalog.commit(|tx| tx.delivered("siem", 1)).unwrap();
    assert_eq!(waiting(&catalog, "siem").len(), 1);
    assert!(matches!(catalog.commit(|tx| tx.delivered("siem", 4)), Err(CatalogError::Cursor { last: 3, .. })));
    assert!(matches!(catalog.commit(|tx| tx.delivered("x", 1)), Err(CatalogError::SinkUnknown { .. })));
    assert_eq!(catalog.commit(|tx| tx.forget_sink("mail")).unwrap(), 1);
    assert!(catalog.read(|view| view.sink("mail")).unwrap().is_none());
}

#[test]
fn an_alert_is_filed_once_and_listed_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog(dir.path());
    let entries: Vec<u64> = ["a", "b", "c"].iter().map(|name| raise(&catalog, name, &["s"]).unwrap()).collect();
    assert!(matches!(raise(&catalog, "b", &["s"]), Err(CatalogError::AlertExists)));
    assert_eq!(waiting(&catalog, "s").len(), 3, "what failed queued nothing");
    let keys = |rows: Vec<AlertRow>| rows.into_iter().map(|row| row.key).collect::<Vec<_>>();
    assert_eq!(keys(catalog.read(|view| view.alerts(u64::MAX, 2)).unwrap()), [b"c", b"b"]);
    assert_eq!(keys(catalog.read(|view| view.alerts(entries[1], 10)).unwrap()), [b"a"]);
    assert_eq!(keys(catalog.read(|view| view.alerts_between(entries[0], entries[1])).unwrap()), [b"a", b"b"]);
    assert_eq!(catalog.read(|view| view.alert(b"b")).unwrap().unwrap().entry, entries[1]);
    assert_eq!(catalog.read(|view| view.alert_count()).unwrap(), 3);
}

#[test]
fn a_full_queue_keeps_the_oldest_and_counts_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog(dir.path());
    let fill = |from: u64, to: u64| {
        catalog.commit(|tx| {
            (from..to)
                .try_fold(0, |queued, entry| Ok::<_, CatalogError>(queued + u64::from(queue(tx, "s", "x", entry)?)))
        })
    };
    assert_eq!(fill(1, QUEUE_MAX + 100).unwrap(), QUEUE_MAX - 1);
    let state = || catalog.read(|view| view.sink("s")).unwrap().unwrap();
    assert_eq!(state().lost, Some(Lost { count: 100, first: QUEUE_MAX, last: QUEUE_MAX + 99 }));
    // Room for one is no reason to begin again: order must hold, and one record stands for all that was left out.
    catalog.commit(|tx| tx.delivered("s", 10)).unwrap();
    assert_eq!(fill(QUEUE_MAX + 100, QUEUE_MAX + 101).unwrap(), 0);
    let drained = QUEUE_MAX - 1 - QUEUE_RESUME;
    catalog.commit(|tx| tx.delivered("s", drained)).unwrap();
    assert_eq!(state().lost, None);
    assert_eq!(fill(QUEUE_MAX + 101, QUEUE_MAX + 102).unwrap(), 1);
    catalog.commit(|tx| tx.delivered("s", QUEUE_MAX - 1)).unwrap();
    let told = format!("101 lost, {QUEUE_MAX} to {}", QUEUE_MAX + 100);
    assert_eq!(waiting(&catalog, "s"), [(QUEUE_MAX, told), (QUEUE_MAX + 1, format!("x as {}", QUEUE_MAX + 1))]);
}

#[test]
fn names_and_sizes_have_limits() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog(dir.path());
    for sink in 0..SINKS_MAX {
        catalog.commit(|tx| queue(tx, &format!("s{sink}"), "x", 1)).unwrap();
    }
    let many = catalog.commit(|tx| queue(tx, "one more", "x", 1));
    assert!(matches!(many, Err(CatalogError::TooLarge { .. })));
    let large = catalog.commit(|tx| tx.enqueue::<CatalogError>("s1", b"k", 1, |_| Ok(vec![0; 70_000])));
    assert!(matches!(large, Err(CatalogError::TooLarge { .. })));
    assert!(catalog.commit(|tx| tx.failed("s1", Timestamp::from_millis(0), &vec![0; 70_000])).is_err());
    assert_eq!(waiting(&catalog, "s1").len(), 1);
}

#[test]
fn what_was_taken_out_of_a_queue_or_the_index_shows() {
    for (change, seen) in [
        ("DELETE FROM outbox WHERE seq = 2", true),
        ("DELETE FROM outbox WHERE seq = 3", true),
        ("UPDATE sink SET delivered = 0, last = 9", true),
        ("UPDATE outbox SET bytes = NULL WHERE seq = 1", true),
        ("UPDATE outbox SET seq = 7 WHERE seq = 1", true),
        ("UPDATE sink SET failures = 3", false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let catalog = catalog(dir.path());
        for name in ["a", "b", "c"] {
            raise(&catalog, name, &["s"]).unwrap();
        }
        drop(catalog);
        let path = dir.path().join("catalog.db");
        Connection::open(&path).unwrap().execute_batch(change).unwrap();
        let catalog = Catalog::open(&path, signer()).unwrap();
        let found = catalog.read(|view| view.pending("s", 100));
        assert_eq!(matches!(found, Err(CatalogError::Damaged { .. })), seen, "{change}");
    }
    for change in [
        "DELETE FROM alert WHERE key = x'62'",
        "UPDATE alert SET entry = 900 WHERE key = x'62'",
        "INSERT INTO alert VALUES (x'99', 1, 'alert-07')",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let catalog = catalog(dir.path());
        for name in ["a", "b", "c"] {
            raise(&catalog, name, &["s"]).unwrap();
        }
        drop(catalog);
        let path = dir.path().join("catalog.db");
        assert!(verify(&path, None).unwrap().is_intact());
        Connection::open(&path).unwrap().execute_batch(change).unwrap();
        let problems = verify(&path, None).unwrap().problems;
        let listed = |problem: &Problem| matches!(problem, Problem::AlertIndex { .. });
        assert!(!problems.is_empty() && problems.iter().all(listed), "{change}: {problems:?}");
    }
}

/// A file as the first version left it: the tables of the outbox are not there.
#[test]
fn a_file_of_the_first_version_opens_and_gets_an_outbox() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    sample(&path);
    let old = "DROP TABLE subtree; DROP TABLE aside; DROP TABLE refused; DROP TABLE outbox; DROP TABLE sink; DROP TABLE alert; PRAGMA user_version = 1;";
    Connection::open(&path).unwrap().execute_batch(old).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(verify(&path, None).unwrap().is_intact(), "it is read as it is");
    let catalog = Catalog::open(&path, signer()).unwrap();
    let before = catalog.size().unwrap();
    raise(&catalog, "a", &["s"]).unwrap();
    assert_eq!(waiting(&catalog, "s").len(), 1);
    drop(catalog);
    let verdict = verify(&path, None).unwrap();
    assert!(verdict.is_intact() && verdict.entries == before + 2);
    // One that says it is of the first version but has more than that is nothing that we wrote.
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 1;").unwrap();
    assert!(matches!(Catalog::open(&path, signer()), Err(CatalogError::Damaged { .. })));
}

fn aside(seq: u64, entry: u64) -> Aside {
    Aside { seq, first: entry, last: entry, count: 5, at: Timestamp::from_millis(9_000), said: b"413".to_vec() }
}

#[test]
fn what_is_refused_for_good_is_counted_set_aside_listed_and_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog(dir.path());
    let entries: Vec<u64> = ["a", "b", "c"].iter().map(|name| raise(&catalog, name, &["s"]).unwrap()).collect();
    let at = Timestamp::from_millis;
    assert_eq!(catalog.read(|view| view.refused("s")).unwrap(), None);
    for (seq, ms, count, since) in [(1, 1_000, 1, 1_000), (1, 2_000, 2, 1_000), (2, 3_000, 1, 3_000)] {
        let refused = catalog.commit(|tx| tx.refused("s", seq, at(ms))).unwrap();
        assert_eq!((refused.seq, refused.count, refused.since), (seq, count, at(since)));
    }
    // Only what is next can be set aside.
    let wrong = catalog.commit(|tx| tx.set_aside("s", &aside(2, entries[1])));
    assert!(matches!(wrong, Err(CatalogError::Cursor { up_to: 2, last: 3, .. })));
    catalog.commit(|tx| tx.failed("s", at(50_000), b"no")).unwrap();
    catalog.commit(|tx| tx.set_aside("s", &aside(1, entries[0]))).unwrap();
    let row = catalog.read(|view| view.sink("s")).unwrap().unwrap();
    assert_eq!((row.failures, row.due, row.pending()), (0, at(0), 2));
    assert_eq!(waiting(&catalog, "s"), [(2, "b as 2".into()), (3, "c as 3".into())]);
    let refused = catalog.read(|view| view.refused("s")).unwrap().unwrap();
    assert_eq!((refused.count, refused.passed, refused.passed_seq), (0, 1, 1));
    assert_eq!(catalog.read(|view| view.set_aside("s")).unwrap(), [aside(1, entries[0])]);
    assert_eq!(catalog.commit(|tx| tx.take_back("s", entries[1], entries[2])).unwrap(), 0);
    assert_eq!(catalog.commit(|tx| tx.take_back("s", 0, entries[0])).unwrap(), 1);
    assert_eq!(catalog.read(|view| view.set_aside("s")).unwrap(), []);
    catalog.commit(|tx| tx.set_aside("s", &aside(2, entries[1]))).unwrap();
    assert_eq!(catalog.commit(|tx| tx.forget_sink("s")).unwrap(), 1);
    assert_eq!(catalog.read(|view| view.set_aside("s")).unwrap(), []);
    assert!(matches!(catalog.commit(|tx| tx.refused("s", 1, at(1))), Err(CatalogError::SinkUnknown { .. })));
}

#[test]
fn what_is_listed_as_set_aside_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog(dir.path());
    raise(&catalog, "a", &["s"]).unwrap();
    catalog
        .commit(|tx| {
            for number in 1..=ASIDE_MAX + 2 {
                queue(tx, "s", "again", 1)?;
                tx.set_aside("s", &aside(number, number))?;
            }
            Ok::<_, CatalogError>(())
        })
        .unwrap();
    let listed = catalog.read(|view| view.set_aside("s")).unwrap();
    assert_eq!((listed.len() as u64, listed[0].seq), (ASIDE_MAX, 3));
    assert_eq!(catalog.read(|view| view.refused("s")).unwrap().unwrap().passed, ASIDE_MAX + 2);
}
