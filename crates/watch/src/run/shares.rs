//! Label shares where no profile of the dataset is known: a job's own, once they proved to be steady.
//!
//! Labels may come sorted, in shards with their own mix, or balanced anew for every pass; then nothing can be said. Where
//! reports were draws from one distribution for long, and then, in the middle of a pass, one label goes over into another
//! while all others stay, somebody relabels: mixtures change in other ways, for all labels together or between passes.

use std::collections::{BTreeMap, VecDeque};

use ringfence_schema::{Severity, alert::Basis, event::Progress};

use super::Sightings;
use crate::{book::Sighting, rules::Kind};

/// Learns the shares of labels and watches for one going over into another.
#[derive(Debug, Clone, Default)]
pub(super) struct Shares {
    /// Examples by label, of all reports but the newest.
    counts: BTreeMap<String, f64>,
    all: f64,
    reports: u32,
    /// Smoothed squared deviation of single reports, 1 for independent draws.
    dispersion: f64,
    newest: VecDeque<Report>,
    epoch: f64,
    first_epoch: Option<f64>,
}

/// One report.
#[derive(Debug, Clone, Default)]
struct Report {
    at_ms: u64,
    counts: BTreeMap<String, f64>,
    all: f64,
    /// A pass ended within it.
    turns: bool,
}

/// One label that went over into another.
struct Moved {
    from: String,
    to: String,
    before: f64,
    now: f64,
    since_ms: u64,
}

impl Shares {
    /// Takes a report; `anew` where training begins anew with it.
    pub(super) fn progress(&mut self, at_ms: u64, progress: &Progress, anew: bool, found: &mut Sightings) {
        let epoch = progress.epoch.filter(|epoch| epoch.is_finite());
        let turns = epoch.is_some_and(|epoch| (epoch.floor() - self.epoch.floor()).abs() >= 1.0);
        self.epoch = epoch.unwrap_or(self.epoch);
        if anew {
            *self = Self { epoch: self.epoch, ..Self::default() };
        }
        if progress.labels.is_empty() || progress.labels.len() > LABELS_MAX {
            return;
        }
        self.first_epoch = self.first_epoch.or(epoch);
        let counts: BTreeMap<String, f64> = progress.labels.iter().map(|(k, v)| (k.clone(), *v as f64)).collect();
        let all: f64 = counts.values().sum();
        if all < 1.0 {
            return;
        }
        self.newest.push_back(Report { at_ms, counts, all, turns });
        if self.newest.len() > NEWEST
            && let Some(report) = self.newest.pop_front()
        {
            self.learn(&report);
        }
        let Some(moved) = self.moved() else { return };
        found.push(Sighting {
            kind: Kind::LabelShare,
            signal: "label-distance".to_owned(),
            severity: Some(Severity::Medium),
            basis: Basis::Claimed,
            expected: format!("{:.1} % of examples with label `{}`, as so far", 100.0 * moved.before, moved.from),
            seen: format!("{:.1} %, and as much more of `{}`", 100.0 * moved.now, moved.to),
            since: found.moment(moved.since_ms),
            confidence: 0.95,
            message: format!("label `{}` goes over into `{}` in batches", moved.from, moved.to),
        });
    }

    fn learn(&mut self, report: &Report) {
        if self.reports >= 4 {
            let labels = self.counts.len().max(2) as f64;
            let squares: f64 =
                self.counts.iter().map(|(label, count)| report.deviation(label, count / self.all).powi(2)).sum();
            let strangers = report.counts.keys().any(|label| !self.counts.contains_key(label));
            let off = if strangers { STRANGER } else { squares / (labels - 1.0) };
            // What changes the shares for good must be unlearned before they can be steady again.
            self.dispersion += (off.min(STRANGER) - self.dispersion) * 0.05;
            if off > RELEARN * self.dispersion.max(1.0) {
                *self = Self {
                    newest: std::mem::take(&mut self.newest),
                    epoch: self.epoch,
                    dispersion: off.min(STRANGER),
                    ..Self::default()
                };
            }
        } else if self.reports == 0 {
            self.dispersion = self.dispersion.max(1.0);
        }
        for (label, count) in &report.counts {
            if self.counts.len() < LABELS_MAX || self.counts.contains_key(label) {
                *self.counts.entry(label.clone()).or_default() += count;
            }
        }
        self.all += report.all;
        self.reports = self.reports.saturating_add(1);
    }

