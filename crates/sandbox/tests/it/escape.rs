//! The probe tries to get out, at every level, as root and as an ordinary user. Everything must hold, and the record must
//! list what the kernel told.

#[cfg(feature = "ablation")]
use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    outside::Outside,
    stage::{Setting, Stage, User, events, limits, lines, settings},
};

#[test]
fn every_way_out_is_held() {
    let stage = Stage::new();
    for setting in settings() {
        let Some(level) = setting.level(&stage) else { continue };
        assert_all_held(setting, &stage, &level, None);
        if cfg!(feature = "ablation") && level == "full" && setting.user == User::Root {
            let rest: Vec<&str> = MECHANISMS.iter().copied().filter(|name| *name != "control-groups").collect();
            assert_all_held(setting, &stage, "no-cgroup", Some(&rest));
        }
    }
}

fn assert_all_held(setting: Setting, stage: &Stage, level: &str, only: Option<&[&str]>) {
    let outside = Outside::new(setting, stage);
    let document = run(setting, stage, &outside, only);
    assert_eq!(document["error"], Value::Null, "{setting:?}");
    assert_eq!(document["result"]["level"], level);
    let attempts = attempts(&document);
    assert!(attempts.len() >= ATTEMPTS_MIN, "{setting:?}: only {}: {:?}", attempts.len(), document["result"]);
    let escaped: Vec<_> = attempts.iter().filter(|attempt| attempt["held"] != true).collect();
    assert!(escaped.is_empty(), "{setting:?} at level {level}: {escaped:#?}");
    assert_eq!(document["result"]["ending"], json!({"exited": 0}), "{setting:?}");
    assert_eq!(attempts.last().unwrap()["attempt"], "plant-writer", "the probe came to its end");
    assert_outputs(&document, setting);
    assert_record(&document, setting, level);
    outside.assert_untouched();
}

/// Runs the probe with these mechanisms in force, or all of them.
pub(crate) fn run(setting: Setting, stage: &Stage, outside: &Outside, only: Option<&[&str]>) -> Value {
    // Who looks only from time to time needs something to look at.
    let watched = only.is_some_and(|only| only.contains(&"watch"));
    let environment = if watched { json!([["PATIENCE_MS", "2000"]]) } else { json!([]) };
    setting.drive(
        stage,
        &json!({
            "command": ["./escape_probe"],
            "environment": environment,
            "program_files": [stage.probe()],
            "readable": [outside.shown()],
            "inputs": [["targets.json", outside.targets().to_string()]],
            "limits": limits(),
            "only": only,
        }),
    )
}

fn attempts(document: &Value) -> Vec<Value> {
    lines(document, "stdout").iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Whether each attempt was held, by name.
#[cfg(feature = "ablation")]
pub(crate) fn held(document: &Value, outside: &mut Outside) -> BTreeMap<String, bool> {
    let mut held: BTreeMap<String, bool> = attempts(document)
        .iter()
        .map(|attempt| (attempt["attempt"].as_str().unwrap().to_owned(), attempt["held"] == true))
        .collect();
    if outside.decoy_is_dead() {
        held.insert("signal-through-owner".to_owned(), false);
    }
    // The watch ends the whole run, and with it the attempt's own word.
    for (limit, attempt) in [("memory", "memory-bomb"), ("processes", "fork-bomb")] {
        if document["result"]["ending"] == json!({"limit": limit}) {
            held.insert(attempt.to_owned(), true);
        }
    }
    held
}

/// An allowed host opens that way and no other, even where the policy opens every network to allowed names.
#[test]
fn with_egress_every_other_way_out_is_held() {
    let stage = Stage::new();
    for setting in settings() {
        if !matches!(setting.level(&stage).as_deref(), Some("full" | "no-cgroup")) {
            continue;
        }
        let outside = Outside::new(setting, &stage);
        let allow = json!([{"host": "hub.example.org", "port": outside.targets()["tcp_port"]}]);
        let pins = json!([["hub.example.org", "127.0.0.1"]]);
        let document = setting.drive(
            &stage,
            &json!({
                "command": ["./escape_probe"],
                "program_files": [stage.probe()],
                "readable": [outside.shown()],
                "inputs": [["targets.json", outside.targets().to_string()]],
                "limits": limits(),
                "egress": {"allow": allow, "pins": pins, "networks": ["0.0.0.0/0", "::/0"]},
            }),
        );
        assert_eq!(document["error"], Value::Null, "{setting:?}");
        let attempts = attempts(&document);
        assert!(attempts.len() >= ATTEMPTS_MIN, "{setting:?}: only {}: {:?}", attempts.len(), document["result"]);
        // With a network of its own, a job can send datagrams to itself and questions to us: nothing of it arrives outside.
        let within = ["udp-to-host", "route-to-name-server", "route-to-metadata"];
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
    for name in
        ["ptrace 16902", "bpf", "io_uring_setup", "keyctl", "mount", "socket of family 17 type 3", "userfaultfd"]
    {
        assert!(refused.iter().any(|detail| detail == name), "{setting:?}: {name} is not in {refused:?}");
    }
    let counts = document["result"]["refused"].as_array().unwrap();
    assert!(counts.iter().any(|pair| pair[0] == "ioctl 0x5412" && pair[1] == 3), "{counts:?}");
    assert!(counts.iter().any(|pair| pair[0] == "ioctl 0x100005412" && pair[1] == 3), "{counts:?}");
}

/// Fewer means that the probe was cut off.
const ATTEMPTS_MIN: usize = 150;
/// Everything that confines a job, by the names of the crate.
pub(crate) const MECHANISMS: &[&str] = &[
    "user-namespace",
    "own-root",
    "read-only-binds",
    "masked-proc",
    "pid-namespace",
    "network-namespace",
    "ipc-namespace",
    "namespace-limits",
    "control-groups",
    "resource-limits",
    "watch",
    "capabilities",
    "no-new-privileges",
    "landlock",
    "seccomp",
];
