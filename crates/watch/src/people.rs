//! Who reads which artifacts, when, from where and how much, against themselves and their peers.
//!
//! [`PeopleWatch::push`] takes one [`Access`] after the other. Each kind of oddity yields evidence in natural logarithms of
//! odds (`habits` for place, hour and volume; `reading` for what is read and how it adds up over days); evidence about a
//! person within a day is one case, and the case is told when its sum passes a level, under its strongest kind. So a new
//! place alone is a low alert, and a new place with a bulk of new artifacts at night a grave one. What builds up over
//! days is told for itself.
//!
//! What must stay true: people without a history are measured by the people of their role; memory is bounded by people,
//! roles and artifacts, those not seen longest giving way; nobody teaches the watch a habit in a single day.

mod habits;
mod reading;

use std::collections::BTreeMap;

use ringfence_schema::{
    Severity, Timestamp,
    alert::{Access, Alert, Basis, Subject, SubjectKind},
};

use crate::{
    book::{Book, Sighting, cut},
    rules::Kind,
};
use habits::{Hours, Places, Volumes};
use reading::{Library, Reader};

/// Watches all people of a vault.
#[derive(Debug, Clone)]
pub struct PeopleWatch {
    people: BTreeMap<String, Person>,
    roles: BTreeMap<String, Role>,
    library: Library,
    book: Book,
    began: Option<Timestamp>,
    latest: Timestamp,
}

/// One person or service account.
#[derive(Debug, Clone, Default)]
struct Person {
    last_ms: u64,
    day: Day,
    active_days: u64,
    gap_max_days: f64,
    places: Places,
    hours: Hours,
    volumes: Volumes,
    reader: Reader,
    denied: f64,
    case: Case,
}

/// What a person did on the current day.
#[derive(Debug, Clone, Copy, Default)]
struct Day {
    number: u64,
    count: u64,
    bytes: u64,
    novel: f64,
    denied: u64,
}

/// What people of one role do.
#[derive(Debug, Clone, Default)]
struct Role {
    last_ms: u64,
    hours: Hours,
    volumes: habits::Pooled,
    novel: reading::Pooled,
    /// People seen, and those of them who were seen at a second place.
    people: f64,
    seconds: f64,
}

/// Evidence about a person within a day.
#[derive(Debug, Clone, Default)]
struct Case {
    began_ms: u64,
    evidence: BTreeMap<Kind, Evidence>,
    told: Option<Severity>,
}

/// One oddity.
#[derive(Debug, Clone)]
pub(crate) struct Evidence {
    /// Natural logarithm of the odds against it being usual.
    pub(crate) weight: f64,
    pub(crate) expected: String,
    pub(crate) seen: String,
    pub(crate) since_ms: u64,
}

impl Default for PeopleWatch {
    fn default() -> Self {
        Self::new()
    }
}

impl PeopleWatch {
    /// A watch that has seen nobody.
    pub fn new() -> Self {
        Self {
            people: BTreeMap::new(),
            roles: BTreeMap::new(),
            library: Library::default(),
            book: Book::new(CASE_MS),
            began: None,
            latest: Timestamp::from_millis(0),
        }
    }

    /// Takes one access. An access that is older than one before counts as of that one's moment.
    pub fn push(&mut self, access: &Access) -> Vec<Alert> {
        let at = access.at.max(self.latest);
        self.latest = at;
        let began = *self.began.get_or_insert(at);
        let name = cut(access.person.clone());
        let role = cut(access.roles.first().cloned().unwrap_or_default());
        make_room(&mut self.people, &name, PEOPLE_MAX, |person| person.last_ms);
        make_room(&mut self.roles, &role, ROLES_MAX, |role| role.last_ms);
        let watched_days = days_between(began.millis(), at.millis());
        let peers = self.roles.entry(role).or_default();
        peers.last_ms = at.millis();
        let person = self.people.entry(name.clone()).or_default();
        let subject = Subject { kind: SubjectKind::Person, name: name.clone() };
        let mut alerts = Vec::new();
        let slow = person.begin(at.millis(), peers);
        if let Some(evidence) = slow {
            let severity = if evidence.weight >= SLOW_HIGH { Severity::High } else { Severity::Medium };
            let sighting = sighting(Kind::SlowExfiltration, severity, evidence, &name, "");
            alerts.extend(self.book.raise(&subject, at, sighting));
        }
        let found = person.look(access, at.millis(), watched_days, peers, &mut self.library);
        if let Some(sighting) = person.case.add(at.millis(), found, &name) {
            alerts.extend(self.book.raise(&subject, at, sighting));
        }
        person.learn(access, at.millis(), peers);
        alerts
    }
}

