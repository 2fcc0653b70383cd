//! Randomness that must not be guessed: who knows the noise can subtract it.
//!
//! A stream is the output of keyed BLAKE3 read on without end, one for each purpose; the key comes from outside and is written nowhere.

use ringfence_nn::random::normal_pair;

/// Numbers for one purpose.
pub(super) struct Noise {
    stream: blake3::OutputReader,
    buffer: [u8; BUFFER_BYTES],
    used: usize,
    spare: Option<f64>,
}

impl Noise {
    pub(super) fn new(key: &[u8; 32], purpose: &str) -> Self {
        let stream = blake3::Hasher::new_keyed(key).update(purpose.as_bytes()).finalize_xof();
        Self { stream, buffer: [0; BUFFER_BYTES], used: BUFFER_BYTES, spare: None }
    }

    fn bits(&mut self) -> u64 {
        if self.used >= BUFFER_BYTES {
            self.stream.fill(&mut self.buffer);
            self.used = 0;
        }
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.buffer[self.used..self.used + 8]);
        self.used += 8;
        u64::from_le_bytes(bytes)
    }

    /// Uniform in `[0, 1)`.
    pub(super) fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// Standard normal. Half the sum of four, because the lowest bits of a single one tell from which side it was reached, and with
    /// it what it hides (Mironov 2012; Holohan and Braghin 2021, section 4).
    pub(super) fn normal(&mut self) -> f64 {
        (self.single() + self.single() + self.single() + self.single()) / 2.0
    }

    fn single(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let (first, second) = normal_pair(|| self.uniform());
        self.spare = Some(second);
        first
    }
}

const BUFFER_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::Noise;

    #[test]
    fn moments_are_right_and_purposes_differ() {
        let mut noise = Noise::new(&[7; 32], "test");
        let count = 100_000;
        let (mut sum, mut square, mut fourth) = (0.0, 0.0, 0.0);
        for _ in 0..count {
            let x = noise.normal();
            sum += x;
            square += x * x;
            fourth += x * x * x * x;
        }
        let n = f64::from(count);
        assert!((sum / n).abs() < 0.01 && (square / n - 1.0).abs() < 0.02 && (fourth / n - 3.0).abs() < 0.15);
        assert_ne!(Noise::new(&[7; 32], "a").bits(), Noise::new(&[7; 32], "b").bits());
        assert_ne!(Noise::new(&[7; 32], "a").bits(), Noise::new(&[8; 32], "a").bits());
        assert_eq!(Noise::new(&[7; 32], "a").bits(), Noise::new(&[7; 32], "a").bits());
    }
}
