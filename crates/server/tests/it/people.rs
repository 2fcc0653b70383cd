//! Credentials and seats.

use std::sync::atomic::Ordering;

use crate::world::{Plan, Site};

#[tokio::test]
async fn a_handler_with_a_seat_runs_for_nobody_else() {
    let site = Site::start(Plan::default()).await;
    let cookie = "Cookie: __Host-ringfence";
    let long = "x".repeat(600);
    let cases = [
        (String::from("X-Nobody: yes"), 401, "sign-in"),
        ("Authorization: Bearer expired".to_owned(), 401, "sign-in"),
        ("Authorization: Bearer below".to_owned(), 401, "step-up"),
        ("Authorization: Bearer wrong-role".to_owned(), 403, "denied"),
        ("Authorization: Bearer stranger".to_owned(), 404, "not-found"),
        ("Authorization: Basic Z29vZA==".to_owned(), 401, "sign-in"),
        ("Authorization: Bearer".to_owned(), 400, "malformed"),
        ("Authorization: Bearer good bad".to_owned(), 400, "malformed"),
        ("Authorization: Bearer \u{fc}".to_owned(), 400, "malformed"),
        (format!("Authorization: Bearer {long}"), 400, "malformed"),
        ("Authorization: Bearer good\r\nAuthorization: Bearer good".to_owned(), 400, "malformed"),
        (format!("Authorization: Bearer good\r\n{cookie}=good"), 400, "malformed"),
        (format!("{cookie}=good; __Host-ringfence=good"), 400, "malformed"),
        (format!("{cookie}=good\r\n{cookie}=other"), 400, "malformed"),
        (format!("{cookie}="), 400, "malformed"),
        (format!("{cookie}=bad"), 401, "sign-in"),
        (format!("{cookie}2=good"), 401, "sign-in"),
        ("Cookie: ringfence=good".to_owned(), 401, "sign-in"),
        ("Cookie: __host-ringfence=good".to_owned(), 401, "sign-in"),
    ];
    for (headers, status, kind) in &cases {
        for path in ["/me", "/things/1"] {
            let reply = site.ask(&format!("GET {path} HTTP/1.1\r\n{headers}"), b"").await;
            assert_eq!((reply.status, reply.problem().as_str()), (*status, *kind), "{headers}");
            assert_eq!(reply.headers.contains_key("www-authenticate"), *status == 401);
        }
    }
    assert_eq!(site.app.seated.load(Ordering::Relaxed), 0);
    for headers in
        ["Authorization: bearer good".to_owned(), format!("Cookie: a=b; \u{fc}; {}=good; c", "__Host-ringfence")]
    {
        let reply = site.ask(&format!("GET /things/1 HTTP/1.1\r\n{headers}"), b"").await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "{\"id\":1}"), "{headers}");
    }
    assert_eq!(site.app.seated.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_extractors_refuse_is_a_document_too() {
    let site = Site::start(Plan::default()).await;
    let reply = site.ask("GET /things/not-a-number HTTP/1.1\r\nAuthorization: Bearer good", b"").await;
    assert_eq!((reply.status, reply.problem().as_str()), (400, "malformed"));
    assert!(!reply.body.contains("not-a-number"), "{}", reply.body);
    let reply = site.ask("GET /things/7 HTTP/1.1\r\nAuthorization: Bearer good", b"").await;
    assert!(reply.problem() == "not-found" && reply.body.contains("ann sees no such thing"));
    let reply = site.ask("GET /health/ready HTTP/1.1", b"").await;
    assert_eq!((reply.status, reply.problem().as_str()), (503, "unavailable"));
    assert!(reply.body.contains("the disk is full"));
    assert_eq!(site.ask("GET /health/live HTTP/1.1", b"").await.status, 200);
}
