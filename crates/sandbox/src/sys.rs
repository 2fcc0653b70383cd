//! The kernel calls for which no safe wrapper exists; every other module of this crate is safe code.
//!
//! Each function does one call, takes owned or borrowed Rust values, and returns [`io::Result`]. Nothing here decides
//! policy. Process creation is only sound while the process has one thread: [`clone_process`] checks that itself.

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use nix::{libc, sys::resource::Resource, unistd::Pid};
use seccompiler::sock_filter;

/// Which side of [`clone_process`] runs.
pub(crate) enum Side {
    /// The caller; the child has this process id.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Makes a child with its own copy of memory, in the new namespaces that `namespaces` names (`CLONE_NEW*`) and, from its
/// first moment, in the control group (version 2) whose folder `group` is.
///
/// Refuses (`EBUSY`) when this process has more than one thread: the child would inherit locks nobody releases.
#[expect(unsafe_code, reason = "clone3(2) with namespace flags has no safe wrapper")]
pub(crate) fn clone_process(namespaces: libc::c_int, group: Option<BorrowedFd<'_>>) -> io::Result<Side> {
    if thread_count()? != 1 {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    let result = if let Some(group) = group {
        let mut request = [0_u64; CLONE_WORDS];
        let [flags, .., cgroup] = &mut request;
        *flags = u64::from(namespaces.unsigned_abs()) | CLONE_INTO_CGROUP;
        *cgroup = u64::from(group.as_raw_fd().unsigned_abs());
        if let Some(exit_signal) = request.get_mut(CLONE_EXIT_SIGNAL) {
            *exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
        }
        // SAFETY: without CLONE_VM and with a null stack this is fork(2): the child continues on a private copy of this
        // stack. The process has exactly one thread (checked above), so no lock of another thread can be held in the
        // copy. The request has the size given and outlives the call.
        unsafe { libc::syscall(libc::SYS_clone3, request.as_ptr(), size_of_val(&request)) }
    } else {
        let flags = libc::c_long::from(namespaces | libc::SIGCHLD);
        // SAFETY: as above; clone(2) takes plain numbers here.
        unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, 0_usize, 0_usize, 0_usize) }
    };
    match check(result)? {
        0 => Ok(Side::Child),
        pid => i32::try_from(pid).map(|pid| Side::Parent(Pid::from_raw(pid))).map_err(io::Error::other),
    }
}

/// Threads of this process.
pub(crate) fn thread_count() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// A descriptor that becomes readable when `process`, a child of ours, ends.
#[expect(unsafe_code, reason = "pidfd_open(2) has no safe wrapper in nix")]
pub(crate) fn process_handle(process: Pid) -> io::Result<OwnedFd> {
    // SAFETY: plain integers.
    owned(check(unsafe { libc::syscall(libc::SYS_pidfd_open, process.as_raw(), 0_u32) })?)
}

/// Detached copy of the mount tree at `path`, to be placed later by [`attach_mount`].
#[expect(unsafe_code, reason = "open_tree(2) has no safe wrapper")]
pub(crate) fn detach_tree(path: &CString) -> io::Result<OwnedFd> {
    let flags = libc::c_long::from(libc::OPEN_TREE_CLONE)
        | libc::c_long::from(libc::OPEN_TREE_CLOEXEC)
        | libc::c_long::from(libc::AT_RECURSIVE);
    // SAFETY: `path` is a NUL-terminated string that outlives the call.
    let fd = check(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })?;
    owned(fd)
}

/// Sets mount attributes (`MOUNT_ATTR_*`) on the whole tree behind `tree`.
pub(crate) fn restrict_tree(tree: BorrowedFd<'_>, attributes: u64) -> io::Result<()> {
    set_mount_attributes(tree.as_raw_fd(), c"", libc::AT_EMPTY_PATH | libc::AT_RECURSIVE, attributes)
}

