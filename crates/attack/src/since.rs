//! A model beside an earlier one: the same attacks on the same examples, paired example by example.
//!
//! Two accuracies with their own intervals say little about which is lower: most examples stand in both models or fall in both. What
//! tells is the examples in which the models differ, so [`since`] tests those (McNemar 1947, exact), and states the difference with
//! Newcombe's interval for paired shares.
//!
//! What must stay true: cards that did not ask the same of the same examples are never paired; an unsound card proves nothing, in
//! neither direction.

use ringfence_schema::{
    digest::{from_hex, hex},
    report::{AttackReport, Soundness, WorstCase},
    since::{AttackSetup, Drop, PairedRadius, SinceReport, SinceSchema},
};

use crate::{
    examples::Examples,
    ownership::{binomial_tail, data_digest},
    plan::Plan,
    stats::{paired95, wilson95},
};

/// A drop is shown below this p-value: rarely a false alarm, and seven examples that were lost and none won suffice.
pub const DROP_THRESHOLD: f64 = 0.01;

/// Who attacked, as setups say it.
pub const TOOL: &str = concat!("ringfence-attack ", env!("CARGO_PKG_VERSION"));

/// Compares the card of a model with that of an earlier one. `names` are what both are called, the model first.
///
/// The verdict is [`Drop::Dropped`] where the smallest p-value of all radii, times their number, is below [`DROP_THRESHOLD`]. It is
/// [`Drop::CannotState`], with a note, where a card is unsound, where the cards do not say that the same was asked of the same
/// examples, and where so few examples were used that even losing all of them would show nothing.
pub fn since(names: [&str; 2], now: AttackReport, earlier: AttackReport) -> SinceReport {
    let paired = paired(&now, &earlier);
    let (radii, note) = match paired {
        Ok(radii) => (radii, None),
        Err(note) => (Vec::new(), Some(note)),
    };
    let tests = radii.len() as f64;
    let p_value = radii.iter().map(|radius| radius.p_value).reduce(f64::min).map(|least| (least * tests).min(1.0));
    let too_few = 0.5_f64.powf(now.examples as f64) * tests >= DROP_THRESHOLD;
    let note = note.or_else(|| unbelievable(&now, &earlier)).or_else(|| {
        too_few.then(|| format!("{} examples are too few: not even losing all of them would show a drop", now.examples))
    });
    let verdict = match (&note, p_value) {
        (None, Some(p)) if p < DROP_THRESHOLD => Drop::Dropped,
        (None, Some(_)) => Drop::NotShown,
        _ => Drop::CannotState,
    };
    let [model, earlier_name] = names.map(str::to_owned);
    SinceReport {
        schema: SinceSchema::One,
        verdict,
        p_value: p_value.filter(|_| verdict != Drop::CannotState),
        note,
        model,
        earlier: earlier_name,
        recorded: false,
        radii,
        threshold: DROP_THRESHOLD,
        card: Box::new(now),
        earlier_card: Box::new(earlier),
    }
}

/// Whether both cards asked the same of the same examples, with the same random choices.
pub fn asked_the_same(one: &AttackReport, other: &AttackReport) -> bool {
    one.setup.is_some() && one.setup == other.setup && one.seed == other.seed && one.examples == other.examples
}

/// Why a card proves nothing, where one does not.
fn unbelievable(now: &AttackReport, earlier: &AttackReport) -> Option<String> {
    [("the model's", now), ("the earlier model's", earlier)].into_iter().find_map(|(whose, card)| {
        if card.verdict == Soundness::Sound {
            return None;
        }
        let failed: Vec<&str> = card
            .checks
            .iter()
            .filter(|check| !check.passed)
            .map(|check| check.name.as_str())
            .take(FAILED_MAX)
            .collect();
        Some(format!("{whose} card is unsound ({}): its figures prove nothing", failed.join(", ")))
    })
}

/// Each radius of both cards, or why there are none.
fn paired(now: &AttackReport, earlier: &AttackReport) -> Result<Vec<PairedRadius>, String> {
    if !asked_the_same(now, earlier) {
        return Err("the cards do not say that the same was asked of the same examples".into());
    }
    if now.worst_case.is_empty() || now.worst_case.len() != earlier.worst_case.len() {
        return Err("the cards do not have the same radii".into());
    }
    let count = usize::try_from(now.examples).unwrap_or(usize::MAX);
    now.worst_case.iter().zip(&earlier.worst_case).map(|(now, earlier)| radius(now, earlier, count)).collect()
}

