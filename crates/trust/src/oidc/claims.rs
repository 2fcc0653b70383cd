//! What an ID token says, and what it has to say (OpenID Connect Core §2, §3.1.3.7).

#![deny(clippy::indexing_slicing)]

use aws_lc_rs::digest;
use serde_json::Value;
use subtle::ConstantTimeEq as _;

use super::{
    AGE_S_MAX, GROUP_BYTES_MAX, GROUPS_MAX, JwsAlgorithm, KeySet, OidcError, Once, SKEW_S,
    object::{self, Object},
};
use crate::base64url;

/// Longest subject in bytes (§2).
const SUBJECT_BYTES_MAX: usize = 255;
/// Longest issuer in bytes.
const ISSUER_BYTES_MAX: usize = 2_048;
/// Longest name or address in bytes.
const NAME_BYTES_MAX: usize = 512;
/// Most audiences.
const AUDIENCES_MAX: usize = 16;
/// Most methods, and their longest name in bytes.
const METHODS_MAX: usize = 16;
const METHOD_BYTES_MAX: usize = 128;

/// What a token has to say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The provider, as it was configured.
    pub issuer: &'a str,
    /// Who we are there.
    pub client_id: &'a str,
    /// The nonce of this login.
    pub nonce: &'a Once,
    /// The access token that came along: a token that names its hash has to name this one's.
    pub access_token: Option<&'a str>,
    /// Seconds since 1970.
    pub now_s: u64,
    /// How long ago the person may have shown their factors to the provider, in seconds. If it is given, the token has to say when.
    pub login_age_s_max: Option<u64>,
    /// The claim that names groups, `groups` as a rule.
    pub groups_claim: &'a str,
}

/// An address, and whether the provider vouches for it. It is shown, and never decides who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    /// The address.
    pub address: String,
    /// Whether the provider checked it.
    pub verified: bool,
}

/// What a token says that holds. Who somebody is, is `issuer` and `subject` together, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The provider.
    pub issuer: String,
    /// The person, in the provider's words.
    pub subject: String,
    /// How they are called.
    pub name: Option<String>,
    /// What they type to log in there; may be given to somebody else one day.
    pub preferred_username: Option<String>,
    /// Their address.
    pub email: Option<Email>,
    /// Groups, in the provider's words. `None`: the token has no such claim.
    pub groups: Option<Vec<String>>,
    /// How they logged in (RFC 8176).
    pub amr: Vec<String>,
    /// At which level they logged in.
    pub acr: Option<String>,
    /// When they logged in, in seconds since 1970.
    pub auth_time_s: Option<u64>,
}

impl KeySet {
    /// Checks an ID token of a code flow (§3.1.3.7): signature, issuer, audience, times, nonce, and what binds it to the
    /// access token.
    ///
    /// # Errors
    /// [`OidcError::UnknownKey`] where a newer key set may help; any other says what does not hold.
    pub fn verify(&self, token: &str, expected: &Expected<'_>) -> Result<Claims, OidcError> {
        let (payload, algorithm) = self.open(token)?;
        let object = Object::parse(&payload, "the token")?;
        check_parties(&object, expected)?;
        check_times(&object, expected)?;
        check_bindings(&object, algorithm, expected)?;
        let mut claims = Claims::read(&object, expected.groups_claim)?;
        expected.issuer.clone_into(&mut claims.issuer);
        Ok(claims)
    }
}

fn check_parties(object: &Object, expected: &Expected<'_>) -> Result<(), OidcError> {
    if object.text("iss", ISSUER_BYTES_MAX)? != Some(expected.issuer) {
        return Err(OidcError::Claim { claim: "iss" });
    }
    let audiences = object.texts("aud", AUDIENCES_MAX, ISSUER_BYTES_MAX)?;
    if !audiences.iter().any(|audience| audience == expected.client_id) {
        return Err(OidcError::Claim { claim: "aud" });
    }
    let party = object.text("azp", ISSUER_BYTES_MAX)?;
    // For several audiences the token has to say that it was made for us.
    if party.map_or(audiences.len() > 1, |party| party != expected.client_id) {
        return Err(OidcError::Claim { claim: "azp" });
    }
    Ok(())
}

