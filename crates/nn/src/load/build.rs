//! Walking the nodes of a graph, its branches and its functions, and numbering their values.

use std::collections::{HashMap, HashSet};

use ringfence_format::onnx::{self, AttributeValue, DataType};

use super::attributes::Attributes;
use super::{Block, Float, Graph, Known, LEARNED_DOMAIN, Node, Operator, Place, Role, Value, is_standard, nice, read};
use crate::error::NnError;
use crate::kernel::pointwise::Function;
use crate::limits::{FUNCTION_DEPTH_MAX, NODES_MAX};
use crate::real::Real;
use crate::tensor::elements;

/// The names on which `output` depends, found from the back: every node reads only what was made before it.
pub(super) fn wanted<'m>(graph: &'m onnx::Graph<'_>, output: &'m str) -> HashSet<&'m str> {
    let mut wanted = HashSet::from([output]);
    for node in graph.nodes.iter().rev() {
        if node.outputs.iter().any(|output| wanted.contains(output)) {
            reads(node, &mut wanted);
        }
    }
    wanted
}

/// Everything that a node reads, its branches included; they nest no deeper than the file, which the reader has bounded.
fn reads<'m>(node: &'m onnx::Node<'_>, names: &mut HashSet<&'m str>) {
    names.extend(node.inputs.iter().copied());
    for attribute in &node.attributes {
        if let Some(AttributeValue::Graph(graph)) = &attribute.value {
            names.extend(graph.outputs.iter().map(|output| output.name));
            graph.nodes.iter().for_each(|node| reads(node, names));
        }
    }
}

pub(super) struct Builder<'m, 'a> {
    functions: &'m [onnx::Function<'a>],
    /// Names in the graph at hand and in those around it, the innermost last.
    scopes: Vec<HashMap<String, Value>>,
    pub(super) values: Vec<Known>,
    pub(super) floats: Vec<Float>,
    pub(super) ranges: HashMap<Value, (f64, f64)>,
    nodes: Vec<Node>,
    opset: i64,
    depth: usize,
    /// Nodes made so far, in all blocks.
    made: usize,
}

impl<'m, 'a> Builder<'m, 'a> {
    pub(super) fn new(model: &'m onnx::Model<'a>, opset: i64) -> Self {
        Self {
            functions: &model.functions,
            scopes: vec![HashMap::new()],
            values: Vec::new(),
            floats: Vec::new(),
            ranges: HashMap::new(),
            nodes: Vec::new(),
            opset,
            depth: 0,
            made: 0,
        }
    }

    fn fresh(&mut self, known: Known) -> Value {
        self.values.push(known);
        self.values.len() - 1
    }

    pub(super) fn define(&mut self, name: &str, known: Known) -> Result<Value, NnError> {
        let value = self.fresh(known);
        self.bind(name, value).map(|()| value)
    }

    fn bind(&mut self, name: &str, value: Value) -> Result<(), NnError> {
        let scope = self.scopes.last_mut().and_then(|scope| scope.insert(name.to_owned(), value));
        if scope.is_some() { Err(NnError::Duplicate { value: name.to_owned() }) } else { Ok(()) }
    }

