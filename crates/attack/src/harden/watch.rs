//! How a network does on examples that it is never trained on.

use ringfence_nn::Model;

use super::{HardenPlan, Watch};
use crate::{
    ball::{Ball, Norm},
    error::AttackError,
    evasion::{
        Attack as _, Field,
        apgd::{Aim, Apgd},
        pgd::Pgd,
        single::Fgsm,
    },
    examples::Examples,
    loss::Loss,
    oracle::Oracle,
};

/// The weights of the best epoch so far.
pub(super) struct Best {
    /// Counted from 1.
    pub(super) epoch: u64,
    pub(super) seen: Seen,
    pub(super) weights: Vec<Vec<f32>>,
}

/// How a network does on the watching examples.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// Accuracy.
    pub(super) clean: f64,
    /// Accuracy under one step.
    pub(super) single: f64,
    /// Accuracy under the watching attack.
    pub(super) robust: f64,
    /// Whether any answer is not a number.
    pub(super) broken: bool,
}

impl Seen {
    /// Accuracies of `model` on `watching`: clean, under one step, and under the watching attack (all the same where the radius
    /// is 0).
    pub(super) fn of(plan: &HardenPlan, watching: &Examples, model: &Model) -> Result<Self, AttackError> {
        let oracle = Oracle::new(model, watching)?;
        let predicted = oracle.predict(&watching.inputs().data)?;
        let right: Vec<usize> =
            (0..watching.count()).filter(|row| predicted[*row] == Some(watching.labels()[*row])).collect();
        let share = |count: usize| count as f64 / watching.count() as f64;
        let (clean, broken) = (share(right.len()), predicted.iter().any(Option::is_none));
        if plan.eps <= 0.0 || broken {
            return Ok(Self { clean, single: clean, robust: clean, broken });
        }
        let ball = Ball::new(Norm::Linf, plan.eps, plan.range);
        let field = Field { oracle: &oracle, examples: watching, ball, seed: plan.seed, target: None };
        let single = Fgsm.run(&field, &right)?.standing.len();
        let steps = plan.watch_steps;
        let standing = match plan.watch {
            Watch::Pgd => {
                let pgd = Pgd { loss: Loss::CrossEntropy, steps, restarts: 1, shift: 0 };
                pgd.run(&field, &right)?.standing
            }
            Watch::Strong => {
                let away = Apgd { loss: Loss::LogOdds, aim: Aim::Away, steps, restarts: 1 };
                let toward = Apgd { loss: Loss::Dlr, aim: Aim::Ranked(TARGETS), ..away };
                toward.run(&field, &away.run(&field, &right)?.standing)?.standing
            }
        };
        Ok(Self { clean, single: share(single), robust: share(standing.len()), broken })
    }

    /// What the best epoch has most of: both accuracies count alike.
    pub(super) fn score(&self) -> f64 {
        self.clean + self.robust
    }

    /// Whether the network has learned to defeat one step and nothing more. Honest networks lose to many steps some ten or
    /// twenty points more than to one; this one loses nearly everything.
    pub(super) fn overfits(&self) -> bool {
        self.single - self.robust > GAP && self.robust < self.single * REST
    }
}

/// Points between one step and many.
const GAP: f64 = 0.4;
/// Share of what stands against one step that must stand against many.
const REST: f64 = 0.2;
/// Classes that the strong watch climbs towards.
const TARGETS: usize = 3;
