//! Witnesses: third parties who saw the trail grow, and nothing else (C2SP tlog-witness, tlog-cosignature, tlog-policy).
//!
//! * [`AddCheckpoint`]: what a log asks; [`Answer`]: what a witness says to it.
//! * [`Witness`]: the witness's side. It knows the logs that it was told of, and the largest checkpoint of each.
//! * [`Policy`]: whose cosignatures a reader wants, and how many of them.
//!
//! What must stay true: a witness cosigns a checkpoint only once it is on its disk ([`Recorded`] is the proof), only if all
//! that it cosigned before is the beginning of it, and never for a log that nobody told it of. Absent on purpose: HTTP and
//! clocks.

mod policy;
mod record;
mod request;

pub use policy::{GROUPS_MAX, LOGS_MAX, POLICY_BYTES_MAX, Policy, PolicyError, PolicyWitness, Tally, WITNESSES_MAX};
pub use record::{LogKeys, LogState, RECORDED_LOGS_MAX, Recorded, Refusal, Witness, WitnessError};
pub use request::{
    ANSWER_BYTES_MAX, AddCheckpoint, Answer, BODY_BYTES_MAX, PROOF_LINES_MAX, RequestError, SIZE_CONTENT_TYPE,
};
