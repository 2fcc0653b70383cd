//! One spelling a path: the table in `data/paths.txt`, over real connections.

use ringfence_server::guard::path;

use crate::world::{Plan, Site};

const TABLE: &str = include_str!("data/paths.txt");

#[tokio::test]
async fn targets_with_two_readings_are_refused() {
    let site = Site::start(Plan::default()).await;
    let (mut refused, mut let_through) = (0, 0);
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let (expected, target) = line.split_once(' ').unwrap();
        let reply = site.ask(&format!("GET {target} HTTP/1.1"), b"").await;
        if expected == "-" {
            assert!((400..500).contains(&reply.status) && reply.status != 404, "{target}: {reply:?}");
            assert!(["path", "malformed", "host"].contains(&reply.problem().as_str()), "{target}: {reply:?}");
            refused += 1;
        } else {
            assert!(reply.status == 200 || reply.problem() == "not-found", "{target}: {reply:?}");
            let_through += 1;
        }
    }
    assert!(refused >= 110 && let_through >= 20, "{refused} {let_through}");
}

#[tokio::test]
async fn lengths_and_counts_have_limits() {
    let site = Site::start(Plan::default()).await;
    let cases = [
        format!("/rest/{}", "a".repeat(path::PATH_BYTES_MAX)),
        format!("/rest{}", "/a".repeat(path::SEGMENTS_MAX)),
        format!("/open?{}", "a".repeat(path::QUERY_BYTES_MAX + 1)),
        format!("/open?{}", "a&".repeat(path::PARAMETERS_MAX)),
    ];
    for target in cases {
        let reply = site.ask(&format!("GET {target} HTTP/1.1"), b"").await;
        assert_eq!((reply.status, reply.problem().as_str()), (414, "address-too-long"), "{target}");
    }
    let reply = site.ask(&format!("GET /rest{} HTTP/1.1", "/a".repeat(path::SEGMENTS_MAX - 1)), b"").await;
    assert_eq!(reply.status, 200);
}

proptest::proptest! {
    /// What is let through is its own only reading: decoding it once more changes nothing that separates or climbs.
    #[test]
    fn what_passes_is_plain(text in "/[ -~]{0,40}") {
        if path::path(&text).is_ok() {
            let decoded = decode(&text);
            for part in decoded.split('/').filter(|part| !part.is_empty()) {
                assert!(part.bytes().any(|byte| byte != b'.'), "{text}");
            }
            assert_eq!(decoded.matches('/').count(), text.matches('/').count());
            assert!(!decoded.contains("//") && !decoded.contains(['\\', '%', ';', '#', '?']), "{text}");
        }
    }
}

fn decode(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap().to_owned();
    for part in parts {
        decoded.push(char::from(u8::from_str_radix(&part[..2], 16).unwrap()));
        decoded.push_str(&part[2..]);
    }
    decoded
}
