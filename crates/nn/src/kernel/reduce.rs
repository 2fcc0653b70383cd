//! Softmax, and reductions over any axes.

use super::layout::Broadcast;
use crate::real::Real;

/// Softmax or its logarithm over the middle of `[outer, length, inner]`.
#[derive(Debug, Clone)]
pub(crate) struct Softmax {
    pub(crate) length: usize,
    pub(crate) inner: usize,
    pub(crate) scale: Scale,
}

/// What a softmax answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Probabilities.
    Linear,
    /// Their logarithms.
    Log,
}

impl Softmax {
    /// Calls `visit` with the indices of each distribution.
    fn each(&self, total: usize, mut visit: impl FnMut(&mut dyn Iterator<Item = usize>)) {
        let block = self.length * self.inner;
        for outer in 0..total.checked_div(block).unwrap_or(0) {
            for inner in 0..self.inner {
                visit(&mut (0..self.length).map(|step| outer * block + step * self.inner + inner));
            }
        }
    }

    pub(crate) fn forward<T: Real>(&self, input: &[T], output: &mut [T]) {
        let mut places = Vec::with_capacity(self.length);
        self.each(input.len(), |indices| {
            places.clear();
            places.extend(indices);
            let largest = places.iter().map(|at| input[*at]).fold(T::LOWEST, T::larger);
            let sum: T = places.iter().map(|at| (input[*at] - largest).exp()).sum();
            let log_sum = sum.ln();
            for at in &places {
                let shifted = input[*at] - largest;
                output[*at] = match self.scale {
                    Scale::Linear => shifted.exp() / sum,
                    Scale::Log => shifted - log_sum,
                };
            }
        });
    }

    pub(crate) fn backward<T: Real>(&self, output: &[T], upstream: &[T], gradient: &mut [T]) {
        let mut places = Vec::with_capacity(self.length);
        self.each(output.len(), |indices| {
            places.clear();
            places.extend(indices);
            match self.scale {
                Scale::Linear => {
                    let along: T = places.iter().map(|at| upstream[*at] * output[*at]).sum();
                    for at in &places {
                        gradient[*at] += output[*at] * (upstream[*at] - along);
                    }
                }
                Scale::Log => {
                    let sum: T = places.iter().map(|at| upstream[*at]).sum();
                    for at in &places {
                        gradient[*at] += upstream[*at] - output[*at].exp() * sum;
                    }
                }
            }
        });
    }
}

/// What a reduction computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reduction {
    Sum,
    Mean,
    Max,
}

/// A reduction; the broadcast's outer shape is the input's, its operand `b` the output with strides 0 along what is reduced.
#[derive(Debug, Clone)]
pub(crate) struct Reduce {
    pub(crate) kind: Reduction,
    /// How many numbers make one of the output.
    pub(crate) count: usize,
    pub(crate) walk: Broadcast,
}

impl Reduce {
    pub(crate) fn forward<T: Real>(&self, input: &[T], output: &mut [T]) {
        output.fill(if self.kind == Reduction::Max { T::LOWEST } else { T::ZERO });
        self.walk.each(|x, _, y| match self.kind {
            Reduction::Max => output[y] = output[y].larger(input[x]),
            _ => output[y] += input[x],
        });
        if self.kind == Reduction::Mean {
            let count = T::of(self.count as f64);
            for value in output {
                *value /= count;
            }
        }
    }

    pub(crate) fn backward<T: Real>(&self, input: &[T], output: &[T], upstream: &[T], gradient: &mut [T]) {
        let share = if self.kind == Reduction::Mean { T::ONE / T::of(self.count as f64) } else { T::ONE };
        if self.kind != Reduction::Max {
            self.walk.each(|x, _, y| gradient[x] += upstream[y] * share);
            return;
        }
        // The first maximum takes the gradient, as in the pools.
        let mut taken = vec![false; output.len()];
        self.walk.each(|x, _, y| {
            if !taken[y] && input[x] == output[y] {
                taken[y] = true;
                gradient[x] += upstream[y];
            }
        });
    }
}
