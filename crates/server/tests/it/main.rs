//! The server from outside: real sockets, real TLS, bytes as an attacker writes them.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod authority;
mod connections;
mod documents;
mod pages;
mod paths;
mod people;
mod places;
mod rates;
mod tables;
mod tls;
mod witness;
mod world;
