//! Servers that break, lie, dawdle or lead elsewhere.

use std::time::{Duration, Instant};

use ringfence_reach::testing::{Fault, Reply, TestHub};
use ringfence_reach::{DenyRule, HostRule, Network, ReachError, Resume, Scheme, Settings};

use crate::world::{content, fetch, hub, reach, source, weights};

/// Fetches the weights while the storage misbehaves.
fn spoilt(times: u32, fault: Fault) -> (TestHub, Result<Vec<u8>, ReachError>) {
    let hub = hub();
    let reach = reach(hub.settings());
    let file = weights(&reach);
    hub.storage.spoil("Signature", times, fault);
    let outcome = fetch(&reach, &file).map(|(bytes, _)| bytes);
    (hub, outcome)
}

#[test]
fn a_cut_connection_is_taken_up_where_it_broke() {
    let (hub, outcome) = spoilt(3, Fault::CutAfter(300_000));
    assert_eq!(outcome.unwrap(), content(1 << 20));
    let ranges: Vec<_> = hub.storage.log().into_iter().map(|asked| asked.range).collect();
    assert_eq!(ranges.len(), 4);
    assert_eq!(ranges[0], None);
    assert_eq!(ranges[1].as_deref(), Some("bytes=300000-"));
    assert!(hub.storage.sent("Signature") <= (1 << 20) + 300_000, "nothing came twice");
}

#[test]
fn a_server_that_breaks_without_progress_is_left() {
    let (_, outcome) = spoilt(100, Fault::CutAfter(0));
    let error = outcome.unwrap_err();
    assert!(matches!(error, ReachError::Truncated { bytes: 0, attempts: 3, .. }), "{error}");
}

#[test]
fn a_server_that_ignores_ranges_sends_it_all_again() {
    let hub = hub();
    let reach = reach(hub.settings());
    let file = weights(&reach);
    hub.storage.spoil("Signature", 1, Fault::CutAfter(300_000));
    hub.storage.spoil("Signature", 1, Fault::IgnoreRange);
    assert_eq!(fetch(&reach, &file).unwrap().0, content(1 << 20));
    let (_, fetched) = fetch(&reach, &file).unwrap();
    assert_eq!((fetched.received, fetched.connections), (1 << 20, 1));
}

#[test]
fn what_the_receiver_holds_is_hashed_and_not_asked_for() {
    let hub = hub();
    let reach = reach(hub.settings());
    let (file, whole) = (weights(&reach), content(1 << 20));
    let mut out = whole[..700_000].to_vec();
    let mut before = &whole[..700_000];
    let mut told = Vec::new();
    let fetched = reach.fetch(&file, &mut out, Resume::After(&mut before), &mut |done| told.push(done)).unwrap();
    assert_eq!(out, whole);
    assert_eq!(fetched.received, (1 << 20) - 700_000);
    assert_eq!((told[0], *told.last().unwrap()), (700_000, 1 << 20));
    // All of it there already: nothing is asked, everything is compared.
    let asked = hub.storage.log().len();
    let mut before = whole.as_slice();
    reach.fetch(&file, &mut Vec::new(), Resume::After(&mut before), &mut |_| {}).unwrap();
    assert_eq!(hub.storage.log().len(), asked);
    // A beginning that is not this file's.
    let wrong = vec![0; 700_000];
    let error = reach.fetch(&file, &mut Vec::new(), Resume::After(&mut wrong.as_slice()), &mut |_| {}).unwrap_err();
    assert!(matches!(error, ReachError::HashMismatch { .. }), "{error}");
    let long = vec![0; 2 << 20];
    let error = reach.fetch(&file, &mut Vec::new(), Resume::After(&mut long.as_slice()), &mut |_| {}).unwrap_err();
    assert!(matches!(error, ReachError::Changed { .. }), "{error}");
}

#[test]
fn wrong_bytes_are_never_a_file() {
    let (_, outcome) = spoilt(1, Fault::Corrupt);
    let error = outcome.unwrap_err();
    assert!(matches!(error, ReachError::HashMismatch { algorithm: "SHA-256", .. }), "{error}");
    // The same for what git keeps itself.
    let hub = hub();
    let reach = reach(hub.settings());
    let listing = reach.listing(&source("hf://acme/digits")).unwrap();
    hub.api.spoil("/resolve/", 1, Fault::Corrupt);
    let error = fetch(&reach, listing.file("config.json").unwrap()).unwrap_err();
    assert!(matches!(error, ReachError::HashMismatch { algorithm: "git blob SHA-1", .. }), "{error}");
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let (hub, outcome) = spoilt(1, Fault::ClaimLength(1 << 60));
    let error = outcome.unwrap_err();
    assert!(matches!(error, ReachError::Changed { .. }), "{error}");
    drop(hub);
    let reply = Reply::new(200, vec![7; 3 << 20].as_slice());
    let (_, outcome) = spoilt(1, Fault::Instead(reply));
    assert!(matches!(outcome, Err(ReachError::Changed { .. })));
    // Chunks do not say how many there are: the listing does.
    let mut raw = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..40 {
        raw.extend_from_slice(b"10000\r\n");
        raw.extend_from_slice(&vec![7; 0x1_0000]);
        raw.extend_from_slice(b"\r\n");
    }
    let (_, outcome) = spoilt(1, Fault::Raw(raw));
    let error = outcome.unwrap_err();
    assert!(matches!(error, ReachError::Changed { .. }), "{error}");
}

