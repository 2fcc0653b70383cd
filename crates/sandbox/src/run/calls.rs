//! The system calls that a job is refused, and their names for the record.
//!
//! A deny-list, because numerical Python uses a large and growing part of the kernel's interface; the namespaces and
//! Landlock stand behind it. The lists are by what a call could reach: other processes, the kernel, the mount tree, keys.

use nix::libc;

use super::{Level, NAMESPACE_FLAGS, identity::Owned, rules::Network};
use crate::filter::{Filter, X32_CALL_BIT, bits, is, is_not, is_not_null};

/// What the list depends on.
#[derive(Clone, Copy)]
pub(super) struct Circumstances {
    /// The level of the run.
    pub(super) level: Level,
    /// Whose processes they are.
    pub(super) owned: Owned,
    /// Whether a memory controller counts what no process maps.
    pub(super) memory: MemoryControl,
    /// Whether Landlock keeps signals within the job.
    pub(super) signals: SignalScope,
    /// Whether the run has a network of its own.
    pub(super) network: Network,
    /// Whether somebody hears of listed calls.
    pub(super) hearing: Hearing,
}

/// Whether the supervisor hears of listed calls, and answers them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hearing {
    /// It does: some calls are listed only so that it may look at them and let them go on.
    Heard,
    /// Listed calls are refused without a word.
    Unheard,
}

/// Whether a memory controller counts everything of the run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MemoryControl {
    /// Yes.
    Cgroup,
    /// No: the supervisor looks at the processes.
    Watched,
}

/// Whether Landlock keeps signals within the job.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SignalScope {
    /// Yes.
    Landlock,
    /// No: the filter refuses process ids instead.
    Filter,
}

/// The filter for a job.
pub(super) fn filter(circumstances: Circumstances) -> Filter {
    let mut filter = Filter::default();
    for (_, number) in ALWAYS {
        filter.call(*number);
    }
    for flag in (0..u32::BITS).map(|bit| 1 << bit).filter(|flag| NAMESPACE_FLAGS & flag != 0) {
        filter.call_if(libc::SYS_clone, &[bits(0, flag, flag)]);
    }
    for command in TERMINAL_AND_ATTRIBUTE_COMMANDS {
        filter.call_if(libc::SYS_ioctl, &[is(1, *command)]);
    }
    filter.call_if(libc::SYS_personality, &[is_not(0, PERSONALITY_LINUX), is_not(0, PERSONALITY_QUERY)]);
    filter.call_if(libc::SYS_prlimit64, &[is_not(0, 0), is_not_null(2)]);
    if circumstances.memory == MemoryControl::Watched {
        for (_, number) in UNMAPPED_MEMORY {
            filter.call(*number);
        }
    }
    match circumstances.level {
        Level::Full | Level::NoCgroup => {
            refuse_foreign_families(&mut filter);
            if circumstances.hearing == Hearing::Heard {
                filter.call(libc::SYS_connect);
            }
            if circumstances.network == Network::OwnNamespace {
                refuse_other_kinds(&mut filter);
            }
        }
        Level::Landlock => refuse_shared_objects(&mut filter, circumstances),
    }
    filter
}

/// With a network namespace of its own, a job may have local and IP sockets, which lead nowhere.
fn refuse_foreign_families(filter: &mut Filter) {
    let [local, inet, inet6] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6].map(i32::unsigned_abs);
    filter.call_if(libc::SYS_socket, &[is_not(0, local), is_not(0, inet), is_not(0, inet6)]);
    for family in [inet, inet6] {
        filter.call_if(libc::SYS_socket, &[is(0, family), bits(1, SOCKET_TYPE_MASK, libc::SOCK_RAW.unsigned_abs())]);
    }
    filter.call_if(libc::SYS_socketpair, &[is_not(0, local)]);
}

/// With a way to hosts, IP sockets are TCP and UDP and nothing else: every further protocol would be one more
/// parser between job and kernel.
fn refuse_other_kinds(filter: &mut Filter) {
    let [stream, datagram] = [libc::SOCK_STREAM, libc::SOCK_DGRAM].map(i32::unsigned_abs);
    for family in [libc::AF_INET, libc::AF_INET6].map(i32::unsigned_abs) {
        for kind in (0..=SOCKET_TYPE_MASK).filter(|kind| ![stream, datagram].contains(kind)) {
            filter.call_if(libc::SYS_socket, &[is(0, family), bits(1, SOCKET_TYPE_MASK, kind)]);
        }
        let [tcp, udp] = [libc::IPPROTO_TCP, libc::IPPROTO_UDP].map(i32::unsigned_abs);
        filter.call_if(libc::SYS_socket, &[is(0, family), is_not(2, 0), is_not(2, tcp), is_not(2, udp)]);
    }
}

