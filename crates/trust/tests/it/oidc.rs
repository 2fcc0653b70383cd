//! ID tokens: published signatures, three kinds of keys, and every claim that is somebody else's.

use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;
use ringfence_trust::{
    entropy::SeededEntropy,
    oidc::{Claims, Email, Expected, GROUPS_MAX, KeySet, LoginSecrets, OidcError, Once, TOKEN_BYTES_MAX},
};
use serde_json::{Value, json};

use crate::support::published;

const ISSUER: &str = "https://login.example.org/realm";
const CLIENT: &str = "ringfence";
const NOW_S: u64 = 1_800_000_000;
const ACCESS_TOKEN: &str = "opaque-access-token";

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

enum Key {
    Rs256(RsaKeyPair),
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Key {
    fn all() -> [Self; 3] {
        [
            Self::Rs256(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
            Self::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            Self::eddsa(),
        ]
    }

    fn eddsa() -> Self {
        Self::EdDsa(Ed25519KeyPair::from_seed_unchecked(&[4; 32]).unwrap())
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Rs256(_) => "RS256",
            Self::Es256(_) => "ES256",
            Self::EdDsa(_) => "EdDSA",
        }
    }

    fn jwk(&self) -> Value {
        let mut jwk = match self {
            Self::Rs256(pair) => {
                json!({"kty": "RSA", "n": b64(&pair.public_key().as_ref()[9..9 + 256]), "e": "AQAB"})
            }
            Self::Es256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y)})
            }
            Self::EdDsa(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key().as_ref())}),
        };
        jwk["kid"] = json!(self.name());
        jwk
    }

    fn sign(&self, header: &Value, payload: &[u8]) -> String {
        let signed = format!("{}.{}", b64(header.to_string()), b64(payload));
        let random = SystemRandom::new();
        let signature = match self {
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
                signature
            }
            Self::Es256(pair) => pair.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec(),
            Self::EdDsa(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        format!("{signed}.{}", b64(signature))
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(&json!({"alg": self.name(), "kid": self.name(), "typ": "JWT"}), claims.to_string().as_bytes())
    }

    fn at_hash(&self) -> String {
        let algorithm = if matches!(self, Self::EdDsa(_)) { &digest::SHA512 } else { &digest::SHA256 };
        let hash = digest::digest(algorithm, ACCESS_TOKEN.as_bytes());
        b64(&hash.as_ref()[..hash.as_ref().len() / 2])
    }
}

fn set(jwks: &[Value]) -> Result<KeySet, OidcError> {
    KeySet::parse(json!({"keys": jwks}).to_string().as_bytes())
}

fn nonce() -> Once {
    LoginSecrets::random(&mut SeededEntropy::new(21)).nonce
}

fn expected(nonce: &Once) -> Expected<'_> {
    Expected {
        issuer: ISSUER,
        client_id: CLIENT,
        nonce,
        access_token: Some(ACCESS_TOKEN),
        now_s: NOW_S,
        login_age_s_max: None,
        groups_claim: "groups",
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "00u1", "aud": CLIENT, "exp": NOW_S + 300, "iat": NOW_S - 5,
        "nonce": nonce().expose(), "name": "Ann Karlsson", "preferred_username": "ann",
        "email": "ann@example.org", "email_verified": true, "groups": ["lab", "admins"],
        "amr": ["pwd", "otp"], "acr": "urn:mfa", "auth_time": NOW_S - 30,
    })
}

#[test]
fn tokens_of_every_algorithm_say_who_it_is() {
    let keys = Key::all();
    let set = set(&keys.each_ref().map(Key::jwk)).unwrap();
    assert_eq!(set.len(), 3);
    for key in &keys {
        let mut claims = claims();
        claims["at_hash"] = json!(key.at_hash());
        let found = set.verify(&key.token(&claims), &expected(&nonce())).unwrap();
        assert_eq!(
            found,
            Claims {
                issuer: ISSUER.into(),
                subject: "00u1".into(),
                name: Some("Ann Karlsson".into()),
                preferred_username: Some("ann".into()),
                email: Some(Email { address: "ann@example.org".into(), verified: true }),
                groups: Some(vec!["lab".into(), "admins".into()]),
                amr: vec!["pwd".into(), "otp".into()],
                acr: Some("urn:mfa".into()),
                auth_time_s: Some(NOW_S - 30),
            }
        );
        claims["at_hash"] = json!(b64([0; 16]));
        let refused = set.verify(&key.token(&claims), &expected(&nonce()));
        assert_eq!(refused, Err(OidcError::Claim { claim: "at_hash" }));
    }
}

