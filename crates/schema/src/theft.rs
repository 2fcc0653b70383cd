//! What a thief gets for how many questions.

use serde::{Deserialize, Serialize};

use crate::{digest::Digest, endpoint::QueryLedger};

/// Tag of [`TheftReport`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TheftSchema {
    /// The only version so far.
    #[default]
    #[serde(rename = "ringfence.theft/1")]
    One,
}

/// What `attack theft` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TheftReport {
    /// Always `ringfence.theft/1`.
    pub schema: TheftSchema,
    /// SHA-256 of the model that was stolen from.
    pub model: Digest,
    /// Values of one input.
    pub inputs: u64,
    /// Classes.
    pub classes: u64,
    /// Natural inputs on which fidelity was measured; no thief saw them.
    pub held_out: u64,
    /// Natural inputs that a thief could ask.
    pub natural: u64,
    /// Questions that count as once; residual fidelity is told at 1, 4 and 16 times as many.
    pub unit: u64,
    /// Seed of all random choices.
    pub seed: u64,
    /// One entry for each output level, the most talkative first.
    pub levels: Vec<LevelTheft>,
    /// The network's own weights, where they could be computed from full answers.
    pub extraction: ExtractedNetwork,
    /// Width of the layer before the last, by the rank of full answers.
    pub hidden_size: HiddenSize,
    /// Questions asked for the whole report.
    pub asked: u64,
    /// What the figures cannot tell.
    pub note: String,
    /// What was asked, where the model is behind an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<QueryLedger>,
}

/// What can be stolen through one output level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LevelTheft {
    /// `full`, `rounded-3` (decimals), `top-2` (classes), `label`.
    pub level: String,
    /// Every theft tried, by method and rising number of questions.
    pub runs: Vec<TheftRun>,
    /// The best fidelity with at most 1, 4 and 16 units of questions.
    pub residual: Vec<ResidualFidelity>,
    /// The fewest questions tried that reached a fidelity.
    pub price: Vec<TheftPrice>,
}

/// One theft.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TheftRun {
    /// How: `equation-solving`, `distillation-random`, `distillation-natural`, `distillation-active`.
    pub method: String,
    /// Questions asked.
    pub queries: u64,
    /// Share of held-out inputs that thief and victim give the same class.
    pub fidelity: f64,
    /// Wilson interval at 95 %.
    pub ci95: [f64; 2],
    /// Mean total variation distance of their probabilities on held-out inputs.
    pub distance: f64,
}

/// What is left of a theft when questions are limited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResidualFidelity {
    /// Units: 1, 4 or 16.
    pub times: u64,
    /// So many questions at most.
    pub queries: u64,
    /// The best theft; absent where none could be tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<TheftRun>,
}

/// What a fidelity costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TheftPrice {
    /// The fidelity.
    pub fidelity: f64,
    /// The fewest questions tried that reached it; absent where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queries: Option<u64>,
    /// By which method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Why there is no price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A network of one hidden layer, computed from answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExtractedNetwork {
    /// Hidden units found; absent where there is no such network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden_units: Option<u64>,
    /// Largest difference from the victim on fresh points, as a share of the largest answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<f64>,
    /// Share of held-out inputs with the victim's class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<f64>,
    /// Questions asked.
    pub queries: u64,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Width of the layer before the last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HiddenSize {
    /// The width; absent where it cannot be stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u64>,
    /// Questions asked.
    pub queries: u64,
    /// Why it cannot be stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
