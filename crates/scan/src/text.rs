//! Texts: what they are, and what somebody would run because of them.
//!
//! [`Audit::text`] reads every text once to its end for its encoding, secrets and hidden characters (`survey`), and then gives
//! it to the reader of what it is: JSON and YAML as events (`config`), chat templates (`crate::template`), Python (`code`), lists
//! of packages (`packages`). Prose, tables, vocabularies and licences are just text.
//!
//! What holds: a JSON of any length is read to its end in bounded memory. Other texts are judged in windows of
//! [`WINDOW_BYTES`]; a longer one of which any part is more than prose or a table is `incomplete`.
//!
//! Absent on purpose: XML, which has readers of its own.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Cursor, SeekFrom},
};

use ringfence_format::document::{DocumentError, json, yaml};

use crate::{
    audit::Audit,
    pickle::nested,
    rules::id,
    source::{Source, bytes_at, length},
};

pub(crate) mod code;
mod config;
mod foreign;
pub(crate) mod hidden;
pub(crate) mod links;
mod notebook;
mod packages;
mod secrets;
pub(crate) mod shell;
mod survey;

use config::Config;
use survey::Encoding;

/// How much of a text that is not JSON is judged at once, in bytes.
const WINDOW_BYTES: u64 = 16 << 20;
/// How much of a text is read as a model, in bytes.
const MODEL_BYTES_MAX: u64 = 256 << 20;
/// How much of a text may be blank before it says what it is, in bytes.
const HEAD_BYTES: u64 = 64 << 10;
/// Values that aliases stand for beyond which a document is a bomb.
const EXPANDED_MAX: u64 = 5_000_000;
/// How far before a tag its key is looked for, in bytes.
const NEAR_BYTES: usize = 200;
/// Longest piece of text inside of another content that is read, in bytes.
const PIECE_BYTES_MAX: usize = 4 << 20;
/// Shortest such piece, in bytes.
const PIECE_BYTES_MIN: usize = 16;

