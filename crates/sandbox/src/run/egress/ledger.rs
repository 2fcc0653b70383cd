//! What went out, what was refused, and what may still go: one book for all threads of a run's egress.
//!
//! [`Ledger`] counts bytes against the budget and keeps what is to be told. A job that floods makes no flood of events:
//! attempts that are alike are told together, so many kinds at a time, so many a second ([`Ledger::due`]).

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nix::sys::eventfd::{EfdFlags, EventFd};
use ringfence_schema::event::{Egress, EgressVia};

/// The book of one run.
pub(super) struct Ledger {
    sent_bytes_max: u64,
    sent: AtomicU64,
    received: AtomicU64,
    book: Mutex<Book>,
    /// Notified when an attempt ends.
    ended: Condvar,
    /// Ready when there is something to tell.
    bell: EventFd,
    /// Ready for good once every connection is to be cut.
    halt: EventFd,
}

/// What changes under the lock.
struct Book {
    waiting: Vec<Egress>,
    open: BTreeMap<u64, Egress>,
    next: u64,
    state: State,
    spent_untold: bool,
    tokens: u64,
    refilled: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Attempts are looked at.
    Open,
    /// The budget is spent.
    Spent,
    /// The job is dead.
    Ended,
}

/// A TCP connection that is being looked at or served.
pub(super) struct Attempt(u64);

impl Ledger {
    /// An empty book.
    pub(super) fn new(sent_bytes_max: u64, now: Instant) -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self {
            sent_bytes_max,
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            book: Mutex::new(Book {
                waiting: Vec::new(),
                open: BTreeMap::new(),
                next: 0,
                state: State::Open,
                spent_untold: false,
                tokens: EVENTS_BURST,
                refilled: now,
            }),
            ended: Condvar::new(),
            bell: EventFd::from_value_and_flags(0, flags)?,
            halt: EventFd::from_value_and_flags(0, flags)?,
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready when [`Ledger::due`] may have something.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Ready when [`Ledger::cut`] says why everything ends.
    pub(super) fn halt(&self) -> BorrowedFd<'_> {
        self.halt.as_fd()
    }

    /// Why no connection may go on, if so.
    pub(super) fn cut(&self) -> Option<String> {
        match self.book().state {
            State::Open => None,
            State::Spent => Some(self.budget()),
            State::Ended => Some("the run ended".to_owned()),
        }
    }

    /// The budget, for people.
    pub(super) fn budget(&self) -> String {
        format!("egress budget of {} bytes", self.sent_bytes_max)
    }

    /// Bytes sent and received so far.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }

    /// Takes up to `wanted` bytes from the budget; fewer mean that it is spent, and everything is cut.
    pub(super) fn take(&self, wanted: usize) -> usize {
        let wanted = wanted as u64;
        let left = |sent: u64| wanted.min(self.sent_bytes_max.saturating_sub(sent));
        let before = self.sent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sent| Some(sent + left(sent)));
        let granted = left(before.unwrap_or(self.sent_bytes_max));
        if granted < wanted {
            let mut book = self.book();
            if book.state == State::Open {
                book.state = State::Spent;
                book.spent_untold = true;
                ring(&self.halt);
                ring(&self.bell);
            }
        }
        usize::try_from(granted).unwrap_or(0)
    }

    /// Returns what was taken but could not be sent yet.
    pub(super) fn give_back(&self, count: usize) {
        self.sent.fetch_sub(count as u64, Ordering::Relaxed);
    }

    /// Counts bytes that came in.
    pub(super) fn received(&self, count: usize) {
        self.received.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Begins an attempt; `None` when there are too many at a time.
    pub(super) fn enter(&self, egress: Egress) -> Option<Attempt> {
        let mut book = self.book();
        if book.open.len() >= CONNECTIONS_MAX {
            drop(book);
            self.note(Egress { refused: Some("too many connections at a time".to_owned()), ..egress });
            return None;
        }
        let number = book.next;
        book.next += 1;
        book.open.insert(number, egress);
        Some(Attempt(number))
    }

    /// Ends an attempt, with what became of it. What [`Ledger::end`] has told already is not told again.
    pub(super) fn leave(&self, attempt: &Attempt, egress: Egress) {
        let known = self.book().open.remove(&attempt.0).is_some();
        self.ended.notify_all();
        if known {
            self.note(egress);
        }
    }

    /// Ends an attempt of which nothing is to be told.
    pub(super) fn forget(&self, attempt: &Attempt) {
        self.book().open.remove(&attempt.0);
        self.ended.notify_all();
    }

    /// Whether the run is over.
    pub(super) fn is_over(&self) -> bool {
        self.book().state == State::Ended
    }

    /// Keeps something to be told.
    pub(super) fn note(&self, egress: Egress) {
        let mut book = self.book();
        let alike = |one: &&mut Egress| {
            one.via == egress.via
                && one.port == egress.port
                && one.name == egress.name
                && one.address == egress.address
                && one.refused == egress.refused
        };
        if let Some(one) = book.waiting.iter_mut().find(alike) {
            merge(one, &egress);
        } else if book.waiting.len() < KINDS_MAX {
            book.waiting.push(egress);
        } else {
            // Too many kinds at once: told as one sum for each way and outcome.
            let rest = Egress {
                name: Some(FURTHER.to_owned()),
                address: None,
                port: 0,
                refused: egress.refused.as_ref().map(|_| "not told one by one".to_owned()),
                ..egress
            };
            let same = |one: &&mut Egress| {
                one.via == rest.via && one.name == rest.name && one.refused.is_some() == rest.refused.is_some()
            };
            match book.waiting.iter_mut().find(same) {
                Some(one) => merge(one, &rest),
                None => book.waiting.push(rest),
            }
        }
        drop(book);
        ring(&self.bell);
    }

    /// What is to be told now: at most [`EVENTS_PER_SECOND`] in the long run. The budget, if it was spent since.
    pub(super) fn due(&self, now: Instant) -> (Vec<Egress>, Option<String>) {
        let _ = self.bell.read();
        let mut book = self.book();
        let passed_ms = u64::try_from(now.saturating_duration_since(book.refilled).as_millis()).unwrap_or(u64::MAX);
        let fresh = passed_ms.saturating_mul(EVENTS_PER_SECOND) / 1_000;
        if fresh > 0 {
            book.tokens = book.tokens.saturating_add(fresh).min(EVENTS_BURST);
            book.refilled = now;
        }
        let count = usize::try_from(book.tokens).unwrap_or(usize::MAX).min(book.waiting.len());
        book.tokens -= count as u64;
        let due = book.waiting.drain(..count).collect();
        let spent = std::mem::take(&mut book.spent_untold).then(|| self.budget());
        (due, spent)
    }

    /// The job is dead: cuts everything, waits a moment for the ends, and returns what is left to be told.
    pub(super) fn end(&self) -> (Vec<Egress>, Option<String>) {
        let mut book = self.book();
        book.state = State::Ended;
        ring(&self.halt);
        let waited = self.ended.wait_timeout_while(book, END_TIME, |book| !book.open.is_empty());
        book = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(book, _)| book);
        // What is still being looked up or dialled.
        let unfinished = std::mem::take(&mut book.open);
        drop(book);
        for one in unfinished.into_values() {
            self.note(one);
        }
        let mut book = self.book();
        let spent = std::mem::take(&mut book.spent_untold).then(|| self.budget());
        (std::mem::take(&mut book.waiting), spent)
    }
}

