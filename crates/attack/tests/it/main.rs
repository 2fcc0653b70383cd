//! Attacks, checks and training on models whose answers are known.

#![expect(clippy::unwrap_used, reason = "tests")]

mod backdoor;
mod card;
mod dp;
mod evasion;
mod harden;
mod inputs;
mod membership;
mod methods;
mod models;
mod planted;
mod privacy;
mod privacy_peer;
mod stats;
mod suspect;
