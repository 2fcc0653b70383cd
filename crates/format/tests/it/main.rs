//! Every reader of a foreign container: what it shows, and what it refuses.
#![expect(clippy::unwrap_used, reason = "tests")]

mod containers;
mod graphs;
mod models;
mod onnx;
