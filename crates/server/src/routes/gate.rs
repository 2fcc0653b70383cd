//! Before each handler: does the body fit, who is it, are there requests left, and for how long.
//!
//! `Gate::answer` is the only caller of handlers. A route that is not open gets its seat here or does not run.

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use http_body_util::Limited;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::time::{Sleep, sleep, timeout};

use super::{
    Door, Intake, Patience, Permission, Route,
    seat::{Account, Ask, Authenticator, Credential, Seat},
};
use crate::{
    guard::{
        address,
        rate::{Buckets, Rate, network},
        too_many,
    },
    problem::{Kind, Problem},
    serve::Peer,
};

/// Longest time until a brief route's answer begins, body included.
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// Longest time in which a body may bring less than [`BODY_STALL_BYTES`].
pub const BODY_STALL_MAX: Duration = Duration::from_secs(15);
/// What a body has to bring in that time, in bytes, unless it ends.
pub const BODY_STALL_BYTES: usize = 1_024;

/// How long requests may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Until a brief route's answer begins.
    pub request_max: Duration,
    /// In which a body has to bring [`BODY_STALL_BYTES`], unless it ends.
    pub body_stall_max: Duration,
}

impl Default for Times {
    /// [`REQUEST_TIME_MAX`] and [`BODY_STALL_MAX`].
    fn default() -> Self {
        Self { request_max: REQUEST_TIME_MAX, body_stall_max: BODY_STALL_MAX }
    }
}

/// What a gate needs to know of a route.
pub(crate) struct Pass<S, P> {
    door: Door<S, P>,
    permission: Permission,
    weight: u32,
    intake: Intake,
    patience: Patience,
}

impl<S, P> Pass<S, P> {
    pub(crate) fn of(route: Route<S, P>) -> Self {
        let permission = route.permission();
        let Route { door, weight, intake, patience, .. } = route;
        Self { door, permission, weight, intake, patience }
    }
}

/// What all routes share.
pub(crate) struct Gate<S, P> {
    state: S,
    authenticator: Authenticator<P>,
    addresses: Arc<Buckets<IpAddr>>,
    principals: Buckets<u64>,
    keys: RandomState,
    times: Times,
}

impl<S: Clone, P> Gate<S, P> {
    pub(crate) fn new(
        state: S,
        authenticator: Authenticator<P>,
        addresses: Arc<Buckets<IpAddr>>,
        per_principal: Rate,
        times: Times,
    ) -> Self {
        let principals = Buckets::new(per_principal, Instant::now());
        Self { state, authenticator, addresses, principals, keys: RandomState::new(), times }
    }

    pub(crate) async fn answer(&self, pass: &Pass<S, P>, request: Request) -> Response {
        let arrived = Arc::new(AtomicBool::new(true));
        let answering = async {
            match self.enter(pass, request, &arrived).await {
                Ok(response) => response,
                Err(problem) => problem.into_response(),
            }
        };
        match pass.patience {
            Patience::Streaming => answering.await,
            Patience::Brief => timeout(self.times.request_max, answering).await.unwrap_or_else(|_| {
                let slow_body = !arrived.load(Ordering::Relaxed);
                Problem::new(if slow_body { Kind::TooSlow } else { Kind::Unavailable }).into_response()
            }),
        }
    }

    async fn enter(&self, pass: &Pass<S, P>, request: Request, arrived: &Arc<AtomicBool>) -> Result<Response, Problem> {
        if let Some(more) = pass.weight.checked_sub(1).filter(|more| *more > 0) {
            self.addresses.take(network(address(&request)), more, Instant::now()).map_err(too_many)?;
        }
        let request = measured(pass.intake, request, arrived, self.times.body_stall_max)?;
        let state = self.state.clone();
        match &pass.door {
            Door::Open(_, handler) => Ok(handler(request, state).await),
            Door::SignedIn(handler) | Door::Run(handler) | Door::Action(_, handler) => {
                let seat = self.seat(pass, ask(pass.permission, &request)?).await?;
                Ok(handler(seat, request, state).await)
            }
        }
    }

    async fn seat(&self, pass: &Pass<S, P>, ask: Ask) -> Result<Seat<P>, Problem> {
        let (peer, permission) = (ask.peer, ask.permission);
        let known = self.authenticator.find(ask).await?;
        let Account(account) = &known.account;
        let key = self.keys.hash_one(account);
        self.principals.take(key, pass.weight, Instant::now()).map_err(too_many)?;
        Ok(Seat::new(known.principal, permission, peer))
    }
}

/// What to find out about a request; one that presents nothing is nobody's.
fn ask(permission: Permission, request: &Request) -> Result<Ask, Problem> {
    let peer = request.extensions().get::<Peer>().copied().ok_or(Kind::SignIn)?;
    let credential = Credential::of(request.headers(), &peer)?.ok_or(Kind::SignIn)?;
    Ok(Ask { credential, permission, peer })
}

impl<S, P> fmt::Debug for Gate<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

/// The request with a body that cannot be longer or slower than the route allows.
fn measured(
    intake: Intake,
    request: Request,
    arrived: &Arc<AtomicBool>,
    stall_max: Duration,
) -> Result<Request, Problem> {
    let size = request.body().size_hint();
    if size.exact() == Some(0) {
        return Ok(request);
    }
    let bytes_max = intake.bytes_max();
    if intake == Intake::Nothing {
        return Err(Problem::about(Kind::BodyTooLarge, "this route takes no body"));
    }
    if size.lower() > bytes_max {
        return Err(Problem::new(Kind::BodyTooLarge));
    }
    if intake == Intake::Form && !request.headers().get(header::CONTENT_TYPE).is_some_and(is_form) {
        return Err(Problem::about(Kind::MediaType, "send a form (`application/x-www-form-urlencoded`)"));
    }
    arrived.store(false, Ordering::Relaxed);
    let arrived = Arc::clone(arrived);
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    Ok(request
        .map(|body| Body::new(Limited::new(Steady { body, arrived, stall_max, alarm: None, bytes: 0 }, bytes_max))))
}

fn is_form(value: &HeaderValue) -> bool {
    let text = value.to_str().unwrap_or_default();
    let (kind, parameter) = text.split_once(';').map_or((text, "charset=utf-8"), |(kind, rest)| (kind, rest.trim()));
    kind.trim_end().eq_ignore_ascii_case("application/x-www-form-urlencoded")
        && parameter.eq_ignore_ascii_case("charset=utf-8")
}

/// A body that fails when it stands still.
struct Steady {
    body: Body,
    arrived: Arc<AtomicBool>,
    stall_max: Duration,
    /// Runs from the first wait until enough has come.
    alarm: Option<Pin<Box<Sleep>>>,
    /// What has come since.
    bytes: usize,
}

/// Why a body was given up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
enum BodyError {
    #[error("less than {BODY_STALL_BYTES} bytes in the time for them")]
    Stalled,
    #[error("the body broke off")]
    Broken,
}

impl hyper::body::Body for Steady {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.bytes = self.bytes.saturating_add(frame.data_ref().map_or(0, Bytes::len));
                if self.bytes >= BODY_STALL_BYTES {
                    (self.alarm, self.bytes) = (None, 0);
                }
                if self.body.is_end_stream() {
                    self.arrived.store(true, Ordering::Relaxed);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.arrived.store(true, Ordering::Relaxed);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(BodyError::Broken))),
            Poll::Pending => {
                let stall_max = self.stall_max;
                let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(stall_max)));
                alarm.as_mut().poll(context).map(|()| Some(Err(BodyError::Stalled)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
