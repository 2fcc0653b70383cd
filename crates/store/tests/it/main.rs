//! The store from outside: what goes in comes out, and nothing else ever does.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]
#![expect(clippy::cast_possible_truncation, reason = "the numbers here are small")]

mod crash;
mod damage;
mod dedupe;
mod leak;
mod refuse;
mod round_trip;
mod shred;
mod sweep;
mod vault;
