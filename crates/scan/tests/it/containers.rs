//! Archives that are too large to keep as samples, made here from one that is.

use std::io::Cursor;

use ringfence_scan::{Limits, scan_file};
use ringfence_schema::{Verdict, report::FileReport};

use crate::samples;

fn scan(bytes: Vec<u8>) -> FileReport {
    scan_file("x", &mut Cursor::new(bytes), &Limits::default())
}

fn sample(name: &str) -> Vec<u8> {
    std::fs::read(samples::folder().join(name)).unwrap()
}

fn has(report: &FileReport, rule: &str) -> bool {
    report.findings.iter().any(|finding| finding.rule == rule)
}

#[test]
fn an_end_record_out_of_reach_hides_nothing() {
    let mut bytes = sample("archive/data_pkl.pt");
    bytes.extend((0..70_000_u32).map(|index| (index * 7 % 251) as u8));
    let report = scan(bytes);
    assert_eq!(report.verdict, Verdict::Malicious);
    assert!(has(&report, "RF-PKL-001") && has(&report, "RF-ZIP-012"), "{report:?}");
}

#[test]
fn archives_nested_beyond_the_limit_are_flagged() {
    let stored = |name: &[u8], content: &[u8]| {
        let size = u32::try_from(content.len()).unwrap().to_le_bytes();
        let crc = ringfence_format::zip::checksum(content).to_le_bytes();
        let name_bytes = u16::try_from(name.len()).unwrap().to_le_bytes();
        let fields = [&[0_u8; 8][..], &crc, &size, &size, &name_bytes, &[0, 0]].concat();
        let mut out = [b"PK\x03\x04\0\0", fields.as_slice(), name, content].concat();
        let start = u32::try_from(out.len()).unwrap().to_le_bytes();
        let entry = [b"PK\x01\x02\0\0\0\0", fields.as_slice(), &[0; 10], &[0; 4], name].concat();
        let directory = u32::try_from(entry.len()).unwrap().to_le_bytes();
        out.extend(entry);
        out.extend([b"PK\x05\x06\0\0\0\0\x01\0\x01\0", directory.as_slice(), &start, &[0, 0]].concat());
        out
    };
    let mut bytes = b"hello".to_vec();
    for _ in 0..4 {
        bytes = stored(b"inner", &bytes);
    }
    let report = scan(bytes.clone());
    assert_eq!(report.verdict, Verdict::Clean, "{report:?}");
    for _ in 0..8 {
        bytes = stored(b"inner", &bytes);
    }
    let report = scan(bytes);
    assert_eq!(report.verdict, Verdict::Suspicious);
    assert!(has(&report, "RF-GEN-009"));
}

#[test]
fn a_torch_archive_without_its_storage_is_not_clean() {
    let mut bytes = sample("torch/state_dict.pt");
    let find = |bytes: &[u8]| bytes.windows(14).rposition(|part| part == b"archive/data/1").unwrap();
    // The name in directory and local header: the storage is there, under another name.
    for _ in 0..2 {
        let at = find(&bytes);
        bytes[at + 13] = b'7';
    }
    let report = scan(bytes);
    assert_eq!(report.verdict, Verdict::Incomplete, "{report:?}");
    assert!(has(&report, "RF-TCH-003"));
}
