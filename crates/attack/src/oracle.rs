//! The only door to the network: predictions and slopes in bounded batches, with what they cost.

use ringfence_nn::{Model, Tensor, Want};

use crate::{error::AttackError, examples::Examples};

/// What an attacker climbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Cross-entropy of the label.
    CrossEntropy,
    /// The best other class's score less the label's: does not saturate where cross-entropy does
    /// (Carlini and Wagner 2017, objective f6).
    Margin,
}

/// A model and the shape of the examples put to it.
pub(crate) struct Oracle<'m> {
    model: &'m Model,
    /// Shape of one example.
    shape: Vec<usize>,
    classes: usize,
    /// The batch that the file demands.
    fixed_batch: Option<usize>,
}

/// Slopes of a loss at some points.
pub(crate) struct Slope {
    /// Gradient of each row's own loss with respect to the row, all rows after one another.
    pub(crate) gradient: Vec<f32>,
    /// The loss of each row.
    pub(crate) loss: Vec<f32>,
    /// Predicted class of each row.
    pub(crate) predicted: Vec<Option<usize>>,
    /// What it cost: one for each row and gradient.
    pub(crate) queries: u64,
}

impl<'m> Oracle<'m> {
    /// Checks that `examples` suit `model`: shape, and labels against the number of classes (told by a prediction).
    pub(crate) fn new(model: &'m Model, examples: &Examples) -> Result<Self, AttackError> {
        let (name, expected) = model.input();
        let found = &examples.inputs().shape;
        let fits = expected.len() == found.len()
            && expected.iter().zip(found).skip(1).all(|(dim, found)| dim.is_none_or(|dim| dim == *found));
        if !fits {
            return Err(AttackError::Shape {
                input: name.to_owned(),
                expected: expected.to_vec(),
                found: found.clone(),
            });
        }
        let fixed_batch = expected.first().copied().flatten().filter(|rows| *rows > 0);
        let mut oracle = Self { model, shape: examples.shape_of(1).split_off(1), classes: 0, fixed_batch };
        oracle.classes = oracle.scores(examples.row(0))?.shape[1];
        match examples.labels().iter().position(|label| *label >= oracle.classes) {
            None => Ok(oracle),
            Some(example) => {
                Err(AttackError::Label { example, label: examples.labels()[example], classes: oracle.classes })
            }
        }
    }

    /// Number of classes.
    pub(crate) const fn classes(&self) -> usize {
        self.classes
    }

    /// The class with the highest score for each row of `points`; `None` where a score is not a number.
    pub(crate) fn predict(&self, points: &[f32]) -> Result<Vec<Option<usize>>, AttackError> {
        let mut predicted = Vec::with_capacity(points.len() / self.width());
        for part in points.chunks(BATCH * self.width()) {
            predicted.extend(self.scores(part)?.data.chunks_exact(self.classes).map(winner));
        }
        Ok(predicted)
    }

    /// Slopes of `loss` at each row of `points`.
    pub(crate) fn slope(&self, points: &[f32], labels: &[usize], loss: Loss) -> Result<Slope, AttackError> {
        let mut slope =
            Slope { gradient: Vec::with_capacity(points.len()), loss: vec![], predicted: vec![], queries: 0 };
        for (part, labels) in points.chunks(BATCH * self.width()).zip(labels.chunks(BATCH)) {
            self.slope_of_batch(part, labels, loss, &mut slope)?;
        }
        Ok(slope)
    }

    fn slope_of_batch(&self, part: &[f32], labels: &[usize], loss: Loss, to: &mut Slope) -> Result<(), AttackError> {
        let x = self.padded(part);
        let label = |row: usize| labels.get(row).copied().unwrap_or_default();
        let found = match loss {
            Loss::CrossEntropy => {
                let labels: Vec<usize> = (0..x.shape[0]).map(label).collect();
                self.model.gradients(&x, &labels, Want::Input)?
            }
            Loss::Margin => self.model.pullback(&x, Want::Input, &|row, scores: &[f32], seed: &mut [f32]| {
                let (label, rival) = (label(row), rival(scores, label(row)));
                seed[rival] += 1.0;
                seed[label] -= 1.0;
                scores[rival] - scores[label]
            })?,
        };
        let scores = self.checked(found.logits, x.shape[0])?;
        to.predicted.extend(scores.data.chunks_exact(self.classes).take(labels.len()).map(winner));
        to.loss.extend(found.loss_per_example.iter().take(labels.len()));
        to.gradient.extend(found.input.iter().flat_map(|input| &input.data).take(part.len()));
        to.queries += labels.len() as u64;
        Ok(())
    }

    fn scores(&self, part: &[f32]) -> Result<Tensor<f32>, AttackError> {
        let rows = part.len() / self.width();
        let x = self.padded(part);
        let mut scores = self.checked(self.model.forward(&x)?, x.shape[0])?;
        scores.data.truncate(rows * scores.shape[1]);
        scores.shape[0] = rows;
        Ok(scores)
    }

    /// Refuses an output that is not `[rows, classes]`.
    fn checked(&self, scores: Tensor<f32>, rows: usize) -> Result<Tensor<f32>, AttackError> {
        match scores.shape[..] {
            [found, classes] if found == rows && classes > 0 && (self.classes == 0 || self.classes == classes) => {
                Ok(scores)
            }
            _ => Err(AttackError::Output { rows, found: scores.shape }),
        }
    }

    /// `part` with its last row repeated up to a size that the engine has seen before: it plans each batch size anew, and
    /// an attack asks for a smaller one after each success. Where the file fixes the batch, up to a multiple of that.
    fn padded(&self, part: &[f32]) -> Tensor<f32> {
        let (rows, width) = (part.len() / self.width(), self.width());
        let size = match self.fixed_batch {
            Some(fixed) => rows.next_multiple_of(fixed),
            None if rows <= GRANULE => rows.next_power_of_two(),
            None => rows.next_multiple_of(GRANULE),
        };
        let mut data = part.to_vec();
        for _ in rows..size {
            data.extend_from_within(data.len() - width..);
        }
        Tensor { shape: std::iter::once(size).chain(self.shape.iter().copied()).collect(), data }
    }

    fn width(&self) -> usize {
        self.shape.iter().product::<usize>().max(1)
    }
}

/// The class with the highest score, the first of equals; `None` where any score is not a number: such an answer is
/// never right.
fn winner(row: &[f32]) -> Option<usize> {
    if row.iter().any(|score| score.is_nan()) {
        return None;
    }
    let best = row.iter().enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map(|(class, _)| class)
}

/// The class other than `label` with the highest score; `label` itself where there is no other.
fn rival(row: &[f32], label: usize) -> usize {
    let others = row.iter().enumerate().filter(|(class, _)| *class != label);
    others.reduce(|best, next| if next.1 > best.1 { next } else { best }).map_or(label, |(class, _)| class)
}

/// Examples put to the network at once: enough to fill the cores, little enough to bound memory.
const BATCH: usize = 256;
/// Batches above this size are multiples of it.
const GRANULE: usize = 16;
