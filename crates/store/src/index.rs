//! Which pack holds which chunk.
//!
//! An [`Index`] is held in memory, whole: about 100 bytes per chunk, so 100 MB for a terabyte in chunks of 1 MiB. On
//! disk it is a set of sealed segments, one per commit, each listing the tables of the packs of that commit. A segment
//! is a copy of what the packs say about themselves, so a lost one is made again from them.
#![deny(clippy::indexing_slicing)]

use std::collections::HashMap;

use ringfence_trust::{ident::ChunkId, keys::KeyId, seal::sealed_len};

use crate::{
    manifest::{CHUNK_BYTES_MAX, segments},
    pack::{CHUNKS_MAX, HEADER},
    wire::{Malformed, Reader, put_count},
};

/// A chunk in a pack's table: the table is in the order of the chunks, so that places follow from lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableEntry {
    pub(crate) chunk: ChunkId,
    pub(crate) length: u32,
}

/// The chunks of one pack, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PackTable {
    pub(crate) pack: KeyId,
    pub(crate) entries: Vec<TableEntry>,
}

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) pack: KeyId,
    /// First byte of its first segment.
    pub(crate) offset: u64,
    /// Number of its first segment, counted through the pack.
    pub(crate) first: u64,
    pub(crate) length: u32,
}

impl PackTable {
    /// Each chunk with its place.
    pub(crate) fn places(&self) -> impl Iterator<Item = (ChunkId, Place)> {
        let (mut offset, mut first) = (HEADER.len() as u64, 0);
        self.entries.iter().map(move |entry| {
            let place = Place { pack: self.pack, offset, first, length: entry.length };
            offset += sealed_len(entry.length as usize) as u64;
            first += u64::from(segments(entry.length));
            (entry.chunk, place)
        })
    }

    /// Byte and segment number behind the last chunk.
    pub(crate) fn end(&self) -> (u64, u64) {
        self.places().last().map_or((HEADER.len() as u64, 0), |(_, last)| {
            (last.offset + sealed_len(last.length as usize) as u64, last.first + u64::from(segments(last.length)))
        })
    }

    pub(crate) fn encode_entries(&self, out: &mut Vec<u8>) {
        put_count(out, self.entries.len());
        for entry in &self.entries {
            out.extend_from_slice(entry.chunk.as_bytes());
            out.extend_from_slice(&entry.length.to_be_bytes());
        }
    }

    pub(crate) fn decode_entries(pack: KeyId, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let count = reader.count(TABLE_ENTRY_BYTES, "number of chunks")?;
        if count > CHUNKS_MAX {
            return Err(reader.malformed("number of chunks"));
        }
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let malformed = reader.malformed("chunk");
            let chunk = ChunkId::from_bytes(reader.array("chunk id")?);
            let length = reader.u32("chunk length")?;
            if length == 0 || length > CHUNK_BYTES_MAX {
                return Err(malformed);
            }
            entries.push(TableEntry { chunk, length });
        }
        Ok(Self { pack, entries })
    }
}

/// The content of an index segment.
pub(crate) fn encode_segment(tables: &[PackTable]) -> Vec<u8> {
    let mut out = Vec::new();
    put_count(&mut out, tables.len());
    for table in tables {
        out.extend_from_slice(table.pack.as_bytes());
        table.encode_entries(&mut out);
    }
    out
}

/// Reads the content of an index segment and says how many packs it lists: the parser's entry for fuzzing.
///
/// # Errors
/// [`Malformed`] for anything that a writer would not have written.
pub fn check_index_segment(content: &[u8]) -> Result<usize, Malformed> {
    decode_segment(content).map(|tables| tables.len())
}

/// Reads the content of an index segment.
pub(crate) fn decode_segment(content: &[u8]) -> Result<Vec<PackTable>, Malformed> {
    let mut reader = Reader::new(content);
    let count = reader.count(KeyId::BYTES + 4, "number of packs")?;
    let mut tables = Vec::with_capacity(count);
    for _ in 0..count {
        let pack = KeyId::from_bytes(reader.array("pack id")?);
        tables.push(PackTable::decode_entries(pack, &mut reader)?);
    }
    reader.finish("end of index segment")?;
    Ok(tables)
}

/// The tables of all live packs, searchable by chunk.
#[derive(Default)]
pub(crate) struct Index {
    /// A place holds its pack by number, which keeps an entry at 48 bytes.
    chunks: HashMap<ChunkId, CompactPlace>,
    packs: Vec<KeyId>,
    numbers: HashMap<KeyId, u32>,
}

#[derive(Clone, Copy)]
struct CompactPlace {
    pack: u32,
    /// Packs are at most 64 MiB long.
    offset: u32,
    first: u32,
    length: u32,
}

impl Index {
    pub(crate) fn insert(&mut self, table: &PackTable) {
        if self.numbers.contains_key(&table.pack) {
            return;
        }
        let pack = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        self.packs.push(table.pack);
        self.numbers.insert(table.pack, pack);
        for (chunk, place) in table.places() {
            // INVARIANT: PACK_BYTES_MAX bounds offsets and segment numbers well below 2^32.
            let (Ok(offset), Ok(first)) = (u32::try_from(place.offset), u32::try_from(place.first)) else { continue };
            // The same chunk twice happens when two writers meet; either place serves.
            self.chunks.entry(chunk).or_insert(CompactPlace { pack, offset, first, length: place.length });
        }
    }

    pub(crate) fn contains_pack(&self, pack: &KeyId) -> bool {
        self.numbers.contains_key(pack)
    }

    pub(crate) fn place(&self, chunk: &ChunkId) -> Option<Place> {
        let compact = self.chunks.get(chunk)?;
        let pack = *self.packs.get(usize::try_from(compact.pack).ok()?)?;
        Some(Place { pack, offset: compact.offset.into(), first: compact.first.into(), length: compact.length })
    }

    pub(crate) fn len(&self) -> usize {
        self.chunks.len()
    }
}

/// An id and a length.
pub(crate) const TABLE_ENTRY_BYTES: usize = 32 + 4;
