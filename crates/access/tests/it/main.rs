//! Behaviour of the policy set, seen from outside.

#![expect(clippy::unwrap_used, reason = "tests")]

mod digests;
mod facts;
mod matrix;
mod rails;
mod text;
mod world;
