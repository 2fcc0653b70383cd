//! Logging in through another provider: OpenID Connect's code flow, with PKCE, state and nonce.
//!
//! * [`LoginProvider`]: a provider as it is configured. [`Provider::discover`] learns its endpoints.
//! * [`Provider::begin`] makes the link that a browser is sent to; [`Pending`] is kept meanwhile, tied to that browser.
//! * [`Provider::finish`] takes what the browser brings back ([`Callback`]) and gives an [`Identity`].
//!
//! ```text
//! browser ── begin ──▶ Pending.url ──▶ provider ── Callback ──▶ finish ── code, verifier ──▶ provider
//!                                                                Identity ◀── ID token, checked by trust::oidc
//! ```
//!
//! What must stay true: somebody is `issuer` and `subject` together, never an address or a name; a [`Pending`] is used once,
//! by the browser that began it, within [`LOGIN_MS_MAX`]; a code goes to the provider that it came from (RFC 9207, and one
//! `Pending` a provider); nothing that a provider says is repeated in an error but codes that the standards list; everything is asked
//! under the egress policy, which has to name the provider's hosts.
//!
//! Absent on purpose: whom an identity stands for, sessions and pages (the team's), refresh tokens, logout, implicit and
//! hybrid flows.

#![deny(clippy::indexing_slicing)]

use std::fmt;

use ringfence_access::factors::Proof;
use ringfence_reach::{Form, Reach, ReachError, Secret};
use ringfence_schema::Timestamp;
use ringfence_trust::{
    entropy::Entropy,
    oidc::{Claims, Email, Expected, JWKS_BYTES_MAX, KeySet, LoginSecrets, OidcError},
};
use serde::Deserialize;

mod answer;
mod metadata;

pub use metadata::Provider;

/// How long a login at a provider may take, in milliseconds.
pub const LOGIN_MS_MAX: u64 = 10 * 60 * 1_000;
/// Longest authorization code in bytes.
const CODE_BYTES_MAX: usize = 4_096;
/// Largest answer about a person, in bytes.
const USERINFO_BYTES_MAX: u64 = 64 << 10;

/// A provider as it is configured.
#[derive(Debug)]
pub struct LoginProvider {
    /// Its issuer, exactly as it calls itself: `https://login.example.org/realm`.
    pub issuer: String,
    /// Who we are there.
    pub client_id: String,
    /// What proves it; a public client has none.
    pub client_secret: Option<Secret>,
    /// Scopes beside `openid`; `profile`, `email` and whatever makes the provider tell groups.
    pub scopes: Vec<String>,
    /// The claim that names groups.
    pub groups_claim: String,
    /// Levels (`acr`) that count as a login with several factors; also what the provider is asked for.
    pub mfa_levels: Vec<String>,
    /// How long ago somebody may have shown their factors there, in seconds.
    pub login_age_s_max: Option<u64>,
}

/// A login that has begun. It belongs to one browser, and is used up by [`Provider::finish`].
pub struct Pending {
    url: String,
    issuer: String,
    redirect_uri: String,
    secrets: LoginSecrets,
    begun: Timestamp,
}

impl Pending {
    /// Where the browser is sent.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What comes back with it: finds this login again among those of the same browser.
    pub fn state(&self) -> &str {
        self.secrets.state.expose()
    }
}

/// Its link carries state and nonce.
impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pending login at {} [redacted]", self.issuer)
    }
}

/// What the browser brings back, as the query of the redirect URI.
#[derive(Default, Deserialize)]
pub struct Callback {
    /// The code.
    pub code: Option<String>,
    /// The state.
    pub state: Option<String>,
    /// Who made the code (RFC 9207).
    pub iss: Option<String>,
    /// Why there is none.
    pub error: Option<String>,
}

/// The code is worth a login.
impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback [redacted]")
    }
}

/// Somebody, as a provider knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The provider.
    pub issuer: String,
    /// The person there. With the issuer, this is who it is; nothing below decides that.
    pub subject: String,
    /// How they are called.
    pub name: Option<String>,
    /// What they type to log in there.
    pub preferred_username: Option<String>,
    /// Their address, and whether the provider vouches for it.
    pub email: Option<Email>,
    /// Groups, in the provider's words.
    pub groups: Vec<String>,
    /// How they logged in (RFC 8176).
    pub amr: Vec<String>,
    /// At which level.
    pub acr: Option<String>,
    /// When, if the provider says so.
    pub auth_time: Option<Timestamp>,
    /// What this amounts to: one factor, or several.
    pub proof: Proof,
}

