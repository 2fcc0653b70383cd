//! Levels `full` and `no-cgroup`: builds the file system of a run inside its own namespaces.
//!
//! Called in the keeper, which is the first process of the new pid namespace and holds every capability of the new user
//! namespace, none outside. First detached copies of the host's folders are taken under the caller's own name; then the
//! keeper becomes the job's user, makes a memory file system, moves its root there and lets go of the host's.

use std::{
    ffi::{CStr, CString},
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::symlink},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    libc,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::stat::{SFlag, fstat},
    unistd::{Gid, Uid, chdir, pivot_root, sethostname, setresgid, setresuid},
};

use super::{
    Plan,
    claims::channel::{self, Sockets},
    control::Control,
    devices,
    keeper::Room,
    landlocked,
    mechanisms::{InForce, Mechanism},
    rules::{Network, Reach},
};
use crate::sys;

/// The namespaces of a run, made with its keeper.
pub(super) fn namespaces(in_force: &InForce) -> libc::c_int {
    let of = |mechanism, flag| if in_force.has(mechanism) { flag } else { 0 };
    libc::CLONE_NEWUSER
        | libc::CLONE_NEWUTS
        | of(Mechanism::OwnRoot, libc::CLONE_NEWNS)
        | of(Mechanism::PidNamespace, libc::CLONE_NEWPID)
        | of(Mechanism::NetworkNamespace, libc::CLONE_NEWNET)
        | of(Mechanism::IpcNamespace, libc::CLONE_NEWIPC)
}

/// The job's user and group id inside.
pub(super) const INSIDE_ID: u32 = 1_000;

/// A step that failed: this level cannot be had.
pub(super) struct Step {
    /// What was tried.
    pub(super) what: String,
    /// What the kernel said.
    pub(super) error: io::Error,
}

/// Names a step in its error.
fn step<T, E: Into<io::Error>>(what: &str, result: Result<T, E>) -> Result<T, Step> {
    result.map_err(|error| Step { what: what.to_owned(), error: error.into() })
}

