//! Sinks against servers on loopback that are well, down, slow, or lie.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ringfence_reach::{
    ReachError,
    sink::{Outlet, SinkList, deadline, metrics::Metrics},
    testing::{
        Fault, MailFault, MailMode, MailServer, Reply, Request, Server, SyslogServer, open_settings, server_tls,
    },
};
use ringfence_schema::alert::Alert;

use crate::alerts::{alert, hostile, now, open, parcels, settings, tls_file};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Sends the alerts; how many were taken, and what stopped it.
fn send(outlet: &mut Outlet, alerts: &[Alert]) -> (usize, Option<ReachError>) {
    let sent = outlet.sink.as_mut().unwrap().send(&parcels(alerts), now(), deadline(20_000));
    (sent.taken, sent.failure)
}

fn some(count: u64) -> Vec<Alert> {
    (0..count).map(alert).collect()
}

/// A server that keeps what is posted to it.
fn collector() -> (Server, Arc<Mutex<Vec<Request>>>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&requests);
    let server = Server::start(0, move |request| {
        kept.lock().unwrap().push(request.clone());
        Reply::new(200, &b"{}"[..])
    });
    (server.unwrap(), requests)
}

fn webhook(server: &Server, rest: &str) -> Result<Outlet, String> {
    open(settings(server.port()), &format!("webhook = {{ url = \"{}/hook/T0PSECRET?k=v\"{rest} }}", server.origin()))
}

#[test]
fn a_webhook_is_signed_and_carries_the_same_id_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, KEY).unwrap();
    let (server, requests) = collector();
    let mut outlet = webhook(&server, &format!(", secret = {{ file = \"{}\" }}", secret.display())).unwrap();
    let alerts = some(3);
    assert!(matches!(send(&mut outlet, &alerts), (3, None)));
    assert!(matches!(send(&mut outlet, &alerts), (3, None)));
    let requests = requests.lock().unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(KEY.trim_start_matches("whsec_")).unwrap());
    for (request, alert) in requests.iter().zip(alerts.iter().cycle()) {
        let header = |name: &str| request.header(name).unwrap();
        assert_eq!(header("webhook-id"), format!("alert-{}", alert.id.hex()));
        assert_eq!((header("webhook-timestamp"), header("content-type")), ("1800000000", "application/json"));
        let mut signed = format!("{}.1800000000.", header("webhook-id")).into_bytes();
        signed.extend(&request.body);
        let signature = STANDARD.decode(header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
        hmac::verify(&key, &signed, &signature).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["schema"], "ringfence.alert/1");
        assert_eq!(serde_json::from_value::<Alert>(body["data"]["alert"].clone()).unwrap(), *alert);
    }
    assert_eq!(requests.len(), 6);
    assert_eq!((&requests[0].body, &requests[0].path[..]), (&requests[3].body, "/hook/T0PSECRET"));
}

