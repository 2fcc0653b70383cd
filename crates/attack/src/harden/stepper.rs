//! The optimiser that the plan names, and what it remembers.

use ringfence_nn::{Model, Tensor, optim};

use super::{HardenPlan, Optimiser};
use crate::error::AttackError;

/// Turns gradients into steps.
pub(super) enum Stepper {
    Adam(optim::Adam),
    Sgd(optim::Sgd),
}

impl Stepper {
    pub(super) fn new(plan: &HardenPlan) -> Self {
        match plan.optimiser {
            Optimiser::Adam => Self::Adam(optim::Adam::new(plan.rate)),
            Optimiser::Sgd => Self::Sgd(optim::Sgd::new(plan.rate).momentum(MOMENTUM, optim::Look::Behind)),
        }
    }

    pub(super) fn step(&mut self, model: &mut Model, gradients: &[Tensor<f32>], rate: f32) -> Result<(), AttackError> {
        match self {
            Self::Adam(adam) => {
                adam.rate = rate;
                adam.step(model, gradients)?;
            }
            Self::Sgd(sgd) => {
                sgd.rate = rate;
                sgd.step(model, gradients)?;
            }
        }
        Ok(())
    }

    /// Steps taken and what is remembered of them.
    pub(super) fn memory(&self) -> (i32, Vec<&[Vec<f32>]>) {
        match self {
            Self::Adam(adam) => {
                let (steps, first, second) = adam.moments();
                (steps, vec![first, second])
            }
            Self::Sgd(sgd) => (0, vec![sgd.velocity()]),
        }
    }

    /// Goes on from such a memory.
    pub(super) fn remember(&mut self, steps: i32, lists: Vec<Vec<Vec<f32>>>) {
        let mut lists = lists.into_iter();
        let mut next = || lists.next().unwrap_or_default();
        match self {
            Self::Adam(adam) => adam.resume(steps, next(), next()),
            Self::Sgd(sgd) => sgd.resume(next()),
        }
    }
}

const MOMENTUM: f32 = 0.9;
