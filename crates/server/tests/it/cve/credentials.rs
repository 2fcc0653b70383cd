//! Credentials, second factors, sessions.

use ringfence_engine::{
    access::{Action, Role},
    team::SETUP_LIFE_MS,
};
use serde_json::{Value, json};

use crate::house::{By, House, Reply, SITE, code_of, soft_key};

/// Long, and in no list.
const PASSWORD: &str = "quiet harbour of seventeen lanterns";

/// Somebody with a password and an app.
struct Walker {
    name: String,
    uri: String,
    recovery: Vec<String>,
}

impl Walker {
    fn code(&self, house: &House) -> String {
        code_of(&self.uri, house.now().millis() / 30_000)
    }
}

async fn invitation(house: &House, by: &str, name: &str) -> String {
    let body = json!({"name": name, "display": "Somebody", "roles": ["researcher"]});
    let invited = house.call("POST", "/api/v1/people", By::Session(by), Some(&body)).await.json();
    invited["invitation"].as_str().unwrap().to_owned()
}

/// Begins the enrolment of password and app over the API.
async fn begin(house: &House, token: &str) -> (String, String) {
    let offer =
        house.call("POST", "/api/v1/enrol/password/begin", By::Nobody, Some(&json!({"token": token}))).await.json();
    (offer["ceremony"].as_str().unwrap().to_owned(), offer["uri"].as_str().unwrap().to_owned())
}

async fn finish(house: &House, token: &str, ceremony: &str, password: &str, code: &str) -> Reply {
    let body = json!({"invitation": {"token": token}, "ceremony": ceremony, "password": password, "code": code});
    house.call("POST", "/api/v1/enrol/password/finish", By::Nobody, Some(&body)).await
}

async fn walker(house: &House, by: &str, name: &str) -> Walker {
    let token = invitation(house, by, name).await;
    let (ceremony, uri) = begin(house, &token).await;
    let code = code_of(&uri, house.now().millis() / 30_000);
    let reply = finish(house, &token, &ceremony, PASSWORD, &code).await;
    let codes = reply.json()["recovery_codes"].as_array().unwrap().clone();
    let recovery = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    house.pass(60_000);
    Walker { name: name.to_owned(), uri, recovery }
}

#[tokio::test]
async fn cve_2025_11200_default_and_weak_passwords() {
    let (house, ana) = House::with_owner::<8>();
    for (name, password) in [
        ("admin", "password1234"),
        ("admin", "admin"),
        ("immudb", "immudb"),
        ("root", "root"),
        ("ana", ""),
        ("setup", "setup"),
        ("admin", ""),
        ("ringfence", "ringfence"),
        ("owner", "owner"),
        ("console", "console"),
    ] {
        house.pass(10_000);
        assert_eq!(house.password(name, password, "000000").await.status, 401, "{name}");
    }
    let token = invitation(&house, &ana.session, "ben.longname").await;
    for password in [
        "",
        "a",
        "12345678",
        "password1234",
        "Password1234",
        "passwordpassword",
        "ben.longname",
        "qwertyuiop123",
        "aaaaaaaaaaaaaaaa",
    ] {
        let (ceremony, uri) = begin(&house, &token).await;
        let code = code_of(&uri, house.now().millis() / 30_000);
        let reply = finish(&house, &token, &ceremony, password, &code).await;
        assert_eq!(reply.status, 422, "{password}: {reply:?}");
        assert!(password.len() < 8 || !reply.body.contains(password), "{reply:?}");
    }
}

#[tokio::test]
async fn cve_2025_6004_lockout_by_alias() {
    let (house, ana) = House::with_owner::<9>();
    let ben = walker(&house, &ana.session, "ben").await;
    let spellings = ["ben", "BEN", " ben", "ben ", "Ben\t", "\u{ff42}en", "b\u{ff45}N"];
    let mut answers = Vec::new();
    for round in 0..12 {
        house.pass(1_000);
        let reply = house.password(spellings[round % spellings.len()], "a wrong guess of length", "000000").await;
        answers.push(reply.status);
        let stranger = house.password(&format!("unknown{round}"), "a wrong guess of length", "000000").await;
        assert!([401, 429].contains(&stranger.status));
    }
    // One account, one count: from the third failure on, a second is not enough, whatever the spelling.
    assert!(answers.iter().filter(|status| **status == 429).count() >= 5, "{answers:?}");
    // The right password does not help while it is shut, and no spelling of the name has a count of its own.
    for spelling in spellings {
        let shut = house.password(spelling, PASSWORD, &ben.code(&house)).await;
        assert_eq!(shut.status, 429, "{spelling:?}: {shut:?}");
    }
    house.pass(60_000);
    assert_eq!(house.password(" BEN ", PASSWORD, &ben.code(&house)).await.status, 200);
}

