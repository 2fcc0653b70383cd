//! 7z archives, bounded.
//!
//! [`walk`] hands every member to the caller as a reader, in the order of the archive, and says in a [`Summary`] what
//! could not be read and where the archive ends. The container is `sevenz-rust2`'s work; what is added here is what an
//! auditor of foreign files needs: limits on the dictionaries before they are allocated and on the number of members,
//! and one broken block not hiding the next.
//!
//! Absent on purpose: decryption. Encrypted headers and members are told, not guessed at.

#![deny(clippy::indexing_slicing)]

use std::io::{self, Read, Seek, SeekFrom};

use sevenz_rust2::{Archive, Block, BlockDecoder, Error, Password};

use crate::zip::bytes_at;

/// The signature.
pub const SIGNATURE: [u8; 6] = *b"7z\xbc\xaf\x27\x1c";
/// Most members that are listed.
pub const MEMBERS_MAX: usize = 100_000;
/// Longest header that is read, in bytes.
pub const HEADER_BYTES_MAX: u64 = 64 << 20;
/// Largest dictionary or model memory that a block may ask for, in bytes; `7z -mx=9` asks for 64 MiB.
pub const MEMORY_BYTES_MAX: u64 = 256 << 20;
/// Bytes of the signature header.
const START_BYTES: u64 = 32;

/// Why an archive could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SevenzError {
    /// The header is encrypted: not even the names can be read.
    #[error("the header is encrypted")]
    Encrypted,
    /// More memory, members or header than the limits allow.
    #[error("the header asks for more {what} than the limit")]
    TooLarge {
        /// Of what.
        what: &'static str,
    },
    /// Something else than the format allows, or uses.
    #[error("the archive cannot be read: {what}")]
    Broken {
        /// What the reader says.
        what: String,
    },
    /// The source failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What one member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name, not fit to print as it is.
    pub name: String,
    /// Bytes after unpacking, as stated.
    pub size: u64,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Unix mode from the attributes, if the archive was made on Unix.
    pub unix_mode: Option<u32>,
}

/// What could not be read, and where the archive ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Members whose content is encrypted.
    pub encrypted: usize,
    /// Why some members could not be read, one text a block, at most 100.
    pub failures: Vec<String>,
    /// Byte behind the last one that the archive accounts for.
    pub end: u64,
}

/// Hands every member to `each`, which says whether to go on.
///
/// # Errors
/// Where not even the list of members can be read; see [`SevenzError`].
pub fn walk<R: Read + Seek>(
    source: &mut R,
    each: &mut dyn FnMut(&Member, &mut dyn Read) -> bool,
) -> Result<Summary, SevenzError> {
    let end = check_header(source)?;
    let password = Password::empty();
    let archive = Archive::read(source, &password).map_err(|error| told(&error))?;
    if archive.files.len() > MEMBERS_MAX {
        return Err(SevenzError::TooLarge { what: "members" });
    }
    let mut summary = Summary { end, ..Summary::default() };
    for (index, block) in archive.blocks.iter().enumerate() {
        let decoder = BlockDecoder::new(1, index, &archive, &password, source);
        let reason = if is_encrypted(block) {
            summary.encrypted += decoder.entry_count();
            continue;
        } else if memory(block) > MEMORY_BYTES_MAX {
            Some("a block asks for more memory than the limit".to_owned())
        } else {
            let visit = &mut |entry: &sevenz_rust2::ArchiveEntry, content: &mut dyn Read| {
                let mut content = Fused { content, failure: None };
                let goes_on = each(&member(entry), &mut content);
                // The archive's reader would read on behind an error, and some decoders do not come back from that.
                content.failure.map_or(Ok(goes_on), |failure| Err(Error::Other(failure.into())))
            };
            match decoder.for_each_entries(visit) {
                Ok(true) => None,
                Ok(false) => return Ok(summary),
                Err(error) => Some(told(&error).to_string()),
            }
        };
        if let Some(reason) = reason.filter(|_| summary.failures.len() < 100) {
            summary.failures.push(reason);
        }
    }
    for (entry, block) in archive.files.iter().zip(&archive.stream_map.file_block_index) {
        if block.is_none() && !each(&member(entry), &mut io::empty()) {
            break;
        }
    }
    Ok(summary)
}

/// A member's content that is not read again once it has failed.
struct Fused<'c> {
    content: &'c mut dyn Read,
    failure: Option<String>,
}

