//! Intervals and curves: how far a measured share may be believed.

/// Wilson's score interval at 95 % for `successes` of `trials` (Wilson 1927; Brown, Cai and DasGupta 2001, eq. 4).
/// Without trials nothing is known: `[0, 1]`.
pub fn wilson95(successes: usize, trials: usize) -> [f64; 2] {
    if trials == 0 {
        return [0.0, 1.0];
    }
    let n = trials as f64;
    let share = successes.min(trials) as f64 / n;
    let z2 = Z95 * Z95;
    let centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z95 / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    // At both ends the formula is exact in the reals but not in floating point.
    let low = if successes == 0 { 0.0 } else { (centre - half).max(0.0) };
    let high = if successes >= trials { 1.0 } else { (centre + half).min(1.0) };
    [low, high]
}

/// The 95 % interval of the difference between two shares of the same trials, the first less the second (Newcombe 1998, "Improved
/// confidence intervals for the difference between binomial proportions based on paired data", method 10). `counts` are trials that
/// succeeded in both, in the first alone, in the second alone, and in neither. Without trials nothing is known: `[-1, 1]`.
pub fn paired95(counts: [usize; 4]) -> [f64; 2] {
    let [both, first, second, neither] = counts.map(|count| count as f64);
    let all = counts.iter().sum::<usize>();
    if all == 0 {
        return [-1.0, 1.0];
    }
    let n = all as f64;
    let shares = [(both + first) / n, (both + second) / n];
    let [low_first, high_first] = wilson95(counts[0] + counts[1], all);
    let [low_second, high_second] = wilson95(counts[0] + counts[2], all);
    let product = (both + first) * (second + neither) * (both + second) * (first + neither);
    let cross = both * neither - first * second;
    let corrected = if cross > 0.0 { (cross - n / 2.0).max(0.0) } else { cross };
    let phi = if product > 0.0 { corrected / product.sqrt() } else { 0.0 };
    let width = |a: f64, b: f64| (a * a - 2.0 * phi * a * b + b * b).max(0.0).sqrt();
    let difference = shares[0] - shares[1];
    let below = width(shares[0] - low_first, high_second - shares[1]);
    let above = width(high_first - shares[0], shares[1] - low_second);
    [(difference - below).max(-1.0), (difference + above).min(1.0)]
}

/// A receiver operating characteristic of a score that is higher for positives.
pub struct Roc {
    /// Scores of positives and negatives, by falling score.
    ranked: Vec<(f64, bool)>,
    positives: usize,
    negatives: usize,
}

impl Roc {
    /// Ranks both groups. A score that is not a number counts as the lowest.
    pub fn new(positives: &[f64], negatives: &[f64]) -> Self {
        let finite = |score: &f64| if score.is_nan() { f64::NEG_INFINITY } else { *score };
        let mut ranked: Vec<(f64, bool)> = positives.iter().map(|score| (finite(score), true)).collect();
        ranked.extend(negatives.iter().map(|score| (finite(score), false)));
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        Self { ranked, positives: positives.len(), negatives: negatives.len() }
    }

    /// Area under the curve: the chance that a positive scores above a negative, ties counted half
    /// (Hanley and McNeil 1982). 0.5 where a group is empty.
    pub fn area(&self) -> f64 {
        if self.positives == 0 || self.negatives == 0 {
            return 0.5;
        }
        let (mut area, mut last) = (0.0, (0.0, 0.0));
        for point in self.points() {
            area += (point.0 - last.0) * (point.1 + last.1) / 2.0;
            last = point;
        }
        area
    }

    /// The 95 % interval of [`Self::area`] by the variance of DeLong, DeLong and Clarke-Pearson 1988 (equations 3 to 5). Where one
    /// group lies wholly above the other, or all are tied, that variance is 0, and Wilson's interval over the smaller group stands for it. `None` with
    /// fewer than ten on either side.
    pub fn area_ci95(&self) -> Option<[f64; 2]> {
        if self.positives.min(self.negatives) < GROUP_MIN {
            return None;
        }
        let (area, deviation) = (self.area(), self.area_variance().sqrt());
        if deviation <= f64::EPSILON {
            let smaller = self.positives.min(self.negatives);
            let won = if area > 0.75 { smaller } else { smaller / 2 * usize::from(area > 0.25) };
            return Some(wilson95(won, smaller));
        }
        Some([(area - Z95 * deviation).max(0.0), (area + Z95 * deviation).min(1.0)])
    }

