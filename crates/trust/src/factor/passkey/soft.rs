//! A passkey in a file, for the command line: an ES256 key that is sealed under a passphrase.
//!
//! It answers as an authenticator and as a browser, so what it registers and signs is verified like any other passkey. The
//! passphrase is the user verification: whoever holds a [`SoftKey`] has opened it. It says what it is by
//! [`SOFT_KEY_AAGUID`], and that it is bound to its device.
//!
//! What must stay true: the key is in the clear in memory alone, and signs for the origins of its relying party alone.
//! A copied file with its passphrase is a copied passkey: nothing counts its uses.
//!
//! `docs/format.md` has the file, `ringfence.passkey/1`.

#![deny(clippy::indexing_slicing)]

use std::{fmt, io::Read as _, path::Path};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    Aaguid, Assertion, Challenge, CredentialId, PasskeyError, PublicKey, Registration, UserHandle,
    authenticator::{self, Attested},
    client::{self, Ceremony},
    credential::signed_bytes,
    party,
};
use crate::{
    base64url,
    entropy::{self, Entropy},
    foreign_key::{ForeignKey, P256_COORDINATE_BYTES},
    keys::{KdfParams, Kek, KekError, KeyFileError, key_file},
    seal::committed::{self, OVERHEAD_BYTES, OpenFailure},
    secret::{Passphrase, SECRET_BYTES, Secret},
};

/// What soft keys call themselves. A claim, as every AAGUID is.
pub const SOFT_KEY_AAGUID: Aaguid = Aaguid::from_bytes([
    0x7a, 0x1c, 0x0e, 0x52, 0x93, 0xd4, 0x4b, 0x6f, 0xa8, 0x35, 0x60, 0xf2, 0x1d, 0xc9, 0x4e, 0x87,
]);

/// Name and version of the file.
const FORMAT: &str = "ringfence.passkey/1";
/// Largest file in bytes.
const FILE_BYTES_MAX: u64 = 8 << 10;
/// Length of a fresh credential id in bytes.
const FRESH_ID_BYTES: usize = 32;
/// Length of a sealed key in bytes.
const SEALED_BYTES: usize = OVERHEAD_BYTES + SECRET_BYTES;
/// Most random numbers that are tried as a key; one in 2³² is none.
const TRIES_MAX: usize = 8;

/// Why there is no soft key, or it does not sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SoftKeyError {
    /// The file could not be read or made.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The passphrase's parameters are out of bounds, or there is no memory for them.
    #[error(transparent)]
    Passphrase(#[from] KekError),
    /// Another passphrase.
    #[error("the passphrase is not this key's")]
    WrongPassphrase,
    /// Not a soft key's file, or a changed one.
    #[error("the passkey's file is damaged or not a passkey's")]
    Damaged,
    /// The page is none of the relying party's: somebody else asks.
    #[error("this passkey is for `{rp_id}` and signs for no other")]
    Origin {
        /// Whom it is for.
        rp_id: String,
    },
    /// The library failed; not caused by input.
    #[error("the signature library failed")]
    Library,
}

/// An opened key.
pub struct SoftKey {
    name: Name,
    scalar: Secret,
    pair: EcdsaKeyPair,
}

/// What is public of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Name {
    rp_id: String,
    credential_id: CredentialId,
    user_handle: UserHandle,
    public_key: PublicKey,
}

/// A key as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedSoftKey {
    format: String,
    key: Name,
    kdf: KdfParams,
    sealed: String,
}

impl SoftKey {
    /// A new key of the person `user` for the relying party `rp_id`.
    pub fn generate(rp_id: &str, user: &UserHandle, entropy: &mut dyn Entropy) -> Result<Self, SoftKeyError> {
        let id = entropy::bytes::<FRESH_ID_BYTES>(entropy).to_vec();
        let credential_id = CredentialId::new(id).map_err(|_| SoftKeyError::Library)?;
        for _ in 0..TRIES_MAX {
            let scalar = Secret::random(entropy);
            if let Some((pair, public_key)) = pair_of(&scalar) {
                let name = Name { rp_id: rp_id.to_owned(), credential_id, user_handle: user.clone(), public_key };
                return Ok(Self { name, scalar, pair });
            }
        }
        Err(SoftKeyError::Library)
    }

    /// Seals it under `passphrase`; [`KdfParams::unseal`] makes the parameters of a key that is worth its second.
    pub fn seal(
        &self,
        passphrase: &Passphrase,
        kdf: KdfParams,
        entropy: &mut dyn Entropy,
    ) -> Result<SealedSoftKey, SoftKeyError> {
        let kek = Kek::from_passphrase(passphrase, &kdf)?;
        let sealed = committed::seal(kek.secret(), entropy, &self.name.binding(), self.scalar.expose());
        let sealed = base64url::encode(&sealed.map_err(|_| SoftKeyError::Library)?);
        Ok(SealedSoftKey { format: FORMAT.to_owned(), key: self.name.clone(), kdf, sealed })
    }

    /// The relying party that it is for.
    pub fn rp_id(&self) -> &str {
        &self.name.rp_id
    }

    /// Its name.
    pub fn credential_id(&self) -> &CredentialId {
        &self.name.credential_id
    }

    /// Whose it is.
    pub fn user_handle(&self) -> &UserHandle {
        &self.name.user_handle
    }

    /// Answers a page of `origin` that asks for a new passkey.
    ///
    /// # Errors
    /// [`SoftKeyError::Origin`] for an origin that is not of its relying party.
    pub fn register(&self, origin: &str, challenge: &Challenge) -> Result<Registration, SoftKeyError> {
        let client_data_json = self.client_data(Ceremony::Create, origin, challenge)?;
        let Name { rp_id, credential_id, public_key, .. } = &self.name;
        let attested =
            Attested { aaguid: SOFT_KEY_AAGUID, credential_id: credential_id.clone(), public_key: public_key.clone() };
        let data = authenticator::write(rp_id, Some(&attested));
        Ok(Registration {
            credential_id: credential_id.clone(),
            client_data_json,
            attestation_object: authenticator::write_attestation(&data),
            transports: vec!["internal".to_owned()],
        })
    }