/// Without namespaces the job shares the host's sockets, IPC objects and, without an own user, processes and files.
fn refuse_shared_objects(filter: &mut Filter, circumstances: Circumstances) {
    for (_, number) in SHARED_OBJECTS {
        filter.call(*number);
    }
    refuse_pairs_that_could_be_pointed_elsewhere(filter);
    if circumstances.owned == Owned::Alone {
        return;
    }
    for (_, number) in FILE_ATTRIBUTES {
        filter.call(*number);
    }
    let myself = 0;
    for call in [
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setattr,
        libc::SYS_migrate_pages,
        libc::SYS_move_pages,
        libc::SYS_prlimit64,
    ] {
        filter.call_if(call, &[is_not(0, myself)]);
    }
    for (call, one_process) in
        [(libc::SYS_setpriority, PRIORITY_OF_PROCESS), (libc::SYS_ioprio_set, IO_PRIORITY_OF_PROCESS)]
    {
        filter.call_if(call, &[is_not(0, one_process)]);
        filter.call_if(call, &[is_not(1, myself)]);
    }
    if circumstances.signals == SignalScope::Filter {
        refuse_signals(filter);
    }
}

/// A connected pair without a name reaches nobody but the job itself, and asyncio, multiprocessing and Rust's `Command` need
/// one. A datagram socket could be sent anywhere, so only streams and sequenced packets are left.
fn refuse_pairs_that_could_be_pointed_elsewhere(filter: &mut Filter) {
    filter.call_if(libc::SYS_socketpair, &[is_not(0, libc::AF_UNIX.unsigned_abs())]);
    let connected = [libc::SOCK_STREAM, libc::SOCK_SEQPACKET].map(i32::unsigned_abs);
    for kind in (0..=SOCKET_TYPE_MASK).filter(|kind| !connected.contains(kind)) {
        filter.call_if(libc::SYS_socketpair, &[bits(1, SOCKET_TYPE_MASK, kind)]);
    }
}

/// Without Landlock's signal scope a filter can only compare numbers: a job may signal its own process group (0), and
/// threads of its first process may signal each other.
fn refuse_signals(filter: &mut Filter) {
    let first = std::process::id();
    filter.call_if(libc::SYS_kill, &[is_not(0, 0), is_not(0, first)]);
    filter.call_if(libc::SYS_tgkill, &[is_not(0, first)]);
    for (_, number) in SIGNALS_BY_NUMBER {
        filter.call(*number);
    }
    for command in [libc::F_SETOWN, F_SETOWN_EX] {
        filter.call_if(libc::SYS_fcntl, &[is(1, command.unsigned_abs())]);
    }
}

/// What a refused call was, fit for the record.
pub(super) fn describe(call: i32, arguments: [u64; 3]) -> String {
    let Ok(number) = u32::try_from(call) else { return format!("call {call}") };
    if cfg!(target_arch = "x86_64") && number & X32_CALL_BIT != 0 {
        return format!("x32 call {}", number & !X32_CALL_BIT);
    }
    let lists = [ALWAYS, UNMAPPED_MEMORY, SHARED_OBJECTS, FILE_ATTRIBUTES, SIGNALS_BY_NUMBER, CONDITIONAL];
    let name = lists.iter().copied().flatten().find(|(_, listed)| *listed == i64::from(call)).map(|(name, _)| *name);
    let name = name.and_then(|name| name.strip_prefix("SYS_").or(Some(name)));
    let [first, second, _] = arguments;
    match name {
        Some("socket" | "socketpair") => {
            format!("socket of family {} type {}", first & 0xffff_ffff, second & u64::from(SOCKET_TYPE_MASK))
        }
        Some("clone") => format!("clone with flags {first:#x}"),
        Some("ioctl") => format!("ioctl {second:#x}"),
        Some(name @ ("kill" | "tgkill" | "prlimit64" | "setpriority" | "sched_setaffinity" | "ptrace")) => {
            format!("{name} {}", i64::from_ne_bytes(first.to_ne_bytes()))
        }
        Some(name) => name.to_owned(),
        None => format!("call {call}"),
    }
}

