//! The public key of a credential, as a COSE_Key (RFC 9052 §7) in CTAP2's canonical form.
//!
//! Three algorithms (RFC 9053 §2, RFC 8812 §2): ES256 on P-256, EdDSA with Ed25519, RS256. A key has one spelling here,
//! whatever order its authenticator wrote it in; anything beside the members that its type demands is refused
//! (WebAuthn §6.5.1.1).

#![deny(clippy::indexing_slicing)]

use std::fmt;

use ringfence_schema::Digest;
use serde::{Deserialize, Serialize, de};

use super::{
    PasskeyError, base64url,
    cbor::{self, Key, NotCbor, Reader},
};
use crate::foreign_key::{EcdsaForm, ForeignKey, RSA_EXPONENT};

/// Largest COSE_Key in bytes: an RSA key of 4,096 bits with its labels.
pub(super) const COSE_KEY_BYTES_MAX: usize = 640;

/// Labels of a COSE_Key.
const KTY: i64 = 1;
const ALG: i64 = 3;
/// The curve, or the modulus of RSA.
const CRV_OR_N: i64 = -1;
/// The x coordinate, or the exponent of RSA.
const X_OR_E: i64 = -2;
const Y: i64 = -3;
/// Types and curves.
const KTY_OKP: i64 = 1;
const KTY_EC2: i64 = 2;
const KTY_RSA: i64 = 3;
const CRV_P256: i64 = 1;
const CRV_ED25519: i64 = 6;

/// How a credential signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl Algorithm {
    /// Every algorithm, the preferred one first.
    pub const ALL: [Self; 3] = [Self::EdDsa, Self::Es256, Self::Rs256];

    /// Its number in the COSE registry.
    pub const fn cose(self) -> i64 {
        match self {
            Self::EdDsa => -8,
            Self::Es256 => -7,
            Self::Rs256 => -257,
        }
    }
}

/// A public key that verifies assertions.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(ForeignKey);

/// The members that a COSE_Key may have here.
#[derive(Default)]
struct Members<'a> {
    kty: Option<i64>,
    alg: Option<i64>,
    crv: Option<i64>,
    /// x, or the exponent.
    first: Option<&'a [u8]>,
    /// y.
    second: Option<&'a [u8]>,
    modulus: Option<&'a [u8]>,
}

impl PublicKey {
    /// The key of an Elliptic curve point or of Ed25519 that this crate holds.
    pub(super) fn new(key: ForeignKey) -> Self {
        Self(key)
    }

    /// Reads a COSE_Key that fills `bytes`.
    ///
    /// # Errors
    /// [`PasskeyError::Algorithm`] for another algorithm than [`Algorithm::ALL`], [`PasskeyError::Key`] for everything else.
    pub fn from_cose(bytes: &[u8]) -> Result<Self, PasskeyError> {
        if bytes.len() > COSE_KEY_BYTES_MAX {
            return Err(PasskeyError::Key);
        }
        let mut reader = Reader::new(bytes);
        let key = Self::read(&mut reader)?;
        if reader.rest().is_empty() { Ok(key) } else { Err(PasskeyError::Key) }
    }

