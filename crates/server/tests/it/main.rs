//! The server from outside: real sockets, real TLS, bytes as an attacker writes them.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

#[cfg(feature = "acme")]
mod acme;
mod authority;
mod connections;
mod cve;
mod description;
mod documents;
mod enumeration;
mod house;
mod live;
mod matrix;
mod pages;
mod paths;
mod people;
mod places;
mod ranges;
mod rates;
mod runs;
mod schedules;
mod scim;
mod secrets;
mod tables;
mod tls;
#[path = "../../../engine/tests/it/totp.rs"]
mod totp;
mod transfers;
mod urgent;
mod witness;
mod world;