    /// Signs `challenge` for a page of `origin`.
    ///
    /// # Errors
    /// [`SoftKeyError::Origin`] for an origin that is not of its relying party.
    pub fn assert(&self, origin: &str, challenge: &Challenge) -> Result<Assertion, SoftKeyError> {
        let client_data_json = self.client_data(Ceremony::Get, origin, challenge)?;
        let authenticator_data = authenticator::write(&self.name.rp_id, None);
        let signed = signed_bytes(&authenticator_data, &client_data_json);
        let signature = self.pair.sign(&SystemRandom::new(), &signed).map_err(|_| SoftKeyError::Library)?;
        Ok(Assertion {
            credential_id: self.name.credential_id.clone(),
            authenticator_data,
            client_data_json,
            signature: signature.as_ref().to_vec(),
            user_handle: Some(self.name.user_handle.clone()),
        })
    }

    fn client_data(&self, ceremony: Ceremony, origin: &str, challenge: &Challenge) -> Result<Vec<u8>, SoftKeyError> {
        if !party::is_origin_of(&self.name.rp_id, origin) {
            return Err(SoftKeyError::Origin { rp_id: self.name.rp_id.clone() });
        }
        client::answer(ceremony, origin, challenge).map_err(|_: PasskeyError| SoftKeyError::Library)
    }
}

impl fmt::Debug for SoftKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftKey").field("name", &self.name).field("scalar", &self.scalar).finish_non_exhaustive()
    }
}

impl Name {
    /// What a sealed key is bound to: every public field.
    fn binding(&self) -> Vec<u8> {
        committed::frame(&[
            FORMAT.as_bytes(),
            self.rp_id.as_bytes(),
            self.credential_id.as_bytes(),
            self.user_handle.as_bytes(),
            &self.public_key.to_cose(),
        ])
    }
}

impl SealedSoftKey {
    /// Opens it.
    ///
    /// # Errors
    /// [`SoftKeyError::WrongPassphrase`], [`SoftKeyError::Damaged`] for a changed file, [`SoftKeyError::Passphrase`] for
    /// parameters out of bounds.
    pub fn open(&self, passphrase: &Passphrase) -> Result<SoftKey, SoftKeyError> {
        if self.format != FORMAT {
            return Err(SoftKeyError::Damaged);
        }
        let sealed = base64url::decode(&self.sealed, SEALED_BYTES).ok_or(SoftKeyError::Damaged)?;
        let kek = Kek::from_passphrase(passphrase, &self.kdf)?;
        let opened = committed::open(kek.secret(), &self.key.binding(), &sealed).map(Zeroizing::new);
        let opened = opened.map_err(|failure| match failure {
            OpenFailure::WrongKey => SoftKeyError::WrongPassphrase,
            OpenFailure::Tampered | OpenFailure::Truncated => SoftKeyError::Damaged,
        })?;
        let raw: &[u8; SECRET_BYTES] = opened.as_slice().try_into().map_err(|_| SoftKeyError::Damaged)?;
        let mut scalar = Secret::empty();
        scalar.expose_mut().copy_from_slice(raw);
        match pair_of(&scalar) {
            Some((pair, public_key)) if public_key == self.key.public_key => {
                Ok(SoftKey { name: self.key.clone(), scalar, pair })
            }
            _ => Err(SoftKeyError::Damaged),
        }
    }

    /// The relying party that it is for.
    pub fn rp_id(&self) -> &str {
        &self.key.rp_id
    }

    /// Its name.
    pub fn credential_id(&self) -> &CredentialId {
        &self.key.credential_id
    }

    /// Writes a new file for this user alone (mode 0600); never overwrites. It is on disk when this returns.
    pub fn save(&self, path: &Path) -> Result<(), SoftKeyError> {
        let mut text = serde_json::to_vec_pretty(self).map_err(|_| SoftKeyError::Library)?;
        text.push(b'\n');
        Ok(key_file::create_private(path, &text)?)
    }

    /// Reads a file, which must be a regular one of this user's with mode 0600.
    pub fn load(path: &Path) -> Result<Self, SoftKeyError> {
        let (file, bytes) = key_file::open_private(path)?;
        if bytes > FILE_BYTES_MAX {
            return Err(SoftKeyError::Damaged);
        }
        let mut text = Vec::new();
        let read = file.take(FILE_BYTES_MAX).read_to_end(&mut text);
        read.map_err(|source| KeyFileError::Io { path: path.to_owned(), source })?;
        serde_json::from_slice(&text).map_err(|_| SoftKeyError::Damaged)
    }
}

/// The key pair of a number between one and the curve's order, else `None`.
fn pair_of(scalar: &Secret) -> Option<(EcdsaKeyPair, PublicKey)> {
    // An ECPrivateKey (RFC 5915) on prime256v1 without the public half, which the library works out.
    let mut der = Zeroizing::new(Vec::with_capacity(64));
    der.extend_from_slice(&[0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20]);
    der.extend_from_slice(scalar.expose());
    der.extend_from_slice(&[0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]);
    let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, &der).ok()?;
    let (_, coordinates) = pair.public_key().as_ref().split_first()?;
    let (x, y) = coordinates.split_at_checked(P256_COORDINATE_BYTES)?;
    let public_key = PublicKey::new(ForeignKey::p256(x, y)?);
    Some((pair, public_key))
}
