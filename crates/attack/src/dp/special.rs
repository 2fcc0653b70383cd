//! The complementary error function and its logarithm, which the accountants need far into the tail.

/// erfc(x) = 2/√π ∫ e^(−t²) over t ≥ x, to about 1e-15 of itself for x ≥ 0 and of 2 below.
pub(super) fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        2.0 - erfc(-x)
    } else if x < SERIES_END {
        1.0 - erf_series(x)
    } else if x < NOTHING_LEFT {
        (-x * x).exp() * scaled_tail(x)
    } else {
        0.0
    }
}

/// ln erfc(x), also where erfc(x) is too small for a number.
pub(super) fn ln_erfc(x: f64) -> f64 {
    if x < SERIES_END { erfc(x).ln() } else { scaled_tail(x).ln() - x * x }
}

/// erf(x) by a series of positive terms (Abramowitz and Stegun 1964, 7.1.6).
fn erf_series(x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term > sum * f64::EPSILON / 4.0 && n < TERMS_MAX {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// e^(x²) erfc(x) by its continued fraction (Abramowitz and Stegun 1964, 7.1.14), from the far end. What is cut off falls as
/// e^(−2x √(2 depth)): the further out, the less depth gives every bit.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 4 and 84")]
fn scaled_tail(x: f64) -> f64 {
    let depth = (FRACTION_DEPTH / (x * x)) as u32 + 4;
    let mut rest = x;
    for k in (1..=depth).rev() {
        rest = x + f64::from(k) / 2.0 / rest;
    }
    std::f64::consts::FRAC_2_SQRT_PI / 2.0 / rest
}

/// Where the fraction takes over from the series: from here on its depth suffices for every bit.
const SERIES_END: f64 = 2.0;
/// Terms of the series; below 2 some 40 suffice.
const TERMS_MAX: f64 = 200.0;
/// Depth of the continued fraction, times x².
const FRACTION_DEPTH: f64 = 320.0;
/// Beyond this, erfc is below every number.
const NOTHING_LEFT: f64 = 27.3;

#[cfg(test)]
mod tests {
    use super::{erfc, ln_erfc};

    #[test]
    fn values_of_tables() {
        // Abramowitz and Stegun 1964, table 7.1, and the digits that any multi-precision package gives.
        let cases = [
            (-1.0, 1.842_700_792_949_715),
            (0.0, 1.0),
            (0.5, 0.479_500_122_186_953_5),
            (1.5, 0.033_894_853_524_689_27),
            (2.5, 4.069_520_174_449_59e-4),
            (5.0, 1.537_459_794_428_035e-12),
        ];
        for (x, expected) in cases {
            assert!((erfc(x) / expected - 1.0).abs() < 2e-13, "erfc({x}) = {}", erfc(x));
        }
        // erfc(30) is 2.56e-393, too small for a number.
        assert!((ln_erfc(30.0) + 903.974_117_110_644).abs() < 1e-9, "{}", ln_erfc(30.0));
        assert!((ln_erfc(-40.0) - 2_f64.ln()).abs() < 1e-15);
    }
}
