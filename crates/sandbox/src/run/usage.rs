//! What a run uses, measured from outside: control groups (`groups`) where they can be had, `/proc` of the tree otherwise.
//!
//! Nothing here trusts the job: every figure comes from the kernel.

use std::{
    collections::BTreeSet,
    fs,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    sys::{
        resource::{UsageWho, getrusage},
        signal::{Signal, kill},
    },
    time::{ClockId, clock_gettime},
    unistd::{Pid, SysconfVar, sysconf},
};

use super::{calls::MemoryControl, groups::Groups, keeper::read_kernel_file};
use crate::worker::page_bytes;

/// One look at a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sample {
    /// CPU time in milliseconds.
    pub(super) cpu_ms: u64,
    /// Memory in bytes.
    pub(super) memory_bytes: u64,
    /// Processes alive.
    pub(super) processes: u64,
    /// Bytes read from storage.
    pub(super) read_bytes: u64,
    /// Bytes written to storage.
    pub(super) written_bytes: u64,
}

/// Looks at the tree below `keeper`, through the groups where they know better.
pub(super) fn sample(keeper: Pid, groups: &Groups) -> Sample {
    let mut sample = Sample::default();
    let mut tree = groups.members().unwrap_or_else(|| descendants(keeper));
    tree.retain(|process| *process != keeper);
    sample.processes = tree.len() as u64;
    for process in std::iter::once(keeper).chain(tree) {
        let folder = PathBuf::from(format!("/proc/{process}"));
        if !groups.counts_cpu() {
            sample.cpu_ms = sample.cpu_ms.saturating_add(cpu_ms(&folder).unwrap_or(0));
        }
        if groups.memory_control() == MemoryControl::Watched {
            sample.memory_bytes = sample.memory_bytes.saturating_add(own_memory(&folder));
        }
        let io = read_kernel_file(&folder.join("io"), KERNEL_FILE_BYTES_MAX).unwrap_or_default();
        let number =
            |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()).unwrap_or(0);
        sample.read_bytes = sample.read_bytes.saturating_add(number("read_bytes:"));
        sample.written_bytes = sample.written_bytes.saturating_add(number("write_bytes:"));
    }
    groups.refine(&mut sample);
    sample
}

/// CPU time of everything that ended below this process, in milliseconds.
pub(super) fn ended_cpu_ms() -> u64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return 0 };
    let milliseconds = |time: nix::sys::time::TimeVal| {
        u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000 + u64::try_from(time.tv_usec()).unwrap_or(0) / 1_000
    };
    milliseconds(usage.user_time()) + milliseconds(usage.system_time())
}

/// Memory of the tree below `keeper` without counting shared pages twice, taken while all of it stands still: what is
/// measured cannot grow meanwhile. The caller ends the tree, or lets it go on with [`thaw`].
pub(super) fn frozen_memory(keeper: Pid) -> u64 {
    freeze(keeper).into_iter().map(proportional_memory).fold(0, u64::saturating_add)
}

/// Stops everything below `keeper`; a process that forks faster than this is bounded by the limit on processes.
pub(super) fn freeze(keeper: Pid) -> Vec<Pid> {
    let mut stopped = BTreeSet::new();
    for _ in 0..FREEZE_PASSES {
        let before = stopped.len();
        for process in descendants(keeper) {
            if stopped.insert(process) {
                let _ = kill(process, Signal::SIGSTOP);
            }
        }
        if stopped.len() == before {
            break;
        }
    }
    stopped.into_iter().collect()
}

/// Lets everything below `keeper` go on.
pub(super) fn thaw(keeper: Pid) {
    for process in descendants(keeper) {
        let _ = kill(process, Signal::SIGCONT);
    }
}

/// Proportional set size in bytes (smaps_rollup, proc_pid_smaps(5)): slow, it walks the page tables.
fn proportional_memory(process: Pid) -> u64 {
    let path = PathBuf::from(format!("/proc/{process}/smaps_rollup"));
    let text = read_kernel_file(&path, KERNEL_FILE_BYTES_MAX).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) * 1_024
}

/// All processes below `root`, which is not among them; at most [`PROCESSES_MAX`].
pub(super) fn descendants(root: Pid) -> Vec<Pid> {
    let mut found = BTreeSet::new();
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        let threads = fs::read_dir(format!("/proc/{parent}/task"));
        for thread in threads.into_iter().flatten().flatten().take(PROCESSES_MAX) {
            let list = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            for child in list.split_ascii_whitespace().filter_map(|id| id.parse().ok()).map(Pid::from_raw) {
                if found.len() < PROCESSES_MAX && found.insert(child) {
                    open.push(child);
                }
            }
        }
    }
    found.into_iter().collect()
}

