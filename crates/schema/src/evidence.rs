//! What a signed statement says.
//!
//! Every control yields an in-toto Statement v1 (<https://in-toto.io/Statement/v1>) whose predicate is an [`Evidence`];
//! a run yields SLSA provenance v1 instead. `trust` signs and checks them; gates read them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{digest::Digest, time::Timestamp};

/// `_type` of an in-toto statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// What kind of control speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EvidenceKind {
    /// A model scan.
    Scan,
    /// A dataset screening.
    Screen,
    /// SLSA provenance of a run.
    Provenance,
    /// A robustness card.
    Robustness,
    /// A person's decision on what was held.
    Review,
    /// The list of files of a released bundle.
    Release,
}

impl EvidenceKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Scan, Self::Screen, Self::Provenance, Self::Robustness, Self::Review, Self::Release];

    /// The in-toto predicate type.
    pub fn predicate_type(self) -> &'static str {
        match self {
            Self::Scan => "urn:ringfence:evidence:scan:1",
            Self::Screen => "urn:ringfence:evidence:screen:1",
            Self::Provenance => "https://slsa.dev/provenance/v1",
            Self::Robustness => "urn:ringfence:evidence:robustness:1",
            Self::Review => "urn:ringfence:evidence:review:1",
            Self::Release => "urn:ringfence:evidence:release:1",
        }
    }

    /// The kind with this predicate type.
    pub fn from_predicate_type(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.predicate_type() == text)
    }

    /// The name used in files, policies and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Screen => "screen",
            Self::Provenance => "provenance",
            Self::Robustness => "robustness",
            Self::Review => "review",
            Self::Release => "release",
        }
    }
}

/// in-toto `ResourceDescriptor`, the parts that are used here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// What people call it.
    pub name: String,
    /// Algorithm → hexadecimal value; `sha256` is always there.
    pub digest: BTreeMap<String, String>,
}

impl Subject {
    /// A subject named by its SHA-256.
    pub fn new(name: impl Into<String>, digest: Digest) -> Self {
        Self { name: name.into(), digest: BTreeMap::from([("sha256".to_owned(), digest.hex())]) }
    }

    /// Its SHA-256, if that is well-formed.
    pub fn sha256(&self) -> Option<Digest> {
        format!("sha256:{}", self.digest.get("sha256")?).parse().ok()
    }
}

/// in-toto Statement v1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub statement_type: String,
    /// What it speaks of.
    pub subject: Vec<Subject>,
    /// What kind of predicate follows.
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// The predicate.
    pub predicate: serde_json::Value,
}

impl Statement {
    /// A statement of `kind` on `subject`.
    pub fn new(kind: EvidenceKind, subject: Vec<Subject>, predicate: serde_json::Value) -> Self {
        Self {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject,
            predicate_type: kind.predicate_type().to_owned(),
            predicate,
        }
    }

    /// The kind, if it is one of ours and the statement type is right.
    pub fn kind(&self) -> Option<EvidenceKind> {
        (self.statement_type == STATEMENT_TYPE)
            .then(|| EvidenceKind::from_predicate_type(&self.predicate_type))
            .flatten()
    }
}

/// The conclusion that a gate reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EvidenceVerdict {
    /// Nothing stands against passage.
    Pass,
    /// A blocking finding stands.
    Block,
    /// The control could not finish; a refusal at gates.
    Incomplete,
}

/// The predicate of all evidence but provenance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The vault that it was made in.
    pub vault: String,
    /// Name and version of the tool.
    pub tool: String,
    /// Digest of the rules that were applied.
    pub rules: Digest,
    /// Digest of the configuration.
    pub config: Digest,
    /// Digest of the policy in force.
    pub policy: Digest,
    /// Other inputs by role: base, labels, test data.
    #[serde(default)]
    pub inputs: BTreeMap<String, Digest>,
    /// How much was covered: counts by name.
    #[serde(default)]
    pub coverage: BTreeMap<String, u64>,
    /// Whether all of the subject was covered.
    pub complete: bool,
    /// When it was made.
    pub issued_ms: Timestamp,
    /// When it stops counting.
    pub expires_ms: Timestamp,
    /// The conclusion.
    pub verdict: EvidenceVerdict,
    /// SHA-256 of the full report's canonical JSON.
    pub report: Digest,
    /// What a gate or a reader needs of the report.
    #[serde(default)]
    pub summary: BTreeMap<String, serde_json::Value>,
}
