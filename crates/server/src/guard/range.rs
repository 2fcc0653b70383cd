//! Which part of a file a request asks for: one range, written as RFC 9110, section 14 has it, or the whole.
//!
//! [`ByteRange`] is what stood in `Range`; [`Part::of`] holds it against the file's size and, with `If-Range`, against its
//! entity tag. Several ranges, a suffix and what is not a range are not offered: the whole is the answer then (section 14.2).
//!
//! What must stay true: a [`Part::Range`] is not empty and lies within the file.

#![deny(clippy::indexing_slicing)]

use std::ops::Range;

use axum::http::{HeaderMap, header};

/// Longest header that is read, in bytes; no range of a file has more.
pub const RANGE_BYTES_MAX: usize = 64;

/// `bytes=FIRST-` or `bytes=FIRST-LAST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub first: u64,
    /// The last one, included; the file's where none is named.
    pub last: Option<u64>,
}

impl ByteRange {
    /// Reads the value of a `Range` header (RFC 9110, section 14.1.2).
    pub fn parse(value: &str) -> Option<Self> {
        if value.len() > RANGE_BYTES_MAX {
            return None;
        }
        let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
        let first = number(first)?;
        let last = if last.is_empty() { None } else { Some(number(last)?) };
        last.is_none_or(|last| first <= last).then_some(Self { first, last })
    }

    /// The one `Range` of a request.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(header::RANGE).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        Self::parse(value.to_str().ok()?)
    }

    /// The bytes of it that a file of `size` bytes has; none where it begins behind its end.
    pub fn within(self, size: u64) -> Option<Range<u64>> {
        let end = self.last.map_or(size, |last| last.saturating_add(1).min(size));
        (self.first < size).then_some(self.first..end)
    }
}

/// What is to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// All of it (200).
    Whole,
    /// These bytes (206).
    Range(Range<u64>),
    /// There is none that was asked for (416).
    Beyond,
}

impl Part {
    /// What a request with `headers` asks of a file of `size` bytes with the entity tag `tag`, quotes included. Another tag in
    /// `If-Range` means the whole (section 13.1.5).
    pub fn of(headers: &HeaderMap, size: u64, tag: &str) -> Self {
        let same = headers.get(header::IF_RANGE).is_none_or(|wanted| wanted.as_bytes() == tag.as_bytes());
        match ByteRange::of(headers).filter(|_| same) {
            None => Self::Whole,
            Some(asked) => asked.within(size).map_or(Self::Beyond, Self::Range),
        }
    }
}

/// The value of `Content-Range` (section 14.4).
pub fn content_range(part: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1))
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}
