//! Parsers of foreign text: no input makes them panic, and what they accept they print the same.

use proptest::prelude::*;
use ringfence_reach::{HostPattern, Source, Url, check_path, header, testing};

proptest! {
    #[test]
    fn any_text_is_a_source_or_an_error(text in "\\PC{0,80}") {
        let _ = text.parse::<Source>();
        let _ = text.parse::<HostPattern>();
        let _ = check_path(&text);
    }

    #[test]
    fn sources_print_as_they_are_read(text in "(hf|https|s3|kaggle|tfhub)://[a-z0-9./@?=:%-]{1,60}") {
        if let Ok(source) = text.parse::<Source>() {
            prop_assert_eq!(source.to_string().parse::<Source>().ok(), Some(source));
        }
    }

    #[test]
    fn links_print_as_they_are_read(text in "https?://[a-zA-Z0-9.:@\\[\\]-]{1,30}(/[!-~]{0,40})?") {
        if let Ok(url) = Url::parse(&text) {
            prop_assert_eq!(Url::parse(&url.to_text()).ok(), Some(url.clone()));
            prop_assert!(!url.path().split('/').any(|part| part == ".." || part == "."));
            prop_assert!(!url.host().contains('@'));
        }
    }

    #[test]
    fn joining_never_panics(base in "https://h[.]org/[!-~]{0,20}", reference in "\\PC{0,40}") {
        if let Some(joined) = Url::parse(&base).ok().and_then(|base| base.join(&reference).ok()) {
            prop_assert!(Url::parse(&joined.to_text()).is_ok());
        }
    }

    #[test]
    fn headers_never_panic(text in "\\PC{0,80}", now in any::<u64>()) {
        let _ = header::next_link(&text);
        let _ = header::retry_after_s(&text, now);
        let _ = header::etag(&text);
        let _ = header::ContentRange::parse(&text);
    }

    #[test]
    fn dates_run_forwards(day in 1_u64..28, month in 0_usize..12, year in 1970_u64..9999, hour in 0_u64..24) {
        let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let date = |day: u64| format!("Mon, {day:02} {} {year:04} {hour:02}:00:00 GMT", names[month]);
        let (first, second) = (header::date_s(&date(day)).unwrap(), header::date_s(&date(day + 1)).unwrap());
        prop_assert_eq!(second - first, 86_400);
    }

    #[test]
    fn any_bytes_are_an_answer_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        testing::read_answers(&bytes);
    }

    #[test]
    fn spoilt_pages_are_errors(at in 0_usize..400, byte in any::<u8>()) {
        let page = b"<?xml version=\"1.0\"?><ListBucketResult><EncodingType>url</EncodingType><Contents><Key>a%20b</Key>\
            <Size>7</Size><ETag>&quot;x&quot;</ETag></Contents><IsTruncated>true</IsTruncated>\
            <NextContinuationToken>t</NextContinuationToken></ListBucketResult>";
        let mut page = page.to_vec();
        testing::read_answers(&page[..at.min(page.len())]);
        let place = at % page.len();
        page[place] = byte;
        testing::read_answers(&page);
    }
}
