//! Places of a person: how new one is, and whether somebody can be at two at once.
//!
//! How likely a place is that was never seen is estimated from the places that were seen once (Good 1953). A place, or a
//! network around it, where others are seen is hardly new; neither is one beside the person's own.

use std::collections::BTreeMap;

use super::{DAY_MS, case::Evidence, reading::Library};
use crate::book::cut;

/// The place as habits know it: the network of an address (24 bits of IPv4, 48 of IPv6), or the text itself.
pub(super) fn group(place: &str) -> String {
    match place.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(v4)) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        Ok(std::net::IpAddr::V6(v6)) => {
            let [a, b, c, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
        Err(_) => cut(place.to_owned()),
    }
}

/// What is around a place: 16 bits of IPv4, 32 of IPv6; of a host, its name without its numbers.
fn around(place: &str) -> String {
    match place.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(v4)) => {
            let [a, b, ..] = v4.octets();
            format!("{a}.{b}.0.0/16")
        }
        Ok(std::net::IpAddr::V6(v6)) => {
            let [a, b, ..] = v6.segments();
            format!("{a:x}:{b:x}::/32")
        }
        Err(_) => format!("{}#", cut(place.chars().filter(|c| !c.is_ascii_digit()).collect())),
    }
}

/// Places of one person.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    known: BTreeMap<String, Known>,
    last: Option<(String, u64)>,
    /// The place before the last one, and when it was left.
    before: Option<(String, u64)>,
    day: u64,
}

/// How often people who know so many places take one more: to begin a day there, or in the middle of one.
#[derive(Debug, Clone, Default)]
pub(super) struct Moves {
    by_known: [Taken; 4],
}

#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    first: f64,
    amid: f64,
    days: f64,
}

impl Moves {
    fn rate(&self, known: usize, amid: bool) -> f64 {
        let at = known.clamp(1, self.by_known.len()) - 1;
        let taken = self.by_known.get(at).copied().unwrap_or_default();
        (if amid { taken.amid + 0.3 } else { taken.first + 0.6 }) / (taken.days + 20.0)
    }

    fn note(&mut self, known: usize, count: impl Fn(&mut Taken)) {
        let at = known.clamp(1, self.by_known.len()) - 1;
        self.by_known.get_mut(at).into_iter().for_each(count);
    }
}

#[derive(Debug, Clone, Default)]
struct Known {
    days: u64,
    day: u64,
    last_ms: u64,
    /// What is around it, and how odd it was at first.
    around: String,
    odd: f64,
    first_ms: u64,
}

impl Places {
    /// Notes the place; how new it is: against how often this person takes new places, and whether others are there too.
    /// A place stays new for the day.
    pub(super) fn look(
        &mut self,
        place: &str,
        now_ms: u64,
        active_days: u64,
        moves: &Moves,
        library: &mut Library,
        person: &str,
    ) -> Option<Evidence> {
        if place.is_empty() {
            return None;
        }
        let name = group(place);
        if let Some(known) = self.known.get(&name) {
            let is_fresh = |known: &Known| known.odd > 0.0 && now_ms.saturating_sub(known.first_ms) < DAY_MS;
            if is_fresh(known) {
                return Some(self.evidence(&name, known.odd, known.first_ms));
            }
            // Back from a new place a moment ago.
            let (last, last_ms) = self.last.as_ref()?;
            let fresh = self.known.get(last).filter(|known| is_fresh(known))?;
            let soon = now_ms.saturating_sub(*last_ms) <= TRAVEL_MS;
            return soon.then(|| self.evidence(last, fresh.odd, fresh.first_ms));
        }
        let around = around(place);
        let others = library.visitors(&name, person);
        let near = library.visitors(&around, person);
        // Places that were seen on a single day, by days, halved because people come back to most of them.
        let single = self.known.values().filter(|known| known.days == 1).count() as f64;
        let beside = self.known.values().any(|known| known.around == around);
        let amid = self.day == now_ms / DAY_MS;
        let single = if amid { 0.3 * single } else { single };
        let rate =
            (MOVES_WEIGHT * moves.rate(self.known.len(), amid) + 0.5 * single) / (MOVES_WEIGHT + active_days as f64);
        let company = match (others, near) {
            (2.., _) => -2.5,
            (1, _) => -1.0,
            _ if beside => -1.0,
            (0, 0) => 2.0,
            (0, 1) => 1.0,
            _ => 0.0,
        };
        let odd = (-rate.ln() + company).clamp(0.0, PLACE_MAX);
        let evidence = self.evidence(&name, odd, now_ms);
        self.known.insert(name, Known { around, odd, first_ms: now_ms, ..Known::default() });
        (odd > 0.0).then_some(evidence)
    }

