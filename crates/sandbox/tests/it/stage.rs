//! What the tests share: a folder that every user can read, the helper executable in it, and a driver for one job.

use std::{
    fs,
    io::ErrorKind,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use ringfence_sandbox::RunLimits;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Who runs a job, and on what kind of host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) user: User,
    pub(crate) host: Host,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    Root,
    Ordinary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    Open,
    WithoutNamespaces,
}

/// Every combination that can be had here; as an ordinary user, root cannot.
pub(crate) fn settings() -> Vec<Setting> {
    let users = if nix::unistd::geteuid().is_root() { vec![User::Root, User::Ordinary] } else { vec![User::Ordinary] };
    let mut settings = Vec::new();
    for user in users {
        for host in [Host::Open, Host::WithoutNamespaces] {
            settings.push(Setting { user, host });
        }
    }
    settings
}

impl Setting {
    /// The level that this setting leads to, if this host offers any.
    pub(crate) fn level(self, stage: &Stage) -> Option<String> {
        let output = self.command(stage, &["probe", self.supervisor()]).output().unwrap();
        let probe: Value = serde_json::from_slice(&output.stdout).unwrap();
        let level = probe["level"].as_str().map(str::to_owned);
        if level.is_none() {
            eprintln!("skipped, no sandbox here for {self:?}: {}", probe["line"]);
        }
        if self.host == Host::WithoutNamespaces {
            assert_ne!(level.as_deref(), Some("full"), "{probe}");
        }
        level
    }

    pub(crate) fn supervisor(self) -> &'static str {
        match self.host {
            Host::Open => "supervise",
            Host::WithoutNamespaces => "supervise-without-namespaces",
        }
    }

    /// The helper with `arguments`, as this user.
    pub(crate) fn command(self, stage: &Stage, arguments: &[&str]) -> Command {
        let mut command = Command::new(stage.helper());
        command.args(arguments).stdin(Stdio::null());
        if self.user == User::Ordinary && nix::unistd::geteuid().is_root() {
            command.uid(ORDINARY_ID).gid(ORDINARY_ID).env_remove("XDG_RUNTIME_DIR");
        }
        command
    }

    /// Runs `order` (fields of the helper's order) and returns the driver's document.
    pub(crate) fn drive(self, stage: &Stage, order: &Value) -> Value {
        let order = self.order(order);
        let mut command = self.command(stage, &["drive", &order.to_string()]);
        let output = command.env(SECRET_VARIABLE, "outside").stderr(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{self:?}: the driver failed: {}", String::from_utf8_lossy(&output.stdout));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// `order` with what it leaves out.
    pub(crate) fn order(self, order: &Value) -> Value {
        let mut full = json!({
            "supervisor": self.supervisor(),
            "run_id": next_run_id(),
            "limits": limits(),
        });
        for (name, value) in order.as_object().unwrap() {
            full[name] = value.clone();
        }
        full
    }
}

/// Small limits, so that tests that reach them are quick.
pub(crate) fn limits() -> RunLimits {
    RunLimits {
        memory_bytes: 256 << 20,
        processes: 48,
        cpu_ms: 20_000,
        wall_ms: 20_000,
        output_bytes: 8 << 20,
        output_files: 64,
        scratch_bytes: 8 << 20,
        open_files: 256,
        line_bytes: 1 << 20,
    }
}

/// A run id that no other test has.
pub(crate) fn next_run_id() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A shell command as an order.
pub(crate) fn shell(script: &str) -> Value {
    json!({"command": ["sh", "-c", script]})
}

/// All events of a document that say `what`.
pub(crate) fn events<'a>(document: &'a Value, what: &str) -> Vec<&'a Value> {
    let of = |event: &'a Value| event.get("observed").or(event.get("claimed")).unwrap();
    document["events"].as_array().unwrap().iter().map(of).filter(|event| event["what"] == what).collect()
}

/// The lines that the job wrote to `stream`.
pub(crate) fn lines(document: &Value, stream: &str) -> Vec<String> {
    let lines = events(document, "line").into_iter().filter(|line| line["stream"] == stream);
    lines.map(|line| line["text"].as_str().unwrap().to_owned()).collect()
}

/// A folder that every user may enter, with the executables in it.
///
/// Only one at a time: the jobs of an ordinary user share that user's process limit, so a fork bomb in one test would
/// starve another.
pub(crate) struct Stage {
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::Builder::new().prefix("ringfence-test-").tempdir_in("/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let stage = Self { folder, _turn: turn };
        for (name, built) in [("sandbox_helper", HELPER), ("escape_probe", "escape_probe")] {
            let copy = stage.path().join(name);
            fs::copy(example(built), &copy).unwrap();
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
            // A child of another test, between fork and exec, may hold the copy open for writing.
            let busy =
                |done: std::io::Result<_>| done.is_err_and(|error| error.kind() == ErrorKind::ExecutableFileBusy);
            while busy(Command::new(&copy).arg("nothing").stdout(Stdio::null()).stderr(Stdio::null()).status()) {
                std::thread::yield_now();
            }
        }
        stage
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn helper(&self) -> PathBuf {
        self.path().join("sandbox_helper")
    }

    pub(crate) fn probe(&self) -> PathBuf {
        self.path().join("escape_probe")
    }
}

/// An example executable: `cargo test` builds them beside the tests.
pub(crate) fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is missing: build the examples", path.display());
    path
}

/// The helper of this build.
const HELPER: &str = if cfg!(feature = "ablation") { "sandbox_helper_ablation" } else { "sandbox_helper" };
/// Lies in the driver's environment and must not reach a job.
pub(crate) const SECRET_VARIABLE: &str = "RINGFENCE_TEST_SECRET_OUTSIDE";
/// An ordinary user for tests that run as root.
pub(crate) const ORDINARY_ID: u32 = 1_001;
