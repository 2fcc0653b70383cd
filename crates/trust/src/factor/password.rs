//! Passwords: Argon2id (RFC 9106) in PHC strings, after NFKC, never shorter than twelve characters.
//!
//! [`Password::chosen`] judges a new one, [`Password::typed`] takes what somebody types at a login. [`check`] does the
//! same work whether or not there is somebody to check it against, so that time does not tell who exists.
//!
//! One hash at the default [`Cost`] takes 19 MiB and some 20 ms: callers bound how many run at once.

#![deny(clippy::indexing_slicing)]

use std::{collections::BTreeSet, fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use crate::entropy::{self, Entropy};

/// Fewest characters of a password, after NFKC.
pub const CHARS_MIN: usize = 12;
/// Longest password in bytes, before and after NFKC.
pub const BYTES_MAX: usize = 1_024;
/// Fewest different characters.
pub const DISTINCT_MIN: usize = 5;
/// Longest PHC string that is read, in bytes.
pub const PHC_BYTES_MAX: usize = 160;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Bounds of what a stored string may ask for: memory in KiB, passes, lanes. A damaged row must not ask for a terabyte.
const MEMORY_KIB: std::ops::RangeInclusive<u32> = 19_456..=262_144;
const PASSES: std::ops::RangeInclusive<u32> = 2..=16;
const LANES: std::ops::RangeInclusive<u32> = 1..=4;
/// Words that common passwords are made of, one a line.
const COMMON: &str = include_str!("common.txt");
/// Most common words that a password may consist of and still be refused for it.
const COMMON_WORDS_MAX: usize = 3;

/// What a hash costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Default for Cost {
    /// 19 MiB, two passes, one lane: the least that is advised for logins.
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2, lanes: 1 }
    }
}

impl Cost {
    /// A cost of at least the default.
    ///
    /// # Errors
    /// [`PasswordError::Cost`] where a figure is under that of [`Cost::default`] or above 256 MiB, 16 passes, 4 lanes.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, PasswordError> {
        let fits = MEMORY_KIB.contains(&memory_kib) && PASSES.contains(&passes) && LANES.contains(&lanes);
        if fits { Ok(Self { memory_kib, passes, lanes }) } else { Err(PasswordError::Cost) }
    }
}

/// A password in the clear, in NFKC.
pub struct Password(Zeroizing<String>);

impl Password {
    /// A new password of somebody whom `names` call: their login, their full name, the vault's.
    ///
    /// # Errors
    /// [`PasswordError`] says what is wrong with it.
    pub fn chosen(text: String, names: &[&str]) -> Result<Self, PasswordError> {
        let password = Self::typed(text)?;
        let chars = password.0.chars().count();
        if chars < CHARS_MIN {
            return Err(PasswordError::TooShort { chars });
        }
        if password.0.chars().collect::<BTreeSet<_>>().len() < DISTINCT_MIN || is_sequence(&password.0) {
            return Err(PasswordError::TooSimple);
        }
        if is_common(&password.0, names) {
            return Err(PasswordError::Common);
        }
        Ok(password)
    }

    /// What somebody typed at a login. It is not judged: a rule that came later must not lock anybody out.
    ///
    /// # Errors
    /// [`PasswordError::TooLong`] and [`PasswordError::Empty`], which no stored password is.
    pub fn typed(text: String) -> Result<Self, PasswordError> {
        let text = Zeroizing::new(text);
        if text.len() > BYTES_MAX {
            return Err(PasswordError::TooLong);
        }
        // One character can become eighteen (U+FDFA); the string must not grow and leave a copy behind.
        let mut normal = Zeroizing::new(String::with_capacity(text.len() * NFKC_GROWTH));
        normal.extend(text.nfkc());
        match normal.len() {
            0 => Err(PasswordError::Empty),
            bytes if bytes > BYTES_MAX => Err(PasswordError::TooLong),
            _ => Ok(Self(normal)),
        }
    }

    /// Its hash under a fresh salt.
    pub fn hash(&self, cost: Cost, entropy: &mut dyn Entropy) -> Result<PasswordHash, PasswordError> {
        let salt = entropy::bytes(entropy);
        Ok(PasswordHash { cost, salt, hash: *derive(cost, &salt, &self.0)? })
    }
}

/// The most by which NFKC lengthens UTF-8, in bytes for a byte.
const NFKC_GROWTH: usize = 11;

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A password as it is stored, written as `$argon2id$v=19$m=…,t=…,p=…$salt$hash`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    cost: Cost,
    salt: [u8; SALT_BYTES],
    hash: [u8; HASH_BYTES],
}

