//! What a run gets, what it leaves, and what is left of it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use ringfence_sandbox::{Demand, EgressPolicy, Gpus, Job, RunLimits, SandboxError, Source, Stop, run_keyless};
use serde_json::{Value, json};

use crate::stage::{Host, Setting, Stage, User, events, lines, next_run_id, settings, shell};

fn each_setting(test: impl Fn(Setting, &Stage, &str)) {
    let stage = Stage::new();
    for setting in settings() {
        if let Some(level) = setting.level(&stage) {
            test(setting, &stage, &level);
        }
    }
}

#[test]
fn inputs_go_in_and_outputs_come_out() {
    each_setting(|setting, stage, level| {
        let mut order = shell(
            "cat $RINGFENCE_IN/a/b.txt > $RINGFENCE_OUT/copy; mkdir -p $RINGFENCE_OUT/x/y; echo deep > $RINGFENCE_OUT/x/y/z; \
             echo out; echo err >&2; echo $GRANTED $RINGFENCE_LEVEL $RINGFENCE_RUN_ID; exit 7",
        );
        order["inputs"] = json!([["a/b.txt", "content"]]);
        order["environment"] = json!([["GRANTED", "yes"]]);
        order["run_id"] = json!(next_run_id());
        let document = setting.drive(stage, &order);
        assert_eq!(document["error"], Value::Null, "{setting:?}");
        assert_eq!(document["result"]["ending"], json!({"exited": 7}), "{setting:?}");
        assert_eq!(document["outputs"], json!({"copy": "content", "x/y/z": "deep\n"}), "{setting:?}");
        let id = order["run_id"].as_str().unwrap();
        assert_eq!(lines(&document, "stdout"), ["out", &format!("yes {level} {id}")], "{setting:?}");
        assert_eq!(lines(&document, "stderr"), ["err"], "{setting:?}");
        let collected = events(&document, "collected");
        assert_eq!(collected[0]["sha256"], ringfence_schema::Digest::of(b"content").to_string());
        assert_eq!(events(&document, "exited")[0]["code"], 7);
        assert!(!Path::new("/dev/shm").join(format!("ringfence-run-{id}")).exists());
    });
}

#[test]
fn a_python_program_runs() {
    if !Path::new("/usr/bin/python3").exists() {
        eprintln!("skipped, there is no /usr/bin/python3");
        return;
    }
    each_setting(|setting, stage, _| {
        let script = stage.path().join("train.py");
        fs::write(&script, PYTHON_PROGRAM).unwrap();
        let document = setting.drive(
            stage,
            &json!({
                "command": ["python3", "train.py"],
                "program_files": [script],
                "inputs": [["numbers", "1\n2\n3\n"]],
            }),
        );
        assert_eq!(document["result"]["ending"], json!({"exited": 0}), "{setting:?}: {:?}", lines(&document, "stderr"));
        assert_eq!(document["outputs"]["sum.json"], "{\"sum\": 6, \"threads\": 4}", "{setting:?}");
    });
}

#[test]
fn what_cannot_run_is_refused_by_name() {
    each_setting(|setting, stage, level| {
        let missing = setting.drive(stage, &json!({"command": ["no-such-program"]}));
        assert_eq!(missing["error"]["command"]["detail"], "not found in PATH", "{setting:?}");
        let mut large = shell("true");
        large["inputs"] = json!([["x", "y".repeat(10_000)]]);
        large["limits"] = json!(ringfence_sandbox::RunLimits { memory_bytes: 9_999, ..crate::stage::limits() });
        let large = setting.drive(stage, &large);
        assert_eq!(large["error"]["inputs-too-large"], json!({"bytes": 10_000, "limit": 9_999}), "{setting:?}");
        for (name, value) in
            [("run_id", json!("../up")), ("environment", json!([["RINGFENCE_IN", "x"]])), ("command", json!([]))]
        {
            let mut order = shell("true");
            order[name] = value;
            assert!(setting.drive(stage, &order)["error"]["job"].is_object(), "{setting:?}: {name}");
        }
        let mut outside = shell("true");
        outside["inputs"] = json!([["../x", "y"]]);
        assert!(setting.drive(stage, &outside)["error"]["input"].is_object(), "{setting:?}");
        for (demand, enough) in [("full", &["full"][..]), ("no-cgroup", &["full", "no-cgroup"])] {
            let mut demanding = shell("true");
            demanding["demand"] = json!(demand);
            let demanding = setting.drive(stage, &demanding);
            let refused = &demanding["error"]["level-unavailable"];
            assert_eq!(refused["demanded"] == demand, !enough.contains(&level), "{setting:?}: {demanding}");
        }
        let mut gpu = shell("true");
        gpu["gpus"] = json!({"these": [250]});
        assert!(setting.drive(stage, &gpu)["error"]["job"].is_object(), "{setting:?}");
    });
}

