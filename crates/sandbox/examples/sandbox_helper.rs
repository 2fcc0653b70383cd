//! The executable that the tests start: supervisor, workers of several kinds, and a driver that runs one job and prints
//! what came of it as one JSON document, so that a test can run it as another user. Inside of a run it is the drills.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]
#![expect(clippy::print_stdout, reason = "the driver's document goes to standard output")]

use std::{
    collections::BTreeMap,
    env,
    ffi::{CStr, CString},
    fs::{self, File},
    io::{Read, Write},
    path::PathBuf,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use ringfence_sandbox::{
    Demand, EgressPolicy, Gpus, Job, RunLimits, Source, Stop, drill_main, probe, run_keyless, supervisor_main,
    sweep_stale,
    worker::{self, Emit, Limits},
};
#[cfg(feature = "ablation")]
use ringfence_sandbox::{Mechanism, run_with_only};
use ringfence_schema::event::RunEvent;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["supervise"] => supervisor_main(),
        ["supervise-without-namespaces"] => {
            forbid_namespaces();
            supervisor_main()
        }
        ["supervise-without-netfilter"] => {
            forbid_netfilter();
            supervisor_main()
        }
        ["worker", kind, rest @ ..] => serve(kind, rest),
        ["drive", order] => drive(order),
        ["probe", supervisor] => {
            let probe = probe(&env::current_exe().unwrap(), &[supervisor]).unwrap();
            println!("{}", serde_json::to_string(&probe).unwrap());
            ExitCode::SUCCESS
        }
        ["victim"] => victim(),
        ["drill", name, rest @ ..] => drill_main(name, &rest.iter().map(ToString::to_string).collect::<Vec<_>>()),
        ["decoy"] => {
            println!("ready");
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            ExitCode::SUCCESS
        }
        ["sweep"] => {
            println!("{}", sweep_stale().unwrap());
            ExitCode::SUCCESS
        }
        other => {
            println!("unknown arguments {other:?}");
            ExitCode::FAILURE
        }
    }
}

/// A host that forbids user namespaces, as far as this process and its children are concerned.
fn forbid_namespaces() {
    let flag = u64::from(nix::libc::CLONE_NEWUSER.unsigned_abs());
    let new_user = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(flag), flag).unwrap();
    let rules = BTreeMap::from([
        (nix::libc::SYS_clone, vec![SeccompRule::new(vec![new_user]).unwrap()]),
        (nix::libc::SYS_unshare, Vec::new()),
    ]);
    refuse(rules);
}

fn refuse(rules: BTreeMap<i64, Vec<SeccompRule>>) {
    let refuse = SeccompAction::Errno(nix::libc::EPERM.unsigned_abs());
    let architecture = env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

/// A kernel without nftables, as far as this process and its children are concerned.
fn forbid_netfilter() {
    let condition =
        |argument, value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value).unwrap();
    let netlink = condition(0, u64::from(nix::libc::AF_NETLINK.unsigned_abs()));
    let netfilter = condition(2, u64::from(nix::libc::NETLINK_NETFILTER.unsigned_abs()));
    refuse(BTreeMap::from([(nix::libc::SYS_socket, vec![SeccompRule::new(vec![netlink, netfilter]).unwrap()])]));
}

/// A process that a job must not reach, with a segment that everybody may attach; lives until its input ends.
/// A process that a job must not reach, with segments and a queue that everybody may open; lives until its input ends.
fn victim() -> ExitCode {
    let segments = [shared_segment(), shared_segment()];
    let queue = CString::new(format!("ringfence-test-{}", std::process::id())).unwrap();
    message_queue(&queue);
    println!("{} {} {}", segments[0], segments[1], std::process::id());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    segments.into_iter().for_each(remove_segment);
    remove_queue(&queue);
    ExitCode::SUCCESS
}

#[expect(unsafe_code, reason = "System V shared memory has no safe wrapper")]
fn shared_segment() -> i32 {
    // SAFETY: shmget takes numbers and returns one.
    unsafe { nix::libc::shmget(nix::libc::IPC_PRIVATE, 4_096, nix::libc::IPC_CREAT | 0o666) }
}

