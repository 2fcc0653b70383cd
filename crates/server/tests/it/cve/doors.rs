//! Missing authentication and authorisation.

use std::net::SocketAddr;

use axum::{body::Body, extract::Request};
use ringfence_engine::access::{Action, Role};
use ringfence_server::{
    routes::{Open, Permission},
    serve::{Channel, Exposure, ExposureError},
};
use serde_json::json;

use crate::house::{By, House, SITE, challenge, everything};

/// A path of this route with something in its variable parts.
pub(crate) fn concrete(path: &str) -> String {
    let filled = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part });
    filled.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn cve_2026_0545_route_in_another_router() {
    let (house, ana) = House::with_owner::<2>();
    let mut open = Vec::new();
    for route in everything(&house.app).iter() {
        if let Permission::Open(why) = route.permission() {
            open.push(format!("{why:?} {} {}", route.verb().name(), route.path()));
        } else {
            let reply = house.call(route.verb().name(), &concrete(route.path()), By::Nobody, None).await;
            assert_eq!(reply.status, 401, "{route:?}");
        }
    }
    // Whatever is open stands in a list that people review; no part of it does more than let somebody in.
    insta::assert_snapshot!("open-routes", open.join("\n"));
    let known: Vec<String> = everything(&house.app).iter().map(|route| concrete(route.path())).collect();
    for below in ["/x", "/1/x", "/../jobs"] {
        for path in &known {
            let target = format!("{path}{below}");
            if known.contains(&target) || target.starts_with("/api/v1/artifacts/1/1/1") {
                continue;
            }
            for by in [By::Nobody, By::Session(&ana.session)] {
                let reply = house.call("POST", &target, by, None).await;
                assert!([400, 401, 404, 405].contains(&reply.status), "{target}: {reply:?}");
            }
        }
    }
    for path in ["/api", "/api/v1", "/api/v2/me", "/ajax-api/2.0/jobs", "/jobs", "/metrics", "/debug", "/graphql"] {
        let reply = house.call("GET", path, By::Session(&ana.session), None).await;
        assert_eq!(reply.status, 404, "{path}");
    }
}

#[tokio::test]
async fn cve_2025_15381_object_of_another_person() {
    let (house, ana) = House::with_owner::<3>();
    let (eve, vic) = (house.join(&ana, "eve", &[Role::Researcher]), house.join(&ana, "vic", &[Role::Researcher]));
    let (token_id, token) = house.token(&vic.session, &[Action::Read], 60_000);
    let session_id = house.acting(&vic.session).own_sessions().unwrap()[0].id.clone();
    let by = By::Session(&eve.session);
    let before = house.state().1;
    for id in [&token_id, &session_id] {
        assert_eq!(house.call("DELETE", &format!("/api/v1/sessions/{id}"), by, None).await.status, 404);
    }
    let factor = format!("/api/v1/factors/{}", vic.key.credential_id());
    assert!((400..500).contains(&house.call("DELETE", &factor, by, None).await.status));
    for list in ["/api/v1/sessions", "/api/v1/tokens"] {
        let shown = house.call("GET", list, by, None).await.body;
        assert!(
            !shown.contains(&token_id) && !shown.contains(&session_id) && !shown.contains(vic.id.as_str()),
            "{shown}"
        );
    }
    // A question that was asked of one person cannot be answered by another, however right the answer is.
    let offer = house.acting(&vic.session).begin_step_up(&house.party).unwrap();
    let answer = eve.key.assert(SITE, &challenge(&offer)).unwrap();
    let body = json!({"ceremony": offer.ceremony, "credential": answer});
    assert_eq!(house.call("POST", "/api/v1/step-up/passkey/finish", by, Some(&body)).await.status, 401);
    assert_eq!(house.state().1, before);
    // What is decided on one's own roles is nobody's own decision.
    let own = format!("/api/v1/people/{}/roles", eve.id);
    let reply = house.call("PUT", &own, by, Some(&json!({"roles": ["owner"]}))).await;
    assert_eq!(reply.status, 403);
    assert!(
        house.call("GET", "/api/v1/me", By::Token(&token), None).await.status == 200,
        "what was not hers is as it was"
    );
}

#[tokio::test]
async fn cve_2023_48022_no_authentication_by_design() {
    for wide in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
        let wide: SocketAddr = wide.parse().unwrap();
        let refused = Exposure::of(wide, Channel::Plain, || Ok(())).unwrap_err();
        assert_eq!(refused, ExposureError::NoTls { address: wide });
    }
    // Before anybody has enrolled, the token on the console is the only way in.
    let house = House::new::<4>();
    for route in everything(&house.app).iter() {
        if !matches!(route.permission(), Permission::Open(Open::Health | Open::Description | Open::Static)) {
            let reply = house.call(route.verb().name(), &concrete(route.path()), By::Nobody, None).await;
            let begins = ["/api/v1/login/passkey/begin", "/api/v1/device/begin", "/api/v1/login/providers"];
            let pages = ["/sign-in", "/sign-in/passkey/begin", "/invitation"];
            let begins = begins.iter().chain(&pages).any(|path| *path == route.path());
            assert!(begins || (400..500).contains(&reply.status), "{route:?}: {reply:?}");
        }
    }
    assert!(!house.vault.is_shared());
}

