//! The graph that a description becomes: nodes and initialisers, written one by one.

use ringfence_format::onnx::write::{self, AttributeInput};
use ringfence_format::onnx::{DataType, Dimension};
use ringfence_format::protobuf::Writer;
use std::collections::BTreeSet;

use super::error::ArchitectureError;
use super::tensors::Tensors;

/// A graph in the making. Values and nodes are called `/LAYER/OPERATOR_NUMBER`, which no tensor of a state dict is.
pub(super) struct Network<'t, 'w> {
    pub(super) tensors: &'t mut Tensors<'w>,
    graph: Writer,
    /// Tensors that are initialisers already.
    written: BTreeSet<String>,
    made: usize,
}

/// A free or fixed dimension of an input.
pub(super) type Dim = Dimension<'static>;

impl<'t, 'w> Network<'t, 'w> {
    pub(super) fn new(tensors: &'t mut Tensors<'w>) -> Self {
        Self { tensors, graph: Writer::new(), written: BTreeSet::new(), made: 0 }
    }

    fn float_type(&self) -> DataType {
        if self.tensors.wide { DataType::Double } else { DataType::Float }
    }

    /// An input of numbers, or of whole numbers.
    pub(super) fn input(&mut self, name: &str, is_integer: bool, dims: &[Dim]) {
        let data_type = if is_integer { DataType::Int64 } else { self.float_type() };
        write::typed_input(&mut self.graph, name, data_type, dims);
    }

    /// One node with one output, whose name is returned.
    pub(super) fn node(
        &mut self,
        layer: &str,
        operator: &str,
        inputs: &[&str],
        attributes: &[(&str, AttributeInput<'_>)],
    ) -> String {
        self.made += 1;
        let output = format!("/{layer}/{operator}_{}", self.made);
        write::node(&mut self.graph, operator, &output, inputs, &[&output], attributes);
        output
    }

    /// A value cut into three of the same length along its last axis.
    pub(super) fn thirds(&mut self, layer: &str, value: &str, length: i64) -> [String; 3] {
        let sizes = self.integers(&[3], &[length; 3]);
        self.made += 1;
        let outputs = [0, 1, 2].map(|part| format!("/{layer}/Split_{}.{part}", self.made));
        let names = outputs.each_ref().map(String::as_str);
        let attributes = [("axis", AttributeInput::Int(-1))];
        write::node(
            &mut self.graph,
            "Split",
            &format!("/{layer}/Split_{}", self.made),
            &[value, &sizes],
            &names,
            &attributes,
        );
        outputs
    }

    /// The tensor `name` as an initialiser of the same name; its shape is returned.
    pub(super) fn weight(
        &mut self,
        layer: &str,
        name: &str,
        expected: &[Option<usize>],
    ) -> Result<Vec<usize>, ArchitectureError> {
        let stored = self.tensors.take(layer, name, expected)?;
        if self.written.insert(name.to_owned()) {
            let numbers = stored.numbers(layer, name, self.tensors.wide)?;
            let data_type = self.float_type();
            write::raw_initialiser(&mut self.graph, name, &ints(&stored.shape), data_type, &numbers);
        }
        Ok(stored.shape)
    }

    /// Numbers that no tensor of the file holds.
    pub(super) fn numbers(&mut self, shape: &[usize], numbers: &[f64]) -> String {
        let raw: Vec<u8> = if self.tensors.wide {
            numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
        } else {
            #[expect(clippy::cast_possible_truncation, reason = "the model's numbers are `f32`")]
            let narrow = numbers.iter().flat_map(|number| (*number as f32).to_le_bytes());
            narrow.collect()
        };
        let (name, data_type) = (self.constant(), self.float_type());
        write::raw_initialiser(&mut self.graph, &name, &ints(shape), data_type, &raw);
        name
    }

    /// Whole numbers: shapes, axes, places.
    pub(super) fn integers(&mut self, dims: &[i64], numbers: &[i64]) -> String {
        let name = self.constant();
        write::int_initialiser(&mut self.graph, &name, dims, numbers);
        name
    }

    /// A square above whose diagonal `number` stands, and 0 elsewhere; `side` is a value that holds its side twice.
    pub(super) fn upper_triangle(&mut self, layer: &str, side: &str, number: f32) -> String {
        let square =
            self.node(layer, "ConstantOfShape", &[side], &[("value", AttributeInput::FloatTensor(&[1], &[number]))]);
        let square = if self.tensors.wide { self.float_of(layer, &square) } else { square };
        let first = self.integers(&[], &[1]);
        self.node(layer, "Trilu", &[&square, &first], &[("upper", AttributeInput::Int(1))])
    }

    /// The model's kind of floating-point numbers of a value of whole ones.
    pub(super) fn float_of(&mut self, layer: &str, value: &str) -> String {
        let to = self.float_type().code();
        self.node(layer, "Cast", &[value], &[("to", AttributeInput::Int(to))])
    }

    /// The file, whose only output is `value` under the name `output`.
    pub(super) fn finish(mut self, name: &str, value: &str, output: &str, dims: &[Dim]) -> Vec<u8> {
        write::node(&mut self.graph, "Identity", "/output", &[value], &[output], &[]);
        let data_type = self.float_type();
        write::model(IR_VERSION, OPSET, "ringfence", |graph| {
            *graph = self.graph;
            write::graph_name(graph, name);
            write::typed_output(graph, output, data_type, dims);
        })
    }

    fn constant(&mut self) -> String {
        self.made += 1;
        format!("/constant_{}", self.made)
    }
}

/// As ONNX writes a dimension.
pub(super) fn int(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// As ONNX writes dimensions.
pub(super) fn ints(values: &[usize]) -> Vec<i64> {
    values.iter().copied().map(int).collect()
}

/// What files are made for: the first operator set with GELU.
const OPSET: i64 = 20;
const IR_VERSION: i64 = 9;
