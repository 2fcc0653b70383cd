//! `[run.watch]`: what the plan promises of a training, for the watch to hold it to.

use ringfence_watch::run::{LearningRatePlan, RateCurve, Reports};
use serde::Deserialize;

/// `[run.watch]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WatchTable {
    /// The learning rate by step.
    #[serde(default)]
    pub learning_rate: Option<RateTable>,
    /// Whether the job says how it goes: `expected` or `silent`.
    #[serde(default)]
    pub reports: ReportsWord,
    /// Records are read in the dataset's order: labels are then compared once an epoch.
    #[serde(default)]
    pub ordered: bool,
    /// The job resamples or relabels on purpose: labels are not compared with the dataset's.
    #[serde(default)]
    pub resamples: bool,
}

/// How much a job says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReportsWord {
    /// Not known.
    #[default]
    Unknown,
    /// It reports progress.
    Expected,
    /// It reports none.
    Silent,
}

impl From<ReportsWord> for Reports {
    fn from(word: ReportsWord) -> Self {
        match word {
            ReportsWord::Unknown => Self::Unknown,
            ReportsWord::Expected => Self::Expected,
            ReportsWord::Silent => Self::Silent,
        }
    }
}

/// `learning-rate`: a curve, with how far a claim may be off.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "curve")]
pub enum RateTable {
    /// Always the same.
    Constant {
        /// The rate.
        rate: f64,
        /// Relative tolerance.
        #[serde(default = "one_percent")]
        tolerance: f64,
    },
    /// A rate from each step on.
    Steps {
        /// `[step, rate]`, by rising steps.
        at: Vec<(u64, f64)>,
        /// Relative tolerance.
        #[serde(default = "one_percent")]
        tolerance: f64,
    },
    /// Up to `peak`, then down in a straight line.
    Linear {
        /// Highest rate.
        peak: f64,
        /// Steps until it is reached.
        #[serde(default)]
        warmup: u64,
        /// Step at which the end is reached.
        total: u64,
        /// Last rate.
        #[serde(default)]
        end: f64,
        /// Relative tolerance.
        #[serde(default = "one_percent")]
        tolerance: f64,
    },
    /// Up to `peak`, then down as half a cosine.
    Cosine {
        /// Highest rate.
        peak: f64,
        /// Steps until it is reached.
        #[serde(default)]
        warmup: u64,
        /// Step at which the end is reached.
        total: u64,
        /// Last rate.
        #[serde(default)]
        end: f64,
        /// Relative tolerance.
        #[serde(default = "one_percent")]
        tolerance: f64,
    },
}

fn one_percent() -> f64 {
    0.01
}

impl RateTable {
    /// The plan as the watch takes it.
    pub fn plan(&self) -> LearningRatePlan {
        let (curve, tolerance) = match self.clone() {
            Self::Constant { rate, tolerance } => (RateCurve::Constant(rate), tolerance),
            Self::Steps { at, tolerance } => (RateCurve::Steps(at), tolerance),
            Self::Linear { peak, warmup, total, end, tolerance } => {
                (RateCurve::Linear { peak, warmup, total, end }, tolerance)
            }
            Self::Cosine { peak, warmup, total, end, tolerance } => {
                (RateCurve::Cosine { peak, warmup, total, end }, tolerance)
            }
        };
        LearningRatePlan { curve, tolerance }
    }

    fn check(&self) -> Result<(), String> {
        let (rates, tolerance): (Vec<f64>, f64) = match self {
            Self::Constant { rate, tolerance } => (vec![*rate], *tolerance),
            Self::Steps { at, tolerance } => {
                if at.is_empty() || at.len() > STEPS_MAX || !at.is_sorted_by(|a, b| a.0 < b.0) {
                    return Err(format!(
                        "`run.watch.learning-rate.at` must list 1 to {STEPS_MAX} steps in rising order"
                    ));
                }
                (at.iter().map(|(_, rate)| *rate).collect(), *tolerance)
            }
            Self::Linear { peak, warmup, total, end, tolerance }
            | Self::Cosine { peak, warmup, total, end, tolerance } => {
                if warmup > total {
                    return Err("`run.watch.learning-rate`: `warmup` is longer than `total`".into());
                }
                (vec![*peak, *end], *tolerance)
            }
        };
        if rates.into_iter().chain([tolerance]).any(|number| !number.is_finite() || number < 0.0) {
            return Err("`run.watch.learning-rate`: rates and tolerance must be numbers from 0 up".into());
        }
        Ok(())
    }
}

impl WatchTable {
    pub(super) fn check(&self) -> Result<(), String> {
        self.learning_rate.as_ref().map_or(Ok(()), RateTable::check)
    }
}

/// Most steps of a learning rate.
const STEPS_MAX: usize = 1_000;
