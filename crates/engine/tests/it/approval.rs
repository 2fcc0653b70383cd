//! What needs other people: asked for, approved by their passkeys, used once, proven offline; and doing without them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ringfence_engine::{
    Anchor, EngineError, Vault,
    access::{Action, LoginStrength, Role},
    alerts::AlertFilter,
    schema::{
        Severity,
        report::{VerifyReport, VerifyVerdict},
    },
    team::{
        Asked, Assumed, Enrollee, GLASS_LIFE_MS, REQUEST_LIFE_MS, RequestId, RequestStanding, RequestView,
        passkey::{Challenge, SoftKey, UserHandle},
    },
    verify_approval,
};
use ringfence_trust::entropy::SystemEntropy;

use crate::{
    team::{Member, first, join, origin, party},
    world::{World, init},
};

const SITE: &str = "https://vault.example";
/// A policy that loosens and one that tightens.
pub(crate) const POLICY: &str = "schema = \"ringfence.policy/1\"\n[settings]\nevidence_max_age_days = 30\n";
const STRICTER: &str = "schema = \"ringfence.policy/1\"\n[settings]\nevidence_max_age_days = 7\n";

/// Ana begins; Ben and Eva are invited by her, Cem and Dora by Ben.
pub(crate) struct Team {
    pub(crate) ana: Member,
    pub(crate) ben: Member,
    pub(crate) eva: Member,
    pub(crate) cem: Member,
}

impl Team {
    pub(crate) fn new(vault: &Vault<'_>) -> Self {
        let ana = first(vault);
        let ben = join(vault, &ana, "ben", &[Role::Owner]);
        let eva = join(vault, &ana, "eva", &[Role::SecurityOfficer]);
        let cem = join(vault, &ben, "cem", &[Role::SecurityOfficer]);
        Self { ana, ben, eva, cem }
    }
}

/// The vault in the hands of `member`.
pub(crate) fn by<'s>(vault: &Vault<'s>, member: &Member) -> Vault<'s> {
    vault.acting(vault.authenticate(&member.token, origin().address).unwrap())
}

pub(crate) fn waiting<T: std::fmt::Debug>(asked: Asked<T>) -> RequestView {
    match asked {
        Asked::Waiting(view) => *view,
        Asked::Done(value) => panic!("done without approval: {value:?}"),
    }
}

pub(crate) fn approve(vault: &Vault<'_>, member: &Member, id: &RequestId) -> Result<RequestView, EngineError> {
    let session = by(vault, member);
    let approving = session.begin_approve(&party(), id)?;
    let challenge: Challenge = serde_json::from_value(approving.options["challenge"].clone()).unwrap();
    assert_eq!(challenge, Challenge::over(&approving.request.digest));
    let assertion = member.key.assert(SITE, &challenge).unwrap();
    session.approve_request(&party(), id, &assertion)
}

/// A second passkey of somebody who has one.
fn second_key(vault: &Vault<'_>, member: &Member) -> SoftKey {
    let session = by(vault, member);
    let handle = UserHandle::new(member.id.as_str().as_bytes().to_vec()).unwrap();
    let key = SoftKey::generate("vault.example", &handle, &mut SystemEntropy::new()).unwrap();
    let offer = session.begin_enrol(&party(), Enrollee::Caller).unwrap();
    let registration = key.register(SITE, &crate::team::challenge(&offer)).unwrap();
    session.finish_enrol(&party(), Enrollee::Caller, &offer.ceremony, &registration, "second", &origin()).unwrap();
    key
}

