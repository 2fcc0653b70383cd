//! How often.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use ringfence_server::guard::rate::{Buckets, Rate, network};

use crate::world::{Plan, Site};

const RATE: Rate = Rate { per_second: 10, burst: 5 };

#[test]
fn a_burst_then_the_rate() {
    let start = Instant::now();
    let buckets = Buckets::new(RATE, start);
    for _ in 0..5 {
        buckets.take("ann", 1, start).unwrap();
    }
    assert_eq!(buckets.take("ann", 1, start), Err(Duration::from_millis(100)));
    buckets.take("bob", 5, start).unwrap();
    let later = start + Duration::from_millis(100);
    buckets.take("ann", 1, later).unwrap();
    assert!(buckets.take("ann", 1, later).is_err());
    // A weight over the burst is the burst: it waits, and then it passes.
    assert!(buckets.take("ann", 1_000, later).is_err());
    buckets.take("ann", 1_000, later + Duration::from_secs(1)).unwrap();
    // A clock that goes back lends nothing.
    assert!(buckets.take("ann", 1, start).is_err());
}

#[test]
fn the_table_is_bounded_and_keeps_those_in_debt() {
    let start = Instant::now();
    let buckets = Buckets::new(RATE, start);
    for _ in 0..5 {
        buckets.take(u32::MAX, 1, start).unwrap();
    }
    for stranger in 0..100_000_u32 {
        buckets.take(stranger, 1, start).unwrap();
    }
    assert!(buckets.len() <= Buckets::<u32>::capacity());
    assert!(buckets.take(u32::MAX, 1, start).is_err(), "strangers do not wash a debt away");
}

proptest! {
    /// In no stretch of time does more pass than the burst and the rate allow.
    #[test]
    fn never_more_than_the_rate(gaps in prop::collection::vec(0_u64..400, 1..100)) {
        let start = Instant::now();
        let buckets = Buckets::new(RATE, start);
        let (mut now, mut passed) = (0, Vec::new());
        for gap in gaps {
            now += gap;
            if buckets.take(1, 1, start + Duration::from_millis(now)).is_ok() {
                passed.push(now);
            }
        }
        for (at, from) in passed.iter().enumerate() {
            for (count, until) in passed[at..].iter().enumerate() {
                assert!((count + 1) as u64 <= 5 + (until - from) / 100);
            }
        }
    }
}

#[test]
fn a_network_is_one_key() {
    let key = |text: &str| network(text.parse::<IpAddr>().unwrap());
    assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
    assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
    assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
}

#[tokio::test]
async fn too_many_requests_are_told_to_wait() {
    let rate = Rate { per_second: 1, burst: 25 };
    let site = Site::start(Plan { rate, ..Plan::default() }).await;
    let login = format!("POST /login HTTP/1.1\r\nOrigin: {}", site.origin());
    // Each weighs ten.
    for _ in 0..2 {
        assert_ne!(site.ask(&login, b"").await.status, 429);
    }
    let reply = site.ask(&login, b"").await;
    assert_eq!((reply.status, reply.problem().as_str()), (429, "too-many"));
    assert!(reply.headers["retry-after"].parse::<u64>().unwrap() >= 1);
    assert!(site.ask("GET /health/live HTTP/1.1", b"").await.status < 500);
}
