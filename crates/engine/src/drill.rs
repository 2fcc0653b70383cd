//! `drill run`: known bad jobs, started on purpose in the real sandbox under the real watch, and what became of each.
//!
//! Nothing is simulated: the job is this program inside a run, the supervisor is the one of every run, and the models are
//! those of every run. Where a job tries to carry something out, a listener of this host waits for it, and a single byte
//! that arrives is a failure. No vault is needed or touched.

use std::{
    fs::{self, File},
    io,
    net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ringfence_sandbox::{
    Allowed, DRILLS, Demand, Drill, EgressPolicy, Ending, Gpus, Job, Level, RunLimits, RunResult, Source, Stop,
    drill::Stopped, run_keyless,
};
use ringfence_schema::{
    Timestamp,
    event::{Claimed, Observed, RunEvent, Source as Told},
    finding::printable,
};
use ringfence_trust::entropy::{self, SystemEntropy};
use ringfence_watch::run::{Expectations, LearningRatePlan, RateCurve, RunWatch};
use serde::Serialize;

use crate::{error::EngineError, settings::Settings};

/// What became of one drill.
#[derive(Debug, Clone, Serialize)]
pub struct Drilled {
    /// The drill.
    pub name: &'static str,
    /// What it does.
    pub does: &'static str,
    /// Whether everything that must stop or see it did.
    pub passed: bool,
    /// What stopped it, if something must.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<String>,
    /// The first alert of a kind that must see it: kind, and milliseconds since the bad job began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_by: Option<(String, u64)>,
    /// Kinds of all alerts, in order.
    pub alerts: Vec<String>,
    /// Bytes that arrived at listeners outside. Anything but 0 is a leak.
    pub arrived_bytes: u64,
    /// How it ended, or why it failed.
    pub detail: String,
    /// The level of confinement that held.
    pub level: &'static str,
}

/// The names of all drills with what they do.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    DRILLS.iter().map(|drill| (drill.name, drill.does))
}

/// Carries out the drills `wanted`, all where none is named, and hands each to `tell` as it is done.
///
/// # Errors
/// [`EngineError::NotFound`] for a name that is no drill; [`EngineError::Incomplete`] where a drill could not be carried out.
pub fn run(settings: &Settings<'_>, wanted: &[String], tell: &mut dyn FnMut(&Drilled)) -> Result<(), EngineError> {
    for name in wanted {
        if !DRILLS.iter().any(|drill| drill.name == name) {
            return Err(EngineError::NotFound { what: "drill", name: name.clone() });
        }
    }
    let chosen = DRILLS.iter().filter(|drill| wanted.is_empty() || wanted.iter().any(|name| name == drill.name));
    for drill in chosen {
        settings.progress.begin(drill.name, None);
        let drilled = carry_out(settings, drill);
        settings.progress.end("");
        tell(&drilled?);
    }
    Ok(())
}

fn carry_out(settings: &Settings<'_>, drill: &'static Drill) -> Result<Drilled, EngineError> {
    let listeners = Listeners::open().map_err(|error| EngineError::incomplete(drill.name, error))?;
    let id: [u8; 6] = entropy::bytes(&mut SystemEntropy::new());
    let id = format!("d-{}", ringfence_schema::digest::hex(&id));
    let job = job(settings, drill, &id, &listeners)?;
    let mut seen = Seen::new(&id, (settings.now)(), drill);
    let stop = Stop::new();
    let result = run_keyless(
        &settings.program,
        &["__supervise"],
        job,
        &stop,
        &mut |event| {
            seen.take(&event);
            settings.progress.advance(event.at_ms / 1_000, &seen.said);
            if seen.is_enough() {
                stop.stop();
            }
        },
        &mut |_, content| io::copy(content, &mut io::sink()).map(|_| ()),
    )
    .map_err(|error| EngineError::incomplete(drill.name, error))?;
    seen.end();
    let left = left_behind(&id);
    Ok(seen.judge(drill, &result, listeners.close(), left))
}

