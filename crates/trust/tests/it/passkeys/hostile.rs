//! Every check of §7.1 and §7.2, each with the one answer that fails it alone.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;
use ringfence_schema::Digest;
use ringfence_trust::factor::passkey::{
    Algorithm, Assertion, Backup, Challenge, CreationOptions, CredentialId, JSON_BYTES_MAX, Passkey, PasskeyError,
    PublicKey, Registration, RelyingParty, RequestOptions, User, UserHandle, UserVerification,
};
use serde_json::{Value, json};

use super::device::{BE, BS, Device, ED, UP, UV, attestation, cbor_bytes, cbor_text, challenge, head, party, user};

#[test]
fn every_algorithm_registers_and_signs() {
    for algorithm in Algorithm::ALL {
        let device = Device::new(algorithm);
        let passkey = device.register().unwrap();
        assert_eq!(passkey.public_key.algorithm(), algorithm);
        assert_eq!(passkey.public_key.to_cose(), device.cose(), "the canonical form");
        assert_eq!((passkey.backup, passkey.transports.as_slice()), (Backup::DeviceBound, &["usb".to_owned()][..]));
        let assertion = device.assertion(&challenge(2));
        let verified = passkey.verify(&party(), &challenge(2), &assertion).unwrap();
        assert!(verified.user_verified);
        // What is stored, and what is sent, comes back as it was.
        let stored: Passkey = serde_json::from_str(&serde_json::to_string(&passkey).unwrap()).unwrap();
        assert_eq!(stored, passkey);
        let sent = serde_json::to_vec(&assertion).unwrap();
        assert_eq!(Assertion::from_json(&sent).unwrap(), assertion);
        let sent = serde_json::to_vec(&device.registration(&challenge(1))).unwrap();
        assert_eq!(Registration::from_json(&sent).unwrap(), device.registration(&challenge(1)));
    }
}

#[test]
fn high_and_low_s_are_accepted() {
    // The order of P-256 less s: both halves of every signature pair verify, as authenticators emit either.
    let device = Device::new(Algorithm::Es256);
    let passkey = device.register().unwrap();
    let mut halves = std::collections::BTreeSet::new();
    for number in 0..64 {
        let assertion = device.assertion(&challenge(number));
        let signature = &assertion.signature;
        let s_at = 4 + usize::from(signature[3]) + 2;
        halves.insert(signature[s_at] == 0 || signature[s_at] >= 0x80);
        passkey.verify(&party(), &challenge(number), &assertion).unwrap();
    }
    assert_eq!(halves.len(), 2);
}

/// A device that is bent in one way, and what is said of its assertion.
fn bent(bend: impl Fn(&mut Device)) -> Result<(), PasskeyError> {
    let mut device = Device::new(Algorithm::Es256);
    let passkey = device.register().unwrap();
    bend(&mut device);
    passkey.verify(&party(), &challenge(2), &device.assertion(&challenge(2))).map(drop)
}

#[test]
fn an_assertion_is_for_this_page_this_party_and_this_challenge() {
    assert_eq!(bent(|_| {}), Ok(()));
    assert_eq!(bent(|device| device.origin = "https://lab.example.org:8443".into()), Ok(()));
    for origin in
        ["https://example.org.evil.net", "https://evil.example.org", "http://example.org", "https://example.org/", ""]
    {
        assert_eq!(bent(|device| device.origin = origin.into()), Err(PasskeyError::Origin), "{origin}");
    }
    assert_eq!(bent(|device| device.rp_id = "evil.org".into()), Err(PasskeyError::RelyingParty));
    assert_eq!(bent(|device| device.more = json!({"crossOrigin": true})), Err(PasskeyError::CrossOrigin));
    let framed = json!({"crossOrigin": false, "topOrigin": "https://evil.org"});
    assert_eq!(bent(|device| device.more = framed.clone()), Err(PasskeyError::CrossOrigin));
    assert_eq!(bent(|device| device.more = json!({})), Ok(()), "older browsers leave it out");
    assert_eq!(bent(|device| device.more = json!({"new": {"x": [1]}})), Ok(()), "newer ones add members");
    assert_eq!(bent(|device| device.more = json!({"crossOrigin": "no"})), Err(PasskeyError::ClientData));

    let device = Device::new(Algorithm::EdDsa);
    let passkey = device.register().unwrap();
    let assertion = device.assertion(&challenge(2));
    assert_eq!(passkey.verify(&party(), &challenge(3), &assertion), Err(PasskeyError::Challenge));
    let other = RelyingParty::new("other.org", &["https://other.org"]).unwrap();
    assert_eq!(passkey.verify(&other, &challenge(2), &assertion), Err(PasskeyError::RelyingParty));
    // A registration's client data is no assertion's, and the other way round.
    let swapped =
        device.assertion_over(device.authenticator_data(None), device.client_data("webauthn.create", &challenge(2)));
    assert_eq!(passkey.verify(&party(), &challenge(2), &swapped), Err(PasskeyError::Ceremony));
    let mut registration = device.registration(&challenge(1));
    registration.client_data_json = device.client_data("webauthn.get", &challenge(1));
    let refused = Passkey::register(&party(), &user(), &challenge(1), &registration);
    assert_eq!(refused, Err(PasskeyError::Ceremony));
}

