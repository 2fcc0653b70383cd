//! Devices, and files with which the kernel tells about the host or lets itself be changed.

use std::{fs, path::Path};

use super::{Attempt, Outcome, tried};

pub(crate) const ATTEMPTS: &[Attempt] = &[
    Attempt::new("device-mem", "open /dev/mem", |_| device("mem")),
    Attempt::new("device-kmsg", "open /dev/kmsg", |_| device("kmsg")),
    Attempt::new("device-disk", "open the first disk", |_| device("vda").or_else(|_| device("sda"))),
    Attempt::new("device-tty", "open /dev/tty", |_| device("tty")),
    Attempt::new("device-ptmx", "open /dev/ptmx", |_| device("ptmx")),
    Attempt::new("device-pts", "open a terminal of somebody else", |_| device("pts/0")),
    Attempt::new("device-fuse", "open /dev/fuse", |_| device("fuse")),
    Attempt::new("device-kvm", "open /dev/kvm", |_| device("kvm")),
    Attempt::new("device-vsock", "open /dev/vsock", |_| device("vsock")),
    Attempt::new("device-tun", "open /dev/net/tun", |_| device("net/tun")),
    Attempt::new("device-loop", "open a loop device", |_| device("loop-control").or_else(|_| device("loop0"))),
    Attempt::new("device-userfaultfd", "open /dev/userfaultfd", |_| device("userfaultfd")),
    Attempt::new("device-gpu", "open a graphics processor that it was not given", |_| {
        device("nvidiactl").or_else(|_| device("kfd")).or_else(|_| device("dri/renderD128"))
    }),
    Attempt::new("write-core-pattern", "have the kernel run a program at a crash", |_| {
        write("/proc/sys/kernel/core_pattern")
    }),
    Attempt::new("write-modprobe", "have the kernel load modules by a program", |_| write("/proc/sys/kernel/modprobe")),
    Attempt::new("write-hostname", "rename the host through /proc", |_| write("/proc/sys/kernel/hostname")),
    Attempt::new("write-overcommit", "change how memory is given out", |_| write("/proc/sys/vm/overcommit_memory")),
    Attempt::new("write-sysrq", "command the kernel by sysrq", |_| write("/proc/sysrq-trigger")),
    Attempt::new("write-oom-score", "spare itself when memory runs out", |_| write("/proc/self/oom_score_adj")),
    Attempt::new("write-uid-map", "change its own map of users", |_| write("/proc/self/uid_map")),
    Attempt::new("write-pressure", "have the kernel watch pressure for it", |_| write("/proc/pressure/cpu")),
    Attempt::new("write-sysfs", "change a setting below /sys/kernel", |_| {
        write("/sys/kernel/mm/transparent_hugepage/enabled")
    }),
    Attempt::new("list-firmware", "list /sys/firmware", |_| tried(fs::read_dir("/sys/firmware"))),
    Attempt::new("list-devices", "list /sys/class", |_| tried(fs::read_dir("/sys/class"))),
    Attempt::new("leave-memory-group", "leave its memory group", |_| write("/sys/fs/cgroup/memory/cgroup.procs")),
    Attempt::new("leave-group", "leave its control group", |_| {
        write("/sys/fs/cgroup/cgroup.procs").or_else(|_| write("/sys/fs/cgroup/unified/cgroup.procs"))
    }),
    Attempt::new("read-kcore", "read the kernel's memory", |_| read("/proc/kcore")),
    Attempt::new("read-kallsyms", "read the kernel's symbols", |_| read("/proc/kallsyms")),
    Attempt::new("read-keys", "read which keys the user holds", |_| read("/proc/key-users")),
    Attempt::new("read-modules", "read which modules are loaded", |_| read("/proc/modules")),
    Attempt::new("read-iomem", "read the machine's memory map", |_| read("/proc/iomem")),
    Attempt::new("read-interrupts", "read the interrupts' counts, which time other programs", |_| {
        read("/proc/interrupts")
    }),
    Attempt::new("read-command-line", "read the kernel's command line", |_| read("/proc/cmdline")),
    Attempt::new("read-timers", "read all timers", |_| read("/proc/timer_list")),
    Attempt::new("read-bus", "list the machine's buses", |_| {
        let entries = fs::read_dir("/proc/bus").map_err(|error| error.to_string())?.count();
        if entries > 0 { Ok(format!("{entries} entries")) } else { Err("it is empty".to_owned()) }
    }),
];

fn device(name: &str) -> Outcome {
    tried(fs::OpenOptions::new().read(true).write(true).open(Path::new("/dev").join(name)))
}

/// Opening to write is enough: nothing is written.
fn write(path: &str) -> Outcome {
    tried(fs::OpenOptions::new().write(true).open(path))
}

/// A file that is covered is there, and empty.
fn read(path: &str) -> Outcome {
    use std::io::Read;
    let mut first = [0; 1];
    match fs::File::open(path).and_then(|mut file| file.read(&mut first)) {
        Ok(0) => Err("it is empty".to_owned()),
        other => tried(other),
    }
}
