//! From a statement to facts: every field that can be wrong is.

use std::collections::BTreeMap;

use ringfence_access::{
    Action, Bearing, Custody, EvidenceFacts, Facts, Request, Resource, Role,
    matrix::{ASKS, SITUATIONS, in_order, person, sound},
};
use ringfence_schema::{
    Digest, Timestamp,
    evidence::{Evidence, EvidenceKind, EvidenceVerdict, Statement, Subject},
};

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn evidence() -> Evidence {
    Evidence {
        vault: "vault-1".to_owned(),
        tool: "ringfence 0.1.0".to_owned(),
        rules: Digest::of(b"rules"),
        config: Digest::of(b"config"),
        policy: Digest::of(b"policy"),
        inputs: BTreeMap::new(),
        coverage: BTreeMap::new(),
        complete: true,
        issued_ms: at(1_000_000),
        expires_ms: at(2_000_000),
        verdict: EvidenceVerdict::Pass,
        report: Digest::of(b"report"),
        summary: BTreeMap::new(),
    }
}

fn statement(evidence: &Evidence) -> Statement {
    let subject = Subject::new("model/net", Digest::of(b"net"));
    Statement::new(EvidenceKind::Scan, vec![subject], serde_json::to_value(evidence).unwrap())
}

fn bearing() -> Bearing<'static> {
    Bearing { vault: "vault-1", subject: Digest::of(b"net"), now: at(1_500_000), in_trail: true, signer_allowed: true }
}

fn facts(statement: &Statement) -> EvidenceFacts {
    EvidenceFacts::of(EvidenceKind::Scan, statement, &bearing())
}

#[test]
fn sound_evidence_is_sound() {
    let facts = facts(&statement(&evidence()));
    assert_eq!(facts.shortfalls().next(), None);
    assert_eq!(facts.age_ms, 500_000);
    assert!(!facts.blocks);
}

#[test]
fn each_fault_is_seen() {
    let expect = |statement: &Statement, words: &[&str]| {
        assert_eq!(facts(statement).shortfalls().collect::<Vec<_>>(), words);
    };
    expect(&statement(&Evidence { complete: false, ..evidence() }), &["it does not cover everything"]);
    let incomplete = Evidence { verdict: EvidenceVerdict::Incomplete, ..evidence() };
    expect(&statement(&incomplete), &["it does not cover everything", "its verdict is not a pass"]);
    let expired = ["it has expired, or is older than the policy accepts"];
    expect(&statement(&Evidence { expires_ms: at(1_500_000), ..evidence() }), &expired);
    expect(&statement(&Evidence { issued_ms: at(1_900_000), ..evidence() }), &expired);
    let skewed = |ahead_ms: u64| statement(&Evidence { issued_ms: at(1_500_000 + ahead_ms), ..evidence() });
    expect(&skewed(300_000), &[]);
    expect(&skewed(300_001), &expired);
    let elsewhere = ["it speaks of other bytes or another vault"];
    expect(&statement(&Evidence { vault: "vault-2".to_owned(), ..evidence() }), &elsewhere);
    let mut other = statement(&evidence());
    other.subject = vec![Subject::new("model/net", Digest::of(b"other"))];
    expect(&other, &elsewhere);
    other.subject = vec![Subject::new("a", Digest::of(b"net")), Subject::new("b", Digest::of(b"x"))];
    expect(&other, &elsewhere);
}

#[test]
fn what_the_caller_found_out_is_told_as_well() {
    let shortfalls = |bearing: Bearing<'_>| {
        EvidenceFacts::of(EvidenceKind::Scan, &statement(&evidence()), &bearing).shortfalls().collect::<Vec<_>>()
    };
    assert_eq!(shortfalls(Bearing { in_trail: false, ..bearing() }), ["it is not in the trail"]);
    assert_eq!(shortfalls(Bearing { signer_allowed: false, ..bearing() }), ["its signer may not issue it"]);
    assert_eq!(EvidenceFacts::default().shortfalls().collect::<Vec<_>>(), ["there is none"]);
}

#[test]
fn facts_on_evidence_are_kept_by_kind() {
    for kind in EvidenceKind::ALL {
        let mut facts = Facts::default();
        facts.set_evidence(kind, sound());
        for other in EvidenceKind::ALL {
            let expected = if other == kind { sound() } else { EvidenceFacts::default() };
            let found = facts.evidence(other).copied();
            assert_eq!(found, (other != EvidenceKind::Release).then_some(expected), "{kind:?} {other:?}");
        }
    }
}

#[test]
fn requests_read_as_they_were_written() {
    for role in [Role::Owner, Role::Trainer] {
        for situation in SITUATIONS {
            let mut written = in_order(person(ASKS, role), Action::Read, Resource::Vault, Custody::Shared);
            situation.apply(&mut written);
            let text = serde_json::to_string(&written).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), written, "{situation:?}");
        }
    }
}

#[test]
fn a_block_counts_however_little_was_covered() {
    let blocked = facts(&statement(&Evidence { verdict: EvidenceVerdict::Block, complete: false, ..evidence() }));
    assert!(blocked.blocks && !blocked.passes && !blocked.complete);
}

#[test]
fn another_kind_or_shape_is_fit_for_nothing() {
    let nothing = EvidenceFacts { present: true, ..EvidenceFacts::default() };
    assert_eq!(EvidenceFacts::of(EvidenceKind::Screen, &statement(&evidence()), &bearing()), nothing);
    let mut extra = statement(&evidence());
    extra.predicate["surprise"] = true.into();
    assert_eq!(facts(&extra), nothing);
    let mut untyped = statement(&evidence());
    untyped.statement_type = "https://in-toto.io/Statement/v0.1".to_owned();
    assert_eq!(facts(&untyped), nothing);
}
