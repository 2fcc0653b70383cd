//! Which policies can apply to a request, found without asking Cedar, whose cost grows with every policy that it reads.
//!
//! A policy is filed once, under what its scope says: actions (groups resolved), kinds of resources, and a role, a person
//! or an artifact by name. [`Index::applicable`] gathers the groups whose scope a request meets. What it leaves out is
//! exactly what Cedar would have found not to apply *before* it looked at anything that could fail: the scope, and a first
//! condition of the form `resource.kind == …` or `[…].contains(resource.kind)`. So decisions, reasons and errors are the
//! same with and without slicing; `tests/it/slices.rs` holds that over generated policies and requests.
//!
//! What is in doubt stays in: a scope or a condition that is not understood here applies to everything.

use std::collections::BTreeMap;

use cedar_policy::{ActionConstraint, Effect, EntityUid, Policy, PolicySet, PrincipalConstraint, ResourceConstraint};
use ringfence_schema::ArtifactKind;
use serde_json::Value;

use crate::{
    ask::{Parts, Vocabulary},
    request::{Action, Request, Resource, Role},
};

/// Kinds of resources as bits: the vault, then each kind of artifact.
const VAULT: u8 = 1;
const KINDS: [(ArtifactKind, &str, u8); 4] = [
    (ArtifactKind::Dataset, "dataset", 2),
    (ArtifactKind::Model, "model", 4),
    (ArtifactKind::Checkpoint, "checkpoint", 8),
    (ArtifactKind::Code, "code", 16),
];
const ARTIFACTS: u8 = 2 | 4 | 8 | 16;

/// Whom or what a policy is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Anybody,
    Role(Role),
    Person(String),
    /// Anybody, and one artifact.
    Artifact(String),
}

/// Where a policy is filed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    forbids: bool,
    actions: u32,
    kinds: u8,
}

/// Policies that apply to the same requests.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// No other group of the index has it.
    pub(crate) number: usize,
    place: Place,
    role: Option<Role>,
    /// What their conditions can read of the context.
    pub(crate) parts: Parts,
    /// The policies.
    pub(crate) policies: PolicySet,
}

impl Group {
    /// Whether they forbid; a group never holds both kinds.
    pub(crate) fn forbids(&self) -> bool {
        self.place.forbids
    }
}

/// All policies of a set, filed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    general: Vec<Group>,
    persons: BTreeMap<String, Vec<Group>>,
    artifacts: BTreeMap<String, Vec<Group>>,
}

impl Index {
    /// Files every policy of `set`.
    ///
    /// # Errors
    /// What Cedar says where it cannot show a policy or refuses an id twice, which a validated set rules out.
    pub(crate) fn of(vocabulary: &Vocabulary, set: &PolicySet) -> Result<Self, String> {
        let mut filed: BTreeMap<(About, Place), (Parts, PolicySet)> = BTreeMap::new();
        for policy in set.policies() {
            let body = policy.to_json().map_err(|error| error.to_string())?;
            let (about, place) = place_of(vocabulary, policy, &body);
            let (parts, policies) = filed.entry((about, place)).or_default();
            *parts = parts.and(parts_of(&body));
            policies.add(policy.clone()).map_err(|error| error.to_string())?;
        }
        let mut index = Self::default();
        for (number, ((about, place), (parts, policies))) in filed.into_iter().enumerate() {
            let group = |role| Group { number, place: place.clone(), role, parts, policies: policies.clone() };
            match about {
                About::Anybody => index.general.push(group(None)),
                About::Role(role) => index.general.push(group(Some(role))),
                About::Person(id) => index.persons.entry(id).or_default().push(group(None)),
                About::Artifact(name) => index.artifacts.entry(name).or_default().push(group(None)),
            }
        }
        Ok(index)
    }

    /// The groups that can apply to `request`.
    pub(crate) fn applicable(&self, request: &Request) -> impl Iterator<Item = &Group> {
        let action = action_bit(request.action);
        let (kind, named) = match &request.resource {
            Resource::Vault => (VAULT, None),
            Resource::Artifact { name, .. } => (kind_bit(name.kind()), self.artifacts.get(&name.to_string())),
        };
        let own = self.persons.get(&request.principal.id);
        self.general.iter().chain(own.into_iter().flatten()).chain(named.into_iter().flatten()).filter(move |group| {
            group.place.actions & action != 0
                && group.place.kinds & kind != 0
                && group.role.is_none_or(|role| request.principal.roles.contains(&role))
        })
    }

