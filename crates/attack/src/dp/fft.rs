//! A fast Fourier transform of lengths that are powers of two (Cooley and Tukey 1965), in place.

/// Re and im parts of the numbers to transform.
pub(super) struct Complex {
    pub(super) re: Vec<f64>,
    pub(super) im: Vec<f64>,
}

impl Complex {
    /// Real numbers; their count must be a power of two.
    pub(super) fn of(re: Vec<f64>) -> Self {
        debug_assert!(re.len().is_power_of_two());
        let im = vec![0.0; re.len()];
        Self { re, im }
    }

    /// The transform with e^(−2πi jk/n), not scaled.
    pub(super) fn forward(&mut self) {
        let Self { re, im } = self;
        transform(re, im);
    }

    /// The inverse of [`Self::forward`].
    pub(super) fn inverse(&mut self) {
        // With its parts exchanged, a transform is its own inverse but for the scale.
        let Self { re, im } = self;
        transform(im, re);
        let scale = 1.0 / re.len() as f64;
        re.iter_mut().chain(im).for_each(|value| *value *= scale);
    }

    /// Raises every number to a power, by squaring.
    pub(super) fn power(&mut self, exponent: u64) {
        for (re, im) in self.re.iter_mut().zip(&mut self.im) {
            let (mut base, mut found, mut left) = ((*re, *im), (1.0, 0.0), exponent);
            while left > 0 {
                if left & 1 == 1 {
                    found = times(found, base);
                }
                base = times(base, base);
                left >>= 1;
            }
            (*re, *im) = found;
        }
    }
}

fn times(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

fn transform(re: &mut [f64], im: &mut [f64]) {
    let count = re.len();
    if count < 2 {
        return;
    }
    let shift = usize::BITS - count.trailing_zeros();
    for place in 0..count {
        let other = place.reverse_bits() >> shift;
        if place < other {
            re.swap(place, other);
            im.swap(place, other);
        }
    }
    // Each root by its own sine: products of roots would lose digits over long transforms.
    let roots: Vec<(f64, f64)> = (0..count / 2)
        .map(|k| {
            let (sine, cosine) = (-std::f64::consts::TAU * k as f64 / count as f64).sin_cos();
            (cosine, sine)
        })
        .collect();
    let mut half = 1;
    while half < count {
        let step = count / (2 * half);
        for (re, im) in re.chunks_exact_mut(2 * half).zip(im.chunks_exact_mut(2 * half)) {
            let ((low_re, high_re), (low_im, high_im)) = (re.split_at_mut(half), im.split_at_mut(half));
            let pairs = low_re.iter_mut().zip(low_im).zip(high_re.iter_mut().zip(high_im));
            for (((low_re, low_im), (high_re, high_im)), root) in pairs.zip(roots.iter().step_by(step)) {
                let turned = times(*root, (*high_re, *high_im));
                (*high_re, *high_im) = (*low_re - turned.0, *low_im - turned.1);
                *low_re += turned.0;
                *low_im += turned.1;
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::Complex;

    #[test]
    fn powers_in_the_transform_are_convolutions() {
        let mut signal = vec![0.0; 64];
        signal[0] = 0.25;
        signal[3] = 0.75;
        let mut wave = Complex::of(signal);
        wave.forward();
        wave.power(5);
        wave.inverse();
        // (¼ + ¾ x³)⁵: binomial.
        let mut binomial = [1.0, 5.0, 10.0, 10.0, 5.0, 1.0].into_iter();
        for place in 0..64 {
            let expected = match place % 3 {
                0 if place <= 15 => {
                    let k = i32::try_from(place / 3).unwrap_or(0);
                    binomial.next().unwrap_or(0.0) * 0.25_f64.powi(5 - k) * 0.75_f64.powi(k)
                }
                _ => 0.0,
            };
            assert!((wave.re[place] - expected).abs() < 1e-15 && wave.im[place].abs() < 1e-15, "{place}");
        }
    }
}
