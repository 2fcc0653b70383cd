//! No copy of this program's memory on a disk: a vault's keys are in it.

use std::fs;

use nix::sys::resource::{Resource, setrlimit};

use crate::error::EngineError;

/// Which kinds of memory a dump of this process would hold (core(5)).
const FILTER: &str = "/proc/self/coredump_filter";

/// Turns core dumps off, and leaves nothing of this process's memory in one that somebody forces: the limit is zero, and of
/// what a dump would hold even so (`gcore` of gdb respects it too) no memory is part. Children inherit both. Where `/proc`
/// cannot be written, as in a sandbox, the limit holds alone.
///
/// # Errors
/// What the kernel says of the limit.
pub fn no_core_dumps() -> Result<(), EngineError> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|error| EngineError::incomplete("turning core dumps off", error))?;
    let _ = fs::write(FILTER, "0");
    Ok(())
}