#[tokio::test]
async fn cve_2025_6015_totp_whitespace_and_reuse() {
    let (house, ana) = House::with_owner::<10>();
    let ben = walker(&house, &ana.session, "ben").await;
    let right = ben.code(&house);
    let wide: String = right.chars().map(|digit| char::from_u32(u32::from(digit) - 0x30 + 0xff10).unwrap()).collect();
    let split = format!("{} {}", &right[..3], &right[3..]);
    for typed in [
        format!(" {right}"),
        format!("{right} "),
        format!("{right}\n"),
        format!("\u{a0}{right}"),
        split,
        format!("0{right}"),
        format!("{right}0"),
        format!("+{right}"),
        right[1..].to_owned(),
        wide,
        String::new(),
        format!("{right}\0"),
    ] {
        house.pass(20_000);
        let reply = house.password("ben", PASSWORD, &typed).await;
        // Spaces may be taken off, as an app shows them; then the code is used up like any other.
        assert_eq!(reply.status, 401, "{typed:?}: {reply:?}");
    }
    house.pass(60_000);
    let right = ben.code(&house);
    assert_eq!(house.password("ben", PASSWORD, &right).await.status, 200);
    for again in [right.clone(), format!(" {right}"), format!("{right} ")] {
        house.pass(3_000);
        assert_eq!(house.password("ben", PASSWORD, &again).await.status, 401, "{again:?} is good once");
    }
    // An earlier step is not good after a later one, and a recovery code is good once.
    house.pass(60_000);
    let spare = &ben.recovery[0];
    assert_eq!(house.password("ben", PASSWORD, spare).await.status, 200);
    house.pass(10_000);
    for again in [spare.clone(), spare.to_uppercase(), format!(" {spare}"), spare.replace('-', "")] {
        house.pass(10_000);
        assert_eq!(house.password(&ben.name, PASSWORD, &again).await.status, 401, "{again}");
    }
}

#[tokio::test]
async fn cve_2026_5807_bootstrap_takeover() {
    let house = House::new::<11>();
    let first = house.vault.offer_setup().unwrap().token.unwrap();
    house.pass(SETUP_LIFE_MS);
    let body = json!({"token": *first});
    assert_eq!(
        house.call("POST", "/api/v1/invitation", By::Nobody, Some(&body)).await.status,
        401,
        "over after 15 minutes"
    );
    let token = house.vault.offer_setup().unwrap().token.unwrap();
    let invited = house.vault.invited(&token).unwrap().person.id;
    // Two that saw the token begin at the same time, and end at the same time.
    let mut racers = Vec::new();
    for name in ["ana", "eve"] {
        let invitation = json!({"token": *token, "name": name, "display": name});
        let offer = house.call("POST", "/api/v1/enrol/passkey/begin", By::Nobody, Some(&invitation)).await.json();
        let challenge = serde_json::from_value(offer["options"]["challenge"].clone()).unwrap();
        let answer = soft_key(invited.as_str()).register(SITE, &challenge).unwrap();
        racers.push(
            json!({"invitation": invitation, "ceremony": offer["ceremony"], "credential": answer, "label": "key"}),
        );
    }
    let path = "/api/v1/enrol/passkey/finish";
    let (one, other) = tokio::join!(
        house.call("POST", path, By::Nobody, Some(&racers[0])),
        house.call("POST", path, By::Nobody, Some(&racers[1])),
    );
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses[0], 200, "{one:?} {other:?}");
    assert!((400..500).contains(&statuses[1]), "{one:?} {other:?}");
    let winner = if one.status == 200 { &one } else { &other };
    let people = house.acting(&winner.session()).people().unwrap();
    assert_eq!(people.len(), 1, "one person came of it");
    assert_eq!(people[0].factors.len(), 1, "with one key");
    assert!(house.vault.offer_setup().is_err(), "nobody is offered it again");
    assert_eq!(house.call("POST", "/api/v1/invitation", By::Nobody, Some(&json!({"token": *token}))).await.status, 401);
}

#[tokio::test]
async fn cve_2026_37982_enrolment_link_replay() {
    let (house, ana) = House::with_owner::<12>();
    let token = invitation(&house, &ana.session, "ben").await;
    let other = invitation(&house, &ana.session, "eve").await;
    let (ceremony, uri) = begin(&house, &token).await;
    let now = || code_of(&uri, house.now().millis() / 30_000);
    // A ceremony belongs to the invitation with which it was begun.
    assert_eq!(finish(&house, &other, &ceremony, PASSWORD, &now()).await.status, 422);
    let (ceremony, uri) = begin(&house, &token).await;
    let right = code_of(&uri, house.now().millis() / 30_000);
    assert_eq!(finish(&house, &token, &ceremony, PASSWORD, &right).await.status, 200);
    let replays: [(&str, Value); 4] = [
        ("/api/v1/invitation", json!({"token": token})),
        ("/api/v1/enrol/passkey/begin", json!({"token": token})),
        ("/api/v1/enrol/password/begin", json!({"token": token})),
        (
            "/api/v1/enrol/password/finish",
            json!({"invitation": {"token": token}, "ceremony": ceremony, "password": PASSWORD, "code": right}),
        ),
    ];
    for (path, body) in &replays {
        assert_eq!(house.call("POST", path, By::Nobody, Some(body)).await.status, 401, "{path}");
    }
    // A day later the other one is over too.
    house.pass(24 * 60 * 60 * 1_000);
    assert_eq!(house.call("POST", "/api/v1/invitation", By::Nobody, Some(&json!({"token": other}))).await.status, 401);
}

