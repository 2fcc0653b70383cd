//! Where a dataset's elements are (§IV.A.2.i), what its chunks went through (§IV.A.2.l), and reading them.

use std::io::{self, Read, Seek, SeekFrom};

use flate2::bufread::ZlibDecoder;

use super::{CHUNKS_MAX, Dataset, Flaw, Reader, Step, Stop, header::text, optional};
use crate::slice::Slice;

/// Most filters of a dataset.
const FILTERS_MAX: usize = 32;
/// Most bytes of all chunks that are unpacked; many datasets may share one.
const CHUNKS_BYTES_MAX: u64 = 4 << 30;
/// Registered number of h5py's LZF filter.
const LZF: u16 = 32_000;
/// Largest chunk that is unpacked, in bytes.
const CHUNK_BYTES_MAX: u64 = 64 << 20;

/// A part of another file that holds elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalFile {
    /// The file, as the dataset names it.
    pub name: String,
    /// First byte in that file.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// What chunks went through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Its registered number: 1 deflate, 2 shuffle, 3 Fletcher-32, 4 szip, 5 n-bit, 6 scale-offset, 32000 LZF, others by third parties.
    pub id: u16,
    /// Its name, if it is given.
    pub name: String,
    /// Its first parameter; for shuffle the bytes of an element.
    pub parameter: u32,
}

/// A stored chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    address: u64,
    bytes: u64,
    /// Filters that were left out, as bits.
    mask: u32,
}

/// Where elements are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// Not in this file, or not written yet.
    Nowhere,
    /// In the object header.
    Compact(Vec<u8>),
    /// In one piece.
    Contiguous {
        /// First byte in the file.
        offset: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// In chunks.
    Chunked {
        /// Those that were found.
        chunks: Vec<Chunk>,
        /// Whether these are all.
        is_whole: bool,
    },
    /// In other datasets, perhaps of other files.
    Virtual {
        /// Address of the global heap collection with the list.
        heap: Option<u64>,
        /// Index in it.
        index: u64,
    },
}

/// Elements of a dataset, in the order of their storage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether these are all of them.
    pub is_whole: bool,
}

/// A filter pipeline message.
pub(super) fn filters(body: &[u8]) -> Option<Vec<Filter>> {
    let mut slice = Slice::new(body);
    let version = slice.byte()?;
    let count = usize::from(slice.byte()?);
    if count > FILTERS_MAX || !(1..=2).contains(&version) {
        return None;
    }
    slice.skip(if version == 1 { 6 } else { 0 })?;
    (0..count).map(|_| filter(&mut slice, version)).collect()
}

fn filter(slice: &mut Slice<'_>, version: u8) -> Option<Filter> {
    let id = u16::try_from(slice.number(2)?).ok()?;
    let name_bytes = if version == 1 || id >= 256 { slice.size(2)? } else { 0 };
    slice.skip(2)?;
    let values = slice.size(2)?;
    let padded = if version == 1 { name_bytes.next_multiple_of(8) } else { name_bytes };
    let name = text(slice.take(padded)?);
    let parameter = Slice::new(slice.take(values * 4)?).number(4).unwrap_or(0);
    slice.skip(if version == 1 && values % 2 == 1 { 4 } else { 0 })?;
    Some(Filter { id, name, parameter: u32::try_from(parameter).ok()? })
}

/// What a layout message says of chunks.
struct Index {
    kind: u8,
    address: Option<u64>,
    /// Dimensions of a chunk, the bytes of an element last.
    dimensions: Vec<u64>,
    /// Size and mask of a single filtered chunk.
    single: Option<(u64, u32)>,
}

/// Number of the index of old layouts; the others are those of version 4.
const OLD_TREE: u8 = 0;

