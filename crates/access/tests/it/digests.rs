//! The digests bind what was considered, and nothing that does not matter.

use ringfence_access::{Action, Custody, NamespaceState, Policies, Role, VaultPolicy};
use ringfence_schema::ArtifactKind;

use crate::world::{artifact, builtin, request};

#[test]
fn the_policy_digest_follows_meaning_not_spelling() {
    let plain = builtin().with_project("forbid (principal, action == Action::\"attack\", resource);").unwrap();
    let spaced = builtin()
        .with_project("// why not\nforbid (\n  principal,\n  action == Action::\"attack\", resource\n);")
        .unwrap();
    let other = builtin().with_project("forbid (principal, action == Action::\"verify\", resource);").unwrap();
    assert_eq!(plain.digest(), spaced.digest());
    assert_ne!(plain.digest(), other.digest());
    assert_ne!(plain.digest(), builtin().digest());
    assert_eq!(Policies::builtin().unwrap().digest(), builtin().digest(), "the same in every process");
    let settings = VaultPolicy::parse("schema = \"ringfence.policy/1\"\n[settings]\ndemand_level = \"full\"").unwrap();
    assert_ne!(builtin().with_vault(&settings).unwrap().digest(), builtin().digest());
    assert_eq!(builtin().with_vault(&VaultPolicy::default()).unwrap().digest(), builtin().digest());
}

#[test]
fn requests_and_entities_have_their_own_digests() {
    let policies = builtin();
    let base = request(Action::Admit, artifact(ArtifactKind::Model, NamespaceState::Quarantined), Custody::Solo);
    let decided = policies.decide(&base);
    assert_eq!(policies.decide(&base), decided, "deciding is a pure function");

    let mut older = base.clone();
    older.facts.scan.age_ms += 1;
    let older = policies.decide(&older);
    assert_ne!(older.request_digest, decided.request_digest);
    assert_eq!(older.entities_digest, decided.entities_digest);

    let mut promoted = base.clone();
    promoted.principal.roles.insert(Role::Researcher);
    assert_ne!(policies.decide(&promoted).entities_digest, decided.entities_digest);
    let mut shared = base;
    shared.vault.custody = Custody::Shared;
    assert_ne!(policies.decide(&shared).entities_digest, decided.entities_digest);
}