    pub(super) fn find(&self, name: &str) -> Option<Value> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name).copied())
    }

    /// Defines a tensor's name as its numbers; `writable` ones can be trained.
    pub(super) fn initialiser(&mut self, tensor: &onnx::Tensor<'_>, writable: bool) -> Result<(), NnError> {
        let known = self.constant(tensor, writable)?;
        let value = self.define(tensor.name, known)?;
        self.note_range(value, tensor.data_type);
        Ok(())
    }

    fn note_range(&mut self, value: Value, stored: DataType) {
        let range = match stored {
            DataType::Uint8 => (0.0, 255.0),
            DataType::Int8 => (-128.0, 127.0),
            DataType::Uint16 => (0.0, 65_535.0),
            DataType::Int16 => (-32_768.0, 32_767.0),
            DataType::Int32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
            _ => return,
        };
        self.ranges.insert(value, range);
    }

    fn constant(&mut self, tensor: &onnx::Tensor<'_>, initialiser: bool) -> Result<Known, NnError> {
        let count = tensor.elements()?;
        let shape: Vec<usize> = tensor.dims.iter().filter_map(|dim| usize::try_from(*dim).ok()).collect();
        if elements(&shape) != Some(count) {
            return Err(NnError::TensorShape { shape, found: 0 });
        }
        Ok(match tensor.data_type {
            DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16 => {
                let wide = tensor.floats()?;
                let numbers: Vec<f32> = wide.iter().copied().map(f32::of).collect();
                let exact = match (tensor.data_type, wide.as_slice(), numbers.as_slice()) {
                    (DataType::Double, ..) => Some(wide),
                    // A scalar of the program is looked at; of an initialiser it must first be known whether it is one.
                    (DataType::Float, [_], [number]) if !initialiser => Some(vec![nice::nice(*number)]),
                    _ => None,
                };
                self.float(tensor.name, shape, numbers, exact, tensor.data_type, initialiser)
            }
            DataType::Int64
            | DataType::Int32
            | DataType::Int16
            | DataType::Int8
            | DataType::Uint8
            | DataType::Uint16
            | DataType::Uint32
            | DataType::Uint64
            | DataType::Bool => Known::Integers(shape, tensor.integers()?),
            other => return Err(NnError::DataType { name: tensor.name.to_owned(), data_type: other.name() }),
        })
    }

    fn float(
        &mut self,
        name: &str,
        shape: Vec<usize>,
        numbers: Vec<f32>,
        exact: Option<Vec<f64>>,
        stored: DataType,
        initialiser: bool,
    ) -> Known {
        self.floats.push(Float {
            name: name.to_owned(),
            shape,
            numbers,
            exact,
            stored,
            initialiser,
            role: Role::Fixed,
        });
        Known::Float(self.floats.len() - 1)
    }

    fn float_constant(&mut self, shape: Vec<usize>, numbers: Vec<f32>) -> Known {
        let exact = if shape.is_empty() { numbers.iter().map(|number| nice::nice(*number)).collect() } else { vec![] };
        let exact = (!exact.is_empty()).then_some(exact);
        self.float("", shape, numbers, exact, DataType::Float, false)
    }

    /// Reads those nodes that make something wanted.
    pub(super) fn nodes(&mut self, nodes: &[onnx::Node<'_>], wanted: &HashSet<&str>) -> Result<Vec<Node>, NnError> {
        for (index, node) in nodes.iter().enumerate() {
            // A node without outputs is none that could be left out: it is refused.
            if node.outputs.is_empty() || node.outputs.iter().any(|output| wanted.contains(output)) {
                self.node(node, index)?;
            }
        }
        Ok(std::mem::take(&mut self.nodes))
    }

    fn place(&self, node: &onnx::Node<'_>, index: usize) -> Place {
        let label = if node.name.is_empty() { format!("#{index}") } else { node.name.to_owned() };
        let standard = is_standard(node.domain);
        let operator = if standard { node.op_type.to_owned() } else { format!("{}.{}", node.domain, node.op_type) };
        Place { node: label, operator, opset: self.opset }
    }

    fn node(&mut self, node: &onnx::Node<'_>, index: usize) -> Result<(), NnError> {
        let place = self.place(node, index);
        self.made += 1;
        if self.made > NODES_MAX {
            return Err(place.problem("is one node too many"));
        }
        if !is_standard(node.domain) && node.domain != LEARNED_DOMAIN {
            return self.call(node, &place);
        }
        if place.operator == "Constant" {
            return self.constant_node(node, &place);
        }
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for name in &node.inputs {
            inputs.push(match *name {
                "" => None,
                name => Some(
                    self.find(name)
                        .ok_or_else(|| NnError::Undefined { node: place.node.clone(), value: name.to_owned() })?,
                ),
            });
        }
        let blocks = self.blocks(node, &place)?;
        let operator = read::read(&mut Attributes::new(node, &place)?, &inputs, blocks)?;
        let (least, most) = operator.arity();
        if inputs.len() > most || inputs.iter().take(least).flatten().count() < least {
            return Err(place.problem("has the wrong number of inputs"));
        }
        let named = node.outputs.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
        if named > operator.outputs() || named == 0 {
            return Err(place.problem("makes outputs that are not implemented"));
        }
        if let Operator::Binary(_) = operator
            && inputs.len() != 2
        {
            return self.chain(node, &operator, &place, &inputs);
        }
        let mut outputs = Vec::with_capacity(named);
        for name in node.outputs.iter().take(named) {
            let absent = name.is_empty();
            outputs.push(if absent { None } else { Some(self.define(name, Known::Computed)?) });
        }
        self.nodes.push(Node { operator, place, inputs, outputs });
        Ok(())
    }

    /// `Sum`, `Min` and `Max` take any number of inputs: a chain of operators that take two.
    fn chain(
        &mut self,
        node: &onnx::Node<'_>,
        operator: &Operator,
        place: &Place,
        inputs: &[Option<Value>],
    ) -> Result<(), NnError> {
        let name = node.outputs.first().copied().unwrap_or_default();
        let (Some((first, rest)), true) = (inputs.split_first(), inputs.iter().all(Option::is_some)) else {
            return Err(place.problem("has the wrong number of inputs"));
        };
        if rest.is_empty() {
            let output = Some(self.define(name, Known::Computed)?);
            let (place, inputs) = (place.clone(), inputs.to_vec());
            self.nodes.push(Node { operator: Operator::Identity, place, inputs, outputs: vec![output] });
            return Ok(());
        }
        let mut left = *first;
        let mean = place.operator == "Mean";
        for (index, right) in rest.iter().enumerate() {
            let last = index + 1 == rest.len() && !mean;
            let output = if last { self.define(name, Known::Computed)? } else { self.fresh(Known::Computed) };
            let (operator, place) = (operator.clone(), place.clone());
            self.nodes.push(Node { operator, place, inputs: vec![left, *right], outputs: vec![Some(output)] });
            left = Some(output);
        }
        if mean {
            let share = 1.0 / inputs.len() as f64;
            let known = self.float("", vec![], vec![f32::of(share)], Some(vec![share]), DataType::Float, false);
            let (share, output) = (self.fresh(known), self.define(name, Known::Computed)?);
            let (operator, place) = (Operator::Binary(Function::Mul), place.clone());
            self.nodes.push(Node { operator, place, inputs: vec![left, Some(share)], outputs: vec![Some(output)] });
        }
        Ok(())
    }

    /// The branches or bodies of a node, in the order of its attributes.
    fn blocks(&mut self, node: &onnx::Node<'_>, place: &Place) -> Result<Vec<(String, Block)>, NnError> {
        let mut blocks = Vec::new();
        for attribute in &node.attributes {
            if let Some(AttributeValue::Graph(graph)) = &attribute.value {
                blocks.push((attribute.name.to_owned(), self.block(graph, place)?));
            }
        }
        Ok(blocks)
    }

    fn block(&mut self, graph: &onnx::Graph<'_>, place: &Place) -> Result<Block, NnError> {
        let outside = std::mem::take(&mut self.nodes);
        self.scopes.push(HashMap::new());
        let block = self.inside(graph, place);
        self.scopes.pop();
        self.nodes = outside;
        block
    }

    fn inside(&mut self, graph: &onnx::Graph<'_>, place: &Place) -> Result<Block, NnError> {
        for tensor in &graph.initialisers {
            self.initialiser(tensor, false)?;
        }
        let mut inputs = Vec::new();
        for input in &graph.inputs {
            inputs.push(self.define(input.name, Known::Computed)?);
        }
        for (index, node) in graph.nodes.iter().enumerate() {
            self.node(node, index)?;
        }
        let find = |name: &str| self.find(name).ok_or_else(|| place.problem("has a branch that lacks an output"));
        let outputs = graph.outputs.iter().map(|output| find(output.name)).collect::<Result<_, _>>()?;
        Ok(Block { nodes: std::mem::take(&mut self.nodes), inputs, outputs })
    }

    /// Calls a function of the file: its nodes take the call's place.
    fn call(&mut self, node: &onnx::Node<'_>, place: &Place) -> Result<(), NnError> {
        let functions = self.functions;
        let called = functions
            .iter()
            .find(|f| f.domain == node.domain && f.name == node.op_type && (f.overload == node.overload));
        let Some(function) = called else { return Err(place.unknown()) };
        if self.depth >= FUNCTION_DEPTH_MAX {
            return Err(place.problem("calls functions too deeply"));
        }
        let mut scope = HashMap::new();
        for (formal, actual) in function.inputs.iter().zip(&node.inputs) {
            if !actual.is_empty() {
                let value = self.find(actual);
                let undefined = || NnError::Undefined { node: place.node.clone(), value: (*actual).to_owned() };
                scope.insert((*formal).to_owned(), value.ok_or_else(undefined)?);
            }
        }
        let opset = if function.opsets.iter().any(|opset| is_standard(opset.domain)) {
            super::standard_opset(&function.opsets)?
        } else {
            self.opset
        };
        let outside = (std::mem::replace(&mut self.scopes, vec![scope]), std::mem::replace(&mut self.opset, opset));
        self.depth += 1;
        let done = self.body(function, node, place);
        self.depth -= 1;
        (self.scopes, self.opset) = outside;
        for (value, name) in done?.into_iter().zip(&node.outputs) {
            if !name.is_empty() {
                self.bind(name, value)?;
            }
        }
        Ok(())
    }

    fn body(
        &mut self,
        function: &onnx::Function<'_>,
        call: &onnx::Node<'_>,
        place: &Place,
    ) -> Result<Vec<Value>, NnError> {
        for (index, node) in function.nodes.iter().enumerate() {
            let mut node = node.clone();
            for attribute in &mut node.attributes {
                if attribute.reference.is_empty() {
                    continue;
                }
                let given = call.attributes.iter().chain(&function.defaults);
                let given = given.into_iter().find(|given| given.name == attribute.reference);
                attribute.value = given.and_then(|given| given.value.clone());
                attribute.reference = "";
            }
            node.attributes.retain(|attribute| attribute.value.is_some());
            // An omitted optional input of the call is omitted inside.
            for input in &mut node.inputs {
                if function.inputs.contains(input) && self.find(input).is_none() {
                    *input = "";
                }
            }
            self.node(&node, index)?;
        }
        let find = |name: &&str| self.find(name).ok_or_else(|| place.problem("calls a function that lacks an output"));
        function.outputs.iter().map(find).collect()
    }

    fn constant_node(&mut self, node: &onnx::Node<'_>, place: &Place) -> Result<(), NnError> {
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
        let value = self.define(name, known)?;
        if let Some(AttributeValue::Tensor(tensor)) = &attribute.value {
            self.note_range(value, tensor.data_type);
        }
        Ok(())
    }
}

impl Graph {
    /// Every node, those of branches and bodies included.
    pub(crate) fn all_nodes(&self) -> Vec<&Node> {
        fn add<'g>(nodes: &'g [Node], found: &mut Vec<&'g Node>) {
            for node in nodes {
                found.push(node);
                node.operator.blocks().for_each(|block| add(&block.nodes, found));
            }
        }
        let mut found = Vec::new();
        add(&self.nodes, &mut found);
        found
    }
}
