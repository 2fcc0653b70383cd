//! What somebody wants that needs others, said in a few words: asked for, and carried out once it is approved.
//!
//! Each is one of the vault's own calls, so whatever holds for the call holds here: [`Vault::make_request`] is [`Vault::ask`]
//! with it, [`Vault::carry_out_request`] repeats it from the request's own document, with the approvals that were given.

use ringfence_access::Action;
use ringfence_schema::Reference;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::request::{Asked, RequestDocument, RequestId};
use crate::{
    destroy::Destroyed, error::EngineError, policy::PolicyVersion, record::Version, transfer::DownloadView,
    vault::Vault,
};

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "lowercase", deny_unknown_fields)]
pub enum Wanted {
    /// A policy document to take effect.
    Configure {
        /// The whole document.
        text: String,
        /// Why, for whoever approves.
        #[serde(default)]
        reason: Option<String>,
    },
    /// An earlier version to become the current one.
    Restore {
        /// `kind/name@version`.
        what: String,
        /// Why, for whoever approves.
        #[serde(default)]
        reason: Option<String>,
    },
    /// A copy of a version outside the vault.
    Export {
        /// `kind/name@version`.
        what: String,
        /// Why, for whoever approves.
        #[serde(default)]
        reason: Option<String>,
    },
    /// Versions to be destroyed for good.
    Destroy {
        /// `kind/name@version` of each.
        what: Vec<String>,
        /// Why.
        reason: String,
    },
}

/// What was done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fulfilled {
    /// The policy is in force.
    Policy(PolicyVersion),
    /// The version that is current now.
    Version(Box<Version>),
    /// A copy that may be read now.
    Download(DownloadView),
    /// What nobody can read any more.
    Destroyed(Destroyed),
}

impl Vault<'_> {
    /// Asks others for what is wanted; what needs nobody's approval is done.
    ///
    /// # Errors
    /// Those of the call that it stands for, and of [`Vault::ask`].
    pub fn make_request(&self, wanted: &Wanted) -> Result<Asked<Fulfilled>, EngineError> {
        self.ask_because(wanted.reason(), |vault| vault.fulfil(wanted))
    }

    /// Does what a request asks for, which uses it up. Only whoever asked can.
    ///
    /// # Errors
    /// Those of the call that it stands for; [`EngineError::NeedsApproval`] while too few have approved;
    /// [`EngineError::NotPermitted`] for somebody else's request, and for one that is over.
    pub fn carry_out_request(&self, id: &RequestId) -> Result<Fulfilled, EngineError> {
        let row = self.waiting(&*self.members_now()?, id)?;
        if row.document.requester.as_str() != self.caller.person.id {
            return Err(EngineError::NotPermitted { what: "only whoever asked can carry it out".to_owned() });
        }
        self.with_approval(id).fulfil(&Wanted::of(&row.document)?)
    }

    fn fulfil(&self, wanted: &Wanted) -> Result<Fulfilled, EngineError> {
        match wanted {
            Wanted::Configure { text, .. } => self.set_policy(text).map(Fulfilled::Policy),
            Wanted::Restore { what, .. } => {
                self.rollback(&self.named(what)?).map(|version| Fulfilled::Version(Box::new(version)))
            }
            Wanted::Export { what, .. } => self.begin_download(&self.named(what)?).map(Fulfilled::Download),
            Wanted::Destroy { what, reason } => {
                let versions: Result<Vec<Version>, EngineError> = what.iter().map(|what| self.named(what)).collect();
                self.destroy(&versions?, reason).map(Fulfilled::Destroyed)
            }
        }
    }

    fn named(&self, what: &str) -> Result<Version, EngineError> {
        let reference: Reference =
            what.parse().map_err(|error| EngineError::Usage { what: format!("name an artifact: {error}") })?;
        self.find(&reference)
    }
}

impl Wanted {
    /// Why, as far as it was said.
    fn reason(&self) -> Option<&str> {
        match self {
            Self::Configure { reason, .. } | Self::Restore { reason, .. } | Self::Export { reason, .. } => {
                reason.as_deref()
            }
            Self::Destroy { reason, .. } => Some(reason),
        }
    }

    /// The call that a request is for.
    fn of(document: &RequestDocument) -> Result<Self, EngineError> {
        let text = |name: &str| document.request.get(name).and_then(Value::as_str).map(str::to_owned);
        let wanted = match document.action {
            Action::Configure => text("text").map(|text| Self::Configure { text, reason: None }),
            Action::Restore => text("to").map(|what| Self::Restore { what, reason: None }),
            Action::Export if text("what").as_deref() == Some("copy") => {
                Some(Self::Export { what: document.subject.clone(), reason: None })
            }
            Action::Destroy => {
                let versions = document.request.get("versions").and_then(Value::as_array);
                let reference = |version: &Value| version.get("reference").and_then(Value::as_str).map(str::to_owned);
                let what: Option<Vec<String>> = versions.and_then(|all| all.iter().map(reference).collect());
                what.zip(text("reason")).map(|(what, reason)| Self::Destroy { what, reason })
            }
            _ => None,
        };
        wanted.ok_or_else(|| EngineError::Usage { what: "give the command that asked for it once more".to_owned() })
    }
}
