//! The training job: its inputs and limits, its supervision, and the statement of where its outputs come from.

use std::{
    io::{Cursor, Read as _},
    path::Path,
};

use ringfence_access::{Action, DemandLevel, Exemptions, Facts, NamespaceState, SandboxLevel};
use ringfence_sandbox::{
    Demand, EgressPolicy, Ending, Gpus, Job as SandboxJob, Level, RunLimits, RunResult, SandboxError, Source, Stop,
};
use ringfence_schema::{
    ArtifactKind, ArtifactName, Digest, Hasher, digest::hex, event::RunEvent, evidence::EvidenceKind,
    report::HardenReport,
};
use ringfence_store::Cuts;
use ringfence_trust::{
    entropy::{self, SystemEntropy},
    keys::Namespace,
};
use ringfence_watch::run::Expectations;
use serde_json::{Value, json};

use super::{
    HARDEN_REPORT, Inputs, MODEL_FILE, RunOptions,
    guard::Guard,
    live::{Live, Order},
    telemetry::Telemetry,
};
use crate::{
    act::{Act, Blob, Effect, Reach, Salvage},
    admit::{fill_index, resource},
    error::EngineError,
    plan::{DemandedLevel, GpuWord, Plan, RateTable, Trainer},
    provenance::{self, Input},
    record::{RunRow, Version},
    source::Bounded,
    stage::Candidate,
    vault::{Vault, store_error},
};

