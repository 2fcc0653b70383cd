//! Protocol buffers have no signature: which published messages a content can be is told from its structure.
//!
//! [`Audit::protobuf`] asks every family for its marks: what its loader needs before it does anything. Every audit whose
//! marks are there runs, so that a content cannot choose the one that sees least. Contents of kinds that hold only numbers and
//! texts count only where nothing else is in them.

use std::io;

use ringfence_format::{
    protobuf::{PLAUSIBLE_FIELDS, ProtobufError, Value},
    schema::{Kind, Schema, Survey, View, survey},
};
use ringfence_schema::finding::printable;

use crate::{
    audit::Audit,
    paths::is_identifier,
    rules::id,
    source::{Source, bytes_at, length},
    stream::names_something,
    tensorflow::is_operator,
};

/// Items of a list that are asked for marks.
const MARKED_MAX: usize = 1_000;
/// Unknown bytes up to which a file is only said to have some: too few for a program.
const UNKNOWN_BYTES_MAX: u64 = 64;
/// Unknown fields that are looked into.
const UNKNOWN_FIELDS_MAX: usize = 64;

/// The first number of the fields that say what kind of model a Core ML model is.
const CORE_ML_TYPES: u32 = 200;
/// Messages of an inert kind that are visited.
const INERT_MESSAGES_MAX: usize = 1 << 22;
/// Shortest text or bytes in them that are looked into.
const INERT_BYTES_MIN: usize = 32;

/// What a content can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    SavedModel,
    MetaGraph,
    GraphDef,
    CoreMl,
    Paddle,
    Caffe,
    KerasMetadata,
    /// A message that holds only numbers and names.
    Inert(&'static str),
}