#[test]
fn a_policy_is_changed_by_three_people_and_used_once() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let team = Team::new(&vault);
    let ben = by(&vault, &team.ben);
    // Alone it is refused, and the error says what is missing.
    let refused = ben.set_policy(POLICY).unwrap_err();
    assert!(matches!(refused, EngineError::NeedsApproval { action: Action::Configure, needed: 2, .. }), "{refused}");
    let request = waiting(ben.ask(|vault| vault.set_policy(POLICY)).unwrap());
    assert_eq!((request.document.needed, request.counted()), (2, 0));
    assert!(request.document.says.contains("evidence_max_age_days"), "{}", request.document.says);
    // Asked again, it is the same request.
    assert_eq!(waiting(ben.ask(|vault| vault.set_policy(POLICY)).unwrap()).id, request.id);
    assert_eq!(ben.requests().unwrap().len(), 1);
    // Neither the requester nor whom he invited.
    for (member, words) in [(&team.ben, "themselves"), (&team.cem, "invited")] {
        let refused = approve(&vault, member, &request.id).unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
    assert_eq!(approve(&vault, &team.ana, &request.id).unwrap().counted(), 1);
    // A person is one person, however many passkeys.
    let spare = second_key(&vault, &team.ana);
    let again = Member { id: team.ana.id.clone(), key: spare, token: team.ana.token.clone() };
    assert!(matches!(approve(&vault, &again, &request.id), Err(EngineError::Usage { .. })));
    let early = ben.with_approval(&request.id).set_policy(POLICY).unwrap_err().to_string();
    assert!(early.contains("1 count so far"), "{early}");
    assert!(approve(&vault, &team.eva, &request.id).unwrap().is_approved());
    // Good for exactly this, by exactly him.
    assert!(matches!(ben.with_approval(&request.id).set_policy(STRICTER), Err(EngineError::NeedsApproval { .. })));
    let other = by(&vault, &team.ana).with_approval(&request.id).set_policy(POLICY);
    assert!(matches!(other, Err(EngineError::NeedsApproval { .. })));
    let version = ben.with_approval(&request.id).set_policy(POLICY).unwrap();
    assert_eq!((version.version, version.request), (1, Some(request.id.clone())));
    assert!(matches!(ben.request(&request.id).unwrap().standing, RequestStanding::Used { .. }));
    // And good once.
    let replayed = ben.with_approval(&request.id).set_policy(POLICY);
    assert!(replayed.is_err());
    assert_eq!(ben.policy_versions().unwrap().len(), 1);
    assert_eq!(ben.policy_text(1).unwrap(), POLICY);
    drop((ben, vault));
    let report = ringfence_engine::trail::verify_trail(&settings, None, None, None).unwrap();
    assert_eq!(report.verdict, VerifyVerdict::Verified, "{report:?}");
    // It holds for whoever opens the vault next, whatever lies in their configuration.
    fs::write(world.home.join("config/policy.toml"), "no policy at all").unwrap();
    let opened = Vault::open(&settings).unwrap();
    assert_eq!(opened.policy_versions().unwrap().len(), 1);
}

#[test]
fn approvals_of_whoever_is_shut_out_or_reset_do_not_count() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let team = Team::new(&vault);
    let ben = by(&vault, &team.ben);
    let request = waiting(ben.ask(|vault| vault.set_policy(POLICY)).unwrap());
    approve(&vault, &team.ana, &request.id).unwrap();
    assert!(approve(&vault, &team.eva, &request.id).unwrap().is_approved());
    by(&vault, &team.ana).disable(&team.eva.id, "left").unwrap();
    assert_eq!(ben.request(&request.id).unwrap().counted(), 1);
    assert!(matches!(ben.with_approval(&request.id).set_policy(POLICY), Err(EngineError::NeedsApproval { .. })));
    // Back again, with the passkey that signed: it counts; with another one it does not.
    by(&vault, &team.ana).enable(&team.eva.id).unwrap();
    assert_eq!(ben.request(&request.id).unwrap().counted(), 2);
    by(&vault, &team.ana).reset_factors(&team.eva.id, "lost").unwrap();
    assert_eq!(ben.request(&request.id).unwrap().counted(), 1);
}

