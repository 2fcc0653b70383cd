//! The canonical hash of a record, rule `ringfence.record/1`.
//!
//! Two records that differ only in how they were written down hash alike: text is HTML-unescaped once, brought to NFKC,
//! runs of white space (line ends among them) become one space and the ends are trimmed; a plain decimal without leading
//! zeros becomes its normal form, whatever its spelling; object keys are sorted. An encoded record is a sequence of
//! values: a tag byte, a length or count as `u32` little-endian, and the bytes. CSV records are lists of cells in column
//! order, JSONL records objects, IDX records the item's bytes and then the label, if there is one. The hash is SHA-256 of
//! `ringfence.record/1`, a zero byte, and the encoding.

#![deny(clippy::indexing_slicing)]

use std::borrow::Cow;

use ringfence_schema::Digest;
use unicode_normalization::{UnicodeNormalization, is_nfkc_quick};

use crate::table::{Format, Table, delimited, idx_label, json, number};

/// Names of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHash {
    /// The whole record.
    pub(crate) whole: Digest,
    /// The record with its label left out: equal for equal content under different labels.
    pub(crate) content: Digest,
}

/// Hashes one record; `label` is its label column. A record that cannot be read is hashed as its raw bytes.
pub(crate) fn hash(table: &Table, record: usize, label: Option<usize>) -> RecordHash {
    let mut whole = Vec::from(DOMAIN);
    let mut content = Vec::from(DOMAIN);
    let raw = table.raw(record);
    match &table.format {
        Format::Idx => {
            put(&mut whole, b'x', raw);
            put(&mut content, b'x', raw);
            if let Some(label) = table.labels.as_deref().and_then(|labels| idx_label(labels, record)) {
                scalar(&mut whole, label.to_string().as_bytes());
            }
        }
        Format::Csv(dialect) => {
            delimited::fields(raw, *dialect, &mut |column, text| {
                let start = whole.len();
                scalar(&mut whole, &text);
                if Some(column) == label {
                    content.push(b'-');
                } else {
                    content.extend_from_slice(whole.get(start..).unwrap_or(&[]));
                }
            });
        }
        Format::Jsonl => {
            if let Ok(line) = json::parse(raw) {
                let skip = label.and_then(|label| table.names.get(label)).map(String::as_str);
                encode(&line.value, "", None, &mut whole);
                encode(&line.value, "", skip, &mut content);
            } else {
                put(&mut whole, b'!', raw.trim_ascii());
                put(&mut content, b'!', raw.trim_ascii());
            }
        }
    }
    RecordHash { whole: Digest::of(&whole), content: Digest::of(&content) }
}

/// Text in canonical form.
pub(crate) fn canonical_text(text: &str) -> Cow<'_, str> {
    if is_canonical_ascii(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let unescaped = unescape(text);
    let normal = match is_nfkc_quick(unescaped.chars()) {
        unicode_normalization::IsNormalized::Yes => unescaped,
        _ => Cow::Owned(unescaped.nfkc().collect()),
    };
    let mut out = String::with_capacity(normal.len());
    for word in normal.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    Cow::Owned(out)
}

fn encode(value: &json::Value, path: &str, skip: Option<&str>, out: &mut Vec<u8>) {
    if skip.is_some_and(|skip| skip == path) {
        out.push(b'-');
        return;
    }
    match value {
        json::Value::Null => out.push(b'n'),
        json::Value::Boolean(value) => out.push(if *value { b't' } else { b'f' }),
        json::Value::Number(value) => scalar(out, value.to_string().as_bytes()),
        json::Value::Text(text) => put(out, b's', canonical_text(text).as_bytes()),
        json::Value::List(values) => {
            count(out, b'[', values.len());
            for (index, value) in values.iter().enumerate() {
                let path = if skip.is_some() { format!("{path}[{index}]") } else { String::new() };
                encode(value, &path, skip, out);
            }
        }
        json::Value::Object(entries) => {
            count(out, b'{', entries.len());
            let mut sorted: Vec<_> = entries.iter().map(|(key, value)| (canonical_text(key), key, value)).collect();
            sorted.sort_by(|a, b| a.0.cmp(&b.0));
            for (canonical, key, value) in sorted {
                put(out, b's', canonical.as_bytes());
                let dot = if path.is_empty() { "" } else { "." };
                let path = if skip.is_some() { format!("{path}{dot}{key}") } else { String::new() };
                encode(value, &path, skip, out);
            }
        }
    }
}

/// A CSV cell: a number in its normal form, or canonical text.
fn scalar(out: &mut Vec<u8>, text: &[u8]) {
    let trimmed = text.trim_ascii();
    let plain = trimmed.len() <= PLAIN_DIGITS_MAX
        && trimmed.iter().all(u8::is_ascii_digit)
        && !matches!(trimmed, [] | [b'0', _, ..]);
    if plain {
        put(out, b'#', trimmed);
    } else if let Some(number) = number::normal_form(trimmed) {
        put(out, b'#', number.as_bytes());
    } else {
        match std::str::from_utf8(text) {
            Ok(text) => put(out, b's', canonical_text(text).as_bytes()),
            Err(_) => put(out, b'!', text),
        }
    }
}

fn put(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    count(out, tag, bytes.len());
    out.extend_from_slice(bytes);
}

fn count(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(tag);
    // INVARIANT: records are at most `RECORD_BYTES_MAX` or an IDX item of `COLUMNS_MAX` elements, far below 4 GiB.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn is_canonical_ascii(text: &[u8]) -> bool {
    let mut space_before = true;
    for byte in text {
        let space = *byte == b' ';
        if !(b' '..=b'~').contains(byte) || *byte == b'&' || (space && space_before) {
            return false;
        }
        space_before = space;
    }
    !space_before || text.is_empty()
}

/// Replaces the character references that HTML exports leave behind: the five of XML, `&nbsp;`, and numbers.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let reference = after.split_once(';').filter(|(name, _)| name.len() <= REFERENCE_BYTES_MAX);
        if let Some((character, behind)) = reference.and_then(|(name, behind)| Some((character(name)?, behind))) {
            out.push(character);
            rest = behind;
        } else {
            out.push('&');
            rest = after;
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

const DOMAIN: &[u8] = b"ringfence.record/1\0";
const PLAIN_DIGITS_MAX: usize = 15;
const REFERENCE_BYTES_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_the_same_text_agree() {
        for text in ["a &amp; b", " a  &\r\n b ", "a\u{a0}& b", "a &#38; b", "\u{ff41} & b"] {
            assert_eq!(canonical_text(text), "a & b", "{text:?}");
        }
        assert_eq!(canonical_text("&unknown; &amp;lt;"), "&unknown; &lt;");
    }

    #[test]
    fn spellings_of_the_same_number_agree() {
        let encoded = |text: &str| {
            let mut out = Vec::new();
            scalar(&mut out, text.as_bytes());
            out
        };
        for text in ["100", "1e2", " 100.0", "+100", "1.00E+2"] {
            assert_eq!(encoded(text), encoded("100"), "{text}");
        }
        assert_ne!(encoded("0100"), encoded("100"));
        assert_ne!(encoded("1.5"), encoded("15"));
    }

    proptest! {
        #[test]
        fn canonical_ascii_is_left_alone(text in "[ -~]{0,40}") {
            if is_canonical_ascii(text.as_bytes()) {
                let words: Vec<_> = text.split_whitespace().collect();
                prop_assert_eq!(words.join(" "), text);
            }
        }
    }
}
