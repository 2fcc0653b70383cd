//! What number a rounded scalar stands for.
//!
//! An exporter writes the scalars of a program (`1e-5`, `1/sqrt(64)`, `sqrt(2)`) rounded to single precision, beside
//! weights that are single precision by nature. The reference precision wants the program's number. So a scalar constant
//! and an attribute are read as the simplest number that rounds to what the file holds; in `f32` nothing changes by that.

/// The simplest number that rounds to `stored`: a short decimal, a small fraction, or a root of a small integer;
/// `stored` itself where there is none.
pub(crate) fn nice(stored: f32) -> f64 {
    let wide = f64::from(stored);
    if !stored.is_finite() || stored == 0.0 || stored.fract() == 0.0 {
        return wide;
    }
    // A root may happen to round to six digits, but hardly to four.
    let decimal = |digits: usize| short_decimal(stored, digits);
    let found = decimal(FEW_DIGITS).or_else(|| fraction(stored)).or_else(|| root(stored));
    found.or_else(|| decimal(DIGITS_MAX)).unwrap_or(wide)
}

#[expect(clippy::cast_possible_truncation, reason = "rounding is what is asked about")]
fn rounds_to(candidate: f64, stored: f32) -> bool {
    (candidate as f32).to_bits() == stored.to_bits()
}

fn short_decimal(stored: f32, most: usize) -> Option<f64> {
    let text = format!("{stored:e}");
    let digits = text.split('e').next()?.bytes().filter(u8::is_ascii_digit).count();
    if digits > most {
        return None;
    }
    text.parse().ok().filter(|candidate| rounds_to(*candidate, stored))
}

fn fraction(stored: f32) -> Option<f64> {
    let wide = f64::from(stored);
    (1..=DENOMINATOR_MAX).map(f64::from).find_map(|denominator| {
        let numerator = (wide * denominator).round();
        let candidate = numerator / denominator;
        (numerator != 0.0 && numerator.abs() <= NUMERATOR_MAX && rounds_to(candidate, stored)).then_some(candidate)
    })
}

/// ±n^(1/2), n^(-1/2), n^(1/4), n^(-1/4), and the constants of GELU and SELU.
fn root(stored: f32) -> Option<f64> {
    let (wide, sign) = (f64::from(stored).abs(), f64::from(stored).signum());
    let of = |power: f64| {
        let radicand = wide.powf(1.0 / power).round();
        ((1.0..=RADICAND_MAX).contains(&radicand)).then(|| sign * radicand.powf(power))
    };
    let special = [(2.0 / std::f64::consts::PI).sqrt() * sign, SELU_ALPHA * sign, SELU_GAMMA * sign];
    let candidates = [0.5, -0.5, 0.25, -0.25].into_iter().filter_map(of).chain(special);
    candidates.into_iter().find(|candidate| rounds_to(*candidate, stored))
}

/// The constants of SELU (Klambauer et al. 2017, equation 14).
pub(super) const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
pub(super) const SELU_GAMMA: f64 = 1.050_700_987_355_480_5;

/// Single precision holds 7 digits and a bit: a number of few digits was written by a person.
const DIGITS_MAX: usize = 6;
const FEW_DIGITS: usize = 4;
const DENOMINATOR_MAX: i32 = 12;
const NUMERATOR_MAX: f64 = 100.0;
const RADICAND_MAX: f64 = 16_384.0;

#[cfg(test)]
mod tests {
    use super::nice;

    #[test]
    #[expect(clippy::float_cmp, reason = "exactly those numbers")]
    fn scalars_are_what_their_program_says() {
        assert_eq!(nice(1e-5), 1e-5);
        assert_eq!(nice(0.044_715), 0.044_715);
        assert_eq!(nice(1.0 / 6.0), 1.0 / 6.0);
        assert_eq!(nice(std::f32::consts::SQRT_2), 2f64.sqrt());
        assert_eq!(nice(std::f32::consts::FRAC_1_SQRT_2), 0.5f64.sqrt());
        assert_eq!(nice(-0.353_553_38), -(8f64.powf(-0.5)));
        assert_eq!(nice(0.797_884_6), (2.0 / std::f64::consts::PI).sqrt());
        assert_eq!(nice(0.123_456_79), f64::from(0.123_456_79_f32));
        assert_eq!(nice(0.537_285), 12f64.powf(-0.25));
        assert_eq!(nice(0.5), 0.5);
    }
}