#[test]
fn requests_end_by_refusal_withdrawal_and_time() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let team = Team::new(&vault);
    let ben = by(&vault, &team.ben);
    let refused = waiting(ben.ask(|vault| vault.set_policy(POLICY)).unwrap());
    assert!(ben.refuse_request(&refused.id, "I changed my mind").is_err());
    let ana = by(&vault, &team.ana);
    assert!(matches!(ana.refuse_request(&refused.id, " "), Err(EngineError::Usage { .. })));
    ana.refuse_request(&refused.id, "too loose").unwrap();
    let withdrawn = waiting(ben.ask(|vault| vault.set_policy(POLICY)).unwrap());
    assert_ne!(withdrawn.id, refused.id);
    assert!(matches!(ana.withdraw_request(&withdrawn.id), Err(EngineError::NotPermitted { .. })));
    ben.withdraw_request(&withdrawn.id).unwrap();
    let expired = waiting(ben.ask(|vault| vault.set_policy(POLICY)).unwrap());
    for id in [&refused.id, &withdrawn.id] {
        assert!(matches!(approve(&vault, &team.ana, id), Err(EngineError::NotPermitted { .. })));
    }
    // An answer to another request is none to this one.
    let other = waiting(ana.ask(|vault| vault.set_policy(STRICTER)).unwrap());
    let assertion = team.eva.key.assert(SITE, &Challenge::over(&other.digest)).unwrap();
    let eva = by(&vault, &team.eva);
    assert!(matches!(eva.approve_request(&party(), &expired.id, &assertion), Err(EngineError::NotSignedIn)));
    world.pass(REQUEST_LIFE_MS);
    let ana = crate::team::login(&vault, &team.ana).unwrap();
    let ana = Member { id: team.ana.id, key: team.ana.key, token: ana.token.to_string() };
    assert!(matches!(approve(&vault, &ana, &expired.id), Err(EngineError::NotPermitted { .. })));
    assert!(by(&vault, &ana).request(&expired.id).unwrap().expired);
}

#[test]
fn an_approved_request_is_used_by_one_of_many_at_once() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let team = Team::new(&vault);
    let ben = by(&vault, &team.ben);
    let request = waiting(ben.ask(|vault| vault.set_policy(POLICY)).unwrap());
    approve(&vault, &team.ana, &request.id).unwrap();
    approve(&vault, &team.eva, &request.id).unwrap();
    let used = std::thread::scope(|scope| {
        let tries: Vec<_> =
            (0..4).map(|_| scope.spawn(|| ben.with_approval(&request.id).set_policy(POLICY).is_ok())).collect();
        tries.into_iter().map(|thread| thread.join().unwrap()).filter(|done| *done).count()
    });
    assert_eq!(used, 1);
    assert_eq!(ben.policy_versions().unwrap().len(), 1);
}

#[test]
fn a_policy_that_fails_its_own_tests_or_changes_nothing_is_not_even_asked_for() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    assert!(matches!(vault.set_policy(POLICY), Err(EngineError::Usage { .. })), "a solo vault's is a file");
    let team = Team::new(&vault);
    let ben = by(&vault, &team.ben);
    let test = "[[tests]]\nwho = \"researcher\"\naction = \"release\"\nwhat = \"candidate model\"\nexpect = \"deny\"\n";
    let draft = ben.draft_policy(&format!("{POLICY}{test}")).unwrap();
    assert_eq!((draft.tests, draft.failing.len(), draft.version), (1, 1, 1));
    let same = "schema = \"ringfence.policy/1\"\n";
    for text in [format!("{POLICY}{test}").as_str(), same, "schema = 1", "[settings]\nallow = true"] {
        assert!(matches!(ben.ask(|vault| vault.set_policy(text)), Err(EngineError::Usage { .. })), "{text}");
    }
    assert!(ben.requests().unwrap().is_empty());
}

