//! Reading back what is known of an artifact, for people.
//!
//! Nothing here decides: a statement is shown as it was signed, once its signature, its signer's right and its blob held.

use ringfence_access::{Policies, PolicyDiff, VaultPolicy};
use ringfence_schema::{
    Digest,
    evidence::{EvidenceKind, Statement},
    report::{AttackReport, ScanReport, ScreenReport},
};
use ringfence_trust::checkpoint::Checkpoint;
use serde::{Deserialize, Serialize};

use crate::{
    error::EngineError,
    record::{EvidenceRow, Version},
    vault::{Vault, catalog_error},
};

/// A signed statement with its place in the trail.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShownEvidence {
    /// What kind of statement.
    pub kind: EvidenceKind,
    /// Trail entry that commits to it.
    pub index: u64,
    /// SHA-256 of the envelope.
    pub envelope: Digest,
    /// SHA-256 of the full report; absent for provenance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Digest>,
    /// What it says.
    pub statement: Statement,
}

/// That an entry is in the trail under a signed checkpoint (RFC 6962, section 2.1.1).
#[derive(Debug, Clone, Serialize)]
pub struct Inclusion {
    /// Entries under the checkpoint.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Digest,
    /// Hashes from the leaf up to the root.
    pub path: Vec<Digest>,
    /// The checkpoint as a signed note.
    pub note: String,
}

impl Vault<'_> {
    /// Proves that entry `index` is in the trail under the newest checkpoint. `None`: it is newer than that.
    pub fn inclusion(&self, index: u64) -> Result<Option<Inclusion>, EngineError> {
        let note = self.checkpoint()?;
        let Checkpoint { size, root, .. } = self
            .root
            .verify_checkpoint(note.as_bytes())
            .map_err(|error| EngineError::tampered("newest checkpoint", error))?;
        if index >= size {
            return Ok(None);
        }
        let path = self.catalog.prove_inclusion(index, size).map_err(|error| catalog_error(&error))?;
        Ok(Some(Inclusion { size, root, path, note }))
    }

    /// The policies in force.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// What the policy `document` would change if it took the place of the vault's own. Takes seconds.
    ///
    /// # Errors
    /// [`EngineError::Usage`] where it cannot be read.
    pub fn compare_policy(&self, document: &str) -> Result<PolicyDiff, EngineError> {
        let wrong = |error: String| EngineError::Usage { what: format!("the policy: {error}") };
        let policy = VaultPolicy::parse(document).map_err(|error| wrong(error.to_string()))?;
        let builtin = Policies::builtin().map_err(|error| EngineError::incomplete("policy", error))?;
        let proposed = builtin.with_vault(&policy).map_err(|error| wrong(error.to_string()))?;
        Ok(self.policies.diff(&proposed, self.facts().custody))
    }

    /// The newest robustness card of a version.
    pub fn attack_report(&self, version: &Version) -> Result<Option<AttackReport>, EngineError> {
        self.newest_report(version, EvidenceKind::Robustness)
    }

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
