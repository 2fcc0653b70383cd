//! Hidden units of a network of ReLUs, seen from outside: where each bends the answer, and by how much.
//!
//! Across a unit's hyperplane the gradient jumps by a multiple of the unit's weights (Jagielski et al. 2020, section 6.2), so two
//! gradients, one on each side, tell its hyperplane and the last layer's weights, but not which of the sides is the one at
//! rest. Gradients are differences of answers: every one is checked against steps in random directions, to the last digits
//! that answers have, and comes with its error.

use ringfence_nn::random::Random;

use crate::{
    algebra::{dot, norm},
    error::AttackError,
    theft::{
        natural::Natural,
        victim::{SURE, Victim},
    },
};

/// A hidden unit whose resting side is not known.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    /// Its weights, of length 1, towards the side where `above` is positive.
    pub(super) row: Vec<f64>,
    pub(super) bias: f64,
    /// For each output by how much the slope along `row` grows across the hyperplane.
    pub(super) jump: Vec<f64>,
    /// Likely error of an entry of `row`.
    pub(super) error: f64,
}

impl Unit {
    /// The unit whose hyperplane goes through `on`, between two gradients on its sides. `None` where the jumps of the outputs are
    /// not multiples of one row: there is more than one unit between.
    pub(super) fn between(before: &Slope, after: &Slope, on: &[f64], along: &[f64]) -> Option<Self> {
        let pairs = after.gradients.iter().zip(&before.gradients);
        let jumps: Vec<Vec<f64>> =
            pairs.map(|(after, before)| after.iter().zip(before).map(|(a, b)| a - b).collect()).collect();
        let largest = jumps.iter().max_by(|a, b| norm(a).total_cmp(&norm(b)))?;
        let length = norm(largest);
        let error = before.error + after.error;
        if length.is_nan() || length <= ERRORS * error {
            return None;
        }
        let scale = length * dot(largest, along).signum();
        let row: Vec<f64> = largest.iter().map(|value| value / scale).collect();
        let jump: Vec<f64> = jumps.iter().map(|jump| dot(jump, &row)).collect();
        let allowed = ERRORS * error * (row.len() as f64).sqrt();
        let alike = jumps.iter().zip(&jump).all(|(jump, size)| {
            let rest: f64 = jump.iter().zip(&row).map(|(jump, row)| (jump - size * row).powi(2)).sum();
            rest.sqrt() <= allowed
        });
        let bias = -dot(&row, on);
        alike.then_some(Self { row, bias, jump, error: error / length })
    }

    /// Distance from the hyperplane, negative below.
    pub(super) fn above(&self, x: &[f64]) -> f64 {
        dot(&self.row, x) + self.bias
    }

    /// Whether a kink at `x` can be this unit's.
    pub(super) fn bends_at(&self, x: &[f64]) -> bool {
        self.above(x).abs() <= (ERRORS * self.error + MATCH) * (1.0 + norm(x))
    }

    /// Whether both have nearly the same hyperplane.
    pub(super) fn same(&self, other: &Self) -> bool {
        let cosine = dot(&self.row, &other.row);
        let apart = self.bias - cosine.signum() * other.bias;
        let allowed = SAME + ERRORS * (self.error + other.error);
        1.0 - cosine.abs() < allowed && apart.abs() < allowed * (1.0 + self.bias.abs())
    }
}

/// The gradients of all outputs at a point.
#[derive(Debug, Clone)]
pub(super) struct Slope {
    pub(super) at: Vec<f64>,
    pub(super) gradients: Vec<Vec<f64>>,
    /// Likely error of an entry.
    pub(super) error: f64,
}

