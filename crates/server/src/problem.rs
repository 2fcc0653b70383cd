//! What went wrong, as RFC 9457 says it.
//!
//! A [`Problem`] is a [`Kind`] (one HTTP status and one title each) with, perhaps, a sentence about this very case. It becomes
//! a JSON document by itself; where a browser asks, [`crate::guard::Guard::page`] turns the same problem into a page.
//!
//! What must stay true: nothing of the request is repeated here as it came, and no path, key or text of a library's error
//! leaves the process. [`Problem::about`] therefore takes our own text, cut and made printable.

use std::borrow::Cow;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use ringfence_engine::{EngineError, schema::finding::printable};
use serde_json::{Map, Value, json};

/// Longest detail, in characters.
pub const DETAIL_CHARS_MAX: usize = 500;

/// The media type of the documents (RFC 9457, section 6.1).
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What a handler answers.
pub type Answer = Result<Response, Problem>;

/// Every kind of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The request is not HTTP, or not as the route wants it.
    Malformed,
    /// The path has more than one reading.
    Path,
    /// Nobody is signed in, or no longer.
    SignIn,
    /// Signed in, but the act needs a fresh second factor (RFC 9470's situation).
    StepUp,
    /// Not allowed.
    Denied,
    /// The request comes from another site's page.
    CrossSite,
    /// There is nothing here, or nothing that the caller may know of.
    NotFound,
    /// The path is known, the method is not.
    Method,
    /// The body took too long.
    TooSlow,
    /// Something changed meanwhile, or is there already.
    Conflict,
    /// It was there once.
    Gone,
    /// What the request presumes does not hold.
    Precondition,
    /// The body is over the limit.
    BodyTooLarge,
    /// The address is over the limit.
    AddressTooLong,
    /// The body is of a type, or an encoding, that the route does not read.
    MediaType,
    /// No such range.
    Range,
    /// An `Expect` that is not `100-continue`.
    Expectation,
    /// The `Host` is none of ours.
    Host,
    /// Read and understood, but it cannot be.
    Unprocessable,
    /// Too many requests.
    TooMany,
    /// The headers are over the limit.
    HeadersTooLarge,
    /// Our own mistake.
    Internal,
    /// Not now: something that this needs is not there.
    Unavailable,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 23] = [
        Self::Malformed,
        Self::Path,
        Self::SignIn,
        Self::StepUp,
        Self::Denied,
        Self::CrossSite,
        Self::NotFound,
        Self::Method,
        Self::TooSlow,
        Self::Conflict,
        Self::Gone,
        Self::Precondition,
        Self::BodyTooLarge,
        Self::AddressTooLong,
        Self::MediaType,
        Self::Range,
        Self::Expectation,
        Self::Host,
        Self::Unprocessable,
        Self::TooMany,
        Self::HeadersTooLarge,
        Self::Internal,
        Self::Unavailable,
    ];

    /// The last part of the document's `type`.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        self.row().1
    }

    /// The same words every time.
    pub fn title(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::Malformed => ("malformed", StatusCode::BAD_REQUEST, "the request cannot be read"),
            Self::Path => ("path", StatusCode::BAD_REQUEST, "the path is not in its plain form"),
            Self::SignIn => ("sign-in", StatusCode::UNAUTHORIZED, "sign in first"),
            Self::StepUp => ("step-up", StatusCode::UNAUTHORIZED, "confirm with a second factor first"),
            Self::Denied => ("denied", StatusCode::FORBIDDEN, "not permitted"),
            Self::CrossSite => ("cross-site", StatusCode::FORBIDDEN, "the request comes from another site"),
            Self::NotFound => ("not-found", StatusCode::NOT_FOUND, "there is nothing here"),
            Self::Method => ("method", StatusCode::METHOD_NOT_ALLOWED, "the method is not offered here"),
            Self::TooSlow => ("too-slow", StatusCode::REQUEST_TIMEOUT, "the request took too long to arrive"),
            Self::Conflict => ("conflict", StatusCode::CONFLICT, "it changed meanwhile, or is there already"),
            Self::Gone => ("gone", StatusCode::GONE, "it is gone"),
            Self::Precondition => ("precondition", StatusCode::PRECONDITION_FAILED, "a condition does not hold"),
            Self::BodyTooLarge => ("body-too-large", StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
            Self::AddressTooLong => ("address-too-long", StatusCode::URI_TOO_LONG, "the address is too long"),
            Self::MediaType => ("media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body's type is not read here"),
            Self::Range => ("range", StatusCode::RANGE_NOT_SATISFIABLE, "no such range"),
            Self::Expectation => ("expectation", StatusCode::EXPECTATION_FAILED, "the expectation is not met"),
            Self::Host => ("host", StatusCode::MISDIRECTED_REQUEST, "the host is not served here"),
            Self::Unprocessable => ("unprocessable", StatusCode::UNPROCESSABLE_ENTITY, "the request cannot be done"),
            Self::TooMany => ("too-many", StatusCode::TOO_MANY_REQUESTS, "too many requests"),
            Self::HeadersTooLarge => {
                ("headers-too-large", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too large")
            }
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here"),
            Self::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "not available at the moment"),
        }
    }

    /// The kind that stands for a bare status, as routers and extractors answer with.
    pub fn of(status: StatusCode) -> Self {
        let same = Self::ALL.into_iter().find(|kind| kind.status() == status);
        let other = if status.is_server_error() { Self::Internal } else { Self::Malformed };
        same.unwrap_or(other)
    }
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", kind.title())]
pub struct Problem {
    kind: Kind,
    detail: Option<Cow<'static, str>>,
    reasons: Vec<String>,
    instance: Option<String>,
    retry_after_s: Option<u64>,
}

