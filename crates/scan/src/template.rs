//! Chat templates: what rendering one would reach, and what it would say that nobody sees.
//!
//! * [`Audit::template`] takes a template by its text, from wherever it stood (JSON, GGUF, a file of its own).
//! * [`Audit::blocks`] takes any text with braces in it: the rules of escape only, unless it is about messages.
//!
//! `reach` walks expressions for ways out of the sandbox; `trigger` looks for text that depends on what a message says or on
//! the date; `fold` computes constant expressions, so that no spelling hides a name; `words` judges literals.
//!
//! What holds: nothing is rendered; a template that cannot be parsed to its end is `incomplete`, and what was parsed counts.

use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
};

use ringfence_format::jinja::{self, Expression, Node, Statement, Template};

use crate::{
    audit::Audit,
    pickle::{Encoding, nested},
    rules::{Rule, id},
    text::hidden,
};

mod fold;
mod reach;
mod trigger;
pub(crate) mod words;

/// Most findings of one template.
const FOUND_MAX: usize = 40;
/// A literal from this length on is told, in bytes.
const LITERAL_BYTES: usize = 16 << 10;
/// A run of base-64 letters from this length on is no text for a model.
const BLOB_BYTES: usize = 400;
/// Shortest word that is tried as base 64, in bytes, and how many of one literal are.
const ENCODED_BYTES_MIN: usize = 24;
const ENCODED_MAX: usize = 64;
/// Most constants that one name is followed through.
const CONSTANTS_MAX: usize = 64;
/// Longest excerpt in a message, in characters.
const EXCERPT_CHARS: usize = 80;

/// One thing that was found.
struct Found {
    rule: &'static Rule,
    message: String,
    at: usize,
}

/// What is known of a template before its statements are judged.
struct Scope {
    /// Names that the template itself defines.
    defined: HashSet<String>,
    /// Names that are only ever set to constant texts, and those texts.
    constants: HashMap<String, Vec<String>>,
    /// Names that hold what a message says.
    content: HashSet<String>,
    /// Names whose value depends on words in a message: name, trigger.
    triggered: HashMap<String, trigger::Trigger>,
    /// Names that hold the date.
    dates: HashSet<String>,
    /// How much may still be computed.
    fold_budget: Cell<u64>,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            defined: HashSet::new(),
            constants: HashMap::new(),
            content: HashSet::new(),
            triggered: HashMap::new(),
            dates: HashSet::new(),
            fold_budget: Cell::new(fold::FOLD_BUDGET),
        }
    }
}

/// One template being judged.
struct Judge {
    scope: Scope,
    found: Vec<Found>,
    /// It renders conversations: the rules about what it says hold.
    is_chat: bool,
}

impl Audit<'_> {
    /// Judges the chat template `text`, which stood at `place` (a key such as `chat_template`; empty: the file itself).
    pub(crate) fn template(&mut self, text: &str, place: &str) {
        let template = jinja::read(text);
        let judge = judged(&template, true);
        let tell = |audit: &mut Self| {
            if let Some(flaw) = &template.flaw {
                audit.note(
                    id::TPL_BROKEN,
                    &format!("the template cannot be parsed: {}", flaw.reason),
                    Some(flaw.at as u64),
                );
            }
            audit.found(judge);
        };
        if place.is_empty() { tell(self) } else { self.within(place, tell) }
    }

    /// Judges whatever stands in braces in `text`, which may be anything. `true`: it is a chat template.
    pub(crate) fn blocks(&mut self, text: &str) -> bool {
        if !text.contains("{{") && !text.contains("{%") {
            return false;
        }
        let mut rest = text;
        let mut is_chat = false;
        // A template is never longer than one part, but something else with braces in it may be.
        while !rest.is_empty() {
            let (part, next) = rest.split_at(rest.floor_char_boundary(jinja::BYTES_MAX.min(rest.len())));
            let template = jinja::read(part);
            let whole = part.len() == text.len();
            let speaks = template.blocks > 0 && text.contains("{%") && is_about_messages(&template.body);
            if speaks && !whole {
                self.note(id::TPL_BROKEN, "the template is longer than what is read at once", None);
            }
            is_chat |= speaks && whole && template.flaw.is_none();
            let judge = judged(&template, is_chat);
            self.found(judge);
            rest = next;
        }
        is_chat
    }

    fn found(&mut self, judge: Judge) {
        let mut found = judge.found;
        found.sort_by_key(|found| (found.rule.id, found.at));
        found.dedup_by_key(|found| (found.rule.id, found.at));
        for found in found {
            self.note(found.rule, &found.message, Some(found.at as u64));
        }
    }
}

