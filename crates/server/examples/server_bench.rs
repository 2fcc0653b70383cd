//! What a connection and a request cost the server, over TLS on loopback, as one JSON object.
//!
//! Handshakes and requests without a record go to a server of one thread with two routes; reads that are authorised and
//! recorded go to the whole server over a vault of several people, with all its threads. Figures per core come from the
//! processor time of the process less that of the clients' threads, so that neither the clients nor a busy machine change
//! them much; latencies are as the clients see them, and do change. All go through everything that a real request goes
//! through: limits, guard, gate, route.
//!
//! `cargo run --release -p ringfence-server --example server_bench -- [seconds of each measurement] [reads]`; with `reads`,
//! the recorded reads alone.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring program, not a library")]

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path as FilePath,
    sync::{Arc, Barrier, mpsc},
    thread,
    time::{Duration, Instant, SystemTime},
};

use axum::extract::Path;
use nix::time::{ClockId, clock_gettime};
use ringfence_engine::{
    Asked, Passphrase, Protection, Settings, Silent, Vault,
    access::{PersonKind, Role},
    reach::{self, Reach, ReachError, Secrets},
    schema::Timestamp,
    team::{
        Enrollee, Invite, Origin,
        passkey::{Challenge, RelyingParty, SoftKey, UserHandle},
    },
};
use ringfence_server::{
    api,
    app::App,
    guard::{
        Guard, Service,
        hosts::{Hosts, Scheme},
        rate::Rate,
    },
    routes::{
        Open, Route, Routes, Verb,
        seat::{Account, Authenticator, Known, Seat},
    },
    scim,
    serve::{
        Channel, Exposure, Limits, Listener, Stop,
        authority::Authority,
        tls::{Clients, Identity, Tls, provider},
    },
    web,
};
use ringfence_trust::entropy::SystemEntropy;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, client::Resumption};
use serde_json::{Value, json};

/// Clients at the same time.
const CLIENTS: usize = 16;
/// Threads of the server that wait for the trail, as `serve` has them.
const WAITING_THREADS: usize = 64;
/// Where the passkeys were made.
const SITE: &str = "https://localhost:8443";
/// Nobody is told to wait here.
const FREE: Rate = Rate { per_second: 100_000_000, burst: 100_000_000 };

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn main() {
    let seconds: u64 = std::env::args().nth(1).map_or(5, |text| text.parse().unwrap());
    let time = Duration::from_secs(seconds);
    let only_reads = std::env::args().nth(2).is_some_and(|what| what == "reads");
    let mut figures = if only_reads { json!({}) } else { bare(time) };
    figures["schema"] = json!("ringfence.bench/2");
    figures["target_recorded_reads_per_core_second"] = json!(8_000);
    figures["target_p99_ms"] = json!(5);
    figures["recorded_reads"] = json!(recorded(time));
    println!("{figures}");
}

/// Connections and requests that leave no record.
fn bare(time: Duration) -> Value {
    let site = Site::start(tokio::runtime::Builder::new_current_thread(), two_routes);
    let resuming = site.client(Resumption::default());
    let full = site.client(Resumption::disabled());
    let group = site.connect(&full).conn.negotiated_key_exchange_group().unwrap().name();
    let run = measure(CLIENTS, time, || || drop(site.connect(&full)));
    let mut handshakes = vec![run.line("full")];
    let run = measure(CLIENTS, time, || {
        let mut answer = Vec::new();
        // The ticket for the next one comes with the answer.
        let site = &site;
        let resuming = &resuming;
        move || ask(&mut site.connect(resuming), "/health", "token", &mut answer)
    });
    handshakes.push(run.line("resumed, with a request"));
    let mut requests = Vec::new();
    for (what, path) in [("open route", "/health"), ("with a token", "/things/12345")] {
        let run = measure(CLIENTS, time, || {
            let (mut stream, mut answer) = (site.connect(&full), Vec::new());
            move || ask(&mut stream, path, "token", &mut answer)
        });
        requests.push(run.line(what));
    }
    site.stop.stop();
    json!({
        "key_exchange": format!("{group:?}"),
        "target_handshakes_per_core_second": 3_000,
        "target_requests_per_core_second": 20_000,
        "handshakes": handshakes,
        "requests": requests,
    })
}

