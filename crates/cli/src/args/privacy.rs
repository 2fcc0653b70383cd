//! Arguments of `attack privacy`, and of training with differential privacy.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ringfence_engine::{Accountant, DpPlan, Guarantee, PrivacyPlan, ReferencePlan, Sampling, Start};

use super::{
    DataArgs, HardenArgs,
    attack::{ArchitectureArgs, EndpointArgs, InputArgs, PageArgs},
};

/// Places of a column among the values of an example; several for one that is one-hot.
#[derive(Debug, Clone)]
pub(crate) struct Columns(pub(crate) Vec<usize>);

/// `attack privacy`.
#[derive(Debug, Args)]
pub(crate) struct PrivacyArgs {
    /// The model (ONNX or safetensors)
    #[arg(required_unless_present = "endpoint", conflicts_with = "endpoint")]
    pub(crate) model: Option<PathBuf>,
    /// What else can be attacked
    #[command(flatten)]
    pub(crate) other: EndpointArgs,
    /// What it was trained on: CSV, IDX or NPZ with arrays `x` and `y`
    #[arg(long, value_name = "FILE", required_unless_present = "canaries", requires = "non_members")]
    pub(crate) members: Option<PathBuf>,
    /// Data of the same source that it was not trained on; a rate of 0.1 % needs 10,000 of them
    #[arg(long, value_name = "FILE", requires = "members")]
    pub(crate) non_members: Option<PathBuf>,
    /// How both are read
    #[command(flatten)]
    pub(crate) read: DataArgs,
    /// Train so many reference models of the same architecture on random halves; an even number
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) references: usize,
    /// Passes over the data in training references
    #[arg(long, default_value_t = 30, value_name = "N")]
    pub(crate) reference_epochs: u64,
    /// Examples a step in training references
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub(crate) reference_batch: usize,
    /// Learning rate in training references
    #[arg(long, default_value_t = 0.001, value_name = "X")]
    pub(crate) reference_rate: f32,
    /// A reference model that was trained elsewhere, none of it on this data unless the masks say otherwise
    #[arg(long, value_name = "MODEL")]
    pub(crate) reference: Vec<PathBuf>,
    /// NPZ whose array `masks` [references, members and non-members] says what each reference was trained on
    #[arg(long, value_name = "FILE.npz", requires = "reference")]
    pub(crate) reference_masks: Option<PathBuf>,
    /// Test membership by labels alone too
    #[arg(long)]
    pub(crate) label_only: bool,
    /// Infer these columns, by their place among the inputs, from 0; 4+5+6 is one column that is one-hot
    #[arg(long, value_delimiter = ',', value_name = "I,…", value_parser = columns)]
    pub(crate) attribute: Vec<Columns>,
    /// Recover inputs of these classes
    #[arg(long, value_delimiter = ',', value_name = "CLASS,…")]
    pub(crate) invert: Vec<usize>,
    /// Folder for pictures of what was recovered
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// A language model's canaries and training sequences, as JSON
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["members", "references", "reference", "attribute", "invert", "label_only", "endpoint"])]
    pub(crate) canaries: Option<PathBuf>,
    /// Where inputs may lie, and what random choices begin with
    #[command(flatten)]
    pub(crate) inputs: InputArgs,
    /// The report as a page
    #[command(flatten)]
    pub(crate) page: PageArgs,
    /// What describes models that are weights alone
    #[command(flatten)]
    pub(crate) architecture: ArchitectureArgs,
}

impl PrivacyArgs {
    /// What the engine is asked for.
    pub(crate) fn plan(&self) -> PrivacyPlan {
        PrivacyPlan {
            references: ReferencePlan {
                models: self.references,
                epochs: self.reference_epochs,
                batch: self.reference_batch,
                rate: self.reference_rate,
                ..ReferencePlan::default()
            },
            attributes: self.attribute.iter().map(|columns| columns.0.clone()).collect(),
            invert: self.invert.clone(),
            label_only: self.label_only,
            seed: self.inputs.random.seed,
            ..PrivacyPlan::default()
        }
    }
}

fn columns(text: &str) -> Result<Columns, String> {
    let places: Result<Vec<usize>, _> = text.split('+').map(str::parse).collect();
    places.map(Columns).map_err(|_| "places from 0, joined by `+` where one column is one-hot".to_owned())
}

/// `--accountant`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccountantName {
    /// Rényi differential privacy
    Rdp,
    /// Privacy random variables: tighter
    Prv,
}

/// `harden --mode dp-sgd`.
#[derive(Debug, Args)]
pub(crate) struct PrivateArgs {
    /// dp-sgd: the privacy budget; the noise follows from it
    #[arg(long, value_name = "X", conflicts_with = "noise")]
    pub(crate) epsilon: Option<f64>,
    /// dp-sgd: noise in clipping lengths; epsilon follows from it
    #[arg(long, value_name = "X")]
    pub(crate) noise: Option<f64>,
    /// dp-sgd: the delta at which epsilon is stated, below 1 / examples [default: 0.00001]
    #[arg(long, value_name = "X")]
    pub(crate) delta: Option<f64>,
    /// dp-sgd: length to which each example's gradient is clipped [default: 1]
    #[arg(long, value_name = "X")]
    pub(crate) clip: Option<f64>,
    /// dp-sgd: which accountant states epsilon [default: rdp]
    #[arg(long, value_enum)]
    pub(crate) accountant: Option<AccountantName>,
    /// dp-sgd: batches of one size in a random order instead of Poisson samples; no accountant counts them
    #[arg(long)]
    pub(crate) shuffled: bool,
    /// dp-sgd: state no epsilon, and allow what has none: noise 0, shuffled batches
    #[arg(long)]
    pub(crate) no_guarantee: bool,
}

impl PrivateArgs {
    /// A setting of private training, where one was given.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let given = [
            ("--epsilon", self.epsilon.is_some()),
            ("--noise", self.noise.is_some()),
            ("--delta", self.delta.is_some()),
            ("--clip", self.clip.is_some()),
            ("--accountant", self.accountant.is_some()),
            ("--shuffled", self.shuffled),
            ("--no-guarantee", self.no_guarantee),
        ];
        given.into_iter().find(|(_, is)| *is).map(|(name, _)| name)
    }
}

impl HardenArgs {
    /// What private training is asked for.
    pub(crate) fn private_plan(&self) -> DpPlan {
        let (default, private) = (DpPlan::default(), &self.private);
        DpPlan {
            start: if self.fresh { Start::Fresh } else { Start::Base },
            epochs: self.epochs.unwrap_or(default.epochs),
            batch: self.batch.unwrap_or(default.batch),
            rate: self.rate.unwrap_or(default.rate),
            clip: private.clip.unwrap_or(default.clip),
            noise: private.noise,
            epsilon: private.epsilon,
            delta: private.delta.unwrap_or(default.delta),
            accountant: match private.accountant {
                Some(AccountantName::Prv) => Accountant::Prv,
                Some(AccountantName::Rdp) | None => Accountant::Rdp,
            },
            sampling: if private.shuffled { Sampling::Shuffled } else { Sampling::Poisson },
            guarantee: if private.no_guarantee { Guarantee::None } else { Guarantee::Stated },
            seed: self.seed.unwrap_or(default.seed),
            ..default
        }
    }
}
