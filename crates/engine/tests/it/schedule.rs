//! What is done by itself: planned by those who may, carried out once when it is due, recorded, and loud when it fails.

use std::{collections::BTreeSet, fs};

use ringfence_engine::{
    EngineError, Vault,
    access::{Person, PersonKind, Role},
    alerts::{AlertFilter, ShownAlert},
    schedule::{Cadence, Came, Job, MIRROR_FOLDER, SCHEDULES_MAX},
    team::Caller,
    trail::Filter,
};

use crate::world::{World, init};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

fn daily(world: &World) -> Cadence {
    Cadence::parse("1d", None, world.now()).unwrap()
}

/// Subject and end of the acts on schedules, oldest first.
fn record(vault: &Vault<'_>, action: &str) -> Vec<String> {
    let filter = Filter { what: Some(action.to_owned()), ..Filter::default() };
    let mut told = Vec::new();
    vault
        .search(&filter, None, &mut |entry| {
            told.push(format!("{} {}", entry.subject().rsplit(' ').next().unwrap(), entry.word()));
            Ok(())
        })
        .unwrap();
    told
}

fn alerts(vault: &Vault<'_>) -> Vec<ShownAlert> {
    vault.alerts(&AlertFilter::default()).unwrap()
}

#[test]
fn what_is_due_is_done_once_and_recorded() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    fs::create_dir(settings.config.join(MIRROR_FOLDER)).unwrap();
    for job in [Job::Audit, Job::Verify, Job::Rescan, Job::Mirror, Job::Attack] {
        vault.add_schedule(job, daily(&world)).unwrap();
    }
    assert_eq!(vault.carry_out_due().unwrap(), []);
    world.pass(DAY_MS - 1);
    assert_eq!(vault.carry_out_due().unwrap(), []);
    // Nine and a half days later: once, and then not again before the tenth is over.
    let now = world.pass(DAY_MS / 2 + 9 * DAY_MS + 1);
    let done = vault.carry_out_due().unwrap();
    assert_eq!(done.len(), 5);
    for schedule in &done {
        let last = schedule.last.as_ref().unwrap();
        assert_eq!((last.came, last.missed), (Came::Clean, 9), "{schedule:?}");
        assert_eq!(schedule.due.millis() - now.millis(), DAY_MS / 2);
        assert_eq!(schedule.done, Some(last.ended));
    }
    assert_eq!(vault.carry_out_due().unwrap(), []);
    assert!(settings.config.join(MIRROR_FOLDER).join("checkpoint").exists());
    assert_eq!(vault.schedules().unwrap().len(), 5);
    let told = record(&vault, "verify");
    for job in ["audit", "verify", "rescan", "mirror", "attack"] {
        let own: Vec<&String> = told.iter().filter(|line| line.starts_with(&format!("{job} "))).collect();
        assert_eq!(own, [&format!("{job} intended"), &format!("{job} done")]);
    }
    assert_eq!(alerts(&vault).len(), 0);
    // Another process sees the same, and the trail holds.
    drop(vault);
    let again = Vault::open(&settings).unwrap();
    assert_eq!(again.schedules().unwrap(), {
        let mut sorted = done;
        sorted.sort_by(|a, b| (a.due, &a.id).cmp(&(b.due, &b.id)));
        sorted
    });
    assert!(again.verify_trail().unwrap().checks.iter().all(|check| check.passed));
}

#[test]
fn what_fails_is_an_alert_and_goes_on_at_the_next_time() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    // There is no mirror folder, and no program that a drill could start.
    vault.add_schedule(Job::Mirror, daily(&world)).unwrap();
    vault.add_schedule(Job::Drill, daily(&world)).unwrap();
    for round in 1..=2_usize {
        world.pass(DAY_MS);
        let done = vault.carry_out_due().unwrap();
        assert!(
            done.iter().all(|schedule| schedule.last.as_ref().unwrap().came == Came::Failed && schedule.done.is_none())
        );
        assert!(done.iter().all(|schedule| schedule.due > world.now()));
        let raised = alerts(&vault);
        assert_eq!(raised.len(), 2 * round);
        assert!(raised.iter().all(|shown| shown.alert.rule == "RF-SCH-001"));
        assert_eq!(record(&vault, "verify").iter().filter(|line| line.ends_with("failed")).count(), 2 * round);
    }
    let said = alerts(&vault).into_iter().map(|shown| shown.alert.message).collect::<Vec<_>>();
    assert!(said.iter().any(|said| said.contains("no such folder in the configuration")), "{said:?}");
}

#[test]
fn what_was_tampered_with_is_found() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    vault.add_schedule(Job::Audit, daily(&world)).unwrap();
    let db = rusqlite::Connection::open(world.catalog()).unwrap();
    let changed = db.execute("UPDATE trail SET leaf = zeroblob(length(leaf)) WHERE idx = 1", []).unwrap();
    assert_eq!(changed, 1);
    drop(db);
    world.pass(DAY_MS);
    let done = vault.carry_out_due();
    // Found, or so wrong that it cannot even be recorded: never clean.
    let clean =
        done.is_ok_and(|done| done.iter().any(|one| one.last.as_ref().is_some_and(|last| last.came == Came::Clean)));
    assert!(!clean);
}

#[test]
fn plans_have_limits() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let usage = |done: Result<_, EngineError>| matches!(done, Err(EngineError::Usage { .. }));
    let now = world.now();
    for every_ms in [0, 1, DAY_MS / 24 - 1, 367 * DAY_MS, u64::MAX] {
        assert!(usage(vault.add_schedule(Job::Audit, Cadence { every_ms, first: now })), "{every_ms}");
    }
    let far = Cadence { every_ms: DAY_MS, first: now.plus_millis(367 * DAY_MS) };
    assert!(usage(vault.add_schedule(Job::Audit, far)));
    for hours in 1..=SCHEDULES_MAX as u64 {
        let cadence = Cadence { every_ms: hours * DAY_MS / 24, first: now };
        vault.add_schedule(Job::Audit, cadence).unwrap();
        assert!(usage(vault.add_schedule(Job::Audit, cadence)), "the same as often");
    }
    assert!(usage(vault.add_schedule(Job::Verify, daily(&world))), "too many");
    for schedule in vault.schedules().unwrap() {
        vault.remove_schedule(&schedule.id).unwrap();
        assert!(matches!(vault.remove_schedule(&schedule.id), Err(EngineError::NotFound { .. })));
    }
    assert_eq!(vault.schedules().unwrap(), []);
    assert!(matches!("backup".parse::<Job>(), Err(EngineError::Usage { .. })));
}

#[test]
fn who_may_not_plan_is_refused_and_the_refusal_is_recorded() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let planned = vault.add_schedule(Job::Audit, daily(&world)).unwrap();
    for roles in
        [BTreeSet::from([Role::SecurityOfficer]), BTreeSet::from([Role::Owner, Role::Auditor]), BTreeSet::new()]
    {
        let person = Person { id: "somebody".into(), kind: PersonKind::Human, roles };
        let theirs = vault.acting(Caller { person, ..vault.caller().clone() });
        // One person's vault knows its owner alone, and an auditor changes nothing.
        assert!(matches!(theirs.add_schedule(Job::Verify, daily(&world)), Err(EngineError::Refused { .. })));
        assert!(matches!(theirs.remove_schedule(&planned.id), Err(EngineError::Refused { .. })));
    }
    assert_eq!(record(&vault, "schedule").iter().filter(|line| line.ends_with("denied")).count(), 6);
    assert_eq!(vault.schedules().unwrap(), [planned]);
}
