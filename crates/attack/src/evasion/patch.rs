//! A patch: any values inside one square window of a picture (Brown et al. 2017; for one picture at a time, with the window
//! tried at several places).

use rayon::prelude::*;

use crate::{
    ball::{Norm, count, sign},
    error::AttackError,
    evasion::{Attack, Field, Outcome, joined},
    loss::{Goal, Loss},
    source::Capability,
};

/// PGD inside windows whose values, over all channels, are at most as many as the radius says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patched {
    /// Places tried.
    pub(crate) places: usize,
    pub(crate) steps: usize,
}

struct Climber {
    place: usize,
    x: Vec<f32>,
    /// Places of the window's values.
    window: Vec<usize>,
    gradient: Vec<f32>,
}

impl Attack for Patched {
    fn name(&self) -> String {
        "patch".into()
    }

    fn needs(&self) -> Capability {
        Capability::Gradient
    }

    fn norms(&self) -> &'static [Norm] {
        &[Norm::L0]
    }

    fn strike(&self, field: &Field<'_>, standing: &[usize]) -> Result<Outcome, AttackError> {
        let mut outcome = Outcome::before(standing);
        for attempt in 0..self.places {
            let climbers = outcome
                .standing
                .iter()
                .map(|place| {
                    let mut random = field.random(PATCH_STREAM, attempt, *place);
                    let window = window(field, &mut random);
                    let mut x = field.clean(*place).to_vec();
                    for at in &window {
                        let (low, high) = field.ball.bounds(*at, x[*at]);
                        x[*at] = random.uniform_in(low, high);
                    }
                    Climber { place: *place, x, window, gradient: Vec::new() }
                })
                .collect();
            self.climb(field, climbers, &mut outcome)?;
        }
        Ok(outcome)
    }
}

impl Patched {
    fn climb(self, field: &Field<'_>, mut climbers: Vec<Climber>, outcome: &mut Outcome) -> Result<(), AttackError> {
        let width = field.examples.width();
        let step = field.ball.range.width() * 2.5 / self.steps.max(1) as f32;
        for _ in 0..self.steps {
            if climbers.is_empty() {
                return Ok(());
            }
            let goals: Vec<Goal> = climbers.iter().map(|climber| field.goal(climber.place)).collect();
            let points = joined(climbers.iter().map(|climber| climber.x.as_slice()));
            let slope = field.oracle.slope_to(&points, &goals, Loss::LogOdds)?;
            outcome.queries += slope.queries;
            let seen: Vec<bool> = climbers
                .iter()
                .zip(&slope.predicted)
                .map(|(climber, class)| field.won(climber.place, *class))
                .collect();
            for (climber, gradient) in climbers.iter_mut().zip(slope.gradient.chunks_exact(width)) {
                climber.gradient = climber.window.iter().map(|at| gradient[*at]).collect();
            }
            climbers = outcome.settle(field, climbers, &seen, |climber| (climber.place, &climber.x))?;
            climbers.par_iter_mut().for_each(|climber| {
                let clean = field.clean(climber.place);
                for (at, slope) in climber.window.iter().zip(&climber.gradient) {
                    let (low, high) = field.ball.bounds(*at, clean[*at]);
                    climber.x[*at] = (climber.x[*at] + step * sign(*slope)).clamp(low, high);
                }
            });
        }
        let points = joined(climbers.iter().map(|climber| climber.x.as_slice()));
        outcome.judge(field, &points)
    }
}

/// The values of a random square window over all channels, as large as the radius allows; what is no picture is one row.
fn window(field: &Field<'_>, random: &mut ringfence_nn::random::Random) -> Vec<usize> {
    let (channels, height, width) = match field.oracle.shape() {
        [channels, height, width] => (*channels, *height, *width),
        shape => (1, 1, shape.iter().product()),
    };
    let area = count(field.ball.eps) / channels.max(1);
    let (rows, columns) =
        if height == 1 { (1, area.min(width)) } else { (area.isqrt().min(height), area.isqrt().min(width)) };
    let (top, left) = (random.below(height - rows + 1), random.below(width - columns + 1));
    (0..channels)
        .flat_map(|channel| (0..rows).map(move |row| (channel * height + top + row) * width + left))
        .flat_map(|first| first..first + columns)
        .collect()
}

const PATCH_STREAM: u64 = 15;
