//! Files that are nothing but numbers: shards of TensorFlow checkpoints, ONNX's external data, OpenVINO's weights.
//!
//! Such files have no format; a model beside them says what lies where. They are told by what trained numbers look like: floats
//! whose exponents crowd around one, as those of no program, text or compressed stream do. A TensorFlow shard is also told
//! by the object graph that it carries, whose length has a checksum.
//!
//! Absent on purpose: quantised integers, which look like anything; they stay unknown.

use std::io;

use ringfence_format::{
    protobuf::Bytes,
    schema::{Schema, survey},
    sstable::{crc32c, mask},
};

use crate::{
    audit::Audit,
    rules::id,
    source::{Source, bytes_at, length},
};

/// Blocks that are looked at, spread over the file.
const BLOCKS: u64 = 64;
/// The same as a count, and one for the remainder.
const BLOCKS_MAX: usize = 65;
/// Bytes of one block.
const BLOCK_BYTES: u64 = 4_096;
/// Fewest numbers other than zero that say anything: chance makes one of four look ordinary.
const NUMBERS_MIN: usize = 8;
/// One number in so many may be out of the ordinary.
const OUTLIERS: usize = 50;
/// Different numbers beyond which more say nothing.
const VARIED_MAX: usize = 1_024;
/// How much of a shard's ends is searched for its object graph, in bytes.
const GRAPH_SEARCH_BYTES: u64 = 4 << 20;
/// Places that are tried.
const PLACES_MAX: usize = 100_000;

impl Audit<'_> {
    /// `None`: the content is something else.
    pub(crate) fn raw_numbers(&mut self, source: &mut dyn Source) -> io::Result<Option<&'static str>> {
        let format = if has_object_graph(source)? {
            "tensorflow-checkpoint-shard"
        } else if is_floats(source)? {
            "numbers"
        } else {
            return Ok(None);
        };
        self.note(id::GRF_RAW, "numbers that a model or an index beside it assigns to tensors", None);
        Ok(Some(format))
    }
}

/// Whether all blocks hold floats of one width.
fn is_floats(source: &mut dyn Source) -> io::Result<bool> {
    let whole = length(source)?;
    let step = (whole / BLOCKS).max(BLOCK_BYTES).next_multiple_of(16);
    let mut blocks = Vec::new();
    for at in (0..whole).step_by(usize::try_from(step).unwrap_or(usize::MAX)).take(BLOCKS_MAX) {
        blocks.push(bytes_at(source, at, BLOCK_BYTES)?);
    }
    let single = |bytes: [u8; 4]| {
        let bits = u32::from_le_bytes(bytes);
        ordinary(bits << 1 == 0, ((bits >> 23) & 0xff).into(), 127)
    };
    let double = |bytes: [u8; 8]| {
        let bits = u64::from_le_bytes(bytes);
        ordinary(bits << 1 == 0, (bits >> 52) & 0x7ff, 1_023)
    };
    let brain = |bytes: [u8; 2]| {
        let bits = u16::from_le_bytes(bytes);
        ordinary(bits << 1 == 0, ((bits >> 7) & 0xff).into(), 127)
    };
    // Half floats have five bits of exponent: all but the largest magnitudes are ordinary, so there must be many of them.
    let half = |bytes: [u8; 2]| {
        let bits = u16::from_le_bytes(bytes);
        (bits << 1 != 0).then_some((bits >> 10) & 0x1f <= 17)
    };
    Ok(all_but_outliers(&blocks, whole, NUMBERS_MIN, single)
        || all_but_outliers(&blocks, whole, NUMBERS_MIN, double)
        || all_but_outliers(&blocks, whole, 4 * NUMBERS_MIN, brain)
        || all_but_outliers(&blocks, whole, 16 * NUMBERS_MIN, half))
}

/// Whether a number's magnitude lies between 2^-40 and 2^20; `None` for zero, which says nothing.
fn ordinary(is_zero: bool, exponent: u64, bias: u64) -> Option<bool> {
    (!is_zero).then_some((bias - 40..=bias + 20).contains(&exponent))
}

fn all_but_outliers<const N: usize>(
    blocks: &[Vec<u8>],
    whole: u64,
    least: usize,
    ordinary: impl Fn([u8; N]) -> Option<bool>,
) -> bool {
    if !whole.is_multiple_of(N as u64) {
        return false;
    }
    let (mut all, mut odd, mut different) = (0, 0, 0);
    let mut seen = vec![false; 1 << 16];
    for chunk in blocks.iter().flat_map(|block| block.as_chunks::<N>().0) {
        let Some(is_ordinary) = ordinary(*chunk) else { continue };
        all += 1;
        odd += usize::from(!is_ordinary);
        // Two bytes are few: numbers that were trained differ from each other as well.
        let value = chunk.first_chunk::<2>().map_or(0, |bytes| usize::from(u16::from_le_bytes(*bytes)));
        if let Some(seen) = seen.get_mut(value).filter(|seen| !**seen) {
            *seen = true;
            different += 1;
        }
    }
    let is_varied = N > 2 || different * 4 >= all.min(VARIED_MAX);
    all >= least && odd * OUTLIERS <= all && is_varied
}

/// A text tensor of one element as TensorFlow's bundle writer stores it: its length as a varint, the masked checksum of the
/// length, the text; and the text is an object graph.
fn has_object_graph(source: &mut dyn Source) -> io::Result<bool> {
    let whole = length(source)?;
    let head = bytes_at(source, 0, GRAPH_SEARCH_BYTES)?;
    if holds_object_graph(&head) {
        return Ok(true);
    }
    let start = whole.saturating_sub(GRAPH_SEARCH_BYTES);
    Ok(start > 0 && holds_object_graph(&bytes_at(source, start, GRAPH_SEARCH_BYTES)?))
}

fn holds_object_graph(bytes: &[u8]) -> bool {
    memchr::memchr_iter(0x0a, bytes).take(PLACES_MAX).any(|at| {
        let Some(stored) =
            at.checked_sub(4).and_then(|start| bytes.get(start..at)).and_then(|part| part.first_chunk::<4>())
        else {
            return false;
        };
        (1..=5).any(|width| {
            let varint = at.checked_sub(4 + width).and_then(|start| bytes.get(start..at - 4));
            let length = varint.and_then(|varint| Bytes::whole(varint).varints().next()?.ok());
            let Some(length) = length.and_then(|length| u32::try_from(length).ok()) else { return false };
            mask(crc32c(&length.to_le_bytes(), None)) == u32::from_le_bytes(*stored)
                && bytes.get(at..at + length as usize).is_some_and(is_object_graph)
        })
    })
}

fn is_object_graph(text: &[u8]) -> bool {
    let view = Schema::tensorflow().view("TrackableObjectGraph", text);
    view.is_some_and(|view| view.has("nodes") && survey(&view).is_exact())
}
