//! From an ONNX file to a graph of typed operators over numbered values.
//!
//! What comes out of here is known to be sound as a graph: every value is made once, before it is read; every operator,
//! attribute and element type is one that the plan can lower. Shapes are the plan's business.

#![deny(clippy::indexing_slicing)]

mod attributes;
mod operator;
mod role;

pub(crate) use attributes::Place;
pub(crate) use operator::{AutoPad, Bounds, CastTo, Operator, PadMode, WindowAttributes};
pub(crate) use role::{Fresh, Role};

use std::collections::HashMap;

use ringfence_format::onnx::{self, AttributeValue, DataType, Dimension, Type};

use crate::error::NnError;
use crate::limits::OPSETS;
use crate::real::Real;
use crate::tensor::elements;
use attributes::Attributes;

/// A value's number.
pub(crate) type Value = usize;

/// A graph with one input and one output.
#[derive(Debug, Clone)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    /// What is known about each value beforehand.
    pub(crate) values: Vec<Known>,
    pub(crate) floats: Vec<Float>,
    pub(crate) input: Value,
    pub(crate) input_name: String,
    /// `None` is free.
    pub(crate) input_dims: Vec<Option<usize>>,
    pub(crate) output: Value,
}

/// One operator and its wiring; an input of `None` is an omitted optional one.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) operator: Operator,
    pub(crate) place: Place,
    pub(crate) inputs: Vec<Option<Value>>,
    pub(crate) outputs: Vec<Value>,
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
    /// Whether it is an initialiser, which can be written back, and not a constant node.
    pub(crate) initialiser: bool,
    pub(crate) role: Role,
}

impl Graph {
    /// Reads the main graph of a model.
    pub(crate) fn read(model: &onnx::Model<'_>) -> Result<Self, NnError> {
        let opset = standard_opset(model)?;
        let graph = model.graph.as_ref().ok_or(NnError::Interface { problem: "has no graph" })?;
        if !graph.sparse_initialisers.is_empty() {
            return Err(NnError::Interface { problem: "has sparse initialisers, which are not implemented" });
        }
        let mut builder = Builder::default();
        for tensor in &graph.initialisers {
            let known = builder.constant(tensor, true)?;
            builder.define(tensor.name, known)?;
        }
        let (input_name, input_dims) = the_input(graph)?;
        let input = builder.define(input_name, Known::Computed)?;
        for (index, node) in graph.nodes.iter().enumerate() {
            builder.node(node, index, opset)?;
        }
        let [output] = graph.outputs.as_slice() else {
            return Err(NnError::Interface { problem: "does not have exactly one output" });
        };
        let output = builder.names.get(output.name).copied();
        let output = output.ok_or(NnError::Interface { problem: "never makes its output" })?;
        let mut graph = Self {
            nodes: builder.nodes,
            values: builder.values,
            floats: builder.floats,
            input,
            input_name: input_name.to_owned(),
            input_dims,
            output,
        };
        graph.drop_unused();
        role::assign(&mut graph);
        Ok(graph)
    }

    /// Drops nodes on which the output does not depend.
    fn drop_unused(&mut self) {
        let mut wanted = vec![false; self.values.len()];
        let mark = |wanted: &mut Vec<bool>, value: Value| {
            if let Some(flag) = wanted.get_mut(value) {
                *flag = true;
            }
        };
        mark(&mut wanted, self.output);
        let mut kept = Vec::new();
        while let Some(node) = self.nodes.pop() {
            if node.outputs.iter().any(|output| wanted.get(*output) == Some(&true)) {
                node.inputs.iter().flatten().for_each(|input| mark(&mut wanted, *input));
                kept.push(node);
            }
        }
        kept.reverse();
        self.nodes = kept;
    }
}

