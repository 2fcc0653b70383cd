//! The table itself, and where it may be served.

use std::{net::SocketAddr, sync::Arc, sync::atomic::Ordering};

use ringfence_server::{
    guard::{
        Guard,
        hosts::{HostName, Hosts, Scheme},
    },
    problem::Kind,
    routes::{Open, Permission, Recorded, Route, RouteError, Routes, Verb},
    serve::{
        Channel, Exposure, ExposureError,
        authority::Authority,
        tls::{Clients, Identity, Tls},
    },
};

use crate::world::{App, FREE, Plan, Site, authenticator, now, routes};

#[tokio::test]
async fn every_route_that_is_not_open_refuses_whoever_may_not() {
    let site = Site::start(Plan::default()).await;
    let mut called = 0;
    for route in routes().iter() {
        if matches!(route.permission(), Permission::Open(_)) {
            continue;
        }
        let path = route.path().replace("{id}", "1");
        for (token, status) in [("", 401), ("expired", 401), ("below", 401), ("wrong-role", 403), ("stranger", 404)] {
            let credential = if token.is_empty() {
                format!("Origin: {}", site.origin())
            } else {
                format!("Authorization: Bearer {token}")
            };
            let reply = site.ask(&format!("{} {path} HTTP/1.1\r\n{credential}", route.verb().name()), b"").await;
            assert_eq!(reply.status, status, "{route:?} {token}");
            called += 1;
        }
    }
    assert_eq!(called, 5 * routes().iter().filter(|route| !matches!(route.permission(), Permission::Open(_))).count());
    assert_eq!(site.app.seated.load(Ordering::Relaxed), 0);
}

#[test]
fn the_table_says_what_is_recorded() {
    for route in routes().iter() {
        let expected = match route.permission() {
            Permission::Open(Open::SignIn) | Permission::SignedIn | Permission::Run | Permission::Action(_) => {
                Recorded::Trail
            }
            Permission::Open(_) => Recorded::Unrecorded,
        };
        assert_eq!(route.recorded(), expected, "{route:?}");
    }
}

#[test]
fn a_table_with_two_answers_or_odd_paths_is_refused() {
    let open = |path| Route::open(Open::Static, Verb::Get, path, "", async || "");
    let made = |paths: &[&'static str]| {
        let routes: Routes<App, String> = paths.iter().fold(Routes::default(), |routes, path| routes.with(open(path)));
        let guard = Guard::new(Hosts::new(Scheme::Http, 1, &[]).unwrap(), FREE);
        routes.service(App::default(), authenticator(), FREE, guard).map(|_| ())
    };
    for paths in [["/a", "/a"], ["/a/{x}", "/a/{y}"], ["/a/{*x}", "/a/{y}"], ["/a/{*x}", "/a/{y}/b"]] {
        assert!(matches!(made(&paths), Err(RouteError::Twice { .. })), "{paths:?}");
    }
    for path in ["", "a", "/a//b", "/a/", "/{}", "/{a", "/a{b}", "/{*a}/b", "/..", "/a b", "/a%20", "/:a"] {
        assert!(matches!(made(&[path]), Err(RouteError::Path { .. })), "{path}");
    }
    made(&["/", "/a", "/a/{x}", "/a/b", "/b/{*rest}", "/b/c", "/.well-known/x-y_z"]).unwrap();
}

#[test]
fn beyond_loopback_needs_tls_and_an_administrator() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Arc::new(Authority::open(folder.path(), &[], now()).unwrap());
    let tls = || Channel::Tls(Tls::new(Identity::Embedded(Arc::clone(&authority)), Clients::Unasked, now()).unwrap());
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    let unasked = || -> Result<(), String> { panic!("loopback asks nobody") };
    for local in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        Exposure::of(at(local), Channel::Plain, unasked).unwrap();
        Exposure::of(at(local), tls(), unasked).unwrap();
    }
    for wide in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[2001:db8::1]:1", "[::ffff:192.0.2.1]:1"] {
        let plain = Exposure::of(at(wide), Channel::Plain, || Ok(())).unwrap_err();
        assert_eq!(plain, ExposureError::NoTls { address: at(wide) });
        let early = Exposure::of(at(wide), tls(), || Err("nobody is enrolled".to_owned())).unwrap_err();
        assert_eq!(early.to_string(), format!("`{wide}` is beyond this machine: nobody is enrolled"));
        Exposure::of(at(wide), tls(), || Ok(())).unwrap();
    }
}

#[test]
fn names_of_hosts() {
    for (given, read) in [
        ("Example.ORG", "example.org"),
        ("a-b.c:8", "a-b.c:8"),
        ("::1", "[::1]"),
        ("[::1]:8", "[::1]:8"),
        ("192.0.2.1:8", "192.0.2.1:8"),
        ("x1", "x1"),
    ] {
        assert_eq!(HostName::parse(given).unwrap().to_string(), read);
    }
    for given in [
        "",
        ":8",
        "a:",
        "a:0",
        "a:70000",
        "a b",
        "a/b",
        "-a",
        "a-",
        "a..b",
        "a.",
        "127.1",
        "1.2.3.4.5",
        "2130706433",
        "http://a",
        "*.a",
        "a@b",
        "ü",
    ] {
        assert!(HostName::parse(given).is_err(), "{given}");
    }
}

#[test]
fn kinds_of_problems() {
    let mut all = String::new();
    for kind in Kind::ALL {
        all += &format!("{} {}: {}\n", kind.status().as_u16(), kind.name(), kind.title());
        assert_eq!(Kind::of(kind.status()).status(), kind.status());
    }
    insta::assert_snapshot!("problems", all);
}
