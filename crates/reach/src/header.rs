//! The response headers that decide something: `Content-Range`, `ETag`, `Link`, `Retry-After` and dates (RFC 9110, RFC 8288).
//!
//! All of them come from strangers: whatever is not exactly what the standard writes is `None`, and the caller goes on
//! without it or refuses.

use ureq::http::HeaderMap;

/// Longest entity tag that is kept.
const ETAG_BYTES_MAX: usize = 256;
/// Most links in one `Link` header.
const LINKS_MAX: usize = 16;

/// `Content-Range: bytes FIRST-LAST/TOTAL` with all three numbers, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// First byte.
    pub first: u64,
    /// Last byte, included.
    pub last: u64,
    /// Bytes of the whole.
    pub total: u64,
}

impl ContentRange {
    /// Reads the header's value (RFC 9110, section 14.4).
    pub fn parse(value: &str) -> Option<Self> {
        let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let range = Self { first: number(first)?, last: number(last)?, total: number(total)? };
        (range.first <= range.last && range.last < range.total).then_some(range)
    }
}

/// The text of a header, if it is there once and is visible ASCII.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let value = all.next()?.to_str().ok()?.trim();
    all.next().is_none().then_some(value)
}

/// A decimal number without sign or blanks.
pub(crate) fn number(text: &str) -> Option<u64> {
    (text.len() <= 20 && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

/// An entity tag with its quotes; weak ones keep their `W/`.
pub fn etag(value: &str) -> Option<String> {
    let value = value.trim();
    let opaque = value.strip_prefix("W/").unwrap_or(value);
    let inner = opaque.strip_prefix('"')?.strip_suffix('"')?;
    let fine = value.len() <= ETAG_BYTES_MAX && inner.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    fine.then(|| value.to_owned())
}

/// What stands between the quotes of an entity tag, weak or not: the Hub puts hashes there.
pub(crate) fn etag_inner(value: &str) -> &str {
    value.trim().trim_start_matches("W/").trim_matches('"')
}

/// The target of the link with `rel="next"` (RFC 8288, section 3).
pub fn next_link(value: &str) -> Option<&str> {
    let mut rest = value;
    for _ in 0..LINKS_MAX {
        let open = rest.find('<')?;
        let inner = rest.get(open + 1..)?;
        let (target, after) = inner.split_once('>')?;
        let (parameters, following) = split_at_comma(after);
        let next = parameters.split(';').any(|parameter| {
            parameter.split_once('=').is_some_and(|(name, relation)| {
                let relation = relation.trim().trim_matches('"');
                name.trim().eq_ignore_ascii_case("rel")
                    && relation.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("next"))
            })
        });
        if next {
            return Some(target);
        }
        rest = following;
    }
    None
}

/// Cuts at the first comma outside quotes.
fn split_at_comma(text: &str) -> (&str, &str) {
    let mut quoted = false;
    for (at, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => return (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default()),
            _ => {}
        }
    }
    (text, "")
}

/// Seconds to wait: a number, or a date as seen from `now_s` (RFC 9110, section 10.2.3).
pub fn retry_after_s(value: &str, now_s: u64) -> Option<u64> {
    let value = value.trim();
    number(value).or_else(|| date_s(value).map(|then| then.saturating_sub(now_s)))
}

/// Seconds since 1970 of an IMF-fixdate, as in `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7). The two obsolete
/// forms are not read.
pub fn date_s(value: &str) -> Option<u64> {
    let words: Vec<&str> = value.split(' ').collect();
    let [weekday, day, month, year, time, "GMT"] = words.as_slice() else { return None };
    let known = ["Mon,", "Tue,", "Wed,", "Thu,", "Fri,", "Sat,", "Sun,"].contains(weekday);
    if !known || day.len() != 2 || year.len() != 4 || time.len() != 8 {
        return None;
    }
    let month = MONTHS.iter().position(|name| name == month)? as u64 + 1;
    let (day, year) = (number(day)?, number(year)?);
    let mut parts = time.split(':').map(|part| if part.len() == 2 { number(part) } else { None });
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1..=31).contains(&day) || year < 1970 || hour > 23 || minute > 59 || second > 60 || parts.next().is_some() {
        return None;
    }
    Some(days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar: Howard Hinnant's `days_from_civil`.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::{ContentRange, date_s, etag, next_link, retry_after_s};

    #[test]
    fn ranges_are_exact_or_nothing() {
        assert_eq!(ContentRange::parse("bytes 0-9/10"), Some(ContentRange { first: 0, last: 9, total: 10 }));
        for wrong in ["bytes 0-10/10", "bytes 5-4/10", "bytes */10", "bytes 0-9/*", "bytes +0-9/10", "0-9/10", ""] {
            assert_eq!(ContentRange::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn tags_keep_their_quotes() {
        assert_eq!(etag("\"abc\"").as_deref(), Some("\"abc\""));
        assert_eq!(etag("W/\"abc\"").as_deref(), Some("W/\"abc\""));
        for wrong in ["abc", "\"a\"b\"", "\"", "W/abc", "\"a b\""] {
            assert_eq!(etag(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_next_page_is_found_among_others() {
        let header = r#"<https://h/a?x=1,2>; rel="prev"; title="a,b", </b?c=d>; REL="last next""#;
        assert_eq!(next_link(header), Some("/b?c=d"));
        assert_eq!(next_link("<x>; rel=next"), Some("x"));
        assert_eq!(next_link("<x>; rel=\"prev\""), None);
        assert_eq!(next_link("x; rel=next"), None);
    }

    #[test]
    fn waits_are_numbers_or_dates() {
        assert_eq!(date_s("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(date_s("Tue, 29 Feb 2000 00:00:00 GMT"), Some(951_782_400));
        assert_eq!(retry_after_s("120", 0), Some(120));
        assert_eq!(retry_after_s("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_770), Some(7));
        assert_eq!(retry_after_s("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_780), Some(0));
        for wrong in ["-1", "soon", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT"] {
            assert_eq!(retry_after_s(wrong, 0), None, "{wrong}");
        }
    }
}
