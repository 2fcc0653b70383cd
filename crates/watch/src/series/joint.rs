//! Several signals at once: each may look as usual while together they do not.
//!
//! [`Joint`] keeps the means and the covariance of its signals over the long run and asks how far a point lies from them in the
//! metric of Mahalanobis (1936), which weighs each direction by how much the signals scatter along it. One signal's own
//! extremes are the business of its [`Detector`](super::Detector), so they are cut off before.

use super::{
    calm::{Calm, Kind, join},
    signals::{LEAST, LONG, gain},
    tail::{BLOCK_POINTS, Scratch, Tail},
};

/// Scores points of several signals, taken at the same moments.
#[derive(Debug, Clone)]
pub struct Joint {
    count: usize,
    seen: u64,
    means: [f64; SIGNALS_MAX],
    /// Mean squared distances from the means.
    variances: [f64; SIGNALS_MAX],
    /// Mean products of the standardised signals.
    products: [[f64; SIGNALS_MAX]; SIGNALS_MAX],
    /// Mean of the last distances.
    smooth: f64,
    far: Tail,
    long_far: Tail,
    calm: Calm,
    scratch: Scratch,
}

/// What a point of several signals looked like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JointSurprise {
    /// As [`Surprise::score`](super::Surprise::score).
    pub score: f64,
    /// Place of the signal that fits the others worst.
    pub signal: usize,
    /// Since when it has looked like this: seconds, on the clock of the measurements.
    pub since_s: f64,
}

impl Joint {
    /// For this many signals; beyond [`SIGNALS_MAX`] they are not looked at.
    pub fn new(signals: usize) -> Self {
        Self {
            count: signals.min(SIGNALS_MAX),
            seen: 0,
            means: [0.0; SIGNALS_MAX],
            variances: [0.0; SIGNALS_MAX],
            products: [[0.0; SIGNALS_MAX]; SIGNALS_MAX],
            smooth: 0.0,
            far: Tail::new(BLOCK_POINTS),
            long_far: Tail::new(BLOCK_POINTS),
            calm: Calm::new(JOINT_BAR),
            scratch: Scratch::new(),
        }
    }

    /// Takes the values at `at_s` (seconds, rising), in the order of the signals. What is missing or not a number counts as
    /// its mean.
    pub fn push(&mut self, at_s: f64, values: &[f64]) -> JointSurprise {
        let mut standard = [0.0; SIGNALS_MAX];
        let weight = gain(LONG, self.seen);
        for (place, standard) in standard.iter_mut().enumerate().take(self.count) {
            let value = values.get(place).copied().filter(|value| !value.is_nan()).unwrap_or(self.means[place]);
            let off = value.clamp(-super::VALUE_MAX, super::VALUE_MAX) - self.means[place];
            let off = if self.seen == 0 { 0.0 } else { off };
            let deviation = self.variances[place].sqrt();
            *standard = if deviation > 0.0 { (off / deviation).clamp(-STANDARD_MAX, STANDARD_MAX) } else { 0.0 };
            if self.seen == 0 {
                self.means[place] = value.clamp(-super::VALUE_MAX, super::VALUE_MAX);
            }
            self.means[place] += weight * off;
            self.variances[place] += weight * (off * off - self.variances[place]);
        }
        let weighed = self.solve(&standard);
        let parts: [f64; SIGNALS_MAX] = std::array::from_fn(|place| standard[place] * weighed[place]);
        let far = parts.iter().sum::<f64>().max(0.0).sqrt();
        self.smooth += gain(SMOOTH_POINTS, self.seen) * (far - self.smooth);
        let mut by_kind = [0.0; Kind::COUNT];
        by_kind[Kind::Joint as usize] = join([
            self.far.push(far, LEAST, &mut self.scratch),
            self.long_far.push(self.smooth, LEAST, &mut self.scratch),
        ]);
        for (row, left) in self.products.iter_mut().zip(&standard).take(self.count) {
            for (product, right) in row.iter_mut().zip(&standard).take(self.count) {
                *product += weight * (left * right - *product);
            }
        }
        self.seen += 1;
        let verdict = self.calm.weigh(&by_kind, at_s, self.seen);
        let worst = parts.iter().enumerate().take(self.count).max_by(|left, right| left.1.total_cmp(right.1));
        JointSurprise { score: verdict.score, signal: worst.map_or(0, |(place, _)| place), since_s: verdict.since_s }
    }

    /// The standardised signals weighed by the inverse of their correlations, by Cholesky's decomposition. The ridge keeps it
    /// positive definite: without one, two signals that are always equal have no inverse.
    fn solve(&self, standard: &[f64; SIGNALS_MAX]) -> [f64; SIGNALS_MAX] {
        let mut lower = [[0.0; SIGNALS_MAX]; SIGNALS_MAX];
        let mut weighed = *standard;
        for row in 0..self.count {
            for column in 0..=row {
                let ridge = if row == column { RIDGE } else { 0.0 };
                let known: f64 = (0..column).map(|place| lower[row][place] * lower[column][place]).sum();
                let rest = self.products[row][column] + ridge - known;
                lower[row][column] =
                    if row == column { rest.max(RIDGE / 2.0).sqrt() } else { rest / lower[column][column] };
            }
            let known: f64 = (0..row).map(|place| lower[row][place] * weighed[place]).sum();
            weighed[row] = (weighed[row] - known) / lower[row][row];
        }
        for row in (0..self.count).rev() {
            let known: f64 = (row + 1..self.count).map(|place| lower[place][row] * weighed[place]).sum();
            weighed[row] = (weighed[row] - known) / lower[row][row];
        }
        weighed
    }
}

/// Signals that are looked at together at most.
pub const SIGNALS_MAX: usize = 16;
/// Standard deviations at which a signal is cut off.
const STANDARD_MAX: f64 = 4.0;
/// Variance of noise that every signal is taken to have, as a share of its own.
const RIDGE: f64 = 0.02;
/// Points over which distances are smoothed.
const SMOOTH_POINTS: f64 = 12.0;
/// Surprise that is an alert: lower than for one signal, since it comes from one kind alone.
const JOINT_BAR: f64 = 2.8;