    fn evidence(&self, name: &str, weight: f64, since_ms: u64) -> Evidence {
        let known: Vec<&str> = self.known.keys().map(String::as_str).filter(|known| *known != name).take(4).collect();
        let expected = format!("from {}", known.join(", "));
        Evidence { weight, expected, seen: format!("from `{name}`, which is new to them"), since_ms }
    }

    /// Another place minutes ago, where one of the two is not usual; back and forth, nobody travels.
    pub(super) fn travel(&self, place: &str, now_ms: u64) -> Option<Evidence> {
        let (before, before_ms) = self.last.as_ref()?;
        let place = group(place);
        let passed_ms = now_ms.saturating_sub(*before_ms);
        let days = |place: &str| self.known.get(place).map_or(0, |known| known.days);
        if *before == place || passed_ms > TRAVEL_MS || days(&place).min(days(before)) > 1 {
            return None;
        }
        // Where others are too, or which is beside, is an exit of a network rather than a place.
        let odd = |place: &str| self.known.get(place).filter(|known| known.days <= 1).map_or(0.0, |known| known.odd);
        if odd(&place).max(odd(before)) < ODD_MIN {
            return None;
        }
        let back = self.before.as_ref().filter(|(name, _)| *name == place);
        let back = back.filter(|(_, left_ms)| now_ms.saturating_sub(*left_ms) <= BACK_MS);
        // A person may change networks on the way; the sooner, the less likely.
        let weight = 4.5 - 2.5 * passed_ms as f64 / TRAVEL_MS as f64 + if back.is_some() { BACK } else { 0.0 };
        Some(Evidence {
            weight,
            expected: "one place at a time".to_owned(),
            seen: format!(
                "`{place}` {} min after `{before}`{}",
                passed_ms / 60_000,
                if back.is_some() { " and before it" } else { "" }
            ),
            since_ms: *before_ms,
        })
    }

    /// Notes that the person, or a job of theirs (not `in_person`), was here.
    pub(super) fn learn(&mut self, place: &str, now_ms: u64, active_days: u64, moves: &mut Moves, in_person: bool) {
        let place = group(place);
        if self.known.len() > PLACES_MAX {
            let oldest = self.known.iter().filter(|(name, _)| **name != place).min_by_key(|(_, known)| known.last_ms);
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.map(|name| self.known.remove(&name));
        }
        let day = now_ms / DAY_MS;
        let amid = self.day == day;
        if !amid && active_days > 1 {
            moves.note(self.known.len(), |taken| taken.days += 1.0);
        }
        self.day = day;
        let known = self.known.entry(place.clone()).or_default();
        let moved = known.days == 0 && known.odd > 0.0;
        if known.day != day {
            known.days += 1;
            known.day = day;
        }
        known.last_ms = now_ms;
        if moved && active_days > 1 {
            let known = self.known.len().saturating_sub(1);
            moves.note(known, |taken| *if amid { &mut taken.amid } else { &mut taken.first } += 1.0);
        }
        if !in_person {
            return;
        }
        if self.last.as_ref().is_some_and(|(last, _)| *last != place) {
            self.before = self.last.take();
        }
        self.last = Some((place, now_ms));
    }
}

/// Places of a person that are remembered.
const PLACES_MAX: usize = 64;
/// Time within which two places are odd, in milliseconds.
const TRAVEL_MS: u64 = 60 * 60 * 1_000;
/// Weight of how often others take new places, in days.
const MOVES_WEIGHT: f64 = 12.0;
/// How new one of two places must be for both at a time to be odd.
const ODD_MIN: f64 = 2.5;
/// Time within which somebody is back at a place, in milliseconds.
const BACK_MS: u64 = 4 * TRAVEL_MS;
/// What somebody weighs more who is back at a place within the same hours.
const BACK: f64 = 3.0;
/// Most that a new place weighs.
const PLACE_MAX: f64 = 8.5;
