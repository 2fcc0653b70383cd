//! Attacks without a way: random noise, and one step along the gradient.

use crate::{
    error::AttackError,
    evasion::{Attack, Field, Outcome, joined},
    loss::Loss,
    source::Capability,
};

/// Random points of the rim of the ball, so many for each example; no gradient. The baseline that a gradient must beat.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noise {
    pub(crate) tries: u64,
}

impl Attack for Noise {
    fn name(&self) -> String {
        format!("noise-{}", self.tries)
    }

    fn needs(&self) -> Capability {
        Capability::Labels
    }

    fn strike(&self, field: &Field<'_>, standing: &[usize]) -> Result<Outcome, AttackError> {
        let mut outcome = Outcome::before(standing);
        for attempt in 0..usize::try_from(self.tries).unwrap_or(usize::MAX) {
            let points: Vec<f32> = outcome
                .standing
                .iter()
                .flat_map(|place| {
                    let mut random = field.random(NOISE_STREAM, attempt, *place);
                    field.ball.random_rim(field.clean(*place), &mut random)
                })
                .collect();
            outcome.judge(field, &points)?;
        }
        Ok(outcome)
    }
}

/// The fast gradient sign method: one step of the ball's radius from the clean input (Goodfellow et al. 2015, section 4).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fgsm;

impl Attack for Fgsm {
    fn name(&self) -> String {
        "fgsm".into()
    }

    fn needs(&self) -> Capability {
        Capability::Gradient
    }

    fn strike(&self, field: &Field<'_>, standing: &[usize]) -> Result<Outcome, AttackError> {
        let mut outcome = Outcome::before(standing);
        let mut points = joined(standing.iter().map(|place| field.clean(*place)));
        let goals: Vec<_> = standing.iter().map(|place| field.goal(*place)).collect();
        let slope = field.oracle.slope_to(&points, &goals, Loss::CrossEntropy)?;
        outcome.queries += slope.queries;
        let width = field.examples.width();
        for (row, place) in standing.iter().enumerate() {
            let span = row * width..(row + 1) * width;
            field.ball.ascend(field.clean(*place), &mut points[span.clone()], &slope.gradient[span], field.ball.eps);
        }
        outcome.judge(field, &points)?;
        Ok(outcome)
    }
}

const NOISE_STREAM: u64 = 2;
