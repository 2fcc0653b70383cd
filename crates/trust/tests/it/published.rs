//! Published vectors: the primitives are the ones that the specifications mean.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ringfence_schema::digest::hex;
use ringfence_trust::{
    checkpoint::{key_hash, verifier_key},
    dsse::{self, PayloadType},
    ident::chunk_id,
    keys::{ChunkIdKey, KeyId, KeyRole},
    sign::{Signature, VerifyingKey},
};
use serde_json::Value;

use crate::support::{Script, published, signing_key, unhex};

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap()
}

fn bytes(value: &Value, field: &str) -> Vec<u8> {
    unhex(text(value, field))
}

fn each(value: &Value) -> &Vec<Value> {
    let items = value.as_array().unwrap();
    assert!(!items.is_empty());
    items
}

#[test]
fn ed25519() {
    for vector in each(&published("ed25519.json")["vectors"]) {
        let key = VerifyingKey::from_bytes(bytes(vector, "public").try_into().unwrap());
        assert_eq!(signing_key(text(vector, "seed"), KeyRole::Log).verifying_key(), key);
        let message = bytes(vector, "message");
        let signature: [u8; 64] = bytes(vector, "signature").try_into().unwrap();
        key.verify(&message, &Signature::from_bytes(signature)).unwrap();
        key.verify(b"another message", &Signature::from_bytes(signature)).unwrap_err();
        key.verify(&message, &Signature::from_bytes(plus_order(signature))).unwrap_err();
    }
}

/// The same signature with the group order added to `S`, which lax verifiers accept (RFC 8032 §8.4).
fn plus_order(mut signature: [u8; 64]) -> [u8; 64] {
    let order = unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    signature
}

#[test]
fn hkdf_sha256() {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    for vector in each(&published("hkdf.json")["vectors"]) {
        let expected = bytes(vector, "output");
        let mut output = vec![0; expected.len()];
        hkdf::Salt::new(hkdf::HKDF_SHA256, &bytes(vector, "salt"))
            .extract(&bytes(vector, "key"))
            .expand(&[&bytes(vector, "info")], Length(expected.len()))
            .unwrap()
            .fill(&mut output)
            .unwrap();
        assert_eq!(output, expected);
    }
}

#[test]
fn argon2id() {
    for vector in each(&published("argon2id.json")["vectors"]) {
        let figure = |field: &str| u32::try_from(vector[field].as_u64().unwrap()).unwrap();
        let params = argon2::ParamsBuilder::new()
            .m_cost(figure("memory_kib"))
            .t_cost(figure("passes"))
            .p_cost(figure("lanes"))
            .data(argon2::AssociatedData::new(&bytes(vector, "data")).unwrap())
            .build()
            .unwrap();
        let secret = bytes(vector, "secret");
        let function =
            argon2::Argon2::new_with_secret(&secret, argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        let mut tag = [0; 32];
        function.unwrap().hash_password_into(&bytes(vector, "password"), &bytes(vector, "salt"), &mut tag).unwrap();
        assert_eq!(hex(&tag), text(vector, "tag"));
    }
}

#[test]
fn aes_256_gcm() {
    for vector in each(&published("aes-256-gcm.json")["vectors"]) {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes(vector, "key")).unwrap());
        let nonce = Nonce::try_assume_unique_for_key(&bytes(vector, "nonce")).unwrap();
        let mut sealed = bytes(vector, "plain");
        key.seal_in_place_append_tag(nonce, Aad::from(bytes(vector, "aad")), &mut sealed).unwrap();
        assert_eq!(hex(&sealed), text(vector, "sealed"));
    }
}

#[test]
fn blake3_keyed_through_chunk_ids() {
    let file = published("blake3-keyed.json");
    let key = ChunkIdKey::generate(&mut Script::new(&[&[0; KeyId::BYTES], text(&file, "key").as_bytes()]));
    for vector in each(&file["vectors"]) {
        let length = usize::try_from(vector["length"].as_u64().unwrap()).unwrap();
        let input: Vec<u8> = (0..=250).cycle().take(length).collect();
        let (id, values) = chunk_id(&key, &input);
        assert_eq!(id.to_string(), text(vector, "keyed_hash"));
        assert_eq!(values.len(), if length > 65_536 { length.div_ceil(65_536) } else { 0 });
    }
}

#[test]
fn dsse_encoding_and_signatures() {
    let file = published("dsse.json");
    for vector in each(&file["pae"]) {
        assert_eq!(dsse::pae(text(vector, "type"), text(vector, "payload").as_bytes()), text(vector, "pae").as_bytes());
    }
    for vector in each(&file["signatures"]) {
        let keys: Vec<_> =
            each(&vector["seeds"]).iter().map(|seed| signing_key(seed.as_str().unwrap(), KeyRole::Evidence)).collect();
        let sealed =
            dsse::seal(PayloadType::InToto, text(vector, "payload").as_bytes(), &keys.iter().collect::<Vec<_>>());
        let envelope: Value = serde_json::from_slice(&sealed.unwrap()).unwrap();
        // Ours are sorted by `keyid`, so they are compared as sets.
        let mut found: Vec<_> = each(&envelope["signatures"]).iter().map(|signature| text(signature, "sig")).collect();
        let mut expected: Vec<_> = each(&vector["sig"]).iter().map(|sig| sig.as_str().unwrap()).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}

#[test]
fn signed_note_key_hash_and_signature() {
    let note = published("signed-note.json");
    let public = STANDARD.decode(text(&note, "public")).unwrap();
    assert_eq!(public[0], 1, "type Ed25519");
    let key = VerifyingKey::from_bytes(public[1..].try_into().unwrap());
    assert_eq!(hex(&key_hash(text(&note, "name"), &key)), text(&note, "key_hash"));
    let whole = ["name", "key_hash", "public"].map(|part| text(&note, part)).join("+");
    assert_eq!(verifier_key(text(&note, "name"), &key), whole);
    let signature = STANDARD.decode(text(&note, "signature")).unwrap();
    assert_eq!(hex(&signature[..4]), text(&note, "key_hash"));
    key.verify(text(&note, "text").as_bytes(), &Signature::from_bytes(signature[4..].try_into().unwrap())).unwrap();
}