fn job(settings: &Settings<'_>, drill: &Drill, id: &str, listeners: &Listeners) -> Result<Job, EngineError> {
    let program = File::open(&settings.program).map_err(EngineError::io(&settings.program))?;
    let size = program.metadata().map_err(EngineError::io(&settings.program))?.len();
    let mut command: Vec<String> = ["./ringfence", "__drill", drill.name].map(str::to_owned).to_vec();
    let mut egress = EgressPolicy::default();
    match drill.name {
        "exfiltrate-address" | "exfiltrate-udp" => {
            command.extend(listeners.addresses.iter().map(|address| format!("{address}:{}", listeners.port)));
        }
        "exfiltrate-unix" => command.push(listeners.unix.clone()),
        "learning-rate" => command.push(PLANNED_RATE.to_string()),
        "label-flip" => command.extend(LABELS.map(|(label, count)| format!("{label}={count}"))),
        _ => {}
    }
    let probe = ringfence_sandbox::probe(&settings.program, &["__supervise"])
        .map_err(|error| EngineError::incomplete("sandbox", error))?;
    // Without namespaces there is no egress to be had, and no socket either.
    let namespaces = probe.level.is_some_and(|level| level > Level::Landlock);
    if namespaces
        && matches!(drill.name, "exfiltrate-dns" | "exfiltrate-name" | "exfiltrate-address" | "exfiltrate-udp")
    {
        let host = ALLOWED_HOST.parse().map_err(|error| EngineError::incomplete(drill.name, error))?;
        let network = "127.0.0.0/8".parse().map_err(|error| EngineError::incomplete(drill.name, error))?;
        egress = EgressPolicy {
            allow: vec![Allowed { host, port: listeners.port, opaque: false }],
            networks: vec![network],
            pins: vec![(ALLOWED_HOST.to_owned(), IpAddr::V4(Ipv4Addr::LOCALHOST))],
            ..EgressPolicy::default()
        };
    }
    if drill.name == "exfiltrate-name" {
        command.push(format!("{ALLOWED_HOST}:{}", listeners.port));
    }
    Ok(Job {
        run_id: id.to_owned(),
        command,
        environment: Vec::new(),
        readable: Vec::new(),
        // A dataset that an honest training would open.
        inputs: vec![Source {
            path: "train/train.csv".into(),
            size: DATASET.len() as u64,
            executable: false,
            content: Box::new(DATASET.as_bytes()),
        }],
        program: vec![Source { path: "ringfence".into(), size, executable: true, content: Box::new(program) }],
        limits: RunLimits {
            memory_bytes: MEMORY_BYTES,
            processes: PROCESSES,
            wall_ms: WALL_MS,
            output_bytes: 64 << 20,
            ..RunLimits::default()
        },
        demand: Demand::Any,
        egress,
        gpus: Gpus::None,
    })
}

/// What the watch and the job say.
struct Seen {
    watch: RunWatch,
    wanted: &'static [&'static str],
    waits_for_alert: bool,
    alerts: Vec<(String, u64)>,
    began_ms: u64,
    now_ms: u64,
    said: String,
    refused: u64,
}

impl Seen {
    fn new(id: &str, now: Timestamp, drill: &'static Drill) -> Self {
        let whole: u64 = LABELS.iter().map(|(_, count)| count).sum();
        let expected = Expectations {
            label_shares: LABELS.iter().map(|(l, n)| ((*l).to_owned(), *n as f64 / whole as f64)).collect(),
            records: Some(whole),
            learning_rate: Some(LearningRatePlan { curve: RateCurve::Constant(PLANNED_RATE), tolerance: 0.01 }),
            has_inputs: Some(true),
            memory_bytes: Some(MEMORY_BYTES),
            processes: Some(PROCESSES),
            cores: thread::available_parallelism().ok().map(|cores| cores.get() as f64),
            ..Expectations::default()
        };
        Self {
            watch: RunWatch::new(id, now, expected),
            wanted: drill.alerts,
            waits_for_alert: drill.stopped_by.is_none(),
            alerts: Vec::new(),
            began_ms: 0,
            now_ms: 0,
            said: String::new(),
            refused: 0,
        }
    }

