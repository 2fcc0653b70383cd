//! Seeded random numbers that depend on what they are for, never on threads or batches.

use ringfence_nn::random::Random;

/// The numbers for one purpose: a seed and a path such as purpose, epoch, example. What an example gets is the same
/// whatever runs beside it.
pub(crate) fn stream(seed: u64, path: &[u64]) -> Random {
    Random::new(path.iter().fold(seed, |seed, part| Random::stream(seed, *part).bits()))
}
