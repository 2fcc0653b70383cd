//! Any bytes as a request: line, headers and body through the guard, the gate and the extractors, in-process; and as a
//! document, a path, a query and the name of a host.
#![no_main]

use std::sync::LazyLock;

use axum::{
    body::Body,
    extract::{Path, Request},
};
use ringfence_server::{
    guard::{
        Guard, Service,
        hosts::{HostName, Hosts, Scheme},
        json::{self, Json},
        path,
        rate::Rate,
    },
    problem::MEDIA_TYPE,
    routes::{
        Intake, Open, Route, Routes, Verb,
        seat::{Account, Authenticator, Known, Seat},
    },
    scim,
    serve::Peer,
};
use serde_json::Value;

const FREE: Rate = Rate { per_second: 100_000_000, burst: 100_000_000 };

static SERVICE: LazyLock<Service> = LazyLock::new(|| {
    let document = async |_: Seat<()>, Json(value): Json<Value>| Json(value);
    let routes = Routes::default()
        .with(Route::open(Open::Static, Verb::Get, "/rest/{*rest}", "", async |Path(rest): Path<String>| rest))
        .with(Route::open(Open::SignIn, Verb::Post, "/login", "", async |body: String| body).takes(Intake::Form))
        .with(Route::signed_in(Verb::Post, "/document", "", document).takes(Intake::Json));
    let authenticator = Authenticator::new(|_| async { Ok(Known { principal: (), account: Account("a".into()) }) });
    let guard = Guard::new(Hosts::new(Scheme::Https, 8443, &[]).expect("hosts"), FREE);
    routes.service((), authenticator, FREE, guard).expect("routes")
});

static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = json::read::<Value>(data);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = (path::path(text), path::query(text), HostName::parse(text));
    }
    let Some(request) = request(data) else { return };
    let response = RUNTIME.block_on(SERVICE.answer(request));
    assert!(!response.status().is_server_error());
    assert!(response.headers().contains_key("content-security-policy"));
    if response.status().is_client_error() {
        let kind = &response.headers()["content-type"];
        assert!(kind == MEDIA_TYPE || kind == scim::MEDIA_TYPE);
    }
});

/// `method target`, headers a line each, an empty line, the body; whatever cannot be a request is none.
fn request(data: &[u8]) -> Option<Request> {
    let (head, body) = match data.windows(2).position(|pair| pair == b"\n\n") {
        Some(end) => (data.get(..end)?, data.get(end + 2..)?),
        None => (data, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let space = first.iter().position(|byte| *byte == b' ')?;
    let (method, target) = (first.get(..space)?, first.get(space + 1..)?);
    let mut request = Request::builder().method(method).uri(target).header("host", "localhost:8443");
    for line in lines.take(70) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(line.get(..colon)?, line.get(colon + 1..)?);
    }
    let mut request = request.body(Body::from(body.to_vec())).ok()?;
    request.extensions_mut().insert(Peer { address: ([127, 0, 0, 1], 5).into(), certificate: None });
    Some(request)
}