    fn take(&mut self, event: &RunEvent) {
        self.now_ms = event.at_ms;
        match &event.source {
            Told::Observed(Observed::Started { .. }) => self.began_ms = event.at_ms,
            Told::Observed(Observed::Egress(egress)) if egress.refused.is_some() => self.refused += 1,
            Told::Observed(Observed::Refused { .. }) => self.refused += 1,
            Told::Claimed(Claimed::Line { text, .. }) if text.starts_with("drill: ") => {
                self.said = printable(text, SAID_CHARS_MAX);
            }
            _ => {}
        }
        let alerts = self.watch.push(event);
        self.alerts.extend(alerts.into_iter().map(|alert| (alert.kind, event.at_ms.saturating_sub(self.began_ms))));
    }

    fn end(&mut self) {
        let after = self.now_ms.saturating_sub(self.began_ms);
        let alerts = self.watch.end();
        self.alerts.extend(alerts.into_iter().map(|alert| (alert.kind, after)));
    }

    fn hit(&self) -> Option<&(String, u64)> {
        self.alerts.iter().find(|(kind, _)| self.wanted.contains(&kind.as_str()))
    }

    /// A job that nothing but an alert ends need not go on once it was seen.
    fn is_enough(&self) -> bool {
        self.waits_for_alert && self.hit().is_some()
    }

    fn judge(&self, drill: &'static Drill, result: &RunResult, arrived_bytes: u64, left: usize) -> Drilled {
        let got_out = self.said.contains(": out: ");
        let ended = match &result.ending {
            Ending::Exited(code) => format!("exit code {code}"),
            Ending::Signalled(signal) => format!("signal {signal}"),
            Ending::Limit(limit) => format!("killed at its limit: {limit}"),
            Ending::Stopped => "stopped once it was seen".to_owned(),
        };
        let stopped_by = match drill.stopped_by {
            Some(Stopped::Refused(how)) => (!got_out && self.refused + self.said_held() > 0).then_some(how),
            Some(Stopped::Limited(how)) => (!got_out).then_some(how),
            Some(Stopped::Dead(how)) => (left == 0).then_some(how),
            None => None,
        };
        let seen_by = self.hit().cloned();
        let mut wrong = Vec::new();
        if arrived_bytes > 0 {
            wrong.push(format!("{arrived_bytes} bytes arrived outside"));
        }
        if got_out {
            wrong.push("the job got out".to_owned());
        }
        if left > 0 {
            wrong.push(format!("{left} processes were left behind"));
        }
        if drill.stopped_by.is_some() && stopped_by.is_none() {
            wrong.push("nothing stopped it".to_owned());
        }
        match &seen_by {
            None if !drill.alerts.is_empty() => wrong.push("no alert saw it".to_owned()),
            Some((_, after)) if *after > SEEN_MS_MAX => wrong.push(format!("seen only after {after} ms")),
            _ => {}
        }
        let said = if self.said.is_empty() { ended } else { format!("{ended}; {}", self.said) };
        Drilled {
            name: drill.name,
            does: drill.does,
            passed: wrong.is_empty(),
            stopped_by: stopped_by.map(str::to_owned),
            seen_by,
            alerts: self.alerts.iter().map(|(kind, _)| kind.clone()).collect(),
            arrived_bytes,
            detail: if wrong.is_empty() { said } else { format!("{}; {said}", wrong.join("; ")) },
            level: result.level.name(),
        }
    }

    fn said_held(&self) -> u64 {
        u64::from(self.said.contains(": held: "))
    }
}

