//! Who may do what: roles, facts and policies in, a decision with reasons out.
//!
//! * [`Request`]: who asks for what on which resource ([`request`]), with the [`Facts`] that a gate reads ([`facts`]).
//! * [`Policies`]: the built-in set, a vault's [`Settings`], and further `forbid` policies ([`policies`]).
//!   [`Policies::decide`] is pure: the same request under the same policies gives the same [`Decision`] anywhere, which is
//!   how an offline verifier replays the gate of a release.
//! * [`matrix`]: the table of who may do what, in which situations; [`diff`]: what a change of policy changes in it.
//! * [`factors`], [`names`], [`lockout`]: how strongly somebody has logged in, under which name, and who has to wait.
//! * `slice`, `ask`, `memory` and `steps`: which policies can apply to a request, what Cedar reads of it, what is known
//!   already, and which ages are alike.
//! * [`trial`]: what a policy document itself says that it must allow and deny.
//! * `text`: reading policies that others wrote, with limits and positions.
//!
//! What must stay true: nobody can remove a built-in `forbid`; added text can only forbid; any error while deciding
//! denies, because Cedar by itself skips a `forbid` that fails to evaluate.
//!
//! Absent on purpose: any I/O, any clock, any key. Whether a signature holds is found out by the caller.

#![forbid(unsafe_code)]

mod ask;
pub mod decision;
pub mod diff;
pub mod factors;
pub mod facts;
pub mod lockout;
pub mod matrix;
mod memory;
#[cfg(test)]
mod mutants;
pub mod names;
pub mod policies;
pub mod request;
pub mod settings;
mod slice;
mod steps;
mod table;
mod text;
pub mod trial;

pub use decision::{Decision, Reason};
pub use diff::PolicyDiff;
pub use factors::LoginStrength;
pub use facts::{Bearing, EvidenceFacts, Exemptions, Facts, SandboxLevel};
pub use policies::{Origin, Policies, PolicyError};
pub use request::{Action, Custody, NamespaceState, Person, PersonKind, Request, Resource, Role, VaultFacts};
pub use settings::{DemandLevel, Settings, SettingsError, VaultPolicy};
pub use text::Position;
pub use trial::{Expected, Trial};
