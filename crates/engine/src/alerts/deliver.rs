//! Delivery: each sink by itself, in order, at least once.
//!
//! A batch is sent under one intent, and the cursor moves in the transaction of its outcome, over what the sink said it took.
//! A crash in between leaves the cursor, so the same records are sent again with the same ids. One process at a time
//! delivers to a sink, by a lock that dies with it. Failures wait: the wait doubles from [`BACKOFF_MS_MIN`] to
//! [`BACKOFF_MS_MAX`], half of it spread by chance, and is never shorter than what the sink asked for. What a sink refuses
//! for good is set aside after a while (`refusal`), so that it does not hold up the rest.

use std::{
    fs::TryLockError,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use ringfence_access::{Action, Facts, Resource};
use ringfence_catalog::{
    CatalogError,
    outbox::{Lost, Queued, QueuedContent},
};
use ringfence_reach::{
    ReachError,
    sink::{Parcel, SEND_MS_MAX, Sent, SinkSettings, deadline},
};
use ringfence_schema::{
    Digest, Severity, Timestamp,
    alert::{Alert, Basis, Subject, SubjectKind},
};
use ringfence_trust::entropy::{self, SystemEntropy};
use serde::Serialize;
use serde_json::json;

use super::{Move, clipped, refusal::Refused, sinks::lock};
use crate::{
    act::{Act, Effect, Reach},
    error::EngineError,
    vault::{Vault, catalog_error, named_lock_file},
};

/// Milliseconds before the second attempt.
pub const BACKOFF_MS_MIN: u64 = 1_000;
/// Longest wait between attempts in milliseconds, unless a sink asks for more.
pub const BACKOFF_MS_MAX: u64 = 5 * 60 * 1_000;
/// Longest wait that a sink can ask for, in milliseconds.
pub const ASKED_MS_MAX: u64 = 60 * 60 * 1_000;
/// Records that are sent under one intent.
const BATCH: u64 = 256;
/// Least time that is worth beginning to send with, in milliseconds.
const SEND_MS_MIN: u64 = 1_000;
/// Longest that one pass over a sink lasts before it leaves the rest to the next one, in milliseconds.
const PASS_MS_MAX: u64 = 30_000;
/// The same for the last pass when a background delivery ends.
const LAST_PASS_MS_MAX: u64 = 5_000;
/// Longest sleep of a background delivery, in milliseconds: other processes raise alerts too.
const SLEEP_MS_MAX: u64 = 1_000;
/// Milliseconds between two writings of figures.
const FIGURES_MS: u64 = 15_000;
/// Longest failure that is kept, in bytes.
const SAID_BYTES_MAX: usize = 512;

/// Rule of the notice that stands for alerts which a full queue did not take.
const OVERFLOW_RULE: &str = "RF-OUT-001";
/// Rule of an alert that only tries a sink.
const TEST_RULE: &str = "RF-OUT-002";

/// What a pass over the sinks did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// Each configured sink, in the order of the file.
    pub sinks: Vec<SinkPass>,
}

impl Delivered {
    /// How many records were taken.
    pub fn taken(&self) -> u64 {
        self.sinks.iter().map(|pass| pass.taken).sum()
    }

    /// Whether nothing waits any more.
    pub fn is_complete(&self) -> bool {
        self.sinks.iter().all(|pass| pass.pending == 0)
    }
}

/// What a pass over one sink did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SinkPass {
    /// The sink.
    pub name: String,
    /// Records that it took.
    pub taken: u64,
    /// Records that wait.
    pub pending: u64,
    /// How it ended.
    pub end: SinkPassEnd,
}

/// How a pass over one sink ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SinkPassEnd {
    /// Nothing waits.
    Empty,
    /// The time was over.
    TimeOver,
    /// It failed earlier and is not tried again before this moment.
    Waits(Timestamp),
    /// Another process delivers to it.
    Busy,
    /// It failed; nothing is tried before the moment.
    Failed {
        /// Why.
        why: String,
        /// When it is tried again.
        next_attempt: Timestamp,
    },
    /// The vault itself refused or failed.
    NotDone {
        /// Why.
        why: String,
    },
}