/// RFC 7515 appendices A.2 and A.3, RFC 8037 appendix A.4. Their payloads are no ID tokens, so a signature that holds gets as
/// far as the payload.
#[test]
fn published_signatures_hold() {
    let file = published("jws.json");
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 3);
    let nonce = nonce();
    for vector in vectors {
        let token = vector["token"].as_str().unwrap();
        let outcome = match vector["payload"].as_str() {
            Some("json") => OidcError::Claim { claim: "aud" },
            _ => OidcError::Json { what: "the token" },
        };
        let set = set(std::slice::from_ref(&vector["jwk"])).unwrap();
        let expected = Expected { issuer: "joe", ..expected(&nonce) };
        assert_eq!(set.verify(token, &expected), Err(outcome));
        let turned = token.replacen("eyJ", "eyK", 1);
        assert!(set.verify(&turned, &expected).is_err());
        let (head, signature) = token.rsplit_once('.').unwrap();
        let flip = if signature.starts_with('A') { "B" } else { "A" };
        let forged = format!("{head}.{flip}{}", &signature[1..]);
        assert_eq!(set.verify(&forged, &expected), Err(OidcError::Signature));
    }
}

#[test]
fn a_key_fixes_its_algorithm() {
    let keys = Key::all();
    let set = set(&keys.each_ref().map(Key::jwk)).unwrap();
    let refused = |token: &str| set.verify(token, &expected(&nonce())).unwrap_err();
    let payload = claims().to_string();
    let unsigned = |header: Value| format!("{}.{}.", b64(header.to_string()), b64(&payload));
    assert_eq!(refused(&unsigned(json!({"alg": "none"}))), OidcError::Algorithm);
    assert_eq!(refused(&unsigned(json!({"alg": "RS256", "kid": "RS256"}))), OidcError::Signature);
    for (alg, expected) in [
        (json!("HS256"), OidcError::Algorithm),
        (json!("None"), OidcError::Algorithm),
        (json!("PS256"), OidcError::Algorithm),
        (json!("ES384"), OidcError::Algorithm),
        (json!("rs256"), OidcError::Algorithm),
        (json!(["RS256"]), OidcError::Algorithm),
        (Value::Null, OidcError::Algorithm),
        // Another algorithm than that of the key which the id names.
        (json!("EdDSA"), OidcError::UnknownKey),
    ] {
        let token = keys[0].sign(&json!({"alg": alg, "kid": "RS256"}), payload.as_bytes());
        assert_eq!(refused(&token), expected, "{alg}");
    }
    let with = |header: Value| refused(&keys[2].sign(&header, payload.as_bytes()));
    assert_eq!(with(json!({"alg": "EdDSA", "kid": "other"})), OidcError::UnknownKey);
    assert_eq!(with(json!({"alg": "EdDSA", "kid": 7})), OidcError::UnknownKey);
    assert_eq!(with(json!({"alg": "EdDSA", "kid": "EdDSA", "crit": ["exp"]})), OidcError::Kind);
    assert_eq!(with(json!({"alg": "EdDSA", "kid": "EdDSA", "typ": "at+jwt"})), OidcError::Kind);
    assert_eq!(with(json!({"alg": "EdDSA", "kid": "EdDSA", "typ": 1})), OidcError::Kind);
    let modern = keys[2].sign(&json!({"alg": "Ed25519", "kid": "EdDSA"}), payload.as_bytes());
    assert!(set.verify(&modern, &expected(&nonce())).is_ok(), "RFC 9864");
    // A key inside the token is nobody's.
    let own = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(own.public_key().as_ref()), "kid": "EdDSA"});
    let token = Key::EdDsa(own).sign(&json!({"alg": "EdDSA", "kid": "EdDSA", "jwk": jwk}), payload.as_bytes());
    assert_eq!(refused(&token), OidcError::Signature);
    // Without a key id there may be no choice.
    let anonymous = keys[2].sign(&json!({"alg": "EdDSA"}), payload.as_bytes());
    assert!(set.verify(&anonymous, &expected(&nonce())).is_ok());
    let mut twin = keys[2].jwk();
    twin["kid"] = json!("twin");
    let twins = self::set(&[keys[2].jwk(), twin]).unwrap();
    assert_eq!(twins.verify(&anonymous, &expected(&nonce())), Err(OidcError::UnknownKey));
    // A member twice, in a header and in a payload.
    let header = br#"{"alg":"none","alg":"EdDSA"}"#;
    let token = format!("{}.{}.AA", b64(header), b64(&payload));
    assert_eq!(refused(&token), OidcError::Json { what: "the token's header" });
    let doubled = payload.replacen('{', r#"{"sub":"root","#, 1);
    let token = keys[2].sign(&json!({"alg": "EdDSA"}), doubled.as_bytes());
    assert_eq!(refused(&token), OidcError::Json { what: "the token" });
    for form in ["", ".", "..", "a.b", "a.b.c.d", "e30.e30", "e30=.e30.AA", "e30.e30.A A"] {
        assert!(matches!(refused(form), OidcError::Form | OidcError::Json { .. } | OidcError::Algorithm), "{form}");
    }
    assert!(matches!(refused(&"a".repeat(TOKEN_BYTES_MAX + 1)), OidcError::TooLarge { .. }));
}

