//! Files that are not what they should be: refused by name, never a panic.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use ringfence_catalog::{Catalog, CatalogError};
use ringfence_schema::trail::EntryKind;
use rusqlite::Connection;

use crate::world::{draft, genesis, sample, signer, verify};

fn sampled() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    sample(&path);
    (dir, path)
}

/// Puts a database of these bytes there, and nothing beside it.
fn place(path: &Path, bytes: &[u8]) {
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", path.display()));
    }
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

fn refusals(path: &Path) -> [CatalogError; 2] {
    [Catalog::open(path, signer()).err().unwrap(), Catalog::open_read_only(path).err().unwrap()]
}

#[test]
fn a_new_file_is_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let catalog = Catalog::create(&path, signer()).unwrap();
    genesis(&catalog);
    for file in fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
    }
    drop(catalog);
    assert!(matches!(Catalog::create(&path, signer()), Err(CatalogError::Exists { .. })));
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(Catalog::open(&path, signer()), Err(CatalogError::Exposed { mode: 0o640, .. })));
}

#[test]
fn an_empty_file_is_what_a_crash_leaves_of_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    place(&path, b"");
    assert!(matches!(Catalog::open(&path, signer()), Err(CatalogError::Foreign { .. })));
    genesis(&Catalog::create(&path, signer()).unwrap());
    assert!(verify(&path, None).unwrap().is_intact());
}

#[test]
fn other_files_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    for error in refusals(&path) {
        assert!(matches!(error, CatalogError::Missing { .. }), "{error}");
    }
    place(&path, "a letter to somebody\n".repeat(200).as_bytes());
    for error in refusals(&path) {
        assert!(matches!(error, CatalogError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()));
    }
    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE trail (idx INTEGER PRIMARY KEY)").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    for error in refusals(&path) {
        assert!(matches!(error, CatalogError::Foreign { .. }), "{error}");
    }
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let (_dir, path) = sampled();
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 5).unwrap();
    for error in refusals(&path) {
        assert!(matches!(error, CatalogError::Newer { found: 5, known: 4, .. }), "{error}");
    }
}

#[test]
fn a_schema_with_additions_is_refused() {
    for addition in [
        "CREATE TRIGGER t AFTER INSERT ON trail BEGIN DELETE FROM state; END",
        "CREATE VIEW v AS SELECT * FROM trail",
        "CREATE INDEX i ON trail (leaf)",
        "ALTER TABLE state ADD COLUMN more TEXT",
        "DROP TABLE open_intent",
    ] {
        let (_dir, path) = sampled();
        Connection::open(&path).unwrap().execute_batch(addition).unwrap();
        for error in refusals(&path) {
            assert!(matches!(error, CatalogError::Damaged { .. }), "{addition}: {error}");
        }
    }
}

#[test]
fn reading_changes_nothing() {
    let (dir, path) = sampled();
    let before = fs::read(&path).unwrap();
    let catalog = Catalog::open_read_only(&path).unwrap();
    assert!(catalog.verify(&crate::world::check, None).unwrap().is_intact());
    assert!(matches!(catalog.commit(|tx| Ok(tx.next_index())), Err::<u64, _>(CatalogError::ReadOnly { .. })));
    drop(catalog);
    assert_eq!(fs::read(&path).unwrap(), before);
    drop(dir);
}

/// Overwrites bytes anywhere in the file. Whatever happens, nothing panics, and what still verifies reads as before.
#[test]
fn damaged_pages_are_errors_or_findings() {
    let (dir, path) = sampled();
    let original = fs::read(&path).unwrap();
    let entries = Catalog::open_read_only(&path).unwrap().entries(0..100).unwrap();
    let damaged = dir.path().join("damaged.db");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let (mut errors, mut findings, mut harmless) = (0, 0, 0);
    for round in 0..600 {
        let mut bytes = original.clone();
        let at = random(bytes.len());
        match round % 3 {
            0 => bytes[at] ^= 1 << random(8),
            1 => bytes.iter_mut().skip(at).take(64).for_each(|byte| *byte = 0xff),
            _ => bytes.truncate(at),
        }
        place(&damaged, &bytes);
        if let Ok(catalog) = Catalog::open(&damaged, signer()) {
            let _ = catalog.commit(|tx| tx.append(draft(EntryKind::Denial, "on damage"), None, vec![]));
            let _ = catalog.open_intents();
        }
        place(&damaged, &bytes);
        match verify(&damaged, None) {
            Err(error) => {
                assert!(error.to_string().contains("damaged.db"), "{error}");
                errors += 1;
            }
            Ok(verdict) if verdict.is_intact() => {
                let now = Catalog::open_read_only(&damaged).unwrap().entries(0..100).unwrap();
                assert!(now == entries || (now.is_empty() && verdict.entries == 0), "round {round}");
                harmless += 1;
            }
            Ok(_) => findings += 1,
        }
    }
    assert!(errors > 50 && findings > 5 && harmless > 5, "{errors} {findings} {harmless}");
}
