//! What a released folder consists of, and how it is written.
//!
//! `release.dsse.json` is an in-toto statement whose subjects are every other file of the folder but `trail.json`, each by
//! its SHA-256; its predicate is a [`ReleasePredicate`]. `trail.json` is a [`TrailProof`]: a signed checkpoint and, for the
//! release and each piece of evidence, the trail's leaf, its inclusion proof and the opening of the commitment that names
//! the statement; and for the release and each admission who was let through ([`Decided`]). Both are canonical JSON with no field that is not checked, so that any changed byte shows.

use std::{collections::BTreeMap, fs, io::Write as _, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ringfence_access::{Action, Custody, Exemptions, Facts, Person};
use ringfence_schema::{
    Digest, Timestamp, canon,
    digest::{from_hex, hex},
    evidence::EvidenceKind,
    trail::Opening,
};
use serde::{Deserialize, Serialize};

use crate::error::EngineError;

/// The signed list of files.
pub const RELEASE_FILE: &str = "release.dsse.json";
/// The proofs of inclusion in the trail.
pub const PROOF_FILE: &str = "trail.json";
/// The report for people.
pub const REPORT_FILE: &str = "report.html";
/// Folder of the evidence.
pub const EVIDENCE_FOLDER: &str = "evidence";
/// Folder of full reports that evidence names by digest.
pub const REPORTS_FOLDER: &str = "reports";

/// Largest number of files in a bundle.
pub const FILES_MAX: usize = 4_096;

/// What the release statement says beside its list of files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleasePredicate {
    /// The vault.
    pub vault: String,
    /// What is released, such as `model/digits-robust@1`.
    pub artifact: String,
    /// Identity of the artifact: `ringfence.tree/1` over its own files.
    pub tree: Digest,
    /// The artifact's own files with their sizes in bytes.
    pub files: BTreeMap<String, u64>,
    /// Policy in force.
    pub policy: Digest,
    /// When it was released.
    pub issued_ms: Timestamp,
    /// The evidence that the gate read.
    pub evidence: Vec<EvidenceFile>,
    /// The inputs of the run that made it, by role.
    pub inputs: BTreeMap<String, ReleaseInput>,
    /// Findings that people waived.
    pub waived: u64,
}

/// One piece of evidence in the bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceFile {
    /// Its path in the bundle.
    pub file: String,
    /// What kind of statement.
    pub kind: EvidenceKind,
    /// What it speaks of.
    pub subject: Digest,
    /// Path of the full report that it names, if that is in the bundle.
    pub report: Option<String>,
}

/// An input of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseInput {
    /// Such as `dataset/digits-robust-train@1`.
    pub artifact: String,
    /// Identity of what the run was given.
    pub tree: Digest,
    /// Controls that were left out at admission.
    pub exempt: Exemptions,
}

/// Tag of [`TrailProof`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProofSchema {
    /// The only version so far.
    #[serde(rename = "ringfence.trail-proof/1")]
    One,
}

/// Proofs that statements are in the trail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrailProof {
    /// Tag.
    pub schema: ProofSchema,
    /// A C2SP checkpoint as a signed note.
    pub checkpoint: String,
    /// The leaves, by rising index.
    pub leaves: Vec<ProvenLeaf>,
}

/// One leaf with its proof.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenLeaf {
    /// Index in the trail.
    pub index: u64,
    /// The leaf's bytes, base64.
    pub leaf: String,
    /// RFC 6962 inclusion proof, hexadecimal, from the leaf up.
    pub proof: Vec<String>,
    /// Openings of some of the leaf's commitments, by name.
    pub openings: BTreeMap<String, Opening>,
}

impl ProvenLeaf {
    /// Puts a leaf and its proof together.
    pub fn new(index: u64, leaf: &[u8], proof: &[Digest], openings: BTreeMap<String, Opening>) -> Self {
        let proof = proof.iter().map(|digest| hex(digest.as_bytes())).collect();
        Self { index, leaf: STANDARD.encode(leaf), proof, openings }
    }

    /// The leaf's bytes.
    pub fn leaf_bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.leaf).ok()
    }

    /// The proof's hashes.
    pub fn hashes(&self) -> Option<Vec<Digest>> {
        let hash = |text: &String| from_hex(text)?.try_into().ok().map(Digest::from_bytes);
        self.proof.iter().map(hash).collect()
    }
}

/// The value behind the commitment to a statement: its file's SHA-256 and what it speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommittedStatement {
    /// SHA-256 of the envelope file.
    pub envelope: Digest,
    /// What kind of statement.
    pub kind: EvidenceKind,
    /// What it speaks of.
    pub subject: Digest,
}

impl CommittedStatement {
    /// The statement that `opening` stands for, if it stands for one.
    pub fn of(opening: &Opening) -> Option<Self> {
        serde_json::from_value(opening.value.clone()).ok()
    }
}

/// Name of the opening that holds a [`Decided`].
pub const DECIDED: &str = "decided";