impl Vault<'_> {
    /// Runs the plan's command on its inputs, in the sandbox.
    pub(super) fn train(&self, plan: &Plan, options: &RunOptions, inputs: &Inputs) -> Result<Candidate, EngineError> {
        let run = &plan.content.run;
        let demand = self.demand(plan, options);
        let probe = ringfence_sandbox::probe(&self.settings.program, &["__supervise"])
            .map_err(|error| EngineError::incomplete("sandbox", error))?;
        self.settings.progress.note(&format!("sandbox    {}", probe.line));
        let level = match probe.level {
            Some(level) if level >= demand.least() => level_of(level),
            Some(_) => {
                let demanded = demand.least().name();
                return Err(EngineError::incomplete(
                    "sandbox",
                    format!("level `{demanded}` is demanded; {}", probe.line),
                ));
            }
            None => return Err(EngineError::incomplete("sandbox", probe.line)),
        };
        let all = inputs.all();
        let used: Vec<Input> = all
            .iter()
            .map(|(role, version)| Input {
                role: role.clone(),
                artifact: version.reference().to_string(),
                tree: version.tree,
            })
            .collect();
        let name = ArtifactName::new(ArtifactKind::Checkpoint, &run.name)
            .map_err(|error| EngineError::Plan { file: plan.file.clone(), what: error.to_string() })?;
        let number = self.free_version(&name)?;
        let id: [u8; 8] = entropy::bytes(&mut SystemEntropy::new());
        let id = format!("r-{}", hex(&id));
        let command = command(plan);
        let act = Act {
            action: Action::Train,
            resources: all.iter().map(|(_, version)| resource(version)).collect(),
            facts: Facts { sandbox: level, ..Facts::default() },
            request: json!({"plan": Digest::of(plan.text.as_bytes()), "run": id, "command": command, "inputs": used}),
            subject: format!("{name}@{number}"),
            reach: Reach::Inside,
        };
        let (mut candidate, index) = self.act_salvaging(act, |salvage| {
            let job = self.job(plan, &id, &command, demand, &all)?;
            let train = inputs.data.get("train").map(|admitted| &admitted.version);
            let expected = self.expectations(&job, plan, train)?;
            let work = Work { id: &id, plan, command: &command, used: &used, name: &name, number };
            self.supervise(job, &work, expected, salvage)
        })?;
        fill_index(&mut candidate.version, index);
        self.settings.progress.note(&format!("trained    {}", candidate.version.reference()));
        Ok(candidate)
    }

    fn demand(&self, plan: &Plan, options: &RunOptions) -> Demand {
        let policy = match self.policies.settings().demand_level {
            DemandLevel::Any => DemandedLevel::Any,
            DemandLevel::NoCgroup => DemandedLevel::NoCgroup,
            DemandLevel::Full => DemandedLevel::Full,
        };
        match policy.max(options.level).max(plan.content.run.level) {
            DemandedLevel::Any => Demand::Any,
            DemandedLevel::NoCgroup => Demand::NoCgroup,
            DemandedLevel::Full => Demand::Full,
        }
    }

    fn job(
        &self,
        plan: &Plan,
        id: &str,
        command: &[String],
        demand: Demand,
        inputs: &[(String, &Version)],
    ) -> Result<SandboxJob, EngineError> {
        let limits = &plan.content.run.limits;
        let mut sources = Vec::new();
        let mut program = Vec::new();
        for (role, version) in inputs {
            let manifest = self.manifest(version)?;
            for file in manifest.tree().files() {
                let mut bytes = Vec::new();
                let mut reader = self.store.read(&manifest, &file.path).map_err(|error| store_error(&error))?;
                Bounded::new(&mut reader, limits.memory.0)
                    .read_to_end(&mut bytes)
                    .map_err(|error| EngineError::incomplete(format!("input {role}/{}", file.path), error))?;
                let into = |path: String, executable| Source {
                    path,
                    size: bytes.len() as u64,
                    executable,
                    content: Box::new(Cursor::new(bytes)),
                };
                if role == "code" {
                    program.push(into(file.path.clone(), true));
                } else {
                    sources.push(into(format!("{role}/{}", file.path), false));
                }
            }
        }
        if plan.content.run.trainer == Some(Trainer::Harden) {
            let settings = toml::to_string(&plan.content.run.harden)
                .map_err(|error| EngineError::incomplete("run.harden", error))?;
            sources.push(Source {
                path: "harden.toml".into(),
                size: settings.len() as u64,
                executable: false,
                content: Box::new(Cursor::new(settings.into_bytes())),
            });
            let own = std::fs::File::open(&self.settings.program).map_err(EngineError::io(&self.settings.program))?;
            let size = own.metadata().map_err(EngineError::io(&self.settings.program))?.len();
            program.push(Source { path: "ringfence".into(), size, executable: true, content: Box::new(own) });
        }
        Ok(SandboxJob {
            run_id: id.to_owned(),
            command: command.to_vec(),
            environment: plan
                .content
                .run
                .environment
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            readable: Vec::new(),
            inputs: sources,
            program,
            limits: RunLimits {
                memory_bytes: limits.memory.0,
                processes: limits.processes,
                wall_ms: limits.wall.0,
                output_bytes: limits.out.0,
                ..RunLimits::default()
            },
            demand,
            egress: self.granted_egress(plan)?,
            gpus: match &plan.content.run.gpus {
                GpuWord::None => Gpus::None,
                GpuWord::All(_) => Gpus::All,
                GpuWord::These(list) => Gpus::These(list.clone()),
            },
        })
    }

    fn granted_egress(&self, plan: &Plan) -> Result<EgressPolicy, EngineError> {
        let table = &plan.content.run.egress;
        let granted = table.grant(self.policies.settings(), self.facts().custody).map_err(|why| {
            EngineError::Refused { gate: "train", subject: plan.content.run.name.clone(), reasons: vec![why] }
        })?;
        if !granted.is_empty() {
            let hosts: Vec<String> =
                granted.allow.iter().map(|allowed| format!("{}:{}", allowed.host, allowed.port)).collect();
            self.settings.progress.note(&format!("egress     {}", hosts.join(", ")));
        }
        Ok(granted)
    }

    /// What the plan and the admitted data let expect of the run.
    fn expectations(
        &self,
        job: &SandboxJob,
        plan: &Plan,
        train: Option<&Version>,
    ) -> Result<Expectations, EngineError> {
        let watch = &plan.content.run.watch;
        let profile = match train.filter(|_| !watch.resamples) {
            Some(version) => self.screen_report(version)?,
            None => None,
        };
        let classes = profile.as_ref().map(|report| report.dataset.classes.clone()).unwrap_or_default();
        let whole = classes.values().sum::<u64>().max(1) as f64;
        Ok(Expectations {
            label_shares: classes.iter().map(|(label, count)| (label.clone(), *count as f64 / whole)).collect(),
            records: profile.map(|report| report.records),
            ordered: watch.ordered,
            learning_rate: watch.learning_rate.as_ref().map(RateTable::plan),
            egress_budget_bytes: (!job.egress.is_empty()).then_some(job.egress.sent_bytes_max),
            cores: std::thread::available_parallelism().ok().map(|cores| cores.get() as f64),
            memory_bytes: Some(job.limits.memory_bytes),
            processes: Some(job.limits.processes),
            output_bytes: Some(job.limits.output_bytes),
            reports: watch.reports.into(),
            has_inputs: Some(!job.inputs.is_empty()),
            ..Expectations::default()
        })
    }

    /// Runs the job under a keyless supervisor and takes its outputs back through quarantine.
    fn supervise(
        &self,
        job: SandboxJob,
        work: &Work<'_>,
        expected: Expectations,
        salvage: &mut Salvage,
    ) -> Result<Effect<Candidate>, EngineError> {
        let limits = serde_json::to_value(job.limits).unwrap_or(Value::Null);
        let started = (self.settings.now)();
        let mut writer = self.writer(Namespace::Quarantine)?;
        let mut training = None;
        let progress = self.settings.progress;
        let stop = Stop::new();
        let pulled = stop.clone();
        let (live, unheard) = Live::begin(&self.settings.vault, work.id, move |order| match order {
            Order::Stop => pulled.stop(),
            Order::Freeze => pulled.freeze(),
            Order::Thaw => pulled.thaw(),
        });
        if let Some(error) = unheard {
            progress.note(&format!("run {} cannot be followed from elsewhere: {error}", work.id));
        }
        let mut telemetry = Telemetry::new(&live);
        let mut guard = Guard::new(self, &live, stop.clone(), work.id, expected)?;
        progress.note(&format!("running    {}", work.id));
        progress.begin("training", None);
        let ran = {
            let mut events = |event: RunEvent| {
                let seconds = event.at_ms / 1_000;
                let seen = event.clone();
                if let Some(line) = telemetry.take(event) {
                    progress.advance(seconds, &line);
                }
                guard.take(&seen);
            };
            let mut collect = |path: &str, content: &mut dyn std::io::Read| -> std::io::Result<()> {
                let mut kept = Vec::new();
                let mut content: Box<dyn std::io::Read + '_> = if path == HARDEN_REPORT {
                    content.take(REPORT_BYTES_MAX).read_to_end(&mut kept)?;
                    training = serde_json::from_slice::<HardenReport>(&kept).ok();
                    Box::new(Cursor::new(kept))
                } else {
                    Box::new(content)
                };
                writer.file(path, &mut content, Cuts::Content).map(|_| ()).map_err(std::io::Error::other)
            };
            ringfence_sandbox::run_keyless(
                &self.settings.program,
                &["__supervise"],
                job,
                &stop,
                &mut events,
                &mut collect,
            )
        };
        guard.end();
        progress.end("");
        let (alerts, ended_by) = (guard.alerts(), guard.ended_by().map(str::to_owned));
        let kept = live.bytes();
        if live.dropped() > 0 {
            progress.note(&format!("telemetry  {} lines beyond the limit were not kept", live.dropped()));
        }
        let kept_digest = Digest::of(&kept);
        salvage.openings.insert("run".into(), json!(work.id));
        salvage.openings.insert("telemetry".into(), json!(kept_digest));
        salvage.openings.insert("subject".into(), json!(format!("{}@{}", work.name, work.number)));
        salvage.blobs.push(Blob::new("run", kept));
        let result = ran.map_err(|error| match error {
            SandboxError::Command { command, detail } => EngineError::incomplete(
                format!("command `{command}`"),
                format!(
                    "{detail}; the run was skipped: install it on this machine, or name another command in the plan"
                ),
            ),
            other => EngineError::incomplete("sandbox", other),
        })?;
        let exit_code = ended_well(&result, work, &telemetry, ended_by.as_deref())?;
        let finished = (self.settings.now)();
        let sealed = self.finish(writer)?;
        if sealed.tree.files().is_empty() {
            return Err(EngineError::incomplete(
                work.name.to_string(),
                "the command ended well but left nothing in $RINGFENCE_OUT",
            ));
        }
        let statement = provenance::write(&provenance::Run {
            vault: self.id().to_string(),
            id: work.id.to_owned(),
            name: format!("{}@{}", work.name, work.number),
            output: sealed.tree.digest(),
            plan: Digest::of(work.plan.text.as_bytes()),
            command: work.command,
            limits,
            inputs: work.used,
            level: level_of(result.level),
            measures: &result.measures,
            environment: provenance::environment(work.command),
            policy: self.policies.digest(),
            telemetry: kept_digest,
            program: self.own_digest()?,
            exit_code,
            started,
            finished,
        });
        let signed = self.sign(EvidenceKind::Provenance, sealed.tree.digest(), &statement, None)?;
        let mut version = Version {
            artifact: work.name.clone(),
            version: work.number,
            state: NamespaceState::Candidate,
            manifest: sealed.manifest.to_string(),
            tree: sealed.tree.digest(),
            files: sealed.tree.files().len() as u64,
            bytes: sealed.tree.size(),
            source: sealed.tree.digest(),
            written: finished,
            evidence: Vec::new(),
            reading: None,
            labels: Vec::new(),
            refused: None,
            exempt: Exemptions::default(),
            waived: 0,
            run: Some(RunRow { id: work.id.to_owned(), inputs: work.used.to_vec() }),
            origin: None,
            revoked: None,
            by: self.is_shared().then(|| self.caller.person.id.clone()),
            admitted: None,
        };
        let mut effect = Effect::of(());
        signed.into_effect(&mut version, &mut effect);
        effect.blobs.append(&mut salvage.blobs);
        effect.openings.append(&mut salvage.openings);
        effect.sealed.push(sealed);
        let observed = observed(&result, work.id, alerts);
        Ok(effect.replace(Candidate { version, training, observed }))
    }

    /// SHA-256 of this program.
    fn own_digest(&self) -> Result<Digest, EngineError> {
        let path = &self.settings.program;
        let mut hasher = Hasher::new();
        let mut file = std::fs::File::open(path).map_err(EngineError::io(path))?;
        std::io::copy(&mut file, &mut hasher).map_err(EngineError::io(path))?;
        Ok(hasher.finish())
    }
}

