//! What the last points look like together: patterns and distributions that were not there before, and the period of the stream.

use super::{
    calm::join,
    signals::{LEAST, LONG, gain},
    tail::{BLOCK_POINTS, Scratch, Tail},
};

/// Recent points and what is known of their shapes.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// The last [`RECENT`] values, in a ring.
    recent: Vec<f64>,
    next: usize,
    /// Some of them, sorted.
    sample: Vec<f64>,
    /// Sum of the ranks in the present chunk, and how many.
    chunk: (f64, u32),
    /// Mean ranks of the last chunks, oldest first.
    window: [f32; WINDOW],
    chunks: usize,
    prototypes: Vec<[f32; WINDOW]>,
    oldest: usize,
    novelty: Tail,
    /// Shares of the tenths, lately and in the long run.
    lately: [f64; 10],
    long: [f64; 10],
    divergence: Tail,
    surprise: f64,
}

impl Shape {
    pub(super) fn new() -> Self {
        Self {
            recent: Vec::with_capacity(RECENT),
            next: 0,
            sample: Vec::with_capacity(SAMPLE),
            chunk: (0.0, 0),
            window: [0.5; WINDOW],
            chunks: 0,
            prototypes: Vec::with_capacity(PROTOTYPES_MAX),
            oldest: 0,
            novelty: Tail::new(BLOCK_POINTS / CHUNK_POINTS + 1),
            lately: [0.1; 10],
            long: [0.1; 10],
            divergence: Tail::new(BLOCK_POINTS),
            surprise: 0.0,
        }
    }

    /// The surprise of the shape that ends with `value`.
    pub(super) fn push(&mut self, value: f64, seen: u64, scratch: &mut Scratch) -> f64 {
        let rank = self.rank(value);
        if self.recent.len() < RECENT {
            self.recent.push(value);
        } else {
            self.recent[self.next] = value;
            self.next = (self.next + 1) % RECENT;
        }
        if seen.is_multiple_of(SAMPLE_EVERY) {
            self.draw();
        }
        self.chunk.0 += rank;
        self.chunk.1 += 1;
        if self.chunk.1 == CHUNK_POINTS {
            self.surprise = self.pattern(scratch);
            self.chunk = (0.0, 0);
        }
        join([self.surprise, self.distribution(rank, seen, scratch)])
    }

    /// Whether it is time to look for a period again.
    pub(super) fn is_full_turn(&self) -> bool {
        let turn = if self.recent.len() < RECENT { self.recent.len() } else { self.next };
        turn > 0 && turn.is_multiple_of(PERIOD_EVERY)
    }

    /// 0 to 1: where `value` lies among the recent ones.
    fn rank(&self, value: f64) -> f64 {
        if self.sample.is_empty() {
            return 0.5;
        }
        let below = self.sample.partition_point(|other| *other < value);
        let within = self.sample.partition_point(|other| *other <= value);
        (below + within) as f64 / (2 * self.sample.len()) as f64
    }

    fn draw(&mut self) {
        let stride = self.recent.len().div_ceil(SAMPLE).max(1);
        self.sample.clear();
        self.sample.extend(self.recent.iter().step_by(stride));
        self.sample.sort_unstable_by(f64::total_cmp);
    }

    /// How far the window lies from everything that was there before (an online vector quantiser with vigilance).
    fn pattern(&mut self, scratch: &mut Scratch) -> f64 {
        self.window.rotate_left(1);
        #[expect(clippy::cast_possible_truncation, reason = "ranks lie in 0 to 1")]
        let mean = (self.chunk.0 / f64::from(CHUNK_POINTS)) as f32;
        self.window[WINDOW - 1] = mean;
        self.chunks += 1;
        if self.chunks < WINDOW {
            return 0.0;
        }
        let window = self.window;
        let distance = |prototype: &[f32; WINDOW]| -> f32 {
            prototype.iter().zip(&window).map(|(left, right)| (left - right) * (left - right)).sum()
        };
        let mut nearest: Option<(f32, usize)> = None;
        for (place, prototype) in self.prototypes.iter().enumerate() {
            let distance = distance(prototype);
            if nearest.is_none_or(|(least, _)| distance < least) {
                nearest = Some((distance, place));
            }
        }
        let Some((squared, place)) = nearest else {
            self.prototypes.push(window);
            return 0.0;
        };
        let far = (f64::from(squared) / WINDOW as f64).sqrt();
        if far <= VIGILANCE {
            for (kept, new) in self.prototypes[place].iter_mut().zip(&window) {
                *kept += PROTOTYPE_GAIN * (new - *kept);
            }
        } else if self.prototypes.len() < PROTOTYPES_MAX {
            self.prototypes.push(window);
        } else {
            self.prototypes[self.oldest] = window;
            self.oldest = (self.oldest + 1) % PROTOTYPES_MAX;
        }
        self.novelty.push(far, LEAST, scratch)
    }

