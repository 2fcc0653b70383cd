//! Several people in one vault, with passkeys in software and a clock of its own.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use ringfence_engine::{
    EngineError, Settings, Vault,
    access::{Action, LoginStrength, PersonKind, Role},
    schema::report::VerifyVerdict,
    team::{
        Caller, DeviceAnswer, Enrolled, Enrollee, Entered, FirstPassword, Invite, Offer, Origin, PersonId,
        SESSION_IDLE_MS, Status, TokenTerms,
        passkey::{Challenge, RelyingParty, SoftKey, UserHandle},
    },
    trail::{Filter, ShownEntry},
};
use ringfence_trust::entropy::SystemEntropy;

use crate::world::{World, init};

const SITE: &str = "https://vault.example";
const PASSWORD: &str = "quiet harbour of seventeen lanterns";

pub(crate) fn party() -> RelyingParty {
    RelyingParty::new("vault.example", &[SITE]).unwrap()
}

pub(crate) fn origin() -> Origin {
    Origin { address: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))), client: "test".to_owned() }
}

pub(crate) fn challenge(offer: &Offer) -> Challenge {
    serde_json::from_value(offer.options["challenge"].clone()).unwrap()
}

/// Somebody with a passkey who is in.
pub(crate) struct Member {
    pub(crate) id: PersonId,
    pub(crate) key: SoftKey,
    pub(crate) token: String,
}

/// Enrols a passkey by an invitation.
pub(crate) fn enrol(vault: &Vault<'_>, token: &str, names: Option<(&str, &str)>) -> (Enrolled, SoftKey) {
    let rp = party();
    let who = Enrollee::Invited { token, names };
    let id = vault.invited(token).unwrap().person.id;
    let handle = UserHandle::new(id.as_str().as_bytes().to_vec()).unwrap();
    let key = SoftKey::generate("vault.example", &handle, &mut SystemEntropy::new()).unwrap();
    let offer = vault.begin_enrol(&rp, who).unwrap();
    let registration = key.register(SITE, &challenge(&offer)).unwrap();
    let enrolled = vault.finish_enrol(&rp, who, &offer.ceremony, &registration, "laptop", &origin()).unwrap();
    (enrolled, key)
}

/// The first administrator of a vault that becomes shared by it.
pub(crate) fn first(vault: &Vault<'_>) -> Member {
    let setup = vault.offer_setup().unwrap();
    let (enrolled, key) = enrol(vault, &setup.token.unwrap(), Some(("ana", "Ana")));
    member(enrolled, key)
}

pub(crate) fn member(enrolled: Enrolled, key: SoftKey) -> Member {
    let token = enrolled.entered.unwrap().token.to_string();
    Member { id: enrolled.person.id, key, token }
}

/// Invites somebody and enrols them.
pub(crate) fn join(vault: &Vault<'_>, by: &Member, name: &str, roles: &[Role]) -> Member {
    let caller = vault.authenticate(&by.token, origin().address).unwrap();
    let invite = Invite {
        name: name.to_owned(),
        display: name.to_uppercase(),
        kind: PersonKind::Human,
        roles: roles.iter().copied().collect(),
    };
    let invitation = vault.acting(caller).invite(&invite).unwrap();
    let (enrolled, key) = enrol(vault, &invitation.token.unwrap(), None);
    member(enrolled, key)
}

pub(crate) fn login(vault: &Vault<'_>, member: &Member) -> Result<Entered, EngineError> {
    let offer = vault.begin_login(&party()).unwrap();
    let assertion = member.key.assert(SITE, &challenge(&offer)).unwrap();
    vault.finish_login(&party(), &offer.ceremony, &assertion, &origin())
}

fn caller(vault: &Vault<'_>, token: &str) -> Caller {
    vault.authenticate(token, origin().address).unwrap()
}

fn denials(vault: &Vault<'_>) -> usize {
    let mut found = 0;
    let mut count = |entry: &ShownEntry| {
        found += usize::from(entry.word() == "denied");
        Ok(())
    };
    vault.search(&Filter::default(), None, &mut count).unwrap();
    found
}

