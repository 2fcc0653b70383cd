//! Every file under `samples/` has its `.expected` beside it: the verdict, then the rules, one a line.
//!
//! `BLESS=1` writes the expectations; look at the difference before it is committed.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
};

use ringfence_scan::{Limits, scan_file};
use ringfence_schema::report::FileReport;

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples")
}

/// All samples, sorted.
pub(crate) fn all() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_none_or(|extension| extension != "expected") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn scan(path: &Path) -> FileReport {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    scan_file(&name, &mut File::open(path).unwrap(), &Limits::default())
}

fn summary(report: &FileReport) -> String {
    let rules: BTreeSet<&str> = report.findings.iter().map(|finding| finding.rule.as_str()).collect();
    let mut text = format!("{} {}\n", report.verdict, report.format);
    for rule in rules {
        writeln!(text, "{rule}").unwrap();
    }
    text
}

#[test]
fn samples_are_judged_as_expected() {
    let samples = all();
    assert!(samples.len() > 200, "the samples are there");
    let mut wrong = String::new();
    for path in samples {
        let summary = summary(&scan(&path));
        let expected_path = PathBuf::from(format!("{}.expected", path.display()));
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected_path, &summary).unwrap();
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if expected != summary {
            let name = path.strip_prefix(folder()).unwrap().display().to_string();
            writeln!(wrong, "{name}\n expected {expected:?}\n found    {summary:?}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The two promises that no blessing may break: harm is never clean, ordinary files are.
#[test]
fn folders_keep_their_promise() {
    let mut broken = String::new();
    for path in all() {
        let name = path.strip_prefix(folder()).unwrap().to_string_lossy().into_owned();
        let verdict = scan(&path).verdict.to_string();
        let is_bad = name.contains("/bad-");
        let harmful = name.starts_with("gadget/") || name.starts_with("opcode/") || name.contains("evil") || is_bad;
        if harmful && verdict != "malicious" && verdict != "suspicious" {
            writeln!(broken, "{name} is {verdict}").unwrap();
        }
        let ordinary = !is_bad
            && (["benign/", "sklearn/", "pandas/", "scipy/", "lightgbm/"]
                .iter()
                .any(|folder| name.starts_with(folder))
                || ["joblib/", "numpy/"].iter().any(|folder| name.starts_with(folder)) && !name.contains("evil")
                || matches!(
                    name.as_str(),
                    "torch/state_dict.pt"
                        | "torch/state_dict_deflated.pt"
                        | "torch/legacy.pt"
                        | "torch/script.pt"
                        | "safetensors/plain.safetensors"
                        | "safetensors/library.safetensors"
                        | "onnx/plain.onnx"
                        | "onnx/forest.onnx"
                        | "archive/plain.zip"
                        | "wrapper/gzip_benign.gz"
                )
                || name.contains("/good-"));
        if ordinary && verdict != "clean" {
            writeln!(broken, "{name} is {verdict}").unwrap();
        }
    }
    assert!(broken.is_empty(), "{broken}");
}

#[test]
fn findings_name_place_and_evidence() {
    let report = scan(&folder().join("archive/data_pkl.pt"));
    let finding = report.findings.iter().find(|finding| finding.rule == "RF-PKL-001").unwrap();
    assert_eq!(finding.place.member.as_deref(), Some("archive/data.pkl"));
    assert!(finding.place.offset.is_some());
    assert!(finding.message.contains("os.system") && finding.message.contains("echo pwned"), "{}", finding.message);
    assert!(finding.evidence.iter().any(|line| line.contains("REDUCE")), "{:?}", finding.evidence);
    assert!(!finding.why.is_empty() && !finding.remedy.is_empty());
}
