//! Arguments of `attack`: evasion, and what the other attacks share with it.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use ringfence_engine::{EngineError, ModelFile, Target, files};

use super::{DataArgs, privacy, text, theft};

/// Where inputs may lie, and what random choices begin with.
#[derive(Debug, Args)]
pub(crate) struct InputArgs {
    /// Valid range of the model's input
    #[arg(long, value_delimiter = ',', num_args = 1, default_value = "0,1", value_name = "LOW,HIGH")]
    range: Vec<f32>,
    /// What random choices begin with
    #[command(flatten)]
    pub(crate) random: RandomArgs,
}

impl InputArgs {
    /// Least and greatest valid input.
    pub(crate) fn range(&self) -> Result<[f32; 2], EngineError> {
        match self.range[..] {
            [low, high] => Ok([low, high]),
            _ => Err(EngineError::Usage { what: "`--range` takes two numbers, such as 0,1".into() }),
        }
    }
}

/// What describes models that are weights alone.
#[derive(Debug, Args)]
pub(crate) struct ArchitectureArgs {
    /// The description of a safetensors model's architecture [default: NAME.architecture.json or config.json beside it]
    #[arg(long, value_name = "FILE.json")]
    architecture: Option<PathBuf>,
}

impl ArchitectureArgs {
    /// The model at this place.
    pub(crate) fn of(&self, model: &Path) -> ModelFile {
        ModelFile::new(model, self.architecture.clone())
    }
}

/// What else can be attacked than a model in a file.
#[derive(Debug, Args)]
pub(crate) struct EndpointArgs {
    /// Ask the model behind an HTTP endpoint instead, which this TOML file describes
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) endpoint: Option<PathBuf>,
}

impl EndpointArgs {
    /// What is attacked. `budget` is for endpoints: inputs that may be sent, where that is less than the file grants.
    pub(crate) fn target(&self, model: Option<ModelFile>, budget: Option<u64>) -> Result<Target<'static>, EngineError> {
        match (model, &self.endpoint) {
            (Some(model), None) => Ok(Target::Model(model)),
            (None, Some(file)) => {
                Ok(Target::Endpoint { file: file.clone(), budget, environment: &|name| std::env::var(name).ok() })
            }
            _ => Err(EngineError::Usage { what: "this needs a model, or `--endpoint FILE`".into() }),
        }
    }
}

/// The report as a page.
#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// Write the report as a page with plots here too
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
}

impl PageArgs {
    /// Whether a page is wanted.
    pub(crate) const fn is_wanted(&self) -> bool {
        self.html.is_some()
    }

    /// Writes the page that `draw` makes, where one is wanted.
    pub(crate) fn write(&self, draw: impl FnOnce() -> String) -> Result<(), EngineError> {
        self.html.as_ref().map_or(Ok(()), |path| files::write_new(path, draw().as_bytes()))
    }
}

/// What random choices begin with.
#[derive(Debug, Args)]
pub(crate) struct RandomArgs {
    /// Seed of all random choices
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

/// Arithmetic of a self-check or gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Precision {
    /// The working precision
    F32,
    /// The reference
    F64,
}

/// `--norm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NormName {
    /// The largest change of any value
    Linf,
    /// The Euclidean length of the change
    L2,
    /// The sum of all changes
    L1,
    /// The number of values changed
    L0,
}

impl NormName {
    /// As the engine knows it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Linf => "linf",
            Self::L2 => "l2",
            Self::L1 => "l1",
            Self::L0 => "l0",
        }
    }
}

/// `--battery`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BatteryName {
    /// Noise, FGSM and PGD: quick, and easily too kind by ten points
    Quick,
    /// These and AutoAttack's: APGD, targeted APGD, targeted FAB, Square
    Standard,
}

