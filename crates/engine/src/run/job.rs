//! What the sandbox is given for a plan: the same on whichever machine the command runs.

use std::{fs::File, io::Cursor, path::Path};

use ringfence_sandbox::{Demand, EgressPolicy, Gpus, Job as SandboxJob, RunLimits, SandboxError, Source};
use ringfence_schema::{Digest, Hasher, tree::TreeEntry};
use serde::{Deserialize, Serialize};

use super::{HARDEN_REPORT, MODEL_FILE};
use crate::{
    error::EngineError,
    plan::{GpuWord, Plan, Trainer},
    provenance::Input,
    record::Reading,
};

/// The role of code among a run's inputs.
pub(crate) const CODE: &str = "code";

/// One input of a run, with its files but without their bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// Role, artifact and identity.
    #[serde(flatten)]
    pub input: Input,
    /// Its files, in the order of their paths.
    pub files: Vec<TreeEntry>,
    /// How a dataset is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<Reading>,
}

impl Given {
    /// The file that holds the records of a dataset, or the first of anything else.
    fn main_file(&self) -> Option<&str> {
        let labels = self.reading.as_ref().and_then(|reading| reading.labels.as_ref());
        self.files.iter().map(|file| &file.path).find(|path| Some(*path) != labels).map(String::as_str)
    }
}

/// What a run may have of the machine, decided before it begins.
#[derive(Debug, Clone)]
pub(crate) struct Granted {
    /// The least confinement.
    pub(crate) demand: Demand,
    /// What it may reach.
    pub(crate) egress: EgressPolicy,
}

/// A file of an input with its bytes.
pub(crate) struct Content {
    /// Whose file it is.
    pub(crate) role: String,
    /// Its path within the input.
    pub(crate) path: String,
    /// All of it.
    pub(crate) bytes: Vec<u8>,
}

/// The job of run `id` for the sandbox of this machine, where this program lies at `program`.
pub(crate) fn job(
    plan: &Plan,
    id: &str,
    command: &[String],
    granted: Granted,
    inputs: Vec<Content>,
    program: &Path,
) -> Result<SandboxJob, EngineError> {
    let run = &plan.content.run;
    let (mut sources, mut programs) = (Vec::new(), Vec::new());
    for Content { role, path, bytes } in inputs {
        let is_code = role == CODE;
        let path = if is_code { path } else { format!("{role}/{path}") };
        let size = bytes.len() as u64;
        let source = Source { path, size, executable: is_code, content: Box::new(Cursor::new(bytes)) };
        if is_code { programs.push(source) } else { sources.push(source) }
    }
    if run.trainer == Some(Trainer::Harden) {
        let settings =
            toml::to_string(&run.harden).map_err(|error| EngineError::incomplete("run.harden", error))?.into_bytes();
        let size = settings.len() as u64;
        let content = Box::new(Cursor::new(settings));
        sources.push(Source { path: "harden.toml".into(), size, executable: false, content });
        let own = File::open(program).map_err(EngineError::io(program))?;
        let size = own.metadata().map_err(EngineError::io(program))?.len();
        programs.push(Source { path: "ringfence".into(), size, executable: true, content: Box::new(own) });
    }
    Ok(SandboxJob {
        run_id: id.to_owned(),
        command: command.to_vec(),
        environment: run.environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        readable: Vec::new(),
        inputs: sources,
        program: programs,
        limits: limits(plan),
        demand: granted.demand,
        egress: granted.egress,
        gpus: match &run.gpus {
            GpuWord::None => Gpus::None,
            GpuWord::All(_) => Gpus::All,
            GpuWord::These(list) => Gpus::These(list.clone()),
        },
    })
}

/// The plan's limits as the sandbox takes them.
pub(crate) fn limits(plan: &Plan) -> RunLimits {
    let limits = &plan.content.run.limits;
    RunLimits {
        memory_bytes: limits.memory.0,
        processes: limits.processes,
        wall_ms: limits.wall.0,
        output_bytes: limits.out.0,
        ..RunLimits::default()
    }
}

/// The command, with the built-in trainer spelt out.
pub(crate) fn command(plan: &Plan, inputs: &[Given]) -> Vec<String> {
    if let Some(command) = &plan.content.run.command {
        return command.clone();
    }
    let given = |role: &str| inputs.iter().find(|given| given.input.role == role);
    let file = |given: Option<&Given>| quote(given.and_then(Given::main_file).unwrap_or_default());
    let train = given("train");
    let mut line = String::from("exec ./ringfence --quiet --format json harden \"$RINGFENCE_IN\"/base/");
    line.push_str(&file(given("base")));
    line.push_str(" --data \"$RINGFENCE_IN\"/train/");
    line.push_str(&file(train));
    if let Some(reading) = train.and_then(|train| train.reading.as_ref()) {
        if let Some(label) = &reading.label {
            line.push_str(&format!(" --label {}", quote(label)));
        }
        if let Some(labels) = &reading.labels {
            line.push_str(&format!(" --labels \"$RINGFENCE_IN\"/train/{}", quote(labels)));
        }
        if !reading.shape.is_empty() {
            let shape: Vec<String> = reading.shape.iter().map(ToString::to_string).collect();
            line.push_str(&format!(" --shape {}", shape.join(",")));
        }
        line.push_str(&format!(" --scale {}", reading.scale));
    }
    line.push_str(" --settings \"$RINGFENCE_IN\"/harden.toml");
    line.push_str(&format!(" --out \"$RINGFENCE_OUT\"/{MODEL_FILE} --report \"$RINGFENCE_OUT\"/{HARDEN_REPORT}"));
    vec!["/bin/sh".into(), "-c".into(), line]
}

/// A word for the shell, whatever is in it.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Why the sandbox of a machine did not run a command.
pub(crate) fn failed(error: SandboxError) -> EngineError {
    match error {
        SandboxError::Command { command, detail } => EngineError::incomplete(
            format!("command `{command}`"),
            format!("{detail}; the run was skipped: install it on this machine, or name another command in the plan"),
        ),
        other => EngineError::incomplete("sandbox", other),
    }
}

/// SHA-256 of the program at `path`.
pub(crate) fn program_digest(path: &Path) -> Result<Digest, EngineError> {
    let mut hasher = Hasher::new();
    let mut file = File::open(path).map_err(EngineError::io(path))?;
    std::io::copy(&mut file, &mut hasher).map_err(EngineError::io(path))?;
    Ok(hasher.finish())
}
