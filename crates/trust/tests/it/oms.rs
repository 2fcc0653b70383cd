//! Model signatures: what PyPI `model-signing` 1.1.1 made is verified here, what is made here is verified there, and
//! everything that was tampered with is refused by name.
//!
//! `tests/vectors/oms/make.py` made the committed signatures. The way back needs that package: name a Python that has it in
//! `RINGFENCE_MODEL_SIGNING_PYTHON`; without it the test says so and passes.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use proptest::prelude::*;
use ringfence_schema::{Digest, Timestamp, Tree, TreeEntry};
use ringfence_trust::{
    certificate::{self, CertificateError, SignerNames},
    content::{Content as _, Folder, HashAlgorithm, OnRecord},
    ecdsa::{EcdsaError, EcdsaKey, EcdsaPublicKey},
    oms::{self, Method, ModelSigner, OmsError, Request, Serialization, SignedBy, Trusted, Uncovered, Verified},
};

use crate::support::vectors;

/// A day in 2026, inside the validity of the long-lived certificates.
const AT: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn here(name: &str) -> PathBuf {
    vectors().join("oms").join(name)
}

fn file(name: &str) -> Vec<u8> {
    fs::read(here(name)).unwrap()
}

fn signature(name: &str) -> Vec<u8> {
    file(&format!("signatures/{name}.sig"))
}

fn request() -> Request<'static> {
    Request { signature_path: Some("model.sig"), at: AT, uncovered: Uncovered::Tell }
}

fn key(curve: &str) -> Trusted {
    Trusted::Key(EcdsaPublicKey::from_pem(&file(&format!("{curve}.pub.pem"))).unwrap())
}

fn roots(name: &str, names: SignerNames) -> Trusted {
    Trusted::Certificates { roots: certificate::from_pem(&file(name)).unwrap(), names }
}

fn verify(name: &str, trusted: Trusted) -> Result<Verified, OmsError> {
    oms::verify(&Folder::open(&here("model")).unwrap(), &signature(name), &[trusted], &request())
}

