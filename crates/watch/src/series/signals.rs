//! What a point is by itself and beside its neighbours: levels, changes, spread, standing still.

use super::{
    calm::{Kind, join},
    tail::{BLOCK_POINTS, Scratch, Tail},
};

/// The numbers drawn from the values alone.
#[derive(Debug, Clone)]
pub(super) struct Signals {
    /// Means over [`LEVELS`] points, shortest first.
    means: [f64; LEVELS.len()],
    /// Mean over the long run.
    usual: f64,
    /// Mean distance from it, and mean change, over the long run.
    distance: f64,
    change: f64,
    /// Mean distances from the middle mean, over [`SPREADS`] points.
    spreads: [f64; SPREADS.len()],
    /// Points since the value moved.
    standing: f64,
    last: f64,
    /// The last [`LAG`] values, in a ring.
    before: [f64; LAG],
    value: Both,
    levels: [Both; LEVELS.len()],
    step: Both,
    lagged: Both,
    wider: [Tail; SPREADS.len()],
    still: Tail,
}

/// Both tails of a number.
#[derive(Debug, Clone)]
pub(super) struct Both {
    up: Tail,
    down: Tail,
}

impl Both {
    pub(super) fn new() -> Self {
        Self { up: Tail::new(BLOCK_POINTS), down: Tail::new(BLOCK_POINTS) }
    }

    /// The surprise on whichever side `number` lies.
    pub(super) fn push(&mut self, number: f64, least: f64, scratch: &mut Scratch) -> f64 {
        self.up.push(number, least, scratch).max(self.down.push(-number, least, scratch))
    }

    /// Where the tails begin.
    pub(super) fn usual(&self) -> Option<(f64, f64)> {
        Some((-self.down.threshold()?, self.up.threshold()?))
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        self.up.buffer_bytes() + self.down.buffer_bytes()
    }
}

impl Signals {
    pub(super) fn new() -> Self {
        Self {
            means: [0.0; LEVELS.len()],
            usual: 0.0,
            distance: 0.0,
            change: 0.0,
            spreads: [0.0; SPREADS.len()],
            standing: 0.0,
            last: 0.0,
            before: [0.0; LAG],
            value: Both::new(),
            levels: std::array::from_fn(|_| Both::new()),
            step: Both::new(),
            lagged: Both::new(),
            wider: std::array::from_fn(|_| Tail::new(BLOCK_POINTS)),
            still: Tail::new(BLOCK_POINTS),
        }
    }

    /// Takes the value after `seen` others and fills in the surprises of its kinds.
    pub(super) fn push(&mut self, value: f64, seen: u64, scratch: &mut Scratch, by_kind: &mut [f64; Kind::COUNT]) {
        if seen == 0 {
            self.means = [value; LEVELS.len()];
            self.usual = value;
            self.last = value;
            self.before = [value; LAG];
        }
        let least = self.least();
        let level = self.level(value, seen, scratch);
        by_kind[Kind::Level as usize] = level;

        let step = value - self.last;
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is below LAG")]
        let slot = (seen % LAG as u64) as usize;
        let lagged = value - std::mem::replace(&mut self.before[slot], value);
        by_kind[Kind::Change as usize] =
            join([self.step.push(step, least, scratch), self.lagged.push(lagged, least, scratch)]);

        let off = (value - self.means[MIDDLE]).abs();
        let mut wider = [0.0; SPREADS.len()];
        for (((spread, points), tail), surprise) in
            self.spreads.iter_mut().zip(SPREADS).zip(&mut self.wider).zip(&mut wider)
        {
            *spread += gain(points, seen) * (off - *spread);
            *surprise = tail.push(*spread, least, scratch);
        }
        by_kind[Kind::Spread as usize] = join(wider);

        if step.abs() <= STILL * self.change {
            self.standing += 1.0;
        } else {
            self.standing = 0.0;
        }
        by_kind[Kind::Stuck as usize] = self.still.push(self.standing, LEAST_POINTS, scratch);

        self.change += gain(LONG, seen) * (step.abs() - self.change);
        self.distance += gain(LONG, seen) * ((value - self.usual).abs() - self.distance);
        self.last = value;
    }

    fn level(&mut self, value: f64, seen: u64, scratch: &mut Scratch) -> f64 {
        self.usual += gain(LONG, seen) * (value - self.usual);
        let least = self.least();
        let mut surprises = [0.0; LEVELS.len() + 1];
        surprises[LEVELS.len()] = self.value.push(value, least, scratch);
        for (((mean, points), tails), surprise) in
            self.means.iter_mut().zip(LEVELS).zip(&mut self.levels).zip(&mut surprises)
        {
            *mean += gain(points, seen) * (value - *mean);
            // Until then it is the long-run mean itself.
            if seen as f64 >= points {
                *surprise = tails.push(*mean - self.usual, least, scratch);
            }
        }
        join(surprises)
    }

    /// A difference that is small beside the stream's width.
    fn least(&self) -> f64 {
        LEAST * self.distance
    }

    /// Mean distance from the long-run mean.
    pub(super) const fn spread(&self) -> f64 {
        self.distance
    }

    /// The shortest mean.
    pub(super) const fn recent(&self) -> f64 {
        self.means[0]
    }

    /// Between which values most points lay.
    pub(super) fn usual(&self) -> (f64, f64) {
        self.value.usual().unwrap_or((self.usual - self.distance, self.usual + self.distance))
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        let both: usize =
            self.levels.iter().chain([&self.value, &self.step, &self.lagged]).map(Both::buffer_bytes).sum();
        both + self.wider.iter().chain([&self.still]).map(Tail::buffer_bytes).sum::<usize>()
    }
}

/// The weight of a new number in a mean over some `points`, after `seen` others.
pub(super) fn gain(points: f64, seen: u64) -> f64 {
    (1.0 / points).max(1.0 / (seen as f64 + 1.0))
}

/// Points over which a mean is the long-run one.
pub(super) const LONG: f64 = 1000.0;
const LEVELS: [f64; 3] = [12.0, 48.0, 144.0];
/// Which of [`LEVELS`] the spread is taken about.
const MIDDLE: usize = 1;
const SPREADS: [f64; 2] = [6.0, 96.0];
/// The longer step, in points.
const LAG: usize = 12;
/// Differences below this share of the mean distance from the long-run mean surprise nobody.
pub(super) const LEAST: f64 = 0.02;
/// The same for points of standing still.
const LEAST_POINTS: f64 = 0.3;
/// A step below this share of the mean one is none.
const STILL: f64 = 0.02;
