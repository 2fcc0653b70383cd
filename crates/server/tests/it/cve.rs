//! What went wrong in systems like this one, tried here: one test for each entry of `docs/cve-suite.md`.
//!
//! Tests are named after the entry's first advisory. They show that the surface which corresponds to the flaw refuses; they
//! do not run the exploits, which are other programs'.

mod content;
mod credentials;
mod doors;
mod list;

pub(crate) use doors::concrete;
