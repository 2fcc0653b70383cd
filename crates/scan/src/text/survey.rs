//! One pass over a whole content: whether it is text, in which encoding, with which secrets and hidden characters.

use std::io::{self, SeekFrom};

use super::hidden;
use crate::{
    audit::Audit,
    rules::id,
    source::{Source, bytes_at, length},
    stream::names_something,
};

/// Size of the buffer, in bytes.
const BUFFER_BYTES: usize = 256 << 10;
/// What stays in the buffer for the next round, in bytes: longer than any secret that is looked for.
const OVERLAP_BYTES: usize = 8 << 10;
/// At most one control character in so many bytes.
const CONTROL_EVERY: usize = 64;
/// Most hidden texts that are kept.
const HIDDEN_MAX: usize = 8;
/// UTF-16 and Latin-1 are decoded up to this length, in bytes.
pub(super) const WIDE_BYTES_MAX: u64 = 32 << 20;
/// Shortest text that is taken for pairs, in bytes, and its longest line.
const PAIRS_BYTES_MIN: usize = 48;
const PAIRS_LINE_BYTES_MAX: usize = 16 << 10;
/// Shortest text that is taken for Latin-1, in bytes; fewer bytes are anything.
const LATIN_BYTES_MIN: usize = 8;

/// How letters are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    Utf16Little,
    Utf16Big,
    /// ISO 8859-1 and Windows-1252, its superset in practice.
    Latin1,
    /// Two bytes a letter, as GBK, Big5, Shift JIS and EUC have it; only its ASCII is read.
    Pairs,
}

/// What the pass saw.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) encoding: Encoding,
    /// Where a secret may be: start and bytes of a stretch of text.
    suspects: Vec<(u64, Vec<u8>)>,
    hidden: Vec<(u64, String)>,
}

impl Audit<'_> {
    pub(super) fn tell_survey(&mut self, survey: &Survey) {
        self.secrets(&survey.suspects);
        for (at, what) in &survey.hidden {
            self.note(id::HID_TEXT, &format!("a line holds {what}"), Some(*at));
        }
    }
}

/// `None`: the content is no text.
pub(super) fn survey(source: &mut dyn Source) -> io::Result<Option<Survey>> {
    let start = bytes_at(source, 0, 2)?;
    if start == b"\xff\xfe" || start == b"\xfe\xff" {
        let encoding = if start == b"\xff\xfe" { Encoding::Utf16Little } else { Encoding::Utf16Big };
        return Ok(is_wide_text(source, encoding)?.then(|| Survey::of(encoding)));
    }
    let mut survey = Survey::of(Encoding::Utf8);
    if survey.pass(source)? {
        return Ok(Some(survey));
    }
    Ok(single_bytes(source)?.map(Survey::of))
}

