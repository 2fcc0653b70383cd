//! The keys of a vault and the only form in which they are stored.
//!
//! [`Kek`] → one [`NamespaceKey`] per [`Namespace`] → a fresh random [`PackKey`] per pack; a [`ChunkIdKey`], [`CutKey`] and
//! [`ManifestKey`] per [`ShredGroup`]; one [`DetailKey`] for the trail's openings; the seeds of [`SigningKey`]s.
//! Every arrow is a [`WrappedKey`] in the key ledger: rotating a key rewraps the rows below it, destroying a row
//! destroys what only that key opens. Key types zeroise on drop, print `[redacted]`, and are neither `Clone` nor
//! `Serialize`; one type cannot be unwrapped as another.

use crate::{entropy::Entropy, id::VaultId, secret::Secret, sign::SigningKey};

mod kek;
pub(crate) mod key_file;
mod purpose;
mod wrap;

pub use crate::id::{KeyId, NotAnId};
pub use kek::{KdfAlgorithm, KdfParams, Kek, KekError};
pub use key_file::KeyFileError;
pub use purpose::{KeyRole, KeyState, Namespace, NotAPurpose, Purpose, ShredGroup};
pub use wrap::{KeyError, WrapAlgorithm, WrappedKey};

/// A key that can be wrapped. Implemented by this crate's key types only.
pub trait SecretKey: material::Material {
    /// Its name in the ledger.
    fn id(&self) -> KeyId;
}

impl<K: material::Material> SecretKey for K {
    fn id(&self) -> KeyId {
        self.key_id()
    }
}

/// A key that can be unwrapped. Implemented by this crate's key types only.
pub trait UnwrapKey: SecretKey + material::Restore {}

impl<K: material::Restore> UnwrapKey for K {}

/// Access to the bytes of keys; out of reach for other crates.
pub(crate) mod material {
    use super::{KeyError, KeyId, Purpose, Secret, VaultId};

    pub trait Material {
        fn key_id(&self) -> KeyId;
        fn secret(&self) -> &Secret;
        /// Whether keys of this type serve `purpose`.
        fn fits(purpose: Purpose) -> bool
        where
            Self: Sized;
        /// Whether this very key serves `purpose` in `vault`.
        fn serves(&self, _vault: &VaultId, purpose: Purpose) -> bool
        where
            Self: Sized,
        {
            Self::fits(purpose)
        }
    }

    pub trait Restore: Material + Sized {
        fn restore(id: KeyId, vault: &VaultId, purpose: Purpose, secret: Secret) -> Result<Self, KeyError>;
    }
}

macro_rules! symmetric_key {
    ($(#[$doc:meta])* $name:ident, $purpose:pat) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            id: KeyId,
            secret: Secret,
        }

        impl $name {
            /// A fresh random key.
            pub fn generate(entropy: &mut dyn Entropy) -> Self {
                Self { id: KeyId::random(entropy), secret: Secret::random(entropy) }
            }

            /// Its name in the ledger.
            pub fn id(&self) -> KeyId {
                self.id
            }
        }

        symmetric_key!(material $name, $purpose);
    };
    (material $name:ident, $purpose:pat) => {
        impl material::Material for $name {
            fn key_id(&self) -> KeyId {
                self.id
            }

            fn secret(&self) -> &Secret {
                &self.secret
            }

            fn fits(purpose: Purpose) -> bool {
                matches!(purpose, $purpose)
            }
        }

        impl material::Restore for $name {
            fn restore(id: KeyId, _: &VaultId, _: Purpose, secret: Secret) -> Result<Self, KeyError> {
                Ok(Self { id, secret })
            }
        }
    };
}

symmetric_key! {
    /// Names chunks by their content; one per shred group, and never rotated, because ids would change.
    ChunkIdKey, Purpose::ChunkId(..)
}

symmetric_key! {
    /// Decides where content-defined chunks are cut; one per shred group.
    CutKey, Purpose::Cut(..)
}

symmetric_key! {
    /// Seals manifests and index segments of a shred group.
    ManifestKey, Purpose::Manifest(..)
}

symmetric_key! {
    /// Seals the trail's openings and other details in the catalog.
    DetailKey, Purpose::Detail
}

impl CutKey {
    /// 256 values for a rolling gear hash, fixed by this key.
    pub fn gear(&self) -> Box<[u64; 256]> {
        let mut stream = blake3::Hasher::new_keyed(self.secret.expose());
        stream.update(b"ringfence.gear/1");
        let mut stream = stream.finalize_xof();
        let mut table = Box::new([0; 256]);
        for value in table.iter_mut() {
            let mut raw = [0; 8];
            stream.fill(&mut raw);
            *value = u64::from_le_bytes(raw);
        }
        table
    }
}

/// Opens one pack. What seals a pack is a [`FreshPackKey`], which cannot be had twice.
#[derive(Debug)]
pub struct PackKey {
    id: KeyId,
    secret: Secret,
}

