//! Where what is done under a person's name comes from: from the person, or from the machines of a cluster.
//!
//! Jobs run under people's names, at all hours, on whatever machine is free, and read whole data sets. Measured together
//! with what their owners do by hand, either hides the other. A cluster is known by its machines: hosts whose names differ
//! by their numbers alone, on which things go on under one name for longer than anybody stays awake. Several people must
//! have been there for so long, so that nobody makes a cluster of their own desk; shared workstations have numbers and
//! change hands, but people go home from them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::book::cut;

/// From where something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// Anywhere but a cluster: by the person, as far as is known.
    Own,
    /// A machine of a cluster.
    Cluster,
}

impl Source {
    pub(super) const ALL: [Self; 2] = [Self::Own, Self::Cluster];

    /// The place as habits know it: one machine of a cluster is as good as another.
    pub(super) fn place(self, place: &str) -> String {
        match self {
            Self::Own => place.to_owned(),
            Self::Cluster => family(place),
        }
    }

    /// What is added to a sentence about it.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Own => "",
            Self::Cluster => ", by jobs on a cluster",
        }
    }
}

/// Something for each source.
#[derive(Debug, Clone, Default)]
pub(super) struct Each<T> {
    pub(super) own: T,
    pub(super) cluster: T,
}

impl<T> Each<T> {
    pub(super) fn of(&mut self, source: Source) -> &mut T {
        match source {
            Source::Own => &mut self.own,
            Source::Cluster => &mut self.cluster,
        }
    }
}

/// Families of hosts, by their names without numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Clusters {
    families: BTreeMap<String, Family>,
}

#[derive(Debug, Clone, Default)]
struct Family {
    is_cluster: bool,
    hosts: BTreeSet<String>,
    /// The hours, since 1970, in which each was there: the last day of them.
    hours: BTreeMap<String, VecDeque<u64>>,
    /// Who was there around the clock.
    sleepless: BTreeSet<String>,
}

impl Clusters {
    /// Notes that this person is at this place, and says what it is by now.
    pub(super) fn source(&mut self, place: &str, person: &str, now_ms: u64) -> Source {
        if place.parse::<std::net::IpAddr>().is_ok() || !place.contains(|c: char| c.is_ascii_digit()) {
            return Source::Own;
        }
        let name = family(place);
        if self.families.len() >= FAMILIES_MAX && !self.families.contains_key(&name) {
            return Source::Own;
        }
        let family = self.families.entry(name).or_default();
        if !family.is_cluster {
            family.note(place, person, now_ms / HOUR_MS);
        }
        if family.is_cluster { Source::Cluster } else { Source::Own }
    }
}

impl Family {
    fn note(&mut self, place: &str, person: &str, hour: u64) {
        if self.hosts.len() < HOSTS_MIN {
            self.hosts.insert(cut(place.to_owned()));
        }
        if self.hours.len() >= PEOPLE_MAX {
            self.hours.retain(|_, hours| hours.back().is_some_and(|last| last + 24 > hour));
        }
        if self.hours.len() >= PEOPLE_MAX && !self.hours.contains_key(person) {
            return;
        }
        let hours = self.hours.entry(person.to_owned()).or_default();
        if hours.back() != Some(&hour) {
            hours.push_back(hour);
        }
        while hours.front().is_some_and(|first| first + 24 <= hour) {
            hours.pop_front();
        }
        if hours.len() >= SLEEPLESS_HOURS {
            self.sleepless.insert(person.to_owned());
        }
        if self.hosts.len() >= HOSTS_MIN && self.sleepless.len() >= SLEEPLESS_MIN {
            *self = Self { is_cluster: true, ..Self::default() };
        }
    }
}

/// The name of a host without its numbers.
pub(super) fn family(place: &str) -> String {
    cut(place.chars().filter(|c| !c.is_ascii_digit()).chain(['#']).collect())
}

/// An hour, in milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// Families that are told apart.
const FAMILIES_MAX: usize = 256;
/// People of a family whose hours are remembered.
const PEOPLE_MAX: usize = 256;
/// Hosts of a cluster, at least.
const HOSTS_MIN: usize = 3;
/// Hours of a day in which nobody can have been active by hand.
const SLEEPLESS_HOURS: usize = 18;
/// How many people must have been active for so long.
const SLEEPLESS_MIN: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_where_several_people_are_around_the_clock() {
        let mut clusters = Clusters::default();
        let mut at = |person: &str, place: &str, hour: u64| clusters.source(place, person, hour * HOUR_MS);
        for hour in 0..48 {
            let host = hour % 5;
            // Shifts at shared machines, a service alone on its own, and addresses.
            assert_eq!(at(&format!("p{}", hour / 8), &format!("ward-pc{host}"), hour), Source::Own);
            assert_eq!(at("backup", &format!("store-{host}"), hour), Source::Own);
            assert_eq!(at("ann", &format!("10.0.0.{host}"), hour), Source::Own);
            assert_eq!(at("ann", &format!("gpu-{host:02}"), hour), Source::Own, "one person makes no cluster");
        }
        for hour in 48..48 + 17 {
            assert_eq!(at("ben", "gpu-17", hour), Source::Own);
        }
        assert_eq!(at("ben", "gpu-18", 48 + 17), Source::Cluster);
        assert_eq!(at("eve", "gpu-99", 70), Source::Cluster);
        assert_eq!(at("eve", "laptop", 70), Source::Own);
    }
}
