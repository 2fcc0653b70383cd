//! Public keys and signatures of agents, and what exactly is signed.

#![deny(clippy::indexing_slicing)]

use std::{fmt, str::FromStr};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use ringfence_schema::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    AgentError, Namespace,
    wire::{Reader, positive, put_string},
};
use crate::foreign_key::{EcdsaForm, ForeignKey, P256_COORDINATE_BYTES, P256_POINT_BYTES};

/// Longest line with a public key in bytes; RSA keys of 16,384 bits, which are refused, still fit.
pub const KEY_TEXT_BYTES_MAX: usize = 4 << 10;
/// Longest name of what a security key was made for, in bytes; `ssh:` as a rule.
const APPLICATION_BYTES_MAX: usize = 128;
/// Largest signature in bytes, with its names.
const SIGNATURE_BYTES_MAX: usize = 512;
const ED25519_SIGNATURE_BYTES: usize = 64;
/// The only curve, as RFC 5656 calls it.
const CURVE: &[u8] = b"nistp256";
/// How every SSHSIG document begins.
const PREAMBLE: &[u8; 6] = b"SSHSIG";
/// Somebody touched the security key (OpenSSH, `PROTOCOL.u2f`; WebAuthn §6.1, flag UP).
const TOUCHED: u8 = 0x01;

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// Ed25519 (RFC 8709).
    Ed25519,
    /// ECDSA on P-256 (RFC 5656).
    P256,
    /// Ed25519 on a security key.
    SecurityEd25519,
    /// ECDSA on P-256 on a security key.
    SecurityP256,
}

impl KeyKind {
    /// Every kind, the preferred one first.
    pub const ALL: [Self; 4] = [Self::SecurityEd25519, Self::SecurityP256, Self::Ed25519, Self::P256];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::P256 => "ecdsa-sha2-nistp256",
            Self::SecurityEd25519 => "sk-ssh-ed25519@openssh.com",
            Self::SecurityP256 => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    /// Whether the key lies on a security key, which is touched for each signature.
    pub const fn is_on_security_key(self) -> bool {
        matches!(self, Self::SecurityEd25519 | Self::SecurityP256)
    }

    fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().as_bytes() == name)
    }

    pub(super) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

/// A public key that may be enrolled for approvals. Nothing in it is secret.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentKey {
    kind: KeyKind,
    key: ForeignKey,
    /// What a key on a security key was made for; empty for others.
    application: Vec<u8>,
}

impl AgentKey {
    /// Reads a key as it is on the wire.
    ///
    /// # Errors
    /// [`AgentError::Kind`] for a type that is not taken, [`AgentError::Key`] for everything else.
    pub fn from_wire(bytes: &[u8]) -> Result<Self, AgentError> {
        if bytes.len() > KEY_TEXT_BYTES_MAX {
            return Err(AgentError::Key);
        }
        let mut reader = Reader::new(bytes);
        let kind = KeyKind::named(reader.string().map_err(|_| AgentError::Key)?).ok_or(AgentError::Kind)?;
        Self::read(kind, reader).map_err(|_| AgentError::Key)
    }

    fn read(kind: KeyKind, mut reader: Reader<'_>) -> Result<Self, AgentError> {
        let key = match kind {
            KeyKind::Ed25519 | KeyKind::SecurityEd25519 => ForeignKey::ed25519(reader.string()?),
            KeyKind::P256 | KeyKind::SecurityP256 => {
                let curve = reader.string()?;
                let point: &[u8; P256_POINT_BYTES] = reader.string()?.try_into().map_err(|_| AgentError::Key)?;
                let (form, coordinates) = point.split_first().ok_or(AgentError::Key)?;
                let (x, y) = coordinates.split_at(P256_COORDINATE_BYTES);
                if curve == CURVE && *form == 4 { ForeignKey::p256(x, y) } else { None }
            }
        };
        let application = if kind.is_on_security_key() { reader.string()?.to_vec() } else { Vec::new() };
        reader.end()?;
        let fits = application.len() <= APPLICATION_BYTES_MAX;
        key.filter(|_| fits).map(|key| Self { kind, key, application }).ok_or(AgentError::Key)
    }

