//! Where random bytes come from. The source is an argument everywhere, so that tests are exact.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// A source of random bytes. It never fails: a process without randomness has to stop.
pub trait Entropy {
    /// Fills all of `out`.
    fn fill(&mut self, out: &mut [u8]);
}

impl<E: Entropy + ?Sized> Entropy for &mut E {
    fn fill(&mut self, out: &mut [u8]) {
        (**self).fill(out);
    }
}

impl<E: Entropy + ?Sized> Entropy for Box<E> {
    fn fill(&mut self, out: &mut [u8]) {
        (**self).fill(out);
    }
}

/// `N` random bytes for a value that is not secret; secrets are filled in place.
pub fn bytes<const N: usize>(entropy: &mut dyn Entropy) -> [u8; N] {
    let mut out = [0; N];
    entropy.fill(&mut out);
    out
}

/// The operating system's generator, through AWS-LC.
#[derive(Debug, Clone, Default)]
pub struct SystemEntropy(SystemRandom);

impl SystemEntropy {
    /// The system's generator.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        if self.0.fill(out).is_err() {
            // INVARIANT: the system has a generator. Without one no key can be made, and a caller that went on
            // with predictable bytes would be worse than none.
            std::process::abort();
        }
    }
}

/// The same bytes for the same seed: BLAKE3 in its extendable mode. For tests, vectors and drills; never for a vault.
#[derive(Debug)]
pub struct SeededEntropy(blake3::OutputReader);

impl SeededEntropy {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("ringfence 2026 seeded entropy for tests");
        hasher.update(&seed.to_be_bytes());
        Self(hasher.finalize_xof())
    }
}

impl Entropy for SeededEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill(out);
    }
}
