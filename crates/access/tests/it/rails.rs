//! Each guard rail, in a request where only it stands in the way: denied by it alone, allowed without the one fault.

use ringfence_access::{
    Action, Custody, EvidenceFacts, LoginStrength, NamespaceState, Person, PersonKind, Policies, Request, Role,
    SandboxLevel, VaultPolicy, factors::STEP_UP_WINDOW_MS, matrix::sound,
};
use ringfence_schema::ArtifactKind::{Checkpoint, Code, Dataset, Model};

use crate::world::{artifact, builtin, decided_by, person, request};

use Custody::{Shared, Solo};
use NamespaceState::{Admitted, Candidate, Quarantined, Released};

/// Demands that `request` is allowed, and that `fault` makes `rail` alone deny it.
fn only(policies: &Policies, rail: &str, request: &Request, fault: impl FnOnce(&mut Request)) {
    let (allow, ids) = decided_by(policies, request);
    assert!(allow, "{rail}: the faultless request is denied by {ids:?}");
    let mut faulty = request.clone();
    fault(&mut faulty);
    assert_eq!(decided_by(policies, &faulty), (false, vec![rail.to_owned()]), "{rail}");
}

/// Every single way in which evidence can fail to count.
fn each_shortfall() -> Vec<EvidenceFacts> {
    let sound = sound();
    vec![
        EvidenceFacts::default(),
        EvidenceFacts { complete: false, ..sound },
        EvidenceFacts { passes: false, ..sound },
        EvidenceFacts { fresh: false, ..sound },
        EvidenceFacts { subject_matches: false, ..sound },
        EvidenceFacts { in_trail: false, ..sound },
        EvidenceFacts { signer_allowed: false, ..sound },
    ]
}

fn settings(lines: &str) -> Policies {
    let document = format!("schema = \"ringfence.policy/1\"\n[settings]\n{lines}\n");
    builtin().with_vault(&VaultPolicy::parse(&document).unwrap()).unwrap()
}

#[test]
fn admission_needs_its_evidence() {
    let policies = builtin();
    for fault in each_shortfall() {
        for kind in [Model, Checkpoint] {
            let request = request(Action::Admit, artifact(kind, Quarantined), Solo);
            only(&policies, "admit-model-needs-scan", &request, |request| request.facts.scan = fault);
        }
        let request = request(Action::Admit, artifact(Dataset, Quarantined), Solo);
        only(&policies, "admit-dataset-needs-screen", &request, |request| request.facts.screen = fault);
    }
}

#[test]
fn admission_of_code_needs_a_scan_of_exactly_its_bytes() {
    let scanned = request(Action::Admit, artifact(Code, Quarantined), Solo);
    for fault in each_shortfall() {
        let mut unlike = scanned.clone();
        unlike.facts.scan = fault;
        // What no scan recognises, text and programs above all, is no reason to hold code up; what blocks is.
        let held = !fault.present || !fault.fresh || !fault.subject_matches || !fault.in_trail || !fault.signer_allowed;
        let expected = if held { vec!["admit-code-needs-scan".to_owned()] } else { Vec::new() };
        let (allowed, by) = decided_by(&builtin(), &unlike);
        assert_eq!(allowed, !held, "{fault:?}");
        assert!(!held || by == expected, "{by:?}");
    }
}

#[test]
fn admission_is_from_quarantine() {
    for state in [Admitted, Candidate, Released] {
        let request = request(Action::Admit, artifact(Model, Quarantined), Solo);
        only(&builtin(), "admit-only-from-quarantine", &request, |request| request.resource = artifact(Model, state));
    }
}