impl<S: Read + Seek + ?Sized> Reader<'_, S> {
    pub(super) fn layout(&mut self, body: &[u8], offset: u64) -> Step<Layout> {
        let flaw = Flaw::Broken { what: "data layout", offset };
        let mut slice = Slice::new(body);
        let layout = match slice.byte() {
            Some(1 | 2) => self.oldest_layout(&mut slice),
            Some(version @ 3..=5) => match slice.byte() {
                Some(0) => {
                    slice.size(2).and_then(|bytes| slice.take(bytes)).map(|bytes| Ok(Layout::Compact(bytes.to_vec())))
                }
                Some(1) => {
                    self.address(&mut slice).zip(self.number(&mut slice)).map(|place| Ok(self.contiguous(place)))
                }
                Some(2) if version == 3 => self.old_index(&mut slice).map(Err),
                Some(2) => self.new_index(&mut slice).map(Err),
                Some(3) => self
                    .address(&mut slice)
                    .zip(slice.number(4))
                    .map(|(heap, index)| Ok(Layout::Virtual { heap, index })),
                _ => None,
            },
            _ => None,
        };
        match layout {
            Some(Ok(layout)) => Ok(layout),
            Some(Err(index)) => self.chunked(index, offset),
            None => self.stop(flaw),
        }
    }

    fn contiguous(&mut self, (address, bytes): (Option<u64>, u64)) -> Layout {
        let Some(address) = address else { return Layout::Nowhere };
        let offset = self.place(address);
        if offset.checked_add(bytes).is_none_or(|end| end > self.length) {
            self.flaw(Flaw::Outside { what: "dataset", offset, bytes });
        }
        self.claim(offset, bytes);
        Layout::Contiguous { offset, bytes }
    }

    fn oldest_layout(&mut self, slice: &mut Slice<'_>) -> Option<Result<Layout, Index>> {
        let rank = slice.byte()?;
        let class = slice.byte()?;
        slice.skip(5)?;
        let address = if class == 0 { None } else { self.address(slice)? };
        let dimensions: Option<Vec<u64>> = (0..rank).map(|_| slice.number(4)).collect();
        let dimensions = dimensions?;
        Some(match class {
            0 => {
                let bytes = slice.size(4)?;
                Ok(Layout::Compact(slice.take(bytes)?.to_vec()))
            }
            // The last dimension is the size of an element.
            1 => Ok(self.contiguous((address, dimensions.iter().try_fold(1_u64, |all, one| all.checked_mul(*one))?))),
            2 => Err(Index { kind: OLD_TREE, address, dimensions, single: None }),
            _ => return None,
        })
    }

    fn old_index(&self, slice: &mut Slice<'_>) -> Option<Index> {
        let rank = slice.byte()?;
        let address = self.address(slice)?;
        let dimensions = (0..rank).map(|_| slice.number(4)).collect::<Option<_>>()?;
        Some(Index { kind: OLD_TREE, address, dimensions, single: None })
    }

    fn new_index(&self, slice: &mut Slice<'_>) -> Option<Index> {
        let flags = slice.byte()?;
        let rank = slice.byte()?;
        let width = usize::from(slice.byte()?);
        if width > 8 {
            return None;
        }
        let dimensions = (0..rank).map(|_| slice.number(width)).collect::<Option<_>>()?;
        let kind = slice.byte()?;
        let single = match kind {
            1 if flags & 2 != 0 => Some((self.number(slice)?, u32::try_from(slice.number(4)?).ok()?)),
            _ => None,
        };
        slice.skip(match kind {
            3 => 1,
            4 => 5,
            5 => 6,
            _ => 0,
        })?;
        Some(Index { kind, address: self.address(slice)?, dimensions, single })
    }

    fn chunked(&mut self, index: Index, offset: u64) -> Step<Layout> {
        let Some(address) = index.address else { return Ok(Layout::Nowhere) };
        let plain = index.dimensions.iter().try_fold(1_u64, |all, one| all.checked_mul(*one));
        let Some(plain) = plain else {
            return self.stop(Flaw::Broken { what: "chunk dimensions", offset });
        };
        let found = match index.kind {
            OLD_TREE => self.old_chunks(address, index.dimensions.len()),
            1 => {
                let (bytes, mask) = index.single.unwrap_or((plain, 0));
                Ok(vec![Chunk { address, bytes, mask }])
            }
            5 => self.new_chunks(address, plain),
            _ => {
                let offset = self.place(address);
                self.flaw(Flaw::Unread { what: "chunk index", offset });
                Err(Stop::Flawed)
            }
        };
        let chunks = optional(found).map_err(Stop::Io)?;
        let is_whole = chunks.is_some();
        let mut chunks = chunks.unwrap_or_default();
        if chunks.len() > CHUNKS_MAX {
            self.flaw(Flaw::Limit { what: "chunks" });
            chunks.truncate(CHUNKS_MAX);
        }
        for chunk in &chunks {
            let offset = self.place(chunk.address);
            if offset.checked_add(chunk.bytes).is_none_or(|end| end > self.length) {
                self.flaw(Flaw::Outside { what: "chunk", offset, bytes: chunk.bytes });
            }
            self.claim(offset, chunk.bytes);
        }
        Ok(Layout::Chunked { chunks, is_whole })
    }

    fn old_chunks(&mut self, address: u64, dimensions: usize) -> Step<Vec<Chunk>> {
        let leaves = self.old_tree(address, 1, 8 + 8 * dimensions)?;
        Ok(leaves
            .iter()
            .filter_map(|leaf| {
                let mut slice = Slice::new(&leaf.key);
                let (bytes, mask) = (slice.number(4)?, slice.number(4)?);
                Some(Chunk { address: leaf.child, bytes, mask: u32::try_from(mask).ok()? })
            })
            .collect())
    }

    /// Records of chunks in a version 2 B-tree: the address, then size and mask where there are filters, then the place.
    fn new_chunks(&mut self, address: u64, plain: u64) -> Step<Vec<Chunk>> {
        let is_filtered = {
            let head = self.signed("B-tree header", *b"BTHD", address, 6)?;
            head.get(1) == Some(&11)
        };
        let bits = u64::from(64 - plain.leading_zeros());
        // The library gives sizes a byte more than the plain chunk needs, at most eight.
        let width = usize::try_from(1 + (bits.saturating_sub(1) + 8) / 8).unwrap_or(8).min(8);
        let records = self.records(address)?;
        Ok(records
            .iter()
            .filter_map(|record| {
                let mut slice = Slice::new(record);
                let address = self.address(&mut slice)??;
                let (bytes, mask) = if is_filtered { (slice.number(width)?, slice.number(4)?) } else { (plain, 0) };
                Some(Chunk { address, bytes, mask: u32::try_from(mask).ok()? })
            })
            .collect())
    }

    /// Up to `most` bytes of a dataset's elements, filters undone.
    pub fn content(&mut self, dataset: &Dataset, most: u64) -> io::Result<Content> {
        match &dataset.layout {
            Layout::Compact(bytes) => Ok(Content { bytes: bytes.clone(), is_whole: true }),
            Layout::Contiguous { offset, bytes } => {
                let mut out = Vec::new();
                self.source.seek(SeekFrom::Start(*offset))?;
                (&mut *self.source).take(most.min(*bytes)).read_to_end(&mut out)?;
                let is_whole = out.len() as u64 == *bytes;
                Ok(Content { bytes: out, is_whole })
            }
            Layout::Chunked { chunks, is_whole } => {
                let mut content = Content { bytes: Vec::new(), is_whole: *is_whole };
                for chunk in chunks {
                    let room = most.saturating_sub(content.bytes.len() as u64);
                    if room == 0 {
                        content.is_whole = false;
                        break;
                    }
                    match self.chunk(*chunk, &dataset.filters, room)? {
                        Some(bytes) => content.bytes.extend(bytes),
                        None => content.is_whole = false,
                    }
                }
                Ok(content)
            }
            // Nothing is here: what was never written cannot be read either.
            Layout::Nowhere => Ok(Content { bytes: Vec::new(), is_whole: true }),
            Layout::Virtual { heap, index } => {
                let mut content = Content { bytes: Vec::new(), is_whole: false };
                if let Some(heap) = heap {
                    let reference = [&1_u32.to_le_bytes()[..], &heap.to_le_bytes(), &index.to_le_bytes()].concat();
                    content.bytes = optional(self.virtual_list(&reference))?.unwrap_or_default();
                }
                Ok(content)
            }
        }
    }

    fn virtual_list(&mut self, reference: &[u8]) -> Step<Vec<u8>> {
        // Written as a reference of the widest form; narrower files have no virtual datasets.
        let datatype = super::Datatype {
            class: super::Class::Variable,
            size: reference.len() as u64,
            slots: vec![0],
            is_bytes: true,
        };
        let found = self.referred(&datatype, reference)?;
        Ok(found.into_iter().flat_map(|(_, bytes)| bytes).collect())
    }

    /// The bytes of a chunk with its filters undone; `None` where that is not possible.
    fn chunk(&mut self, chunk: Chunk, filters: &[Filter], room: u64) -> io::Result<Option<Vec<u8>>> {
        if self.unpacked > CHUNKS_BYTES_MAX {
            self.flaw(Flaw::Limit { what: "bytes of chunks" });
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let offset = self.place(chunk.address);
        self.source.seek(SeekFrom::Start(offset))?;
        (&mut *self.source).take(chunk.bytes.min(CHUNK_BYTES_MAX)).read_to_end(&mut bytes)?;
        self.unpacked = self.unpacked.saturating_add(bytes.len() as u64);
        let mut is_whole = bytes.len() as u64 == chunk.bytes;
        for (index, filter) in filters.iter().enumerate().rev() {
            if chunk.mask >> index.min(31) & 1 == 1 {
                continue;
            }
            match filter.id {
                1 => {
                    let mut out = Vec::new();
                    // A broken stream leaves what came before the break.
                    let ended =
                        ZlibDecoder::new(bytes.as_slice()).take(room.min(CHUNK_BYTES_MAX)).read_to_end(&mut out);
                    is_whole &= ended.is_ok();
                    bytes = out;
                }
                2 => bytes = unshuffle(&bytes, usize::try_from(filter.parameter).unwrap_or(1)),
                3 => bytes.truncate(bytes.len().saturating_sub(4)),
                LZF => {
                    let (out, ended) = unlzf(&bytes, usize::try_from(room.min(CHUNK_BYTES_MAX)).unwrap_or(usize::MAX));
                    is_whole &= ended;
                    bytes = out;
                }
                _ => return Ok(None),
            }
        }
        bytes.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        Ok(Some(bytes).filter(|bytes| is_whole || !bytes.is_empty()))
    }
}

