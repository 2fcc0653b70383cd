//! Keys: what unwraps what, what is refused, and what key files must look like.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::PathBuf,
};

use ringfence_trust::{
    Passphrase, VaultId,
    entropy::SeededEntropy,
    keys::{
        ChunkIdKey, CutKey, DetailKey, KdfParams, Kek, KekError, KeyError, KeyFileError, KeyId, KeyRole, KeyState,
        ManifestKey, Namespace, NamespaceKey, PackKey, Purpose, ShredGroup, WrappedKey,
    },
    seal::{open_blob, seal_blob},
    sign::SigningKey,
};

const GROUP: ShredGroup = ShredGroup::FIRST;

fn weakest(entropy: &mut SeededEntropy) -> KdfParams {
    KdfParams::with_cost(entropy, KdfParams::MEMORY_KIB_MIN, KdfParams::PASSES_MIN, 1)
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned()).unwrap()
}

#[test]
fn a_hierarchy_opens_from_the_passphrase_down() {
    let mut entropy = SeededEntropy::new(1);
    let vault = VaultId::random(&mut entropy);
    let params = weakest(&mut entropy);
    let kek = Kek::from_passphrase(&passphrase("correct horse"), &params).unwrap();
    let control = NamespaceKey::generate(&mut entropy, &vault, Namespace::Control);
    let row = kek.wrap(&mut entropy, &vault, Purpose::Namespace(Namespace::Control), 1, &control).unwrap();
    let detail = DetailKey::generate(&mut entropy);
    let detail_row = control.wrap(&mut entropy, Purpose::Detail, 1, &detail).unwrap();
    let log = SigningKey::generate(&mut entropy, KeyRole::Log).unwrap();
    let log_row = control.wrap(&mut entropy, Purpose::Signing(KeyRole::Log), 1, &log).unwrap();
    let blob = seal_blob(&detail, &mut entropy, &[b"opening"], b"a value").unwrap();

    let stored = serde_json::to_string(&(&params, &row, &detail_row, &log_row)).unwrap();
    let (params, row, detail_row, log_row): (KdfParams, WrappedKey, WrappedKey, WrappedKey) =
        serde_json::from_str(&stored).unwrap();
    let kek = Kek::from_passphrase(&passphrase("correct horse"), &params).unwrap();
    let control: NamespaceKey = kek.unwrap(&vault, &row).unwrap();
    assert_eq!((control.namespace(), control.vault()), (Namespace::Control, &vault));
    let detail: DetailKey = control.unwrap(&detail_row).unwrap();
    assert_eq!(open_blob(&detail, &[b"opening"], &blob).unwrap(), b"a value");
    let again: SigningKey = control.unwrap(&log_row).unwrap();
    assert_eq!((again.verifying_key(), again.role(), again.id()), (log.verifying_key(), KeyRole::Log, log.id()));

    let wrong = Kek::from_passphrase(&passphrase("correct hors"), &params).unwrap();
    let refused = wrong.unwrap::<NamespaceKey>(&vault, &row).unwrap_err();
    assert_eq!(refused, KeyError::WrongKey { id: row.id });
}

