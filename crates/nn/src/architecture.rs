//! Models of safetensors files: weights without a graph, and a description of the graph beside them.
//!
//! [`Model::described`] is the door. A description is a small JSON document, `ringfence.architecture/1` (docs/architecture.md has its grammar): a chain of
//! layers that name their tensors by prefix, or the name of a preset; or it is the `config.json` that Hugging Face's
//! transformers writes beside the weights of a BERT or a GPT-2. Both become an ONNX file whose initialisers are the tensors,
//! under their names, so that everything that works for an ONNX model works for these: what is here ends where a file
//! has been written.
//!
//! What holds: every tensor is used, known to be a buffer of training, or named under `ignore`; every layer finds the
//! tensors that it needs in the shapes that it needs; layers fit one another. Anything else is an error that names the
//! layer, the tensor, what was expected and what was found. A description is a tree of bounded depth and size, so it has
//! no cycles; nothing is allocated for a number that it merely states.
//!
//! `F32` stays, `F16` and `BF16` become `F32`, which holds them exactly. A file with an `F64` makes a model of `DOUBLE`.

#![deny(clippy::indexing_slicing)]

mod bert;
mod chain;
mod error;
mod fields;
mod gpt2;
mod layer;
mod network;
mod resnet;
mod tensors;
mod transformer;
mod write;

pub use error::ArchitectureError;
pub(crate) use write::Carried;

use ringfence_format::json::{self, Json};

use self::bert::Bert;
use self::chain::Entry;
use self::fields::Fields;
use self::gpt2::Gpt2;
use self::layer::{Reader, Step};
use self::network::Network;
use self::tensors::Tensors;
use crate::limits::RANK_MAX;
use crate::model::Model;

/// Longest description, in bytes.
pub const ARCHITECTURE_BYTES_MAX: usize = 1 << 20;
/// Most layers of a description, those in residual blocks included; also most blocks of a transformer.
pub const LAYERS_MAX: usize = 4096;
/// How deep residual blocks may stand in each other.
pub const NESTING_MAX: usize = 16;

impl Model {
    /// Puts together the weights of a safetensors file and a description of their network.
    ///
    /// The description is a document `ringfence.architecture/1`, or the `config.json` of a `BertForSequenceClassification` or
    /// a `GPT2LMHeadModel`. Inputs are what it says, `input_ids`, `attention_mask` and `token_type_ids` for a BERT, `input_ids` for a GPT-2, each with a free batch in front.
    ///
    /// # Errors
    /// [`ArchitectureError`]: a description that is none, layers or settings that are not known, tensors that are missing,
    /// of a wrong shape or left over.
    pub fn described(architecture: &[u8], weights: &[u8]) -> Result<Self, ArchitectureError> {
        let description = Description::read(architecture)?;
        let mut tensors = Tensors::read(weights)?;
        let mut network = Network::new(&mut tensors);
        let (value, dims) = match &description.network {
            Kind::Chain(entry, steps) => chain::write(&mut network, entry, steps)?,
            Kind::Bert(bert) => bert.write(&mut network)?,
            Kind::Gpt2(gpt2) => gpt2.write(&mut network)?,
        };
        let file = network.finish(&description.name, &value, OUTPUT, &dims);
        let carried = Carried::of(&tensors, &description.ignore)?;
        let mut model = Self::parse(&file)?;
        model.carry(carried);
        Ok(model)
    }
}

/// What a document says.
#[derive(Debug)]
struct Description {
    name: String,
    network: Kind,
    ignore: Vec<String>,
}

#[derive(Debug)]
enum Kind {
    Chain(Entry, Vec<Step>),
    Bert(Bert),
    Gpt2(Gpt2),
}

