//! Gradients estimated from scores: NES (Ilyas et al. 2018, section 3.1) and SPSA (Spall 1992; Uesato et al. 2018, section 4.1).
//! The steps that follow them are PGD's.

use rayon::prelude::*;
use ringfence_nn::random::Random;

use crate::{
    ball::narrow,
    error::AttackError,
    evasion::{Attack, Field, Outcome, joined},
    loss::Loss,
    source::Capability,
};

/// How random directions are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Draw {
    /// Normal: NES.
    Normal,
    /// +1 or -1 for every value: SPSA.
    Signs,
}

/// PGD with an estimated gradient of the margin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Estimated {
    pub(crate) draw: Draw,
    pub(crate) steps: usize,
    /// Directions of a step, each tried both ways.
    pub(crate) directions: usize,
}

struct Climber {
    place: usize,
    x: Vec<f32>,
    random: Random,
}

impl Attack for Estimated {
    fn name(&self) -> String {
        match self.draw {
            Draw::Normal => "nes".into(),
            Draw::Signs => "spsa".into(),
        }
    }

    fn needs(&self) -> Capability {
        Capability::Predict
    }

    fn strike(&self, field: &Field<'_>, standing: &[usize]) -> Result<Outcome, AttackError> {
        let mut outcome = Outcome::before(standing);
        let mut climbers: Vec<Climber> = standing
            .iter()
            .map(|place| Climber {
                place: *place,
                x: field.clean(*place).to_vec(),
                random: field.random(if self.draw == Draw::Normal { NES_STREAM } else { SPSA_STREAM }, 0, *place),
            })
            .collect();
        for taken in 0..self.steps {
            if climbers.is_empty() {
                break;
            }
            let share = narrow(STEP_SPAN / self.steps as f64).min(1.0);
            let share = if taken * 4 >= self.steps * 3 { share / 2.0 } else { share };
            for group in climbers.chunks_mut(GROUP) {
                self.climb(field, group, share, &mut outcome)?;
            }
            let points = joined(climbers.iter().map(|climber| climber.x.as_slice()));
            let predicted = field.oracle.predict(&points)?;
            outcome.queries += climbers.len() as u64;
            let seen: Vec<bool> =
                climbers.iter().zip(predicted).map(|(climber, class)| field.won(climber.place, class)).collect();
            climbers = outcome.settle(field, climbers, &seen, |climber| (climber.place, &climber.x))?;
        }
        Ok(outcome)
    }
}

impl Estimated {
    fn climb(
        self,
        field: &Field<'_>,
        group: &mut [Climber],
        share: f32,
        outcome: &mut Outcome,
    ) -> Result<(), AttackError> {
        let width = field.examples.width();
        let reach = REACH * field.ball.range.width();
        let drawn: Vec<Vec<f32>> = group.par_iter_mut().map(|climber| self.directions(climber, width)).collect();
        let points: Vec<f32> = group
            .par_iter()
            .zip(&drawn)
            .flat_map_iter(|(climber, ways)| {
                ways.chunks_exact(width).flat_map(move |way| {
                    [reach, -reach]
                        .into_iter()
                        .flat_map(move |reach| climber.x.iter().zip(way).map(move |(x, way)| x + reach * way))
                })
            })
            .collect();
        let scores = field.oracle.scores(&points)?;
        let classes = field.oracle.classes();
        outcome.queries += (scores.len() / classes) as u64;
        let own = scores.par_chunks_exact(classes * 2 * self.directions);
        group.par_iter_mut().zip(&drawn).zip(own).for_each(|((climber, ways), scores)| {
            let goal = field.goal(climber.place);
            let margin = |row: &[f32]| Loss::Margin.of(goal, row, &mut vec![0.0; row.len()]);
            let mut gradient = vec![0.0_f32; width];
            for (way, pair) in ways.chunks_exact(width).zip(scores.chunks_exact(2 * classes)) {
                let (ahead, back) = pair.split_at(classes);
                let rise = margin(ahead) - margin(back);
                if rise.is_finite() {
                    gradient.iter_mut().zip(way).for_each(|(sum, way)| *sum += rise * way);
                }
            }
            let step = field.ball.eps * share;
            field.ball.ascend(field.clean(climber.place), &mut climber.x, &gradient, step);
        });
        Ok(())
    }

    fn directions(self, climber: &mut Climber, width: usize) -> Vec<f32> {
        let random = &mut climber.random;
        let mut one = || match self.draw {
            Draw::Normal => narrow(random.normal()),
            Draw::Signs => {
                if random.below(2) == 0 {
                    1.0
                } else {
                    -1.0
                }
            }
        };
        (0..self.directions * width).map(|_| one()).collect()
    }
}

/// How far directions are tried, as a share of the range (σ of NES, δ of SPSA).
const REACH: f32 = 0.001;
/// Climbers whose points are held at once.
const GROUP: usize = 16;
const STEP_SPAN: f64 = 2.5;
const NES_STREAM: u64 = 13;
const SPSA_STREAM: u64 = 14;
