//! What a provider says of itself (OpenID Connect Discovery 1.0).

#![deny(clippy::indexing_slicing)]

use ringfence_reach::{Reach, Scheme, Url};
use ringfence_trust::oidc::JwsAlgorithm;
use serde::Deserialize;

use super::LoginError;

/// Largest description in bytes; the longest have some 20 KiB.
const METADATA_BYTES_MAX: u64 = 256 << 10;
/// Longest issuer or redirect URI in bytes.
const URI_BYTES_MAX: usize = 2_048;

/// A provider, described by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    pub(super) issuer: String,
    pub(super) authorization: Url,
    pub(super) token: Url,
    pub(super) jwks: Url,
    pub(super) userinfo: Option<Url>,
    /// Whether its callbacks say who made them (RFC 9207).
    pub(super) names_itself: bool,
    pub(super) shows: Shows,
}

/// How a client shows its secret (OpenID Connect Core §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shows {
    Basic,
    Post,
}

/// The members that are looked at.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    jwks_uri: Option<String>,
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    id_token_signing_alg_values_supported: Vec<String>,
    code_challenge_methods_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Provider {
    /// Asks the provider at `issuer` for its endpoints. The answer is good for as long as the caller keeps it; a day is usual.
    ///
    /// # Errors
    /// [`LoginError::Setting`] for an issuer that is no plain URL, [`LoginError::Metadata`] for an answer that does not fit: another issuer
    /// (§4.3), an endpoint without TLS, no signature that is accepted, no PKCE with S256.
    pub fn discover(reach: &Reach, issuer: &str) -> Result<Self, LoginError> {
        let base = issuer_url(issuer)?;
        let place = format!("{}/.well-known/openid-configuration", base.to_text().trim_end_matches('/'));
        let place = Url::parse(&place).map_err(|_| LoginError::Setting { what: "issuer" })?;
        let document = reach.provider_document(&place, None, METADATA_BYTES_MAX)?;
        let metadata: Metadata = serde_json::from_slice(&document).map_err(|_| LoginError::Answer)?;
        Self::of(issuer, base.scheme(), &metadata)
    }

    fn of(issuer: &str, scheme: Scheme, metadata: &Metadata) -> Result<Self, LoginError> {
        if metadata.issuer != issuer {
            return Err(LoginError::Metadata { what: "issuer" });
        }
        let signs =
            metadata.id_token_signing_alg_values_supported.iter().any(|name| JwsAlgorithm::named(name).is_some());
        if !signs {
            return Err(LoginError::Metadata { what: "id_token_signing_alg_values_supported" });
        }
        // Many that do PKCE do not say so; one that lists other methods alone does not do it.
        let challenges = metadata.code_challenge_methods_supported.as_ref();
        if challenges.is_some_and(|methods| !methods.iter().any(|method| method == "S256")) {
            return Err(LoginError::Metadata { what: "code_challenge_methods_supported" });
        }
        let endpoint = |text: Option<&String>, what: &'static str| {
            let url = text.and_then(|text| Url::parse(text).ok());
            // A provider behind TLS has no door without.
            url.filter(|url| url.scheme() == Scheme::Https || scheme == Scheme::Http)
                .ok_or(LoginError::Metadata { what })
        };
        let methods = metadata.token_endpoint_auth_methods_supported.as_deref();
        let has = |name: &str| methods.is_none_or(|methods| methods.iter().any(|method| method == name));
        let userinfo = metadata.userinfo_endpoint.as_ref();
        Ok(Self {
            issuer: issuer.to_owned(),
            authorization: endpoint(metadata.authorization_endpoint.as_ref(), "authorization_endpoint")?,
            token: endpoint(metadata.token_endpoint.as_ref(), "token_endpoint")?,
            jwks: endpoint(metadata.jwks_uri.as_ref(), "jwks_uri")?,
            userinfo: userinfo.map(|text| endpoint(Some(text), "userinfo_endpoint")).transpose()?,
            names_itself: metadata.authorization_response_iss_parameter_supported,
            shows: if has("client_secret_basic") { Shows::Basic } else { Shows::Post },
        })
    }

    /// Who it is.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}

