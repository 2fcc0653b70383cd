//! Reads a recorded stream, row by row: a CSV file with the columns `timestamp` and `value`.
//!
//! [`Rows`] streams from any [`BufRead`]; it holds one line at a time. A row that cannot be read is an error that names its line,
//! and the next row follows; only a missing header and a failing reader end the rows. Fields may be quoted (RFC 4180) but do
//! not span lines. Other columns are passed over.

#![deny(clippy::indexing_slicing)]

use std::io::{self, BufRead, Read as _};

/// One measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its line in the file, from 1.
    pub line: u64,
    /// The timestamp as it is written.
    pub timestamp: String,
    /// The same in seconds since 1970-01-01 00:00 UTC, or, where it is a plain number, that number.
    pub at_s: f64,
    /// The value; not a number where the field is empty or says `nan`, `null` or `na`.
    pub value: f64,
}

/// Why there is no row.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// The reader failed; no rows follow.
    #[error("reading after line {line}")]
    Read {
        /// The last line that was read.
        line: u64,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The first line lacks a column; no rows follow.
    #[error("the first line has no column `{column}`")]
    NoColumn {
        /// `timestamp` or `value`.
        column: &'static str,
    },
    /// The line is longer than [`LINE_BYTES_MAX`].
    #[error("line {line} is longer than {LINE_BYTES_MAX} bytes")]
    LineTooLong {
        /// Which line.
        line: u64,
    },
    /// The line is not UTF-8, or a quoted field does not end on it.
    #[error("line {line} is not a CSV record")]
    NotRecord {
        /// Which line.
        line: u64,
    },
    /// The line has fewer fields than the columns need.
    #[error("line {line} has no field for `{column}`")]
    NoField {
        /// Which line.
        line: u64,
        /// `timestamp` or `value`.
        column: &'static str,
    },
    /// The timestamp is none of the forms of [`parse_time`].
    #[error("line {line}: `{text}` is not a timestamp")]
    NotTime {
        /// Which line.
        line: u64,
        /// Its beginning, printable characters only.
        text: String,
    },
    /// The value is not a number.
    #[error("line {line}: `{text}` is not a number")]
    NotNumber {
        /// Which line.
        line: u64,
        /// Its beginning, printable characters only.
        text: String,
    },
}

/// The rows of a recorded stream.
#[derive(Debug)]
pub struct Rows<R> {
    reader: R,
    line: u64,
    columns: Option<Columns>,
    ended: bool,
    buffer: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Columns {
    timestamp: usize,
    value: usize,
}

impl<R: BufRead> Rows<R> {
    /// The rows that `reader` holds; nothing is read yet.
    pub fn new(reader: R) -> Self {
        Self { reader, line: 0, columns: None, ended: false, buffer: Vec::new() }
    }

    /// The next line without its end; `None` at the end of the file.
    fn line(&mut self) -> Result<Option<String>, RowError> {
        self.buffer.clear();
        let read = |line| move |source| RowError::Read { line, source };
        let limit = LINE_BYTES_MAX as u64 + 1;
        let taken = self.reader.by_ref().take(limit).read_until(b'\n', &mut self.buffer).map_err(read(self.line))?;
        if taken == 0 {
            return Ok(None);
        }
        self.line += 1;
        if self.buffer.last() != Some(&b'\n') && taken > LINE_BYTES_MAX {
            self.skip_line().map_err(read(self.line))?;
            return Err(RowError::LineTooLong { line: self.line });
        }
        let text = std::str::from_utf8(&self.buffer).map_err(|_| RowError::NotRecord { line: self.line })?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        let text = if self.line == 1 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
        Ok(Some(text.to_owned()))
    }

