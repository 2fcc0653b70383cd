//! Destroying versions: what cannot be read any more, what is left, and who may.

use std::{fs, path::Path};

use ringfence_catalog::Catalog;
use ringfence_engine::{
    EngineError, Exemptions, Intake, Origin, Reading, Vault, Version,
    access::{Action, Role},
    alerts::AlertFilter,
    destroy::DESTROYED_RULE,
    schema::{
        Reference,
        report::{VerifyReport, VerifyVerdict},
    },
    team::{Fulfilled, RequestStanding, Wanted},
    trail::{Filter, ShownEntry, verify_trail},
};
use ringfence_trust::keys::{KeyState, Purpose, WrappedKey};
use rusqlite::Connection;

use crate::{
    approval::{Team, approve, by, waiting},
    team::join,
    world::{World, init},
};

const WHY: &str = "consent was withdrawn";
const MARK: &[u8] = b"a sentence that nobody may ever read again";

/// Bytes that nothing else repeats, with the mark at both ends.
fn bytes(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    });
    [MARK.to_vec(), noise.take(count).collect(), MARK.to_vec()].concat()
}

/// Admits code, which needs no keyless child.
fn add(world: &World, vault: &Vault<'_>, name: &str, files: &[(&str, &[u8])]) -> Version {
    let folder = world.home.join("in").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    for (path, content) in files {
        fs::write(folder.join(path), content).unwrap();
    }
    let admitted = vault.add(&Intake {
        from: Origin::Files(&folder),
        name: format!("code/{name}").parse().unwrap(),
        reading: Reading::default(),
        labels: None,
        exempt: Exemptions { no_scan: true, ..Exemptions::default() },
    });
    admitted.unwrap_or_else(|error| panic!("{error}")).version().clone()
}

fn find(vault: &Vault<'_>, name: &str) -> Version {
    vault.find(&name.parse::<Reference>().unwrap()).unwrap()
}

fn wraps(world: &World) -> Vec<WrappedKey> {
    let catalog = Catalog::open_read_only(&world.catalog()).unwrap();
    let keys = catalog.read(|view| view.keys()).unwrap();
    let packs = keys.into_iter().filter(|key| matches!(key.purpose, Purpose::Pack(..)));
    packs.flat_map(|key| key.wraps).collect()
}

/// Every byte of every file below `folder`, searched.
fn holds(folder: &Path, needle: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().map(Result::unwrap).any(|entry| {
        if entry.file_type().unwrap().is_dir() {
            return holds(&entry.path(), needle);
        }
        fs::read(entry.path()).unwrap().windows(needle.len()).any(|window| window == needle)
    })
}

/// The one field of a wrapped key that is secret.
fn sealed_key(wrapped: &WrappedKey) -> Vec<u8> {
    let row = serde_json::to_value(wrapped).unwrap();
    let longest = row.as_object().unwrap().values().filter_map(|value| value.as_str()).max_by_key(|text| text.len());
    longest.unwrap().as_bytes().to_vec()
}

fn detail(report: &VerifyReport, name: &str) -> String {
    report.checks.iter().find(|check| check.name == name).map_or_else(String::new, |check| check.detail.clone())
}

fn entries(vault: &Vault<'_>, action: &str) -> Vec<ShownEntry> {
    let mut found = Vec::new();
    let mut take = |entry: &ShownEntry| {
        if entry.entry.action == action {
            found.push(entry.clone());
        }
        Ok(())
    };
    vault.search(&Filter::default(), None, &mut take).unwrap();
    found
}

