//! The last steps before a stranger's program: give up everything, then exec.
//!
//! Order matters: streams and descriptors, session, limits, user (level `landlock`), capabilities, Landlock, seccomp. The
//! seccomp filter comes last, because it refuses what the steps before it need.

use std::{
    ffi::CString,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
};

use nix::{
    libc,
    sys::{prctl, resource::Resource, stat::Mode},
    unistd::{
        AccessFlags, Gid, Uid, access, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, setresgid, setresuid,
        setsid,
    },
};

use super::{
    Level, Plan, SandboxError,
    calls::{self, Circumstances, Hearing, MemoryControl, SignalScope},
    control::{Control, Report},
    identity::{Identity, Owned},
    keeper::Room,
    mechanisms::{InForce, Mechanism},
    rules,
};
use crate::{filter::Mode as Refusal, sys};

/// What the job process is made from.
pub(super) struct Setup<'a> {
    /// The level of the run.
    pub(super) level: Level,
    /// What to run.
    pub(super) plan: &'a Plan,
    /// As whom.
    pub(super) identity: &'a Identity,
    /// Whether a memory controller counts.
    pub(super) memory: MemoryControl,
    /// Its folders.
    pub(super) room: &'a Room,
    /// Standard output.
    pub(super) stdout: OwnedFd,
    /// Standard error.
    pub(super) stderr: OwnedFd,
}

/// Confines this process and replaces it by the job's program; returns only on failure.
pub(super) fn start(setup: &Setup<'_>, control: &Control) -> SandboxError {
    let confined = confine(setup, control);
    let (arguments, environment, program) = match confined.and_then(|()| invocation(setup)) {
        Ok(parts) => parts,
        Err(error) => return error,
    };
    match execve(&program, &arguments, &environment) {
        Ok(never) => match never {},
        Err(error) => cannot_start(setup.plan, error.desc()),
    }
}

fn confine(setup: &Setup<'_>, control: &Control) -> Result<(), SandboxError> {
    let level = setup.level;
    let in_force = &setup.plan.in_force;
    if level == Level::Landlock || !in_force.has(Mechanism::PidNamespace) {
        kernel("parent-death signal", sys::die_with_parent())?;
        kernel("supervisor", control.check_alive())?;
    }
    kernel("streams", take_streams(setup))?;
    kernel("session", setsid())?;
    kernel("descriptors", sys::close_all_on_exec())?;
    nix::sys::stat::umask(Mode::from_bits_truncate(0o077));
    kernel("working directory", chdir(&setup.room.program))?;
    if in_force.has(Mechanism::ResourceLimits) {
        kernel("resource limits", limit_resources(setup))?;
    }
    if level == Level::Landlock && setup.identity.owned == Owned::Alone {
        kernel("become the job's user", become_user(setup.identity))?;
        kernel("parent-death signal", sys::die_with_parent())?;
        kernel("supervisor", control.check_alive())?;
    }
    if in_force.has(Mechanism::NoNewPrivileges) {
        kernel("no_new_privs", prctl::set_no_new_privs())?;
    }
    kernel("capabilities", give_up_capabilities(in_force))?;
    let mut measures = vec!["no capability, no_new_privs, own session, no descriptor of ours".to_owned()];
    if in_force.has(Mechanism::Landlock) {
        measures.push(rules::restrict(&setup.room.reach).map_err(|error| kernel_error("landlock", &error))?);
    }
    let listener = install_filter(setup, &mut measures)?;
    kernel("supervisor", control.report(&Report::Confined { measures }, listener.as_ref().map(AsFd::as_fd)))
}

fn give_up_capabilities(in_force: &InForce) -> io::Result<()> {
    #[cfg(feature = "ablation")]
    if !in_force.has(Mechanism::Capabilities) {
        return sys::keep_capabilities();
    }
    let _ = in_force;
    sys::drop_capabilities()
}

fn install_filter(setup: &Setup<'_>, measures: &mut Vec<String>) -> Result<Option<OwnedFd>, SandboxError> {
    if !setup.plan.in_force.has(Mechanism::Seccomp) {
        return Ok(None);
    }
    let signals = if sys::landlock_version() >= rules::SIGNAL_SCOPE_VERSION {
        SignalScope::Landlock
    } else {
        SignalScope::Filter
    };
    let (level, owned, memory) = (setup.level, setup.identity.owned, setup.memory);
    let network = setup.room.reach.network;
    let filter = |hearing| calls::filter(Circumstances { level, owned, memory, signals, network, hearing });
    match filter(Hearing::Heard).install(Refusal::Announce) {
        Ok(listener) => {
            measures.push("seccomp: refused calls are recorded".to_owned());
            Ok(listener)
        }
        // One listener is all that the kernel allows per process, and the caller may live under one already.
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
            kernel("seccomp", filter(Hearing::Unheard).install(Refusal::Refuse(libc::EPERM)))?;
            measures.push("seccomp: refused calls are not recorded, another listener is in force".to_owned());
            Ok(None)
        }
        Err(error) => kernel("seccomp", Err(error)),
    }
}

fn take_streams(setup: &Setup<'_>) -> io::Result<()> {
    dup2_stdin(File::open("/dev/null")?)?;
    dup2_stdout(&setup.stdout)?;
    dup2_stderr(&setup.stderr)?;
    Ok(())
}