impl Problem {
    /// A problem of this kind.
    pub const fn new(kind: Kind) -> Self {
        Self { kind, detail: None, reasons: Vec::new(), instance: None, retry_after_s: None }
    }

    /// A problem of this kind, with a sentence of ours. Text that varies is cut to [`DETAIL_CHARS_MAX`] and made printable;
    /// it must hold no secret and nothing that only the operator may know.
    pub fn about(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        let detail = match detail.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text),
            Cow::Owned(text) => Cow::Owned(printable(&text, DETAIL_CHARS_MAX)),
        };
        Self { detail: Some(detail), ..Self::new(kind) }
    }

    /// With the reasons one by one, as a gate gives them; the member `reasons` of the document.
    #[must_use]
    pub fn because(mut self, reasons: impl IntoIterator<Item = String>) -> Self {
        self.reasons.extend(reasons.into_iter().map(|reason| printable(&reason, DETAIL_CHARS_MAX)));
        self
    }

    /// With a reference to this occurrence: a path of ours, an id of the trail.
    #[must_use]
    pub fn at(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(printable(&instance.into(), DETAIL_CHARS_MAX));
        self
    }

    /// With the seconds after which trying again makes sense (`Retry-After`).
    #[must_use]
    pub const fn retry_after_s(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The sentence about this case.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// When to try again, in seconds.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after_s
    }

    /// The reasons one by one.
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }

    /// The document.
    pub fn document(&self) -> Value {
        let mut document = Map::new();
        document.insert("type".to_owned(), format!("urn:ringfence:problem:{}", self.kind.name()).into());
        document.insert("title".to_owned(), self.kind.title().into());
        document.insert("status".to_owned(), self.kind.status().as_u16().into());
        if let Some(detail) = &self.detail {
            document.insert("detail".to_owned(), json!(detail));
        }
        if let Some(instance) = &self.instance {
            document.insert("instance".to_owned(), json!(instance));
        }
        if !self.reasons.is_empty() {
            document.insert("reasons".to_owned(), json!(self.reasons));
        }
        Value::Object(document)
    }

    /// The headers that belong to the problem, whatever its body looks like.
    pub(crate) fn mark(&self, response: &mut Response) {
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // RFC 9110, section 11.6.1: a 401 names a scheme; RFC 9470, section 3: what a step-up is called.
        let challenge = match self.kind {
            Kind::SignIn => "Bearer",
            Kind::StepUp => "Bearer error=\"insufficient_user_authentication\"",
            _ => return,
        };
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.document().to_string()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        self.mark(&mut response);
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Kind> for Problem {
    fn from(kind: Kind) -> Self {
        Self::new(kind)
    }
}

/// What the engine refuses is said with its reasons; what fails inside is named by kind alone, because those errors
/// carry paths and texts of the system.
impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Usage { what } | EngineError::Plan { what, .. } => Self::about(Kind::Unprocessable, what),
            EngineError::Refused { gate, subject, reasons } => {
                Self::about(Kind::Denied, format!("{gate} refused for `{subject}`")).because(reasons)
            }
            EngineError::NotFound { what, .. } => Self::about(Kind::NotFound, format!("there is no such {what}")),
            EngineError::Destroyed { .. } => Self::about(Kind::Gone, error.to_string()),
            EngineError::NotPermitted { what } => Self::about(Kind::Denied, what),
            EngineError::VaultExists { .. } => Self::new(Kind::Conflict),
            EngineError::Tampered { .. } => {
                Self::about(Kind::Unavailable, "something stored does not verify; the operator finds what in the log")
            }
            EngineError::NoVault { .. }
            | EngineError::Io { .. }
            | EngineError::Incomplete { .. }
            | EngineError::WrongKey { .. }
            | EngineError::Reach(_)
            | EngineError::Interrupted => Self::new(Kind::Unavailable),
            _ => Self::new(Kind::Internal),
        }
    }
}
