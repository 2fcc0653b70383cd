//! What a commit may do, and what happens to commits that share a transaction.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use ringfence_catalog::{Catalog, CatalogError, Table};
use ringfence_schema::trail::EntryKind;
use ringfence_trust::merkle;

use crate::world::{check, draft, genesis, newest, outcome, remove, sample, set, signer, verify};

#[derive(Debug)]
enum Failure {
    Ours,
    Catalog(#[expect(dead_code, reason = "seen in messages of failing tests")] CatalogError),
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        Self::Catalog(error)
    }
}

fn denial(catalog: &Catalog, action: &str) -> Result<u64, CatalogError> {
    catalog.commit(|tx| tx.append(draft(EntryKind::Denial, action), Some(action.as_bytes()), vec![]))
}

#[test]
fn what_is_written_is_read_and_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let held = sample(&path);
    let catalog = Catalog::open(&path, signer()).unwrap();
    assert_eq!(catalog.size().unwrap(), 14);
    let stored = catalog.entry(2).unwrap().unwrap();
    assert_eq!((stored.entry.of, stored.openings.as_deref()), (Some(1), Some(&b"sealed outcome"[..])));
    assert_eq!(catalog.entries(10..100).unwrap().len(), 4);
    assert_eq!(catalog.entry(14).unwrap(), None);
    let read = |range| {
        let mut leaves = Vec::new();
        let each = |index, leaf: &[u8]| {
            leaves.push((index, leaf.to_vec()));
            Ok::<_, CatalogError>(())
        };
        catalog.read(|view| view.for_each_leaf(range, each)).map(|()| leaves)
    };
    let stored = catalog.entries(3..6).unwrap().into_iter().map(|stored| (stored.index, stored.leaf));
    assert_eq!(read(3..6).unwrap(), stored.collect::<Vec<_>>());
    assert!(matches!(read(12..15), Err(CatalogError::Damaged { .. })));
    let open: Vec<_> = catalog.open_intents().unwrap().into_iter().map(|stored| stored.index).collect();
    assert_eq!(open, [13]);
    catalog
        .read(|view| {
            assert_eq!(view.row(Table::Ref, b"dataset/a")?, Some(b"v2".to_vec()));
            assert_eq!(view.row(Table::Policy, b"vault")?, None);
            let keys: Vec<_> = view.rows(Table::Ref)?.into_iter().map(|row| row.key).collect();
            assert_eq!(keys, [b"dataset/a".to_vec(), b"model/b".to_vec()]);
            Ok::<_, CatalogError>(())
        })
        .unwrap();
    for verdict in [catalog.verify(&check, Some(&held)).unwrap(), catalog.verify_head(&check, Some(&held)).unwrap()] {
        assert_eq!(verdict.problems, []);
        assert_eq!((verdict.entries, verdict.checkpoints), (14, 8));
        assert_eq!(verdict.newest.as_ref(), Some(&held));
    }
}

#[test]
fn proofs_hold_against_the_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let newest = sample(&path);
    let catalog = Catalog::open_read_only(&path).unwrap();
    for index in 0..newest.size {
        let leaf = merkle::leaf_hash(&catalog.entry(index).unwrap().unwrap().leaf);
        let proof = catalog.prove_inclusion(index, newest.size).unwrap();
        merkle::verify_inclusion(&leaf, index, newest.size, &proof, &newest.root).unwrap();
        let covering = catalog.read(|view| view.covering_note(index)).unwrap().unwrap();
        let covering = check(covering.as_bytes()).unwrap();
        assert!(covering.size > index);
        let proof = catalog.prove_consistency(covering.size, newest.size).unwrap();
        merkle::verify_consistency(covering.size, &covering.root, newest.size, &newest.root, &proof).unwrap();
    }
    assert!(matches!(catalog.prove_inclusion(14, 14), Err(CatalogError::Proof(_))));
    assert!(matches!(catalog.prove_inclusion(0, 15), Err(CatalogError::Proof(_))));
    assert!(matches!(catalog.prove_consistency(5, u64::MAX), Err(CatalogError::Proof(_))));
}

