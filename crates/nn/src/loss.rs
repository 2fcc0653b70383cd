//! Cross-entropy, read off the graph's last operator.

use crate::kernel::reduce::Scale;
use crate::real::Real;

/// What the model's output numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// Unbounded scores.
    Logits,
    /// The graph ends in `LogSoftmax`.
    LogProbabilities,
    /// The graph ends in `Softmax`.
    Probabilities,
}

impl OutputKind {
    pub(crate) fn of(scale: Scale) -> Self {
        match scale {
            Scale::Linear => Self::Probabilities,
            Scale::Log => Self::LogProbabilities,
        }
    }
}

/// Cross-entropy of one row of logits; writes its gradient, softmax minus one-hot, into `cotangent`.
///
/// Works on logits even where the model answers probabilities, because probabilities that round to 0 or 1 have no
/// gradient left: an attack would see a flat loss and call the model robust.
pub(crate) fn cross_entropy<T: Real>(logits: &[T], label: usize, cotangent: &mut [T]) -> T {
    let largest = logits.iter().copied().fold(T::LOWEST, T::larger);
    let sum: T = logits.iter().map(|logit| (*logit - largest).exp()).sum();
    for (gradient, logit) in cotangent.iter_mut().zip(logits) {
        *gradient = (*logit - largest).exp() / sum;
    }
    if let Some(at) = cotangent.get_mut(label) {
        *at -= T::ONE;
    }
    logits.get(label).map_or(T::ZERO, |logit| sum.ln() - (*logit - largest))
}

#[cfg(test)]
mod tests {
    use super::cross_entropy;

    #[test]
    fn stays_finite_where_probabilities_round_away() {
        let mut gradient = [0f32; 2];
        let loss = cross_entropy(&[200.0, 0.0], 1, &mut gradient);
        assert!((loss - 200.0).abs() < 1e-4);
        assert_eq!(gradient.map(f32::to_bits), [1f32, -1.0].map(f32::to_bits));
    }
}
