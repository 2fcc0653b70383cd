//! XML: what a parser of it would fetch or expand, and the models that are written in it.
//!
//! Any XML may declare entities; a parser that resolves them reads files and servers of the author's choice, or fills the
//! memory. Models in XML have no use for a document type at all. What single elements mean is the business of `pmml` and
//! `openvino`.

mod openvino;
mod pmml;

use std::{borrow::Cow, collections::BTreeSet};

use ringfence_format::xml::{self, Event};
use ringfence_schema::finding::printable;

use crate::{
    audit::Audit,
    rules::{Rule, id},
};

/// Bytes of a text that are read as XML.
const XML_BYTES_MAX: usize = 256 << 20;
/// Events that are visited.
const EVENTS_MAX: usize = 20_000_000;
/// Different findings of one kind that are listed.
const LISTED_MAX: usize = 20;

/// What is written in XML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Plain,
    /// SVG, which may hold scripts.
    Picture,
    Pmml,
    OpenVino,
    /// OpenVINO's list of plugins, or of kernels for custom layers.
    OpenVinoCode,
}

impl Dialect {
    fn is_model(self) -> bool {
        !matches!(self, Self::Plain | Self::Picture)
    }
}

impl Audit<'_> {
    /// Models that are written as text: XML, JSON, protocol buffers' text form.
    pub(crate) fn graph_in_text(&mut self, text: &[u8], is_json: bool) -> Option<&'static str> {
        if is_json {
            let words = [&b"base_code"[..], b"itemInfoEntries", b"arg_nodes"];
            if words.iter().any(|word| memchr::memmem::find(text, word).is_some())
                && let Ok(json) = serde_json::from_slice::<serde_json::Value>(text)
            {
                self.paddle_json(&json);
                self.core_ml_manifest(&json);
                self.mxnet_symbol(&json);
            }
            return None;
        }
        self.checkpoint_state(text);
        self.graph_as_text(text);
        self.core_ml_text(text);
        self.markup(text)
    }

    /// A text that begins like XML; `None` where it is none.
    pub(crate) fn markup(&mut self, text: &[u8]) -> Option<&'static str> {
        let text = text.get(..text.len().min(XML_BYTES_MAX)).unwrap_or_default();
        let start = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii_start();
        if !matches!(start, [b'<', ..] | [0, b'<', ..] | [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) {
            return None;
        }
        let text = decoded(text)?;
        let mut walk = Walk::default();
        for event in xml::read(&text).take(EVENTS_MAX) {
            match event {
                Ok((offset, event)) => self.markup_event(&mut walk, offset as u64, event),
                Err(error) => {
                    // Pages and templates are not XML; a model is, and so is what declares entities.
                    if walk.dialect.is_model() || walk.entities {
                        self.note(id::XML_BROKEN, &error.to_string(), Some(error.offset as u64));
                    }
                    walk.broken = true;
                }
            }
        }
        Some(match walk.dialect {
            Dialect::Plain | Dialect::Picture if walk.broken || walk.elements == 0 => return None,
            Dialect::Plain | Dialect::Picture => "xml",
            Dialect::Pmml => "pmml",
            Dialect::OpenVino => "openvino",
            Dialect::OpenVinoCode => "openvino-plugins",
        })
    }

    fn markup_event(&mut self, walk: &mut Walk, offset: u64, event: Event<'_>) {
        match event {
            Event::Doctype(text) => {
                walk.doctype = true;
                walk.entities = text.contains("<!ENTITY");
                self.document_type(text, offset);
            }
            Event::Instruction(text) => {
                if text.starts_with("xml-stylesheet") {
                    walk.stylesheet = Some(offset);
                }
                if let Some(encoding) = text.strip_prefix("xml ").and_then(odd_encoding) {
                    let message = format!("the encoding is `{}`", printable(encoding, 60));
                    self.note(id::XML_ENCODING, &message, Some(offset));
                }
            }
            Event::Start { name, attributes } => {
                walk.elements += 1;
                if walk.elements == 1 {
                    walk.dialect = dialect(name);
                    if walk.dialect.is_model() && walk.doctype {
                        self.note(id::XML_DOCTYPE, "a model with a document type", Some(0));
                    }
                    if let Some(sheet) = walk.stylesheet.filter(|_| walk.dialect.is_model()) {
                        self.note(id::XML_CODE, "a model with a style sheet", Some(sheet));
                    }
                }
                self.element(walk, offset, name, &attributes);
                walk.open.push(local(name).to_owned());
            }
            Event::End { .. } => {
                walk.open.pop();
            }
            Event::Text(text) => {
                if walk.dialect.is_model() {
                    let inside = walk.open.last().cloned().unwrap_or_default();
                    self.code_in(walk, &inside, &text, offset);
                }
            }
            Event::Comment(_) => {}
        }
    }

    /// Entities by kind: those that a parser fetches, and those that multiply.
    fn document_type(&mut self, text: &str, offset: u64) {
        let declarations = text.match_indices("<!ENTITY").take(10_000);
        let mut internal = 0_usize;
        for (at, _) in declarations {
            let declaration = text.get(at..).unwrap_or_default();
            let declaration = declaration.get(..declaration.find('>').unwrap_or(declaration.len())).unwrap_or_default();
            // The name comes first and may itself be anything; keywords stand before the first quote.
            let keywords = declaration.split(['"', '\'']).next().unwrap_or_default();
            if keywords.contains("SYSTEM") || keywords.contains("PUBLIC") {
                // The last quoted part is the address; before it may stand a public name.
                let quoted = declaration.split(['"', '\'']).skip(1).step_by(2);
                let target = quoted.filter(|part| !part.is_empty()).last().unwrap_or_default();
                let message = format!("an entity is read from `{}`", printable(target, 160));
                self.note(id::XML_EXTERNAL, &message, Some(offset + at as u64));
            } else {
                internal += 1;
            }
        }
        if internal > 0 {
            self.note(id::XML_ENTITY, &format!("{internal} entities are declared"), Some(offset));
        }
    }

    fn element(&mut self, walk: &mut Walk, offset: u64, name: &str, attributes: &[(&str, Cow<'_, str>)]) {
        let value = |key: &str| attributes.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_ref());
        if local(name) == "include" && name.contains(':') && value("href").is_some() {
            let message = format!("includes `{}`", printable(value("href").unwrap_or_default(), 160));
            self.note(id::XML_EXTERNAL, &message, Some(offset));
        }
        match walk.dialect {
            Dialect::Picture => {
                let is_handler = |(name, _): &&(&str, Cow<'_, str>)| name.len() > 4 && name.starts_with("on");
                let is_code = |(_, value): &&(&str, Cow<'_, str>)| {
                    value.trim_start().get(..11).is_some_and(|start| start.eq_ignore_ascii_case("javascript:"))
                };
                let attribute = attributes.iter().find(is_handler).or_else(|| attributes.iter().find(is_code));
                let script = (local(name) == "script").then_some("script");
                if let Some(what) = script.or(attribute.map(|(name, _)| *name)) {
                    let message = format!("a picture with `{}`", printable(what, 60));
                    self.listed(walk, id::XML_CODE, message, offset);
                }
            }
            Dialect::Plain => {}
            Dialect::Pmml => self.pmml_element(walk, offset, name, attributes),
            Dialect::OpenVino => self.openvino_element(walk, offset, name, attributes),
            Dialect::OpenVinoCode => {
                if let Some(library) = value("location").or_else(|| value("filename")) {
                    let message = format!("`{}` names `{}`", printable(name, 60), printable(library, 160));
                    self.note(id::GRF_NATIVE, &message, Some(offset));
                }
            }
        }
    }

    /// A finding that a document would otherwise repeat for each of its elements.
    fn listed(&mut self, walk: &mut Walk, rule: &'static Rule, message: String, offset: u64) {
        if walk.listed.len() < LISTED_MAX && walk.listed.insert((rule.id, message.clone())) {
            self.note(rule, &message, Some(offset));
        }
    }
}

/// What a walk remembers.
#[derive(Debug)]
struct Walk {
    dialect: Dialect,
    doctype: bool,
    entities: bool,
    stylesheet: Option<u64>,
    elements: u64,
    broken: bool,
    open: Vec<String>,
    listed: BTreeSet<(&'static str, String)>,
}

impl Default for Walk {
    fn default() -> Self {
        Self {
            dialect: Dialect::Plain,
            doctype: false,
            entities: false,
            stylesheet: None,
            elements: 0,
            broken: false,
            open: Vec::new(),
            listed: BTreeSet::new(),
        }
    }
}

/// The document's kind, by its first element.
fn dialect(name: &str) -> Dialect {
    match local(name) {
        "svg" => Dialect::Picture,
        "PMML" => Dialect::Pmml,
        "net" => Dialect::OpenVino,
        "ie" | "CustomLayer" => Dialect::OpenVinoCode,
        _ => Dialect::Plain,
    }
}

/// A name without its prefix.
fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

/// The declared encoding, where letters are not the bytes that a reader of ASCII sees.
fn odd_encoding(declaration: &str) -> Option<&str> {
    let value = declaration.split_once("encoding")?.1.trim_start_matches([' ', '=']);
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let name = value.get(1..)?.split(quote).next()?;
    let lower = name.to_ascii_lowercase();
    let plain = [
        "utf-8",
        "utf8",
        "utf-16",
        "us-ascii",
        "ascii",
        "iso-8859-",
        "latin",
        "windows-125",
        "cp125",
        "gb",
        "big5",
        "shift",
        "euc-",
        "koi8",
        "iso-10646-ucs-2",
        "utf16",
    ];
    (!plain.iter().any(|prefix| lower.starts_with(prefix))).then_some(name)
}

/// UTF-8, or UTF-16 with a mark or by its first character.
fn decoded(text: &[u8]) -> Option<String> {
    let wide = |little: bool, rest: &[u8]| {
        let units = rest
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| if little { u16::from_le_bytes(*pair) } else { u16::from_be_bytes(*pair) });
        char::decode_utf16(units).collect::<Result<String, _>>().ok()
    };
    match text {
        [0xff, 0xfe, rest @ ..] => wide(true, rest),
        [0xfe, 0xff, rest @ ..] => wide(false, rest),
        [b'<', 0, ..] => wide(true, text),
        [0, b'<', ..] => wide(false, text),
        // Anything else that begins like XML is in an encoding whose markup is ASCII: its letters matter less than its tags.
        _ => match std::str::from_utf8(text) {
            Ok(text) => Some(text.to_owned()),
            Err(_) if text.trim_ascii_start().starts_with(b"<") => Some(text.iter().copied().map(char::from).collect()),
            Err(_) => None,
        },
    }
}
