//! What stands around every route, whatever the route is.
//!
//! [`Guard::around`] puts a router behind these checks, in this order: the host is ours ([`hosts`]), the address has requests
//! left ([`rate`]), the path is plain ([`path`]), no page of another site sent it ([`origin`]), the body is not compressed.
//! On the way out every error becomes a [`Problem`] and every answer gets its [`headers`].
//!
//! What must stay true: no answer leaves without the headers; no error leaves with a text that a library wrote; a panic
//! in a handler is one answer, counted, without detail.
//!
//! [`json`] reads documents for the handlers, [`range`] which part of a file is wanted. Who may do what is decided behind the routes.

pub mod headers;
pub mod hosts;
pub mod json;
pub mod origin;
pub mod path;
pub mod range;
pub mod rate;

use std::{
    convert::Infallible,
    fmt,
    net::{IpAddr, Ipv6Addr},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, Method, header},
    response::{IntoResponse, Response},
    routing::Router,
};
use tower::ServiceExt as _;

use self::{
    headers::Transport,
    hosts::{Hosts, Scheme},
    rate::{Buckets, Rate},
};
use crate::{
    problem::{Kind, Problem},
    routes::gate::Times,
    scim,
    serve::Peer,
};

/// Most header fields of a request.
pub const HEADERS_MAX: usize = 64;

/// A problem as a page: the hook of those who make pages.
pub type Page = dyn Fn(&PageAsk<'_>) -> Option<Response> + Send + Sync;

/// What a page about a problem can be made of.
#[derive(Debug, Clone, Copy)]
pub struct PageAsk<'a> {
    /// The problem.
    pub problem: &'a Problem,
    /// The path that was asked for, and its query: checked, but still a stranger's text. Empty where it did not pass.
    pub target: &'a str,
}

/// What happened since the start.
#[derive(Debug, Default)]
pub struct Counters {
    panics: AtomicU64,
    refused: AtomicU64,
    answered: AtomicU64,
}

impl Counters {
    /// Handlers that panicked.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Requests that ended before a route: wrong host, path, origin, or too many.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Requests that were answered, those that were refused among them.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    pub(crate) fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }
}

/// What to check requests against.
pub struct Guard {
    hosts: Hosts,
    addresses: Arc<Buckets<IpAddr>>,
    page: Option<Box<Page>>,
    times: Times,
    counters: Arc<Counters>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("hosts", &self.hosts).field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl Guard {
    /// Answers under these hosts, this often for each address.
    pub fn new(hosts: Hosts, per_address: Rate) -> Self {
        let addresses = Arc::new(Buckets::new(per_address, Instant::now()));
        Self { hosts, addresses, page: None, times: Times::default(), counters: Arc::default() }
    }

    /// Shows problems to browsers as `page` makes them. `None` from it leaves the document.
    #[must_use]
    pub fn page(mut self, page: impl Fn(&PageAsk<'_>) -> Option<Response> + Send + Sync + 'static) -> Self {
        self.page = Some(Box::new(page));
        self
    }

    /// With other times for requests.
    #[must_use]
    pub fn within(mut self, times: Times) -> Self {
        self.times = times;
        self
    }

    pub(crate) fn times(&self) -> Times {
        self.times
    }

    /// The buckets of addresses, for routes that cost more than one request.
    pub(crate) fn addresses(&self) -> Arc<Buckets<IpAddr>> {
        Arc::clone(&self.addresses)
    }

    /// What was counted.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// The router behind the checks.
    pub fn around(self, router: Router) -> Service {
        Service { guard: Arc::new(self), router }
    }

    /// Everything before the route; the host, in lower case, where it is one of ours.
    fn check(&self, request: &Request) -> (Option<String>, Result<(), Problem>) {
        let headers = request.headers();
        let host = match self.hosts.check(request.uri(), headers) {
            Ok(host) => host,
            Err(problem) => return (None, Err(problem)),
        };
        let rest = || {
            self.addresses.take(rate::network(address(request)), 1, Instant::now()).map_err(too_many)?;
            if headers.len() > HEADERS_MAX {
                return Err(Problem::new(Kind::HeadersTooLarge));
            }
            path::path(request.uri().path())?;
            path::query(request.uri().query().unwrap_or_default())?;
            origin::check(request.method(), headers, &self.hosts.origin(&host))?;
            plain_body(request)
        };
        let checked = rest();
        (Some(host), checked)
    }

    /// Makes one face of every problem: a router's bare status and an extractor's text become documents, documents become
    /// pages where a browser asks.
    fn face(&self, mut response: Response, target: &str, face: Face) -> Response {
        let status = response.status();
        if !status.is_client_error() && !status.is_server_error() {
            return response;
        }
        let problem = response.extensions_mut().remove::<Problem>().unwrap_or_else(|| Problem::new(Kind::of(status)));
        let mut answer = None;
        if face == Face::Scim {
            answer = Some(scim::error(&problem, response.extensions_mut().remove()));
        }
        if face == Face::Page
            && let Some(page) = &self.page
        {
            answer = page(&PageAsk { problem: &problem, target });
            if let Some(answer) = &mut answer {
                // A page may lead elsewhere (to the login, say); otherwise it has the status of its problem.
                if !answer.status().is_redirection() {
                    problem.mark(answer);
                }
            }
        }
        let mut answer = answer.unwrap_or_else(|| problem.into_response());
        if let Some(allow) = response.headers_mut().remove(header::ALLOW) {
            answer.headers_mut().insert(header::ALLOW, allow);
        }
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            answer.headers_mut().append(header::SET_COOKIE, cookie.clone());
        }
        answer
    }
}

/// How problems are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Face {
    /// As RFC 9457 says.
    Document,
    /// As a page.
    Page,
    /// As RFC 7644 says.
    Scim,
}

