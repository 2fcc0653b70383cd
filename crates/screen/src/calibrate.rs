//! From scores to decisions: which contradicted labels are wrong with enough certainty.
//!
//! Confident learning (Northcutt et al., JAIR 2021) ranks well and thresholds badly. Here the threshold is calibrated on the
//! dataset itself. Every pair of a record and a class other than the one its neighbours prefer is an opportunity for a
//! contradiction of a certain strength; ρ is the share of opportunities at a strength that were taken, made monotone
//! (pool adjacent violators). Two things are known about ρ, and each bounds the probability that a contradiction is a wrong
//! label rather than a natural confusion:
//!
//! * Labels replaced at random take every opportunity alike. So ρ falls towards their share ε, its value among the strongest
//!   contradictions, and ε / ρ of the contradictions at a strength are of that kind.
//! * Natural confusions fade at least exponentially as the contradiction gets stronger. Their ρ is fitted where confusions
//!   are common (the weaker half), extended, and what exceeds it is not natural. This catches attacks that also blur the
//!   content, whose contradictions are of middling strength.
//!
//! Data with overlapping classes have a high ρ nearly everywhere that fades slowly, and hardly anything is filtered.

/// Contradictions of labels by their neighbours, and how many there could have been.
#[derive(Debug, Default)]
pub(crate) struct Contradictions {
    /// Records whose label is not the top one, with the strength of the contradiction; by record.
    pub(crate) observed: Vec<(u32, f32)>,
    /// Strength that each other label of each `scale`-th record would have.
    pub(crate) possible: Vec<f32>,
    /// Records for each one in `possible`; at least 1.
    pub(crate) scale: usize,
    /// How the strengths came about.
    pub(crate) strengths: Strengths,
}

/// How strengths came about, which decides what may be assumed of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Strengths {
    /// From one vote: natural confusions fade with strength.
    #[default]
    OneVote,
    /// The greatest of several votes: it is high somewhere for many a good record.
    Greatest,
}

/// A contradicted label that is at least worth a look.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Doubt {
    pub(crate) record: usize,
    /// Strength of the contradiction.
    pub(crate) score: f32,
    /// Probability that the label is wrong, by the calibration.
    pub(crate) posterior: f32,
    pub(crate) filtered: bool,
}

/// Decides on the observed contradictions; `classes` is the number of label values.
pub(crate) fn judge(found: &Contradictions, classes: usize) -> Vec<Doubt> {
    let bins = bins(found, classes);
    let noise = noise(&bins);
    let rates = monotone(&bins);
    let natural = Natural::fit(&bins);
    let floor = flatness(&bins, &rates, noise);
    let mut doubts = Vec::new();
    for (record, score) in &found.observed {
        let bin = bins.partition_point(|bin| bin.low > *score).min(bins.len().saturating_sub(1));
        let rate = rates.get(bin).copied().unwrap_or(1.0);
        if rate <= 0.0 {
            continue;
        }
        let excess = match found.strengths {
            Strengths::OneVote => 1.0 - natural.rate(f64::from(*score)) / rate,
            Strengths::Greatest => 0.0,
        };
        let posterior = (floor * (noise / rate).min(1.0)).max(excess).clamp(0.0, 1.0);
        if posterior >= REVIEW_POSTERIOR && *score >= REVIEW_STRENGTH {
            #[expect(clippy::cast_possible_truncation, reason = "a probability")]
            let posterior = posterior as f32;
            doubts.push(Doubt { record: *record as usize, score: *score, posterior, filtered: false });
        }
    }
    let records = bins.iter().map(|bin| bin.possible).sum::<f64>();
    // The greatest of several votes repeats most of what one vote says; together they share the budget.
    let share = match found.strengths {
        Strengths::OneVote => EXPECTED_FALSE_MAX,
        Strengths::Greatest => EXPECTED_FALSE_MAX / 2.0,
    };
    choose(&mut doubts, records * share);
    doubts
}

/// Filters the surest doubts, as long as the expected number of good records among them stays within `budget`.
fn choose(doubts: &mut [Doubt], budget: f64) {
    let mut order: Vec<usize> = (0..doubts.len()).collect();
    order.sort_by(|a, b| {
        doubts[*b].posterior.total_cmp(&doubts[*a].posterior).then(doubts[*b].score.total_cmp(&doubts[*a].score))
    });
    let (mut expected, mut taken) = (0.0, 0.0);
    for at in order {
        let doubt = &mut doubts[at];
        expected += 1.0 - f64::from(doubt.posterior);
        // Where many labels are wrong, a small share of what is filtered may be good.
        let allowed = budget.max(1.0).max(taken * EXPECTED_FALSE_SHARE);
        if doubt.posterior < FILTER_POSTERIOR || expected > allowed {
            break;
        }
        taken += 1.0;
        doubt.filtered = doubt.score >= FILTER_STRENGTH;
    }
}

#[derive(Debug)]
struct Bin {
    low: f32,
    observed: f64,
    possible: f64,
}

