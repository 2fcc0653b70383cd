//! What becomes of an alert: passed on, grouped, held back, and which actions follow.
//!
//! [`Router::push`] takes what the models raised, [`Router::measure`] what signals are now (for a user's thresholds), and
//! [`Router::acknowledge`] what people said. Each alert comes out once as [`Routed`], never dropped: what is held back says
//! why. What must stay true: actions follow only from `new` and `escalated`; a graver alert passes through a group and
//! through an acknowledgement; a critical one through maintenance.

use std::collections::BTreeMap;

use ringfence_schema::{
    Digest, Severity, Timestamp,
    alert::{Alert, Subject},
};
use serde::{Deserialize, Serialize};

use crate::{
    Signal,
    book::cut,
    rules::{Action, Rules, Threshold},
};

/// Routes alerts by rules.
#[derive(Debug, Clone)]
pub struct Router {
    rules: Rules,
    groups: BTreeMap<(String, Subject), Group>,
    acknowledged: Vec<Acknowledgement>,
    crossings: BTreeMap<(String, Subject), Crossing>,
}

/// An alert with what becomes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Routed {
    /// The alert, with the severity that the rules give it.
    pub alert: Alert,
    /// What is to be done now.
    pub actions: Vec<Action>,
    /// Whether and why it is passed on.
    pub state: State,
    /// Alerts in its group so far, this one included.
    pub count: u64,
    /// Why it is held back: the reason that somebody gave.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Whether an alert is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The first of its group.
    New,
    /// Graver than anything before in its group.
    Escalated,
    /// One more of a group that was passed on.
    Grouped,
    /// Held back: the rule is off, or suppressed for this subject.
    Suppressed,
    /// Held back: its subject is under maintenance.
    Maintenance,
    /// Held back: somebody knows.
    Acknowledged,
}

/// Somebody knows of a matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// The rule's id.
    pub rule: String,
    /// About whom.
    pub subject: Subject,
    /// The one alert that is meant; all of the rule about the subject where absent.
    #[serde(default)]
    pub alert: Option<Digest>,
    /// Who.
    pub by: String,
    /// Why it is in order.
    pub reason: String,
    /// When it was said.
    pub at: Timestamp,
    /// Until when it holds, exclusive.
    pub until: Timestamp,
    /// Up to which severity; graver alerts pass.
    pub up_to: Severity,
}

/// Alerts of one rule about one subject.
#[derive(Debug, Clone, Copy)]
struct Group {
    begun: Timestamp,
    last: Timestamp,
    worst: Severity,
    count: u64,
}

/// A signal beyond a threshold.
#[derive(Debug, Clone, Copy)]
struct Crossing {
    since: Timestamp,
    told: bool,
}

impl Router {
    /// A router that has seen nothing.
    pub fn new(rules: Rules) -> Self {
        Self { rules, groups: BTreeMap::new(), acknowledged: Vec::new(), crossings: BTreeMap::new() }
    }

    /// The rules in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Takes what somebody said about a matter. An acknowledgement without a reason is not one: false.
    pub fn acknowledge(&mut self, acknowledgement: Acknowledgement) -> bool {
        if acknowledgement.reason.trim().is_empty() {
            return false;
        }
        self.acknowledged.retain(|held| acknowledgement.at < held.until);
        if self.acknowledged.len() >= ACKNOWLEDGEMENTS_MAX {
            self.acknowledged.remove(0);
        }
        self.acknowledged.push(acknowledgement);
        true
    }

    /// Decides what becomes of an alert.
    pub fn push(&mut self, mut alert: Alert) -> Vec<Routed> {
        alert.severity = self.rules.severity(&alert.rule, alert.severity);
        if let Some((state, reason)) = self.held_back(&alert) {
            return vec![Routed { alert, actions: Vec::new(), state, count: 1, reason }];
        }
        let (state, count) = self.group(&alert);
        let mut actions = Vec::new();
        if matches!(state, State::New | State::Escalated) {
            actions = self.rules.actions(&alert.rule, alert.basis, alert.severity);
        }
        vec![Routed { alert, actions, state, count, reason: String::new() }]
    }