/// User and system time of a process and the children that it waited for (fields 14 to 17 of proc_pid_stat(5)).
fn cpu_ms(process: &Path) -> Option<u64> {
    let text = read_kernel_file(&process.join("stat"), KERNEL_FILE_BYTES_MAX).ok()?;
    // The name is in parentheses and may contain anything.
    let (_, after) = text.rsplit_once(')')?;
    let times = after.split_ascii_whitespace().skip(11).take(4).map(str::parse::<u64>);
    let ticks: u64 = times.sum::<Result<u64, _>>().ok()?;
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u64::try_from(ticks).ok());
    Some(ticks.saturating_mul(1_000) / per_second.unwrap_or(100).max(1))
}

/// Anonymous and shared memory of a process in bytes, without mapped files of the host.
fn own_memory(process: &Path) -> u64 {
    let text = read_kernel_file(&process.join("status"), KERNEL_FILE_BYTES_MAX).unwrap_or_default();
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    (number("RssAnon:").unwrap_or(0) + number("RssShmem:").unwrap_or(0)).saturating_mul(1_024)
}

/// Bytes that the files below `folders` occupy, and those that processes below `keeper` hold without a name.
pub(super) fn folder_bytes(folders: &[PathBuf], keeper: Pid) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0_u64;
    let mut open = folders.to_vec();
    let mut entries = 0_u64;
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            entries += 1;
            if entries > WALK_ENTRIES_MAX {
                return u64::MAX;
            }
            let Ok(metadata) = entry.path().symlink_metadata() else { continue };
            bytes = bytes.saturating_add(metadata.blocks().saturating_mul(512)).saturating_add(page_bytes());
            if metadata.is_dir() {
                open.push(entry.path());
            }
        }
    }
    let mut nameless = BTreeSet::new();
    for process in descendants(keeper) {
        for entry in fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten() {
            let Ok(metadata) = fs::metadata(entry.path()) else { continue };
            if metadata.is_file() && metadata.nlink() == 0 && nameless.insert((metadata.dev(), metadata.ino())) {
                bytes = bytes.saturating_add(metadata.blocks().saturating_mul(512));
            }
        }
    }
    bytes
}

/// Paces looks that cost: never more than a twentieth of one core, counted in CPU time. Wall time would not do: a job
/// that keeps all cores busy stretches each look, and would so buy itself fewer of them.
pub(super) struct Pace {
    next: Instant,
    interval: Duration,
}

impl Pace {
    /// One look every `interval`, or less often if looks are dear.
    pub(super) fn new(interval: Duration) -> Self {
        Self { next: Instant::now() + interval, interval }
    }

    /// When the next look is due.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Has the next looks `interval` apart.
    pub(super) fn set(&mut self, interval: Duration) {
        self.next = self.next.min(Instant::now() + interval);
        self.interval = interval;
    }

    /// Runs `look` if it is due.
    pub(super) fn due<T>(&mut self, look: impl FnOnce() -> T) -> Option<T> {
        if Instant::now() < self.next {
            return None;
        }
        let began = thread_cpu_time();
        let result = look();
        let cost = thread_cpu_time().saturating_sub(began);
        self.next = Instant::now() + self.interval.max(cost * LOOK_COST_SHARE);
        Some(result)
    }
}

fn thread_cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Bytes in use of the memory file system behind `folder`.
pub(super) fn used_bytes(folder: &OwnedFd) -> Option<u64> {
    let status = nix::sys::statvfs::fstatvfs(folder.as_fd()).ok()?;
    status.blocks().checked_sub(status.blocks_free())?.checked_mul(status.fragment_size())
}

/// Whether the memory file system behind `folder` has no room left.
pub(super) fn is_full(folder: &OwnedFd) -> bool {
    nix::sys::statvfs::fstatvfs(folder.as_fd())
        .is_ok_and(|status| status.blocks_available() == 0 || (status.files() > 0 && status.files_free() == 0))
}

/// Most bytes read of one file in `/proc`.
pub(super) const KERNEL_FILE_BYTES_MAX: u64 = 1 << 20;
/// Most processes that are looked at.
const PROCESSES_MAX: usize = 65_536;
/// Most entries of a run's folder that are looked at; more count as too much.
const WALK_ENTRIES_MAX: u64 = 100_000;
/// A look may be followed by the next one after this many times its own CPU time.
const LOOK_COST_SHARE: u32 = 20;
/// How often the tree is searched for processes that are not stopped yet.
const FREEZE_PASSES: usize = 16;