/// Sets mount attributes on the single mount at `path`.
pub(crate) fn restrict_mount(path: &std::ffi::CStr, attributes: u64) -> io::Result<()> {
    set_mount_attributes(libc::AT_FDCWD, path, 0, attributes)
}

#[expect(unsafe_code, reason = "mount_setattr(2) has no safe wrapper")]
fn set_mount_attributes(at: RawFd, path: &std::ffi::CStr, flags: libc::c_int, attributes: u64) -> io::Result<()> {
    let request = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: `path` and `request` outlive the call, and the size given is that of `request`.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            at,
            path.as_ptr(),
            flags,
            std::ptr::from_ref(&request),
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}

/// Places a tree of [`detach_tree`] at `target`.
#[expect(unsafe_code, reason = "move_mount(2) has no safe wrapper")]
pub(crate) fn attach_mount(tree: BorrowedFd<'_>, target: &std::ffi::CStr) -> io::Result<()> {
    // SAFETY: both paths are NUL-terminated and outlive the call; MOVE_MOUNT_F_EMPTY_PATH moves what `tree` refers to.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            libc::c_long::from(libc::MOVE_MOUNT_F_EMPTY_PATH),
        )
    })?;
    Ok(())
}

/// Marks every descriptor from 3 upwards close-on-exec.
#[expect(unsafe_code, reason = "close_range(2) has no safe wrapper")]
pub(crate) fn close_all_on_exec() -> io::Result<()> {
    // SAFETY: CLOSE_RANGE_CLOEXEC closes nothing now; it sets a flag on descriptors of this process.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })?;
    Ok(())
}

/// Lets `fd` pass through exec(2).
#[expect(unsafe_code, reason = "called between fork and exec, where only async-signal-safe calls are allowed")]
pub(crate) fn keep_on_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_SETFD changes a flag of a descriptor number; a wrong number is an error return, not undefined.
    check(libc::c_long::from(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }))?;
    Ok(())
}

/// Takes ownership of descriptor `fd`, which this process was started with.
#[expect(unsafe_code, reason = "inherited descriptors arrive as bare numbers")]
pub(crate) fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    if fd <= libc::STDERR_FILENO {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: F_GETFD only reads a flag.
    check(libc::c_long::from(unsafe { libc::fcntl(fd, libc::F_GETFD) }))?;
    // SAFETY: the number is open (checked above), is not a standard stream, and the caller adopts each number once.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Drops every capability of this thread, from the bounding and ambient sets too, and checks that none is left.
#[expect(unsafe_code, reason = "capset(2) and the capability options of prctl(2) have no safe wrapper in nix")]
pub(crate) fn drop_capabilities() -> io::Result<()> {
    for capability in 0..CAPABILITY_NUMBERS {
        // SAFETY: these options take plain integers.
        let held = unsafe { libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) };
        if held == 1 {
            // Without CAP_SETPCAP (an ordinary user outside a user namespace) this fails: then no_new_privs alone keeps
            // the bounding set unused.
            // SAFETY: as above.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        }
    }
    // SAFETY: plain integers.
    check(libc::c_long::from(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) }))?;
    let header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut sets = [CapabilitySets::default(); 2];
    // SAFETY: version 3 reads a header and two sets; both outlive the calls.
    check(unsafe { libc::syscall(libc::SYS_capset, std::ptr::from_ref(&header), sets.as_ptr()) })?;
    // SAFETY: as above; capget writes the two sets.
    check(unsafe { libc::syscall(libc::SYS_capget, std::ptr::from_ref(&header), sets.as_mut_ptr()) })?;
    let clean = sets.iter().all(|set| set.effective == 0 && set.permitted == 0 && set.inheritable == 0);
    if clean { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EPERM)) }
}

