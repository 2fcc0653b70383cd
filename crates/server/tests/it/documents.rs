//! Bodies and bytes: too large, too deep, twice, or nothing at all like HTTP.

use axum::{body::Body, extract::Request};
use proptest::prelude::*;
use ringfence_server::{
    guard::json::{self, DEPTH_MAX, ITEMS_MAX, JSON_BYTES_MAX},
    problem::Kind,
    serve::{HEAD_BYTES_MAX, Peer},
};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::world::{App, FREE, Plan, Reply, Site, receive, send, service};

async fn post(site: &Site, media_type: &str, body: &[u8]) -> Reply {
    let length = body.len();
    let head = format!(
        "POST /things HTTP/1.1\r\nAuthorization: Bearer good\r\nContent-Type: {media_type}\r\nContent-Length: {length}"
    );
    site.ask(&head, body).await
}

#[tokio::test]
async fn documents_are_read_strictly() {
    let site = Site::start(Plan::default()).await;
    let json = "application/json";
    let reply = post(&site, json, br#"{"name": "x", "size": 3}"#).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "x of 3"));
    assert_eq!(post(&site, "Application/JSON; charset=UTF-8", br#"{"name": "x", "size": 3}"#).await.status, 200);
    let deep = format!("{}1{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1));
    let bomb = "[".repeat(100_000);
    let objects = "{\"a\":".repeat(40_000);
    let wide = format!("[{}1]", "1,".repeat(ITEMS_MAX));
    let large = format!("{{\"name\": \"{}\", \"size\": 1}}", "x".repeat(JSON_BYTES_MAX));
    let cases: [(&str, &[u8], u16); 18] = [
        ("text/plain", b"{}", 415),
        ("application/x-www-form-urlencoded", b"{}", 415),
        ("application/json, text/plain", b"{}", 415),
        ("application/json; charset=utf-16", b"{}", 415),
        ("application/jsonp", b"{}", 415),
        (json, b"", 400),
        (json, b"{", 400),
        (json, b"\xff\xfe{}", 400),
        (json, br#"{"name": "x", "size": 3} {}"#, 400),
        (json, br#"{"name": "x", "size": 3, "name": "y"}"#, 400),
        (json, br#"{"name": "x", "size": 3, "n\u0061me": "y"}"#, 400),
        (json, deep.as_bytes(), 400),
        (json, bomb.as_bytes(), 400),
        (json, objects.as_bytes(), 400),
        (json, wide.as_bytes(), 413),
        (json, large.as_bytes(), 413),
        (json, br#"{"name": "x"}"#, 422),
        (json, br#"{"name": "x", "size": "hunter2"}"#, 422),
    ];
    for (media_type, body, status) in cases {
        let reply = post(&site, media_type, body).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(reply.status, status, "{media_type} {shown}: {reply:?}");
        reply.problem();
        assert!(!reply.body.contains("hunter2"), "{}", reply.body);
    }
    let reply = post(&site, json, br#"{"name": "x"}"#).await;
    assert!(reply.body.contains("missing field `size`"), "{}", reply.body);
}

#[tokio::test]
async fn bodies_have_limits_and_places() {
    let site = Site::start(Plan::default()).await;
    let bearer = "Authorization: Bearer good";
    let cases = [
        (format!("PUT /upload HTTP/1.1\r\n{bearer}\r\nContent-Length: {}", (1 << 20) + 1), 413, "body-too-large"),
        (format!("PUT /upload HTTP/1.1\r\n{bearer}\r\nContent-Length: 9223372036854775807"), 413, "body-too-large"),
        (format!("PUT /upload HTTP/1.1\r\n{bearer}\r\nContent-Length: 18446744073709551616"), 400, "malformed"),
        (format!("PUT /upload HTTP/1.1\r\n{bearer}\r\nContent-Length: -1"), 400, "malformed"),
        (format!("PUT /upload HTTP/1.1\r\n{bearer}\r\nContent-Length: 1\r\nContent-Length: 2"), 400, "malformed"),
        (format!("PUT /upload HTTP/1.1\r\n{bearer}\r\nTransfer-Encoding: gzip"), 400, "malformed"),
        (format!("PUT /upload HTTP/1.1\r\n{bearer}\r\nContent-Encoding: gzip\r\nContent-Length: 4"), 415, "media-type"),
        (
            format!("PUT /upload HTTP/1.1\r\n{bearer}\r\nContent-Encoding: identity, br\r\nContent-Length: 4"),
            415,
            "media-type",
        ),
        (format!("PUT /upload HTTP/1.1\r\n{bearer}\r\nExpect: 200-ok\r\nContent-Length: 4"), 417, "expectation"),
        ("GET /open HTTP/1.1\r\nContent-Length: 4".to_owned(), 413, "body-too-large"),
        ("GET /open HTTP/1.1\r\nTransfer-Encoding: chunked".to_owned(), 413, "body-too-large"),
        (
            format!(
                "POST /login HTTP/1.1\r\nOrigin: {}\r\nContent-Type: text/plain\r\nContent-Length: 4",
                site.origin()
            ),
            415,
            "media-type",
        ),
    ];
    for (head, status, kind) in cases {
        let reply = site.ask(&head, b"abcd").await;
        assert_eq!((reply.status, reply.problem().as_str()), (status, kind), "{head}");
    }
    // In pieces, without a length: cut off at the limit.
    let mut stream = site.connect().await;
    let head = format!(
        "PUT /upload HTTP/1.1\r\n{bearer}\r\nHost: localhost:{}\r\nTransfer-Encoding: chunked\r\n\r\n",
        site.address.port()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
    for _ in 0..17 {
        if stream.write_all(piece.as_bytes()).await.is_err() {
            break;
        }
    }
    let reply = receive(&mut stream, false).await.unwrap();
    assert_eq!((reply.status, reply.problem().as_str()), (413, "body-too-large"));
    let reply = site
        .ask(&format!("PUT /upload HTTP/1.1\r\n{bearer}\r\nTransfer-Encoding: chunked"), b"4\r\nabcd\r\n0\r\n\r\n")
        .await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "4"));
}

#[tokio::test]
async fn heads_have_limits() {
    let site = Site::start(Plan::default()).await;
    let large = format!("GET /open HTTP/1.1\r\nX-Large: {}", "x".repeat(HEAD_BYTES_MAX));
    let reply = site.ask(&large, b"").await;
    assert_eq!((reply.status, reply.problem().as_str()), (431, "headers-too-large"));
    for count in [70, 200] {
        let many: String = (0..count).map(|number| format!("\r\nX-{number}: y")).collect();
        let reply = site.ask(&format!("GET /open HTTP/1.1{many}"), b"").await;
        assert_eq!((reply.status, reply.problem().as_str()), (431, "headers-too-large"), "{count}");
    }
}

#[tokio::test]
async fn bytes_that_are_not_http_get_a_document() {
    let site = Site::start(Plan::default()).await;
    let cases: [&[u8]; 9] = [
        b"\r\n\r\n\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: x\r\n\r\n",
        b"GET /\x80 HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n",
        b"<script>alert(1)</script> / HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ];
    for bytes in cases {
        let reply = send(&mut site.connect().await, bytes).await.expect("an answer");
        assert_eq!((reply.status, reply.problem().as_str()), (400, "malformed"), "{}", bytes.escape_ascii());
        assert!(reply.headers.contains_key("content-security-policy") && !reply.body.contains("script"));
    }
}

#[test]
fn any_bytes_as_http_are_never_our_fault() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let site = runtime.block_on(Site::start(Plan::default()));
    let port = site.address.port();
    let piece = prop_oneof![
        any::<Vec<u8>>(),
        "(GET|POST|PUT|DELETE|HEAD|OPTIONS|[A-Z]{0,8}) (/|/open|/things|/me|[ -~]{0,30}) HTTP/1\\.[01]\r\n".prop_map(String::into_bytes),
        Just(format!("Host: localhost:{port}\r\n").into_bytes()),
        "(Content-Length|Transfer-Encoding|Cookie|Authorization|Origin|Expect|Connection|Upgrade|[!-~]{1,9}): [ -~]{0,20}\r\n".prop_map(String::into_bytes),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        "[0-9a-f]{1,17}\r\n".prop_map(String::into_bytes),
    ];
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(pieces in prop::collection::vec(piece, 1..12))| {
        let bytes = [pieces.concat(), b"\r\n\r\n".to_vec()].concat();
        runtime.block_on(async {
            let mut stream = site.connect().await;
            let _ = stream.write_all(&bytes).await;
            // Half-closed: whatever waits for more gives up.
            let _ = stream.shutdown().await;
            if let Some(reply) = receive(&mut stream, true).await {
                assert!(reply.status < 500, "{reply:?} to {}", bytes.escape_ascii());
                assert!(reply.headers.contains_key("content-security-policy"), "{reply:?}");
            }
        });
    });
    assert_eq!(site.service.counters().panics(), 0);
}

proptest! {
    /// Any request that can be written as one, without sockets.
    #[test]
    fn any_request_is_never_our_fault(
        method in "[A-Z]{1,7}",
        target in "/(open|me|things|things/[0-9a-z%]{0,5}|login|upload|any|rest/[ -~]{0,9})?([?][!-~]{0,20})?",
        headers in prop::collection::vec(("(cookie|authorization|origin|content-type|accept|expect|[a-z]{1,9})", "[ -~]{0,30}"), 0..6),
        body in any::<Vec<u8>>(),
    ) {
        let mut request = Request::builder().method(method.as_str()).uri(target.as_str()).header("host", "localhost:8443");
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        if let Ok(mut request) = request.body(Body::from(body)) {
            request.extensions_mut().insert(Peer { address: ([127, 0, 0, 1], 5).into(), certificate: None });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let response = runtime.block_on(service(App::default(), FREE).answer(request));
            assert!(!response.status().is_server_error(), "{method} {target} {headers:?}");
            if response.status().is_client_error() {
                assert_eq!(response.headers()["content-type"], "application/problem+json");
            }
        }
    }

    /// The limits on documents hold for any text, and what is read is what `serde_json` reads.
    #[test]
    fn any_text_as_a_document(text in "[\\[\\]{},:\"\\\\a1 ]{0,80}") {
        match json::read::<Value>(text.as_bytes()) {
            Ok(value) => assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value),
            Err(problem) => assert!(problem.kind() == Kind::Malformed),
        }
    }
}
