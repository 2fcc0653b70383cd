//! Use cases of a vault, from outside.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

mod agent_keys;
mod alerts;
mod approval;
mod card;
mod delivery;
mod destroy;
mod erase;
mod held;
mod oidc;
mod resume;
mod schedule;
mod team;
mod totp;
mod vigil;
mod world;