/// Whether a seccomp filter is in force for this thread.
#[expect(unsafe_code, reason = "PR_GET_SECCOMP has no safe wrapper in nix")]
pub(crate) fn has_filter() -> io::Result<bool> {
    // SAFETY: plain integers.
    let mode = check(libc::c_long::from(unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) }))?;
    Ok(mode == libc::c_long::from(libc::SECCOMP_MODE_FILTER))
}

/// Whether this thread has, or could take, any capability.
#[expect(unsafe_code, reason = "capget(2) has no safe wrapper in nix")]
pub(crate) fn holds_capability() -> io::Result<bool> {
    let header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut sets = [CapabilitySets::default(); 2];
    // SAFETY: version 3 reads a header and writes two sets; both outlive the call.
    check(unsafe { libc::syscall(libc::SYS_capget, std::ptr::from_ref(&header), sets.as_mut_ptr()) })?;
    Ok(sets.iter().any(|set| set.effective != 0 || set.permitted != 0))
}

/// Lets this thread keep through exec what it may do now: the opposite of [`drop_capabilities`].
#[cfg(feature = "ablation")]
#[expect(unsafe_code, reason = "capset(2) and the capability options of prctl(2) have no safe wrapper in nix")]
pub(crate) fn keep_capabilities() -> io::Result<()> {
    let header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut sets = [CapabilitySets::default(); 2];
    // SAFETY: version 3 reads a header and writes two sets; both outlive the calls.
    check(unsafe { libc::syscall(libc::SYS_capget, std::ptr::from_ref(&header), sets.as_mut_ptr()) })?;
    for set in &mut sets {
        set.inheritable = set.permitted;
    }
    // SAFETY: as above; capset only reads the two sets.
    check(unsafe { libc::syscall(libc::SYS_capset, std::ptr::from_ref(&header), sets.as_ptr()) })?;
    for capability in 0..CAPABILITY_NUMBERS {
        // SAFETY: plain integers. Numbers that are not held, or do not exist, are refused, which changes nothing.
        unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, capability, 0, 0) };
    }
    Ok(())
}

/// Installs a seccomp program for the calling thread; with `Listener::Wanted`, returns the descriptor on which refused
/// calls are announced. Needs no_new_privs.
#[expect(unsafe_code, reason = "seccompiler cannot ask for a listener")]
pub(crate) fn install_filter(program: &[sock_filter], listener: Listener) -> io::Result<Option<OwnedFd>> {
    let length = libc::c_ushort::try_from(program.len()).map_err(io::Error::other)?;
    let request = libc::sock_fprog { len: length, filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut() };
    let flags = match listener {
        Listener::Wanted => libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
        Listener::None => 0,
    };
    // SAFETY: `seccompiler::sock_filter` is repr(C) with the kernel's layout; the kernel copies `len` of them and
    // writes nothing. Both values outlive the call.
    let result = check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, std::ptr::from_ref(&request))
    })?;
    match listener {
        Listener::Wanted => owned(result).map(Some),
        Listener::None => Ok(None),
    }
}

/// Whether refused calls are to be announced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    /// On a descriptor.
    Wanted,
    /// Not at all.
    None,
}

/// A refused call, as the kernel announces it.
pub(crate) struct Notice {
    /// Ticket for [`answer_notice`].
    pub(crate) id: u64,
    /// Number of the call.
    pub(crate) call: i32,
    /// First three arguments.
    pub(crate) arguments: [u64; 3],
    /// The thread that calls, as this process knows it.
    pub(crate) thread: u32,
}

