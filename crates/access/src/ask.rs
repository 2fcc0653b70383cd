//! From a [`Request`] to what Cedar reads: its request, its context and its entities.
//!
//! The context is told in [`Said`]s, each one part of it as a small tree ([`Node`]) with one encoding as JSON, which Cedar
//! checks against the schema, and one as Cedar's own expressions, which is quick. [`Vocabulary::checked`] uses the first
//! and gives Cedar everything; [`Vocabulary::lean`] uses the second and gives it the [`Parts`] that the policies in
//! question can read. `memory` has a third one, to tell what has been answered before.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request as CedarRequest, RestrictedExpression,
    Schema,
};
use ringfence_schema::{ArtifactKind, finding::printable};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    factors::LoginStrength,
    facts::{EvidenceFacts, SandboxLevel},
    request::{Action, Custody, NamespaceState, PersonKind, Request, Resource, Role},
    settings::{DemandLevel, PERMILLE_MAX, Settings},
};

/// Longest explanation of an error, in characters.
const MESSAGE_CHARS_MAX: usize = 300;

/// What [`Authorizer`](cedar_policy::Authorizer) is asked.
pub(crate) struct Asked {
    pub(crate) request: CedarRequest,
    pub(crate) entities: Arc<Entities>,
}

/// The parts of the context that a policy can read, as a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Parts(u32);

/// The parts in the order of their bits: attributes of the context, and those of its `evidence`.
const PARTS: [&str; 24] = [
    "vault",
    "evidence.scan",
    "evidence.screen",
    "evidence.provenance",
    "evidence.robustness",
    "evidence.review",
    "exempt",
    "requester",
    "approvals",
    "approvals_by_others",
    "about",
    "login",
    "mfa_age_ms",
    "first_enrolment",
    "in_run",
    "engaged",
    "sandbox",
    "waived",
    "settings",
    "figures",
    "beholden",
    "break_glass",
    "bundle",
    "entitled",
];

/// The attribute that tells how long ago the second factor was shown.
pub(crate) const MFA_AGE: &str = "mfa_age_ms";
/// The attribute of each kind of evidence that tells how old it is.
pub(crate) const EVIDENCE_AGE: &str = "age_ms";

/// The attributes that are read as one part, `figures`.
const FIGURES: [&str; 3] = ["robust_accuracy_permille", "clean_drop_permille", "filtered_permille"];

impl Parts {
    pub(crate) const ALL: Self = Self(u32::MAX);

    /// The part of an attribute; what is not known counts as everything.
    pub(crate) fn named(name: &str) -> Self {
        let name = if FIGURES.contains(&name) { "figures" } else { name };
        PARTS.iter().position(|part| *part == name).map_or(Self::ALL, |at| Self(1 << at))
    }

