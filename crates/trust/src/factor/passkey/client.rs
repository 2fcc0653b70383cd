//! `clientDataJSON`: what the browser says it was asked, on which page (§5.8.1).

#![deny(clippy::indexing_slicing)]

use serde::{Deserialize, Serialize};

use super::{Challenge, PasskeyError, RelyingParty};

/// Largest client data in bytes; browsers write some 150.
pub(super) const CLIENT_DATA_BYTES_MAX: usize = 8 << 10;

/// What the browser was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ceremony {
    /// `navigator.credentials.create()`.
    Create,
    /// `navigator.credentials.get()`.
    Get,
}

impl Ceremony {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Create => "webauthn.create",
            Self::Get => "webauthn.get",
        }
    }
}

/// The members that are looked at. Others may come and are ignored (§5.8.1); one that comes twice is an error.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientData {
    #[serde(rename = "type")]
    ceremony: String,
    challenge: String,
    origin: String,
    cross_origin: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_origin: Option<String>,
}

/// Checks that the client data answers this question (§7.1 steps 5 to 12, §7.2 steps 8 to 15).
pub(super) fn check(
    bytes: &[u8],
    ceremony: Ceremony,
    party: &RelyingParty,
    challenge: &Challenge,
) -> Result<(), PasskeyError> {
    if bytes.len() > CLIENT_DATA_BYTES_MAX {
        return Err(PasskeyError::TooLarge { what: "client data", bytes: bytes.len(), limit: CLIENT_DATA_BYTES_MAX });
    }
    let data: ClientData = serde_json::from_slice(bytes).map_err(|_| PasskeyError::ClientData)?;
    if data.ceremony != ceremony.name() {
        return Err(PasskeyError::Ceremony);
    }
    if !challenge.is(&data.challenge) {
        return Err(PasskeyError::Challenge);
    }
    if !party.origins().contains(&data.origin) {
        return Err(PasskeyError::Origin);
    }
    if data.cross_origin == Some(true) || data.top_origin.is_some() {
        return Err(PasskeyError::CrossOrigin);
    }
    Ok(())
}

/// The client data that answers this question on a page of `origin`, as browsers spell it (§5.8.1.1).
pub(super) fn answer(ceremony: Ceremony, origin: &str, challenge: &Challenge) -> Result<Vec<u8>, PasskeyError> {
    let data = ClientData {
        ceremony: ceremony.name().to_owned(),
        challenge: challenge.to_string(),
        origin: origin.to_owned(),
        cross_origin: Some(false),
        top_origin: None,
    };
    serde_json::to_vec(&data).map_err(|_| PasskeyError::ClientData)
}
