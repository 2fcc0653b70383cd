//! The robustness card: every attack at every radius, and whether the figures may be believed.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ringfence_nn::{Model, NnError};
use ringfence_schema::{
    Digest,
    report::{
        AdversarialPicture, AttackReport, AttackResult, AttackSchema, Check, CorruptionResult, Membership,
        PICTURES_MAX, WorstCase,
    },
};

use crate::{
    ball::{Ball, Range, narrow},
    battery::{Struck, rows_of},
    checks,
    corruption::corrupted,
    error::AttackError,
    evasion::Field,
    examples::Examples,
    membership::loss_threshold,
    oracle::Oracle,
    plan::{Plan, Progress},
    png::png,
    scene::Scene,
    since::setup,
    source::Predict,
    surrogate::surrogate,
};

/// Attacks `source` with inputs near `examples` and reports accuracy under each attack and under all of them together.
///
/// Rows of a radius: `noise-N`, `fgsm`, `pgd-SxR` (each on its own, cross-entropy); with [`Battery::Standard`] `apgd-ce`, `apgd-t`,
/// `fab-t` and `square-5000`, each what it and those before it left; what [`Plan::attacks`] names, each on its own; and
/// `worst-case` (all of them, and PGD with the margin loss on what the first three left standing; its queries are their sum).
/// With [`Plan::levels`] a last row says what is left of the worst case at [`Plan::at`] when the adversarial inputs are
/// stored in that many levels. A source without gradients gets noise and what needs none; one whose gradient does not exist
/// ([`NnError::NoGradient`]) too, and a failed check `no-gradient` makes its card unsound.
///
/// Refuses data that does not suit the source or the plan, a method whose capability the source lacks or whose norms do not
/// hold the plan's, and ends with an error, never a figure, where the source fails or the query budget is too small.
pub fn attack(
    source: &dyn Predict,
    examples: &Examples,
    plan: &Plan,
    progress: &mut dyn FnMut(&Progress),
) -> Result<AttackReport, AttackError> {
    let mut card = Card::default();
    card.fill(source, examples, plan, progress)?;
    card.report(source, examples, plan)
}

/// The same, but where queries run out after the clean accuracy was measured, the card has what was finished until then: each row is
/// true by itself, radii without a worst case have none, and a failed check `budget` makes it unsound.
pub fn attack_within_budget(
    source: &dyn Predict,
    examples: &Examples,
    plan: &Plan,
    progress: &mut dyn FnMut(&Progress),
) -> Result<AttackReport, AttackError> {
    let mut card = Card::default();
    match card.fill(source, examples, plan, progress) {
        Err(AttackError::Budget { budget }) if card.clean_accuracy.is_some() => {
            card.checks.push(checks::budget(budget));
        }
        other => other?,
    }
    card.report(source, examples, plan)
}

/// What is known so far.
#[derive(Default)]
struct Card {
    clean_accuracy: Option<f64>,
    results: Vec<AttackResult>,
    worst_case: Vec<WorstCase>,
    corruptions: Vec<CorruptionResult>,
    checks: Vec<Check>,
    membership: Vec<Membership>,
    pictures: Vec<AdversarialPicture>,
}