/// Compressed bodies are not taken, so none can unfold; nor is any other expectation than the usual one.
fn plain_body(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    if headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| coding != "identity") {
        return Err(Problem::about(Kind::MediaType, "bodies are not taken compressed"));
    }
    let expected = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if !headers.get_all(header::EXPECT).iter().all(expected) {
        return Err(Problem::new(Kind::Expectation));
    }
    Ok(())
}

pub(crate) fn too_many(wait: Duration) -> Problem {
    Problem::new(Kind::TooMany).retry_after_s(wait.as_secs().saturating_add(1))
}

/// The address of the other end; without one (never, behind our listener), everybody shares a bucket.
pub(crate) fn address(request: &Request) -> IpAddr {
    request.extensions().get::<Peer>().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.address.ip())
}

/// A router behind a [`Guard`]: what a listener serves.
#[derive(Debug, Clone)]
pub struct Service {
    guard: Arc<Guard>,
    router: Router,
}

impl Service {
    /// Answers one request.
    pub async fn answer(&self, request: Request) -> Response {
        let guard = &self.guard;
        guard.counters.answered.fetch_add(1, Ordering::Relaxed);
        let face = if scim::is_ours(request.uri().path()) {
            Face::Scim
        } else if guard.page.is_some() && prefers_html(&request) {
            Face::Page
        } else {
            Face::Document
        };
        let head = *request.method() == Method::HEAD;
        let (host, checked) = guard.check(&request);
        let transport = match &host {
            Some(host) if guard.hosts.scheme() == Scheme::Https && hosts::has_own_name(host) => Transport::Strict,
            _ => Transport::Unsaid,
        };
        let (target, response) = match checked {
            Ok(()) => {
                let target =
                    if face == Face::Page { request.uri().path_and_query().map(ToString::to_string) } else { None };
                (target.unwrap_or_default(), self.route(request).await)
            }
            Err(problem) => {
                guard.counters.refused.fetch_add(1, Ordering::Relaxed);
                (String::new(), problem.into_response())
            }
        };
        let mut response = guard.face(response, &target, face);
        headers::dress(&mut response, transport);
        if head {
            *response.body_mut() = Body::empty();
        }
        response
    }

    /// The router's answer, and one where a handler panics.
    async fn route(&self, request: Request) -> Response {
        let mut answer = pin!(self.router.clone().oneshot(request));
        let caught = std::future::poll_fn(|context| {
            let polled = catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context)));
            match polled {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(Ok(response))) => Poll::Ready(Some(response)),
                Err(_) => Poll::Ready(None),
            }
        });
        caught.await.unwrap_or_else(|| {
            self.guard.counters.panicked();
            Problem::new(Kind::Internal).into_response()
        })
    }

    /// What was counted.
    pub fn counters(&self) -> Arc<Counters> {
        self.guard.counters()
    }
}

/// The same for whoever speaks tower.
impl tower::Service<Request> for Service {
    type Response = Response;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}

/// Whether a browser's navigation asks: the first media type that it names is HTML.
fn prefers_html(request: &Request) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let first = accept.split([',', ';']).next().unwrap_or_default().trim();
    first.eq_ignore_ascii_case("text/html") || first.eq_ignore_ascii_case("application/xhtml+xml")
}
