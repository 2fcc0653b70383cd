//! The control groups of one run: limits, counts, pressure, and the fastest way to kill or freeze all of it.
//!
//! Versions 1 and 2 are both used, each only as far as this process may. Of version 1, the memory and pids controllers,
//! below this process's own group. Of version 2, a group for counts, pressure, kill and freeze; with limits where an
//! ancestor of this process's group hands the controllers down and lets this process make a group (the root of a machine
//! with systemd, or a user's delegated scope).
//!
//! Version 1's freezer is not used on purpose: what it holds cannot even be killed, so a run would outlive its supervisor.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    fcntl::{Flock, FlockArg},
    unistd::Pid,
};
use ringfence_schema::event::Pressure;

use super::{
    RunLimits,
    calls::MemoryControl,
    keeper::read_kernel_file,
    usage::{KERNEL_FILE_BYTES_MAX, Sample},
};

/// The control groups of one run, removed on drop.
#[derive(Default)]
pub(super) struct Groups {
    memory: Option<Group>,
    processes: Option<Group>,
    unified: Option<Unified>,
}

/// A group of this run. Its folder is locked while the supervisor or the keeper lives: what it counted is read when its
/// processes are dead, and until then nobody must take it for abandoned.
struct Group {
    path: PathBuf,
    folder: Flock<File>,
}

impl Group {
    fn make(path: PathBuf) -> Option<Self> {
        fs::create_dir(&path).ok()?;
        let folder = File::open(&path).ok().and_then(|folder| Flock::lock(folder, FlockArg::LockSharedNonblock).ok());
        if folder.is_none() {
            let _ = fs::remove_dir(&path);
        }
        Some(Self { path, folder: folder? })
    }

    /// Removes the group unless its limits were `set`.
    fn keep_if(self, set: &io::Result<()>) -> Option<Self> {
        if set.is_err() {
            let _ = fs::remove_dir(&self.path);
            return None;
        }
        Some(self)
    }
}

/// A group of version 2.
struct Unified {
    group: Group,
    limits_memory: bool,
    /// Whether the keeper was made inside.
    entered: bool,
}

impl Groups {
    /// Makes what can be made, with limits set.
    pub(super) fn make(run_id: &str, limits: &RunLimits) -> Self {
        let mut groups = Self::default();
        let own = own_groups();
        let name = format!("{GROUP_PREFIX}{run_id}");
        let of = |controller: &str| own.iter().find(|group| group.controllers.iter().any(|held| held == controller));
        let make = |controller: &str| Group::make(of(controller)?.path.join(&name));
        if let Some(group) = make("memory") {
            let limited = fs::write(group.path.join("memory.limit_in_bytes"), limits.memory_bytes.to_string());
            // Fails where swap is not counted; then the limit above covers memory alone.
            let _ = fs::write(group.path.join("memory.memsw.limit_in_bytes"), limits.memory_bytes.to_string());
            groups.memory = group.keep_if(&limited);
        }
        if let Some(group) = make("pids") {
            let limited = fs::write(group.path.join("pids.max"), limits.processes.saturating_add(1).to_string());
            groups.processes = group.keep_if(&limited);
        }
        groups.unified = of("").and_then(|own| Unified::make(own, &name, limits));
        groups
    }

