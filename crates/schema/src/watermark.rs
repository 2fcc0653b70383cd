//! Whose model it is: secrets of watermarks, and what a suspect says to them.

use serde::{Deserialize, Serialize};

use crate::{digest::Digest, endpoint::QueryLedger, time::Timestamp};

/// Tag of [`WatermarkSecret`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecretSchema {
    /// The only version so far.
    #[default]
    #[serde(rename = "ringfence.watermark-secret/1")]
    One,
}

/// Tag of [`EmbedReport`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EmbedSchema {
    /// The only version so far.
    #[default]
    #[serde(rename = "ringfence.watermark-embed/1")]
    One,
}

/// Tag of [`WatermarkReport`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WatermarkSchema {
    /// The only version so far.
    #[default]
    #[serde(rename = "ringfence.watermark/1")]
    One,
}

/// All that a watermark is made from. Whoever has it can verify, and can also train the mark away: it stays sealed until it
/// is needed. Triggers, their labels, projections and bits follow from `key` alone.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatermarkSecret {
    /// Always `ringfence.watermark-secret/1`.
    pub schema: SecretSchema,
    /// 32 random bytes in hexadecimal.
    pub key: String,
    /// Shape of one input.
    pub shape: Vec<u64>,
    /// Classes of the marked model.
    pub classes: u64,
    /// Least and greatest value of triggers.
    pub range: [f64; 2],
    /// Trigger inputs.
    pub triggers: u64,
    /// The weights that carry bits, where they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<BitsPlace>,
    /// SHA-256 of the training data as it was when the model was marked (shape, rows and labels in their order), so that nobody
    /// chooses it afterwards for dataset inference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Digest>,
}

impl std::fmt::Debug for WatermarkSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatermarkSecret")
            .field("key", &"[redacted]")
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

/// Weights that carry bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BitsPlace {
    /// Which of the model's parameters, from 0.
    pub parameter: u64,
    /// Its elements.
    pub elements: u64,
    /// How many bits.
    pub bits: u64,
}

/// What `watermark embed` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmbedReport {
    /// Always `ringfence.watermark-embed/1`.
    pub schema: EmbedSchema,
    /// SHA-256 of the model before.
    pub base: Digest,
    /// SHA-256 of the marked model.
    pub model: Digest,
    /// SHA-256 of the secret's canonical JSON (RFC 8785): recorded before the release, it proves that the secret is older.
    pub commitment: Digest,
    /// Passes over the data.
    pub epochs: u64,
    /// Accuracy on examples that were not trained on, before and after.
    pub accuracy: [f64; 2],
    /// Examples that were not trained on.
    pub held_out: u64,
    /// The mark as read from the marked model.
    pub marks: Vec<MarkTest>,
}

/// One test of ownership.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MarkTest {
    /// `trigger-set` or `weight-bits`.
    pub mark: String,
    /// Triggers or bits that agree with the secret.
    pub matches: u64,
    /// Of so many.
    pub trials: u64,
    /// The chance that one agrees in a model that has nothing to do with the secret.
    pub chance: f64,
    /// The chance that so many agree, or more: an exact binomial tail. Absent where the test does not apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What `watermark verify` concludes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ownership {
    /// The mark is there.
    Marked,
    /// It was not found; that does not show that the model is another's.
    NotFound,
    /// No test could be carried out.
    CannotState,
}

/// What `watermark verify` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WatermarkReport {
    /// Always `ringfence.watermark/1`.
    pub schema: WatermarkSchema,
    /// SHA-256 of the suspect.
    pub suspect: Digest,
    /// SHA-256 of the secret's canonical JSON, to be compared with what was recorded.
    pub commitment: Digest,
    /// The conclusion.
    pub verdict: Ownership,
    /// Each test.
    pub tests: Vec<MarkTest>,
    /// Dataset inference, where the data was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<DatasetTest>,
    /// The smallest p-value times the number of tests (Bonferroni), at most 1. Absent where no test applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// The p-value below which the verdict is `marked`.
    pub threshold: f64,
    /// What the figures cannot tell.
    pub note: String,
    /// The entry of a vault's trail that holds the commitment, where one was looked for and found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<RecordedMark>,
    /// What was asked, where the suspect is behind an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<QueryLedger>,
}

/// That a secret's commitment is in a vault's trail: the secret is older than whatever was made after that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedMark {
    /// SHA-256 of the secret's canonical JSON.
    pub commitment: Digest,
    /// The trail's entry.
    pub entry: u64,
    /// Its time.
    pub at: Timestamp,
    /// The version that it was recorded for.
    pub subject: String,
}

/// Whether a model lies farther from its boundaries at the owner's training data than at other data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetTest {
    /// Records of the training data and others.
    pub records: [u64; 2],
    /// Mean distance of both.
    pub distance: [f64; 2],
    /// Welch's t.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t: Option<f64>,
    /// One-sided p-value. Absent where the test does not apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// What it rests on.
    pub note: String,
}
