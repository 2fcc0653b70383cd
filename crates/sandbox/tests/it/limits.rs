//! Limits hold, and the record says which one was reached.

use std::path::Path;

use ringfence_sandbox::RunLimits;
use serde_json::{Value, json};

use crate::stage::{Setting, Stage, events, limits, lines, settings, shell};

fn run(setting: Setting, stage: &Stage, script: &str, limits: RunLimits) -> Value {
    let mut order = shell(script);
    order["limits"] = json!(limits);
    let document = setting.drive(stage, &order);
    assert_eq!(document["error"], Value::Null, "{setting:?}: {script}");
    document
}

pub(crate) fn each_setting(test: impl Fn(Setting, &Stage)) {
    let stage = Stage::new();
    for setting in settings() {
        if setting.level(&stage).is_some() {
            test(setting, &stage);
        }
    }
}

#[test]
fn wall_time_is_limited() {
    each_setting(|setting, stage| {
        let document = run(setting, stage, "sleep 30", RunLimits { wall_ms: 200, ..limits() });
        assert_eq!(document["result"]["ending"], json!({"limit": "wall time"}), "{setting:?}");
        assert_eq!(events(&document, "limit")[0]["detail"], "wall time");
        let wall_ms = document["result"]["totals"]["wall_ms"].as_u64().unwrap();
        assert!((200..1_500).contains(&wall_ms), "{setting:?}: {wall_ms}");
    });
}

#[test]
fn cpu_time_of_all_processes_is_limited() {
    each_setting(|setting, stage| {
        let script = "for i in 1 2 3; do sh -c 'while :; do :; done' & done; wait";
        let document = run(setting, stage, script, RunLimits { cpu_ms: 400, ..limits() });
        assert_eq!(document["result"]["ending"], json!({"limit": "cpu time"}), "{setting:?}");
    });
}

#[test]
fn memory_is_limited() {
    if !Path::new("/usr/bin/python3").exists() {
        eprintln!("skipped, there is no /usr/bin/python3");
        return;
    }
    each_setting(|setting, stage| {
        // Private memory, shared memory without a name, and memory spread over processes.
        for script in [
            "python3 -c 'x = bytearray(600 << 20)' ",
            "python3 -c 'import mmap; m = mmap.mmap(-1, 600 << 20)\nfor i in range(0, 600 << 20, 4096): m[i] = 1\nimport time; time.sleep(2)'",
            "for i in 1 2 3 4 5 6 7 8; do python3 -c 'x = bytearray(90 << 20)\nimport time; time.sleep(2)' & done; wait",
            "i=0; while [ $i -lt 30 ]; do i=$((i+1)); python3 -c 'x = bytearray(90 << 20)\nimport time; time.sleep(2)' & done; wait",
        ] {
            let began = std::time::Instant::now();
            let document = run(setting, stage, &format!("{script}; exit $?"), limits());
            let used = document["result"]["totals"]["memory_bytes"].as_u64().unwrap();
            println!("{setting:?}: at most {} MiB of 256: {script}", used >> 20);
            assert!(used < 384 << 20, "{setting:?}: {used} bytes: {script}");
            let bounded =
                document["result"]["ending"] != json!({"exited": 0}) || !events(&document, "limit").is_empty();
            assert!(bounded, "{setting:?}: {}: {script}", document["result"]);
            assert!(began.elapsed().as_secs() < 20);
        }
    });
}

#[test]
fn processes_are_limited() {
    each_setting(|setting, stage| {
        let script = "i=0; while [ $i -lt 300 ]; do sleep 5 & i=$((i+1)); done; echo all";
        let document = run(setting, stage, script, limits());
        assert_eq!(lines(&document, "stdout"), Vec::<String>::new(), "{setting:?}");
    });
}

#[test]
fn outputs_are_limited() {
    each_setting(|setting, stage| {
        let script = "cd $RINGFENCE_OUT; head -c 30000000 /dev/zero > big; i=0; while [ $i -lt 200 ]; do : > f$i; i=$((i+1)); done; exit 0";
        let document = run(setting, stage, script, limits());
        let outputs = document["outputs"].as_object().unwrap();
        let bytes: usize = outputs.values().map(|text| text.as_str().unwrap().len()).sum();
        assert!(bytes as u64 <= limits().output_bytes && outputs.len() as u64 <= limits().output_files, "{setting:?}");
    });
}