/// Bins of opportunities, strongest first: of equal size at first, then smaller, because confusions crowd the weak end.
fn bins(found: &Contradictions, classes: usize) -> Vec<Bin> {
    let mut possible = found.possible.clone();
    possible.sort_by(|a, b| b.total_cmp(a));
    let weight = found.scale.max(1) as f64 / (classes.max(2) - 1) as f64;
    let (largest, smallest) = ((possible.len() / BINS).max(1), classes.max(2) * BIN_RECORDS_MIN);
    let mut bins: Vec<Bin> = Vec::new();
    let mut rest = possible.as_slice();
    while !rest.is_empty() {
        let size = largest.min(rest.len() / 5).max(smallest).min(rest.len());
        let (chunk, behind) = rest.split_at(size);
        rest = behind;
        let low = chunk.last().copied().unwrap_or(0.0);
        match bins.last_mut().filter(|bin| bin.low <= low) {
            // Equal strengths stay in one bin.
            Some(bin) => bin.possible += chunk.len() as f64 * weight,
            None => bins.push(Bin { low, observed: 0.0, possible: chunk.len() as f64 * weight }),
        }
    }
    for (_, score) in &found.observed {
        let at = bins.partition_point(|bin| bin.low > *score).min(bins.len().saturating_sub(1));
        if let Some(bin) = bins.get_mut(at) {
            bin.observed += 1.0;
        }
    }
    bins
}

/// How natural confusions fade: `exp(level - slope * strength)`.
struct Natural {
    level: f64,
    slope: f64,
}

impl Natural {
    /// Poisson regression over the weaker half of strengths, by Newton's method. The slope is bounded: too steep an extension
    /// would call natural confusions unnatural.
    fn fit(bins: &[Bin]) -> Self {
        let total: f64 = bins.iter().map(|bin| bin.possible).sum();
        let mut above = 0.0;
        let median = bins.iter().find(|bin| {
            above += bin.possible;
            above * 2.0 >= total
        });
        let median = median.map_or(1.0, |bin| f64::from(bin.low)).max(1e-3);
        // A bin's strength is the middle between its bounds.
        let weak: Vec<(f64, f64, f64)> = bins
            .iter()
            .enumerate()
            .map(|(at, bin)| (at.checked_sub(1).and_then(|at| bins.get(at)).map_or(bin.low, |above| above.low), bin))
            .map(|(high, bin)| (f64::from(high + bin.low) / 2.0, bin.observed, bin.possible))
            .filter(|(strength, ..)| *strength <= median * WEAK_SHARE)
            // One contradiction in two at no strength at all: where there is nothing to fit, confusions start there.
            .chain([(0.0, 2.0, 4.0)])
            .collect();
        let steepest = SLOPE_MAX / median;
        let (mut level, mut slope) = (-0.7_f64, steepest / 2.0);
        for _ in 0..NEWTON_ROUNDS {
            let (mut g0, mut g1, mut h00, mut h01, mut h11) = (0.0, 0.0, 1e-6, 0.0, 1e-6);
            for (strength, observed, possible) in &weak {
                let expected = possible * (level - slope * strength).clamp(-30.0, 3.0).exp();
                g0 += observed - expected;
                g1 -= (observed - expected) * strength;
                h00 += expected;
                h01 -= expected * strength;
                h11 += expected * strength * strength;
            }
            let determinant = h00 * h11 - h01 * h01;
            if determinant.abs() < 1e-12 {
                break;
            }
            level += ((h11 * g0 - h01 * g1) / determinant).clamp(-1.0, 1.0);
            slope = (slope + ((h00 * g1 - h01 * g0) / determinant).clamp(-2.0, 2.0)).clamp(0.0, steepest);
        }
        Self { level, slope }
    }

    fn rate(&self, strength: f64) -> f64 {
        (self.level - self.slope * strength).exp()
    }
}

/// The share of wrong labels: the ratio among the strongest contradictions, over as few bins as give enough of them, and one
/// standard error more: small data sets have few, and missing half of them for a chance gap would be worse than a few
/// doubtful ones within the budget.
fn noise(bins: &[Bin]) -> f64 {
    let total: f64 = bins.iter().map(|bin| bin.possible).sum();
    let (mut observed, mut possible) = (0.0, 0.0);
    for bin in bins {
        let enough = observed >= NOISE_OBSERVED_MIN && possible >= NOISE_SHARE_MIN * total;
        if enough || possible >= NOISE_SHARE_MAX * total {
            break;
        }
        observed += bin.observed;
        possible += bin.possible;
    }
    if possible > 0.0 { (observed + observed.sqrt()) / possible } else { 0.0 }
}

