//! The only door to what is attacked: predictions and slopes in bounded batches, and the ledger of what they cost.

use std::sync::atomic::{AtomicU64, Ordering};

use ringfence_nn::{NnError, OutputKind, Tensor};

use crate::{
    error::AttackError,
    examples::Examples,
    loss::{Goal, Loss, winner},
    source::{Capability, Gradient, Predict},
};

/// A source and the shape of the examples put to it.
pub(crate) struct Oracle<'m> {
    source: &'m dyn Predict,
    /// Shape of one example.
    shape: Vec<usize>,
    classes: usize,
    /// The batch that the source demands.
    fixed_batch: Option<usize>,
    /// Rows asked for so far, and the most that may be.
    asked: AtomicU64,
    budget: u64,
    /// Whether no slope reaches the input, although the source computes slopes.
    unsloped: bool,
}

/// Slopes of a loss at some points.
#[derive(Default)]
pub(crate) struct Slope {
    /// Gradient of each row's own loss with respect to the row, all rows after one another.
    pub(crate) gradient: Vec<f32>,
    /// The loss of each row.
    pub(crate) loss: Vec<f32>,
    /// Scores of each row, all rows after one another.
    pub(crate) scores: Vec<f32>,
    /// Predicted class of each row.
    pub(crate) predicted: Vec<Option<usize>>,
    /// What it cost: one for each row and gradient.
    pub(crate) queries: u64,
}

impl Slope {
    fn clear(&mut self) {
        let Self { gradient, loss, scores, predicted, queries } = self;
        for numbers in [gradient, loss, scores] {
            numbers.clear();
        }
        predicted.clear();
        *queries = 0;
    }
}

impl<'m> Oracle<'m> {
    /// Checks that `examples` suit `source`: shape, and labels against the number of classes (told by a prediction).
    pub(crate) fn new(source: &'m dyn Predict, examples: &Examples) -> Result<Self, AttackError> {
        Self::with_budget(source, examples, u64::MAX)
    }

    /// The same with a limit on the rows that may be asked for.
    pub(crate) fn with_budget(source: &'m dyn Predict, examples: &Examples, budget: u64) -> Result<Self, AttackError> {
        let expected = source.shape();
        let found = &examples.inputs().shape;
        let fits = expected.len() == found.len()
            && expected.iter().zip(found).skip(1).all(|(dim, found)| dim.is_none_or(|dim| dim == *found));
        if !fits {
            return Err(AttackError::Shape {
                input: source.name().to_owned(),
                expected: expected.to_vec(),
                found: found.clone(),
            });
        }
        let fixed_batch = expected.first().copied().flatten().filter(|rows| *rows > 0);
        let shape = examples.shape_of(1).split_off(1);
        let mut oracle =
            Self { source, shape, classes: 0, fixed_batch, asked: AtomicU64::new(0), budget, unsloped: false };
        oracle.classes = oracle.answer(examples.row(0))?.shape[1];
        match examples.labels().iter().position(|label| *label >= oracle.classes) {
            None => Ok(oracle),
            Some(example) => {
                Err(AttackError::Label { example, label: examples.labels()[example], classes: oracle.classes })
            }
        }
    }

    /// Looks whether a slope reaches the input at all; where none does, the source counts as one that answers scores alone from
    /// now on, and why is said. Only our own runtime knows that of its models; others hand over zeros, which other checks see.
    pub(crate) fn without_slopes(&mut self, examples: &Examples) -> Result<Option<String>, AttackError> {
        if self.source.parameters().is_none() {
            return Ok(None);
        }
        match self.slope(examples.row(0), &examples.labels()[..1], Loss::CrossEntropy) {
            Err(AttackError::Network(error @ NnError::NoGradient { .. })) => {
                self.unsloped = true;
                Ok(Some(error.to_string()))
            }
            other => other.map(|_| None),
        }
    }

    /// Number of classes.
    pub(crate) const fn classes(&self) -> usize {
        self.classes
    }

    /// Shape of one example.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Refuses an attack that needs more than the source has.
    pub(crate) fn allow(&self, attack: &str, needs: Capability) -> Result<(), AttackError> {
        let has = self.capability();
        if needs <= has {
            return Ok(());
        }
        Err(AttackError::Capability { attack: attack.to_owned(), needs, model: self.source.name().to_owned(), has })
    }

    /// The most that the source is good for.
    pub(crate) fn capability(&self) -> Capability {
        let has = self.source.capability();
        if self.unsloped { has.min(Capability::Predict) } else { has }
    }

    /// Whether there are slopes.
    pub(crate) fn has_gradient(&self) -> bool {
        !self.unsloped && self.source.gradient().is_some()
    }

    /// The class with the highest score for each row of `points`; `None` where a score is not a number.
    pub(crate) fn predict(&self, points: &[f32]) -> Result<Vec<Option<usize>>, AttackError> {
        Ok(self.scores(points)?.chunks_exact(self.classes).map(winner).collect())
    }

    /// The same by the model itself, where what is asked is only a quicker way to its scores; `None` where there is no such difference.
    pub(crate) fn judge(&self, points: &[f32]) -> Result<Option<Vec<Option<usize>>>, AttackError> {
        let Some(model) = self.source.judge() else { return Ok(None) };
        let mut judged = Vec::with_capacity(points.len() / self.width());
        for part in points.chunks(BATCH * self.width()) {
            let x = self.padded(part);
            let scores = self.checked(model.forward(&x)?, x.shape[0])?;
            judged.extend(scores.data.chunks_exact(self.classes).take(part.len() / self.width()).map(winner));
        }
        Ok(Some(judged))
    }

