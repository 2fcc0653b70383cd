//! JSON as Python's `json` module reads it, kept for an auditor: repeated keys stay, every object knows its place.
//!
//! [`parse`] takes the text of one document and returns a [`Json`]; [`text_of`] finds the encoding first, as `json.loads` does
//! for bytes (RFC 4627 §3: UTF-8, UTF-16 or UTF-32, by the pattern of zero bytes), and drops a byte order mark.
//!
//! Read beyond RFC 8259, because Python reads it: `NaN`, `Infinity`, lone surrogates in escapes (replaced here), control characters
//! in texts (`strict=False`). Bounded by [`BYTES_MAX`], [`DEPTH_MAX`] and [`NODES_MAX`].

#![deny(clippy::indexing_slicing)]

use std::borrow::Cow;

/// Longest document, in bytes.
pub const BYTES_MAX: usize = 64 << 20;
/// Deepest nesting. Python's reader stops near 1,000 by default.
pub const DEPTH_MAX: u32 = 500;
/// Most values of one document.
pub const NODES_MAX: usize = 2_000_000;

/// Why a text is no document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Longer than [`BYTES_MAX`].
    #[error("document of {bytes} bytes, limit is {BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX} at byte {offset}")]
    TooDeep {
        /// Where.
        offset: usize,
    },
    /// More values than [`NODES_MAX`].
    #[error("more than {NODES_MAX} values")]
    TooMany,
    /// A byte that does not belong.
    #[error("unexpected content at byte {offset}")]
    Unexpected {
        /// Where.
        offset: usize,
    },
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number that fits.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A text with its escapes resolved.
    Text(String),
    /// `[ … ]`.
    Array(Vec<Json>),
    /// `{ … }`.
    Object(Object),
}

/// The entries of `{ … }` in order, repeated keys kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object {
    /// Byte of the opening brace.
    pub offset: usize,
    /// Keys and values.
    pub entries: Vec<(String, Json)>,
}

impl Object {
    /// Every value of `key`; loaders take the last.
    pub fn all<'a>(&'a self, key: &'a str) -> impl DoubleEndedIterator<Item = &'a Json> {
        self.entries.iter().filter(move |(name, _)| name == key).map(|(_, value)| value)
    }

    /// The value that a loader takes.
    pub fn last(&self, key: &str) -> Option<&Json> {
        self.entries.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// A key that stands twice.
    pub fn repeated(&self) -> Option<&str> {
        let mut names: Vec<&str> = self.entries.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.windows(2).find_map(|pair| match pair {
            [one, two] if one == two => Some(*one),
            _ => None,
        })
    }
}

impl Json {
    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The object, if it is one.
    pub fn object(&self) -> Option<&Object> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    /// The values below this one, nearest first: items and entries.
    pub fn children(&self) -> impl Iterator<Item = &Json> {
        let (items, entries): (&[Json], &[(String, Json)]) = match self {
            Self::Array(items) => (items, &[]),
            Self::Object(object) => (&[], &object.entries),
            _ => (&[], &[]),
        };
        items.iter().chain(entries.iter().map(|(_, value)| value))
    }
}

/// Parses a whole document.
pub fn parse(text: &str) -> Result<Json, JsonError> {
    if text.len() > BYTES_MAX {
        return Err(JsonError::TooLong { bytes: text.len() });
    }
    let mut parser = Parser { bytes: text.as_bytes(), text, at: 0, nodes: 0 };
    let value = parser.value(0)?;
    parser.blanks();
    if parser.at == text.len() { Ok(value) } else { Err(JsonError::Unexpected { offset: parser.at }) }
}

/// The characters of a document in any encoding that `json.loads` accepts; `None` where they are malformed.
pub fn text_of(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let wide = |bytes: &[u8], little: bool| -> Option<Cow<'static, str>> {
        let units: Option<Vec<u16>> = bytes
            .chunks(2)
            .map(|pair| {
                pair.first_chunk()
                    .map(|pair| if little { u16::from_le_bytes(*pair) } else { u16::from_be_bytes(*pair) })
            })
            .collect();
        Some(Cow::Owned(String::from_utf16_lossy(&units?)))
    };
    let widest = |bytes: &[u8], little: bool| -> Option<Cow<'static, str>> {
        let character = |four: &[u8]| {
            let four = four.first_chunk()?;
            char::from_u32(if little { u32::from_le_bytes(*four) } else { u32::from_be_bytes(*four) })
        };
        bytes.chunks(4).map(character).collect::<Option<String>>().map(Cow::Owned)
    };
    match bytes {
        [0xff, 0xfe, 0, 0, rest @ ..] => widest(rest, true),
        [0, 0, 0xfe, 0xff, rest @ ..] => widest(rest, false),
        [0xff, 0xfe, rest @ ..] => wide(rest, true),
        [0xfe, 0xff, rest @ ..] => wide(rest, false),
        [0xef, 0xbb, 0xbf, rest @ ..] => std::str::from_utf8(rest).ok().map(Cow::Borrowed),
        [0, 0, 0, _, ..] => widest(bytes, false),
        [_, 0, 0, 0, ..] => widest(bytes, true),
        [0, ..] => wide(bytes, false),
        [_, 0, ..] => wide(bytes, true),
        _ => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
    }
}