/// The gradients at `at` by steps of `step` along each value. `None` where steps in random directions do not agree: a kink
/// is too close.
pub(super) fn slope(
    victim: &mut Victim<'_>,
    at: &[f64],
    step: f64,
    random: &mut Random,
) -> Result<Option<Slope>, AttackError> {
    let width = at.len();
    // First how answers are rounded here: along a short way they are straight but for that.
    let way: Vec<f64> = at.iter().map(|_| step * random.normal() / (width as f64).sqrt()).collect();
    let mut points = Vec::with_capacity((ROUNDINGS + ASIDE + width) * width);
    for place in 0..ROUNDINGS {
        points.extend(at.iter().zip(&way).map(|(at, way)| at + way * place as f64 * SHORT));
    }
    for _ in 0..ASIDE {
        let length = step / (width as f64).sqrt();
        points.extend(at.iter().map(|at| at + if random.uniform() < 0.5 { length } else { -length }));
    }
    for place in 0..width {
        points.extend_from_slice(at);
        let start = points.len() - width;
        points[start + place] += step;
    }
    let scores = victim.sharp_scores_of(&points)?;
    if scores.iter().flatten().any(|score| !score.is_finite()) {
        return Ok(None);
    }
    let steps: Vec<&[f64]> = points.chunks_exact(width).collect();
    let (mut gradients, mut worst) = (Vec::new(), 0.0_f64);
    for output in 0..scores.first().map_or(0, Vec::len) {
        let answers: Vec<f64> = scores.iter().map(|row| row[output]).collect();
        let rounding = rounding(&answers[..ROUNDINGS]);
        let gradient: Vec<f64> = (0..width)
            .map(|place| {
                let row = ROUNDINGS + ASIDE + place;
                // The step as it was after rounding.
                (answers[row] - answers[0]) / (steps[row][place] - at[place])
            })
            .collect();
        for row in ROUNDINGS..ROUNDINGS + ASIDE {
            let moved: Vec<f64> = steps[row].iter().zip(at).map(|(there, here)| there - here).collect();
            if (answers[row] - answers[0] - dot(&gradient, &moved)).abs() > AGREEMENT * rounding {
                return Ok(None);
            }
        }
        worst = worst.max(rounding);
        gradients.push(gradient);
    }
    Ok(Some(Slope { at: at.to_vec(), gradients, error: worst / step }))
}

/// How far answers along a short straight way lie from a straight line: the root mean square of their second differences, at least
/// the last digit.
fn rounding(answers: &[f64]) -> f64 {
    let bends: Vec<f64> = answers.windows(3).map(|three| three[0] - 2.0 * three[1] + three[2]).collect();
    let square = bends.iter().map(|bend| bend * bend).sum::<f64>() / bends.len().max(1) as f64;
    let size = answers.iter().map(|answer| answer.abs()).fold(0.0, f64::max);
    square.sqrt().max(size * f64::EPSILON).max(f64::MIN_POSITIVE)
}

/// A point on the hyperplane of one unit, far from those of all others.
struct Clear {
    at: Vec<f64>,
    /// How far one may go along the unit's row.
    room: f64,
    /// Step along each value by which no hyperplane is crossed from `reach` off this one.
    step: f64,
    /// See `step`.
    reach: f64,
}

impl Clear {
    /// The clearest of some points near the natural inputs, far from where answers lose their digits.
    fn find(
        victim: &mut Victim<'_>,
        units: &[Unit],
        which: usize,
        natural: &Natural,
        random: &mut Random,
    ) -> Result<Option<Self>, AttackError> {
        let Some(unit) = units.get(which) else { return Ok(None) };
        let spread = natural.high - natural.low;
        let far = |row: &[f64]| row.iter().map(|value| value.abs()).fold(f64::MIN_POSITIVE, f64::max);
        let reach = 4.0 * far(&unit.row);
        let cosines: Vec<(f64, f64)> =
            units.iter().map(|other| (dot(&unit.row, &other.row).abs(), far(&other.row))).collect();
        let mut found: Vec<(f64, Self)> = Vec::with_capacity(POINTS);
        for _ in 0..POINTS {
            let from: Vec<f64> = natural.mean.iter().map(|mean| mean + 0.5 * spread * random.normal()).collect();
            let off = unit.above(&from);
            let at: Vec<f64> = from.iter().zip(&unit.row).map(|(from, row)| from - off * row).collect();
            let (mut room, mut step) = (spread * (at.len() as f64).sqrt(), spread);
            for (place, (other, (cosine, far))) in units.iter().zip(&cosines).enumerate() {
                if place == which {
                    continue;
                }
                let margin = other.above(&at).abs() / 2.0;
                room = room.min(margin / cosine.max(f64::MIN_POSITIVE));
                step = step.min(margin / (reach * cosine + far));
            }
            let worth = step.min(room) / (1.0 + norm(&at));
            found.push((worth, Self { at, room, step, reach: reach * step }));
        }
        if victim.is_blunt() {
            let points: Vec<f64> = found.iter().flat_map(|(_, clear)| &clear.at).copied().collect();
            let scores = victim.sharp_scores_of(&points)?;
            let mut unsure = scores.iter().map(|score| score.iter().all(|score| *score < SURE / 2.0));
            found.retain(|_| unsure.next().unwrap_or(false));
        }
        Ok(found.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, clear)| clear))
    }
}

