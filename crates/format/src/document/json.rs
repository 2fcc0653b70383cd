//! JSON of any length (RFC 8259), as Python's `json` takes it: `NaN` and `Infinity` too, repeated keys, several values in a
//! row (JSON lines).
//!
//! One pass over a buffer of [`BUFFER_BYTES`]; texts are unescaped into one reused string. Lone surrogates become U+FFFD.

#![deny(clippy::indexing_slicing)]

use std::io::{self, Read};

use super::{DEPTH_MAX, DocumentError, Event, Sink, TEXT_BYTES_MAX};

/// Size of the read buffer, in bytes.
pub const BUFFER_BYTES: usize = 256 << 10;
/// Longest number or word that is kept, in bytes.
const PLAIN_BYTES_MAX: usize = 64;

/// How a stream of values ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Values at the outermost level.
    pub values: u64,
}

/// Reads `source` to its end and tells `sink` everything.
///
/// # Errors
/// [`DocumentError`]: the text stops being JSON, nests too deeply, or cannot be read. What was told before holds.
pub fn read(source: &mut dyn Read, sink: &mut dyn Sink) -> Result<Ending, DocumentError> {
    let mut reader = Reader::new(source);
    if reader.peek()? == Some(0xef) {
        reader.word("\u{feff}".as_bytes())?;
    }
    let mut values = 0;
    loop {
        reader.space()?;
        if reader.peek()?.is_none() {
            return Ok(Ending { values });
        }
        if values > 0 {
            sink.event(Event::Next, reader.at());
        }
        reader.value(sink)?;
        values += 1;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Map,
    List,
}

struct Reader<'s> {
    source: &'s mut dyn Read,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes before the buffer.
    before: u64,
    text: Vec<u8>,
    cut: bool,
}

impl<'s> Reader<'s> {
    fn new(source: &'s mut dyn Read) -> Self {
        Self { source, buffer: vec![0; BUFFER_BYTES], start: 0, end: 0, before: 0, text: Vec::new(), cut: false }
    }

    fn at(&self) -> u64 {
        self.before + self.start as u64
    }

    fn broken<T>(&self, reason: &str) -> Result<T, DocumentError> {
        Err(DocumentError::Malformed { at: self.at(), reason: reason.to_owned() })
    }