/// Processes of run `id` that are alive a second after its end.
fn left_behind(id: &str) -> usize {
    let deadline = Instant::now() + Duration::from_secs(1);
    loop {
        let left = processes_of(id);
        if left == 0 || Instant::now() >= deadline {
            return left;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn processes_of(id: &str) -> usize {
    let mark = format!("RINGFENCE_RUN_ID={id}");
    let is_of_run = |path: &Path| {
        fs::read(path.join("environ")).is_ok_and(|bytes| bytes.split(|byte| *byte == 0).any(|v| v == mark.as_bytes()))
    };
    fs::read_dir("/proc").into_iter().flatten().flatten().filter(|entry| is_of_run(&entry.path())).count()
}

/// Listeners of this host, for what must not arrive.
struct Listeners {
    port: u16,
    addresses: Vec<IpAddr>,
    unix: String,
    arrived: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Listeners {
    fn open() -> io::Result<Self> {
        let tcp = TcpListener::bind("0.0.0.0:0")?;
        let port = tcp.local_addr()?.port();
        let udp = UdpSocket::bind(("0.0.0.0", port))?;
        let random: [u8; 6] = entropy::bytes(&mut SystemEntropy::new());
        let name = format!("ringfence-drill-{}", ringfence_schema::digest::hex(&random));
        let address =
            <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(&name)?;
        let unix = std::os::unix::net::UnixListener::bind_addr(&address)?;
        tcp.set_nonblocking(true)?;
        unix.set_nonblocking(true)?;
        udp.set_read_timeout(Some(LISTEN_PAUSE))?;
        let (arrived, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let shared = || (Arc::clone(&arrived), Arc::clone(&done));
        let ((tcp_in, tcp_done), (unix_in, unix_done), (udp_in, udp_done)) = (shared(), shared(), shared());
        let threads = vec![
            thread::spawn(move || {
                accept(&tcp_done, || {
                    let (stream, _) = tcp.accept()?;
                    stream.set_read_timeout(Some(READ_PAUSE))?;
                    count(stream, &tcp_in);
                    Ok(())
                });
            }),
            thread::spawn(move || {
                accept(&unix_done, || {
                    let (stream, _) = unix.accept()?;
                    // Whoever is connected has got out, said something or not.
                    unix_in.fetch_add(1, Ordering::Relaxed);
                    stream.set_read_timeout(Some(READ_PAUSE))?;
                    count(stream, &unix_in);
                    Ok(())
                });
            }),
            thread::spawn(move || {
                let mut buffer = [0; 2_048];
                while !udp_done.load(Ordering::Relaxed) {
                    if let Ok((bytes, _)) = udp.recv_from(&mut buffer) {
                        udp_in.fetch_add(bytes.max(1) as u64, Ordering::Relaxed);
                    }
                }
            }),
        ];
        Ok(Self { port, addresses: own_addresses(), unix: format!("@{name}"), arrived, done, threads })
    }

    /// Bytes that arrived.
    fn close(self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| {
            let _ = thread.join();
        });
        self.arrived.load(Ordering::Relaxed)
    }
}

fn accept(done: &AtomicBool, mut one: impl FnMut() -> io::Result<()>) {
    while !done.load(Ordering::Relaxed) {
        if one().is_err() {
            thread::sleep(LISTEN_PAUSE);
        }
    }
    // What connected in the last moment counts too.
    let _ = one();
}

fn count(mut stream: impl io::Read, arrived: &AtomicU64) {
    let mut buffer = [0; 2_048];
    for _ in 0..READS_MAX {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(bytes) => arrived.fetch_add(bytes as u64, Ordering::Relaxed),
        };
    }
}

/// Addresses of this host that a job could name, at most [`ADDRESSES_MAX`].
fn own_addresses() -> Vec<IpAddr> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let mut found: Vec<IpAddr> = interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()))
        })
        .collect();
    found.sort();
    found.dedup();
    found.truncate(ADDRESSES_MAX);
    found
}

/// The one host that drills may reach.
const ALLOWED_HOST: &str = "allowed.drill.invalid";
/// The learning rate of the drills' plan.
const PLANNED_RATE: f64 = 0.001;
/// Labels of the drills' dataset.
const LABELS: [(&str, u64); 3] = [("cat", 500), ("dog", 300), ("fox", 200)];
/// The drills' dataset.
const DATASET: &str = "x,label\n1,cat\n2,dog\n3,fox\n";
/// Memory of a drill, in bytes.
const MEMORY_BYTES: u64 = 1 << 30;
/// Processes of a drill.
const PROCESSES: u64 = 64;
/// Longest drill in milliseconds.
const WALL_MS: u64 = 90_000;
/// Within this an alert must come, in milliseconds.
const SEEN_MS_MAX: u64 = 30_000;
/// Longest last word of a job that is shown, in characters.
const SAID_CHARS_MAX: usize = 300;
/// Between two looks of a listener.
const LISTEN_PAUSE: Duration = Duration::from_millis(20);
/// How long a listener waits for bytes.
const READ_PAUSE: Duration = Duration::from_millis(500);
/// Reads from one connection.
const READS_MAX: usize = 16;
/// Most addresses of this host that are tried.
const ADDRESSES_MAX: usize = 4;