    /// People and artifacts that policies name.
    pub(crate) fn names(&self) -> (impl Iterator<Item = &str>, impl Iterator<Item = &str>) {
        (self.persons.keys().map(String::as_str), self.artifacts.keys().map(String::as_str))
    }
}

fn action_bit(action: Action) -> u32 {
    Action::ALL.iter().position(|known| *known == action).map_or(0, |at| 1 << at)
}

fn kind_bit(kind: ArtifactKind) -> u8 {
    KINDS.iter().find(|(known, _, _)| *known == kind).map_or(ARTIFACTS, |(_, _, bit)| *bit)
}

fn place_of(vocabulary: &Vocabulary, policy: &Policy, body: &Value) -> (About, Place) {
    let (kinds, artifact) = kinds_of(policy);
    let place = Place {
        forbids: policy.effect() == Effect::Forbid,
        actions: actions_of(vocabulary, policy),
        kinds: kinds & first_condition(body),
    };
    let about = match policy.principal_constraint() {
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
        PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => whom(&uid),
    };
    let about = about.or(artifact.map(About::Artifact)).unwrap_or(About::Anybody);
    (about, place)
}

fn whom(uid: &EntityUid) -> Option<About> {
    let id = uid.id().unescaped();
    match uid.type_name().basename() {
        "Role" => Role::ALL.into_iter().find(|role| role.name() == id).map(About::Role),
        // People are in roles and in nobody else.
        "Person" => Some(About::Person(id.to_owned())),
        _ => None,
    }
}

fn actions_of(vocabulary: &Vocabulary, policy: &Policy) -> u32 {
    let meets = |wanted: &[EntityUid]| {
        let within = |action: &Action| vocabulary.action_names(*action).iter().any(|name| wanted.contains(name));
        Action::ALL.into_iter().filter(within).map(action_bit).fold(0, |all, bit| all | bit)
    };
    match policy.action_constraint() {
        ActionConstraint::Any => u32::MAX,
        ActionConstraint::In(uids) => meets(&uids),
        ActionConstraint::Eq(uid) => meets(&[uid]),
    }
}

/// The kinds of resources that the scope admits, and the one artifact where it names one.
fn kinds_of(policy: &Policy) -> (u8, Option<String>) {
    let of_type = |name: &str| match name {
        "Vault" => VAULT,
        "Artifact" => ARTIFACTS,
        _ => VAULT | ARTIFACTS,
    };
    match policy.resource_constraint() {
        ResourceConstraint::Any => (VAULT | ARTIFACTS, None),
        ResourceConstraint::Is(kind) => (of_type(kind.basename()), None),
        // Artifacts are in their vault, and nothing is in an artifact but itself.
        ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) if uid.type_name().basename() == "Vault" => {
            (VAULT | ARTIFACTS, None)
        }
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
            let kind = of_type(uid.type_name().basename());
            (kind, (kind == ARTIFACTS).then(|| uid.id().unescaped().to_owned()))
        }
    }
}

/// The kinds that the first condition lets through, where it is a `when` that begins with a test of `resource.kind`.
/// Cedar stops at the first test of a conjunction that is false, so nothing after it could have failed.
fn first_condition(body: &Value) -> u8 {
    let everything = VAULT | ARTIFACTS;
    let Some(first) = body.pointer("/conditions/0") else { return everything };
    if first.get("kind").and_then(Value::as_str) != Some("when") {
        return everything;
    }
    let mut test = first.get("body");
    while let Some(left) = test.and_then(|test| test.pointer("/&&/left")) {
        test = Some(left);
    }
    let Some(test) = test else { return everything };
    let is_kind = |node: Option<&Value>| {
        node.and_then(|node| node.pointer("/./attr")).and_then(Value::as_str) == Some("kind")
            && node.and_then(|node| node.pointer("/./left/Var")).and_then(Value::as_str) == Some("resource")
    };
    let wanted: Option<Vec<&Value>> = if let Some(equal) = test.get("==") {
        match (equal.get("left"), equal.get("right")) {
            (left, Some(right)) if is_kind(left) => Some(vec![right]),
            (Some(left), right) if is_kind(right) => Some(vec![left]),
            _ => None,
        }
    } else {
        test.get("contains")
            .filter(|contains| is_kind(contains.get("right")))
            .and_then(|contains| contains.pointer("/left/Set"))
            .and_then(Value::as_array)
            .map(|set| set.iter().collect())
    };
    // Of a vault, `resource.kind` would be an error: that is for Cedar to say.
    let mut bits = VAULT;
    for kind in wanted.unwrap_or_default() {
        match literal_kind(kind) {
            Some(bit) => bits |= bit,
            None => return everything,
        }
    }
    if bits == VAULT { everything } else { bits }
}

