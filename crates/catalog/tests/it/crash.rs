//! Killed processes and torn logs: what was acknowledged is there, and the trail verifies.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use ringfence_catalog::{Catalog, CatalogError, Table};
use ringfence_schema::trail::EntryKind;

use crate::world::{draft, genesis, newest, outcome, set, signer, verify};

const CHILD_PATH: &str = "RINGFENCE_CATALOG_TEST_CHILD";

fn work(catalog: &Catalog, number: u64) -> Result<u64, CatalogError> {
    let intent = catalog.commit(|tx| tx.append(draft(EntryKind::Intent, "admit"), Some(b"sealed"), vec![]))?;
    let rows = vec![set(Table::Ref, &format!("dataset/{}", number % 5), &format!("version {number}"))];
    catalog.commit(|tx| tx.append(outcome(intent), Some(&[7; 3_000]), rows))
}

/// Not a test by itself: the process that `killed_at_any_moment` kills.
#[test]
fn child_writes_until_killed() {
    let Some(path) = env::var_os(CHILD_PATH) else { return };
    let catalog = Catalog::open(Path::new(&path), signer()).unwrap();
    for number in 0.. {
        println!("acked {}", work(&catalog, number).unwrap());
    }
}

#[test]
fn killed_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    genesis(&Catalog::create(&path, signer()).unwrap());
    let mut held = None;
    for round in 0..8 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["crash::child_writes_until_killed", "--exact", "--nocapture"])
            .env(CHILD_PATH, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let acked: Vec<u64> = lines
            .filter_map(|line| line.unwrap().strip_prefix("acked ").map(|index| index.parse().unwrap()))
            .take(3 + round * 7)
            .collect();
        child.kill().unwrap();
        child.wait().unwrap();

        let last = *acked.last().unwrap();
        let verdict = verify(&path, held.as_ref()).unwrap();
        assert_eq!(verdict.problems, [], "round {round}");
        assert!(verdict.entries > last, "round {round}: entry {last} was acknowledged");
        let catalog = Catalog::open(&path, signer()).unwrap();
        for stored in catalog.open_intents().unwrap() {
            assert_eq!(stored.index + 1, verdict.entries, "only the last intent can be open");
            catalog.commit(|tx| tx.append(outcome(stored.index), None, vec![])).unwrap();
        }
        held = Some(newest(&catalog));
    }
}

/// The files as they are in the middle of a transaction, and with the write-ahead log cut off anywhere.
#[test]
fn torn_logs_end_at_a_commit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let catalog = Catalog::create(&path, signer()).unwrap();
    genesis(&catalog);
    for number in 0..10 {
        work(&catalog, number).unwrap();
    }
    let held = newest(&catalog);
    let (db, wal) = catalog
        .commit(|tx| {
            tx.append(draft(EntryKind::Denial, "in flight"), Some(&vec![1; 100_000]), vec![])?;
            let wal = fs::read(dir.path().join("catalog.db-wal")).unwrap();
            Ok::<_, CatalogError>((fs::read(&path).unwrap(), wal))
        })
        .unwrap();
    assert!(wal.len() > 50_000, "the log holds the transactions");

    let copy = dir.path().join("copy.db");
    let mut sizes = Vec::new();
    for cut in (0..wal.len()).step_by(wal.len() / 97).chain([wal.len()]) {
        fs::write(&copy, &db).unwrap();
        fs::write(dir.path().join("copy.db-wal"), &wal[..cut]).unwrap();
        let _ = fs::remove_file(dir.path().join("copy.db-shm"));
        match verify(&copy, None) {
            Ok(verdict) => {
                assert_eq!(verdict.problems, [], "cut at {cut}");
                sizes.push(verdict.entries);
            }
            // The tables themselves are still in the log.
            Err(error) => assert!(sizes.is_empty() && matches!(error, CatalogError::Foreign { .. }), "{cut}: {error}"),
        }
    }
    assert!(sizes.is_sorted());
    assert_eq!(sizes.last(), Some(&held.size), "all that was acknowledged, and nothing in flight");
    assert!(sizes.iter().collect::<std::collections::BTreeSet<_>>().len() > 10, "cuts fall between commits: {sizes:?}");
}
