//! From surprises to one score, and one alert per event.

/// What is surprising about a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The value, or its mean over minutes or hours, lies where it rarely lay.
    Level,
    /// It moved further than it moves.
    Change,
    /// It scatters more than it did.
    Spread,
    /// It does not move any more.
    Stuck,
    /// It is not what this time of the day, the week or the period lets expect.
    Season,
    /// The last points form a pattern, or a distribution, that was not there before.
    Shape,
    /// Several signals do not go together as they did.
    Joint,
}

impl Kind {
    pub(super) const ALL: [Self; 7] =
        [Self::Level, Self::Change, Self::Spread, Self::Stuck, Self::Season, Self::Shape, Self::Joint];
    pub(super) const COUNT: usize = Self::ALL.len();

    /// `level`, `change`, `spread`, `stuck`, `season`, `shape` or `joint`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Level => "level",
            Self::Change => "change",
            Self::Spread => "spread",
            Self::Stuck => "stuck",
            Self::Season => "season",
            Self::Shape => "shape",
            Self::Joint => "joint",
        }
    }
}

/// Remembers the last alert.
#[derive(Debug, Clone)]
pub(super) struct Calm {
    /// Joint surprise that is an alert after [`LOOKS_UNIT`] points.
    bar: f64,
    /// Points since the last alert, and how surprising it was.
    since_alert: u64,
    alerted: f64,
    /// When the present episode began, and points since anything was odd.
    since_s: f64,
    quiet: u64,
}

pub(super) struct Verdict {
    pub(super) score: f64,
    pub(super) kind: Kind,
    pub(super) since_s: f64,
}

impl Calm {
    pub(super) fn new(bar: f64) -> Self {
        Self { bar, since_alert: u64::MAX, alerted: 0.0, since_s: 0.0, quiet: u64::MAX }
    }

    /// The score of a point with these surprises, the `seen`th.
    pub(super) fn weigh(&mut self, by_kind: &[f64; Kind::COUNT], at_s: f64, seen: u64) -> Verdict {
        let surprise = by_kind.iter().map(|surprise| surprise * surprise).sum::<f64>().sqrt();
        // The longer the stream, the more often chance alone makes something rare: the bar rises with what was seen.
        let looks = (seen as f64).clamp(LOOKS.0, LOOKS.1) / LOOKS_UNIT;
        let bar = self.bar + BAR_PER_DECADE * looks.log10();

        self.quiet = self.quiet.saturating_add(1);
        if surprise >= ODD * bar {
            if self.quiet > EPISODE_GAP_POINTS {
                self.since_s = at_s;
            }
            self.quiet = 0;
        }
        let since_s = if self.quiet <= EPISODE_GAP_POINTS { self.since_s } else { at_s };

        self.since_alert = self.since_alert.saturating_add(1);
        let fresh = self.since_alert >= REFRACTORY_POINTS || surprise > self.alerted * ESCALATION;
        let alert = surprise >= bar && fresh;
        if alert {
            self.since_alert = 0;
            self.alerted = surprise;
        }
        // Below the bar 0 to .5, an alert .75 to 1: nothing lies near the threshold, so no choice of it depends on rounding.
        let rise = -(-surprise / bar * std::f64::consts::LN_2).exp_m1();
        let score = match (alert, surprise >= bar) {
            (true, _) => 0.5 + 0.5 * rise,
            (false, true) => ALERTED * rise,
            (false, false) => rise,
        };
        let odd = Kind::ALL.into_iter().zip(by_kind).filter(|(_, surprise)| **surprise > 0.0);
        let kind = odd.max_by(|left, right| left.1.total_cmp(right.1));
        let kind = kind.map_or(Kind::Level, |(kind, _)| kind);
        Verdict { score: score.clamp(0.0, 1.0), kind, since_s }
    }
}

/// Surprises of one kind as one: near their greatest, a little more if several agree.
pub(super) fn join<const N: usize>(surprises: [f64; N]) -> f64 {
    surprises.iter().map(|surprise| surprise.powi(4)).sum::<f64>().sqrt().sqrt()
}

/// Joint surprise of all kinds that is an alert after [`LOOKS_UNIT`] points, and what is added for each tenfold. Leaving out one
/// category of NAB at a time, the others choose 3.6 to 3.8; files begun a few points later, and synthetic streams, like 3.65.
pub(super) const BAR: f64 = 3.65;
const BAR_PER_DECADE: f64 = 0.4;
const LOOKS_UNIT: f64 = 2000.0;
const LOOKS: (f64, f64) = (300.0, 20_000.0);
/// Points after an alert in which nothing alerts unless it is this many times as surprising.
const REFRACTORY_POINTS: u64 = 120;
const ESCALATION: f64 = 2.0;
/// What remains of the score of a point that would be an alert but follows one.
const ALERTED: f64 = 0.25;
/// Share of the bar from which a point is odd, and calm points that end an episode.
const ODD: f64 = 0.6;
const EPISODE_GAP_POINTS: u64 = 12;