/// The text that `bytes` are; for UTF-8 see elsewhere.
pub(super) fn decoded(bytes: &[u8], encoding: Encoding) -> String {
    match encoding {
        Encoding::Utf8 | Encoding::Pairs => String::from_utf8_lossy(bytes).into_owned(),
        Encoding::Latin1 => bytes.iter().map(|byte| char::from(*byte)).collect(),
        Encoding::Utf16Little | Encoding::Utf16Big => {
            let units = bytes.chunks_exact(2).skip(1).filter_map(<[u8]>::first_chunk::<2>);
            let little = encoding == Encoding::Utf16Little;
            let units = units.map(|pair| if little { u16::from_le_bytes(*pair) } else { u16::from_be_bytes(*pair) });
            char::decode_utf16(units).map(|decoded| decoded.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
    }
}

impl Survey {
    fn of(encoding: Encoding) -> Self {
        Self { encoding, suspects: Vec::new(), hidden: Vec::new() }
    }

    /// Reads everything; `false`: it is not UTF-8, or holds characters that texts do not.
    fn pass(&mut self, source: &mut dyn Source) -> io::Result<bool> {
        source.seek(SeekFrom::Start(0))?;
        let mut buffer = vec![0; BUFFER_BYTES];
        // Bytes at the front of the buffer that were looked at before, and those that are the beginning of a letter.
        let (mut kept, mut open, mut base) = (0, 0, 0_u64);
        let mut is_json = None;
        loop {
            let Some(free) = buffer.get_mut(kept..) else { return Ok(false) };
            let read = source.read(free)?;
            let bytes = buffer.get(..kept + read).unwrap_or_default();
            let fresh = bytes.get(kept - open..).unwrap_or_default();
            if has_control(fresh) {
                return Ok(false);
            }
            let valid = match std::str::from_utf8(fresh) {
                Ok(_) => fresh.len(),
                Err(error) if error.error_len().is_none() && read > 0 => error.valid_up_to(),
                Err(_) => return Ok(false),
            };
            let json = *is_json.get_or_insert_with(|| {
                let start = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
                matches!(start.first(), Some(b'{' | b'['))
            });
            let known = bytes.get(..kept - open + valid).unwrap_or_default();
            if read > 0 || base == 0 {
                self.secrets(known, base, kept - open);
                if !json {
                    self.hidden(known, base, kept - open);
                }
            }
            if read == 0 {
                return Ok(true);
            }
            open = fresh.len() - valid;
            let keep = (OVERLAP_BYTES + open).min(bytes.len());
            let from = bytes.len() - keep;
            base += from as u64;
            buffer.copy_within(from..from + keep, 0);
            kept = keep;
        }
    }

    /// Stretches of text around the beginnings of secrets; the exact look comes later.
    fn secrets(&mut self, bytes: &[u8], base: u64, seen: usize) {
        const STARTS: [&[u8]; 13] = [
            b"AKIA",
            b"ASIA",
            b"hf_",
            b"gh",
            b"npm_",
            b"github_pat_",
            b"sk-",
            b"xox",
            b"AIza",
            b"glpat-",
            b"sk_live_",
            b"pypi-Ag",
            b"AccountKey=",
        ];
        let from = seen.saturating_sub(OVERLAP_BYTES / 2);
        let fresh = bytes.get(from..).unwrap_or_default();
        let starts =
            STARTS.iter().filter(|start| **start != b"gh").any(|start| memchr::memmem::find(fresh, start).is_some());
        let github = || {
            [&b"ghp_"[..], b"gho_", b"ghs_", b"ghu_"].iter().any(|start| memchr::memmem::find(fresh, start).is_some())
        };
        let key = || memchr::memmem::find(fresh, b"PRIVATE KEY-----").is_some();
        if self.suspects.len() < 64 && (starts || github() || key()) {
            self.suspects.push((base + from as u64, fresh.to_owned()));
        }
    }

    /// Lines with hidden characters. A line that goes on in the next round is seen there again.
    fn hidden(&mut self, bytes: &[u8], base: u64, seen: usize) {
        if self.hidden.len() >= HIDDEN_MAX {
            return;
        }
        let from = bytes.get(..seen).and_then(|old| memchr::memrchr(b'\n', old)).map_or(0, |at| at + 1);
        let fresh = bytes.get(from..).unwrap_or_default();
        // Everything that matters begins with one of these: U+180E, U+2000…, U+FE00…, U+E0000….
        let needs_look = memchr::memchr3(0xe2, 0xf3, 0xef, fresh).is_some() || memchr::memchr(0xe1, fresh).is_some();
        if !needs_look {
            return;
        }
        let mut at = base + from as u64;
        for line in fresh.split_inclusive(|byte| *byte == b'\n') {
            if !line.is_ascii()
                && let Ok(line) = std::str::from_utf8(line)
                && let Some(what) = hidden::in_line(line.strip_prefix('\u{feff}').unwrap_or(line))
                && self.hidden.last().is_none_or(|(before, _)| *before != at)
                && self.hidden.len() < HIDDEN_MAX
            {
                self.hidden.push((at, what));
            }
            at += line.len() as u64;
        }
    }
}

/// Characters that texts do not hold: zeros, and more than a few of the other controls. Scripts and vocabularies hold some.
fn has_control(bytes: &[u8]) -> bool {
    // Plain counts, of which the compiler makes vectors.
    let count = |chunk: &[u8], is_such: fn(u8) -> bool| {
        chunk.iter().fold(0_u32, |count, byte| count + u32::from(is_such(*byte)))
    };
    bytes.chunks(4_096).any(|chunk| {
        let low = count(chunk, |byte| byte < 32);
        if low == 0 {
            return false;
        }
        let odd = count(chunk, |byte| byte < 9 || (14..32).contains(&byte) && byte != 27);
        odd > 0 && (chunk.contains(&0) || odd > u32::try_from(chunk.len() / CONTROL_EVERY).unwrap_or(0))
    })
}

/// UTF-16 of bounded length with a mark.
fn is_wide_text(source: &mut dyn Source, encoding: Encoding) -> io::Result<bool> {
    let whole = length(source)?;
    if whole > WIDE_BYTES_MAX || !whole.is_multiple_of(2) {
        return Ok(false);
    }
    let text = decoded(&bytes_at(source, 0, WIDE_BYTES_MAX)?, encoding);
    Ok(text.chars().all(|c| c != char::REPLACEMENT_CHARACTER && (!c.is_control() || c.is_whitespace())))
}

/// Texts without a mark that are not UTF-8: mostly ASCII with accents, or pairs of high bytes. A pickle is neither, however
/// it is written.
fn single_bytes(source: &mut dyn Source) -> io::Result<Option<Encoding>> {
    if length(source)? > WIDE_BYTES_MAX {
        return Ok(None);
    }
    let bytes = bytes_at(source, 0, WIDE_BYTES_MAX)?;
    let is_control = |byte: &u8| *byte < 32 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c) || *byte == 127;
    if bytes.len() < LATIN_BYTES_MIN || bytes.iter().any(is_control) || names_something(source) {
        return Ok(None);
    }
    let is_undefined = |byte: &u8| matches!(byte, 0x81 | 0x8d | 0x8f | 0x90 | 0x9d);
    let high = bytes.iter().filter(|byte| **byte >= 0x80).count();
    let letters = bytes.iter().filter(|byte| byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace()).count();
    if high * 5 <= bytes.len() && letters * 2 >= bytes.len() && !bytes.iter().any(is_undefined) {
        return Ok(Some(Encoding::Latin1));
    }
    Ok((bytes.len() >= PAIRS_BYTES_MIN && are_pairs(&bytes)).then_some(Encoding::Pairs))
}

/// Whether each high byte is the first or second of a pair, and lines are as long as lines are. No such encoding has a first
/// byte 80 or FF, or a second byte 7F or FF.
fn are_pairs(bytes: &[u8]) -> bool {
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        let is_second = |second: &u8| matches!(second, 0x40..=0x7e | 0x80..=0xfe);
        if *byte >= 0x80 && (matches!(byte, 0x80 | 0xff) || !rest.next().is_some_and(is_second)) {
            return false;
        }
    }
    bytes.split(|byte| *byte == b'\n').all(|line| line.len() <= PAIRS_LINE_BYTES_MAX)
}
