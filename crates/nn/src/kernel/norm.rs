//! Normalisation: by stored statistics (batch) and by the input's own (layer, instance).

use super::smooth;
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
    /// The mean, and 1 over the deviation.
    fn statistics<T: Real>(&self, row: &[T]) -> (T, T) {
        let (mean, variance) = if let Some(row) = T::single(row) {
            let (mean, variance) = smooth::moments(row);
            (T::of(mean.wide()), T::of(variance.wide()))
        } else {
            let count = T::of(row.len() as f64);
            let mean = row.iter().copied().sum::<T>() / count;
            (mean, row.iter().map(|x| (*x - mean) * (*x - mean)).sum::<T>() / count)
        };
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
            if self.share == Share::Column {
                let all = out.iter_mut().zip(x).zip(inputs[1]);
                all.for_each(|((out, x), scale)| *out = (*x - mean) * inverse * *scale);
                if let Some(bias) = inputs.get(2) {
                    out.iter_mut().zip(*bias).for_each(|(out, bias)| *out += *bias);
                }
                continue;
            }
            for (column, (out, x)) in out.iter_mut().zip(x).enumerate() {
                let at = self.parameter(row, column);
                let bias = inputs.get(2).map_or(T::ZERO, |bias| bias[at]);
                *out = (*x - mean) * inverse * inputs[1][at] + bias;
            }
        }
    }

    pub(crate) fn backward<T: Real>(&self, which: usize, inputs: &[&[T]], upstream: &[T], gradient: &mut [T]) {
        let rows = inputs[0].chunks_exact(self.length.max(1)).zip(upstream.chunks_exact(self.length.max(1)));
        let mut scaled = if which == 0 { vec![T::ZERO; self.length] } else { Vec::new() };
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
            if self.share == Share::Column {
                scaled.iter_mut().zip(up).zip(inputs[1]).for_each(|((g, up), scale)| *g = *up * *scale);
            } else {
                let scale = |column: usize| inputs[1][self.parameter(row, column)];
                scaled.iter_mut().zip(up).enumerate().for_each(|(column, (g, up))| *g = *up * scale(column));
            }
            let (sum, along) = if let (Some(x), Some(scaled)) = (T::single(x), T::single(&scaled)) {
                let (sum, along) = smooth::sum_along(x, scaled, f32::of(mean.wide()));
                (T::of(sum.wide()), T::of(along.wide()) * inverse)
            } else {
                let along = x.iter().zip(&scaled).map(|(x, g)| *g * (*x - mean) * inverse).sum();
                (scaled.iter().copied().sum::<T>(), along)
            };
            let count = T::of(self.length as f64);
            let (sum, along) = (sum / count, along / count);
            let gradient = &mut gradient[row * self.length..][..self.length];
            for ((gradient, x), g) in gradient.iter_mut().zip(x).zip(&scaled) {
                *gradient += (*g - sum - (*x - mean) * inverse * along) * inverse;
            }
        }
    }
}
