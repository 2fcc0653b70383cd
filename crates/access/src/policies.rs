//! The policy set and the one function that decides.
//!
//! The built-in set comes first and stays whole: a vault's document adds [`Settings`] and `forbid` policies, a project's
//! text adds `forbid` policies, and Cedar lets a `forbid` win over every `permit`. So nothing that is added can allow what
//! was denied.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr as _,
};

use cedar_policy::{
    Authorizer, Context, Decision as CedarDecision, Entities, EntityUid, PolicyId, PolicySet, Request as CedarRequest,
    Schema, ValidationMode, ValidationResult, Validator,
};
use ringfence_schema::{Digest, canon::digest_of, evidence::EvidenceKind, finding::printable};
use serde_json::{Value, json};

use crate::{
    decision::{COULD_NOT_DECIDE, Decision, NOTHING_PERMITS, Reason},
    facts::{EvidenceFacts, Facts},
    request::{Custody, Request, Resource},
    settings::{DemandLevel, PERMILLE_MAX, Settings, VaultPolicy},
    text::{POLICIES_MAX, Position, TEXT_BYTES_MAX, read_forbids},
};

const SCHEMA: &str = include_str!("ringfence.cedarschema");
const BUILTIN: &str = include_str!("builtin.cedar");
/// Longest explanation of an error, in characters.
const MESSAGE_CHARS_MAX: usize = 300;

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
#[derive(Debug, Clone)]
pub struct Policies {
    set: PolicySet,
    schema: Schema,
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
        let broken = |message: String| PolicyError::Builtin { message };
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).map_err(|error| broken(error.to_string()))?;
        let parsed = PolicySet::from_str(BUILTIN).map_err(|error| broken(error.to_string()))?;
        let mut set = PolicySet::new();
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
            set.add(policy.new_id(PolicyId::new(id))).map_err(|error| broken(error.to_string()))?;
        }
        if let Some((_, message)) = first_complaint(&validate(&schema, &set)) {
            return Err(broken(message));
        }
        let digest = policy_digest(&set, &Settings::default())?;
        Ok(Self { set, schema, says, needs, settings: Settings::default(), digest })
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
        self.digest = policy_digest(&self.set, &self.settings)?;
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

    /// Decides. Pure; whatever goes wrong on the way denies.
    pub fn decide(&self, request: &Request) -> Decision {
        let entities = entities_json(request);
        let (allow, mut reasons) =
            self.evaluate(request, &entities).unwrap_or_else(|message| (false, vec![undecided(message)]));
        reasons.sort();
        // Both are plain strings, numbers and lists: they always have a canonical form, and zero bytes name none.
        let none = || Digest::from_bytes([0; Digest::BYTES]);
        Decision {
            allow,
            reasons,
            policy_digest: self.digest,
            entities_digest: digest_of(&entities).unwrap_or_else(|_| none()),
            request_digest: digest_of(request).unwrap_or_else(|_| none()),
        }
    }

    fn evaluate(&self, request: &Request, entities: &Value) -> Result<(bool, Vec<Reason>), String> {
        let schema = Some(&self.schema);
        let action = uid("Action", request.action.name())?;
        let context = self.context_json(request);
        let context = Context::from_json_value(context, Some((&self.schema, &action))).map_err(say)?;
        let resource = match &request.resource {
            Resource::Artifact { name, .. } => uid("Artifact", &name.to_string())?,
            Resource::Vault => uid("Vault", &request.vault.id)?,
        };
        let entities = Entities::from_json_value(entities.clone(), schema).map_err(say)?;
        let cedar =
            CedarRequest::new(uid("Person", &request.principal.id)?, action, resource, context, schema).map_err(say)?;
        let response = Authorizer::new().is_authorized(&cedar, &self.set, &entities);
        let errors: Vec<_> = response.diagnostics().errors().map(|error| undecided(say(error))).collect();
        if !errors.is_empty() {
            return Ok((false, errors));
        }
        let mut reasons: Vec<_> =
            response.diagnostics().reason().map(|id| self.reason(id.as_ref(), &request.facts)).collect();
        if reasons.is_empty() {
            let says = format!("no policy permits `{}` to the roles of this person", request.action);
            reasons.push(Reason { policy: NOTHING_PERMITS.to_owned(), says, detail: Vec::new() });
        }
        Ok((response.decision() == CedarDecision::Allow, reasons))
    }

    fn reason(&self, id: &str, facts: &Facts) -> Reason {
        let detail = self
            .needs
            .get(id)
            .and_then(|kind| Some((kind, facts.evidence(*kind)?)))
            .map(|(kind, evidence)| {
                let evidence = self.aged(evidence);
                evidence.shortfalls().map(|words| format!("{}: {words}", kind.name())).collect()
            })
            .unwrap_or_default();
        let says = self.says.get(id).cloned().unwrap_or_default();
        Reason { policy: id.to_owned(), says, detail }
    }

    /// The facts with the vault's limit on the age of evidence applied.
    fn aged(&self, facts: &EvidenceFacts) -> EvidenceFacts {
        EvidenceFacts { fresh: facts.fresh && facts.age_ms <= self.settings.evidence_max_age_ms(), ..*facts }
    }

    fn context_json(&self, request: &Request) -> Value {
        let facts = &request.facts;
        let evidence = |facts: &EvidenceFacts| {
            let facts = self.aged(facts);
            json!({
                "present": facts.present, "complete": facts.complete, "passes": facts.passes, "blocks": facts.blocks,
                "fresh": facts.fresh, "subject_matches": facts.subject_matches, "in_trail": facts.in_trail,
                "signer_allowed": facts.signer_allowed, "age_ms": long(facts.age_ms),
            })
        };
        let person = |id: &str| json!({"type": "Person", "id": id});
        let others = facts.approvals.iter().filter(|id| **id != request.principal.id).count();
        let custody = request.vault.custody;
        let settings = &self.settings;
        let mut context = json!({
            "vault": {"type": "Vault", "id": request.vault.id},
            "evidence": {
                "scan": evidence(&facts.scan), "screen": evidence(&facts.screen),
                "provenance": evidence(&facts.provenance), "robustness": evidence(&facts.robustness),
                "review": evidence(&facts.review),
            },
            "exempt": {"no_scan": facts.exempt.no_scan, "no_screen": facts.exempt.no_screen},
            "requester": person(facts.requester.as_deref().unwrap_or(&request.principal.id)),
            "approvals": facts.approvals.iter().map(|id| person(id)).collect::<Vec<_>>(),
            "approvals_by_others": others,
            "sandbox": {"type": "Level", "id": facts.sandbox.name()},
            "waived": long(facts.waived),
            "settings": {
                "allow_no_scan": settings.allows_no_scan(custody),
                "allow_no_screen": settings.allows_no_screen(custody),
                "demand_full": settings.demand_level == DemandLevel::Full,
                "demand_namespaces": settings.demand_level == DemandLevel::NoCgroup,
                "min_robust_accuracy_permille": settings.min_robust_accuracy_permille.unwrap_or(0),
                "max_clean_drop_permille": settings.max_clean_drop_permille.unwrap_or(PERMILLE_MAX),
                "max_filtered_permille": settings.max_filtered_permille.unwrap_or(PERMILLE_MAX),
            },
        });
        let figures = [
            ("robust_accuracy_permille", facts.robust_accuracy_permille.map(i64::from)),
            ("clean_drop_permille", facts.clean_drop_permille.map(i64::from)),
            ("filtered_permille", facts.filtered_permille.map(i64::from)),
        ];
        if let Some(context) = context.as_object_mut() {
            context.extend(figures.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))));
        }
        context
    }
}

