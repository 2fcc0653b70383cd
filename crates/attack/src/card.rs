//! The robustness card: every attack at every radius, and whether the figures may be believed.

use ringfence_nn::Model;
use ringfence_schema::{
    Digest,
    report::{AttackReport, AttackResult, AttackSchema, Check},
};

use crate::{
    ball::{Ball, Norm, narrow},
    battery::{Battery, Radius, result},
    checks,
    error::AttackError,
    evasion::{Outcome, Pgd},
    examples::Examples,
    membership::loss_threshold,
    oracle::{Loss, Oracle},
    plan::{Plan, Progress},
};

/// Attacks `model` with inputs near `examples` and reports accuracy under each attack and under all of them together.
///
/// Rows of a radius: `noise-N`, `fgsm`, `pgd-SxR` (each on its own, cross-entropy) and `worst-case` (all of them, and PGD
/// with the margin loss on what they left standing; its queries are their sum). With [`Plan::levels`] a last row says
/// what is left of the worst case at [`Plan::at`] when the adversarial inputs are stored in that many levels; the
/// attack does not aim at that grid, so a better one may do worse to the model.
pub fn attack(
    model: &Model,
    examples: &Examples,
    plan: &Plan,
    progress: &mut dyn FnMut(&Progress),
) -> Result<AttackReport, AttackError> {
    let (radii, at) = plan.radii()?;
    examples.within(plan.range)?;
    let oracle = Oracle::new(model, examples)?;
    let count = examples.count();
    let predicted = oracle.predict(&examples.inputs().data)?;
    let right: Vec<usize> = (0..count).filter(|place| predicted[*place] == Some(examples.labels()[*place])).collect();

    let total = radii.len() * ATTACKS_PER_RADIUS + 1 + usize::from(plan.members.is_some());
    let mut done = 0;
    let mut told = |what: String| {
        done += 1;
        progress(&Progress { what, done, total });
    };
    let (mut results, mut rows, mut checked) = (Vec::new(), Vec::new(), None);
    for eps in &radii {
        let ball = Ball { norm: plan.norm, eps: narrow(*eps), range: plan.range };
        let mut say = |attack: &str| told(format!("{attack} at {eps}"));
        let battery = Battery::run(&oracle, examples, &right, ball, *eps, plan, &mut say)?;
        results.extend(battery.results.iter().cloned());
        rows.push(battery.radius);
        if eps.total_cmp(&at).is_eq() {
            checked = Some((ball, battery));
        }
    }
    let mut scene = Scene { oracle, examples, right, plan, checks: Vec::new() };
    scene.checks.extend(engine_checks(model, plan.seed)?);
    scene.checks.push(checks::finite_outputs(predicted.iter().filter(|class| class.is_none()).count(), count));
    scene.slopes()?;
    scene.whole_range()?;
    scene.between(&rows);
    if let Some((ball, battery)) = checked {
        results.extend(scene.returned(ball, &battery)?);
        scene.convergence(ball, &battery)?;
    }
    told("checks".into());
    let mut membership = Vec::new();
    if let Some(members) = &plan.members {
        membership.push(loss_threshold(model, members, examples)?);
        told("membership".into());
    }
    Ok(AttackReport {
        schema: AttackSchema::One,
        verdict: checks::verdict(&scene.checks),
        model: Digest::of(&model.to_onnx()?),
        clean_accuracy: Some(scene.right.len() as f64 / count as f64),
        examples: count as u64,
        seed: plan.seed,
        results,
        checks: scene.checks,
        membership,
    })
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

/// What the checks look at, and what they have found so far.
struct Scene<'a> {
    oracle: Oracle<'a>,
    examples: &'a Examples,
    /// Rightly classified examples.
    right: Vec<usize>,
    plan: &'a Plan,
    checks: Vec<Check>,
}

