//! Alerts in the trail: filed once, listed, acknowledged, kept from prying eyes.

use std::fs;

use ringfence_engine::{
    EngineError, Vault,
    alerts::{ALERTS_PER_ENTRY_MAX, AlertFilter, AlertState},
    schema::{
        Severity,
        alert::{Alert, Subject, SubjectKind},
    },
    trail::verify_trail,
};
use rusqlite::Connection;

use crate::world::{World, alert, ids, init, some, webhook};

fn listed(vault: &Vault<'_>, filter: &AlertFilter) -> Vec<Alert> {
    vault.alerts(filter).unwrap().into_iter().map(|shown| shown.alert).collect()
}

fn intact(world: &World) {
    let report = verify_trail(&world.settings(), None, None, None).unwrap();
    assert!(report.checks.iter().all(|check| check.passed), "{:?}", report.checks);
}

#[test]
fn an_alert_is_filed_once() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let alerts = some(0..70);
    let raised = vault.raise(&alerts).unwrap();
    assert_eq!((raised.filed, raised.known), (ids(&alerts), 0));
    assert_eq!(raised.entries.len(), alerts.len().div_ceil(ALERTS_PER_ENTRY_MAX));
    let again = vault.raise(&some(60..80)).unwrap();
    assert_eq!((again.filed.len(), again.known), (10, 10));
    assert!(vault.raise(&alerts).unwrap().entries.is_empty());
    let all: Vec<_> = some(0..80).into_iter().rev().collect();
    assert_eq!(listed(&vault, &AlertFilter::default()), all);
    let newest = AlertFilter { limit: Some(3), ..AlertFilter::default() };
    assert_eq!(listed(&vault, &newest), all[..3]);
    let subject = Some(Subject { kind: SubjectKind::Run, name: "r-3".into() });
    assert_eq!(listed(&vault, &AlertFilter { subject, ..AlertFilter::default() }).len(), 11);
    let critical = AlertFilter { min_severity: Some(Severity::Critical), ..AlertFilter::default() };
    assert!(listed(&vault, &critical).is_empty());
    let since = AlertFilter { since: Some(alert(75).at), ..AlertFilter::default() };
    assert_eq!(listed(&vault, &since).len(), 5);
    drop(vault);
    intact(&world);
    assert_eq!(listed(&Vault::open(&settings).unwrap(), &AlertFilter::default()), all);
}

#[test]
fn text_beyond_its_limit_is_cut_and_nothing_stands_in_the_clear() {
    let world = World::new(&[9]);
    world.sinks(&webhook("ops", 9));
    let settings = world.settings();
    let vault = init(&settings);
    let mut long = alert(1);
    long.message = "\u{1f600}\u{202e}".repeat(5_000);
    long.confidence = f64::NAN;
    vault.raise(&[long, alert(2)]).unwrap();
    vault.deliver(world.now(), 1).unwrap();
    let shown = vault.alerts(&AlertFilter::default()).unwrap();
    assert!(shown[1].alert.message.len() <= 1_024 && shown[1].alert.confidence == 0.0);
    drop(vault);
    let bytes = fs::read(world.catalog()).unwrap();
    let holds = |word: &str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
    assert!(!holds("unmistakable") && !holds(&alert(2).id.hex()) && !holds("RF-WCH"), "what an alert says is sealed");
}

#[test]
fn acknowledgements_hold_for_as_long_as_they_say() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    vault.raise(&some(0..3)).unwrap();
    let until = world.now().plus_millis(60_000);
    let said = vault.acknowledge(alert(0).id, " maintenance ", Some(until)).unwrap();
    assert_eq!((said.by.as_str(), said.reason.as_str(), said.until), ("owner", "maintenance", Some(until)));
    vault.acknowledge(alert(1).id, "known", None).unwrap();
    let open = AlertFilter { state: Some(AlertState::Open), ..AlertFilter::default() };
    let done = AlertFilter { state: Some(AlertState::Acknowledged), ..AlertFilter::default() };
    assert_eq!((listed(&vault, &open).len(), listed(&vault, &done).len()), (1, 2));
    world.pass(60_001);
    assert_eq!((listed(&vault, &open).len(), listed(&vault, &done).len()), (2, 1));
    let shown = vault.alerts(&open).unwrap();
    assert_eq!(shown[1].acknowledged.as_ref(), Some(&said), "who said so stays");
    assert!(matches!(vault.acknowledge(alert(9).id, "x", None), Err(EngineError::NotFound { .. })));
    assert!(matches!(vault.acknowledge(alert(0).id, " ", None), Err(EngineError::Usage { .. })));
    assert!(matches!(vault.acknowledge(alert(0).id, "x", Some(until)), Err(EngineError::Usage { .. })));
    let text = serde_json::to_value(&shown[0]).unwrap();
    assert_eq!((text["state"].as_str(), text["kind"].as_str()), (Some("open"), Some("miner")));
    drop(vault);
    intact(&world);
    // The rows are folds of the trail: one that was changed behind its back shows.
    let db = Connection::open(world.catalog()).unwrap();
    assert_eq!(db.execute("DELETE FROM state WHERE tbl = 'acknowledgement' AND key = (SELECT key FROM state WHERE tbl = 'acknowledgement' LIMIT 1)", []).unwrap(), 1);
    drop(db);
    assert!(matches!(Vault::open(&settings), Err(EngineError::Tampered { .. })));
}

