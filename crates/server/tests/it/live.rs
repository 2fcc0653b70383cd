//! A run that goes on, seen and stopped from its page; an alert that somebody answers.
//!
//! The run is its socket: what [`ringfence_engine::follow`] and orders talk to.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant},
};

use axum::{body::Body, extract::Request};
use http_body_util::BodyExt as _;
use ringfence_engine::{
    access::Role,
    schema::{
        Digest, Severity,
        alert::{Alert, Basis, Subject, SubjectKind, TelemetryLine},
        event::{Claimed, Progress, RunEvent, Source},
    },
};

use crate::house::{By, House, SITE, peer};

/// A run's side of the socket.
struct Run {
    /// Followers, as they come.
    followers: Receiver<UnixStream>,
    orders: Receiver<String>,
}

const SO_FAR: u64 = 1_000;

fn line(at_ms: u64, loss: f64) -> String {
    let progress = Progress { loss: Some(loss), ..Progress::default() };
    let event = RunEvent { at_ms, source: Source::Claimed(Claimed::Progress(progress)) };
    serde_json::to_string(&TelemetryLine::Event(event)).unwrap() + "\n"
}

impl Run {
    fn begin(vault: &Path, name: &str) -> Self {
        let folder = vault.join("live");
        fs::create_dir_all(&folder).unwrap();
        let listener = UnixListener::bind(folder.join(format!("{name}.sock"))).unwrap();
        let (followed, followers) = mpsc::channel();
        let (told, orders) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &followed, &told);
            }
        });
        Self { followers, orders }
    }
}

fn answer(mut stream: UnixStream, followed: &Sender<UnixStream>, told: &Sender<String>) {
    let mut word = String::new();
    let _ = BufReader::new(stream.try_clone().unwrap()).read_line(&mut word);
    match word.trim() {
        "watch" => {
            // Whoever asked may be gone already.
            if stream.write_all(line(SO_FAR, 2.0).as_bytes()).is_ok() {
                let _ = followed.send(stream);
            }
        }
        "so-far" => drop(stream.write_all(line(SO_FAR, 2.0).as_bytes())),
        // Somebody looked whether it lives.
        "" => {}
        order => {
            told.send(order.to_owned()).unwrap();
            stream.write_all(b"ok\n").unwrap();
        }
    }
}

/// A stream of events.
struct Events(Body, String);

impl Events {
    async fn open(house: &House, target: &str, session: &str) -> Result<Self, u16> {
        let request = Request::builder()
            .uri(target)
            .header("host", "localhost:8443")
            .header("origin", SITE)
            .header("cookie", format!("__Host-ringfence={session}"));
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(peer());
        let response = house.service.answer(request).await;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(status);
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Ok(Self(Body::new(response.into_body()), String::new()))
    }

    /// The next event that is not a comment, or nothing where the stream has ended.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.1.clone().split_once("\n\n") {
                let rest = rest.to_owned();
                self.1 = rest;
                if event.contains("event:") {
                    return Some(event.to_owned());
                }
                continue;
            }
            let frame = self.0.frame().await?.unwrap();
            self.1 += std::str::from_utf8(frame.data_ref().unwrap()).unwrap();
        }
    }
}