impl Audit<'_> {
    /// `None`: the content is no text.
    pub(crate) fn text(&mut self, source: &mut dyn Source) -> io::Result<Option<&'static str>> {
        let Some(survey) = survey::survey(source)? else { return Ok(None) };
        self.tell_survey(&survey);
        if survey.encoding != Encoding::Utf8 {
            let bytes = bytes_at(source, 0, survey::WIDE_BYTES_MAX)?;
            let text = survey::decoded(&bytes, survey.encoding);
            return self.plain_text(&mut Cursor::new(text.into_bytes())).map(Some);
        }
        self.plain_text(source).map(Some)
    }

    /// A text in UTF-8.
    fn plain_text(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        let head = bytes_at(source, 0, HEAD_BYTES)?;
        let start = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head).trim_ascii_start();
        let json = match start.first() {
            Some(b'{' | b'[' | b'"') => self.json(source)?,
            _ => None,
        };
        // Markup of the desktop may be a program, which a reader of models would not see.
        if start.starts_with(b"<")
            && let Some(format) = self.foreign_program(&String::from_utf8_lossy(&head))
        {
            return Ok(format);
        }
        if let Some(format) = self.model_in_text(source, json.is_some())?.or(json) {
            return Ok(format);
        }
        if length(source)? > WINDOW_BYTES {
            return self.long_text(source);
        }
        let bytes = bytes_at(source, 0, WINDOW_BYTES)?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        self.encoded(bytes.trim_ascii());
        Ok(self.judge_text(text))
    }

    /// Models that are written as text: JSON as loaders read it, which is more than strict readers take, XML, text protocol
    /// buffers.
    fn model_in_text(&mut self, source: &mut dyn Source, is_json: bool) -> io::Result<Option<&'static str>> {
        let bytes = bytes_at(source, 0, MODEL_BYTES_MAX)?;
        if matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'[' | 0xef)) {
            if self.keras_json(&bytes) {
                return Ok(Some("keras-json"));
            }
            if self.xgboost_json(&bytes) {
                return Ok(Some("xgboost-json"));
            }
        }
        Ok(self.graph_in_text(&bytes, is_json))
    }

    /// JSON in UTF-16 or UTF-32 without a mark, which Python reads like any other. `None`: the content is no such text.
    pub(crate) fn wide_json(&mut self, source: &mut dyn Source) -> io::Result<Option<&'static str>> {
        let head = bytes_at(source, 0, 4)?;
        if !matches!(head.as_slice(), [b'{' | b'[', 0, ..] | [0, b'{' | b'[', ..] | [0, 0, 0, b'{' | b'[']) {
            return Ok(None);
        }
        let bytes = bytes_at(source, 0, WINDOW_BYTES)?;
        let Some(text) = ringfence_format::json::text_of(&bytes) else { return Ok(None) };
        if ringfence_format::json::parse(&text).is_err() {
            return Ok(None);
        }
        self.plain_text(&mut Cursor::new(text.into_owned().into_bytes())).map(Some)
    }

    /// A text that is longer than one window: each is judged by itself. Tables and prose are nothing in any of them; what is
    /// code or configuration in one may mean something else as a whole.
    fn long_text(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        let size = length(source)?;
        let (mut at, mut format) = (0, "text");
        while at < size {
            let mut bytes = bytes_at(source, at, WINDOW_BYTES)?;
            let is_last = at + bytes.len() as u64 >= size;
            if let Some(end) = memchr::memrchr(b'\n', &bytes).filter(|_| !is_last) {
                bytes.truncate(end + 1);
            }
            if bytes.is_empty() {
                break;
            }
            let text = String::from_utf8_lossy(&bytes);
            let found = self.judge_text(&text);
            let is_padding = at == 0 && code::is_only_padding(&text);
            if is_padding || found != "text" && format == "text" {
                format = found;
                let what =
                    if is_padding { "it begins with nothing but comments" } else { "a part of it reads like code" };
                self.note(id::PYS_LIMIT, &format!("the text has {size} bytes, and {what}"), Some(at));
            }
            at += bytes.len() as u64;
        }
        Ok(format)
    }

    /// `None`: the text is no JSON. What was found before it broke off counts all the same.
    fn json(&mut self, source: &mut dyn Source) -> io::Result<Option<&'static str>> {
        source.seek(SeekFrom::Start(0))?;
        let mut config = Config::default();
        let result = json::read(&mut crate::source::AsRead(source), &mut config);
        let format = match result {
            Ok(ending) if ending.values > 1 => Some("jsonl"),
            Ok(_) => Some("json"),
            Err(DocumentError::TooDeep { at }) => {
                config.note(id::CFG_DEPTH, "nests deeper than any reader can follow".to_owned(), at);
                Some("json")
            }
            Err(DocumentError::Io(error)) => return Err(error),
            Err(_) => None,
        };
        self.configuration(config);
        Ok(format)
    }

    /// What a text that is no JSON is, and what it does.
    fn judge_text(&mut self, text: &str) -> &'static str {
        if self.startup_lines(text) {
            return "pth";
        }
        if let Some(format) = self.foreign_program(text) {
            return format;
        }
        // Source code holds templates in its texts; a template is never source code.
        if let Some(format) = self.source_code(text) {
            return format;
        }
        if self.blocks(text) {
            return "jinja";
        }
        if let Some(format) = self.requirements(text).or_else(|| self.project(text)).or_else(|| self.properties(text)) {
            return format;
        }
        self.yaml(text).unwrap_or("text")
    }

    /// `None`: the text is no YAML that holds a map or a list.
    fn yaml(&mut self, text: &str) -> Option<&'static str> {
        if !looks_like_yaml(text) {
            return None;
        }
        let mut config = Config::default();
        let (ending, result) = yaml::read(text, &mut config);
        match result {
            // A list or value alone is no configuration, unless its tags make something.
            Ok(()) if ending.maps == 0 => {
                let makes = !config.drafts.is_empty();
                self.configuration(config);
                return makes.then_some("yaml");
            }
            Ok(()) => {}
            Err(DocumentError::TooDeep { at }) => {
                config.note(id::CFG_DEPTH, "nests deeper than any reader can follow".to_owned(), at);
            }
            Err(_) => {
                // Another reader may be more lenient: tags count wherever a value may stand. Prose that shows YAML in
                // fences is no YAML.
                if let Some((tag, at)) = stray_tag(text).filter(|_| !text.contains("```")) {
                    config.note(id::TXT_OBJECT, format!("the text holds the tag `{tag}`"), at);
                }
                let is_document = ending.documents > 0 && !config.drafts.is_empty() && !text.contains("```");
                if is_document {
                    self.configuration(config);
                }
                return None;
            }
        }
        if ending.expanded > EXPANDED_MAX && ending.expanded / 50 > ending.written {
            config.note(id::CFG_DEPTH, format!("{} values stand for {}", ending.written, ending.expanded), 0);
        }
        self.configuration(config);
        Some("yaml")
    }

    /// A text that is nothing but an encoded pickle.
    pub(crate) fn encoded(&mut self, text: &[u8]) {
        let Some((_, encoding)) = nested::candidate(text) else { return };
        let bytes = nested::decode(text, encoding);
        self.carve_bytes(bytes.get(..bytes.len().min(64)).unwrap_or_default(), &mut Cursor::new(&bytes));
    }

    /// Texts inside of another content: metadata, attributes of a graph, strings of a format that is not read yet.
    pub(crate) fn text_rules(&mut self, bytes: &[u8]) {
        let is_text = |byte: &u8| *byte >= 32 && *byte != 127 || matches!(byte, b'\n' | b'\t' | b'\r');
        for piece in bytes.split(|byte| !is_text(byte)).filter(|piece| piece.len() >= PIECE_BYTES_MIN) {
            let piece = piece.get(..piece.len().min(PIECE_BYTES_MAX)).unwrap_or_default();
            let text = String::from_utf8_lossy(piece);
            // A document may begin behind a few letters that belong to the content around it.
            let start = text.find(['{', '[']).filter(|start| *start < 8);
            if let Some(start) = start {
                let mut config = Config::default();
                let mut rest = text.get(start..).unwrap_or_default().as_bytes();
                let _ = json::read(&mut rest, &mut config);
                self.configuration(config);
            }
            self.blocks(&text);
            if let Some((tag, _)) = stray_tag(&text) {
                self.note(id::TXT_OBJECT, &format!("a text holds the tag `{tag}`"), None);
            }
        }
    }
}

