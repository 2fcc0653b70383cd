//! Training that withstands changed inputs, watched.
//!
//! [`Mode`] says what is trained on: attacked examples (FGSM with a random start: Wong et al. 2020; PGD with more steps: Madry
//! et al. 2018), replayed ones (Shafahi et al. 2019), or clean ones whose answer may not change nearby (TRADES: Zhang et al. 2019).
//! With a radius of 0 this is ordinary training.
//!
//! One-step adversarial training is cheap and fails in a known way: from one epoch to the next the network learns to defeat
//! the single step alone, and its true robustness falls to nothing ("catastrophic overfitting", Wong et al. 2020,
//! section 5; Andriushchenko and Flammarion 2020). So an attack on examples that are never trained on watches every epoch
//! ([`Watch`]): a sharp drop, or a network that one step hardly fools and many steps nearly always do, undoes the epoch, and
//! training goes on with a harder attacker. The weights that are kept are those of the best epoch.
//!
//! [`Hardening`] is a training under way, epoch by epoch; its state is bytes ([`Hardening::state`]) from which the same training
//! goes on elsewhere. [`harden`] is the whole of it at once. Everything random is named by seed, epoch and example, so the same
//! seed gives the same weights, interrupted or not.

mod batch;
mod state;
mod stepper;
mod watch;

use std::cell::OnceCell;

use ringfence_nn::Model;
use ringfence_schema::{
    Digest,
    report::{Epoch, HardenReport, HardenSchema},
};
use serde::{Deserialize, Serialize};

use self::{batch::Trainer, stepper::Stepper, watch::Best};
use crate::{ball::Range, error::AttackError, examples::Examples, oracle::Oracle, plan::bounded};

/// What a network is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Mode {
    /// Attacked examples: FGSM with a random start where `attack-steps` is 1, PGD with so many steps otherwise.
    Adversarial,
    /// Each batch `replays` times; every backward pass moves the weights and the inputs alike (Shafahi et al. 2019, algorithm 1).
    Free,
    /// Clean examples, and for each the nearby input whose answer differs most, weighed by `beta` (Zhang et al. 2019, eq. 5).
    Trades,
    /// Clean examples, and changed ones with their own label: by the triggers that [`crate::backdoors`] finds in the model, made stronger
    /// and moved about, by those that the model still answers at the beginning of each epoch, and at random; after units that answer
    /// a trigger alone were pruned (Wang et al. 2019, section VI; Liu et al. 2018). The radius does not count.
    Unlearn,
}

/// Which attack watches the training and chooses the epoch that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Watch {
    /// PGD on the cross-entropy: cheap, and too kind by ten points and more.
    Pgd,
    /// The part of the standard battery that decides most: APGD on the log-odds, then towards the likeliest other classes.
    Strong,
}

/// Which weights training begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// New random ones; only the architecture is taken over.
    Fresh,
    /// The given model's.
    Base,
}

/// How gradients become steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Optimiser {
    /// Adam (Kingma and Ba 2015).
    Adam,
    /// Stochastic gradient descent with momentum 0.9.
    Sgd,
}

