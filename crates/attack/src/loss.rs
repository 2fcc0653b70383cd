//! What an attacker climbs, as functions of one row of scores.
//!
//! Each answers its value and adds its gradient with respect to the scores into a place that holds zeros.

/// A loss of scores that attacks raise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Cross-entropy of the label, as any framework computes it in f32, with its saturation.
    CrossEntropy,
    /// The logarithm of the odds against the label: cross-entropy before its last, monotone function, log(1 + e^x). It has the
    /// same direction of ascent and orders points alike, but does not round away where the model is sure.
    LogOdds,
    /// The best other class's score less the label's: does not saturate where cross-entropy does
    /// (Carlini and Wagner 2017, objective f6).
    Margin,
    /// Difference of logits ratio (Croce and Hein 2020, "Reliable evaluation", eq. 5): the margin over the distance of the
    /// best from the third score, so that neither the scores' scale nor their offset matters. The margin itself where there
    /// are fewer than three classes.
    Dlr,
}

/// What is climbed for one example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Goal {
    pub(crate) label: usize,
    /// The class to be taken for; `None` is any other.
    pub(crate) target: Option<usize>,
}

impl Goal {
    /// Any class but `label`.
    pub(crate) const fn away(label: usize) -> Self {
        Self { label, target: None }
    }
}

impl Loss {
    /// The loss of a row of `scores`, its gradient in `seed`.
    pub(crate) fn of(self, goal: Goal, scores: &[f32], seed: &mut [f32]) -> f32 {
        let label = goal.label.min(scores.len().saturating_sub(1));
        match (self, goal.target.filter(|target| *target < scores.len() && *target != label)) {
            (Self::CrossEntropy, None) => cross_entropy(scores, label, seed),
            (Self::LogOdds, None) => log_odds(scores, label, seed),
            (Self::Margin, None) => toward(scores, label, rival(scores, label), seed),
            (Self::Dlr, None) => dlr(scores, label, seed),
            (Self::CrossEntropy, Some(target)) => negated(cross_entropy(scores, target, seed), seed),
            (Self::LogOdds, Some(target)) => negated(log_odds(scores, target, seed), seed),
            (Self::Margin, Some(target)) => toward(scores, label, target, seed),
            (Self::Dlr, Some(target)) => dlr_toward(scores, label, target, seed),
        }
    }
}

/// Cross-entropy of `label` in f32.
pub(crate) fn cross_entropy(scores: &[f32], label: usize, seed: &mut [f32]) -> f32 {
    let largest = scores.iter().copied().fold(f32::MIN, f32::max);
    let sum: f32 = scores.iter().map(|score| (score - largest).exp()).sum();
    for (slope, score) in seed.iter_mut().zip(scores) {
        *slope = (score - largest).exp() / sum;
    }
    if let Some(slope) = seed.get_mut(label) {
        *slope -= 1.0;
    }
    scores.get(label).map_or(0.0, |score| sum.ln() - (score - largest))
}

fn log_odds(scores: &[f32], label: usize, seed: &mut [f32]) -> f32 {
    let others = || scores.iter().enumerate().filter(move |(class, _)| *class != label);
    let largest = others().map(|(_, score)| *score).fold(f32::MIN, f32::max);
    let sum: f32 = others().map(|(_, score)| (score - largest).exp()).sum();
    if scores.len() < 2 {
        return 0.0;
    }
    for (class, score) in others() {
        seed[class] = (score - largest).exp() / sum;
    }
    seed[label] = -1.0;
    sum.ln() + (largest - scores[label])
}

fn toward(scores: &[f32], label: usize, target: usize, seed: &mut [f32]) -> f32 {
    if target == label {
        return 0.0;
    }
    seed[target] += 1.0;
    seed[label] -= 1.0;
    scores[target] - scores[label]
}

