//! Public keys of others' signature schemes: ECDSA on P-256, Ed25519 and RSA, each with SHA-256 or its own hash.
//!
//! What authenticators (WebAuthn) and login providers (JWS) sign with. A key fixes its algorithm, so that nothing in a
//! message can choose another. Keys under which anybody could sign are refused when they are read: points off the curve or
//! of small order, an RSA exponent of one, moduli under 2,048 bits.

#![deny(clippy::indexing_slicing)]

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use subtle::ConstantTimeEq as _;

/// Length of a coordinate on P-256 in bytes.
pub(crate) const P256_COORDINATE_BYTES: usize = 32;
/// Length of an uncompressed point on P-256 in bytes.
pub(crate) const P256_POINT_BYTES: usize = 1 + 2 * P256_COORDINATE_BYTES;
/// Length of an Ed25519 key in bytes.
pub(crate) const ED25519_BYTES: usize = 32;
/// Shortest and longest modulus in bytes: 2,048 to 4,096 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
/// The one exponent that is taken: what TPMs and login providers use. Three and one are how keys are made to fail.
pub(crate) const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

/// How an ECDSA signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EcdsaForm {
    /// ASN.1 DER, as in WebAuthn §6.5.5.
    Der,
    /// `r ‖ s`, as in JWS (RFC 7518 §3.4).
    Fixed,
}

/// A public key that was found fit to be used.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum ForeignKey {
    /// ECDSA on P-256 with SHA-256: the uncompressed point.
    P256([u8; P256_POINT_BYTES]),
    /// Ed25519 (RFC 8032).
    Ed25519([u8; ED25519_BYTES]),
    /// RSASSA-PKCS1-v1_5 with SHA-256: the modulus, big-endian; the exponent is [`RSA_EXPONENT`].
    Rsa(Vec<u8>),
}

impl ForeignKey {
    /// The point with these coordinates, if it lies on the curve.
    pub(crate) fn p256(x: &[u8], y: &[u8]) -> Option<Self> {
        if x.len() != P256_COORDINATE_BYTES || y.len() != P256_COORDINATE_BYTES {
            return None;
        }
        let point = [&[4], x, y].concat();
        ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &point).ok()?;
        Some(Self::P256(point.try_into().ok()?))
    }

    /// The key with these bytes, unless it is a point of small order, under which one signature fits many messages.
    pub(crate) fn ed25519(bytes: &[u8]) -> Option<Self> {
        let key: [u8; ED25519_BYTES] = bytes.try_into().ok()?;
        ParsedPublicKey::new(&ED25519, key).ok()?;
        let mut unsigned = key;
        if let Some(last) = unsigned.last_mut() {
            *last &= 0x7f;
        }
        let small = SMALL_ORDER.iter().any(|point| point.ct_eq(&unsigned).into());
        (!small).then_some(Self::Ed25519(key))
    }

    /// The key with this modulus and exponent, both big-endian without leading zeros.
    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let first = modulus.first().copied().filter(|first| *first != 0)?;
        let odd = modulus.last().is_some_and(|last| last & 1 == 1);
        let long = modulus.len() > *RSA_BYTES.start() || first & 0x80 != 0;
        let fits = RSA_BYTES.contains(&modulus.len()) && long && odd && exponent == RSA_EXPONENT;
        fits.then(|| Self::Rsa(modulus.to_vec()))
    }

    /// Whether `signature` is this key's on `message`. `form` says how ECDSA signatures are written.
    #[must_use]
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8], form: EcdsaForm) -> bool {
        let outcome =
            match self {
                Self::P256(point) => {
                    let algorithm = match form {
                        EcdsaForm::Der => &ECDSA_P256_SHA256_ASN1,
                        EcdsaForm::Fixed => &ECDSA_P256_SHA256_FIXED,
                    };
                    UnparsedPublicKey::new(algorithm, point).verify(message, signature)
                }
                Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
                Self::Rsa(modulus) => RsaPublicKeyComponents { n: modulus.as_slice(), e: RSA_EXPONENT.as_slice() }
                    .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
            };
        outcome.is_ok()
    }
}

/// The y coordinates of the points of order 1, 2, 4 and 8, and those that are written beyond the field's prime.
const SMALL_ORDER: [[u8; ED25519_BYTES]; 7] = [
    [0; ED25519_BYTES],
    with_ends(0x01, 0, 0),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    with_ends(0xec, 0xff, 0x7f),
    with_ends(0xed, 0xff, 0x7f),
    with_ends(0xee, 0xff, 0x7f),
];

/// `first`, thirty times `middle`, `last`.
const fn with_ends(first: u8, middle: u8, last: u8) -> [u8; ED25519_BYTES] {
    let mut bytes = [middle; ED25519_BYTES];
    if let Some((head, _)) = bytes.split_first_mut() {
        *head = first;
    }
    if let Some((tail, _)) = bytes.split_last_mut() {
        *tail = last;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
    };

    use super::{EcdsaForm, ForeignKey, SMALL_ORDER};

    #[test]
    fn keys_under_which_anybody_could_sign_are_refused() {
        for mut point in SMALL_ORDER {
            assert!(ForeignKey::ed25519(&point).is_none());
            point[31] |= 0x80;
            assert!(ForeignKey::ed25519(&point).is_none());
        }
        let mut modulus = vec![0xff; 256];
        assert!(ForeignKey::rsa(&modulus, &[1, 0, 1]).is_some());
        for exponent in [&[1][..], &[3], &[0, 1, 0, 1], &[1, 0, 0], &[]] {
            assert!(ForeignKey::rsa(&modulus, exponent).is_none(), "{exponent:?}");
        }
        assert!(ForeignKey::rsa(&modulus[1..], &[1, 0, 1]).is_none());
        assert!(ForeignKey::rsa(&[0xff; 513], &[1, 0, 1]).is_none());
        modulus[0] = 0x7f; // 2,047 bits
        assert!(ForeignKey::rsa(&modulus, &[1, 0, 1]).is_none());
        modulus[0] = 0;
        assert!(ForeignKey::rsa(&modulus, &[1, 0, 1]).is_none());
        assert!(ForeignKey::p256(&[1; 32], &[1; 32]).is_none(), "off the curve");
        assert!(ForeignKey::p256(&[0; 32], &[0; 32]).is_none());
    }

    #[test]
    fn a_form_is_not_taken_for_the_other() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let key = ForeignKey::p256(&point[1..33], &point[33..]).unwrap();
        let fixed = pair.sign(&SystemRandom::new(), b"message").unwrap();
        assert!(key.verifies(b"message", fixed.as_ref(), EcdsaForm::Fixed));
        assert!(!key.verifies(b"message", fixed.as_ref(), EcdsaForm::Der));
        assert!(!key.verifies(b"messages", fixed.as_ref(), EcdsaForm::Fixed));
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let key = ForeignKey::ed25519(pair.public_key().as_ref()).unwrap();
        assert!(key.verifies(b"message", pair.sign(b"message").as_ref(), EcdsaForm::Der));
        assert!(!key.verifies(b"message", fixed.as_ref(), EcdsaForm::Fixed));
    }
}
