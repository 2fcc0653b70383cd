//! Why a description and its weights make no model.

use ringfence_format::json::JsonError;

use super::{ARCHITECTURE_BYTES_MAX, LAYERS_MAX, NESTING_MAX};
use crate::error::NnError;

/// Everything that can be wrong. Places are named as in the document (`layers[3].stride`), layers by their place and their
/// weights (`layers[3] (conv conv1)`), tensors as in the weights' file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchitectureError {
    /// The document is longer than [`ARCHITECTURE_BYTES_MAX`].
    #[error("the architecture has {bytes} bytes, limit is {ARCHITECTURE_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The document is not JSON.
    #[error("the architecture is not JSON: {0}")]
    Json(#[from] JsonError),
    /// The document is not text.
    #[error("the architecture is not text in UTF-8")]
    Text,
    /// It is neither a description of ours nor a configuration that is known.
    #[error("the architecture is of a kind that is not known: {problem}")]
    Kind {
        /// What it says, and what would be known.
        problem: String,
    },
    /// A part of the document is missing, superfluous or of another kind.
    #[error("architecture: `{place}` {problem}")]
    Part {
        /// Where.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// More layers than [`LAYERS_MAX`].
    #[error("architecture: `{place}`: more than {LAYERS_MAX} layers")]
    Layers {
        /// Where the limit was met.
        place: String,
    },
    /// Residual blocks within each other deeper than [`NESTING_MAX`].
    #[error("architecture: `{place}`: nested deeper than {NESTING_MAX}")]
    Nesting {
        /// Where.
        place: String,
    },
    /// The weights are no sound safetensors file.
    #[error("weights: {problem}")]
    Weights {
        /// What is wrong with them.
        problem: String,
    },
    /// A tensor that a layer needs is not there.
    #[error("{layer} needs the tensor `{tensor}` of shape {expected}, which the weights do not hold")]
    Missing {
        /// The layer.
        layer: String,
        /// The tensor.
        tensor: String,
        /// Its shape, `?` where the layer leaves it open.
        expected: String,
    },
    /// A tensor does not have the shape that its layer needs.
    #[error("{layer}: the tensor `{tensor}` has shape {found}, expected {expected}")]
    Shape {
        /// The layer.
        layer: String,
        /// The tensor.
        tensor: String,
        /// The shape that fits, `?` where any does.
        expected: String,
        /// The shape in the file.
        found: String,
    },
    /// A tensor does not hold numbers that a layer can use.
    #[error("{layer}: the tensor `{tensor}` holds {found}; F64, F32, F16 and BF16 are read")]
    ElementType {
        /// The layer.
        layer: String,
        /// The tensor.
        tensor: String,
        /// Its element type.
        found: String,
    },
    /// What comes into a layer does not fit it.
    #[error("{layer} takes {expected}, what comes in has shape {found} (without the batch)")]
    Input {
        /// The layer.
        layer: String,
        /// What would fit.
        expected: String,
        /// What comes, `?` where it is free.
        found: String,
    },
    /// Tensors that no layer uses: the description is not that of these weights, or not all of it.
    #[error(
        "no layer uses {count} of the tensors, such as {examples}; list under `ignore` what is not part of the model"
    )]
    Unused {
        /// How many.
        count: usize,
        /// The first of them.
        examples: String,
    },
    /// The graph that was made is refused.
    #[error(transparent)]
    Model(#[from] NnError),
}

/// A shape to be read, `?` where it is free.
pub(super) fn shown<D: Into<Option<usize>> + Copy>(shape: &[D]) -> String {
    let dims: Vec<String> =
        shape.iter().map(|dim| (*dim).into().map_or("?".to_owned(), |dim: usize| dim.to_string())).collect();
    format!("[{}]", dims.join(", "))
}
