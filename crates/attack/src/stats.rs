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
        let (mut hits, mut false_hits) = (0_usize, 0_usize);
        self.ranked.iter().enumerate().filter_map(move |(place, (score, positive))| {
            if *positive {
                hits += 1;
            } else {
                false_hits += 1;
            }
            let tie = self.ranked.get(place + 1).is_some_and(|next| next.0.total_cmp(score).is_eq());
            (!tie).then(|| (false_hits as f64 / self.negatives as f64, hits as f64 / self.positives as f64))
        })
    }
}

/// 97.5 % quantile of the standard normal distribution.
const Z95: f64 = 1.959_963_984_540_054;
/// False positives that a stated rate must rest on: ten, so that it is known to about a third.
const FALSE_POSITIVES_MIN: f64 = 10.0;
