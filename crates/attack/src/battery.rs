//! All attacks at one radius, and what was left standing after each.

use ringfence_nn::Model;
use ringfence_schema::report::{AttackResult, WorstCase};

use crate::{
    ball::Norm,
    error::AttackError,
    evasion::{
        Attack, Field, Outcome,
        apgd::{Aim, Apgd},
        estimate::{Draw, Estimated},
        fab::Fab,
        hop::HopSkipJump,
        minimal::{CarliniWagner, DeepFool},
        patch::Patched,
        pgd::Pgd,
        single::{Fgsm, Noise},
        square::Square,
        transfer::Transfer,
    },
    loss::Loss,
    oracle::Oracle,
    plan::{Battery, Plan},
    since::stood,
    source::Capability,
    stats::wilson95,
};

/// An attack that can be asked for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// PGD on the cross-entropy, with the plan's steps and restarts.
    Pgd,
    /// PGD on the margin (Carlini and Wagner's objective).
    PgdMargin,
    /// PGD on the difference of logits ratio.
    PgdDlr,
    /// APGD on the cross-entropy, 100 steps.
    ApgdCe,
    /// APGD on the difference of logits ratio, 100 steps.
    ApgdDlr,
    /// APGD towards each of nine classes, 100 steps.
    ApgdT,
    /// FAB towards each of nine classes, 100 steps.
    FabT,
    /// DeepFool, 50 steps.
    DeepFool,
    /// Carlini and Wagner's attack, five weights of 200 steps.
    CarliniWagner,
    /// A square patch with any values, ten places.
    Patch,
    /// Square attack, 5,000 queries.
    Square,
    /// HopSkipJump, 25 hops.
    HopSkipJump,
    /// NES, 40 steps of 50 directions.
    Nes,
    /// SPSA, 40 steps of 50 directions.
    Spsa,
    /// Transfer from a surrogate that imitates the model's answers.
    Transfer,
}

impl Method {
    /// Every method, with its name.
    pub const ALL: [(Self, &'static str); 15] = [
        (Self::Pgd, "pgd"),
        (Self::PgdMargin, "pgd-margin"),
        (Self::PgdDlr, "pgd-dlr"),
        (Self::ApgdCe, "apgd-ce"),
        (Self::ApgdDlr, "apgd-dlr"),
        (Self::ApgdT, "apgd-t"),
        (Self::FabT, "fab-t"),
        (Self::DeepFool, "deepfool"),
        (Self::CarliniWagner, "carlini-wagner"),
        (Self::Patch, "patch"),
        (Self::Square, "square"),
        (Self::HopSkipJump, "hopskipjump"),
        (Self::Nes, "nes"),
        (Self::Spsa, "spsa"),
        (Self::Transfer, "transfer"),
    ];

    /// The method of this name; the error lists them all.
    pub fn named(name: &str) -> Result<Self, AttackError> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(method, _)| *method).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|(_, name)| *name).collect();
            AttackError::plan("attack", name, format!("one of {}", known.join(", ")))
        })
    }

    /// As it is asked for.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(known, _)| *known == self).map_or("", |(_, name)| *name)
    }

    /// Refuses a pairing that cannot work.
    pub(crate) fn allowed(self, plan: &Plan, oracle: &Oracle<'_>) -> Result<(), AttackError> {
        // A surrogate is made for whoever needs one.
        self.attack(plan, None).map_or(Ok(()), |attack| attack.allowed(oracle, plan.norm))
    }

    /// The attack itself. Transfer needs a surrogate; without one there is none.
    pub(crate) fn attack<'s>(self, plan: &Plan, surrogate: Option<&'s Model>) -> Option<Box<dyn Attack + 's>> {
        let pgd = |loss| Pgd { loss, steps: plan.steps, restarts: plan.restarts, shift: 0 };
        let apgd = |loss, aim| Apgd { loss, aim, steps: STEPS, restarts: 1 };
        Some(match self {
            Self::Pgd => Box::new(pgd(Loss::CrossEntropy)),
            Self::PgdMargin => Box::new(pgd(Loss::Margin)),
            Self::PgdDlr => Box::new(pgd(Loss::Dlr)),
            Self::ApgdCe => Box::new(apgd(Loss::LogOdds, Aim::Away)),
            Self::ApgdDlr => Box::new(apgd(Loss::Dlr, Aim::Away)),
            Self::ApgdT => Box::new(apgd(Loss::Dlr, Aim::Ranked(TARGETS))),
            Self::FabT => Box::new(Fab { targets: TARGETS, steps: STEPS }),
            Self::DeepFool => Box::new(DeepFool { rivals: TARGETS, steps: 50 }),
            Self::CarliniWagner => Box::new(CarliniWagner { searches: 5, steps: 200 }),
            Self::Patch => Box::new(Patched { places: 10, steps: plan.steps }),
            Self::Square => Box::new(Square { queries: SQUARE_QUERIES }),
            Self::HopSkipJump => Box::new(HopSkipJump { hops: 25 }),
            Self::Nes => Box::new(Estimated { draw: Draw::Normal, steps: 40, directions: 50 }),
            Self::Spsa => Box::new(Estimated { draw: Draw::Signs, steps: 40, directions: 50 }),
            Self::Transfer => Box::new(Transfer { surrogate: surrogate?, steps: STEPS }),
        })
    }
}

