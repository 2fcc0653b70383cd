//! Any bytes as a provider's key set, and any text as an ID token, under a fixed set.
#![no_main]
use std::sync::LazyLock;

use ringfence_trust::{
    entropy::SeededEntropy,
    oidc::{Claims, Expected, KeySet, LoginSecrets, Once},
};

/// The example keys of RFC 7515 (A.3) and RFC 8037 (A.2).
const KEYS: &[u8] = br#"{"keys":[
    {"kty":"EC","crv":"P-256","kid":"1","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
    {"kty":"OKP","crv":"Ed25519","kid":"2","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

static SETTING: LazyLock<(KeySet, Once)> =
    LazyLock::new(|| (KeySet::parse(KEYS).unwrap(), LoginSecrets::random(&mut SeededEntropy::new(1)).nonce));

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (keys, nonce) = &*SETTING;
    let expected = Expected {
        issuer: "joe",
        client_id: "client",
        nonce,
        access_token: Some("token"),
        now_s: 1_300_819_000,
        login_age_s_max: Some(600),
        groups_claim: "groups",
    };
    if let Ok(claims) = Claims::from_userinfo(data, "joe", "groups") {
        assert_eq!(claims.subject, "joe");
    }
    let token = String::from_utf8_lossy(data);
    assert!(keys.verify(&token, &expected).is_err(), "nobody signs by chance");
    if let Ok(own) = KeySet::parse(data) {
        assert!(!own.is_empty());
        let _ = own.verify("eyJhbGciOiJFZERTQSJ9.e30.AA", &expected);
    }
});