/// First bytes of all elements, then second bytes …, back into elements; what is left over stays behind.
fn unshuffle(bytes: &[u8], size: usize) -> Vec<u8> {
    let count = bytes.len() / size.max(1);
    if size <= 1 || count == 0 {
        return bytes.to_vec();
    }
    let mut out = Vec::with_capacity(bytes.len());
    for element in 0..count {
        out.extend((0..size).filter_map(|byte| bytes.get(byte * count + element)));
    }
    out.extend(bytes.get(count * size..).unwrap_or_default());
    out
}

/// LZF (liblzf): runs of up to 32 literal bytes, or of bytes that came before; whether the stream ended well.
fn unlzf(bytes: &[u8], most: usize) -> (Vec<u8>, bool) {
    let mut slice = Slice::new(bytes);
    let mut out: Vec<u8> = Vec::new();
    while let Some(control) = slice.byte() {
        let control = usize::from(control);
        if out.len() >= most {
            return (out, false);
        }
        if control < 32 {
            let Some(run) = slice.take(control + 1) else { return (out, false) };
            out.extend_from_slice(run);
            continue;
        }
        let longer = if control >> 5 == 7 { slice.byte().map(usize::from) } else { Some(0) };
        let Some((longer, low)) = longer.zip(slice.byte().map(usize::from)) else { return (out, false) };
        let back = ((control & 0x1f) << 8 | low) + 1;
        for _ in 0..(control >> 5) + longer + 2 {
            let Some(byte) = out.len().checked_sub(back).and_then(|at| out.get(at).copied()) else {
                return (out, false);
            };
            out.push(byte);
        }
    }
    (out, true)
}
