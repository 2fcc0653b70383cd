//! The answer: allowed or not, by which policies, and digests that bind all that was considered.

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
    /// SHA-256 over the canonical policy set, its schema and the vault's settings.
    pub policy_digest: Digest,
    /// SHA-256 over the canonical entities: person with roles, vault, artifact.
    pub entities_digest: Digest,
    /// SHA-256 over the canonical request with all its facts.
    pub request_digest: Digest,
}
