//! YAML as events, tags resolved; for configuration, so a text in memory.
//!
//! [`read`] follows anchors only by counting: [`Ending::expanded`] says how many values there would be if every alias were
//! written out, which tells a bomb. Offsets are bytes.

#![deny(clippy::indexing_slicing)]

use std::collections::HashMap;

use saphyr_parser::{Event as Piece, Parser, ScalarStyle, Tag};

use super::{DEPTH_MAX, DocumentError, Event, Sink, TEXT_BYTES_MAX};

/// Longest text that is read, in bytes.
pub const BYTES_MAX: usize = 16 << 20;
/// Most values of one text.
pub const EVENTS_MAX: u64 = 4_000_000;

/// What a text amounts to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ending {
    /// Documents in it.
    pub documents: u64,
    /// Maps in it.
    pub maps: u64,
    /// Scalars, maps and lists in it, each alias counted with all that it stands for.
    pub expanded: u64,
    /// The same without aliases.
    pub written: u64,
}

/// Reads `text` and tells `sink` everything up to the first error.
///
/// # Errors
/// [`DocumentError`], together with what was read before it.
pub fn read(text: &str, sink: &mut dyn Sink) -> (Ending, Result<(), DocumentError>) {
    let mut reader = Reader { sink, ending: Ending::default(), open: Vec::new(), anchors: HashMap::new() };
    let result = reader.run(text);
    (reader.ending, result)
}

/// An open map or list.
struct Open {
    is_map: bool,
    /// In a map: the next scalar is a key.
    wants_key: bool,
    anchor: usize,
    /// Expanded values before it began.
    before: u64,
}

struct Reader<'s> {
    sink: &'s mut dyn Sink,
    ending: Ending,
    open: Vec<Open>,
    /// Expanded values behind each anchor.
    anchors: HashMap<usize, u64>,
}

impl Reader<'_> {
    fn run(&mut self, text: &str) -> Result<(), DocumentError> {
        if text.len() > BYTES_MAX {
            return Err(DocumentError::TooMany);
        }
        let mut offsets = Offsets { text, chars: 0, bytes: 0 };
        let mut parser = Parser::new_from_str(text).keep_tags(true);
        while let Some(piece) = parser.next_event() {
            let (piece, span) = piece.map_err(|error| DocumentError::Malformed {
                at: offsets.bytes_of(error.marker().index()),
                reason: error.info().to_owned(),
            })?;
            let at = offsets.bytes_of(span.start.index());
            self.piece(&piece, at)?;
            if self.ending.written > EVENTS_MAX {
                return Err(DocumentError::TooMany);
            }
        }
        Ok(())
    }

    fn piece(&mut self, piece: &Piece<'_>, at: u64) -> Result<(), DocumentError> {
        match piece {
            Piece::DocumentStart(_) => {
                if self.ending.documents > 0 {
                    self.sink.event(Event::Next, at);
                }
                self.ending.documents += 1;
                self.open.clear();
            }
            Piece::MappingStart(anchor, tag) => {
                self.tag(tag.as_deref(), at);
                self.ending.maps += 1;
                self.start(true, *anchor, at)?;
            }
            Piece::SequenceStart(anchor, tag) => {
                self.tag(tag.as_deref(), at);
                self.start(false, *anchor, at)?;
            }
            Piece::MappingEnd | Piece::SequenceEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                if open.anchor > 0 {
                    self.anchors.insert(open.anchor, self.ending.expanded.saturating_sub(open.before));
                }
                self.sink.event(if open.is_map { Event::MapEnd } else { Event::ListEnd }, at);
                self.finished();
            }
            Piece::Scalar(text, style, anchor, tag) => {
                self.tag(tag.as_deref(), at);
                self.count(1);
                if *anchor > 0 {
                    self.anchors.insert(*anchor, 1);
                }
                let is_key = self.open.last().is_some_and(|open| open.is_map && open.wants_key);
                let kept = text.floor_char_boundary(TEXT_BYTES_MAX.min(text.len()));
                let kept = text.get(..kept).unwrap_or_default();
                if is_key {
                    self.sink.event(Event::Key(kept), at);
                } else if *style == ScalarStyle::Plain && is_plain(kept) {
                    self.sink.event(Event::Plain(kept), at);
                } else {
                    self.sink.event(Event::Text { text: kept, cut: kept.len() < text.len() }, at);
                }
                self.finished();
            }
            Piece::Alias(anchor) => {
                let stands_for = self.anchors.get(anchor).copied().unwrap_or(1);
                self.ending.written += 1;
                self.ending.expanded = self.ending.expanded.saturating_add(stands_for);
                self.sink.event(Event::Alias, at);
                self.finished();
            }
            Piece::Nothing | Piece::StreamStart | Piece::StreamEnd | Piece::DocumentEnd => {}
        }
        Ok(())
    }

    fn count(&mut self, values: u64) {
        self.ending.written += values;
        self.ending.expanded = self.ending.expanded.saturating_add(values);
    }

    fn start(&mut self, is_map: bool, anchor: usize, at: u64) -> Result<(), DocumentError> {
        if self.open.len() >= DEPTH_MAX {
            return Err(DocumentError::TooDeep { at });
        }
        // A map or list in the place of a key is told as a value under an empty key.
        if self.open.last().is_some_and(|open| open.is_map && open.wants_key) {
            self.sink.event(Event::Key(""), at);
        }
        let before = self.ending.expanded;
        self.count(1);
        self.open.push(Open { is_map, wants_key: is_map, anchor, before });
        self.sink.event(if is_map { Event::MapStart } else { Event::ListStart }, at);
        Ok(())
    }

    /// A key or a value is over: in a map the other one is due.
    fn finished(&mut self) {
        if let Some(open) = self.open.last_mut() {
            open.wants_key = open.is_map && !open.wants_key;
        }
    }

    fn tag(&mut self, tag: Option<&Tag>, at: u64) {
        let Some(tag) = tag else { return };
        let full = format!("{}{}", tag.handle, tag.suffix);
        self.sink.event(Event::Tag(&unescaped(&full)), at);
    }
}

