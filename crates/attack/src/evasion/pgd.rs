//! Projected gradient descent on the negative loss (Madry et al. 2018, section 2.1).

use rayon::prelude::*;

use crate::{
    error::AttackError,
    evasion::{Attack, Field, Outcome, join},
    loss::{Goal, Loss},
    oracle::Slope,
    source::Capability,
};

/// PGD with random starts and a fixed schedule of steps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pgd {
    pub(crate) loss: Loss,
    /// Gradient steps of a restart.
    pub(crate) steps: usize,
    /// Random starts.
    pub(crate) restarts: usize,
    /// Added to the restart's number, so that another run starts elsewhere.
    pub(crate) shift: usize,
}

/// An example on its way.
struct Climber {
    place: usize,
    x: Vec<f32>,
    /// Where its gradient lies among those of this step.
    row: usize,
}

impl Attack for Pgd {
    fn name(&self) -> String {
        let loss = match self.loss {
            Loss::CrossEntropy | Loss::LogOdds => "",
            Loss::Margin => "margin-",
            Loss::Dlr => "dlr-",
        };
        format!("pgd-{loss}{}x{}", self.steps, self.restarts)
    }

    fn needs(&self) -> Capability {
        Capability::Gradient
    }

    fn strike(&self, field: &Field<'_>, standing: &[usize]) -> Result<Outcome, AttackError> {
        Ok(self.run_counted(field, standing)?.1)
    }
}

impl Pgd {
    /// Like [`Attack::run`], and how many stood after the first restart.
    pub(crate) fn run_counted(self, field: &Field<'_>, standing: &[usize]) -> Result<(usize, Outcome), AttackError> {
        let mut outcome = Outcome::before(standing);
        let mut after_first = standing.len();
        for restart in 0..self.restarts {
            self.restart(field, restart, &mut outcome)?;
            if restart == 0 {
                after_first = outcome.standing.len();
            }
        }
        outcome.fooled.sort_by_key(|(place, _)| *place);
        Ok((after_first, outcome))
    }

    /// One random start, `steps` steps. Each step's gradient also tells the prediction at the point it was taken at, so
    /// success is noticed without extra queries; the last point needs one of its own.
    fn restart(self, field: &Field<'_>, restart: usize, outcome: &mut Outcome) -> Result<(), AttackError> {
        let mut moving: Vec<Climber> = outcome
            .standing
            .par_iter()
            .map(|place| {
                let mut random = field.random(PGD_STREAM, restart + self.shift, *place);
                Climber { place: *place, x: field.ball.random_point(field.clean(*place), &mut random), row: 0 }
            })
            .collect();
        let width = field.examples.width();
        let (mut points, mut slope) = (Vec::new(), Slope::default());
        for taken in 0..self.steps {
            if moving.is_empty() {
                return Ok(());
            }
            let goals: Vec<Goal> = moving.iter().map(|climber| field.goal(climber.place)).collect();
            join(moving.iter().map(|climber| climber.x.as_slice()), &mut points);
            field.oracle.slope_into(&points, &goals, self.loss, &mut slope)?;
            outcome.queries += slope.queries;
            let seen: Vec<bool> = moving
                .iter()
                .zip(&slope.predicted)
                .map(|(climber, predicted)| field.won(climber.place, *predicted))
                .collect();
            moving.iter_mut().enumerate().for_each(|(row, climber)| climber.row = row);
            moving = outcome.settle(field, moving, &seen, |climber| (climber.place, &climber.x))?;
            let step = field.ball.eps * self.step_share(taken);
            moving.par_iter_mut().for_each(|climber| {
                let gradient = &slope.gradient[climber.row * width..][..width];
                field.ball.ascend(field.clean(climber.place), &mut climber.x, gradient, step);
            });
        }
        outcome.standing = moving.iter().map(|climber| climber.place).collect();
        join(moving.iter().map(|climber| climber.x.as_slice()), &mut points);
        outcome.judge(field, &points)
    }

    /// Step length as a share of the radius: [`STEP_SPAN`] over the number of steps, as Madry et al. take it, and half
    /// of that in the last quarter, where finding the rim's exact spot matters more than getting there.
    fn step_share(self, taken: usize) -> f32 {
        let share = STEP_SPAN / self.steps.max(1) as f32;
        if taken * 4 >= self.steps * 3 { share / 2.0 } else { share.min(1.0) }
    }
}

/// All steps of a restart together span this many radii (Madry's challenge attack: 40 × 0.01 for 0.3 is 1.3; later
/// practice takes 2.5, so that a start on the wrong rim still reaches the other).
const STEP_SPAN: f32 = 2.5;
const PGD_STREAM: u64 = 3;
