//! A sink that is down loses nothing: every alert arrives, in order, under the id that it was given once.

use std::{
    collections::BTreeSet,
    env,
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use ringfence_engine::{
    EngineError, Vault,
    alerts::{AlertFilter, Delivered, REFUSALS_MAX, REFUSED_MS_MAX, SinkPassEnd},
    reach::testing::{Fault, MailMode, MailServer, Reply, Server, SyslogServer, server_tls},
    schema::{Digest, Severity, Timestamp, trail::Outcome},
};

use crate::world::{Inbox, World, alert, firsts, ids, init, some, tls_file, webhook};

const MINUTE_MS: u64 = 60_000;

/// A port that nobody listens on for now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn end<'d>(delivered: &'d Delivered, name: &str) -> &'d SinkPassEnd {
    &delivered.sinks.iter().find(|pass| pass.name == name).unwrap().end
}

/// Passes until nothing waits, a minute apart; how many it took.
fn drain(world: &World, vault: &Vault<'_>) -> u64 {
    for passes in 1..200 {
        if vault.deliver(world.pass(MINUTE_MS), passes).unwrap().is_complete() {
            return passes;
        }
    }
    panic!("{:?}", vault.sinks().unwrap());
}

#[test]
fn a_sink_that_was_down_for_an_hour_gets_everything_in_order() {
    let (down, up) = (Inbox::default(), Inbox::default());
    let port = free_port();
    let up_server = up.start(0);
    let tls = server_tls(&tls_file("server.pem"), &tls_file("server.key")).unwrap();
    let syslog = SyslogServer::start(Some(tls)).unwrap();
    syslog.set_down(true);
    let world = World::new(&[port, up_server.port(), syslog.port()]);
    let lines = world.home.join("alerts.jsonl");
    world.sinks(&format!(
        "{}{}[[sink]]\nname = \"siem\"\nmin-severity = \"info\"\nto.syslog = {{ server = \"localhost:{}\" }}\n\
         [[sink]]\nname = \"file\"\nto.file = {{ path = \"{}\" }}\n\
         [[sink]]\nname = \"quiet\"\nmin-severity = \"critical\"\nto.webhook = {{ url = \"http://127.0.0.1:{port}/q\" }}\n",
        webhook("down", port),
        webhook("up", up_server.port()),
        syslog.port(),
        lines.display()
    ));
    let settings = world.settings();
    let vault = init(&settings);
    let mut raised = Vec::new();
    let mut attempts = 0;
    for minute in 0..60 {
        let alerts = some(minute * 70..(minute + 1) * 70);
        vault.raise(&alerts).unwrap();
        raised.extend(ids(&alerts));
        let delivered = vault.deliver(world.pass(MINUTE_MS), minute * 7_919).unwrap();
        attempts += u32::from(matches!(end(&delivered, "down"), SinkPassEnd::Failed { .. }));
        assert_eq!(end(&delivered, "up"), &SinkPassEnd::Empty, "one that is down does not hold up another");
        assert_eq!(up.ids(), raised, "minute {minute}");
    }
    let status = vault.sinks().unwrap();
    assert_eq!((status[0].pending, status[0].delivered, status[2].pending), (4_200, 0, 4_200));
    assert!(status[0].last_failure.as_ref().unwrap().contains("127.0.0.1") && status[0].failures == attempts);
    assert!((12..30).contains(&attempts), "the waits grow: {attempts} attempts");
    assert_eq!((status[4].pending, status[4].delivered), (0, 0), "not severe enough for this one");
    drop(vault);
    // It is back, and the vault is opened anew, as after a restart.
    let vault = Vault::open(&settings).unwrap();
    let server = down.start(port);
    syslog.set_down(false);
    let passes = drain(&world, &vault);
    assert!(passes <= 10, "{passes} minutes");
    assert_eq!(down.ids(), raised);
    let told: Vec<String> = syslog.messages().iter().map(|message| between(message, "id=\"alert-", "\"")).collect();
    assert_eq!(told, raised.iter().map(Digest::hex).collect::<Vec<_>>());
    let file = std::fs::read_to_string(&lines).unwrap();
    let told: Vec<String> = file.lines().map(|line| between(line, "\"finding_info\":", "}") + line).collect();
    assert!(told.len() == raised.len() && told.iter().zip(&raised).all(|(line, id)| line.contains(&id.hex())));
    assert!(vault.sinks().unwrap().iter().all(|sink| sink.pending == 0 && sink.failures == 0));
    drop((vault, server));
    let report = ringfence_engine::trail::verify_trail(&settings, None, None, None).unwrap();
    assert!(report.checks.iter().all(|check| check.passed), "{:?}", report.checks);
}

