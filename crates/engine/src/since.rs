//! What a model withstands beside an earlier one: by hand, and again and again.
//!
//! * [`attack_since`] compares two models on disk, without a vault.
//! * [`Vault::attack_since`] does so where one of them is in the vault; a drop is an alert, in the same entry of the trail as the
//!   comparison. [`Vault::released_before`] is what `released` means.
//! * `Vault::attack_again`: the newest version of every model that was released, beside the release before it, for [`crate::schedule`].
//!
//! What must stay true: both models are asked the same, with the same seed; a card that the vault's evidence holds stands for a new one
//! only where it says itself that the same was asked of the same examples by the same version of the attacks.

use std::{collections::BTreeMap, fmt, path::Path};

use ringfence_access::{Action, Facts, NamespaceState};
use ringfence_attack::{TOOL, asked_the_same};
use ringfence_schema::{
    ArtifactKind, Digest, Severity, Timestamp,
    alert::{Alert, Basis, Subject, SubjectKind},
    evidence::{Evidence, EvidenceKind},
    finding::printable,
    report::AttackReport,
    since::{AttackSetup, Drop, PairedRadius, SinceReport},
};
use serde_json::{Value, json};

use crate::{
    RuleText,
    act::{Act, Effect, Reach},
    admit::{data_file, resource},
    asked::Target,
    error::EngineError,
    files::{self, AttackJob, Dataset},
    model::ModelFile,
    record::Version,
    settings::Settings,
    vault::Vault,
    work::{Desk, Job},
};

/// A model withstands less than the one before it.
pub(crate) const DROPPED: RuleText = RuleText {
    id: "RF-ROB-001",
    title: "a model withstands less than an earlier one",
    why: "inputs that the earlier model got right under attack fool this one, by more than chance",
    remedy: "`ringfence attack MODEL --since released` shows each radius; keep the earlier model in use, or harden this one",
};

/// A model that is attacked.
#[derive(Debug, Clone)]
pub enum Side {
    /// A file.
    File(ModelFile),
    /// A version in the vault.
    Version(Box<Version>),
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => f.write_str(&printable(&file.name(), NAME_CHARS_MAX)),
            Self::Version(version) => version.reference().fmt(f),
        }
    }
}

