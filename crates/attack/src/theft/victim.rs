//! What is stolen from, and how much of each answer a thief gets to see.

use std::fmt;

use ringfence_nn::{OutputKind, Tensor};

use crate::{error::AttackError, source::Predict};

/// How much of an answer leaves the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputLevel {
    /// Every score, unrounded.
    Full,
    /// Every probability, rounded to so many decimals (1..=[`DECIMALS_MAX`]).
    Rounded(u8),
    /// The so many most probable classes with their probabilities (at least 1).
    Top(usize),
    /// The most probable class alone.
    Label,
}

impl fmt::Display for OutputLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Rounded(decimals) => write!(f, "rounded-{decimals}"),
            Self::Top(count) => write!(f, "top-{count}"),
            Self::Label => f.write_str("label"),
        }
    }
}

impl OutputLevel {
    /// The level of this name: `full`, `rounded-3`, `top-2`, `label`.
    pub fn named(name: &str) -> Result<Self, AttackError> {
        let number = |prefix: &str| name.strip_prefix(prefix).and_then(|rest| rest.parse::<u8>().ok());
        match (name, number("rounded-"), number("top-")) {
            ("full", _, _) => Ok(Self::Full),
            ("label", _, _) => Ok(Self::Label),
            (_, Some(decimals @ 1..=DECIMALS_MAX), _) => Ok(Self::Rounded(decimals)),
            (_, _, Some(count @ 1..)) => Ok(Self::Top(usize::from(count))),
            _ => Err(AttackError::plan("level", name, "`full`, `rounded-1` to `rounded-15`, `top-1` or more, `label`")),
        }
    }

    /// The logarithms of the probabilities as far as they are told; negative infinity for a probability told as 0. `None`
    /// where not all are told.
    pub(crate) fn logarithms(self, logs: &[f64]) -> Option<Vec<f64>> {
        match self {
            Self::Full => Some(logs.to_vec()),
            Self::Rounded(decimals) => Some(logs.iter().map(|log| rounded(log.exp(), decimals).ln()).collect()),
            Self::Top(_) | Self::Label => None,
        }
    }

    /// What a thief trains on: probabilities; what is not told is spread evenly over the classes that are not told.
    pub(crate) fn target(self, logs: &[f64]) -> Vec<f64> {
        let told: Vec<f64> = match self {
            Self::Full => logs.iter().map(|log| log.exp()).collect(),
            Self::Rounded(decimals) => logs.iter().map(|log| rounded(log.exp(), decimals)).collect(),
            Self::Top(count) => return top(logs, count),
            Self::Label => return one_hot(logs),
        };
        let sum: f64 = told.iter().sum();
        if sum > 0.0 { told.iter().map(|share| share / sum).collect() } else { one_hot(logs) }
    }
}

fn rounded(value: f64, decimals: u8) -> f64 {
    let unit = 10_f64.powi(i32::from(decimals));
    (value * unit).round() / unit
}

fn top(logs: &[f64], count: usize) -> Vec<f64> {
    let order = order(logs);
    let (shown, hidden) = order.split_at(count.min(order.len()));
    let told: f64 = shown.iter().map(|class| logs[*class].exp()).sum();
    let mut target = vec![(1.0 - told).max(0.0) / hidden.len().max(1) as f64; logs.len()];
    for class in shown {
        target[*class] = logs[*class].exp();
    }
    target
}

fn one_hot(logs: &[f64]) -> Vec<f64> {
    let winner = best(logs);
    (0..logs.len()).map(|class| f64::from(u8::from(class == winner))).collect()
}

fn order(logs: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..logs.len()).collect();
    order.sort_by(|a, b| logs[*b].total_cmp(&logs[*a]));
    order
}

/// The class with the highest entry, the first of equals.
pub(crate) fn best(logs: &[f64]) -> usize {
    order(logs).first().copied().unwrap_or(0)
}

/// What the only output of a model with one output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Single {
    /// A score: above 0 is the second class.
    Score,
    /// The probability of the second class.
    Probability,
}

