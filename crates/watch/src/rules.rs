//! Rules as data: a built-in table, and a user's file that changes it.
//!
//! * [`Kind`]: what the models can see; [`builtin`]: its [`Rule`] in the embedded table.
//! * [`Rules`]: the table with a user's changes applied ([`Rules::with`]); what [`crate::route::Router`] works by.
//! * [`user`]: the strict form of the user's file: changes, thresholds, maintenance windows, suppressions.
//!
//! What must stay true: unknown keys, unknown rules and changes without a reason are refused, and nothing of a refused
//! file takes effect. No rule of the built-in table does more than notify.

mod user;

use std::{collections::BTreeMap, sync::LazyLock};

use ringfence_schema::{
    Severity, Timestamp,
    alert::{Basis, Subject, SubjectKind},
};
use serde::{Deserialize, Serialize};

pub use user::{Maintenance, Suppression, Threshold, When};

/// Kinds of matters that the models tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is documented by its rule in `rules/builtin.toml`")]
pub enum Kind {
    Miner,
    IdleClaims,
    UsageShift,
    ForkBomb,
    MemoryBomb,
    DiskFlood,
    Limit,
    LossSpike,
    Divergence,
    Plateau,
    GradientExplosion,
    GradientVanishing,
    LabelShare,
    LearningRate,
    StepBackwards,
    StepSpeed,
    CheckpointSwap,
    DnsExfiltration,
    OtherName,
    DirectAddress,
    UnixSocket,
    RefusedName,
    PrivateTarget,
    RefusedDatagram,
    EgressBudget,
    EgressUpload,
    EscapeAttempt,
    RefusedBurst,
    NewPlace,
    UnusualHour,
    Volume,
    Dormant,
    Breadth,
    SlowExfiltration,
    DeniedBurst,
    ImpossibleTravel,
    LabelShift,
    VersionSize,
    VersionRewrite,
    VersionRate,
    Drift,
    Threshold,
}

impl Kind {
    /// The short name that alerts carry.
    pub fn name(self) -> &'static str {
        &builtin(self).kind
    }
}

/// What to do about a matter, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Tell people.
    Notify,
    /// Hold the run where it is.
    Freeze,
    /// End the run.
    Stop,
    /// End the sessions and grants of the person.
    Revoke,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Stable id: `RF-WCH-nnn`, or the user's own.
    pub id: String,
    /// Short name, such as `miner`.
    pub kind: String,
    /// One line for people.
    pub title: String,
    /// Where a matter of this kind starts.
    pub severity: Severity,
    /// Why it matters.
    pub why: String,
    /// What to do.
    pub remedy: String,
    /// What is done about it.
    #[serde(default = "notify")]
    pub actions: Vec<Action>,
    /// Alerts of this rule about one subject within this window are one group.
    pub group_minutes: u64,
    /// Whether its alerts are passed on.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether more than `notify` may be done on nothing but the job's own word.
    #[serde(default)]
    pub act_on_claims: bool,
    /// How bad a matter must be before more than `notify` is done.
    #[serde(default = "least")]
    pub act_from: Severity,
}

/// Why a file of rules was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// Too long.
    #[error("rules have {bytes} bytes, limit is {FILE_BYTES_MAX}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Not TOML, or not of this form.
    #[error("{detail}")]
    Form {
        /// What the reader says.
        detail: String,
    },
    /// The `schema` line is missing or of another version.
    #[error("schema is `{found}`, not `{RULES_SCHEMA}`")]
    Schema {
        /// What it is.
        found: String,
    },
    /// A change or suppression of a rule that does not exist.
    #[error("rule `{rule}` does not exist")]
    UnknownRule {
        /// The id.
        rule: String,
    },
    /// An entry is not acceptable.
    #[error("`{entry}`: {problem}")]
    Entry {
        /// Which.
        entry: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// The table in force.
#[derive(Debug, Clone)]
pub struct Rules {
    table: BTreeMap<String, Rule>,
    base: BTreeMap<String, Severity>,
    pub(crate) thresholds: Vec<Threshold>,
    pub(crate) maintenance: Vec<Maintenance>,
    pub(crate) suppressions: Vec<Suppression>,
    reasons: BTreeMap<String, String>,
}

impl Rules {
    /// The built-in table, unchanged.
    pub fn builtin() -> Self {
        let table: BTreeMap<String, Rule> = TABLE.values().map(|rule| (rule.id.clone(), rule.clone())).collect();
        let base = table.iter().map(|(id, rule)| (id.clone(), rule.severity)).collect();
        Self {
            table,
            base,
            thresholds: Vec::new(),
            maintenance: Vec::new(),
            suppressions: Vec::new(),
            reasons: BTreeMap::new(),
        }
    }

    /// This table with a user's file (TOML) applied; all of it or nothing.
    ///
    /// # Errors
    /// [`RulesError`], naming the entry.
    pub fn with(&self, file: &str) -> Result<Self, RulesError> {
        user::apply(self, file)
    }

    /// The rule with this id.
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.table.get(id)
    }

    /// All rules, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.table.values()
    }

    /// The user's threshold rules.
    pub fn thresholds(&self) -> &[Threshold] {
        &self.thresholds
    }

    /// Why the user changed this rule, if so.
    pub fn reason(&self, id: &str) -> Option<&str> {
        self.reasons.get(id).map(String::as_str)
    }

    /// An alert's severity by this table: moved by as much as the user moved the rule.
    pub(crate) fn severity(&self, id: &str, seen: Severity) -> Severity {
        let (Some(rule), Some(base)) = (self.table.get(id), self.base.get(id)) else { return seen };
        let moved = rank(seen) + rank(rule.severity) - rank(*base);
        Severity::ALL.iter().copied().find(|severity| rank(*severity) == moved).unwrap_or(if moved < 0 {
            Severity::Info
        } else {
            Severity::Critical
        })
    }

    /// The maintenance window that holds for this subject now.
    pub(crate) fn maintained(&self, subject: &Subject, at: Timestamp) -> Option<&Maintenance> {
        self.maintenance.iter().find(|window| window.subject.matches(subject) && window.when.holds(at))
    }

    /// The suppression that holds for this rule and subject now.
    pub(crate) fn suppressed(&self, rule: &str, subject: &Subject, at: Timestamp) -> Option<&Suppression> {
        self.suppressions.iter().find(|entry| entry.rule == rule && entry.subject.matches(subject) && at < entry.until)
    }

    /// What is done about a new matter, or one that became graver: more than `notify` only on what was observed, unless the
    /// rule says otherwise, and from the severity on that it names.
    pub(crate) fn actions(&self, id: &str, basis: Basis, severity: Severity) -> Vec<Action> {
        let Some(rule) = self.table.get(id) else { return notify() };
        if (basis == Basis::Claimed && !rule.act_on_claims) || severity < rule.act_from {
            return rule.actions.iter().copied().filter(|action| *action == Action::Notify).collect();
        }
        rule.actions.clone()
    }
}

