//! Attacks that change inputs: random noise, FGSM, and PGD with restarts.
//!
//! Each takes the examples that still stand and says which of them it fooled, with the inputs that did it. An example
//! is left alone as soon as it is fooled (first success wins, over steps and over restarts), which is the fastest
//! way to the same worst case.

use crate::{
    ball::Ball,
    error::AttackError,
    examples::Examples,
    oracle::{Loss, Oracle},
    random::stream,
};

/// What an attack did to the examples that it was given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// Fooled examples with the inputs that the model gets wrong, by rising example.
    pub(crate) fooled: Vec<(usize, Vec<f32>)>,
    /// Examples that still stand, rising.
    pub(crate) standing: Vec<usize>,
    /// Predictions and gradients asked for, over all examples.
    pub(crate) queries: u64,
}

impl Outcome {
    /// Both attacks together: an example stands if it stands against both, and one input that fooled is kept.
    pub(crate) fn joined(mut self, other: Self) -> Self {
        for (place, point) in other.fooled {
            if let Ok(found) = self.standing.binary_search(&place) {
                self.standing.remove(found);
                self.fooled.push((place, point));
            }
        }
        self.fooled.sort_by_key(|(place, _)| *place);
        self.queries += other.queries;
        self
    }
}

/// Random points of the rim of the ball, `tries` for each example; no gradient. The baseline that a gradient must beat.
pub(crate) fn noise(
    oracle: &Oracle<'_>,
    examples: &Examples,
    standing: &[usize],
    ball: Ball,
    tries: u64,
    seed: u64,
) -> Result<Outcome, AttackError> {
    let mut outcome = Outcome { standing: standing.to_vec(), ..Outcome::default() };
    for attempt in 0..tries {
        let points: Vec<f32> = outcome
            .standing
            .iter()
            .flat_map(|place| {
                let mut random = stream(seed, &[NOISE_STREAM, attempt, *place as u64]);
                ball.random_rim(examples.row(*place), &mut random)
            })
            .collect();
        judge(oracle, examples, &mut outcome, &points)?;
    }
    outcome.fooled.sort_by_key(|(place, _)| *place);
    Ok(outcome)
}

/// The fast gradient sign method: one step of the ball's radius from the clean input (Goodfellow et al. 2015, section 4).
pub(crate) fn fgsm(
    oracle: &Oracle<'_>,
    examples: &Examples,
    standing: &[usize],
    ball: Ball,
) -> Result<Outcome, AttackError> {
    let mut outcome = Outcome { standing: standing.to_vec(), ..Outcome::default() };
    let mut points: Vec<f32> = standing.iter().flat_map(|place| examples.row(*place)).copied().collect();
    let labels: Vec<usize> = standing.iter().map(|place| examples.labels()[*place]).collect();
    let slope = oracle.slope(&points, &labels, Loss::CrossEntropy)?;
    outcome.queries += slope.queries;
    let width = examples.width();
    for (row, place) in standing.iter().enumerate() {
        let span = row * width..(row + 1) * width;
        ball.ascend(examples.row(*place), &mut points[span.clone()], &slope.gradient[span], ball.eps);
    }
    judge(oracle, examples, &mut outcome, &points)?;
    Ok(outcome)
}

/// Projected gradient descent on the negative loss (Madry et al. 2018, section 2.1).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pgd {
    pub(crate) loss: Loss,
    /// Gradient steps of a restart.
    pub(crate) steps: usize,
    /// Random starts.
    pub(crate) restarts: usize,
    pub(crate) seed: u64,
}

impl Pgd {
    /// Attacks the `standing` examples.
    pub(crate) fn run(
        self,
        oracle: &Oracle<'_>,
        examples: &Examples,
        standing: &[usize],
        ball: Ball,
    ) -> Result<Outcome, AttackError> {
        Ok(self.run_counted(oracle, examples, standing, ball)?.1)
    }

