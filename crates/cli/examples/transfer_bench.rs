//! An artifact pushed to and pulled from a server over a line that is cut ten times each way, beside a plain copy over TLS
//! through the same line, as one JSON object.
//!
//! The server is the built program, the client a process of its own with the client's code; both tell their peak memory. The
//! copy is what `scp` does without its protocol: one stream that nothing cuts, written to a file without waiting for the disk,
//! as a pull is (a push ends durable). It stands there once more with a thread at its end that hashes, without which nobody
//! knows that it is the same. All goes through the same relay on loopback, so that its cost is on both sides of a ratio. What
//! the copy does not do and the transfers do: hashing at the receiving end, naming and sealing (push), opening and checking
//! each segment (pull). Where processors are scarce that is most of the difference, so the seconds of a processor for each GiB
//! stand there too. What people use, where it is installed, brings the same file and takes it out again over the same line,
//! uncut: curl and nginx, scp and sshd.
//!
//! `cargo build --release -p ringfence-cli --bins --examples` and then
//! `cargo run --release -p ringfence-cli --example transfer_bench -- [MiB]`

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measuring program, not a library"
)]

#[path = "../tests/it/enrolled.rs"]
#[expect(dead_code, reason = "what passkeys answer is for tests")]
mod enrolled;
#[path = "parts/programs.rs"]
mod programs;
#[path = "../tests/it/proxy.rs"]
#[expect(dead_code, reason = "a line that stands still is for tests")]
mod proxy;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{channel, sync_channel},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use ringfence_engine::{
    Exemptions, Progress, Reading,
    carry::{self, Load, Offer},
    reach::{
        Secret,
        server::{Server, address},
    },
    schema::{Digest, Hasher, Timestamp},
    transfer::UploadState,
};
use ringfence_server::serve::{authority::Authority, tls::provider};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned, sign::SingleCertAndKey,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use proxy::Proxy;

/// For whom the passkey of the vault's owner is made.
const SITE: &str = "https://localhost:8443";
/// How often the line is cut in each direction.
const CUTS: u64 = 10;
/// Odd, so that there is a middle one.
const ROUNDS: u64 = 3;
const BUFFER_BYTES: usize = 256 << 10;
/// Bytes that go from thread to thread at once where a copy is hashed.
const PIECE_BYTES: u64 = 1 << 20;
/// What Linux counts processor time in, to whoever reads it (`USER_HZ`).
const TICKS_PER_S: f64 = 100.0;

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["push", folder, url, serving, path] => push(Path::new(folder), url, serving, Path::new(path)),
        ["pull", folder, url, serving, path] => pull(Path::new(folder), url, serving, Path::new(path)),
        [mib] => compare(mib.parse().unwrap()),
        _ => compare(1_024),
    }
}

/// Medians over rounds, each with a vault and a blob of its own.
fn compare(mib: u64) {
    let rounds: Vec<Value> = (0..ROUNDS).map(|number| round(mib, number)).collect();
    let figures = |pointer: &str| -> Vec<Value> { rounds.iter().map(|round| round[pointer].clone()).collect() };
    let mut told = serde_json::Map::from_iter([
        ("schema".to_owned(), json!("ringfence.bench/1")),
        ("mib".to_owned(), json!(mib)),
        ("rounds".to_owned(), json!(ROUNDS)),
        ("identical".to_owned(), json!(figures("identical").iter().all(|same| *same == json!(true)))),
    ]);
    for (name, first) in rounds[0].as_object().unwrap() {
        if name == "cpu_s_per_gib" {
            let of_all = figures(name);
            let medians = first.as_object().unwrap().keys();
            let medians = medians.map(|part| (part.clone(), median(of_all.iter().map(|round| &round[part]))));
            told.insert(name.clone(), medians.collect::<serde_json::Map<_, _>>().into());
        } else if first.is_number() {
            told.insert(name.clone(), median(figures(name).iter()));
        }
        if name.ends_with("_over_tls_copy") {
            let of_each: Vec<String> = figures(name).iter().map(Value::to_string).collect();
            told.insert(format!("{name}_of_each_round"), of_each.join(", ").into());
        }
    }
    println!("{}", Value::from(told));
}

fn median<'v>(figures: impl Iterator<Item = &'v Value>) -> Value {
    let mut sorted: Vec<&Value> = figures.collect();
    sorted.sort_by(|a, b| a.as_f64().unwrap().total_cmp(&b.as_f64().unwrap()));
    sorted[sorted.len() / 2].clone()
}

