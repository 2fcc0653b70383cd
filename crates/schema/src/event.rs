//! What happened in a run. What the supervisor saw and what the job said are different types and never mix.

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
        /// `full` or `landlock`.
        level: String,
        /// What confines it, and what could not be had.
        measures: Vec<String>,
    },
    /// Use of the machine since the start.
    Sample {
        /// CPU time in milliseconds, user and system.
        cpu_ms: u64,
        /// Resident memory in bytes.
        memory_bytes: u64,
        /// Processes alive.
        processes: u64,
        /// Bytes read from storage.
        read_bytes: u64,
        /// Bytes written to storage.
        written_bytes: u64,
    },
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
}
