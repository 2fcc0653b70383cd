//! Collects what the detectors say, and puts it into the contract's form: sorted, bounded, the same bytes every time.

use std::collections::BTreeMap;

use ringfence_schema::{
    Finding, Place,
    finding::printable,
    report::{Candidate, Decision, Reason, RecordDecision},
};

use crate::{rules::Rule, table};

/// What was found so far.
#[derive(Default)]
pub(crate) struct Book {
    decisions: BTreeMap<usize, Decision>,
    candidates: Vec<Candidate>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) detectors: Vec<String>,
}

impl Book {
    /// Adds a reason to review or filter `record`; the graver decision holds.
    pub(crate) fn decide(&mut self, record: usize, decision: RecordDecision, rule: &Rule, score: f64, evidence: &str) {
        let entry = self.decisions.entry(record).or_insert_with(|| Decision {
            record: record as u64,
            decision,
            reasons: Vec::new(),
        });
        entry.decision = entry.decision.max(decision);
        let known = entry.reasons.iter().any(|reason| reason.rule == rule.id && reason.evidence == evidence);
        if !known && entry.reasons.len() < REASONS_MAX {
            let score = if score.is_finite() { score } else { f64::MAX };
            entry.reasons.push(Reason {
                rule: rule.id.to_owned(),
                score,
                evidence: printable(evidence, EVIDENCE_CHARS_MAX),
            });
        }
    }

    /// Adds a trigger or cluster, and a finding on the dataset that names it.
    pub(crate) fn candidate(&mut self, rule: &Rule, score: f64, description: &str, records: &[u32]) {
        let mut finding = table::finding(rule, &format!("{}: {} records", rule.title, records.len()), Place::default());
        finding.place.record = records.first().map(|record| u64::from(*record));
        finding.evidence.push(description.to_owned());
        self.findings.push(finding);
        self.candidates.push(Candidate {
            rule: rule.id.to_owned(),
            score: if score.is_finite() { score } else { f64::MAX },
            description: description.to_owned(),
            records: records.iter().take(CANDIDATE_RECORDS_MAX).map(|record| u64::from(*record)).collect(),
        });
    }

    /// Adds a finding on the dataset.
    pub(crate) fn finding(&mut self, rule: &Rule, message: &str) {
        self.findings.push(table::finding(rule, message, Place::default()));
    }

    /// Notes that a detector ran and how, or why it could not.
    pub(crate) fn detector(&mut self, name: &str, how: Result<&str, &str>) {
        self.detectors.push(match how {
            Ok(how) => format!("{name}: {how}"),
            Err(reason) => format!("{name}: not run, {reason}"),
        });
    }

    /// Decisions by record and candidates by falling score.
    pub(crate) fn close(mut self) -> (Vec<Decision>, Vec<Candidate>, Vec<Finding>, Vec<String>) {
        self.candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.description.cmp(&b.description)));
        self.candidates.truncate(CANDIDATES_MAX);
        self.findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.rule.cmp(&b.rule)));
        (self.decisions.into_values().collect(), self.candidates, self.findings, self.detectors)
    }
}

const REASONS_MAX: usize = 8;
const EVIDENCE_CHARS_MAX: usize = 400;
const CANDIDATE_RECORDS_MAX: usize = 1000;
const CANDIDATES_MAX: usize = 200;
