//! One confined process: keyless workers that parse foreign bytes, and guarded runs with their telemetry.
//!
//! * [`worker`]: a child of our own executable that has given up everything but the descriptors it was handed;
//!   [`memfd`] hands it plaintext that has no name and touches no disk.
//! * [`run`]: a stranger's command in a sandbox. [`run_keyless`] starts the supervisor (our own executable again, which
//!   calls [`supervisor_main`]) and relays what it tells; [`probe`] says which [`Level`] this host offers;
//!   [`sweep_stale`] removes what a killed supervisor left behind.
//! * [`drill`]: known bad jobs, to be run in there on purpose.
//!
//! What must stay true: foreign bytes are never parsed beside keys; a run's outputs are looked at only after everything
//! of the run is dead; what the kernel told ([`ringfence_schema::event::Observed`]) and what the job said never mix; no
//! level below the three that exist, and no silent fallback: the level and its measures are in the first event.
//!
//! What each mechanism stops by itself is measured by this crate's tests and written to `docs/sandbox-matrix.md`.
//!
//! `unsafe` is confined to the kernel calls in `sys`, to the driver's library in `run::nvml`, and to one `pre_exec` closure
//! each in `worker` and `run`.
//!
//! A run has no network at all unless [`EgressPolicy`] names what it may reach.
//!
//! Absent on purpose: hooks of container toolkits, and any system but Linux.

#[cfg(not(target_os = "linux"))]
compile_error!("ringfence-sandbox confines processes with Linux namespaces, Landlock and seccomp; it needs Linux");

pub mod drill;
mod filter;
mod frame;
mod memfd;
pub mod run;
mod sys;
pub mod worker;

pub use drill::{DRILLS, Drill, drill_main};
pub use memfd::{MEMFD_BYTES_MAX, memfd};
pub use run::{
    Allowed, Demand, EgressPolicy, Ending, Gpus, HostPattern, Job, Level, Network, Probe, RunLimits, RunResult,
    SandboxError, Source, Stop, Totals, probe, run_keyless, supervisor_main, sweep_stale,
};
#[cfg(feature = "ablation")]
#[doc(hidden)]
pub use run::{Mechanism, run_with_only};
