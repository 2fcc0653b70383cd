//! Decimal numbers in text: recognised strictly, and brought to one normal form.

#![deny(clippy::indexing_slicing)]

/// The value of `text` if it is a plain decimal number (`-12`, `+0.5`, `.5`, `1e-3`); no `nan`, `inf`, hexadecimal or
/// separators.
pub(crate) fn parse(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii();
    if text.len() <= 9 && !text.is_empty() && text.iter().all(u8::is_ascii_digit) {
        return Some(text.iter().fold(0.0, |value, digit| value * 10.0 + f64::from(digit - b'0')));
    }
    if text.len() > NUMBER_BYTES_MAX || !is_decimal(text) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok().filter(|value: &f64| value.is_finite())
}

/// One spelling for all spellings of the same decimal: an integer of up to 15 digits as it is, anything else as `digits`
/// or `digits` `e` `exponent` without leading or trailing zeros in the digits; `0` for zero. `None` where `text` is no plain decimal, or has leading zeros (`007` is a name,
/// not a number).
pub(crate) fn normal_form(text: &[u8]) -> Option<String> {
    let text = text.trim_ascii();
    if text.len() > NUMBER_BYTES_MAX || !is_decimal(text) {
        return None;
    }
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] | rest => (false, rest),
    };
    let split = rest.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(rest.len());
    let (mantissa, exponent) = rest.split_at_checked(split)?;
    let exponent: i64 = match exponent {
        [] => 0,
        [_, digits @ ..] => std::str::from_utf8(digits).ok()?.parse().ok()?,
    };
    let point = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
    if matches!(mantissa, [b'0', b'0'..=b'9', ..]) {
        return None;
    }
    let fraction = i64::try_from(mantissa.len().saturating_sub(point + 1)).ok()?;
    let digits: String = mantissa.iter().filter(|byte| **byte != b'.').map(|byte| char::from(*byte)).collect();
    let significant = digits.trim_start_matches('0');
    let trimmed = significant.trim_end_matches('0');
    if trimmed.is_empty() {
        return Some("0".to_owned());
    }
    let zeros = i64::try_from(significant.len() - trimmed.len()).ok()?;
    let exponent = exponent.checked_sub(fraction)?.checked_add(zeros)?;
    let sign = if negative { "-" } else { "" };
    let zeros = usize::try_from(exponent).ok().filter(|zeros| zeros + trimmed.len() <= PLAIN_DIGITS_MAX);
    if let Some(zeros) = zeros {
        return Some(format!("{sign}{trimmed}{}", "0".repeat(zeros)));
    }
    Some(if exponent == 0 { format!("{sign}{trimmed}") } else { format!("{sign}{trimmed}e{exponent}") })
}

fn is_decimal(text: &[u8]) -> bool {
    let rest = match text {
        [b'-' | b'+', rest @ ..] | rest => rest,
    };
    let split = rest.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (mantissa, exponent) = match split.and_then(|at| rest.split_at_checked(at)) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let digits = mantissa.iter().filter(|byte| byte.is_ascii_digit()).count();
    let points = memchr::memchr_iter(b'.', mantissa).count();
    let exponent_ok = exponent.is_none_or(|exponent| match exponent {
        [_, b'-' | b'+', digits @ ..] | [_, digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        [] => false,
    });
    digits > 0 && points <= 1 && digits + points == mantissa.len() && exponent_ok
}

const NUMBER_BYTES_MAX: usize = 64;
const PLAIN_DIGITS_MAX: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn knows_numbers_from_names() {
        for (text, value) in [("12", 12.0), (" -0.5 ", -0.5), ("+.5", 0.5), ("1e3", 1000.0), ("5.", 5.0)] {
            assert_eq!(parse(text.as_bytes()), Some(value), "{text}");
        }
        for text in ["", "-", ".", "nan", "inf", "0x10", "1_000", "1,5", "e5", "1e", "1e400", "--1"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn equal_decimals_have_one_form() {
        for (text, form) in [
            ("1", "1"),
            ("1.0", "1"),
            ("10e-1", "1"),
            ("+1", "1"),
            ("1e2", "100"),
            ("1e15", "1e15"),
            ("0.5", "5e-1"),
            (".50", "5e-1"),
            ("-0.0", "0"),
            ("12345678901234567890123", "12345678901234567890123"),
        ] {
            assert_eq!(normal_form(text.as_bytes()).as_deref(), Some(form), "{text}");
        }
        assert_eq!(normal_form(b"007"), None);
    }

    proptest! {
        #[test]
        fn the_normal_form_keeps_the_value(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
            let form = normal_form(format!("{value}").as_bytes());
            if let Some(form) = form {
                // Zero loses its sign.
                prop_assert!((form.parse::<f64>().unwrap() + 0.0).total_cmp(&(value + 0.0)).is_eq());
            }
        }
    }
}
