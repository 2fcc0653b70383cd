//! What becomes of alerts: groups, escalation, suppression, maintenance, acknowledgement, thresholds, actions.

use ringfence_schema::{
    Severity, Timestamp,
    alert::{Alert, Basis, Subject, SubjectKind},
};
use ringfence_watch::{
    Signal, SignalState,
    route::{Acknowledgement, Routed, Router, State},
    rules::{Action, Rules},
};

/// 2026-11-20T20:00:00Z, a Friday.
const NOW_MS: u64 = 1_795_204_800_000;
const MINUTE_MS: u64 = 60_000;

fn rules() -> Rules {
    Rules::builtin().with(include_str!("../data/rules/all-forms.toml")).unwrap()
}

fn subject(kind: SubjectKind, name: &str) -> Subject {
    Subject { kind, name: name.to_owned() }
}

fn alert(rule: &str, run: &str, severity: Severity, at_ms: u64) -> Alert {
    let (subject, at) = (subject(SubjectKind::Run, run), Timestamp::from_millis(at_ms));
    Alert {
        id: Alert::identify(rule, &subject, "cpu", at),
        rule: rule.to_owned(),
        kind: "any".to_owned(),
        severity,
        subject,
        signal: "cpu".to_owned(),
        basis: Basis::Observed,
        expected: String::new(),
        seen: String::new(),
        since: at,
        at,
        confidence: 0.9,
        message: String::new(),
        why: String::new(),
        remedy: String::new(),
    }
}

fn only(mut routed: Vec<Routed>) -> Routed {
    assert_eq!(routed.len(), 1);
    routed.remove(0)
}

#[test]
fn a_group_is_told_once_and_again_when_it_gets_worse() {
    let mut router = Router::new(Rules::builtin());
    let push = |router: &mut Router, severity, at_ms| {
        let routed = only(router.push(alert("RF-WCH-030", "a", severity, at_ms)));
        (routed.state, routed.count, routed.actions.len())
    };
    assert_eq!(push(&mut router, Severity::Medium, NOW_MS), (State::New, 1, 1));
    assert_eq!(push(&mut router, Severity::Medium, NOW_MS + MINUTE_MS), (State::Grouped, 2, 0));
    assert_eq!(push(&mut router, Severity::High, NOW_MS + 2 * MINUTE_MS), (State::Escalated, 3, 1));
    assert_eq!(push(&mut router, Severity::High, NOW_MS + 3 * MINUTE_MS), (State::Grouped, 4, 0));
    assert_eq!(push(&mut router, Severity::Medium, NOW_MS + 60 * MINUTE_MS), (State::New, 1, 1));
    assert_eq!(only(router.push(alert("RF-WCH-030", "b", Severity::Low, NOW_MS))).state, State::New);
}

#[test]
fn a_users_severity_and_actions_hold() {
    let mut router = Router::new(rules());
    let routed = only(router.push(alert("RF-WCH-001", "a", Severity::High, NOW_MS)));
    assert_eq!((routed.alert.severity, routed.actions), (Severity::Critical, vec![Action::Notify, Action::Stop]));
    let routed = only(router.push(alert("RF-WCH-001", "b", Severity::Medium, NOW_MS)));
    assert_eq!(routed.alert.severity, Severity::High, "moved by as much as the rule");
    assert_eq!(only(router.push(alert("RF-WCH-012", "a", Severity::Low, NOW_MS))).state, State::Suppressed);
}

#[test]
fn claims_alone_only_notify_unless_the_rule_says_so() {
    let mut router = Router::new(rules());
    let claimed = |rule| Alert { basis: Basis::Claimed, ..alert(rule, "a", Severity::High, NOW_MS) };
    assert_eq!(only(router.push(claimed("RF-WCH-001"))).actions, [Action::Notify]);
    assert_eq!(only(router.push(claimed("RF-WCH-010"))).actions, [Action::Notify, Action::Freeze]);
}

#[test]
fn suppressions_end_and_say_why() {
    let mut router = Router::new(rules());
    let routed = only(router.push(alert("RF-WCH-034", "a", Severity::Low, NOW_MS)));
    assert_eq!((routed.state, routed.reason.as_str()), (State::Suppressed, "telemetry of the library, known"));
    let later = NOW_MS + 60 * 86_400_000;
    assert_eq!(only(router.push(alert("RF-WCH-034", "a", Severity::Low, later))).state, State::New);
}

