//! Alerts: findings raised while something is happening.
//!
//! An alert says what was expected, what was seen, since when and how sure the model is, and whose word it rests on. Its
//! [`Alert::id`] is made once from what it is about, so that a sink which gets it twice can tell.

use serde::{Deserialize, Serialize};

use crate::{Digest, Hasher, Severity, Timestamp, event::RunEvent};

/// Something stopped looking normal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// SHA-256 of rule, subject, signal and `since` ([`Alert::identify`]): the same for the same matter.
    pub id: Digest,
    /// Stable rule id, such as `RF-WCH-001`.
    pub rule: String,
    /// Short name of the rule, such as `miner`.
    pub kind: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
    /// Which measurement: `cpu`, `loss`, `egress:files.example` …; fit to print.
    pub signal: String,
    /// Whose word it rests on.
    pub basis: Basis,
    /// What the model expected, with its unit.
    pub expected: String,
    /// What was seen, with its unit.
    pub seen: String,
    /// Since when it has looked like this.
    pub since: Timestamp,
    /// When it was raised.
    pub at: Timestamp,
    /// How sure: 0 to 1; one minus the estimated chance of seeing this while all is normal.
    pub confidence: f64,
    /// One lower-case sentence without a full stop.
    pub message: String,
    /// Why it matters.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

impl Alert {
    /// The id of the matter that `rule` sees at `subject` in `signal` since `since`.
    pub fn identify(rule: &str, subject: &Subject, signal: &str, since: Timestamp) -> Digest {
        // Names are text of any kind, so each is preceded by its length: no two matters share the same bytes.
        let mut hasher = Hasher::new();
        for part in [rule, subject.kind.name(), &subject.name, signal] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(&since.millis().to_be_bytes());
        hasher.finish()
    }
}

/// What an alert is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// What kind of thing.
    pub kind: SubjectKind,
    /// Its name: a run's id, a person's name, `dataset/digits`; fit to print.
    pub name: String,
}

/// Kinds of things that alerts are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SubjectKind {
    /// A run.
    Run,
    /// A person or a service account.
    Person,
    /// An artifact.
    Artifact,
    /// A stream of measurements without a meaning that is known here.
    Series,
}

impl SubjectKind {
    /// `run`, `person`, `artifact` or `series`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Person => "person",
            Self::Artifact => "artifact",
            Self::Series => "series",
        }
    }
}

/// Whose word an alert rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The kernel's, or the trail's.
    Observed,
    /// The job's own.
    Claimed,
    /// What the job says does not fit what was observed.
    Both,
}

/// Somebody reached for an artifact: one line of the trail, as the models of people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub person: String,
    /// Their roles, which make them somebody's peers.
    #[serde(default)]
    pub roles: Vec<String>,
    /// What they did: `read`, `export`, `add` …
    pub action: String,
    /// To which artifact.
    pub artifact: String,
    /// From where: a network address, a host, a terminal.
    #[serde(default)]
    pub place: String,
    /// How many bytes.
    #[serde(default)]
    pub bytes: u64,
    /// Whether it was allowed.
    pub allowed: bool,
}

/// One line of a run's telemetry: what happened, or what was made of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TelemetryLine {
    /// An event of the run.
    Event(RunEvent),
    /// An alert raised over it.
    Alert {
        /// The alert.
        alert: Box<Alert>,
    },
}
