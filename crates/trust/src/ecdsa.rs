//! ECDSA keys on NIST P-256, P-384 and P-521 as PEM files, for OpenSSF Model Signing only; Ringfence's own signatures are
//! Ed25519.
//!
//! Each curve has its hash: SHA-256, SHA-384, SHA-512. A key's *hint* is the SHA-256 of its PEM text as `model-signing`
//! writes it. Absent on purpose: encrypted private keys (they are refused by name) and curves with explicit parameters.

#![deny(clippy::indexing_slicing)]

use std::fmt;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
        ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_ASN1_SIGNING,
        EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair as _, UnparsedPublicKey,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ringfence_schema::Digest;
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use zeroize::Zeroize as _;

/// Largest key file in bytes.
pub const KEY_FILE_BYTES_MAX: usize = 64 << 10;
/// Characters of base64 in one line of PEM.
const PEM_LINE: usize = 64;

/// Why there is no key, or a signature does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EcdsaError {
    /// Over [`KEY_FILE_BYTES_MAX`].
    #[error("key file of {bytes} bytes, limit is {KEY_FILE_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The private key is encrypted; decrypt it (`openssl pkcs8 -in KEY -out PLAIN`) into a file that only you can read.
    #[error("the private key is encrypted, and only plain ones are read")]
    Encrypted,
    /// No key of the wanted kind in the file.
    #[error("no {wanted} in PEM form on the curve P-256, P-384 or P-521")]
    NotAKey {
        /// What was wanted.
        wanted: &'static str,
    },
    /// The library failed to sign; not caused by input.
    #[error("the signature library failed")]
    Library,
    /// Not a signature of these bytes by this key.
    #[error("the ECDSA signature does not hold")]
    Invalid,
}

/// A curve, with the hash that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Curve {
    /// secp256r1 with SHA-256.
    P256,
    /// secp384r1 with SHA-384.
    P384,
    /// secp521r1 with SHA-512.
    P521,
}

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// The DER of a `SubjectPublicKeyInfo` (RFC 5480) up to the uncompressed point.
    const fn spki_head(self) -> &'static [u8] {
        match self {
            Self::P256 => &[
                0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
                0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
            ],
            Self::P384 => &[
                0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81,
                0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
            ],
            Self::P521 => &[
                0x30, 0x81, 0x9b, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
                0x81, 0x04, 0x00, 0x23, 0x03, 0x81, 0x86, 0x00,
            ],
        }
    }

    /// Length of an uncompressed point in bytes.
    const fn point_bytes(self) -> usize {
        match self {
            Self::P256 => 65,
            Self::P384 => 97,
            Self::P521 => 133,
        }
    }

    fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        }
    }

    fn verifying(self, hash: CurveHash) -> &'static EcdsaVerificationAlgorithm {
        match (self, hash) {
            (Self::P256, _) => &ECDSA_P256_SHA256_ASN1,
            (Self::P384, CurveHash::Own) => &ECDSA_P384_SHA384_ASN1,
            (Self::P384, CurveHash::Sha256) => &ECDSA_P384_SHA256_ASN1,
            (Self::P521, CurveHash::Own) => &ECDSA_P521_SHA512_ASN1,
            (Self::P521, CurveHash::Sha256) => &ECDSA_P521_SHA256_ASN1,
        }
    }
}

/// Which hash a signature was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CurveHash {
    /// The one that belongs to the curve.
    Own,
    /// SHA-256 whatever the curve: certificate signatures of model-signing 0.2.
    Sha256,
}

/// The public half.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EcdsaPublicKey {
    curve: Curve,
    point: Vec<u8>,
}

impl EcdsaPublicKey {
    /// The first public key of a PEM file.
    pub fn from_pem(pem: &[u8]) -> Result<Self, EcdsaError> {
        let wanted = "public key";
        if pem.len() > KEY_FILE_BYTES_MAX {
            return Err(EcdsaError::TooLarge { bytes: pem.len() });
        }
        let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem).flatten();
        let der = sections.find(|(kind, _)| *kind == SectionKind::PublicKey);
        der.and_then(|(_, der)| Self::from_spki(&der)).ok_or(EcdsaError::NotAKey { wanted })
    }

    /// The key of a DER `SubjectPublicKeyInfo` with a named curve and an uncompressed point, else `None`.
    pub fn from_spki(der: &[u8]) -> Option<Self> {
        Curve::ALL.into_iter().find_map(|curve| Self::from_point(curve, der.strip_prefix(curve.spki_head())?))
    }

    fn from_point(curve: Curve, point: &[u8]) -> Option<Self> {
        let uncompressed = point.len() == curve.point_bytes() && point.first() == Some(&4);
        uncompressed.then(|| Self { curve, point: point.to_vec() })
    }

    /// Its curve.
    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// The PEM text, as OpenSSL writes it.
    pub fn to_pem(&self) -> String {
        let encoded = STANDARD.encode([self.curve.spki_head(), &self.point].concat());
        let mut text = String::from("-----BEGIN PUBLIC KEY-----\n");
        for (count, character) in encoded.chars().enumerate() {
            if count > 0 && count % PEM_LINE == 0 {
                text.push('\n');
            }
            text.push(character);
        }
        text.push_str("\n-----END PUBLIC KEY-----\n");
        text
    }

    /// SHA-256 of the PEM text in hexadecimal: how bundles name the key.
    pub fn hint(&self) -> String {
        Digest::of(self.to_pem().as_bytes()).hex()
    }

    /// Checks an ASN.1 DER signature of `message`.
    pub(crate) fn verify(&self, hash: CurveHash, message: &[u8], signature: &[u8]) -> Result<(), EcdsaError> {
        UnparsedPublicKey::new(self.curve.verifying(hash), &self.point)
            .verify(message, signature)
            .map_err(|_| EcdsaError::Invalid)
    }
}

impl fmt::Debug for EcdsaPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} key {}", self.curve, self.hint())
    }
}

/// The secret half.
pub struct EcdsaKey {
    pair: EcdsaKeyPair,
    public: EcdsaPublicKey,
}

impl EcdsaKey {
    /// The first private key of a PEM file (PKCS #8 or RFC 5915), unencrypted.
    pub fn from_pem(pem: &[u8]) -> Result<Self, EcdsaError> {
        let wanted = "private key";
        if pem.len() > KEY_FILE_BYTES_MAX {
            return Err(EcdsaError::TooLarge { bytes: pem.len() });
        }
        if pem.windows(b"ENCRYPTED".len()).any(|part| part == b"ENCRYPTED") {
            return Err(EcdsaError::Encrypted);
        }
        let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem).flatten();
        let found = sections.find(|(kind, _)| matches!(kind, SectionKind::PrivateKey | SectionKind::EcPrivateKey));
        let (_, mut der) = found.ok_or(EcdsaError::NotAKey { wanted })?;
        let key = Curve::ALL.into_iter().find_map(|curve| {
            let pair = EcdsaKeyPair::from_private_key_der(curve.signing(), &der).ok()?;
            let public = EcdsaPublicKey::from_point(curve, pair.public_key().as_ref())?;
            Some(Self { pair, public })
        });
        der.zeroize();
        key.ok_or(EcdsaError::NotAKey { wanted })
    }

    /// The public half.
    pub fn public_key(&self) -> &EcdsaPublicKey {
        &self.public
    }

    /// An ASN.1 DER signature of `message` with the curve's own hash.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, EcdsaError> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| EcdsaError::Library)?;
        Ok(signature.as_ref().to_vec())
    }
}

impl fmt::Debug for EcdsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EcdsaKey").field("public", &self.public).field("pair", &"[redacted]").finish()
    }
}
