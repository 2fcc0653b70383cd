//! The training job: its inputs and limits, its supervision, and the statement of where its outputs come from.

use std::{cell::OnceCell, io::Read as _};

use ringfence_access::{Action, DemandLevel, Exemptions, Facts, NamespaceState, SandboxLevel};
use ringfence_sandbox::{Demand, EgressPolicy, Ending, Level, RunResult, Stop};
use ringfence_schema::{
    ArtifactKind, ArtifactName, Digest, digest::hex, event::RunEvent, evidence::EvidenceKind, report::HardenReport,
};
use ringfence_trust::entropy::{self, SystemEntropy};
use ringfence_watch::run::Expectations;
use serde_json::{Value, json};

use super::{
    HARDEN_REPORT, Inputs, RunOptions,
    guard::Guard,
    job::{self, CODE, Given, Granted},
    live::{Live, Order},
    machine::{Machine, Ran, Work},
    telemetry::Telemetry,
};
use crate::{
    act::{Act, Blob, Effect, Salvage},
    admit::{fill_index, resource},
    error::EngineError,
    plan::{DemandedLevel, Plan, RateTable},
    provenance::{self, Input},
    record::{RunRow, Version},
    stage::Candidate,
    vault::{Vault, store_error},
};

impl Vault<'_> {
    /// Runs the plan's command on its inputs, in the sandbox of `machine`.
    pub(super) fn train(
        &self,
        plan: &Plan,
        options: &RunOptions,
        inputs: &Inputs,
        machine: &dyn Machine,
    ) -> Result<Candidate, EngineError> {
        let run = &plan.content.run;
        let demand = self.demand(plan, options);
        let offer = machine.offer(self)?;
        self.settings.progress.note(&format!("sandbox    {}", offer.line));
        let level = match offer.level {
            Some(level) if level >= demand.least() => level_of(level),
            Some(_) => {
                let demanded = demand.least().name();
                return Err(EngineError::incomplete(
                    "sandbox",
                    format!("level `{demanded}` is demanded; {}", offer.line),
                ));
            }
            None => return Err(EngineError::incomplete("sandbox", offer.line)),
        };
        let all = inputs.all();
        let given = all.iter().map(|(role, version)| self.given(role, version)).collect::<Result<Vec<Given>, _>>()?;
        let used: Vec<Input> = given.iter().map(|given| given.input.clone()).collect();
        let name =
            ArtifactName::new(ArtifactKind::Checkpoint, &run.name).map_err(|error| plan.wrong(error.to_string()))?;
        let own = self.free_version(&name)?;
        let number = own.get();
        let id = machine.run_id();
        let command = job::command(plan, &given);
        let mut request = json!({"plan": plan.digest(), "run": id, "command": command, "inputs": used});
        if let (Some(told), Some(fields)) = (machine.told(), request.as_object_mut()) {
            fields.insert("machine".to_owned(), told);
        }
        let act = Act {
            action: Action::Train,
            resources: all.iter().map(|(_, version)| resource(version)).collect(),
            facts: Facts { sandbox: level, ..Facts::default() },
            request,
            subject: format!("{name}@{number}"),
            reach: machine.reach(),
        };
        // Followed until its end is on record: at no moment does nobody know of it.
        let on_air = OnceCell::new();
        let (mut candidate, index) = self.act_salvaging(act, |salvage| {
            let granted = Granted { demand, egress: self.granted_egress(plan)? };
            let train = inputs.data.get("train").map(|admitted| &admitted.version);
            let work = Work {
                id: &id,
                plan,
                command: &command,
                used: &used,
                name: &name,
                number,
                granted: &granted,
                given: &given,
                inputs: &all,
            };
            let expected = self.expectations(&work, train, offer.cores)?;
            self.supervise(machine, &work, expected, salvage, &on_air)
        })?;
        fill_index(&mut candidate.version, index);
        candidate.training = self.training_report(&candidate.version)?;
        self.settings.progress.note(&format!("trained    {}", candidate.version.reference()));
        Ok(candidate)
    }

    /// An input as whoever runs the command sees it.
    fn given(&self, role: &str, version: &Version) -> Result<Given, EngineError> {
        let input = Input { role: role.to_owned(), artifact: version.reference().to_string(), tree: version.tree };
        let files = self.manifest(version)?.tree().files().to_vec();
        Ok(Given { input, files, reading: version.reading.clone() })
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
        work: &Work<'_>,
        train: Option<&Version>,
        cores: Option<f64>,
    ) -> Result<Expectations, EngineError> {
        let plan = work.plan;
        let (limits, egress) = (job::limits(plan), &work.granted.egress);
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
            egress_budget_bytes: (!egress.is_empty()).then_some(egress.sent_bytes_max),
            cores,
            memory_bytes: Some(limits.memory_bytes),
            processes: Some(limits.processes),
            output_bytes: Some(limits.output_bytes),
            reports: watch.reports.into(),
            has_inputs: Some(plan.content.run.trainer.is_some() || work.used.iter().any(|input| input.role != CODE)),
            ..Expectations::default()
        })
    }

    /// Has the machine run the command, watches it, and takes its outputs back through quarantine.
    fn supervise(
        &self,
        machine: &dyn Machine,
        work: &Work<'_>,
        expected: Expectations,
        salvage: &mut Salvage,
        on_air: &OnceCell<Live>,
    ) -> Result<Effect<Candidate>, EngineError> {
        let limits = serde_json::to_value(job::limits(work.plan)).unwrap_or(Value::Null);
        let started = (self.settings.now)();
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
        let live = on_air.get_or_init(|| live);
        let mut telemetry = Telemetry::new(live);
        let mut guard = Guard::new(self, live, stop.clone(), work.id, expected)?;
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
            machine.run(self, work, &stop, &mut events)
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
        let Ran { result, outputs, environment, program } = ran?;
        let exit_code = ended_well(&result, work, &telemetry, ended_by.as_deref())?;
        let finished = (self.settings.now)();
        let sealed = self.finish(outputs)?;
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
            plan: work.plan.digest(),
            command: work.command,
            limits,
            inputs: work.used,
            level: level_of(result.level),
            measures: &result.measures,
            environment,
            policy: self.policies.digest(),
            telemetry: kept_digest,
            program,
            told: machine.told(),
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
            destroyed: None,
        };
        let mut effect = Effect::of(());
        signed.into_effect(&mut version, &mut effect);
        effect.blobs.append(&mut salvage.blobs);
        effect.openings.append(&mut salvage.openings);
        effect.sealed.push(sealed);
        let observed = observed(&result, work.id, alerts);
        Ok(effect.replace(Candidate { version, training: None, observed }))
    }

    /// What the built-in trainer reported among the outputs, if it did.
    fn training_report(&self, version: &Version) -> Result<Option<HardenReport>, EngineError> {
        let manifest = self.manifest(version)?;
        if !manifest.tree().files().iter().any(|file| file.path == HARDEN_REPORT) {
            return Ok(None);
        }
        let reader = self.store.read(&manifest, HARDEN_REPORT).map_err(|error| store_error(&error))?;
        let mut bytes = Vec::new();
        reader
            .take(REPORT_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(|error| EngineError::incomplete(HARDEN_REPORT, error))?;
        Ok(serde_json::from_slice(&bytes).ok())
    }
}

/// A new run's name.
pub(super) fn run_id() -> String {
    let id: [u8; 8] = entropy::bytes(&mut SystemEntropy::new());
    format!("r-{}", hex(&id))
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

pub(super) fn level_of(level: Level) -> SandboxLevel {
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
