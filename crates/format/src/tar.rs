//! Tar archives as loaders see them (POSIX.1-1988 ustar, POSIX.1-2001 pax, GNU, old v7), with every place where two
//! readers may disagree.
//!
//! [`read`] walks the headers and returns an [`Archive`]: its [`Member`]s, and a [`Note`] for each contradiction.
//! Contradictions are data, never errors. It accepts what Python's `tarfile` accepts, that is, any block whose checksum
//! holds, with or without a magic; and it goes on where `tarfile` stops: behind the end blocks (archives written one
//! behind the other) and behind broken blocks.
//!
//! Absent on purpose: writing, unpacking, multi-volume archives, expanding sparse members.

#![deny(clippy::indexing_slicing)]

use std::{
    collections::HashSet,
    io::{self, Read, Seek},
};

use crate::zip::bytes_at;

mod header;
mod pax;

use header::{Header, Unreadable};
use pax::Overrides;

/// Bytes of a block; everything in a tar archive is aligned to it.
pub const BLOCK_BYTES: u64 = 512;
/// The same, as a length in memory.
const BLOCK: usize = 512;
/// Most members that are listed.
pub const MEMBERS_MAX: usize = 200_000;
/// Notes that are kept; an archive with more is broken enough.
pub const NOTES_MAX: usize = 1_000;
/// Longest pax header or long name that is read, in bytes.
pub const EXTENSION_BYTES_MAX: u64 = 1 << 20;
/// Extension headers in a row; more is no archive that anybody wrote.
pub const EXTENSIONS_MAX: u32 = 32;
/// How much is read at once where zeros or the next header are looked for, in bytes.
const STRIDE_BYTES: u64 = 64 << 10;
/// How far behind a broken block the next header is looked for, in bytes.
const RESYNC_BYTES_MAX: u64 = 64 << 20;
/// Most searches for the next header behind a broken block.
const RESYNCS_MAX: u32 = 64;

/// Why no archive could be read at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// The first block is no header.
    #[error("the first block is no tar header")]
    NotTar,
    /// The source failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file, also a contiguous one, and every type that readers do not know.
    File,
    /// Another name of an earlier member.
    HardLink,
    /// A symbolic link.
    SymbolicLink,
    /// A character or block device, or a pipe.
    Device,
    /// A directory.
    Directory,
    /// A file with holes: its stored bytes are not its content.
    Sparse,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name, extensions applied.
    pub name: Vec<u8>,
    /// Where a link leads, extensions applied.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Bytes in the archive.
    pub size: u64,
    /// Where its own header is.
    pub header_offset: u64,
    /// Where the data begins.
    pub data_offset: u64,
}

impl Member {
    /// The name, lossily decoded; not fit to print as it is.
    pub fn name_lossy(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }
}

/// One contradiction or oddity. Names are raw bytes; offsets count from the start of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// A header's checksum is wrong: strict readers stop here, lenient ones read on.
    Checksum {
        /// Where the header is.
        offset: u64,
    },
    /// A block that is no header where one should be; readers stop here or look for the next one.
    Junk {
        /// Where it begins.
        offset: u64,
        /// Bytes up to the next header or the end.
        bytes: u64,
    },
    /// Members behind the blocks that end an archive: most readers do not see them.
    AfterEnd {
        /// Where the first of them is.
        offset: u64,
    },
    /// A member's data reaches beyond the end.
    Truncated {
        /// Member.
        name: Vec<u8>,
    },
    /// A link or directory that states a size: some readers step over that many bytes, some do not.
    SizeOnLink {
        /// Member.
        name: Vec<u8>,
    },
    /// Bytes other than zeros fill up a member's last block.
    Padding {
        /// Where they begin.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// A pax header or long name that cannot be read, or that belongs to no member.
    Extension {
        /// Where its header is.
        offset: u64,
    },
    /// A pax header that gives a member another size than its own header.
    SizeDiffers {
        /// Member.
        name: Vec<u8>,
    },
    /// A type that readers do not know and take for a file.
    UnknownType {
        /// Member.
        name: Vec<u8>,
        /// The type's byte.
        kind: u8,
    },
    /// The same name twice: the later one replaces the earlier one where both are unpacked.
    DuplicateName {
        /// Member.
        name: Vec<u8>,
    },
}

/// A whole archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archive {
    /// Members in the order of the file.
    pub members: Vec<Member>,
    /// Contradictions, in the order in which they were met; at most [`NOTES_MAX`].
    pub notes: Vec<Note>,
    /// Whether more notes or members than the limits were there.
    pub truncated: bool,
}

impl Archive {
    fn note(&mut self, note: Note) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        } else {
            self.truncated = true;
        }
    }
}

