//! Runs: a stranger's command, guarded and watched.
//!
//! Four processes, each able to do less than the one before:
//! 1. the caller, which holds keys: [`run_keyless`] (`client`);
//! 2. the supervisor, a fresh process without keys: [`supervisor_main`] (`supervisor`, `tree`), which watches, measures (`usage`, `groups`, `nvml`,
//!    `files`), hears of refused calls (`notices`), cuts output into lines (`lines`), hears what the job says of its training
//!    ([`claims`]), lets the job reach what it may (`egress`) and collects `/out` (`collect`);
//! 3. the keeper, the first process of the sandbox (`keeper`), which builds its file system (`full`, `landlocked`), loads
//!    the inputs and waits for the job;
//! 4. the job itself, which gives up everything else just before exec (`job`, `rules`, `calls`).
//!
//! If one of them dies, everything below it dies: by the pid namespace and parent-death signals where there are namespaces,
//! by the keeper's watch on its supervisor at [`Level::Landlock`].

use std::{io::Read, path::PathBuf};

use nix::libc;
use ringfence_schema::event::RunEvent;
use serde::{Deserialize, Serialize};

use self::mechanisms::InForce;

mod calls;
pub mod claims;
mod client;
mod collect;
mod control;
mod devices;
mod doors;
pub mod egress;
mod files;
mod full;
mod groups;
mod identity;
mod job;
mod keeper;
mod landlocked;
mod lines;
mod mechanisms;
mod notices;
mod nvml;
mod outbox;
mod rules;
mod supervisor;
mod tree;
mod usage;

pub use client::{Stop, probe, run_keyless};
pub use egress::{Allowed, EgressPolicy, HostPattern, Network};
pub use landlocked::sweep_stale;
pub use supervisor::supervisor_main;
#[cfg(feature = "ablation")]
pub use {client::run_with_only, mechanisms::Mechanism};

/// A command to be run, and what it gets.
pub struct Job {
    /// Names the run: 1 to 64 of `a`–`z`, `0`–`9` and `-`. The job sees it as `RINGFENCE_RUN_ID`.
    pub run_id: String,
    /// Program and arguments. A name without `/` is looked up in `PATH`; the working directory is the program folder.
    pub command: Vec<String>,
    /// The whole environment beside what the sandbox sets itself (`PATH`, `HOME`, `TMPDIR`, `LANG`, `RINGFENCE_*`).
    pub environment: Vec<(String, String)>,
    /// Further folders of this host that the job may read and execute from, under their own names (an interpreter's).
    pub readable: Vec<PathBuf>,
    /// Graphics processors that it holds. Their libraries come through `readable`.
    pub gpus: Gpus,
    /// Files to put read-only at `RINGFENCE_IN` (`/in` at level `full`).
    pub inputs: Vec<Source>,
    /// Files to put read-only at `RINGFENCE_PROGRAM` (`/program` at level `full`), the working directory.
    pub program: Vec<Source>,
    /// What it may use.
    pub limits: RunLimits,
    /// The least level that will do.
    pub demand: Demand,
    /// What it may reach; by default nothing. Anything needs [`Level::Full`].
    pub egress: EgressPolicy,
}

/// A file for the sandbox.
pub struct Source {
    /// Relative path with `/` between parts.
    pub path: String,
    /// Exact size in bytes.
    pub size: u64,
    /// Whether it can be executed.
    pub executable: bool,
    /// Its bytes.
    pub content: Box<dyn Read + Send>,
}

/// What a run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLimits {
    /// Memory of all processes together in bytes, with inputs, `/out` and `/tmp`.
    pub memory_bytes: u64,
    /// Processes and threads alive at a time.
    pub processes: u64,
    /// CPU time of all processes together, in milliseconds.
    pub cpu_ms: u64,
    /// Wall time from the start of the command, in milliseconds.
    pub wall_ms: u64,
    /// Bytes in `/out`.
    pub output_bytes: u64,
    /// Files and folders in `/out`.
    pub output_files: u64,
    /// Bytes in `/tmp` and `/dev/shm`, each.
    pub scratch_bytes: u64,
    /// Descriptors per process.
    pub open_files: u64,
    /// Bytes of standard output and error together that are kept as lines.
    pub line_bytes: u64,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            memory_bytes: 4 << 30,
            processes: 512,
            cpu_ms: 24 * 3_600_000,
            wall_ms: 24 * 3_600_000,
            output_bytes: 2 << 30,
            output_files: 10_000,
            scratch_bytes: 1 << 30,
            open_files: 4_096,
            line_bytes: 16 << 20,
        }
    }
}

