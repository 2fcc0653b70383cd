//! Smooth functions of single-precision numbers, and sums over rows of them, as loops that become vectors.
//!
//! [`exp`], [`erf`], [`tanh`] and [`sigmoid`] are plain additions, multiplications and choices without a branch, so that a
//! loop over a slice is compiled to vectors; [`vectors`] compiles it once for each instruction set. A number's value is the
//! same in each of them and at every place of a slice: nothing is contracted, and what is left behind the last whole vector
//! is computed by the same steps. Sums go by [`LANES`] partial ones, whose order depends on nothing but the length.
//!
//! The coefficients are minimax polynomials by Remez' exchange, computed with 40 digits and rounded to single precision.
//! The reference mode has none of this.

#![expect(clippy::inline_always, reason = "what is not inlined is compiled for no instruction set but the common one")]

use super::pointwise::Unary;
use super::reduce::Scale;
use crate::real::Real;

/// A function whose loops are compiled for each instruction set, of which the machine's best runs.
macro_rules! vectors {
    ($(#[$doc:meta])* pub(crate) fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $answer:ty)? $body:block) => {
        $(#[$doc])*
        pub(crate) fn $name($($argument: $type),*) $(-> $answer)? {
            #[inline(always)]
            fn plain($($argument: $type),*) $(-> $answer)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f")]
                fn avx512($($argument: $type),*) $(-> $answer)? {
                    plain($($argument),*)
                }
                #[target_feature(enable = "avx2")]
                fn avx2($($argument: $type),*) $(-> $answer)? {
                    plain($($argument),*)
                }
                if std::arch::is_x86_feature_detected!("avx512f") {
                    #[expect(unsafe_code, reason = "a function compiled for AVX-512")]
                    // SAFETY: the feature was detected on the line above.
                    return unsafe { avx512($($argument),*) };
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    #[expect(unsafe_code, reason = "a function compiled for AVX2")]
                    // SAFETY: the feature was detected on the line above.
                    return unsafe { avx2($($argument),*) };
                }
            }
            plain($($argument),*)
        }
    };
}

vectors! {
    /// The function of each number, where it is one of those here; says whether it is.
    pub(crate) fn forward(function: Unary, input: &[f32], output: &mut [f32]) -> bool {
        match function {
            Unary::Exp => map(input, output, exp),
            Unary::Erf => map(input, output, erf),
            Unary::Tanh => map(input, output, tanh),
            Unary::Sigmoid => map(input, output, sigmoid),
            Unary::Gelu => map(input, output, |x| x * normal_cdf(x)),
            Unary::GeluTanh => map(input, output, |x| 0.5 * x * (1.0 + tanh(gelu_inner(x)))),
            Unary::Elu { alpha } => {
                let alpha = f32::of(alpha);
                map(input, output, |x| if x < 0.0 { alpha * (exp(x) - 1.0) } else { x });
            }
            Unary::Selu { alpha, gamma } => {
                let (alpha, gamma) = (f32::of(alpha), f32::of(gamma));
                map(input, output, |x| gamma * if x > 0.0 { x } else { alpha * (exp(x) - 1.0) });
            }
            Unary::Celu { alpha } => {
                let alpha = f32::of(alpha);
                map(input, output, |x| if x > 0.0 { x } else { alpha * (exp(x / alpha) - 1.0) });
            }
            _ => return false,
        }
        true
    }
}

vectors! {
    /// Adds the gradient, where the function's derivative is one of those here; says whether it is.
    pub(crate) fn backward(function: Unary, input: &[f32], upstream: &[f32], gradient: &mut [f32]) -> bool {
        match function {
            Unary::Erf => chain(input, upstream, gradient, |x| TWO_OVER_ROOT_PI * exp(-x * x)),
            Unary::Gelu => chain(input, upstream, gradient, |x| normal_cdf(x) + x * ROOT_HALF_PI_INVERSE * exp(-0.5 * x * x)),
            Unary::GeluTanh => chain(input, upstream, gradient, |x| {
                let t = tanh(gelu_inner(x));
                0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * (ROOT_2_OVER_PI * (1.0 + 3.0 * GELU_CUBIC * x * x))
            }),
            Unary::Softplus => chain(input, upstream, gradient, sigmoid),
            _ => return false,
        }
        true
    }
}

vectors! {
    /// Softmax of each row of `length` numbers.
    pub(crate) fn softmax(length: usize, scale: Scale, input: &[f32], output: &mut [f32]) {
        let length = length.max(1);
        for (x, y) in input.chunks_exact(length).zip(output.chunks_exact_mut(length)) {
            let largest = fold([x, x], f32::NEG_INFINITY, |x, _| x, |a, b| if b > a { b } else { a });
            map(x, y, |x| exp(x - largest));
            let sum = sum(y, |y| y);
            match scale {
                Scale::Linear => y.iter_mut().for_each(|y| *y /= sum),
                Scale::Log => {
                    let log_sum = sum.ln();
                    map(x, y, |x| x - largest - log_sum);
                }
            }
        }
    }
}

vectors! {
    /// Adds the gradient of [`softmax`], whose answer is `output`.
    pub(crate) fn softmax_backward(length: usize, scale: Scale, output: &[f32], upstream: &[f32], gradient: &mut [f32]) {
        let length = length.max(1);
        let rows = output.chunks_exact(length).zip(upstream.chunks_exact(length));
        for ((y, up), gradient) in rows.zip(gradient.chunks_exact_mut(length)) {
            let all = gradient.iter_mut().zip(y).zip(up);
            match scale {
                Scale::Linear => {
                    let along = fold([y, up], 0.0, |y, up| y * up, |a, b| a + b);
                    all.for_each(|((g, y), up)| *g += y * (up - along));
                }
                Scale::Log => {
                    let sum = sum(up, |up| up);
                    all.for_each(|((g, y), up)| *g += up - exp(*y) * sum);
                }
            }
        }
    }
}

vectors! {
    /// A row's mean and variance.
    pub(crate) fn moments(row: &[f32]) -> (f32, f32) {
        let count = row.len() as f32;
        let mean = sum(row, |x| x) / count;
        (mean, sum(row, |x| (x - mean) * (x - mean)) / count)
    }
}

vectors! {
    /// The sum of `gradient`, and that of its products with the row's distances from its mean.
    pub(crate) fn sum_along(row: &[f32], gradient: &[f32], mean: f32) -> (f32, f32) {
        (sum(gradient, |g| g), fold([row, gradient], 0.0, |x, g| g * (x - mean), |a, b| a + b))
    }
}

#[inline(always)]
fn map(input: &[f32], output: &mut [f32], function: impl Fn(f32) -> f32) {
    for (y, x) in output.iter_mut().zip(input) {
        *y = function(*x);
    }
}

#[inline(always)]
fn chain(input: &[f32], upstream: &[f32], gradient: &mut [f32], derivative: impl Fn(f32) -> f32) {
    for ((g, x), up) in gradient.iter_mut().zip(input).zip(upstream) {
        *g += *up * derivative(*x);
    }
}

#[inline(always)]
fn sum(numbers: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    fold([numbers, numbers], 0.0, |x, _| term(x), |a, b| a + b)
}

/// Joins a term for each pair of two rows of one length: every lane its own, then the lanes by halves.
#[inline(always)]
fn fold(rows: [&[f32]; 2], start: f32, term: impl Fn(f32, f32) -> f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let [a, b] = rows.map(|row| row.chunks_exact(LANES));
    let rest = a.remainder().iter().zip(b.remainder());
    for (a, b) in a.zip(b) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane = join(*lane, term(*a, *b));
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(rest) {
        *lane = join(*lane, term(*a, *b));
    }
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] = join(lanes[lane], lanes[lane + half]);
        }
    }
    lanes[0]
}