/// A copy of the model that a test may change.
fn copy() -> tempfile::TempDir {
    fn copy_into(from: &Path, to: &Path) {
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                fs::create_dir(&target).unwrap();
                copy_into(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    copy_into(&here("model"), dir.path());
    dir
}

#[test]
fn signatures_of_the_reference_hold() {
    let all = ["config.json", "d0-x", "d0/é.txt", "empty", "weights.bin"];
    for (name, curve) in [
        ("key-p256", "p256"),
        ("key-p384", "p384"),
        ("key-p521", "p521"),
        ("key-blake2", "p256"),
        ("key-blake3", "p256"),
        ("key-old", "p256"),
    ] {
        let verified = verify(name, key(curve)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(verified.files, all, "{name}");
        assert_eq!(verified.unsigned, [".gitattributes"], "{name}");
        assert_eq!((verified.by, verified.old_form), (SignedBy::Key, name == "key-old"), "{name}");
    }
    let shards = verify("key-shards", key("p256")).unwrap();
    assert_eq!(shards.unsigned, [".gitattributes", "empty"], "an empty file has no piece that could be signed");
    let with_git = verify("key-with-git", key("p256")).unwrap();
    assert!(with_git.unsigned.is_empty() && with_git.files.contains(&".gitattributes".to_owned()));
    let single = Folder::of_file(&here("model/weights.bin")).unwrap();
    let verified = oms::verify(&single, &signature("key-single"), &[key("p256")], &request()).unwrap();
    assert_eq!(verified.files, ["weights.bin"]);
}

#[test]
fn certificates_of_the_reference_hold_within_their_validity() {
    let verified = verify("cert-plain", roots("root.pem", SignerNames::Any)).unwrap();
    assert_eq!((verified.by, verified.signer.as_str()), (SignedBy::Certificate, "CN=Test Signer plain"));
    verify("cert-code", roots("root.pem", SignerNames::Any)).unwrap();
    for name in ["signer@example.org", "Test Signer plain"] {
        verify("cert-plain", roots("root.pem", SignerNames::OneOf(vec![name.into()]))).unwrap();
    }
    // An intermediate may be what the user trusts.
    verify("cert-plain", roots("middle.pem", SignerNames::Any)).unwrap();

    let refused = |name: &str, root: &str, names| match verify(name, roots(root, names)).unwrap_err() {
        OmsError::Certificate(error) => error,
        other => panic!("{name}: {other}"),
    };
    let other_name = refused("cert-plain", "root.pem", SignerNames::OneOf(vec!["signer@example.com".into()]));
    assert!(matches!(other_name, CertificateError::Name { .. }), "{other_name}");
    // So may be the signer's certificate itself; its time and usage count all the same.
    verify("cert-plain", roots("cert-plain.pem", SignerNames::Any)).unwrap();
    let expired = refused("cert-expired", "cert-expired.pem", SignerNames::Any);
    assert!(matches!(expired, CertificateError::Validity { .. }), "{expired}");
    let expired = refused("cert-expired", "root.pem", SignerNames::Any);
    assert!(matches!(expired, CertificateError::Validity { .. }), "{expired}");
    let expired = refused("cert-plain", "root-expired.pem", SignerNames::Any);
    assert!(matches!(expired, CertificateError::Validity { .. }), "{expired}");
    let other_root = refused("cert-plain", "root-other.pem", SignerNames::Any);
    assert!(matches!(other_root, CertificateError::Path { .. }), "{other_root}");
    let no_authority = refused("cert-plain", "cert-code.pem", SignerNames::Any);
    assert!(matches!(no_authority, CertificateError::NotAnAuthority { .. }), "{no_authority}");
    let server = refused("cert-server", "root.pem", SignerNames::Any);
    assert!(matches!(server, CertificateError::Usage { .. }), "{server}");

    let at_2020 = Request { at: Timestamp::from_millis(1_590_000_000_000), ..request() };
    let folder = Folder::open(&here("model")).unwrap();
    let trusted = [roots("root.pem", SignerNames::Any)];
    oms::verify(&folder, &signature("cert-expired"), &trusted, &at_2020).unwrap();
}

#[test]
fn an_authority_does_not_sign_models() {
    let key = EcdsaKey::from_pem(&file("p384.key.pem")).unwrap();
    let chain = [file("cert-authority.pem"), file("middle.pem")].concat();
    let signer = ModelSigner::Certificate { key, chain: certificate::from_pem(&chain).unwrap() };
    let folder = Folder::open(&here("model")).unwrap();
    let made = oms::sign(&folder, "model", &Serialization::default(), None, &signer).unwrap();
    let error = oms::verify(&folder, &made, &[roots("root.pem", SignerNames::Any)], &request()).unwrap_err();
    assert!(matches!(error, OmsError::Certificate(CertificateError::Usage { .. })), "{error}");
}

#[test]
fn tampered_signatures_and_other_signers_are_refused() {
    let error = verify("key-p256-tampered", key("p256")).unwrap_err();
    assert!(matches!(error, OmsError::Ecdsa(EcdsaError::Invalid)), "{error}");
    let error = verify("cert-plain-tampered", roots("root.pem", SignerNames::Any)).unwrap_err();
    assert!(matches!(error, OmsError::Ecdsa(EcdsaError::Invalid)), "{error}");
    let error = verify("key-p256", key("p384")).unwrap_err();
    assert!(matches!(error, OmsError::OtherKey { .. }), "{error}");
    let error = verify("key-p256", roots("root.pem", SignerNames::Any)).unwrap_err();
    assert!(matches!(error, OmsError::NoTrust { .. }), "{error}");
    let error = verify("cert-plain", key("p384")).unwrap_err();
    assert!(matches!(error, OmsError::NoTrust { .. }), "the key of a certificate is not trusted without its roots");
}

#[test]
fn hostile_statements_are_refused_by_name() {
    let refused = |name: &str| verify(name, key("p256")).unwrap_err();
    assert!(matches!(refused("bad-traversal"), OmsError::UnsafeName { name } if name == "../config.json"));
    assert!(matches!(refused("bad-absolute"), OmsError::UnsafeName { name } if name == "/etc/passwd"));
    assert!(matches!(refused("bad-twice"), OmsError::TwiceListed { name } if name == "config.json"));
    assert!(matches!(refused("bad-spelling"), OmsError::UnsafeName { name } if name == "./config.json"));
    assert!(matches!(refused("bad-ignore-all"), OmsError::UnsafeIgnored { path } if path == "."));
    assert!(matches!(refused("bad-ignore-up"), OmsError::UnsafeIgnored { path } if path == ".."));
    assert!(matches!(refused("bad-root"), OmsError::Form { .. }));
    assert!(matches!(refused("bad-algorithm"), OmsError::Form { .. }));
    assert!(refused("bad-duplicate-key").to_string().contains("stands twice"));

    // A signer may leave files out, but then they are told, or refused.
    let left_out = verify("unsigned-weights", key("p256")).unwrap();
    assert_eq!(left_out.unsigned, [".gitattributes", "weights.bin"]);
    let strict = Request { uncovered: Uncovered::Refuse, ..request() };
    let folder = Folder::open(&here("model")).unwrap();
    let error = oms::verify(&folder, &signature("unsigned-weights"), &[key("p256")], &strict).unwrap_err();
    assert!(error.to_string().contains("added `.gitattributes`, `weights.bin`"), "{error}");
}

#[test]
fn every_change_of_the_model_is_told() {
    type Change = fn(&Path);
    let cases: [(&str, Change, &str); 7] = [
        (
            "flipped",
            |dir| fs::write(dir.join("config.json"), "{\"model_type\": \"tesT\"}\n").unwrap(),
            "changed `config.json`",
        ),
        ("grown", |dir| fs::write(dir.join("weights.bin"), vec![0; 20_000]).unwrap(), "changed `weights.bin`"),
        ("removed", |dir| fs::remove_file(dir.join("d0-x")).unwrap(), "missing `d0-x`"),
        ("added", |dir| fs::write(dir.join("d0/setup.py"), "x").unwrap(), "added `d0/setup.py`"),
        ("renamed", |dir| fs::rename(dir.join("d0-x"), dir.join("d0-y")).unwrap(), "missing `d0-x`; added `d0-y`"),
        (
            "linked",
            |dir| {
                fs::remove_file(dir.join("d0-x")).unwrap();
                std::os::unix::fs::symlink("config.json", dir.join("d0-x")).unwrap();
            },
            "`d0-x` is a link or a special file",
        ),
        (
            "extra link",
            |dir| std::os::unix::fs::symlink("/etc/passwd", dir.join("extra")).unwrap(),
            "`extra` is a link or a special file",
        ),
    ];
    for (what, change, expected) in cases {
        for name in ["key-p256", "key-shards", "key-old", "key-blake3"] {
            let dir = copy();
            change(dir.path());
            let folder = Folder::open(dir.path()).unwrap();
            let error = oms::verify(&folder, &signature(name), &[key("p256")], &request()).unwrap_err();
            assert!(error.to_string().contains(expected), "{what}, {name}: {error}");
        }
    }
    // Only the named path is the signature; a second file of that kind is an addition.
    let dir = copy();
    fs::write(dir.path().join("model.sig"), signature("key-p256")).unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let verified = oms::verify(&folder, &signature("key-p256"), &[key("p256")], &request()).unwrap();
    assert_eq!(verified.unsigned, [".gitattributes"]);
}

#[test]
fn keys_are_read_in_both_forms_and_encrypted_ones_are_refused_by_name() {
    let plain = EcdsaKey::from_pem(&file("p256.key.pem")).unwrap();
    let sec1 = EcdsaKey::from_pem(&file("sec1.key.pem")).unwrap();
    assert_eq!(plain.public_key(), sec1.public_key());
    assert_eq!(plain.public_key().to_pem().as_bytes(), file("p256.pub.pem"));
    assert_eq!(EcdsaKey::from_pem(&file("encrypted.key.pem")).unwrap_err(), EcdsaError::Encrypted);
    assert!(matches!(EcdsaKey::from_pem(&file("p256.pub.pem")), Err(EcdsaError::NotAKey { .. })));
    assert!(matches!(EcdsaPublicKey::from_pem(b"nothing"), Err(EcdsaError::NotAKey { .. })));
    assert!(!format!("{plain:?}").contains("BEGIN"));
}

fn serializations() -> [Serialization; 4] {
    let default = Serialization::default;
    [
        default(),
        Serialization { method: Method::Shards { bytes: 4_096 }, ..default() },
        Serialization { algorithm: HashAlgorithm::Blake3, ..default() },
        Serialization { ignored: Vec::new(), ..default() },
    ]
}

fn signers() -> Vec<(&'static str, ModelSigner, Trusted)> {
    let secret = |curve: &str| EcdsaKey::from_pem(&file(&format!("{curve}.key.pem"))).unwrap();
    let chain = [file("cert-plain.pem"), file("middle.pem")].concat();
    let certificate = ModelSigner::Certificate { key: secret("p384"), chain: certificate::from_pem(&chain).unwrap() };
    vec![
        ("p256", ModelSigner::Key(secret("p256")), key("p256")),
        ("p384", ModelSigner::Key(secret("p384")), key("p384")),
        ("p521", ModelSigner::Key(secret("p521")), key("p521")),
        ("certificate", certificate, roots("root.pem", SignerNames::Any)),
    ]
}

#[test]
fn what_is_signed_here_holds_here() {
    let dir = copy();
    let folder = Folder::open(dir.path()).unwrap();
    for (name, signer, trusted) in signers() {
        for serialization in serializations() {
            let made = oms::sign(&folder, "model", &serialization, Some("model.sig"), &signer).unwrap();
            let verified = oms::verify(&folder, &made, std::slice::from_ref(&trusted), &request()).unwrap();
            assert_eq!(verified.name, "model", "{name}");
        }
    }
    let wrong = EcdsaKey::from_pem(&file("p256.key.pem")).unwrap();
    let chain = certificate::from_pem(&file("cert-plain.pem")).unwrap();
    let signer = ModelSigner::Certificate { key: wrong, chain };
    let error = oms::sign(&folder, "model", &Serialization::default(), None, &signer).unwrap_err();
    assert!(matches!(error, OmsError::OtherCertificate), "{error}");
    std::os::unix::fs::symlink("config.json", dir.path().join("link")).unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let (_, signer, _) = signers().remove(0);
    let error = oms::sign(&folder, "model", &Serialization::default(), None, &signer).unwrap_err();
    assert!(matches!(error, OmsError::Link { path } if path == "link"));
}

#[test]
fn an_artifact_in_a_vault_is_checked_by_its_recorded_digests() {
    let folder = Folder::open(&here("model")).unwrap();
    let entry = |entry: &ringfence_trust::content::Entry| TreeEntry {
        path: entry.path.clone(),
        size: entry.size,
        sha256: Digest::of(&fs::read(here("model").join(&entry.path)).unwrap()),
    };
    let tree = Tree::new(folder.entries().iter().map(entry).collect()).unwrap();
    let verified = oms::verify(&OnRecord::new(&tree), &signature("key-p256"), &[key("p256")], &request()).unwrap();
    assert_eq!(verified.files.len(), 5);
    let error = oms::verify(&OnRecord::new(&tree), &signature("key-blake3"), &[key("p256")], &request()).unwrap_err();
    assert!(matches!(error, OmsError::Content(_)), "{error}");
}

/// The reference package as a judge: it verifies what `signers` made.
const JUDGE: &str = r#"
import pathlib, sys
from model_signing import verifying
here, model, signature, kind = sys.argv[1:5]
here = pathlib.Path(here)
config = verifying.Config()
if kind == "certificate":
    config = config.use_certificate_verifier(certificate_chain=[here / "root.pem"])
else:
    config = config.use_elliptic_key_verifier(public_key=here / f"{kind}.pub.pem")
try:
    config.verify(pathlib.Path(model), pathlib.Path(signature))
except Exception as error:
    print(type(error).__name__, error, file=sys.stderr)
    sys.exit(1)
"#;

#[test]
fn the_reference_verifies_what_is_signed_here() {
    let Some(python) = env::var_os("RINGFENCE_MODEL_SIGNING_PYTHON") else {
        eprintln!("skipped: RINGFENCE_MODEL_SIGNING_PYTHON names no Python with model-signing 1.1.1");
        return;
    };
    let judge = |model: &Path, signature: &Path, kind: &str| {
        let mut command = Command::new(&python);
        let output = command.args(["-c", JUDGE]).arg(here("")).arg(model).arg(signature).arg(kind).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let dir = copy();
    for (name, signer, _) in signers() {
        for serialization in serializations() {
            let folder = Folder::open(dir.path()).unwrap();
            // The reference reads "blake2b" back under another name than it writes, so only the others go both ways.
            let made = oms::sign(&folder, "model", &serialization, Some("model.sig"), &signer).unwrap();
            let path = dir.path().join("model.sig");
            fs::write(&path, made).unwrap();
            let (holds, said) = judge(dir.path(), &path, name);
            assert!(holds, "{name} {serialization:?}: {said}");
            fs::write(dir.path().join("config.json"), "changed").unwrap();
            let (holds, said) = judge(dir.path(), &path, name);
            assert!(!holds && said.contains("config.json"), "{name}: {said}");
            fs::copy(here("model/config.json"), dir.path().join("config.json")).unwrap();
            fs::remove_file(path).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_changed_byte_panics_or_makes_a_bundle_say_something_else(
        name in prop_oneof![Just("key-p256"), Just("cert-plain"), Just("key-shards"), Just("key-old")],
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut bundle = signature(name);
        let at = at.index(bundle.len());
        if cut { bundle.truncate(at) } else { bundle[at] = byte }
        let trusted = [key("p256"), roots("root.pem", SignerNames::Any)];
        let folder = Folder::open(&here("model")).unwrap();
        if let Ok(verified) = oms::verify(&folder, &bundle, &trusted, &request()) {
            prop_assert!(verified.files.contains(&"weights.bin".to_owned()));
        }
    }
}
