//! Passkeys: Web Authentication Level 3 from the relying party's side, verified here, with nothing remembered in between.
//!
//! * [`RelyingParty`]: who asks, and from which pages. [`Challenge`]: what is signed; for an approval, the digest of the request.
//! * [`Passkey::register`] (§7.1) takes what a browser made of [`CreationOptions`]; [`Passkey::verify`] (§7.2) what it made of
//!   [`RequestOptions`]. [`Passkey::verify_offline`] checks an approval years later, with the same rules but the counter's.
//! * [`Registration`] and [`Assertion`]: the JSON of `PublicKeyCredential.toJSON()` (§5.1.8), bounded.
//! * [`SoftKey`]: a passkey in a file under a passphrase, for the command line.
//!
//! `authenticator` and `client` read the two documents that are signed, `key` the public key, all with `cbor`.
//!
//! What must stay true: origin, relying party and challenge are compared exactly, the challenge in constant time; the user
//! is verified, not only present, unless a relying party says otherwise; a key verifies with the algorithm that it was
//! registered for, and only so; all that a browser sends is bounded before it is parsed.
//!
//! Absent on purpose: trust in attestation. Every format is taken and none believed, since people bring their own
//! authenticators; [`Passkey::aaguid`] and [`Passkey::attestation_format`] are claims. Also absent: clocks, sessions (a
//! caller keeps its challenge, uses it once and drops it), extensions, and frames of other origins (`crossOrigin`).

#![deny(clippy::indexing_slicing)]

use std::{fmt, str::FromStr};

use ringfence_schema::Digest;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::{
    base64url::{self, base64url_bytes},
    entropy::{self, Entropy},
};

mod authenticator;
mod cbor;
mod client;
mod credential;
mod json;
mod key;
mod options;
mod party;
mod soft;

pub use credential::{Passkey, Verified};
pub use json::{Assertion, JSON_BYTES_MAX, Registration};
pub use key::{Algorithm, PublicKey};
pub use options::{CreationOptions, RequestOptions, TIMEOUT_MS, User};
pub use party::{RelyingParty, RelyingPartyError, UserVerification};
pub use soft::{SOFT_KEY_AAGUID, SealedSoftKey, SoftKey, SoftKeyError};

/// Lengths of a credential id in bytes: 16 at least (§4, "Credential ID"), 1,023 at most (§7.1 step 25).
pub const CREDENTIAL_ID_BYTES: std::ops::RangeInclusive<usize> = 16..=1_023;
/// Lengths of a user handle in bytes (§5.4.3).
pub const USER_HANDLE_BYTES: std::ops::RangeInclusive<usize> = 1..=64;

base64url_bytes! {
    /// Names a credential; made by its authenticator, [`CREDENTIAL_ID_BYTES`] long.
    CredentialId, CREDENTIAL_ID_BYTES, PasskeyError::CredentialId
}

base64url_bytes! {
    /// Names a person to an authenticator: random, never a name or an address (§14.6.1). [`USER_HANDLE_BYTES`] long.
    UserHandle, USER_HANDLE_BYTES, PasskeyError::UserHandle
}

/// What an assertion signs: random at a login, the digest of a request in an approval.
///
/// A browser shows nobody what the bytes mean. So whoever asks for an approval shows the request, and a login's challenge
/// comes from [`Challenge::random`] and from nowhere else.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Challenge(#[serde(with = "challenge_text")] [u8; Challenge::BYTES]);

mod challenge_text {
    use super::{Challenge, base64url};
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64url::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; Challenge::BYTES], D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let bytes = base64url::decode(&text, Challenge::BYTES).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| de::Error::custom("not a challenge of 32 bytes in base64url"))
    }
}

impl Challenge {
    /// Its length in bytes; twice what §13.4.3 asks for.
    pub const BYTES: usize = 32;

    /// A fresh one, to be used once.
    pub fn random(entropy: &mut dyn Entropy) -> Self {
        Self(entropy::bytes(entropy))
    }

