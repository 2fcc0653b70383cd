//! Damage is an error that names the file, never a wrong byte.

use std::{collections::BTreeMap, fs, os::unix::fs::FileExt as _, path::Path};

use ringfence_store::{Cuts, Damage, Store, StoreError};
use ringfence_trust::{entropy::SeededEntropy, keys::Namespace};

use crate::vault::{File, Vault, file, noise, open, quick};

fn small() -> (Vault, Vec<File>) {
    let mut vault = Vault::new();
    let store = vault.open();
    let files = vec![file("a", noise(700, 1)), file("b/c", "text"), file("empty", "")];
    vault.add(&store, Namespace::Admitted, &files);
    vault.add(&store, Namespace::Admitted, &[file("a", noise(300, 2))]);
    vault.add(&store, Namespace::Quarantine, &files);
    (vault, files)
}

/// Checks that damage to `name` shows: verification names the file, and reading gives an error or the right bytes.
fn must_show(vault: &Vault, name: &str, what: &str) {
    let store = match open(vault.root.path(), quick(vault.root.path()), &vault.ledger) {
        Ok(store) => store,
        Err(StoreError::Damaged { file, .. }) => return assert_eq!(file, name, "{what}"),
        Err(error) => panic!("{what}: {error}"),
    };
    let verified = store.verify(&vault.ledger.manifests()).unwrap();
    assert!(verified.damaged.iter().any(|damaged| damaged.file == name), "{what}: {:?}", verified.damaged);
    if let Err(error) = vault.ledger.check(&store) {
        assert!(!error.contains("wrong bytes"), "{what}: {error}");
    }
}

fn name_in_store(vault: &Vault, path: &Path) -> String {
    path.strip_prefix(vault.dir()).unwrap().to_str().unwrap().to_owned()
}

fn sealed_files(vault: &Vault) -> impl Iterator<Item = std::path::PathBuf> {
    vault.stored().into_iter().filter(|path| !path.ends_with("lock"))
}

#[test]
fn every_changed_byte_of_every_file_shows() {
    let (vault, _) = small();
    let mut bytes = 0;
    for path in sealed_files(&vault) {
        let name = name_in_store(&vault, &path);
        let original = fs::read(&path).unwrap();
        bytes += original.len();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        for (position, byte) in original.iter().enumerate() {
            file.write_all_at(&[byte ^ 1 << (position % 8)], position as u64).unwrap();
            must_show(&vault, &name, &format!("byte {position} of {name}"));
            file.write_all_at(&[*byte], position as u64).unwrap();
        }
    }
    assert!(bytes > 3_000, "only {bytes} bytes");
    vault.ledger.check(&vault.open()).unwrap();
}

#[test]
fn every_other_length_shows() {
    let (vault, _) = small();
    for path in sealed_files(&vault) {
        let name = name_in_store(&vault, &path);
        let original = fs::read(&path).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        for length in (0..original.len()).rev().step_by(7) {
            file.set_len(length as u64).unwrap();
            must_show(&vault, &name, &format!("{name} cut to {length}"));
        }
        for more in [1, 16, 4_096] {
            fs::write(&path, [original.as_slice(), &vec![0; more]].concat()).unwrap();
            must_show(&vault, &name, &format!("{name} and {more} bytes more"));
        }
        fs::write(&path, &original).unwrap();
    }
}

#[test]
fn files_in_each_others_place_show() {
    let (vault, _) = small();
    for dir in ["admitted/packs", "admitted/index", "admitted/manifests"] {
        let [a, b] = vault.stored_in(dir).try_into().unwrap();
        let (bytes_a, bytes_b) = (fs::read(&a).unwrap(), fs::read(&b).unwrap());
        fs::write(&a, &bytes_b).unwrap();
        fs::write(&b, &bytes_a).unwrap();
        must_show(&vault, &name_in_store(&vault, &a), dir);
        must_show(&vault, &name_in_store(&vault, &b), dir);
        fs::write(&a, bytes_a).unwrap();
        fs::write(&b, bytes_b).unwrap();
    }
    // A manifest of one namespace does not open in the other, even under its own name.
    let manifest = vault.stored_in("quarantine/manifests").pop().unwrap();
    let id = manifest.file_name().unwrap().to_str().unwrap().parse().unwrap();
    fs::rename(&manifest, vault.dir().join("admitted/manifests").join(manifest.file_name().unwrap())).unwrap();
    assert!(matches!(vault.open().manifest(id), Err(StoreError::Damaged { damage: Damage::Seal, .. })));
}

