//! What the records promise: one spelling each, and nothing else is read.

#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod advisories;
mod contracts;
mod draft7;
mod encodings;
mod names;
mod published;
mod waivers;
