//! What a run uses, measured from outside: control groups where they can be had, `/proc` of the tree otherwise.
//!
//! Control groups version 1 and 2 are both used, each only as far as this process may: below its own group, in a group
//! named after the run. Nothing here trusts the job: every figure comes from the kernel.

use std::{
    collections::BTreeSet,
    fs, io,
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

use super::{RunLimits, calls::MemoryControl, keeper::read_kernel_file};
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

/// The control groups of one run, removed on drop.
#[derive(Default)]
pub(super) struct Groups {
    memory: Option<PathBuf>,
    processes: Option<PathBuf>,
    unified: Option<PathBuf>,
    unified_memory: bool,
}

impl Groups {
    /// Makes what can be made, with limits set; says what could not be had.
    pub(super) fn make(run_id: &str, limits: &RunLimits) -> (Self, Vec<String>) {
        let mut groups = Self::default();
        let mut measures = Vec::new();
        let own = own_groups();
        let name = format!("{GROUP_PREFIX}{run_id}");
        let make = |controller: &str| {
            let parent = own.iter().find(|group| group.controllers.iter().any(|held| held == controller))?;
            let path = parent.path.join(&name);
            fs::create_dir(&path).ok().map(|()| path)
        };
        if let Some(path) = make("memory") {
            let limited = fs::write(path.join("memory.limit_in_bytes"), limits.memory_bytes.to_string());
            // Fails where swap is not counted; then the limit above covers memory alone.
            let _ = fs::write(path.join("memory.memsw.limit_in_bytes"), limits.memory_bytes.to_string());
            groups.memory = keep_if(&limited, path);
        }
        if let Some(path) = make("pids") {
            let limited = fs::write(path.join("pids.max"), limits.processes.saturating_add(1).to_string());
            groups.processes = keep_if(&limited, path);
        }
        // Where version 1 limits memory, the unified hierarchy has no controller left: entering it would only cost time.
        if groups.memory.is_none()
            && let Some(path) = make("")
        {
            groups.limit_unified(path, limits);
        }
        if groups.memory.is_none() && !groups.unified_memory {
            measures.push("no memory controller: memory is watched from outside".to_owned());
        } else {
            measures.push("control groups: memory and processes limited".to_owned());
        }
        (groups, measures)
    }

    fn limit_unified(&mut self, path: PathBuf, limits: &RunLimits) {
        let controllers = fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default();
        let has = |name: &str| controllers.split_ascii_whitespace().any(|held| held == name);
        if has("memory") {
            let limited = fs::write(path.join("memory.max"), limits.memory_bytes.to_string());
            let _ = fs::write(path.join("memory.swap.max"), "0");
            self.unified_memory = limited.is_ok();
        }
        if has("pids") {
            let _ = fs::write(path.join("pids.max"), limits.processes.saturating_add(1).to_string());
        }
        self.unified = Some(path);
    }

    /// Whether memory is counted by the kernel, mapped or not.
    pub(super) fn memory_control(&self) -> MemoryControl {
        if self.memory.is_some() || self.unified_memory { MemoryControl::Cgroup } else { MemoryControl::Watched }
    }

    /// Puts `process` and its children to be into the groups.
    pub(super) fn attach(&self, process: Pid) -> io::Result<()> {
        self.all().try_for_each(|path| fs::write(path.join("cgroup.procs"), process.to_string()))
    }

    /// How often the kernel killed for lack of memory.
    pub(super) fn memory_kills(&self) -> u64 {
        let old = self.memory.as_deref().and_then(|path| field(&path.join("memory.oom_control"), "oom_kill"));
        let new = self.unified.as_deref().and_then(|path| field(&path.join("memory.events"), "oom_kill"));
        old.or(new).unwrap_or(0)
    }

    /// How often a process could not be made because of the limit.
    pub(super) fn process_refusals(&self) -> u64 {
        let old = self.processes.as_deref().and_then(|path| field(&path.join("pids.events"), "max"));
        let new = self.unified.as_deref().and_then(|path| field(&path.join("pids.events"), "max"));
        old.or(new).unwrap_or(0)
    }

    /// Replaces what the groups know better.
    fn refine(&self, sample: &mut Sample) {
        let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        if let Some(bytes) = self.memory.as_deref().and_then(|path| number(&path.join("memory.usage_in_bytes"))) {
            sample.memory_bytes = bytes;
        } else if let Some(path) = self.unified.as_deref().filter(|_| self.unified_memory) {
            sample.memory_bytes = number(&path.join("memory.current")).unwrap_or(sample.memory_bytes);
        }
        if let Some(path) = &self.unified {
            sample.cpu_ms = field(&path.join("cpu.stat"), "usage_usec").map_or(sample.cpu_ms, |us| us / 1_000);
        }
    }

    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.memory, &self.processes, &self.unified].into_iter().flatten()
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for path in self.all() {
            for _ in 0..REMOVE_ATTEMPTS {
                match fs::remove_dir(path) {
                    // The last process has been reaped, but the kernel may still be letting go of the group.
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    _ => break,
                }
            }
        }
    }
}

