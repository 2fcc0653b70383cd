//! Where an attacker may move an input: a ball around it, within the range of valid inputs and the limits of columns.
//!
//! Everything that an attack returns has been through [`Ball::project`], and through [`Ball::seal`] where columns hold whole
//! numbers; [`Ball::contains`] is the judge, and shares no code with them.

use ringfence_nn::random::Random;

use crate::error::AttackError;

/// How the length of a change is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// The largest change of any value.
    Linf,
    /// The Euclidean length of the change.
    L2,
    /// The sum of the changes of all values.
    L1,
    /// The number of values that change at all.
    L0,
}

impl Norm {
    /// As written in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linf => "linf",
            Self::L2 => "l2",
            Self::L1 => "l1",
            Self::L0 => "l0",
        }
    }

    /// The norm of this name.
    pub fn named(name: &str) -> Result<Self, AttackError> {
        let norms = [Self::Linf, Self::L2, Self::L1, Self::L0];
        norms
            .into_iter()
            .find(|norm| norm.name() == name)
            .ok_or_else(|| AttackError::plan("norm", name, "one of linf, l2, l1, l0"))
    }

    /// The radius at which a ball holds every valid input of `values` values in a range of width `range`.
    pub(crate) fn whole(self, values: usize, range: f32) -> f32 {
        match self {
            Self::Linf => range,
            Self::L2 => range * (values as f32).sqrt(),
            Self::L1 => range * values as f32,
            Self::L0 => values as f32,
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

/// What an attacker may do to one column of a table, beyond the ball and the range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Column {
    /// Values stay within; `None` is the range of all inputs.
    pub within: Option<Range>,
    /// Only whole numbers are valid.
    pub integer: bool,
    /// The attacker cannot change it.
    pub immutable: bool,
}

impl Column {
    /// A column that an attacker may change like any value.
    pub const FREE: Self = Self { within: None, integer: false, immutable: false };
}

/// All inputs within `eps` of a clean one, within the range, and within what columns allow. Clean inputs lie within the range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ball<'c> {
    pub(crate) norm: Norm,
    pub(crate) eps: f32,
    pub(crate) range: Range,
    /// One for each value of an example, or none at all.
    pub(crate) columns: &'c [Column],
}

impl Ball<'static> {
    /// A ball without columns.
    pub(crate) const fn new(norm: Norm, eps: f32, range: Range) -> Self {
        Self { norm, eps, range, columns: &[] }
    }
}

