//! The server from outside: real sockets, real TLS, bytes as an attacker writes them.

mod authority;
mod connections;
mod documents;
mod paths;
mod people;
mod places;
mod rates;
mod tables;
mod tls;
mod world;
