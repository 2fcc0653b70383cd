//! Reading back what is known of an artifact, for people.
//!
//! Nothing here decides: a statement is shown as it was signed, once its signature, its signer's right and its blob held.

use ringfence_schema::{
    Digest,
    evidence::{EvidenceKind, Statement},
    report::{ScanReport, ScreenReport},
};
use serde::Serialize;

use crate::{
    error::EngineError,
    record::{EvidenceRow, Version},
    vault::Vault,
};

/// A signed statement with its place in the trail.
#[derive(Debug, Clone, Serialize)]
pub struct ShownEvidence {
    /// What kind of statement.
    pub kind: EvidenceKind,
    /// Trail entry that commits to it.
    pub index: u64,
    /// SHA-256 of the envelope.
    pub envelope: Digest,
    /// SHA-256 of the full report; absent for provenance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Digest>,
    /// What it says.
    pub statement: Statement,
}

impl Vault<'_> {
    /// The statements on a version, oldest first, each with its signature checked.
    pub fn evidence_of(&self, version: &Version) -> Result<Vec<ShownEvidence>, EngineError> {
        let shown = |row: &EvidenceRow| {
            let bytes = self.blob("evidence", row.envelope)?;
            let signed = ringfence_trust::statement::open(&bytes, &self.root, row.index).map_err(|error| {
                EngineError::tampered(format!("{} of {}", row.kind.name(), version.reference()), error)
            })?;
            Ok(ShownEvidence {
                kind: row.kind,
                index: row.index,
                envelope: row.envelope,
                report: row.report,
                statement: signed.statement().clone(),
            })
        };
        version.evidence.iter().map(shown).collect()
    }

    /// The newest scan report on a version.
    pub fn scan_report(&self, version: &Version) -> Result<Option<ScanReport>, EngineError> {
        self.newest_report(version, EvidenceKind::Scan)
    }

    /// The newest screening report on a version.
    pub fn screen_report(&self, version: &Version) -> Result<Option<ScreenReport>, EngineError> {
        self.newest_report(version, EvidenceKind::Screen)
    }

    fn newest_report<T: serde::de::DeserializeOwned>(
        &self,
        version: &Version,
        kind: EvidenceKind,
    ) -> Result<Option<T>, EngineError> {
        let Some(digest) = version.newest(kind).and_then(|row| row.report) else { return Ok(None) };
        let report = serde_json::from_slice(&self.blob("report", digest)?);
        report
            .map(Some)
            .map_err(|error| EngineError::tampered(format!("{} report of {}", kind.name(), version.reference()), error))
    }
}
