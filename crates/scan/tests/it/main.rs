//! What the scanner says of samples, of mutants of them, and of its own rules.

#![expect(clippy::unwrap_used, reason = "tests")]

mod advisories;
mod containers;
mod mutants;
mod samples;
mod streams;
mod tables;
mod texts;
mod weights;
