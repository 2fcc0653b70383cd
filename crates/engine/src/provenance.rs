//! SLSA provenance v1 of a run: what went in, what ran where, what came out.
//!
//! <https://slsa.dev/spec/v1.0/provenance>. Inputs are `resolvedDependencies` by the SHA-256 of their trees; the sandbox
//! and the environment are the builder's own word (`internalParameters`); the plan is the user's (`externalParameters`).
//! Telemetry is a byproduct by digest.

use std::{collections::BTreeMap, fs, path::Path};

use ringfence_access::{EvidenceFacts, SandboxLevel};
use ringfence_schema::{
    Digest, Timestamp,
    evidence::{EvidenceKind, Statement, Subject},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The build type: one plan, one command, one sandbox.
const BUILD_TYPE: &str = "urn:ringfence:run:1";

/// Names, among the builder's parameters, the machine on whose word the statement rests.
const TOLD_BY: &str = "toldBy";

/// What a provenance statement must say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Provenance {
    /// Inputs by role.
    pub(crate) inputs: Vec<Input>,
    /// What confined the run.
    pub(crate) level: SandboxLevel,
    /// Exit code of the job.
    pub(crate) exit_code: Option<i64>,
}

/// One input of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Its role in the plan, such as `train`.
    pub role: String,
    /// Such as `dataset/digits@1`.
    pub artifact: String,
    /// Identity of what the run was given.
    pub tree: Digest,
}

/// All that a provenance statement is made from.
pub(crate) struct Run<'a> {
    pub(crate) vault: String,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) output: Digest,
    pub(crate) plan: Digest,
    pub(crate) command: &'a [String],
    pub(crate) limits: Value,
    pub(crate) inputs: &'a [Input],
    pub(crate) level: SandboxLevel,
    pub(crate) measures: &'a [String],
    pub(crate) environment: Value,
    pub(crate) policy: Digest,
    pub(crate) telemetry: Digest,
    pub(crate) program: Digest,
    /// Which machine told of it, where the vault's own did not see it.
    pub(crate) told: Option<Value>,
    pub(crate) exit_code: i32,
    pub(crate) started: Timestamp,
    pub(crate) finished: Timestamp,
}

/// The statement on what a run produced.
pub(crate) fn write(run: &Run<'_>) -> Statement {
    let dependencies: Vec<Value> = run
        .inputs
        .iter()
        .map(|input| {
            json!({
                "name": input.artifact,
                "digest": {"sha256": input.tree.hex()},
                "annotations": {"role": input.role},
            })
        })
        .collect();
    let mut predicate = json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "plan": {"sha256": run.plan.hex()},
                "command": run.command,
                "limits": run.limits,
            },
            "internalParameters": {
                "sandbox": {"level": run.level.name(), "measures": run.measures},
                "environment": run.environment,
                "policy": {"sha256": run.policy.hex()},
                "exitCode": run.exit_code,
            },
            "resolvedDependencies": dependencies,
        },
        "runDetails": {
            "builder": {
                "id": format!("urn:ringfence:vault:{}", run.vault),
                "version": {"ringfence": env!("CARGO_PKG_VERSION")},
                "builderDependencies": [{"name": "ringfence", "digest": {"sha256": run.program.hex()}}],
            },
            "metadata": {
                "invocationId": run.id,
                "startedOn": run.started.to_string(),
                "finishedOn": run.finished.to_string(),
            },
            "byproducts": [{"name": "telemetry", "digest": {"sha256": run.telemetry.hex()}}],
        },
    });
    let internal = predicate.pointer_mut("/buildDefinition/internalParameters").and_then(Value::as_object_mut);
    if let (Some(internal), Some(told)) = (internal, &run.told) {
        internal.insert(TOLD_BY.to_owned(), told.clone());
    }
    Statement::new(EvidenceKind::Provenance, vec![Subject::new(run.name.clone(), run.output)], predicate)
}

/// What a verifier makes of a statement.
pub(crate) struct Read {
    pub(crate) provenance: Option<Provenance>,
    pub(crate) problem: Option<String>,
    subject_matches: bool,
}

impl Read {
    /// The facts for a gate. Provenance does not expire: what happened stays what happened.
    pub(crate) fn facts(&self, in_trail: bool, signer_allowed: bool) -> EvidenceFacts {
        let passes = self.provenance.as_ref().is_some_and(|provenance| provenance.exit_code == Some(0));
        EvidenceFacts {
            present: true,
            complete: self.provenance.is_some(),
            passes,
            blocks: self.provenance.is_some() && !passes,
            fresh: true,
            subject_matches: self.subject_matches,
            in_trail,
            signer_allowed,
            age_ms: 0,
        }
    }
}

