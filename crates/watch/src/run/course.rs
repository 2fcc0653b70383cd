//! The way of one loss: where trainings of this run began, how far it fell, and what lies beyond all of it.
//!
//! What a loss is depends on the job. Cross-entropy falls; a critic's loss in reinforcement learning rises from nothing, a
//! discriminator's stays at ln 2, a likelihood goes below zero. So nothing is judged by its size alone: the level at which
//! training began is the measure. A rise that stays within a few times that level is another phase (a harder stage, more
//! layers, a new fold); what goes beyond it and stays there is not. A loss that was never seen to fall may rise much further
//! before that means anything. Beginnings of later trainings can raise the measure, but only so far: who restarts to have
//! a bomb taken for a beginning gains one factor.

use crate::stats::{Recent, signed_log, signed_log_inverse};

/// Follows one loss.
#[derive(Debug, Clone, Default)]
pub(super) struct Course {
    first: Recent<FIRST>,
    /// Where this training began, and the spread around that, as signed logarithms.
    start: Option<(f64, f64)>,
    recent: Recent<64>,
    reports: u64,
    began_ms: u64,
    last_ms: u64,
    best: Option<f64>,
    fell: bool,
    rising: u32,
    /// Highest beginning of all trainings in this run, and of the first one, in the loss's own unit.
    ceiling: Option<f64>,
    first_ceiling: Option<f64>,
    /// How far below nothing it was at its best, in its own unit.
    depth: f64,
    /// Whether any training of this run made it fall.
    falls: bool,
    beyond: u32,
    beyond_since_ms: u64,
    /// First loss of this training, where it is not the run's first.
    opening: Option<f64>,
    restarted: bool,
}

/// The loss is beyond everything that it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beyond {
    pub(super) since_ms: u64,
    pub(super) bound: f64,
    pub(super) reports: u32,
}

/// The loss left its best level for good, or never moved; medians as signed logarithms.
#[derive(Debug, Clone, Copy)]
pub(super) enum Turn {
    Left { best: f64, now: f64 },
    Flat { start: f64, now: f64, reports: u64, began_ms: u64 },
}

impl Course {
    /// Takes a report. In a `sweep` trainings are tried that do not work.
    pub(super) fn push(&mut self, at_ms: u64, loss: f64, sweep: bool) -> Option<Beyond> {
        let y = signed_log(loss, UNIT);
        let beyond = self.weigh(at_ms, loss, sweep);
        if self.reports == 0 {
            self.began_ms = at_ms;
            self.opening = self.restarted.then_some(loss);
        }
        self.reports += 1;
        self.last_ms = at_ms;
        self.recent.push(y);
        if self.start.is_none() {
            self.first.push(y);
            if self.first.len() == FIRST {
                self.start = self.first.centre(0);
                self.raise();
            }
        }
        if self.reports.is_multiple_of(4) {
            self.look();
        }
        beyond
    }

    /// Training begins anew: what it was says nothing about what it will be, except how high it may begin.
    pub(super) fn begin_anew(&mut self) {
        // A short training has no more of a beginning than this.
        if self.start.is_none() && self.first.len() >= FIRST_MIN {
            self.start = self.first.centre(0);
            self.raise();
        }
        self.look();
        *self = Self {
            ceiling: self.ceiling,
            first_ceiling: self.first_ceiling,
            depth: self.depth,
            falls: self.falls,
            beyond: self.beyond,
            beyond_since_ms: self.beyond_since_ms,
            restarted: true,
            ..Self::default()
        };
    }

    /// Median of the last reports, in the loss's own unit.
    pub(super) fn usual(&self) -> Option<f64> {
        self.recent.newest(FIRST).filter(|_| self.start.is_some()).map(|y| signed_log_inverse(y, UNIT))
    }

    /// Whether the latest loss is near where this training began.
    pub(super) fn is_near_start(&self, loss: f64) -> bool {
        self.start.is_some_and(|(start, _)| signed_log(loss, UNIT) > start - 2.0_f64.ln())
    }

    /// Whether any training of this run made the loss fall, or none was told of.
    pub(super) fn falls(&self) -> bool {
        self.falls || self.reports == 0
    }

    /// Whether this training made the loss fall, beyond noise.
    pub(super) fn fell(&self) -> bool {
        self.fell
    }

    /// The slow ways: every eighth report, once the window is full.
    pub(super) fn turn(&mut self, at_ms: u64) -> Option<Turn> {
        let (start, _) = self.start.filter(|_| self.reports.is_multiple_of(8) && self.recent.len() >= 64)?;
        let (now, deviation) = self.recent.centre(0)?;
        let best = self.best.unwrap_or(now);
        // Gone for good is what fell, is far above its best, above where it began, and does not come down again.
        let margin = DIVERGENCE_FACTOR.ln().max(4.0 * deviation);
        let falling = self.recent.newest(16).is_some_and(|newest| newest < now - 0.25 * deviation);
        let even = self.recent.noise().is_some_and(|noise| noise < EVEN);
        let left = self.fell && even && now - best > margin && now - start > ABOVE_START.ln() && !falling;
        self.rising = if left { self.rising.saturating_add(1) } else { 0 };
        // Eight looks of eight reports: the whole window has turned over.
        if self.rising >= 8 {
            return Some(Turn::Left { best, now });
        }
        // Losses that never fall are of many honest kinds; only where this run's loss did fall before is it told.
        let lasted_ms = at_ms.saturating_sub(self.began_ms);
        let flat = self.falls && !self.fell && self.reports >= PLATEAU_REPORTS && lasted_ms >= PLATEAU_MS;
        let large = signed_log_inverse(start, UNIT) > 0.01;
        (flat && large).then_some(Turn::Flat { start, now, reports: self.reports, began_ms: self.began_ms })
    }

