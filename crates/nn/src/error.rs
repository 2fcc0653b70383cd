//! Why a model, a call or an input was refused.

use ringfence_format::onnx::OnnxError;

/// Everything that can go wrong. Nodes are named as in the file, or `#3` for the fourth node where it has no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NnError {
    /// The bytes are not an ONNX model.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The file imports a version of the standard operators outside [`limits::OPSETS`](crate::limits::OPSETS), or none.
    #[error("operator set {version} of the standard operators is not read, 7 to 22 are")]
    Opset {
        /// The version; 0 where none is imported.
        version: i64,
    },
    /// An operator that is not implemented.
    #[error("node `{node}`: operator `{operator}` (opset {opset}) is not known")]
    Operator {
        /// The node.
        node: String,
        /// The operator with its domain.
        operator: String,
        /// The version of the standard operators.
        opset: i64,
    },
    /// An attribute that the operator does not have in this version, or a value of it that is not implemented.
    #[error("node `{node}`: attribute `{attribute}` of `{operator}` (opset {opset}) {problem}")]
    Attribute {
        /// The node.
        node: String,
        /// The operator.
        operator: String,
        /// The version of the standard operators.
        opset: i64,
        /// The attribute.
        attribute: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The node cannot be used as it is wired.
    #[error("node `{node}`: `{operator}` (opset {opset}) {problem}")]
    Node {
        /// The node.
        node: String,
        /// The operator.
        operator: String,
        /// The version of the standard operators.
        opset: i64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An element type that is not implemented.
    #[error("`{name}` has element type {data_type}, which is not implemented")]
    DataType {
        /// The value.
        name: String,
        /// The type's name in the ONNX specification.
        data_type: &'static str,
    },
    /// The output has no gradient with respect to the input: a step function lies on every way, or the input is of
    /// integers. Zeros would look like a robust model.
    #[error("there is no gradient with respect to `{input}`: {reason}")]
    NoGradient {
        /// The input.
        input: String,
        /// What stands in the way.
        reason: String,
    },
    /// The model has inputs beside the one that was given, and nothing was bound to them.
    #[error("input `{input}` has no value; {wanted}")]
    Unbound {
        /// The input.
        input: String,
        /// What it wants.
        wanted: String,
    },
    /// A node reads a value that no earlier node made: it is missing, or the graph has a cycle.
    #[error("node `{node}` reads `{value}`, which nothing before it makes")]
    Undefined {
        /// The node.
        node: String,
        /// The value.
        value: String,
    },
    /// Two things have the same name.
    #[error("`{value}` is defined twice")]
    Duplicate {
        /// The name.
        value: String,
    },
    /// The graph as a whole does not have one tensor in and one tensor out.
    #[error("the model {problem}")]
    Interface {
        /// What is wrong.
        problem: &'static str,
    },
    /// The input does not have the shape that the model declares.
    #[error("input has shape {found:?}, the model wants {expected}")]
    InputShape {
        /// The shape declared, `?` for a free dimension.
        expected: String,
        /// The shape given.
        found: Vec<usize>,
    },
    /// A tensor's numbers do not match its shape.
    #[error("{found} numbers do not fill shape {shape:?}")]
    TensorShape {
        /// The shape.
        shape: Vec<usize>,
        /// How many numbers there are.
        found: usize,
    },
    /// The pass would need more memory than allowed.
    #[error("the pass needs {needed} bytes, limit is {limit}")]
    Memory {
        /// Bytes needed, at least.
        needed: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Labels that do not fit the batch or the model's classes.
    #[error("{problem}")]
    Labels {
        /// What is wrong.
        problem: &'static str,
    },
    /// A borrowed library ([`Library`](crate::Library)) did not do what it was asked.
    #[error("ONNX Runtime: {problem}")]
    Library {
        /// What is wrong, in its words.
        problem: String,
    },
    /// A cross-entropy of the output makes no sense.
    #[error("no cross-entropy: {problem}")]
    Loss {
        /// Why.
        problem: &'static str,
    },
}
