//! Input that is refused, and what a refusal leaves behind.

use std::io;

use ringfence_schema::tree::TreeError;
use ringfence_store::{CutError, Cuts, StoreError, Writer};
use ringfence_trust::{entropy::SeededEntropy, keys::Namespace};

use crate::vault::{Vault, file};

fn writer(vault: &Vault) -> Writer {
    vault.open().writer(Namespace::Admitted, SeededEntropy::new(3)).unwrap()
}

#[test]
fn unsafe_paths() {
    let vault = Vault::new();
    for path in ["", "/etc/passwd", "../up", "a/../b", "a//b", "./a", "a/.", "a\\b", "c:d", "nul\0", "e\u{301}"] {
        let error = writer(&vault).file(path, &mut b"".as_slice(), Cuts::Content).unwrap_err();
        assert!(matches!(error, StoreError::Tree(TreeError::UnsafePath { .. })), "{path:?}: {error}");
    }
    let mut writer = writer(&vault);
    writer.file("a", &mut b"".as_slice(), Cuts::Content).unwrap();
    let error = writer.file("a", &mut b"".as_slice(), Cuts::Content).unwrap_err();
    assert!(matches!(error, StoreError::Tree(TreeError::DuplicatePath { .. })));
}

#[test]
fn offsets_that_do_not_fit() {
    let vault = Vault::new();
    for (offsets, expected) in [
        (vec![3, 3], CutError::NotRising { before: 3, after: 3 }),
        (vec![4, 2], CutError::NotRising { before: 4, after: 2 }),
        (vec![1, 9], CutError::OutOfBounds { offset: 9, size: 8 }),
    ] {
        let error = writer(&vault).file("a", &mut b"8 bytes!".as_slice(), Cuts::At(offsets)).unwrap_err();
        assert!(matches!(&error, StoreError::Cut { path, source } if path == "a" && *source == expected), "{error}");
    }
}

#[test]
fn an_error_ends_the_writer() {
    struct Broken;
    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the cable was pulled"))
        }
    }
    let vault = Vault::new();
    let mut writer = writer(&vault);
    let error = writer.file("a", &mut Broken, Cuts::Content).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the content of `a`: the cable was pulled");
    let error = writer.file("b", &mut b"".as_slice(), Cuts::Content).unwrap_err();
    assert!(matches!(error, StoreError::WriterStopped));
    assert!(matches!(writer.finish(&|_| Ok(vec![])), Err(StoreError::WriterStopped)));
}

#[test]
fn a_refused_signature_leaves_no_manifest() {
    let vault = Vault::new();
    let mut writer = writer(&vault);
    writer.file("a", &mut b"x".as_slice(), Cuts::Content).unwrap();
    let refused = writer.finish(&|_| Err("no key".into()));
    assert!(matches!(refused, Err(StoreError::NotSigned(_))));
    assert!(vault.stored_in("admitted/manifests").is_empty());
}

#[test]
fn what_is_not_there() {
    let mut vault = Vault::new();
    let store = vault.open();
    let id = vault.add(&store, Namespace::Admitted, &[file("a", "12345678")]);
    let manifest = store.manifest(id).unwrap();
    assert!(matches!(store.read(&manifest, "b"), Err(StoreError::UnknownFile { .. })));
    assert!(matches!(store.read_at(&manifest, "a", 8, 1), Err(StoreError::OutOfRange { .. })));
    assert!(matches!(store.read_at(&manifest, "a", u64::MAX, 2), Err(StoreError::OutOfRange { .. })));
    assert_eq!(store.read_at(&manifest, "a", 8, 0).unwrap(), b"");
    assert!(matches!(store.writer(Namespace::Control, SeededEntropy::new(1)), Err(StoreError::NoFiles { .. })));
    let unknown = "00".repeat(16).parse().unwrap();
    let error = store.manifest(unknown).unwrap_err();
    assert_eq!(error.to_string(), format!("`admitted/manifests/{}` is damaged: it is missing", "00".repeat(16)));
}
