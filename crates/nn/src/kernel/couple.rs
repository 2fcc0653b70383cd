//! Probabilities of several classes from those of every pair of them.
//!
//! Source: the second approach of Wu, Lin and Weng 2004, "Probability Estimates for Multi-class Classification by Pairwise
//! Coupling", as `LIBSVM` carries it out: Gauss-Seidel steps on `pᵀQp` until no class is off by more than 0.005 / classes.
//! So what is computed, and differentiated, is that sequence of steps and not the minimum that it comes close to.

use crate::real::Real;

/// Rows of `classes · (classes - 1) / 2` probabilities, each that the first class of a pair is right, to rows of `classes`.
#[derive(Debug, Clone)]
pub(crate) struct Couple {
    pub(crate) classes: usize,
}

/// Most steps over all classes.
const ROUNDS_MAX: usize = 100;
/// How far a class may be off, times the number of classes.
const TOLERANCE: f64 = 0.005;
/// Probabilities of pairs are kept so far from 0 and 1.
const CLIP: f64 = 1e-7;

/// A number and its slope along one direction of the input.
#[derive(Clone, Copy, Default)]
struct Dual {
    value: f64,
    slope: f64,
}

impl Dual {
    fn of(value: f64) -> Self {
        Self { value, slope: 0.0 }
    }

    fn plus(self, other: Self) -> Self {
        Self { value: self.value + other.value, slope: self.slope + other.slope }
    }

    fn times(self, other: Self) -> Self {
        Self { value: self.value * other.value, slope: self.slope * other.value + self.value * other.slope }
    }

    fn over(self, other: Self) -> Self {
        let value = self.value / other.value;
        Self { value, slope: (self.slope - value * other.slope) / other.value }
    }

    fn negative(self) -> Self {
        Self { value: -self.value, slope: -self.slope }
    }
}

impl Couple {
    fn pairs(&self) -> usize {
        self.classes * (self.classes - 1) / 2
    }

    pub(crate) fn forward<T: Real>(&self, input: &[T], output: &mut [T]) {
        for (pairs, output) in input.chunks_exact(self.pairs()).zip(output.chunks_exact_mut(self.classes)) {
            for (to, from) in output.iter_mut().zip(self.coupled(pairs, None)) {
                *to = T::of(from.value);
            }
        }
    }

    pub(crate) fn backward<T: Real>(&self, input: &[T], upstream: &[T], gradient: &mut [T]) {
        let rows = input.chunks_exact(self.pairs()).zip(upstream.chunks_exact(self.classes));
        for ((pairs, upstream), gradient) in rows.zip(gradient.chunks_exact_mut(self.pairs())) {
            for (direction, gradient) in gradient.iter_mut().enumerate() {
                let slopes = self.coupled(pairs, Some(direction));
                let sum: f64 = slopes.iter().zip(upstream).map(|(p, upstream)| p.slope * upstream.wide()).sum();
                *gradient += T::of(sum);
            }
        }
    }

    /// The classes' probabilities, with slopes along one pair's.
    fn coupled<T: Real>(&self, pairs: &[T], direction: Option<usize>) -> Vec<Dual> {
        let q = self.quadratic(pairs, direction);
        let n = self.classes;
        let mut p = vec![Dual::of(1.0 / n as f64); n];
        for _ in 0..ROUNDS_MAX {
            let mut qp: Vec<Dual> = q
                .chunks_exact(n)
                .map(|row| row.iter().zip(&p).fold(Dual::default(), |sum, (q, p)| sum.plus(q.times(*p))))
                .collect();
            let mut all = p.iter().zip(&qp).fold(Dual::default(), |sum, (p, qp)| sum.plus(p.times(*qp)));
            let off = qp.iter().map(|qp| (qp.value - all.value).abs()).fold(0.0, f64::max);
            if off < TOLERANCE / n as f64 {
                break;
            }
            for class in 0..n {
                let own = q[class * n + class];
                let step = all.plus(qp[class].negative()).over(own);
                let scale = step.plus(Dual::of(1.0));
                let twice = qp[class].plus(qp[class]);
                p[class] = p[class].plus(step);
                all = all.plus(step.times(step.times(own).plus(twice))).over(scale).over(scale);
                for (other, (p, qp)) in p.iter_mut().zip(&mut qp).enumerate() {
                    *qp = qp.plus(step.times(q[class * n + other])).over(scale);
                    *p = p.over(scale);
                }
            }
        }
        p
    }

    /// `Q`, symmetric: on its diagonal the sums of the squares of how probable the other class of each pair is.
    fn quadratic<T: Real>(&self, pairs: &[T], direction: Option<usize>) -> Vec<Dual> {
        let n = self.classes;
        let mut q = vec![Dual::default(); n * n];
        let mut pair = 0;
        for first in 0..n {
            for second in first + 1..n {
                let wide = pairs[pair].wide();
                let inside = wide > CLIP && wide < 1.0 - CLIP;
                let slope = if direction == Some(pair) && inside { 1.0 } else { 0.0 };
                let right = Dual { value: wide.clamp(CLIP, 1.0 - CLIP), slope };
                let wrong = Dual::of(1.0).plus(right.negative());
                q[first * n + first] = q[first * n + first].plus(wrong.times(wrong));
                q[second * n + second] = q[second * n + second].plus(right.times(right));
                let product = right.times(wrong).negative();
                (q[first * n + second], q[second * n + first]) = (product, product);
                pair += 1;
            }
        }
        q
    }
}
