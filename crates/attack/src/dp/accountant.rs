//! What private training costs: the epsilon that so many noisy steps spend at a given delta.
//!
//! One step looks at each example with the sampling rate and adds noise of the noise multiplier times the clipping norm: the Poisson
//! sampled Gaussian mechanism, with neighbours that differ in one example more or less. Two accountants:
//! [`rdp`] (Mironov, Talwar and Zhang 2019) and [`prv`], tighter, in a module of its own. Both state an upper bound.
//! [`Accountant::noise_for`] goes the other way.

use serde::{Deserialize, Serialize};

use super::{prv::prv, special::ln_erfc};
use crate::error::AttackError;

/// A training as accountants see it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spending {
    /// Standard deviation of the noise in clipping norms, above 0.
    pub noise: f64,
    /// Chance of each example to be in a step's batch, above 0 and at most 1.
    pub rate: f64,
    /// Noisy steps, at least 1.
    pub steps: u64,
    /// The delta at which epsilon is stated, above 0 and below 1.
    pub delta: f64,
}

impl Spending {
    /// Refuses what no accountant can count.
    pub(super) fn check(&self) -> Result<(), AttackError> {
        let wrong = |name, value: f64, allowed: &str| Err(AttackError::plan(name, value.to_string(), allowed));
        if !(self.noise >= NOISE_MIN && self.noise.is_finite()) {
            return wrong("noise", self.noise, "finite and at least 0.01; without noise there is no epsilon");
        }
        if !(self.rate > 0.0 && self.rate <= 1.0) {
            return wrong("sampling rate", self.rate, "above 0, at most 1");
        }
        if !(self.delta > 0.0 && self.delta < 1.0) {
            return wrong("delta", self.delta, "above 0, below 1");
        }
        if self.steps == 0 || self.steps > STEPS_MAX {
            return Err(AttackError::plan("steps", self.steps.to_string(), format!("1 to {STEPS_MAX}")));
        }
        Ok(())
    }
}

/// Which accountant states epsilon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accountant {
    /// Rényi differential privacy: quick, for any number of steps.
    #[default]
    Rdp,
    /// Privacy random variables: tighter, refused where epsilon is beyond use.
    Prv,
}

impl Accountant {
    /// The epsilon of `spending`, an upper bound.
    pub fn epsilon(self, spending: &Spending) -> Result<f64, AttackError> {
        match self {
            Self::Rdp => rdp(spending).map(|found| found.epsilon),
            Self::Prv => prv(spending).map(|found| found.upper),
        }
    }

    /// The least noise (to a thousandth) with which `spending` stays within `epsilon`; its own noise is not read.
    pub fn noise_for(self, epsilon: f64, spending: &Spending) -> Result<f64, AttackError> {
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            return Err(AttackError::plan("epsilon", epsilon.to_string(), "finite and above 0"));
        }
        let spent = |noise: f64| -> Result<f64, AttackError> {
            match self.epsilon(&Spending { noise, ..*spending }) {
                // Noise so small that the figure cannot be computed is too small in any case.
                Err(AttackError::Unaccountable { .. }) => Ok(f64::INFINITY),
                other => other,
            }
        };
        let mut high = NOISE_MIN * 64.0;
        while spent(high)? > epsilon {
            high *= 2.0;
            if high > NOISE_SEARCH_MAX {
                return Err(AttackError::plan(
                    "epsilon",
                    epsilon.to_string(),
                    "within reach: this many steps spend more at any sensible noise; fewer epochs or a smaller batch spend less",
                ));
            }
        }
        let mut low = if high > NOISE_MIN * 64.0 { high / 2.0 } else { NOISE_MIN };
        while high - low > NOISE_PRECISION {
            let middle = f64::midpoint(low, high);
            if spent(middle)? > epsilon { low = middle } else { high = middle }
        }
        Ok(high)
    }
}

/// What [`rdp`] states.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Renyi {
    /// The budget spent.
    pub epsilon: f64,
    /// The order of the divergence that gives it.
    pub order: f64,
}

