//! Looking into a file at its source.

use std::io::{Read, Seek, SeekFrom};

use ringfence_reach::testing::{Fault, Reply};
use ringfence_reach::{BLOCK_BYTES, ReachError, Settings};

use crate::world::{MODEL, content, fetch, hub, reach, source, weights};

/// Whether an error tells what was wrong.
type Told = fn(&ReachError) -> bool;

fn inner(error: std::io::Error) -> ReachError {
    error.downcast().unwrap()
}

#[test]
fn the_end_of_an_archive_is_read_without_the_rest() {
    let hub = hub();
    let big = content(40 << 20);
    hub.put(MODEL, &[("model.safetensors", &big)]);
    let reach = reach(hub.settings());
    let file = weights(&reach);
    let mut look = reach.open_range(&file).unwrap();
    assert_eq!(hub.storage.log().len(), 0, "opening asks for nothing");
    look.seek(SeekFrom::End(-22)).unwrap();
    let mut tail = Vec::new();
    look.read_to_end(&mut tail).unwrap();
    assert_eq!(tail, big[big.len() - 22..]);
    look.seek(SeekFrom::Start(20_000_000)).unwrap();
    let mut middle = [0; 5];
    look.read_exact(&mut middle).unwrap();
    assert_eq!(middle, big[20_000_000..20_000_005]);
    assert_eq!((look.fetched(), look.requests()), (2 * BLOCK_BYTES, 2));
    assert_eq!(hub.storage.sent("Signature"), 2 * BLOCK_BYTES);
    // What was read is kept.
    look.seek(SeekFrom::Start(20_000_001)).unwrap();
    look.read_exact(&mut middle[..1]).unwrap();
    assert_eq!(look.requests(), 2);
    // The Hub was asked for the link once.
    assert_eq!(hub.api.log().iter().filter(|asked| asked.line.contains("/resolve/")).count(), 1);
}

#[test]
fn reading_in_order_asks_for_more_at_a_time() {
    let hub = hub();
    let reach = reach(hub.settings());
    let file = weights(&reach);
    let mut look = reach.open_range(&file).unwrap();
    let mut all = Vec::new();
    look.read_to_end(&mut all).unwrap();
    assert_eq!(all, content(1 << 20));
    assert!(look.requests() <= 5, "{} requests for 16 blocks", look.requests());
    assert_eq!(look.seek(SeekFrom::Start(5 << 20)).unwrap(), 5 << 20);
    assert_eq!(look.read(&mut [0; 4]).unwrap(), 0, "behind the end there is nothing");
    assert!(look.seek(SeekFrom::Current(-(6 << 20))).is_err());
}

#[test]
fn small_files_and_local_files_are_read_too() {
    let hub = hub();
    let reach = reach(hub.settings());
    let listing = reach.listing(&source("hf://acme/digits")).unwrap();
    let mut text = String::new();
    reach.open_range(listing.file("config.json").unwrap()).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "{\"a\": 1}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.bin"), b"0123456789").unwrap();
    let listing = reach.listing(&source(&format!("file:{}", folder.path().display()))).unwrap();
    let mut look = reach.open_range(&listing.files[0]).unwrap();
    look.seek(SeekFrom::Start(4)).unwrap();
    text.clear();
    look.read_to_string(&mut text).unwrap();
    assert_eq!(text, "456789");
}

#[test]
fn lies_about_ranges_are_refused() {
    let cases: Vec<(Fault, Told)> = vec![
        (Fault::IgnoreRange, |error| matches!(error, ReachError::NoRanges { .. })),
        (Fault::OtherRange, |error| matches!(error, ReachError::Malformed { .. })),
        (Fault::Header("content-encoding", "gzip".into()), |error| matches!(error, ReachError::Malformed { .. })),
        (
            Fault::Raw(b"HTTP/1.1 206 P\r\ncontent-range: bytes 0-65535/9\r\ncontent-length: 65536\r\n\r\n".to_vec()),
            |error| matches!(error, ReachError::Malformed { .. }),
        ),
        (
            Fault::Raw(
                b"HTTP/1.1 206 P\r\ncontent-range: bytes 0-65535/99999\r\ncontent-length: 65536\r\n\r\n".to_vec(),
            ),
            |error| matches!(error, ReachError::Changed { .. }),
        ),
        (Fault::CutAfter(10), |error| matches!(error, ReachError::Slow { .. } | ReachError::Connection { .. })),
        (Fault::DripBody(40), |error| matches!(error, ReachError::Slow { .. })),
    ];
    for (fault, wanted) in cases {
        let hub = hub();
        let reach = reach(hub.settings());
        let file = weights(&reach);
        hub.storage.spoil("Signature", 100, fault.clone());
        let error = inner(reach.open_range(&file).unwrap().read(&mut [0; 10]).unwrap_err());
        assert!(wanted(&error), "{fault:?}: {error}");
    }
}

#[test]
fn a_file_that_changes_under_the_reader_is_refused() {
    let hub = hub();
    let reach = reach(hub.settings());
    let file = weights(&reach);
    let mut look = reach.open_range(&file).unwrap();
    look.read_exact(&mut [0; 10]).unwrap();
    hub.storage.spoil("Signature", 1, Fault::Header("etag", "\"another\"".into()));
    look.seek(SeekFrom::Start(500_000)).unwrap();
    let error = inner(look.read(&mut [0; 10]).unwrap_err());
    assert!(matches!(error, ReachError::Changed { .. }), "{error}");
}

#[test]
fn an_expired_link_is_asked_for_again() {
    let hub = hub();
    let reach = reach(hub.settings());
    let file = weights(&reach);
    let mut look = reach.open_range(&file).unwrap();
    look.read_exact(&mut [0; 10]).unwrap();
    hub.storage.spoil("Signature", 1, Fault::Instead(Reply::new(403, &b""[..])));
    look.seek(SeekFrom::Start(500_000)).unwrap();
    let mut bytes = [0; 10];
    look.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, content(1 << 20)[500_000..500_010]);
}

#[test]
fn sizes_beyond_reason_are_refused() {
    let hub = hub();
    let tree = serde_json::json!([{"type": "file", "path": "a.bin", "oid": "0".repeat(40), "size": u64::MAX}]);
    hub.api.spoil("/tree/", 1, Fault::Instead(Reply::json(&tree)));
    let mut settings = hub.settings();
    let strict = reach(settings.clone());
    let listing = strict.listing(&source("hf://acme/digits")).unwrap();
    assert!(matches!(strict.open_range(&listing.files[0]), Err(ReachError::TooLarge { .. })));
    assert!(matches!(fetch(&strict, &listing.files[0]), Err(ReachError::TooLarge { .. })));
    // Whoever raises the limit gets an error from the server, not an overflow.
    settings.limits.file_bytes_max = u64::MAX;
    let lenient = reach(settings);
    let mut look = lenient.open_range(&listing.files[0]).unwrap();
    look.seek(SeekFrom::End(-22)).unwrap();
    assert!(look.read(&mut [0; 10]).is_err());
}

#[test]
fn looking_has_a_budget() {
    let hub = hub();
    let mut settings: Settings = hub.settings();
    settings.limits.range_bytes_max = 200_000;
    let reach = reach(settings);
    let file = weights(&reach);
    let mut look = reach.open_range(&file).unwrap();
    let error = inner(look.read_to_end(&mut Vec::new()).unwrap_err());
    assert!(matches!(error, ReachError::RangeBudget { limit: 200_000, .. }), "{error}");
    assert!(hub.storage.sent("Signature") <= 200_000);
}
