//! The two canonical encodings: RFC 8785 JSON for statements, deterministic CBOR (RFC 8949 §4.2.1) for trail leaves.
//!
//! Reading is strict: bytes that are not the canonical form of what they say are refused, which also refuses duplicate
//! keys, other number spellings and trailing bytes.

use serde::{Serialize, de::DeserializeOwned};

use crate::digest::Digest;

mod cbor;
pub use cbor::{CborError, Value, from_cbor, to_cbor};

/// Largest canonical JSON document that is read, in bytes.
pub const JSON_BYTES_MAX: usize = 64 << 20;

/// Why a document was not read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CanonError {
    /// Longer than [`JSON_BYTES_MAX`].
    #[error("document of {bytes} bytes, limit is {JSON_BYTES_MAX}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not JSON, or not of the expected shape.
    #[error("not the expected JSON: {0}")]
    Shape(#[from] serde_json::Error),
    /// JSON, but not the canonical spelling of itself.
    #[error("not in canonical form (RFC 8785), first difference at byte {offset}")]
    NotCanonical {
        /// Where the spelling first differs.
        offset: usize,
    },
}

/// The RFC 8785 form of `value`, without a final line end.
pub fn to_canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonError> {
    Ok(serde_json_canonicalizer::to_vec(value)?)
}

/// SHA-256 of the RFC 8785 form of `value`.
pub fn digest_of<T: Serialize>(value: &T) -> Result<Digest, CanonError> {
    Ok(Digest::of(&to_canonical(value)?))
}

/// Reads a document that must be the RFC 8785 form of itself.
pub fn from_canonical<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CanonError> {
    if bytes.len() > JSON_BYTES_MAX {
        return Err(CanonError::TooLarge { bytes: bytes.len() });
    }
    let value: serde_json::Value = serde_json::from_slice(bytes)?;
    let canonical = to_canonical(&value)?;
    if canonical != bytes {
        let offset = canonical.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        return Err(CanonError::NotCanonical { offset });
    }
    Ok(serde_json::from_value(value)?)
}
