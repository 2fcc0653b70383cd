//! The Landlock rules of a job: which files, no network, no signal or abstract socket beyond the job.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope, path_beneath_rules,
};

use crate::sys;

/// What a job may reach in the file system it sees.
#[derive(Default)]
pub(super) struct Reach {
    /// Read and execute below these.
    pub(super) read: Vec<PathBuf>,
    /// Everything but devices below these.
    pub(super) write: Vec<PathBuf>,
    /// Devices to read and write.
    pub(super) devices: Vec<PathBuf>,
    /// FIFOs to write to and sockets to connect to.
    pub(super) channels: Vec<PathBuf>,
    /// Devices to read, write and command.
    pub(super) gpus: Vec<PathBuf>,
    /// Whether TCP is left to the run's own network namespace.
    pub(super) network: Network,
}

/// Who holds TCP.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Network {
    /// Landlock refuses it.
    #[default]
    Refused,
    /// The run's own network namespace, in which it leads to our doors alone.
    OwnNamespace,
}

/// Restricts this thread and its children to be; says with what.
pub(super) fn restrict(reach: &Reach) -> Result<String, RulesetError> {
    let everything = AccessFs::from_all(ABI::V9);
    let device_nodes = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
    let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(everything)?;
    if reach.network == Network::Refused {
        ruleset = ruleset.handle_access(AccessNet::from_all(ABI::V9))?;
    }
    let status = ruleset
        .scope(Scope::from_all(ABI::V9))?
        .create()?
        .add_rules(path_beneath_rules(&reach.read, AccessFs::from_read(ABI::V9)))?
        .add_rules(path_beneath_rules(&reach.write, everything & !device_nodes))?
        .add_rules(path_beneath_rules(&reach.devices, AccessFs::ReadFile | AccessFs::WriteFile))?
        .add_rules(path_beneath_rules(&reach.channels, AccessFs::WriteFile | AccessFs::ResolveUnix))?
        .add_rules(path_beneath_rules(&reach.gpus, AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev))?
        .restrict_self()?;
    let version = sys::landlock_version();
    let tcp = if reach.network == Network::Refused { ", TCP" } else { "" };
    Ok(match status.ruleset {
        RulesetStatus::NotEnforced => "landlock: not offered by this kernel".to_owned(),
        _ if version >= SIGNAL_SCOPE_VERSION => {
            format!(
                "landlock {version}: files{tcp}, signals and abstract sockets (refusals are not told by the kernel)"
            )
        }
        _ if version >= NETWORK_VERSION => {
            format!("landlock {version}: files{tcp} (refusals are not told by the kernel)")
        }
        _ => format!("landlock {version}: files (refusals are not told by the kernel)"),
    })
}

/// First Landlock version that keeps signals within the job.
pub(super) const SIGNAL_SCOPE_VERSION: u32 = 6;
/// First Landlock version that knows TCP.
const NETWORK_VERSION: u32 = 4;
/// First Landlock version that covers truncation; below it, level `landlock` would let a job empty foreign files.
pub(super) const TRUNCATE_VERSION: u32 = 3;
