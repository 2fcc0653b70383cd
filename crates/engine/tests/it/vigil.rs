//! People under the watch of a server: what is unusual is filed, and ends their sessions where the rules say so.

use std::net::{IpAddr, Ipv4Addr};

use ringfence_engine::{
    EngineError, Vault,
    access::{Action, Role},
    alerts::AlertFilter,
    lookout::people::Vigil,
    schema::{Timestamp, alert::SubjectKind, report::VerifyVerdict},
    team::{Caller, Origin, TokenTerms},
    trail::verify_trail,
};

use crate::{
    team::{Member, challenge, first, join, origin, party},
    world::{World, init},
};

const HOUR_MS: u64 = 60 * 60 * 1_000;
const REVOKING: &str = r#"
schema = "ringfence.rules/1"

[[change]]
rule = "RF-WCH-101"
actions = ["notify", "revoke"]
act_from = "high"
reason = "whoever tries doors is sent outside"
"#;

fn enter<'s>(vault: &Vault<'s>, member: &Member, from: &Origin) -> (Vault<'s>, String) {
    let offer = vault.begin_login(&party()).unwrap();
    let assertion = member.key.assert("https://vault.example", &challenge(&offer)).unwrap();
    let token = vault.finish_login(&party(), &offer.ceremony, &assertion, from).unwrap().token.to_string();
    let caller: Caller = vault.authenticate(&token, from.address).unwrap();
    (vault.acting(caller), token)
}

fn keep(vault: &Vault<'_>, vigil: &mut Vigil) {
    while vault.keep_vigil(vigil).unwrap() {}
}

/// Two weeks of work by two people, watched by `vigil` on every day.
fn fortnight(world: &World, vault: &Vault<'_>, people: &[&Member], vigil: &mut Vigil) {
    for day in 0..14_u64 {
        for member in people {
            let (session, _) = enter(vault, member, &origin());
            for reading in 0..5 {
                session.look(&format!("model/m-{}@1", (day + reading) % 6)).unwrap();
                world.pass(10 * 60 * 1_000);
            }
            session.leave().unwrap();
        }
        keep(vault, vigil);
        world.pass(24 * HOUR_MS - people.len() as u64 * 50 * 60 * 1_000);
    }
}

/// Somebody with stolen credentials tries every door.
fn break_in(world: &World, vault: &Vault<'_>, member: &Member) -> (String, String) {
    world.pass(12 * HOUR_MS);
    let elsewhere = Origin { address: Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 66))), client: "curl".to_owned() };
    let (session, token) = enter(vault, member, &elsewhere);
    let terms = TokenTerms {
        label: "x".to_owned(),
        service: None,
        life_ms: HOUR_MS,
        scope: [Action::Read].into(),
        networks: Vec::new(),
    };
    let (_, kept) = session.make_token(&terms).unwrap();
    for _ in 0..25 {
        assert!(matches!(session.set_roles(&member.id, &[Role::Owner].into()), Err(EngineError::Refused { .. })));
        world.pass(1_000);
    }
    (token, kept.to_string())
}

#[test]
fn whoever_tries_doors_is_sent_outside() {
    let world = World::new(&[]);
    let settings = world.settings();
    std::fs::create_dir_all(&settings.config).unwrap();
    std::fs::write(settings.config.join("rules.toml"), REVOKING).unwrap();
    let vault = init(&settings);
    let ana = first(&vault);
    let vault = vault.acting(Caller::clone(enter(&vault, &ana, &origin()).0.caller()));
    let ben = join(&vault, &ana, "ben", &[Role::Researcher]);
    let mut vigil = vault.begin_vigil().unwrap();
    fortnight(&world, &vault, &[&ana, &ben], &mut vigil);
    let owner = enter(&vault, &ana, &origin()).0;
    let honest = owner.alerts(&AlertFilter::default()).unwrap();
    assert!(honest.is_empty(), "{:?}", honest.iter().map(|shown| &shown.alert.message).collect::<Vec<_>>());
    let (session, token) = break_in(&world, &vault, &ben);
    let (_, anas) = enter(&vault, &ana, &origin());
    assert!(vault.authenticate(&session, None).is_ok() && vault.authenticate(&token, None).is_ok());
    keep(&vault, &mut vigil);
    for ended in [&session, &token] {
        assert!(matches!(vault.authenticate(ended, None), Err(EngineError::NotSignedIn)), "a session goes on");
    }
    vault.authenticate(&anas, None).unwrap();
    let filed = owner.alerts(&AlertFilter::default()).unwrap();
    let burst = filed.iter().find(|shown| shown.alert.rule == "RF-WCH-101").expect("an alert");
    assert_eq!((burst.alert.subject.kind, burst.alert.subject.name.as_str()), (SubjectKind::Person, ben.id.as_str()));
    // Another server, or the same after a restart, neither files it again nor ends what was begun since.
    let (_, back) = enter(&vault, &ben, &origin());
    keep(&vault, &mut vault.begin_vigil().unwrap());
    assert_eq!(owner.alerts(&AlertFilter::default()).unwrap().len(), filed.len());
    vault.authenticate(&back, None).unwrap();
    drop((vault, owner));
    let report = verify_trail(&settings, None, None, None).unwrap();
    assert_eq!(report.verdict, VerifyVerdict::Verified, "{report:?}");
}

#[test]
fn nobody_is_sent_outside_without_being_told_to() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let ana = first(&vault);
    let ben = join(&vault, &ana, "ben", &[Role::Researcher]);
    let vault = vault.acting(Caller::clone(enter(&vault, &ana, &origin()).0.caller()));
    let mut vigil = vault.begin_vigil().unwrap();
    fortnight(&world, &vault, &[&ana, &ben], &mut vigil);
    let (session, _) = break_in(&world, &vault, &ben);
    keep(&vault, &mut vigil);
    vault.authenticate(&session, None).unwrap();
    let told = enter(&vault, &ana, &origin()).0.alerts(&AlertFilter::default()).unwrap();
    assert!(told.iter().any(|shown| shown.alert.subject.name == ben.id.as_str()));
    assert!(told.iter().all(|shown| shown.alert.at > Timestamp::from_millis(0)));
}
