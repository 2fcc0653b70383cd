//! Measures what egress costs and prints one JSON document: how long a run takes to its command with no network, and with
//! one allowed host; and how long looking a name up, connecting and one request over TLS take from inside, against the same
//! program outside. Needs level `full`, and `egress_client` beside this executable:
//! `cargo build --release -p ringfence-sandbox --examples`, then `egress_bench [ROUNDS]`.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed measurement")]
#![expect(clippy::print_stdout, reason = "the document goes to standard output")]

use std::{
    env,
    fs::{self, File},
    io::{Cursor, Read, Write},
    net::TcpListener,
    path::PathBuf,
    process::{Command, ExitCode},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use ringfence_sandbox::{
    Demand, EgressPolicy, Ending, Gpus, Job, RunLimits, Source, Stop, run_keyless, supervisor_main,
};
use ringfence_schema::event::{Claimed, Observed, RunEvent, Source as EventSource};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.first().map(String::as_str) == Some("supervise") {
        return supervisor_main();
    }
    let rounds: u32 = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(40);
    let port = serve();
    let policy: EgressPolicy = serde_json::from_value(json!({
        "allow": [{"host": "hub.example.org", "port": port}],
        "networks": ["127.0.0.0/8"],
        "pins": [["hub.example.org", "127.0.0.1"]],
    }))
    .unwrap();
    let (mut without, mut with) = (Vec::new(), Vec::new());
    // One after the other in each round, so that a busy moment hits both alike.
    for _ in 0..rounds {
        without.push(until_exec(EgressPolicy::default()));
        with.push(until_exec(policy.clone()));
    }
    let (mut outside, mut inside) = (Vec::new(), Vec::new());
    for _ in 0..REPETITIONS {
        outside.extend(requests_outside(port, rounds));
        inside.extend(requests_inside(&policy, port, rounds));
    }
    let (outside, inside) = (distribution(outside), distribution(inside));
    let added = |at: &str| inside[at].as_f64().unwrap() - outside[at].as_f64().unwrap();
    let document = json!({
        "schema": "ringfence.bench-egress/1",
        "rounds": rounds,
        "uid": nix::unistd::geteuid().as_raw(),
        "call_to_exec": {"without": distribution(without), "with": distribution(with)},
        "name_connect_tls_get": {"outside": outside, "inside": inside, "added_p50_ms": added("p50_ms")},
    });
    println!("{document:#}");
    ExitCode::SUCCESS
}

fn distribution(mut list: Vec<Duration>) -> Value {
    list.sort();
    let at = |share: usize| list[(list.len() - 1) * share / 100].as_secs_f64() * 1_000.0;
    json!({"min_ms": at(0), "p10_ms": at(10), "p50_ms": at(50), "p90_ms": at(90)})
}

/// A small file over TLS, for ever.
fn serve() -> u16 {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("../tests/tls/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../tests/tls/server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            stream.set_nodelay(true).unwrap();
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            if stream.read(&mut [0; 4_096]).is_ok_and(|bytes| bytes > 0) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nweights");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    port
}

/// From the call to the moment when the supervisor hears that the job, confined, is about to exec.
fn until_exec(egress: EgressPolicy) -> Duration {
    let began = Instant::now();
    let mut started = None;
    run(&["/bin/true"], egress, Vec::new(), Vec::new(), &mut |event| {
        if matches!(event.source, EventSource::Observed(Observed::Started { .. })) {
            started = Some(began.elapsed());
        }
    });
    started.unwrap()
}

fn client() -> PathBuf {
    env::current_exe().unwrap().with_file_name("egress_client")
}

fn attempts(to: &str, port: u16, times: u32) -> String {
    json!([{"do": "tls", "to": to, "port": port, "sni": "hub.example.org", "times": times}]).to_string()
}

fn times(line: &str) -> Vec<Duration> {
    let answer: Value = serde_json::from_str(line).unwrap();
    assert_eq!(answer["outcome"], "weights");
    answer["times_us"].as_array().unwrap().iter().map(|us| Duration::from_micros(us.as_u64().unwrap())).collect()
}

fn requests_outside(port: u16, count: u32) -> Vec<Duration> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("attempts.json"), attempts("localhost", port, count)).unwrap();
    fs::write(folder.path().join("ca.pem"), AUTHORITY).unwrap();
    let output = Command::new(client()).env("RINGFENCE_IN", folder.path()).output().unwrap();
    times(std::str::from_utf8(&output.stdout).unwrap())
}

fn requests_inside(policy: &EgressPolicy, port: u16, count: u32) -> Vec<Duration> {
    let file = |path: &str, bytes: Vec<u8>| Source {
        path: path.to_owned(),
        size: bytes.len() as u64,
        executable: false,
        content: Box::new(Cursor::new(bytes)),
    };
    let inputs = vec![
        file("attempts.json", attempts("hub.example.org", port, count).into_bytes()),
        file("ca.pem", AUTHORITY.to_vec()),
    ];
    let program = vec![Source {
        path: "egress_client".to_owned(),
        size: fs::metadata(client()).unwrap().len(),
        executable: true,
        content: Box::new(File::open(client()).unwrap()),
    }];
    times(&run(&["./egress_client"], policy.clone(), inputs, program, &mut |_| ()).concat())
}

/// Runs `command`; its lines.
fn run(
    command: &[&str],
    egress: EgressPolicy,
    inputs: Vec<Source>,
    program: Vec<Source>,
    watch: &mut dyn FnMut(&RunEvent),
) -> Vec<String> {
    let job = Job {
        run_id: format!("bench-{}", std::process::id()),
        command: command.iter().map(|&part| part.to_owned()).collect(),
        environment: Vec::new(),
        readable: Vec::new(),
        gpus: Gpus::None,
        inputs,
        program,
        limits: RunLimits::default(),
        demand: Demand::Full,
        egress,
    };
    let mut lines = Vec::new();
    let mut events = |event: RunEvent| {
        watch(&event);
        if let EventSource::Claimed(Claimed::Line { text, .. }) = event.source {
            lines.push(text);
        }
    };
    let own = env::current_exe().unwrap();
    let result = run_keyless(&own, &["supervise"], job, &Stop::new(), &mut events, &mut |_, _| Ok(())).unwrap();
    assert_eq!(result.ending, Ending::Exited(0), "{lines:?}");
    lines
}

/// The authority of the server's certificate.
const AUTHORITY: &[u8] = include_bytes!("../tests/tls/ca.pem");
/// How often requests are made outside and inside in turn.
const REPETITIONS: u32 = 5;
