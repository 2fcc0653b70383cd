//! What a configuration says, read from its events: the keys that frameworks import, call, open or evaluate.
//!
//! [`Config`] is a [`Sink`] for JSON and YAML alike. It keeps the few fields of each open map that rules look at, judges a map
//! when it ends (`schema`), and gathers what other readers take over: templates and cells of notebooks.
//!
//! What holds: memory is bounded by the depth of the document and by named constants; a map is judged however late its
//! fields come, and by the first and the last of two equal keys.

use std::collections::{HashMap, HashSet};

use ringfence_format::document::{Event, Sink};

use super::hidden;
use crate::{
    audit::Audit,
    rules::{Rule, id},
};

mod keys;
mod names;
mod schema;
mod values;

use keys::{ABOVE, DECIDING, KEPT, SUM_WORDS};
use names::{Harm, foreign_object, judge};

/// Most findings of one document, and of one rule in it.
const DRAFTS_MAX: usize = 200;
const DRAFTS_OF_RULE_MAX: usize = 12;
/// Most fields of one map that are kept, and pairs, and texts of a list.
const FIELDS_MAX: usize = 64;
const PAIRS_MAX: usize = 256;
const TEXTS_MAX: usize = 3;
/// Longest value of a field that is kept, in bytes.
const FIELD_BYTES_MAX: usize = 4 << 10;
/// Longest key that is kept, in bytes.
const KEY_BYTES_MAX: usize = 256;
/// Most templates and texts with braces, and their bytes together.
const TEMPLATES_MAX: usize = 256;
const TEMPLATE_BYTES_MAX: usize = 16 << 20;
/// Most cells of a notebook, and bytes of all cells and outputs together.
const CELLS_MAX: usize = 4_000;
const CELL_BYTES_MAX: usize = 16 << 20;

/// Most texts that are decoded, and how encoded pickles begin: with the bytes that every pickler writes first.
const ENCODED_MAX: usize = 64;
const ENCODED_STARTS: [&str; 9] = ["gASV", "gAWV", "gAR9", "gARj", "gANj", "gAN9", "gAJj", "gAJ9", "800495"];

/// Longest value that can be a command, in bytes.
const COMMAND_BYTES_MAX: usize = 1 << 10;
/// Most values that references may name, and most references to them.
const SCALARS_MAX: usize = 4_096;
const REFERENCES_MAX: usize = 256;

/// One finding before it is told.
pub(crate) struct Draft {
    pub(super) rule: &'static Rule,
    pub(super) message: String,
    pub(super) at: u64,
}

/// A field of a map.
struct Field {
    key: String,
    value: String,
    at: u64,
}

/// An open map or list.
#[derive(Default)]
struct Frame {
    /// The key under which it stands; of a list's elements, the list's key.
    key: String,
    is_map: bool,
    fields: Vec<Field>,
    /// Lists of exactly two texts: key, texts.
    pairs: Vec<(String, [String; 2], u64)>,
    /// First texts of a list, and how many elements it has.
    texts: Vec<String>,
    elements: usize,
    /// All texts of a list that are lines of one text.
    joined: Option<String>,
    /// Deciding keys seen.
    seen: u32,
    /// Which of [`ABOVE`] it stands under, itself included.
    under: u32,
}

/// A cell of a notebook or one of its outputs.
pub(super) struct Cell {
    pub(super) index: usize,
    pub(super) text: String,
    pub(super) is_code: bool,
}

/// Reads a document's events.
#[derive(Default)]
pub(crate) struct Config {
    frames: Vec<Frame>,
    key: String,
    /// A tag that evaluates the text that comes next, and where it stands.
    evaluates: Option<u64>,
    pub(super) drafts: Vec<Draft>,
    pub(super) templates: Vec<(String, String, bool)>,
    template_bytes: usize,
    known_templates: HashSet<u64>,
    pub(super) cells: Vec<Cell>,
    /// Texts that begin like an encoded pickle, and where they stand.
    encoded: Vec<(String, u64)>,
    cell_bytes: usize,
    cell_count: usize,
    /// Values by their path from the root, and values of called keys that refer to them: key, value, place.
    scalars: HashMap<String, String>,
    references: Vec<(String, String, u64)>,
}

impl Sink for Config {
    fn event(&mut self, event: Event<'_>, at: u64) {
        match event {
            Event::Text { text, .. } => self.evaluated(Some(text)),
            Event::ListStart | Event::Plain(_) => {}
            _ => self.evaluated(None),
        }
        match event {
            Event::MapStart | Event::ListStart => self.start(event == Event::MapStart, at),
            Event::MapEnd | Event::ListEnd => self.end(at),
            Event::Key(key) => self.key(key, at),
            Event::Text { text, cut } => {
                self.element();
                if cut && (self.key.ends_with("chat_template") || self.is_under("chat_template")) {
                    self.note(id::TPL_BROKEN, "the template is longer than what is read".to_owned(), at);
                }
                self.text(text, at);
            }
            Event::Plain(plain) => {
                self.element();
                self.plain(plain, at);
            }
            Event::Tag(tag) => self.tagged(tag, at),
            Event::Alias => self.element(),
            Event::Next => self.frames.clear(),
            _ => {}
        }
    }
}