#[test]
fn a_webhook_that_fails_has_not_taken_anything() {
    let (server, requests) = collector();
    let mut outlet = webhook(&server, ", body = \"ocsf\"").unwrap();
    let busy = |status, wait: &str| Fault::Instead(Reply::new(status, &b"T0PSECRET"[..]).with("retry-after", wait));
    let faults = [
        busy(500, "0"),
        busy(429, "120"),
        Fault::Instead(Reply::new(404, &b"{\"error\": \"T0PSECRET\"}"[..])),
        Fault::Instead(Reply::new(302, &b""[..]).with("location", "/elsewhere")),
        Fault::CutAfter(1),
        Fault::ClaimLength(1_000),
        Fault::DripHead(60),
        Fault::DripBody(4_000),
        Fault::Raw(b"HTTP/1.1 200 OK".to_vec()),
        Fault::Raw(b"hello\r\n\r\n".to_vec()),
        Fault::HugeHeader(200_000),
    ];
    for fault in faults {
        server.spoil("/hook", 1, fault.clone());
        let begun = Instant::now();
        let (taken, failure) = send(&mut outlet, &some(2));
        let failure = failure.unwrap_or_else(|| panic!("{fault:?}"));
        assert_eq!(taken, 0, "{fault:?}: {failure}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{fault:?}");
        let shown = format!("{failure} {failure:?} {:?}", failure.remedy());
        assert!(!shown.contains("T0PSECRET") && !shown.contains("/hook"), "{shown}");
        if let Fault::Instead(Reply { status: 429, .. }) = fault {
            assert!(matches!(failure, ReachError::Busy { status: 429, retry_after_s: Some(120), .. }), "{failure}");
        }
    }
    assert!(
        requests.lock().unwrap().iter().all(|request| request.path == "/hook/T0PSECRET"),
        "no redirect is followed"
    );
    // In the middle: what came before it was taken.
    let before = requests.lock().unwrap().len();
    assert!(matches!(send(&mut outlet, &some(2)), (2, None)));
    server.spoil("/hook", 1, Fault::Chunked);
    assert!(matches!(send(&mut outlet, &some(4)), (4, None)));
    assert_eq!(requests.lock().unwrap().len(), before + 6);
    let mut fresh = webhook(&server, "").unwrap();
    drop(server);
    let (taken, failure) = send(&mut fresh, &some(1));
    assert!(taken == 0 && failure.is_some_and(|error| error.is_passing()));
}

#[test]
fn a_pass_ends_when_its_time_is_over() {
    let (server, _) = collector();
    let mut outlet = webhook(&server, "").unwrap();
    let alerts = some(3);
    let sent = outlet.sink.as_mut().unwrap().send(&parcels(&alerts), now(), Instant::now());
    assert!(sent.taken == 0 && sent.failure.is_none());
}

#[test]
fn sinks_stay_within_the_policy() {
    for to in [
        "webhook = { url = \"https://evil.example/x\" }",
        "otlp = { endpoint = \"https://evil.example\" }",
        "syslog = { server = \"evil.example:6514\" }",
        "mail = { server = \"evil.example:465\", from = \"a@b.example\", to = [\"c@d.example\"] }",
        "webhook = { url = \"http://169.254.169.254/latest/\" }",
    ] {
        let error = open(open_settings(&[1]), to).err().unwrap();
        assert!(error.starts_with("egress to"), "{to}: {error}");
    }
    // A rule for TLS opens no door for what is in the clear.
    let error =
        open(settings(9), "syslog = { server = \"localhost:9\", transport = \"tcp\", insecure = true }").err().unwrap();
    assert!(error.starts_with("egress to"), "{error}");
}

#[test]
fn lists_are_strict() {
    let list = |text: &str| toml::from_str::<SinkList>(text).map_err(|error| error.to_string());
    let fine = "[[sink]]\nname = \"a\"\nmin-severity = \"high\"\nto.file = { path = \"/x/y.jsonl\" }\n";
    assert_eq!(list(fine).unwrap().sinks.len(), 1);
    assert!(list("").unwrap().sinks.is_empty());
    for (text, why) in [
        (format!("{fine}{fine}"), "two sinks"),
        (fine.replace("\"a\"", "\"A b\""), "no name of a sink"),
        (fine.replace("/x/", "x/"), "not absolute"),
        (fine.replace("file", "carrier-pigeon"), "unknown variant"),
        (fine.replace("min-severity", "severity"), "unknown field"),
        (fine.replace("path = ", "mode = 1, path = "), "unknown field"),
        (
            fine.replace("file = { path = \"/x/y.jsonl\" }", "webhook = { url = \"https://h/\", secret = \"abc\" }"),
            "secret",
        ),
        (
            fine.replace("file = { path = \"/x/y.jsonl\" }", "syslog = { server = \"h:1\", transport = \"udp\" }"),
            "insecure = true",
        ),
        (fine.replace("file = { path = \"/x/y.jsonl\" }", "syslog = { server = \"h\" }"), "HOST:PORT"),
        (mail_list("from = \"a@b.example>\\r\\nDATA\", to = [\"c@d.example\"]"), "no mail address"),
        (mail_list("from = \"a@b.example\", to = []"), "0 recipients"),
        (mail_list("from = \"a@b.example\", to = [\"c@d.example\"], user = \"u\""), "belong together"),
        ((0..40).map(|n| fine.replace("\"a\"", &format!("\"a{n}\""))).collect(), "40 sinks"),
    ] {
        let error = list(&text).err().unwrap_or_else(|| panic!("{text}"));
        assert!(error.contains(why), "{text}: {error}");
    }
}