impl Ball<'_> {
    /// The same with another radius.
    pub(crate) const fn with_eps(self, eps: f32) -> Self {
        Self { eps, ..self }
    }

    /// The same for a table with these columns.
    pub(crate) const fn with_columns(self, columns: &[Column]) -> Ball<'_> {
        Ball { norm: self.norm, eps: self.eps, range: self.range, columns }
    }

    /// Least and greatest value allowed at place `index`, whose clean value is `clean` (which is always allowed).
    pub(crate) fn bounds(&self, index: usize, clean: f32) -> (f32, f32) {
        match self.columns.get(index) {
            None => (self.range.low, self.range.high),
            Some(column) if column.immutable => (clean, clean),
            Some(column) => {
                let within = column.within.unwrap_or(self.range);
                (within.low.max(self.range.low).min(clean), within.high.min(self.range.high).max(clean))
            }
        }
    }

    /// The nearest point of the ball: exactly the nearest for Linf, L1 and L0; for L2 scaled first, then clipped, which stays
    /// inside because the clean input is within all bounds. Whole numbers are left to [`Self::seal`].
    pub(crate) fn project(&self, clean: &[f32], x: &mut [f32]) {
        match self.norm {
            Norm::Linf => {
                for (value, clean) in x.iter_mut().zip(clean) {
                    // Not `clamp`, whose check of its bounds keeps the loop from being vectorised.
                    *value = value.max(clean - self.eps).min(clean + self.eps);
                }
            }
            Norm::L2 => {
                let length = distance(clean, x);
                if length > self.eps {
                    for (value, clean) in x.iter_mut().zip(clean) {
                        *value = clean + (*value - clean) * (self.eps / length);
                    }
                }
            }
            Norm::L1 => self.project_l1(clean, x),
            Norm::L0 => self.project_l0(clean, x),
        }
        self.clip(clean, x);
    }

    /// Into the bounds alone.
    pub(crate) fn clip(&self, clean: &[f32], x: &mut [f32]) {
        if self.columns.is_empty() {
            for value in x {
                *value = value.max(self.range.low).min(self.range.high);
            }
            return;
        }
        for (index, (value, clean)) in x.iter_mut().zip(clean).enumerate() {
            let (low, high) = self.bounds(index, *clean);
            *value = value.clamp(low, high);
        }
    }

    /// The nearest point of the L1 ball within the bounds, by the conditions of optimality: every change shrinks by the same
    /// amount and is cut at its bound (Croce and Hein 2021, "Mind the box", proposition 3.1). The sum of what is left falls in
    /// straight pieces as that amount rises, so the right one is found exactly by sorting where pieces end.
    fn project_l1(&self, clean: &[f32], x: &mut [f32]) {
        let eps = f64::from(self.eps);
        let parts: Vec<(f64, f64)> = x
            .iter()
            .zip(clean)
            .enumerate()
            .map(|(index, (value, clean))| {
                let (low, high) = self.bounds(index, *clean);
                let change = f64::from(*value) - f64::from(*clean);
                let room = if change > 0.0 { high - clean } else { clean - low };
                (change.abs(), f64::from(room))
            })
            .collect();
        let total: f64 = parts.iter().map(|(change, room)| change.min(*room)).sum();
        if total <= eps {
            return;
        }
        // Each value begins to shrink at `change - room` (or at once) and is gone at `change`.
        let mut marks: Vec<(f64, f64)> = Vec::with_capacity(parts.len() * 2);
        for (change, room) in parts.iter().filter(|(change, room)| *change > 0.0 && *room > 0.0) {
            marks.push(((change - room).max(0.0), 1.0));
            marks.push((*change, -1.0));
        }
        marks.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut left, mut at, mut shrinking, mut amount) = (total, 0.0, 0.0, f64::MAX);
        for (mark, more) in marks {
            let next = left - shrinking * (mark - at);
            if next <= eps {
                amount = at + (left - eps) / shrinking;
                break;
            }
            (left, at, shrinking) = (next, mark, shrinking + more);
        }
        for ((value, clean), (change, room)) in x.iter_mut().zip(clean).zip(&parts) {
            let kept = (change - amount).max(0.0).min(*room);
            *value = clean + narrow(kept.copysign(f64::from(*value) - f64::from(*clean)));
        }
    }

    /// Keeps the changes that are worth most, as many as the radius says.
    fn project_l0(&self, clean: &[f32], x: &mut [f32]) {
        let kept = count(self.eps);
        let mut order: Vec<(f32, usize)> = x
            .iter()
            .zip(clean)
            .enumerate()
            .filter(|(_, (value, clean))| differ(**value, **clean))
            .map(|(index, (value, clean))| {
                let (low, high) = self.bounds(index, *clean);
                let (change, missed) = (value - clean, value - value.clamp(low, high));
                (change * change - missed * missed, index)
            })
            .collect();
        if order.len() <= kept {
            return;
        }
        order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        for (_, index) in order.drain(kept..) {
            x[index] = clean[index];
        }
    }

    /// Moves `x` by `step` in a direction of steep ascent of the norm, then back into the ball: one step of PGD (Madry et al.
    /// 2018, eq. 1 of section 2.1). Linf takes the gradient's sign, L2 the gradient itself, L1 the signs of the
    /// [`SPARSE_SHARE`] steepest values that have room (Tramèr and Boneh 2019, section 4), L0 the gradient on the scale of the
    /// range (Croce and Hein 2019, "Sparse and imperceivable", section 2.3).
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
            Norm::L1 => self.ascend_l1(clean, x, gradient, step),
            Norm::L0 => {
                let largest = gradient.iter().fold(0.0_f32, |largest, slope| largest.max(slope.abs()));
                if largest > 0.0 {
                    for (value, slope) in x.iter_mut().zip(gradient) {
                        *value += self.range.width() * slope / largest;
                    }
                }
            }
        }
        self.project(clean, x);
    }

    fn ascend_l1(&self, clean: &[f32], x: &mut [f32], gradient: &[f32], step: f32) {
        let mut steep: Vec<(f32, usize)> = gradient
            .iter()
            .enumerate()
            .filter(|(index, slope)| {
                let (low, high) = self.bounds(*index, clean[*index]);
                if **slope > 0.0 { x[*index] < high } else { **slope < 0.0 && x[*index] > low }
            })
            .map(|(index, slope)| (slope.abs(), index))
            .collect();
        let taken = narrow(x.len() as f64 * SPARSE_SHARE).ceil().max(1.0).min(steep.len() as f32);
        steep.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        for (_, index) in steep.iter().take(count(taken)) {
            x[*index] += step / taken * sign(gradient[*index]);
        }
    }

    /// A random point: uniform in the cube for Linf; for L2 a uniform direction and a length that fills the ball evenly; for L1
    /// shares of the radius at random signs; for L0 random values at random places.
    pub(crate) fn random_point(&self, clean: &[f32], random: &mut Random) -> Vec<f32> {
        let mut x: Vec<f32> = match self.norm {
            Norm::Linf => clean.iter().map(|value| value + random.uniform_in(-self.eps, self.eps)).collect(),
            Norm::L2 => {
                let radius = self.eps * narrow(random.uniform().powf(1.0 / clean.len().max(1) as f64));
                along_random_direction(clean, radius, random)
            }
            Norm::L1 => self.spread(clean, random),
            Norm::L0 => self.scatter(clean, random, Random::uniform_in),
        };
        self.project(clean, &mut x);
        x
    }

    /// A random point of the rim, where noise does the most harm: a corner of the cube, a point of the sphere, the whole L1
    /// budget, or extreme values at random places.
    pub(crate) fn random_rim(&self, clean: &[f32], random: &mut Random) -> Vec<f32> {
        let mut x: Vec<f32> = match self.norm {
            Norm::Linf => {
                clean.iter().map(|value| value + if random.below(2) == 0 { self.eps } else { -self.eps }).collect()
            }
            Norm::L2 => along_random_direction(clean, self.eps, random),
            Norm::L1 => self.spread(clean, random),
            Norm::L0 => self.scatter(clean, random, |random, low, high| if random.below(2) == 0 { low } else { high }),
        };
        self.project(clean, &mut x);
        x
    }

    /// Where APGD begins: a random point whose largest value, or whose length, is the radius (Croce and Hein 2020, section 3.1).
    pub(crate) fn random_rim_start(&self, clean: &[f32], random: &mut Random) -> Vec<f32> {
        if self.norm != Norm::Linf {
            return self.random_rim(clean, random);
        }
        let parts: Vec<f32> = clean.iter().map(|_| random.uniform_in(-1.0, 1.0)).collect();
        let largest = parts.iter().fold(f32::MIN_POSITIVE, |largest, part| largest.max(part.abs()));
        let mut x: Vec<f32> = clean.iter().zip(&parts).map(|(value, part)| value + self.eps * part / largest).collect();
        self.project(clean, &mut x);
        x
    }

    /// The L1 budget spread over all values by exponential shares, which are uniform over the ball's faces.
    fn spread(&self, clean: &[f32], random: &mut Random) -> Vec<f32> {
        let shares: Vec<f64> = clean.iter().map(|_| -(1.0 - random.uniform()).ln()).collect();
        let total = shares.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let part = |share: &f64| narrow(share / total) * self.eps;
        let signed = |part: f32, random: &mut Random| if random.below(2) == 0 { part } else { -part };
        clean.iter().zip(&shares).map(|(value, share)| value + signed(part(share), random)).collect()
    }

    /// New values at as many random places as the radius says.
    fn scatter(&self, clean: &[f32], random: &mut Random, value: impl Fn(&mut Random, f32, f32) -> f32) -> Vec<f32> {
        let mut x = clean.to_vec();
        for _ in 0..count(self.eps).min(x.len()) {
            let index = random.below(x.len());
            let (low, high) = self.bounds(index, clean[index]);
            x[index] = value(random, low, high);
        }
        x
    }

    /// Whether columns hold whole numbers, so that points must be sealed before they count.
    pub(crate) fn needs_seal(&self) -> bool {
        self.columns.iter().any(|column| column.integer)
    }

    /// Rounds integer columns to the nearest whole number that stays inside.
    pub(crate) fn seal(&self, clean: &[f32], x: &mut [f32]) {
        for index in (0..self.columns.len()).filter(|index| self.columns[*index].integer) {
            let (Some(value), Some(clean)) = (x.get_mut(index), clean.get(index)) else { continue };
            let (low, high) = self.bounds(index, *clean);
            let near = value.round();
            let outside = self.norm == Norm::Linf && (near - clean).abs() > self.eps;
            let longer = self.norm != Norm::Linf && (near - clean).abs() > (*value - clean).abs();
            let near = if outside || longer { near - sign(near - clean) } else { near };
            *value = if (low..=high).contains(&near) { near } else { *clean };
        }
    }

    /// Length of a change in this norm.
    pub(crate) fn length(&self, clean: &[f32], x: &[f32]) -> f64 {
        let changes = clean.iter().zip(x).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
        match self.norm {
            Norm::Linf => changes.fold(0.0, f64::max),
            Norm::L2 => changes.map(|change| change * change).sum::<f64>().sqrt(),
            Norm::L1 => changes.sum(),
            Norm::L0 => changes.filter(|change| *change > 0.0).count() as f64,
        }
    }

    /// Whether `x` is inside, up to the rounding of f32 at the size of these values.
    pub(crate) fn contains(&self, clean: &[f32], x: &[f32]) -> bool {
        let size = self.range.low.abs().max(self.range.high.abs()).max(self.eps);
        let rounding = f64::from(ROUNDING * f32::EPSILON * size);
        let slack = match self.norm {
            Norm::Linf | Norm::L2 => rounding,
            // Every value of the sum is rounded on its own.
            Norm::L1 => rounding * clean.len() as f64,
            Norm::L0 => 0.0,
        };
        let allowed = |(index, (value, clean)): (usize, (&f32, &f32))| {
            let (low, high) = self.bounds(index, *clean);
            let whole = !self.columns.get(index).is_some_and(|column| column.integer);
            (low..=high).contains(value) && (whole || !differ(*value, *clean) || value.fract() == 0.0)
        };
        x.iter().zip(clean).enumerate().all(allowed) && self.length(clean, x) <= f64::from(self.eps) + slack
    }

    /// `x` on a grid of `levels` values over the range, as an image file would hold it, still inside the ball: a value that
    /// rounding would carry out of it goes to the next level towards the clean one. In norms that add changes up, every value
    /// that is not on the grid goes towards the clean one.
    pub(crate) fn quantise(&self, clean: &[f32], x: &[f32], levels: u32) -> Vec<f32> {
        let step = self.range.width() / levels.saturating_sub(1).max(1) as f32;
        let mut stored: Vec<f32> = x
            .iter()
            .zip(clean)
            .map(|(value, clean)| {
                let level = (value - self.range.low) / step;
                let near = self.range.low + level.round() * step;
                let outside = match self.norm {
                    Norm::Linf => (near - clean).abs() > self.eps * (1.0 + ROUNDING * f32::EPSILON),
                    Norm::L2 | Norm::L1 => (near - clean).abs() > (value - clean).abs() + ROUNDING * f32::EPSILON,
                    Norm::L0 => false,
                };
                if self.norm == Norm::L0 && value.to_bits() == clean.to_bits() {
                    *clean
                } else if outside {
                    near - step * sign(near - clean)
                } else {
                    near
                }
            })
            .collect();
        if self.norm == Norm::Linf {
            self.project(clean, &mut stored);
        } else {
            self.clip(clean, &mut stored);
        }
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

/// Whether a value was changed at all.
pub(crate) fn differ(value: f32, clean: f32) -> bool {
    value.to_bits() != clean.to_bits() && (value - clean).abs() > 0.0
}

/// A number of values out of a radius.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of values, cut to a whole number")]
pub(crate) const fn count(radius: f32) -> usize {
    radius.max(0.0) as usize
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

/// Share of the values that one L1 step moves.
const SPARSE_SHARE: f64 = 0.05;
/// Units in the last place by which a projected value may miss the rim.
const ROUNDING: f32 = 8.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn ball(norm: Norm, eps: f32) -> Ball<'static> {
        Ball::new(norm, eps, Range::default())
    }

    #[test]
    fn projections_are_inside_and_nearer_than_any_other_point_tried() {
        let mut random = Random::new(4);
        for (norm, eps) in [(Norm::Linf, 0.2), (Norm::L2, 0.5), (Norm::L1, 1.3), (Norm::L0, 5.0)] {
            let ball = ball(norm, eps);
            for _ in 0..200 {
                let clean: Vec<f32> = (0..20).map(|_| random.uniform_in(0.0, 1.0)).collect();
                let far: Vec<f32> = (0..20).map(|_| random.uniform_in(-1.0, 2.0)).collect();
                let mut near = far.clone();
                ball.project(&clean, &mut near);
                assert!(ball.contains(&clean, &near), "{norm:?}: {}", ball.length(&clean, &near));
                let mut again = near.clone();
                ball.project(&clean, &mut again);
                let moved = distance(&near, &again);
                assert!(moved < 1e-5, "{norm:?} moves what is inside by {moved}");
                // The projection onto the part of an L2 ball within a box is not exact; the others are.
                if norm != Norm::L2 {
                    for _ in 0..20 {
                        let other = ball.random_rim(&clean, &mut random);
                        assert!(distance(&far, &near) <= distance(&far, &other) + 1e-5, "{norm:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_l1_projection_meets_the_conditions_of_optimality() {
        // Two values: one may move by 0.1 only. What is over goes to the other: 1.0 shrinks to 0.9, of which 0.9 is left.
        let ball = Ball::new(Norm::L1, 1.0, Range { low: 0.0, high: 1.0 });
        let mut x = [2.0, 1.0];
        ball.project(&[0.9, 0.0], &mut x);
        assert!((x[0] - 1.0).abs() < 1e-6 && (x[1] - 0.9).abs() < 1e-6, "{x:?}");
    }

    #[test]
    fn columns_hold_the_attacker_back() {
        let columns = [
            Column { immutable: true, ..Column::FREE },
            Column { integer: true, ..Column::FREE },
            Column { within: Some(Range { low: 2.0, high: 3.0 }), ..Column::FREE },
            Column::FREE,
        ];
        let range = Range { low: 0.0, high: 10.0 };
        for norm in [Norm::Linf, Norm::L2, Norm::L1, Norm::L0] {
            let ball = Ball::new(norm, 2.4, range).with_columns(&columns);
            let clean = [1.0, 5.0, 2.5, 9.0];
            let mut x = [4.0, 8.0, 9.0, 9.5];
            ball.project(&clean, &mut x);
            ball.seal(&clean, &mut x);
            assert!(ball.contains(&clean, &x), "{norm:?}: {x:?}");
            assert_eq!((x[0].to_bits(), x[1].fract().to_bits()), (1.0_f32.to_bits(), 0), "{norm:?}: {x:?}");
            assert!(x[2] <= 3.0, "{norm:?}: {x:?}");
            assert!(!ball.contains(&clean, &[1.1, 5.0, 2.5, 9.0]) && !ball.contains(&clean, &[1.0, 5.5, 2.5, 9.0]));
        }
    }
}
