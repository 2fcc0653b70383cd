//! The question: who asks to do what with which resource, on which facts.

use std::{collections::BTreeSet, fmt};

use ringfence_schema::ArtifactName;
use serde::{Deserialize, Serialize};

use crate::facts::Facts;

/// What somebody asks to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Make a vault.
    Init,
    /// Take a stranger's bytes into quarantine.
    Receive,
    /// Run a control on an artifact and sign what it found.
    Inspect,
    /// Let an artifact out of quarantine; the resource is the artifact.
    Admit,
    /// Use an artifact as an input of a run; asked once for each input.
    Train,
    /// On a vault: names, versions and reports. On an artifact: its bytes, inside this machine.
    Read,
    /// Take an artifact's bytes out of the vault, other than by a release.
    Export,
    /// Test a model against attacks.
    Attack,
    /// Let a candidate leave as a signed bundle.
    Release,
    /// Make an earlier version the current one (`rollback`).
    Restore,
    /// Destroy the keys of an artifact.
    Destroy,
    /// Decide on what a control held back, waivers included.
    Review,
    /// Check stored bytes, evidence or the trail.
    Verify,
    /// Change the vault's policy.
    Configure,
    /// Add to one's own factors, or take from them.
    Enrol,
    /// Invite or remove a person, give or take a role, reset another's factors.
    Appoint,
    /// Log in, or prove a factor again.
    Enter,
    /// End one's own session or token.
    Leave,
    /// File an alert.
    Raise,
    /// Say that an alert was seen, and until when it counts as dealt with.
    Acknowledge,
    /// Send alerts to the sinks that the configuration names, or give up what waits for one.
    Deliver,
    /// Ask others to approve what needs their approval, and take that back.
    Ask,
    /// Approve or refuse what another asks for.
    Approve,
    /// Do alone, for a short time, what needs the approval of others.
    BreakGlass,
    /// Stop a run, halt it or let it go on.
    Stop,
    /// Say what is done by itself, and how often.
    Schedule,
    /// Bring people in, rename them and shut them out as a directory tells, and give the roles that its groups stand for.
    Provision,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 27] = [
        Self::Init,
        Self::Receive,
        Self::Inspect,
        Self::Admit,
        Self::Train,
        Self::Read,
        Self::Export,
        Self::Attack,
        Self::Release,
        Self::Restore,
        Self::Destroy,
        Self::Review,
        Self::Verify,
        Self::Configure,
        Self::Enrol,
        Self::Appoint,
        Self::Enter,
        Self::Leave,
        Self::Raise,
        Self::Acknowledge,
        Self::Deliver,
        Self::Ask,
        Self::Approve,
        Self::BreakGlass,
        Self::Stop,
        Self::Schedule,
        Self::Provision,
    ];

    /// What the built-in policies hold for dangerous: it needs a second factor that was proven within ten minutes.
    pub const DANGEROUS: [Self; 6] =
        [Self::Configure, Self::Appoint, Self::Export, Self::Release, Self::Restore, Self::Destroy];

    /// The name in policies, trail entries and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Receive => "receive",
            Self::Inspect => "inspect",
            Self::Admit => "admit",
            Self::Train => "train",
            Self::Read => "read",
            Self::Export => "export",
            Self::Attack => "attack",
            Self::Release => "release",
            Self::Restore => "restore",
            Self::Destroy => "destroy",
            Self::Review => "review",
            Self::Verify => "verify",
            Self::Configure => "configure",
            Self::Enrol => "enrol",
            Self::Appoint => "appoint",
            Self::Enter => "enter",
            Self::Leave => "leave",
            Self::Raise => "raise",
            Self::Acknowledge => "acknowledge",
            Self::Deliver => "deliver",
            Self::Ask => "ask",
            Self::Approve => "approve",
            Self::BreakGlass => "breakglass",
            Self::Stop => "stop",
            Self::Schedule => "schedule",
            Self::Provision => "provision",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a person is trusted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Holds the vault.
    Owner,
    /// Answers for its security.
    SecurityOfficer,
    /// Answers for the data.
    DataSteward,
    /// Designs and starts runs.
    Researcher,
    /// A service that runs training jobs.
    Trainer,
    /// Reads what happened and changes nothing.
    Auditor,
    /// Attacks by appointment.
    Tester,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 7] = [
        Self::Owner,
        Self::SecurityOfficer,
        Self::DataSteward,
        Self::Researcher,
        Self::Trainer,
        Self::Auditor,
        Self::Tester,
    ];

    /// The name in policies and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::SecurityOfficer => "security_officer",
            Self::DataSteward => "data_steward",
            Self::Researcher => "researcher",
            Self::Trainer => "trainer",
            Self::Auditor => "auditor",
            Self::Tester => "tester",
        }
    }
}

/// Whether somebody is a human being.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PersonKind {
    /// A human, who logs in with factors.
    #[default]
    Human,
    /// A program with a token; it has no factors, and nothing that needs judgement is open to it.
    Service,
}

impl PersonKind {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_human(&self) -> bool {
        *self == Self::Human
    }
}

/// Who asks.
///
/// INVARIANT: fields stand in alphabetical order, so that the plain encoding is the canonical one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Opaque id, the one that trail entries carry.
    pub id: String,
    /// Human, or a program.
    #[serde(default, skip_serializing_if = "PersonKind::is_human")]
    pub kind: PersonKind,
    /// The roles that the vault's rows give this person.
    pub roles: BTreeSet<Role>,
}

impl Person {
    /// The one person of a vault on a single machine.
    pub fn owner(id: impl Into<String>) -> Self {
        Self { id: id.into(), roles: BTreeSet::from([Role::Owner]), kind: PersonKind::Human }
    }
}

/// How far an artifact has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceState {
    /// A stranger's bytes, waiting.
    Quarantined,
    /// Let in.
    Admitted,
    /// Made by a run, not yet tested.
    Candidate,
    /// Let out.
    Released,
}

impl NamespaceState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Quarantined, Self::Admitted, Self::Candidate, Self::Released];

    /// The name in policies and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quarantined => "quarantined",
            Self::Admitted => "admitted",
            Self::Candidate => "candidate",
            Self::Released => "released",
        }
    }
}

/// What is acted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// One version of an artifact.
    Artifact {
        /// Its kind and name.
        name: ArtifactName,
        /// How far it has come.
        state: NamespaceState,
    },
    /// The vault as a whole.
    Vault,
}

/// In how many hands a vault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Custody {
    /// One person: rails that need several are not claimed.
    Solo,
    /// Several people.
    Shared,
}

/// The vault, as far as policies see it.
///
/// INVARIANT: fields stand in alphabetical order, so that the plain encoding is the canonical one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultFacts {
    /// In how many hands it is.
    pub custody: Custody,
    /// Its id.
    pub id: String,
}

/// The whole question.
///
/// INVARIANT: fields stand in alphabetical order, so that the plain encoding is the canonical one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// To do what.
    pub action: Action,
    /// On which facts.
    pub facts: Facts,
    /// Who asks.
    pub principal: Person,
    /// With what.
    pub resource: Resource,
    /// In which vault.
    pub vault: VaultFacts,
}
