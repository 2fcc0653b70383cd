//! Measures the sandbox and prints one JSON document: how long a run of `/bin/true` takes at each level against a bare
//! start (and bubblewrap, if it is installed), how long a stopped run of 200 forking processes takes to die, what
//! computing and a path operation cost inside, and what share of a core the supervisor takes while it watches. Run it on a
//! quiet machine: `cargo run --release -p ringfence-sandbox --example sandbox_bench -- [ROUNDS]`.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]
#![expect(clippy::print_stdout, reason = "the document goes to standard output")]

use std::{
    env,
    fs::{self, File},
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use ringfence_sandbox::{
    Demand, EgressPolicy, Ending, Gpus, Job, RunLimits, Source, Stop, run_keyless, supervisor_main,
};
use ringfence_schema::event::{Claimed, Observed, RunEvent, Source as EventSource};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("supervise") => return supervisor_main(),
        Some("supervise-without-namespaces") => {
            forbid_namespaces();
            return supervisor_main();
        }
        Some("path-operations") => {
            println!("{}", path_operations());
            return ExitCode::SUCCESS;
        }
        Some("compute") => {
            println!("{}", compute());
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let rounds = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(40);
    let mut times: Vec<(&str, Vec<Duration>)> =
        vec![("bare", Vec::new()), ("full", Vec::new()), ("landlock", Vec::new())];
    let has_bwrap = Command::new("bwrap").arg("--version").stdout(Stdio::null()).status().is_ok();
    if has_bwrap {
        times.push(("bwrap --unshare-all", Vec::new()));
    }
    // One after the other in each round, so that a busy moment hits all alike.
    for _ in 0..rounds {
        for (name, list) in &mut times {
            let began = Instant::now();
            start_true(name);
            list.push(began.elapsed());
        }
    }
    let start: Vec<Value> = times.iter_mut().map(|(name, list)| distribution(name, list)).collect();
    let starts: Vec<Value> = LEVELS
        .iter()
        .map(|(name, supervisor)| {
            let mut list: Vec<Duration> = (0..rounds).map(|_| until_exec(supervisor)).collect();
            distribution(name, &mut list)
        })
        .collect();
    let mut deaths: Vec<Value> = Vec::new();
    for supervisor in LEVELS {
        let mut list: Vec<Duration> = (0..=rounds / 4).map(|_| death(supervisor.1)).collect();
        deaths.push(distribution(supervisor.0, &mut list));
    }
    // One after the other, best of each: a busy moment hits all alike.
    let (mut paths, mut computing) = ([f64::INFINITY; 3], [f64::INFINITY; 3]);
    for _ in 0..=rounds / 8 {
        for (list, work, bare) in
            [(&mut paths, "path-operations", path_operations as fn() -> f64), (&mut computing, "compute", compute)]
        {
            let figures = [bare(), inside(LEVELS[0].1, work), inside(LEVELS[1].1, work)];
            for (best, figure) in list.iter_mut().zip(figures) {
                *best = best.min(figure);
            }
        }
    }
    let share = LEVELS.map(|(name, supervisor)| json!({"what": name, "percent_of_a_core": telemetry(supervisor)}));
    let document = json!({
        "schema": "ringfence.bench-sandbox/1",
        "rounds": rounds,
        "uid": nix::unistd::geteuid().as_raw(),
        "whole_run_of_true": start,
        "call_to_exec": starts,
        "stop_to_dead": deaths,
        "path_operation_us": {
            "bare": paths[0],
            "added_at_full": paths[1] - paths[0],
            "added_at_landlock": paths[2] - paths[0],
        },
        "computing_cpu_s": {"bare": computing[0], "full": computing[1], "landlock": computing[2]},
        "watching_8_processes": share,
    });
    println!("{document:#}");
    ExitCode::SUCCESS
}

const LEVELS: [(&str, &str); 2] = [("full", "supervise"), ("landlock", "supervise-without-namespaces")];

fn distribution(name: &str, list: &mut [Duration]) -> Value {
    list.sort();
    let at = |share: usize| list[(list.len() - 1) * share / 100].as_secs_f64() * 1_000.0;
    json!({"what": name, "min_ms": at(0), "p10_ms": at(10), "p50_ms": at(50), "p90_ms": at(90)})
}

fn start_true(how: &str) {
    match how {
        "bare" => {
            assert!(Command::new("/bin/true").status().unwrap().success());
        }
        "full" => {
            assert_eq!(run("supervise", &["/bin/true"], &Stop::new(), &mut |_| ()).0, Ending::Exited(0));
        }
        "landlock" => {
            let ending = run("supervise-without-namespaces", &["/bin/true"], &Stop::new(), &mut |_| ()).0;
            assert_eq!(ending, Ending::Exited(0));
        }
        _ => {
            let arguments = ["--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "/bin/true"];
            assert!(Command::new("bwrap").args(arguments).status().unwrap().success());
        }
    }
}

/// From the call to the moment when the supervisor hears that the job, confined, is about to exec.
fn until_exec(supervisor: &str) -> Duration {
    let began = Instant::now();
    let mut started = None;
    run(supervisor, &["/bin/true"], &Stop::new(), &mut |event| {
        if matches!(event.source, EventSource::Observed(Observed::Started { .. })) {
            started = Some(began.elapsed());
        }
    });
    started.unwrap()
}

/// From the wish to stop a busy run with several processes to its end.
fn death(supervisor: &str) -> Duration {
    let stop = Stop::new();
    let mut asked = None;
    let script =
        "i=0; while [ $i -lt 200 ]; do i=$((i+1)); (while :; do sleep 0.05; done) & done; echo ready; sleep 30";
    let (ending, _) = run(supervisor, &["sh", "-c", script], &stop, &mut |event| {
        if matches!(event.source, EventSource::Claimed(_)) {
            asked.get_or_insert_with(Instant::now);
            stop.stop();
        }
    });
    assert_eq!(ending, Ending::Stopped);
    asked.unwrap().elapsed()
}

fn inside(supervisor: &str, work: &str) -> f64 {
    let (_, lines) = run(supervisor, &["./sandbox_bench", work], &Stop::new(), &mut |_| ());
    lines.first().and_then(|line| line.parse().ok()).unwrap_or(f64::NAN)
}

/// Percent of one core that the supervisor takes over some seconds, with eight processes that compute and write.
fn telemetry(supervisor: &str) -> f64 {
    let script = "for i in 1 2 3 4 5 6 7 8; do (while :; do echo $i > $RINGFENCE_OUT/$i; sleep 0.2; done) & done; \
                  sleep 8.5; exit 0";
    let (mut first, mut last) = (None, None);
    run(supervisor, &["sh", "-c", script], &Stop::new(), &mut |event| {
        // The final sample comes from a supervisor that is at other work.
        if matches!(&event.source, EventSource::Observed(Observed::Sample(usage)) if usage.processes > 0) {
            let taken = supervisor_time().map(|time| (time, Instant::now()));
            first = first.or(taken);
            last = taken;
        }
    });
    match (first, last) {
        (Some((before, began)), Some((after, ended))) if ended > began => {
            after.saturating_sub(before).as_secs_f64() / (ended - began).as_secs_f64() * 100.0
        }
        _ => f64::NAN,
    }
}

/// CPU time of our only child, to the nanosecond (first field of schedstat).
fn supervisor_time() -> Option<Duration> {
    let children = fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id())).ok()?;
    let child = children.split_ascii_whitespace().next()?;
    let text = fs::read_to_string(format!("/proc/{child}/schedstat")).ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

/// CPU seconds for a fixed piece of arithmetic.
fn compute() -> f64 {
    use nix::time::{ClockId, clock_gettime};
    let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from);
    let began = now();
    let mut state = 1_u64;
    for _ in 0..STEPS {
        state =
            std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    }
    std::hint::black_box(state);
    now().saturating_sub(began).as_secs_f64()
}

