//! `ringfence.toml`: what a run is to do.
//!
//! A plan is read by `run FILE` alone and granted within the vault's policy. Paths are relative to the plan's folder and
//! stay inside what the user may read; sizes and durations carry their unit (`2 GiB`, `10 min`). Unknown keys are refused,
//! because a misspelt limit is no limit.

mod egress;
mod watch;

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use ringfence_attack::{HardenPlan, Method, Norm};
use ringfence_schema::{ArtifactKind, ArtifactName, Digest, Reference};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{
    error::EngineError,
    record::{Flagged, Reading},
};
pub(crate) use egress::EgressTable;
pub(crate) use watch::{RateTable, WatchTable};

/// Largest plan that is read.
const PLAN_BYTES_MAX: u64 = 1 << 20;

/// A plan with the folder that its paths are relative to.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The plan's file.
    pub file: PathBuf,
    /// The bytes as read, for the record.
    pub text: String,
    /// What it says.
    pub content: PlanFile,
}

/// The tables of `ringfence.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PlanFile {
    /// What to run, where and within which limits.
    pub run: RunTable,
    /// Datasets by role; `train` is trained on, `test` is attacked with.
    #[serde(default)]
    pub data: BTreeMap<String, DataTable>,
    /// Models by role; `base` is compared with, and trained from where `start` says so.
    #[serde(default)]
    pub model: BTreeMap<String, ModelTable>,
    /// How the result is tested, and what it must reach.
    #[serde(default)]
    pub test: Option<TestTable>,
    /// Tightening only.
    #[serde(default)]
    pub policy: PolicyTable,
}

/// `[run]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RunTable {
    /// Names the result: `model/NAME`.
    pub name: String,
    /// The built-in trainer; excludes `command`.
    #[serde(default)]
    pub trainer: Option<Trainer>,
    /// A command of the user's own; excludes `trainer`.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// File or folder that the command needs beside the data: the working directory of the command holds it.
    #[serde(default)]
    pub code: Option<PathBuf>,
    /// Environment of the command, beyond the built-in allow-list.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Least confinement: `any` or `full`.
    #[serde(default)]
    pub level: DemandedLevel,
    /// Limits.
    #[serde(default)]
    pub limits: LimitTable,
    /// What it may reach; nothing without it.
    #[serde(default)]
    pub egress: EgressTable,
    /// What the watch is to expect.
    #[serde(default)]
    pub watch: WatchTable,
    /// Graphics processors that it gets: none, `"all"`, or a list of indexes.
    #[serde(default)]
    pub gpus: GpuWord,
    /// Settings of the built-in trainer.
    #[serde(default)]
    pub harden: HardenPlan,
    /// Where the released bundle goes, relative to the plan.
    #[serde(default)]
    pub release_to: Option<PathBuf>,
}

/// Which graphics processors a run gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum GpuWord {
    /// None.
    #[default]
    None,
    /// All of this host.
    All(AllWord),
    /// These, by index.
    These(Vec<u32>),
}

/// The word `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AllWord {
    /// Everything there is.
    All,
}

/// Built-in trainers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trainer {
    /// Adversarial training (`ringfence harden`).
    Harden,
}

/// The least confinement that a plan accepts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DemandedLevel {
    /// Whatever holds here, and the record says which.
    #[default]
    Any,
    /// Namespaces, or no run.
    NoCgroup,
    /// Namespaces and control groups, or no run.
    Full,
}

/// `[run.limits]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LimitTable {
    /// Memory of the job, inputs and outputs included.
    pub memory: Size,
    /// Wall clock.
    pub wall: Duration,
    /// Processes and threads.
    pub processes: u64,
    /// Outputs together.
    pub out: Size,
}

impl Default for LimitTable {
    fn default() -> Self {
        Self { memory: Size(2 << 30), wall: Duration(60 * 60_000), processes: 256, out: Size(512 << 20) }
    }
}

/// `[data.ROLE]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DataTable {
    /// The file; excludes `artifact`.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// What the vault already has, such as `dataset/digits@1`; excludes `path`, and is read as it was when it came in.
    #[serde(default)]
    pub artifact: Option<String>,
    /// Label column.
    #[serde(default)]
    pub label: Option<String>,
    /// Separate labels file (IDX).
    #[serde(default)]
    pub labels: Option<PathBuf>,
    /// Shape of one example, such as `[1, 8, 8]`.
    #[serde(default)]
    pub shape: Vec<usize>,
    /// Factor from stored values to the model's input.
    #[serde(default = "one")]
    pub scale: f32,
    /// The artifact's name; the default is `RUN-ROLE`.
    #[serde(default)]
    pub name: Option<String>,
}

fn one() -> f32 {
    1.0
}

