//! The key-encryption key, from a passphrase (Argon2id, RFC 9106) or from a key file.

use std::path::Path;

use ringfence_schema::digest::{from_hex, hex};
use serde::{Deserialize, Serialize, de};

use super::{KeyError, KeyId, Purpose, SecretKey, UnwrapKey, WrappedKey, key_file, key_file::KeyFileError, wrap};
use crate::{
    entropy::{self, Entropy},
    id::VaultId,
    secret::{Passphrase, Secret},
};

/// Which function turns a passphrase into a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KdfAlgorithm {
    /// Argon2id, version 0x13 (RFC 9106).
    #[serde(rename = "argon2id-v19")]
    Argon2idV19,
}

/// How a passphrase becomes a key; stored beside the vault in clear. [`Kek::from_passphrase`] checks the bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KdfParams {
    /// Name of the resulting key, as in [`WrappedKey::wrapped_by`].
    pub id: KeyId,
    /// The function.
    pub algorithm: KdfAlgorithm,
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
    /// Random salt.
    #[serde(with = "salt_hex")]
    pub salt: [u8; KdfParams::SALT_BYTES],
}

mod salt_hex {
    use super::{Deserialize, KdfParams, de, from_hex, hex};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(salt: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(salt))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; KdfParams::SALT_BYTES], D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text)
            .and_then(|raw| raw.try_into().ok())
            .ok_or_else(|| de::Error::custom("the salt is not 32 bytes in hexadecimal"))
    }
}

impl KdfParams {
    /// Length of the salt in bytes.
    pub const SALT_BYTES: usize = 32;
    /// Least memory that is accepted, in KiB: 19 MiB, below which guessing is cheap.
    pub const MEMORY_KIB_MIN: u32 = 19 << 10;
    /// Most memory that is accepted, in KiB: 2 GiB, so that a foreign file cannot exhaust the machine.
    pub const MEMORY_KIB_MAX: u32 = 2 << 20;
    /// Fewest passes that are accepted.
    pub const PASSES_MIN: u32 = 2;
    /// Most passes that are accepted.
    pub const PASSES_MAX: u32 = 16;
    /// Most lanes that are accepted.
    pub const LANES_MAX: u32 = 8;

    /// For unsealing a vault: 256 MiB, 3 passes, 1 lane, which takes about a second.
    pub fn unseal(entropy: &mut dyn Entropy) -> Self {
        Self::with_cost(entropy, 256 << 10, 3, 1)
    }

    /// With another cost; out of bounds is refused when it is used.
    pub fn with_cost(entropy: &mut dyn Entropy, memory_kib: u32, passes: u32, lanes: u32) -> Self {
        Self {
            id: KeyId::random(entropy),
            algorithm: KdfAlgorithm::Argon2idV19,
            memory_kib,
            passes,
            lanes,
            salt: entropy::bytes(entropy),
        }
    }

    /// Whether every figure is within its bounds.
    pub fn check(&self) -> Result<(), KekError> {
        let figures = [
            ("memory_kib", self.memory_kib, Self::MEMORY_KIB_MIN, Self::MEMORY_KIB_MAX),
            ("passes", self.passes, Self::PASSES_MIN, Self::PASSES_MAX),
            ("lanes", self.lanes, 1, Self::LANES_MAX),
        ];
        for (field, value, least, most) in figures {
            if !(least..=most).contains(&value) {
                return Err(KekError::OutOfBounds { field, value, least, most });
            }
        }
        Ok(())
    }
}

/// Why there is no key-encryption key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KekError {
    /// A stored figure is too weak or too dear.
    #[error("passphrase parameters: `{field}` is {value}, allowed are {least} to {most}")]
    OutOfBounds {
        /// Which figure.
        field: &'static str,
        /// What it is.
        value: u32,
        /// The least.
        least: u32,
        /// The most.
        most: u32,
    },
    /// The function did not run, usually for want of memory.
    #[error("the passphrase could not be turned into a key with {memory_kib} KiB of memory")]
    Derivation {
        /// The memory it asked for.
        memory_kib: u32,
    },
}

/// The key-encryption key: the top of a vault's hierarchy, never stored by the vault.
#[derive(Debug)]
pub struct Kek {
    id: KeyId,
    secret: Secret,
}

impl Kek {
    /// Derives the key of `params` from `passphrase`. A wrong passphrase yields a key that unwraps nothing
    /// ([`KeyError::WrongKey`]).
    pub fn from_passphrase(passphrase: &Passphrase, params: &KdfParams) -> Result<Self, KekError> {
        params.check()?;
        let failed = |_| KekError::Derivation { memory_kib: params.memory_kib };
        let KdfAlgorithm::Argon2idV19 = params.algorithm;
        let mut secret = Secret::empty();
        let cost = argon2::Params::new(params.memory_kib, params.passes, params.lanes, Some(secret.expose().len()))
            .map_err(failed)?;
        argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, cost)
            .hash_password_into(passphrase.expose(), &params.salt, secret.expose_mut())
            .map_err(failed)?;
        Ok(Self { id: params.id, secret })
    }

    /// Reads a key file. It must be a regular file of the right size, owned by this user, with mode 0600.
    pub fn from_key_file(path: &Path) -> Result<Self, KeyFileError> {
        let (id, secret) = key_file::read(path)?;
        Ok(Self { id, secret })
    }

    /// Makes a key file with a fresh random key; never overwrites. It and its directory are on disk when this returns.
    pub fn create_key_file(path: &Path, entropy: &mut dyn Entropy) -> Result<Self, KeyFileError> {
        let kek = Self { id: KeyId::random(entropy), secret: Secret::random(entropy) };
        key_file::create(path, kek.id, &kek.secret)?;
        Ok(kek)
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Its name, as in [`WrappedKey::wrapped_by`].
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Wraps `key`, a namespace key or the seed of a root key.
    pub fn wrap<K: SecretKey>(
        &self,
        entropy: &mut dyn Entropy,
        vault: &VaultId,
        purpose: Purpose,
        version: u32,
        key: &K,
    ) -> Result<WrappedKey, KeyError> {
        wrap::wrap(&self.secret, self.id, entropy, vault, purpose, version, key)
    }

    /// Unwraps a key of `vault`.
    pub fn unwrap<K: UnwrapKey>(&self, vault: &VaultId, wrapped: &WrappedKey) -> Result<K, KeyError> {
        wrap::unwrap(&self.secret, self.id, vault, wrapped)
    }

    /// Moves a row from this key to `to`, without showing the key that it holds.
    pub fn rewrap(
        &self,
        entropy: &mut dyn Entropy,
        vault: &VaultId,
        to: &Self,
        wrapped: &WrappedKey,
    ) -> Result<WrappedKey, KeyError> {
        wrap::rewrap((&self.secret, self.id), (&to.secret, to.id), entropy, vault, wrapped)
    }
}
