//! Privacy random variables: epsilon by adding up the privacy loss of all steps as a distribution.
//!
//! The loss of one step is cut into a fine grid, convolved with itself in the Fourier domain, and read off at delta (Gopi, Lee and
//! Wutschitz 2021, "Numerical Composition of Differential Privacy": algorithm 1, the domain of remark 5.6, the densities of
//! propositions B.1 and B.4). Where the grid would be too long for its sums to be believed, nothing is stated.

use super::{
    accountant::{Spending, rdp},
    fft::Complex,
    special::erfc,
};
use crate::error::AttackError;

/// What [`prv`] states.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrivacyLoss {
    /// A lower bound of epsilon.
    pub lower: f64,
    /// The estimate.
    pub estimate: f64,
    /// An upper bound: the one to quote.
    pub upper: f64,
}

/// Epsilon by numerical composition, with bounds 0.01 to both sides and a thousandth of delta given away to truncation.
pub fn prv(spending: &Spending) -> Result<PrivacyLoss, AttackError> {
    spending.check()?;
    let delta_error = spending.delta * DELTA_ERROR;
    let grid = Grid::new(spending, delta_error)?;
    let mut wave = Complex::of(grid.masses(spending));
    let shift = mean(spending, grid.end()) - grid.mean(&wave.re);
    wave.forward();
    wave.power(spending.steps);
    wave.inverse();
    let sum =
        Sum { grid, shift: shift * spending.steps as f64, masses: wave.re, turned: spending.steps.is_multiple_of(2) };
    Ok(PrivacyLoss {
        lower: (sum.epsilon(spending.delta + delta_error)? - EPSILON_ERROR).max(0.0),
        estimate: sum.epsilon(spending.delta)?.max(0.0),
        upper: sum.epsilon(spending.delta - delta_error)? + EPSILON_ERROR,
    })
}

/// Places (j − count / 2) · width of the privacy loss.
struct Grid {
    width: f64,
    count: usize,
}

impl Grid {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held against the limit first")]
    fn new(spending: &Spending, delta_error: f64) -> Result<Self, AttackError> {
        let steps = spending.steps as f64;
        let all = rdp(&Spending { delta: delta_error / 4.0, ..*spending })?.epsilon;
        let one = rdp(&Spending { delta: delta_error / (8.0 * steps), steps: 1, ..*spending })?.epsilon;
        let reach = all.max(one).max(EPSILON_ERROR) + REACH_MORE;
        let width = EPSILON_ERROR / (steps * (12.0 / delta_error).ln() / 2.0).sqrt();
        let wanted = 2.0 * reach / width + 2.0;
        if wanted > PLACES_MAX as f64 {
            return Err(AttackError::Unaccountable {
                accountant: "PRV",
                problem: "epsilon is so large that its grid would not fit; such an epsilon protects nobody",
            });
        }
        let count = (wanted as usize).next_power_of_two();
        if f64::EPSILON * count as f64 > spending.delta - delta_error {
            return Err(AttackError::Unaccountable {
                accountant: "PRV",
                problem: "delta is so small that rounding would decide",
            });
        }
        Ok(Self { width, count })
    }

    fn at(&self, place: usize) -> f64 {
        (place as f64 - (self.count / 2) as f64) * self.width
    }

    /// The largest loss that is on the grid, in size.
    fn end(&self) -> f64 {
        self.width * (self.count / 2) as f64
    }

    /// The chance of one step's loss around each place, what lies beyond the grid left out.
    fn masses(&self, spending: &Spending) -> Vec<f64> {
        let edge = |place: usize| cumulative(spending, self.at(place) - self.width / 2.0);
        let mut below = edge(0);
        let mut masses = Vec::with_capacity(self.count);
        for place in 1..=self.count {
            let next = edge(place);
            masses.push((next - below).max(0.0));
            below = next;
        }
        let total: f64 = masses.iter().sum();
        for mass in &mut masses {
            *mass /= total;
        }
        masses
    }