/// Authorised reads, each durable in the trail before it is answered.
fn recorded(time: Duration) -> Vec<Value> {
    let folder = tempfile::tempdir_in(".").unwrap();
    let (app, token) = team(folder.path());
    let site = Site::start(tokio::runtime::Builder::new_multi_thread(), move |hosts| {
        let routes = api::routes().join(scim::routes()).join(web::routes());
        let guard = Guard::new(hosts, FREE);
        routes.service(app.clone(), app.authenticator(), FREE, guard).unwrap()
    });
    let full = site.client(Resumption::disabled());
    let path = "/api/v1/artifacts";
    let mut lines = Vec::new();
    for clients in [4, CLIENTS, 64] {
        let run = measure(clients, time, || {
            let (mut stream, mut answer) = (site.connect(&full), Vec::new());
            let token = &token;
            move || ask(&mut stream, path, token, &mut answer)
        });
        lines.push(run.line(path));
    }
    site.stop.stop();
    lines
}

/// A vault with an owner and a researcher, and the researcher's session.
fn team(folder: &FilePath) -> (App, String) {
    fn now() -> Timestamp {
        Timestamp::from(SystemTime::now())
    }
    fn no_passphrase(_: Asked) -> std::io::Result<Passphrase> {
        Err(std::io::Error::other("there is none"))
    }
    fn no_way_out() -> Result<Reach, ReachError> {
        Reach::new(reach::Settings::default(), Secrets::default())
    }
    let settings: &'static Settings<'static> = Box::leak(Box::new(Settings {
        vault: folder.join("vault"),
        config: folder.join("config"),
        program: "nowhere".into(),
        now: &now,
        passphrase: &no_passphrase,
        reach: &no_way_out,
        progress: &Silent,
    }));
    let vault = Vault::init(settings, Protection::KeyFile).unwrap();
    let owner = enrol(&vault, &vault.offer_setup().unwrap().token.unwrap(), Some(("ana", "Ana")));
    let (name, display) = ("ben".to_owned(), "Ben".to_owned());
    let invite = Invite { name, display, kind: PersonKind::Human, roles: BTreeSet::from([Role::Researcher]) };
    let invitation = vault.acting(vault.authenticate(&owner, None).unwrap()).invite(&invite).unwrap();
    let token = enrol(&vault, &invitation.token.unwrap(), None);
    let party = RelyingParty::new("localhost", &[SITE]).unwrap();
    (App::new(vault, party, now).unwrap(), token)
}

/// Enrols a passkey by an invitation and tells the token of the session that this begins.
fn enrol(vault: &Vault<'_>, token: &str, names: Option<(&str, &str)>) -> String {
    let rp = RelyingParty::new("localhost", &[SITE]).unwrap();
    let who = Enrollee::Invited { token, names };
    let id = vault.invited(token).unwrap().person.id;
    let handle = UserHandle::new(id.as_str().as_bytes().to_vec()).unwrap();
    let key = SoftKey::generate("localhost", &handle, &mut SystemEntropy::new()).unwrap();
    let offer = vault.begin_enrol(&rp, who).unwrap();
    let challenge: Challenge = serde_json::from_value(offer.options["challenge"].clone()).unwrap();
    let registration = key.register(SITE, &challenge).unwrap();
    let origin = Origin { address: None, client: "bench".to_owned() };
    let enrolled = vault.finish_enrol(&rp, who, &offer.ceremony, &registration, "laptop", &origin).unwrap();
    enrolled.entered.unwrap().token.to_string()
}

/// Sends a request and reads its answer to the end.
fn ask(stream: &mut Stream, path: &str, token: &str, answer: &mut Vec<u8>) {
    let port = stream.sock.peer_addr().unwrap().port();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    answer.clear();
    let mut piece = [0; 4_096];
    while length(answer) != Some(answer.len()) {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0 && answer.len() < 1 << 16, "{}", String::from_utf8_lossy(answer));
        answer.extend_from_slice(piece.get(..count).unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(answer));
}

/// How long the answer that begins like this will be in all, once its head tells.
fn length(answer: &[u8]) -> Option<usize> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(answer.get(..end)?).unwrap().to_ascii_lowercase();
    let (_, rest) = head.split_once("content-length: ").unwrap();
    Some(end + rest.split_once('\r').unwrap().0.parse::<usize>().unwrap())
}

