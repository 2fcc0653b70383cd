//! Who reads which artifacts, when, from where and how much, against themselves and their peers.
//!
//! [`PeopleWatch::push`] takes one [`Access`] after the other. Each oddity yields evidence in natural logarithms of odds:
//! circumstances (`hours`, `places`, an absence, refusals) and amounts (`volumes`, of what `reading` calls new). `case`
//! holds together what occurs together, has the whole office say how much each score is worth, and tells it under one
//! name that stays when it gets graver. What builds up over days (`slow`) is a case of its own. What runs under a person's
//! name on the machines of a cluster is measured apart from what they do themselves (`sources`): jobs run all night.
//!
//! What must stay true: people without a history are measured by the people of their role; memory is bounded by people,
//! roles and artifacts, those not seen longest giving way; nobody teaches the watch a habit in a single day.

mod case;
mod hours;
mod places;
mod reading;
mod slow;
mod sources;
mod volumes;

use std::collections::BTreeMap;

use ringfence_schema::{
    Timestamp,
    alert::{Access, Alert, Basis, Subject, SubjectKind},
};

use crate::{
    book::cut,
    rules::{self, Kind},
};
use case::{Case, Evidence, Finding, Gauges};
use hours::Hours;
use places::Places;
use reading::{Library, Reader};
use slow::Slow;
use sources::{Clusters, Each, Source};
use volumes::{Amount, Volumes};

/// Watches all people of a vault.
#[derive(Debug, Clone)]
pub struct PeopleWatch {
    people: BTreeMap<String, Person>,
    roles: BTreeMap<String, Role>,
    library: Library,
    gauges: Gauges,
    office: Office,
    clusters: Clusters,
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
    absent: Option<Evidence>,
    places: Places,
    streams: Each<Stream>,
    reader: Reader,
    denied: f64,
    case: Case,
    building: Case,
}

/// What a person does from one source.
#[derive(Debug, Clone, Default)]
struct Stream {
    active_days: u64,
    /// Whether there is anything of the current day, and how much.
    is_active: bool,
    amount: Amount,
    hours: Hours,
    volumes: Volumes,
    slow: Slow,
    built_up: [f64; slow::CHANNELS.len()],
}

/// The current day of a person.
#[derive(Debug, Clone, Copy, Default)]
struct Day {
    number: u64,
    denied: u64,
}

/// What people of one role do.
#[derive(Debug, Clone, Default)]
struct Role {
    last_ms: u64,
    streams: Each<Peers>,
}

/// What people of one role do from one source.
#[derive(Debug, Clone, Default)]
struct Peers {
    hours: Hours,
    volumes: volumes::Pooled,
    slow: slow::Pooled,
}

/// What everybody does.
#[derive(Debug, Clone, Default)]
struct Office {
    /// Hours around the middle of each one's day.
    hours: Each<Hours>,
    moves: places::Moves,
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
            gauges: Gauges::default(),
            office: Office::default(),
            clusters: Clusters::default(),
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
        let source = self.clusters.source(&access.place, &name, at.millis());
        let role = self.roles.entry(role).or_default();
        role.last_ms = at.millis();
        let people = self.people.len() as f64;
        let person = self.people.entry(name.clone()).or_default();
        let subject = Subject { kind: SubjectKind::Person, name: name.clone() };
        let mut alerts = Vec::new();
        for (source, mut evidence) in person.begin(at.millis(), role, &mut self.library, &mut self.gauges, &name) {
            let stream = person.streams.of(source);
            let (weight, most) = self.gauges.build_up(source, &mut stream.built_up, stream.slow.sums, people);
            evidence.weight = weight;
            let what = slow::CHANNELS.get(most).copied().unwrap_or_default();
            evidence.seen = format!("{}: {what}{}", evidence.seen, source.words());
            alerts.extend(
                person.building.build_up(evidence).map(|found| tell(&mut person.building, found, &subject, at)),
            );
        }
        person.case.renew(at.millis());
        let around = Around {
            now_ms: at.millis(),
            watched_days,
            source,
            peers: role.streams.of(source),
            office: &mut self.office,
        };
        let found = person.look(access, around, &mut self.library);
        let found = person.case.add(source, found, &self.gauges, watched_days);
        alerts.extend(found.map(|found| tell(&mut person.case, found, &subject, at)));
        person.learn(access, source, at.millis(), role, &mut self.office);
        alerts
    }
}