/// A model behind a counter.
pub(crate) struct Victim<'v> {
    source: &'v dyn Predict,
    /// Shape of one example.
    shape: Vec<usize>,
    fixed_batch: Option<usize>,
    /// Outputs; 0 until the first answer.
    outputs: usize,
    single: Single,
    asked: u64,
    budget: u64,
}

impl<'v> Victim<'v> {
    /// A counter in front of `source`, for inputs of this shape (without the batch).
    pub(crate) fn new(source: &'v dyn Predict, shape: &[usize], budget: u64) -> Result<Self, AttackError> {
        let declared = source.shape();
        let fits = declared.len() == shape.len() + 1
            && declared.iter().skip(1).zip(shape).all(|(dim, found)| dim.is_none_or(|dim| dim == *found));
        if !fits || shape.iter().product::<usize>() == 0 {
            return Err(AttackError::Shape {
                input: source.name().to_owned(),
                expected: declared.to_vec(),
                found: std::iter::once(1).chain(shape.iter().copied()).collect(),
            });
        }
        let fixed_batch = declared.first().copied().flatten().filter(|rows| *rows > 0);
        Ok(Self { source, shape: shape.to_vec(), fixed_batch, outputs: 0, single: Single::Score, asked: 0, budget })
    }

    /// Says what a single output is.
    pub(crate) fn reads(&mut self, single: Single) {
        self.single = single;
    }

    /// Guesses what a single output is from its answers to `points`: shares lie in 0..=1, also far out, where scores do not. A service
    /// is not asked far out, it may refuse.
    pub(crate) fn guess(&mut self, points: &[f64]) -> Result<(), AttackError> {
        let mut answers = self.outputs_of(points)?;
        if self.outputs == 1 && self.is_wide() {
            let far: Vec<f64> = points.iter().take(FAR_ROWS * self.width()).map(|value| value * FAR).collect();
            answers.extend(self.outputs_of(&far)?);
        }
        let shares = answers.iter().all(|answer| (0.0..=1.0).contains(answer));
        self.reads(if shares { Single::Probability } else { Single::Score });
        Ok(())
    }

    /// Whether answers lose their last digits where the model is sure: one probability close to 1. (Of several, the small ones
    /// keep them.)
    pub(crate) fn is_blunt(&self) -> bool {
        self.outputs == 1 && (self.source.scale() != OutputKind::Logits || self.single == Single::Probability)
    }

    /// Values of one input.
    pub(crate) fn width(&self) -> usize {
        self.shape.iter().product()
    }

    /// Rows asked for so far.
    pub(crate) fn asked(&self) -> u64 {
        self.asked
    }

    /// Whether answers have the precision of f64.
    pub(crate) fn is_wide(&self) -> bool {
        self.source.is_wide()
    }

    /// The outputs of each row of `points`, as the model gives them.
    ///
    /// An answer that is not finite ends the theft: nothing can be computed from it.
    pub(crate) fn outputs_of(&mut self, points: &[f64]) -> Result<Vec<f64>, AttackError> {
        let width = self.width();
        let mut answers: Vec<f64> = Vec::new();
        for part in points.chunks(ROWS_AT_ONCE * width) {
            let rows = part.len() / width;
            if self.asked.saturating_add(rows as u64) > self.budget {
                return Err(AttackError::Budget { budget: self.budget });
            }
            self.asked += rows as u64;
            let size = self.fixed_batch.map_or(rows, |fixed| rows.next_multiple_of(fixed));
            let mut data = part.to_vec();
            for _ in rows..size {
                data.extend_from_within(data.len() - width..);
            }
            let shape = std::iter::once(size).chain(self.shape.iter().copied()).collect();
            let found = self.source.scores_wide(&Tensor { shape, data })?;
            let outputs = match found.shape[..] {
                [found_rows, outputs]
                    if found_rows == size
                        && outputs > 0
                        && (self.outputs == 0 || self.outputs == outputs)
                        && found.data.len() == size * outputs =>
                {
                    outputs
                }
                _ => return Err(AttackError::Output { rows: size, found: found.shape }),
            };
            self.outputs = outputs;
            answers.extend(&found.data[..rows * outputs]);
        }
        if answers.iter().any(|answer| answer.is_nan()) {
            return Err(AttackError::Source {
                model: self.source.name().to_owned(),
                problem: "an answer is not a number, so nothing can be learned from it".into(),
            });
        }
        Ok(answers)
    }

