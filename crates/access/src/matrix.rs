//! The table of who may do what: every role × action × resource, in every situation.
//!
//! A [`Situation`] starts from a request in which everything is in order and changes one thing. [`cells`] lists all of
//! it for one custody; what policies say of each cell is a golden table in the tests, what two sets of policies say
//! differently is [`Policies::diff`](crate::Policies::diff).

use std::{collections::BTreeSet, fmt};

use ringfence_schema::{ArtifactKind, ArtifactName};

use crate::{
    Action, Custody, EvidenceFacts, Exemptions, Facts, LoginStrength, NamespaceState, Person, PersonKind, Request,
    Resource, Role, SandboxLevel, VaultFacts, factors::STEP_UP_WINDOW_MS,
};

/// Id of the person who asks in every cell that names nobody else.
pub const ASKS: &str = "olga";
/// Every kind of artifact.
pub const KINDS: [ArtifactKind; 4] =
    [ArtifactKind::Dataset, ArtifactKind::Model, ArtifactKind::Checkpoint, ArtifactKind::Code];

const HOUR_MS: u64 = 60 * 60 * 1_000;
const MINUTE_MS: u64 = 60 * 1_000;

/// One thing that is otherwise than it should be.
#[derive(Clone, Copy)]
pub struct Situation {
    /// What, as the end of a sentence: "when …".
    pub says: &'static str,
    change: fn(&mut Request),
}

impl Situation {
    /// Makes it so in `request`.
    pub fn apply(&self, request: &mut Request) {
        (self.change)(request);
    }
}

impl fmt::Debug for Situation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.says)
    }
}

/// What everything else is measured against.
pub const IN_ORDER: Situation = Situation { says: "everything is in order", change: |_| {} };

macro_rules! situations {
    ($($says:literal => |$request:ident| $change:expr;)+) => {
        &[IN_ORDER, $(Situation { says: $says, change: |$request: &mut Request| $change }),+]
    };
}

/// Every situation, [`IN_ORDER`] first.
pub const SITUATIONS: &[Situation] = situations! {
    "there is no scan" => |r| r.facts.scan = EvidenceFacts::default();
    "the scan does not cover everything" => |r| r.facts.scan.complete = false;
    "the scan does not pass" => |r| r.facts.scan.passes = false;
    "the scan has expired" => |r| r.facts.scan.fresh = false;
    "the scan is of other bytes" => |r| r.facts.scan.subject_matches = false;
    "the scan is not in the trail" => |r| r.facts.scan.in_trail = false;
    "the scan's signer may not issue it" => |r| r.facts.scan.signer_allowed = false;
    "the scan blocks" => |r| r.facts.scan.blocks = true;
    "there is no screening" => |r| r.facts.screen = EvidenceFacts::default();
    "the screening does not cover everything" => |r| r.facts.screen.complete = false;
    "the screening does not pass" => |r| r.facts.screen.passes = false;
    "the screening has expired" => |r| r.facts.screen.fresh = false;
    "the screening is of other bytes" => |r| r.facts.screen.subject_matches = false;
    "the screening is not in the trail" => |r| r.facts.screen.in_trail = false;
    "the screening's signer may not issue it" => |r| r.facts.screen.signer_allowed = false;
    "the screening blocks" => |r| r.facts.screen.blocks = true;
    "there is no provenance" => |r| r.facts.provenance = EvidenceFacts::default();
    "the provenance does not cover everything" => |r| r.facts.provenance.complete = false;
    "the provenance does not pass" => |r| r.facts.provenance.passes = false;
    "the provenance has expired" => |r| r.facts.provenance.fresh = false;
    "the provenance is of other bytes" => |r| r.facts.provenance.subject_matches = false;
    "the provenance is not in the trail" => |r| r.facts.provenance.in_trail = false;
    "the provenance's signer may not issue it" => |r| r.facts.provenance.signer_allowed = false;
    "the provenance blocks" => |r| r.facts.provenance.blocks = true;
    "there is no robustness card" => |r| r.facts.robustness = EvidenceFacts::default();
    "the robustness card does not cover everything" => |r| r.facts.robustness.complete = false;
    "the robustness card does not pass" => |r| r.facts.robustness.passes = false;
    "the robustness card has expired" => |r| r.facts.robustness.fresh = false;
    "the robustness card is of other bytes" => |r| r.facts.robustness.subject_matches = false;
    "the robustness card is not in the trail" => |r| r.facts.robustness.in_trail = false;
    "the robustness card's signer may not issue it" => |r| r.facts.robustness.signer_allowed = false;
    "the robustness card blocks" => |r| r.facts.robustness.blocks = true;
    "there is no review" => |r| r.facts.review = EvidenceFacts::default();
    "the review does not pass" => |r| r.facts.review.passes = false;
    "the review blocks" => |r| r.facts.review.blocks = true;
    "scanning was left out on request" => |r| {
        r.facts.scan = EvidenceFacts::default();
        r.facts.exempt.no_scan = true;
    };
    "screening was left out on request" => |r| {
        r.facts.screen = EvidenceFacts::default();
        r.facts.filtered_permille = None;
        r.facts.exempt.no_screen = true;
    };
    "all evidence is a year old" => |r| {
        for evidence in [&mut r.facts.scan, &mut r.facts.screen, &mut r.facts.provenance, &mut r.facts.robustness] {
            evidence.age_ms = 366 * 24 * HOUR_MS;
        }
    };
    "findings were waived" => |r| r.facts.waived = 3;
    "nobody approved" => |r| r.facts.approvals.clear();
    "one other person approved" => |r| r.facts.approvals = ids(&["ann"]);
    "the requester is among those who approved" => |r| r.facts.approvals = ids(&["ann", "bob", &r.principal.id]);
    "the requester enrolled one of the two who approved" => |r| r.facts.dependants = ids(&["bob"]);
    "the request under review is one's own" => |r| r.facts.requester = None;
    "the login has one factor" => |r| r.facts.login = LoginStrength::Any;
    "the login is by password and code" => |r| r.facts.login = LoginStrength::Mfa;
    "there is no second factor yet" => |r| {
        r.facts.login = LoginStrength::Any;
        r.facts.mfa_age_ms = None;
        r.facts.first_enrolment = true;
    };
    "no second factor was proven in this session" => |r| r.facts.mfa_age_ms = None;
    "the second factor was proven just short of ten minutes ago" => |r| r.facts.mfa_age_ms = Some(STEP_UP_WINDOW_MS - 1);
    "the second factor was proven ten minutes ago" => |r| r.facts.mfa_age_ms = Some(STEP_UP_WINDOW_MS);
    "it is outside of a run" => |r| r.facts.in_run = false;
    "no engagement is live" => |r| r.facts.engaged = false;
    "it is not said whom it is about" => |r| r.facts.about = None;
    "it is about the other person" => |r| {
        let own = r.facts.about.as_ref() == Some(&r.principal.id);
        r.facts.about = Some(if own { "zoe".to_owned() } else { r.principal.id.clone() });
    };
    "whoever asks is a program" => |r| r.principal.kind = PersonKind::Service;
    "an approver was enrolled by the requester" => |r| r.facts.beholden = true;
    "whoever asks is not entitled to it" => |r| r.facts.entitled = false;
    "nobody approved and the glass is broken" => |r| {
        r.facts.approvals.clear();
        r.facts.break_glass = true;
    };
    "nobody approved and it is the bundle of a release" => |r| {
        r.facts.approvals.clear();
        r.facts.bundle = true;
    };
    "there is no sandbox" => |r| r.facts.sandbox = SandboxLevel::None;
    "the sandbox has no namespaces" => |r| r.facts.sandbox = SandboxLevel::Landlock;
    "the sandbox has no control groups" => |r| r.facts.sandbox = SandboxLevel::NoCgroup;
    "accuracy under attack is zero" => |r| r.facts.robust_accuracy_permille = Some(0);
    "accuracy under attack is not known" => |r| r.facts.robust_accuracy_permille = None;
    "hardening cost all clean accuracy" => |r| r.facts.clean_drop_permille = Some(1_000);
    "the loss of clean accuracy is not known" => |r| r.facts.clean_drop_permille = None;
    "screening removed all records" => |r| r.facts.filtered_permille = Some(1_000);
    "it is not known how much screening removed" => |r| r.facts.filtered_permille = None;
};

