//! Files and folders of the host, and what the job was given to read.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use nix::libc;

use super::{At, Attempt, Outcome, Targets, address, address_mut, c_path, call, door, input, number, raw, tried};

pub(crate) const ATTEMPTS: &[Attempt] = &[
    Attempt::new("read-host-file", "read a world-readable file", |targets| tried(fs::read(&targets.secret))),
    Attempt::new("list-host-folder", "list a folder", |targets| tried(fs::read_dir(&targets.folder))),
    Attempt::new("read-passwd", "read the host's users", |_| {
        let text = fs::read_to_string("/etc/passwd").map_err(|error| error.to_string())?;
        if text.lines().count() > 3 { Ok(text) } else { Err("only the sandbox's own".to_owned()) }
    }),
    Attempt::new("read-shadow", "read /etc/shadow", |_| tried(fs::read("/etc/shadow"))),
    Attempt::new("list-root", "list /root", |_| tried(fs::read_dir("/root"))),
    Attempt::new("list-home", "list /home", |_| tried(fs::read_dir("/home"))),
    Attempt::new("list-var", "list /var/log", |_| tried(fs::read_dir("/var/log"))),
    Attempt::new("write-host-file", "write a file", |targets| tried(fs::write(&targets.file, b"x"))),
    Attempt::new("truncate-host-file", "truncate a file", |targets| {
        call(libc::SYS_truncate, &[address(c_path(&targets.file).as_c_str()), 0])
    }),
    Attempt::new("make-host-file", "make a file", |targets| {
        let path = targets.folder.join("new");
        let made = tried(fs::write(&path, b"x"));
        let _ = fs::remove_file(path);
        made
    }),
    Attempt::new("make-host-folder", "make a folder", |targets| {
        let path = targets.folder.join("newdir");
        let made = tried(fs::create_dir(&path));
        let _ = fs::remove_dir(path);
        made
    }),
    Attempt::new("rename-host-file", "rename a file", |targets| {
        tried(fs::rename(&targets.mover, targets.folder.join("moved")))
    }),
    Attempt::new("remove-host-file", "remove a file", |targets| tried(fs::remove_file(&targets.doomed))),
    Attempt::new("run-host-program", "run a program of a host's folder", |targets| {
        tried(Command::new(&targets.program).arg("who").output())
    }),
    Attempt::new("link-to-host-file", "read through a link of its own", |targets| {
        let link = scratch().join("link-to-secret");
        let _ = symlink(&targets.secret, &link);
        tried(fs::read(link))
    }),
    Attempt::new("hard-link-to-host-file", "give a file a second name in /tmp", |targets| {
        tried(fs::hard_link(&targets.secret, scratch().join("hard-link")))
    }),
    Attempt::new("host-through-proc-root", "reach the host through /proc/1/root", |targets| {
        tried(fs::read(below(Path::new("/proc/1/root"), &targets.secret)))
    }),
    Attempt::new("host-through-supervisor-root", "reach the host through its parent's root", |targets| {
        let root = format!("/proc/{}/root", nix::unistd::getppid());
        let parent_of_parent = PathBuf::from(root).join("..");
        tried(fs::read(below(&parent_of_parent, &targets.secret)))
    }),
    Attempt::new("climb-out", "climb out with ..", |targets| {
        tried(fs::read(below(&input().join("../../../../../.."), &targets.secret)))
    }),
    Attempt::new("write-inputs", "write its inputs", |_| {
        tried(fs::OpenOptions::new().write(true).open(targets_file()))
    }),
    Attempt::new("add-inputs", "add to its inputs", |_| tried(fs::write(input().join("more"), b"x")))
        .only(At::NamespacesOnly),
    Attempt::new("unlock-inputs", "make its inputs writable, then write them", |_| {
        let path = c_path(&targets_file());
        raw(libc::SYS_fchmodat, &[number(libc::AT_FDCWD), address(path.as_c_str()), 0o666])
            .map_err(|error| error.to_string())?;
        tried(fs::OpenOptions::new().append(true).open(targets_file()))
    }),
    Attempt::new("write-own-program", "write its own program", |_| {
        tried(fs::OpenOptions::new().append(true).open("./escape_probe"))
    }),
    Attempt::new("write-system", "write into /usr/bin", |_| {
        let path = Path::new("/usr/bin/ringfence-was-here");
        let made = tried(fs::write(path, b"x"));
        let _ = fs::remove_file(path);
        made
    }),
    Attempt::new("write-shown-folder", "write a world-writable file in a folder that it was shown", |targets| {
        tried(fs::OpenOptions::new().append(true).open(&targets.shown))
    }),
    Attempt::new("write-root-folder", "make a file in the root folder", |_| {
        let path = Path::new("/ringfence-was-here");
        let made = tried(fs::write(path, b"x"));
        let _ = fs::remove_file(path);
        made
    }),
    Attempt::new("chmod-host-file", "chmod", |targets| attribute(targets, libc::SYS_fchmodat, &[0o640])),
    Attempt::new("chown-host-file", "chown to another user", |targets| {
        attribute(targets, libc::SYS_fchownat, &[4_242, 4_242, 0])
    }),
    Attempt::new("touch-host-file", "change its times", |targets| attribute(targets, libc::SYS_utimensat, &[0, 0])),
    Attempt::new("set-attribute-of-host-file", "set an extended attribute", |targets| {
        let path = c_path(&targets.file);
        let (name, value) = (c"user.ringfence", b"x");
        call(libc::SYS_setxattr, &[address(path.as_c_str()), address(name), address(value), 1, 0])
    }),
    #[cfg(target_arch = "x86_64")]
    Attempt::new("old-chmod-host-file", "chmod, the old call", |targets| {
        call(libc::SYS_chmod, &[address(c_path(&targets.file).as_c_str()), 0o640])
    }),
    #[cfg(target_arch = "x86_64")]
    Attempt::new("old-utime-host-file", "utime, the old call", |targets| {
        call(libc::SYS_utime, &[address(c_path(&targets.file).as_c_str()), 0])
    }),
    Attempt::new("name-to-handle", "get a handle of a file, past all paths", |_| {
        let mut handle = [128_u32; 64];
        let mut mount = 0_i32;
        let at = number(libc::AT_FDCWD);
        door(libc::SYS_name_to_handle_at, &[at, address(c"/usr"), address_mut(&mut handle), address_mut(&mut mount), 0])
    }),
    Attempt::new("open-by-handle", "open a file by a guessed handle", |_| {
        let handle = [8_u32, 1, 2, 0];
        door(libc::SYS_open_by_handle_at, &[number(libc::AT_FDCWD), address(&handle), 0])
    }),
];

fn attribute(targets: &Targets, call_number: libc::c_long, rest: &[usize]) -> Outcome {
    let path = c_path(&targets.file);
    let arguments = [&[number(libc::AT_FDCWD), address(path.as_c_str())], rest].concat();
    call(call_number, &arguments)
}

fn targets_file() -> PathBuf {
    input().join("targets.json")
}

fn scratch() -> PathBuf {
    PathBuf::from(std::env::var_os("TMPDIR").unwrap())
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").map_err(io::Error::other).unwrap())
}
