//! The generator behind every seed: xoshiro256++ 1.0 (Blackman and Vigna, 2019), its state filled by splitmix64.
//!
//! Statistical quality only: nothing secret is ever drawn from it. The same seed gives the same numbers on every machine.

use crate::real::Real;

/// A seeded stream of numbers.
#[derive(Debug, Clone)]
pub struct Random {
    state: [u64; 4],
    spare: Option<f64>,
}

impl Random {
    /// A stream that depends on `seed` only.
    pub fn new(seed: u64) -> Self {
        let mut mixed = seed;
        let state = std::array::from_fn(|_| {
            mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = mixed;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        });
        Self { state, spare: None }
    }

    /// A stream for one part of a task: independent of the streams of other parts with the same seed.
    pub fn stream(seed: u64, part: u64) -> Self {
        let mut first = Self::new(seed);
        let salt = first.bits();
        Self::new(salt ^ part.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// Uniform in `[0, 1)`, 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// Uniform in `[low, high)`, as `f32`.
    pub fn uniform_in(&mut self, low: f32, high: f32) -> f32 {
        let (low, high) = (f64::from(low), f64::from(high));
        f32::of(low + (high - low) * self.uniform())
    }

    /// Uniform in `0..bound` without bias; 0 where `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = bound as u64;
        if wide == 0 {
            return 0;
        }
        // Lemire 2019, "Fast random integer generation in an interval", section 5.
        let threshold = wide.wrapping_neg() % wide;
        loop {
            let product = u128::from(self.bits()) * u128::from(wide);
            // INVARIANT: the high half is below `bound`, which is a `usize`; the low half is masked.
            if u64::try_from(product & u128::from(u64::MAX)).unwrap_or(0) >= threshold {
                return usize::try_from(product >> 64).unwrap_or(0);
            }
        }
    }

    /// Normal with mean 0 and standard deviation 1, by [`normal_pair`].
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let (first, second) = normal_pair(|| self.uniform());
        self.spare = Some(second);
        first
    }

    /// Puts the items into a random order (Fisher and Yates).
    pub fn shuffle<I>(&mut self, items: &mut [I]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// A random order of `0..count`.
    pub fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        self.shuffle(&mut order);
        order
    }
}

/// Two independent normal numbers with mean 0 and standard deviation 1, from numbers uniform in `[0, 1)` (Marsaglia's polar
/// method). Draws two at a time until they fall into the unit circle.
pub fn normal_pair(mut uniform: impl FnMut() -> f64) -> (f64, f64) {
    loop {
        let (x, y) = (2.0 * uniform() - 1.0, 2.0 * uniform() - 1.0);
        let square = x * x + y * y;
        if square > 0.0 && square < 1.0 {
            let factor = (-2.0 * square.ln() / square).sqrt();
            return (x * factor, y * factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn first_numbers_of_the_reference_implementation() {
        // xoshiro256++ from the state 1, 2, 3, 4, as the authors' C code gives them.
        let mut random = Random { state: [1, 2, 3, 4], spare: None };
        let first: Vec<u64> = (0..4).map(|_| random.bits()).collect();
        assert_eq!(first, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn moments_are_right() {
        let mut random = Random::new(7);
        let count = 100_000;
        let (mut sum, mut square, mut mean) = (0.0, 0.0, 0.0);
        for _ in 0..count {
            let x = random.normal();
            sum += x;
            square += x * x;
            mean += random.uniform();
        }
        let n = f64::from(count);
        assert!((sum / n).abs() < 0.01 && (square / n - 1.0).abs() < 0.02 && (mean / n - 0.5).abs() < 0.005);
    }

    #[test]
    fn below_covers_its_range() {
        let mut random = Random::new(1);
        let mut seen = [0u32; 7];
        (0..7000).for_each(|_| seen[random.below(7)] += 1);
        assert!(seen.iter().all(|count| (850..1150).contains(count)), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }
}
