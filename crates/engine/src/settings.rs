//! Where things are on this machine, and what the engine asks of whoever calls it.
//!
//! Nothing here reads the environment: the command line, the server and tests fill it in.

use std::{fmt, io, path::PathBuf};

use ringfence_reach::{Reach, ReachError};
use ringfence_schema::Timestamp;
use ringfence_trust::Passphrase;

/// Places, clock and ways to ask.
pub struct Settings<'a> {
    /// The vault's folder.
    pub vault: PathBuf,
    /// The user's configuration: pinned trust roots, held checkpoints, the key file of a vault without a passphrase.
    pub config: PathBuf,
    /// This program, started again for keyless work (`__worker`, `__supervise`).
    pub program: PathBuf,
    /// The clock.
    pub now: &'a (dyn Fn() -> Timestamp + Sync),
    /// Asks for the vault's passphrase; called only where the vault has one.
    pub passphrase: &'a (dyn Fn(Asked) -> io::Result<Passphrase> + Sync),
    /// The way out; called only where something is to be fetched.
    pub reach: &'a (dyn Fn() -> Result<Reach, ReachError> + Sync),
    /// Hears how far things are.
    pub progress: &'a dyn Progress,
}

impl fmt::Debug for Settings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("vault", &self.vault).field("config", &self.config).finish_non_exhaustive()
    }
}

/// Why a passphrase is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To open a vault.
    Open,
    /// To make one: it is asked twice where a person types.
    Create,
}

/// Hears how far long work is. Implementations draw, count or stay silent.
pub trait Progress: Sync {
    /// A stage begins; `total` in the stage's own unit, if known.
    fn begin(&self, stage: &str, total: Option<u64>);
    /// So much of it is done.
    fn advance(&self, done: u64, note: &str);
    /// It is over; `summary` is worth one line.
    fn end(&self, summary: &str);
    /// Something worth a line of its own.
    fn note(&self, text: &str);
    /// How things stand now, a line each; the next call replaces them.
    fn show(&self, _lines: &[String]) {}
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64, _: &str) {}
    fn end(&self, _: &str) {}
    fn note(&self, _: &str) {}
}