/// Refused at every level: namespaces and mounts, other processes' memory, the kernel itself, keys, clocks, and
/// interfaces with a history of holes that training does not need.
const ALWAYS: &[(&str, i64)] = &[
    ("unshare", libc::SYS_unshare),
    ("setns", libc::SYS_setns),
    ("mount", libc::SYS_mount),
    ("umount2", libc::SYS_umount2),
    ("pivot_root", libc::SYS_pivot_root),
    ("chroot", libc::SYS_chroot),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("open_tree", libc::SYS_open_tree),
    ("move_mount", libc::SYS_move_mount),
    ("fsopen", libc::SYS_fsopen),
    ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount),
    ("fspick", libc::SYS_fspick),
    ("ptrace", libc::SYS_ptrace),
    ("process_vm_readv", libc::SYS_process_vm_readv),
    ("process_vm_writev", libc::SYS_process_vm_writev),
    ("process_madvise", libc::SYS_process_madvise),
    ("process_mrelease", libc::SYS_process_mrelease),
    ("kcmp", libc::SYS_kcmp),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("keyctl", libc::SYS_keyctl),
    ("add_key", libc::SYS_add_key),
    ("request_key", libc::SYS_request_key),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("io_uring_enter", libc::SYS_io_uring_enter),
    ("io_uring_register", libc::SYS_io_uring_register),
    ("bpf", libc::SYS_bpf),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("memfd_secret", libc::SYS_memfd_secret),
    ("fanotify_init", libc::SYS_fanotify_init),
    ("fanotify_mark", libc::SYS_fanotify_mark),
    ("name_to_handle_at", libc::SYS_name_to_handle_at),
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("lookup_dcookie", libc::SYS_lookup_dcookie),
    ("init_module", libc::SYS_init_module),
    ("finit_module", libc::SYS_finit_module),
    ("delete_module", libc::SYS_delete_module),
    ("kexec_load", libc::SYS_kexec_load),
    ("reboot", libc::SYS_reboot),
    ("swapon", libc::SYS_swapon),
    ("swapoff", libc::SYS_swapoff),
    ("acct", libc::SYS_acct),
    ("quotactl", libc::SYS_quotactl),
    ("quotactl_fd", libc::SYS_quotactl_fd),
    ("syslog", libc::SYS_syslog),
    ("vhangup", libc::SYS_vhangup),
    ("nfsservctl", libc::SYS_nfsservctl),
    ("settimeofday", libc::SYS_settimeofday),
    ("clock_settime", libc::SYS_clock_settime),
    ("adjtimex", libc::SYS_adjtimex),
    ("clock_adjtime", libc::SYS_clock_adjtime),
    ("sethostname", libc::SYS_sethostname),
    ("setdomainname", libc::SYS_setdomainname),
    ("statmount", 457),
    ("listmount", 458),
    ("lsm_set_self_attr", 460),
    ("open_tree_attr", 467),
    #[cfg(target_arch = "x86_64")]
    ("kexec_file_load", libc::SYS_kexec_file_load),
    #[cfg(target_arch = "x86_64")]
    ("iopl", libc::SYS_iopl),
    #[cfg(target_arch = "x86_64")]
    ("ioperm", libc::SYS_ioperm),
    #[cfg(target_arch = "x86_64")]
    ("modify_ldt", libc::SYS_modify_ldt),
    #[cfg(target_arch = "x86_64")]
    ("uselib", libc::SYS_uselib),
    #[cfg(target_arch = "x86_64")]
    ("ustat", libc::SYS_ustat),
    #[cfg(target_arch = "x86_64")]
    ("sysfs", libc::SYS_sysfs),
    #[cfg(target_arch = "x86_64")]
    ("_sysctl", libc::SYS__sysctl),
];

/// Refused where no memory controller counts: memory that no process maps, and that therefore no watch sees.
const UNMAPPED_MEMORY: &[(&str, i64)] = &[("memfd_create", libc::SYS_memfd_create), ("shmget", libc::SYS_shmget)];

/// Refused at level `landlock`: objects that all processes of the host, or of its user, share.
const SHARED_OBJECTS: &[(&str, i64)] = &[
    ("socket", libc::SYS_socket),
    ("shmget", libc::SYS_shmget),
    ("shmat", libc::SYS_shmat),
    ("shmctl", libc::SYS_shmctl),
    ("semget", libc::SYS_semget),
    ("semop", libc::SYS_semop),
    ("semtimedop", libc::SYS_semtimedop),
    ("semctl", libc::SYS_semctl),
    ("msgget", libc::SYS_msgget),
    ("msgsnd", libc::SYS_msgsnd),
    ("msgrcv", libc::SYS_msgrcv),
    ("msgctl", libc::SYS_msgctl),
    ("mq_open", libc::SYS_mq_open),
    ("mq_unlink", libc::SYS_mq_unlink),
    ("inotify_init1", libc::SYS_inotify_init1),
    ("inotify_add_watch", libc::SYS_inotify_add_watch),
    #[cfg(target_arch = "x86_64")]
    ("inotify_init", libc::SYS_inotify_init),
];

