//! A vault with a clock of its own, sinks on loopback, and alerts to raise.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use ringfence_engine::{
    Passphrase, Protection, Settings, Silent, Vault,
    alerts::SINKS_FILE,
    reach::{
        HostRule, Network, Reach, ReachError, Roots, Scheme, Secrets,
        testing::{Reply, Server, open_settings},
    },
    schema::{
        Digest, Severity, Timestamp,
        alert::{Alert, Basis, Subject, SubjectKind},
    },
};

type Clock = Box<dyn Fn() -> Timestamp + Sync>;
type Way = Box<dyn Fn() -> Result<Reach, ReachError> + Sync>;

/// A folder with a vault and a configuration.
pub(crate) struct World {
    pub(crate) home: PathBuf,
    millis: Arc<AtomicU64>,
    clock: Clock,
    way: Way,
    folder: Option<tempfile::TempDir>,
}

impl World {
    /// A new folder whose sinks may be on these ports of loopback.
    pub(crate) fn new(ports: &[u16]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut world = Self::at(folder.path(), ports);
        world.folder = Some(folder);
        world
    }

    /// The same with little patience for servers that dawdle.
    pub(crate) fn hasty(ports: &[u16]) -> Self {
        let mut world = Self::new(ports);
        let reach = open_settings(ports);
        world.way = Box::new(move || Reach::new(reach.clone(), Secrets::default()));
        world
    }

    /// The folder of another process.
    pub(crate) fn at(home: &Path, ports: &[u16]) -> Self {
        let mut reach = open_settings(ports);
        reach.roots = Roots::File(tls_file("ca.pem"));
        // A busy machine must not look like a sink that is down.
        (reach.limits.answer_ms, reach.limits.idle_ms) = (10_000, 5_000);
        for port in ports {
            let host = "localhost".parse().unwrap();
            reach.egress.hosts.push(HostRule {
                host,
                port: Some(*port),
                scheme: Scheme::Https,
                network: Network::Local,
            });
        }
        let millis = Arc::new(AtomicU64::new(1_800_000_000_000));
        let told = Arc::clone(&millis);
        Self {
            home: home.to_owned(),
            millis,
            clock: Box::new(move || Timestamp::from_millis(told.load(Ordering::SeqCst))),
            way: Box::new(move || Reach::new(reach.clone(), Secrets::default())),
            folder: None,
        }
    }

    pub(crate) fn settings(&self) -> Settings<'_> {
        Settings {
            vault: self.home.join("vault"),
            config: self.home.join("config"),
            program: PathBuf::from("/nonexistent"),
            now: &*self.clock,
            passphrase: &no_passphrase,
            reach: &*self.way,
            progress: &Silent,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(crate) fn pass(&self, millis: u64) -> Timestamp {
        Timestamp::from_millis(self.millis.fetch_add(millis, Ordering::SeqCst) + millis)
    }

    /// Writes `sinks.toml`.
    pub(crate) fn sinks(&self, text: &str) {
        fs::create_dir_all(self.home.join("config")).unwrap();
        fs::write(self.home.join("config").join(SINKS_FILE), text).unwrap();
    }

    pub(crate) fn catalog(&self) -> PathBuf {
        self.home.join("vault/catalog.sqlite")
    }
}

fn no_passphrase(_: ringfence_engine::Asked) -> std::io::Result<Passphrase> {
    Err(std::io::Error::other("no passphrase here"))
}

pub(crate) fn init<'s>(settings: &'s Settings<'s>) -> Vault<'s> {
    Vault::init(settings, Protection::KeyFile).unwrap()
}

pub(crate) fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../reach/tests/tls").join(name)
}

pub(crate) fn alert(number: u64) -> Alert {
    let subject = Subject { kind: SubjectKind::Run, name: format!("r-{}", number % 7) };
    let since = Timestamp::from_millis(1_799_000_000_000 + number);
    Alert {
        id: Alert::identify("RF-WCH-001", &subject, "cpu", since),
        rule: "RF-WCH-001".into(),
        kind: "miner".into(),
        severity: Severity::High,
        subject,
        signal: "cpu".into(),
        basis: Basis::Observed,
        expected: "steps".into(),
        seen: "no steps".into(),
        since,
        at: since.plus_millis(1_000),
        confidence: 0.99,
        message: format!("unmistakable words number {number}"),
        why: "somebody may use it".into(),
        remedy: "look at it".into(),
    }
}

pub(crate) fn some(numbers: std::ops::Range<u64>) -> Vec<Alert> {
    numbers.map(alert).collect()
}

/// What a webhook received, in order, repeats included.
#[derive(Clone, Default)]
pub(crate) struct Inbox(Arc<Mutex<Vec<Digest>>>);

impl Inbox {
    pub(crate) fn start(&self, port: u16) -> Server {
        let inbox = self.clone();
        let serve = move |request: &ringfence_engine::reach::testing::Request| {
            inbox.take(request);
            Reply::new(200, &b"{}"[..])
        };
        Server::start(port, serve).unwrap()
    }

    pub(crate) fn take(&self, request: &ringfence_engine::reach::testing::Request) {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let alert: Alert = serde_json::from_value(body["data"]["alert"].clone()).unwrap();
        assert_eq!(request.header("webhook-id").unwrap(), format!("alert-{}", alert.id.hex()));
        self.0.lock().unwrap().push(alert.id);
    }

    pub(crate) fn ids(&self) -> Vec<Digest> {
        self.0.lock().unwrap().clone()
    }
}

/// Each id once, where it came first.
pub(crate) fn firsts(ids: &[Digest]) -> Vec<Digest> {
    let mut seen = std::collections::BTreeSet::new();
    ids.iter().copied().filter(|id| seen.insert(*id)).collect()
}

pub(crate) fn ids(alerts: &[Alert]) -> Vec<Digest> {
    alerts.iter().map(|alert| alert.id).collect()
}

pub(crate) fn webhook(name: &str, port: u16) -> String {
    format!("[[sink]]\nname = \"{name}\"\nto.webhook = {{ url = \"http://127.0.0.1:{port}/hook\" }}\n")
}