/// e to the power of `x`, within 1 unit in the last place; overflows to infinity, underflows by way of the subnormals to 0.
///
/// `x` = n·ln 2 + r with |r| ≤ ln 2 / 2 (Cody and Waite 1980, chapter 6): ln 2 is two numbers, of which the first has so few
/// bits that n times it is exact.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Outside lie infinity and 0; a number that is none stays.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    // Behind the addition the last bits are the nearest integer.
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let value = 1.0 + (r + r * r * polynomial(r, &EXP));
    // Two steps, because 2^n alone may be neither finite nor normal where the value is.
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()).cast_signed();
    let half = n >> 1;
    value * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// 2^n for -126 ≤ n ≤ 127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(n.wrapping_add(127).cast_unsigned() << 23)
}

/// Gauss's error function, within 2 units in the last place: x + x·P(x²) near 0, 1 - exp(-Q(|x|)) elsewhere.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let size = x.abs();
    let near = x + x * polynomial(x * x, &ERF_NEAR);
    // From here on it is 1.
    let bounded = if size > 4.1 { 4.1 } else { size };
    let far = 1.0 - exp(-polynomial(bounded, &ERFC_LOG));
    if size < 0.875 { near } else { far.copysign(x) }
}

/// Hyperbolic tangent, within 2 units in the last place: x + x³·P(x²) near 0, 1 - 2 / (exp(2|x|) + 1) elsewhere.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let (size, square) = (x.abs(), x * x);
    let near = x + x * square * polynomial(square, &TANH_NEAR);
    let far = 1.0 - 2.0 / (exp(2.0 * size) + 1.0);
    if size < 0.625 { near } else { far.copysign(x) }
}