impl Audit<'_> {
    /// `None`: the bytes are none of the published messages.
    pub(crate) fn protobuf(&mut self, source: &mut dyn Source) -> io::Result<Option<&'static str>> {
        let mut formats: Vec<&'static str> = self.onnx(source)?.into_iter().collect();
        let most = self.limits.model_bytes_max;
        let bytes = bytes_at(source, 0, most)?;
        let is_whole = length(source)? <= most;
        for (family, view) in families(&bytes) {
            if matches!(family, Family::Inert(_)) && (!formats.is_empty() || !is_whole) {
                continue;
            }
            if !is_whole {
                self.note(id::GRF_BROKEN, &format!("longer than {most} bytes"), None);
            }
            formats.push(self.message(family, &view));
        }
        if let [first, second, ..] = formats.as_slice() {
            self.note(id::GRF_AMBIGUOUS, &format!("reads as {first} and as {second}"), Some(0));
        }
        if !formats.is_empty() && names_something(source) {
            self.pickles(source, 0, false)?;
        }
        Ok(formats.first().copied())
    }

    fn message(&mut self, family: Family, view: &View<'_>) -> &'static str {
        match family {
            Family::SavedModel => self.saved_model(view),
            Family::MetaGraph => self.meta_graph_file(view),
            Family::GraphDef => self.graph_def(view),
            Family::CoreMl => self.core_ml(view),
            Family::Paddle => self.paddle_program(view),
            Family::Caffe => self.caffe(view),
            Family::KerasMetadata => self.keras_metadata(view),
            Family::Inert(format) => {
                self.inert_message(view);
                format
            }
        }
    }

    /// What loaders skip, merge or refuse in a message of published tables.
    pub(crate) fn surveyed(&mut self, view: &View<'_>) -> Survey {
        let survey = survey(view);
        if let Some(error) = &survey.error {
            // What breaks off may be a download; a field that the format cannot have is something else behind the message.
            let is_foreign = matches!(error, ProtobufError::FieldNumber { .. } | ProtobufError::WireType { .. });
            self.note(if is_foreign { id::GRF_HIDDEN } else { id::GRF_BROKEN }, &error.to_string(), None);
            self.payload("broken message", view.bytes.data, view.offset());
        }
        if survey.cut_short {
            self.note(id::GRF_BROKEN, "more messages than are followed", None);
        }
        if survey.merged > 0 {
            let offset = survey.first_merged.map(|offset| offset as u64);
            self.note(id::GRF_MERGED, &format!("{} parts stand twice where one may", survey.merged), offset);
        }
        for odd in survey.unknown.iter().take(UNKNOWN_FIELDS_MAX) {
            let start = odd.offset.saturating_sub(view.bytes.offset);
            let bytes = view.bytes.data.get(start..start.saturating_add(odd.length)).unwrap_or_default();
            self.payload("unknown field", bytes, odd.offset as u64);
            // Behind tag and length.
            for skip in 2..=6 {
                self.hidden_program(bytes.get(skip..).unwrap_or_default(), odd.offset as u64);
            }
        }
        if let Some(first) = survey.unknown.first() {
            let message = format!(
                "{} bytes in unknown fields, the first is {} of {}",
                survey.unknown_bytes, first.number, first.message
            );
            let rule = if survey.unknown_bytes > UNKNOWN_BYTES_MAX { id::GRF_HIDDEN } else { id::GRF_FEW_HIDDEN };
            self.note(rule, &message, Some(first.offset as u64));
        }
        survey
    }

    /// Texts and bytes of a message that has no other danger.
    fn inert_message(&mut self, view: &View<'_>) {
        let mut open = vec![*view];
        let mut visited = 0;
        while let Some(view) = open.pop() {
            visited += 1;
            if visited > INERT_MESSAGES_MAX {
                self.note(id::GRF_BROKEN, "more messages than are followed", None);
                return;
            }
            for (_, field) in view.fields().filter(|(rule, _)| rule.is_some_and(|rule| rule.kind != Kind::Message)) {
                if let Value::Bytes(bytes) = field.value
                    && bytes.data.len() >= INERT_BYTES_MIN
                {
                    self.payload("field", bytes.data, bytes.offset as u64);
                }
            }
            open.extend(view.children().map(|(_, child)| child));
        }
    }

    fn hidden_program(&mut self, bytes: &[u8], offset: u64) {
        if let Some(name) = crate::detect::program(bytes) {
            self.note(id::GRF_PAYLOAD, &format!("an unknown field holds a program ({name})"), Some(offset));
        }
    }

    /// Keras's own file beside a SavedModel: one configuration for each layer.
    fn keras_metadata(&mut self, view: &View<'_>) -> &'static str {
        self.surveyed(view);
        for node in view.messages("nodes") {
            let place = format!("node {}", printable(&node.text("node_path"), 120));
            self.keras_config(&node.text("metadata"), &place);
        }
        "keras-metadata"
    }

    /// Caffe's layers of type `Python` import a module and call it.
    fn caffe(&mut self, view: &View<'_>) -> &'static str {
        for layer in view.messages("layer") {
            let name = printable(&layer.text("name"), 80);
            if layer.text("type") == "Python" || layer.has("python_param") {
                let python = layer.messages("python_param").last();
                let text = |key| python.map(|view| printable(&view.text(key), 80)).unwrap_or_default();
                let message = format!("layer `{name}` calls `{}.{}`", text("module"), text("layer"));
                self.note(id::GRF_PYTHON, &message, Some(layer.offset()));
            }
            for key in ["data_param", "hdf5_data_param", "image_data_param"] {
                for path in layer.messages(key).flat_map(|view| view.texts("source").collect::<Vec<_>>()) {
                    self.note(
                        id::GRF_READ,
                        &format!("layer `{name}` reads `{}`", printable(&path, 120)),
                        Some(layer.offset()),
                    );
                }
            }
        }
        "caffe"
    }
}

/// Every family whose marks the bytes bear.
fn families(bytes: &[u8]) -> Vec<(Family, View<'_>)> {
    let candidates = [
        (Family::SavedModel, Schema::tensorflow(), "SavedModel"),
        (Family::MetaGraph, Schema::tensorflow(), "MetaGraphDef"),
        (Family::GraphDef, Schema::tensorflow(), "GraphDef"),
        (Family::CoreMl, Schema::coreml(), "Model"),
        (Family::Paddle, Schema::paddle(), "ProgramDesc"),
        (Family::Caffe, Schema::others(), "NetParameter"),
        (Family::KerasMetadata, Schema::tensorflow(), "SavedMetadata"),
        (Family::Inert("tensorflow-fingerprint"), Schema::tensorflow(), "FingerprintDef"),
        (Family::Inert("tensorflow-object-graph"), Schema::tensorflow(), "TrackableObjectGraph"),
        (Family::Inert("onnx-tensor"), Schema::onnx(), "TensorProto"),
        (Family::Inert("sentencepiece"), Schema::others(), "SentencePieceModel"),
    ];
    let view = |(family, schema, name): (Family, &'static Schema, &str)| Some((family, schema.view(name, bytes)?));
    candidates.into_iter().filter_map(view).filter(|(family, view)| has_marks(*family, view)).collect()
}

fn has_marks(family: Family, view: &View<'_>) -> bool {
    match family {
        Family::SavedModel => view.messages("meta_graphs").take(MARKED_MAX).any(|graph| is_meta_graph(&graph)),
        Family::MetaGraph => is_meta_graph(view),
        Family::GraphDef => is_graph(view),
        Family::CoreMl => {
            view.number("specificationVersion").is_some_and(|version| (1..1_000).contains(&version))
                && view.children().any(|(name, child)| view.is_beyond(name, CORE_ML_TYPES) && is_known(&child))
        }
        Family::Paddle => view.messages("blocks").take(MARKED_MAX).any(|block| {
            let has_operator = block.messages("ops").take(MARKED_MAX).any(|op| is_identifier(&op.text("type")));
            let has_variable = block.messages("vars").take(MARKED_MAX).any(|var| !var.text("name").is_empty());
            is_known(&block) && (has_operator || block.has("idx") && has_variable)
        }),
        Family::Caffe => view.messages("layer").take(MARKED_MAX).any(|layer| is_identifier(&layer.text("type"))),
        Family::KerasMetadata => view
            .messages("nodes")
            .take(MARKED_MAX)
            .any(|node| !node.text("identifier").is_empty() && node.text("metadata").trim_start().starts_with('{')),
        Family::Inert(_) => is_exact(view),
    }
}

fn is_meta_graph(view: &View<'_>) -> bool {
    view.messages("graph_def").any(|graph| is_graph(&graph))
        || view.messages("object_graph_def").any(|graph| is_known(&graph) && graph.has("nodes"))
            && view.messages("meta_info_def").any(|info| is_known(&info))
}

/// A node with the name of an operator, or a function with a name.
fn is_graph(view: &View<'_>) -> bool {
    let node = |node: View<'_>| {
        let operator = node.text("op");
        is_identifier(&operator) && (!node.text("name").is_empty() || is_operator(&operator))
    };
    let function =
        |function: View<'_>| function.messages("signature").any(|signature| is_identifier(&signature.text("name")));
    view.messages("node").take(MARKED_MAX).any(node)
        || view.messages("library").any(|library| library.messages("function").take(MARKED_MAX).any(function))
}

/// Whether at least half of a message's first fields are its own.
fn is_known(view: &View<'_>) -> bool {
    let (known, all) = view
        .fields()
        .take(PLAUSIBLE_FIELDS)
        .fold((0, 0), |(known, all), (rule, _)| (known + usize::from(rule.is_some()), all + 1));
    known > 0 && known * 2 >= all
}

/// Whether the bytes are this message, with the fields that it is there for, and nothing else.
fn is_exact(view: &View<'_>) -> bool {
    let needed: &[&str] = match view.name() {
        "FingerprintDef" => &["saved_model_checksum", "graph_def_program_hash", "version"],
        "TrackableObjectGraph" => &["nodes"],
        "TensorProto" => &["data_type"],
        _ => &["pieces", "trainer_spec"],
    };
    let numbers = ["raw_data", "float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data"];
    let has_content = view.name() != "TensorProto" || numbers.iter().any(|field| view.has(field));
    has_content && needed.iter().all(|field| view.has(field)) && survey(view).is_exact()
}
