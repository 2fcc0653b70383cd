//! Pickles inside texts and byte strings, plain or encoded.
//!
//! [`candidate`] looks at the first bytes of an argument, cheaply: it runs for every longer text of every pickle. What
//! it points to is only believed after the machine has followed it to something that a random string does not hold.

use std::io::Cursor;

use ringfence_format::codec::{self, Codec};

use super::opcode as op;

/// Shortest argument that is looked at: nothing shorter names and calls something.
pub(super) const BYTES_MIN: u64 = 14;

/// Longest `GLOBAL` opcode that is recognised by its look, in bytes.
const GLOBAL_LINE_BYTES_MAX: usize = 512;
/// Most digits of base 64 that tell what they stand for.
const DIGITS_MAX: usize = 684;
/// How often a text may be encoded.
const ENCODED_MAX: u32 = 4;
/// Most bytes that a compressed part is inflated to.
const INFLATED_BYTES_MAX: u64 = 16 << 20;

/// How a nested pickle is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As it is.
    Plain,
    /// Base 64.
    Base64,
    /// Hexadecimal digits.
    Hex,
    /// Latin-1 text in UTF-8, as `_codecs.encode` turns into bytes.
    Latin1,
    /// A compressed stream.
    Packed,
    /// A text opcode that ends with its line, from its first byte on.
    Line,
    /// Whatever it is, the stream itself loads it.
    Loaded,
}

/// Where in `head`, the first bytes of an argument, a pickle may begin.
pub(crate) fn candidate(head: &[u8]) -> Option<(u64, Encoding)> {
    let first = *head.first()?;
    match first {
        op::PROTO if is_start(head) => return Some((0, Encoding::Plain)),
        b'c' | b'(' if has_global_line(head) => return Some((0, Encoding::Plain)),
        b'g' | b'Y' | b'K' | b'a' | b'e' | b'H' | b'Z' | b'W' | b'S' if is_base64(head, ENCODED_MAX) => {
            return Some((0, Encoding::Base64));
        }
        0x78 | 0x1f | b'B' | 0xfd | 0x28 if is_packed(head) => return Some((0, Encoding::Packed)),
        b'8' if [&b"800495"[..], b"800595", b"8002", b"8003"].iter().any(|start| head.starts_with(start)) => {
            return Some((0, Encoding::Hex));
        }
        0x78 | 0x1f | 0xc2 if is_latin1(head) => return Some((0, Encoding::Latin1)),
        _ => {}
    }
    embedded(head).map(|at| (at as u64, Encoding::Plain))
}

/// PROTO, or how zlib and gzip begin, in UTF-8.
fn is_latin1(head: &[u8]) -> bool {
    matches!(head, [0xc2, 0x80, 0..=5, ..] | [b'x', 0xc2, 0x9c, ..] | [b'x', 0xc3, 0x9a, ..] | [0x1f, 0xc2, 0x8b, ..])
}

/// Whether base 64 digits stand for the start of a pickle or of something compressed, up to `more` times over.
fn is_base64(head: &[u8], more: u32) -> bool {
    // The first bytes that are wanted, in base 64; words begin otherwise.
    let may_be = match head {
        [b'g', b'A', ..]
        | [b'Y', b'0'..=b'3', ..]
        | [b'K', b'G', ..]
        | [b'a', b'U'..=b'X', ..]
        | [b'e', b'A' | b'F' | b'J' | b'N', ..]
        | [b'H', b'4', b's', ..] => true,
        [b'Z', b'0' | b'U', ..] | [b'W', b'T', ..] | [b'S', b'0' | b'D', ..] => more > 0,
        _ => false,
    };
    if !may_be {
        return false;
    }
    let bytes = base64(head.get(..head.len().min(DIGITS_MAX)).unwrap_or_default());
    is_start(&bytes)
        || has_global_line(&bytes)
        || bytes.starts_with(b"\x80\x04\x95")
        || is_packed(&bytes)
        || more > 0 && is_base64(&bytes, more - 1)
}

/// Whether a compressed stream begins here; for zlib that is only likely.
fn is_packed(head: &[u8]) -> bool {
    codec_of(head).is_some()
}