/// Settings of [`harden`]. In a plan file the names are written with dashes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct HardenPlan {
    /// What is trained on.
    pub mode: Mode,
    /// Which weights training begins with.
    pub start: Start,
    /// Radius (Linf) in the unit of the model's input; 0 trains without an attacker.
    pub eps: f32,
    /// Passes over the training examples, 1..=[`EPOCHS_MAX`].
    pub epochs: u64,
    /// Examples of one step, 1..=[`BATCH_MAX`].
    pub batch: usize,
    /// Highest learning rate; it rises over the first 30 % of the training and falls to 0.
    pub rate: f32,
    /// How gradients become steps.
    pub optimiser: Optimiser,
    /// Share of the examples of each epoch that are trained on unchanged, 0..=1.
    pub clean_share: f32,
    /// Share of the training over which the radius grows from 0 to `eps`, 0..=1.
    pub warm_up: f32,
    /// Gradient steps of the attacker in training, 1..=[`ATTACK_STEPS_MAX`]; 1 is FGSM.
    pub attack_steps: usize,
    /// Length of the attacker's steps together, in radii, above 0.
    pub attack_span: f32,
    /// How often [`Mode::Free`] trains on a batch before the next, 1..=[`REPLAYS_MAX`].
    pub replays: usize,
    /// Weight of agreement nearby against accuracy in [`Mode::Trades`], above 0.
    pub beta: f32,
    /// Share of the label's weight that is spread over all classes, above -1 and below 1. Below 0 the label weighs more than 1,
    /// which makes inversion of the model harder (Struppek et al. 2024, section 3); above 0 makes it easier.
    pub smoothing: f32,
    /// Pixels by which training images are shifted at random (inputs of three dimensions only), 0..=[`SHIFT_MAX`].
    pub shift: usize,
    /// Share of the examples that only watch, above 0 and at most 0.5.
    pub held_out: f32,
    /// Which attack watches.
    pub watch: Watch,
    /// Gradient steps of the watching attack, 1..=[`WATCH_STEPS_MAX`].
    pub watch_steps: usize,
    /// Fall of the robust accuracy below its best, at which an epoch is undone, above 0.
    pub collapse: f64,
    /// Epochs without a better one after which training stops; 0 is never. The rate falls over all `epochs`, so this is for
    /// trainings that overfit, not to save time.
    pub patience: u64,
    /// Seed of all random choices.
    pub seed: u64,
    /// Range of valid inputs.
    #[serde(skip)]
    pub range: Range,
}

impl Default for HardenPlan {
    fn default() -> Self {
        Self {
            mode: Mode::Adversarial,
            start: Start::Base,
            eps: 0.1,
            epochs: 20,
            batch: 64,
            rate: 0.003,
            optimiser: Optimiser::Adam,
            clean_share: 0.3,
            warm_up: 0.3,
            attack_steps: 1,
            attack_span: 1.25,
            replays: 4,
            beta: 6.0,
            smoothing: 0.0,
            shift: 0,
            held_out: 0.1,
            watch: Watch::Pgd,
            watch_steps: 10,
            collapse: 0.2,
            patience: 0,
            seed: 0,
            range: Range::default(),
        }
    }
}

impl HardenPlan {
    /// The default of a mode. Unlearning takes more epochs: with 20 of them 4 of 50 planted patches kept 5 to 6 % of their success,
    /// with 40 none kept 5 %.
    pub fn of(mode: Mode) -> Self {
        let plan = Self { mode, ..Self::default() };
        Self { epochs: if mode == Mode::Unlearn { 2 * plan.epochs } else { plan.epochs }, ..plan }
    }
}

/// Trains `model` on `examples` as `plan` says and gives back the best weights, with the training curve.
///
/// `progress` is called after every epoch. Refuses what [`Hardening::new`] refuses, and a training of which no epoch could be
/// kept.
pub fn harden(
    model: Model,
    examples: &Examples,
    plan: &HardenPlan,
    progress: &mut dyn FnMut(&Epoch),
) -> Result<(Model, HardenReport), AttackError> {
    let mut hardening = Hardening::new(model, examples, plan)?;
    while let Some(epoch) = hardening.epoch()? {
        progress(epoch);
    }
    hardening.finish()
}

/// A training under way.
pub struct Hardening<'a> {
    model: Model,
    plan: &'a HardenPlan,
    examples: &'a Examples,
    trainer: Trainer<'a>,
    stepper: Stepper,
    /// The model before any training.
    base: Digest,
    best: Option<Best>,
    epochs: Vec<Epoch>,
    /// What the state belongs to; made when first asked for, since it reads all examples.
    bound: OnceCell<Digest>,
}

impl<'a> Hardening<'a> {
    /// Before the first epoch. Refuses plans outside their limits, examples that do not suit the model or lie outside the
    /// range, and fewer than two examples.
    pub fn new(mut model: Model, examples: &'a Examples, plan: &'a HardenPlan) -> Result<Self, AttackError> {
        plan.check()?;
        examples.within(plan.range)?;
        Oracle::new(&model, examples)?;
        let base = Digest::of(&model.to_onnx()?);
        if plan.start == Start::Fresh {
            model.reinitialise(plan.seed);
        }
        let mut trainer = Trainer::new(plan, examples)?;
        if plan.mode == Mode::Unlearn {
            trainer.find(&mut model)?;
        }
        let (stepper, bound) = (Stepper::new(plan), OnceCell::new());
        Ok(Self { model, plan, examples, trainer, stepper, base, best: None, epochs: Vec::new(), bound })
    }