#[test]
fn the_first_administrator_makes_the_vault_a_shared_one() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    assert!(!vault.is_shared());
    let ana = first(&vault);
    let again: Vault<'_> = vault.acting(caller(&vault, &ana.token));
    assert!(again.is_shared());
    assert_eq!(again.caller().login, LoginStrength::Passkey);
    assert_eq!(again.people().unwrap().len(), 1);
    assert!(matches!(again.offer_setup(), Err(EngineError::Usage { .. })));
    // A handle from before is the owner's no more.
    assert!(matches!(vault.verify_all(), Err(EngineError::NotPermitted { .. })));
    drop((vault, again));
    // Whoever opens the files now is nobody; the new epoch of the root is pinned and verifies.
    let opened = Vault::open(&settings).unwrap();
    assert!(opened.is_shared());
    assert!(matches!(
        opened.set_roles(&ana.id, &BTreeSet::new()),
        Err(EngineError::Usage { .. } | EngineError::Refused { .. })
    ));
    let denied = opened.disable(&ana.id, "no reason");
    assert!(denied.is_err());
    let report = ringfence_engine::trail::verify_trail(&settings, None, None, None).unwrap();
    assert_eq!(report.verdict, VerifyVerdict::Verified, "{report:?}");
}

#[test]
fn an_invitation_is_good_once_and_for_a_while() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let setup = vault.offer_setup().unwrap();
    let token = setup.token.unwrap();
    world.pass(15 * 60 * 1_000);
    assert!(matches!(vault.invited(&token), Err(EngineError::NotSignedIn)));
    // A new one replaces it.
    let token = vault.offer_setup().unwrap().token.unwrap();
    enrol(&vault, &token, Some(("ana", "Ana")));
    assert!(matches!(vault.invited(&token), Err(EngineError::NotSignedIn)));
}

#[test]
fn people_come_in_by_passkey_and_leave() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let ana = first(&vault);
    let ben = join(&vault, &ana, "ben", &[Role::Researcher]);
    let entered = login(&vault, &ben).unwrap();
    let token = entered.token.to_string();
    let session = vault.acting(caller(&vault, &token));
    assert_eq!(session.own_sessions().unwrap().len(), 2);
    // A researcher invites nobody, and nobody gives themselves a role.
    let invite = Invite { name: "eve".into(), display: "Eve".into(), kind: PersonKind::Human, roles: BTreeSet::new() };
    assert!(matches!(session.invite(&invite), Err(EngineError::Refused { .. })));
    let owner = vault.acting(caller(&vault, &ana.token));
    assert!(owner.set_roles(&ana.id, &[Role::Owner, Role::Auditor].into()).is_err());
    session.leave().unwrap();
    assert!(matches!(vault.authenticate(&token, None), Err(EngineError::NotSignedIn)));
    // An answer to one question is no answer to another, and none is good twice.
    let offer = vault.begin_login(&party()).unwrap();
    let assertion = ben.key.assert(SITE, &challenge(&offer)).unwrap();
    let other = vault.begin_login(&party()).unwrap();
    let wrong = vault.finish_login(&party(), &other.ceremony, &assertion, &origin());
    assert!(matches!(wrong, Err(EngineError::NotSignedIn)));
    // A wrong answer locks for a second.
    world.pass(1_000);
    vault.finish_login(&party(), &offer.ceremony, &assertion, &origin()).unwrap();
    let replayed = vault.finish_login(&party(), &offer.ceremony, &assertion, &origin());
    assert!(matches!(replayed, Err(EngineError::NotSignedIn)));
    assert!(denials(&owner) >= 2);
}

