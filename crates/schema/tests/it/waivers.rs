//! Waivers cover one rule on one digest for a time; the finding stays visible.

use ringfence_schema::{
    Digest, Finding, Place, Severity, Timestamp, Verdict,
    junit::junit,
    report::{FileReport, ScanReport},
    waiver::{self, LIFETIME_MS_MAX, SignedWaiver, Waiver, WaiverError, WaiverTerms},
};

const DAY: u64 = 86_400_000;
const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn terms() -> WaiverTerms {
    WaiverTerms {
        rule: "RF-PKL-003".into(),
        file: None,
        member: None,
        reason: "reviewed by hand".into(),
        by: "alice".into(),
        issued_ms: START,
        expires_ms: START.plus_millis(30 * DAY),
    }
}

fn finding() -> Finding {
    Finding {
        rule: "RF-PKL-003".into(),
        severity: Severity::Critical,
        message: "pickle calls `posix.system`".into(),
        place: Place { file: Some("models/m.bin".into()), member: Some("data.pkl".into()), ..Place::default() },
        evidence: Vec::new(),
        why: String::new(),
        remedy: String::new(),
        waived: None,
    }
}

fn digest() -> Digest {
    Digest::of(b"the file")
}

#[test]
fn a_waiver_covers_its_rule_digest_place_and_time_only() {
    let now = START.plus_millis(DAY);
    let applies = |terms: WaiverTerms, digest_of: &[u8], now| {
        Waiver::new(Digest::of(digest_of), terms).unwrap().applies(&finding(), digest(), now)
    };
    assert!(applies(terms(), b"the file", now));
    assert!(applies(terms(), b"the file", START));
    assert!(!applies(terms(), b"the file", Timestamp::from_millis(START.millis() - 1)), "not yet");
    assert!(!applies(terms(), b"the file", START.plus_millis(30 * DAY)), "expired");
    assert!(!applies(terms(), b"another file", now), "for another digest");
    assert!(!applies(WaiverTerms { rule: "RF-PKL-00".into(), ..terms() }, b"the file", now), "for another rule");
    assert!(applies(WaiverTerms { file: Some("m.bin".into()), ..terms() }, b"the file", now));
    assert!(!applies(WaiverTerms { file: Some("n/m.bin".into()), ..terms() }, b"the file", now));
    assert!(!applies(WaiverTerms { file: Some(".bin".into()), ..terms() }, b"the file", now), "whole parts only");
    assert!(!applies(WaiverTerms { member: Some("other.pkl".into()), ..terms() }, b"the file", now));
}

#[test]
fn waivers_without_reason_or_end_do_not_exist() {
    let make = |terms| Waiver::new(digest(), terms);
    assert!(matches!(make(WaiverTerms { reason: " ".into(), ..terms() }), Err(WaiverError::Text { field: "reason" })));
    assert!(matches!(make(WaiverTerms { by: String::new(), ..terms() }), Err(WaiverError::Text { field: "by" })));
    for expires_ms in [START, START.plus_millis(LIFETIME_MS_MAX + 1), Timestamp::MAX] {
        assert!(matches!(make(WaiverTerms { expires_ms, ..terms() }), Err(WaiverError::Lifetime { .. })));
    }
    let waiver = make(terms()).unwrap();
    assert_eq!(Waiver::from_statement(&waiver.to_statement()).unwrap(), waiver);
    let mut other = waiver.to_statement();
    other.predicate_type = "urn:ringfence:evidence:scan:1".into();
    assert_eq!(Waiver::from_statement(&other), Err(WaiverError::NotAWaiver));
    let mut two = waiver.to_statement();
    two.subject.push(two.subject[0].clone());
    assert_eq!(Waiver::from_statement(&two), Err(WaiverError::NotAWaiver));
}

#[test]
fn a_waived_finding_stays_in_the_report_until_the_waiver_ends() {
    let signed = SignedWaiver { id: Digest::of(b"envelope"), waiver: Waiver::new(digest(), terms()).unwrap() };
    let mut findings = vec![finding(), Finding { rule: "RF-PKL-001".into(), ..finding() }];
    let now = START.plus_millis(DAY);
    waiver::apply(&mut findings, digest(), std::slice::from_ref(&signed), now);
    assert_eq!(findings.len(), 2);
    assert_eq!(findings[0].waived.as_ref().unwrap().reason, "reviewed by hand");
    assert!(findings[1].waived.is_none());
    let report = |findings: &[Finding]| {
        let file = FileReport {
            path: "models/m.bin".into(),
            format: "pickle".into(),
            verdict: Verdict::Malicious,
            size: 1,
            findings: findings.to_vec(),
        };
        ScanReport::new(vec![file])
    };
    let json = serde_json::to_value(report(&findings)).unwrap();
    assert_eq!(json["files"][0]["findings"][0]["waived"]["by"], "alice");
    assert!(json["files"][0]["findings"][1].get("waived").is_none(), "reports without waivers keep their form");
    insta::assert_snapshot!(junit(&report(&findings), Severity::High));

    waiver::apply(&mut findings, digest(), &[signed], START.plus_millis(31 * DAY));
    assert!(findings.iter().all(|finding| finding.waived.is_none()));
}

#[test]
fn junit_tells_what_was_not_read_and_escapes_what_it_tells() {
    let file = |path: &str, verdict, findings| FileReport {
        path: path.into(),
        format: "x".into(),
        verdict,
        size: 1,
        findings,
    };
    let odd = Finding { message: "a <b> & \"c\" \u{1}\n".into(), severity: Severity::Medium, ..finding() };
    let report = ScanReport::new(vec![
        file("clean", Verdict::Clean, Vec::new()),
        file("odd", Verdict::Suspicious, vec![odd]),
        file("unread", Verdict::Incomplete, Vec::new()),
    ]);
    insta::assert_snapshot!(junit(&report, Severity::Medium));
}