/// Measures one of `units` again, knowing the others: its row where that is not precise yet, and its bias near the natural inputs,
/// since far out a small error of the row is a large one of the bias. Whether its kink is where it was said to be.
pub(super) fn settle(
    victim: &mut Victim<'_>,
    units: &mut [Unit],
    which: usize,
    natural: &Natural,
    random: &mut Random,
) -> Result<bool, AttackError> {
    for _ in 0..TRIES {
        let Some(clear) = Clear::find(victim, units, which, natural, random)? else { return Ok(false) };
        let Some(unit) = units.get_mut(which) else { return Ok(false) };
        if unit.error > PRECISE {
            let beside = |side: f64| -> Vec<f64> {
                clear.at.iter().zip(&unit.row).map(|(at, row)| at + side * clear.reach * row).collect()
            };
            let before = slope(victim, &beside(-1.0), clear.step, random)?;
            let after = slope(victim, &beside(1.0), clear.step, random)?;
            let better = before
                .zip(after)
                .and_then(|(before, after)| Unit::between(&before, &after, &clear.at, &unit.row))
                .filter(|better| better.error < unit.error);
            let Some(better) = better else { continue };
            *unit = better;
        }
        if let Some(off) = kink(victim, unit, &clear)? {
            unit.bias = -dot(&unit.row, &clear.at) - off;
            return Ok(true);
        }
    }
    Ok(false)
}

/// How far from a clear point along the row the unit's kink lies: where the straight lines of both sides meet. `None` where the sides
/// are not straight.
fn kink(victim: &mut Victim<'_>, unit: &Unit, clear: &Clear) -> Result<Option<f64>, AttackError> {
    // As far as there is room, or closer by where answers have lost their digits that far out.
    for room in CLOSER.map(|share| share * clear.room) {
        let points: Vec<f64> = LEGS
            .iter()
            .flat_map(|leg| clear.at.iter().zip(&unit.row).map(move |(at, row)| at + leg * room * row))
            .collect();
        let scores = victim.sharp_scores_of(&points)?;
        let length = norm(&unit.jump);
        let values: Vec<f64> = scores.iter().map(|row| dot(row, &unit.jump) / length).collect();
        if values.iter().any(|value| !value.is_finite()) {
            continue;
        }
        let size = values.iter().map(|value| value.abs()).fold(0.0, f64::max);
        let [far_below, below, under, over, above, far_above] = values[..] else { return Ok(None) };
        let (rise, fall) = ((under - far_below) / (LEGS[2] - LEGS[0]), (far_above - over) / (LEGS[5] - LEGS[3]));
        let bent_below = below - far_below - rise * (LEGS[1] - LEGS[0]);
        let bent_above = above - over - fall * (LEGS[4] - LEGS[3]);
        let straight = bent_below.abs().max(bent_above.abs()) <= STRAIGHT * size;
        let meet = (over - fall * LEGS[3] - far_below + rise * LEGS[0]) / (rise - fall);
        let fits = straight && meet > LEGS[2] && meet < LEGS[3];
        return Ok(fits.then_some(meet * room));
    }
    Ok(None)
}

/// Points of which the clearest is taken.
const POINTS: usize = 64;
/// Points tried one after another.
const TRIES: usize = 3;
/// Answers by which rounding is measured, and the way between them in steps.
const ROUNDINGS: usize = 10;
const SHORT: f64 = 0.03;
/// Steps aside by which gradients are checked.
const ASIDE: usize = 3;
/// Roundings by which a step aside may differ.
const AGREEMENT: f64 = 30.0;
/// Likely errors that a number may be off.
const ERRORS: f64 = 50.0;
/// Error of a row that need not be measured again.
const PRECISE: f64 = 1e-10;
/// Distance of a kink from its hyperplane, as a share of its distance from 0.
const MATCH: f64 = 1e-8;
/// How nearly the same hyperplane counts as the same.
const SAME: f64 = 1e-7;
/// Where the two sides of a kink are looked at.
const LEGS: [f64; 6] = [-1.0, -0.6, -0.25, 0.25, 0.6, 1.0];
/// Shares of the room that are tried.
const CLOSER: [f64; 3] = [1.0, 0.125, 0.015_625];
/// How far from straight the sides of a kink may be, as a share of values.
const STRAIGHT: f64 = 1e-11;