#[test]
fn flags_and_counters_are_held_to_their_rules() {
    assert_eq!(bent(|device| device.flags = UV), Err(PasskeyError::NotPresent));
    assert_eq!(bent(|device| device.flags = UP), Err(PasskeyError::NotVerified));
    assert_eq!(bent(|device| device.flags = UP | UV | BS), Err(PasskeyError::AuthenticatorData));
    assert_eq!(bent(|device| device.flags = UP | UV | BE), Err(PasskeyError::Backup));
    assert_eq!(bent(|device| device.flags = UP | UV | ED), Err(PasskeyError::AuthenticatorData), "no extensions");
    assert_eq!(bent(|device| device.tail = vec![0xa0]), Err(PasskeyError::AuthenticatorData), "extensions unsaid");
    let extended = |device: &mut Device| {
        device.flags |= ED;
        device.tail = [head(5, 1), cbor_text("credProtect"), vec![2]].concat();
    };
    assert_eq!(bent(extended), Ok(()));

    let mut device = Device::new(Algorithm::EdDsa);
    device.counter = 7;
    let mut passkey = device.register().unwrap();
    let challenge = challenge(2);
    let mut verify = |counter, passkey: &Passkey| {
        device.counter = counter;
        passkey.verify(&party(), &challenge, &device.assertion(&challenge))
    };
    for presented in [7, 6, 0] {
        let expected = PasskeyError::CloneSuspected { stored: 7, presented };
        assert_eq!(verify(presented, &passkey), Err(expected));
    }
    let verified = verify(8, &passkey).unwrap();
    passkey.used(&verified);
    assert_eq!(passkey.counter, 8);
    assert!(verify(8, &passkey).is_err() && verify(u32::MAX, &passkey).is_ok());
}

#[test]
fn an_approval_verifies_offline_for_ever() {
    let mut device = Device::new(Algorithm::Es256);
    device.counter = 3;
    let mut passkey = device.register().unwrap();
    let digest = Digest::of(b"the canonical request");
    device.counter = 4;
    let approval = device.assertion(&Challenge::over(&digest));
    passkey.counter = 900;
    assert_eq!(passkey.verify_offline(&party(), &digest, &approval).unwrap().counter, 4);
    let other = Digest::of(b"the canonical request, with another target");
    assert_eq!(passkey.verify_offline(&party(), &other, &approval), Err(PasskeyError::Challenge));
    let present = UserVerification::Preferred;
    device.flags = UP;
    let approval = device.assertion(&Challenge::over(&digest));
    assert_eq!(passkey.verify_offline(&party(), &digest, &approval), Err(PasskeyError::NotVerified));
    let lenient = party().with_verification(present);
    assert!(!passkey.verify_offline(&lenient, &digest, &approval).unwrap().user_verified);
}

