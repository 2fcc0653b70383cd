//! What does nothing when it is opened: text and pictures; and what text can do all the same.
//!
//! Text is clean unless one of a few patterns shows that a framework would run it. Pictures must end where their format
//! says: what follows is looked at as a content of its own.

use std::io::{self, Cursor, SeekFrom};

use ringfence_format::json;

use crate::{
    audit::Audit,
    detect::Kind,
    pickle::names::{NAMES, Standing},
    pickle::nested,
    rules::id,
    source::{Source, bytes_at, length},
};

/// How much of a text the patterns see, in bytes.
const TEXT_BYTES_MAX: u64 = 16 << 20;
/// How much of a longer text is read as a model, in bytes.
const GRAPH_TEXT_BYTES_MAX: u64 = 256 << 20;
/// Blocks of a picture that are walked.
const BLOCKS_MAX: u32 = 1_000_000;
/// How much of a JPEG's end is searched for its end marker, in bytes.
const JPEG_TAIL_BYTES: u64 = 64;

/// What a template needs to leave its sandbox.
const TEMPLATE_TOKENS: [&[u8]; 9] = [
    b"__globals__",
    b"__builtins__",
    b"__subclasses__",
    b"__import__",
    b"__mro__",
    b"|attr(",
    b"| attr(",
    b"\\x5f\\x5f",
    b"popen(",
];
/// Longest block of a template that is looked at, in bytes.
const BLOCK_BYTES_MAX: usize = 4_096;
/// Blocks of a text that are looked at.
const TEMPLATE_BLOCKS_MAX: usize = 10_000;
/// Tags and keys with which loaders of text make objects.
const OBJECT_TOKENS: [&str; 7] = [
    "!!python/object",
    "!!python/name",
    "!!python/module",
    "!!python/tuple:",
    "!python/object",
    "\"py/object\"",
    "\"py/reduce\"",
];