    /// Like [`Self::run`], and how many stood after the first restart.
    pub(crate) fn run_counted(
        self,
        oracle: &Oracle<'_>,
        examples: &Examples,
        standing: &[usize],
        ball: Ball,
    ) -> Result<(usize, Outcome), AttackError> {
        let mut outcome = Outcome { standing: standing.to_vec(), ..Outcome::default() };
        let mut after_first = standing.len();
        for restart in 0..self.restarts {
            self.restart(oracle, examples, ball, restart as u64, &mut outcome)?;
            if restart == 0 {
                after_first = outcome.standing.len();
            }
        }
        outcome.fooled.sort_by_key(|(place, _)| *place);
        Ok((after_first, outcome))
    }

    /// One random start, `steps` steps. Each step's gradient also tells the prediction at the point it was taken at, so
    /// success is noticed without extra queries; the last point needs one of its own.
    fn restart(
        self,
        oracle: &Oracle<'_>,
        examples: &Examples,
        ball: Ball,
        restart: u64,
        outcome: &mut Outcome,
    ) -> Result<(), AttackError> {
        let mut points: Vec<f32> = outcome
            .standing
            .iter()
            .flat_map(|place| {
                let mut random = stream(self.seed, &[PGD_STREAM, restart, *place as u64]);
                ball.random_point(examples.row(*place), &mut random)
            })
            .collect();
        let width = examples.width();
        for taken in 0..self.steps {
            if outcome.standing.is_empty() {
                return Ok(());
            }
            let labels: Vec<usize> = outcome.standing.iter().map(|place| examples.labels()[*place]).collect();
            let slope = oracle.slope(&points, &labels, self.loss)?;
            outcome.queries += slope.queries;
            let step = ball.eps * self.step_share(taken);
            let mut still = Vec::with_capacity(outcome.standing.len());
            let mut moved = Vec::with_capacity(points.len());
            for (row, place) in outcome.standing.iter().enumerate() {
                let span = row * width..(row + 1) * width;
                let mut point = points[span.clone()].to_vec();
                if slope.predicted[row] == Some(labels[row]) {
                    ball.ascend(examples.row(*place), &mut point, &slope.gradient[span], step);
                    still.push(*place);
                    moved.extend(point);
                } else {
                    outcome.fooled.push((*place, point));
                }
            }
            (outcome.standing, points) = (still, moved);
        }
        judge(oracle, examples, outcome, &points)
    }

    /// Step length as a share of the radius: [`STEP_SPAN`] over the number of steps, as Madry et al. take it, and half
    /// of that in the last quarter, where finding the rim's exact spot matters more than getting there.
    fn step_share(self, taken: usize) -> f32 {
        let share = STEP_SPAN / self.steps.max(1) as f32;
        if taken * 4 >= self.steps * 3 { share / 2.0 } else { share.min(1.0) }
    }
}

/// Predicts `points`, one for each standing example, and moves the fooled ones over.
fn judge(oracle: &Oracle<'_>, examples: &Examples, outcome: &mut Outcome, points: &[f32]) -> Result<(), AttackError> {
    if outcome.standing.is_empty() {
        return Ok(());
    }
    let predicted = oracle.predict(points)?;
    outcome.queries += outcome.standing.len() as u64;
    let mut still = Vec::with_capacity(outcome.standing.len());
    for ((place, point), predicted) in outcome.standing.iter().zip(points.chunks_exact(examples.width())).zip(predicted)
    {
        if predicted == Some(examples.labels()[*place]) {
            still.push(*place);
        } else {
            outcome.fooled.push((*place, point.to_vec()));
        }
    }
    outcome.standing = still;
    Ok(())
}

/// All steps of a restart together span this many radii (Madry's challenge attack: 40 × 0.01 for 0.3 is 1.3; later
/// practice takes 2.5, so that a start on the wrong rim still reaches the other).
const STEP_SPAN: f32 = 2.5;
const NOISE_STREAM: u64 = 2;
const PGD_STREAM: u64 = 3;