/// Whether the first block of a content is a tar header: its checksum holds, or it carries the magic of ustar.
pub fn is_likely(head: &[u8]) -> bool {
    match Header::parse(head) {
        Ok(header) if header.has_magic || header.is_summed => !header.name.is_empty(),
        // `tarfile` takes a blank checksum for zero, and the signed bytes of a picture may well add up to it: the next header
        // must be one too, if it is near enough to be seen.
        Ok(header) => {
            let next = usize::try_from(header.size.div_ceil(BLOCK_BYTES).saturating_add(1).saturating_mul(BLOCK_BYTES));
            let next = next.ok().and_then(|next| head.get(next..));
            !header.name.is_empty()
                && next.is_none_or(|next| match Header::parse(next) {
                    Ok(_) | Err(Unreadable::Zero) => true,
                    Err(Unreadable::Checksum(header)) => header.has_magic,
                    Err(_) => next.is_empty(),
                })
        }
        Err(Unreadable::Checksum(header)) => header.has_magic && !header.name.is_empty(),
        Err(_) => false,
    }
}

/// Whether `block` is a tar header with a magic, a name and a checksum that holds.
pub fn is_header(block: &[u8]) -> bool {
    Header::parse(block).is_ok_and(|header| header.has_magic && !header.name.is_empty())
}

/// Reads the structure of an archive; member contents are not touched.
///
/// # Errors
/// [`TarError::NotTar`] for other bytes, [`TarError::Io`] where the source fails.
pub fn read(source: &mut (impl Read + Seek + ?Sized)) -> Result<Archive, TarError> {
    if !is_likely(&bytes_at(source, 0, BLOCK_BYTES)?) {
        return Err(TarError::NotTar);
    }
    let length = source.seek(io::SeekFrom::End(0))?;
    let mut walk = Walk { length, at: 0, ended: false, resyncs: 0, archive: Archive::default() };
    while walk.at < length {
        if walk.archive.members.len() >= MEMBERS_MAX {
            walk.archive.truncated = true;
            break;
        }
        walk.step(source)?;
    }
    let mut seen = HashSet::new();
    let files = walk.archive.members.iter().filter(|member| member.kind != Kind::Directory);
    let twice: Vec<Vec<u8>> =
        files.filter(|member| !seen.insert(plain_name(&member.name))).map(|member| member.name.clone()).collect();
    for name in twice {
        walk.archive.note(Note::DuplicateName { name });
    }
    Ok(walk.archive)
}

/// `./a` and `a` unpack to the same file.
fn plain_name(name: &[u8]) -> &[u8] {
    let mut name = name;
    while let Some(rest) = name.strip_prefix(b"./") {
        name = rest;
    }
    name
}

struct Walk {
    length: u64,
    at: u64,
    /// Whether end blocks were met.
    ended: bool,
    resyncs: u32,
    archive: Archive,
}

impl Walk {
    /// Reads the member, the zeros or the junk at the current place, and moves behind it.
    fn step(&mut self, source: &mut (impl Read + Seek + ?Sized)) -> io::Result<()> {
        let first = self.at;
        let mut overrides = Overrides::default();
        for _ in 0..EXTENSIONS_MAX {
            let block = bytes_at(source, self.at, BLOCK_BYTES)?;
            let header = match Header::parse(&block) {
                Ok(header) => header,
                Err(Unreadable::Zero) => {
                    if first < self.at {
                        self.archive.note(Note::Extension { offset: first });
                    }
                    self.ended = true;
                    return self.zeros(source);
                }
                Err(Unreadable::Checksum(header)) if header.has_magic => {
                    self.archive.note(Note::Checksum { offset: self.at });
                    header
                }
                Err(_) => return self.junk(source),
            };
            if self.ended && !self.archive.notes.iter().any(|note| matches!(note, Note::AfterEnd { .. })) {
                self.archive.note(Note::AfterEnd { offset: self.at });
            }
            if !header.is_extension() {
                return self.member(source, *header, &overrides);
            }
            let offset = self.at;
            let bytes = bytes_at(source, offset + BLOCK_BYTES, header.size.min(EXTENSION_BYTES_MAX))?;
            let is_whole = bytes.len() as u64 == header.size;
            if !is_whole || !overrides.add(header.kind, &bytes) {
                self.archive.note(Note::Extension { offset });
            }
            self.at = behind(offset + BLOCK_BYTES, header.size).min(self.length);
            if self.at >= self.length {
                // Nothing follows that it could belong to.
                self.archive.note(Note::Extension { offset });
                return Ok(());
            }
        }
        self.archive.note(Note::Extension { offset: first });
        Ok(())
    }

