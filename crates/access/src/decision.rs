//! The answer: allowed or not, by which policies, and digests that bind all that was considered.

use std::fmt::Write as _;

use ringfence_schema::Digest;
use serde::{Deserialize, Serialize};

/// Id of the reason where no policy permits.
pub const NOTHING_PERMITS: &str = "nothing-permits";
/// Id of the reason where deciding failed.
pub const COULD_NOT_DECIDE: &str = "could-not-decide";

/// One policy that decided, in plain words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reason {
    /// Stable policy id, such as `release-needs-scan`, or one of this module's constants.
    pub policy: String,
    /// What it says.
    pub says: String,
    /// What exactly is missing, where the policy needs evidence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<String>,
}

/// What [`crate::Policies::decide`] answers.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether it may be done.
    pub allow: bool,
    /// The policies that decided, sorted by id; never empty.
    pub reasons: Vec<Reason>,
    /// Where it is denied: the policies that would have permitted it, sorted by id. A denial without any is one that
    /// another role could change; with some, only what the reasons ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outweighed: Vec<Reason>,
    /// SHA-256 over the canonical policy set, its schema and the vault's settings.
    pub policy_digest: Digest,
    /// SHA-256 over the canonical entities: person with roles, vault, artifact.
    pub entities_digest: Digest,
    /// SHA-256 over the canonical request with all its facts.
    pub request_digest: Digest,
}

impl Decision {
    /// The policies that permit, whether or not they prevailed.
    pub fn permitting(&self) -> &[Reason] {
        if self.allow { &self.reasons } else { &self.outweighed }
    }

    /// The policies that forbid; empty where the only thing missing is a policy that permits, and where deciding failed.
    pub fn forbidding(&self) -> impl Iterator<Item = &Reason> {
        let forbid = |reason: &&Reason| ![NOTHING_PERMITS, COULD_NOT_DECIDE].contains(&reason.policy.as_str());
        self.reasons.iter().filter(move |reason| !self.allow && forbid(reason))
    }

    /// The whole answer as people read it: the verdict, then one line a policy with what is missing.
    pub fn explained(&self) -> String {
        let mut text = String::from(if self.allow { "allowed" } else { "denied" });
        let line = |text: &mut String, word: &str, reason: &Reason| {
            let _ = write!(text, "\n  {word} `{}`: {}", reason.policy, reason.says);
            for detail in &reason.detail {
                let _ = write!(text, "\n    {detail}");
            }
        };
        for reason in &self.reasons {
            let ours = [NOTHING_PERMITS, COULD_NOT_DECIDE].contains(&reason.policy.as_str());
            line(
                &mut text,
                if self.allow {
                    "permitted by"
                } else if ours {
                    "because"
                } else {
                    "forbidden by"
                },
                reason,
            );
        }
        for reason in &self.outweighed {
            line(&mut text, "although permitted by", reason);
        }
        text
    }
}
