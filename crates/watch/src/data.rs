//! A new version of a dataset against the earlier ones.
//!
//! [`DataWatch::push`] takes one [`VersionChange`] after the other, of any number of datasets. What is usual (how much is
//! added, removed and rewritten, how often versions come, how far label shares and drift move) is learned per dataset from
//! its own versions on a logarithmic scale; until there are [`VERSIONS_MIN`] of them, only changes that no history would
//! excuse are told.
//!
//! What must stay true: a told version is remembered only as far as a little beyond the usual, so one bad version does not
//! excuse the next; memory is bounded by datasets and labels.

pub mod sketch;

use std::collections::BTreeMap;

use ringfence_schema::{
    Severity, Timestamp,
    alert::{Alert, Basis, Subject, SubjectKind},
};
use serde::{Deserialize, Serialize};

use crate::{
    book::{Book, Sighting, cut},
    rules::Kind,
    stats::Recent,
};

/// What one version changed against the one before. All of it can be taken from two manifests and their profiles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionChange {
    /// When the version was admitted.
    pub at: Timestamp,
    /// The artifact: `dataset/digits`.
    pub artifact: String,
    /// The version's number; 1 has nothing before it.
    pub version: u64,
    /// Records, or files where records are not known, after the change.
    pub records: u64,
    /// Records that are new.
    pub added: u64,
    /// Records that are gone.
    pub removed: u64,
    /// Records that were rewritten in place.
    pub changed: u64,
    /// Size in bytes after the change.
    pub bytes: u64,
    /// Share of each label after the change; empty where there are none.
    #[serde(default)]
    pub label_shares: BTreeMap<String, f64>,
    /// How far the version is from the one before, 0 to 1, by `screen`'s measure; absent where it was not measured.
    #[serde(default)]
    pub drift: Option<f64>,
}

/// Watches all datasets of a vault.
#[derive(Debug, Clone)]
pub struct DataWatch {
    datasets: BTreeMap<String, Dataset>,
    book: Book,
    latest: Timestamp,
}

#[derive(Debug, Clone)]
struct Dataset {
    last: Timestamp,
    versions: u64,
    records: u64,
    growth: Recent<32>,
    rewritten: Recent<32>,
    gaps: Recent<32>,
    moves: Recent<32>,
    drifts: Recent<32>,
    shares: BTreeMap<String, f64>,
}

/// What a measurement looks like against a dataset's history.
struct Seen {
    z: f64,
    usual: f64,
}

impl Default for DataWatch {
    fn default() -> Self {
        Self::new()
    }
}

impl DataWatch {
    /// A watch that has seen no version.
    pub fn new() -> Self {
        Self { datasets: BTreeMap::new(), book: Book::new(1), latest: Timestamp::from_millis(0) }
    }

    /// Takes one version.
    pub fn push(&mut self, change: &VersionChange) -> Vec<Alert> {
        let at = change.at.max(self.latest);
        self.latest = at;
        let name = cut(change.artifact.clone());
        if self.datasets.len() >= DATASETS_MAX && !self.datasets.contains_key(&name) {
            let oldest = self.datasets.iter().min_by_key(|(_, dataset)| dataset.last).map(|(name, _)| name.clone());
            oldest.map(|name| self.datasets.remove(&name));
        }
        let dataset = self.datasets.entry(name.clone()).or_insert_with(|| Dataset::new(at));
        let mut found = Vec::new();
        if dataset.versions > 0 {
            dataset.look(at, change, &mut found);
        }
        dataset.learn(at, change);
        let subject = Subject { kind: SubjectKind::Artifact, name };
        let version = change.version;
        let told = |(kind, severity, confidence, expected, seen): Finding| Sighting {
            kind,
            signal: format!("version {version}"),
            severity: Some(severity),
            basis: Basis::Observed,
            message: format!("version {version}: {seen}"),
            expected,
            seen,
            since: at,
            confidence,
        };
        found.into_iter().filter_map(|finding| self.book.raise(&subject, at, told(finding))).collect()
    }
}

type Finding = (Kind, Severity, f64, String, String);