fn mail_list(rest: &str) -> String {
    format!("[[sink]]\nname = \"a\"\nto.mail = {{ server = \"h:465\", {rest} }}\n")
}

fn mail(server: &MailServer, security: &str, password: &std::path::Path) -> Result<Outlet, String> {
    let host = if security == "insecure" { "127.0.0.1" } else { "localhost" };
    let login = match security {
        "insecure" => String::new(),
        _ => format!(", user = \"ann\", password = {{ file = \"{}\" }}", password.display()),
    };
    let to = format!(
        "mail = {{ server = \"{host}:{}\", security = \"{security}\", from = \"r@example.org\", \
         to = [\"ann@example.org\", \"gone@example.org\"]{login} }}",
        server.port()
    );
    open(settings(server.port()), &to)
}

#[test]
fn mail_goes_out_in_every_way_that_servers_take_it() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    fs::write(&password, "s3cret-pass\n").unwrap();
    let tls = server_tls(&tls_file("server.pem"), &tls_file("server.key")).unwrap();
    let ways = [
        ("tls", MailMode::Tls(Arc::clone(&tls)), "PLAIN LOGIN"),
        ("starttls", MailMode::Starttls(Arc::clone(&tls)), "LOGIN"),
        ("insecure", MailMode::Plain, ""),
    ];
    for (security, mode, mechanisms) in ways {
        let server = MailServer::start(mode).unwrap();
        server.offer(mechanisms);
        server.refuse("gone@example.org");
        let alerts = [alert(1), hostile(), alert(2)];
        let mut outlet = mail(&server, security, &password).unwrap();
        let (taken, failure) = send(&mut outlet, &alerts);
        assert!(taken == 3 && failure.is_none(), "{security}: {failure:?}");
        let mails = server.mails();
        for (mail, alert) in mails.iter().zip(&alerts) {
            assert_eq!(
                (mail.from.as_str(), mail.to.as_slice()),
                ("r@example.org", &["ann@example.org".to_owned()][..])
            );
            assert!(mail.data.contains(&format!("Message-ID: <alert-{}@example.org>", alert.id.hex())));
            assert_eq!(mail.secure, security != "insecure");
        }
        let encode = |text: &str| STANDARD.encode(text);
        let login = match security {
            "tls" => Some(format!("AUTH PLAIN {}", encode("\0ann\0s3cret-pass"))),
            "starttls" => Some(format!("AUTH LOGIN {} {}", encode("ann"), encode("s3cret-pass"))),
            _ => None,
        };
        assert_eq!((mails.len(), &mails[0].login), (3, &login));
    }
}

