//! What a model gives away of the data that it was trained on.
//!
//! * [`privacy`] runs an audit and answers a [`PrivacyReport`] and pictures: membership (loss threshold, LiRA, RMIA, labels alone),
//!   attributes, inversion. [`privacy_of_language`] does so for language models: canaries and memorised sequences.
//! * [`Signals`], [`membership`], [`lira`], [`rmia`]: the tests on confidences that were computed elsewhere.
//! * [`References`] says where reference models come from: given, or trained here on random halves ([`ReferencePlan`]).
//!
//! What must stay true: a figure that the sample cannot carry is absent; no test that runs can show that nothing leaks, and
//! [`Leak::NotShown`] says no more than its name.

mod attribute;
mod inversion;
mod label_only;
mod language;
mod likelihood;
mod membership;
mod shadow;
mod signals;

use ringfence_nn::Model;
use ringfence_schema::privacy::{Leak, MemberAccuracy, PrivacyReport, PrivacySchema, References as ReferenceFacts};
use serde::{Deserialize, Serialize};

pub use attribute::ATTRIBUTE_VALUES_MAX;
pub use inversion::Picture;
pub use language::{
    CANDIDATES_MAX, Canary, LanguagePlan, PREFIX_DEFAULT, SEQUENCES_MAX, TOKENS_MAX, canary_exposure, extract,
};
pub use likelihood::{Side, Spread, lira, rmia};
pub use membership::membership;
pub use shadow::{REFERENCES_MAX, ReferencePlan};
pub use signals::{ReferenceSignals, Signals};

use self::{
    likelihood::mean,
    shadow::{halves, train_afresh},
    signals::confidences,
};
use crate::{
    ball::Range,
    error::AttackError,
    examples::Examples,
    plan::{Progress, bounded},
    random::stream,
    source::{Capability, Predict},
};

/// Settings of [`privacy`]. In a plan file the names are written with dashes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PrivacyPlan {
    /// Reference models to train here.
    pub references: ReferencePlan,
    /// Columns to infer: one place for a column of numbers, several for one that is one-hot.
    pub attributes: Vec<Vec<usize>>,
    /// Classes to invert.
    pub invert: Vec<usize>,
    /// Steps of an inversion, 1..=[`INVERSION_STEPS_MAX`]; 0 stands for 300.
    pub inversion_steps: usize,
    /// Whether membership is tested by labels alone too: some fifty questions for each example.
    pub label_only: bool,
    /// Seed of all random choices.
    pub seed: u64,
    /// Range of valid inputs.
    #[serde(skip)]
    pub range: Range,
}

/// A reference model that was trained elsewhere.
pub struct Reference<'m> {
    /// The model.
    pub model: &'m dyn Predict,
    /// Which audited examples (members, then non-members) it was trained on; `None`: none of them.
    pub contains: Option<Vec<bool>>,
}