impl Read for Fused<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(failure) = &self.failure {
            return Err(io::Error::other(failure.clone()));
        }
        self.content.read(buffer).inspect_err(|error| self.failure = Some(error.to_string()))
    }
}

/// Looks at the sizes that the two outer headers state before anything is allocated for them; returns where the archive
/// ends. Format: `7zFormat.txt` of the LZMA SDK, "SignatureHeader" and "EncodedHeader".
fn check_header<R: Read + Seek>(source: &mut R) -> Result<u64, SevenzError> {
    let start = bytes_at(source, 0, START_BYTES)?;
    let number =
        |at: usize| start.get(at..at + 8).and_then(|field| field.first_chunk().copied()).map(u64::from_le_bytes);
    let (Some(offset), Some(size)) = (number(12), number(20)) else {
        return Err(SevenzError::Broken { what: "it ends inside its first header".to_owned() });
    };
    if size > HEADER_BYTES_MAX {
        return Err(SevenzError::TooLarge { what: "header" });
    }
    let length = source.seek(SeekFrom::End(0))?;
    let at = START_BYTES.saturating_add(offset);
    let header = if at < length { bytes_at(source, at, size)? } else { Vec::new() };
    if header.first() == Some(&0x17) {
        // An encoded header is short and plain: one coder with its properties.
        if memchr::memmem::find(&header, &AES).is_some() {
            return Err(SevenzError::Encrypted);
        }
        let lzma = memchr::memmem::find_iter(&header, b"\x03\x01\x01\x05").any(|at| {
            let dictionary = header.get(at + 5..at + 9).and_then(|field| field.first_chunk().copied());
            dictionary.map(u32::from_le_bytes).is_some_and(|bytes| u64::from(bytes) > MEMORY_BYTES_MAX)
        });
        let lzma2 = memchr::memmem::find_iter(&header, b"\x21\x21\x01")
            .any(|at| header.get(at + 3).is_some_and(|code| lzma2_dictionary(*code) > MEMORY_BYTES_MAX));
        if lzma || lzma2 {
            return Err(SevenzError::TooLarge { what: "memory" });
        }
    }
    Ok(at.saturating_add(size).min(length))
}

fn member(entry: &sevenz_rust2::ArchiveEntry) -> Member {
    // p7zip keeps the Unix mode in the upper half and says so by bit 15.
    let attributes = entry.windows_attributes;
    let unix_mode = (entry.has_windows_attributes && attributes & 0x8000 != 0).then_some(attributes >> 16);
    Member { name: entry.name.clone(), size: entry.size, is_directory: entry.is_directory, unix_mode }
}

fn is_encrypted(block: &Block) -> bool {
    block.coders.iter().any(|coder| coder.encoder_method_id() == AES)
}

/// The most that one of the block's coders asks for.
fn memory(block: &Block) -> u64 {
    let of = |coder: &sevenz_rust2::Coder| {
        let properties = coder.properties();
        let word = |at: usize| properties.get(at..at + 4).and_then(|field| field.first_chunk().copied());
        let word = |at: usize| word(at).map_or(0, |bytes| u64::from(u32::from_le_bytes(bytes)));
        match coder.encoder_method_id() {
            // LZMA and PPMd: one byte, then the size; LZMA2: a code.
            [3, 1 | 4, 1] => word(1),
            [0x21] => properties.first().map_or(0, |code| lzma2_dictionary(*code)),
            _ => 0,
        }
    };
    block.coders.iter().map(of).max().unwrap_or(0)
}

/// Dictionary size of an LZMA2 property byte (`.xz` format 1.1.0, §5.3.1).
fn lzma2_dictionary(code: u8) -> u64 {
    match code {
        0..=39 => (2 | u64::from(code & 1)) << (code / 2 + 11),
        _ => u64::from(u32::MAX),
    }
}

fn told(error: &Error) -> SevenzError {
    match error {
        Error::PasswordRequired | Error::MaybeBadPassword(_) => SevenzError::Encrypted,
        Error::UnsupportedCompressionMethod(method) if method.contains("AES") => SevenzError::Encrypted,
        Error::UnsupportedCompressionMethod(method) => {
            SevenzError::Broken { what: format!("method `{method}` is not read") }
        }
        Error::ChecksumVerificationFailed | Error::NextHeaderCrcMismatch => {
            SevenzError::Broken { what: "a checksum is wrong".to_owned() }
        }
        other => SevenzError::Broken { what: other.to_string().to_lowercase() },
    }
}

/// Method id of AES-256 with SHA-256.
const AES: [u8; 4] = [0x06, 0xf1, 0x07, 0x01];