#[test]
fn a_policy_change_holds_in_other_processes_and_for_handles_from_before() {
    let world = World::new(&[]);
    let settings = world.settings();
    // The document of the solo vault goes on as the first version.
    let vault = init(&settings);
    drop(vault);
    fs::write(world.home.join("config/policy.toml"), POLICY).unwrap();
    let vault = Vault::open(&settings).unwrap();
    let team = Team::new(&vault);
    let other = world.settings();
    let elsewhere = Vault::open(&other).unwrap();
    let there = by(&elsewhere, &team.eva);
    let ben = by(&vault, &team.ben);
    assert_eq!(ben.policy_versions().unwrap().len(), 1);
    let strict = "schema = \"ringfence.policy/1\"\nforbid = '''\n@id(\"no-alerts\")\n@says(\"nobody acknowledges\")\n\
                  forbid (principal, action == Action::\"review\", resource);\n'''\n";
    let may = |vault: &Vault<'_>| {
        let assumed = Assumed { login: LoginStrength::Passkey, stepped_up: true };
        vault.can("eva", Action::Review, "vault", assumed).unwrap().decision.allow
    };
    assert!(may(&there) && may(&ben));
    let request = waiting(ben.ask(|vault| vault.set_policy(strict)).unwrap());
    approve(&vault, &team.ana, &request.id).unwrap();
    approve(&vault, &team.eva, &request.id).unwrap();
    assert_eq!(ben.with_approval(&request.id).set_policy(strict).unwrap().version, 2);
    assert!(!may(&ben), "a handle from before");
    world.pass(ringfence_engine::team::FRESH_MS);
    assert!(!may(&there), "another process");
    // The one before can come back, by the same way.
    let back = waiting(ben.ask(|vault| vault.set_policy(POLICY)).unwrap());
    assert!(back.document.says.contains("no-alerts"), "{}", back.document.says);
}

#[test]
fn broken_glass_is_loud_short_and_reviewed_by_another() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    assert!(vault.break_glass("alone anyway").is_err(), "a solo vault has none");
    let team = Team::new(&vault);
    let ana = by(&vault, &team.ana);
    let nico = join(&vault, &team.ana, "nico", &[Role::Researcher]);
    assert!(matches!(by(&vault, &nico).break_glass("please"), Err(EngineError::Refused { .. })));
    assert!(matches!(ana.break_glass("  "), Err(EngineError::Usage { .. })));
    let glass = ana.break_glass("the site is on fire").unwrap();
    assert!(glass.open && glass.until.millis() == glass.since.millis() + GLASS_LIFE_MS);
    let alerts = ana.alerts(&AlertFilter::default()).unwrap();
    assert_eq!(alerts.len(), 1);
    assert_eq!((alerts[0].alert.severity, alerts[0].alert.rule.as_str()), (Severity::Critical, "RF-TEAM-001"));
    // It does not open the policy.
    assert!(matches!(ana.set_policy(POLICY), Err(EngineError::NeedsApproval { .. })));
    assert!(matches!(by(&vault, &team.eva).review_break_glass(&glass.id, "too early"), Err(EngineError::Usage { .. })));
    world.pass(GLASS_LIFE_MS);
    let again = |member: Member| {
        let token = crate::team::login(&vault, &member).unwrap().token.to_string();
        Member { token, ..member }
    };
    let (ana, eva) = (again(team.ana), again(team.eva));
    let listed = by(&vault, &eva).glasses().unwrap();
    assert!(!listed[0].open && listed[0].review.is_none());
    assert!(by(&vault, &ana).review_break_glass(&glass.id, "it was me").is_err(), "not by herself");
    let reviewed = by(&vault, &eva).review_break_glass(&glass.id, "looked at all three exports").unwrap();
    assert_eq!(reviewed.review.unwrap().by, eva.id);
    let second = by(&vault, &ana).break_glass("again").unwrap();
    assert!(!by(&vault, &eva).end_break_glass(&second.id).unwrap().open);
}

#[test]
fn any_decision_is_explained_and_that_is_recorded() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let assumed = Assumed { login: LoginStrength::Passkey, stepped_up: true };
    assert!(vault.can("owner", Action::Configure, "vault", assumed).unwrap().decision.allow);
    assert!(matches!(vault.can("eva", Action::Read, "vault", assumed), Err(EngineError::NotFound { .. })));
    let team = Team::new(&vault);
    let eva = by(&vault, &team.eva);
    let before = eva.checkpoint().unwrap();
    let configure = eva.can("ben", Action::Configure, "vault", assumed).unwrap();
    assert!(!configure.decision.allow);
    assert_eq!(configure.approvals_needed, Some(2));
    assert!(configure.decision.explained().contains("two-people-configure"), "{}", configure.decision.explained());
    let weak = Assumed { login: LoginStrength::Any, stepped_up: false };
    let entered = eva.can("me", Action::Read, "vault", weak).unwrap();
    assert_eq!(entered.decision.reasons[0].policy, "second-factor-first");
    assert!(eva.can("me", Action::Read, "model/none", assumed).is_err());
    assert_ne!(eva.checkpoint().unwrap(), before);
}