/// Tests what `model` gives away of `members`, which it was trained on; `non_members` are of the same source and were not.
///
/// `references` are models of others; with [`PrivacyPlan::references`] more are trained here, for which the model's architecture must
/// lie open. `progress` is told of each model trained.
///
/// Refuses examples of different shapes, masks that do not fit, settings outside their limits, and what the model's capability does
/// not allow.
pub fn privacy(
    model: &dyn Predict,
    members: &Examples,
    non_members: &Examples,
    references: &[Reference<'_>],
    plan: &PrivacyPlan,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(PrivacyReport, Vec<Picture>), AttackError> {
    plan.references.check()?;
    bounded("inversion-steps", plan.inversion_steps as u64, 0, INVERSION_STEPS_MAX as u64)?;
    bounded("attributes", plan.attributes.len() as u64, 0, ATTRIBUTES_MAX as u64)?;
    let all = joined(members, non_members)?;
    let audit = Audit { members: members.count(), all };
    let (signals, right, facts) = audit.signals(model, references, plan, progress)?;
    // Labels alone have no loss.
    let labels = model.capability() == Capability::Labels;
    if labels && !plan.label_only {
        return Err(refused("a loss threshold", Capability::Predict, model));
    }
    let mut tests = if labels { Vec::new() } else { membership(&signals)? };
    if plan.label_only {
        let (scores, queries) = label_only::noise_distance(model, &audit.all, plan.range, plan.seed)?;
        tests.push(membership::judged("label-only-noise", &signals, &scores, queries, membership::LABEL_NOTE));
    }
    let attributes = plan.attributes.iter().map(|columns| attribute::infer(model, members, non_members, columns));
    let attributes = attributes.collect::<Result<Vec<_>, _>>()?;
    let (inversions, pictures) = if plan.invert.is_empty() {
        (Vec::new(), Vec::new())
    } else {
        let steps = if plan.inversion_steps == 0 { INVERSION_STEPS } else { plan.inversion_steps };
        inversion::invert(model, members, &plan.invert, steps, plan.range)?
    };
    let accuracy = |range: std::ops::Range<usize>| {
        let count = range.len() as f64;
        range.filter(|place| right.get(*place) == Some(&true)).count() as f64 / count
    };
    let accuracy =
        MemberAccuracy { members: accuracy(0..audit.members), non_members: accuracy(audit.members..audit.all.count()) };
    let found = tests.iter().map(|test| test.leak).chain(attributes.iter().map(|one| one.leak));
    let report = PrivacyReport {
        schema: PrivacySchema::One,
        model: model.digest()?,
        seed: plan.seed,
        leak: together(found),
        accuracy: Some(accuracy),
        references: facts,
        membership: tests,
        attributes,
        inversions,
        canaries: Vec::new(),
        extraction: None,
        ledger: None,
    };
    Ok((report, pictures))
}

/// Tests what a language model remembers word for word: see [`canary_exposure`] and [`extract`]. A canary of ten bits of exposure or more,
/// or a sequence that comes out where controls do not, counts as shown.
pub fn privacy_of_language(model: &dyn Predict, plan: &LanguagePlan, seed: u64) -> Result<PrivacyReport, AttackError> {
    if plan.is_empty() {
        return Err(AttackError::Empty { what: "canaries and sequences" });
    }
    let canaries = canary_exposure(model, plan, seed)?;
    let extraction = extract(model, plan)?;
    let exposed = canaries.iter().map(|canary| {
        if canary.exposure >= EXPOSURE_SHOWN {
            Leak::Shown
        } else if canary.most < EXPOSURE_SHOWN {
            Leak::CannotState
        } else {
            Leak::NotShown
        }
    });
    let extracted = extraction.iter().map(|found| match found.control_rate {
        _ if found.extracted == 0 => Leak::NotShown,
        Some(control) if found.ci95[0] > control => Leak::Shown,
        Some(_) => Leak::NotShown,
        None => Leak::CannotState,
    });
    let leak = together(exposed.chain(extracted));
    Ok(PrivacyReport {
        schema: PrivacySchema::One,
        model: model.digest()?,
        seed,
        leak,
        accuracy: None,
        references: None,
        membership: Vec::new(),
        attributes: Vec::new(),
        inversions: Vec::new(),
        canaries,
        extraction,
        ledger: None,
    })
}

/// Shown where any shows it; not shown where at least one could tell.
fn together(found: impl Iterator<Item = Leak>) -> Leak {
    found.fold(Leak::CannotState, |all, one| match (all, one) {
        (Leak::Shown, _) | (_, Leak::Shown) => Leak::Shown,
        (Leak::NotShown, _) | (_, Leak::NotShown) => Leak::NotShown,
        _ => Leak::CannotState,
    })
}

/// Members, then non-members.
fn joined(members: &Examples, non_members: &Examples) -> Result<Examples, AttackError> {
    let [a, b] = [members, non_members].map(Examples::inputs);
    if a.shape.get(1..) != b.shape.get(1..) {
        return Err(AttackError::Shape {
            input: "members".into(),
            expected: a.shape.iter().copied().map(Some).collect(),
            found: b.shape.clone(),
        });
    }
    let shape = members.shape_of(members.count() + non_members.count());
    let data = a.data.iter().chain(&b.data).copied().collect();
    let labels = members.labels().iter().chain(non_members.labels()).copied().collect();
    Examples::new(ringfence_nn::Tensor { shape, data }, labels)
}

/// The audited examples, members first.
struct Audit {
    all: Examples,
    members: usize,
}

impl Audit {
    fn signals(
        &self,
        model: &dyn Predict,
        given: &[Reference<'_>],
        plan: &PrivacyPlan,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<(Signals, Vec<bool>, Option<ReferenceFacts>), AttackError> {
        let count = self.all.count();
        let (target, right) = confidences(model, &self.all)?;
        let member = (0..count).map(|place| place < self.members).collect();
        let mut signals = Signals { target, member, references: Vec::new() };
        let mut accuracies = [Vec::new(), Vec::new()];
        let mut add = |signals: &mut Signals, model: &dyn Predict, contains: Vec<bool>| -> Result<(), AttackError> {
            let (confidence, right) = confidences(model, &self.all)?;
            for (place, inside) in [true, false].into_iter().enumerate() {
                let of: Vec<f64> = (0..count)
                    .filter(|at| contains.get(*at) == Some(&inside))
                    .map(|at| f64::from(u8::from(right.get(at) == Some(&true))))
                    .collect();
                if !of.is_empty() {
                    accuracies[place].push(mean(&of));
                }
            }
            signals.references.push(ReferenceSignals { confidence, contains });
            Ok(())
        };
        for reference in given {
            let contains = reference.contains.clone().unwrap_or_else(|| vec![false; count]);
            if contains.len() != count {
                return Err(AttackError::Count { rows: count, labels: contains.len() });
            }
            add(&mut signals, reference.model, contains)?;
        }
        let models = plan.references.models;
        if models > 0 {
            let architecture = architecture(model)?;
            for (place, contains) in halves(models, count, plan.seed).into_iter().enumerate() {
                let half: Vec<usize> = (0..count).filter(|at| contains.get(*at) == Some(&true)).collect();
                if half.is_empty() {
                    return Err(AttackError::Empty { what: "half of the examples, to train a reference on" });
                }
                let seed = stream(plan.seed, &[REFERENCE_STREAM, place as u64]).bits();
                let reference = train_afresh(architecture, &self.all.pick(&half), &plan.references, seed)?;
                add(&mut signals, &reference, contains)?;
                progress(&Progress { what: "training references".into(), done: place + 1, total: models });
            }
        }
        let facts = (!signals.references.is_empty()).then(|| ReferenceFacts {
            models: signals.references.len() as u64,
            source: match (given.is_empty(), models) {
                (true, _) => "trained".into(),
                (false, 0) => "given".into(),
                (false, _) => "given and trained".into(),
            },
            accuracy_in: (!accuracies[0].is_empty()).then(|| mean(&accuracies[0])),
            accuracy_out: (!accuracies[1].is_empty()).then(|| mean(&accuracies[1])),
        });
        Ok((signals, right, facts))
    }
}

/// What can be trained afresh.
fn architecture(model: &dyn Predict) -> Result<&Model, AttackError> {
    model.parameters().ok_or_else(|| refused("training references", Capability::Parameters, model))
}

fn refused(attack: &str, needs: Capability, model: &dyn Predict) -> AttackError {
    AttackError::Capability {
        attack: attack.to_owned(),
        needs,
        model: model.name().to_owned(),
        has: model.capability(),
    }
}

/// Steps of an inversion.
pub const INVERSION_STEPS_MAX: usize = 100_000;
/// Attributes of one audit.
pub const ATTRIBUTES_MAX: usize = 256;
const INVERSION_STEPS: usize = 300;
/// Bits of exposure from which a canary counts as remembered: without memory so much comes by chance once in 1,024 times.
const EXPOSURE_SHOWN: f64 = 10.0;
const REFERENCE_STREAM: u64 = 46;
