//! The alerts that the tests of sinks share, and settings that reach servers on loopback.

use std::path::{Path, PathBuf};

use ringfence_reach::{
    HostRule, Network, Reach, Roots, Scheme, Secrets, Settings,
    sink::{Destination, Outlet, Parcel, SinkSettings},
    testing::open_settings,
};
use ringfence_schema::{
    Severity, Timestamp,
    alert::{Alert, Basis, Subject, SubjectKind},
};

pub(crate) const VAULT: &str = "rfv1-test";

pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000)
}

pub(crate) fn alert(number: u64) -> Alert {
    let subject = Subject { kind: SubjectKind::Run, name: "r-0123456789abcdef".into() };
    let since = Timestamp::from_millis(1_799_999_000_000 + number);
    Alert {
        id: Alert::identify("RF-WCH-001", &subject, "cpu", since),
        rule: "RF-WCH-001".into(),
        kind: "miner".into(),
        severity: Severity::High,
        subject,
        signal: "cpu".into(),
        basis: Basis::Both,
        expected: "0.4 to 1.2 steps for each CPU-second".into(),
        seen: "0 steps in 212 CPU-seconds".into(),
        since,
        at: Timestamp::from_millis(1_799_999_030_250 + number),
        confidence: 0.9993,
        message: "the run is busy and makes no progress".into(),
        why: "somebody may use it for work of their own".into(),
        remedy: "freeze the run and look at what it executes".into(),
    }
}

/// An alert in which everything that a stranger can choose is hostile.
pub(crate) fn hostile() -> Alert {
    let nasty = "a\"b]c\\d\r\n.\r\nFrom: x@y\t<14>1 \u{202e}\u{1f600} \u{0} =?utf-8?B?eA==?= ${x} {{x}} e\u{301}";
    let subject = Subject { kind: SubjectKind::Artifact, name: nasty.into() };
    Alert {
        rule: "R\"] x\n".into(),
        kind: nasty.into(),
        severity: Severity::Critical,
        signal: nasty.into(),
        expected: nasty.repeat(40),
        seen: nasty.repeat(40),
        confidence: f64::NAN,
        message: nasty.repeat(400),
        why: nasty.into(),
        remedy: nasty.into(),
        subject,
        ..alert(7)
    }
}

pub(crate) fn parcel(alert: &Alert) -> Parcel<'_> {
    Parcel { vault: VAULT, sequence: 42, alert }
}

pub(crate) fn parcels(alerts: &[Alert]) -> Vec<Parcel<'_>> {
    alerts.iter().zip(1..).map(|(alert, sequence)| Parcel { vault: VAULT, sequence, alert }).collect()
}

pub(crate) fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

/// Reaches `port` of `localhost` over TLS with the tests' authority, and of `127.0.0.1` in the clear.
pub(crate) fn settings(port: u16) -> Settings {
    let mut settings = Settings { roots: Roots::File(tls_file("ca.pem")), ..open_settings(&[port]) };
    // A busy machine must not look like a server that dawdles.
    (settings.limits.answer_ms, settings.limits.idle_ms) = (1_500, 2_000);
    let host = "localhost".parse().unwrap();
    settings.egress.hosts.push(HostRule { host, port: Some(port), scheme: Scheme::Https, network: Network::Local });
    settings
}

/// Opens the sink that `to` describes, a value of `sinks.toml`.
pub(crate) fn open(settings: Settings, to: &str) -> Result<Outlet, String> {
    let sink: SinkSettings = toml::from_str(&format!("name = \"test\"\nto.{to}")).map_err(|error| error.to_string())?;
    assert_eq!(sink.min_severity, Severity::Medium);
    assert!(matches!(sink.to, Destination::Prometheus(_)) != sink.to.takes_alerts());
    let reach = Reach::new(settings, Secrets::default()).unwrap();
    reach.open_sink(&sink).map_err(|error| error.to_string())
}
