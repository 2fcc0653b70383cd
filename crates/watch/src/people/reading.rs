//! What people read: artifacts that are new to them, and whose those are.
//!
//! An artifact that close colleagues read is hardly new: a new project brings many, and with them new colleagues. One that
//! only strangers read, or nobody, is. How close two people are is the share of what either reads that both read (Jaccard
//! 1901), so that an account which reads everything is close to nobody.

use std::collections::{BTreeMap, BTreeSet};

/// Who was seen with what: artifacts and places, by digests of their names; and what people share.
#[derive(Debug, Clone, Default)]
pub(super) struct Library {
    readers: Shelf,
    visitors: Shelf,
    /// Artifacts that two people share, both ways around, and artifacts of each.
    pairs: BTreeMap<(u64, u64), f64>,
    held: BTreeMap<u64, f64>,
    /// How much is read of an artifact at a time: reads, and the mean of the logarithm of their bytes.
    sizes: BTreeMap<u64, (f64, f64)>,
    pulses: BTreeMap<u64, [Pulse; 2]>,
}

/// By how much somebody's day is above their usual, so far.
#[derive(Debug, Clone, Copy, Default)]
struct Pulse {
    day: u64,
    excess: f64,
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
        self.visitors.note(key(place), key(person)).len()
    }

    /// How close two people are, 0 to 1.
    fn closeness(&self, one: u64, other: u64) -> f64 {
        let shared = self.pairs.get(&(one, other)).copied().unwrap_or(0.0);
        let held = |person: u64| self.held.get(&person).copied().unwrap_or(0.0);
        shared / (held(one) + held(other) - shared).max(shared).max(1.0)
    }

    /// The people closest to this one, and how close.
    pub(super) fn kin(&self, person: &str) -> Vec<(u64, f64)> {
        let one = key(person);
        let pairs = self.pairs.range((one, 0)..=(one, u64::MAX));
        let mut kin: Vec<(u64, f64)> = pairs.map(|((_, other), _)| (*other, self.closeness(one, *other))).collect();
        kin.sort_by(|a, b| b.1.total_cmp(&a.1));
        kin.truncate(KIN_MAX);
        kin
    }

    /// Notes how much was read of an artifact; the mean of the logarithm of reads before.
    fn size(&mut self, artifact: u64, log: f64) -> Option<f64> {
        if self.sizes.len() >= THINGS_MAX && !self.sizes.contains_key(&artifact) {
            self.sizes.retain(|_, (reads, _)| *reads >= 2.0);
            self.sizes.values_mut().for_each(|(reads, _)| *reads *= 0.5);
        }
        let (reads, mean) = self.sizes.entry(artifact).or_default();
        let before = (*reads >= 1.0).then_some(*mean);
        let log = before.map_or(log, |mean| log.clamp(mean - 1.0, mean + 1.0));
        *reads = (*reads + 1.0).min(SIZES_MAX);
        *mean += (log - *mean) / *reads;
        before
    }

    /// Notes that two people share an artifact.
    fn share(&mut self, one: u64, other: u64) {
        for pair in [(one, other), (other, one)] {
            *self.pairs.entry(pair).or_default() += 1.0;
        }
        if self.pairs.len() > PAIRS_MAX {
            // Everything fades; who has little in common goes.
            self.pairs.values_mut().chain(self.held.values_mut()).for_each(|count| *count *= 0.5);
            self.pairs.retain(|_, count| *count >= 1.0);
            self.held.retain(|_, count| *count >= 1.0);
        }
    }

    /// Notes by how much this person's day is above their usual.
    pub(super) fn pulse(&mut self, person: &str, day: u64, excess: f64) {
        let [newer, older] = self.pulses.entry(key(person)).or_default();
        if newer.day != day {
            *older = *newer;
        }
        *newer = Pulse { day, excess };
        if self.pulses.len() > super::PEOPLE_MAX {
            self.pulses.retain(|_, [newer, _]| newer.day + 14 >= day);
        }
    }

    /// By how much the day of these people was above their usual, in the middle.
    pub(super) fn together(&self, kin: &[(u64, f64)], day: u64) -> Option<f64> {
        let of =
            |person: &u64| self.pulses.get(person)?.iter().find(|pulse| pulse.day == day).map(|pulse| pulse.excess);
        let mut all: Vec<f64> = kin.iter().filter_map(|(person, _)| of(person)).collect();
        if all.len() < 3 {
            return None;
        }
        crate::stats::median(&mut all)
    }
}