struct Parser<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
    nodes: usize,
}

impl Parser<'_> {
    fn unexpected<T>(&self) -> Result<T, JsonError> {
        Err(JsonError::Unexpected { offset: self.at })
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn accept(&mut self, byte: u8) -> bool {
        self.blanks();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    // The recursion is bounded by DEPTH_MAX.
    fn value(&mut self, depth: u32) -> Result<Json, JsonError> {
        self.blanks();
        self.nodes += 1;
        if depth > DEPTH_MAX {
            return Err(JsonError::TooDeep { offset: self.at });
        }
        if self.nodes > NODES_MAX {
            return Err(JsonError::TooMany);
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: u32) -> Result<Json, JsonError> {
        let mut object = Object { offset: self.at, entries: Vec::new() };
        self.at += 1;
        if self.accept(b'}') {
            return Ok(Json::Object(object));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return self.unexpected();
            }
            let key = self.string()?;
            if !self.accept(b':') {
                return self.unexpected();
            }
            object.entries.push((key, self.value(depth + 1)?));
            if self.accept(b'}') {
                return Ok(Json::Object(object));
            }
            if !self.accept(b',') {
                return self.unexpected();
            }
        }
    }

    fn array(&mut self, depth: u32) -> Result<Json, JsonError> {
        let mut items = Vec::new();
        self.at += 1;
        if self.accept(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.accept(b']') {
                return Ok(Json::Array(items));
            }
            if !self.accept(b',') {
                return self.unexpected();
            }
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some(plain) = memchr::memchr2(b'"', b'\\', rest) else {
                self.at = self.bytes.len();
                return self.unexpected();
            };
            out.push_str(self.text.get(self.at..self.at + plain).unwrap_or_default());
            self.at += plain;
            if self.peek() == Some(b'"') {
                self.at += 1;
                return Ok(out);
            }
            self.at += 1;
            let escape = self.peek();
            self.at += 1;
            out.push(match escape {
                Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
                Some(b'b') => '\u{8}',
                Some(b'f') => '\u{c}',
                Some(b'n') => '\n',
                Some(b'r') => '\r',
                Some(b't') => '\t',
                Some(b'u') => self.escaped()?,
                _ => {
                    self.at -= 1;
                    return self.unexpected();
                }
            });
        }
    }

    /// The character of `\uXXXX`, or of two of them that make one.
    fn escaped(&mut self) -> Result<char, JsonError> {
        let high = self.four_digits()?;
        if (0xd800..0xdc00).contains(&high) && self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(b"\\u")) {
            let before = self.at;
            self.at += 2;
            let low = self.four_digits()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn four_digits(&mut self) -> Result<u32, JsonError> {
        let digits =
            self.text.get(self.at..self.at + 4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(code) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
            return self.unexpected();
        };
        self.at += 4;
        Ok(code)
    }

    fn number(&mut self) -> Result<Json, JsonError> {
        if self.word_is("-Infinity") {
            return Ok(Json::Float(f64::NEG_INFINITY));
        }
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length =
            rest.iter().take_while(|byte| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')).count();
        let digits = self.text.get(self.at..self.at + length).unwrap_or_default();
        let value = match digits.parse::<i64>() {
            Ok(whole) => Json::Integer(whole),
            Err(_) => match digits.parse::<f64>() {
                Ok(number) => Json::Float(number),
                Err(_) => return self.unexpected(),
            },
        };
        self.at += length;
        Ok(value)
    }

    fn word(&mut self) -> Result<Json, JsonError> {
        let words = [
            ("null", Json::Null),
            ("true", Json::Bool(true)),
            ("false", Json::Bool(false)),
            ("NaN", Json::Float(f64::NAN)),
            ("Infinity", Json::Float(f64::INFINITY)),
        ];
        for (word, value) in words {
            if self.word_is(word) {
                return Ok(value);
            }
        }
        self.unexpected()
    }

    fn word_is(&mut self, word: &str) -> bool {
        let found = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes()));
        self.at += if found { word.len() } else { 0 };
        found
    }
}
