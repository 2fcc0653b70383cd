//! DSSE envelopes and statements: one spelling, every signature valid, every signer entitled.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use ringfence_schema::evidence::EvidenceKind;
use ringfence_trust::{
    dsse::{self, DsseError, Envelope, PayloadType},
    keys::KeyRole,
    root::SignerRefusal,
    statement::{self, StatementError},
};
use serde_json::{Value, json};

use crate::support::{People, damaged, speak_statement as speak};

fn canonical(value: &Value) -> Vec<u8> {
    ringfence_schema::canon::to_canonical(value).unwrap()
}

#[test]
fn statements_open_for_their_signer_type_and_index() {
    let people = People::new(1, 1);
    let root = people.root(1);
    let scan = speak(EvidenceKind::Scan);
    let file = statement::seal(&scan, &[&people.evidence]).unwrap();
    let opened = statement::open(&file, &root, 5).unwrap();
    assert_eq!(opened.statement(), &scan);
    assert_eq!(opened.signers(), [people.evidence.verifying_key()]);

    let refusal = |error| match error {
        StatementError::Signer { refusal, .. } => refusal,
        other => panic!("{other}"),
    };
    let release = statement::seal(&speak(EvidenceKind::Release), &[&people.evidence]).unwrap();
    assert_eq!(refusal(statement::open(&release, &root, 5).unwrap_err()), SignerRefusal::Predicate);
    let both = statement::seal(&scan, &[&people.evidence, &people.release]).unwrap();
    assert_eq!(
        refusal(statement::open(&both, &root, 5).unwrap_err()),
        SignerRefusal::Predicate,
        "all must be entitled"
    );

    let stranger = People::new(2, 1);
    let foreign = statement::seal(&scan, &[&stranger.evidence]).unwrap();
    let error = statement::open(&foreign, &root, 5).unwrap_err();
    assert!(matches!(error, StatementError::Envelope(DsseError::UnknownKey { .. })), "{error}");
    let joined = statement::seal(&scan, &[&people.evidence, &stranger.evidence]).unwrap();
    assert!(statement::open(&joined, &root, 5).is_err(), "a stranger's signature is not ignored");
}

#[test]
fn keys_sign_the_payloads_of_their_role_only() {
    let people = People::new(1, 1);
    for (key, allowed) in [
        (&people.roots[0], PayloadType::Root),
        (&people.refs, PayloadType::Manifest),
        (&people.evidence, PayloadType::InToto),
        (&people.release, PayloadType::InToto),
    ] {
        for payload_type in [PayloadType::InToto, PayloadType::Root, PayloadType::Manifest] {
            let sealed = dsse::seal(payload_type, b"{}", &[key]);
            assert_eq!(sealed.is_ok(), payload_type == allowed, "{:?} {payload_type:?}", key.role());
        }
    }
    let refused = dsse::seal(PayloadType::InToto, b"{}", &[&people.log]).unwrap_err();
    assert!(matches!(refused, DsseError::Role { role: KeyRole::Log, .. }));
    // The type is signed: a manifest does not pass for evidence, whoever signed it.
    let manifest = dsse::seal(PayloadType::Manifest, b"{}", &[&people.refs]).unwrap();
    let known = [people.refs.verifying_key()];
    dsse::open(&manifest, PayloadType::Manifest, &known).unwrap();
    assert!(matches!(dsse::open(&manifest, PayloadType::InToto, &known), Err(DsseError::PayloadType { .. })));
    let renamed = String::from_utf8(manifest).unwrap().replace("vnd.ringfence.manifest", "vnd.in-toto+json");
    assert!(matches!(dsse::open(renamed.as_bytes(), PayloadType::InToto, &known), Err(DsseError::Signature(_))));
}

