//! HDF5 files (HDF5 File Format Specification 3.0): what a library would find in them, without the library.
//!
//! [`Reader::open`] finds the superblock, [`Reader::walk`] follows every link from the root group and returns a [`Tree`]: objects with their
//! attributes, links and data layout, and a [`Flaw`] for each thing that contradicts itself or is not followed. [`Reader::content`] gives the
//! raw elements of a dataset, [`Reader::referred`] what variable-length elements refer to.
//!
//! * `header`: object headers and their messages; `datatype`: element types; `group`: the links of old groups; `heap`: global and
//!   fractal heaps and version 2 B-trees, where new files keep many links and large attributes; `data`: layouts, chunks and filters.
//!
//! Read: superblocks 0 to 3 behind any user block, both kinds of object headers and groups, all link types, compact, contiguous, chunked
//! and virtual layouts, deflate, shuffle, Fletcher-32 and LZF. Reported, not read: shared-message heaps, fixed and extensible array indexes of
//! chunks, filters of third parties. Absent on purpose: following an external link or file, checksums of structures, references.

#![deny(clippy::indexing_slicing)]

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read, Seek, SeekFrom},
    rc::Rc,
};

mod data;
mod datatype;
mod group;
mod header;
mod heap;

pub use data::{Content, ExternalFile, Filter, Layout};
pub use datatype::{Class, Datatype};

use crate::slice::Slice;

/// First bytes of the superblock, which may stand at 0, 512, 1,024, 2,048 … (§II.A).
pub const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";
/// Most objects that are followed.
pub const OBJECTS_MAX: usize = 200_000;
/// Most attributes of all objects that are kept.
pub const ATTRIBUTES_MAX: usize = 500_000;
/// Most messages of one object header.
pub const MESSAGES_MAX: usize = 100_000;
/// Longest single structure that is read, in bytes.
pub const STRUCTURE_BYTES_MAX: u64 = 64 << 20;
/// Most bytes that all structures have together.
pub const STRUCTURES_BYTES_MAX: u64 = 1 << 30;
/// Longest path of an object, in bytes; longer ones are cut.
pub const PATH_BYTES_MAX: usize = 500;
/// Deepest nesting of trees, heaps and types.
pub const DEPTH_MAX: u32 = 24;
/// Most chunks of one dataset.
pub const CHUNKS_MAX: usize = 200_000;
/// Structures whose extent is remembered.
pub const EXTENTS_MAX: usize = 2_000_000;
/// Flaws that are kept.
pub const FLAWS_MAX: usize = 1_000;

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Hdf5Error {
    /// No signature where one may stand.
    #[error("not an HDF5 file")]
    NotHdf5,
    /// The superblock is of a version that does not exist or contradicts itself.
    #[error("superblock at byte {offset} is broken")]
    Superblock {
        /// Where it stands.
        offset: u64,
    },
    /// The source failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Something that contradicts itself, or that was not followed. Offsets count from the start of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// A structure that is not what it should be, or ends too early.
    Broken {
        /// Which.
        what: &'static str,
        /// Where.
        offset: u64,
    },
    /// A structure that lies outside of the file.
    Outside {
        /// Which.
        what: &'static str,
        /// Where it would be.
        offset: u64,
        /// Its length, in bytes.
        bytes: u64,
    },
    /// More than this reader follows.
    Limit {
        /// Of what.
        what: &'static str,
    },
    /// A part of the format that this reader does not know.
    Unread {
        /// Which.
        what: &'static str,
        /// Where.
        offset: u64,
    },
}

/// Where a link leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An object header of this file.
    Hard(u64),
    /// A path in this file.
    Soft(String),
    /// A path in another file.
    External {
        /// The other file.
        file: String,
        /// The path in it.
        path: String,
    },
    /// A link of a class that only its maker's code can follow.
    User(u8),
}

/// A link of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Where it leads.
    pub target: Target,
    /// Where it stands in the file.
    pub offset: u64,
}

/// An attribute of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub datatype: Datatype,
    /// Its elements as they stand in the file.
    pub raw: Vec<u8>,
    /// Where its message stands in the file.
    pub offset: u64,
}

/// A dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Type of its elements.
    pub datatype: Datatype,
    /// Dimensions; empty for a scalar.
    pub dimensions: Vec<u64>,
    /// Where its elements are.
    pub layout: Layout,
    /// What its chunks went through, in order of writing.
    pub filters: Vec<Filter>,
    /// Other files that hold its elements.
    pub external: Vec<ExternalFile>,
}

/// A group, dataset or named type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The first path that leads to it.
    pub path: String,
    /// Where its header stands in the file.
    pub offset: u64,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
    /// Links that do not lead to an object of this file.
    pub links: Vec<Link>,
    /// Its data, if it is a dataset.
    pub dataset: Option<Dataset>,
    /// Its comment.
    pub comment: Option<String>,
}

/// Everything that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// Objects in the order in which they were reached.
    pub objects: Vec<Object>,
    /// Flaws in the order in which they were met, at most [`FLAWS_MAX`].
    pub flaws: Vec<Flaw>,
    /// Byte ranges that belong to structures or data, sorted and joined; `None` where there were too many.
    pub extents: Option<Vec<(u64, u64)>>,
}

