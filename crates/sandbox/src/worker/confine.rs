//! What a worker gives up before it looks at foreign bytes.
//!
//! In this order: core dumps and ptrace (not dumpable), resource limits, Landlock without a rule (or with read-only
//! ones), and a seccomp allow-list under which opening, sockets and exec are not there. Threads remain possible: the
//! filter lets `clone` make threads only. What libraries try on their own account (looking at `/proc` or `/sys` for the
//! number of CPUs, asking for file times) fails softly; everything else that is not listed kills the process.

use std::{io, path::Path};

use landlock::{
    ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
    path_beneath_rules,
};
use nix::{libc, sys::resource::Resource};

use super::Limits;
use crate::{
    filter::{Filter, Mode, bits, is, is_null},
    sys,
};

/// Why a process could not be confined; it must not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfineError {
    /// There are threads already, which Landlock would not cover.
    #[error("{threads} threads run already, confinement must come first")]
    Threads {
        /// How many.
        threads: usize,
    },
    /// Landlock failed.
    #[error("landlock: {0}")]
    Landlock(#[from] RulesetError),
    /// Another kernel call failed.
    #[error("{what}: {source}")]
    Kernel {
        /// Which part of the confinement.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Confines this process for good: no file, no network, no exec, no other process; only the descriptors it holds.
///
/// Must be called before the first thread is made. File metadata is not available either: sizes come by seeking.
pub fn confine(limits: &Limits) -> Result<(), ConfineError> {
    prepare(limits)?;
    ruleset()?.restrict_self()?;
    install(&[])
}

/// The same for a process in which a library of others' computes: it makes calls that nobody here has read of, for telemetry and
/// the like. They are refused too, but none ends the process.
pub fn confine_library(limits: &Limits) -> Result<(), ConfineError> {
    prepare(limits)?;
    ruleset()?.restrict_self()?;
    let kernel = |source| ConfineError::Kernel { what: "seccomp", source };
    allowed().install(Mode::AllowOr(libc::EACCES)).map_err(kernel)?;
    Ok(())
}

/// Confines this process for good to reading below `directories` (folders or files): no writing, no network, no exec.
///
/// Must be called before the first thread is made. A directory that cannot be opened is an error.
pub fn confine_readers(directories: &[impl AsRef<Path>], limits: &Limits) -> Result<(), ConfineError> {
    prepare(limits)?;
    for directory in directories {
        let checked = std::fs::metadata(directory);
        checked.map_err(|source| ConfineError::Kernel { what: "the folder to read", source })?;
    }
    let rights = AccessFs::ReadFile | AccessFs::ReadDir;
    ruleset()?.add_rules(path_beneath_rules(directories, rights))?.restrict_self()?;
    install(READING)
}

fn prepare(limits: &Limits) -> Result<(), ConfineError> {
    let kernel = |what| move |source| ConfineError::Kernel { what, source };
    let threads = match sys::thread_count() {
        Ok(threads) => threads,
        // Where `/proc` is closed this process is a job's already; a worker gets here before it makes a thread.
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound) => 1,
        Err(error) => return Err(kernel("counting threads")(error)),
    };
    if threads != 1 {
        return Err(ConfineError::Threads { threads });
    }
    nix::sys::prctl::set_dumpable(false).map_err(io::Error::from).map_err(kernel("core dumps"))?;
    let cpu_seconds = limits.cpu.as_secs().saturating_add(1);
    for (resource, value) in [
        (Resource::RLIMIT_AS, limits.memory_bytes),
        (Resource::RLIMIT_CPU, cpu_seconds),
        (Resource::RLIMIT_NOFILE, limits.open_files),
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_FSIZE, 0),
    ] {
        sys::limit(resource, value).map_err(kernel("resource limits"))?;
    }
    Ok(())
}

/// A rule set that forbids all that this kernel's Landlock can forbid.
fn ruleset() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V9))?
        .handle_access(AccessNet::from_all(ABI::V9))?
        .scope(Scope::from_all(ABI::V9))?
        .create()
}

fn install(further: &[i64]) -> Result<(), ConfineError> {
    let kernel = |source| ConfineError::Kernel { what: "seccomp", source };
    let soft: Vec<i64> = SOFT.iter().copied().filter(|call| !further.contains(call)).collect();
    // The kernel takes the stricter verdict of two filters: what both list is refused softly, not allowed.
    Filter::default().calls(&soft).install(Mode::Refuse(libc::EACCES)).map_err(kernel)?;
    allowed().calls(&soft).calls(further).install(Mode::AllowOnly).map_err(kernel)?;
    Ok(())
}

/// What memory, threads, time and pipes need.
fn allowed() -> Filter {
    let mut filter = Filter::default();
    let namespaces = crate::run::NAMESPACE_FLAGS;
    let thread = (libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD).unsigned_abs();
    let executable = libc::PROT_EXEC.unsigned_abs();
    filter
        .calls(ALLOWED)
        .call_if(libc::SYS_clone, &[bits(0, thread | namespaces, thread)])
        .call_if(libc::SYS_mmap, &[bits(2, executable, 0)])
        .call_if(libc::SYS_mprotect, &[bits(2, executable, 0)])
        .call_if(libc::SYS_tgkill, &[is(0, std::process::id())])
        .call_if(libc::SYS_prlimit64, &[is(0, 0), is_null(2)])
        .call_if(libc::SYS_prctl, &[is(0, libc::PR_SET_NAME.unsigned_abs())])
        .call_if(libc::SYS_prctl, &[is(0, libc::PR_SET_VMA.unsigned_abs())]);
    filter
}

/// Calls that only touch descriptors, memory, threads and clocks that the process has already.
const ALLOWED: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_fcntl,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

/// Calls that libraries make on their own account and survive without.
const SOFT: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_ioctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
];

/// Calls that a reader of folders makes; Landlock says which files.
const READING: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_fadvise64,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
];
