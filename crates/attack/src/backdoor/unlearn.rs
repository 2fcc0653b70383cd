//! Taking found triggers out of a model: its units that answer the trigger alone are pruned, and what is left is trained to give
//! stamped inputs their own label (Liu et al. 2018, "Fine-pruning"; Wang et al. 2019, section VI).

use ringfence_nn::Model;

use super::trigger::Trigger;
use crate::{ball::Range, error::AttackError, examples::Examples, gradient::accuracy, oracle::Oracle};

/// Sets to zero the units (a weight's first dimension, with its bias) without which the triggers work less while clean examples are
/// still answered alike; how many. Each unit is tried on its own, then the best ones together for as long as accuracy lasts.
pub(crate) fn prune(
    model: &mut Model,
    examples: &Examples,
    triggers: &[Trigger],
    range: Range,
) -> Result<u64, AttackError> {
    let examples = examples.clone().sample(TRIED_ON, 0);
    let clean = accuracy(model, &examples)?;
    let works = mean_success(model, &examples, triggers, range)?;
    let mut units: Vec<(f64, usize, usize)> = Vec::new();
    for (layer, count) in prunable(model) {
        for unit in 0..count {
            let kept = silence(model, layer, unit);
            let (loss, gain) =
                (clean - accuracy(model, &examples)?, works - mean_success(model, &examples, triggers, range)?);
            awaken(model, layer, unit, &kept);
            if loss <= ACCURACY_LOST && gain > GAIN_MIN {
                units.push((gain, layer, unit));
            }
        }
    }
    units.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut pruned = 0;
    for (_, layer, unit) in units {
        let kept = silence(model, layer, unit);
        if clean - accuracy(model, &examples)? > ACCURACY_LOST {
            awaken(model, layer, unit, &kept);
        } else {
            pruned += 1;
        }
    }
    Ok(pruned)
}

/// The mean share of inputs that triggers turn.
pub(crate) fn mean_success(
    model: &Model,
    examples: &Examples,
    triggers: &[Trigger],
    range: Range,
) -> Result<f64, AttackError> {
    let oracle = Oracle::new(model, examples)?;
    let mut sum = 0.0;
    for trigger in triggers {
        sum += super::hunt::turned(&oracle, examples, trigger, range)?;
    }
    Ok(sum / triggers.len().max(1) as f64)
}

/// Weights that are followed by a bias of the same first dimension, but the last such (its units are the classes), and how many units
/// each has; layers of very many are left alone.
fn prunable(model: &Model) -> Vec<(usize, usize)> {
    let shapes: Vec<&[usize]> = model.parameters().map(|parameter| parameter.shape).collect();
    let mut layers: Vec<(usize, usize)> = shapes
        .windows(2)
        .enumerate()
        .filter_map(|(place, pair)| match pair {
            [weight, [units]] if weight.len() >= 2 && weight.first() == Some(units) => Some((place, *units)),
            _ => None,
        })
        .collect();
    layers.pop();
    layers.retain(|(_, units)| *units <= UNITS_MAX);
    layers
}

/// Zeroes a unit; what it was.
fn silence(model: &mut Model, layer: usize, unit: usize) -> Vec<Vec<f32>> {
    let mut kept = Vec::new();
    for parameter in model.parameters_mut().skip(layer).take(2) {
        let width = parameter.data.len() / parameter.shape.first().copied().unwrap_or(1).max(1);
        if let Some(numbers) = parameter.data.get_mut(unit * width..(unit + 1) * width) {
            kept.push(numbers.to_vec());
            numbers.fill(0.0);
        }
    }
    kept
}

fn awaken(model: &mut Model, layer: usize, unit: usize, kept: &[Vec<f32>]) {
    for (parameter, kept) in model.parameters_mut().skip(layer).take(2).zip(kept) {
        let width = kept.len();
        if let Some(numbers) = parameter.data.get_mut(unit * width..(unit + 1) * width) {
            numbers.copy_from_slice(kept);
        }
    }
}

/// Examples on which units are tried.
const TRIED_ON: usize = 128;
/// Units of a layer that are tried one by one.
const UNITS_MAX: usize = 512;
/// Accuracy that pruning may cost.
const ACCURACY_LOST: f64 = 0.01;
/// Success that a unit must take from the trigger to be pruned.
const GAIN_MIN: f64 = 0.02;
