//! Slicing changes nothing but the time: over generated policies and requests, every decision is that of all policies,
//! asked over a request that Cedar checked against the schema.

use proptest::prelude::*;
use ringfence_access::{
    Action, Custody, Facts, LoginStrength, NamespaceState, Person, PersonKind, Policies, Request, Resource, Role,
    SandboxLevel, VaultPolicy,
    matrix::{KINDS, SITUATIONS, in_order, person, resources},
};
use ringfence_schema::{ArtifactKind, ArtifactName, canon::digest_of};

use crate::world::{artifact, builtin};

const PEOPLE: [&str; 4] = ["olga", "ann", "o\"lga", "\u{1}\u{7f}\u{2028}é\\"];
const NAMES: [&str; 2] = ["thing", "other"];

fn principal() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("principal".to_owned()),
        1 => Just("principal is Person".to_owned()),
        3 => prop::sample::select(Role::ALL.to_vec()).prop_map(|role| format!("principal in Role::\"{}\"", role.name())),
        1 => prop::sample::select(Role::ALL.to_vec())
            .prop_map(|role| format!("principal is Person in Role::\"{}\"", role.name())),
        2 => prop::sample::select(PEOPLE.to_vec()).prop_map(|id| format!("principal == Person::{id:?}")),
        1 => prop::sample::select(PEOPLE.to_vec()).prop_map(|id| format!("principal in Person::{id:?}")),
    ]
}

fn action() -> impl Strategy<Value = String> {
    let actions = || prop::sample::select(Action::ALL.to_vec()).prop_map(|action| format!("Action::\"{action}\""));
    prop_oneof![
        Just("action".to_owned()),
        Just("action in Action::\"change\"".to_owned()),
        Just("action in [Action::\"dangerous\", Action::\"read\"]".to_owned()),
        actions().prop_map(|action| format!("action == {action}")),
        prop::collection::vec(actions(), 1..4).prop_map(|actions| format!("action in [{}]", actions.join(", "))),
    ]
}

fn resource() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("resource".to_owned()),
        2 => Just("resource is Artifact".to_owned()),
        1 => Just("resource is Vault".to_owned()),
        1 => Just("resource in Vault::\"vault\"".to_owned()),
        1 => Just("resource == Vault::\"vault\"".to_owned()),
        1 => Just("resource is Artifact in Vault::\"elsewhere\"".to_owned()),
        2 => (prop::sample::select(KINDS.to_vec()), prop::sample::select(NAMES.to_vec()))
            .prop_map(|(kind, name)| format!("resource == Artifact::\"{kind}/{name}\"")),
    ]
}

/// Conditions that read every part of the context, and some that fail for some requests.
fn condition() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(KINDS.to_vec()).prop_map(|kind| format!("resource.kind == Kind::\"{kind}\"")),
        prop::sample::select(KINDS.to_vec()).prop_map(|kind| format!("Kind::\"{kind}\" == resource.kind")),
        prop::collection::vec(prop::sample::select(KINDS.to_vec()), 1..3).prop_map(|kinds| {
            let kinds: Vec<_> = kinds.iter().map(|kind| format!("Kind::\"{kind}\"")).collect();
            format!("[{}].contains(resource.kind)", kinds.join(", "))
        }),
        prop::sample::select(vec![
            "resource.state == State::\"admitted\"",
            "resource.name == \"thing\"",
            "context.evidence.scan.passes",
            "context[\"evidence\"][\"screen\"].fresh",
            "context.evidence.robustness.age_ms > 5",
            "context.evidence has review",
            "context.exempt.no_screen",
            "context.sandbox == Level::\"full\"",
            "context.vault.solo",
            "context.vault == resource",
            "principal.human",
            "principal in Role::\"owner\"",
            "action in Action::\"dangerous\"",
            "context.requester == principal",
            "context.approvals.contains(principal)",
            "context.approvals_by_others >= 2",
            "context has about && context.about == principal",
            "context has mfa_age_ms && context.mfa_age_ms < 600000",
            "context.login == Login::\"mfa\"",
            "context.first_enrolment",
            "context.in_run",
            "context.engaged",
            "context.settings.demand_passkey",
            "context has filtered_permille && context.filtered_permille < 40",
            "context has robust_accuracy_permille",
            "context.waived + 9223372036854775807 > 0",
            "{a: context}.a.in_run",
            "(if context.in_run then context else context).engaged",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(2, 8, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a}) || ({b})")),
        ]
    })
}

fn policy() -> impl Strategy<Value = String> {
    let clauses = prop::collection::vec((prop::sample::select(vec!["when", "unless"]), condition()), 0..3);
    (principal(), action(), resource(), clauses).prop_map(|(principal, action, resource, clauses)| {
        let clauses: String =
            clauses.iter().map(|(clause, condition)| format!(" {clause} {{ {condition} }}")).collect();
        format!("forbid ({principal}, {action}, {resource}){clauses};")
    })
}

fn any_request() -> impl Strategy<Value = Request> {
    let kinds = prop::sample::select(KINDS.to_vec());
    let resource = prop_oneof![
        1 => Just(Resource::Vault),
        3 => (kinds, prop::sample::select(NAMES.to_vec()), prop::sample::select(NamespaceState::ALL.to_vec())).prop_map(
            |(kind, name, state)| Resource::Artifact { name: ArtifactName::new(kind, name).unwrap(), state }
        ),
    ];
    let who = (
        prop::sample::select(PEOPLE.to_vec()),
        prop::collection::btree_set(prop::sample::select(Role::ALL.to_vec()), 0..4),
        any::<bool>(),
    );
    let action = prop::sample::select(Action::ALL.to_vec());
    let situations = prop::collection::vec(prop::sample::select(SITUATIONS.to_vec()), 0..4);
    (who, action, resource, any::<bool>(), situations, any::<u64>()).prop_map(
        |((id, roles, human), action, resource, solo, situations, number)| {
            let kind = if human { PersonKind::Human } else { PersonKind::Service };
            let person = Person { id: id.to_owned(), roles, kind };
            let custody = if solo { Custody::Solo } else { Custody::Shared };
            let mut request = in_order(person, action, resource, custody);
            request.facts.waived = number % 3;
            request.facts.scan.age_ms = number;
            for situation in situations {
                situation.apply(&mut request);
            }
            request
        },
    )
}

