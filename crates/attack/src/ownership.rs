//! Ownership: marks that a model carries through theft, and how surprising it is to find one elsewhere.
//!
//! * [`embed()`] trains two marks into a model before it is released: answers to secret triggers (Adi et al. 2018, "Turning
//!   your weakness into a strength") and bits in the signs of secret sums of weights (Uchida et al. 2017, "Embedding watermarks
//!   into deep neural networks").
//! * [`verify()`] puts a [`WatermarkSecret`] to a suspect. Its p-values are exact: labels and bits are fair draws from the
//!   secret, so a model that has nothing to do with it is right about each with a chance of 1 / classes, or 1 / 2.
//! * [`dataset_inference`] asks whether a suspect knows the owner's training data; it needs no mark.
//! * [`commitment()`] names a secret without telling it.
//!
//! A p-value counts only for a secret that is known to be older than the suspect: whoever tries a million keys on a finished
//! model finds one that fits with p = 1e-6. So the commitment is recorded before the release. What comes from outside
//! (suspects, secrets) is checked; the key's randomness is the caller's.

use ringfence_nn::{Model, Tensor, Want, optim::Adam};
use ringfence_schema::{
    Digest,
    digest::hex,
    watermark::{
        DatasetTest, EmbedReport, EmbedSchema, MarkTest, Ownership, SecretSchema, WatermarkReport, WatermarkSchema,
        WatermarkSecret,
    },
};

use crate::{
    error::AttackError, examples::Examples, gradient::accuracy, loss::cross_entropy, oracle::Oracle, plan::bounded,
    random::stream, source::Predict,
};

mod chance;
mod dataset;
mod secret;

pub use chance::binomial_tail;
pub(crate) use dataset::digest as data_digest;
pub use dataset::{STEPS as WALK_STEPS_MAX, WALKS, dataset_inference};
pub use secret::{BITS_ELEMENTS_MAX, BITS_MAX, TRIGGERS_MAX, TRIGGERS_MIN, commitment};

use secret::{Mark, Projection};

/// Settings of [`embed`].
#[derive(Debug, Clone, PartialEq)]
pub struct MarkPlan {
    /// Trigger inputs, [`TRIGGERS_MIN`]..=[`TRIGGERS_MAX`].
    pub triggers: u64,
    /// Bits in weights, 0..=[`BITS_MAX`]; none where no parameter is large enough.
    pub bits: u64,
    /// Passes over the data, 1..=[`MARK_EPOCHS_MAX`].
    pub epochs: u64,
    /// Highest learning rate; it falls in a line.
    pub rate: f32,
    /// Seed of the order of examples.
    pub seed: u64,
}

impl Default for MarkPlan {
    fn default() -> Self {
        Self { triggers: 60, bits: 64, epochs: 20, rate: 0.003, seed: 0 }
    }
}

/// A secret for marking `model`, which is trained on data like `examples`. `key` must come from a source of cryptographic
/// randomness: everything follows from it.
pub fn new_secret(
    key: [u8; 32],
    model: &Model,
    examples: &Examples,
    plan: &MarkPlan,
) -> Result<WatermarkSecret, AttackError> {
    bounded("bits", plan.bits, 0, BITS_MAX)?;
    let values = &examples.inputs().data;
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let secret = WatermarkSecret {
        schema: SecretSchema::One,
        key: hex(&key),
        shape: examples.inputs().shape.iter().skip(1).map(|dim| *dim as u64).collect(),
        classes: Oracle::new(model, examples)?.classes() as u64,
        range: [f64::from(low), f64::from(high)],
        triggers: plan.triggers,
        bits: if plan.bits == 0 { None } else { secret::place_for(model, plan.bits) },
        data: Some(dataset::digest(examples)),
    };
    Mark::new(&secret)?;
    Ok(secret)
}

