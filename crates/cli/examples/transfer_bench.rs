//! An artifact pushed to and pulled from a server over a line that is cut ten times each way, beside a plain copy over TLS
//! through the same line, as one JSON object.
//!
//! The server is the built program, the client a process of its own with the client's code; both tell their peak memory. The
//! copy is what `scp` does without its protocol: one stream, written to a file that is made durable. All goes through the
//! same relay on loopback, so that its cost is on both sides of a ratio.
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
mod enrolled;
#[path = "../tests/it/proxy.rs"]
mod proxy;

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Instant, SystemTime},
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

/// How often the line is cut in each direction.
const CUTS: u64 = 10;
const BUFFER_BYTES: usize = 256 << 10;

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["push", folder, url, path] => push(Path::new(folder), url, Path::new(path)),
        ["pull", folder, url, path] => pull(Path::new(folder), url, Path::new(path)),
        [mib] => compare(mib.parse().unwrap()),
        _ => compare(1_024),
    }
}

fn compare(mib: u64) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let bytes = mib << 20;
    let source = root.join("blob.bin");
    let digest = noise(&source, bytes);
    let mb_per_second = |seconds: f64| bytes as f64 / 1e6 / seconds;

    let copied = tls_copy(root, &source, &root.join("copied"));
    fs::remove_file(root.join("copied")).unwrap();

    run(root, &["init"]);
    let session = enrolled::share(&root.join("data/ringfence"), &root.join("config/ringfence"));
    fs::write(root.join("session"), session).unwrap();
    let line = Proxy::start(|port| ([127, 0, 0, 2], port).into());
    let mut server = serve(root, line.port());
    let url = format!("https://localhost:{}", line.port());
    let itself = |what: &str, path: &Path| -> Value {
        let path = path.to_str().unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        let output =
            command.args([what, root.to_str().unwrap(), &url, path]).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "{what}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    line.cut(CUTS, bytes / (CUTS + 2));
    let pushed = itself("push", &source);
    let cuts_up = line.cuts();
    line.cut(CUTS, bytes / (CUTS + 2));
    let pulled = itself("pull", &root.join("back"));
    let server_peak = peak_mib(&format!("/proc/{}/status", server.id()));
    server.kill().unwrap();
    server.wait().unwrap();
    let back = hash(&root.join("back/blob.bin"));

    let seconds = |told: &Value, stage: &str| told["seconds"][stage].as_f64().unwrap();
    println!(
        "{}",
        json!({
            "schema": "ringfence.bench/1",
            "mib": mib,
            "identical": back == digest,
            "cuts_up": cuts_up,
            "cuts_down": line.cuts() - cuts_up,
            "server_peak_mib": server_peak,
            "push_client_peak_mib": pushed["peak_mib"],
            "pull_client_peak_mib": pulled["peak_mib"],
            "tls_copy_mb_per_second": mb_per_second(copied),
            "push_hashing_mb_per_second": mb_per_second(seconds(&pushed, "hashing")),
            "push_sending_mb_per_second": mb_per_second(seconds(&pushed, "sending")),
            "push_admitting_mb_per_second": mb_per_second(seconds(&pushed, "admitting")),
            "pull_mb_per_second": mb_per_second(seconds(&pulled, "receiving")),
        })
    );
}

/// Sends `source` over TLS to a thread that writes it to `target`, and makes that durable: the seconds that takes.
fn tls_copy(root: &Path, source: &Path, target: &Path) -> f64 {
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
        copy(&mut stream, &mut out);
        out.sync_all().unwrap();
    });
    let begun = Instant::now();
    let socket = TcpStream::connect(("127.0.0.1", line.port())).unwrap();
    let name = "localhost".try_into().unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(client), name).unwrap(), socket);
    copy(&mut File::open(source).unwrap(), &mut stream);
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
    taking.join().unwrap();
    begun.elapsed().as_secs_f64()
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
fn push(folder: &Path, url: &str, path: &Path) {
    let stages = Stages::default();
    let load = Load {
        path,
        labels: None,
        name: "code/blob".parse().unwrap(),
        reading: Reading::default(),
        exempt: Exemptions::default(),
    };
    let ended = carry::up(&server(folder, url), &stages, &load).unwrap();
    assert!(matches!(ended, UploadState::Admitted { .. }), "{ended:?}");
    stages.tell();
}

/// The client's half of a pull.
fn pull(folder: &Path, url: &str, path: &Path) {
    let (stages, server) = (Stages::default(), server(folder, url));
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

/// How long each stage took.
#[derive(Default)]
struct Stages {
    now: Mutex<Option<(String, Instant)>>,
    seconds: Mutex<BTreeMap<String, f64>>,
}

impl Progress for Stages {
    fn begin(&self, stage: &str, _: Option<u64>) {
        *self.now.lock().unwrap() = Some((stage.to_owned(), Instant::now()));
    }

    fn advance(&self, _: u64, _: &str) {}

    fn end(&self, _: &str) {
        if let Some((stage, begun)) = self.now.lock().unwrap().take() {
            self.seconds.lock().unwrap().insert(stage, begun.elapsed().as_secs_f64());
        }
    }

    fn note(&self, _: &str) {}
}

impl Stages {
    fn tell(&self) {
        let seconds = self.seconds.lock().unwrap().clone();
        println!("{}", json!({"seconds": seconds, "peak_mib": peak_mib("/proc/self/status")}));
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

/// Fills `path` with bytes that no compression and no deduplication shortens (xorshift64, Marsaglia 2003).
fn noise(path: &Path, bytes: u64) -> Digest {
    let (mut out, mut hasher) = (File::create(path).unwrap(), Hasher::new());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
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