/// Runs `command` with this executable as the program; how it ended, and its lines.
fn run(supervisor: &str, command: &[&str], stop: &Stop, watch: &mut dyn FnMut(&RunEvent)) -> (Ending, Vec<String>) {
    let own = env::current_exe().unwrap();
    let mut program = Vec::new();
    if command[0].starts_with("./") {
        program.push(Source {
            path: "sandbox_bench".to_owned(),
            size: fs::metadata(&own).unwrap().len(),
            executable: true,
            content: Box::new(File::open(&own).unwrap()),
        });
    }
    let job = Job {
        run_id: format!("bench-{}", std::process::id()),
        command: command.iter().map(|&part| part.to_owned()).collect(),
        environment: Vec::new(),
        readable: Vec::new(),
        gpus: Gpus::None,
        inputs: Vec::new(),
        program,
        limits: RunLimits { processes: 1_024, ..RunLimits::default() },
        demand: Demand::Any,
        egress: EgressPolicy::default(),
    };
    let mut lines = Vec::new();
    let mut events = |event: RunEvent| {
        watch(&event);
        if let EventSource::Claimed(Claimed::Line { text, .. }) = event.source {
            lines.push(text);
        }
    };
    let result = run_keyless(&own, &[supervisor], job, stop, &mut events, &mut |_, _| Ok(())).unwrap();
    (result.ending, lines)
}

/// Microseconds for one operation on a path, the best of several rounds: half of opening, looking at and closing a file,
/// and looking at its path.
fn path_operations() -> f64 {
    let path = Path::new("/usr/bin/env");
    let round = || {
        let began = Instant::now();
        for _ in 0..OPERATIONS {
            let file = File::open(path).unwrap();
            std::hint::black_box(file.metadata().unwrap().len());
            std::hint::black_box(fs::metadata(path).unwrap().len());
        }
        began.elapsed().as_secs_f64() * 1e6 / f64::from(2 * OPERATIONS)
    };
    (0..10).map(|_| round()).fold(f64::INFINITY, f64::min)
}

/// A host that forbids user namespaces, as far as this process and its children are concerned.
fn forbid_namespaces() {
    use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};
    let flag = u64::from(nix::libc::CLONE_NEWUSER.unsigned_abs());
    let new_user = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(flag), flag).unwrap();
    let rules = [(nix::libc::SYS_clone, vec![SeccompRule::new(vec![new_user]).unwrap()])].into();
    let refuse = SeccompAction::Errno(nix::libc::EPERM.unsigned_abs());
    let architecture = env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture).unwrap();
    let program: seccompiler::BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

/// Steps of arithmetic.
const STEPS: u32 = 200_000_000;
/// Operations in one round.
const OPERATIONS: u32 = 5_000;