/// A file that is being read.
pub struct Reader<'s, S: Read + Seek + ?Sized> {
    source: &'s mut S,
    /// Bytes of the source.
    length: u64,
    superblock: Superblock,
    flaws: Vec<Flaw>,
    extents: Vec<(u64, u64)>,
    read: u64,
    collections: HashMap<u64, Rc<heap::Collection>>,
    /// Bytes of these collections.
    kept: usize,
    /// Bytes of chunks that were read.
    unpacked: u64,
}

/// What the superblock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    /// Where it stands; what stands before it is the user block.
    pub offset: u64,
    /// Its version.
    pub version: u8,
    /// Where the file ends, counted from the start of the source.
    pub end: u64,
    /// Bytes of an address.
    address_bytes: usize,
    /// Bytes of a length.
    length_bytes: usize,
    /// Object header of the root group.
    root: u64,
    /// Object header of the superblock's extension.
    extension: Option<u64>,
}

/// Why a structure was left: the source failed, or a flaw was recorded.
enum Stop {
    Io(io::Error),
    Flawed,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

type Step<T> = Result<T, Stop>;

/// Turns a recorded flaw into nothing, so that the walk goes on elsewhere.
fn optional<T>(step: Step<T>) -> io::Result<Option<T>> {
    match step {
        Ok(value) => Ok(Some(value)),
        Err(Stop::Flawed) => Ok(None),
        Err(Stop::Io(error)) => Err(error),
    }
}

/// Where the signature stands in `source`, if anywhere.
pub fn find(source: &mut (impl Read + Seek + ?Sized)) -> io::Result<Option<u64>> {
    let length = source.seek(SeekFrom::End(0))?;
    let mut at = 0_u64;
    while at.saturating_add(8) <= length {
        let mut bytes = [0; 8];
        source.seek(SeekFrom::Start(at))?;
        source.read_exact(&mut bytes)?;
        if bytes == SIGNATURE {
            return Ok(Some(at));
        }
        at = if at == 0 { 512 } else { at.saturating_mul(2) };
    }
    Ok(None)
}

impl<'s, S: Read + Seek + ?Sized> Reader<'s, S> {
    /// Finds and reads the superblock of `source`.
    pub fn open(source: &'s mut S) -> Result<Self, Hdf5Error> {
        let length = source.seek(SeekFrom::End(0))?;
        let offset = find(source)?.ok_or(Hdf5Error::NotHdf5)?;
        let mut bytes = Vec::new();
        source.seek(SeekFrom::Start(offset))?;
        source.take(SUPERBLOCK_BYTES).read_to_end(&mut bytes)?;
        let (superblock, bytes) = superblock(&bytes, offset).ok_or(Hdf5Error::Superblock { offset })?;
        let extents = vec![(offset, offset.saturating_add(bytes))];
        Ok(Self {
            source,
            length,
            superblock,
            flaws: Vec::new(),
            extents,
            read: 0,
            collections: HashMap::new(),
            kept: 0,
            unpacked: 0,
        })
    }

    /// What the superblock says.
    pub fn superblock(&self) -> Superblock {
        self.superblock
    }

    /// Follows every link from the root group.
    pub fn walk(&mut self) -> io::Result<Tree> {
        let mut tree = Tree::default();
        let mut seen = HashSet::new();
        let mut open = vec![(String::from("/"), self.superblock.root)];
        open.extend(self.superblock.extension.map(|address| ("superblock extension".to_owned(), address)));
        let mut attributes = 0;
        while let Some((path, address)) = open.pop() {
            if !seen.insert(address) {
                continue;
            }
            if tree.objects.len() >= OBJECTS_MAX || attributes >= ATTRIBUTES_MAX {
                self.flaw(Flaw::Limit { what: "objects or attributes" });
                break;
            }
            let Some((mut object, links)) = optional(self.object(&path, address))? else { continue };
            attributes += object.attributes.len();
            for link in links {
                match link.target {
                    Target::Hard(address) => open.push((join(&path, &link.name), address)),
                    _ => object.links.push(link),
                }
            }
            tree.objects.push(object);
        }
        tree.flaws = std::mem::take(&mut self.flaws);
        tree.extents = self.joined_extents();
        Ok(tree)
    }

    /// Flaws that were met since [`Self::walk`], while contents were read.
    pub fn later_flaws(&mut self) -> Vec<Flaw> {
        std::mem::take(&mut self.flaws)
    }

    /// Byte ranges that are known to belong to something by now; contents that were read included.
    pub fn joined_extents(&self) -> Option<Vec<(u64, u64)>> {
        if self.extents.len() >= EXTENTS_MAX {
            return None;
        }
        let mut extents = self.extents.clone();
        extents.sort_unstable();
        let mut joined: Vec<(u64, u64)> = Vec::new();
        for (start, end) in extents {
            match joined.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => joined.push((start, end)),
            }
        }
        Some(joined)
    }

