//! The membership tests of one audit, from signals to figures.

use ringfence_schema::privacy::{Leak, MembershipTest, RateAt};

use crate::{
    error::AttackError,
    privacy::{
        likelihood::{Side, Spread, lira, rmia},
        signals::{Signals, ln_probability},
    },
    stats::{Roc, wilson95},
};

/// Every test that the references allow, the loss threshold first.
pub fn membership(signals: &Signals) -> Result<Vec<MembershipTest>, AttackError> {
    signals.check()?;
    let queries = signals.target.len() as u64;
    let by_loss: Vec<f64> = signals.target.iter().map(|confidence| ln_probability(*confidence)).collect();
    let mut tests = vec![judged("loss-threshold", signals, &by_loss, queries, LOSS_NOTE)];
    let (inside, outside) = (signals.fewest(true), signals.fewest(false));
    let mut add = |name: &str, scores: Vec<f64>, note: &str| tests.push(judged(name, signals, &scores, queries, note));
    if outside > 0 {
        add("lira-offline", lira(signals, Side::Offline, Spread::Global)?, LIRA_NOTE);
        add("rmia-offline", rmia(signals, Side::Offline)?, RMIA_NOTE);
    }
    if outside >= PER_EXAMPLE_MIN {
        add("lira-offline-per-example", lira(signals, Side::Offline, Spread::PerExample)?, LIRA_NOTE);
    }
    if outside > 0 && inside > 0 {
        add("lira-online", lira(signals, Side::Online, Spread::Global)?, LIRA_NOTE);
        add("rmia-online", rmia(signals, Side::Online)?, RMIA_NOTE);
    }
    if outside.min(inside) >= PER_EXAMPLE_MIN {
        add("lira-online-per-example", lira(signals, Side::Online, Spread::PerExample)?, LIRA_NOTE);
    }
    Ok(tests)
}

/// The figures of one test's scores.
pub(crate) fn judged(attack: &str, signals: &Signals, scores: &[f64], queries: u64, note: &str) -> MembershipTest {
    let [members, non_members] = signals.split(scores);
    let roc = Roc::new(&members, &non_members);
    let interval = roc.area_ci95();
    let mut note = note.to_owned();
    let mut apart = interval.is_some_and(|ci95| ci95[0] > 0.5 + AREA_MARGIN);
    let rates = FALSE_POSITIVE_RATES.map(|fpr| {
        let counts = roc.counts_at(fpr);
        let ci95 = counts.map(|(hits, _)| wilson95(hits, members.len()));
        if let (Some(ci95), Some((_, false_hits))) = (ci95, counts) {
            // The false positive rate of the threshold is itself only measured: both intervals must lie apart.
            apart |= ci95[0] > wilson95(false_hits, non_members.len())[1];
        }
        RateAt { fpr, tpr: roc.tpr_at(fpr), ci95, needs: needed(fpr) }
    });
    if rates.iter().any(|rate| rate.tpr.is_none()) {
        note = format!("{note}; a rate is not stated with fewer than ten non-members for each false positive");
    }
    MembershipTest {
        attack: attack.to_owned(),
        auc: interval.map(|_| roc.area()),
        auc_ci95: interval,
        tpr_at_fpr: rates.to_vec(),
        roc: roc.curve(POINTS_A_DECADE),
        members: members.len() as u64,
        non_members: non_members.len() as u64,
        queries,
        leak: match interval {
            None => Leak::CannotState,
            Some(_) if apart => Leak::Shown,
            Some(_) => Leak::NotShown,
        },
        note,
    }
}

/// Non-members that stating a rate needs.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "constants of this file")]
fn needed(fpr: f64) -> u64 {
    (10.0 / fpr).round() as u64
}

/// The operating points that matter: an attacker who is nearly always right about a few (Carlini et al. 2022, section IV-A).
const FALSE_POSITIVE_RATES: [f64; 2] = [0.01, 0.001];
/// References on each side from which spreads of single examples are better than the shared one.
const PER_EXAMPLE_MIN: usize = 16;
/// Several tests are made of one audit, each with an interval of 95 %: an area must lie this much above chance to count.
const AREA_MARGIN: f64 = 0.01;
const POINTS_A_DECADE: f64 = 32.0;
const LOSS_NOTE: &str = "finds only the grossest leaks: a low figure does not show that the training data is private";
const LIRA_NOTE: &str =
    "as strong as the references are alike to the model and many; few references make it a lower bound";
const RMIA_NOTE: &str =
    "works with few references; the audit's non-members stand for the population, which favours it a little";
pub(crate) const LABEL_NOTE: &str = "sees labels alone: what an endpoint gives away that hides all scores";
