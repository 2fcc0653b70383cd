//! ONNX models that a strict reader refuses: every node and tensor that can be reached all the same.

use std::io;

use ringfence_format::{
    onnx::OnnxError,
    protobuf::ProtobufError,
    schema::{Schema, View},
};
use ringfence_schema::finding::printable;

use super::domains::{Flawed, domain_flaw};
use crate::{
    audit::Audit,
    paths::{escapes, is_identifier},
    rules::id,
    source::Source,
};

/// Messages that are visited in a model that does not parse.
const LOOSE_MESSAGES_MAX: usize = 1 << 20;
/// Findings about single nodes and tensors of such a model.
const LOOSE_FINDINGS_MAX: usize = 50;

impl Audit<'_> {
    /// A model that a strict reader refuses; loaders may not.
    pub(super) fn onnx_unparsed(
        &mut self,
        source: &mut dyn Source,
        bytes: &[u8],
        is_whole: bool,
        error: &OnnxError,
    ) -> io::Result<Option<&'static str>> {
        let Some(view) = Schema::onnx().view("ModelProto", bytes) else { return Ok(None) };
        let is_node =
            |node: View<'_>| is_identifier(&node.text("op_type")) && (node.has("input") || node.has("output"));
        let has_nodes = view.messages("graph").any(|graph| graph.messages("node").take(1_000).any(is_node));
        let is_model = has_nodes && (view.has("ir_version") || view.has("opset_import"));
        if is_whole && !is_model && !names_onnx(bytes) {
            return Ok(None);
        }
        let rule = match error {
            OnnxError::Repeated { .. } => id::GRF_MERGED,
            OnnxError::Protobuf(ProtobufError::Depth { .. }) => id::ONX_DEPTH,
            _ => id::ONX_BROKEN,
        };
        self.note(rule, &error.to_string(), None);
        self.onnx_loose(&view);
        self.carve(source)?;
        Ok(Some("onnx"))
    }

    /// Every node and tensor that can be reached, by the published tables alone.
    fn onnx_loose(&mut self, model: &View<'_>) {
        let functions: Vec<(String, String)> =
            model.messages("functions").map(|f| (f.text("domain").into_owned(), f.text("name").into_owned())).collect();
        let mut open = vec![*model];
        let (mut visited, mut found) = (0, 0);
        while let Some(view) = open.pop() {
            visited += 1;
            if visited > LOOSE_MESSAGES_MAX || found > LOOSE_FINDINGS_MAX {
                self.note(id::ONX_BROKEN, "more messages or problems than are followed", None);
                return;
            }
            let offset = Some(view.offset());
            match view.name() {
                "NodeProto" => {
                    let (domain, operator) = (view.text("domain"), view.text("op_type"));
                    let is_called = functions.iter().any(|(d, name)| *d == domain && *name == operator);
                    if let Some(flaw) =
                        domain_flaw(&domain, &operator).filter(|flaw| *flaw == Flawed::Python || !is_called)
                    {
                        found += 1;
                        let rule = if flaw == Flawed::Python { id::ONX_PYTHON } else { id::ONX_DOMAIN };
                        let message =
                            format!("operator `{}` of domain `{}`", printable(&operator, 80), printable(&domain, 120));
                        self.note(rule, &message, offset);
                    }
                }
                "TensorProto" => {
                    for entry in view.messages("external_data").filter(|entry| entry.text("key") == "location") {
                        let location = entry.text("value").into_owned();
                        if escapes(&location) {
                            found += 1;
                            self.note(
                                id::ONX_EXTERNAL,
                                &format!("a tensor reads `{}`", printable(&location, 120)),
                                offset,
                            );
                        }
                    }
                }
                _ => {}
            }
            open.extend(view.children().map(|(_, child)| child));
        }
    }
}

/// Bytes that cannot be parsed may still be meant as a model.
fn names_onnx(bytes: &[u8]) -> bool {
    let head = bytes.get(..bytes.len().min(4_096)).unwrap_or_default();
    [&b"pytorch"[..], b"onnx", b"ai.onnx", b"tf2onnx", b"skl2onnx", b"keras2onnx"]
        .iter()
        .any(|word| memchr::memmem::find(head, word).is_some())
}
