//! What happened in a run. What the supervisor saw and what the job said are different types and never mix.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Something that happened `at_ms` milliseconds after the run began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEvent {
    /// Milliseconds since the start of the run.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub source: Source,
}

/// Who says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The kernel told the supervisor: evidence.
    Observed(Observed),
    /// The job wrote it: a claim.
    Claimed(Claimed),
}

/// Facts from the kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Observed {
    /// The job was started.
    Started {
        /// `full`, `no-cgroup` or `landlock`.
        level: String,
        /// What confines it, and what could not be had.
        measures: Vec<String>,
    },
    /// Use of the machine since the start.
    Sample(Usage),
    /// The job reached out, or tried to.
    Egress(Egress),
    /// A file of the run was read or written, as far as the kernel tells.
    File(FileChange),
    /// The kernel refused something and told so.
    Refused {
        /// What was tried, as far as the kernel tells.
        detail: String,
    },
    /// A limit was reached.
    Limit {
        /// Which.
        detail: String,
    },
    /// The job ended.
    Exited {
        /// Exit code, if it exited by itself.
        code: Option<i32>,
        /// Signal, if one ended it.
        signal: Option<i32>,
    },
    /// An output file was collected after everything of the job was dead.
    Collected {
        /// Path below `/out`.
        path: String,
        /// Size in bytes.
        size: u64,
        /// SHA-256.
        sha256: crate::Digest,
    },
    /// Something in `/out` was not collected.
    NotCollected {
        /// Path below `/out`, fit to print.
        path: String,
        /// Why.
        reason: String,
    },
}

/// Use of the machine at one moment. Counters count from the start of the run, the rest is as of now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// CPU time in milliseconds, user and system.
    pub cpu_ms: u64,
    /// Resident memory in bytes.
    pub memory_bytes: u64,
    /// Processes alive.
    pub processes: u64,
    /// Bytes read from storage.
    pub read_bytes: u64,
    /// Bytes written to storage.
    pub written_bytes: u64,
    /// Bytes in `/out`, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// Bytes sent to allowed hosts.
    pub sent_bytes: u64,
    /// Bytes received from allowed hosts.
    pub received_bytes: u64,
    /// Calls that the kernel refused, as far as it told.
    pub refused_calls: u64,
    /// Changes of files that happened but are not told one by one: there were too many.
    #[serde(skip_serializing_if = "is_zero")]
    pub untold_files: u64,
    /// Share of the last ten seconds in which something waited, where the kernel tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
    /// The graphics processors that the run holds, by index.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuUsage>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Pressure stall information, `some` over ten seconds, in percent (Linux: accounting/psi.rst).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Pressure {
    /// Waiting for a core.
    pub cpu: f64,
    /// Waiting for memory.
    pub memory: f64,
    /// Waiting for storage.
    pub io: f64,
}

/// One graphics processor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuUsage {
    /// Index on the host.
    pub index: u32,
    /// Share of the last sample period with a kernel running, in percent.
    pub busy_percent: u32,
    /// Memory in use on it, in bytes.
    pub memory_bytes: u64,
}

/// Attempts to reach something outside: one, or several alike within a short time where a job floods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Egress {
    /// How.
    pub via: EgressVia,
    /// The name asked for, fit to print.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The address asked for, where there was no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The port; 53 for questions.
    pub port: u16,
    /// Why it was refused; allowed without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Bytes sent, of all of them together.
    pub sent_bytes: u64,
    /// Bytes received, of all of them together.
    pub received_bytes: u64,
    /// How long it lasted, in milliseconds; the longest of several.
    pub lasted_ms: u64,
    /// How many attempts this stands for.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u64,
}

const fn one() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_one(count: &u64) -> bool {
    *count == 1
}

/// The way of an attempt to reach something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EgressVia {
    /// A question to a name server.
    Dns,
    /// A TCP connection.
    Tcp,
    /// Any other datagram.
    Udp,
}

/// Measure of [`Observed::Started`] where every input that is opened becomes an [`Observed::File`].
pub const READS_TOLD: &str = "files: what is read of the inputs and what changes in /out is told";

/// What happened to a file of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// Path as the job sees it, fit to print.
    pub path: String,
    /// What.
    pub change: Change,
    /// Size in bytes afterwards, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// SHA-256 afterwards, where it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<crate::Digest>,
}

/// Ways in which a file changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It was opened to read.
    Read,
    /// It was closed after it had been written.
    Written,
    /// It was renamed to this name.
    Renamed,
    /// It was removed.
    Removed,
}

/// What the job wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Claimed {
    /// A line on its output, escaped and cut.
    Line {
        /// `stdout` or `stderr`.
        stream: String,
        /// The text, fit to print.
        text: String,
    },
    /// Output beyond the limit was dropped.
    Dropped {
        /// How many bytes.
        bytes: u64,
    },
    /// How training goes.
    Progress(Progress),
    /// Where progress is told there was something that could not be read as such.
    Nonsense {
        /// Where.
        told: Told,
        /// What was wrong with it.
        detail: String,
        /// How often so far.
        count: u64,
    },
}

/// How training goes, by the job's own account. What it did not say is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Where it said so.
    pub told: Told,
    /// Optimiser steps so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// Passes over the data so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<f64>,
    /// Training loss. Never NaN or infinite: that is `diverged`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Loss on held-out data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation_loss: Option<f64>,
    /// Learning rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Norm of the gradient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gradient_norm: Option<f64>,
    /// Whether loss or gradient were said to be NaN or infinite.
    pub diverged: bool,
    /// Examples per label in what was trained on since the last word, by label.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, u64>,
    /// A checkpoint that was written: its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// The digest that the job says this checkpoint has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_sha256: Option<crate::Digest>,
}

/// Where a job told its progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// A line of its output.
    #[default]
    Output,
    /// `trainer_state.json` of Hugging Face's trainer.
    TrainerState,
    /// A TensorBoard event file.
    Tensorboard,
    /// The socket that speaks JSON lines.
    Socket,
}
