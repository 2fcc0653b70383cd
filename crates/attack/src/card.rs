//! The robustness card: every attack at every radius, and whether the figures may be believed.

use ringfence_nn::Model;
use ringfence_schema::{
    Digest,
    report::{AttackReport, AttackSchema, Check},
};

use crate::{
    ball::{Ball, narrow},
    battery::{Struck, rows_of},
    checks,
    corruption::corrupted,
    error::AttackError,
    evasion::Field,
    examples::Examples,
    membership::loss_threshold,
    oracle::Oracle,
    plan::{Plan, Progress},
    scene::Scene,
    source::Predict,
    surrogate::surrogate,
};

/// Attacks `source` with inputs near `examples` and reports accuracy under each attack and under all of them together.
///
/// Rows of a radius: `noise-N`, `fgsm`, `pgd-SxR` (each on its own, cross-entropy); with [`Battery::Standard`] `apgd-ce`, `apgd-t`,
/// `fab-t` and `square-5000`, each what it and those before it left; what [`Plan::attacks`] names, each on its own; and
/// `worst-case` (all of them, and PGD with the margin loss on what the first three left standing; its queries are their sum).
/// With [`Plan::levels`] a last row says what is left of the worst case at [`Plan::at`] when the adversarial inputs are
/// stored in that many levels. A source without gradients gets noise and what needs none.
///
/// Refuses data that does not suit the source or the plan, a method whose capability the source lacks or whose norms do not
/// hold the plan's, and ends with an error, never a figure, where the source fails or the query budget is too small.
pub fn attack(
    source: &dyn Predict,
    examples: &Examples,
    plan: &Plan,
    progress: &mut dyn FnMut(&Progress),
) -> Result<AttackReport, AttackError> {
    let (radii, at) = plan.radii()?;
    plan.suits(examples)?;
    let oracle = Oracle::with_budget(source, examples, plan.query_budget)?;
    plan.allowed(&oracle)?;
    let count = examples.count();
    let predicted = oracle.predict(&examples.inputs().data)?;
    let ball = Ball::new(plan.norm, narrow(at), plan.range).with_columns(&plan.columns);
    let field = Field { oracle: &oracle, examples, ball, seed: plan.seed, target: plan.target };
    let right: Vec<usize> = (0..count).filter(|place| !field.won(*place, predicted[*place])).collect();
    let right: Vec<usize> = match plan.target {
        None => right,
        // There is nothing to win where the label is the target, and nothing to lose where the model is wrong anyway.
        Some(_) => right.into_iter().filter(|place| predicted[*place] == Some(examples.labels()[*place])).collect(),
    };

    let total = radii.len() * rows_of(plan, plan.norm, oracle.has_gradient())
        + 1
        + usize::from(plan.members.is_some())
        + usize::from(plan.corruptions);
    let mut done = 0;
    let mut told = |what: String| {
        done += 1;
        progress(&Progress { what, done, total });
    };
    let copy = surrogate(&oracle, examples, plan.seed)?;
    let (mut results, mut rows, mut checked, mut worst_case) = (Vec::new(), Vec::new(), None, Vec::new());
    for eps in &radii {
        let field = field.within(ball.with_eps(narrow(*eps)));
        let mut say = |attack: &str| told(format!("{attack} at {eps}"));
        let struck = Struck::run(&field, &right, *eps, plan, Some(&copy), &mut say)?;
        results.extend(struck.results.iter().cloned());
        worst_case.push(struck.worst_case(plan.norm, count, plan));
        rows.push(struck.radius);
        if eps.total_cmp(&at).is_eq() {
            checked = Some(struck);
        }
    }
    let mut checks = Vec::new();
    if let Some(model) = source.parameters() {
        checks.extend(engine_checks(model, plan.seed)?);
    }
    checks.push(checks::finite_outputs(predicted.iter().filter(|class| class.is_none()).count(), count));
    let mut scene = Scene { field, right: &right, plan, predicted: &predicted, surrogate: &copy, checks };
    results.extend(scene.look(&rows, checked.as_ref(), source.parameters().is_none())?);
    told("checks".into());
    let mut corruptions = Vec::new();
    if plan.corruptions {
        corruptions = corrupted(&oracle, examples, plan)?;
        told("corruptions".into());
    }
    let mut membership = Vec::new();
    if let Some(members) = &plan.members {
        membership.push(loss_threshold(source, members, examples)?);
        told("membership".into());
    }
    Ok(AttackReport {
        schema: AttackSchema::One,
        verdict: checks::verdict(&scene.checks),
        model: source.digest()?,
        clean_accuracy: Some(accuracy(&predicted, examples)),
        examples: count as u64,
        seed: plan.seed,
        results,
        worst_case,
        corruptions,
        checks: scene.checks,
        membership,
    })
}

fn accuracy(predicted: &[Option<usize>], examples: &Examples) -> f64 {
    let right = predicted.iter().zip(examples.labels()).filter(|(found, label)| **found == Some(**label)).count();
    right as f64 / examples.count() as f64
}

/// The report of a model without data: only whether the engine computes it rightly.
pub fn self_check(model: &Model, seed: u64) -> Result<AttackReport, AttackError> {
    let checks = engine_checks(model, seed)?.to_vec();
    Ok(AttackReport {
        schema: AttackSchema::One,
        verdict: checks::verdict(&checks),
        model: Digest::of(&model.to_onnx()?),
        clean_accuracy: None,
        examples: 0,
        seed,
        results: Vec::new(),
        worst_case: Vec::new(),
        corruptions: Vec::new(),
        checks,
        membership: Vec::new(),
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