/// A copy, a push, a copy, a pull, and a copy again; each transfer beside the faster one of the copies before and after it.
fn round(mib: u64, number: u64) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let bytes = mib << 20;
    let source = root.join("blob.bin");
    let digest = noise(&source, bytes, number);
    let mb_per_second = |seconds: f64| bytes as f64 / 1e6 / seconds;

    let gib = bytes as f64 / f64::from(1 << 30);
    let copied = RefCell::new(Vec::new());
    let copy = || {
        let (target, cpu) = (root.join("copied"), cpu_s("self"));
        let (seconds, _) = tls_copy(root, &source, &target, Taker::Writes);
        let spent = (cpu_s("self") - cpu) / gib;
        fs::remove_file(&target).unwrap();
        let (hashing, taken) = tls_copy(root, &source, &target, Taker::Hashes);
        assert_eq!(taken, Some(digest));
        fs::remove_file(&target).unwrap();
        copied.borrow_mut().push([seconds, hashing, spent]);
    };
    copy();
    let (curl, scp) =
        (programs::curl(&root.join("curl"), &source, digest), programs::scp(&root.join("scp"), &source, digest));
    run(root, &["init"]);
    let session =
        enrolled::crowd(&root.join("data/ringfence"), &root.join("config/ringfence"), SITE, &[]).remove(0).session;
    fs::write(root.join("session"), session).unwrap();
    let line = Proxy::start(|port| ([127, 0, 0, 2], port).into());
    let mut server = serve(root, line.port());
    let url = format!("https://localhost:{}", line.port());
    let serving = server.id().to_string();
    let itself = |what: &str, path: &Path| -> Value {
        let path = path.to_str().unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        let output = command
            .args([what, root.to_str().unwrap(), &url, &serving, path])
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "{what}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let relay_begun = cpu_s("self");
    line.cut(CUTS, bytes / (CUTS + 2));
    let pushed = itself("push", &source);
    let (cuts_up, relay_cpu) = (line.cuts(), (cpu_s("self") - relay_begun) / gib);
    copy();
    line.cut(CUTS, bytes / (CUTS + 2));
    let pulled = itself("pull", &root.join("back"));
    let server_peak = peak_mib(&format!("/proc/{}/status", server.id()));
    server.kill().unwrap();
    server.wait().unwrap();
    let back = hash(&root.join("back/blob.bin"));
    fs::remove_dir_all(root.join("back")).unwrap();
    copy();
    let copied = copied.into_inner();
    let least = |which: usize, of: &[[f64; 3]]| of.iter().map(|copy| copy[which]).fold(f64::INFINITY, f64::min);

    let seconds = |told: &Value, stage: &str| told["seconds"][stage].as_f64().unwrap();
    let cpu = |told: &Value, whose: &str, stage: &str| told[whose][stage].as_f64().unwrap() / gib;
    let (sending, receiving) = (seconds(&pushed, "sending"), seconds(&pulled, "receiving"));
    let handed_over = sending + seconds(&pushed, "hashing") + seconds(&pushed, "receiving");
    let whole = handed_over + seconds(&pushed, "admitting");
    json!({
        "identical": back == digest,
        "cuts_up": cuts_up,
        "cuts_down": line.cuts() - cuts_up,
        "server_peak_mib": server_peak,
        "push_client_peak_mib": pushed["peak_mib"],
        "pull_client_peak_mib": pulled["peak_mib"],
        "tls_copy_mb_per_second": mb_per_second(least(0, &copied)),
        "tls_copy_that_hashes_mb_per_second": mb_per_second(least(1, &copied)),
        "curl_to_nginx_mb_per_second": curl.map(|seconds| mb_per_second(seconds[0])),
        "nginx_to_curl_mb_per_second": curl.map(|seconds| mb_per_second(seconds[1])),
        "scp_there_mb_per_second": scp.map(|seconds| mb_per_second(seconds[0])),
        "scp_back_mb_per_second": scp.map(|seconds| mb_per_second(seconds[1])),
        "push_hashing_mb_per_second": mb_per_second(seconds(&pushed, "hashing")),
        "push_sending_mb_per_second": mb_per_second(sending),
        "push_admitting_mb_per_second": mb_per_second(seconds(&pushed, "admitting")),
        "push_handed_over_mb_per_second": mb_per_second(handed_over),
        "push_whole_mb_per_second": mb_per_second(whole),
        "pull_mb_per_second": mb_per_second(receiving),
        "push_sending_over_tls_copy": rounded(least(0, &copied[..2]) / sending),
        "pull_over_tls_copy": rounded(least(0, &copied[1..]) / receiving),
        "cpu_s_per_gib": {
            "tls_copy_with_relay": least(2, &copied),
            "relay": relay_cpu,
            "push_client": cpu(&pushed, "cpu_s", "sending"),
            "push_server": cpu(&pushed, "server_cpu_s", "sending"),
            "pull_client": cpu(&pulled, "cpu_s", "receiving"),
            "pull_server": cpu(&pulled, "server_cpu_s", "receiving"),
            "admission": cpu(&pushed, "server_cpu_s", "admitting"),
        },
    })
}

