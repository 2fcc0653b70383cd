//! Behaviour of the catalog, seen from outside and from behind its back.

#![expect(clippy::unwrap_used, reason = "tests")]

mod commit;
mod crash;
mod faults;
mod file;
mod ledger;
mod outbox;
mod record;
mod tamper;
mod world;
