//! The records that cross a boundary, and the encodings that make them the same bytes everywhere.
//!
//! * [`digest`]: SHA-256 names of bytes; [`tree`]: the identity of an artifact.
//! * [`reference`]: how people name artifacts, versions and digests.
//! * [`finding`]: one problem with its place; [`report`]: what `scan`, `screen`, `attack` and `verify` answer.
//! * [`evidence`]: what a signed statement says; [`event`]: what a run's supervisor saw, and what the job claimed.
//! * [`trail`]: the leaves of the append-only log.
//! * [`canon`]: RFC 8785 JSON and deterministic CBOR; [`sarif`]: findings for code-scanning services.
//!
//! Absent on purpose: any I/O, any clock, any key.

#![forbid(unsafe_code)]

pub mod canon;
pub mod digest;
pub mod event;
pub mod evidence;
pub mod finding;
pub mod reference;
pub mod report;
pub mod sarif;
pub mod strict;
pub mod time;
pub mod trail;
pub mod tree;

pub use digest::{Digest, Hasher};
pub use finding::{Finding, Place, Severity, Verdict};
pub use reference::{ArtifactKind, ArtifactName, Reference, Selector};
pub use time::Timestamp;
pub use tree::{Tree, TreeEntry};
