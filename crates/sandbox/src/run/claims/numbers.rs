//! Tokens of a line: words, numbers, `n/m`, and what stands between them. One pass, no allocation but the list.
//!
//! A number counts only if it ends where a number ends: `1.2.3`, `12:30`, `5ms`, `50%`, `2024-01-02` and `0x1f` are
//! [`Token::Other`].
#![deny(clippy::indexing_slicing)]

/// A piece of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'a> {
    /// A name, perhaps with `_`, `/`, `.`, `-`, `@` or `'` in it.
    Word(&'a str),
    /// A number.
    Number(Number),
    /// Two whole numbers with a slash between them.
    Ratio(u64, u64),
    /// One character between words.
    Mark(char),
    /// Something that is none of these.
    Other,
}

/// A number as it was written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Number {
    /// Its value; NaN and infinities as they were written.
    pub(super) value: f64,
    /// Whether it has a fraction or an exponent, as measurements do.
    pub(super) measured: bool,
}

impl Number {
    /// The number as a count, if it is one.
    pub(super) fn count(self) -> Option<u64> {
        whole(self.value)
    }
}

/// `value` as a count, if it is a whole number that floating point holds exactly.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole, positive and small")]
pub(super) fn whole(value: f64) -> Option<u64> {
    (value.fract() == 0.0 && (0.0..=COUNT_MAX).contains(&value)).then_some(value as u64)
}

/// Cuts `line` into at most [`TOKENS_MAX`] tokens.
pub(super) fn tokens(line: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = line;
    while tokens.len() < TOKENS_MAX {
        rest = rest.trim_start_matches([' ', '\u{a0}']);
        let Some(first) = rest.chars().next() else { break };
        let (token, after) = if let Some(taken) = number(rest) {
            taken
        } else if first.is_ascii_alphabetic() || first == '_' {
            name(rest)
        } else if first.is_ascii_digit() || first == '/' {
            (Token::Other, skip_other(rest))
        } else {
            (Token::Mark(first), rest.get(first.len_utf8()..).unwrap_or_default())
        };
        tokens.push(token);
        rest = after;
    }
    tokens
}

fn name(text: &str) -> (Token<'_>, &str) {
    let inside = |character: char| character.is_ascii_alphanumeric() || "_/.@'-".contains(character);
    let end = text.find(|character| !inside(character)).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    // Quotes around a name (`'loss'`) and a full stop behind it are not part of it.
    let kept = name.trim_end_matches(['\'', '.', '-', '/']);
    let rest = if kept.len() < name.len() { text.get(kept.len()..).unwrap_or(rest) } else { rest };
    (Token::Word(kept), rest)
}

/// A number or ratio at the start of `text`, and what comes after it.
fn number(text: &str) -> Option<(Token<'_>, &str)> {
    let unsigned = text.strip_prefix(['-', '+', '−']).unwrap_or(text);
    let negative = text.starts_with(['-', '−']);
    if let Some(taken) = spelled(unsigned, negative) {
        return Some(taken);
    }
    let digits = span(unsigned, |byte| byte.is_ascii_digit());
    let mut end = digits;
    // 1,234,567
    while digits <= 3 && end > 0 {
        let group = unsigned.get(end..).and_then(|rest| rest.strip_prefix(',')).unwrap_or_default();
        if span(group, |byte| byte.is_ascii_digit()) != 3 {
            break;
        }
        end += 4;
    }
    let mut measured = false;
    if let Some(fraction) = unsigned.get(end..).and_then(|rest| rest.strip_prefix('.')) {
        let places = span(fraction, |byte| byte.is_ascii_digit());
        // `3.` at the end of a sentence is a whole number.
        if places > 0 {
            measured = true;
            end += 1 + places;
        }
    }
    if end == 0 || (digits == 0 && !measured) {
        return None;
    }
    let tail = unsigned.get(end..)?;
    if let Some(exponent) = tail.strip_prefix(['e', 'E']) {
        let sign = usize::from(exponent.starts_with(['+', '-']));
        let places = span(exponent.get(sign..)?, |byte| byte.is_ascii_digit());
        if places > 0 {
            measured = true;
            end += 1 + sign + places;
        }
    }
    let (written, tail) = unsigned.split_at_checked(end)?;
    if written.len() > NUMBER_BYTES_MAX || !ends_number(tail) {
        return None;
    }
    if !measured
        && !negative
        && let Some(ratio) = ratio(written, tail)
    {
        return Some(ratio);
    }
    let value: f64 = written.replace(',', "").parse().ok()?;
    let value = if negative { -value } else { value };
    Some((Token::Number(Number { value, measured }), tail))
}

