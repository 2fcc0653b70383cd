//! Tries to get out of the sandbox. Every attempt is a small program of its own: `escape_probe attempt NAME`. Without
//! arguments it starts all that apply, one after the other, and prints one JSON line each:
//! `{"attempt":…,"held":…,"detail":…}`. `list` prints what there is.
//!
//! What lies outside is read from `$RINGFENCE_IN/targets.json`. An attempt that is refused, that leads nowhere, or that
//! ends its process has been held. Each is harmless where it is not held: calls that would change a machine are made with
//! arguments that the kernel rejects only after it has let the caller in.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]
#![expect(clippy::print_stdout, reason = "the lines go to standard output")]

use std::{
    env, fs, io,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use nix::libc;
use serde::Deserialize;
use serde_json::{Value, json};

mod files;
mod host;
mod kernel;
mod namespaces;
mod network;
mod outputs;
mod processes;
mod resources;
mod shared;

/// What lies outside.
#[derive(Deserialize)]
struct Targets {
    /// A world-readable file with a secret.
    secret: PathBuf,
    /// A file that the caller owns; the same to be removed, and to be moved.
    file: PathBuf,
    doomed: PathBuf,
    mover: PathBuf,
    /// A folder that everybody may write to.
    folder: PathBuf,
    /// A program in it, and the same with root's setuid bit where it can be had.
    program: PathBuf,
    setuid_program: PathBuf,
    /// A file that everybody may write to, in a folder that the run was shown.
    shown: PathBuf,
    /// Unix sockets that everybody may connect to.
    socket: PathBuf,
    abstract_name: String,
    /// A TCP and a UDP port on the loopback interface.
    tcp_port: u16,
    udp_port: u16,
    /// A process of the caller, and one more that may die.
    victim: i32,
    decoy: i32,
    /// Shared memory segments that everybody may attach.
    segment: i32,
    doomed_segment: i32,
    /// A POSIX message queue that everybody may open.
    queue: String,
    /// Name of an environment variable of the caller.
    variable: String,
}

/// What came of it: gained, or refused.
type Outcome = Result<String, String>;

/// One way to get out.
struct Attempt {
    name: &'static str,
    tries: &'static str,
    at: At,
    run: fn(&Targets) -> Outcome,
}

/// Where an attempt makes sense.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Everywhere,
    /// With namespaces the job has such an object of its own.
    LandlockOnly,
    /// Without namespaces there is no such folder.
    NamespacesOnly,
}

impl Attempt {
    const fn new(name: &'static str, tries: &'static str, run: fn(&Targets) -> Outcome) -> Self {
        Self { name, tries, at: At::Everywhere, run }
    }

    const fn only(self, at: At) -> Self {
        Self { at, ..self }
    }
}

const AREAS: &[(&str, &[Attempt])] = &[
    ("what was inherited", shared::INHERITED),
    ("files of the host", files::ATTEMPTS),
    ("devices and kernel files", host::ATTEMPTS),
    ("processes of the host", processes::ATTEMPTS),
    ("network and sockets", network::ATTEMPTS),
    ("the kernel", kernel::ATTEMPTS),
    ("namespaces, mounts and privileges", namespaces::ATTEMPTS),
    ("shared objects", shared::ATTEMPTS),
    ("resources", resources::ATTEMPTS),
    ("what is left in /out", outputs::ATTEMPTS),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["list"] => list(),
        ["attempt", name] => attempt(name),
        ["fork-bomb"] => resources::fork_bomb(),
        ["memory-bomb"] => resources::memory_bomb(),
        ["i386"] => kernel::i386_call(),
        ["neighbour"] => shared::neighbour(),
        ["against-neighbour"] => start(|area| NEIGHBOURLY.contains(&area)),
        ["who"] => {
            println!("{}", nix::unistd::geteuid());
            return ExitCode::SUCCESS;
        }
        _ => start(|_| true),
    }
    ExitCode::SUCCESS
}

fn list() {
    let rows = AREAS.iter().flat_map(|(area, attempts)| {
        attempts.iter().map(move |attempt| {
            let at = match attempt.at {
                At::Everywhere => "everywhere",
                At::LandlockOnly => "landlock",
                At::NamespacesOnly => "namespaces",
            };
            json!({"name": attempt.name, "area": area, "tries": attempt.tries, "at": at})
        })
    });
    println!("{}", Value::Array(rows.collect()));
}