    /// What these groups do, for people.
    pub(super) fn measure(&self) -> &'static str {
        match self.memory_control() {
            MemoryControl::Cgroup => "control groups: memory and processes limited",
            MemoryControl::Watched => NO_MEMORY_CONTROLLER,
        }
    }

    /// Whether memory is counted by the kernel, mapped or not.
    pub(super) fn memory_control(&self) -> MemoryControl {
        let unified = self.unified.as_ref().is_some_and(|unified| unified.limits_memory);
        if self.memory.is_some() || unified { MemoryControl::Cgroup } else { MemoryControl::Watched }
    }

    /// The group that a process can be made in, which costs less than entering it later.
    pub(super) fn entrance(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(|unified| unified.group.folder.as_fd())
    }

    /// Remembers that the keeper was made in [`Groups::entrance`].
    pub(super) fn note_entered(&mut self) {
        if let Some(unified) = &mut self.unified {
            unified.entered = true;
        }
    }

    /// Puts `process` and its children to be into the groups.
    pub(super) fn attach(&self, process: Pid) -> io::Result<()> {
        let unified = self.unified.as_ref().filter(|unified| !unified.entered).map(|unified| &unified.group);
        let mut groups = [self.memory.as_ref(), self.processes.as_ref(), unified].into_iter().flatten();
        groups.try_for_each(|group| fs::write(group.path.join("cgroup.procs"), process.to_string()))
    }

    /// Kills everything inside at one stroke, where the kernel knows how (version 2, Linux 5.14).
    pub(super) fn kill(&self) {
        if let Some(path) = self.unified_path() {
            let _ = fs::write(path.join("cgroup.kill"), "1");
        }
    }

    /// Has everything inside stand still, or go on; `false` where these groups cannot.
    pub(super) fn freeze(&self, frozen: bool) -> bool {
        let Some(path) = self.unified_path() else { return false };
        fs::write(path.join("cgroup.freeze"), if frozen { "1" } else { "0" }).is_ok()
    }

    /// How often the kernel killed for lack of memory.
    pub(super) fn memory_kills(&self) -> u64 {
        let old = self.memory.as_ref().and_then(|group| field(&group.path.join("memory.oom_control"), "oom_kill"));
        let new = self.unified_path().and_then(|path| field(&path.join("memory.events"), "oom_kill"));
        old.or(new).unwrap_or(0)
    }

    /// How often a process could not be made because of the limit.
    pub(super) fn process_refusals(&self) -> u64 {
        let old = self.processes.as_ref().and_then(|group| field(&group.path.join("pids.events"), "max"));
        let new = self.unified_path().and_then(|path| field(&path.join("pids.events"), "max"));
        old.or(new).unwrap_or(0)
    }

    /// The processes inside, at most [`MEMBERS_BYTES_MAX`] bytes of their list: far cheaper than a walk through `/proc`.
    pub(super) fn members(&self) -> Option<Vec<Pid>> {
        let text = read_kernel_file(&self.unified_path()?.join("cgroup.procs"), MEMBERS_BYTES_MAX).ok()?;
        Some(text.lines().filter_map(|line| line.parse().ok()).map(Pid::from_raw).collect())
    }

    /// Whether CPU time of the whole run is counted by the kernel.
    pub(super) fn counts_cpu(&self) -> bool {
        self.unified.is_some()
    }

    /// Replaces what the groups know better.
    pub(super) fn refine(&self, sample: &mut Sample) {
        let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        let own = self.memory.as_ref().map(|group| group.path.join("memory.usage_in_bytes"));
        if let Some(bytes) = own.and_then(|path| number(&path)) {
            sample.memory_bytes = bytes;
        } else if let Some(unified) = self.unified.as_ref().filter(|unified| unified.limits_memory) {
            sample.memory_bytes = number(&unified.group.path.join("memory.current")).unwrap_or(sample.memory_bytes);
        }
        if let Some(path) = self.unified_path() {
            sample.cpu_ms = field(&path.join("cpu.stat"), "usage_usec").map_or(sample.cpu_ms, |us| us / 1_000);
        }
    }

    /// Pressure on the run itself where there is a group of version 2, on the whole host otherwise.
    pub(super) fn pressure(&self) -> Option<Pressure> {
        let share = |what: &str| {
            let own = self.unified_path().map(|path| path.join(format!("{what}.pressure")));
            let own = own.and_then(|path| some_over_ten_seconds(&path));
            own.or_else(|| some_over_ten_seconds(&Path::new("/proc/pressure").join(what)))
        };
        Some(Pressure { cpu: share("cpu")?, memory: share("memory")?, io: share("io")? })
    }

    fn unified_path(&self) -> Option<&Path> {
        self.unified.as_ref().map(|unified| unified.group.path.as_path())
    }
}

