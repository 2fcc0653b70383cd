//! What a policy document says that must come of it: questions with the answers that its author expects.
//!
//! A [`Trial`] asks about a role, an action and a resource as the [`matrix`](crate::matrix) does: with everything in order,
//! but for the situations that it names. It is decided like any request.

use ringfence_schema::ArtifactName;
use serde::{Deserialize, Serialize};

use crate::{
    Action, Custody, NamespaceState, Policies, Request, Resource, Role,
    matrix::{ASKS, KINDS, SITUATIONS, in_order, person},
};

/// Most tests in one document.
pub const TRIALS_MAX: usize = 1_000;
/// Name of an artifact in a test that gives a kind alone.
const ANY: &str = "thing";

/// What is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// It is allowed.
    Allow,
    /// It is denied.
    Deny,
}

/// One question with its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// Somebody with this role alone.
    pub who: Role,
    /// Does this.
    pub action: Action,
    /// With this: `vault`, or an artifact as `candidate model` or `candidate model/net`.
    pub what: String,
    /// While these hold, in the words of [`SITUATIONS`]; none: everything is in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<String>,
    /// What must be answered.
    pub expect: Expected,
}

impl Trial {
    /// Whether it speaks of what there is; if not, what is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.resource().ok_or_else(|| {
            "`what` is `vault`, or a state and a kind with or without a name: `candidate model`, `admitted dataset/digits`"
                .to_owned()
        })?;
        let unknown = self.when.iter().find(|words| SITUATIONS.iter().all(|known| known.says != words.as_str()));
        unknown.map_or(Ok(()), |words| {
            Err(format!("there is no situation `{}`", ringfence_schema::finding::printable(words, 80)))
        })
    }

    fn resource(&self) -> Option<Resource> {
        if self.what == "vault" {
            return Some(Resource::Vault);
        }
        let (state, artifact) = self.what.split_once(' ')?;
        let state = NamespaceState::ALL.into_iter().find(|known| known.name() == state)?;
        let kind = KINDS.into_iter().find(|kind| kind.to_string() == artifact);
        let name = match kind {
            Some(kind) => ArtifactName::new(kind, ANY).ok()?,
            None => artifact.parse().ok()?,
        };
        Some(Resource::Artifact { name, state })
    }

    fn request(&self, custody: Custody) -> Option<Request> {
        let mut request = in_order(person(ASKS, self.who), self.action, self.resource()?, custody);
        for words in &self.when {
            SITUATIONS.iter().find(|known| known.says == words)?.apply(&mut request);
        }
        Some(request)
    }
}

impl Policies {
    /// The tests, numbered from 1, whose answer is another one in a vault of `custody`, each with the answer in full.
    pub fn failing(&self, trials: &[Trial], custody: Custody) -> Vec<(usize, String)> {
        let mut failing = Vec::new();
        for (number, trial) in (1..).zip(trials) {
            let Some(request) = trial.request(custody) else {
                failing.push((number, "it speaks of what there is not".to_owned()));
                continue;
            };
            let decision = self.decide(&request);
            if decision.allow != (trial.expect == Expected::Allow) {
                failing.push((number, decision.explained()));
            }
        }
        failing
    }
}
