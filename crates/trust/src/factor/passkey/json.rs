//! What browsers send: `RegistrationResponseJSON` and `AuthenticationResponseJSON` (§5.1.8), in and out.
//!
//! Members that are derived from others (`publicKey`, `authenticatorData` of a registration) and extensions' results are
//! ignored: what counts is what was signed or attested.

#![deny(clippy::indexing_slicing)]

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    CREDENTIAL_ID_BYTES, CredentialId, PasskeyError, UserHandle,
    authenticator::{ATTESTATION_BYTES_MAX, AUTHENTICATOR_DATA_BYTES_MAX},
    client::CLIENT_DATA_BYTES_MAX,
};
use crate::base64url;

/// Largest document in bytes.
pub const JSON_BYTES_MAX: usize = 64 << 10;
/// Most hints at how a credential is reached.
const TRANSPORTS_MAX: usize = 8;
/// Longest hint in bytes.
const TRANSPORT_BYTES_MAX: usize = 32;
/// Longest signature that is read, in bytes.
const SIGNATURE_BYTES_MAX: usize = 1 << 10;
/// The one type of credential.
const PUBLIC_KEY: &str = "public-key";

/// A new credential, as a browser hands it over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RegistrationJson", into = "RegistrationJson")]
pub struct Registration {
    /// Its name, outside of what the authenticator says.
    pub credential_id: CredentialId,
    /// What the browser was asked.
    pub client_data_json: Vec<u8>,
    /// What the authenticator says.
    pub attestation_object: Vec<u8>,
    /// How it can be reached; hints.
    pub transports: Vec<String>,
}

/// A credential's signature, as a browser hands it over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "AssertionJson", into = "AssertionJson")]
pub struct Assertion {
    /// Which credential signed.
    pub credential_id: CredentialId,
    /// What the authenticator says.
    pub authenticator_data: Vec<u8>,
    /// What the browser was asked.
    pub client_data_json: Vec<u8>,
    /// The signature over both.
    pub signature: Vec<u8>,
    /// Whose credential it is, if the authenticator knows.
    pub user_handle: Option<UserHandle>,
}

impl Registration {
    /// Reads the document that a browser sends.
    ///
    /// # Errors
    /// [`PasskeyError::TooLarge`] over [`JSON_BYTES_MAX`], else [`PasskeyError::Json`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, PasskeyError> {
        read(bytes)
    }
}

impl Assertion {
    /// Reads the document that a browser sends.
    ///
    /// # Errors
    /// [`PasskeyError::TooLarge`] over [`JSON_BYTES_MAX`], else [`PasskeyError::Json`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, PasskeyError> {
        read(bytes)
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, PasskeyError> {
    if bytes.len() > JSON_BYTES_MAX {
        return Err(PasskeyError::TooLarge { what: "document", bytes: bytes.len(), limit: JSON_BYTES_MAX });
    }
    serde_json::from_slice(bytes).map_err(|_| PasskeyError::Json)
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CredentialJson<R> {
    id: String,
    raw_id: String,
    #[serde(rename = "type")]
    kind: String,
    response: R,
    #[serde(default)]
    client_extension_results: Ignored,
}

/// An object that is written empty and read without looking.
#[derive(Default)]
struct Ignored;

impl Serialize for Ignored {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde::ser::SerializeMap::end(serializer.serialize_map(Some(0))?)
    }
}

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

#[derive(Serialize, Deserialize)]
struct AttestationResponse {
    #[serde(rename = "clientDataJSON")]
    client_data_json: String,
    #[serde(rename = "attestationObject")]
    attestation_object: String,
    #[serde(default)]
    transports: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AssertionResponse {
    #[serde(rename = "clientDataJSON")]
    client_data_json: String,
    authenticator_data: String,
    signature: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_handle: Option<String>,
}

type RegistrationJson = CredentialJson<AttestationResponse>;
type AssertionJson = CredentialJson<AssertionResponse>;

impl<R> CredentialJson<R> {
    fn new(id: &CredentialId, response: R) -> Self {
        let (id, raw_id) = (id.to_string(), id.to_string());
        Self { id, raw_id, kind: PUBLIC_KEY.to_owned(), response, client_extension_results: Ignored }
    }

    fn credential_id(&self) -> Result<CredentialId, PasskeyError> {
        if self.kind != PUBLIC_KEY || self.id != self.raw_id {
            return Err(PasskeyError::Json);
        }
        decoded(&self.id, *CREDENTIAL_ID_BYTES.end()).and_then(CredentialId::new)
    }
}

fn decoded(text: &str, most: usize) -> Result<Vec<u8>, PasskeyError> {
    base64url::decode(text, most).ok_or(PasskeyError::Json)
}

impl TryFrom<RegistrationJson> for Registration {
    type Error = PasskeyError;

    fn try_from(json: RegistrationJson) -> Result<Self, PasskeyError> {
        let credential_id = json.credential_id()?;
        let AttestationResponse { client_data_json, attestation_object, mut transports } = json.response;
        // Hints that nobody understands are dropped rather than refused: a new browser may bring new ones.
        transports.retain(|hint| {
            hint.len() <= TRANSPORT_BYTES_MAX && hint.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        });
        transports.truncate(TRANSPORTS_MAX);
        Ok(Self {
            credential_id,
            client_data_json: decoded(&client_data_json, CLIENT_DATA_BYTES_MAX)?,
            attestation_object: decoded(&attestation_object, ATTESTATION_BYTES_MAX)?,
            transports,
        })
    }
}

impl From<Registration> for RegistrationJson {
    fn from(registration: Registration) -> Self {
        let response = AttestationResponse {
            client_data_json: base64url::encode(&registration.client_data_json),
            attestation_object: base64url::encode(&registration.attestation_object),
            transports: registration.transports,
        };
        Self::new(&registration.credential_id, response)
    }
}

impl TryFrom<AssertionJson> for Assertion {
    type Error = PasskeyError;

    fn try_from(json: AssertionJson) -> Result<Self, PasskeyError> {
        let credential_id = json.credential_id()?;
        let AssertionResponse { client_data_json, authenticator_data, signature, user_handle } = json.response;
        Ok(Self {
            credential_id,
            client_data_json: decoded(&client_data_json, CLIENT_DATA_BYTES_MAX)?,
            authenticator_data: decoded(&authenticator_data, AUTHENTICATOR_DATA_BYTES_MAX)?,
            signature: decoded(&signature, SIGNATURE_BYTES_MAX)?,
            user_handle: user_handle.map(|handle| handle.parse()).transpose()?,
        })
    }
}

impl From<Assertion> for AssertionJson {
    fn from(assertion: Assertion) -> Self {
        let response = AssertionResponse {
            client_data_json: base64url::encode(&assertion.client_data_json),
            authenticator_data: base64url::encode(&assertion.authenticator_data),
            signature: base64url::encode(&assertion.signature),
            user_handle: assertion.user_handle.map(|handle| handle.to_string()),
        };
        Self::new(&assertion.credential_id, response)
    }
}