/// What is around an access.
struct Around<'a> {
    now_ms: u64,
    watched_days: f64,
    source: Source,
    peers: &'a mut Peers,
    office: &'a mut Office,
}

impl Person {
    /// Closes the days before this moment's; what has built up over them.
    fn begin(
        &mut self,
        now_ms: u64,
        role: &mut Role,
        library: &mut Library,
        gauges: &mut Gauges,
        name: &str,
    ) -> Vec<(Source, Evidence)> {
        let number = now_ms / DAY_MS;
        if number == self.day.number && self.active_days > 0 {
            return Vec::new();
        }
        let closed = std::mem::replace(&mut self.day, Day { number, ..Day::default() });
        self.active_days += 1;
        if self.active_days == 1 {
            return Vec::new();
        }
        self.denied = 0.85 * self.denied + 0.15 * closed.denied as f64;
        if self.active_days > LEARN_DAYS + 1 {
            gauges.note(&self.case);
        }
        self.reader.kin = library.kin(name);
        let mut built_up = Vec::new();
        for source in Source::ALL {
            let (stream, peers) = (self.streams.of(source), role.streams.of(source));
            if !std::mem::take(&mut stream.is_active) {
                continue;
            }
            let amount = std::mem::take(&mut stream.amount);
            stream.hours.fade();
            stream.volumes.close(amount, &mut peers.volumes);
            let shared = library.together(&self.reader.kin, closed.number).filter(|_| source == Source::Own);
            let found = stream.slow.close(closed.number, amount, shared, &mut peers.slow);
            built_up.extend(found.map(|evidence| (source, evidence)));
        }
        built_up
    }

    /// What is odd about this access, given everything before it.
    fn look(&mut self, access: &Access, around: Around<'_>, library: &mut Library) -> Vec<(Kind, Evidence)> {
        let Around { now_ms, watched_days, source, peers, office } = around;
        let mut found = Vec::new();
        let stream = self.streams.of(source);
        if !std::mem::replace(&mut stream.is_active, true) {
            stream.active_days += 1;
        }
        let settled = self.active_days > LEARN_DAYS;
        let measured = stream.active_days > LEARN_DAYS || watched_days >= NEWCOMER_DAYS;
        if measured {
            let hour = stream.hours.look(now_ms, &peers.hours, office.hours.of(source));
            found.extend(hour.map(|evidence| (Kind::UnusualHour, evidence)));
        }
        let place = source.place(&access.place);
        let fresh = self.places.look(&place, now_ms, self.active_days, &office.moves, library, &access.person);
        if settled {
            // A job is where the cluster has room.
            if let Some(travel) = self.places.travel(&place, now_ms).filter(|_| source == Source::Own) {
                found.push((Kind::ImpossibleTravel, travel));
            }
            found.extend(fresh.map(|evidence| (Kind::NewPlace, evidence)));
        }
        found.extend(self.dormant(now_ms, watched_days).map(|evidence| (Kind::Dormant, evidence)));
        let stream = self.streams.of(source);
        if access.allowed {
            let (novel, anew) = self.reader.read(&access.artifact, now_ms, library, &access.person);
            let bytes = access.bytes as f64;
            let beyond = stream.slow.in_days(self.reader.beyond(&access.artifact, bytes, library));
            let flag = |is: bool| f64::from(u8::from(is));
            let read = Amount { count: 1.0, bytes, novel, first: flag(novel > 0.0), beyond, distinct: flag(anew) };
            stream.amount.add(read);
            let much = stream.volumes.look(read, stream.amount, now_ms, &mut peers.volumes);
            found.extend(much.filter(|_| measured).map(|much| (much.kind, much.evidence)));
            if source == Source::Own {
                library.pulse(&access.person, self.day.number, stream.slow.excess(stream.amount.bytes));
            }
        } else {
            self.day.denied += 1;
        }
        found.extend(self.refused(now_ms).map(|evidence| (Kind::DeniedBurst, evidence)));
        found
    }

