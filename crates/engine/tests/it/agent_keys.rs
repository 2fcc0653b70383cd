//! Keys in an agent: enrolled by whoever has factors, good for approvals and nothing else, and proven offline like passkeys.

use std::fs;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use ringfence_engine::{
    EngineError, Vault,
    access::Role,
    schema::{Digest, report::VerifyVerdict},
    team::{
        DeviceAnswer, Fulfilled, RequestId, RequestView, Wanted,
        agent::{AgentKey, AgentSignature, Namespace},
    },
};

use crate::{
    approval::{POLICY, Team, approve, by, check, waiting},
    team::{Member, join, login, origin},
    world::{World, init},
};

/// The step-up window, in milliseconds.
const TEN_MINUTES: u64 = 10 * 60 * 1_000;

/// A key, as an agent would hold it.
struct Held {
    pair: Ed25519KeyPair,
    key: AgentKey,
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

impl Held {
    fn new(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let wire = [string(b"ssh-ed25519"), string(pair.public_key().as_ref())].concat();
        Self { pair, key: AgentKey::from_wire(&wire).unwrap() }
    }

    fn sign(&self, purpose: Namespace, digest: &Digest) -> AgentSignature {
        let parts = [string(purpose.name().as_bytes()), string(b""), string(b"sha256"), string(digest.as_bytes())];
        let made = self.pair.sign(&[b"SSHSIG".to_vec(), parts.concat()].concat());
        AgentSignature::new([string(b"ssh-ed25519"), string(made.as_ref())].concat()).unwrap()
    }

    fn enrol(&self, session: &Vault<'_>) -> Result<(), EngineError> {
        let offer = session.begin_key().unwrap();
        let made = self.sign(Namespace::Enrolment, &Digest::of(offer.document.as_bytes()));
        session.finish_key(&offer.ceremony, &self.key, &made, "agent").map(drop)
    }

    fn approve(&self, session: &Vault<'_>, id: &RequestId) -> Result<RequestView, EngineError> {
        let digest = session.request(id)?.digest;
        session.approve_by_key(id, &digest, &self.key.digest(), &self.sign(Namespace::Approval, &digest))
    }
}

fn asked(vault: &Vault<'_>, member: &Member) -> RequestView {
    let wanted = Wanted::Configure { text: POLICY.to_owned(), reason: Some("older evidence is still good".to_owned()) };
    waiting(by(vault, member).make_request(&wanted).unwrap())
}

/// A fresh session of somebody.
fn again(vault: &Vault<'_>, member: Member) -> Member {
    let token = login(vault, &member).unwrap().token.to_string();
    Member { token, ..member }
}

#[test]
fn a_key_approves_like_a_passkey_and_is_proven_offline() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let team = Team::new(&vault);
    let (ana, held) = (by(&vault, &team.ana), Held::new(1));
    held.enrol(&ana).unwrap();
    let factors = ana.person("ana").unwrap().factors;
    assert_eq!((factors[1].kind, factors[1].label.as_str()), ("agent key", "agent"));
    let request = asked(&vault, &team.ben);
    assert_eq!(Digest::of(request.document.canonical().unwrap().as_bytes()), request.digest);
    assert_eq!(held.approve(&ana, &request.id).unwrap().counted(), 1);
    // People count, not what they sign with.
    assert!(matches!(approve(&vault, &team.ana, &request.id), Err(EngineError::Usage { .. })));
    assert!(approve(&vault, &team.eva, &request.id).unwrap().is_approved());
    let by_another = by(&vault, &team.ana).carry_out_request(&request.id);
    assert!(matches!(by_another, Err(EngineError::NotPermitted { .. })));
    let done = by(&vault, &team.ben).carry_out_request(&request.id).unwrap();
    assert!(matches!(done, Fulfilled::Policy(version) if version.version == 1));
    assert!(by(&vault, &team.ben).carry_out_request(&request.id).is_err(), "it was used");

    let (file, root) = (world.home.join("approval.json"), world.home.join("vault.root"));
    fs::write(&file, ana.approval_proof(&request.id).unwrap()).unwrap();
    fs::write(&root, ana.root_file()).unwrap();
    let report = check(&file, &root);
    assert_eq!(report.verdict, VerifyVerdict::Verified, "{:?}", report.checks);
    let genuine = fs::read(&file).unwrap();
    for place in (0..genuine.len()).step_by((genuine.len() / 97).max(1)) {
        let mut changed = genuine.clone();
        changed[place] ^= 1;
        fs::write(&file, &changed).unwrap();
        let verdict = check(&file, &root).verdict;
        assert!(matches!(verdict, VerifyVerdict::Tampered | VerifyVerdict::UnknownRoot), "byte {place}: {verdict:?}");
    }
}

