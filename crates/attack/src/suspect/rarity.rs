//! How rare a record's statistics are among natural records, together.
//!
//! Each statistic's place becomes the negative logarithm of the share of natural records that lie at least as far out: its
//! rarity. Beyond the last records the tail goes on as an exponential's (Pickands 1975, for a shape of 0). Where clean records show
//! how far tails reach, a record's score is the greatest of its rarities (Tippett's combination of tests) and the mean of all
//! (Fisher's): changes that show in one statistic alone count, and those that show a little in several too. Where only a bulk can be
//! relied on it is the mean alone, which one guessed tail does not carry far. What the score means is read off records themselves,
//! so the statistics need not be independent.
//!
//! Without clean records two things tell how far natural scores reach, and the lower threshold counts ([`from_mixed`]). Novelty
//! alone does not ask the model, and hardly depends on what the others say of natural records, while what was changed is strange to
//! both: so the records that one calls usual show, to the end of its tail, what is natural to the other. That fails where
//! many changed records are not new, and then the bulk of the core says it.

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
    /// The mean of all rarities, and how much of it comes from novelty.
    mean: f64,
    newness: f64,
}

impl Place {
    /// Where one statistic alone may tell: its tail is known, or little is lost with a natural record.
    pub(super) fn alone(&self) -> f64 {
        self.greatest + self.mean
    }

    /// Where tails are guessed from the bulk: far out in one statistic alone lie natural records too, changed ones in several.
    pub(super) fn together(&self) -> f64 {
        self.mean
    }

    /// What [`Self::together`] is the sum of: what the model has a part in, and the novelty.
    pub(super) fn parts(&self) -> [f64; 2] {
        [self.mean - self.newness, self.newness]
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
        let mut place = Place { statistic: Statistic::Depth, greatest: 0.0, mean: 0.0, newness: 0.0 };
        let count = self.0.len().max(1) as f64;
        for (statistic, tail) in &self.0 {
            let rarity = row.values.get(*statistic).map_or(0.0, |value| tail.rarity(*value));
            let named = Statistic::ALL.get(*statistic).copied().unwrap_or(Statistic::Depth);
            place.mean += rarity / count;
            if named == Statistic::Novelty {
                place.newness = rarity / count;
            }
            if rarity > place.greatest {
                place.greatest = rarity;
                place.statistic = named;
            }
        }
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

/// About the same where a minority of the records was changed, of whose scores `parts` are the parts, and `core` are scores of
/// those that are taken for natural.
pub(super) fn from_mixed(parts: &[[f64; 2]], core: &[f64], share: f64) -> f64 {
    let share = share * APART;
    from_halves(parts, share).min(from_bulk(core, MISSED, share))
}

/// The sum that a share of `share` passes of all pairs of a first part of those records that are the more usual half by the second,
/// and a second part of the more usual half by the first.
fn from_halves(parts: &[[f64; 2]], share: f64) -> f64 {
    let usual_by = |by: usize| {
        let mut order: Vec<[f64; 2]> = parts.to_vec();
        order.sort_by(|a, b| a[by].total_cmp(&b[by]));
        let mut others: Vec<f64> = order.into_iter().take(parts.len().div_ceil(2)).map(|part| part[1 - by]).collect();
        others.sort_by(f64::total_cmp);
        others
    };
    let (firsts, seconds) = (usual_by(1), usual_by(0));
    let ends = [(firsts.first(), seconds.first()), (firsts.last(), seconds.last())];
    let [mut low, mut high] = ends.map(|(a, b)| a.copied().unwrap_or_default() + b.copied().unwrap_or_default());
    let most = share * firsts.len() as f64 * seconds.len() as f64;
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        let above = firsts.iter().map(|first| seconds.len() - seconds.partition_point(|other| first + other <= middle));
        if above.sum::<usize>() as f64 > most {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
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
/// The share of natural records, the strangest, that a core counts as missing: less than it misses (a tenth), since the tail of a
/// mean falls off faster than its bulk.
const MISSED: f64 = 0.05;
/// What a share is multiplied with where parts are taken for independent: natural records that are far out in one are a little more
/// often so in the other.
const APART: f64 = 0.9;
/// Steps that find a threshold: to the last digits of a number.
const HALVINGS: usize = 60;
/// No single statistic counts for more: one in 10^13.
const RARITY_MAX: f64 = 30.0;
/// That of the threshold.
const CONFIDENCE: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::{APART, allowed, from_bulk, from_halves, from_mixed};

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

    /// Two parts that do not depend on each other, each of an exponential: their sum's tail is `(1 + t) exp(-t)` beyond `t`.
    fn independent() -> Vec<[f64; 2]> {
        let quantile = |rank: usize| -(1.0 - (rank as f64 + 0.5) / 40.0).ln();
        (0..1_600).map(|record| [quantile(record / 40), quantile(record % 40)]).collect()
    }

    /// The share of `parts` whose sum is above `threshold`.
    fn above(parts: &[[f64; 2]], threshold: f64) -> f64 {
        parts.iter().filter(|[a, b]| a + b > threshold).count() as f64 / parts.len() as f64
    }

    #[test]
    fn pairs_of_the_usual_halves_show_the_tail_of_all() {
        let natural = independent();
        let threshold = from_halves(&natural, 0.01);
        assert!((0.005..0.015).contains(&above(&natural, threshold)), "{threshold}");
        assert!(from_halves(&natural, 0.1) < threshold);
        // Records that are far out in both change neither half, whether few or many.
        for changed in [16, 80, 160] {
            let mixed: Vec<[f64; 2]> = natural.iter().copied().chain((0..changed).map(|_| [6.0, 6.0])).collect();
            let found = from_halves(&mixed, 0.01);
            assert!((0.004..0.025).contains(&above(&natural, found)) && found < 12.0, "{changed}: {found}");
        }
        // Nothing to tell apart, and nothing at all.
        assert!((from_halves(&[[1.0, 2.0]; 300], 0.01) - 3.0).abs() < 1e-9);
        assert!(from_halves(&[], 0.01).abs() < 1e-9);
    }

    #[test]
    fn where_changed_records_are_not_new_the_core_decides() {
        let natural = independent();
        let core: Vec<f64> = natural.iter().map(|[a, b]| a + b).collect();
        let hidden: Vec<[f64; 2]> = natural.iter().copied().chain((0..80).map(|_| [9.0, 0.1])).collect();
        let (halves, both) = (from_halves(&hidden, 0.01), from_mixed(&hidden, &core, 0.01));
        assert!(halves > 9.1 && both < 9.1 && both > 4.0, "{halves} {both}");
        assert!((both - from_bulk(&core, 0.05, 0.01 * APART)).abs() < 1e-9);
    }
}
