//! Policies that others wrote: refused with a position, or able to forbid and nothing else.

use proptest::prelude::*;
use ringfence_access::{
    Action, Custody, EvidenceFacts, NamespaceState, Policies, PolicyError, Request, Resource, SettingsError,
    VaultPolicy,
};
use ringfence_schema::ArtifactKind;

use crate::world::{artifact, builtin, decided_by, request};

fn refusal(text: &str) -> PolicyError {
    builtin().with_project(text).err().unwrap()
}

#[test]
fn a_project_forbids() {
    let text = r#"
        @id("no-releases")
        @says("this project releases nothing")
        forbid (principal, action == Action::"release", resource);
        forbid (principal, action == Action::"attack", resource);
    "#;
    let policies = builtin().with_project(text).unwrap();
    let release = request(Action::Release, artifact(ArtifactKind::Model, NamespaceState::Candidate), Custody::Solo);
    let decision = policies.decide(&release);
    assert!(!decision.allow);
    assert_eq!(decision.reasons[0].policy, "project:no-releases");
    assert_eq!(decision.reasons[0].says, "this project releases nothing");
    let attack = Request { action: Action::Attack, ..release };
    let decision = policies.decide(&attack);
    assert_eq!(decision.reasons[0].policy, "project:2");
    assert_eq!(decision.reasons[0].says, "the project's policy forbids this (line 5 column 9)");
}

#[test]
fn a_vault_forbids_and_a_project_adds() {
    let document = "schema = \"ringfence.policy/1\"\nforbid = '''\n@id(\"reviewed\") @says(\"every release is reviewed\")\n\
        forbid (principal, action == Action::\"release\", resource) unless { context.evidence.review.passes };\n'''\n";
    let vault = builtin().with_vault(&VaultPolicy::parse(document).unwrap()).unwrap();
    let both =
        vault.with_project("@id(\"reviewed\") forbid (principal, action == Action::\"train\", resource);").unwrap();
    let mut release = request(Action::Release, artifact(ArtifactKind::Model, NamespaceState::Candidate), Custody::Solo);
    assert!(both.decide(&release).allow);
    release.facts.review = EvidenceFacts::default();
    assert_eq!(decided_by(&both, &release), (false, vec!["vault:reviewed".to_owned()]));
}

#[test]
fn a_permit_is_refused_with_its_place() {
    let text = "forbid (principal, action == Action::\"attack\", resource);\n\n  permit (principal, action, resource);";
    let error = refusal(text);
    assert!(
        matches!(error, PolicyError::NotForbid { position } if (position.line, position.column) == (3, 3)),
        "{error}"
    );
    assert_eq!(error.to_string(), "line 3 column 3: only `forbid` policies can be added");
}

#[test]
fn a_permit_is_refused_wherever_it_hides() {
    for text in [
        "permit (principal, action, resource);",
        "@id(\"forbid\") permit (principal, action, resource);",
        "// forbid\npermit\n(principal, action, resource) when { false };",
        "permit (principal == ?principal, action, resource);",
        "forbid (principal, action, resource in ?resource);",
    ] {
        assert!(matches!(refusal(text), PolicyError::NotForbid { .. } | PolicyError::Template { .. }), "{text}");
    }
}

