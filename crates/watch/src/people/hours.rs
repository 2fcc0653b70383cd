//! Hours in which a person is active; and those of a role, for people without a history.

use std::collections::VecDeque;

use super::{DAY_MS, case::Evidence};

/// Hours of the day in which somebody is active, on workdays and at weekends.
#[derive(Debug, Clone)]
pub(super) struct Hours {
    weights: [f64; 48],
    /// Hours since 1970 that are not counted yet, [`PENDING_HOURS`] of them at most.
    pending: VecDeque<u64>,
}

impl Default for Hours {
    fn default() -> Self {
        Self { weights: [0.0; 48], pending: VecDeque::new() }
    }
}

impl Hours {
    /// How odd the hour is, against this person's, their role's, and where everybody's day lies around its middle.
    pub(super) fn look(&self, now_ms: u64, role: &Self, aligned: &Self) -> Option<Evidence> {
        let slot = slot(now_ms);
        let (own, all) = (self.near(slot), self.all());
        let share_of = |hours: &Self, slot: usize| {
            if hours.all() > 0.0 { hours.near(slot) / hours.all() } else { 1.0 / 24.0 }
        };
        let expected = match self.middle().filter(|_| aligned.all() >= ALIGNED_MIN) {
            Some(middle) => share_of(aligned, turned(slot, middle)),
            None => share_of(role, slot),
        };
        let share = (own + ROLE_WEIGHT * expected + 0.3 / 24.0) / (all + ROLE_WEIGHT + 0.3);
        let known = all + role.all().min(ROLE_WEIGHT);
        if known < HOURS_MIN {
            return None;
        }
        let weight = (-(share * 24.0).ln()).clamp(0.0, 5.5);
        (weight >= 1.0).then(|| Evidence {
            weight,
            expected: format!("{:.1} % of active hours", 100.0 * share),
            seen: format!("active at {:02} h UTC{}", slot % 24, if slot >= 24 { " at a weekend" } else { "" }),
            since_ms: now_ms,
        })
    }

    /// The middle of the day, in hours UTC, where the hours have one.
    fn middle(&self) -> Option<usize> {
        let all = self.all();
        let (mut x, mut y) = (0.0, 0.0);
        for (hour, weight) in self.weights.iter().enumerate() {
            let (sine, cosine) = ((hour % 24) as f64 * std::f64::consts::TAU / 24.0).sin_cos();
            x += weight * cosine;
            y += weight * sine;
        }
        if all < MIDDLE_MIN || x.hypot(y) < CONCENTRATED * all {
            return None;
        }
        let angle = |hour: usize| hour as f64 * std::f64::consts::TAU / 24.0;
        let towards = |hour: usize| x * angle(hour).cos() + y * angle(hour).sin();
        (0..24).max_by(|a, b| towards(*a).total_cmp(&towards(*b)))
    }

    /// Counts each hour of each day once, when it is well past: what is going on is no habit yet.
    pub(super) fn learn(&mut self, now_ms: u64, role: &mut Self, aligned: &mut Self) {
        let number = now_ms / HOUR_MS;
        while let Some(past) = self.pending.front().copied().filter(|past| past + PENDING_HOURS <= number) {
            self.pending.pop_front();
            let slot = slot(past * HOUR_MS);
            if let Some(middle) = self.middle() {
                aligned.count(turned(slot, middle));
            }
            self.count(slot);
            role.count(slot);
        }
        if self.pending.back() != Some(&number) {
            self.pending.push_back(number);
        }
    }

    fn count(&mut self, slot: usize) {
        if let Some(weight) = self.weights.get_mut(slot) {
            *weight += 1.0;
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

/// The slot as seen from the middle of somebody's day.
fn turned(slot: usize, middle: usize) -> usize {
    slot / 24 * 24 + (slot % 24 + 36 - middle) % 24
}

/// 0 to 23 on workdays, 24 to 47 at weekends. 1970-01-01 was a Thursday.
fn slot(now_ms: u64) -> usize {
    let (day, hour) = (now_ms / DAY_MS, now_ms / HOUR_MS % 24);
    let weekend = (day + 3) % 7 >= 5;
    usize::try_from(hour).unwrap_or(0) + if weekend { 24 } else { 0 }
}

/// Hours until an hour of activity counts.
const PENDING_HOURS: u64 = 12;
/// An hour, in milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// Weight of the role's hours, in hours of own activity.
const ROLE_WEIGHT: f64 = 3.0;
/// Hours of activity until an hour can be odd.
const HOURS_MIN: f64 = 4.0;
/// Hours of everybody until the common day counts.
const ALIGNED_MIN: f64 = 100.0;
/// Own hours until they have a middle, and the resultant length from which on they have one.
const MIDDLE_MIN: f64 = 8.0;
const CONCENTRATED: f64 = 0.4;