    /// The key as it is on the wire.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        put_string(&mut out, self.kind.name().as_bytes());
        match &self.key {
            ForeignKey::Ed25519(key) => put_string(&mut out, key),
            ForeignKey::P256(point) => {
                put_string(&mut out, CURVE);
                put_string(&mut out, point);
            }
            // No kind has such a key.
            ForeignKey::Rsa(modulus) => put_string(&mut out, modulus),
        }
        if self.kind.is_on_security_key() {
            put_string(&mut out, &self.application);
        }
        out
    }

    /// How it signs.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// SHA-256 of the key as it is on the wire: how it is called.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_wire())
    }

    /// The same as `ssh-keygen -l` writes it, `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.digest())
    }

    /// Verifies that this key signed, for that purpose, the document with this SHA-256.
    ///
    /// # Errors
    /// [`AgentError::NotPresent`] for a security key that nobody touched, [`AgentError::Malformed`], and
    /// [`AgentError::Signature`] for whatever else does not hold.
    pub fn verify(&self, purpose: Namespace, digest: &Digest, signature: &AgentSignature) -> Result<(), AgentError> {
        let mut reader = Reader::new(&signature.0);
        if reader.string()? != self.kind.name().as_bytes() {
            return Err(AgentError::Signature);
        }
        let made = reader.string()?;
        let (flags, counter) =
            if self.kind.is_on_security_key() { (reader.byte()?, reader.number()?) } else { (TOUCHED, 0) };
        reader.end()?;
        if flags & TOUCHED == 0 {
            return Err(AgentError::NotPresent);
        }
        let document = signed(purpose, digest);
        let message = if self.kind.is_on_security_key() {
            // What a security key signs (`PROTOCOL.u2f`): for whom, what it saw, how often, and the document's hash.
            let (party, hash) = (Digest::of(&self.application), Digest::of(&document));
            [party.as_bytes(), &[flags][..], &counter.to_be_bytes(), hash.as_bytes()].concat()
        } else {
            document
        };
        let made = match self.key {
            ForeignKey::P256(_) => fixed(made)?,
            _ if made.len() == ED25519_SIGNATURE_BYTES => made.to_vec(),
            _ => return Err(AgentError::Malformed),
        };
        if self.key.verifies(&message, &made, EcdsaForm::Fixed) { Ok(()) } else { Err(AgentError::Signature) }
    }
}

/// The digest of a key as OpenSSH writes it, `SHA256:…`.
pub fn fingerprint(key: &Digest) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(key.as_bytes()))
}

/// What an agent is asked to sign: an SSHSIG document over something with this SHA-256.
pub(super) fn signed(purpose: Namespace, digest: &Digest) -> Vec<u8> {
    let mut out = PREAMBLE.to_vec();
    put_string(&mut out, purpose.name().as_bytes());
    // Reserved.
    put_string(&mut out, b"");
    put_string(&mut out, b"sha256");
    put_string(&mut out, digest.as_bytes());
    out
}

/// `r ‖ s` of two numbers (RFC 5656 §3.1.2).
fn fixed(made: &[u8]) -> Result<Vec<u8>, AgentError> {
    let mut reader = Reader::new(made);
    let r = positive::<P256_COORDINATE_BYTES>(reader.string()?)?;
    let s = positive::<P256_COORDINATE_BYTES>(reader.string()?)?;
    reader.end()?;
    Ok([r, s].concat())
}

impl fmt::Display for AgentKey {
    /// `TYPE BASE64`, as a line of `authorized_keys` begins.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), STANDARD.encode(self.to_wire()))
    }
}

impl fmt::Debug for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.fingerprint())
    }
}

impl FromStr for AgentKey {
    type Err = AgentError;

    /// Reads `TYPE BASE64`, perhaps with a comment behind it.
    fn from_str(text: &str) -> Result<Self, AgentError> {
        if text.len() > KEY_TEXT_BYTES_MAX {
            return Err(AgentError::Key);
        }
        let mut words = text.split_ascii_whitespace();
        let (Some(kind), Some(bytes)) = (words.next(), words.next()) else { return Err(AgentError::Key) };
        let key = Self::from_wire(&STANDARD.decode(bytes).map_err(|_| AgentError::Key)?)?;
        if key.kind.name() == kind { Ok(key) } else { Err(AgentError::Key) }
    }
}

impl Serialize for AgentKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AgentKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let key: Self = text.parse().map_err(de::Error::custom)?;
        // One spelling a key, so that two rows with the same key are the same text.
        if key.to_string() == text { Ok(key) } else { Err(de::Error::custom(AgentError::Key)) }
    }
}

/// A signature as agents write it, of at most 512 bytes. It is public, and means nothing before it was verified.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentSignature(Vec<u8>);

impl AgentSignature {
    /// Takes a signature's bytes.
    ///
    /// # Errors
    /// [`AgentError::Malformed`] for more of them than any signature has.
    pub fn new(bytes: Vec<u8>) -> Result<Self, AgentError> {
        if bytes.len() <= SIGNATURE_BYTES_MAX { Ok(Self(bytes)) } else { Err(AgentError::Malformed) }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for AgentSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(&self.0))
    }
}

impl Serialize for AgentSignature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for AgentSignature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        // Four characters hold three bytes.
        let fits = text.len() <= SIGNATURE_BYTES_MAX.div_ceil(3) * 4;
        let bytes = fits.then(|| STANDARD.decode(&*text).ok()).flatten();
        bytes.and_then(|bytes| Self::new(bytes).ok()).ok_or_else(|| de::Error::custom(AgentError::Malformed))
    }
}