fn standard_opset(model: &onnx::Model<'_>) -> Result<i64, NnError> {
    let mut versions = model.opsets.iter().filter(|opset| is_standard(opset.domain)).map(|opset| opset.version);
    let version = versions.next().unwrap_or(0);
    // Two imports of one domain contradict each other, even where they agree.
    if versions.next().is_some() || !OPSETS.contains(&version) { Err(NnError::Opset { version }) } else { Ok(version) }
}

fn is_standard(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

/// The one input that is not an initialiser.
fn the_input<'m>(graph: &'m onnx::Graph<'_>) -> Result<(&'m str, Vec<Option<usize>>), NnError> {
    let given = |name: &str| graph.initialisers.iter().any(|tensor| tensor.name == name);
    let mut inputs = graph.inputs.iter().filter(|input| !given(input.name));
    let (Some(input), None) = (inputs.next(), inputs.next()) else {
        return Err(NnError::Interface { problem: "does not have exactly one input" });
    };
    let Some(Type::Tensor { element, shape }) = &input.value_type else {
        return Err(NnError::Interface { problem: "does not take a tensor" });
    };
    if *element != DataType::Float {
        return Err(NnError::DataType { name: input.name.to_owned(), data_type: element.name() });
    }
    let shape = shape.as_ref().filter(|shape| !shape.is_empty());
    let shape =
        shape.ok_or(NnError::Interface { problem: "does not declare the rank of its input, or takes a scalar" })?;
    let dim = |dimension: &Dimension<'_>| match dimension {
        // Exporters write -1 and 0 for a free dimension.
        Dimension::Fixed(..=0) | Dimension::Named(_) | Dimension::Unknown => Ok(None),
        Dimension::Fixed(size) => {
            let size = usize::try_from(*size).ok().filter(|size| elements(&[*size]).is_some());
            size.map(Some).ok_or(NnError::Interface { problem: "declares an impossible input" })
        }
    };
    Ok((input.name, shape.iter().map(dim).collect::<Result<_, _>>()?))
}

#[derive(Default)]
struct Builder<'m> {
    names: HashMap<&'m str, Value>,
    values: Vec<Known>,
    floats: Vec<Float>,
    nodes: Vec<Node>,
}

impl<'m> Builder<'m> {
    fn fresh(&mut self, known: Known) -> Value {
        self.values.push(known);
        self.values.len() - 1
    }

    fn define(&mut self, name: &'m str, known: Known) -> Result<Value, NnError> {
        let value = self.fresh(known);
        match self.names.insert(name, value) {
            Some(_) => Err(NnError::Duplicate { value: name.to_owned() }),
            None => Ok(value),
        }
    }

    fn constant(&mut self, tensor: &onnx::Tensor<'_>, initialiser: bool) -> Result<Known, NnError> {
        let count = tensor.elements()?;
        let shape: Vec<usize> = tensor.dims.iter().filter_map(|dim| usize::try_from(*dim).ok()).collect();
        if elements(&shape) != Some(count) {
            return Err(NnError::TensorShape { shape, found: 0 });
        }
        Ok(match tensor.data_type {
            DataType::Float => {
                let numbers = tensor.floats()?.into_iter().map(f32::of).collect();
                let name = tensor.name.to_owned();
                self.floats.push(Float { name, shape, numbers, initialiser, role: Role::Fixed });
                Known::Float(self.floats.len() - 1)
            }
            DataType::Int64 | DataType::Int32 | DataType::Bool => Known::Integers(shape, tensor.integers()?),
            other => return Err(NnError::DataType { name: tensor.name.to_owned(), data_type: other.name() }),
        })
    }

