//! A server on loopback with a handful of routes, and a client that sends bytes.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{
    body::Bytes,
    extract::{Path, State},
};
use ringfence_engine::{access::Action, schema::Timestamp};
use ringfence_server::{
    guard::{
        Guard, Service,
        hosts::{HostName, Hosts, Scheme},
        json::Json,
        rate::Rate,
    },
    health,
    problem::{Answer, Kind, Problem},
    routes::{
        Intake, Open, Route, Routes, Verb,
        gate::Times,
        seat::{Account, Authenticator, Credential, Known, Refusal, Seat},
    },
    serve::{
        Channel, Drained, Exposure, Limits, Listener, Stop,
        authority::Authority,
        tls::{Clients, Identity, Tls, provider},
    },
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Longer than anything here takes, so that a test that waits for nothing fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// A limit that is over soon.
pub(crate) const SHORT: Duration = Duration::from_millis(200);
/// As often as one likes.
pub(crate) const FREE: Rate = Rate { per_second: 1_000_000, burst: 1_000_000 };

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    /// Requests that `/slow` holds.
    pub(crate) held: Arc<Semaphore>,
    /// Lets them go.
    pub(crate) release: Arc<Semaphore>,
    /// Handlers behind a seat that ran.
    pub(crate) seated: Arc<AtomicU64>,
}

impl Default for App {
    fn default() -> Self {
        let none = || Arc::new(Semaphore::new(0));
        Self { held: none(), release: none(), seated: Arc::default() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Thing {
    name: String,
    size: u32,
}

async fn me(seat: Seat<String>, State(app): State<App>) -> String {
    app.seated.fetch_add(1, Ordering::Relaxed);
    format!(
        "{} by {}",
        seat.principal(),
        seat.certificate().map_or("no certificate".to_owned(), |print| print.to_string())
    )
}

async fn thing(seat: Seat<String>, State(app): State<App>, Path(id): Path<u32>) -> Answer {
    app.seated.fetch_add(1, Ordering::Relaxed);
    if id == 7 {
        return Err(Problem::about(Kind::NotFound, format!("{} sees no such thing", seat.principal())));
    }
    Ok(axum::response::IntoResponse::into_response(Json(json!({"id": id}))))
}

async fn put_thing(_: Seat<String>, Json(thing): Json<Thing>) -> String {
    format!("{} of {}", thing.name, thing.size)
}

async fn upload(_: Seat<String>, body: Bytes) -> String {
    body.len().to_string()
}

async fn slow(State(app): State<App>) -> &'static str {
    app.held.add_permits(1);
    app.release.acquire().await.unwrap().forget();
    "done"
}

async fn panics() -> &'static str {
    panic!("the secret is hunter2")
}

/// The table of the tests.
pub(crate) fn routes() -> Routes<App, String> {
    let any = |verb| Route::signed_in(verb, "/any", "anything", me).takes(Intake::Bytes { bytes_max: 1_000 });
    Routes::default()
        .with(Route::open(Open::Static, Verb::Get, "/", "the front", async || "front"))
        .with(Route::open(Open::Static, Verb::Get, "/open", "for everybody", async || "open"))
        .with(Route::open(Open::Static, Verb::Get, "/slow", "waits", slow))
        .with(Route::open(Open::Static, Verb::Get, "/panic", "breaks", panics))
        .with(Route::open(
            Open::Static,
            Verb::Get,
            "/rest/{*rest}",
            "anything below",
            async |Path(rest): Path<String>| rest,
        ))
        .with(
            Route::open(Open::SignIn, Verb::Post, "/login", "the way in", async |body: String| body)
                .takes(Intake::Form)
                .weighs(10),
        )
        .with(Route::signed_in(Verb::Get, "/me", "who one is", me))
        .with(Route::acting(Action::Read, Verb::Get, "/things/{id}", "one thing", thing))
        .with(Route::acting(Action::Receive, Verb::Post, "/things", "a new thing", put_thing).takes(Intake::Json))
        .with(
            Route::acting(Action::Receive, Verb::Put, "/upload", "bytes", upload)
                .takes(Intake::Bytes { bytes_max: 1 << 20 })
                .streaming(),
        )
        .and([any(Verb::Post), any(Verb::Put), any(Verb::Patch), any(Verb::Delete)])
        .and(health::routes(Arc::new(|| Err(vec!["the disk is full".to_owned()]))))
}

/// Who the tests know.
pub(crate) fn authenticator() -> Authenticator<String> {
    Authenticator::new(|ask| async move {
        let principal = match &ask.credential {
            Credential::Token(token) | Credential::Session(token) => match token.expose() {
                "good" => "ann".to_owned(),
                "below" => return Err(Refusal::StepUp),
                "wrong-role" => return Err(Refusal::Denied(vec!["ann may not".to_owned()])),
                "stranger" => return Err(Refusal::Hidden),
                _ => return Err(Refusal::SignIn),
            },
            Credential::Certificate(print) => print.to_string(),
            _ => return Err(Refusal::SignIn),
        };
        Ok(Known { account: Account(principal.as_str().into()), principal })
    })
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// The service alone, as `Hosts` of port 8443 see it.
pub(crate) fn service(app: App, rate: Rate) -> Service {
    let guard = Guard::new(Hosts::new(Scheme::Https, 8443, &[]).unwrap(), rate);
    routes().service(app, authenticator(), rate, guard).unwrap()
}

/// What differs between servers.
pub(crate) struct Plan {
    pub(crate) limits: Limits,
    pub(crate) times: Times,
    pub(crate) rate: Rate,
    pub(crate) hosts: Vec<HostName>,
    pub(crate) clients: bool,
}

impl Default for Plan {
    fn default() -> Self {
        let (limits, times) = (Limits::default(), Times::default());
        Self { limits, times, rate: FREE, hosts: Vec::new(), clients: false }
    }
}

/// A server that runs.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) app: App,
    pub(crate) stop: Stop,
    pub(crate) service: Service,
    pub(crate) authority: Arc<Authority>,
    serving: JoinHandle<Drained>,
    _folder: TempDir,
}

impl Site {
    pub(crate) async fn start(plan: Plan) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Arc::new(Authority::open(&folder.path().join("tls"), &plan.hosts, now()).unwrap());
        let clients = if plan.clients { Clients::Optional(Arc::clone(&authority)) } else { Clients::Unasked };
        let tls = Tls::new(Identity::Embedded(Arc::clone(&authority)), clients, now()).unwrap();
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let exposure = Exposure::of(loopback, Channel::Tls(tls), || Err("not asked".to_owned())).unwrap();
        let listener = Listener::bind(exposure, plan.limits).await.unwrap();
        let address = listener.address();
        let guard = Guard::new(Hosts::new(Scheme::Https, address.port(), &plan.hosts).unwrap(), plan.rate);
        let guard = guard.within(plan.times).page(|ask| {
            Some(axum::response::IntoResponse::into_response(axum::response::Html(format!(
                "<h1>{}</h1>",
                ask.problem.kind().title()
            ))))
        });
        let app = App::default();
        let service = routes().service(app.clone(), authenticator(), plan.rate, guard).unwrap();
        let stop = Stop::default();
        let serving = tokio::spawn(listener.serve(service.clone(), stop.clone()));
        Self { address, app, stop, service, authority, serving, _folder: folder }
    }