fn check_times(object: &Object, expected: &Expected<'_>) -> Result<(), OidcError> {
    let now_s = expected.now_s;
    let demanded = |claim| object.seconds(claim)?.ok_or(OidcError::Claim { claim });
    let (expires_s, issued_s) = (demanded("exp")?, demanded("iat")?);
    let begins_s = object.seconds("nbf")?.unwrap_or(0);
    let latest_s = now_s.saturating_add(SKEW_S);
    if issued_s > latest_s || begins_s > latest_s || issued_s.saturating_add(AGE_S_MAX + SKEW_S) < now_s {
        return Err(OidcError::NotNow);
    }
    if expires_s.saturating_add(SKEW_S) <= now_s {
        return Err(OidcError::Expired);
    }
    if let Some(most_s) = expected.login_age_s_max {
        let login_s = demanded("auth_time")?;
        if login_s > latest_s || login_s.saturating_add(most_s).saturating_add(SKEW_S) < now_s {
            return Err(OidcError::StaleLogin);
        }
    }
    Ok(())
}

fn check_bindings(object: &Object, algorithm: JwsAlgorithm, expected: &Expected<'_>) -> Result<(), OidcError> {
    let nonce = object.text("nonce", METHOD_BYTES_MAX)?.unwrap_or_default();
    if !expected.nonce.is(nonce) {
        return Err(OidcError::Claim { claim: "nonce" });
    }
    let Some(presented) = object.text("at_hash", METHOD_BYTES_MAX)? else { return Ok(()) };
    let access_token = expected.access_token.ok_or(OidcError::Claim { claim: "at_hash" })?;
    // The left half of the hash that the signature's algorithm uses (§3.1.3.6); Ed25519 uses SHA-512.
    let hash = match algorithm {
        JwsAlgorithm::Rs256 | JwsAlgorithm::Es256 => &digest::SHA256,
        JwsAlgorithm::EdDsa => &digest::SHA512,
    };
    let hash = digest::digest(hash, access_token.as_bytes());
    let (half, _) = hash.as_ref().split_at(hash.as_ref().len() / 2);
    let same = base64url::encode(half).as_bytes().ct_eq(presented.as_bytes());
    if same.into() { Ok(()) } else { Err(OidcError::Claim { claim: "at_hash" }) }
}

impl Claims {
    /// Reads the answer of a provider's userinfo endpoint about the person `subject` (§5.3.2). It is not signed: it counts because it
    /// came over TLS from the provider itself, for that person's access token.
    ///
    /// # Errors
    /// [`OidcError::Claim`] for `sub` where it speaks of somebody else.
    pub fn from_userinfo(bytes: &[u8], subject: &str, groups_claim: &str) -> Result<Self, OidcError> {
        if bytes.len() > super::TOKEN_BYTES_MAX {
            let (what, limit) = ("user information", super::TOKEN_BYTES_MAX);
            return Err(OidcError::TooLarge { what, bytes: bytes.len(), limit });
        }
        let claims = Self::read(&Object::parse(bytes, "the user information")?, groups_claim)?;
        if claims.subject == subject { Ok(claims) } else { Err(OidcError::Claim { claim: "sub" }) }
    }

    /// What an object says of a person; `issuer` is left to the caller.
    fn read(object: &Object, groups_claim: &str) -> Result<Self, OidcError> {
        let subject = object.text("sub", SUBJECT_BYTES_MAX)?.ok_or(OidcError::Claim { claim: "sub" })?;
        // What is only shown, or only raises a level, is passed over where it is unfit: it locks nobody out.
        let owned = |claim, most| object.text(claim, most).ok().flatten().map(str::to_owned);
        let verified = match object.member("email_verified") {
            // Some providers write it as a text.
            Some(Value::Bool(verified)) => *verified,
            Some(Value::String(text)) => text == "true",
            _ => false,
        };
        let groups = object.member(groups_claim);
        let groups = match groups {
            None => None,
            some => Some(object::texts(some, "groups", GROUPS_MAX, GROUP_BYTES_MAX)?),
        };
        Ok(Self {
            issuer: String::new(),
            subject: subject.to_owned(),
            name: owned("name", NAME_BYTES_MAX),
            preferred_username: owned("preferred_username", NAME_BYTES_MAX),
            email: owned("email", NAME_BYTES_MAX).map(|address| Email { address, verified }),
            groups,
            amr: object.texts("amr", METHODS_MAX, METHOD_BYTES_MAX).unwrap_or_default(),
            acr: owned("acr", ISSUER_BYTES_MAX),
            auth_time_s: object.seconds("auth_time")?,
        })
    }
}