fn keep_if(limited: &io::Result<()>, path: PathBuf) -> Option<PathBuf> {
    if limited.is_err() {
        let _ = fs::remove_dir(&path);
        return None;
    }
    Some(path)
}

/// Removes the groups of runs that are dead; the kernel refuses to remove one that holds a process. A young one may
/// belong to a run that is just starting: it stays for a later time.
pub(super) fn remove_empty_groups() {
    for group in own_groups() {
        for entry in fs::read_dir(&group.path).into_iter().flatten().flatten() {
            let made = entry.metadata().and_then(|metadata| metadata.modified());
            let is_old = made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > STARTING_AGE));
            if is_old && entry.file_name().to_string_lossy().starts_with(GROUP_PREFIX) {
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

/// A control group that this process is in.
struct OwnGroup {
    /// Names of controllers; one empty name for version 2.
    controllers: Vec<String>,
    path: PathBuf,
}

fn own_groups() -> Vec<OwnGroup> {
    let groups = read_kernel_file(Path::new("/proc/self/cgroup"), KERNEL_FILE_BYTES_MAX).unwrap_or_default();
    let mounts = read_kernel_file(Path::new("/proc/self/mountinfo"), KERNEL_FILE_BYTES_MAX).unwrap_or_default();
    let parse = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, inside) = (fields.next()?, fields.next()?);
        let controllers: Vec<String> = controllers.split(',').map(str::to_owned).collect();
        let (root, point) = mounts.lines().find_map(|mount| group_mount(mount, controllers.first()?))?;
        let below = Path::new(inside).strip_prefix(root).ok()?;
        Some(OwnGroup { controllers, path: Path::new(point).join(below) })
    };
    groups.lines().filter_map(parse).collect()
}

/// Root and mount point, if `mount` (a line of mountinfo, proc_pid_mountinfo(5)) shows `controller`.
fn group_mount<'a>(mount: &'a str, controller: &str) -> Option<(&'a str, &'a str)> {
    let (before, after) = mount.split_once(" - ")?;
    let mut after = after.split(' ');
    let (kind, options) = (after.next()?, after.nth(1)?);
    let shows = match kind {
        "cgroup2" => controller.is_empty(),
        "cgroup" => !controller.is_empty() && options.split(',').any(|option| option == controller),
        _ => false,
    };
    let mut before = before.split(' ').skip(3);
    let (root, point) = (before.next()?, before.next()?);
    shows.then_some((root, point))
}

/// The number after `name` in a file of `name number` lines.
fn field(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// Looks at the tree below `keeper`, through the groups where they know better.
pub(super) fn sample(keeper: Pid, groups: &Groups) -> Sample {
    let mut sample = Sample::default();
    let tree = descendants(keeper);
    sample.processes = tree.len() as u64;
    for process in std::iter::once(keeper).chain(tree) {
        let folder = PathBuf::from(format!("/proc/{process}"));
        sample.cpu_ms = sample.cpu_ms.saturating_add(cpu_ms(&folder).unwrap_or(0));
        sample.memory_bytes = sample.memory_bytes.saturating_add(own_memory(&folder));
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
fn freeze(keeper: Pid) -> Vec<Pid> {
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

/// Whether the memory file system behind `folder` has no room left.
pub(super) fn is_full(folder: &OwnedFd) -> bool {
    nix::sys::statvfs::fstatvfs(folder.as_fd())
        .is_ok_and(|status| status.blocks_available() == 0 || (status.files() > 0 && status.files_free() == 0))
}

/// Begins the name of every run's control groups.
const GROUP_PREFIX: &str = "ringfence-";
/// Most bytes read of one file in `/proc`.
const KERNEL_FILE_BYTES_MAX: u64 = 1 << 20;
/// Most processes that are looked at.
const PROCESSES_MAX: usize = 65_536;
/// Most entries of a run's folder that are looked at; more count as too much.
const WALK_ENTRIES_MAX: u64 = 100_000;
/// A group without a process is no longer about to be entered after this time.
const STARTING_AGE: Duration = Duration::from_mins(1);
/// A look may be followed by the next one after this many times its own CPU time.
const LOOK_COST_SHARE: u32 = 20;
/// How often the tree is searched for processes that are not stopped yet.
const FREEZE_PASSES: usize = 16;
/// How often the removal of a group is tried, a millisecond apart.
const REMOVE_ATTEMPTS: u32 = 50;