fn dlr(scores: &[f32], label: usize, seed: &mut [f32]) -> f32 {
    let order = ranked(scores);
    let rival = rival(scores, label);
    if order.len() < 3 {
        return toward(scores, label, rival, seed);
    }
    quotient(scores, label, rival, [(order[0], 1.0), (order[2], -1.0)].into_iter(), seed)
}

/// The targeted form (Croce and Hein 2020, eq. 6); the margin itself where there are fewer than four classes.
fn dlr_toward(scores: &[f32], label: usize, target: usize, seed: &mut [f32]) -> f32 {
    let order = ranked(scores);
    if order.len() < 4 {
        return toward(scores, label, target, seed);
    }
    quotient(scores, label, target, [(order[0], 1.0), (order[2], -0.5), (order[3], -0.5)].into_iter(), seed)
}

/// (z_target − z_label) / Σ weight · z, with the gradient of the quotient.
fn quotient(
    scores: &[f32],
    label: usize,
    target: usize,
    below: impl Iterator<Item = (usize, f32)> + Clone,
    seed: &mut [f32],
) -> f32 {
    let top = scores[target] - scores[label];
    let bottom = below.clone().map(|(class, weight)| weight * scores[class]).sum::<f32>() + f32::MIN_POSITIVE;
    seed[target] += 1.0 / bottom;
    seed[label] -= 1.0 / bottom;
    for (class, weight) in below {
        seed[class] -= weight * top / (bottom * bottom);
    }
    top / bottom
}

fn negated(value: f32, seed: &mut [f32]) -> f32 {
    for slope in seed {
        *slope = -*slope;
    }
    -value
}

/// Classes by falling score, the first of equals first.
pub(crate) fn ranked(scores: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    order
}

/// The class with the highest score, the first of equals; `None` where any score is not a number: such an answer is
/// never right.
pub(crate) fn winner(row: &[f32]) -> Option<usize> {
    if row.iter().any(|score| score.is_nan()) {
        return None;
    }
    let best = row.iter().enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map(|(class, _)| class)
}

/// The class other than `label` with the highest score; `label` itself where there is no other.
pub(crate) fn rival(row: &[f32], label: usize) -> usize {
    let others = row.iter().enumerate().filter(|(class, _)| *class != label);
    others.reduce(|best, next| if next.1 > best.1 { next } else { best }).map_or(label, |(class, _)| class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_those_of_the_values() {
        let scores = [1.5_f32, -0.25, 0.75, 2.0, -1.0];
        for loss in [Loss::CrossEntropy, Loss::LogOdds, Loss::Margin, Loss::Dlr] {
            for target in [None, Some(1), Some(3)] {
                let goal = Goal { label: 0, target };
                let mut seed = [0.0; 5];
                loss.of(goal, &scores, &mut seed);
                for class in 0..5 {
                    let at = |step: f32| {
                        let mut moved = scores;
                        moved[class] += step;
                        loss.of(goal, &moved, &mut [0.0; 5])
                    };
                    let found = (at(0.01) - at(-0.01)) / 0.02;
                    assert!((found - seed[class]).abs() < 2e-3, "{loss:?} {target:?} {class}: {found} {}", seed[class]);
                }
            }
        }
    }

    #[test]
    fn scale_free_losses_do_not_saturate() {
        let scores = [3e6_f32, 1e6, -2e6, 0.0];
        let mut seed = [0.0; 4];
        assert!(Loss::CrossEntropy.of(Goal::away(0), &scores, &mut seed).abs() < f32::EPSILON);
        assert!(seed.iter().all(|slope| *slope == 0.0));
        let mut seed = [0.0; 4];
        assert!((Loss::LogOdds.of(Goal::away(0), &scores, &mut seed) + 2e6).abs() < 1.0);
        assert!(seed[1] > 0.9 && seed[0] < -0.9);
        let dlr = Loss::Dlr.of(Goal::away(0), &scores, &mut [0.0; 4]);
        assert!((dlr + 2.0 / 3.0).abs() < 1e-5, "{dlr}");
    }
}
