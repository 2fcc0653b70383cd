//! Common corruptions: what happens to pictures without anybody's intent, as a baseline beside attacks.
//!
//! Kinds and five severities after Hendrycks and Dietterich 2019 ("Benchmarking neural network robustness to common
//! corruptions", section 4.1), on the range of valid inputs. The strengths are our own: theirs are tuned to ImageNet.

use rayon::prelude::*;
use ringfence_nn::random::Random;
use ringfence_schema::report::CorruptionResult;

use crate::{
    ball::{Range, narrow},
    error::AttackError,
    examples::Examples,
    oracle::Oracle,
    plan::Plan,
    random::stream,
    stats::wilson95,
};

/// Accuracy under every corruption at every severity; refuses what is no picture.
pub(crate) fn corrupted(
    oracle: &Oracle<'_>,
    examples: &Examples,
    plan: &Plan,
) -> Result<Vec<CorruptionResult>, AttackError> {
    let [_, height, width] = *oracle.shape() else {
        return Err(AttackError::plan("corruptions", "asked for", "left out where inputs are no pictures"));
    };
    let picture = Picture { height, width, range: plan.range };
    let mut results = Vec::new();
    for (kind, (name, corruption)) in (0_u64..).zip(CORRUPTIONS) {
        for severity in 1..=SEVERITIES {
            let rows: Vec<Vec<f32>> = (0..examples.count())
                .into_par_iter()
                .map(|place| {
                    let mut random = stream(plan.seed, &[CORRUPTION_STREAM, kind, u64::from(severity), place as u64]);
                    let strength = f64::from(severity) / f64::from(SEVERITIES);
                    let mut x = corruption(&picture, examples.row(place), narrow(strength), &mut random);
                    for value in &mut x {
                        *value = value.clamp(plan.range.low(), plan.range.high());
                    }
                    x
                })
                .collect();
            let predicted = oracle.predict(&rows.concat())?;
            let right =
                predicted.iter().zip(examples.labels()).filter(|(found, label)| **found == Some(**label)).count();
            results.push(CorruptionResult {
                corruption: name.into(),
                severity,
                accuracy: right as f64 / examples.count() as f64,
                ci95: wilson95(right, examples.count()),
            });
        }
    }
    Ok(results)
}

/// How the values of a picture lie.
struct Picture {
    height: usize,
    width: usize,
    range: Range,
}

/// The picture, corrupted with a strength in 0..=1.
type Corruption = fn(&Picture, &[f32], f32, &mut Random) -> Vec<f32>;

/// Every corruption, with its name.
const CORRUPTIONS: [(&str, Corruption); 8] = [
    ("gaussian-noise", gaussian_noise),
    ("shot-noise", shot_noise),
    ("impulse-noise", impulse_noise),
    ("blur", blur),
    ("pixelate", pixelate),
    ("brightness", brightness),
    ("contrast", contrast),
    ("shift", shift),
];

fn gaussian_noise(picture: &Picture, x: &[f32], strength: f32, random: &mut Random) -> Vec<f32> {
    let deviation = 0.4 * strength * picture.range.width();
    x.iter().map(|value| value + deviation * narrow(random.normal())).collect()
}

/// Noise whose variance grows with the value, as the counting of light makes it.
fn shot_noise(picture: &Picture, x: &[f32], strength: f32, random: &mut Random) -> Vec<f32> {
    let (low, width) = (picture.range.low(), picture.range.width());
    x.iter()
        .map(|value| {
            let share = (value - low) / width;
            value + 0.5 * strength * width * share.max(0.0).sqrt() * narrow(random.normal())
        })
        .collect()
}

fn impulse_noise(picture: &Picture, x: &[f32], strength: f32, random: &mut Random) -> Vec<f32> {
    let share = 0.3 * f64::from(strength);
    let mut one = |value: &f32| match random.uniform() {
        chance if chance < share / 2.0 => picture.range.low(),
        chance if chance < share => picture.range.high(),
        _ => *value,
    };
    x.iter().map(&mut one).collect()
}

/// Mixes each value with the mean of the 3 × 3 values around it, up to five times over.
fn blur(picture: &Picture, x: &[f32], strength: f32, _: &mut Random) -> Vec<f32> {
    let mut x = x.to_vec();
    for _ in 0..crate::ball::count(strength * SEVERITIES as f32 + 0.5) {
        let before = x.clone();
        for plane in 0..x.len() / (picture.height * picture.width) {
            for row in 0..picture.height {
                for column in 0..picture.width {
                    let rows = row.saturating_sub(1)..=(row + 1).min(picture.height - 1);
                    let columns = column.saturating_sub(1)..=(column + 1).min(picture.width - 1);
                    let near = rows.flat_map(|row| columns.clone().map(move |column| (row, column)));
                    let (sum, count) = near.fold((0.0, 0.0), |(sum, count), (row, column)| {
                        (sum + before[picture.at(plane, row, column)], count + 1.0)
                    });
                    x[picture.at(plane, row, column)] = sum / count;
                }
            }
        }
    }
    x
}

/// Blocks of up to a seventh of a side take the value in their corner's middle.
fn pixelate(picture: &Picture, x: &[f32], strength: f32, _: &mut Random) -> Vec<f32> {
    let block = 1 + crate::ball::count(strength * picture.height.min(picture.width) as f32 / 7.0);
    let middle = |place: usize, most: usize| (place / block * block + block / 2).min(most - 1);
    let source = |at: usize| {
        let plane = picture.height * picture.width;
        let (row, column) = (at % plane / picture.width, at % picture.width);
        picture.at(at / plane, middle(row, picture.height), middle(column, picture.width))
    };
    (0..x.len()).map(|at| x[source(at)]).collect()
}

fn brightness(picture: &Picture, x: &[f32], strength: f32, _: &mut Random) -> Vec<f32> {
    x.iter().map(|value| value + 0.5 * strength * picture.range.width()).collect()
}

fn contrast(_: &Picture, x: &[f32], strength: f32, _: &mut Random) -> Vec<f32> {
    let mean = x.iter().sum::<f32>() / x.len().max(1) as f32;
    x.iter().map(|value| mean + (value - mean) * (1.0 - 0.85 * strength)).collect()
}

/// Moves the picture by up to a seventh of a side; what comes in from outside is the least value.
fn shift(picture: &Picture, x: &[f32], strength: f32, random: &mut Random) -> Vec<f32> {
    let far = crate::ball::count((strength * picture.height.min(picture.width) as f32 / 7.0).round());
    let (down, right) = (random.below(2 * far + 1), random.below(2 * far + 1));
    let plane = picture.height * picture.width;
    let from = |at: usize| {
        let row = (at % plane / picture.width + down).checked_sub(far).filter(|row| *row < picture.height)?;
        let column = (at % picture.width + right).checked_sub(far).filter(|column| *column < picture.width)?;
        Some(picture.at(at / plane, row, column))
    };
    (0..x.len()).map(|at| from(at).map_or(picture.range.low(), |source| x[source])).collect()
}

impl Picture {
    const fn at(&self, plane: usize, row: usize, column: usize) -> usize {
        (plane * self.height + row) * self.width + column
    }
}

const SEVERITIES: u32 = 5;
const CORRUPTION_STREAM: u64 = 17;
