//! What a connection and a request cost the server, over TLS on loopback, as one JSON object.
//!
//! The server runs in one thread, clients in others. Figures per core come from the processor time of the server's thread
//! alone, so that neither the clients nor a busy machine change them much; latencies are as the clients see them, and do
//! change. Both go through everything that a real request goes through: limits, guard, gate, route.
//!
//! `cargo run --release -p ringfence-server --example server_bench -- [seconds of each measurement]`

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring program, not a library")]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Barrier, mpsc},
    thread,
    time::{Duration, Instant, SystemTime},
};

use axum::extract::Path;
use nix::time::{ClockId, clock_gettime};
use ringfence_engine::schema::Timestamp;
use ringfence_server::{
    guard::{
        Guard,
        hosts::{Hosts, Scheme},
        rate::Rate,
    },
    routes::{
        Open, Route, Routes, Verb,
        seat::{Account, Authenticator, Known, Seat},
    },
    serve::{
        Channel, Exposure, Limits, Listener, Stop,
        authority::Authority,
        tls::{Clients, Identity, Tls, provider},
    },
};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, client::Resumption};
use serde_json::json;
use tokio::sync::mpsc as channel;

/// Clients at the same time.
const CLIENTS: usize = 16;
/// Nobody is told to wait here.
const FREE: Rate = Rate { per_second: 100_000_000, burst: 100_000_000 };

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn main() {
    let seconds: u64 = std::env::args().nth(1).map_or(5, |text| text.parse().unwrap());
    let site = Site::start();
    let resuming = site.client(Resumption::default());
    let full = site.client(Resumption::disabled());
    let time = Duration::from_secs(seconds);
    let group = site.connect(&full).conn.negotiated_key_exchange_group().unwrap().name();
    let about = json!({"group": format!("{group:?}"), "target_per_core": 3_000});
    let run = site.measure(time, || || drop(site.connect(&full)));
    let mut figures = vec![run.line("handshakes_full", "handshakes", &about)];
    let run = site.measure(time, || {
        let mut answer = Vec::new();
        // The ticket for the next one comes with the answer.
        let site = &site;
        let resuming = &resuming;
        move || ask(&mut site.connect(resuming), "/health", &mut answer)
    });
    figures.push(run.line("handshakes_resumed_with_a_request", "handshakes", &about));
    for (what, path) in [("requests_open", "/health"), ("requests_seated", "/things/12345")] {
        let run = site.measure(time, || {
            let (mut stream, mut answer) = (site.connect(&full), Vec::new());
            move || ask(&mut stream, path, &mut answer)
        });
        let about = json!({"path": path, "target_per_core": 20_000, "target_p99_ms": 5});
        figures.push(run.line(what, "requests", &about));
    }
    println!("{}", json!({"schema": "ringfence.bench/1", "figures": figures}));
    site.stop.stop();
}

