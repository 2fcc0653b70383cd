//! PaddlePaddle: programs as protocol buffers, programs as JSON (its newer representation), and combined parameters.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    io,
    sync::LazyLock,
};

use ringfence_format::{paddle, schema::View};
use ringfence_schema::finding::printable;

use crate::{
    audit::Audit,
    paths::escapes,
    rules::{Rule, id},
    source::{Source, bytes_at, length},
};

/// Operators that PaddlePaddle registers, as text.
pub(crate) const OPERATORS_TABLE: &str = include_str!("../data/paddle_operators.txt");
/// First bytes of a tensor that are looked at.
const TENSOR_HEAD_BYTES: u64 = 4_096;
/// Findings of one kind that are listed one by one.
const LISTED_MAX: usize = 20;
/// Most operators of a JSON program that are looked at.
const JSON_OPERATORS_MAX: usize = 1 << 20;

/// Operators that reach outside of the program, and how.
const OUTSIDE: [(&str, Reach); 26] = [
    ("py_func", Reach::Python),
    ("py_layer", Reach::Python),
    ("create_py_reader", Reach::Python),
    ("read_file", Reach::Read),
    ("load", Reach::File),
    ("load_combine", Reach::File),
    ("sparse_tensor_load", Reach::File),
    ("open_files", Reach::Read),
    ("create_recordio_file_reader", Reach::Read),
    ("save", Reach::Write),
    ("save_combine", Reach::Write),
    ("checkpoint_notify", Reach::Network),
    ("send", Reach::Network),
    ("recv", Reach::Network),
    ("listen_and_serv", Reach::Network),
    ("fl_listen_and_serv", Reach::Network),
    ("heter_listen_and_serv", Reach::Network),
    ("gen_nccl_id", Reach::Network),
    ("c_gen_nccl_id", Reach::Network),
    ("c_gen_bkcl_id", Reach::Network),
    ("send_barrier", Reach::Network),
    ("fetch_barrier", Reach::Network),
    ("distributed_lookup_table", Reach::Network),
    ("tensorrt_engine", Reach::Engine),
    ("openvino_engine", Reach::Engine),
    ("lite_engine", Reach::Engine),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Python,
    Read,
    Write,
    /// Reads the file of an attribute.
    File,
    Network,
    Engine,
}

static REGISTERED: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| OPERATORS_TABLE.lines().filter(|line| !line.starts_with('#')).collect());

impl Audit<'_> {
    pub(crate) fn paddle_program(&mut self, view: &View<'_>) -> &'static str {
        self.surveyed(view);
        let mut found: BTreeMap<(&'static str, String), (usize, u64, &'static Rule)> = BTreeMap::new();
        for block in view.messages("blocks") {
            for operator in block.messages("ops") {
                let name = operator.text("type");
                let texts: Vec<String> = operator
                    .messages("attrs")
                    .filter(|attribute| attribute.text("name") != "op_callstack")
                    .flat_map(|attribute| {
                        attribute.texts("s").chain(attribute.texts("strings")).map(Cow::into_owned).collect::<Vec<_>>()
                    })
                    .collect();
                let path = operator
                    .messages("attrs")
                    .filter(|attribute| matches!(attribute.text("name").as_ref(), "file_path" | "filename"));
                let path = path.last().map(|attribute| attribute.text("s").into_owned());
                if let Some((rule, message)) = reached(&name, path.as_deref()) {
                    found.entry((rule.id, message)).or_insert((0, operator.offset(), rule)).0 += 1;
                }
                for text in texts {
                    self.graph_text("attribute", text.as_bytes(), operator.offset());
                }
            }
        }
        self.paddle_listed(found);
        "paddle-program"
    }

    /// The newer representation: JSON whose operators are named `DIALECT.NAME` under the key `#`.
    pub(crate) fn paddle_json(&mut self, json: &serde_json::Value) {
        if json.pointer("/base_code/magic").and_then(serde_json::Value::as_str) != Some("pir") {
            return;
        }
        let mut found = BTreeMap::new();
        let mut open: Vec<&serde_json::Value> = json.get("program").into_iter().collect();
        let mut visited = 0;
        while let Some(value) = open.pop() {
            visited += 1;
            if visited > JSON_OPERATORS_MAX {
                self.note(id::GRF_BROKEN, "more operators than are followed", None);
                break;
            }
            match value {
                serde_json::Value::Array(items) => open.extend(items),
                serde_json::Value::Object(fields) => {
                    let is_operator = fields.contains_key("O") || fields.contains_key("I");
                    let name = fields.get("#").and_then(serde_json::Value::as_str).filter(|_| is_operator);
                    let name = name.and_then(|name| name.rsplit('.').next()).map(|name| name.trim_end_matches('_'));
                    if let Some((rule, message)) = name.and_then(|name| reached_if_known(name, None)) {
                        found.entry((rule.id, message)).or_insert((0, 0, rule)).0 += 1;
                    }
                    open.extend(fields.values());
                }
                _ => {}
            }
        }
        self.paddle_listed(found);
    }

    fn paddle_listed(&mut self, found: BTreeMap<(&'static str, String), (usize, u64, &'static Rule)>) {
        for ((_, message), (count, offset, rule)) in found.into_iter().take(LISTED_MAX) {
            let times = if count > 1 { format!(" ({count} times)") } else { String::new() };
            self.note(rule, &format!("{message}{times}"), Some(offset));
        }
    }

    /// Combined parameters.
    pub(crate) fn paddle_parameters(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        let parameters = paddle::read(source)?;
        for tensor in &parameters.tensors {
            let head = bytes_at(source, tensor.offset, tensor.bytes.min(TENSOR_HEAD_BYTES))?;
            self.payload("tensor", &head, tensor.offset);
        }
        if let Some((offset, why)) = parameters.stopped {
            let rest = length(source)?.saturating_sub(offset);
            self.note(id::GRF_SHAPE, &format!("{why}; {rest} bytes are left"), Some(offset));
            self.inspect_rest(source, offset)?;
        }
        Ok("paddle-parameters")
    }
}

fn reached(operator: &str, path: Option<&str>) -> Option<(&'static Rule, String)> {
    let known = reached_if_known(operator, path);
    // Gradients have the names of their operators.
    let plain = operator.trim_end_matches("_grad");
    if known.is_some() || REGISTERED.contains(operator) || REGISTERED.contains(plain) {
        return known;
    }
    Some((id::GRF_CUSTOM, format!("operator `{}` is none of PaddlePaddle's", printable(operator, 80))))
}

fn reached_if_known(operator: &str, path: Option<&str>) -> Option<(&'static Rule, String)> {
    let (_, reach) = OUTSIDE.iter().find(|(name, _)| *name == operator)?;
    let shown = path.map(|path| format!(": `{}`", printable(path, 160))).unwrap_or_default();
    let operator = printable(operator, 80);
    Some(match reach {
        Reach::Python => (id::GRF_PYTHON, format!("`{operator}` calls Python")),
        Reach::File if path.is_some_and(|path| !escapes(path)) => return None,
        Reach::Read | Reach::File => (id::GRF_READ, format!("`{operator}` reads files{shown}")),
        Reach::Write => (id::GRF_WRITE, format!("`{operator}` writes files{shown}")),
        Reach::Network => (id::GRF_NETWORK, format!("`{operator}` uses the network")),
        Reach::Engine => (id::GRF_ENGINE, format!("`{operator}` holds a compiled engine")),
    })
}