fn codec_of(head: &[u8]) -> Option<Codec> {
    match head {
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => Some(Codec::Zlib),
        _ => Codec::of(head).filter(|codec| matches!(codec, Codec::Gzip | Codec::Bzip2 | Codec::Xz | Codec::Zstd)),
    }
}

/// PROTO, a known protocol, and an opcode that picklers write first.
pub(crate) fn is_start(bytes: &[u8]) -> bool {
    match bytes {
        [op::PROTO, 4 | 5, op::FRAME, frame @ ..] => {
            frame.get(3..8).is_some_and(|high| high.iter().all(|byte| *byte == 0))
        }
        [op::PROTO, 0..=5, next, ..] => matches!(
            *next,
            op::MARK
                | op::EMPTY_DICT
                | op::EMPTY_LIST
                | op::EMPTY_TUPLE
                | op::EMPTY_SET
                | op::GLOBAL
                | op::BINUNICODE
                | op::SHORT_BINUNICODE
                | op::NONE
                | op::LONG1
                | op::LONG4
                | op::NEXT_BUFFER
                | op::BININT1
                | op::BININT
                | op::BININT2
                | op::BINBYTES
                | op::SHORT_BINBYTES
                | op::BINFLOAT
                | op::INST
                | op::BINSTRING
                | op::SHORT_BINSTRING
                | op::STRING
                | op::UNICODE
                | op::NEWTRUE
                | op::NEWFALSE
                | op::BINUNICODE8
                | op::FROZENSET
                | op::BINBYTES8
                | op::BYTEARRAY8
                | op::EXT1
                | op::EXT2
                | op::EXT4
                | op::PROTO
                | op::INT
                | op::LONG
                | op::FLOAT
        ),
        _ => false,
    }
}

/// A framed pickle behind other bytes.
pub(crate) fn embedded(head: &[u8]) -> Option<usize> {
    memchr::memchr_iter(op::PROTO, head).find(|at| match head.get(*at..) {
        Some(rest @ [_, 4 | 5, op::FRAME, ..]) => is_start(rest),
        _ => false,
    })
}

/// `cmodule\nname\n`, perhaps behind a mark.
pub(crate) fn has_global_line(head: &[u8]) -> bool {
    // Two names and their line ends; a minified file is one line of megabytes.
    let head = head.get(..head.len().min(GLOBAL_LINE_BYTES_MAX)).unwrap_or_default();
    let head = head.strip_prefix(b"(").unwrap_or(head);
    let Some(rest) = head.strip_prefix(b"c").or_else(|| head.strip_prefix(b"i")) else { return false };
    let mut lines = rest.splitn(3, |byte| *byte == b'\n');
    let is_name = |line: Option<&[u8]>| {
        line.is_some_and(|line| {
            !line.is_empty()
                && line.len() < 200
                && line.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
        })
    };
    is_name(lines.next()) && is_name(lines.next()) && lines.next().is_some_and(|tail| !tail.is_empty())
}

/// The bytes that a text stands for, as far as they decode.
pub(crate) fn decode(text: &[u8], encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::Plain | Encoding::Loaded => text.to_vec(),
        Encoding::Hex => text
            .chunks_exact(2)
            .map_while(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect(),
        Encoding::Latin1 => {
            let valid = match std::str::from_utf8(text) {
                Ok(text) => text,
                Err(error) => {
                    std::str::from_utf8(text.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default()
                }
            };
            valid.chars().map_while(|character| u8::try_from(u32::from(character)).ok()).collect()
        }
        Encoding::Base64 => base64(text),
        Encoding::Line => super::line_bytes(text).unwrap_or_default(),
        Encoding::Packed => codec_of(text)
            .and_then(|codec| codec::inflate(&mut Cursor::new(text), codec, INFLATED_BYTES_MAX).ok())
            .map_or_else(Vec::new, |inflated| inflated.bytes),
    }
}

fn base64(text: &[u8]) -> Vec<u8> {
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for byte in text.iter().filter(|byte| !byte.is_ascii_whitespace()) {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
            bits &= (1 << count) - 1;
        }
    }
    out
}
