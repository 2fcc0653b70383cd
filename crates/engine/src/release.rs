//! From a tested candidate to a bundle that others can verify offline.
//!
//! *Release* asks the gate, seals the candidate's bytes again as `model/NAME`, renders the report and signs the list of all
//! files. *Export* writes the bundle out: it can be written again at any time, from the release statement alone
//! ([`bundled`]).

pub(crate) mod bundled;

use std::{collections::BTreeMap, path::Path};

use ringfence_access::{Action, Facts, NamespaceState};
use ringfence_schema::{
    ArtifactKind, ArtifactName, Digest,
    evidence::{Evidence, EvidenceKind, Statement, Subject},
    report::{AttackReport, HardenReport},
};
use ringfence_store::Manifest;
use ringfence_trust::{keys::Namespace, statement};
use serde_json::json;

use crate::{
    act::{Act, Blob, Effect, Reach},
    admit::{fill_index, resource},
    bundle::{
        EVIDENCE_FOLDER, EvidenceFile, Files, PROOF_FILE, RELEASE_FILE, REPORT_FILE, REPORTS_FOLDER, ReleaseInput,
        ReleasePredicate,
    },
    error::EngineError,
    page::{Link, Page, Picture},
    plan::Plan,
    record::{EvidenceRow, Version},
    run::{Inputs, RunEnd},
    stage::{Released, Tested},
    vault::Vault,
};

/// Label of the newest released version.
const RELEASED: &str = "released";

/// What a release is made from, beside the candidate.
pub(crate) struct Showing<'a> {
    pub(crate) inputs: &'a [(String, Version)],
    pub(crate) screen: Option<&'a ringfence_schema::report::ScreenReport>,
    pub(crate) pictures: Vec<Picture>,
    pub(crate) training: Option<&'a HardenReport>,
    pub(crate) before: Option<&'a AttackReport>,
    pub(crate) after: Option<&'a AttackReport>,
    pub(crate) observed: &'a [(String, String)],
}