fn merge(into: &mut Egress, other: &Egress) {
    into.count = into.count.saturating_add(other.count);
    into.sent_bytes = into.sent_bytes.saturating_add(other.sent_bytes);
    into.received_bytes = into.received_bytes.saturating_add(other.received_bytes);
    into.lasted_ms = into.lasted_ms.max(other.lasted_ms);
}

/// An event descriptor that is full is ready already.
fn ring(bell: &EventFd) {
    let _ = bell.write(1);
}

/// One attempt, with nothing known but the way.
pub(super) fn attempt(via: EgressVia, port: u16) -> Egress {
    Egress {
        via,
        name: None,
        address: None,
        port,
        refused: None,
        sent_bytes: 0,
        received_bytes: 0,
        lasted_ms: 0,
        count: 1,
    }
}

/// Most connections at a time.
pub(super) const CONNECTIONS_MAX: usize = 256;
/// Most kinds of attempts that wait to be told.
const KINDS_MAX: usize = 64;
/// Events a second in the long run.
const EVENTS_PER_SECOND: u64 = 16;
/// Events that may be told at once.
const EVENTS_BURST: u64 = 256;
/// Stands for all names beyond [`KINDS_MAX`].
const FURTHER: &str = "(further names)";
/// How long connections may take to notice that the run is over.
const END_TIME: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Egress {
        Egress { name: Some(name.to_owned()), ..attempt(EgressVia::Dns, 53) }
    }

    #[test]
    fn a_flood_is_summed_up() {
        let start = Instant::now();
        let ledger = Ledger::new(10, start).unwrap();
        for index in 0..100_000 {
            ledger.note(Egress { refused: Some("no".to_owned()), ..named(&format!("x{index}")) });
        }
        let (told, _) = ledger.due(start);
        assert_eq!(told.len(), KINDS_MAX + 1);
        assert_eq!(told.iter().map(|one| one.count).sum::<u64>(), 100_000);
        let mut count = 0;
        for _ in 0..50 {
            for index in 0..100 {
                ledger.note(named(&format!("y{index}")));
            }
            count += ledger.due(start).0.len() as u64;
        }
        assert_eq!(count, EVENTS_BURST - KINDS_MAX as u64 - 1);
        let later = ledger.due(start + Duration::from_secs(1)).0.len() as u64;
        assert_eq!(later, EVENTS_PER_SECOND);
    }

    #[test]
    fn the_budget_is_spent_once() {
        let ledger = Ledger::new(10, Instant::now()).unwrap();
        assert_eq!((ledger.take(8), ledger.cut()), (8, None));
        ledger.give_back(3);
        assert_eq!((ledger.take(9), ledger.take(1), ledger.bytes()), (5, 0, (10, 0)));
        assert_eq!(ledger.cut().unwrap(), "egress budget of 10 bytes");
        let spent = ledger.due(Instant::now()).1;
        assert_eq!((spent.as_deref(), ledger.due(Instant::now()).1), (Some("egress budget of 10 bytes"), None));
    }

    #[test]
    fn what_is_open_at_the_end_is_told() {
        let ledger = Ledger::new(10, Instant::now()).unwrap();
        let first = ledger.enter(named("a.org")).unwrap();
        let attempts: Vec<_> = (1..CONNECTIONS_MAX).map(|_| ledger.enter(named("b.org")).unwrap()).collect();
        assert!(ledger.enter(named("c.org")).is_none());
        for attempt in &attempts {
            ledger.leave(attempt, named("b.org"));
        }
        let told = ledger.end().0;
        let counts: Vec<_> = told.iter().map(|one| (one.name.as_deref().unwrap(), one.count)).collect();
        assert_eq!(counts, [("c.org", 1), ("b.org", CONNECTIONS_MAX as u64 - 1), ("a.org", 1)]);
        ledger.leave(&first, named("a.org"));
        assert!(ledger.end().0.is_empty());
    }
}
