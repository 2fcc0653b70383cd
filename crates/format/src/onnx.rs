//! ONNX model files as a typed view over their bytes; nothing is copied but small numbers and the tree itself.
//!
//! * [`Model::parse`] reads a whole `ModelProto`. The view borrows the file, and everything in it knows its byte offset.
//! * [`Tensor`] is an initialiser or a constant: [`Tensor::payload`] says where its numbers lie, [`Tensor::floats`] and
//!   [`Tensor::integers`] decode them.
//! * [`Note`] is what a loader would skip in silence: unknown fields and repeated fields.
//! * [`rewrite()`] replaces the payloads of initialisers and keeps every other byte; [`write`] makes the messages of a new file.
//!
//! Source: `onnx.proto` of the ONNX specification, IR versions up to 13. Every count is bounded by a constant in [`limits`].
//!
//! Absent on purpose: opening external data (a name found in a file is not followed), type inference, and operators:
//! what a node means is its reader's business.

#![deny(clippy::indexing_slicing)]

mod field;
pub mod limits;
mod parse;
mod rewrite;
mod tensor;
pub mod write;

pub use rewrite::rewrite;
pub use tensor::{DataLocation, DataType, Payload, Tensor, half};

use crate::protobuf::ProtobufError;

/// Why bytes are not an ONNX model that can be read. Offsets count from the start of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The bytes are not well-formed protocol buffers.
    #[error(transparent)]
    Protobuf(#[from] ProtobufError),
    /// A name or text is not UTF-8.
    #[error("text at byte {offset} is not UTF-8")]
    Text {
        /// Where the text begins.
        offset: usize,
    },
    /// A message that may appear once appears again. Loaders merge the two; a reader that shows one of them would lie.
    #[error("`{message}` has field {number} a second time at byte {offset}")]
    Repeated {
        /// The message's name in `onnx.proto`.
        message: &'static str,
        /// The field's number.
        number: u32,
        /// Where the second one begins.
        offset: usize,
    },
    /// More items than a model of sane size has.
    #[error("more than {limit} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit, a constant in [`limits`].
        limit: usize,
    },
    /// A shape with a negative dimension, or with more elements than memory can hold.
    #[error("tensor `{name}` at byte {offset} has an impossible shape")]
    Shape {
        /// The tensor's name.
        name: String,
        /// Where the tensor begins.
        offset: usize,
    },
    /// The payload does not have as many elements as the shape says.
    #[error("tensor `{name}` at byte {offset} has {found} elements, its shape says {expected}")]
    Elements {
        /// The tensor's name.
        name: String,
        /// Where the tensor begins.
        offset: usize,
        /// Elements (or, for raw data, whole elements) in the payload.
        found: usize,
        /// Elements by the shape.
        expected: usize,
    },
    /// The payload cannot be decoded as asked.
    #[error("tensor `{name}` at byte {offset}: {what}")]
    Data {
        /// The tensor's name.
        name: String,
        /// Where the tensor begins.
        offset: usize,
        /// What stands in the way.
        what: &'static str,
    },
}

/// A `ModelProto`.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Model<'a> {
    /// Version of the intermediate representation, 0 where absent.
    pub ir_version: i64,
    /// The tool that wrote the file.
    pub producer_name: &'a str,
    /// That tool's version.
    pub producer_version: &'a str,
    /// The model's reverse-DNS namespace.
    pub domain: &'a str,
    /// The model's own version.
    pub model_version: i64,
    /// Free text.
    pub doc_string: &'a str,
    /// Operator sets that the main graph uses.
    pub opsets: Vec<Opset<'a>>,
    /// The main graph; a file without one is a file that no runtime loads.
    pub graph: Option<Graph<'a>>,
    /// Functions that nodes may call by domain and name.
    pub functions: Vec<Function<'a>>,
    /// Graphs of `training_info`, initialisation and algorithm alike.
    pub training: Vec<Graph<'a>>,
    /// Free properties.
    pub metadata: Vec<Property<'a>>,
    /// What a loader would skip, in file order, at most [`limits::NOTES_MAX`].
    pub notes: Vec<Note>,
    /// How many notes are missing from `notes` because there were too many.
    pub notes_dropped: usize,
}

/// One imported operator set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opset<'a> {
    /// The domain; empty and `ai.onnx` both name the standard operators.
    pub domain: &'a str,
    /// The version.
    pub version: i64,
}

/// A key and a value, both text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Property<'a> {
    /// The key.
    pub key: &'a str,
    /// The value.
    pub value: &'a str,
    /// Where the entry begins.
    pub offset: usize,
}