/// Why nobody was logged in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The way to the provider.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// Keys or a token that do not count.
    #[error(transparent)]
    Token(#[from] OidcError),
    /// A configured issuer or redirect URI that cannot be used.
    #[error("`{what}` of the login provider cannot be used")]
    Setting {
        /// Which setting.
        what: &'static str,
    },
    /// The provider's description of itself misses something, or contradicts the settings.
    #[error("the login provider's metadata has no usable `{what}`")]
    Metadata {
        /// Which member.
        what: &'static str,
    },
    /// An answer that is not this login's: another state, none, or another provider's.
    #[error("this is not the answer to the login that was begun")]
    NotThisLogin,
    /// It took longer than [`LOGIN_MS_MAX`].
    #[error("the login took too long; begin again")]
    TooLate,
    /// The provider says no.
    #[error("the login provider refuses: {code}")]
    Refused {
        /// A code of RFC 6749, OpenID Connect Core or RFC 9470, or `another error`.
        code: &'static str,
    },
    /// An answer that is none.
    #[error("the login provider's answer cannot be read")]
    Answer,
}

impl Provider {
    /// Begins a login: `redirect_uri` is where the provider sends the browser back to, as it is registered there.
    ///
    /// # Errors
    /// [`LoginError::Setting`] for a redirect URI that is not `https`, or `http` on this machine.
    pub fn begin(
        &self,
        settings: &LoginProvider,
        redirect_uri: &str,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Pending, LoginError> {
        metadata::check_redirect(redirect_uri)?;
        let secrets = LoginSecrets::random(entropy);
        let scope = std::iter::once("openid").chain(settings.scopes.iter().map(String::as_str));
        let mut query = Form::new()
            .with("response_type", "code")
            .with("client_id", &settings.client_id)
            .with("redirect_uri", redirect_uri)
            .with("scope", &scope.collect::<Vec<_>>().join(" "))
            .with("state", secrets.state.expose())
            .with("nonce", secrets.nonce.expose())
            .with("code_challenge", &secrets.code_challenge())
            .with("code_challenge_method", "S256");
        if let Some(seconds) = settings.login_age_s_max {
            query = query.with("max_age", &seconds.to_string());
        }
        if !settings.mfa_levels.is_empty() {
            query = query.with("acr_values", &settings.mfa_levels.join(" "));
        }
        let separator = if self.authorization.query().is_some() { '&' } else { '?' };
        let url = format!("{}{separator}{}", self.authorization.to_text(), query.text());
        Ok(Pending { url, issuer: self.issuer.clone(), redirect_uri: redirect_uri.to_owned(), secrets, begun: now })
    }

    /// Ends a login: takes the code to the provider and checks what it signs. Uses `pending` up, whatever comes of it.
    ///
    /// # Errors
    /// [`LoginError::NotThisLogin`] before anything is sent; [`LoginError::Refused`], [`LoginError::Token`] and what the way brings.
    #[expect(clippy::needless_pass_by_value, reason = "a login that was begun is ended once")]
    pub fn finish(
        &self,
        reach: &Reach,
        settings: &LoginProvider,
        pending: Pending,
        callback: &Callback,
        now: Timestamp,
    ) -> Result<Identity, LoginError> {
        let code = self.judge(&pending, callback, now)?;
        let tokens = answer::redeem(self, reach, settings, &pending.redirect_uri, &pending.secrets, code)?;
        // Asked for each time: keys roll over, and logins are rare.
        let keys = KeySet::parse(&reach.provider_document(&self.jwks, None, JWKS_BYTES_MAX as u64)?)?;
        let expected = Expected {
            issuer: &self.issuer,
            client_id: &settings.client_id,
            nonce: &pending.secrets.nonce,
            access_token: Some(&tokens.access_token),
            now_s: now.millis() / 1_000,
            login_age_s_max: settings.login_age_s_max,
            groups_claim: &settings.groups_claim,
        };
        let mut claims = keys.verify(&tokens.id_token, &expected)?;
        self.complete(reach, settings, &tokens, &mut claims)?;
        Ok(identity(claims, settings))
    }

    /// The code, if the callback answers `pending`.
    fn judge<'a>(&self, pending: &Pending, callback: &'a Callback, now: Timestamp) -> Result<&'a str, LoginError> {
        let state = callback.state.as_deref().unwrap_or_default();
        if pending.issuer != self.issuer || !pending.secrets.state.is(state) {
            return Err(LoginError::NotThisLogin);
        }
        // A provider that names itself does so always; one that does not is not made to.
        match callback.iss.as_deref() {
            Some(issuer) if issuer == self.issuer => {}
            None if !self.names_itself => {}
            _ => return Err(LoginError::NotThisLogin),
        }
        if now.millis().saturating_sub(pending.begun.millis()) > LOGIN_MS_MAX {
            return Err(LoginError::TooLate);
        }
        if let Some(error) = &callback.error {
            return Err(LoginError::Refused { code: answer::known(error) });
        }
        let code = callback.code.as_deref().filter(|code| (1..=CODE_BYTES_MAX).contains(&code.len()));
        code.ok_or(LoginError::Answer)
    }

    /// Asks the provider for what its token leaves out. Many tell names and groups there alone.
    fn complete(
        &self,
        reach: &Reach,
        settings: &LoginProvider,
        tokens: &answer::Tokens,
        claims: &mut Claims,
    ) -> Result<(), LoginError> {
        let Some(userinfo) = &self.userinfo else { return Ok(()) };
        if claims.groups.is_some() && claims.name.is_some() && claims.email.is_some() {
            return Ok(());
        }
        let token = Secret::new("access token", tokens.access_token.clone()).map_err(|_| LoginError::Answer)?;
        let answer = reach.provider_document(userinfo, Some(&token), USERINFO_BYTES_MAX)?;
        let more = Claims::from_userinfo(&answer, &claims.subject, &settings.groups_claim)?;
        claims.groups = claims.groups.take().or(more.groups);
        claims.name = claims.name.take().or(more.name);
        claims.preferred_username = claims.preferred_username.take().or(more.preferred_username);
        claims.email = claims.email.take().or(more.email);
        Ok(())
    }
}

