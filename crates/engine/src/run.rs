//! One plan, the whole way: admit the inputs, train in the sandbox, attack the result, release it.

mod command;
pub mod elsewhere;
pub(crate) mod guard;
pub(crate) mod job;
pub(crate) mod live;
mod machine;
pub mod queue;
mod telemetry;
mod test;
pub mod told;
mod train;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ringfence_access::Exemptions;
use ringfence_attack::HardenPlan;
use ringfence_schema::{ArtifactKind, Reference};

use self::{
    job::CODE,
    machine::{Here, Machine},
};
use crate::{
    admit::{Intake, Origin},
    error::EngineError,
    plan::{DemandedLevel, Plan, Whence},
    record::{Flagged, Reading, Version},
    stage::{Admitted, Found, Released},
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
        /// The bundle's folder; `None` where it stays in the vault.
        folder: Option<PathBuf>,
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
        /// The report page for people, beside where the bundle would be; `None` where it would stay in the vault.
        report: Option<PathBuf>,
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
        let code = self.code.iter().map(|admitted| (CODE.to_owned(), &admitted.version));
        data.chain(models).chain(code).collect()
    }
}

impl Vault<'_> {
    /// Carries out `plan`. Alerts go out to the sinks meanwhile.
    pub fn run(&mut self, plan: &Plan, options: &RunOptions) -> Result<RunEnd, EngineError> {
        self.tighten(&plan.content.policy.forbid).map_err(|what| plan.wrong(format!("`policy.forbid`: {what}")))?;
        let vault: &Self = self;
        vault.dispatching(|| {
            let inputs = vault.admit_inputs(plan, options.exempt)?;
            let folder = options.release_to.clone().unwrap_or_else(|| plan.release_folder());
            vault.carry_out(plan, options, &inputs, &Here, Some(&folder))
        })
    }

    /// From admitted inputs to the end, with the command on `machine`; the bundle goes to `folder`, or stays in the vault.
    fn carry_out(
        &self,
        plan: &Plan,
        options: &RunOptions,
        inputs: &Inputs,
        machine: &dyn Machine,
        folder: Option<&Path>,
    ) -> Result<RunEnd, EngineError> {
        let candidate = self.train(plan, options, inputs, machine)?;
        let Some(test) = &plan.content.test else {
            return Ok(RunEnd::Kept { candidate: candidate.version });
        };
        let (candidate, scan_refusal) = self.scan_candidate(candidate)?;
        if let Some(reason) = scan_refusal {
            self.settings.progress.note(&reason);
        }
        let training = candidate.training.clone();
        let observed = candidate.observed.clone();
        let tested = self.test(plan, test, inputs, candidate)?;
        self.release(plan, tested, inputs, training.as_ref(), &observed, folder)
    }

    fn admit_inputs(&self, plan: &Plan, exempt: Exemptions) -> Result<Inputs, EngineError> {
        let run = &plan.content.run;
        let mut inputs = Inputs { data: BTreeMap::new(), models: BTreeMap::new(), code: None };
        for (role, data) in &plan.content.data {
            let path = match data.whence(role).map_err(|what| plan.wrong(what))? {
                Whence::Files(path) => plan.resolve(&path),
                Whence::Vault(wanted) => {
                    inputs.data.insert(role.clone(), self.known_input(&wanted)?);
                    continue;
                }
            };
            let labels = data.labels.as_ref().map(|path| plan.resolve(path));
            let admitted = self.add(&Intake {
                from: Origin::Files(&path),
                name: plan.name_of(ArtifactKind::Dataset, data.name.as_deref(), role)?,
                reading: data.reading(role),
                labels: labels.as_deref(),
                exempt,
            })?;
            self.say_admitted(&admitted);
            inputs.data.insert(role.clone(), admitted);
        }
        for (role, model) in &plan.content.model {
            let path = match model.whence(role).map_err(|what| plan.wrong(what))? {
                Whence::Files(path) => plan.resolve(&path),
                Whence::Vault(wanted) => {
                    inputs.models.insert(role.clone(), self.known_input(&wanted)?);
                    continue;
                }
            };
            let admitted = self.add(&Intake {
                from: Origin::Files(&path),
                name: plan.name_of(ArtifactKind::Model, model.name.as_deref(), role)?,
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
                name: plan.name_of(ArtifactKind::Code, None, CODE)?,
                reading: Reading::default(),
                labels: None,
                exempt,
            })?;
            inputs.code = Some(admitted);
        }
        Ok(inputs)
    }

    /// An input that the vault already has. Whether a run may have it, the gate on the run decides.
    fn known_input(&self, wanted: &Reference) -> Result<Admitted, EngineError> {
        let version = self.find(wanted)?;
        version.still_there()?;
        if let Some(why) = version.revoked.as_ref().or(version.refused.as_ref()) {
            return Err(EngineError::NotPermitted { what: format!("{wanted} is not used any more: {why}") });
        }
        let screen = match version.artifact.kind() {
            ArtifactKind::Dataset => self.screen_report(&version)?,
            _ => None,
        };
        let found = Found { screen, ..Found::default() };
        self.settings.progress.note(&format!("known      {}", version.reference()));
        Ok(Admitted { version, found })
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