impl Audit<'_> {
    /// `None`: the content is no text.
    pub(crate) fn text(&mut self, source: &mut dyn Source) -> io::Result<Option<&'static str>> {
        if !is_text(source)? {
            return Ok(None);
        }
        let bytes = bytes_at(source, 0, TEXT_BYTES_MAX)?;
        self.text_rules(&bytes);
        self.encoded(bytes.trim_ascii());
        if length(source)? > TEXT_BYTES_MAX {
            // Data sets are long and inert; the patterns concern configuration, which is not. Models in text may be long too.
            let text = bytes_at(source, 0, GRAPH_TEXT_BYTES_MAX)?;
            return Ok(Some(self.graph_in_text(&text, false).unwrap_or("text")));
        }
        let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        let is_json =
            matches!(first, Some(b'{' | b'[')) && serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok();
        // Loaders read JSON that strict readers refuse: other encodings, `NaN`, deep nesting.
        if matches!(first, Some(b'{' | b'[' | 0xef | 0xfe | 0xff)) {
            if self.keras_json(&bytes) {
                return Ok(Some("keras-json"));
            }
            if self.xgboost_json(&bytes) {
                return Ok(Some("xgboost-json"));
            }
        }
        if let Some(format) = self.graph_in_text(&bytes, is_json) {
            return Ok(Some(format));
        }
        Ok(Some(if is_json { "json" } else { "text" }))
    }

    /// JSON in UTF-16 or UTF-32 without a mark, which Python reads like any other. `None`: the content is no such text.
    pub(crate) fn wide_json(&mut self, source: &mut dyn Source) -> io::Result<Option<&'static str>> {
        let head = bytes_at(source, 0, 4)?;
        if !matches!(head.as_slice(), [b'{' | b'[', 0, ..] | [0, b'{' | b'[', ..] | [0, 0, 0, b'{' | b'[']) {
            return Ok(None);
        }
        let bytes = bytes_at(source, 0, TEXT_BYTES_MAX)?;
        let Some(text) = json::text_of(&bytes).filter(|text| json::parse(text).is_ok()) else { return Ok(None) };
        self.text_rules(text.as_bytes());
        if self.keras_json(text.as_bytes()) {
            return Ok(Some("keras-json"));
        }
        Ok(Some("json"))
    }

    /// A text that is nothing but an encoded pickle.
    pub(crate) fn encoded(&mut self, text: &[u8]) {
        let Some((_, encoding)) = nested::candidate(text) else { return };
        let bytes = nested::decode(text, encoding);
        self.carve_bytes(bytes.get(..bytes.len().min(64)).unwrap_or_default(), &mut Cursor::new(&bytes));
    }

    /// The patterns that make text more than text.
    pub(crate) fn text_rules(&mut self, text: &[u8]) {
        let find = |token: &str| memchr::memmem::find(text, token.as_bytes()).map(|at| at as u64);
        if let Some((token, at)) = template_escape(text) {
            self.note(id::TXT_TEMPLATE, &format!("a template uses `{}`", String::from_utf8_lossy(token)), Some(at));
        }
        if let Some((token, at)) = OBJECT_TOKENS.iter().find_map(|token| Some((token, find(token)?))) {
            self.note(id::TXT_OBJECT, &format!("the text holds `{token}`"), Some(at));
        }
        if let Some(at) = find("\"auto_map\"") {
            self.note(id::TXT_REMOTE_CODE, "`auto_map` names code that comes with the model", Some(at));
        }
        let lambda = find("\"class_name\": \"Lambda\"").or_else(|| find("\"class_name\":\"Lambda\""));
        if let Some(at) = lambda {
            self.note(id::TXT_CODE, "a Keras Lambda layer carries code", Some(at));
        }
        self.named_calls(text);
        self.startup_line(text);
    }

    /// Values of keys that frameworks call or import: `_target_`, `module`, `loader_module`, `python_class`.
    fn named_calls(&mut self, text: &[u8]) {
        for key in ["_target_", "\"module\"", "loader_module", "parent_library", "base_class", "custom_class"] {
            for at in memchr::memmem::find_iter(text, key.as_bytes()).take(1_000) {
                let rest = text.get(at + key.len()..).unwrap_or_default();
                let rest = rest.get(..rest.len().min(200)).unwrap_or_default();
                let word: Vec<u8> = rest
                    .iter()
                    .copied()
                    .skip_while(|byte| matches!(byte, b'"' | b'\'' | b':' | b'=' | b' ' | b'\t'))
                    .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
                    .collect();
                let path = String::from_utf8_lossy(&word).into_owned();
                let (module, name) = path.rsplit_once('.').unwrap_or((&path, "*"));
                let harms = |module: &str, name: &str| matches!(NAMES.standing(module, name), Standing::Gadget(_));
                let is_framework = ["keras", "tensorflow", "tf_keras", "mlflow", "diffusers"]
                    .contains(&path.split('.').next().unwrap_or(""));
                if !is_framework && (harms(module, name) || harms(&path, "call")) {
                    self.note(id::TXT_CODE, &format!("{key} names `{path}`"), Some(at as u64));
                }
            }
        }
    }

    /// `site` executes lines of `.pth` files that begin with `import`.
    fn startup_line(&mut self, text: &[u8]) {
        let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
        let Some(first) = lines.find(|line| !line.starts_with(b"#")) else { return };
        let holds = |token: &[u8]| memchr::memmem::find(first, token).is_some();
        let runs = [&b"exec("[..], b"eval(", b"os.system", b"subprocess", b"__import__", b"urlopen", b"socket"];
        if (first.starts_with(b"import ") || first.starts_with(b"import\t"))
            && holds(b";")
            && runs.iter().any(|token| holds(token))
        {
            self.note(id::TXT_STARTUP, "the first line imports and runs code", Some(0));
        }
    }

    pub(crate) fn picture(&mut self, source: &mut dyn Source, kind: Kind) -> io::Result<&'static str> {
        let (name, end) = match kind {
            Kind::Png => ("png", png_end(source)?),
            Kind::Jpeg => ("jpeg", jpeg_end(source)?),
            Kind::Gif => ("gif", gif_end(source)?),
            Kind::Webp => ("webp", stated_end(source, 4, 8)?),
            _ => ("bmp", stated_end(source, 2, 0)?),
        };
        let whole = length(source)?;
        match end {
            Some(end) if end == whole => {}
            Some(end) if end < whole => {
                self.note(id::GEN_UNKNOWN, &format!("{} bytes follow the picture", whole - end), Some(end));
                self.inspect_rest(source, end)?;
            }
            _ => {
                self.note(id::GEN_UNKNOWN, "the picture has no proper end", None);
                if ringfence_format::zip::read(source).is_ok_and(|archive| !archive.members.is_empty()) {
                    self.zip(source)?;
                } else {
                    self.carve(source)?;
                }
            }
        }
        Ok(name)
    }
}

/// A block of a Jinja template that reaches for Python's internals, and where it stands.
fn template_escape(text: &[u8]) -> Option<(&'static [u8], u64)> {
    let expressions = memchr::memmem::find_iter(text, b"{{").map(|at| (at, &b"}}"[..]));
    let statements = memchr::memmem::find_iter(text, b"{%").map(|at| (at, &b"%}"[..]));
    expressions.take(TEMPLATE_BLOCKS_MAX).chain(statements.take(TEMPLATE_BLOCKS_MAX)).find_map(|(at, close)| {
        let block = text.get(at..text.len().min(at + BLOCK_BYTES_MAX))?;
        let block = block.get(..memchr::memmem::find(block, close)?)?;
        let token = TEMPLATE_TOKENS.iter().find(|token| memchr::memmem::find(block, token).is_some())?;
        Some((*token, at as u64))
    })
}