#[test]
fn idle_sessions_and_old_proofs_end() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let ana = first(&vault);
    world.pass(11 * 60 * 1_000);
    let owner = vault.acting(caller(&vault, &ana.token));
    let invite = Invite { name: "ben".into(), display: "Ben".into(), kind: PersonKind::Human, roles: BTreeSet::new() };
    let refused = owner.invite(&invite).unwrap_err().to_string();
    assert!(refused.contains("ten minutes"), "{refused}");
    let offer = owner.begin_step_up(&party()).unwrap();
    let assertion = ana.key.assert(SITE, &challenge(&offer)).unwrap();
    owner.finish_step_up(&party(), &offer.ceremony, &assertion).unwrap();
    vault.acting(caller(&vault, &ana.token)).invite(&invite).unwrap();
    world.pass(SESSION_IDLE_MS + 1);
    for _ in 0..2 {
        assert!(matches!(vault.authenticate(&ana.token, None), Err(EngineError::NotSignedIn)));
    }
}

#[test]
fn whoever_is_disabled_is_out_at_once_in_every_process() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let ana = first(&vault);
    let ben = join(&vault, &ana, "ben", &[Role::Researcher]);
    let other: Settings<'_> = world.settings();
    let elsewhere = Vault::open(&other).unwrap();
    assert!(elsewhere.authenticate(&ben.token, None).is_ok());
    let owner = vault.acting(caller(&vault, &ana.token));
    assert_eq!(owner.disable(&ben.id, "left the company").unwrap().status, Status::Disabled);
    assert!(vault.authenticate(&ben.token, None).is_err());
    world.pass(ringfence_engine::team::FRESH_MS);
    assert!(elsewhere.authenticate(&ben.token, None).is_err());
    assert!(login(&vault, &ben).is_err());
    // Nobody shuts themselves out, and nobody else the last owner.
    assert!(matches!(owner.disable(&ana.id, "?"), Err(EngineError::Refused { .. })));
    let eve = join(&vault, &ana, "eve", &[Role::SecurityOfficer]);
    let officer = vault.acting(caller(&vault, &eve.token));
    assert!(matches!(officer.disable(&ana.id, "?"), Err(EngineError::Usage { .. })));
}

/// The present code of the app whose key `uri` shows (RFC 6238 over RFC 4648 base 32).
fn code(uri: &str, world: &World) -> String {
    let secret = uri.split("secret=").nth(1).unwrap().split('&').next().unwrap();
    let mut bits = Vec::new();
    for c in secret.bytes() {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|known| *known == c).unwrap();
        bits.extend((0..5).rev().map(|bit| (value >> bit) & 1));
    }
    let key: Vec<u8> = bits
        .chunks_exact(8)
        .map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | u8::try_from(*bit).unwrap()))
        .collect();
    crate::totp::code(&key, world.now().millis() / 30_000)
}

#[test]
fn a_password_counts_only_with_a_code_and_each_code_once() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let ana = first(&vault);
    let owner = vault.acting(caller(&vault, &ana.token));
    let invite =
        Invite { name: "ben".into(), display: "Ben".into(), kind: PersonKind::Human, roles: [Role::Auditor].into() };
    let token = owner.invite(&invite).unwrap().token.unwrap();
    let who = Enrollee::Invited { token: &token, names: None };
    let offer = vault.begin_totp("Ringfence", who).unwrap();
    let first = |password: &str, code: String| FirstPassword {
        password: password.to_owned(),
        ceremony: offer.ceremony.clone(),
        code,
    };
    let enrolled = vault.finish_password(who, first(PASSWORD, code(&offer.uri, &world)), &origin()).unwrap();
    let recovery = enrolled.recovery_codes.unwrap();
    assert_eq!(recovery.len(), 10);
    let enter = |password: &str, code: &str| vault.login_password("Ben ", password.to_owned(), code, &origin());
    let used = code(&offer.uri, &world);
    world.pass(60_000);
    let fresh = code(&offer.uri, &world);
    assert!(matches!(enter(PASSWORD, &used), Err(EngineError::NotSignedIn)));
    world.pass(2_000);
    assert!(matches!(enter("not the password at all", &fresh), Err(EngineError::NotSignedIn)));
    world.pass(4_000);
    assert_eq!(caller(&vault, &enter(PASSWORD, &fresh).unwrap().token).login, LoginStrength::Mfa);
    assert!(matches!(enter(PASSWORD, &fresh), Err(EngineError::NotSignedIn)));
    world.pass(10_000);
    let spare = recovery[3].to_string();
    enter(PASSWORD, &spare).unwrap();
    assert!(matches!(enter(PASSWORD, &spare), Err(EngineError::NotSignedIn)));
    // No factor can go that leaves less than two.
    let auditor = vault.acting(caller(&vault, &{
        world.pass(60_000);
        enter(PASSWORD, &code(&offer.uri, &world)).unwrap().token
    }));
    assert!(auditor.remove_factor("totp").unwrap_err().to_string().contains("no second factor"));
}

