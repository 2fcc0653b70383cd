//! What a privacy test of a model answers, and what private training guarantees.
//!
//! A figure that the sample cannot carry is absent, and a note says why; none is invented.

use serde::{Deserialize, Serialize};

use crate::{digest::Digest, endpoint::QueryLedger};

/// Tag of [`PrivacyReport`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrivacySchema {
    /// The only version so far.
    #[default]
    #[serde(rename = "ringfence.privacy/1")]
    One,
}

/// What the tests together show. None of them can show that nothing leaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leak {
    /// Some test tells training data from other data beyond chance.
    Shown,
    /// None of the tests that ran does.
    NotShown,
    /// No test had enough examples to tell.
    CannotState,
}

/// What `attack privacy` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrivacyReport {
    /// Always `ringfence.privacy/1`.
    pub schema: PrivacySchema,
    /// SHA-256 of the model file.
    pub model: Digest,
    /// Seed of all random choices.
    pub seed: u64,
    /// What the tests together show.
    pub leak: Leak,
    /// Accuracy on members and non-members, 0..1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<MemberAccuracy>,
    /// The models that membership tests compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<References>,
    /// Membership tests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub membership: Vec<MembershipTest>,
    /// Attribute inference, where columns were named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<AttributeInference>,
    /// Model inversion, where it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inversions: Vec<Inversion>,
    /// Canaries of a language model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canaries: Vec<CanaryExposure>,
    /// Memorised sequences of a language model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extraction: Option<Extraction>,
    /// What was asked, where the model is behind an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<QueryLedger>,
}

/// Accuracy on what was trained on and on what was not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberAccuracy {
    /// On members, 0..1.
    pub members: f64,
    /// On non-members, 0..1.
    pub non_members: f64,
}

/// The models that membership tests compare with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct References {
    /// How many.
    pub models: u64,
    /// `trained` (here, on random halves) or `given`.
    pub source: String,
    /// Mean accuracy on what each was trained on; absent where none was trained on any audited example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_in: Option<f64>,
    /// Mean accuracy on what each was not trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_out: Option<f64>,
}

/// One membership test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MembershipTest {
    /// Such as `lira-online`, `rmia-online`, `loss-threshold`.
    pub attack: String,
    /// Area under the ROC curve; absent with fewer than ten examples on either side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auc: Option<f64>,
    /// 95 % interval of `auc` (DeLong).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auc_ci95: Option<[f64; 2]>,
    /// True positive rates at low false positive rates.
    pub tpr_at_fpr: Vec<RateAt>,
    /// The curve as (false positive rate, true positive rate), thinned to a hundred or so points on a logarithmic axis.
    pub roc: Vec<[f64; 2]>,
    /// Members tested.
    pub members: u64,
    /// Non-members tested.
    pub non_members: u64,
    /// Rows of predictions asked of the model under test.
    pub queries: u64,
    /// What it shows.
    pub leak: Leak,
    /// What it can and cannot see.
    pub note: String,
}

/// One operating point of a ROC curve, with its interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateAt {
    /// False positive rate.
    pub fpr: f64,
    /// True positive rate; absent: cannot be stated with fewer non-members than `needs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpr: Option<f64>,
    /// Wilson 95 % interval of `tpr`, for the threshold that was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ci95: Option<[f64; 2]>,
    /// Non-members that stating this rate needs: ten false positives.
    pub needs: u64,
}

/// Guessing an unknown column from the model's answer and the other columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttributeInference {
    /// Places of the column (several for one that is one-hot) among an example's values.
    pub columns: Vec<u64>,
    /// Values that it takes.
    pub values: u64,
    /// Share guessed rightly among members, 0..1.
    pub members: f64,
    /// Its Wilson 95 % interval.
    pub members_ci95: [f64; 2],
    /// Share guessed rightly among non-members: what the columns' correlation gives away without any memory.
    pub non_members: f64,
    /// Its Wilson 95 % interval.
    pub non_members_ci95: [f64; 2],
    /// Share that the commonest value would guess rightly among members.
    pub commonest: f64,
    /// What it shows: whether members are guessed better than non-members.
    pub leak: Leak,
    /// What the figures mean.
    pub note: String,
}

/// What inversion recovered for one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inversion {
    /// The class.
    pub class: u64,
    /// Probability that the model gives to the recovered input.
    pub confidence: f64,
    /// Steps taken.
    pub steps: u64,
    /// Correlation of the recovered input with the mean of the class's members, -1..1; absent without members of the class, or where
    /// either is constant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<f64>,
    /// How many classes' means are more like it: 0 where the right one is most alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u64>,
    /// Name of the picture that was made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
}

/// How far a planted secret stands out among all others of its form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CanaryExposure {
    /// Place of the canary in the file, from 0.
    pub canary: u64,
    /// Exposure in bits: log2 of the number of candidates less log2 of the rank.
    pub exposure: f64,
    /// The most that it could be: log2 of the number of candidates.
    pub most: f64,
    /// Whether `exposure` is only a lower bound, because candidates were sampled and none was likelier.
    pub at_least: bool,
    /// Candidates that were compared.
    pub compared: u64,
    /// Bits in which the model encodes the secret (log-perplexity).
    pub bits: f64,
}

/// Training sequences that the model completes by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Extraction {
    /// Tokens given.
    pub prefix: u64,
    /// Training sequences tried, long enough for a prefix and something after it.
    pub sequences: u64,
    /// Those whose rest came out word for word.
    pub extracted: u64,
    /// Share of `extracted`, 0..1.
    pub rate: f64,
    /// Its Wilson 95 % interval.
    pub ci95: [f64; 2],
    /// Places of the extracted sequences, at most 1,000 of them.
    pub places: Vec<u64>,
    /// The same share over sequences that were not trained on; absent where none were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_rate: Option<f64>,
    /// What the figures mean.
    pub note: String,
}

/// What a private training guarantees, and on what terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DpGuarantee {
    /// `poisson-sampled-gaussian`, or what ran instead.
    pub mechanism: String,
    /// Which data sets count as neighbours.
    pub neighbours: String,
    /// The budget spent, an upper bound; absent where no guarantee was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f64>,
    /// The delta at which it is stated.
    pub delta: f64,
    /// Which accountant states `epsilon`: `rdp` or `prv`.
    pub accountant: String,
    /// Epsilon by Rényi differential privacy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epsilon_rdp: Option<f64>,
    /// Epsilon by privacy random variables: lower bound, estimate, upper bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epsilon_prv: Option<[f64; 3]>,
    /// Standard deviation of the noise in clipping lengths.
    pub noise: f64,
    /// Length to which each example's gradient was clipped.
    pub clip: f64,
    /// Chance of each example to be in a batch.
    pub sampling_rate: f64,
    /// Examples of a batch on average, by which sums were divided.
    pub expected_batch: u64,
    /// Noisy steps.
    pub steps: u64,
    /// Examples trained on.
    pub examples: u64,
    /// What is covered and what is not.
    pub note: String,
}
