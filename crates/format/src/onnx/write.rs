//! The messages of a new model file.
//!
//! Each function appends one field of the enclosing message to a [`Writer`]; a new file is a call of [`model`].
//! IR version and operator set are the caller's choice, so that a file says what it was made for.

use super::tensor::DataType;
use super::{Dimension, field};
use crate::protobuf::Writer;

/// A `ModelProto` with one main graph, importing version `opset` of the standard operators.
pub fn model(ir_version: i64, opset: i64, producer: &str, build_graph: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut model = Writer::new();
    model.int(field::model::IR_VERSION, ir_version).text(field::model::PRODUCER_NAME, producer);
    model.message(field::model::GRAPH, build_graph);
    model.message(field::model::OPSET_IMPORT, |import| {
        import.text(field::opset::DOMAIN, "").int(field::opset::VERSION, opset);
    });
    model.finish()
}

/// The graph's name.
pub fn graph_name(graph: &mut Writer, name: &str) {
    graph.text(field::graph::NAME, name);
}

/// A node of the standard operators.
pub fn node(
    graph: &mut Writer,
    op_type: &str,
    name: &str,
    inputs: &[&str],
    outputs: &[&str],
    attributes: &[(&str, AttributeInput<'_>)],
) {
    graph.message(field::graph::NODE, |node| {
        for input in inputs {
            node.text(field::node::INPUT, input);
        }
        for output in outputs {
            node.text(field::node::OUTPUT, output);
        }
        node.text(field::node::NAME, name).text(field::node::OP_TYPE, op_type);
        for (name, value) in attributes {
            attribute(node, name, value);
        }
    });
}

/// A value for an attribute of a new node.
#[derive(Debug, Clone, Copy)]
pub enum AttributeInput<'v> {
    /// `FLOAT`
    Float(f32),
    /// `INT`
    Int(i64),
    /// `STRING`
    Text(&'v str),
    /// `INTS`
    Ints(&'v [i64]),
    /// `FLOATS`
    Floats(&'v [f32]),
    /// `TENSOR` of `FLOAT`
    FloatTensor(&'v [i64], &'v [f32]),
    /// `TENSOR` of `INT64`
    IntTensor(&'v [i64], &'v [i64]),
}

fn attribute(node: &mut Writer, name: &str, value: &AttributeInput<'_>) {
    use field::attribute as f;
    node.message(field::node::ATTRIBUTE, |attribute| {
        attribute.text(f::NAME, name);
        let kind = match value {
            AttributeInput::Float(value) => {
                attribute.float(f::F, *value);
                1
            }
            AttributeInput::Int(value) => {
                attribute.int(f::I, *value);
                2
            }
            AttributeInput::Text(value) => {
                attribute.text(f::S, value);
                3
            }
            AttributeInput::FloatTensor(dims, values) => {
                attribute.message(f::T, |tensor| float_tensor(tensor, "", dims, values));
                4
            }
            AttributeInput::IntTensor(dims, values) => {
                attribute.message(f::T, |tensor| int_tensor(tensor, "", dims, values));
                4
            }
            AttributeInput::Floats(values) => {
                values.iter().for_each(|value| _ = attribute.float(f::FLOATS, *value));
                6
            }
            AttributeInput::Ints(values) => {
                values.iter().for_each(|value| _ = attribute.int(f::INTS, *value));
                7
            }
        };
        attribute.int(f::TYPE, kind);
    });
}

/// An initialiser of type `FLOAT`, its numbers in `raw_data`.
pub fn float_initialiser(graph: &mut Writer, name: &str, dims: &[i64], values: &[f32]) {
    graph.message(field::graph::INITIALIZER, |tensor| float_tensor(tensor, name, dims, values));
}

/// An initialiser of type `INT64`, its numbers in `raw_data`.
pub fn int_initialiser(graph: &mut Writer, name: &str, dims: &[i64], values: &[i64]) {
    graph.message(field::graph::INITIALIZER, |tensor| int_tensor(tensor, name, dims, values));
}

/// A graph input of type `FLOAT`; `None` is a dimension named `batch`.
pub fn input(graph: &mut Writer, name: &str, dims: &[Option<i64>]) {
    graph.message(field::graph::INPUT, |value| value_info(value, name, dims));
}

/// A graph output of type `FLOAT`; `None` is a dimension named `batch`.
pub fn output(graph: &mut Writer, name: &str, dims: &[Option<i64>]) {
    graph.message(field::graph::OUTPUT, |value| value_info(value, name, dims));
}

/// An initialiser of a type of fixed width, its elements little-endian, as `raw_data` holds them.
pub fn raw_initialiser(graph: &mut Writer, name: &str, dims: &[i64], data_type: DataType, raw: &[u8]) {
    graph.message(field::graph::INITIALIZER, |tensor| raw_tensor(tensor, name, dims, data_type, raw));
}

/// A graph input of this type and shape.
pub fn typed_input(graph: &mut Writer, name: &str, data_type: DataType, dims: &[Dimension<'_>]) {
    graph.message(field::graph::INPUT, |value| typed_value(value, name, data_type, dims));
}

/// A graph output of this type and shape.
pub fn typed_output(graph: &mut Writer, name: &str, data_type: DataType, dims: &[Dimension<'_>]) {
    graph.message(field::graph::OUTPUT, |value| typed_value(value, name, data_type, dims));
}

fn float_tensor(tensor: &mut Writer, name: &str, dims: &[i64], values: &[f32]) {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    raw_tensor(tensor, name, dims, DataType::Float, &raw);
}

fn int_tensor(tensor: &mut Writer, name: &str, dims: &[i64], values: &[i64]) {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    raw_tensor(tensor, name, dims, DataType::Int64, &raw);
}

fn raw_tensor(tensor: &mut Writer, name: &str, dims: &[i64], data_type: DataType, raw: &[u8]) {
    tensor.packed_ints(field::tensor::DIMS, dims).int(field::tensor::DATA_TYPE, data_type.code());
    if !name.is_empty() {
        tensor.text(field::tensor::NAME, name);
    }
    tensor.bytes(field::tensor::RAW_DATA, raw);
}

fn value_info(value: &mut Writer, name: &str, dims: &[Option<i64>]) {
    let dim = |dim: &Option<i64>| dim.map_or(Dimension::Named("batch"), Dimension::Fixed);
    typed_value(value, name, DataType::Float, &dims.iter().map(dim).collect::<Vec<_>>());
}

fn typed_value(value: &mut Writer, name: &str, data_type: DataType, dims: &[Dimension<'_>]) {
    value.text(field::value::NAME, name).message(field::value::TYPE, |value_type| {
        value_type.message(field::value_type::TENSOR, |tensor| {
            tensor.int(field::value_type::ELEMENT, data_type.code());
            tensor.message(field::value_type::SHAPE, |shape| {
                for dim in dims {
                    shape.message(field::shape::DIM, |entry| match dim {
                        Dimension::Fixed(fixed) => _ = entry.int(field::shape::DIM_VALUE, *fixed),
                        Dimension::Named(name) => _ = entry.text(field::shape::DIM_PARAM, name),
                        Dimension::Unknown => {}
                    });
                }
            });
        });
    });
}
