//! Bounded unpacking of compressed streams, as the loaders of models unpack them.
//!
//! [`Codec::of`] names a stream by its first bytes; [`inflate`] reads every member (gzip, RFC 1952), stream (xz, bzip2)
//! or frame (zstd, lz4) in a row, as Python's `gzip`, `bz2`, `lzma` and joblib do, and tells how the row ended and how
//! many bytes of the source it took, so that what follows can be looked at. It stops at a number of bytes that the
//! caller names and hands out what came before a stream broke: an auditor wants to see it.
//!
//! What holds: memory is the output plus [`WINDOW_BYTES_MAX`]; no error of the data is an error of the call.
//!
//! Absent on purpose: compressing, dictionaries, LZW (`compress`), which no loader of models reads.

#![deny(clippy::indexing_slicing)]

use std::io::{self, BufRead, Read};

use bzip2::bufread::BzDecoder;
use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use lzma_rust2::{LzmaStream, XzStream};
use ruzstd::decoding::StreamingDecoder;

mod input;
mod step;

use input::Input;
use step::{Machine, Stepper};

/// Most members, streams or frames of one file that are read.
pub const MEMBERS_MAX: u32 = 10_000;
/// Largest window or dictionary that a stream may ask for, in bytes; `xz -9` asks for 64 MiB.
pub const WINDOW_BYTES_MAX: u64 = 128 << 20;
/// Skippable frames that are remembered.
pub const SKIPPED_MAX: usize = 1_000;
/// Smallest dictionary of an lzma header, in bytes; below stand files that only look like one.
const LZMA_DICTIONARY_MIN: u32 = 4_096;
/// Largest content that an lzma header may state, in bytes (as `xz` judges what is no lzma file).
const LZMA_SIZE_MAX: u64 = 1 << 38;

/// A compression that a loader unpacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// RFC 1952.
    Gzip,
    /// RFC 1950.
    Zlib,
    /// RFC 1951, without any header: [`Codec::of`] never says so.
    Deflate,
    /// bzip2.
    Bzip2,
    /// The .xz format 1.1.0.
    Xz,
    /// The format that came before xz (`.lzma`, "alone").
    Lzma,
    /// RFC 8878.
    Zstd,
    /// LZ4 frames, also of the legacy kind.
    Lz4,
}

impl Codec {
    /// What the first bytes of a content say; `None` where no signature fits.
    pub fn of(head: &[u8]) -> Option<Self> {
        let signatures: [(&[u8], Self); 6] = [
            (b"\x1f\x8b", Self::Gzip),
            (b"\xfd7zXZ\0", Self::Xz),
            (b"\x28\xb5\x2f\xfd", Self::Zstd),
            (b"\x04\x22\x4d\x18", Self::Lz4),
            (b"\x02\x21\x4c\x18", Self::Lz4),
            (b"BZh", Self::Bzip2),
        ];
        let found = signatures.iter().find(|(signature, _)| head.starts_with(signature)).map(|(_, codec)| *codec);
        match found {
            Some(Self::Bzip2) => is_bzip2(head).then_some(Self::Bzip2),
            Some(codec) => Some(codec),
            None if skippable(head) => Some(Self::Zstd),
            None if is_lzma(head) => Some(Self::Lzma),
            None if is_zlib(head) => Some(Self::Zlib),
            None => None,
        }
    }

    /// Its name in plain words, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zlib => "zlib",
            Self::Deflate => "deflate",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Lzma => "lzma",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
        }
    }

    /// Whether another of the same kind may follow at once.
    fn repeats(self) -> bool {
        !matches!(self, Self::Zlib | Self::Deflate)
    }
}

/// What a compressed stream held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inflated {
    /// The content, as far as it was read.
    pub bytes: Vec<u8>,
    /// How it ended.
    pub end: End,
    /// Members read, the last one perhaps in part.
    pub members: u32,
    /// Bytes of the source that the members took, as far as they were read.
    pub consumed: u64,
    /// Skippable frames, offset and length of their content: loaders pass them over.
    pub skipped: Vec<(u64, u64)>,
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

/// Unpacks all members of a source, at most `bytes_max` bytes.
///
/// # Errors
/// Only those of the source; broken data ends in [`End::Broken`].
pub fn inflate(source: &mut (impl Read + ?Sized), codec: Codec, bytes_max: u64) -> io::Result<Inflated> {
    let mut input = Input::new(source);
    let mut inflated = Inflated { bytes: Vec::new(), end: End::Whole, members: 0, consumed: 0, skipped: Vec::new() };
    loop {
        if matches!(codec, Codec::Zstd | Codec::Lz4) && skippable(input.peek(4)?) {
            if let Err(end) = skip_frame(&mut input, &mut inflated)? {
                inflated.end = end;
                return Ok(inflated);
            }
        } else {
            inflated.members += 1;
            let end = member(&mut input, codec, &mut inflated.bytes, bytes_max);
            if let Some(error) = input.failure.take() {
                return Err(error);
            }
            inflated.consumed = input.taken();
            if let Some(end) = end {
                inflated.end = end;
                return Ok(inflated);
            }
        }
        // `gzip` passes over zero padding, the xz format defines it.
        if matches!(codec, Codec::Gzip | Codec::Xz) {
            while input.peek(1)?.first() == Some(&0) {
                input.consume(1);
            }
        }
        let next = input.peek(16)?;
        if next.is_empty() {
            inflated.consumed = input.taken();
            return Ok(inflated);
        }
        let again = codec.repeats() && inflated.members < MEMBERS_MAX && Codec::of(next) == Some(codec);
        let skips = codec == Codec::Lz4 && skippable(next);
        if !again && !skips {
            inflated.end = End::Trailing;
            return Ok(inflated);
        }
    }
}

