//! What is said to the vault while a run goes on: events, signs of life, and the wish for another token; and what it orders.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender},
    thread,
    time::{Duration, Instant},
};

use ringfence_reach::{
    ReachError, Secret,
    server::{Method, Patience, Server},
};
use ringfence_sandbox::Stop;
use ringfence_schema::event::RunEvent;

use crate::{
    carry::is_passing,
    run::{
        live::Order,
        told::{EVENTS_MAX, Events, Heard, Renewed, Shown},
    },
};

/// How long a command goes on while its vault is not heard, in milliseconds; shorter than
/// [`SILENCE_MS_MAX`](crate::elsewhere::SILENCE_MS_MAX), after which the vault takes it for dead.
pub const LEASE_MS: u64 = 45_000;
/// Time between two signs of life, in milliseconds; an order arrives within it.
const BEAT_MS: u64 = 500;
/// Events of one message, in bytes of JSON: within the server's limit on documents, and on their items.
const MESSAGE_BYTES_MAX: usize = 32 << 10;
/// How much life of a token is left when another one is asked for, in milliseconds.
const RENEWED_AT_MS: u64 = 5 * 60 * 1_000;

/// Something to be told.
pub(super) enum Said {
    /// It happened.
    Event(RunEvent),
    /// All before it is to be told first; then this is answered.
    All(SyncSender<()>),
}

/// The talk about one run.
pub(super) struct Talk<'t> {
    server: &'t Server,
    path: &'t str,
    stop: &'t Stop,
}

/// What is being said.
struct Course {
    /// Events that were heard.
    next: u64,
    /// Those that are being told.
    telling: Vec<RunEvent>,
    heard: Instant,
    frozen: bool,
}

impl<'t> Talk<'t> {
    pub(super) fn new(server: &'t Server, path: &'t str, stop: &'t Stop) -> Self {
        Self { server, path, stop }
    }

    /// Tells what comes until nobody can tell anything any more. Why the run is over, where the vault ended it; the command
    /// was stopped then.
    pub(super) fn go_on(&self, told: &Receiver<Said>) -> Option<String> {
        let now = Instant::now();
        let mut course = Course { next: 0, telling: Vec::new(), heard: now, frozen: false };
        let mut bytes = 0;
        loop {
            let (mut waiting, mut ended) = (None, false);
            while course.telling.len() < EVENTS_MAX && bytes < MESSAGE_BYTES_MAX {
                let wait = if course.telling.is_empty() { Duration::from_millis(BEAT_MS) } else { Duration::ZERO };
                match told.recv_timeout(wait) {
                    Ok(Said::Event(event)) => {
                        bytes += serde_json::to_vec(&event).map_or(0, |text| text.len());
                        course.telling.push(event);
                    }
                    Ok(Said::All(done)) => {
                        waiting = Some(done);
                        break;
                    }
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => {
                        ended = true;
                        break;
                    }
                }
            }
            if ended && course.telling.is_empty() {
                return None;
            }
            if let Some(why) = self.tell(&mut course) {
                self.stop.stop();
                return Some(why);
            }
            bytes = 0;
            if let Some(done) = waiting {
                let _ = done.send(());
            }
        }
    }

    /// Tells what is to be told, however often the connection breaks; why the run is over, if it is.
    fn tell(&self, course: &mut Course) -> Option<String> {
        let events = Events { first: course.next, events: std::mem::take(&mut course.telling) };
        let Ok(body) = serde_json::to_value(&events) else { return Some("an event cannot be told".to_owned()) };
        loop {
            match self.server.act::<Heard>(Method::Post, &format!("{}/events", self.path), Some(&body), Patience::Brief)
            {
                Ok(heard) => {
                    course.heard = Instant::now();
                    course.next = heard.next;
                    if let Some(why) = self.obey(course, &heard) {
                        return Some(why);
                    }
                    self.renew(heard.life_ms);
                    return None;
                }
                Err(error) if is_passing(&error) => {
                    if course.heard.elapsed() > Duration::from_millis(LEASE_MS) {
                        return Some(format!("the server was not heard for {} s: {error}", LEASE_MS / 1_000));
                    }
                    thread::sleep(Duration::from_millis(BEAT_MS));
                }
                Err(ReachError::Problem { status: 401, .. }) => {
                    return Some("the run is over, or whoever started it may train no more".to_owned());
                }
                Err(error) => return Some(error.to_string()),
            }
        }
    }

    fn obey(&self, course: &mut Course, heard: &Heard) -> Option<String> {
        match heard.order {
            Some(Order::Stop) => return Some(heard.why.clone()),
            Some(Order::Freeze) if !course.frozen => {
                course.frozen = true;
                self.stop.freeze();
            }
            None | Some(Order::Thaw) if course.frozen => {
                course.frozen = false;
                self.stop.thaw();
            }
            _ => {}
        }
        None
    }

    /// Asks for another token in time. Where that fails it is asked again with the next sign of life.
    fn renew(&self, life_ms: u64) {
        if life_ms > RENEWED_AT_MS {
            return;
        }
        let path = format!("{}/token", self.path);
        let renewed = self.server.act::<Renewed>(Method::Post, &path, None, Patience::Brief);
        let token = renewed.map(|Renewed { token: Shown(token), .. }| Secret::new("run token", token));
        if let Ok(Ok(token)) = token {
            self.server.renew(token);
        }
    }
}
