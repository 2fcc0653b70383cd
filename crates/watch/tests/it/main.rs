//! What the watch sees, and what it must not see.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "simulated times and counts")]

mod chance;
mod data;
mod jobs;
mod office;
mod people;
mod route;
mod rules;
mod run;