    fn node(&mut self, node: &'m onnx::Node<'_>, index: usize, opset: i64) -> Result<(), NnError> {
        let label = if node.name.is_empty() { format!("#{index}") } else { node.name.to_owned() };
        let standard = is_standard(node.domain);
        let operator = if standard { node.op_type.to_owned() } else { format!("{}.{}", node.domain, node.op_type) };
        let place = Place { node: label, operator, opset };
        if !standard {
            return Err(place.unknown());
        }
        if node.op_type == "Constant" {
            return self.constant_node(node, &place);
        }
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for name in &node.inputs {
            inputs.push(match *name {
                "" => None,
                name => Some(
                    self.names
                        .get(name)
                        .copied()
                        .ok_or_else(|| NnError::Undefined { node: place.node.clone(), value: name.to_owned() })?,
                ),
            });
        }
        let operator = operator::read(&mut Attributes::new(node, &place)?, &inputs)?;
        let (least, most) = operator.arity();
        if inputs.len() > most || inputs.iter().take(least).flatten().count() < least {
            return Err(place.problem("has the wrong number of inputs"));
        }
        let wanted = node.outputs.iter().filter(|name| !name.is_empty()).count();
        if wanted > operator.outputs() || node.outputs.first().is_none_or(|name| name.is_empty()) {
            return Err(place.problem("makes outputs that are not implemented"));
        }
        if let Operator::Binary(_) = operator
            && inputs.len() != 2
        {
            return self.chain(node, &operator, &place, &inputs);
        }
        let outputs = node.outputs.iter().take(wanted);
        let outputs = outputs.map(|name| self.define(name, Known::Computed)).collect::<Result<_, _>>()?;
        self.nodes.push(Node { operator, place, inputs, outputs });
        Ok(())
    }

    /// `Sum`, `Min` and `Max` take any number of inputs: a chain of operators that take two.
    fn chain(
        &mut self,
        node: &'m onnx::Node<'_>,
        operator: &Operator,
        place: &Place,
        inputs: &[Option<Value>],
    ) -> Result<(), NnError> {
        let name = node.outputs.first().copied().unwrap_or_default();
        let (Some((first, rest)), true) = (inputs.split_first(), inputs.iter().all(Option::is_some)) else {
            return Err(place.problem("has the wrong number of inputs"));
        };
        if rest.is_empty() {
            let output = self.define(name, Known::Computed)?;
            let (place, inputs) = (place.clone(), inputs.to_vec());
            self.nodes.push(Node { operator: Operator::Identity, place, inputs, outputs: vec![output] });
            return Ok(());
        }
        let mut left = *first;
        for (index, right) in rest.iter().enumerate() {
            let last = index + 1 == rest.len();
            let output = if last { self.define(name, Known::Computed)? } else { self.fresh(Known::Computed) };
            let (operator, place) = (operator.clone(), place.clone());
            self.nodes.push(Node { operator, place, inputs: vec![left, *right], outputs: vec![output] });
            left = Some(output);
        }
        Ok(())
    }

    fn constant_node(&mut self, node: &'m onnx::Node<'_>, place: &Place) -> Result<(), NnError> {
        let ([attribute], [name], []) = (node.attributes.as_slice(), node.outputs.as_slice(), node.inputs.as_slice())
        else {
            return Err(place.problem("is not one attribute and one output"));
        };
        let known = match (attribute.name, &attribute.value) {
            ("value", Some(AttributeValue::Tensor(tensor))) => self.constant(tensor, false)?,
            ("value_float", Some(AttributeValue::Float(number))) => self.float_constant(vec![], vec![*number]),
            ("value_floats", Some(AttributeValue::Floats(numbers))) => {
                self.float_constant(vec![numbers.len()], numbers.clone())
            }
            ("value_int", Some(AttributeValue::Int(number))) => Known::Integers(vec![], vec![*number]),
            ("value_ints", Some(AttributeValue::Ints(numbers))) => {
                Known::Integers(vec![numbers.len()], numbers.clone())
            }
            _ => return Err(place.attribute(attribute.name, "is not implemented")),
        };
        self.define(name, known)?;
        Ok(())
    }

    fn float_constant(&mut self, shape: Vec<usize>, numbers: Vec<f32>) -> Known {
        self.floats.push(Float { name: String::new(), shape, numbers, initialiser: false, role: Role::Fixed });
        Known::Float(self.floats.len() - 1)
    }
}