    /// Relative entropy of the tenths lately to those in the long run (Wang et al., "Statistical techniques for online anomaly
    /// detection in data centers", 2011).
    fn distribution(&mut self, rank: f64, seen: u64, scratch: &mut Scratch) -> f64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "ranks lie in 0 to 1")]
        let tenth = ((rank * 10.0) as usize).min(9);
        let mut divergence = 0.0;
        for (place, (lately, long)) in self.lately.iter_mut().zip(&mut self.long).enumerate() {
            let hit = if place == tenth { 1.0 } else { 0.0 };
            *lately += (hit - *lately) / LATELY;
            *long += gain(LONG, seen) * (hit - *long);
            divergence += (*lately + SHARE_MIN) * ((*lately + SHARE_MIN) / (*long + SHARE_MIN)).ln();
        }
        self.divergence.push(divergence, LEAST, scratch)
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        (self.recent.capacity() + self.sample.capacity()) * size_of::<f64>()
            + self.prototypes.capacity() * size_of::<[f32; WINDOW]>()
            + self.novelty.buffer_bytes()
            + self.divergence.buffer_bytes()
    }

    /// The period of the recent points, in points: the first high peak of their autocorrelation beyond its first valley.
    pub(super) fn period(&self) -> Option<usize> {
        let (low, high) =
            (*self.sample.get(self.sample.len() / 50)?, *self.sample.iter().rev().nth(self.sample.len() / 50)?);
        if self.recent.len() < PERIOD_POINTS_MIN || high <= low {
            return None;
        }
        let middle = self.sample[self.sample.len() / 2];
        #[expect(clippy::cast_possible_truncation, reason = "clipped to -1 to 1")]
        let clip = |value: &f64| ((value.clamp(low, high) - middle) / (high - low)) as f32;
        let mut wave: Vec<f32> = self.recent[self.next..].iter().chain(&self.recent[..self.next]).map(clip).collect();
        let mean = wave.iter().sum::<f32>() / wave.len() as f32;
        for value in &mut wave {
            *value -= mean;
        }
        let power = wave.iter().map(|value| value * value).sum::<f32>() / wave.len() as f32;
        if power <= 0.0 {
            return None;
        }
        let at = |lag: usize| -> f32 {
            let pairs = wave.len() - lag;
            dot(&wave[..pairs], &wave[lag..]) / (pairs as f32 * power)
        };
        let lags: Vec<f32> = (0..wave.len() / CYCLES_MIN).map(at).collect();
        let valley =
            (1..lags.len()).find(|lag| lags[*lag] < VALLEY || (*lag + 1 < lags.len() && lags[*lag] < lags[lag + 1]))?;
        let peak = lags.get(valley..)?.iter().copied().fold(f32::MIN, f32::max);
        if peak < PEAK_MIN {
            return None;
        }
        (valley.max(1)..lags.len() - 1)
            .find(|lag| lags[*lag] >= PEAK_NEAR * peak && lags[*lag] >= lags[lag - 1] && lags[*lag] >= lags[lag + 1])
    }
}

/// Sum of products, in lanes that the compiler turns into vectors.
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    for (left, right) in left.as_chunks::<8>().0.iter().zip(right.as_chunks::<8>().0) {
        for ((lane, left), right) in lanes.iter_mut().zip(left).zip(right) {
            *lane += left * right;
        }
    }
    lanes.iter().sum()
}

/// Values remembered, and how many of them are sorted how often.
const RECENT: usize = 2048;
const SAMPLE: usize = 512;
const SAMPLE_EVERY: u64 = 64;
/// Points in a chunk, and chunks in a window.
const CHUNK_POINTS: u32 = 6;
const WINDOW: usize = 12;
/// Prototypes kept; one is made where none is nearer than this (root mean square of ranks), and moved by this share otherwise.
const PROTOTYPES_MAX: usize = 256;
const VIGILANCE: f64 = 0.15;
const PROTOTYPE_GAIN: f32 = 0.1;
/// Points of the histogram of late, and what is added to each share.
const LATELY: f64 = 96.0;
const SHARE_MIN: f64 = 0.01;
/// Points between looks for a period, points before the first, and cycles that must be seen.
const PERIOD_EVERY: usize = 512;
const PERIOD_POINTS_MIN: usize = 256;
const CYCLES_MIN: usize = 3;
/// Correlation that ends the first descent, that a period needs at least, and share of the highest that counts as high.
const VALLEY: f32 = 0.1;
const PEAK_MIN: f32 = 0.5;
const PEAK_NEAR: f32 = 0.9;
