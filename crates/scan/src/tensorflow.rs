//! TensorFlow graphs: SavedModels, MetaGraphs and frozen GraphDefs.
//!
//! Every node of every graph and of every function in the library is asked what its operator reaches ([`operators`]); where that
//! depends on a file name, [`flow`] says who chose it: the author, by a constant, or the caller, who feeds it as every saver
//! and every asset does. Assets must stay in their folder, and configurations in the object graph go to Keras's audit.
//!
//! Absent on purpose: shapes, types and whether a node is ever reached: what a graph holds, somebody can run.

mod flow;
mod operators;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
};

use ringfence_format::schema::{Schema, View};
use ringfence_schema::finding::printable;

use self::{
    flow::{Flow, Origin},
    operators::{Effect, OPERATORS, When},
};
use crate::{
    audit::Audit,
    paths::escapes,
    rules::{Rule, id},
};

pub(crate) use self::operators::{EFFECTS as EFFECTS_TABLE, REGISTERED as OPERATORS_TABLE};

/// Constants that are looked into.
const CONSTANTS_MAX: usize = 100_000;
/// First bytes of a weight tensor that are looked at.
const WEIGHT_HEAD_BYTES: usize = 4_096;
/// Graphs inside texts inside graphs that are followed.
const INNER_DEPTH_MAX: u32 = 3;
/// Findings of one kind that are listed one by one.
const LISTED_MAX: usize = 20;
/// `DT_STRING`.
const STRING_TYPE: u64 = 7;

