//! What a new version costs is what is new in it.

use ringfence_store::{Cuts, PutStats};
use ringfence_trust::keys::Namespace;

use crate::vault::{File, Vault, file, noise};

const TENSOR_BYTES: usize = 2_500_000;

/// A file of a header and tensors, cut where a caller who knows the format would.
fn tensors(header: usize, seeds: &[u64]) -> File {
    let mut content = vec![b' '; header];
    let mut starts = Vec::new();
    for seed in seeds {
        starts.push(content.len() as u64);
        content.extend(noise(TENSOR_BYTES, *seed));
    }
    ("model.safetensors".to_owned(), content, Cuts::At(starts))
}

fn cost(vault: &mut Vault, store: &ringfence_store::Store, namespace: Namespace, files: &[File]) -> PutStats {
    let sealed = vault.put(store, namespace, files).unwrap();
    let stats = sealed.stats;
    vault.commit(store, sealed, files);
    stats
}

#[test]
fn one_changed_tensor_behind_a_longer_header() {
    let mut vault = Vault::new();
    let store = vault.open();
    let first = cost(&mut vault, &store, Namespace::Admitted, &[tensors(1_000, &[1, 2, 3, 4, 5, 6, 7, 8])]);
    assert_eq!(first.new_bytes, first.bytes);
    let second = cost(&mut vault, &store, Namespace::Admitted, &[tensors(1_333, &[1, 2, 33, 4, 5, 6, 7, 8])]);
    assert_eq!(second.new_bytes, TENSOR_BYTES as u64 + 1_333);
    // Padding of the pack to a Padmé length is at most 1/32 at this size; manifest and index come on top.
    let limit = second.new_bytes + second.new_bytes / 32 + 40_000;
    assert!(second.stored_bytes <= limit, "{} > {limit}", second.stored_bytes);
    let third = cost(&mut vault, &store, Namespace::Admitted, &[tensors(1_333, &[1, 2, 33, 4, 5, 6, 7, 8])]);
    assert_eq!((third.new_bytes, third.new_chunks), (0, 0));
    vault.ledger.check(&vault.open()).unwrap();
}

#[test]
fn an_insertion_into_text_costs_a_few_chunks() {
    let mut vault = Vault::new();
    let store = vault.open();
    let old = noise(6 << 20, 1);
    cost(&mut vault, &store, Namespace::Quarantine, &[file("data", old.clone())]);
    let new = [&old[..3_000_000], b"inserted".as_slice(), &old[3_000_000..]].concat();
    let stats = cost(&mut vault, &store, Namespace::Quarantine, &[file("data", new)]);
    assert!(stats.new_bytes <= 3 * 256 * 1024, "{} new bytes", stats.new_bytes);
}

#[test]
fn equal_files_of_one_version_are_stored_once() {
    let mut vault = Vault::new();
    let store = vault.open();
    let content = noise(100_000, 4);
    let stats =
        cost(&mut vault, &store, Namespace::Admitted, &[file("a", content.clone()), file("b", content.clone())]);
    assert_eq!((stats.bytes, stats.new_bytes), (200_000, 100_000));
    vault.ledger.check(&vault.open()).unwrap();
}

#[test]
fn namespaces_share_nothing() {
    let mut vault = Vault::new();
    let store = vault.open();
    let files = [file("a", noise(100_000, 5))];
    cost(&mut vault, &store, Namespace::Quarantine, &files);
    let admitted = cost(&mut vault, &store, Namespace::Admitted, &files);
    assert_eq!(admitted.new_bytes, 100_000);
}
