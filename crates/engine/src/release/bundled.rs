//! The files of a release's bundle: which there are and where their bytes lie, from its release statement alone.
//!
//! Every file that the statement lists is either the artifact's or a blob under its SHA-256. The statement itself is a blob
//! too; the proof of its place in the trail is made each time, under the newest checkpoint.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};

use ringfence_schema::{Digest, Tree, evidence::EvidenceKind, tree::TreeEntry};
use ringfence_store::Manifest;

use crate::{
    bundle::{
        CommittedStatement, DECIDED, EvidenceFile, PROOF_FILE, ProofSchema, ProvenLeaf, RELEASE_FILE, ReleaseInput,
        ReleasePredicate, TrailProof, canonical, stand, write_synced,
    },
    error::EngineError,
    record::Version,
    vault::{Vault, catalog_error},
};

/// Where the bytes of a file of a bundle are.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// In the artifact, under the same path.
    Artifact,
    /// In a blob of this kind, under the file's SHA-256.
    Blob(&'static str),
    /// Here: they were made for this bundle.
    Made(Arc<[u8]>),
}

/// A bundle as it may be taken out.
pub(crate) struct Bundled {
    /// Its files in the order of their paths.
    pub(crate) tree: Tree,
    /// Where each file is.
    pub(crate) places: BTreeMap<String, Place>,
}

