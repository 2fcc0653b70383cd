//! Level `landlock`: a run on a host that forbids user namespaces.
//!
//! The job sees the host's file system, cut down by Landlock to the system's folders and one folder of the run, which
//! lies on a memory file system and vanishes with the run. [`sweep_stale`] removes the folders of runs whose keeper and
//! supervisor were both killed; a lock that only living runs hold tells them apart.

use std::{
    env,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{Signal, kill},
        statfs::{TMPFS_MAGIC, statfs},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Gid, Pid, Uid, geteuid, setresgid, setresuid},
};

use super::{
    Plan,
    claims::channel::{self, Sockets},
    control::Control,
    devices,
    full::Step,
    identity::{Identity, LEAST_JOB_ID, Owned, all_processes, reserve, user_of},
    keeper::{Room, ending_of},
    rules::{self, Reach},
    usage::{descendants, folder_bytes},
};
use crate::sys::{self, Side};

/// Makes the run's folder.
///
/// `identity` is who the job will be, if it will be somebody else.
pub(super) fn build(plan: &Plan, identity: Option<&Identity>) -> Result<Room, Step> {
    let step = |what: &str, error: io::Error| Step { what: what.to_owned(), error };
    let version = sys::landlock_version();
    if version < rules::TRUNCATE_VERSION {
        let error = io::Error::other(format!("version {version} is offered, {} is needed", rules::TRUNCATE_VERSION));
        return Err(step("landlock", error));
    }
    prctl::set_child_subreaper(true).map_err(|error| step("adopt orphans", error.into()))?;
    let base = bases().into_iter().next().ok_or_else(|| {
        step("a folder on a memory file system", io::Error::other("neither XDG_RUNTIME_DIR nor /dev/shm is one"))
    })?;
    let folder = base.join(folder_name(&plan.run_id));
    let lock = make_folder(&folder, identity).map_err(|error| step("make the run's folder", error))?;
    let [input, program, output_path, scratch] = PARTS.map(|name| folder.join(name));
    let output = File::open(&output_path).map_err(|error| step("open the output folder", error))?;
    let scratch_folder = File::open(&scratch).map_err(|error| step("open the temporary folder", error))?.into();
    let group = identity.and_then(|identity| identity.own_uid().map(|_| identity.gid));
    let channel = channel::make(&folder, group, Sockets::Refused);
    let channel = channel.map_err(|error| step("make the progress channel", error))?;
    let gpus = devices::nodes(&plan.gpus).map_err(|error| step("graphics processors", io::Error::other(error)))?;
    let fixed = SYSTEM.iter().map(PathBuf::from).chain([input.clone(), program.clone()]);
    let reach = Reach {
        read: fixed.chain(plan.readable.iter().cloned()).collect(),
        write: vec![output_path.clone(), scratch.clone()],
        devices: DEVICES.iter().map(PathBuf::from).collect(),
        channels: vec![channel.pipe_path.clone()],
        network: rules::Network::Refused,
        gpus,
    };
    let identity = identity.filter(|identity| identity.owned == Owned::Alone);
    let who = match identity {
        Some(identity) => format!("own user id {}", identity.uid),
        None => "the caller's user id, without changes to attributes of files".to_owned(),
    };
    let measures = vec![
        format!("{who}; no namespaces, no socket, no ipc"),
        "names, sizes and owners of the host's files can be seen, their contents cannot".to_owned(),
    ];
    Ok(Room {
        input,
        program,
        scratch,
        output_path,
        output: output.into(),
        scratch_folder,
        channel,
        _lock: Some(lock),
        reach,
        search: "/usr/local/bin:/usr/bin:/bin".to_owned(),
        measures,
    })
}

fn make_folder(folder: &Path, identity: Option<&Identity>) -> io::Result<OwnedFd> {
    DirBuilder::new().mode(0o700).create(folder)?;
    let lock = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(folder.join(UNHELD_LOCK_NAME))?;
    let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error)?;
    // Never there without being held: to whoever sweeps that would be a dead run.
    fs::rename(folder.join(UNHELD_LOCK_NAME), folder.join(LOCK_NAME))?;
    for name in PARTS {
        DirBuilder::new().mode(0o700).create(folder.join(name))?;
    }
    if let Some(identity) = identity.filter(|identity| identity.owned == Owned::Alone) {
        // The job may enter and read through its group, own only what it writes to; nobody else may even enter.
        for path in [folder.to_path_buf(), folder.join(PARTS[0]), folder.join(PARTS[1])] {
            chown(&path, None, Some(identity.gid))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o2750))?;
        }
        for path in [folder.join(PARTS[2]), folder.join(PARTS[3])] {
            chown(&path, Some(identity.uid), Some(identity.gid))?;
        }
    }
    // A second handle on the same open file keeps the lock after the guard is gone.
    lock.try_clone().map(OwnedFd::from).inspect(|_| std::mem::forget(lock))
}

