//! Several people in one vault: who they are, how they come in, what holds while they are in.
//!
//! * [`Caller`]: who acts, as each request brings it; [`crate::Vault::acting`] puts the vault into their hands.
//! * `people`: invited, given roles, disabled; `erase`: what is known of them erased; `enrol`: their passkeys, passwords, apps and recovery codes;
//! * `login`: in by a passkey or by password and code, and the step up before dangerous acts; `device`: a command line, let
//!   in by somebody who is in; `federated`: in through another provider; [`directory`]: people and groups as SCIM tells of them; `session`, `token`: what
//!   proves it afterwards, and how it ends.
//! * `rows`: all of it as sealed rows, each a fold of the trail; [`TeamDesk`]: the same in memory, with what is not worth
//!   a row: ceremonies under way, when a session was last seen; `tries`: wrong attempts, which count over a restart too.
//! * `request`: what needs other people, asked for and used once; `wanted`: the same from what somebody types; `keys`: keys in
//!   an agent, which approve; `approve`: their signed answers; `proof`: the same for
//!   whoever has no vault; `can`: what somebody may do, and why; `glass`: doing without
//!   them for an hour, loudly.
//!
//! What must stay true: a human without a second factor can enrol one and do nothing else, and there is no switch for it;
//! an unknown name and a wrong password cannot be told apart, by the answer or by its time; secrets are stored as hashes,
//! or sealed where they are needed again; every change passes through the one door in [`crate::Vault`]; what another
//! process changed holds here within [`FRESH_MS`].

pub(crate) mod approve;
mod can;
pub(crate) mod desk;
mod device;
pub mod directory;
mod enrol;
mod erase;
mod federated;
pub mod glass;
mod keys;
mod login;
mod people;
pub mod proof;
pub mod request;
mod rows;
mod session;
pub(crate) mod token;
mod tries;
mod wanted;

use std::{collections::BTreeSet, fmt, net::IpAddr};

use ringfence_access::{Action, LoginStrength, Person, PersonKind, Role};
use ringfence_schema::Timestamp;
use ringfence_trust::factor::token::TokenId;
use serde::Serialize;

pub use approve::Approving;
pub use can::{Assumed, Explained};
pub(crate) use desk::TeamDesk;
pub use desk::{FRESH_MS, HASHES_AT_ONCE};
pub use device::{DEVICE_LIFE_MS, DEVICE_POLL_S, DeviceAnswer, DeviceAsk, DeviceOffer};
pub use enrol::{Enrolled, Enrollee, FirstPassword, Invited, TotpOffer};
pub use erase::Erased;
pub use federated::{Departure, LOGIN_FILE, ProviderName};
pub use glass::{GLASS_LIFE_MS, GlassView};
pub use keys::KeyOffer;
pub use login::{CEREMONY_LIFE_MS, CeremonyId, Entered, Offer, Origin};
pub use people::{INVITATION_LIFE_MS, Invitation, Invite, SETUP_LIFE_MS};
pub use request::{ApprovalView, Asked, REQUEST_LIFE_MS, RequestDocument, RequestId, RequestStanding, RequestView};
pub use ringfence_trust::factor::{agent, passkey};
pub use session::{SESSION_IDLE_MS, SESSION_LIFE_MS, SessionView};
pub use token::{TOKEN_LIFE_MS_MAX, TokenTerms, TokenView};
pub use wanted::{Fulfilled, Wanted};

/// Who acts.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The person or program, with the roles that the rows give.
    pub person: Person,
    /// How strongly it logged in.
    pub login: LoginStrength,
    /// When a second factor was proven last in this session.
    pub proven: Option<Timestamp>,
    /// It came by an invitation, has no factor yet, and may enrol one.
    pub first_enrolment: bool,
    /// It is a run that this vault started.
    pub in_run: bool,
    /// The session or token that it came with.
    pub key: Option<TokenId>,
    /// Where it calls from.
    pub address: Option<IpAddr>,
    /// What its token is good for; `None`: everything that its roles allow.
    pub scope: Option<BTreeSet<Action>>,
    /// What becomes of an act that lacks nothing but the approval of others.
    pub approval: Approval,
    /// The run whose token it came with: it reaches that run's inputs and outputs, and nothing else.
    pub run: Option<String>,
}

/// What becomes of an act that lacks nothing but the approval of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Approval {
    /// It is refused.
    #[default]
    Refuse,
    /// The others are asked, and told why if it was said; nothing is done.
    Ask(Option<String>),
    /// It is done if they have approved exactly this in that request, which is used up by it.
    Use(RequestId),
}

impl Caller {
    /// The one person of an embedded vault.
    pub(crate) fn owner() -> Self {
        Self::bare(Person::owner("owner"))
    }

    /// Whoever sits at the machine of a shared vault and has not logged in: nobody.
    pub(crate) fn console() -> Self {
        Self::bare(Person { id: "console".to_owned(), kind: PersonKind::Human, roles: BTreeSet::new() })
    }

    /// The server itself, for what nobody asks for: sending alerts, and telling of them. It may do nothing else.
    pub(crate) fn server() -> Self {
        let roles = BTreeSet::from([Role::SecurityOfficer]);
        let person = Person { id: "server".to_owned(), kind: PersonKind::Service, roles };
        Self { scope: Some(BTreeSet::from([Action::Deliver, Action::Raise])), ..Self::bare(person) }
    }

    /// The server itself, carrying out what is scheduled: it looks, checks and tells, and changes nobody's rights.
    pub(crate) fn scheduler() -> Self {
        Self { scope: Some(BTreeSet::from([Action::Verify, Action::Inspect, Action::Raise])), ..Self::server() }
    }

    /// `person`, with nothing proven.
    pub(crate) fn bare(person: Person) -> Self {
        Self {
            person,
            login: LoginStrength::Any,
            proven: None,
            first_enrolment: false,
            in_run: false,
            key: None,
            address: None,
            scope: None,
            approval: Approval::Refuse,
            run: None,
        }
    }

    /// The same from this address.
    #[must_use]
    pub fn from(self, address: Option<IpAddr>) -> Self {
        Self { address, ..self }
    }
}

/// The opaque id of a person or program: `p-` and sixteen characters, made here and never chosen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct PersonId(pub(crate) String);

impl PersonId {
    /// The id as the trail has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for PersonId {
    /// Whatever stands there; an id that nobody has is found nowhere.
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// How somebody stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Has been invited and has no factor yet.
    Invited,
    /// May log in.
    Active,
    /// May not, and has no session.
    Disabled,
}

/// A person or program, as pages and listings show it. No secret is in it.
#[derive(Debug, Clone, Serialize)]
pub struct PersonView {
    /// The id.
    pub id: PersonId,
    /// The name to log in with.
    pub name: String,
    /// What people call them.
    pub display: String,
    /// Human, or a program.
    pub kind: PersonKind,
    /// How they stand.
    pub status: Status,
    /// Their roles, sorted.
    pub roles: Vec<Role>,
    /// Their factors, oldest first.
    pub factors: Vec<FactorView>,
    /// Recovery codes that are left.
    pub recovery_codes: usize,
    /// Who invited them; `None` for the first administrator.
    pub invited_by: Option<PersonId>,
    /// Since when they are known.
    pub since: Timestamp,
}

/// A factor, as pages and listings show it.
#[derive(Debug, Clone, Serialize)]
pub struct FactorView {
    /// Names it among the person's factors.
    pub id: String,
    /// `passkey`, `agent key`, `password`, `totp`, `federated`.
    pub kind: &'static str,
    /// What its owner calls it.
    pub label: String,
    /// When it was enrolled.
    pub since: Timestamp,
}
