//! A key sealed by another key, and what it is bound to.

#![deny(clippy::indexing_slicing)]

use ringfence_schema::digest::{from_hex, hex};
use serde::{Deserialize, Serialize, de};
use zeroize::Zeroizing;

use super::{KeyId, Purpose, SecretKey, UnwrapKey};
use crate::{
    entropy::Entropy,
    id::VaultId,
    seal::committed::{self, OVERHEAD_BYTES, OpenFailure},
    secret::{SECRET_BYTES, Secret},
};

/// How a key was wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WrapAlgorithm {
    /// One-time key and commitment by HKDF-SHA256 from a random salt, then AES-256-GCM.
    #[serde(rename = "hkdf-sha256-aes-256-gcm")]
    HkdfSha256Aes256Gcm,
}

impl WrapAlgorithm {
    /// Its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HkdfSha256Aes256Gcm => "hkdf-sha256-aes-256-gcm",
        }
    }
}

/// A row of the key ledger. Two rows may hold the same key under different wrapping keys; `(id, wrapped_by)` is unique.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrappedKey {
    /// Name of the key inside.
    pub id: KeyId,
    /// What it is for.
    pub purpose: Purpose,
    /// Counts keys of the same purpose, from 1.
    pub version: u32,
    /// Name of the key that wraps it.
    pub wrapped_by: KeyId,
    /// How.
    pub algorithm: WrapAlgorithm,
    /// Salt, commitment and ciphertext.
    #[serde(with = "blob_hex")]
    pub blob: Vec<u8>,
}

/// Length of every wrap in bytes.
const WRAP_BYTES: usize = OVERHEAD_BYTES + SECRET_BYTES;

mod blob_hex {
    use super::{Deserialize, WRAP_BYTES, de, from_hex, hex};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text)
            .filter(|blob| blob.len() == WRAP_BYTES)
            .ok_or_else(|| de::Error::custom(format!("not {WRAP_BYTES} bytes in hexadecimal")))
    }
}

/// Why a key was not wrapped or unwrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The wrapping key, and so the passphrase or key file behind it, is not the one that wrapped this key. A changed
    /// salt or commitment looks the same; telling them apart is not possible.
    #[error("key `{id}` was not wrapped by this passphrase or key")]
    WrongKey {
        /// The key that was to be unwrapped.
        id: KeyId,
    },
    /// The right wrapping key, but the row was changed: its fields, its vault or its ciphertext.
    #[error("the row of key `{id}` was changed")]
    Tampered {
        /// The key that was to be unwrapped.
        id: KeyId,
    },
    /// The row names another wrapping key.
    #[error("key `{id}` is wrapped by `{wrapped_by}`, not by `{by}`")]
    OtherWrapper {
        /// The key that was to be unwrapped.
        id: KeyId,
        /// Who wraps it.
        wrapped_by: KeyId,
        /// Who tried.
        by: KeyId,
    },
    /// The purpose does not fit the type of the key or the namespace.
    #[error("a key for `{purpose}` is not what belongs here")]
    Purpose {
        /// The purpose in the row.
        purpose: Purpose,
    },
    /// A wrap or seed of the wrong size.
    #[error("the row of key `{id}` has the wrong size")]
    Length {
        /// The key.
        id: KeyId,
    },
    /// The cipher refused to work; not caused by input.
    #[error("the cipher failed while wrapping key `{id}`")]
    Cipher {
        /// The key.
        id: KeyId,
    },
}

/// What a wrap is bound to. Every field of the row but the blob, and the vault.
fn binding(
    vault: &VaultId,
    id: KeyId,
    purpose: Purpose,
    version: u32,
    wrapped_by: KeyId,
    algorithm: WrapAlgorithm,
) -> Vec<u8> {
    committed::frame(&[
        b"ringfence.wrap/1",
        vault.as_bytes(),
        purpose.to_string().as_bytes(),
        id.as_bytes(),
        wrapped_by.as_bytes(),
        &version.to_be_bytes(),
        algorithm.name().as_bytes(),
    ])
}

pub(super) fn wrap<K: SecretKey>(
    wrapper: &Secret,
    wrapped_by: KeyId,
    entropy: &mut dyn Entropy,
    vault: &VaultId,
    purpose: Purpose,
    version: u32,
    key: &K,
) -> Result<WrappedKey, KeyError> {
    if !key.serves(vault, purpose) {
        return Err(KeyError::Purpose { purpose });
    }
    seal_row((wrapper, wrapped_by), entropy, vault, key.key_id(), purpose, version, key.secret())
}

fn seal_row(
    (wrapper, wrapped_by): (&Secret, KeyId),
    entropy: &mut dyn Entropy,
    vault: &VaultId,
    id: KeyId,
    purpose: Purpose,
    version: u32,
    secret: &Secret,
) -> Result<WrappedKey, KeyError> {
    let algorithm = WrapAlgorithm::HkdfSha256Aes256Gcm;
    let bound = binding(vault, id, purpose, version, wrapped_by, algorithm);
    let blob = committed::seal(wrapper, entropy, &bound, secret.expose()).map_err(|_| KeyError::Cipher { id })?;
    Ok(WrappedKey { id, purpose, version, wrapped_by, algorithm, blob })
}

fn open_row(wrapper: &Secret, by: KeyId, vault: &VaultId, wrapped: &WrappedKey) -> Result<Secret, KeyError> {
    let WrappedKey { id, purpose, version, wrapped_by, algorithm, ref blob } = *wrapped;
    if wrapped_by != by {
        return Err(KeyError::OtherWrapper { id, wrapped_by, by });
    }
    if blob.len() != WRAP_BYTES {
        return Err(KeyError::Length { id });
    }
    let bound = binding(vault, id, purpose, version, wrapped_by, algorithm);
    let opened = committed::open(wrapper, &bound, blob).map(Zeroizing::new).map_err(|failure| match failure {
        OpenFailure::WrongKey => KeyError::WrongKey { id },
        OpenFailure::Tampered => KeyError::Tampered { id },
        OpenFailure::Truncated => KeyError::Length { id },
    })?;
    let raw: &[u8; SECRET_BYTES] = opened.as_slice().try_into().map_err(|_| KeyError::Length { id })?;
    let mut secret = Secret::empty();
    secret.expose_mut().copy_from_slice(raw);
    Ok(secret)
}

pub(super) fn unwrap<K: UnwrapKey>(
    wrapper: &Secret,
    by: KeyId,
    vault: &VaultId,
    wrapped: &WrappedKey,
) -> Result<K, KeyError> {
    if !K::fits(wrapped.purpose) {
        return Err(KeyError::Purpose { purpose: wrapped.purpose });
    }
    let secret = open_row(wrapper, by, vault, wrapped)?;
    K::restore(wrapped.id, vault, wrapped.purpose, secret)
}

pub(super) fn rewrap(
    from: (&Secret, KeyId),
    to: (&Secret, KeyId),
    entropy: &mut dyn Entropy,
    vault: &VaultId,
    wrapped: &WrappedKey,
) -> Result<WrappedKey, KeyError> {
    let secret = open_row(from.0, from.1, vault, wrapped)?;
    seal_row(to, entropy, vault, wrapped.id, wrapped.purpose, wrapped.version, &secret)
}
