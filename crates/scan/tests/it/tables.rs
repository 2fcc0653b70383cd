//! The rules and what is said about whole sets of them; tensor cuts.

use std::{collections::BTreeSet, fs::File, io::Cursor};

use ringfence_scan::{Limits, rules, rules_digest, scan_file, tensor_cuts};

use crate::samples;

#[test]
fn rules_have_unique_ids_and_plain_words() {
    let ids: BTreeSet<&str> = rules().iter().map(|rule| rule.id).collect();
    assert_eq!(ids.len(), rules().len());
    for rule in rules() {
        let (prefix, number) = rule.id.rsplit_once('-').unwrap();
        assert!(prefix.starts_with("RF-") && number.len() == 3, "{}", rule.id);
        assert!(!rule.title.is_empty() && !rule.why.is_empty() && !rule.remedy.is_empty(), "{}", rule.id);
    }
    assert_eq!(rules_digest(), rules_digest());
}

#[test]
fn findings_only_use_listed_rules() {
    let ids: BTreeSet<&str> = rules().iter().map(|rule| rule.id).collect();
    for path in samples::all() {
        let report = scan_file("x", &mut File::open(path).unwrap(), &Limits::default());
        assert!(report.findings.iter().all(|finding| ids.contains(finding.rule.as_str())));
    }
}

#[test]
fn cuts_are_tensor_starts() {
    let plain = std::fs::read(samples::folder().join("safetensors/plain.safetensors")).unwrap();
    let header = u64::from_le_bytes(*plain.first_chunk::<8>().unwrap());
    assert_eq!(tensor_cuts(&mut Cursor::new(&plain)), [8 + header]);
    let hole = std::fs::read(samples::folder().join("safetensors/hole.safetensors")).unwrap();
    assert!(tensor_cuts(&mut Cursor::new(hole)).is_empty());
    let onnx = std::fs::read(samples::folder().join("onnx/plain.onnx")).unwrap();
    let cuts = tensor_cuts(&mut Cursor::new(&onnx));
    let [cut] = cuts.as_slice() else { panic!("one initialiser, cuts {cuts:?}") };
    let at = usize::try_from(*cut).unwrap();
    assert_eq!(onnx.get(at..at + 4), Some(&1.0_f32.to_le_bytes()[..]));
    assert!(tensor_cuts(&mut Cursor::new(b"hello")).is_empty());
}

#[test]
fn small_limits_are_incomplete_not_clean() {
    let path = samples::folder().join("torch/state_dict_deflated.pt");
    let mut limits = Limits::default();
    limits.member_bytes_max = 16;
    let report = scan_file("x", &mut File::open(path).unwrap(), &limits);
    assert_eq!(report.verdict.to_string(), "incomplete");
}