fn literal_kind(node: &Value) -> Option<u8> {
    let entity = node.pointer("/Value/__entity")?;
    if entity.get("type").and_then(Value::as_str) != Some("Kind") {
        return None;
    }
    let id = entity.get("id").and_then(Value::as_str)?;
    KINDS.iter().find(|(_, name, _)| *name == id).map(|(_, _, bit)| *bit)
}

/// What the conditions of a policy can read of the context.
fn parts_of(body: &Value) -> Parts {
    let mut parts = Parts::default();
    // The nesting of policies is bounded before they are parsed; the stack here is on the heap.
    let mut rest = vec![body];
    while let Some(node) = rest.pop() {
        match node {
            Value::Object(fields) => {
                let access = fields.get(".").or_else(|| fields.get("has"));
                if let Some(part) = access.and_then(read_part) {
                    parts = parts.and(part);
                    continue;
                }
                if fields.get("Var").and_then(Value::as_str) == Some("context") {
                    parts = Parts::ALL;
                }
                rest.extend(fields.values());
            }
            Value::Array(nodes) => rest.extend(nodes),
            _ => {}
        }
    }
    parts
}

/// The part that `context.NAME`, `context has NAME`, `context.evidence.KIND` reads.
fn read_part(access: &Value) -> Option<Parts> {
    let attribute = access.get("attr").and_then(Value::as_str)?;
    let left = access.get("left")?;
    let of_context = |node: &Value| {
        node.as_object().is_some_and(|node| node.len() == 1 && node.get("Var") == Some(&"context".into()))
    };
    if of_context(left) && attribute != "evidence" {
        return Some(Parts::named(attribute));
    }
    let inner = left.get(".")?;
    let evidence =
        inner.get("attr").and_then(Value::as_str) == Some("evidence") && inner.get("left").is_some_and(of_context);
    evidence.then(|| Parts::named(&format!("evidence.{attribute}")))
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use cedar_policy::Schema;
    use ringfence_schema::ArtifactName;

    use super::*;
    use crate::{
        Custody, NamespaceState,
        matrix::{in_order, person},
    };

    fn index(text: &str) -> Index {
        let (schema, _) = Schema::from_cedarschema_str(include_str!("ringfence.cedarschema")).unwrap();
        Index::of(&Vocabulary::of(&schema).unwrap(), &PolicySet::from_str(text).unwrap()).unwrap()
    }

    /// The owner reads the vault (`v`) and trains with a dataset, a model, a checkpoint and code (`d`, `m`, `p`, `c`); an
    /// auditor admits another model (`a`).
    fn requests() -> [(char, Request); 6] {
        let artifact = |kind, name| Resource::Artifact {
            name: ArtifactName::new(kind, name).unwrap(),
            state: NamespaceState::Admitted,
        };
        let owner = |action, resource| in_order(person("olga", Role::Owner), action, resource, Custody::Shared);
        let other = artifact(ArtifactKind::Model, "two");
        [
            ('v', owner(Action::Read, Resource::Vault)),
            ('d', owner(Action::Train, artifact(ArtifactKind::Dataset, "one"))),
            ('m', owner(Action::Train, artifact(ArtifactKind::Model, "one"))),
            ('p', owner(Action::Train, artifact(ArtifactKind::Checkpoint, "one"))),
            ('c', owner(Action::Train, artifact(ArtifactKind::Code, "one"))),
            ('a', in_order(person("ann", Role::Auditor), Action::Admit, other, Custody::Shared)),
        ]
    }

    /// The requests that the one policy of `text` is asked about.
    fn asked_about(text: &str) -> String {
        let index = index(text);
        let meets = |request: &Request| index.applicable(request).next().is_some();
        requests().iter().filter(|(_, request)| meets(request)).map(|(letter, _)| *letter).collect()
    }

    #[test]
    fn a_policy_is_asked_about_what_its_scope_admits() {
        for (scope, expected) in [
            ("principal, action, resource", "vdmpca"),
            ("principal is Person, action, resource", "vdmpca"),
            ("principal in Role::\"owner\", action, resource", "vdmpc"),
            ("principal is Person in Role::\"auditor\", action, resource", "a"),
            ("principal == Person::\"ann\", action, resource", "a"),
            ("principal in Person::\"olga\", action, resource", "vdmpc"),
            ("principal == Person::\"zoe\", action, resource", ""),
            ("principal, action == Action::\"train\", resource", "dmpc"),
            ("principal, action in [Action::\"read\", Action::\"admit\"], resource", "va"),
            ("principal, action in Action::\"change\", resource", "dmpca"),
            ("principal, action, resource is Artifact", "dmpca"),
            ("principal, action, resource is Vault", "v"),
            ("principal, action, resource == Vault::\"vault\"", "v"),
            ("principal, action, resource in Vault::\"vault\"", "vdmpca"),
            ("principal, action, resource is Artifact in Vault::\"vault\"", "vdmpca"),
            ("principal, action, resource == Artifact::\"model/one\"", "m"),
            ("principal, action, resource in Artifact::\"model/two\"", "a"),
            // What is in doubt stays in.
            ("principal in Role::\"pope\", action, resource", "vdmpca"),
            ("principal == Login::\"mfa\", action, resource", "vdmpca"),
            ("principal, action, resource is Person", "vdmpca"),
            ("principal, action, resource == Person::\"ann\"", "vdmpca"),
        ] {
            assert_eq!(asked_about(&format!("forbid ({scope});")), expected, "{scope}");
        }
    }

    #[test]
    fn a_first_test_of_the_kind_narrows_and_nothing_else_does() {
        for (resource, condition, expected) in [
            ("resource", "when { resource.kind == Kind::\"model\" }", "vma"),
            ("resource is Artifact", "when { resource.kind == Kind::\"model\" }", "ma"),
            ("resource is Vault", "when { resource.kind == Kind::\"model\" }", "v"),
            ("resource", "when { Kind::\"code\" == resource.kind }", "vc"),
            ("resource", "when { [Kind::\"dataset\", Kind::\"checkpoint\"].contains(resource.kind) }", "vdp"),
            ("resource", "when { resource.kind == Kind::\"code\" && context.in_run && context.engaged }", "vc"),
            ("resource", "when { resource.kind == Kind::\"code\" } unless { context.in_run }", "vc"),
            ("resource", "unless { resource.kind == Kind::\"code\" }", "vdmpca"),
            ("resource", "when { context.in_run && resource.kind == Kind::\"code\" }", "vdmpca"),
            ("resource", "when { resource.kind == Kind::\"code\" || context.in_run }", "vdmpca"),
            ("resource", "when { resource.kind != Kind::\"code\" }", "vdmpca"),
            ("resource", "when { resource.state == Kind::\"code\" }", "vdmpca"),
            ("resource", "when { Kind::\"code\" == resource.state }", "vdmpca"),
            ("resource", "when { principal.kind == Kind::\"code\" }", "vdmpca"),
            ("resource", "when { [Kind::\"code\"].contains(resource.state) }", "vdmpca"),
            ("resource", "when { [Kind::\"code\", Kind::\"spoon\"].contains(resource.kind) }", "vdmpca"),
            ("resource", "when { [].contains(resource.kind) }", "vdmpca"),
            ("resource", "when { resource.kind == State::\"code\" }", "vdmpca"),
            ("resource", "when { resource.kind == principal.kind }", "vdmpca"),
        ] {
            let text = format!("forbid (principal, action, {resource}) {condition};");
            assert_eq!(asked_about(&text), expected, "{text}");
        }
    }

    #[test]
    fn a_condition_reads_the_parts_that_it_names() {
        for (condition, expected) in [
            ("true", &[][..]),
            ("context.in_run", &["in_run"]),
            ("context has about && context.about == principal", &["about"]),
            ("context.exempt.no_screen || [context.engaged].contains(true)", &["exempt", "engaged"]),
            ("context.evidence.scan.passes", &["evidence.scan"]),
            ("context.evidence has review", &["evidence.review"]),
            ("context has clean_drop_permille", &["figures"]),
            ("principal.in_run", &[]),
            ("principal.evidence.scan", &[]),
            ("context.exempt.scan", &["exempt"]),
        ] {
            let index = index(&format!("forbid (principal, action, resource) when {{ {condition} }};"));
            let named = expected.iter().map(|name| Parts::named(name)).fold(Parts::default(), Parts::and);
            assert_eq!(index.general[0].parts, named, "{condition}");
        }
        for condition in ["context == context", "context.evidence == context.evidence", "{a: context}.a.in_run"] {
            let index = index(&format!("forbid (principal, action, resource) when {{ {condition} }};"));
            assert_eq!(index.general[0].parts, Parts::ALL, "{condition}");
        }
    }
}
