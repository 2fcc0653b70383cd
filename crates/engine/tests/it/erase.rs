//! A person is erased: what told of them is gone, and every proof holds.

use std::fs;

use ringfence_engine::{
    EngineError, Vault,
    access::Role,
    schema::report::VerifyVerdict,
    team::Status,
    trail::{Filter, ShownEntry, mirror, verify_mirror, verify_trail},
};
use rusqlite::Connection;

use crate::{
    team::{Member, first, join, origin},
    world::{World, init},
};

fn acting<'s>(vault: &Vault<'s>, member: &Member) -> Vault<'s> {
    vault.acting(vault.authenticate(&member.token, origin().address).unwrap())
}

fn entries(vault: &Vault<'_>) -> Vec<ShownEntry> {
    let mut all = Vec::new();
    let mut take = |entry: &ShownEntry| {
        all.push(entry.clone());
        Ok(())
    };
    vault.search(&Filter::default(), None, &mut take).unwrap();
    all
}

/// Everything that the trail shows, as text.
fn shown(entries: &[ShownEntry]) -> String {
    entries.iter().map(|entry| serde_json::to_string(&entry.openings).unwrap().to_lowercase() + "\n").collect()
}

#[test]
fn a_person_is_erased_and_the_trail_still_verifies() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let ana = first(&vault);
    let zoe = join(&vault, &ana, "zoraphine.quillon", &[Role::Researcher]);
    let theirs = acting(&vault, &zoe);
    theirs.look("artifacts").unwrap();
    theirs.look("what zoraphine.quillon did").unwrap();
    assert!(matches!(theirs.erase_person(&ana.id, "out of spite"), Err(EngineError::Refused { .. })));
    let owner = acting(&vault, &ana);
    owner.look("people").unwrap();
    assert!(shown(&entries(&owner)).contains("zoraphine.quillon"));
    let all = entries(&owner);
    let told = all.iter().filter(|entry| entry.entry.actor == zoe.id.as_str() && entry.openings.contains_key("from"));
    assert!(told.count() >= 5);
    let copy = world.home.join("mirror");
    mirror(&settings, &copy).unwrap();
    let leaves: Vec<_> = entries(&owner).iter().map(|entry| entry.leaf).collect();

    // A reason stays for good, so it names nobody.
    assert!(matches!(owner.erase_person(&zoe.id, "Zoraphine.Quillon asked for it"), Err(EngineError::Usage { .. })));
    let erased = owner.erase_person(&zoe.id, "asked for it under article 17").unwrap();
    assert!(erased.entries >= 7 && erased.fields >= erased.entries, "{erased:?}");
    assert_eq!((erased.person.status, erased.person.display.as_str()), (Status::Disabled, "erased"));
    assert!(erased.person.factors.is_empty() && erased.person.name == zoe.id.as_str());
    assert!(vault.authenticate(&zoe.token, origin().address).is_err());

    let all = entries(&owner);
    assert!(!shown(&all).contains("zoraphine") && !shown(&all).contains("quillon"), "{}", shown(&all));
    let theirs_now: Vec<_> = all.iter().filter(|entry| entry.entry.actor == zoe.id.as_str()).collect();
    assert!(theirs_now.iter().all(|entry| !entry.openings.contains_key("from")));
    assert!(theirs_now.iter().filter(|entry| entry.entry.commits.contains_key("from")).count() >= 5);
    // What tells of others stays, and so do the leaves: proofs and earlier copies hold.
    assert!(all.iter().any(|entry| entry.entry.actor == ana.id.as_str() && entry.openings.contains_key("from")));
    assert!(all.iter().map(|entry| entry.leaf).collect::<Vec<_>>().starts_with(&leaves));
    let report = verify_trail(&settings, None, None, None).unwrap();
    assert_eq!(report.verdict, VerifyVerdict::Verified, "{report:?}");
    assert!(report.checks.iter().any(|check| check.name == "erasures" && check.passed), "{report:?}");
    mirror(&settings, &copy).unwrap();
    let root = world.home.join("root");
    fs::write(&root, fs::read(world.home.join("vault/root.json")).unwrap()).unwrap();
    assert_eq!(verify_mirror(&copy, &root, None, None).unwrap().verdict, VerifyVerdict::Verified);

    // Again: nothing is left to erase, and nothing breaks.
    let again = owner.erase_person(&zoe.id, "once more").unwrap();
    assert!(again.entries <= 2, "{again:?}");
    assert_eq!(verify_trail(&settings, None, None, None).unwrap().verdict, VerifyVerdict::Verified);
    // What nobody recorded is tampering as before.
    drop((owner, theirs, vault));
    let conn = Connection::open(world.catalog()).unwrap();
    conn.execute("UPDATE trail SET openings = x'00' WHERE idx = 1", []).unwrap();
    drop(conn);
    assert_eq!(verify_trail(&settings, None, None, None).unwrap().verdict, VerifyVerdict::Tampered);
}

#[test]
fn the_last_owner_stays() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let ana = first(&vault);
    let eve = join(&vault, &ana, "eve", &[Role::SecurityOfficer]);
    let officer = acting(&vault, &eve);
    assert!(officer.erase_person(&ana.id, "why not").is_err());
    assert_eq!(officer.person("ana").unwrap().status, Status::Active);
}
