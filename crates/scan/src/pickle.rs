//! Pickles: what a stream would do if somebody loaded it.
//!
//! * [`follow`] runs the abstract `machine` over one pickle and returns a [`Report`]; nothing is ever executed.
//! * `names` knows what is allowed and what harms; `call` judges imports, calls and changes; `joblib` steps over raw
//!   arrays inside the stream; `nested` finds pickles inside texts and byte strings.
//!
//! What happened before a stream breaks off still counts: drafts are made on the way, not at the end.

use ringfence_schema::finding::printable;

mod argument;
mod call;
mod evaluate;
mod heap;
mod input;
mod joblib;
mod machine;
mod memo;
pub(crate) mod names;
pub(crate) mod nested;
mod number;
mod opcode;
mod stack;
mod stride;

pub(crate) use nested::Encoding;

use crate::{
    rules::{Rule, id},
    source::Source,
};
use heap::{Value, Wide};
use machine::Machine;
use names::Standing;

/// Most names that one stream may import.
const NAMES_MAX: usize = 100_000;
/// Longest module or attribute name that is read, in bytes.
const NAME_BYTES_MAX: usize = 4_096;
/// Most storages of one model.
const STORAGES_MAX: usize = 1_000_000;
/// Most drafts of one stream.
const DRAFTS_MAX: usize = 300;
/// Most nested candidates of one stream.
const NESTED_MAX: usize = 64;
/// Bytes that tell the start of a pickle.
const START_BYTES: usize = 16;
/// Longest description of a value, in characters.
const DESCRIPTION_CHARS_MAX: usize = 160;
/// Deepest description of a value.
const DESCRIPTION_DEPTH_MAX: u32 = 3;

/// A finding before it has a place in a file.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) rule: &'static Rule,
    pub(crate) message: String,
    pub(crate) offset: u64,
    pub(crate) evidence: Vec<String>,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With STOP.
    Stop,
    /// Where CPython would stop with an error.
    Broken { offset: u64, reason: &'static str },
    /// At a limit of this reader.
    Limit { offset: u64, reason: &'static str },
}

/// A part of the stream that may be a pickle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nested {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) encoding: Encoding,
}

/// A torch storage that the stream refers to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Storage {
    /// Its length, where the type is known.
    pub(crate) bytes: Option<u64>,
}

/// What one pickle, or several in a row, do.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) end: End,
    /// Byte behind the last one that was read.
    pub(crate) stop: u64,
    pub(crate) opcodes: u64,
    pub(crate) calls: u64,
    pub(crate) drafts: Vec<Draft>,
    pub(crate) overflow: bool,
    pub(crate) nested: Vec<Nested>,
    pub(crate) storages: std::collections::HashMap<String, Storage>,
    /// Names with plain identifiers that were imported.
    pub(crate) plain_names: usize,
    /// Whether a known gadget was named.
    pub(crate) gadget: bool,
}

/// How frames are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// They mean nothing, as for whoever has the whole stream in memory.
    Whole,
    /// As CPython's C unpickler reads them from a file: into a buffer whose rest is lost to what crosses its end.
    Buffered,
}

/// What follows a joblib array wrapper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrays {
    /// An array, as for joblib's own unpickler.
    Joblib,
    /// The next opcode, as for every other unpickler.
    Opcodes,
}

/// What stood in joblib's arrays so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    Nothing,
    Numbers,
    /// Pickles of their own.
    Objects,
}

/// Follows the pickle that begins at `start` of `source`, and those that follow it at once, `most` together.
pub(crate) fn follow(source: &mut dyn Source, start: u64, script: bool, most: u32) -> Report {
    let mut machine = Machine::new(source, start, script);
    let end = machine.row(most);
    let stop = machine.input.offset();
    if machine.frames_matter {
        machine.framing = Framing::Buffered;
        machine.input.go_to(start);
        machine.row(most);
    }
    if machine.seen > Seen::Nothing {
        machine.read_without_arrays(start, most);
    }
    Report {
        end,
        stop,
        opcodes: machine.opcodes,
        calls: machine.calls,
        plain_names: machine.names.iter().filter(|name| name.is_plain()).count(),
        gadget: machine.names.iter().any(|name| matches!(name.standing, Standing::Gadget(_))),
        overflow: machine.overflow,
        nested: machine.nested,
        storages: machine.storages,
        drafts: machine.drafts,
    }
}

