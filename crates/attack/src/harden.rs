//! Training that withstands changed inputs: FGSM with a random start, watched.
//!
//! One-step adversarial training is cheap and fails in a known way: from one epoch to the next the network learns to defeat
//! the single step alone, and its true robustness falls to nothing ("catastrophic overfitting", Wong et al. 2020,
//! section 5; Andriushchenko and Flammarion 2020). So a PGD attack on examples that are never trained on watches every
//! epoch: a sharp drop undoes the epoch, and training goes on with one attack step more. The weights that are
//! kept are those of the best epoch.
//!
//! With a radius of 0 this is ordinary training. Everything random is named by seed, epoch and example, so the same seed
//! gives the same weights.

use ringfence_nn::{Model, Tensor, Want, optim, random::Random};
use ringfence_schema::{
    Digest,
    report::{Epoch, HardenReport, HardenSchema},
};
use serde::{Deserialize, Serialize};

use crate::{
    augment::Shift,
    ball::{Ball, Norm, Range},
    error::AttackError,
    evasion::{Attack as _, Field, pgd::Pgd},
    examples::Examples,
    loss::Loss,
    oracle::Oracle,
    plan::bounded,
    random::stream,
    schedule::Schedule,
};

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
    /// Pixels by which training images are shifted at random (inputs of three dimensions only), 0..=[`SHIFT_MAX`].
    pub shift: usize,
    /// Share of the examples that only watch, above 0 and at most 0.5.
    pub held_out: f32,
    /// Gradient steps of the watching attack, 1..=[`WATCH_STEPS_MAX`].
    pub watch_steps: usize,
    /// Fall of the robust accuracy below its best, at which an epoch is undone, above 0.
    pub collapse: f64,
    /// Seed of all random choices.
    pub seed: u64,
    /// Range of valid inputs.
    #[serde(skip)]
    pub range: Range,
}

impl Default for HardenPlan {
    fn default() -> Self {
        Self {
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
            shift: 0,
            held_out: 0.1,
            watch_steps: 10,
            collapse: 0.2,
            seed: 0,
            range: Range::default(),
        }
    }
}

/// Trains `model` on `examples` as `plan` says and gives back the best weights, with the training curve.
///
/// `progress` is called after every epoch. Refuses plans outside their limits, examples that do not suit the model or lie
/// outside the range, fewer than two examples, and a training of which no epoch could be kept.
pub fn harden(
    mut model: Model,
    examples: &Examples,
    plan: &HardenPlan,
    progress: &mut dyn FnMut(&Epoch),
) -> Result<(Model, HardenReport), AttackError> {
    plan.check()?;
    examples.within(plan.range)?;
    Oracle::new(&model, examples)?;
    let base = Digest::of(&model.to_onnx()?);
    if plan.start == Start::Fresh {
        model.reinitialise(plan.seed);
    }
    let mut trainer = Trainer::new(plan, examples)?;
    let mut stepper = Stepper::new(plan);
    let mut best: Option<Best> = None;
    let mut epochs = Vec::new();
    for number in 1..=plan.epochs {
        let before = weights(&model);
        let loss = trainer.epoch(&mut model, &mut stepper, number)?;
        let seen = trainer.watch(&model)?;
        let collapsed = best.as_ref().is_some_and(|best| best.seen.robust - seen.robust > plan.collapse);
        let rolled_back = collapsed || !loss.is_finite() || seen.broken;
        if rolled_back {
            restore(&mut model, best.as_ref().map_or(&before, |best| &best.weights));
            stepper = Stepper::new(plan);
            trainer.harder();
        } else if best.as_ref().is_none_or(|best| seen.score() >= best.seen.score()) {
            best = Some(Best { seen, weights: weights(&model) });
        }
        // JSON has no word for a loss that is not a number.
        let loss = if loss.is_finite() { loss } else { f64::MAX };
        let epoch =
            Epoch { epoch: number, loss, clean_accuracy: seen.clean, robust_accuracy: seen.robust, rolled_back };
        progress(&epoch);
        epochs.push(epoch);
    }
    let Some(best) = best else { return Err(AttackError::Diverged { epochs: plan.epochs }) };
    restore(&mut model, &best.weights);
    let report = HardenReport {
        schema: HardenSchema::One,
        base,
        model: Digest::of(&model.to_onnx()?),
        eps: f64::from(plan.eps),
        examples: examples.count() as u64,
        seed: plan.seed,
        epochs,
        privacy: None,
    };
    Ok((model, report))
}

