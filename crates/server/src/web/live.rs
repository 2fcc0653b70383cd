//! What happens in a run, as server-sent events (WHATWG HTML, section 9.2), and the form that stops it.
//!
//! A page is drawn from what there is; the events go on from there, at most one in [`BEAT`]. They end with the run, with
//! the session that asked, and with the server; the script then loads the page again. A run is read on a thread of its own,
//! because its socket may be silent for long; who goes away ends that thread.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    thread,
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use hyper::body::Frame;
use ringfence_engine::{Follow, Order, Unfollow, access::Action, follow, team::Caller};
use serde::Deserialize;
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::{MissedTickBehavior, interval},
};

use super::{Fields, go};
use crate::{
    app::App,
    pages::{
        paths,
        run::{Live, LiveUpdate},
    },
    problem::{Answer, Kind, Problem},
    routes::{
        Intake, Route,
        Verb::{Get, Post},
        seat::Seat,
    },
};

/// The shortest time between two updates.
const BEAT: Duration = Duration::from_millis(500);
/// Beats of silence after which a comment is sent, so that nobody on the way takes the connection for dead.
const SILENT_BEATS: u32 = 30;
/// Most live views at a time, of everybody and of one person.
const VIEWS_MAX: usize = 64;
const VIEWS_EACH: usize = 4;
/// Updates that wait for a slow reader; beyond them, later ones are gathered into one.
const WAITING_MAX: usize = 4;
/// How often, and how far apart, a run that has ended is looked for in the vault.
const SETTLE_TRIES: u32 = 8;
const SETTLE: Duration = Duration::from_millis(500);
/// Seconds after which whoever was refused for too many views may ask again.
const VIEWS_WAIT_S: u64 = 10;
/// How soon a browser connects again when a connection breaks, in milliseconds.
const RETRY_MS: u32 = 5_000;

pub(super) fn routes() -> Vec<Route<App, Caller>> {
    vec![
        Route::acting(Action::Read, Get, paths::RUN_EVENTS, "what happens in a run, as it happens", events).streaming(),
        Route::acting(Action::Stop, Post, paths::RUN_STOP, "stops a run", stop).takes(Intake::Form),
    ]
}

async fn stop(seat: Seat<Caller>, State(app): State<App>, Path(run): Path<String>, fields: Fields) -> Answer {
    fields.check(&app, seat.principal())?;
    let on = paths::run(&run);
    app.work(seat.into_principal(), move |vault, _| vault.order_run(&run, Order::Stop, fields.text("reason"))).await?;
    go(&on)
}

#[derive(Deserialize)]
struct Since {
    /// Milliseconds of the run that the page shows already.
    #[serde(default)]
    after: Option<u64>,
}

async fn events(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path(run): Path<String>,
    Query(since): Query<Since>,
    headers: HeaderMap,
) -> Answer {
    let caller = seat.into_principal();
    let view = app.views().take(&caller.person.id)?;
    let (named, what) = (run.clone(), format!("run {run} as it happens"));
    let followed = app.look(caller.clone(), what, move |vault| {
        let follow = follow(&vault.settings().vault, &named)?;
        let unfollow = follow.unfollow()?;
        Ok((follow, unfollow))
    });
    let (follow, unfollow) = followed.await?;
    // A browser that connects again says what it has (section 9.2.4).
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let after = last.or(since.after);
    let gathered = Gathered::default();
    let theirs = gathered.clone();
    thread::Builder::new()
        .name("live view".to_owned())
        .spawn(move || theirs.read(follow, after))
        .map_err(|_| Problem::new(Kind::Unavailable))?;
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let watch = Watch { app, caller, run, gathered, _unfollow: unfollow, _view: view };
    tokio::spawn(watch.tell(sender));
    let body = Body::new(Told(receiver));
    let mut response: Response = body.into_response();
    let kind = header::HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// What has come since the last update was sent.
#[derive(Clone, Default)]
struct Gathered(Arc<Mutex<(Option<LiveUpdate>, Course)>>);

/// How a run goes on, as far as its follower knows.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Course {
    #[default]
    On,
    /// It has ended.
    Ended,
    /// Its telemetry broke off or could not be read.
    Lost,
}

