//! What is held outside the vault follows what is acknowledged: by many threads, by reads, and against exchanged files.

use std::{collections::BTreeSet, thread};

use ringfence_engine::{
    EngineError, Settings, Vault,
    access::{PersonKind, Role},
    schema::report::VerifyVerdict,
    team::Invite,
    trail::verify_trail,
};
use rusqlite::Connection;

use crate::{
    team::{first, join, origin},
    world::{World, init},
};

/// Entries of recorded reads that what is held may be behind; the engine's own limit is not public.
const BEHIND_MAX: u64 = 1_024;

fn held(settings: &Settings<'_>, vault: &Vault<'_>) -> u64 {
    ringfence_engine::pins(settings).unwrap().checkpoint(vault.id()).unwrap().unwrap().size
}

fn rows(world: &World, sql: &str) -> u64 {
    let conn = Connection::open(world.catalog()).unwrap();
    conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned()
}

#[test]
fn nobody_is_told_of_an_act_before_it_is_held() {
    const THREADS: u64 = 8;
    const EACH: u64 = 6;
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let ana = first(&vault);
    let ben = join(&vault, &ana, "ben", &[Role::Researcher]);
    let caller = vault.authenticate(&ben.token, origin().address).unwrap();
    let ben = vault.acting(caller);
    let invite = Invite { name: "eve".into(), display: "Eve".into(), kind: PersonKind::Human, roles: BTreeSet::new() };
    let count = || rows(&world, "SELECT count(*) FROM checkpoint");
    let (before, entries) = (count(), rows(&world, "SELECT count(*) FROM trail"));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..EACH {
                    let known = rows(&world, "SELECT max(idx) FROM trail");
                    assert!(matches!(ben.invite(&invite), Err(EngineError::Refused { .. })));
                    assert!(held(&settings, &vault) > known, "its own entry came after {known}");
                }
            });
        }
    });
    assert_eq!(rows(&world, "SELECT count(*) FROM trail") - entries, THREADS * EACH);
    let transactions = count() - before;
    assert!(transactions < THREADS * EACH, "{transactions} transactions");
    assert_eq!(held(&settings, &vault), rows(&world, "SELECT count(*) FROM trail"));
    let report = verify_trail(&settings, None, None, None).unwrap();
    assert_eq!(report.verdict, VerifyVerdict::Verified, "{report:?}");
}

#[test]
fn what_is_held_follows_recorded_reads() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let ana = first(&vault);
    let caller = vault.authenticate(&ana.token, origin().address).unwrap();
    let ana = vault.acting(caller);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..400).for_each(|_| ana.look("artifacts").unwrap()));
        }
    });
    let size = rows(&world, "SELECT count(*) FROM trail");
    assert!(size > 3_200 && size - held(&settings, &vault) <= BEHIND_MAX + 16, "{size}");
    drop((ana, vault));
    // The next start proves that the trail leads on from there, and holds its end.
    let vault = Vault::open(&settings).unwrap();
    assert_eq!(held(&settings, &vault), size);
}

#[test]
fn a_trail_that_does_not_lead_on_from_what_is_held_is_not_opened() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    drop(first(&vault));
    // A tree of the same length over other leaves, in every stored hash, without the key to sign it.
    let conn = Connection::open(world.catalog()).unwrap();
    conn.execute_batch("DELETE FROM checkpoint WHERE size = (SELECT max(size) FROM checkpoint)").unwrap();
    drop(conn);
    let answer = vault.offer_setup();
    assert!(answer.is_err());
    drop(vault);
    assert!(matches!(Vault::open(&settings), Err(EngineError::Tampered { .. })));
}