/// Builds the file system. The user and group maps must be written already.
pub(super) fn build(plan: &Plan, control: &Control) -> Result<Room, Step> {
    let egress = !plan.egress.is_empty();
    let gpus = step("graphics processors", devices::nodes(&plan.gpus).map_err(io::Error::other))?;
    let shown = SYSTEM_FOLDERS.iter().chain(if egress { AUTHORITY_FOLDERS } else { &[] });
    let host = step("copy the host's mounts", HostTrees::take(shown, plan, &gpus))?;
    step("become the job's user", become_inside_user())?;
    // A change of user cancels the parent-death signal: ask again, then make sure that it was not too late.
    step("parent-death signal", sys::die_with_parent())?;
    step("supervisor", control.check_alive())?;
    step("unshare cgroup view", unshare(CloneFlags::CLONE_NEWCGROUP))?;
    if !plan.in_force.has(Mechanism::OwnRoot) {
        forbid_namespaces(&plan.in_force)?;
        return landlocked::build(plan, None);
    }
    step("make mounts private", mount(NONE, c"/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE))?;
    enter_new_root()?;
    step("mount /proc", mount_proc(host.processes.as_ref()))?;
    step("let go of the host", umount2(c"/host", MntFlags::MNT_DETACH))?;
    step("let go of the host", fs::remove_dir("/host"))?;
    // Before the host's folders: one of them may lie below /tmp.
    for path in [c"/tmp", c"/dev/shm"] {
        memory_folder(path, plan.limits.scratch_bytes, SCRATCH_INODES, "1777")?;
    }
    host.place()?;
    step("write /etc", write_etc(if egress { ETC_FILES_WITH_NAMES } else { ETC_FILES }))?;
    step("fill /dev", fill_dev())?;
    forbid_namespaces(&plan.in_force)?;
    if plan.in_force.has(Mechanism::MaskedProc) {
        mask_proc(&gpus)?;
    }
    let room_for_inputs = plan.file_bytes.saturating_add(plan.files.saturating_mul(8_192)).saturating_add(1 << 20);
    let inodes = plan.files.saturating_mul(2).saturating_add(64);
    for path in [c"/in", c"/program"] {
        memory_folder(path, room_for_inputs, inodes, "0755")?;
    }
    memory_folder(c"/out", plan.limits.output_bytes, plan.limits.output_files.saturating_add(2), "0700")?;
    step("make /run/ringfence", fs::create_dir_all(CHANNEL_FOLDER))?;
    let channel = channel::make(Path::new(CHANNEL_FOLDER), None, Sockets::Allowed);
    let channel = step("make the progress channel", channel)?;
    if plan.in_force.has(Mechanism::ReadOnlyBinds) {
        step("make the root read-only", sys::restrict_mount(c"/", libc::MOUNT_ATTR_RDONLY))?;
    }
    step("name the host", sethostname("ringfence"))?;
    let output = step("open /out", fs::File::open("/out"))?;
    let scratch_folder = step("open /tmp", fs::File::open("/tmp"))?.into();
    Ok(Room {
        input: "/in".into(),
        program: "/program".into(),
        scratch: "/tmp".into(),
        output_path: "/out".into(),
        output: output.into(),
        _lock: None,
        reach: reach(&plan.readable, gpus, &channel, if egress { Network::OwnNamespace } else { Network::Refused }),
        scratch_folder,
        channel,
        search: "/usr/local/bin:/usr/bin:/bin".to_owned(),
        // With egress, the supervisor says what holds the network.
        measures: MEASURES.iter().chain(if egress { &[] } else { NO_NETWORK }).map(|&text| text.to_owned()).collect(),
    })
}

/// Makes the input folders read-only, once they are filled.
pub(super) fn seal(in_force: &InForce) -> io::Result<()> {
    if !in_force.has(Mechanism::OwnRoot) || !in_force.has(Mechanism::ReadOnlyBinds) {
        return Ok(());
    }
    for path in [c"/in", c"/program"] {
        sys::restrict_mount(path, libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV)?;
    }
    Ok(())
}

fn reach(readable: &[PathBuf], gpus: Vec<PathBuf>, channel: &channel::Ends, network: Network) -> Reach {
    let fixed = ["/etc", "/proc", "/in", "/program"].map(PathBuf::from);
    let read = SYSTEM_FOLDERS.iter().map(PathBuf::from).chain(fixed).chain(readable.iter().cloned()).collect();
    Reach {
        read,
        write: ["/out", "/tmp", "/dev/shm"].map(PathBuf::from).to_vec(),
        devices: DEVICES.iter().map(|name| Path::new("/dev").join(name)).collect(),
        gpus,
        channels: std::iter::once(&channel.pipe_path).chain(&channel.socket_path).cloned().collect(),
        network,
    }
}

/// What the run sees of the host: detached copies of its mounts, taken before the root moves.
struct HostTrees {
    folders: Vec<(PathBuf, OwnedFd)>,
    links: Vec<(PathBuf, PathBuf)>,
    devices: Vec<(PathBuf, OwnedFd)>,
    linker_cache: Option<Vec<u8>>,
    /// The host's `/proc`, where there is no namespace of process ids to mount one for.
    processes: Option<OwnedFd>,
}

impl HostTrees {
    fn take<'a>(shown: impl Iterator<Item = &'a &'a str>, plan: &Plan, gpus: &[PathBuf]) -> io::Result<Self> {
        let mut trees =
            Self { folders: Vec::new(), links: Vec::new(), devices: Vec::new(), linker_cache: None, processes: None };
        if !plan.in_force.has(Mechanism::OwnRoot) {
            return Ok(trees);
        }
        if !plan.in_force.has(Mechanism::PidNamespace) {
            trees.processes = Some(sys::detach_tree(&c"/proc".to_owned())?);
        }
        for name in shown {
            let path = PathBuf::from(name);
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_symlink() => trees.links.push((path.clone(), fs::read_link(&path)?)),
                Ok(_) => trees.folders.push((path.clone(), shown_tree(&path, &plan.in_force)?)),
                Err(_) => {}
            }
        }
        for path in &plan.readable {
            trees.folders.push((path.clone(), shown_tree(path, &plan.in_force)?));
        }
        let plain = DEVICES.iter().map(|name| Path::new("/dev").join(name));
        for path in plain.chain(gpus.iter().cloned()) {
            let tree = sys::detach_tree(&c_path(&path)?)?;
            trees.devices.push((path, tree));
        }
        trees.linker_cache = fs::read("/etc/ld.so.cache").ok().filter(|bytes| bytes.len() <= LINKER_CACHE_BYTES_MAX);
        Ok(trees)
    }

    fn place(self) -> Result<(), Step> {
        for (path, target) in &self.links {
            if let Some(folder) = path.parent() {
                step("link a system folder", fs::create_dir_all(folder))?;
            }
            step("link a system folder", symlink(target, path))?;
        }
        for (path, tree) in &self.folders {
            let what = format!("show {}", path.display());
            step(&what, make_place(path, tree))?;
            step(&what, c_path(path).and_then(|target| sys::attach_mount(tree.as_fd(), &target)))?;
        }
        step("make /dev", fs::create_dir_all("/dev"))?;
        for (path, tree) in &self.devices {
            let what = format!("show {}", path.display());
            if let Some(parent) = path.parent() {
                step(&what, fs::create_dir_all(parent))?;
            }
            step(&what, fs::File::create(path))?;
            step(&what, c_path(path).and_then(|target| sys::attach_mount(tree.as_fd(), &target)))?;
        }
        if let Some(cache) = &self.linker_cache {
            step("write /etc", fs::create_dir_all("/etc"))?;
            step("write /etc", fs::write("/etc/ld.so.cache", cache))?;
        }
        Ok(())
    }
}