#[expect(unsafe_code, reason = "System V shared memory has no safe wrapper")]
fn remove_segment(segment: i32) {
    // SAFETY: IPC_RMID reads no third argument.
    unsafe { nix::libc::shmctl(segment, nix::libc::IPC_RMID, std::ptr::null_mut()) };
}

#[expect(unsafe_code, reason = "POSIX message queues have no safe wrapper here")]
fn message_queue(name: &CStr) {
    // Everybody may open it, whatever this process's mask says.
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    // SAFETY: the name ends with a null byte and outlives the call; without attributes the defaults hold.
    unsafe {
        nix::libc::syscall(nix::libc::SYS_mq_open, name.as_ptr(), nix::libc::O_CREAT | nix::libc::O_RDWR, 0o666, 0)
    };
}

#[expect(unsafe_code, reason = "POSIX message queues have no safe wrapper here")]
fn remove_queue(name: &CStr) {
    // SAFETY: the name ends with a null byte and outlives the call.
    unsafe { nix::libc::syscall(nix::libc::SYS_mq_unlink, name.as_ptr()) };
}

/// Runs one worker: `kind` says what it does with its request.
fn serve(kind: &str, rest: &[&str]) -> ExitCode {
    let limits = Limits { memory_bytes: 512 << 20, cpu: Duration::from_secs(20), ..Limits::default() };
    let confined = match rest {
        [] => worker::confine(&limits),
        ["library"] => worker::confine_library(&limits),
        folders => worker::confine_readers(folders, &limits),
    };
    if confined.is_err() {
        return ExitCode::from(99);
    }
    let served = worker::serve(|request, descriptors, emit| match kind {
        "echo" => Ok(request.to_vec()),
        "join" => {
            let mut all = Vec::new();
            for descriptor in descriptors {
                File::from(descriptor).read_to_end(&mut all).unwrap();
                all.push(b';');
            }
            Ok(all)
        }
        "threads" => {
            let counts: Vec<_> = (0..8_u64).map(|index| std::thread::spawn(move || index * index)).collect();
            let sum: u64 = counts.into_iter().map(|thread| thread.join().unwrap()).sum();
            Ok(sum.to_string().into_bytes())
        }
        "flood" => flood(emit),
        "long" => Ok(vec![7; 100_000]),
        "refuse" => Err("not \u{1b}[31mtoday".to_owned()),
        "panic" => Err(format!("{:?}", request.first().unwrap().checked_sub(255).unwrap())),
        "hang" => loop {
            std::thread::park();
        },
        "garbage" => {
            let mut output = std::io::stdout();
            output.write_all(&[9, 1, 0, 0, 0, 0]).unwrap();
            output.flush().unwrap();
            Ok(Vec::new())
        }
        "memory" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(vec![1_u8; 1 << 20]);
                if hoard.len() > 4_096 {
                    return Ok(b"got 4 GiB".to_vec());
                }
            }
        }
        "open" => Ok(format!("{:?}", fs::read("/etc/passwd").map(|bytes| bytes.len())).into_bytes()),
        "create" => Ok(format!("{:?}", fs::write("/tmp/ringfence-worker-was-here", b"x")).into_bytes()),
        "read" => Ok(fs::read(std::str::from_utf8(request).unwrap()).map_err(|error| error.to_string())?),
        "socket" => Ok(format!("{:?}", std::net::UdpSocket::bind("127.0.0.1:0")).into_bytes()),
        "exec" => Ok(format!("{:?}", std::process::Command::new("/bin/true").status()).into_bytes()),
        "kill" => Ok(format!("{:?}", nix::sys::signal::kill(nix::unistd::getppid(), None)).into_bytes()),
        "environment" => Ok(env::vars().count().to_string().into_bytes()),
        other => Err(format!("unknown kind {other}")),
    });
    if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn flood(emit: &mut Emit<'_>) -> Result<Vec<u8>, String> {
    loop {
        emit.record(b"again").map_err(|error| error.to_string())?;
    }
}