#[test]
fn chunks_are_read() {
    let (_, outcome) = spoilt(1, Fault::Chunked);
    assert_eq!(outcome.unwrap(), content(1 << 20));
}

#[test]
fn another_range_than_was_asked_for_is_refused() {
    let hub = hub();
    let reach = reach(hub.settings());
    let file = weights(&reach);
    hub.storage.spoil("Signature", 1, Fault::CutAfter(300_000));
    hub.storage.spoil("Signature", 1, Fault::OtherRange);
    let error = fetch(&reach, &file).unwrap_err();
    assert!(matches!(error, ReachError::Malformed { .. }), "{error}");
}

#[test]
fn a_file_that_changes_between_two_connections_is_refused() {
    let hub = hub();
    let reach = reach(hub.settings());
    let file = weights(&reach);
    hub.storage.spoil("Signature", 1, Fault::CutAfter(300_000));
    hub.storage.spoil("Signature", 1, Fault::Header("etag", "\"another\"".into()));
    let error = fetch(&reach, &file).unwrap_err();
    assert!(matches!(error, ReachError::Changed { .. }), "{error}");
}

#[test]
fn compression_that_nobody_asked_for_is_refused() {
    let (_, outcome) = spoilt(1, Fault::Header("content-encoding", "gzip".into()));
    assert!(matches!(outcome, Err(ReachError::Malformed { .. })));
}

#[test]
fn headers_have_a_limit() {
    let (_, outcome) = spoilt(1, Fault::HugeHeader(100 << 10));
    let error = outcome.unwrap_err();
    assert!(matches!(error, ReachError::TooLarge { limit: 32_768, .. }), "{error}");
}

#[test]
fn what_is_no_http_is_refused() {
    for raw in ["", "garbage\r\n\r\n", "HTTP/1.1 abc OK\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nx"] {
        let (_, outcome) = spoilt(10, Fault::Raw(raw.as_bytes().to_vec()));
        let error = outcome.unwrap_err();
        let told = matches!(
            error,
            ReachError::Malformed { .. }
                | ReachError::Connection { .. }
                | ReachError::Truncated { .. }
                | ReachError::Changed { .. }
        );
        assert!(told, "{raw:?}: {error}");
    }
}