/// How many examples stand at one radius after each attack on its own, and after all together. Attacks that the source does
/// not allow leave all standing that were right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Radius {
    pub(crate) eps: f64,
    pub(crate) noise: usize,
    pub(crate) fgsm: usize,
    pub(crate) pgd: usize,
    pub(crate) worst: usize,
}

/// What the attacks at one radius yielded.
pub(crate) struct Struck {
    pub(crate) radius: Radius,
    /// The worst case: examples that any attack fooled, each with one input that did, and those that stand.
    pub(crate) worst: Outcome,
    /// Examples that stand against all attacks that follow the gradient.
    pub(crate) white: Vec<usize>,
    /// Examples that stand after the first restart of PGD.
    pub(crate) after_first_restart: usize,
    /// Examples that stand after the APGD parts of the standard battery, where it ran.
    pub(crate) after_apgd: Option<usize>,
}

impl Struck {
    /// Runs noise, FGSM and PGD on the rightly classified examples, each on its own, then PGD with the margin loss on
    /// those that all of them left standing; then, as the plan says, the standard battery in turn, and what was asked for by
    /// name. Each attack's row is added to `results` as soon as it is finished, so that what ends the run leaves it there; `told`
    /// is called after each with the attack's name.
    pub(crate) fn run(
        field: &Field<'_>,
        right: &[usize],
        eps: f64,
        plan: &Plan,
        surrogate: Option<&Model>,
        results: &mut Vec<AttackResult>,
        told: &mut dyn FnMut(&str),
    ) -> Result<Self, AttackError> {
        let mut rows = Rows { results, eps, count: field.examples.count(), norm: field.ball.norm, told };
        let noise = Noise { tries: plan.noise_tries };
        let noised = noise.run(field, right)?;
        rows.add(&noise.name(), &noised);
        let mut radius =
            Radius { eps, noise: noised.standing.len(), fgsm: right.len(), pgd: right.len(), worst: right.len() };
        let (mut white, mut after_first_restart) = (Outcome::before(right), right.len());
        if field.oracle.has_gradient() {
            let stepped = Fgsm.run(field, right)?;
            rows.add(&Fgsm.name(), &stepped);
            let pgd = Pgd { loss: Loss::CrossEntropy, steps: plan.steps, restarts: plan.restarts, shift: 0 };
            let (first, climbed) = pgd.run_counted(field, right)?;
            rows.add(&pgd.name(), &climbed);
            (radius.fgsm, radius.pgd, after_first_restart) = (stepped.standing.len(), climbed.standing.len(), first);
            white = climbed.joined(stepped);
            let standing = white.clone().joined(noised.clone()).standing;
            if plan.margin_restarts > 0 {
                let margin = Pgd { loss: Loss::Margin, restarts: plan.margin_restarts, ..pgd };
                white = white.joined(margin.run(field, &standing)?);
            }
        }
        let mut worst = white.clone().joined(noised);
        let mut after_apgd = None;
        let mut left = right.to_vec();
        for method in plan.battery.parts(field.ball.norm, field.oracle.capability()) {
            // The parts of a battery take what the parts before them left, as AutoAttack's do, and so do their rows.
            let Some(attack) = method.attack(plan, surrogate) else { continue };
            let struck = attack.run(field, &left)?;
            rows.add(&attack.name(), &struck);
            left.clone_from(&struck.standing);
            if *method == Method::ApgdT {
                after_apgd = Some(left.len());
            }
            if attack.needs() == Capability::Gradient {
                white = white.joined(struck.clone());
            }
            worst = worst.joined(struck);
        }
        for method in &plan.attacks {
            let Some(attack) = method.attack(plan, surrogate) else { continue };
            let struck = attack.run(field, right)?;
            rows.add(&attack.name(), &struck);
            if attack.needs() == Capability::Gradient {
                white = white.joined(struck.clone());
            }
            worst = worst.joined(struck);
        }
        rows.add(WORST, &worst);
        radius.worst = worst.standing.len();
        Ok(Self { radius, worst, white: white.standing, after_first_restart, after_apgd })
    }

