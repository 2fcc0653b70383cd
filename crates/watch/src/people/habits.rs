//! Habits of a person: places, hours, volumes; and those of a role, for people without a history.

use std::collections::BTreeMap;

use super::{DAY_MS, Evidence};
use crate::{book::cut, stats::Recent};

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

/// Places of one person.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    known: BTreeMap<String, Known>,
    last: Option<(String, u64)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    days: u64,
    day: u64,
    last_ms: u64,
}

impl Places {
    /// How new the place is: against how often this person takes new places, and whether others are there too.
    /// `seconds`: the share of their peers who have a second place.
    pub(super) fn look(
        &self,
        place: &str,
        now_ms: u64,
        active_days: u64,
        others: usize,
        seconds: f64,
    ) -> Option<Evidence> {
        if place.is_empty() || self.known.contains_key(place) {
            return None;
        }
        // Good and Turing's estimate (Good 1953) of what was never seen: places that were seen on a single day, by days,
        // halved because people come back to most of them.
        let single = self.known.values().filter(|known| known.days == 1).count() as f64;
        // Who was seen at one place only may have a second, as far as their peers have.
        let second = if self.known.len() == 1 { seconds } else { 0.0 };
        let rate = (0.2 + 0.5 * single + second) / (5.0 + active_days as f64);
        let company = match others {
            0 => 2.0,
            1 => -1.0,
            _ => -2.5,
        };
        let weight = (-rate.ln() + company).clamp(0.0, 7.5);
        let known: Vec<&str> = self.known.keys().map(String::as_str).take(4).collect();
        Some(Evidence {
            weight,
            expected: format!("from {}", known.join(", ")),
            seen: format!("from `{place}`, where {others} others were seen"),
            since_ms: now_ms,
        })
    }

    /// How many places are known.
    pub(super) fn count(&self) -> usize {
        self.known.len()
    }

    /// Another place minutes ago, where one of the two is not usual.
    pub(super) fn travel(&self, place: &str, now_ms: u64) -> Option<Evidence> {
        let (before, before_ms) = self.last.as_ref()?;
        let passed_ms = now_ms.saturating_sub(*before_ms);
        let days = |place: &str| self.known.get(place).map_or(0, |known| known.days);
        if before == place || passed_ms > TRAVEL_MS || days(place).min(days(before)) > 1 {
            return None;
        }
        // A person may change networks on the way; the sooner, the less likely.
        let weight = 4.5 - 2.5 * passed_ms as f64 / TRAVEL_MS as f64;
        Some(Evidence {
            weight,
            expected: "one place at a time".to_owned(),
            seen: format!("`{place}` {} min after `{before}`", passed_ms / 60_000),
            since_ms: *before_ms,
        })
    }

    pub(super) fn learn(&mut self, place: &str, now_ms: u64) {
        if self.known.len() >= PLACES_MAX && !self.known.contains_key(place) {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.last_ms).map(|(name, _)| name.clone());
            oldest.map(|name| self.known.remove(&name));
        }
        let day = now_ms / DAY_MS;
        let known = self.known.entry(place.to_owned()).or_default();
        if known.day != day {
            known.days += 1;
            known.day = day;
        }
        known.last_ms = now_ms;
        self.last = Some((place.to_owned(), now_ms));
    }
}

/// Hours of the day in which somebody is active, on workdays and at weekends.
#[derive(Debug, Clone)]
pub(super) struct Hours {
    weights: [f64; 48],
    slot: u64,
}

impl Default for Hours {
    fn default() -> Self {
        Self { weights: [0.0; 48], slot: 0 }
    }
}

impl Hours {
    /// How odd the hour is, against this person's and their role's.
    pub(super) fn look(&self, now_ms: u64, role: &Self) -> Option<Evidence> {
        let slot = slot(now_ms);
        let (own, all) = (self.near(slot), self.all());
        let role_share = if role.all() > 0.0 { role.near(slot) / role.all() } else { 1.0 / 24.0 };
        let share = (own + ROLE_WEIGHT * role_share + 0.4 / 24.0) / (all + ROLE_WEIGHT + 0.4);
        let known = all + role.all().min(ROLE_WEIGHT);
        if known < HOURS_MIN {
            return None;
        }
        let weight = (-(share * 24.0).ln()).clamp(0.0, 5.5);
        (weight >= 2.0).then(|| Evidence {
            weight,
            expected: format!("{:.1} % of active hours", 100.0 * share),
            seen: format!("active at {:02} h UTC{}", slot % 24, if slot >= 24 { " at a weekend" } else { "" }),
            since_ms: now_ms,
        })
    }

