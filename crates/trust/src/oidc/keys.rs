//! Key sets, and the signatures of compact tokens (RFC 7515 §7.1).

#![deny(clippy::indexing_slicing)]

use serde::Deserialize;

use super::{
    OidcError, TOKEN_BYTES_MAX,
    object::{Object, is_plain},
};
use crate::{
    base64url,
    foreign_key::{EcdsaForm, ForeignKey},
};

/// Largest key set in bytes; certificates beside the keys make some reach tens of kilobytes.
pub const JWKS_BYTES_MAX: usize = 512 << 10;
/// Most keys of one set.
pub const JWKS_KEYS_MAX: usize = 128;
/// Longest key id in bytes.
const KID_BYTES_MAX: usize = 512;
/// Longest number of a key in bytes: a modulus of 4,096 bits.
const NUMBER_BYTES_MAX: usize = 512;
/// Longest header of a token in bytes.
const HEADER_BYTES_MAX: usize = 8 << 10;
/// Longest signature in bytes.
const SIGNATURE_BYTES_MAX: usize = 512;

/// How a token is signed (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JwsAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl JwsAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// Its name in headers and in a provider's metadata.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm that `name` stands for. `Ed25519` is the name that RFC 9864 §2.2 gives the third.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name).or((name == "Ed25519").then_some(Self::EdDsa))
    }
}

/// A provider's public keys.
#[derive(Debug, Clone)]
pub struct KeySet(Vec<Jwk>);

#[derive(Clone)]
struct Jwk {
    kid: Option<String>,
    key: ForeignKey,
}

impl std::fmt::Debug for Jwk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.algorithm().name(), self.kid)
    }
}

impl Jwk {
    fn algorithm(&self) -> JwsAlgorithm {
        match self.key {
            ForeignKey::P256(_) => JwsAlgorithm::Es256,
            ForeignKey::Ed25519(_) => JwsAlgorithm::EdDsa,
            ForeignKey::Rsa(_) => JwsAlgorithm::Rs256,
        }
    }

    /// A key that signs with one of the three algorithms; `None` for others, which a set may well hold.
    fn read(object: &Object) -> Option<Self> {
        let text = |name, most| object.text(name, most).ok().flatten();
        let number = |name| base64url::decode(text(name, NUMBER_BYTES_MAX * 4 / 3 + 4)?, NUMBER_BYTES_MAX);
        let key = match (text("kty", 16)?, text("crv", 16)) {
            ("EC", Some("P-256")) => ForeignKey::p256(&number("x")?, &number("y")?)?,
            ("OKP", Some("Ed25519")) => ForeignKey::ed25519(&number("x")?)?,
            ("RSA", None) => ForeignKey::rsa(&number("n")?, &number("e")?)?,
            _ => return None,
        };
        // What a key is said to be for, it is for alone. A secret half in a public set is a mishap: nobody trusts it then.
        let for_signing = match object.member("use") {
            None => true,
            Some(_) => text("use", 16) == Some("sig"),
        };
        let verifies = match object.member("key_ops") {
            None => true,
            Some(_) => object.texts("key_ops", 8, 32).is_ok_and(|ops| ops.iter().any(|op| op == "verify")),
        };
        let kid = match object.member("kid") {
            None => None,
            Some(_) => Some(text("kid", KID_BYTES_MAX)?.to_owned()),
        };
        let jwk = Self { kid, key };
        let said = text("alg", 16).and_then(JwsAlgorithm::named);
        let agrees = object.member("alg").is_none() || said == Some(jwk.algorithm());
        (for_signing && verifies && agrees && object.member("d").is_none()).then_some(jwk)
    }
}

impl KeySet {
    /// Reads a JWKS (RFC 7517 §5). Keys of other types and for other purposes are passed over, as are keys that are too weak.
    ///
    /// # Errors
    /// [`OidcError::TooLarge`], [`OidcError::TooMany`], [`OidcError::Json`], [`OidcError::NoKeys`] where nothing is left.
    pub fn parse(bytes: &[u8]) -> Result<Self, OidcError> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Object>,
        }
        if bytes.len() > JWKS_BYTES_MAX {
            return Err(OidcError::TooLarge { what: "key set", bytes: bytes.len(), limit: JWKS_BYTES_MAX });
        }
        let document: Document = serde_json::from_slice(bytes).map_err(|_| OidcError::Json { what: "the key set" })?;
        if document.keys.len() > JWKS_KEYS_MAX {
            return Err(OidcError::TooMany { what: "keys", limit: JWKS_KEYS_MAX });
        }
        let keys: Vec<Jwk> = document.keys.iter().filter_map(Jwk::read).collect();
        if keys.is_empty() { Err(OidcError::NoKeys) } else { Ok(Self(keys)) }
    }

    /// Number of keys that can be used.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never: a set without keys is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks the signature of a compact token, and gives back its payload and how it was signed.
    pub(super) fn open(&self, token: &str) -> Result<(Vec<u8>, JwsAlgorithm), OidcError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(OidcError::TooLarge { what: "token", bytes: token.len(), limit: TOKEN_BYTES_MAX });
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(OidcError::Form)?;
        let (header, payload) =
            signed.split_once('.').filter(|(_, rest)| !rest.contains('.')).ok_or(OidcError::Form)?;
        let header = base64url::decode(header, HEADER_BYTES_MAX).ok_or(OidcError::Form)?;
        let payload = base64url::decode(payload, TOKEN_BYTES_MAX).ok_or(OidcError::Form)?;
        let signature = base64url::decode(signature, SIGNATURE_BYTES_MAX).ok_or(OidcError::Form)?;
        let header = Object::parse(&header, "the token's header")?;
        let jwk = self.find(&header)?;
        if jwk.key.verifies(signed.as_bytes(), &signature, EcdsaForm::Fixed) {
            Ok((payload, jwk.algorithm()))
        } else {
            Err(OidcError::Signature)
        }
    }

    /// The one key that a header stands for. The algorithm comes from the key; the header may only agree.
    fn find(&self, header: &Object) -> Result<&Jwk, OidcError> {
        let algorithm = header.member("alg").and_then(|value| JwsAlgorithm::named(value.as_str()?));
        let algorithm = algorithm.ok_or(OidcError::Algorithm)?;
        // Access tokens, logout tokens and the like say so here (RFC 8725 §3.11).
        let kind = header.member("typ").map(|value| value.as_str().unwrap_or_default());
        if header.member("crit").is_some() || kind.is_some_and(|kind| !kind.eq_ignore_ascii_case("JWT")) {
            return Err(OidcError::Kind);
        }
        let kid = match header.member("kid") {
            None => None,
            Some(value) => {
                Some(value.as_str().filter(|kid| is_plain(kid, KID_BYTES_MAX)).ok_or(OidcError::UnknownKey)?)
            }
        };
        let fits = |jwk: &&Jwk| jwk.algorithm() == algorithm && (kid.is_none() || jwk.kid.as_deref() == kid);
        let mut found = self.0.iter().filter(fits);
        // A token that names no key has to leave no choice (OpenID Connect Core §10.1).
        match (found.next(), found.next()) {
            (Some(jwk), None) => Ok(jwk),
            _ => Err(OidcError::UnknownKey),
        }
    }
}