/// The first line that says something begins like YAML.
fn looks_like_yaml(text: &str) -> bool {
    let mut lines =
        text.lines().take(10_000).map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(first) = lines.next() else { return false };
    if first.starts_with(['%', '!', '&', '{', '[', '?', '|', '>'])
        || first.starts_with("---")
        || first.starts_with("- ")
    {
        return true;
    }
    let key = first.split_once(':').filter(|(_, rest)| rest.is_empty() || rest.starts_with([' ', '\t']));
    key.is_some_and(|(key, _)| key.len() < 200)
}

/// A tag that names Python where a value may stand.
fn stray_tag(text: &str) -> Option<(String, u64)> {
    let found = ["!!python/", "!python/", "tag:yaml.org,2002:python/"].iter().find_map(|tag| {
        memchr::memmem::find_iter(text.as_bytes(), tag.as_bytes()).find(|at| {
            let near = text.floor_char_boundary(at.saturating_sub(NEAR_BYTES));
            let line = text.get(near..*at).unwrap_or_default().rsplit('\n').next().unwrap_or_default().trim_end();
            let line = line.strip_suffix("!<").unwrap_or(line).trim_end();
            line.is_empty()
                || line.ends_with([':', '-', '?', '[', ',', '{'])
                || line.rsplit(' ').next().is_some_and(|word| word.starts_with('&'))
        })
    })?;
    let tag = text.get(found..)?.split([' ', '\n', '\r', ',', ']', '}', '>']).next()?;
    // Types of plain values make nothing.
    let is_plain = [
        "/tuple", "/str", "/unicode", "/int", "/long", "/float", "/complex", "/bool", "/none", "/list", "/dict",
        "/bytes",
    ]
    .iter()
    .any(|plain| tag.ends_with(plain));
    (!is_plain && tag.contains(':')).then(|| (tag.to_owned(), found as u64))
}

/// A number for a text, to know it again within one scan.
fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