    /// What depends on the settings: their own part, and the evidence, which they age.
    pub(crate) fn of_settings() -> Self {
        let read = PARTS.iter().filter(|part| **part == "settings" || part.starts_with("evidence."));
        read.fold(Self::default(), |all, part| all.and(Self::named(part)))
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// One part of the context: an attribute of it, or of its `evidence`.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) part: Parts,
    /// The attribute's name.
    pub(crate) name: &'static str,
    /// Of `evidence`, not of the context itself.
    of_evidence: bool,
    pub(crate) node: Node,
}

/// A value of the context.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Bool(bool),
    Long(i64),
    Entity(EntityUid),
    Set(Vec<Node>),
    Record(Vec<(&'static str, Node)>),
}

impl Node {
    fn json(&self) -> Value {
        match self {
            Self::Bool(value) => json!(value),
            Self::Long(value) => json!(value),
            Self::Entity(uid) => {
                json!({"__entity": {"type": uid.type_name().to_string(), "id": uid.id().unescaped()}})
            }
            Self::Set(nodes) => nodes.iter().map(Self::json).collect(),
            Self::Record(fields) => fields.iter().map(|(name, node)| ((*name).to_owned(), node.json())).collect(),
        }
    }

    fn expression(self) -> Result<RestrictedExpression, String> {
        Ok(match self {
            Self::Bool(value) => RestrictedExpression::new_bool(value),
            Self::Long(value) => RestrictedExpression::new_long(value),
            Self::Entity(uid) => RestrictedExpression::new_entity_uid(uid),
            Self::Set(nodes) => {
                RestrictedExpression::new_set(nodes.into_iter().map(Self::expression).collect::<Result<Vec<_>, _>>()?)
            }
            Self::Record(fields) => RestrictedExpression::new_record(pairs(fields)?).map_err(say)?,
        })
    }
}

/// The context's attributes, those of its evidence gathered in one.
fn gathered(said: impl Iterator<Item = Said>) -> Vec<(&'static str, Node)> {
    let (evidence, mut all): (Vec<_>, Vec<_>) = said.partition(|said| said.of_evidence);
    let named = |said: Said| (said.name, said.node);
    let mut all: Vec<_> = all.drain(..).map(named).collect();
    if !evidence.is_empty() {
        all.push(("evidence", Node::Record(evidence.into_iter().map(named).collect())));
    }
    all
}

fn pairs(fields: Vec<(&'static str, Node)>) -> Result<Vec<(String, RestrictedExpression)>, String> {
    fields.into_iter().map(|(name, node)| Ok((name.to_owned(), node.expression()?))).collect()
}

/// The names that the schema knows, made once: every entity of an enumeration, and every action with its groups.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    person: EntityTypeName,
    vault: EntityTypeName,
    artifact: EntityTypeName,
    roles: HashMap<Role, EntityUid>,
    kinds: HashMap<ArtifactKind, EntityUid>,
    states: HashMap<NamespaceState, EntityUid>,
    levels: HashMap<&'static str, EntityUid>,
    logins: HashMap<LoginStrength, EntityUid>,
    actions: HashMap<Action, (EntityUid, Entity)>,
    /// Actions that apply to artifacts, and those that apply to vaults.
    on_artifacts: HashSet<Action>,
    on_vaults: HashSet<Action>,
}

impl Vocabulary {
    pub(crate) fn of(schema: &Schema) -> Result<Self, String> {
        let kind = |name: &str| name.parse::<EntityTypeName>().map_err(say);
        let uid = |entity: &EntityTypeName, id: &str| named(entity.clone(), id);
        let (role, state, level, login, kinds) =
            (kind("Role")?, kind("State")?, kind("Level")?, kind("Login")?, kind("Kind")?);
        let (vault, artifact) = (kind("Vault")?, kind("Artifact")?);
        let known = schema.action_entities().map_err(say)?;
        let (mut actions, mut on_artifacts, mut on_vaults) = (HashMap::new(), HashSet::new(), HashSet::new());
        for action in Action::ALL {
            let name = uid(&kind("Action")?, action.name());
            let entity = known.get(&name).ok_or_else(|| format!("the schema has no action `{action}`"))?;
            for resource in schema.resources_for_action(&name).into_iter().flatten() {
                on_artifacts.extend((*resource == artifact).then_some(action));
                on_vaults.extend((*resource == vault).then_some(action));
            }
            actions.insert(action, (name, entity.clone()));
        }
        let artifacts = [ArtifactKind::Dataset, ArtifactKind::Model, ArtifactKind::Checkpoint, ArtifactKind::Code];
        let sandbox = [SandboxLevel::None, SandboxLevel::Landlock, SandboxLevel::NoCgroup, SandboxLevel::Full];
        Ok(Self {
            person: kind("Person")?,
            vault,
            artifact,
            roles: Role::ALL.iter().map(|value| (*value, uid(&role, value.name()))).collect(),
            kinds: artifacts.iter().map(|value| (*value, uid(&kinds, &value.to_string()))).collect(),
            states: NamespaceState::ALL.iter().map(|value| (*value, uid(&state, value.name()))).collect(),
            levels: sandbox.iter().map(|value| (value.name(), uid(&level, value.name()))).collect(),
            logins: LoginStrength::ALL.iter().map(|value| (*value, uid(&login, value.name()))).collect(),
            actions,
            on_artifacts,
            on_vaults,
        })
    }

    /// The groups and the name of an action, as policies refer to them.
    pub(crate) fn action_names(&self, action: Action) -> Vec<EntityUid> {
        let Some((uid, entity)) = self.actions.get(&action) else { return Vec::new() };
        let parents = entity.as_ref().ancestors().map(|parent| EntityUid::from(parent.clone()));
        parents.chain([uid.clone()]).collect()
    }

    /// Whether the action can be asked of such a resource at all.
    pub(crate) fn applies(&self, action: Action, resource: &Resource) -> bool {
        match resource {
            Resource::Artifact { .. } => self.on_artifacts.contains(&action),
            Resource::Vault => self.on_vaults.contains(&action),
        }
    }

    /// Everything, checked against the schema.
    pub(crate) fn checked(&self, schema: &Schema, settings: &Settings, request: &Request) -> Result<Asked, String> {
        let (principal, action, resource) = self.names(request)?;
        let context = Node::Record(gathered(self.context(settings, request, Parts::ALL)?.into_iter())).json();
        let context = Context::from_json_value(context, Some((schema, &action))).map_err(say)?;
        let documents = serde_json::to_value(entities(request)).map_err(say)?;
        let entities = Entities::from_json_value(documents, Some(schema)).map_err(say)?;
        let request = CedarRequest::new(principal, action, resource, context, Some(schema)).map_err(say)?;
        Ok(Asked { request, entities: Arc::new(entities) })
    }

    /// The same with `entities`, and with those of `said` that `parts` has: what policies that read no more can see of it.
    /// Only for an action that applies to the resource.
    pub(crate) fn lean(
        &self,
        request: &Request,
        said: &[Said],
        parts: Parts,
        entities: Arc<Entities>,
    ) -> Result<Asked, String> {
        let (principal, action, resource) = self.names(request)?;
        let read = said.iter().filter(|said| parts.meets(said.part)).cloned();
        let context = Context::from_pairs(pairs(gathered(read))?).map_err(say)?;
        let request = CedarRequest::new(principal, action, resource, context, None).map_err(say)?;
        Ok(Asked { request, entities })
    }

    fn names(&self, request: &Request) -> Result<(EntityUid, EntityUid, EntityUid), String> {
        let (action, _) = self.actions.get(&request.action).ok_or_else(unknown)?;
        let resource = match &request.resource {
            Resource::Artifact { name, .. } => named(self.artifact.clone(), &name.to_string()),
            Resource::Vault => named(self.vault.clone(), &request.vault.id),
        };
        Ok((named(self.person.clone(), &request.principal.id), action.clone(), resource))
    }

    /// The person, the vault, the artifact and the action; whatever else policies name has no attributes and no parents.
    pub(crate) fn entities(&self, request: &Request) -> Result<Entities, String> {
        let (principal, _, resource) = self.names(request)?;
        let bool = RestrictedExpression::new_bool;
        let roles: HashSet<_> =
            request.principal.roles.iter().filter_map(|role| self.roles.get(role)).cloned().collect();
        let human = HashMap::from([("human".to_owned(), bool(request.principal.kind == PersonKind::Human))]);
        let vault = named(self.vault.clone(), &request.vault.id);
        let solo = HashMap::from([("solo".to_owned(), bool(request.vault.custody == Custody::Solo))]);
        let (_, action) = self.actions.get(&request.action).ok_or_else(unknown)?;
        let mut entities = vec![
            Entity::new(principal, human, roles).map_err(say)?,
            Entity::new(vault.clone(), solo, HashSet::new()).map_err(say)?,
            action.clone(),
        ];
        if let Resource::Artifact { name, state } = &request.resource {
            let entity =
                |uid: Option<&EntityUid>| uid.cloned().map(RestrictedExpression::new_entity_uid).ok_or_else(unknown);
            let attributes = HashMap::from([
                ("kind".to_owned(), entity(self.kinds.get(&name.kind()))?),
                ("name".to_owned(), RestrictedExpression::new_string(name.name().to_owned())),
                ("state".to_owned(), entity(self.states.get(state))?),
            ]);
            entities.push(Entity::new(resource, attributes, HashSet::from([vault])).map_err(say)?);
        }
        Entities::from_entities(entities, None).map_err(say)
    }

    /// What `parts` has of the context.
    pub(crate) fn context(&self, settings: &Settings, request: &Request, parts: Parts) -> Result<Vec<Said>, String> {
        let facts = &request.facts;
        let asks = &request.principal;
        let custody = request.vault.custody;
        let person = |id: &str| Node::Entity(named(self.person.clone(), id));
        let entity = |uid: Option<&EntityUid>| uid.cloned().map(Node::Entity).ok_or_else(unknown);
        let mut context = Vec::with_capacity(PARTS.len());
        let mut put = |name: &'static str, node: &dyn Fn() -> Result<Node, String>| -> Result<(), String> {
            let part = Parts::named(name);
            if parts.meets(part) {
                context.push(Said { part, name, of_evidence: false, node: node()? });
            }
            Ok(())
        };
        put("vault", &|| Ok(Node::Entity(named(self.vault.clone(), &request.vault.id))))?;
        put("exempt", &|| {
            let (scan, screen) = (facts.exempt.no_scan, facts.exempt.no_screen);
            Ok(Node::Record(vec![("no_scan", Node::Bool(scan)), ("no_screen", Node::Bool(screen))]))
        })?;
        put("requester", &|| Ok(person(facts.requester.as_deref().unwrap_or(&asks.id))))?;
        put("approvals", &|| Ok(Node::Set(facts.approvals.iter().map(|id| person(id)).collect())))?;
        put("approvals_by_others", &|| {
            let counts = |id: &&String| **id != asks.id && !facts.dependants.contains(*id);
            Ok(Node::Long(long(facts.approvals.iter().filter(counts).count() as u64)))
        })?;
        put("login", &|| entity(self.logins.get(&facts.login)))?;
        put("first_enrolment", &|| Ok(Node::Bool(facts.first_enrolment)))?;
        put("in_run", &|| Ok(Node::Bool(facts.in_run)))?;
        put("engaged", &|| Ok(Node::Bool(facts.engaged)))?;
        put("beholden", &|| Ok(Node::Bool(facts.beholden)))?;
        put("break_glass", &|| Ok(Node::Bool(facts.break_glass)))?;
        put("bundle", &|| Ok(Node::Bool(facts.bundle)))?;
        put("entitled", &|| Ok(Node::Bool(facts.entitled)))?;
        put("sandbox", &|| entity(self.levels.get(facts.sandbox.name())))?;
        put("waived", &|| Ok(Node::Long(long(facts.waived))))?;
        put("settings", &|| Ok(Node::Record(demands(settings, custody, &asks.roles))))?;
        let mut optional = |name: &'static str, node: Option<Node>| {
            let part = Parts::named(name);
            let node = node.filter(|_| parts.meets(part));
            context.extend(node.map(|node| Said { part, name, of_evidence: false, node }));
        };
        optional("about", facts.about.as_deref().map(person));
        optional(MFA_AGE, facts.mfa_age_ms.map(|age| Node::Long(long(age))));
        let figures = [
            facts.robust_accuracy_permille.map(i64::from),
            facts.clean_drop_permille.map(i64::from),
            facts.filtered_permille.map(i64::from),
        ];
        for (name, figure) in FIGURES.into_iter().zip(figures) {
            optional(name, figure.map(Node::Long));
        }
        let kinds = [
            ("evidence.scan", "scan", &facts.scan),
            ("evidence.screen", "screen", &facts.screen),
            ("evidence.provenance", "provenance", &facts.provenance),
            ("evidence.robustness", "robustness", &facts.robustness),
            ("evidence.review", "review", &facts.review),
        ];
        context.extend(kinds.iter().filter_map(|(part, name, facts)| {
            let part = Parts::named(part);
            let node = parts.meets(part).then(|| evidence(&aged(settings, facts)))?;
            Some(Said { part, name, of_evidence: true, node })
        }));
        Ok(context)
    }
}

