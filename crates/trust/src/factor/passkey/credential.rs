//! A registered credential, and what it takes to become one (§7.1) and to use one (§7.2).

#![deny(clippy::indexing_slicing)]

use ringfence_schema::Digest;
use serde::{Deserialize, Serialize};

use super::{
    Aaguid, Assertion, Backup, Challenge, CredentialId, PasskeyError, PublicKey, Registration, RelyingParty,
    UserHandle,
    authenticator::{AUTHENTICATOR_DATA_BYTES_MAX, Attestation, AuthenticatorData},
    client::{self, Ceremony},
};

/// Longest signature in bytes: RSA with 4,096 bits.
const SIGNATURE_BYTES_MAX: usize = 512;

/// A credential as it is stored. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passkey {
    /// The relying party that it was made for.
    pub rp_id: String,
    /// Its name.
    pub credential_id: CredentialId,
    /// Whose it is, as the authenticator was told.
    pub user_handle: UserHandle,
    /// What verifies its signatures.
    pub public_key: PublicKey,
    /// The counter at its last use; zero for an authenticator without one.
    pub counter: u32,
    /// Whether it can leave its device, at its last use.
    pub backup: Backup,
    /// Which kind of authenticator holds it, as that claims.
    pub aaguid: Aaguid,
    /// The attestation format it came with, `none` as a rule. The statement was not checked.
    pub attestation_format: String,
    /// How browsers reach it (`internal`, `usb` …): hints for [`super::RequestOptions`].
    pub transports: Vec<String>,
}

/// An assertion that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// The counter now.
    pub counter: u32,
    /// Whether the authenticator verified its user. Always, if the relying party demands it.
    pub user_verified: bool,
    /// Whether the credential has been copied to other devices.
    pub backup: Backup,
}

impl Passkey {
    /// Registers what a browser made of a question to the person `user` with this `challenge`.
    ///
    /// Whether the credential id is new is for the caller to check, against everybody's (§7.1 step 26).
    pub fn register(
        party: &RelyingParty,
        user: &UserHandle,
        challenge: &Challenge,
        registration: &Registration,
    ) -> Result<Self, PasskeyError> {
        client::check(&registration.client_data_json, Ceremony::Create, party, challenge)?;
        let Attestation { format, data } = Attestation::parse(&registration.attestation_object)?;
        data.check(party)?;
        let attested = data.attested.ok_or(PasskeyError::AuthenticatorData)?;
        if attested.credential_id != registration.credential_id {
            return Err(PasskeyError::CredentialId);
        }
        Ok(Self {
            rp_id: party.id().to_owned(),
            credential_id: attested.credential_id,
            user_handle: user.clone(),
            public_key: attested.public_key,
            counter: data.counter,
            backup: data.backup,
            aaguid: attested.aaguid,
            attestation_format: format.to_owned(),
            transports: registration.transports.clone(),
        })
    }

    /// Verifies that this credential signed `challenge` on a page of `party`, just now. The caller stores what it learns
    /// with [`Passkey::used`], in the transaction that lets the person in.
    ///
    /// # Errors
    /// [`PasskeyError::CloneSuspected`] when all else holds and the counter stands still; any other says what does not hold.
    pub fn verify(
        &self,
        party: &RelyingParty,
        challenge: &Challenge,
        assertion: &Assertion,
    ) -> Result<Verified, PasskeyError> {
        let verified = self.check(party, challenge, assertion)?;
        let (stored, presented) = (self.counter, verified.counter);
        // An authenticator without a counter says zero for ever; any other only goes up (§6.1.1, §7.2 step 22).
        if (stored, presented) != (0, 0) && presented <= stored {
            return Err(PasskeyError::CloneSuspected { stored, presented });
        }
        Ok(verified)
    }

    /// Verifies that this credential signed the document with this `digest`, at some time: an approval in the trail. The
    /// counter is not compared, because by now it may be any.
    pub fn verify_offline(
        &self,
        party: &RelyingParty,
        digest: &Digest,
        assertion: &Assertion,
    ) -> Result<Verified, PasskeyError> {
        self.check(party, &Challenge::over(digest), assertion)
    }

    /// Takes over what an assertion showed.
    pub fn used(&mut self, verified: &Verified) {
        self.counter = verified.counter;
        self.backup = verified.backup;
    }

    fn check(
        &self,
        party: &RelyingParty,
        challenge: &Challenge,
        assertion: &Assertion,
    ) -> Result<Verified, PasskeyError> {
        if assertion.credential_id != self.credential_id {
            return Err(PasskeyError::CredentialId);
        }
        if assertion.user_handle.as_ref().is_some_and(|handle| *handle != self.user_handle) {
            return Err(PasskeyError::UserHandle);
        }
        if party.id() != self.rp_id {
            return Err(PasskeyError::RelyingParty);
        }
        client::check(&assertion.client_data_json, Ceremony::Get, party, challenge)?;
        for (what, bytes, limit) in [
            ("authenticator data", assertion.authenticator_data.len(), AUTHENTICATOR_DATA_BYTES_MAX),
            ("signature", assertion.signature.len(), SIGNATURE_BYTES_MAX),
        ] {
            if bytes > limit {
                return Err(PasskeyError::TooLarge { what, bytes, limit });
            }
        }
        let data = AuthenticatorData::parse(&assertion.authenticator_data)?;
        let user_verified = data.check(party)?.0;
        if data.backup.is_eligible() != self.backup.is_eligible() {
            return Err(PasskeyError::Backup);
        }
        let signed = signed_bytes(&assertion.authenticator_data, &assertion.client_data_json);
        if !self.public_key.verifies(&signed, &assertion.signature) {
            return Err(PasskeyError::Signature);
        }
        Ok(Verified { counter: data.counter, user_verified, backup: data.backup })
    }
}

/// What a credential signs: the authenticator data, and the hash of the client data (§7.2 steps 20 and 21).
pub(super) fn signed_bytes(authenticator_data: &[u8], client_data_json: &[u8]) -> Vec<u8> {
    [authenticator_data, Digest::of(client_data_json).as_bytes()].concat()
}
