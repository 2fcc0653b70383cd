//! Sanity checks: reasons not to believe a robustness figure (Carlini et al. 2019, "On evaluating adversarial
//! robustness", sections 4 and 5; Athalye et al. 2018, section 3.1).
//!
//! A defence that only hides its gradient looks robust to attacks that follow the gradient. Each check here is a pure
//! function of figures that an attack measured; any one that fails makes the whole report `unsound`.

use ringfence_nn::SelfCheck;
use ringfence_schema::report::{Check, Soundness};

use crate::battery::Radius;

/// How far the engine is off for the model at hand, each as max|Δ| / max|f64 reference|.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Errors {
    forward: f64,
    input_gradient: f64,
    parameter_gradient: f64,
    batch: f64,
}

impl From<SelfCheck> for Errors {
    fn from(found: SelfCheck) -> Self {
        Self {
            forward: found.forward_error,
            input_gradient: found.input_gradient_error,
            parameter_gradient: found.parameter_gradient_error,
            batch: found.batch_error,
        }
    }
}

/// The verdict that follows from `checks`. No check at all proves nothing.
pub(crate) fn verdict(checks: &[Check]) -> Soundness {
    if !checks.is_empty() && checks.iter().all(|check| check.passed) { Soundness::Sound } else { Soundness::Unsound }
}

/// The engine computes what the model says: forward pass and gradients against the f64 reference.
pub(crate) fn gradient_check(found: &Errors) -> Check {
    // Written so that a figure that is not a number fails.
    let passed = found.forward <= FORWARD_ERROR_MAX
        && found.input_gradient <= GRADIENT_ERROR_MAX
        && found.parameter_gradient <= GRADIENT_ERROR_MAX;
    check(
        "gradient-check",
        passed,
        format!(
            "relative errors against f64: forward {:.1e} (limit {FORWARD_ERROR_MAX:.0e}), input gradient {:.1e}, \
             parameter gradient {:.1e} (limit {GRADIENT_ERROR_MAX:.0e})",
            found.forward, found.input_gradient, found.parameter_gradient
        ),
    )
}

/// An example's answer does not depend on those beside it, so batches may be cut as is convenient.
pub(crate) fn independent_examples(found: &Errors) -> Check {
    let passed = found.batch <= BATCH_ERROR_MAX;
    check("independent-examples", passed, format!("answers alone and in a batch differ by {:.1e}", found.batch))
}

/// The model gives numbers for clean inputs.
pub(crate) fn finite_outputs(not_numbers: usize, examples: usize) -> Check {
    check("finite-outputs", not_numbers == 0, format!("{not_numbers} of {examples} clean outputs are not numbers"))
}

/// There is a slope to follow from the answers to the inputs. Where there is none, attacks that need one are blind, and what is left
/// is found by asking alone.
pub(crate) fn no_gradient(why: &str) -> Check {
    check(
        "no-gradient",
        false,
        format!("{why}: no attack that follows the gradient could run, so the figures are an upper bound at best"),
    )
}

/// What was granted of questions was enough. Where it was not, what is missing is not known, so nothing is proven.
pub(crate) fn budget(granted: u64) -> Check {
    check(
        "budget",
        false,
        format!("the {granted} queries are used up: attacks and checks that are not here were not finished"),
    )
}

/// The same inputs get the same answers: `spread` is the largest difference over all repetitions, as a share of the scores'
/// size; `changed` counts classes that are not what they were before the attacks.
pub(crate) fn repeatable(spread: f64, repetitions: usize, changed: usize) -> Check {
    let passed = spread <= REPEAT_SPREAD_MAX && changed == 0;
    let advice =
        if passed { "" } else { "; a random or remembering model must be attacked in expectation over its answers" };
    check(
        "repeatable",
        passed,
        format!(
            "{repetitions} answers to the same inputs differ by {spread:.1e}, {changed} classes by the end{advice}"
        ),
    )
}

/// Attacks without the gradient fool little that those with it left: where they do, the gradient leads astray.
pub(crate) fn little_beyond_gradients(beyond: usize, examples: usize) -> Check {
    check(
        "little-beyond-gradients",
        beyond <= share(examples, BEYOND_SHARE_MAX),
        format!("{beyond} of {examples} fall to noise or random search alone, to no attack that follows the gradient"),
    )
}

