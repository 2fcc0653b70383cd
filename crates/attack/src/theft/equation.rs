//! Equation solving (Tramèr et al. 2016, "Stealing machine learning models via prediction APIs", section 4.1): the logarithm
//! of the odds of a logistic regression is linear in the input, so d + 1 answers are d + 1 equations for each class.

use ringfence_nn::random::Random;

use crate::{
    algebra::{dot, least_squares},
    error::AttackError,
    random::stream,
    theft::{
        natural::Natural,
        victim::{OutputLevel, Victim, log_softmax},
    },
};

/// A logistic regression, its first class's scores 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// One row of weights for each class.
    pub weights: Vec<Vec<f64>>,
    /// One for each class.
    pub bias: Vec<f64>,
}

impl Linear {
    /// Logarithms of the probabilities.
    pub(crate) fn logarithms(&self, x: &[f64]) -> Vec<f64> {
        let scores: Vec<f64> = self.weights.iter().zip(&self.bias).map(|(row, bias)| dot(row, x) + bias).collect();
        log_softmax(&scores)
    }
}

/// Solves for a logistic regression with `queries` questions of which the answers are seen at `level`.
///
/// `None` where the level does not tell all classes, or too few answers can be used: at least d + 1, none of them with a
/// probability told as 0.
pub(crate) fn solve(
    victim: &mut Victim<'_>,
    natural: &Natural,
    level: OutputLevel,
    queries: usize,
    seed: u64,
) -> Result<Option<Linear>, AttackError> {
    let width = victim.width();
    if queries <= width || width > WIDTH_MAX || matches!(level, OutputLevel::Top(_) | OutputLevel::Label) {
        return Ok(None);
    }
    let mut random = stream(seed, &[EQUATION_STREAM]);
    let (mut points, mut told) = (Vec::new(), Vec::new());
    let (mut left, mut radius) = (queries, RADIUS);
    // All at once, unless answers come back that cannot be used: then the rest from closer by.
    while left > 0 {
        let now = if level == OutputLevel::Full { left } else { left.min(PILOT.max(told.len())) };
        let asked = around(natural, radius, now, &mut random);
        let answers = victim.logarithms_of(&asked)?;
        let mut lost = 0;
        for (point, logs) in asked.chunks_exact(width).zip(answers) {
            match level.logarithms(&logs) {
                Some(logs) if logs.iter().all(|log| log.is_finite()) => {
                    points.push(point.to_vec());
                    told.push(logs);
                }
                _ => lost += 1,
            }
        }
        left -= now;
        if lost * 4 > now {
            radius /= 2.0;
        }
    }
    Ok(fitted(&points, &told, width))
}

/// Least squares of the odds against the first class.
fn fitted(points: &[Vec<f64>], told: &[Vec<f64>], width: usize) -> Option<Linear> {
    let classes = told.first()?.len();
    let mut columns: Vec<Vec<f64>> =
        (0..width).map(|place| points.iter().map(|point| point[place]).collect()).collect();
    columns.push(vec![1.0; points.len()]);
    let odds = (1..classes).map(|class| told.iter().map(|logs| logs[class] - logs[0]).collect()).collect();
    let found = least_squares(columns, odds)?;
    let (mut weights, mut bias) = (vec![vec![0.0; width]], vec![0.0]);
    for mut solution in found {
        bias.push(solution.pop()?);
        weights.push(solution);
    }
    Some(Linear { weights, bias })
}

/// Corners of small boxes about the middle of the natural inputs: each answer tells about every weight, and hardly any
/// probability is 0.
fn around(natural: &Natural, radius: f64, count: usize, random: &mut Random) -> Vec<f64> {
    let step = radius * (natural.high - natural.low);
    let mut points = Vec::with_capacity(count * natural.mean.len());
    for _ in 0..count {
        points.extend(natural.mean.iter().map(|mean| {
            let centre = mean.clamp(natural.low + step, natural.high - step);
            if random.bits() & 1 == 0 { centre - step } else { centre + step }
        }));
    }
    points
}

/// Widest input for which equations are solved.
const WIDTH_MAX: usize = 4_096;
/// Half the side of the box, as a share of the range of inputs.
const RADIUS: f64 = 0.1;
/// Answers after which it is looked whether they can be used.
const PILOT: usize = 16;
const EQUATION_STREAM: u64 = 32;
