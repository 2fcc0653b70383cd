//! Providers that answer wrongly, and what of it people are told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use ringfence_engine::{
    oidc::{Callback, LoginError, Provider},
    reach::{
        ReachError, Secrets,
        testing::{Reply, Server, open_settings},
    },
};
use serde_json::{Value, json};

use super::{REDIRECT, entropy, now, reach, settings};

/// What a provider may repeat of what it was sent, or write into a page.
const MARKER: &str = "<script>alert('marker')</script>";

/// Statuses and bodies by path.
type ByPath = BTreeMap<&'static str, (u16, Vec<u8>)>;

/// What is answered, which the test changes as it goes.
#[derive(Clone, Default)]
struct Answers(Arc<Mutex<ByPath>>);

impl Answers {
    fn set(&self, path: &'static str, status: u16, body: impl AsRef<[u8]>) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(path, (status, body.as_ref().to_vec()));
    }

    fn start(&self) -> Server {
        let answers = self.clone();
        Server::start(0, move |request| {
            let answers = answers.0.lock().unwrap_or_else(PoisonError::into_inner);
            answers.get(request.path.as_str()).map_or_else(
                || Reply::new(404, MARKER.as_bytes()),
                |(status, body)| Reply::new(*status, body.as_slice()),
            )
        })
        .unwrap()
    }
}

const DISCOVERY: &str = "/.well-known/openid-configuration";

fn metadata(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/auth?tenant=1"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
        "id_token_signing_alg_values_supported": ["RS256"],
    })
}

#[test]
fn a_description_is_read_whole_or_refused() {
    let answers = Answers::default();
    let server = answers.start();
    let (issuer, reach) = (server.origin(), reach(&[server.port()]));
    let discover = || Provider::discover(&reach, &issuer).unwrap_err();
    assert!(matches!(discover(), LoginError::Reach(ReachError::Status { status: 404, .. })));
    assert!(!discover().to_string().contains("marker"));
    answers.set(DISCOVERY, 302, "");
    assert!(matches!(discover(), LoginError::Reach(ReachError::Status { status: 302, .. })), "no redirect is followed");
    answers.set(DISCOVERY, 200, "<html>");
    assert!(matches!(discover(), LoginError::Answer));
    answers.set(DISCOVERY, 200, vec![b' '; (256 << 10) + 1]);
    assert!(matches!(discover(), LoginError::Reach(ReachError::TooLarge { .. })));
    answers.set(DISCOVERY, 200, metadata("https://evil.example.org").to_string());
    assert!(matches!(discover(), LoginError::Metadata { what: "issuer" }));
    answers.set(DISCOVERY, 503, "");
    assert!(matches!(discover(), LoginError::Reach(ReachError::Busy { status: 503, .. })));

    let closed = ringfence_engine::reach::Reach::new(open_settings(&[]), Secrets::default()).unwrap();
    let denied = Provider::discover(&closed, &issuer).unwrap_err();
    assert!(matches!(denied, LoginError::Reach(ReachError::Denied(_))), "the egress policy decides: {denied}");
}

#[test]
fn an_answer_to_a_code_is_tokens_or_a_known_refusal() {
    let answers = Answers::default();
    let server = answers.start();
    let (issuer, reach) = (server.origin(), reach(&[server.port()]));
    answers.set(DISCOVERY, 200, metadata(&issuer).to_string());
    let provider = Provider::discover(&reach, &issuer).unwrap();
    let settings = settings(&issuer, "client");
    let finish = |change: &dyn Fn(&mut Callback)| {
        let pending = provider.begin(&settings, REDIRECT, now(), &mut entropy()).unwrap();
        assert!(pending.url().starts_with(&format!("{issuer}/auth?tenant=1&response_type=code&client_id=client&")));
        assert!(pending.url().contains("&code_challenge_method=S256") && pending.url().contains("&max_age=600"));
        let mut callback =
            Callback { code: Some("code".to_owned()), state: Some(pending.state().to_owned()), ..Callback::default() };
        change(&mut callback);
        let refused = provider.finish(&reach, &settings, pending, &callback, now()).unwrap_err();
        let said = refused.to_string();
        assert!(!said.contains("marker") && !said.contains("secret"), "{said}");
        refused
    };
    let same = |_: &mut Callback| {};
    let refusal = |error: &str| json!({"error": error, "error_description": MARKER}).to_string();
    for (status, body, code) in [
        (400, refusal("invalid_grant"), "invalid_grant"),
        (401, refusal("invalid_client"), "invalid_client"),
        (400, refusal(MARKER), "another error"),
        (403, MARKER.to_owned(), "another error"),
    ] {
        answers.set("/token", status, body);
        let refused = finish(&same);
        assert!(matches!(&refused, LoginError::Refused { code: found } if *found == code), "{refused}");
    }
    let refused = finish(&|callback| (callback.code, callback.error) = (None, Some(MARKER.to_owned())));
    assert!(matches!(refused, LoginError::Refused { code: "another error" }));
    let refused = finish(&|callback| callback.iss = Some("https://evil.example.org".to_owned()));
    assert!(matches!(refused, LoginError::NotThisLogin), "one that never named itself may still not be another");
    assert!(matches!(finish(&|callback| callback.code = None), LoginError::Answer));
    assert!(matches!(finish(&|callback| callback.code = Some("x".repeat(5_000))), LoginError::Answer));

    let tokens = |kind: &str, id: &str| json!({"token_type": kind, "access_token": "a", "id_token": id}).to_string();
    for body in
        [tokens("mac", "x"), json!({"access_token": "a", "token_type": "Bearer"}).to_string(), MARKER.to_owned()]
    {
        answers.set("/token", 200, body);
        assert!(matches!(finish(&same), LoginError::Answer));
    }
    answers.set("/token", 302, "");
    assert!(matches!(finish(&same), LoginError::Reach(ReachError::Status { status: 302, .. })), "nothing is sent on");
    answers.set("/token", 200, tokens("bearer", "e30.e30.AA"));
    assert!(matches!(finish(&same), LoginError::Reach(ReachError::Status { status: 404, .. })), "no keys");
    answers.set("/jwks", 200, r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#);
    assert!(matches!(finish(&same), LoginError::Token(_)));

    let basic =
        server.log().iter().filter(|asked| asked.line.contains("/token")).all(|asked| asked.authorization.is_some());
    assert!(basic, "the secret goes into the header where the provider does not say otherwise");
    assert!(server.log().iter().all(|asked| asked.line.contains("/token") || asked.authorization.is_none()));
}

#[test]
fn codes_go_back_over_tls_or_to_this_machine() {
    let answers = Answers::default();
    let server = answers.start();
    let (issuer, reach) = (server.origin(), reach(&[server.port()]));
    answers.set(DISCOVERY, 200, metadata(&issuer).to_string());
    let provider = Provider::discover(&reach, &issuer).unwrap();
    let settings = settings(&issuer, "public");
    for (redirect, fine) in
        [("https://lab.example.org/cb", true), (REDIRECT, true), ("http://lab.example.org/cb", false)]
    {
        assert_eq!(provider.begin(&settings, redirect, now(), &mut entropy()).is_ok(), fine, "{redirect}");
    }
}
