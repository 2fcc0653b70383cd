//! Requests that the cases start from: everything is in order unless a case takes something away.

use std::{collections::BTreeSet, sync::LazyLock};

use ringfence_access::{
    Action, Custody, EvidenceFacts, Exemptions, Facts, NamespaceState, Person, Policies, Request, Resource, Role,
    SandboxLevel, VaultFacts,
};
use ringfence_schema::{ArtifactKind, ArtifactName};

/// Evidence that nothing is wrong with, one hour old.
pub(crate) fn sound() -> EvidenceFacts {
    EvidenceFacts {
        present: true,
        complete: true,
        passes: true,
        blocks: false,
        fresh: true,
        subject_matches: true,
        in_trail: true,
        signer_allowed: true,
        age_ms: 3_600_000,
    }
}

/// Facts under which every gate opens.
pub(crate) fn all_facts() -> Facts {
    Facts {
        scan: sound(),
        screen: sound(),
        provenance: sound(),
        robustness: sound(),
        review: sound(),
        exempt: Exemptions::default(),
        requester: Some("somebody".to_owned()),
        approvals: ["ann", "bob"].map(str::to_owned).into(),
        sandbox: SandboxLevel::Full,
        waived: 0,
        robust_accuracy_permille: Some(600),
        clean_drop_permille: Some(10),
        filtered_permille: Some(40),
    }
}

pub(crate) fn artifact(kind: ArtifactKind, state: NamespaceState) -> Resource {
    Resource::Artifact { name: ArtifactName::new(kind, "thing").unwrap(), state }
}

/// The owner's request in a vault of `custody`, with nothing missing.
pub(crate) fn request(action: Action, resource: Resource, custody: Custody) -> Request {
    Request {
        principal: Person::owner("olga"),
        action,
        resource,
        vault: VaultFacts { id: "vault-1".to_owned(), custody },
        facts: all_facts(),
    }
}

pub(crate) fn person(roles: &[Role]) -> Person {
    Person { id: "olga".to_owned(), roles: roles.iter().copied().collect::<BTreeSet<_>>() }
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
