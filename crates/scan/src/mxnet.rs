//! MXNet: graphs as JSON (`-symbol.json`) and lists of arrays (`.params`).

use std::io;

use ringfence_format::mxnet;
use ringfence_schema::finding::printable;
use serde_json::Value;

use crate::{
    audit::Audit,
    rules::id,
    source::{Source, bytes_at, length},
};

/// Operators that call Python, by a registered name or by an address in memory.
const PYTHON_OPERATORS: [&str; 5] = ["Custom", "_Native", "_NDArray", "_CustomFunction", "_Custom"];
/// Operators that hold graphs of another runtime.
const ENGINES: [&str; 2] = ["_TensorRT", "_trt_op"];
/// Nodes that are visited.
const NODES_MAX: usize = 1 << 22;
/// First bytes of an array that are looked at.
const ARRAY_HEAD_BYTES: u64 = 4_096;

impl Audit<'_> {
    /// A graph: nodes with an operator and attributes, and perhaps graphs inside.
    pub(crate) fn mxnet_symbol(&mut self, json: &Value) {
        let mut open = vec![json];
        let mut visited = 0;
        while let Some(graph) = open.pop() {
            for node in graph.get("nodes").and_then(Value::as_array).into_iter().flatten() {
                visited += 1;
                if visited > NODES_MAX {
                    self.note(id::GRF_BROKEN, "more nodes than are followed", None);
                    return;
                }
                let operator = node.get("op").and_then(Value::as_str).unwrap_or_default();
                let name = printable(node.get("name").and_then(Value::as_str).unwrap_or_default(), 80);
                if PYTHON_OPERATORS.contains(&operator) {
                    self.note(id::GRF_PYTHON, &format!("node `{name}` is a `{operator}`"), None);
                } else if ENGINES.contains(&operator) {
                    self.note(id::GRF_ENGINE, &format!("node `{name}` is a `{operator}`"), None);
                }
                open.extend(node.get("subgraphs").and_then(Value::as_array).into_iter().flatten());
            }
        }
    }

    /// A list of arrays.
    pub(crate) fn mxnet_arrays(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        let list = mxnet::read(source)?;
        for array in &list.arrays {
            let head = bytes_at(source, array.offset, array.bytes.min(ARRAY_HEAD_BYTES))?;
            self.payload("array", &head, array.offset);
        }
        if let Some((offset, why)) = list.stopped {
            let rest = length(source)?.saturating_sub(offset);
            self.note(id::GRF_SHAPE, &format!("{why}; {rest} bytes are left"), Some(offset));
            self.inspect_rest(source, offset)?;
        }
        Ok("mxnet-parameters")
    }
}
