//! ONNX Runtime's own format: an ONNX graph as a flatbuffer.
//!
//! Source: ONNX Runtime's `ort.fbs`; fields are numbered in its order.

use std::{collections::BTreeSet, io};

use ringfence_format::flatbuffer::{self, FlatbufferError, Table};
use ringfence_schema::finding::printable;

use crate::{
    audit::Audit,
    graph::{Flawed, domain_flaw},
    rules::id,
    source::{Source, bytes_at, length},
};

/// Graphs inside nodes inside graphs that are followed.
const DEPTH_MAX: usize = 32;
/// First bytes of a tensor that are looked at.
const TENSOR_HEAD_BYTES: usize = 4_096;
/// `AttributeType_GRAPH` and `_GRAPHS` hold their graphs here.
const GRAPH_FIELD: usize = 7;
const GRAPHS_FIELD: usize = 12;

impl Audit<'_> {
    pub(crate) fn ort(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        let most = self.limits.model_bytes_max;
        if length(source)? > most {
            self.note(id::GRF_BROKEN, &format!("longer than {most} bytes"), None);
        }
        let bytes = bytes_at(source, 0, most)?;
        if let Err(error) = flatbuffer::root(&bytes).and_then(|session| self.ort_session(session)) {
            self.note(id::GRF_SHAPE, &error.to_string(), None);
            self.carve(source)?;
        }
        Ok("onnx-runtime")
    }

    fn ort_session(&mut self, session: Table<'_>) -> Result<(), FlatbufferError> {
        let Some(model) = session.table(1)? else {
            self.note(id::GRF_BROKEN, "there is no model", None);
            return Ok(());
        };
        for entry in model.references(9)?.tables() {
            let entry = entry?;
            self.graph_text("metadata", entry.text(1)?, entry.offset());
        }
        self.graph_text("description", model.text(6)?, model.offset());
        let mut open: Vec<(Table<'_>, usize)> = model.table(7)?.map(|graph| (graph, 0)).into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some((graph, depth)) = open.pop() {
            if depth > DEPTH_MAX {
                self.note(id::GRF_BROKEN, "graphs nest too deeply", Some(graph.offset()));
                continue;
            }
            for tensor in graph.references(0)?.tables() {
                self.ort_tensor(tensor?)?;
            }
            for node in graph.references(2)?.tables() {
                let node = node?;
                let text = |index| Ok::<_, FlatbufferError>(String::from_utf8_lossy(node.text(index)?).into_owned());
                let (domain, operator) = (text(2)?, text(5)?);
                if seen.insert((domain.clone(), operator.clone())) {
                    match domain_flaw(&domain, &operator) {
                        Some(Flawed::Python) => {
                            self.note(
                                id::ONX_PYTHON,
                                &format!("a node is a `{}`", printable(&operator, 80)),
                                Some(node.offset()),
                            );
                        }
                        Some(Flawed::Unknown) => {
                            let message = format!("operators of domain `{}`", printable(&domain, 120));
                            self.note(id::ONX_DOMAIN, &message, Some(node.offset()));
                        }
                        Some(Flawed::Operator) | None => {}
                    }
                }
                for attribute in node.references(10)?.tables() {
                    let attribute = attribute?;
                    self.graph_text("attribute", attribute.text(5)?, attribute.offset());
                    if let Some(tensor) = attribute.table(6)? {
                        self.ort_tensor(tensor)?;
                    }
                    open.extend(attribute.table(GRAPH_FIELD)?.map(|graph| (graph, depth + 1)));
                    for graph in attribute.references(GRAPHS_FIELD)?.tables() {
                        open.push((graph?, depth + 1));
                    }
                }
            }
        }
        Ok(())
    }

    fn ort_tensor(&mut self, tensor: Table<'_>) -> Result<(), FlatbufferError> {
        let dims = tensor.vector(2, 8)?.map(|dims| dims.i64s().collect::<Vec<_>>()).unwrap_or_default();
        let elements = dims.iter().try_fold(1_u64, |product, dim| product.checked_mul(u64::try_from(*dim).ok()?));
        let name = printable(&String::from_utf8_lossy(tensor.text(0)?), 80);
        if elements.is_none_or(|elements| elements > 1 << 46) {
            self.note(id::GRF_SHAPE, &format!("tensor `{name}` has shape {dims:?}"), Some(tensor.offset()));
        }
        if let Some(raw) = tensor.blob(4)? {
            let head = raw.bytes().get(..raw.length.min(TENSOR_HEAD_BYTES)).unwrap_or_default();
            self.payload("tensor", head, raw.at as u64);
            let width = ringfence_format::onnx::DataType::from_code(i64::from(tensor.i32(3)?)).bytes();
            let expected = width.and_then(|width| elements?.checked_mul(width as u64));
            if expected.is_some_and(|expected| expected != raw.length as u64) {
                let message = format!("tensor `{name}` has {} bytes, its shape says {expected:?}", raw.length);
                self.note(id::GRF_SHAPE, &message, Some(tensor.offset()));
            }
        }
        Ok(())
    }
}