/// What is known of a stream without judging it: for comparison with Python's own unpicklers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Names {
    /// Every module and name that the stream resolves, in the order of their first appearance.
    pub names: Vec<(String, String)>,
    /// Whether it names something that is only known while it is loaded, or by the loader.
    pub computed: bool,
    /// Whether Python's unpicklers are said to read it differently.
    pub diverges: bool,
    /// Where each pickle that ends with STOP ends.
    pub stops: Vec<u64>,
    /// Why the last one did not end.
    pub broken: Option<&'static str>,
}

/// The names in a stream of pickles, one behind the other until one breaks off or `most` were read.
pub fn names_in(stream: &[u8], most: u32) -> Names {
    let mut found = Names { names: Vec::new(), computed: false, diverges: false, stops: Vec::new(), broken: None };
    let mut source = std::io::Cursor::new(stream);
    let mut machine = Machine::new(&mut source, 0, false);
    machine.arrays = Arrays::Opcodes;
    for framing in [Framing::Whole, Framing::Buffered] {
        machine.framing = framing;
        machine.input.go_to(0);
        for _ in 0..most {
            if machine.input.remaining() == 0 {
                break;
            }
            match machine.run() {
                End::Stop if framing == Framing::Whole => found.stops.push(machine.input.offset()),
                End::Stop => {}
                End::Broken { reason, .. } | End::Limit { reason, .. } => {
                    found.broken.get_or_insert(reason);
                    break;
                }
            }
        }
        if !machine.frames_matter {
            break;
        }
    }
    found.computed = machine.unresolved;
    found.diverges = machine.drafts.iter().any(|draft| draft.rule == id::PKL_DIVERGENCE);
    found.names = machine.names.into_iter().map(|name| (name.module, name.attribute)).collect();
    found
}

/// A list with a limit.
trait PushBounded {
    fn push_bounded(&mut self, nested: Nested);
}

impl PushBounded for Vec<Nested> {
    fn push_bounded(&mut self, nested: Nested) {
        // What the stream itself loads is always kept; guesses are not worth more than the limit.
        let known = self.iter().rev().any(|other| (other.offset, other.encoding) == (nested.offset, nested.encoding));
        if known {
            return;
        }
        if self.len() < NESTED_MAX || nested.encoding == Encoding::Loaded && self.len() < 4 * NESTED_MAX {
            self.push(nested);
        }
    }
}

