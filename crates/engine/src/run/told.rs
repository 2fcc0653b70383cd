//! What travels between a vault and a machine elsewhere that runs a command for it, and what is made of it here.
//!
//! Everything that comes from such a machine is its word: [`event`] and [`outcome`] make it fit to
//! keep and to print, within limits. They cannot make it true. Facts and claims stay the two types that they are.

#![deny(clippy::indexing_slicing)]

use std::{collections::BTreeMap, fmt};

use ringfence_sandbox::{Demand, EgressPolicy, Ending, Level, RunResult};
use ringfence_schema::{
    Digest,
    event::{Claimed, Observed, RunEvent, Source},
    finding::printable,
    tree::TreeEntry,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{job::Given, live::Order};
use crate::{error::EngineError, plan::DemandedLevel};

/// Most events of one message.
pub const EVENTS_MAX: usize = 1_000;
/// Longest text that a machine tells, in characters: a line of the job's output.
const TEXT_CHARS_MAX: usize = 4_096;
/// Longest name, in characters.
const NAME_CHARS_MAX: usize = 200;
/// Most measures, graphics processors, labels or refused calls of one message.
const LIST_MAX: usize = 256;
/// Largest account of a machine's environment, in bytes of JSON.
const ENVIRONMENT_BYTES_MAX: usize = 32 << 10;
/// How far ahead of the vault's clock an event may say that it is, in milliseconds.
const AHEAD_MS_MAX: u64 = 5_000;

/// A machine, by its own account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineFacts {
    /// What it is called.
    pub name: String,
    /// How far it can confine a command; `None`: not at all.
    pub level: Option<Level>,
    /// The same in one line for people.
    pub line: String,
    /// Its cores.
    pub cores: u32,
    /// Version of the program there.
    pub client: String,
}

impl MachineFacts {
    /// The same, fit to keep.
    pub(super) fn cleaned(self) -> Self {
        Self {
            name: printable(&self.name, NAME_CHARS_MAX),
            line: printable(&self.line, NAME_CHARS_MAX),
            client: printable(&self.client, NAME_CHARS_MAX),
            ..self
        }
    }
}

/// A plan that is to be carried out with its command on another machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunAsk {
    /// The plan's text.
    pub plan: String,
    /// What the vault has for each of its inputs: `data.ROLE`, `model.ROLE` or `code` to `kind/name@version`.
    pub inputs: BTreeMap<String, String>,
    /// Demand at least this confinement, whatever the plan says.
    #[serde(default)]
    pub level: DemandedLevel,
    /// The machine that asks.
    pub machine: MachineFacts,
    /// The run's token is good from the address alone from which this comes.
    #[serde(default)]
    pub pin: bool,
}

/// A token in the clear, on its one way to whoever uses it.
#[derive(PartialEq, Eq)]
pub struct Shown(pub Zeroizing<String>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Shown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// A run that a machine is to carry out.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// The run's id.
    pub run: String,
    /// The run's token.
    pub token: Shown,
    /// How long it is good, in milliseconds.
    pub life_ms: u64,
    /// The plan's text.
    pub plan: String,
    /// The least confinement that will do.
    pub demand: Demand,
    /// What the vault grants of what the plan wants to reach.
    pub egress: EgressPolicy,
    /// What goes in, in the order in which the token fetches it.
    pub inputs: Vec<Given>,
}

/// What happened, in the order in which it did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// How many were told before: a message that comes twice counts once.
    pub first: u64,
    /// The next ones, at most [`EVENTS_MAX`]; none is a sign of life.
    pub events: Vec<RunEvent>,
}

/// The answer to [`Events`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// How many have been heard by now.
    pub next: u64,
    /// What the machine is to do; nothing: the command goes on, or goes on again.
    pub order: Option<Order>,
    /// Why it is to stop.
    pub why: String,
    /// How long the token is still good, in milliseconds.
    pub life_ms: u64,
}

/// A token in the place of an older one, which is good for a moment longer.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Renewed {
    /// The new one.
    pub token: Shown,
    /// How long it is good, in milliseconds.
    pub life_ms: u64,
}

/// How the command ended, and what it left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// How it ended.
    pub result: RunResult,
    /// Its outputs, which are brought next, in the order of their paths.
    pub files: Vec<TreeEntry>,
    /// What it ran in.
    pub environment: Value,
    /// SHA-256 of the program that supervised it.
    pub program: Digest,
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The run's id.
    pub run: String,
    /// What came of it; `None`: it goes on, or is being looked at.
    pub end: Option<End>,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum End {
    /// Released, in the vault.
    Released {
        /// The released version.
        artifact: String,
        /// Its identity.
        tree: Digest,
    },
    /// Kept as a candidate: the plan has no `[test]`.
    Kept {
        /// The candidate.
        artifact: String,
        /// Its identity.
        tree: Digest,
    },
    /// The release gate refused.
    Refused {
        /// The candidate.
        artifact: String,
        /// Its identity.
        tree: Digest,
        /// Why.
        reasons: Vec<String>,
    },
    /// It did not get as far as that.
    Failed {
        /// Why.
        why: String,
    },
}

