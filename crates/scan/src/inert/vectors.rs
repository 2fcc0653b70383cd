//! Word vectors and taggers of small C libraries: fastText, word2vec's binary form, CRFsuite.
//!
//! Each walk follows the counts of the file to its end; the numbers themselves are stepped over.

use std::io;

use super::Order;
use crate::source::{Source, bytes_at};

/// First bytes of a fastText model (`fasttext.cc`, `FASTTEXT_FILEFORMAT_MAGIC_INT32`).
pub(super) const FASTTEXT_MAGIC: [u8; 4] = 793_712_314_u32.to_le_bytes();
/// Numbers of its arguments behind magic and version, in bytes (`args.cc`, `Args::save`).
const ARGUMENTS_BYTES: u64 = 12 * 4 + 8;
/// Words of one file that are walked, and the longest of them in bytes.
const WORDS_MAX: u64 = 20_000_000;
const WORD_BYTES_MAX: usize = 4 << 10;
/// Longest first line of word2vec's form, in bytes, and most numbers of one vector.
const LINE_BYTES_MAX: usize = 24;
const WIDTH_MAX: u64 = 16_384;
/// Bytes that are read at once.
const CHUNK_BYTES: u64 = 64 << 10;
/// Centres of one product quantiser (`productquantizer.h`, `ksub_`), and bytes of one of their numbers.
const CENTRES: u64 = 256;
const NUMBER_BYTES: u64 = 4;

/// Reads forward in chunks.
struct Walk<'a> {
    source: &'a mut dyn Source,
    chunk: Vec<u8>,
    start: u64,
    at: u64,
}

impl<'a> Walk<'a> {
    fn new(source: &'a mut dyn Source, at: u64) -> Self {
        Self { source, chunk: Vec::new(), start: 0, at }
    }

    /// At least `least` bytes from here on, or what there is.
    fn ahead(&mut self, least: usize) -> io::Result<&[u8]> {
        let at = self.at.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let is_there = at.is_some_and(|at| self.chunk.len().checked_sub(at).is_some_and(|left| left >= least));
        if !is_there {
            self.chunk = bytes_at(self.source, self.at, CHUNK_BYTES)?;
            self.start = self.at;
        }
        let at = usize::try_from(self.at - self.start).unwrap_or(usize::MAX);
        Ok(self.chunk.get(at..).unwrap_or_default())
    }

    /// `None`: the file ends, or the number is negative.
    fn number(&mut self, bytes: usize) -> io::Result<Option<u64>> {
        let number = match (bytes, self.ahead(bytes)?) {
            (1, [byte, ..]) => Some(u64::from(*byte)),
            (4, ahead) => Order::Little.u32(ahead, 0).filter(|number| i32::try_from(*number).is_ok()),
            (_, ahead) => {
                ahead.first_chunk().copied().map(i64::from_le_bytes).and_then(|number| u64::try_from(number).ok())
            }
        };
        self.at = self.at.saturating_add(bytes as u64);
        Ok(number)
    }

    /// Steps behind the next `end`; `None`: there is none near.
    fn word(&mut self, end: u8) -> io::Result<Option<()>> {
        let ahead = self.ahead(WORD_BYTES_MAX)?;
        let length = memchr::memchr(end, ahead.get(..WORD_BYTES_MAX.min(ahead.len())).unwrap_or_default());
        self.at += length.map_or(0, |length| length as u64 + 1);
        Ok(length.map(|_| ()))
    }

    fn skip(&mut self, count: u64, each: u64) -> Option<()> {
        self.at = self.at.checked_add(count.checked_mul(each)?)?;
        Some(())
    }
}

/// Behind the output matrix (`fasttext.cc`, `FastText::saveModel`).
pub(super) fn fasttext(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let mut walk = Walk::new(source, 8 + ARGUMENTS_BYTES);
    Ok(dictionary(&mut walk)?.and(matrices(&mut walk)?).map(|()| walk.at))
}