/// Something to mount `tree` on: a folder, or an empty file for a file.
fn make_place(path: &Path, tree: &OwnedFd) -> io::Result<()> {
    let kind = SFlag::from_bits_truncate(fstat(tree)?.st_mode) & SFlag::S_IFMT;
    if kind == SFlag::S_IFDIR {
        return fs::create_dir_all(path);
    }
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::File::create(path).map(|_| ())
}

fn shown_tree(path: &Path, in_force: &InForce) -> io::Result<OwnedFd> {
    let tree = sys::detach_tree(&c_path(path)?)?;
    let read_only = if in_force.has(Mechanism::ReadOnlyBinds) { libc::MOUNT_ATTR_RDONLY } else { 0 };
    sys::restrict_tree(tree.as_fd(), read_only | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV)?;
    Ok(tree)
}

fn become_inside_user() -> nix::Result<()> {
    // Refused in the namespace of an ordinary user, who has no foreign groups to lose there.
    match nix::unistd::setgroups(&[]) {
        Ok(()) | Err(Errno::EPERM) => {}
        Err(error) => return Err(error),
    }
    let (uid, gid) = (Uid::from_raw(INSIDE_ID), Gid::from_raw(INSIDE_ID));
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}

/// Moves the root onto an empty memory file system, with the host's root at `/host` for now.
fn enter_new_root() -> Result<(), Step> {
    let base = STAGING.iter().copied().find(|path| Path::new(path).is_dir()).unwrap_or("/tmp");
    let options = format!("mode=0755,size={ROOT_BYTES},nr_inodes={ROOT_INODES}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    step("mount the new root", mount(Some("tmpfs"), base, Some("tmpfs"), flags, Some(options.as_str())))?;
    step("enter the new root", chdir(base))?;
    step("make /host", fs::create_dir("host"))?;
    step("pivot_root", pivot_root(".", "host"))?;
    step("enter the new root", chdir("/"))
}

/// A fresh `/proc`: only this namespace's processes, only one's own in detail, and nothing to be written.
fn mount_proc(of_host: Option<&OwnedFd>) -> io::Result<()> {
    fs::create_dir("/proc")?;
    if let Some(tree) = of_host {
        return sys::attach_mount(tree.as_fd(), c"/proc");
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, Some("hidepid=2"))?;
    Ok(())
}

/// Sets the namespace's own limits (namespaces(7), /proc/sys/user) to zero: whatever gets past the filter, nothing in here
/// makes a namespace. Kernels lack some of the files.
fn forbid_namespaces(in_force: &InForce) -> Result<(), Step> {
    if !in_force.has(Mechanism::NamespaceLimits) {
        return Ok(());
    }
    for kind in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"] {
        match fs::write(format!("/proc/sys/user/max_{kind}_namespaces"), "0") {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return step("forbid further namespaces", Err(error)),
        }
    }
    Ok(())
}

/// Covers what `/proc` tells about the host, then makes it read-only.
fn mask_proc(gpus: &[PathBuf]) -> Result<(), Step> {
    for name in MASKED_FILES {
        let path = format!("/proc/{name}");
        match mount(Some("/dev/null"), path.as_str(), NONE, MsFlags::MS_BIND, NONE) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return step(&format!("cover {path}"), Err(error)),
        }
    }
    step("make an empty folder", fs::create_dir(EMPTY))?;
    for name in MASKED_FOLDERS.iter().filter(|name| **name != DRIVERS || gpus.is_empty()) {
        let path = format!("/proc/{name}");
        match mount(Some(EMPTY), path.as_str(), NONE, MsFlags::MS_BIND, NONE) {
            Ok(()) => {
                let what = format!("cover {path}");
                let place = step(&what, c_path(Path::new(&path)))?;
                step(&what, sys::restrict_mount(&place, libc::MOUNT_ATTR_RDONLY))?;
            }
            Err(Errno::ENOENT) => {}
            Err(error) => return step(&format!("cover {path}"), Err(error)),
        }
    }
    step("make /proc read-only", sys::restrict_mount(c"/proc", libc::MOUNT_ATTR_RDONLY))
}