#[test]
fn a_list_of_sinks_that_cannot_be_read_loses_nothing() {
    let world = World::new(&[9]);
    world.sinks(&webhook("ops", 9));
    let settings = world.settings();
    init(&settings).raise(&some(0..1)).unwrap();
    world.sinks("[[sink]]\nname = 7");
    let vault = Vault::open(&settings).unwrap();
    vault.raise(&some(1..3)).unwrap();
    for error in [vault.deliver(world.now(), 0).err(), vault.sinks().err(), vault.test_sink("ops", world.now()).err()] {
        assert!(matches!(error, Some(EngineError::Plan { .. })), "{error:?}");
    }
    drop(vault);
    world.sinks(&webhook("ops", 9));
    assert_eq!(Vault::open(&settings).unwrap().sinks().unwrap()[0].pending, 3);
}

#[test]
fn what_is_moved_about_in_a_queue_is_not_sent() {
    for change in [
        "UPDATE outbox SET bytes = (SELECT bytes FROM outbox WHERE seq = 2) WHERE seq = 1",
        "UPDATE outbox SET seq = -seq; UPDATE outbox SET seq = 4 + seq",
        "UPDATE outbox SET key = zeroblob(32) WHERE seq = 1",
        "DELETE FROM outbox WHERE seq = 1",
    ] {
        let world = World::new(&[9]);
        world.sinks(&webhook("ops", 9));
        let settings = world.settings();
        init(&settings).raise(&some(0..3)).unwrap();
        let db = Connection::open(world.catalog()).unwrap();
        db.execute_batch("PRAGMA ignore_check_constraints = ON").unwrap();
        db.execute_batch(change).unwrap();
        drop(db);
        let vault = Vault::open(&settings).unwrap();
        let before = vault.trail(u64::MAX).unwrap().len();
        let end = format!("{:?}", vault.deliver(world.now(), 0).unwrap().sinks[0].end);
        assert!(end.contains("tampered"), "{change}: {end}");
        assert_eq!(vault.trail(u64::MAX).unwrap().len(), before, "nothing was sent");
        // The way out: give the queue up and take its alerts from the trail.
        vault.forget_sink("ops").unwrap();
        assert_eq!(vault.resend("ops", 0, u64::MAX).unwrap(), 3);
        assert_eq!(vault.sinks().unwrap()[0].pending, 3);
    }
}

#[test]
fn a_vault_from_before_there_were_sinks_opens_and_gets_queues() {
    let world = World::new(&[9]);
    world.sinks(&webhook("ops", 9));
    let settings = world.settings();
    drop(init(&settings));
    let old = "DROP TABLE subtree; DROP TABLE aside; DROP TABLE refused; DROP TABLE outbox; DROP TABLE sink; \
               DROP TABLE alert; PRAGMA user_version = 1;";
    Connection::open(world.catalog()).unwrap().execute_batch(old).unwrap();
    intact(&world);
    let vault = Vault::open(&settings).unwrap();
    vault.raise(&some(0..2)).unwrap();
    assert_eq!(vault.sinks().unwrap()[0].pending, 2);
    drop(vault);
    intact(&world);
}

#[test]
fn what_becomes_worse_is_told_again_under_the_same_id() {
    let world = World::new(&[9]);
    world.sinks(&webhook("ops", 9));
    let settings = world.settings();
    let vault = init(&settings);
    let first = Alert { severity: Severity::Medium, ..alert(1) };
    let worse = Alert { severity: Severity::High, message: "worse".into(), ..first.clone() };
    vault.raise(std::slice::from_ref(&first)).unwrap();
    vault.acknowledge(first.id, "seen", None).unwrap();
    let state =
        || vault.alerts(&AlertFilter::default()).unwrap().into_iter().map(|shown| shown.state).collect::<Vec<_>>();
    assert_eq!(state(), [AlertState::Acknowledged]);
    assert_eq!(vault.raise(std::slice::from_ref(&worse)).unwrap().filed, [first.id]);
    assert_eq!(state(), [AlertState::Open]);
    // Neither of the two again, and what is listed is the worst.
    for known in [&first, &worse] {
        assert_eq!(vault.raise(std::slice::from_ref(known)).unwrap().known, 1);
    }
    assert_eq!(listed(&vault, &AlertFilter::default()), std::slice::from_ref(&worse));
    assert_eq!(vault.sinks().unwrap()[0].pending, 2);
    vault.acknowledge(first.id, "seen again", None).unwrap();
    assert_eq!(state(), [AlertState::Acknowledged]);
    drop(vault);
    intact(&world);
}