/// An example's scores do not depend on its neighbours: measured on sources whose arithmetic lies elsewhere.
pub(crate) fn independent_answers(spread: f64) -> Check {
    check(
        "independent-examples",
        spread <= REPEAT_SPREAD_MAX,
        format!("answers alone and in a batch differ by {spread:.1e}"),
    )
}

/// A small step along the gradient changes the loss as the gradient says. Stopped, shattered and invented gradients do not.
pub(crate) fn gradient_predicts_loss(off: usize, tried: usize) -> Check {
    check(
        "gradient-predicts-loss",
        off as f64 <= tried as f64 * OFF_SHARE_MAX,
        format!("for {off} of {tried} inputs a small step changes the loss otherwise than the gradient says"),
    )
}

/// Taking the scale out of the scores does not make the attack stronger: where it does, the softmax saturates in f32.
pub(crate) fn scale_hides_nothing(plain: usize, rescaled: usize, tried: usize) -> Check {
    let slack = share(tried, SATURATED_SHARE_MAX);
    check(
        "scale-hides-nothing",
        plain <= rescaled + slack,
        format!("of {tried} {plain} stand against PGD on the cross-entropy, {rescaled} on the same without saturation"),
    )
}

/// What another attack does to a sample of the examples that stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retried {
    /// Examples that fell.
    pub(crate) fell: usize,
    /// Examples of the sample.
    pub(crate) tried: usize,
    /// Examples that stand, of which the sample was taken.
    pub(crate) standing: usize,
    /// All examples.
    pub(crate) examples: usize,
}

impl Retried {
    /// By how much the accuracy is too high, if the sample is like the rest.
    fn overstated(&self) -> f64 {
        self.fell as f64 / self.tried.max(1) as f64 * (self.standing as f64 / self.examples.max(1) as f64)
    }

    fn check(&self, name: &str, what: &str, limit: f64) -> Check {
        let overstated = self.overstated();
        check(
            name,
            self.fell <= FEW || overstated <= limit,
            format!(
                "of {} that stand {} fall to {what}: {:.1} points of accuracy (limit {:.0})",
                self.tried,
                self.fell,
                overstated * 100.0,
                limit * 100.0
            ),
        )
    }
}

/// Attacks that see less fool hardly any of those that withstand all that follow the gradient.
pub(crate) fn weaker(name: &str, what: &str, found: Retried) -> Check {
    found.check(name, what, BLACK_SHARE_MAX)
}

/// PGD got enough steps to go anywhere.
pub(crate) fn enough_steps(steps: usize) -> Check {
    check("enough-steps", steps >= STEPS_LEAST, format!("{steps} steps of PGD, at least {STEPS_LEAST}"))
}

/// A stronger attack does not find the figure far too kind.
pub(crate) fn strong_enough(found: Retried) -> Check {
    found.check("strong-enough", "APGD", TOO_KIND_SHARE_MAX)
}

/// APGD leaves no more than PGD.
pub(crate) fn apgd_beats_pgd(after_apgd: usize, pgd: usize, examples: usize) -> Check {
    check(
        "apgd-beats-pgd",
        after_apgd <= pgd + slack(examples),
        format!("{after_apgd} stand against APGD, {pgd} against PGD"),
    )
}

/// What fools as it is also fools as it would be stored.
pub(crate) fn stored_inputs(standing: usize, standing_stored: usize, examples: usize) -> Check {
    let slack = share(examples, STORED_SHARE_MAX);
    check(
        "stored-inputs",
        standing_stored <= standing + slack,
        format!("{standing} of {examples} stand, {standing_stored} when inputs are stored in so few levels"),
    )
}

/// The loss has a slope at clean inputs. Saturation hides it and makes every gradient attack blind.
pub(crate) fn zero_gradients(zero: usize, tried: usize) -> Check {
    check(
        "zero-gradients",
        zero as f64 <= tried as f64 * ZERO_GRADIENT_SHARE_MAX,
        format!("{zero} of {tried} rightly classified inputs have a loss gradient of exactly zero"),
    )
}

/// With a ball that holds every valid input, no more than chance may be left.
pub(crate) fn large_eps(standing: usize, tried: usize, classes: usize) -> Check {
    let chance = tried.div_ceil(classes.max(1));
    check(
        "large-eps",
        standing <= chance,
        format!("{standing} of {tried} stand when every input is allowed; chance is {chance}"),
    )
}