/// 1 / (1 + exp(-x)), within 3 units in the last place.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    // The exponent is never positive, so nothing overflows.
    let e = exp(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// The distribution function of the normal distribution.
#[inline(always)]
fn normal_cdf(x: f32) -> f32 {
    0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
fn gelu_inner(x: f32) -> f32 {
    ROOT_2_OVER_PI * (x + GELU_CUBIC * x * x * x)
}

/// Coefficients from the lowest power on.
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: &[f32; N]) -> f32 {
    let mut sum = coefficients[N - 1];
    for coefficient in coefficients[..N - 1].iter().rev() {
        sum = sum * x + coefficient;
    }
    sum
}

/// Partial sums of a row: a vector of AVX-512, or several of the others.
const LANES: usize = 16;

/// 1.5 · 2^23
const ROUND: f32 = 12_582_912.0;
/// ln 2 to 14 bits after the point, and what is left of it.
const LN_2_HIGH: f32 = 0.693_115_23;
const LN_2_LOW: f32 = 3.194_618_3e-5;
/// (exp(r) - 1 - r) / r² for |r| ≤ ln 2 / 2; off by 3.1e-9 at most.
const EXP: [f32; 5] = [0.499_999_94, 0.166_665_2, 0.041_668_4, 0.008_368_851, 0.001_381_432_3];
/// erf(x) / x - 1 in x² for |x| ≤ 0.875; off by 8.5e-9 at most.
const ERF_NEAR: [f32; 6] = [0.128_379_15, -0.376_125_5, 0.112_824_55, -0.026_791_463, 0.005_032_181_3, -6.203_255_6e-4];
/// -ln(1 - erf(x)) for 0.875 ≤ x ≤ 4.1; off by 1.9e-9 at most.
const ERFC_LOG: [f32; 7] =
    [1.335_764_4e-4, 1.127_936_1, 0.636_737_2, 0.104_327_49, -0.022_420_213, 0.003_092_290_8, -2.009_960_9e-4];
/// (tanh(x) - x) / x³ in x² for |x| ≤ 0.625; off by 4.4e-9 at most.
const TANH_NEAR: [f32; 5] = [-0.333_332_8, 0.133_314_45, -0.053_739_88, 0.020_639_546, -0.005_705_438];

const ROOT_2_OVER_PI: f32 = 0.797_884_6;
const TWO_OVER_ROOT_PI: f32 = std::f32::consts::FRAC_2_SQRT_PI;
const ROOT_HALF_PI_INVERSE: f32 = 0.398_942_3;
const GELU_CUBIC: f32 = 0.044_715;

#[cfg(test)]
mod tests {
    use super::super::reduce::Softmax;
    use super::*;
    use crate::random::Random;

    /// Every exponent of both signs, what lies where a way ends, and bits at random.
    fn numbers() -> Vec<f32> {
        let mut random = Random::new(5);
        let mut all = vec![0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE, 1e-45];
        for bits in (0..=u32::MAX).step_by(65_537) {
            all.push(f32::from_bits(bits));
        }
        for _ in 0..1_000_000 {
            all.push(f32::from_bits(u32::try_from(random.bits() >> 32).unwrap()));
            all.push(random.uniform_in(-110.0, 90.0));
            all.push(random.uniform_in(-10.0, 10.0));
            all.push(random.uniform_in(-1.0, 1.0));
        }
        all.retain(|x| !x.is_nan());
        all
    }

    /// The gap in units of the last place that the exact value has in single precision, subnormals included.
    #[expect(clippy::cast_possible_truncation, clippy::float_cmp, reason = "an exponent; exactly the nearest number")]
    fn units(value: f32, exact: f64) -> f64 {
        let nearest = f32::of(exact);
        if value == nearest || nearest.is_infinite() {
            return if value == nearest { 0.0 } else { f64::INFINITY };
        }
        let exponent = (exact.abs().log2().floor() as i32).max(-126);
        (f64::from(value) - exact).abs() / 2f64.powi(exponent - 23)
    }

    fn worst(own: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> (f64, f32) {
        let gap = |x: f32| (units(own(x), exact(f64::from(x))), x);
        numbers().into_iter().map(gap).fold((0.0, 0.0), |worst, gap| if gap.0 > worst.0 { gap } else { worst })
    }

    /// Near 0 by its power series, because the reference mode's is exact to places after the point.
    fn error_function(x: f64) -> f64 {
        if x.abs() > 0.5 {
            return Real::erf(x);
        }
        let (mut power, mut sum) = (x, 0.0);
        for k in 0..20 {
            sum += power / f64::from(2 * k + 1);
            power *= -x * x / f64::from(k + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[test]
    fn functions_are_exact_to_the_last_places() {
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        for (name, (gap, x), bound) in [
            ("exp", worst(exp, f64::exp), 1.0),
            ("erf", worst(erf, error_function), 2.0),
            ("tanh", worst(tanh, f64::tanh), 2.0),
            ("sigmoid", worst(sigmoid, logistic), 3.0),
        ] {
            assert!(gap <= bound, "{name}: {gap} units at {x:e}");
        }
        for (x, value) in
            [(f32::INFINITY, f32::INFINITY), (f32::NEG_INFINITY, 0.0), (88.8, f32::INFINITY), (-104.0, 0.0)]
        {
            assert_eq!(exp(x).to_bits(), value.to_bits());
        }
        for function in [exp, erf, tanh, sigmoid] {
            assert!(function(f32::NAN).is_nan());
        }
    }

    /// Values do not depend on the instruction set, nor on the place in a slice.
    #[test]
    fn vectors_hold_the_values_of_single_numbers() {
        let numbers = &numbers()[..70_000];
        let mut all = vec![0.0; numbers.len()];
        for (function, single) in [
            (Unary::Exp, exp as fn(f32) -> f32),
            (Unary::Erf, erf),
            (Unary::Tanh, tanh),
            (Unary::Sigmoid, sigmoid),
            (Unary::Gelu, |x| x * normal_cdf(x)),
        ] {
            for length in [1, 7, 16, 31, numbers.len()] {
                assert!(forward(function, &numbers[..length], &mut all[..length]));
                for (x, y) in numbers.iter().zip(&all[..length]) {
                    let same = y.to_bits() == single(*x).to_bits() || y.is_nan() && single(*x).is_nan();
                    assert!(same, "{function:?} of {x:e}: {y:e}, not {:e}", single(*x));
                }
            }
        }
    }

    /// Rows around the length of a vector, against the reference mode.
    #[test]
    fn softmax_and_moments_agree_with_the_reference() {
        let mut random = Random::new(7);
        for length in [1, 2, 15, 16, 17, 31, 32, 197] {
            let mut some = || (0..3 * length).map(|_| random.uniform_in(-5.0, 5.0)).collect::<Vec<f32>>();
            let (x, up) = (some(), some());
            let wide = |numbers: &[f32]| numbers.iter().copied().map(f64::from).collect::<Vec<f64>>();
            for scale in [Scale::Linear, Scale::Log] {
                let kernel = Softmax { length, inner: 1, scale };
                let (mut y, mut g) = (vec![0.0f32; x.len()], up.clone());
                let (mut exact, mut slope) = (vec![0.0f64; x.len()], wide(&up));
                kernel.forward(&x, &mut y);
                kernel.backward(&y, &up, &mut g);
                kernel.forward(&wide(&x), &mut exact);
                kernel.backward(&exact, &wide(&up), &mut slope);
                for (value, exact) in y.iter().zip(&exact).chain(g.iter().zip(&slope)) {
                    let gap = (f64::from(*value) - exact).abs();
                    assert!(gap < 2e-5, "{scale:?} of {length}: {gap:e}");
                }
            }
            let (mean, variance) = moments(&x);
            let exact = wide(&x).iter().sum::<f64>() / x.len() as f64;
            let spread = wide(&x).iter().map(|x| (x - exact) * (x - exact)).sum::<f64>() / x.len() as f64;
            assert!((f64::from(mean) - exact).abs() < 1e-5 && (f64::from(variance) - spread).abs() < 1e-4);
        }
    }
}