/// A file of two approvals, and the trust root.
fn proof(world: &World, vault: &Vault<'_>) -> (PathBuf, PathBuf, RequestView) {
    let team = Team::new(vault);
    let ben = by(vault, &team.ben);
    let request = waiting(ben.ask(|vault| vault.set_policy(POLICY)).unwrap());
    assert!(matches!(ben.approval_proof(&request.id), Err(EngineError::Usage { .. })));
    approve(vault, &team.ana, &request.id).unwrap();
    approve(vault, &team.eva, &request.id).unwrap();
    let (file, root) = (world.home.join("approval.json"), world.home.join("vault.root"));
    fs::write(&file, ben.approval_proof(&request.id).unwrap()).unwrap();
    fs::write(&root, ben.root_file()).unwrap();
    (file, root, request)
}

pub(crate) fn check(file: &Path, root: &Path) -> VerifyReport {
    verify_approval(file, &Anchor::File(root)).unwrap()
}

type Edit = fn(&mut serde_json::Value);

#[test]
fn approvals_verify_offline_and_every_change_shows() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let (file, root, request) = proof(&world, &vault);
    drop(vault);
    let report = check(&file, &root);
    assert_eq!(report.verdict, VerifyVerdict::Verified, "{:?}", report.checks);
    assert_eq!(report.facts["request"], ringfence_engine::schema::finding::printable(&request.document.says, 2_000));
    let genuine = fs::read(&file).unwrap();
    // Names and addresses of people are not in it.
    for needle in ["ben", "eva", "laptop", "192.0.2.7"] {
        assert!(!genuine.windows(needle.len()).any(|window| window == format!("\"{needle}\"").as_bytes()), "{needle}");
    }
    let step = (genuine.len() / 211).max(1);
    for place in (0..genuine.len()).step_by(step) {
        let mut changed = genuine.clone();
        changed[place] ^= 1;
        fs::write(&file, &changed).unwrap();
        let verdict = check(&file, &root).verdict;
        assert!(matches!(verdict, VerifyVerdict::Tampered | VerifyVerdict::UnknownRoot), "byte {place}: {verdict:?}");
    }
    let edits: [(&str, Edit, VerifyVerdict); 7] = [
        ("says", |v| v["request"]["says"] = "something harmless".into(), VerifyVerdict::Tampered),
        ("needed", |v| v["request"]["needed"] = 1.into(), VerifyVerdict::Tampered),
        ("one is left out", |v| drop(v["approvals"].as_array_mut().unwrap().pop()), VerifyVerdict::Refused),
        (
            "one twice",
            |v| {
                let first = v["approvals"][0].clone();
                v["approvals"][1] = first;
            },
            VerifyVerdict::Tampered,
        ),
        (
            "another's enrolment",
            |v| {
                let other = v["approvals"][1]["enrolment"].clone();
                v["approvals"][0]["enrolment"] = other;
            },
            VerifyVerdict::Tampered,
        ),
        (
            "the assertion",
            |v| {
                let other = v["approvals"][1]["approval"]["openings"]["approval"]["value"]["assertion"].clone();
                v["approvals"][0]["approval"]["openings"]["approval"]["value"]["assertion"] = other;
            },
            VerifyVerdict::Tampered,
        ),
        ("a field more", |v| v["extra"] = 1.into(), VerifyVerdict::Tampered),
    ];
    for (name, edit, expected) in edits {
        let mut value: serde_json::Value = serde_json::from_slice(&genuine).unwrap();
        edit(&mut value);
        fs::write(&file, ringfence_engine::schema::canon::to_canonical(&value).unwrap()).unwrap();
        let report = check(&file, &root);
        assert_eq!(report.verdict, expected, "{name}: {:?}", report.checks);
    }
    // Under another vault's root it says nothing.
    fs::write(&file, &genuine).unwrap();
    let stranger = World::new(&[]);
    let settings = stranger.settings();
    let other = stranger.home.join("other.root");
    fs::write(&other, init(&settings).root_file()).unwrap();
    assert_eq!(check(&file, &other).verdict, VerifyVerdict::UnknownRoot);
}
