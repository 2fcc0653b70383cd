//! What TensorFlow's operators are called and what they reach; the knowledge stands in two tables that are compiled in.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

/// The effects, as text; its grammar is in its first lines.
pub(crate) const EFFECTS: &str = include_str!("../../data/tensorflow_effects.txt");
/// The names of all registered operators, as text.
pub(crate) const REGISTERED: &str = include_str!("../../data/tensorflow_operators.txt");

/// What an operator reaches outside of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Python,
    Write,
    Read,
    Network,
    Native,
    Stop,
    Engine,
}

/// When it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    /// Where this input is a name that the author chose.
    Name(usize),
    /// Where this input is a name that leaves the folder.
    Prefix(usize),
    /// Where this attribute is not empty.
    Text(&'static str),
    /// Where this attribute names a file or server.
    Url(&'static str),
    /// The same, or where the attribute is not there.
    Needed(&'static str),
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) effect: Effect,
    pub(crate) when: When,
}

/// Both tables.
pub(crate) struct Operators {
    effects: HashMap<&'static str, Vec<Entry>>,
    registered: HashSet<&'static str>,
}

pub(crate) static OPERATORS: LazyLock<Operators> = LazyLock::new(|| {
    let mut effects: HashMap<_, Vec<Entry>> = HashMap::new();
    for (operator, entry) in lines(EFFECTS).filter_map(entry) {
        effects.entry(operator).or_default().push(entry);
    }
    Operators { effects, registered: lines(REGISTERED).collect() }
});

impl Operators {
    /// What `operator` may reach.
    pub(crate) fn effects(&self, operator: &str) -> impl Iterator<Item = Entry> {
        self.effects.get(operator).into_iter().flatten().copied()
    }

    /// Whether TensorFlow or a well-known companion has such an operator.
    pub(crate) fn is_registered(&self, operator: &str) -> bool {
        self.registered.contains(operator) || self.effects.contains_key(operator)
    }
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

fn entry(line: &'static str) -> Option<(&'static str, Entry)> {
    let words: Vec<&'static str> = line.split(' ').collect();
    let (operator, effect, when) = match words.as_slice() {
        [operator, effect, "always"] => (operator, effect, When::Always),
        [operator, effect, "name", input] => (operator, effect, When::Name(input.parse().ok()?)),
        [operator, effect, "prefix", input] => (operator, effect, When::Prefix(input.parse().ok()?)),
        [operator, effect, "text", key] => (operator, effect, When::Text(key)),
        [operator, effect, "url", key] => (operator, effect, When::Url(key)),
        [operator, effect, "needed", key] => (operator, effect, When::Needed(key)),
        _ => return None,
    };
    let effect = match *effect {
        "python" => Effect::Python,
        "write" => Effect::Write,
        "read" => Effect::Read,
        "network" => Effect::Network,
        "native" => Effect::Native,
        "stop" => Effect::Stop,
        "engine" => Effect::Engine,
        _ => return None,
    };
    Some((operator, Entry { effect, when }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_understood() {
        for line in lines(EFFECTS) {
            assert!(entry(line).is_some(), "{line}");
        }
        assert!(lines(REGISTERED).all(crate::paths::is_identifier));
        assert!(OPERATORS.registered.len() > 1_900 && OPERATORS.is_registered("MatMul"));
    }
}
