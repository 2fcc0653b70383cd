//! The layers of a chain, as a description names them.

use ringfence_format::json::Json;

use super::error::ArchitectureError;
use super::fields::{Fields, Sides, part};
use super::{LAYERS_MAX, NESTING_MAX};

/// A layer and what it is called in refusals.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) label: String,
    pub(super) layer: Operation,
}

/// What a layer does; weights are named by prefix, as in a state dict.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    Linear {
        weights: String,
        bias: bool,
    },
    Conv {
        weights: String,
        bias: bool,
        window: Window,
        groups: usize,
    },
    BatchNorm {
        weights: String,
        epsilon: f64,
    },
    LayerNorm {
        weights: String,
        bias: bool,
        epsilon: f64,
    },
    Embedding {
        weights: String,
    },
    Activation(Activation),
    Softmax {
        axis: Option<usize>,
        log: bool,
    },
    Pool {
        max: bool,
        kernel: Sides,
        window: Window,
        count_padding: bool,
    },
    GlobalPool {
        max: bool,
    },
    Mean {
        axis: usize,
    },
    Flatten,
    /// `dropout` and `identity`: nothing is left of them after training.
    Nothing,
    Normalise {
        mean: Vec<f64>,
        deviation: Vec<f64>,
    },
    Residual {
        layers: Vec<Step>,
        shortcut: Vec<Step>,
    },
}

impl Operation {
    /// The prefix of its tensors, if it has any.
    fn weights(&self) -> Option<&str> {
        match self {
            Self::Linear { weights, .. }
            | Self::Conv { weights, .. }
            | Self::BatchNorm { weights, .. }
            | Self::LayerNorm { weights, .. }
            | Self::Embedding { weights } => Some(weights),
            _ => None,
        }
    }
}

/// How a window moves; what is absent has its usual value.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    pub(super) stride: Option<Sides>,
    pub(super) padding: Option<Sides>,
    pub(super) dilation: Option<Sides>,
}

/// A function of each number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Activation {
    Relu,
    LeakyRelu { slope: f64 },
    Elu { alpha: f64 },
    Gelu,
    GeluTanh,
    Tanh,
    Sigmoid,
    Silu,
    HardSwish,
    Softplus,
}

impl Activation {
    /// The activation that Hugging Face's transformers call so.
    pub(super) fn of_transformers(name: &str) -> Option<Self> {
        Some(match name {
            "gelu" | "gelu_python" => Self::Gelu,
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Self::GeluTanh,
            "relu" => Self::Relu,
            "silu" | "swish" => Self::Silu,
            "tanh" => Self::Tanh,
            "sigmoid" => Self::Sigmoid,
            _ => return None,
        })
    }
}

/// Reads lists of layers, counting them.
#[derive(Debug, Default)]
pub(super) struct Reader {
    count: usize,
}

impl Reader {
    /// The layers of a list.
    pub(super) fn layers(&mut self, items: &[Json], place: &str, depth: usize) -> Result<Vec<Step>, ArchitectureError> {
        if depth > NESTING_MAX {
            return Err(ArchitectureError::Nesting { place: place.to_owned() });
        }
        let mut steps = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let place = format!("{place}[{index}]");
            self.count += 1;
            if self.count > LAYERS_MAX {
                return Err(ArchitectureError::Layers { place });
            }
            steps.push(self.step(Fields::of(item, &place)?, depth)?);
        }
        Ok(steps)
    }

    fn step(&mut self, fields: Fields<'_>, depth: usize) -> Result<Step, ArchitectureError> {
        let name = fields.name("layer")?;
        let layer = match with_weights(name, &fields)? {
            Some(layer) => layer,
            None => match function(name, &fields)? {
                Some(layer) => layer,
                None if name == "residual" => self.residual(&fields, depth)?,
                None => return Err(fields.wrong("layer", &format!("is `{name}`; known are {KNOWN}"))),
            },
        };
        let label = match layer.weights() {
            Some(weights) => format!("{} ({name} {weights})", fields.place()),
            None => format!("{} ({name})", fields.place()),
        };
        fields.finish()?;
        Ok(Step { label, layer })
    }

    fn residual(&mut self, fields: &Fields<'_>, depth: usize) -> Result<Operation, ArchitectureError> {
        let mut inner = |key: &'static str, default: Option<&'static [Json]>| {
            let items = fields.list(key)?.or(default).ok_or_else(|| fields.wrong(key, "is missing"))?;
            self.layers(items, &fields.at(key), depth + 1)
        };
        let layer = Operation::Residual { layers: inner("layers", None)?, shortcut: inner("shortcut", Some(&[]))? };
        Ok(layer)
    }
}

