//! What people read: artifacts that are new to them, on one day and over many.
//!
//! An artifact that close colleagues read (people who read much of what this person reads) is hardly new: a new project
//! brings many, and with them new colleagues. One that only strangers read, or nobody, is.
//! Over days, new artifacts are held against the person's own rate and their role's by a CUSUM of Poisson likelihood
//! ratios (Page 1954; Lucas 1985), each day counting at most so much that one burst is not enough.

use std::collections::{BTreeMap, BTreeSet};

use super::{DAY_MS, Evidence};
use crate::stats::{Recent, poisson_tail};

/// Who was seen with what: artifacts and places, by digests of their names.
#[derive(Debug, Clone, Default)]
pub(super) struct Library {
    readers: Shelf,
    visitors: Shelf,
}

/// People per thing, a few of each.
#[derive(Debug, Clone, Default)]
struct Shelf {
    entries: BTreeMap<u64, BTreeSet<u64>>,
    order: std::collections::VecDeque<u64>,
}

impl Library {
    /// How many others were seen at this place; notes that this person was.
    pub(super) fn visitors(&mut self, place: &str, person: &str) -> usize {
        self.visitors.note(place, person).len()
    }
}

impl Shelf {
    /// Notes that the person was seen with the thing; who else was.
    fn note(&mut self, thing: &str, person: &str) -> Vec<u64> {
        let (thing, person) = (key(thing), key(person));
        if !self.entries.contains_key(&thing) {
            if self.order.len() >= THINGS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.entries.remove(&oldest);
            }
            self.order.push_back(thing);
        }
        let people = self.entries.entry(thing).or_default();
        let others = people.iter().copied().filter(|other| *other != person).collect();
        if people.len() < KNOWN_MAX {
            people.insert(person);
        }
        others
    }
}

/// What one person has read.
#[derive(Debug, Clone, Default)]
pub(super) struct Reader {
    known: BTreeMap<u64, u64>,
    /// Artifacts shared with others, by person; and artifacts read.
    colleagues: BTreeMap<u64, f64>,
    shared: f64,
    days: f64,
    /// Rate of new artifacts on an active day, learned from clipped days.
    novel: f64,
    recent: Recent<14>,
    built_up: f64,
    heavy: f64,
    since_day: u64,
    sum: f64,
}

/// The rate of new artifacts among people of a role.
#[derive(Debug, Clone, Default)]
pub(super) struct Pooled {
    days: f64,
    novel: f64,
}

impl Pooled {
    /// A day of one of them is over.
    pub(super) fn close(&mut self, novel: f64, active_days: u64) {
        if active_days <= WARM_UP_DAYS {
            return;
        }
        self.days += 1.0;
        let rate = if self.days < 40.0 { 1.0 / self.days } else { 0.025 };
        self.novel += (novel.min(4.0 * self.novel + 3.0) - self.novel) * rate;
    }

    fn rate(&self) -> f64 {
        if self.days < 10.0 { 1.5 } else { self.novel.max(0.2) }
    }
}

impl Reader {
    /// Notes a read; how new the artifact is: 1 where nobody close to this person reads it, less where colleagues do, 0
    /// where it is known.
    pub(super) fn read(&mut self, artifact: &str, now_ms: u64, library: &mut Library, person: &str) -> f64 {
        let others = library.readers.note(artifact, person);
        let key = key(artifact);
        if self.known.insert(key, now_ms).is_some() {
            return 0.0;
        }
        if self.known.len() > ARTIFACTS_MAX {
            let oldest = self.known.iter().min_by_key(|(_, at)| **at).map(|(key, _)| *key);
            oldest.map(|key| self.known.remove(&key));
        }
        let alone = others.is_empty();
        // On the average over its readers: with one of them everybody has something in common.
        let shared: f64 = others.iter().filter_map(|other| self.colleagues.get(other)).sum();
        let closeness = shared / others.len().max(1) as f64 / (self.shared + 4.0);
        for other in others {
            *self.colleagues.entry(other).or_default() += 1.0;
        }
        self.shared += 1.0;
        if self.colleagues.len() > COLLEAGUES_MAX {
            // Everybody fades; who has little in common goes.
            self.shared *= 0.5;
            self.colleagues.values_mut().for_each(|count| *count *= 0.5);
            self.colleagues.retain(|_, count| *count >= 1.0);
        }
        if alone { NOBODYS } else { ((CLOSE - closeness) / (CLOSE - STRANGE)).clamp(0.05, 1.0) }
    }