    /// Counts each hour of each day once.
    pub(super) fn learn(&mut self, now_ms: u64, role: &mut Self) {
        let number = now_ms / HOUR_MS;
        if number == self.slot {
            return;
        }
        self.slot = number;
        for weights in [&mut self.weights, &mut role.weights] {
            if let Some(weight) = weights.get_mut(slot(now_ms)) {
                *weight += 1.0;
            }
        }
    }

    /// Habits fade: half in about a month of activity.
    pub(super) fn fade(&mut self) {
        for weight in &mut self.weights {
            *weight *= 0.975;
        }
    }

    fn all(&self) -> f64 {
        self.weights.iter().sum()
    }

    /// Weight at this hour with its neighbours around the clock; a little of the same hour on other days.
    fn near(&self, slot: usize) -> f64 {
        let (half, hour) = (slot / 24 * 24, slot % 24);
        let at = |hour: usize| self.weights.get(half + hour % 24).copied().unwrap_or(0.0);
        let other = self.weights.get((half + 24) % 48 + hour).copied().unwrap_or(0.0);
        0.5 * at(hour) + 0.2 * (at(hour + 1) + at(hour + 23)) + 0.1 * at(hour + 2) + 0.1 * at(hour + 22) + 0.05 * other
    }
}

/// 0 to 23 on workdays, 24 to 47 at weekends. 1970-01-01 was a Thursday.
fn slot(now_ms: u64) -> usize {
    let (day, hour) = (now_ms / DAY_MS, now_ms / HOUR_MS % 24);
    let weekend = (day + 3) % 7 >= 5;
    usize::try_from(hour).unwrap_or(0) + if weekend { 24 } else { 0 }
}

/// How much somebody reads on an active day, and in an active hour.
#[derive(Debug, Clone, Default)]
pub(super) struct Volumes {
    bytes: Recent<28>,
    counts: Recent<28>,
    hours: Recent<64>,
    /// The current hour, and reads in it.
    hour: (u64, u64),
}

/// The same of all people of a role.
#[derive(Debug, Clone, Default)]
pub(super) struct Pooled {
    bytes: Recent<256>,
    counts: Recent<256>,
}

impl Volumes {
    /// How unlikely today's volume is so far, against own days; against the role's where there are few.
    pub(super) fn look(&self, bytes: u64, count: u64, now_ms: u64, role: &Pooled) -> Option<Evidence> {
        let volume = deviation(bytes, &self.bytes, &role.bytes, BYTES_SCALE_MIN);
        let often = deviation(count, &self.counts, &role.counts, COUNT_SCALE_MIN);
        let strongest = [volume, often].into_iter().flatten().max_by(|a, b| a.z.total_cmp(&b.z))?;
        if strongest.z < 2.5 {
            return None;
        }
        // Where peers do as much, it is less odd.
        let among_peers = if strongest.z_role < 1.5 { 0.6 } else { 1.0 };
        let weight = (-student_tail(strongest.z).ln() * among_peers).min(12.0);
        (weight >= 2.0).then(|| Evidence {
            weight,
            expected: format!("about {:.0} MB or {:.0} reads a day", unlog(volume, 1e6), unlog(often, 1.0)),
            seen: format!("{} MB in {count} reads today", bytes / 1_000_000),
            since_ms: now_ms,
        })
    }

