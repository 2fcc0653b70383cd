//! The token endpoint: a code goes in, tokens come out (RFC 6749 §4.1.3, OpenID Connect Core §3.1.3).

#![deny(clippy::indexing_slicing)]

use ringfence_reach::{Form, Reach};
use ringfence_trust::oidc::LoginSecrets;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{LoginError, LoginProvider, Provider, metadata::Shows};

/// Largest answer in bytes.
const ANSWER_BYTES_MAX: u64 = 256 << 10;
/// Longest access token in bytes.
const ACCESS_TOKEN_BYTES_MAX: usize = 8_192;

/// What a code was worth.
pub(super) struct Tokens {
    pub(super) id_token: Zeroizing<String>,
    pub(super) access_token: Zeroizing<String>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token_type: String,
    access_token: String,
    id_token: String,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// Takes `code` to the provider.
pub(super) fn redeem(
    provider: &Provider,
    reach: &Reach,
    settings: &LoginProvider,
    redirect_uri: &str,
    secrets: &LoginSecrets,
    code: &str,
) -> Result<Tokens, LoginError> {
    let mut form = Form::new()
        .with("grant_type", "authorization_code")
        .with("code", code)
        .with("redirect_uri", redirect_uri)
        .with("code_verifier", secrets.verifier.expose());
    let mut basic = None;
    match (&settings.client_secret, provider.shows) {
        (Some(secret), Shows::Basic) => basic = Some((settings.client_id.as_str(), secret)),
        (Some(secret), Shows::Post) => {
            form = form.with("client_id", &settings.client_id).with_secret("client_secret", secret);
        }
        (None, _) => form = form.with("client_id", &settings.client_id),
    }
    let reply = reach.provider_form(&provider.token, &form, basic, ANSWER_BYTES_MAX)?;
    if reply.status != 200 {
        let refusal: Result<Refusal, _> = serde_json::from_slice(&reply.body);
        let code = refusal.map_or(ANOTHER, |refusal| known(&refusal.error));
        return Err(LoginError::Refused { code });
    }
    let answer: TokenAnswer = serde_json::from_slice(&reply.body).map_err(|_| LoginError::Answer)?;
    let (access_token, id_token) = (Zeroizing::new(answer.access_token), Zeroizing::new(answer.id_token));
    if !answer.token_type.eq_ignore_ascii_case("bearer") || access_token.len() > ACCESS_TOKEN_BYTES_MAX {
        return Err(LoginError::Answer);
    }
    Ok(Tokens { id_token, access_token })
}

/// The code as the standards list it. What a provider writes beyond that is not repeated.
pub(super) fn known(code: &str) -> &'static str {
    KNOWN.into_iter().find(|known| *known == code).unwrap_or(ANOTHER)
}

const ANOTHER: &str = "another error";

/// RFC 6749 §4.1.2.1 and §5.2, OpenID Connect Core §3.1.2.6, RFC 9470 §3.
const KNOWN: [&str; 18] = [
    "invalid_request",
    "unauthorized_client",
    "access_denied",
    "unsupported_response_type",
    "invalid_scope",
    "server_error",
    "temporarily_unavailable",
    "invalid_client",
    "invalid_grant",
    "unsupported_grant_type",
    "interaction_required",
    "login_required",
    "account_selection_required",
    "consent_required",
    "request_not_supported",
    "request_uri_not_supported",
    "registration_not_supported",
    "unmet_authentication_requirements",
];
