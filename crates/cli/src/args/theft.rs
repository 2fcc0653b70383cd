//! `attack theft` and `watermark …`: what was typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ringfence_engine::schema::Reference;

use crate::args::{
    DataArgs,
    attack::{ArchitectureArgs, EndpointArgs, PageArgs, RandomArgs},
};

/// `attack theft`.
#[derive(Debug, Args)]
pub(crate) struct TheftArgs {
    /// The model (ONNX or safetensors)
    #[arg(required_unless_present = "endpoint", conflicts_with = "endpoint")]
    pub(crate) model: Option<PathBuf>,
    /// What else can be attacked
    #[command(flatten)]
    pub(crate) other: EndpointArgs,
    /// Inputs such as a thief could ask about: NPZ with array `x`
    #[arg(long, value_name = "FILE.npz")]
    pub(crate) queries: PathBuf,
    /// Other natural inputs, on which copies are judged: NPZ with array `x`
    #[arg(long, value_name = "FILE.npz")]
    pub(crate) held_out: PathBuf,
    /// Most questions of one theft [default: 16 times the number of input values and one]
    #[arg(long, value_name = "N")]
    pub(crate) budget: Option<usize>,
    /// Output levels: full, rounded-DECIMALS, top-CLASSES, label [default: full,rounded-5,rounded-2,top-2,label]
    #[arg(long, value_delimiter = ',', value_name = "LEVEL,…")]
    pub(crate) level: Vec<String>,
    /// What random choices begin with
    #[command(flatten)]
    pub(crate) random: RandomArgs,
    /// The report as a page
    #[command(flatten)]
    pub(crate) page: PageArgs,
    /// What describes models that are weights alone
    #[command(flatten)]
    pub(crate) architecture: ArchitectureArgs,
}

/// `watermark …`.
#[derive(Debug, Subcommand)]
pub(crate) enum WatermarkAction {
    /// Train marks made from a new secret into a model, before it is released
    #[command(
        after_help = "Examples:\n  ringfence watermark embed net.onnx --data train.csv --label label --shape 1,8,8 --scale 0.0625 --secret net.secret --out marked.onnx"
    )]
    Embed(EmbedArgs),
    /// Seal a secret in the vault and record its commitment in the trail, before the marked model is released
    #[command(after_help = "Examples:\n  ringfence watermark record model/net@3 --secret net.secret")]
    Record(RecordArgs),
    /// Look for the marks of a secret in a suspect model
    #[command(
        after_help = "Examples:\n  ringfence watermark verify suspect.onnx --secret net.secret\n  ringfence watermark verify suspect.onnx --of model/net@3\n  ringfence watermark verify --endpoint endpoint.toml --secret net.secret --recorded\n  ringfence watermark verify suspect.onnx --secret net.secret --members train.npz --others test.npz --format json"
    )]
    Verify(MarkArgs),
}

/// `watermark embed`.
#[derive(Debug, Args)]
pub(crate) struct EmbedArgs {
    /// The model (ONNX or safetensors)
    pub(crate) model: PathBuf,
    /// Its training data
    #[arg(long, value_name = "FILE")]
    pub(crate) data: PathBuf,
    /// How it is read
    #[command(flatten)]
    pub(crate) read: DataArgs,
    /// Where the new secret goes; keep it sealed, and record its commitment before the release
    #[arg(long, value_name = "FILE")]
    pub(crate) secret: PathBuf,
    /// Where the marked model goes: safetensors if the name ends so, otherwise ONNX
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Trigger inputs
    #[arg(long, default_value_t = 60)]
    pub(crate) triggers: u64,
    /// Bits in weights; 0 for none
    #[arg(long, default_value_t = 64)]
    pub(crate) bits: u64,
    /// Passes over the data
    #[arg(long, default_value_t = 20)]
    pub(crate) epochs: u64,
    /// Peak learning rate
    #[arg(long, default_value_t = 0.003)]
    pub(crate) rate: f32,
    /// Seed of the order of examples
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// What describes models that are weights alone
    #[command(flatten)]
    pub(crate) architecture: ArchitectureArgs,
}

/// `watermark record`.
#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    /// The version that is marked, or that the marked model is made from
    pub(crate) version: Reference,
    /// The secret that `watermark embed` wrote; the file stays where it is
    #[arg(long, value_name = "FILE")]
    pub(crate) secret: PathBuf,
}

/// `watermark verify`.
#[derive(Debug, Args)]
pub(crate) struct MarkArgs {
    /// The suspect (ONNX or safetensors)
    #[arg(required_unless_present = "endpoint", conflicts_with = "endpoint")]
    pub(crate) suspect: Option<PathBuf>,
    /// What else can be asked
    #[command(flatten)]
    pub(crate) other: EndpointArgs,
    /// Ask an endpoint for at most so many answers; with fewer than there are triggers nothing is stated
    #[arg(long, value_name = "N", requires = "endpoint")]
    pub(crate) queries: Option<u64>,
    /// The secret that `watermark embed` wrote
    #[arg(long, value_name = "FILE", required_unless_present = "of", conflicts_with = "of")]
    pub(crate) secret: Option<PathBuf>,
    /// Take the secret out of the vault, where `watermark record` sealed it for this version; names the entry and its time
    #[arg(long, value_name = "VERSION")]
    pub(crate) of: Option<Reference>,
    /// Look in the vault for the entry that records the secret, and name it and its time
    #[arg(long, conflicts_with = "of")]
    pub(crate) recorded: bool,
    /// The owner's training data, for dataset inference
    #[arg(long, value_name = "FILE", requires = "others")]
    pub(crate) members: Option<PathBuf>,
    /// Data of the same source that nobody trained on
    #[arg(long, value_name = "FILE", requires = "members")]
    pub(crate) others: Option<PathBuf>,
    /// How both are read
    #[command(flatten)]
    pub(crate) read: DataArgs,
    /// What describes models that are weights alone
    #[command(flatten)]
    pub(crate) architecture: ArchitectureArgs,
}
