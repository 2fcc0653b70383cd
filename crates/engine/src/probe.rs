//! What a model tells of data, and data of a model: records that were changed against a base model, backdoors in weights.
//!
//! No vault, no keys: like [`crate::files`], the parent opens files and keyless children read them.

use std::path::{Path, PathBuf};

use ringfence_schema::{
    Finding, Place, Severity,
    backdoor::BackdoorReport,
    report::{Decision, Reason, RecordDecision, ScreenReport},
    suspect::SuspectReport,
};

use crate::{
    RuleText,
    error::EngineError,
    files::{Dataset, ModelData, descriptor},
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

/// Adds to `report` what `model` makes of each record: records that look changed against it are for review. `reference` is
/// clean data that the model was not trained on, read like `data`; without it the bulk of the data is the measure.
pub fn suspects(
    settings: &Settings<'_>,
    model: &Path,
    data: &Dataset,
    reference: Option<&Dataset>,
    report: &mut ScreenReport,
) -> Result<SuspectReport, EngineError> {
    let mut descriptors = vec![descriptor(model)?];
    descriptors.extend(data.descriptors()?);
    if let Some(reference) = reference {
        descriptors.extend(reference.descriptors()?);
    }
    let job = Job::Suspects {
        reading: data.reading.clone(),
        reference: reference.map(|reference| reference.reading.clone()),
    };
    let what = model.display().to_string();
    let found: SuspectReport = Desk::new(settings).ask(&what, &job, descriptors)?;
    if found.records != report.records || found.suspects.iter().any(|suspect| suspect.record >= report.records) {
        let why = format!("the model saw {} records, the screening {}", found.records, report.records);
        return Err(EngineError::incomplete(&what, why));
    }
    add(report, &found);
    Ok(found)
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
    pub base: Option<PathBuf>,
    /// Use at most so many examples.
    pub examples: Option<usize>,
    /// Seed of all random choices.
    pub seed: u64,
    /// Least and greatest valid input.
    pub range: [f32; 2],
}

/// Searches a model's weights for backdoors.
pub fn backdoors(settings: &Settings<'_>, input: &ModelData, job: &BackdoorJob) -> Result<BackdoorReport, EngineError> {
    let mut descriptors = vec![descriptor(&input.model)?];
    descriptors.extend(input.data.descriptors()?);
    if let Some(base) = &job.base {
        descriptors.push(descriptor(base)?);
    }
    let request = Job::Backdoors {
        reading: input.data.reading.clone(),
        examples: job.examples,
        seed: job.seed,
        range: job.range,
        base: job.base.is_some(),
    };
    Desk::new(settings).ask(&input.model.display().to_string(), &request, descriptors)
}
