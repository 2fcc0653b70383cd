//! What builds up over days: a little more every day, in bytes or in artifacts that are not one's own.
//!
//! Each closed day adds the logarithm of a likelihood ratio to a CUSUM (Page 1954): of bytes, a normal shift on the
//! logarithmic scale against own days, and the rank among them, which needs no scale; of new artifacts, a raised Poisson
//! rate (Lucas 1985); and of both together. A day
//! adds at most so much that one burst is not enough. What colleagues share on the same day (a deadline) is nobody's
//! own; and while a sum stands high its days are not learned, so that a slow rise does not become the rule.

use super::{DAY_MS, case::Evidence, volumes::Amount};
use crate::stats::Recent;

/// The state of one person.
#[derive(Debug, Clone, Default)]
pub(super) struct Slow {
    bytes: Recent<28>,
    days: f64,
    /// Rate of new artifacts on an active day, learned from clipped days.
    novel: f64,
    /// Rate of artifacts never read before, whoever else reads them, learned alike.
    first: f64,
    /// Days that the rank of a day is taken among, and how many were kept out of them.
    ranked: Recent<28>,
    ranked_held_back: u32,
    /// CUSUMs of new artifacts, bytes, both, bytes beyond the usual of their artifacts, artifacts never read before, and of
    /// the ranks of bytes.
    pub(super) sums: [f64; CHANNELS.len()],
    /// Bytes beyond the usual as a share of a day's, learned from clipped days.
    beyond: f64,
    since_day: u64,
    held_back: u32,
    total: Amount,
}

/// The rate of new artifacts among people of a role, and the deviation of their daily bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Pooled {
    days: f64,
    novel: f64,
    first: f64,
    scales: Recent<256>,
}

impl Pooled {
    fn rate(&self) -> f64 {
        if self.days < 10.0 { 1.5 } else { self.novel.max(0.2) }
    }
}

impl Slow {
    /// By how much the logarithm of this many bytes is above own days.
    pub(super) fn excess(&self, bytes: f64) -> f64 {
        let centre = self.bytes.centre(0).filter(|_| self.bytes.len() >= DAYS_MIN);
        centre.map_or(0.0, |(median, _)| log(bytes) - median)
    }

    /// A day is over: what has built up over days. `shared`: the excess of colleagues on that day.
    pub(super) fn close(
        &mut self,
        day: u64,
        amount: Amount,
        shared: Option<f64>,
        role: &mut Pooled,
    ) -> Option<Evidence> {
        self.days += 1.0;
        if self.days <= WARM_UP_DAYS {
            self.bytes.push(log(amount.bytes));
            self.ranked.push(log(amount.bytes));
            return None;
        }
        let rate = self.rate(role);
        let novel = raised_rate(amount.novel, rate, 2.0 * rate + 1.5);
        let bytes = self.bytes_ratio(amount.bytes, shared, role);
        if self.sums.iter().all(|sum| *sum <= 0.0) {
            self.since_day = day;
            self.total = Amount::default();
        }
        self.total.add(amount);
        let novel = novel.clamp(-3.0, DAY_MAX);
        let beyond = (BEYOND_SLOPE * (amount.beyond - BEYOND_LEAST - 2.0 * self.beyond)).clamp(-1.5, DAY_MAX);
        // Colleagues' artifacts are hardly new for a day or three: a project begins. Day after day they are a collection.
        let usual = self.first_rate(role);
        let first = raised_rate(amount.first, usual, 3.0 * usual + 3.0).clamp(-2.0, FIRST_MAX);
        let excess = log(amount.bytes) - (shared.unwrap_or(0.0) - SHARED_LEAST).max(0.0);
        let rank = rank_ratio(self.ranked.rank(excess));
        let ratios = [novel, bytes, (novel + bytes).clamp(-3.0, BOTH_MAX), beyond, first, rank];
        for (sum, ratio) in self.sums.iter_mut().zip(ratios) {
            *sum = (*sum + ratio).max(0.0);
        }
        let [others @ .., ranks] = self.sums;
        let weight = others.into_iter().fold(0.0, f64::max);
        self.learn(amount, rate, weight, role);
        let suspected = ranks >= RANKS_SUSPECTED && self.ranked_held_back < HELD_BACK_MAX;
        self.ranked_held_back = if ranks <= 0.0 { 0 } else { self.ranked_held_back + u32::from(suspected) };
        if !suspected {
            self.ranked.push(log(amount.bytes));
        }
        let weight = weight.max(ranks);
        (weight >= LEAST).then(|| Evidence {
            weight,
            expected: format!("about {rate:.1} new artifacts and {:.0} MB on an active day", self.usual() / 1e6),
            seen: format!("{:.0} new artifacts and {:.0} MB since then", self.total.novel, self.total.bytes / 1e6),
            since_ms: self.since_day * DAY_MS,
        })
    }

    /// Likelihood ratio of one day's bytes: about three times the usual against the usual.
    fn bytes_ratio(&self, bytes: f64, shared: Option<f64>, role: &Pooled) -> f64 {
        let n = self.bytes.len() as f64;
        let Some((median, scale)) = self.bytes.centre(0).filter(|_| self.bytes.len() >= DAYS_MIN) else { return 0.0 };
        let common = role.scales.newest(256).unwrap_or(SCALE).clamp(0.3, 1.2);
        let variance = (n * scale * scale + PRIOR * common * common) / (n + PRIOR) * (1.0 + 2.0 / n);
        let excess = log(bytes) - median - (shared.unwrap_or(0.0) - SHARED_LEAST).max(0.0);
        (SHIFT / variance.max(0.06) * (excess - 0.5 * SHIFT)).clamp(-2.0, DAY_MAX)
    }