#[test]
fn exemptions_hold_where_the_policy_allows_them() {
    // Absent, incomplete or passed over by the default of a vault in several hands, and by an explicit setting.
    for (kind, name) in [(Model, "no_scan"), (Code, "no_scan"), (Dataset, "no_screen")] {
        let exempt = |custody| {
            let mut request = request(Action::Admit, artifact(kind, Quarantined), custody);
            request.facts.scan = EvidenceFacts::default();
            request.facts.screen = EvidenceFacts::default();
            request.facts.exempt.no_scan = kind != Dataset;
            request.facts.exempt.no_screen = kind == Dataset;
            request
        };
        assert!(builtin().decide(&exempt(Solo)).allow, "{name}: a solo vault's default");
        assert!(!builtin().decide(&exempt(Shared)).allow, "{name}: a shared vault's default");
        assert!(!settings(&format!("allow_{name} = false")).decide(&exempt(Solo)).allow, "{name}: refused");
        assert!(settings(&format!("allow_{name} = true")).decide(&exempt(Shared)).allow, "{name}: granted");
        let mut unasked = exempt(Solo);
        unasked.facts.exempt = ringfence_access::Exemptions::default();
        assert!(!builtin().decide(&unasked).allow, "{name}: not asked for");
        let mut other = exempt(Solo);
        std::mem::swap(&mut other.facts.exempt.no_scan, &mut other.facts.exempt.no_screen);
        assert!(!builtin().decide(&other).allow, "{name}: the other exemption");
    }
}

#[test]
fn what_blocks_stands() {
    let faults: [fn(&mut Request); 5] = [
        |request| request.facts.scan.blocks = true,
        |request| request.facts.screen.blocks = true,
        |request| request.facts.provenance.blocks = true,
        |request| request.facts.robustness.blocks = true,
        |request| request.facts.review.blocks = true,
    ];
    for fault in faults {
        for (action, kind, state) in [
            (Action::Admit, Dataset, Quarantined),
            (Action::Admit, Code, Quarantined),
            (Action::Train, Model, Admitted),
            (Action::Release, Checkpoint, Candidate),
        ] {
            only(&builtin(), "blocked-evidence-stands", &request(action, artifact(kind, state), Solo), fault);
        }
    }
}

#[test]
fn an_exemption_does_not_undo_what_blocks() {
    let mut exempt = request(Action::Admit, artifact(Model, Quarantined), Solo);
    exempt.facts.scan = EvidenceFacts { present: true, ..EvidenceFacts::default() };
    exempt.facts.exempt.no_scan = true;
    only(&builtin(), "blocked-evidence-stands", &exempt, |request| request.facts.scan.blocks = true);
}

#[test]
fn runs_take_admitted_inputs_in_a_sandbox() {
    for kind in [Dataset, Model, Checkpoint, Code] {
        let request = request(Action::Train, artifact(kind, Admitted), Solo);
        for state in [Quarantined, Candidate] {
            let fault = |request: &mut Request| request.resource = artifact(kind, state);
            only(&builtin(), "train-needs-admitted-inputs", &request, fault);
        }
        only(&builtin(), "train-needs-sandbox", &request, |request| request.facts.sandbox = SandboxLevel::None);
    }
}

#[test]
fn the_demanded_level_holds_for_runs_and_releases() {
    let policies = settings("demand_level = \"full\"");
    for (action, state) in [(Action::Train, Admitted), (Action::Release, Candidate)] {
        let request = request(action, artifact(Model, state), Solo);
        let fault = |request: &mut Request| request.facts.sandbox = SandboxLevel::Landlock;
        only(&policies, "sandbox-level-demanded", &request, fault);
        let mut weaker = request.clone();
        fault(&mut weaker);
        assert!(builtin().decide(&weaker).allow, "without the demand");
        let namespaces = settings("demand_level = \"no-cgroup\"");
        only(&namespaces, "sandbox-level-demanded", &request, fault);
        let mut middle = request;
        middle.facts.sandbox = SandboxLevel::NoCgroup;
        assert!(namespaces.decide(&middle).allow, "namespaces are all that is demanded");
        assert!(!policies.decide(&middle).allow, "control groups are demanded too");
    }
}

#[test]
fn a_release_needs_all_its_evidence() {
    let policies = builtin();
    let request = request(Action::Release, artifact(Checkpoint, Candidate), Solo);
    for fault in each_shortfall() {
        only(&policies, "release-needs-provenance", &request, |request| request.facts.provenance = fault);
        only(&policies, "release-needs-robustness", &request, |request| request.facts.robustness = fault);
        only(&policies, "release-needs-scan", &request, |request| request.facts.scan = fault);
    }
}

#[test]
fn no_exemption_opens_the_release_gate() {
    let mut exempt = request(Action::Release, artifact(Checkpoint, Candidate), Solo);
    exempt.facts.exempt.no_scan = true;
    only(&builtin(), "release-needs-scan", &exempt, |request| request.facts.scan = EvidenceFacts::default());
}

