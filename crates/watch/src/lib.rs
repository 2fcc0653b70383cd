//! Streams of measurements in, alerts out.
//!
//! * [`series`]: one stream of numbers; a score per point, by what the stream was so far.
//! * [`record`]: what a run looked like, for pictures.
//! * [`replay`]: a recorded stream, read row by row.
//!
//! What must stay true: constant memory per stream, no look at what comes later, no clock and no I/O; time is what the
//! measurements carry.

#![forbid(unsafe_code)]

pub mod record;
pub mod replay;
pub mod series;