    /// A client's configuration that trusts the server's authority.
    pub(crate) fn trusting(&self) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.certificate().clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
    }

    pub(crate) async fn connect_as(&self, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, socket).await
    }

    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        self.connect_as(self.trusting().with_no_client_auth()).await.unwrap()
    }

    /// Sends `head` (without `Host` and the empty line) and `body`, and reads the answer.
    pub(crate) async fn ask(&self, head: &str, body: &[u8]) -> Reply {
        let mut stream = self.connect().await;
        let head = format!("{head}\r\nHost: localhost:{}\r\n\r\n", self.address.port());
        send(&mut stream, &[head.as_bytes(), body].concat()).await.expect("an answer")
    }

    pub(crate) fn origin(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// Stops, and says how it ended.
    pub(crate) async fn finish(self) -> Drained {
        self.stop.stop();
        timeout(PATIENCE, self.serving).await.expect("an end").unwrap()
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Reply {
    /// The kind of the problem; fails unless it is a whole problem document.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        let document: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(document["status"], self.status, "{self:?}");
        assert!(document["title"].is_string());
        document["type"].as_str().unwrap().strip_prefix("urn:ringfence:problem:").unwrap().to_owned()
    }
}

/// Sends bytes and reads one answer; `None` where the connection ends without one.
pub(crate) async fn send(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: &[u8]) -> Option<Reply> {
    // The server may have answered and closed before it read everything.
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
    receive(stream, bytes.starts_with(b"HEAD ")).await
}

/// Reads one answer.
pub(crate) async fn receive(stream: &mut (impl AsyncRead + Unpin), headless: bool) -> Option<Reply> {
    let mut bytes = Vec::new();
    let (end, head) = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break (end + 4, String::from_utf8(bytes[..end].to_vec()).unwrap());
        }
        if !more(stream, &mut bytes).await {
            return None;
        }
    };
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: BTreeMap<String, String> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while !headless && bytes.len() < end + length && more(stream, &mut bytes).await {}
    let body = String::from_utf8(bytes[end..].to_vec()).unwrap();
    Some(Reply { status, headers, body })
}

async fn more(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> bool {
    let mut piece = [0; 4_096];
    let count = timeout(PATIENCE, stream.read(&mut piece)).await.expect("bytes or an end").unwrap_or(0);
    bytes.extend_from_slice(&piece[..count]);
    count > 0
}

/// Waits until the other end closes, and returns what came before.
pub(crate) async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    while more(stream, &mut bytes).await {}
    bytes
}
