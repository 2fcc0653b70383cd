//! What the records promise: one spelling each, and nothing else is read.

mod contracts;
mod encodings;
mod names;
