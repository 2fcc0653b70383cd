//! One plan, the whole way: admit the inputs, train in the sandbox, attack the result, release it.

mod command;
pub(crate) mod guard;
pub(crate) mod live;
mod telemetry;
mod test;
mod train;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ringfence_access::Exemptions;
use ringfence_attack::HardenPlan;
use ringfence_schema::{ArtifactKind, ArtifactName};

use crate::{
    admit::{Intake, Origin},
    error::EngineError,
    plan::{DemandedLevel, Plan},
    record::{Flagged, Reading, Version},
    stage::{Admitted, Released},
    vault::Vault,
};

/// What the caller chooses beside the plan.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Controls to leave out.
    pub exempt: Exemptions,
    /// Demand at least this confinement, whatever the plan says.
    pub level: DemandedLevel,
    /// Where the bundle goes, instead of where the plan says.
    pub release_to: Option<PathBuf>,
}

/// How far a plan got.
pub enum RunEnd {
    /// All the way.
    Released {
        /// The released version.
        released: Released,
        /// The bundle's folder.
        folder: PathBuf,
    },
    /// Trained and kept as a candidate: the plan has no `[test]`.
    Kept {
        /// The candidate's version.
        candidate: Version,
    },
    /// The release gate refused; the report says why.
    Refused {
        /// The candidate's version.
        candidate: Version,
        /// Why.
        reasons: Vec<String>,
        /// The report page for people, beside where the bundle would be.
        report: PathBuf,
    },
}

/// Everything that was let in for a run, by role.
pub(crate) struct Inputs {
    pub(crate) data: BTreeMap<String, Admitted>,
    pub(crate) models: BTreeMap<String, Admitted>,
    pub(crate) code: Option<Admitted>,
}

impl Inputs {
    /// Role and artifact of each.
    pub(crate) fn all(&self) -> Vec<(String, &Version)> {
        let data = self.data.iter().map(|(role, admitted)| (role.clone(), &admitted.version));
        let models = self.models.iter().map(|(role, admitted)| (role.clone(), &admitted.version));
        let code = self.code.iter().map(|admitted| ("code".to_owned(), &admitted.version));
        data.chain(models).chain(code).collect()
    }
}

impl Vault<'_> {
    /// Carries out `plan`. Alerts go out to the sinks meanwhile.
    pub fn run(&mut self, plan: &Plan, options: &RunOptions) -> Result<RunEnd, EngineError> {
        self.tighten(&plan.content.policy.forbid)
            .map_err(|what| EngineError::Plan { file: plan.file.clone(), what: format!("`policy.forbid`: {what}") })?;
        let vault: &Self = self;
        vault.dispatching(|| vault.carry_out(plan, options))
    }

    fn carry_out(&self, plan: &Plan, options: &RunOptions) -> Result<RunEnd, EngineError> {
        let inputs = self.admit_inputs(plan, options.exempt)?;
        let candidate = self.train(plan, options, &inputs)?;
        let Some(test) = &plan.content.test else {
            return Ok(RunEnd::Kept { candidate: candidate.version });
        };
        let (candidate, scan_refusal) = self.scan_candidate(candidate)?;
        if let Some(reason) = scan_refusal {
            self.settings.progress.note(&reason);
        }
        let training = candidate.training.clone();
        let observed = candidate.observed.clone();
        let tested = self.test(plan, test, &inputs, candidate)?;
        let folder = options.release_to.clone().unwrap_or_else(|| plan.release_folder());
        self.release(plan, tested, &inputs, training.as_ref(), &observed, &folder)
    }

    fn admit_inputs(&self, plan: &Plan, exempt: Exemptions) -> Result<Inputs, EngineError> {
        let run = &plan.content.run;
        let named = |kind, name: &Option<String>, role: &str| {
            let default = format!("{}-{role}", run.name);
            ArtifactName::new(kind, name.as_deref().unwrap_or(&default))
                .map_err(|error| EngineError::Plan { file: plan.file.clone(), what: error.to_string() })
        };
        let mut inputs = Inputs { data: BTreeMap::new(), models: BTreeMap::new(), code: None };
        for (role, data) in &plan.content.data {
            let path = plan.resolve(&data.path);
            let labels = data.labels.as_ref().map(|path| plan.resolve(path));
            let reading = Reading {
                label: data.label.clone(),
                shape: data.shape.clone(),
                scale: data.scale,
                flagged: if role == "test" { Flagged::Keep } else { Flagged::Leave },
                labels: None,
            };
            let admitted = self.add(&Intake {
                from: Origin::Files(&path),
                name: named(ArtifactKind::Dataset, &data.name, role)?,
                reading,
                labels: labels.as_deref(),
                exempt,
            })?;
            self.say_admitted(&admitted);
            inputs.data.insert(role.clone(), admitted);
        }
        for (role, model) in &plan.content.model {
            let path = plan.resolve(&model.path);
            let admitted = self.add(&Intake {
                from: Origin::Files(&path),
                name: named(ArtifactKind::Model, &model.name, role)?,
                reading: Reading::default(),
                labels: None,
                exempt,
            })?;
            self.say_admitted(&admitted);
            inputs.models.insert(role.clone(), admitted);
        }
        if let Some(code) = &run.code {
            let path = plan.resolve(code);
            let admitted = self.add(&Intake {
                from: Origin::Files(&path),
                name: named(ArtifactKind::Code, &None, "code")?,
                reading: Reading::default(),
                labels: None,
                exempt: Exemptions { no_scan: true, ..exempt },
            })?;
            inputs.code = Some(admitted);
        }
        Ok(inputs)
    }

    fn say_admitted(&self, admitted: &Admitted) {
        let version = &admitted.version;
        let found = match (&admitted.found.screen, &admitted.found.scan) {
            (Some(screen), _) => {
                let flagged = crate::page::count(screen, ringfence_schema::report::RecordDecision::Filter);
                let kept = version.reading.as_ref().is_some_and(|reading| reading.flagged == Flagged::Keep);
                let word = if kept { "flagged and kept, as test data" } else { "filtered" };
                format!("{flagged} of {} records {word}", screen.records)
            }
            (None, Some(scan)) => format!("scanned {}", scan.verdict),
            (None, None) => "not inspected, as asked".to_owned(),
        };
        self.settings.progress.note(&format!("admitted   {}  {found}", version.reference()));
    }
}

/// What the built-in trainer calls its model.
const MODEL_FILE: &str = "model.onnx";
/// What the built-in trainer calls its report.
pub(crate) const HARDEN_REPORT: &str = "harden.json";

/// Reads the settings of a training from a TOML file.
pub fn read_harden_plan(file: &Path) -> Result<HardenPlan, EngineError> {
    let text = std::fs::read_to_string(file).map_err(EngineError::io(file))?;
    toml::from_str(&text).map_err(|error| EngineError::Plan { file: file.to_owned(), what: error.to_string() })
}