    /// Scores of each row of `points`, unbounded: logarithms where the model answers probabilities.
    pub(crate) fn scores(&self, points: &[f32]) -> Result<Vec<f32>, AttackError> {
        let mut scores = Vec::with_capacity(points.len() / self.width() * self.classes);
        for part in points.chunks(BATCH * self.width()) {
            scores.extend(self.answer(part)?.data);
        }
        if self.source.scale() == OutputKind::Probabilities {
            for score in &mut scores {
                *score = score.max(f32::MIN_POSITIVE).ln();
            }
        }
        Ok(scores)
    }

    /// Slopes of `loss` away from the labels at each row of `points`.
    pub(crate) fn slope(&self, points: &[f32], labels: &[usize], loss: Loss) -> Result<Slope, AttackError> {
        let goals: Vec<Goal> = labels.iter().map(|label| Goal::away(*label)).collect();
        self.slope_to(points, &goals, loss)
    }

    /// Slopes of `loss` with a goal for each row.
    pub(crate) fn slope_to(&self, points: &[f32], goals: &[Goal], loss: Loss) -> Result<Slope, AttackError> {
        let mut slope = Slope { gradient: Vec::with_capacity(points.len()), ..Slope::default() };
        self.slope_into(points, goals, loss, &mut slope)?;
        Ok(slope)
    }

    /// [`Self::slope_to`] in place of what `slope` holds. Whoever asks step after step spares the system new memory, which may
    /// cost more than the step.
    pub(crate) fn slope_into(
        &self,
        points: &[f32],
        goals: &[Goal],
        loss: Loss,
        slope: &mut Slope,
    ) -> Result<(), AttackError> {
        slope.clear();
        for (part, goals) in points.chunks(BATCH * self.width()).zip(goals.chunks(BATCH)) {
            self.slope_of_batch(part, goals, loss, slope)?;
        }
        Ok(())
    }

    fn slope_of_batch(&self, part: &[f32], goals: &[Goal], loss: Loss, to: &mut Slope) -> Result<(), AttackError> {
        let source = self.differentiable()?;
        self.count(goals.len())?;
        let x = self.padded(part);
        let goal = |row: usize| goals.get(row).copied().unwrap_or(Goal::away(0));
        let found = if loss == Loss::CrossEntropy && goals.iter().all(|goal| goal.target.is_none()) {
            let labels: Vec<usize> = (0..x.shape[0]).map(|row| goal(row).label).collect();
            source.cross_entropy(&x, &labels)?
        } else {
            source.pullback(&x, &|row, scores, seed| loss.of(goal(row), scores, seed))?
        };
        let scores = self.checked(found.scores, x.shape[0])?;
        to.scores.extend(&scores.data[..goals.len() * self.classes]);
        to.predicted.extend(scores.data.chunks_exact(self.classes).take(goals.len()).map(winner));
        to.loss.extend(found.loss.iter().take(goals.len()));
        to.gradient.extend_from_slice(&found.input.data[..part.len()]);
        to.queries += goals.len() as u64;
        Ok(())
    }

    fn differentiable(&self) -> Result<&dyn Gradient, AttackError> {
        self.source.gradient().ok_or_else(|| AttackError::Capability {
            attack: "a slope".into(),
            needs: Capability::Gradient,
            model: self.source.name().to_owned(),
            has: self.source.capability(),
        })
    }

    fn answer(&self, part: &[f32]) -> Result<Tensor<f32>, AttackError> {
        let rows = part.len() / self.width();
        self.count(rows)?;
        let x = self.padded(part);
        let mut scores = self.checked(self.source.scores(&x)?, x.shape[0])?;
        scores.data.truncate(rows * scores.shape[1]);
        scores.shape[0] = rows;
        Ok(scores)
    }

    /// Enters rows into the ledger before they are asked for.
    fn count(&self, rows: usize) -> Result<(), AttackError> {
        let before = self.asked.fetch_add(rows as u64, Ordering::Relaxed);
        if before.saturating_add(rows as u64) <= self.budget {
            return Ok(());
        }
        Err(AttackError::Budget { budget: self.budget })
    }

    /// Refuses an output that is not `[rows, classes]`.
    fn checked(&self, scores: Tensor<f32>, rows: usize) -> Result<Tensor<f32>, AttackError> {
        match scores.shape[..] {
            [found, classes]
                if found == rows
                    && classes > 0
                    && (self.classes == 0 || self.classes == classes)
                    && scores.data.len() == rows * classes =>
            {
                Ok(scores)
            }
            _ => Err(AttackError::Output { rows, found: scores.shape }),
        }
    }

    /// `part` with its last row repeated up to a size that the engine has seen before: it plans each batch size anew, and
    /// an attack asks for a smaller one after each success. Where the source fixes the batch, up to a multiple of that. Other
    /// sources get no row that was not asked for.
    fn padded(&self, part: &[f32]) -> Tensor<f32> {
        let (rows, width) = (part.len() / self.width(), self.width());
        let size = match self.fixed_batch {
            Some(fixed) => rows.next_multiple_of(fixed),
            None if self.source.parameters().is_none() => rows,
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

/// Examples put to the network at once: enough to fill the cores, little enough to bound memory.
const BATCH: usize = 256;
/// Batches above this size are multiples of it.
const GRANULE: usize = 16;
