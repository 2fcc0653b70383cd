//! From an ONNX file to a graph of typed operators over numbered values.
//!
//! What comes out of here is known to be sound as a graph: every value is made once, before it is read; every operator,
//! attribute and element type is one that the plan can lower. Only what the chosen output depends on is read. Functions
//! of the file are called where they stand; branches and loop bodies become [`Block`]s. Shapes are the plan's business.

#![deny(clippy::indexing_slicing)]

mod attributes;
mod build;
mod interface;
mod learned;
mod nice;
mod operator;
mod read;
mod role;

pub(crate) use attributes::Place;
pub(crate) use interface::Input;
pub(crate) use learned::{Classifier, Ensemble, Learned, Machine, MachineKernel, Norm, PostTransform, Sign};
pub(crate) use operator::{
    Aspect, AutoPad, Block, Bounds, CastTo, Coordinates, Direction, Gate, Interpolation, Nearest, Operator, PadMode,
    Recurrence, ResizeMode, Shuffle, WindowAttributes,
};
pub(crate) use role::{Fresh, Role};

use std::collections::HashMap;

use ringfence_format::onnx::{self, DataType};

use crate::error::NnError;
use crate::limits::OPSETS;
use build::Builder;

/// A value's number.
pub(crate) type Value = usize;

/// A graph with one output.
#[derive(Debug, Clone)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    /// What is known about each value beforehand.
    pub(crate) values: Vec<Known>,
    pub(crate) floats: Vec<Float>,
    /// In file order.
    pub(crate) inputs: Vec<Input>,
    /// Which of them is differentiated and cut into batches by the calls that take one tensor.
    pub(crate) primary: usize,
    pub(crate) output: Value,
    /// The least and the largest number of constants of narrow integers: quantisation holds to the type of its zero.
    pub(crate) ranges: HashMap<Value, (f64, f64)>,
    /// The output's name, and those of the outputs that were not chosen.
    pub(crate) output_name: String,
    pub(crate) other_outputs: Vec<String>,
}

/// One operator and its wiring; an input of `None` is an omitted optional one.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) operator: Operator,
    pub(crate) place: Place,
    pub(crate) inputs: Vec<Option<Value>>,
    /// An output of `None` is one that nobody wants.
    pub(crate) outputs: Vec<Option<Value>>,
}

/// What is known about a value before any input is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Known {
    /// Nothing.
    Computed,
    /// It is this entry of [`Graph::floats`].
    Float(usize),
    /// It is this array of integers.
    Integers(Vec<usize>, Vec<i64>),
}

/// A constant of floating-point numbers; its numbers live in the model, in the same order.
#[derive(Debug, Clone)]
pub(crate) struct Float {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) numbers: Vec<f32>,
    /// The same in the reference precision, where `f32` does not hold them: numbers stored as `DOUBLE`, and scalars that
    /// stand for a number with a short name.
    pub(crate) exact: Option<Vec<f64>>,
    /// How the file holds them.
    pub(crate) stored: DataType,
    /// Whether it is an initialiser, which can be written back, and not a constant node.
    pub(crate) initialiser: bool,
    pub(crate) role: Role,
}

impl Float {
    /// The numbers in the reference precision.
    pub(crate) fn wide(&self) -> Vec<f64> {
        self.exact.clone().unwrap_or_else(|| self.numbers.iter().copied().map(f64::from).collect())
    }
}

impl Graph {
    /// Reads the main graph of a model; `output` names the wanted output where there are several.
    pub(crate) fn read(model: &onnx::Model<'_>, output: Option<&str>) -> Result<Self, NnError> {
        let opset = standard_opset(&model.opsets)?;
        let graph = model.graph.as_ref().ok_or(NnError::Interface { problem: "has no graph" })?;
        let output_name = interface::the_output(graph, output)?;
        let wanted = build::wanted(graph, output_name);
        let mut builder = Builder::new(model, opset);
        for tensor in graph.initialisers.iter().filter(|tensor| wanted.contains(tensor.name)) {
            builder.initialiser(tensor, true)?;
        }
        if graph.sparse_initialisers.iter().any(|sparse| {
            sparse.values.as_ref().is_none_or(|values| values.name.is_empty() || wanted.contains(values.name))
        }) {
            return Err(NnError::Interface { problem: "has sparse initialisers, which are not implemented" });
        }
        let mut inputs = Vec::new();
        for declared in interface::declared(graph) {
            let value = builder.define(declared.name, Known::Computed)?;
            inputs.push(interface::input(declared, value, wanted.contains(declared.name))?);
        }
        let primary = interface::primary(&inputs)?;
        let nodes = builder.nodes(&graph.nodes, &wanted)?;
        let output = builder.find(output_name).ok_or(NnError::Interface { problem: "never makes its output" })?;
        let others = graph.outputs.iter().map(|other| other.name).filter(|name| *name != output_name);
        let mut graph = Self {
            nodes,
            values: builder.values,
            floats: builder.floats,
            inputs,
            primary,
            output,
            ranges: builder.ranges,
            output_name: output_name.to_owned(),
            other_outputs: others.map(str::to_owned).collect(),
        };
        role::assign(&mut graph);
        Ok(graph)
    }

    /// The input that attacks move.
    pub(crate) fn input(&self) -> Option<&Input> {
        self.inputs.get(self.primary)
    }
}

fn standard_opset(opsets: &[onnx::Opset<'_>]) -> Result<i64, NnError> {
    let mut versions = opsets.iter().filter(|opset| is_standard(opset.domain)).map(|opset| opset.version);
    let version = versions.next();
    // Two imports of one domain may agree (exporters of scikit-learn write such), or contradict each other. Models of the
    // machine-learning domain alone need no standard operators.
    match (version, versions.find(|other| Some(*other) != version)) {
        (None, _) if opsets.iter().any(|opset| opset.domain == LEARNED_DOMAIN) => Ok(*OPSETS.end()),
        (version, None) if version.is_some_and(|version| OPSETS.contains(&version)) => Ok(version.unwrap_or(0)),
        (version, _) => Err(NnError::Opset { version: version.unwrap_or(0) }),
    }
}

fn is_standard(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

/// The operators of classical machine learning.
const LEARNED_DOMAIN: &str = "ai.onnx.ml";
