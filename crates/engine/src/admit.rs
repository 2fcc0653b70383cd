//! From a stranger's files to an admitted artifact: receive, inspect, admit.
//!
//! *Receive* reads the input once, links not followed, into the sealed quarantine. *Inspect* lets keyless children scan
//! models and screen datasets, signs what they found, and puts a dataset without its filtered records in the place of the
//! one that came. *Admit* asks the gate and seals the bytes again under the keys of what is admitted.

use std::{collections::BTreeMap, fs::File, os::fd::OwnedFd, path::Path, thread};

use ringfence_access::{Action, EvidenceFacts, Exemptions, Facts, NamespaceState, Resource};
use ringfence_reach::Source;
use ringfence_schema::{
    ArtifactKind, ArtifactName, Digest, Verdict,
    evidence::{Evidence, EvidenceKind, EvidenceVerdict, Statement, Subject},
    finding::Severity,
    report::{Decision, RecordDecision, ScanReport, ScreenReport},
    tree::TreeEntry,
};
use ringfence_store::{Cuts, Manifest, Sealed, Writer};
use ringfence_trust::{entropy::SystemEntropy, keys::Namespace, statement};
use serde_json::{Value, json};

use crate::{
    act::{Act, Blob, Effect, PENDING, Reach},
    bundle::{CommittedStatement, canonical},
    error::EngineError,
    look::{scan_config, scan_summary},
    model::{CONFIGURATION, described_by, needs_description},
    page::PICTURES_MAX,
    record::{EvidenceRow, Flagged, OriginRow, Reading, Version},
    remote,
    source::{self, Bounded},
    stage::{Admitted, Found, Inspected, Untrusted},
    vault::{Vault, namespace_of, store_error},
    work::{Desk, GreyPicture, Job},
};

/// What is to be admitted.
#[derive(Debug, Clone)]
pub struct Intake<'a> {
    /// Where it is.
    pub from: Origin<'a>,
    /// Its name in the vault.
    pub name: ArtifactName,
    /// How a dataset is read.
    pub reading: Reading,
    /// A dataset's separate labels file.
    pub labels: Option<&'a Path>,
    /// Controls to leave out.
    pub exempt: Exemptions,
}