impl Dataset {
    fn new(at: Timestamp) -> Self {
        Self {
            last: at,
            versions: 0,
            records: 0,
            growth: Recent::default(),
            rewritten: Recent::default(),
            gaps: Recent::default(),
            moves: Recent::default(),
            drifts: Recent::default(),
            shares: BTreeMap::new(),
        }
    }

    fn look(&mut self, at: Timestamp, change: &VersionChange, found: &mut Vec<Finding>) {
        let before = self.records.max(1) as f64;
        self.size(change, before, found);
        let rewritten = change.changed as f64 / before;
        let seen = against(&self.rewritten, share_scale(rewritten), 0.5);
        let bulk = rewritten >= 0.5;
        if rewritten >= 0.01 && seen.as_ref().map_or(bulk, |seen| seen.z > Z_MAX) {
            let usual = seen.as_ref().map_or(0.0, |seen| share_of(seen.usual));
            found.push((
                Kind::VersionRewrite,
                grave(rewritten >= 0.1),
                sure(seen.as_ref()),
                format!("about {:.2} % of records rewritten", 100.0 * usual),
                format!("{:.2} % rewritten ({} records)", 100.0 * rewritten, change.changed),
            ));
        }
        let gap_s = at.millis().saturating_sub(self.last.millis()) as f64 / 1_000.0;
        let seen = against(&self.gaps, gap_s.ln_1p(), 0.7);
        if let Some(seen) = seen.filter(|seen| -seen.z > Z_MAX) {
            let usual = seen.usual.exp_m1() / 3_600.0;
            let confidence = sure(Some(&seen));
            let expected = format!("about {usual:.1} h between versions");
            found.push((Kind::VersionRate, Severity::Low, confidence, expected, format!("{:.2} h", gap_s / 3_600.0)));
        }
        if let Some((distance, label)) = self.label_move(change) {
            let seen = against(&self.moves, distance, MOVE_SCALE_MIN);
            if distance >= 0.02 && seen.as_ref().map_or(distance >= 0.2, |seen| seen.z > MOVE_Z_MAX) {
                let usual = seen.as_ref().map_or(0.0, |seen| seen.usual);
                found.push((
                    Kind::LabelShift,
                    grave(distance >= 0.1),
                    sure(seen.as_ref()),
                    format!("shares move by about {:.2} points in all", 100.0 * usual),
                    format!("by {:.2} points, most of all label `{label}`", 100.0 * distance),
                ));
            }
        }
        if let Some(drift) = change.drift.filter(|drift| drift.is_finite()) {
            let seen = against(&self.drifts, share_scale(drift), 0.4);
            if drift >= 0.05 && seen.as_ref().map_or(drift >= 0.5, |seen| seen.z > Z_MAX) {
                let usual = seen.as_ref().map_or(0.0, |seen| share_of(seen.usual));
                let expected = format!("a drift of about {usual:.3}");
                found.push((Kind::Drift, grave(drift >= 0.5), sure(seen.as_ref()), expected, format!("{drift:.3}")));
            }
        }
    }

    fn size(&self, change: &VersionChange, before: f64, found: &mut Vec<Finding>) {
        let lost = change.removed as f64 / before;
        let grown = (change.added as f64 / before).ln_1p();
        let seen = against(&self.growth, grown, 0.1);
        // Growth by less than a tenth is no matter however regular the history was.
        let unusual = grown >= 0.1 && seen.as_ref().is_some_and(|seen| seen.z > Z_MAX);
        let usual = seen.as_ref().map_or(0.0, |seen| seen.usual.exp_m1());
        if lost >= 0.2 || (lost >= 0.02 && seen.is_some() && usual >= 0.0 && self.never_lost(lost)) {
            let expected = "few records removed".to_owned();
            let seen = format!("{:.1} % removed ({} records)", 100.0 * lost, change.removed);
            found.push((Kind::VersionSize, grave(lost >= 0.5), 0.9, expected, seen));
        } else if unusual {
            let expected = format!("about {:.1} % added", 100.0 * usual);
            let added = format!("{:.1} % added ({} records)", 100.0 * grown.exp_m1(), change.added);
            found.push((Kind::VersionSize, Severity::Medium, sure(seen.as_ref()), expected, added));
        }
    }

