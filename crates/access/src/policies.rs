//! The policy set and the one function that decides.
//!
//! The built-in set comes first and stays whole: a vault's document adds [`Settings`] and `forbid` policies, a project's
//! text adds `forbid` policies, and Cedar lets a `forbid` win over every `permit`. So nothing that is added can allow what
//! was denied.
//!
//! The built-in set is trusted and may permit; `@id` and `@says` stand at every policy of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr as _,
    sync::Arc,
};

use cedar_policy::{
    Authorizer, Decision as CedarDecision, Effect, PolicyId, PolicySet, Response, Schema, ValidationMode,
    ValidationResult, Validator,
};
use ringfence_schema::{Digest, canon::digest_of, evidence::EvidenceKind};
use serde_json::json;

use crate::{
    ask::{Asked, Parts, Said, Vocabulary, aged, say},
    decision::{COULD_NOT_DECIDE, Decision, NOTHING_PERMITS, Reason},
    facts::Facts,
    memory::{Found, Memory, Satisfied, entities_digest, key, request_digest},
    request::Request,
    settings::{Settings, VaultPolicy},
    slice::{Group, Index},
    steps::Steps,
    text::{POLICIES_MAX, Position, TEXT_BYTES_MAX, read_forbids},
};

const SCHEMA: &str = include_str!("ringfence.cedarschema");
pub(crate) const BUILTIN: &str = include_str!("builtin.cedar");

/// Most approvals that are found to be what a request lacks.
pub const APPROVALS_ASKED_MAX: u32 = 8;

/// Whose text a policy comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The vault's policy document.
    Vault,
    /// A project's file.
    Project,
}

impl Origin {
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Project => "project",
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Vault => "vault's policy",
            Self::Project => "project's policy",
        }
    }
}

/// Why a policy set cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The built-in policies or their schema are unusable: this program is damaged.
    #[error("built-in policies: {message}")]
    Builtin {
        /// What Cedar says.
        message: String,
    },
    /// A text over the limit.
    #[error("policy text of {bytes} bytes, limit is {TEXT_BYTES_MAX}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Too many policies in one text.
    #[error("{policies} policies, limit is {POLICIES_MAX}")]
    TooMany {
        /// How many.
        policies: usize,
    },
    /// Nested too deep, or too long.
    #[error("{position}: policy is nested too deep or too long")]
    TooDeep {
        /// Where the limit is passed.
        position: Position,
    },
    /// Not Cedar.
    #[error("{position}: {message}")]
    Syntax {
        /// Where.
        position: Position,
        /// What Cedar says.
        message: String,
    },
    /// A `permit` where only `forbid` may stand.
    #[error("{position}: only `forbid` policies can be added")]
    NotForbid {
        /// Where it begins.
        position: Position,
    },
    /// A policy with slots.
    #[error("{position}: policies with slots (`?principal`, `?resource`) cannot be added")]
    Template {
        /// Where it begins.
        position: Position,
    },
    /// An `@id` that is not 1 to 64 characters of `a-z`, `0-9`, `-`.
    #[error("{position}: `{id}` is no id of 1 to 64 characters of `a-z`, `0-9`, `-`")]
    BadId {
        /// What was given.
        id: String,
        /// Where the policy begins.
        position: Position,
    },
    /// The same id twice.
    #[error("{position}: a policy with the id `{id}` is there already")]
    DuplicateId {
        /// The id.
        id: String,
        /// Where the second one begins.
        position: Position,
    },
    /// Does not pass strict validation.
    #[error("{position}: {message}")]
    Invalid {
        /// Where the policy begins.
        position: Position,
        /// What Cedar says.
        message: String,
    },
}

/// A validated policy set.
///
/// What it decides is one part of it; [`Policies::table`] and [`Policies::rails`] show it as a table, and
/// [`Policies::diff`] what another set would change.
#[derive(Debug, Clone)]
pub struct Policies {
    /// Every policy.
    set: PolicySet,
    /// Those of them that permit.
    permits: PolicySet,
    /// All of them, by what they apply to.
    index: Arc<Index>,
    /// The limits that they hold ages against.
    steps: Arc<Steps>,
    vocabulary: Arc<Vocabulary>,
    schema: Schema,
    /// What was decided lately; never shared with a set that differs in policies or settings.
    memory: Arc<Memory>,
    says: BTreeMap<String, String>,
    needs: BTreeMap<String, EvidenceKind>,
    settings: Settings,
    digest: Digest,
}

impl Policies {
    /// The built-in set with default settings: what a vault starts with, and what an offline verifier replays a release
    /// gate under.
    ///
    /// # Errors
    /// [`PolicyError::Builtin`], which a test rules out for every build.
    pub fn builtin() -> Result<Self, PolicyError> {
        Self::of(BUILTIN)
    }