/// Takes the next refused call from a listener; `None` if the caller is gone already.
#[expect(unsafe_code, reason = "SECCOMP_IOCTL_NOTIF_RECV has no safe wrapper")]
pub(crate) fn receive_notice(listener: BorrowedFd<'_>) -> io::Result<Option<Notice>> {
    // A later kernel may write a longer record than this C library knows: leave it room.
    let mut room = [0_u64; NOTICE_WORDS];
    const { assert!(size_of::<libc::seccomp_notif>() <= NOTICE_WORDS * 8) };
    // SAFETY: `room` is zeroed as the kernel demands, aligned for u64, and larger than the record.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, room.as_mut_ptr()) };
    match check(libc::c_long::from(result)) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        other => other?,
    };
    // SAFETY: the kernel filled the record; every bit pattern of its integers is valid.
    let record = unsafe { room.as_ptr().cast::<libc::seccomp_notif>().read() };
    let [first, second, third, ..] = record.data.args;
    Ok(Some(Notice { id: record.id, call: record.data.nr, arguments: [first, second, third], thread: record.pid }))
}

/// What becomes of a call that was announced.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// It returns this error.
    Refuse(i32),
    /// It goes on as if nobody had looked.
    GoOn,
}

/// Answers an announced call.
#[expect(unsafe_code, reason = "SECCOMP_IOCTL_NOTIF_SEND has no safe wrapper")]
pub(crate) fn answer_notice(listener: BorrowedFd<'_>, id: u64, answer: Answer) -> io::Result<()> {
    let (error, flags) = match answer {
        Answer::Refuse(errno) => (-errno, 0),
        // The constant is a wider type than the field that takes it.
        Answer::GoOn => (0, u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or(1)),
    };
    let mut answer = libc::seccomp_notif_resp { id, val: 0, error, flags };
    // SAFETY: `answer` has the kernel's layout and outlives the call.
    let result =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, std::ptr::from_mut(&mut answer)) };
    match check(libc::c_long::from(result)) {
        // The caller died or was interrupted meanwhile.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Newest Landlock interface that the kernel offers; 0 if there is none.
#[expect(unsafe_code, reason = "the landlock crate does not tell the version before a rule set exists")]
pub(crate) fn landlock_version() -> u32 {
    const CREATE_RULESET_VERSION: libc::c_long = 1;
    let nothing = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag the kernel reads no attribute and only returns a number.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, CREATE_RULESET_VERSION) };
    u32::try_from(version).unwrap_or(0)
}

/// Sets soft and hard limit of `resource` to `value`, or to the hard limit in force if that is lower.
pub(crate) fn limit(resource: Resource, value: u64) -> io::Result<()> {
    let (_, hard) = nix::sys::resource::getrlimit(resource)?;
    let value = value.min(hard);
    Ok(nix::sys::resource::setrlimit(resource, value, value)?)
}

/// Sets or clears `O_NONBLOCK`.
pub(crate) fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Whether the other side of `fd` is gone for good.
pub(crate) fn has_hung_up(fd: BorrowedFd<'_>) -> io::Result<bool> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut polled = [PollFd::new(fd, PollFlags::empty())];
    poll(&mut polled, PollTimeout::ZERO)?;
    Ok(polled.iter().any(|entry| entry.any() == Some(true)))
}

/// Sends signal 9 to this process when its parent thread ends. Async-signal-safe.
#[expect(unsafe_code, reason = "called between fork and exec as well")]
pub(crate) fn die_with_parent() -> io::Result<()> {
    // SAFETY: plain integers.
    check(libc::c_long::from(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) }))?;
    Ok(())
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[expect(unsafe_code, reason = "raw calls return descriptors as bare numbers")]
fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilitySets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `CLONE_INTO_CGROUP` of <linux/sched.h>.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// 64-bit words of `struct clone_args`; the last one is the control group (`CLONE_ARGS_SIZE_VER2`).
const CLONE_WORDS: usize = 11;
/// Place of the exit signal among them.
const CLONE_EXIT_SIGNAL: usize = 4;
/// `_LINUX_CAPABILITY_VERSION_3` of <linux/capability.h>.
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
/// Capability numbers are bits of two 32-bit words.
const CAPABILITY_NUMBERS: libc::c_ulong = 64;
/// Room for one seccomp notice, in 8-byte words; the record has 10 in Linux 6.
const NOTICE_WORDS: usize = 64;