    /// The variances of each group's shares of the other that it beats, each over its own number.
    fn area_variance(&self) -> f64 {
        let (mut above, mut below) = (Vec::new(), Vec::new());
        let (mut hits, mut false_hits) = (0_usize, 0_usize);
        for tied in self.ranked.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
            let positives = tied.iter().filter(|(_, positive)| *positive).count();
            let negatives = tied.len() - positives;
            // The share of negatives below each of these positives, and of positives above each of these negatives.
            let beaten = self.negatives as f64 - false_hits as f64 - negatives as f64 / 2.0;
            above.extend(std::iter::repeat_n(beaten / self.negatives as f64, positives));
            let beating = hits as f64 + positives as f64 / 2.0;
            below.extend(std::iter::repeat_n(beating / self.positives as f64, negatives));
            hits += positives;
            false_hits += negatives;
        }
        [above, below].iter().map(|shares| variance(shares) / shares.len() as f64).sum()
    }

    /// How many positives and negatives stand above the threshold of [`Self::tpr_at`], where it can be stated.
    pub(crate) fn counts_at(&self, fpr: f64) -> Option<(usize, usize)> {
        self.tpr_at(fpr)?;
        let points = self.counts().take_while(|(_, false_hits)| *false_hits as f64 <= fpr * self.negatives as f64);
        Some(points.last().unwrap_or((0, 0)))
    }

    /// The curve, (false positive rate, true positive rate) rising, thinned to the last point of each `1 / fineness` of a
    /// decade of false positive rates.
    pub(crate) fn curve(&self, fineness: f64) -> Vec<[f64; 2]> {
        if self.positives == 0 || self.negatives == 0 {
            return Vec::new();
        }
        let mut kept: Vec<[f64; 2]> = Vec::new();
        let bucket = |fpr: f64| if fpr > 0.0 { (fpr.log10() * fineness).floor() } else { f64::NEG_INFINITY };
        for (fpr, tpr) in std::iter::once((0.0, 0.0)).chain(self.points()) {
            match kept.last_mut() {
                Some(last) if bucket(last[0]) >= bucket(fpr) => *last = [fpr, tpr],
                _ => kept.push([fpr, tpr]),
            }
        }
        kept
    }

    /// (positives, negatives) after each distinct score, rising.
    fn counts(&self) -> impl Iterator<Item = (usize, usize)> {
        let (mut hits, mut false_hits) = (0_usize, 0_usize);
        self.ranked.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()).map(move |tied| {
            let positives = tied.iter().filter(|(_, positive)| *positive).count();
            hits += positives;
            false_hits += tied.len() - positives;
            (hits, false_hits)
        })
    }

    /// The highest true positive rate whose false positive rate is at most `fpr`; `None` where the negatives are too few
    /// to state it: a rate of `fpr` must stand for at least ten of them.
    pub fn tpr_at(&self, fpr: f64) -> Option<f64> {
        let stands_for = self.negatives as f64 * fpr;
        if self.positives == 0 || stands_for + 1e-9 < FALSE_POSITIVES_MIN {
            return None;
        }
        Some(self.points().filter(|point| point.0 <= fpr).map(|point| point.1).fold(0.0, f64::max))
    }

    /// `(fpr, tpr)` after each distinct score, rising.
    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        let (positives, negatives) = (self.positives as f64, self.negatives as f64);
        self.counts().map(move |(hits, false_hits)| (false_hits as f64 / negatives, hits as f64 / positives))
    }
}

/// The sample's variance; 0 for fewer than two.
fn variance(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    if count < 2.0 {
        return 0.0;
    }
    let mean = values.iter().sum::<f64>() / count;
    values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (count - 1.0)
}

/// 97.5 % quantile of the standard normal distribution.
const Z95: f64 = 1.959_963_984_540_054;
/// False positives that a stated rate must rest on: ten, so that it is known to about a third.
const FALSE_POSITIVES_MIN: f64 = 10.0;
/// Examples on each side below which an area is not stated with an interval.
const GROUP_MIN: usize = 10;
