//! Training with differential privacy: whether one example was there or not changes what comes out by little, provably.
//!
//! [`train_private`] is DP-SGD (Abadi et al. 2016, algorithm 1): every step takes each example with the same chance (Poisson sampling),
//! clips each example's gradient to one length, adds Gaussian noise to the sum, and divides by the batch size that is *expected*, a
//! public number. [`Accountant`]s state the epsilon that this spends; [`DpPlan::epsilon`] asks for the noise instead.
//!
//! What must stay true: the weights that come out are those of the last step, because choosing among epochs by private examples would
//! be one more question to them; the examples that watch are never trained on; combinations that an accountant does not cover are
//! refused, not counted wrongly. The number of examples counts as public.
//!
//! Absent on purpose: shuffled batches under a Poisson accountant, learned statistics of batches, a seed for the noise.

mod accountant;
mod fft;
mod noise;
mod prv;
mod special;

use rayon::prelude::*;
use ringfence_nn::{Model, Tensor, Want, optim};
use ringfence_schema::{
    Digest,
    privacy::DpGuarantee,
    report::{Epoch, HardenReport, HardenSchema},
};
use serde::{Deserialize, Serialize};

pub use accountant::{Accountant, NOISE_MIN, Renyi, Spending, rdp};
pub use prv::{PrivacyLoss, prv};

use self::noise::Noise;
use crate::{
    error::AttackError,
    examples::Examples,
    harden::{BATCH_MAX, EPOCHS_MAX, Optimiser, Start},
    loss::Loss,
    oracle::Oracle,
    plan::bounded,
    random::stream,
};

/// How the examples of a step are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// Each example by a throw of its own: what the accountants count.
    #[default]
    Poisson,
    /// Batches of one size in a random order: refused where epsilon is stated.
    Shuffled,
}

/// Whether the training states an epsilon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// It does; what would make it untrue is refused.
    #[default]
    Stated,
    /// It does not, and says so: noise of 0 and shuffled batches are allowed, for comparison.
    None,
}

/// Settings of [`train_private`]. In a plan file the names are written with dashes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DpPlan {
    /// Which weights training begins with. A base that has seen the same examples is not covered by epsilon.
    pub start: Start,
    /// Passes over the examples, on average, 1..=10,000.
    pub epochs: u64,
    /// Examples of one step, on average, 1..=65,536; at most all of them.
    pub batch: usize,
    /// Learning rate, the same throughout.
    pub rate: f32,
    /// How gradients become steps.
    pub optimiser: Optimiser,
    /// Length to which each example's gradient is clipped, above 0.
    pub clip: f64,
    /// Noise in clipping lengths; this or `epsilon`.
    pub noise: Option<f64>,
    /// The budget that may be spent; the noise follows from it.
    pub epsilon: Option<f64>,
    /// The delta at which epsilon is stated, below 1 / examples.
    pub delta: f64,
    /// Which accountant states epsilon.
    pub accountant: Accountant,
    /// How the examples of a step are chosen.
    pub sampling: Sampling,
    /// Whether an epsilon is stated.
    pub guarantee: Guarantee,
    /// Share of the examples that only watch, above 0 and at most 0.5.
    pub held_out: f32,
    /// Seed of first weights and of which examples watch. The noise and the sampling have a key of their own.
    pub seed: u64,
}

impl Default for DpPlan {
    fn default() -> Self {
        Self {
            start: Start::Fresh,
            epochs: 20,
            batch: 256,
            rate: 0.01,
            optimiser: Optimiser::Adam,
            clip: 1.0,
            noise: None,
            epsilon: None,
            delta: 1e-5,
            accountant: Accountant::Rdp,
            sampling: Sampling::Poisson,
            guarantee: Guarantee::Stated,
            held_out: 0.1,
            seed: 0,
        }
    }
}

