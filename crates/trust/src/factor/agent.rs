//! Keys held in an SSH agent, with which people approve on a command line what others ask for.
//!
//! * [`AgentKey`]: a public key as OpenSSH writes it: Ed25519, ECDSA on P-256, and both on a security key.
//! * [`AgentSignature`]: what an agent answers. It is over an SSHSIG document (OpenSSH, `PROTOCOL.sshsig`) whose [`Namespace`]
//!   says what it is for, so neither a login to a machine nor a signed commit is ever taken for an approval, nor the other
//!   way round. `ssh-keygen -Y verify` checks the same signature.
//! * [`Agent`]: the two questions of the agent protocol (draft-ietf-sshm-ssh-agent) that this needs.
//!
//! `wire` reads SSH's strings (RFC 4251 §5).
//!
//! What must stay true: a key verifies with the algorithm of its type alone; a key on a security key counts only with a
//! touch; one key has one spelling; everything that an agent says is bounded before it is read, and its signature verified
//! before it is used.
//!
//! Absent on purpose: RSA and DSA, certificates, private keys, adding and removing keys, and logins: such a key approves and
//! does nothing else.

#![deny(clippy::indexing_slicing)]

mod client;
mod key;
mod wire;

pub use client::{Agent, Held, KEYS_MAX, MESSAGE_BYTES_MAX};
pub use key::{AgentKey, AgentSignature, KEY_TEXT_BYTES_MAX, KeyKind, fingerprint};

/// What a signature is for. It is part of what is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// To approve the request whose canonical JSON is signed.
    Approval,
    /// To show, at its enrolment, that one holds the key.
    Enrolment,
}

impl Namespace {
    /// The text in what is signed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approval => "ringfence.request/1",
            Self::Enrolment => "ringfence.enrolment/1",
        }
    }
}

/// Why there is no key, no signature, or it does not hold. It repeats nothing of what was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// Not a public key as OpenSSH writes it, or one under which anybody could sign.
    #[error("not a usable public key as `ssh-add -L` prints it")]
    Key,
    /// A key of a type that is not taken.
    #[error("keys of this type cannot approve; these can: {}", KeyKind::names())]
    Kind,
    /// Not a signature as agents write it.
    #[error("not a signature as SSH agents write it")]
    Malformed,
    /// Nobody touched the security key.
    #[error("nobody touched the security key")]
    NotPresent,
    /// Not this key's signature of exactly this.
    #[error("the key's signature does not hold")]
    Signature,
    /// The agent says no.
    #[error("the agent did not sign: the key is not in it, it is locked, or somebody said no")]
    Refused,
    /// The agent says what nobody asked for.
    #[error("the agent answers with what is no answer")]
    Protocol,
    /// The agent says more than is read.
    #[error("the agent answers with {bytes} bytes, limit is {MESSAGE_BYTES_MAX}")]
    TooLarge {
        /// How much it says.
        bytes: u64,
    },
    /// The agent cannot be spoken to.
    #[error("the agent cannot be spoken to: {0}")]
    Io(std::io::ErrorKind),
}