    fn learn(&mut self, amount: Amount, rate: f64, weight: f64, role: &mut Pooled) {
        // A day under suspicion is not learned; a rise that lasts for weeks was told and is the rule from then on.
        let suspected = weight >= SUSPECTED && self.held_back < HELD_BACK_MAX;
        self.held_back = if weight <= 0.0 { 0 } else { self.held_back + u32::from(suspected) };
        if !suspected {
            self.bytes.push(log(amount.bytes));
            if let Some((_, scale)) = self.bytes.centre(0).filter(|_| self.bytes.len() >= 2 * DAYS_MIN) {
                role.scales.push(scale);
            }
            let step = if amount.novel < self.novel { 0.15 } else { 0.08 };
            let step = if self.days <= 8.0 { 1.0 / (self.days - WARM_UP_DAYS + 2.0) } else { step };
            self.beyond += (amount.beyond.min(2.0 * self.beyond + 0.2) - self.beyond) * step;
            self.novel += (amount.novel.min(1.5 * rate + 0.5) - self.novel) * step;
            let usual = self.first_rate(role);
            self.first += (amount.first.min(1.5 * usual + 0.5) - self.first) * step;
        }
        role.days += 1.0;
        let step = if role.days < 40.0 { 1.0 / role.days } else { 0.025 };
        role.novel += (amount.novel.min(4.0 * role.novel + 3.0) - role.novel) * step;
        role.first += (amount.first.min(4.0 * role.first + 3.0) - role.first) * step;
    }

    /// So many bytes in days of this person, once those are known.
    pub(super) fn in_days(&self, bytes: f64) -> f64 {
        if self.bytes.len() < DAYS_MIN { 0.0 } else { bytes / self.usual().max(1e6) }
    }

    fn usual(&self) -> f64 {
        self.bytes.centre(0).map_or(0.0, |(median, _)| median.exp_m1() * 1e3)
    }

    /// Own rate of new artifacts, drawn to the role's while there are few days.
    fn rate(&self, role: &Pooled) -> f64 {
        self.drawn(self.novel, role.rate())
    }

    /// The same for artifacts never read before.
    fn first_rate(&self, role: &Pooled) -> f64 {
        self.drawn(self.first, if role.days < 10.0 { 3.0 } else { role.first })
    }

    fn drawn(&self, own: f64, role: f64) -> f64 {
        let days = (self.days - WARM_UP_DAYS).max(0.0);
        ((own * days + role * ROLE_DAYS) / (days + ROLE_DAYS)).max(0.2)
    }
}

/// Logarithm of the likelihood ratio of a count under a raised Poisson rate against the usual one.
fn raised_rate(count: f64, usual: f64, raised: f64) -> f64 {
    count * (raised / usual).ln() - (raised - usual)
}

/// Logarithm of the likelihood ratio of a day's rank: that of a day which is mostly among the highest (the density of the
/// highest of [`HIGHEST_OF`] even numbers) against any.
fn rank_ratio(rank: f64) -> f64 {
    (HIGHEST_OF.ln() + (HIGHEST_OF - 1.0) * rank.ln()).max(-2.0)
}

fn log(bytes: f64) -> f64 {
    (bytes / 1e3).ln_1p()
}

/// What the sums are about, in their order.
pub(super) const CHANNELS: [&str; 6] = [
    "artifacts that are not theirs, day after day",
    "more bytes than usual, day after day",
    "more bytes and artifacts than usual, day after day",
    "more of each artifact than is usually read of it, day after day",
    "artifacts never read before, day after day",
    "more bytes than on nearly all days before, day after day",
];
/// Active days in which everything is new.
const WARM_UP_DAYS: f64 = 4.0;
/// Own days until bytes can be odd.
const DAYS_MIN: usize = 4;
/// Weight of the role's rate, in own days.
const ROLE_DAYS: f64 = 6.0;
/// Weight of the role's deviation, in own days.
const PRIOR: f64 = 5.0;
/// Deviation of the logarithm of daily bytes, where nothing is known.
const SCALE: f64 = 0.6;
/// What is tested: three times the bytes, as a logarithm.
const SHIFT: f64 = 1.1;
/// Most that one day adds: no burst of a day or three is slow.
const DAY_MAX: f64 = 2.2;
/// The same of artifacts that only this person never read before: a project's first days are many.
const FIRST_MAX: f64 = 1.1;
/// Share of a day's bytes from which on more than is usual of the artifacts counts, and how fast.
const BEYOND_LEAST: f64 = 0.3;
const BEYOND_SLOPE: f64 = 2.0;
/// Excess of colleagues, as a logarithm, that explains nothing.
const SHARED_LEAST: f64 = 0.3;
/// The same of both together, which have few honest reasons in common.
const BOTH_MAX: f64 = 2.6;
/// Sums from which on days are not learned, and for how many days at most.
const SUSPECTED: f64 = 1.5;
const HELD_BACK_MAX: u32 = 15;
/// A day under suspicion is the highest of so many.
const HIGHEST_OF: f64 = 3.0;
/// Sum of ranks from which on days are not learned.
const RANKS_SUSPECTED: f64 = 2.5;
/// Sum from which on it is told.
const LEAST: f64 = 5.0;
