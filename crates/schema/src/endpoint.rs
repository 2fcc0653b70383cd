//! What was asked of a model behind an interface, and what is left of the questions that were granted.

use serde::{Deserialize, Serialize};

use crate::{digest::Digest, time::Timestamp};

/// The ledger of a report whose model was asked over a network. Every input that left this machine is entered, whether it was
/// answered or not: whoever runs the endpoint counts those too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryLedger {
    /// Where the model is: scheme, host, port and path, without a query.
    pub endpoint: String,
    /// SHA-256 of the canonical description of the endpoint, secrets left out.
    pub description: Digest,
    /// Inputs that may be sent.
    pub budget: u64,
    /// Inputs that were sent, those of repeated requests included.
    pub spent: u64,
    /// Inputs that were answered.
    pub answered: u64,
    /// Requests that were sent.
    pub requests: u64,
    /// Of these, how many repeated one that was not answered.
    pub repeats: u64,
    /// Whether something was not asked because the budget was spent.
    pub exhausted: bool,
    /// Milliseconds spent waiting: for the rate limit, and because the endpoint asked for patience.
    pub waited_ms: u64,
    /// What was sent when, by the minute, at most [`SPANS_MAX`] of them; the last one holds what came after.
    pub spans: Vec<QuerySpan>,
}

/// What was sent within a minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuerySpan {
    /// When the first request of the minute was sent.
    pub from: Timestamp,
    /// Requests sent.
    pub requests: u64,
    /// Inputs sent.
    pub queries: u64,
}

/// Minutes of one ledger: a day's.
pub const SPANS_MAX: usize = 1_440;