/// A run as its steps need it.
struct Work<'a> {
    id: &'a str,
    plan: &'a Plan,
    command: &'a [String],
    used: &'a [Input],
    name: &'a ArtifactName,
    number: u64,
}

/// The command, with the built-in trainer spelt out.
fn command(plan: &Plan) -> Vec<String> {
    let run = &plan.content.run;
    if let Some(command) = &run.command {
        return command.clone();
    }
    let file = |path: &Path| path.file_name().map(|name| quote(&name.to_string_lossy())).unwrap_or_default();
    let data = plan.content.data.get("train");
    let base = plan.content.model.get("base");
    let mut line = String::from("exec ./ringfence --quiet --format json harden \"$RINGFENCE_IN\"/base/");
    line.push_str(&base.map(|base| file(&base.path)).unwrap_or_default());
    line.push_str(" --data \"$RINGFENCE_IN\"/train/");
    line.push_str(&data.map(|data| file(&data.path)).unwrap_or_default());
    if let Some(data) = data {
        if let Some(label) = &data.label {
            line.push_str(&format!(" --label {}", quote(label)));
        }
        if let Some(labels) = &data.labels {
            line.push_str(&format!(" --labels \"$RINGFENCE_IN\"/train/{}", file(labels)));
        }
        if !data.shape.is_empty() {
            let shape: Vec<String> = data.shape.iter().map(ToString::to_string).collect();
            line.push_str(&format!(" --shape {}", shape.join(",")));
        }
        line.push_str(&format!(" --scale {}", data.scale));
    }
    line.push_str(" --settings \"$RINGFENCE_IN\"/harden.toml");
    line.push_str(&format!(" --out \"$RINGFENCE_OUT\"/{MODEL_FILE} --report \"$RINGFENCE_OUT\"/{HARDEN_REPORT}"));
    vec!["/bin/sh".into(), "-c".into(), line]
}

