//! What nobody needs cannot be read any more, and nothing else is lost.

use std::fs;

use ringfence_store::{ManifestId, Shred, Store, StoreError};
use ringfence_trust::{
    entropy::SeededEntropy,
    keys::{Namespace, WrappedKey},
};

use crate::vault::{Vault, file, noise, open, read};

/// Carries a plan out as the catalog would, and gives the keys that are gone.
fn carry_out(vault: &mut Vault, store: &Store, shred: Shred, gone: &[ManifestId]) -> Vec<WrappedKey> {
    let (lost, kept) = vault.ledger.keys.drain(..).partition(|key| shred.doomed.contains(&key.id));
    vault.ledger.keys = kept;
    vault.ledger.keys.extend(shred.keys.iter().cloned());
    store.shredded(shred, gone).unwrap();
    lost
}

#[test]
fn one_version_goes_and_what_it_shared_stays() {
    let mut vault = Vault::new();
    let store = vault.open();
    let (shared, own) = (noise(700_000, 1), noise(500_000, 2));
    let first = vault.add(&store, Namespace::Admitted, &[file("shared", shared.clone()), file("own", own.clone())]);
    vault.add(&store, Namespace::Admitted, &[file("shared", shared.clone()), file("new", noise(300_000, 3))]);
    vault.add(&store, Namespace::Quarantine, &[file("elsewhere", own.clone())]);
    let before = vault.ledger.clone();
    let (gone, other) = (store.manifest(first).unwrap(), store.manifest(vault.ledger.versions[1].0).unwrap());
    let abroad = store.manifest(vault.ledger.versions[2].0).unwrap();
    assert_eq!(gone.bytes_shared_with(&other), 700_000);
    assert_eq!(gone.bytes_shared_with(&abroad), 500_000, "whole files are found across namespaces");
    assert_eq!(gone.bytes_shared_with(&gone), 1_200_000);
    // A copy of everything that lay on the disk, as somebody may have made one.
    let copy = tempfile::tempdir().unwrap();
    let all = fs_copy(vault.root.path(), copy.path());
    assert!(all > 5);

    vault.ledger.versions.remove(0);
    let shred = store.shred(SeededEntropy::new(70), || Ok(vault.ledger.live())).unwrap();
    assert_eq!((shred.doomed.len(), shred.keys.len(), shred.resealed_bytes), (1, 1, 700_000));
    let lost = carry_out(&mut vault, &store, shred, &[first]);
    assert_eq!(lost, vec![before.keys[0].clone()]);
    // In the process that did it, and in the next.
    vault.ledger.check(&store).unwrap();
    let next = vault.open();
    vault.ledger.check(&next).unwrap();
    assert!(next.verify(&vault.ledger.manifests()).unwrap().is_sound());
    assert!(store.manifest(first).is_err());
    assert!(read(&store, &gone, "own").is_err(), "even for whoever still holds the manifest");
    assert_eq!(read(&store, &gone, "shared").unwrap(), shared);
    // The copied ciphertext opens with the keys of then, and with those of now it does not.
    let disk = || ringfence_store::disk::Disk::real();
    let then = open(copy.path(), disk(), &before).unwrap();
    assert_eq!(read(&then, &then.manifest(first).unwrap(), "own").unwrap(), own);
    let mut after = before;
    after.keys.retain(|key| !lost.contains(key));
    let now = open(copy.path(), disk(), &after).unwrap();
    assert!(read(&now, &now.manifest(first).unwrap(), "own").is_err());
    // There is nothing left to do.
    let again = store.shred(SeededEntropy::new(71), || Ok(vault.ledger.live())).unwrap();
    assert_eq!((again.doomed.len(), again.keys.len()), (0, 0));
    drop(again);
    assert_eq!(vault.open().sweep(|| Ok(vault.ledger.live())).unwrap(), ringfence_store::Swept::default());
}

fn fs_copy(from: &std::path::Path, to: &std::path::Path) -> usize {
    let mut copied = 0;
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copied += fs_copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            copied += 1;
        }
    }
    copied
}

