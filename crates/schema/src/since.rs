//! What a model withstands beside an earlier one, example by example.

use serde::{Deserialize, Serialize};

use crate::{digest::Digest, report::AttackReport};

/// All that decides, beside the model and the seed, what an attack finds. Two cards with equal ones asked the same of the same
/// examples, so that their examples can be paired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackSetup {
    /// What attacked, with its version.
    pub tool: String,
    /// SHA-256 of the examples as they were attacked: shape, values (f32, little endian) and labels (u64, little endian).
    pub data: Digest,
    /// Least and greatest valid input.
    pub range: [f64; 2],
    /// Radii, rising.
    pub eps: Vec<f64>,
    /// The radius of the costly checks.
    pub at: f64,
    /// `linf`, `l2`, …
    pub norm: String,
    /// `quick` or `standard`.
    pub battery: String,
    /// Attacks besides, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attacks: Vec<String>,
    /// PGD steps.
    pub steps: u64,
    /// PGD restarts.
    pub restarts: u64,
    /// The class that inputs were to be taken for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<u64>,
    /// Values that a stored input can take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<u64>,
    /// Places of whole numbers among the values of an example.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub integer: Vec<u64>,
    /// Places that cannot be changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub immutable: Vec<u64>,
    /// Whether accuracy was measured on corrupted pictures too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub corruptions: bool,
    /// Rows of predictions and gradients that might be asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queries: Option<u64>,
}

/// Tag of [`SinceReport`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SinceSchema {
    /// The only version so far.
    #[default]
    #[serde(rename = "ringfence.since/1")]
    One,
}

/// What a comparison with an earlier model concludes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drop {
    /// The model withstands less than the earlier one.
    Dropped,
    /// That was not shown; the intervals say how large a drop may still be.
    NotShown,
    /// Nothing can be said.
    CannotState,
}

impl Drop {
    /// As written in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::NotShown => "not-shown",
            Self::CannotState => "cannot-state",
        }
    }
}

/// Both models at one radius.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairedRadius {
    /// `linf`, `l2`, …
    pub norm: String,
    /// Radius in the unit of the models' input.
    pub eps: f64,
    /// Worst case of the earlier model, 0..1.
    pub earlier: f64,
    /// Its Wilson 95 % interval.
    pub earlier_ci95: [f64; 2],
    /// Worst case of the model, 0..1.
    pub now: f64,
    /// Its Wilson 95 % interval.
    pub now_ci95: [f64; 2],
    /// Examples that stood in the earlier model and fall in this one.
    pub lost: u64,
    /// Examples that fell in the earlier model and stand in this one.
    pub won: u64,
    /// `now` less `earlier`.
    pub difference: f64,
    /// Its 95 % interval for paired shares (Newcombe 1998, method 10).
    pub difference_ci95: [f64; 2],
    /// The chance that so many of the examples in which both differ were lost, or more, if losing and winning were equally likely
    /// (McNemar's test, exact and one-sided).
    pub p_value: f64,
}

/// What `attack --since` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SinceReport {
    /// Always `ringfence.since/1`.
    pub schema: SinceSchema,
    /// The conclusion.
    pub verdict: Drop,
    /// Why nothing can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What the models are called.
    pub model: String,
    /// See `model`.
    pub earlier: String,
    /// Whether the earlier card was taken from the vault's evidence rather than made anew.
    pub recorded: bool,
    /// Each radius, rising; none where examples cannot be paired.
    pub radii: Vec<PairedRadius>,
    /// The smallest p-value times the number of radii (Bonferroni), at most 1. Absent where nothing can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// The p-value below which the verdict is `dropped`.
    pub threshold: f64,
    /// The model's card.
    pub card: Box<AttackReport>,
    /// The earlier model's card.
    pub earlier_card: Box<AttackReport>,
}