impl Config {
    pub(super) fn note(&mut self, rule: &'static Rule, message: String, at: u64) {
        let same = self.drafts.iter().filter(|draft| draft.rule == rule).count();
        // The worst rules are never crowded out by the mild ones.
        if same < DRAFTS_OF_RULE_MAX && self.drafts.len() < DRAFTS_MAX {
            self.drafts.push(Draft { rule, message, at });
        }
    }

    /// Behind a tag that evaluates: sums and lists of numbers, as some vision libraries write them, are no commands.
    fn evaluated(&mut self, text: Option<&str>) {
        let Some(at) = self.evaluates.take() else { return };
        let is_sum = text.is_some_and(|text| {
            let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
            text.is_ascii()
                && text
                    .split(|c| !is_part(c))
                    .all(|word| word.is_empty() || SUM_WORDS.contains(&word) || word.parse::<f64>().is_ok())
        });
        let rule = if is_sum { id::TXT_OBJECT } else { id::CFG_CALL };
        self.note(rule, "the tag `python/object/apply` calls `eval`".to_owned(), at);
    }

    fn element(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            frame.elements += 1;
        }
    }

    fn start(&mut self, is_map: bool, _at: u64) {
        self.element();
        let in_list = self.frames.last().is_some_and(|frame| !frame.is_map);
        if in_list && let Some(frame) = self.frames.last() {
            let key = frame.key.clone();
            self.key.clone_from(&key);
        }
        let key = std::mem::take(&mut self.key);
        let joins = !is_map
            && matches!(
                key.as_str(),
                "source"
                    | "input"
                    | "text/html"
                    | "application/javascript"
                    | "image/svg+xml"
                    | "template"
                    | "chat_template"
            );
        let above = self.frames.last().map_or(0, |frame| frame.under);
        let under = above | ABOVE.iter().position(|name| *name == key).map_or(0, |bit| 1 << bit);
        self.frames.push(Frame { key, is_map, joined: joins.then(String::new), under, ..Frame::default() });
    }

    fn end(&mut self, at: u64) {
        let Some(frame) = self.frames.pop() else { return };
        if frame.is_map {
            self.judge(&frame, at);
            return;
        }
        if !self.in_map() {
            return;
        }
        if let Some(joined) = frame.joined {
            if frame.key.ends_with("template") {
                // Lines of one template.
                self.key = frame.key;
                self.braces(&joined, at);
            } else if let Some(parent) = self.frames.last_mut().filter(|parent| parent.fields.len() < FIELDS_MAX)
                && KEPT.contains(&frame.key.as_str())
            {
                parent.fields.push(Field { key: frame.key, value: joined, at });
            }
        } else if let (2, [first, second]) = (frame.elements, frame.texts.as_slice())
            && let Some(parent) = self.frames.last_mut().filter(|parent| parent.pairs.len() < PAIRS_MAX)
        {
            parent.pairs.push((frame.key, [first.clone(), second.clone()], at));
        }
    }

    fn key(&mut self, key: &str, at: u64) {
        let kept = key.floor_char_boundary(KEY_BYTES_MAX.min(key.len()));
        self.key.clear();
        self.key.push_str(key.get(..kept).unwrap_or_default());
        if !key.is_ascii() && hidden::is_hidden_token(key) {
            self.hidden_token(key, at);
        }
        if let Some(bit) = DECIDING.iter().position(|deciding| *deciding == key)
            && let Some(frame) = self.frames.last_mut()
        {
            let is_double = frame.seen & 1 << bit != 0;
            frame.seen |= 1 << bit;
            if is_double {
                self.note(id::CFG_KEY, format!("the key `{key}` stands twice in one map"), at);
            }
        }
    }

    fn hidden_token(&mut self, text: &str, at: u64) {
        match hidden::in_line(text) {
            Some(what) => self.note(id::HID_TEXT, format!("a text holds {what}"), at),
            None if text.chars().count() <= 16 => {
                self.note(id::HID_TOKEN, "a token of invisible or turning characters".to_owned(), at);
            }
            None => {}
        }
    }

    fn tagged(&mut self, tag: &str, at: u64) {
        if let Some(kind) = foreign_object(tag) {
            self.note(id::TXT_OBJECT, format!("the tag `{tag}` makes an object of {kind}"), at);
        }
        let python = tag.find("python/").map(|start| tag.get(start + 7..).unwrap_or_default());
        let Some(rest) = python else { return };
        let Some((kind, name)) = rest.split_once(':') else { return };
        // `!!python/tuple` and the plain types make values; the others import or call.
        let (module, attribute) = name.rsplit_once('.').unwrap_or(("builtins", name));
        let is_module = kind == "module";
        let (module, attribute) = if is_module { (name, "*") } else { (module, attribute) };
        // Settings of documentation tools name the functions of these plug-ins so.
        let is_plugin =
            ["materialx.", "material.extensions.", "pymdownx."].iter().any(|plugin| name.starts_with(plugin));
        match judge(module, attribute) {
            Harm::Runs if name == "eval" && kind == "object/apply" => self.evaluates = Some(at),
            Harm::Runs => self.note(id::CFG_CALL, format!("the tag `python/{kind}` calls `{name}`"), at),
            _ if kind == "name" && is_plugin => {
                self.note(id::CFG_NAMES, format!("the tag `python/{kind}` names `{name}`"), at);
            }
            _ => self.note(id::TXT_OBJECT, format!("the tag `python/{kind}` makes `{name}`"), at),
        }
    }

    fn plain(&mut self, plain: &str, at: u64) {
        if self.key == "trust_remote_code" && plain.eq_ignore_ascii_case("true") && self.in_map() {
            self.note(id::TXT_REMOTE_CODE, "`trust_remote_code` is switched on".to_owned(), at);
        }
        if matches!(self.key.as_str(), "special" | "single_word" | "lstrip" | "idx") {
            self.keep(plain, at);
        }
    }

    fn in_map(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.is_map)
    }

    /// Whether one of the maps or lists around stands under `key`, one of [`ABOVE`].
    fn is_under(&self, key: &str) -> bool {
        let bit = ABOVE.iter().position(|above| *above == key);
        bit.zip(self.frames.last()).is_some_and(|(bit, frame)| frame.under & 1 << bit != 0)
    }

    fn keep(&mut self, text: &str, at: u64) {
        let Some(frame) = self.frames.last_mut() else { return };
        if !frame.is_map || !KEPT.contains(&self.key.as_str()) || frame.fields.len() >= FIELDS_MAX {
            return;
        }
        let most = if matches!(self.key.as_str(), "source" | "input" | "text/html" | "content") {
            1 << 20
        } else {
            FIELD_BYTES_MAX
        };
        let end = text.floor_char_boundary(most.min(text.len()));
        frame.fields.push(Field { key: self.key.clone(), value: text.get(..end).unwrap_or_default().to_owned(), at });
    }

    fn text(&mut self, text: &str, at: u64) {
        if !text.is_ascii() {
            self.hidden_value(text, at);
        }
        if self.encoded.len() < ENCODED_MAX && ENCODED_STARTS.iter().any(|start| text.starts_with(start)) {
            self.encoded.push((text.to_owned(), at));
        }
        let is_line = self.frames.last().is_some_and(|frame| frame.joined.is_some());
        if !is_line && memchr::memchr(b'{', text.as_bytes()).is_some() {
            self.braces(text, at);
        }
        let Some(frame) = self.frames.last_mut() else { return };
        if !frame.is_map {
            self.in_list(text, at);
            return;
        }
        self.keep(text, at);
        self.scalar(text);
        self.named(text, at);
    }

    /// Remembers a value that `${a.b}` elsewhere may stand for.
    fn scalar(&mut self, text: &str) {
        let is_name =
            |text: &str| !text.is_empty() && text.len() <= KEY_BYTES_MAX && !text.contains(char::is_whitespace);
        if self.scalars.len() >= SCALARS_MAX || !is_name(text) || self.frames.iter().any(|frame| !frame.is_map) {
            return;
        }
        let mut path: Vec<&str> = self.frames.iter().skip(1).map(|frame| frame.key.as_str()).collect();
        path.push(&self.key);
        self.scalars.insert(path.join("."), text.to_owned());
    }

    /// What called keys name once their references are put in (OmegaConf, "Variable interpolation"; one step).
    pub(super) fn resolve(&mut self) {
        for (key, text, at) in std::mem::take(&mut self.references) {
            let mut resolved = String::new();
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once("${") {
                let Some((name, behind)) = after.split_once('}') else { break };
                resolved.push_str(before);
                resolved.push_str(self.scalars.get(name.trim_start_matches('.')).map_or("", String::as_str));
                rest = behind;
            }
            resolved.push_str(rest);
            self.called(&key, &resolved, at);
        }
    }
}

impl Audit<'_> {
    /// Tells what `config` found, and judges the templates and cells in it.
    pub(crate) fn configuration(&mut self, mut config: Config) {
        config.evaluated(None);
        config.resolve();
        for draft in &config.drafts {
            self.note(draft.rule, &draft.message, Some(draft.at));
        }
        for (place, text, is_named) in &config.templates {
            if *is_named {
                self.template(text, place);
            } else {
                self.within(place, |audit| audit.blocks(text));
            }
        }
        for (text, at) in &config.encoded {
            self.within(&format!("text@{at:#x}"), |audit| audit.encoded(text.as_bytes()));
        }
        self.cells(&config.cells);
    }
}