/// Sends a request and reads its answer to the end.
fn ask(stream: &mut Stream, path: &str, answer: &mut Vec<u8>) {
    let port = stream.sock.peer_addr().unwrap().port();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nAuthorization: Bearer token\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    answer.clear();
    let mut piece = [0; 4_096];
    while !answer.ends_with(b"\r\n\r\nok") {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0 && answer.len() < 1 << 16, "{}", String::from_utf8_lossy(answer));
        answer.extend_from_slice(piece.get(..count).unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
}

/// A server in a thread of its own, which tells its processor time.
struct Site {
    address: SocketAddr,
    authority: Arc<Authority>,
    stop: Stop,
    clock: channel::UnboundedSender<mpsc::Sender<Duration>>,
    _folder: tempfile::TempDir,
}

impl Site {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::from(SystemTime::now());
        let authority = Arc::new(Authority::open(folder.path(), &[], now).unwrap());
        let stop = Stop::default();
        let (clock, clocks) = channel::unbounded_channel();
        let (ready, bound) = mpsc::channel();
        let identity = Identity::Embedded(Arc::clone(&authority));
        let stopping = stop.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(identity, now, stopping, clocks, ready));
        });
        Self { address: bound.recv().unwrap(), authority, stop, clock, _folder: folder }
    }

    fn client(&self, resumption: Resumption) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.certificate().clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = resumption;
        Arc::new(config)
    }

    fn connect(&self, config: &Arc<ClientConfig>) -> Stream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_nodelay(true).unwrap();
        let mut stream = StreamOwned::new(
            ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap(),
            socket,
        );
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        stream
    }

    /// Processor time of the server's thread.
    fn cpu(&self) -> Duration {
        let (tell, told) = mpsc::channel();
        self.clock.send(tell).unwrap();
        told.recv().unwrap()
    }

    /// Repeats what `client` makes, in [`CLIENTS`] threads, for `time`.
    fn measure<W: FnMut()>(&self, time: Duration, client: impl Fn() -> W + Sync) -> Run {
        let barrier = Barrier::new(CLIENTS + 1);
        thread::scope(|scope| {
            let work = || {
                let mut work = client();
                barrier.wait();
                let (start, mut latencies) = (Instant::now(), Vec::new());
                while start.elapsed() < time {
                    let begun = Instant::now();
                    work();
                    latencies.push(begun.elapsed());
                }
                latencies
            };
            let workers: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(work)).collect();
            barrier.wait();
            let (cpu, wall) = (self.cpu(), Instant::now());
            let mut latencies: Vec<Duration> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
            let (cpu, wall) = (self.cpu().saturating_sub(cpu), wall.elapsed());
            latencies.sort_unstable();
            Run { cpu, wall, latencies }
        })
    }
}

async fn serve(
    identity: Identity,
    now: Timestamp,
    stop: Stop,
    mut clocks: channel::UnboundedReceiver<mpsc::Sender<Duration>>,
    ready: mpsc::Sender<SocketAddr>,
) {
    let tls = Tls::new(identity, Clients::Unasked, now).unwrap();
    let exposure = Exposure::of(([127, 0, 0, 1], 0).into(), Channel::Tls(tls), || Ok(())).unwrap();
    let limits = Limits { per_address_max: 1_024, ..Limits::default() };
    let listener = Listener::bind(exposure, limits).await.unwrap();
    let guard = Guard::new(Hosts::new(Scheme::Https, listener.address().port(), &[]).unwrap(), FREE);
    let authenticator =
        Authenticator::new(|_| async { Ok(Known { principal: 1_u32, account: Account(Arc::from("somebody")) }) });
    let thing = async |_: Seat<u32>, Path(_): Path<u32>| "ok";
    let routes = Routes::default()
        .with(Route::open(Open::Health, Verb::Get, "/health", "nothing but an answer", async || "ok"))
        .with(Route::signed_in(Verb::Get, "/things/{id}", "an answer to somebody", thing).unrecorded());
    let service = routes.service((), authenticator, FREE, guard).unwrap();
    ready.send(listener.address()).unwrap();
    tokio::spawn(async move {
        while let Some(tell) = clocks.recv().await {
            tell.send(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()).unwrap();
        }
    });
    listener.serve(service, stop).await;
}

/// What was measured.
struct Run {
    cpu: Duration,
    wall: Duration,
    latencies: Vec<Duration>,
}

impl Run {
    fn line(&self, what: &str, unit: &str, more: &serde_json::Value) -> serde_json::Value {
        let count = self.latencies.len();
        let at = |share: usize| self.latencies.get(count * share / 100).unwrap().as_secs_f64() * 1e3;
        json!({
            "what": what, "count": count, "clients": CLIENTS,
            format!("{unit}_per_core_second"): count as f64 / self.cpu.as_secs_f64(),
            format!("{unit}_per_second"): count as f64 / self.wall.as_secs_f64(),
            "cpu_us": self.cpu.as_secs_f64() * 1e6 / count as f64,
            "p50_ms": at(50), "p99_ms": at(99), "about": more,
        })
    }
}