#[test]
fn a_key_verifies_its_own_signatures_alone() {
    let devices = Algorithm::ALL.map(Device::new);
    let passkeys: Vec<Passkey> = devices.iter().map(|device| device.register().unwrap()).collect();
    for (signer, device) in devices.iter().enumerate() {
        let assertion = device.assertion(&challenge(2));
        for (holder, passkey) in passkeys.iter().enumerate() {
            let outcome = passkey.verify(&party(), &challenge(2), &assertion).map(drop);
            assert_eq!(outcome, if signer == holder { Ok(()) } else { Err(PasskeyError::Signature) });
        }
        let passkey = &passkeys[signer];
        let refused = |change: &dyn Fn(&mut Assertion)| {
            let mut changed = assertion.clone();
            change(&mut changed);
            passkey.verify(&party(), &challenge(2), &changed).unwrap_err()
        };
        assert_eq!(refused(&|assertion| assertion.signature.clear()), PasskeyError::Signature);
        assert_eq!(refused(&|assertion| assertion.signature.push(0)), PasskeyError::Signature);
        assert!(matches!(refused(&|a| a.signature.resize(513, 0)), PasskeyError::TooLarge { what: "signature", .. }));
        assert_eq!(refused(&|assertion| assertion.client_data_json.push(b' ')), PasskeyError::Signature);
        assert_eq!(refused(&|assertion| assertion.authenticator_data.push(0)), PasskeyError::AuthenticatorData);
        let another = CredentialId::new(vec![6; 32]).unwrap();
        assert_eq!(refused(&|assertion| assertion.credential_id = another.clone()), PasskeyError::CredentialId);
        let another = UserHandle::new(b"bob's handle".to_vec()).unwrap();
        assert_eq!(refused(&|a| a.user_handle = Some(another.clone())), PasskeyError::UserHandle);
        for length in 0..assertion.authenticator_data.len() {
            let cut = refused(&|assertion| assertion.authenticator_data.truncate(length));
            assert_eq!(cut, PasskeyError::AuthenticatorData, "{length} bytes");
        }
    }
}

fn registered(device: &Device, attestation_object: Vec<u8>) -> Result<Passkey, PasskeyError> {
    let registration = Registration { attestation_object, ..device.registration(&challenge(1)) };
    Passkey::register(&party(), &user(), &challenge(1), &registration)
}

#[test]
fn attestation_objects_are_read_whole_or_not_at_all() {
    let device = Device::new(Algorithm::Es256);
    let data = device.authenticator_data(Some(&device.cose()));
    let good = attestation("none", &data);
    assert!(registered(&device, good.clone()).is_ok());
    assert_eq!(registered(&device, attestation("tpm", &data)).unwrap().attestation_format, "tpm");
    for length in 0..good.len() {
        assert!(registered(&device, good[..length].to_vec()).is_err(), "cut to {length}");
    }
    assert_eq!(registered(&device, [&good[..], &[0]].concat()), Err(PasskeyError::Attestation), "a byte too many");
    let part = |key: &str, value: Vec<u8>| [cbor_text(key), value].concat();
    let (fmt, statement, auth) =
        (part("fmt", cbor_text("none")), part("attStmt", head(5, 0)), part("authData", cbor_bytes(&data)));
    let map =
        |parts: &[&Vec<u8>]| [head(5, parts.len()), parts.iter().flat_map(|p| p.iter().copied()).collect()].concat();
    let more = part("epAtt", vec![0xf5]);
    for (parts, fine) in [
        (vec![&auth, &statement, &fmt], true),
        (vec![&auth, &statement, &fmt, &more], true),
        (vec![&fmt, &statement], false),
        (vec![&fmt, &auth], false),
        (vec![&statement, &auth], false),
        (vec![&fmt, &fmt, &statement, &auth], false),
        (vec![&fmt, &statement, &auth, &auth], false),
        (vec![&fmt, &statement, &statement, &auth], false),
    ] {
        assert_eq!(registered(&device, map(&parts)).is_ok(), fine);
    }
    let long = "x".repeat(33);
    assert_eq!(registered(&device, attestation(&long, &data)), Err(PasskeyError::Attestation));
    let large = registered(&device, vec![0; (32 << 10) + 1]);
    assert!(matches!(large, Err(PasskeyError::TooLarge { what: "attestation object", .. })));
    // Data without a credential, and a credential of another name.
    let plain = attestation("none", &device.authenticator_data(None));
    assert_eq!(registered(&device, plain), Err(PasskeyError::AuthenticatorData));
    let mut renamed = device.registration(&challenge(1));
    renamed.credential_id = CredentialId::new(vec![6; 32]).unwrap();
    let refused = Passkey::register(&party(), &user(), &challenge(1), &renamed);
    assert_eq!(refused, Err(PasskeyError::CredentialId));
}

