//! What is odd about a person at a time, as one case.
//!
//! Circumstances (hour, place, absence, refusals) and amounts are held together as they occur together: either alone has
//! honest reasons, both at once seldom. How much a score says is learned from the whole office: one that honest
//! days reach often says as much as its share of days (Vovk et al. 2005 on conformal p-values), never more than it claims.

use std::collections::{BTreeMap, BTreeSet};

use ringfence_schema::{Digest, Severity, alert::Subject};

use super::{
    slow::CHANNELS,
    sources::{Each, Source},
};
use crate::rules::Kind;

/// One oddity.
#[derive(Debug, Clone)]
pub(crate) struct Evidence {
    /// Natural logarithm of the odds against it being usual.
    pub(crate) weight: f64,
    pub(crate) expected: String,
    pub(crate) seen: String,
    pub(crate) since_ms: u64,
}

/// How often days of people reach a score.
#[derive(Debug, Clone)]
pub(super) struct Gauge {
    bins: [f64; BINS],
    days: f64,
}

impl Default for Gauge {
    fn default() -> Self {
        Self { bins: [0.0; BINS], days: 0.0 }
    }
}

impl Gauge {
    /// A day of somebody is over, and this was its highest score.
    pub(super) fn note(&mut self, score: f64) {
        self.days += 1.0;
        if let Some(bin) = self.bins.get_mut(bin(score)) {
            *bin += 1.0;
        }
        if self.days > DAYS_MAX {
            self.days *= 0.5;
            self.bins.iter_mut().for_each(|bin| *bin *= 0.5);
        }
    }

    /// Days that reached a score.
    fn reached(&self, score: f64) -> f64 {
        self.bins.iter().skip(bin(score)).sum()
    }

    /// What a score says, given how many days reach it. A few that nobody explained do not count.
    pub(super) fn weigh(&self, score: f64) -> f64 {
        let reached = self.reached(score);
        let share = ((reached - UNEXPLAINED).max(0.0) + TRUST * (-score).exp()) / (TRUST + self.days);
        score.min(-share.min(1.0).ln())
    }
}

fn bin(score: f64) -> usize {
    (1..BINS).take_while(|at| score >= *at as f64 * BIN).count()
}

/// Gauges of all kinds, for everybody.
#[derive(Debug, Clone, Default)]
pub(super) struct Gauges {
    kinds: BTreeMap<(Source, Kind), Gauge>,
    /// Sums of cases, by days of people.
    totals: Gauge,
    /// The highest sums over days that people reached, of each kind.
    slow: Each<Sums>,
}

/// Days that reached a sum, of each kind.
#[derive(Debug, Clone)]
struct Sums([[f64; BINS]; CHANNELS.len()]);

impl Default for Sums {
    fn default() -> Self {
        Self([[0.0; BINS]; CHANNELS.len()])
    }
}

impl Gauges {
    pub(super) fn weigh(&self, source: Source, kind: Kind, score: f64) -> f64 {
        self.kinds.get(&(source, gauged(kind))).map_or(score, |gauge| gauge.weigh(score))
    }

    /// Notes the highest scores of a person's day.
    pub(super) fn note(&mut self, case: &Case) {
        self.totals.note(case.total);
        if case.told.is_some_and(|(told, _)| told >= Severity::High) {
            // What is grave may be misuse: others are not measured by it.
            return;
        }
        for source in Source::ALL.into_iter().filter(|source| case.sources.contains(source)) {
            for kind in GAUGED {
                let gauge = self.kinds.entry((source, kind)).or_default();
                gauge.note(case.scores.get(&(source, kind)).copied().unwrap_or(0.0));
            }
        }
    }

    /// Whether the office has so many cases of this weight that one more is not worth anybody's time.
    fn is_common(&self, total: f64, watched_days: f64) -> bool {
        self.totals.reached(total) > LOW_A_DAY * (watched_days + 3.0)
    }

    /// Notes the sums over days that a person reached, after `before`; which of them says most among those of all
    /// people, and how much.
    pub(super) fn build_up(
        &mut self,
        source: Source,
        before: &mut [f64; CHANNELS.len()],
        sums: [f64; CHANNELS.len()],
        people: f64,
    ) -> (f64, usize) {
        let mut most = (0.0, 0);
        for (at, ((held, before), sum)) in self.slow.of(source).0.iter_mut().zip(before).zip(sums).enumerate() {
            if sum > *before {
                for (score, count) in [(*before, -1.0), (sum, 1.0)] {
                    if let Some(held) = held.get_mut(bin(0.5 * score)).filter(|_| score > 0.0) {
                        *held = (*held + count).max(0.0);
                    }
                }
                *before = sum;
            }
            // Those who are above; a few may have reasons not to be.
            let above: f64 = held.iter().skip(bin(0.5 * sum) + 1).sum();
            let share = above * above / (above + FEW) / people.max(1.0);
            let weight = if share > 0.0 { sum.min(SLOW_AMONG - share.ln()) } else { sum };
            if weight > most.0 {
                most = (weight, at);
            }
        }
        most
    }
}

/// Breadth is one face of an amount.
pub(super) fn gauged(kind: Kind) -> Kind {
    if kind == Kind::Breadth { Kind::Volume } else { kind }
}

/// What was found about a person within a day.
#[derive(Debug, Clone, Default)]
pub(super) struct Case {
    began_ms: u64,
    /// The highest scores of each kind, as claimed.
    scores: BTreeMap<(Source, Kind), f64>,
    sources: BTreeSet<Source>,
    /// The highest sum.
    total: f64,
    told: Option<(Severity, f64)>,
    id: Option<Digest>,
    pub(super) since_ms: u64,
}

/// What is to be told.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) severity: Severity,
    pub(super) evidence: Evidence,
    pub(super) others: Vec<&'static str>,
}

