//! ONNX models: what their graph reaches outside of itself, and what loaders skip.

use std::io;

use ringfence_format::onnx::{DataLocation, Function, Graph, Model, Node, NoteKind, Payload, Property, Tensor};
use ringfence_schema::finding::printable;

use crate::{
    audit::Audit,
    rules::id,
    source::{Source, bytes_at, length},
};

/// Domains of the standard and of ONNX Runtime's own operators.
const KNOWN_DOMAINS: [&str; 10] = [
    "",
    "ai.onnx",
    "ai.onnx.ml",
    "ai.onnx.training",
    "ai.onnx.preview.training",
    "ai.onnx.preview",
    "com.microsoft",
    "com.microsoft.nchwc",
    "com.ms.internal.nhwc",
    "org.pytorch.aten",
];
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
            Err(_) if whole <= most && !names_onnx(&bytes) => return Ok(None),
            Err(error) => {
                self.note(id::ONX_BROKEN, &error.to_string(), None);
                self.carve(source)?;
                return Ok(Some("onnx"));
            }
        };
        let has_content = model.graph.is_some() && (model.ir_version > 0 || !model.opsets.is_empty());
        if !has_content {
            return Ok(None);
        }
        self.onnx_domains(&model);
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
        self.text_rules(model.doc_string.as_bytes());
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
        let own: Vec<&str> = model.functions.iter().map(|function| function.domain).collect();
        let mut nodes = Vec::new();
        model.graph.iter().chain(&model.training).for_each(|graph| all_nodes(graph, &mut nodes));
        model.functions.iter().for_each(|function| function_nodes(function, &mut nodes));
        let mut unknown: Vec<(String, u64)> = Vec::new();
        for node in nodes {
            if matches!(node.op_type, "PyOp" | "PythonOp" | "PyFunc" | "PyCustomOp" | "PyFuncStateless") {
                let message = format!("node `{}` is a `{}`", printable(node.name, 80), node.op_type);
                self.note(id::ONX_PYTHON, &message, Some(node.offset as u64));
            }
            let called = own.contains(&node.domain)
                && model.functions.iter().any(|f| f.domain == node.domain && f.name == node.op_type);
            if !called
                && !KNOWN_DOMAINS.contains(&node.domain)
                && !unknown.iter().any(|(domain, _)| domain == node.domain)
            {
                unknown.push((node.domain.to_owned(), node.offset as u64));
            }
        }
        for (domain, offset) in unknown.into_iter().take(100) {
            self.note(id::ONX_DOMAIN, &format!("operators of domain `{}`", printable(&domain, 120)), Some(offset));
        }
    }

    fn onnx_tensor(&mut self, tensor: &Tensor<'_>) {
        let name = printable(tensor.name, 80);
        let offset = Some(tensor.offset as u64);
        let elements =
            tensor.dims.iter().try_fold(1_u128, |product, dim| product.checked_mul(u128::try_from(*dim).ok()?));
        if elements.is_none_or(|elements| elements > ELEMENTS_MAX) {
            self.note(id::ONX_SHAPE, &format!("tensor `{name}` has shape {:?}", tensor.dims), offset);
        }
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
        let number = |value: &str| value.parse::<u64>().is_ok_and(|value| value < 1 << 48);
        if property("offset").chain(property("length")).any(|value| !number(value)) {
            self.note(id::ONX_SHAPE, &format!("tensor `{name}` has an impossible external offset or length"), offset);
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
        });
    }
}

/// Bytes that cannot be parsed may still be meant as a model.
fn names_onnx(bytes: &[u8]) -> bool {
    let head = bytes.get(..bytes.len().min(4_096)).unwrap_or_default();
    [&b"pytorch"[..], b"onnx", b"ai.onnx", b"tf2onnx", b"skl2onnx", b"keras2onnx"]
        .iter()
        .any(|word| memchr::memmem::find(head, word).is_some())
}

/// Whether a path leaves the folder on any system: absolute, drive letters, `..`, schemes, hidden separators.
pub(crate) fn escapes(location: &str) -> bool {
    location.is_empty()
        || location.starts_with(['/', '\\', '~'])
        || location.contains(':')
        || location.contains('%')
        || location.contains('$')
        || location.chars().any(char::is_control)
        || location.split(['/', '\\']).any(|part| part.trim_matches([' ', '.']).is_empty() && part.starts_with(".."))
        || location.contains('\\') && location.contains('/')
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
    use ringfence_format::onnx::AttributeValue;
    nodes.push(node);
    for value in node.attributes.iter().flat_map(|attribute| attribute.value.iter().chain(&attribute.others)) {
        match value {
            AttributeValue::Graph(graph) => all_nodes(graph, nodes),
            AttributeValue::Graphs(graphs) => graphs.iter().for_each(|graph| all_nodes(graph, nodes)),
            _ => {}
        }
    }
}
