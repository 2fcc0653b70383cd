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

/// The RFC 8785 form of a JSON value: the same bytes as [`to_canonical`], several times faster where its numbers are
/// whole and its names ASCII, as in everything that is recorded at a request's speed.
pub fn value_to_canonical(value: &serde_json::Value) -> Result<Vec<u8>, CanonError> {
    let mut out = Vec::with_capacity(PLAIN_BYTES);
    if write_plain(value, &mut out) { Ok(out) } else { to_canonical(value) }
}

/// Room for a value of usual size, in bytes.
const PLAIN_BYTES: usize = 256;
/// The greatest whole number up to which a double has them all (RFC 8785 §3.2.2.3).
const EXACT_MAX: u64 = 1 << 53;

/// Writes a value whose canonical form needs no more than sorted names; whether it is one.
fn write_plain(value: &serde_json::Value, out: &mut Vec<u8>) -> bool {
    use serde_json::Value;
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Number(number) => {
            let exact =
                number.as_i64().map(i64::unsigned_abs).or(number.as_u64()).is_some_and(|size| size <= EXACT_MAX);
            return exact && write_json(number, out);
        }
        // RFC 8785 §3.2.2.2 escapes what serde_json escapes, in the same way.
        Value::String(text) => return write_json(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    out.push(b',');
                }
                if !write_plain(item, out) {
                    return false;
                }
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            // Of ASCII names the order of bytes is that of UTF-16 code units.
            if !fields.iter().all(|(name, _)| name.is_ascii()) {
                return false;
            }
            fields.sort_unstable_by_key(|(name, _)| name.as_str());
            out.push(b'{');
            for (number, (name, value)) in fields.into_iter().enumerate() {
                if number > 0 {
                    out.push(b',');
                }
                if !write_json(name, out) {
                    return false;
                }
                out.push(b':');
                if !write_plain(value, out) {
                    return false;
                }
            }
            out.push(b'}');
        }
    }
    true
}

fn write_json<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> bool {
    serde_json::to_writer(out, value).is_ok()
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
    let canonical = value_to_canonical(&value)?;
    if canonical != bytes {
        let offset = canonical.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        return Err(CanonError::NotCanonical { offset });
    }
    Ok(serde_json::from_value(value)?)
}
