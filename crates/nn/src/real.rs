//! The two number types: `f32` to work with, `f64` as the reference.

use std::borrow::Cow;
use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};
use std::sync::Mutex;

use crate::kernel::simd::{self, Operands};
use crate::run::{Literals, Pools, Workspace};

/// A number that a model can be computed in. Implemented by `f32` and `f64`; nobody else can.
pub trait Real:
    sealed::Gemm
    + Copy
    + Default
    + Debug
    + PartialOrd
    + Send
    + Sync
    + Sum
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + 'static
{
    /// 0
    const ZERO: Self;
    /// 1
    const ONE: Self;
    /// Below every finite number.
    const LOWEST: Self;

    /// The nearest number of this type.
    fn of(value: f64) -> Self;
    /// The same number as `f64`.
    fn wide(self) -> f64;
    /// e to the power of `self`.
    #[must_use]
    fn exp(self) -> Self;
    /// Natural logarithm.
    #[must_use]
    fn ln(self) -> Self;
    /// ln(1 + `self`).
    #[must_use]
    fn ln_1p(self) -> Self;
    /// Square root.
    #[must_use]
    fn sqrt(self) -> Self;
    /// Hyperbolic tangent.
    #[must_use]
    fn tanh(self) -> Self;
    /// Absolute value.
    #[must_use]
    fn abs(self) -> Self;
    /// `self` to the power of `exponent`.
    #[must_use]
    fn powf(self, exponent: Self) -> Self;
    /// Gauss's error function, within 1e-15 (`f64`) or half a unit in the last place (`f32`).
    #[must_use]
    fn erf(self) -> Self {
        Self::of(error_function(self.wide()))
    }
    /// The larger of two; a NaN on the left stays.
    #[must_use]
    fn larger(self, other: Self) -> Self {
        if other > self { other } else { self }
    }
    /// The smaller of two; a NaN on the left stays.
    #[must_use]
    fn smaller(self, other: Self) -> Self {
        if other < self { other } else { self }
    }
}

pub(crate) mod sealed {
    use super::{Cow, Literals, Mutex, Pools, Workspace};

    /// What a number type needs of the crate's inside; naming it here keeps [`super::Real`] closed.
    pub trait Gemm: Sized {
        /// `c += alpha · a · b` on raw strided matrices, `beta` 0 or 1 on the old `c`.
        ///
        /// # Safety
        /// For all `i < m, p < k, j < n`: `a + i·a.1 + p·a.2` and `b + p·b.1 + j·b.2` are readable, `c + i·c.1 + j` is
        /// readable and writable, `c.1 ≥ n`, and nothing else reaches it.
        #[expect(clippy::too_many_arguments, reason = "the shape of BLAS")]
        #[expect(unsafe_code, reason = "raw strided matrices; checked by kernel::gemm")]
        unsafe fn gemm(
            m: usize,
            k: usize,
            n: usize,
            alpha: Self,
            a: (*const Self, usize, usize),
            b: (*const Self, usize, usize),
            beta: Self,
            c: (*mut Self, usize),
        );
        /// Weights, which are stored as `f32` and, where that is not exact, as `f64` too.
        fn weights<'s>(stored: &'s [f32], exact: Option<&'s [f64]>) -> Cow<'s, [Self]>
        where
            [Self]: ToOwned<Owned = Vec<Self>>;
        /// The same numbers, where they are single precision.
        fn single(numbers: &[Self]) -> Option<&[f32]>
        where
            Self: Sized;
        /// As [`Gemm::single`], to be changed.
        fn single_mut(numbers: &mut [Self]) -> Option<&mut [f32]>
        where
            Self: Sized;
        /// A plan's literals.
        fn literals(literals: &Literals) -> &[Vec<Self>];
        /// The workspaces of this type.
        fn pool(pools: &Pools) -> &Mutex<Vec<Workspace<Self>>>;
    }
}

macro_rules! real {
    ($type:ident, $gemm:path, $pool:ident, $of:expr, $wide:expr, $weights:expr, $literals:expr, $single:expr) => {
        impl Real for $type {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LOWEST: Self = $type::NEG_INFINITY;

            fn of(value: f64) -> Self {
                $of(value)
            }
            fn wide(self) -> f64 {
                $wide(self)
            }
            fn exp(self) -> Self {
                $type::exp(self)
            }
            fn ln(self) -> Self {
                $type::ln(self)
            }
            fn ln_1p(self) -> Self {
                $type::ln_1p(self)
            }
            fn sqrt(self) -> Self {
                $type::sqrt(self)
            }
            fn tanh(self) -> Self {
                $type::tanh(self)
            }
            fn abs(self) -> Self {
                $type::abs(self)
            }
            fn powf(self, exponent: Self) -> Self {
                $type::powf(self, exponent)
            }
        }

        impl sealed::Gemm for $type {
            #[expect(unsafe_code, reason = "raw strided matrices")]
            unsafe fn gemm(
                m: usize,
                k: usize,
                n: usize,
                alpha: Self,
                a: (*const Self, usize, usize),
                b: (*const Self, usize, usize),
                beta: Self,
                c: (*mut Self, usize),
            ) {
                // SAFETY: the caller's promise is exactly what the product asks for.
                unsafe { $gemm(m, k, n, alpha, a, b, beta, c) }
            }
            fn weights<'s>(stored: &'s [f32], exact: Option<&'s [f64]>) -> Cow<'s, [Self]> {
                $weights(stored, exact)
            }
            fn single(numbers: &[Self]) -> Option<&[f32]> {
                $single(numbers)
            }
            fn single_mut(numbers: &mut [Self]) -> Option<&mut [f32]> {
                $single(numbers)
            }
            fn literals(literals: &Literals) -> &[Vec<Self>] {
                $literals(literals)
            }
            fn pool(pools: &Pools) -> &Mutex<Vec<Workspace<Self>>> {
                &pools.$pool
            }
        }
    };
}