    fn member(
        &mut self,
        source: &mut (impl Read + Seek + ?Sized),
        header: Header,
        overrides: &Overrides,
    ) -> io::Result<()> {
        let header_offset = self.at;
        let data_offset = (header_offset + BLOCK_BYTES).min(self.length);
        let name = overrides.name.clone().unwrap_or(header.name);
        let link = overrides.link.clone().unwrap_or(header.link);
        let size = overrides.size.unwrap_or(header.size);
        if overrides.size.is_some_and(|size| size != header.size && header.size != 0) {
            self.archive.note(Note::SizeDiffers { name: name.clone() });
        }
        let kind = match header.kind {
            b'1' => Kind::HardLink,
            b'2' => Kind::SymbolicLink,
            b'3' | b'4' | b'6' => Kind::Device,
            b'5' | b'D' => Kind::Directory,
            // Old archives mark directories by a slash at the end.
            0 | b'0' if name.ends_with(b"/") => Kind::Directory,
            b'S' => Kind::Sparse,
            _ if overrides.sparse => Kind::Sparse,
            0 | b'0' | b'7' => Kind::File,
            kind => {
                self.archive.note(Note::UnknownType { name: name.clone(), kind });
                Kind::File
            }
        };
        let mut start = data_offset;
        if header.kind == b'S' {
            start = self.sparse_map(source, header.more_map)?;
        }
        let has_data = match kind {
            Kind::File | Kind::Sparse => true,
            _ if size == 0 => false,
            // `tarfile` reads the next header right behind a link; GNU tar steps over its data.
            _ => {
                self.archive.note(Note::SizeOnLink { name: name.clone() });
                let next = bytes_at(source, start, BLOCK_BYTES)?;
                !matches!(Header::parse(&next), Ok(_) | Err(Unreadable::Zero))
            }
        };
        let there = if has_data { size.min(self.length.saturating_sub(start)) } else { 0 };
        if has_data && there < size {
            self.archive.note(Note::Truncated { name: name.clone() });
        }
        let end = start + there;
        let next = if has_data { behind(start, size).min(self.length) } else { start };
        if there == size && end < next {
            let padding = bytes_at(source, end, next - end)?;
            if padding.iter().any(|byte| *byte != 0) {
                self.archive.note(Note::Padding { offset: end, bytes: next - end });
            }
        }
        self.archive.members.push(Member {
            name,
            link,
            kind,
            mode: header.mode,
            size: there,
            header_offset,
            data_offset: start,
        });
        self.at = next.max(header_offset + 1);
        Ok(())
    }

    /// Blocks that go on with the map of a GNU sparse member; returns where its data begins.
    fn sparse_map(&mut self, source: &mut (impl Read + Seek + ?Sized), more: bool) -> io::Result<u64> {
        let (mut at, mut more) = (self.at + BLOCK_BYTES, more);
        while more && at < self.length {
            more = bytes_at(source, at, BLOCK_BYTES)?.get(504).is_some_and(|flag| *flag != 0);
            at += BLOCK_BYTES;
        }
        Ok(at.min(self.length))
    }

    /// Moves to the first block from here that is not all zeros.
    fn zeros(&mut self, source: &mut (impl Read + Seek + ?Sized)) -> io::Result<()> {
        while self.at < self.length {
            let bytes = bytes_at(source, self.at, STRIDE_BYTES)?;
            let Some(found) = bytes.iter().position(|byte| *byte != 0) else {
                self.at += (bytes.len() as u64).max(1);
                continue;
            };
            self.at += found as u64 / BLOCK_BYTES * BLOCK_BYTES;
            return Ok(());
        }
        Ok(())
    }

    /// Notes what is no header, and moves to the next header or the end.
    fn junk(&mut self, source: &mut (impl Read + Seek + ?Sized)) -> io::Result<()> {
        let offset = self.at;
        self.resyncs += 1;
        let reach = if self.resyncs > RESYNCS_MAX { offset } else { offset.saturating_add(RESYNC_BYTES_MAX) };
        let mut at = offset + BLOCK_BYTES;
        let mut next = self.length;
        'search: while at < self.length.min(reach) {
            let bytes = bytes_at(source, at, STRIDE_BYTES)?;
            for block in bytes.chunks(BLOCK) {
                if Header::parse(block).is_ok_and(|header| !header.name.is_empty()) {
                    next = at;
                    break 'search;
                }
                at += BLOCK_BYTES;
            }
        }
        self.archive.note(Note::Junk { offset, bytes: next - offset });
        self.at = next;
        Ok(())
    }
}

/// The block behind `size` bytes from `start`.
fn behind(start: u64, size: u64) -> u64 {
    start.saturating_add(size.checked_next_multiple_of(BLOCK_BYTES).unwrap_or(u64::MAX))
}