    /// The set of a text as trusted as the built-in one.
    pub(crate) fn of(text: &str) -> Result<Self, PolicyError> {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).map_err(|error| broken(error.to_string()))?;
        let vocabulary = Vocabulary::of(&schema).map_err(broken)?;
        let parsed = PolicySet::from_str(text).map_err(|error| broken(error.to_string()))?;
        let (mut set, mut permits) = (PolicySet::new(), PolicySet::new());
        let (mut says, mut needs) = (BTreeMap::new(), BTreeMap::new());
        for policy in parsed.policies() {
            let (Some(id), Some(words)) = (policy.annotation("id"), policy.annotation("says")) else {
                return Err(broken(format!("`{}` has no `@id` or `@says`", policy.id())));
            };
            if let Some(kind) = policy.annotation("needs") {
                let known = EvidenceKind::ALL.into_iter().find(|known| known.name() == kind);
                needs.insert(id.to_owned(), known.ok_or_else(|| broken(format!("`{id}` needs `{kind}`")))?);
            }
            says.insert(id.to_owned(), words.to_owned());
            let policy = policy.new_id(PolicyId::new(id));
            if policy.effect() == Effect::Permit {
                permits.add(policy.clone()).map_err(|error| broken(error.to_string()))?;
            }
            set.add(policy).map_err(|error| broken(error.to_string()))?;
        }
        if let Some((_, message)) = first_complaint(&validate(&schema, &set)) {
            return Err(broken(message));
        }
        let index = Arc::new(Index::of(&vocabulary, &set).map_err(broken)?);
        let steps = Arc::new(Steps::of(&set).map_err(broken)?);
        let digest = policy_digest(&set, &Settings::default())?;
        let (vocabulary, settings) = (Arc::new(vocabulary), Settings::default());
        let memory = Arc::default();
        Ok(Self { set, permits, index, steps, vocabulary, schema, memory, says, needs, settings, digest })
    }

    /// This set under a vault's settings, with the `forbid` policies of its document.
    pub fn with_vault(mut self, policy: &VaultPolicy) -> Result<Self, PolicyError> {
        self.settings = policy.settings.clone();
        self.extended(Origin::Vault, &policy.forbid)
    }

    /// This set and the `forbid` policies of a project's text. A `permit`, and whatever does not pass strict validation,
    /// is refused with its position, and nothing of the text is taken.
    pub fn with_project(self, text: &str) -> Result<Self, PolicyError> {
        self.extended(Origin::Project, text)
    }

    fn extended(mut self, origin: Origin, text: &str) -> Result<Self, PolicyError> {
        let mut positions = BTreeMap::new();
        // Each policy is validated by itself; those that are there already have been.
        let mut added = PolicySet::new();
        for foreign in read_forbids(origin, text)? {
            let id = foreign.policy.id().to_string();
            let position = foreign.position;
            if added.add(foreign.policy.clone()).is_err() || self.set.add(foreign.policy).is_err() {
                return Err(PolicyError::DuplicateId { id, position });
            }
            positions.insert(id.clone(), position);
            self.says.insert(id, foreign.says);
        }
        if let Some((id, message)) = first_complaint(&validate(&self.schema, &added)) {
            let position = positions.get(&id).copied().unwrap_or(Position { line: 1, column: 1 });
            return Err(PolicyError::Invalid { position, message });
        }
        self.index = Arc::new(Index::of(&self.vocabulary, &self.set).map_err(broken)?);
        self.steps = Arc::new(Steps::of(&self.set).map_err(broken)?);
        self.digest = policy_digest(&self.set, &self.settings)?;
        self.memory = Arc::default();
        Ok(self)
    }

    /// SHA-256 over the schema, the canonical policy set and the settings.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Every policy's id with its plain words, sorted by id.
    pub fn explanations(&self) -> impl Iterator<Item = (&str, &str)> {
        self.says.iter().map(|(id, says)| (id.as_str(), says.as_str()))
    }

    /// Every policy in its parsed form, by id.
    pub(crate) fn forms(&self) -> BTreeMap<String, Option<serde_json::Value>> {
        self.set.policies().map(|policy| (policy.id().to_string(), policy.to_json().ok())).collect()
    }

    /// The policies with these ids, by what they apply to.
    pub(crate) fn filed(&self, ids: &BTreeSet<String>) -> Result<Index, String> {
        let mut few = PolicySet::new();
        for policy in self.set.policies().filter(|policy| ids.contains(&policy.id().to_string())) {
            few.add(policy.clone()).map_err(say)?;
        }
        Index::of(&self.vocabulary, &few)
    }

    /// Whether a policy that can apply reads what depends on the settings.
    pub(crate) fn reads_settings(&self, request: &Request) -> bool {
        self.index.applicable(request).any(|group| group.parts.meets(Parts::of_settings()))
    }

    /// People and artifacts that policies name, each sorted.
    pub fn names(&self) -> (impl Iterator<Item = &str>, impl Iterator<Item = &str>) {
        self.index.names()
    }

    /// Decides. Pure; whatever goes wrong on the way denies. Only policies that can apply are asked, and what they said of
    /// the same facts before is remembered; the decision, its reasons and its digests are those of
    /// [`Policies::decide_unsliced`].
    pub fn decide(&self, request: &Request) -> Decision {
        let entities = entities_digest(request);
        self.answer(request, entities, self.sliced(request, entities))
    }

    /// How many approvals by other people would make `request` allowed, where they are all that it lacks: from 1 to
    /// [`APPROVALS_ASKED_MAX`]. `None` where it is allowed without any, and where no number of them makes it so.
    ///
    /// It is found by trying, so that it also holds for policies of the vault's own, whatever number they demand. Those
    /// that demand the approval of a person by name cannot be met by just anybody's, and are not.
    pub fn approvals_needed(&self, request: &Request) -> Option<u32> {
        let mut asked = request.clone();
        asked.facts.approvals.clear();
        asked.facts.dependants.clear();
        if self.verdict(&asked).0 {
            return None;
        }
        (1..=APPROVALS_ASKED_MAX).find(|number| {
            // A name that nobody has: ids of people are made by the vault, without spaces.
            asked.facts.approvals.insert(format!("other person {number}"));
            self.verdict(&asked).0
        })
    }

    /// Whether some policy permits the action to this person's roles, whatever forbids it at the moment.
    pub fn permits(&self, request: &Request) -> bool {
        !self.decide(request).permitting().is_empty()
    }

    /// Decides by asking every policy, over a request that was checked against the schema: slow, and plain. The
    /// reference that [`Policies::decide`] is held to.
    pub fn decide_unsliced(&self, request: &Request) -> Decision {
        self.answer(request, entities_digest(request), self.whole(request))
    }

    /// Whether the action can be asked of the resource at all.
    pub(crate) fn applies(&self, request: &Request) -> bool {
        self.vocabulary.applies(request.action, &request.resource)
    }

    /// Whether it is allowed, and the ids of what decided: the decision without its digests and words.
    pub(crate) fn verdict(&self, request: &Request) -> (bool, Vec<String>) {
        match self.sliced(request, entities_digest(request)) {
            Err(_) => (false, vec![COULD_NOT_DECIDE.to_owned()]),
            Ok(found) if found.deciding.is_empty() => (false, vec![NOTHING_PERMITS.to_owned()]),
            Ok(found) => (found.allow, found.deciding),
        }
    }

    fn sliced(&self, request: &Request, entities: Option<Digest>) -> Result<Found, Vec<String>> {
        let Some(entities) = entities.filter(|_| self.applies(request)) else { return self.whole(request) };
        let groups: Vec<_> = self.index.applicable(request).collect();
        let answers = self.answers(request, entities, &groups)?;
        let (mut permits, mut forbids) = (Vec::new(), Vec::new());
        for (group, satisfied) in groups.iter().zip(answers) {
            // INVARIANT: a group holds permits or forbids, so what is satisfied in it is what the response names.
            if group.forbids() { &mut forbids } else { &mut permits }.extend_from_slice(&satisfied);
        }
        Ok(if forbids.is_empty() {
            Found { allow: !permits.is_empty(), deciding: permits, outweighed: Vec::new() }
        } else {
            Found { allow: false, deciding: forbids, outweighed: permits }
        })
    }

    /// What each group says, from memory or from Cedar; or every error, and then nothing is remembered.
    fn answers(&self, request: &Request, entities: Digest, groups: &[&Group]) -> Result<Vec<Satisfied>, Vec<String>> {
        let parts = groups.iter().map(|group| group.parts).fold(Parts::default(), Parts::and);
        let said = self.vocabulary.context(&self.settings, request, parts).map_err(|message| vec![message])?;
        let action = request.action.name();
        let keyed = |group: &&Group| key(group.number, entities, action, &said, group.parts, &self.steps);
        let keys: Vec<_> = groups.iter().map(keyed).collect();
        let known = self.memory.recall(&keys);
        let unknown = groups.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(group, _)| *group);
        let parts = unknown.map(|group| group.parts).reduce(Parts::and);
        let asked = parts.map(|parts| self.asked(request, entities, &said, parts)).transpose()?;
        let (mut answers, mut errors) = (Vec::with_capacity(groups.len()), Vec::new());
        for ((group, key), known) in groups.iter().zip(keys).zip(known) {
            let (Some(asked), None) = (&asked, &known) else {
                answers.extend(known);
                continue;
            };
            let response = Authorizer::new().is_authorized(&asked.request, &group.policies, &asked.entities);
            let satisfied: Satisfied = response.diagnostics().reason().map(PolicyId::to_string).collect();
            let before = errors.len();
            errors.extend(response.diagnostics().errors().map(say));
            if errors.len() == before {
                self.memory.keep(key, Arc::clone(&satisfied));
            }
            answers.push(satisfied);
        }
        if errors.is_empty() { Ok(answers) } else { Err(errors) }
    }

    fn asked(&self, request: &Request, entities: Digest, said: &[Said], parts: Parts) -> Result<Asked, Vec<String>> {
        let entities = self.memory.entities(entities, request.action.name(), || self.vocabulary.entities(request));
        let asked = entities.and_then(|entities| self.vocabulary.lean(request, said, parts, entities));
        asked.map_err(|message| vec![message])
    }

    fn whole(&self, request: &Request) -> Result<Found, Vec<String>> {
        let asked = self.vocabulary.checked(&self.schema, &self.settings, request).map_err(|message| vec![message])?;
        let ask = |set| Authorizer::new().is_authorized(&asked.request, set, &asked.entities);
        let response = ask(&self.set);
        let errors: Vec<_> = response.diagnostics().errors().map(say).collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        let allow = response.decision() == CedarDecision::Allow;
        let ids = |response: &Response| response.diagnostics().reason().map(PolicyId::to_string).collect();
        let outweighed = if allow { Vec::new() } else { ids(&ask(&self.permits)) };
        Ok(Found { allow, deciding: ids(&response), outweighed })
    }

    fn answer(&self, request: &Request, entities: Option<Digest>, found: Result<Found, Vec<String>>) -> Decision {
        let (allow, mut reasons, mut outweighed) = match found {
            Err(errors) => (false, errors.into_iter().map(undecided).collect(), Vec::new()),
            Ok(found) => {
                let reasons = |ids: &[String]| ids.iter().map(|id| self.reason(id, &request.facts)).collect::<Vec<_>>();
                (found.allow, reasons(&found.deciding), reasons(&found.outweighed))
            }
        };
        if reasons.is_empty() {
            let says = format!("no policy permits `{}` to the roles of this person", request.action);
            reasons.push(Reason { policy: NOTHING_PERMITS.to_owned(), says, detail: Vec::new() });
        }
        reasons.sort();
        outweighed.sort();
        // Both are plain strings, numbers and lists: they always have a canonical form, and zero bytes name none.
        let none = || Digest::from_bytes([0; Digest::BYTES]);
        Decision {
            allow,
            reasons,
            outweighed,
            policy_digest: self.digest,
            entities_digest: entities.unwrap_or_else(none),
            request_digest: request_digest(request).unwrap_or_else(none),
        }
    }

    fn reason(&self, id: &str, facts: &Facts) -> Reason {
        let detail = self
            .needs
            .get(id)
            .and_then(|kind| Some((kind, facts.evidence(*kind)?)))
            .map(|(kind, evidence)| {
                let evidence = aged(&self.settings, evidence);
                evidence.shortfalls().map(|words| format!("{}: {words}", kind.name())).collect()
            })
            .unwrap_or_default();
        let says = self.says.get(id).cloned().unwrap_or_default();
        Reason { policy: id.to_owned(), says, detail }
    }
}