#[test]
fn a_stopped_run_is_dead_at_once() {
    each_setting(|setting, stage, _| {
        let mut order = shell("echo now; for i in 1 2 3; do sh -c 'while :; do :; done' & done; sleep 30");
        order["stop_at_line"] = json!(true);
        let document = setting.drive(stage, &order);
        assert_eq!(document["result"]["ending"], "stopped", "{setting:?}");
        let wall_ms = document["result"]["totals"]["wall_ms"].as_u64().unwrap();
        assert!(wall_ms < STOPPED_MS_MAX, "{setting:?}: {wall_ms} ms");
    });
}

#[test]
fn a_run_can_be_stopped_while_its_inputs_arrive() {
    let stage = Stage::new();
    let stop = Stop::new();
    let pulled = stop.clone();
    // A source that never ends by itself: the run is stopped while it is read.
    let endless = std::io::Read::take(std::io::repeat(7), 1 << 30);
    let content = PullAt { inner: endless, stop: pulled };
    let job = Job {
        run_id: next_run_id(),
        command: vec!["true".to_owned()],
        environment: Vec::new(),
        readable: Vec::new(),
        gpus: Gpus::None,
        inputs: vec![Source { path: "x".to_owned(), size: 1 << 30, executable: false, content: Box::new(content) }],
        program: Vec::new(),
        limits: RunLimits::default(),
        demand: Demand::Any,
        egress: EgressPolicy::default(),
    };
    let began = Instant::now();
    let ended = run_keyless(&stage.helper(), &["supervise"], job, &stop, &mut |_| (), &mut |_, _| Ok(()));
    assert!(matches!(ended, Err(SandboxError::Stopped | SandboxError::Unavailable { .. })), "{ended:?}");
    assert!(began.elapsed() < DEATH_TIME_MAX);
}

/// Stops the run at the first read.
struct PullAt<R> {
    inner: R,
    stop: Stop,
}

impl<R: std::io::Read> std::io::Read for PullAt<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stop.stop();
        // Slow enough that the stop comes first, without a clock: small pieces.
        let room = buffer.len().min(512);
        self.inner.read(&mut buffer[..room])
    }
}

#[test]
fn a_source_that_lies_about_its_size_is_named() {
    let stage = Stage::new();
    for (size, word) in [(10, "shorter"), (2, "longer")] {
        let content = Box::new(std::io::Cursor::new(b"12345".to_vec()));
        let job = Job {
            run_id: next_run_id(),
            command: vec!["true".to_owned()],
            environment: Vec::new(),
            readable: Vec::new(),
            gpus: Gpus::None,
            inputs: vec![Source { path: "lie".to_owned(), size, executable: false, content }],
            program: Vec::new(),
            limits: RunLimits::default(),
            demand: Demand::Any,
            egress: EgressPolicy::default(),
        };
        let ended = run_keyless(&stage.helper(), &["supervise"], job, &Stop::new(), &mut |_| (), &mut |_, _| Ok(()));
        let error = ended.unwrap_err();
        let named = matches!(&error, SandboxError::Input { path, detail } if path == "lie" && detail.contains(word));
        assert!(named || matches!(error, SandboxError::Unavailable { .. }), "{error:?}");
    }
}

#[test]
fn nothing_survives_whoever_is_killed() {
    each_setting(|setting, stage, _| {
        for victim in ["driver", "supervisor", "keeper", "driver and supervisor"] {
            let id = next_run_id();
            let mut order =
                shell(&format!("echo {MARKER} > $RINGFENCE_OUT/plain; (setsid sleep 987 &) ; echo ready; sleep 987"));
            order["run_id"] = json!(id);
            let order = setting.order(&order);
            let mut command = setting.command(stage, &["drive", &order.to_string()]);
            let mut driver = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            let events = BufReader::new(driver.stderr.take().unwrap());
            let mut events = events.lines().map_while(Result::ok);
            assert!(events.any(|event| event.contains("\"ready\"")), "{setting:?}: {victim}");
            let tree = tree_of(driver.id());
            let (supervisor, keeper) = (tree[0], tree[1]);
            assert!(tree.len() >= 4, "{tree:?}");
            let targets = match victim {
                "driver" => vec![driver.id()],
                "supervisor" => vec![supervisor],
                "keeper" => vec![keeper],
                _ => vec![supervisor, driver.id()],
            };
            for target in targets {
                let target = nix::unistd::Pid::from_raw(target.cast_signed());
                nix::sys::signal::kill(target, nix::sys::signal::Signal::SIGKILL).unwrap();
            }
            let killed = Instant::now();
            while tree.iter().any(|process| is_alive(*process)) {
                assert!(killed.elapsed() < DEATH_TIME_MAX, "{setting:?}: {victim} killed, but {tree:?} lives");
                std::thread::yield_now();
            }
            driver.wait().unwrap();
            let folder = Path::new("/dev/shm").join(format!("ringfence-run-{id}"));
            while folder.exists() {
                assert!(killed.elapsed() < DEATH_TIME_MAX, "{setting:?}: {victim} killed, but {folder:?} is there");
                std::thread::yield_now();
            }
        }
    });
}

