//! An authenticator and its browser, of which every answer can be bent.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ringfence_schema::Digest;
use ringfence_trust::factor::passkey::{
    Algorithm, Assertion, Challenge, CredentialId, Passkey, PasskeyError, Registration, RelyingParty, UserHandle,
};
use serde_json::json;

pub(super) const UP: u8 = 0x01;
pub(super) const UV: u8 = 0x04;
pub(super) const BE: u8 = 0x08;
pub(super) const BS: u8 = 0x10;
pub(super) const AT: u8 = 0x40;
pub(super) const ED: u8 = 0x80;

enum Key {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

/// An authenticator with one credential, and what it says of everything.
pub(super) struct Device {
    key: Key,
    pub(super) id: Vec<u8>,
    pub(super) rp_id: String,
    pub(super) origin: String,
    pub(super) flags: u8,
    pub(super) counter: u32,
    /// Members of the client data beyond type, challenge and origin.
    pub(super) more: serde_json::Value,
    /// What follows the authenticator data.
    pub(super) tail: Vec<u8>,
}

pub(super) fn party() -> RelyingParty {
    RelyingParty::new("example.org", &["https://example.org", "https://lab.example.org:8443"]).unwrap()
}

pub(super) fn user() -> UserHandle {
    UserHandle::new(b"ann's handle".to_vec()).unwrap()
}

pub(super) fn challenge(number: u8) -> Challenge {
    Challenge::over(&Digest::of(&[number]))
}

/// The shortest CBOR head, for lengths up to 65,535.
pub(super) fn head(major: u8, argument: usize) -> Vec<u8> {
    let [high, low] = u16::try_from(argument).unwrap().to_be_bytes();
    match argument {
        0..24 => vec![major << 5 | low],
        24..256 => vec![major << 5 | 0x18, low],
        _ => vec![major << 5 | 0x19, high, low],
    }
}

pub(super) fn cbor_bytes(bytes: &[u8]) -> Vec<u8> {
    [head(2, bytes.len()), bytes.to_vec()].concat()
}

pub(super) fn cbor_text(text: &str) -> Vec<u8> {
    [head(3, text.len()), text.as_bytes().to_vec()].concat()
}

pub(super) fn attestation(format: &str, data: &[u8]) -> Vec<u8> {
    let parts = [
        head(5, 3),
        cbor_text("fmt"),
        cbor_text(format),
        cbor_text("attStmt"),
        head(5, 0),
        cbor_text("authData"),
        cbor_bytes(data),
    ];
    parts.concat()
}

impl Device {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        let key = match algorithm {
            Algorithm::Es256 => Key::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()),
            Algorithm::EdDsa => Key::EdDsa(Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap()),
            Algorithm::Rs256 => Key::Rs256(RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap()),
        };
        Self {
            key,
            id: vec![5; 32],
            rp_id: "example.org".to_owned(),
            origin: "https://example.org".to_owned(),
            flags: UP | UV,
            counter: 0,
            more: json!({"crossOrigin": false}),
            tail: Vec::new(),
        }
    }

    pub(super) fn cose(&self) -> Vec<u8> {
        match &self.key {
            Key::Es256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                [vec![0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21], cbor_bytes(x), vec![0x22], cbor_bytes(y)].concat()
            }
            Key::EdDsa(pair) => {
                [vec![0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21], cbor_bytes(pair.public_key().as_ref())].concat()
            }
            Key::Rs256(pair) => {
                // RSAPublicKey: the modulus behind eight bytes of DER and a sign, then the exponent.
                let der = pair.public_key().as_ref();
                let modulus = &der[9..9 + 256];
                [vec![0xa4, 1, 3, 3, 0x39, 1, 0, 0x20], cbor_bytes(modulus), vec![0x21, 0x43, 1, 0, 1]].concat()
            }
        }
    }

    pub(super) fn authenticator_data(&self, attested: Option<&[u8]>) -> Vec<u8> {
        let mut data = Digest::of(self.rp_id.as_bytes()).as_bytes().to_vec();
        data.push(self.flags | if attested.is_some() { AT } else { 0 });
        data.extend(self.counter.to_be_bytes());
        if let Some(cose) = attested {
            data.extend([3; 16]);
            data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
            data.extend(&self.id);
            data.extend(cose);
        }
        data.extend(&self.tail);
        data
    }

    pub(super) fn client_data(&self, ceremony: &str, challenge: &Challenge) -> Vec<u8> {
        let mut data = json!({
            "type": ceremony,
            "challenge": URL_SAFE_NO_PAD.encode(challenge.as_bytes()),
            "origin": self.origin,
        });
        let members = self.more.as_object().unwrap().clone();
        data.as_object_mut().unwrap().extend(members);
        serde_json::to_vec(&data).unwrap()
    }

    pub(super) fn registration(&self, challenge: &Challenge) -> Registration {
        self.registration_with(challenge, &self.cose())
    }

    pub(super) fn registration_with(&self, challenge: &Challenge, cose: &[u8]) -> Registration {
        Registration {
            credential_id: CredentialId::new(self.id.clone()).unwrap(),
            client_data_json: self.client_data("webauthn.create", challenge),
            attestation_object: attestation("none", &self.authenticator_data(Some(cose))),
            transports: vec!["usb".to_owned()],
        }
    }

    pub(super) fn register(&self) -> Result<Passkey, PasskeyError> {
        Passkey::register(&party(), &user(), &challenge(1), &self.registration(&challenge(1)))
    }

    pub(super) fn assertion(&self, challenge: &Challenge) -> Assertion {
        self.assertion_over(self.authenticator_data(None), self.client_data("webauthn.get", challenge))
    }

    pub(super) fn assertion_over(&self, authenticator_data: Vec<u8>, client_data_json: Vec<u8>) -> Assertion {
        let signed = [authenticator_data.as_slice(), Digest::of(&client_data_json).as_bytes()].concat();
        let random = SystemRandom::new();
        let signature = match &self.key {
            Key::Es256(pair) => pair.sign(&random, &signed).unwrap().as_ref().to_vec(),
            Key::EdDsa(pair) => pair.sign(&signed).as_ref().to_vec(),
            Key::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, &signed, &mut signature).unwrap();
                signature
            }
        };
        Assertion {
            credential_id: CredentialId::new(self.id.clone()).unwrap(),
            authenticator_data,
            client_data_json,
            signature,
            user_handle: Some(user()),
        }
    }
}
