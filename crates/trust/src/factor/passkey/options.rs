//! The questions: `PublicKeyCredentialCreationOptionsJSON` (§5.1.9) and `PublicKeyCredentialRequestOptionsJSON` (§5.1.10).
//!
//! They are what a page passes to `PublicKeyCredential.parseCreationOptionsFromJSON()` and its sibling. No extension is
//! asked for, and no attestation.

#![deny(clippy::indexing_slicing)]

use serde::Serialize;

use super::{Algorithm, Challenge, CredentialId, Passkey, RelyingParty, UserHandle, UserVerification};

/// How long a browser waits for the person, in milliseconds: what §15.1 recommends.
pub const TIMEOUT_MS: u64 = 300_000;

/// Somebody who gets a passkey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// What authenticators know them by.
    #[serde(rename = "id")]
    pub handle: UserHandle,
    /// What tells their accounts apart: the login name.
    pub name: String,
    /// How they are called.
    pub display_name: String,
}

/// What a page asks a browser for a new passkey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreationOptions {
    rp: Party,
    user: User,
    challenge: Challenge,
    pub_key_cred_params: Vec<Parameter>,
    timeout: u64,
    exclude_credentials: Vec<Descriptor>,
    authenticator_selection: Selection,
    attestation: &'static str,
}

/// What a page asks a browser for a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestOptions {
    challenge: Challenge,
    timeout: u64,
    rp_id: String,
    allow_credentials: Vec<Descriptor>,
    user_verification: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Party {
    id: String,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Parameter {
    #[serde(rename = "type")]
    kind: &'static str,
    alg: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Descriptor {
    #[serde(rename = "type")]
    kind: &'static str,
    id: CredentialId,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    transports: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Selection {
    resident_key: &'static str,
    require_resident_key: bool,
    user_verification: &'static str,
}

impl CreationOptions {
    /// Asks for a discoverable passkey of `user`, on an authenticator that holds none of `existing`. `shown` is how the
    /// relying party is called.
    pub fn new(party: &RelyingParty, shown: &str, user: User, challenge: &Challenge, existing: &[Passkey]) -> Self {
        Self {
            rp: Party { id: party.id().to_owned(), name: shown.to_owned() },
            user,
            challenge: *challenge,
            pub_key_cred_params: Algorithm::ALL
                .map(|algorithm| Parameter { kind: "public-key", alg: algorithm.cose() })
                .to_vec(),
            timeout: TIMEOUT_MS,
            exclude_credentials: descriptors(existing),
            authenticator_selection: Selection {
                resident_key: "required",
                require_resident_key: true,
                user_verification: demand(party),
            },
            attestation: "none",
        }
    }
}

impl RequestOptions {
    /// Asks for a signature by one of `allowed`, or by whatever passkey the person picks if that is empty: a login that
    /// needs no name, and tells nobody who has an account.
    pub fn new(party: &RelyingParty, challenge: &Challenge, allowed: &[Passkey]) -> Self {
        Self {
            challenge: *challenge,
            timeout: TIMEOUT_MS,
            rp_id: party.id().to_owned(),
            allow_credentials: descriptors(allowed),
            user_verification: demand(party),
        }
    }
}

fn descriptors(passkeys: &[Passkey]) -> Vec<Descriptor> {
    let descriptor = |passkey: &Passkey| Descriptor {
        kind: "public-key",
        id: passkey.credential_id.clone(),
        transports: passkey.transports.clone(),
    };
    passkeys.iter().map(descriptor).collect()
}

fn demand(party: &RelyingParty) -> &'static str {
    match party.verification() {
        UserVerification::Required => "required",
        UserVerification::Preferred => "preferred",
    }
}