    /// Trains one epoch and looks at what came of it; `None` where training is over.
    pub fn epoch(&mut self) -> Result<Option<&Epoch>, AttackError> {
        let number = self.epochs.len() as u64 + 1;
        if number > self.plan.epochs || self.impatient() {
            return Ok(None);
        }
        let before = weights(&self.model);
        let grown_since = self.grown_since();
        let loss = self.trainer.epoch(&mut self.model, &mut self.stepper, (number, grown_since))?;
        let seen = self.trainer.watch(&self.model)?;
        let fallen = self.best.as_ref().is_some_and(|best| best.seen.robust - seen.robust > self.plan.collapse);
        let stuck = self.trainer.is_chance(seen.clean);
        let overfits = seen.overfits();
        // While the radius still grows, to lose to the full one is no collapse yet: the attacker becomes harder, and that is all.
        let collapsed = overfits && !self.trainer.is_growing(number - grown_since);
        let rolled_back = fallen || collapsed || !loss.is_finite() || seen.broken || stuck;
        if overfits || rolled_back && !stuck {
            self.trainer.harder();
        }
        if rolled_back {
            restore(&mut self.model, self.best.as_ref().map_or(&before, |best| &best.weights));
            self.stepper = Stepper::new(self.plan);
            if stuck && self.best.is_none() && self.plan.start == Start::Fresh {
                // From those weights it led nowhere.
                self.model.reinitialise(self.trainer.other_weights(number));
            }
        } else if self.best.as_ref().is_none_or(|best| seen.score() >= best.seen.score()) {
            self.best = Some(Best { epoch: number, seen, weights: weights(&self.model) });
        }
        // JSON has no word for a loss that is not a number.
        let loss = if loss.is_finite() { loss } else { f64::MAX };
        self.epochs.push(Epoch {
            epoch: number,
            loss,
            clean_accuracy: seen.clean,
            robust_accuracy: seen.robust,
            rolled_back,
        });
        Ok(self.epochs.last())
    }

    /// The epochs after which the radius begins to grow anew: where nothing was learned, it was too large too early.
    fn grown_since(&self) -> u64 {
        let stuck = |epoch: &&Epoch| epoch.rolled_back && self.trainer.is_chance(epoch.clean_accuracy);
        self.epochs.iter().rfind(stuck).map_or(0, |epoch| epoch.epoch)
    }

    /// The best weights and the training curve. Refuses a training of which no epoch could be kept.
    pub fn finish(mut self) -> Result<(Model, HardenReport), AttackError> {
        let Some(best) = self.best else { return Err(AttackError::Diverged { epochs: self.epochs.len() as u64 }) };
        restore(&mut self.model, &best.weights);
        let report = HardenReport {
            schema: HardenSchema::One,
            base: self.base,
            architecture: None,
            model: Digest::of(&self.model.to_onnx()?),
            safetensors: None,
            mode: Some(self.plan.mode.name().into()),
            kept: Some(best.epoch),
            eps: f64::from(self.plan.eps),
            examples: self.examples.count() as u64,
            seed: self.plan.seed,
            triggers: self.trainer.taken_out(&self.model)?,
            epochs: self.epochs,
            privacy: None,
        };
        Ok((self.model, report))
    }

    /// Whether the best epoch lies further back than the plan allows.
    fn impatient(&self) -> bool {
        let since = self.epochs.len() as u64 - self.best.as_ref().map_or(0, |best| best.epoch);
        self.plan.patience > 0 && since >= self.plan.patience
    }
}

impl Mode {
    /// As written in plans and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Adversarial => "adversarial",
            Self::Free => "free",
            Self::Trades => "trades",
            Self::Unlearn => "unlearn",
        }
    }
}