impl Machine<'_> {
    /// Reads the row from `start` as an unpickler that knows nothing of joblib's arrays.
    ///
    /// In an ordinary file that breaks off in the first array. It only counts if it names what the other reading does
    /// not, which the bytes of numbers do not by chance. Pickles of object arrays may, as they take names from another
    /// memo here; there it must be a gadget.
    fn read_without_arrays(&mut self, start: u64, most: u32) {
        let (names, drafts) = (self.names.len(), self.drafts.len());
        let nested = self.nested.len();
        let (framing, overflow) = (self.framing, self.overflow);
        self.arrays = Arrays::Opcodes;
        self.framing = Framing::Whole;
        self.input.go_to(start);
        self.row(most);
        (self.arrays, self.framing) = (Arrays::Joblib, framing);
        let counts = |name: &machine::Name| match self.seen {
            Seen::Objects => matches!(name.standing, Standing::Gadget(_)),
            Seen::Nothing | Seen::Numbers => name.is_plain(),
        };
        if self.names.get(names..).is_some_and(|new| new.iter().any(counts)) {
            let message = "opcodes stand where joblib reads an array".to_owned();
            self.draft(id::PKL_DIVERGENCE, "joblib", message);
            return;
        }
        self.names.truncate(names);
        self.drafts.truncate(drafts);
        self.nested.truncate(nested);
        self.overflow = overflow;
    }

    /// Whether the next bytes are the start of a pickle of protocol 2 or newer.
    fn another_begins(&mut self) -> bool {
        let count = usize::try_from(self.input.remaining()).unwrap_or(usize::MAX).min(START_BYTES);
        self.input.peek(count).is_some_and(nested::is_start)
    }

    /// Records a finding once for each rule and `subject`.
    fn draft(&mut self, rule: &'static Rule, subject: &str, message: String) {
        let key = (rule.id, subject.to_owned());
        if self.draft_index.contains_key(&key) {
            return;
        }
        if self.drafts.len() >= DRAFTS_MAX {
            self.overflow = true;
            return;
        }
        let evidence = vec![self.trace()];
        self.draft_index.insert(key, self.drafts.len());
        self.drafts.push(Draft { rule, message, offset: self.at, evidence });
    }

    /// Like [`Self::draft`], but the newer message, a call, replaces the older one, an import.
    fn draft_again(&mut self, rule: &'static Rule, subject: &str, message: String) {
        let trace = self.trace();
        let offset = self.at;
        let index = self.draft_index.get(&(rule.id, subject.to_owned())).copied();
        match index.and_then(|index| self.drafts.get_mut(index)) {
            Some(draft) if draft.message.starts_with("imports ") => {
                *draft = Draft { rule, message, offset, evidence: vec![trace] };
            }
            Some(_) => {}
            None => self.draft(rule, subject, message),
        }
    }

    /// Takes back a draft that a stronger one replaces.
    fn forget(&mut self, rule: &'static Rule, subject: &str) {
        if let Some(index) = self.draft_index.remove(&(rule.id, subject.to_owned())) {
            self.drafts.remove(index);
            self.draft_index.values_mut().filter(|at| **at > index).for_each(|at| *at -= 1);
        }
    }

    /// Takes back the draft of an import that turned out to be ordinary.
    fn forget_import(&mut self, rule: &'static Rule, subject: &str) {
        let index = self.draft_index.get(&(rule.id, subject.to_owned())).copied();
        if index.and_then(|index| self.drafts.get(index)).is_some_and(|draft| draft.message.starts_with("imports ")) {
            self.forget(rule, subject);
        }
    }

    /// Where the argument of the opcode at `offset` lies.
    fn extent_at(&mut self, offset: Wide) -> Option<(u64, u64)> {
        if offset.as_kept().is_some() {
            return None;
        }
        let offset = offset.number();
        let head = self.input.read_at(offset, 9);
        let number = |bytes: usize| {
            let field = head.get(1..=bytes)?;
            Some(field.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte)))
        };
        let (header, length) = match *head.first()? {
            opcode::SHORT_BINUNICODE | opcode::SHORT_BINSTRING | opcode::SHORT_BINBYTES => (2, number(1)?),
            opcode::BINUNICODE | opcode::BINSTRING | opcode::BINBYTES => (5, number(4)?),
            opcode::BINUNICODE8 | opcode::BINBYTES8 | opcode::BYTEARRAY8 => (9, number(8)?),
            _ => return None,
        };
        Some((offset.checked_add(header)?, length))
    }

    /// A text by where its opcode stands; `None` where it is too long for a name.
    fn text_at(&mut self, text: Wide) -> Option<String> {
        if let Some(index) = text.as_kept() {
            return self.kept(index).map(utf8);
        }
        if let Some((start, length)) = self.extent_at(text) {
            let length = usize::try_from(length).ok().filter(|length| *length <= NAME_BYTES_MAX)?;
            return Some(utf8(&self.input.read_at(start, length)));
        }
        line_text(&self.input.read_at(text.number(), NAME_BYTES_MAX + 1))
    }

    /// `module.name`, fit to print.
    fn shown(&self, number: u32) -> String {
        self.names.get(number as usize).map_or_else(String::new, |name| {
            format!("{}.{}", printable(&name.module, 120), printable(&name.attribute, 120))
        })
    }

    /// A value in a few words, fit to print.
    fn describe(&mut self, value: Value) -> String {
        printable(&self.describe_at(value, 0), DESCRIPTION_CHARS_MAX)
    }

    fn describe_at(&mut self, value: Value, depth: u32) -> String {
        match value {
            Value::None => "None".to_owned(),
            Value::Bool(true) => "True".to_owned(),
            Value::Bool(false) => "False".to_owned(),
            Value::Int(number) => number.number().to_string(),
            Value::Number => "a number".to_owned(),
            Value::Text(offset) => self
                .text_at(offset)
                .map_or_else(|| "a long text".to_owned(), |text| format!("{:?}", printable(&text, 80))),
            Value::Bytes(_) | Value::Opaque => "bytes".to_owned(),
            Value::Global(number) => format!("`{}`", self.shown(number)),
            Value::Made(number) => format!("`{}`(…)", self.shown(number)),
            Value::Dtype(_) => "a dtype".to_owned(),
            Value::Persistent => "a persistent object".to_owned(),
            Value::Unknown | Value::Hole => "the result of a call".to_owned(),
            Value::Set => "a set".to_owned(),
            Value::Tuple(container) | Value::List(container) => {
                let items = if depth < DESCRIPTION_DEPTH_MAX { self.heap.first_items(container) } else { Vec::new() };
                let more = self.heap.count(container).is_none_or(|count| count > 6);
                let mut parts: Vec<String> =
                    items.iter().take(6).map(|item| self.describe_at(*item, depth + 1)).collect();
                if more {
                    parts.push("…".to_owned());
                }
                let (open, close) = if matches!(value, Value::Tuple(_)) { ('(', ')') } else { ('[', ']') };
                format!("{open}{}{close}", parts.join(", "))
            }
            Value::Dict(_) => "{…}".to_owned(),
        }
    }
}

