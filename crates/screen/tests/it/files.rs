//! Formats, limits, filtering and examples.

use std::io::{Cursor, Write as _};

use proptest::prelude::*;
use ringfence_schema::report::{RecordDecision, ScreenReport};
use ringfence_screen::{
    ExampleOptions, Header, Label, Options, Scale, ScreenError, examples, filter, rules, rules_digest,
};

use crate::{
    poison::{Images, inflated},
    screened,
};

fn filtered(bytes: &[u8], dropped: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    filter(&mut Cursor::new(bytes), &Options::default(), dropped, &mut out).unwrap();
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn reasons(report: &ScreenReport, record: u64) -> Vec<&str> {
    let found = report.decisions.iter().filter(|decision| decision.record == record);
    found.flat_map(|decision| decision.reasons.iter().map(|reason| reason.rule.as_str())).collect()
}

#[test]
fn records_count_from_zero_behind_a_header() {
    let report =
        screened("\u{feff}text,label\r\nok,a\r\n\"x\ny\",b,c\r\n\r\n\"q\"z,b\r\n", &Options::default()).unwrap();
    assert_eq!(report.records, 3);
    assert_eq!(reasons(&report, 1), ["RF-FMT-002"]);
    assert_eq!(reasons(&report, 2), ["RF-FMT-003"]);
    assert_eq!(report.dataset.columns[0].name, "text");
}

#[test]
fn a_header_can_be_forced_either_way() {
    let csv = "a,b\nc,d\ne,f\n";
    let count = |header| screened(csv, &Options { header, ..Options::default() }).unwrap().records;
    assert_eq!((count(Header::Present), count(Header::Absent)), (2, 3));
}

#[test]
fn jsonl_is_read_strictly() {
    let lines = "{\"t\":\"a\",\"label\":1}\n{\"t\":\"b\",\"t\":\"c\",\"label\":1}\n\n{\"t\":\n{\"t\":\"fr\\u200bee\",\"label\":0}\n";
    let report = screened(lines, &Options::default()).unwrap();
    assert_eq!((report.records, report.dataset.format.as_str()), (4, "jsonl"));
    assert_eq!(reasons(&report, 1), ["RF-FMT-005"]);
    assert_eq!(reasons(&report, 2), ["RF-FMT-001"]);
    assert_eq!(report.decisions[1].decision, RecordDecision::Filter);
    assert_eq!(reasons(&report, 3), ["RF-TXT-003"]);
}

#[test]
fn what_is_not_a_dataset_is_refused() {
    let error = |bytes: &[u8]| screened(bytes, &Options::default()).unwrap_err();
    assert!(matches!(error(b""), ScreenError::Empty));
    assert!(matches!(error(b"PK\x03\x04\0\0"), ScreenError::Unrecognised { .. }));
    assert!(matches!(error(b"[{\"a\":1}]"), ScreenError::Unrecognised { .. }));
    assert!(matches!(error(b"\xff\xfea\0"), ScreenError::Unrecognised { .. }));
    assert!(matches!(error(&[0, 0, 8, 1, 0, 0, 0, 9, 1]), ScreenError::Idx(_)));
    let broken = gzip(b"a,b\n1,2\n");
    assert!(matches!(error(&broken[..broken.len() - 6]), ScreenError::BrokenGzip { .. }));
    let options = Options { label: Label::Column("z".to_owned()), ..Options::default() };
    assert!(matches!(screened("a,b\n1,2\n", &options), Err(ScreenError::NoSuchColumn { .. })));
    let labels = Options { idx_labels: Some(vec![0, 0, 8, 1, 0, 0, 0, 1, 5]), ..Options::default() };
    assert!(matches!(
        screened([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 1, 1, 1], &labels),
        Err(ScreenError::LabelsMismatch { .. })
    ));
}

#[test]
fn an_open_quote_is_never_complete() {
    assert!(!screened("a,b\n1,\"2\n3,4\n", &Options::default()).unwrap().dataset.complete);
}

#[test]
fn spellings_share_a_root_and_duplicates_are_told() {
    let root = |csv: &str| screened(csv, &Options::default()).unwrap().dataset.root;
    assert_eq!(root("n,t\n1.0,a &amp; b\n2,c\n"), root("n,t\r\n1,\"a  & b\"\r\n+2,c"));
    assert_ne!(root("n,t\n1,a\n2,c\n"), root("n,t\n2,c\n1,a\n"));
    let report = screened("n,label\n1,x\n1.0,x\n1,y\n2,y\n", &Options::default()).unwrap();
    assert_eq!(report.dataset.exact_duplicates, 1);
}

#[test]
fn the_label_is_guessed_or_named() {
    let digits = Images::digits(1);
    let guessed = screened(digits.csv(false), &Options::default()).unwrap();
    assert_eq!(guessed.dataset.label.as_deref(), Some("64"));
    assert!(guessed.dataset.findings.iter().any(|finding| finding.rule == "RF-LBL-003"));
    let absent = screened(digits.csv(true), &Options { label: Label::Absent, ..Options::default() }).unwrap();
    assert!(absent.dataset.label.is_none() && absent.decisions.is_empty());
    assert!(absent.dataset.detectors.iter().any(|line| line.contains("not run, no label column")));
    // The label first, as some exports of image data have it.
    let swapped: String = digits
        .csv(false)
        .lines()
        .map(|line| line.rsplit_once(',').unwrap())
        .fold(String::new(), |all, (p, l)| all + l + "," + p + "\n");
    assert_eq!(screened(swapped, &Options::default()).unwrap().dataset.label.as_deref(), Some("0"));
}

#[test]
fn hidden_and_secret_text_is_told() {
    let csv = "text,label\nplain,a\nhi\u{e0041}\u{e0042},b\nkey AKIAABCDEFGHIJKLMNOP,a\n";
    let report = screened(csv, &Options::default()).unwrap();
    assert_eq!((reasons(&report, 1), reasons(&report, 2)), (vec!["RF-TXT-001"], vec!["RF-SEC-001"]));
    assert_eq!(report.decisions[0].decision, RecordDecision::Filter);
    assert!(!serde_json::to_string(&report).unwrap().contains("AKIAABCD"));
}

#[test]
fn filtering_leaves_every_other_byte() {
    let csv = b"\xef\xbb\xbft,label\r\n\"a\nb\",1\r\n\r\nc,2\nd,3";
    assert_eq!(filtered(csv, &[]), csv);
    assert_eq!(filtered(csv, &[1]), b"\xef\xbb\xbft,label\r\n\"a\nb\",1\r\n\r\nd,3");
    assert_eq!(filtered(csv, &[2, 0, 2]), b"\xef\xbb\xbft,label\r\n\r\nc,2\n");
    assert_eq!(inflated(&filtered(&gzip(csv), &[1])), filtered(csv, &[1]));
    let mut out = Vec::new();
    let beyond = filter(&mut Cursor::new(csv), &Options::default(), &[3], &mut out);
    assert!(matches!(beyond, Err(ScreenError::NoSuchRecord { record: 3, records: 3 })) && out.is_empty());
}

#[test]
fn filtering_idx_rewrites_the_count() {
    let images = [0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 99];
    assert_eq!(filtered(&images, &[1]), [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 5, 6]);
    assert_eq!(filtered(&[0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9], &[1]), [0, 0, 8, 1, 0, 0, 0, 2, 7, 9]);
}

#[test]
fn examples_are_scaled_shaped_and_sorted() {
    let csv = "label,a,b\n10,0,4\n9,2,1\n10,1,0\n";
    let options = ExampleOptions { shape: Some(vec![1, 1, 2]), ..ExampleOptions::default() };
    let found = examples(
        &mut Cursor::new(csv),
        &ExampleOptions { label: Label::Column("label".to_owned()), ..options.clone() },
    )
    .unwrap();
    assert_eq!((found.x, found.range), (vec![0.0, 1.0, 0.5, 0.25, 0.25, 0.0], (0.0, 4.0)));
    assert_eq!(
        (found.shape, found.y, found.classes),
        (vec![1, 1, 2], vec![1, 0, 1], vec!["9".to_owned(), "10".to_owned()])
    );
    let wrong = ExampleOptions { shape: Some(vec![3]), label: Label::Column("label".to_owned()), ..options };
    assert!(matches!(examples(&mut Cursor::new(csv), &wrong), Err(ScreenError::Shape { columns: 2, .. })));
    let bare = ExampleOptions { label: Label::Absent, scale: Scale::Raw, ..ExampleOptions::default() };
    let found = examples(&mut Cursor::new("a,b\n0,4\n2,1\n"), &bare).unwrap();
    assert_eq!((found.x, found.y, found.classes), (vec![0.0, 4.0, 2.0, 1.0], vec![], vec![]));
    let text = ExampleOptions { label: Label::Column("label".to_owned()), ..ExampleOptions::default() };
    assert!(matches!(examples(&mut Cursor::new("label,a\n1,x\n2,y\n"), &text), Err(ScreenError::NotNumeric { .. })));
}

#[test]
fn examples_follow_another_dataset() {
    let digits = Images::digits(3);
    let options = ExampleOptions {
        shape: Some(vec![1, 8, 8]),
        scale: Scale::Range { low: 0.0, high: 16.0 },
        classes: Some((0..10).rev().map(|digit| digit.to_string()).collect()),
        ..ExampleOptions::default()
    };
    let found = examples(&mut Cursor::new(digits.csv(false)), &options).unwrap();
    assert_eq!(found.y.iter().map(|class| 9 - class).collect::<Vec<_>>(), digits.labels);
    assert!(found.x.iter().all(|value| (0.0..=1.0).contains(value)) && found.x.len() == 1797 * 64);
}

#[test]
fn rules_are_named_once() {
    let ids: std::collections::BTreeSet<_> = rules().iter().map(|rule| rule.id).collect();
    assert_eq!(ids.len(), rules().len());
    assert_eq!(rules_digest(), rules_digest());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), start in 0_usize..4) {
        let starts: [&[u8]; 4] = [b"", b"{\"a\":", b"a,label\n1,", &[0, 0, 8, 2, 0, 0, 0, 2]];
        let bytes = [starts[start], &bytes].concat();
        let _ = screened(&bytes, &Options::default());
    }

    #[test]
    fn filtering_nothing_is_the_identity(text in "[a-c,\"\r\n0-9]{1,80}") {
        let mut out = Vec::new();
        if filter(&mut Cursor::new(&text), &Options::default(), &[], &mut out).is_ok() {
            prop_assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn filtering_drops_exactly_the_records(cells in proptest::collection::vec(0_u16..999, 3..30), mask in any::<u32>()) {
        let lines: Vec<String> = cells.iter().map(|cell| format!("{cell},x\n")).collect();
        let dropped: Vec<u64> = (0..cells.len() as u64).filter(|record| mask >> record & 1 == 1).collect();
        let mut out = Vec::new();
        let options = Options { header: Header::Absent, ..Options::default() };
        filter(&mut Cursor::new(lines.concat()), &options, &dropped, &mut out).unwrap();
        let kept: Vec<&str> =
            (0_u64..).zip(&lines).filter(|(r, _)| !dropped.contains(r)).map(|(_, line)| line.as_str()).collect();
        prop_assert_eq!(String::from_utf8(out).unwrap(), kept.concat());
    }
}
