//! Getting files, and ranges of files, out of the store.

use std::{
    io::{self, BufRead, Read, Seek, SeekFrom},
    mem,
    ops::Range,
    sync::Arc,
};

use ringfence_schema::tree::TreeEntry;
use ringfence_trust::seal::SEGMENT_BYTES;

use crate::{
    error::{Damage, StoreError},
    group::Group,
    manifest::{FileChunks, Manifest, segments},
};

/// Reads a file of an artifact. Holds one chunk; each byte was authenticated before it is given out.
///
/// The file's SHA-256 is not recomputed on the way: chunk ids and subtree values bind the content to the manifest.
pub struct FileReader<'m> {
    group: Arc<Group>,
    manifest: &'m Manifest,
    entry: &'m TreeEntry,
    file: &'m FileChunks,
    position: u64,
    /// Which chunk `buffer` holds.
    loaded: Option<usize>,
    buffer: Vec<u8>,
}

impl<'m> FileReader<'m> {
    pub(crate) fn new(group: Arc<Group>, manifest: &'m Manifest, path: &str) -> Result<Self, StoreError> {
        let (entry, file) = manifest.file(path)?;
        Ok(Self { group, manifest, entry, file, position: 0, loaded: None, buffer: Vec::new() })
    }

    /// Size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.entry.size
    }

    /// The file as the manifest has it.
    pub(crate) fn entry(&self) -> &'m TreeEntry {
        self.entry
    }

    /// Gives away the chunk in which the current position lies, and from which of its bytes on that is; goes on behind it.
    /// `spare` is the buffer that takes its place. `None` at the end of the file.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for what is not what the manifest says, and whatever the disk brings.
    pub fn take_chunk(&mut self, spare: Vec<u8>) -> Result<Option<(Vec<u8>, usize)>, StoreError> {
        let rest = self.rest_of_chunk()?.len();
        if rest == 0 {
            return Ok(None);
        }
        self.loaded = None;
        self.skip(rest);
        let chunk = mem::replace(&mut self.buffer, spare);
        let from = chunk.len() - rest;
        Ok(Some((chunk, from)))
    }

    /// Goes back to the first byte.
    pub(crate) fn restart(&mut self) {
        self.position = 0;
    }

    /// The bytes from the current position to the end of the chunk that it lies in; none at the end of the file.
    pub(crate) fn rest_of_chunk(&mut self) -> Result<&[u8], StoreError> {
        let chunk = self.file.holding(self.position);
        if chunk >= self.file.count() {
            return Ok(&[]);
        }
        if self.loaded != Some(chunk) {
            self.loaded = None;
            read_chunk(&self.group, self.manifest, (&self.entry.path, self.file), chunk, None, &mut self.buffer)?;
            self.loaded = Some(chunk);
        }
        let within = usize::try_from(self.position - self.file.start(chunk)).unwrap_or(usize::MAX);
        Ok(self.buffer.get(within..).unwrap_or_default())
    }

    pub(crate) fn skip(&mut self, bytes: usize) {
        self.position += bytes as u64;
    }
}

impl Read for FileReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.rest_of_chunk().map_err(io::Error::other)?;
        let count = available.len().min(out.len());
        out[..count].copy_from_slice(&available[..count]);
        self.skip(count);
        Ok(count)
    }
}

impl BufRead for FileReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.rest_of_chunk().map_err(io::Error::other)
    }

    fn consume(&mut self, bytes: usize) {
        self.skip(bytes);
    }
}

impl Seek for FileReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.entry.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// `length` bytes of `path` from `offset` on.
pub(crate) fn read_range(
    group: &Group,
    manifest: &Manifest,
    path: &str,
    offset: u64,
    length: usize,
) -> Result<Vec<u8>, StoreError> {
    let (entry, file) = manifest.file(path)?;
    let end = offset.checked_add(length as u64).filter(|end| *end <= entry.size);
    let end = end.ok_or_else(|| StoreError::OutOfRange { path: path.to_owned(), offset, length, size: entry.size })?;
    let (mut out, mut buffer) = (Vec::with_capacity(length), Vec::new());
    let mut chunk = file.holding(offset);
    while out.len() < length {
        let start = file.start(chunk);
        // Inside this chunk: the range, and the segments that hold it.
        let inside = |byte: u64| usize::try_from(byte.saturating_sub(start)).unwrap_or(usize::MAX);
        let (from, to) = (inside(offset), inside(end));
        let number = |segment: usize| u32::try_from(segment).unwrap_or(u32::MAX);
        let wanted = number(from / SEGMENT_BYTES)..number(to.div_ceil(SEGMENT_BYTES));
        read_chunk(group, manifest, (path, file), chunk, Some(wanted), &mut buffer)?;
        let skipped = from % SEGMENT_BYTES;
        let taken = (buffer.len() - skipped.min(buffer.len())).min(length - out.len());
        out.extend_from_slice(buffer.get(skipped..skipped + taken).unwrap_or_default());
        chunk += 1;
    }
    Ok(out)
}

/// Opens a chunk of a file, or the segments `wanted` of it as far as it has them, into `out`.
fn read_chunk(
    group: &Group,
    manifest: &Manifest,
    (path, file): (&str, &FileChunks),
    position: usize,
    wanted: Option<Range<u32>>,
    out: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let unknown = || StoreError::UnknownFile { manifest: manifest.id(), path: path.to_owned() };
    let chunk = manifest.chunk(file, position).ok_or_else(unknown)?;
    let missing = || StoreError::ChunkMissing { path: path.to_owned(), chunk: chunk.id };
    let count = segments(chunk.length);
    let wanted = wanted.map_or(0..count, |wanted| wanted.start..wanted.end.min(count));
    let mut place = group.place(&chunk.id).ok_or_else(missing)?;
    let pack = match group.pack(&place.pack) {
        // Its pack was destroyed between the two looks, and the chunk sealed again elsewhere because this file needs it.
        Err(StoreError::Damaged { damage: Damage::Missing, .. }) if group.place(&chunk.id) != Some(place) => {
            place = group.place(&chunk.id).ok_or_else(missing)?;
            group.pack(&place.pack)?
        }
        pack => pack?,
    };
    pack.read_chunk(&group.keys.chunk_id, chunk, &place, wanted, out)
}
