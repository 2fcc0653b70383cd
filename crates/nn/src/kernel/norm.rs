//! Normalisation: by stored statistics (batch) and by the input's own (layer, instance).

use crate::real::Real;

/// Batch normalisation in its inference form: `(x - mean) / sqrt(variance + epsilon) · scale + bias` per channel.
/// Inputs: x `[batch, channels, plane…]`, scale, bias, mean, variance; the last two are constants.
#[derive(Debug, Clone)]
pub(crate) struct Affine {
    pub(crate) channels: usize,
    pub(crate) plane: usize,
    pub(crate) epsilon: f64,
}

impl Affine {
    fn inverse<T: Real>(&self, variance: T) -> T {
        T::ONE / (variance + T::of(self.epsilon)).sqrt()
    }

    pub(crate) fn forward<T: Real>(&self, inputs: &[&[T]], output: &mut [T]) {
        let planes = output.chunks_exact_mut(self.plane.max(1)).zip(inputs[0].chunks_exact(self.plane.max(1)));
        for (index, (out, x)) in planes.enumerate() {
            let channel = index % self.channels;
            let factor = inputs[1][channel] * self.inverse(inputs[4][channel]);
            let (mean, bias) = (inputs[3][channel], inputs[2][channel]);
            out.iter_mut().zip(x).for_each(|(out, x)| *out = (*x - mean) * factor + bias);
        }
    }

    pub(crate) fn backward<T: Real>(&self, which: usize, inputs: &[&[T]], upstream: &[T], gradient: &mut [T]) {
        for (index, up) in upstream.chunks_exact(self.plane.max(1)).enumerate() {
            let channel = index % self.channels;
            let inverse = self.inverse(inputs[4][channel]);
            let at = index * self.plane;
            match which {
                0 => {
                    let factor = inputs[1][channel] * inverse;
                    gradient[at..][..self.plane].iter_mut().zip(up).for_each(|(g, up)| *g += *up * factor);
                }
                1 => {
                    let (x, mean) = (&inputs[0][at..][..self.plane], inputs[3][channel]);
                    gradient[channel] += inverse * x.iter().zip(up).map(|(x, up)| (*x - mean) * *up).sum();
                }
                _ => gradient[channel] += up.iter().copied().sum(),
            }
        }
    }
}

/// Which numbers share a scale and a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// Layer normalisation: those in the same column of all rows.
    Column,
    /// Instance normalisation: whole rows, which repeat every so many.
    Row(usize),
    /// Group normalisation: a row is one of `groups`, and holds so many channels of `plane` numbers.
    Channel { groups: usize, channels: usize, plane: usize },
}

/// Each row of `[rows, length]` is brought to mean 0 and variance 1, then scaled and shifted. Inputs: x, scale, bias or none.
#[derive(Debug, Clone)]
pub(crate) struct Normalise {
    pub(crate) length: usize,
    pub(crate) epsilon: f64,
    pub(crate) share: Share,
}

impl Normalise {
    fn statistics<T: Real>(&self, row: &[T]) -> (T, T) {
        let count = T::of(row.len() as f64);
        let mean = row.iter().copied().sum::<T>() / count;
        let variance = row.iter().map(|x| (*x - mean) * (*x - mean)).sum::<T>() / count;
        (mean, T::ONE / (variance + T::of(self.epsilon)).sqrt())
    }

    fn parameter(&self, row: usize, column: usize) -> usize {
        match self.share {
            Share::Column => column,
            Share::Row(period) => row % period,
            Share::Channel { groups, channels, plane } => row % groups * channels + column / plane,
        }
    }

    pub(crate) fn forward<T: Real>(&self, inputs: &[&[T]], output: &mut [T]) {
        let rows = output.chunks_exact_mut(self.length.max(1)).zip(inputs[0].chunks_exact(self.length.max(1)));
        for (row, (out, x)) in rows.enumerate() {
            let (mean, inverse) = self.statistics(x);
            for (column, (out, x)) in out.iter_mut().zip(x).enumerate() {
                let at = self.parameter(row, column);
                let bias = inputs.get(2).map_or(T::ZERO, |bias| bias[at]);
                *out = (*x - mean) * inverse * inputs[1][at] + bias;
            }
        }
    }

    pub(crate) fn backward<T: Real>(&self, which: usize, inputs: &[&[T]], upstream: &[T], gradient: &mut [T]) {
        let rows = inputs[0].chunks_exact(self.length.max(1)).zip(upstream.chunks_exact(self.length.max(1)));
        for (row, (x, up)) in rows.enumerate() {
            let (mean, inverse) = self.statistics(x);
            if which > 0 {
                for (column, (x, up)) in x.iter().zip(up).enumerate() {
                    let normal = if which == 1 { (*x - mean) * inverse } else { T::ONE };
                    gradient[self.parameter(row, column)] += *up * normal;
                }
                continue;
            }
            // dx = (g - mean(g) - x̂ · mean(g · x̂)) / σ with g = upstream · scale.
            let count = T::of(self.length as f64);
            let scaled = |column: usize| up[column] * inputs[1][self.parameter(row, column)];
            let (mut sum, mut along) = (T::ZERO, T::ZERO);
            for (column, x) in x.iter().enumerate() {
                sum += scaled(column);
                along += scaled(column) * (*x - mean) * inverse;
            }
            let (sum, along) = (sum / count, along / count);
            for (column, (g, x)) in gradient[row * self.length..][..self.length].iter_mut().zip(x).enumerate() {
                *g += (scaled(column) - sum - (*x - mean) * inverse * along) * inverse;
            }
        }
    }
}