/// Trains the marks of `secret` into `model`, along with `examples`, so that its accuracy stays.
///
/// A tenth of the examples is not trained on and tells the accuracy. Whether the marks took is in the report.
/// `progress` is called after every epoch with its number. Refuses plans outside their limits, a secret made for another
/// model, fewer than two examples, and a training that ends in weights that are no numbers.
pub fn embed(
    mut model: Model,
    examples: &Examples,
    secret: &WatermarkSecret,
    plan: &MarkPlan,
    progress: &mut dyn FnMut(u64),
) -> Result<(Model, EmbedReport), AttackError> {
    bounded("epochs", plan.epochs, 1, MARK_EPOCHS_MAX)?;
    if !(plan.rate.is_finite() && plan.rate > 0.0) {
        return Err(AttackError::plan("rate", plan.rate.to_string(), "finite and above 0"));
    }
    let mark = Mark::new(secret)?;
    let oracle = Oracle::new(&model, examples)?;
    bounded("classes", oracle.classes() as u64, secret.classes, secret.classes)?;
    if examples.count() < 2 {
        return Err(AttackError::Empty { what: "examples to train on besides those that are held out" });
    }
    let base = Digest::of(&model.to_onnx()?);
    let mut order: Vec<usize> = (0..examples.count()).collect();
    stream(plan.seed, &[SPLIT_STREAM]).shuffle(&mut order);
    let held = examples.pick(&order.split_off(order.len() - (order.len() / 10).max(1)));
    let before = accuracy(&model, &held)?;
    let writer = Writer::new(&mark, &model)?;
    writer.push(&mut model);
    let mut adam = Adam::new(plan.rate);
    for epoch in 0..plan.epochs {
        stream(plan.seed, &[ORDER_STREAM, epoch]).shuffle(&mut order);
        adam.rate = plan.rate * (1.0 - epoch as f32 / plan.epochs as f32);
        for (index, places) in order.chunks(BATCH).enumerate() {
            writer.step(&mut model, &mut adam, &examples.pick(places), index)?;
        }
        progress(epoch + 1);
    }
    if model.parameters().any(|parameter| parameter.data.iter().any(|value| !value.is_finite())) {
        return Err(AttackError::Diverged { epochs: plan.epochs });
    }
    let report = EmbedReport {
        schema: EmbedSchema::One,
        base,
        model: Digest::of(&model.to_onnx()?),
        commitment: commitment(secret)?,
        epochs: plan.epochs,
        accuracy: [before, accuracy(&model, &held)?],
        held_out: held.count() as u64,
        marks: tests(&model, &mark)?,
    };
    Ok((model, report))
}

/// Puts `secret` to a suspect: its triggers, and its bits where the weights lie open.
pub fn verify(suspect: &dyn Predict, secret: &WatermarkSecret) -> Result<WatermarkReport, AttackError> {
    let mark = Mark::new(secret)?;
    let tests = tests(suspect, &mark)?;
    let told: Vec<f64> = tests.iter().filter_map(|test| test.p_value).collect();
    let p_value = told.iter().copied().reduce(f64::min).map(|least| (least * told.len() as f64).min(1.0));
    Ok(WatermarkReport {
        schema: WatermarkSchema::One,
        suspect: suspect.digest()?,
        commitment: commitment(secret)?,
        verdict: match p_value {
            None => Ownership::CannotState,
            Some(p) if p < THRESHOLD => Ownership::Marked,
            Some(_) => Ownership::NotFound,
        },
        tests,
        dataset: None,
        p_value,
        threshold: THRESHOLD,
        note: NOTE.into(),
        recorded: None,
        ledger: None,
    })
}

/// Dataset inference with the owner's training data ([`dataset_inference`]); the note says where it is not the data that the
/// secret names.
pub fn verify_data(
    suspect: &dyn Predict,
    secret: &WatermarkSecret,
    members: &Examples,
    others: &Examples,
    seed: u64,
) -> Result<DatasetTest, AttackError> {
    let mut found = dataset_inference(suspect, members, others, seed)?;
    if secret.data != Some(dataset::digest(members)) {
        found.note.push_str(
            "; the data given is not the data that the secret names, so it may have been chosen for this suspect",
        );
    }
    Ok(found)
}

fn tests(suspect: &dyn Predict, mark: &Mark<'_>) -> Result<Vec<MarkTest>, AttackError> {
    let mut tests = vec![trigger_test(suspect, mark)?];
    if let Some(place) = mark.bits_place() {
        let found = suspect.parameters().map(|model| (model, usize::try_from(place.parameter).unwrap_or(usize::MAX)));
        let weights = found.and_then(|(model, place)| model.parameters().nth(place));
        let weights = weights.map(|parameter| parameter.data).filter(|data| data.len() as u64 == place.elements);
        let matches = weights.map(|weights| {
            mark.projections().iter().filter(|projection| projection.agreement(weights) > 0.0).count() as u64
        });
        tests.push(match matches {
            Some(matches) => tested("weight-bits", matches, place.bits, 0.5),
            None => {
                untested("weight-bits", place.bits, 0.5, "the suspect's weights are not open, or not of that shape")
            }
        });
    }
    Ok(tests)
}

fn trigger_test(suspect: &dyn Predict, mark: &Mark<'_>) -> Result<MarkTest, AttackError> {
    let (triggers, labels) = (mark.triggers(), mark.labels());
    let chance = 1.0 / mark.classes() as f64;
    match dataset::classes(suspect, &triggers) {
        Ok(answers) => {
            let matches = answers.iter().zip(&labels).filter(|(answer, label)| **answer == Some(**label)).count();
            Ok(tested("trigger-set", matches as u64, labels.len() as u64, chance))
        }
        Err(AttackError::Shape { .. }) => {
            Ok(untested("trigger-set", labels.len() as u64, chance, "the suspect takes inputs of another shape"))
        }
        Err(error) => Err(error),
    }
}

