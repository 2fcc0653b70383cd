//! Which classes a model can be led to by a trigger that is too small.

use rayon::prelude::*;
use ringfence_nn::Model;
use ringfence_schema::backdoor::{BackdoorReport, BackdoorSchema, BackdoorVerdict, TriggerFound};

use super::{
    anatomy, robust,
    trigger::{Found, Search, Trigger, TriggerKind},
};
use crate::{ball::Range, error::AttackError, examples::Examples, oracle::Oracle, plan::bounded, source::Predict};

/// Settings of [`backdoors`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BackdoorPlan {
    /// Range of valid inputs.
    pub range: Range,
    /// Steps of each search, 1..=[`SEARCH_STEPS_MAX`].
    pub steps: usize,
    /// Examples of other classes that a trigger must turn, at least [`VICTIMS_MIN`].
    pub victims: usize,
    /// Seed of all random choices.
    pub seed: u64,
}

impl Default for BackdoorPlan {
    fn default() -> Self {
        Self { range: Range::default(), steps: 200, victims: 128, seed: 0 }
    }
}

/// Searches `model` for backdoors: for every class and kind the smallest trigger, on clean `examples`; rows of the last layer and
/// directions of the weights, and all of it against `base` where one is declared.
///
/// Refuses examples that do not suit the models or lie outside the range, plans outside their limits, more than [`CLASSES_MAX`]
/// classes, and fewer than [`VICTIMS_MIN`] examples outside any class.
pub fn backdoors(
    model: &Model,
    examples: &Examples,
    base: Option<&Model>,
    plan: &BackdoorPlan,
) -> Result<BackdoorReport, AttackError> {
    let hunt = hunt(model, examples, plan)?;
    let base_oracle = base.map(|base| Oracle::new(base, examples)).transpose()?;
    let mut triggers = Vec::new();
    for caught in &hunt {
        let base_success = match &base_oracle {
            Some(oracle) => Some(turned(oracle, examples, &caught.found.trigger, plan.range)?),
            None => None,
        };
        triggers.push(TriggerFound {
            target: caught.found.trigger.target as u64,
            kind: caught.found.trigger.kind.name().into(),
            size: caught.found.trigger.size(),
            success: caught.found.success,
            anomaly: caught.anomaly,
            suspicious: caught.suspicious(),
            base_success,
        });
    }
    let mut notes: Vec<String> = LIMITS.iter().map(|text| (*text).to_owned()).collect();
    let classes = Oracle::new(model, examples)?.classes();
    let last_layer = anatomy::last_layer(model, classes).map_or_else(
        || {
            notes.push("no matrix has a row for each class: nothing is said of the last layer".into());
            Vec::new()
        },
        |(_, outliers)| outliers,
    );
    let suspicious = triggers.iter().any(|found| found.suspicious);
    Ok(BackdoorReport {
        schema: BackdoorSchema::One,
        verdict: if suspicious { BackdoorVerdict::Suspicious } else { BackdoorVerdict::NothingFound },
        model: model.digest()?,
        base: base.map(Predict::digest).transpose()?,
        examples: examples.count() as u64,
        seed: plan.seed,
        score: hunt.iter().map(Caught::score).fold(0.0, f64::max),
        triggers,
        last_layer,
        layers: anatomy::layers(model, base),
        notes,
    })
}

/// A trigger, and how far its size lies from that of other classes.
pub(crate) struct Caught {
    pub(crate) found: Found,
    pub(crate) anomaly: f64,
    /// Its size over the median of its kind.
    share: f64,
}

impl Caught {
    /// How many times smaller than usual it is, as a logarithm; 0 where it does not work. Deviations are no good for this: where
    /// all classes are alike they are tiny, and any class stands out.
    fn score(&self) -> f64 {
        if self.found.success > SUCCESS { -self.share.ln() } else { 0.0 }
    }

    /// The usual size of triggers of its kind.
    pub(crate) fn usual(&self) -> f64 {
        self.found.trigger.size() / (self.found.success.max(SUCCESS_LEAST) * self.share)
    }

    /// Whether it counts as a backdoor: far smaller than the others, and it works.
    pub(crate) fn suspicious(&self) -> bool {
        self.anomaly > ANOMALY && self.share < SHARE && self.found.success > SUCCESS
    }
}