fn between(text: &str, from: &str, to: &str) -> String {
    text.split_once(from)
        .and_then(|(_, rest)| rest.split_once(to))
        .map_or_else(String::new, |(inner, _)| inner.to_owned())
}

#[test]
fn a_sink_that_flaps_gets_everything_in_order() {
    let inbox = Inbox::default();
    let server = inbox.start(0);
    let world = World::hasty(&[server.port()]);
    world.sinks(&webhook("flaps", server.port()));
    let settings = world.settings();
    let vault = init(&settings);
    let alerts = some(0..400);
    vault.raise(&alerts).unwrap();
    let status = |status, wait: &str| Fault::Instead(Reply::new(status, &b""[..]).with("retry-after", wait));
    let faults = [
        status(500, "0"),
        Fault::CutAfter(1),
        status(429, "1800"),
        Fault::DripHead(60),
        Fault::ClaimLength(500),
        Fault::Raw(b"nonsense\r\n".to_vec()),
        status(503, "10"),
        status(403, "0"),
        Fault::HugeHeader(100_000),
    ];
    let mut now = world.now();
    for (round, fault) in faults.iter().enumerate() {
        // Some are taken, then one goes wrong.
        server.spoil("/hook", 1, fault.clone());
        let delivered = vault.deliver(now, 0).unwrap();
        let SinkPassEnd::Failed { next_attempt, why } = end(&delivered, "flaps") else {
            panic!("{fault:?}: {delivered:?}")
        };
        let wait_ms = next_attempt.millis() - now.millis();
        match fault {
            Fault::Instead(Reply { status: 429, .. }) => assert_eq!(wait_ms, 1_800_000, "its wish is heard"),
            _ => assert!((500..=300_000).contains(&wait_ms), "round {round}: {wait_ms} ms"),
        }
        assert_eq!(vault.sinks().unwrap()[0].last_failure.as_ref(), Some(why));
        let early = Timestamp::from_millis(next_attempt.millis() - 1);
        assert_eq!(end(&vault.deliver(early, 0).unwrap(), "flaps"), &SinkPassEnd::Waits(*next_attempt));
        now = *next_attempt;
    }
    world.pass(now.millis() - world.now().millis());
    drain(&world, &vault);
    let came = inbox.ids();
    assert_eq!(firsts(&came), ids(&alerts), "all, in order");
    assert!(came.len() > alerts.len(), "what was cut off came again, under the same id");
    let known: BTreeSet<Digest> = ids(&alerts).into_iter().collect();
    assert!(came.iter().all(|id| known.contains(id)));
}

/// Started by the next test in a process of its own, and killed there.
#[test]
#[ignore = "a part of the test that kills it"]
fn child_that_is_killed() {
    let Some(home) = env::var_os("RINGFENCE_TEST_HOME") else { return };
    let port = env::var("RINGFENCE_TEST_PORT").unwrap().parse().unwrap();
    let world = World::at(home.as_ref(), &[port]);
    let settings = world.settings();
    let vault = Vault::open(&settings).unwrap();
    let _ = vault.deliver(world.now(), 1);
    unreachable!("it was to be killed");
}