/// What the driver is to run.
#[derive(Deserialize)]
struct Order {
    supervisor: String,
    #[serde(default = "any")]
    demand: Demand,
    run_id: String,
    command: Vec<String>,
    #[serde(default)]
    environment: Vec<(String, String)>,
    #[serde(default)]
    readable: Vec<PathBuf>,
    #[serde(default)]
    gpus: Gpus,
    #[serde(default)]
    inputs: Vec<(String, String)>,
    #[serde(default)]
    program_files: Vec<PathBuf>,
    limits: RunLimits,
    #[serde(default)]
    egress: EgressPolicy,
    /// The only mechanisms in force, if not all of them are.
    #[cfg(feature = "ablation")]
    only: Option<Vec<Mechanism>>,
    /// Stop at the first line that the job writes.
    #[serde(default)]
    stop_at_line: bool,
    /// Freeze at that line, for this time.
    #[serde(default)]
    freeze_ms: Option<u64>,
}

fn any() -> Demand {
    Demand::Any
}

fn drive(order: &str) -> ExitCode {
    let order: Order = serde_json::from_str(order).unwrap();
    let inputs = order.inputs.into_iter().map(|(path, text)| Source {
        path,
        size: text.len() as u64,
        executable: false,
        content: Box::new(std::io::Cursor::new(text.into_bytes())),
    });
    let program = order.program_files.iter().map(|path| Source {
        path: path.file_name().unwrap().to_str().unwrap().to_owned(),
        size: fs::metadata(path).unwrap().len(),
        executable: true,
        content: Box::new(File::open(path).unwrap()),
    });
    let job = Job {
        run_id: order.run_id,
        command: order.command,
        environment: order.environment,
        readable: order.readable,
        gpus: order.gpus,
        inputs: inputs.collect(),
        program: program.collect(),
        limits: order.limits,
        demand: order.demand,
        egress: order.egress,
    };
    let stop = Stop::new();
    let (mut events, mut outputs) = (Vec::new(), BTreeMap::new());
    let (mut asked, mut frozen) = (None::<Instant>, false);
    let mut on_event = |event: RunEvent| {
        let event = serde_json::to_value(&event).unwrap();
        if order.stop_at_line && event.get("claimed").is_some() {
            asked.get_or_insert_with(Instant::now);
            stop.stop();
        }
        if let Some(time) = order.freeze_ms.filter(|_| event.get("claimed").is_some() && !frozen) {
            frozen = true;
            stop.freeze();
            let stop = stop.clone();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(time));
                stop.thaw();
            });
        }
        // For tests that kill this process in the middle of a run.
        eprintln_event(&event);
        events.push(event);
    };
    let mut collect = |path: &str, content: &mut dyn Read| {
        let mut bytes = Vec::new();
        content.take(OUTPUT_BYTES_SHOWN).read_to_end(&mut bytes)?;
        outputs.insert(path.to_owned(), String::from_utf8_lossy(&bytes).into_owned());
        Ok(())
    };
    let (own, supervisor) = (env::current_exe().unwrap(), [order.supervisor]);
    #[cfg(feature = "ablation")]
    let result = match order.only {
        Some(only) => run_with_only(&only, &own, &supervisor, job, &mut on_event, &mut collect),
        None => run_keyless(&own, &supervisor, job, &stop, &mut on_event, &mut collect),
    };
    #[cfg(not(feature = "ablation"))]
    let result = run_keyless(&own, &supervisor, job, &stop, &mut on_event, &mut collect);
    let (result, error) = match result {
        Ok(result) => (Some(result), None),
        Err(error) => (None, Some(error)),
    };
    let stop_ms = asked.map(|asked| u64::try_from(asked.elapsed().as_millis()).unwrap());
    println!("{}", json!({"result": result, "error": error, "events": events, "outputs": outputs, "stop_ms": stop_ms}));
    ExitCode::SUCCESS
}

#[expect(clippy::print_stderr, reason = "events as they happen, for tests that watch")]
fn eprintln_event(event: &Value) {
    eprintln!("{event}");
}

/// Most bytes of an output in the driver's document.
const OUTPUT_BYTES_SHOWN: u64 = 1 << 20;