impl Gathered {
    /// Reads the run to its end.
    fn read(&self, follow: Follow, after: Option<u64>) {
        let mut live = Live::default();
        let mut course = Course::Ended;
        for line in follow {
            let Ok(line) = line else {
                course = Course::Lost;
                break;
            };
            let Some(update) = live.take(&line) else { continue };
            // What the page was drawn from.
            if after.is_some_and(|after| update.at_ms <= after) {
                continue;
            }
            let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut held.0 {
                Some(waiting) => waiting.absorb(update),
                none => *none = Some(update),
            }
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = course;
    }

    fn take(&self) -> (Option<LiveUpdate>, Course) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (held.0.take(), held.1)
    }
}

/// One live view.
struct Watch {
    app: App,
    caller: Caller,
    run: String,
    gathered: Gathered,
    _unfollow: Unfollow,
    _view: View,
}

impl Watch {
    async fn tell(self, out: Sender<Bytes>) {
        let mut clock = interval(BEAT);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent = 0;
        let mut said = out.send(Bytes::from(format!("retry: {RETRY_MS}\n\n"))).await;
        while said.is_ok() {
            clock.tick().await;
            let (update, course) = self.gathered.take();
            silent = if update.is_some() { 0 } else { silent + 1 };
            said = match update {
                Some(update) => out.send(event(&update)).await,
                // Whoever has gone away is noticed when something is said.
                None if silent >= SILENT_BEATS => {
                    silent = 0;
                    out.send(Bytes::from_static(b":\n\n")).await
                }
                None if out.is_closed() => return,
                None => Ok(()),
            };
            if course == Course::Lost {
                return;
            }
            let over = course == Course::Ended || self.app.is_stopping() || !self.is_in().await;
            if over {
                if course == Course::Ended {
                    self.settle().await;
                }
                let _ = out.send(Bytes::from_static(b"event: end\ndata: {}\n\n")).await;
                return;
            }
        }
    }

    /// Whether the session that asked is still good.
    async fn is_in(&self) -> bool {
        self.app.work(self.caller.clone(), |vault, _| vault.is_still_in()).await.unwrap_or(false)
    }

    /// Waits until what the run was is in the vault, or will not come.
    async fn settle(&self) {
        for _ in 0..SETTLE_TRIES {
            let run = self.run.clone();
            let known = self.app.work(self.caller.clone(), move |vault, _| vault.run_record(&run).map(drop));
            if known.await.is_ok() {
                return;
            }
            tokio::time::sleep(SETTLE).await;
        }
    }
}

/// An update as an event; its id is where a browser goes on that connects again.
fn event(update: &LiveUpdate) -> Bytes {
    // A document on one line: no text in it can end the event.
    let data = serde_json::to_string(update).unwrap_or_else(|_| "{}".to_owned());
    Bytes::from(format!("id: {}\nevent: update\ndata: {data}\n\n", update.at_ms))
}

/// A body that is said piece by piece.
struct Told(Receiver<Bytes>);

impl hyper::body::Body for Told {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// Who has how many live views open.
#[derive(Debug, Clone, Default)]
pub(crate) struct Views(Arc<Mutex<BTreeMap<String, usize>>>);

/// A place among them, until this is dropped.
struct View {
    views: Views,
    person: String,
}

impl Views {
    fn take(&self, person: &str) -> Result<View, Problem> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.get(person).copied().unwrap_or(0);
        if own >= VIEWS_EACH || open.values().sum::<usize>() >= VIEWS_MAX {
            return Err(
                Problem::about(Kind::TooMany, "too many live views are open; close one").retry_after_s(VIEWS_WAIT_S)
            );
        }
        open.insert(person.to_owned(), own + 1);
        Ok(View { views: self.clone(), person: person.to_owned() })
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let mut open = self.views.0.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.person) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                open.remove(&self.person);
            }
        }
    }
}
