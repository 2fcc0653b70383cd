//! Recovery codes: ten of 80 random bits, each good once, for somebody whose other factor is gone.
//!
//! [`RecoveryCodes`] is shown once and gone; [`RecoverySet`] is stored. A code has as much entropy as a short key, so one
//! salted SHA-256 hides it: whoever reads the rows would have to try 2^80 codes, and a slow hash would only make each
//! login ten times as slow.

#![deny(clippy::indexing_slicing)]

use std::fmt;

use ringfence_schema::{Digest, digest::hex};
use serde::{Deserialize, Serialize};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use zeroize::Zeroizing;

use super::base32;
use crate::entropy::{self, Entropy};

/// Codes in a set.
pub const CODES: usize = 10;
/// Length of a code in bytes.
pub const CODE_BYTES: usize = 10;
/// Characters between two hyphens.
const GROUP_CHARS: usize = 4;
/// Longest code as it is typed, in bytes: its characters, and as many signs between them.
const TYPED_BYTES_MAX: usize = 64;
const SALT_BYTES: usize = 16;
/// Keeps these hashes apart from all others.
const DOMAIN: &[u8] = b"ringfence recovery code 1";

/// A new set in the clear, to be shown once.
pub struct RecoveryCodes(Vec<Zeroizing<String>>);

impl RecoveryCodes {
    /// Each code in groups, such as `0a1b-2c3d-4e5f-6g7h`.
    pub fn shown(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|code| code.as_str())
    }
}

impl fmt::Debug for RecoveryCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A set as it is stored: a salt, and a hash for each code that is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecoverySet {
    /// Random, hexadecimal.
    salt: String,
    /// At most [`CODES`]; `None` where the code was used.
    codes: Vec<Option<Digest>>,
}

/// Why a code is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// Not of this form; it cannot have been one.
    #[error("a recovery code has sixteen letters and digits")]
    Form,
    /// None of those that are left.
    #[error("this recovery code is not known, or was used")]
    Unknown,
}

impl RecoverySet {
    /// A new set, in the clear and as it is stored. It replaces any older one.
    pub fn random(entropy: &mut dyn Entropy) -> (RecoveryCodes, Self) {
        let salt = hex(&entropy::bytes::<SALT_BYTES>(entropy));
        let (mut shown, mut codes) = (Vec::with_capacity(CODES), Vec::with_capacity(CODES));
        for _ in 0..CODES {
            let mut code = Zeroizing::new([0; CODE_BYTES]);
            entropy.fill(&mut *code);
            codes.push(Some(hash(&salt, &code)));
            shown.push(grouped(&base32::encode(base32::PAPER, &*code)));
        }
        (RecoveryCodes(shown), Self { salt, codes })
    }

    /// Uses a code up. Case, spaces and hyphens do not count, nor does taking `o` for `0` or `i` and `l` for `1`. The
    /// changed set must be stored before the person is let in.
    ///
    /// # Errors
    /// [`RecoveryError`]; the set is unchanged then. In time that does not depend on which code it is.
    pub fn spend(&mut self, typed: &str) -> Result<(), RecoveryError> {
        let code = read(typed).ok_or(RecoveryError::Form)?;
        let hash = hash(&self.salt, &code);
        let mut found = u32::MAX;
        for (at, left) in (0_u32..).zip(self.codes.iter().take(CODES)) {
            let is_left = Choice::from(u8::from(left.is_some()));
            let left = left.unwrap_or_else(|| Digest::from_bytes([0; Digest::BYTES]));
            found.conditional_assign(&at, is_left & left.as_bytes().ct_eq(hash.as_bytes()));
        }
        let slot = usize::try_from(found).ok().and_then(|at| self.codes.get_mut(at)).ok_or(RecoveryError::Unknown)?;
        *slot = None;
        Ok(())
    }

    /// How many codes are left.
    pub fn left(&self) -> usize {
        self.codes.iter().flatten().count()
    }
}

fn hash(salt: &str, code: &[u8; CODE_BYTES]) -> Digest {
    let mut bytes = Zeroizing::new(Vec::with_capacity(DOMAIN.len() + salt.len() + CODE_BYTES));
    for part in [DOMAIN, salt.as_bytes(), code] {
        bytes.extend_from_slice(part);
    }
    Digest::of(&bytes)
}

fn grouped(code: &str) -> Zeroizing<String> {
    let mut shown = Zeroizing::new(String::with_capacity(2 * code.len()));
    for (at, char) in code.chars().enumerate() {
        if at > 0 && at % GROUP_CHARS == 0 {
            shown.push('-');
        }
        shown.push(char);
    }
    shown
}

fn read(typed: &str) -> Option<Zeroizing<[u8; CODE_BYTES]>> {
    if typed.len() > TYPED_BYTES_MAX {
        return None;
    }
    let mut plain = Zeroizing::new(Vec::with_capacity(TYPED_BYTES_MAX));
    plain.extend(typed.bytes().filter(|byte| !matches!(byte, b' ' | b'-')).map(
        |byte| match byte.to_ascii_lowercase() {
            b'o' => b'0',
            b'i' | b'l' => b'1',
            other => other,
        },
    ));
    base32::decode(base32::PAPER, &plain)
}