/// Unpacks one member; `Some` where it did not end well.
fn member<R: Read + ?Sized>(
    input: &mut Input<'_, R>,
    codec: Codec,
    bytes: &mut Vec<u8>,
    bytes_max: u64,
) -> Option<End> {
    match codec {
        Codec::Gzip => fill(&mut GzDecoder::new(input), bytes, bytes_max),
        Codec::Zlib => fill(&mut ZlibDecoder::new(input), bytes, bytes_max),
        Codec::Deflate => fill(&mut DeflateDecoder::new(input), bytes, bytes_max),
        Codec::Bzip2 => fill(&mut BzDecoder::new(input), bytes, bytes_max),
        Codec::Xz => {
            let machine = Machine::Xz(Box::new(XzStream::new_mem_limit(false, window_kib())));
            fill(&mut Stepper::new(machine, input), bytes, bytes_max)
        }
        Codec::Lzma => {
            let machine = Machine::Lzma(Box::new(LzmaStream::new_mem_limit(window_kib(), None)));
            fill(&mut Stepper::new(machine, input), bytes, bytes_max)
        }
        Codec::Zstd => match StreamingDecoder::new_with_max_window_size(input, WINDOW_BYTES_MAX) {
            Ok(mut decoder) => fill(&mut decoder, bytes, bytes_max).or_else(|| {
                let frame = decoder.into_frame_decoder();
                let (stated, found) = (frame.get_checksum_from_data(), frame.get_calculated_checksum());
                stated.zip(found).is_some_and(|(stated, found)| stated != found).then_some(End::Broken)
            }),
            Err(_) => Some(End::Broken),
        },
        Codec::Lz4 => fill(&mut lz4_flex::frame::FrameDecoder::new(input), bytes, bytes_max),
    }
}

/// Steps over a skippable frame (RFC 8878 §3.1.2); `Err` where it ends early.
fn skip_frame<R: Read + ?Sized>(input: &mut Input<'_, R>, inflated: &mut Inflated) -> io::Result<Result<(), End>> {
    let Some(size) = input.peek(8)?.get(4..8).and_then(|field| field.first_chunk::<4>()).copied() else {
        return Ok(Err(End::Broken));
    };
    input.consume(8);
    let size = u64::from(u32::from_le_bytes(size));
    let start = input.taken();
    let there = io::copy(&mut Read::by_ref(input).take(size), &mut io::sink())?;
    if inflated.skipped.len() < SKIPPED_MAX {
        inflated.skipped.push((start, there));
    }
    inflated.consumed = input.taken();
    Ok(if there == size { Ok(()) } else { Err(End::Broken) })
}

/// Reads `decoder` to its end; `Some` where it did not end well.
fn fill(decoder: &mut impl Read, bytes: &mut Vec<u8>, bytes_max: u64) -> Option<End> {
    let room = bytes_max.saturating_sub(bytes.len() as u64);
    // Errors of the source are kept by the input; all others are the data's.
    match decoder.take(room.saturating_add(1)).read_to_end(bytes) {
        Ok(_) if bytes.len() as u64 > bytes_max => {
            bytes.truncate(usize::try_from(bytes_max).unwrap_or(usize::MAX));
            Some(End::TooLarge)
        }
        Ok(_) => None,
        Err(_) => Some(End::Broken),
    }
}

fn window_kib() -> u32 {
    u32::try_from(WINDOW_BYTES_MAX >> 10).unwrap_or(u32::MAX)
}

/// A level, and the mark of a block or of the end.
fn is_bzip2(head: &[u8]) -> bool {
    head.get(3).is_some_and(|level| (b'1'..=b'9').contains(level))
        && head.get(4..10).is_none_or(|mark| {
            matches!(mark, [0x31, 0x41, 0x59, 0x26, 0x53, 0x59] | [0x17, 0x72, 0x45, 0x38, 0x50, 0x90])
        })
}

/// RFC 1950 §2.2: deflate, a window of 32 KiB, a header that is a multiple of 31, no preset dictionary.
fn is_zlib(head: &[u8]) -> bool {
    matches!(head, [0x78, flags, ..] if (0x7800 + u32::from(*flags)).is_multiple_of(31) && flags & 0x20 == 0)
        // `x^` and a text may also begin so.
        && head.iter().take(64).any(|byte| *byte < 9 || *byte > 126)
}

/// Properties, a dictionary size as encoders write it, and a plausible content size or none.
fn is_lzma(head: &[u8]) -> bool {
    let (Some(properties), Some(dictionary), Some(size)) = (
        head.first(),
        head.get(1..5).and_then(|field| field.first_chunk().copied()).map(u32::from_le_bytes),
        head.get(5..13).and_then(|field| field.first_chunk().copied()).map(u64::from_le_bytes),
    ) else {
        return false;
    };
    let step = |size: u32| size.is_power_of_two() || size.is_multiple_of(3) && (size / 3).is_power_of_two();
    // The range coder's first byte is always zero.
    *properties < 225
        && properties % 9 + properties / 9 % 5 <= 4
        && dictionary >= LZMA_DICTIONARY_MIN
        && (step(dictionary) || dictionary == u32::MAX)
        && (size == u64::MAX || size < LZMA_SIZE_MAX)
        && head.get(13).is_none_or(|byte| *byte == 0)
}

/// Skippable frames of zstd and lz4: 0x184D2A50 to 0x184D2A5F.
fn skippable(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}