#[test]
fn the_folder_of_a_run_that_was_wiped_out_is_swept() {
    let stage = Stage::new();
    for setting in settings().into_iter().filter(|setting| setting.host == Host::WithoutNamespaces) {
        if setting.level(&stage).is_none() {
            continue;
        }
        let id = next_run_id();
        let mut order = shell("echo secret > $RINGFENCE_OUT/plain; echo ready; sleep 987");
        order["run_id"] = json!(id);
        let order = setting.order(&order);
        let mut command = setting.command(&stage, &["drive", &order.to_string()]);
        let mut driver = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let events = BufReader::new(driver.stderr.take().unwrap());
        assert!(events.lines().map_while(Result::ok).any(|event| event.contains("\"ready\"")));
        let tree = tree_of(driver.id());
        let folder = Path::new("/dev/shm").join(format!("ringfence-run-{id}"));
        assert!(folder.exists());
        // A living run is not swept.
        assert!(setting.command(&stage, &["sweep"]).output().unwrap().status.success());
        assert!(folder.exists(), "{setting:?}");
        // Stopped first, then killed: none of them can clean up.
        for signal in [nix::sys::signal::Signal::SIGSTOP, nix::sys::signal::Signal::SIGKILL] {
            for process in &tree[..2] {
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.cast_signed()), signal).unwrap();
            }
        }
        driver.wait().unwrap();
        assert!(folder.exists(), "{setting:?}");
        assert!(setting.command(&stage, &["sweep"]).output().unwrap().status.success());
        assert!(!folder.exists(), "{setting:?}");
        let began = Instant::now();
        while tree.iter().any(|process| is_alive(*process)) {
            assert!(began.elapsed() < DEATH_TIME_MAX, "{setting:?}: {tree:?} lives");
            std::thread::yield_now();
        }
    }
}

#[test]
fn two_runs_of_root_do_not_share_a_user() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped, not root");
        return;
    }
    let stage = Stage::new();
    let setting = Setting { user: User::Root, host: Host::WithoutNamespaces };
    if setting.level(&stage).is_none() {
        return;
    }
    let ids: Vec<_> = std::thread::scope(|scope| {
        let run = || lines(&setting.drive(&stage, &shell("id -u; sleep 0.3")), "stdout");
        let runs = [scope.spawn(run), scope.spawn(run)];
        runs.into_iter().flat_map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
    assert!(ids.iter().all(|id| id.parse::<u32>().unwrap() > 1_000));
}

/// Everything below the process `root`, parents first.
pub(crate) fn tree_of(root: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut open = std::collections::VecDeque::from([root]);
    while let Some(parent) = open.pop_front() {
        for thread in fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten() {
            let list = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            for child in list.split_ascii_whitespace().map(|id| id.parse().unwrap()) {
                found.push(child);
                open.push_back(child);
            }
        }
    }
    found
}

/// A process that is dead but not yet reaped is not alive.
pub(crate) fn is_alive(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, after)| !after.starts_with(['Z', 'X']))
}

const PYTHON_PROGRAM: &str = r#"
import concurrent.futures, json, os, subprocess, tempfile
numbers = [int(line) for line in open(os.path.join(os.environ["RINGFENCE_IN"], "numbers"))]
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    threads = len(list(pool.map(lambda x: x * x, range(4))))
with tempfile.TemporaryFile() as scratch:
    scratch.write(b"x" * 100000)
assert subprocess.run(["/bin/echo", "child"], capture_output=True).stdout == b"child\n"
with open(os.path.join(os.environ["RINGFENCE_OUT"], "sum.json"), "w") as out:
    json.dump({"sum": sum(numbers), "threads": threads}, out)
"#;
/// Written by a job, to be found nowhere afterwards.
const MARKER: &str = "MARKER-plaintext";
/// How long a stopped run may have lasted: to its first line, and 250 ms to die, on a busy machine.
const STOPPED_MS_MAX: u64 = 2_000;
/// Generous for a busy machine; the figure that counts is in the benchmark.
const DEATH_TIME_MAX: Duration = Duration::from_secs(5);
