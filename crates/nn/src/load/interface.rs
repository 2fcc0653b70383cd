//! What goes into a graph and what comes out of it.

use ringfence_format::onnx::{DataType, Dimension, Graph, Type, ValueInfo};

use super::Value;
use crate::error::NnError;
use crate::model::Element;
use crate::tensor::elements;

/// An input of the graph.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) value: Value,
    /// `None` is free.
    pub(crate) dims: Vec<Option<usize>>,
    pub(crate) element: Element,
    /// Whether the output depends on it.
    pub(crate) used: bool,
}

/// The inputs that are not initialisers.
pub(super) fn declared<'m, 'a>(graph: &'m Graph<'a>) -> impl Iterator<Item = &'m ValueInfo<'a>> {
    let given: std::collections::HashSet<&str> = graph.initialisers.iter().map(|tensor| tensor.name).collect();
    graph.inputs.iter().filter(move |input| !given.contains(input.name))
}

/// Reads one input. One that nobody reads may have any type.
pub(super) fn input(declared: &ValueInfo<'_>, value: Value, used: bool) -> Result<Input, NnError> {
    let name = declared.name.to_owned();
    let Some(Type::Tensor { element, shape }) = &declared.value_type else {
        return Err(NnError::Interface { problem: "does not take a tensor" });
    };
    let element = match element {
        DataType::Float | DataType::Double => Element::Float,
        DataType::Bool => Element::Truth,
        DataType::Int64
        | DataType::Int32
        | DataType::Int16
        | DataType::Int8
        | DataType::Uint8
        | DataType::Uint16
        | DataType::Uint32
        | DataType::Uint64 => Element::Integer,
        other if used => return Err(NnError::DataType { name, data_type: other.name() }),
        _ => Element::Float,
    };
    let shape = shape.as_ref().filter(|shape| !shape.is_empty() || !used);
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
    let dims = shape.iter().map(dim).collect::<Result<_, _>>()?;
    Ok(Input { name, value, dims, element, used })
}

/// The first input of floating-point numbers that the output depends on, or else the first one of all.
pub(super) fn primary(inputs: &[Input]) -> Result<usize, NnError> {
    let float = inputs.iter().position(|input| input.used && input.element == Element::Float);
    let used = || inputs.iter().position(|input| input.used);
    let first = if inputs.is_empty() { None } else { Some(0) };
    float.or_else(used).or(first).ok_or(NnError::Interface { problem: "takes no input" })
}

/// The wanted output: the named one, or else the first of floating-point numbers (classifiers put the label before the
/// probabilities), or else the first.
pub(super) fn the_output<'m>(graph: &'m Graph<'_>, name: Option<&str>) -> Result<&'m str, NnError> {
    let mut outputs = graph.outputs.iter();
    let found = match name {
        Some(name) => outputs.find(|output| output.name == name),
        None => outputs.find(|output| speaks_in_numbers(output)).or(graph.outputs.first()),
    };
    found.map(|output| output.name).ok_or(NnError::Interface { problem: "does not have that output, or none at all" })
}

fn speaks_in_numbers(output: &ValueInfo<'_>) -> bool {
    match &output.value_type {
        None | Some(Type::Missing | Type::Sequence(_)) => true,
        Some(Type::Tensor { element, .. }) => {
            matches!(element, DataType::Float | DataType::Double | DataType::Undefined)
        }
        Some(_) => false,
    }
}