/// Epsilon by Rényi differential privacy: the divergence of the sampled Gaussian mechanism (Mironov, Talwar and Zhang 2019, section
/// 3.3), converted after Balle et al. 2020, theorem 21, over the orders that Opacus takes too: 1.1 to 10.9 in tenths, 12 to 63.
pub fn rdp(spending: &Spending) -> Result<Renyi, AttackError> {
    spending.check()?;
    let orders = (1..100).map(|tenth| 1.0 + f64::from(tenth) / 10.0).chain((12..64).map(f64::from));
    let mut best = Renyi { epsilon: f64::INFINITY, order: 0.0 };
    for order in orders {
        let divergence = divergence(spending.rate, spending.noise, order) * spending.steps as f64;
        let epsilon = divergence - (spending.delta.ln() + order.ln()) / (order - 1.0) + ((order - 1.0) / order).ln();
        if epsilon < best.epsilon {
            best = Renyi { epsilon, order };
        }
    }
    if best.epsilon.is_finite() {
        Ok(Renyi { epsilon: best.epsilon.max(0.0), ..best })
    } else {
        Err(AttackError::Unaccountable { accountant: "RDP", problem: "no order has a finite divergence" })
    }
}

/// The Rényi divergence of one step at `order`.
fn divergence(rate: f64, noise: f64, order: f64) -> f64 {
    if rate >= 1.0 {
        return order / (2.0 * noise * noise);
    }
    let moment = if order.fract() == 0.0 { ln_moment_whole(rate, noise, order) } else { ln_moment(rate, noise, order) };
    moment / (order - 1.0)
}

/// ln A(α) for whole α: a binomial sum of positive terms (equation 28 of the paper's section 3.3).
fn ln_moment_whole(rate: f64, noise: f64, order: f64) -> f64 {
    let (mut sum, mut ln_binomial, mut i) = (f64::NEG_INFINITY, 0.0_f64, 0.0_f64);
    while i <= order {
        let term = ln_binomial + i * rate.ln() + (order - i) * (-rate).ln_1p();
        sum = ln_add(sum, term + (i * i - i) / (2.0 * noise * noise));
        ln_binomial += (order - i).ln() - (i + 1.0).ln();
        i += 1.0;
    }
    sum
}

/// ln A(α) for other α: two series whose signs alternate from the order on (same section).
fn ln_moment(rate: f64, noise: f64, order: f64) -> f64 {
    let split = noise * noise * (1.0 / rate - 1.0).ln() + 0.5;
    let variance = 2.0 * noise * noise;
    let (mut low, mut high) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    let (mut binomial, mut i) = (1.0_f64, 0.0_f64);
    while i < SERIES_TERMS_MAX {
        let (j, ln_binomial) = (order - i, binomial.abs().ln());
        let half = |at: f64| 0.5_f64.ln() + ln_erfc(at / (std::f64::consts::SQRT_2 * noise));
        let below = ln_binomial + i * rate.ln() + j * (-rate).ln_1p() + (i * i - i) / variance + half(i - split);
        let above = ln_binomial + j * rate.ln() + i * (-rate).ln_1p() + (j * j - j) / variance + half(split - j);
        if binomial > 0.0 {
            (low, high) = (ln_add(low, below), ln_add(high, above));
        } else {
            (low, high) = (ln_subtract(low, below), ln_subtract(high, above));
        }
        if below.max(above) < SERIES_END {
            return ln_add(low, high);
        }
        binomial *= j / (i + 1.0);
        i += 1.0;
    }
    f64::INFINITY
}

/// ln(eᵃ + eᵇ)
fn ln_add(a: f64, b: f64) -> f64 {
    let (low, high) = (a.min(b), a.max(b));
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// ln(eᵃ − eᵇ); a number that is none where b is larger, so that its order is passed over.
fn ln_subtract(a: f64, b: f64) -> f64 {
    if b == f64::NEG_INFINITY { a } else { a + (-(b - a).exp()).ln_1p() }
}

/// The least noise multiplier: below it no epsilon means anything.
pub const NOISE_MIN: f64 = 0.01;
/// Noise at which the search for a budget ends.
const NOISE_SEARCH_MAX: f64 = 10_000.0;
/// How finely noise is searched for.
const NOISE_PRECISION: f64 = 1e-3;
/// Steps of one training.
const STEPS_MAX: u64 = 1 << 32;
/// The logarithm of a term below which a series has ended, as Opacus ends it.
const SERIES_END: f64 = -30.0;
/// Terms after which a series is given up.
const SERIES_TERMS_MAX: f64 = 100_000.0;