/// A `GraphProto`.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Graph<'a> {
    /// Its name.
    pub name: &'a str,
    /// Free text.
    pub doc_string: &'a str,
    /// Its nodes, in file order.
    pub nodes: Vec<Node<'a>>,
    /// Named constants: the weights.
    pub initialisers: Vec<Tensor<'a>>,
    /// Named constants in coordinate form.
    pub sparse_initialisers: Vec<SparseTensor<'a>>,
    /// Inputs; before IR version 4 initialisers are listed here too.
    pub inputs: Vec<ValueInfo<'a>>,
    /// Outputs.
    pub outputs: Vec<ValueInfo<'a>>,
    /// Types of values inside.
    pub values: Vec<ValueInfo<'a>>,
    /// Free properties.
    pub metadata: Vec<Property<'a>>,
    /// Where the message begins.
    pub offset: usize,
}

/// A `NodeProto`: one call of an operator or of a function.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Node<'a> {
    /// Its name, often empty.
    pub name: &'a str,
    /// The operator.
    pub op_type: &'a str,
    /// The operator's domain; empty for the standard operators.
    pub domain: &'a str,
    /// Which overload of a function.
    pub overload: &'a str,
    /// Values read; an empty name is an omitted optional input.
    pub inputs: Vec<&'a str>,
    /// Values made; an empty name is an output that nobody wants.
    pub outputs: Vec<&'a str>,
    /// Attributes, in file order; the reader does not merge duplicates.
    pub attributes: Vec<Attribute<'a>>,
    /// Free text.
    pub doc_string: &'a str,
    /// Free properties.
    pub metadata: Vec<Property<'a>>,
    /// Where the message begins.
    pub offset: usize,
}

/// An `AttributeProto`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Attribute<'a> {
    /// Its name.
    pub name: &'a str,
    /// Inside a function: the attribute of the caller that this one takes its value from.
    pub reference: &'a str,
    /// Free text.
    pub doc_string: &'a str,
    /// `AttributeType` as stored, 0 where absent.
    pub kind: i64,
    /// The value that `kind` names, or, where `kind` is absent, the only one there is.
    pub value: Option<AttributeValue<'a>>,
    /// Values that lie in the message although `kind` names another: a loader never looks at them.
    pub others: Vec<AttributeValue<'a>>,
    /// Where the message begins.
    pub offset: usize,
}