/// Where a stranger's files are.
#[derive(Debug, Clone, Copy)]
pub enum Origin<'a> {
    /// On this machine: a file or folder.
    Files(&'a Path),
    /// Elsewhere.
    Source(&'a Source),
}

/// Largest file that enters quarantine, in bytes.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 40;
/// How long evidence counts, in milliseconds: a year; a vault's policy may set less.
const EVIDENCE_LIFE_MS: u64 = 365 * 86_400_000;

impl Vault<'_> {
    /// Receives, inspects and admits.
    pub fn add(&self, intake: &Intake<'_>) -> Result<Admitted, EngineError> {
        let untrusted = self.receive(intake)?;
        let inspected = self.inspect(untrusted)?;
        let admitted = self.admit(inspected)?;
        self.watch_version(&admitted.version)?;
        Ok(admitted)
    }

    /// Reads the input once into sealed quarantine.
    pub(crate) fn receive(&self, intake: &Intake<'_>) -> Result<Untrusted, EngineError> {
        match intake.from {
            Origin::Files(path) => self.receive_files(intake, path),
            Origin::Source(source) => self.receive_source(intake, source),
        }
    }

    fn receive_files(&self, intake: &Intake<'_>, path: &Path) -> Result<Untrusted, EngineError> {
        let mut files = source::files(path)?;
        let mut reading = intake.reading.clone();
        if let Some(labels) = intake.labels {
            let more = source::files(labels)?;
            reading.labels = more.first().map(|file| file.path.clone());
            files.extend(more);
        }
        let request = json!({"files": files.len(), "reading": reading, "exempt": intake.exempt});
        self.take_in(intake, reading, request, |writer| {
            self.settings.progress.begin("reading", Some(files.len() as u64));
            for (done, file) in files.iter().enumerate() {
                let mut content = Bounded::new(source::open(&file.place)?, FILE_BYTES_MAX);
                writer.file(&file.path, &mut content, Cuts::Content).map_err(|error| store_error(&error))?;
                self.settings.progress.advance(done as u64 + 1, &file.path);
            }
            self.settings.progress.end("");
            Ok(None)
        })
    }

    /// Records a receipt: `fill` writes the files into quarantine and tells where they came from, if not from this machine.
    pub(crate) fn take_in(
        &self,
        intake: &Intake<'_>,
        reading: Reading,
        request: Value,
        fill: impl FnOnce(&mut Writer) -> Result<Option<OriginRow>, EngineError>,
    ) -> Result<Untrusted, EngineError> {
        self.receive_sealed(intake, reading, request, || {
            let mut writer = self.writer(Namespace::Quarantine)?;
            let origin = fill(&mut writer)?;
            Ok((self.finish(writer)?, origin))
        })
    }

    /// Records a receipt of what `seal` seals in quarantine; it also tells where that came from.
    pub(crate) fn receive_sealed(
        &self,
        intake: &Intake<'_>,
        reading: Reading,
        request: Value,
        seal: impl FnOnce() -> Result<(Sealed, Option<OriginRow>), EngineError>,
    ) -> Result<Untrusted, EngineError> {
        let own = self.free_version(&intake.name)?;
        let number = own.get();
        let act = Act {
            action: Action::Receive,
            resources: vec![Resource::Artifact { name: intake.name.clone(), state: NamespaceState::Quarantined }],
            facts: Facts { exempt: intake.exempt, ..Facts::default() },
            request,
            subject: format!("{}@{number}", intake.name),
            reach: Reach::Inside,
        };
        let received = self.act(act, || {
            let (sealed, origin) = seal()?;
            let version = Version {
                artifact: intake.name.clone(),
                version: number,
                state: NamespaceState::Quarantined,
                manifest: sealed.manifest.to_string(),
                tree: sealed.tree.digest(),
                files: sealed.tree.files().len() as u64,
                bytes: sealed.tree.size(),
                source: sealed.tree.digest(),
                written: (self.settings.now)(),
                evidence: Vec::new(),
                reading: (intake.name.kind() == ArtifactKind::Dataset).then_some(reading),
                labels: Vec::new(),
                refused: None,
                exempt: intake.exempt,
                waived: 0,
                run: None,
                origin,
                revoked: None,
                by: self.is_shared().then(|| self.caller.person.id.clone()),
                admitted: None,
                destroyed: None,
            };
            let mut effect = Effect::of(version.clone());
            effect.openings.insert("result".into(), json!({"tree": version.tree, "origin": version.origin}));
            effect.versions.push(version);
            effect.sealed.push(sealed);
            Ok(effect)
        })?;
        Ok(Untrusted { version: received.0 })
    }

    /// Lets the controls that its kind calls for look at an artifact in quarantine.
    pub(crate) fn inspect(&self, untrusted: Untrusted) -> Result<Inspected, EngineError> {
        let version = untrusted.version;
        let screens = version.artifact.kind() == ArtifactKind::Dataset && !version.exempt.no_screen;
        let scans =
            matches!(version.artifact.kind(), ArtifactKind::Model | ArtifactKind::Checkpoint | ArtifactKind::Code)
                && !version.exempt.no_scan;
        if !screens && !scans {
            return Ok(Inspected { version, found: Found::default() });
        }
        let act = Act {
            action: Action::Inspect,
            resources: vec![resource(&version)],
            facts: Facts { exempt: version.exempt, ..Facts::default() },
            request: json!({"control": if screens { "screen" } else { "scan" }, "tree": version.tree}),
            subject: version.reference().to_string(),
            reach: Reach::Inside,
        };
        let done = self.act(act, || if screens { self.screen_version(version) } else { self.scan_version(version) })?;
        let (mut inspected, index) = done;
        fill_index(&mut inspected.version, index);
        Ok(inspected)
    }

    fn scan_version(&self, mut version: Version) -> Result<Effect<Inspected>, EngineError> {
        let manifest = self.manifest(&version)?;
        let report = self.scan_manifest(&manifest, version.artifact.kind())?;
        let made = self.evidence(&Made {
            kind: EvidenceKind::Scan,
            name: version.reference().to_string(),
            subject: version.tree,
            rules: ringfence_scan::rules_digest(),
            config: scan_config(),
            inputs: BTreeMap::new(),
            coverage: BTreeMap::from([("files".to_owned(), report.files.len() as u64)]),
            verdict: scan_verdict(&report),
            report: canonical(&report)?,
            summary: scan_summary(&report),
        })?;
        let found = Found { scan: Some(report), ..Found::default() };
        let mut effect = Effect::of(());
        made.into_effect(&mut version, &mut effect);
        Ok(effect.replace(Inspected { version, found }))
    }

    fn screen_version(&self, mut version: Version) -> Result<Effect<Inspected>, EngineError> {
        let manifest = self.manifest(&version)?;
        let reading = version.reading.clone().unwrap_or_default();
        let data = data_file(&manifest, &reading)?;
        let desk = Desk::new(self.settings);
        let inputs = || self.dataset_descriptors(&manifest, &data, &reading);
        let report: ScreenReport = desk.ask(&data, &Job::Screen { reading: reading.clone() }, inputs()?)?;
        check_report(&report)?;
        let leaves =
            |decision: &&Decision| decision.decision == RecordDecision::Filter && reading.flagged == Flagged::Leave;
        let dropped: Vec<u64> = report.decisions.iter().filter(leaves).map(|decision| decision.record).collect();
        let shown = dropped.iter().copied().take(PICTURES_MAX).collect();
        // Pictures are for people only: a dataset of something else simply has none.
        let pictures: Vec<GreyPicture> =
            desk.ask(&data, &Job::Pictures { reading: reading.clone(), records: shown }, inputs()?).unwrap_or_default();
        let mut effect = Effect::of(());
        let source = version.tree;
        if !dropped.is_empty() {
            let sealed = self.filtered(&manifest, &data, &reading, &dropped)?;
            version.manifest = sealed.manifest.to_string();
            version.tree = sealed.tree.digest();
            version.bytes = sealed.tree.size();
            effect.sealed.push(sealed);
        }
        let permille = dropped.len() as u64 * 1_000 / report.records.max(1);
        let made = self.evidence(&Made {
            kind: EvidenceKind::Screen,
            name: version.reference().to_string(),
            subject: version.tree,
            rules: ringfence_screen::rules_digest(),
            config: serde_json::to_value(&reading).unwrap_or(Value::Null),
            inputs: BTreeMap::from([("source".to_owned(), source)]),
            coverage: BTreeMap::from([
                ("records".to_owned(), report.records),
                ("filtered".to_owned(), dropped.len() as u64),
            ]),
            verdict: screen_verdict(&report),
            report: canonical(&report)?,
            summary: BTreeMap::from([
                ("filtered_permille".to_owned(), json!(permille)),
                ("exact_duplicates".to_owned(), json!(report.dataset.exact_duplicates)),
                ("record_root".to_owned(), json!(report.dataset.root)),
            ]),
        })?;
        let found = Found { screen: Some(report), pictures, ..Found::default() };
        made.into_effect(&mut version, &mut effect);
        Ok(effect.replace(Inspected { version, found }))
    }

    /// The dataset without `dropped`, sealed in quarantine; a keyless child writes it into a pipe.
    fn filtered(
        &self,
        manifest: &Manifest,
        data: &str,
        reading: &Reading,
        dropped: &[u64],
    ) -> Result<Sealed, EngineError> {
        let pipe = || std::io::pipe().map_err(EngineError::io("pipe"));
        let (mut data_out, data_in) = pipe()?;
        let mut descriptors = vec![self.descriptor(manifest, data)?, OwnedFd::from(data_in)];
        let mut labels_out = None;
        if let Some(labels) = &reading.labels {
            let (out, into) = pipe()?;
            descriptors.extend([self.descriptor(manifest, labels)?, OwnedFd::from(into)]);
            labels_out = Some((labels.clone(), out));
        }
        let job = Job::Filter { reading: reading.clone(), dropped: dropped.to_vec() };
        let mut writer = self.writer(Namespace::Quarantine)?;
        let desk = Desk::new(self.settings);
        let program = desk.program().to_owned();
        thread::scope(|scope| {
            let child = scope.spawn(move || Desk::silent(&program).call(data, &job, descriptors, &mut |_| {}));
            let stored = writer.file(data, &mut Bounded::new(&mut data_out, FILE_BYTES_MAX), Cuts::Content);
            let stored = stored.and_then(|_| match &mut labels_out {
                Some((path, out)) => {
                    writer.file(path, &mut Bounded::new(out, FILE_BYTES_MAX), Cuts::Content).map(|_| ())
                }
                None => Ok(()),
            });
            // A child that waits for a reader who gave up must end before it is joined.
            drop((data_out, labels_out));
            match child.join() {
                Ok(called) => called.map(|_| ())?,
                Err(_) => return Err(EngineError::incomplete("filter", "its thread ended")),
            }
            stored.map_err(|error| store_error(&error))
        })?;
        self.finish(writer)
    }

    /// Asks the gate, and seals the bytes under the keys of what is admitted.
    pub(crate) fn admit(&self, inspected: Inspected) -> Result<Admitted, EngineError> {
        let Inspected { version, found } = inspected;
        version.still_there()?;
        if let Some(reason) = &version.refused {
            return Err(EngineError::Refused {
                gate: "admit",
                subject: version.reference().to_string(),
                reasons: vec![format!("a person refused it for good: {reason}")],
            });
        }
        let facts = self.gate_facts(&version)?;
        let act = Act {
            action: Action::Admit,
            resources: vec![resource(&version)],
            facts,
            request: json!({"tree": version.tree, "source": version.source}),
            subject: version.reference().to_string(),
            reach: Reach::Inside,
        };
        let (mut admitted, index) = self.act(act, || {
            let manifest = self.manifest(&version)?;
            let sealed = self.copy(&manifest, Namespace::Admitted)?;
            let mut version = version;
            version.manifest = sealed.manifest.to_string();
            version.state = NamespaceState::Admitted;
            version.admitted = Some(PENDING);
            version.written = (self.settings.now)();
            let mut effect = Effect::of(version.clone());
            effect.openings.insert("result".into(), json!({"tree": version.tree, "manifest": version.manifest}));
            effect.versions.push(version);
            effect.sealed.push(sealed);
            Ok(effect)
        })?;
        admitted.admitted = Some(index);
        Ok(Admitted { version: admitted, found })
    }

    /// Copies an artifact into another namespace: opened and sealed again, cut at its tensors.
    pub(crate) fn copy(&self, manifest: &Manifest, into: Namespace) -> Result<Sealed, EngineError> {
        let mut writer = self.writer(into)?;
        writer.parent(manifest.id());
        for file in manifest.tree().files() {
            let cuts = self.cuts(manifest, file);
            let reader = self.store.read(manifest, &file.path).map_err(|error| store_error(&error))?;
            writer.copy(reader, cuts).map_err(|error| store_error(&error))?;
        }
        self.finish(writer)
    }

    /// Where to cut a file: at the tensors that a keyless child finds, which are only hints and are checked by the store.
    fn cuts(&self, manifest: &Manifest, file: &TreeEntry) -> Cuts {
        let is_tensor_file = [".safetensors", ".onnx"].iter().any(|ending| file.path.to_lowercase().ends_with(ending));
        if !is_tensor_file {
            return Cuts::Content;
        }
        let job = Job::Cuts { size: file.size };
        let offsets = self.look_through(manifest, &file.path, |theirs| {
            Desk::new(self.settings).ask::<Vec<u64>>(&file.path, &job, theirs)
        });
        let fits = |offsets: &Vec<u64>| {
            !offsets.is_empty()
                && offsets.len() <= Cuts::OFFSETS_MAX
                && offsets.windows(2).all(|pair| pair[0] < pair[1])
                && offsets.last().is_some_and(|last| *last <= file.size)
        };
        match offsets {
            Ok(Ok(offsets)) if fits(&offsets) => Cuts::At(offsets),
            _ => Cuts::Content,
        }
    }

    /// The facts that the gate on `version` reads, each statement checked again: signature, signer, trail, subject.
    pub(crate) fn gate_facts(&self, version: &Version) -> Result<Facts, EngineError> {
        let mut facts = Facts { exempt: version.exempt, waived: version.waived, ..Facts::default() };
        for kind in [
            EvidenceKind::Scan,
            EvidenceKind::Screen,
            EvidenceKind::Robustness,
            EvidenceKind::Review,
            EvidenceKind::Provenance,
        ] {
            if let Some(row) = version.newest(kind) {
                self.set_facts(&mut facts, version, row)?;
            }
        }
        Ok(facts)
    }

    fn set_facts(&self, facts: &mut Facts, version: &Version, row: &EvidenceRow) -> Result<(), EngineError> {
        let bytes = self.blob("evidence", row.envelope)?;
        let in_trail = self.is_in_trail(row)?;
        let Ok(signed) = statement::open(&bytes, &self.root, row.index) else {
            facts.set_evidence(row.kind, EvidenceFacts { present: true, in_trail, ..EvidenceFacts::default() });
            return Ok(());
        };
        let statement = signed.statement().clone();
        let vault = self.id().to_string();
        if row.kind == EvidenceKind::Provenance {
            let read = crate::provenance::read(&statement, version.tree, &vault);
            facts.sandbox = read.provenance.as_ref().map(|provenance| provenance.level).unwrap_or_default();
            facts.provenance = read.facts(in_trail, true);
            return Ok(());
        }
        let bearing = ringfence_access::Bearing {
            vault: &vault,
            subject: version.tree,
            now: (self.settings.now)(),
            in_trail,
            signer_allowed: true,
        };
        let mut found = EvidenceFacts::of(row.kind, &statement, &bearing);
        let reviewed = version.newest(EvidenceKind::Review).is_some_and(|review| row.index <= review.index);
        if version.waived > 0 && reviewed && row.kind != EvidenceKind::Robustness {
            // A person looked at these findings and let it in; the waiver is in the trail and stays visible. What a later
            // look found nobody has waived.
            found.blocks = false;
            found.passes = found.complete;
        }
        facts.set_evidence(row.kind, found);
        if let Ok(evidence) = serde_json::from_value::<Evidence>(statement.predicate) {
            let number = |name: &str| evidence.summary.get(name).and_then(Value::as_i64);
            match row.kind {
                EvidenceKind::Screen => {
                    facts.filtered_permille = number("filtered_permille").and_then(|value| u32::try_from(value).ok());
                }
                EvidenceKind::Robustness => {
                    facts.robust_accuracy_permille =
                        number("worst_permille").and_then(|value| u32::try_from(value).ok());
                    facts.clean_drop_permille =
                        number("clean_drop_permille").and_then(|value| i32::try_from(value).ok());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the entry that the row names really commits to this statement.
    fn is_in_trail(&self, row: &EvidenceRow) -> Result<bool, EngineError> {
        let openings = match self.openings(row.index) {
            Ok(openings) => openings,
            Err(EngineError::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let committed = openings.get(&row.commit).and_then(CommittedStatement::of);
        Ok(committed == Some(CommittedStatement { envelope: row.envelope, kind: row.kind, subject: row.subject }))
    }

    /// Signs what a control found.
    pub(crate) fn evidence(&self, made: &Made) -> Result<Signed, EngineError> {
        let now = (self.settings.now)();
        let life = EVIDENCE_LIFE_MS.min(self.policies.settings().evidence_max_age_ms());
        let evidence = Evidence {
            vault: self.id().to_string(),
            tool: format!("ringfence {}", env!("CARGO_PKG_VERSION")),
            rules: made.rules,
            config: Digest::of(&canonical(&made.config)?),
            policy: self.policies.digest(),
            inputs: made.inputs.clone(),
            coverage: made.coverage.clone(),
            complete: made.verdict != EvidenceVerdict::Incomplete,
            issued_ms: now,
            expires_ms: now.plus_millis(life),
            verdict: made.verdict,
            report: Digest::of(&made.report),
            summary: made.summary.clone(),
        };
        let predicate = serde_json::to_value(&evidence).map_err(|error| EngineError::incomplete("evidence", error))?;
        let statement = Statement::new(made.kind, vec![Subject::new(made.name.clone(), made.subject)], predicate);
        self.sign(made.kind, made.subject, &statement, Some(made.report.clone()))
    }

    /// Signs a statement with the evidence key.
    pub(crate) fn sign(
        &self,
        kind: EvidenceKind,
        subject: Digest,
        statement: &Statement,
        report: Option<Vec<u8>>,
    ) -> Result<Signed, EngineError> {
        let key = if kind == EvidenceKind::Release { &self.keys.release } else { &self.keys.evidence };
        let envelope =
            statement::seal(statement, &[key]).map_err(|error| EngineError::incomplete(kind.name(), error))?;
        Ok(Signed { kind, subject, envelope, report })
    }

    pub(crate) fn writer(&self, namespace: Namespace) -> Result<Writer, EngineError> {
        self.store.writer(namespace, SystemEntropy::new()).map_err(|error| store_error(&error))
    }

    /// Ends a version with a manifest signed by the ref key.
    pub(crate) fn finish(&self, writer: Writer) -> Result<Sealed, EngineError> {
        let sign = |bytes: &[u8]| {
            let signed = ringfence_trust::dsse::seal(
                ringfence_trust::dsse::PayloadType::Manifest,
                bytes,
                &[&self.keys.reference],
            );
            signed.map_err(Into::into)
        };
        writer.finish(&sign).map_err(|error| store_error(&error))
    }

    /// The manifest of a version, whose signature and tree must be the row's.
    pub(crate) fn manifest(&self, version: &Version) -> Result<Manifest, EngineError> {
        version.still_there()?;
        let manifest = match self.store.manifest(version.manifest_id()?) {
            Ok(manifest) => manifest,
            Err(error) => {
                // It may have been destroyed since the row was read; that is no tampering.
                self.find(&version.reference())?.still_there()?;
                return Err(store_error(&error));
            }
        };
        let what = || format!("manifest of {}", version.reference());
        let known = self.root.keys_ever(ringfence_trust::keys::KeyRole::Ref);
        let opened =
            ringfence_trust::dsse::open(manifest.signature(), ringfence_trust::dsse::PayloadType::Manifest, &known)
                .map_err(|error| EngineError::tampered(what(), error))?;
        if opened.payload() != manifest.statement() {
            return Err(EngineError::tampered(what(), "its signature is for another manifest"));
        }
        if manifest.tree().digest() != version.tree || manifest.namespace() != namespace_of(version.state) {
            return Err(EngineError::tampered(what(), "it is not the one that the row names"));
        }
        Ok(manifest)
    }

    /// Plaintext of a stored file for a keyless child: in sealed memory, never on disk.
    pub(crate) fn descriptor(&self, manifest: &Manifest, path: &str) -> Result<OwnedFd, EngineError> {
        let mut reader = self.store.read(manifest, path).map_err(|error| store_error(&error))?;
        ringfence_sandbox::memfd("ringfence", &mut reader).map_err(|error| EngineError::incomplete(path, error))
    }

    /// Gives `call` a descriptor through which a keyless child reads a stored file piece by piece, however large it is.
    ///
    /// # Errors
    /// Why the file could not be read, whatever the child made of it.
    pub(crate) fn look_through<T>(
        &self,
        manifest: &Manifest,
        path: &str,
        call: impl FnOnce(Vec<OwnedFd>) -> T,
    ) -> Result<T, EngineError> {
        let mut reader = self.store.read(manifest, path).map_err(|error| store_error(&error))?;
        remote::beside(vec![&mut reader], call).map_err(|error| EngineError::incomplete(path, error))
    }

    /// The descriptors of a model in the order in which jobs expect them: weights alone are followed by the description of their
    /// architecture, which lies beside them.
    pub(crate) fn model_descriptors(&self, manifest: &Manifest, path: &str) -> Result<Vec<OwnedFd>, EngineError> {
        let mut model = File::from(self.descriptor(manifest, path)?);
        if !needs_description(&mut model).map_err(EngineError::io(path))? {
            return Ok(vec![model.into()]);
        }
        let beside = [described_by(Path::new(path)), Path::new(path).with_file_name(CONFIGURATION)];
        let mut files = beside
            .iter()
            .filter_map(|name| manifest.tree().files().iter().find(|file| Path::new(&file.path) == name.as_path()));
        let found = files.next().ok_or_else(|| {
            let [ours, _] = &beside;
            let why =
                format!("weights without a graph; neither `{}` nor `{CONFIGURATION}` lies beside them", ours.display());
            EngineError::incomplete(path, why)
        })?;
        Ok(vec![model.into(), self.descriptor(manifest, &found.path)?])
    }

    /// The descriptors of a dataset in the order in which jobs expect them.
    pub(crate) fn dataset_descriptors(
        &self,
        manifest: &Manifest,
        data: &str,
        reading: &Reading,
    ) -> Result<Vec<OwnedFd>, EngineError> {
        let mut descriptors = vec![self.descriptor(manifest, data)?];
        if let Some(labels) = &reading.labels {
            descriptors.push(self.descriptor(manifest, labels)?);
        }
        Ok(descriptors)
    }
}

/// What evidence is made from.
pub(crate) struct Made {
    pub(crate) kind: EvidenceKind,
    pub(crate) name: String,
    pub(crate) subject: Digest,
    pub(crate) rules: Digest,
    pub(crate) config: Value,
    pub(crate) inputs: BTreeMap<String, Digest>,
    pub(crate) coverage: BTreeMap<String, u64>,
    pub(crate) verdict: EvidenceVerdict,
    pub(crate) report: Vec<u8>,
    pub(crate) summary: BTreeMap<String, Value>,
}

/// A signed statement that is not in the trail yet.
pub(crate) struct Signed {
    pub(crate) kind: EvidenceKind,
    pub(crate) subject: Digest,
    pub(crate) envelope: Vec<u8>,
    pub(crate) report: Option<Vec<u8>>,
}

impl Signed {
    /// Adds the statement to a version and to what the outcome commits.
    pub(crate) fn into_effect<T>(self, version: &mut Version, effect: &mut Effect<T>) {
        let envelope = Digest::of(&self.envelope);
        let commit = format!("statement-{}", self.kind.name());
        let report = self.report.as_deref().map(Digest::of);
        version.evidence.push(EvidenceRow {
            kind: self.kind,
            subject: self.subject,
            envelope,
            index: PENDING,
            commit: commit.clone(),
            report,
        });
        let committed = CommittedStatement { envelope, kind: self.kind, subject: self.subject };
        effect.openings.insert(commit, json!(committed));
        effect.blobs.push(Blob::new("evidence", self.envelope));
        effect.blobs.extend(self.report.map(|bytes| Blob::new("report", bytes)));
        effect.versions.retain(|other| other.reference() != version.reference());
        effect.versions.push(version.clone());
    }
}

/// Puts the outcome's index where it was pending, as the catalog's row has it.
pub(crate) fn fill_index(version: &mut Version, index: u64) {
    for row in version.evidence.iter_mut().filter(|row| row.index == PENDING) {
        row.index = index;
    }
}

/// The artifact as policies see it.
pub(crate) fn resource(version: &Version) -> Resource {
    Resource::Artifact { name: version.artifact.clone(), state: version.state }
}

/// The one file of a dataset that holds its records.
pub(crate) fn data_file(manifest: &Manifest, reading: &Reading) -> Result<String, EngineError> {
    let mut files = manifest.tree().files().iter().filter(|file| reading.labels.as_ref() != Some(&file.path));
    match (files.next(), files.next()) {
        (Some(one), None) => Ok(one.path.clone()),
        _ => Err(EngineError::Usage {
            what: "a dataset is one file (CSV, JSONL or IDX), with its labels in a second one at most".into(),
        }),
    }
}

/// A child's report is untrusted: what is acted upon must make sense.
fn check_report(report: &ScreenReport) -> Result<(), EngineError> {
    let rising = report.decisions.windows(2).all(|pair| pair[0].record < pair[1].record);
    let inside = report.decisions.iter().all(|decision| decision.record < report.records);
    if rising && inside {
        Ok(())
    } else {
        Err(EngineError::incomplete("screen", "the child's report contradicts itself"))
    }
}

pub(crate) fn scan_verdict(report: &ScanReport) -> EvidenceVerdict {
    match report.verdict {
        Verdict::Clean => EvidenceVerdict::Pass,
        Verdict::Incomplete => EvidenceVerdict::Incomplete,
        Verdict::Suspicious | Verdict::Malicious => EvidenceVerdict::Block,
    }
}

fn screen_verdict(report: &ScreenReport) -> EvidenceVerdict {
    if !report.dataset.complete {
        return EvidenceVerdict::Incomplete;
    }
    // Bad records are filtered; what speaks against the dataset and is not answered by filtering blocks it.
    let answered = |rule: &str| {
        let mut reasons = report
            .decisions
            .iter()
            .filter(|decision| decision.decision == RecordDecision::Filter)
            .flat_map(|decision| &decision.reasons);
        reasons.any(|reason| reason.rule == rule)
    };
    let blocked =
        report.dataset.findings.iter().any(|finding| finding.severity >= Severity::High && !answered(&finding.rule));
    let nothing_left = report.decisions.iter().filter(|decision| decision.decision == RecordDecision::Filter).count()
        as u64
        >= report.records;
    if blocked || nothing_left { EvidenceVerdict::Block } else { EvidenceVerdict::Pass }
}
