//! Dataset inference (Maini, Yaghini and Papernot 2021, "Dataset inference: ownership resolution in machine learning"): a model
//! that was trained on the owner's data, or distilled from one that was, lies farther from its boundaries there than elsewhere.
//!
//! A simple form: the distance by the paper's blind walk (labels only), compared by Welch's t-test, without a trained
//! regressor. The p-value is approximate, and it rests on an assumption that an honest suspect can break: that both
//! sets come from one source and the suspect had neither (Szyller et al. 2022 show false accusations where it had
//! similar data). It is reported, and decides nothing.

use ringfence_nn::Tensor;
use ringfence_schema::{Digest, Hasher, watermark::DatasetTest};

use crate::{
    error::AttackError, examples::Examples, oracle::Oracle, ownership::chance::welch, random::stream, source::Predict,
};

/// Compares how far `suspect` lies from its boundaries at `members` (the owner's training data) and at `others` from the same
/// source. Needs predictions only: (1 + [`WALKS`] · [`STEPS`]) for each record at most.
pub fn dataset_inference(
    suspect: &dyn Predict,
    members: &Examples,
    others: &Examples,
    seed: u64,
) -> Result<DatasetTest, AttackError> {
    let (inside, outside) = (distances(suspect, members, seed)?, distances(suspect, others, seed)?);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let found = welch(&inside, &outside).filter(|_| inside.len().min(outside.len()) >= RECORDS_MIN);
    Ok(DatasetTest {
        records: [inside.len() as u64, outside.len() as u64],
        distance: [mean(&inside), mean(&outside)],
        t: found.map(|(t, _)| t),
        p_value: found.map(|(_, p)| p),
        note: if found.is_some() { NOTE.into() } else { TOO_FEW.into() },
    })
}

/// For each record the mean number of steps, as a share of the range of values, after which its label is lost along
/// random directions; 0 where it is not given to begin with.
fn distances(suspect: &dyn Predict, examples: &Examples, seed: u64) -> Result<Vec<f64>, AttackError> {
    let oracle = Oracle::new(suspect, examples)?;
    let values = &examples.inputs().data;
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let step = (high - low).max(f32::MIN_POSITIVE) * STEP;
    let first = oracle.predict(values)?;
    let right = |place: usize| first[place] == Some(examples.labels()[place]);
    let mut total = vec![0.0; examples.count()];
    for walk in 0..WALKS {
        let mut walking: Vec<usize> = (0..examples.count()).filter(|place| right(*place)).collect();
        for taken in 1..=STEPS {
            let mut points = Vec::with_capacity(walking.len() * examples.width());
            for place in &walking {
                let mut random = stream(seed, &[WALK_STREAM, walk, *place as u64]);
                let far = step * taken as f32;
                points.extend(examples.row(*place).iter().map(|value| value + far * random.uniform_in(-1.0, 1.0)));
            }
            if walking.is_empty() {
                break;
            }
            let found = oracle.predict(&points)?;
            let mut rest = Vec::with_capacity(walking.len());
            for (place, found) in walking.iter().zip(found) {
                total[*place] += f64::from(STEP);
                if found == Some(examples.labels()[*place]) {
                    rest.push(*place);
                }
            }
            walking = rest;
        }
    }
    Ok(total.into_iter().map(|sum| sum / WALKS as f64).collect())
}

/// SHA-256 of examples: shape, rows and labels in their order.
pub(crate) fn digest(examples: &Examples) -> Digest {
    let mut hasher = Hasher::new();
    for dim in &examples.inputs().shape {
        hasher.update(&(*dim as u64).to_le_bytes());
    }
    for value in &examples.inputs().data {
        hasher.update(&value.to_le_bytes());
    }
    for label in examples.labels() {
        hasher.update(&(*label as u64).to_le_bytes());
    }
    hasher.finish()
}

/// The classes that `suspect` gives to inputs that may not have labels.
pub(crate) fn classes(suspect: &dyn Predict, x: &Tensor<f32>) -> Result<Vec<Option<usize>>, AttackError> {
    let rows = x.shape.first().copied().unwrap_or(0);
    let examples = Examples::new(x.clone(), vec![0; rows])?;
    Oracle::new(suspect, &examples)?.predict(&x.data)
}

/// Walks from each record, and steps of each at most.
pub const WALKS: u64 = 8;
/// See [`WALKS`].
pub const STEPS: usize = 40;
/// Length of a step as a share of the range of values.
const STEP: f32 = 0.05;
/// Fewest records of each kind: the t-test is for means of many.
const RECORDS_MIN: usize = 30;
const NOTE: &str = "approximate, and only where both sets come from one source and an honest suspect had neither: it supports \
                    a claim, it does not make one";
const TOO_FEW: &str = "fewer than 30 records of a kind, or all at the same distance: nothing can be stated";
const WALK_STREAM: u64 = 40;