/// Layers that have tensors.
fn with_weights(name: &str, fields: &Fields<'_>) -> Result<Option<Operation>, ArchitectureError> {
    if !matches!(name, "linear" | "conv" | "batch-norm" | "layer-norm" | "embedding") {
        return Ok(None);
    }
    let weights = fields.name("weights")?.to_owned();
    Ok(Some(match name {
        "linear" => Operation::Linear { weights, bias: fields.flag("bias", true)? },
        "conv" => Operation::Conv {
            weights,
            bias: fields.flag("bias", true)?,
            window: window(fields, true)?,
            groups: fields.positive("groups", 1)?,
        },
        "batch-norm" => Operation::BatchNorm { weights, epsilon: fields.epsilon("eps", EPSILON)? },
        "layer-norm" => {
            Operation::LayerNorm { weights, bias: fields.flag("bias", true)?, epsilon: fields.epsilon("eps", EPSILON)? }
        }
        _ => Operation::Embedding { weights },
    }))
}

/// Layers without tensors.
fn function(name: &str, fields: &Fields<'_>) -> Result<Option<Operation>, ArchitectureError> {
    let activation = match name {
        "relu" => Activation::Relu,
        "leaky-relu" => Activation::LeakyRelu { slope: fields.number("slope", 0.01)? },
        "elu" => Activation::Elu { alpha: fields.number("alpha", 1.0)? },
        "gelu" => match fields.text("approximate")?.unwrap_or("none") {
            "none" => Activation::Gelu,
            "tanh" => Activation::GeluTanh,
            _ => return Err(fields.wrong("approximate", "is neither `none` nor `tanh`")),
        },
        "tanh" => Activation::Tanh,
        "sigmoid" => Activation::Sigmoid,
        "silu" => Activation::Silu,
        "hard-swish" => Activation::HardSwish,
        "softplus" => Activation::Softplus,
        _ => return shaping(name, fields),
    };
    Ok(Some(Operation::Activation(activation)))
}

fn shaping(name: &str, fields: &Fields<'_>) -> Result<Option<Operation>, ArchitectureError> {
    Ok(Some(match name {
        "softmax" | "log-softmax" => Operation::Softmax { axis: axis(fields)?, log: name == "log-softmax" },
        "max-pool" | "average-pool" => {
            let max = name == "max-pool";
            let kernel = fields.sides("kernel")?.ok_or_else(|| fields.wrong("kernel", "is missing"))?;
            let count_padding = !max && fields.flag("count-padding", true)?;
            Operation::Pool { max, kernel, window: window(fields, max)?, count_padding }
        }
        "global-average-pool" | "global-max-pool" => Operation::GlobalPool { max: name == "global-max-pool" },
        "mean" => Operation::Mean { axis: axis(fields)?.ok_or_else(|| fields.wrong("axis", "is missing"))? },
        "flatten" => Operation::Flatten,
        // A probability is accepted, because a description made from a training script has one.
        "dropout" => fields.number("p", 0.5).map(|_| Operation::Nothing)?,
        "identity" => Operation::Nothing,
        "normalise" => Operation::Normalise { mean: fields.numbers("mean")?, deviation: fields.numbers("deviation")? },
        _ => return Ok(None),
    }))
}

/// An axis of the batch's shape; the batch itself, axis 0, is none.
fn axis(fields: &Fields<'_>) -> Result<Option<usize>, ArchitectureError> {
    match fields.count("axis")? {
        Some(0) => Err(fields.wrong("axis", "is 0, the batch: examples do not mix")),
        axis => Ok(axis),
    }
}

fn window(fields: &Fields<'_>, dilates: bool) -> Result<Window, ArchitectureError> {
    let dilation = if dilates { fields.sides("dilation")? } else { None };
    Ok(Window { stride: fields.sides("stride")?, padding: fields.sides("padding")?, dilation })
}

/// The refusal of a place in the chain.
pub(super) fn misplaced(label: &str, problem: &str) -> ArchitectureError {
    part(label, problem)
}

/// What torch adds to variances unless told otherwise.
pub(super) const EPSILON: f64 = 1e-5;
/// Names of all layers.
const KNOWN: &str = "linear, conv, batch-norm, layer-norm, embedding, relu, leaky-relu, elu, gelu, tanh, sigmoid, silu, \
                     hard-swish, softplus, softmax, log-softmax, max-pool, average-pool, global-average-pool, \
                     global-max-pool, mean, flatten, dropout, identity, normalise, residual";