    /// The logarithms of the class probabilities of each row; two for a model with one output.
    pub(crate) fn logarithms_of(&mut self, points: &[f64]) -> Result<Vec<Vec<f64>>, AttackError> {
        let answers = self.outputs_of(points)?;
        Ok(answers.chunks(self.outputs.max(1)).map(|row| self.logarithms(row)).collect())
    }

    fn logarithms(&self, row: &[f64]) -> Vec<f64> {
        match (row, self.source.scale(), self.single) {
            ([share], OutputKind::Probabilities, _) | ([share], OutputKind::Logits, Single::Probability) => {
                vec![(-share).ln_1p(), share.ln()]
            }
            ([score], ..) => log_softmax(&[0.0, *score]),
            (_, OutputKind::Logits, _) => log_softmax(row),
            (_, OutputKind::LogProbabilities, _) => row.to_vec(),
            (_, OutputKind::Probabilities, _) => row.iter().map(|share| share.ln()).collect(),
        }
    }

    /// What is linear where the model's last layer is: its scores, or centred logarithms of its probabilities, which are the
    /// scores less their mean.
    pub(crate) fn scores_of(&mut self, points: &[f64]) -> Result<Vec<Vec<f64>>, AttackError> {
        let answers = self.outputs_of(points)?;
        Ok(answers
            .chunks(self.outputs.max(1))
            .map(|row| match (row, self.source.scale()) {
                ([_], OutputKind::Logits) if self.single == Single::Score => row.to_vec(),
                ([_], _) => {
                    let logs = self.logarithms(row);
                    vec![logs[1] - logs[0]]
                }
                (_, OutputKind::Logits) => row.to_vec(),
                _ => centred(&self.logarithms(row)),
            })
            .collect())
    }

    /// The same, but not finite where too few digits of an answer are left to compute with; of one score the sign stays.
    pub(crate) fn sharp_scores_of(&mut self, points: &[f64]) -> Result<Vec<Vec<f64>>, AttackError> {
        let mut scores = self.scores_of(points)?;
        let shares = self.is_blunt() || self.source.scale() != OutputKind::Logits;
        for row in scores.iter_mut().filter(|_| shares) {
            let least = row.iter().copied().fold(f64::INFINITY, f64::min);
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            match row.as_mut_slice() {
                [score] if *score > SURE => *score = f64::INFINITY,
                [score] if *score < -FADED => *score = f64::NEG_INFINITY,
                [_] => {}
                row if most - least > FADED => row.fill(f64::NAN),
                _ => {}
            }
        }
        Ok(scores)
    }
}

pub(crate) fn log_softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
    scores.iter().map(|score| score - largest - sum.ln()).collect()
}

fn centred(row: &[f64]) -> Vec<f64> {
    let mean = row.iter().sum::<f64>() / row.len().max(1) as f64;
    row.iter().map(|value| value - mean).collect()
}

/// Logarithm of the odds from which a probability rounds to 1 too coarsely: here it has lost four digits of sixteen.
pub(crate) const SURE: f64 = 10.0;
/// The same for a probability that is close to 0: below the smallest normal number (ln 2^-1022 = -708) digits get lost.
const FADED: f64 = 700.0;
/// Most decimals that a rounding keeps.
pub const DECIMALS_MAX: u8 = 15;
/// Inputs that are asked far out, and how far.
const FAR_ROWS: usize = 8;
const FAR: f64 = -1e3;
/// Rows put to the model at once.
const ROWS_AT_ONCE: usize = 512;