fn ids(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// Evidence that nothing is wrong with, one hour old.
pub fn sound() -> EvidenceFacts {
    EvidenceFacts {
        present: true,
        complete: true,
        passes: true,
        blocks: false,
        fresh: true,
        subject_matches: true,
        in_trail: true,
        signer_allowed: true,
        age_ms: HOUR_MS,
    }
}

/// `person`'s request with all facts in order: sound evidence, two approvals by others, a passkey a minute ago, inside a
/// run, by appointment. An enrolment is about the person, an appointment about another.
pub fn in_order(person: Person, action: Action, resource: Resource, custody: Custody) -> Request {
    let about = if action == Action::Enrol { person.id.clone() } else { "zoe".to_owned() };
    let facts = Facts {
        scan: sound(),
        screen: sound(),
        provenance: sound(),
        robustness: sound(),
        review: sound(),
        exempt: Exemptions::default(),
        requester: Some("somebody".to_owned()),
        approvals: ids(&["ann", "bob"]),
        beholden: false,
        break_glass: false,
        bundle: false,
        dependants: BTreeSet::new(),
        about: Some(about),
        login: LoginStrength::Passkey,
        mfa_age_ms: Some(MINUTE_MS),
        first_enrolment: false,
        in_run: true,
        engaged: true,
        entitled: true,
        sandbox: SandboxLevel::Full,
        waived: 0,
        robust_accuracy_permille: Some(600),
        clean_drop_permille: Some(10),
        filtered_permille: Some(40),
    };
    let vault = VaultFacts { id: "vault".to_owned(), custody };
    Request { principal: person, action, resource, vault, facts }
}

/// Somebody called `id` with one role; a trainer is a program.
pub fn person(id: &str, role: Role) -> Person {
    let kind = if role == Role::Trainer { PersonKind::Service } else { PersonKind::Human };
    Person { id: id.to_owned(), roles: BTreeSet::from([role]), kind }
}

/// The vault, and an artifact of every kind in every state, with what people call them.
pub fn resources() -> Vec<(String, Resource)> {
    let mut all = vec![("vault".to_owned(), Resource::Vault)];
    for kind in KINDS {
        for state in NamespaceState::ALL {
            if let Ok(name) = ArtifactName::new(kind, "thing") {
                all.push((format!("{} {kind}", state.name()), Resource::Artifact { name, state }));
            }
        }
    }
    all
}
