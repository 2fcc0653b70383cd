//! What the files tell somebody without keys: their number, and sizes rounded to a few values.

use std::fs;

use ringfence_schema::{Digest, digest::hex};
use ringfence_store::Cuts;
use ringfence_trust::keys::Namespace;

use crate::vault::{File, Vault, file, noise};

const MARKER: &[u8] = b"a sentence that must never be seen outside";

fn contains(bytes: &[u8], marker: &[u8]) -> bool {
    bytes.windows(marker.len()).any(|window| window == marker)
}

#[test]
fn no_plaintext_and_no_plain_hash_is_ever_written() {
    let mut vault = Vault::durable();
    let store = vault.open();
    let content = [MARKER, &noise(5_000, 1), MARKER].concat();
    let files = [file("secret-name", content.clone()), ("t".to_owned(), content.clone(), Cuts::At(vec![42]))];
    vault.add(&store, Namespace::Admitted, &files);
    vault.add(&store, Namespace::Quarantine, &files);
    // A writer that dies half-way leaves its files behind.
    let mut writer = store.writer(Namespace::Admitted, ringfence_trust::entropy::SeededEntropy::new(50)).unwrap();
    writer.file("t", &mut [MARKER, &noise(3 << 20, 2)].concat().as_slice(), Cuts::Content).unwrap();
    drop(writer);
    let sha256 = Digest::of(&content);
    let blake3 = blake3::hash(&content);
    for path in vault.stored() {
        let bytes = fs::read(&path).unwrap();
        let text = path.to_str().unwrap();
        for marker in [MARKER, b"secret-name", sha256.as_bytes(), blake3.as_bytes()] {
            assert!(!contains(&bytes, marker), "{text}");
            assert!(!text.contains(&hex(marker)), "{text}");
        }
    }
}

#[test]
fn two_artifacts_of_one_shape_look_the_same() {
    let shape = |seed: u64| -> Vec<File> {
        vec![
            ("model".to_owned(), noise(3_000_000, seed), Cuts::At(vec![100, 50_000, 2_000_000])),
            file(&format!("name-{seed}"), noise(10_000, seed + 1)),
        ]
    };
    let sizes = |seed| {
        let mut vault = Vault::new();
        let store = vault.open();
        vault.add(&store, Namespace::Admitted, &shape(seed));
        ["admitted/packs", "admitted/index", "admitted/manifests"]
            .map(|dir| vault.stored_in(dir).iter().map(|path| path.metadata().unwrap().len()).collect::<Vec<_>>())
    };
    assert_eq!(sizes(10), sizes(20));
}

#[test]
fn sizes_are_rounded() {
    let size = |bytes: usize| {
        let mut vault = Vault::new();
        let store = vault.open();
        vault.add(&store, Namespace::Admitted, &[file("a", noise(bytes, 1))]);
        vault.stored_in("admitted/packs")[0].metadata().unwrap().len()
    };
    let sizes: std::collections::BTreeSet<u64> = (10_000..10_040).step_by(4).map(size).collect();
    assert_eq!(sizes.len(), 1, "{sizes:?}");
}