/// Graphics processors, by their exact device nodes; no hook of a driver ever runs.
///
/// An index is the number in the node's name: `/dev/nvidia0` is 0; of AMD's, `/dev/dri/renderD128` is 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gpus {
    /// None.
    #[default]
    None,
    /// All that this host has; none if it has none.
    All,
    /// These; a run is refused where one does not exist.
    These(Vec<u32>),
}

/// How far a run is confined. A greater level confines more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Landlock, and seccomp without any socket; for hosts that forbid user namespaces.
    Landlock,
    /// Own namespaces and root folder, Landlock, seccomp; no control group could be made, so the supervisor watches memory
    /// and the kernel bounds processes by the job's user alone.
    NoCgroup,
    /// The same, with memory limited by a control group.
    Full,
}

impl Level {
    /// `full`, `no-cgroup` or `landlock`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::NoCgroup => "no-cgroup",
            Self::Landlock => "landlock",
        }
    }

    /// Whether the job has namespaces and a root folder of its own.
    const fn has_namespaces(self) -> bool {
        matches!(self, Self::Full | Self::NoCgroup)
    }
}

/// The least level that will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Demand {
    /// [`Level::Full`] or nothing.
    Full,
    /// At least [`Level::NoCgroup`].
    NoCgroup,
    /// The best that this host offers.
    Any,
}

impl Demand {
    /// The least level that it accepts.
    pub const fn least(self) -> Level {
        match self {
            Self::Full => Level::Full,
            Self::NoCgroup => Level::NoCgroup,
            Self::Any => Level::Landlock,
        }
    }
}

/// What this host offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The best level, if there is one.
    pub level: Option<Level>,
    /// One line for people.
    pub line: String,
}

/// How a run ended and what it used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunResult {
    /// The level that held.
    pub level: Level,
    /// What confined it, and what could not be had.
    pub measures: Vec<String>,
    /// How the command ended.
    pub ending: Ending,
    /// What was used.
    pub totals: Totals,
    /// Refused system calls with how often each was tried, as far as the kernel told.
    pub refused: Vec<(String, u64)>,
    /// Output files collected.
    pub collected: u64,
    /// Entries of `/out` that were not collected, each with an event.
    pub not_collected: u64,
}

/// How the command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// By itself, with this exit code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// Killed at a limit, named.
    Limit(String),
    /// Killed because the caller said so.
    Stopped,
}

/// Use of the machine over the whole run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Wall time of the command in milliseconds.
    pub wall_ms: u64,
    /// CPU time in milliseconds, user and system.
    pub cpu_ms: u64,
    /// Highest memory seen, in bytes.
    pub memory_bytes: u64,
    /// Most processes seen.
    pub processes: u64,
    /// Bytes read from storage.
    pub read_bytes: u64,
    /// Bytes written to storage.
    pub written_bytes: u64,
    /// Bytes sent to allowed hosts.
    #[serde(default)]
    pub sent_bytes: u64,
    /// Bytes received from allowed hosts.
    #[serde(default)]
    pub received_bytes: u64,
}