    /// Passes over the rest of a line, however long, without keeping it.
    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let held = self.reader.fill_buf()?;
            if held.is_empty() {
                return Ok(());
            }
            let (used, done) = match held.iter().position(|byte| *byte == b'\n') {
                Some(place) => (place + 1, true),
                None => (held.len(), false),
            };
            self.reader.consume(used);
            if done {
                return Ok(());
            }
        }
    }

    fn row(&mut self) -> Result<Option<Row>, RowError> {
        let columns = match self.columns {
            Some(columns) => columns,
            None => self.header()?,
        };
        loop {
            let Some(text) = self.line()? else { return Ok(None) };
            if !text.trim().is_empty() {
                return self.parse(&text, columns).map(Some);
            }
        }
    }

    fn header(&mut self) -> Result<Columns, RowError> {
        self.ended = true;
        let text = self.line()?.unwrap_or_default();
        let names = fields(&text).ok_or(RowError::NotRecord { line: self.line })?;
        let find = |column: &'static str| {
            names.iter().position(|name| name.trim().eq_ignore_ascii_case(column)).ok_or(RowError::NoColumn { column })
        };
        let columns = Columns { timestamp: find("timestamp")?, value: find("value")? };
        self.columns = Some(columns);
        self.ended = false;
        Ok(columns)
    }

    fn parse(&self, text: &str, columns: Columns) -> Result<Row, RowError> {
        let line = self.line;
        let fields = fields(text).ok_or(RowError::NotRecord { line })?;
        let field = |place: usize, column| {
            fields.get(place).map(|field| field.trim()).ok_or(RowError::NoField { line, column })
        };
        let timestamp = field(columns.timestamp, "timestamp")?;
        let value = field(columns.value, "value")?;
        let at_s = parse_time(timestamp).ok_or_else(|| RowError::NotTime { line, text: excerpt(timestamp) })?;
        let missing = MISSING.iter().any(|word| value.eq_ignore_ascii_case(word));
        let value = if missing {
            f64::NAN
        } else {
            value.parse().map_err(|_| RowError::NotNumber { line, text: excerpt(value) })?
        };
        Ok(Row { line, timestamp: timestamp.to_owned(), at_s, value })
    }
}

impl<R: BufRead> Iterator for Rows<R> {
    type Item = Result<Row, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let row = self.row().transpose();
        self.ended |= matches!(row, None | Some(Err(RowError::Read { .. })));
        row
    }
}

/// A moment in seconds since 1970-01-01 00:00 UTC: `YYYY-MM-DD HH:MM:SS[.fff]` (read as UTC), RFC 3339 (section 5.6: `T` or a
/// space between date and time, `Z` or an offset behind), or a finite number of seconds, which is taken as it is.
pub fn parse_time(text: &str) -> Option<f64> {
    if !text.contains(':') {
        return text.parse().ok().filter(|seconds: &f64| seconds.is_finite());
    }
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let mut date = date.split('-');
    let (year, month, day) = (digits(date.next()?, 4)?, digits(date.next()?, 2)?, digits(date.next()?, 2)?);
    if date.next().is_some() || !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    let (clock, offset_s) = offset(rest)?;
    let mut clock = clock.split(':');
    let (hour, minute, second) = (digits(clock.next()?, 2)?, digits(clock.next()?, 2)?, clock.next()?);
    let (second, fraction) = match second.split_once('.') {
        Some((second, fraction)) => (second, fraction),
        None => (second, "0"),
    };
    // A leap second is 60 (RFC 3339, appendix D).
    let second = digits(second, 2)?;
    if clock.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let whole =
        fraction.bytes().all(|byte| byte.is_ascii_digit()) && (1..=FRACTION_DIGITS_MAX).contains(&fraction.len());
    let fraction: f64 = if whole { format!("0.{fraction}").parse().ok()? } else { return None };
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset_s;
    Some(seconds as f64 + fraction)
}

/// The clock without its offset, and the offset in seconds east of UTC.
fn offset(rest: &str) -> Option<(&str, i64)> {
    if let Some(clock) = rest.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(place) = rest.rfind(['+', '-']) else { return Some((rest, 0)) };
    let (clock, offset) = rest.split_at_checked(place)?;
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    (hours < 24 && minutes < 60).then_some((clock, sign * (hours * 3600 + minutes * 60)))
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let valid = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if valid { text.parse().ok() } else { None }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the proleptic Gregorian calendar before a date from year 0 on, less those before 1970-01-01.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let leap = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    let months: i64 = (1..month).map(|earlier| days_in(year, earlier)).sum();
    before * 365 + leap + months + day - DAYS_BEFORE_EPOCH
}

/// The fields of a record on one line (RFC 4180, section 2); `None` where a quote is left open.
fn fields(text: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    fields.push(field);
    (!quoted).then_some(fields)
}

fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT_CHARS).map(|character| if character.is_control() { '?' } else { character }).collect()
}

/// Bytes of the longest line that is read, its end not counted.
pub const LINE_BYTES_MAX: usize = 65_536;
/// Characters of a bad field that an error repeats.
const EXCERPT_CHARS: usize = 40;
const FRACTION_DIGITS_MAX: usize = 12;
/// From 0001-01-01 to 1970-01-01, and one, since days count from 1.
const DAYS_BEFORE_EPOCH: i64 = 719_163;
const MISSING: [&str; 4] = ["", "nan", "null", "na"];