#[test]
fn faults_are_named_with_their_place() {
    let place = |error: &PolicyError| match error {
        PolicyError::Syntax { position, .. }
        | PolicyError::Invalid { position, .. }
        | PolicyError::BadId { position, .. }
        | PolicyError::DuplicateId { position, .. } => (position.line, position.column),
        other => panic!("{other}"),
    };
    let syntax = refusal("forbid (principal, action, resource)\nwhen { ! };");
    assert!(matches!(syntax, PolicyError::Syntax { .. }));
    assert_eq!(place(&syntax), (2, 10));
    // Strict validation: an unknown action, state and attribute, and a comparison of different types.
    for text in [
        "\nforbid (principal, action == Action::\"admmit\", resource);",
        "\nforbid (principal, action, resource is Artifact) when { resource.state == State::\"new\" };",
        "\nforbid (principal, action, resource) when { context.scan.present };",
        "\nforbid (principal, action, resource) when { context.waived == \"1\" };",
        "\nforbid (principal, action, resource) when { context.robust_accuracy_permille < 5 };",
        // Can never apply.
        "\nforbid (principal, action, resource is Person);",
    ] {
        let error = refusal(text);
        assert!(matches!(error, PolicyError::Invalid { .. }), "{text}: {error}");
        assert_eq!(place(&error), (2, 1), "{text}");
    }
    assert_eq!(place(&refusal("@id(\"A b\") forbid (principal, action, resource);")), (1, 1));
    let twice = "@id(\"a\") forbid (principal, action, resource);\n@id(\"a\") forbid (principal, action, resource);";
    assert_eq!(place(&refusal(twice)), (2, 1));
}

#[test]
fn hostile_text_is_refused_before_it_is_parsed() {
    let nested = |open: &str, close: &str, depth: usize| {
        let (open, close) = (open.repeat(depth), close.repeat(depth));
        format!("forbid (principal, action, resource) when {{ {open}true{close} }};")
    };
    for text in [
        nested("(", ")", 20_000),
        nested("[", "]", 20_000),
        nested("if true then ", " else false", 2_000),
        nested("true && ", "", 7_000),
        nested("", " || true", 7_000),
        nested("", ".a", 30_000),
        nested("!", "", 60_000),
        nested("", " in true", 7_000),
        nested("", " has a", 7_000),
        nested("1 + ", "", 10_000),
        format!("forbid (principal, action, resource) when {{ [{}] == [] }};", "1,".repeat(20_000)),
        "(".repeat(60_000),
        "@a".repeat(30_000),
    ] {
        assert!(matches!(refusal(&text), PolicyError::TooDeep { .. }), "{}", text.get(..80).unwrap());
    }
    let long = format!("// {}", "x".repeat(70_000));
    assert!(matches!(refusal(&long), PolicyError::TooLarge { bytes: 70_003 }));
    let many = "forbid (principal, action == Action::\"attack\", resource);".repeat(300);
    assert!(matches!(refusal(&many), PolicyError::TooMany { policies: 300 }));
    // Brackets in strings and comments do not count.
    let quoted =
        format!("// {0}\nforbid (principal, action, resource) when {{ context has \"\\\"{0}\" }};", "((".repeat(40));
    assert!(!matches!(refusal(&quoted), PolicyError::TooDeep { .. }));
}

#[test]
fn an_error_while_deciding_denies() {
    // The sum overflows, Cedar skips the policy, and by itself would allow.
    let text = "forbid (principal, action == Action::\"read\", resource) \
                when { context.waived + 9223372036854775807 == 0 };";
    let policies = builtin().with_project(text).unwrap();
    let mut read = request(Action::Read, Resource::Vault, Custody::Solo);
    assert!(policies.decide(&read).allow, "nothing overflows yet");
    read.facts.waived = 1;
    let decision = policies.decide(&read);
    assert!(!decision.allow);
    assert_eq!(decision.reasons[0].policy, "could-not-decide");
    assert!(decision.reasons[0].says.contains("project:1"), "{}", decision.reasons[0].says);
}