/// The facts with the vault's limit on the age of evidence applied.
pub(crate) fn aged(settings: &Settings, facts: &EvidenceFacts) -> EvidenceFacts {
    EvidenceFacts { fresh: facts.fresh && facts.age_ms <= settings.evidence_max_age_ms(), ..*facts }
}

fn evidence(facts: &EvidenceFacts) -> Node {
    Node::Record(vec![
        ("present", Node::Bool(facts.present)),
        ("complete", Node::Bool(facts.complete)),
        ("passes", Node::Bool(facts.passes)),
        ("blocks", Node::Bool(facts.blocks)),
        ("fresh", Node::Bool(facts.fresh)),
        ("subject_matches", Node::Bool(facts.subject_matches)),
        ("in_trail", Node::Bool(facts.in_trail)),
        ("signer_allowed", Node::Bool(facts.signer_allowed)),
        (EVIDENCE_AGE, Node::Long(long(facts.age_ms))),
    ])
}

fn demands(settings: &Settings, custody: Custody, roles: &BTreeSet<Role>) -> Vec<(&'static str, Node)> {
    let limit = |value: Option<u32>, default: u32| Node::Long(value.unwrap_or(default).into());
    vec![
        ("allow_no_scan", Node::Bool(settings.allows_no_scan(custody))),
        ("allow_no_screen", Node::Bool(settings.allows_no_screen(custody))),
        ("demand_passkey", Node::Bool(settings.login_min(roles) == LoginStrength::Passkey)),
        ("demand_full", Node::Bool(settings.demand_level == DemandLevel::Full)),
        ("demand_namespaces", Node::Bool(settings.demand_level == DemandLevel::NoCgroup)),
        ("min_robust_accuracy_permille", limit(settings.min_robust_accuracy_permille, 0)),
        ("max_clean_drop_permille", limit(settings.max_clean_drop_permille, PERMILLE_MAX)),
        ("max_filtered_permille", limit(settings.max_filtered_permille, PERMILLE_MAX)),
    ]
}

