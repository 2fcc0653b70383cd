//! Egress from inside: what the policy names is reached by unchanged programs, everything else is not, and every attempt
//! is in the record. As root and as an ordinary user; the servers are on this machine's loopback, outside the sandbox.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};

use crate::stage::{Host, Setting, Stage, events, limits, lines, settings};

fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

/// A server on loopback: what it heard, connection by connection.
struct Server {
    port: u16,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    connections: Arc<AtomicU64>,
}

impl Server {
    fn new(address: &str, serve: impl Fn(TcpStream, &Mutex<Vec<Vec<u8>>>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heard, connections) = (Arc::default(), Arc::new(AtomicU64::new(0)));
        let server = Self { port, heard: Arc::clone(&heard), connections: Arc::clone(&connections) };
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (serve, heard) = (Arc::clone(&serve), Arc::clone(&heard));
                thread::spawn(move || serve(stream, &heard));
            }
        });
        server
    }

    /// Answers every connection over TLS with `ok over tls`.
    fn tls(address: &str) -> Self {
        Self::tls_of(address, aws_lc_rs::default_provider())
    }

    /// The same, but wants a kind of key that clients send only when they are asked for it.
    fn tls_asking_again(address: &str) -> Self {
        let kx_groups = vec![aws_lc_rs::kx_group::SECP384R1];
        Self::tls_of(address, CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() })
    }

    fn tls_of(address: &str, provider: CryptoProvider) -> Self {
        let certificate = CertificateDer::from_pem_file(tls_file("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(tls_file("server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        Self::new(address, move |stream, _| {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            let mut head = [0; 4_096];
            if stream.read(&mut head).is_ok_and(|bytes| bytes > 0) {
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\nok over tls");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        })
    }

    /// Keeps what it hears; answers once, at the first bytes.
    fn plain(address: &str) -> Self {
        Self::new(address, |mut stream, heard| {
            let mut all = Vec::new();
            let mut buffer = [0; 4_096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if all.is_empty() {
                    let _ =
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nin clear");
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                }
                all.extend_from_slice(&buffer[..count]);
            }
            heard.lock().unwrap().push(all);
        })
    }

    /// Speaks first.
    fn greeting(address: &str) -> Self {
        Self::new(address, |mut stream, _| drop(stream.write_all(b"220 welcome\r\n")))
    }

    /// Takes everything and says nothing.
    fn stalled(address: &str) -> Self {
        Self::new(address, |mut stream, heard| {
            let mut count = 0;
            let mut buffer = vec![0; 65_536];
            while let Ok(more @ 1..) = stream.read(&mut buffer) {
                count += more;
            }
            heard.lock().unwrap().push(count.to_string().into_bytes());
        })
    }

    fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

/// The users who can have namespaces here, each with both mechanisms of redirection.
fn each_user(test: impl Fn(Setting, &Stage, &str)) {
    let stage = Stage::new();
    fs::copy(crate::stage::example("egress_client"), stage.path().join("egress_client")).unwrap();
    for setting in settings().into_iter().filter(|setting| setting.host == Host::Open) {
        if !matches!(setting.level(&stage).as_deref(), Some("full" | "no-cgroup")) {
            eprintln!("skipped, no namespaces for {setting:?}");
            continue;
        }
        for supervisor in ["supervise", "supervise-without-netfilter"] {
            test(setting, &stage, supervisor);
        }
    }
}

/// Runs `attempts` under `policy`; the outcomes, and the whole document.
fn attempt(
    setting: Setting,
    stage: &Stage,
    supervisor: &str,
    policy: &Value,
    attempts: &Value,
) -> (Vec<String>, Value) {
    let authority = fs::read_to_string(tls_file("ca.pem")).unwrap();
    let document = setting.drive(
        stage,
        &json!({
            "supervisor": supervisor,
            "command": ["./egress_client"],
            "program_files": [stage.path().join("egress_client")],
            "inputs": [["attempts.json", attempts.to_string()], ["ca.pem", authority]],
            "limits": limits(),
            "egress": policy,
        }),
    );
    assert_eq!(document["error"], Value::Null, "{setting:?} {supervisor}");
    assert_eq!(document["result"]["ending"], json!({"exited": 0}), "{setting:?}: {:?}", lines(&document, "stderr"));
    let outcome = |line: String| {
        let value: Value = serde_json::from_str(&line).unwrap();
        value["outcome"].as_str().unwrap().to_owned()
    };
    (lines(&document, "stdout").into_iter().map(outcome).collect(), document)
}

fn policy(allow: &[(&str, u16)], pins: &[(&str, &str)]) -> Value {
    let allow: Vec<_> = allow.iter().map(|(host, port)| json!({"host": host, "port": port})).collect();
    json!({"allow": allow, "pins": pins, "networks": ["127.0.0.0/8", "::1"]})
}

/// Whether an event of egress says all of `fields`; a text counts if it is contained.
fn told(document: &Value, fields: &Value) -> bool {
    events(document, "egress").iter().any(|event| {
        fields.as_object().unwrap().iter().all(|(name, wanted)| match (&event[name], wanted) {
            (Value::String(found), Value::String(wanted)) => found.contains(wanted.as_str()),
            (found, wanted) => found == wanted,
        })
    })
}

fn assert_told(document: &Value, fields: &Value) {
    let all = || events(document, "egress").iter().map(|event| format!("{event}\n")).collect::<String>();
    assert!(told(document, fields), "{fields} is not in\n{}", all());
}

#[test]
fn allowed_names_are_reached_and_nothing_else_is() {
    each_user(|setting, stage, supervisor| {
        let (tls, six, plain) = (Server::tls("127.0.0.1"), Server::tls("::1"), Server::plain("127.0.0.1"));
        let (foreign, again) = (Server::plain("127.0.0.1"), Server::tls_asking_again("::1"));
        let policy = policy(
            &[
                ("hub.example.org", tls.port),
                ("other.example.org", six.port),
                ("other.example.org", again.port),
                ("*.family.example.org", tls.port),
                ("plain.example.org", plain.port),
                ("nowhere.example.org", plain.port),
                ("tunnel.example.org", plain.port),
            ],
            &[
                ("hub.example.org", "127.0.0.1"),
                ("other.example.org", "::1"),
                ("a.family.example.org", "127.0.0.1"),
                ("plain.example.org", "127.0.0.1"),
                ("nowhere.example.org", "10.1.2.3"),
                ("tunnel.example.org", "169.254.169.254"),
            ],
        );
        let get = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let plain_text =
            |text: &str| json!({"do": "text", "to": "plain.example.org", "port": plain.port, "text": text});
        let hub = |sni: &str| json!({"do": "tls", "to": "hub.example.org", "port": tls.port, "sni": sni});
        let ask = |name: &str, kind: u16, tcp: bool, server: &str| json!({"do": "ask", "server": server, "name": name, "kind": kind, "tcp": tcp});
        let ours = "198.18.0.1:53";
        let closed = "error: ";
        let table = [
            (hub("hub.example.org"), "ok over tls"),
            (
                json!({"do": "tls", "to": "other.example.org", "port": six.port, "sni": "other.example.org"}),
                "ok over tls",
            ),
            (
                json!({"do": "tls", "to": "a.family.example.org", "port": tls.port, "sni": "a.family.example.org"}),
                "ok over tls",
            ),
            (plain_text(&get("plain.example.org")), "in clear"),
            (plain_text(&get(&format!("plain.example.org:{}", plain.port))), "in clear"),
            (
                json!({"do": "tls", "to": "other.example.org", "port": again.port, "sni": "other.example.org"}),
                "ok over tls",
            ),
            (json!({"do": "loopback"}), "to itself"),
            (json!({"do": "resolve", "name": "hub.example.org"}), "[198.18."),
            (ask("hub.example.org", 1, false, ours), "code 0, 1 records"),
            (ask("hub.example.org", 28, true, ours), "code 0, 1 records"),
            (ask("hub.example.org", 65, false, ours), "code 0, 0 records"),
            // What is not allowed.
            (hub("other.example.org"), closed),
            (hub(""), closed),
            (plain_text(&get("hub.example.org")), closed),
            (
                plain_text(&format!(
                    "{}{}",
                    get("plain.example.org").replace("Connection: close\r\n", ""),
                    get("evil.org")
                )),
                "",
            ),
            (plain_text("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), closed),
            (plain_text("\u{1}opaque"), closed),
            (
                json!({"do": "text", "to": "nowhere.example.org", "port": plain.port, "text": get("nowhere.example.org")}),
                closed,
            ),
            (
                json!({"do": "text", "to": "tunnel.example.org", "port": plain.port, "text": get("tunnel.example.org")}),
                closed,
            ),
            (
                json!({"do": "text", "to": "plain.example.org", "port": tls.port, "text": get("plain.example.org")}),
                closed,
            ),
            (json!({"do": "text", "to": "127.0.0.1", "port": foreign.port, "text": get("plain.example.org")}), closed),
            (json!({"do": "text", "to": "8.8.8.8", "port": tls.port, "text": get("hub.example.org")}), closed),
            (
                json!({"do": "text", "to": "2001:4860:4860::8888", "port": tls.port, "text": get("hub.example.org")}),
                closed,
            ),
            (json!({"do": "text", "to": "198.18.9.9", "port": tls.port, "text": get("hub.example.org")}), closed),
            (json!({"do": "resolve", "name": "secret-4711.evil.example"}), closed),
            (ask("secret-4712.hub.example.org", 1, false, ours), "code 3, 0 records"),
            (ask("secret-4713.evil.example", 16, true, ours), "code 3, 0 records"),
            (json!({"do": "datagram", "to": "8.8.8.8:123"}), closed),
            (json!({"do": "datagram", "to": "[2001:4860:4860::8888]:443"}), closed),
            (json!({"do": "socket", "family": 2, "kind": 3, "protocol": 1}), closed),
            (json!({"do": "socket", "family": 2, "kind": 5, "protocol": 0}), closed),
            (json!({"do": "socket", "family": 10, "kind": 3, "protocol": 58}), closed),
            (json!({"do": "socket", "family": 2, "kind": 2, "protocol": 1}), closed),
            (json!({"do": "socket", "family": 2, "kind": 1, "protocol": 132}), closed),
            (json!({"do": "socket", "family": 10, "kind": 1, "protocol": 262}), closed),
            (json!({"do": "socket", "family": 16, "kind": 3, "protocol": 0}), closed),
            (json!({"do": "socket", "family": 16, "kind": 3, "protocol": 12}), closed),
            (json!({"do": "socket", "family": 17, "kind": 3, "protocol": 768}), closed),
            (json!({"do": "socket", "family": 40, "kind": 1, "protocol": 0}), closed),
        ];
        let attempts: Vec<_> = table.iter().map(|(attempt, _)| attempt.clone()).collect();
        let (outcomes, document) = attempt(setting, stage, supervisor, &policy, &json!(attempts));
        for ((attempt, wanted), outcome) in table.iter().zip(&outcomes) {
            assert!(outcome.contains(wanted), "{setting:?} {supervisor}: {attempt}: {outcome}");
        }
        assert_eq!(outcomes.len(), table.len());
        assert_eq!(foreign.connections(), 0);
        assert_eq!((tls.connections(), six.connections()), (2, 1), "no refused connection was dialled");
        for heard in plain.heard.lock().unwrap().iter() {
            let heard = String::from_utf8_lossy(heard);
            assert!(heard.starts_with("GET / HTTP/1.1\r\nHost: plain.example.org"), "{heard}");
            assert!(!heard.contains("evil.org"), "{heard}");
        }
        for name in ["hub.example.org", "other.example.org", "plain.example.org"] {
            assert_told(&document, &json!({"via": "dns", "name": name, "refused": Value::Null}));
            assert_told(&document, &json!({"via": "tcp", "name": name, "refused": Value::Null}));
        }
        for (name, reason) in [
            ("hub.example.org", "hello for another name"),
            ("hub.example.org", "without a server name"),
            ("plain.example.org", "for another host"),
            ("plain.example.org", "HTTP/2 in the clear"),
            ("plain.example.org", "neither TLS nor HTTP"),
            ("nowhere.example.org", "10.1.2.3 is private"),
            ("tunnel.example.org", "169.254.169.254 is a metadata service"),
            ("plain.example.org", "not allowed at this port"),
        ] {
            assert_told(&document, &json!({"via": "tcp", "name": name, "refused": reason}));
        }
        for address in ["8.8.8.8", "2001:4860:4860::8888", "198.18.9.9"] {
            let fields = json!({"via": "tcp", "address": address, "port": tls.port, "refused": "without a name"});
            assert_told(&document, &fields);
        }
        for name in ["secret-4711.evil.example", "secret-4712.hub.example.org", "secret-4713.evil.example"] {
            assert_told(&document, &json!({"via": "dns", "name": name, "refused": "not allowed"}));
        }
        if supervisor == "supervise" {
            for (address, port) in [("8.8.8.8", 123), ("2001:4860:4860::8888", 443)] {
                assert_told(&document, &json!({"via": "udp", "address": address, "port": port, "refused": "datagram"}));
            }
        }
        let totals = &document["result"]["totals"];
        assert!(totals["sent_bytes"].as_u64().unwrap() > 500, "{totals}");
        assert!(totals["received_bytes"].as_u64().unwrap() > 1_000, "{totals}");
        let last = events(&document, "sample").last().unwrap()["sent_bytes"].clone();
        assert_eq!(last, totals["sent_bytes"]);
        let measures = events(&document, "started")[0]["measures"].to_string();
        let how = if supervisor == "supervise" { "(nftables)" } else { "local routes" };
        assert!(measures.contains(how) && !measures.contains("interface that is up"), "{measures}");
        let refused = document["result"]["refused"].to_string();
        for kind in ["family 17 type 3", "family 40 type 1", "family 16 type 3", "family 2 type 3", "family 2 type 5"] {
            assert!(refused.contains(kind), "{kind}: {refused}");
        }
    });
}

#[test]
fn questions_to_any_name_server_are_answered_here() {
    each_user(|setting, stage, supervisor| {
        // Without nftables, questions to other addresses lead nowhere.
        if supervisor != "supervise" {
            return;
        }
        let attempts: Vec<_> = [
            ("8.8.8.8:53", false),
            ("1.1.1.1:53", true),
            ("[2606:4700::1111]:53", false),
            ("127.0.0.1:53", true),
        ]
        .map(|(server, tcp)| json!({"do": "ask", "server": server, "name": "evil.example", "kind": 1, "tcp": tcp}))
        .into();
        let policy = policy(&[("hub.example.org", 443)], &[]);
        let (outcomes, document) = attempt(setting, stage, supervisor, &policy, &json!(attempts));
        assert_eq!(outcomes, vec!["code 3, 0 records"; 4], "{setting:?}");
        let asked = events(&document, "egress").into_iter().filter(|event| event["name"] == "evil.example");
        assert_eq!(asked.map(|event| event.get("count").map_or(1, |count| count.as_u64().unwrap())).sum::<u64>(), 4);
    });
}

#[test]
fn over_budget_connections_are_cut_and_the_run_goes_on() {
    each_user(|setting, stage, supervisor| {
        let sink = Server::stalled("127.0.0.1");
        let mut policy = policy(&[("sink.example.org", sink.port)], &[("sink.example.org", "127.0.0.1")]);
        policy["sent_bytes_max"] = json!(300_000);
        let upload = |bytes: u64| json!({"do": "upload", "to": "sink.example.org", "port": sink.port, "bytes": bytes});
        let (outcomes, document) =
            attempt(setting, stage, supervisor, &policy, &json!([upload(4_000_000), upload(10), {"do": "loopback"}]));
        assert!(outcomes[0].starts_with("error") && outcomes[1].starts_with("error"), "{setting:?}: {outcomes:?}");
        assert_eq!(outcomes[2], "to itself");
        assert_eq!(document["result"]["totals"]["sent_bytes"], 300_000);
        let cut =
            json!({"name": "sink.example.org", "refused": "egress budget of 300000 bytes", "sent_bytes": 300_000});
        assert_told(&document, &cut);
        let limits: Vec<_> = events(&document, "limit").iter().map(|event| event["detail"].clone()).collect();
        assert_eq!(limits, ["egress budget of 300000 bytes"]);
        // The server may still be reading when the run is over.
        let deadline = Instant::now() + Duration::from_secs(5);
        while sink.heard.lock().unwrap().is_empty() && Instant::now() < deadline {
            thread::yield_now();
        }
        assert_eq!(*sink.heard.lock().unwrap(), [b"300000".to_vec()], "no byte more has arrived");
    });
}

#[test]
fn a_stalled_target_and_half_a_hello_hold_up_nothing() {
    each_user(|setting, stage, supervisor| {
        if supervisor != "supervise" {
            return;
        }
        let (sink, tls) = (Server::stalled("127.0.0.1"), Server::tls("127.0.0.1"));
        let policy = policy(
            &[("sink.example.org", sink.port), ("hub.example.org", tls.port)],
            &[("sink.example.org", "127.0.0.1"), ("hub.example.org", "127.0.0.1")],
        );
        fs::write(stage.path().join("slow.py"), SLOW_PROGRAM).unwrap();
        let ports = format!("{{\"sink\": {}, \"tls\": {}}}", sink.port, tls.port);
        let began = Instant::now();
        let document = setting.drive(
            stage,
            &json!({
                "command": ["python3", "slow.py"],
                "program_files": [stage.path().join("slow.py")],
                "inputs": [["ports.json", ports], ["ca.pem", fs::read_to_string(tls_file("ca.pem")).unwrap()]],
                "limits": limits(),
                "egress": policy,
            }),
        );
        assert_eq!(lines(&document, "stdout"), ["ok over tls", "half closed: True"], "{setting:?}: {document:#}");
        assert!(began.elapsed() < Duration::from_secs(18), "{:?}", began.elapsed());
        assert_told(&document, &json!({"name": "hub.example.org", "refused": "did not say whom they are for"}));
        assert_told(&document, &json!({"name": "sink.example.org", "via": "tcp", "refused": Value::Null}));
        assert_eq!(tls.connections(), 1);
    });
}

/// A connection to a target that stalls, half a ClientHello, a whole request beside them, then the end of the half.
const SLOW_PROGRAM: &str = r"
import json, os, socket, ssl
ports = json.load(open(os.environ['RINGFENCE_IN'] + '/ports.json'))
stalled = socket.create_connection(('sink.example.org', ports['sink']))
stalled.sendall(b'GET / HTTP/1.1\r\nHost: sink.example.org\r\n\r\n')
half = socket.create_connection(('hub.example.org', ports['tls']))
half.sendall(b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03')
context = ssl.create_default_context(cafile=os.environ['RINGFENCE_IN'] + '/ca.pem')
with context.wrap_socket(socket.create_connection(('hub.example.org', ports['tls'])), server_hostname='hub.example.org') as tls:
    tls.sendall(b'GET / HTTP/1.1\r\nHost: hub.example.org\r\n\r\n')
    answer = b''
    while piece := tls.recv(4096):
        answer += piece
print(answer.decode().split('\r\n\r\n')[1], flush=True)
half.settimeout(15)
try:
    print('half closed:', half.recv(10) == b'', flush=True)
except ConnectionResetError:
    print('half closed: True', flush=True)
";

#[test]
fn what_is_opaque_passes_where_the_policy_says_so() {
    each_user(|setting, stage, supervisor| {
        let (mail, sink) = (Server::greeting("127.0.0.1"), Server::plain("127.0.0.1"));
        let mut policy = policy(
            &[("mail.example.org", mail.port), ("any.example.org", sink.port)],
            &[("mail.example.org", "127.0.0.1"), ("any.example.org", "127.0.0.1")],
        );
        for index in 0..2 {
            policy["allow"][index]["opaque"] = json!(true);
        }
        let attempts = json!([
            {"do": "text", "to": "mail.example.org", "port": mail.port, "text": ""},
            {"do": "bytes", "to": "any.example.org", "port": sink.port, "bytes": [0, 1, 2, 255]},
        ]);
        let (outcomes, document) = attempt(setting, stage, supervisor, &policy, &attempts);
        assert_eq!(outcomes[0], "220 welcome\r\n", "{setting:?}");
        assert!(outcomes[1].contains("in clear"), "{setting:?}: {outcomes:?}");
        assert_told(&document, &json!({"name": "any.example.org", "refused": Value::Null, "sent_bytes": 4}));
    });
}

#[test]
fn curl_and_python_need_no_change() {
    each_user(|setting, stage, supervisor| {
        let (tls, plain) = (Server::tls("127.0.0.1"), Server::plain("127.0.0.1"));
        let policy = policy(
            &[("hub.example.org", tls.port), ("plain.example.org", plain.port)],
            &[("hub.example.org", "127.0.0.1"), ("plain.example.org", "127.0.0.1")],
        );
        let script = format!(
            "cd $RINGFENCE_IN\n\
             if command -v curl >/dev/null; then\n\
               echo curl $(curl -sS --cacert ca.pem https://hub.example.org:{tls}/)\n\
               echo curl $(curl -sS http://plain.example.org:{plain}/)\n\
               curl -sS --cacert ca.pem https://evil.example:{tls}/ 2>/dev/null || echo curl refused $?\n\
             fi\n\
             if command -v python3 >/dev/null; then python3 get.py; fi\n\
             test -r /etc/ssl/certs/ca-certificates.crt || test -d /etc/pki && echo authorities\n",
            tls = tls.port,
            plain = plain.port,
        );
        let python = format!(
            "import ssl, urllib.request as r, urllib.error\n\
             c = ssl.create_default_context(cafile='ca.pem')\n\
             print('python', r.urlopen('https://hub.example.org:{0}/', context=c).read().decode())\n\
             print('python', r.urlopen('http://plain.example.org:{1}/').read().decode())\n\
             try:\n\x20 r.urlopen('http://evil.example/')\n\
             except urllib.error.URLError as e: print('python refused', type(e.reason).__name__)\n\
             print('python trusts', ssl.create_default_context().cert_store_stats()['x509_ca'] > 0 or bool(ssl.get_default_verify_paths().capath))\n",
            tls.port, plain.port
        );
        let authority = fs::read_to_string(tls_file("ca.pem")).unwrap();
        let document = setting.drive(
            stage,
            &json!({
                "supervisor": supervisor,
                "command": ["sh", "-c", script],
                "inputs": [["ca.pem", authority], ["get.py", python]],
                "limits": limits(),
                "egress": policy,
            }),
        );
        let said = lines(&document, "stdout");
        let mut wanted = Vec::new();
        if Path::new("/usr/bin/curl").exists() {
            wanted.extend(["curl ok over tls", "curl in clear", "curl refused 6"]);
        }
        if Path::new("/usr/bin/python3").exists() {
            wanted.extend(["python ok over tls", "python in clear", "python refused gaierror", "python trusts True"]);
        }
        if Path::new("/etc/ssl/certs/ca-certificates.crt").exists() {
            wanted.push("authorities");
        }
        assert_eq!(said, wanted, "{setting:?} {supervisor}: {:?}", lines(&document, "stderr"));
    });
}

#[test]
fn sockets_of_the_host_stay_out_of_reach() {
    use std::os::{
        linux::net::SocketAddrExt,
        unix::{fs::PermissionsExt, net::UnixListener},
    };
    each_user(|setting, stage, supervisor| {
        let path = stage.path().join(format!("socket-{:?}-{supervisor}", setting.user));
        let _path = UnixListener::bind(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let name = format!("ringfence-egress-{}-{:?}-{supervisor}", std::process::id(), setting.user);
        let hidden = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let _hidden = UnixListener::bind_addr(&hidden).unwrap();
        let attempts = json!([
            {"do": "unix", "path": path, "hidden": false},
            {"do": "unix", "path": name, "hidden": true},
        ]);
        let (outcomes, _) = attempt(setting, stage, supervisor, &policy(&[("hub.example.org", 443)], &[]), &attempts);
        assert!(outcomes.iter().all(|outcome| outcome.starts_with("error")), "{setting:?}: {outcomes:?}");
    });
}

#[test]
fn a_job_cannot_undo_it() {
    each_user(|setting, stage, supervisor| {
        let script = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; cat /proc/net/dev | tail -n +3; \
                      ip link add x type dummy 2>/dev/null && echo made; unshare -Un true 2>/dev/null && echo made; echo end";
        let policy = policy(&[("hub.example.org", 443)], &[]);
        let mut order = crate::stage::shell(script);
        order["supervisor"] = json!(supervisor);
        order["egress"] = policy;
        let document = setting.drive(stage, &order);
        let said = lines(&document, "stdout");
        let nothing = |name: &str| format!("{name}:\\u{{9}}0000000000000000");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert!(said.iter().any(|line| line.replace('\t', "\\u{9}") == nothing(set)), "{set}: {said:?}");
        }
        let interfaces: Vec<_> = said.iter().filter(|line| line.contains(": ") && !line.contains("Cap")).collect();
        assert!(interfaces.len() == 1 && interfaces[0].trim_start().starts_with("lo:"), "{said:?}");
        assert_eq!((said.last().unwrap().as_str(), said.contains(&"made".to_owned())), ("end", false));
    });
}

#[test]
fn a_flood_of_questions_is_summed_up() {
    each_user(|setting, stage, supervisor| {
        let attempts = json!([{"do": "flood", "server": "198.18.0.1:53", "count": 3_000}]);
        let (outcomes, document) =
            attempt(setting, stage, supervisor, &policy(&[("hub.example.org", 443)], &[]), &attempts);
        assert_eq!(outcomes, ["code 3, 0 records"], "{setting:?}");
        let told = events(&document, "egress");
        let count = |event: &&Value| event.get("count").map_or(1, |count| count.as_u64().unwrap());
        assert_eq!(told.iter().map(count).sum::<u64>(), 3_000);
        assert!(told.len() < 1_000, "{}", told.len());
    });
}

#[test]
fn what_cannot_be_enforced_is_refused_by_name() {
    let stage = Stage::new();
    for setting in settings() {
        let Some(level) = setting.level(&stage) else { continue };
        let with = |policy: Value| {
            let mut order = crate::stage::shell("true");
            order["egress"] = policy;
            setting.drive(&stage, &order)
        };
        let document = with(policy(&[("hub.example.org", 443)], &[]));
        if level == "landlock" {
            assert!(document["error"]["egress-unavailable"]["reason"].is_string(), "{setting:?}: {document}");
        } else {
            assert_eq!(document["error"], Value::Null, "{setting:?}");
        }
        let document = with(policy(&[("hub.example.org", 53)], &[]));
        let detail = document["error"]["job"]["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("port 53 of `hub.example.org`"), "{detail}");
        // Nothing allowed is as nothing given: no network at all.
        let mut order = crate::stage::shell("cat /proc/net/route /etc/resolv.conf; ls /etc/ssl; echo $?");
        order["egress"] = json!({"networks": ["0.0.0.0/0"]});
        let document = setting.drive(&stage, &order);
        let measures = events(&document, "started")[0]["measures"].to_string();
        assert!(!measures.contains("egress"), "{measures}");
        if level != "landlock" {
            assert!(measures.contains("no network interface that is up"), "{measures}");
            assert!(!lines(&document, "stdout").join("\n").contains("nameserver"));
        }
    }
}

/// What the fuzz target starts from: read whole, and cut short at every byte.
#[test]
fn samples_of_what_jobs_say_are_read_alike_however_they_are_cut() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/egress");
    let samples: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(samples.len() >= 10);
    for sample in samples {
        for end in 0..=sample.len() {
            ringfence_sandbox::run::egress::read_foreign_bytes(&sample[..end]);
        }
    }
}

proptest::proptest! {
    /// Small changes to what is well formed reach further than noise.
    #[test]
    fn changed_samples_are_read_alike_however_they_are_cut(which in 0_usize..10, at in 0_usize..400, byte: u8) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/egress");
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let mut sample = fs::read(&paths[which]).unwrap();
        let length = sample.len();
        sample[at % length] = byte;
        ringfence_sandbox::run::egress::read_foreign_bytes(&sample);
    }
}
