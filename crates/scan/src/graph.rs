//! ONNX models: what their graph reaches outside of itself, and what loaders skip.

mod domains;
mod loose;

use std::{
    collections::{HashMap, HashSet},
    io,
};

use ringfence_format::{
    onnx::{
        AttributeValue, DataLocation, Function, Graph, Model, Node, NoteKind, Payload, Property, SparseTensor, Tensor,
    },
    schema::Schema,
};
use ringfence_schema::finding::printable;

use self::domains::STANDARD_DOMAINS;
pub(crate) use self::domains::{Flawed, OPERATORS_TABLE, domain_flaw};
use crate::{
    audit::Audit,
    paths::{escapes, is_identifier},
    rules::id,
    script,
    source::{Source, bytes_at, length},
};

/// Shortest text of an attribute or tensor that is looked into, in bytes.
const TEXT_BYTES_MIN: usize = 32;
/// The same for a text tensor, which graphs are not full of.
const STRING_BYTES_MIN: usize = 16;
/// First bytes of a tensor that are looked at.
const TENSOR_HEAD_BYTES: usize = 4_096;
/// Newest version that an operator set may claim; the newest in use is below thirty.
const OPSET_VERSION_MAX: i64 = 1_000;
/// TensorFlow's operators that read or write files, call Python or load libraries.
const OUTSIDE_OPERATORS: [&str; 14] = [
    "ReadFile",
    "WriteFile",
    "WholeFileReader",
    "MatchingFiles",
    "PyFunc",
    "PyFuncStateless",
    "EagerPyFunc",
    "LoadLibrary",
    "SqlDataset",
    "MergeV2Checkpoints",
    "DebugIdentityV2",
    "FixedLengthRecordDataset",
    "TextLineDataset",
    "GeneratorDataset",
];
/// Elements beyond which a shape is a lie (2^48 bytes of floats are more than any machine has).
const ELEMENTS_MAX: u128 = 1 << 46;
/// Longest context that is taken for a path, in bytes.
const PATH_BYTES_MAX: usize = 1_024;
/// Unknown operators that are told.
const OPERATORS_TOLD_MAX: usize = 100;
/// Hidden bytes that are searched.
const HIDDEN_BYTES_MAX: u64 = 1 << 20;

