//! Stop, freeze, and what is left when somebody is killed at any moment.

use std::{
    fs,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    limits::each_setting,
    runs::{is_alive, tree_of},
    stage::{Host, Stage, limits, lines, next_run_id, settings, shell},
};

#[test]
fn a_frozen_run_stands_still_until_it_is_thawed() {
    each_setting(|setting, stage| {
        let mut order = shell("i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo $i; sleep 0.02; done");
        order["freeze_ms"] = json!(FROZEN_MS);
        let document = setting.drive(stage, &order);
        assert_eq!(document["result"]["ending"], json!({"exited": 0}), "{setting:?}");
        assert_eq!(lines(&document, "stdout").len(), 30, "{setting:?}");
        let times: Vec<u64> = document["events"].as_array().unwrap().iter().filter_map(line_time).collect();
        let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(longest >= FROZEN_MS * 8 / 10, "{setting:?}: the longest silence was {longest} ms");
    });
}

/// What stands still can be killed, and dies with its supervisor.
#[test]
fn a_frozen_run_dies_with_its_supervisor() {
    each_setting(|setting, stage| {
        let mut order = shell("(setsid sleep 98714 &) ; echo ready; sleep 98714");
        order["freeze_ms"] = json!(60_000);
        let order = setting.order(&order);
        let mut command = setting.command(stage, &["drive", &order.to_string()]);
        let mut driver = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let events = std::io::BufReader::new(driver.stderr.take().unwrap());
        let mut events = std::io::BufRead::lines(events).map_while(Result::ok);
        assert!(events.any(|event| event.contains("\"ready\"")), "{setting:?}");
        let tree = tree_of(driver.id());
        // The order to freeze may be on its way: both cases must end alike.
        thread::sleep(Duration::from_millis(50));
        kill(tree[0]).unwrap();
        let killed = Instant::now();
        while tree.iter().any(|process| is_alive(*process)) {
            assert!(killed.elapsed() < GONE_TIME, "{setting:?}: {tree:?}");
            thread::yield_now();
        }
        let _ = driver.kill();
        driver.wait().unwrap();
    });
}

fn line_time(event: &Value) -> Option<u64> {
    event.get("claimed").and_then(|_| event["at_ms"].as_u64())
}

#[test]
fn a_large_tree_that_forks_is_dead_soon_after_the_order() {
    each_setting(|setting, stage| {
        let script = "i=0; while [ $i -lt 200 ]; do i=$((i+1)); (while :; do sleep 0.0317; done) & done; sleep 1.5; echo ready; wait";
        let mut order = shell(script);
        order["stop_at_line"] = json!(true);
        order["limits"] = json!(ringfence_sandbox::RunLimits { processes: 600, memory_bytes: 2 << 30, ..limits() });
        let document = setting.drive(stage, &order);
        assert_eq!(document["result"]["ending"], "stopped", "{setting:?}: {}", document["error"]);
        assert!(document["result"]["totals"]["processes"].as_u64().unwrap() >= 150, "{setting:?}");
        let stop_ms = document["stop_ms"].as_u64().unwrap();
        println!("{setting:?}: {stop_ms} ms from the order to the dead tree of 200 processes");
        assert!(stop_ms < STOP_MS_MAX, "{setting:?}: {stop_ms} ms");
        assert_eq!(processes_with("sleep\x000.0317\0"), Vec::<u32>::new(), "{setting:?}");
    });
}