/// Bytes as text. What is no UTF-8 becomes U+FFFD: no module or attribute has such a name, and it is reported as odd.
fn utf8(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The text that a line stands for whose opcode is its first byte.
fn line_text(line: &[u8]) -> Option<String> {
    let (code, rest) = line.split_first()?;
    let text = rest.get(..memchr::memchr(b'\n', rest)?)?;
    match *code {
        opcode::STRING => {
            let inner = text.get(1..text.len().checked_sub(1)?)?;
            Some(utf8(&unescape(inner)))
        }
        opcode::UNICODE => Some(raw_unicode_unescape(text)),
        _ => None,
    }
}

/// The bytes that a line stands for whose opcode is its first byte, up to the line's end or the end of what is there;
/// letters of a text as Latin-1.
fn line_bytes(line: &[u8]) -> Option<Vec<u8>> {
    let (code, rest) = line.split_first()?;
    let text = memchr::memchr(b'\n', rest).and_then(|end| rest.get(..end)).unwrap_or(rest);
    match *code {
        opcode::STRING => Some(unescape(text.get(1..)?)),
        opcode::UNICODE => {
            let text = raw_unicode_unescape(text);
            Some(text.chars().map_while(|letter| u8::try_from(u32::from(letter)).ok()).collect())
        }
        _ => None,
    }
}

/// The escapes of a STRING argument, as `codecs.escape_decode` reads them.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let simple = |byte| {
            Some(match byte {
                b'\\' | b'\'' | b'"' => byte,
                b'a' => 7,
                b'b' => 8,
                b't' => b'\t',
                b'n' => b'\n',
                b'v' => 11,
                b'f' => 12,
                b'r' => b'\r',
                _ => return None,
            })
        };
        match rest.next() {
            Some(b'x') => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let value = std::str::from_utf8(&digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok());
                out.extend(value);
            }
            Some(first @ b'0'..=b'7') => {
                let mut value = u32::from(first - b'0');
                let mut ahead = rest.clone();
                for _ in 0..2 {
                    let Some(digit @ b'0'..=b'7') = ahead.next() else { break };
                    value = value * 8 + u32::from(digit - b'0');
                    rest.next();
                }
                out.push((value & 0xff) as u8);
            }
            // Other backslashes stand for themselves.
            Some(other) => match simple(other) {
                Some(byte) => out.push(byte),
                None => out.extend([b'\\', other]),
            },
            None => out.push(b'\\'),
        }
    }
    out
}

/// Python's `raw-unicode-escape`: Latin-1 with `\uXXXX` and `\UXXXXXXXX`; a backslash before anything else takes that
/// with it. Lone surrogates become what [`utf8`] makes of them.
fn raw_unicode_unescape(text: &[u8]) -> String {
    let mut out = String::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let next = text.get(at + 1).copied();
        let digits = match (byte, next) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            (b'\\', Some(other)) => {
                out.extend(['\\', char::from(other)]);
                at += 2;
                continue;
            }
            _ => 0,
        };
        let escaped = (digits > 0)
            .then(|| std::str::from_utf8(text.get(at + 2..at + 2 + digits)?).ok())
            .flatten()
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match (escaped, escaped.and_then(char::from_u32)) {
            (Some(_), Some(character)) => out.push(character),
            (Some(0xd800..=0xdfff), None) => out.push_str("\u{fffd}\u{fffd}\u{fffd}"),
            _ => {
                out.push(char::from(*byte));
                at += 1;
                continue;
            }
        }
        at += 2 + digits;
    }
    out
}