    /// Whether a loss of this share is beyond what rewriting and removing were before.
    fn never_lost(&self, lost: f64) -> bool {
        against(&self.rewritten, share_scale(lost), 0.5).is_some_and(|seen| seen.z > Z_MAX)
    }

    /// Total variation between this version's label shares and those before, and the label that moved most.
    fn label_move(&self, change: &VersionChange) -> Option<(f64, String)> {
        if self.shares.is_empty() || change.label_shares.is_empty() {
            return None;
        }
        let labels = self.shares.keys().chain(change.label_shares.keys());
        let share = |shares: &BTreeMap<String, f64>, label: &String| shares.get(label).copied().unwrap_or(0.0);
        let mut moved: Vec<(f64, &String)> = labels
            .map(|label| ((share(&self.shares, label) - share(&change.label_shares, label)).abs(), label))
            .collect();
        moved.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        moved.dedup_by(|a, b| a.1 == b.1);
        let label = moved.first()?.1.clone();
        Some((moved.iter().map(|(by, _)| by).sum::<f64>() / 2.0, cut(label)))
    }

    fn learn(&mut self, at: Timestamp, change: &VersionChange) {
        if self.versions > 0 {
            let before = self.records.max(1) as f64;
            let gap_s = at.millis().saturating_sub(self.last.millis()) as f64 / 1_000.0;
            remember(&mut self.growth, (change.added as f64 / before).ln_1p(), 0.1);
            let touched = change.changed.max(change.removed) as f64 / before;
            remember(&mut self.rewritten, share_scale(touched), 0.5);
            self.gaps.push(gap_s.ln_1p());
            if let Some((distance, _)) = self.label_move(change) {
                remember(&mut self.moves, distance, MOVE_SCALE_MIN);
            }
            if let Some(drift) = change.drift.filter(|drift| drift.is_finite()) {
                remember(&mut self.drifts, share_scale(drift), 0.4);
            }
        }
        self.last = at;
        self.versions += 1;
        self.records = change.records;
        self.shares =
            change.label_shares.iter().take(LABELS_MAX).map(|(label, share)| (label.clone(), *share)).collect();
    }
}

/// A share on a logarithmic scale that begins at a tenth of a percent.
fn share_scale(share: f64) -> f64 {
    (share.max(0.0) / SHARE_UNIT).ln_1p()
}

fn share_of(scaled: f64) -> f64 {
    scaled.exp_m1() * SHARE_UNIT
}

fn against(history: &Recent<32>, value: f64, scale_min: f64) -> Option<Seen> {
    let (usual, scale) = history.centre(0).filter(|_| history.len() >= VERSIONS_MIN)?;
    Some(Seen { z: (value - usual) / scale.max(scale_min), usual })
}

fn remember(history: &mut Recent<32>, value: f64, scale_min: f64) {
    let cap = history.centre(0).filter(|_| history.len() >= VERSIONS_MIN).map(|(m, s)| m + 3.0 * s.max(scale_min));
    history.push(cap.map_or(value, |cap| value.min(cap)));
}

fn grave(bulk: bool) -> Severity {
    if bulk { Severity::High } else { Severity::Medium }
}

/// One minus the chance under Student's t with 3 degrees of freedom, from its tail's leading term; less without history.
fn sure(seen: Option<&Seen>) -> f64 {
    seen.map_or(0.8, |seen| 1.0 - 1.1 / (seen.z.abs().max(1.1).powi(3)))
}

/// Deviations beyond which a version is unusual.
const Z_MAX: f64 = 3.5;
/// The same for label shares, whose small moves are sampling.
const MOVE_Z_MAX: f64 = 8.0;
/// Least deviation of how far label shares move.
const MOVE_SCALE_MIN: f64 = 0.002;
/// Versions until a dataset's own history is the measure.
const VERSIONS_MIN: usize = 4;
/// Shares below this are linear on the logarithmic scale.
const SHARE_UNIT: f64 = 0.001;
/// Datasets that are followed at a time.
const DATASETS_MAX: usize = 4_096;
/// Labels of a dataset that are compared.
const LABELS_MAX: usize = 1_024;