fn settings() -> impl Strategy<Value = VaultPolicy> {
    prop::sample::select(vec![
        "",
        "login_min = \"passkey\"",
        "evidence_max_age_days = 1\ndemand_level = \"full\"",
        "max_filtered_permille = 30\nmin_robust_accuracy_permille = 700\nallow_no_screen = true",
    ])
    .prop_map(|lines| VaultPolicy::parse(&format!("schema = \"ringfence.policy/1\"\n[settings]\n{lines}")).unwrap())
}

/// Those of `texts` that pass strict validation, added to the built-in set under `settings`.
fn policies(settings: &VaultPolicy, texts: &[String]) -> Policies {
    let fits = |text: &&String| builtin().with_project(text).is_ok();
    let text: String = texts.iter().filter(fits).map(String::as_str).collect();
    builtin().with_vault(settings).unwrap().with_project(&text).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn sliced_is_whole(
        settings in settings(),
        texts in prop::collection::vec(policy(), 0..8),
        requests in prop::collection::vec(any_request(), 24),
    ) {
        let policies = policies(&settings, &texts);
        for request in requests {
            let whole = policies.decide_unsliced(&request);
            prop_assert_eq!(&policies.decide(&request), &whole, "{:?}\n{:?}", texts, request);
            // Once more, from memory, and with facts that change from one moment to the next.
            prop_assert_eq!(&policies.decide(&request), &whole, "{:?}\n{:?}", texts, request);
            prop_assert_eq!(whole.request_digest, digest_of(&request).unwrap());
            let mut later = request;
            later.facts.mfa_age_ms = later.facts.mfa_age_ms.map(|age| age + 540_000);
            later.facts.scan.age_ms /= 2;
            prop_assert_eq!(policies.decide(&later), policies.decide_unsliced(&later), "{:?}\n{:?}", texts, later);
        }
    }
}

#[test]
fn the_whole_table_is_the_same_sliced_and_whole() {
    let policies = builtin();
    for custody in [Custody::Solo, Custody::Shared] {
        for role in Role::ALL {
            for (label, resource) in resources() {
                for action in Action::ALL {
                    let request = in_order(person("olga", role), action, resource.clone(), custody);
                    let (sliced, whole) = (policies.decide(&request), policies.decide_unsliced(&request));
                    assert_eq!(sliced, whole, "{custody:?} {} {action} {label}", role.name());
                }
            }
        }
    }
}

#[test]
fn an_error_in_a_policy_that_applies_denies_whether_or_not_others_are_sliced_away() {
    let errs = "forbid (principal, action == Action::\"attack\", resource) \
                when { context.waived + 9223372036854775807 == 0 };";
    // The kind is tested first: for other kinds Cedar stops there, and so does the index.
    let guarded = "forbid (principal, action == Action::\"attack\", resource) when \
                   { resource.kind == Kind::\"code\" && context.waived + 9223372036854775807 == 0 };";
    let late = "forbid (principal, action == Action::\"attack\", resource) when \
                { context.waived + 9223372036854775807 == 0 && resource.kind == Kind::\"code\" };";
    let mut attack = in_order(
        Person::owner("olga"),
        Action::Attack,
        artifact(ArtifactKind::Model, NamespaceState::Admitted),
        Custody::Shared,
    );
    attack.facts.waived = 1;
    for (text, allow) in [(errs, false), (guarded, true), (late, false)] {
        let policies = builtin().with_project(text).unwrap();
        assert_eq!(policies.decide(&attack).allow, allow, "{text}");
        assert_eq!(policies.decide(&attack), policies.decide_unsliced(&attack), "{text}");
    }
}

#[test]
fn what_was_recorded_before_a_fact_existed_reads_and_keeps_its_digest() {
    // The facts of a request as they were written when logins, runs and engagements were not yet facts.
    let evidence = r#"{"present":true,"complete":true,"passes":true,"blocks":false,"fresh":true,"subject_matches":true,
        "in_trail":true,"signer_allowed":true,"age_ms":7}"#;
    let none = evidence.replace("true", "false").replace(":7", ":0");
    let old = format!(
        r#"{{"scan":{evidence},"screen":{none},"provenance":{none},"robustness":{none},"review":{none},
        "exempt":{{"no_scan":false,"no_screen":true}},"requester":null,"approvals":["ann"],"sandbox":"no-cgroup",
        "waived":2,"filtered_permille":3}}"#
    );
    let facts: Facts = serde_json::from_str(&old).unwrap();
    assert_eq!((facts.login, facts.mfa_age_ms, facts.in_run), (LoginStrength::Any, None, false));
    assert_eq!((facts.sandbox, facts.waived), (SandboxLevel::NoCgroup, 2));
    let again: serde_json::Value = serde_json::to_value(&facts).unwrap();
    assert_eq!(again, serde_json::from_str::<serde_json::Value>(&old).unwrap());
    let person: Person = serde_json::from_str(r#"{"id":"olga","roles":["owner"]}"#).unwrap();
    assert_eq!(person, Person::owner("olga"));
    assert_eq!(serde_json::to_string(&person).unwrap(), r#"{"id":"olga","roles":["owner"]}"#);
}
