//! Zip archives as loaders see them (PKWARE APPNOTE 6.3.10), with every place where two loaders may disagree.
//!
//! [`read`] walks the end records, the central directory and the local headers and returns an [`Archive`]: its
//! [`Member`]s, and a [`Note`] for each contradiction. Contradictions are data, never errors: an auditor wants to see
//! both readings, so members that only a local header announces are listed too, and so are those of a second directory.
//! [`Member::open`] gives the bytes of a member, bounded by what its header says.
//!
//! Absent on purpose: decryption, methods that Python's `zipfile` does not read, archives over several disks, writing.

#![deny(clippy::indexing_slicing)]

use std::{
    collections::HashMap,
    io::{self, BufReader, Read, Seek, SeekFrom},
};

use flate2::bufread::DeflateDecoder;

mod directory;
mod layout;
mod method;
mod note;

pub use note::Note;

/// Most members that are listed.
pub const MEMBERS_MAX: usize = 200_000;
/// Longest central directory that is read, in bytes.
pub const DIRECTORY_BYTES_MAX: u64 = 64 << 20;
/// How far from the end of the file end records are looked for, in bytes: the longest comment and the record itself.
pub const TAIL_BYTES_MAX: u64 = 65_535 + 22;
/// Notes that are kept; an archive with more is broken enough.
pub const NOTES_MAX: usize = 1_000;
/// Deflate cannot expand more than this (RFC 1951: 258 bytes for 2 bits, with the code's own cost).
pub const DEFLATE_RATIO_MAX: u64 = 1_032;

/// `PK\3\4`.
pub const LOCAL_SIGNATURE: [u8; 4] = *b"PK\x03\x04";
/// `PK\1\2`.
pub const CENTRAL_SIGNATURE: [u8; 4] = *b"PK\x01\x02";
/// `PK\5\6`.
pub const END_SIGNATURE: [u8; 4] = *b"PK\x05\x06";

/// Why no archive could be read at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZipError {
    /// Neither an end record nor a local header at the start.
    #[error("no end record and no local header")]
    NotZip,
    /// The source failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Who announces a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// The directory, and a local header where the directory says.
    Both,
    /// Only the directory: there is no local header where it points.
    Central,
    /// Only a local header: readers of the directory do not see it, streaming readers do.
    Local,
    /// The local header's reading of a member whose method or sizes the directory states otherwise. The directory's
    /// reading stands before it in the list.
    Contradicting,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name as its bytes stand in the directory, or in the local header where there is no other.
    pub name: Vec<u8>,
    /// Name in the local header, where that differs.
    pub local_name: Option<Vec<u8>>,
    /// Compression method: 0 stored, 8 deflated, 12 bzip2, 14 LZMA, 93 zstd; others are not read.
    pub method: u16,
    /// General purpose flags of directory and local header, joined by `or`.
    pub flags: u16,
    /// CRC-32 that the directory states.
    pub crc32: u32,
    /// Bytes in the archive.
    pub compressed: u64,
    /// Bytes after inflation, as stated.
    pub size: u64,
    /// Where the local header is.
    pub header_offset: u64,
    /// Where the data begins; 0 where there is no local header.
    pub data_offset: u64,
    /// Who announces it.
    pub listed: Listed,
    /// Unix mode from the external attributes, if the archive was made on Unix.
    pub unix_mode: Option<u32>,
}

impl Member {
    /// The name, lossily decoded; not fit to print as it is.
    pub fn name_lossy(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }

    /// Whether a flag says that the data is encrypted (bits 0, 6 and 13).
    pub fn is_marked_encrypted(&self) -> bool {
        self.flags & 0x2041 != 0
    }

    /// Whether its method is one that [`Self::open`] reads.
    pub fn is_readable(&self) -> bool {
        matches!(self.method, 0 | 8 | method::BZIP2 | method::LZMA | method::ZSTD)
    }

    /// Whether this is a Unix symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.unix_mode.is_some_and(|mode| mode & 0o170_000 == 0o120_000)
    }

    /// Whether this names a directory.
    pub fn is_directory(&self) -> bool {
        self.name.ends_with(b"/") && self.size == 0
    }

    /// A reader over the member's content. It ends after [`Member::size`] bytes (plus one, so that a longer content can
    /// be told) and ignores the encryption flags: some loaders do so too.
    ///
    /// `None`: the method is not read, its own header makes no sense, or there is no local header.
    pub fn open<'a, R: Read + Seek + ?Sized>(&self, source: &'a mut R) -> io::Result<Option<MemberReader<'a, R>>> {
        if self.listed == Listed::Central {
            return Ok(None);
        }
        source.seek(SeekFrom::Start(self.data_offset))?;
        let raw = source.take(self.compressed);
        Ok(match self.method {
            0 => Some(MemberReader::Stored(raw)),
            8 => {
                let most = self.size.saturating_add(1);
                Some(MemberReader::Deflated(Box::new(DeflateDecoder::new(BufReader::new(raw))).take(most)))
            }
            _ => {
                let most = self.size.saturating_add(1);
                method::open(self, raw)?.map(|reader| MemberReader::Unpacked(reader.take(most)))
            }
        })
    }
}

