//! Any bytes as what browsers and authenticators send: documents, attestation objects, authenticator data, keys.
#![no_main]
use std::sync::LazyLock;

use ringfence_schema::Digest;
use ringfence_trust::{
    entropy::SeededEntropy,
    factor::passkey::{
        Assertion, Challenge, Passkey, PublicKey, Registration, RelyingParty, SealedSoftKey, SoftKey, UserHandle,
    },
};

const ORIGIN: &str = "https://example.org";

/// A party, a person, a key of theirs and its passkey.
static SETTING: LazyLock<(RelyingParty, UserHandle, SoftKey, Passkey)> = LazyLock::new(|| {
    let party = RelyingParty::new("example.org", &[ORIGIN]).unwrap();
    let user = UserHandle::new(vec![1; 16]).unwrap();
    let key = SoftKey::generate(party.id(), &user, &mut SeededEntropy::new(1)).unwrap();
    let challenge = Challenge::over(&Digest::of(b"challenge"));
    let passkey = Passkey::register(&party, &user, &challenge, &key.register(ORIGIN, &challenge).unwrap()).unwrap();
    (party, user, key, passkey)
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (party, user, key, passkey) = &*SETTING;
    let challenge = Challenge::over(&Digest::of(b"challenge"));
    let _ = serde_json::from_slice::<Passkey>(data);
    let _ = serde_json::from_slice::<SealedSoftKey>(data);
    if let Ok(registration) = Registration::from_json(data) {
        let again = serde_json::to_vec(&registration).unwrap();
        assert_eq!(Registration::from_json(&again).unwrap(), registration);
        let _ = Passkey::register(party, user, &challenge, &registration);
    }
    if let Ok(assertion) = Assertion::from_json(data) {
        assert!(passkey.verify(party, &challenge, &assertion).is_err(), "nobody signs by chance");
    }
    if let Ok(public) = PublicKey::from_cose(data) {
        assert_eq!(PublicKey::from_cose(&public.to_cose()).unwrap(), public, "one spelling a key");
    }
    // What an attestation says of its party, name and flags is unsigned, so that any bytes get as far as they can.
    let mut registration = key.register(ORIGIN, &challenge).unwrap();
    registration.attestation_object = data.to_vec();
    let _ = Passkey::register(party, user, &challenge, &registration);
    let mut assertion = key.assert(ORIGIN, &challenge).unwrap();
    let genuine = std::mem::replace(&mut assertion.authenticator_data, data.to_vec());
    let holds = passkey.verify(party, &challenge, &assertion).is_ok();
    assert_eq!(holds, genuine == data, "only what was signed holds");
    let mut assertion = key.assert(ORIGIN, &challenge).unwrap();
    let genuine = std::mem::replace(&mut assertion.client_data_json, data.to_vec());
    let holds = passkey.verify(party, &challenge, &assertion).is_ok();
    assert_eq!(holds, genuine == data, "only what was signed holds");
});