impl PackKey {
    /// A fresh random key for one pack.
    pub fn generate(entropy: &mut dyn Entropy) -> FreshPackKey {
        FreshPackKey(Self { id: KeyId::random(entropy), secret: Secret::random(entropy) })
    }

    /// Its name in the ledger, and the pack's name.
    pub fn id(&self) -> KeyId {
        self.id
    }
}

symmetric_key!(material PackKey, Purpose::Pack(..));

/// A pack key that has sealed nothing yet. [`crate::seal::PackSealer`] consumes it, and unwrapping yields [`PackKey`]
/// only, so that no nonce can be used twice under one key.
#[derive(Debug)]
pub struct FreshPackKey(PackKey);

impl FreshPackKey {
    /// Its name in the ledger, and the pack's name.
    pub fn id(&self) -> KeyId {
        self.0.id
    }

    /// The key for reading back what its sealer writes.
    pub fn opener_key(&self) -> &PackKey {
        &self.0
    }
}

impl material::Material for FreshPackKey {
    fn key_id(&self) -> KeyId {
        self.0.id
    }

    fn secret(&self) -> &Secret {
        &self.0.secret
    }

    fn fits(purpose: Purpose) -> bool {
        PackKey::fits(purpose)
    }
}

/// Wraps the keys of one namespace of one vault.
#[derive(Debug)]
pub struct NamespaceKey {
    id: KeyId,
    vault: VaultId,
    namespace: Namespace,
    secret: Secret,
}

impl NamespaceKey {
    /// A fresh random key.
    pub fn generate(entropy: &mut dyn Entropy, vault: &VaultId, namespace: Namespace) -> Self {
        Self { id: KeyId::random(entropy), vault: *vault, namespace, secret: Secret::random(entropy) }
    }

    /// Its name in the ledger.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The namespace whose keys it wraps.
    pub fn namespace(&self) -> Namespace {
        self.namespace
    }

    /// The vault it belongs to.
    pub fn vault(&self) -> &VaultId {
        &self.vault
    }

    /// Wraps `key`; `purpose` must fit its type and lie in this namespace. `version` counts keys of the same purpose.
    pub fn wrap<K: SecretKey>(
        &self,
        entropy: &mut dyn Entropy,
        purpose: Purpose,
        version: u32,
        key: &K,
    ) -> Result<WrappedKey, KeyError> {
        self.check(purpose)?;
        wrap::wrap(&self.secret, self.id, entropy, &self.vault, purpose, version, key)
    }

    /// Unwraps a key of this namespace.
    pub fn unwrap<K: UnwrapKey>(&self, wrapped: &WrappedKey) -> Result<K, KeyError> {
        self.check(wrapped.purpose)?;
        wrap::unwrap(&self.secret, self.id, &self.vault, wrapped)
    }

    /// Moves a row from this key to its successor `to`, without showing the key that it holds.
    pub fn rewrap(&self, entropy: &mut dyn Entropy, to: &Self, wrapped: &WrappedKey) -> Result<WrappedKey, KeyError> {
        self.check(wrapped.purpose)?;
        to.check(wrapped.purpose)?;
        wrap::rewrap((&self.secret, self.id), (&to.secret, to.id), entropy, &self.vault, wrapped)
    }

    fn check(&self, purpose: Purpose) -> Result<(), KeyError> {
        // Namespace keys hang from a key-encryption key, never from each other.
        if purpose.namespace() != self.namespace || matches!(purpose, Purpose::Namespace(_)) {
            return Err(KeyError::Purpose { purpose });
        }
        Ok(())
    }
}

impl material::Material for NamespaceKey {
    fn key_id(&self) -> KeyId {
        self.id
    }

    fn secret(&self) -> &Secret {
        &self.secret
    }

    fn fits(purpose: Purpose) -> bool {
        matches!(purpose, Purpose::Namespace(_))
    }

    fn serves(&self, vault: &VaultId, purpose: Purpose) -> bool {
        self.vault == *vault && purpose == Purpose::Namespace(self.namespace)
    }
}

impl material::Restore for NamespaceKey {
    fn restore(id: KeyId, vault: &VaultId, purpose: Purpose, secret: Secret) -> Result<Self, KeyError> {
        let Purpose::Namespace(namespace) = purpose else { return Err(KeyError::Purpose { purpose }) };
        Ok(Self { id, vault: *vault, namespace, secret })
    }
}

impl material::Material for SigningKey {
    fn key_id(&self) -> KeyId {
        self.id()
    }

    fn secret(&self) -> &Secret {
        self.seed()
    }

    fn fits(purpose: Purpose) -> bool {
        matches!(purpose, Purpose::Signing(_))
    }

    fn serves(&self, _: &VaultId, purpose: Purpose) -> bool {
        purpose == Purpose::Signing(self.role())
    }
}

impl material::Restore for SigningKey {
    fn restore(id: KeyId, _: &VaultId, purpose: Purpose, secret: Secret) -> Result<Self, KeyError> {
        let Purpose::Signing(role) = purpose else { return Err(KeyError::Purpose { purpose }) };
        Self::from_seed(id, role, secret).map_err(|_| KeyError::Length { id })
    }
}
