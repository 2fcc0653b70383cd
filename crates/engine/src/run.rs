//! One plan, the whole way: admit the inputs, train in the sandbox, attack the result, release it.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read as _},
    path::{Path, PathBuf},
};

use ringfence_access::{Action, DemandLevel, Exemptions, Facts, NamespaceState, SandboxLevel};
use ringfence_attack::HardenPlan;
use ringfence_sandbox::{Demand, Ending, Job as SandboxJob, Level, RunLimits, RunResult, SandboxError, Source, Stop};
use ringfence_schema::{
    ArtifactKind, ArtifactName, Digest, Hasher, Verdict,
    digest::hex,
    event::{Claimed, Observed, RunEvent, Source as EventSource},
    evidence::{EvidenceKind, EvidenceVerdict},
    report::{AttackReport, HardenReport, Soundness},
};
use ringfence_store::Cuts;
use ringfence_trust::{
    entropy::{self, SystemEntropy},
    keys::Namespace,
};
use serde_json::{Value, json};

use crate::{
    act::{Act, Blob, Effect, Reach},
    admit::{Intake, Made, Origin, data_file, fill_index, resource},
    bundle::canonical,
    error::EngineError,
    page::worst,
    plan::{DemandedLevel, Plan, TestTable, Trainer},
    provenance::{self, Input},
    record::{Flagged, Reading, RunRow, Version},
    source::Bounded,
    stage::{Admitted, Candidate, Released, Tested},
    vault::{Vault, store_error},
    work::{AttackJob, Desk, Job},
};

