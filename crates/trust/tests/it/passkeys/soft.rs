//! Passkeys in files: they verify like any other, and open under their passphrase alone.

use std::os::unix::fs::PermissionsExt as _;

use ringfence_schema::Digest;
use ringfence_trust::{
    Passphrase,
    entropy::SeededEntropy,
    factor::passkey::{Algorithm, Backup, Challenge, Passkey, SOFT_KEY_AAGUID, SealedSoftKey, SoftKey, SoftKeyError},
    keys::{KdfParams, KeyFileError},
};

use super::device::{challenge, party, user};
use crate::own_vectors::compare;

const ORIGIN: &str = "https://example.org";

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned()).unwrap()
}

fn soft_key() -> SoftKey {
    SoftKey::generate("example.org", &user(), &mut SeededEntropy::new(11)).unwrap()
}

fn sealed(key: &SoftKey) -> SealedSoftKey {
    let entropy = &mut SeededEntropy::new(12);
    let kdf = KdfParams::with_cost(entropy, KdfParams::MEMORY_KIB_MIN, KdfParams::PASSES_MIN, 1);
    key.seal(&passphrase("lamps and cranes"), kdf, entropy).unwrap()
}

#[test]
fn a_soft_key_is_a_passkey_that_says_what_it_is() {
    let key = soft_key();
    let registration = key.register(ORIGIN, &challenge(1)).unwrap();
    let passkey = Passkey::register(&party(), &user(), &challenge(1), &registration).unwrap();
    assert_eq!(passkey.aaguid, SOFT_KEY_AAGUID);
    assert_eq!(passkey.backup, Backup::DeviceBound);
    assert_eq!(passkey.public_key.algorithm(), Algorithm::Es256);
    for number in 2..5 {
        let assertion = key.assert(ORIGIN, &challenge(number)).unwrap();
        assert!(passkey.verify(&party(), &challenge(number), &assertion).unwrap().user_verified);
    }
    let digest = Digest::of(b"request");
    let approval = key.assert("https://lab.example.org:8443", &Challenge::over(&digest)).unwrap();
    passkey.verify_offline(&party(), &digest, &approval).unwrap();
    assert!(format!("{key:?}").contains("[redacted]"));
}

#[test]
fn a_soft_key_signs_for_its_own_party_alone() {
    for origin in ["https://evil.org", "https://example.org.evil.org", "http://example.org", ""] {
        let refused = soft_key().assert(origin, &challenge(2)).unwrap_err();
        assert!(matches!(refused, SoftKeyError::Origin { .. }), "{origin}");
        assert!(matches!(soft_key().register(origin, &challenge(2)), Err(SoftKeyError::Origin { .. })));
    }
}

#[test]
fn a_file_opens_under_its_passphrase_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ann.passkey");
    let key = soft_key();
    sealed(&key).save(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(sealed(&key).save(&path), Err(SoftKeyError::File(KeyFileError::Io { .. }))), "never overwritten");
    let loaded = SealedSoftKey::load(&path).unwrap();
    assert_eq!(loaded, sealed(&key));
    let opened = loaded.open(&passphrase("lamps and cranes")).unwrap();
    assert_eq!(opened.credential_id(), key.credential_id());
    let registration = key.register(ORIGIN, &challenge(1)).unwrap();
    let passkey = Passkey::register(&party(), &user(), &challenge(1), &registration).unwrap();
    passkey.verify(&party(), &challenge(2), &opened.assert(ORIGIN, &challenge(2)).unwrap()).unwrap();
    let refused = loaded.open(&passphrase("lamps and crane")).unwrap_err();
    assert!(matches!(refused, SoftKeyError::WrongPassphrase));

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(SealedSoftKey::load(&path), Err(SoftKeyError::File(KeyFileError::Mode { .. }))));
}

/// The passphrase of the vector is `lamps and cranes`.
#[test]
fn the_file_is_written_as_it_always_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passkey");
    sealed(&soft_key()).save(&path).unwrap();
    compare("passkey.json", &std::fs::read(&path).unwrap());
}

#[test]
fn a_changed_file_does_not_open() {
    let sealed = serde_json::to_value(sealed(&soft_key())).unwrap();
    let other = SoftKey::generate("example.org", &user(), &mut SeededEntropy::new(13)).unwrap();
    let other = serde_json::to_value(self::sealed(&other)).unwrap();
    let open = |file: serde_json::Value| {
        serde_json::from_value::<SealedSoftKey>(file)
            .map_err(|_| SoftKeyError::Damaged)?
            .open(&passphrase("lamps and cranes"))
    };
    for (pointer, value) in [
        ("/key/rp_id", serde_json::json!("evil.org")),
        ("/key/user_handle", serde_json::json!("Ym9i")),
        ("/key/credential_id", other["key"]["credential_id"].clone()),
        ("/key/public_key", other["key"]["public_key"].clone()),
        ("/sealed", serde_json::json!("AAAA")),
        ("/format", serde_json::json!("ringfence.passkey/2")),
    ] {
        let mut changed = sealed.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        assert!(matches!(open(changed).unwrap_err(), SoftKeyError::Damaged), "{pointer}");
    }
    let mut dear = sealed.clone();
    dear["kdf"]["memory_kib"] = serde_json::json!(u32::MAX);
    assert!(matches!(open(dear).unwrap_err(), SoftKeyError::Passphrase(_)));
    assert!(open(sealed).is_ok());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    std::fs::write(&path, vec![b' '; 9_000]).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(SealedSoftKey::load(&path), Err(SoftKeyError::Damaged)));
}