fn undecided(says: String) -> Reason {
    Reason { policy: COULD_NOT_DECIDE.to_owned(), says, detail: Vec::new() }
}

fn say(error: impl std::fmt::Display) -> String {
    printable(&error.to_string(), MESSAGE_CHARS_MAX)
}

/// Cedar has no number above `i64::MAX`; a count that large stays the largest.
fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    EntityUid::from_json(json!({"type": kind, "id": id})).map_err(say)
}

fn entities_json(request: &Request) -> Value {
    let roles: BTreeSet<_> = request.principal.roles.iter().map(|role| role.name()).collect();
    let vault = json!({"type": "Vault", "id": request.vault.id});
    let mut entities = vec![
        json!({
            "uid": {"type": "Person", "id": request.principal.id},
            "attrs": {},
            "parents": roles.iter().map(|role| json!({"type": "Role", "id": role})).collect::<Vec<_>>(),
        }),
        json!({"uid": vault, "attrs": {"solo": request.vault.custody == Custody::Solo}, "parents": []}),
    ];
    if let Resource::Artifact { name, state } = &request.resource {
        entities.push(json!({
            "uid": {"type": "Artifact", "id": name.to_string()},
            "attrs": {
                "kind": {"type": "Kind", "id": name.kind().to_string()},
                "name": name.name(),
                "state": {"type": "State", "id": state.name()},
            },
            "parents": [vault],
        }));
    }
    Value::Array(entities)
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
