//! Numbers of the text opcodes, as CPython's two unpicklers read them.
//!
//! The C one hands its line to `strtol`, `PyLong_FromString` or `PyOS_string_to_double`, which stop at a NUL byte and
//! know old octal numbers; the Python one calls `int` and `float`, which do neither. A stream that one reads and the
//! other refuses is made to look broken, so [`Reading`] says who reads a line.
//!
//! Source: `Modules/_pickle.c` (`load_int`, `load_long`, `load_float`, `load_get`, `load_put`), `Objects/longobject.c`
//! and `Lib/pickle.py`.

/// Who reads a line as a number, and what the number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading<T> {
    Both(T),
    /// Only one of the two unpicklers goes on.
    One(T),
    Neither,
}

impl<T> Reading<T> {
    fn of(by_c: Option<T>, by_python: Option<T>) -> Self {
        match (by_c, by_python) {
            (Some(value), Some(_)) => Self::Both(value),
            (Some(value), None) | (None, Some(value)) => Self::One(value),
            (None, None) => Self::Neither,
        }
    }
}

/// A whole number; `None` inside stands for one beyond 64 bits.
pub(super) type Whole = Option<i64>;

/// The line of INT.
pub(super) fn int(line: &[u8]) -> Reading<Whole> {
    if let b"00" | b"01" = line {
        // How True and False are written; the next numeral would be an old octal number.
        return Reading::Both(Some(i64::from(line == b"01")));
    }
    let by_c = if line.is_empty() { None } else { strtol(line).or_else(|| from_string(until_nul(line), 0)) };
    Reading::of(by_c, from_string(line, 0))
}

/// The line of LONG.
pub(super) fn long(line: &[u8]) -> Reading<Whole> {
    let digits = line.strip_suffix(b"L").unwrap_or(line);
    let by_c = if line.is_empty() { None } else { from_string(until_nul(digits), 0) };
    Reading::of(by_c, from_string(digits, 0))
}

/// The line of FLOAT.
pub(super) fn float(line: &[u8]) -> Reading<()> {
    let by_c = std::str::from_utf8(until_nul(line)).ok().filter(|text| !text.contains(char::is_whitespace));
    let by_c = by_c.and_then(|text| text.parse::<f64>().ok());
    let by_python = std::str::from_utf8(line).ok().map(str::trim).filter(|text| !text.contains("__"));
    let by_python = by_python.filter(|text| !text.starts_with('_') && !text.ends_with('_'));
    let by_python = by_python.and_then(|text| text.replace('_', "").parse::<f64>().ok());
    Reading::of(by_c.map(drop), by_python.map(drop))
}

/// The line of GET and PUT.
pub(super) fn memo_number(line: &[u8]) -> Reading<Whole> {
    let by_c = if line.is_empty() { None } else { from_string(until_nul(line), 10) };
    Reading::of(by_c, from_string(line, 10))
}

fn until_nul(line: &[u8]) -> &[u8] {
    memchr::memchr(0, line).and_then(|end| line.get(..end)).unwrap_or(line)
}

/// What `strtol(line, …, 0)` makes of all that stands before a NUL or the line's end.
fn strtol(line: &[u8]) -> Option<Whole> {
    let text = until_nul(line);
    if text.is_empty() {
        // Nothing was converted, and the NUL is where the number ends.
        return Some(Some(0));
    }
    let (negative, digits) = sign(trim_start(text));
    let (radix, digits) = match digits {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest),
        [b'0', _, ..] => (8, digits),
        _ => (10, digits),
    };
    let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with(['+', '-']))?;
    let value = i64::from_str_radix(text, radix).ok()?;
    Some(Some(if negative { -value } else { value }))
}

/// `PyLong_FromString`: spaces around, a sign, the base's prefix, single underscores between digits.
fn from_string(text: &[u8], base: u32) -> Option<Whole> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let end = text.iter().rposition(|byte| !is_space(byte))? + 1;
    let (negative, digits) = sign(trim_start(text.get(..end)?));
    let (radix, digits, prefixed) = match (base, digits) {
        (0, [b'0', b'x' | b'X', rest @ ..]) => (16, rest, true),
        (0, [b'0', b'o' | b'O', rest @ ..]) => (8, rest, true),
        (0, [b'0', b'b' | b'B', rest @ ..]) => (2, rest, true),
        _ => (10, digits, false),
    };
    let digits = if prefixed { digits.strip_prefix(b"_").unwrap_or(digits) } else { digits };
    let (mut value, mut after_digit) = (Some(0_i64), false);
    for byte in digits {
        if *byte == b'_' && after_digit {
            after_digit = false;
            continue;
        }
        let digit = char::from(*byte).to_digit(radix)?;
        value = value.and_then(|value| value.checked_mul(i64::from(radix))?.checked_add(i64::from(digit)));
        after_digit = true;
    }
    // Old octal numbers are refused, unless they are zero.
    let is_octal = base == 0 && !prefixed && digits.first() == Some(&b'0') && value != Some(0);
    let value = if negative { value.map(|value| -value) } else { value };
    (after_digit && !is_octal).then_some(value)
}

fn trim_start(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !matches!(byte, b' ' | b'\t'..=b'\r')).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_what() {
        let cases: [(&[u8], Reading<Whole>); 15] = [
            (b"01", Reading::Both(Some(1))),
            (b"5", Reading::Both(Some(5))),
            (b" -0x_1f ", Reading::Both(Some(-31))),
            (b"1_000", Reading::Both(Some(1000))),
            (b"1__0", Reading::Neither),
            (b"", Reading::Neither),
            (b"010", Reading::One(Some(8))),
            (b"000", Reading::Both(Some(0))),
            (b"08", Reading::Neither),
            (b"5\0junk", Reading::One(Some(5))),
            (b"\0junk", Reading::One(Some(0))),
            (b"99999999999999999999", Reading::Both(None)),
            (b"0x", Reading::Neither),
            (b"+-5", Reading::Neither),
            (b"abc", Reading::Neither),
        ];
        for (line, expected) in cases {
            assert_eq!(int(line), expected, "{}", line.escape_ascii());
        }
        assert_eq!(memo_number(b"010"), Reading::Both(Some(10)));
        assert_eq!(memo_number(b"0x10"), Reading::Neither);
        assert_eq!(long(b"12L"), Reading::Both(Some(12)));
        assert_eq!(float(b"1.5\0junk"), Reading::One(()));
        assert_eq!(float(b" 1_0.5"), Reading::One(()));
        assert_eq!(float(b"inf"), Reading::Both(()));
    }
}