#[test]
fn its_bytes_are_gone_and_everything_says_so() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let (secret, common) = (bytes(300_000, 1), bytes(400_000, 2));
    let doomed = add(&world, &vault, "old", &[("secret.bin", &secret), ("common.bin", &common)]);
    let other = add(&world, &vault, "other", &[("common.bin", &common), ("own.bin", &bytes(100_000, 3))]);
    let before = wraps(&world);
    let copy = tempfile::tempdir().unwrap();
    let plan = vault.destruction(std::slice::from_ref(&doomed)).unwrap();
    assert_eq!((plan.versions.len(), plan.bytes), (1, doomed.bytes));
    assert_eq!((plan.shared[0].with.as_str(), plan.shared[0].bytes), ("code/other@1", common.len() as u64));
    assert!(matches!(vault.destroy(std::slice::from_ref(&doomed), "  "), Err(EngineError::Usage { .. })));

    let done = vault.destroy(std::slice::from_ref(&doomed), WHY).unwrap();
    assert!(done.scrubbed && done.keys >= 1);
    assert_eq!(done.resealed_bytes, common.len() as u64);
    // No wrapped key of then opens anything, nor lies in a freed page or in the write-ahead log.
    let after = wraps(&world);
    let lost: Vec<&WrappedKey> = before.iter().filter(|wrap| !after.contains(wrap)).collect();
    assert_eq!(lost.len() as u64, done.keys);
    for wrap in &lost {
        assert!(!holds(&world.home, &sealed_key(wrap)), "{:?}", wrap.id);
        assert!(!world.home.join("vault/store").join("admitted/packs").join(wrap.id.to_string()).exists());
    }
    assert!(after.iter().any(|wrap| holds(&world.home, &sealed_key(wrap))), "the test looks in the right place");
    // Whoever wants the bytes is told, plainly.
    let gone = find(&vault, "code/old@1");
    let told = gone.destroyed.clone().unwrap();
    assert_eq!((told.reason.as_str(), told.by.as_str(), told.entry), (WHY, "owner", done.entry));
    let to = copy.path().join("out");
    let refused: Vec<EngineError> = vec![
        vault.get(&gone, &to).unwrap_err(),
        vault.get(&doomed, &to).unwrap_err(),
        vault.rollback(&gone).map(drop).unwrap_err(),
        vault.begin_download(&gone).map(drop).unwrap_err(),
        vault.approve(&gone, "why not").map(drop).unwrap_err(),
        vault.destroy(std::slice::from_ref(&gone), "again").map(drop).unwrap_err(),
        vault.bill(&gone, None).map(drop).unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(error, EngineError::Destroyed { .. }), "{error}");
        assert!(error.to_string().contains(WHY), "{error}");
    }
    assert!(!to.exists());
    // What shared bytes with it is whole.
    vault.get(&other, &to).unwrap();
    assert_eq!(fs::read(to.join("common.bin")).unwrap(), common);
    let report = vault.verify_all().unwrap();
    assert_eq!(report.verdict, VerifyVerdict::Verified, "{report:?}");
    assert!(detail(&report, "code/old@1").contains("its keys are gone"), "{report:?}");
    let told = entries(&vault, "destroy");
    assert_eq!(told.iter().map(ShownEntry::word).collect::<Vec<_>>(), ["intended", "done"]);
    assert!(serde_json::to_string(&told[0].openings).unwrap().contains(WHY));
    // Its number is not given again.
    assert_eq!(add(&world, &vault, "old", &[("x", b"x")]).version, 2);
    drop(vault);
    let vault = Vault::open(&settings).unwrap();
    assert_eq!(vault.verify_all().unwrap().verdict, VerifyVerdict::Verified);
    assert!(matches!(
        vault.get(&find(&vault, "code/old@1"), &copy.path().join("2")),
        Err(EngineError::Destroyed { .. })
    ));
    assert_eq!(verify_trail(&settings, None, None, None).unwrap().verdict, VerifyVerdict::Verified);
}

#[test]
fn copies_go_together_or_not_at_all() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let first = add(&world, &vault, "net", &[("a.bin", &bytes(100_000, 1))]);
    add(&world, &vault, "net", &[("a.bin", &bytes(100_000, 2))]);
    let third = vault.rollback(&first).unwrap();
    let refused = vault.destroy(std::slice::from_ref(&first), WHY).unwrap_err();
    assert!(matches!(&refused, EngineError::Usage { what } if what.contains("code/net@3")), "{refused}");
    assert_eq!(entries(&vault, "destroy").len(), 0, "nothing was begun");
    let keys = wraps(&world).len();
    let done = vault.destroy(&[third, first.clone(), first], WHY).unwrap();
    let names: Vec<String> = done.versions.iter().map(|version| version.reference().to_string()).collect();
    assert_eq!(names, ["code/net@1", "code/net@3"]);
    // What it was in quarantine went with it.
    assert!(wraps(&world).len() <= keys - 2, "{} of {keys}", wraps(&world).len());
    vault.get(&find(&vault, "code/net@2"), &world.home.join("out")).unwrap();
    assert_eq!(vault.verify_all().unwrap().verdict, VerifyVerdict::Verified);
    // A key that comes back into the ledger is tampering, and opens nothing by itself.
    drop(vault);
    let connection = Connection::open(world.catalog()).unwrap();
    let (id, purpose): (String, String) = connection
        .query_row("SELECT id, purpose FROM ledger WHERE state = 'destroyed' LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    let forged = serde_json::json!({"x": purpose}).to_string();
    let one = "INSERT INTO wrap (id, wrapped_by, row) SELECT ?1, wrapped_by, ?2 FROM wrap LIMIT 1";
    connection.execute(one, (&id, forged.as_bytes())).unwrap();
    connection.execute("UPDATE ledger SET state = 'active' WHERE id = ?1", [&id]).unwrap();
    drop(connection);
    let opened = Vault::open(&settings).map(|vault| vault.verify_all());
    assert!(!matches!(opened, Ok(Ok(report)) if report.verdict == VerifyVerdict::Verified));
}

