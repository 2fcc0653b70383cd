//! Where what is done under a person's name comes from: from the person, or from the machines of a cluster.
//!
//! Jobs run under people's names, at all hours, on whatever machine is free, and read whole data sets. Measured together
//! with what their owners do by hand, either hides the other. A cluster is known by its machines: hosts whose names differ
//! by their numbers alone, and people who are now on one, now on another of them. Workstations have numbers, too, but
//! people stay at theirs.

use std::collections::{BTreeMap, BTreeSet};

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
    people: BTreeSet<String>,
    /// Who was seen on which.
    seen: BTreeSet<(String, String)>,
}

impl Clusters {
    /// Notes that this person is at this place, and says what it is by now.
    pub(super) fn source(&mut self, place: &str, person: &str) -> Source {
        if place.parse::<std::net::IpAddr>().is_ok() || !place.contains(|c: char| c.is_ascii_digit()) {
            return Source::Own;
        }
        let name = cut(place.chars().filter(|c| !c.is_ascii_digit()).collect());
        if self.families.len() >= FAMILIES_MAX && !self.families.contains_key(&name) {
            return Source::Own;
        }
        let family = self.families.entry(name).or_default();
        if !family.is_cluster && family.seen.len() < SEEN_MAX {
            let host = cut(place.to_owned());
            family.hosts.insert(host.clone());
            family.people.insert(person.to_owned());
            family.seen.insert((person.to_owned(), host));
            if family.hosts.len() >= HOSTS_MIN && family.seen.len() >= family.people.len() + ROAMING_MIN {
                *family = Family { is_cluster: true, ..Family::default() };
            }
        }
        if family.is_cluster { Source::Cluster } else { Source::Own }
    }
}

/// Families that are told apart.
const FAMILIES_MAX: usize = 256;
/// People on hosts that are remembered of a family until it is known what it is.
const SEEN_MAX: usize = 1_024;
/// Hosts of a cluster, at least.
const HOSTS_MIN: usize = 3;
/// How often somebody must have been on one more host of a family.
const ROAMING_MIN: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_where_people_roam() {
        let mut clusters = Clusters::default();
        let mut at = |person: &str, place: &str| clusters.source(place, person);
        for number in 0..20 {
            assert_eq!(at(&format!("p{number}"), &format!("desk-{number:03}")), Source::Own, "each at their own");
            assert_eq!(at("ann", &format!("10.0.0.{number}")), Source::Own, "addresses are no hosts");
        }
        assert_eq!([at("ann", "gpu-01"), at("ann", "gpu-02"), at("ben", "gpu-02")], [Source::Own; 3]);
        assert_eq!([at("ben", "gpu-17"), at("eve", "gpu-99")], [Source::Own, Source::Cluster].map(|_| Source::Cluster));
        assert_eq!(at("ann", "laptop"), Source::Own);
    }
}
