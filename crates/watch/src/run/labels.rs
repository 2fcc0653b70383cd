//! Label shares per batch, against the dataset's profile.
//!
//! For each label and several sizes of change, a likelihood ratio against "its share is within the tolerance" is kept as an
//! e-detector of CUSUM form (Shin, Ramdas and Rinaldo 2023, equation 9): M = max(1, M) · L. Under shares as profiled its
//! run length to a false alarm is at least the threshold, whatever the length of the run. Where batches vary more than
//! independent draws would (buckets by length, weighted samplers), evidence is divided by the measured overdispersion.

use std::collections::BTreeMap;

use ringfence_schema::{alert::Basis, event::Progress};

use super::{Expectations, Sightings, line};
use crate::{Signal, book::Sighting, rules::Kind, stats::confidence};

/// Holds claimed labels against the profile.
#[derive(Debug, Clone)]
pub(super) struct Labels {
    shares: BTreeMap<String, Share>,
    records: Option<u64>,
    ordered: bool,
    counts: BTreeMap<String, u64>,
    epoch: f64,
    /// Sum of squared standardised deviations of single reports, and how many.
    dispersion: (f64, f64),
    last: Option<f64>,
    other: f64,
    compared: u64,
    /// Examples of the largest report: where a pass ends within one, that many may be counted on the wrong side.
    largest: f64,
}

/// One label.
#[derive(Debug, Clone)]
struct Share {
    expected: f64,
    /// What was seen lately, to measure dispersion around.
    mean: f64,
    /// Logarithms of the detectors, by entry of [`CHANGES`].
    evidence: [f64; CHANGES.len()],
    since_ms: [u64; CHANGES.len()],
}

impl Labels {
    pub(super) fn new(expected: &Expectations) -> Self {
        let share = |share: f64| Share {
            expected: share.clamp(0.0, 1.0),
            mean: share.clamp(0.0, 1.0),
            evidence: [0.0; CHANGES.len()],
            since_ms: [0; CHANGES.len()],
        };
        Self {
            shares: expected.label_shares.iter().take(LABELS_MAX).map(|(k, v)| (k.clone(), share(*v))).collect(),
            records: expected.records,
            ordered: expected.ordered,
            counts: BTreeMap::new(),
            epoch: 0.0,
            dispersion: (PRIOR_REPORTS, PRIOR_REPORTS),
            last: None,
            other: 0.0,
            compared: 0,
            largest: 0.0,
        }
    }

    pub(super) fn progress(&mut self, at_ms: u64, progress: &Progress, found: &mut Sightings) {
        if self.shares.is_empty() {
            return;
        }
        if !self.ordered {
            self.compare(at_ms, &progress.labels, found);
            return;
        }
        // Read in order, only whole passes can be compared.
        let epoch = progress.epoch.unwrap_or(self.epoch);
        if epoch.floor() > self.epoch.floor() {
            let counts = std::mem::take(&mut self.counts);
            self.compare(at_ms, &counts, found);
        }
        self.epoch = epoch;
        let told = progress.labels.values().take(LABELS_MAX).fold(0_u64, |all, count| all.saturating_add(*count));
        self.largest = self.largest.max(told as f64);
        for (label, count) in progress.labels.iter().take(LABELS_MAX) {
            if self.counts.len() < LABELS_MAX || self.counts.contains_key(label) {
                let held = self.counts.entry(label.clone()).or_default();
                *held = held.saturating_add(*count);
            }
        }
    }

    pub(super) fn end(&mut self, at_ms: u64, found: &mut Sightings) {
        let all: u64 = self.counts.values().fold(0, |all, count| all.saturating_add(*count));
        if self.ordered && self.records.is_some_and(|records| all >= records) {
            let counts = std::mem::take(&mut self.counts);
            self.compare(at_ms, &counts, found);
        }
    }

    pub(super) fn signals(&self, signals: &mut Vec<Signal>) {
        let expected = if self.shares.is_empty() { "no profile".to_owned() } else { "near 0".to_owned() };
        signals.push(line("label-distance", "", self.last, Some(expected), Basis::Claimed));
    }