/// Many small steps fool at least as many as one large step.
pub(crate) fn iterative_beats_single_step(radii: &[Radius], examples: usize) -> Check {
    compare("iterative-beats-single-step", radii, examples, "pgd", |radius| radius.pgd, "fgsm", |radius| radius.fgsm)
}

/// Following the gradient fools at least as many as random noise does.
pub(crate) fn noise_is_weaker(radii: &[Radius], examples: usize) -> Check {
    compare("noise-is-weaker", radii, examples, "pgd", |radius| radius.pgd, "noise", |radius| radius.noise)
}

/// A larger ball never helps the defender.
pub(crate) fn larger_eps_is_worse(radii: &[Radius], examples: usize) -> Check {
    let slack = slack(examples);
    let broken = radii.windows(2).find(|pair| pair[1].worst > pair[0].worst + slack);
    let detail = match broken {
        None => format!("standing by rising eps: {:?}", radii.iter().map(|radius| radius.worst).collect::<Vec<_>>()),
        Some(pair) => {
            format!("{} stand at eps {}, but {} at {}", pair[0].worst, pair[0].eps, pair[1].worst, pair[1].eps)
        }
    };
    check("larger-eps-is-worse", broken.is_none(), detail)
}

/// More restarts never help the defender: fewer stand after the last than after the first, counted again from the
/// returned inputs.
pub(crate) fn restarts_help_attacker(after_first: usize, after_all: usize) -> Check {
    check(
        "restarts-help-attacker",
        after_all <= after_first,
        format!("{after_first} stand after the first restart, {after_all} after all"),
    )
}

/// Twice the steps hardly fool more: the attack has converged, and its figure is not an artefact of stopping early.
pub(crate) fn converged(fooled_by_more_steps: usize, examples: usize) -> Check {
    check(
        "converged",
        fooled_by_more_steps as f64 <= (examples as f64 * UNCONVERGED_SHARE_MAX).max(1.0),
        format!(
            "one more restart with twice the steps fools another {fooled_by_more_steps} of {examples} \
             (limit {:.0} %)",
            UNCONVERGED_SHARE_MAX * 100.0
        ),
    )
}

/// Every adversarial input is a valid input inside the ball and is still misclassified when predicted afresh.
pub(crate) fn returned_inputs(outside: usize, not_fooling: usize, returned: usize) -> Check {
    check(
        "returned-inputs",
        outside == 0 && not_fooling == 0,
        format!(
            "of {returned} adversarial inputs {outside} lie outside the ball, {not_fooling} are classified rightly"
        ),
    )
}

fn compare(
    name: &str,
    radii: &[Radius],
    examples: usize,
    strong: &str,
    standing_strong: impl Fn(&Radius) -> usize,
    weak: &str,
    standing_weak: impl Fn(&Radius) -> usize,
) -> Check {
    let slack = slack(examples);
    let broken = radii.iter().find(|radius| standing_strong(radius) > standing_weak(radius) + slack);
    // Where the check holds, the last radius tells the most.
    let detail = broken.or(radii.last()).map_or_else(String::new, |radius| {
        format!(
            "at eps {} {} stand against {strong}, {} against {weak}",
            radius.eps,
            standing_strong(radius),
            standing_weak(radius)
        )
    });
    check(name, broken.is_none(), detail)
}

fn check(name: &str, passed: bool, detail: String) -> Check {
    Check { name: name.into(), passed, detail }
}

/// Examples by which two attacks may differ by luck.
fn slack(examples: usize) -> usize {
    (examples / SLACK_DIVISOR).max(1)
}

/// A share of some examples, at least one.
fn share(examples: usize, most: f64) -> usize {
    let slack = examples as f64 * most;
    (1..=examples).take_while(|count| *count as f64 <= slack).count().max(1)
}

