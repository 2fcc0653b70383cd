//! The team's control plane: the engine behind TLS.
//!
//! Every rule is the engine's; what is here is the way to it. The async world begins and ends in this crate.

#![forbid(unsafe_code)]