/// An entity as a document. INVARIANT: fields stand in alphabetical order (`memory.rs`).
#[derive(Serialize)]
pub(crate) struct EntityDocument<'a> {
    attrs: Attributes<'a>,
    parents: Vec<Uid<'a>>,
    uid: Uid<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Attributes<'a> {
    Person { human: bool },
    Vault { solo: bool },
    Artifact { kind: Uid<'a>, name: &'a str, state: Uid<'a> },
}

#[derive(Serialize)]
struct Uid<'a> {
    id: Cow<'a, str>,
    r#type: &'static str,
}

fn document<'a>(kind: &'static str, id: impl Into<Cow<'a, str>>) -> Uid<'a> {
    Uid { id: id.into(), r#type: kind }
}

/// The entities as documents: what the request says of the person, the vault and the artifact.
pub(crate) fn entities(request: &Request) -> Vec<EntityDocument<'_>> {
    let Request { principal, vault, resource, .. } = request;
    let roles: BTreeSet<_> = principal.roles.iter().map(|role| role.name()).collect();
    let mut all = vec![
        EntityDocument {
            attrs: Attributes::Person { human: principal.kind == PersonKind::Human },
            parents: roles.into_iter().map(|role| document("Role", role)).collect(),
            uid: document("Person", &principal.id),
        },
        EntityDocument {
            attrs: Attributes::Vault { solo: vault.custody == Custody::Solo },
            parents: Vec::new(),
            uid: document("Vault", &vault.id),
        },
    ];
    if let Resource::Artifact { name, state } = resource {
        all.push(EntityDocument {
            attrs: Attributes::Artifact {
                kind: document("Kind", name.kind().to_string()),
                name: name.name(),
                state: document("State", state.name()),
            },
            parents: vec![document("Vault", &vault.id)],
            uid: document("Artifact", name.to_string()),
        });
    }
    all
}

