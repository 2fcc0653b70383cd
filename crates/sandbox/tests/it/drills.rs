//! The drills: nothing runs outside of a sandbox, and inside each is held where it must be, or leaves what the watch needs.

use std::net::{TcpListener, UdpSocket};

use ringfence_sandbox::{
    DRILLS,
    drill::{Drill, Stopped},
};
use serde_json::{Value, json};

use crate::stage::{Setting, Stage, User, events, limits, lines, settings};

fn drill(setting: Setting, stage: &Stage, name: &str, arguments: &[String]) -> Value {
    let mut command = vec!["./sandbox_helper".to_owned(), "drill".to_owned(), name.to_owned()];
    command.extend_from_slice(arguments);
    let mut limits = limits();
    limits.wall_ms = 30_000;
    let order = json!({"command": command, "program_files": [stage.helper()], "limits": limits});
    setting.drive(stage, &order)
}

fn verdict(document: &Value, name: &str) -> String {
    let prefix = format!("drill: {name}: ");
    let said = lines(document, "stdout");
    said.iter().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).unwrap_or_default()
}

fn named(name: &str) -> &'static Drill {
    DRILLS.iter().find(|drill| drill.name == name).unwrap()
}

#[test]
fn no_drill_runs_outside() {
    let stage = Stage::new();
    for setting in settings() {
        for drill in DRILLS {
            let output = setting.command(&stage, &["drill", drill.name]).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{}", drill.name);
            assert!(String::from_utf8_lossy(&output.stdout).starts_with("drill: refused: "), "{}", drill.name);
        }
    }
}

#[test]
fn nothing_gets_out() {
    let stage = Stage::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    tcp.set_nonblocking(true).unwrap();
    udp.set_nonblocking(true).unwrap();
    let tcp_target = vec![tcp.local_addr().unwrap().to_string()];
    let udp_target = vec![udp.local_addr().unwrap().to_string()];
    for setting in settings() {
        if setting.level(&stage).is_none() {
            continue;
        }
        for (name, arguments) in [
            ("exfiltrate-dns", &Vec::new()),
            ("exfiltrate-name", &tcp_target),
            ("exfiltrate-address", &tcp_target),
            ("exfiltrate-udp", &udp_target),
            ("exfiltrate-unix", &Vec::new()),
        ] {
            assert!(matches!(named(name).stopped_by, Some(Stopped::Refused(_))));
            let document = drill(setting, &stage, name, arguments);
            let verdict = verdict(&document, name);
            assert!(
                verdict.starts_with("held: ") || verdict.starts_with("unclear: "),
                "{setting:?} {name}: {document}"
            );
        }
    }
    assert!(tcp.accept().is_err() && udp.recv(&mut [0; 8]).is_err(), "something arrived outside");
}

#[test]
fn bombs_are_kept_small() {
    let stage = Stage::new();
    for setting in settings() {
        if setting.level(&stage).is_none() {
            continue;
        }
        let document = drill(setting, &stage, "fork-bomb", &[]);
        let most = document["result"]["totals"]["processes"].as_u64().unwrap();
        assert!(most <= limits().processes + 64, "{setting:?}: {most} processes");
        let killed = document["result"]["ending"]["limit"].is_string();
        assert!(killed || verdict(&document, "fork-bomb").starts_with("held: "), "{setting:?}: {document}");
        let document = drill(setting, &stage, "memory-bomb", &[]);
        let exited = document["result"]["ending"] == json!({"exited": 0});
        assert!(!exited || verdict(&document, "memory-bomb").starts_with("held: "), "{setting:?}: {document}");
        assert_ne!(document["result"]["ending"], json!({"exited": 1}), "{setting:?}: {document}");
    }
}

#[test]
fn nothing_outlives_its_run() {
    let stage = Stage::new();
    for setting in settings() {
        if setting.level(&stage).is_none() {
            continue;
        }
        let document = drill(setting, &stage, "outlive", &[]);
        assert!(verdict(&document, "outlive").starts_with("unclear: "), "{setting:?}: {document}");
        let beats = document["outputs"]["heartbeat"].as_str().unwrap().len();
        assert!((1..100).contains(&beats), "{setting:?}: {beats}");
        // The driver has returned: whatever is alive now would be found by its name.
        let alive = processes_named("sandbox_helper");
        assert_eq!(alive, 0, "{setting:?}");
    }
}

fn processes_named(name: &str) -> usize {
    let own = |entry: &std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        line.contains(name) && line.contains("outlive")
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter(own).count()
}

#[test]
fn a_swapped_checkpoint_differs_from_the_claim() {
    let stage = Stage::new();
    let setting = settings().into_iter().find(|setting| setting.user == User::Ordinary).unwrap();
    if setting.level(&stage).is_none() {
        return;
    }
    let document = drill(setting, &stage, "checkpoint-swap", &[]);
    let told = events(&document, "progress");
    let claim = told.iter().find(|told| told["checkpoint"] == "model.bin").unwrap();
    assert!(told.len() >= 100, "{} steps", told.len());
    let collected = events(&document, "collected");
    let left = collected.iter().find(|file| file["path"] == "model.bin").unwrap();
    assert_eq!(left["sha256"].as_str().unwrap().len(), claim["checkpoint_sha256"].as_str().unwrap().len());
    assert_ne!(left["sha256"], claim["checkpoint_sha256"]);
    let last = told.last().unwrap();
    assert!(last["step"].as_u64().unwrap() > claim["step"].as_u64().unwrap());
}