fn judged(template: &Template, is_chat: bool) -> Judge {
    let mut judge = Judge { scope: Scope::of(&template.body), found: Vec::new(), is_chat };
    judge.reach(&template.body);
    if judge.scope.fold_budget.get() == 0 {
        judge.note(id::TPL_BROKEN, 0, "computes more than is followed".to_owned());
    }
    if is_chat {
        judge.triggers(&template.body);
        each_literal(&template.body, &mut |at, text| judge.literal(at, text));
    }
    judge
}

impl Judge {
    fn note(&mut self, rule: &'static Rule, at: usize, message: String) {
        if self.found.len() < FOUND_MAX {
            self.found.push(Found { rule, message, at });
        }
    }

    /// A text that the template can say.
    fn literal(&mut self, at: usize, text: &str) {
        if let Some(what) = words::instruction(text) {
            self.note(id::TPL_INSTRUCTION, at, format!("a literal {what}: `{}`", excerpt(text)));
        }
        if let Some(hidden) = hidden::in_prompt(text) {
            self.note(id::HID_TEXT, at, format!("a literal holds {hidden}"));
        }
        let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
        let words = text.split(|c| !is_letter(c)).filter(|word| word.len() >= ENCODED_BYTES_MIN);
        for word in words.take(ENCODED_MAX) {
            let decoded = nested::decode(word.as_bytes(), Encoding::Base64);
            if let Some(what) = std::str::from_utf8(&decoded).ok().and_then(words::instruction) {
                self.note(id::TPL_INSTRUCTION, at, format!("encoded in base 64, a literal {what}"));
            }
        }
        if text.len() > LITERAL_BYTES {
            self.note(id::TPL_LONG, at, format!("a literal of {} bytes", text.len()));
        }
        let is_blob = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_');
        if let Some(blob) = text.as_bytes().split(|byte| !is_blob(byte)).find(|run| run.len() >= BLOB_BYTES) {
            self.note(id::TPL_BLOB, at, format!("a literal holds {} encoded bytes", blob.len()));
        }
    }
}

impl Scope {
    fn of(body: &[Statement]) -> Self {
        let mut scope = Self::default();
        scope.define(body);
        // What a name depends on may be set further down; a few rounds reach through any real template.
        for _ in 0..4 {
            let before = (scope.content.len(), scope.triggered.len(), scope.dates.len());
            scope.depend(body, None);
            if before == (scope.content.len(), scope.triggered.len(), scope.dates.len()) {
                break;
            }
        }
        scope
    }

    fn define(&mut self, body: &[Statement]) {
        for statement in body {
            match statement {
                Statement::Set { targets, value, body } => {
                    for target in targets {
                        let Some(name) = name_of(target) else { continue };
                        let text = match value {
                            Some(value) => fold::text(value, self),
                            None => plain_body(body),
                        };
                        match text {
                            Some(text) => self.constant_of(&name, text),
                            None => drop(self.constants.entry(name.clone()).or_default()),
                        }
                        self.defined.insert(name);
                    }
                }
                Statement::For { targets, over, .. } => {
                    if let (Expression::List(items), [target]) = (&over.kind, targets.as_slice()) {
                        for text in items.iter().filter_map(|item| fold::text(item, self)).collect::<Vec<_>>() {
                            self.constant_of(target, text);
                        }
                    }
                    self.defined.extend(targets.iter().cloned());
                }
                Statement::Macro { name, parameters, .. } => {
                    self.defined.insert(name.clone());
                    self.defined.extend(parameters.iter().map(|(name, _)| name.clone()));
                }
                Statement::Reach { names, .. } => self.defined.extend(names.iter().cloned()),
                Statement::Group { tag, head, .. } if tag == "with" => {
                    self.defined.extend(head.iter().step_by(2).filter_map(name_of));
                }
                _ => {}
            }
            each_body(statement, &mut |body| self.define(body));
        }
    }

    fn constant_of(&mut self, name: &str, text: String) {
        let texts = self.constants.entry(name.to_owned()).or_default();
        if texts.len() < CONSTANTS_MAX {
            texts.push(text);
        }
    }

    /// The one constant that `name` stands for.
    fn constant(&self, name: &str) -> Option<&str> {
        match self.constants.get(name)?.as_slice() {
            [text] => Some(text),
            _ => None,
        }
    }
}

