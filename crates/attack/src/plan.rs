//! What an attack is told: where, how hard, and how often.

use crate::{
    ball::{Column, Norm, Range},
    battery::Method,
    error::AttackError,
    examples::Examples,
    oracle::Oracle,
};

/// Settings of [`crate::attack`].
#[derive(Debug, Clone)]
pub struct Plan {
    /// Radii, in the unit of the model's input; at most [`RADII_MAX`], each above 0.
    pub eps: Vec<f64>,
    /// The radius at which the costly checks are made; must be one of `eps`. `None`: the largest.
    pub at: Option<f64>,
    /// How a change is measured.
    pub norm: Norm,
    /// Range of valid inputs; the data must lie within it.
    pub range: Range,
    /// Gradient steps of a PGD restart, 1..=[`STEPS_MAX`].
    pub steps: usize,
    /// PGD restarts with the cross-entropy loss, 1..=[`RESTARTS_MAX`].
    pub restarts: usize,
    /// PGD restarts with the margin loss, on what cross-entropy left standing; at most [`RESTARTS_MAX`].
    pub margin_restarts: usize,
    /// Random points of the noise baseline, 1..=[`NOISE_TRIES_MAX`].
    pub noise_tries: u64,
    /// Number of values that a stored input can take over `range` (256 for pictures), where adversarial inputs should
    /// also be tried as they would be stored; at least 2.
    pub levels: Option<u32>,
    /// Seed of all random choices.
    pub seed: u64,
    /// Which attacks run one after another.
    pub battery: Battery,
    /// Attacks besides, each on all examples.
    pub attacks: Vec<Method>,
    /// The class that inputs shall be taken for; accuracy is then the share that is not. `None`: any wrong class.
    pub target: Option<usize>,
    /// What the attacker may do to each value of an example (a table's columns); none for no limits.
    pub columns: Vec<Column>,
    /// Whether accuracy is measured on corrupted pictures too (noise, blur, weather's like): a baseline, no attack.
    pub corruptions: bool,
    /// Rows of predictions and gradients that may be asked for in all; an attack that needs more is no result.
    pub query_budget: u64,
    /// Examples that the model was trained on, for the membership test. The attacked examples are the non-members.
    pub members: Option<Examples>,
    /// Pictures of inputs that fooled, at most [`PICTURES_MAX`](ringfence_schema::report::PICTURES_MAX); none where inputs are no pictures.
    pub pictures: usize,
}

/// Which attacks run one after another, each on what the ones before it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Battery {
    /// Noise, FGSM and PGD with cross-entropy and margin: quick, and easily too kind by ten points and more.
    #[default]
    Quick,
    /// These, and AutoAttack's standard composition: APGD on cross-entropy, APGD and FAB towards nine classes each, 5,000
    /// queries of Square (Croce and Hein 2020).
    Standard,
}

impl Default for Plan {
    /// PGD with 40 steps and three restarts at 0.1 of inputs in `0..=1`.
    fn default() -> Self {
        Self {
            eps: vec![0.1],
            at: None,
            norm: Norm::Linf,
            range: Range::default(),
            steps: 40,
            restarts: 3,
            margin_restarts: 1,
            noise_tries: 10,
            levels: None,
            seed: 0,
            battery: Battery::Quick,
            attacks: Vec::new(),
            target: None,
            columns: Vec::new(),
            corruptions: false,
            query_budget: u64::MAX,
            members: None,
            pictures: 0,
        }
    }
}

impl Plan {
    /// The radii by rising size without repeats and the one for the checks, or what is wrong with the plan.
    pub(crate) fn radii(&self) -> Result<(Vec<f64>, f64), AttackError> {
        bounded("steps", self.steps as u64, 1, STEPS_MAX as u64)?;
        bounded("restarts", self.restarts as u64, 1, RESTARTS_MAX as u64)?;
        bounded("margin-restarts", self.margin_restarts as u64, 0, RESTARTS_MAX as u64)?;
        bounded("noise-tries", self.noise_tries, 1, NOISE_TRIES_MAX)?;
        if let Some(levels) = self.levels {
            bounded("levels", u64::from(levels), 2, 1 << 24)?;
        }
        let mut radii = self.eps.clone();
        bounded("number of eps", radii.len() as u64, 1, RADII_MAX as u64)?;
        if let Some(wrong) = radii.iter().find(|eps| !(eps.is_finite() && **eps > 0.0)) {
            return Err(AttackError::plan("eps", wrong.to_string(), "finite and above 0"));
        }
        radii.sort_by(f64::total_cmp);
        radii.dedup();
        let largest = radii.last().copied().unwrap_or_default();
        let at = self.at.unwrap_or(largest);
        if radii.iter().any(|eps| eps.total_cmp(&at).is_eq()) {
            Ok((radii, at))
        } else {
            Err(AttackError::plan("at", at.to_string(), "one of `eps`"))
        }
    }
}

impl Plan {
    /// Refuses examples outside the range, and columns or a target that do not fit them.
    pub(crate) fn suits(&self, examples: &Examples) -> Result<(), AttackError> {
        examples.within(self.range)?;
        if self.columns.is_empty() || self.columns.len() == examples.width() {
            return Ok(());
        }
        let allowed = format!("none or {}, one for each value of an example", examples.width());
        Err(AttackError::plan("columns", self.columns.len().to_string(), allowed))
    }

    /// Refuses methods that the source or the norm does not allow, and a target that is no class, before anything runs.
    pub(crate) fn allowed(&self, oracle: &Oracle<'_>) -> Result<(), AttackError> {
        self.attacks.iter().try_for_each(|method| method.allowed(self, oracle))?;
        match self.target {
            Some(target) if target >= oracle.classes() => {
                Err(AttackError::plan("target", target.to_string(), format!("below {}", oracle.classes())))
            }
            _ => Ok(()),
        }
    }
}

/// How far an attack has come.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// What was just finished, such as `pgd-40x3 at 0.15`.
    pub what: String,
    /// Parts finished.
    pub done: usize,
    /// Parts in all.
    pub total: usize,
}

/// Refuses a setting outside `least..=most`.
pub(crate) fn bounded(name: &'static str, value: u64, least: u64, most: u64) -> Result<(), AttackError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(AttackError::plan(name, value.to_string(), format!("{least} to {most}")))
}

/// Radii of one report.
pub const RADII_MAX: usize = 64;
/// Gradient steps of one restart.
pub const STEPS_MAX: usize = 10_000;
/// Restarts of one attack.
pub const RESTARTS_MAX: usize = 1_000;
/// Random points per example.
pub const NOISE_TRIES_MAX: u64 = 100_000;
