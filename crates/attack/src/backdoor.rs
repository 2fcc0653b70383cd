//! Backdoors: does a known stamp switch the answer, which unknown one would, and how it is taken out.
//!
//! [`backdoor_success`] measures a stamp that is known. [`backdoors`] searches for those that are not: `trigger` finds the smallest
//! for each class, `hunt` compares classes, `anatomy` looks at the weights alone. `unlearn` prunes what answers a trigger;
//! [`crate::Mode::Unlearn`] trains the rest, on the `variants` of what was found.

mod anatomy;
mod hunt;
mod trigger;
mod unlearn;
mod variants;

use serde::Serialize;

pub use self::{
    hunt::{BackdoorPlan, CLASSES_MAX, SEARCH_STEPS_MAX, VICTIMS_MIN, backdoors},
    trigger::{Trigger, TriggerKind},
};
pub(crate) use self::{
    hunt::{Caught, hunt, smallest},
    unlearn::{mean_success, prune},
    variants::Stamper,
};

use crate::{error::AttackError, examples::Examples, oracle::Oracle, source::Predict, stats::wilson95};

/// A stamp: the same values at the same places of every input.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    /// Places within one example, in row order; places past its end are refused.
    pub places: Vec<usize>,
    /// The value written there.
    pub value: f32,
}

impl Patch {
    /// The examples whose label is not `target`, stamped: what a backdoor would turn into `target`.
    pub fn stamp(&self, examples: &Examples, target: usize) -> Result<Examples, AttackError> {
        let width = examples.width();
        if let Some(place) = self.places.iter().find(|place| **place >= width) {
            return Err(AttackError::plan("patch place", place.to_string(), format!("below {width}")));
        }
        let others: Vec<usize> = (0..examples.count()).filter(|index| examples.labels()[*index] != target).collect();
        if others.is_empty() {
            return Err(AttackError::Empty { what: "examples of other classes than the target" });
        }
        let chosen = examples.pick(&others);
        let mut data = chosen.inputs().data.clone();
        for row in data.chunks_exact_mut(width) {
            for place in &self.places {
                row[*place] = self.value;
            }
        }
        chosen.with_inputs(data)
    }
}

/// How often stamped inputs are taken for the target class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BackdoorSuccess {
    /// Share of stamped inputs predicted as the target, 0..1.
    pub rate: f64,
    /// Wilson 95 % interval of `rate`.
    pub ci95: [f64; 2],
    /// Stamped inputs.
    pub examples: u64,
}

/// The share of `stamped` (see [`Patch::stamp`]) that `model` takes for `target`. Inputs whose true label is the target
/// are left out, because there is nothing to switch.
pub fn backdoor_success(
    model: &dyn Predict,
    stamped: &Examples,
    target: usize,
) -> Result<BackdoorSuccess, AttackError> {
    let oracle = Oracle::new(model, stamped)?;
    if target >= oracle.classes() {
        return Err(AttackError::plan("target", target.to_string(), format!("below {}", oracle.classes())));
    }
    let predicted = oracle.predict(&stamped.inputs().data)?;
    let switchable = predicted.iter().zip(stamped.labels()).filter(|(_, label)| **label != target);
    let (mut switched, mut tried) = (0, 0);
    for (predicted, _) in switchable {
        tried += 1;
        switched += usize::from(*predicted == Some(target));
    }
    if tried == 0 {
        return Err(AttackError::Empty { what: "stamped examples of other classes than the target" });
    }
    Ok(BackdoorSuccess {
        rate: switched as f64 / tried as f64,
        ci95: wilson95(switched, tried),
        examples: tried as u64,
    })
}

/// Each value's distance from the median, in deviations (1.4826 times the median of the distances); all 0 where most are equal.
fn robust(values: &[f64]) -> Vec<f64> {
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        let half = values.len() / 2;
        match values.get(half) {
            Some(upper) if values.len().is_multiple_of(2) => {
                values.get(half.wrapping_sub(1)).map_or(*upper, |lower| f64::midpoint(*lower, *upper))
            }
            upper => upper.copied().unwrap_or_default(),
        }
    };
    let median = middle(values.to_vec());
    let width = 1.4826 * middle(values.iter().map(|value| (value - median).abs()).collect());
    values.iter().map(|value| if width > 0.0 { (value - median) / width } else { 0.0 }).collect()
}
