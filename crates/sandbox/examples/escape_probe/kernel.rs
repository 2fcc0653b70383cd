//! The kernel itself: keys, modules, clocks, tracing, foreign interfaces, terminals.

use nix::libc;

use super::{Attempt, Outcome, address, again, call, door, number};

pub(crate) const ATTEMPTS: &[Attempt] = &[
    Attempt::new("keyctl", "look up a keyring", |_| door(libc::SYS_keyctl, &[0, number(-4), 1])),
    Attempt::new("add-key", "add a key", |_| {
        door(libc::SYS_add_key, &[address(c"user"), address(c"x"), address(c"y"), 1, number(-2)])
    }),
    Attempt::new("request-key", "ask for a key", |_| {
        door(libc::SYS_request_key, &[address(c"user"), address(c"x"), 0, 0])
    }),
    Attempt::new("io-uring", "set up io_uring", |_| {
        let parameters = [0_u8; 256];
        door(libc::SYS_io_uring_setup, &[8, address(&parameters)])
    }),
    Attempt::new("io-uring-enter", "use somebody's io_uring", |_| door(libc::SYS_io_uring_enter, &[0, 1, 0, 0, 0, 0])),
    Attempt::new("bpf", "make a BPF map", |_| {
        let attributes = [0_u32, 4, 4, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        door(libc::SYS_bpf, &[0, address(&attributes), 64])
    }),
    Attempt::new("perf-event-open", "count events", |_| {
        let event =
            [1_u32, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        door(libc::SYS_perf_event_open, &[address(&event), 0, number(-1), number(-1), 0])
    }),
    Attempt::new("userfaultfd", "handle its own page faults", |_| door(libc::SYS_userfaultfd, &[1])),
    Attempt::new("memfd-secret", "memory that nobody can look at", |_| door(libc::SYS_memfd_secret, &[0])),
    Attempt::new("fanotify", "watch all files", |_| door(libc::SYS_fanotify_init, &[0x200, 0])),
    Attempt::new("init-module", "load a module", |_| door(libc::SYS_init_module, &[0, 0, address(c"")])),
    Attempt::new("finit-module", "load a module from a file", |_| {
        door(libc::SYS_finit_module, &[number(-1), address(c""), 0])
    }),
    Attempt::new("delete-module", "remove a module", |_| door(libc::SYS_delete_module, &[address(c"x"), 0])),
    Attempt::new("kexec-load", "start another kernel", |_| door(libc::SYS_kexec_load, &[0, 99, 0, number(-1)])),
    Attempt::new("reboot", "restart the machine", |_| door(libc::SYS_reboot, &[0, 0, 0, 0])),
    Attempt::new("swapon", "swap to a file", |_| door(libc::SYS_swapon, &[address(c"/nonexistent/x"), 0])),
    Attempt::new("swapoff", "stop swapping", |_| door(libc::SYS_swapoff, &[address(c"/nonexistent/x")])),
    Attempt::new("acct", "have processes accounted to a file", |_| door(libc::SYS_acct, &[address(c"/nonexistent/x")])),
    Attempt::new("quotactl", "change quotas", |_| {
        door(libc::SYS_quotactl, &[number(-1), address(c"/nonexistent"), 0, 0])
    }),
    Attempt::new("syslog", "read the kernel's log", |_| door(libc::SYS_syslog, &[10, 0, 0])),
    Attempt::new("clock-settime", "set the clock", |_| door(libc::SYS_clock_settime, &[0, 0])),
    Attempt::new("settimeofday", "set the clock, the old call", |_| door(libc::SYS_settimeofday, &[1, 0])),
    Attempt::new("adjtimex", "slow the clock down", |_| door(libc::SYS_adjtimex, &[0])),
    Attempt::new("sethostname", "rename the host", |_| door(libc::SYS_sethostname, &[0, number(-1)])),
    Attempt::new("setdomainname", "rename the domain", |_| door(libc::SYS_setdomainname, &[0, number(-1)])),
    Attempt::new("personality", "run without random addresses", |_| door(libc::SYS_personality, &[0x0040_0000])),
    Attempt::new("vhangup", "hang up a terminal", |_| door(libc::SYS_vhangup, &[])),
    #[cfg(target_arch = "x86_64")]
    Attempt::new("kexec-file-load", "start another kernel from a file", |_| {
        door(libc::SYS_kexec_file_load, &[number(-1), number(-1), 0, 0, number(-1)])
    }),
    #[cfg(target_arch = "x86_64")]
    Attempt::new("iopl", "talk to ports", |_| door(libc::SYS_iopl, &[3])),
    #[cfg(target_arch = "x86_64")]
    Attempt::new("ioperm", "talk to one port", |_| door(libc::SYS_ioperm, &[0, 1, 1])),
    #[cfg(target_arch = "x86_64")]
    Attempt::new("modify-ldt", "change its segments", |_| door(libc::SYS_modify_ldt, &[1, address(&[0_u32; 4]), 16])),
    #[cfg(target_arch = "x86_64")]
    Attempt::new("x32-interface", "a call of the x32 interface", |_| call(0x4000_0000 | libc::SYS_getpid, &[])),
    #[cfg(target_arch = "x86_64")]
    Attempt::new("i386-interface", "a call of the i386 interface", |_| {
        let status = again().arg("i386").status().map_err(|error| error.to_string())?;
        if status.success() { Ok("it worked".to_owned()) } else { Err(status.to_string()) }
    }),
    Attempt::new("tiocsti", "type into a terminal", |_| terminal(0x5412)),
    Attempt::new("tiocsti-high-bits", "the same with bits that the kernel ignores", |_| terminal(0x1_0000_5412)),
    Attempt::new("tioclinux", "paste into a console", |_| terminal(0x541c)),
    Attempt::new("tioccons", "take over the console's output", |_| terminal(0x541d)),
    Attempt::new("tiocsetd", "change a terminal's line discipline", |_| terminal(0x5423)),
    Attempt::new("set-file-flags", "make a file immutable", |_| terminal(0x4008_6602)),
];

/// A command to each standard stream; what is no terminal answers that it is none, to those who get through.
fn terminal(command: usize) -> Outcome {
    let mut last = Err("no stream".to_owned());
    for stream in 0..3 {
        last = door(libc::SYS_ioctl, &[stream, command, 0]);
        if last.is_ok() {
            break;
        }
    }
    last
}

#[expect(unsafe_code, reason = "the i386 interface is reached by a software interrupt")]
pub(crate) fn i386_call() -> ! {
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
