//! How rare a record's statistics are among natural records, together.
//!
//! Each statistic's place becomes the negative logarithm of the share of natural records that lie at least as far out: its
//! rarity. Beyond the last records the tail goes on as an exponential's (Pickands 1975, for a shape of 0). Where clean records show
//! how far tails reach, a record's score is the greatest of its rarities (Tippett's combination of tests) and the mean of all
//! (Fisher's): changes that show in one statistic alone count, and those that show a little in several too. Where only a bulk can be
//! relied on it is the root of the mean of their squares, which one statistic alone does not carry far. What the score means is
//! read off natural records themselves, so the statistics need not be independent.

use super::{
    Labels, quantile,
    statistic::{Row, Statistic},
};

/// What is known of the records that are measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// All are natural: they show how far a tail reaches.
    Clean,
    /// A minority may have been changed: only the bulk can be relied on.
    Mixed,
}

/// Where natural records lie.
pub(super) struct Rarity(Vec<(usize, Tail)>);

/// How rare a record is.
pub(super) struct Place {
    /// The rarest of its statistics.
    pub(super) statistic: Statistic,
    /// The rarity of that one.
    greatest: f64,
    /// The mean of all rarities, and the root of the mean of their squares.
    mean: f64,
    length: f64,
}

impl Place {
    /// Where one statistic alone may tell: its tail is known, or little is lost with a natural record.
    pub(super) fn alone(&self) -> f64 {
        self.greatest + self.mean
    }

    /// Where tails are guessed from the bulk: far out in one statistic alone lie natural records too, changed ones in several.
    pub(super) fn together(&self) -> f64 {
        self.length
    }
}

/// The values of one statistic.
struct Tail {
    /// Rising.
    sorted: Vec<f64>,
    /// Where the exponential begins, and its rarity there.
    from: f64,
    begins: f64,
    /// Its mean excess.
    excess: f64,
}

impl Rarity {
    /// Of all statistics that say anything.
    pub(super) fn of(rows: &[Row], labels: Labels, measure: Measure) -> Self {
        let used = Statistic::ALL.into_iter().enumerate();
        let used = used.filter(|(_, statistic)| *statistic != Statistic::Label || labels == Labels::Given);
        let tail = |place: usize| {
            let mut sorted: Vec<f64> = rows.iter().filter_map(|row| row.values.get(place)).copied().collect();
            sorted.sort_by(f64::total_cmp);
            (place, Tail::of(sorted, measure))
        };
        Self(used.map(|(place, _)| tail(place)).collect())
    }

    /// The statistic of a record that is rarest, how rare it is, and what its rarities are together.
    pub(super) fn place(&self, row: &Row) -> Place {
        let mut place = Place { statistic: Statistic::Depth, greatest: 0.0, mean: 0.0, length: 0.0 };
        let count = self.0.len().max(1) as f64;
        for (statistic, tail) in &self.0 {
            let rarity = row.values.get(*statistic).map_or(0.0, |value| tail.rarity(*value));
            place.mean += rarity / count;
            place.length += rarity * rarity / count;
            if rarity > place.greatest {
                place.greatest = rarity;
                place.statistic = Statistic::ALL.get(*statistic).copied().unwrap_or(Statistic::Depth);
            }
        }
        place.length = place.length.sqrt();
        place
    }
}

impl Tail {
    fn of(sorted: Vec<f64>, measure: Measure) -> Self {
        let (from, share, excess) = match measure {
            Measure::Clean => {
                let from = quantile(&sorted, 1.0 - BEYOND);
                let beyond: Vec<f64> = sorted.iter().filter(|value| **value > from).map(|value| value - from).collect();
                (from, BEYOND, beyond.iter().sum::<f64>() / beyond.len().max(1) as f64)
            }
            Measure::Mixed => {
                let (from, fall) = bulk(&sorted, 0.0);
                (from, 1.0 - BULK[0], fall)
            }
        };
        Self { sorted, from, begins: -share.ln(), excess: excess.max(f64::EPSILON) }
    }