#[test]
fn nobody_else_has_the_vault_open_meanwhile() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let doomed = add(&world, &vault, "old", &[("a.bin", &bytes(50_000, 1))]);
    let beside = Vault::open(&settings).unwrap();
    let busy = vault.destroy(std::slice::from_ref(&doomed), WHY).unwrap_err();
    assert!(matches!(busy, EngineError::Busy { .. }), "{busy}");
    assert!(entries(&vault, "destroy").is_empty());
    beside.get(&doomed, &world.home.join("out")).unwrap();
    drop(beside);
    vault.destroy(std::slice::from_ref(&doomed), WHY).unwrap();
    // The lock is a shared one again.
    Vault::open(&settings).unwrap().versions().unwrap();
}

#[test]
fn an_intent_without_an_outcome_destroyed_nothing() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let doomed = add(&world, &vault, "old", &[("a.bin", &bytes(50_000, 1)), ("b.bin", &bytes(50_000, 2))]);
    add(&world, &vault, "new", &[("b.bin", &bytes(50_000, 2))]);
    // The disk says no in the middle: a folder that nobody may write to.
    let packs = world.home.join("vault/store/admitted/packs");
    let before = fs::read_dir(&packs).unwrap().count();
    let aside = world.home.join("packs");
    fs::rename(&packs, &aside).unwrap();
    let failed = vault.destroy(std::slice::from_ref(&doomed), WHY).unwrap_err();
    assert!(!matches!(failed, EngineError::Destroyed { .. }), "{failed}");
    fs::rename(&aside, &packs).unwrap();
    assert_eq!(entries(&vault, "destroy").iter().map(ShownEntry::word).collect::<Vec<_>>(), ["intended", "failed"]);
    drop(vault);
    let vault = Vault::open(&settings).unwrap();
    assert_eq!(fs::read_dir(&packs).unwrap().count(), before);
    vault.get(&find(&vault, "code/old@1"), &world.home.join("out")).unwrap();
    assert_eq!(vault.verify_all().unwrap().verdict, VerifyVerdict::Verified);
}

#[test]
fn where_several_share_the_vault_two_others_approve() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let secret = bytes(80_000, 1);
    let doomed = add(&world, &vault, "old", &[("a.bin", &secret)]);
    let team = Team::new(&vault);
    let zoe = join(&vault, &team.ana, "zoe", &[Role::Researcher]);
    let ben = by(&vault, &team.ben);
    let alone = ben.destroy(std::slice::from_ref(&doomed), WHY).unwrap_err();
    assert!(matches!(alone, EngineError::NeedsApproval { action: Action::Destroy, needed: 2, .. }), "{alone}");
    let other = by(&vault, &zoe).destroy(std::slice::from_ref(&doomed), WHY).unwrap_err();
    assert!(matches!(other, EngineError::Refused { .. }), "{other}");
    // Neither does a broken glass.
    let eva = by(&vault, &team.eva);
    eva.break_glass("the site is on fire").unwrap();
    let broken = eva.destroy(std::slice::from_ref(&doomed), WHY).unwrap_err();
    assert!(matches!(broken, EngineError::NeedsApproval { .. }), "{broken}");

    let wanted = Wanted::Destroy { what: vec!["code/old@1".to_owned()], reason: WHY.to_owned() };
    let request = waiting(ben.make_request(&wanted).unwrap());
    assert_eq!(request.document.reason.as_deref(), Some(WHY));
    assert!(request.document.canonical().unwrap().contains(WHY), "approvers sign the reason");
    for words in ["code/old@1", "destroy the keys", &doomed.tree.to_string()] {
        assert!(request.document.says.contains(words), "{}", request.document.says);
    }
    for member in [&team.ana, &team.eva] {
        approve(&vault, member, &request.id).unwrap();
    }
    // Good for exactly this, with exactly this reason.
    let other = ben.with_approval(&request.id).destroy(std::slice::from_ref(&doomed), "something else");
    assert!(matches!(other, Err(EngineError::NeedsApproval { .. })), "{other:?}");
    let Fulfilled::Destroyed(done) = ben.carry_out_request(&request.id).unwrap() else { panic!("something else") };
    assert_eq!(done.versions[0].destroyed.as_ref().unwrap().by, team.ben.id.to_string());
    assert!(matches!(ben.request(&request.id).unwrap().standing, RequestStanding::Used { .. }));
    // Everybody hears of it.
    let alerts = by(&vault, &team.ana).alerts(&AlertFilter::default()).unwrap();
    let told = alerts.iter().find(|shown| shown.alert.rule == DESTROYED_RULE).unwrap();
    assert!(told.alert.message.contains("code/old@1") && told.alert.message.contains(WHY), "{}", told.alert.message);
    let ana = by(&vault, &team.ana);
    let again = ana.ask(|vault| vault.begin_download(&find(vault, "code/old@1")));
    assert!(matches!(again, Err(EngineError::Destroyed { .. })), "{again:?}");
    assert_eq!(ana.verify_all().unwrap().verdict, VerifyVerdict::Verified);
    let catalog = Catalog::open_read_only(&world.catalog()).unwrap();
    let keys = catalog.read(|view| view.keys()).unwrap();
    let gone = keys.iter().filter(|key| key.state == KeyState::Destroyed);
    assert_eq!(gone.count() as u64, done.keys);
}