#[test]
fn every_field_of_a_row_is_bound() {
    let mut entropy = SeededEntropy::new(2);
    let vault = VaultId::random(&mut entropy);
    let wrapper = NamespaceKey::generate(&mut entropy, &vault, Namespace::Admitted);
    let key = PackKey::generate(&mut entropy);
    let purpose = Purpose::Pack(Namespace::Admitted, GROUP);
    let row = wrapper.wrap(&mut entropy, purpose, 1, &key).unwrap();
    let unwrap = |row: &WrappedKey| wrapper.unwrap::<PackKey>(row);
    assert_eq!(unwrap(&row).unwrap().id(), key.id());

    let id = KeyId::random(&mut entropy);
    let tampered = |row: WrappedKey| assert_eq!(unwrap(&row).unwrap_err(), KeyError::Tampered { id: row.id });
    tampered(WrappedKey { id, ..row.clone() });
    tampered(WrappedKey { version: 2, ..row.clone() });
    tampered(WrappedKey { purpose: Purpose::Pack(Namespace::Admitted, ShredGroup(1)), ..row.clone() });
    let refused = unwrap(&WrappedKey { wrapped_by: id, ..row.clone() }).unwrap_err();
    assert!(matches!(refused, KeyError::OtherWrapper { wrapped_by, .. } if wrapped_by == id));
    let foreign = WrappedKey { purpose: Purpose::Pack(Namespace::Quarantine, GROUP), ..row.clone() };
    assert!(matches!(unwrap(&foreign), Err(KeyError::Purpose { .. })));
    for position in 0..row.blob.len() {
        let mut changed = row.clone();
        changed.blob[position] ^= 0x80;
        let expected =
            if position < 64 { KeyError::WrongKey { id: row.id } } else { KeyError::Tampered { id: row.id } };
        assert_eq!(unwrap(&changed).unwrap_err(), expected, "byte {position}");
        changed.blob.truncate(position);
        assert_eq!(unwrap(&changed).unwrap_err(), KeyError::Length { id: row.id });
    }
}

#[test]
fn one_type_is_not_another_and_one_vault_not_another() {
    let mut entropy = SeededEntropy::new(3);
    let (vault, other) = (VaultId::random(&mut entropy), VaultId::random(&mut entropy));
    let wrapper = NamespaceKey::generate(&mut entropy, &vault, Namespace::Admitted);
    let (ids, cuts) = (ChunkIdKey::generate(&mut entropy), CutKey::generate(&mut entropy));
    let id_purpose = Purpose::ChunkId(Namespace::Admitted, GROUP);
    assert!(matches!(wrapper.wrap(&mut entropy, id_purpose, 1, &cuts), Err(KeyError::Purpose { .. })));
    let row = wrapper.wrap(&mut entropy, id_purpose, 1, &ids).unwrap();
    assert!(matches!(wrapper.unwrap::<CutKey>(&row), Err(KeyError::Purpose { .. })));
    assert!(matches!(wrapper.unwrap::<PackKey>(&row), Err(KeyError::Purpose { .. })));
    let relabelled = WrappedKey { purpose: Purpose::Cut(Namespace::Admitted, GROUP), ..row };
    assert!(matches!(wrapper.unwrap::<CutKey>(&relabelled), Err(KeyError::Tampered { .. })));

    // A namespace key wraps no namespace key, and none of another namespace's keys.
    let quarantine = NamespaceKey::generate(&mut entropy, &vault, Namespace::Quarantine);
    let purpose = Purpose::Namespace(Namespace::Quarantine);
    assert!(matches!(quarantine.wrap(&mut entropy, purpose, 1, &quarantine), Err(KeyError::Purpose { .. })));
    assert!(matches!(quarantine.wrap(&mut entropy, id_purpose, 1, &ids), Err(KeyError::Purpose { .. })));

    let params = weakest(&mut entropy);
    let kek = Kek::from_passphrase(&passphrase("p"), &params).unwrap();
    // Nor is a key wrapped as something that it is not.
    let wrong = Purpose::Namespace(Namespace::Admitted);
    assert!(matches!(kek.wrap(&mut entropy, &vault, wrong, 1, &quarantine), Err(KeyError::Purpose { .. })));
    assert!(matches!(kek.wrap(&mut entropy, &other, purpose, 1, &quarantine), Err(KeyError::Purpose { .. })));
    let log = SigningKey::generate(&mut entropy, KeyRole::Log).unwrap();
    let wrong = Purpose::Signing(KeyRole::Evidence);
    assert!(matches!(kek.wrap(&mut entropy, &vault, wrong, 1, &log), Err(KeyError::Purpose { .. })));
    let row = kek.wrap(&mut entropy, &vault, purpose, 1, &quarantine).unwrap();
    assert!(matches!(kek.unwrap::<NamespaceKey>(&other, &row), Err(KeyError::Tampered { .. })));
    let relabelled = WrappedKey { purpose: Purpose::Namespace(Namespace::Admitted), ..row };
    assert!(matches!(kek.unwrap::<NamespaceKey>(&vault, &relabelled), Err(KeyError::Tampered { .. })));
}

