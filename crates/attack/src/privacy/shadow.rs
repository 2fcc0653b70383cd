//! Reference models: the same architecture trained afresh on random halves.

use ringfence_nn::{Model, Want, optim};
use serde::{Deserialize, Serialize};

use crate::{
    error::AttackError,
    examples::Examples,
    harden::{BATCH_MAX, EPOCHS_MAX, Optimiser},
    plan::bounded,
    random::stream,
};

/// How reference models are trained; the closer to how the model under test was trained, the more they tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ReferencePlan {
    /// How many, 0..=[`REFERENCES_MAX`]; an even number, so that each example is in one half of them.
    pub models: usize,
    /// Passes over their examples, 1..=10,000.
    pub epochs: u64,
    /// Examples of one step, 1..=65,536.
    pub batch: usize,
    /// Learning rate, the same throughout.
    pub rate: f32,
    /// How gradients become steps.
    pub optimiser: Optimiser,
}

impl Default for ReferencePlan {
    fn default() -> Self {
        Self { models: 0, epochs: 30, batch: 64, rate: 0.001, optimiser: Optimiser::Adam }
    }
}

impl ReferencePlan {
    pub(crate) fn check(&self) -> Result<(), AttackError> {
        bounded("references", self.models as u64, 0, REFERENCES_MAX as u64)?;
        bounded("reference-epochs", self.epochs, 1, EPOCHS_MAX)?;
        bounded("reference-batch", self.batch as u64, 1, BATCH_MAX as u64)?;
        if self.models % 2 == 1 {
            return Err(AttackError::plan("references", self.models.to_string(), "an even number"));
        }
        if self.rate > 0.0 && self.rate.is_finite() {
            Ok(())
        } else {
            Err(AttackError::plan("reference-rate", self.rate.to_string(), "finite and above 0"))
        }
    }
}

/// Which of `models` references each of `examples` examples trains: exactly half of them, at random (Carlini et al. 2022, section
/// V-A). `[model][example]`.
pub(crate) fn halves(models: usize, examples: usize, seed: u64) -> Vec<Vec<bool>> {
    let mut halves = vec![Vec::with_capacity(examples); models];
    for example in 0..examples {
        let order = stream(seed, &[HALVES_STREAM, example as u64]).permutation(models);
        // The places of a random order are themselves one: half of them lie in its first half.
        for (half, place) in halves.iter_mut().zip(order) {
            half.push(place < models / 2);
        }
    }
    halves
}

/// Trains the architecture of `model` afresh on `examples`.
pub(crate) fn train_afresh(
    model: &Model,
    examples: &Examples,
    plan: &ReferencePlan,
    seed: u64,
) -> Result<Model, AttackError> {
    let mut model = model.clone();
    model.reinitialise(stream(seed, &[WEIGHTS_STREAM]).bits());
    let mut adam = optim::Adam::new(plan.rate);
    let mut sgd = optim::Sgd::new(plan.rate).momentum(MOMENTUM, optim::Look::Behind);
    for epoch in 0..plan.epochs {
        let order = stream(seed, &[ORDER_STREAM, epoch]).permutation(examples.count());
        for places in order.chunks(plan.batch) {
            let batch = examples.pick(places);
            let found = model.gradients(batch.inputs(), batch.labels(), Want::Parameters)?;
            let gradients = found.parameters.unwrap_or_default();
            match plan.optimiser {
                Optimiser::Adam => adam.step(&mut model, &gradients)?,
                Optimiser::Sgd => sgd.step(&mut model, &gradients)?,
            }
        }
    }
    if model.parameters().any(|parameter| parameter.data.iter().any(|number| !number.is_finite())) {
        return Err(AttackError::Diverged { epochs: plan.epochs });
    }
    Ok(model)
}

/// Reference models of one test.
pub const REFERENCES_MAX: usize = 1_024;
const MOMENTUM: f32 = 0.9;
const HALVES_STREAM: u64 = 41;
const WEIGHTS_STREAM: u64 = 42;
const ORDER_STREAM: u64 = 43;
