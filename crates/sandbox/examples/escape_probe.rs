//! Tries to get out of the sandbox, one way after the other, and prints one JSON line per attempt:
//! `{"attempt":…,"held":…,"detail":…}`. The test reads what lies outside from `$RINGFENCE_IN/targets.json`.
//!
//! An attempt that the kernel refuses, or that leads nowhere, has been held. Attempts that could end the probe itself run
//! in a child.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]
#![expect(clippy::print_stdout, reason = "the lines go to standard output")]

use std::{
    env, fs,
    io::{self, Read, Write},
    net::{TcpStream, UdpSocket},
    os::{
        fd::AsRawFd,
        linux::net::SocketAddrExt,
        unix::{
            fs::{OpenOptionsExt, symlink},
            net::{SocketAddr, UnixStream},
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use nix::libc;
use serde::Deserialize;
use serde_json::json;

/// What lies outside.
#[derive(Deserialize)]
struct Targets {
    /// A world-readable file with a secret.
    secret: PathBuf,
    /// A file that the caller owns.
    file: PathBuf,
    /// A folder that everybody may write to.
    folder: PathBuf,
    /// A Unix socket that everybody may connect to.
    socket: PathBuf,
    /// An abstract Unix socket.
    abstract_name: String,
    /// A TCP and a UDP port on the loopback interface.
    tcp_port: u16,
    udp_port: u16,
    /// A process of the caller.
    victim: i32,
    /// A shared memory segment that everybody may attach.
    segment: i32,
    /// Name of an environment variable of the caller.
    variable: String,
}

type Outcome = Result<String, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("fork-bomb") => fork_bomb(),
        Some("memory-bomb") => memory_bomb(),
        Some("i386") => i386_call(),
        _ => {}
    }
    let input = PathBuf::from(env::var_os("RINGFENCE_IN").unwrap());
    let targets: Targets = serde_json::from_slice(&fs::read(input.join("targets.json")).unwrap()).unwrap();
    let output = PathBuf::from(env::var_os("RINGFENCE_OUT").unwrap());
    // A file beyond its limit raises a signal, whose default would end the probe.
    nix::sys::signal::sigprocmask(
        nix::sys::signal::SigmaskHow::SIG_BLOCK,
        Some(&nix::sys::signal::SigSet::from(nix::sys::signal::Signal::SIGXFSZ)),
        None,
    )
    .unwrap();
    inherited(&targets);
    files(&targets, &input);
    processes(&targets);
    sockets(&targets);
    kernel();
    namespaces();
    shared_objects(&targets);
    bombs(&output);
    plant(&targets, &output);
    ExitCode::SUCCESS
}

/// Prints whether `attempt` was held: it was, if it failed.
fn attempt(name: &str, attempt: impl FnOnce() -> Outcome) {
    let (held, detail) = match attempt() {
        Ok(gain) => (false, gain),
        Err(refusal) => (true, refusal),
    };
    println!("{}", json!({"attempt": name, "held": held, "detail": detail}));
}

fn tried<T>(result: io::Result<T>) -> Outcome {
    result.map(|_| "it worked".to_owned()).map_err(|error| error.to_string())
}

/// One raw system call; success is an escape.
fn call(name: &str, number: libc::c_long, arguments: &[usize]) {
    attempt(name, || tried(raw(number, arguments)));
}

#[expect(unsafe_code, reason = "the probe makes calls that no library offers")]
fn raw(number: libc::c_long, arguments: &[usize]) -> io::Result<libc::c_long> {
    let at = |index: usize| arguments.get(index).copied().unwrap_or(0);
    // SAFETY: pointers among the arguments are null, or addresses of values that the caller keeps alive; the calls that
    // would change this process are expected to be refused, and those that may succeed are harmless to its memory.
    let result = unsafe { libc::syscall(number, at(0), at(1), at(2), at(3), at(4), at(5)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn address<T: ?Sized>(value: &T) -> usize {
    std::ptr::from_ref(value).cast::<u8>().addr()
}

fn number(value: i32) -> usize {
    isize::try_from(value).unwrap().cast_unsigned()
}

fn files(targets: &Targets, input: &Path) {
    attempt("read a file of the host", || tried(fs::read(&targets.secret)));
    attempt("list a folder of the host", || tried(fs::read_dir(&targets.folder)));
    attempt("read /etc/shadow", || tried(fs::read("/etc/shadow")));
    attempt("list /root", || tried(fs::read_dir("/root")));
    attempt("list /home", || tried(fs::read_dir("/home")));
    attempt("write a file of the host", || tried(fs::write(&targets.file, b"x")));
    attempt("truncate a file of the host", || {
        let path = c_path(&targets.file);
        tried(raw(libc::SYS_truncate, &[address(path.as_c_str()), 0]))
    });
    attempt("make a file on the host", || tried(fs::write(targets.folder.join("new"), b"x")));
    attempt("make a folder on the host", || tried(fs::create_dir(targets.folder.join("newdir"))));
    attempt("rename a file of the host", || tried(fs::rename(&targets.file, targets.folder.join("moved"))));
    attempt("remove a file of the host", || tried(fs::remove_file(&targets.file)));
    attempt("run a program of the host's folders", || {
        tried(Command::new(targets.folder.join("program")).arg("i386").status())
    });
    attempt("reach the host through /proc/1/root", || {
        tried(fs::read(Path::new("/proc/1/root").join(targets.secret.strip_prefix("/").unwrap())))
    });
    attempt("climb out with ..", || {
        tried(fs::read(input.join("../../../../../..").join(targets.secret.strip_prefix("/").unwrap())))
    });
    for device in ["mem", "kmsg", "vda", "sda", "tty", "ptmx", "fuse", "kvm", "vsock", "net/tun", "loop0", "pts/0"] {
        attempt(&format!("open /dev/{device}"), || {
            tried(fs::OpenOptions::new().read(true).write(true).open(Path::new("/dev").join(device)))
        });
    }
    for path in [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/hostname",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sysrq-trigger",
        "/proc/self/oom_score_adj",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/fs/cgroup/memory/cgroup.procs",
        "/sys/fs/cgroup/cgroup.procs",
    ] {
        attempt(&format!("write {path}"), || tried(fs::OpenOptions::new().write(true).open(path)));
    }
    attempt("write its inputs", || tried(fs::write(input.join("targets.json"), b"x")));
    attempt("add to its inputs", || tried(fs::write(input.join("more"), b"x")));
    attempt("make its inputs writable", || {
        let path = c_path(&input.join("targets.json"));
        raw(libc::SYS_fchmodat, &[number(libc::AT_FDCWD), address(path.as_c_str()), 0o666])
            .and_then(|_| fs::write(input.join("targets.json"), b"x"))
            .map(|()| "it worked".to_owned())
            .map_err(|error| error.to_string())
    });
    attempt("write its own program", || tried(fs::write(env::current_exe().unwrap_or_default(), b"x")));
    attempt("write into the system", || tried(fs::write("/usr/bin/ringfence-was-here", b"x")));
    let path = c_path(&targets.file);
    let at = number(libc::AT_FDCWD);
    call("chmod a file of the host", libc::SYS_fchmodat, &[at, address(path.as_c_str()), 0o777]);
    call("chown a file of the host", libc::SYS_fchownat, &[at, address(path.as_c_str()), 4_242, 4_242, 0]);
    call("touch a file of the host", libc::SYS_utimensat, &[at, address(path.as_c_str()), 0, 0]);
    let (name, value) = (c"user.ringfence", b"x");
    call(
        "set an attribute of a file of the host",
        libc::SYS_setxattr,
        &[address(path.as_c_str()), address(name), address(value), 1, 0],
    );
    #[cfg(target_arch = "x86_64")]
    {
        call("chmod, the old call", libc::SYS_chmod, &[address(path.as_c_str()), 0o777]);
        call("utime, the old call", libc::SYS_utime, &[address(path.as_c_str()), 0]);
    }
    let mut handle = [128_u32; 64];
    let mut mount = 0_i32;
    call(
        "name_to_handle_at",
        libc::SYS_name_to_handle_at,
        &[at, address(c"/usr"), std::ptr::from_mut(&mut handle).addr(), std::ptr::from_mut(&mut mount).addr(), 0],
    );
    let handle = [8_u32, 1, 2, 0];
    call("open_by_handle_at", libc::SYS_open_by_handle_at, &[at, address(&handle), 0]);
}

fn processes(targets: &Targets) {
    let victim = number(targets.victim);
    attempt("see a process of the host", || tried(fs::read(format!("/proc/{}/cmdline", targets.victim))));
    attempt("read a process's environment", || tried(fs::read(format!("/proc/{}/environ", targets.victim))));
    attempt("open a process's memory", || tried(fs::File::open(format!("/proc/{}/mem", targets.victim))));
    attempt("open its supervisor's memory", || tried(fs::File::open(format!("/proc/{}/mem", nix::unistd::getppid()))));
    call("kill", libc::SYS_kill, &[victim, 0]);
    call("tgkill", libc::SYS_tgkill, &[victim, victim, 0]);
    call("tkill", libc::SYS_tkill, &[victim, 0]);
    let info = [0_u64; 16];
    call("rt_sigqueueinfo", libc::SYS_rt_sigqueueinfo, &[victim, 0, address(&info)]);
    attempt("pidfd_send_signal", || {
        let handle = raw(libc::SYS_pidfd_open, &[victim, 0]).map_err(|error| error.to_string())?;
        tried(raw(libc::SYS_pidfd_send_signal, &[handle.cast_unsigned().try_into().unwrap(), 0, 0, 0]))
    });
    attempt("pidfd_getfd", || {
        let handle = raw(libc::SYS_pidfd_open, &[victim, 0]).map_err(|error| error.to_string())?;
        tried(raw(libc::SYS_pidfd_getfd, &[handle.cast_unsigned().try_into().unwrap(), 1, 0]))
    });
    call("ptrace attach", libc::SYS_ptrace, &[16, victim, 0, 0]);
    call("ptrace traceme", libc::SYS_ptrace, &[0, 0, 0, 0]);
    let buffer = [0_u8; 8];
    let local = [address(&buffer), 8];
    let remote = [0x1000_usize, 8];
    call("process_vm_readv", libc::SYS_process_vm_readv, &[victim, address(&local), 1, address(&remote), 1, 0]);
    call("process_vm_writev", libc::SYS_process_vm_writev, &[victim, address(&local), 1, address(&remote), 1, 0]);
    call("kcmp", libc::SYS_kcmp, &[std::process::id() as usize, victim, 0, 0, 0]);
    let limit = [1_u64, 1];
    call("prlimit", libc::SYS_prlimit64, &[victim, 7, address(&limit), 0]);
    let mask = [1_u64];
    call("sched_setaffinity", libc::SYS_sched_setaffinity, &[victim, 8, address(&mask)]);
    let priority = [0_i32];
    call("sched_setscheduler", libc::SYS_sched_setscheduler, &[victim, 3, address(&priority)]);
    call("setpriority", libc::SYS_setpriority, &[0, victim, 5]);
    call("ioprio_set", libc::SYS_ioprio_set, &[1, victim, 0x6000]);
    call("migrate_pages", libc::SYS_migrate_pages, &[victim, 64, address(&[1_u64]), address(&[1_u64])]);
    attempt("signal through a descriptor's owner", || {
        let (reader, writer) = nix::unistd::pipe().map_err(|error| error.to_string())?;
        let (reader, owner) = (number(reader.as_raw_fd()), number(libc::F_SETOWN));
        let signal = 10;
        raw(libc::SYS_fcntl, &[reader, owner, victim]).map_err(|error| error.to_string())?;
        raw(libc::SYS_fcntl, &[reader, number(F_SETSIG), signal]).map_err(|error| error.to_string())?;
        raw(libc::SYS_fcntl, &[reader, number(libc::F_SETFL), number(libc::O_ASYNC)])
            .map_err(|error| error.to_string())?;
        nix::unistd::write(&writer, b"x").map_err(|error| error.to_string())?;
        // The kernel answers at sending time, silently; the test looks whether the process is still there.
        Err("the owner was set; the victim lives if the signal was dropped".to_owned())
    });
}

fn sockets(targets: &Targets) {
    attempt("connect to a TCP port of the host", || {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], targets.tcp_port));
        tried(TcpStream::connect_timeout(&address, Duration::from_millis(500)))
    });
    attempt("send to a UDP port of the host", || {
        let socket = UdpSocket::bind("0.0.0.0:0").map_err(|error| error.to_string())?;
        tried(socket.send_to(b"x", ("127.0.0.1", targets.udp_port)))
    });
    attempt("send to a name server", || {
        let socket = UdpSocket::bind("0.0.0.0:0").map_err(|error| error.to_string())?;
        tried(socket.send_to(b"x", ("9.9.9.9", 53)))
    });
    attempt("connect to a pathname socket", || tried(UnixStream::connect(&targets.socket)));
    attempt("connect to an abstract socket", || {
        let name = SocketAddr::from_abstract_name(&targets.abstract_name).map_err(|error| error.to_string())?;
        tried(UnixStream::connect_addr(&name))
    });
    for (name, family, kind) in [
        ("raw IP", libc::AF_INET, libc::SOCK_RAW),
        ("raw IPv6", libc::AF_INET6, libc::SOCK_RAW),
        ("packet", libc::AF_PACKET, libc::SOCK_RAW),
        ("netlink", libc::AF_NETLINK, libc::SOCK_RAW),
        ("vsock", libc::AF_VSOCK, libc::SOCK_STREAM),
        ("crypto", libc::AF_ALG, libc::SOCK_SEQPACKET),
        ("bluetooth", libc::AF_BLUETOOTH, libc::SOCK_RAW),
        ("key", libc::AF_KEY, libc::SOCK_RAW),
        ("CAN", libc::AF_CAN, libc::SOCK_RAW),
        ("TIPC", libc::AF_TIPC, libc::SOCK_STREAM),
        ("XDP", libc::AF_XDP, libc::SOCK_RAW),
        ("RDS", libc::AF_RDS, libc::SOCK_SEQPACKET),
    ] {
        call(&format!("{name} socket"), libc::SYS_socket, &[number(family), number(kind), 0]);
    }
}

fn kernel() {
    call("keyctl", libc::SYS_keyctl, &[0, number(-4), 1]);
    call("add_key", libc::SYS_add_key, &[address(c"user"), address(c"x"), address(c"y"), 1, number(-4)]);
    call("request_key", libc::SYS_request_key, &[address(c"user"), address(c"x"), 0, 0]);
    let parameters = [0_u8; 256];
    call("io_uring_setup", libc::SYS_io_uring_setup, &[8, address(&parameters)]);
    let attributes = [0_u32, 4, 4, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    call("bpf", libc::SYS_bpf, &[0, address(&attributes), 64]);
    let event = [1_u32, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    call("perf_event_open", libc::SYS_perf_event_open, &[address(&event), 0, number(-1), number(-1), 0]);
    call("init_module", libc::SYS_init_module, &[address(&parameters), 1, address(c"")]);
    call("finit_module", libc::SYS_finit_module, &[0, address(c""), 0]);
    call("delete_module", libc::SYS_delete_module, &[address(c"x"), 0]);
    call("kexec_load", libc::SYS_kexec_load, &[0, 0, 0, 0]);
    call("reboot", libc::SYS_reboot, &[0xfee1_dead, 672_274_793, 0, 0]);
    call("swapon", libc::SYS_swapon, &[address(c"/tmp/x"), 0]);
    call("acct", libc::SYS_acct, &[0]);
    call("quotactl", libc::SYS_quotactl, &[0, 0, 0, 0]);
    call("syslog", libc::SYS_syslog, &[10, 0, 0]);
    call("clock_settime", libc::SYS_clock_settime, &[0, address(&[1_i64, 0])]);
    call("settimeofday", libc::SYS_settimeofday, &[address(&[1_i64, 0]), 0]);
    call("sethostname", libc::SYS_sethostname, &[address(c"x"), 1]);
    call("personality", libc::SYS_personality, &[0x0040_0000]);
    call("userfaultfd", libc::SYS_userfaultfd, &[1]);
    call("fanotify_init", libc::SYS_fanotify_init, &[0, 0]);
    call("vhangup", libc::SYS_vhangup, &[]);
    #[cfg(target_arch = "x86_64")]
    {
        call("iopl", libc::SYS_iopl, &[3]);
        call("ioperm", libc::SYS_ioperm, &[0, 1, 1]);
        call("modify_ldt", libc::SYS_modify_ldt, &[1, address(&[0_u32; 4]), 16]);
        call("x32 call", 0x4000_0000 | libc::SYS_getpid, &[]);
        attempt("i386 call", || {
            let status = Command::new(env::current_exe().unwrap_or_else(|_| "./escape_probe".into()))
                .arg("i386")
                .status()
                .map_err(|error| error.to_string())?;
            if status.success() { Ok("it worked".to_owned()) } else { Err(status.to_string()) }
        });
    }
    for (name, command) in [("TIOCSTI", 0x5412_usize), ("TIOCLINUX", 0x541c), ("TIOCSETD", 0x5423)] {
        for stream in 0..3 {
            call(&format!("{name} on stream {stream}"), libc::SYS_ioctl, &[stream, command, address(c"x")]);
        }
    }
}

fn namespaces() {
    let flags = [
        ("user", libc::CLONE_NEWUSER),
        ("mount", libc::CLONE_NEWNS),
        ("net", libc::CLONE_NEWNET),
        ("pid", libc::CLONE_NEWPID),
    ];
    for (name, flag) in flags {
        call(&format!("unshare {name}"), libc::SYS_unshare, &[number(flag)]);
    }
    attempt("clone into a user namespace", || {
        let flags = number(libc::CLONE_NEWUSER | libc::SIGCHLD);
        let child = raw(libc::SYS_clone, &[flags, 0, 0, 0, 0]).map_err(|error| error.to_string())?;
        if child == 0 {
            std::process::exit(0);
        }
        Ok("it worked".to_owned())
    });
    attempt("clone3 into a user namespace", || {
        let mut request = [0_u64; 11];
        request[0] = u64::from(libc::CLONE_NEWUSER.unsigned_abs());
        request[4] = 17;
        let child = raw(libc::SYS_clone3, &[address(&request), 88]).map_err(|error| error.to_string())?;
        if child == 0 {
            std::process::exit(0);
        }
        Ok("it worked".to_owned())
    });
    attempt("setns", || {
        let own = fs::File::open("/proc/self/ns/net").map_err(|error| error.to_string())?;
        tried(raw(libc::SYS_setns, &[number(own.as_raw_fd()), 0]))
    });
    let tmpfs = address(c"tmpfs");
    call("mount", libc::SYS_mount, &[tmpfs, address(c"/tmp"), tmpfs, 0, 0]);
    call("remount /in", libc::SYS_mount, &[0, address(c"/in"), 0, 0x20 | 0x1000, 0]);
    call("umount", libc::SYS_umount2, &[address(c"/proc/keys"), 2]);
    call("pivot_root", libc::SYS_pivot_root, &[address(c"/tmp"), address(c"/tmp")]);
    call("chroot", libc::SYS_chroot, &[address(c"/tmp")]);
    call("open_tree", libc::SYS_open_tree, &[number(libc::AT_FDCWD), address(c"/usr"), 1]);
    call("fsopen", libc::SYS_fsopen, &[tmpfs, 0]);
    call(
        "mount_setattr",
        libc::SYS_mount_setattr,
        &[number(libc::AT_FDCWD), address(c"/in"), 0, address(&[0_u64; 4]), 32],
    );
    call("setuid 0", libc::SYS_setresuid, &[0, 0, 0]);
    call("setgid 0", libc::SYS_setresgid, &[0, 0, 0]);
    attempt("hold a capability", || {
        let header = [0x2008_0522_u32, 0];
        let mut sets = [0_u32; 6];
        raw(libc::SYS_capget, &[address(&header), std::ptr::from_mut(&mut sets).addr()])
            .map_err(|error| error.to_string())?;
        if sets.iter().any(|set| *set != 0) { Ok(format!("{sets:x?}")) } else { Err("none held".to_owned()) }
    });
    attempt("gain through setuid programs", || {
        let kept = nix::sys::prctl::get_no_new_privs().map_err(|error| error.to_string())?;
        if kept { Err("no_new_privs is set".to_owned()) } else { Ok("no_new_privs is not set".to_owned()) }
    });
    attempt("bring back a capability in the bounding set", || {
        let first = raw(libc::SYS_prctl, &[23, 21]).map_err(|error| error.to_string())?;
        if first == 0 || nix::unistd::getuid().as_raw() != 1_000 {
            Err("CAP_SYS_ADMIN cannot be had".to_owned())
        } else {
            Ok("CAP_SYS_ADMIN is in the bounding set".to_owned())
        }
    });
}

fn shared_objects(targets: &Targets) {
    call("attach a segment of the host", libc::SYS_shmat, &[number(targets.segment), 0, 0]);
    call("remove a segment of the host", libc::SYS_shmctl, &[number(targets.segment), 0, 0]);
    if env::var("RINGFENCE_LEVEL").is_ok_and(|level| level == "landlock") {
        call("make a segment", libc::SYS_shmget, &[0, 4_096, 0o1666]);
        call("make a semaphore", libc::SYS_semget, &[0, 1, 0o1666]);
        call("make a message queue", libc::SYS_msgget, &[0, 0o1666]);
        call("watch the host's folders", libc::SYS_inotify_add_watch, &[0, address(c"/tmp"), 0xfff]);
        call("make any socket", libc::SYS_socket, &[1, 1, 0]);
        let mut pair = [0_i32; 2];
        call("make a socket pair", libc::SYS_socketpair, &[1, 2, 0, std::ptr::from_mut(&mut pair).addr()]);
    }
    call("open a POSIX queue", libc::SYS_mq_open, &[address(c"ringfence-outside"), 0o2, 0, 0]);
    attempt("open a POSIX segment of the host", || tried(fs::read("/dev/shm/ringfence-outside")));
}

fn inherited(targets: &Targets) {
    attempt("find an inherited descriptor", || {
        let open: Vec<usize> =
            (3..1_024).filter(|fd| raw(libc::SYS_fcntl, &[*fd, number(libc::F_GETFD)]).is_ok()).collect();
        if open.is_empty() { Err("none".to_owned()) } else { Ok(format!("{open:?}")) }
    });
    attempt("find a variable of the caller", || env::var(&targets.variable).map_err(|error| error.to_string()));
    attempt("read from standard input", || {
        let mut text = String::new();
        match io::stdin().read_to_string(&mut text) {
            Ok(0) => Err("it is empty".to_owned()),
            other => tried(other),
        }
    });
    attempt("keep a controlling terminal", || tried(fs::File::open("/dev/tty")));
    attempt("be in a foreign session", || {
        let session = raw(libc::SYS_getsid, &[0]).map_err(|error| error.to_string())?;
        let own = libc::c_long::from(std::process::id());
        if session == own { Err("its own".to_owned()) } else { Ok(format!("session {session}")) }
    });
}

/// What is bounded rather than refused.
fn bombs(output: &Path) {
    let again = || Command::new(env::current_exe().unwrap_or_else(|_| "./escape_probe".into()));
    attempt("fork bomb", || {
        let result = again().arg("fork-bomb").output().map_err(|error| error.to_string())?;
        let made: u64 = String::from_utf8_lossy(&result.stdout).trim().parse().unwrap_or(u64::MAX);
        if made < PROCESSES_BOUND { Err(format!("{made} made")) } else { Ok(format!("{made} made")) }
    });
    attempt("memory bomb", || {
        let status = again().arg("memory-bomb").status().map_err(|error| error.to_string())?;
        if status.success() { Ok("it got all".to_owned()) } else { Err(status.to_string()) }
    });
    attempt("descriptor bomb", || {
        let mut hoard = Vec::new();
        while hoard.len() < DESCRIPTORS_BOUND {
            match fs::File::open("/dev/null") {
                Ok(file) => hoard.push(file),
                Err(error) => return Err(format!("{} opened, then {error}", hoard.len())),
            }
        }
        Ok("more than the limit".to_owned())
    });
    let folders =
        if output == Path::new("/out") { vec![output.to_owned(), "/tmp".into(), "/dev/shm".into()] } else { vec![] };
    for folder in folders {
        attempt(&format!("disk bomb in {}", folder.display()), || {
            let path = folder.join("bomb");
            let filled = fill(&path);
            let _ = fs::remove_file(&path);
            filled
        });
    }
}

/// Writes until it is refused or beyond every limit of the test.
fn fill(path: &Path) -> Outcome {
    let mut file = fs::File::create(path).map_err(|error| error.to_string())?;
    let block = vec![1_u8; 1 << 20];
    for written in 0..DISK_BOUND_MIB {
        if let Err(error) = file.write_all(&block) {
            return Err(format!("{written} MiB, then {error}"));
        }
    }
    Ok("more than the limit".to_owned())
}

/// Leaves in /out what a careless collector would follow; the test looks at what was collected.
fn plant(targets: &Targets, output: &Path) {
    let planted = |name: &str, result: io::Result<()>| {
        let detail = result.map_or_else(|error| error.to_string(), |()| "planted".to_owned());
        println!("{}", json!({"attempt": name, "held": true, "detail": detail}));
    };
    planted("plant a link to a secret", symlink(&targets.secret, output.join("link")));
    planted("plant a link to a folder", symlink("/etc", output.join("folder")));
    planted("plant a hard link to a secret", fs::hard_link(&targets.secret, output.join("hard")));
    planted(
        "plant a fifo",
        nix::unistd::mkfifo(&output.join("fifo"), nix::sys::stat::Mode::S_IRWXU).map_err(Into::into),
    );
    let node = c_path(&output.join("device"));
    call("plant a device", libc::SYS_mknodat, &[number(libc::AT_FDCWD), address(node.as_c_str()), 0o060_666, 0xfe00]);
    planted("plant an unprintable name", fs::write(output.join("bad\u{1b}[2J"), b"x"));
    planted("plant a name like a drive", fs::write(output.join("c:evil"), b"x"));
    planted(
        "plant two names of one file",
        fs::write(output.join("one"), b"x").and_then(|()| fs::hard_link(output.join("one"), output.join("two"))),
    );
    let sealed = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o000).open(output.join("sealed"));
    planted("plant an unreadable file", sealed.map(drop));
    let sparse = fs::File::create(output.join("sparse")).and_then(|file| file.set_len(1 << 40));
    planted("plant a huge sparse file", sparse);
    planted("leave a good file", fs::write(output.join("good"), b"good"));
    // A process that stays must be dead before anything is collected.
    let stays = Command::new("/bin/sh")
        .args(["-c", "while :; do echo late > \"$RINGFENCE_OUT/good\"; done"])
        .process_group(0)
        .spawn();
    planted("leave a process behind", stays.map(drop));
}

fn fork_bomb() -> ! {
    let mut made = Vec::new();
    while (made.len() as u64) < PROCESSES_BOUND {
        match Command::new("/bin/sleep").arg("20").spawn() {
            Ok(child) => made.push(child),
            Err(_) => break,
        }
    }
    println!("{}", made.len());
    let _ = io::stdout().flush();
    // Make room for the attempts that follow.
    for child in &mut made {
        let _ = child.kill();
        let _ = child.wait();
    }
    std::process::exit(0)
}

fn memory_bomb() -> ! {
    let mut hoard = Vec::new();
    for _ in 0..MEMORY_BOUND_MIB {
        hoard.push(vec![1_u8; 1 << 20]);
    }
    std::process::exit(i32::from(hoard.is_empty()))
}

#[expect(unsafe_code, reason = "the i386 interface is reached by a software interrupt")]
fn i386_call() -> ! {
    #[cfg(target_arch = "x86_64")]
    {
        let result: i64;
        // SAFETY: getpid of the i386 interface (20) takes nothing and returns a number.
        unsafe {
            std::arch::asm!("int 0x80", inlateout("rax") 20_i64 => result, options(nostack));
        }
        std::process::exit(i32::from(result <= 0))
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::process::exit(1)
}

fn c_path(path: &Path) -> std::ffi::CString {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// `F_SETSIG`.
const F_SETSIG: i32 = 10;
/// More processes than any test allows.
const PROCESSES_BOUND: u64 = 1_000;
/// More memory than any test allows.
const MEMORY_BOUND_MIB: usize = 1_024;
/// More descriptors than any test allows.
const DESCRIPTORS_BOUND: usize = 2_000;
/// More bytes in a folder than any test allows.
const DISK_BOUND_MIB: usize = 512;