/// Trains `model` on `examples` with differential privacy and gives back the last weights, with what they spent.
///
/// `key` decides sampling and noise: 32 bytes that nobody else learns, drawn anew for each training; who knows it can subtract the
/// noise. `progress` is called after every epoch; its figures are of the examples that watch, which are never trained on.
///
/// Refuses plans outside their limits; a noise of 0 or shuffled batches where a guarantee is stated; delta of 1 / examples and above
/// (which allows to publish one example whole); normalisation by batch statistics; a model that fixes its batch; a budget that no
/// sensible noise keeps to; a training that ends in weights that are not numbers.
pub fn train_private(
    mut model: Model,
    examples: &Examples,
    plan: &DpPlan,
    key: &[u8; 32],
    progress: &mut dyn FnMut(&Epoch),
) -> Result<(Model, HardenReport), AttackError> {
    plan.check()?;
    Oracle::new(&model, examples)?;
    suits(&model)?;
    let base = Digest::of(&model.to_onnx()?);
    if plan.start == Start::Fresh {
        model.reinitialise(plan.seed);
    }
    let (training, held) = split(examples.count(), plan)?;
    let course = Course::new(plan, training.len())?;
    let watching = examples.pick(&held);
    let mut trainer = Trainer {
        plan,
        examples,
        training,
        noise: course.noise,
        draws: Noise::new(key, "ringfence dp-sgd sampling"),
        hiding: Noise::new(key, "ringfence dp-sgd noise"),
        stepper: Stepper::new(plan),
    };
    let mut epochs = Vec::new();
    for number in 1..=plan.epochs {
        trainer.epoch(&mut model, course.steps_an_epoch)?;
        let (loss, accuracy) = seen(&model, &watching)?;
        if !loss.is_finite() {
            return Err(AttackError::Diverged { epochs: number });
        }
        let epoch =
            Epoch { epoch: number, loss, clean_accuracy: accuracy, robust_accuracy: accuracy, rolled_back: false };
        progress(&epoch);
        epochs.push(epoch);
    }
    let report = HardenReport {
        schema: HardenSchema::One,
        base,
        architecture: None,
        model: Digest::of(&model.to_onnx()?),
        safetensors: None,
        mode: Some("dp-sgd".into()),
        kept: None,
        eps: 0.0,
        examples: examples.count() as u64,
        seed: plan.seed,
        triggers: Vec::new(),
        epochs,
        privacy: Some(course.guarantee(plan)?),
    };
    Ok((model, report))
}

impl DpPlan {
    fn check(&self) -> Result<(), AttackError> {
        bounded("epochs", self.epochs, 1, EPOCHS_MAX)?;
        bounded("batch", self.batch as u64, 1, BATCH_MAX as u64)?;
        let wrong = |name, value: String, allowed: &str| Err(AttackError::plan(name, value, allowed));
        if !(self.rate > 0.0 && self.rate.is_finite()) {
            return wrong("rate", self.rate.to_string(), "finite and above 0");
        }
        if !(self.clip > 0.0 && self.clip.is_finite()) {
            return wrong("clip", self.clip.to_string(), "finite and above 0");
        }
        if !(self.held_out > 0.0 && self.held_out <= 0.5) {
            return wrong("held-out", self.held_out.to_string(), "above 0, at most 0.5");
        }
        if self.noise.is_some() == self.epsilon.is_some() {
            return wrong("noise", "given with `epsilon`, or neither is".into(), "one of both");
        }
        if let Some(noise) = self.noise
            && !(noise >= 0.0 && noise.is_finite())
        {
            return wrong("noise", noise.to_string(), "finite and at least 0");
        }
        if self.guarantee == Guarantee::None {
            return match self.noise {
                Some(_) => Ok(()),
                None => wrong("epsilon", "asked for".into(), "left out where no guarantee is stated"),
            };
        }
        if self.sampling == Sampling::Shuffled {
            return Err(AttackError::NotPrivate {
                what: "shuffled batches",
                why: "the accountants count examples that are drawn each by its own throw; sample by Poisson, or state no guarantee",
            });
        }
        if self.noise.is_some_and(|noise| noise < NOISE_MIN) {
            return Err(AttackError::NotPrivate {
                what: "a noise below 0.01",
                why: "without noise there is no epsilon; ask for `epsilon`, or state no guarantee",
            });
        }
        Ok(())
    }
}

/// Refuses models whose examples cannot be looked at one by one.
fn suits(model: &Model) -> Result<(), AttackError> {
    if model.statistics().next().is_some() {
        return Err(AttackError::NotPrivate {
            what: "batch normalisation",
            why: "its statistics are made of many examples together and are neither clipped nor noised; use group or layer normalisation",
        });
    }
    if model.input().1.first().copied().flatten().is_some_and(|rows| rows != 1) {
        return Err(AttackError::NotPrivate {
            what: "a fixed batch of several examples",
            why: "each example's own gradient is needed; export the model with a free batch",
        });
    }
    Ok(())
}

/// Places to train on and places that watch.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share in 0..=0.5 of a length is a smaller length"
)]
fn split(count: usize, plan: &DpPlan) -> Result<(Vec<usize>, Vec<usize>), AttackError> {
    if count < 2 {
        return Err(AttackError::Empty { what: "examples to train on besides those that watch" });
    }
    let mut training: Vec<usize> = (0..count).collect();
    stream(plan.seed, &[SPLIT_STREAM]).shuffle(&mut training);
    let held = ((count as f64 * f64::from(plan.held_out)) as usize).clamp(1, HELD_OUT_MAX).min(count - 1);
    let held = training.split_off(count - held);
    Ok((training, held))
}