impl HardenPlan {
    fn check(&self) -> Result<(), AttackError> {
        bounded("epochs", self.epochs, 1, EPOCHS_MAX)?;
        bounded("batch", self.batch as u64, 1, BATCH_MAX as u64)?;
        bounded("attack-steps", self.attack_steps as u64, 1, ATTACK_STEPS_MAX as u64)?;
        bounded("watch-steps", self.watch_steps as u64, 1, WATCH_STEPS_MAX as u64)?;
        bounded("shift", self.shift as u64, 0, SHIFT_MAX as u64)?;
        let shares = [
            ("eps", self.eps, self.eps >= 0.0, "finite and at least 0"),
            ("rate", self.rate, self.rate > 0.0, "finite and above 0"),
            ("clean-share", self.clean_share, (0.0..=1.0).contains(&self.clean_share), "0 to 1"),
            ("warm-up", self.warm_up, (0.0..=1.0).contains(&self.warm_up), "0 to 1"),
            ("attack-span", self.attack_span, self.attack_span > 0.0, "finite and above 0"),
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

/// The weights of the best epoch so far.
struct Best {
    seen: Seen,
    weights: Vec<Vec<f32>>,
}

/// How a network does on the watching examples.
#[derive(Clone, Copy)]
struct Seen {
    /// Accuracy.
    clean: f64,
    /// Accuracy under PGD.
    robust: f64,
    /// Whether any answer is not a number.
    broken: bool,
}

impl Seen {
    /// What the best epoch has most of: both accuracies count alike.
    fn score(&self) -> f64 {
        self.clean + self.robust
    }
}

/// The examples, split, and the attacker that trains with them.
struct Trainer<'a> {
    plan: &'a HardenPlan,
    examples: &'a Examples,
    /// Examples to train on.
    training: Vec<usize>,
    /// Examples that only watch.
    held: Vec<usize>,
    schedule: Schedule,
    attack_steps: usize,
    shift: Option<Shift>,
}

impl<'a> Trainer<'a> {
    fn new(plan: &'a HardenPlan, examples: &'a Examples) -> Result<Self, AttackError> {
        if examples.count() < 2 {
            return Err(AttackError::Empty { what: "examples to train on besides those that watch" });
        }
        let mut training: Vec<usize> = (0..examples.count()).collect();
        stream(plan.seed, &[SPLIT_STREAM]).shuffle(&mut training);
        let held = training.split_off(training.len() - held_out(training.len(), plan.held_out));
        let schedule = Schedule { rate: plan.rate, eps: plan.eps, warm_up: plan.warm_up };
        let shift = if plan.shift == 0 { None } else { Some(Shift::new(examples, plan.shift)?) };
        Ok(Self { plan, examples, training, held, schedule, attack_steps: plan.attack_steps, shift })
    }

    /// Trains once on every training example; the mean loss.
    fn epoch(&mut self, model: &mut Model, stepper: &mut Stepper, number: u64) -> Result<f64, AttackError> {
        let mut order = self.training.clone();
        stream(self.plan.seed, &[ORDER_STREAM, number]).shuffle(&mut order);
        let batches = order.len().div_ceil(self.plan.batch);
        let mut total = 0.0;
        for (index, places) in order.chunks(self.plan.batch).enumerate() {
            let passed = (number - 1) as f32 + index as f32 / batches as f32;
            let progress = passed / self.plan.epochs as f32;
            let batch = self.batch(model, places, self.schedule.eps_at(progress), number)?;
            let found = model.gradients(batch.inputs(), batch.labels(), Want::Parameters)?;
            total += found.loss_per_example.iter().map(|loss| f64::from(*loss)).sum::<f64>();
            stepper.step(model, &found.parameters.unwrap_or_default(), self.schedule.rate_at(progress))?;
        }
        Ok(total / order.len() as f64)
    }

    /// The examples at `places`, shifted where the plan says so, and attacked but for the clean share: FGSM from a random
    /// start (Wong et al. 2020, algorithm 3), or several steps of it.
    fn batch(&self, model: &Model, places: &[usize], eps: f32, epoch: u64) -> Result<Examples, AttackError> {
        let mut clean = self.examples.pick(places);
        if let Some(shift) = &self.shift {
            clean = shift.apply(&clean, |row| self.random(SHIFT_STREAM, epoch, places[row]))?;
        }
        let attacked: Vec<usize> = (0..places.len())
            .filter(|row| self.random(MIX_STREAM, epoch, places[*row]).uniform() >= f64::from(self.plan.clean_share))
            .collect();
        if eps <= 0.0 || attacked.is_empty() {
            return Ok(clean);
        }
        let ball = Ball::new(Norm::Linf, eps, self.plan.range);
        let oracle = Oracle::new(model, &clean)?;
        let width = clean.width();
        let labels: Vec<usize> = attacked.iter().map(|row| clean.labels()[*row]).collect();
        let mut points: Vec<f32> = attacked
            .iter()
            .flat_map(|row| ball.random_point(clean.row(*row), &mut self.random(START_STREAM, epoch, places[*row])))
            .collect();
        let step = eps * self.plan.attack_span / self.attack_steps as f32;
        for _ in 0..self.attack_steps {
            let slope = oracle.slope(&points, &labels, Loss::CrossEntropy)?;
            let rows = points.chunks_exact_mut(width).zip(slope.gradient.chunks_exact(width));
            for ((point, gradient), row) in rows.zip(&attacked) {
                ball.ascend(clean.row(*row), point, gradient, step);
            }
        }
        let mut data = clean.inputs().data.clone();
        for (point, row) in points.chunks_exact(width).zip(&attacked) {
            data[row * width..(row + 1) * width].copy_from_slice(point);
        }
        clean.with_inputs(data)
    }

    /// Accuracy on the watching examples: clean, and under PGD (the same where the radius is 0).
    fn watch(&self, model: &Model) -> Result<Seen, AttackError> {
        let watching = self.examples.pick(&self.held);
        let oracle = Oracle::new(model, &watching)?;
        let predicted = oracle.predict(&watching.inputs().data)?;
        let right: Vec<usize> =
            (0..watching.count()).filter(|row| predicted[*row] == Some(watching.labels()[*row])).collect();
        let share = |count: usize| count as f64 / watching.count() as f64;
        let broken = predicted.iter().any(Option::is_none);
        if self.plan.eps <= 0.0 {
            return Ok(Seen { clean: share(right.len()), robust: share(right.len()), broken });
        }
        let ball = Ball::new(Norm::Linf, self.plan.eps, self.plan.range);
        let steps = self.plan.watch_steps;
        let pgd = Pgd { loss: Loss::CrossEntropy, steps, restarts: 1, shift: 0 };
        let field = Field { oracle: &oracle, examples: &watching, ball, seed: self.plan.seed, target: None };
        let standing = pgd.run(&field, &right)?.standing.len();
        Ok(Seen { clean: share(right.len()), robust: share(standing), broken })
    }

    /// One more attack step from now on: a network that has learned to defeat so many cannot go on doing so.
    fn harder(&mut self) {
        self.attack_steps = (self.attack_steps + 1).min(ATTACK_STEPS_MAX);
    }

    fn random(&self, purpose: u64, epoch: u64, place: usize) -> Random {
        stream(self.plan.seed, &[purpose, epoch, place as u64])
    }
}

/// The optimiser that the plan names.
enum Stepper {
    Adam(optim::Adam),
    Sgd(optim::Sgd),
}

impl Stepper {
    fn new(plan: &HardenPlan) -> Self {
        match plan.optimiser {
            Optimiser::Adam => Self::Adam(optim::Adam::new(plan.rate)),
            Optimiser::Sgd => Self::Sgd(optim::Sgd::new(plan.rate).momentum(MOMENTUM, optim::Look::Behind)),
        }
    }

    fn step(&mut self, model: &mut Model, gradients: &[Tensor<f32>], rate: f32) -> Result<(), AttackError> {
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
}

fn weights(model: &Model) -> Vec<Vec<f32>> {
    model.parameters().map(|parameter| parameter.data.to_vec()).collect()
}

fn restore(model: &mut Model, weights: &[Vec<f32>]) {
    for (parameter, kept) in model.parameters_mut().zip(weights) {
        parameter.data.copy_from_slice(kept);
    }
}

/// How many of `count` examples only watch: the share, at least one, at most [`HELD_OUT_MAX`], never all.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share in 0..=0.5 of a length is a smaller length"
)]
fn held_out(count: usize, share: f32) -> usize {
    let wanted = (count as f64 * f64::from(share)) as usize;
    wanted.clamp(1, HELD_OUT_MAX).min(count.saturating_sub(1))
}

/// Passes over the data.
pub const EPOCHS_MAX: u64 = 10_000;
/// Examples of one training step.
pub const BATCH_MAX: usize = 65_536;
/// Gradient steps of the attacker in training.
pub const ATTACK_STEPS_MAX: usize = 16;
/// Gradient steps of the watching attack.
pub const WATCH_STEPS_MAX: usize = 1_000;
/// Pixels by which images are shifted.
pub const SHIFT_MAX: usize = 64;
/// Examples that only watch; more would cost time without telling more.
const HELD_OUT_MAX: usize = 512;
const MOMENTUM: f32 = 0.9;
const SPLIT_STREAM: u64 = 4;
const ORDER_STREAM: u64 = 5;
const SHIFT_STREAM: u64 = 6;
const MIX_STREAM: u64 = 7;
const START_STREAM: u64 = 8;