impl Vault<'_> {
    /// One bounded pass over all sinks at the moment `now`, each on a thread of its own, so that none waits for another.
    /// `jitter` is any random number.
    ///
    /// # Errors
    /// Where the list of sinks cannot be read. What fails at a sink is in the result.
    pub fn deliver(&self, now: Timestamp, jitter: u64) -> Result<Delivered, EngineError> {
        let sinks = &self.sink_list()?.sinks;
        let passes = thread::scope(|scope| {
            let begin = |sink| (sink, scope.spawn(move || self.pass(sink, now, jitter, PASS_MS_MAX)));
            let running: Vec<_> = sinks.iter().map(begin).collect();
            let end = |(sink, pass): (&SinkSettings, thread::ScopedJoinHandle<'_, SinkPass>)| {
                pass.join().unwrap_or_else(|_| not_done(sink, "its thread broke off".to_owned()))
            };
            running.into_iter().map(end).collect()
        });
        Ok(Delivered { sinks: passes })
    }

    /// One pass over one sink, whether it takes alerts or figures.
    fn pass(&self, sink: &SinkSettings, now: Timestamp, jitter: u64, millis: u64) -> SinkPass {
        let passed = if sink.to.takes_alerts() {
            self.deliver_to(sink, now, jitter, millis)
        } else {
            Ok(SinkPass { name: sink.name.to_string(), taken: 0, pending: 0, end: SinkPassEnd::Empty })
        };
        let pass = passed.unwrap_or_else(|error| not_done(sink, error.to_string()));
        match self.show_figures(sink, now) {
            Err(error) if pass.end == SinkPassEnd::Empty => not_done(sink, error.to_string()),
            _ => pass,
        }
    }

    fn deliver_to(
        &self,
        sink: &SinkSettings,
        now: Timestamp,
        jitter: u64,
        millis: u64,
    ) -> Result<SinkPass, EngineError> {
        let name = sink.name.as_str();
        let until = Instant::now() + Duration::from_millis(millis);
        let row = || self.catalog.read(|view| view.sink(name)).map_err(|error: CatalogError| catalog_error(&error));
        let pending = || Ok::<_, EngineError>(row()?.map_or(0, |row| row.pending()));
        let passed = |taken, pending, end| Ok(SinkPass { name: name.to_owned(), taken, pending, end });
        // Looked at first without the lock: most passes find nothing to do.
        match row()? {
            None => return passed(0, 0, SinkPassEnd::Empty),
            Some(row) if row.pending() == 0 => return passed(0, 0, SinkPassEnd::Empty),
            Some(row) if row.due > now => return passed(0, row.pending(), SinkPassEnd::Waits(row.due)),
            Some(_) => {}
        }
        let folder = &self.settings.vault;
        let file_name = format!("outbox-{name}.lock");
        let held = named_lock_file(folder, &file_name)?;
        match held.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return passed(0, pending()?, SinkPassEnd::Busy),
            Err(TryLockError::Error(error)) => return Err(EngineError::io(folder.join(file_name))(error)),
        }
        let mut taken = 0;
        loop {
            let Some(row) = row()? else { return passed(taken, 0, SinkPassEnd::Empty) };
            if row.due > now {
                return passed(taken, row.pending(), SinkPassEnd::Waits(row.due));
            }
            let queued = self
                .catalog
                .read(|view| view.pending(name, BATCH))
                .map_err(|error: CatalogError| catalog_error(&error))?;
            if queued.is_empty() {
                return passed(taken, 0, SinkPassEnd::Empty);
            }
            let left = until.saturating_duration_since(Instant::now());
            let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).min(SEND_MS_MAX);
            // With less there would be a failure that is not the sink's.
            if millis < SEND_MS_MIN {
                return passed(taken, row.pending(), SinkPassEnd::TimeOver);
            }
            let alerts = self.open_queued(name, queued)?;
            let failures = row.failures;
            let wait = |error: &ReachError| after_failure(now, failures, error, jitter, name);
            let (count, failure) = self.send_batch(sink, &alerts, now, deadline(millis), &wait)?;
            taken += count;
            if let Some((why, next_attempt)) = failure {
                return passed(taken, pending()?, SinkPassEnd::Failed { why, next_attempt });
            }
        }
    }

    fn open_queued(&self, sink: &str, queued: Vec<Queued>) -> Result<Vec<(u64, Alert)>, EngineError> {
        let open = |queued: Queued| match queued.content {
            QueuedContent::Alert { key, bytes } => {
                Ok((queued.seq, self.unseal_queued(sink, queued.seq, &key, &bytes)?))
            }
            QueuedContent::Lost(lost) => Ok((queued.seq, self.overflow(sink, lost)?)),
        };
        queued.into_iter().map(open).collect()
    }

    /// The alert that stands for alerts which a full queue did not take. Made from the record alone, so it is the same in a
    /// repeat.
    fn overflow(&self, sink: &str, lost: Lost) -> Result<Alert, EngineError> {
        let time = |index| -> Result<Timestamp, EngineError> {
            let entry = self.catalog.entry(index).map_err(|error| catalog_error(&error))?;
            Ok(entry.map_or(Timestamp::from_millis(0), |stored| stored.entry.time))
        };
        let Lost { count, first, last } = lost;
        let subject = Subject { kind: SubjectKind::Series, name: format!("sink/{sink}") };
        let (signal, since) = (format!("outbox:{first}-{last}"), time(first)?);
        Ok(Alert {
            id: Alert::identify(OVERFLOW_RULE, &subject, &signal, since),
            rule: OVERFLOW_RULE.into(),
            kind: "outbox-overflow".into(),
            severity: Severity::High,
            subject,
            signal,
            basis: Basis::Observed,
            expected: "a sink that takes alerts before its queue is full".into(),
            seen: format!("{count} alerts that were not queued"),
            since,
            at: time(last)?,
            confidence: 1.0,
            message: format!("{count} alerts of trail entries {first} to {last} were not sent to `{sink}`"),
            why: "the sink was down for so long that its queue was full; the alerts are in the trail".into(),
            remedy: format!("have entries {first} to {last} sent again to `{sink}`"),
        })
    }

    /// Sends one batch under one intent. How many were taken, and why it stopped.
    fn send_batch(
        &self,
        sink: &SinkSettings,
        alerts: &[(u64, Alert)],
        now: Timestamp,
        deadline: Instant,
        wait: &dyn Fn(&ReachError) -> Timestamp,
    ) -> Result<(u64, Option<(String, Timestamp)>), EngineError> {
        let name = sink.name.as_str();
        let (first, last) = (alerts.first().map_or(0, |(seq, _)| *seq), alerts.last().map_or(0, |(seq, _)| *seq));
        let act = Act {
            action: Action::Deliver,
            resources: vec![Resource::Vault],
            facts: Facts::default(),
            request: json!({"what": "alerts", "sink": name, "kind": sink.to.kind(), "first": first, "last": last}),
            subject: format!("alerts {first} to {last} for {name}"),
            reach: Reach::Outside,
        };
        let (ended, _) = self.act(act, || {
            let sent = self.send(sink, alerts, now, deadline);
            let mut effect = Effect::of(());
            let up_to = sent.taken.checked_sub(1).and_then(|index| alerts.get(index)).map(|(seq, _)| *seq);
            effect.moves.extend(up_to.map(|up_to| Move::Delivered(name.to_owned(), up_to)));
            let Some(error) = sent.failure else {
                effect.openings.insert("result".to_owned(), json!({"taken": sent.taken, "up_to": up_to}));
                return Ok(effect.replace((sent.taken as u64, None)));
            };
            let why = clipped(&error.to_string(), SAID_BYTES_MAX);
            let refused = match (error.refusal(), alerts.get(sent.taken)) {
                (Some(refusal), Some((seq, alert))) => {
                    self.weigh_refusal(name, Refused { seq: *seq, alert, refusal, why: &why, now }, &mut effect)?
                }
                _ => None,
            };
            let result = json!({"taken": sent.taken, "up_to": up_to, "failure": why, "set_aside": refused});
            effect.openings.insert("result".to_owned(), result);
            if refused.is_some() {
                // The rest goes on at once.
                return Ok(effect.replace((sent.taken as u64, None)));
            }
            let due = wait(&error);
            effect.moves.push(Move::Failed(name.to_owned(), due, why.clone()));
            Ok(effect.replace((sent.taken as u64, Some((why, due)))))
        })?;
        Ok(ended)
    }

    fn send(&self, sink: &SinkSettings, alerts: &[(u64, Alert)], now: Timestamp, deadline: Instant) -> Sent {
        let failed = |why: String| Sent { taken: 0, failure: Some(ReachError::Setting { name: "sink", why }) };
        let outlet = match self.outlet(sink) {
            Ok(outlet) => outlet,
            Err(EngineError::Reach(error)) => return Sent { taken: 0, failure: Some(error) },
            Err(error) => return failed(error.to_string()),
        };
        let vault = self.id().to_string();
        let parcels: Vec<Parcel<'_>> =
            alerts.iter().map(|(seq, alert)| Parcel { vault: &vault, sequence: *seq, alert }).collect();
        let mut outlet = lock(&outlet);
        match &mut outlet.sink {
            Some(sink) => sink.send(&parcels, now, deadline),
            None => failed("it takes figures alone".to_owned()),
        }
    }

    /// Shows figures to a sink that takes them, not more often than every [`FIGURES_MS`]. It is decided and recorded once
    /// while the vault is open: figures replace each other, and each of them says nothing that the trail does not.
    fn show_figures(&self, sink: &SinkSettings, now: Timestamp) -> Result<(), EngineError> {
        let wants = match &sink.to {
            ringfence_reach::sink::Destination::Otlp(otlp) => otlp.metrics,
            other => !other.takes_alerts(),
        };
        let name = sink.name.as_str();
        let mut shown = lock(&self.desk.shown);
        let fresh = shown.get(name).is_some_and(|last| now < last.plus_millis(FIGURES_MS) && now >= *last);
        if !wants || fresh {
            return Ok(());
        }
        let first = shown.insert(name.to_owned(), now).is_none();
        drop(shown);
        let show = || -> Result<(), EngineError> {
            let metrics = self.figures(now)?;
            let outlet = self.outlet(sink)?;
            let mut outlet = lock(&outlet);
            outlet.gauge.as_mut().map_or(Ok(()), |gauge| gauge.show(&metrics)).map_err(EngineError::from)
        };
        if !first {
            return show();
        }
        let act = Act {
            action: Action::Deliver,
            resources: vec![Resource::Vault],
            facts: Facts::default(),
            request: json!({"what": "figures", "sink": name, "kind": sink.to.kind(), "every_ms": FIGURES_MS}),
            subject: format!("figures for {name}"),
            reach: Reach::Outside,
        };
        self.act(act, || show().map(Effect::of)).map(drop)
    }

    /// Sends an alert to one sink that says that it only tries it. Nothing is queued; what waits stays.
    ///
    /// # Errors
    /// What the sink answered.
    pub fn test_sink(&self, name: &str, now: Timestamp) -> Result<(), EngineError> {
        let sink = self.configured(name)?;
        if !sink.to.takes_alerts() {
            lock(&self.desk.shown).remove(name);
            return self.show_figures(sink, now);
        }
        let subject = Subject { kind: SubjectKind::Series, name: format!("sink/{name}") };
        let alert = Alert {
            id: Alert::identify(TEST_RULE, &subject, "test", now),
            rule: TEST_RULE.into(),
            kind: "sink-test".into(),
            severity: Severity::Info,
            subject,
            signal: "test".into(),
            basis: Basis::Observed,
            expected: "this message".into(),
            seen: "this message".into(),
            since: now,
            at: now,
            confidence: 1.0,
            message: "this alert only tries whether alerts arrive".into(),
            why: "an alert that does not arrive helps nobody".into(),
            remedy: "nothing needs to be done".into(),
        };
        let act = Act {
            action: Action::Deliver,
            resources: vec![Resource::Vault],
            facts: Facts::default(),
            request: json!({"what": "test", "sink": name, "kind": sink.to.kind(), "alert": alert.id}),
            subject: format!("a test for {name}"),
            reach: Reach::Outside,
        };
        self.act(act, || match self.send(sink, &[(0, alert)], now, deadline(SEND_MS_MAX)).failure {
            Some(error) => Err(error.into()),
            None => Ok(Effect::of(())),
        })
        .map(drop)
    }

    /// Delivers in the background while `work` runs, each sink on a thread of its own, and once more when it ends. What does
    /// not go out by then waits for the next time.
    pub fn dispatching<T>(&self, work: impl FnOnce() -> T) -> T {
        let sinks = match self.sink_list() {
            Ok(list) => list.sinks.as_slice(),
            Err(error) => {
                self.settings.progress.note(&format!("{error}; alerts wait until it is put right"));
                &[]
            }
        };
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for sink in sinks {
                let over = &over;
                scope.spawn(move || self.keep_delivering(sink, over));
            }
            // Also when `work` panics, for the scope waits for its threads.
            let _end = Ends { over: &over, vault: self };
            work()
        })
    }

    fn keep_delivering(&self, sink: &SinkSettings, over: &AtomicBool) {
        let mut seen = 0;
        loop {
            let last = over.load(Ordering::SeqCst);
            let millis = if last { LAST_PASS_MS_MAX } else { PASS_MS_MAX };
            let jitter = u64::from_le_bytes(entropy::bytes(&mut SystemEntropy::new()));
            let now = (self.settings.now)();
            let pass = self.pass(sink, now, jitter, millis);
            if last {
                return;
            }
            if pass.end != SinkPassEnd::TimeOver {
                seen = self.desk.wait(seen, Duration::from_millis(SLEEP_MS_MAX));
            }
        }
    }
}

