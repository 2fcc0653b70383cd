//! What the records promise: one spelling each, and nothing else is read.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod contracts;
mod encodings;
mod names;