/// Reads a signed statement that should be the provenance of `subject` from `vault`.
pub(crate) fn read(statement: &Statement, subject: Digest, vault: &str) -> Read {
    let speaks_of = matches!(statement.subject.as_slice(), [one] if one.sha256() == Some(subject));
    let failed =
        |problem: &str| Read { provenance: None, problem: Some(problem.to_owned()), subject_matches: speaks_of };
    if statement.kind() != Some(EvidenceKind::Provenance) {
        return failed("is no SLSA provenance");
    }
    let at = |path: &str| statement.predicate.pointer(path);
    if at("/buildDefinition/buildType").and_then(Value::as_str) != Some(BUILD_TYPE) {
        return failed("is of another build type");
    }
    let builder = format!("urn:ringfence:vault:{vault}");
    if at("/runDetails/builder/id").and_then(Value::as_str) != Some(builder.as_str()) {
        return failed("names another builder than this vault");
    }
    let level = match at("/buildDefinition/internalParameters/sandbox/level").and_then(Value::as_str) {
        Some("full") => SandboxLevel::Full,
        Some("no-cgroup") => SandboxLevel::NoCgroup,
        Some("landlock") => SandboxLevel::Landlock,
        _ => SandboxLevel::None,
    };
    let mut inputs = Vec::new();
    for dependency in at("/buildDefinition/resolvedDependencies").and_then(Value::as_array).into_iter().flatten() {
        let text = |path: &str| dependency.pointer(path).and_then(Value::as_str);
        let tree = text("/digest/sha256").and_then(|hex| format!("sha256:{hex}").parse().ok());
        let (Some(artifact), Some(tree), Some(role)) = (text("/name"), tree, text("/annotations/role")) else {
            return failed("has an input without name, digest or role");
        };
        inputs.push(Input { role: role.to_owned(), artifact: artifact.to_owned(), tree });
    }
    let exit_code = at("/buildDefinition/internalParameters/exitCode").and_then(Value::as_i64);
    Read { provenance: Some(Provenance { inputs, level, exit_code }), problem: None, subject_matches: speaks_of }
}

/// Kernel, processor and accelerators of this machine; interpreter and packages where the command is Python.
pub(crate) fn environment(command: &[String]) -> Value {
    let line = |path: &str, start: &str| {
        let text = fs::read_to_string(path).ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix(start))
            .map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
    };
    let mut environment = BTreeMap::from([
        ("kernel".to_owned(), json!(fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim())),
        ("machine".to_owned(), json!(std::env::consts::ARCH)),
        ("cpu".to_owned(), json!(line("/proc/cpuinfo", "model name"))),
        ("cores".to_owned(), json!(std::thread::available_parallelism().map_or(1, std::num::NonZero::get))),
        ("gpu".to_owned(), json!(gpus())),
        ("gpuDriver".to_owned(), json!(line("/proc/driver/nvidia/version", "NVRM version"))),
        ("libc".to_owned(), json!(line("/etc/os-release", "PRETTY_NAME="))),
    ]);
    if let Some(python) = python(command) {
        environment.insert("python".to_owned(), python);
    }
    json!(environment)
}

/// NVIDIA devices as the driver's own files name them.
pub(crate) fn gpus() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc/driver/nvidia/gpus") else { return Vec::new() };
    let model = |folder: &Path| {
        let text = fs::read_to_string(folder.join("information")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("Model:")).map(|name| name.trim().to_owned())
    };
    let mut found: Vec<String> = entries.flatten().filter_map(|entry| model(&entry.path())).collect();
    found.sort();
    found
}

/// The interpreter and the packages that it would see, from the file system alone: nothing is executed.
fn python(command: &[String]) -> Option<Value> {
    let program = Path::new(command.first()?);
    let name = program.file_name()?.to_str()?;
    if !name.starts_with("python") {
        return None;
    }
    let path = if program.components().count() > 1 {
        program.to_owned()
    } else {
        SEARCHED.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists())?
    };
    let real = fs::canonicalize(&path).ok()?;
    let digest = fs::read(&real).ok().map(|bytes| Digest::of(&bytes).to_string());
    let mut packages = Vec::new();
    for library in ["/usr/lib", "/usr/local/lib"] {
        for entry in fs::read_dir(library).into_iter().flatten().flatten() {
            if !entry.file_name().to_string_lossy().starts_with("python3") {
                continue;
            }
            for below in ["site-packages", "dist-packages"] {
                for package in fs::read_dir(entry.path().join(below)).into_iter().flatten().flatten() {
                    let name = package.file_name().to_string_lossy().into_owned();
                    if let Some(name) = name.strip_suffix(".dist-info").or_else(|| name.strip_suffix(".egg-info")) {
                        packages.push(name.to_owned());
                    }
                }
            }
        }
    }
    packages.sort();
    packages.dedup();
    Some(json!({"interpreter": real.to_string_lossy(), "sha256": digest, "packages": packages}))
}

/// Where a bare command name is looked for inside the sandbox.
const SEARCHED: &[&str] = &["/usr/local/bin", "/usr/bin", "/bin"];