#[test]
fn every_changed_byte_is_refused() {
    let people = People::new(1, 1);
    let root = people.root(1);
    let file = statement::seal(&speak(EvidenceKind::Scan), &[&people.evidence]).unwrap();
    let mut tried = 0;
    for (what, changed) in damaged(&file) {
        assert!(statement::open(&changed, &root, 0).is_err(), "{what}");
        tried += 1;
    }
    assert!(tried > 3 * file.len());
}

#[test]
fn other_spellings_of_a_valid_envelope_are_refused() {
    let people = People::new(1, 1);
    let key = people.evidence.verifying_key();
    let file = dsse::seal(PayloadType::InToto, b"12345", &[&people.evidence, &people.release]).unwrap();
    let known = [key, people.release.verifying_key()];
    let good: Value = serde_json::from_slice(&file).unwrap();
    dsse::open(&canonical(&good), PayloadType::InToto, &known).unwrap();

    let refused = |bytes: &[u8]| assert!(dsse::open(bytes, PayloadType::InToto, &known).is_err());
    refused(&serde_json::to_vec_pretty(&good).unwrap());
    refused(&[&file[..], b"\n"].concat());
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut value = good.clone();
        change(&mut value);
        refused(&canonical(&value));
    };
    changed(&|value| value["extra"] = json!(1));
    changed(&|value| value["payload"] = json!("MTIzNDU"));
    changed(&|value| value["payload"] = json!("MTIzNDV="));
    changed(&|value| value["signatures"].as_array_mut().unwrap().reverse());
    changed(&|value| value["signatures"] = json!([]));
    changed(&|value| value["signatures"][1] = value["signatures"][0].clone());
    changed(&|value| value["signatures"][0]["keyid"] = json!(""));
    changed(&|value| value["signatures"][0]["sig"] = value["signatures"][1]["sig"].clone());
    changed(&|value| value["signatures"][0]["cert"] = json!("x"));
    let url_safe = STANDARD.encode([0xfb, 0xff]).replace('+', "-").replace('/', "_");
    changed(&|value| value["payload"] = json!(url_safe.clone()));
    let text = String::from_utf8(file.clone()).unwrap();
    refused(text.replace("{\"payload\"", "{\"payload\":\"\",\"payload\"").as_bytes());
    refused(text.replace("payloadType", "payload\\u0054ype").as_bytes());
    assert!(dsse::seal(PayloadType::InToto, b"", &[]).is_err());
    assert!(dsse::seal(PayloadType::InToto, b"", &[&people.evidence, &people.evidence]).is_err());
}

#[test]
fn statements_must_say_what_they_are() {
    let people = People::new(1, 1);
    let mut nameless = speak(EvidenceKind::Scan);
    nameless.subject.clear();
    assert!(matches!(statement::seal(&nameless, &[&people.evidence]), Err(StatementError::Invalid { .. })));
    let mut untyped = speak(EvidenceKind::Scan);
    untyped.statement_type = "https://in-toto.io/Statement/v0.1".to_owned();
    let file =
        dsse::seal(PayloadType::InToto, &ringfence_schema::canon::to_canonical(&untyped).unwrap(), &[&people.evidence]);
    let error = statement::open(&file.unwrap(), &people.root(1), 0).unwrap_err();
    assert!(matches!(error, StatementError::Invalid { .. }), "{error}");
    let loose = dsse::seal(PayloadType::InToto, br#"{ "_type": "x" }"#, &[&people.evidence]).unwrap();
    assert!(matches!(statement::open(&loose, &people.root(1), 0), Err(StatementError::Canon(_))));
}

proptest! {
    #[test]
    fn any_payload_comes_back(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        let people = People::new(3, 1);
        let file = dsse::seal(PayloadType::Manifest, &payload, &[&people.refs]).unwrap();
        let opened = dsse::open(&file, PayloadType::Manifest, &[people.refs.verifying_key()]).unwrap();
        prop_assert_eq!(opened.payload(), &payload[..]);
    }

    #[test]
    fn arbitrary_text_is_no_envelope(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Envelope::parse(&bytes).is_err());
    }
}