#[test]
fn maintenance_holds_back_all_but_what_is_critical() {
    let mut router = Router::new(rules());
    let mut state = |rule: &str, run: &str, severity, at_ms| only(router.push(alert(rule, run, severity, at_ms))).state;
    let within = NOW_MS + 3 * 60 * MINUTE_MS;
    assert_eq!(state("RF-WCH-030", "nightly-7", Severity::High, within), State::Maintenance);
    assert_eq!(state("RF-WCH-030", "nightly-7", Severity::High, NOW_MS), State::New);
    assert_eq!(state("RF-WCH-030", "daily", Severity::High, within), State::New);
    assert_eq!(state("RF-WCH-019", "nightly-7", Severity::Critical, within), State::New);
    // 08:00 at two hours east is 06:00 UTC, and the end is exclusive.
    let end = NOW_MS + 10 * 60 * MINUTE_MS;
    assert_eq!(state("RF-WCH-031", "nightly-7", Severity::High, end - 1), State::Maintenance);
    assert_eq!(state("RF-WCH-031", "nightly-7", Severity::High, end), State::New);
}

#[test]
fn weekly_maintenance_crosses_midnight_and_the_week() {
    let mut router = Router::new(rules());
    let mut state = |hours: u64| {
        let mut alert = alert("RF-WCH-101", "x", Severity::Low, NOW_MS + hours * 60 * MINUTE_MS);
        alert.subject = subject(SubjectKind::Person, &format!("ada-{hours}"));
        only(router.push(alert)).state
    };
    // Friday 20:00 + 26 h is Saturday 22:00; + 57 h is Monday 05:00; the windows end eight hours after 22:00.
    assert_eq!(state(25), State::New);
    assert_eq!(state(26), State::Maintenance);
    assert_eq!(state(33), State::Maintenance);
    assert_eq!(state(34), State::New);
    assert_eq!(state(57), State::Maintenance);
    assert_eq!(state(58), State::New);
}

#[test]
fn acknowledgements_need_a_reason_and_end() {
    let mut router = Router::new(Rules::builtin());
    let acknowledgement = |reason: &str| Acknowledgement {
        rule: "RF-WCH-030".to_owned(),
        subject: subject(SubjectKind::Run, "a"),
        alert: None,
        by: "ada".to_owned(),
        reason: reason.to_owned(),
        at: Timestamp::from_millis(NOW_MS),
        until: Timestamp::from_millis(NOW_MS + 10 * MINUTE_MS),
        up_to: Severity::Medium,
    };
    assert!(!router.acknowledge(acknowledgement("")));
    assert!(router.acknowledge(acknowledgement("a test of ours")));
    let mut push = |severity, at_ms| only(router.push(alert("RF-WCH-030", "a", severity, at_ms)));
    let known = push(Severity::Medium, NOW_MS + 1);
    assert_eq!((known.state, known.reason.as_str(), known.actions.len()), (State::Acknowledged, "a test of ours", 0));
    assert_eq!(push(Severity::High, NOW_MS + 2).state, State::New, "graver than what was acknowledged");
    assert_eq!(push(Severity::Medium, NOW_MS + 200 * MINUTE_MS).state, State::New, "the acknowledgement has ended");
}

#[test]
fn thresholds_wait_and_tell_once() {
    let mut router = Router::new(rules());
    let nightly = subject(SubjectKind::Run, "nightly-1");
    let mut measure = |subject: &Subject, second: u64, value: f64| {
        let signal = Signal {
            name: "memory",
            value: Some(value),
            unit: "MB",
            expected: String::new(),
            state: SignalState::Normal,
            basis: Basis::Observed,
        };
        router.measure(subject, Timestamp::from_millis(NOW_MS + second * 1_000), &[signal])
    };
    assert!(measure(&nightly, 0, 4_000.0).is_empty());
    assert!(measure(&nightly, 30, 2_000.0).is_empty(), "a break begins the wait anew");
    assert!(measure(&nightly, 40, 4_000.0).is_empty());
    assert!(measure(&nightly, 99, 4_000.0).is_empty());
    let told = only(measure(&nightly, 100, 4_100.0));
    assert_eq!((told.alert.rule.as_str(), told.state), ("USR-memory", State::New));
    assert!(measure(&nightly, 101, 4_200.0).is_empty());
    assert!(measure(&subject(SubjectKind::Run, "daily"), 500, 9_000.0).is_empty());
}