#[test]
fn a_plan_that_is_given_up_costs_nothing() {
    let mut vault = Vault::new();
    let store = vault.open();
    let shared = noise(200_000, 1);
    vault.add(&store, Namespace::Admitted, &[file("a", shared.clone()), file("b", noise(200_000, 2))]);
    vault.add(&store, Namespace::Admitted, &[file("a", shared)]);
    let before = vault.stored();
    let whole = vault.ledger.clone();
    let first = vault.ledger.versions.remove(0);
    drop(store.shred(SeededEntropy::new(70), || Ok(vault.ledger.live())).unwrap());
    whole.check(&store).unwrap();
    whole.check(&vault.open()).unwrap();
    vault.ledger.versions.insert(0, first);
    let swept = vault.open().sweep(|| Ok(vault.ledger.live())).unwrap();
    assert_eq!((swept.packs, swept.index_segments), (1, 1), "the new pack and its index are garbage");
    assert_eq!(vault.stored(), before);
}

#[test]
fn what_comes_meanwhile_is_seen() {
    let mut vault = Vault::new();
    let store = vault.open();
    let (doomed, shared) = (noise(300_000, 1), noise(300_000, 2));
    vault.add(&store, Namespace::Admitted, &[file("doomed", doomed.clone()), file("shared", shared.clone())]);
    vault.add(&store, Namespace::Admitted, &[file("shared", shared.clone())]);
    let first = vault.ledger.versions.remove(0);
    let shred = store.shred(SeededEntropy::new(70), || Ok(vault.ledger.live())).unwrap();
    let late = |vault: &mut Vault, files: &[_]| {
        let id = vault.add(&store, Namespace::Admitted, files);
        store.takes_from(&shred, id).unwrap()
    };
    assert!(!late(&mut vault, &[file("x", noise(100_000, 9))]), "its own pack");
    assert!(!late(&mut vault, &[file("x", shared)]), "sealed again in time");
    assert!(late(&mut vault, &[file("x", doomed)]), "only in what is to go");
    // No sweep comes between, and a ledger that says something else is not believed.
    assert!(matches!(store.sweep(|| Ok(vault.ledger.live())), Err(StoreError::Busy)));
    drop(shred);
    vault.ledger.versions.insert(0, first);
    let mut other = vault.ledger.live();
    other.packs.pop();
    assert!(matches!(store.shred(SeededEntropy::new(71), || Ok(other)), Err(StoreError::Busy)));
    vault.ledger.check(&store).unwrap();
}

#[test]
fn damage_does_not_widen() {
    let mut vault = Vault::new();
    let store = vault.open();
    let lost = vault.add(&store, Namespace::Admitted, &[file("a", noise(200_000, 1))]);
    let kept = vault.add(&store, Namespace::Admitted, &[file("b", noise(200_000, 2))]);
    let packs: Vec<_> =
        vault.ledger.keys.iter().map(|key| vault.dir().join("admitted/packs").join(key.id.to_string())).collect();
    // A damaged pack that serves nobody goes like any other.
    fs::write(&packs[0], b"rubbish").unwrap();
    vault.ledger.versions.remove(0);
    let store = vault.open();
    let shred = store.shred(SeededEntropy::new(70), || Ok(vault.ledger.live())).unwrap();
    assert_eq!(shred.doomed, [vault.ledger.keys[0].id]);
    carry_out(&mut vault, &store, shred, &[lost]);
    vault.ledger.check(&store).unwrap();
    // One that serves somebody stops everything, by name.
    fs::write(&packs[1], b"rubbish").unwrap();
    let stopped = vault.open().shred(SeededEntropy::new(71), || Ok(vault.ledger.live()));
    assert!(
        matches!(stopped, Err(StoreError::Damaged { file, .. }) if file.contains(&vault.ledger.keys[0].id.to_string()))
    );
    fs::remove_file(vault.dir().join("admitted/manifests").join(kept.to_string())).unwrap();
}