#[test]
fn only_candidates_are_released() {
    let request = request(Action::Release, artifact(Checkpoint, Candidate), Solo);
    for (kind, state) in [(Checkpoint, Admitted), (Model, Released), (Model, Quarantined), (Dataset, Candidate)] {
        only(&builtin(), "release-only-candidates", &request, |request| request.resource = artifact(kind, state));
    }
}

#[test]
fn figures_are_held_to_the_settings() {
    let release = request(Action::Release, artifact(Checkpoint, Candidate), Solo);
    let policies = settings("min_robust_accuracy_permille = 600");
    for figure in [Some(599), Some(0), None] {
        let fault = |request: &mut Request| request.facts.robust_accuracy_permille = figure;
        only(&policies, "release-robust-accuracy-at-least", &release, fault);
    }
    let policies = settings("max_clean_drop_permille = 10");
    for figure in [Some(11), None] {
        let fault = |request: &mut Request| request.facts.clean_drop_permille = figure;
        only(&policies, "release-clean-drop-at-most", &release, fault);
    }
    let admit = request(Action::Admit, artifact(Dataset, Quarantined), Solo);
    let policies = settings("max_filtered_permille = 40");
    for figure in [Some(41), None] {
        only(&policies, "admit-filtered-at-most", &admit, |request| request.facts.filtered_permille = figure);
    }
}

#[test]
fn evidence_ages() {
    let policies = settings("evidence_max_age_days = 1");
    let admit = request(Action::Admit, artifact(Model, Quarantined), Solo);
    only(&policies, "admit-model-needs-scan", &admit, |request| request.facts.scan.age_ms = 86_400_001);
    let mut at_the_limit = admit;
    at_the_limit.facts.scan.age_ms = 86_400_000;
    assert!(policies.decide(&at_the_limit).allow);
}

#[test]
fn quarantine_is_closed() {
    for action in [Action::Read, Action::Export, Action::Attack, Action::Restore] {
        let request = request(action, artifact(Dataset, Admitted), Solo);
        let fault = |request: &mut Request| request.resource = artifact(Dataset, Quarantined);
        only(&builtin(), "quarantine-is-closed", &request, fault);
    }
}

#[test]
fn candidates_leave_by_release() {
    let request = request(Action::Export, artifact(Checkpoint, Admitted), Solo);
    let fault = |request: &mut Request| request.resource = artifact(Checkpoint, Candidate);
    only(&builtin(), "candidates-leave-by-release", &request, fault);
}

#[test]
fn two_people_where_there_are_several() {
    let vault = ringfence_access::Resource::Vault;
    let cases = [
        ("two-people-export-weights", request(Action::Export, artifact(Model, Admitted), Shared)),
        ("two-people-export-data", request(Action::Export, artifact(Dataset, Admitted), Shared)),
        ("two-people-restore", request(Action::Restore, artifact(Model, Admitted), Shared)),
        ("two-people-destroy", request(Action::Destroy, artifact(Dataset, Admitted), Shared)),
        ("two-people-configure", request(Action::Configure, vault, Shared)),
    ];
    for (rail, request) in cases {
        for approvals in [&[][..], &["ann"]] {
            let approvals = approvals.iter().map(|id| (*id).to_owned()).collect();
            only(&builtin(), rail, &request, |request| request.facts.approvals = approvals);
        }
        // One's own approval neither counts as a second one nor passes unseen.
        let mut own = request.clone();
        own.facts.approvals = ["olga", "ann"].map(str::to_owned).into();
        assert_eq!(decided_by(&builtin(), &own), (false, vec!["no-self-approval".to_owned(), rail.to_owned()]));
        // Nor does that of somebody whom one enrolled.
        only(&builtin(), rail, &request, |request| request.facts.dependants = ["bob".to_owned()].into());
        let mut solo = request;
        solo.vault.custody = Solo;
        solo.facts.approvals.clear();
        assert!(builtin().decide(&solo).allow, "{rail}: not claimed by a solo vault");
    }
}

#[test]
fn nobody_approves_their_own() {
    let review = request(Action::Review, artifact(Dataset, Quarantined), Shared);
    for requester in [Some("olga".to_owned()), None] {
        only(&builtin(), "no-self-review", &review, |request| request.facts.requester = requester);
    }
    let export = request(Action::Export, artifact(Model, Admitted), Shared);
    only(&builtin(), "no-self-approval", &export, |request| {
        request.facts.approvals.insert("olga".to_owned());
    });
    let mut solo = review;
    solo.vault.custody = Solo;
    solo.facts.requester = None;
    assert!(builtin().decide(&solo).allow, "not claimed by a solo vault");
}

