//! How much somebody reads: on a day, and within any two hours, which a bulk cannot hide in a day's total.
//!
//! Reads, bytes and new artifacts are held against the same person's days and hours on a logarithmic scale, with robust
//! centres and scales drawn to a common one while little is known, and the tail of a Student distribution: amounts have
//! heavy tails. The three are faces of one fact, so the strongest counts, and the next a little.

use super::case::Evidence;
use crate::{rules::Kind, stats::Recent};

/// Reads, bytes and new artifacts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Amount {
    pub(super) count: f64,
    pub(super) bytes: f64,
    pub(super) novel: f64,
    /// Artifacts that this person never read before, whoever else does.
    pub(super) first: f64,
    /// Reads of artifacts that this person did not read in the two hours before.
    pub(super) distinct: f64,
    /// Bytes beyond what is usually read of an artifact, in what this person reads on a usual day.
    pub(super) beyond: f64,
}

impl Amount {
    pub(super) fn add(&mut self, other: Self) {
        self.count += other.count;
        self.bytes += other.bytes;
        self.novel += other.novel;
        self.first += other.first;
        self.beyond += other.beyond;
        self.distinct += other.distinct;
    }

    fn logs(self) -> [f64; 5] {
        [
            self.count.ln_1p(),
            (self.bytes / 1e3).ln_1p(),
            self.novel.ln_1p(),
            (10.0 * self.beyond).ln_1p(),
            self.distinct.ln_1p(),
        ]
    }
}

/// Centre and scale of each logarithm.
type Centres = [(f64, f64); 5];

/// Amounts of the past, on a logarithmic scale.
#[derive(Debug, Clone, Default)]
pub(super) struct Past<const N: usize> {
    values: [Recent<N>; 5],
    centres: Centres,
}

impl<const N: usize> Past<N> {
    /// Remembers an amount; one beyond the usual only as far as a little beyond it, so that no day makes a habit.
    pub(super) fn push(&mut self, amount: Amount) {
        let known = self.len() >= KNOWN_MIN;
        for (((values, centre), y), floor) in
            self.values.iter_mut().zip(&mut self.centres).zip(amount.logs()).zip(SCALES)
        {
            values.push(if known { y.min(centre.0 + 2.5 * centre.1) } else { y });
            let (median, scale) = values.centre(0).unwrap_or((y, floor));
            let n = values.len() as f64;
            let scale = ((n * scale * scale + PRIOR * floor * floor) / (n + PRIOR)).sqrt();
            *centre = (median, scale.max(0.6 * floor));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.values.first().map_or(0, Recent::len)
    }

    /// Centres and scales, once enough is known.
    pub(super) fn centres(&self, least: usize) -> Option<Centres> {
        (self.len() >= least).then_some(self.centres)
    }
}

/// Amounts of one person.
#[derive(Debug, Clone, Default)]
pub(super) struct Volumes {
    pub(super) days: Past<28>,
    blocks: Past<64>,
    block: (u64, Amount),
    /// The last two hours in steps of ten minutes.
    steps: [(u64, Amount); STEPS],
}

/// The same of all people of a role.
#[derive(Debug, Clone, Default)]
pub(super) struct Pooled {
    days: Past<256>,
    blocks: Past<256>,
}

/// What is much.
#[derive(Debug, Clone)]
pub(super) struct Much {
    pub(super) kind: Kind,
    pub(super) evidence: Evidence,
}

impl Volumes {
    /// Notes a read; how unlikely the day and the last two hours are by now.
    pub(super) fn look(&mut self, read: Amount, day: Amount, now_ms: u64, role: &mut Pooled) -> Option<Much> {
        let number = now_ms / BLOCK_MS;
        if number != self.block.0 {
            if self.block.1.count > 0.0 {
                self.blocks.push(self.block.1);
                role.blocks.push(self.block.1);
            }
            self.block = (number, Amount::default());
        }
        self.block.1.add(read);
        let step = now_ms / STEP_MS;
        let at = usize::try_from(step % STEPS as u64).unwrap_or(0);
        if let Some(held) = self.steps.get_mut(at) {
            if held.0 != step {
                *held = (step, Amount::default());
            }
            held.1.add(read);
        }
        let mut window = Amount::default();
        let recent = self.steps.iter().filter(|(number, _)| step.saturating_sub(*number) < STEPS as u64);
        recent.for_each(|(_, amount)| window.add(*amount));
        let few = self.days.centres(FEW_DAYS);
        let by_day = scores(day, self.days.centres(DAYS_MIN), few, role.days.centres(POOL_MIN));
        // Who is active once a day does within two hours what they do on a day.
        let own = self.blocks.centres(BLOCKS_MIN).or_else(|| self.days.centres(DAYS_MIN));
        let by_window = scores(window, own, few, role.blocks.centres(POOL_MIN));
        let [count, bytes, novel, beyond, distinct] = [0, 1, 2, 3, 4].map(|at| {
            let of = |scores: &Option<[f64; 5]>| scores.and_then(|s| s.get(at).copied()).unwrap_or(0.0);
            of(&by_day).max(of(&by_window))
        });
        // Reads and distinct ones are one face, and so are bytes and those beyond.
        let (count, bytes) = (count.max(distinct), bytes.max(beyond));
        let mut sorted = [count, bytes, novel];
        sorted.sort_by(f64::total_cmp);
        let [_, next, most] = sorted;
        let weight = (most + NEXT * next).min(AMOUNT_MAX);
        if weight < 1.0 {
            return None;
        }
        let kind = if novel >= count.max(bytes) { Kind::Breadth } else { Kind::Volume };
        let usual = self.days.centres(1).map_or(0.0, |[count, ..]| count.0.exp_m1());
        Some(Much {
            kind,
            evidence: Evidence {
                weight,
                expected: format!("about {usual:.0} reads on a day of theirs"),
                seen: format!(
                    "{:.0} reads, {:.0} MB and {:.1} new artifacts within two hours; {:.0} reads and {:.0} MB today",
                    window.count,
                    window.bytes / 1e6,
                    window.novel,
                    day.count,
                    day.bytes / 1e6
                ),
                since_ms: now_ms,
            },
        })
    }