/// What both are attacked with.
enum Data<'a> {
    File(&'a Dataset),
    Stored(&'a Version),
}

/// Attacks both models (the newer one first) in the same way and compares what they withstand.
pub fn attack_since(
    settings: &Settings<'_>,
    [model, earlier]: [&ModelFile; 2],
    data: &Dataset,
    job: &AttackJob,
) -> Result<SinceReport, EngineError> {
    let attacked = |model: &ModelFile| files::attack(settings, &Target::Model(model.clone()), data, None, job);
    let names = [model, earlier].map(|model| printable(&model.name(), NAME_CHARS_MAX));
    Ok(ringfence_attack::since(names.each_ref().map(String::as_str), attacked(model)?, attacked(earlier)?))
}

impl Vault<'_> {
    /// Attacks both models (the newer one first) in the same way and compares what they withstand. Where evidence on the earlier one
    /// says that the same was asked of it, it is not attacked again.
    ///
    /// # Errors
    /// [`EngineError::Refused`] for whoever may not attack what is in the vault; whatever ends an attack.
    pub fn attack_since(
        &self,
        [model, earlier]: [&Side; 2],
        data: &Dataset,
        job: &AttackJob,
    ) -> Result<SinceReport, EngineError> {
        job.check().map_err(|error| EngineError::Usage { what: error.to_string() })?;
        let versions = [model, earlier].into_iter().filter_map(|side| match side {
            Side::Version(version) => Some(version.as_ref()),
            Side::File(_) => None,
        });
        let request = json!({
            "control": "robustness", "since": earlier.to_string(), "eps": job.eps, "steps": job.steps,
            "restarts": job.restarts, "seed": job.seed,
        });
        let act = about(Action::Attack, &versions.collect::<Vec<_>>(), model.to_string(), request);
        self.compared(act, || {
            let now = self.card_of(model, &Data::File(data), job)?;
            let recorded = match earlier {
                Side::Version(version) => self.recorded(version, &now)?,
                Side::File(_) => None,
            };
            let found = recorded.is_some();
            let before = recorded.map_or_else(|| self.card_of(earlier, &Data::File(data), job), Ok)?;
            Ok((now, before, found, [model.to_string(), earlier.to_string()]))
        })
    }

    /// The last release before `version` of the model of this name.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] where nothing was released before.
    pub fn released_before(&self, version: &Version) -> Result<Version, EngineError> {
        let versions = self.versions()?;
        release_before(&versions, version).cloned().ok_or_else(|| EngineError::NotFound {
            what: "earlier release of",
            name: version.artifact.name().to_owned(),
        })
    }

    /// Compares the newest version of every model that was released with the last release before it, where there is a card of that
    /// release that says what was asked. What was attacked in that way already is not attacked again.
    pub(crate) fn attack_again(&self) -> Result<Vec<SinceReport>, EngineError> {
        let versions = self.versions()?;
        let mut newest: BTreeMap<&str, &Version> = BTreeMap::new();
        for version in versions.iter().filter(|version| is_model(version) && version.revoked.is_none()) {
            let known = newest.entry(version.artifact.name()).or_insert(version);
            if (version.written, version.state == NamespaceState::Released) > (known.written, false) {
                *known = version;
            }
        }
        let mut found = Vec::new();
        for version in newest.into_values() {
            let Some(released) = release_before(&versions, version) else { continue };
            // A release has the bytes of the candidate that it was.
            if released.tree == version.tree {
                continue;
            }
            let Some(card) = self.attack_report(released)? else { continue };
            found.push(self.beside_release(version, released, card, &versions)?);
        }
        Ok(found)
    }

    fn beside_release(
        &self,
        newest: &Version,
        released: &Version,
        card: AttackReport,
        versions: &[Version],
    ) -> Result<SinceReport, EngineError> {
        let name = released.reference().to_string();
        let setup = card.setup.clone().ok_or_else(|| {
            let why = "its card was made by an earlier version and does not say what was asked; compare by hand, with `ringfence attack --since`";
            EngineError::incomplete(name.as_str(), why)
        })?;
        let job = job(&setup, card.seed, card.examples);
        let data = self.tested_with(released, versions)?;
        let request = json!({"control": "robustness", "again": true, "since": name, "data": data.tree});
        // As a scan that is made again: the server looks at what is stored, and changes nothing.
        let act = about(Action::Inspect, &[newest, released], newest.reference().to_string(), request);
        let side = |version: &Version| Side::Version(Box::new(version.clone()));
        self.compared(act, || {
            let data = Data::Stored(data);
            let (earlier, recorded) =
                if setup.tool == TOOL { (card, true) } else { (self.card_of(&side(released), &data, &job)?, false) };
            let now = match self.recorded(newest, &earlier)? {
                Some(now) => now,
                None => self.card_of(&side(newest), &data, &job)?,
            };
            Ok((now, earlier, recorded, [newest, released].map(|version| version.reference().to_string())))
        })
    }

    /// Compares within `act`; a drop that is not in the trail yet is an alert.
    fn compared(
        &self,
        act: Act,
        cards: impl FnOnce() -> Result<(AttackReport, AttackReport, bool, [String; 2]), EngineError>,
    ) -> Result<SinceReport, EngineError> {
        let began = (self.settings.now)();
        let (report, _) = self.act(act, || {
            let (now, earlier, recorded, names) = cards()?;
            let mut report = ringfence_attack::since(names.each_ref().map(String::as_str), now, earlier);
            report.recorded = recorded;
            let mut effect = Effect::of(());
            effect.openings.insert("result".to_owned(), told(&report));
            if report.verdict == Drop::Dropped {
                let alert = alert(&report, began);
                if self.is_news(&alert)? {
                    self.file_with(&mut effect, &alert)?;
                }
            }
            Ok(effect.replace(report))
        })?;
        if report.verdict == Drop::Dropped {
            self.desk.wake();
        }
        Ok(report)
    }

    fn card_of(&self, side: &Side, data: &Data<'_>, job: &AttackJob) -> Result<AttackReport, EngineError> {
        if let (Side::File(file), Data::File(data)) = (side, data) {
            return files::attack(self.settings, &Target::Model(file.clone()), data, None, job);
        }
        let mut descriptors = match side {
            Side::File(file) => file.descriptors()?,
            Side::Version(version) => {
                version.still_there()?;
                let manifest = self.manifest(version)?;
                let file = model_file(version, manifest.tree().files().iter().map(|file| file.path.as_str()))?;
                self.model_descriptors(&manifest, &file)?
            }
        };
        let reading = match data {
            Data::File(data) => {
                descriptors.extend(data.descriptors()?);
                data.reading.clone()
            }
            Data::Stored(version) => {
                let manifest = self.manifest(version)?;
                let reading = version.reading.clone().unwrap_or_default();
                let file = data_file(&manifest, &reading)?;
                descriptors.extend(self.dataset_descriptors(&manifest, &file, &reading)?);
                reading
            }
        };
        let job = Job::Attack { endpoint: None, plan: Box::new(job.clone()), reading, members: None, forward: false };
        Desk::new(self.settings).ask(&side.to_string(), &job, descriptors)
    }

    /// The newest card of a version in its evidence, if the same was asked as for `other`.
    fn recorded(&self, version: &Version, other: &AttackReport) -> Result<Option<AttackReport>, EngineError> {
        let Some(statement) = self.robustness(version)? else { return Ok(None) };
        let card = self.attack_report(version)?;
        let newest = version.newest(EvidenceKind::Robustness).and_then(|row| row.report);
        Ok(card.filter(|card| newest == Some(statement.report) && asked_the_same(card, other)))
    }

    /// The newest statement on what a version withstands, its signature checked.
    fn robustness(&self, version: &Version) -> Result<Option<Evidence>, EngineError> {
        let newest = version.newest(EvidenceKind::Robustness).map(|row| row.envelope);
        let shown = self.evidence_of(version)?;
        let statement = shown.into_iter().find(|shown| Some(shown.envelope) == newest);
        let read = |shown: crate::ShownEvidence| {
            serde_json::from_value(shown.statement.predicate)
                .map_err(|error| EngineError::tampered(format!("robustness of {}", version.reference()), error))
        };
        statement.map(read).transpose()
    }

    /// The dataset that a release was attacked with.
    fn tested_with<'v>(&self, released: &Version, versions: &'v [Version]) -> Result<&'v Version, EngineError> {
        let tree: Option<Digest> = self.robustness(released)?.and_then(|found| found.inputs.get("test").copied());
        let fits = |version: &&Version| {
            version.artifact.kind() == ArtifactKind::Dataset && version.has_bytes() && Some(version.tree) == tree
        };
        versions.iter().find(fits).ok_or_else(|| {
            let why = "the data that it was attacked with is not in the vault any more";
            EngineError::incomplete(released.reference().to_string(), why)
        })
    }
}

