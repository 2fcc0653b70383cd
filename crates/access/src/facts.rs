//! The facts that a gate reads: what is known of each kind of evidence, exemptions, approvals and figures.
//!
//! [`EvidenceFacts::of`] turns a statement into facts. Whether its signature holds and whether it is in the trail is told
//! by the caller, who has the keys and the log; every default here is the one that refuses.

use std::collections::BTreeSet;

use ringfence_schema::{
    Digest, Timestamp,
    canon::{self, CanonError},
    evidence::{Evidence, EvidenceKind, EvidenceVerdict, Statement},
};
use serde::{Deserialize, Serialize};

use crate::factors::LoginStrength;

/// How far ahead of the reader's clock evidence may be dated, in milliseconds.
pub const CLOCK_SKEW_MS_MAX: u64 = 5 * 60 * 1_000;

/// What is known of the newest evidence of one kind. The default is: there is none.
///
/// INVARIANT: fields stand in alphabetical order, so that the plain encoding is the canonical one.
#[expect(clippy::struct_excessive_bools, reason = "each is an attribute of its own in the policy schema")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceFacts {
    /// How old it is, in milliseconds.
    pub age_ms: u64,
    /// Its verdict blocks, however much of the subject it covers.
    pub blocks: bool,
    /// It covers all of its subject.
    pub complete: bool,
    /// It has not expired.
    pub fresh: bool,
    /// It is in the trail.
    pub in_trail: bool,
    /// Its verdict lets pass.
    pub passes: bool,
    /// There is one.
    pub present: bool,
    /// Its signer's key may issue it.
    pub signer_allowed: bool,
    /// It speaks of exactly the artifact in question, in this vault.
    pub subject_matches: bool,
}

/// What [`EvidenceFacts::of`] holds a statement against.
#[derive(Debug, Clone, Copy)]
pub struct Bearing<'a> {
    /// The vault in which the gate stands.
    pub vault: &'a str,
    /// The artifact in question.
    pub subject: Digest,
    /// The moment of the decision.
    pub now: Timestamp,
    /// Whether the envelope's inclusion in the trail was shown.
    pub in_trail: bool,
    /// Whether the envelope's signature holds under a key that may issue this kind, at that index of the trail.
    pub signer_allowed: bool,
}

impl EvidenceFacts {
    /// The facts of `statement`, whose predicate must be an [`Evidence`] of `kind`; anything else counts as present and
    /// fit for nothing. Provenance has another predicate: its facts are put together by whoever reads it.
    pub fn of(kind: EvidenceKind, statement: &Statement, bearing: &Bearing<'_>) -> Self {
        let evidence = (statement.kind() == Some(kind))
            .then(|| serde_json::from_value::<Evidence>(statement.predicate.clone()).ok())
            .flatten();
        let Some(evidence) = evidence else { return Self { present: true, ..Self::default() } };
        // One subject exactly: a statement on several artifacts says of none that all of it was covered.
        let speaks_of = match statement.subject.as_slice() {
            [subject] => subject.sha256() == Some(bearing.subject),
            _ => false,
        };
        let now = bearing.now;
        Self {
            present: true,
            complete: evidence.complete && evidence.verdict != EvidenceVerdict::Incomplete,
            passes: evidence.verdict == EvidenceVerdict::Pass,
            blocks: evidence.verdict == EvidenceVerdict::Block,
            fresh: now < evidence.expires_ms && evidence.issued_ms <= now.plus_millis(CLOCK_SKEW_MS_MAX),
            subject_matches: speaks_of && evidence.vault == bearing.vault,
            in_trail: bearing.in_trail,
            signer_allowed: bearing.signer_allowed,
            age_ms: now.millis().saturating_sub(evidence.issued_ms.millis()),
        }
    }

    /// What keeps it from counting, in plain words.
    pub fn shortfalls(&self) -> impl Iterator<Item = &'static str> {
        let present = self.present;
        let wrong = [
            (present, "there is none"),
            (!present || self.subject_matches, "it speaks of other bytes or another vault"),
            (!present || self.complete, "it does not cover everything"),
            (!present || self.passes, "its verdict is not a pass"),
            (!present || self.fresh, "it has expired, or is older than the policy accepts"),
            (!present || self.in_trail, "it is not in the trail"),
            (!present || self.signer_allowed, "its signer may not issue it"),
        ];
        wrong.into_iter().filter_map(|(holds, words)| (!holds).then_some(words))
    }
}

/// Controls that whoever adds an artifact asked to leave out. Asking is recorded; the vault's policy decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exemptions {
    /// `--no-scan`.
    pub no_scan: bool,
    /// `--no-screen`.
    pub no_screen: bool,
}

/// What confines a run, or confined the run that a release came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxLevel {
    /// Nothing, or it is not known.
    #[default]
    None,
    /// Landlock and seccomp.
    Landlock,
    /// Namespaces on top of them.
    NoCgroup,
    /// Control groups on top of those.
    Full,
}

impl SandboxLevel {
    /// The name in policies and provenance.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Landlock => "landlock",
            Self::NoCgroup => "no-cgroup",
            Self::Full => "full",
        }
    }
}

