//! The probe tries to get out, at both levels, as root and as an ordinary user. Everything must hold, and the record
//! must list what the kernel told.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{TcpListener, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::{MetadataExt, PermissionsExt, chown},
            net::{SocketAddr, UnixListener},
        },
    },
    process::{Child, Stdio},
};

use serde_json::{Value, json};

use crate::stage::{ORDINARY_ID, SECRET_VARIABLE, Setting, Stage, User, events, limits, lines, settings};

/// Things outside that a job must not reach, owned by the user who runs it.
struct Outside {
    victim: Child,
    tcp: TcpListener,
    udp: UdpSocket,
    path: UnixListener,
    hidden: UnixListener,
    folder: std::path::PathBuf,
    segment: String,
    abstract_name: String,
}

impl Outside {
    fn new(setting: Setting, stage: &Stage) -> Self {
        let folder = stage.path().join(format!("outside-{:?}-{:?}", setting.user, setting.host));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(folder.join("secret"), b"MARKER-secret").unwrap();
        fs::write(folder.join("file"), b"untouched").unwrap();
        fs::set_permissions(folder.join("file"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::copy(stage.probe(), folder.join("program")).unwrap();
        if setting.user == User::Ordinary && nix::unistd::geteuid().is_root() {
            chown(folder.join("file"), Some(ORDINARY_ID), Some(ORDINARY_ID)).unwrap();
        }
        let path = UnixListener::bind(folder.join("socket")).unwrap();
        fs::set_permissions(folder.join("socket"), fs::Permissions::from_mode(0o777)).unwrap();
        let abstract_name = format!("ringfence-test-{}-{:?}-{:?}", std::process::id(), setting.user, setting.host);
        let hidden = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&abstract_name).unwrap()).unwrap();
        for listener in [&path, &hidden] {
            listener.set_nonblocking(true).unwrap();
        }
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        tcp.set_nonblocking(true).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.set_nonblocking(true).unwrap();
        // The helper waits for its standard input to end, as the same user as the run.
        let victim = setting.command(stage, &["victim"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut outside = Self { victim, tcp, udp, path, hidden, folder, segment: String::new(), abstract_name };
        let ready = outside.victim.stdout.as_mut().unwrap();
        BufReader::new(ready).read_line(&mut outside.segment).unwrap();
        outside
    }

    fn targets(&self) -> Value {
        json!({
            "secret": self.folder.join("secret"),
            "file": self.folder.join("file"),
            "folder": self.folder,
            "socket": self.folder.join("socket"),
            "abstract_name": self.abstract_name,
            "tcp_port": self.tcp.local_addr().unwrap().port(),
            "udp_port": self.udp.local_addr().unwrap().port(),
            "victim": self.victim.id(),
            "segment": self.segment.trim().parse::<i32>().unwrap(),
            "variable": SECRET_VARIABLE,
        })
    }

    fn assert_untouched(mut self) {
        assert!(self.victim.try_wait().unwrap().is_none(), "the process outside was killed");
        let own = priority_and_cpus("self");
        assert_eq!(priority_and_cpus(&self.victim.id().to_string()), own, "priority or affinity outside was changed");
        assert!(self.tcp.accept().is_err() && self.path.accept().is_err() && self.hidden.accept().is_err());
        assert!(self.udp.recv(&mut [0; 8]).is_err());
        let file = self.folder.join("file");
        let metadata = fs::metadata(&file).unwrap();
        assert_eq!((fs::read(&file).unwrap().as_slice(), metadata.mode() & 0o7777), (b"untouched".as_slice(), 0o640));
        let names: Vec<_> = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 4, "{names:?}");
        drop(self.victim.stdin.take());
        self.victim.wait().unwrap();
    }
}

fn priority_and_cpus(process: &str) -> (String, String) {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let nice = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(16).unwrap().to_owned();
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    (nice, cpus.to_owned())
}

#[test]
fn every_way_out_is_held() {
    let stage = Stage::new();
    for setting in settings() {
        let Some(level) = setting.level(&stage) else { continue };
        let outside = Outside::new(setting, &stage);
        let document = setting.drive(
            &stage,
            &json!({
                "command": ["./escape_probe"],
                "program_files": [stage.probe()],
                "inputs": [["targets.json", outside.targets().to_string()]],
                "limits": limits(),
            }),
        );
        assert_eq!(document["error"], Value::Null, "{setting:?}");
        assert_eq!(document["result"]["level"], level.as_str());
        let attempts: Vec<Value> =
            lines(&document, "stdout").iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert!(attempts.len() >= ATTEMPTS_MIN, "{setting:?}: only {}: {:?}", attempts.len(), document["result"]);
        let escaped: Vec<_> = attempts.iter().filter(|attempt| attempt["held"] != true).collect();
        assert!(escaped.is_empty(), "{setting:?} at level {level}: {escaped:#?}");
        assert_eq!(document["result"]["ending"], json!({"exited": 0}), "{setting:?}");
        assert_eq!(attempts.last().unwrap()["attempt"], "leave a process behind", "the probe came to its end");
        assert_outputs(&document, setting);
        assert_record(&document, setting, &level);
        outside.assert_untouched();
    }
}

/// An allowed host opens that way and no other, even where the policy opens every network to allowed names.
#[test]
fn with_egress_every_other_way_out_is_held() {
    let stage = Stage::new();
    for setting in settings() {
        if setting.level(&stage).as_deref() != Some("full") {
            continue;
        }
        let outside = Outside::new(setting, &stage);
        let allow = json!([{"host": "hub.example.org", "port": outside.tcp.local_addr().unwrap().port()}]);
        let pins = json!([["hub.example.org", "127.0.0.1"]]);
        let document = setting.drive(
            &stage,
            &json!({
                "command": ["./escape_probe"],
                "program_files": [stage.probe()],
                "inputs": [["targets.json", outside.targets().to_string()]],
                "limits": limits(),
                "egress": {"allow": allow, "pins": pins, "networks": ["0.0.0.0/0", "::/0"]},
            }),
        );
        assert_eq!(document["error"], Value::Null, "{setting:?}");
        let attempts: Vec<Value> =
            lines(&document, "stdout").iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert!(attempts.len() >= ATTEMPTS_MIN, "{setting:?}: only {}: {:?}", attempts.len(), document["result"]);
        // With a network of its own, a job can send datagrams to itself and questions to us: nothing of it arrives outside.
        let within = ["send to a UDP port of the host", "send to a name server"];
        let out = |attempt: &&Value| attempt["held"] != true && !within.iter().any(|name| attempt["attempt"] == *name);
        let escaped: Vec<_> = attempts.iter().filter(out).collect();
        assert!(escaped.is_empty(), "{setting:?}: {escaped:#?}");
        outside.assert_untouched();
    }
}

/// Only the good file comes out, and what does not is named.
fn assert_outputs(document: &Value, setting: Setting) {
    let outputs = document["outputs"].as_object().unwrap();
    let mut names: Vec<_> = outputs.keys().map(String::as_str).collect();
    // Root may read what its owner may not; a file that may not grow beyond the limit stays empty.
    names.retain(|name| *name != "sealed" && !(*name == "sparse" && outputs["sparse"] == ""));
    assert_eq!(names, ["good"], "{setting:?}");
    assert!(!document["outputs"].to_string().contains("MARKER-secret"));
    let refused: Vec<_> = events(document, "not-collected").iter().map(|event| event["path"].clone()).collect();
    for name in ["link", "folder", "fifo", "one", "two", "c:evil"] {
        assert!(refused.contains(&json!(name)), "{setting:?}: {name} is not in {refused:?}");
    }
    assert!(refused.iter().any(|path| path.as_str().unwrap().starts_with("bad\\u{1b}")));
}

/// What the kernel told is in the record.
fn assert_record(document: &Value, setting: Setting, level: &str) {
    let started = events(document, "started");
    assert_eq!((started.len(), started[0]["level"].as_str()), (1, Some(level)));
    let recorded = started[0]["measures"].to_string().contains("refused calls are recorded");
    if !recorded {
        eprintln!("{setting:?}: this host lets nobody listen to refused calls");
        return;
    }
    let refused: Vec<_> =
        events(document, "refused").iter().map(|event| event["detail"].as_str().unwrap().to_owned()).collect();
    for name in ["ptrace 16", "bpf", "io_uring_setup", "keyctl", "mount", "socket of family 17 type 3", "userfaultfd"] {
        assert!(refused.iter().any(|detail| detail == name), "{setting:?}: {name} is not in {refused:?}");
    }
    let counts = document["result"]["refused"].as_array().unwrap();
    assert!(counts.iter().any(|pair| pair[0] == "ioctl 0x5412" && pair[1] == 3), "{counts:?}");
}

/// The issue asks for forty.
const ATTEMPTS_MIN: usize = 100;