    fn rarity(&self, value: f64) -> f64 {
        if value > self.from {
            return ((value - self.from) / self.excess + self.begins).min(RARITY_MAX);
        }
        let count = self.sorted.len().max(1) as f64;
        let below = self.sorted.partition_point(|other| *other < value) as f64;
        -(1.0 - below / count).max(1.0 / count).ln()
    }
}

/// The score that a share of at most `share` of natural records passes, where `natural` are the scores of clean ones: the order
/// statistic at which that holds with [`CONFIDENCE`] (a tolerance limit, Wilks 1941), or the greatest of too few.
pub(super) fn passed(natural: &[f64], share: f64) -> f64 {
    let mut sorted = natural.to_vec();
    sorted.sort_by(f64::total_cmp);
    let above = allowed(sorted.len(), share);
    sorted.iter().rev().nth(above).copied().unwrap_or_default()
}

/// About the same where `natural` are mixed with others, or a share of `missed` of them, the strangest, is missing: their bulk is
/// continued.
pub(super) fn from_bulk(natural: &[f64], missed: f64, share: f64) -> f64 {
    let mut sorted = natural.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (from, fall) = bulk(&sorted, missed);
    from + fall * ((1.0 - BULK[0]) / share).ln().max(0.0)
}

/// How many of `count` natural records may lie above a threshold for a share of at most `share` to do so in the long run.
fn allowed(count: usize, share: f64) -> usize {
    // The logarithms of the binomial's probabilities one after another, from that of none, which may be too small for a number.
    let mut each = count as f64 * (-share).ln_1p();
    let (mut total, mut above) = (each.exp(), 0);
    while total <= 1.0 - CONFIDENCE && above < count {
        above += 1;
        each += ((count - above + 1) as f64 / above as f64 * share / (1.0 - share)).ln();
        total += each.exp();
    }
    above.saturating_sub(1)
}

/// The median, and the mean excess of the exponential that passes both quantiles [`BULK`] of what `sorted` is without the share
/// `missed`, which lay beyond it.
fn bulk(sorted: &[f64], missed: f64) -> (f64, f64) {
    let [near, far] = BULK.map(|share| quantile(sorted, share / (1.0 - missed)));
    (near, (far - near) / ((1.0 - BULK[0]) / (1.0 - BULK[1])).ln())
}

/// The share of clean records from which a tail counts as an exponential's.
const BEYOND: f64 = 0.05;
/// The quantiles that a minority of changed records hardly moves.
const BULK: [f64; 2] = [0.5, 0.85];
/// No single statistic counts for more: one in 10^13.
const RARITY_MAX: f64 = 30.0;
/// That of the threshold.
const CONFIDENCE: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::{allowed, from_bulk};

    #[test]
    fn so_many_may_lie_above() {
        // Binomial(2000, 0.01): 13 or fewer with a chance of 6.4 %, 14 or fewer with 10.2 %. Binomial(400, 0.01): 1 or fewer 9.1 %.
        assert_eq!((allowed(2_000, 0.01), allowed(400, 0.01), allowed(200, 0.01)), (13, 1, 0));
        // Where the probability of none is too small for a number: 10,000 less 1.28 standard deviations of 99.5.
        assert!((9_865..9_880).contains(&allowed(1_000_000, 0.01)), "{}", allowed(1_000_000, 0.01));
    }

    #[test]
    fn an_exponential_is_continued() {
        let scores: Vec<f64> = (1..1_000).map(|rank| -(1.0 - f64::from(rank) / 1_000.0).ln()).collect();
        assert!((from_bulk(&scores, 0.0, 0.01) - 100_f64.ln()).abs() < 0.1);
        // Also where its end is missing.
        for known in [990, 950, 900] {
            let missed = 1.0 - known as f64 / 999.0;
            let found = from_bulk(&scores[..known], missed, 0.01);
            assert!((found - 100_f64.ln()).abs() < 0.1, "{found} of {known}");
        }
        assert!(from_bulk(&[1.0; 300], 0.05, 0.01).is_finite());
    }
}
