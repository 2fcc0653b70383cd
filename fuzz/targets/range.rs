//! Any bytes as what stands in the headers of a transfer: the file's size in eight bytes, `Range` in the first line,
//! `If-Range` in the second, the target with its offset in the third.
#![no_main]

use axum::{
    extract::Query,
    http::{HeaderMap, HeaderValue, Uri, header},
};
use ringfence_reach::header::ContentRange;
use ringfence_server::{
    api::transfers::Offset,
    guard::range::{ByteRange, Part, content_range},
};

const TAG: &str = "\"sha256:00\"";

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((size, lines)) = data.split_first_chunk::<8>() else { return };
    let size = u64::from_be_bytes(*size);
    let mut lines = lines.splitn(3, |byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in [header::RANGE, header::IF_RANGE] {
        if let Some(value) = lines.next().and_then(|line| HeaderValue::from_bytes(line).ok()) {
            headers.append(name, value);
        }
    }
    match Part::of(&headers, size, TAG) {
        Part::Whole => {}
        Part::Beyond => assert!(ByteRange::of(&headers).is_some_and(|range| range.first >= size)),
        Part::Range(range) => {
            assert!(range.start < range.end && range.end <= size);
            let read = ContentRange::parse(&content_range(&range, size)).expect("our own header");
            assert_eq!((read.first, read.last + 1, read.total), (range.start, range.end, size));
        }
    }
    let Some(target) = lines.next().and_then(|line| Uri::try_from(line).ok()) else { return };
    let _ = Query::<Offset>::try_from_uri(&target).map(|Query(Offset { from })| from);
});
