//! Tokens: `rf_<kind>_<id>_<secret>_<crc32>`, all lower case.
//!
//! The form is one that secret scanners can match without mistakes: a fixed prefix, a fixed length, and a checksum over
//! all that stands before it. The id finds the row, 256 random bits prove possession, and the row holds their SHA-256
//! ([`StoredToken`]), so that whoever reads the rows cannot log in.
//!
//! What a token may do, until when and from where stands in the row; this module knows none of it.

#![deny(clippy::indexing_slicing)]

use std::fmt;

use ringfence_schema::Digest;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::base32;
use crate::{
    entropy::{self, Entropy},
    secret::{SECRET_BYTES, Secret},
};

/// Length of an id in bytes.
const ID_BYTES: usize = 10;
/// Digits of the checksum.
const CHECKSUM_CHARS: usize = 8;
/// Longest token in characters.
pub const TOKEN_CHARS_MAX: usize =
    "rf_session_".len() + base32::chars(ID_BYTES) + 1 + base32::chars(SECRET_BYTES) + 1 + CHECKSUM_CHARS;
const PREFIX: &str = "rf";
/// Keeps these hashes apart from all others.
const DOMAIN: &[u8] = b"ringfence token 1";

/// What a token is for. A token of one kind is never taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// A session of a browser or of the command line.
    Session,
    /// A person's or a service's access to the API.
    Api,
    /// One run's access to its own inputs.
    Run,
    /// The first administrator's way in.
    Setup,
    /// An invitation to enrol.
    Invite,
    /// A device that waits for a person to confirm it.
    Device,
}

impl TokenKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Session, Self::Api, Self::Run, Self::Setup, Self::Invite, Self::Device];

    /// The second part of its tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Api => "api",
            Self::Run => "run",
            Self::Setup => "setup",
            Self::Invite => "invite",
            Self::Device => "device",
        }
    }
}

/// The public part of a token: 16 characters, by which its row is found and by which it is called in the trail.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; ID_BYTES]);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32::encode(base32::LOWER, &self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for TokenId {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        base32::decode(base32::LOWER, text.as_bytes()).map(|id| Self(*id)).ok_or(TokenError::Form)
    }
}

impl Serialize for TokenId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A token in the clear.
pub struct Token {
    kind: TokenKind,
    id: TokenId,
    secret: Secret,
}

/// A token as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredToken {
    /// What it is for.
    pub kind: TokenKind,
    /// Its public part.
    pub id: TokenId,
    /// SHA-256 over kind, id and secret.
    hash: Digest,
}

/// Why a text is no token. It says nothing about the text, which may be a secret of another system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not of the form `rf_<kind>_<id>_<secret>_<crc32>`.
    #[error("not a token")]
    Form,
    /// Of the form, but mistyped or cut: the checksum is another.
    #[error("the token is damaged: its checksum does not match")]
    Checksum,
}

impl Token {
    /// A new token; [`Token::shown`] is given out, [`Token::stored`] is kept.
    pub fn random(kind: TokenKind, entropy: &mut dyn Entropy) -> Self {
        Self { kind, id: TokenId(entropy::bytes(entropy)), secret: Secret::random(entropy) }
    }

    /// Reads what somebody presents. There is one spelling of every token, and everything else is refused.
    pub fn parse(presented: &str) -> Result<Self, TokenError> {
        if presented.len() > TOKEN_CHARS_MAX || !presented.is_ascii() {
            return Err(TokenError::Form);
        }
        let (body, checksum) = presented.rsplit_once('_').ok_or(TokenError::Form)?;
        let mut parts = body.split('_');
        let (prefix, kind, id, secret) = (parts.next(), parts.next(), parts.next(), parts.next());
        if prefix != Some(PREFIX) || parts.next().is_some() || checksum.len() != CHECKSUM_CHARS {
            return Err(TokenError::Form);
        }
        let kind = TokenKind::ALL.into_iter().find(|known| Some(known.name()) == kind).ok_or(TokenError::Form)?;
        let id = id.ok_or(TokenError::Form)?.parse()?;
        let bytes = base32::decode::<SECRET_BYTES>(base32::LOWER, secret.unwrap_or_default().as_bytes());
        let bytes = bytes.ok_or(TokenError::Form)?;
        let mut secret = Secret::empty();
        secret.expose_mut().copy_from_slice(&*bytes);
        if checksum != self::checksum(body) {
            return Err(TokenError::Checksum);
        }
        Ok(Self { kind, id, secret })
    }

    /// What it is for.
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// Its public part.
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// The token in full, to be given out once.
    pub fn shown(&self) -> Zeroizing<String> {
        let secret = base32::encode(base32::LOWER, self.secret.expose());
        let mut text = Zeroizing::new(String::with_capacity(TOKEN_CHARS_MAX));
        for part in [PREFIX, "_", self.kind.name(), "_", &self.id.to_string(), "_", &secret] {
            text.push_str(part);
        }
        let checksum = checksum(&text);
        text.push('_');
        text.push_str(&checksum);
        text
    }

    /// What is kept of it.
    pub fn stored(&self) -> StoredToken {
        StoredToken { kind: self.kind, id: self.id, hash: self.hash() }
    }

    fn hash(&self) -> Digest {
        let mut bytes = Zeroizing::new(Vec::with_capacity(DOMAIN.len() + 16 + ID_BYTES + SECRET_BYTES));
        for part in [DOMAIN, self.kind.name().as_bytes(), &[0], &self.id.0, self.secret.expose()] {
            bytes.extend_from_slice(part);
        }
        Digest::of(&bytes)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rf_{}_{}_[redacted]", self.kind.name(), self.id)
    }
}

impl StoredToken {
    /// Whether `presented` is this token; in time that does not depend on where it differs.
    #[must_use]
    pub fn is(&self, presented: &Token) -> bool {
        let same = self.hash.as_bytes().ct_eq(presented.hash().as_bytes());
        // Kind and id are public, and in the hash too.
        self.kind == presented.kind && self.id == presented.id && bool::from(same)
    }
}

/// CRC-32 (IEEE) in eight hexadecimal digits. It keeps nobody from forging: it tells a typing error, and another
/// program's `rf_…`, from a token.
fn checksum(body: &str) -> String {
    format!("{:08x}", crc32fast::hash(body.as_bytes()))
}