    /// What is buffered; empty at the end only.
    fn chunk(&mut self) -> io::Result<&[u8]> {
        while self.start == self.end {
            self.before += self.end as u64;
            (self.start, self.end) = (0, 0);
            match self.source.read(&mut self.buffer) {
                Ok(0) => return Ok(&[]),
                Ok(read) => self.end = read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or_default())
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        if let Some(byte) = self.buffer.get(self.start).filter(|_| self.start < self.end) {
            return Ok(Some(*byte));
        }
        Ok(self.chunk()?.first().copied())
    }

    fn next(&mut self) -> io::Result<Option<u8>> {
        let byte = self.peek()?;
        self.start += usize::from(byte.is_some());
        Ok(byte)
    }

    fn space(&mut self) -> io::Result<()> {
        loop {
            let chunk = self.chunk()?;
            let blank = chunk.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count();
            let is_over = blank < chunk.len() || chunk.is_empty();
            self.start += blank;
            if is_over {
                return Ok(());
            }
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), DocumentError> {
        for expected in word {
            if self.peek()? != Some(*expected) {
                return self.broken("an unknown word");
            }
            self.start += 1;
        }
        Ok(())
    }

    /// One value with all that is in it, without recursion.
    fn value(&mut self, sink: &mut dyn Sink) -> Result<(), DocumentError> {
        let mut open: Vec<Container> = Vec::new();
        loop {
            self.space()?;
            // INVARIANT: here a value is due.
            let at = self.at();
            match self.peek()? {
                Some(b'{') => {
                    self.start += 1;
                    sink.event(Event::MapStart, at);
                    open.push(Container::Map);
                    self.space()?;
                    if self.peek()? != Some(b'}') {
                        self.key(sink)?;
                        self.deep(&open)?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.start += 1;
                    sink.event(Event::ListStart, at);
                    open.push(Container::List);
                    self.space()?;
                    if self.peek()? != Some(b']') {
                        self.deep(&open)?;
                        continue;
                    }
                }
                Some(b'"') => {
                    self.string()?;
                    sink.event(Event::Text { text: as_text(&self.text), cut: self.cut }, at);
                }
                Some(_) => self.plain(sink)?,
                None => return self.broken("it ends where a value is due"),
            }
            if self.close(&mut open, sink)? {
                return Ok(());
            }
        }
    }

    fn deep(&self, open: &[Container]) -> Result<(), DocumentError> {
        if open.len() > DEPTH_MAX { Err(DocumentError::TooDeep { at: self.at() }) } else { Ok(()) }
    }

    /// Behind a value: closes what ends here. `true`: the outermost value is over; `false`: a value is due.
    fn close(&mut self, open: &mut Vec<Container>, sink: &mut dyn Sink) -> Result<bool, DocumentError> {
        while let Some(container) = open.last().copied() {
            self.space()?;
            let at = self.at();
            match (container, self.peek()?) {
                (Container::Map, Some(b'}')) => sink.event(Event::MapEnd, at),
                (Container::List, Some(b']')) => sink.event(Event::ListEnd, at),
                (Container::Map, Some(b',')) => {
                    self.start += 1;
                    self.space()?;
                    self.key(sink)?;
                    return Ok(false);
                }
                (Container::List, Some(b',')) => {
                    self.start += 1;
                    return Ok(false);
                }
                _ => return self.broken("neither a comma nor an end"),
            }
            self.start += 1;
            open.pop();
        }
        Ok(true)
    }

    fn key(&mut self, sink: &mut dyn Sink) -> Result<(), DocumentError> {
        let at = self.at();
        if self.peek()? != Some(b'"') {
            return self.broken("a key must be a text");
        }
        self.string()?;
        sink.event(Event::Key(as_text(&self.text)), at);
        self.space()?;
        if self.next()? == Some(b':') { Ok(()) } else { self.broken("no colon behind a key") }
    }

    /// A number or a word.
    fn plain(&mut self, sink: &mut dyn Sink) -> Result<(), DocumentError> {
        let at = self.at();
        self.text.clear();
        loop {
            if self.chunk()?.is_empty() {
                break;
            }
            let chunk = self.buffer.get(self.start..self.end).unwrap_or_default();
            let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
            let part = chunk.iter().take_while(is_part).count();
            let is_over = part < chunk.len();
            let kept = part.min(PLAIN_BYTES_MAX.saturating_sub(self.text.len()));
            self.text.extend_from_slice(chunk.get(..kept).unwrap_or_default());
            self.start += part;
            if is_over {
                break;
            }
        }
        let is_number = |text: &[u8]| {
            let digits = text.strip_prefix(b"-").unwrap_or(text);
            digits.first().is_some_and(u8::is_ascii_digit)
                && digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
        };
        let is_word =
            matches!(self.text.as_slice(), b"true" | b"false" | b"null" | b"NaN" | b"Infinity" | b"-Infinity");
        if !is_word && !is_number(&self.text) {
            return Err(DocumentError::Malformed { at, reason: "an unknown word".to_owned() });
        }
        sink.event(Event::Plain(as_text(&self.text)), at);
        Ok(())
    }

    /// A text from quote to quote, into `self.text`.
    fn string(&mut self) -> Result<(), DocumentError> {
        self.start += 1;
        self.text.clear();
        self.cut = false;
        loop {
            let (before, end, text) = (self.start, self.end, &mut self.text);
            let chunk = match self.buffer.get(before..end) {
                Some(chunk) if !chunk.is_empty() => chunk,
                _ => {
                    if self.chunk()?.is_empty() {
                        return self.broken("a text without an end");
                    }
                    continue;
                }
            };
            let stop = memchr::memchr2(b'"', b'\\', chunk).unwrap_or(chunk.len());
            let free = TEXT_BYTES_MAX.saturating_sub(text.len());
            self.cut |= stop > free;
            text.extend_from_slice(chunk.get(..stop.min(free)).unwrap_or_default());
            let byte = chunk.get(stop).copied();
            self.start += stop + usize::from(byte.is_some());
            match byte {
                Some(b'"') => return Ok(()),
                Some(_) => {
                    let character = self.escape()?;
                    if self.text.len() + 4 > TEXT_BYTES_MAX {
                        self.cut = true;
                    } else {
                        self.text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                }
                None => {}
            }
        }
    }

    /// Behind a backslash.
    fn escape(&mut self) -> Result<char, DocumentError> {
        Ok(match self.next()? {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'u') => {
                let unit = self.unit()?;
                if (0xdc00..0xe000).contains(&unit) {
                    return Ok(char::REPLACEMENT_CHARACTER);
                }
                if !(0xd800..0xdc00).contains(&unit) {
                    return Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                // A pair, unless the second half is missing: then the first is lost, and what follows is read as it is.
                if self.peek()? != Some(b'\\') {
                    return Ok(char::REPLACEMENT_CHARACTER);
                }
                self.start += 1;
                if self.peek()? != Some(b'u') {
                    return self.escape_after_lone();
                }
                self.start += 1;
                let low = self.unit()?;
                if (0xdc00..0xe000).contains(&low) {
                    let joined = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                    return Ok(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                char::from_u32(low).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return self.broken("an unknown escape"),
        })
    }

    fn escape_after_lone(&mut self) -> Result<char, DocumentError> {
        match self.next()? {
            Some(b'n') => Ok('\n'),
            Some(b't') => Ok('\t'),
            Some(b'r') => Ok('\r'),
            Some(b'b') => Ok('\u{8}'),
            Some(b'f') => Ok('\u{c}'),
            Some(byte @ (b'"' | b'\\' | b'/')) => Ok(char::from(byte)),
            _ => self.broken("an unknown escape"),
        }
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Result<u32, DocumentError> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.next()?.and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else { return self.broken("an escape needs four hexadecimal digits") };
            unit = unit << 4 | digit;
        }
        Ok(unit)
    }
}

/// The valid part; a cut may go through a letter, and invalid UTF-8 is for whoever read the bytes to say.
fn as_text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Log(String);

    impl Sink for Log {
        fn event(&mut self, event: Event<'_>, at: u64) {
            let piece = match event {
                Event::MapStart => "{".to_owned(),
                Event::MapEnd => "}".to_owned(),
                Event::ListStart => "[".to_owned(),
                Event::ListEnd => "]".to_owned(),
                Event::Key(key) => format!("{key}:"),
                Event::Text { text, cut } => format!("'{text}'{}", if cut { "+" } else { "" }),
                Event::Plain(plain) => plain.to_owned(),
                other => format!("{other:?}"),
            };
            self.0.push_str(&format!("{at}{piece} "));
        }
    }

    fn told(text: &str) -> (String, Result<Ending, DocumentError>) {
        let mut log = Log(String::new());
        let ending = read(&mut text.as_bytes(), &mut log);
        (log.0, ending)
    }

    #[test]
    fn tells_everything_in_order() {
        let (log, ending) = told(r#" {"a": [1, "x\u00e9\ud83d\ude00", {}], "a": NaN, "": []} "#);
        assert_eq!(log, "1{ 2a: 7[ 81 11'xé😀' 34{ 35} 36] 39a: 44NaN 49: 53[ 54] 55} ");
        assert_eq!(ending.unwrap().values, 1);
        assert_eq!(told("{}\n{}\n3").1.unwrap().values, 3);
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in ["{", "{a: 1}", "[1,]", "{\"a\" 1}", "nul", "hello", "[1 2]", "\"\\x\"", "{\"a\":}", "]"] {
            assert!(matches!(told(text).1, Err(DocumentError::Malformed { .. })), "{text}");
        }
        assert!(matches!(told(&"[".repeat(DEPTH_MAX + 2)).1, Err(DocumentError::TooDeep { .. })));
    }
}
