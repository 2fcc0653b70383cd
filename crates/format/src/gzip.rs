//! Bounded inflation of gzip (RFC 1952) and zlib (RFC 1950) streams.
//!
//! [`gunzip`] reads every member of a gzip file, as `gzip.open` does, and tells how many there were and what follows;
//! [`unzlib`] reads one zlib stream. Both stop at a number of bytes that the caller names, and both hand out what was
//! inflated before a stream broke: an auditor wants to see it.

#![deny(clippy::indexing_slicing)]

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::{GzDecoder, ZlibDecoder};

/// Most members of one gzip file that are read.
pub const MEMBERS_MAX: u32 = 10_000;

/// What a compressed stream held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inflated {
    /// The content, as far as it was read.
    pub bytes: Vec<u8>,
    /// How it ended.
    pub end: End,
    /// Members read, the last one perhaps in part.
    pub members: u32,
}

/// How a compressed stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With the source.
    Whole,
    /// More content than the caller wanted.
    TooLarge,
    /// In the middle, or with a wrong checksum.
    Broken,
    /// Whole, but followed by bytes that belong to no member.
    Trailing,
}

/// Inflates all members of a gzip file, at most `bytes_max` bytes.
///
/// # Errors
/// Only those of the source; broken data ends in [`End::Broken`].
pub fn gunzip(source: &mut (impl Read + ?Sized), bytes_max: u64) -> io::Result<Inflated> {
    let mut source = BufReader::new(source);
    let mut inflated = Inflated { bytes: Vec::new(), end: End::Whole, members: 0 };
    loop {
        inflated.members += 1;
        let mut decoder = GzDecoder::new(&mut source);
        if let Some(end) = fill(&mut decoder, &mut inflated.bytes, bytes_max)? {
            inflated.end = end;
            return Ok(inflated);
        }
        let next = source.fill_buf()?;
        if next.is_empty() {
            return Ok(inflated);
        }
        // `gzip` itself ignores zero padding; anything else that is no member is worth a word.
        if !next.starts_with(&[0x1f, 0x8b]) || inflated.members == MEMBERS_MAX {
            inflated.end = End::Trailing;
            return Ok(inflated);
        }
    }
}

/// Inflates one zlib stream, at most `bytes_max` bytes.
///
/// # Errors
/// Only those of the source; broken data ends in [`End::Broken`].
pub fn unzlib(source: &mut (impl Read + ?Sized), bytes_max: u64) -> io::Result<Inflated> {
    let mut source = BufReader::new(source);
    let mut bytes = Vec::new();
    let end = fill(&mut ZlibDecoder::new(&mut source), &mut bytes, bytes_max)?;
    let end = match end {
        Some(end) => end,
        None if source.fill_buf()?.is_empty() => End::Whole,
        None => End::Trailing,
    };
    Ok(Inflated { bytes, end, members: 1 })
}

/// Reads `decoder` to its end; `Some` where it did not end well.
fn fill(decoder: &mut impl Read, bytes: &mut Vec<u8>, bytes_max: u64) -> io::Result<Option<End>> {
    let room = bytes_max.saturating_sub(bytes.len() as u64);
    match decoder.take(room.saturating_add(1)).read_to_end(bytes) {
        Ok(_) if bytes.len() as u64 > bytes_max => {
            bytes.truncate(usize::try_from(bytes_max).unwrap_or(usize::MAX));
            Ok(Some(End::TooLarge))
        }
        Ok(_) => Ok(None),
        Err(error) if is_broken_data(&error) => Ok(Some(End::Broken)),
        Err(error) => Err(error),
    }
}

fn is_broken_data(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}
