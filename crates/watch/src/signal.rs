//! The latest value of one measurement, with what is expected of it: what a live line shows.

use ringfence_schema::alert::Basis;
use serde::Serialize;

/// One line of a live view.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Signal {
    /// Its name, as alerts and threshold rules use it: `cpu`, `memory`, `loss` …
    pub name: &'static str,
    /// The latest value; absent until there is one.
    pub value: Option<f64>,
    /// The value's unit.
    pub unit: &'static str,
    /// What is expected, in words.
    pub expected: String,
    /// How it looks.
    pub state: SignalState,
    /// Whose word it is.
    pub basis: Basis,
}

/// How a signal looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SignalState {
    /// Nothing came yet.
    Quiet,
    /// Not enough came to know what is normal.
    Learning,
    /// As expected.
    Normal,
    /// An alert about it is fresh.
    Unusual,
}
