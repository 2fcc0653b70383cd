//! Streams of measurements in, alerts out.
//!
//! * [`series`]: one stream of numbers; a score per point, by what the stream was so far.
//! * [`record`]: what a run looked like, for pictures.
//! * [`replay`]: a recorded stream, read row by row.
//! * [`run`]: one training job: what it uses, what it claims, where it reaches.
//! * [`people`]: who reads which artifacts, against themselves and their peers.
//! * [`data`]: a new version of a dataset against the earlier ones.
//! * [`rules`]: what each kind of alert means and what follows, as data; [`route`]: grouping, suppression, actions.
//!
//! What must stay true: constant memory per stream, no look at what comes later, no clock and no I/O; time is what the
//! measurements carry.

#![forbid(unsafe_code)]

mod book;
pub mod data;
pub mod people;
pub mod record;
pub mod replay;
pub mod route;
pub mod rules;
pub mod run;
pub mod series;
mod signal;
mod stats;

pub use signal::{Signal, SignalState};
