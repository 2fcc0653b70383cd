//! Packs: sealed files of up to [`PACK_BYTES_MAX`] that hold many chunks.
//!
//! ```text
//! 0        16  "ringfence.pack/1"
//! 16           the chunks' sealed segments, without gaps, in the order of the table
//! T            the table and zeros, sealed as one more chunk under the id TABLE_ID
//! end-16   16  T and the number of the table's first segment, both u64, masked
//! ```
//! One fresh key seals one pack in one pass; its id is the pack's name, and the key's wrapped form is in the key ledger
//! only. The zeros bring the file to a Padmé length, so that its size says little about its content; being sealed, they
//! are authenticated like everything else. The last 16 bytes are masked by a value that only the holder of the chunk-id
//! key can compute: in the clear they would tell how many chunks there are. They need no tag of their own, because the
//! table opens at the right place only.
#![deny(clippy::indexing_slicing)]

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use ringfence_trust::{
    ident::{self, ChunkId},
    keys::{ChunkIdKey, FreshPackKey, KeyId, PackKey},
    seal::{
        PackContext, PackOpener, PackSealer, SEALED_SEGMENT_BYTES, SEGMENT_BYTES, SealError, TAG_BYTES, sealed_len,
        segments_of,
    },
};

use crate::{
    disk::{Behind, DiskError, Effect, NewFile, timed},
    error::{Damage, StoreError},
    index::{PackTable, Place, TABLE_ENTRY_BYTES, TableEntry},
    manifest::{ChunkEntry, segments},
    wire::{Reader, padme},
};

/// Seals chunks into one new pack.
pub(crate) struct PackWriter {
    file: NewFile,
    sealer: PackSealer,
    table: PackTable,
    /// Segments sealed so far.
    segments: u64,
    /// Bytes of the file so far, those in the buffer included.
    bytes: u64,
    buffer: Vec<u8>,
}

impl PackWriter {
    pub(crate) fn new(file: NewFile, key: FreshPackKey, context: &PackContext) -> Result<Self, SealError> {
        let table = PackTable { pack: key.id(), entries: Vec::new() };
        let sealer = PackSealer::new(key, context)?;
        let buffer = HEADER.as_bytes().to_vec();
        Ok(Self { file, sealer, table, segments: 0, bytes: HEADER.len() as u64, buffer })
    }

    /// The pack's name.
    pub(crate) fn id(&self) -> KeyId {
        self.table.pack
    }

    /// Whether a chunk of `length` bytes still fits.
    pub(crate) fn fits(&self, length: usize) -> bool {
        let chunks = self.table.entries.len() + 1;
        let table = 4 + chunks * TABLE_ENTRY_BYTES;
        let end = self.bytes + (sealed_len(length) + sealed_len(table)) as u64 + LOCATOR_BYTES;
        chunks <= CHUNKS_MAX && end <= FILL_BYTES_MAX
    }

    /// Seals a chunk of 1 byte to 1 MiB that [`Self::fits`].
    pub(crate) fn add(&mut self, chunk: ChunkId, bytes: &[u8]) -> Result<(), StoreError> {
        // INVARIANT: the cutter makes no chunk longer than CHUNK_BYTES_MAX.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.seal(&chunk, bytes)?;
        self.table.entries.push(TableEntry { chunk, length });
        Ok(())
    }