#[test]
fn credential_ids_have_a_length() {
    for (length, fine) in [(15, false), (16, true), (1_023, true), (1_024, false), (65_535, false)] {
        assert_eq!(CredentialId::new(vec![1; length]).is_ok(), fine, "{length}");
    }
    let mut device = Device::new(Algorithm::EdDsa);
    device.id = vec![1; 1_023];
    assert_eq!(device.register().unwrap().credential_id.as_bytes().len(), 1_023);
}

#[test]
fn keys_are_of_their_algorithm_in_every_member() {
    let es256 = Device::new(Algorithm::Es256).cose();
    let eddsa = Device::new(Algorithm::EdDsa).cose();
    let rs256 = Device::new(Algorithm::Rs256).cose();
    let with = |cose: &[u8], position: usize, byte: u8| {
        let mut changed = cose.to_vec();
        changed[position] = byte;
        changed
    };
    for (cose, expected) in [
        (with(&es256, 4, 0x27), PasskeyError::Key),            // ES256 says EdDSA
        (with(&es256, 2, 1), PasskeyError::Key),               // EC2 says OKP
        (with(&es256, 6, 2), PasskeyError::Key),               // P-256 says P-384
        (with(&es256, 4, 0x38), PasskeyError::Key),            // shifts what follows
        (with(&es256, 12, es256[12] ^ 1), PasskeyError::Key),  // off the curve
        (with(&es256, 1, 3), PasskeyError::Key),               // `alg` twice, no `kty`
        (with(&es256, 7, 0x22), PasskeyError::Key),            // y twice, no x
        (with(&eddsa, 4, 0x26), PasskeyError::Key),            // EdDSA says ES256
        (with(&eddsa, 6, 4), PasskeyError::Key),               // X25519
        (with(&eddsa, 0, 0xa3), PasskeyError::Key),            // a member missing, bytes left
        (with(&rs256, rs256.len() - 1, 3), PasskeyError::Key), // another exponent
        (with(&rs256, 11, 0), PasskeyError::Key),              // a leading zero
        ([&eddsa[..], &[0]].concat(), PasskeyError::Key),      // bytes left
        ([&[0xa5][..], &eddsa[1..], &[4, 0x81, 2]].concat(), PasskeyError::Key), // `key_ops`
        ([&[0xa4, 1, 2, 3, 0x38, 0x22][..], &es256[5..]].concat(), PasskeyError::Algorithm { cose: -35 }),
        ([&[0xa4, 1, 4, 3, 5][..], &eddsa[5..]].concat(), PasskeyError::Algorithm { cose: 5 }), // HMAC
        (Vec::new(), PasskeyError::Key),
        (vec![0xa0], PasskeyError::Key),
        (vec![0; 641], PasskeyError::Key),
    ] {
        assert_eq!(PublicKey::from_cose(&cose).unwrap_err(), expected, "{cose:02x?}");
    }
    // Another order of members is tolerated, and written in the canonical one.
    let (first, rest) = (&eddsa[1..3], &eddsa[3..]);
    let turned = [&eddsa[..1], rest, first].concat();
    let key = PublicKey::from_cose(&turned).unwrap();
    assert_eq!(key.to_cose(), eddsa);
    // A stored key has one spelling.
    let stored = |cose: &[u8]| serde_json::from_value::<PublicKey>(json!(URL_SAFE_NO_PAD.encode(cose)));
    assert!(stored(&eddsa).is_ok() && stored(&turned).is_err());
}

