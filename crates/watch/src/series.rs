//! One stream of numbers: how surprising is each point, given those before it?
//!
//! [`Detector::observe`] takes a point and answers with a [`Surprise`]; [`Detector::push`] gives its score alone. What is
//! normal is learned from the stream itself, in one pass:
//!
//! * `signals`: a point becomes some twenty numbers: levels over 1 to 144 points, changes, spread, standing still;
//! * `season`: what the time of day, of the week, and a period found in the stream let expect;
//! * `shape`: patterns and histograms of recent points that were not there before;
//! * `tail`: each of those numbers becomes a surprise, the logarithm of how rarely its tail reaches that far;
//! * `calm`: the surprises become one score, and one alert per event;
//! * [`Joint`]: the same for several signals together.
//!
//! The idea that a detector should score how unlikely its own surprise is, and not the surprise, is that of Ahmad, Lavin, Purdy
//! and Agha, "Unsupervised real-time anomaly detection for streaming data", Neurocomputing 262 (2017), section 3.2; the tail
//! of block maxima is that of extreme value theory (Siffer et al., "Anomaly detection in streams with extreme value theory",
//! KDD 2017); prototypes of recent contexts come from adaptive resonance (Carpenter and Grossberg 1987).
//!
//! What must stay true: no score depends on a later point; memory is bounded ([`STATE_BYTES_MAX`]) whatever the stream does;
//! no input panics; shifting and scaling all values changes nothing but rounding.

use self::{
    calm::{BAR, Calm},
    season::Seasons,
    shape::Shape,
    signals::Signals,
    tail::Scratch,
};

mod calm;
mod joint;
mod season;
mod shape;
mod signals;
mod tail;

pub use self::{
    calm::Kind,
    joint::{Joint, JointSurprise, SIGNALS_MAX},
};

/// From this score on a point is an alert. Alerts score .75 and above, all else below .5.
pub const ALERT_SCORE: f64 = 0.6;

/// From this score on it is an alert that steady streams of a point a second give less than once a day. [`ALERT_SCORE`] is for
/// streams of a few hundred points a day, where a missed matter costs more than a look at a false one.
pub const SURE_SCORE: f64 = 0.9;

/// Bytes that a detector occupies at most, its buffers included.
pub const STATE_BYTES_MAX: usize = 100_000;

/// Magnitudes beyond this are read as this, so that no square overflows.
const VALUE_MAX: f64 = 1e100;

/// What a point looked like to the detector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Surprise {
    /// 0 (as usual) to 1; [`ALERT_SCORE`] and above is an alert. It rises with the logarithm of the rarity: what just
    /// suffices for an alert is .75, twice that surprise .875, thrice .9375. Points of a matter that was alerted just before
    /// stay below .25.
    pub score: f64,
    /// The value that the past let expect; `None` while there is no past.
    pub expected: Option<f64>,
    /// Below this, values were rare so far.
    pub low: f64,
    /// Above this, values were rare so far.
    pub high: f64,
    /// What was surprising about it.
    pub kind: Kind,
    /// Since when it has looked like this: seconds, on the clock of the measurements.
    pub since_s: f64,
}

/// Scores a stream, point by point.
#[derive(Debug, Clone)]
pub struct Detector {
    seen: u64,
    last_at_s: f64,
    signals: Signals,
    seasons: Seasons,
    shape: Shape,
    calm: Calm,
    scratch: Scratch,
}

impl Default for Detector {
    fn default() -> Self {
        Self::new()
    }
}

impl Detector {
    /// A detector that has seen nothing.
    pub fn new() -> Self {
        Self {
            seen: 0,
            last_at_s: 0.0,
            signals: Signals::new(),
            seasons: Seasons::new(),
            shape: Shape::new(),
            calm: Calm::new(BAR),
            scratch: Scratch::new(),
        }
    }

    /// Takes the value at `at_s` (seconds, rising) and says how surprising it is: 0 to 1.
    pub fn push(&mut self, at_s: f64, value: f64) -> f64 {
        self.observe(at_s, value).score
    }

    /// Takes the value at `at_s` (seconds, rising) and says how surprising it is, what was expected and since when.
    ///
    /// A value that is not a number is a missing one: it scores 0 and teaches nothing. A time that is not finite, or lies
    /// before the one before it, is read as the one before it.
    pub fn observe(&mut self, at_s: f64, value: f64) -> Surprise {
        let at_s = if at_s.is_finite() && (at_s >= self.last_at_s || self.seen == 0) { at_s } else { self.last_at_s };
        self.last_at_s = at_s;
        let (expected, low, high) = self.expectation(at_s);
        if value.is_nan() {
            return Surprise { score: 0.0, expected, low, high, kind: Kind::Level, since_s: at_s };
        }
        let value = value.clamp(-VALUE_MAX, VALUE_MAX);
        let mut by_kind = [0.0; Kind::COUNT];
        self.signals.push(value, self.seen, &mut self.scratch, &mut by_kind);
        let spread = self.signals.spread();
        by_kind[Kind::Season as usize] = self.seasons.push(at_s, value, self.seen, spread, &mut self.scratch);
        by_kind[Kind::Shape as usize] = self.shape.push(value, self.seen, &mut self.scratch);
        if self.shape.is_full_turn() {
            self.seasons.look_for_period(&self.shape, spread);
        }
        self.seen += 1;
        let verdict = self.calm.weigh(&by_kind, at_s, self.seen);
        Surprise { score: verdict.score, expected, low, high, kind: verdict.kind, since_s: verdict.since_s }
    }

    /// Points taken so far.
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// Bytes that it occupies now, its buffers included.
    pub fn state_bytes(&self) -> usize {
        size_of::<Self>()
            + self.signals.buffer_bytes()
            + self.seasons.buffer_bytes()
            + self.shape.buffer_bytes()
            + self.scratch.buffer_bytes()
    }

    /// What is expected at `at_s`, and below and above what a value would be rare.
    fn expectation(&self, at_s: f64) -> (Option<f64>, f64, f64) {
        if self.seen == 0 {
            return (None, 0.0, 0.0);
        }
        if let Some(season) = self.seasons.expect(at_s, self.signals.spread()) {
            return (Some(season.value), season.low.min(season.value), season.high.max(season.value));
        }
        let ((low, high), middle) = (self.signals.usual(), self.signals.recent());
        (Some(middle), low.min(middle), high.max(middle))
    }
}
