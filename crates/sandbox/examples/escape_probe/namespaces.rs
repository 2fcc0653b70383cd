//! Namespaces, mounts, users and capabilities.

use std::{fs, os::fd::AsRawFd, process::Command};

use nix::libc;

use super::{Attempt, Outcome, address, address_mut, call, door, number, raw, tried};

pub(crate) const ATTEMPTS: &[Attempt] = &[
    Attempt::new("unshare-user", "a user namespace", |_| unshare(libc::CLONE_NEWUSER)),
    Attempt::new("unshare-mount", "a mount namespace", |_| unshare(libc::CLONE_NEWNS)),
    Attempt::new("unshare-net", "a network namespace", |_| unshare(libc::CLONE_NEWNET)),
    Attempt::new("unshare-pid", "a namespace of process ids", |_| unshare(libc::CLONE_NEWPID)),
    Attempt::new("unshare-ipc", "an ipc namespace", |_| unshare(libc::CLONE_NEWIPC)),
    Attempt::new("unshare-uts", "a namespace of host names", |_| unshare(libc::CLONE_NEWUTS)),
    Attempt::new("unshare-cgroup", "a namespace of control groups", |_| unshare(libc::CLONE_NEWCGROUP)),
    Attempt::new("unshare-time", "a time namespace", |_| unshare(0x80)),
    Attempt::new("clone-user", "a child in a user namespace", |_| {
        let flags = number(libc::CLONE_NEWUSER | libc::SIGCHLD);
        child(raw(libc::SYS_clone, &[flags, 0, 0, 0, 0]))
    }),
    Attempt::new("clone3-user", "the same by clone3, whose flags no filter can read", |_| {
        let mut request = [0_u64; 11];
        request[0] = u64::from(libc::CLONE_NEWUSER.unsigned_abs());
        request[4] = 17;
        child(raw(libc::SYS_clone3, &[address(&request), 88]))
    }),
    Attempt::new("setns", "enter a namespace", |_| {
        let own = fs::File::open("/proc/self/ns/uts").map_err(|error| error.to_string())?;
        door(libc::SYS_setns, &[number(own.as_raw_fd()), 0])
    }),
    Attempt::new("mount", "mount a file system", |_| {
        let folder = super::c_path(&super::output().join("mounted"));
        let (tmpfs, target) = (address(c"tmpfs"), address(folder.as_c_str()));
        nix::unistd::mkdir(folder.as_c_str(), nix::sys::stat::Mode::S_IRWXU).map_err(|error| error.to_string())?;
        let mounted = call(libc::SYS_mount, &[tmpfs, target, tmpfs, 0, 0]);
        let _ = raw(libc::SYS_umount2, &[target, 0]);
        let _ = nix::unistd::unlinkat(nix::fcntl::AT_FDCWD, folder.as_c_str(), nix::unistd::UnlinkatFlags::RemoveDir);
        mounted
    }),
    Attempt::new("remount-inputs", "make its inputs writable by a remount", |_| {
        call(libc::SYS_mount, &[0, address(c"/in"), 0, 0x20 | 0x1000, 0])
    }),
    Attempt::new("umount", "uncover what is covered in /proc", |_| {
        call(libc::SYS_umount2, &[address(c"/proc/keys"), 2])
    }),
    Attempt::new("pivot-root", "move its root", |_| {
        door(libc::SYS_pivot_root, &[address(c"/nonexistent"), address(c"/nonexistent")])
    }),
    Attempt::new("chroot", "change its root", |_| door(libc::SYS_chroot, &[address(c"/tmp")])),
    Attempt::new("open-tree", "copy a mount", |_| {
        door(libc::SYS_open_tree, &[number(libc::AT_FDCWD), address(c"/usr"), 1])
    }),
    Attempt::new("move-mount", "move a mount", |_| {
        door(libc::SYS_move_mount, &[number(-1), address(c""), number(-1), address(c""), 4])
    }),
    Attempt::new("fsopen", "make a file system by the new calls", |_| door(libc::SYS_fsopen, &[address(c"tmpfs"), 0])),
    Attempt::new("fsconfig", "configure a file system", |_| door(libc::SYS_fsconfig, &[number(-1), 0, 0, 0, 0])),
    Attempt::new("fsmount", "mount it", |_| door(libc::SYS_fsmount, &[number(-1), 0, 0])),
    Attempt::new("fspick", "reconfigure a mounted file system", |_| {
        door(libc::SYS_fspick, &[number(libc::AT_FDCWD), address(c"/tmp"), 0])
    }),
    Attempt::new("mount-setattr", "make its inputs writable by the new call", |_| {
        let request = [0_u64, 1, 0, 0];
        call(libc::SYS_mount_setattr, &[number(libc::AT_FDCWD), address(c"/in"), 0, address(&request), 32])
    }),
    Attempt::new("open-tree-attr", "copy a mount with other attributes", |_| {
        door(467, &[number(-1), address(c""), 0, 0, 0])
    }),
    Attempt::new("statmount", "ask about mounts outside", |_| door(457, &[0, 0, 0, 0])),
    Attempt::new("listmount", "list mounts outside", |_| door(458, &[0, 0, 0, 0])),
    Attempt::new("setuid-0", "become root", |_| call(libc::SYS_setresuid, &[0, 0, 0])),
    Attempt::new("setgid-0", "join root's group", |_| call(libc::SYS_setresgid, &[0, 0, 0])),
    Attempt::new("setgroups", "join further groups", |_| door(libc::SYS_setgroups, &[number(-1), 0])),
    Attempt::new("setuid-program", "gain through a program with root's setuid bit", |targets| {
        let output = Command::new(&targets.setuid_program).arg("who").output().map_err(|error| error.to_string())?;
        let user = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let own = nix::unistd::geteuid().to_string();
        if !user.is_empty() && user != own { Ok(format!("user {user}")) } else { Err(format!("still user {own}")) }
    }),
    Attempt::new("hold-capability", "hold a capability", |_| {
        let header = [0x2008_0522_u32, 0];
        let mut sets = [0_u32; 6];
        raw(libc::SYS_capget, &[address(&header), address_mut(&mut sets)]).map_err(|error| error.to_string())?;
        if sets.iter().any(|set| *set != 0) { Ok(format!("{sets:x?}")) } else { Err("none held".to_owned()) }
    }),
    Attempt::new("ambient-capability", "hand a capability to its children", |_| {
        // PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_SYS_ADMIN
        match raw(libc::SYS_prctl, &[47, 1, 21, 0, 0]) {
            Ok(1) => Ok("it is in the ambient set".to_owned()),
            other => Err(format!("{other:?}")),
        }
    }),
    Attempt::new("use-capability", "make a device of its own, as CAP_MKNOD would let it", |_| {
        let path = super::c_path(&super::output().join("device"));
        tried(raw(libc::SYS_mknodat, &[number(libc::AT_FDCWD), address(path.as_c_str()), 0o060_666, 0xfe00]))
    }),
    Attempt::new("trusted-attribute", "set an attribute that only a capable process may", |_| {
        let path = super::output().join("attribute");
        fs::write(&path, b"x").map_err(|error| error.to_string())?;
        let path = super::c_path(&path);
        let set = raw(
            libc::SYS_setxattr,
            &[
                address(path.as_c_str()),
                address(c"security.capability"),
                address(&CAPABILITY_ATTRIBUTE),
                CAPABILITY_ATTRIBUTE.len(),
                0,
            ],
        );
        let _ = nix::unistd::unlink(path.as_c_str());
        tried(set)
    }),
];

fn unshare(flag: i32) -> Outcome {
    call(libc::SYS_unshare, &[number(flag)])
}

fn child(result: std::io::Result<libc::c_long>) -> Outcome {
    match result {
        Ok(0) => std::process::exit(0),
        other => tried(other),
    }
}

/// An empty `struct vfs_cap_data`, revision 2.
const CAPABILITY_ATTRIBUTE: [u8; 20] = [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
