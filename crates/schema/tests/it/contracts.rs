//! The JSON that outside checks rely on, as snapshots.

use ringfence_schema::{
    Finding, Place, Severity, Verdict,
    event::{Claimed, Observed, RunEvent, Source},
    report::{
        Candidate, DatasetProfile, Decision, FileReport, Reason, RecordDecision, ScanReport, ScreenReport, ScreenSchema,
    },
    sarif::sarif,
};

fn finding() -> Finding {
    Finding {
        rule: "RF-PKL-003".into(),
        severity: Severity::Critical,
        message: "pickle calls `posix.system`".into(),
        place: Place {
            file: Some("m.bin".into()),
            member: Some("data.pkl".into()),
            offset: Some(28),
            length: Some(40),
            record: None,
        },
        evidence: vec!["STACK_GLOBAL posix system".into()],
        why: "loading this file would run the command".into(),
        remedy: "ask the author for .safetensors".into(),
        waived: None,
    }
}

#[test]
fn scan_reports_keep_their_form() {
    let file = |path: &str, verdict, findings| FileReport {
        path: path.into(),
        format: "pickle".into(),
        verdict,
        size: 68,
        findings,
    };
    let report = ScanReport::new(vec![
        file("z", Verdict::Clean, Vec::new()),
        file("m.bin", Verdict::Malicious, vec![finding()]),
    ]);
    insta::assert_json_snapshot!(report);
}

#[test]
fn screen_reports_keep_their_form() {
    let report = ScreenReport {
        schema: ScreenSchema::One,
        records: 3,
        decisions: vec![Decision {
            record: 1,
            decision: RecordDecision::Filter,
            reasons: vec![Reason { rule: "RF-LBL-001".into(), score: 0.5, evidence: "neighbours say `7`".into() }],
        }],
        candidates: vec![Candidate {
            rule: "RF-PAT-001".into(),
            score: 9.0,
            description: "patch".into(),
            records: vec![1],
        }],
        dataset: DatasetProfile { format: "csv".into(), complete: true, ..DatasetProfile::default() },
    };
    insta::assert_json_snapshot!(report);
}

#[test]
fn what_the_kernel_saw_and_what_the_job_said_look_different() {
    let events = [
        RunEvent { at_ms: 1, source: Source::Observed(Observed::Exited { code: Some(0), signal: None }) },
        RunEvent { at_ms: 2, source: Source::Claimed(Claimed::Line { stream: "stdout".into(), text: "done".into() }) },
    ];
    insta::assert_json_snapshot!(events);
}

#[test]
fn sarif_keeps_its_form() {
    // Whether JSON objects keep their order depends on features that other crates of the build switch on.
    insta::with_settings!({sort_maps => true}, { insta::assert_json_snapshot!(sarif("0.1.0", &[finding()])) });
}

#[test]
fn what_is_incomplete_is_never_clean() {
    use Verdict::{Clean, Incomplete, Malicious, Suspicious};
    assert_eq!(Clean.and(Incomplete), Incomplete);
    assert_eq!(Incomplete.and(Clean), Incomplete);
    assert_eq!(Suspicious.and(Incomplete), Suspicious);
    assert_eq!(Malicious.and(Suspicious), Malicious);
}