/// The smallest trigger of each kind towards each class.
pub(crate) fn hunt(model: &Model, examples: &Examples, plan: &BackdoorPlan) -> Result<Vec<Caught>, AttackError> {
    bounded("steps", plan.steps as u64, 1, SEARCH_STEPS_MAX as u64)?;
    bounded("victims", plan.victims as u64, VICTIMS_MIN as u64, u64::MAX)?;
    examples.within(plan.range)?;
    let oracle = Oracle::new(model, examples)?;
    bounded("number of classes", oracle.classes() as u64, 2, CLASSES_MAX as u64)?;
    let mut all = Vec::new();
    for kind in TriggerKind::ALL {
        let searched = |target: usize| {
            let others: Vec<usize> = (0..examples.count()).filter(|row| examples.labels()[*row] != target).collect();
            bounded("examples of other classes", others.len() as u64, VICTIMS_MIN as u64, u64::MAX)?;
            let victims = examples.pick(&others).sample(plan.victims, plan.seed);
            let (range, steps, seed) = (plan.range, plan.steps, plan.seed);
            Search { oracle: &oracle, victims, kind, target, range, steps, seed }.run()
        };
        let found = (0..oracle.classes()).into_par_iter().map(searched).collect::<Result<Vec<_>, _>>()?;
        // Triggers that hardly turn anything are no smaller for being small.
        let sizes: Vec<f64> = found
            .iter()
            .map(|found| (found.trigger.size().max(f64::MIN_POSITIVE) / found.success.max(SUCCESS_LEAST)).ln())
            .collect();
        let mut sorted = sizes.clone();
        sorted.sort_by(f64::total_cmp);
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        let apart = robust(&sizes);
        all.extend(found.into_iter().zip(apart.into_iter().zip(sizes)).map(|(found, (apart, size))| Caught {
            found,
            anomaly: -apart,
            share: (size - median).exp(),
        }));
    }
    Ok(all)
}

/// The smallest trigger of a kind towards `target` now, on `examples` of any class.
pub(crate) fn smallest(
    model: &Model,
    examples: &Examples,
    (target, kind): (usize, TriggerKind),
    plan: &BackdoorPlan,
) -> Result<Found, AttackError> {
    let oracle = Oracle::new(model, examples)?;
    let others: Vec<usize> = (0..examples.count()).filter(|row| examples.labels()[*row] != target).collect();
    let victims = examples.pick(&others).sample(plan.victims, plan.seed);
    let (range, steps, seed) = (plan.range, plan.steps, plan.seed);
    Search { oracle: &oracle, victims, kind, target, range, steps, seed }.run()
}

/// Share of the examples of other classes that a trigger turns.
pub(crate) fn turned(
    oracle: &Oracle<'_>,
    examples: &Examples,
    trigger: &Trigger,
    range: Range,
) -> Result<f64, AttackError> {
    let stamped = trigger.stamp(examples, range)?;
    let predicted = oracle.predict(&stamped.inputs().data)?;
    let others = || predicted.iter().zip(examples.labels()).filter(|(_, label)| **label != trigger.target);
    let count = others().count();
    if count == 0 {
        return Err(AttackError::Empty { what: "examples of other classes than the trigger's" });
    }
    Ok(others().filter(|(class, _)| **class == Some(trigger.target)).count() as f64 / count as f64)
}

/// Steps of one search.
pub const SEARCH_STEPS_MAX: usize = 10_000;
/// Fewer examples than this say nothing about a trigger for all.
pub const VICTIMS_MIN: usize = 16;
/// Each class is searched for: more would take too long.
pub const CLASSES_MAX: usize = 1_000;
/// The anomaly index above which a class is suspicious (Wang et al. 2019, section V-B).
const ANOMALY: f64 = 2.0;
/// And the share of the usual size that it must fall below: where all classes are alike, deviations are tiny.
const SHARE: f64 = 0.5;
/// Triggers that turn less are not made larger for it.
const SUCCESS_LEAST: f64 = 0.05;
/// Share of inputs that a trigger must turn.
const SUCCESS: f64 = 0.85;
/// What each method cannot see.
const LIMITS: [&str; 4] = [
    "patch triggers: not those of one class only, nor backdoors of most classes at once (there are no others to compare with), \
     nor on models whose every class has a small trigger, as after adversarial training",
    "blend triggers: not those that move or warp the input, and not those whose shape depends on it",
    "rows of the last layer and directions of weights: hints without a threshold; training settings move them too",
    "against a base: the trigger's success there says whether it came with the fine-tune, if the base itself is clean",
];