#[test]
fn lost_files_show() {
    let (vault, _) = small();
    for dir in ["admitted/packs", "quarantine/packs", "admitted/manifests"] {
        let path = vault.stored_in(dir).remove(0);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        must_show(&vault, &name_in_store(&vault, &path), dir);
        fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn damage_of_long_chunks_names_segment_and_chunk() {
    let mut vault = Vault::new();
    let store = vault.open();
    let content = noise(1 << 20, 5);
    let id = vault.add(&store, Namespace::Admitted, &[("t".to_owned(), content.clone(), Cuts::At(vec![0]))]);
    let path = vault.stored_in("admitted/packs").remove(0);
    let original = fs::read(&path).unwrap();
    for segment in 0..16_u32 {
        let mut changed = original.clone();
        changed[16 + segment as usize * 65_552 + 9_000] ^= 0x80;
        fs::write(&path, &changed).unwrap();
        let store = vault.open();
        let manifest = store.manifest(id).unwrap();
        for other in 0..16_u32 {
            let range = store.read_at(&manifest, "t", u64::from(other) * 65_536 + 5, 65_536 - 5);
            match range {
                Ok(bytes) => {
                    assert_ne!(other, segment);
                    assert!(bytes == content[other as usize * 65_536 + 5..][..65_536 - 5]);
                }
                Err(StoreError::Damaged { damage: Damage::Segment { segment: named, .. }, .. }) => {
                    assert_eq!((other, named), (segment, segment));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn a_lost_index_is_made_again_from_the_packs() {
    let (vault, _) = small();
    let index = vault.stored_in("admitted/index");
    let contents: BTreeMap<_, _> = index.iter().map(|path| (path, fs::read(path).unwrap())).collect();
    for path in &index {
        fs::remove_file(path).unwrap();
    }
    let store = vault.open();
    assert_eq!(store.opened().rebuilt, 2);
    vault.ledger.check(&store).unwrap();

    for (path, bytes) in &contents {
        fs::write(path, &bytes[1..]).unwrap();
    }
    let mut store = vault.open();
    assert_eq!((store.opened().rebuilt, store.opened().damaged_index.len()), (2, 2));
    vault.ledger.check(&store).unwrap();
    store.reindex(&mut ringfence_trust::entropy::SeededEntropy::new(77)).unwrap();
    let store = vault.open();
    assert_eq!((store.opened().rebuilt, store.opened().damaged_index.len()), (0, 0));
    vault.ledger.check(&store).unwrap();
    assert!(store.verify(&vault.ledger.manifests()).unwrap().is_sound());
}

#[test]
fn a_pack_that_cannot_tell_its_chunks_is_named() {
    let (vault, _) = small();
    for path in vault.stored_in("admitted/index") {
        fs::remove_file(path).unwrap();
    }
    let path = vault.stored_in("admitted/packs").remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() - 20;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = open(vault.root.path(), quick(vault.root.path()), &vault.ledger).map(|_: Store| ()).unwrap_err();
    let StoreError::Damaged { file, damage: Damage::Table } = error else { panic!("{error}") };
    assert_eq!(file, name_in_store(&vault, &path));
}

#[test]
fn nothing_damaged_is_copied() {
    let mut vault = Vault::new();
    let store = vault.open();
    let content = noise(3 << 20, 6);
    let id = vault.add(&store, Namespace::Quarantine, &[("t".to_owned(), content, Cuts::At(Vec::new()))]);
    let path = vault.stored_in("quarantine/packs").remove(0);
    let mut changed = fs::read(&path).unwrap();
    changed[2 << 20] ^= 1;
    fs::write(&path, &changed).unwrap();
    let store = vault.open();
    let manifest = store.manifest(id).unwrap();
    let mut writer = store.writer(Namespace::Admitted, SeededEntropy::new(7)).unwrap();
    let copied = writer.copy(store.read(&manifest, "t").unwrap(), Cuts::Content);
    assert!(matches!(copied, Err(StoreError::Damaged { .. })), "{copied:?}");
    assert!(matches!(writer.finish(&|_| Ok(vec![])), Err(StoreError::WriterStopped)));
}