impl Vault<'_> {
    /// Releases what a run made, or writes a report that says why not.
    pub(crate) fn release(
        &self,
        plan: &Plan,
        tested: Tested,
        inputs: &Inputs,
        training: Option<&HardenReport>,
        observed: &[(String, String)],
        folder: Option<&Path>,
    ) -> Result<RunEnd, EngineError> {
        let Tested { version, before, after } = tested;
        let all: Vec<(String, Version)> =
            inputs.all().into_iter().map(|(role, version)| (role, version.clone())).collect();
        let train = inputs.data.get("train");
        let showing = Showing {
            inputs: &all,
            screen: train.and_then(|admitted| admitted.screen()),
            pictures: train
                .map(|admitted| admitted.found.pictures.iter().map(Picture::from).collect())
                .unwrap_or_default(),
            training,
            before: before.as_ref(),
            after: Some(&after),
            observed,
        };
        let called = folder.unwrap_or(Path::new(RELEASED));
        match self.pass_release(version.clone(), &showing, &plan.content.run.name, called) {
            Ok(released) => {
                if let Some(folder) = folder {
                    self.export(&released.version, folder)?;
                }
                Ok(RunEnd::Released { released, folder: folder.map(Path::to_owned) })
            }
            Err(EngineError::Refused { reasons, .. }) => {
                let report = folder.map(|folder| folder.with_extension("refused.html"));
                if let Some(report) = &report {
                    let page = self.page(&version, &showing, &reasons, called);
                    std::fs::write(report, page).map_err(EngineError::io(report))?;
                }
                Ok(RunEnd::Refused { candidate: version, reasons, report })
            }
            Err(error) => Err(error),
        }
    }

    /// Asks the gate about a candidate that is already in the vault, and writes the bundle out. A released version is
    /// only written out again.
    pub fn release_again(&self, version: &Version, folder: &Path) -> Result<Released, EngineError> {
        let released = if version.state == NamespaceState::Released {
            Released { version: version.clone() }
        } else {
            self.release_as(version, folder)?
        };
        self.export(&released.version, folder)?;
        Ok(released)
    }

    /// Asks the gate about a candidate that is already in the vault. What is released stays there, until its bundle is taken
    /// out with [`Vault::begin_bundle`].
    ///
    /// # Errors
    /// [`EngineError::Refused`] where the gate says no, with every reason; [`EngineError::NotFound`] where an input of the run
    /// is not in the vault any more.
    pub fn release_candidate(&self, version: &Version) -> Result<Released, EngineError> {
        self.release_as(version, Path::new(RELEASED))
    }

    /// The same, for a bundle that will be called `folder`.
    fn release_as(&self, version: &Version, folder: &Path) -> Result<Released, EngineError> {
        let run = version.run.as_ref().ok_or_else(|| EngineError::Refused {
            gate: "release",
            subject: version.reference().to_string(),
            reasons: vec!["only what came out of a run can be released".into()],
        })?;
        let versions = self.versions()?;
        let mut inputs = Vec::new();
        for input in &run.inputs {
            let found = versions
                .iter()
                .find(|known| known.reference().to_string() == input.artifact && known.tree == input.tree);
            let found = found.ok_or_else(|| EngineError::NotFound { what: "input", name: input.artifact.clone() })?;
            inputs.push((input.role.clone(), found.clone()));
        }
        let after = match version.newest(EvidenceKind::Robustness).and_then(|row| row.report) {
            Some(report) => serde_json::from_slice(&self.blob("report", report)?).ok(),
            None => None,
        };
        let screen = match inputs
            .iter()
            .find(|(role, _)| role == "train")
            .and_then(|(_, input)| input.newest(EvidenceKind::Screen))
        {
            Some(EvidenceRow { report: Some(report), .. }) => {
                serde_json::from_slice(&self.blob("report", *report)?).ok()
            }
            _ => None,
        };
        let showing = Showing {
            inputs: &inputs,
            screen: screen.as_ref(),
            pictures: Vec::new(),
            training: None,
            before: None,
            after: after.as_ref(),
            observed: &[],
        };
        let name = version.artifact.name().to_owned();
        self.pass_release(version.clone(), &showing, &name, folder)
    }

    /// The gate, and what it lets through: the artifact sealed again, the report, the signed list.
    fn pass_release(
        &self,
        version: Version,
        showing: &Showing<'_>,
        name: &str,
        folder: &Path,
    ) -> Result<Released, EngineError> {
        let reasons = self.evidence_of_another_policy(&version, showing.inputs)?;
        if !reasons.is_empty() {
            return Err(EngineError::Refused { gate: "release", subject: version.reference().to_string(), reasons });
        }
        let facts = self.gate_facts(&version)?;
        let name = ArtifactName::new(ArtifactKind::Model, name)
            .map_err(|error| EngineError::Usage { what: error.to_string() })?;
        let own = self.free_version(&name)?;
        let number = own.get();
        let act = Act {
            action: Action::Release,
            resources: vec![resource(&version)],
            facts,
            request: json!({"candidate": version.reference().to_string(), "tree": version.tree}),
            subject: format!("{name}@{number}"),
            reach: Reach::Inside,
        };
        let (mut released, index) = self.act(act, || self.make_release(&version, &name, number, showing, folder))?;
        fill_index(&mut released, index);
        Ok(Released { version: released })
    }

    /// What the policy of the release does not stand behind: nobody could verify a bundle with it.
    fn evidence_of_another_policy(
        &self,
        version: &Version,
        inputs: &[(String, Version)],
    ) -> Result<Vec<String>, EngineError> {
        let ours = self.policies.digest();
        let mut reasons = Vec::new();
        for (role, row) in evidence_of(version, inputs) {
            let bytes = self.blob("evidence", row.envelope)?;
            // What does not open, or is of another kind, is the gate's to judge.
            let Ok(signed) = statement::open(&bytes, &self.root, row.index) else { continue };
            let Ok(evidence) = serde_json::from_value::<Evidence>(signed.statement().predicate.clone()) else {
                continue;
            };
            if evidence.policy != ours {
                let remedy =
                    if role == "result" { "run the plan again" } else { "bring it in again, and run the plan" };
                reasons.push(format!(
                    "the {} evidence of `{role}` was made under policy {}, and {} is in force: {remedy}",
                    row.kind.name(),
                    evidence.policy.short(),
                    ours.short()
                ));
            }
        }
        Ok(reasons)
    }

    /// Seals the artifact again, renders the report and signs the list of files.
    pub(crate) fn make_release(
        &self,
        version: &Version,
        name: &ArtifactName,
        number: u64,
        showing: &Showing<'_>,
        folder: &Path,
    ) -> Result<Effect<Version>, EngineError> {
        let manifest = self.manifest(version)?;
        let sealed = self.copy(&manifest, Namespace::Admitted)?;
        let mut released = version.clone();
        released.artifact = name.clone();
        released.version = number;
        released.state = NamespaceState::Released;
        released.manifest = sealed.manifest.to_string();
        released.written = (self.settings.now)();
        released.labels = vec![RELEASED.to_owned()];
        let mut effect = Effect::of(());
        let (files, predicate) = self.assemble(&released, showing, folder, &manifest)?;
        if let Some(page) = files.0.get(REPORT_FILE) {
            effect.blobs.push(Blob::new("report", page.clone()));
        }
        let own = manifest.tree().files().iter().map(|file| (file.path.clone(), file.sha256));
        let subjects: BTreeMap<String, Digest> = files.digests().into_iter().chain(own).collect();
        let subjects = subjects.into_iter().map(|(path, digest)| Subject::new(path, digest)).collect();
        let predicate = serde_json::to_value(&predicate).map_err(|error| EngineError::incomplete("release", error))?;
        let statement = Statement::new(EvidenceKind::Release, subjects, predicate);
        let signed = self.sign(EvidenceKind::Release, released.tree, &statement, None)?;
        signed.into_effect(&mut released, &mut effect);
        self.move_label(&released, &mut effect)?;
        effect.sealed.push(sealed);
        Ok(effect.replace(released))
    }

    /// Takes the label from the version that had it.
    fn move_label<T>(&self, released: &Version, effect: &mut Effect<T>) -> Result<(), EngineError> {
        for mut other in self.versions()? {
            if other.artifact == released.artifact && other.labels.iter().any(|label| label == RELEASED) {
                other.labels.retain(|label| label != RELEASED);
                effect.versions.push(other);
            }
        }
        Ok(())
    }

    /// Every file of the bundle but the artifact's own, the statement and the proof.
    fn assemble(
        &self,
        released: &Version,
        showing: &Showing<'_>,
        folder: &Path,
        manifest: &Manifest,
    ) -> Result<(Files, ReleasePredicate), EngineError> {
        let mut files = Files::default();
        let mut evidence = Vec::new();
        for (role, row) in evidence_of(released, showing.inputs) {
            let file = format!("{EVIDENCE_FOLDER}/{role}-{}.dsse.json", row.kind.name());
            files.add(&file, self.blob("evidence", row.envelope)?)?;
            let mut report = None;
            if let Some(digest) = row.report {
                let path = format!("{REPORTS_FOLDER}/{role}-{}.json", row.kind.name());
                files.add(&path, self.blob("report", digest)?)?;
                report = Some(path);
            }
            evidence.push(EvidenceFile { file, kind: row.kind, subject: row.subject, report });
        }
        for file in manifest.tree().files() {
            let taken = files.0.contains_key(&file.path)
                || [REPORT_FILE, RELEASE_FILE, PROOF_FILE].contains(&file.path.as_str());
            if taken {
                return Err(EngineError::Usage {
                    what: format!("an output is called `{}`, which a bundle needs itself", file.path),
                });
            }
        }
        let page = self.page(released, showing, &[], folder);
        files.add(REPORT_FILE, page.into_bytes())?;
        let inputs = showing
            .inputs
            .iter()
            .map(|(role, version)| {
                let input = ReleaseInput {
                    artifact: version.reference().to_string(),
                    tree: version.tree,
                    exempt: version.exempt,
                };
                (role.clone(), input)
            })
            .collect();
        let predicate = ReleasePredicate {
            vault: self.id().to_string(),
            artifact: released.reference().to_string(),
            tree: released.tree,
            files: manifest.tree().files().iter().map(|file| (file.path.clone(), file.size)).collect(),
            policy: self.policies.digest(),
            issued_ms: released.written,
            evidence,
            inputs,
            waived: released.waived,
        };
        Ok((files, predicate))
    }

    /// The report for people.
    fn page(&self, version: &Version, showing: &Showing<'_>, refusals: &[String], folder: &Path) -> String {
        let mut chain = Vec::new();
        for (role, input) in showing.inputs {
            chain.push(Link {
                what: format!("{role}: {}", input.artifact.kind()),
                subject: input.reference().to_string(),
                digest: input.tree.to_string(),
                index: None,
            });
            chain.extend(links(input));
        }
        chain.push(Link {
            what: "result".into(),
            subject: version.reference().to_string(),
            digest: version.tree.to_string(),
            index: None,
        });
        chain.extend(links(version));
        let bundle = folder.file_name().map_or_else(|| "released".into(), |name| name.to_string_lossy().into_owned());
        let verify = [
            "# in the vault that released it, once, and then over a channel that you trust:".to_owned(),
            "ringfence show root > vault.root".to_owned(),
            "# wherever the bundle is:".to_owned(),
            format!("ringfence verify {bundle} --root vault.root"),
        ];
        let page = Page {
            name: version.reference().to_string(),
            made: (self.settings.now)(),
            refusals,
            screen: showing.screen,
            pictures: &showing.pictures,
            training: showing.training,
            before: showing.before,
            after: showing.after,
            observed: showing.observed,
            chain: &chain,
            verify: &verify,
        };
        page.render()
    }

    /// Writes the bundle of a released version.
    pub(crate) fn export(&self, version: &Version, folder: &Path) -> Result<(), EngineError> {
        self.act(bundle_leaves(version), || {
            self.write_bundle(version, folder)?;
            Ok(Effect::of(()))
        })
        .map(|_| ())
    }
}

