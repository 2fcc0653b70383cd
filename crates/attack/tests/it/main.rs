//! Attacks, checks and training on models whose answers are known.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::print_stderr, reason = "measurements, and tests that are skipped for want of data, say so")]

mod backdoor;
mod card;
mod dp;
mod endpoint;
mod evasion;
mod extraction;
mod harden;
mod inputs;
mod measure;
mod measure_suspects;
mod membership;
mod methods;
mod mnist;
mod models;
mod ownership;
mod planted;
mod pool;
mod privacy;
mod privacy_peer;
mod since;
mod stats;
mod suspect;
mod text;
mod theft;
mod tokenizer;
mod trojans;
mod victims;
