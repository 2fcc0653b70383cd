//! Keyless bundles: a short-lived certificate of Sigstore's authority, its log entry, and the identity in it, all checked
//! offline against a trusted root that the caller supplies.
//!
//! `sigstore-verify` does the checking (certificate path at the logged time, certificate transparency, inclusion proof and
//! checkpoint, signature, agreement of entry and envelope). Nothing is fetched: its network features are not built.

use std::fmt;

use ringfence_schema::{finding::printable, strict};
use serde_json::Value;
use sigstore_verify::{
    VerificationPolicy, Verifier, trust_root::TrustedRoot, types::Bundle as SigstoreBundle, types::Sha256Hash,
};

use super::OmsError;

/// Largest `trusted_root.json` in bytes.
pub const TRUSTED_ROOT_BYTES_MAX: usize = 4 << 20;

/// Keys of a Sigstore instance: its certificate authorities, logs and timestamp authorities.
pub struct KeylessRoot(Box<Verifier>);

impl KeylessRoot {
    /// Reads a `trusted_root.json`, or a client trust configuration that holds one.
    pub fn from_json(json: &[u8]) -> Result<Self, OmsError> {
        let document = strict::value(json, TRUSTED_ROOT_BYTES_MAX)?;
        let inner = document.get("trustedRoot").unwrap_or(&document);
        let root = TrustedRoot::from_json(&inner.to_string()).map_err(|error| failed(&error))?;
        Ok(Self(Box::new(Verifier::new(&root).map_err(|error| failed(&error))?)))
    }
}

impl fmt::Debug for KeylessRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeylessRoot")
    }
}

/// Checks the whole bundle; its `payload` then is what `identity` signed.
pub(crate) fn verify(
    file: &[u8],
    payload: &[u8],
    root: &KeylessRoot,
    identity: &str,
    issuer: &str,
) -> Result<(), OmsError> {
    if identity.is_empty() || issuer.is_empty() {
        return Err(OmsError::Keyless { reason: "identity and issuer must both be named".to_owned() });
    }
    let text = std::str::from_utf8(file).map_err(|error| failed(&error))?;
    let bundle = SigstoreBundle::from_json(text).map_err(|error| failed(&error))?;
    // The signature is over the envelope; the library also wants an artifact that one of the subjects names.
    let statement = strict::value(payload, super::BUNDLE_BYTES_MAX)?;
    let subject = statement.pointer("/subject/0/digest/sha256").and_then(Value::as_str).unwrap_or_default();
    let digest = Sha256Hash::from_hex(subject).map_err(|error| failed(&error))?;
    let policy = VerificationPolicy::new(identity, issuer);
    root.0.verify(digest, &bundle, &policy).map_err(|error| failed(&error))?;
    Ok(())
}

fn failed(error: &dyn std::error::Error) -> OmsError {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        reason.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    OmsError::Keyless { reason: printable(&reason, 400) }
}