#[test]
fn a_mail_server_that_fails_is_told_again() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    fs::write(&password, "s3cret-pass\n").unwrap();
    let tls = server_tls(&tls_file("server.pem"), &tls_file("server.key")).unwrap();
    let server = MailServer::start(MailMode::Starttls(tls)).unwrap();
    let mut outlet = mail(&server, "starttls", &password).unwrap();
    let faults = [
        MailFault::HangUp,
        MailFault::Busy,
        MailFault::Refuse,
        MailFault::Inject,
        MailFault::Endless,
        MailFault::SilentAfterData,
    ];
    for fault in faults {
        server.spoil(&[fault]);
        let (taken, failure) = send(&mut outlet, &some(2));
        let failure = failure.unwrap_or_else(|| panic!("{fault:?}"));
        assert_eq!(taken, 0, "{fault:?}: {failure}");
        assert!(!format!("{failure:?}").contains("s3cret"), "{failure:?}");
        let known = match fault {
            MailFault::Busy => matches!(failure, ReachError::Refused { code: 421, .. }),
            MailFault::Refuse => matches!(failure, ReachError::Refused { code: 451, .. }) && failure.is_passing(),
            MailFault::Inject | MailFault::Endless => matches!(failure, ReachError::Malformed { .. }),
            _ => matches!(failure, ReachError::Connection { .. }),
        };
        assert!(known, "{fault:?}: {failure:?}");
    }
    // It took the mail and could not say so: the same mail again, told by its id.
    assert!(matches!(send(&mut outlet, &some(2)), (2, None)));
    let id = |mail: &ringfence_reach::testing::Received| {
        mail.data.lines().find(|line| line.starts_with("Message-ID")).unwrap().to_owned()
    };
    let mails = server.mails();
    assert_eq!((mails.len(), id(&mails[0])), (3, id(&mails[1])));
    // Nobody is left to send it to.
    server.refuse("ann@example.org");
    server.refuse("gone@example.org");
    assert!(matches!(send(&mut outlet, &some(1)), (0, Some(ReachError::Refused { code: 550, .. }))));
    // A server that repeats what it was told does not get it into an error.
    fs::write(&password, "wrong\n").unwrap();
    let mut outlet = mail(&server, "starttls", &password).unwrap();
    server.offer("LOGIN");
    let (_, failure) = send(&mut outlet, &some(1));
    let failure = failure.unwrap();
    assert!(matches!(&failure, ReachError::Refused { code: 535, said, .. } if said.is_empty()), "{failure}");
    // One that offers no TLS gets no password.
    let plain = MailServer::start(MailMode::Plain).unwrap();
    let mut outlet = {
        let mut settings = settings(plain.port());
        settings.egress.hosts.iter_mut().for_each(|rule| rule.scheme = ringfence_reach::Scheme::Https);
        let to = format!(
            "mail = {{ server = \"localhost:{}\", security = \"starttls\", from = \"r@example.org\", to = [\"a@b.example\"], \
             user = \"ann\", password = {{ file = \"{}\" }} }}",
            plain.port(),
            password.display()
        );
        open(settings, &to).unwrap()
    };
    assert!(matches!(send(&mut outlet, &some(1)), (0, Some(ReachError::Tls { .. }))));
    assert!(plain.mails().is_empty());
}

#[test]
fn syslog_counts_as_taken_when_its_closure_is_answered() {
    let tls = server_tls(&tls_file("server.pem"), &tls_file("server.key")).unwrap();
    for (server, host, rest) in [
        (SyslogServer::start(Some(tls)).unwrap(), "localhost", ""),
        (SyslogServer::start(None).unwrap(), "127.0.0.1", ", transport = \"tcp\", insecure = true"),
    ] {
        let to = format!("syslog = {{ server = \"{host}:{}\", hostname = \"gpu-7\"{rest} }}", server.port());
        let mut outlet = open(settings(server.port()), &to).unwrap();
        let alerts = [alert(1), hostile(), alert(2)];
        let (taken, failure) = send(&mut outlet, &alerts);
        assert!(taken == 3 && failure.is_none(), "{failure:?}");
        let messages = server.messages();
        assert_eq!(messages.len(), 3);
        assert!(messages.iter().zip(&alerts).all(|(message, alert)| message.contains(&alert.id.hex())));
        // Read, but never confirmed: it comes again.
        server.cut(1);
        let (taken, failure) = send(&mut outlet, &alerts);
        assert!(taken == 0 && failure.is_some(), "{taken}");
        assert!(matches!(send(&mut outlet, &alerts), (3, None)));
        assert_eq!(server.messages().len(), 9);
        server.set_down(true);
        let (taken, failure) = send(&mut outlet, &alerts);
        // In the clear an end that comes at once cannot be told from an answer; TLS can tell.
        assert!(host == "127.0.0.1" || (taken == 0 && failure.is_some()));
    }
}

