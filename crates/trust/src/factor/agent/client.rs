//! An agent, asked which keys it holds and to sign with one of them (draft-ietf-sshm-ssh-agent §3).

#![deny(clippy::indexing_slicing)]

use std::io::{Read, Write};

use ringfence_schema::{Digest, finding::printable};

use super::{
    AgentError, AgentKey, AgentSignature, Namespace, key,
    wire::{Reader, put_string},
};

/// Largest message of an agent in bytes; OpenSSH's own limit.
pub const MESSAGE_BYTES_MAX: usize = 256 << 10;
/// Most keys that are looked at.
pub const KEYS_MAX: u32 = 1_024;
/// Longest comment that is shown, in characters.
const COMMENT_CHARS_MAX: usize = 80;

/// Numbers of messages (§5.1).
const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// An agent behind a connection.
pub struct Agent<S>(S);

/// A key that an agent holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The key.
    pub key: AgentKey,
    /// What its owner calls it; made printable, and perhaps empty.
    pub comment: String,
}

impl<S: Read + Write> Agent<S> {
    /// The agent behind `connection`, which should not wait for ever.
    pub fn new(connection: S) -> Self {
        Self(connection)
    }

    /// The keys that it holds, but for those of types that cannot approve.
    ///
    /// # Errors
    /// [`AgentError::Io`], [`AgentError::TooLarge`], [`AgentError::Protocol`].
    pub fn keys(&mut self) -> Result<Vec<Held>, AgentError> {
        let answer = self.ask(&[REQUEST_IDENTITIES])?;
        let mut reader = answered(&answer, IDENTITIES_ANSWER)?;
        let count = reader.number()?;
        if count > KEYS_MAX {
            return Err(AgentError::Protocol);
        }
        let mut keys = Vec::new();
        for _ in 0..count {
            let (blob, comment) = (reader.string()?, reader.string()?);
            // Others than ours are no mistake: people have all sorts of keys.
            let Ok(key) = AgentKey::from_wire(blob) else { continue };
            let comment = printable(&String::from_utf8_lossy(comment), COMMENT_CHARS_MAX);
            keys.push(Held { key, comment });
        }
        reader.end()?;
        Ok(keys)
    }

    /// Has `key` sign, for this purpose, the document with this SHA-256. What comes back holds.
    ///
    /// # Errors
    /// [`AgentError::Refused`] where the agent says no; [`AgentError::Signature`] where it signed something else.
    pub fn sign(&mut self, key: &AgentKey, purpose: Namespace, digest: &Digest) -> Result<AgentSignature, AgentError> {
        let mut message = vec![SIGN_REQUEST];
        put_string(&mut message, &key.to_wire());
        put_string(&mut message, &key::signed(purpose, digest));
        // No flags: they are about RSA.
        message.extend_from_slice(&[0; 4]);
        let answer = self.ask(&message)?;
        let mut reader = answered(&answer, SIGN_RESPONSE)?;
        let signature = AgentSignature::new(reader.string()?.to_vec())?;
        reader.end()?;
        key.verify(purpose, digest, &signature)?;
        Ok(signature)
    }

    fn ask(&mut self, message: &[u8]) -> Result<Vec<u8>, AgentError> {
        let io = |error: std::io::Error| AgentError::Io(error.kind());
        let mut framed = Vec::with_capacity(message.len() + 4);
        put_string(&mut framed, message);
        self.0.write_all(&framed).and_then(|()| self.0.flush()).map_err(io)?;
        let mut length = [0; 4];
        self.0.read_exact(&mut length).map_err(io)?;
        let bytes = u32::from_be_bytes(length);
        let length = usize::try_from(bytes).ok().filter(|length| *length <= MESSAGE_BYTES_MAX);
        let mut answer = vec![0; length.ok_or(AgentError::TooLarge { bytes: bytes.into() })?];
        self.0.read_exact(&mut answer).map_err(io)?;
        Ok(answer)
    }
}

/// The rest of an answer of the expected kind.
fn answered(answer: &[u8], expected: u8) -> Result<Reader<'_>, AgentError> {
    let mut reader = Reader::new(answer);
    match reader.byte()? {
        kind if kind == expected => Ok(reader),
        FAILURE => Err(AgentError::Refused),
        _ => Err(AgentError::Protocol),
    }
}