#[test]
fn claims_are_of_this_login() {
    let key = Key::eddsa();
    let set = set(&[key.jwk()]).unwrap();
    let with = |changes: Value| {
        let mut claims = claims();
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        set.verify(&key.token(&claims), &expected(&nonce()))
    };
    let claim = |claim| Err(OidcError::Claim { claim });
    for (changes, outcome) in [
        (json!({"iss": "https://login.example.org/realm/"}), claim("iss")),
        (json!({"iss": null}), claim("iss")),
        (json!({"iss": [ISSUER]}), claim("iss")),
        (json!({"aud": "another"}), claim("aud")),
        (json!({"aud": []}), claim("aud")),
        (json!({"aud": null}), claim("aud")),
        (json!({"aud": [CLIENT, "another"]}), claim("azp")),
        (json!({"aud": [CLIENT, "another"], "azp": "another"}), claim("azp")),
        (json!({"azp": "another"}), claim("azp")),
        (json!({"nonce": "another"}), claim("nonce")),
        (json!({"nonce": null}), claim("nonce")),
        (json!({"sub": null}), claim("sub")),
        (json!({"sub": ""}), claim("sub")),
        (json!({"sub": "a\u{0}"}), claim("sub")),
        (json!({"sub": "x".repeat(256)}), claim("sub")),
        (json!({"sub": 7}), claim("sub")),
        (json!({"exp": null}), claim("exp")),
        (json!({"exp": "soon"}), claim("exp")),
        (json!({"exp": -1}), claim("exp")),
        (json!({"exp": 1e300}), claim("exp")),
        (json!({"exp": NOW_S - 60}), Err(OidcError::Expired)),
        (json!({"iat": null}), claim("iat")),
        (json!({"iat": NOW_S + 61}), Err(OidcError::NotNow)),
        (json!({"iat": NOW_S - 661}), Err(OidcError::NotNow)),
        (json!({"nbf": NOW_S + 61}), Err(OidcError::NotNow)),
        (json!({"groups": [1]}), claim("groups")),
        (json!({"groups": ["x".repeat(257)]}), claim("groups")),
        (json!({"groups": vec!["g"; GROUPS_MAX + 1]}), Err(OidcError::TooMany { what: "groups", limit: GROUPS_MAX })),
    ] {
        assert_eq!(with(changes.clone()).map(drop), outcome, "{changes}");
    }
    for fine in [
        json!({"exp": NOW_S - 59}),
        json!({"exp": NOW_S as f64 + 0.5}),
        json!({"iat": NOW_S + 60, "nbf": NOW_S + 60}),
        json!({"aud": [CLIENT, "another"], "azp": CLIENT}),
        json!({"aud": [CLIENT]}),
        json!({"sub": "x".repeat(255)}),
    ] {
        assert!(with(fine.clone()).is_ok(), "{fine}");
    }
    assert_eq!(with(json!({"groups": "lab"})).unwrap().groups, Some(vec!["lab".to_owned()]));
    assert_eq!(with(json!({"groups": null})).unwrap().groups, None);
    for (verified, expected) in [(json!(true), true), (json!("true"), true), (json!(false), false), (json!(1), false)] {
        assert_eq!(with(json!({"email_verified": verified})).unwrap().email.unwrap().verified, expected);
    }
    // What is only shown locks nobody out.
    let shown = with(json!({"name": "", "email": "a\nb", "amr": 5, "acr": ["x"]})).unwrap();
    assert_eq!((shown.name, shown.email, shown.amr.len(), shown.acr), (None, None, 0, None));
}

#[test]
fn a_login_may_have_to_be_recent() {
    let key = Key::eddsa();
    let set = set(&[key.jwk()]).unwrap();
    let with = |auth_time: Value| {
        let mut claims = claims();
        claims["auth_time"] = auth_time;
        let nonce = nonce();
        let expected = Expected { login_age_s_max: Some(600), ..expected(&nonce) };
        set.verify(&key.token(&claims), &expected).map(drop)
    };
    assert_eq!(with(json!(NOW_S - 660)), Ok(()));
    assert_eq!(with(json!(NOW_S - 661)), Err(OidcError::StaleLogin));
    assert_eq!(with(json!(NOW_S + 61)), Err(OidcError::StaleLogin));
    assert_eq!(with(Value::Null), Err(OidcError::Claim { claim: "auth_time" }));
}

