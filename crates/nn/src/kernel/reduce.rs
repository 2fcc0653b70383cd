//! Softmax, and reductions over any axes.

use super::layout::Broadcast;
use super::smooth;
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
        if self.inner == 1
            && let (Some(input), Some(output)) = (T::single(input), T::single_mut(output))
        {
            return smooth::softmax(self.length, self.scale, input, output);
        }
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
        if self.inner == 1
            && let (Some(output), Some(upstream), Some(gradient)) =
                (T::single(output), T::single(upstream), T::single_mut(gradient))
        {
            return smooth::softmax_backward(self.length, self.scale, output, upstream, gradient);
        }
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
    Min,
    Product,
    /// Sum of absolute values.
    L1,
    /// Root of the sum of squares; its gradient at 0 is 0.
    L2,
    SumSquare,
    LogSum,
    LogSumExp,
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
        output.fill(match self.kind {
            Reduction::Max => T::LOWEST,
            Reduction::Min => -T::LOWEST,
            Reduction::Product => T::ONE,
            _ => T::ZERO,
        });
        match self.kind {
            Reduction::Sum | Reduction::Mean | Reduction::LogSum => self.walk.each(|x, _, y| output[y] += input[x]),
            Reduction::Max => self.walk.each(|x, _, y| output[y] = output[y].larger(input[x])),
            Reduction::Min => self.walk.each(|x, _, y| output[y] = output[y].smaller(input[x])),
            Reduction::Product => self.walk.each(|x, _, y| output[y] *= input[x]),
            Reduction::L1 => self.walk.each(|x, _, y| output[y] += input[x].abs()),
            Reduction::L2 | Reduction::SumSquare => self.walk.each(|x, _, y| output[y] += input[x] * input[x]),
            Reduction::LogSumExp => return self.log_sum_exp(input, output),
        }
        let count = T::of(self.count as f64);
        match self.kind {
            Reduction::Mean => output.iter_mut().for_each(|value| *value /= count),
            Reduction::L2 => output.iter_mut().for_each(|value| *value = value.sqrt()),
            Reduction::LogSum => output.iter_mut().for_each(|value| *value = value.ln()),
            _ => {}
        }
    }

    fn log_sum_exp<T: Real>(&self, input: &[T], output: &mut [T]) {
        let mut largest = vec![T::LOWEST; output.len()];
        self.walk.each(|x, _, y| largest[y] = largest[y].larger(input[x]));
        // An infinite maximum would make the differences NaN.
        let shift = |y: usize| if largest[y].wide().is_finite() { largest[y] } else { T::ZERO };
        self.walk.each(|x, _, y| output[y] += (input[x] - shift(y)).exp());
        for (y, value) in output.iter_mut().enumerate() {
            *value = value.ln() + shift(y);
        }
    }

    pub(crate) fn backward<T: Real>(&self, input: &[T], output: &[T], upstream: &[T], gradient: &mut [T]) {
        let share = if self.kind == Reduction::Mean { T::ONE / T::of(self.count as f64) } else { T::ONE };
        let (zero, two) = (T::ZERO, T::of(2.0));
        let sign = |x: T| if x > zero { T::ONE } else { -T::ONE };
        match self.kind {
            Reduction::Sum | Reduction::Mean => self.walk.each(|x, _, y| gradient[x] += upstream[y] * share),
            Reduction::Max | Reduction::Min => {
                // The first extreme takes the gradient, as in the pools.
                let mut taken = vec![false; output.len()];
                self.walk.each(|x, _, y| {
                    if !taken[y] && input[x] == output[y] {
                        taken[y] = true;
                        gradient[x] += upstream[y];
                    }
                });
            }
            Reduction::Product => self.product_backward(input, upstream, gradient),
            Reduction::L1 => self.walk.each(|x, _, y| {
                if input[x] != zero {
                    gradient[x] += upstream[y] * sign(input[x]);
                }
            }),
            Reduction::L2 => self.walk.each(|x, _, y| {
                if output[y] != zero {
                    gradient[x] += upstream[y] * input[x] / output[y];
                }
            }),
            Reduction::SumSquare => self.walk.each(|x, _, y| gradient[x] += upstream[y] * two * input[x]),
            Reduction::LogSum => self.walk.each(|x, _, y| gradient[x] += upstream[y] / output[y].exp()),
            Reduction::LogSumExp => self.walk.each(|x, _, y| gradient[x] += upstream[y] * (input[x] - output[y]).exp()),
        }
    }

    /// Each factor's gradient is the product of the others, which a division cannot find where a factor is 0.
    fn product_backward<T: Real>(&self, input: &[T], upstream: &[T], gradient: &mut [T]) {
        let mut others: Vec<(T, usize)> = vec![(T::ONE, 0); upstream.len()];
        self.walk.each(|x, _, y| {
            if input[x] == T::ZERO {
                others[y].1 += 1;
            } else {
                others[y].0 *= input[x];
            }
        });
        self.walk.each(|x, _, y| {
            let (product, zeros) = others[y];
            gradient[x] += match zeros {
                0 => upstream[y] * (product / input[x]),
                1 if input[x] == T::ZERO => upstream[y] * product,
                _ => T::ZERO,
            };
        });
    }
}