impl Card {
    fn fill(
        &mut self,
        source: &dyn Predict,
        examples: &Examples,
        plan: &Plan,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<(), AttackError> {
        let (radii, at) = plan.radii()?;
        plan.suits(examples)?;
        let mut oracle = Oracle::with_budget(source, examples, plan.query_budget)?;
        // Where no slope reaches the input, what needs none still says how little withstands at most.
        let unsloped = oracle.without_slopes(examples)?;
        plan.allowed(&oracle)?;
        self.checks.extend(unsloped.as_deref().map(checks::no_gradient));
        let predicted = oracle.predict(&examples.inputs().data)?;
        let ball = Ball::new(plan.norm, narrow(at), plan.range).with_columns(&plan.columns);
        let field = Field { oracle: &oracle, examples, ball, seed: plan.seed, target: plan.target };
        let judged = oracle.judge(&examples.inputs().data)?;
        let judged = judged.as_ref().unwrap_or(&predicted);
        let right = attacked(&field, judged);
        self.clean_accuracy = Some(accuracy(judged, examples));
        let total = radii.len() * rows_of(plan, plan.norm, oracle.capability())
            + 1
            + usize::from(plan.members.is_some())
            + usize::from(plan.corruptions);
        let mut done = 0;
        let mut told = |what: String| {
            done += 1;
            progress(&Progress { what, done, total });
        };
        // Our arithmetic is measured by its gradients; a model without any is taken like one that others compute.
        let ours = source.parameters().filter(|_| unsloped.is_none());
        if let Some(model) = ours {
            self.checks.extend(engine_checks(model, plan.seed)?);
        }
        let unread = predicted.iter().filter(|class| class.is_none()).count();
        self.checks.push(checks::finite_outputs(unread, examples.count()));
        let copy = surrogate(&oracle, examples, plan.seed)?;
        let (mut rows, mut checked) = (Vec::new(), None);
        for eps in &radii {
            let field = field.within(ball.with_eps(narrow(*eps)));
            let mut say = |attack: &str| told(format!("{attack} at {eps}"));
            let struck = Struck::run(&field, &right, *eps, plan, Some(&copy), &mut self.results, &mut say)?;
            self.worst_case.push(struck.worst_case(plan.norm, examples.count(), plan));
            rows.push(struck.radius);
            if eps.total_cmp(&at).is_eq() {
                checked = Some(struck);
            }
        }
        let checks = std::mem::take(&mut self.checks);
        let mut scene = Scene { field, right: &right, plan, predicted: &predicted, surrogate: &copy, checks };
        let looked = scene.look(&rows, checked.as_ref(), ours.is_none());
        self.checks = scene.checks;
        self.results.extend(looked?);
        told("checks".into());
        if plan.corruptions {
            self.corruptions = corrupted(&oracle, examples, plan)?;
            told("corruptions".into());
        }
        if let Some(members) = &plan.members {
            self.membership.push(loss_threshold(source, members, examples)?);
            told("membership".into());
        }
        let fooled = checked.map(|struck| struck.worst.fooled).unwrap_or_default();
        self.pictures = pictures(&field, &fooled, plan)?;
        Ok(())
    }

    fn report(self, source: &dyn Predict, examples: &Examples, plan: &Plan) -> Result<AttackReport, AttackError> {
        Ok(AttackReport {
            schema: AttackSchema::One,
            verdict: checks::verdict(&self.checks),
            model: source.digest()?,
            clean_accuracy: self.clean_accuracy,
            forward: None,
            examples: examples.count() as u64,
            seed: plan.seed,
            setup: setup(plan, examples),
            results: self.results,
            worst_case: self.worst_case,
            corruptions: self.corruptions,
            checks: self.checks,
            membership: self.membership,
            pictures: self.pictures,
            ledger: None,
        })
    }
}

/// The examples that there is something to win with.
fn attacked(field: &Field<'_>, predicted: &[Option<usize>]) -> Vec<usize> {
    let (labels, count) = (field.examples.labels(), field.examples.count());
    let right = (0..count).filter(|place| !field.won(*place, predicted[*place]));
    match field.target {
        None => right.collect(),
        // There is nothing to win where the label is the target, and nothing to lose where the model is wrong anyway.
        Some(_) => right.filter(|place| predicted[*place] == Some(labels[*place])).collect(),
    }
}

/// The first inputs that fooled, beside what they were made from; nothing where inputs are no pictures.
fn pictures(
    field: &Field<'_>,
    fooled: &[(usize, Vec<f32>)],
    plan: &Plan,
) -> Result<Vec<AdversarialPicture>, AttackError> {
    let some = &fooled[..fooled.len().min(plan.pictures.min(PICTURES_MAX))];
    let shape = field.oracle.shape();
    if some.is_empty() || png(shape, &some[0].1, plan.range).is_none() {
        return Ok(Vec::new());
    }
    let points: Vec<f32> = some.iter().flat_map(|(_, point)| point).copied().collect();
    let taken = field.oracle.predict(&points)?;
    let drawn = |values: &[f32], range: Range| BASE64.encode(png(shape, values, range).unwrap_or_default());
    let half = Range::new(-1.0, 1.0)?;
    Ok(some
        .iter()
        .zip(taken)
        .map(|((place, point), taken)| {
            let clean = field.clean(*place);
            let change: Vec<f32> = point.iter().zip(clean).map(|(x, clean)| x - clean).collect();
            let most = change.iter().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
            let spread: Vec<f32> = change.iter().map(|value| value / most).collect();
            AdversarialPicture {
                example: *place as u64,
                label: field.label(*place) as u64,
                taken_for: taken.map(|class| class as u64),
                original: drawn(clean, plan.range),
                changed: drawn(point, plan.range),
                difference: drawn(&spread, half),
            }
        })
        .collect())
}

fn accuracy(predicted: &[Option<usize>], examples: &Examples) -> f64 {
    let right = predicted.iter().zip(examples.labels()).filter(|(found, label)| **found == Some(**label)).count();
    right as f64 / examples.count() as f64
}

/// The report of a model without data: only whether the engine computes it rightly. One without a gradient fails the check
/// `no-gradient`.
pub fn self_check(model: &Model, seed: u64) -> Result<AttackReport, AttackError> {
    let checks = match engine_checks(model, seed) {
        Ok(found) => found.to_vec(),
        Err(AttackError::Network(error @ NnError::NoGradient { .. })) => vec![checks::no_gradient(&error.to_string())],
        Err(error) => return Err(error),
    };
    Ok(AttackReport {
        schema: AttackSchema::One,
        verdict: checks::verdict(&checks),
        model: Digest::of(&model.to_onnx()?),
        clean_accuracy: None,
        forward: None,
        examples: 0,
        seed,
        setup: None,
        results: Vec::new(),
        worst_case: Vec::new(),
        corruptions: Vec::new(),
        checks,
        membership: Vec::new(),
        pictures: Vec::new(),
        ledger: None,
    })
}

/// Whether the engine computes the model rightly, at up to [`ENGINE_TRIES`] random points: differences across a kink (a
/// ReLU that switches between the two) are wrong at that point although the gradient is right, while a wrong gradient
/// is wrong at every point.
fn engine_checks(model: &Model, seed: u64) -> Result<[Check; 2], AttackError> {
    let measured = |attempt: u64| -> Result<[Check; 2], AttackError> {
        let errors = checks::Errors::from(ringfence_nn::self_check(model, seed.wrapping_add(attempt))?);
        Ok([checks::gradient_check(&errors), checks::independent_examples(&errors)])
    };
    let mut found = measured(0)?;
    for attempt in 1..ENGINE_TRIES {
        if found.iter().all(|check| check.passed) {
            break;
        }
        found = measured(attempt)?;
    }
    Ok(found)
}

/// Random points at which the engine is measured before it is found wrong.
const ENGINE_TRIES: u64 = 3;