    fn seal(&mut self, chunk: &ChunkId, bytes: &[u8]) -> Result<(), StoreError> {
        let before = self.buffer.len();
        let cipher = |_| StoreError::Cipher { file: self.table.pack.to_string() };
        self.sealer.seal_chunk(chunk, bytes, &mut self.buffer).map_err(cipher)?;
        self.bytes += (self.buffer.len() - before) as u64;
        self.segments += u64::from(segments_of(bytes.len()));
        if self.buffer.len() >= WRITE_BYTES {
            self.file.write(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Writes table, zeros and locator, and gives the pack its name. Returns its table and its size in bytes.
    pub(crate) fn publish(mut self, mask: &[u8; 32]) -> Result<(PackTable, u64), StoreError> {
        let locator = Locator { offset: self.bytes, first: self.segments };
        let mut table = Vec::new();
        self.table.encode_entries(&mut table);
        table.resize(padded_table_bytes(self.bytes, table.len()), 0);
        self.seal(&TABLE_ID, &table)?;
        self.buffer.extend_from_slice(&locator.masked(mask));
        self.file.write(&self.buffer)?;
        self.file.publish()?;
        Ok((self.table, self.bytes + LOCATOR_BYTES))
    }
}

/// How long table and zeros must be so that the pack gets a Padmé length.
fn padded_table_bytes(body: u64, table: usize) -> usize {
    let mut target = padme(body + sealed_len(table) as u64 + LOCATOR_BYTES);
    loop {
        match opened_len(target - body - LOCATOR_BYTES) {
            Some(plain) if plain >= table => return plain,
            // Each segment adds a tag, so 16 of 65,552 lengths cannot be made; the next Padmé length can.
            _ => target = padme(target + 1),
        }
    }
}

struct Locator {
    offset: u64,
    first: u64,
}

impl Locator {
    fn masked(&self, mask: &[u8; 32]) -> [u8; 16] {
        xor(u128::from(self.offset) << 64 | u128::from(self.first), mask).to_be_bytes()
    }

    fn unmasked(bytes: [u8; 16], mask: &[u8; 32]) -> Self {
        let value = xor(u128::from_be_bytes(bytes), mask);
        let half = |value: u128| u64::try_from(value & u128::from(u64::MAX)).unwrap_or(u64::MAX);
        Self { offset: half(value >> 64), first: half(value) }
    }
}

fn xor(value: u128, mask: &[u8; 32]) -> u128 {
    value ^ mask.first_chunk().map_or(0, |half| u128::from_be_bytes(*half))
}

/// What hides the locator of `pack`.
pub(crate) fn locator_mask(key: &ChunkIdKey, pack: &KeyId) -> [u8; 32] {
    let (value, _) = ident::chunk_id(key, &[LOCATOR_LABEL, pack.as_bytes().as_slice()].concat());
    *value.as_bytes()
}

/// A pack that is open for reading.
pub(crate) struct OpenPack {
    /// Its name inside the store, for errors.
    name: String,
    path: PathBuf,
    pack: KeyId,
    file: File,
    /// Whoever reads packs reads most of each, from its beginning to its end.
    behind: Mutex<Behind>,
    opener: PackOpener,
}

impl OpenPack {
    pub(crate) fn new(
        file: File,
        path: PathBuf,
        name: String,
        key: &PackKey,
        context: &PackContext,
    ) -> Result<Self, SealError> {
        let (behind, opener) = (Mutex::new(Behind::reader()), PackOpener::new(key, context)?);
        Ok(Self { name, path, pack: key.id(), file, behind, opener })
    }

    /// Segments `from..to` of a chunk, counted inside it, opened into `out` and checked against what the manifest says.
    pub(crate) fn read_chunk(
        &self,
        key: &ChunkIdKey,
        chunk: &ChunkEntry,
        place: &Place,
        wanted: Range<u32>,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        if place.length != chunk.length {
            return Err(self.damaged(Damage::OtherTable));
        }
        self.open_segments(&chunk.id, place, wanted.clone(), out)?;
        if wanted == (0..segments(place.length)) {
            return ident::verify_chunk(key, &chunk.id, out)
                .map_err(|_| self.damaged(Damage::Chunk { chunk: chunk.id }));
        }
        for (segment, bytes) in wanted.zip(out.chunks(SEGMENT_BYTES)) {
            ident::verify_segment(key, &chunk.id, &chunk.values, segment as usize, bytes)
                .map_err(|_| self.damaged(Damage::Segment { chunk: chunk.id, segment }))?;
        }
        Ok(())
    }

    /// Reads the pack's own table.
    pub(crate) fn table(&self, mask: &[u8; 32]) -> Result<PackTable, StoreError> {
        let size = self.file.metadata().map_err(|error| self.failed(error))?.len();
        let wrong_size = || self.damaged(Damage::Size { bytes: size });
        if size != padme(size) || size > PACK_BYTES_MAX {
            return Err(wrong_size());
        }
        let mut header = [0; HEADER.len()];
        self.read(&mut header, 0)?;
        if header != *HEADER.as_bytes() {
            return Err(self.damaged(Damage::Header { expected: HEADER }));
        }
        let end = size.checked_sub(LOCATOR_BYTES).ok_or_else(wrong_size)?;
        let mut locator = [0; 16];
        self.read(&mut locator, end)?;
        let locator = Locator::unmasked(locator, mask);
        let broken = || self.damaged(Damage::Table);
        let sealed = end.checked_sub(locator.offset).ok_or_else(broken)?;
        let length = opened_len(sealed).and_then(|length| u32::try_from(length).ok()).ok_or_else(broken)?;
        let place = Place { pack: self.pack, offset: locator.offset, first: locator.first, length };
        let mut content = Vec::new();
        self.open_segments(&TABLE_ID, &place, 0..segments(length), &mut content).map_err(|_| broken())?;
        let mut reader = Reader::new(&content);
        let table = PackTable::decode_entries(self.pack, &mut reader).map_err(|error| self.damaged(error.into()))?;
        let zeros = content.get(4 + table.entries.len() * TABLE_ENTRY_BYTES..).unwrap_or_default();
        let whole = table.end() == (locator.offset, locator.first) && zeros.iter().all(|byte| *byte == 0);
        if whole { Ok(table) } else { Err(broken()) }
    }

    /// Opens every chunk of `table` and recomputes its id. Yields the plain length of each.
    pub(crate) fn verify(&self, key: &ChunkIdKey, table: &PackTable) -> impl Iterator<Item = Result<u64, StoreError>> {
        let mut buffer = Vec::new();
        table.places().map(move |(chunk, place)| {
            self.open_segments(&chunk, &place, 0..segments(place.length), &mut buffer)?;
            ident::verify_chunk(key, &chunk, &buffer).map_err(|_| self.damaged(Damage::Chunk { chunk }))?;
            Ok(buffer.len() as u64)
        })
    }

    /// Opens segments `from..to` of a chunk into `out`, which is overwritten with their plain bytes.
    fn open_segments(
        &self,
        chunk: &ChunkId,
        place: &Place,
        wanted: Range<u32>,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let count = segments(place.length);
        let start = wanted.start as usize * SEALED_SEGMENT_BYTES;
        let end = sealed_len(place.length as usize).min(wanted.end as usize * SEALED_SEGMENT_BYTES);
        out.resize(end.saturating_sub(start), 0);
        self.read(out, place.offset + start as u64)?;
        let mut opened = 0;
        for (segment, position) in wanted.zip((0..out.len()).step_by(SEALED_SEGMENT_BYTES)) {
            let failed = || self.damaged(Damage::Segment { chunk: *chunk, segment });
            let end = out.len().min(position + SEALED_SEGMENT_BYTES);
            let sealed = out.get_mut(position..end).ok_or_else(failed)?;
            let last = segment + 1 == count;
            let plain =
                self.opener.open_segment(chunk, place.first, segment, last, sealed).map_err(|_| failed())?.len();
            out.copy_within(position..position + plain, opened);
            opened += plain;
        }
        out.truncate(opened);
        Ok(())
    }

    fn read(&self, out: &mut [u8], offset: u64) -> Result<(), StoreError> {
        let (read, spent) = timed(|| self.file.read_exact_at(out, offset));
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.passed(&self.file, offset, out.len(), spent);
        drop(behind);
        read.map_err(|error| match self.file.metadata() {
            Ok(facts) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.damaged(Damage::Size { bytes: facts.len() })
            }
            _ => self.failed(error),
        })
    }

    fn failed(&self, error: io::Error) -> StoreError {
        DiskError::new(Effect::Read, &self.path, error).into()
    }

    fn damaged(&self, damage: Damage) -> StoreError {
        StoreError::Damaged { file: self.name.clone(), damage }
    }
}

/// Length of what is inside sealed segments of `sealed` bytes, if there are such: the inverse of [`sealed_len`].
fn opened_len(sealed: u64) -> Option<usize> {
    let sealed = usize::try_from(sealed).ok()?;
    let plain = sealed.checked_sub(sealed.div_ceil(SEALED_SEGMENT_BYTES) * TAG_BYTES)?;
    (sealed_len(plain) == sealed).then_some(plain)
}

/// What a pack begins with.
pub(crate) const HEADER: &str = "ringfence.pack/1";
/// Longest pack.
pub const PACK_BYTES_MAX: u64 = 64 << 20;
/// A pack is closed before it grows beyond this: a Padmé length, with one more such step below the longest pack, which
/// [`padded_table_bytes`] may need.
const FILL_BYTES_MAX: u64 = PACK_BYTES_MAX - (2 << 20);
/// Most chunks in one pack.
pub(crate) const CHUNKS_MAX: usize = 1 << 16;
const LOCATOR_BYTES: u64 = 16;
const LOCATOR_LABEL: &[u8] = b"ringfence.pack/1 locator of pack ";
/// The id under which the table is sealed. No chunk has it: that would need a preimage.
const TABLE_ID: ChunkId = ChunkId::from_bytes(*b"ringfence.pack/1 table of chunks");
/// Sealed bytes are written in pieces of at least this length.
const WRITE_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use ringfence_trust::{
        VaultId,
        entropy::SeededEntropy,
        keys::{Namespace, NamespaceKey, Purpose, ShredGroup},
    };

    use super::*;
    use crate::disk::Disk;

    #[test]
    fn every_pack_gets_a_padme_length_within_the_limit() {
        for body in (16..200_000).chain(FILL_BYTES_MAX - 100_000..FILL_BYTES_MAX - 1_000) {
            let plain = padded_table_bytes(body, 40);
            let size = body + sealed_len(plain) as u64 + LOCATOR_BYTES;
            assert!(size == padme(size) && size <= PACK_BYTES_MAX, "{body}");
            assert_eq!(opened_len(sealed_len(plain) as u64), Some(plain));
        }
    }

    /// A pack whose sealer put other bytes under a chunk's id: every tag holds, so only the ids can tell.
    #[test]
    fn chunks_under_a_wrong_id_are_caught() {
        let mut entropy = SeededEntropy::new(1);
        let context = PackContext { vault: VaultId::random(&mut entropy), namespace: Namespace::Admitted };
        let ids = ChunkIdKey::generate(&mut entropy);
        let namespace = NamespaceKey::generate(&mut entropy, &context.vault, context.namespace);
        let fresh = PackKey::generate(&mut entropy);
        let purpose = Purpose::Pack(context.namespace, ShredGroup::FIRST);
        let key: PackKey = namespace.unwrap(&namespace.wrap(&mut entropy, purpose, 1, &fresh).unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (right, wrong) = (vec![1; 200_000], vec![2; 200_000]);
        let (id, values) = ident::chunk_id(&ids, &right);

        let mask = locator_mask(&ids, &fresh.id());
        let mut writer = PackWriter::new(Disk::real().create(dir.path(), "pack").unwrap(), fresh, &context).unwrap();
        writer.add(id, &wrong).unwrap();
        let (table, bytes) = writer.publish(&mask).unwrap();
        let path = dir.path().join("pack");
        assert_eq!(path.metadata().unwrap().len(), bytes);
        let pack = OpenPack::new(File::open(&path).unwrap(), path, "pack".to_owned(), &key, &context).unwrap();
        assert_eq!(pack.table(&mask).unwrap(), table);

        let caught = |result: Result<(), StoreError>| match result {
            Err(StoreError::Damaged { damage, .. }) => damage,
            other => panic!("{other:?}"),
        };
        let place = table.places().next().unwrap().1;
        let chunk = ChunkEntry { id, length: 200_000, values };
        let mut out = Vec::new();
        let whole = pack.read_chunk(&ids, &chunk, &place, 0..4, &mut out);
        assert_eq!(caught(whole), Damage::Chunk { chunk: id });
        let part = pack.read_chunk(&ids, &chunk, &place, 1..2, &mut out);
        assert_eq!(caught(part), Damage::Segment { chunk: id, segment: 1 });
        let verified = pack.verify(&ids, &table).next().unwrap().map(|_| ());
        assert_eq!(caught(verified), Damage::Chunk { chunk: id });
    }
}
