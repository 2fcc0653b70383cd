//! The records that cross a boundary, and the encodings that make them the same bytes everywhere.
//!
//! * [`digest`]: SHA-256 names of bytes; [`tree`]: the identity of an artifact.
//! * [`reference`]: how people name artifacts, versions and digests.
//! * [`finding`]: one problem with its place; [`report`]: what `scan`, `screen`, `attack` and `verify` answer.
//! * [`privacy`]: what a model gives away of its training data, and what private training guarantees.
//! * [`evidence`]: what a signed statement says; [`event`]: what a run's supervisor saw, and what the job claimed.
//! * [`address`]: which network an address belongs to.
//! * [`alert`]: what stopped looking normal, and the accesses that models of people see.
//! * [`theft`]: what a thief gets for how many questions; [`watermark`]: whose model it is; [`text`]: what edited texts do.
//! * [`endpoint`]: what was asked of a model over a network.
//! * [`theft`]: what a thief gets for how many questions; [`watermark`]: whose model it is.
//! * [`endpoint`]: what was asked of a model over a network; [`since`]: what a model withstands beside an earlier one.
//! * [`trail`]: the leaves of the append-only log.
//! * [`waiver`]: who answers for a finding, and until when; [`weights`]: figures of weights, and what changed in them.
//! * [`osv`]: advisories, their feed, and what they affect; [`cyclonedx`]: bills of materials.
//! * [`canon`]: RFC 8785 JSON and deterministic CBOR; [`strict`]: foreign JSON.
//! * [`sarif`] and [`junit`]: findings for code-scanning services and test reports.
//! * [`suspect`]: records that a model finds strange; [`backdoor`]: triggers that turn a model's answers.
//!
//! Absent on purpose: any I/O, any clock, any key.

#![forbid(unsafe_code)]

pub mod address;
pub mod alert;
pub mod backdoor;
pub mod canon;
pub mod cyclonedx;
pub mod digest;
pub mod endpoint;
pub mod event;
pub mod evidence;
pub mod finding;
pub mod junit;
pub mod osv;
pub mod privacy;
pub mod reference;
pub mod report;
pub mod sarif;
pub mod since;
pub mod strict;
pub mod suspect;
pub mod text;
pub mod theft;
pub mod time;
pub mod trail;
pub mod tree;
pub mod waiver;
pub mod watermark;
pub mod weights;

pub use digest::{Digest, Hasher};
pub use finding::{Finding, Place, Severity, Verdict};
pub use reference::{ArtifactKind, ArtifactName, Reference, Selector};
pub use time::Timestamp;
pub use tree::{Tree, TreeEntry};
