//! Hosts, origins, verbs, and the headers of every answer.

use ringfence_server::guard::hosts::HostName;

use crate::world::{Plan, Reply, Site, send};

async fn raw(site: &Site, head: &str) -> Reply {
    send(&mut site.connect().await, format!("{head}\r\n\r\n").as_bytes()).await.expect("an answer")
}

#[tokio::test]
async fn only_our_hosts_are_answered() {
    let hosts = ["guard.example", "Guard.Example:9000", "192.0.2.7", "[2001:db8::1]:444"]
        .map(|name| HostName::parse(name).unwrap());
    let site = Site::start(Plan { hosts: hosts.to_vec(), ..Plan::default() }).await;
    let port = site.address.port();
    let ours = [
        format!("localhost:{port}"),
        format!("LOCALHOST:{port}"),
        format!("127.0.0.1:{port}"),
        format!("[::1]:{port}"),
        format!("guard.example:{port}"),
        "guard.example:9000".to_owned(),
        format!("192.0.2.7:{port}"),
        "[2001:db8::1]:444".to_owned(),
    ];
    for host in ours {
        assert_eq!(raw(&site, &format!("GET /open HTTP/1.1\r\nHost: {host}")).await.status, 200, "{host}");
    }
    let others = [
        "localhost".to_owned(),
        "localhost:443".to_owned(),
        "guard.example".to_owned(),
        format!("evil.example:{port}"),
        format!("guard.example.evil.example:{port}"),
        format!("guard.example.:{port}"),
        format!("127.0.0.2:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f.1:{port}"),
        format!("user@localhost:{port}"),
        format!("localhost:0{port}"),
        format!("localhost:{port}, localhost:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        String::new(),
    ];
    for host in others {
        let reply = raw(&site, &format!("GET /open HTTP/1.1\r\nHost: {host}")).await;
        assert_eq!((reply.status, reply.problem().as_str()), (421, "host"), "{host}");
    }
    // None, two, and a target that says something else.
    assert_eq!(raw(&site, "GET /open HTTP/1.1").await.problem(), "malformed");
    assert_eq!(raw(&site, "GET /open HTTP/1.0").await.problem(), "malformed");
    let two = format!("GET /open HTTP/1.1\r\nHost: localhost:{port}\r\nHost: localhost:{port}");
    assert_eq!(raw(&site, &two).await.problem(), "malformed");
    let absolute = |target: &str| format!("GET {target}/open HTTP/1.1\r\nHost: localhost:{port}");
    assert_eq!(raw(&site, &absolute(&format!("https://localhost:{port}"))).await.status, 200);
    assert_eq!(raw(&site, &absolute("https://evil.example")).await.status, 421);
    assert_eq!(raw(&site, &absolute(&format!("http://localhost:{port}"))).await.status, 421);
    assert_eq!(raw(&site, &absolute(&format!("https://a@localhost:{port}"))).await.status, 421);
}

#[tokio::test]
async fn every_verb_but_get_and_head_needs_our_origin_or_a_token() {
    let site = Site::start(Plan::default()).await;
    let own = site.origin();
    let session = "Cookie: __Host-ringfence=good";
    let refused = [
        session.to_owned(),
        format!("{session}\r\nOrigin: https://evil.example"),
        format!("{session}\r\nOrigin: null"),
        format!("{session}\r\nOrigin: {own}.evil.example"),
        format!("{session}\r\nOrigin: {}", own.replace("https", "http")),
        format!("{session}\r\nOrigin: {own}\r\nOrigin: https://evil.example"),
        format!("{session}\r\nOrigin: {own}\r\nSec-Fetch-Site: cross-site"),
        format!("{session}\r\nOrigin: {own}\r\nSec-Fetch-Site: same-site"),
        format!("{session}\r\nOrigin: {own}\r\nSec-Fetch-Site: none"),
        format!("{session}\r\nOrigin: {own}\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site"),
        // A token does not help where a browser speaks.
        format!("{session}\r\nAuthorization: Bearer good"),
        "Authorization: Bearer good\r\nSec-Fetch-Site: same-origin".to_owned(),
        "Authorization: Bearer good\r\nOrigin: https://evil.example".to_owned(),
        "Authorization: Basic Z29vZA==".to_owned(),
        String::from("X-Nothing: at all"),
    ];
    // Known verbs, others' verbs, and ones that nobody has thought of.
    for verb in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "MKCOL", "BREW", "get", "Get"] {
        for headers in &refused {
            let reply = site.ask(&format!("{verb} /any HTTP/1.1\r\n{headers}"), b"").await;
            assert_eq!((reply.status, reply.problem().as_str()), (403, "cross-site"), "{verb} {headers}");
        }
    }
    for verb in ["POST", "PUT", "PATCH", "DELETE"] {
        for headers in [
            format!("{session}\r\nOrigin: {own}\r\nSec-Fetch-Site: same-origin"),
            format!("{session}\r\nOrigin: {own}"),
            "Authorization: Bearer good".to_owned(),
        ] {
            let reply = site.ask(&format!("{verb} /any HTTP/1.1\r\n{headers}"), b"").await;
            assert_eq!(reply.status, 200, "{verb} {headers}: {reply:?}");
        }
    }
    let options = site.ask(&format!("OPTIONS /any HTTP/1.1\r\nOrigin: {own}"), b"").await;
    assert_eq!((options.status, options.problem().as_str()), (405, "method"));
    assert!(options.headers.keys().all(|name| !name.starts_with("access-control")));
}

