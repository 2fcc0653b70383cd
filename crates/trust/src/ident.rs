//! Names of chunks: keyed BLAKE3, with the tree's inner values per 64 KiB, so that a part can be checked alone.
//!
//! BLAKE3 is a Merkle tree over 1 KiB leaves, and 64 KiB at a multiple of 64 KiB is always one of its subtrees. A
//! chunk's [`subtree values`](chunk_id) lie in the manifest; [`verify_segment`] checks one segment against them and them
//! against the [`ChunkId`]. Because the key is secret, an id tells nothing about content that one does not already hold,
//! and because it depends on all of the plaintext, it commits where AES-GCM does not.

#![deny(clippy::indexing_slicing)]

use std::{fmt, str::FromStr};

use blake3::hazmat::{HasherExt as _, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root};
use ringfence_schema::digest::{from_hex, hex};
use serde::{Deserialize, Serialize, de};
use subtle::ConstantTimeEq as _;

use crate::{
    keys::{ChunkIdKey, material::Material as _},
    seal::{CHUNK_BYTES_MAX, SEGMENT_BYTES},
};

/// One inner value of a chunk's hash tree, over one segment.
pub type SubtreeValue = [u8; 32];

/// Most segments in one chunk.
const SEGMENTS_MAX: usize = CHUNK_BYTES_MAX / SEGMENT_BYTES;

/// The keyed BLAKE3 value of a chunk's plaintext, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId([u8; ChunkId::BYTES]);

impl ChunkId {
    /// Length in bytes.
    pub const BYTES: usize = 32;

    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a chunk id of 64 lower-case hexadecimal digits")]
pub struct NotAChunkId;

impl FromStr for ChunkId {
    type Err = NotAChunkId;

    fn from_str(text: &str) -> Result<Self, NotAChunkId> {
        from_hex(text).and_then(|raw| raw.try_into().ok()).map(Self).ok_or(NotAChunkId)
    }
}

impl Serialize for ChunkId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ChunkId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Why plaintext is not what a chunk's name promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentError {
    /// The bytes are not those of the chunk.
    #[error("the content is not that of chunk `{chunk}`")]
    Content {
        /// The chunk.
        chunk: ChunkId,
    },
    /// The subtree values do not belong to the chunk.
    #[error("the subtree values are not those of chunk `{chunk}`")]
    Values {
        /// The chunk.
        chunk: ChunkId,
    },
    /// No such segment, or not of the size that its place demands.
    #[error("segment {segment} of {bytes} bytes is not possible in chunk `{chunk}`")]
    Segment {
        /// The chunk.
        chunk: ChunkId,
        /// Number of the segment.
        segment: usize,
        /// Its size.
        bytes: usize,
    },
}

/// The name of `plain`, and one subtree value per 64 KiB; none if there is only one segment, whose value is the name.
pub fn chunk_id(key: &ChunkIdKey, plain: &[u8]) -> (ChunkId, Vec<SubtreeValue>) {
    let key = key.secret().expose();
    if plain.len() <= SEGMENT_BYTES {
        return (ChunkId(*blake3::keyed_hash(key, plain).as_bytes()), Vec::new());
    }
    let values: Vec<_> =
        plain.chunks(SEGMENT_BYTES).enumerate().map(|(index, segment)| subtree(key, index, segment)).collect();
    (merge_root(key, &values), values)
}

/// The name of the chunk with these subtree values, in order; `None` for fewer than two.
pub fn root_of(key: &ChunkIdKey, values: &[SubtreeValue]) -> Option<ChunkId> {
    (values.len() > 1).then(|| merge_root(key.secret().expose(), values))
}

/// Checks that `plain` is segment number `segment` (from 0) of `chunk`, whose subtree values are `values`.
///
/// The values are checked against the chunk's name each time: merging them costs microseconds.
pub fn verify_segment(
    key: &ChunkIdKey,
    chunk: &ChunkId,
    values: &[SubtreeValue],
    segment: usize,
    plain: &[u8],
) -> Result<(), IdentError> {
    let impossible = IdentError::Segment { chunk: *chunk, segment, bytes: plain.len() };
    if values.is_empty() {
        return if segment == 0 && plain.len() <= SEGMENT_BYTES {
            verify_chunk(key, chunk, plain)
        } else {
            Err(impossible)
        };
    }
    let expected = values.get(segment).ok_or(impossible)?;
    let last = segment + 1 == values.len();
    let size_fits = if last { (1..=SEGMENT_BYTES).contains(&plain.len()) } else { plain.len() == SEGMENT_BYTES };
    if !size_fits || values.len() > SEGMENTS_MAX {
        return Err(impossible);
    }
    if root_of(key, values) != Some(*chunk) {
        return Err(IdentError::Values { chunk: *chunk });
    }
    let found = subtree(key.secret().expose(), segment, plain);
    if bool::from(found.ct_eq(expected)) { Ok(()) } else { Err(IdentError::Content { chunk: *chunk }) }
}

/// Checks that `plain` is all of `chunk`.
pub fn verify_chunk(key: &ChunkIdKey, chunk: &ChunkId, plain: &[u8]) -> Result<(), IdentError> {
    let (found, _) = chunk_id(key, plain);
    if bool::from(found.0.ct_eq(&chunk.0)) { Ok(()) } else { Err(IdentError::Content { chunk: *chunk }) }
}

fn subtree(key: &[u8; 32], index: usize, segment: &[u8]) -> SubtreeValue {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.set_input_offset(index as u64 * SEGMENT_BYTES as u64).update(segment);
    hasher.finalize_non_root()
}

/// How many of `count` segments lie in the left half of their parent.
fn left(count: usize) -> usize {
    // The largest power of two below `count`: what BLAKE3 says of lengths holds of whole segments too.
    usize::try_from(left_subtree_len(count as u64 * SEGMENT_BYTES as u64)).unwrap_or(usize::MAX) / SEGMENT_BYTES
}

fn merge_root(key: &[u8; 32], values: &[SubtreeValue]) -> ChunkId {
    let (before, after) = values.split_at(left(values.len()));
    let mode = Mode::KeyedHash(key);
    ChunkId(*merge_subtrees_root(&merge_inner(key, before), &merge_inner(key, after), mode).as_bytes())
}

fn merge_inner(key: &[u8; 32], values: &[SubtreeValue]) -> SubtreeValue {
    match values {
        [] => [0; 32],
        [one] => *one,
        more => {
            let (before, after) = more.split_at(left(more.len()));
            merge_subtrees_non_root(&merge_inner(key, before), &merge_inner(key, after), Mode::KeyedHash(key))
        }
    }
}
