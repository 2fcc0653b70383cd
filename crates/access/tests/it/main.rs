//! Behaviour of the policy set, seen from outside.

#![expect(clippy::unwrap_used, reason = "tests")]

mod diffs;
mod digests;
mod factors;
mod facts;
mod lockout;
mod matrix;
mod rails;
mod slices;
mod text;
mod world;