#[test]
fn wrong_factors_lock_an_account_known_or_not() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    first(&vault);
    for (name, last) in [("ana", 1), ("nobody-of-that-name", 2)] {
        let (mut wrong, mut locked) = (0, 0);
        // A source of its own, so that one name's failures do not count for the other.
        let from = Origin { address: Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, last))), ..origin() };
        while wrong < 100 {
            match vault.login_password(name, "guess guess guess".to_owned(), "000000", &from) {
                Err(EngineError::NotSignedIn) => wrong += 1,
                Err(EngineError::Locked { until }) => {
                    locked += 1;
                    world.pass(until.millis() - world.now().millis());
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(locked >= 97, "{locked}");
        let shut = vault.login_password(name, "guess guess guess".to_owned(), "000000", &from);
        let Err(EngineError::Locked { until }) = shut else { panic!("{shut:?}") };
        assert_eq!(until.millis() % 86_400_000, 0);
        world.pass(until.millis() - world.now().millis());
    }
}

#[test]
fn wrong_factors_count_over_a_restart() {
    let world = World::new(&[]);
    let settings = world.settings();
    let mut vault = init(&settings);
    first(&vault);
    let from = |last| Origin { address: Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, last))), ..origin() };
    let guess = |vault: &Vault<'_>, name: &str, last| {
        let Err(error) = vault.login_password(name, "guess guess guess".to_owned(), "000000", &from(last)) else {
            panic!("it was no guess")
        };
        error
    };
    let wait = |error: EngineError| {
        let EngineError::Locked { until } = error else { panic!("{error:?}") };
        until.millis() - world.now().millis()
    };
    // The waits of the first ten failures, each of which is the first of its process.
    for (failure, wait_ms) in [1_000, 1_000, 3_000, 3_000, 3_000, 3_000, 3_000, 3_000, 5_000, 5_000].iter().enumerate()
    {
        for (name, last) in [("ana", 1), ("nobody-of-that-name", 2)] {
            assert!(matches!(guess(&vault, name, last), EngineError::NotSignedIn), "{failure} {name}");
        }
        drop(vault);
        vault = Vault::open(&settings).unwrap();
        for (name, last) in [("ana", 1), ("nobody-of-that-name", 2)] {
            assert_eq!(wait(guess(&vault, name, last)), *wait_ms, "{failure} {name}");
        }
        world.pass(*wait_ms);
    }
    // Nobody reads there who tried what, and a file that is none keeps nobody out.
    let file = settings.vault.join("tries");
    let kept = std::fs::read(&file).unwrap();
    assert!(!kept.windows(3).any(|part| part == b"ana"));
    drop(vault);
    std::fs::write(&file, &kept[..kept.len() - 1]).unwrap();
    let vault = Vault::open(&settings).unwrap();
    assert!(matches!(guess(&vault, "ana", 1), EngineError::NotSignedIn));
}

