//! May somebody do something, and why: any decision, asked for on purpose and explained.

use ringfence_access::{Action, Decision, Facts, LoginStrength, Person, Request, Resource, SandboxLevel};
use ringfence_schema::Reference;
use serde::Serialize;
use serde_json::json;

use super::people::find;
use crate::{
    act::{Act, Effect, Reach},
    admit::resource,
    error::EngineError,
    vault::Vault,
};

/// The words for whoever asks.
const MYSELF: &str = "me";
/// The only person of a vault in one person's hands.
const OWNER: &str = "owner";

/// How the person is taken to have come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Assumed {
    /// How strong the login was.
    pub login: LoginStrength,
    /// A second factor was proven just now.
    pub stepped_up: bool,
}

/// The answer.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    /// Who, with the roles that the rows give.
    pub person: Person,
    /// To do what.
    pub action: Action,
    /// With what: `vault`, or a reference with its version.
    pub what: String,
    /// What was taken for granted.
    pub assumed: Assumed,
    /// The decision.
    pub decision: Decision,
    /// How many approvals by others are all that is missing.
    pub approvals_needed: Option<u32>,
}

impl Vault<'_> {
    /// Whether `who` (a name, an id, or `me`) may do `action` with `what` (`vault`, or a reference to an artifact), given
    /// the roles, the evidence and the policy of this moment. Changes nothing; that it was asked is recorded.
    ///
    /// A run is taken to be fully confined, an appointment to be somebody else's, and factors to be one's own.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for people and artifacts that there are not; [`EngineError::Refused`] where the caller may
    /// not see the vault.
    pub fn can(&self, who: &str, action: Action, what: &str, assumed: Assumed) -> Result<Explained, EngineError> {
        let act = Act {
            action: Action::Read,
            resources: vec![Resource::Vault],
            facts: Facts::default(),
            request: json!({"what": "may", "who": who, "action": action, "with": what, "assumed": assumed}),
            subject: "vault".to_owned(),
            reach: Reach::Inside,
        };
        let (explained, _) = self.act(act, || self.explain(who, action, what, assumed).map(Effect::of))?;
        Ok(explained)
    }

    fn explain(&self, who: &str, action: Action, what: &str, assumed: Assumed) -> Result<Explained, EngineError> {
        let person = self.whom(who)?;
        let (resource, what, mut facts) = if what == "vault" {
            (Resource::Vault, what.to_owned(), Facts::default())
        } else {
            let reference: Reference = what
                .parse()
                .map_err(|error| EngineError::Usage { what: format!("`vault`, or an artifact: {error}") })?;
            let version = self.find(&reference)?;
            (resource(&version), version.reference().to_string(), self.gate_facts(&version)?)
        };
        facts.login = assumed.login;
        facts.mfa_age_ms = assumed.stepped_up.then_some(0);
        facts.entitled = matches!(action, Action::Ask);
        facts.about = Some(if action == Action::Enrol { person.id.clone() } else { "somebody else".to_owned() });
        facts.requester = Some("somebody else".to_owned());
        if action == Action::Train {
            facts.sandbox = SandboxLevel::Full;
        }
        if self.is_shared() {
            facts.break_glass = self.members()?.glass_is_broken(&person.id, (self.settings.now)());
        }
        let request = Request { principal: person, action, resource, vault: self.facts(), facts };
        let policies = self.in_force()?;
        Ok(Explained {
            decision: policies.decide(&request),
            approvals_needed: policies.approvals_needed(&request),
            person: request.principal,
            action,
            what,
            assumed,
        })
    }

    fn whom(&self, who: &str) -> Result<Person, EngineError> {
        if who == MYSELF {
            return Ok(self.caller.person.clone());
        }
        if !self.is_shared() && who == OWNER {
            return Ok(Person::owner(OWNER));
        }
        find(&*self.members()?, who).map(super::rows::PersonRow::person)
    }
}