/// The signed bundle of a release leaves the vault, and nothing else, as policies see it.
pub(crate) fn bundle_leaves(version: &Version) -> Act {
    Act {
        action: Action::Export,
        resources: vec![resource(version)],
        facts: Facts { bundle: true, ..Facts::default() },
        request: json!({"tree": version.tree, "what": "bundle"}),
        subject: version.reference().to_string(),
        reach: Reach::Outside,
    }
}

/// The evidence that goes with a release, by role: of the result, and of what it was made from.
fn evidence_of(result: &Version, inputs: &[(String, Version)]) -> Vec<(String, EvidenceRow)> {
    let own = |role: &str, version: &Version| -> Vec<(String, EvidenceRow)> {
        let rows = version.evidence.iter().filter(|row| row.subject == version.tree);
        rows.map(|row| (role.to_owned(), row.clone())).collect()
    };
    let mut rows = own("result", result);
    for (role, version) in inputs {
        rows.extend(own(role, version));
    }
    newest_of_kind(rows)
}

/// Of several statements of one kind on one subject, the newest by index decides.
fn newest_of_kind(rows: Vec<(String, EvidenceRow)>) -> Vec<(String, EvidenceRow)> {
    let mut newest: BTreeMap<(String, EvidenceKind), EvidenceRow> = BTreeMap::new();
    for (role, row) in rows {
        let place = newest.entry((role, row.kind)).or_insert_with(|| row.clone());
        if row.index > place.index {
            *place = row;
        }
    }
    newest.into_iter().map(|((role, _), row)| (role, row)).collect()
}

fn links(version: &Version) -> Vec<Link> {
    version
        .evidence
        .iter()
        .filter(|row| row.index != crate::act::PENDING)
        .map(|row| Link {
            what: row.kind.name().to_owned(),
            subject: version.reference().to_string(),
            digest: row.envelope.to_string(),
            index: Some(row.index),
        })
        .collect()
}
