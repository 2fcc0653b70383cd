//! Garbage goes, and nothing else.

use ringfence_store::{Cuts, Live, StoreError};
use ringfence_trust::{entropy::SeededEntropy, keys::Namespace};

use crate::vault::{Vault, file, noise};

#[test]
fn what_was_not_committed_goes() {
    let mut vault = Vault::new();
    let store = vault.open();
    vault.add(&store, Namespace::Admitted, &[file("kept", noise(50_000, 1))]);
    let before = vault.stored();
    drop(vault.put(&store, Namespace::Admitted, &[file("given up", noise(50_000, 2))]).unwrap());
    drop(vault.put(&store, Namespace::Quarantine, &[file("given up", noise(50_000, 2))]).unwrap());
    let mut writer = store.writer(Namespace::Admitted, SeededEntropy::new(40)).unwrap();
    writer.file("half", &mut noise(3 << 20, 3).as_slice(), Cuts::Content).unwrap();
    // Refusing the signature leaves pack and index without a manifest.
    assert!(writer.finish(&|_| Err("no".into())).is_err());

    let store = vault.open();
    let swept = store.sweep(|| Ok(vault.ledger.live())).unwrap();
    assert_eq!((swept.packs, swept.index_segments, swept.manifests, swept.temporary), (3, 3, 2, 0));
    assert_eq!(vault.stored(), before);
    vault.ledger.check(&vault.open()).unwrap();
    let swept = store.sweep(|| Ok(vault.ledger.live())).unwrap();
    assert_eq!(swept, ringfence_store::Swept::default());
}

#[test]
fn a_version_nobody_names_gives_its_packs_up() {
    let mut vault = Vault::new();
    let store = vault.open();
    let shared = noise(50_000, 1);
    vault.add(&store, Namespace::Admitted, &[file("a", shared.clone())]);
    vault.add(&store, Namespace::Admitted, &[file("a", shared), file("b", noise(50_000, 2))]);
    let forgotten = vault.ledger.versions.pop().unwrap();
    let second_key = vault.ledger.keys[1].id;
    let swept = store.sweep(|| Ok(vault.ledger.live())).unwrap();
    assert_eq!((swept.manifests, swept.packs), (1, 0));
    assert_eq!(swept.unreferenced, [second_key], "the first pack is still needed");
    vault.ledger.keys.retain(|key| key.id != second_key);
    let manifest = store.manifest(vault.ledger.versions[0].0).unwrap();
    store.forget(&[second_key]).unwrap();
    assert!(crate::vault::read(&store, &manifest, "a").is_ok());
    let swept = vault.open().sweep(|| Ok(vault.ledger.live())).unwrap();
    assert_eq!((swept.packs, swept.index_segments), (1, 1));
    vault.ledger.check(&vault.open()).unwrap();
    assert!(vault.open().manifest(forgotten.0).is_err());
}

#[test]
fn no_sweep_beside_a_writer() {
    let mut vault = Vault::new();
    let store = vault.open();
    let writer = store.writer(Namespace::Admitted, SeededEntropy::new(1)).unwrap();
    let never = || -> Result<Live, _> { panic!("must not be asked") };
    assert!(matches!(vault.open().sweep(never), Err(StoreError::Busy)));
    drop(writer);
    let files = [file("a", "x")];
    let sealed = vault.put(&store, Namespace::Admitted, &files).unwrap();
    assert!(matches!(store.sweep(never), Err(StoreError::Busy)), "sealed, and perhaps just being committed");
    vault.commit(&store, sealed, &files);
    assert_eq!(store.sweep(|| Ok(vault.ledger.live())).unwrap(), ringfence_store::Swept::default());
    let unknown = store.sweep(|| Err("the catalog is locked".into()));
    assert!(matches!(unknown, Err(StoreError::LiveUnknown(_))));
    vault.ledger.check(&store).unwrap();
}

#[test]
fn a_version_that_is_given_up_leaves_nothing() {
    let mut vault = Vault::new();
    let store = vault.open();
    vault.add(&store, Namespace::Quarantine, &[file("kept", noise(50_000, 1))]);
    let before = vault.stored();
    let mut writer = store.writer(Namespace::Quarantine, SeededEntropy::new(41)).unwrap();
    // More than one pack, so that some are published and one is not.
    let piece = noise(1 << 20, 5);
    writer.begin("given up").unwrap();
    for round in 0..80_u8 {
        let bytes: Vec<u8> = piece.iter().map(|byte| byte ^ round).collect();
        writer.append(&bytes).unwrap();
    }
    writer.discard();
    assert_eq!(vault.stored(), before);
    assert_eq!(store.sweep(|| Ok(vault.ledger.live())).unwrap(), ringfence_store::Swept::default());
}