fn write_etc(files: &[(&str, &str)]) -> io::Result<()> {
    fs::create_dir_all("/etc")?;
    for (path, text) in files {
        fs::write(path, text)?;
    }
    Ok(())
}

fn fill_dev() -> io::Result<()> {
    for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        symlink(Path::new("/proc/self").join(target), Path::new("/dev").join(name))?;
    }
    Ok(())
}

fn memory_folder(path: &CStr, bytes: u64, inodes: u64, mode: &str) -> Result<(), Step> {
    let name = path.to_string_lossy();
    let what = format!("mount {name}");
    step(&what, fs::create_dir_all(name.as_ref()))?;
    let options = format!("mode={mode},size={},nr_inodes={inodes}", bytes.max(4_096));
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    step(&what, mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options.as_str())))
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// No argument for mount(2).
const NONE: Option<&CStr> = None;
/// Shown read-only under their own names; links are copied as links.
const SYSTEM_FOLDERS: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/alternatives", "/nix/store", "/gnu/store"];
/// The only devices.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom"];
/// Where the job finds the channel for its progress.
const CHANNEL_FOLDER: &str = "/run/ringfence";
/// Folders on which the new root may be prepared; nothing outside the run's namespace sees it.
const STAGING: &[&str] = &["/tmp", "/dev/shm", "/var/tmp", "/mnt"];
/// Covers folders. It lies in the root, which becomes read-only.
const EMPTY: &str = "/.empty";
/// Files of `/proc` that tell about the host's kernel, its users' keys, or its command line.
const MASKED_FILES: &[&str] = &[
    "bootconfig",
    "buddyinfo",
    "cmdline",
    "config.gz",
    "interrupts",
    "iomem",
    "ioports",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "modules",
    "mtrr",
    "pagetypeinfo",
    "sched_debug",
    "slabinfo",
    "softirqs",
    "sysrq-trigger",
    "timer_list",
    "vmallocinfo",
];
/// Folders of `/proc` that do.
const MASKED_FOLDERS: &[&str] = &["acpi", "asound", "bus", DRIVERS, "fs", "irq", "scsi", "tty"];
/// What drivers tell; libraries of graphics processors read it.
const DRIVERS: &str = "driver";
/// Our own small `/etc`.
const ETC_FILES: &[(&str, &str)] = &[
    ("/etc/passwd", "root:x:0:0::/:/bin/false\njob:x:1000:1000::/tmp:/bin/sh\n"),
    ("/etc/group", "root:x:0:\njob:x:1000:\n"),
    ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
];
/// The same for a run that asks for names.
const ETC_FILES_WITH_NAMES: &[(&str, &str)] = &[
    ("/etc/passwd", "root:x:0:0::/:/bin/false\njob:x:1000:1000::/tmp:/bin/sh\n"),
    ("/etc/group", "root:x:0:\njob:x:1000:\n"),
    ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    // `egress::net::JOB_V4`: a question to any other address would be answered alike.
    ("/etc/resolv.conf", "nameserver 198.18.0.1\noptions timeout:5 attempts:2\n"),
];
/// Where hosts keep the certificates of authorities, and how they are to be used; shown to runs that have egress.
const AUTHORITY_FOLDERS: &[&str] = &[
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/openssl.cnf",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates/extracted",
    "/etc/crypto-policies/back-ends",
];
/// What this level is made of.
const MEASURES: &[&str] = &[
    "own user, mount, pid, network, ipc, uts and cgroup namespaces",
    "own root in memory: the system read-only, inputs read-only, /out and /tmp of bounded size",
];
/// And without egress.
const NO_NETWORK: &[&str] = &["no network interface that is up"];
/// Size of the root's own memory file system: `/etc` and mount points.
const ROOT_BYTES: u64 = 16 << 20;
/// Files and folders of the root's own memory file system.
const ROOT_INODES: u64 = 4_096;
/// Files and folders in `/tmp` and `/dev/shm`, each.
const SCRATCH_INODES: u64 = 262_144;
/// Largest dynamic linker cache that is copied, in bytes.
const LINKER_CACHE_BYTES_MAX: usize = 8 << 20;
