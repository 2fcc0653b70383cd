//! Random names: 16 bytes, written as 32 lower-case hexadecimal digits.

use std::{fmt, str::FromStr};

use ringfence_schema::digest::{from_hex, hex};
use serde::{Deserialize, Serialize, de};

use crate::entropy::{self, Entropy};

/// Length of a random name in bytes; two of 2^48 names meet with a probability of about 2^-33.
const ID_BYTES: usize = 16;

/// A text that is not 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of 32 lower-case hexadecimal digits")]
pub struct NotAnId;

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; ID_BYTES]);

        impl $name {
            /// Length in bytes.
            pub const BYTES: usize = ID_BYTES;

            /// A new name.
            pub fn random(entropy: &mut dyn Entropy) -> Self {
                Self(entropy::bytes(entropy))
            }

            /// The name with these bytes.
            pub const fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; ID_BYTES] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                from_hex(text).and_then(|raw| raw.try_into().ok()).map(Self).ok_or(NotAnId)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

random_id! {
    /// Names a vault, for ever.
    VaultId
}

random_id! {
    /// Names a key. A pack carries the id of its key, so destroying the key's row destroys the pack.
    KeyId
}
