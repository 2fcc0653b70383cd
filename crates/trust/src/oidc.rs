//! What a login provider signs: ID tokens (OpenID Connect Core 1.0) and the keys that verify them, without any network.
//!
//! * [`KeySet`]: a provider's JWKS (RFC 7517). [`KeySet::verify`] takes an ID token and what it has to say ([`Expected`]),
//!   and gives back [`Claims`].
//! * [`LoginSecrets`]: state, nonce and PKCE verifier (RFC 7636) of one login.
//!
//! What must stay true: a key fixes its algorithm, and a token's header only has to agree; RS256, ES256 and EdDSA are
//! the only ones, so neither `none` nor a shared secret (HS256) can stand in; keys inside of a token (`jwk`, `x5c`, `jku`) are never
//! looked at; a JSON object with a member twice is refused; everything is bounded before it is parsed.
//!
//! Absent on purpose: encryption (JWE), clocks, fetching (`engine::oidc`), and what a group or a level means here.

#![deny(clippy::indexing_slicing)]

use std::fmt;

use ringfence_schema::Digest;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::{
    base64url,
    entropy::{self, Entropy},
};

mod claims;
mod keys;
mod object;

pub use claims::{Claims, Email, Expected};
pub use keys::{JWKS_BYTES_MAX, JWKS_KEYS_MAX, JwsAlgorithm, KeySet};

/// Longest ID token in bytes; with hundreds of groups they reach a few kilobytes.
pub const TOKEN_BYTES_MAX: usize = 64 << 10;
/// How far a provider's clock may be off, in seconds.
pub const SKEW_S: u64 = 60;
/// How old a token may be when it comes, in seconds: it was made for this login.
pub const AGE_S_MAX: u64 = 600;
/// Most groups of one person.
pub const GROUPS_MAX: usize = 1_024;
/// Longest name of a group, in bytes.
pub const GROUP_BYTES_MAX: usize = 256;
/// Length of a secret in bytes, before base64url.
const ONCE_BYTES: usize = 32;

/// A random text of 43 characters that is good for one login.
pub struct Once(Zeroizing<String>);

impl Once {
    /// A fresh one.
    pub fn random(entropy: &mut dyn Entropy) -> Self {
        Self(Zeroizing::new(base64url::encode(&entropy::bytes::<ONCE_BYTES>(entropy))))
    }

    /// The text, to be sent.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `presented` is this text; in time that does not depend on where it differs.
    #[must_use]
    pub fn is(&self, presented: &str) -> bool {
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What ties the answers of one login to its question. Kept by the asking side, together with who asked, and used once.
#[derive(Debug)]
pub struct LoginSecrets {
    /// Comes back with the code: it is this browser's answer.
    pub state: Once,
    /// Comes back in the token: it was made for this login.
    pub nonce: Once,
    /// Goes to the provider with the code: whoever stole the code does not have it.
    pub verifier: Once,
}

impl LoginSecrets {
    /// Fresh ones.
    pub fn random(entropy: &mut dyn Entropy) -> Self {
        Self { state: Once::random(entropy), nonce: Once::random(entropy), verifier: Once::random(entropy) }
    }

    /// The code challenge of method `S256` (RFC 7636 §4.2).
    pub fn code_challenge(&self) -> String {
        base64url::encode(Digest::of(self.verifier.expose().as_bytes()).as_bytes())
    }
}

/// Why a provider's keys or a token do not count. It repeats nothing of a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OidcError {
    /// A document over its limit.
    #[error("{what} of {bytes} bytes, limit is {limit}")]
    TooLarge {
        /// Which document.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// More of something than is read.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Not a key set with a key that can be used.
    #[error("the provider's key set has no key for RS256, ES256 or EdDSA")]
    NoKeys,
    /// Not JSON, not an object, or a member twice.
    #[error("{what} cannot be read")]
    Json {
        /// Which document.
        what: &'static str,
    },
    /// Not three parts of base64url with a header.
    #[error("not a signed token in compact form")]
    Form,
    /// A kind of token that is not for logging in, or one with demands that are not understood (`crit`).
    #[error("the token is of another kind")]
    Kind,
    /// Signed with another algorithm, or not at all.
    #[error("the token is not signed with RS256, ES256 or EdDSA")]
    Algorithm,
    /// No key of the set has the token's key id and algorithm; the set may be old.
    #[error("the provider's key set has no such key")]
    UnknownKey,
    /// Not a signature by that key.
    #[error("the token's signature does not hold")]
    Signature,
    /// A claim that is missing, of the wrong type, or of the wrong value.
    #[error("the token's `{claim}` is not what it must be")]
    Claim {
        /// Its name.
        claim: &'static str,
    },
    /// The token has expired.
    #[error("the token has expired")]
    Expired,
    /// The token is from the future or from long ago; clocks may differ.
    #[error("the token was not made just now; clocks may differ by more than {SKEW_S} s")]
    NotNow,
    /// The person logged in at the provider longer ago than allowed.
    #[error("the login at the provider is too long ago")]
    StaleLogin,
}