fn is_model(version: &Version) -> bool {
    matches!(version.artifact.kind(), ArtifactKind::Model | ArtifactKind::Checkpoint)
        && version.state != NamespaceState::Quarantined
        && version.has_bytes()
}

/// The last release before `version`, of the same name.
fn release_before<'v>(versions: &'v [Version], version: &Version) -> Option<&'v Version> {
    let before = versions.iter().filter(|other| {
        other.state == NamespaceState::Released
            && is_model(other)
            && other.artifact.name() == version.artifact.name()
            && other.reference() != version.reference()
            && other.written <= version.written
    });
    before.max_by_key(|other| (other.written, other.version))
}

/// Which file of a version is the model: a network, or where there is none, weights whose architecture a file beside them
/// describes.
fn model_file<'f>(version: &Version, files: impl Iterator<Item = &'f str> + Clone) -> Result<String, EngineError> {
    if let Some(usual) = files.clone().find(|file| *file == MODEL_FILE) {
        return Ok(usual.to_owned());
    }
    for (ending, what) in [("onnx", "ONNX models"), ("safetensors", "safetensors files")] {
        let mut found = files.clone().filter(|file| Path::new(file).extension() == Some(ending.as_ref()));
        match (found.next(), found.next()) {
            (Some(one), None) => return Ok(one.to_owned()),
            (None, _) => {}
            (Some(_), Some(_)) => {
                let why = format!("it holds several {what}, none of them called `{MODEL_FILE}`");
                return Err(EngineError::incomplete(version.reference().to_string(), why));
            }
        }
    }
    let why = "it holds neither an ONNX model nor a safetensors file to attack";
    Err(EngineError::incomplete(version.reference().to_string(), why))
}

