//! Who calls: what a request presents, who that is, and the [`Seat`] that handlers get.
//!
//! The [`Authenticator`] is the application's: it turns a [`Credential`] into a principal, or refuses. A seat is made only
//! from its answer, by the gate, for a route that named its permission.

use std::{fmt, net::IpAddr, pin::Pin, sync::Arc};

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use zeroize::Zeroizing;

use super::Permission;
use crate::{
    problem::{Kind, Problem},
    serve::{Peer, authority::Fingerprint},
};

/// The cookie of a session. The prefix makes browsers insist on `Secure`, `Path=/` and no `Domain` (RFC 6265bis, section 4.1.3.2).
pub const SESSION_COOKIE: &str = "__Host-ringfence";
/// Longest credential, in bytes.
pub const CREDENTIAL_BYTES_MAX: usize = 512;

/// A secret that a request carries. Wiped when dropped, never printed.
pub struct Presented(Zeroizing<String>);

impl Presented {
    fn new(text: &str) -> Option<Self> {
        let fits =
            !text.is_empty() && text.len() <= CREDENTIAL_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The secret.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// By what somebody wants to be known: one thing, never two.
#[derive(Debug)]
#[non_exhaustive]
pub enum Credential {
    /// The value of [`SESSION_COOKIE`].
    Session(Presented),
    /// A bearer token (RFC 6750, section 2.1).
    Token(Presented),
    /// The client certificate of the connection, which the listener verified.
    Certificate(Fingerprint),
}

impl Credential {
    /// What the request presents. A token and a session together are refused: which one counts would be a guess. A
    /// certificate counts alone only where neither is.
    pub(crate) fn of(headers: &HeaderMap, peer: &Peer) -> Result<Option<Self>, Problem> {
        let unreadable = || Problem::about(Kind::Malformed, "the credential cannot be read");
        let mut authorizations = headers.get_all(header::AUTHORIZATION).iter();
        let token = match (authorizations.next(), authorizations.next()) {
            (None, _) => None,
            (Some(value), None) => {
                let value = value.to_str().map_err(|_| unreadable())?;
                let (scheme, token) = value.split_once(' ').ok_or_else(unreadable)?;
                if !scheme.eq_ignore_ascii_case("bearer") {
                    return Err(Problem::about(Kind::SignIn, "only bearer tokens are taken"));
                }
                Some(Presented::new(token).ok_or_else(unreadable)?)
            }
            (Some(_), Some(_)) => return Err(unreadable()),
        };
        match (token, session(headers)?) {
            (Some(_), Some(_)) => Err(Problem::about(Kind::Malformed, "present a session or a token, not both")),
            (Some(token), None) => Ok(Some(Self::Token(token))),
            (None, Some(session)) => Ok(Some(Self::Session(session))),
            (None, None) => Ok(peer.certificate.map(Self::Certificate)),
        }
    }
}

/// The session's cookie, if it stands there once.
fn session(headers: &HeaderMap) -> Result<Option<Presented>, Problem> {
    let mut found = None;
    for value in headers.get_all(header::COOKIE) {
        // A cookie of somebody else (on the same host, another port) may be anything; only ours is looked at.
        for pair in value.as_bytes().split(|byte| *byte == b';') {
            let Some(value) = pair.trim_ascii().strip_prefix(SESSION_COOKIE.as_bytes()) else { continue };
            let Some(value) = value.strip_prefix(b"=") else { continue };
            let value = std::str::from_utf8(value).ok().and_then(Presented::new);
            let (Some(value), true) = (value, found.is_none()) else {
                return Err(Problem::about(Kind::Malformed, "the session's cookie cannot be read"));
            };
            found = Some(value);
        }
    }
    Ok(found)
}

/// What the gate asks.
#[derive(Debug)]
pub struct Ask {
    /// What the request presents.
    pub credential: Credential,
    /// What the route needs.
    pub permission: Permission,
    /// From where.
    pub peer: Peer,
}

/// The key of a principal's limit: the same for all of one's sessions and tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Account(pub Arc<str>);

/// Who it is.
#[derive(Debug)]
pub struct Known<P> {
    /// The principal, as the engine wants it.
    pub principal: P,
    /// Whose limit it counts against.
    pub account: Account,
}

/// Why nobody is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Unknown, expired or revoked: all the same from outside.
    SignIn,
    /// Known, but a fresh second factor is needed.
    StepUp,
    /// Known, and not allowed; why, in plain words.
    Denied(Vec<String>),
    /// Not even to be told that there is something.
    Hidden,
    /// Too often.
    TooMany {
        /// Seconds to wait.
        retry_after_s: u64,
    },
    /// It cannot be found out now.
    Unavailable,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::SignIn => Self::new(Kind::SignIn),
            Refusal::StepUp => Self::new(Kind::StepUp),
            Refusal::Denied(reasons) => Self::new(Kind::Denied).because(reasons),
            Refusal::Hidden => Self::new(Kind::NotFound),
            Refusal::TooMany { retry_after_s } => Self::new(Kind::TooMany).retry_after_s(retry_after_s),
            Refusal::Unavailable => Self::new(Kind::Unavailable),
        }
    }
}

