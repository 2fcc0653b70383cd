//! The behaviour of the command `ringfence`, as its users and their scripts see it.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]
#![expect(clippy::print_stdout, reason = "figures are what some tests are for")]
#![expect(clippy::indexing_slicing, reason = "a missing JSON field is a failed test")]

mod browser;
mod chromium;
mod consent;
mod crash;
mod described;
mod destroy;
mod enrolled;
mod errors;
mod federated;
mod figures;
mod forms;
mod help;
mod home;
mod hostile;
mod lab;
mod main_job;
mod mirror;
mod probes;
mod proxy;
mod remote;
mod remote_release;
mod remote_run;
mod schedule;
mod schemathesis;
mod secrets;
mod since;
mod supply;
mod tampered_trail;
mod terminal;
mod tlog_client;
mod trail;
mod user;
mod vault;
mod watch;
mod without_namespaces;
mod witness;
mod witness_peer;
