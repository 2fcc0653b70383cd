//! DSSE v1 envelopes (<https://github.com/secure-systems-lab/dsse>, protocol 1.0.0), in one spelling only.
//!
//! A file is the RFC 8785 form of the JSON envelope: canonical base64, at least one signature, signatures sorted by
//! `keyid`, each by a known key, each valid. [`open`] refuses everything else, so any changed byte shows, also one
//! that other readers would overlook (white space, an unsigned `keyid`, padding bits, a signature of a stranger).

#![deny(clippy::indexing_slicing)]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ringfence_schema::canon::{self, CanonError};
use serde::{Deserialize, Serialize};

use crate::{
    keys::KeyRole,
    sign::{SIGNATURE_BYTES, SignError, Signature, SigningKey, VerifyingKey},
};

/// Largest envelope in bytes.
pub const ENVELOPE_BYTES_MAX: usize = 64 << 20;
/// Most signatures in one envelope.
pub const SIGNATURES_MAX: usize = 64;

/// What an envelope may hold. Each type is signed by keys of its own roles only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PayloadType {
    /// An in-toto statement.
    InToto,
    /// A trust root.
    Root,
    /// A manifest of the store.
    Manifest,
}

impl PayloadType {
    /// The media type that is signed with the payload.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InToto => "application/vnd.in-toto+json",
            Self::Root => "application/vnd.ringfence.root+json",
            Self::Manifest => "application/vnd.ringfence.manifest",
        }
    }

    /// Whether keys of this role sign such payloads.
    pub const fn is_signed_by(self, role: KeyRole) -> bool {
        matches!(
            (self, role),
            (Self::InToto, KeyRole::Evidence | KeyRole::Release)
                | (Self::Root, KeyRole::Root)
                | (Self::Manifest, KeyRole::Ref)
        )
    }
}

/// Why an envelope was not made or not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DsseError {
    /// Over [`ENVELOPE_BYTES_MAX`].
    #[error("envelope of {bytes} bytes, limit is {ENVELOPE_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not the canonical JSON of an envelope.
    #[error("envelope: {0}")]
    Canon(#[from] CanonError),
    /// A field is not canonical base64 of the right length.
    #[error("envelope: `{field}` is not canonical base64 of the right length")]
    Base64 {
        /// Which.
        field: &'static str,
    },
    /// The payload is of another type.
    #[error("envelope holds another type of payload than `{}`", expected.name())]
    PayloadType {
        /// What was expected.
        expected: PayloadType,
    },
    /// A key of this role does not sign such payloads.
    #[error("a key of role `{role}` does not sign `{}`", payload_type.name())]
    Role {
        /// The key's role.
        role: KeyRole,
        /// What was to be signed.
        payload_type: PayloadType,
    },
    /// No signatures, or more than [`SIGNATURES_MAX`].
    #[error("envelope with {count} signatures, allowed are 1 to {SIGNATURES_MAX}")]
    SignatureCount {
        /// How many there are.
        count: usize,
    },
    /// Signatures out of order, or two by one key.
    #[error("the envelope's signatures are not in order")]
    SignatureOrder,
    /// A signature by a key that is not known here.
    #[error("envelope signed by unknown key `{key_id}`")]
    UnknownKey {
        /// Its `keyid`, cut to 80 characters.
        key_id: String,
    },
    /// A signature does not hold.
    #[error("envelope: {0}")]
    Signature(#[from] SignError),
}

/// An envelope whose form was checked, but no signature yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    signatures: Vec<(String, Signature)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<WireSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSignature {
    keyid: String,
    sig: String,
}

/// A payload whose signatures all hold, and who signed it, sorted by `keyid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    payload: Vec<u8>,
    signers: Vec<VerifyingKey>,
}

impl Opened {
    /// The signed bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Who signed them; at least one key, each once.
    pub fn signers(&self) -> &[VerifyingKey] {
        &self.signers
    }
}

/// The pre-authentication encoding, which is what is signed: type and payload behind their lengths.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    let mut out = Vec::with_capacity(head.len() + payload.len());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(payload);
    out
}

