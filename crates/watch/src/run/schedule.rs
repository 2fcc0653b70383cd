//! The learning rate that a job claims, against the plan that was signed.

use ringfence_schema::{alert::Basis, event::Progress};

use super::{Sightings, line};
use crate::{Signal, book::Sighting, rules::Kind};

/// A learning rate by step, and how far a claim may be off.
#[derive(Debug, Clone, PartialEq)]
pub struct LearningRatePlan {
    /// The rate by step.
    pub curve: RateCurve,
    /// Relative tolerance; .01 is one percent.
    pub tolerance: f64,
}

/// How a learning rate goes by optimiser step.
#[derive(Debug, Clone, PartialEq)]
pub enum RateCurve {
    /// Always the same.
    Constant(f64),
    /// `(step, rate)`: from that step on; rising steps. Before the first step, the first rate.
    Steps(Vec<(u64, f64)>),
    /// Rises to `peak` over `warmup` steps, then falls in a straight line to `end` at step `total`.
    Linear {
        /// Highest rate.
        peak: f64,
        /// Steps until it is reached.
        warmup: u64,
        /// Step at which the end is reached.
        total: u64,
        /// Last rate.
        end: f64,
    },
    /// Rises to `peak` over `warmup` steps, then falls as half a cosine to `end` at step `total`
    /// (Loshchilov and Hutter 2017, equation 5, without restarts).
    Cosine {
        /// Highest rate.
        peak: f64,
        /// Steps until it is reached.
        warmup: u64,
        /// Step at which the end is reached.
        total: u64,
        /// Last rate.
        end: f64,
    },
}

impl RateCurve {
    /// The rate at a step.
    pub fn at(&self, step: u64) -> f64 {
        let decayed = |peak: f64, warmup: u64, total: u64, end: f64, shape: fn(f64) -> f64| {
            if step < warmup {
                return peak * step as f64 / warmup.max(1) as f64;
            }
            let span = total.saturating_sub(warmup).max(1) as f64;
            let done = (step.saturating_sub(warmup) as f64 / span).min(1.0);
            end + (peak - end) * shape(done)
        };
        match self {
            Self::Constant(rate) => *rate,
            Self::Steps(steps) => {
                let reached = steps.iter().rev().find(|(from, _)| *from <= step).or(steps.first());
                reached.map_or(0.0, |(_, rate)| *rate)
            }
            Self::Linear { peak, warmup, total, end } => decayed(*peak, *warmup, *total, *end, |done| 1.0 - done),
            Self::Cosine { peak, warmup, total, end } => {
                decayed(*peak, *warmup, *total, *end, |done| 0.5 * (1.0 + (std::f64::consts::PI * done).cos()))
            }
        }
    }

    /// Lowest and highest rate over a span of steps; exact at its ends and at every bend within.
    fn range(&self, from: u64, to: u64) -> (f64, f64) {
        let bends: Vec<u64> = match self {
            Self::Constant(_) => Vec::new(),
            Self::Steps(steps) => steps.iter().map(|(step, _)| *step).collect(),
            Self::Linear { warmup, total, .. } | Self::Cosine { warmup, total, .. } => vec![*warmup, *total],
        };
        let inside = bends.into_iter().filter(|bend| (from..=to).contains(bend));
        inside
            .chain([from, to])
            .map(|step| self.at(step))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), rate| (low.min(rate), high.max(rate)))
    }
}

/// Follows the claimed rate.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    plan: Option<LearningRatePlan>,
    last: Option<f64>,
    last_step: u64,
    off: u32,
    since_ms: u64,
    expected: Option<(f64, f64)>,
}

impl Schedule {
    pub(super) fn new(plan: Option<LearningRatePlan>) -> Self {
        let plan = plan.map(|mut plan| {
            if let RateCurve::Steps(steps) = &mut plan.curve {
                steps.truncate(STEPS_MAX);
            }
            plan
        });
        Self { plan, last: None, last_step: 0, off: 0, since_ms: 0, expected: None }
    }

    pub(super) fn progress(&mut self, at_ms: u64, progress: &Progress, found: &mut Sightings) {
        let step = progress.step.unwrap_or(self.last_step);
        let before = std::mem::replace(&mut self.last_step, step);
        let Some(rate) = progress.learning_rate.filter(|rate| rate.is_finite()) else { return };
        self.last = Some(rate);
        let Some(plan) = &self.plan else { return };
        // A log may name the rate of the step before or after; one that names no steps may be anywhere.
        let slack = step.saturating_sub(before).max(1);
        let (low, high) = if progress.step.is_some() {
            plan.curve.range(step.saturating_sub(slack), step.saturating_add(1))
        } else {
            plan.curve.range(0, u64::MAX)
        };
        self.expected = Some((low, high));
        // Half of the last printed digit of four comes on top.
        let room = plan.tolerance.max(PRINTED) * high.abs().max(f64::MIN_POSITIVE);
        let fits = (low - room..=high + room).contains(&rate);
        if fits {
            self.off = 0;
            return;
        }
        if self.off == 0 {
            self.since_ms = at_ms;
        }
        self.off = self.off.saturating_add(1);
        let far = rate > 2.0 * high + room;
        if self.off >= 2 || far {
            found.push(Sighting {
                kind: Kind::LearningRate,
                signal: "learning-rate".to_owned(),
                severity: None,
                basis: Basis::Claimed,
                expected: format!("{low:.3e} to {high:.3e} at step {step}, by the plan"),
                seen: format!("{rate:.3e}"),
                since: found.moment(self.since_ms),
                confidence: if self.off >= 3 { 0.999 } else { 0.98 },
                message: format!("the learning rate at step {step} is not the plan's"),
            });
        }
    }

    pub(super) fn signals(&self, signals: &mut Vec<Signal>) {
        let expected = match (&self.plan, self.expected) {
            (None, _) => Some("no plan".to_owned()),
            (Some(_), None) => None,
            (Some(_), Some((low, high))) => Some(format!("{low:.3e} to {high:.3e}")),
        };
        signals.push(line("learning-rate", "", self.last, expected, Basis::Claimed));
    }
}

/// Steps of a plan that are kept.
const STEPS_MAX: usize = 1_024;
/// Logs print about three digits.
const PRINTED: f64 = 0.005;