/// Number, truth value or null by YAML's core schema, roughly: what no rule wants to see as a text.
fn is_plain(text: &str) -> bool {
    text.is_empty()
        || text == "~"
        || ["null", "true", "false", "yes", "no", "on", "off"].iter().any(|word| text.eq_ignore_ascii_case(word))
        || text.parse::<f64>().is_ok()
}

/// `%6f` is `o`: readers decode tags.
fn unescaped(tag: &str) -> String {
    if !tag.contains('%') {
        return tag.to_owned();
    }
    let bytes = tag.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *byte == b'%');
        out.push(decoded.unwrap_or(*byte));
        at += if decoded.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Turns rising counts of characters into bytes.
struct Offsets<'t> {
    text: &'t str,
    chars: usize,
    bytes: usize,
}

impl Offsets<'_> {
    fn bytes_of(&mut self, chars: usize) -> u64 {
        let rest = self.text.get(self.bytes..).unwrap_or_default();
        let more = chars.saturating_sub(self.chars);
        if more > 0 {
            let bytes: usize = rest.chars().take(more).map(char::len_utf8).sum();
            self.bytes += bytes;
            self.chars = chars;
        }
        self.bytes as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Log(String);

    impl Sink for Log {
        fn event(&mut self, event: Event<'_>, at: u64) {
            self.0.push_str(&format!("{at}:{event:?} "));
        }
    }

    fn told(text: &str) -> (String, Ending, bool) {
        let mut log = Log(String::new());
        let (ending, result) = read(text, &mut log);
        (log.0, ending, result.is_ok())
    }

    #[test]
    fn tags_in_every_spelling() {
        let spellings = [
            "a: !!python/object/apply:os.system [id]",
            "a: !<tag:yaml.org,2002:python/object/apply:os.system> [id]",
            "%TAG !y! tag:yaml.org,2002:python/\n---\na: !y!object/apply:os.system [id]",
            "a: !!python/object/apply:%6fs.system [id]",
            "{a: !!python/object/apply:os.system [id]}",
            "- &x !!python/object/apply:os.system\n  - id",
        ];
        for text in spellings {
            let (log, ..) = told(text);
            assert!(log.contains("Tag(\"tag:yaml.org,2002:python/object/apply:os.system\")"), "{text}: {log}");
        }
    }

    #[test]
    fn keys_and_values() {
        let (log, ending, ok) = told("a: 1\nb:\n  - x\n  - é: {}\n---\nc\n");
        assert!(ok, "{log}");
        assert_eq!((ending.documents, ending.maps), (2, 3));
        assert!(log.contains("0:Key(\"a\") 3:Plain(\"1\") 5:Key(\"b\")"), "{log}");
        assert!(log.contains("Next"), "{log}");
    }

    #[test]
    fn laughs_are_counted() {
        let mut text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (this, last) in ["b", "c", "d", "e", "f"].iter().zip(["a", "b", "c", "d", "e"]) {
            text.push_str(&format!(
                "{this}: &{this} [*{last}, *{last}, *{last}, *{last}, *{last}, *{last}, *{last}, *{last}]\n"
            ));
        }
        let (_, ending, ok) = told(&text);
        assert!(ok && ending.expanded > 300_000 && ending.written < 100, "{ending:?}");
    }
}