/// Starts every attempt of the areas that `wanted` says.
fn start(wanted: impl Fn(&str) -> bool) {
    let landlock = env::var("RINGFENCE_LEVEL").is_ok_and(|level| level == "landlock");
    for attempt in AREAS.iter().filter(|(area, _)| wanted(area)).flat_map(|(_, attempts)| *attempts) {
        let other = if landlock { At::NamespacesOnly } else { At::LandlockOnly };
        if attempt.at == other {
            continue;
        }
        let child = again().args(["attempt", attempt.name]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let line = match child {
            Ok(child) => ending(attempt.name, child),
            Err(error) => json!({"attempt": attempt.name, "held": null, "detail": error.to_string()}),
        };
        println!("{line}");
    }
}

/// What the process of one attempt printed, or how it ended without a word.
fn ending(name: &str, mut child: Child) -> Value {
    let deadline = Instant::now() + ATTEMPT_TIME;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status.to_string(),
            None if Instant::now() > deadline => {
                child.kill().unwrap();
                break "no end".to_owned();
            }
            None => std::thread::sleep(Duration::from_micros(200)),
        }
    };
    let mut text = String::new();
    // A process that an attempt left behind may still hold the pipe: what is there by now is enough.
    let mut output = child.stdout.take().unwrap();
    let mut buffer = [0; 4_096];
    if let Ok(count) = output.read(&mut buffer) {
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    let said = text.lines().next().and_then(|line| serde_json::from_str(line).ok());
    said.unwrap_or_else(|| json!({"attempt": name, "held": true, "detail": status}))
}

fn attempt(name: &str) {
    let input = PathBuf::from(env::var_os("RINGFENCE_IN").unwrap());
    let targets: Targets = serde_json::from_slice(&fs::read(input.join("targets.json")).unwrap()).unwrap();
    // A file beyond its limit raises a signal, whose default would end the process before it has told.
    let file_size = nix::sys::signal::SigSet::from(nix::sys::signal::Signal::SIGXFSZ);
    file_size.thread_block().unwrap();
    let mut attempts = AREAS.iter().flat_map(|(_, attempts)| *attempts);
    let attempt = attempts.find(|attempt| attempt.name == name).unwrap();
    let (held, detail) = match (attempt.run)(&targets) {
        Ok(gain) => (false, gain),
        Err(refusal) => (true, refusal),
    };
    println!("{}", json!({"attempt": name, "held": held, "detail": detail}));
}

/// This program; its folder is the working directory.
fn again() -> Command {
    Command::new("./escape_probe")
}

fn input() -> PathBuf {
    PathBuf::from(env::var_os("RINGFENCE_IN").unwrap())
}

fn output() -> PathBuf {
    PathBuf::from(env::var_os("RINGFENCE_OUT").unwrap())
}

/// Success is an escape.
fn tried<T>(result: io::Result<T>) -> Outcome {
    result.map(|_| "it worked".to_owned()).map_err(|error| error.to_string())
}

/// One raw system call; success is an escape.
fn call(number: libc::c_long, arguments: &[usize]) -> Outcome {
    tried(raw(number, arguments))
}

/// One raw system call with arguments that make no sense: that the kernel says so, and not that the call is forbidden,
/// is an escape.
fn door(number: libc::c_long, arguments: &[usize]) -> Outcome {
    match raw(number, arguments) {
        Ok(_) => Ok("it worked".to_owned()),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::ENOSYS)) => {
            Err(error.to_string())
        }
        Err(error) => Ok(format!("the call is there: {error}")),
    }
}

#[expect(unsafe_code, reason = "the probe makes calls that no library offers")]
fn raw(number: libc::c_long, arguments: &[usize]) -> io::Result<libc::c_long> {
    let at = |index: usize| arguments.get(index).copied().unwrap_or(0);
    // SAFETY: pointers among the arguments are null, or addresses of values that the caller keeps alive and that are as
    // large as the call wants; no call here changes this process's own memory beyond them.
    let result = unsafe { libc::syscall(number, at(0), at(1), at(2), at(3), at(4), at(5)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn address<T: ?Sized>(value: &T) -> usize {
    std::ptr::from_ref(value).cast::<u8>().addr()
}

fn address_mut<T>(value: &mut T) -> usize {
    std::ptr::from_mut(value).addr()
}

fn number(value: i32) -> usize {
    isize::try_from(value).unwrap().cast_unsigned()
}

fn c_path(path: &Path) -> std::ffi::CString {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// What is tried against another run.
const NEIGHBOURLY: &[&str] = &["files of the host", "processes of the host", "network and sockets", "shared objects"];
/// How long one attempt may take.
const ATTEMPT_TIME: Duration = Duration::from_secs(10);