/// Whoever is killed, whenever: a second later nothing of the run is alive.
#[test]
fn nothing_survives_a_kill_at_any_moment() {
    let stage = Stage::new();
    let rounds = std::env::var("RINGFENCE_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(12_u64);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for setting in settings().into_iter().filter(|setting| setting.host == Host::Open) {
        if setting.level(&stage).is_none_or(|level| level == "landlock") {
            continue;
        }
        let mut slowest = Duration::ZERO;
        for round in 0..rounds {
            let id = next_run_id();
            let mut order = shell("(setsid sleep 98713 &) ; (sleep 98713 &) ; while :; do :; done");
            order["run_id"] = json!(id);
            let order = setting.order(&order);
            let mut command = setting.command(&stage, &["drive", &order.to_string()]);
            let mut driver = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            // From the first instructions of the caller to some time after the job has begun.
            thread::sleep(Duration::from_micros(next(60_000)));
            let tree = tree_of(driver.id());
            let victims = match (next(4), tree.as_slice()) {
                (0, _) | (_, []) => vec![driver.id()],
                (1, [supervisor, ..]) | (_, [supervisor]) => vec![*supervisor],
                (2, [_, keeper, ..]) => vec![*keeper],
                (_, [supervisor, keeper, ..]) => vec![*supervisor, *keeper, driver.id()],
            };
            for victim in &victims {
                // It may be gone by itself.
                let _ = kill(*victim);
            }
            let killed = Instant::now();
            loop {
                let job = processes_with(&format!("RINGFENCE_RUN_ID={id}\0"));
                let left: Vec<u32> = tree.iter().copied().filter(|process| is_alive(*process)).chain(job).collect();
                if left.is_empty() {
                    break;
                }
                assert!(killed.elapsed() < GONE_TIME, "{setting:?}, round {round}: {victims:?} killed, {left:?} alive");
                thread::yield_now();
            }
            slowest = slowest.max(killed.elapsed());
            let _ = driver.kill();
            driver.wait().unwrap();
        }
        println!("{setting:?}: {rounds} kills at random moments, all dead after {} ms at most", slowest.as_millis());
        assert_eq!(processes_with("sleep\x0098713\0"), Vec::<u32>::new(), "{setting:?}");
    }
}

fn kill(process: u32) -> nix::Result<()> {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.cast_signed()), nix::sys::signal::Signal::SIGKILL)
}

/// Living processes with `text` in their arguments or environment.
fn processes_with(text: &str) -> Vec<u32> {
    let ids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has = |process: u32| {
        ["cmdline", "environ"].iter().any(|name| {
            let bytes = fs::read(format!("/proc/{process}/{name}")).unwrap_or_default();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
    };
    ids.filter(|process: &u32| has(*process) && is_alive(*process)).collect()
}

/// Two runs at once: everything that the probe tries against the host it tries against the neighbour.
#[test]
fn a_run_cannot_reach_its_neighbour() {
    each_setting(|setting, stage| {
        let mut order = json!({"command": ["./escape_probe", "neighbour"], "program_files": [stage.probe()]});
        order["run_id"] = json!(next_run_id());
        let order = setting.order(&order);
        let mut command = setting.command(stage, &["drive", &order.to_string()]);
        let mut driver: std::process::Child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // Kept open: a driver that cannot say what happens ends its run.
        let mut events = std::io::BufReader::new(driver.stderr.take().unwrap());
        let mut targets = neighbour(&mut events);
        let process = *tree_of(driver.id()).last().unwrap();
        targets["victim"] = json!(process);
        targets["decoy"] = json!(process);
        let document = setting.drive(
            stage,
            &json!({
                "command": ["./escape_probe", "against-neighbour"],
                "program_files": [stage.probe()],
                "inputs": [["targets.json", targets.to_string()]],
            }),
        );
        let attempts: Vec<Value> =
            lines(&document, "stdout").iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert!(attempts.len() > 20, "{setting:?}: {document}");
        let reached: Vec<_> = attempts.iter().filter(|attempt| attempt["held"] != true).collect();
        assert!(reached.is_empty(), "{setting:?}: {reached:#?}");
        assert!(is_alive(process), "{setting:?}: the neighbour was killed");
        driver.kill().unwrap();
        driver.wait().unwrap();
    });
}

/// What the neighbour says that it has.
fn neighbour(events: &mut impl std::io::BufRead) -> Value {
    let line = std::io::BufRead::lines(events).map_while(Result::ok).find(|line| line.contains("\"line\"")).unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    serde_json::from_str(event["claimed"]["text"].as_str().unwrap()).unwrap()
}

const FROZEN_MS: u64 = 700;
/// The aim is 250 ms; a busy machine gets more.
const STOP_MS_MAX: u64 = 2_000;
/// The aim is 1 s.
const GONE_TIME: Duration = Duration::from_secs(5);