/// The attack that a card was made by.
fn job(setup: &AttackSetup, seed: u64, examples: u64) -> AttackJob {
    let places = |places: &[u64]| places.iter().filter_map(|place| usize::try_from(*place).ok()).collect();
    let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    #[expect(clippy::cast_possible_truncation, reason = "the numbers were f32 when they were written")]
    let range = setup.range.map(|end| end as f32);
    AttackJob {
        eps: setup.eps.clone(),
        at: Some(setup.at),
        steps: whole(setup.steps),
        restarts: whole(setup.restarts),
        examples: Some(whole(examples)),
        range,
        seed,
        norm: Some(setup.norm.clone()),
        standard: setup.battery == "standard",
        attacks: setup.attacks.clone(),
        target: setup.target.map(whole),
        levels: setup.levels.and_then(|levels| u32::try_from(levels).ok()),
        integer: places(&setup.integer),
        immutable: places(&setup.immutable),
        corruptions: setup.corruptions,
        queries: setup.queries,
        pictures: 0,
    }
}

fn about(action: Action, versions: &[&Version], subject: String, request: Value) -> Act {
    Act {
        action,
        resources: versions.iter().map(|version| resource(version)).collect(),
        facts: Facts::default(),
        request,
        subject,
        reach: Reach::Inside,
    }
}

/// What the trail keeps of a comparison: the conclusion and its figures, without both cards.
fn told(report: &SinceReport) -> Value {
    json!({
        "verdict": report.verdict, "note": report.note, "model": report.card.model, "earlier": report.earlier_card.model,
        "recorded": report.recorded, "radii": report.radii, "p_value": report.p_value, "threshold": report.threshold,
    })
}

/// The radius that tells most.
fn worst(report: &SinceReport) -> Option<&PairedRadius> {
    report.radii.iter().min_by(|a, b| a.p_value.total_cmp(&b.p_value))
}

/// The same matter, whenever it is looked at: its beginning is not a moment but the two models.
fn alert(report: &SinceReport, at: Timestamp) -> Alert {
    let subject = Subject { kind: SubjectKind::Artifact, name: report.model.clone() };
    let models = format!("{} {}", report.card.model, report.earlier_card.model);
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let radius = worst(report);
    let place = radius.map_or_else(String::new, |radius| format!("{} {}", radius.norm, radius.eps));
    let [earlier, now] = [radius.map(|radius| radius.earlier), radius.map(|radius| radius.now)]
        .map(|share| share.map_or_else(String::new, percent));
    Alert {
        id: Alert::identify(DROPPED.id, &subject, &models, Timestamp::from_millis(0)),
        rule: DROPPED.id.to_owned(),
        kind: "withstands-less".to_owned(),
        severity: Severity::High,
        subject,
        signal: format!("worst case {place}"),
        basis: Basis::Observed,
        expected: format!("{earlier} stand at {place}, as in {}", report.earlier),
        seen: format!(
            "{now} stand, {} examples lost and {} won",
            radius.map_or(0, |one| one.lost),
            radius.map_or(0, |one| one.won)
        ),
        since: at,
        at,
        confidence: report.p_value.map_or(0.0, |p| 1.0 - p),
        message: format!("{} withstands less than {}: {now} after {earlier} at {place}", report.model, report.earlier),
        why: DROPPED.why.to_owned(),
        remedy: DROPPED.remedy.to_owned(),
    }
}

/// The usual name of the model that a run makes.
const MODEL_FILE: &str = "model.onnx";
/// Longest name of a model that is a file, in characters.
const NAME_CHARS_MAX: usize = 200;