impl Scene<'_> {
    /// Is there a slope to follow at clean inputs?
    fn slopes(&mut self) -> Result<(), AttackError> {
        let tried = self.examples.pick(&self.right[..self.right.len().min(CHECKED_EXAMPLES_MAX)]);
        let slope = self.oracle.slope(&tried.inputs().data, tried.labels(), Loss::CrossEntropy)?;
        let rows = slope.gradient.chunks_exact(self.examples.width());
        let zero = rows.filter(|row| row.iter().all(|value| *value == 0.0)).count();
        self.checks.push(checks::zero_gradients(zero, tried.labels().len()));
        Ok(())
    }

    /// PGD in a ball that holds every valid input.
    fn whole_range(&mut self) -> Result<(), AttackError> {
        let eps = match self.plan.norm {
            Norm::Linf => self.plan.range.width(),
            Norm::L2 => self.plan.range.width() * (self.examples.width() as f32).sqrt(),
        };
        let ball = Ball { norm: self.plan.norm, eps, range: self.plan.range };
        let tried = &self.right[..self.right.len().min(CHECKED_EXAMPLES_MAX)];
        let outcome = self.pgd(self.plan.steps, self.plan.restarts).run(&self.oracle, self.examples, tried, ball)?;
        self.checks.push(checks::large_eps(outcome.standing.len(), tried.len(), self.oracle.classes()));
        Ok(())
    }

    /// The order in which attacks and radii must stand to one another.
    fn between(&mut self, rows: &[Radius]) {
        let count = self.examples.count();
        self.checks.push(checks::iterative_beats_single_step(rows, count));
        self.checks.push(checks::noise_is_weaker(rows, count));
        self.checks.push(checks::larger_eps_is_worse(rows, count));
    }

    /// Measures the returned inputs afresh, also as they would be stored.
    fn returned(&mut self, ball: Ball, battery: &Battery) -> Result<Option<AttackResult>, AttackError> {
        let fooled = &battery.worst.fooled;
        let inside = |(place, point): &&(usize, Vec<f32>)| ball.contains(self.examples.row(*place), point);
        let outside = fooled.len() - fooled.iter().filter(inside).count();
        let again = self.still_fooled(fooled.iter().map(|(place, point)| (*place, point.clone())).collect())?;
        self.checks.push(checks::returned_inputs(outside, fooled.len() - again.fooled.len(), fooled.len()));
        let standing = self.right.len() - again.fooled.len();
        self.checks.push(checks::restarts_help_attacker(battery.after_first_restart, standing));
        let Some(levels) = self.plan.levels else { return Ok(None) };
        let stored = fooled
            .iter()
            .map(|(place, point)| (*place, ball.quantise(self.examples.row(*place), point, levels)))
            .collect();
        let mut outcome = self.still_fooled(stored)?;
        outcome.standing.extend(&battery.worst.standing);
        let name = format!("worst-case-in-{levels}-levels");
        Ok(Some(result(&name, &outcome, ball, battery.radius.eps, self.examples.count())))
    }

    /// Would more steps have fooled more?
    fn convergence(&mut self, ball: Ball, battery: &Battery) -> Result<(), AttackError> {
        let longer = Pgd { seed: self.plan.seed.wrapping_add(1), ..self.pgd(self.plan.steps.saturating_mul(2), 1) };
        let outcome = longer.run(&self.oracle, self.examples, &battery.worst.standing, ball)?;
        self.checks.push(checks::converged(outcome.fooled.len(), self.examples.count()));
        Ok(())
    }

    /// Predicts `points` afresh: which still fool, which do not.
    fn still_fooled(&self, points: Vec<(usize, Vec<f32>)>) -> Result<Outcome, AttackError> {
        let data: Vec<f32> = points.iter().flat_map(|(_, point)| point).copied().collect();
        let predicted = if points.is_empty() { Vec::new() } else { self.oracle.predict(&data)? };
        let mut outcome = Outcome { queries: points.len() as u64, ..Outcome::default() };
        for ((place, point), class) in points.into_iter().zip(predicted) {
            if class == Some(self.examples.labels()[place]) {
                outcome.standing.push(place);
            } else {
                outcome.fooled.push((place, point));
            }
        }
        Ok(outcome)
    }

    fn pgd(&self, steps: usize, restarts: usize) -> Pgd {
        Pgd { loss: Loss::CrossEntropy, steps, restarts, seed: self.plan.seed }
    }
}

/// Rows that [`Battery::run`] reports.
const ATTACKS_PER_RADIUS: usize = 4;
/// Random points at which the engine is measured before it is found wrong.
const ENGINE_TRIES: u64 = 3;
/// Examples on which the checks that need no precision are made.
const CHECKED_EXAMPLES_MAX: usize = 256;