    /// Notes a read; how unlikely so many within the hour are, against own hours.
    pub(super) fn in_hour(&mut self, now_ms: u64) -> Option<Evidence> {
        let number = now_ms / HOUR_MS;
        if number != self.hour.0 {
            if self.hour.1 > 0 {
                let y = (self.hour.1 as f64).ln_1p();
                let cap = self.hours.centre(0).filter(|_| self.hours.len() >= HOURS_KNOWN);
                self.hours.push(cap.map_or(y, |(m, s)| y.min(m + 3.0 * s.max(COUNT_SCALE_MIN))));
            }
            self.hour = (number, 0);
        }
        self.hour.1 += 1;
        let (median, scale) = self.hours.centre(0).filter(|_| self.hours.len() >= HOURS_KNOWN)?;
        let z = ((self.hour.1 as f64).ln_1p() - median) / scale.max(COUNT_SCALE_MIN);
        let weight = -student_tail(z.max(0.0)).ln();
        (z >= 2.5).then(|| Evidence {
            weight,
            expected: format!("about {:.0} reads an hour", median.exp_m1()),
            seen: format!("{} reads within the hour", self.hour.1),
            since_ms: now_ms,
        })
    }

    /// By how many deviations a closed day was above own days, with an eye on the role's.
    pub(super) fn excess(&self, bytes: u64, role: &Pooled) -> f64 {
        deviation(bytes, &self.bytes, &role.bytes, BYTES_SCALE_MIN).map_or(0.0, |found| found.z)
    }

    /// A day is over. A day beyond the usual is remembered only as far as a little beyond it.
    pub(super) fn close(&mut self, bytes: u64, count: u64, role: &mut Pooled) {
        for (value, own, pooled, scale) in [
            (bytes, &mut self.bytes, &mut role.bytes, BYTES_SCALE_MIN),
            (count, &mut self.counts, &mut role.counts, COUNT_SCALE_MIN),
        ] {
            let y = (value as f64).ln_1p();
            let cap = own.centre(0).filter(|_| own.len() >= DAYS_MIN).map(|(m, s)| m + 2.5 * s.max(scale));
            own.push(cap.map_or(y, |cap| y.min(cap)));
            let cap = pooled.centre(0).filter(|_| pooled.len() >= 20).map(|(m, s)| m + 2.5 * s.max(scale));
            pooled.push(cap.map_or(y, |cap| y.min(cap)));
        }
    }
}

#[derive(Clone, Copy)]
struct Deviation {
    z: f64,
    z_role: f64,
    centre: f64,
}

fn deviation(value: u64, own: &Recent<28>, role: &Recent<256>, scale_min: f64) -> Option<Deviation> {
    let y = (value as f64).ln_1p();
    let z = |(median, scale): (f64, f64)| (y - median) / scale.max(scale_min);
    let peers = role.centre(0).filter(|_| role.len() >= 20);
    let z_role = peers.map_or(0.0, z);
    match own.centre(0).filter(|_| own.len() >= DAYS_MIN) {
        Some(centre) => Some(Deviation { z: z(centre), z_role, centre: centre.0 }),
        None => peers.map(|centre| Deviation { z: z_role, z_role, centre: centre.0 }),
    }
}

fn unlog(deviation: Option<Deviation>, unit: f64) -> f64 {
    deviation.map_or(0.0, |found| found.centre.exp_m1() / unit)
}

/// Upper tail of Student's t with 3 degrees of freedom: volumes have heavy tails.
fn student_tail(z: f64) -> f64 {
    let x = z / 3.0_f64.sqrt();
    let within = x / (1.0 + x * x) + x.atan();
    (0.5 - within / std::f64::consts::PI).max(1e-9)
}

const HOUR_MS: u64 = 3_600_000;
/// Places of a person that are remembered.
const PLACES_MAX: usize = 64;
/// Time within which two places are odd, in milliseconds.
const TRAVEL_MS: u64 = 60 * 60 * 1_000;
/// Weight of the role's hours, in hours of own activity.
const ROLE_WEIGHT: f64 = 4.0;
/// Hours of activity until an hour can be odd.
const HOURS_MIN: f64 = 4.0;
/// Own days until they are the measure.
const DAYS_MIN: usize = 5;
/// Own hours until they are the measure.
const HOURS_KNOWN: usize = 12;
/// Least deviation of the logarithm of daily bytes.
const BYTES_SCALE_MIN: f64 = 0.6;
/// Least deviation of the logarithm of daily reads.
const COUNT_SCALE_MIN: f64 = 0.5;