impl Audit<'_> {
    /// `None`: the bytes are no ONNX model at all.
    pub(crate) fn onnx(&mut self, source: &mut dyn Source) -> io::Result<Option<&'static str>> {
        let whole = length(source)?;
        let most = self.limits.model_bytes_max;
        let bytes = bytes_at(source, 0, most)?;
        let model = match Model::parse(&bytes) {
            Ok(model) => model,
            Err(error) => return self.onnx_unparsed(source, &bytes, whole <= most, &error),
        };
        let is_node =
            |node: &Node<'_>| is_identifier(node.op_type) && !(node.inputs.is_empty() && node.outputs.is_empty());
        let has_nodes = model.graph.as_ref().is_some_and(|graph| graph.nodes.iter().any(is_node));
        let has_content = has_nodes || model.graph.is_some() && (model.ir_version > 0 || !model.opsets.is_empty());
        if !has_content {
            return Ok(None);
        }
        self.onnx_domains(&model);
        self.onnx_redefinitions(&model);
        for (_, tensor) in model.tensors() {
            self.onnx_tensor(tensor);
            if let Payload::Raw(raw) = tensor.payload() {
                let length = raw.data.len() as u64;
                self.within(tensor.name, |audit| audit.weights(&mut io::Cursor::new(raw.data), 0, length))?;
            }
        }
        self.onnx_notes(&model, &bytes);
        let properties = model.metadata.iter().chain(model.graph.iter().flat_map(|graph| &graph.metadata));
        for property in properties {
            self.onnx_property(property);
        }
        self.within("doc_string", |audit| audit.free_text(model.doc_string.as_bytes()));
        Ok(Some("onnx"))
    }

    /// TensorFlow graphs are not read yet; operators that leave the graph show by their name in a `NodeDef` (field 2).
    pub(crate) fn graph_operators(&mut self, bytes: &[u8]) {
        for operator in OUTSIDE_OPERATORS {
            let Ok(length) = u8::try_from(operator.len()) else { continue };
            let pattern = [&[0x12, length], operator.as_bytes()].concat();
            if let Some(at) = memchr::memmem::find(bytes, &pattern) {
                self.note(id::GEN_OPERATOR, &format!("the graph uses `{operator}`"), Some(at as u64));
            }
        }
    }

    fn onnx_domains(&mut self, model: &Model<'_>) {
        let mut nodes = Vec::new();
        model.graph.iter().chain(&model.training).for_each(|graph| all_nodes(graph, &mut nodes));
        model.functions.iter().for_each(|function| function_nodes(function, &mut nodes));
        let functions: HashSet<(&str, &str)> = model.functions.iter().map(|f| (f.domain, f.name)).collect();
        let mut unknown: Vec<(String, u64)> = Vec::new();
        let mut strangers = HashSet::new();
        for node in nodes {
            self.onnx_attributes(node);
            self.onnx_context(node);
            match domain_flaw(node.domain, node.op_type) {
                Some(Flawed::Python) => {
                    let message = format!("node `{}` is a `{}`", printable(node.name, 80), node.op_type);
                    self.note(id::ONX_PYTHON, &message, Some(node.offset as u64));
                }
                Some(Flawed::Operator)
                    if !functions.contains(&(node.domain, node.op_type))
                        && strangers.insert(node.op_type)
                        && strangers.len() <= OPERATORS_TOLD_MAX =>
                {
                    let message = format!("the standard has no operator `{}`", printable(node.op_type, 80));
                    self.note(id::ONX_DOMAIN, &message, Some(node.offset as u64));
                }
                Some(Flawed::Unknown)
                    if !functions.contains(&(node.domain, node.op_type))
                        && !unknown.iter().any(|(domain, _)| domain == node.domain) =>
                {
                    unknown.push((node.domain.to_owned(), node.offset as u64));
                }
                _ => {}
            }
        }
        for (domain, offset) in unknown.into_iter().take(100) {
            self.note(id::ONX_DOMAIN, &format!("operators of domain `{}`", printable(&domain, 120)), Some(offset));
        }
    }

    /// A context of an execution provider is what a vendor's compiler made, here or in a file (ONNX Runtime, "EP context
    /// design"); an operator of ATen is named by an attribute.
    fn onnx_context(&mut self, node: &Node<'_>) {
        let text = |name: &str| {
            let attribute = node.attributes.iter().find(|attribute| attribute.name == name)?;
            match attribute.value {
                Some(AttributeValue::Bytes(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
                _ => None,
            }
        };
        let offset = Some(node.offset as u64);
        match node.op_type {
            "EPContext" => {
                let context = text("ep_cache_context").unwrap_or_default();
                let shown = printable(&context, 120);
                if context.len() < PATH_BYTES_MAX && !context.is_empty() && escapes(&context) {
                    self.note(id::ONX_EXTERNAL, &format!("an execution provider reads `{shown}`"), offset);
                } else {
                    self.note(id::GRF_ENGINE, "holds or names a context that an execution provider compiled", offset);
                }
            }
            "ATen" => {
                let operator = text("operator").unwrap_or_default();
                if script::is_outside(&operator) {
                    let message = format!("calls torch's operator `{}`", printable(&operator, 80));
                    self.note(id::GRF_READ, &message, offset);
                }
            }
            _ => {}
        }
    }

    /// Texts and sparse tensors in attributes.
    fn onnx_attributes(&mut self, node: &Node<'_>) {
        for attribute in &node.attributes {
            for value in attribute.value.iter().chain(&attribute.others) {
                let what = || format!("attribute {}", printable(attribute.name, 40));
                match value {
                    AttributeValue::Bytes(bytes) if bytes.len() >= TEXT_BYTES_MIN => {
                        self.graph_text(&what(), bytes, attribute.offset as u64);
                    }
                    AttributeValue::Strings(texts) => {
                        for text in texts.iter().filter(|text| text.len() >= TEXT_BYTES_MIN).take(1_000) {
                            self.graph_text(&what(), text, attribute.offset as u64);
                        }
                    }
                    AttributeValue::SparseTensor(sparse) => self.onnx_sparse(sparse),
                    AttributeValue::SparseTensors(all) => all.iter().for_each(|sparse| self.onnx_sparse(sparse)),
                    _ => {}
                }
            }
        }
    }

    fn onnx_sparse(&mut self, sparse: &SparseTensor<'_>) {
        if elements(&sparse.dims).is_none_or(|elements| elements > ELEMENTS_MAX) {
            self.note(
                id::ONX_SHAPE,
                &format!("a sparse tensor has shape {:?}", sparse.dims),
                Some(sparse.offset as u64),
            );
        }
    }

    /// Functions by the name of operators, and operator sets that are imported twice or in no real version.
    fn onnx_redefinitions(&mut self, model: &Model<'_>) {
        for function in model.functions.iter().filter(|function| STANDARD_DOMAINS.contains(&function.domain)) {
            let message = format!(
                "function `{}` stands in the standard domain `{}`",
                printable(function.name, 80),
                function.domain
            );
            self.note(id::ONX_SHADOW, &message, Some(function.offset as u64));
        }
        let mut seen: HashMap<&str, i64> = HashMap::new();
        for opset in &model.opsets {
            let domain = if opset.domain == "ai.onnx" { "" } else { opset.domain };
            if seen.insert(domain, opset.version).is_some_and(|version| version != opset.version) {
                let message = format!("operator set `{}` is imported in two versions", printable(opset.domain, 80));
                self.note(id::ONX_SHADOW, &message, None);
            }
            if !(1..=OPSET_VERSION_MAX).contains(&opset.version) && STANDARD_DOMAINS.contains(&opset.domain) {
                let message = format!("operator set `{}` has version {}", printable(opset.domain, 80), opset.version);
                self.note(id::ONX_SHADOW, &message, None);
            }
        }
        for graph in model.graph.iter().chain(&model.training) {
            graph.sparse_initialisers.iter().for_each(|sparse| self.onnx_sparse(sparse));
        }
    }

    fn onnx_tensor(&mut self, tensor: &Tensor<'_>) {
        let name = printable(tensor.name, 80);
        let offset = Some(tensor.offset as u64);
        let elements = elements(&tensor.dims);
        if elements.is_none_or(|elements| elements > ELEMENTS_MAX) {
            self.note(id::ONX_SHAPE, &format!("tensor `{name}` has shape {:?}", tensor.dims), offset);
        }
        self.onnx_numbers(tensor, &name, elements);
        if tensor.location == DataLocation::Default && tensor.external.is_empty() {
            return;
        }
        let property =
            |key: &'static str| tensor.external.iter().filter(move |entry| entry.key == key).map(|entry| entry.value);
        let mut locations = property("location").peekable();
        if locations.peek().is_none() {
            self.note(id::ONX_EXTERNAL, &format!("tensor `{name}` is external but names no file"), offset);
        }
        for location in locations {
            let shown = printable(location, 120);
            if escapes(location) {
                self.note(id::ONX_EXTERNAL, &format!("tensor `{name}` reads `{shown}`"), offset);
            } else {
                self.note(id::ONX_EXTERNAL_HERE, &format!("tensor `{name}` reads `{shown}` beside the model"), offset);
            }
        }
        let number = |value: &str| value.parse::<u64>().ok().filter(|value| *value < 1 << 48);
        if property("offset").chain(property("length")).any(|value| number(value).is_none()) {
            self.note(id::ONX_SHAPE, &format!("tensor `{name}` has an impossible external offset or length"), offset);
        }
        let expected = tensor.data_type.bytes().and_then(|width| elements?.checked_mul(width as u128));
        let stated = property("length").filter_map(number).next_back();
        if stated.zip(expected).is_some_and(|(stated, expected)| u128::from(stated) != expected) {
            let message = format!("tensor `{name}` takes {stated:?} external bytes, its shape says {expected:?}");
            self.note(id::ONX_LENGTH, &message, offset);
        }
    }

    /// Numbers in the file: as many as the shape says, and not a program.
    fn onnx_numbers(&mut self, tensor: &Tensor<'_>, name: &str, elements: Option<u128>) {
        let offset = Some(tensor.offset as u64);
        match tensor.payload() {
            Payload::Raw(raw) => {
                let expected = tensor.data_type.bytes().and_then(|width| elements?.checked_mul(width as u128));
                if expected.is_some_and(|expected| expected != raw.data.len() as u128) {
                    let message = format!("tensor `{name}` has {} bytes, its shape says {expected:?}", raw.data.len());
                    self.note(id::ONX_LENGTH, &message, offset);
                }
                let head = raw.data.get(..raw.data.len().min(TENSOR_HEAD_BYTES)).unwrap_or_default();
                self.payload("tensor", head, raw.offset as u64);
            }
            Payload::Ambiguous => {
                self.note(id::ONX_LENGTH, &format!("tensor `{name}` has its numbers in several places"), offset);
            }
            Payload::Absent if elements.is_some_and(|elements| elements > 0) && tensor.external.is_empty() => {
                self.note(
                    id::ONX_LENGTH,
                    &format!("tensor `{name}` has no numbers, its shape says {elements:?}"),
                    offset,
                );
            }
            Payload::Typed { field: 6, .. } => {
                let texts = Schema::onnx().view_of("TensorProto", tensor.message);
                let texts = texts.into_iter().flat_map(|view| view.blobs("string_data"));
                for text in texts.filter(|text| text.data.len() >= STRING_BYTES_MIN).take(10_000) {
                    self.graph_text("text tensor", text.data, text.offset as u64);
                }
            }
            _ => {}
        }
    }

    fn onnx_notes(&mut self, model: &Model<'_>, bytes: &[u8]) {
        for note in &model.notes {
            let offset = note.offset as u64;
            match note.kind {
                NoteKind::Unknown => {
                    let message =
                        format!("{} has {} bytes in an unknown field {}", note.message, note.length, note.number);
                    self.note(id::ONX_HIDDEN, &message, Some(offset));
                    let length = note.length.min(usize::try_from(HIDDEN_BYTES_MAX).unwrap_or(usize::MAX));
                    let hidden = bytes.get(note.offset..note.offset.saturating_add(length)).unwrap_or_default();
                    self.within(&format!("hidden@{offset:#x}"), |audit| {
                        audit.carve_bytes(hidden, &mut io::Cursor::new(hidden));
                    });
                }
                NoteKind::Repeated => {
                    let message = format!("{} has field {} twice", note.message, note.number);
                    self.note(id::ONX_HIDDEN, &message, Some(offset));
                }
                NoteKind::Unread => {}
            }
        }
        if model.notes_dropped > 0 {
            self.note(id::ONX_BROKEN, &format!("{} more oddities", model.notes_dropped), None);
        }
    }

    fn onnx_property(&mut self, property: &Property<'_>) {
        let name = format!("metadata.{}", printable(property.key, 60));
        self.within(&name, |audit| {
            audit.text_rules(property.value.as_bytes());
            audit.encoded(property.value.as_bytes());
            audit.harmful_code(property.value);
        });
    }
}

/// Elements of a shape; `None` where a dimension is negative or the product has no number.
fn elements(dims: &[i64]) -> Option<u128> {
    dims.iter().try_fold(1_u128, |product, dim| product.checked_mul(u128::try_from(*dim).ok()?))
}

fn all_nodes<'m, 'a>(graph: &'m Graph<'a>, nodes: &mut Vec<&'m Node<'a>>) {
    for node in &graph.nodes {
        node_and_below(node, nodes);
    }
}

fn function_nodes<'m, 'a>(function: &'m Function<'a>, nodes: &mut Vec<&'m Node<'a>>) {
    for node in &function.nodes {
        node_and_below(node, nodes);
    }
}

// The recursion is as deep as the file nests, which its reader has bounded.
fn node_and_below<'m, 'a>(node: &'m Node<'a>, nodes: &mut Vec<&'m Node<'a>>) {
    nodes.push(node);
    for value in node.attributes.iter().flat_map(|attribute| attribute.value.iter().chain(&attribute.others)) {
        match value {
            AttributeValue::Graph(graph) => all_nodes(graph, nodes),
            AttributeValue::Graphs(graphs) => graphs.iter().for_each(|graph| all_nodes(graph, nodes)),
            _ => {}
        }
    }
}
