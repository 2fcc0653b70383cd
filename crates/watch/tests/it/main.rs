//! What the watch sees, and what it must not see.

#![expect(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    unreachable_pub,
    reason = "a test stops when something is wrong; exact values; small counts and simulated times; shared with the benchmark"
)]

mod chance;
mod data;
mod jobs;
mod nab;
mod office;
mod people;
mod replay;
mod route;
mod rules;
mod run;
mod series;
mod synthetic;