#[test]
fn whoever_does_not_count_does_not_count_by_a_key() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let team = Team::new(&vault);
    let request = asked(&vault, &team.ben);
    let keys: Vec<Held> = (1..6).map(Held::new).collect();
    let nico = join(&vault, &team.ana, "nico", &[Role::Auditor]);
    for (held, member) in keys.iter().zip([&team.ana, &team.ben, &team.cem, &nico]) {
        held.enrol(&by(&vault, member)).unwrap();
    }
    // The requester, whom he invited, and a role that changes nothing.
    for (held, member, words) in
        [(&keys[1], &team.ben, "themselves"), (&keys[2], &team.cem, "invited"), (&keys[3], &nico, "auditor")]
    {
        let refused = held.approve(&by(&vault, member), &request.id).unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
    // Another's key, a key of nobody, another request's digest, a signature for something else.
    let ana = by(&vault, &team.ana);
    for held in [&keys[1], &keys[4]] {
        assert!(matches!(held.approve(&ana, &request.id), Err(EngineError::Usage { .. })));
    }
    let other = Digest::of(b"another request");
    let made = keys[0].sign(Namespace::Approval, &other);
    let digest = keys[0].key.digest();
    assert!(matches!(ana.approve_by_key(&request.id, &other, &digest, &made), Err(EngineError::Usage { .. })));
    for wrong in [made, keys[0].sign(Namespace::Enrolment, &request.digest)] {
        let refused = ana.approve_by_key(&request.id, &request.digest, &digest, &wrong);
        assert!(matches!(refused, Err(EngineError::NotSignedIn)));
        world.pass(5_000);
    }
    assert_eq!(ana.request(&request.id).unwrap().approvals.len(), 0);
    // Nobody has another's key, and nobody enrols what they do not hold.
    assert!(matches!(keys[1].enrol(&ana), Err(EngineError::Usage { .. })));
    let offer = ana.begin_key().unwrap();
    let made = keys[4].sign(Namespace::Approval, &Digest::of(offer.document.as_bytes()));
    let finished = ana.finish_key(&offer.ceremony, &keys[4].key, &made, "x");
    assert!(matches!(finished, Err(EngineError::Usage { .. })));
    let offer = ana.begin_key().unwrap();
    let made = keys[4].sign(Namespace::Enrolment, &Digest::of(offer.document.as_bytes()));
    let elsewhere = by(&vault, &team.eva).finish_key(&offer.ceremony, &keys[4].key, &made, "x");
    assert!(matches!(elsewhere, Err(EngineError::Usage { .. })), "a ceremony is its person's");

    // It counts as long as its person has it.
    keys[0].approve(&ana, &request.id).unwrap();
    assert_eq!(ana.request(&request.id).unwrap().counted(), 1);
    ana.remove_factor(&digest.to_string()).unwrap();
    assert_eq!(ana.request(&request.id).unwrap().counted(), 0);
    keys[0].enrol(&ana).unwrap();
    assert_eq!(ana.request(&request.id).unwrap().counted(), 1);
    by(&vault, &team.eva).reset_factors(&team.ana.id, "lost").unwrap();
    assert_eq!(vault.person("ana").unwrap().factors.len(), 0, "a reset takes keys too");
}

#[test]
fn a_key_is_no_second_factor() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let team = Team::new(&vault);
    let held = Held::new(1);
    held.enrol(&by(&vault, &team.ana)).unwrap();
    let request = asked(&vault, &team.ben);
    // Whoever took over an old session with an agent behind it has neither approved nor enrolled anything.
    world.pass(TEN_MINUTES);
    let ana = by(&vault, &team.ana);
    let refused = held.approve(&ana, &request.id).unwrap_err();
    assert!(refused.to_string().contains("last ten minutes"), "{refused}");
    assert!(matches!(Held::new(2).enrol(&ana), Err(EngineError::Refused { .. })));
    assert!(matches!(ana.break_glass("in a hurry"), Err(EngineError::Refused { .. })));

    // The command line is stepped up by its person, in another session that has just been.
    let from = origin();
    let offer = ana.begin_device_step_up(&from).unwrap();
    assert!(ana.device(&offer.user_code).unwrap().step_up);
    let stale = ana.confirm_device(&offer.user_code).unwrap_err().to_string();
    assert!(stale.contains("step up here first"), "{stale}");
    let eva = again(&vault, team.eva);
    let other = by(&vault, &eva).confirm_device(&offer.user_code).unwrap_err().to_string();
    assert!(other.contains("somebody else's"), "{other}");
    assert!(matches!(vault.poll_device(&offer.device).unwrap(), DeviceAnswer::Pending));
    let (old, ana) = (team.ana.token.clone(), again(&vault, team.ana));
    by(&vault, &ana).confirm_device(&offer.user_code).unwrap();
    assert!(matches!(vault.poll_device(&offer.device).unwrap(), DeviceAnswer::SteppedUp));
    assert!(vault.poll_device(&offer.device).is_err(), "told once");
    let stepped = vault.acting(vault.authenticate(&old, from.address).unwrap());
    assert_eq!(held.approve(&stepped, &request.id).unwrap().counted(), 1);
}
