//! The bodies of `add-checkpoint` (C2SP tlog-witness): what a log sends, and what comes back.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ringfence_schema::Digest;

use crate::note::{Note, NoteError, SignatureLine, parse_lines};

/// Largest body of a question in bytes.
pub const BODY_BYTES_MAX: usize = 64 << 10;
/// Largest body of an answer in bytes.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Most hashes of a consistency proof.
pub const PROOF_LINES_MAX: usize = 63;
/// The content type of an answer that says a size.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// A log's newest checkpoint, and why it continues the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Size of the checkpoint that the witness cosigned last, as far as the log knows.
    pub old_size: u64,
    /// Why the tree of that size is the beginning of this one (RFC 6962, section 2.1.2).
    pub proof: Vec<Digest>,
    /// The checkpoint, signed by the log.
    pub note: Note,
}

/// Why a body is no question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Over [`BODY_BYTES_MAX`].
    #[error("a body of {bytes} bytes, limit is {BODY_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// More than [`PROOF_LINES_MAX`] hashes.
    #[error("a proof of more than {PROOF_LINES_MAX} hashes")]
    TooManyHashes,
    /// Not the one spelling of a question.
    #[error("no `add-checkpoint`: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// What follows the proof is no checkpoint.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl AddCheckpoint {
    /// Reads a body.
    ///
    /// # Errors
    /// [`RequestError`] for everything that [`Self::to_string`](ToString::to_string) does not write.
    pub fn parse(body: &[u8]) -> Result<Self, RequestError> {
        if body.len() > BODY_BYTES_MAX {
            return Err(RequestError::TooLarge { bytes: body.len() });
        }
        let malformed = |what| RequestError::Malformed { what };
        let text = std::str::from_utf8(body).map_err(|_| malformed("not UTF-8"))?;
        let (first, mut rest) = text.split_once('\n').ok_or_else(|| malformed("no line of the old size"))?;
        let old_size = first.strip_prefix("old ").and_then(decimal).ok_or_else(|| malformed("no old size"))?;
        let mut proof = Vec::new();
        loop {
            let (line, behind) = rest.split_once('\n').ok_or_else(|| malformed("no empty line behind the proof"))?;
            rest = behind;
            if line.is_empty() {
                break;
            }
            if proof.len() == PROOF_LINES_MAX {
                return Err(RequestError::TooManyHashes);
            }
            let hash = STANDARD.decode(line).ok().and_then(|raw| raw.try_into().ok()).map(Digest::from_bytes);
            proof.push(hash.ok_or_else(|| malformed("a line of the proof is not 32 bytes in base64"))?);
        }
        Ok(Self { old_size, proof, note: Note::parse(rest.as_bytes())? })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        for hash in &self.proof {
            writeln!(f, "{}", STANDARD.encode(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.note)
    }
}

/// A whole number in its one spelling.
fn decimal(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

/// What a witness said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Cosignatures, as they came: nothing about them was checked.
    Cosigned(Vec<SignatureLine>),
    /// It has cosigned so many entries, another number than the log said, or other ones.
    Conflict {
        /// How many.
        size: u64,
    },
    /// The proof does not hold for what it cosigned.
    Inconsistent,
    /// It does not know the log.
    UnknownLog,
    /// The log's signature is not by a key that it knows.
    Unsigned,
    /// Something else.
    Other {
        /// The HTTP status.
        status: u16,
    },
}

impl Answer {
    /// Reads an answer by its status, content type and body.
    ///
    /// # Errors
    /// [`RequestError`] where the body is not what the status promises.
    pub fn read(status: u16, content_type: &str, body: &[u8]) -> Result<Self, RequestError> {
        let malformed = |what| RequestError::Malformed { what };
        if body.len() > ANSWER_BYTES_MAX {
            return Err(malformed("the answer is too long"));
        }
        Ok(match status {
            200 => {
                let text = std::str::from_utf8(body).map_err(|_| malformed("the answer is not UTF-8"))?;
                Self::Cosigned(parse_lines(text)?)
            }
            409 if content_type == SIZE_CONTENT_TYPE => {
                let text = std::str::from_utf8(body).ok().and_then(|text| text.strip_suffix('\n'));
                let size = text.and_then(decimal).ok_or_else(|| malformed("the answer says no size"))?;
                Self::Conflict { size }
            }
            422 => Self::Inconsistent,
            404 => Self::UnknownLog,
            403 => Self::Unsigned,
            status => Self::Other { status },
        })
    }
}