/// How far the strongest contradictions have reached a floor, 0 to 1. Where ρ still falls over the stronger half, natural
/// confusions go on to the end, and the noise is not measured but only bounded from above.
fn flatness(bins: &[Bin], rates: &[f64], noise: f64) -> f64 {
    let total: f64 = bins.iter().map(|bin| bin.possible).sum();
    let mut above = 0.0;
    let middle = bins.iter().zip(rates).find(|(bin, _)| {
        above += bin.possible;
        above * 2.0 >= total
    });
    middle.map_or(1.0, |(_, rate)| (FLAT_RATIO * noise / rate.max(f64::MIN_POSITIVE)).min(1.0))
}

/// The ratio of each bin, made non-decreasing from the strongest bin on by pooling adjacent violators.
fn monotone(bins: &[Bin]) -> Vec<f64> {
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for bin in bins {
        let mut block = (bin.observed, bin.possible, 1);
        while let Some(last) = blocks.pop_if(|last| last.0 * block.1 >= block.0 * last.1) {
            block = (last.0 + block.0, last.1 + block.1, last.2 + block.2);
        }
        blocks.push(block);
    }
    blocks.iter().flat_map(|block| std::iter::repeat_n(block.0 / block.1.max(f64::MIN_POSITIVE), block.2)).collect()
}

/// A number in 0..1 from a `splitmix64` stream: for fixed, seeded starts, never for secrets.
pub(crate) fn uniform(state: &mut u64) -> f32 {
    (splitmix(state) >> 40) as f32 / (1_u64 << 24) as f32
}

/// The next value of a `splitmix64` stream.
pub(crate) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Natural logarithm of the probability that a binomial variable of `n` trials at `p` reaches `k`: Chernoff's bound.
pub(crate) fn tail(k: usize, n: usize, p: f64) -> f64 {
    let (share, p) = (k as f64 / (n.max(1)) as f64, p.clamp(1e-9, 1.0 - 1e-9));
    if share <= p {
        return 0.0;
    }
    let first = share * (share / p).ln();
    let second = if share < 1.0 { (1.0 - share) * ((1.0 - share) / (1.0 - p)).ln() } else { 0.0 };
    -(n as f64) * (first + second)
}

const BINS: usize = 40;
const BIN_RECORDS_MIN: usize = 8;
/// The natural rate is fitted up to this share of the median strength.
const WEAK_SHARE: f64 = 0.5;
/// Natural confusions fade by at most this many powers of e up to the median strength.
const SLOPE_MAX: f64 = 6.0;
const NEWTON_ROUNDS: usize = 30;
const NOISE_OBSERVED_MIN: f64 = 20.0;
const NOISE_SHARE_MIN: f64 = 0.05;
const NOISE_SHARE_MAX: f64 = 0.6;
/// At this probability a wrong label is filtered.
const FILTER_POSTERIOR: f32 = 0.3;
/// Share of all records that may be expected to be filtered wrongly.
const EXPECTED_FALSE_MAX: f64 = 0.003;
const EXPECTED_FALSE_SHARE: f64 = 0.08;
const FLAT_RATIO: f64 = 3.5;
const FILTER_STRENGTH: f32 = 0.45;
const REVIEW_POSTERIOR: f64 = 0.15;
const REVIEW_STRENGTH: f32 = 0.25;

#[cfg(test)]
mod tests {
    use super::*;

    /// Strengths 0..1 evenly; a share `noise` of random flips plus confusions that fade with strength.
    fn simulate(noise: f32, confusion: f32) -> (Contradictions, Vec<bool>) {
        let mut state = 7;
        let (mut found, mut wrong) = (Contradictions::default(), Vec::new());
        for record in 0..20_000 {
            let strength = uniform(&mut state);
            found.possible.push(strength);
            let flipped = uniform(&mut state) < noise;
            wrong.push(flipped);
            if flipped || uniform(&mut state) < confusion * (1.0 - strength).powi(3) {
                found.observed.push((record, strength));
            }
        }
        (found, wrong)
    }

    #[test]
    fn good_records_stay_at_any_noise() {
        for (noise, precision_percent) in [(0.002, 35), (0.02, 60), (0.1, 80)] {
            let (found, wrong) = simulate(noise, 0.3);
            let filtered: Vec<_> = judge(&found, 2).into_iter().filter(|doubt| doubt.filtered).collect();
            let right = filtered.iter().filter(|doubt| wrong[doubt.record]).count();
            let false_ones = filtered.len() - right;
            assert!(right * 100 >= filtered.len() * precision_percent, "noise {noise}: {right} of {}", filtered.len());
            assert!(false_ones <= 20_000 / 100, "noise {noise}: {false_ones} good records of 20000");
            assert!(right > 0 || noise < 0.01, "noise {noise}");
        }
    }

    #[test]
    fn clean_overlap_is_left_alone() {
        let (found, _) = simulate(0.0, 0.3);
        let filtered = judge(&found, 2).iter().filter(|doubt| doubt.filtered).count();
        assert!(filtered <= 60, "{filtered} of 20000");
    }

    #[test]
    fn the_bound_is_a_bound() {
        assert!(tail(5, 10, 0.5) == 0.0);
        assert!(tail(10, 10, 0.5) <= 0.5_f64.powi(10).ln() + 1e-9);
    }
}