#[tokio::test]
async fn a_page_follows_a_run_to_its_end() {
    let (house, ana) = House::with_owner::<40>();
    let run = Run::begin(&house.folder.path().join("vault"), "r-1");
    let page = house.call("GET", "/runs/r-1", By::Session(&ana.session), None).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("data-live=\"/runs/r-1/events?after=1000\""), "{}", page.body);
    assert!(page.body.contains("action=\"/runs/r-1/stop\""));
    let mut events = Events::open(&house, "/runs/r-1/events?after=1000", &ana.session).await.unwrap();
    let mut stream = run.followers.recv().unwrap();
    // Half a line is no event yet; text that would end one does not.
    let whole = line(2_000, 1.5);
    let (first, second) = whole.split_at(20);
    stream.write_all(first.as_bytes()).unwrap();
    stream.write_all(second.as_bytes()).unwrap();
    let event = events.next().await.unwrap();
    assert!(event.starts_with("id: 2000\nevent: update\ndata: {"), "{event}");
    assert!(
        event.contains("\"at_ms\":2000") && event.contains("\"claim loss\":1.5"),
        "what was drawn comes again: {event}"
    );
    assert_eq!(event.lines().count(), 3);
    drop(stream);
    assert_eq!(events.next().await.as_deref(), Some("event: end\ndata: {}"));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_live_view_ends_with_its_session_and_there_are_not_too_many() {
    let (house, ana) = House::with_owner::<41>();
    let run = Run::begin(&house.folder.path().join("vault"), "r-1");
    assert_eq!(Events::open(&house, "/runs/none/events", &ana.session).await.err(), Some(404));
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(Events::open(&house, "/runs/r-1/events", &ana.session).await.unwrap());
    }
    assert_eq!(Events::open(&house, "/runs/r-1/events", &ana.session).await.err(), Some(429));
    // Whoever goes away makes room: the beat after it notices.
    open.truncate(1);
    let begun = Instant::now();
    let mut again = loop {
        match Events::open(&house, "/runs/r-1/events", &ana.session).await {
            Ok(events) => break events,
            Err(status) => assert!(status == 429 && begun.elapsed() < Duration::from_secs(10)),
        }
        tokio::task::yield_now().await;
    };
    // The run says nothing, and goes on; the session ends.
    let _streams: Vec<UnixStream> = run.followers.try_iter().collect();
    let begun = Instant::now();
    house.acting(&ana.session).leave().unwrap();
    while let Some(event) = again.next().await {
        assert!(event.contains("event: end") || event.contains("event: update"), "{event}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(Events::open(&house, "/runs/r-1/events", &ana.session).await.err(), Some(401));
}

#[tokio::test]
async fn a_run_is_stopped_from_its_page_by_those_who_may() {
    let (house, ana) = House::with_owner::<42>();
    let run = Run::begin(&house.folder.path().join("vault"), "r-1");
    let rob = house.join(&ana, "rob", &[Role::Researcher]);
    let eve = house.join(&ana, "eve", &[Role::Auditor]);
    let refused = house.form("/runs/r-1/stop", &eve.session, &[("reason", "no")]).await;
    assert_eq!(refused.status, 403);
    assert_eq!(house.form("/runs/r-1/stop", &rob.session, &[("reason", " ")]).await.status, 422);
    assert_eq!(house.form("/runs/r-2/stop", &rob.session, &[("reason", "gone")]).await.status, 404);
    assert!(run.orders.try_recv().is_err());
    let stopped = house.form("/runs/r-1/stop", &rob.session, &[("reason", "it diverges")]).await;
    assert_eq!((stopped.status, stopped.headers["location"].to_str().unwrap()), (303, "/runs/r-1"));
    assert_eq!(run.orders.recv().unwrap(), "stop");
    let entry = house.vault.trail(1).unwrap().pop().unwrap();
    assert_eq!((entry.entry.action.as_str(), entry.word(), entry.subject()), ("stop", "done", "run r-1"));
    assert_eq!(entry.entry.actor, rob.id.to_string());
}

#[tokio::test]
async fn an_alert_is_answered_from_the_overview() {
    let (house, ana) = House::with_owner::<43>();
    let subject = Subject { kind: SubjectKind::Run, name: "r-1".into() };
    let alert = Alert {
        id: Digest::of(b"an alert"),
        rule: "RF-WCH-001".into(),
        kind: "miner".into(),
        severity: Severity::High,
        subject,
        signal: "cpu".into(),
        basis: Basis::Both,
        expected: "learning".into(),
        seen: "none".into(),
        since: house.now(),
        at: house.now(),
        confidence: 0.9,
        message: "the run computes without learning".into(),
        why: String::new(),
        remedy: String::new(),
    };
    house.acting(&ana.session).raise(std::slice::from_ref(&alert)).unwrap();
    let id = alert.id.to_string();
    let rob = house.join(&ana, "rob", &[Role::Researcher]);
    let fields = [("alert", id.as_str()), ("reason", "a drill of ours"), ("days", "")];
    assert_eq!(house.form("/alerts/acknowledge", &rob.session, &fields).await.status, 403);
    for (days, alert, status) in [("0", id.as_str(), 422), ("367", &id, 422), ("1", "nonsense", 404)] {
        let fields = [("alert", alert), ("reason", "x"), ("days", days)];
        assert_eq!(house.form("/alerts/acknowledge", &ana.session, &fields).await.status, status, "{days} {alert}");
    }
    assert_eq!(house.form("/alerts/acknowledge", &ana.session, &fields).await.status, 303);
    let shown = house.vault.alerts(&ringfence_engine::alerts::AlertFilter::default()).unwrap();
    let said = shown[0].acknowledged.clone().unwrap();
    assert_eq!((said.reason.as_str(), said.by), ("a drill of ours", ana.id.to_string()));
}