/// `[model.ROLE]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ModelTable {
    /// The file; excludes `artifact`.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// What the vault already has, such as `model/base@released`; excludes `path`.
    #[serde(default)]
    pub artifact: Option<String>,
    /// The artifact's name; the default is `RUN-ROLE`.
    #[serde(default)]
    pub name: Option<String>,
}

/// Where an input of a plan is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Whence {
    /// In files, relative to the plan.
    Files(PathBuf),
    /// In the vault.
    Vault(Reference),
}

impl DataTable {
    /// Where the input `role` is.
    pub(crate) fn whence(&self, role: &str) -> Result<Whence, String> {
        let table = &format!("data.{role}");
        let whence = whence(table, self.path.as_deref(), self.artifact.as_deref(), &[ArtifactKind::Dataset])?;
        let says_how = self.label.is_some() || self.labels.is_some() || !self.shape.is_empty() || self.name.is_some();
        if matches!(whence, Whence::Vault(_)) && (says_how || self.scale.to_bits() != one().to_bits()) {
            return Err(format!("`{table}`: with `artifact` the vault knows its name and how it is read"));
        }
        Ok(whence)
    }

    /// How its file is read, as data of `role`.
    pub(crate) fn reading(&self, role: &str) -> Reading {
        Reading {
            label: self.label.clone(),
            shape: self.shape.clone(),
            scale: self.scale,
            flagged: if role == "test" { Flagged::Keep } else { Flagged::Leave },
            labels: None,
        }
    }
}

impl ModelTable {
    /// Where the input `role` is.
    pub(crate) fn whence(&self, role: &str) -> Result<Whence, String> {
        let table = &format!("model.{role}");
        let kinds = [ArtifactKind::Model, ArtifactKind::Checkpoint];
        let whence = whence(table, self.path.as_deref(), self.artifact.as_deref(), &kinds)?;
        if matches!(whence, Whence::Vault(_)) && self.name.is_some() {
            return Err(format!("`{table}`: with `artifact` the vault knows its name"));
        }
        Ok(whence)
    }
}

fn whence(table: &str, path: Option<&Path>, artifact: Option<&str>, kinds: &[ArtifactKind]) -> Result<Whence, String> {
    match (path, artifact) {
        (Some(path), None) => Ok(Whence::Files(path.to_owned())),
        (None, Some(text)) => {
            let wanted: Reference = text.parse().map_err(|error| format!("`{table}.artifact`: {error}"))?;
            if kinds.contains(&wanted.artifact.kind()) {
                Ok(Whence::Vault(wanted))
            } else {
                Err(format!("`{table}.artifact`: `{text}` is of another kind than this needs"))
            }
        }
        _ => Err(format!("`{table}` needs either `path` or `artifact`")),
    }
}

/// `[test]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TestTable {
    /// Radii of the accuracy-against-eps curve.
    pub eps: Vec<f64>,
    /// The radius that requirements speak of; the largest of `eps` unless given.
    #[serde(default)]
    pub at: Option<f64>,
    /// PGD steps.
    #[serde(default = "forty")]
    pub steps: usize,
    /// PGD restarts.
    #[serde(default = "three")]
    pub restarts: usize,
    /// Which attacks run one after another.
    #[serde(default)]
    pub battery: TestBattery,
    /// How a change is measured: `linf` (unless given), `l2`, `l1` or `l0`.
    #[serde(default)]
    pub norm: Option<String>,
    /// Attacks besides those of the battery, by name.
    #[serde(default)]
    pub attacks: Vec<String>,
    /// Values that a stored input can take: 256 for pictures of 8 bits.
    #[serde(default)]
    pub levels: Option<u32>,
    /// Whether accuracy is measured on corrupted pictures too.
    #[serde(default)]
    pub corruptions: bool,
    /// Least and greatest valid input of the model.
    #[serde(default = "unit")]
    pub range: [f32; 2],
    /// At most so many test examples.
    #[serde(default)]
    pub examples: Option<usize>,
    /// Seed of all random choices.
    #[serde(default)]
    pub seed: u64,
    /// The model file among the outputs; the default is `model.onnx`.
    #[serde(default)]
    pub model: Option<String>,
    /// What the result must reach.
    #[serde(default)]
    pub require: RequireTable,
}

/// Which attacks run one after another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestBattery {
    /// Noise, FGSM and PGD: quick, and easily too kind.
    #[default]
    Quick,
    /// These and AutoAttack's.
    Standard,
}

fn forty() -> usize {
    40
}

fn three() -> usize {
    3
}

fn unit() -> [f32; 2] {
    [0.0, 1.0]
}

impl TestTable {
    /// The radius that requirements speak of.
    pub fn at(&self) -> f64 {
        self.at.unwrap_or_else(|| self.eps.iter().copied().fold(0.0, f64::max))
    }
}