fn rounded(ratio: f64) -> f64 {
    (ratio * 100.0).round() / 100.0
}

/// What becomes of a copy at its end.
#[derive(Clone, Copy, PartialEq)]
enum Taker {
    Writes,
    /// A second thread writes and hashes, as a pull does.
    Hashes,
}

/// Sends `source` over TLS to a thread that writes it to `target`: the seconds that takes, and what was hashed.
fn tls_copy(root: &Path, source: &Path, target: &Path, taker: Taker) -> (f64, Option<Digest>) {
    let now = Timestamp::from(SystemTime::now());
    let authority = Arc::new(Authority::open(&root.join("authority"), &[], now).unwrap());
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let key = SingleCertAndKey::from(authority.leaf(now).unwrap().key);
    let server = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(key));
    let listener = Mutex::new(None);
    let line = Proxy::start(|port| {
        let address = SocketAddr::from(([127, 0, 0, 2], port));
        *listener.lock().unwrap() = Some(TcpListener::bind(address).unwrap());
        address
    });
    line.cut(0, u64::MAX);
    let listener = listener.into_inner().unwrap().unwrap();
    let target = target.to_owned();
    let taking = thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(server)).unwrap(), socket);
        let mut out = File::create(target).unwrap();
        match taker {
            Taker::Writes => copy(&mut stream, &mut out),
            Taker::Hashes => return Some(hashed_beside(&mut stream, &mut out)),
        }
        None
    });
    let begun = Instant::now();
    let socket = TcpStream::connect(("127.0.0.1", line.port())).unwrap();
    let name = "localhost".try_into().unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(client), name).unwrap(), socket);
    copy(&mut File::open(source).unwrap(), &mut stream);
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
    let taken = taking.join().unwrap();
    (begun.elapsed().as_secs_f64(), taken)
}

/// Reads `from` to its end; another thread writes it to `to` and hashes it.
fn hashed_beside(from: &mut impl Read, to: &mut (impl Write + Send)) -> Digest {
    let (pieces, coming) = sync_channel::<Vec<u8>>(2);
    let (used, spare) = channel();
    thread::scope(|scope| {
        let hashing = scope.spawn(move || {
            let mut hasher = Hasher::new();
            for piece in coming {
                to.write_all(&piece).unwrap();
                hasher.update(&piece);
                let _ = used.send(piece);
            }
            hasher.finish()
        });
        loop {
            let mut piece: Vec<u8> = spare.try_recv().unwrap_or_default();
            piece.clear();
            if from.take(PIECE_BYTES).read_to_end(&mut piece).unwrap() == 0 {
                break;
            }
            pieces.send(piece).unwrap();
        }
        drop(pieces);
        hashing.join().unwrap()
    })
}

fn copy(from: &mut impl Read, to: &mut impl Write) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer).unwrap();
        if count == 0 {
            return;
        }
        to.write_all(&buffer[..count]).unwrap();
    }
}

/// The client's half of a push.
fn push(folder: &Path, url: &str, serving: &str, path: &Path) {
    let stages = Stages::beside(serving);
    let load = Load {
        path,
        labels: None,
        name: "code/blob".parse().unwrap(),
        reading: Reading::default(),
        exempt: Exemptions::default(),
        wait: false,
    };
    let server = server(folder, url);
    let received = carry::up(&server, &stages, &load).unwrap();
    assert!(matches!(received, UploadState::Admitting { version: Some(_) }), "{received:?}");
    stages.begin("admitting", None);
    while server.read::<Value>("/api/v1/artifacts/code/blob/1").unwrap()["version"]["state"] != "admitted" {
        thread::sleep(Duration::from_millis(50));
    }
    stages.end("");
    stages.tell();
}

/// The client's half of a pull.
fn pull(folder: &Path, url: &str, serving: &str, path: &Path) {
    let (stages, server) = (Stages::beside(serving), server(folder, url));
    let Offer::Download(download) = carry::ask(&server, "/api/v1/artifacts/code/blob/1/download").unwrap() else {
        panic!("it waits for others")
    };
    carry::down(&server, &stages, &download, path).unwrap();
    stages.tell();
}