impl Vault<'_> {
    /// Writes the bundle of a released version as `folder`. The artifact's files are never in memory whole.
    pub(crate) fn write_bundle(&self, version: &Version, folder: &Path) -> Result<(), EngineError> {
        let manifest = self.manifest(version)?;
        let Bundled { tree, places } = self.bundled(version, &manifest)?;
        stand(folder, |fresh| {
            for file in tree.files() {
                let target = fresh.join(&file.path);
                if let Some(inner) = target.parent() {
                    fs::create_dir_all(inner).map_err(EngineError::io(inner))?;
                }
                let bytes = match places.get(&file.path) {
                    Some(Place::Blob(kind)) => self.blob(kind, file.sha256)?,
                    Some(Place::Made(bytes)) => bytes.to_vec(),
                    Some(Place::Artifact) | None => {
                        self.copy_out(&manifest, file, &target, &mut |_| {})?;
                        continue;
                    }
                };
                if Digest::of(&bytes) != file.sha256 {
                    return Err(EngineError::tampered(&file.path, OTHER_FILE));
                }
                write_synced(&target, &bytes)?;
            }
            Ok(())
        })
    }

    /// Every file of the bundle, and where it is. `manifest` is the version's.
    pub(crate) fn bundled(&self, version: &Version, manifest: &Manifest) -> Result<Bundled, EngineError> {
        let row = version.newest(EvidenceKind::Release).ok_or_else(|| EngineError::NotFound {
            what: "release statement of",
            name: version.reference().to_string(),
        })?;
        let release = self.blob("evidence", row.envelope)?;
        let broken = |why: &dyn std::fmt::Display| EngineError::tampered(RELEASE_FILE, why);
        let opened =
            ringfence_trust::statement::open(&release, &self.root, row.index).map_err(|error| broken(&error))?;
        let statement = opened.statement();
        let predicate: ReleasePredicate =
            serde_json::from_value(statement.predicate.clone()).map_err(|error| broken(&error))?;
        let statements: BTreeSet<&str> = predicate.evidence.iter().map(|listed| listed.file.as_str()).collect();
        let (mut files, mut places) = (Vec::new(), BTreeMap::new());
        let mut list = |path: &str, size: u64, sha256: Digest, place: Place| {
            files.push(TreeEntry { path: path.to_owned(), size, sha256 });
            places.insert(path.to_owned(), place);
        };
        let mut digests = BTreeMap::new();
        for subject in &statement.subject {
            let sha256 = subject.sha256().ok_or_else(|| broken(&"a file without digest"))?;
            digests.insert(subject.name.as_str(), sha256);
            if predicate.files.contains_key(&subject.name) {
                let own = manifest.tree().files().iter().find(|file| file.path == subject.name);
                let own = own.filter(|file| file.sha256 == sha256);
                let own = own.ok_or_else(|| EngineError::tampered(&subject.name, OTHER_FILE))?;
                list(&subject.name, own.size, sha256, Place::Artifact);
            } else {
                let kind = if statements.contains(subject.name.as_str()) { "evidence" } else { "report" };
                let size = self.blob(kind, sha256)?.len() as u64;
                list(&subject.name, size, sha256, Place::Blob(kind));
            }
        }
        let mut proven = vec![(row.index, row.commit.clone())];
        for listed in &predicate.evidence {
            proven.extend(self.place_of(digests.get(listed.file.as_str()).copied(), listed)?);
        }
        proven.push((row.index, DECIDED.to_owned()));
        proven.extend(self.admissions(&predicate)?.into_iter().map(|entry| (entry, DECIDED.to_owned())));
        let proof = canonical(&self.proof(&proven)?)?;
        list(RELEASE_FILE, release.len() as u64, row.envelope, Place::Blob("evidence"));
        list(PROOF_FILE, proof.len() as u64, Digest::of(&proof), Place::Made(proof.into()));
        // A statement that lists a file twice, or one of these two, is none of ours.
        let tree = Tree::new(files).map_err(|error| broken(&error))?;
        Ok(Bundled { tree, places })
    }

    /// The entries that let the inputs in: their admission, or their own release where they were made here.
    fn admissions(&self, predicate: &ReleasePredicate) -> Result<Vec<u64>, EngineError> {
        let versions = self.versions()?;
        let entry = |input: &ReleaseInput| {
            let fits =
                |version: &&Version| version.reference().to_string() == input.artifact && version.tree == input.tree;
            let version = versions.iter().find(fits)?;
            version.admitted.or_else(|| version.newest(EvidenceKind::Release).map(|row| row.index))
        };
        Ok(predicate.inputs.values().filter_map(entry).collect())
    }

    /// The entry and commitment name of a statement, from the rows that know it.
    fn place_of(&self, envelope: Option<Digest>, listed: &EvidenceFile) -> Result<Option<(u64, String)>, EngineError> {
        for version in self.versions()? {
            for row in &version.evidence {
                if Some(row.envelope) == envelope && row.kind == listed.kind {
                    return Ok(Some((row.index, row.commit.clone())));
                }
            }
        }
        Err(EngineError::tampered(&listed.file, "no row knows where it is in the trail"))
    }

    /// Proofs for the named commitments of entries, under the newest checkpoint.
    fn proof(&self, statements: &[(u64, String)]) -> Result<TrailProof, EngineError> {
        let note = self.checkpoint()?;
        let checkpoint =
            self.root.verify_checkpoint(note.as_bytes()).map_err(|error| EngineError::tampered("trail", error))?;
        let mut wanted: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for (index, name) in statements {
            wanted.entry(*index).or_default().push(name);
        }
        let mut leaves = Vec::new();
        for (index, names) in wanted {
            let stored = self
                .catalog
                .entry(index)
                .map_err(|error| catalog_error(&error))?
                .ok_or(EngineError::NotFound { what: "trail entry", name: index.to_string() })?;
            let hashes = self.catalog.prove_inclusion(index, checkpoint.size).map_err(|error| catalog_error(&error))?;
            let mut openings = self.openings(index)?;
            openings.retain(|name, opening| {
                let shown = name == DECIDED || CommittedStatement::of(opening).is_some();
                names.contains(&name.as_str()) && shown
            });
            leaves.push(ProvenLeaf::new(index, &stored.leaf, &hashes, openings));
        }
        Ok(TrailProof { schema: ProofSchema::One, checkpoint: note, leaves })
    }
}

/// What is said of a file that is not the one which was released.
const OTHER_FILE: &str = "it is not what the release statement lists";