/// `[test.require]`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RequireTable {
    /// Most loss of clean accuracy against the base, 0..1.
    #[serde(default)]
    pub max_clean_drop: Option<f64>,
    /// Least gain of worst-case accuracy at `at` against the base, 0..1.
    #[serde(default)]
    pub min_robust_gain: Option<f64>,
    /// Least worst-case accuracy at `at`, 0..1.
    #[serde(default)]
    pub min_robust: Option<f64>,
}

/// `[policy]`: forbids only.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PolicyTable {
    /// Cedar `forbid` policies.
    #[serde(default)]
    pub forbid: Vec<String>,
}

/// Bytes with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// Milliseconds, written with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duration(pub u64);

const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

const DURATION_UNITS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads `NUMBER UNIT` with one of `units`.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit.trim()).map(|(_, factor)| *factor)?;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

macro_rules! from_unit_text {
    ($type:ident, $units:expr, $example:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                with_unit(&text, $units).map(Self).ok_or_else(|| {
                    let known: Vec<&str> = $units.iter().map(|(name, _)| *name).collect();
                    de::Error::custom(format!(
                        "`{text}` is not a whole number with one of the units {}, such as `{}`",
                        known.join(", "),
                        $example
                    ))
                })
            }
        }
    };
}
from_unit_text!(Size, SIZE_UNITS, "2 GiB");
from_unit_text!(Duration, DURATION_UNITS, "10 min");

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)].into_iter().find(|(_, b)| self.0 >= *b);
        match unit {
            Some((name, bytes)) => write!(f, "{:.1} {name}", self.0 as f64 / bytes as f64),
            None => write!(f, "{} B", self.0),
        }
    }
}

impl Plan {
    /// Reads and checks the plan in `file`.
    pub fn read(file: &Path) -> Result<Self, EngineError> {
        let wrong = |what: String| EngineError::Plan { file: file.to_owned(), what };
        let metadata = fs::metadata(file).map_err(EngineError::io(file))?;
        if metadata.len() > PLAN_BYTES_MAX {
            return Err(wrong(format!("{} bytes, limit is {PLAN_BYTES_MAX}", metadata.len())));
        }
        if !metadata.is_file() {
            return Err(wrong("not a file".into()));
        }
        let bytes = fs::read(file).map_err(EngineError::io(file))?;
        let text = String::from_utf8(bytes).map_err(|error| wrong(format!("not UTF-8 text: {error}")))?;
        Self::parse(text, file)
    }

    /// Checks the text of a plan that is called `file`.
    ///
    /// # Errors
    /// [`EngineError::Plan`] with what is wrong.
    pub fn parse(text: String, file: &Path) -> Result<Self, EngineError> {
        let wrong = |what: String| EngineError::Plan { file: file.to_owned(), what };
        if text.len() as u64 > PLAN_BYTES_MAX {
            return Err(wrong(format!("{} bytes, limit is {PLAN_BYTES_MAX}", text.len())));
        }
        let content: PlanFile =
            toml::from_str(&text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        content.check().map_err(wrong)?;
        Ok(Self { file: file.to_owned(), text, content })
    }

    /// SHA-256 of its text.
    pub fn digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }

    /// What the input `role` of this kind is called in the vault, where the plan does not say.
    pub(crate) fn name_of(
        &self,
        kind: ArtifactKind,
        name: Option<&str>,
        role: &str,
    ) -> Result<ArtifactName, EngineError> {
        let default = format!("{}-{role}", self.content.run.name);
        ArtifactName::new(kind, name.unwrap_or(&default)).map_err(|error| self.wrong(error.to_string()))
    }

    /// That the plan says something that cannot be.
    pub(crate) fn wrong(&self, what: String) -> EngineError {
        EngineError::Plan { file: self.file.clone(), what }
    }

    /// The folder that the plan's paths are relative to.
    pub fn folder(&self) -> &Path {
        match self.file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    /// A path of the plan, from where the process stands.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.folder().join(path)
    }

    /// Where the released bundle goes.
    pub fn release_folder(&self) -> PathBuf {
        self.resolve(self.content.run.release_to.as_deref().unwrap_or(Path::new("released")))
    }
}