/// What else to attack than robustness.
#[derive(Debug, Subcommand)]
pub(crate) enum AttackAction {
    /// Test what a model gives away of the data that it was trained on
    #[command(
        after_help = "Examples:\n  ringfence attack privacy net.onnx --members train.npz --non-members test.npz --references 16\n  ringfence attack privacy net.onnx --members train.npz --non-members test.npz --reference a.onnx --reference b.onnx --reference-masks masks.npz\n  ringfence attack privacy loans.onnx --members train.csv --non-members test.csv --label paid --attribute 3,4+5+6\n  ringfence attack privacy faces.onnx --members train.npz --non-members test.npz --invert 0,1,2 --out pictures\n  ringfence attack privacy gpt.onnx --canaries canaries.json --format json"
    )]
    Privacy(Box<privacy::PrivacyArgs>),
    /// Tell what a thief gets of a model for how many questions, at each output level
    #[command(
        after_help = "Examples:\n  ringfence attack theft net.onnx --queries natural.npz --held-out test.npz\n  ringfence attack theft net.onnx --queries natural.npz --held-out test.npz --level full,rounded-3,label --budget 20000 --format json"
    )]
    Theft(Box<theft::TheftArgs>),
    /// Edit letters and words until a classifier of texts reads something else, and tell how many texts withstand
    #[command(
        after_help = "Examples:\n  ringfence attack text reviews.onnx --tokenizer tokenizer.json --data reviews.csv --text review --label stars\n  ringfence attack text reviews.onnx --tokenizer tokenizer.json --data reviews.csv --synonyms synonyms.txt --edits 3 --examples 200 --html card.html\n  ringfence attack text mail.onnx --tokenizer tokenizer.json --data mail.jsonl --classes ham,spam --attacks characters,homoglyphs --format json\n  ringfence attack text --endpoint endpoint.toml --data mail.csv --classes ham,spam --examples 50 --queries 100"
    )]
    Text(Box<text::TextArgs>),
    /// Search a model's weights for backdoors
    #[command(
        after_help = "Examples:\n  ringfence attack backdoor net.onnx --data test.csv --label label --shape 1,8,8 --scale 0.0625\n  ringfence attack backdoor tuned.onnx --data test.npz --base base.onnx --format json"
    )]
    Backdoor(Box<BackdoorArgs>),
    /// Draw the page of a report that was saved as JSON, whoever wrote it
    #[command(
        after_help = "Examples:\n  ringfence attack net.onnx --data test.csv --label label --format json > card.json\n  ringfence attack page card.json --html card.html"
    )]
    Page(SavedArgs),
}

/// `attack page`.
#[derive(Debug, Args)]
pub(crate) struct SavedArgs {
    /// What `attack`, `attack --since`, `attack privacy` or `attack theft` answered with `--format json`
    pub(crate) report: PathBuf,
    /// Where the page goes
    #[arg(long, value_name = "FILE.html")]
    pub(crate) html: PathBuf,
}

/// `attack backdoor`.
#[derive(Debug, Args)]
pub(crate) struct BackdoorArgs {
    /// The model (ONNX or safetensors)
    pub(crate) model: PathBuf,
    /// Clean data: CSV, IDX or NPZ with arrays `x` and `y`
    #[arg(long, value_name = "FILE")]
    pub(crate) data: PathBuf,
    /// How it is read
    #[command(flatten)]
    pub(crate) read: DataArgs,
    /// The model that it was made from: says what came with the fine-tune
    #[arg(long, value_name = "FILE")]
    pub(crate) base: Option<PathBuf>,
    /// Use at most so many examples
    #[arg(long)]
    pub(crate) examples: Option<usize>,
    /// Where inputs may lie, and what random choices begin with
    #[command(flatten)]
    pub(crate) inputs: InputArgs,
    /// What describes models that are weights alone
    #[command(flatten)]
    pub(crate) architecture: ArchitectureArgs,
}