#[test]
fn dangerous_acts_need_a_recent_second_factor() {
    let vault = ringfence_access::Resource::Vault;
    let cases = [
        request(Action::Export, artifact(Model, Admitted), Shared),
        request(Action::Destroy, artifact(Model, Admitted), Shared),
        request(Action::Restore, artifact(Model, Admitted), Shared),
        request(Action::Release, artifact(Model, Candidate), Shared),
        request(Action::Configure, vault.clone(), Shared),
        request(Action::Appoint, vault.clone(), Shared),
    ];
    let tried: std::collections::BTreeSet<Action> = cases.iter().map(|request| request.action).collect();
    assert_eq!(tried, Action::DANGEROUS.into());
    for request in cases {
        for age in [None, Some(STEP_UP_WINDOW_MS), Some(u64::MAX)] {
            only(&builtin(), "step-up-within-ten-minutes", &request, |request| request.facts.mfa_age_ms = age);
        }
        let mut in_time = request.clone();
        in_time.facts.mfa_age_ms = Some(STEP_UP_WINDOW_MS - 1);
        assert!(builtin().decide(&in_time).allow, "{}", request.action);
        let mut solo = request;
        solo.vault.custody = Solo;
        solo.facts.mfa_age_ms = None;
        assert!(builtin().decide(&solo).allow, "{}: not claimed by a solo vault", solo.action);
    }
    let mut enrols = request(Action::Enrol, vault, Shared);
    only(&builtin(), "enrolment-needs-step-up", &enrols, |request| request.facts.mfa_age_ms = Some(STEP_UP_WINDOW_MS));
    enrols.facts.mfa_age_ms = Some(STEP_UP_WINDOW_MS - 1);
    assert!(builtin().decide(&enrols).allow);
}

#[test]
fn one_factor_opens_enrolment_alone() {
    let vault = ringfence_access::Resource::Vault;
    let weak = |request: &mut Request| request.facts.login = LoginStrength::Any;
    for request in [
        request(Action::Read, vault.clone(), Shared),
        request(Action::Verify, artifact(Model, Admitted), Shared),
        request(Action::Export, artifact(Model, Admitted), Shared),
        request(Action::Admit, artifact(Dataset, Quarantined), Shared),
        // A password alone does not open the factors of somebody who has a second one.
        request(Action::Enrol, vault.clone(), Shared),
    ] {
        only(&builtin(), "second-factor-first", &request, weak);
    }
    let mut invited = request(Action::Enrol, vault.clone(), Shared);
    weak(&mut invited);
    invited.facts.mfa_age_ms = None;
    invited.facts.first_enrolment = true;
    assert!(builtin().decide(&invited).allow);
    invited.action = Action::Read;
    assert_eq!(decided_by(&builtin(), &invited), (false, vec!["second-factor-first".to_owned()]));
}

#[test]
fn the_strictest_demand_on_the_login_holds() {
    let read = request(Action::Read, ringfence_access::Resource::Vault, Shared);
    let weaker = |request: &mut Request| request.facts.login = LoginStrength::Mfa;
    for lines in [
        "login_min = \"passkey\"",
        "login_min_for = { owner = \"passkey\" }",
        "login_min = \"any\"\nlogin_min_for = { owner = \"passkey\", tester = \"any\" }",
    ] {
        only(&settings(lines), "login-as-strong-as-demanded", &read, weaker);
    }
    let mut weak = read;
    weaker(&mut weak);
    for lines in ["", "login_min = \"any\"", "login_min_for = { auditor = \"passkey\" }"] {
        assert!(settings(lines).decide(&weak).allow, "{lines}");
    }
    // Nothing that a vault sets lets one factor be enough.
    weak.facts.login = LoginStrength::Any;
    assert!(!settings("login_min = \"any\"").decide(&weak).allow);
}