#[test]
fn an_access_token_is_named_by_its_hash_alone() {
    let key = Key::eddsa();
    let set = set(&[key.jwk()]).unwrap();
    let mut claims = claims();
    claims["at_hash"] = json!(key.at_hash());
    let nonce = nonce();
    let none = Expected { access_token: None, ..expected(&nonce) };
    assert_eq!(set.verify(&key.token(&claims), &none), Err(OidcError::Claim { claim: "at_hash" }));
    let other = Expected { access_token: Some("another"), ..expected(&nonce) };
    assert_eq!(set.verify(&key.token(&claims), &other), Err(OidcError::Claim { claim: "at_hash" }));
}

#[test]
fn key_sets_keep_what_can_be_used() {
    let good = Key::eddsa().jwk();
    let with = |changes: Value| {
        let mut jwk = good.clone();
        for (name, value) in changes.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        set(&[jwk]).map(|set| set.len())
    };
    for fine in [json!({"use": "sig"}), json!({"key_ops": ["verify"]}), json!({"alg": "EdDSA", "x5c": []}), json!({})] {
        assert_eq!(with(fine.clone()), Ok(1), "{fine}");
    }
    for unfit in [
        json!({"use": "enc"}),
        json!({"use": 1}),
        json!({"key_ops": ["sign"]}),
        json!({"alg": "ES256"}),
        json!({"alg": "HS256"}),
        json!({"kty": "oct", "k": "c2VjcmV0"}),
        json!({"kty": "EC"}),
        json!({"crv": "X25519"}),
        json!({"crv": null}),
        json!({"x": "AA"}),
        json!({"x": b64([0; 32])}),
        json!({"d": b64([4; 32])}),
        json!({"kid": ""}),
    ] {
        assert_eq!(with(unfit.clone()), Err(OidcError::NoKeys), "{unfit}");
    }
    let rsa = |n: &str, e: &str| set(&[json!({"kty": "RSA", "n": n, "e": e})]).map(|set| set.len());
    assert_eq!(rsa(&b64([0xff; 256]), "AQAB"), Ok(1));
    assert_eq!(rsa(&b64([0xff; 256]), "AQ"), Err(OidcError::NoKeys));
    assert_eq!(rsa(&b64([0xff; 128]), "AQAB"), Err(OidcError::NoKeys), "1,024 bits");
    // Unknown keys beside a good one are passed over.
    assert_eq!(set(&[json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}), good.clone()]).unwrap().len(), 1);
    assert_eq!(set(&vec![good; 129]).unwrap_err(), OidcError::TooMany { what: "keys", limit: 128 });
    for bytes in
        [&b"{}"[..], b"[]", b"", br#"{"keys":{}}"#, br#"{"keys":[1]}"#, br#"{"keys":[{"kty":"RSA","kty":"EC"}]}"#]
    {
        assert!(matches!(KeySet::parse(bytes), Err(OidcError::Json { .. })));
    }
}

#[test]
fn user_information_is_about_the_same_person() {
    let about = |document: Value| Claims::from_userinfo(document.to_string().as_bytes(), "00u1", "roles");
    let claims = about(json!({"sub": "00u1", "name": "Ann", "roles": ["lab"], "groups": ["root"]})).unwrap();
    assert_eq!((claims.name.as_deref(), claims.groups), (Some("Ann"), Some(vec!["lab".to_owned()])));
    assert_eq!(about(json!({"sub": "00u2"})), Err(OidcError::Claim { claim: "sub" }));
    assert_eq!(about(json!({"name": "Ann"})), Err(OidcError::Claim { claim: "sub" }));
}

#[test]
fn secrets_of_a_login_are_fresh_and_challenged() {
    let entropy = &mut SeededEntropy::new(5);
    let (one, two) = (LoginSecrets::random(entropy), LoginSecrets::random(entropy));
    let texts = [&one.state, &one.nonce, &one.verifier, &two.state, &two.nonce, &two.verifier].map(Once::expose);
    assert!(texts.iter().all(|text| text.len() == 43));
    assert_eq!(texts.iter().collect::<std::collections::BTreeSet<_>>().len(), 6);
    assert!(one.state.is(texts[0]) && !one.state.is(texts[3]) && !one.state.is(""));
    let challenge = b64(digest::digest(&digest::SHA256, one.verifier.expose().as_bytes()));
    assert_eq!(one.code_challenge(), challenge);
    assert!(!format!("{one:?}").contains(texts[2]));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,60}") {
        let key = Key::eddsa();
        let set = set(&[key.jwk()]).unwrap();
        let _ = KeySet::parse(&bytes);
        let _ = Claims::from_userinfo(&bytes, "x", "groups");
        let signed = key.sign(&json!({"alg": "EdDSA"}), &bytes);
        prop_assert!(set.verify(&signed, &expected(&nonce())).is_err());
        prop_assert!(set.verify(&text, &expected(&nonce())).is_err());
    }
}
