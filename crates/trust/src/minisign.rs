//! Minisign signatures (<https://jedisct1.github.io/minisign/>): Ed25519 over a file, or over its BLAKE2b-512.
//!
//! A signature file has four lines: an untrusted comment, the signature, a trusted comment, and a second signature over the
//! first one and the trusted comment. Both must hold. Absent on purpose: making such signatures, and secret keys.

#![deny(clippy::indexing_slicing)]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ringfence_schema::{digest::hex, finding::printable};

use crate::{
    content::{Content, ContentError, Entry, HashAlgorithm},
    sign::{PUBLIC_KEY_BYTES, SIGNATURE_BYTES, SignError, Signature, VerifyingKey},
};

/// Largest key or signature file in bytes.
pub const MINISIGN_BYTES_MAX: usize = 16 << 10;
/// Largest file that a legacy signature may be over, in bytes: it is signed as a whole, so it has to be in memory.
pub const LEGACY_BYTES_MAX: u64 = 1 << 30;
/// Length of a key id in bytes.
const KEY_ID_BYTES: usize = 8;
/// Mark of a signature over the file itself.
const LEGACY: &[u8; 2] = b"Ed";
/// Mark of a signature over the file's BLAKE2b-512.
const PREHASHED: &[u8; 2] = b"ED";
/// How the third line begins.
const TRUSTED_COMMENT: &str = "trusted comment: ";

/// Why a minisign key or signature is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MinisignError {
    /// Not a public key file.
    #[error("not a minisign public key")]
    NotAKey,
    /// Not a signature file.
    #[error("not a minisign signature: {what}")]
    NotASignature {
        /// What is wrong.
        what: &'static str,
    },
    /// Made with another key.
    #[error("signed with minisign key {given}, trusted is {held}")]
    OtherKey {
        /// The trusted key's id.
        held: String,
        /// The signature's.
        given: String,
    },
    /// A signature does not hold.
    #[error("minisign, {what}: {error}")]
    Invalid {
        /// `the file` or `the trusted comment`.
        what: &'static str,
        /// Why.
        error: SignError,
    },
    /// The file could not be read.
    #[error("minisign: {0}")]
    Content(#[from] ContentError),
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinisignKey {
    id: [u8; KEY_ID_BYTES],
    key: VerifyingKey,
}

impl MinisignKey {
    /// Reads a public key file (a comment line and the key), or the key's line alone.
    pub fn parse(file: &[u8]) -> Result<Self, MinisignError> {
        let text = text(file).ok_or(MinisignError::NotAKey)?;
        let mut lines = text.lines().filter(|line| !line.starts_with("untrusted comment:"));
        let line = lines.next().filter(|_| lines.all(|rest| rest.trim().is_empty()));
        let raw = line.and_then(|line| STANDARD.decode(line.trim()).ok()).ok_or(MinisignError::NotAKey)?;
        let raw: [u8; 2 + KEY_ID_BYTES + PUBLIC_KEY_BYTES] = raw.try_into().map_err(|_| MinisignError::NotAKey)?;
        let (kind, rest) = raw.split_first_chunk::<2>().ok_or(MinisignError::NotAKey)?;
        let (id, key) = rest.split_first_chunk::<KEY_ID_BYTES>().ok_or(MinisignError::NotAKey)?;
        let key = <[u8; PUBLIC_KEY_BYTES]>::try_from(key).map_err(|_| MinisignError::NotAKey)?;
        if kind != LEGACY {
            return Err(MinisignError::NotAKey);
        }
        Ok(Self { id: *id, key: VerifyingKey::from_bytes(key) })
    }

    /// Its id as minisign shows it: a little-endian number in upper-case hexadecimal.
    pub fn id(&self) -> String {
        shown(self.id)
    }
}

/// A signature file, read but not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinisignSignature {
    prehashed: bool,
    id: [u8; KEY_ID_BYTES],
    signature: Signature,
    comment: String,
    global: Signature,
}

impl MinisignSignature {
    /// Reads a signature file.
    pub fn parse(file: &[u8]) -> Result<Self, MinisignError> {
        let wrong = |what| MinisignError::NotASignature { what };
        let text = text(file).ok_or(wrong("larger than 16 KiB, or not UTF-8"))?;
        let lines: Vec<&str> = text.lines().collect();
        let [first, second, third, fourth] = lines.as_slice() else {
            return Err(wrong("it does not have four lines"));
        };
        if !first.starts_with("untrusted comment:") {
            return Err(wrong("no untrusted comment in the first line"));
        }
        let comment = third.strip_prefix(TRUSTED_COMMENT).ok_or(wrong("no trusted comment in the third line"))?;
        let raw = STANDARD.decode(second).map_err(|_| wrong("the second line is not base64"))?;
        let raw: [u8; 2 + KEY_ID_BYTES + SIGNATURE_BYTES] =
            raw.try_into().map_err(|_| wrong("the second line is not 74 bytes"))?;
        let (kind, rest) = raw.split_first_chunk::<2>().ok_or(wrong("the second line is too short"))?;
        let (id, rest) = rest.split_first_chunk::<KEY_ID_BYTES>().ok_or(wrong("the second line is too short"))?;
        let prehashed = match kind {
            kind if kind == PREHASHED => true,
            kind if kind == LEGACY => false,
            _ => return Err(wrong("its algorithm is neither `Ed` nor `ED`")),
        };
        let signature = |raw: &[u8]| <[u8; SIGNATURE_BYTES]>::try_from(raw).map(Signature::from_bytes).ok();
        let global = STANDARD.decode(fourth).ok().and_then(|raw| signature(&raw));
        Ok(Self {
            prehashed,
            id: *id,
            signature: signature(rest).ok_or(wrong("the second line is not 74 bytes"))?,
            comment: comment.to_owned(),
            global: global.ok_or(wrong("the fourth line is not a signature"))?,
        })
    }

    /// Checks that `key` signed `entry` and the trusted comment; yields that comment, fit to print.
    pub fn verify(&self, key: &MinisignKey, content: &dyn Content, entry: &Entry) -> Result<String, MinisignError> {
        if key.id != self.id {
            return Err(MinisignError::OtherKey { held: key.id(), given: shown(self.id) });
        }
        let message = if self.prehashed {
            content.hash(entry, HashAlgorithm::Blake2b, 0..entry.size)?
        } else {
            content.read(entry, LEGACY_BYTES_MAX)?
        };
        let invalid = |what| move |error| MinisignError::Invalid { what, error };
        key.key.verify(&message, &self.signature).map_err(invalid("the file"))?;
        let signed = [self.signature.as_bytes(), self.comment.as_bytes()].concat();
        key.key.verify(&signed, &self.global).map_err(invalid("the trusted comment"))?;
        Ok(printable(&self.comment, 400))
    }
}

fn text(file: &[u8]) -> Option<&str> {
    std::str::from_utf8(file).ok().filter(|text| text.len() <= MINISIGN_BYTES_MAX)
}

fn shown(mut id: [u8; KEY_ID_BYTES]) -> String {
    id.reverse();
    hex(&id).to_uppercase()
}