/// A server in threads of its own.
struct Site {
    address: SocketAddr,
    authority: Arc<Authority>,
    stop: Stop,
    _folder: tempfile::TempDir,
}

impl Site {
    fn start(mut runtime: tokio::runtime::Builder, service: impl FnOnce(Hosts) -> Service + Send + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::from(SystemTime::now());
        let authority = Arc::new(Authority::open(folder.path(), &[], now).unwrap());
        let stop = Stop::default();
        let (ready, bound) = mpsc::channel();
        let identity = Identity::Embedded(Arc::clone(&authority));
        let stopping = stop.clone();
        thread::spawn(move || {
            let runtime = runtime.enable_all().max_blocking_threads(WAITING_THREADS).build().unwrap();
            runtime.block_on(async move {
                let tls = Tls::new(identity, Clients::Unasked, now).unwrap();
                let exposure = Exposure::of(([127, 0, 0, 1], 0).into(), Channel::Tls(tls), || Ok(())).unwrap();
                let limits = Limits { per_address_max: 1_024, ..Limits::default() };
                let listener = Listener::bind(exposure, limits).await.unwrap();
                let service = service(Hosts::new(Scheme::Https, listener.address().port(), &[]).unwrap());
                ready.send(listener.address()).unwrap();
                listener.serve(service, stopping).await;
            });
        });
        Self { address: bound.recv().unwrap(), authority, stop, _folder: folder }
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
}

fn two_routes(hosts: Hosts) -> Service {
    let authenticator =
        Authenticator::new(|_| async { Ok(Known { principal: 1_u32, account: Account(Arc::from("somebody")) }) });
    let thing = async |_: Seat<u32>, Path(_): Path<u32>| "ok";
    let routes = Routes::default()
        .with(Route::open(Open::Health, Verb::Get, "/health", "nothing but an answer", async || "ok"))
        .with(Route::signed_in(Verb::Get, "/things/{id}", "an answer to somebody", thing).unrecorded());
    routes.service((), authenticator, FREE, Guard::new(hosts, FREE)).unwrap()
}

/// Repeats what `client` makes, in as many threads as there are `clients`, for `time`.
fn measure<W: FnMut()>(clients: usize, time: Duration, client: impl Fn() -> W + Sync) -> Run {
    let barrier = Barrier::new(clients + 1);
    thread::scope(|scope| {
        let work = || {
            let mut work = client();
            barrier.wait();
            let (start, before, mut latencies) = (Instant::now(), cpu(ClockId::CLOCK_THREAD_CPUTIME_ID), Vec::new());
            while start.elapsed() < time {
                let begun = Instant::now();
                work();
                latencies.push(begun.elapsed());
            }
            (latencies, cpu(ClockId::CLOCK_THREAD_CPUTIME_ID).saturating_sub(before))
        };
        let workers: Vec<_> = (0..clients).map(|_| scope.spawn(work)).collect();
        barrier.wait();
        let (before, wall) = (cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID), Instant::now());
        let (mut latencies, mut theirs) = (Vec::new(), Duration::ZERO);
        for worker in workers {
            let (taken, used) = worker.join().unwrap();
            latencies.extend(taken);
            theirs += used;
        }
        let all = cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID).saturating_sub(before);
        latencies.sort_unstable();
        Run { clients, cpu: all.saturating_sub(theirs), wall: wall.elapsed(), latencies }
    })
}

/// Processor time of this thread or process.
fn cpu(clock: ClockId) -> Duration {
    clock_gettime(clock).unwrap().into()
}

/// What was measured.
struct Run {
    clients: usize,
    cpu: Duration,
    wall: Duration,
    latencies: Vec<Duration>,
}

impl Run {
    fn line(&self, what: &str) -> Value {
        let count = self.latencies.len();
        let at = |share: usize| self.latencies.get(count * share / 100).unwrap().as_secs_f64() * 1e3;
        json!({
            "what": what, "count": count, "clients": self.clients,
            "per_core_second": count as f64 / self.cpu.as_secs_f64(),
            "per_second": count as f64 / self.wall.as_secs_f64(),
            "cpu_us": self.cpu.as_secs_f64() * 1e6 / count as f64,
            "p50_ms": at(50), "p99_ms": at(99),
        })
    }
}
