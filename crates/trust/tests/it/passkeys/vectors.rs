//! Section 16 of the specification.

use ringfence_schema::Digest;
use ringfence_trust::factor::passkey::{
    Assertion, Challenge, CredentialId, Passkey, PasskeyError, Registration, RelyingParty, UserHandle, UserVerification,
};
use serde_json::Value;

use crate::support::{published, unhex};

fn bytes(value: &Value, field: &str) -> Vec<u8> {
    unhex(value[field].as_str().unwrap())
}

fn challenge(value: &Value) -> Challenge {
    Challenge::over(&Digest::from_bytes(bytes(value, "challenge").try_into().unwrap()))
}

#[test]
fn the_specifications_vectors_hold() {
    let user = UserHandle::new(b"somebody".to_vec()).unwrap();
    let strict = RelyingParty::new("example.org", &["https://example.org"]).unwrap();
    let party = strict.clone().with_verification(UserVerification::Preferred);
    let file = published("webauthn.json");
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 4);
    for vector in vectors {
        let name = vector["name"].as_str().unwrap();
        let (made, used) = (&vector["registration"], &vector["authentication"]);
        let registration = Registration {
            credential_id: CredentialId::new(bytes(made, "credentialId")).unwrap(),
            client_data_json: bytes(made, "clientDataJSON"),
            attestation_object: bytes(made, "attestationObject"),
            transports: Vec::new(),
        };
        let passkey = Passkey::register(&party, &user, &challenge(made), &registration).expect(name);
        assert_eq!(passkey.aaguid.to_string(), made["aaguid"], "{name}");
        assert_eq!(passkey.attestation_format, made["format"], "{name}");
        assert_eq!(serde_json::to_value(passkey.backup).unwrap(), made["backup"], "{name}");
        let mut assertion = Assertion {
            credential_id: registration.credential_id.clone(),
            authenticator_data: bytes(used, "authenticatorData"),
            client_data_json: bytes(used, "clientDataJSON"),
            signature: bytes(used, "signature"),
            user_handle: None,
        };
        let verified = passkey.verify(&party, &challenge(used), &assertion).expect(name);
        assert!(!verified.user_verified && verified.counter == 0, "{name}");
        // Whoever demands verification is told that there was none.
        let refused = passkey.verify(&strict, &challenge(used), &assertion);
        assert_eq!(refused, Err(PasskeyError::NotVerified), "{name}");
        for position in 0..assertion.signature.len() {
            assertion.signature[position] ^= 1;
            let refused = passkey.verify(&party, &challenge(used), &assertion);
            assert_eq!(refused, Err(PasskeyError::Signature), "{name}, byte {position}");
            assertion.signature[position] ^= 1;
        }
    }
}
