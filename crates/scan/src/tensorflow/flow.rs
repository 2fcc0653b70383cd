//! Where a file name in a TensorFlow graph comes from.
//!
//! [`Flow::origin`] walks back from an input of a node, through the operators that build names and through the calls of
//! functions, to constants and to what a caller feeds. An asset's constant counts as fed: loaders replace it.
//! Walks are bounded by [`STEPS_MAX`]; a walk that ends there has an unknown, and therefore fed, origin.

use std::{
    borrow::Cow,
    cell::OnceCell,
    collections::{HashMap, HashSet},
};

use ringfence_format::schema::View;

use super::{attributes, called, node_of, texts_of};

/// Nodes that one walk visits.
const STEPS_MAX: usize = 10_000;
/// Functions that are indexed.
const FUNCTIONS_MAX: usize = 1_000_000;

/// `DT_FLOAT` to `DT_INT8`: numbers, never names.
const NUMBER_TYPES: std::ops::RangeInclusive<u64> = 1..=6;

/// Who chose a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Origin {
    /// Constant parts, and whether the part may begin the name.
    pub(super) names: Vec<(String, bool)>,
    /// A caller has a say.
    pub(super) fed: bool,
    /// An operator makes the name out of constants: it is not what it reads like.
    pub(super) computed: bool,
}

/// One graph with its functions, ready for walks.
pub(super) struct Flow<'f, 'a> {
    main: Vec<View<'a>>,
    functions: Vec<(String, View<'a>)>,
    names: HashSet<String>,
    assets: &'f HashSet<String>,
    index: OnceCell<Index<'a>>,
}

/// Built on the first walk only: most graphs need none.
struct Index<'a> {
    /// Nodes of each scope by name; scope 0 is the main graph, scope n + 1 function n.
    nodes: Vec<HashMap<String, View<'a>>>,
    /// Input arguments of each scope by name.
    arguments: Vec<HashMap<String, usize>>,
    /// What is assigned to a variable: names of nodes, by scope and the variable's node.
    assigned: HashMap<(usize, String), Vec<String>>,
    /// Who calls a function: scope, node, and the input that becomes the first argument.
    callers: HashMap<String, Vec<(usize, View<'a>, usize)>>,
}

impl Index<'_> {
    /// Whether a node is a placeholder for numbers.
    fn is_number(&self, scope: usize, name: &str) -> bool {
        let node = self.nodes.get(scope).and_then(|nodes| nodes.get(name));
        node.filter(|node| node.text("op") == "Placeholder").is_some_and(|node| {
            let mut types =
                attributes(node).filter(|(key, _)| key == "dtype").filter_map(|(_, value)| value.number("type"));
            types.any(|kind| NUMBER_TYPES.contains(&kind))
        })
    }
}

impl<'f, 'a> Flow<'f, 'a> {
    pub(super) fn new(graphs: &[View<'a>], assets: &'f HashSet<String>) -> Self {
        let libraries = graphs.iter().flat_map(|graph| graph.messages("library"));
        let functions = libraries.flat_map(|library| library.messages("function").collect::<Vec<_>>());
        let name = |function: &View<'a>| {
            function.messages("signature").last().map_or(String::new(), |s| s.text("name").into_owned())
        };
        let functions: Vec<_> = functions.take(FUNCTIONS_MAX).map(|function| (name(&function), function)).collect();
        let names = functions.iter().map(|(name, _)| name.clone()).collect();
        Self { main: graphs.to_vec(), functions, names, assets, index: OnceCell::new() }
    }

