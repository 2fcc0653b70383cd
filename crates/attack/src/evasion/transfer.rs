//! Transfer: inputs that fool a surrogate are tried on the model (Papernot et al. 2017), climbed with momentum
//! (Dong et al. 2018, algorithm 1), which transfers better.

use ringfence_nn::Model;

use crate::{
    error::AttackError,
    evasion::{Attack, Field, Outcome, joined},
    loss::{Goal, Loss},
    oracle::Oracle,
    source::Capability,
};

/// So many steps on a surrogate, tried on the model four times on the way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transfer<'s> {
    pub(crate) surrogate: &'s Model,
    pub(crate) steps: usize,
}

impl Attack for Transfer<'_> {
    fn name(&self) -> String {
        "transfer".into()
    }

    fn needs(&self) -> Capability {
        Capability::Labels
    }

    fn strike(&self, field: &Field<'_>, standing: &[usize]) -> Result<Outcome, AttackError> {
        let mut outcome = Outcome::before(standing);
        let surrogate = Oracle::new(self.surrogate, field.examples)?;
        let width = field.examples.width();
        let mut momentum = vec![0.0_f32; standing.len() * width];
        let mut points = joined(standing.iter().map(|place| field.clean(*place)));
        let goals: Vec<Goal> = standing.iter().map(|place| field.goal(*place)).collect();
        let step = field.ball.eps * 2.5 / self.steps.max(1) as f32;
        let pause = (self.steps / TRIALS).max(1);
        for taken in 1..=self.steps {
            let slope = surrogate.slope_to(&points, &goals, Loss::LogOdds)?;
            let rows = points.chunks_exact_mut(width).zip(momentum.chunks_exact_mut(width));
            for (row, (point, momentum)) in rows.enumerate() {
                let gradient = &slope.gradient[row * width..(row + 1) * width];
                let size = gradient.iter().map(|slope| slope.abs()).sum::<f32>().max(f32::MIN_POSITIVE);
                momentum.iter_mut().zip(gradient).for_each(|(sum, slope)| *sum += slope / size);
                field.ball.ascend(field.clean(standing[row]), point, momentum, step);
            }
            if taken % pause == 0 {
                let still: Vec<f32> = standing
                    .iter()
                    .zip(points.chunks_exact(width))
                    .filter(|(place, _)| outcome.standing.binary_search(place).is_ok())
                    .flat_map(|(_, point)| point)
                    .copied()
                    .collect();
                outcome.judge(field, &still)?;
            }
        }
        Ok(outcome)
    }
}

/// How often the points are tried on the model.
const TRIALS: usize = 4;