#[test]
fn a_flood_of_lines_is_cut_and_counted() {
    each_setting(|setting, stage| {
        let few = RunLimits { line_bytes: 10_000, ..limits() };
        let document = run(setting, stage, "yes | head -n 1000000; head -c 3000000 /dev/zero; echo; echo end", few);
        assert_eq!(document["result"]["ending"], json!({"exited": 0}), "{setting:?}");
        assert!(lines(&document, "stdout").len() < 1_000, "{setting:?}");
        let dropped = events(&document, "dropped")[0]["bytes"].as_u64().unwrap();
        assert!(dropped > 2_000_000, "{setting:?}: {dropped}");
    });
}

#[test]
fn telemetry_comes_once_a_second() {
    each_setting(|setting, stage| {
        let level = setting.level(stage).unwrap();
        let script = "echo 1 > $RINGFENCE_OUT/early; setarch $(uname -m) -R true; mv $RINGFENCE_OUT/early $RINGFENCE_OUT/late; \
                      cat $RINGFENCE_IN/set/one >/dev/null; sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done'; sleep 1.6";
        let mut order = shell(script);
        order["inputs"] = json!([["set/one", "1"]]);
        let document = setting.drive(stage, &order);
        let samples = events(&document, "sample");
        assert!(samples.len() >= 2, "{setting:?}: {samples:?}");
        assert!(samples[0]["processes"].as_u64().unwrap() >= 1, "{setting:?}: {samples:?}");
        assert!(document["result"]["totals"]["cpu_ms"].as_u64().unwrap() > 0, "{setting:?}");
        let last = samples.last().unwrap();
        assert_eq!(last["pressure"].is_object(), Path::new("/proc/pressure/cpu").exists(), "{setting:?}: {last}");
        assert!(last["refused_calls"].as_u64().unwrap() >= 1, "{setting:?}: {last}");
        assert_eq!(last["output_bytes"].as_u64().is_some_and(|bytes| bytes > 0), level != "landlock", "{last}");
        let told: Vec<_> = events(&document, "file").iter().map(|event| (&event["change"], &event["path"])).collect();
        assert!(told.contains(&(&json!("renamed"), &json!("/out/late"))), "{setting:?}: {told:?}");
        assert!(told.contains(&(&json!("read"), &json!("/in/set/one"))), "{setting:?}: {told:?}");
        let late = events(&document, "file").into_iter().find(|event| event["path"] == "/out/late").unwrap();
        assert_eq!(late["sha256"], ringfence_schema::Digest::of(b"1\n").to_string(), "{setting:?}");
    });
}

#[test]
fn floods_of_files_and_lines_are_bounded_and_the_run_ends() {
    each_setting(|setting, stage| {
        let script = "cd $RINGFENCE_OUT; (yes & yes >&2 &) ; i=0; while [ $i -lt 3000 ]; do \
                      : > a$i; ln -s /etc/passwd b$i; rm a$i b$i; i=$((i+1)); done; ln -s / root; echo good > good; exit 0";
        let document = run(setting, stage, script, RunLimits { line_bytes: 20_000, ..limits() });
        assert_eq!(document["result"]["ending"], json!({"exited": 0}), "{setting:?}");
        assert_eq!(document["outputs"], json!({"good": "good\n"}), "{setting:?}");
        assert_eq!(events(&document, "not-collected")[0]["path"], "root", "{setting:?}");
        assert!(events(&document, "dropped")[0]["bytes"].as_u64().unwrap() > 0, "{setting:?}");
        let samples = events(&document, "sample");
        assert!(events(&document, "file").len() <= 64 * samples.len(), "{setting:?}");
        assert!(samples.last().unwrap()["untold_files"].as_u64().unwrap() > 0, "{setting:?}");
    });
}