#[test]
fn rewrapping_moves_a_key_and_nothing_else() {
    let mut entropy = SeededEntropy::new(4);
    let vault = VaultId::random(&mut entropy);
    let dir = tempfile::tempdir().unwrap();
    let old = Kek::create_key_file(&dir.path().join("old"), &mut entropy).unwrap();
    let new = Kek::create_key_file(&dir.path().join("new"), &mut entropy).unwrap();
    let first = NamespaceKey::generate(&mut entropy, &vault, Namespace::Admitted);
    let row = old.wrap(&mut entropy, &vault, Purpose::Namespace(Namespace::Admitted), 1, &first).unwrap();
    let moved = old.rewrap(&mut entropy, &vault, &new, &row).unwrap();
    assert_eq!((moved.id, moved.version, moved.wrapped_by), (row.id, row.version, new.id()));
    assert!(matches!(old.unwrap::<NamespaceKey>(&vault, &moved), Err(KeyError::OtherWrapper { .. })));
    let first: NamespaceKey = new.unwrap(&vault, &moved).unwrap();

    let manifest = ManifestKey::generate(&mut entropy);
    let purpose = Purpose::Manifest(Namespace::Admitted, GROUP);
    let row = first.wrap(&mut entropy, purpose, 1, &manifest).unwrap();
    let blob = seal_blob(&manifest, &mut entropy, &[], b"manifest").unwrap();
    let second = NamespaceKey::generate(&mut entropy, &vault, Namespace::Admitted);
    let moved = first.rewrap(&mut entropy, &second, &row).unwrap();
    let manifest: ManifestKey = second.unwrap(&moved).unwrap();
    assert_eq!(open_blob(&manifest, &[], &blob).unwrap(), b"manifest");
    let elsewhere = NamespaceKey::generate(&mut entropy, &vault, Namespace::Quarantine);
    assert!(matches!(first.rewrap(&mut entropy, &elsewhere, &row), Err(KeyError::Purpose { .. })));
}

#[test]
fn passphrase_parameters_have_bounds() {
    let mut entropy = SeededEntropy::new(5);
    let good = weakest(&mut entropy);
    let standard = KdfParams::unseal(&mut entropy);
    assert_eq!((standard.memory_kib, standard.passes, standard.lanes), (262_144, 3, 1));
    standard.check().unwrap();
    let refused = |params: KdfParams, wanted: &str| {
        let error = Kek::from_passphrase(&passphrase("p"), &params).unwrap_err();
        assert!(matches!(error, KekError::OutOfBounds { field, .. } if field == wanted), "{error}");
    };
    refused(KdfParams { memory_kib: KdfParams::MEMORY_KIB_MIN - 1, ..good.clone() }, "memory_kib");
    refused(KdfParams { memory_kib: u32::MAX, ..good.clone() }, "memory_kib");
    refused(KdfParams { passes: 1, ..good.clone() }, "passes");
    refused(KdfParams { passes: u32::MAX, ..good.clone() }, "passes");
    refused(KdfParams { lanes: 0, ..good.clone() }, "lanes");
    refused(KdfParams { lanes: u32::MAX, ..good.clone() }, "lanes");
    let text = serde_json::to_string(&good).unwrap();
    assert_eq!(serde_json::from_str::<KdfParams>(&text).unwrap(), good);
    serde_json::from_str::<KdfParams>(&text.replace("argon2id-v19", "argon2i-v19")).unwrap_err();
}