#[test]
fn settings_are_typed() {
    let parse = |lines: &str| VaultPolicy::parse(&format!("schema = \"ringfence.policy/1\"\n{lines}"));
    assert!(parse("").is_ok());
    for lines in [
        "[settings]\nallow_noscan = true",
        "[settings]\nallow_no_scan = 1",
        "[settings]\ndemand_level = \"landlock\"",
        "allow_no_scan = true",
        "permit = ''",
        "[settings",
    ] {
        assert!(matches!(parse(lines), Err(SettingsError::Document { .. })), "{lines}");
    }
    let Err(SettingsError::Document { position, .. }) = parse("[settings]\nallow_no_scan = 1") else { panic!() };
    assert_eq!((position.line, position.column), (3, 17));
    assert!(matches!(parse("[settings]\nmax_filtered_permille = 1001"), Err(SettingsError::OutOfRange { .. })));
    assert!(matches!(parse(&"#".repeat(200_000)), Err(SettingsError::TooLarge { .. })));
    for other in ["", "schema = \"ringfence.policy/2\""] {
        assert!(matches!(VaultPolicy::parse(other), Err(SettingsError::Document { .. })), "{other}");
    }
    let permits =
        VaultPolicy::parse("schema = \"ringfence.policy/1\"\nforbid = 'permit (principal, action, resource);'");
    assert!(matches!(builtin().with_vault(&permits.unwrap()), Err(PolicyError::NotForbid { .. })));
}

fn condition() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("context.evidence.scan.passes".to_owned()),
        Just("context.exempt.no_screen".to_owned()),
        Just("context.sandbox == Level::\"full\"".to_owned()),
        Just("context.vault.solo".to_owned()),
        Just("principal in Role::\"owner\"".to_owned()),
        (0..5i64).prop_map(|count| format!("context.waived > {count}")),
        (0..1000i64).prop_map(|limit| format!("context has filtered_permille && context.filtered_permille < {limit}")),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a}) || ({b})")),
        ]
    })
}

fn project_text() -> impl Strategy<Value = String> {
    let scope = prop_oneof![
        Just("action".to_owned()),
        Just("action in Action::\"change\"".to_owned()),
        prop::sample::select(Action::ALL.to_vec()).prop_map(|action| format!("action == Action::\"{action}\"")),
    ];
    let policy =
        (scope, prop::sample::select(vec!["when", "unless"]), condition()).prop_map(|(scope, clause, condition)| {
            format!("forbid (principal, {scope}, resource) {clause} {{ {condition} }};\n")
        });
    prop::collection::vec(policy, 1..4).prop_map(|policies| policies.concat())
}

fn any_request() -> impl Strategy<Value = Request> {
    let kinds = vec![ArtifactKind::Dataset, ArtifactKind::Model, ArtifactKind::Checkpoint, ArtifactKind::Code];
    let resource = prop_oneof![
        Just(Resource::Vault),
        (prop::sample::select(kinds), prop::sample::select(NamespaceState::ALL.to_vec()))
            .prop_map(|(kind, state)| artifact(kind, state)),
    ];
    let custody = prop_oneof![Just(Custody::Solo), Just(Custody::Shared)];
    (prop::sample::select(Action::ALL.to_vec()), resource, custody, any::<[bool; 6]>(), 0..4u64).prop_map(
        |(action, resource, custody, flips, waived)| {
            let mut request = request(action, resource, custody);
            request.facts.waived = waived;
            request.facts.scan.passes = flips[0];
            request.facts.screen.complete = flips[1];
            request.facts.exempt.no_screen = flips[2];
            request.facts.exempt.no_scan = flips[3];
            if flips[4] {
                request.facts.filtered_permille = None;
            }
            if flips[5] {
                request.facts.approvals.clear();
            }
            request
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn added_text_never_turns_a_denial_into_an_allowance(text in project_text(), requests in prop::collection::vec(any_request(), 8)) {
        let before = builtin();
        let after = match builtin().with_project(&text) {
            Ok(after) => after,
            // Some generated policies can never apply, which is refused.
            Err(PolicyError::Invalid { .. }) => return Ok(()),
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        };
        for request in requests {
            let (before, after) = (before.decide(&request), after.decide(&request));
            prop_assert!(before.allow || !after.allow);
            prop_assert_ne!(before.policy_digest, after.policy_digest);
            prop_assert_eq!(before.request_digest, after.request_digest);
        }
    }

    #[test]
    fn any_text_is_refused_or_only_forbids(text in "(forbid|permit|[(){};!@\"a-z :=]){0,200}") {
        let _ = builtin().with_project(&text).map(|policies: Policies| policies.digest());
    }
}