#[test]
fn syslog_by_datagrams_is_sent_and_forgotten() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let to = format!("syslog = {{ server = \"127.0.0.1:{port}\", transport = \"udp\", insecure = true }}");
    let mut outlet = open(settings(port), &to).unwrap();
    assert!(matches!(send(&mut outlet, &some(2)), (2, None)));
    let mut buffer = [0; 9_000];
    let length = socket.recv(&mut buffer).unwrap();
    assert!(std::str::from_utf8(&buffer[..length]).unwrap().starts_with("<107>1 "));
}

#[test]
fn a_collector_gets_batches_and_figures() {
    let (server, requests) = collector();
    let to = format!("otlp = {{ endpoint = \"{}/\", metrics = true }}", server.origin());
    let mut outlet = open(settings(server.port()), &to).unwrap();
    assert!(matches!(send(&mut outlet, &some(130)), (130, None)));
    outlet.gauge.as_mut().unwrap().show(&Metrics::new("v", now(), now())).unwrap();
    let count = |request: &Request| -> Option<usize> {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        Some(body["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array()?.len())
    };
    let counts: Vec<_> =
        requests.lock().unwrap().iter().map(|request| (request.path.clone(), count(request))).collect();
    let logs = |count| ("/v1/logs".to_owned(), Some(count));
    assert_eq!(counts, [logs(64), logs(64), logs(2), ("/v1/metrics".to_owned(), None)]);
    server.spoil("/v1/logs", 1, Fault::Instead(Reply::new(503, &b""[..])));
    assert!(matches!(send(&mut outlet, &some(1)), (0, Some(ReachError::Busy { status: 503, .. }))));
    let token =
        format!("otlp = {{ endpoint = \"{}\", token = {{ command = [\"echo\", \"t0ken\"] }} }}", server.origin());
    assert!(open(settings(server.port()), &token).err().unwrap().contains("in the clear"));
}

#[test]
fn lines_survive_crashes_and_files_move_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alerts.jsonl");
    let to = format!("file = {{ path = \"{}\", max-bytes = 1, keep = 2 }}", path.display());
    let mut outlet = open(open_settings(&[]), &to).unwrap();
    assert!(matches!(send(&mut outlet, &some(2)), (2, None)));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    // A crash in the middle of a line: what was not taken is cut off, and comes again.
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{whole}{{\"class_uid\": 20")).unwrap();
    assert!(matches!(send(&mut outlet, &some(3)[2..]), (1, None)));
    let ids: Vec<String> = fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["finding_info"]["uid"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(ids, some(3).iter().map(|alert| alert.id.hex()).collect::<Vec<_>>());
    // The smallest file is 256 KiB: some hundred lines in each.
    let many = some(900);
    assert!(matches!(send(&mut outlet, &many), (900, None)));
    let count = |path: &std::path::Path| fs::read_to_string(path).map_or(0, |text| text.lines().count());
    let files = BTreeMap::from_iter(
        ["", ".1", ".2", ".3"].map(|suffix| (suffix, count(&folder.path().join(format!("alerts.jsonl{suffix}"))))),
    );
    assert!(files[".1"] > 50 && files[".2"] > 50 && files[".3"] == 0, "{files:?}");
    let full = files[".1"];
    assert_eq!((903 - files[""]) % full, 0, "{files:?}");
    // A link in its place is somebody else's.
    fs::remove_file(&path).ok();
    symlink("/etc/hostname", &path).unwrap();
    assert!(matches!(send(&mut outlet, &some(1)), (0, Some(ReachError::Io { .. }))));
}

#[test]
fn figures_replace_each_other_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ringfence.prom");
    let mut outlet = open(open_settings(&[]), &format!("prometheus = {{ path = \"{}\" }}", path.display())).unwrap();
    assert!(outlet.sink.is_none());
    let mut metrics = Metrics::new("v", now(), now());
    metrics.add_run("r-1", &ringfence_schema::event::Usage::default(), None);
    for _ in 0..2 {
        outlet.gauge.as_mut().unwrap().show(&metrics).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("ringfence_run_processes{run=\"r-1\"} 0\n"), "{text}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