impl Case {
    /// Begins anew when the one before is over.
    pub(super) fn renew(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.began_ms) > CASE_MS {
            *self = Self { began_ms: now_ms, ..Self::default() };
        }
    }

    /// What is odd right now; what is to be told if that is more than before.
    pub(super) fn add(
        &mut self,
        source: Source,
        found: Vec<(Kind, Evidence)>,
        gauges: &Gauges,
        watched_days: f64,
    ) -> Option<Finding> {
        self.sources.insert(source);
        let mut weighed = Vec::new();
        for (kind, evidence) in found {
            let score = self.scores.entry((source, gauged(kind))).or_default();
            *score = score.max(evidence.weight);
            weighed.push((kind, Evidence { weight: gauges.weigh(source, kind, evidence.weight), ..evidence }));
        }
        let sum = |amounts: bool| -> f64 {
            let of = |kind: Kind| gauged(kind) == Kind::Volume;
            weighed.iter().filter(|(kind, _)| of(*kind) == amounts).map(|(_, evidence)| evidence.weight).sum()
        };
        let (amount, circumstance) = (sum(true), sum(false));
        // Either alone has honest reasons.
        let alone = if circumstance < amount { AMOUNT_ALONE } else { ALONE };
        let total = amount + circumstance - alone * (-amount.min(circumstance)).exp();
        self.total = self.total.max(total);
        let severity = LEVELS.iter().rev().find(|(least, _)| total >= *least).map(|(_, severity)| *severity)?;
        if self.told.is_some_and(|(told, weight)| severity <= told && total < weight + STEP) {
            return None;
        }
        if severity == Severity::Low && gauges.is_common(total, watched_days) {
            return None;
        }
        self.told = Some((severity, total));
        // A bulk in odd circumstances goes by their name.
        let named = |kind: Kind, weight: f64| gauged(kind) == Kind::Volume || weight < NAMED;
        let odd = weighed.iter().any(|(kind, evidence)| !named(*kind, evidence.weight));
        let (kind, strongest) = weighed
            .iter()
            .filter(|(kind, e)| !odd || !named(*kind, e.weight))
            .max_by(|(_, a), (_, b)| a.weight.total_cmp(&b.weight))
            .map(|(k, e)| (*k, e.clone()))?;
        let others = weighed
            .iter()
            .filter(|(other, e)| *other != kind && e.weight >= 1.0)
            .map(|(kind, _)| kind.name())
            .collect();
        if self.since_ms == 0 {
            self.since_ms = strongest.since_ms;
        }
        Some(Finding { kind, severity, evidence: Evidence { weight: total, ..strongest }, others })
    }

    /// What has built up over days; what is to be told if that is more than before.
    pub(super) fn build_up(&mut self, evidence: Evidence) -> Option<Finding> {
        if self.since_ms.abs_diff(evidence.since_ms) > SAME_MS {
            *self = Self { since_ms: evidence.since_ms, ..Self::default() };
        }
        let severity = SLOW_LEVELS.iter().rev().find(|(least, _)| evidence.weight >= *least).map(|(_, s)| *s)?;
        if self.told.is_some_and(|(told, weight)| severity <= told && evidence.weight < weight + STEP) {
            return None;
        }
        self.told = Some((severity, evidence.weight));
        Some(Finding { kind: Kind::SlowExfiltration, severity, evidence, others: Vec::new() })
    }

    /// The case keeps its name when its strongest kind changes.
    pub(super) fn name(&mut self, rule: &str, subject: &Subject, signal: &str) -> Digest {
        let since = ringfence_schema::Timestamp::from_millis(self.since_ms);
        *self.id.get_or_insert_with(|| ringfence_schema::alert::Alert::identify(rule, subject, signal, since))
    }
}

/// Kinds whose scores are gauged by the office.
const GAUGED: [Kind; 6] =
    [Kind::Volume, Kind::UnusualHour, Kind::NewPlace, Kind::ImpossibleTravel, Kind::DeniedBurst, Kind::Dormant];
/// Sums of evidence from which on a case is told, and how grave it is then.
const LEVELS: [(f64, Severity); 4] =
    [(4.6, Severity::Low), (9.0, Severity::Medium), (13.0, Severity::High), (20.0, Severity::Critical)];
/// The same of what builds up over days.
const SLOW_LEVELS: [(f64, Severity); 4] =
    [(6.5, Severity::Low), (9.0, Severity::Medium), (14.0, Severity::High), (28.0, Severity::Critical)];
/// Time between the beginnings of what builds up, within which it is the same, in milliseconds.
const SAME_MS: u64 = 3 * super::DAY_MS;
/// What a circumstance loses that is alone; and an amount, for which there are more reasons.
const ALONE: f64 = 1.5;
const AMOUNT_ALONE: f64 = 3.0;
/// Weight of a circumstance from which on a case has its name.
const NAMED: f64 = 2.5;
/// Low cases a day that are told.
const LOW_A_DAY: f64 = 1.0;
/// People with sums over days that may have reasons, and what being among all others means.
const FEW: f64 = 6.0;
const SLOW_AMONG: f64 = 6.0;
/// More evidence of the same gravity that is worth telling.
const STEP: f64 = 1.5;
/// How long a case lasts, in milliseconds.
pub(super) const CASE_MS: u64 = super::DAY_MS;
/// Bins of a gauge, and the width of one.
const BINS: usize = 48;
const BIN: f64 = 0.25;
/// Weight of what a score claims, in days.
const TRUST: f64 = 100.0;
/// Days of the highest scores that do not count against later ones: they may be misuse themselves.
const UNEXPLAINED: f64 = 3.0;
/// Days after which a gauge forgets half.
const DAYS_MAX: f64 = 20_000.0;