    fn compare(&mut self, at_ms: u64, counts: &BTreeMap<String, u64>, found: &mut Sightings) {
        let all = counts.values().take(LABELS_MAX).fold(0_u64, |all, count| all.saturating_add(*count)) as f64;
        let of_profile = counts.iter().filter(|(label, _)| self.shares.contains_key(*label));
        let known = of_profile.fold(0_u64, |known, (_, count)| known.saturating_add(*count));
        // Names that the profile does not know at all: the job counts something else.
        if all < 1.0 || (self.compared == 0 && known == 0) {
            return;
        }
        self.compared += 1;
        let (squares, reports) = self.dispersion;
        let dispersion = (squares / reports).max(1.0);
        let of = |label: &str| counts.get(label).copied().unwrap_or(0) as f64;
        let (mut distance, mut standardised, mut told) = (0.0, 0.0, None::<(String, f64, f64, f64, u64)>);
        let labels = self.shares.len() as f64;
        let cut_off = if self.ordered { 2.0 * self.largest / all } else { 0.0 };
        for (label, share) in &mut self.shares {
            let count = of(label);
            distance += (count / all - share.expected).abs() / 2.0;
            let mean = share.mean.clamp(1e-3, 1.0 - 1e-3);
            standardised += (count - all * mean).powi(2) / (all * mean * (1.0 - mean));
            share.mean += (count / all - share.mean) * (all / (all + MEMORY_EXAMPLES));
            let Some((evidence, since_ms)) = share.weigh(at_ms, count, all, dispersion, cut_off, self.records) else {
                continue;
            };
            if told.as_ref().is_none_or(|(_, most, ..)| evidence > *most) {
                told = Some((label.clone(), evidence, share.expected, share.mean, since_ms));
            }
        }
        // Labels that the profile does not have.
        self.other = (self.other + (all - known as f64).max(0.0) - all * STRANGERS).max(0.0);
        if self.other > STRANGERS_MAX {
            told = told.or(Some(("(not in the profile)".to_owned(), THRESHOLD, 0.0, 1.0 - known as f64 / all, at_ms)));
        }
        self.last = Some(distance);
        if reports < DISPERSION_REPORTS_MAX {
            self.dispersion = (squares + standardised / labels, reports + 1.0);
        }
        let Some((label, evidence, expected, seen, since_ms)) = told else { return };
        found.push(Sighting {
            kind: Kind::LabelShare,
            signal: "label-distance".to_owned(),
            severity: None,
            basis: Basis::Claimed,
            expected: format!("{:.1} % of examples with label `{label}`, as in the dataset", 100.0 * expected),
            seen: format!("{:.1} %", 100.0 * seen),
            since: found.moment(since_ms),
            confidence: confidence(evidence),
            message: format!("label `{label}` has another share in batches than in the dataset"),
        });
    }
}

impl Share {
    /// Adds a report to the detectors; the strongest beyond the threshold.
    fn weigh(
        &mut self,
        at_ms: u64,
        count: f64,
        all: f64,
        dispersion: f64,
        cut_off: f64,
        records: Option<u64>,
    ) -> Option<(f64, u64)> {
        let p = self.expected;
        // A held-out part is taken at random, so the rest differs a little from the whole.
        let sampling = records.map_or(0.005, |records| 3.0 * (p * (1.0 - p) / records.max(1) as f64).sqrt());
        let room = 0.05 * p + sampling + cut_off;
        let (low, high) = ((p - room).clamp(1e-4, 1.0 - 1e-4), (p + room).clamp(1e-4, 1.0 - 1e-4));
        let mut strongest = None;
        for ((change, evidence), since_ms) in CHANGES.iter().zip(&mut self.evidence).zip(&mut self.since_ms) {
            let null = if *change > 0.0 { high } else { low };
            // Towards certainty by a share of the distance that is left, or towards nothing.
            let other = if *change > 0.0 { null + change * (1.0 - null) } else { null * (1.0 + change) };
            let other = other.clamp(1e-5, 1.0 - 1e-5);
            let ratio = count * (other / null).ln() + (all - count) * ((1.0 - other) / (1.0 - null)).ln();
            if *evidence <= 0.0 {
                *since_ms = at_ms;
            }
            *evidence = (evidence.max(0.0) + ratio / dispersion).min(EVIDENCE_MAX);
            if *evidence > THRESHOLD && strongest.is_none_or(|(most, _)| *evidence > most) {
                strongest = Some((*evidence, *since_ms));
            }
        }
        strongest
    }
}

/// Changes that are looked for: shares of the distance to certainty, and to nothing.
const CHANGES: [f64; 8] = [0.03, 0.08, 0.2, 0.6, -0.2, -0.4, -0.7, -0.98];
/// Natural logarithm of the run length, in reports, to a false alarm of one detector: 10^11, so that a thousand labels with
/// eight detectors each have 10^7 reports.
const THRESHOLD: f64 = 25.3;
/// Evidence beyond this adds nothing but a slow way back.
const EVIDENCE_MAX: f64 = 60.0;
/// Labels that are compared.
const LABELS_MAX: usize = 1_024;
/// Examples over which the mean of a label is remembered.
const MEMORY_EXAMPLES: f64 = 2_000.0;
/// Weight of the assumption that batches are independent draws, in reports.
const PRIOR_REPORTS: f64 = 10.0;
/// Reports in which dispersion is learned.
const DISPERSION_REPORTS_MAX: f64 = 200.0;
/// Share of examples whose label may be missing in the profile.
const STRANGERS: f64 = 0.02;
/// Examples beyond that share at which it is told.
const STRANGERS_MAX: f64 = 50.0;
