//! Documents that come in: strict JSON, or a problem.
//!
//! [`Json`] reads exactly `application/json`, in UTF-8, up to the route's limit, up to [`DEPTH_MAX`] levels, with every key
//! once. Two programs that read such a document read the same.

#![deny(clippy::indexing_slicing)]

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use ringfence_engine::schema::strict;
use serde::{Serialize, de::DeserializeOwned};

use crate::problem::{Kind, Problem};

/// Largest document, in bytes.
pub const JSON_BYTES_MAX: usize = 256 * 1_024;
/// Most levels of arrays and objects.
pub const DEPTH_MAX: usize = 32;
/// Most values and keys of a document: what is parsed takes many times the room of its text.
pub const ITEMS_MAX: usize = 20_000;

/// A document that was read, or one to answer with.
#[derive(Debug, Clone)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::about(Kind::MediaType, "send `Content-Type: application/json`"));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|refused| {
            if refused.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::new(Kind::BodyTooLarge)
            } else {
                Problem::about(Kind::Malformed, "the body did not arrive whole")
            }
        })?;
        read(&bytes).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next().and_then(|value: &HeaderValue| value.to_str().ok()), values.next()) else {
        return false;
    };
    let (kind, parameter) = value.split_once(';').map_or((value, None), |(kind, rest)| (kind, Some(rest.trim())));
    let utf8 = |parameter: &str| parameter.eq_ignore_ascii_case("charset=utf-8");
    kind.trim_end().eq_ignore_ascii_case("application/json") && parameter.is_none_or(utf8)
}

/// Reads one document within the limits.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.len() > JSON_BYTES_MAX {
        return Err(Problem::new(Kind::BodyTooLarge));
    }
    measure(bytes)?;
    let value = strict::value(bytes, JSON_BYTES_MAX).map_err(|error| match error {
        strict::StrictError::TooLarge { .. } => Problem::new(Kind::BodyTooLarge),
        _ => Problem::about(Kind::Malformed, "the body is not JSON in which every key stands once"),
    })?;
    serde_json::from_value(value).map_err(|error| shape(&error.to_string()))
}

/// What was expected, without the value that came instead: it may be a password in the wrong place.
fn shape(said: &str) -> Problem {
    let detail = if said.starts_with("missing field") {
        said.to_owned()
    } else {
        match said.rsplit_once("expected ") {
            Some((_, expected)) => format!("a value is not what it should be: expected {expected}"),
            None => return Problem::about(Kind::Unprocessable, "a value is not what it should be"),
        }
    };
    Problem::about(Kind::Unprocessable, detail)
}

/// Levels and items, counted without building anything: brackets, colons and commas outside of strings.
fn measure(bytes: &[u8]) -> Result<(), Problem> {
    let (mut depth, mut items, mut quoted, mut escaped) = (0_usize, 1_usize, false, false);
    for byte in bytes {
        match (quoted, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => quoted = !quoted,
            (_, b'[' | b'{') if !quoted => (depth, items) = (depth + 1, items + 1),
            (_, b']' | b'}') if !quoted => depth = depth.saturating_sub(1),
            (_, b',' | b':') if !quoted => items += 1,
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(Problem::about(Kind::Malformed, "the document is nested too deeply"));
        }
        if items > ITEMS_MAX {
            return Err(Problem::about(Kind::BodyTooLarge, "the document has too many items"));
        }
    }
    Ok(())
}
