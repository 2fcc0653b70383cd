//! Connections: accepted, encrypted, bounded in number and time, and ended in good order.
//!
//! * [`Listener::bind`] takes an [`Exposure`], so nothing listens where it may not ([`exposure`]).
//! * [`Listener::serve`] accepts until its [`Stop`] says so, then lets what is being answered finish, up to a limit.
//! * [`tls`], [`authority`], [`files`], `acme`: TLS 1.3 and the certificates for it. `line`: one connection against the clock.
//!   `rest`: what is left when an answer comes before the end of its request.
//!
//! What must stay true: a connection costs at most one place of [`Limits`], a bounded buffer and a bounded time in each
//! of its states; bytes that are not HTTP are answered with a 4xx or not at all.

#[cfg(feature = "acme")]
pub mod acme;
pub mod authority;
mod crowd;
pub mod exposure;
pub mod files;
mod line;
mod rest;
pub mod tls;

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, Request, StatusCode, header},
    response::Response,
};
use hyper::{
    body::{Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use ringfence_engine::schema::Timestamp;
use tokio::{
    io::{AsyncRead, AsyncWrite, BufReader},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::{JoinError, JoinSet},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use self::{
    authority::Fingerprint,
    crowd::{Crowd, Place},
    line::{Answering, Line, Pulse},
    rest::Rest,
    tls::was_proof,
};
pub use self::{
    exposure::{Channel, Exposure, ExposureError},
    line::{HEAD_TIME_MAX, IDLE_MAX, WRITE_STALL_MAX},
};
use crate::guard::{Counters, Service};

/// Connections in all.
pub const CONNECTIONS_MAX: usize = 1_024;
/// Connections of one address, or of one IPv6 network.
pub const ADDRESS_CONNECTIONS_MAX: usize = 64;
/// How long requests may go on after the stop.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(20);
/// Longest TLS handshake.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);
/// Largest head of a request, in bytes: the line and all headers.
pub const HEAD_BYTES_MAX: usize = 16 * 1_024;
/// Largest buffer of a connection in each direction, in bytes.
pub const BUFFER_BYTES_MAX: usize = 64 * 1_024;
/// What is taken from a socket at once, in bytes; it is held as long as the connection.
const SOCKET_BUFFER_BYTES: usize = 64 * 1_024;
/// Pause after the system had no socket to give (out of descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often the age of the certificate is looked at.
const RENEWAL_CHECK: Duration = Duration::from_hours(1);

/// The other end of a connection; an extension of each of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Its certificate, where it presented one that verified.
    pub certificate: Option<Fingerprint>,
}

/// How many connections there may be, and how long each may be in each of its states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all; further ones wait in the system's queue.
    pub connections_max: usize,
    /// Connections of one address; further ones are closed at once.
    pub per_address_max: usize,
    /// How long requests may go on after the stop.
    pub drain_max: Duration,
    /// How long a handshake may take.
    pub handshake_max: Duration,
    /// How long the head of a request may take.
    pub head_max: Duration,
    /// How long a connection may be silent between requests.
    pub idle_max: Duration,
    /// How long the other end may take nothing of what is written.
    pub write_stall_max: Duration,
}

impl Default for Limits {
    /// The constants of this module.
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            per_address_max: ADDRESS_CONNECTIONS_MAX,
            drain_max: DRAIN_TIME_MAX,
            handshake_max: HANDSHAKE_TIME_MAX,
            head_max: HEAD_TIME_MAX,
            idle_max: IDLE_MAX,
            write_stall_max: WRITE_STALL_MAX,
        }
    }
}

/// The way to end it. Cheap to clone; handlers that go on for long (live events) hold one and watch it.
#[derive(Debug, Clone)]
pub struct Stop(watch::Sender<bool>);

impl Default for Stop {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Stop {
    /// Stops: no new connection, no further request on those that stand.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Returns once it is to stop.
    pub async fn stopped(&self) {
        // The sender lives as long as `self` does.
        let _ = self.0.subscribe().wait_for(|stopped| *stopped).await;
    }
}

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The system said no.
    #[error("cannot listen on `{address}`: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What it said.
        source: io::Error,
    },
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request was answered.
    Whole,
    /// So many connections were cut off when the time was up.
    Cut(usize),
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    channel: Channel,
    limits: Limits,
}

impl Listener {
    /// Listens; port 0 lets the system choose one.
    pub async fn bind(exposure: Exposure, limits: Limits) -> Result<Self, ListenError> {
        let Exposure { address, channel } = exposure;
        let fail = |source| ListenError::Bind { address, source };
        let socket = TcpListener::bind(address).await.map_err(fail)?;
        let address = socket.local_addr().map_err(fail)?;
        Ok(Self { socket, address, channel, limits })
    }

