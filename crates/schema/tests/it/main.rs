//! What the records promise: one spelling each, and nothing else is read.

mod advisories;
mod contracts;
mod encodings;
mod names;
mod published;
mod waivers;