    fn learn(&mut self, access: &Access, source: Source, now_ms: u64, role: &mut Role, office: &mut Office) {
        let place = source.place(&access.place);
        self.places.learn(&place, now_ms, self.active_days, &mut office.moves, source == Source::Own);
        let peers = role.streams.of(source);
        self.streams.of(source).hours.learn(now_ms, &mut peers.hours, office.hours.of(source));
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
            let absent = self.absent.as_ref().filter(|absent| now_ms.saturating_sub(absent.since_ms) < DAY_MS)?;
            // Who comes back from a holiday goes on with what they had; who comes in their place looks around.
            let Amount { first, distinct, .. } = self.streams.own.amount;
            let strange = if first >= STRANGE_MIN { (first / distinct.max(1.0) - STRANGE_SHARE).max(0.0) } else { 0.0 };
            return Some(Evidence { weight: absent.weight + STRANGE_WEIGHT * strange, ..absent.clone() });
        }
        // Two weeks are a holiday with its weekends; from three on it is an absence.
        let weight =
            if gap < HOLIDAY_DAYS { 5.5 - 0.7 * (HOLIDAY_DAYS - gap) } else { 5.5 + (gap - HOLIDAY_DAYS).min(6.0) };
        self.absent = Some(Evidence {
            weight,
            expected: format!("used every {:.0} days or more often", usual.max(1.0)),
            seen: format!("the first use after {gap:.0} days"),
            since_ms: now_ms,
        });
        self.absent.clone()
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

/// The alert of a finding. Later ones of the same case have its name, and are graver.
fn tell(case: &mut Case, found: Finding, subject: &Subject, at: Timestamp) -> Alert {
    let rule = rules::builtin(found.kind);
    let also = if found.others.is_empty() { String::new() } else { format!("; also {}", found.others.join(", ")) };
    Alert {
        id: case.name(&rule.id, subject, SIGNAL),
        rule: rule.id.clone(),
        kind: found.kind.name().to_owned(),
        severity: found.severity,
        subject: subject.clone(),
        signal: SIGNAL.to_owned(),
        basis: Basis::Observed,
        expected: cut(found.evidence.expected),
        message: cut(format!("`{}`: {}{also}", subject.name, found.evidence.seen)),
        seen: cut(found.evidence.seen),
        since: Timestamp::from_millis(case.since_ms).min(at),
        at,
        confidence: (1.0 - (-found.evidence.weight).exp()).clamp(0.0, 1.0),
        why: rule.why.clone(),
        remedy: rule.remedy.clone(),
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

/// What alerts about people are about.
const SIGNAL: &str = "access";
/// A day, in milliseconds.
pub(crate) const DAY_MS: u64 = 86_400_000;
/// Days of a person's activity in which habits are learned.
const LEARN_DAYS: u64 = 3;
/// Days of watching after which somebody new is measured by their role at once.
const NEWCOMER_DAYS: f64 = 7.0;
/// Days without use from which on an account may be dormant.
const DORMANT_DAYS: f64 = 10.0;
/// Artifacts never read before, their share of all, and what that weighs, after an absence.
const STRANGE_MIN: f64 = 4.0;
const STRANGE_SHARE: f64 = 0.3;
const STRANGE_WEIGHT: f64 = 5.0;
/// Days of a long holiday with its weekends.
const HOLIDAY_DAYS: f64 = 14.0;
/// People who are followed at a time.
const PEOPLE_MAX: usize = 8_192;
/// Roles that are followed at a time.
const ROLES_MAX: usize = 256;
