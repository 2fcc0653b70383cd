//! What people do with artifacts that are in the vault: get, find, roll back, review, verify.

use std::{collections::BTreeMap, fs, io::Write as _, path::Path};

use ringfence_access::{Action, Facts, NamespaceState, Resource};
use ringfence_schema::{
    Digest, Hasher, Reference, Selector,
    evidence::{EvidenceKind, EvidenceVerdict},
    report::{Check, VerifyReport, VerifySchema, VerifyVerdict},
    tree::TreeEntry,
};
use ringfence_store::Manifest;
use serde_json::json;

use crate::{
    act::{Act, Effect, Reach},
    admit::{Made, fill_index, resource},
    bundle::sync_folder,
    error::EngineError,
    record::Version,
    stage::{Admitted, Found, Inspected},
    team::Caller,
    vault::{Vault, namespace_of, store_error},
};

impl Vault<'_> {
    /// The version that `reference` names. `NAME` alone means the newest that is not in quarantine.
    pub fn find(&self, reference: &Reference) -> Result<Version, EngineError> {
        let versions = self.versions()?;
        let mut of_name = versions.iter().filter(|version| version.artifact == reference.artifact);
        let found = match &reference.selector {
            Selector::Latest => of_name.rfind(|version| version.state != NamespaceState::Quarantined),
            Selector::Version(number) => of_name.find(|version| version.version == *number),
            Selector::Label(label) => of_name.find(|version| version.labels.contains(label)),
            Selector::Digest(digest) => of_name.rfind(|version| version.tree == *digest),
        };
        found.cloned().ok_or_else(|| EngineError::NotFound { what: "artifact", name: reference.to_string() })
    }

    /// Writes a verified copy of a version to `destination`, which must not exist.
    pub fn get(&self, version: &Version, destination: &Path) -> Result<u64, EngineError> {
        version.still_there()?;
        if destination.symlink_metadata().is_ok() {
            return Err(EngineError::Usage {
                what: format!("`{}` exists; name a folder that does not", destination.display()),
            });
        }
        let act = Act {
            action: Action::Export,
            resources: vec![resource(version)],
            facts: Facts::default(),
            request: json!({"tree": version.tree, "what": "copy"}),
            subject: version.reference().to_string(),
            reach: Reach::Outside,
        };
        let (bytes, _) = self.act(act, || self.write_copy(version, destination).map(Effect::of))?;
        Ok(bytes)
    }

    fn write_copy(&self, version: &Version, destination: &Path) -> Result<u64, EngineError> {
        let manifest = self.manifest(version)?;
        let name = destination.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let part = destination.with_file_name(format!(".{name}.{}.part", std::process::id()));
        fs::create_dir_all(&part).map_err(EngineError::io(&part))?;
        let copied = self.fill(&manifest, &part);
        if copied.is_err() {
            // Nothing half-written stays behind; the first error is the one to tell.
            let _ = fs::remove_dir_all(&part);
        }
        let bytes = copied?;
        fs::rename(&part, destination).map_err(EngineError::io(destination))?;
        Ok(bytes)
    }

    fn fill(&self, manifest: &Manifest, folder: &Path) -> Result<u64, EngineError> {
        let mut total = 0;
        self.settings.progress.begin("writing", Some(manifest.tree().size()));
        for file in manifest.tree().files() {
            let target = folder.join(&file.path);
            if let Some(inner) = target.parent() {
                fs::create_dir_all(inner).map_err(EngineError::io(inner))?;
            }
            self.copy_out(manifest, file, &target, &mut |bytes| {
                total += bytes;
                self.settings.progress.advance(total, &file.path);
            })?;
        }
        self.settings.progress.end("");
        sync_folder(folder)?;
        Ok(total)
    }

    /// Writes a stored file as `target`, which must not exist, and makes it durable. `advance` hears of each piece.
    ///
    /// # Errors
    /// [`EngineError::Tampered`] for what is not what the manifest says.
    pub(crate) fn copy_out(
        &self,
        manifest: &Manifest,
        file: &TreeEntry,
        target: &Path,
        advance: &mut dyn FnMut(u64),
    ) -> Result<(), EngineError> {
        let mut reader = self.store.read(manifest, &file.path).map_err(|error| store_error(&error))?;
        let mut hasher = Hasher::new();
        let mut out = fs::File::create_new(target).map_err(EngineError::io(target))?;
        let mut spare = Vec::new();
        while let Some((chunk, from)) =
            reader.take_chunk(spare).map_err(|error| EngineError::tampered(&file.path, error))?
        {
            let piece = chunk.get(from..).unwrap_or_default();
            hasher.update(piece);
            out.write_all(piece).map_err(EngineError::io(target))?;
            advance(piece.len() as u64);
            spare = chunk;
        }
        out.sync_all().map_err(EngineError::io(target))?;
        if hasher.finish() == file.sha256 {
            Ok(())
        } else {
            Err(EngineError::tampered(&file.path, "it is not what its manifest says"))
        }
    }

    /// Makes an earlier version the newest one again: a new version with the same content and evidence.
    pub fn rollback(&self, version: &Version) -> Result<Version, EngineError> {
        version.still_there()?;
        let own = self.free_version(&version.artifact)?;
        let number = own.get();
        let act = Act {
            action: Action::Restore,
            resources: vec![resource(version)],
            facts: Facts::default(),
            request: json!({"to": version.reference().to_string(), "tree": version.tree}),
            subject: format!("{}@{number}", version.artifact),
            reach: Reach::Inside,
        };
        let (restored, _) = self.act(act, || {
            let manifest = self.manifest(version)?;
            let sealed = self.copy(&manifest, namespace_of(version.state))?;
            let mut restored = version.clone();
            restored.version = number;
            restored.manifest = sealed.manifest.to_string();
            restored.written = (self.settings.now)();
            let mut effect = Effect::of(restored.clone());
            effect.openings.insert("result".into(), json!({"tree": restored.tree}));
            for mut other in self.versions()? {
                let moves = other.artifact == restored.artifact
                    && other.labels.iter().any(|label| restored.labels.contains(label));
                if moves {
                    other.labels.retain(|label| !restored.labels.contains(label));
                    effect.versions.push(other);
                }
            }
            effect.versions.push(restored);
            effect.sealed.push(sealed);
            Ok(effect)
        })?;
        Ok(restored)
    }

    /// What waits in quarantine, and what was revoked.
    pub fn held(&self) -> Result<Vec<Version>, EngineError> {
        let mut versions = self.versions()?;
        versions.retain(|version| {
            version.destroyed.is_none() && (version.state == NamespaceState::Quarantined || version.revoked.is_some())
        });
        Ok(versions)
    }

    /// Lets a held version in despite what was found, or keeps a revoked one in use, with a reason that stays in the trail.
    pub fn approve(&self, version: &Version, reason: &str) -> Result<Admitted, EngineError> {
        let findings = 1 + version.waived;
        let reviewed = self.review(version, reason, EvidenceVerdict::Pass, |version| {
            version.waived = findings;
            version.revoked = None;
        })?;
        if reviewed.state != NamespaceState::Quarantined {
            return Ok(Admitted { version: reviewed, found: Found::default() });
        }
        self.admit(Inspected { version: reviewed, found: Found::default() })
    }

    /// Refuses a held version for good: its row stays, its bytes go with the next start.
    pub fn refuse(&self, version: &Version, reason: &str) -> Result<Version, EngineError> {
        self.review(version, reason, EvidenceVerdict::Block, |version| version.refused = Some(reason.to_owned()))
    }

    fn review(
        &self,
        version: &Version,
        reason: &str,
        verdict: EvidenceVerdict,
        change: impl FnOnce(&mut Version),
    ) -> Result<Version, EngineError> {
        version.still_there()?;
        let held = version.state == NamespaceState::Quarantined;
        if !held && (version.revoked.is_none() || verdict == EvidenceVerdict::Block) {
            return Err(EngineError::Usage { what: format!("`{}` is not held", version.reference()) });
        }
        if reason.trim().is_empty() {
            return Err(EngineError::Usage { what: "a review needs a reason".into() });
        }
        let act = Act {
            action: Action::Review,
            resources: vec![resource(version)],
            facts: Facts { requester: self.requester(version), ..Facts::default() },
            request: json!({"reason": reason, "verdict": verdict, "tree": version.tree}),
            subject: version.reference().to_string(),
            reach: Reach::Inside,
        };
        let (mut reviewed, index) = self.act(act, || {
            let made = self.evidence(&Made {
                kind: EvidenceKind::Review,
                name: version.reference().to_string(),
                subject: version.tree,
                rules: Digest::of(b"review"),
                config: json!({}),
                inputs: BTreeMap::new(),
                coverage: BTreeMap::new(),
                verdict,
                report: reason.as_bytes().to_vec(),
                summary: BTreeMap::from([("reason".to_owned(), json!(reason))]),
            })?;
            let mut reviewed = version.clone();
            change(&mut reviewed);
            let mut effect = Effect::of(());
            made.into_effect(&mut reviewed, &mut effect);
            Ok(effect.replace(reviewed))
        })?;
        fill_index(&mut reviewed, index);
        Ok(reviewed)
    }

    /// Who asked for a version, where several people share the vault; what is older than that was asked for by its owner then.
    fn requester(&self, version: &Version) -> Option<String> {
        self.is_shared().then(|| version.by.clone().unwrap_or_else(|| Caller::owner().person.id))
    }

    /// Reads and authenticates every stored byte, every signature of a manifest, and every statement.
    pub fn verify_all(&self) -> Result<VerifyReport, EngineError> {
        let act = Act {
            action: Action::Verify,
            resources: vec![Resource::Vault],
            facts: Facts::default(),
            request: json!({"what": "every stored byte"}),
            subject: "vault".into(),
            reach: Reach::Inside,
        };
        let (report, _) = self.act(act, || self.verify_stored().map(Effect::of))?;
        Ok(report)
    }

    fn verify_stored(&self) -> Result<VerifyReport, EngineError> {
        let versions = self.versions()?;
        let mut checks = Vec::new();
        let mut destroyed = Vec::new();
        let mut manifests = Vec::new();
        for version in &versions {
            if let Some(gone) = &version.destroyed {
                let check = self.check_destroyed(version, gone);
                if check.passed { destroyed.push(check) } else { checks.push(check) }
            }
            let detail = match self.manifest(version) {
                // The bytes of what was refused for good go with the next start.
                _ if !version.has_bytes() => None,
                Ok(manifest) => {
                    manifests.push(manifest.id());
                    None
                }
                Err(error) => Some(error.to_string()),
            };
            if let Some(detail) = detail {
                checks.push(Check { name: version.reference().to_string(), passed: false, detail });
            }
            for row in &version.evidence {
                let opened = self.blob("evidence", row.envelope).and_then(|bytes| {
                    ringfence_trust::statement::open(&bytes, &self.root, row.index)
                        .map_err(|error| EngineError::tampered(row.kind.name(), error))
                });
                if let Err(error) = opened {
                    checks.push(Check {
                        name: format!("{} {}", version.reference(), row.kind.name()),
                        passed: false,
                        detail: error.to_string(),
                    });
                }
            }
        }
        let verified = self.store.verify(&manifests).map_err(|error| store_error(&error))?;
        for damaged in &verified.damaged {
            checks.push(Check { name: damaged.file.clone(), passed: false, detail: damaged.damage.to_string() });
        }
        let sound = checks.is_empty();
        if sound {
            checks.push(Check {
                name: "store".into(),
                passed: true,
                detail: format!("{} versions, {} bytes read and authenticated", versions.len(), verified.bytes),
            });
        }
        checks.extend(destroyed);
        Ok(VerifyReport {
            schema: VerifySchema::One,
            verdict: if sound { VerifyVerdict::Verified } else { VerifyVerdict::Tampered },
            subject: self.settings.vault.display().to_string(),
            checks,
            facts: BTreeMap::from([("vault".to_owned(), self.id().to_string())]),
        })
    }
}
