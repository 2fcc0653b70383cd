//! Containers for what must not be seen: they zeroise on drop, print `[redacted]`, and are neither cloned nor written.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::entropy::Entropy;

/// Length of every symmetric key and signing seed in bytes.
pub(crate) const SECRET_BYTES: usize = 32;

/// 32 secret bytes. On the heap, so that moving the owner leaves no copy behind.
pub struct Secret(Box<[u8; SECRET_BYTES]>);

impl Secret {
    /// All zero, to be filled in place.
    pub(crate) fn empty() -> Self {
        Self(Box::new([0; SECRET_BYTES]))
    }

    pub(crate) fn random(entropy: &mut dyn Entropy) -> Self {
        let mut secret = Self::empty();
        entropy.fill(secret.expose_mut());
        secret
    }

    pub(crate) fn expose(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    pub(crate) fn expose_mut(&mut self) -> &mut [u8; SECRET_BYTES] {
        &mut self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

/// What a person typed: 1 to [`Passphrase::BYTES_MAX`] bytes of UTF-8, taken as they are.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Longest passphrase in bytes.
    pub const BYTES_MAX: usize = 1_024;

    /// Takes the text over; a refused one is zeroised too.
    pub fn new(text: String) -> Result<Self, PassphraseError> {
        let text = Zeroizing::new(text);
        match text.len() {
            0 => Err(PassphraseError::Empty),
            bytes if bytes > Self::BYTES_MAX => Err(PassphraseError::TooLong { bytes }),
            _ => Ok(Self(text)),
        }
    }

    pub(crate) fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether both are the same text, in constant time for equal lengths: for "type it again".
    pub fn same_as(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Why a text is no passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// Nothing was given.
    #[error("the passphrase is empty")]
    Empty,
    /// Over [`Passphrase::BYTES_MAX`].
    #[error("the passphrase has {bytes} bytes, limit is {limit}", limit = Passphrase::BYTES_MAX)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::{Passphrase, PassphraseError, Secret};

    #[test]
    fn secrets_print_nothing() {
        let secret = Secret::empty();
        assert_eq!(format!("{secret:?}"), "[redacted]");
        let passphrase = Passphrase::new("hunter2".to_owned()).unwrap();
        assert_eq!(format!("{passphrase:?}"), "[redacted]");
    }

    #[test]
    fn passphrases_have_limits() {
        assert_eq!(Passphrase::new(String::new()).unwrap_err(), PassphraseError::Empty);
        assert!(Passphrase::new("x".repeat(Passphrase::BYTES_MAX)).is_ok());
        assert!(Passphrase::new("x".repeat(Passphrase::BYTES_MAX + 1)).is_err());
    }
}
