//! What an authenticator says: authenticator data (§6.1) and the attestation object around it (§6.5.4).

#![deny(clippy::indexing_slicing)]

use super::{
    Aaguid, Backup, CredentialId, PasskeyError, PublicKey, RelyingParty, UserVerification,
    cbor::{self, Key, NotCbor, Reader},
};

/// Largest attestation object in bytes; a TPM's, with its certificates, has some 5 KiB.
pub(super) const ATTESTATION_BYTES_MAX: usize = 32 << 10;
/// Largest authenticator data of an assertion in bytes: 37, and extensions.
pub(super) const AUTHENTICATOR_DATA_BYTES_MAX: usize = 4 << 10;
/// Longest name of an attestation format in bytes (§8.1).
pub(super) const FORMAT_BYTES_MAX: usize = 32;

/// Flags of authenticator data.
const UP: u8 = 0x01;
const UV: u8 = 0x04;
const BE: u8 = 0x08;
const BS: u8 = 0x10;
const AT: u8 = 0x40;
const ED: u8 = 0x80;

/// Authenticator data.
pub(super) struct AuthenticatorData {
    rp_id_hash: [u8; 32],
    flags: u8,
    pub(super) counter: u32,
    pub(super) backup: Backup,
    pub(super) attested: Option<Attested>,
}

/// The credential in it (§6.5.2).
pub(super) struct Attested {
    pub(super) aaguid: Aaguid,
    pub(super) credential_id: CredentialId,
    pub(super) public_key: PublicKey,
}

/// Whether the user was verified, which a relying party may demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UserVerified(pub(super) bool);

impl AuthenticatorData {
    /// Reads authenticator data that fills `bytes`.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, PasskeyError> {
        let malformed = |NotCbor| PasskeyError::AuthenticatorData;
        let mut reader = Reader::new(bytes);
        let rp_id_hash = fixed(&mut reader)?;
        let [flags] = fixed(&mut reader)?;
        let counter = u32::from_be_bytes(fixed(&mut reader)?);
        let backup = match (flags & BE != 0, flags & BS != 0) {
            (false, false) => Backup::DeviceBound,
            (true, false) => Backup::Eligible,
            (true, true) => Backup::BackedUp,
            // What cannot be backed up is not (§6.1.3).
            (false, true) => return Err(PasskeyError::AuthenticatorData),
        };
        let attested = if flags & AT == 0 { None } else { Some(Attested::read(&mut reader)?) };
        if flags & ED != 0 {
            reader.skip_map().map_err(malformed)?;
        }
        if !reader.rest().is_empty() {
            return Err(PasskeyError::AuthenticatorData);
        }
        Ok(Self { rp_id_hash, flags, counter, backup, attested })
    }

    /// Checks for whom it was made and who was there (§7.1 steps 14 to 16, §7.2 steps 16 to 18).
    pub(super) fn check(&self, party: &RelyingParty) -> Result<UserVerified, PasskeyError> {
        if self.rp_id_hash != *party.id_hash().as_bytes() {
            return Err(PasskeyError::RelyingParty);
        }
        if self.flags & UP == 0 {
            return Err(PasskeyError::NotPresent);
        }
        let verified = self.flags & UV != 0;
        if party.verification() == UserVerification::Required && !verified {
            return Err(PasskeyError::NotVerified);
        }
        Ok(UserVerified(verified))
    }
}

impl Attested {
    fn read(reader: &mut Reader<'_>) -> Result<Self, PasskeyError> {
        let aaguid = Aaguid::from_bytes(fixed(reader)?);
        let length = u16::from_be_bytes(fixed(reader)?);
        let id = reader.take(u64::from(length)).map_err(|NotCbor| PasskeyError::AuthenticatorData)?;
        let credential_id = CredentialId::new(id.to_vec())?;
        Ok(Self { aaguid, credential_id, public_key: PublicKey::read(reader)? })
    }
}

fn fixed<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N], PasskeyError> {
    let bytes = reader.take(N as u64).map_err(|NotCbor| PasskeyError::AuthenticatorData)?;
    bytes.try_into().map_err(|_| PasskeyError::AuthenticatorData)
}

/// An attestation object, whose statement is walked over and not believed.
pub(super) struct Attestation<'a> {
    pub(super) format: &'a str,
    pub(super) data: AuthenticatorData,
}

impl<'a> Attestation<'a> {
    /// Reads an attestation object that fills `bytes`.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, PasskeyError> {
        let limit = ATTESTATION_BYTES_MAX;
        if bytes.len() > limit {
            return Err(PasskeyError::TooLarge { what: "attestation object", bytes: bytes.len(), limit });
        }
        let (format, data) = members(bytes).map_err(|NotCbor| PasskeyError::Attestation)?;
        Ok(Self { format, data: AuthenticatorData::parse(data)? })
    }
}

/// The format and the authenticator data of an attestation object. Members that are not known are walked over, too.
fn members(bytes: &[u8]) -> Result<(&str, &[u8]), NotCbor> {
    let mut reader = Reader::new(bytes);
    let (mut format, mut statement, mut data) = (None, None, None);
    for _ in 0..reader.map()? {
        let repeated = match reader.key()? {
            Key::Text("fmt") => format.replace(reader.text()?).is_some(),
            Key::Text("attStmt") => statement.replace(reader.skip_map()?).is_some(),
            Key::Text("authData") => data.replace(reader.bytes()?).is_some(),
            Key::Text(_) => {
                reader.skip()?;
                false
            }
            Key::Integer(_) => return Err(NotCbor),
        };
        if repeated {
            return Err(NotCbor);
        }
    }
    let format = format.filter(|format| {
        (1..=FORMAT_BYTES_MAX).contains(&format.len()) && format.bytes().all(|byte| byte.is_ascii_graphic())
    });
    match (format, statement, data) {
        (Some(format), Some(()), Some(data)) if reader.rest().is_empty() => Ok((format, data)),
        _ => Err(NotCbor),
    }
}

/// What to write into authenticator data: a verified, present user of a credential that stays on its device.
pub(super) fn write(party_id: &str, attested: Option<&Attested>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(ringfence_schema::Digest::of(party_id.as_bytes()).as_bytes());
    out.push(UP | UV | if attested.is_some() { AT } else { 0 });
    // No counter: what keeps the key keeps no state (§6.1.1 allows zero for ever).
    out.extend_from_slice(&[0; 4]);
    if let Some(Attested { aaguid, credential_id, public_key }) = attested {
        out.extend_from_slice(aaguid.as_bytes());
        let id = credential_id.as_bytes();
        // INVARIANT: an id has at most 1,023 bytes.
        out.extend_from_slice(&u16::try_from(id.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(id);
        out.extend_from_slice(&public_key.to_cose());
    }
    out
}

/// The attestation object of format `none` (§8.7) around authenticator data.
pub(super) fn write_attestation(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 64);
    cbor::write_map(3, &mut out);
    cbor::write_text("fmt", &mut out);
    cbor::write_text("none", &mut out);
    cbor::write_text("attStmt", &mut out);
    cbor::write_map(0, &mut out);
    cbor::write_text("authData", &mut out);
    cbor::write_bytes(data, &mut out);
    out
}