    /// The one that stands for the document with this digest.
    pub fn over(digest: &Digest) -> Self {
        Self(*digest.as_bytes())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Whether `presented`, in base64url, is this challenge; in time that does not depend on where it differs.
    #[must_use]
    fn is(&self, presented: &str) -> bool {
        base64url::decode(presented, Self::BYTES).is_some_and(|bytes| bytes.ct_eq(&self.0).into())
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(&self.0))
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a credential can leave its device (§6.1.3, flags BE and BS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backup {
    /// It stays on one device.
    DeviceBound,
    /// It may be synchronised, and is not at present.
    Eligible,
    /// It is synchronised.
    BackedUp,
}

impl Backup {
    /// Whether it may ever leave its device, which is fixed when the credential is made.
    pub fn is_eligible(self) -> bool {
        self != Self::DeviceBound
    }
}

/// What kind of authenticator claims to hold a credential (§6.5.2), written as a UUID. All zero says nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Aaguid([u8; Aaguid::BYTES]);

impl Aaguid {
    /// Length in bytes.
    pub const BYTES: usize = 16;

    /// The one with these bytes.
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Display for Aaguid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, byte) in self.0.iter().enumerate() {
            let dash = if matches!(position, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Aaguid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Aaguid {
    type Err = PasskeyError;

    fn from_str(text: &str) -> Result<Self, PasskeyError> {
        let digits: String = text.chars().filter(|c| *c != '-').take(2 * Self::BYTES + 1).collect();
        let bytes = ringfence_schema::digest::from_hex(&digits).and_then(|bytes| bytes.try_into().ok());
        // One spelling: dashes elsewhere write another text.
        bytes.map(Self).filter(|id| id.to_string() == text).ok_or(PasskeyError::AuthenticatorData)
    }
}

impl Serialize for Aaguid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Aaguid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why there is no passkey, or an assertion does not hold. It repeats nothing of what was sent but numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasskeyError {
    /// A document or a part of it is over its limit.
    #[error("{what} of {bytes} bytes, limit is {limit}")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Not the JSON of a browser's `PublicKeyCredential`.
    #[error("not a credential's JSON as browsers write it")]
    Json,
    /// `clientDataJSON` cannot be read.
    #[error("the client data cannot be read")]
    ClientData,
    /// An assertion where a registration belongs, or the other way round.
    #[error("the client data is for another ceremony")]
    Ceremony,
    /// Another challenge was signed.
    #[error("another challenge was signed")]
    Challenge,
    /// The page is none of the relying party's.
    #[error("signed on a page of another origin")]
    Origin,
    /// Signed in a frame inside another origin's page.
    #[error("signed in a frame of another origin's page")]
    CrossOrigin,
    /// The attestation object cannot be read.
    #[error("the attestation object cannot be read")]
    Attestation,
    /// The authenticator data cannot be read, has bytes left, or contradicts itself.
    #[error("the authenticator data cannot be read")]
    AuthenticatorData,
    /// Made for another relying party.
    #[error("made for another relying party")]
    RelyingParty,
    /// Nobody touched the authenticator.
    #[error("nobody was present at the authenticator")]
    NotPresent,
    /// The authenticator did not verify who touched it.
    #[error("the authenticator did not verify its user")]
    NotVerified,
    /// The credential became able to leave its device, or unable to, which cannot be.
    #[error("the credential says otherwise than at its registration whether it can be backed up")]
    Backup,
    /// An algorithm that is not offered.
    #[error("algorithm {cose} of the COSE registry is not accepted")]
    Algorithm {
        /// Its number there.
        cose: i64,
    },
    /// Not a public key of the stated algorithm, or one under which anybody could sign.
    #[error("not a usable public key of its algorithm")]
    Key,
    /// Another credential, or an id of a length that no credential has.
    #[error("the credential id is not the expected one")]
    CredentialId,
    /// Another person's, or of a length that no handle has.
    #[error("the user handle is not the expected one")]
    UserHandle,
    /// Not a signature of these bytes by this key.
    #[error("the passkey's signature does not hold")]
    Signature,
    /// The signature holds, but the counter did not go up: two authenticators may hold the key (§6.1.1).
    #[error("the passkey may have been copied: its counter went from {stored} to {presented}")]
    CloneSuspected {
        /// The counter at the last use.
        stored: u32,
        /// The counter now.
        presented: u32,
    },
}