impl HardenPlan {
    fn check(&self) -> Result<(), AttackError> {
        bounded("epochs", self.epochs, 1, EPOCHS_MAX)?;
        bounded("batch", self.batch as u64, 1, BATCH_MAX as u64)?;
        bounded("attack-steps", self.attack_steps as u64, 1, ATTACK_STEPS_MAX as u64)?;
        bounded("watch-steps", self.watch_steps as u64, 1, WATCH_STEPS_MAX as u64)?;
        bounded("replays", self.replays as u64, 1, REPLAYS_MAX as u64)?;
        bounded("patience", self.patience, 0, EPOCHS_MAX)?;
        bounded("shift", self.shift as u64, 0, SHIFT_MAX as u64)?;
        let shares = [
            ("eps", self.eps, self.eps >= 0.0, "finite and at least 0"),
            ("rate", self.rate, self.rate > 0.0, "finite and above 0"),
            ("clean-share", self.clean_share, (0.0..=1.0).contains(&self.clean_share), "0 to 1"),
            ("warm-up", self.warm_up, (0.0..=1.0).contains(&self.warm_up), "0 to 1"),
            ("attack-span", self.attack_span, self.attack_span > 0.0, "finite and above 0"),
            ("beta", self.beta, self.beta > 0.0, "finite and above 0"),
            ("smoothing", self.smoothing, self.smoothing.abs() < 1.0, "above -1, below 1"),
            ("held-out", self.held_out, self.held_out > 0.0 && self.held_out <= 0.5, "above 0, at most 0.5"),
        ];
        for (name, value, fits, allowed) in shares {
            if !(fits && value.is_finite()) {
                return Err(AttackError::plan(name, value.to_string(), allowed));
            }
        }
        if self.collapse > 0.0 {
            Ok(())
        } else {
            Err(AttackError::plan("collapse", self.collapse.to_string(), "above 0"))
        }
    }
}

pub(crate) fn weights(model: &Model) -> Vec<Vec<f32>> {
    model.parameters().map(|parameter| parameter.data.to_vec()).collect()
}

pub(crate) fn restore(model: &mut Model, weights: &[Vec<f32>]) {
    for (parameter, kept) in model.parameters_mut().zip(weights) {
        parameter.data.copy_from_slice(kept);
    }
}

/// Passes over the data.
pub const EPOCHS_MAX: u64 = 10_000;
/// Examples of one training step.
pub const BATCH_MAX: usize = 65_536;
/// Gradient steps of the attacker in training.
pub const ATTACK_STEPS_MAX: usize = 64;
/// Times that one batch is trained on.
pub const REPLAYS_MAX: usize = 64;
/// Gradient steps of the watching attack.
pub const WATCH_STEPS_MAX: usize = 1_000;
/// Pixels by which images are shifted.
pub const SHIFT_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use ringfence_nn::{Tensor, builder::Builder};

    use super::*;

    #[test]
    fn the_radius_grows_anew_behind_what_learned_nothing() {
        let file = Builder::new("two", 1).input("x", &[2]).linear(2).finish().unwrap();
        let values: Vec<f32> = (0..800).map(|value| (value % 7) as f32 / 7.0).collect();
        let inputs = Tensor { shape: vec![400, 2], data: values };
        let examples = Examples::new(inputs, (0..400).map(|row| row % 2).collect()).unwrap();
        let plan = HardenPlan { start: Start::Fresh, epochs: 9, ..HardenPlan::default() };
        let mut hardening = Hardening::new(Model::parse(&file).unwrap(), &examples, &plan).unwrap();
        assert!(hardening.trainer.is_chance(0.7) && !hardening.trainer.is_chance(0.8));
        // Robustness that was lost is not nothing learned, and an epoch that was kept begins nothing anew.
        for (clean_accuracy, rolled_back, since) in
            [(0.9, true, 0), (0.5, false, 0), (0.5, true, 3), (0.9, true, 3), (0.4, true, 5), (0.9, false, 5)]
        {
            let epoch = hardening.epochs.len() as u64 + 1;
            hardening.epochs.push(Epoch { epoch, loss: 1.0, clean_accuracy, robust_accuracy: 0.0, rolled_back });
            assert_eq!(hardening.grown_since(), since);
        }
        assert_ne!(hardening.trainer.other_weights(1), hardening.trainer.other_weights(2));

        // Too few examples watch to tell.
        let few = examples.pick(&(0..100).collect::<Vec<_>>());
        let hardening = Hardening::new(Model::parse(&file).unwrap(), &few, &plan).unwrap();
        assert!(!hardening.trainer.is_chance(0.0));
    }
}
