//! A vault's log key, a trail of every kind of entry, and a way to verify it.

use std::{collections::BTreeMap, path::Path};

use ringfence_catalog::{Catalog, CatalogError, CheckpointSigner, Draft, RowChange, Table, TrailVerdict};
use ringfence_schema::{
    Digest, Timestamp,
    trail::{EntryKind, Outcome},
};
use ringfence_trust::{
    VaultId,
    checkpoint::{self, Checkpoint, CheckpointError},
    entropy::SeededEntropy,
    keys::KeyRole,
    sign::SigningKey,
};

pub(crate) fn vault() -> VaultId {
    VaultId::from_bytes([7; VaultId::BYTES])
}

/// The log key of `seed`; 1 is the vault's own.
pub(crate) fn log_key(seed: u64) -> SigningKey {
    SigningKey::generate(&mut SeededEntropy::new(seed), KeyRole::Log).unwrap()
}

pub(crate) fn signer() -> CheckpointSigner {
    let key = log_key(1);
    Box::new(move |size, root| Ok(checkpoint::sign(&Checkpoint::new(&vault(), size, root), &[&key])?))
}

pub(crate) fn check(note: &[u8]) -> Result<Checkpoint, CheckpointError> {
    checkpoint::verify(note, &checkpoint::origin(&vault()), &[log_key(1).verifying_key()])
}

pub(crate) fn verify(path: &Path, held: Option<&Checkpoint>) -> Result<TrailVerdict, CatalogError> {
    Catalog::open_read_only(path)?.verify(&check, held)
}

pub(crate) fn draft(kind: EntryKind, action: &str) -> Draft {
    Draft {
        vault: vault().to_string(),
        time: Timestamp::from_millis(1_800_000_000_000),
        kind,
        action: action.to_owned(),
        actor: "olga".to_owned(),
        of: None,
        outcome: None,
        commits: BTreeMap::from([("request".to_owned(), Digest::of(action.as_bytes()))]),
    }
}

pub(crate) fn outcome(of: u64) -> Draft {
    Draft { of: Some(of), outcome: Some(Outcome::Done), ..draft(EntryKind::Outcome, "admit") }
}

pub(crate) fn set(table: Table, key: &str, value: &str) -> RowChange {
    RowChange { table, key: key.as_bytes().to_vec(), value: Some(value.as_bytes().to_vec()) }
}

pub(crate) fn remove(table: Table, key: &str) -> RowChange {
    RowChange { table, key: key.as_bytes().to_vec(), value: None }
}

pub(crate) fn genesis(catalog: &Catalog) {
    let rows = vec![set(Table::Root, "1", "root document"), set(Table::Person, "olga", "the owner")];
    catalog.commit(|tx| tx.append(draft(EntryKind::Genesis, "init"), Some(b"sealed 0"), rows)).unwrap();
}

/// 14 entries under 8 checkpoints, over 1, 2, 3, 4, 9, 10, 13 and 14 entries, 5 rows, one intent left open.
pub(crate) fn sample(path: &Path) -> Checkpoint {
    let catalog = Catalog::create(path, signer()).unwrap();
    genesis(&catalog);
    let intent = |name: &'static str| {
        catalog.commit(move |tx| tx.append(draft(EntryKind::Intent, name), Some(name.as_bytes()), vec![]))
    };
    let first = intent("admit").unwrap();
    let rows = vec![set(Table::Ref, "dataset/a", "v1"), set(Table::Policy, "vault", "policy 1")];
    catalog.commit(|tx| tx.append(outcome(first), Some(b"sealed outcome"), rows)).unwrap();
    catalog.commit(|tx| tx.append(draft(EntryKind::Denial, "release"), None, vec![])).unwrap();
    // Five entries under one checkpoint.
    catalog
        .commit(|tx| {
            for name in ["a", "b", "c", "d"] {
                tx.append(draft(EntryKind::Denial, name), Some(name.as_bytes()), vec![])?;
            }
            tx.append(draft(EntryKind::Intent, "train"), Some(b"sealed train"), vec![])
        })
        .unwrap();
    let rows = vec![set(Table::Ref, "dataset/a", "v2"), set(Table::Ref, "model/b", "v1")];
    catalog.commit(|tx| tx.append(outcome(8), Some(b"sealed 9"), rows)).unwrap();
    catalog
        .commit(|tx| {
            let intent = tx.append(draft(EntryKind::Intent, "configure"), Some(b"x"), vec![])?;
            tx.append(outcome(intent), Some(b"y"), vec![remove(Table::Policy, "vault"), set(Table::Waiver, "w", "1")])?;
            tx.append(draft(EntryKind::Denial, "export"), None, vec![])
        })
        .unwrap();
    intent("run").unwrap();
    newest(&catalog)
}

pub(crate) fn newest(catalog: &Catalog) -> Checkpoint {
    let note = catalog.read(|view| view.newest_note()).unwrap().unwrap();
    check(note.as_bytes()).unwrap()
}
