//! Signed waivers: one DSSE envelope each, and `ringfence.waivers` files with one envelope a line, which a project commits.
//!
//! A line counts only if every one of its signatures is by a pinned signer and holds. A line that does not count is told with
//! its number, and takes no other with it: it can never make a finding disappear.

#![deny(clippy::indexing_slicing)]

use ringfence_schema::{
    Digest,
    canon::{self, CanonError},
    evidence::Statement,
    waiver::{SignedWaiver, Waiver, WaiverError},
};

use crate::{
    dsse::{self, DsseError, PayloadType},
    sign::{SigningKey, VerifyingKey},
};

/// Largest file of waivers in bytes.
pub const FILE_BYTES_MAX: usize = 16 << 20;
/// Longest line in bytes.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Most lines.
pub const LINES_MAX: usize = 10_000;

/// Why a waiver was not signed or does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaiverFileError {
    /// Not an envelope by known signers.
    #[error("waiver: {0}")]
    Envelope(#[from] DsseError),
    /// Not canonical JSON.
    #[error("waiver: {0}")]
    Canon(#[from] CanonError),
    /// Not a waiver.
    #[error("waiver: {0}")]
    Waiver(#[from] WaiverError),
    /// A file or line over its limit.
    #[error("waivers: {what}")]
    TooLarge {
        /// What is over which limit.
        what: &'static str,
    },
}

/// A file of waivers, read.
#[derive(Debug, Default)]
pub struct WaiverFile {
    /// Those that count, in the file's order, with who signed them.
    pub waivers: Vec<(SignedWaiver, Vec<VerifyingKey>)>,
    /// Lines that do not, counted from 1, and why.
    pub refused: Vec<(usize, WaiverFileError)>,
}

impl WaiverFile {
    /// The waivers alone.
    pub fn signed(&self) -> Vec<SignedWaiver> {
        self.waivers.iter().map(|(signed, _)| signed.clone()).collect()
    }
}

/// Signs a waiver with keys of role `evidence` or `release` and yields the envelope: a file, or a line without its end.
pub fn seal(waiver: &Waiver, keys: &[&SigningKey]) -> Result<Vec<u8>, WaiverFileError> {
    let payload = canon::to_canonical(&waiver.to_statement())?;
    Ok(dsse::seal(PayloadType::InToto, &payload, keys)?)
}

/// Opens one envelope that pinned `signers` signed.
pub fn open(envelope: &[u8], signers: &[VerifyingKey]) -> Result<(SignedWaiver, Vec<VerifyingKey>), WaiverFileError> {
    if envelope.len() > LINE_BYTES_MAX {
        return Err(WaiverFileError::TooLarge { what: "a waiver is longer than 64 KiB" });
    }
    let opened = dsse::open(envelope, PayloadType::InToto, signers)?;
    let statement: Statement = canon::from_canonical(opened.payload())?;
    let waiver = Waiver::from_statement(&statement)?;
    Ok((SignedWaiver { id: Digest::of(envelope), waiver }, opened.signers().to_vec()))
}

/// Reads a file of waivers. Empty lines and lines that begin with `#` are skipped.
pub fn open_file(file: &[u8], signers: &[VerifyingKey]) -> Result<WaiverFile, WaiverFileError> {
    if file.len() > FILE_BYTES_MAX {
        return Err(WaiverFileError::TooLarge { what: "the file is larger than 16 MiB" });
    }
    let mut read = WaiverFile::default();
    for (index, line) in file.split(|byte| *byte == b'\n').enumerate() {
        if index == LINES_MAX {
            return Err(WaiverFileError::TooLarge { what: "the file has more than 10,000 lines" });
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        match open(line, signers) {
            Ok(waiver) => read.waivers.push(waiver),
            Err(error) => read.refused.push((index + 1, error)),
        }
    }
    Ok(read)
}
