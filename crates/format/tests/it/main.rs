//! Every reader of a foreign container: what it shows, and what it refuses.
#![expect(clippy::unwrap_used, reason = "tests")]

mod containers;
mod models;
mod graphs;
mod onnx;