/// `attack`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct AttackArgs {
    /// What else to attack than robustness
    #[command(subcommand)]
    pub(crate) action: Option<AttackAction>,
    /// The model (ONNX or safetensors); with --since also a version in the vault
    #[arg(required_unless_present = "endpoint", conflicts_with = "endpoint")]
    pub(crate) model: Option<PathBuf>,
    /// What else can be attacked
    #[command(flatten)]
    pub(crate) other: EndpointArgs,
    /// Test data: CSV, IDX or NPZ with arrays `x` and `y`
    #[arg(long, value_name = "FILE", required_unless_present = "self_check")]
    pub(crate) data: Option<PathBuf>,
    /// How it is read
    #[command(flatten)]
    pub(crate) read: DataArgs,
    /// Radii in units of the model's input; with --norm l0 numbers of values
    #[arg(long, value_delimiter = ',', default_value = "0.1", value_name = "X,…")]
    pub(crate) eps: Vec<f64>,
    /// How a change is measured
    #[arg(long, value_enum, default_value_t = NormName::Linf)]
    pub(crate) norm: NormName,
    /// Which attacks run one after another
    #[arg(long, value_enum, default_value_t = BatteryName::Quick)]
    pub(crate) battery: BatteryName,
    /// Attacks besides, each on all examples: pgd, pgd-margin, pgd-dlr, apgd-ce, apgd-dlr, apgd-t, fab-t, deepfool,
    /// carlini-wagner, patch, square, hopskipjump, nes, spsa, transfer
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub(crate) attack: Vec<String>,
    /// Count only inputs that are taken for this class
    #[arg(long, value_name = "CLASS")]
    pub(crate) target: Option<usize>,
    /// Try what fools also as it would be stored in so many levels (256 for pictures of 8 bits)
    #[arg(long, value_name = "N")]
    pub(crate) levels: Option<u32>,
    /// Columns that the attacker cannot change, by their place among the inputs, from 0
    #[arg(long, value_delimiter = ',', value_name = "I,…")]
    pub(crate) immutable: Vec<usize>,
    /// Columns of whole numbers, by their place among the inputs, from 0
    #[arg(long, value_delimiter = ',', value_name = "I,…")]
    pub(crate) integer: Vec<usize>,
    /// Measure accuracy on corrupted pictures too: noise, blur, contrast and others
    #[arg(long)]
    pub(crate) corruptions: bool,
    /// Ask for at most so many predictions and gradients; with fewer than an attack needs nothing is stated
    #[arg(long, value_name = "N")]
    pub(crate) queries: Option<u64>,
    /// PGD steps
    #[arg(long, default_value_t = 40)]
    pub(crate) steps: usize,
    /// PGD restarts
    #[arg(long, default_value_t = 3)]
    pub(crate) restarts: usize,
    /// Use at most so many examples
    #[arg(long)]
    pub(crate) examples: Option<usize>,
    /// Where inputs may lie, and what random choices begin with
    #[command(flatten)]
    pub(crate) inputs: InputArgs,
    /// Attack an earlier model in the same way, and tell whether less is withstood: a file, a version such as model/net@3, or
    /// `released`, the last release before a model of the vault
    #[arg(long, value_name = "CHECKPOINT", conflicts_with_all = ["endpoint", "members", "self_check", "gradient"])]
    pub(crate) since: Option<PathBuf>,
    /// Let the ONNX Runtime in this shared library compute scores, in a confined child of its own; it is held against our own
    /// arithmetic, which judges what fools and computes every gradient. Worth it where attacks mostly ask, such as square. It has no
    /// part in --endpoint, --self-check and --gradient
    #[arg(long, value_name = "LIBRARY.so", env = "RINGFENCE_ONNXRUNTIME")]
    pub(crate) onnxruntime: Option<PathBuf>,
    /// Training data, for a membership inference test
    #[arg(long, value_name = "FILE")]
    pub(crate) members: Option<PathBuf>,
    /// Check the model's arithmetic instead: forward and gradients against the f64 reference
    #[arg(long, conflicts_with_all = ["data", "gradient", "members", "endpoint"])]
    pub(crate) self_check: bool,
    /// Write the gradient of the mean cross-entropy with respect to `x` to this NPZ instead
    #[arg(long, value_name = "OUT.npz", conflicts_with_all = ["members", "endpoint"])]
    pub(crate) gradient: Option<PathBuf>,
    /// Arithmetic
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    pub(crate) precision: Precision,
    /// The report as a page
    #[command(flatten)]
    pub(crate) page: PageArgs,
    /// What describes models that are weights alone
    #[command(flatten)]
    pub(crate) architecture: ArchitectureArgs,
}
