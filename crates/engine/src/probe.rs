//! What a model tells of data, and data of a model: records that were changed against a base model, backdoors in weights.
//!
//! No vault, no keys: like [`crate::files`], the parent opens files and keyless children read them.

use std::{collections::BTreeMap, fs::File, io::Read as _};

use ringfence_schema::{
    Finding, Place, Severity,
    backdoor::BackdoorReport,
    report::{DatasetProfile, Decision, Reason, RecordDecision, ScreenReport, ScreenSchema},
    suspect::SuspectReport,
};

use crate::{
    RuleText,
    error::EngineError,
    files::{self, Dataset, ModelData, descriptor},
    model::ModelFile,
    settings::Settings,
    work::{Desk, Job},
};

/// The rule of records that a base model finds strange.
pub(crate) const SUSPECT: RuleText = RuleText {
    id: "RF-ADV-001",
    title: "a record looks as if it had been changed against the base model",
    why: "inputs that were moved over a model's boundary stay there when the model is fine-tuned on them, and teach it their label",
    remedy: "look at the record beside natural ones of both classes; leave it out unless its origin is known",
};

/// Screens a dataset, also by what `model` makes of each record: those that look changed against it are for review. `reference`
/// is clean data that the model was not trained on, read like `data`; without it the bulk of the data is the measure. Labels
/// may be absent. Of an NPZ of arrays the model alone looks at the records; the report says that nothing else did.
pub fn screen(
    settings: &Settings<'_>,
    model: &ModelFile,
    data: &Dataset,
    reference: Option<&Dataset>,
) -> Result<ScreenReport, EngineError> {
    let screened = if is_npz(data)? { None } else { Some(files::screen(settings, data)?) };
    let mut descriptors = model.descriptors()?;
    descriptors.extend(data.descriptors()?);
    if let Some(reference) = reference {
        descriptors.extend(reference.descriptors()?);
    }
    let job = Job::Suspects {
        reading: data.reading.clone(),
        reference: reference.map(|reference| reference.reading.clone()),
    };
    let what = model.name();
    let found: SuspectReport = Desk::new(settings).ask(&what, &job, descriptors)?;
    let mut report = screened.unwrap_or_else(|| arrays(&found));
    if found.records != report.records || found.suspects.iter().any(|suspect| suspect.record >= report.records) {
        let why = format!("the model saw {} records, the screening {}", found.records, report.records);
        return Err(EngineError::incomplete(&what, why));
    }
    add(&mut report, &found);
    Ok(report)
}

/// Whether a dataset is a zip, as every NPZ; nothing else is read here.
fn is_npz(data: &Dataset) -> Result<bool, EngineError> {
    let mut magic = [0; 4];
    let mut file = File::from(descriptor(&data.path)?);
    Ok(file.read_exact(&mut magic).is_ok() && magic == *b"PK\x03\x04")
}

/// What is known of a dataset that only the model looked at.
fn arrays(found: &SuspectReport) -> ScreenReport {
    ScreenReport {
        schema: ScreenSchema::default(),
        records: found.records,
        decisions: Vec::new(),
        candidates: Vec::new(),
        dataset: DatasetProfile {
            format: "npz".into(),
            columns: Vec::new(),
            label: None,
            classes: BTreeMap::new(),
            root: None,
            exact_duplicates: found.duplicates,
            detectors: vec![
                "exact duplicates".into(),
                "base model: records that look changed against it".into(),
                "not run on NPZ: hygiene, near duplicates, label errors, drift, clusters and triggers".into(),
            ],
            findings: Vec::new(),
            complete: true,
            sketch: None,
        },
    }
}

/// The decisions and the one finding that a [`SuspectReport`] comes to.
fn add(report: &mut ScreenReport, found: &SuspectReport) {
    for suspect in &found.suspects {
        let reason = Reason {
            rule: SUSPECT.id.into(),
            score: suspect.score,
            evidence: format!(
                "the base model takes it for {}, {}; `{}` is rarest (threshold {:.2})",
                suspect.predicted,
                suspect.label.map_or_else(|| "it has no label".to_owned(), |label| format!("its label is {label}")),
                suspect.statistic,
                found.threshold
            ),
        };
        match report.decisions.iter_mut().find(|decision| decision.record == suspect.record) {
            Some(decision) => decision.reasons.push(reason),
            None => report.decisions.push(Decision {
                record: suspect.record,
                decision: RecordDecision::Review,
                reasons: vec![reason],
            }),
        }
    }
    report.decisions.sort_by_key(|decision| decision.record);
    let measured = found
        .reference
        .map_or_else(|| "the bulk of the data itself".to_owned(), |count| format!("{count} clean records"));
    report.dataset.findings.push(Finding {
        rule: SUSPECT.id.into(),
        severity: Severity::Info,
        message: format!(
            "{} of {} records look changed against the base model, measured against {measured}; about {:.1} % of natural ones do",
            found.suspects.len(),
            found.records,
            found.false_positives * 100.0
        ),
        place: Place::default(),
        evidence: found.blind_to.iter().map(|text| format!("not seen: {text}")).collect(),
        why: SUSPECT.why.into(),
        remedy: SUSPECT.remedy.into(),
        waived: None,
    });
}

/// How backdoors are sought.
#[derive(Debug, Clone)]
pub struct BackdoorJob {
    /// The declared base.
    pub base: Option<ModelFile>,
    /// Use at most so many examples.
    pub examples: Option<usize>,
    /// Seed of all random choices.
    pub seed: u64,
    /// Least and greatest valid input.
    pub range: [f32; 2],
}

/// Searches a model's weights for backdoors.
pub fn backdoors(settings: &Settings<'_>, input: &ModelData, job: &BackdoorJob) -> Result<BackdoorReport, EngineError> {
    let mut descriptors = input.model.descriptors()?;
    descriptors.extend(input.data.descriptors()?);
    if let Some(base) = &job.base {
        descriptors.extend(base.descriptors()?);
    }
    let request = Job::Backdoors {
        reading: input.data.reading.clone(),
        examples: job.examples,
        seed: job.seed,
        range: job.range,
        base: job.base.is_some(),
    };
    Desk::new(settings).ask(&input.model.name(), &request, descriptors)
}
