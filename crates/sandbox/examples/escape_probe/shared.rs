//! What comes with a process, and what all processes of a host share.

use std::{
    env, fs,
    io::{self, Read},
};

use nix::libc;

use super::{At, Attempt, Outcome, address, call, number, raw, tried};

pub(crate) const INHERITED: &[Attempt] = &[
    Attempt::new("inherited-descriptor", "find an open descriptor", |_| {
        let open: Vec<usize> =
            (3..1_024).filter(|fd| raw(libc::SYS_fcntl, &[*fd, number(libc::F_GETFD)]).is_ok()).collect();
        if open.is_empty() { Err("none".to_owned()) } else { Ok(format!("{open:?}")) }
    }),
    Attempt::new("inherited-variable", "find a variable of the caller", |targets| {
        env::var(&targets.variable).map_err(|error| error.to_string())
    }),
    Attempt::new("inherited-input", "read from standard input", |_| {
        let mut text = String::new();
        match io::stdin().read_to_string(&mut text) {
            Ok(0) => Err("it is empty".to_owned()),
            other => tried(other),
        }
    }),
    Attempt::new("inherited-session", "be in the caller's session", |_| {
        // The job is the parent of this process and leads the session.
        let session = raw(libc::SYS_getsid, &[0]).map_err(|error| error.to_string())?;
        let own = libc::c_long::from(nix::unistd::getppid().as_raw());
        if session == own { Err("its own".to_owned()) } else { Ok(format!("session {session}")) }
    }),
];

pub(crate) const ATTEMPTS: &[Attempt] = &[
    Attempt::new("attach-segment", "attach shared memory of the host", |targets| {
        call(libc::SYS_shmat, &[number(targets.segment), 0, 0])
    }),
    Attempt::new("remove-segment", "remove shared memory of the host", |targets| {
        call(libc::SYS_shmctl, &[number(targets.doomed_segment), 0, 0])
    }),
    Attempt::new("open-queue", "open a message queue of the host", |targets| {
        let name = std::ffi::CString::new(targets.queue.as_str()).unwrap();
        call(libc::SYS_mq_open, &[address(name.as_c_str()), number(libc::O_RDWR), 0, 0])
    }),
    Attempt::new("list-segments", "see which segments there are", |_| {
        let text = fs::read_to_string("/proc/sysvipc/shm").map_err(|error| error.to_string())?;
        if text.lines().count() > 1 { Ok(text) } else { Err("none".to_owned()) }
    }),
    Attempt::new("list-shm", "see what is in the host's /dev/shm", |_| {
        let entries = fs::read_dir("/dev/shm").map_err(|error| error.to_string())?.count();
        if entries > 0 { Ok(format!("{entries} entries")) } else { Err("its own is empty".to_owned()) }
    }),
    Attempt::new("make-segment", "make shared memory", |_| {
        made(raw(libc::SYS_shmget, &[0, 4_096, 0o1666]), libc::SYS_shmctl)
    })
    .only(At::LandlockOnly),
    Attempt::new("make-semaphore", "make a semaphore", |_| {
        made(raw(libc::SYS_semget, &[0, 1, 0o1666]), libc::SYS_semctl)
    })
    .only(At::LandlockOnly),
    Attempt::new("make-message-queue", "make a message queue", |_| {
        made(raw(libc::SYS_msgget, &[0, 0o1666]), libc::SYS_msgctl)
    })
    .only(At::LandlockOnly),
    Attempt::new("watch-host-folder", "be told what happens in a folder", |_| {
        let watch = raw(libc::SYS_inotify_init1, &[0]).map_err(|error| error.to_string())?;
        call(libc::SYS_inotify_add_watch, &[watch.cast_unsigned().try_into().unwrap(), address(c"/tmp"), 0xfff])
    })
    .only(At::LandlockOnly),
];

/// An object that could be made is removed again (`IPC_RMID` is 0): it would outlive the run.
fn made(object: io::Result<libc::c_long>, control: libc::c_long) -> Outcome {
    if let Ok(id) = object {
        let _ = raw(control, &[id.cast_unsigned().try_into().unwrap(), 0, 0]);
    }
    tried(object)
}

/// Has one of everything that a neighbour could want, says so in one line, and waits to be killed.
pub(crate) fn neighbour() -> ! {
    use std::os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    };
    let run = env::var("RINGFENCE_RUN_ID").unwrap();
    // A name that the other run has not: both have a /tmp of their own.
    let scratch = std::path::PathBuf::from(env::var_os("TMPDIR").unwrap()).join(&run);
    fs::create_dir(&scratch).unwrap();
    let open_to_all = |name: &str| {
        let path = scratch.join(name);
        fs::write(&path, "MARKER-neighbour").unwrap();
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        // Refused where attributes of files are.
        let _ = fs::set_permissions(&path, everybody);
        path
    };
    let abstract_name = format!("ringfence-neighbour-{run}");
    let name = SocketAddr::from_abstract_name(&abstract_name).unwrap();
    // No socket at all at level `landlock`, and no segment: then there is nothing to be reached.
    let sockets = [UnixListener::bind_addr(&name), UnixListener::bind(scratch.join("socket"))];
    let tcp = std::net::TcpListener::bind("127.0.0.1:0");
    let segment = || raw(libc::SYS_shmget, &[0, 4_096, 0o1666]).map_or(0, |id| i32::try_from(id).unwrap());
    let port = tcp.as_ref().map_or(1, |listener| listener.local_addr().unwrap().port());
    let told = serde_json::json!({
        "secret": open_to_all("secret"),
        "file": open_to_all("file"),
        "doomed": open_to_all("doomed"),
        "mover": open_to_all("mover"),
        "folder": &scratch,
        "program": open_to_all("program"),
        "setuid_program": open_to_all("setuid-program"),
        "shown": open_to_all("shown"),
        "socket": scratch.join("socket"),
        "abstract_name": abstract_name,
        "tcp_port": port,
        "udp_port": port,
        "victim": 0,
        "decoy": 0,
        "segment": segment(),
        "doomed_segment": segment(),
        "queue": abstract_name,
        "variable": "RINGFENCE_NEIGHBOUR",
    });
    println!("{told}");
    loop {
        std::thread::park();
        std::hint::black_box((&sockets, &tcp));
    }
}