/// Waits for `first` to end; a message or the end of the supervisor kills it.
pub(super) fn wait_for(first: Pid, control: &Control) -> io::Result<(Option<i32>, Option<i32>)> {
    let handle = sys::process_handle(first)?;
    loop {
        use std::os::fd::AsFd;
        let mut waits =
            [PollFd::new(control.as_fd(), PollFlags::POLLIN), PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waits, REAP_INTERVAL) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [asked, ended] = waits.map(|wait| wait.any() == Some(true));
        if asked && !ended {
            // ESRCH: it ended by itself this moment.
            let _ = kill(first, Signal::SIGKILL);
        }
        if let Some(ending) = reap(first, asked || ended)? {
            return Ok(ending);
        }
    }
}

/// Reaps what is dead; waits for `first` if it is about to die.
fn reap(first: Pid, dying: bool) -> io::Result<Option<(Option<i32>, Option<i32>)>> {
    if dying {
        return Ok(ending_of(first, waitpid(first, Some(WaitPidFlag::__WALL))?));
    }
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
            Ok(status) => {
                if let Some(ending) = ending_of(first, status) {
                    return Ok(Some(ending));
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Kills everything that the keeper still has below it; removes the run's folder if no supervisor is left to do so.
pub(super) fn end(run_id: &str, uid: Option<u32>, control: &Control) {
    kill_descendants(uid);
    if control.check_alive().is_err() {
        let _ = remove_folder(run_id);
    }
}

/// Kills all children and their children and waits until none is left. The caller must be a child subreaper: then no
/// process of the tree can be anywhere else than below it.
pub(super) fn kill_descendants(uid: Option<u32>) {
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
            Ok(WaitStatus::StillAlive) => {}
            Err(Errno::EINTR) | Ok(_) => continue,
            // ECHILD: none is left.
            Err(_) => return,
        }
        if let Some(uid) = uid {
            kill_user(uid);
        }
        for process in descendants(nix::unistd::getpid()) {
            let _ = kill(process, Signal::SIGKILL);
        }
        // Dying takes the kernel a moment; this returns as soon as the first one is gone.
        let _ = poll(&mut [], PollTimeout::from(1_u8));
    }
}

/// One stroke against everything of a user who exists for this run alone; no fork can outrun it.
fn kill_user(uid: u32) {
    match sys::clone_process(0, None) {
        Ok(Side::Parent(helper)) => {
            let _ = waitpid(helper, Some(WaitPidFlag::__WALL));
        }
        Ok(Side::Child) => {
            let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
            let switched = setresgid(group, group, group).and_then(|()| setresuid(user, user, user));
            if switched.is_ok() && geteuid() == user {
                let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
            }
            std::process::exit(0)
        }
        Err(_) => {}
    }
}

/// Bytes that a run occupies in the folders it may write to.
pub(super) fn written_bytes(run_id: &str, keeper: Pid) -> u64 {
    let Some(base) = bases().into_iter().next() else { return 0 };
    let folder = base.join(folder_name(run_id));
    folder_bytes(&[folder.join(PARTS[2]), folder.join(PARTS[3])], keeper)
}

/// Removes the folder of a run that is dead.
pub(super) fn remove_folder(run_id: &str) -> io::Result<()> {
    for base in bases() {
        match fs::remove_dir_all(base.join(folder_name(run_id))) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes what runs left behind whose supervisor and keeper were both killed: processes of the job, their folders in
/// memory, and empty control groups. Returns how many folders were removed. Every supervisor does it too, once its own run is
/// over.
///
/// Processes are known by the user id that was theirs alone, or, where they ran under the caller's, by
/// `RINGFENCE_RUN_ID` in the environment they were started with.
///
/// Folders of living runs, of other users, and whatever else is there stay as they are.
pub fn sweep_stale() -> io::Result<usize> {
    let mut removed = 0;
    for base in bases() {
        for entry in fs::read_dir(&base)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with(FOLDER_PREFIX) {
                continue;
            }
            // What is gone by now was swept by somebody else.
            match remove_stale(&entry.path()) {
                Ok(was_stale) => removed += usize::from(was_stale),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    super::groups::remove_abandoned();
    Ok(removed)
}

fn remove_stale(folder: &Path) -> io::Result<bool> {
    let Some(_held) = hold_stale(folder)? else { return Ok(false) };
    kill_orphans(folder)?;
    fs::remove_dir_all(folder)?;
    Ok(true)
}

/// Kills the processes of the dead run whose folder this is, until none is left.
fn kill_orphans(folder: &Path) -> io::Result<()> {
    let own = geteuid().as_raw();
    let group = match fs::symlink_metadata(folder.join(PARTS[2])) {
        Ok(metadata) => metadata.gid(),
        // It died before there was a job.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let held = reserve(group).ok();
    if held.is_none() && Owned::of(own) == Owned::Alone {
        // A living run has this id: it took it when no process had it any more. While it is held here, nobody takes it.
        return Ok(());
    }
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let run_id = name.strip_prefix(FOLDER_PREFIX).unwrap_or_default();
    let variable = format!("RINGFENCE_RUN_ID={run_id}");
    let belongs = |process: Pid| match Owned::of(own) {
        Owned::Alone => group >= LEAST_JOB_ID && user_of(process) == Some(group),
        Owned::Shared => fs::read(format!("/proc/{process}/environ"))
            .is_ok_and(|text| text.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())),
    };
    let deadline = Instant::now() + ORPHANS_TIME;
    loop {
        let orphans: Vec<Pid> = all_processes()?.into_iter().filter(|process| belongs(*process)).collect();
        if orphans.is_empty() || Instant::now() > deadline {
            return Ok(());
        }
        for process in orphans {
            let _ = kill(process, Signal::SIGKILL);
        }
        let _ = poll(&mut [], PollTimeout::from(1_u8));
    }
}

/// Holds a dead run's folder; nothing if the run lives or the folder is not ours.
fn hold_stale(folder: &Path) -> io::Result<Option<Flock<File>>> {
    let metadata = fs::symlink_metadata(folder)?;
    if !metadata.is_dir() || metadata.uid() != geteuid().as_raw() {
        return Ok(None);
    }
    let lock = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(folder.join(LOCK_NAME));
    match lock {
        Ok(file) => Ok(Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()),
        // The moment between folder and lock: nothing is in it yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let age = SystemTime::now().duration_since(metadata.modified()?).unwrap_or_default();
            let folder = (age > UNLOCKED_AGE).then(|| File::open(folder)).transpose()?;
            Ok(folder.and_then(|folder| Flock::lock(folder, FlockArg::LockExclusiveNonblock).ok()))
        }
        Err(error) => Err(error),
    }
}

/// Folders on memory file systems where runs may live, best first.
fn bases() -> Vec<PathBuf> {
    let own = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|_| !geteuid().is_root());
    let candidates = own.into_iter().chain([PathBuf::from("/dev/shm")]);
    candidates.filter(|path| statfs(path).is_ok_and(|status| status.filesystem_type() == TMPFS_MAGIC)).collect()
}

fn folder_name(run_id: &str) -> String {
    format!("{FOLDER_PREFIX}{run_id}")
}

/// How the run's folder is divided: inputs, program, outputs, temporary files.
const PARTS: [&str; 4] = ["in", "program", "out", "tmp"];
/// Begins the name of every run's folder.
const FOLDER_PREFIX: &str = "ringfence-run-";
/// Locked while the run lives.
const LOCK_NAME: &str = "lock";
/// What it is called until it is locked.
const UNHELD_LOCK_NAME: &str = "lock.new";
/// A folder without a lock is stale after this time.
const UNLOCKED_AGE: Duration = Duration::from_mins(1);
/// How long orphans of a dead run may take to die.
const ORPHANS_TIME: Duration = Duration::from_secs(5);
/// How often orphans are reaped while the job runs.
const REAP_INTERVAL: u16 = 1_000;
/// What a job may read and execute of the host.
const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/vm/overcommit_memory",
    "/proc/uptime",
    "/proc/version",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
];
/// The only devices.
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
