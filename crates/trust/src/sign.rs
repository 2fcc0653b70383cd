//! Ed25519 signatures (RFC 8032, pure).
//!
//! A [`SigningKey`] knows its [`KeyRole`]; what it signs says what it is (a DSSE payload type, a note's origin), and a
//! trust root says which key may sign what. Absent on purpose: signing bytes of no stated type outside this crate.

#![deny(clippy::indexing_slicing)]

use std::{fmt, str::FromStr};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use ringfence_schema::{
    Digest,
    digest::{from_hex, hex},
};
use serde::{Deserialize, Serialize, de};

use crate::{
    entropy::Entropy,
    keys::{KeyId, KeyRole},
    secret::Secret,
};

/// Length of a public key in bytes.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// Length of a signature in bytes.
pub const SIGNATURE_BYTES: usize = 64;

/// Text in front of a public key.
const PREFIX: &str = "ed25519:";

/// Why there is no key, or a signature does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The library refused the seed or to sign; not caused by input.
    #[error("the signature library failed")]
    Library,
    /// Not a signature of these bytes by this key.
    #[error("the signature by key `{key}` does not hold", key = key.short())]
    Invalid {
        /// Fingerprint of the key.
        key: Digest,
    },
    /// Not `ed25519:` and 64 lower-case hexadecimal digits.
    #[error("not a public key: `ed25519:` and 64 lower-case hexadecimal digits")]
    NotAKey,
}

/// The secret half of a key pair.
pub struct SigningKey {
    id: KeyId,
    role: KeyRole,
    seed: Secret,
    pair: Ed25519KeyPair,
    public: VerifyingKey,
}

impl SigningKey {
    /// A fresh random key.
    pub fn generate(entropy: &mut dyn Entropy, role: KeyRole) -> Result<Self, SignError> {
        Self::from_seed(KeyId::random(entropy), role, Secret::random(entropy))
    }

    pub(crate) fn from_seed(id: KeyId, role: KeyRole, seed: Secret) -> Result<Self, SignError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_| SignError::Library)?;
        let public = pair.public_key().as_ref().try_into().map(VerifyingKey).map_err(|_| SignError::Library)?;
        Ok(Self { id, role, seed, pair, public })
    }

    /// Its name in the key ledger.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What it signs.
    pub fn role(&self) -> KeyRole {
        self.role
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.public
    }

    pub(crate) fn seed(&self) -> &Secret {
        &self.seed
    }

    /// Signs `message`, which must begin by saying what it is; outside this crate use DSSE or a checkpoint.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        let signature = self.pair.try_sign(message).map_err(|_| SignError::Library)?;
        signature.as_ref().try_into().map(Signature).map_err(|_| SignError::Library)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .field("role", &self.role)
            .field("public", &self.public)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// The public half of a key pair, written `ed25519:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyingKey([u8; PUBLIC_KEY_BYTES]);

impl VerifyingKey {
    /// The key with these bytes. That they are a point on the curve shows when a signature is checked.
    pub const fn from_bytes(bytes: [u8; PUBLIC_KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.0
    }

    /// SHA-256 of its text form; its hexadecimal digits are the `keyid` in DSSE.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(self.to_string().as_bytes())
    }

    /// Checks that `signature` is this key's on `message`.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), SignError> {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, &signature.0)
            .map_err(|_| SignError::Invalid { key: self.fingerprint() })
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", hex(&self.0))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifyingKey {
    type Err = SignError;

    fn from_str(text: &str) -> Result<Self, SignError> {
        text.strip_prefix(PREFIX)
            .and_then(from_hex)
            .and_then(|raw| raw.try_into().ok())
            .map(Self)
            .ok_or(SignError::NotAKey)
    }
}

impl Serialize for VerifyingKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VerifyingKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; SIGNATURE_BYTES]);

impl Signature {
    /// The signature with these bytes.
    pub const fn from_bytes(bytes: [u8; SIGNATURE_BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; SIGNATURE_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}