    fn flaw(&mut self, flaw: Flaw) {
        if self.flaws.len() < FLAWS_MAX && self.flaws.last() != Some(&flaw) {
            self.flaws.push(flaw);
        }
    }

    fn stop<T>(&mut self, flaw: Flaw) -> Step<T> {
        self.flaw(flaw);
        Err(Stop::Flawed)
    }

    fn broken<T>(&mut self, what: &'static str, address: u64) -> Step<T> {
        let offset = self.place(address);
        self.stop(Flaw::Broken { what, offset })
    }

    /// The value, or a flaw that says that the structure is broken.
    fn sound<T>(&mut self, value: Option<T>, what: &'static str, address: u64) -> Step<T> {
        match value {
            Some(value) => Ok(value),
            None => self.broken(what, address),
        }
    }

    /// Offset in the source of an address.
    fn place(&self, address: u64) -> u64 {
        address.saturating_add(self.superblock.offset)
    }

    fn claim(&mut self, start: u64, bytes: u64) {
        if self.extents.len() < EXTENTS_MAX {
            self.extents.push((start, start.saturating_add(bytes)));
        }
    }

    /// The bytes of a structure.
    fn bytes(&mut self, what: &'static str, address: u64, bytes: u64) -> Step<Vec<u8>> {
        let offset = self.place(address);
        if offset.checked_add(bytes).is_none_or(|end| end > self.length) {
            return self.stop(Flaw::Outside { what, offset, bytes });
        }
        self.read = self.read.saturating_add(bytes);
        if bytes > STRUCTURE_BYTES_MAX || self.read > STRUCTURES_BYTES_MAX {
            return self.stop(Flaw::Limit { what });
        }
        self.source.seek(SeekFrom::Start(offset))?;
        let mut out = Vec::new();
        (&mut *self.source).take(bytes).read_to_end(&mut out)?;
        self.claim(offset, bytes);
        Ok(out)
    }

    /// The bytes of a structure, behind its signature.
    fn signed(&mut self, what: &'static str, signature: [u8; 4], address: u64, bytes: u64) -> Step<Vec<u8>> {
        let all = self.bytes(what, address, bytes)?;
        match all.strip_prefix(&signature) {
            Some(rest) => Ok(rest.to_vec()),
            None => self.broken(what, address),
        }
    }

    /// An address; `None` for the one that means nowhere.
    #[expect(clippy::option_option, reason = "too short, nowhere and an address are three things")]
    fn address(&self, slice: &mut Slice<'_>) -> Option<Option<u64>> {
        let bytes = self.superblock.address_bytes;
        let address = slice.number(bytes)?;
        let nowhere = if bytes >= 8 { u64::MAX } else { (1 << (8 * bytes)) - 1 };
        Some((address != nowhere).then_some(address))
    }

    fn number(&self, slice: &mut Slice<'_>) -> Option<u64> {
        slice.number(self.superblock.length_bytes)
    }
}

/// Longest superblock, in bytes: version 1 with addresses of 32 bytes has fewer.
const SUPERBLOCK_BYTES: u64 = 512;

/// The superblock at `offset` and its length in bytes (§II.A).
fn superblock(bytes: &[u8], offset: u64) -> Option<(Superblock, u64)> {
    let mut slice = Slice::new(bytes);
    slice.skip(SIGNATURE.len())?;
    let version = slice.byte()?;
    let (address_bytes, length_bytes) = match version {
        0 | 1 => {
            slice.skip(4)?;
            let widths = (usize::from(slice.byte()?), usize::from(slice.byte()?));
            slice.skip(if version == 0 { 9 } else { 13 })?;
            widths
        }
        2 | 3 => {
            let widths = (usize::from(slice.byte()?), usize::from(slice.byte()?));
            slice.skip(1)?;
            widths
        }
        _ => return None,
    };
    if ![2, 4, 8].contains(&address_bytes) || ![2, 4, 8].contains(&length_bytes) {
        return None;
    }
    // The end counts from where the base counts from, also where a block was put in front of a finished file.
    let base = slice.number(address_bytes)?;
    let second = slice.number(address_bytes)?;
    let end = slice.number(address_bytes)?.saturating_sub(base).saturating_add(offset);
    let (root, extension) = if version < 2 {
        slice.skip(address_bytes)?;
        slice.skip(address_bytes)?;
        let root = slice.number(address_bytes)?;
        slice.skip(24)?;
        (root, None)
    } else {
        let root = slice.number(address_bytes)?;
        slice.skip(4)?;
        let nowhere = if address_bytes >= 8 { u64::MAX } else { (1 << (8 * address_bytes)) - 1 };
        (root, (second != nowhere).then_some(second))
    };
    let superblock = Superblock { offset, version, end, address_bytes, length_bytes, root, extension };
    Some((superblock, slice.at() as u64))
}

fn join(path: &str, name: &str) -> String {
    let path = if path == "/" { "" } else { path };
    let mut joined = format!("{path}/{name}");
    while joined.len() > PATH_BYTES_MAX {
        joined.pop();
    }
    joined
}
