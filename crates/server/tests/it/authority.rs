//! The embedded authority and certificates by file.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};

use rcgen::{CertificateParams, KeyPair};
use ringfence_engine::schema::Timestamp;
use ringfence_server::{
    guard::hosts::HostName,
    serve::{
        authority::{AUTHORITY_LIFE, Authority, AuthorityError, PART_LIFE},
        files::{FileError, load},
    },
};
use rustls::client::{WebPkiServerVerifier, danger::ServerCertVerifier as _};
use rustls_pki_types::{ServerName, UnixTime};

use crate::world::now;

fn names(names: &[&str]) -> Vec<HostName> {
    names.iter().map(|name| HostName::parse(name).unwrap()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn it_is_made_once_and_its_key_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("a/tls");
    let first = Authority::open(&place, &names(&["guard.example", "192.0.2.1", "2001:db8::1"]), now()).unwrap();
    assert_eq!(mode(&place), 0o700);
    assert_eq!(mode(&place.join("authority.key.pem")), 0o600);
    let again = Authority::open(&place, &names(&["guard.example"]), now()).unwrap();
    assert_eq!(first.fingerprint(), again.fingerprint());
    let shown = first.fingerprint().to_string();
    assert!(shown.len() == 95 && shown.split(':').all(|pair| pair.len() == 2), "{shown}");
    let other = Authority::open(&place, &names(&["other.example"]), now()).unwrap_err();
    assert!(matches!(&other, AuthorityError::OutsideNames { host, .. } if host == "other.example"), "{other}");
    assert!(!other.remedy().is_empty());
}

#[test]
fn clients_believe_it_for_its_names_alone() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(folder.path(), &names(&["guard.example", "192.0.2.1"]), now()).unwrap();
    let crypto = Arc::new(ringfence_server::serve::tls::provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(authority.roots().unwrap()), crypto).build().unwrap();
    let leaf = authority.leaf(now()).unwrap();
    let (end, between) = leaf.key.cert.split_first().unwrap();
    let valid = |name: &str, chain: &rustls_pki_types::CertificateDer<'_>, after_days: u64| {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs() + after_days * 86_400));
        verifier.verify_server_cert(chain, between, &name, &[], at).is_ok()
    };
    for name in ["guard.example", "localhost", "127.0.0.1", "::1", "192.0.2.1"] {
        assert!(valid(name, end, 0), "{name}");
    }
    assert!(!valid("other.example", end, 0));
    assert!(!valid("guard.example", end, 31), "it lives 30 days");

    // Whoever gets hold of the key can sign for nobody else.
    let key = KeyPair::from_pem(&fs::read_to_string(folder.path().join("authority.key.pem")).unwrap()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(authority.certificate(), key).unwrap();
    let stolen = CertificateParams::new(vec!["bank.example".to_owned()]).unwrap();
    let stolen = stolen.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    assert!(!valid("bank.example", stolen.der(), 0));
}

#[test]
fn what_was_changed_behind_its_back_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = |at: Timestamp| Authority::open(folder.path(), &[], at);
    open(now()).unwrap();
    let (key, certificate) = (folder.path().join("authority.key.pem"), folder.path().join("authority.pem"));
    let (key_pem, certificate_pem) = (fs::read(&key).unwrap(), fs::read(&certificate).unwrap());

    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(open(now()), Err(AuthorityError::Exposed { mode: 0o640, .. })));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();

    let late = now().plus_millis(u64::try_from(AUTHORITY_LIFE.as_millis()).unwrap());
    assert!(matches!(open(late), Err(AuthorityError::Expired { .. })));
    fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(matches!(open(now()), Err(AuthorityError::Mismatch { .. })));
    for junk in [b"".to_vec(), b"junk".to_vec(), vec![b'x'; 100_000], certificate_pem.clone()] {
        fs::write(&key, junk).unwrap();
        assert!(matches!(open(now()), Err(AuthorityError::Unreadable { .. })));
    }
    fs::write(&key, &key_pem).unwrap();
    fs::write(&certificate, &key_pem).unwrap();
    assert!(matches!(open(now()), Err(AuthorityError::Unreadable { .. })));
    // A start that broke off before the certificate was there counts as none.
    fs::remove_file(&certificate).unwrap();
    open(now()).unwrap();
}

#[test]
fn parts_have_names_and_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(folder.path(), &[], now()).unwrap();
    for name in ["", "A", "a.b", "-a", "a-", "a b", "../a", &"a".repeat(64)] {
        assert!(matches!(authority.part(name, now()), Err(AuthorityError::PartName { .. })), "{name}");
    }
    let at = now();
    let part = authority.part("runner-1", at).unwrap();
    assert_eq!(part.expires, at.plus_millis(u64::try_from(PART_LIFE.as_millis()).unwrap()));
    assert!(!format!("{part:?}").contains("PRIVATE"));
    assert_ne!(authority.part("runner-1", at).unwrap().fingerprint, part.fingerprint, "each has a key of its own");
}

#[test]
fn certificates_by_file_are_checked_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(&folder.path().join("ca"), &names(&["guard.example"]), now()).unwrap();
    let ca_key = KeyPair::from_pem(&fs::read_to_string(folder.path().join("ca/authority.key.pem")).unwrap()).unwrap();
    let ca_pem = fs::read_to_string(authority.certificate_path()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(authority.certificate(), ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["guard.example".to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap().pem();
    let (chain_path, key_path) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    let put = |chain: &str, key: &str| {
        fs::write(&chain_path, chain).unwrap();
        fs::write(&key_path, key).unwrap();
        fs::set_permissions(&key_path, fs::Permissions::from_mode(0o600)).unwrap();
        load(&chain_path, &key_path, now())
    };
    let key_pem = key.serialize_pem();
    assert_eq!(put(&(leaf.clone() + &ca_pem), &key_pem).unwrap().cert.len(), 2);
    assert_eq!(put(&leaf, &key_pem).unwrap().cert.len(), 1, "a chain may leave out its root");

    let other = KeyPair::generate().unwrap();
    let stranger = CertificateParams::new(vec!["ca.example".to_owned()]).unwrap().self_signed(&other).unwrap().pem();
    let mut old = CertificateParams::new(vec!["guard.example".to_owned()]).unwrap();
    old.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let old = old.signed_by(&key, &issuer).unwrap().pem();
    assert!(matches!(put(&leaf, &other.serialize_pem()), Err(FileError::Mismatch { .. })));
    assert!(matches!(put(&(ca_pem.clone() + &leaf), &key_pem), Err(FileError::Mismatch { .. })));
    assert!(matches!(put(&(leaf.clone() + &stranger), &key_pem), Err(FileError::Broken { .. })));
    assert!(matches!(put(&old, &key_pem), Err(FileError::OutOfTime { number: 1, .. })));
    assert!(matches!(put("", &key_pem), Err(FileError::NoChain { .. })));
    assert!(matches!(put(&leaf.repeat(9), &key_pem), Err(FileError::NoChain { .. })));
    assert!(matches!(put(&leaf, "junk"), Err(FileError::NoKey { .. })));
    put(&leaf, &key_pem).unwrap();
    fs::set_permissions(&key_path, fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = load(&chain_path, &key_path, now()).unwrap_err();
    assert!(exposed.to_string().contains("mode 644") && exposed.remedy().contains("chmod 600"), "{exposed}");
}