#[test]
fn names_have_one_spelling() {
    for text in ["namespace/admitted", "pack/quarantine/0", "chunk-id/admitted/7", "detail/control", "signing/root"] {
        assert_eq!(text.parse::<Purpose>().unwrap().to_string(), text);
    }
    let others = [
        "",
        "pack",
        "pack/admitted",
        "pack/admitted/+1",
        "pack/admitted/01",
        "pack/nowhere/0",
        "Pack/admitted/0",
        "detail/quarantine",
        "signing/king",
        "namespace/admitted/0",
    ];
    assert!(others.iter().all(|text| text.parse::<Purpose>().is_err()));
    assert!("0123456789abcdef0123456789abcdef".parse::<KeyId>().is_ok());
    assert!("0123456789ABCDEF0123456789abcdef".parse::<KeyId>().is_err());
}

#[test]
fn states_only_go_forward() {
    use KeyState::{Active, Destroyed, Retired};
    assert!(Active.may_become(Retired) && Active.may_become(Destroyed) && Retired.may_become(Destroyed));
    assert!(!Retired.may_become(Active) && !Destroyed.may_become(Active) && !Destroyed.may_become(Retired));
    assert!(Active.may_seal() && !Retired.may_seal() && Retired.may_open() && !Destroyed.may_open());
}

#[test]
fn nothing_secret_is_printed() {
    let mut entropy = SeededEntropy::new(6);
    let vault = VaultId::random(&mut entropy);
    let secrets = format!(
        "{:?} {:?} {:?} {:?}",
        NamespaceKey::generate(&mut entropy, &vault, Namespace::Admitted),
        PackKey::generate(&mut entropy),
        DetailKey::generate(&mut entropy),
        SigningKey::generate(&mut entropy, KeyRole::Root).unwrap(),
    );
    assert_eq!(secrets.matches("[redacted]").count(), 4, "{secrets}");
}

#[test]
fn cut_keys_give_tables_of_their_own() {
    let mut entropy = SeededEntropy::new(7);
    let (one, two) = (CutKey::generate(&mut entropy), CutKey::generate(&mut entropy));
    assert_eq!(one.gear(), one.gear());
    assert_ne!(one.gear(), two.gear());
    let mut values = one.gear().to_vec();
    values.sort_unstable();
    values.dedup();
    assert_eq!(values.len(), 256);
}

fn key_file() -> (tempfile::TempDir, PathBuf, KeyId) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault.key");
    let kek = Kek::create_key_file(&path, &mut SeededEntropy::new(8)).unwrap();
    (dir, path, kek.id())
}

#[test]
fn a_key_file_reads_back_and_is_never_overwritten() {
    let (_dir, path, id) = key_file();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(Kek::from_key_file(&path).unwrap().id(), id);
    let before = fs::read(&path).unwrap();
    assert!(matches!(Kek::create_key_file(&path, &mut SeededEntropy::new(9)), Err(KeyFileError::Io { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_key_file_that_others_could_read_or_change_is_refused() {
    let (dir, path, _) = key_file();
    for mode in [0o400, 0o640, 0o604, 0o666, 0o700, 0o4600] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = Kek::from_key_file(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Mode { mode: found, .. } if found == mode), "{error}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(matches!(Kek::from_key_file(&link), Err(KeyFileError::Io { .. })));
    assert!(Kek::from_key_file(dir.path()).is_err());
    // Giving a file away needs privilege; where there is none, a foreign file cannot be made for the test.
    if chown(&path, Some(54_321), None).is_ok() {
        assert!(matches!(Kek::from_key_file(&path), Err(KeyFileError::Owner { owner: 54_321, .. })));
    }
}

#[test]
fn a_key_file_of_another_size_or_content_is_refused() {
    let (_dir, path, _) = key_file();
    let good = fs::read(&path).unwrap();
    let written = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Kek::from_key_file(&path).unwrap_err()
    };
    assert!(matches!(written(&good[..good.len() - 1]), KeyFileError::Size { .. }));
    assert!(matches!(written(&[&good[..], b"\n"].concat()), KeyFileError::Size { .. }));
    assert!(matches!(written(b""), KeyFileError::Size { .. }));
    let mut changed = good.clone();
    changed[60] ^= 1;
    assert!(matches!(written(&changed), KeyFileError::Damaged { .. }));
}