/// Signs `payload` with every key and yields the file.
pub fn seal(payload_type: PayloadType, payload: &[u8], keys: &[&SigningKey]) -> Result<Vec<u8>, DsseError> {
    let message = pae(payload_type.name(), payload);
    let mut signatures = Vec::with_capacity(keys.len());
    for key in keys {
        if !payload_type.is_signed_by(key.role()) {
            return Err(DsseError::Role { role: key.role(), payload_type });
        }
        signatures.push((key_id(&key.verifying_key()), key.sign(&message)?));
    }
    signatures.sort_by(|a, b| a.0.cmp(&b.0));
    let envelope = Envelope { payload_type: payload_type.name().to_owned(), payload: payload.to_vec(), signatures };
    envelope.check_signatures()?;
    envelope.to_file()
}

/// Checks a file and all its signatures against the `known` keys.
pub fn open(file: &[u8], payload_type: PayloadType, known: &[VerifyingKey]) -> Result<Opened, DsseError> {
    Envelope::parse(file)?.verify(payload_type, known)
}

/// The `keyid` of a key: its fingerprint in hexadecimal.
pub fn key_id(key: &VerifyingKey) -> String {
    key.fingerprint().hex()
}

impl Envelope {
    /// Reads a file's form. Signatures are not checked: see [`Envelope::verify`].
    pub fn parse(file: &[u8]) -> Result<Self, DsseError> {
        if file.len() > ENVELOPE_BYTES_MAX {
            return Err(DsseError::TooLarge { bytes: file.len() });
        }
        let wire: Wire = canon::from_canonical(file)?;
        let payload = STANDARD.decode(&wire.payload).map_err(|_| DsseError::Base64 { field: "payload" })?;
        let mut signatures = Vec::new();
        for WireSignature { keyid, sig } in wire.signatures {
            let raw = STANDARD.decode(&sig).ok().and_then(|raw| <[u8; SIGNATURE_BYTES]>::try_from(raw).ok());
            signatures.push((keyid, Signature::from_bytes(raw.ok_or(DsseError::Base64 { field: "sig" })?)));
        }
        let envelope = Self { payload_type: wire.payload_type, payload, signatures };
        envelope.check_signatures()?;
        Ok(envelope)
    }

    /// The file's bytes.
    fn to_file(&self) -> Result<Vec<u8>, DsseError> {
        let signatures = self.signatures.iter().map(|(keyid, signature)| WireSignature {
            keyid: keyid.clone(),
            sig: STANDARD.encode(signature.as_bytes()),
        });
        let wire = Wire {
            payload: STANDARD.encode(&self.payload),
            payload_type: self.payload_type.clone(),
            signatures: signatures.collect(),
        };
        let file = canon::to_canonical(&wire)?;
        if file.len() > ENVELOPE_BYTES_MAX { Err(DsseError::TooLarge { bytes: file.len() }) } else { Ok(file) }
    }

    fn check_signatures(&self) -> Result<(), DsseError> {
        let count = self.signatures.len();
        if !(1..=SIGNATURES_MAX).contains(&count) {
            return Err(DsseError::SignatureCount { count });
        }
        if self.signatures.iter().zip(self.signatures.iter().skip(1)).any(|(a, b)| a.0 >= b.0) {
            return Err(DsseError::SignatureOrder);
        }
        Ok(())
    }

    /// The payload, before any check of who signed it: to find out which root it needs, never to act upon.
    pub fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }

    /// Its payload type, unverified.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The `keyid`s that claim to have signed it.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.signatures.iter().map(|(key_id, _)| key_id.as_str())
    }

    /// Checks the type and that every signature is by one of the `known` keys and holds.
    pub fn verify(self, payload_type: PayloadType, known: &[VerifyingKey]) -> Result<Opened, DsseError> {
        if self.payload_type != payload_type.name() {
            return Err(DsseError::PayloadType { expected: payload_type });
        }
        let message = pae(&self.payload_type, &self.payload);
        let mut signers = Vec::with_capacity(self.signatures.len());
        for (id, signature) in &self.signatures {
            let key = known.iter().find(|key| key_id(key) == *id);
            let key = key.ok_or_else(|| DsseError::UnknownKey { key_id: id.chars().take(80).collect() })?;
            key.verify(&message, signature)?;
            signers.push(*key);
        }
        Ok(Opened { payload: self.payload, signers })
    }
}