#[test]
fn tokens_do_what_their_scope_says_from_where_they_may() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let ana = first(&vault);
    let owner = vault.acting(caller(&vault, &ana.token));
    let invite =
        Invite { name: "ci".into(), display: "CI".into(), kind: PersonKind::Service, roles: [Role::Researcher].into() };
    let service = owner.invite(&invite).unwrap();
    assert!(service.token.is_none());
    let terms = TokenTerms {
        label: "pipeline".into(),
        service: Some(service.person.id.clone()),
        life_ms: 60_000,
        scope: [Action::Read].into(),
        networks: vec!["192.0.2.0/24".into()],
    };
    let (view, token) = owner.make_token(&terms).unwrap();
    assert!(vault.authenticate(&token, Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)))).is_err());
    assert!(vault.authenticate(&token, None).is_err());
    let program = vault.acting(caller(&vault, &token));
    let refused = program.verify_all().unwrap_err().to_string();
    assert!(refused.contains("not good for `verify`"), "{refused}");
    for scope in [BTreeSet::new(), BTreeSet::from([Action::Appoint])] {
        assert!(owner.make_token(&TokenTerms { scope, ..terms.clone() }).is_err());
    }
    owner.end_own(&view.id).unwrap();
    assert!(vault.authenticate(&token, origin().address).is_err());
    let (_, token) = owner.make_token(&terms).unwrap();
    world.pass(60_000);
    assert!(vault.authenticate(&token, origin().address).is_err());
}

#[test]
fn a_reset_ends_everything_and_the_resetter_does_not_count_twice() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let ana = first(&vault);
    let ben = join(&vault, &ana, "ben", &[Role::SecurityOfficer]);
    let owner = vault.acting(caller(&vault, &ana.token));
    let invitation = owner.reset_factors(&ben.id, "lost the key").unwrap();
    assert!(vault.authenticate(&ben.token, None).is_err());
    assert!(login(&vault, &ben).is_err());
    let (enrolled, key) = enrol(&vault, &invitation.token.unwrap(), None);
    let ben = member(enrolled, key);
    login(&vault, &ben).unwrap();
}

#[test]
fn secrets_are_nowhere_in_the_catalog() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let ana = first(&vault);
    drop(vault);
    let mut bytes = std::fs::read(world.catalog()).unwrap();
    bytes.extend(std::fs::read(world.home.join("vault/catalog.sqlite-wal")).unwrap_or_default());
    let secret = ana.token.split('_').nth(3).unwrap().as_bytes();
    for needle in [secret, b"192.0.2.7".as_slice(), b"laptop"] {
        assert!(!bytes.windows(needle.len()).any(|window| window == needle));
    }
}

#[test]
fn a_device_is_let_in_once_and_is_no_stronger_than_who_confirmed_it() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let ana = first(&vault);
    world.pass(11 * 60 * 1_000);
    let offer = vault.begin_device(&origin());
    assert!(matches!(vault.poll_device(&offer.device), Ok(DeviceAnswer::Pending)));
    let owner = vault.acting(caller(&vault, &ana.token));
    let typed = offer.user_code.to_lowercase().replace('-', " ");
    assert_eq!(owner.device(&typed).unwrap().client, "test");
    owner.confirm_device(&typed).unwrap();
    assert!(owner.confirm_device(&typed).is_err());
    let Ok(DeviceAnswer::Entered(entered)) = vault.poll_device(&offer.device) else { panic!("not in") };
    assert!(matches!(vault.poll_device(&offer.device), Err(EngineError::NotSignedIn)));
    let device = vault.acting(caller(&vault, &entered.token));
    let invite = Invite { name: "ben".into(), display: "Ben".into(), kind: PersonKind::Human, roles: BTreeSet::new() };
    assert!(device.invite(&invite).unwrap_err().to_string().contains("ten minutes"));
    let late = vault.begin_device(&origin());
    world.pass(10 * 60 * 1_000);
    assert!(owner.confirm_device(&late.user_code).is_err());
    assert!(matches!(vault.poll_device(&late.device), Err(EngineError::NotSignedIn)));
}

#[test]
fn who_looks_is_on_record_and_who_may_not_sees_nothing() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let ana = first(&vault);
    let eve = join(&vault, &ana, "eve", &[]);
    let before = vault.trail(1).unwrap()[0].index;
    vault.acting(caller(&vault, &ana.token)).look("artifacts").unwrap();
    assert!(matches!(vault.acting(caller(&vault, &eve.token)).look("artifacts"), Err(EngineError::Refused { .. })));
    let since = vault.trail(10).unwrap();
    let words: Vec<_> = since.iter().filter(|entry| entry.index > before).map(ShownEntry::word).collect();
    assert_eq!(words, ["done", "denied"]);
}
