//! `attack text`: what was typed.

use std::path::PathBuf;

use clap::Args;

use crate::args::attack::{ArchitectureArgs, EndpointArgs, PageArgs, RandomArgs};

/// `attack text`.
#[derive(Debug, Args)]
pub(crate) struct TextArgs {
    /// The model (ONNX or safetensors): token ids in, perhaps a mask and segments; scores out
    #[arg(required_unless_present = "endpoint", conflicts_with = "endpoint")]
    pub(crate) model: Option<PathBuf>,
    /// What else can be attacked
    #[command(flatten)]
    pub(crate) other: EndpointArgs,
    /// The model's tokenizer, as Hugging Face tokenizers write it
    #[arg(long, value_name = "tokenizer.json", required_unless_present = "endpoint", conflicts_with = "endpoint")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Texts with their classes: CSV or JSONL
    #[arg(long, value_name = "FILE")]
    pub(crate) data: PathBuf,
    /// Column of the text
    #[arg(long, default_value = "text", value_name = "COLUMN")]
    pub(crate) text: String,
    /// Column of the label
    #[arg(long, default_value = "label", value_name = "COLUMN")]
    pub(crate) label: String,
    /// Labels in the order of the model's outputs, where they are words
    #[arg(long, value_delimiter = ',', value_name = "LABEL,…")]
    pub(crate) classes: Vec<String>,
    /// Attacks: characters, homoglyphs, invisible, synonyms, neighbours, words, hotflip, random-characters,
    /// random-homoglyphs, random-invisible, random-synonyms, random-words [default: what the model and --synonyms leave open]
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub(crate) attacks: Vec<String>,
    /// Words of a text that may be edited: a number, or a share of them
    #[arg(long, default_value = "20%", value_name = "N|N%")]
    pub(crate) edits: String,
    /// Words that may stand for one another: lines `word: other, another`
    #[arg(long, value_name = "FILE")]
    pub(crate) synonyms: Option<PathBuf>,
    /// Most questions that one attack may ask about one text
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub(crate) queries: u64,
    /// Most tokens of a text [default: the model's, else the tokenizer's own limit, else 512]
    #[arg(long, value_name = "N")]
    pub(crate) max_tokens: Option<usize>,
    /// Use at most so many texts
    #[arg(long, value_name = "N")]
    pub(crate) examples: Option<usize>,
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
