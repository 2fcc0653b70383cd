//! S3: paging, prefixes, signatures, checksums.

use ringfence_reach::testing::{Fault, TestBucket};
use ringfence_reach::{Checked, HashRule, Reach, ReachError, S3Keys, Secret, Secrets};

use crate::world::{content, fetch, reach, source};

fn bucket() -> TestBucket {
    let bucket = TestBucket::start("models", "eu-central-1").unwrap();
    bucket.put("bert/config.json", b"{}");
    bucket.put("bert/weights/part 1+é.bin", &content(300_000));
    bucket.put("bert/weights/part-2.bin", b"two");
    bucket.put("bert-large/config.json", b"other");
    bucket.put("bert/folder/", b"");
    bucket
}

fn signed(bucket: &TestBucket, key: &str) -> Reach {
    let secret = |text: &str| Secret::new("test", text.to_owned().into()).unwrap();
    let keys = S3Keys { id: secret("AKIATEST"), key: secret(key), session: Some(secret("session")) };
    Reach::new(bucket.settings(), Secrets { hub: None, s3: Some(keys) }).unwrap()
}

#[test]
fn a_prefix_is_a_folder() {
    let bucket = bucket();
    let reach = reach(bucket.settings());
    let paths = |text: &str| -> Vec<String> {
        reach.listing(&source(text)).unwrap().files.into_iter().map(|file| file.path).collect()
    };
    let wanted = ["config.json", "weights/part 1+é.bin", "weights/part-2.bin"];
    assert_eq!(paths("s3://models/bert"), wanted);
    assert_eq!(paths("s3://models/bert/"), wanted);
    assert_eq!(paths("s3://models/bert/config.json"), ["config.json"]);
    assert_eq!(paths("s3://models").len(), 4);
    assert!(paths("s3://models/none").is_empty());
    assert!(bucket.server.log().iter().any(|asked| asked.line.contains("continuation-token")));
}

#[test]
fn objects_are_fetched_with_signatures_that_hold() {
    let bucket = bucket();
    bucket.lock("AKIATEST", "top-secret-key");
    let error = reach(bucket.settings()).listing(&source("s3://models/bert")).unwrap_err();
    assert!(
        matches!(&error, ReachError::Status { status: 403, said, .. } if said == "SignatureDoesNotMatch"),
        "{error}"
    );
    assert!(signed(&bucket, "another-key").listing(&source("s3://models/bert")).is_err());
    let reach = signed(&bucket, "top-secret-key");
    let listing = reach.listing(&source("s3://models/bert")).unwrap();
    for file in &listing.files {
        let (_, fetched) = fetch(&reach, file).unwrap();
        assert_eq!(fetched.checked, Checked::Sha256, "{}", file.path);
    }
    // A broken connection is taken up with a signature over the new range.
    let file = listing.file("weights/part 1+é.bin").unwrap();
    bucket.server.spoil("part", 1, Fault::CutAfter(100_000));
    let error = fetch(&reach, file);
    assert_eq!(error.unwrap().0, content(300_000));
    assert!(bucket.server.log().iter().any(|asked| asked.range.as_deref() == Some("bytes=100000-")));
    let leaked = bucket.server.log().iter().any(|asked| format!("{asked:?}").contains("top-secret-key"));
    assert!(!leaked);
}

#[test]
fn an_object_that_changes_or_lies_is_refused() {
    let bucket = bucket();
    let reach = reach(bucket.settings());
    let listing = reach.listing(&source("s3://models/bert")).unwrap();
    let file = listing.file("config.json").unwrap();
    bucket.put("bert/config.json", b"[]");
    assert!(matches!(fetch(&reach, file), Err(ReachError::Changed { .. })));
    bucket.put("bert/config.json", b"{}");
    bucket.server.spoil("config.json", 1, Fault::Corrupt);
    assert!(matches!(fetch(&reach, file), Err(ReachError::HashMismatch { .. })));
}

#[test]
fn an_object_without_a_checksum_needs_a_policy_that_accepts_it() {
    let bucket = bucket();
    let strict = reach(bucket.settings());
    let listing = strict.listing(&source("s3://models/bert")).unwrap();
    bucket.server.spoil("config.json", 2, Fault::Header("x-amz-checksum-type", "COMPOSITE".into()));
    let file = listing.file("config.json").unwrap();
    assert!(matches!(fetch(&strict, file), Err(ReachError::Unhashed { .. })));
    let mut settings = bucket.settings();
    settings.trusted.hash = HashRule::Optional;
    assert_eq!(fetch(&reach(settings), file).unwrap().1.checked, Checked::Nothing);
}

#[test]
fn a_redirect_of_a_signed_request_is_not_followed() {
    let bucket = bucket();
    let reply = ringfence_reach::testing::Reply::new(307, &b""[..]).with("location", "/elsewhere");
    bucket.server.spoil("list-type", 1, Fault::Instead(reply));
    let error = signed(&bucket, "key").listing(&source("s3://models")).unwrap_err();
    assert!(matches!(error, ReachError::Status { status: 307, .. }), "{error}");
}

/// The same client against a server that others wrote and that checks signatures; `told` is where it says its port and the
/// keys that it takes.
pub(crate) fn against(told: &std::path::Path) {
    let mut words = String::new();
    for _ in 0..600 {
        words = std::fs::read_to_string(told).unwrap_or_default();
        if !words.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let words: Vec<&str> = words.split(' ').collect();
    let [port, id, key] = words.as_slice() else { panic!("the server did not start") };
    let port: u16 = port.parse().unwrap();
    let mut settings = ringfence_reach::testing::open_settings(&[port]);
    settings.limits.answer_ms = 20_000;
    settings.s3.endpoint = Some(format!("http://127.0.0.1:{port}"));
    let secret = |text: &str| Secret::new("test", text.to_owned().into()).unwrap();
    let with = |key: &str| {
        let keys = S3Keys { id: secret(id), key: secret(key), session: None };
        Reach::new(settings.clone(), Secrets { hub: None, s3: Some(keys) }).unwrap()
    };
    let reach = with(key);
    let listing = reach.listing(&source("s3://models/net")).unwrap();
    assert_eq!(listing.files.len(), 5);
    for file in &listing.files {
        let (bytes, fetched) = fetch(&reach, file).unwrap();
        assert_eq!(bytes.len() as u64, file.size.unwrap(), "{}", file.path);
        assert_eq!(fetched.checked, Checked::Sha256, "{}", file.path);
    }
    let error = with("another").listing(&source("s3://models/net")).unwrap_err();
    assert!(matches!(error, ReachError::Status { status: 403, .. }), "{error}");
}