impl Person {
    /// Closes the days before this moment's; what has built up over them.
    fn begin(&mut self, now_ms: u64, peers: &mut Role) -> Option<Evidence> {
        let number = now_ms / DAY_MS;
        if number == self.day.number && self.active_days > 0 {
            return None;
        }
        let closed = std::mem::replace(&mut self.day, Day { number, ..Day::default() });
        self.active_days += 1;
        if self.active_days == 1 {
            return None;
        }
        self.denied = 0.85 * self.denied + 0.15 * closed.denied as f64;
        self.hours.fade();
        let excess = self.volumes.excess(closed.bytes, &peers.volumes);
        let evidence = self.reader.close(closed.number, closed.novel, excess, &peers.novel);
        self.volumes.close(closed.bytes, closed.count, &mut peers.volumes);
        peers.novel.close(closed.novel, self.active_days);
        evidence
    }

    /// What is odd about this access, given everything before it.
    fn look(
        &mut self,
        access: &Access,
        now_ms: u64,
        watched_days: f64,
        peers: &Role,
        library: &mut Library,
    ) -> Vec<(Kind, Evidence)> {
        let mut found = Vec::new();
        let settled = self.active_days > LEARN_DAYS;
        if settled || watched_days >= NEWCOMER_DAYS {
            found.extend(self.hours.look(now_ms, &peers.hours).map(|evidence| (Kind::UnusualHour, evidence)));
        }
        let place = habits::group(&access.place);
        let fresh = self.places.look(
            &place,
            now_ms,
            self.active_days,
            library.visitors(&place, &access.person),
            peers.seconds / peers.people.max(1.0),
        );
        if settled {
            if let Some(travel) = self.places.travel(&place, now_ms) {
                found.push((Kind::ImpossibleTravel, travel));
            }
            found.extend(fresh.map(|evidence| (Kind::NewPlace, evidence)));
        }
        if let Some(dormant) = self.dormant(now_ms, watched_days) {
            found.push((Kind::Dormant, dormant));
        }
        if access.allowed {
            let novel = self.reader.read(&access.artifact, now_ms, library, &access.person);
            self.day.count += 1;
            self.day.bytes = self.day.bytes.saturating_add(access.bytes);
            self.day.novel += novel;
            let day = self.day;
            let volume = self.volumes.look(day.bytes, day.count, now_ms, &peers.volumes);
            let in_hour = self.volumes.in_hour(now_ms);
            let stronger = volume.into_iter().chain(in_hour).max_by(|a, b| a.weight.total_cmp(&b.weight));
            found.extend(stronger.map(|evidence| (Kind::Volume, evidence)));
            if novel > 0.0 && (settled || watched_days >= NEWCOMER_DAYS) {
                let breadth = self.reader.breadth(day.novel, now_ms, settled, &peers.novel);
                found.extend(breadth.map(|evidence| (Kind::Breadth, evidence)));
            }
        } else {
            self.day.denied += 1;
            found.extend(self.refused(now_ms).map(|evidence| (Kind::DeniedBurst, evidence)));
        }
        found
    }

    fn learn(&mut self, access: &Access, now_ms: u64, peers: &mut Role) {
        let before = self.places.count();
        self.places.learn(&habits::group(&access.place), now_ms);
        match (before, self.places.count()) {
            (0, _) => peers.people += 1.0,
            (1, 2) => peers.seconds += 1.0,
            _ => {}
        }
        self.hours.learn(now_ms, &mut peers.hours);
        self.last_ms = now_ms;
    }

    /// People come back from holidays; what was away for longer than those, or longer than anybody knows, is weighed.
    fn dormant(&mut self, now_ms: u64, watched_days: f64) -> Option<Evidence> {
        if self.last_ms == 0 {
            return None;
        }
        let gap = days_between(self.last_ms, now_ms);
        let usual = self.gap_max_days;
        self.gap_max_days = self.gap_max_days.max(gap);
        if gap < DORMANT_DAYS || watched_days < DORMANT_DAYS || gap < 1.5 * usual {
            return None;
        }
        // Two weeks are a holiday with its weekends; from three on it is an absence.
        let weight = 2.0 + 1.2 * (gap - DORMANT_DAYS).min(6.0);
        Some(Evidence {
            weight,
            expected: format!("used every {:.0} days or more often", usual.max(1.0)),
            seen: format!("the first use after {gap:.0} days"),
            since_ms: now_ms,
        })
    }