#[test]
fn rules_of_the_trail() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::create(&dir.path().join("catalog.db"), signer()).unwrap();
    let refused = |draft, rows: Vec<ringfence_catalog::RowChange>| {
        let error = catalog.commit(|tx| tx.append(draft, None, rows)).unwrap_err();
        assert!(matches!(error, CatalogError::Rule { .. }), "{error}");
    };
    refused(draft(EntryKind::Denial, "before genesis"), vec![]);
    genesis(&catalog);
    refused(draft(EntryKind::Genesis, "again"), vec![]);
    refused(outcome(0), vec![]);
    refused(outcome(7), vec![]);
    refused(draft(EntryKind::Outcome, "closes nothing"), vec![]);
    refused(ringfence_catalog::Draft { of: Some(0), ..draft(EntryKind::Intent, "closes") }, vec![]);
    refused(draft(EntryKind::Intent, "changes"), vec![set(Table::Ref, "a", "b")]);
    refused(draft(EntryKind::Denial, "changes"), vec![set(Table::Ref, "a", "b")]);
    refused(draft(EntryKind::Access, "changes"), vec![set(Table::Ref, "a", "b")]);
    refused(ringfence_catalog::Draft { of: Some(0), ..draft(EntryKind::Access, "closes") }, vec![]);
    let mut reserved = draft(EntryKind::Denial, "reserved");
    reserved.commits.insert("openings".to_owned(), ringfence_schema::Digest::of(b""));
    refused(reserved, vec![]);
    let intent = catalog.commit(|tx| tx.append(draft(EntryKind::Intent, "admit"), None, vec![])).unwrap();
    refused(outcome(intent), vec![remove(Table::Ref, "never there")]);
    refused(outcome(intent), vec![set(Table::Ref, "a", "1"), set(Table::Ref, "a", "2")]);
    catalog.commit(|tx| tx.append(outcome(intent), None, vec![])).unwrap();
    refused(outcome(intent), vec![]);
    let long = vec![set(Table::Ref, &"k".repeat(257), "v")];
    let intent = catalog.commit(|tx| tx.append(draft(EntryKind::Intent, "admit"), None, vec![])).unwrap();
    let error = catalog.commit(|tx| tx.append(outcome(intent), None, long)).unwrap_err();
    assert!(matches!(error, CatalogError::TooLarge { .. }));
    let many = (0..2_000).map(|n| set(Table::Ref, &format!("dataset/{n:04}"), "v")).collect();
    let error = catalog.commit(|tx| tx.append(outcome(intent), None, many)).unwrap_err();
    assert!(matches!(error, CatalogError::Leaf(_)), "{error}");
    assert_eq!(catalog.size().unwrap(), 4);
    assert!(catalog.verify(&check, None).unwrap().is_intact());
}

#[test]
fn a_failed_commit_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::create(&dir.path().join("catalog.db"), signer()).unwrap();
    genesis(&catalog);
    let before = newest(&catalog);
    let failed: Result<(), Failure> = catalog.commit(|tx| {
        let intent = tx.append(draft(EntryKind::Intent, "admit"), None, vec![])?;
        tx.append(outcome(intent), None, vec![set(Table::Ref, "a", "b"), remove(Table::Person, "olga")])?;
        tx.put_blob("report", "1", b"sealed")?;
        assert_eq!(tx.view().row(Table::Ref, b"a")?, Some(b"b".to_vec()), "it reads what it wrote");
        Err(Failure::Ours)
    });
    assert!(matches!(failed, Err(Failure::Ours)));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        catalog.commit(|tx| {
            tx.append(draft(EntryKind::Denial, "lost"), None, vec![])?;
            assert_eq!(tx.next_index(), 1, "panics in the middle");
            Ok::<_, CatalogError>(())
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(newest(&catalog), before);
    assert_eq!(catalog.read(|view| view.blob("report", "1")).unwrap(), None);
    assert_eq!(denial(&catalog, "next").unwrap(), 1);
    assert!(catalog.verify(&check, Some(&before)).unwrap().is_intact());
}

#[test]
fn a_commit_that_goes_on_after_a_failed_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::create(&dir.path().join("catalog.db"), signer()).unwrap();
    genesis(&catalog);
    let intent = catalog.commit(|tx| tx.append(draft(EntryKind::Intent, "admit"), None, vec![])).unwrap();
    let many: Vec<_> = (0..2_000).map(|n| set(Table::Ref, &format!("dataset/{n:04}"), "v")).collect();
    let result = catalog.commit(|tx| {
        let _ = tx.append(outcome(intent), None, many);
        tx.append(draft(EntryKind::Denial, "goes on"), None, vec![])
    });
    assert!(matches!(result, Err(CatalogError::Torn { .. })));
    assert_eq!(catalog.size().unwrap(), 2);
    // A refusal that wrote nothing may be passed over.
    let index = catalog.commit(|tx| {
        assert!(tx.append(outcome(0), None, vec![]).is_err());
        tx.append(outcome(intent), None, vec![])
    });
    assert_eq!(index.unwrap(), 2);
    assert!(catalog.verify(&check, None).unwrap().is_intact());
}

