//! The witness's door (C2SP tlog-witness): `POST /add-checkpoint` over HTTP/1.1, and nothing else.
//!
//! Bytes in, bytes out: what may be cosigned is decided by [`ringfence_engine::witness`]. Questions are not authenticated
//! beyond the log's signature, so everything about them has a limit: connections, the time of a connection, of its headers and
//! of a body, and their lengths. Without TLS it listens on loopback alone; beyond it a certificate is needed.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use ringfence_engine::{
    schema::Timestamp,
    witness::{BODY_BYTES_MAX, Reply, Witness, answer},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

/// The one route.
const ROUTE: &str = "/add-checkpoint";
/// Most connections at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// Most bytes of a request's line and headers.
const HEADERS_BYTES_MAX: usize = 16 << 10;
/// Most headers of a request.
const HEADERS_MAX: usize = 32;
/// Milliseconds until a handshake is done.
const HANDSHAKE_MS_MAX: u64 = 5_000;
/// Milliseconds until the headers of a request are there, also of the next one on the same connection.
const HEADERS_MS_MAX: u64 = 10_000;
/// Milliseconds until a body is there.
const BODY_MS_MAX: u64 = 10_000;
/// Milliseconds that a connection lives.
const CONNECTION_MS_MAX: u64 = 60_000;
/// Milliseconds for answers on their way when the process is told to stop.
const STOP_MS_MAX: u64 = 5_000;
/// Milliseconds to wait after the system could not accept a connection.
const ACCEPT_PAUSE_MS: u64 = 100;

/// Why a witness does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessServeError {
    /// The system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Beyond loopback without TLS.
    #[error("`{listen}` can be reached from other machines, so it needs a certificate")]
    NeedsTls {
        /// The address.
        listen: SocketAddr,
    },
    /// A certificate or its key cannot be used.
    #[error("`{path}`: {why}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// A certificate chain and its key in PEM files.
#[derive(Debug, Clone, Copy)]
pub struct CertificateFiles<'a> {
    /// The chain, the witness's own certificate first.
    pub chain: &'a Path,
    /// The key.
    pub key: &'a Path,
}

/// Hears one line for each answer.
pub type Talk = Arc<dyn Fn(&str) + Send + Sync>;

/// Answers at `listen` until the process is told to stop (`SIGINT`, `SIGTERM`); `ready` hears the address, whose port the
/// system chose where `listen` says 0.
///
/// # Errors
/// [`WitnessServeError`].
pub fn serve(
    witness: Witness,
    listen: SocketAddr,
    certificate: Option<CertificateFiles<'_>>,
    ready: impl FnOnce(SocketAddr),
    talk: Talk,
) -> Result<(), WitnessServeError> {
    let acceptor = certificate.map(acceptor).transpose()?;
    if acceptor.is_none() && !listen.ip().is_loopback() {
        return Err(WitnessServeError::NeedsTls { listen });
    }
    let failed = |what: &str| {
        let what = what.to_owned();
        move |source| WitnessServeError::Io { what, source }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed("runtime"))?;
    let served = runtime.block_on(async {
        let listener = TcpListener::bind(listen).await.map_err(failed(&format!("listening at `{listen}`")))?;
        let mut interrupted = signal(SignalKind::interrupt()).map_err(failed("signals"))?;
        let mut told = signal(SignalKind::terminate()).map_err(failed("signals"))?;
        ready(listener.local_addr().map_err(failed("the address"))?);
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let door = Door { witness: Arc::new(witness), talk };
        tokio::select! {
            () = accept(&listener, acceptor, door, Arc::clone(&slots)) => {}
            _ = interrupted.recv() => {}
            _ = told.recv() => {}
        }
        // No new connections; those that are open get their answer, or the time is over.
        drop(listener);
        let every = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
        let _ = timeout(Duration::from_millis(STOP_MS_MAX), slots.acquire_many(every)).await;
        Ok(())
    });
    runtime.shutdown_timeout(Duration::from_millis(STOP_MS_MAX));
    served
}

/// What every connection needs.
#[derive(Clone)]
struct Door {
    witness: Arc<Witness>,
    talk: Talk,
}

async fn accept(listener: &TcpListener, acceptor: Option<TlsAcceptor>, door: Door, slots: Arc<Semaphore>) {
    loop {
        // Closed by nobody.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                (door.talk)(&format!("a connection could not be accepted: {error}"));
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                continue;
            }
        };
        // An answer is a few hundred bytes: it must not wait for more.
        let _ = stream.set_nodelay(true);
        let (acceptor, door) = (acceptor.clone(), door.clone());
        tokio::spawn(async move {
            match acceptor {
                None => converse(stream, door, slot).await,
                Some(acceptor) => {
                    let shaken = timeout(Duration::from_millis(HANDSHAKE_MS_MAX), acceptor.accept(stream)).await;
                    if let Ok(Ok(stream)) = shaken {
                        converse(stream, door, slot).await;
                    }
                }
            }
        });
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    door: Door,
    slot: OwnedSemaphorePermit,
) {
    let service = service_fn(move |request| {
        let door = door.clone();
        async move { Ok::<_, Infallible>(door.respond(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HEADERS_MS_MAX))
        .max_buf_size(HEADERS_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // What a connection ends with concerns nobody but the other side.
    let _ = timeout(Duration::from_millis(CONNECTION_MS_MAX), connection).await;
    drop(slot);
}

impl Door {
    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() != ROUTE || request.uri().query().is_some() {
            return plain(StatusCode::NOT_FOUND, "there is `POST /add-checkpoint` alone\n");
        }
        if request.method() != Method::POST {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "`POST` alone\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
        let body = match timeout(Duration::from_millis(BODY_MS_MAX), body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                return plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long\n");
            }
            Ok(Err(_)) => return plain(StatusCode::BAD_REQUEST, "the body broke off\n"),
            Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the body took too long\n"),
        };
        let witness = Arc::clone(&self.witness);
        // It waits for the disk.
        let done =
            tokio::task::spawn_blocking(move || answer(&witness, &body, Timestamp::from(SystemTime::now()))).await;
        let Ok(Reply { status, content_type, body, talk }) = done else {
            return plain(StatusCode::INTERNAL_SERVER_ERROR, "the witness cannot answer\n");
        };
        (self.talk)(&talk);
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// TLS 1.3 alone, with this certificate.
fn acceptor(files: CertificateFiles<'_>) -> Result<TlsAcceptor, WitnessServeError> {
    let wrong = |path: &Path, why: String| WitnessServeError::Certificate { path: path.to_owned(), why };
    let chain = CertificateDer::pem_file_iter(files.chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(files.chain, error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(files.chain, "it holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(files.key).map_err(|error| wrong(files.key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let failed = |error: rustls::Error| wrong(files.chain, error.to_string());
    let builder = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(failed)?;
    let config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(failed)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
