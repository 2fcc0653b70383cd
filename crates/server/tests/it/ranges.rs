//! Parts of files: what is written as RFC 9110 has it is read, and what is given lies in the file.

use axum::http::{HeaderMap, HeaderValue, header};
use proptest::prelude::*;
use ringfence_engine::reach::header::ContentRange;
use ringfence_server::guard::range::{ByteRange, Part, content_range};

#[test]
fn ranges_are_exact_or_none() {
    assert_eq!(ByteRange::parse("bytes=5-"), Some(ByteRange { first: 5, last: None }));
    assert_eq!(ByteRange::parse("bytes=5-5"), Some(ByteRange { first: 5, last: Some(5) }));
    for wrong in [
        "bytes=-5",
        "bytes=5",
        "bytes=6-5",
        "bytes=1-2,4-5",
        "bytes=+1-",
        "items=1-2",
        "bytes= 1-",
        "bytes=-",
        "",
        "bytes=18446744073709551616-",
    ] {
        assert_eq!(ByteRange::parse(wrong), None, "{wrong}");
    }
    let twice = [HeaderValue::from_static("bytes=1-"), HeaderValue::from_static("bytes=2-")];
    let mut headers: HeaderMap = HeaderMap::from_iter([(header::RANGE, twice[0].clone())]);
    assert!(ByteRange::of(&headers).is_some());
    headers.append(header::RANGE, twice[1].clone());
    assert_eq!(ByteRange::of(&headers), None);
}

proptest! {
    #[test]
    fn a_part_is_in_the_file_and_read_as_it_is_written(
        first: u64, last in proptest::option::of(any::<u64>()), size: u64, small: bool, tag in "[ -~]{0,70}",
    ) {
        let fold = |number: u64| if small { number % 64 } else { number };
        let (first, last, size) = (fold(first), last.map(fold), fold(size));
        let value = format!("bytes={first}-{}", last.map(|last| last.to_string()).unwrap_or_default());
        let mut headers: HeaderMap = HeaderMap::from_iter([(header::RANGE, HeaderValue::try_from(value).unwrap())]);
        let part = Part::of(&headers, size, "\"tag\"");
        match &part {
            Part::Whole => prop_assert!(last.is_some_and(|last| last < first)),
            Part::Beyond => prop_assert!(first >= size),
            Part::Range(range) => {
                prop_assert!(range.start == first && range.start < range.end && range.end <= size);
                prop_assert_eq!(range.end, last.map_or(size, |last| last.saturating_add(1).min(size)));
                let read = ContentRange::parse(&content_range(range, size)).unwrap();
                prop_assert_eq!((read.first..read.last + 1, read.total), (range.clone(), size));
            }
        }
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"tag\""));
        prop_assert_eq!(Part::of(&headers, size, "\"tag\""), part);
        headers.insert(header::IF_RANGE, HeaderValue::try_from(tag.clone()).unwrap());
        prop_assert!(tag == "\"tag\"" || Part::of(&headers, size, "\"tag\"") == Part::Whole);
    }

    #[test]
    fn any_text_is_refused_or_read(text in "(bytes=)?[0-9]{0,21}-?[0-9]{0,21}|.{0,80}") {
        if let Some(range) = ByteRange::parse(&text) {
            let last = range.last.map(|last| last.to_string()).unwrap_or_default();
            prop_assert_eq!(ByteRange::parse(&format!("bytes={}-{last}", range.first)), Some(range));
        }
    }
}
