//! Processes of the host: seen, signalled, read, changed.

use std::{fs, os::fd::AsRawFd, time::Duration};

use nix::libc;

use super::{Attempt, Outcome, Targets, address, call, door, number, raw, tried};

pub(crate) const ATTEMPTS: &[Attempt] = &[
    Attempt::new("see-process", "read a process's command line", |targets| {
        tried(fs::read(format!("/proc/{}/cmdline", targets.victim)))
    }),
    Attempt::new("read-environment", "read a process's environment", |targets| {
        tried(fs::read(format!("/proc/{}/environ", targets.victim)))
    }),
    Attempt::new("open-memory", "open a process's memory", |targets| {
        tried(fs::File::open(format!("/proc/{}/mem", targets.victim)))
    }),
    Attempt::new("open-keeper-memory", "open the memory of the sandbox's first process", |_| {
        tried(fs::File::open(format!("/proc/{}/mem", parent_of(nix::unistd::getppid().as_raw()))))
    }),
    Attempt::new("kill", "signal a process", |targets| call(libc::SYS_kill, &[number(targets.victim), 0])),
    Attempt::new("tgkill", "signal a thread", |targets| {
        call(libc::SYS_tgkill, &[number(targets.victim), number(targets.victim), 0])
    }),
    Attempt::new("tkill", "signal a thread, the old call", |targets| {
        call(libc::SYS_tkill, &[number(targets.victim), 0])
    }),
    Attempt::new("rt-sigqueueinfo", "signal a process with data", |targets| {
        let info = [0_u64; 16];
        call(libc::SYS_rt_sigqueueinfo, &[number(targets.victim), 0, address(&info)])
    }),
    Attempt::new("pidfd-send-signal", "signal through a handle", |targets| {
        call(libc::SYS_pidfd_send_signal, &[handle(targets)?, 0, 0, 0])
    }),
    Attempt::new("pidfd-getfd", "take a descriptor of a process", |targets| {
        call(libc::SYS_pidfd_getfd, &[handle(targets)?, 1, 0])
    }),
    Attempt::new("pidfd-getfd-of-child", "take a descriptor of its own child, as a debugger does", |_| {
        door(libc::SYS_pidfd_getfd, &[number(-1), 1, 0])
    }),
    Attempt::new("ptrace-attach", "trace a process", |targets| {
        call(libc::SYS_ptrace, &[PTRACE_SEIZE, number(targets.victim), 0, 0])
    }),
    Attempt::new("ptrace-self", "be traced", |_| door(libc::SYS_ptrace, &[0, 0, 0, 0])),
    Attempt::new("process-vm-readv", "read a process's memory", |targets| copy(targets, libc::SYS_process_vm_readv)),
    Attempt::new("process-vm-writev", "write a process's memory", |targets| copy(targets, libc::SYS_process_vm_writev)),
    Attempt::new("process-madvise", "advise on a process's memory", |_| {
        door(libc::SYS_process_madvise, &[number(-1), 0, 0, 20, 0])
    }),
    Attempt::new("kcmp", "compare two processes inside the kernel", |_| {
        let own = std::process::id() as usize;
        door(libc::SYS_kcmp, &[own, own, 0, 0, 0])
    }),
    Attempt::new("prlimit", "change a process's limits", |targets| {
        let limit = [4_096_u64, 4_096];
        call(libc::SYS_prlimit64, &[number(targets.victim), 7, address(&limit), 0])
    }),
    Attempt::new("sched-setaffinity", "move a process to one core", |targets| {
        let mask = [u64::MAX];
        call(libc::SYS_sched_setaffinity, &[number(targets.victim), 8, address(&mask)])
    }),
    Attempt::new("sched-setscheduler", "slow a process down", |targets| {
        let priority = [0_i32];
        call(libc::SYS_sched_setscheduler, &[number(targets.victim), 0, address(&priority)])
    }),
    Attempt::new("setpriority", "lower a process's priority", |targets| {
        call(libc::SYS_setpriority, &[0, number(targets.victim), 0])
    }),
    Attempt::new("ioprio-set", "lower a process's disk priority", |targets| {
        call(libc::SYS_ioprio_set, &[1, number(targets.victim), 0x4004])
    }),
    Attempt::new("migrate-pages", "move a process's memory", |targets| {
        call(libc::SYS_migrate_pages, &[number(targets.victim), 64, address(&[1_u64]), address(&[1_u64])])
    }),
    Attempt::new("signal-through-owner", "signal a process through a pipe's owner", signal_through_owner),
];

fn handle(targets: &Targets) -> Result<usize, String> {
    let handle = raw(libc::SYS_pidfd_open, &[number(targets.victim), 0]).map_err(|error| error.to_string())?;
    Ok(handle.cast_unsigned().try_into().unwrap())
}

fn copy(targets: &Targets, call_number: libc::c_long) -> Outcome {
    let buffer = [0_u8; 8];
    let local = [address(&buffer), 8];
    let remote = [0x1000_usize, 8];
    match raw(call_number, &[number(targets.victim), address(&local), 1, address(&remote), 1, 0]) {
        // It was let in; there just is nothing at that address.
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Ok(error.to_string()),
        other => tried(other),
    }
}

fn signal_through_owner(targets: &Targets) -> Outcome {
    let (reader, writer) = nix::unistd::pipe().map_err(|error| error.to_string())?;
    let step = |command: i32, value: usize| {
        raw(libc::SYS_fcntl, &[number(reader.as_raw_fd()), number(command), value]).map_err(|error| error.to_string())
    };
    step(libc::F_SETOWN, number(targets.decoy))?;
    step(F_SETSIG, number(libc::SIGUSR1))?;
    step(libc::F_SETFL, number(libc::O_ASYNC))?;
    nix::unistd::write(&writer, b"x").map_err(|error| error.to_string())?;
    // The kernel answers at sending time, silently: the caller looks whether the process is still there.
    std::thread::sleep(Duration::from_millis(20));
    Err("the owner was set; the signal was dropped if the process lives".to_owned())
}

fn parent_of(process: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map(|(_, after)| after.split_ascii_whitespace());
    fields.and_then(|mut fields| fields.nth(1)?.parse().ok()).unwrap_or(1)
}

/// `PTRACE_SEIZE`: attaches without stopping.
const PTRACE_SEIZE: usize = 0x4206;
/// `F_SETSIG`.
const F_SETSIG: i32 = 10;