/// Refused at level `landlock` without an own user: changes to files that Landlock does not cover.
const FILE_ATTRIBUTES: &[(&str, i64)] = &[
    ("fchmod", libc::SYS_fchmod),
    ("fchmodat", libc::SYS_fchmodat),
    ("fchmodat2", libc::SYS_fchmodat2),
    ("fchown", libc::SYS_fchown),
    ("fchownat", libc::SYS_fchownat),
    ("setxattr", libc::SYS_setxattr),
    ("lsetxattr", libc::SYS_lsetxattr),
    ("fsetxattr", libc::SYS_fsetxattr),
    ("removexattr", libc::SYS_removexattr),
    ("lremovexattr", libc::SYS_lremovexattr),
    ("fremovexattr", libc::SYS_fremovexattr),
    ("utimensat", libc::SYS_utimensat),
    ("setxattrat", 463),
    ("removexattrat", 466),
    ("file_setattr", 469),
    #[cfg(target_arch = "x86_64")]
    ("chmod", libc::SYS_chmod),
    #[cfg(target_arch = "x86_64")]
    ("chown", libc::SYS_chown),
    #[cfg(target_arch = "x86_64")]
    ("lchown", libc::SYS_lchown),
    #[cfg(target_arch = "x86_64")]
    ("utime", libc::SYS_utime),
    #[cfg(target_arch = "x86_64")]
    ("utimes", libc::SYS_utimes),
    #[cfg(target_arch = "x86_64")]
    ("futimesat", libc::SYS_futimesat),
];

/// Refused where only numbers can be compared: signals to any process.
const SIGNALS_BY_NUMBER: &[(&str, i64)] = &[
    ("tkill", libc::SYS_tkill),
    ("rt_sigqueueinfo", libc::SYS_rt_sigqueueinfo),
    ("rt_tgsigqueueinfo", libc::SYS_rt_tgsigqueueinfo),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
];

/// Refused with some arguments only; here for their names.
const CONDITIONAL: &[(&str, i64)] = &[
    ("socketpair", libc::SYS_socketpair),
    ("clone", libc::SYS_clone),
    ("ioctl", libc::SYS_ioctl),
    ("personality", libc::SYS_personality),
    ("prlimit64", libc::SYS_prlimit64),
    ("sched_setaffinity", libc::SYS_sched_setaffinity),
    ("sched_setscheduler", libc::SYS_sched_setscheduler),
    ("sched_setparam", libc::SYS_sched_setparam),
    ("sched_setattr", libc::SYS_sched_setattr),
    ("migrate_pages", libc::SYS_migrate_pages),
    ("move_pages", libc::SYS_move_pages),
    ("setpriority", libc::SYS_setpriority),
    ("ioprio_set", libc::SYS_ioprio_set),
    ("kill", libc::SYS_kill),
    ("tgkill", libc::SYS_tgkill),
    ("fcntl", libc::SYS_fcntl),
];

/// Terminal input of others (`TIOCSTI`, `TIOCLINUX`, `TIOCCONS`, `TIOCSETD`) and file attributes that Landlock does not
/// cover (`FS_IOC_SETFLAGS`, `FS_IOC_FSSETXATTR`).
const TERMINAL_AND_ATTRIBUTE_COMMANDS: &[u32] = &[0x5412, 0x541c, 0x541d, 0x5423, 0x4008_6602, 0x401c_5820];
/// `PER_LINUX`.
const PERSONALITY_LINUX: u32 = 0;
/// Asks for the present personality.
const PERSONALITY_QUERY: u32 = u32::MAX;
/// The bits of a socket's type that are not flags.
const SOCKET_TYPE_MASK: u32 = 0xf;
/// `PRIO_PROCESS`.
const PRIORITY_OF_PROCESS: u32 = 0;
/// `IOPRIO_WHO_PROCESS`.
const IO_PRIORITY_OF_PROCESS: u32 = 1;
/// `F_SETOWN_EX`.
const F_SETOWN_EX: i32 = 15;