#[test]
fn nobody_changes_another_s_factors_or_their_own_roles() {
    let vault = ringfence_access::Resource::Vault;
    for about in [Some("zoe".to_owned()), None] {
        let enrols = request(Action::Enrol, vault.clone(), Shared);
        only(&builtin(), "only-own-factors", &enrols, |request| request.facts.about = about);
    }
    for about in [Some("olga".to_owned()), None] {
        let appoints = request(Action::Appoint, vault.clone(), Shared);
        only(&builtin(), "no-self-appointment", &appoints, |request| request.facts.about = about);
    }
}

#[test]
fn programs_do_not_judge() {
    let program = |request: &mut Request| request.principal.kind = PersonKind::Service;
    let vault = ringfence_access::Resource::Vault;
    for request in [
        request(Action::Init, vault.clone(), Shared),
        request(Action::Enrol, vault.clone(), Shared),
        request(Action::Appoint, vault.clone(), Shared),
        request(Action::Configure, vault.clone(), Shared),
        request(Action::Acknowledge, vault.clone(), Shared),
        request(Action::Schedule, vault, Shared),
        request(Action::Admit, artifact(Model, Quarantined), Shared),
        request(Action::Review, artifact(Model, Quarantined), Shared),
        request(Action::Release, artifact(Model, Candidate), Shared),
        request(Action::Export, artifact(Model, Admitted), Solo),
    ] {
        only(&builtin(), "services-do-not-judge", &request, program);
    }
}

#[test]
fn only_a_program_speaks_for_a_directory_and_never_of_itself() {
    let mut provision = request(Action::Provision, ringfence_access::Resource::Vault, Shared);
    provision.principal.kind = PersonKind::Service;
    let policies = builtin();
    only(&policies, "directories-provision", &provision, |request| request.principal.kind = PersonKind::Human);
    only(&policies, "directories-provision", &provision, |request| request.facts.about = None);
    let itself = |request: &mut Request| request.facts.about = Some(request.principal.id.clone());
    only(&policies, "directories-provision", &provision, itself);
}

#[test]
fn raw_data_is_read_inside_runs() {
    for kind in [Dataset, Model] {
        let read = request(Action::Read, artifact(kind, Admitted), Shared);
        let outside = |request: &mut Request| request.facts.in_run = false;
        if kind == Dataset {
            only(&builtin(), "raw-data-only-in-runs", &read, outside);
        } else {
            let mut model = read;
            outside(&mut model);
            assert!(builtin().decide(&model).allow);
        }
    }
}

#[test]
fn a_solo_vault_knows_its_owner_alone() {
    let read = request(Action::Read, ringfence_access::Resource::Vault, Shared);
    for role in Role::ALL {
        let mut solo = read.clone();
        solo.principal = person(&[role]);
        solo.vault.custody = Solo;
        let decided = decided_by(&builtin(), &solo);
        let expected = if role == Role::Owner { (true, "owner-may") } else { (false, "solo-has-one-person") };
        assert_eq!(decided, (expected.0, vec![expected.1.to_owned()]), "{}", role.name());
    }
}

#[test]
fn a_denial_says_who_would_have_permitted() {
    let mut export = request(Action::Export, artifact(Model, Admitted), Shared);
    export.facts.approvals.clear();
    let decision = builtin().decide(&export);
    assert_eq!(decision.permitting().iter().map(|reason| reason.policy.as_str()).collect::<Vec<_>>(), ["owner-may"]);
    assert_eq!(decision.forbidding().map(|r| r.policy.as_str()).collect::<Vec<_>>(), ["two-people-export-weights"]);
    insta::assert_snapshot!("explained_forbidden", decision.explained());
    export.principal = person(&[Role::Auditor]);
    export.facts.scan = EvidenceFacts::default();
    export.action = Action::Attack;
    insta::assert_snapshot!("explained_not_permitted", builtin().decide(&export).explained());
    export.action = Action::Release;
    export.resource = artifact(Model, Candidate);
    insta::assert_snapshot!("explained_evidence", builtin().decide(&export).explained());
}

#[test]
fn only_a_policy_forbids() {
    let forbidding = |request: &Request| -> Vec<String> {
        builtin().decide(request).forbidding().map(|reason| reason.policy.clone()).collect()
    };
    let read = request(Action::Read, ringfence_access::Resource::Vault, Shared);
    assert!(forbidding(&read).is_empty(), "it is allowed");
    let mut nobody = read.clone();
    nobody.principal.roles.clear();
    assert!(forbidding(&nobody).is_empty(), "nothing permits it");
    let mut weak = read;
    weak.facts.login = LoginStrength::Any;
    assert_eq!(forbidding(&weak), ["second-factor-first"]);
    // Nor does a request that cannot be decided: nothing is trained with a vault.
    let senseless = builtin().decide(&request(Action::Train, ringfence_access::Resource::Vault, Shared));
    assert_eq!((senseless.allow, senseless.forbidding().count()), (false, 0));
}