/// What a body writes if it is text alone: `{% set a %}text{% endset %}`.
fn plain_body(body: &[Statement]) -> Option<String> {
    let texts = body.iter().map(|statement| match statement {
        Statement::Literal { text, .. } => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Option<Vec<_>>>().map(|texts| texts.concat()).filter(|text| text.len() <= LITERAL_BYTES)
}

/// `a` and `a.b` as they are set.
fn name_of(target: &Node) -> Option<String> {
    match &target.kind {
        Expression::Name(name) => Some(name.clone()),
        Expression::Attribute(base, attribute) => match &base.kind {
            Expression::Name(name) => Some(format!("{name}.{attribute}")),
            _ => None,
        },
        _ => None,
    }
}

/// The bodies directly inside of `statement`.
fn each_body<'s>(statement: &'s Statement, take: &mut dyn FnMut(&'s [Statement])) {
    match statement {
        Statement::If(branches) => branches.iter().for_each(|(_, body)| take(body)),
        Statement::For { body, otherwise, .. } => {
            take(body);
            take(otherwise);
        }
        Statement::Set { body, .. } | Statement::Macro { body, .. } | Statement::Group { body, .. } => take(body),
        _ => {}
    }
}

/// The expressions directly in `statement`.
fn each_node<'s>(statement: &'s Statement, take: &mut dyn FnMut(&'s Node)) {
    match statement {
        Statement::Output(node) | Statement::Do(node) => take(node),
        Statement::If(branches) => branches.iter().filter_map(|(test, _)| test.as_ref()).for_each(take),
        Statement::For { over, only, .. } => {
            take(over);
            only.iter().for_each(take);
        }
        Statement::Set { targets, value, .. } => targets.iter().chain(value).for_each(take),
        Statement::Macro { parameters, call, .. } => {
            parameters.iter().filter_map(|(_, default)| default.as_ref()).chain(call).for_each(take);
        }
        Statement::Group { head, .. } => head.iter().for_each(take),
        Statement::Reach { target, .. } => take(target),
        _ => {}
    }
}

/// The expressions directly inside of `node`.
fn each_inner<'n>(node: &'n Node, take: &mut dyn FnMut(&'n Node)) {
    match &node.kind {
        Expression::Attribute(base, _) | Expression::Unary(_, base) => take(base),
        Expression::Item(left, right) | Expression::Binary(_, left, right) => {
            take(left);
            take(right);
        }
        Expression::Slice(base, parts) => {
            take(base);
            parts.iter().flatten().for_each(take);
        }
        Expression::Call(base, arguments) | Expression::Test(base, _, arguments) => {
            take(base);
            for argument in arguments {
                take(&argument.value);
            }
        }
        Expression::Filter(base, _, arguments) => {
            if let Some(base) = base {
                take(base);
            }
            for argument in arguments {
                take(&argument.value);
            }
        }
        Expression::Choice { then, test, otherwise } => {
            take(then);
            take(test);
            if let Some(otherwise) = otherwise {
                take(otherwise);
            }
        }
        Expression::List(items) => items.iter().for_each(take),
        Expression::Map(pairs) => pairs.iter().for_each(|(key, value)| {
            take(key);
            take(value);
        }),
        _ => {}
    }
}

/// Whether `node` or anything in it is such.
fn any(node: &Node, is_such: &mut dyn FnMut(&Node) -> bool) -> bool {
    if is_such(node) {
        return true;
    }
    let mut found = false;
    each_inner(node, &mut |inner| found = found || any(inner, is_such));
    found
}

/// A list of messages with roles or contents.
fn is_about_messages(body: &[Statement]) -> bool {
    fn look(body: &[Statement], seen: &mut (bool, bool)) {
        for statement in body {
            each_node(statement, &mut |node| {
                any(node, &mut |node| {
                    match &node.kind {
                        Expression::Name(name) => {
                            seen.0 |=
                                matches!(name.as_str(), "messages" | "message" | "conversation" | "conversations");
                        }
                        Expression::Attribute(_, key) | Expression::Text(key) => {
                            seen.1 |= matches!(key.as_str(), "role" | "content");
                        }
                        _ => {}
                    }
                    false
                });
            });
            each_body(statement, &mut |body| look(body, seen));
        }
    }
    let mut seen = (false, false);
    look(body, &mut seen);
    seen == (true, true)
}

/// Every text that rendering could write; those of error messages are not among them.
fn each_literal(body: &[Statement], take: &mut dyn FnMut(usize, &str)) {
    for statement in body {
        if let Statement::Literal { at, text } = statement {
            take(*at, text);
        }
        each_node(statement, &mut |node| each_text(node, take));
        each_body(statement, &mut |body| each_literal(body, take));
    }
}

fn each_text(node: &Node, take: &mut dyn FnMut(usize, &str)) {
    match &node.kind {
        Expression::Text(text) => take(node.at, text),
        Expression::Call(base, _) if matches!(&base.kind, Expression::Name(name) if name == "raise_exception") => {}
        // Pieces that are put together are one text.
        Expression::Binary("~" | "+", ..) => match fold::text(node, &Scope::default()) {
            Some(text) => take(node.at, &text),
            None => each_inner(node, &mut |inner| each_text(inner, take)),
        },
        _ => each_inner(node, &mut |inner| each_text(inner, take)),
    }
}

/// The beginning of `text` in one line.
fn excerpt(text: &str) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    let line = line.join(" ");
    let end = line.char_indices().nth(EXCERPT_CHARS).map_or(line.len(), |(at, _)| at);
    format!("{}{}", line.get(..end).unwrap_or_default(), if end < line.len() { "…" } else { "" })
}