/// Content of a member.
pub enum MemberReader<'a, R: Read + ?Sized> {
    /// Bytes as they are.
    Stored(io::Take<&'a mut R>),
    /// Inflated on the way.
    Deflated(io::Take<Box<DeflateDecoder<BufReader<io::Take<&'a mut R>>>>>),
    /// Unpacked on the way by another method.
    Unpacked(io::Take<Box<dyn Read + 'a>>),
}

impl<R: Read + ?Sized> Read for MemberReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stored(reader) => reader.read(buffer),
            Self::Deflated(reader) => reader.read(buffer),
            Self::Unpacked(reader) => reader.read(buffer),
        }
    }
}

/// A whole archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archive {
    /// Members in the order of the directory, then those that only local headers announce.
    pub members: Vec<Member>,
    /// Contradictions, in the order in which they were met; at most [`NOTES_MAX`].
    pub notes: Vec<Note>,
    /// Offset and length of comments without zip records in them: bytes that no member owns.
    pub comments: Vec<(u64, u64)>,
    /// Whether more notes or members than the limits were there.
    pub truncated: bool,
}

impl Archive {
    pub(crate) fn note(&mut self, note: Note) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        } else {
            self.truncated = true;
        }
    }

    fn push(&mut self, member: Member) {
        if self.members.len() < MEMBERS_MAX {
            self.members.push(member);
        } else {
            self.truncated = true;
        }
    }
}

/// Reads the structure of an archive; member contents are not touched.
///
/// # Errors
/// [`ZipError::NotZip`] for other bytes, [`ZipError::Io`] where the source fails.
pub fn read(source: &mut (impl Read + Seek + ?Sized)) -> Result<Archive, ZipError> {
    let length = source.seek(SeekFrom::End(0))?;
    let mut archive = Archive::default();
    let ends = directory::end_records(source, length)?;
    let mut covered: Vec<(u64, u64)> = Vec::new();
    match directory::choose(&ends) {
        Some(end) => {
            directory::read_all(source, length, end, &mut archive, &mut covered)?;
        }
        None if starts_with_local_header(source)? => archive.note(Note::NoEndRecord),
        None => return Err(ZipError::NotZip),
    }
    layout::check(source, length, &ends, &mut archive, &mut covered)?;
    note_duplicates(&mut archive);
    Ok(archive)
}

/// CRC-32 as zip stores it.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// Whether the source begins with `PK\3\4`.
pub fn starts_with_local_header(source: &mut (impl Read + Seek + ?Sized)) -> io::Result<bool> {
    Ok(bytes_at(source, 0, 4)? == LOCAL_SIGNATURE)
}

/// Up to `length` bytes from `offset`; fewer at the end of the source.
pub(crate) fn bytes_at(source: &mut (impl Read + Seek + ?Sized), offset: u64, length: u64) -> io::Result<Vec<u8>> {
    source.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    source.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn note_duplicates(archive: &mut Archive) {
    let mut seen: HashMap<&[u8], u32> = HashMap::new();
    let mut twice = Vec::new();
    for member in archive.members.iter().filter(|member| member.listed != Listed::Contradicting) {
        let count = seen.entry(&member.name).or_insert(0);
        *count += 1;
        if *count == 2 {
            twice.push(member.name.clone());
        }
    }
    let mut folded: HashMap<String, &[u8]> = HashMap::new();
    let mut same_when_folded = Vec::new();
    for member in &archive.members {
        let key = member.name_lossy().replace('\\', "/").to_lowercase();
        match folded.get(&key) {
            Some(first) if *first != member.name.as_slice() => same_when_folded.push(member.name.clone()),
            Some(_) => {}
            None => {
                folded.insert(key, &member.name);
            }
        }
    }
    let twice = twice.into_iter().map(|name| Note::DuplicateName { name });
    for note in twice.chain(same_when_folded.into_iter().map(|name| Note::SameNameFolded { name })) {
        archive.note(note);
    }
}

/// Little-endian fields of a record whose length was checked; a missing byte reads as 0.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    fn number(&self, at: usize, bytes: usize) -> u64 {
        let field = self.0.get(at..at.saturating_add(bytes)).unwrap_or_default();
        field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    pub(crate) fn u16(&self, at: usize) -> u16 {
        u16::try_from(self.number(at, 2)).unwrap_or(u16::MAX)
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::try_from(self.number(at, 4)).unwrap_or(u32::MAX)
    }

    pub(crate) fn u64(&self, at: usize) -> u64 {
        self.number(at, 8)
    }
}
