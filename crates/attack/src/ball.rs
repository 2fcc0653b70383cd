//! Where an attacker may move an input: a ball around it, within the range of valid inputs.

use ringfence_nn::random::Random;

use crate::error::AttackError;

/// How the length of a change is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// The largest change of any value.
    Linf,
    /// The Euclidean length of the change.
    L2,
}

impl Norm {
    /// As written in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linf => "linf",
            Self::L2 => "l2",
        }
    }
}

/// The range in which every value of a valid input lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    low: f32,
    high: f32,
}

impl Range {
    /// `low..=high`; both finite, `low` below `high`.
    pub fn new(low: f32, high: f32) -> Result<Self, AttackError> {
        if low.is_finite() && high.is_finite() && low < high {
            return Ok(Self { low, high });
        }
        Err(AttackError::plan("range", format!("{low}..{high}"), "finite and rising"))
    }

    /// Least value.
    pub const fn low(self) -> f32 {
        self.low
    }

    /// Greatest value.
    pub const fn high(self) -> f32 {
        self.high
    }

    /// `high - low`.
    pub fn width(self) -> f32 {
        self.high - self.low
    }
}

impl Default for Range {
    /// `0.0..=1.0`.
    fn default() -> Self {
        Self { low: 0.0, high: 1.0 }
    }
}

/// All inputs within `eps` of a clean one and within the range. Clean inputs lie within the range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ball {
    pub(crate) norm: Norm,
    pub(crate) eps: f32,
    pub(crate) range: Range,
}

impl Ball {
    /// The nearest point of the ball (exactly the nearest for Linf; for L2 scaled first, then clipped, which stays inside
    /// because the clean input is within the range).
    pub(crate) fn project(&self, clean: &[f32], x: &mut [f32]) {
        let shrink = match self.norm {
            Norm::Linf => 1.0,
            Norm::L2 => {
                let length = distance(clean, x);
                if length > self.eps { self.eps / length } else { 1.0 }
            }
        };
        for (value, clean) in x.iter_mut().zip(clean) {
            let moved = match self.norm {
                Norm::Linf => value.clamp(clean - self.eps, clean + self.eps),
                Norm::L2 => clean + (*value - clean) * shrink,
            };
            *value = moved.clamp(self.range.low, self.range.high);
        }
    }

    /// Moves `x` by `step` in the direction of steepest ascent of the norm (the gradient's sign for Linf, the gradient
    /// itself for L2), then back into the ball: one step of PGD (Madry et al. 2018, eq. 1 of section 2.1).
    pub(crate) fn ascend(&self, clean: &[f32], x: &mut [f32], gradient: &[f32], step: f32) {
        match self.norm {
            Norm::Linf => {
                for (value, slope) in x.iter_mut().zip(gradient) {
                    *value += step * sign(*slope);
                }
            }
            Norm::L2 => {
                let length = gradient.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>().sqrt();
                if length > 0.0 {
                    for (value, slope) in x.iter_mut().zip(gradient) {
                        *value += step * narrow(f64::from(*slope) / length);
                    }
                }
            }
        }
        self.project(clean, x);
    }

    /// A random point: uniform in the cube for Linf; for L2 a uniform direction and a length that fills the ball evenly.
    pub(crate) fn random_point(&self, clean: &[f32], random: &mut Random) -> Vec<f32> {
        let mut x: Vec<f32> = match self.norm {
            Norm::Linf => clean.iter().map(|value| value + random.uniform_in(-self.eps, self.eps)).collect(),
            Norm::L2 => {
                let radius = self.eps * narrow(random.uniform().powf(1.0 / clean.len().max(1) as f64));
                along_random_direction(clean, radius, random)
            }
        };
        self.project(clean, &mut x);
        x
    }

    /// A random point of the rim, where noise does the most harm: a corner of the cube, or a point of the sphere.
    pub(crate) fn random_rim(&self, clean: &[f32], random: &mut Random) -> Vec<f32> {
        let mut x: Vec<f32> = match self.norm {
            Norm::Linf => {
                clean.iter().map(|value| value + if random.below(2) == 0 { self.eps } else { -self.eps }).collect()
            }
            Norm::L2 => along_random_direction(clean, self.eps, random),
        };
        self.project(clean, &mut x);
        x
    }

    /// Whether `x` is inside, up to the rounding of f32 at the size of these values.
    pub(crate) fn contains(&self, clean: &[f32], x: &[f32]) -> bool {
        let size = self.range.low.abs().max(self.range.high.abs()).max(self.eps);
        let slack = f64::from(ROUNDING * f32::EPSILON * size);
        let in_range = x.iter().all(|value| (self.range.low..=self.range.high).contains(value));
        let away = match self.norm {
            Norm::Linf => clean.iter().zip(x).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).fold(0.0, f64::max),
            Norm::L2 => clean.iter().zip(x).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt(),
        };
        in_range && away <= f64::from(self.eps) + slack
    }

    /// `x` on a grid of `levels` values over the range, as an image file would hold it, still inside the ball: a value that
    /// rounding would carry out of it goes to the next level towards the clean one.
    pub(crate) fn quantise(&self, clean: &[f32], x: &[f32], levels: u32) -> Vec<f32> {
        let step = self.range.width() / levels.saturating_sub(1).max(1) as f32;
        let mut stored: Vec<f32> = x
            .iter()
            .zip(clean)
            .map(|(value, clean)| {
                let level = ((value - self.range.low) / step).round();
                let near = self.range.low + level * step;
                let outside = (near - clean).abs() > self.eps * (1.0 + ROUNDING * f32::EPSILON);
                if outside { near - step * sign(near - clean) } else { near }
            })
            .collect();
        self.project(clean, &mut stored);
        stored
    }
}

/// The sign, with 0 for 0: `f32::signum` would move values whose gradient is zero.
pub(crate) fn sign(value: f32) -> f32 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        0.0
    }
}

/// The nearest f32.
#[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest f32 is what is wanted")]
pub(crate) const fn narrow(value: f64) -> f32 {
    value as f32
}

/// `clean` moved by `radius` in a uniformly random direction.
fn along_random_direction(clean: &[f32], radius: f32, random: &mut Random) -> Vec<f32> {
    let direction: Vec<f32> = clean.iter().map(|_| narrow(random.normal())).collect();
    let length = distance(&vec![0.0; direction.len()], &direction).max(f32::MIN_POSITIVE);
    clean.iter().zip(&direction).map(|(value, part)| value + radius * part / length).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    narrow(a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt())
}

/// Units in the last place by which a projected value may miss the rim.
const ROUNDING: f32 = 8.0;
