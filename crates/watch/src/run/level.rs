//! A level that may fall as it likes, and must not jump up and stay there: the gradient norm.
//!
//! Works on a signed logarithm, where noise is about as wide at every level, with the median of the last reports and the noise
//! between neighbours, so that neither a fast descent nor heavy tails of single batches count as surprise. Evidence adds up
//! under a heavy-tailed (Student t, 2 degrees of freedom) idea of normal; a single report is never enough unless it is
//! off by orders of magnitude, and jumps below a factor do not count: schedules and new phases cause them.

use crate::stats::{Recent, signed_log, signed_log_inverse};

/// Watches one level for jumps.
#[derive(Debug, Clone)]
pub(super) struct Level {
    recent: Recent<WINDOW>,
    factor: f64,
    evidence: f64,
    began_ms: Option<u64>,
    highest: f64,
}

/// A jump.
#[derive(Debug, Clone, Copy)]
pub(super) struct Jump {
    pub(super) since_ms: u64,
    /// Median before.
    pub(super) expected: f64,
    /// Natural logarithm of the odds against noise.
    pub(super) evidence: f64,
    /// Whether it is far above everything that was normal since the start.
    pub(super) beyond_start: bool,
}

impl Level {
    /// A level on which jumps by less than `factor` do not count.
    pub(super) fn new(factor: f64) -> Self {
        Self {
            recent: Recent::default(),
            factor: factor.ln(),
            evidence: 0.0,
            began_ms: None,
            highest: f64::NEG_INFINITY,
        }
    }

    /// Takes a report; what it says about a jump that is under way.
    pub(super) fn push(&mut self, at_ms: u64, value: f64) -> Option<Jump> {
        let y = signed_log(value, UNIT);
        let centre = self.recent.newest(CENTRE).zip(self.recent.noise()).filter(|_| self.recent.len() >= WARM_UP);
        let Some((median, deviation)) = centre else {
            self.recent.push(y);
            self.highest = self.highest.max(y);
            return None;
        };
        let scale = deviation.max(SCALE_MIN);
        let z = (y - median) / scale;
        // What is small beside where training began may triple and is still small.
        let small = value.abs() < SMALL * signed_log_inverse(self.highest, UNIT).abs();
        let far = y - median > self.factor && !small;
        let surprise = if far { (0.5 * z * z).ln_1p() - ALLOWANCE } else { -1.0 };
        self.evidence = (self.evidence + surprise.max(-1.0)).max(0.0);
        let shifted = self.shifted();
        let jumped = self.evidence >= EVIDENCE_MIN || (shifted && !small);
        if far && self.began_ms.is_none() {
            self.began_ms = Some(at_ms);
        } else if self.evidence <= 0.0 {
            self.began_ms = None;
        }
        let beyond_start = y > self.highest + self.factor / 2.0;
        let jump = jumped.then(|| Jump {
            since_ms: self.began_ms.unwrap_or(at_ms),
            expected: signed_log_inverse(median, UNIT),
            evidence: self.evidence.max(EVIDENCE_MIN),
            beyond_start,
        });
        self.recent.push(y);
        if !far {
            self.highest = self.highest.max(y);
        }
        jump
    }

    /// Training begins anew: what the level was says nothing about what it will be, except how high it may begin.
    pub(super) fn begin_anew(&mut self) {
        self.recent = Recent::default();
        self.evidence = 0.0;
        self.began_ms = None;
    }

    /// Median of the last reports, in the value's own unit.
    pub(super) fn usual(&self) -> Option<f64> {
        let (median, _) = self.recent.centre(0).filter(|_| self.recent.len() >= WARM_UP)?;
        Some(signed_log_inverse(median, UNIT))
    }

    /// Whether the newest reports together lie above those before, though none alone is beyond the noise.
    fn shifted(&self) -> bool {
        if self.recent.len() < WINDOW {
            return false;
        }
        let (Some((before, deviation)), Some(now)) = (self.recent.centre(NEWEST), self.recent.newest(NEWEST)) else {
            return false;
        };
        let error = 1.253 * deviation.max(SCALE_MIN) / (NEWEST as f64).sqrt();
        now - before > self.factor.max(SHIFT_ERRORS * error)
    }
}

/// Reports that are remembered.
const WINDOW: usize = 64;
/// Share of the highest normal value below which nothing is a jump.
const SMALL: f64 = 0.02;
/// Newest reports whose median is the level: few enough to follow a descent, enough to outlast a jump's beginning.
const CENTRE: usize = 24;
/// Reports until something can be surprising.
const WARM_UP: usize = 12;
/// Newest reports that are held against those before.
const NEWEST: usize = 12;
/// Errors of the median by which the newest must lie above.
const SHIFT_ERRORS: f64 = 8.0;
/// Logarithms below this value are linear: losses near zero differ by factors that mean nothing.
const UNIT: f64 = 1e-3;
/// Least deviation on the logarithmic scale: five percent.
const SCALE_MIN: f64 = 0.05;
/// What a surprise must exceed to count, so that evidence falls while all is normal.
const ALLOWANCE: f64 = 2.2;
/// Evidence at which a jump is told, natural logarithm of odds.
const EVIDENCE_MIN: f64 = 9.0;