impl PlanFile {
    /// Refuses what the grammar alone cannot.
    fn check(&self) -> Result<(), String> {
        ringfence_schema::ArtifactName::new(ringfence_schema::ArtifactKind::Model, &self.run.name)
            .map_err(|error| format!("`run.name`: {error}"))?;
        match (&self.run.trainer, &self.run.command) {
            (Some(_), Some(_)) => return Err("`run` has both `trainer` and `command`; keep one".into()),
            (None, None) => return Err("`run` needs `trainer = \"harden\"` or `command = [\"…\"]`".into()),
            (None, Some(command)) if command.is_empty() => return Err("`run.command` is empty".into()),
            (Some(Trainer::Harden), None) => {
                if !self.data.contains_key("train") || !self.model.contains_key("base") {
                    return Err("the trainer `harden` needs `[data.train]` and `[model.base]`".into());
                }
            }
            (None, Some(_)) => {}
        }
        self.run.egress.check()?;
        self.run.watch.check()?;
        for (role, data) in &self.data {
            check_role("data", role)?;
            data.whence(role)?;
            if !(data.scale.is_finite() && data.scale != 0.0) {
                return Err(format!("`data.{role}.scale` must be a number other than 0"));
            }
        }
        for (role, model) in &self.model {
            check_role("model", role)?;
            model.whence(role)?;
        }
        if let Some(test) = &self.test {
            test.check()?;
            if !self.data.contains_key("test") {
                return Err("`[test]` needs `[data.test]`".into());
            }
        }
        if self.data.is_empty() && self.model.is_empty() {
            return Err("a run needs an input: `[data.ROLE]` or `[model.ROLE]` with a `path` or an `artifact`".into());
        }
        Ok(())
    }
}

impl TestTable {
    fn check(&self) -> Result<(), String> {
        if self.eps.is_empty() || self.eps.iter().any(|eps| !eps.is_finite() || *eps <= 0.0) {
            return Err("`test.eps` must list radii over 0".into());
        }
        if !self.eps.contains(&self.at()) {
            return Err(format!("`test.at` ({}) must be one of `test.eps`", self.at()));
        }
        if self.steps == 0 || self.restarts == 0 || self.examples == Some(0) {
            return Err("`test.steps`, `test.restarts` and `test.examples` must be 1 or more".into());
        }
        // Not after the training.
        self.norm.as_deref().map_or(Ok(Norm::Linf), Norm::named).map_err(|error| format!("`test.norm`: {error}"))?;
        for name in &self.attacks {
            Method::named(name).map_err(|error| format!("`test.attacks`: {error}"))?;
        }
        Ok(())
    }
}

fn check_role(table: &str, role: &str) -> Result<(), String> {
    ringfence_schema::ArtifactName::new(ringfence_schema::ArtifactKind::Dataset, role)
        .map(|_| ())
        .map_err(|error| format!("`{table}.{role}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(inputs: &str) -> Result<Plan, EngineError> {
        Plan::parse(format!("[run]\nname = \"x\"\ncommand = [\"true\"]\n{inputs}"), Path::new("plan.toml"))
    }

    #[test]
    fn a_test_that_cannot_be_made_is_refused_before_the_training() {
        let test = |more: &str| parse(&format!("[data.test]\npath = \"a.csv\"\n[test]\neps = [0.1]\n{more}\n"));
        let plan = test("battery = \"standard\"\nnorm = \"l2\"\nattacks = [\"carlini-wagner\"]\nlevels = 256");
        let table = plan.expect("a plan").content.test.expect("a test");
        assert_eq!(
            (table.battery, table.norm.as_deref(), table.levels),
            (TestBattery::Standard, Some("l2"), Some(256))
        );
        assert_eq!(test("").expect("a plan").content.test.map(|test| test.battery), Some(TestBattery::Quick));
        for wrong in
            ["battery = \"best\"", "norm = \"l7\"", "attacks = [\"pgd\", \"guess\"]", "levels = -1", "steps = 0"]
        {
            assert!(matches!(test(wrong), Err(EngineError::Plan { .. })), "{wrong}");
        }
    }

    #[test]
    fn an_input_is_a_file_or_what_the_vault_has() {
        let plan = parse("[data.train]\nartifact = \"dataset/digits@3\"\n[model.base]\npath = \"base.onnx\"\n");
        let content = plan.expect("a plan").content;
        let wanted = Whence::Vault("dataset/digits@3".parse().expect("a reference"));
        assert_eq!(content.data.get("train").map(|data| data.whence("train")), Some(Ok(wanted)));
        let file = Whence::Files("base.onnx".into());
        assert_eq!(content.model.get("base").map(|model| model.whence("base")), Some(Ok(file)));
        for wrong in [
            "[data.train]\n",
            "[data.train]\npath = \"a\"\nartifact = \"dataset/a\"\n",
            "[data.train]\nartifact = \"model/a\"\n",
            "[data.train]\nartifact = \"dataset/a\"\nlabel = \"y\"\n",
            "[data.train]\nartifact = \"dataset/a\"\nscale = 0.5\n",
            "[model.base]\nartifact = \"dataset/a\"\n",
            "[model.base]\nartifact = \"model/a\"\nname = \"b\"\n",
        ] {
            assert!(matches!(parse(wrong), Err(EngineError::Plan { .. })), "{wrong}");
        }
    }
}
