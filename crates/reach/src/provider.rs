//! Talking to a login provider: its documents, and forms that carry codes and secrets.
//!
//! The same policy, roots and proxy as for everything else; short waits, one attempt, no redirects. Answers are bounded and
//! given back as they are; whoever reads them (`engine::oidc`) judges them.
//!
//! What must stay true: nothing that a provider says ends up in an error, since it may repeat what was sent.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::{
    Reach,
    client::{Answer, Exchange},
    error::ReachError,
    header,
    secret::Secret,
    url::{Url, escape},
};

/// Largest form in bytes.
pub const FORM_BYTES_MAX: usize = 32 << 10;

/// A form's fields, `application/x-www-form-urlencoded`. Zeroises on drop: fields may be secret.
#[derive(Default)]
pub struct Form(Zeroizing<String>);

/// What a provider answered.
#[derive(Debug)]
pub struct ProviderReply {
    /// 200, or a refusal: 400, 401 or 403.
    pub status: u16,
    /// The body.
    pub body: Zeroizing<Vec<u8>>,
}

impl Form {
    /// An empty form.
    pub fn new() -> Self {
        // Growing would leave copies behind.
        Self(Zeroizing::new(String::with_capacity(FORM_BYTES_MAX)))
    }

    /// The same with one more field.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let (name, value) = (escape(name), Zeroizing::new(escape(value)));
        for part in [if self.0.is_empty() { "" } else { "&" }, &name, "=", &value] {
            self.0.push_str(part);
        }
        self
    }

    /// The same with a secret field.
    #[must_use]
    pub fn with_secret(self, name: &str, value: &Secret) -> Self {
        self.with(name, value.expose())
    }

    /// The fields as they are sent; also a query.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Reach {
    /// Takes a document of at most `bytes_max` bytes from a provider, showing `bearer` if there is one.
    ///
    /// # Errors
    /// [`ReachError::Denied`] where the egress policy does not name its host; [`ReachError::Status`] for anything but 200, without
    /// the provider's words.
    pub fn provider_document(
        &self,
        url: &Url,
        bearer: Option<&Secret>,
        bytes_max: u64,
    ) -> Result<Zeroizing<Vec<u8>>, ReachError> {
        let authorization = bearer.map(|token| Zeroizing::new(format!("Bearer {}", token.expose())));
        let answer = self.sink_client()?.converse(&Exchange { url, authorization, form: None })?;
        if answer.status != 200 {
            return Err(ReachError::Status { url: url.clone(), status: answer.status, said: String::new() });
        }
        read(answer, bytes_max)
    }

    /// Posts a form to a provider, with HTTP Basic for `client`, a name and its secret (RFC 6749 §2.3.1), and takes an answer of at most
    /// `bytes_max` bytes.
    ///
    /// # Errors
    /// As [`Reach::provider_document`], but 400, 401 and 403 are answers: they say why in their body.
    pub fn provider_form(
        &self,
        url: &Url,
        form: &Form,
        client: Option<(&str, &Secret)>,
        bytes_max: u64,
    ) -> Result<ProviderReply, ReachError> {
        if form.0.len() > FORM_BYTES_MAX {
            return Err(ReachError::TooLarge { what: "a form".into(), limit: FORM_BYTES_MAX as u64 });
        }
        let authorization = client.map(|(id, secret)| {
            let pair = Zeroizing::new(format!("{}:{}", escape(id), &*Zeroizing::new(escape(secret.expose()))));
            Zeroizing::new(format!("Basic {}", &*Zeroizing::new(STANDARD.encode(pair.as_bytes()))))
        });
        let answer = self.sink_client()?.converse(&Exchange { url, authorization, form: Some(&form.0) })?;
        match answer.status {
            status @ (200 | 400 | 401 | 403) => Ok(ProviderReply { status, body: read(answer, bytes_max)? }),
            status => Err(ReachError::Status { url: url.clone(), status, said: String::new() }),
        }
    }
}

fn read(answer: Answer, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, ReachError> {
    let encoded = header::text(&answer.headers, "content-encoding").unwrap_or("identity");
    if !encoded.eq_ignore_ascii_case("identity") {
        return Err(ReachError::malformed(&answer.url, "it compresses what was asked for as it is"));
    }
    answer.read_all(bytes_max).map(Zeroizing::new)
}