#[test]
fn a_process_that_is_killed_between_sending_and_saying_so_repeats_the_same_ids() {
    let inbox = Inbox::default();
    let child: Arc<Mutex<Option<Child>>> = Arc::default();
    let (inner, kept) = (Arc::clone(&child), inbox.clone());
    let server = Server::start(0, move |request| {
        kept.take(request);
        if kept.ids().len() == 40
            && let Some(mut child) = inner.lock().unwrap().take()
        {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        Reply::new(200, &b"{}"[..])
    })
    .unwrap();
    let world = World::new(&[server.port()]);
    world.sinks(&webhook("ops", server.port()));
    let settings = world.settings();
    let alerts = some(0..100);
    init(&settings).raise(&alerts).unwrap();
    let mut holding = child.lock().unwrap();
    let started = Command::new(env::current_exe().unwrap())
        .args(["--exact", "delivery::child_that_is_killed", "--ignored"])
        .env("RINGFENCE_TEST_HOME", &world.home)
        .env("RINGFENCE_TEST_PORT", server.port().to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    *holding = Some(started);
    drop(holding);
    let patience = Instant::now() + Duration::from_mins(1);
    while child.lock().unwrap().is_some() {
        assert!(Instant::now() < patience, "the child never got so far");
        thread::yield_now();
    }
    let vault = Vault::open(&settings).unwrap();
    assert_eq!(vault.sinks().unwrap()[0].pending, 100, "the cursor did not move");
    let closed = vault.trail(1).unwrap().pop().unwrap();
    assert_eq!((closed.entry.action.as_str(), closed.entry.outcome), ("deliver", Some(Outcome::Unknown)));
    drain(&world, &vault);
    let came = inbox.ids();
    assert_eq!(came[..40], ids(&alerts)[..40]);
    assert_eq!(came[40..], ids(&alerts)[..], "all of them, the first forty a second time");
}

#[test]
fn one_process_at_a_time_delivers_to_a_sink() {
    let world = World::new(&[9]);
    world.sinks(&webhook("ops", 9));
    let settings = world.settings();
    let vault = init(&settings);
    vault.raise(&some(0..1)).unwrap();
    let other = std::fs::File::create(world.home.join("vault/outbox-ops.lock")).unwrap();
    other.lock().unwrap();
    assert_eq!(end(&vault.deliver(world.now(), 0).unwrap(), "ops"), &SinkPassEnd::Busy);
    drop(other);
    assert!(matches!(end(&vault.deliver(world.now(), 0).unwrap(), "ops"), SinkPassEnd::Failed { .. }));
}

#[test]
fn alerts_go_out_while_something_else_runs() {
    let (inbox, port) = (Inbox::default(), free_port());
    let server = inbox.start(0);
    let mail = MailServer::start(MailMode::Plain).unwrap();
    let world = World::new(&[server.port(), mail.port(), port]);
    let figures = world.home.join("ringfence.prom");
    world.sinks(&format!(
        "{}{}[[sink]]\nname = \"mail\"\nto.mail = {{ server = \"127.0.0.1:{}\", security = \"insecure\", \
         from = \"r@example.org\", to = [\"ann@example.org\"] }}\n\
         [[sink]]\nname = \"figures\"\nto.prometheus = {{ path = \"{}\" }}\n",
        webhook("down", port),
        webhook("ops", server.port()),
        mail.port(),
        figures.display()
    ));
    let settings = world.settings();
    let vault = init(&settings);
    let alerts = some(0..20);
    vault.raise(&alerts[..1]).unwrap();
    let answer = vault.dispatching(|| {
        for alert in &alerts[1..] {
            vault.raise(std::slice::from_ref(alert)).unwrap();
        }
        let patience = Instant::now() + Duration::from_mins(1);
        while (inbox.ids().len(), mail.mails().len()) != (20, 20) {
            assert!(Instant::now() < patience, "{:?}", vault.sinks().unwrap());
            thread::yield_now();
        }
        vault.raise(&some(20..21)).unwrap();
        42
    });
    assert_eq!(answer, 42);
    // What was raised at the very end went out before it was over.
    assert_eq!(inbox.ids(), ids(&some(0..21)));
    let told: Vec<String> = mail.mails().iter().map(|mail| between(&mail.data, "<alert-", "@")).collect();
    assert_eq!(told, some(0..21).iter().map(|alert| alert.id.hex()).collect::<Vec<_>>());
    assert_eq!(vault.sinks().unwrap()[0].pending, 21);
    let figures = std::fs::read_to_string(figures).unwrap();
    assert!(figures.contains("ringfence_sink_pending{sink=\"down\"}"), "{figures}");
}

#[test]
fn sinks_are_tried_fed_again_and_given_up() {
    let inbox = Inbox::default();
    let server = inbox.start(0);
    let world = World::new(&[server.port()]);
    world.sinks("");
    let settings = world.settings();
    let vault = init(&settings);
    let entries = vault.raise(&some(0..40)).unwrap().entries;
    assert!(matches!(vault.test_sink("ops", world.now()), Err(EngineError::NotFound { what: "sink", .. })));
    drop(vault);
    // A sink that is named later gets what was raised before on request.
    world.sinks(&webhook("ops", server.port()));
    let vault = Vault::open(&settings).unwrap();
    vault.test_sink("ops", world.now()).unwrap();
    assert_eq!(inbox.ids().len(), 1);
    assert_eq!(vault.resend("ops", entries[0], entries[0]).unwrap(), 32);
    drain(&world, &vault);
    assert_eq!(inbox.ids()[1..], ids(&some(0..32))[..]);
    server.spoil("/hook", 1, Fault::Instead(Reply::new(500, &b""[..])));
    assert!(matches!(vault.test_sink("ops", world.now()), Err(EngineError::Reach(_))));
    vault.raise(&[alert(50), ringfence_engine::schema::alert::Alert { severity: Severity::Low, ..alert(51) }]).unwrap();
    drop(vault);
    world.sinks("");
    let vault = Vault::open(&settings).unwrap();
    let status = vault.sinks().unwrap();
    assert_eq!((status[0].name.as_str(), status[0].kind, status[0].pending), ("ops", None, 1));
    assert_eq!(vault.forget_sink("ops").unwrap(), 1);
    assert!(vault.sinks().unwrap().is_empty() && vault.forget_sink("ops").is_err());
    assert_eq!(serde_json::to_value(&status).unwrap()[0]["delivered"], 32);
}

/// A receiver that refuses the alerts of a list, which can change, with this status.
fn picky(inbox: &Inbox, refused: &Arc<Mutex<Vec<Digest>>>, status: u16) -> Server {
    let (inbox, refused) = (inbox.clone(), Arc::clone(refused));
    Server::start(0, move |request| {
        let id = request.header("webhook-id").unwrap().trim_start_matches("alert-").to_owned();
        if refused.lock().unwrap().iter().any(|refused| refused.hex() == id) {
            return Reply::new(status, &b"not this one"[..]);
        }
        inbox.take(request);
        Reply::new(200, &b"{}"[..])
    })
    .unwrap()
}

#[test]
fn what_a_sink_refuses_for_good_is_set_aside_and_the_rest_goes_on_in_order() {
    let inbox = Inbox::default();
    let alerts = some(0..40);
    let bad: Vec<Digest> = [7, 8, 30].iter().map(|at: &usize| alerts[*at].id).collect();
    let refused = Arc::new(Mutex::new(bad.clone()));
    let server = picky(&inbox, &refused, 413);
    let world = World::new(&[server.port()]);
    world.sinks(&webhook("ops", server.port()));
    let settings = world.settings();
    let vault = init(&settings);
    let mut entries = Vec::new();
    for alert in &alerts {
        entries.extend(vault.raise(std::slice::from_ref(alert)).unwrap().entries);
    }
    let mut now = world.now();
    for _ in 1..REFUSALS_MAX {
        let delivered = vault.deliver(now, 0).unwrap();
        let SinkPassEnd::Failed { next_attempt, why } = end(&delivered, "ops") else { panic!("{delivered:?}") };
        assert!(why.contains("413"), "{why}");
        assert_eq!(inbox.ids(), ids(&alerts[..7]), "the queue waits for it a while");
        now = *next_attempt;
    }
    world.pass(now.millis() - world.now().millis());
    drain(&world, &vault);
    // Everything else arrived once, in order; then an alert for each beginning of refusals.
    let expected: Vec<Digest> = ids(&alerts).into_iter().filter(|id| !bad.contains(id)).collect();
    let came = inbox.ids();
    assert_eq!(came[..37], expected);
    let told: Vec<_> = vault.alerts(&AlertFilter::default()).unwrap();
    let told: Vec<_> = told.iter().rev().filter(|shown| shown.alert.rule == "RF-OUT-003").collect();
    assert_eq!(came[37..], told.iter().map(|shown| shown.alert.id).collect::<Vec<_>>());
    assert_eq!(told.len(), 2, "the one right behind the first is not told again");
    assert!(told[0].alert.message.contains("413") && told[0].alert.severity == Severity::High);
    let status = &vault.sinks().unwrap()[0];
    let aside: Vec<_> = status.set_aside.iter().map(|aside| (aside.first, aside.last, aside.refused)).collect();
    assert_eq!(aside, [7, 8, 30].map(|at: usize| (entries[at], entries[at], REFUSALS_MAX)));
    assert_eq!((status.pending, status.delivered, status.failures), (0, 39, 0));
    assert!(vault.figures(now).is_ok() && status.set_aside[0].why.contains("413"));
    // Put right and asked for again, they come.
    refused.lock().unwrap().clear();
    assert_eq!(vault.resend("ops", entries[7], entries[8]).unwrap(), 2);
    drain(&world, &vault);
    assert_eq!(inbox.ids()[39..], bad[..2]);
    let status = &vault.sinks().unwrap()[0];
    assert_eq!(status.set_aside.iter().map(|aside| aside.first).collect::<Vec<_>>(), [entries[30]]);
    drop(vault);
    let report = ringfence_engine::trail::verify_trail(&settings, None, None, None).unwrap();
    assert!(report.checks.iter().all(|check| check.passed), "{:?}", report.checks);
}

#[test]
fn a_sink_that_refuses_everything_is_waited_for() {
    let (inbox, up) = (Inbox::default(), Inbox::default());
    let alerts = some(0..3);
    let (shut, open) = (picky(&inbox, &Arc::new(Mutex::new(ids(&alerts))), 401), up.start(0));
    let world = World::new(&[shut.port(), open.port()]);
    world.sinks(&format!("{}{}", webhook("shut", shut.port()), webhook("open", open.port())));
    let settings = world.settings();
    let vault = init(&settings);
    vault.raise(&alerts).unwrap();
    let mut passes = 0;
    let began = world.now().millis();
    let spared = |vault: &Vault<'_>| vault.sinks().unwrap()[0].set_aside.len();
    while world.now().millis() < began + 2 * REFUSED_MS_MAX {
        vault.deliver(world.pass(10 * MINUTE_MS), passes).unwrap();
        passes += 1;
        assert!(passes < 1_000);
        if spared(&vault) > 0 {
            break;
        }
    }
    assert!(passes >= REFUSED_MS_MAX / (10 * MINUTE_MS), "after {passes} passes of ten minutes");
    assert_eq!((inbox.ids().len(), spared(&vault)), (0, 1));
    vault.deliver(world.pass(MINUTE_MS), 1).unwrap();
    assert_eq!(up.ids()[..3], ids(&alerts)[..]);
    assert_eq!(up.ids().len(), 4, "the other sink is told that this one refuses");
}
