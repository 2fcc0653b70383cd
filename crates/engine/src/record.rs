//! The rows that the vault keeps: versions of artifacts, and what is known of them.
//!
//! Rows are sealed before they reach the catalog and are folds of trail entries. Reading one back proves nothing about the
//! artifact: the stages in [`crate::stage`] are earned again by checking signatures.

use ringfence_schema::{ArtifactName, Digest, Reference, Selector, Timestamp, evidence::EvidenceKind};
use ringfence_store::ManifestId;
use serde::{Deserialize, Serialize};

use ringfence_access::{Exemptions, NamespaceState};

use crate::{error::EngineError, provenance::Input};

/// One version of an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// The artifact.
    pub artifact: ArtifactName,
    /// Counted from 1 within the artifact.
    pub version: u64,
    /// How far it has come.
    pub state: NamespaceState,
    /// The store's manifest.
    pub manifest: String,
    /// Identity of what it consists of now.
    pub tree: Digest,
    /// How many files that is.
    pub files: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Identity of the bytes that entered quarantine; differs from the tree's where records were filtered.
    pub source: Digest,
    /// When this row was written.
    pub written: Timestamp,
    /// Evidence on the source and on the tree, oldest first.
    pub evidence: Vec<EvidenceRow>,
    /// How a dataset is read; absent for models and code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<Reading>,
    /// Labels, such as `released`.
    #[serde(default)]
    pub labels: Vec<String>,
    /// A person refused it for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Controls that were left out on request.
    #[serde(default)]
    pub exempt: Exemptions,
    /// Findings that people waived.
    #[serde(default)]
    pub waived: u64,
    /// What a candidate came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunRow>,
    /// Where it was fetched, if it was not read from this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<OriginRow>,
    /// Why a later look found that it should not be used any more. The evidence decides; this is for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
    /// Who brought it in, or started the run that made it, where several people share the vault: they do not review it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Trail entry that let it out of quarantine; absent for what was made here, and for what came in before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admitted: Option<u64>,
    /// Its keys were destroyed: nothing but this row and what was said of it is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroyed: Option<Destruction>,
}

/// That, when and why a version's keys were destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destruction {
    /// Opaque id of who did it; who approved is in the trail.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// Trail entry of it.
    pub entry: u64,
    /// SHA-256 of the list of the ledger's keys that went with it, whose blob lies beside the row.
    pub keys: Digest,
}

/// Where an artifact was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginRow {
    /// The source as it was asked for, such as `hf://org/model@main`.
    pub asked: String,
    /// The same, pinned: asking for it again gives the same bytes or an error.
    pub pinned: String,
    /// What it was resolved to, such as a commit.
    pub revision: String,
}

impl Version {
    /// `kind/name@version`.
    pub fn reference(&self) -> Reference {
        Reference { artifact: self.artifact.clone(), selector: Selector::Version(self.version) }
    }

    /// The store's name of its manifest.
    pub(crate) fn manifest_id(&self) -> Result<ManifestId, EngineError> {
        self.manifest
            .parse()
            .map_err(|_| EngineError::tampered(format!("row of {}", self.reference()), "it names no manifest"))
    }

    /// Whether it still has bytes that somebody may need: not after it was refused for good, or destroyed.
    pub(crate) fn has_bytes(&self) -> bool {
        self.refused.is_none() && self.destroyed.is_none()
    }

    /// The newest evidence of `kind`.
    pub fn newest(&self, kind: EvidenceKind) -> Option<&EvidenceRow> {
        self.evidence.iter().filter(|row| row.kind == kind).max_by_key(|row| row.index)
    }

    /// Whether a control has looked into it, whatever it found.
    pub fn is_looked_into(&self) -> bool {
        [EvidenceKind::Scan, EvidenceKind::Screen].iter().any(|kind| self.newest(*kind).is_some())
    }
}

/// A signed statement in the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceRow {
    /// What kind of statement.
    pub kind: EvidenceKind,
    /// What it speaks of.
    pub subject: Digest,
    /// SHA-256 of the envelope file, which names its blob in the catalog.
    pub envelope: Digest,
    /// Trail entry that commits to it.
    pub index: u64,
    /// Name of the commitment in that entry.
    pub commit: String,
    /// SHA-256 of the full report, whose blob lies beside it; absent for provenance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Digest>,
}

/// How a dataset is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// Label column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Shape of one example.
    #[serde(default)]
    pub shape: Vec<usize>,
    /// Factor from stored values to the model's input.
    #[serde(default = "one")]
    pub scale: f32,
    /// What becomes of flagged records: test data is looked at, but figures should be about all of it.
    #[serde(default)]
    pub flagged: Flagged,
    /// Path of the separate labels file inside the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
}

impl Default for Reading {
    fn default() -> Self {
        Self { label: None, shape: Vec::new(), scale: one(), flagged: Flagged::default(), labels: None }
    }
}

/// What becomes of records that screening would filter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flagged {
    /// They do not enter.
    #[default]
    Leave,
    /// They stay, and the report names them.
    Keep,
}

fn one() -> f32 {
    1.0
}

/// Where a candidate came from, and what testing it needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRow {
    /// The run's id.
    pub id: String,
    /// What went in.
    pub inputs: Vec<Input>,
}