#[tokio::test]
async fn cve_2026_27482_verbs_by_blocklist() {
    let (house, ana) = House::with_owner::<5>();
    let routes = everything(&house.app);
    let offered = |verb: &str, path: &str| {
        routes.iter().any(|route| route.path() == path && (route.verb().name() == verb || verb == "HEAD"))
    };
    let verbs = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", "Delete", "X"];
    let before = house.state();
    for route in routes.iter() {
        for verb in verbs {
            let exists = offered(verb, route.path()) && (verb != "HEAD" || offered("GET", route.path()));
            if exists {
                continue;
            }
            let reply = house.call(verb, &concrete(route.path()), By::Session(&ana.session), None).await;
            assert!([400, 403, 405].contains(&reply.status), "{verb} {}: {reply:?}", route.path());
        }
        for header in ["x-http-method-override", "x-http-method", "x-method-override"] {
            let request = Request::builder().method("GET").uri(concrete(route.path())).header("host", "localhost:8443");
            let request =
                request.header("cookie", format!("__Host-ringfence={}", ana.session)).header(header, "DELETE");
            assert_eq!(house.send(request.body(Body::empty()).unwrap()).await.status, 400, "{header}");
        }
    }
    assert_eq!(house.state(), before, "none of it reached the engine");
}

#[tokio::test]
async fn cve_2025_14279_dns_rebinding() {
    let (house, ana) = House::with_owner::<6>();
    let hosts = [
        "attacker.example:8443",
        "localhost.attacker.example:8443",
        "127.0.0.1.nip.io:8443",
        "localhost:80",
        "localhost@evil:8443",
        "evil#localhost:8443",
        "0.0.0.0:8443",
        "2130706433:8443",
        "192.168.0.1:8443",
        "[::]:8443",
        "localhost.:8443",
        "",
        "*",
    ];
    let before = house.state();
    for route in everything(&house.app).iter() {
        for host in hosts {
            let request =
                Request::builder().method(route.verb().name()).uri(concrete(route.path())).header("host", host);
            let request = request.header("origin", format!("https://{host}"));
            let request = request.header("cookie", format!("__Host-ringfence={}", ana.session)).body(Body::empty());
            let reply = house.send(request.unwrap()).await;
            assert!([400, 421].contains(&reply.status), "{host} {}: {reply:?}", route.path());
        }
        let twice = Request::builder().method(route.verb().name()).uri(concrete(route.path()));
        let twice =
            twice.header("host", "localhost:8443").header("host", "attacker.example").body(Body::empty()).unwrap();
        assert_eq!(house.send(twice).await.status, 400);
        // A page of another name that resolves here has an origin of its own.
        let page = Request::builder().method(route.verb().name()).uri(concrete(route.path()));
        let page = page.header("host", "localhost:8443").header("sec-fetch-site", "cross-site");
        let page = page.header("cookie", format!("__Host-ringfence={}", ana.session)).body(Body::empty()).unwrap();
        assert_eq!(house.send(page).await.status, 403);
    }
    assert_eq!(house.state(), before);
}

#[tokio::test]
async fn cve_2025_5999_names_that_become_others() {
    let (house, ana) = House::with_owner::<7>();
    let by = By::Session(&ana.session);
    for name in [
        "ana",
        "ANA",
        " ana ",
        "Ana\t",
        "\u{ff41}na",
        "a\u{301}na",
        "\u{430}na",
        "ana\u{200b}",
        "ana\u{202e}",
        "ana/..",
        "../ana",
        "*",
        "a*",
        "+",
        "ana+",
        "",
        " ",
        ".",
        "..",
        "setup",
        "SETUP",
        "Role::\"owner\"",
        "p-{{identity}}",
        "ana\0",
        "ana\nroot",
    ] {
        let body = json!({"name": name, "display": "Somebody", "roles": []});
        let reply = house.call("POST", "/api/v1/people", by, Some(&body)).await;
        // No name, or one that somebody has.
        assert!(matches!(reply.status, 409 | 422), "{name:?}: {reply:?}");
    }
    // A name that policies or the system use for itself is a name like any other: roles alone give rights.
    for name in ["root", "owner", "console", "nobody", "admin"] {
        let body = json!({"name": name, "display": "Somebody", "roles": []});
        assert_eq!(house.call("POST", "/api/v1/people", by, Some(&body)).await.status, 201, "{name}");
    }
    for role in ["Owner", "OWNER", "owner ", "*", "root", "Role::\"owner\"", "security-officer", "../owner"] {
        let body = json!({"name": "ben", "display": "Ben", "roles": [role]});
        assert_eq!(house.call("POST", "/api/v1/people", by, Some(&body)).await.status, 422, "{role}");
    }
    let eve = house.join(&ana, "eve", &[]);
    for who in
        [ana.id.as_str().to_uppercase(), format!("{}%20", ana.id), format!("{}.", ana.id), "%2A".into(), "+".into()]
    {
        let target = format!("/api/v1/people/{who}/disable");
        let reply = house.call("POST", &target, By::Session(&eve.session), Some(&json!({"reason": "x"}))).await;
        assert_eq!(reply.status, 403, "{who}: {reply:?}");
    }
    assert_eq!(house.call("GET", "/api/v1/me", by, None).await.status, 200);
}