    /// The figure that counts at this radius.
    pub(crate) fn worst_case(&self, norm: Norm, count: usize, plan: &Plan) -> WorstCase {
        let standing = self.worst.standing.len();
        WorstCase {
            norm: norm.name().into(),
            eps: self.radius.eps,
            accuracy: standing as f64 / count as f64,
            ci95: wilson95(standing, count),
            battery: plan.battery.name().into(),
            queries: self.worst.queries,
            stood: Some(stood(&self.worst.standing, count)),
        }
    }
}

/// The rows of a report as they grow.
struct Rows<'r> {
    results: &'r mut Vec<AttackResult>,
    eps: f64,
    count: usize,
    norm: Norm,
    told: &'r mut dyn FnMut(&str),
}

impl Rows<'_> {
    fn add(&mut self, name: &str, outcome: &Outcome) {
        self.results.push(result(name, outcome, self.norm, self.eps, self.count));
        (self.told)(name);
    }
}

/// How many rows a radius has.
pub(crate) fn rows_of(plan: &Plan, norm: Norm, has: Capability) -> usize {
    let own = if has >= Capability::Gradient { 3 } else { 1 };
    own + plan.battery.parts(norm, has).len() + plan.attacks.len() + 1
}

/// The row of the report for what an attack left standing.
pub(crate) fn result(name: &str, outcome: &Outcome, norm: Norm, eps: f64, examples: usize) -> AttackResult {
    let standing = outcome.standing.len();
    AttackResult {
        attack: name.into(),
        norm: norm.name().into(),
        eps,
        accuracy: standing as f64 / examples as f64,
        ci95: wilson95(standing, examples),
        queries: outcome.queries,
    }
}

impl Battery {
    /// As written in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Standard => "standard",
        }
    }

    /// What runs after noise, FGSM and PGD, in turn. `Standard` is AutoAttack (Croce and Hein 2020, section 5), with what fits L0
    /// in its place there; where only scores or labels are seen both are what needs no more.
    pub(crate) const fn parts(self, norm: Norm, has: Capability) -> &'static [Method] {
        match (self, norm, has) {
            (Self::Quick, Norm::Linf | Norm::L2, Capability::Labels) => &[Method::HopSkipJump],
            (Self::Quick, _, Capability::Predict) => &[Method::Square],
            (Self::Quick, _, Capability::Gradient | Capability::Parameters) => &[],
            (Self::Standard, Norm::Linf | Norm::L2, Capability::Labels) => &[Method::HopSkipJump, Method::Transfer],
            (_, _, Capability::Labels) => &[Method::Transfer],
            (Self::Standard, _, Capability::Predict) => &[Method::Square, Method::Nes, Method::Transfer],
            (Self::Standard, Norm::L0, _) => &[Method::Patch, Method::Square],
            (Self::Standard, ..) => &[Method::ApgdCe, Method::ApgdT, Method::FabT, Method::Square],
        }
    }
}

/// The row in which all attacks count together.
const WORST: &str = "worst-case";
/// Steps of AutoAttack's gradient parts.
const STEPS: usize = 100;
/// Classes that its targeted parts try.
const TARGETS: usize = 9;
/// Queries of its random search.
const SQUARE_QUERIES: usize = 5_000;
