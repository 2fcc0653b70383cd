//! Sources of models under one egress policy, against servers on loopback.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]
#![expect(clippy::print_stderr, reason = "what is skipped is said")]

mod alerts;
mod bucket;
mod encodings;
mod endpoint;
mod faults;
mod hub;
mod names;
mod poisoned;
mod policy;
mod properties;
mod python;
mod ranges;
mod secrets;
mod sinks;
mod tls;
mod validators;
mod web;
mod world;
