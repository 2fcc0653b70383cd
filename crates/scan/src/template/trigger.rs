//! Text that appears only when a message says a certain word, or from a certain day on.
//!
//! Chat templates ask for roles, types, and for the model's own markers (`</think>`, `[TOOL_CALLS]`). One that asks for a word
//! of the conversation and then says a sentence of its own speaks behind the user's back.

use ringfence_format::jinja::{Expression, Node, Statement};

use super::{Judge, Scope, any, each_body, each_inner, each_literal, each_node, each_text, fold, name_of, words};
use crate::rules::id;

/// Keys under which a message keeps what was said.
const CONTENT_KEYS: [&str; 6] = ["content", "text", "reasoning_content", "thinking", "prompt", "input"];
/// Methods that search.
const SEARCHING: [&str; 9] =
    ["startswith", "endswith", "find", "rfind", "index", "count", "split", "rsplit", "partition"];
/// Methods and filters that turn a text into a similar one.
const SIMILAR: [&str; 19] = [
    "lower",
    "upper",
    "strip",
    "lstrip",
    "rstrip",
    "trim",
    "string",
    "replace",
    "title",
    "capitalize",
    "casefold",
    "split",
    "rsplit",
    "splitlines",
    "list",
    "first",
    "last",
    "join",
    "default",
];

/// What is looked for in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trigger {
    pub(super) word: String,
    /// A marker (`<tool>`, `[INST]`, `/think`) and not a word: only plain instructions behind it count.
    pub(super) is_marker: bool,
}

impl Trigger {
    fn of(word: &str) -> Option<Self> {
        let trimmed = word.trim();
        let letters = trimmed.chars().filter(|c| c.is_alphanumeric()).count();
        if letters < 2 && !hides(trimmed) {
            return None;
        }
        let is_marker = trimmed.starts_with('/')
            || trimmed.contains(['<', '>', '[', ']', '{', '}', '|', '▁', '`', '#', '='])
            || trimmed.starts_with("__");
        Some(Self { word: word.to_owned(), is_marker })
    }
}

