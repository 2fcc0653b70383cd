//! What the clock lets expect: the time of day, of the week, and a period found in the stream itself.
//!
//! A [`Profile`] keeps a mean for each part of its period. It is heard as far as it knows better than the long-run mean does.

use super::{
    calm::join,
    shape::Shape,
    signals::{Both, LEAST, LONG, gain},
    tail::Scratch,
};

/// The periods of a stream.
#[derive(Debug, Clone)]
pub(super) struct Seasons {
    day: Profile,
    week: Profile,
    /// Found by [`Seasons::look_for_period`].
    found: Option<Profile>,
    /// Mean of the day's residuals over some points, and its tails.
    drift: f64,
    drifts: Both,
    /// Mean seconds between points.
    step_s: f64,
    last_at_s: f64,
}

/// What a season lets expect.
#[derive(Debug, Clone, Copy)]
pub(super) struct Season {
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

#[derive(Debug, Clone)]
struct Profile {
    period_s: f64,
    parts: Vec<Part>,
    /// Points that a part's mean remembers.
    memory: f64,
    /// Mean distance of values from what was expected, and how many values that is about.
    error: f64,
    judged: u64,
    residuals: Both,
}

#[derive(Debug, Clone, Copy, Default)]
struct Part {
    seen: f64,
    mean: f64,
}

impl Seasons {
    pub(super) fn new() -> Self {
        Self {
            day: Profile::new(DAY_S, DAY_PARTS, DAY_MEMORY),
            week: Profile::new(7.0 * DAY_S, WEEK_PARTS, WEEK_MEMORY),
            found: None,
            drift: 0.0,
            drifts: Both::new(),
            step_s: 0.0,
            last_at_s: 0.0,
        }
    }

    /// The surprise of `value` at its time; then learns it. `spread` is the mean distance from the long-run mean.
    pub(super) fn push(&mut self, at_s: f64, value: f64, seen: u64, spread: f64, scratch: &mut Scratch) -> f64 {
        if seen > 0 {
            let step_s = (at_s - self.last_at_s).clamp(0.0, STEP_S_MAX);
            self.step_s += gain(STEP_POINTS, seen - 1) * (step_s - self.step_s);
        }
        self.last_at_s = at_s;
        let mut drift = 0.0;
        if let Some(expected) = self.day.expect(at_s) {
            self.drift += gain(DRIFT_POINTS, seen) * (value - expected - self.drift);
            drift = self.day.skill(spread) * self.drifts.push(self.drift, LEAST * spread, scratch);
        }
        let day = self.day.push(at_s, value, spread, scratch);
        let week = self.week.push(at_s, value, spread, scratch);
        let found = self.found.as_mut().map_or(0.0, |found| found.push(at_s, value, spread, scratch));
        join([drift, day, week, found])
    }

    /// What the best of the profiles lets expect, if one is good.
    pub(super) fn expect(&self, at_s: f64, spread: f64) -> Option<Season> {
        let known = [Some(&self.day), Some(&self.week), self.found.as_ref()];
        let best =
            known.into_iter().flatten().max_by(|left, right| left.skill(spread).total_cmp(&right.skill(spread)))?;
        if best.skill(spread) < SKILL_MIN {
            return None;
        }
        let value = best.expect(at_s)?;
        let (low, high) = best.residuals.usual().unwrap_or((-best.error, best.error));
        Some(Season { value, low: value + low, high: value + high })
    }

    /// Looks for a period in the recent points, and begins a profile for it unless there is one that is good.
    pub(super) fn look_for_period(&mut self, shape: &Shape, spread: f64) {
        let Some(points) = shape.period() else { return };
        let period_s = points as f64 * self.step_s;
        let near = |known_s: f64| (period_s - known_s).abs() <= PERIOD_SAME * known_s;
        if period_s <= 0.0
            || near(DAY_S)
            || near(7.0 * DAY_S)
            || self.found.as_ref().is_some_and(|it| near(it.period_s) || it.skill(spread) >= SKILL_MIN)
        {
            return;
        }
        self.found = Some(Profile::new(period_s, points.min(FOUND_PARTS_MAX), FOUND_MEMORY));
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        let profiles = [Some(&self.day), Some(&self.week), self.found.as_ref()];
        self.drifts.buffer_bytes() + profiles.into_iter().flatten().map(Profile::buffer_bytes).sum::<usize>()
    }
}

impl Profile {
    fn new(period_s: f64, parts: usize, memory: f64) -> Self {
        Self { period_s, parts: vec![Part::default(); parts], memory, error: 0.0, judged: 0, residuals: Both::new() }
    }

    fn part(&self, at_s: f64) -> usize {
        let phase = at_s.rem_euclid(self.period_s) / self.period_s;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a phase lies in 0 to 1")]
        let part = (phase * self.parts.len() as f64) as usize;
        part.min(self.parts.len() - 1)
    }

    fn expect(&self, at_s: f64) -> Option<f64> {
        self.parts.get(self.part(at_s)).filter(|part| part.seen > 0.0).map(|part| part.mean)
    }

    /// 0 to 1: how much of the `spread` it explains.
    fn skill(&self, spread: f64) -> f64 {
        if spread > 0.0 && self.judged >= JUDGED_MIN { (1.0 - self.error / spread).max(0.0).sqrt() } else { 0.0 }
    }

    fn push(&mut self, at_s: f64, value: f64, spread: f64, scratch: &mut Scratch) -> f64 {
        let mut surprise = 0.0;
        if let Some(expected) = self.expect(at_s) {
            let residual = value - expected;
            self.error += gain(LONG, self.judged) * (residual.abs() - self.error);
            self.judged += 1;
            surprise = self.skill(spread) * self.residuals.push(residual, LEAST * spread, scratch);
        }
        let part = self.part(at_s);
        if let Some(part) = self.parts.get_mut(part) {
            part.seen = (part.seen + 1.0).min(self.memory);
            part.mean += (value - part.mean) / part.seen;
        }
        surprise
    }

    fn buffer_bytes(&self) -> usize {
        self.parts.capacity() * size_of::<Part>() + self.residuals.buffer_bytes()
    }
}

const DAY_S: f64 = 86_400.0;
const DAY_PARTS: usize = 48;
const DAY_MEMORY: f64 = 30.0;
const WEEK_PARTS: usize = 168;
const WEEK_MEMORY: f64 = 60.0;
/// Parts of a found period, and points that each remembers.
const FOUND_PARTS_MAX: usize = 96;
const FOUND_MEMORY: f64 = 30.0;
/// Points over which the residual of the day drifts, and over which the step is measured.
const DRIFT_POINTS: f64 = 12.0;
const STEP_POINTS: f64 = 200.0;
/// A gap longer than this says nothing about the step.
const STEP_S_MAX: f64 = 7.0 * DAY_S;
/// Periods within this share of each other are the same.
const PERIOD_SAME: f64 = 0.05;
/// Values that a profile must have been judged by before it is heard.
const JUDGED_MIN: u64 = 64;
/// Skill from which a season says what was expected.
const SKILL_MIN: f64 = 0.5;