#[tokio::test]
async fn no_header_makes_another_verb_of_one() {
    let site = Site::start(Plan::default()).await;
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "x-method-override"] {
        let reply = site.ask(&format!("GET /open HTTP/1.1\r\n{name}: DELETE"), b"").await;
        assert_eq!((reply.status, reply.problem().as_str()), (400, "malformed"), "{name}");
    }
}

#[tokio::test]
async fn other_sites_link_but_do_not_load() {
    let site = Site::start(Plan::default()).await;
    let ask = async |headers: &str| site.ask(&format!("GET /open HTTP/1.1\r\n{headers}"), b"").await.status;
    assert_eq!(ask("Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate").await, 200);
    assert_eq!(ask("Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors").await, 403);
    assert_eq!(ask("Sec-Fetch-Site: same-site").await, 403);
    assert_eq!(ask("Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate").await, 200);
}

#[tokio::test]
async fn every_answer_has_its_headers() {
    let site = Site::start(Plan { hosts: vec![HostName::parse("guard.example").unwrap()], ..Plan::default() }).await;
    let port = site.address.port();
    let mut seen = String::new();
    for (target, host) in [
        ("/open", "localhost"),
        ("/nothing", "localhost"),
        ("/open", "guard.example"),
        ("/open", "evil.example"),
        ("/panic", "127.0.0.1"),
    ] {
        let reply = raw(&site, &format!("GET {target} HTTP/1.1\r\nHost: {host}:{port}")).await;
        seen += &format!("\n{target} at {host}: {}\n", reply.status);
        let varying = ["date", "content-length"];
        for (name, value) in reply.headers.iter().filter(|(name, _)| !varying.contains(&name.as_str())) {
            seen += &format!("  {name}: {value}\n");
        }
    }
    insta::assert_snapshot!("headers", seen);
}

#[tokio::test]
async fn browsers_get_pages_and_programs_documents() {
    let site = Site::start(Plan::default()).await;
    let page =
        site.ask("GET /nothing?%3Cscript%3E HTTP/1.1\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8", b"").await;
    assert_eq!((page.status, page.headers["content-type"].as_str()), (404, "text/html; charset=utf-8"));
    assert!(!page.body.contains("script"));
    for accept in ["*/*", "application/json, text/html", ""] {
        let reply = site.ask(&format!("GET /nothing HTTP/1.1\r\nAccept: {accept}"), b"").await;
        assert_eq!(reply.problem(), "not-found");
    }
    let page = site.ask("GET /me HTTP/1.1\r\nAccept: text/html", b"").await;
    assert_eq!((page.status, page.headers["www-authenticate"].as_str()), (401, "Bearer"));
}

#[tokio::test]
async fn methods_and_head() {
    let site = Site::start(Plan::default()).await;
    let reply = site.ask(&format!("DELETE /open HTTP/1.1\r\nOrigin: {}", site.origin()), b"").await;
    assert_eq!((reply.status, reply.problem().as_str()), (405, "method"));
    assert_eq!(reply.headers["allow"], "GET,HEAD");
    let reply = site.ask("HEAD /open HTTP/1.1", b"").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    let reply = site.ask("HEAD /nothing HTTP/1.1", b"").await;
    assert_eq!((reply.status, reply.body.as_str()), (404, ""));
}