#[test]
fn what_is_permitted_stays_so_whatever_forbids_it() {
    let mut export = request(Action::Export, artifact(Model, Admitted), Shared);
    assert!(builtin().permits(&export));
    export.facts.approvals.clear();
    assert!(builtin().permits(&export), "approvals are missing");
    let (sliced, whole) = (builtin().decide(&export), builtin().decide_unsliced(&export));
    assert_eq!(sliced, whole);
    export.principal = person(&[Role::Tester]);
    assert!(!builtin().permits(&export), "no policy lets testers export");
}

#[test]
fn an_auditor_changes_nothing() {
    let both = |request: &mut Request| request.principal = person(&[Role::Owner, Role::Auditor]);
    let vault = ringfence_access::Resource::Vault;
    let cases = [
        request(Action::Init, vault.clone(), Solo),
        request(Action::Configure, vault.clone(), Solo),
        request(Action::Acknowledge, vault.clone(), Solo),
        request(Action::Stop, vault.clone(), Solo),
        request(Action::Schedule, vault.clone(), Solo),
        request(Action::Admit, artifact(Model, Quarantined), Solo),
        request(Action::Train, artifact(Model, Admitted), Solo),
        request(Action::Export, artifact(Model, Admitted), Solo),
        request(Action::Release, artifact(Model, Candidate), Solo),
        request(Action::Restore, artifact(Model, Admitted), Solo),
        request(Action::Destroy, artifact(Model, Admitted), Solo),
        request(Action::Review, artifact(Model, Quarantined), Solo),
    ];
    for request in cases {
        only(&builtin(), "auditor-is-no-administrator", &request, both);
    }
    for action in [Action::Verify, Action::Raise, Action::Deliver] {
        let mut looks = request(action, vault.clone(), Solo);
        both(&mut looks);
        assert!(builtin().decide(&looks).allow, "{action}");
    }
}

#[test]
fn an_approval_is_by_somebody_else_who_owes_nothing() {
    let approves = request(Action::Approve, ringfence_access::Resource::Vault, Shared);
    only(&builtin(), "no-approval-of-own-request", &approves, |request| request.facts.requester = None);
    only(&builtin(), "no-approval-by-dependants", &approves, |request| request.facts.beholden = true);
    for action in [Action::Ask, Action::Approve, Action::BreakGlass] {
        let several = request(action, ringfence_access::Resource::Vault, Shared);
        only(&builtin(), "solo-asks-nobody", &several, |request| request.vault.custody = Solo);
    }
}

#[test]
fn whoever_could_ask_may_approve_and_officers_may_anyway() {
    for role in Role::ALL {
        let mut approves = request(Action::Approve, ringfence_access::Resource::Vault, Shared);
        approves.principal = person(&[role]);
        assert_eq!(builtin().decide(&approves).allow, role != Role::Auditor, "{}", role.name());
        approves.facts.entitled = false;
        let officer = [Role::Owner, Role::SecurityOfficer].contains(&role);
        assert_eq!(builtin().decide(&approves).allow, officer, "{}", role.name());
    }
}

#[test]
fn broken_glass_stands_for_approvals_but_not_for_all() {
    for (action, resource, opens) in [
        (Action::Export, artifact(Model, Admitted), true),
        (Action::Export, artifact(Dataset, Admitted), true),
        (Action::Restore, artifact(Model, Admitted), true),
        (Action::Destroy, artifact(Model, Admitted), false),
        (Action::Configure, ringfence_access::Resource::Vault, false),
    ] {
        let mut alone = request(action, resource, Shared);
        alone.facts.approvals.clear();
        assert!(!builtin().decide(&alone).allow, "{action}");
        alone.facts.break_glass = true;
        assert_eq!(builtin().decide(&alone).allow, opens, "{action}");
    }
}