/// A word for the shell, whatever is in it.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The exit code of a job that ended well, or why it did not.
fn ended_well(
    result: &RunResult,
    work: &Work<'_>,
    telemetry: &Telemetry<'_>,
    ended_by: Option<&str>,
) -> Result<i32, EngineError> {
    let why = match &result.ending {
        Ending::Exited(0) => return Ok(0),
        Ending::Exited(code) => format!("exit code {code}"),
        Ending::Signalled(signal) => format!("signal {signal}"),
        Ending::Limit(limit) => format!("killed at its limit: {limit}"),
        Ending::Stopped => match ended_by {
            Some(alert) => format!("a stop, asked for by alert {alert}"),
            None => "a stop that somebody ordered".to_owned(),
        },
    };
    let refused: Vec<&str> = result.refused.iter().map(|(call, _)| call.as_str()).take(REFUSED_SHOWN).collect();
    let refused =
        if refused.is_empty() { String::new() } else { format!("; the sandbox refused it: {}", refused.join(", ")) };
    let last = telemetry.last_lines();
    let said = if last.is_empty() { String::new() } else { format!("; its last words: {}", last.join(" / ")) };
    Err(EngineError::incomplete(
        format!("run {} of {}", work.id, work.name),
        format!("the command ended with {why}{said}{refused}"),
    ))
}