    fn refused(&self, now_ms: u64) -> Option<Evidence> {
        let count = self.day.denied as f64;
        let tail = crate::stats::poisson_tail(count, 2.0 * self.denied + 1.5);
        let weight = (-tail.ln() * 0.6).min(10.0);
        (weight >= 2.0).then(|| Evidence {
            weight,
            expected: format!("about {:.1} denied attempts a day", self.denied),
            seen: format!("{count} today"),
            since_ms: now_ms,
        })
    }
}

impl Case {
    /// Adds evidence; what is to be told if the sum passed a level.
    fn add(&mut self, now_ms: u64, found: Vec<(Kind, Evidence)>, name: &str) -> Option<Sighting> {
        if now_ms.saturating_sub(self.began_ms) > CASE_MS {
            *self = Self { began_ms: now_ms, ..Self::default() };
        }
        for (kind, evidence) in found {
            let held = self.evidence.entry(kind).or_insert_with(|| evidence.clone());
            if evidence.weight > held.weight {
                let since_ms = held.since_ms;
                *held = Evidence { since_ms, ..evidence };
            }
        }
        let total: f64 = self.evidence.values().map(|evidence| evidence.weight).sum();
        let severity = LEVELS.iter().rev().find(|(least, _)| total >= *least).map(|(_, severity)| *severity)?;
        if self.told.is_some_and(|told| severity <= told) {
            return None;
        }
        self.told = Some(severity);
        let (kind, strongest) = self
            .evidence
            .iter()
            .max_by(|(_, a), (_, b)| a.weight.total_cmp(&b.weight))
            .map(|(k, e)| (*k, e.clone()))?;
        let others: Vec<&str> = self.evidence.keys().filter(|other| **other != kind).map(|kind| kind.name()).collect();
        let evidence = Evidence { weight: total, ..strongest };
        Some(sighting(kind, severity, evidence, name, &others.join(", ")))
    }
}

fn sighting(kind: Kind, severity: Severity, evidence: Evidence, name: &str, others: &str) -> Sighting {
    let also = if others.is_empty() { String::new() } else { format!("; also {others}") };
    Sighting {
        kind,
        signal: "access".to_owned(),
        severity: Some(severity),
        basis: Basis::Observed,
        message: format!("`{name}`: {}{also}", evidence.seen),
        expected: evidence.expected,
        seen: evidence.seen,
        since: Timestamp::from_millis(evidence.since_ms),
        confidence: 1.0 - (-evidence.weight).exp(),
    }
}

/// Lets the entry that was not seen longest give way to a new one.
fn make_room<V>(entries: &mut BTreeMap<String, V>, name: &str, limit: usize, last: impl Fn(&V) -> u64) {
    if entries.len() < limit || entries.contains_key(name) {
        return;
    }
    let oldest = entries.iter().min_by_key(|(_, value)| last(value)).map(|(name, _)| name.clone());
    oldest.map(|name| entries.remove(&name));
}

fn days_between(from_ms: u64, to_ms: u64) -> f64 {
    to_ms.saturating_sub(from_ms) as f64 / DAY_MS as f64
}

/// Sums of evidence from which on a case is told, and how grave it is then.
const LEVELS: [(f64, Severity); 4] =
    [(5.4, Severity::Low), (9.0, Severity::Medium), (13.0, Severity::High), (22.0, Severity::Critical)];
/// Evidence over days from which on slow exfiltration is high.
const SLOW_HIGH: f64 = 14.0;
/// A day, in milliseconds.
pub(crate) const DAY_MS: u64 = 86_400_000;
/// How long a case lasts, in milliseconds.
const CASE_MS: u64 = DAY_MS;
/// Days of a person's activity in which habits are learned.
const LEARN_DAYS: u64 = 3;
/// Days of watching after which somebody new is measured by their role at once.
const NEWCOMER_DAYS: f64 = 7.0;
/// Days without use from which on an account may be dormant.
const DORMANT_DAYS: f64 = 14.0;
/// People who are followed at a time.
const PEOPLE_MAX: usize = 8_192;
/// Roles that are followed at a time.
const ROLES_MAX: usize = 256;