impl Description {
    fn read(document: &[u8]) -> Result<Self, ArchitectureError> {
        if document.len() > ARCHITECTURE_BYTES_MAX {
            return Err(ArchitectureError::TooLong { bytes: document.len() });
        }
        let text = std::str::from_utf8(document).map_err(|_| ArchitectureError::Text)?;
        let json = json::parse(text)?;
        let fields = Fields::of(&json, "")?;
        if let Some(schema) = fields.text("schema")? {
            if schema != SCHEMA {
                let problem = format!("schema `{schema}`; `{SCHEMA}` is read");
                return Err(ArchitectureError::Kind { problem });
            }
            return Self::ours(fields);
        }
        let network = match fields.text("model_type")? {
            Some("bert") => Kind::Bert(Bert::read(&fields, None)?),
            Some("gpt2") => Kind::Gpt2(Gpt2::read(&fields, None)?),
            Some(other) => {
                let problem = format!(
                    "model_type `{other}`; of configurations, `bert` and `gpt2` are read: describe the layers instead"
                );
                return Err(ArchitectureError::Kind { problem });
            }
            None => {
                let problem = format!("it has neither a `schema` (`{SCHEMA}`) nor a `model_type`");
                return Err(ArchitectureError::Kind { problem });
            }
        };
        Ok(Self { name: "model".to_owned(), network, ignore: Vec::new() })
    }

    fn ours(fields: Fields<'_>) -> Result<Self, ArchitectureError> {
        let network = match fields.text("preset")? {
            None => {
                let items = fields.list("layers")?.ok_or_else(|| fields.wrong("layers", "is missing"))?;
                let steps = Reader::default().layers(items, "layers", 0)?;
                Kind::Chain(entry(fields.json("input"), None)?, steps)
            }
            Some("bert") => Kind::Bert(Bert::read(&fields, fields.count("sequence")?)?),
            Some("gpt2") => Kind::Gpt2(Gpt2::read(&fields, fields.count("sequence")?)?),
            Some(other) => {
                let problem =
                    format!("is `{other}`; known are bert, gpt2, resnet18, resnet34, resnet50, resnet101, resnet152");
                let stages = resnet::preset(other).ok_or_else(|| fields.wrong("preset", &problem))?;
                let picture = vec![Some(3), Some(224), Some(224)];
                Kind::Chain(entry(fields.json("input"), Some(picture))?, resnet::steps(stages))
            }
        };
        let name = fields.text("name")?.unwrap_or("model").to_owned();
        let ignore = fields.texts("ignore")?;
        fields.finish()?;
        Ok(Self { name, network, ignore })
    }
}

/// The input of a chain.
fn entry(json: Option<&Json>, usual: Option<Vec<Option<usize>>>) -> Result<Entry, ArchitectureError> {
    let Some(json) = json else {
        let shape = usual.ok_or_else(|| fields::part("input", "is missing"))?;
        return Ok(Entry { name: INPUT.to_owned(), shape, is_integer: false });
    };
    let fields = Fields::of(json, "input")?;
    let name = fields.text("name")?.unwrap_or(INPUT);
    if name.is_empty() || name.starts_with('/') || name == OUTPUT {
        return Err(fields.wrong("name", &format!("is empty, begins with `/` or is `{OUTPUT}`")));
    }
    let shape = fields.dims("shape")?.or(usual).ok_or_else(|| fields.wrong("shape", "is missing"))?;
    if shape.is_empty() || shape.len() >= RANK_MAX {
        return Err(fields.wrong("shape", &format!("does not have 1 to {} dimensions", RANK_MAX - 1)));
    }
    let is_integer = match fields.text("element")?.unwrap_or("float") {
        "float" => false,
        "integer" => true,
        _ => return Err(fields.wrong("element", "is neither `float` nor `integer`")),
    };
    let entry = Entry { name: name.to_owned(), shape, is_integer };
    fields.finish()?;
    Ok(entry)
}

/// The document's own name and version.
const SCHEMA: &str = "ringfence.architecture/1";
/// What the input of a chain is called, unless the description says otherwise, and what every output is called.
const INPUT: &str = "input";
const OUTPUT: &str = "output";
