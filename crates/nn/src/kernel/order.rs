//! What depends on the order of numbers along an axis: which is largest, the first few, running sums.

use std::cmp::Ordering;

use crate::real::Real;

/// Which element along the middle of `[outer, length, inner]` is the extreme; an answer of integers.
#[derive(Debug, Clone)]
pub(crate) struct Extreme {
    pub(crate) length: usize,
    pub(crate) inner: usize,
    pub(crate) largest: bool,
    /// Of equal ones the last.
    pub(crate) last: bool,
}

impl Extreme {
    pub(crate) fn forward<T: Real>(&self, input: &[T], output: &mut [T]) {
        for (at, out) in output.iter_mut().enumerate() {
            let (outer, inner) = (at / self.inner, at % self.inner);
            let number = |step: usize| input[(outer * self.length + step) * self.inner + inner];
            let mut best = 0;
            for step in 1..self.length {
                let (challenger, champion) = (number(step), number(best));
                let wins = if self.largest { challenger > champion } else { challenger < champion };
                if wins || (self.last && challenger == champion) {
                    best = step;
                }
            }
            *out = T::of(best as f64);
        }
    }
}

/// The indices of the first `count` along the middle of `[outer, length, inner]`, in order; of equal ones the earlier.
#[derive(Debug, Clone)]
pub(crate) struct First {
    pub(crate) length: usize,
    pub(crate) inner: usize,
    pub(crate) count: usize,
    pub(crate) largest: bool,
}

impl First {
    pub(crate) fn forward<T: Real>(&self, input: &[T], output: &mut [T]) {
        let block = self.length * self.inner;
        let mut order: Vec<usize> = Vec::with_capacity(self.length);
        for (outer, numbers) in input.chunks_exact(block.max(1)).enumerate() {
            for inner in 0..self.inner {
                let number = |step: usize| numbers[step * self.inner + inner];
                order.clear();
                order.extend(0..self.length);
                order.sort_by(|a, b| {
                    let rising = number(*a).partial_cmp(&number(*b)).unwrap_or(Ordering::Equal);
                    if self.largest { rising.reverse() } else { rising }
                });
                for (rank, step) in order.iter().take(self.count).enumerate() {
                    output[(outer * self.count + rank) * self.inner + inner] = T::of(*step as f64);
                }
            }
        }
    }
}

/// Running sums along the middle of `[outer, length, inner]`.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub(crate) length: usize,
    pub(crate) inner: usize,
    /// The number itself does not count.
    pub(crate) exclusive: bool,
    /// From the end.
    pub(crate) reverse: bool,
}

impl Running {
    pub(crate) fn forward<T: Real>(&self, input: &[T], output: &mut [T]) {
        output.fill(T::ZERO);
        self.add(input, output, self.reverse);
    }

    /// The transpose of a running sum is the running sum from the other end.
    pub(crate) fn backward<T: Real>(&self, upstream: &[T], gradient: &mut [T]) {
        self.add(upstream, gradient, !self.reverse);
    }

    fn add<T: Real>(&self, from: &[T], to: &mut [T], reverse: bool) {
        let block = (self.length * self.inner).max(1);
        for (from, to) in from.chunks_exact(block).zip(to.chunks_exact_mut(block)) {
            for inner in 0..self.inner {
                let mut sum = T::ZERO;
                for step in 0..self.length {
                    let step = if reverse { self.length - 1 - step } else { step };
                    let at = step * self.inner + inner;
                    if self.exclusive {
                        to[at] += sum;
                        sum += from[at];
                    } else {
                        sum += from[at];
                        to[at] += sum;
                    }
                }
            }
        }
    }
}

/// 1 at the first largest along the middle of `[outer, length, inner]`, 0 elsewhere: `Hardmax`.
#[derive(Debug, Clone)]
pub(crate) struct Winner {
    pub(crate) length: usize,
    pub(crate) inner: usize,
}

impl Winner {
    pub(crate) fn forward<T: Real>(&self, input: &[T], output: &mut [T]) {
        output.fill(T::ZERO);
        let block = (self.length * self.inner).max(1);
        for (from, to) in input.chunks_exact(block).zip(output.chunks_exact_mut(block)) {
            for inner in 0..self.inner {
                let best = (0..self.length).fold(0, |best, step| {
                    if from[step * self.inner + inner] > from[best * self.inner + inner] { step } else { best }
                });
                if let Some(to) = to.get_mut(best * self.inner + inner) {
                    *to = T::ONE;
                }
            }
        }
    }
}

/// Weighted sums along the middle of `[outer, length, inner]`: what a resize by interpolation is.
#[derive(Debug, Clone)]
pub(crate) struct Blend {
    pub(crate) length: usize,
    pub(crate) inner: usize,
    /// For each place of the output the places of the input with their weights.
    pub(crate) taps: Vec<Vec<(usize, f64)>>,
}

impl Blend {
    pub(crate) fn forward<T: Real>(&self, input: &[T], output: &mut [T]) {
        output.fill(T::ZERO);
        self.each(input.len(), |from, to, weight| {
            let inputs = &input[from..][..self.inner];
            output[to..][..self.inner].iter_mut().zip(inputs).for_each(|(to, from)| *to += T::of(weight) * *from);
        });
    }

    pub(crate) fn backward<T: Real>(&self, upstream: &[T], gradient: &mut [T]) {
        self.each(gradient.len(), |from, to, weight| {
            let up = &upstream[to..][..self.inner];
            gradient[from..][..self.inner].iter_mut().zip(up).for_each(|(g, up)| *g += T::of(weight) * *up);
        });
    }

    fn each(&self, input: usize, mut visit: impl FnMut(usize, usize, f64)) {
        let block = self.length * self.inner;
        for outer in 0..input.checked_div(block).unwrap_or(0) {
            for (place, taps) in self.taps.iter().enumerate() {
                for (from, weight) in taps {
                    visit(outer * block + from * self.inner, (outer * self.taps.len() + place) * self.inner, *weight);
                }
            }
        }
    }
}