    /// Whether shares were steady for long enough to say what is a change.
    fn steady(&self) -> bool {
        let passes = self.first_epoch.map_or(0.0, |first| self.epoch - first);
        // Two labels can only go over into each other; so does every other change of their mixture.
        let (reports, whole) = if self.counts.len() > 2 { (REPORTS, 0.0) } else { (4 * REPORTS, 2.0) };
        self.counts.len() >= 2
            && self.reports >= reports
            && self.all >= EXAMPLES
            && self.dispersion <= STEADY
            && passes >= whole
    }

    fn moved(&self) -> Option<Moved> {
        let off = |report: &Report, label: &str, before: f64| report.deviation(label, before);
        if !self.steady() {
            return None;
        }
        // The pool is as long as it takes: the newest reports since the label went.
        let (mut from, mut strongest) = (None, -2.0);
        let last = self.newest.back()?;
        for (label, count) in &self.counts {
            let z = off(last, label, count / self.all);
            if z < strongest {
                (from, strongest) = (Some((label, count / self.all)), z);
            }
        }
        let (from, before) = from?;
        let lower = |report: &&Report| report.share(from) < 0.8 * before;
        let pool: Vec<&Report> = self.newest.iter().rev().take_while(lower).collect();
        let (first, earlier) = (*pool.last()?, self.newest.len() - pool.len());
        // A change between passes, or one that was always there, is the job's own.
        let between = pool.iter().rev().take(2).any(|report| report.turns)
            || earlier.checked_sub(1).and_then(|at| self.newest.get(at)).is_none_or(|report| report.turns);
        if pool.len() < POOL || between || last.at_ms.saturating_sub(first.at_ms) < POOL_MS {
            return None;
        }
        let mut sum = Report::default();
        for report in &pool {
            sum.all += report.all;
            for (label, count) in &report.counts {
                *sum.counts.entry(label.clone()).or_default() += count;
            }
        }
        if sum.counts.keys().any(|label| !self.counts.contains_key(label)) {
            return None;
        }
        let scale = self.dispersion.max(1.0).sqrt();
        let lost = off(&sum, from, before) / scale;
        let mut to = None;
        for (label, count) in &self.counts {
            let share = count / self.all;
            let z = off(&sum, label, share) / scale;
            if z > GAINED && to.is_none() {
                to = Some((label, sum.share(label) - share));
            } else if label != from && z.abs() > OTHERS {
                return None;
            }
        }
        let (to, gained) = to?;
        let gone = before - sum.share(from);
        let error = 4.0 * scale * ((before + gained) / sum.all).sqrt();
        let pair = (gained - gone).abs() <= error.max(0.15 * gone);
        (lost < -LOST && pair).then(|| Moved {
            from: from.clone(),
            to: to.clone(),
            before,
            now: sum.share(from),
            since_ms: first.at_ms,
        })
    }
}

impl Report {
    fn share(&self, label: &str) -> f64 {
        self.counts.get(label).copied().unwrap_or(0.0) / self.all.max(1.0)
    }

    /// Standardised deviation of a label's count from a share.
    fn deviation(&self, label: &str, share: f64) -> f64 {
        let share = share.clamp(1e-4, 1.0 - 1e-4);
        (self.counts.get(label).copied().unwrap_or(0.0) - self.all * share) / (self.all * share * (1.0 - share)).sqrt()
    }
}

/// Labels that are followed; a report with more is passed over.
const LABELS_MAX: usize = 256;
/// Newest reports, which are held against those before.
const NEWEST: usize = 12;
/// Reports after which shares can be steady.
const REPORTS: u32 = 20;
/// Examples after which they can.
const EXAMPLES: f64 = 3_000.0;
/// Dispersion up to which reports are draws from one distribution.
const STEADY: f64 = 1.6;
/// Times the usual dispersion of a report after which all is learned anew.
const RELEARN: f64 = 8.0;
/// What a label that was never seen counts as dispersion.
const STRANGER: f64 = 25.0;
/// Reports in a row that must lack the label.
const POOL: usize = 3;
/// Time over which they come, in milliseconds.
const POOL_MS: u64 = 4_000;
/// Standard deviations by which the label that goes must be below its share.
const LOST: f64 = 7.0;
/// The same for the one that it goes over into, above.
const GAINED: f64 = 5.0;
/// Standard deviations within which all others stay.
const OTHERS: f64 = 4.0;