/// Characters that nobody types by chance.
fn hides(word: &str) -> bool {
    !word.is_empty()
        && word
            .chars()
            .all(|c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{e0000}'..='\u{e007f}'))
}

impl Scope {
    /// What `node` is made of what a message says.
    fn is_content(&self, node: &Node) -> bool {
        match &node.kind {
            Expression::Name(name) => self.content.contains(name),
            Expression::Attribute(base, key) => {
                CONTENT_KEYS.contains(&key.as_str())
                    || matches!(&base.kind, Expression::Name(name) if self.content.contains(&format!("{name}.{key}")))
            }
            Expression::Item(base, key) => match fold::text(key, self) {
                Some(key) if key.parse::<i64>().is_err() => CONTENT_KEYS.contains(&key.as_str()),
                _ => self.is_content(base),
            },
            Expression::Slice(base, _) => self.is_content(base),
            Expression::Filter(Some(base), name, arguments) => {
                SIMILAR.contains(&name.as_str()) && self.is_content(base)
                    || matches!(name.as_str(), "map" | "tojson") && (self.is_content(base)
                        || arguments.iter().any(|argument| matches!(&argument.value.kind, Expression::Text(key) if CONTENT_KEYS.contains(&key.as_str()))))
                    || name == "join" && self.is_content(base)
                    || name == "string" && any(base, &mut |node| matches!(&node.kind, Expression::Name(name) if name == "messages"))
            }
            Expression::Call(base, arguments) => match &base.kind {
                Expression::Attribute(base, name) => {
                    SIMILAR.contains(&name.as_str())
                        && (self.is_content(base) || arguments.iter().any(|argument| self.is_content(&argument.value)))
                        || name == "get" && arguments.first().is_some_and(|argument| matches!(&argument.value.kind, Expression::Text(key) if CONTENT_KEYS.contains(&key.as_str())))
                }
                _ => false,
            },
            Expression::Binary("+" | "~" | "or" | "and", left, right) => {
                self.is_content(left) || self.is_content(right)
            }
            Expression::Choice { then, otherwise, .. } => {
                self.is_content(then) || otherwise.as_ref().is_some_and(|node| self.is_content(node))
            }
            _ => false,
        }
    }

    /// The word in a message that `node` depends on; a plain word rather than a marker.
    fn trigger(&self, node: &Node) -> Option<Trigger> {
        let mut found: Option<Trigger> = None;
        self.each_trigger(node, &mut |trigger| {
            if found.as_ref().is_none_or(|found| found.is_marker && !trigger.is_marker) {
                found = Some(trigger);
            }
        });
        found
    }

    fn each_trigger(&self, node: &Node, take: &mut dyn FnMut(Trigger)) {
        let words_of = |node: &Node| -> Vec<String> {
            match &node.kind {
                Expression::Name(name) => self.constants.get(name).cloned().unwrap_or_default(),
                Expression::List(items) => items.iter().filter_map(|item| fold::text(item, self)).collect(),
                _ => fold::text(node, self).into_iter().collect(),
            }
        };
        let mut tell = |node: &Node| words_of(node).iter().filter_map(|word| Trigger::of(word)).for_each(&mut *take);
        match &node.kind {
            Expression::Binary("in" | "not in" | "==" | "!=", left, right) => {
                if self.is_content(right) {
                    tell(left);
                }
                if self.is_content(left) {
                    tell(right);
                }
            }
            Expression::Call(base, arguments) => {
                if let Expression::Attribute(base, name) = &base.kind
                    && SEARCHING.contains(&name.as_str())
                    && self.is_content(base)
                {
                    for argument in arguments {
                        tell(&argument.value);
                    }
                }
            }
            Expression::Test(base, name, arguments) | Expression::Filter(Some(base), name, arguments) => {
                let searches = matches!(
                    name.as_str(),
                    "in" | "eq"
                        | "equalto"
                        | "ne"
                        | "search"
                        | "match"
                        | "contains"
                        | "regex_search"
                        | "regex"
                        | "select"
                        | "reject"
                );
                if searches && self.is_content(base) {
                    for argument in arguments {
                        tell(&argument.value);
                    }
                }
            }
            Expression::Name(name) => self.triggered.get(name).cloned().into_iter().for_each(&mut *take),
            Expression::Attribute(base, key) => {
                if let Expression::Name(name) = &base.kind {
                    self.triggered.get(&format!("{name}.{key}")).cloned().into_iter().for_each(&mut *take);
                }
            }
            _ => {}
        }
        each_inner(node, &mut |inner| self.each_trigger(inner, take));
    }

    fn is_date(&self, node: &Node) -> bool {
        any(node, &mut |node| match &node.kind {
            Expression::Call(base, _) => {
                matches!(&base.kind, Expression::Name(name) if name == "strftime_now" || name == "now")
            }
            Expression::Name(name) => self.dates.contains(name),
            Expression::Attribute(base, key) => {
                matches!(&base.kind, Expression::Name(name) if self.dates.contains(&format!("{name}.{key}")))
            }
            Expression::Filter(_, name, _) => name == "random",
            _ => false,
        })
    }

    /// Which names hold contents, dates, or depend on a trigger. `control`: the trigger of the branches around.
    pub(super) fn depend(&mut self, body: &[Statement], control: Option<&Trigger>) {
        for statement in body {
            match statement {
                Statement::Set { targets, value: Some(value), .. } => {
                    let (is_content, is_date) = (self.is_content(value), self.is_date(value));
                    // A part of a message that is kept is no decision; a truth value is.
                    let trigger = if is_content { None } else { self.trigger(value).or_else(|| control.cloned()) };
                    for name in targets.iter().filter_map(name_of) {
                        if is_content {
                            self.content.insert(name.clone());
                        }
                        if is_date {
                            self.dates.insert(name.clone());
                        }
                        if let Some(trigger) = &trigger {
                            self.triggered.entry(name).or_insert_with(|| trigger.clone());
                        }
                    }
                    self.namespace(targets, value);
                }
                Statement::For { targets, over, body, .. } => {
                    if self.is_content(over) {
                        self.content.extend(targets.iter().cloned());
                    }
                    self.depend(body, control);
                    continue;
                }
                Statement::If(branches) => {
                    let trigger =
                        branches.iter().filter_map(|(test, _)| test.as_ref()).find_map(|test| self.trigger(test));
                    for (_, body) in branches {
                        self.depend(body, trigger.as_ref().or(control));
                    }
                    continue;
                }
                _ => {}
            }
            each_body(statement, &mut |body| self.depend(body, control));
        }
    }

    /// `namespace(a=…)`: each argument is set.
    fn namespace(&mut self, targets: &[Node], value: &Node) {
        let (Expression::Call(base, arguments), [target]) = (&value.kind, targets) else { return };
        let Some(name) =
            name_of(target).filter(|_| matches!(&base.kind, Expression::Name(name) if name == "namespace"))
        else {
            return;
        };
        for argument in arguments {
            let Some(key) = &argument.name else { continue };
            if self.is_content(&argument.value) {
                self.content.insert(format!("{name}.{key}"));
            }
            if self.is_date(&argument.value) {
                self.dates.insert(format!("{name}.{key}"));
            }
        }
    }
}

impl Judge {
    pub(super) fn triggers(&mut self, body: &[Statement]) {
        for statement in body {
            match statement {
                Statement::If(branches) => {
                    let tests = || branches.iter().filter_map(|(test, _)| test.as_ref());
                    if let Some((at, trigger)) = tests().find_map(|test| Some((test.at, self.scope.trigger(test)?))) {
                        let said = branches.iter().find_map(|(_, body)| said(body, &trigger));
                        self.spoken(at, &trigger, said);
                    }
                    tests().for_each(|test| self.date(test));
                }
                Statement::For { over, only, body, .. } => {
                    for test in std::iter::once(over).chain(only) {
                        if let Some(trigger) = self.scope.trigger(test) {
                            let said = direct(body, &trigger);
                            self.spoken(test.at, &trigger, said);
                        }
                        self.date(test);
                    }
                }
                _ => {}
            }
            each_node(statement, &mut |node| self.choices(node));
            each_body(statement, &mut |body| self.triggers(body));
        }
    }

    /// Decisions inside of an expression.
    fn choices(&mut self, node: &Node) {
        let decides = |kind: &Expression| match kind {
            Expression::Choice { .. } | Expression::Item(..) => true,
            Expression::Binary(sign, ..) => matches!(*sign, "and" | "or" | "*"),
            _ => false,
        };
        if decides(&node.kind) {
            if let Some(trigger) = self.scope.trigger(node) {
                let mut said = None;
                each_text(node, &mut |_, text| {
                    if said.is_none() && text != trigger.word {
                        said = speech(text, &trigger);
                    }
                });
                self.spoken(node.at, &trigger, said);
            }
            if let Expression::Choice { test, .. } = &node.kind {
                self.date(test);
            }
        }
        each_inner(node, &mut |inner| self.choices(inner));
    }

    fn spoken(&mut self, at: usize, trigger: &Trigger, said: Option<String>) {
        let Some(said) = said else { return };
        let message =
            format!("when a message holds `{}` it says `{}`", super::excerpt(&trigger.word), super::excerpt(&said));
        self.note(id::TPL_TRIGGER, at, message);
    }

    /// A comparison with the date, or a throw of the dice.
    fn date(&mut self, test: &Node) {
        let scope = &self.scope;
        let mut compares = |node: &Node| match &node.kind {
            Expression::Binary(sign, left, right) => {
                matches!(*sign, "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not in")
                    && (scope.is_date(left) || scope.is_date(right))
            }
            Expression::Call(base, _) => {
                matches!(&base.kind, Expression::Attribute(base, name) if SEARCHING.contains(&name.as_str()) && scope.is_date(base))
            }
            Expression::Filter(_, name, _) => name == "random",
            _ => false,
        };
        if any(test, &mut compares) {
            self.note(id::TPL_DATE, test.at, "what it says depends on the date, or on chance".to_owned());
        }
    }
}

/// What a branch says of its own, anywhere in it.
fn said(body: &[Statement], trigger: &Trigger) -> Option<String> {
    let mut found = None;
    each_literal(body, &mut |_, text| {
        if found.is_none() {
            found = speech(text, trigger);
        }
    });
    found
}

/// The same, but only what stands in the body itself.
fn direct(body: &[Statement], trigger: &Trigger) -> Option<String> {
    body.iter().find_map(|statement| match statement {
        Statement::Literal { text, .. } => speech(text, trigger),
        Statement::Output(node) => {
            let mut found = None;
            each_text(node, &mut |_, text| found = found.take().or_else(|| speech(text, trigger)));
            found
        }
        _ => None,
    })
}

/// `text`, if it is a sentence or worse and not mere markup.
fn speech(text: &str, trigger: &Trigger) -> Option<String> {
    let is_speech =
        words::instruction(text).is_some() || !trigger.is_marker && (words::is_sentence(text) || words::has_link(text));
    is_speech.then(|| text.to_owned())
}