/// UTF-8 (or UTF-16 with a mark) without control characters, to the last byte.
fn is_text(source: &mut dyn Source) -> io::Result<bool> {
    source.seek(SeekFrom::Start(0))?;
    let mut buffer = vec![0; 64 << 10];
    let mut kept = 0;
    let mut first = true;
    loop {
        let Some(free) = buffer.get_mut(kept..) else { return Ok(false) };
        let read = source.read(free)?;
        let bytes = buffer.get(..kept + read).unwrap_or_default();
        if first && (bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff")) {
            return is_wide_text(source);
        }
        first = false;
        if bytes.iter().any(|byte| *byte < 32 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b) || *byte == 127) {
            return Ok(false);
        }
        let valid = match std::str::from_utf8(bytes) {
            Ok(_) => bytes.len(),
            Err(error) if error.error_len().is_none() && read > 0 => error.valid_up_to(),
            Err(_) => return Ok(false),
        };
        if read == 0 {
            return Ok(true);
        }
        let rest = bytes.len() - valid;
        buffer.copy_within(valid..valid + rest, 0);
        kept = rest;
    }
}

/// UTF-16 of at most 16 MiB.
fn is_wide_text(source: &mut dyn Source) -> io::Result<bool> {
    let whole = length(source)?;
    if whole > TEXT_BYTES_MAX || !whole.is_multiple_of(2) {
        return Ok(false);
    }
    let bytes = bytes_at(source, 0, TEXT_BYTES_MAX)?;
    let little = bytes.starts_with(b"\xff\xfe");
    let units = bytes.chunks_exact(2).skip(1).filter_map(<[u8]>::first_chunk::<2>);
    let units = units.map(|pair| if little { u16::from_le_bytes(*pair) } else { u16::from_be_bytes(*pair) });
    Ok(char::decode_utf16(units).all(|decoded| decoded.is_ok_and(|c| !c.is_control() || c.is_whitespace())))
}

/// Behind the IEND chunk (PNG §11.2.5).
fn png_end(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let mut at = 8;
    for _ in 0..BLOCKS_MAX {
        let head = bytes_at(source, at, 8)?;
        let (Some(size), Some(kind)) = (head.first_chunk::<4>(), head.get(4..8)) else { return Ok(None) };
        at += 12 + u64::from(u32::from_be_bytes(*size));
        if kind == b"IEND" {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// The end marker must be the last thing but for a few zero bytes.
fn jpeg_end(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let whole = length(source)?;
    let start = whole.saturating_sub(JPEG_TAIL_BYTES);
    let tail = bytes_at(source, start, JPEG_TAIL_BYTES)?;
    let Some(at) = memchr::memmem::rfind(&tail, b"\xff\xd9") else { return Ok(None) };
    let is_blank = tail.get(at + 2..).unwrap_or_default().iter().all(|byte| *byte == 0);
    Ok(is_blank.then_some(whole))
}

/// Behind the trailer (GIF89a §27).
fn gif_end(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let head = bytes_at(source, 0, 13)?;
    let table = |flags: u8| if flags & 0x80 != 0 { 3 << (u64::from(flags & 7) + 1) } else { 0 };
    let Some(flags) = head.get(10) else { return Ok(None) };
    let mut at = 13 + table(*flags);
    for _ in 0..BLOCKS_MAX {
        match bytes_at(source, at, 10)?.as_slice() {
            [0x3b, ..] => return Ok(Some(at + 1)),
            [0x21, ..] => at += 2,
            [0x2c, _, _, _, _, _, _, _, _, flags] => at += 11 + table(*flags),
            _ => return Ok(None),
        }
        for _ in 0..BLOCKS_MAX {
            let size = bytes_at(source, at, 1)?.first().copied().unwrap_or(0);
            at += 1 + u64::from(size);
            if size == 0 {
                break;
            }
        }
    }
    Ok(None)
}

/// A little-endian length field at `field`, counted from `base`.
fn stated_end(source: &mut dyn Source, field: u64, base: u64) -> io::Result<Option<u64>> {
    let bytes = bytes_at(source, field, 4)?;
    Ok(bytes.first_chunk::<4>().map(|size| u64::from(u32::from_le_bytes(*size)) + base))
}