/// Why there was no run, or why its outcome is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "kebab-case")]
pub enum SandboxError {
    /// The host does not offer the level that is demanded.
    #[error("level `{}` is demanded, but this host does not offer it: {reason}", demanded.name())]
    LevelUnavailable {
        /// The least level that would have done.
        demanded: Level,
        /// Which step failed.
        reason: String,
    },
    /// Something may be reached, but only a network namespace can tell it from everything else.
    #[error("egress needs namespaces, which this host does not offer: {reason}")]
    EgressUnavailable {
        /// Which step failed.
        reason: String,
    },
    /// The host offers no level.
    #[error("this host offers no sandbox: {reason}")]
    Unavailable {
        /// What failed at each level.
        reason: String,
    },
    /// The inputs do not fit into the memory limit.
    #[error("inputs of {bytes} bytes do not fit into the run's memory limit of {limit} bytes")]
    InputsTooLarge {
        /// Bytes of inputs and program.
        bytes: u64,
        /// The memory limit.
        limit: u64,
    },
    /// The job's description is not acceptable.
    #[error("job refused: {detail}")]
    Job {
        /// What is wrong with it.
        detail: String,
    },
    /// The caller stopped the run before its command began.
    #[error("stopped before the command began")]
    Stopped,
    /// The command could not be started inside the sandbox.
    #[error("command `{command}` could not be started: {detail}")]
    Command {
        /// The program.
        command: String,
        /// Why not.
        detail: String,
    },
    /// An input could not be read or was not as long as announced.
    #[error("input `{path}`: {detail}")]
    Input {
        /// Its path.
        path: String,
        /// What happened.
        detail: String,
    },
    /// The caller could not take an output.
    #[error("output `{path}` could not be taken: {detail}")]
    Output {
        /// Its path.
        path: String,
        /// What happened.
        detail: String,
    },
    /// A kernel call of the sandbox itself failed.
    #[error("{step}: {detail}")]
    Kernel {
        /// Which step.
        step: String,
        /// What the kernel said.
        detail: String,
    },
    /// The supervisor could not be started, died, or spoke nonsense. Its run is dead.
    #[error("the supervisor failed: {detail}")]
    Supervisor {
        /// What happened.
        detail: String,
    },
}

/// Takes events as they happen.
pub type Events<'a> = &'a mut dyn FnMut(RunEvent);

/// Takes an output file: its path below `/out` and its bytes.
pub type Collect<'a> = &'a mut dyn FnMut(&str, &mut dyn Read) -> std::io::Result<()>;

/// What the caller sends to the supervisor first.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    /// Say what this host offers.
    Probe,
    /// Run this.
    Run(Box<Plan>),
}

/// A [`Job`] without the bytes of its files.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Plan {
    run_id: String,
    command: Vec<String>,
    environment: Vec<(String, String)>,
    readable: Vec<PathBuf>,
    gpus: Gpus,
    files: u64,
    file_bytes: u64,
    limits: RunLimits,
    demand: Demand,
    egress: EgressPolicy,
    #[serde(default)]
    in_force: InForce,
}

/// Announces one file on the way into the sandbox.
#[derive(Debug, Serialize, Deserialize)]
struct FileHeader {
    place: Place,
    path: String,
    size: u64,
    executable: bool,
}

/// Where a file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Place {
    Input,
    Program,
}

/// Announces one output on the way out.
#[derive(Debug, Serialize, Deserialize)]
struct OutputHeader {
    path: String,
    size: u64,
}

/// Frame kinds towards the supervisor.
mod to_supervisor {
    pub(super) const ORDER: u8 = 1;
    pub(super) const FILE: u8 = 2;
    pub(super) const DATA: u8 = 3;
    pub(super) const END: u8 = 4;
    pub(super) const STOP: u8 = 5;
    pub(super) const FREEZE: u8 = 6;
    pub(super) const THAW: u8 = 7;
}

/// Frame kinds from the supervisor.
mod from_supervisor {
    pub(super) const EVENT: u8 = 16;
    pub(super) const OUTPUT: u8 = 17;
    pub(super) const DATA: u8 = 18;
    pub(super) const OUTPUT_END: u8 = 19;
    pub(super) const RESULT: u8 = 20;
    pub(super) const FAILURE: u8 = 21;
    pub(super) const PROBE: u8 = 22;
}

/// The bits of `clone`'s flags that make namespaces.
pub(crate) const NAMESPACE_FLAGS: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET)
    .unsigned_abs();
/// Longest order or header in bytes.
const ORDER_BYTES_MAX: usize = 4 << 20;
/// Most input and program files.
const FILES_MAX: u64 = 100_000;