/// An event as it is kept, of a run that has lasted `elapsed_ms` here.
pub fn event(event: RunEvent, elapsed_ms: u64) -> RunEvent {
    let at_ms = event.at_ms.min(elapsed_ms.saturating_add(AHEAD_MS_MAX));
    let source = match event.source {
        Source::Observed(observed) => Source::Observed(fact(observed)),
        Source::Claimed(claimed) => Source::Claimed(claim(claimed)),
    };
    RunEvent { at_ms, source }
}

fn fact(observed: Observed) -> Observed {
    match observed {
        Observed::Started { level, measures } => Observed::Started { level: name(&level), measures: names(measures) },
        Observed::Sample(mut usage) => {
            usage.gpus.truncate(LIST_MAX);
            Observed::Sample(usage)
        }
        Observed::Egress(mut egress) => {
            egress.name = egress.name.as_deref().map(name);
            egress.address = egress.address.as_deref().map(name);
            egress.refused = egress.refused.as_deref().map(name);
            Observed::Egress(egress)
        }
        Observed::File(mut change) => {
            change.path = text(&change.path);
            Observed::File(change)
        }
        Observed::Refused { detail } => Observed::Refused { detail: text(&detail) },
        Observed::Limit { detail } => Observed::Limit { detail: text(&detail) },
        exited @ Observed::Exited { .. } => exited,
        Observed::Collected { path, size, sha256 } => Observed::Collected { path: text(&path), size, sha256 },
        Observed::NotCollected { path, reason } => Observed::NotCollected { path: text(&path), reason: text(&reason) },
    }
}

fn claim(claimed: Claimed) -> Claimed {
    match claimed {
        Claimed::Line { stream, text: said } => Claimed::Line { stream: name(&stream), text: text(&said) },
        dropped @ Claimed::Dropped { .. } => dropped,
        Claimed::Progress(mut progress) => {
            let labels = std::mem::take(&mut progress.labels).into_iter().take(LIST_MAX);
            progress.labels = labels.map(|(label, count)| (name(&label), count)).collect();
            progress.checkpoint = progress.checkpoint.as_deref().map(text);
            Claimed::Progress(progress)
        }
        Claimed::Nonsense { told, detail, count } => Claimed::Nonsense { told, detail: text(&detail), count },
    }
}

/// An outcome as it is kept.
///
/// # Errors
/// [`EngineError::Usage`] for an account of the environment that is too long.
pub fn outcome(mut outcome: Outcome) -> Result<Outcome, EngineError> {
    if outcome.environment.to_string().len() > ENVIRONMENT_BYTES_MAX {
        let what = format!("an environment of more than {ENVIRONMENT_BYTES_MAX} bytes");
        return Err(EngineError::Usage { what });
    }
    let result = &mut outcome.result;
    result.measures = names(std::mem::take(&mut result.measures));
    result.refused.truncate(LIST_MAX);
    result.refused.iter_mut().for_each(|(call, _)| *call = name(call));
    if let Ending::Limit(limit) = &mut result.ending {
        *limit = name(limit);
    }
    outcome.environment = strings(outcome.environment);
    Ok(outcome)
}

fn strings(value: Value) -> Value {
    match value {
        Value::String(said) => Value::String(text(&said)),
        Value::Array(items) => Value::Array(items.into_iter().map(strings).collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(key, value)| (name(&key), strings(value))).collect())
        }
        other => other,
    }
}

fn names(list: Vec<String>) -> Vec<String> {
    list.iter().take(LIST_MAX).map(|item| name(item)).collect()
}

fn name(said: &str) -> String {
    printable(said, NAME_CHARS_MAX)
}

fn text(said: &str) -> String {
    printable(said, TEXT_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_cut_and_made_fit_to_print() {
        let said = |text: &str| Source::Claimed(Claimed::Line { stream: "stdout".into(), text: text.into() });
        let kept = event(RunEvent { at_ms: u64::MAX, source: said("\u{1b}[2Jgone\u{202e}") }, 1_000);
        assert_eq!(kept.at_ms, 6_000);
        let Source::Claimed(Claimed::Line { text, .. }) = kept.source else { panic!("a claim stays one") };
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
        let long = event(RunEvent { at_ms: 1, source: said(&"x".repeat(100_000)) }, 1_000);
        let Source::Claimed(Claimed::Line { text, .. }) = long.source else { panic!("a claim stays one") };
        assert!(text.chars().count() <= TEXT_CHARS_MAX + 1);
        let fact = Observed::Started { level: "full".into(), measures: vec!["\u{7}".into(); 10_000] };
        let kept = event(RunEvent { at_ms: 1, source: Source::Observed(fact) }, 1_000);
        let Source::Observed(Observed::Started { measures, .. }) = kept.source else { panic!("a fact stays one") };
        assert!(measures.len() <= LIST_MAX && !measures.concat().contains('\u{7}'));
    }

    #[test]
    fn what_is_fit_already_stays_as_it_is() {
        let line = r#"{"at_ms":5,"observed":{"what":"sample","cpu_ms":1,"memory_bytes":2}}"#;
        let told: RunEvent = serde_json::from_str(line).expect("an event");
        assert_eq!(event(told.clone(), 5), told);
    }
}
