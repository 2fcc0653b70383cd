//! Each guard rail, in a request where only it stands in the way: denied by it alone, allowed without the one fault.

use ringfence_access::{
    Action, Custody, EvidenceFacts, NamespaceState, Person, Policies, Request, Role, SandboxLevel, VaultPolicy,
};
use ringfence_schema::ArtifactKind::{Checkpoint, Code, Dataset, Model};

use crate::world::{artifact, builtin, decided_by, person, request, sound};

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
fn admission_is_from_quarantine() {
    for state in [Admitted, Candidate, Released] {
        let request = request(Action::Admit, artifact(Model, Quarantined), Solo);
        only(&builtin(), "admit-only-from-quarantine", &request, |request| request.resource = artifact(Model, state));
    }
}

#[test]
fn exemptions_hold_where_the_policy_allows_them() {
    // Absent, incomplete or passed over by the default of a vault in several hands, and by an explicit setting.
    for (kind, name) in [(Model, "no_scan"), (Dataset, "no_screen")] {
        let exempt = |custody| {
            let mut request = request(Action::Admit, artifact(kind, Quarantined), custody);
            request.facts.scan = EvidenceFacts::default();
            request.facts.screen = EvidenceFacts::default();
            request.facts.exempt.no_scan = kind == Model;
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
fn an_auditor_changes_nothing() {
    let both = |request: &mut Request| request.principal = person(&[Role::Owner, Role::Auditor]);
    let vault = ringfence_access::Resource::Vault;
    let cases = [
        request(Action::Init, vault.clone(), Solo),
        request(Action::Configure, vault.clone(), Solo),
        request(Action::Acknowledge, vault.clone(), Solo),
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
fn every_rail_has_a_case_here() {
    let source = include_str!("rails.rs");
    for (id, says) in builtin().explanations() {
        assert!(!says.is_empty());
        assert!(id == "owner-may" || source.contains(&format!("\"{id}\"")), "no case for `{id}`");
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
