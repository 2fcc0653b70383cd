//! Things outside that a job must not reach, owned by the user who runs it, and a look at whether they were.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{TcpListener, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::{MetadataExt, PermissionsExt, chown},
            net::{SocketAddr, UnixListener},
        },
    },
    path::PathBuf,
    process::{Child, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::{Value, json};

use crate::stage::{ORDINARY_ID, SECRET_VARIABLE, Setting, Stage, User};

pub(crate) struct Outside {
    victim: Child,
    decoy: Child,
    tcp: TcpListener,
    udp: UdpSocket,
    path: UnixListener,
    hidden: UnixListener,
    folder: PathBuf,
    shown: PathBuf,
    objects: Vec<String>,
    abstract_name: String,
}

impl Outside {
    pub(crate) fn new(setting: Setting, stage: &Stage) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = stage.path().join(format!("outside-{number}"));
        let shown = stage.path().join(format!("shown-{number}"));
        for (path, mode) in [(&folder, 0o777), (&shown, 0o755)] {
            fs::create_dir(path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::write(folder.join("secret"), b"MARKER-secret").unwrap();
        fs::write(shown.join("file"), b"shown").unwrap();
        fs::set_permissions(shown.join("file"), fs::Permissions::from_mode(0o666)).unwrap();
        for name in ["file", "doomed", "mover"] {
            let path = folder.join(name);
            fs::write(&path, b"untouched").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            if setting.user == User::Ordinary && nix::unistd::geteuid().is_root() {
                chown(&path, Some(ORDINARY_ID), Some(ORDINARY_ID)).unwrap();
            }
        }
        for (name, mode) in [("program", 0o755), ("setuid-program", 0o4755)] {
            fs::copy(stage.probe(), folder.join(name)).unwrap();
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let path = UnixListener::bind(folder.join("socket")).unwrap();
        fs::set_permissions(folder.join("socket"), fs::Permissions::from_mode(0o777)).unwrap();
        let abstract_name = format!("ringfence-test-{}-{number}", std::process::id());
        let hidden = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&abstract_name).unwrap()).unwrap();
        for listener in [&path, &hidden] {
            listener.set_nonblocking(true).unwrap();
        }
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        tcp.set_nonblocking(true).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.set_nonblocking(true).unwrap();
        // The helper waits for its standard input to end, as the same user as the run.
        let start =
            |what| setting.command(stage, &[what]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut victim, mut decoy) = (start("victim"), start("decoy"));
        let objects = ready(&mut victim);
        ready(&mut decoy);
        Self { victim, decoy, tcp, udp, path, hidden, folder, shown, objects, abstract_name }
    }

    /// What the probe reads.
    pub(crate) fn targets(&self) -> Value {
        let object = |index: usize| self.objects[index].parse::<i32>().unwrap();
        json!({
            "secret": self.folder.join("secret"),
            "file": self.folder.join("file"),
            "doomed": self.folder.join("doomed"),
            "mover": self.folder.join("mover"),
            "folder": self.folder,
            "program": self.folder.join("program"),
            "setuid_program": self.folder.join("setuid-program"),
            "shown": self.shown.join("file"),
            "socket": self.folder.join("socket"),
            "abstract_name": self.abstract_name,
            "tcp_port": self.tcp.local_addr().unwrap().port(),
            "udp_port": self.udp.local_addr().unwrap().port(),
            "victim": self.victim.id(),
            "decoy": self.decoy.id(),
            "segment": object(0),
            "doomed_segment": object(1),
            "queue": format!("ringfence-test-{}", object(2)),
            "variable": SECRET_VARIABLE,
        })
    }

    /// The folder that the run is shown.
    pub(crate) fn shown(&self) -> &PathBuf {
        &self.shown
    }

    /// Whether the process that may die has died.
    pub(crate) fn decoy_is_dead(&mut self) -> bool {
        self.decoy.try_wait().unwrap().is_some()
    }

    pub(crate) fn assert_untouched(mut self) {
        assert!(self.victim.try_wait().unwrap().is_none(), "the process outside was killed");
        assert!(!self.decoy_is_dead(), "the other process outside was killed");
        let own = priority_and_cpus("self");
        assert_eq!(priority_and_cpus(&self.victim.id().to_string()), own, "priority or affinity outside was changed");
        assert!(self.tcp.accept().is_err() && self.path.accept().is_err() && self.hidden.accept().is_err());
        assert!(self.udp.recv(&mut [0; 8]).is_err());
        for name in ["file", "doomed", "mover"] {
            let file = self.folder.join(name);
            let metadata = fs::metadata(&file).unwrap();
            let found = (fs::read(&file).unwrap(), metadata.mode() & 0o7777);
            assert_eq!(found, (b"untouched".to_vec(), 0o640), "{name}");
        }
        assert_eq!(fs::read(self.shown.join("file")).unwrap(), b"shown");
        let names: Vec<_> = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 7, "{names:?}");
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        for child in [&mut self.victim, &mut self.decoy] {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

/// The line that the helper prints once it is ready: two segments and its process id.
fn ready(victim: &mut Child) -> Vec<String> {
    let mut line = String::new();
    BufReader::new(victim.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.split_ascii_whitespace().map(str::to_owned).collect()
}

fn priority_and_cpus(process: &str) -> (String, String) {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let nice = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(16).unwrap().to_owned();
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    (nice, cpus.to_owned())
}
