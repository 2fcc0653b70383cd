//! Small robust statistics that the models share. Everything has a fixed size.

use std::collections::VecDeque;

/// The last `N` values of a stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recent<const N: usize> {
    values: VecDeque<f64>,
}

impl<const N: usize> Recent<N> {
    pub(crate) fn push(&mut self, value: f64) {
        if self.values.len() == N {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    pub(crate) fn first(&self) -> Option<f64> {
        self.values.front().copied()
    }

    pub(crate) fn last(&self) -> Option<f64> {
        self.values.back().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Where a value stands among these, 0 to 1; ties count half, and so does the value itself.
    pub(crate) fn rank(&self, value: f64) -> f64 {
        let below: f64 =
            self.values.iter().map(|held| f64::from(u8::from(*held < value) + u8::from(*held <= value))).sum();
        (0.5 * below + 0.5) / (self.values.len() as f64 + 1.0)
    }

    /// Median and scaled median absolute deviation (a robust standard deviation) of all but the newest `skip`.
    pub(crate) fn centre(&self, skip: usize) -> Option<(f64, f64)> {
        let kept = self.values.len().saturating_sub(skip);
        let mut sorted: Vec<f64> = self.values.iter().take(kept).copied().collect();
        let median = median(&mut sorted)?;
        for value in &mut sorted {
            *value = (*value - median).abs();
        }
        let deviation = self::median(&mut sorted)?;
        Some((median, MAD_TO_DEVIATION * deviation))
    }

    /// A robust standard deviation from differences of neighbours: a slow trend is no noise.
    pub(crate) fn noise(&self) -> Option<f64> {
        let next = self.values.iter().skip(1);
        let mut steps: Vec<f64> = self.values.iter().zip(next).map(|(before, after)| (after - before).abs()).collect();
        Some(MAD_TO_DEVIATION * median(&mut steps)? / std::f64::consts::SQRT_2)
    }

    /// Median of the newest `count`.
    pub(crate) fn newest(&self, count: usize) -> Option<f64> {
        let skipped = self.values.len().saturating_sub(count);
        let mut newest: Vec<f64> = self.values.iter().skip(skipped).copied().collect();
        median(&mut newest)
    }
}

/// The middle value; sorts what it is given.
pub(crate) fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    let (_, found, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*found)
}

/// A logarithm that takes every number: about ln|x| with the sign of `x`, linear below `unit`.
pub(crate) fn signed_log(value: f64, unit: f64) -> f64 {
    value.signum() * (value.abs() / unit).min(f64::MAX).ln_1p()
}

/// The inverse of [`signed_log`].
pub(crate) fn signed_log_inverse(y: f64, unit: f64) -> f64 {
    y.signum() * y.abs().exp_m1() * unit
}

/// Shannon entropy of a text's bytes, in bits per byte.
pub(crate) fn entropy(text: &str) -> f64 {
    let mut counts = std::collections::BTreeMap::<u8, u32>::new();
    for byte in text.bytes() {
        *counts.entry(byte).or_default() += 1;
    }
    let all = text.len().max(1) as f64;
    counts.values().map(|count| f64::from(*count) / all).map(|share| -share * share.log2()).sum()
}

/// Chance of a Poisson count of `rate` being at least `count`, by the Chernoff bound: never too small.
pub(crate) fn poisson_tail(count: f64, rate: f64) -> f64 {
    let rate = rate.max(1e-9);
    if count <= rate {
        return 1.0;
    }
    (count - rate - count * (count / rate).ln()).exp()
}

/// Turns evidence (natural logarithm of odds against all being normal) into a confidence, 0 to 1.
pub(crate) fn confidence(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds.clamp(-30.0, 30.0)).exp())
}

/// Median absolute deviation to standard deviation, for a normal distribution.
const MAD_TO_DEVIATION: f64 = 1.4826;