    fn look(&mut self) {
        let newest = FIRST.min(self.recent.len() / 2);
        let (Some((start, spread)), Some(now)) = (self.start, self.recent.newest(newest)) else { return };
        let best = self.best.map_or(now, |best| best.min(now));
        self.best = Some(best);
        // Four errors of two medians.
        let error = 1.253 * spread * (2.0 / FIRST as f64).sqrt();
        self.fell |= start - best > FALL.max(4.0 * error);
        self.falls |= self.fell;
        // A level that was reached slowly is one to measure by: the whole window is of it.
        if self.recent.len() >= 64
            && let Some((now, deviation)) = self.recent.centre(0)
        {
            let level = signed_log_inverse(now + 1.5 * deviation.min(1.0), UNIT);
            self.ceiling = Some(self.ceiling.map_or(level, |ceiling| ceiling.max(level)));
        }
        self.depth = self.depth.max(-signed_log_inverse(best, UNIT));
    }

    /// The beginning of a training raises the measure, by no more than a factor, and of all together by no more than its square.
    fn raise(&mut self) {
        let Some((start, spread)) = self.start else { return };
        let began = signed_log_inverse(start + 1.5 * spread, UNIT);
        let first = *self.first_ceiling.get_or_insert(began);
        let allowed = |level: f64, factor: f64| level + (factor - 1.0) * level.abs();
        let ceiling = self.ceiling.unwrap_or(began);
        self.ceiling = Some(ceiling.max(began.min(allowed(ceiling, FACTOR)).min(allowed(first, FACTOR * FACTOR))));
    }

    /// Whether a later training of this run is about something larger than those before (another series, another unit) and
    /// falls from where it began, as a bomb does not. Until it had the time to fall, its first reports may stand.
    fn is_another_scale(&self, loss: f64) -> bool {
        self.opening.is_some_and(|opening| loss <= opening && (self.reports < OPENING || loss < FALLEN * opening))
    }

    fn weigh(&mut self, at_ms: u64, loss: f64, sweep: bool) -> Option<Beyond> {
        let ceiling = self.ceiling?;
        let even = self.recent.noise().is_some_and(|noise| noise < EVEN);
        let factor = match (self.falls, even && !sweep) {
            (false, _) => FACTOR_UNKNOWN,
            (true, false) => FACTOR * FACTOR,
            (true, true) => FACTOR,
        };
        let bound = ceiling + (factor - 1.0) * ceiling.abs().max(self.depth);
        if loss <= bound || self.is_another_scale(loss) {
            self.beyond = 0;
            return None;
        }
        if self.beyond == 0 {
            self.beyond_since_ms = at_ms;
        }
        self.beyond = self.beyond.saturating_add(1);
        let lasted_ms = at_ms.saturating_sub(self.beyond_since_ms);
        // Who reports seldom reports means, or has many batches between: an even loss does not explode by one of them.
        let seldom = at_ms.saturating_sub(self.last_ms) >= SELDOM_MS && self.last_ms > 0;
        let huge = loss > ceiling + (FACTOR * factor - 1.0) * ceiling.abs().max(self.depth);
        let stays = (self.beyond >= BEYOND_REPORTS && lasted_ms >= BEYOND_MS)
            || (self.beyond >= 2 && lasted_ms >= 2 * BEYOND_MS)
            || self.beyond >= BEYOND_REPORTS_MANY
            || (seldom && even && huge);
        stays.then_some(Beyond { since_ms: self.beyond_since_ms, bound, reports: self.beyond })
    }
}

/// Logarithms below this value are linear: losses near zero differ by factors that mean nothing.
pub(super) const UNIT: f64 = 1e-3;
/// Reports that are the beginning of a training.
const FIRST: usize = 12;
/// Reports that a training which ended early began with.
const FIRST_MIN: usize = 4;
/// Times the level at which trainings began that no phase reaches, for a loss that falls.
const FACTOR: f64 = 3.0;
/// The same for a loss of which it is not known that it falls.
const FACTOR_UNKNOWN: f64 = 30.0;
/// Fall of the logarithm of the loss that counts at all.
const FALL: f64 = 0.05;
/// Reports of a later training before it must have fallen.
const OPENING: u64 = 3;
/// Share of its first loss below which a training has fallen.
const FALLEN: f64 = 0.9;
/// Reports beyond in a row that are no single bad batches.
const BEYOND_REPORTS: u32 = 3;
/// Time in which they come, in milliseconds.
const BEYOND_MS: u64 = 5_000;
/// Reports in a row that are enough however fast they come.
const BEYOND_REPORTS_MANY: u32 = 24;
/// Pause between reports from which on they are seldom, in milliseconds.
const SELDOM_MS: u64 = 7_000;
/// Deviation of the logarithm between neighbours of an even loss.
const EVEN: f64 = 0.3;
/// A median this far above the best one is divergence.
const DIVERGENCE_FACTOR: f64 = 4.0;
/// And this far above where it began.
const ABOVE_START: f64 = 1.5;
/// Reports before it can be said that nothing is learned.
const PLATEAU_REPORTS: u64 = 500;
/// Time before it can be said, in milliseconds.
const PLATEAU_MS: u64 = 30 * 60 * 1_000;