impl Unified {
    /// A group with limits below the nearest ancestor that hands both controllers down; without them below our own.
    fn make(own: &OwnGroup, name: &str, limits: &RunLimits) -> Option<Self> {
        for parent in own.path.ancestors().take_while(|path| path.starts_with(&own.point)).take(ANCESTORS_MAX) {
            let handed_down = read_kernel_file(&parent.join("cgroup.subtree_control"), KERNEL_FILE_BYTES_MAX);
            let handed_down = handed_down.unwrap_or_default();
            let has = |name: &str| handed_down.split_ascii_whitespace().any(|held| held == name);
            if !has("memory") || !has("pids") {
                continue;
            }
            let Some(group) = Group::make(parent.join(name)) else { continue };
            let path = &group.path;
            let limited = fs::write(path.join("memory.max"), limits.memory_bytes.to_string())
                .and_then(|()| fs::write(path.join("pids.max"), limits.processes.saturating_add(1).to_string()));
            // Fails where there is no swap.
            let _ = fs::write(path.join("memory.swap.max"), "0");
            if let Some(group) = group.keep_if(&limited) {
                return Some(Self { group, limits_memory: true, entered: false });
            }
        }
        let group = Group::make(own.path.join(name))?;
        Some(Self { group, limits_memory: false, entered: false })
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        let unified = self.unified.as_ref().map(|unified| &unified.group);
        for group in [self.memory.as_ref(), self.processes.as_ref(), unified].into_iter().flatten() {
            for _ in 0..REMOVE_ATTEMPTS {
                match fs::remove_dir(&group.path) {
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

/// Removes the groups of runs that are dead, at most [`ENTRIES_MAX`] entries of each folder looked at; the kernel refuses to
/// remove one that holds a process. A young one may belong to a run that is just starting: it stays for a later time.
pub(super) fn remove_abandoned() {
    for group in own_groups() {
        for parent in group.path.ancestors().take_while(|path| path.starts_with(&group.point)).take(ANCESTORS_MAX) {
            for entry in fs::read_dir(parent).into_iter().flatten().take(ENTRIES_MAX).flatten() {
                let is_ours = entry.file_name().to_string_lossy().starts_with(GROUP_PREFIX);
                if is_ours && is_abandoned(&entry.path()) {
                    let _ = fs::remove_dir(entry.path());
                }
            }
        }
    }
}

/// Whether the supervisor and the keeper that made this group are dead. One that is not ours to open is somebody else's.
fn is_abandoned(path: &Path) -> bool {
    let made = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    let is_old = made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > STARTING_AGE));
    is_old && File::open(path).is_ok_and(|folder| Flock::lock(folder, FlockArg::LockExclusiveNonblock).is_ok())
}

/// A control group that this process is in.
struct OwnGroup {
    /// Names of controllers; one empty name for version 2.
    controllers: Vec<String>,
    path: PathBuf,
    /// Where its hierarchy is mounted.
    point: PathBuf,
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
        Some(OwnGroup { controllers, path: Path::new(point).join(below), point: point.into() })
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

/// The `avg10` of the line `some` in a pressure file (Linux: accounting/psi.rst), in percent.
fn some_over_ten_seconds(path: &Path) -> Option<f64> {
    let text = read_kernel_file(path, KERNEL_FILE_BYTES_MAX).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let share: f64 = line.split(' ').find_map(|part| part.strip_prefix("avg10="))?.parse().ok()?;
    share.is_finite().then_some(share)
}

/// Said where no control group counts memory.
pub(super) const NO_MEMORY_CONTROLLER: &str = "no memory controller: memory is watched from outside";
/// Most bytes of a list of processes: room for 65,536.
const MEMBERS_BYTES_MAX: u64 = 512 << 10;
/// Begins the name of every run's control groups.
const GROUP_PREFIX: &str = "ringfence-";
/// Groups above our own that are looked at.
const ANCESTORS_MAX: usize = 16;
/// Most entries of a folder of groups that are looked at for abandoned ones.
const ENTRIES_MAX: usize = 4_096;
/// A group without a lock is no longer about to be locked after this time.
const STARTING_AGE: Duration = Duration::from_mins(1);
/// How often the removal of a group is tried, a millisecond apart.
const REMOVE_ATTEMPTS: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limited_group_is_made_below_the_ancestor_that_hands_the_controllers_down() {
        let folder = tempfile::tempdir().unwrap();
        let point = folder.path().join("cgroup");
        let own = point.join("user.slice/session.scope");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("cgroup.subtree_control"), "\n").unwrap();
        fs::write(point.join("user.slice/cgroup.subtree_control"), "cpu memory pids\n").unwrap();
        let own = OwnGroup { controllers: vec![String::new()], path: own, point: point.clone() };
        let group = Unified::make(&own, "ringfence-x", &RunLimits::default()).unwrap();
        assert_eq!(group.group.path, point.join("user.slice/ringfence-x"));
        assert!(group.limits_memory);
        fs::write(point.join("user.slice/cgroup.subtree_control"), "cpu pids\n").unwrap();
        let group = Unified::make(&own, "ringfence-y", &RunLimits::default()).unwrap();
        assert_eq!((group.group.path, group.limits_memory), (own.path.join("ringfence-y"), false));
    }

    #[test]
    fn a_group_is_abandoned_once_nobody_holds_it_and_it_is_no_longer_young() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ringfence-x");
        let group = Group::make(path.clone()).unwrap();
        let old = std::time::SystemTime::now() - STARTING_AGE - Duration::from_secs(1);
        let make_old = || File::open(&path).unwrap().set_modified(old).unwrap();
        make_old();
        assert!(!is_abandoned(&path), "it is held");
        drop(group);
        assert!(is_abandoned(&path));
        drop(Group::make(folder.path().join("ringfence-y")).unwrap());
        assert!(!is_abandoned(&folder.path().join("ringfence-y")), "it may be about to be held");
    }

    #[test]
    fn pressure_is_the_share_of_ten_seconds() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "some avg10=12.34 avg60=1.00 avg300=0.00 total=5\nfull avg10=99.00 avg60=0 total=0\n")
            .unwrap();
        assert_eq!(some_over_ten_seconds(file.path()), Some(12.34));
        fs::write(&file, "some avg10=nan\n").unwrap();
        assert_eq!(some_over_ten_seconds(file.path()), None);
    }
}
