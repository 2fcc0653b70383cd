//! What the models have already said, so that each matter is said once.
//!
//! A model hands in a [`Sighting`] whenever it sees something; [`Book::raise`] makes an [`Alert`] of the first, and of
//! later ones only where they are graver. A matter that was not seen for a while is over: the next sighting is a new one.
//! At most [`OPEN_MAX`] matters are kept; the one that was seen longest ago gives way.

use std::collections::BTreeMap;

use ringfence_schema::{
    Severity, Timestamp,
    alert::{Alert, Basis, Subject},
};

use crate::rules::{self, Kind};

/// A model saw something.
#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    pub(crate) kind: Kind,
    pub(crate) signal: String,
    /// The rule's own where absent.
    pub(crate) severity: Option<Severity>,
    pub(crate) basis: Basis,
    pub(crate) expected: String,
    pub(crate) seen: String,
    pub(crate) since: Timestamp,
    pub(crate) confidence: f64,
    pub(crate) message: String,
}

/// The open matters of one subject, or of many.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    quiet_ms: u64,
    open: BTreeMap<(Subject, Kind, String), Open>,
}

/// One matter.
#[derive(Debug, Clone, Copy)]
struct Open {
    since: Timestamp,
    last: Timestamp,
    severity: Severity,
}

impl Book {
    /// A book in which a matter is over when it was not seen for `quiet_ms` milliseconds.
    pub(crate) fn new(quiet_ms: u64) -> Self {
        Self { quiet_ms, open: BTreeMap::new() }
    }

    /// Notes a sighting; an alert if the matter is new or graver than before.
    pub(crate) fn raise(&mut self, subject: &Subject, at: Timestamp, sighting: Sighting) -> Option<Alert> {
        let rule = rules::builtin(sighting.kind);
        let severity = sighting.severity.unwrap_or(rule.severity);
        let key = (subject.clone(), sighting.kind, sighting.signal.clone());
        let mut since = sighting.since.min(at);
        if let Some(open) = self.open.get_mut(&key)
            && at.millis().saturating_sub(open.last.millis()) <= self.quiet_ms
        {
            open.last = at;
            if severity <= open.severity {
                return None;
            }
            open.severity = severity;
            since = open.since;
        } else {
            self.make_room();
            self.open.insert(key, Open { since, last: at, severity });
        }
        let signal = cut(sighting.signal);
        Some(Alert {
            id: Alert::identify(&rule.id, subject, &signal, since),
            rule: rule.id.clone(),
            kind: sighting.kind.name().to_owned(),
            severity,
            subject: subject.clone(),
            signal,
            basis: sighting.basis,
            expected: cut(sighting.expected),
            seen: cut(sighting.seen),
            since,
            at,
            confidence: sighting.confidence.clamp(0.0, 1.0),
            message: cut(sighting.message),
            why: rule.why.clone(),
            remedy: rule.remedy.clone(),
        })
    }

    /// Whether a matter of this signal is open at `at`.
    pub(crate) fn is_open(&self, signal: &str, at: Timestamp) -> bool {
        self.open
            .iter()
            .any(|((_, _, name), open)| name == signal && at.millis().saturating_sub(open.last.millis()) <= SHOWN_MS)
    }

    fn make_room(&mut self) {
        if self.open.len() < OPEN_MAX {
            return;
        }
        let oldest = self.open.iter().min_by_key(|(_, open)| open.last).map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            self.open.remove(&key);
        }
    }
}

/// Names and texts come from jobs: they are cut at a character.
pub(crate) fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Matters that are remembered at a time.
const OPEN_MAX: usize = 1_024;
/// A signal is shown as unusual for this long after the last sighting, in milliseconds.
const SHOWN_MS: u64 = 60 * 1_000;
/// Longest text in an alert, in bytes.
const TEXT_BYTES_MAX: usize = 512;