    /// Whether today's new artifacts are more than a new task brings.
    pub(super) fn breadth(&self, novel: f64, now_ms: u64, settled: bool, role: &Pooled) -> Option<Evidence> {
        let rate = if settled { self.rate(role) } else { 3.0 * role.rate() + 6.0 };
        let weight = (-poisson_tail(novel, 2.0 * rate + 2.0).ln() * 0.4).min(8.0);
        (weight >= 1.5).then(|| Evidence {
            weight,
            expected: format!("about {rate:.1} new artifacts a day"),
            seen: format!("{novel:.1} new artifacts today, weighted by how few others read them"),
            since_ms: now_ms,
        })
    }

    /// A day is over: what has built up over days, if it is too much.
    pub(super) fn close(&mut self, day: u64, novel: f64, excess: f64, role: &Pooled) -> Option<Evidence> {
        self.days += 1.0;
        if self.days <= WARM_UP_DAYS as f64 {
            return None;
        }
        let rate = self.rate(role);
        let raised = 2.0 * rate + 1.0;
        let ratio = novel * (raised / rate).ln() - (raised - rate);
        if self.built_up <= 0.0 && self.heavy <= 0.0 {
            self.since_day = day;
            self.sum = 0.0;
        }
        self.sum += novel;
        self.built_up = (self.built_up + ratio.clamp(-3.0, DAY_EVIDENCE_MAX)).max(0.0);
        self.heavy = (self.heavy + (excess - 1.0).clamp(-1.5, 1.5)).max(0.0);
        // New things get fewer as more is known, and the rate follows; upwards it goes slowly and by clipped days, so that a
        // slow rise does not become the rule while it happens.
        let step = if novel < self.novel { 0.15 } else { 0.06 };
        let step = if self.days <= 8.0 { 1.0 / (self.days - 2.0) } else { step };
        self.novel += (novel.min(1.2 * rate + 0.2) - self.novel) * step;
        self.recent.push(novel);
        let weight = self.built_up.max(self.heavy * 1.2);
        if weight < SLOW_MIN {
            return None;
        }
        Some(Evidence {
            weight,
            expected: format!("about {rate:.1} new artifacts on an active day"),
            seen: format!(
                "{:.0} since then, {:.1} on a usual day of late",
                self.sum,
                self.recent.newest(7).unwrap_or(novel)
            ),
            since_ms: self.since_day * DAY_MS,
        })
    }

    /// Own rate, drawn to the role's while there are few days.
    fn rate(&self, role: &Pooled) -> f64 {
        let days = (self.days - WARM_UP_DAYS as f64).max(0.0);
        ((self.novel * days + role.rate() * ROLE_DAYS) / (days + ROLE_DAYS)).max(0.2)
    }
}

/// The first bytes of the SHA-256: names are not kept.
fn key(name: &str) -> u64 {
    let digest = ringfence_schema::Digest::of(name.as_bytes());
    digest.as_bytes().iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte))
}

/// Things whose people are remembered.
const THINGS_MAX: usize = 65_536;
/// People of a thing that are told apart.
const KNOWN_MAX: usize = 16;
/// People who share artifacts with a person, at a time.
const COLLEAGUES_MAX: usize = 256;
/// Artifacts of a person that are remembered.
const ARTIFACTS_MAX: usize = 4_096;
/// Share of a person's artifacts that the readers of another share, from which on it is not new at all.
const CLOSE: f64 = 0.35;
/// The same, below which its readers are strangers.
const STRANGE: f64 = 0.15;
/// How new an artifact is that nobody else was seen with: somebody must be the first.
const NOBODYS: f64 = 0.5;
/// Active days in which everything is new.
const WARM_UP_DAYS: u64 = 4;
/// Weight of the role's rate, in own days.
const ROLE_DAYS: f64 = 8.0;
/// Most that one day adds: no burst of a day or three is slow.
const DAY_EVIDENCE_MAX: f64 = 2.2;
/// Evidence over days from which on it is told.
const SLOW_MIN: f64 = 7.5;