fn level_of(level: Level) -> SandboxLevel {
    match level {
        Level::Full => SandboxLevel::Full,
        Level::NoCgroup => SandboxLevel::NoCgroup,
        Level::Landlock => SandboxLevel::Landlock,
    }
}

/// What the supervisor saw, for people.
fn observed(result: &RunResult, id: &str, alerts: u64) -> Vec<(String, String)> {
    let totals = &result.totals;
    let refused: Vec<String> = result.refused.iter().map(|(call, times)| format!("{call} ({times})")).collect();
    vec![
        ("run".into(), id.to_owned()),
        ("level".into(), result.level.name().to_owned()),
        ("measures".into(), result.measures.join("; ")),
        ("wall time".into(), format!("{:.1} s", totals.wall_ms as f64 / 1e3)),
        ("CPU time".into(), format!("{:.1} s", totals.cpu_ms as f64 / 1e3)),
        ("most memory".into(), format!("{:.1} MiB", totals.memory_bytes as f64 / f64::from(1 << 20))),
        ("most processes".into(), totals.processes.to_string()),
        ("refused system calls".into(), if refused.is_empty() { "none".into() } else { refused.join(", ") }),
        ("bytes sent and received".into(), format!("{}, {}", totals.sent_bytes, totals.received_bytes)),
        ("alerts".into(), alerts.to_string()),
        ("outputs".into(), format!("{} collected, {} refused", result.collected, result.not_collected)),
    ]
}

/// Largest training report that is read, in bytes.
const REPORT_BYTES_MAX: u64 = 4 << 20;
/// Refused calls of a failed command that its error names.
const REFUSED_SHOWN: usize = 5;
