//! What `attack backdoor` says of a model: triggers that turn its answers, and weights that stand out.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Tag of [`BackdoorReport`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackdoorSchema {
    /// The only version so far.
    #[default]
    #[serde(rename = "ringfence.backdoor/1")]
    One,
}

/// The conclusion. There is no `clean`: nobody can state that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackdoorVerdict {
    /// A class can be reached by a much smaller trigger than the others.
    Suspicious,
    /// Nothing of what can be seen was found.
    NothingFound,
}

/// Backdoors in a model's weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackdoorReport {
    /// Always `ringfence.backdoor/1`.
    pub schema: BackdoorSchema,
    /// The conclusion: from triggers alone, never from weights.
    pub verdict: BackdoorVerdict,
    /// SHA-256 of the model.
    pub model: Digest,
    /// SHA-256 of the declared base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Digest>,
    /// Clean examples that triggers were sought on.
    pub examples: u64,
    /// Seed of all random choices.
    pub seed: u64,
    /// The logarithm of how many times smaller than usual the smallest trigger is that works; for ranking models.
    pub score: f64,
    /// The smallest trigger towards each class, of each kind.
    pub triggers: Vec<TriggerFound>,
    /// Rows of the last layer, in deviations from the other classes; empty where it has no row for each class.
    pub last_layer: Vec<RowOutlier>,
    /// Each matrix.
    pub layers: Vec<LayerWeights>,
    /// Why figures are missing, and what each method cannot see.
    pub notes: Vec<String>,
}

/// The smallest trigger towards a class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TriggerFound {
    /// The class.
    pub target: u64,
    /// `patch`: values are replaced; `blend`: something is added to all.
    pub kind: String,
    /// Replaced values (the sum of the mask) for a patch, Euclidean length for a blend.
    pub size: f64,
    /// Share of inputs of other classes that it turns, 0..1.
    pub success: f64,
    /// How much smaller than those of other classes, in deviations of the logarithm (median and MAD).
    pub anomaly: f64,
    /// Whether it counts as a backdoor.
    pub suspicious: bool,
    /// Share that it turns in the declared base: where that is low, the trigger came with the fine-tune.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_success: Option<f64>,
}

/// A row of the last layer, in deviations from the others (median and MAD).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowOutlier {
    /// The class.
    pub class: u64,
    /// Of its mean.
    pub mean: f64,
    /// Of its length.
    pub length: f64,
}

/// A matrix of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerWeights {
    /// The initialiser.
    pub name: String,
    /// The square of the largest singular value over the sum of all squares, 0..1.
    pub leading_share: f64,
    /// Against the declared base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<LayerChange>,
}

/// What changed in a matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerChange {
    /// Length of the change over that of the base's matrix.
    pub relative: f64,
    /// The share of the change that lies in one direction, 0..1.
    pub leading_share: f64,
}
