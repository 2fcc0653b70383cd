//! Requests that the cases start from: everything is in order unless a case takes something away.

use std::sync::LazyLock;

use ringfence_access::{
    Action, Custody, NamespaceState, Person, PersonKind, Policies, Request, Resource, Role,
    matrix::{ASKS, in_order},
};
use ringfence_schema::{ArtifactKind, ArtifactName};

pub(crate) fn artifact(kind: ArtifactKind, state: NamespaceState) -> Resource {
    Resource::Artifact { name: ArtifactName::new(kind, "thing").unwrap(), state }
}

/// The owner's request in a vault of `custody`, with nothing missing.
pub(crate) fn request(action: Action, resource: Resource, custody: Custody) -> Request {
    in_order(Person::owner(ASKS), action, resource, custody)
}

pub(crate) fn person(roles: &[Role]) -> Person {
    Person { id: ASKS.to_owned(), roles: roles.iter().copied().collect(), kind: PersonKind::Human }
}

pub(crate) fn builtin() -> Policies {
    static BUILTIN: LazyLock<Policies> = LazyLock::new(|| Policies::builtin().unwrap());
    BUILTIN.clone()
}

/// The ids of the policies that decide.
pub(crate) fn decided_by(policies: &Policies, request: &Request) -> (bool, Vec<String>) {
    let decision = policies.decide(request);
    (decision.allow, decision.reasons.into_iter().map(|reason| reason.policy).collect())
}
