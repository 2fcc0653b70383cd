//! What `screen --model` says of records that a model finds strange.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Tag of [`SuspectReport`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SuspectSchema {
    /// The only version so far.
    #[default]
    #[serde(rename = "ringfence.suspect/1")]
    One,
}

/// Records that may have been changed against a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuspectReport {
    /// Always `ringfence.suspect/1`.
    pub schema: SuspectSchema,
    /// SHA-256 of the model that looked.
    pub model: Digest,
    /// Records looked at.
    pub records: u64,
    /// Records that repeat an earlier one exactly.
    #[serde(default)]
    pub duplicates: u64,
    /// Clean records that the threshold comes from; absent where it comes from the bulk of the records themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// Share of natural records that the threshold was set for. With a reference at most that much
    /// in 9 of 10 references of that size; extrapolated without.
    pub false_positives: f64,
    /// The score above which a record is suspect.
    pub threshold: f64,
    /// The suspect records, the strangest first.
    pub suspects: Vec<SuspectRecord>,
    /// What this screening cannot see.
    pub blind_to: Vec<String>,
}

/// A record that the model finds strange.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuspectRecord {
    /// Counted from 0.
    pub record: u64,
    /// How rare it is: the greatest negative logarithm of the share of natural records that lie as far out in a statistic, and
    /// the mean over all statistics.
    pub score: f64,
    /// The statistic that is rarest.
    pub statistic: String,
    /// What the model takes it for.
    pub predicted: u64,
    /// Its own label, where records have some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<u64>,
}