/// An issuer is a URL without query and fragment (Discovery §3), in the one spelling that is compared.
fn issuer_url(issuer: &str) -> Result<Url, LoginError> {
    let wrong = LoginError::Setting { what: "issuer" };
    if issuer.len() > URI_BYTES_MAX || issuer.contains(['?', '#']) {
        return Err(wrong);
    }
    let url = Url::parse(issuer).map_err(|_| LoginError::Setting { what: "issuer" })?;
    let text = url.to_text();
    if text == issuer || text.strip_suffix('/') == Some(issuer) { Ok(url) } else { Err(wrong) }
}

/// A redirect URI brings a code: only over TLS, or to this machine.
pub(super) fn check_redirect(redirect_uri: &str) -> Result<(), LoginError> {
    let url =
        Url::parse(redirect_uri).ok().filter(|_| redirect_uri.len() <= URI_BYTES_MAX && !redirect_uri.contains('#'));
    let local = |url: &Url| url.host() == "localhost" || url.address().is_some_and(|address| address.is_loopback());
    let fits = url.is_some_and(|url| url.scheme() == Scheme::Https || local(&url));
    if fits { Ok(()) } else { Err(LoginError::Setting { what: "redirect_uri" }) }
}

#[cfg(test)]
mod tests {
    use ringfence_reach::Scheme;
    use serde_json::{Value, json};

    use super::{LoginError, Provider, Shows, check_redirect, issuer_url};

    const ISSUER: &str = "https://login.example.org/realm";

    fn metadata() -> Value {
        json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://login.example.org/auth",
            "token_endpoint": "https://login.example.org/token",
            "jwks_uri": "https://keys.example.org/jwks",
            "id_token_signing_alg_values_supported": ["HS256", "RS256"],
        })
    }

    fn of(metadata: Value) -> Result<Provider, LoginError> {
        Provider::of(ISSUER, Scheme::Https, &serde_json::from_value(metadata).unwrap())
    }

    #[test]
    fn a_provider_is_who_was_asked_and_does_what_is_needed() {
        let plain = of(metadata()).unwrap();
        assert_eq!((plain.names_itself, plain.shows, plain.userinfo), (false, Shows::Basic, None));
        for (member, value) in [
            ("issuer", json!("https://login.example.org/realm/")),
            ("issuer", json!("https://evil.example.org/realm")),
            ("authorization_endpoint", json!("http://login.example.org/auth")),
            ("token_endpoint", json!("http://login.example.org/token")),
            ("token_endpoint", json!(null)),
            ("jwks_uri", json!("file:///etc/passwd")),
            ("userinfo_endpoint", json!("http://login.example.org/me")),
            ("id_token_signing_alg_values_supported", json!(["HS256", "none"])),
            ("code_challenge_methods_supported", json!(["plain"])),
        ] {
            let mut changed = metadata();
            changed[member] = value;
            let refused = of(changed).unwrap_err();
            assert!(matches!(refused, LoginError::Metadata { what } if what == member), "{member}");
        }
        let mut posts = metadata();
        posts["token_endpoint_auth_methods_supported"] = json!(["client_secret_post", "private_key_jwt"]);
        posts["code_challenge_methods_supported"] = json!(["plain", "S256"]);
        assert_eq!(of(posts).unwrap().shows, Shows::Post);
    }

    #[test]
    fn issuers_and_redirects_are_plain() {
        for fine in [ISSUER, "https://login.example.org", "https://login.example.org/", "http://127.0.0.1:3000"] {
            assert!(issuer_url(fine).is_ok(), "{fine}");
        }
        for wrong in [
            "",
            "login.example.org",
            "https://Login.example.org",
            "https://a.org/?x",
            "https://a.org/#x",
            "https://a.org/b/../c",
        ] {
            assert!(issuer_url(wrong).is_err(), "{wrong}");
        }
        for fine in ["https://lab.example.org/login/callback", "http://127.0.0.1:8443/cb", "http://localhost/cb"] {
            assert!(check_redirect(fine).is_ok(), "{fine}");
        }
        for wrong in ["http://lab.example.org/cb", "javascript:alert(1)", "https://a.org/cb#x", "/cb"] {
            assert!(check_redirect(wrong).is_err(), "{wrong}");
        }
    }
}
