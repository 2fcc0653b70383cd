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
fn brackets_conditionals_and_operators_are_bounded_each_by_itself() {
    let shaped = |condition: &str| {
        let text = format!("@id(\"a\") forbid (principal, action, resource) when {{ {condition} }};");
        matches!(builtin().with_project(&text), Err(PolicyError::TooDeep { .. }))
    };
    let nested = |open: &str, close: &str, depth: usize| format!("{}true{}", open.repeat(depth), close.repeat(depth));
    // The brackets of `when` are one.
    assert!(!shaped(&nested("(", ")", 31)));
    assert!(shaped(&nested("(", ")", 32)));
    assert!(!shaped(&nested("if true then ", " else false", 16)));
    assert!(shaped(&nested("if true then ", " else false", 17)));
    // Eight words and signs stand before the condition, and one word at its end.
    assert!(!shaped(&format!("{}a", "!".repeat(512 - 9))));
    assert!(shaped(&format!("{}a", "!".repeat(512 - 8))));
    // Brackets that close do not add up, a word that ends in `if` is no conditional, and letters are not counted.
    assert!(!shaped(&format!("{}(context.in_run)", "(context.in_run) && ".repeat(39))));
    assert!(!shaped(&format!("{}a", "waif && ".repeat(20))));
    // Nothing is hidden by a sign that only looks like a comment, nor by a comment that has ended.
    for start in ["/", "// x\n"] {
        let text = format!("{start}{}", "(".repeat(40));
        assert!(matches!(refusal(&text), PolicyError::TooDeep { .. }), "{text}");
    }
}

#[test]
fn limits_are_the_last_that_fits() {
    let comment = |bytes: usize| builtin().with_project(&format!("//{}", "x".repeat(bytes - 2)));
    assert!(comment(64 << 10).is_ok());
    assert!(matches!(comment((64 << 10) + 1), Err(PolicyError::TooLarge { bytes: 65_537 })));
    let policies =
        |count| builtin().with_project(&"forbid (principal, action == Action::\"stop\", resource);".repeat(count));
    assert!(policies(256).is_ok());
    assert!(matches!(policies(257), Err(PolicyError::TooMany { policies: 257 })));
    let id = |id: &str| builtin().with_project(&format!("@id(\"{id}\") forbid (principal, action, resource);"));
    let longest = "a".repeat(64);
    for fits in ["a", "0", "two-2", &longest] {
        assert!(id(fits).is_ok(), "{fits}");
    }
    let longer = "a".repeat(65);
    for bad in ["", "A", "a_b", "\u{e9}", &longer] {
        assert!(matches!(id(bad), Err(PolicyError::BadId { .. })), "{bad}");
    }
}

#[test]
fn an_id_is_taken_once_whichever_text_it_stands_in() {
    let text = "@id(\"a\") forbid (principal, action == Action::\"stop\", resource);";
    let again = builtin().with_project(text).unwrap().with_project(text).err().unwrap();
    assert_eq!(again.to_string(), "line 1 column 1: a policy with the id `project:a` is there already");
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

#[test]
fn settings_reach_to_their_limits_and_not_beyond() {
    for (name, limit) in [
        ("min_robust_accuracy_permille", 1_000),
        ("max_clean_drop_permille", 1_000),
        ("max_filtered_permille", 1_000),
        ("evidence_max_age_days", 36_500),
    ] {
        let parse =
            |value: u32| VaultPolicy::parse(&format!("schema = \"ringfence.policy/1\"\n[settings]\n{name} = {value}"));
        assert!(parse(limit).is_ok(), "{name}");
        assert_eq!(parse(limit + 1), Err(SettingsError::OutOfRange { name, value: limit + 1, limit }));
    }
    let schema = "schema = \"ringfence.policy/1\"\n";
    let sized = |bytes: usize| VaultPolicy::parse(&format!("{schema}{}", " ".repeat(bytes - schema.len())));
    assert!(sized(128 << 10).is_ok());
    assert_eq!(sized((128 << 10) + 1), Err(SettingsError::TooLarge { bytes: 131_073 }));
    let trial = "[[tests]]\nwho = \"owner\"\naction = \"read\"\nwhat = \"vault\"\nexpect = \"allow\"\n";
    let tested = |count| VaultPolicy::parse(&format!("{schema}{}", trial.repeat(count)));
    assert_eq!(tested(1_000).unwrap().tests.len(), 1_000);
    assert_eq!(tested(1_001), Err(SettingsError::Tests { tests: 1_001 }));
}

#[test]
fn hosts_are_open_in_solo_vaults_and_closed_in_shared_ones_unless_set() {
    let parse = |lines: &str| {
        VaultPolicy::parse(&format!("schema = \"ringfence.policy/1\"\n[settings]\n{lines}")).unwrap().settings
    };
    for (lines, solo, shared) in [
        ("", &["*"][..], &[][..]),
        ("egress_hosts = []", &[], &[]),
        (
            "egress_hosts = [\"a.example.org\", \"b.example.org\"]",
            &["a.example.org", "b.example.org"],
            &["a.example.org", "b.example.org"],
        ),
    ] {
        assert_eq!(parse(lines).egress_hosts(Custody::Solo), solo, "{lines}");
        assert_eq!(parse(lines).egress_hosts(Custody::Shared), shared, "{lines}");
    }
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