fn tested(mark: &str, matches: u64, trials: u64, chance: f64) -> MarkTest {
    let p_value = Some(binomial_tail(matches, trials, chance));
    MarkTest { mark: mark.into(), matches, trials, chance, p_value, note: None }
}

fn untested(mark: &str, trials: u64, chance: f64, why: &str) -> MarkTest {
    MarkTest { mark: mark.into(), matches: 0, trials, chance, p_value: None, note: Some(why.into()) }
}

/// Trains marks into a model.
struct Writer {
    triggers: Examples,
    place: usize,
    projections: Vec<Projection>,
    /// What an agreement is measured in: the standard deviation that it has by chance.
    unit: f64,
}

impl Writer {
    fn new(mark: &Mark<'_>, model: &Model) -> Result<Self, AttackError> {
        let triggers = Examples::new(mark.triggers(), mark.labels())?;
        Oracle::new(model, &triggers)?;
        let place = mark.bits_place().map_or(usize::MAX, |bits| usize::try_from(bits.parameter).unwrap_or(usize::MAX));
        let carrier = model.parameters().nth(place).map(|parameter| parameter.data);
        let projections = mark.projections();
        if let (Some(bits), false) = (mark.bits_place(), projections.is_empty()) {
            let elements = carrier.map_or(0, <[f32]>::len) as u64;
            bounded("elements", elements, bits.elements, bits.elements)?;
        }
        let squares: f64 = carrier.unwrap_or_default().iter().map(|value| f64::from(value * value)).sum();
        Ok(Self { triggers, place, projections, unit: squares.sqrt().max(f64::MIN_POSITIVE) })
    }

    /// Moves the weights the shortest way that gives every bit its margin, as far as the sums do not disturb one another.
    fn push(&self, model: &mut Model) {
        let Some(carrier) = model.parameters_mut().nth(self.place) else { return };
        for projection in &self.projections {
            let missing = (MARGIN * self.unit - projection.agreement(carrier.data)).max(0.0);
            let sign = if projection.bit { 1.0 } else { -1.0 };
            let each = single(missing / carrier.data.len().max(1) as f64) * sign;
            for (weight, turn) in carrier.data.iter_mut().zip(projection.signs()) {
                *weight += each * turn;
            }
        }
    }

    /// One step on a batch, some triggers, and the bits.
    fn step(&self, model: &mut Model, adam: &mut Adam, batch: &Examples, index: usize) -> Result<(), AttackError> {
        let count = self.triggers.count();
        let places: Vec<usize> =
            (0..TRIGGERS_A_STEP.min(count)).map(|at| (index * TRIGGERS_A_STEP + at) % count).collect();
        let some = self.triggers.pick(&places);
        let mut x = batch.inputs().clone();
        x.shape[0] += places.len();
        x.data.extend(&some.inputs().data);
        let labels: Vec<usize> = batch.labels().iter().chain(some.labels()).copied().collect();
        let rows = labels.len() as f32;
        let loss = |row: usize, scores: &[f32], slope: &mut [f32]| cross_entropy(scores, labels[row], slope);
        let mut found = model.pullback(&x, Want::Parameters, &loss)?.parameters.unwrap_or_default();
        for value in found.iter_mut().flat_map(|tensor| &mut tensor.data) {
            *value /= rows;
        }
        self.keep_bits(model, &mut found);
        Ok(adam.step(model, &found)?)
    }

    /// Adds the slope of Uchida's embedding loss, the cross-entropy of each bit.
    fn keep_bits(&self, model: &Model, slopes: &mut [Tensor<f32>]) {
        let (Some(carrier), Some(slope)) = (model.parameters().nth(self.place), slopes.get_mut(self.place)) else {
            return;
        };
        for projection in &self.projections {
            let agreement = projection.agreement(carrier.data) / self.unit;
            let pull = BITS_WEIGHT / (1.0 + (agreement - MARGIN).exp()) / self.unit;
            let each = single(if projection.bit { -pull } else { pull });
            for (slope, turn) in slope.data.iter_mut().zip(projection.signs()) {
                *slope += each * turn;
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "networks train in f32")]
fn single(value: f64) -> f32 {
    value as f32
}

/// Passes over the data.
pub const MARK_EPOCHS_MAX: u64 = 10_000;
/// p-value below which a mark is found. One in a million, so that many suspects may be looked at.
pub const THRESHOLD: f64 = 1e-6;
const BATCH: usize = 32;
const TRIGGERS_A_STEP: usize = 12;
/// How far a bit's sum is kept from 0, in standard deviations of a sum by chance.
const MARGIN: f64 = 3.0;
/// Weight of the bits against the examples.
const BITS_WEIGHT: f64 = 0.02;
const SPLIT_STREAM: u64 = 41;
const ORDER_STREAM: u64 = 42;
const NOTE: &str = "p-values are exact for a model that has nothing to do with the secret, and count only where its commitment was \
                    recorded before the suspect was made; a mark that is not found proves nothing: triggers can be \
                    trained away, bits do not survive distillation or a new order of units";