/// One value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeValue<'a> {
    /// `FLOAT`
    Float(f32),
    /// `INT`
    Int(i64),
    /// `STRING`, which may hold any bytes.
    Bytes(&'a [u8]),
    /// `TENSOR`
    Tensor(Box<Tensor<'a>>),
    /// `GRAPH`
    Graph(Box<Graph<'a>>),
    /// `SPARSE_TENSOR`
    SparseTensor(Box<SparseTensor<'a>>),
    /// `TYPE_PROTO`
    Type(Box<Type<'a>>),
    /// `FLOATS`
    Floats(Vec<f32>),
    /// `INTS`
    Ints(Vec<i64>),
    /// `STRINGS`
    Strings(Vec<&'a [u8]>),
    /// `TENSORS`
    Tensors(Vec<Tensor<'a>>),
    /// `GRAPHS`
    Graphs(Vec<Graph<'a>>),
    /// `SPARSE_TENSORS`
    SparseTensors(Vec<SparseTensor<'a>>),
    /// `TYPE_PROTOS`
    Types(Vec<Type<'a>>),
}

/// A `SparseTensorProto`: values and their coordinates.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseTensor<'a> {
    /// The values that are not zero; its name is the initialiser's.
    pub values: Option<Tensor<'a>>,
    /// Their coordinates.
    pub indices: Option<Tensor<'a>>,
    /// The dense shape.
    pub dims: Vec<i64>,
    /// Where the message begins.
    pub offset: usize,
}

/// A `ValueInfoProto`: a name and its type.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueInfo<'a> {
    /// The value's name.
    pub name: &'a str,
    /// Its type, where declared.
    pub value_type: Option<Type<'a>>,
    /// Where the message begins.
    pub offset: usize,
}

/// A `TypeProto`.
#[derive(Debug, Clone, PartialEq)]
pub enum Type<'a> {
    /// A dense tensor.
    Tensor {
        /// Its element type.
        element: DataType,
        /// Its shape; `None` says nothing, not even the rank.
        shape: Option<Vec<Dimension<'a>>>,
    },
    /// A sparse tensor.
    SparseTensor {
        /// Its element type.
        element: DataType,
        /// Its shape.
        shape: Option<Vec<Dimension<'a>>>,
    },
    /// A list.
    Sequence(Option<Box<Type<'a>>>),
    /// A value that may be missing.
    Optional(Option<Box<Type<'a>>>),
    /// A table.
    Map {
        /// Element type of its keys.
        key: DataType,
        /// Type of its values.
        value: Option<Box<Type<'a>>>,
    },
    /// An opaque type of some domain.
    Opaque,
    /// No type at all.
    Missing,
}

/// One dimension of a declared shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension<'a> {
    /// A number; it may be negative in a hostile file.
    Fixed(i64),
    /// A named unknown.
    Named(&'a str),
    /// An unknown.
    Unknown,
}

/// A `FunctionProto`.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Function<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its domain.
    pub domain: &'a str,
    /// Which overload.
    pub overload: &'a str,
    /// Names of its inputs.
    pub inputs: Vec<&'a str>,
    /// Names of its outputs.
    pub outputs: Vec<&'a str>,
    /// Attributes without default.
    pub attributes: Vec<&'a str>,
    /// Attributes with default.
    pub defaults: Vec<Attribute<'a>>,
    /// Its body.
    pub nodes: Vec<Node<'a>>,
    /// Operator sets that its body uses.
    pub opsets: Vec<Opset<'a>>,
    /// Types of values inside.
    pub values: Vec<ValueInfo<'a>>,
    /// Free properties.
    pub metadata: Vec<Property<'a>>,
    /// Free text.
    pub doc_string: &'a str,
    /// Where the message begins.
    pub offset: usize,
}

/// Something in the file that a loader skips or resolves without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// What it is.
    pub kind: NoteKind,
    /// The message's name in `onnx.proto`.
    pub message: &'static str,
    /// The field's number.
    pub number: u32,
    /// Where the field begins.
    pub offset: usize,
    /// The field's length with its tag, in bytes.
    pub length: usize,
}

/// What a [`Note`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoteKind {
    /// The schema has no such field of this wire type: bytes that every loader ignores.
    Unknown,
    /// A scalar that may appear once appears again; the last one counts.
    Repeated,
    /// The schema has the field, this reader does not look inside.
    Unread,
}

impl<'a> Model<'a> {
    /// Every tensor of the file with what holds it: initialisers, sparse parts, attributes; of the main graph, its
    /// subgraphs, functions and training graphs; in file order within each.
    pub fn tensors(&self) -> Vec<(TensorRole, &Tensor<'a>)> {
        let mut found = Vec::new();
        for graph in self.graph.iter().chain(&self.training) {
            graph_tensors(graph, &mut found);
        }
        for function in &self.functions {
            function.nodes.iter().for_each(|node| node_tensors(node, &mut found));
            function.defaults.iter().for_each(|attribute| attribute_tensors(attribute, &mut found));
        }
        found
    }
}

/// What holds a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TensorRole {
    /// An initialiser of a graph.
    Initialiser,
    /// A part of a sparse initialiser or attribute.
    Sparse,
    /// An attribute of a node or function.
    Attribute,
}

// The three functions below recurse as deep as the file nests, which the reader has bounded.
fn graph_tensors<'m, 'a>(graph: &'m Graph<'a>, found: &mut Vec<(TensorRole, &'m Tensor<'a>)>) {
    found.extend(graph.initialisers.iter().map(|tensor| (TensorRole::Initialiser, tensor)));
    graph.sparse_initialisers.iter().for_each(|sparse| sparse_tensors(sparse, found));
    graph.nodes.iter().for_each(|node| node_tensors(node, found));
}

fn node_tensors<'m, 'a>(node: &'m Node<'a>, found: &mut Vec<(TensorRole, &'m Tensor<'a>)>) {
    node.attributes.iter().for_each(|attribute| attribute_tensors(attribute, found));
}

fn attribute_tensors<'m, 'a>(attribute: &'m Attribute<'a>, found: &mut Vec<(TensorRole, &'m Tensor<'a>)>) {
    for value in attribute.value.iter().chain(&attribute.others) {
        match value {
            AttributeValue::Tensor(tensor) => found.push((TensorRole::Attribute, tensor)),
            AttributeValue::Tensors(tensors) => found.extend(tensors.iter().map(|t| (TensorRole::Attribute, t))),
            AttributeValue::Graph(graph) => graph_tensors(graph, found),
            AttributeValue::Graphs(graphs) => graphs.iter().for_each(|graph| graph_tensors(graph, found)),
            AttributeValue::SparseTensor(sparse) => sparse_tensors(sparse, found),
            AttributeValue::SparseTensors(sparse) => sparse.iter().for_each(|sparse| sparse_tensors(sparse, found)),
            _ => {}
        }
    }
}

fn sparse_tensors<'m, 'a>(sparse: &'m SparseTensor<'a>, found: &mut Vec<(TensorRole, &'m Tensor<'a>)>) {
    found.extend(sparse.values.iter().chain(&sparse.indices).map(|tensor| (TensorRole::Sparse, tensor)));
}