fn undecided(says: String) -> Reason {
    Reason { policy: COULD_NOT_DECIDE.to_owned(), says, detail: Vec::new() }
}

fn broken(message: String) -> PolicyError {
    PolicyError::Builtin { message }
}

fn validate(schema: &Schema, set: &PolicySet) -> ValidationResult {
    Validator::new(schema.clone()).validate(set, ValidationMode::Strict)
}

/// The first error or warning by policy id. A warning is refused as well: it marks a policy that can never apply, or
/// text that reads otherwise than it is.
fn first_complaint(result: &ValidationResult) -> Option<(String, String)> {
    let errors = result.validation_errors().map(|error| (error.policy_id().to_string(), say(error)));
    let warnings = result.validation_warnings().map(|warning| (warning.policy_id().to_string(), say(warning)));
    errors.chain(warnings).min()
}

fn policy_digest(set: &PolicySet, settings: &Settings) -> Result<Digest, PolicyError> {
    let mut policies = BTreeMap::new();
    for policy in set.policies() {
        // The parsed form, so that comments and line breaks do not count.
        let form = policy.to_json().map_err(|error| PolicyError::Builtin { message: say(error) })?;
        policies.insert(policy.id().to_string(), form);
    }
    let all = json!({"schema": SCHEMA, "policies": policies, "settings": settings});
    digest_of(&all).map_err(|error| PolicyError::Builtin { message: say(error) })
}
