//! PDF documents (ISO 32000-1): what they would run or carry.
//!
//! Names are looked for in the bytes, with their escapes undone, and in the object streams that can hide them. The
//! content of pages and pictures is not drawn.

use std::io;

use memchr::memmem;
use ringfence_format::codec::{self, Codec};

use crate::{
    audit::Audit,
    rules::id,
    source::{Source, bytes_at, length},
};

/// Longest document that is read, in bytes.
const BYTES_MAX: u64 = 64 << 20;
/// How far from the end of the file the end marker may stand, in bytes.
const TAIL_BYTES: u64 = 1_024;
/// Streams whose dictionary is looked at.
const DICTIONARIES_MAX: usize = 50_000;
/// Object streams that are unpacked.
const STREAMS_MAX: usize = 4_096;
/// Most bytes that one object stream is unpacked to.
const STREAM_BYTES_MAX: u64 = 4 << 20;
/// Most bytes that all of them are unpacked to.
const STREAMS_BYTES_MAX: u64 = 256 << 20;
/// How far before a stream its dictionary is looked for, in bytes.
const DICTIONARY_BYTES: usize = 1_024;
/// Longest name, in bytes (annex C).
const NAME_BYTES_MAX: usize = 127;
/// Names of actions that run something and of what is carried along.
const ACTIVE: [&[u8]; 8] =
    [b"JavaScript", b"JS", b"Launch", b"EmbeddedFile", b"EmbeddedFiles", b"RichMedia", b"SubmitForm", b"ImportData"];

impl Audit<'_> {
    /// Behind the end marker.
    pub(super) fn pdf_end(&mut self, source: &mut dyn Source) -> io::Result<Option<u64>> {
        let whole = length(source)?;
        if whole > BYTES_MAX {
            self.note(id::GEN_UNSUPPORTED, "the document is longer than what is read", Some(BYTES_MAX));
        }
        let bytes = bytes_at(source, 0, BYTES_MAX)?;
        self.pdf_names(&bytes, 0);
        self.pdf_streams(&bytes);
        let start = whole.saturating_sub(TAIL_BYTES);
        let tail = bytes_at(source, start, TAIL_BYTES)?;
        let Some(at) = memmem::rfind(&tail, b"%%EOF") else { return Ok(None) };
        let rest = tail.get(at + 5..).unwrap_or_default();
        let is_blank = rest.iter().all(|byte| matches!(byte, b'\r' | b'\n' | b' ' | 0));
        Ok(Some(if is_blank { whole } else { start + at as u64 + 5 }))
    }

    fn pdf_names(&mut self, bytes: &[u8], base: u64) {
        for at in memchr::memchr_iter(b'/', bytes) {
            let rest = bytes.get(at + 1..).unwrap_or_default();
            let name = name(rest);
            // Two letters also turn up in packed data: then no value stands behind them.
            let is_active = ACTIVE.contains(&name.0.as_slice()) && (name.0.len() > 2 || has_value(rest, name.1));
            if is_active {
                let shown = String::from_utf8_lossy(&name.0).into_owned();
                self.note(id::DOC_ACTIVE, &format!("the document has `/{shown}`"), Some(base + at as u64));
                return;
            }
        }
    }

    /// Object streams (§7.5.7) hold objects in packed form.
    fn pdf_streams(&mut self, bytes: &[u8]) {
        let mut read = 0;
        let mut left = STREAMS_BYTES_MAX;
        for (count, at) in memmem::find_iter(bytes, b"stream").enumerate() {
            if bytes.get(..at).is_some_and(|before| before.ends_with(b"end")) {
                continue;
            }
            if count > DICTIONARIES_MAX {
                self.note(id::GEN_UNSUPPORTED, "more streams than are read", Some(at as u64));
                return;
            }
            let skip = match bytes.get(at + 6..at + 8) {
                Some([b'\r', b'\n']) => 8,
                Some([b'\n' | b'\r', _]) => 7,
                _ => continue,
            };
            let before = bytes.get(at.saturating_sub(DICTIONARY_BYTES)..at).unwrap_or_default();
            let dictionary = before.get(memmem::rfind(before, b"obj").unwrap_or(0)..).unwrap_or_default();
            let names = |wanted: &[u8]| {
                memchr::memchr_iter(b'/', dictionary)
                    .any(|at| name(dictionary.get(at + 1..).unwrap_or_default()).0 == wanted)
            };
            if !names(b"ObjStm") {
                continue;
            }
            read += 1;
            if read > STREAMS_MAX || left == 0 {
                self.note(id::GEN_UNSUPPORTED, "more object streams than are read", Some(at as u64));
                return;
            }
            let packed = bytes.get(at + skip..).unwrap_or_default();
            if !names(b"FlateDecode") || names(b"DecodeParms") {
                if names(b"Filter") {
                    self.note(id::GEN_UNSUPPORTED, "objects are packed in a way that is not read", Some(at as u64));
                }
                continue;
            }
            let most = STREAM_BYTES_MAX.min(left);
            let Ok(inflated) = codec::inflate(&mut &*packed, Codec::Zlib, most) else { continue };
            left = left.saturating_sub(inflated.bytes.len() as u64);
            if inflated.bytes.is_empty() || inflated.end == codec::End::TooLarge {
                self.note(id::GEN_UNSUPPORTED, "an object stream cannot be read to its end", Some(at as u64));
            }
            self.pdf_names(&inflated.bytes, at as u64);
        }
    }
}

/// A name with its escapes undone (§7.3.5), and how many bytes it takes.
fn name(bytes: &[u8]) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at).filter(|_| out.len() < NAME_BYTES_MAX) {
        let digit = |at: usize| bytes.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match byte {
            b'#' if let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) => {
                out.push(u8::try_from(high << 4 | low).unwrap_or(0));
                at += 3;
            }
            0x21..=0x7e if !b"()<>[]{}/%".contains(byte) => {
                out.push(*byte);
                at += 1;
            }
            _ => break,
        }
    }
    (out, at)
}

/// Whether a string or a reference to one stands behind a name.
fn has_value(bytes: &[u8], from: usize) -> bool {
    let rest = bytes.get(from..).unwrap_or_default();
    let rest = rest.trim_ascii_start();
    match rest {
        [b'(' | b'<', ..] => true,
        [b'0'..=b'9', ..] => rest.iter().take(20).skip_while(|byte| byte.is_ascii_digit()).take(4).eq(b" 0 R"),
        _ => false,
    }
}