    /// Every node with its scope.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (usize, View<'a>)> {
        let main = self.main.iter().flat_map(|graph| graph.messages("node")).map(|node| (0, node));
        let inner = self.functions.iter().zip(1..);
        main.chain(
            inner.flat_map(|((_, function), scope)| function.messages("node_def").map(move |node| (scope, node))),
        )
    }

    pub(super) fn functions(&self) -> impl Iterator<Item = &str> {
        self.functions.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn has_function(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Who chose the text that goes into input `input` of `node`.
    pub(super) fn origin(&self, scope: usize, node: &View<'a>, input: usize) -> Origin {
        let index = self.index.get_or_init(|| self.index());
        let mut origin = Origin::default();
        let mut seen = HashSet::new();
        origin.computed = data_inputs(node).len() <= input;
        let mut open: Vec<(usize, String, bool)> =
            data_inputs(node).into_iter().nth(input).map(|name| (scope, name, true)).into_iter().collect();
        if open.first().is_some_and(|(scope, name, _)| index.is_number(*scope, name)) {
            // Nobody can feed a name there; no loader takes such a graph, and whoever repairs it decides.
            return Origin { computed: true, ..Origin::default() };
        }
        while let Some((scope, name, leads)) = open.pop() {
            if !seen.insert((scope, name.clone(), leads)) {
                continue;
            }
            if seen.len() > STEPS_MAX {
                origin.fed = true;
                break;
            }
            if let Some(argument) = index.arguments.get(scope).and_then(|arguments| arguments.get(&name)) {
                self.callers(index, scope, *argument, leads, &mut open, &mut origin);
                continue;
            }
            match index.nodes.get(scope).and_then(|nodes| nodes.get(&name)) {
                Some(node) => self.step(scope, node, leads, &mut open, &mut origin),
                // No loader takes such a graph; whoever repairs it decides.
                None => origin.computed = true,
            }
        }
        if origin.computed || !origin.fed {
            // Cut and glued in ways that are not followed, or by nobody but the author: any part may begin the name.
            origin.names.iter_mut().for_each(|(_, leads)| *leads = true);
        }
        origin
    }

    /// One node backwards.
    fn step(
        &self,
        scope: usize,
        node: &View<'a>,
        leads: bool,
        open: &mut Vec<(usize, String, bool)>,
        origin: &mut Origin,
    ) {
        let operator = node.text("op");
        let inputs = data_inputs(node);
        let mut push = |from: usize, to: usize, leads: bool| {
            let chosen = inputs.iter().take(to).skip(from);
            open.extend(chosen.map(|name| (scope, name.clone(), leads)));
        };
        match operator.as_ref() {
            "Const" if scope == 0 && self.assets.contains(node.text("name").as_ref()) => origin.fed = true,
            "Const" | "HostConst" => {
                let texts =
                    attributes(node).filter(|(key, _)| key == "value").flat_map(|(_, value)| constant_texts(&value));
                origin.names.extend(texts.map(|text| (text, leads)));
            }
            "Placeholder" | "PlaceholderV2" | "_Arg" | "_Retval" => origin.fed = true,
            "ReadVariableOp" | "VarHandleOp" | "VariableV2" | "Variable" => {
                // What is assigned to a variable; one that nothing assigns comes from a checkpoint.
                let variable = inputs.first().map_or_else(|| node.text("name").into_owned(), Clone::clone);
                let index = self.index.get_or_init(|| self.index());
                match index.assigned.get(&(scope, variable)) {
                    Some(values) => open.extend(values.iter().map(|name| (scope, name.clone(), leads))),
                    None => origin.computed = true,
                }
            }
            "PlaceholderWithDefault" => {
                origin.fed = true;
                push(0, 1, leads);
            }
            "Identity" | "IdentityN" | "Reshape" | "Squeeze" | "ExpandDims" | "ShardedFilename" | "ShardedFilespec"
            | "StridedSlice" | "Slice" | "Switch" | "Enter" | "Exit" | "NextIteration" | "GatherV2" | "Gather"
            | "Tile" | "BroadcastTo" | "StopGradient" | "Unpack" | "StringStrip" | "StringLower" => push(0, 1, leads),
            "Select" | "SelectV2" => push(1, 3, leads),
            "Fill" => push(1, 2, leads),
            "Pack" | "Merge" | "ConcatV2" | "Concat" => push(0, usize::MAX, leads),
            "StringJoin" => {
                let first = inputs.iter().position(|name| !self.is_empty(scope, name)).unwrap_or(inputs.len());
                let separators = attributes(node).filter(|(key, _)| key == "separator");
                let separators = separators.flat_map(|(_, value)| texts_of(&value));
                origin.names.extend(separators.map(|text| (text, leads && first > 0)));
                push(0, first + 1, leads);
                push(first + 1, usize::MAX, false);
            }
            _ => {
                // Whatever else makes a text out of other texts hides what it says.
                let is_call =
                    self.has_function(&operator) || attributes(node).any(|(_, value)| !called(&value).is_empty());
                origin.fed |= is_call || inputs.is_empty();
                origin.computed |= !is_call && !inputs.is_empty();
                let own = attributes(node).filter(|(key, _)| !key.starts_with('_'));
                origin.names.extend(own.flat_map(|(_, value)| texts_of(&value)).map(|text| (text, leads)));
                push(0, usize::MAX, leads);
            }
        }
    }

    /// Whether a node is a constant of empty text.
    fn is_empty(&self, scope: usize, name: &str) -> bool {
        let index = self.index.get_or_init(|| self.index());
        let node = index.nodes.get(scope).and_then(|nodes| nodes.get(name));
        node.filter(|node| node.text("op") == "Const").is_some_and(|node| {
            let values = attributes(node).filter(|(key, _)| key == "value");
            values.flat_map(|(_, value)| constant_texts(&value)).all(|text| text.is_empty())
        })
    }

    /// From an argument of a function to what its callers pass.
    fn callers(
        &self,
        index: &Index<'a>,
        scope: usize,
        argument: usize,
        leads: bool,
        open: &mut Vec<(usize, String, bool)>,
        origin: &mut Origin,
    ) {
        let function = scope.checked_sub(1).and_then(|at| self.functions.get(at));
        let callers = function.and_then(|(name, _)| index.callers.get(name)).map_or(&[][..], Vec::as_slice);
        if callers.is_empty() {
            // The loader calls it.
            origin.fed = true;
        }
        for (scope, node, first) in callers {
            match data_inputs(node).into_iter().nth(first + argument) {
                Some(name) => open.push((*scope, name, leads)),
                None => origin.fed = true,
            }
        }
    }

    fn index(&self) -> Index<'a> {
        let scopes = self.functions.len() + 1;
        let mut index = Index {
            nodes: vec![HashMap::new(); scopes],
            arguments: vec![HashMap::new(); scopes],
            callers: HashMap::new(),
            assigned: HashMap::new(),
        };
        for (scope, node) in self.nodes() {
            let operator = node.text("op").into_owned();
            if self.has_function(&operator) {
                index.callers.entry(operator.clone()).or_default().push((scope, node, 0));
            }
            if matches!(operator.as_str(), "AssignVariableOp" | "Assign")
                && let [variable, value, ..] = data_inputs(&node).as_slice()
            {
                index.assigned.entry((scope, variable.clone())).or_default().push(value.clone());
            }
            let first = usize::from(matches!(operator.as_str(), "If" | "StatelessIf" | "Case" | "StatelessCase"));
            for name in attributes(&node).flat_map(|(_, value)| called(&value)) {
                index.callers.entry(name).or_default().push((scope, node, first));
            }
            if let Some(nodes) = index.nodes.get_mut(scope) {
                nodes.insert(node.text("name").into_owned(), node);
            }
        }
        for ((_, function), arguments) in self.functions.iter().zip(index.arguments.iter_mut().skip(1)) {
            for signature in function.messages("signature") {
                arguments.extend(
                    signature
                        .messages("input_arg")
                        .enumerate()
                        .map(|(at, argument)| (argument.text("name").into_owned(), at)),
                );
            }
        }
        index
    }
}