/// Words and labels (`dictionary.cc`, `Dictionary::save`).
fn dictionary(walk: &mut Walk) -> io::Result<Option<()>> {
    let Some(words) = walk.number(4)?.filter(|words| *words <= WORDS_MAX) else { return Ok(None) };
    walk.at += 4 + 4 + 8;
    // -1: nothing was pruned.
    let pruned = walk.number(8)?.unwrap_or(0);
    for _ in 0..words {
        if walk.word(0)?.is_none() {
            return Ok(None);
        }
        walk.at += 8 + 1;
    }
    Ok(walk.skip(pruned, 8))
}

fn matrices(walk: &mut Walk) -> io::Result<Option<()>> {
    for _ in 0..2 {
        let is_packed = walk.number(1)?;
        let done = match is_packed {
            Some(0) => dense(walk)?,
            Some(1) => packed(walk)?,
            _ => None,
        };
        if done.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(()))
}

/// `densematrix.cc`, `DenseMatrix::save`.
fn dense(walk: &mut Walk) -> io::Result<Option<()>> {
    let (rows, columns) = (walk.number(8)?, walk.number(8)?);
    let numbers = rows.zip(columns).and_then(|(rows, columns)| rows.checked_mul(columns));
    Ok(numbers.and_then(|numbers| walk.skip(numbers, NUMBER_BYTES)))
}

/// `quantmatrix.cc`, `QuantMatrix::save`.
fn packed(walk: &mut Walk) -> io::Result<Option<()>> {
    let has_norms = walk.number(1)? == Some(1);
    let (rows, _columns, codes) = (walk.number(8)?, walk.number(8)?, walk.number(4)?);
    if codes.and_then(|codes| walk.skip(codes, 1)).is_none() || quantiser(walk)?.is_none() {
        return Ok(None);
    }
    if !has_norms {
        return Ok(Some(()));
    }
    let skipped = rows.and_then(|rows| walk.skip(rows, 1));
    Ok(skipped.and(quantiser(walk)?))
}

/// `productquantizer.cc`, `ProductQuantizer::save`.
fn quantiser(walk: &mut Walk) -> io::Result<Option<()>> {
    let width = walk.number(4)?;
    walk.at += 3 * 4;
    Ok(width.and_then(|width| walk.skip(width, CENTRES * NUMBER_BYTES)))
}

/// Words, numbers of each and the length of the line that says so, if what follows is no text.
fn counts(head: &[u8]) -> Option<(u64, u64, u64)> {
    let end = memchr::memchr(b'\n', head.get(..LINE_BYTES_MAX.min(head.len()))?)?;
    let (words, width) = std::str::from_utf8(head.get(..end)?).ok()?.split_once(' ')?;
    let is_number = |text: &str| text.starts_with(|c: char| ('1'..='9').contains(&c));
    let counts = (words.parse().ok()?, width.parse().ok()?, end as u64 + 1);
    let is_binary = head.iter().any(|byte| *byte < 9);
    (is_binary && is_number(words) && is_number(width) && counts.1 <= WIDTH_MAX).then_some(counts)
}

/// Whether a content begins like word2vec's binary form, and is long enough for it.
pub(super) fn is_word2vec(head: &[u8], length: u64) -> bool {
    let least = |(words, width, line): (u64, u64, u64)| words.checked_mul(width * NUMBER_BYTES + 2)?.checked_add(line);
    counts(head).and_then(least).is_some_and(|least| least <= length)
}

/// Behind the last vector (`word2vec.c`): a word, a space, its numbers; a line break in front of the next word may be missing.
pub(super) fn word2vec(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let Some((words, width, line)) = counts(&bytes_at(source, 0, 4_096)?).filter(|counts| counts.0 <= WORDS_MAX) else {
        return Ok(None);
    };
    let mut walk = Walk::new(source, line);
    for _ in 0..words {
        if walk.word(b' ')?.is_none() || walk.skip(width, NUMBER_BYTES).is_none() {
            return Ok(None);
        }
        walk.at += u64::from(walk.ahead(1)?.first() == Some(&b'\n'));
    }
    Ok(Some(walk.at))
}

/// The file's own length (`crf1d_model.c`, `header_t`).
pub(super) fn crfsuite(source: &mut dyn Source) -> io::Result<Option<u64>> {
    Ok(Order::Little.u32(&bytes_at(source, 4, 4)?, 0))
}
