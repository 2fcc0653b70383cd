//! What confines a job, part by part, so that tests can show what each part alone is good for.
//!
//! In a build without the feature `ablation`, which only this crate's own tests turn on, [`InForce`] has no state: every
//! part is in force and no order can say otherwise.

use serde::{Deserialize, Serialize};

/// One part of the confinement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(not(feature = "ablation"), expect(unreachable_pub, reason = "tests see it where the feature is on"))]
pub enum Mechanism {
    /// A user namespace, in which the other namespaces are made. Without it there is none of them.
    UserNamespace,
    /// A mount namespace and a root folder in memory, without the host's.
    OwnRoot,
    /// What is shown of the host cannot be written to.
    ReadOnlyBinds,
    /// What `/proc` tells about the host is covered, and nothing in it can be written to.
    MaskedProc,
    /// Own process ids.
    PidNamespace,
    /// No network interface that is up.
    NetworkNamespace,
    /// Own System V and POSIX objects.
    IpcNamespace,
    /// The user namespace's own limits on further namespaces.
    NamespaceLimits,
    /// Memory and processes limited by control groups.
    ControlGroups,
    /// Limits of each process (setrlimit(2)).
    ResourceLimits,
    /// What the supervisor sees and kills for.
    Watch,
    /// Every capability dropped.
    Capabilities,
    /// Nothing gained by exec.
    NoNewPrivileges,
    /// Landlock's rules.
    Landlock,
    /// The filter of system calls.
    Seccomp,
}

/// Which parts are in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct InForce {
    #[cfg(feature = "ablation")]
    only: Option<std::collections::BTreeSet<Mechanism>>,
    #[cfg(not(feature = "ablation"))]
    all: (),
}

impl InForce {
    /// `mechanisms` and nothing else.
    #[cfg(feature = "ablation")]
    pub(super) fn only(mechanisms: &[Mechanism]) -> Self {
        Self { only: Some(mechanisms.iter().copied().collect()) }
    }

    /// Whether `mechanism` is in force.
    #[cfg(feature = "ablation")]
    pub(super) fn has(&self, mechanism: Mechanism) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&mechanism))
    }

    /// Whether `mechanism` is in force: it is.
    #[cfg(not(feature = "ablation"))]
    #[expect(clippy::unused_self, reason = "with the feature it looks")]
    pub(super) const fn has(&self, _mechanism: Mechanism) -> bool {
        true
    }
}