/// The nodes that feed a node, without control inputs.
fn data_inputs(node: &View<'_>) -> Vec<String> {
    node.texts("input").filter(|name| !name.starts_with('^')).map(|name| node_of(&name).to_owned()).collect()
}

/// The texts of a constant: one by one, or all in `tensor_content` as lengths and then bytes.
fn constant_texts(value: &View<'_>) -> Vec<String> {
    let mut texts = Vec::new();
    for tensor in value.messages("tensor") {
        texts.extend(tensor.texts("string_val").map(Cow::into_owned));
        for content in tensor.blobs("tensor_content") {
            texts.extend(
                packed_texts(content.data).unwrap_or_else(|| vec![String::from_utf8_lossy(content.data).into_owned()]),
            );
        }
    }
    texts
}

/// Lengths as varints, then the texts: as many lengths as make the rest come out even.
fn packed_texts(content: &[u8]) -> Option<Vec<String>> {
    const TEXTS_MAX: usize = 10_000;
    let bytes = ringfence_format::protobuf::Bytes::whole(content);
    let (mut lengths, mut sum, mut used) = (Vec::new(), 0_usize, 0_usize);
    for length in bytes.varints().take(TEXTS_MAX) {
        let length = length.ok()?;
        used += (64 - length.leading_zeros()).max(1).div_ceil(7) as usize;
        let length = usize::try_from(length).ok()?;
        sum = sum.checked_add(length)?;
        lengths.push(length);
        if used + sum >= content.len() {
            break;
        }
    }
    if used + sum != content.len() {
        return None;
    }
    let mut rest = content.get(used..)?;
    let mut texts = Vec::new();
    for length in lengths {
        let (text, after) = rest.split_at_checked(length)?;
        texts.push(String::from_utf8_lossy(text).into_owned());
        rest = after;
    }
    Some(texts)
}
