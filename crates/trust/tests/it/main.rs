//! The behaviour of `ringfence-trust`, and the vectors that a second implementation can check itself against.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop at the first surprise")]

mod agents;
mod checkpoints;
mod envelopes;
mod factors;
mod keys;
mod merkle;
mod oidc;
mod oms;
mod own_vectors;
mod passkeys;
mod pins;
mod published;
mod roots;
mod seals;
mod supply;
mod support;
mod tiles;
mod witnesses;