    /// Holds a subject's signals against the user's thresholds at this moment.
    pub fn measure(&mut self, subject: &Subject, at: Timestamp, signals: &[Signal]) -> Vec<Routed> {
        let mut raised = Vec::new();
        for threshold in &self.rules.thresholds {
            if !threshold.subject.matches(subject) {
                continue;
            }
            let signal = signals.iter().find(|signal| signal.name == threshold.signal);
            let key = (threshold.id.clone(), subject.clone());
            let crossed =
                signal.and_then(|signal| Some((signal, signal.value?)).filter(|(_, v)| crosses(threshold, *v)));
            let Some((signal, value)) = crossed else {
                self.crossings.remove(&key);
                continue;
            };
            if self.crossings.len() >= CROSSINGS_MAX && !self.crossings.contains_key(&key) {
                self.crossings.pop_first();
            }
            let crossing = self.crossings.entry(key).or_insert(Crossing { since: at, told: false });
            let lasted = at.millis().saturating_sub(crossing.since.millis());
            if crossing.told || lasted < threshold.for_ms {
                continue;
            }
            crossing.told = true;
            raised.extend(self.rules.rule(&threshold.id).map(|rule| {
                let since = crossing.since;
                Alert {
                    id: Alert::identify(&rule.id, subject, signal.name, since),
                    rule: rule.id.clone(),
                    kind: rule.kind.clone(),
                    severity: rule.severity,
                    subject: subject.clone(),
                    signal: signal.name.to_owned(),
                    basis: signal.basis,
                    expected: bounds(threshold, signal.unit),
                    seen: format!("{value} {} for {} s", signal.unit, lasted / 1_000),
                    since,
                    at,
                    confidence: 1.0,
                    message: cut(format!("`{}` crossed the threshold of `{}`", signal.name, rule.id)),
                    why: rule.why.clone(),
                    remedy: rule.remedy.clone(),
                }
            }));
        }
        raised.into_iter().flat_map(|alert| self.push(alert)).collect()
    }

    fn held_back(&self, alert: &Alert) -> Option<(State, String)> {
        let Alert { rule, subject, at, severity, id, .. } = alert;
        if self.rules.rule(rule).is_some_and(|rule| !rule.enabled) {
            return Some((State::Suppressed, self.rules.reason(rule).unwrap_or_default().to_owned()));
        }
        if let Some(suppression) = self.rules.suppressed(rule, subject, *at) {
            return Some((State::Suppressed, suppression.reason.clone()));
        }
        if *severity < Severity::Critical
            && let Some(window) = self.rules.maintained(subject, *at)
        {
            return Some((State::Maintenance, window.reason.clone()));
        }
        let known = self.acknowledged.iter().find(|known| {
            known.rule == *rule
                && known.subject == *subject
                && known.alert.as_ref().is_none_or(|meant| meant == id)
                && *severity <= known.up_to
                && (known.at..known.until).contains(at)
        });
        known.map(|known| (State::Acknowledged, known.reason.clone()))
    }

    fn group(&mut self, alert: &Alert) -> (State, u64) {
        let window_ms = self.rules.rule(&alert.rule).map_or(0, |rule| rule.group_minutes.saturating_mul(60_000));
        let key = (alert.rule.clone(), alert.subject.clone());
        if let Some(group) = self.groups.get_mut(&key)
            && alert.at.millis().saturating_sub(group.begun.millis()) < window_ms
        {
            group.last = alert.at;
            group.count = group.count.saturating_add(1);
            if alert.severity <= group.worst {
                return (State::Grouped, group.count);
            }
            group.worst = alert.severity;
            return (State::Escalated, group.count);
        }
        if self.groups.len() >= GROUPS_MAX {
            let oldest = self.groups.iter().min_by_key(|(_, group)| group.last).map(|(key, _)| key.clone());
            oldest.map(|key| self.groups.remove(&key));
        }
        self.groups.insert(key, Group { begun: alert.at, last: alert.at, worst: alert.severity, count: 1 });
        (State::New, 1)
    }
}

fn crosses(threshold: &Threshold, value: f64) -> bool {
    threshold.above.is_some_and(|limit| value > limit) || threshold.below.is_some_and(|limit| value < limit)
}

fn bounds(threshold: &Threshold, unit: &str) -> String {
    let above = threshold.above.map(|limit| format!("at most {limit} {unit}"));
    let below = threshold.below.map(|limit| format!("at least {limit} {unit}"));
    above.into_iter().chain(below).collect::<Vec<_>>().join(" and ")
}

/// Groups that are held at a time; the one that was quiet longest gives way.
const GROUPS_MAX: usize = 16_384;
/// Acknowledgements that are held at a time.
const ACKNOWLEDGEMENTS_MAX: usize = 4_096;
/// Signals beyond a threshold that are held at a time.
const CROSSINGS_MAX: usize = 16_384;