    fn mean(&self, masses: &[f64]) -> f64 {
        masses.iter().enumerate().map(|(place, mass)| mass * self.at(place)).sum()
    }
}

/// The chance that one step's privacy loss is at most `loss` (proposition B.4).
fn cumulative(spending: &Spending, loss: f64) -> f64 {
    let Spending { rate, noise, .. } = *spending;
    let ratio = loss.exp_m1() / rate;
    if ratio <= -1.0 {
        return 0.0;
    }
    // ln((eᵗ + q − 1) / q), written so that neither end loses digits.
    let z = if loss > 1.0 { loss + ((rate - 1.0) * (-loss).exp()).ln_1p() - rate.ln() } else { ratio.ln_1p() };
    let tail = |side: f64| erfc((2.0 * z * noise * noise - side) / (2.0 * std::f64::consts::SQRT_2 * noise)) / 2.0;
    1.0 - rate * tail(1.0) - (1.0 - rate) * tail(-1.0)
}

/// The mean of one step's loss, as far as it lies within ± `end`: by equal steps over the noise, which converges faster than any
/// power for such integrands.
#[expect(clippy::cast_possible_truncation, reason = "a few thousand steps")]
fn mean(spending: &Spending, end: f64) -> f64 {
    let Spending { rate, noise, .. } = *spending;
    let step = noise * noise.min(1.0) / 16.0;
    let reach = ((MEAN_REACH * noise + 1.0) / step).ceil() as i64;
    let (mut weights, mut sum) = (0.0, 0.0);
    for k in -reach..=reach {
        let x = k as f64 * step;
        let ratio = (2.0 * x - 1.0) / (2.0 * noise * noise);
        let loss = if ratio > 30.0 {
            ratio + rate.ln() + ((1.0 - rate) / rate * (-ratio).exp()).ln_1p()
        } else {
            (rate * ratio.exp_m1()).ln_1p()
        };
        if loss.abs() > end {
            continue;
        }
        let density = |centre: f64| (-(x - centre) * (x - centre) / (2.0 * noise * noise)).exp();
        let weight = (1.0 - rate) * density(0.0) + rate * density(1.0);
        weights += weight;
        sum += weight * loss;
    }
    sum / weights
}

/// The distribution of the sum of all steps.
struct Sum {
    grid: Grid,
    /// How far all places lie to the right of the grid's.
    shift: f64,
    masses: Vec<f64>,
    /// Whether the masses begin in the middle: an even number of grids that begin half a turn away.
    turned: bool,
}

impl Sum {
    /// The least epsilon at which delta(ε) = Σ p(t) (1 − e^(ε − t)) over t > ε is at most `delta`, from the far end.
    fn epsilon(&self, delta: f64) -> Result<f64, AttackError> {
        let (mut mass, mut scaled) = (0.0, 0.0);
        let decay = (-self.grid.width).exp();
        let mut found = None;
        for place in (0..self.grid.count).rev() {
            let at = if self.turned { (place + self.grid.count / 2) % self.grid.count } else { place };
            mass += self.masses[at];
            scaled = scaled * decay + self.masses[at];
            if mass - scaled > delta {
                break;
            }
            found = (mass > delta && scaled > 0.0)
                .then(|| self.grid.at(place) + self.shift + ((mass - delta) / scaled).ln());
        }
        found.ok_or(AttackError::Unaccountable { accountant: "PRV", problem: "delta lies beyond the grid" })
    }
}

/// How far each bound lies from the estimate.
const EPSILON_ERROR: f64 = 0.01;
/// Share of delta that truncation may take.
const DELTA_ERROR: f64 = 1e-3;
/// What is added to the reach of the grid.
const REACH_MORE: f64 = 3.0;
/// Places of a grid.
const PLACES_MAX: usize = 1 << 22;
/// Standard deviations over which the mean is taken.
const MEAN_REACH: f64 = 12.0;