impl Shelf {
    /// Notes that the person was seen with the thing; who else was.
    fn note(&mut self, thing: u64, person: u64) -> Vec<u64> {
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
    pub(super) kin: Vec<(u64, f64)>,
    /// By how much more or less than others this person takes of an artifact, as a logarithm.
    appetite: f64,
}

impl Reader {
    /// Bytes beyond a few times what is usually read of this artifact: people read some of most artifacts, who takes
    /// them along reads all.
    pub(super) fn beyond(&mut self, artifact: &str, bytes: f64, library: &mut Library) -> f64 {
        if bytes < 1.0 {
            return 0.0;
        }
        let log = bytes.ln();
        let Some(usual) = library.size(key(artifact), log) else { return 0.0 };
        let residual = log - usual;
        let expected = (usual + self.appetite).exp();
        self.appetite += 0.03 * ((residual - self.appetite).clamp(-1.0, 1.0));
        (bytes - BEYOND * expected).max(0.0)
    }

    /// Notes a read; how new the artifact is: 1 where nobody close to this person reads it, less where colleagues do, 0
    /// where it is known; and whether it was not read in the last two hours.
    pub(super) fn read(&mut self, artifact: &str, now_ms: u64, library: &mut Library, person: &str) -> (f64, bool) {
        let (artifact, person) = (key(artifact), key(person));
        if let Some(before_ms) = self.known.insert(artifact, now_ms) {
            return (0.0, now_ms.saturating_sub(before_ms) > AGAIN_MS);
        }
        let others = library.readers.note(artifact, person);
        if self.known.len() > ARTIFACTS_MAX {
            let oldest = self.known.iter().min_by_key(|(_, at)| **at).map(|(key, _)| *key);
            oldest.map(|key| self.known.remove(&key));
        }
        *library.held.entry(person).or_default() += 1.0;
        if others.is_empty() {
            return (NOBODYS, true);
        }
        // On the average over its readers, held against the closest colleagues: in some offices all read all.
        let sum: f64 = others.iter().map(|other| library.closeness(person, *other)).sum();
        let mean = sum / others.len() as f64;
        let best: Vec<f64> = self.kin.iter().take(3).map(|(_, closeness)| *closeness).collect();
        let best = best.iter().sum::<f64>() / best.len().max(1) as f64;
        for other in others {
            library.share(person, other);
        }
        let closeness = mean / best.max(KIN_MIN);
        (((CLOSE - closeness) / (CLOSE - STRANGE)).clamp(COLLEAGUES, 1.0), true)
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
/// Colleagues of a person who are held against.
const KIN_MAX: usize = 8;
/// Pairs of people who share artifacts, both ways around, at a time.
const PAIRS_MAX: usize = 262_144;
/// Artifacts of a person that are remembered.
const ARTIFACTS_MAX: usize = 4_096;
/// Least closeness of the closest colleagues, where a person has none.
const KIN_MIN: f64 = 0.1;
/// Closeness of the readers of an artifact as a share of the closest colleagues', from which on it is not new at all.
const CLOSE: f64 = 0.6;
/// The same, below which its readers are strangers.
const STRANGE: f64 = 0.25;
/// Time after which an artifact is read anew, in milliseconds.
const AGAIN_MS: u64 = 2 * 3_600_000;
/// How new an artifact is that close colleagues read.
const COLLEAGUES: f64 = 0.2;
/// Reads of an artifact that make its usual size, at most.
const SIZES_MAX: f64 = 20.0;
/// Times the usual bytes of a read from which on the rest is beyond it.
const BEYOND: f64 = 3.0;
/// How new an artifact is that nobody else was seen with: somebody must be the first.
const NOBODYS: f64 = 0.5;