fn radius(now: &WorstCase, earlier: &WorstCase, count: usize) -> Result<PairedRadius, String> {
    if now.norm != earlier.norm || now.eps.total_cmp(&earlier.eps).is_ne() {
        return Err("the cards do not have the same radii".into());
    }
    let bits = |case: &WorstCase| {
        read_stood(case, count).ok_or_else(|| {
            format!("a card does not say, or not truly, which examples stand at {} {}", case.norm, case.eps)
        })
    };
    let (stands, stood) = (bits(now)?, bits(earlier)?);
    let pairs = |was: bool, is: bool| {
        stood.iter().zip(&stands).filter(|(before, after)| **before == was && **after == is).count()
    };
    let (both, lost, won, none) = (pairs(true, true), pairs(true, false), pairs(false, true), pairs(false, false));
    Ok(PairedRadius {
        norm: now.norm.clone(),
        eps: now.eps,
        earlier: (both + lost) as f64 / count as f64,
        earlier_ci95: wilson95(both + lost, count),
        now: (both + won) as f64 / count as f64,
        now_ci95: wilson95(both + won, count),
        lost: lost as u64,
        won: won as u64,
        difference: (won as f64 - lost as f64) / count as f64,
        difference_ci95: paired95([both, won, lost, none]),
        p_value: binomial_tail(lost as u64, (lost + won) as u64, 0.5),
    })
}

/// Which of `count` examples stand, as cards have it: see [`WorstCase::stood`].
pub(crate) fn stood(standing: &[usize], count: usize) -> String {
    let mut bytes = vec![0_u8; count.div_ceil(8)];
    for place in standing {
        if let Some(byte) = bytes.get_mut(place / 8) {
            *byte |= 1 << (place % 8);
        }
    }
    hex(&bytes)
}

/// The same read back; `None` where it says nothing, too much, or something else than the accuracy.
fn read_stood(case: &WorstCase, count: usize) -> Option<Vec<bool>> {
    let bytes = from_hex(case.stood.as_deref()?)?;
    let bit = |place: usize| bytes.get(place / 8).is_some_and(|byte| byte >> (place % 8) & 1 == 1);
    let bits: Vec<bool> = (0..bytes.len().saturating_mul(8)).map(bit).collect();
    let fits = bytes.len() == count.div_ceil(8) && count > 0 && !bits.get(count..)?.contains(&true);
    let standing = bits.iter().filter(|bit| **bit).count();
    let told = (standing as f64 / count.max(1) as f64 - case.accuracy).abs() < ACCURACY_SLACK;
    (fits && told).then(|| bits.into_iter().take(count).collect())
}

/// What decides beside model and seed; `None` where the plan has settings that a setup does not name.
pub(crate) fn setup(plan: &Plan, examples: &Examples) -> Option<AttackSetup> {
    let usual = Plan::default();
    let named = plan.margin_restarts == usual.margin_restarts
        && plan.noise_tries == usual.noise_tries
        && plan.columns.iter().all(|column| column.within.is_none());
    if !named {
        return None;
    }
    let (eps, at) = plan.radii().ok()?;
    let places = |of: fn(&crate::Column) -> bool| {
        plan.columns.iter().enumerate().filter(|(_, column)| of(column)).map(|(place, _)| place as u64).collect()
    };
    Some(AttackSetup {
        tool: TOOL.to_owned(),
        data: data_digest(examples),
        range: [plan.range.low(), plan.range.high()].map(f64::from),
        eps,
        at,
        norm: plan.norm.name().into(),
        battery: plan.battery.name().into(),
        attacks: plan.attacks.iter().map(|method| method.name().to_owned()).collect(),
        steps: plan.steps as u64,
        restarts: plan.restarts as u64,
        target: plan.target.map(|class| class as u64),
        levels: plan.levels.map(u64::from),
        integer: places(|column| column.integer),
        immutable: places(|column| column.immutable),
        corruptions: plan.corruptions,
        queries: (plan.query_budget != u64::MAX).then_some(plan.query_budget),
    })
}

/// Checks that a note names.
const FAILED_MAX: usize = 5;
/// A share of a whole number of examples, written and read back.
const ACCURACY_SLACK: f64 = 1e-9;