impl PasswordHash {
    /// Whether it should be made anew, at the next login, because it costs less than `cost`.
    pub fn is_weaker_than(&self, cost: Cost) -> bool {
        self.cost.memory_kib < cost.memory_kib || self.cost.passes < cost.passes
    }
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let (salt, hash) = (STANDARD_NO_PAD.encode(self.salt), STANDARD_NO_PAD.encode(self.hash));
        write!(f, "$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}")
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl FromStr for PasswordHash {
    type Err = PasswordError;

    /// Reads what [`PasswordHash`] writes, and nothing else.
    fn from_str(text: &str) -> Result<Self, PasswordError> {
        if text.len() > PHC_BYTES_MAX {
            return Err(PasswordError::Stored);
        }
        let read = || {
            let mut fields = text.strip_prefix("$argon2id$v=19$")?.split('$');
            let (cost, salt, hash) = (fields.next()?, fields.next()?, fields.next()?);
            let mut costs = cost.split(',');
            let mut number = |name: &str| costs.next()?.strip_prefix(name)?.parse::<u32>().ok();
            let cost = Cost::new(number("m=")?, number("t=")?, number("p=")?).ok()?;
            let salt = STANDARD_NO_PAD.decode(salt).ok()?.try_into().ok()?;
            let hash = STANDARD_NO_PAD.decode(hash).ok()?.try_into().ok()?;
            Some(Self { cost, salt, hash })
        };
        // One spelling a hash: what reads otherwise than it is written (signs, zeros, more fields) is refused.
        read().filter(|hash| hash.to_string() == text).ok_or(PasswordError::Stored)
    }
}

impl Serialize for PasswordHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PasswordHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether `typed` is the password of `stored`. Where there is none, because nobody has that name or that person has no
/// password, a hash of the same `cost` is worked out all the same, and the answer is no. `cost` is the one at which new
/// passwords are stored.
///
/// # Errors
/// [`PasswordError::Memory`] where the memory for the hash cannot be had.
pub fn check(stored: Option<&PasswordHash>, typed: &Password, cost: Cost) -> Result<bool, PasswordError> {
    let nobody = PasswordHash { cost, salt: *b"nobody's salt...", hash: [0; HASH_BYTES] };
    let against = stored.unwrap_or(&nobody);
    let found = derive(against.cost, &against.salt, &typed.0)?;
    let same = bool::from(found.ct_eq(&against.hash));
    Ok(same && stored.is_some())
}

fn derive(cost: Cost, salt: &[u8], password: &str) -> Result<Zeroizing<[u8; HASH_BYTES]>, PasswordError> {
    let params = argon2::Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(HASH_BYTES));
    let params = params.map_err(|_| PasswordError::Cost)?;
    let mut hash = Zeroizing::new([0; HASH_BYTES]);
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt, &mut *hash)
        .map_err(|_| PasswordError::Memory)?;
    Ok(hash)
}

/// Whether at least three quarters of it go one step up, one step down or nowhere: `abcdefgh1234`.
fn is_sequence(text: &str) -> bool {
    let steps = text.chars().zip(text.chars().skip(1));
    let (all, near) = steps
        .fold((0, 0), |(all, near), (a, b)| (all + 1, near + usize::from(u32::from(a).abs_diff(u32::from(b)) <= 1)));
    4 * near >= 3 * all
}

/// Whether it is a common word or a name, or a few of them in a row, with or without digits and signs around them and
/// letters written as digits.
fn is_common(text: &str, names: &[&str]) -> bool {
    let lower = Zeroizing::new(text.to_lowercase());
    let names: Vec<String> = names.iter().flat_map(|name| words(name)).collect();
    let known: BTreeSet<&str> = COMMON.lines().chain(names.iter().map(String::as_str)).collect();
    let core = lower.trim_matches(|c: char| !c.is_alphabetic() && !matches!(c, '@' | '$'));
    let as_letters = |swap: bool| -> Zeroizing<String> {
        let letter = |c: char| match c {
            '0' => 'o',
            '1' => 'i',
            '3' => 'e',
            '4' | '@' => 'a',
            '5' | '$' => 's',
            '7' => 't',
            other => other,
        };
        let chars = core.chars().map(|c| if swap { letter(c) } else { c });
        Zeroizing::new(chars.filter(|c| c.is_alphanumeric()).collect())
    };
    let plain = Zeroizing::new(lower.chars().filter(|c| c.is_alphabetic()).collect::<String>());
    [as_letters(true), as_letters(false), plain].iter().any(|text| is_made_of(&known, text, COMMON_WORDS_MAX))
}

/// The parts of a name that are long enough to build a password on.
fn words(name: &str) -> Vec<String> {
    let whole = name.nfkc().collect::<String>().to_lowercase();
    let parts: Vec<String> = whole.split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect();
    parts.into_iter().filter(|part| part.chars().count() >= 3).collect()
}

/// Whether `text` is at most `count` of the known words in a row. Nothing at all is: what was only digits and signs has no
/// word to be judged by.
fn is_made_of(known: &BTreeSet<&str>, text: &str, count: usize) -> bool {
    if text.is_empty() {
        return false;
    }
    if known.contains(text) {
        return true;
    }
    count > 1
        && text.char_indices().skip(1).any(|(at, _)| {
            text.split_at_checked(at)
                .is_some_and(|(first, rest)| known.contains(first) && is_made_of(known, rest, count - 1))
        })
}

/// Why a password is refused, or a hash is none. It never repeats the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// Nothing was given.
    #[error("the password is empty")]
    Empty,
    /// Under [`CHARS_MIN`].
    #[error("the password has {chars} characters, at least {CHARS_MIN} are needed")]
    TooShort {
        /// How many it has.
        chars: usize,
    },
    /// Over [`BYTES_MAX`].
    #[error("the password has more than {BYTES_MAX} bytes")]
    TooLong,
    /// A few characters over and over, or in a row.
    #[error("the password repeats itself or counts up")]
    TooSimple,
    /// Built on a word that everybody tries first.
    #[error("the password is a common one, or built on a name")]
    Common,
    /// A cost outside the limits.
    #[error("these parameters of Argon2id are out of bounds")]
    Cost,
    /// A stored string that is no hash of ours.
    #[error("not a stored password")]
    Stored,
    /// The memory could not be had.
    #[error("no memory for Argon2id")]
    Memory,
}