impl Audit<'_> {
    pub(crate) fn saved_model(&mut self, view: &View<'_>) -> &'static str {
        self.surveyed(view);
        view.messages("meta_graphs").for_each(|graph| self.meta_graph(&graph));
        "tensorflow-saved-model"
    }

    pub(crate) fn meta_graph_file(&mut self, view: &View<'_>) -> &'static str {
        self.surveyed(view);
        self.meta_graph(view);
        "tensorflow-meta-graph"
    }

    pub(crate) fn graph_def(&mut self, view: &View<'_>) -> &'static str {
        self.surveyed(view);
        self.graphs(std::slice::from_ref(view), &HashSet::new(), 0);
        "tensorflow-graph"
    }

    fn meta_graph(&mut self, view: &View<'_>) {
        let mut assets = HashSet::new();
        for asset in view.messages("asset_file_def") {
            let name = asset.text("filename");
            if escapes(&name) {
                self.note(id::GRF_PATH, &format!("an asset is `{}`", printable(&name, 160)), Some(asset.offset()));
            }
            assets.extend(asset.messages("tensor_info").map(|info| node_of(&info.text("name")).to_owned()));
        }
        // Savers feed the node that their definition names, as loaders do with those of assets.
        assets.extend(view.messages("saver_def").map(|saver| node_of(&saver.text("filename_tensor_name")).to_owned()));
        for collection in view.messages("collection_def") {
            let what = format!("collection {}", printable(&collection.text("key"), 60));
            let lists = collection.messages("value").flat_map(|value| value.messages("bytes_list").collect::<Vec<_>>());
            for bytes in lists.flat_map(|list| list.blobs("value").collect::<Vec<_>>()) {
                self.graph_text(&what, bytes.data, bytes.offset as u64);
            }
        }
        for object in view.messages("object_graph_def").flat_map(|graph| graph.messages("nodes").collect::<Vec<_>>()) {
            for user in object.messages("user_object") {
                let metadata = user.text("metadata");
                if metadata.trim_start().starts_with('{') {
                    self.keras_config(&metadata, &format!("object@{:#x}", user.offset()));
                }
            }
        }
        let graphs: Vec<View<'_>> = view.messages("graph_def").collect();
        self.graphs(&graphs, &assets, 0);
    }

    /// Everything that nodes and functions reach. Several views are parts of one graph, which loaders merge.
    fn graphs(&mut self, graphs: &[View<'_>], assets: &HashSet<String>, depth: u32) {
        let flow = Flow::new(graphs, assets);
        let mut found: BTreeMap<(&'static str, String), (usize, u64, &'static Rule)> = BTreeMap::new();
        let mut add = |rule: &'static Rule, message: String, offset: u64| {
            let entry = found.entry((rule.id, message)).or_insert((0, offset, rule));
            entry.0 += 1;
        };
        let mut constants = Vec::new();
        for (scope, node) in flow.nodes() {
            let operator = node.text("op");
            for effect in OPERATORS.effects(&operator) {
                let reached = reached(&flow, scope, &node, effect.when);
                if let Some(reached) = reached {
                    add(rule_of(effect.effect, &reached), describe(&operator, effect.effect, &reached), node.offset());
                }
            }
            if !OPERATORS.is_registered(&operator) && !flow.has_function(&operator) {
                add(
                    id::GRF_CUSTOM,
                    format!("operator `{}` is none of TensorFlow's", printable(&operator, 80)),
                    node.offset(),
                );
            }
            for (_, value) in attributes(&node) {
                for name in called(&value) {
                    // A function by the name of an operator runs the operator.
                    let always = OPERATORS.effects(&name).find(|effect| effect.when == When::Always);
                    if let Some(effect) = always.filter(|_| !flow.has_function(&name)) {
                        add(rule_of(effect.effect, ""), describe(&name, effect.effect, ""), node.offset());
                    }
                }
                if constants.len() < CONSTANTS_MAX {
                    constants.extend(value.messages("tensor"));
                }
            }
        }
        for name in flow.functions() {
            if OPERATORS.is_registered(name) {
                add(id::GRF_SHADOW, format!("a function is called `{}` like an operator", printable(name, 80)), 0);
            }
        }
        let mut listed: BTreeMap<&'static str, usize> = BTreeMap::new();
        for ((rule, message), (count, offset, rule_of)) in found {
            let listed = listed.entry(rule).or_default();
            *listed += 1;
            if *listed <= LISTED_MAX {
                let times = if count > 1 { format!(" ({count} times)") } else { String::new() };
                self.note(rule_of, &format!("{message}{times}"), Some(offset));
            }
        }
        for tensor in constants {
            self.constant(&tensor, depth);
        }
    }

    /// Payloads in constants; texts may be whole graphs, which data sets instantiate.
    fn constant(&mut self, tensor: &View<'_>, depth: u32) {
        for content in tensor.blobs("tensor_content") {
            let is_text = tensor.number("dtype") == Some(STRING_TYPE);
            let bytes = content.data.get(..content.data.len().min(WEIGHT_HEAD_BYTES)).unwrap_or_default();
            if is_text {
                self.graph_text("text tensor", content.data, content.offset as u64);
            } else {
                self.payload("tensor", bytes, content.offset as u64);
            }
        }
        for text in tensor.blobs("string_val") {
            self.graph_text("text tensor", text.data, text.offset as u64);
            let inner = Schema::tensorflow().view("GraphDef", text.data);
            let is_inner = |view: &View<'_>| {
                text.data.len() > 16
                    && view.messages("node").take(8).any(|node| OPERATORS.is_registered(&node.text("op")))
            };
            if let Some(view) = inner.filter(is_inner)
                && depth < INNER_DEPTH_MAX
            {
                self.within(&format!("graph@{:#x}", text.offset), |audit| {
                    audit.graphs(&[view], &HashSet::new(), depth + 1);
                });
            }
        }
    }

    /// A graph in protocol buffers' text form; operators are known by name only.
    pub(crate) fn graph_as_text(&mut self, text: &[u8]) {
        let holds = |word: &[u8]| memchr::memmem::find(text, word).is_some();
        if !(holds(b"node") || holds(b"layer")) || !(holds(b"op") || holds(b"type")) {
            return;
        }
        let mut listed = HashSet::new();
        for (at, key, value) in quoted_fields(text) {
            let effect =
                (key == "op").then(|| OPERATORS.effects(value).find(|effect| effect.when == When::Always)).flatten();
            if let Some(effect) = effect
                && listed.insert(value)
            {
                self.note(rule_of(effect.effect, ""), &describe(value, effect.effect, ""), Some(at as u64));
            }
            if key == "type" && value == "Python" && holds(b"python_param") && listed.insert(value) {
                self.note(id::GRF_PYTHON, "a Caffe layer of type `Python` calls a module", Some(at as u64));
            }
        }
    }

    /// As [`Audit::borrowed_operator`], for names that may be anything.
    pub(crate) fn borrowed_effect(&mut self, operator: &str, offset: u64) {
        if OPERATORS.effects(operator).next().is_some() {
            self.borrowed_operator(operator, offset);
        }
    }

    /// The effects of a TensorFlow operator by its name alone, for formats that borrow them.
    pub(crate) fn borrowed_operator(&mut self, operator: &str, offset: u64) {
        let always = OPERATORS.effects(operator).find(|effect| effect.when == When::Always);
        if let Some(effect) = always {
            self.note(rule_of(effect.effect, ""), &describe(operator, effect.effect, ""), Some(offset));
        } else if !OPERATORS.is_registered(operator) {
            let message = format!("operator `{}` is none of TensorFlow's", printable(operator, 80));
            self.note(id::GRF_CUSTOM, &message, Some(offset));
        }
    }
}

/// Whether TensorFlow has an operator of this name.
pub(crate) fn is_operator(name: &str) -> bool {
    OPERATORS.is_registered(name)
}

/// `op: "ReadFile"` and its like, up to a bounded number.
fn quoted_fields(text: &[u8]) -> impl Iterator<Item = (usize, &str, &str)> {
    const FIELDS_MAX: usize = 1_000_000;
    memchr::memchr_iter(b':', text).take(FIELDS_MAX).filter_map(move |at| {
        let before = text.get(..at)?.trim_ascii_end();
        let start =
            before.iter().rposition(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').map_or(0, |at| at + 1);
        let key = before.get(start..)?;
        if !matches!(key, b"op" | b"type") {
            return None;
        }
        let after = text.get(at + 1..)?.trim_ascii_start();
        let quote = *after.first().filter(|quote| matches!(quote, b'"' | b'\''))?;
        let inner = after.get(1..after.len().min(256))?;
        let value = inner.get(..memchr::memchr(quote, inner)?)?;
        Some((at, std::str::from_utf8(key).ok()?, std::str::from_utf8(value).ok()?))
    })
}

/// What an effect reaches, if it takes place: empty where no name is known.
fn reached<'a>(flow: &Flow<'_, 'a>, scope: usize, node: &View<'a>, when: When) -> Option<String> {
    let first_text = |key: &str| {
        let texts = attributes(node).filter(|(name, _)| name == key).flat_map(|(_, value)| texts_of(&value));
        texts.into_iter().find(|text| !text.is_empty())
    };
    match when {
        When::Always => Some(String::new()),
        When::Text(key) => first_text(key),
        When::Url(key) => first_text(key).filter(|text| leaves_process(text)),
        When::Needed(key) => Some(first_text(key).unwrap_or_default()).filter(|text| leaves_process(text)),
        When::Name(input) => match flow.origin(scope, node, input) {
            Origin { fed: false, names, computed } => names
                .into_iter()
                .map(|(name, _)| name)
                .find(|name| !name.is_empty())
                .or_else(|| computed.then(String::new)),
            Origin { names, .. } => names.into_iter().find(|(name, leads)| is_away(name, *leads)).map(|(name, _)| name),
        },
        When::Prefix(input) => {
            let origin = flow.origin(scope, node, input);
            let away = origin.names.into_iter().find(|(name, leads)| is_away(name, *leads)).map(|(name, _)| name);
            away.or_else(|| (origin.computed && !origin.fed).then(String::new))
        }
    }
}

/// A constant part of a path: the first may not be absolute, none may go up.
fn is_away(part: &str, leads: bool) -> bool {
    if leads { !part.is_empty() && escapes(part) } else { part.split(['/', '\\']).any(|step| step == "..") }
}

/// Whether an attribute names a file or a server.
fn leaves_process(text: &str) -> bool {
    let inside = ["local://", "bytes://", "memmapped_package://", "stderr", "stdout", "log(", "log"];
    !inside.iter().any(|prefix| text.starts_with(prefix))
}

/// The attributes of a node.
fn attributes<'a>(node: &View<'a>) -> impl Iterator<Item = (String, View<'a>)> + use<'a> {
    node.messages("attr").flat_map(|entry| {
        let key = entry.text("key").into_owned();
        entry.messages("value").map(move |value| (key.clone(), value))
    })
}

/// The texts of an attribute, one or a list.
fn texts_of(value: &View<'_>) -> Vec<String> {
    let lists = value.messages("list").flat_map(|list| list.texts("s").map(Cow::into_owned).collect::<Vec<_>>());
    value.texts("s").map(Cow::into_owned).chain(lists).collect()
}

/// The functions that an attribute names.
fn called(value: &View<'_>) -> Vec<String> {
    let one = value.messages("func");
    let many = value.messages("list").flat_map(|list| list.messages("func").collect::<Vec<_>>());
    one.chain(many).map(|function| function.text("name").into_owned()).collect()
}

/// The node of an input or tensor name: `^node`, `node:0`, `node:out:0`.
fn node_of(name: &str) -> &str {
    let name = name.trim_start_matches('^');
    name.split(':').next().unwrap_or(name)
}

fn rule_of(effect: Effect, reached: &str) -> &'static Rule {
    match effect {
        Effect::Python => id::GRF_PYTHON,
        Effect::Write if ["grpc://", "http://", "https://"].iter().any(|scheme| reached.starts_with(scheme)) => {
            id::GRF_NETWORK
        }
        Effect::Write => id::GRF_WRITE,
        Effect::Read => id::GRF_READ,
        Effect::Network => id::GRF_NETWORK,
        Effect::Native => id::GRF_NATIVE,
        Effect::Stop => id::GRF_STOP,
        Effect::Engine => id::GRF_ENGINE,
    }
}

fn describe(operator: &str, effect: Effect, reached: &str) -> String {
    let verb = match effect {
        Effect::Python => "calls Python",
        Effect::Write => "writes",
        Effect::Read => "reads",
        Effect::Network => "connects or reconfigures",
        Effect::Native => "runs native code",
        Effect::Stop => "ends the process",
        Effect::Engine => "runs a compiled engine",
    };
    let operator = printable(operator, 80);
    if reached.is_empty() {
        format!("`{operator}` {verb}")
    } else {
        format!("`{operator}` {verb}: `{}`", printable(reached, 160))
    }
}