/// Ends a background delivery.
struct Ends<'a, 's> {
    over: &'a AtomicBool,
    vault: &'a Vault<'s>,
}

impl Drop for Ends<'_, '_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        self.vault.desk.wake();
    }
}

fn not_done(sink: &SinkSettings, why: String) -> SinkPass {
    SinkPass { name: sink.name.to_string(), taken: 0, pending: 0, end: SinkPassEnd::NotDone { why } }
}

/// When to try again after a failure that follows `failures` others: a wait that doubles, half of it by chance, and at least
/// what the sink asked for.
fn after_failure(now: Timestamp, failures: u32, error: &ReachError, jitter: u64, sink: &str) -> Timestamp {
    let full = BACKOFF_MS_MIN.saturating_mul(1 << failures.min(20)).min(BACKOFF_MS_MAX);
    // Each sink has its own chance, so that several which failed together do not come back together.
    let spread = Digest::of(format!("{jitter}/{sink}/{failures}").as_bytes());
    let chance = spread.as_bytes().iter().take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let wait = full / 2 + chance % (full / 2 + 1);
    let asked = match error {
        ReachError::Busy { retry_after_s: Some(asked_s), .. } => asked_s.saturating_mul(1_000).min(ASKED_MS_MAX),
        _ => 0,
    };
    now.plus_millis(wait.max(asked))
}