    /// Where it listens, the port being the real one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then until everything is answered or [`Limits::drain_max`] is over.
    pub async fn serve(self, service: Service, stop: Stop) -> Drained {
        let mut tasks = JoinSet::new();
        let counters = service.counters();
        let renewal = self.renewal();
        tokio::select! {
            () = self.accept(&service, &stop, &mut tasks) => {}
            () = renewal => {}
            () = stop.stopped() => {}
        }
        drop(self.socket);
        let drained = timeout(self.limits.drain_max, async {
            while let Some(ended) = tasks.join_next().await {
                note(ended, &counters);
            }
        });
        if drained.await.is_ok() {
            return Drained::Whole;
        }
        while let Some(ended) = tasks.try_join_next() {
            note(ended, &counters);
        }
        let cut = tasks.len();
        tasks.shutdown().await;
        Drained::Cut(cut)
    }

    /// Never returns.
    async fn accept(&self, service: &Service, stop: &Stop, tasks: &mut JoinSet<()>) {
        let counters = service.counters();
        let places = Arc::new(Semaphore::new(self.limits.connections_max.clamp(1, Semaphore::MAX_PERMITS)));
        let crowd = Arc::new(Crowd::default());
        loop {
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&places).acquire_owned().await else { return };
            let Ok((socket, address)) = self.socket.accept().await else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            while let Some(ended) = tasks.try_join_next() {
                note(ended, &counters);
            }
            let Some(place) = crowd.enter(address.ip(), self.limits.per_address_max) else { continue };
            let (channel, service, stop, limits) = (self.channel.clone(), service.clone(), stop.clone(), self.limits);
            let connection = Connection { address, channel, service, stop, limits };
            tasks.spawn(connection.run(socket, (permit, place)));
        }
    }

    /// Keeps the certificate young. Never returns.
    fn renewal(&self) -> impl Future<Output = ()> + use<> {
        let channel = self.channel.clone();
        async move {
            let mut clock = interval(RENEWAL_CHECK);
            clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                clock.tick().await;
                if let Channel::Tls(tls) = &channel {
                    // It is tried again in an hour, and there are days left.
                    let _ = tls.renew(Timestamp::from(SystemTime::now()));
                }
            }
        }
    }
}

fn note(ended: Result<(), JoinError>, counters: &Counters) {
    if ended.is_err_and(|error| error.is_panic()) {
        counters.panicked();
    }
}

/// One connection.
struct Connection {
    address: SocketAddr,
    channel: Channel,
    service: Service,
    stop: Stop,
    limits: Limits,
}

impl Connection {
    async fn run(self, socket: TcpStream, _places: (OwnedSemaphorePermit, Place)) {
        // Answers are written in one piece; waiting for more would only delay them.
        let _ = socket.set_nodelay(true);
        match &self.channel {
            Channel::Plain => self.speak(socket, None).await,
            Channel::Tls(tls) => {
                let acceptor = TlsAcceptor::from(tls.config());
                // rustls asks for 4 KiB at a time; the system is asked for more.
                let socket = BufReader::with_capacity(SOCKET_BUFFER_BYTES, socket);
                let handshake = timeout(self.limits.handshake_max, acceptor.accept(socket));
                let stream = tokio::select! {
                    shaken = handshake => shaken,
                    () = self.stop.stopped() => return,
                };
                let Ok(Ok(stream)) = stream else { return };
                if was_proof(stream.get_ref().1.alpn_protocol()) {
                    return;
                }
                let certificates = stream.get_ref().1.peer_certificates();
                let certificate = certificates.and_then(<[_]>::first).map(Fingerprint::of);
                self.speak(stream, certificate).await;
            }
        }
    }

    async fn speak(&self, io: impl AsyncRead + AsyncWrite + Unpin, certificate: Option<Fingerprint>) {
        let peer = Peer { address: self.address, certificate };
        let pulse = Arc::new(Pulse::default());
        let line = Line::new(io, self.limits, Arc::clone(&pulse));
        let answer = |request: Request<Incoming>| {
            let answering = pulse.begin();
            let (mut request, rest) = Rest::of(request);
            request.extensions_mut().insert(peer);
            let service = &self.service;
            Box::pin(async move {
                let mut response: Response = service.answer(request).await;
                // Who was too slow already is not waited for again.
                let slow = response.status() == StatusCode::REQUEST_TIMEOUT;
                if slow || !rest.take().await {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response.map(|body| Outgoing { body, _answering: answering }))
            })
        };
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // `Line` is stricter; this makes hyper look for the next request at once, so that `Line` sees the silence.
            .header_read_timeout(self.limits.idle_max.saturating_add(self.limits.head_max))
            .max_header_size(HEAD_BYTES_MAX)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(line), service_fn(answer));
        // Whatever ends a connection, the other end knows as much as we do.
        tokio::select! {
            _ = poll_fn(|context| connection.poll_without_shutdown(context)) => {}
            () = self.stop.stopped() => {
                Pin::new(&mut connection).graceful_shutdown();
                let _ = poll_fn(|context| connection.poll_without_shutdown(context)).await;
            }
        }
        rest::leave(connection.into_parts().io.into_inner()).await;
    }
}

/// The body of an answer; the request is answered when it is gone.
struct Outgoing {
    body: Body,
    _answering: Answering,
}

impl hyper::body::Body for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
