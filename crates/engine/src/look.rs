//! Looking into a stored artifact: every file is scanned, and the weights of a model are put into a few figures.
//!
//! Both are done by keyless children, side by side, which get the file piece by piece: it is never in memory whole, and its
//! plaintext never on a disk. The figures are part of what is
//! signed as scan evidence, with what they cannot tell; they bear on no verdict, and a child that fails over them costs
//! nothing but the figures.

use std::{collections::BTreeMap, thread};

use ringfence_schema::{
    ArtifactKind,
    report::{FileReport, ScanReport},
    tree::TreeEntry,
    weights::{WeightEvidence, WeightSummary},
};
use ringfence_store::Manifest;
use serde_json::{Value, json};

use crate::{
    error::EngineError,
    files::{NO_REPORT, unread},
    remote,
    vault::{Vault, store_error},
    work::{Desk, Job},
};

/// Largest file whose numbers are looked at, in bytes: minutes of one core.
pub(crate) const WEIGHED_BYTES_MAX: u64 = 16 << 30;
/// Formats that hold weights, as a scan calls them.
const WEIGHT_FORMATS: [&str; 6] = ["safetensors", "npy", "npz", "pytorch-zip", "gguf", "onnx"];

impl Vault<'_> {
    /// Scans every file of a stored artifact, each in a child of its own.
    pub(crate) fn scan_manifest(&self, manifest: &Manifest, kind: ArtifactKind) -> Result<ScanReport, EngineError> {
        let weighs = matches!(kind, ArtifactKind::Model | ArtifactKind::Checkpoint);
        let (mut reports, mut summaries) = (Vec::new(), Vec::new());
        for file in manifest.tree().files() {
            if weighs {
                let (report, summary) = self.scan_and_weigh(manifest, file)?;
                reports.push(report);
                summaries.extend(summary);
            } else {
                reports.push(self.scan_one(manifest, file)?);
            }
        }
        let mut report = ScanReport::new(reports);
        report.weights = WeightEvidence::new(summaries);
        Ok(report)
    }

    fn scan_one(&self, manifest: &Manifest, file: &TreeEntry) -> Result<FileReport, EngineError> {
        let job = Job::ScanElsewhere { path: file.path.clone(), size: file.size, whole: true };
        let mut one = None;
        let called = self.look_through(manifest, &file.path, |theirs| {
            Desk::new(self.settings).call(&file.path, &job, theirs, &mut |report| one = Some(report))
        })?;
        Ok(match (called, one) {
            (Ok(_), Some(report)) => report,
            (Err(error), _) => unread(&file.path, file.size, &error.to_string()),
            (Ok(_), None) => unread(&file.path, file.size, NO_REPORT),
        })
    }

    fn scan_and_weigh(
        &self,
        manifest: &Manifest,
        file: &TreeEntry,
    ) -> Result<(FileReport, Option<WeightSummary>), EngineError> {
        let mut beside = match file.size {
            ..=WEIGHED_BYTES_MAX => Some(self.store.read(manifest, &file.path).map_err(|error| store_error(&error))?),
            _ => None,
        };
        let program = &self.settings.program;
        let (report, weighed) = thread::scope(|scope| {
            let weighing = beside.as_mut().map(|reader| {
                scope.spawn(move || {
                    let job = Job::WeightSummary { path: file.path.clone(), size: file.size };
                    let weigh = |theirs| Desk::silent(program).ask::<Option<WeightSummary>>(&file.path, &job, theirs);
                    remote::beside(vec![reader], weigh).map_err(|error| EngineError::incomplete(&file.path, error))?
                })
            });
            let report = self.scan_one(manifest, file);
            (report, weighing.map(thread::ScopedJoinHandle::join))
        });
        let report = report?;
        let has_weights = WEIGHT_FORMATS.contains(&report.format.as_str());
        let left_out = |why: String| has_weights.then(|| WeightSummary::left_out(&file.path, &report.format, why));
        let summary = match weighed {
            Some(Ok(Ok(summary))) => summary.map(|summary| summary.bounded(&file.path)),
            Some(Ok(Err(error))) => left_out(error.to_string()),
            Some(Err(_)) => left_out("the thread that waits for its figures ended".into()),
            None => left_out(format!(
                "skipped: {} bytes, and numbers are looked at up to {WEIGHED_BYTES_MAX}; `ringfence scan --weights` reads it",
                file.size
            )),
        };
        Ok((report, summary))
    }
}

/// How a stored artifact is scanned, for evidence.
pub(crate) fn scan_config() -> Value {
    json!({"limits": "default", "storages": "whole", "weighed_bytes_max": WEIGHED_BYTES_MAX})
}

/// What the statement itself says of a scan.
pub(crate) fn scan_summary(report: &ScanReport) -> BTreeMap<String, Value> {
    let mut summary = BTreeMap::from([("verdict".to_owned(), json!(report.verdict))]);
    if let Some(weights) = &report.weights {
        let left_out = weights.sum(|file| u64::from(file.left_out.is_some()));
        let figures = [
            ("tensors", weights.sum(|file| file.tensors)),
            ("not_finite", weights.sum(|file| file.nan.saturating_add(file.infinite))),
            ("weights_left_out", left_out),
        ];
        // What is zero is left out, but for the count that says that anything was looked at.
        let told = figures.into_iter().filter(|(name, count)| *name == "tensors" || *count > 0);
        summary.extend(told.map(|(name, count)| (name.to_owned(), json!(count))));
    }
    summary
}