    /// A day is over.
    pub(super) fn close(&mut self, day: Amount, role: &mut Pooled) {
        if day.count > 0.0 {
            self.days.push(day);
            role.days.push(day);
        }
    }
}

/// How unlikely each amount is: by own history; where that is short, by what is left of it and by the role's.
fn scores(amount: Amount, own: Option<Centres>, few: Option<Centres>, role: Option<Centres>) -> Option<[f64; 5]> {
    if let Some(own) = own {
        return Some(against(amount, own, 1.0));
    }
    let role = against(amount, role?, 1.4);
    let Some(few) = few else { return Some(role) };
    let mut scores = against(amount, few, 1.4);
    for (score, role) in scores.iter_mut().zip(role) {
        *score = score.min(role);
    }
    Some(scores)
}

fn against(amount: Amount, centres: Centres, wider: f64) -> [f64; 5] {
    let mut scores = [0.0; 5];
    for ((score, y), (median, scale)) in scores.iter_mut().zip(amount.logs()).zip(centres) {
        let z = (y - median) / (scale * wider);
        *score = if z > 0.0 { unlikely(z) } else { 0.0 };
    }
    scores
}

/// How unlikely a deviation is, from the density of Student's t with 6 degrees of freedom: volumes have heavy tails.
fn unlikely(z: f64) -> f64 {
    3.5 * (z * z / 6.0).ln_1p()
}

/// What own hours are counted in, in milliseconds.
const BLOCK_MS: u64 = 2 * 3_600_000;
/// A step of the sliding window, in milliseconds.
const STEP_MS: u64 = 600_000;
/// Steps of the sliding window: two hours.
const STEPS: usize = 12;
/// Days until own days are the measure.
const DAYS_MIN: usize = 5;
/// Days of their own from which on nobody is measured by their role alone.
const FEW_DAYS: usize = 2;
/// Blocks of two hours until own ones are the measure.
const BLOCKS_MIN: usize = 10;
/// Days or blocks until a role's are.
const POOL_MIN: usize = 20;
/// Values from which on one that is far out is clipped.
const KNOWN_MIN: usize = 5;
/// Scales that are common, of the logarithms of reads, bytes and new artifacts.
const SCALES: [f64; 5] = [0.5, 0.8, 0.6, 0.8, 0.45];
/// Weight of the common scale, in values.
const PRIOR: f64 = 8.0;
/// How much the second of three faces adds.
const NEXT: f64 = 0.35;
/// Most that an amount weighs.
const AMOUNT_MAX: f64 = 12.0;