#[test]
fn without_a_signature_nothing_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    genesis(&Catalog::create(&path, signer()).unwrap());
    let refuses = Catalog::open(&path, Box::new(|_, _| Err("the key is gone".into()))).unwrap();
    let error = denial(&refuses, "unsigned").unwrap_err();
    assert_eq!(error.to_string(), "not committed: the checkpoint was not signed: the key is gone");
    drop(refuses);
    let own = signer();
    let lies = Catalog::open(&path, Box::new(move |size, root| own(size + 1, root))).unwrap();
    assert!(matches!(denial(&lies, "another tree"), Err(CatalogError::NotCommitted(_))));
    drop(lies);
    let catalog = Catalog::open(&path, signer()).unwrap();
    assert_eq!(denial(&catalog, "signed").unwrap(), 1);
    assert!(catalog.verify(&check, None).unwrap().is_intact());
}

#[test]
fn eight_threads_share_transactions() {
    const THREADS: usize = 8;
    const EACH: usize = 60;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let catalog = Catalog::create(&path, signer()).unwrap();
    genesis(&catalog);
    let acked: Vec<Vec<(u64, String)>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let catalog = &catalog;
                scope.spawn(move || {
                    let mut acked = Vec::new();
                    for number in 0..EACH {
                        let action = format!("{thread}-{number}");
                        // Every tenth one fails, or panics, in the middle of somebody's batch.
                        let spoil = |catalog: &Catalog| -> Result<(), Failure> {
                            catalog.commit(|tx| {
                                tx.append(draft(EntryKind::Denial, "spoiled"), None, vec![])?;
                                if thread % 2 == 0 { Err(Failure::Ours) } else { panic!("spoiled") }
                            })
                        };
                        if number % 10 == 5 {
                            assert!(!matches!(catch_unwind(AssertUnwindSafe(|| spoil(catalog))), Ok(Ok(()))));
                        }
                        acked.push((denial(catalog, &action).unwrap(), action));
                    }
                    acked
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let entries = (THREADS * EACH) as u64;
    let transactions = catalog.transactions().unwrap();
    assert!(transactions < entries, "{transactions} transactions for {entries} entries");
    let held = newest(&catalog);
    drop(catalog);
    let catalog = Catalog::open(&path, signer()).unwrap();
    assert_eq!(catalog.size().unwrap(), entries + 1);
    for thread in acked {
        assert!(thread.windows(2).all(|pair| pair[0].0 < pair[1].0), "one thread's entries keep their order");
        for (index, action) in thread {
            assert_eq!(catalog.entry(index).unwrap().unwrap().entry.action, action);
        }
    }
    assert_eq!(verify(&path, Some(&held)).unwrap().problems, []);
}

#[test]
fn two_processes_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let one = Catalog::create(&path, signer()).unwrap();
    genesis(&one);
    // Another connection with its own memory of the trail's end stands for another process.
    let other = Catalog::open(&path, signer()).unwrap();
    for round in 0..5 {
        assert_eq!(denial(&one, "one").unwrap(), 1 + 2 * round);
        assert_eq!(denial(&other, "other").unwrap(), 2 + 2 * round);
    }
    assert_eq!(one.verify(&check, None).unwrap().problems, []);
}
