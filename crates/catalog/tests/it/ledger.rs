//! Keys and blobs.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use ringfence_catalog::{Catalog, CatalogError};
use ringfence_trust::{
    entropy::SeededEntropy,
    keys::{DetailKey, KeyId, KeyState, Namespace, NamespaceKey, Purpose, WrappedKey},
};

use crate::world::{genesis, signer, vault};

fn wrapped(seed: u64) -> (NamespaceKey, WrappedKey) {
    let mut entropy = SeededEntropy::new(seed);
    let namespace = NamespaceKey::generate(&mut entropy, &vault(), Namespace::Control);
    let key = DetailKey::generate(&mut entropy);
    let wrapped = namespace.wrap(&mut entropy, Purpose::Detail, 1, &key).unwrap();
    (namespace, wrapped)
}

fn on_disk(dir: &Path, needle: &[u8]) -> bool {
    fs::read_dir(dir).unwrap().any(|file| {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}

#[test]
fn a_destroyed_key_is_gone_from_every_page() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::create(&dir.path().join("catalog.db"), signer()).unwrap();
    genesis(&catalog);
    let (_, key) = wrapped(1);
    let (_, kept) = wrapped(2);
    catalog.commit(|tx| tx.put_key(&key).and_then(|()| tx.put_key(&kept))).unwrap();
    let known = catalog.read(|view| view.key(key.id)).unwrap().unwrap();
    assert_eq!((known.state, known.wraps), (KeyState::Active, vec![key.clone()]));
    let needle = serde_json::to_vec(&key).unwrap();
    assert!(on_disk(dir.path(), &needle), "the test looks in the right place");

    catalog.commit(|tx| tx.destroy_key(key.id)).unwrap();
    assert!(catalog.scrub().unwrap());
    assert!(!on_disk(dir.path(), &needle));
    assert!(on_disk(dir.path(), &serde_json::to_vec(&kept).unwrap()));

    let tombstone = catalog.read(|view| view.key(key.id)).unwrap().unwrap();
    assert_eq!((tombstone.state, tombstone.wraps.len()), (KeyState::Destroyed, 0));
    for again in [catalog.commit(|tx| tx.put_key(&key)), catalog.commit(|tx| tx.destroy_key(key.id))] {
        assert!(matches!(again, Err(CatalogError::KeyDestroyed { .. })));
    }
    assert_eq!(catalog.read(|view| view.keys()).unwrap().len(), 2);
}

#[test]
fn a_reader_only_delays_the_scrubbing() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::create(&dir.path().join("catalog.db"), signer()).unwrap();
    genesis(&catalog);
    let (_, key) = wrapped(1);
    catalog.commit(|tx| tx.put_key(&key)).unwrap();
    let needle = serde_json::to_vec(&key).unwrap();
    catalog
        .read(|view| {
            assert!(view.key(key.id)?.is_some());
            catalog.commit(|tx| tx.destroy_key(key.id))?;
            assert!(!catalog.scrub()?, "the reader's snapshot still needs the old pages");
            assert_eq!(view.key(key.id)?.unwrap().state, KeyState::Active);
            Ok::<_, CatalogError>(())
        })
        .unwrap();
    assert!(on_disk(dir.path(), &needle));
    assert!(catalog.scrub().unwrap());
    assert!(!on_disk(dir.path(), &needle));
}

#[test]
fn moving_the_log_does_not_delay_the_scrubbing() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::create(&dir.path().join("catalog.db"), signer()).unwrap();
    genesis(&catalog);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Each fills so much of the log that its thread moves the pages, once it has been answered.
        let writing = scope.spawn(|| {
            let blob = vec![7; 4_500_000];
            for number in (0..).take_while(|_| !over.load(Ordering::Acquire)) {
                catalog.commit(|tx| tx.put_blob("run", &format!("{number}"), &blob)).unwrap();
            }
        });
        let scrubbed: Vec<bool> = (0..20)
            .map(|seed| {
                let (_, key) = wrapped(seed);
                catalog.commit(|tx| tx.put_key(&key)).unwrap();
                catalog.commit(|tx| tx.destroy_key(key.id)).unwrap();
                catalog.scrub().unwrap()
            })
            .collect();
        over.store(true, Ordering::Release);
        writing.join().unwrap();
        assert_eq!(scrubbed, [true; 20]);
    });
}

#[test]
fn keys_are_rewrapped_and_retired() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::create(&dir.path().join("catalog.db"), signer()).unwrap();
    let mut entropy = SeededEntropy::new(3);
    let (old, key) = wrapped(1);
    let new = NamespaceKey::generate(&mut entropy, &vault(), Namespace::Control);
    let moved = old.rewrap(&mut entropy, &new, &key).unwrap();
    catalog.commit(|tx| tx.put_key(&key)).unwrap();
    assert!(matches!(catalog.commit(|tx| tx.put_key(&key)), Err(CatalogError::KeyExists { .. })));
    catalog.commit(|tx| tx.rewrap_key(&moved)).unwrap();
    catalog.commit(|tx| tx.retire_key(key.id)).unwrap();
    let known = catalog.read(|view| view.key(key.id)).unwrap().unwrap();
    assert_eq!((known.state, known.wraps), (KeyState::Retired, vec![moved]));
    let unknown = KeyId::from_bytes([9; KeyId::BYTES]);
    assert!(matches!(catalog.commit(|tx| tx.destroy_key(unknown)), Err(CatalogError::KeyUnknown { .. })));
}

#[test]
fn blobs_are_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::create(&dir.path().join("catalog.db"), signer()).unwrap();
    catalog.commit(|tx| tx.put_blob("evidence", "b", b"2").and_then(|()| tx.put_blob("evidence", "a", b"1"))).unwrap();
    let again = catalog.commit(|tx| tx.put_blob("evidence", "a", b"other"));
    assert!(matches!(again, Err(CatalogError::BlobExists { .. })));
    assert_eq!(catalog.read(|view| view.blob_ids("evidence")).unwrap(), ["a", "b"]);
    assert_eq!(catalog.read(|view| view.blob("evidence", "a")).unwrap().unwrap(), b"1");
    assert!(catalog.commit(|tx| tx.remove_blob("evidence", "a")).unwrap());
    assert!(!catalog.commit(|tx| tx.remove_blob("evidence", "a")).unwrap());
    let large = vec![0; (64 << 20) + 1];
    assert!(matches!(catalog.commit(|tx| tx.put_blob("run", "x", &large)), Err(CatalogError::TooLarge { .. })));
    catalog.commit(|tx| tx.put_blob("run", "x", &large[1..])).unwrap();
    assert_eq!(catalog.read(|view| view.blob("run", "x")).unwrap().unwrap().len(), 64 << 20);
}
