//! The sandbox from outside: workers, runs at both levels, as root and as an ordinary user, and a probe that tries to
//! get out. What this host does not offer is said and skipped; where it is offered, everything must hold.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]
#![expect(clippy::print_stderr, reason = "what is skipped is said")]

mod actions;
mod claims;
mod drills;
mod egress;
mod escape;
mod limits;
#[cfg(feature = "ablation")]
mod matrix;
mod outside;
mod runs;
mod stage;
mod worker;