fn identity(claims: Claims, settings: &LoginProvider) -> Identity {
    let proof = proof(&claims.amr, claims.acr.as_deref(), &settings.mfa_levels);
    Identity {
        issuer: claims.issuer,
        subject: claims.subject,
        name: claims.name,
        preferred_username: claims.preferred_username,
        email: claims.email,
        groups: claims.groups.unwrap_or_default(),
        amr: claims.amr,
        acr: claims.acr,
        auth_time: claims.auth_time_s.map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1_000))),
        proof,
    }
}

/// What a login there amounts to: several factors, if the provider says so (`mfa`, or a level that was agreed on), or names
/// methods of two kinds (RFC 8176 §2): something known, something held, something that one is.
fn proof(amr: &[String], acr: Option<&str>, mfa_levels: &[String]) -> Proof {
    let kinds: [&[&str]; 3] =
        [&["pwd", "pin", "kba"], &["otp", "sms", "tel", "hwk", "swk", "sc"], &["face", "fpt", "iris", "retina", "vbm"]];
    let shown = kinds.iter().filter(|kind| amr.iter().any(|method| kind.contains(&method.as_str()))).count();
    let agreed = acr.is_some_and(|acr| mfa_levels.iter().any(|level| level == acr));
    if shown >= 2 || agreed || amr.iter().any(|method| method == "mfa") {
        Proof::FederatedMfa
    } else {
        Proof::FederatedAny
    }
}

#[cfg(test)]
mod tests {
    use ringfence_access::factors::Proof;

    use super::proof;

    #[test]
    fn several_factors_are_of_several_kinds() {
        let levels = vec!["urn:two".to_owned()];
        for (amr, acr, expected) in [
            (&[][..], None, Proof::FederatedAny),
            (&["pwd"], None, Proof::FederatedAny),
            (&["pwd", "pin"], None, Proof::FederatedAny),
            (&["otp", "hwk"], None, Proof::FederatedAny),
            (&["pwd", "unknown"], Some("urn:one"), Proof::FederatedAny),
            (&["pwd", "otp"], None, Proof::FederatedMfa),
            (&["hwk", "fpt"], None, Proof::FederatedMfa),
            (&["mfa"], None, Proof::FederatedMfa),
            (&[], Some("urn:two"), Proof::FederatedMfa),
        ] {
            let amr: Vec<String> = amr.iter().map(|method| (*method).to_owned()).collect();
            assert_eq!(proof(&amr, acr, &levels), expected, "{amr:?} {acr:?}");
        }
        assert_eq!(proof(&[], Some(""), &[]), Proof::FederatedAny);
    }
}
