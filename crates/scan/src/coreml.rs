//! Core ML models: custom code, linked models, and weights in other files.
//!
//! A model is a protocol buffers message ([`Audit::core_ml`]); packages keep weights in a file of their own, whose blobs are
//! walked by [`Audit::core_ml_weights`] (Core ML Tools' `StorageFormat.hpp`: a 64-byte header, then a 64-byte record before each
//! blob).

use std::io;

use ringfence_format::schema::View;
use ringfence_schema::finding::printable;

use crate::{
    audit::Audit,
    paths::escapes,
    rules::id,
    source::{Source, bytes_at, length},
};

/// Messages that are visited.
const MESSAGES_MAX: usize = 1 << 22;
/// First bytes of a blob that are looked at.
const BLOB_HEAD_BYTES: u64 = 4_096;
/// First bytes of weights inside the model that are looked at.
const WEIGHT_HEAD_BYTES: usize = 4_096;
/// Blobs of one weight file.
const BLOBS_MAX: u32 = 1 << 20;
/// What begins each record of a weight file.
pub(crate) const BLOB_SENTINEL: [u8; 4] = [0xef, 0xbe, 0xad, 0xde];
/// Header and records of a weight file, in bytes.
const RECORD_BYTES: u64 = 64;

impl Audit<'_> {
    pub(crate) fn core_ml(&mut self, view: &View<'_>) -> &'static str {
        self.surveyed(view);
        let mut open = vec![*view];
        let mut visited = 0;
        while let Some(view) = open.pop() {
            visited += 1;
            if visited > MESSAGES_MAX {
                self.note(id::GRF_BROKEN, "more messages than are followed", None);
                break;
            }
            self.core_ml_message(&view);
            open.extend(view.children().map(|(_, child)| child));
        }
        "coreml"
    }

    fn core_ml_message(&mut self, view: &View<'_>) {
        let offset = Some(view.offset());
        match view.name() {
            "CustomModel" | "CustomLayerParams" => {
                let class = printable(&view.text("className"), 120);
                self.note(id::GRF_CUSTOM, &format!("`{}` needs the class `{class}`", view.name()), offset);
            }
            "LinkedModelFile" => {
                for key in ["linkedModelFileName", "linkedModelSearchPath"] {
                    for path in view.messages(key).map(|value| value.text("defaultValue").into_owned()) {
                        let message = format!("links the model `{}`", printable(&path, 160));
                        let plain = key == "linkedModelSearchPath" && path.is_empty() || !escapes(&path);
                        self.note(if plain { id::GRF_LINKED } else { id::GRF_PATH }, &message, offset);
                    }
                }
            }
            "Value.BlobFileValue" => {
                let path = view.text("fileName");
                if escapes(path.strip_prefix("@model_path/").unwrap_or(&path)) {
                    self.note(id::GRF_PATH, &format!("weights are read from `{}`", printable(&path, 160)), offset);
                }
            }
            "SerializedModel" => {
                for bytes in view.blobs("model") {
                    self.payload("serialized model", bytes.data, bytes.offset as u64);
                    let mut cursor = io::Cursor::new(bytes.data);
                    self.within("serialized model", |audit| audit.inspect(&mut cursor));
                }
            }
            "WeightParams" => {
                for bytes in ["float16Value", "rawValue", "int8RawValue"].iter().flat_map(|key| view.blobs(key)) {
                    let head = bytes.data.get(..bytes.data.len().min(WEIGHT_HEAD_BYTES)).unwrap_or_default();
                    self.payload("weights", head, bytes.offset as u64);
                }
            }
            "Metadata" => {
                for key in ["shortDescription", "author", "license", "versionString"] {
                    for bytes in view.blobs(key) {
                        self.graph_text("metadata", bytes.data, bytes.offset as u64);
                    }
                }
            }
            "Metadata.UserDefinedEntry" => {
                for bytes in view.blobs("value") {
                    self.graph_text("metadata", bytes.data, bytes.offset as u64);
                }
            }
            _ => {}
        }
    }

    /// A package's weight file.
    pub(crate) fn core_ml_weights(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        let whole = length(source)?;
        let header = bytes_at(source, 0, 8)?;
        let count = header.first_chunk::<4>().map_or(0, |count| u32::from_le_bytes(*count));
        let mut at = RECORD_BYTES;
        for index in 0..count.min(BLOBS_MAX) {
            let record = bytes_at(source, at, RECORD_BYTES)?;
            let field = |start: usize| {
                record.get(start..).and_then(|rest| rest.first_chunk::<8>()).map(|field| u64::from_le_bytes(*field))
            };
            let (true, Some(bytes), Some(offset)) = (record.starts_with(&BLOB_SENTINEL), field(8), field(16)) else {
                self.note(id::GRF_BROKEN, &format!("blob {index} has no record"), Some(at));
                break;
            };
            let end = offset.checked_add(bytes).filter(|end| *end <= whole && offset >= at + RECORD_BYTES);
            let Some(end) = end else {
                self.note(
                    id::GRF_SHAPE,
                    &format!("blob {index} has {bytes} bytes at {offset}, outside of its place"),
                    Some(at),
                );
                break;
            };
            let head = bytes_at(source, offset, bytes.min(BLOB_HEAD_BYTES))?;
            self.payload("blob", &head, offset);
            at = end.next_multiple_of(RECORD_BYTES);
        }
        if at < whole {
            self.note(id::GRF_HIDDEN, &format!("{} bytes belong to no blob", whole - at), Some(at));
            self.inspect_rest(source, at)?;
        }
        Ok("coreml-weights")
    }

    /// The text of a compiled program: weights must lie inside the package.
    pub(crate) fn core_ml_text(&mut self, text: &[u8]) {
        for at in memchr::memmem::find_iter(text, b"BLOBFILE(").take(1 << 20) {
            let rest = text.get(at..text.len().min(at + 2_048)).unwrap_or_default();
            let path = rest.split(|byte| *byte == b'"').nth(1).unwrap_or_default();
            let path = String::from_utf8_lossy(path);
            if escapes(path.strip_prefix("@model_path/").unwrap_or(&path)) {
                let message = format!("weights are read from `{}`", printable(&path, 160));
                self.note(id::GRF_PATH, &message, Some(at as u64));
            }
        }
    }

    /// A package's manifest: its parts must lie inside the package.
    pub(crate) fn core_ml_manifest(&mut self, json: &serde_json::Value) {
        let Some(items) = json.get("itemInfoEntries").and_then(serde_json::Value::as_object) else { return };
        for path in items.values().filter_map(|item| item.get("path")?.as_str()) {
            if escapes(path) {
                self.note(id::GRF_PATH, &format!("a part of the package is `{}`", printable(path, 160)), None);
            }
        }
    }
}