/// How much noise over how many steps.
struct Course {
    noise: f64,
    rate: f64,
    examples: usize,
    steps_an_epoch: u64,
    steps: u64,
}

impl Course {
    fn new(plan: &DpPlan, examples: usize) -> Result<Self, AttackError> {
        if plan.batch > examples {
            return Err(AttackError::plan("batch", plan.batch.to_string(), format!("at most the {examples} examples")));
        }
        let rate = plan.batch as f64 / examples as f64;
        let steps_an_epoch = (examples / plan.batch).max(1) as u64;
        let steps = steps_an_epoch * plan.epochs;
        if plan.guarantee == Guarantee::Stated && !(plan.delta > 0.0 && plan.delta * (examples as f64) < 1.0) {
            return Err(AttackError::plan(
                "delta",
                plan.delta.to_string(),
                format!("above 0 and below 1/{examples}: with more, one example may be published whole"),
            ));
        }
        let noise = match (plan.noise, plan.epsilon) {
            (Some(noise), _) => noise,
            (None, Some(epsilon)) => {
                plan.accountant.noise_for(epsilon, &Spending { noise: 1.0, rate, steps, delta: plan.delta })?
            }
            (None, None) => 0.0,
        };
        Ok(Self { noise, rate, examples, steps_an_epoch, steps })
    }

    fn guarantee(&self, plan: &DpPlan) -> Result<DpGuarantee, AttackError> {
        let mut found = DpGuarantee {
            mechanism: "poisson-sampled-gaussian".into(),
            neighbours: "add-or-remove-one-example".into(),
            epsilon: None,
            delta: plan.delta,
            accountant: if plan.accountant == Accountant::Rdp { "rdp" } else { "prv" }.into(),
            epsilon_rdp: None,
            epsilon_prv: None,
            noise: self.noise,
            clip: plan.clip,
            sampling_rate: self.rate,
            expected_batch: plan.batch as u64,
            steps: self.steps,
            examples: self.examples as u64,
            note: String::new(),
        };
        if plan.guarantee == Guarantee::None {
            found.mechanism = match plan.sampling {
                Sampling::Poisson => "poisson-sampled, no guarantee".into(),
                Sampling::Shuffled => "shuffled, no guarantee".into(),
            };
            found.note = "no guarantee was asked for: nothing is stated".into();
            return Ok(found);
        }
        let spending = Spending { noise: self.noise, rate: self.rate, steps: self.steps, delta: plan.delta };
        found.epsilon = Some(plan.accountant.epsilon(&spending)?);
        found.epsilon_rdp = rdp(&spending).ok().map(|renyi| renyi.epsilon);
        found.note = GUARANTEE_NOTE.into();
        match prv(&spending) {
            Ok(loss) => found.epsilon_prv = Some([loss.lower, loss.estimate, loss.upper]),
            Err(error) => found.note = format!("{GUARANTEE_NOTE}; {error}"),
        }
        Ok(found)
    }
}

struct Trainer<'a> {
    plan: &'a DpPlan,
    examples: &'a Examples,
    training: Vec<usize>,
    noise: f64,
    /// Who is in a batch.
    draws: Noise,
    /// What hides them.
    hiding: Noise,
    stepper: Stepper,
}

impl Trainer<'_> {
    fn epoch(&mut self, model: &mut Model, steps: u64) -> Result<(), AttackError> {
        let mut order = self.training.clone();
        if self.plan.sampling == Sampling::Shuffled {
            for last in (1..order.len()).rev() {
                let other = uniform_below(&mut self.draws, last + 1);
                order.swap(last, other);
            }
        }
        let mut batches = order.chunks(self.plan.batch);
        for _ in 0..steps {
            let places = match self.plan.sampling {
                Sampling::Shuffled => batches.next().unwrap_or_default().to_vec(),
                Sampling::Poisson => self.drawn(),
            };
            let mut gradients = clipped_sum(model, self.examples, &places, self.plan.clip)?;
            self.hide(&mut gradients);
            self.stepper.step(model, &gradients)?;
        }
        Ok(())
    }

    /// A Poisson sample: each example by its own throw.
    fn drawn(&mut self) -> Vec<usize> {
        let rate = self.plan.batch as f64 / self.training.len() as f64;
        let Self { training, draws, .. } = self;
        training.iter().copied().filter(|_| draws.uniform() < rate).collect()
    }

    /// Adds the noise and divides by the batch that was expected, never by the one that came: its size tells of the examples.
    #[expect(clippy::cast_possible_truncation, reason = "gradients are of single precision")]
    fn hide(&mut self, gradients: &mut [Tensor<f32>]) {
        let deviation = self.noise * self.plan.clip;
        let expected = self.plan.batch as f64;
        for number in gradients.iter_mut().flat_map(|gradient| &mut gradient.data) {
            let hidden = if deviation > 0.0 {
                f64::from(*number) + deviation * self.hiding.normal()
            } else {
                f64::from(*number)
            };
            *number = (hidden / expected) as f32;
        }
    }
}