#[test]
fn a_release_s_bundle_leaves_without_approvals_and_nothing_else_does() {
    let mut bundle = request(Action::Export, artifact(Model, Released), Shared);
    bundle.principal = person(&[Role::Researcher]);
    bundle.facts.approvals.clear();
    bundle.facts.bundle = true;
    assert!(builtin().decide(&bundle).allow);
    for state in [Admitted, Candidate, Quarantined] {
        let mut other = bundle.clone();
        other.resource = artifact(Model, state);
        assert!(!builtin().decide(&other).allow, "{state:?}");
    }
    bundle.facts.bundle = false;
    assert!(!builtin().decide(&bundle).allow);
}

#[test]
fn what_lacks_approvals_alone_is_told_from_the_rest() {
    let mut export = request(Action::Export, artifact(Model, Admitted), Shared);
    assert_eq!(builtin().approvals_needed(&export), Some(2));
    export.facts.mfa_age_ms = None;
    assert_eq!(builtin().approvals_needed(&export), None, "a step-up is missing too");
    export.facts.mfa_age_ms = Some(0);
    export.principal = person(&[Role::Researcher]);
    assert_eq!(builtin().approvals_needed(&export), None, "nothing permits it");
    export.principal = person(&[Role::Owner]);
    export.vault.custody = Solo;
    assert_eq!(builtin().approvals_needed(&export), None, "it is allowed");
    // A vault's own rail counts like a built-in one, whatever number it demands.
    let document = "schema = \"ringfence.policy/1\"\nforbid = '''@id(\"three\") @says(\"three\") forbid (principal, action == \
        Action::\"release\", resource) when { context.approvals_by_others < 3 };'''";
    let strict = builtin().with_vault(&VaultPolicy::parse(document).unwrap()).unwrap();
    let release = request(Action::Release, artifact(Model, Candidate), Shared);
    assert_eq!(strict.approvals_needed(&release), Some(3));
    assert_eq!(builtin().approvals_needed(&release), None);
}

#[test]
fn a_document_is_held_to_its_own_tests() {
    let document = |expect: &str, what: &str, when: &str| {
        let text = format!(
            "schema = \"ringfence.policy/1\"\n[[tests]]\nwho = \"researcher\"\naction = \"release\"\n\
             what = \"{what}\"\nwhen = [{when}]\nexpect = \"{expect}\"\n"
        );
        VaultPolicy::parse(&text)
    };
    let failing = |expect: &str, what: &str, when: &str| {
        let policy = document(expect, what, when).unwrap();
        builtin().with_vault(&policy).unwrap().failing(&policy.tests, Shared).len()
    };
    assert_eq!(failing("allow", "candidate model", ""), 0);
    assert_eq!(failing("allow", "candidate model/net", ""), 0);
    assert_eq!(failing("deny", "candidate model", ""), 1);
    assert_eq!(failing("deny", "candidate model", "\"there is no scan\""), 0);
    assert_eq!(failing("deny", "admitted model", ""), 0);
    for (what, when) in [("model", ""), ("candidate spoon", ""), ("vault x", ""), ("vault", "\"it rains\"")] {
        assert!(document("deny", what, when).is_err(), "{what} {when}");
    }
}

#[test]
fn every_rail_has_a_case_here() {
    let source = include_str!("rails.rs");
    for (id, says) in builtin().explanations() {
        assert!(!says.is_empty());
        let permits =
            id.ends_with("-may") || ["roles-", "researcher-", "tester-", "everyone-"].iter().any(|p| id.starts_with(p));
        assert!(permits || source.contains(&format!("\"{id}\"")), "no case for `{id}`");
    }
}

#[test]
fn a_denial_says_what_is_missing() {
    let mut stale = request(Action::Release, artifact(Model, Candidate), Solo);
    stale.facts.scan.fresh = false;
    stale.facts.robustness = EvidenceFacts::default();
    let decision = builtin().decide(&stale);
    let details: Vec<_> = decision.reasons.iter().flat_map(|reason| reason.detail.clone()).collect();
    assert_eq!(details, ["robustness: there is none", "scan: it has expired, or is older than the policy accepts"]);
}

#[test]
fn ids_of_people_and_vaults_are_opaque() {
    let mut odd = request(Action::Read, ringfence_access::Resource::Vault, Solo);
    odd.principal = Person::owner("a\"::\\ b");
    odd.vault.id = "Role::\"owner\"".to_owned();
    assert!(builtin().decide(&odd).allow);
}
