//! How rarely does a number reach this far up?
//!
//! [`Tail::push`] answers with the logarithm (base 10) of the return period, in blocks. A tail keeps the highest number of each of
//! the last [`BLOCKS_MAX`] blocks, so that one event counts once however long it lasts, and fits a generalised Pareto
//! distribution to the excesses of the top [`TAIL_SHARE`]. Shape and scale are drawn towards a prior that speaks for few peaks.

/// One sided; give it the negated number for the other side.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    maxima: Vec<f64>,
    next: usize,
    highest: f64,
    inside: u32,
    block_points: u32,
    fit: Option<Fit>,
}

#[derive(Debug, Clone, Copy)]
struct Fit {
    /// Numbers above this are the tail.
    threshold: f64,
    scale: f64,
    shape: f64,
    /// Natural logarithm of blocks per block whose maximum is in the tail.
    rarity: f64,
}

/// Room for sorting, lent by the detector.
#[derive(Debug, Clone)]
pub(super) struct Scratch(Vec<f64>);

impl Scratch {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(BLOCKS_MAX))
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        self.0.capacity() * size_of::<f64>()
    }
}

impl Tail {
    pub(super) fn new(block_points: u32) -> Self {
        Self {
            maxima: Vec::with_capacity(BLOCKS_MAX),
            next: 0,
            highest: f64::NEG_INFINITY,
            inside: 0,
            block_points,
            fit: None,
        }
    }

    /// The surprise of `number` by what came before; then learns it. 0 within the body, at most [`SURPRISE_MAX`]. However
    /// alike the numbers were so far, differences well below `least` surprise nobody.
    pub(super) fn push(&mut self, number: f64, least: f64, scratch: &mut Scratch) -> f64 {
        let surprise = self.fit.map_or(0.0, |fit| fit.surprise(number, least));
        self.highest = self.highest.max(number);
        self.inside += 1;
        if self.inside >= self.block_points {
            if self.maxima.len() < BLOCKS_MAX {
                self.maxima.push(self.highest);
            } else if let Some(oldest) = self.maxima.get_mut(self.next) {
                *oldest = self.highest;
                self.next = (self.next + 1) % BLOCKS_MAX;
            }
            self.inside = 0;
            self.highest = f64::NEG_INFINITY;
            self.fit = Fit::of(&self.maxima, scratch);
        }
        surprise
    }

    /// Where the tail begins, once there is one.
    pub(super) fn threshold(&self) -> Option<f64> {
        self.fit.map(|fit| fit.threshold)
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        self.maxima.capacity() * size_of::<f64>()
    }
}

impl Fit {
    fn of(maxima: &[f64], scratch: &mut Scratch) -> Option<Self> {
        let blocks = maxima.len();
        if blocks < BLOCKS_MIN {
            return None;
        }
        let peaks = (blocks * TAIL_SHARE.0).div_ceil(TAIL_SHARE.1).clamp(PEAKS_MIN, blocks - 2);
        let sorted = &mut scratch.0;
        sorted.clear();
        sorted.extend_from_slice(maxima);
        let (above, threshold, below) = sorted.select_nth_unstable_by(peaks, |left, right| right.total_cmp(left));
        let threshold = *threshold;
        let (mut sum, mut squares) = (0.0, 0.0);
        for peak in above.iter() {
            sum += peak - threshold;
            squares += (peak - threshold) * (peak - threshold);
        }
        let count = peaks as f64;
        let mean = sum / count;
        let variance = (squares / count - mean * mean).max(0.0);
        let rank = (blocks - 1 - blocks / 10).saturating_sub(peaks + 1).min(below.len().saturating_sub(1));
        let low = *below.select_nth_unstable_by(rank, |left, right| right.total_cmp(left)).1;
        // Moments' estimate of the shape (Hosking and Wallis 1987, equation 7), drawn towards the prior.
        let shape = if variance > 0.0 { 0.5 * (1.0 - mean * mean / variance) } else { 0.0 };
        let shape = ((shape * count + SHAPE_PRIOR * SHAPE_PRIOR_PEAKS) / (count + SHAPE_PRIOR_PEAKS))
            .clamp(SHAPE_MIN, SHAPE_MAX);
        let body = SCALE_PRIOR_OF_BODY * (threshold - low);
        let mean = (sum + body * SCALE_PRIOR_PEAKS) / (count + SCALE_PRIOR_PEAKS);
        let least = threshold.abs() * ROUNDING + f64::MIN_POSITIVE;
        Some(Self { threshold, scale: (mean * (1.0 - shape)).max(least), shape, rarity: (blocks as f64 / count).ln() })
    }

    fn surprise(&self, number: f64, least: f64) -> f64 {
        let excess = number - self.threshold;
        if excess <= 0.0 {
            return 0.0;
        }
        let beyond = (self.shape * excess / self.scale.max(least)).ln_1p() / self.shape;
        ((self.rarity + beyond) * std::f64::consts::LOG10_E).min(SURPRISE_MAX)
    }
}

/// Points in a block where every point counts.
pub(super) const BLOCK_POINTS: u32 = 16;
/// Blocks remembered: with blocks of 16 points, the last 4,096.
const BLOCKS_MAX: usize = 256;
/// Blocks before a tail says anything.
const BLOCKS_MIN: usize = 8;
/// Share of the blocks whose maxima are the tail.
const TAIL_SHARE: (usize, usize) = (2, 25);
const PEAKS_MIN: usize = 4;
const SURPRISE_MAX: f64 = 30.0;
/// What the shape is believed to be, and how many peaks that belief is worth.
const SHAPE_PRIOR: f64 = 0.15;
const SHAPE_PRIOR_PEAKS: f64 = 10.0;
const SHAPE_MIN: f64 = 0.02;
const SHAPE_MAX: f64 = 0.6;
/// What the mean excess is believed to be, as a share of the body's width, and how many peaks that is worth.
const SCALE_PRIOR_OF_BODY: f64 = 0.3;
const SCALE_PRIOR_PEAKS: f64 = 4.0;
/// Differences below this share of a number are rounding.
const ROUNDING: f64 = 1e-9;
