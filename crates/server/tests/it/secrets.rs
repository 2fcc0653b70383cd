//! Secrets planted in every input, and then looked for wherever something stays or goes.
//!
//! What is meant for the one who asked (a token shown once) is not looked for in that one answer, and everywhere else.

use axum::{body::Body, extract::Request};
use ringfence_engine::{
    access::Action,
    trail::{Filter, Shape},
};
use serde_json::json;

use crate::house::{By, House, SITE, code_of, everything};

/// A password that is chosen and right; one that is wrong; what stands in fields and places where no secret belongs.
const RIGHT: &str = "marker-right-7f3a lanterns of the quiet harbour";
const WRONG: &str = "marker-wrong-51c9 lanterns of the quiet harbour";
const NAME: &str = "marker-typed-as-name-e2b8";
const CODE: &str = "marker-code-90ad";
const HEADER: &str = "marker-header-c4d7";
const QUERY: &str = "marker-query-1b6e";
const FIELD: &str = "marker-unknown-field-a83f";

#[tokio::test]
async fn cve_2022_24757_secrets_stay_where_they_were_typed() {
    let (house, ana) = House::with_owner::<30>();
    let mut markers: Vec<String> = [RIGHT, WRONG, NAME, CODE, HEADER, QUERY, FIELD].map(str::to_owned).to_vec();
    markers.push(secret_of(&ana.session));
    let by = By::Session(&ana.session);
    // An invitation, a password, an app's key, recovery codes, a session, a token, a device: each is a secret of its own.
    let body = json!({"name": "ben", "display": "Ben", "roles": ["researcher"]});
    let invited = house.call("POST", "/api/v1/people", by, Some(&body)).await.json();
    let invitation = invited["invitation"].as_str().unwrap().to_owned();
    let begin = json!({"token": invitation});
    let offer = house.call("POST", "/api/v1/enrol/password/begin", By::Nobody, Some(&begin)).await.json();
    let uri = offer["uri"].as_str().unwrap().to_owned();
    let code = code_of(&uri, house.now().millis() / 30_000);
    let done = json!({"invitation": begin, "ceremony": offer["ceremony"], "password": RIGHT, "code": code});
    let entered = house.call("POST", "/api/v1/enrol/password/finish", By::Nobody, Some(&done)).await;
    assert_eq!(entered.status, 200, "{entered:?}");
    let session = entered.session();
    markers.extend([secret_of(&invitation), secret_of(&session)]);
    markers.push(uri.split("secret=").nth(1).unwrap().split('&').next().unwrap().to_owned());
    let spare: Vec<String> = serde_json::from_value(entered.json()["recovery_codes"].clone()).unwrap();
    markers.extend(spare.iter().cloned());
    let (_, token) = house.token(&session, &[Action::Read], 60 * 60 * 1_000);
    let device = house.call("POST", "/api/v1/device/begin", By::Nobody, None).await.json();
    markers.extend([secret_of(&token), secret_of(device["device"].as_str().unwrap())]);
    // Every way of being wrong with them.
    let mut said = String::new();
    for (name, password, code) in
        [("ben", WRONG, "123456"), (NAME, WRONG, CODE), (WRONG, NAME, CODE), ("ben", RIGHT, CODE), ("ben", RIGHT, "")]
    {
        house.pass(60_000);
        said += &house.password(name, password, code).await.body;
    }
    house.pass(60_000);
    assert_eq!(house.password("ben", RIGHT, &spare[0]).await.status, 200);
    for route in everything(&house.app).iter() {
        let path = super::cve::concrete(route.path());
        let target = format!("{path}?token={QUERY}&who={QUERY}");
        let body = json!({"password": WRONG, "token": token, "name": FIELD, FIELD: WRONG, "reason": [RIGHT]});
        for bearer in [HEADER.to_owned(), format!("{token}0"), invitation.clone()] {
            let request = Request::builder().method(route.verb().name()).uri(&target).header("host", "localhost:8443");
            let request = request.header("authorization", format!("Bearer {bearer}")).header("x-secret", HEADER);
            let request = request.header("content-type", "application/json").header("user-agent", "agent");
            said += &house.send(request.body(Body::from(body.to_string())).unwrap()).await.body;
        }
        let signed = Request::builder().method(route.verb().name()).uri(&target).header("host", "localhost:8443");
        let signed =
            signed.header("origin", SITE).header("content-type", "application/json").header("x-secret", HEADER);
        let signed = signed.header("cookie", format!("__Host-ringfence={}; other={HEADER}", ana.session));
        // Logging out or making codes would end or show what the rest needs; with this body nothing of it happens.
        said += &house.send(signed.body(Body::from(body.to_string())).unwrap()).await.body;
    }
    for read in ["/api/v1/me", "/api/v1/sessions", "/api/v1/tokens", "/api/v1/people", "/api/v1/trail?last=1000"] {
        let reply = house.call("GET", read, by, None).await;
        assert_eq!(reply.status, 200, "{read}: {reply:?}");
        said += &reply.body;
    }
    let mut places = vec![("answers".to_owned(), said.into_bytes())];
    for shape in [Shape::Jsonl, Shape::Csv, Shape::Ocsf, Shape::Syslog] {
        let mut out = Vec::new();
        let mut keep = |lines: &[u8]| {
            out.extend_from_slice(lines);
            Ok(())
        };
        house.vault.export_trail(&Filter::default(), None, shape, &mut keep).unwrap();
        places.push((format!("export {shape:?}"), out));
    }
    // The catalog with its write-ahead log, keys, configuration, and whatever else lies there.
    places.extend(house.files().into_iter().map(|(path, bytes)| (path.display().to_string(), bytes)));
    assert!(
        places.iter().any(|(name, _)| name.ends_with("catalog.sqlite-wal")),
        "the log is looked at while it is there"
    );
    for (name, bytes) in &places {
        for marker in &markers {
            let hit = bytes.windows(marker.len()).any(|window| window == marker.as_bytes());
            assert!(!hit, "`{marker}` is in {name}");
        }
    }
    assert!(markers.len() >= 20, "{}", markers.len());
}

/// The part of a token that proves possession.
fn secret_of(token: &str) -> String {
    token.split('_').nth(3).unwrap().to_owned()
}
