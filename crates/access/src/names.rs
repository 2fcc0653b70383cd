//! Names by which people log in: brought into one form, once, where they come in.
//!
//! [`LoginName::parse`] is the only way to get one. Whatever keys a lockout, a row or a lookup uses this form, so that no
//! other spelling of the same name is another account or another counter.

#![deny(clippy::indexing_slicing)]

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;
use unicode_security::{GeneralSecurityProfile as _, MixedScript as _, skeleton};

/// Longest name as it is typed, in bytes.
pub const TYPED_BYTES_MAX: usize = 512;
/// Longest name in its normal form, in characters.
pub const NAME_CHARS_MAX: usize = 64;

/// Which characters names may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Alphabet {
    /// `a-z`, `0-9` and `. _ - + @`.
    #[default]
    Ascii,
    /// Letters and digits of one script, as UTS 39 allows them in identifiers, and the same signs.
    OneScript,
}

/// A name in its normal form: NFKC, lower case, without space around it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoginName(String);

impl LoginName {
    /// Brings what somebody typed into the normal form.
    ///
    /// # Errors
    /// [`NameError`] for what is no name in `alphabet`; what was typed is not repeated, because people type passwords
    /// into the wrong field.
    pub fn parse(typed: &str, alphabet: Alphabet) -> Result<Self, NameError> {
        if typed.len() > TYPED_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        // Lower case can leave the normal form (U+0130), so it is brought back; both together are stable then.
        let lower: String = typed.nfkc().collect::<String>().to_lowercase();
        let name: String = lower.nfkc().collect();
        let name = name.trim();
        if name.chars().count() > NAME_CHARS_MAX {
            return Err(NameError::TooLong);
        }
        let ends = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        if !ends(name.chars().next()) || !ends(name.chars().next_back()) {
            return Err(NameError::Ends);
        }
        let fits = |c: char| match alphabet {
            _ if matches!(c, '.' | '_' | '-' | '+' | '@') => true,
            Alphabet::Ascii => c.is_ascii_lowercase() || c.is_ascii_digit(),
            Alphabet::OneScript => c.is_alphanumeric() && !c.is_uppercase() && c.identifier_allowed(),
        };
        if !name.chars().all(fits) {
            return Err(NameError::Character);
        }
        if alphabet == Alphabet::OneScript && !name.is_single_script() {
            return Err(NameError::Scripts);
        }
        Ok(Self(name.to_owned()))
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether people could take one for the other: they have the same skeleton (UTS 39 §4). Two names of which one is
    /// not ASCII must not both be given out where this holds; ASCII names are only the same when they are equal.
    pub fn looks_like(&self, other: &Self) -> bool {
        if self.0.is_ascii() && other.0.is_ascii() {
            return self == other;
        }
        skeleton(&self.0).eq(skeleton(&other.0))
    }
}

impl fmt::Display for LoginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Over [`NAME_CHARS_MAX`] or [`TYPED_BYTES_MAX`].
    #[error("the name is longer than {NAME_CHARS_MAX} characters")]
    TooLong,
    /// Empty, or begins or ends with a sign.
    #[error("a name begins and ends with a letter or a digit")]
    Ends,
    /// A character that names do not have.
    #[error("a name has letters, digits and `. _ - + @`")]
    Character,
    /// Letters of several scripts.
    #[error("the letters of a name are of one script")]
    Scripts,
}