/// Answers to the same inputs that differ by more are not the same: ten times what the order of additions does in f32.
const REPEAT_SPREAD_MAX: f64 = 1e-4;
/// Share of inputs at which a step may miss the loss that the gradient predicts, at kinks.
const OFF_SHARE_MAX: f64 = 0.4;
/// Share of examples by which the rescaled loss may be better.
const SATURATED_SHARE_MAX: f64 = 0.05;
/// Share of all examples by which an attack that sees less may find the figure too high.
const BLACK_SHARE_MAX: f64 = 0.05;
/// Share of all examples by which a stronger attack may find the figure too high.
const TOO_KIND_SHARE_MAX: f64 = 0.1;
/// Fewer steps than this are a single step in all but name.
const STEPS_LEAST: usize = 5;
/// So few examples fall by luck.
const FEW: usize = 2;
/// Share of examples that only attacks without the gradient fool.
const BEYOND_SHARE_MAX: f64 = 0.03;
/// Share of examples that storing may put right.
const STORED_SHARE_MAX: f64 = 0.05;
/// Limit for the outputs in f32.
const FORWARD_ERROR_MAX: f64 = 1e-4;
/// Limit for the gradients in f32, larger because differences across a kink of the model are rough.
const GRADIENT_ERROR_MAX: f64 = 1e-3;
/// Limit for answers in f64 that should be equal.
const BATCH_ERROR_MAX: f64 = 1e-9;
/// Share of inputs without any slope that a healthy model may have.
const ZERO_GRADIENT_SHARE_MAX: f64 = 0.05;
/// Share of all examples that twice the steps may still fool.
const UNCONVERGED_SHARE_MAX: f64 = 0.03;
/// One example in 200: half a point of accuracy.
const SLACK_DIVISOR: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn radius(eps: f64, noise: usize, fgsm: usize, pgd: usize, worst: usize) -> Radius {
        Radius { eps, noise, fgsm, pgd, worst }
    }

    /// Half of all examples stand.
    fn retried(fell: usize) -> Retried {
        Retried { fell, tried: 100, standing: 500, examples: 1_000 }
    }

    #[test]
    fn each_check_passes_and_fails_at_its_limit() {
        let good = Errors { forward: 1e-6, input_gradient: 1e-5, parameter_gradient: 1e-5, batch: 0.0 };
        let wrong = Errors { input_gradient: 0.94, ..good };
        let unknown = Errors { input_gradient: f64::NAN, ..good };
        let mixed = Errors { batch: 0.1, ..good };
        let healthy = [radius(0.1, 98, 60, 50, 48), radius(0.2, 95, 30, 10, 9)];
        let cases = [
            (gradient_check(&good), gradient_check(&wrong)),
            (gradient_check(&good), gradient_check(&unknown)),
            (independent_examples(&good), independent_examples(&mixed)),
            (finite_outputs(0, 10), finite_outputs(1, 10)),
            (zero_gradients(5, 100), zero_gradients(6, 100)),
            (large_eps(10, 100, 10), large_eps(11, 100, 10)),
            (
                iterative_beats_single_step(&healthy, 100),
                iterative_beats_single_step(&[radius(0.1, 98, 40, 42, 40)], 100),
            ),
            (noise_is_weaker(&healthy, 100), noise_is_weaker(&[radius(0.1, 90, 99, 99, 90)], 100)),
            (
                larger_eps_is_worse(&healthy, 100),
                larger_eps_is_worse(&[radius(0.1, 99, 50, 40, 40), radius(0.2, 99, 50, 42, 42)], 100),
            ),
            (repeatable(1e-6, 4, 0), repeatable(f64::NAN, 4, 0)),
            (repeatable(1e-6, 4, 0), repeatable(0.0, 4, 1)),
            (little_beyond_gradients(3, 100), little_beyond_gradients(4, 100)),
            (independent_answers(0.0), independent_answers(0.1)),
            (gradient_predicts_loss(4, 10), gradient_predicts_loss(5, 10)),
            (scale_hides_nothing(55, 50, 100), scale_hides_nothing(56, 50, 100)),
            (weaker("black-box-is-weaker", "", retried(10)), weaker("black-box-is-weaker", "", retried(11))),
            (enough_steps(5), enough_steps(4)),
            (strong_enough(retried(20)), strong_enough(retried(21))),
            (apgd_beats_pgd(41, 40, 100), apgd_beats_pgd(42, 40, 100)),
            (stored_inputs(40, 45, 100), stored_inputs(40, 46, 100)),
            (restarts_help_attacker(50, 50), restarts_help_attacker(50, 51)),
            (converged(3, 100), converged(4, 100)),
            (returned_inputs(0, 0, 9), returned_inputs(1, 0, 9)),
            (returned_inputs(0, 0, 9), returned_inputs(0, 1, 9)),
        ];
        for (pass, fail) in cases {
            assert!(pass.passed, "{pass:?}");
            assert!(!fail.passed, "{fail:?}");
            assert_eq!(verdict(&[pass.clone(), fail]), Soundness::Unsound);
            assert_eq!(verdict(&[pass]), Soundness::Sound);
        }
        assert_eq!(verdict(&[]), Soundness::Unsound);
    }
}