#[tokio::test]
async fn ghsa_34fc_comparing_secrets() {
    let (house, ana) = House::with_owner::<13>();
    let (_, token) = house.token(&ana.session, &[Action::Read], 60_000);
    let by = async |text: &str| house.call("GET", "/api/v1/me", By::Token(text), None).await;
    assert_eq!(by(&token).await.status, 200);
    // One character away, anywhere: not good, and nothing says how near it was.
    let mut bodies = std::collections::BTreeSet::new();
    for at in 0..token.len() {
        let other = if token.as_bytes()[at] == b'0' { "1" } else { "0" };
        let near = format!("{}{other}{}", &token[..at], &token[at + 1..]);
        let reply = by(&near).await;
        assert_eq!(reply.status, 401, "{at}");
        bodies.insert(reply.body);
    }
    for cut in 1..token.len() {
        assert_eq!(by(&token[..cut]).await.status, 401, "{cut}");
    }
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    // What is stored does not let anybody in: neither the token nor its secret part is in any file.
    let secret = token.split('_').nth(3).unwrap();
    assert!(secret.len() >= 32, "{}", secret.len());
    for (path, bytes) in house.files() {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{}", path.display());
    }
}

#[tokio::test]
async fn cve_2026_33757_device_login_by_phishing() {
    let (house, ana) = House::with_owner::<14>();
    let begun = house.call("POST", "/api/v1/device/begin", By::Nobody, None).await.json();
    let (device, code) = (begun["device"].as_str().unwrap(), begun["user_code"].as_str().unwrap());
    let poll = json!({"device": device});
    let page = format!("/api/v1/device/{code}");
    // Whoever confirms sees first where the question comes from; looking confirms nothing, and neither does a script's token.
    let shown = house.call("GET", &page, By::Session(&ana.session), None).await.json();
    assert_eq!(shown["address"], "192.0.2.7");
    assert_eq!(house.call("POST", "/api/v1/device/poll", By::Nobody, Some(&poll)).await.json()["status"], "pending");
    let (_, token) = house.token(&ana.session, &[Action::Read], 60_000);
    assert_eq!(house.call("POST", &page, By::Token(&token), None).await.status, 403);
    assert_eq!(house.call("POST", &page, By::Nobody, None).await.status, 401);
    let guessed = house.call("POST", "/api/v1/device/BBBB-BBBB", By::Session(&ana.session), None).await;
    assert_eq!(guessed.status, 404);
    assert_eq!(house.call("POST", &page, By::Session(&ana.session), None).await.status, 204);
    assert_eq!(house.call("POST", "/api/v1/device/poll", By::Nobody, Some(&poll)).await.json()["status"], "entered");
    // Once, for one device.
    assert_eq!(house.call("POST", "/api/v1/device/poll", By::Nobody, Some(&poll)).await.status, 401);
    assert_eq!(house.call("POST", &page, By::Session(&ana.session), None).await.status, 404);
}

#[tokio::test]
async fn cve_2021_41247_incomplete_logout() {
    let (house, ana) = House::with_owner::<15>();
    let ben = house.join(&ana, "ben", &[Role::Researcher]);
    let second = house.login(&ben);
    let (_, token) = house.token(&ben.session, &[Action::Read], 60 * 60 * 1_000);
    let me = |session: String| {
        let house = &house;
        async move { house.call("GET", "/api/v1/me", By::Session(&session), None).await.status }
    };
    let left = house.call("POST", "/api/v1/logout", By::Session(&second), None).await;
    assert_eq!(left.status, 204);
    let cookie = left.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-ringfence=;") && cookie.contains("Max-Age=0"), "{cookie}");
    assert_eq!(me(second).await, 401, "the clock has not moved since");
    assert_eq!(me(ben.session.clone()).await, 200, "another session is its own");
    // Whoever is shut out is out with everything, within the same moment.
    let target = format!("/api/v1/people/{}/disable", ben.id);
    let body = json!({"reason": "left"});
    assert_eq!(house.call("POST", &target, By::Session(&ana.session), Some(&body)).await.status, 200);
    assert_eq!(me(ben.session.clone()).await, 401);
    assert_eq!(house.call("GET", "/api/v1/me", By::Token(&token), None).await.status, 401);
    // Let in again, nothing of before comes back: there is no renewal.
    let target = format!("/api/v1/people/{}/enable", ben.id);
    assert_eq!(house.call("POST", &target, By::Session(&ana.session), None).await.status, 200);
    assert_eq!(me(ben.session.clone()).await, 401);
    let fresh = house.login(&ben);
    let target = format!("/api/v1/people/{}/reset", ben.id);
    assert_eq!(house.call("POST", &target, By::Session(&ana.session), Some(&body)).await.status, 200);
    assert_eq!(me(fresh).await, 401, "a reset ends sessions too");
    // And a session ends by itself.
    house.pass(31 * 60 * 1_000);
    assert_eq!(me(ana.session.clone()).await, 401);
}
