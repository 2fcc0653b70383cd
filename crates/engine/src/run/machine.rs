//! Where the command of a run runs: on the vault's own machine ([`Here`]), or on another one ([`super::elsewhere`]).
//!
//! All other steps of a run are the same: the decision, the record, the watch, the outputs' way through quarantine, the
//! attacks, the release. A machine takes a [`Work`], hands over events while it goes on, and brings a [`Ran`].

use std::{
    io::{self, Read},
    thread,
};

use ringfence_sandbox::{Level, RunResult, Stop, probe, run_keyless};
use ringfence_schema::{ArtifactName, Digest, event::RunEvent};
use ringfence_store::{Cuts, Writer};
use ringfence_trust::keys::Namespace;
use serde_json::Value;

use super::{
    job::{self, Content, Given, Granted},
    train::run_id,
};
use crate::{
    act::Reach,
    error::EngineError,
    plan::Plan,
    provenance::{self, Input},
    record::Version,
    source::Bounded,
    vault::{Vault, store_error},
};

/// What a machine offers.
pub(super) struct Offer {
    /// How far it can confine; `None`: not at all.
    pub(super) level: Option<Level>,
    /// The same in one line for people.
    pub(super) line: String,
    /// Its cores, where known.
    pub(super) cores: Option<f64>,
}

/// A run as its steps need it.
pub(super) struct Work<'a> {
    pub(super) id: &'a str,
    pub(super) plan: &'a Plan,
    pub(super) command: &'a [String],
    pub(super) used: &'a [Input],
    pub(super) name: &'a ArtifactName,
    pub(super) number: u64,
    pub(super) granted: &'a Granted,
    pub(super) given: &'a [Given],
    pub(super) inputs: &'a [(String, &'a Version)],
}

/// What came of a command that was run.
pub(super) struct Ran {
    /// How it ended.
    pub(super) result: RunResult,
    /// Its outputs, sealed in quarantine.
    pub(super) outputs: Writer,
    /// What it ran in, as provenance has it.
    pub(super) environment: Value,
    /// SHA-256 of the program that supervised it.
    pub(super) program: Digest,
}

/// A place for commands.
pub(super) trait Machine {
    /// The id of the run that it is for.
    fn run_id(&self) -> String;

    /// What it offers.
    fn offer(&self, vault: &Vault<'_>) -> Result<Offer, EngineError>;

    /// Where its effects lie.
    fn reach(&self) -> Reach;

    /// Which machine it is, where what it tells was not seen by this vault's own.
    fn told(&self) -> Option<Value>;

    /// Runs the command of `work` until it ends or `stop` is pulled.
    fn run(
        &self,
        vault: &Vault<'_>,
        work: &Work<'_>,
        stop: &Stop,
        events: &mut dyn FnMut(RunEvent),
    ) -> Result<Ran, EngineError>;
}

/// This machine, under a keyless supervisor.
pub(super) struct Here;

impl Machine for Here {
    fn run_id(&self) -> String {
        run_id()
    }

    fn offer(&self, vault: &Vault<'_>) -> Result<Offer, EngineError> {
        let probe = probe(&vault.settings.program, &["__supervise"])
            .map_err(|error| EngineError::incomplete("sandbox", error))?;
        let cores = thread::available_parallelism().ok().map(|cores| cores.get() as f64);
        Ok(Offer { level: probe.level, line: probe.line, cores })
    }

    fn reach(&self) -> Reach {
        Reach::Inside
    }

    fn told(&self) -> Option<Value> {
        None
    }

    fn run(
        &self,
        vault: &Vault<'_>,
        work: &Work<'_>,
        stop: &Stop,
        events: &mut dyn FnMut(RunEvent),
    ) -> Result<Ran, EngineError> {
        let program = &vault.settings.program;
        let contents = vault.contents(work.plan, work.inputs)?;
        let job = job::job(work.plan, work.id, work.command, work.granted.clone(), contents, program)?;
        let mut outputs = vault.writer(Namespace::Quarantine)?;
        let mut collect = |path: &str, mut content: &mut dyn Read| -> io::Result<()> {
            outputs.file(path, &mut content, Cuts::Content).map(|_| ()).map_err(io::Error::other)
        };
        let result = run_keyless(program, &["__supervise"], job, stop, events, &mut collect).map_err(job::failed)?;
        let environment = provenance::environment(work.command);
        Ok(Ran { result, outputs, environment, program: job::program_digest(program)? })
    }
}

impl Vault<'_> {
    /// The bytes of a run's inputs.
    fn contents(&self, plan: &Plan, inputs: &[(String, &Version)]) -> Result<Vec<Content>, EngineError> {
        let most = plan.content.run.limits.memory.0;
        let mut contents = Vec::new();
        for (role, version) in inputs {
            let manifest = self.manifest(version)?;
            for file in manifest.tree().files() {
                let mut bytes = Vec::new();
                let mut reader = self.store.read(&manifest, &file.path).map_err(|error| store_error(&error))?;
                Bounded::new(&mut reader, most)
                    .read_to_end(&mut bytes)
                    .map_err(|error| EngineError::incomplete(format!("input {role}/{}", file.path), error))?;
                contents.push(Content { role: role.clone(), path: file.path.clone(), bytes });
            }
        }
        Ok(contents)
    }
}
