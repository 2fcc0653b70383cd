//! All attacks at one radius, and what was left standing after each.

use ringfence_schema::report::AttackResult;

use crate::{
    ball::Ball,
    error::AttackError,
    evasion::{Outcome, Pgd, fgsm, noise},
    examples::Examples,
    oracle::{Loss, Oracle},
    plan::Plan,
    stats::wilson95,
};

/// How many examples stand at one radius after each attack on its own, and after all together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Radius {
    pub(crate) eps: f64,
    pub(crate) noise: usize,
    pub(crate) fgsm: usize,
    pub(crate) pgd: usize,
    pub(crate) worst: usize,
}

/// What the attacks at one radius yielded.
pub(crate) struct Battery {
    pub(crate) radius: Radius,
    pub(crate) results: Vec<AttackResult>,
    /// The worst case: examples that any attack fooled, each with one input that did, and those that stand.
    pub(crate) worst: Outcome,
    /// Examples that stand after the first restart of PGD.
    pub(crate) after_first_restart: usize,
}

impl Battery {
    /// Runs noise, FGSM and PGD on the rightly classified examples, each on its own, then PGD with the margin loss on
    /// those that all of them left standing. `told` is called after each with the attack's name.
    pub(crate) fn run(
        oracle: &Oracle<'_>,
        examples: &Examples,
        right: &[usize],
        ball: Ball,
        eps: f64,
        plan: &Plan,
        told: &mut dyn FnMut(&str),
    ) -> Result<Self, AttackError> {
        let mut results = Vec::new();
        let mut report = |name: &str, outcome: &Outcome| {
            results.push(result(name, outcome, ball, eps, examples.count()));
            told(name);
        };
        let noise = noise(oracle, examples, right, ball, plan.noise_tries, plan.seed)?;
        report(&format!("noise-{}", plan.noise_tries), &noise);
        let fgsm = fgsm(oracle, examples, right, ball)?;
        report("fgsm", &fgsm);
        let pgd = Pgd { loss: Loss::CrossEntropy, steps: plan.steps, restarts: plan.restarts, seed: plan.seed };
        let (after_first_restart, climbed) = pgd.run_counted(oracle, examples, right, ball)?;
        report(&format!("pgd-{}x{}", plan.steps, plan.restarts), &climbed);

        let radius = Radius {
            eps,
            noise: noise.standing.len(),
            fgsm: fgsm.standing.len(),
            pgd: climbed.standing.len(),
            worst: 0,
        };
        let mut worst = climbed.joined(fgsm).joined(noise);
        let margin = Pgd { loss: Loss::Margin, restarts: plan.margin_restarts, ..pgd };
        let survivors = worst.standing.clone();
        worst = worst.joined(margin.run(oracle, examples, &survivors, ball)?);
        report("worst-case", &worst);
        let radius = Radius { worst: worst.standing.len(), ..radius };
        Ok(Self { radius, results, worst, after_first_restart })
    }
}

/// The row of the report for what an attack left standing.
pub(crate) fn result(name: &str, outcome: &Outcome, ball: Ball, eps: f64, examples: usize) -> AttackResult {
    let standing = outcome.standing.len();
    AttackResult {
        attack: name.into(),
        norm: ball.norm.name().into(),
        eps,
        accuracy: standing as f64 / examples as f64,
        ci95: wilson95(standing, examples),
        queries: outcome.queries,
    }
}
