//! What a model makes of one record, as numbers that are larger for stranger ones.

use ringfence_nn::random::Random;

use super::SuspectPlan;
use crate::{
    ball::narrow,
    error::AttackError,
    examples::Examples,
    loss::{Goal, Loss, winner},
    oracle::Oracle,
    random::stream,
    source::Predict,
};

/// A statistic of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    /// How far the answer moves when values are rounded to two levels (L1 distance of probabilities; Xu et al. 2018, section 3.1).
    Depth,
    /// The same for eight levels.
    FineDepth,
    /// The same for the median of 2 × 2 pixels (their section 3.2); 0 where inputs are no pictures.
    Median,
    /// The same for Gaussian noise, the mean of several draws.
    Noise,
    /// Slope of the margin over the margin: the inverse of the distance to the boundary, to first order.
    Boundary,
    /// Slope of the margin.
    Slope,
    /// How far the scores lie from what is usual for the class.
    Scores,
    /// Cross-entropy of the record's own label.
    Label,
}

impl Statistic {
    /// How many there are.
    pub const COUNT: usize = 8;
    /// All of them, in the order of reports.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Depth,
        Self::FineDepth,
        Self::Median,
        Self::Noise,
        Self::Boundary,
        Self::Slope,
        Self::Scores,
        Self::Label,
    ];

    /// As written in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Depth => "depth",
            Self::FineDepth => "fine-depth",
            Self::Median => "median",
            Self::Noise => "noise",
            Self::Boundary => "boundary",
            Self::Slope => "slope",
            Self::Scores => "scores",
            Self::Label => "label",
        }
    }
}

/// The statistics of one record.
pub(super) struct Row {
    /// The model's answer.
    pub(super) class: usize,
    /// In the order of [`Statistic::ALL`].
    pub(super) values: [f64; Statistic::COUNT],
    /// Whether a score is not a number.
    pub(super) broken: bool,
}

/// Median and half width of each score of each predicted class.
pub(super) struct Usual(Vec<Vec<(f64, f64)>>);

/// The statistics of every record, and what scores are usual among them; scores are measured against `usual` where it is given.
pub(super) fn rows(
    model: &dyn Predict,
    records: &Examples,
    usual: Option<&Usual>,
    plan: &SuspectPlan,
) -> Result<(Vec<Row>, Usual), AttackError> {
    records.within(plan.range)?;
    let oracle = Oracle::new(model, records)?;
    let (x, width) = (&records.inputs().data, records.width());
    let scores = oracle.scores(x)?;
    let classes = oracle.classes();
    let answers: Vec<Option<usize>> = scores.chunks_exact(classes).map(winner).collect();
    let goals: Vec<Goal> = answers.iter().map(|class| Goal::away(class.unwrap_or(0))).collect();
    let slope = oracle.slope_to(x, &goals, Loss::Margin)?;
    let mut moved = vec![
        distances(&oracle, &scores, &rounded(x, plan, 2.0))?,
        distances(&oracle, &scores, &rounded(x, plan, 8.0))?,
    ];
    moved.push(match oracle.shape() {
        [.., height, columns] if height.min(columns) > &1 => {
            distances(&oracle, &scores, &median(x, *height, *columns))?
        }
        _ => vec![0.0; records.count()],
    });
    moved.push(noise(&oracle, records, &scores, plan)?);
    let own = Usual::of(&scores, classes, &answers);
    let far = usual.unwrap_or(&own).strangeness(&scores, classes, &answers);
    let rows = (0..records.count())
        .map(|row| {
            let gradient = &slope.gradient[row * width..(row + 1) * width];
            let length = gradient.iter().map(|slope| f64::from(*slope).powi(2)).sum::<f64>().sqrt() + TINY;
            let margin = f64::from(-slope.loss[row]).max(TINY);
            let label = probabilities(&scores[row * classes..(row + 1) * classes])
                .get(records.labels()[row])
                .copied()
                .unwrap_or_default();
            // Logarithms: natural records lie apart by factors.
            let values = [
                (moved[0][row] + LEAST).ln(),
                (moved[1][row] + LEAST).ln(),
                (moved[2][row] + LEAST).ln(),
                (moved[3][row] + LEAST).ln(),
                (length / margin).ln(),
                length.ln(),
                far[row].max(TINY).ln(),
                (LEAST - label.max(TINY).ln()).ln(),
            ];
            Row {
                class: answers[row].unwrap_or(0),
                broken: answers[row].is_none() || values.iter().any(|value| !value.is_finite()),
                values: values.map(|value| if value.is_finite() { value } else { 0.0 }),
            }
        })
        .collect();
    Ok((rows, own))
}