/// All that a gate reads. The default knows nothing and passes no gate.
///
/// Fields that a record of an earlier version lacks read as the default, and a default is not written: so what was
/// recorded before they existed keeps its digest.
///
/// INVARIANT: fields stand in alphabetical order, so that the plain encoding is the canonical one.
#[expect(clippy::struct_excessive_bools, reason = "each is an attribute of its own in the policy schema")]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Id of the person whose factors or roles are to be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Ids of the people who signed an approval of exactly this request.
    #[serde(default)]
    pub approvals: BTreeSet<String>,
    /// Of an approval: whoever asks was enrolled, or had factors reset, by the one whose request it is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub beholden: bool,
    /// Whoever asks has broken the glass, and the time for that is not over.
    #[serde(default, skip_serializing_if = "is_false")]
    pub break_glass: bool,
    /// Of an export: what leaves is the signed bundle of a release, and nothing else.
    #[serde(default, skip_serializing_if = "is_false")]
    pub bundle: bool,
    /// Clean accuracy lost against the base model, in thousandths; a gain is negative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clean_drop_permille: Option<i32>,
    /// Ids of people whom the requester enrolled, or whose factors the requester reset: their approvals do not count.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dependants: BTreeSet<String>,
    /// A live engagement appoints whoever asks to attack this resource.
    #[serde(default, skip_serializing_if = "is_false")]
    pub engaged: bool,
    /// Of a request for approval: whoever asks could do it, were it not for the approvals. Of an approval: some policy
    /// permits what is asked for to the roles of whoever approves.
    #[serde(default, skip_serializing_if = "is_false")]
    pub entitled: bool,
    /// Controls that were asked to be left out.
    #[serde(default)]
    pub exempt: Exemptions,
    /// Records that screening removed, in thousandths of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filtered_permille: Option<u32>,
    /// Whoever asks has no second factor yet and came by a setup or invitation token that is good for enrolling one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub first_enrolment: bool,
    /// The request comes from inside a sandboxed run that this vault started.
    #[serde(default, skip_serializing_if = "is_false")]
    pub in_run: bool,
    /// How strongly whoever asks has logged in.
    #[serde(default, skip_serializing_if = "LoginStrength::is_any")]
    pub login: LoginStrength,
    /// Milliseconds since whoever asks last proved a second factor; `None`: never in this session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mfa_age_ms: Option<u64>,
    /// The provenance of the run that made the artifact.
    #[serde(default)]
    pub provenance: EvidenceFacts,
    /// Id of the person whose request is being reviewed; `None`: whoever asks now.
    #[serde(default)]
    pub requester: Option<String>,
    /// A person's decision on what was held.
    #[serde(default)]
    pub review: EvidenceFacts,
    /// Worst accuracy under attack, in thousandths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub robust_accuracy_permille: Option<u32>,
    /// The newest robustness card; it passes where its verdict is `sound`.
    #[serde(default)]
    pub robustness: EvidenceFacts,
    /// What confines the run, or confined the one that is being released.
    #[serde(default)]
    pub sandbox: SandboxLevel,
    /// The newest model scan.
    #[serde(default)]
    pub scan: EvidenceFacts,
    /// The newest dataset screening.
    #[serde(default)]
    pub screen: EvidenceFacts,
    /// Findings that people waived.
    #[serde(default)]
    pub waived: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// The greatest whole number up to which a double has them all (RFC 8785 §3.2.2.3).
const EXACT_MAX: u64 = 1 << 53;

impl Facts {
    /// Whether the plain encoding is the canonical one (RFC 8785): every number is exact in a double.
    pub(crate) fn is_exact(&self) -> bool {
        let evidence = [&self.scan, &self.screen, &self.provenance, &self.robustness, &self.review];
        let ages = evidence.into_iter().map(|facts| facts.age_ms);
        ages.chain([self.waived, self.mfa_age_ms.unwrap_or(0)]).all(|number| number <= EXACT_MAX)
    }

    /// The canonical form (RFC 8785).
    pub fn to_canonical(&self) -> Result<Vec<u8>, CanonError> {
        if self.is_exact() { Ok(serde_json::to_vec(self)?) } else { canon::to_canonical(self) }
    }

    /// The facts on evidence of `kind`; a release statement is an output, so there are none of it.
    pub fn evidence(&self, kind: EvidenceKind) -> Option<&EvidenceFacts> {
        match kind {
            EvidenceKind::Scan => Some(&self.scan),
            EvidenceKind::Screen => Some(&self.screen),
            EvidenceKind::Provenance => Some(&self.provenance),
            EvidenceKind::Robustness => Some(&self.robustness),
            EvidenceKind::Review => Some(&self.review),
            EvidenceKind::Release => None,
        }
    }

    /// Sets the facts on evidence of `kind`; there is no place for a release statement.
    pub fn set_evidence(&mut self, kind: EvidenceKind, facts: EvidenceFacts) {
        match kind {
            EvidenceKind::Scan => self.scan = facts,
            EvidenceKind::Screen => self.screen = facts,
            EvidenceKind::Provenance => self.provenance = facts,
            EvidenceKind::Robustness => self.robustness = facts,
            EvidenceKind::Review => self.review = facts,
            EvidenceKind::Release => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_up_to_two_to_the_53rd() {
        let setters: [fn(&mut Facts, u64); 7] = [
            |facts, number| facts.scan.age_ms = number,
            |facts, number| facts.screen.age_ms = number,
            |facts, number| facts.provenance.age_ms = number,
            |facts, number| facts.robustness.age_ms = number,
            |facts, number| facts.review.age_ms = number,
            |facts, number| facts.waived = number,
            |facts, number| facts.mfa_age_ms = Some(number),
        ];
        for (at, set) in setters.iter().enumerate() {
            for (number, exact) in [(9_007_199_254_740_992, true), (9_007_199_254_740_993, false)] {
                let mut facts = Facts::default();
                set(&mut facts, number);
                assert_eq!(facts.is_exact(), exact, "{at}: {number}");
                assert_eq!(facts.to_canonical().ok(), canon::to_canonical(&facts).ok(), "{at}: {number}");
            }
        }
    }
}
