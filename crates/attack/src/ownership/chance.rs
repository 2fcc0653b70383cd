//! How surprising a count or a difference is.

/// P(X ≥ `matches`) for X binomial with `trials` and `chance`: the exact sum, in logarithms so that nothing underflows before
/// the end.
pub fn binomial_tail(matches: u64, trials: u64, chance: f64) -> f64 {
    if matches == 0 {
        return 1.0;
    }
    if matches > trials {
        return 0.0;
    }
    let (win, lose) = (chance.ln(), (-chance).ln_1p());
    // ln of the number of ways to choose `matches` of `trials`, then each next one from the one before.
    let mut ways: f64 = (0..matches).map(|k| ((trials - k) as f64).ln() - ((k + 1) as f64).ln()).sum();
    let mut total = 0.0;
    for count in matches..=trials {
        total += (ways + count as f64 * win + (trials - count) as f64 * lose).exp();
        ways += ((trials - count) as f64).ln() - ((count + 1) as f64).ln();
    }
    total.min(1.0)
}

/// Welch's t for "`a` has the greater mean" with its one-sided p-value (Welch 1947); `None` where a group has fewer than two
/// members, or neither varies.
pub(crate) fn welch(a: &[f64], b: &[f64]) -> Option<(f64, f64)> {
    let moments = |values: &[f64]| {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0) / n, n)
    };
    if a.len() < 2 || b.len() < 2 {
        return None;
    }
    let ((mean_a, error_a, n_a), (mean_b, error_b, n_b)) = (moments(a), moments(b));
    let error = error_a + error_b;
    if error <= 0.0 {
        return None;
    }
    let t = (mean_a - mean_b) / error.sqrt();
    let freedom = error * error / (error_a * error_a / (n_a - 1.0) + error_b * error_b / (n_b - 1.0));
    // The tail of Student's distribution is half an incomplete beta function (Abramowitz and Stegun 26.7.1).
    let tail = incomplete_beta(freedom / 2.0, 0.5, freedom / (freedom + t * t)) / 2.0;
    Some((t, if t > 0.0 { tail } else { 1.0 - tail }))
}

/// The regularised incomplete beta function, by its continued fraction (DLMF 8.17.22) with Lentz's method.
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp() / a;
    let safe = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut upper = 1.0;
    let mut lower = 1.0 / safe(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = lower;
    for step in 1..TERMS_MAX {
        let step = f64::from(step);
        let place = a + 2.0 * step;
        let even = step * (b - step) * x / ((place - 1.0) * place);
        let odd = -(a + step) * (a + b + step) * x / (place * (place + 1.0));
        for term in [even, odd] {
            lower = 1.0 / safe(1.0 + term * lower);
            upper = safe(1.0 + term / upper);
            fraction *= upper * lower;
        }
        if (upper * lower - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front * fraction
}

/// ln Γ(x) for x > 0 by Stirling's series (DLMF 5.11.1) after raising the argument.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 12.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let r = 1.0 / (x * x);
    let series = (1.0 / 12.0 - r * (1.0 / 360.0 - r * (1.0 / 1260.0 - r / 1680.0))) / x;
    shift + (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

const TINY: f64 = 1e-300;
const TERMS_MAX: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::{binomial_tail, welch};

    #[test]
    fn tails_of_known_distributions() {
        let near = |found: f64, wanted: f64| assert!((found / wanted - 1.0).abs() < 1e-9, "{found} is not {wanted}");
        near(binomial_tail(0, 10, 0.1), 1.0);
        near(binomial_tail(10, 10, 0.5), 0.5_f64.powi(10));
        // 9 or 10 of 10 coins: 11 of 1,024 ways.
        near(binomial_tail(9, 10, 0.5), 11.0 / 1_024.0);
        near(binomial_tail(40, 40, 0.1), 1e-40);
        // 1 − 0.9^20 − 20·0.1·0.9^19
        near(binomial_tail(2, 20, 0.1), 1.0 - 0.9_f64.powi(20) - 2.0 * 0.9_f64.powi(19));
        assert!(binomial_tail(11, 10, 0.5) < f64::MIN_POSITIVE);
    }

    #[test]
    fn welch_against_closed_forms() {
        // Two groups of two with equal variances have 2 degrees of freedom: p = (1 − t / √(2 + t²)) / 2.
        let (t, p) = welch(&[2.0, 4.0], &[1.0, 3.0]).unwrap();
        assert!((t - 1.0 / 2_f64.sqrt()).abs() < 1e-12);
        assert!((p - f64::midpoint(1.0, -t / (2.0 + t * t).sqrt())).abs() < 1e-12, "{p}");
        let (_, other) = welch(&[1.0, 3.0], &[2.0, 4.0]).unwrap();
        assert!((p + other - 1.0).abs() < 1e-12);
        assert!(welch(&[1.0], &[2.0, 3.0]).is_none() && welch(&[1.0, 1.0], &[2.0, 2.0]).is_none());
    }
}