/// `nan`, `inf` and `infinity`.
fn spelled(text: &str, negative: bool) -> Option<(Token<'_>, &str)> {
    let length = span(text, |byte| byte.is_ascii_alphabetic());
    let (word, tail) = text.split_at_checked(length)?;
    let value = match word.to_ascii_lowercase().as_str() {
        "nan" => f64::NAN,
        "inf" | "infinity" if negative => f64::NEG_INFINITY,
        "inf" | "infinity" => f64::INFINITY,
        _ => return None,
    };
    let ends = !tail.starts_with(|next: char| next.is_alphanumeric() || "_-/.".contains(next));
    ends.then_some((Token::Number(Number { value, measured: true }), tail))
}

fn ratio<'a>(first: &str, tail: &'a str) -> Option<(Token<'a>, &'a str)> {
    let rest = tail.trim_start_matches(' ').strip_prefix('/')?.trim_start_matches(' ');
    let (second, after) = rest.split_at_checked(span(rest, |byte| byte.is_ascii_digit()))?;
    if second.is_empty() || !ends_number(after) || after.starts_with('/') {
        return None;
    }
    Some((Token::Ratio(first.replace(',', "").parse().ok()?, second.parse().ok()?), after))
}

/// Whether what follows leaves a number as it is.
fn ends_number(tail: &str) -> bool {
    let mut characters = tail.chars();
    let (first, second) = (characters.next(), characters.next());
    match first {
        None => true,
        Some('%' | '_') => false,
        Some(':' | '-' | '.' | ',') => second.is_none_or(|second| !second.is_ascii_digit()),
        Some('/') => second.is_none_or(|second| second.is_ascii_digit() || second == ' '),
        Some(first) => !first.is_alphanumeric(),
    }
}

fn span(text: &str, of: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|byte| of(*byte)).count()
}

/// After something like `12:30:01`, `5ms/step` or `/usr/lib/step`.
fn skip_other(text: &str) -> &str {
    let end = text.find(|character: char| character.is_whitespace() || ",;|[](){}<>\"".contains(character));
    text.get(end.unwrap_or(text.len())..).unwrap_or_default()
}

/// Most tokens of a line that are looked at.
const TOKENS_MAX: usize = 1_024;
/// Longest number in bytes.
const NUMBER_BYTES_MAX: usize = 32;
/// Counts beyond 2⁵³ are no longer exact as floating point.
const COUNT_MAX: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(line: &str) -> Vec<f64> {
        let number = |token| if let Token::Number(number) = token { Some(number.value) } else { None };
        tokens(line).into_iter().filter_map(number).collect()
    }

    #[test]
    fn a_number_ends_where_a_number_ends() {
        assert_eq!(numbers("1 -2.5 3e-4 1.000E-04, 1,234 .5 4. 7)"), [1.0, -2.5, 3e-4, 1e-4, 1234.0, 0.5, 4.0, 7.0]);
        assert!(numbers("1.2.3 12:30 5ms 50% 2024-01-02 0x1f 4s 3rd /usr/lib/3 v2 10k").is_empty());
        assert!(numbers("-inf")[0].is_infinite() && numbers("nan,")[0].is_nan());
        assert!(numbers("information nano infra nan_grads").is_empty());
    }

    #[test]
    fn ratios_and_names() {
        assert_eq!(tokens("3/10"), [Token::Ratio(3, 10)]);
        assert_eq!(tokens("[  10/ 5005]"), [Token::Mark('['), Token::Ratio(10, 5005), Token::Mark(']')]);
        assert_eq!(tokens("'loss'").get(1), Some(&Token::Word("loss")));
        assert_eq!(tokens("valid_0's l2"), [Token::Word("valid_0's"), Token::Word("l2")]);
        assert_eq!(tokens("5ms/step")[0], Token::Other);
    }
}