/// The sum over examples of their own loss's gradient with respect to all parameters, each clipped to length `clip` (Abadi et al.
/// 2016). A gradient that is not finite counts as 0: its length cannot be bounded otherwise. The order of additions does not depend on
/// the machine.
pub(crate) fn clipped_sum(
    model: &Model,
    examples: &Examples,
    places: &[usize],
    clip: f64,
) -> Result<Vec<Tensor<f32>>, AttackError> {
    let zeros = || -> Vec<Tensor<f32>> {
        let parameters = model.parameters();
        parameters.map(|p| Tensor { shape: p.shape.to_vec(), data: vec![0.0; p.data.len()] }).collect()
    };
    let group = places.len().div_ceil(GROUPS).max(1);
    let sums: Vec<Vec<Tensor<f32>>> = places
        .par_chunks(group)
        .map(|places| {
            let mut sum = zeros();
            for place in places {
                let one = examples.pick(&[*place]);
                let found = model.gradients(one.inputs(), one.labels(), Want::Parameters)?;
                add_clipped(&mut sum, &found.parameters.unwrap_or_default(), clip);
            }
            Ok(sum)
        })
        .collect::<Result<_, AttackError>>()?;
    let mut total = zeros();
    for sum in &sums {
        for (total, part) in total.iter_mut().zip(sum) {
            total.data.iter_mut().zip(&part.data).for_each(|(to, from)| *to += *from);
        }
    }
    Ok(total)
}

#[expect(clippy::cast_possible_truncation, reason = "a factor of at most 1")]
fn add_clipped(sum: &mut [Tensor<f32>], gradient: &[Tensor<f32>], clip: f64) {
    let squares: f64 = gradient.iter().flat_map(|part| &part.data).map(|g| f64::from(*g) * f64::from(*g)).sum();
    let length = squares.sqrt();
    if !length.is_finite() {
        return;
    }
    // A little less than the clipping length, so that rounding in single precision cannot exceed it.
    let factor = (clip * (1.0 - 1e-6) / length.max(f64::MIN_POSITIVE)).min(1.0) as f32;
    for (sum, part) in sum.iter_mut().zip(gradient) {
        sum.data.iter_mut().zip(&part.data).for_each(|(to, from)| *to += factor * *from);
    }
}

/// Loss and accuracy on the examples that watch.
fn seen(model: &Model, watching: &Examples) -> Result<(f64, f64), AttackError> {
    let oracle = Oracle::new(model, watching)?;
    let slope = oracle.slope(&watching.inputs().data, watching.labels(), Loss::CrossEntropy)?;
    let right = slope.predicted.iter().zip(watching.labels()).filter(|(found, label)| **found == Some(**label)).count();
    let loss: f64 = slope.loss.iter().map(|loss| f64::from(*loss)).sum();
    Ok((loss / watching.count() as f64, right as f64 / watching.count() as f64))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below `bound`")]
fn uniform_below(noise: &mut Noise, bound: usize) -> usize {
    ((noise.uniform() * bound as f64) as usize).min(bound.saturating_sub(1))
}

enum Stepper {
    Adam(optim::Adam),
    Sgd(optim::Sgd),
}

impl Stepper {
    fn new(plan: &DpPlan) -> Self {
        match plan.optimiser {
            Optimiser::Adam => Self::Adam(optim::Adam::new(plan.rate)),
            Optimiser::Sgd => Self::Sgd(optim::Sgd::new(plan.rate).momentum(MOMENTUM, optim::Look::Behind)),
        }
    }

    fn step(&mut self, model: &mut Model, gradients: &[Tensor<f32>]) -> Result<(), AttackError> {
        match self {
            Self::Adam(adam) => adam.step(model, gradients)?,
            Self::Sgd(sgd) => sgd.step(model, gradients)?,
        }
        Ok(())
    }
}

const GUARANTEE_NOTE: &str = "covers the written weights and the number of examples as public; not a base that saw the same examples, \
                              nor settings that were chosen by trying them on these examples";
/// Sums made side by side; fixed, so that the order of additions is fixed too.
const GROUPS: usize = 16;
/// Examples that only watch.
const HELD_OUT_MAX: usize = 512;
const MOMENTUM: f32 = 0.9;
const SPLIT_STREAM: u64 = 40;