    /// Reads a COSE_Key at the front of what is left.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, PasskeyError> {
        let members = Members::read(reader).map_err(|NotCbor| PasskeyError::Key)?;
        let number = members.alg.ok_or(PasskeyError::Key)?;
        let algorithm = Algorithm::ALL.into_iter().find(|known| known.cose() == number);
        let algorithm = algorithm.ok_or(PasskeyError::Algorithm { cose: number })?;
        let key = match (algorithm, members) {
            (
                Algorithm::Es256,
                Members {
                    kty: Some(KTY_EC2), crv: Some(CRV_P256), first: Some(x), second: Some(y), modulus: None, ..
                },
            ) => ForeignKey::p256(x, y),
            (
                Algorithm::EdDsa,
                Members {
                    kty: Some(KTY_OKP), crv: Some(CRV_ED25519), first: Some(x), second: None, modulus: None, ..
                },
            ) => ForeignKey::ed25519(x),
            (
                Algorithm::Rs256,
                Members { kty: Some(KTY_RSA), crv: None, first: Some(e), second: None, modulus: Some(n), .. },
            ) => ForeignKey::rsa(n, e),
            _ => None,
        };
        key.map(Self).ok_or(PasskeyError::Key)
    }

    /// The COSE_Key in CTAP2's canonical form.
    pub fn to_cose(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(COSE_KEY_BYTES_MAX);
        let start = |entries, kty, out: &mut Vec<u8>| {
            cbor::write_map(entries, out);
            for number in [KTY, kty, ALG, self.algorithm().cose()] {
                cbor::write_integer(number, out);
            }
        };
        let bytes = |label, bytes: &[u8], out: &mut Vec<u8>| {
            cbor::write_integer(label, out);
            cbor::write_bytes(bytes, out);
        };
        match &self.0 {
            ForeignKey::P256(point) => {
                let (_, coordinates) = point.split_at(1);
                let (x, y) = coordinates.split_at(coordinates.len() / 2);
                start(5, KTY_EC2, &mut out);
                cbor::write_integer(CRV_OR_N, &mut out);
                cbor::write_integer(CRV_P256, &mut out);
                bytes(X_OR_E, x, &mut out);
                bytes(Y, y, &mut out);
            }
            ForeignKey::Ed25519(key) => {
                start(4, KTY_OKP, &mut out);
                cbor::write_integer(CRV_OR_N, &mut out);
                cbor::write_integer(CRV_ED25519, &mut out);
                bytes(X_OR_E, key, &mut out);
            }
            ForeignKey::Rsa(modulus) => {
                start(4, KTY_RSA, &mut out);
                bytes(CRV_OR_N, modulus, &mut out);
                bytes(X_OR_E, &RSA_EXPONENT, &mut out);
            }
        }
        out
    }

    /// How it verifies.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            ForeignKey::P256(_) => Algorithm::Es256,
            ForeignKey::Ed25519(_) => Algorithm::EdDsa,
            ForeignKey::Rsa(_) => Algorithm::Rs256,
        }
    }

    /// SHA-256 of [`PublicKey::to_cose`]: how the key is called.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(&self.to_cose())
    }

    /// Whether `signature` is this key's on `message`; ECDSA signatures in DER (WebAuthn §6.5.5).
    #[must_use]
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verifies(message, signature, EcdsaForm::Der)
    }
}

impl<'a> Members<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, NotCbor> {
        let mut members = Self::default();
        for _ in 0..reader.map()? {
            let Key::Integer(label) = reader.key()? else { return Err(NotCbor) };
            let repeated = match label {
                KTY => members.kty.replace(reader.integer()?).is_some(),
                ALG => members.alg.replace(reader.integer()?).is_some(),
                // RSA's modulus is bytes where the others' curve is a number.
                CRV_OR_N => {
                    let mut ahead = *reader;
                    let repeated = members.crv.is_some() || members.modulus.is_some();
                    match ahead.integer() {
                        Ok(curve) => {
                            *reader = ahead;
                            members.crv = Some(curve);
                        }
                        Err(NotCbor) => members.modulus = Some(reader.bytes()?),
                    }
                    repeated
                }
                X_OR_E => members.first.replace(reader.bytes()?).is_some(),
                Y => members.second.replace(reader.bytes()?).is_some(),
                _ => return Err(NotCbor),
            };
            if repeated {
                return Err(NotCbor);
            }
        }
        Ok(members)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} key {}", self.algorithm(), self.fingerprint().short())
    }
}

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64url::encode(&self.to_cose()))
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let bytes = base64url::decode(&text, COSE_KEY_BYTES_MAX).ok_or_else(|| de::Error::custom("not a COSE key"))?;
        let key = Self::from_cose(&bytes).map_err(de::Error::custom)?;
        // One spelling a key, so that two rows with the same key are the same text.
        if key.to_cose() == bytes { Ok(key) } else { Err(de::Error::custom("not the canonical form of a COSE key")) }
    }
}