type Finding<P> = Pin<Box<dyn Future<Output = Result<Known<P>, Refusal>> + Send>>;

/// Finds out who somebody is. Cheap to clone.
pub struct Authenticator<P>(Arc<dyn Fn(Ask) -> Finding<P> + Send + Sync>);

impl<P> fmt::Debug for Authenticator<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticator")
    }
}

impl<P> Authenticator<P> {
    /// By this function. It is not called where nothing is presented: that is always [`Refusal::SignIn`].
    pub fn new<F>(find: impl Fn(Ask) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Known<P>, Refusal>> + Send + 'static,
    {
        Self(Arc::new(move |ask| Box::pin(find(ask))))
    }

    pub(crate) async fn find(&self, ask: Ask) -> Result<Known<P>, Refusal> {
        (self.0)(ask).await
    }
}

/// Who calls, and that the route's permission was asked for.
#[derive(Debug)]
pub struct Seat<P> {
    principal: P,
    permission: Permission,
    peer: Peer,
}

impl<P> Seat<P> {
    pub(super) fn new(principal: P, permission: Permission, peer: Peer) -> Self {
        Self { principal, permission, peer }
    }

    /// The principal.
    pub fn principal(&self) -> &P {
        &self.principal
    }

    /// The principal, to be moved into a blocking task.
    pub fn into_principal(self) -> P {
        self.principal
    }

    /// What the route asked for.
    pub fn permission(&self) -> Permission {
        self.permission
    }

    /// The address of the other end.
    pub fn address(&self) -> IpAddr {
        self.peer.address.ip()
    }

    /// The client certificate of the connection, verified.
    pub fn certificate(&self) -> Option<Fingerprint> {
        self.peer.certificate
    }
}

/// A function `async fn(Seat<P>, extractors…) -> impl IntoResponse`, the last extractor taking the body if one does.
/// `T` are the extractors; nobody needs to write it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler with a seat",
    note = "it is an async function whose first argument is `Seat<P>`, followed by at most five of axum's extractors"
)]
pub trait SeatedHandler<T, S, P>: Clone + Send + Sync + 'static {
    /// Answers.
    fn call(self, seat: Seat<P>, request: Request, state: S) -> impl Future<Output = Response> + Send;
}

impl<F, Fut, R, S, P> SeatedHandler<(), S, P> for F
where
    F: Fn(Seat<P>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = R> + Send,
    R: IntoResponse,
    S: Send + Sync + 'static,
    P: Send + 'static,
{
    async fn call(self, seat: Seat<P>, _: Request, _: S) -> Response {
        self(seat).await.into_response()
    }
}

macro_rules! seated_handlers {
    ($(($($part:ident)*) $last:ident;)*) => {$(
        impl<F, Fut, R, S, P, M, $($part,)* $last> SeatedHandler<(M, $($part,)* $last), S, P> for F
        where
            F: Fn(Seat<P>, $($part,)* $last) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = R> + Send,
            R: IntoResponse,
            S: Send + Sync + 'static,
            P: Send + 'static,
            $($part: FromRequestParts<S> + Send,)*
            $last: FromRequest<S, M> + Send,
        {
            #[expect(non_snake_case, reason = "arguments are named after their types")]
            async fn call(self, seat: Seat<P>, request: Request, state: S) -> Response {
                let (parts, body) = request.into_parts();
                $(let mut parts = parts;
                let $part = match $part::from_request_parts(&mut parts, &state).await {
                    Ok(part) => part,
                    Err(refused) => return refused.into_response(),
                };)*
                let $last = match $last::from_request(Request::from_parts(parts, body), &state).await {
                    Ok(last) => last,
                    Err(refused) => return refused.into_response(),
                };
                self(seat, $($part,)* $last).await.into_response()
            }
        }
    )*};
}

seated_handlers! {
    () T1;
    (T1) T2;
    (T1 T2) T3;
    (T1 T2 T3) T4;
    (T1 T2 T3 T4) T5;
}