/// Values in so many steps over the range.
fn rounded(x: &[f32], plan: &SuspectPlan, levels: f32) -> Vec<f32> {
    let (low, step) = (plan.range.low(), plan.range.width() / (levels - 1.0));
    x.iter().map(|value| low + ((value - low) / step).round() * step).collect()
}

/// The median (the mean of the middle two) of each 2 × 2 window, the picture's last row and column repeated.
fn median(x: &[f32], height: usize, width: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.len());
    for plane in x.chunks_exact(height * width) {
        for row in 0..height {
            for column in 0..width {
                let (below, right) = ((row + 1).min(height - 1), (column + 1).min(width - 1));
                let at = |row: usize, column: usize| plane[row * width + column];
                let mut four = [at(row, column), at(row, right), at(below, column), at(below, right)];
                four.sort_unstable_by(f32::total_cmp);
                out.push(f32::midpoint(four[1], four[2]));
            }
        }
    }
    out
}

/// The mean distance over several draws of noise.
fn noise(oracle: &Oracle<'_>, records: &Examples, scores: &[f32], plan: &SuspectPlan) -> Result<Vec<f64>, AttackError> {
    let mut mean = vec![0.0; records.count()];
    let (low, high) = (plan.range.low(), plan.range.high());
    for draw in 0..DRAWS {
        let mut points = records.inputs().data.clone();
        for (row, point) in points.chunks_exact_mut(records.width()).enumerate() {
            let mut random: Random = stream(plan.seed, &[NOISE_STREAM, draw, row as u64]);
            for value in point {
                *value = (*value + plan.range.width() * NOISE * narrow(random.normal())).clamp(low, high);
            }
        }
        for (mean, far) in mean.iter_mut().zip(distances(oracle, scores, &points)?) {
            *mean += far / DRAWS as f64;
        }
    }
    Ok(mean)
}

/// L1 distance of the probabilities at `points` from those of `scores`, 0..=2.
fn distances(oracle: &Oracle<'_>, scores: &[f32], points: &[f32]) -> Result<Vec<f64>, AttackError> {
    let there = oracle.scores(points)?;
    let classes = oracle.classes();
    let pairs = scores.chunks_exact(classes).zip(there.chunks_exact(classes));
    Ok(pairs
        .map(|(here, there)| {
            probabilities(here).iter().zip(probabilities(there)).map(|(here, there)| (here - there).abs()).sum()
        })
        .collect())
}

impl Usual {
    fn of(scores: &[f32], classes: usize, answers: &[Option<usize>]) -> Self {
        let usual = |class: usize| {
            let rows = scores.chunks_exact(classes).zip(answers);
            let members: Vec<&[f32]> = rows.filter(|(_, answer)| **answer == Some(class)).map(|(row, _)| row).collect();
            (0..classes)
                .map(|other| {
                    let values: Vec<f64> = members.iter().map(|row| f64::from(row[other])).collect();
                    let median = super::quantile(&values, 0.5);
                    let apart: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
                    (median, super::quantile(&apart, 0.5).max(TINY))
                })
                .collect()
        };
        Self((0..classes).map(usual).collect())
    }

    /// How far each row of scores lies from the median of its class, in half widths: the root mean square.
    fn strangeness(&self, scores: &[f32], classes: usize, answers: &[Option<usize>]) -> Vec<f64> {
        let rows = scores.chunks_exact(classes).zip(answers);
        rows.map(|(row, answer)| {
            let usual = self.0.get(answer.unwrap_or(0)).map_or(&[][..], Vec::as_slice);
            let apart =
                row.iter().zip(usual).map(|(score, (median, width))| ((f64::from(*score) - median) / width).powi(2));
            (apart.sum::<f64>() / classes as f64).sqrt()
        })
        .collect()
    }
}

fn probabilities(scores: &[f32]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f32::MIN, f32::max);
    let p: Vec<f64> = scores.iter().map(|score| f64::from(score - largest).exp()).collect();
    let sum: f64 = p.iter().sum();
    p.into_iter().map(|p| p / sum).collect()
}

/// Draws of noise, and its standard deviation as a share of the range.
const DRAWS: u64 = 4;
const NOISE: f32 = 0.1;
const TINY: f64 = 1e-12;
/// Added to distances and losses before their logarithm is taken: less than this is nothing.
const LEAST: f64 = 1e-6;
const NOISE_STREAM: u64 = 40;
