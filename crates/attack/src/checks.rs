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