/// A pattern of subjects: `run:nightly-*`, `person:*`, `*`. A star stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectPattern {
    kind: Option<SubjectKind>,
    name: String,
}

impl SubjectPattern {
    /// Reads `kind:pattern`, or a pattern for names of every kind.
    pub fn parse(text: &str) -> Self {
        let kinds = [SubjectKind::Run, SubjectKind::Person, SubjectKind::Artifact, SubjectKind::Series];
        let parts = text.split_once(':').and_then(|(kind, name)| {
            kinds.into_iter().find(|known| known.name() == kind).map(|kind| (Some(kind), name))
        });
        let (kind, name) = parts.unwrap_or((None, text));
        Self { kind, name: name.to_owned() }
    }

    /// Whether the subject is one of these.
    pub fn matches(&self, subject: &Subject) -> bool {
        self.kind.is_none_or(|kind| kind == subject.kind) && star_matches(&self.name, &subject.name)
    }
}

/// Matches with `*` for any text, in time linear in the name for each star.
fn star_matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let middle: Vec<&str> = parts.collect();
    let Some((last, middle)) = middle.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

/// The built-in rule of a kind.
pub fn builtin(kind: Kind) -> &'static Rule {
    TABLE.get(&kind).unwrap_or(&MISSING)
}

/// Every built-in rule.
pub fn builtins() -> impl Iterator<Item = &'static Rule> {
    TABLE.values()
}

/// What is wrong with the embedded table, for the test that holds it.
pub fn builtin_problem() -> Option<String> {
    read_table().err()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    schema: String,
    rule: Vec<Rule>,
}

fn read_table() -> Result<BTreeMap<Kind, Rule>, String> {
    let table: Table = toml::from_str(include_str!("rules/builtin.toml")).map_err(|error| error.to_string())?;
    if table.schema != RULES_SCHEMA {
        return Err(format!("schema is `{}`", table.schema));
    }
    let mut rules = BTreeMap::new();
    for rule in table.rule {
        let name = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(&rule.kind);
        let kind = Kind::deserialize(name).map_err(|error| error.to_string())?;
        if rules.insert(kind, rule).is_some() {
            return Err(format!("{kind:?} twice"));
        }
    }
    Ok(rules)
}

fn rank(severity: Severity) -> i8 {
    match severity {
        Severity::Info => 0,
        Severity::Low => 1,
        Severity::Medium => 2,
        Severity::High => 3,
        Severity::Critical => 4,
    }
}

fn least() -> Severity {
    Severity::Low
}

fn notify() -> Vec<Action> {
    vec![Action::Notify]
}

fn yes() -> bool {
    true
}

// INVARIANT: the embedded table parses and has every kind; `tests/it/rules.rs` holds it.
static TABLE: LazyLock<BTreeMap<Kind, Rule>> = LazyLock::new(|| read_table().unwrap_or_default());

/// Stands in where the table would lack a kind, so that an alert is never lost for want of a text.
static MISSING: LazyLock<Rule> = LazyLock::new(|| Rule {
    id: "RF-WCH-000".to_owned(),
    kind: "unnamed".to_owned(),
    title: String::new(),
    severity: Severity::Medium,
    why: String::new(),
    remedy: String::new(),
    actions: notify(),
    group_minutes: 60,
    enabled: true,
    act_on_claims: false,
    act_from: Severity::Low,
});

/// The `schema` of every file of rules.
pub const RULES_SCHEMA: &str = "ringfence.rules/1";
/// Longest file of rules, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;