/// What the caller chooses beside the plan.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Controls to leave out.
    pub exempt: Exemptions,
    /// Demand the full sandbox whatever the plan says.
    pub full: bool,
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
    /// Carries out `plan`.
    pub fn run(&mut self, plan: &Plan, options: &RunOptions) -> Result<RunEnd, EngineError> {
        self.tighten(&plan.content.policy.forbid)
            .map_err(|what| EngineError::Plan { file: plan.file.clone(), what: format!("`policy.forbid`: {what}") })?;
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

    /// Runs the plan's command on its inputs, in the sandbox.
    fn train(&self, plan: &Plan, options: &RunOptions, inputs: &Inputs) -> Result<Candidate, EngineError> {
        let run = &plan.content.run;
        let demand = self.demand(plan, options);
        let probe = ringfence_sandbox::probe(&self.settings.program, &["__supervise"])
            .map_err(|error| EngineError::incomplete("sandbox", error))?;
        self.settings.progress.note(&format!("sandbox    {}", probe.line));
        let level = match probe.level {
            Some(Level::Full) => SandboxLevel::Full,
            Some(Level::Landlock) if demand == Demand::Any => SandboxLevel::Landlock,
            Some(Level::Landlock) => {
                return Err(EngineError::incomplete("sandbox", format!("level `full` is demanded; {}", probe.line)));
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
        let (mut candidate, index) = self.act(act, || {
            let job = self.job(plan, &id, &command, demand, &all)?;
            let work = Work { id: &id, plan, command: &command, used: &used, name: &name, number };
            self.supervise(job, &work)
        })?;
        fill_index(&mut candidate.version, index);
        self.settings.progress.note(&format!("trained    {}", candidate.version.reference()));
        Ok(candidate)
    }

    fn demand(&self, plan: &Plan, options: &RunOptions) -> Demand {
        let policy = self.policies.settings().demand_level == DemandLevel::Full;
        let full = options.full || policy || plan.content.run.level == DemandedLevel::Full;
        if full { Demand::Full } else { Demand::Any }
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
        })
    }

    /// Runs the job under a keyless supervisor and takes its outputs back through quarantine.
    fn supervise(&self, job: SandboxJob, work: &Work<'_>) -> Result<Effect<Candidate>, EngineError> {
        let limits = serde_json::to_value(job.limits).unwrap_or(Value::Null);
        let started = (self.settings.now)();
        let mut writer = self.writer(Namespace::Quarantine)?;
        let mut training = None;
        let mut telemetry = Telemetry::default();
        let progress = self.settings.progress;
        progress.begin("training", None);
        let ran = {
            let mut events = |event: RunEvent| {
                if let Some(line) = telemetry.take(&event) {
                    progress.advance(event.at_ms / 1_000, &line);
                }
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
                &Stop::new(),
                &mut events,
                &mut collect,
            )
        };
        progress.end("");
        let result = ran.map_err(|error| match error {
            SandboxError::Command { command, detail } => EngineError::incomplete(
                format!("command `{command}`"),
                format!(
                    "{detail}; the run was skipped: install it on this machine, or name another command in the plan"
                ),
            ),
            other => EngineError::incomplete("sandbox", other),
        })?;
        let exit_code = ended_well(&result, work, &telemetry)?;
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
            telemetry: telemetry.digest(),
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
        };
        let mut effect = Effect::of(());
        signed.into_effect(&mut version, &mut effect);
        effect.blobs.push(Blob::new("run", telemetry.bytes()));
        effect.openings.insert("telemetry".into(), json!(telemetry.digest()));
        effect.sealed.push(sealed);
        let observed = observed(&result, work.id);
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

    /// Scans what the run produced, like any stranger's file.
    fn scan_candidate(&self, candidate: Candidate) -> Result<(Candidate, Option<String>), EngineError> {
        let Candidate { version, training, observed } = candidate;
        let inspected = self.inspect(crate::stage::Untrusted { version })?;
        let refusal = inspected
            .found
            .scan
            .as_ref()
            .filter(|scan| scan.verdict != Verdict::Clean)
            .map(|scan| format!("scanned    {}  {}", inspected.version.reference(), scan.verdict));
        Ok((Candidate { version: inspected.version, training, observed }, refusal))
    }

    /// Attacks the candidate, and the base for comparison.
    fn test(
        &self,
        plan: &Plan,
        test: &TestTable,
        inputs: &Inputs,
        candidate: Candidate,
    ) -> Result<Tested, EngineError> {
        let version = candidate.version;
        let data = inputs.data.get("test").ok_or_else(|| EngineError::Plan {
            file: plan.file.clone(),
            what: "`[test]` needs `[data.test]`".into(),
        })?;
        let act = Act {
            action: Action::Attack,
            resources: vec![resource(&version)],
            facts: Facts::default(),
            request: json!({"eps": test.eps, "steps": test.steps, "restarts": test.restarts, "seed": test.seed}),
            subject: version.reference().to_string(),
            reach: Reach::Inside,
        };
        let train = inputs.data.get("train").map(|admitted| &admitted.version);
        let base = inputs.models.get("base").map(|admitted| &admitted.version);
        let (mut tested, index) = self.act(act, || {
            let file = test.model.clone().unwrap_or_else(|| MODEL_FILE.to_owned());
            let before = match base {
                Some(base) => {
                    let manifest = self.manifest(base)?;
                    let file = manifest.tree().files().first().map(|file| file.path.clone()).unwrap_or_default();
                    Some(self.attack_version(base, &file, &data.version, None, test)?)
                }
                None => None,
            };
            let after = self.attack_version(&version, &file, &data.version, train, test)?;
            self.card(test, &version, base, &data.version, before, after)
        })?;
        fill_index(&mut tested.version, index);
        let summary = worst(&tested.after)
            .iter()
            .map(|(eps, accuracy)| format!("{:.1} % at {eps}", accuracy * 100.0))
            .collect::<Vec<_>>();
        self.settings.progress.note(&format!(
            "attacked   {}  clean {:.1} %, worst case {}",
            tested.version.reference(),
            tested.after.clean_accuracy.unwrap_or(0.0) * 100.0,
            summary.join(", ")
        ));
        Ok(tested)
    }

    fn attack_version(
        &self,
        model: &Version,
        file: &str,
        data: &Version,
        members: Option<&Version>,
        test: &TestTable,
    ) -> Result<AttackReport, EngineError> {
        let manifest = self.manifest(model)?;
        if !manifest.tree().files().iter().any(|entry| entry.path == file) {
            return Err(EngineError::incomplete(
                model.reference().to_string(),
                format!("there is no `{file}` to attack; `test.model` names another output"),
            ));
        }
        let mut descriptors = vec![self.descriptor(&manifest, file)?];
        let mut readings = Vec::new();
        for dataset in std::iter::once(data).chain(members) {
            let manifest = self.manifest(dataset)?;
            let reading = dataset.reading.clone().unwrap_or_default();
            let data = data_file(&manifest, &reading)?;
            descriptors.extend(self.dataset_descriptors(&manifest, &data, &reading)?);
            readings.push(reading);
        }
        let mut readings = readings.into_iter();
        let job = Job::Attack {
            plan: AttackJob {
                eps: test.eps.clone(),
                at: Some(test.at()),
                steps: test.steps,
                restarts: test.restarts,
                examples: test.examples,
                range: test.range,
                seed: test.seed,
            },
            reading: readings.next().unwrap_or_default(),
            members: readings.next(),
        };
        Desk::new(self.settings).ask(&model.reference().to_string(), &job, descriptors)
    }

    /// The robustness card as evidence; it passes if it is sound and reaches what the plan requires.
    fn card(
        &self,
        test: &TestTable,
        version: &Version,
        base: Option<&Version>,
        data: &Version,
        before: Option<AttackReport>,
        after: AttackReport,
    ) -> Result<Effect<Tested>, EngineError> {
        let at = test.at();
        let clean = after.clean_accuracy.unwrap_or(0.0);
        let robust = worst_at(&after, at);
        let drop = before.as_ref().and_then(|card| card.clean_accuracy).map(|base| base - clean);
        let gain = before.as_ref().map(|card| robust - worst_at(card, at));
        let mut missed = Vec::new();
        let mut require = |name: &str, holds: Option<bool>, detail: String| {
            if holds == Some(false) {
                missed.push(format!("{name}: {detail}"));
            }
        };
        let need = &test.require;
        require(
            "max-clean-drop",
            need.max_clean_drop.zip(drop).map(|(most, drop)| drop <= most + ROUNDING),
            format!("{:.3} lost", drop.unwrap_or(0.0)),
        );
        require(
            "min-robust-gain",
            need.min_robust_gain.zip(gain).map(|(least, gain)| gain + ROUNDING >= least),
            format!("{:.3} gained", gain.unwrap_or(0.0)),
        );
        require("min-robust", need.min_robust.map(|least| robust + ROUNDING >= least), format!("{robust:.3} reached"));
        let verdict = if after.verdict == Soundness::Sound && missed.is_empty() {
            EvidenceVerdict::Pass
        } else {
            EvidenceVerdict::Block
        };
        let permille = |share: f64| (share * 1_000.0).round();
        let mut summary = BTreeMap::from([
            ("clean_permille".to_owned(), json!(permille(clean))),
            ("worst_permille".to_owned(), json!(permille(robust))),
            ("at".to_owned(), json!(at.to_string())),
            ("sound".to_owned(), json!(after.verdict == Soundness::Sound)),
            ("missed".to_owned(), json!(missed)),
        ]);
        if let Some(drop) = drop {
            summary.insert("clean_drop_permille".to_owned(), json!(permille(drop)));
        }
        if let Some(gain) = gain {
            summary.insert("robust_gain_permille".to_owned(), json!(permille(gain)));
        }
        let mut inputs = BTreeMap::from([("test".to_owned(), data.tree)]);
        if let Some(base) = base {
            inputs.insert("base".to_owned(), base.tree);
        }
        let made = self.evidence(&Made {
            kind: EvidenceKind::Robustness,
            name: version.reference().to_string(),
            subject: version.tree,
            rules: Digest::of(format!("ringfence-attack {}", env!("CARGO_PKG_VERSION")).as_bytes()),
            config: json!({"eps": test.eps, "steps": test.steps, "restarts": test.restarts, "seed": test.seed}),
            inputs,
            coverage: BTreeMap::from([("examples".to_owned(), after.examples)]),
            verdict,
            report: canonical(&after)?,
            summary: summary.into_iter().map(|(name, value)| (name, whole(value))).collect(),
        })?;
        let mut version = version.clone();
        let mut effect = Effect::of(());
        made.into_effect(&mut version, &mut effect);
        if let Some(before) = &before {
            effect.blobs.push(Blob::new("report", canonical(before)?));
        }
        Ok(effect.replace(Tested { version, before, after }))
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
fn ended_well(result: &RunResult, work: &Work<'_>, telemetry: &Telemetry) -> Result<i32, EngineError> {
    let why = match &result.ending {
        Ending::Exited(0) => return Ok(0),
        Ending::Exited(code) => format!("exit code {code}"),
        Ending::Signalled(signal) => format!("signal {signal}"),
        Ending::Limit(limit) => format!("killed at its limit: {limit}"),
        Ending::Stopped => "stopped".to_owned(),
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
        Level::Landlock => SandboxLevel::Landlock,
    }
}

/// What the supervisor saw, for people.
fn observed(result: &RunResult, id: &str) -> Vec<(String, String)> {
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
        ("outputs".into(), format!("{} collected, {} refused", result.collected, result.not_collected)),
    ]
}

/// The events of a run as JSON lines, bounded.
#[derive(Default)]
struct Telemetry {
    lines: Vec<u8>,
    last: Vec<String>,
}

impl Telemetry {
    /// Keeps an event; a line for the progress display, if it has one.
    fn take(&mut self, event: &RunEvent) -> Option<String> {
        if let Ok(line) = serde_json::to_vec(event)
            && self.lines.len() + line.len() < TELEMETRY_BYTES_MAX
        {
            self.lines.extend(line);
            self.lines.push(b'\n');
        }
        match &event.source {
            EventSource::Claimed(Claimed::Line { text, .. }) => {
                self.last.push(text.clone());
                if self.last.len() > LAST_LINES {
                    self.last.remove(0);
                }
                Some(text.chars().take(60).collect())
            }
            EventSource::Observed(Observed::Sample { cpu_ms, memory_bytes, .. }) => {
                Some(format!("{:.1} CPU-s, {:.0} MiB", *cpu_ms as f64 / 1e3, *memory_bytes as f64 / f64::from(1 << 20)))
            }
            _ => None,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.lines.clone()
    }

    fn digest(&self) -> Digest {
        Digest::of(&self.lines)
    }

    fn last_lines(&self) -> &[String] {
        &self.last
    }
}

/// Worst accuracy over all attacks at radius `at`.
fn worst_at(card: &AttackReport, at: f64) -> f64 {
    worst(card).into_iter().find(|(eps, _)| (eps - at).abs() < 1e-9).map_or(0.0, |(_, accuracy)| accuracy)
}

/// Whole numbers as integers, which RFC 8785 and readers of any language spell the same.
fn whole(value: Value) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "permille of shares are small")]
    match value.as_f64() {
        Some(number) if !value.is_i64() && number.fract() == 0.0 && number.abs() < 1e9 => json!(number as i64),
        _ => value,
    }
}

/// What the built-in trainer calls its model.
const MODEL_FILE: &str = "model.onnx";
/// What the built-in trainer calls its report.
pub(crate) const HARDEN_REPORT: &str = "harden.json";
/// Largest training report that is read, in bytes.
const REPORT_BYTES_MAX: u64 = 4 << 20;
/// Most telemetry that is kept of a run, in bytes.
const TELEMETRY_BYTES_MAX: usize = 32 << 20;
/// Refused calls of a failed command that its error names.
const REFUSED_SHOWN: usize = 5;
/// Lines of a failed command that its error quotes.
const LAST_LINES: usize = 5;
/// Slack for figures that are thousandths.
const ROUNDING: f64 = 1e-9;

/// Reads the settings of a training from a TOML file.
pub fn read_harden_plan(file: &Path) -> Result<HardenPlan, EngineError> {
    let text = std::fs::read_to_string(file).map_err(EngineError::io(file))?;
    toml::from_str(&text).map_err(|error| EngineError::Plan { file: file.to_owned(), what: error.to_string() })
}
