//! Waivers: somebody answers for one finding on one digest, for a time, with a reason.
//!
//! A waiver is an in-toto statement of predicate type [`WAIVER_PREDICATE`]: its one subject is the digest, its predicate the
//! [`WaiverTerms`]. `trust` signs and checks it. It never hides a finding: [`apply`] marks it, with who, why and until when.
//! There is no wildcard for the rule, no waiver without an end, and none that outlives [`LIFETIME_MS_MAX`].

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    evidence::{STATEMENT_TYPE, Statement, Subject},
    finding::Finding,
    time::Timestamp,
};

/// Predicate type of a waiver.
pub const WAIVER_PREDICATE: &str = "urn:ringfence:waiver:1";
/// Longest life of a waiver in milliseconds: 366 days.
pub const LIFETIME_MS_MAX: u64 = 366 * 86_400_000;
/// Longest reason, name or place in bytes.
pub const TEXT_BYTES_MAX: usize = 2_000;

/// What is waived, why, by whom and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaiverTerms {
    /// The rule, exactly, such as `RF-PKL-003`.
    pub rule: String,
    /// File inside the artifact to which it is limited: the whole path, or its last parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Member of the file to which it is limited, exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Why this is acceptable.
    pub reason: String,
    /// Who answers for it.
    pub by: String,
    /// From when it counts.
    pub issued_ms: Timestamp,
    /// From when it no longer counts.
    pub expires_ms: Timestamp,
}

/// Why something is no waiver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaiverError {
    /// Another kind of statement, or not about exactly one digest.
    #[error("not a waiver for one digest")]
    NotAWaiver,
    /// A text is empty or longer than [`TEXT_BYTES_MAX`].
    #[error("a waiver's `{field}` is empty, or longer than {TEXT_BYTES_MAX} bytes")]
    Text {
        /// Which.
        field: &'static str,
    },
    /// It ends before it begins, or later than [`LIFETIME_MS_MAX`] after that.
    #[error("a waiver ends after it begins, and at most 366 days later; this one runs from {from} to {until}")]
    Lifetime {
        /// Its begin.
        from: Timestamp,
        /// Its end.
        until: Timestamp,
    },
}

/// A waiver whose form was checked. Whether somebody entitled signed it is for `trust` to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiver {
    digest: Digest,
    terms: WaiverTerms,
}

impl Waiver {
    /// A waiver for what has this digest: a file's, or an artifact's.
    pub fn new(digest: Digest, terms: WaiverTerms) -> Result<Self, WaiverError> {
        let texts = [
            ("rule", Some(&terms.rule)),
            ("file", terms.file.as_ref()),
            ("member", terms.member.as_ref()),
            ("reason", Some(&terms.reason)),
            ("by", Some(&terms.by)),
        ];
        for (field, text) in texts {
            if text.is_some_and(|text| text.trim().is_empty() || text.len() > TEXT_BYTES_MAX) {
                return Err(WaiverError::Text { field });
            }
        }
        let (from, until) = (terms.issued_ms, terms.expires_ms);
        if until <= from || until > from.plus_millis(LIFETIME_MS_MAX) {
            return Err(WaiverError::Lifetime { from, until });
        }
        Ok(Self { digest, terms })
    }

    /// What it is for.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its terms.
    pub fn terms(&self) -> &WaiverTerms {
        &self.terms
    }

    /// The statement that is signed.
    pub fn to_statement(&self) -> Statement {
        Statement {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: vec![Subject::new("waived", self.digest)],
            predicate_type: WAIVER_PREDICATE.to_owned(),
            // Texts and numbers always have a JSON form.
            predicate: serde_json::to_value(&self.terms).unwrap_or_default(),
        }
    }

    /// Reads a statement.
    pub fn from_statement(statement: &Statement) -> Result<Self, WaiverError> {
        let ours = statement.statement_type == STATEMENT_TYPE && statement.predicate_type == WAIVER_PREDICATE;
        let [subject] = statement.subject.as_slice() else { return Err(WaiverError::NotAWaiver) };
        let digest = subject.sha256().filter(|_| ours).ok_or(WaiverError::NotAWaiver)?;
        let terms = serde_json::from_value(statement.predicate.clone()).map_err(|_| WaiverError::NotAWaiver)?;
        Self::new(digest, terms)
    }

    /// Whether it covers `finding` on what has `digest`, at `now`.
    pub fn applies(&self, finding: &Finding, digest: Digest, now: Timestamp) -> bool {
        let terms = &self.terms;
        let file = finding.place.file.as_deref().unwrap_or_default();
        let in_file =
            |wanted: &str| file == wanted || file.strip_suffix(wanted).is_some_and(|rest| rest.ends_with('/'));
        self.digest == digest
            && terms.issued_ms <= now
            && now < terms.expires_ms
            && terms.rule == finding.rule
            && terms.file.as_deref().is_none_or(in_file)
            && terms.member.as_deref().is_none_or(|wanted| finding.place.member.as_deref() == Some(wanted))
    }
}

/// Which waiver covers a finding; stands in reports beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaiverRef {
    /// SHA-256 of the signed waiver.
    pub waiver: Digest,
    /// Who answers for it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Until when.
    pub expires_ms: Timestamp,
}

/// A waiver with the SHA-256 of the file or line in which it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedWaiver {
    /// SHA-256 of the envelope.
    pub id: Digest,
    /// What it says.
    pub waiver: Waiver,
}

/// Marks every finding on what has `digest` that a waiver covers at `now`, and unmarks all others, so that a report that is
/// looked at again later tells what holds then. Of several waivers the one that ends last is named.
pub fn apply(findings: &mut [Finding], digest: Digest, waivers: &[SignedWaiver], now: Timestamp) {
    for finding in findings {
        let covering = waivers.iter().filter(|signed| signed.waiver.applies(finding, digest, now));
        let last = covering.max_by_key(|signed| (signed.waiver.terms.expires_ms, signed.id));
        finding.waived = last.map(|signed| {
            let terms = &signed.waiver.terms;
            WaiverRef {
                waiver: signed.id,
                by: terms.by.clone(),
                reason: terms.reason.clone(),
                expires_ms: terms.expires_ms,
            }
        });
    }
}