fn named(kind: EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind, EntityId::new(id))
}

fn unknown() -> String {
    "a name that the schema does not have".to_owned()
}

pub(crate) fn say(error: impl std::fmt::Display) -> String {
    printable(&error.to_string(), MESSAGE_CHARS_MAX)
}

/// Cedar has no number above `i64::MAX`; a count that large stays the largest.
fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Person,
        matrix::{ASKS, in_order},
    };

    #[test]
    fn each_part_meets_itself_and_everything_and_no_other() {
        for (at, name) in PARTS.iter().enumerate() {
            let part = Parts::named(name);
            for (other_at, other) in PARTS.iter().enumerate() {
                assert_eq!(part.meets(Parts::named(other)), at == other_at, "{name} and {other}");
            }
            assert_eq!(part.and(part), part, "{name}");
            assert!(part.meets(Parts::ALL) && !part.meets(Parts::default()), "{name}");
        }
        for figure in FIGURES {
            assert_eq!(Parts::named(figure), Parts::named("figures"), "{figure}");
        }
        assert_eq!(Parts::named("colour"), Parts::ALL, "what is not known counts as everything");
    }

    #[test]
    fn settings_reach_their_own_part_and_the_evidence_that_they_age() {
        let read: Vec<_> = PARTS.into_iter().filter(|part| Parts::named(part).meets(Parts::of_settings())).collect();
        let evidence = ["scan", "screen", "provenance", "robustness", "review"].map(|kind| format!("evidence.{kind}"));
        assert_eq!(read.split_last(), Some((&"settings", &evidence.each_ref().map(String::as_str)[..])));
    }

    #[test]
    fn a_name_that_the_schema_lacks_is_an_error_in_words() {
        let (schema, _) = Schema::from_cedarschema_str(include_str!("ringfence.cedarschema")).unwrap();
        let mut vocabulary = Vocabulary::of(&schema).unwrap();
        let request = in_order(Person::owner(ASKS), Action::Read, Resource::Vault, Custody::Solo);
        assert!(vocabulary.names(&request).is_ok());
        vocabulary.actions.clear();
        assert_eq!(vocabulary.names(&request), Err("a name that the schema does not have".to_owned()));
    }
}