fn server(folder: &Path, url: &str) -> Server {
    let authority = fs::read(folder.join("config/ringfence/tls/authority.pem")).unwrap();
    let session = Zeroizing::new(fs::read_to_string(folder.join("session")).unwrap());
    let token = Secret::new("session", session).unwrap();
    Server::new(address(url).unwrap(), Some(&authority), Some(token)).unwrap()
}

/// How long each stage took, and how much of a processor here and in the server.
struct Stages {
    serving: String,
    now: Mutex<Option<(String, [f64; 3])>>,
    spent: Mutex<BTreeMap<String, [f64; 3]>>,
    begun: Instant,
}

impl Progress for Stages {
    fn begin(&self, stage: &str, _: Option<u64>) {
        *self.now.lock().unwrap() = Some((stage.to_owned(), self.counts()));
    }

    fn advance(&self, _: u64, _: &str) {}

    fn end(&self, _: &str) {
        if let Some((stage, before)) = self.now.lock().unwrap().take() {
            let after = self.counts();
            self.spent.lock().unwrap().insert(stage, [0, 1, 2].map(|which| after[which] - before[which]));
        }
    }

    fn note(&self, _: &str) {}
}

impl Stages {
    /// `serving` is the server's process.
    fn beside(serving: &str) -> Self {
        let (now, spent) = (Mutex::default(), Mutex::default());
        Self { serving: serving.to_owned(), now, spent, begun: Instant::now() }
    }

    fn counts(&self) -> [f64; 3] {
        [self.begun.elapsed().as_secs_f64(), cpu_s("self"), cpu_s(&self.serving)]
    }

    fn tell(&self) {
        let spent = self.spent.lock().unwrap();
        let of = |which: usize| spent.iter().map(|(stage, counts)| (stage.as_str(), counts[which])).collect();
        let [seconds, cpu_s, server_cpu_s]: [BTreeMap<&str, f64>; 3] = [of(0), of(1), of(2)];
        let peak_mib = peak_mib("/proc/self/status");
        println!("{}", json!({"seconds": seconds, "cpu_s": cpu_s, "server_cpu_s": server_cpu_s, "peak_mib": peak_mib}));
    }
}

/// The built program in an environment of its own.
fn ringfence(root: &Path) -> Command {
    let program: PathBuf = env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("ringfence");
    let mut command = Command::new(program);
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
    for (name, folder) in [("HOME", "home"), ("XDG_DATA_HOME", "data"), ("XDG_CONFIG_HOME", "config")] {
        fs::create_dir_all(root.join(folder)).unwrap();
        command.env(name, root.join(folder));
    }
    command.stdin(Stdio::null());
    command
}

fn run(root: &Path, words: &[&str]) {
    let output = ringfence(root).args(words).output().expect("`cargo build --release -p ringfence-cli --bins` first");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The server, once it listens.
fn serve(root: &Path, port: u16) -> Child {
    let listen = format!("127.0.0.2:{port}");
    let words = ["serve", "--listen", &listen, "--format", "json", "--quiet"];
    let mut child = ringfence(root).args(words).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 1];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    child
}

/// The most memory that a process had of its own, in MiB (`VmHWM`, proc_pid_status(5)).
fn peak_mib(status: &str) -> u64 {
    let text = fs::read_to_string(status).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() >> 10
}

/// Seconds of a processor that a process has used, in itself and in the system (proc_pid_stat(5), fields 14 and 15).
fn cpu_s(process: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = text.rsplit_once(')').unwrap();
    let ticks = |field: usize| fields.split_whitespace().nth(field - 3).unwrap().parse::<f64>().unwrap();
    (ticks(14) + ticks(15)) / TICKS_PER_S
}

/// Fills `path` with bytes that no compression and no deduplication shortens (xorshift64, Marsaglia 2003).
fn noise(path: &Path, bytes: u64, seed: u64) -> Digest {
    let (mut out, mut hasher) = (File::create(path).unwrap(), Hasher::new());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ seed;
    let mut piece = vec![0; 1 << 20];
    for _ in 0..bytes >> 20 {
        for word in piece.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        hasher.update(&piece);
        out.write_all(&piece).unwrap();
    }
    out.sync_all().unwrap();
    hasher.finish()
}

fn hash(path: &Path) -> Digest {
    let mut hasher = Hasher::new();
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return hasher.finish(),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}"),
        }
    }
}