fn limit_resources(setup: &Setup<'_>) -> io::Result<()> {
    let limits = &setup.plan.limits;
    let largest_file = limits.output_bytes.max(limits.scratch_bytes);
    let processes = match (setup.level, setup.identity.owned) {
        // The limit counts all processes of the user: those that exist already come on top.
        (Level::Landlock, Owned::Shared) => limits.processes.saturating_add(tasks_of(setup.identity.uid)?),
        _ => limits.processes.saturating_add(1),
    };
    let mut list = vec![
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_NOFILE, limits.open_files),
        (Resource::RLIMIT_FSIZE, largest_file),
        (Resource::RLIMIT_NPROC, processes),
        (Resource::RLIMIT_CPU, limits.cpu_ms.div_ceil(1_000).saturating_add(1)),
        (Resource::RLIMIT_MSGQUEUE, 0),
        (Resource::RLIMIT_SIGPENDING, limits.processes.saturating_mul(4)),
        (Resource::RLIMIT_RTPRIO, 0),
        (Resource::RLIMIT_NICE, 0),
        (Resource::RLIMIT_MEMLOCK, LOCKED_BYTES_MAX),
    ];
    if setup.memory == MemoryControl::Watched {
        // Address space is more than memory: libraries reserve much that they never touch.
        // One process stays below the limit of all, so that it hears of it as an error and is not killed with the job.
        list.push((Resource::RLIMIT_DATA, limits.memory_bytes - limits.memory_bytes / OTHERS_SHARE));
        list.push((Resource::RLIMIT_AS, limits.memory_bytes.saturating_mul(4).saturating_add(8 << 30)));
    }
    list.into_iter().try_for_each(|(resource, value)| sys::limit(resource, value))
}

/// Threads of all processes of `uid`.
fn tasks_of(uid: u32) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut tasks = 0;
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        if entry.metadata().is_ok_and(|metadata| metadata.uid() == uid) {
            tasks += std::fs::read_dir(entry.path().join("task")).map_or(0, |list| list.count() as u64);
        }
    }
    Ok(tasks)
}

fn become_user(identity: &Identity) -> nix::Result<()> {
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    nix::unistd::setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}

/// Arguments, environment and the program's path.
fn invocation(setup: &Setup<'_>) -> Result<(Vec<CString>, Vec<CString>, CString), SandboxError> {
    let plan = setup.plan;
    let text = |text: &str| CString::new(text).map_err(|_| cannot_start(plan, "a null byte in it"));
    let arguments = plan.command.iter().map(|argument| text(argument)).collect::<Result<Vec<_>, _>>()?;
    let environment = environment(setup);
    let path = environment.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
    let environment: Result<Vec<_>, _> =
        environment.iter().map(|(name, value)| text(&format!("{name}={value}"))).collect();
    let command = plan.command.first().ok_or_else(|| cannot_start(plan, "there is none"))?;
    let program = if command.contains('/') {
        text(command)?
    } else {
        let found = path
            .unwrap_or_default()
            .split(':')
            .map(|folder| format!("{folder}/{command}"))
            .find(|candidate| access(candidate.as_str(), AccessFlags::X_OK).is_ok());
        text(&found.ok_or_else(|| cannot_start(plan, "not found in PATH"))?)?
    };
    Ok((arguments, environment?, program))
}

/// What the sandbox sets, overridden by what the job was granted; `RINGFENCE_*` cannot be overridden (checked before).
fn environment(setup: &Setup<'_>) -> Vec<(String, String)> {
    let room = setup.room;
    let path = |path: &std::path::Path| path.display().to_string();
    let socket = room.channel.socket_path.as_ref().map(|socket| ("RINGFENCE_PROGRESS_SOCKET", path(socket)));
    let fixed = [
        ("PATH", room.search.clone()),
        ("HOME", path(&room.scratch)),
        ("TMPDIR", path(&room.scratch)),
        ("LANG", "C.UTF-8".to_owned()),
        ("RINGFENCE_RUN_ID", setup.plan.run_id.clone()),
        ("RINGFENCE_LEVEL", setup.level.name().to_owned()),
        ("RINGFENCE_IN", path(&room.input)),
        ("RINGFENCE_OUT", path(&room.output_path)),
        ("RINGFENCE_PROGRAM", path(&room.program)),
        ("RINGFENCE_PROGRESS", path(&room.channel.pipe_path)),
    ];
    let granted = &setup.plan.environment;
    let kept = fixed.into_iter().chain(socket).filter(|(name, _)| granted.iter().all(|(granted, _)| granted != name));
    kept.map(|(name, value)| (name.to_owned(), value)).chain(granted.iter().cloned()).collect()
}

fn cannot_start(plan: &Plan, detail: &str) -> SandboxError {
    SandboxError::Command { command: plan.command.first().cloned().unwrap_or_default(), detail: detail.to_owned() }
}

fn kernel<T, E: Into<io::Error>>(step: &str, result: Result<T, E>) -> Result<T, SandboxError> {
    result.map_err(|error| kernel_error(step, &error.into()))
}

fn kernel_error(step: &str, error: &dyn std::error::Error) -> SandboxError {
    SandboxError::Kernel { step: step.to_owned(), detail: error.to_string() }
}

/// One process may have all memory but this part of it.
const OTHERS_SHARE: u64 = 16;
/// Memory that one process may lock, in bytes.
const LOCKED_BYTES_MAX: u64 = 64 << 10;