/// Who was let through a gate: what the decision read of whoever asked, beside the evidence. It is committed to by the
/// outcome of an admission or release, so that the gate can be asked again anywhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// Which gate.
    pub action: Action,
    /// The facts about whoever asked: login, second factor, approvals as opaque ids. No evidence is among them.
    pub asker: Facts,
    /// In how many hands the vault was.
    pub custody: Custody,
    /// Who asked, by opaque id, with the roles of that moment.
    pub person: Person,
    /// What was let through.
    pub subject: String,
    /// Its identity.
    pub tree: Option<Digest>,
}

impl Decided {
    /// The decision that `opening` stands for, if it stands for one.
    pub fn of(opening: &Opening) -> Option<Self> {
        serde_json::from_value(opening.value.clone()).ok()
    }
}

/// A bundle's files by path, collected in memory before the first is written.
#[derive(Debug, Default)]
pub(crate) struct Files(pub(crate) BTreeMap<String, Vec<u8>>);

impl Files {
    /// Adds a file; a path that is taken is refused.
    pub(crate) fn add(&mut self, path: impl Into<String>, bytes: Vec<u8>) -> Result<(), EngineError> {
        let path = path.into();
        let reserved = [RELEASE_FILE, PROOF_FILE];
        if self.0.contains_key(&path) || reserved.contains(&path.as_str()) {
            return Err(EngineError::Usage {
                what: format!("an output is called `{path}`, which a bundle needs itself"),
            });
        }
        self.0.insert(path, bytes);
        Ok(())
    }

    /// Every file by path with its SHA-256.
    pub(crate) fn digests(&self) -> BTreeMap<String, Digest> {
        self.0.iter().map(|(path, bytes)| (path.clone(), Digest::of(bytes))).collect()
    }
}

/// Makes a bundle as `folder`, with what `fill` puts into a folder beside it, which is then renamed: a half-written bundle is never
/// found under its name.
pub(crate) fn stand(folder: &Path, fill: impl FnOnce(&Path) -> Result<(), EngineError>) -> Result<(), EngineError> {
    let (parent, name) = place(folder)?;
    let fresh = parent.join(format!(".{name}.new"));
    remove_folder(&fresh)?;
    fs::create_dir_all(parent).map_err(EngineError::io(parent))?;
    fs::create_dir(&fresh).map_err(EngineError::io(&fresh))?;
    fill(&fresh)?;
    sync_folder(&fresh)?;
    put(&fresh, folder)
}

/// The folder in which `folder` is to stand, and its name there.
fn place(folder: &Path) -> Result<(&Path, String), EngineError> {
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = folder
        .file_name()
        .ok_or_else(|| EngineError::Usage { what: format!("`{}` is no folder name", folder.display()) })?;
    Ok((parent, name.to_string_lossy().into_owned()))
}

/// Refuses a place where something stands that is no bundle.
pub(crate) fn may_stand_at(folder: &Path) -> Result<(), EngineError> {
    if folder.symlink_metadata().is_err() || is_bundle(folder) {
        return Ok(());
    }
    Err(EngineError::Usage { what: format!("`{}` exists and is no released bundle", folder.display()) })
}

/// Gives the whole and durable bundle `fresh` the name `folder`, beside it. An earlier bundle there is kept under another name
/// until the new one stands.
pub(crate) fn put(fresh: &Path, folder: &Path) -> Result<(), EngineError> {
    let (parent, name) = place(folder)?;
    let old = parent.join(format!(".{name}.old"));
    remove_folder(&old)?;
    may_stand_at(folder)?;
    if folder.symlink_metadata().is_ok() {
        fs::rename(folder, &old).map_err(EngineError::io(folder))?;
    }
    fs::rename(fresh, folder).map_err(EngineError::io(folder))?;
    sync_folder(parent)?;
    remove_folder(&old)
}

/// Whether a folder looks like one that this module wrote, and may be replaced.
fn is_bundle(folder: &Path) -> bool {
    folder.symlink_metadata().is_ok_and(|facts| facts.is_dir()) && folder.join(RELEASE_FILE).is_file()
}

fn remove_folder(folder: &Path) -> Result<(), EngineError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(EngineError::io(folder)(error)),
        _ => Ok(()),
    }
}

/// Creates a file that must not exist, and makes it durable.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), EngineError> {
    let create = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    create().map_err(EngineError::io(path))
}

/// Writes a file whole or not at all, over an older one if there is one.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), EngineError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let part = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
    let written = write_synced(&part, bytes).and_then(|()| fs::rename(&part, path).map_err(EngineError::io(path)));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&part);
    }
    written?;
    sync_folder(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// Makes a folder's entries durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), EngineError> {
    fs::File::open(folder).and_then(|file| file.sync_all()).map_err(EngineError::io(folder))
}

/// Canonical JSON of something that always has one.
pub(crate) fn canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, EngineError> {
    canon::to_canonical(value).map_err(|error| EngineError::incomplete("canonical JSON", error))
}