real!(f32, single_product, single, narrow, f64::from, narrow_weights, Literals::narrow, Some);
real!(f64, double_product, double, std::convert::identity, std::convert::identity, wide_weights, Literals::wide, none);

/// The reference mode takes none of the ways that are made for speed.
fn none<From, To>(_: From) -> Option<To> {
    None
}

fn narrow_weights<'s>(stored: &'s [f32], _: Option<&'s [f64]>) -> Cow<'s, [f32]> {
    Cow::Borrowed(stored)
}

fn wide_weights<'s>(stored: &'s [f32], exact: Option<&'s [f64]>) -> Cow<'s, [f64]> {
    exact.map_or_else(|| Cow::Owned(stored.iter().copied().map(f64::from).collect()), Cow::Borrowed)
}

/// The product by our own kernels where they fit, by `matrixmultiply` elsewhere.
///
/// # Safety
/// As [`sealed::Gemm::gemm`].
#[expect(clippy::too_many_arguments, clippy::many_single_char_names, reason = "the shape and names of BLAS")]
#[expect(unsafe_code, reason = "raw strided matrices")]
unsafe fn single_product(
    m: usize,
    k: usize,
    n: usize,
    alpha: f32,
    a: (*const f32, usize, usize),
    b: (*const f32, usize, usize),
    beta: f32,
    c: (*mut f32, usize),
) {
    #[expect(clippy::float_cmp, reason = "exactly 1")]
    if alpha == 1.0 {
        let ((a, a_row, a_column), (b, b_row, b_column), (c, c_row)) = (a, b, c);
        let add = beta != 0.0;
        let operands = Operands { m, k, n, a, a_row, a_column, b, b_row, b_column, c, c_row, add };
        // SAFETY: the caller's promise is the same.
        if unsafe { simd::product(&operands) } {
            return;
        }
    }
    let s = usize::cast_signed;
    // SAFETY: the caller's promise is the same.
    unsafe {
        matrixmultiply::sgemm(m, k, n, alpha, a.0, s(a.1), s(a.2), b.0, s(b.1), s(b.2), beta, c.0, s(c.1), 1);
    }
}

/// # Safety
/// As [`sealed::Gemm::gemm`].
#[expect(clippy::too_many_arguments, clippy::many_single_char_names, reason = "the shape and names of BLAS")]
#[expect(unsafe_code, reason = "raw strided matrices")]
unsafe fn double_product(
    m: usize,
    k: usize,
    n: usize,
    alpha: f64,
    a: (*const f64, usize, usize),
    b: (*const f64, usize, usize),
    beta: f64,
    c: (*mut f64, usize),
) {
    let s = usize::cast_signed;
    // SAFETY: the caller's promise is the same.
    unsafe {
        matrixmultiply::dgemm(m, k, n, alpha, a.0, s(a.1), s(a.2), b.0, s(b.1), s(b.2), beta, c.0, s(c.1), 1);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to single precision is what is wanted")]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// erf(x) = 1 - exp(-x²)·g(x) for x ≥ 0, where g(x) = exp(x²)·erfc(x) is smooth enough for a Chebyshev series in
/// t = (x - 3.75) / (x + 3.75) over all of x ≥ 0.
fn error_function(x: f64) -> f64 {
    let size = x.abs();
    if size > 6.0 {
        return x.signum();
    }
    let t = (size - 3.75) / (size + 3.75);
    // Clenshaw's recurrence.
    let (mut this, mut last) = (0.0, 0.0);
    for coefficient in ERFC_CHEBYSHEV.iter().skip(1).rev() {
        (this, last) = (2.0 * t * this - last + coefficient, this);
    }
    let scaled = t * this - last + ERFC_CHEBYSHEV[0];
    (1.0 - (-size * size).exp() * scaled).copysign(x)
}

/// Chebyshev coefficients of exp(x²)·erfc(x) in t; computed with 40 digits from 60 nodes, truncation below 1e-16.
const ERFC_CHEBYSHEV: [f64; 24] = [
    0.305_071_540_961_600_2,
    -0.434_841_272_712_577_5,
    0.176_351_193_643_605_5,
    -0.060_710_795_609_249_42,
    0.017_712_068_995_694_122,
    -0.004_321_119_385_567_279_5,
    0.000_854_216_676_887_116_7,
    -0.000_127_155_090_609_145_2,
    1.124_816_724_368_412_7e-5,
    3.130_638_854_271_318e-7,
    -2.709_880_685_412_825e-7,
    3.073_762_268_994_88e-8,
    2.515_620_368_188_439e-9,
    -1.028_929_939_145_092_3e-9,
    2.994_403_732_846_846e-11,
    2.605_178_140_472_871e-11,
    -2.634_839_796_971_713_6e-12,
    -6.433_960_876_900_692e-13,
    1.124_720_320_237_940_9e-13,
    1.729_882_629_557_637_4e-14,
    -4.248_291_330_154_334e-15,
    -5.347_940_090_312_201e-16,
    1.615_814_105_540_186_6e-16,
    1.549_275_842_909_601_5e-17,
];

#[cfg(test)]
mod tests {
    use super::error_function;

    #[test]
    fn error_function_has_its_tabulated_values() {
        // Abramowitz and Stegun, table 7.1, and its odd symmetry.
        for (x, value) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.0, 0.999_977_909_503_001_4),
        ] {
            assert!((error_function(x) - value).abs() < 1e-15, "{x}");
            assert!((error_function(-x) + value).abs() < 1e-15, "{x}");
        }
    }
}
