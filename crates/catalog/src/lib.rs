//! The vault's rows and its trail, in one SQLite file.
//!
//! * [`Catalog`]: opening, group commit, reading ([`catalog`]); [`Tx`]: what a commit may write ([`tx`]).
//! * [`View`]: what can be read, in one snapshot ([`view`]).
//! * [`TrailVerdict`]: what `trail verify` found ([`verify`]).
//! * [`outbox`]: alerts on their way to sinks; [`erasure`]: fields of entries that are gone for good.
//! * `db`: the file, its tables and migrations; `queue`: several commits in one transaction; `log`: its write-ahead log;
//!   `fold`: the deciding rows as the trail's entries make them; `subtree`: hashes that proofs are made from.
//!
//! The file is not trusted. It holds ciphertext, wrapped keys and signed notes; every length, type and number in it is
//! checked, and what contradicts itself is an error that names the file, never a panic. What must stay true:
//!
//! 1. A row that decides changes only together with a trail entry that lists the change; `state` of that entry is the root
//!    over all deciding rows afterwards.
//! 2. Every transaction that appends ends in a signed checkpoint, and the next entry names that checkpoint's digest, so
//!    neither entries nor checkpoints can be taken out of the middle.
//! 3. A commit returns after its transaction is on disk (`synchronous = FULL`), or fails and leaves nothing.
//!
//! Absent on purpose: keys, plaintext, clocks, and decisions.

#![forbid(unsafe_code)]

pub mod catalog;
mod db;
pub mod erasure;
pub mod error;
mod fold;
mod log;
pub mod outbox;
mod queue;
mod subtree;
pub mod tx;
pub mod verify;
pub mod view;

pub use catalog::Catalog;
pub use error::CatalogError;
pub use queue::{CheckpointSigner, Recorded, SignerFailure, Tell};
pub use tx::{Draft, Record, RowChange, Table, Tx};
pub use verify::{Problem, TrailVerdict};
pub use view::{LedgerKey, StoredEntry, StoredRow, View};