/// Each byte of an answer's head changed, and each truncation of it: an error or the file, soon, and never a panic.
#[test]
fn no_head_makes_it_panic_or_hang() {
    let body = content(64);
    let storage = "HTTP/1.1 200 OK\r\netag: \"a\"\r\ncontent-length: 64\r\n\r\n";
    let partial = "HTTP/1.1 206 P\r\ncontent-range: bytes 0-63/64\r\ncontent-length: 64\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n40\r\n";
    let redirect = "HTTP/1.1 302 F\r\nlocation: /x?Signature=test\r\ncontent-length: 0\r\n\r\n";
    let hub = TestHub::start(0).unwrap();
    hub.put("models/acme/digits", &[("model.safetensors", &body)]);
    let mut settings = hub.settings();
    settings.limits.attempts = 1;
    let reach = reach(settings);
    let file = weights(&reach);
    let begun = Instant::now();
    for head in [storage, partial, chunked, redirect] {
        let whole = [head.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
        let mut mutants: Vec<Vec<u8>> = (0..head.len()).map(|cut| whole[..cut].to_vec()).collect();
        for at in 0..head.len() {
            for byte in [0, b'\n', b'9', b':', 0xff, whole[at] ^ 1] {
                let mut mutant = whole.clone();
                mutant[at] = byte;
                mutants.push(mutant);
            }
        }
        for mutant in mutants {
            hub.storage.spoil("Signature", 1, Fault::Raw(mutant.clone()));
            if let Ok((bytes, _)) = fetch(&reach, &file) {
                assert_eq!(bytes, body);
            }
        }
    }
    assert!(begun.elapsed() < Duration::from_mins(2), "{:?}", begun.elapsed());
}

#[test]
fn slow_servers_are_left() {
    for fault in [Fault::DripHead(40), Fault::DripBody(40)] {
        let begun = Instant::now();
        let (_, outcome) = spoilt(100, fault.clone());
        let error = outcome.map(|bytes| bytes.len()).unwrap_err();
        assert!(matches!(error, ReachError::Slow { .. }), "{fault:?}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{fault:?}");
    }
}

#[test]
fn busy_servers_are_asked_again_for_a_while() {
    let busy = |status, wait: &str| Fault::Instead(Reply::new(status, &b""[..]).with("retry-after", wait));
    let (_, outcome) = spoilt(2, busy(429, "0"));
    assert_eq!(outcome.unwrap(), content(1 << 20));
    let begun = Instant::now();
    let (_, outcome) = spoilt(1, busy(503, "1"));
    assert!(begun.elapsed() >= Duration::from_secs(1), "its wish was heard");
    outcome.unwrap();
    let (_, outcome) = spoilt(100, busy(503, "0"));
    assert!(matches!(outcome, Err(ReachError::Busy { status: 503, .. })));
    let begun = Instant::now();
    let (_, outcome) = spoilt(1, busy(429, "86400"));
    assert!(matches!(outcome, Err(ReachError::Busy { retry_after_s: Some(86_400), .. })));
    assert!(begun.elapsed() < Duration::from_secs(5), "nobody waits a day");
}

#[test]
fn circles_and_long_ways_are_left() {
    let hub = hub();
    let reach = reach(hub.settings());
    let file = weights(&reach);
    let to = |place: String| Fault::Instead(Reply::new(302, &b""[..]).with("location", place));
    let circle = format!("{}/x?Signature=test", hub.storage.origin());
    hub.storage.spoil("Signature", 2, to(circle));
    let error = fetch(&reach, &file).unwrap_err();
    assert!(matches!(error, ReachError::Redirects { .. }), "{error}");
    for step in 0..20 {
        hub.storage.spoil("Signature", 1, to(format!("{}/{step}?Signature=test", hub.storage.origin())));
    }
    let error = fetch(&reach, &file).unwrap_err();
    assert!(matches!(error, ReachError::Redirects { .. }), "{error}");
    let none = Fault::Instead(Reply::new(302, &b""[..]));
    hub.api.spoil("/resolve/", 1, none);
    assert!(matches!(fetch(&reach, &file), Err(ReachError::Malformed { .. })));
}

#[test]
fn redirects_stay_within_the_policy() {
    let hub = hub();
    let reach = reach(hub.settings());
    let file = weights(&reach);
    for place in [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/",
        "http://localhost/",
        "http://127.0.0.1:1/",
        "https://huggingface.co/",
        "http://0x7f000001/",
        "http://2130706433/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "//evil.example/x",
        "http://127.0.0.1@evil.example/",
    ] {
        let reply = Reply::new(302, &b""[..]).with("location", place);
        hub.api.spoil("/resolve/", 1, Fault::Instead(reply));
        let error = fetch(&reach, &file).unwrap_err();
        assert!(matches!(error, ReachError::Denied(_) | ReachError::Url(_)), "{place}: {error}");
    }
}

#[test]
fn a_name_that_stands_for_this_machine_is_seen_after_it_is_resolved() {
    let hub = hub();
    let mut settings = hub.settings();
    let port = hub.api.port();
    settings.hub.endpoint = format!("http://localhost:{port}");
    let rule =
        |network| HostRule { host: "localhost".parse().unwrap(), port: Some(port), scheme: Scheme::Http, network };
    let with = |network| {
        let mut settings = settings.clone();
        settings.egress.hosts.push(rule(network));
        settings
    };
    let error = reach(with(Network::Public)).listing(&source("hf://acme/digits")).unwrap_err();
    let ReachError::Denied(denied) = &error else { panic!("{error}") };
    assert!(matches!(denied.rule, DenyRule::Address { .. }), "{denied}");
    assert!(error.remedy().unwrap().contains("network = \"local\""));
    assert!(hub.api.log().is_empty(), "nothing was connected to");
    reach(with(Network::Local)).listing(&source("hf://acme/digits")).unwrap();
}

#[test]
fn tls_is_spoken_where_the_policy_says_https() {
    // Nothing here speaks TLS, so what arrives is garbage to the client; no request goes out in the clear.
    let hub = hub();
    let mut settings: Settings = hub.settings();
    settings.hub.endpoint = settings.hub.endpoint.replace("http://", "https://");
    for rule in &mut settings.egress.hosts {
        rule.scheme = Scheme::Https;
    }
    let error = reach(settings).listing(&source("hf://acme/digits")).unwrap_err();
    let told = matches!(error, ReachError::Tls { .. } | ReachError::Connection { .. } | ReachError::Slow { .. });
    assert!(told, "{error}");
    assert!(hub.api.log().is_empty());
}