#[test]
fn documents_are_a_browsers() {
    let device = Device::new(Algorithm::Es256);
    let good = serde_json::to_value(device.assertion(&challenge(2))).unwrap();
    let read = |document: &Value| Assertion::from_json(&serde_json::to_vec(document).unwrap());
    let mut full = good.clone();
    full["authenticatorAttachment"] = json!("platform");
    full["clientExtensionResults"] = json!({"credProps": {"rk": true}});
    assert!(read(&full).is_ok());
    full["response"]["userHandle"] = Value::Null;
    assert_eq!(read(&full).unwrap().user_handle, None);
    let id = good["id"].as_str().unwrap();
    for (pointer, value) in [
        ("/type", json!("password")),
        ("/id", json!("AAAA")),
        ("/rawId", json!(format!("{id}="))),
        ("/response/signature", json!("AA=")),
        ("/response/signature", json!("+/")),
        ("/response/signature", json!([1, 2])),
        ("/response/userHandle", json!("")),
        ("/response/clientDataJSON", json!("A".repeat(12_000))),
        ("/response", json!(null)),
    ] {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        assert_eq!(read(&changed).unwrap_err(), PasskeyError::Json, "{pointer}");
    }
    let spaces = vec![b' '; JSON_BYTES_MAX + 1];
    assert!(matches!(Assertion::from_json(&spaces), Err(PasskeyError::TooLarge { .. })));
    assert!(matches!(Registration::from_json(&spaces), Err(PasskeyError::TooLarge { .. })));
    let mut registration = serde_json::to_value(device.registration(&challenge(1))).unwrap();
    registration["response"]["transports"] = json!(["usb", "<script>", "nfc", "x".repeat(40)]);
    let read = Registration::from_json(&serde_json::to_vec(&registration).unwrap()).unwrap();
    assert_eq!(read.transports, ["usb", "nfc"], "hints are hints");
    let twice = br#"{"type":"webauthn.get","type":"webauthn.get","challenge":"","origin":""}"#;
    let passkey = device.register().unwrap();
    let doubled = device.assertion_over(device.authenticator_data(None), twice.to_vec());
    assert_eq!(passkey.verify(&party(), &challenge(2), &doubled), Err(PasskeyError::ClientData));
}

#[test]
fn pages_are_told_what_to_ask() {
    let passkey = Device::new(Algorithm::EdDsa).register().unwrap();
    let ann = User { handle: user(), name: "ann".into(), display_name: "Ann Karlsson".into() };
    let creation = CreationOptions::new(&party(), "Ringfence", ann, &challenge(1), std::slice::from_ref(&passkey));
    let id = passkey.credential_id.to_string();
    assert_eq!(
        serde_json::to_value(creation).unwrap(),
        json!({
            "rp": {"id": "example.org", "name": "Ringfence"},
            "user": {"id": "YW5uJ3MgaGFuZGxl", "name": "ann", "displayName": "Ann Karlsson"},
            "challenge": challenge(1).to_string(),
            "pubKeyCredParams": [
                {"type": "public-key", "alg": -8},
                {"type": "public-key", "alg": -7},
                {"type": "public-key", "alg": -257},
            ],
            "timeout": 300_000,
            "excludeCredentials": [{"type": "public-key", "id": id, "transports": ["usb"]}],
            "authenticatorSelection":
                {"residentKey": "required", "requireResidentKey": true, "userVerification": "required"},
            "attestation": "none",
        })
    );
    let request = RequestOptions::new(&party().with_verification(UserVerification::Preferred), &challenge(1), &[]);
    assert_eq!(
        serde_json::to_value(request).unwrap(),
        json!({
            "challenge": challenge(1).to_string(),
            "timeout": 300_000,
            "rpId": "example.org",
            "allowCredentials": [],
            "userVerification": "preferred",
        })
    );
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let device = Device::new(Algorithm::EdDsa);
        let _ = registered(&device, bytes.clone());
        let _ = registered(&device, attestation("none", &bytes));
        let _ = PublicKey::from_cose(&bytes);
        let _ = Assertion::from_json(&bytes);
        let _ = Registration::from_json(&bytes);
        let passkey = device.register().unwrap();
        let signed = device.assertion_over(bytes.clone(), bytes.clone());
        prop_assert!(passkey.verify(&party(), &challenge(2), &signed).is_err());
    }

    #[test]
    fn one_changed_bit_registers_nothing_else(position in 0_usize..400, bit in 0_u8..8) {
        let device = Device::new(Algorithm::EdDsa);
        let mut object = attestation("none", &device.authenticator_data(Some(&device.cose())));
        let position = position % object.len();
        object[position] ^= 1 << bit;
        // Some bits are nobody's promise (the AAGUID, reserved flags, the key itself); the name and the party are.
        if let Ok(passkey) = registered(&device, object) {
            prop_assert_eq!(passkey.credential_id.as_bytes(), &device.id[..]);
            prop_assert_eq!(passkey.rp_id, "example.org");
        }
    }
}
