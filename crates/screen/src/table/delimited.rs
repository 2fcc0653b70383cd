//! CSV by RFC 4180, and what is like it: other delimiters, and tab-separated values without quoting.
//!
//! [`split`] finds records, [`visit`] their cells; both walk with the same field scanner, so they cannot disagree.

#![deny(clippy::indexing_slicing)]

use std::{borrow::Cow, collections::HashSet, ops::Range};

use super::{COLUMNS_MAX, Cell, Flaw, most_common, number};

/// How fields are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) delimiter: u8,
    /// Tab-separated values know no quoting (IANA `text/tab-separated-values`).
    pub(crate) quoting: bool,
}

/// The records of a file.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub(crate) records: Vec<Range<usize>>,
    pub(crate) blank: u64,
    pub(crate) unclosed: bool,
}

/// Finds the delimiter that splits the first lines most evenly.
pub(crate) fn recognise(body: &[u8]) -> Dialect {
    let sample = body.get(..body.len().min(SAMPLE_BYTES)).unwrap_or(body);
    let mut best = (0.0, Dialect { delimiter: b',', quoting: true });
    for delimiter in [b',', b'\t', b';', b'|'] {
        let dialect = Dialect { delimiter, quoting: delimiter != b'\t' };
        let mut lines = split(sample, dialect, SAMPLE_RECORDS);
        if sample.len() < body.len() && lines.records.len() > 1 {
            lines.records.pop();
        }
        let counts: Vec<usize> = lines
            .records
            .iter()
            .map(|range| texts(sample.get(range.clone()).unwrap_or(&[]), dialect).len() - 1)
            .collect();
        let Some(mode) = most_common(&counts).filter(|mode| *mode > 0) else { continue };
        let share = counts.iter().filter(|count| **count == mode).count() as f64 / counts.len() as f64;
        if share > best.0 {
            best = (share, dialect);
        }
    }
    best.1
}

/// Cuts `body` into at most `records_max` records.
pub(crate) fn split(body: &[u8], dialect: Dialect, records_max: usize) -> Lines {
    let mut lines = Lines::default();
    let mut at = 0;
    while at < body.len() && lines.records.len() < records_max {
        let start = at;
        loop {
            let field = scan(body, at, dialect);
            at = field.next;
            lines.unclosed |= field.unclosed;
            if field.ends_record {
                break;
            }
        }
        let blank = body.get(start..at).unwrap_or(&[]).iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        if blank { lines.blank += 1 } else { lines.records.push(start..at) }
    }
    lines
}

/// Hands the cells of one record to `take`.
pub(crate) fn visit(
    record: &[u8],
    dialect: Dialect,
    columns: usize,
    take: &mut dyn FnMut(usize, Cell<'_>),
) -> Option<Flaw> {
    let mut flaw = None;
    let mut cells = 0;
    let mut at = 0;
    loop {
        let field = scan(record, at, dialect);
        let text = value(record, &field);
        if field.ambiguous {
            flaw = Some(Flaw::AmbiguousQuotes);
        }
        if cells < columns {
            match cell(text) {
                Ok(cell) => take(cells, cell),
                Err(cell) => {
                    flaw = Some(Flaw::NotUtf8);
                    take(cells, cell);
                }
            }
        }
        cells += 1;
        at = field.next;
        if field.ends_record {
            break;
        }
    }
    if cells == columns { flaw } else { Some(Flaw::Ragged { cells, columns }) }
}

/// Hands the cells of one record to `take` as they were written, unquoted; at most [`COLUMNS_MAX`] of them.
pub(crate) fn fields(record: &[u8], dialect: Dialect, take: &mut dyn FnMut(usize, Cow<'_, [u8]>)) {
    let mut at = 0;
    for column in 0..COLUMNS_MAX {
        let field = scan(record, at, dialect);
        take(column, value(record, &field));
        at = field.next;
        if field.ends_record {
            return;
        }
    }
}

/// The cells of one record as text, at most [`COLUMNS_MAX`] and one more.
pub(crate) fn texts(record: &[u8], dialect: Dialect) -> Vec<String> {
    let mut out = Vec::new();
    let mut at = 0;
    loop {
        let field = scan(record, at, dialect);
        out.push(String::from_utf8_lossy(&value(record, &field)).into_owned());
        at = field.next;
        if field.ends_record || out.len() > COLUMNS_MAX {
            return out;
        }
    }
}

/// Whether `first` names the columns of the records in `sample`.
pub(crate) fn looks_like_header(first: &[String], sample: &[Vec<String>]) -> bool {
    let names: HashSet<&str> = first.iter().map(|name| name.trim()).collect();
    let plausible = names.len() == first.len()
        && first.iter().all(|name| {
            let name = name.trim();
            !name.is_empty() && name.chars().count() <= NAME_CHARS_MAX && number::parse(name.as_bytes()).is_none()
        });
    if !plausible || sample.is_empty() {
        // Column names that are all different numbers do occur (`0,1,2,…`), but so do records of different numbers.
        return false;
    }
    let column = |at: usize| sample.iter().filter_map(move |row| row.get(at));
    let numeric_below = (0..first.len())
        .any(|at| column(at).filter(|text| number::parse(text.as_bytes()).is_some()).count() * 2 > sample.len());
    let recurs = first.iter().enumerate().any(|(at, name)| column(at).any(|text| text.trim() == name.trim()));
    let known = first.iter().any(|name| is_known_name(name.trim()));
    numeric_below || known || (!recurs && first.len() > 1 && first.iter().all(|name| is_identifier(name.trim())))
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts about one field")]
struct Field {
    content: Range<usize>,
    quoted: bool,
    escaped: bool,
    /// Text behind the closing quote, or a quote inside an unquoted field: loaders disagree on these.
    ambiguous: bool,
    unclosed: bool,
    next: usize,
    ends_record: bool,
}

/// Reads the field that starts at `at`. Line ends are `\n`, `\r\n` and a lone `\r`, as common loaders have it.
fn scan(bytes: &[u8], at: usize, dialect: Dialect) -> Field {
    let mut field = Field {
        content: at..at,
        quoted: false,
        escaped: false,
        ambiguous: false,
        unclosed: false,
        next: at,
        ends_record: true,
    };
    let mut from = at;
    if dialect.quoting && bytes.get(at) == Some(&b'"') {
        field.quoted = true;
        let mut cursor = at + 1;
        loop {
            match bytes.get(cursor..).and_then(|rest| memchr::memchr(b'"', rest)) {
                None => {
                    field.unclosed = true;
                    (field.content, field.next) = (at + 1..bytes.len(), bytes.len());
                    return field;
                }
                Some(found) if bytes.get(cursor + found + 1) == Some(&b'"') => {
                    field.escaped = true;
                    cursor += found + 2;
                }
                Some(found) => {
                    field.content = at + 1..cursor + found;
                    from = cursor + found + 1;
                    break;
                }
            }
        }
    }
    let rest = bytes.get(from..).unwrap_or(&[]);
    let stop = rest.iter().position(|byte| *byte == dialect.delimiter || matches!(byte, b'\n' | b'\r'));
    let end = from + stop.unwrap_or(rest.len());
    if field.quoted {
        field.ambiguous = end > from;
    } else {
        field.content = at..end;
        let text = bytes.get(at..end).unwrap_or(&[]);
        field.ambiguous = dialect.quoting && text.trim_ascii_start().starts_with(b"\"");
    }
    match bytes.get(end) {
        None => field.next = bytes.len(),
        Some(b'\n') => field.next = end + 1,
        Some(b'\r') => field.next = if bytes.get(end + 1) == Some(&b'\n') { end + 2 } else { end + 1 },
        Some(_) => (field.next, field.ends_record) = (end + 1, false),
    }
    field
}

fn value<'a>(bytes: &'a [u8], field: &Field) -> Cow<'a, [u8]> {
    let raw = bytes.get(field.content.clone()).unwrap_or(&[]);
    if !field.escaped {
        return Cow::Borrowed(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut quote_before = false;
    for byte in raw {
        // Inside a closed field quotes come in pairs; each pair stands for one.
        if *byte == b'"' && quote_before {
            quote_before = false;
            continue;
        }
        quote_before = *byte == b'"';
        out.push(*byte);
    }
    Cow::Owned(out)
}

/// The cell of these bytes; `Err` holds the lossy text of what is not UTF-8.
fn cell(text: Cow<'_, [u8]>) -> Result<Cell<'_>, Cell<'_>> {
    let trimmed = text.trim_ascii();
    if is_missing(trimmed) {
        return Ok(Cell::Missing);
    }
    if let Some(value) = number::parse(trimmed) {
        return Ok(Cell::Number(value));
    }
    match trimmed {
        b"true" | b"True" | b"TRUE" => return Ok(Cell::Boolean(true)),
        b"false" | b"False" | b"FALSE" => return Ok(Cell::Boolean(false)),
        _ => {}
    }
    match text {
        Cow::Borrowed(raw) => match std::str::from_utf8(raw) {
            Ok(text) => Ok(Cell::Text(Cow::Borrowed(text))),
            Err(_) => Err(Cell::Text(String::from_utf8_lossy(raw).into_owned().into())),
        },
        Cow::Owned(raw) => match String::from_utf8(raw) {
            Ok(text) => Ok(Cell::Text(Cow::Owned(text))),
            Err(broken) => Err(Cell::Text(String::from_utf8_lossy(broken.as_bytes()).into_owned().into())),
        },
    }
}

/// The spellings of "no value" that common loaders share.
pub(crate) fn is_missing(text: &[u8]) -> bool {
    matches!(text, b"" | b"?" | b"NA" | b"N/A" | b"NaN" | b"nan" | b"null" | b"NULL" | b"None")
}

fn is_known_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    crate::dataset::LABEL_NAMES.contains(&name.as_str()) || matches!(name.as_str(), "text" | "id" | "message")
}

fn is_identifier(name: &str) -> bool {
    name.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | '(' | ')' | '/'))
        && name.split_whitespace().count() <= 4
}

const SAMPLE_BYTES: usize = 1 << 18;
const SAMPLE_RECORDS: usize = 200;
const NAME_CHARS_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COMMA: Dialect = Dialect { delimiter: b',', quoting: true };

    #[test]
    fn quoting_follows_rfc_4180() {
        let body = b"a,\"b,\n\"\"c\"\"\",d\r\n\n1,2,3\rx";
        let lines = split(body, COMMA, 10);
        assert_eq!((lines.records.len(), lines.blank, lines.unclosed), (3, 1, false));
        assert_eq!(texts(&body[lines.records[0].clone()], COMMA), ["a", "b,\n\"c\"", "d"]);
        assert!(split(b"a,\"b\nc", COMMA, 10).unclosed);
    }

    #[test]
    fn ambiguous_and_ragged_records_are_told() {
        let mut sink = |_: usize, _: Cell<'_>| {};
        assert_eq!(visit(b"\"a\"b,c\n", COMMA, 2, &mut sink), Some(Flaw::AmbiguousQuotes));
        assert_eq!(visit(b"a, \"b\"\n", COMMA, 2, &mut sink), Some(Flaw::AmbiguousQuotes));
        assert_eq!(visit(b"a,b,c\n", COMMA, 2, &mut sink), Some(Flaw::Ragged { cells: 3, columns: 2 }));
        assert_eq!(visit(b"\xff,b\n", COMMA, 2, &mut sink), Some(Flaw::NotUtf8));
        assert_eq!(visit(b"a,\"b\"\n", COMMA, 2, &mut sink), None);
    }

    #[test]
    fn headers_are_told_from_records() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        assert!(looks_like_header(&row(&["p0", "p1"]), &[row(&["1", "2"])]));
        assert!(looks_like_header(&row(&["text", "category"]), &[row(&["my card", "lost"])]));
        assert!(!looks_like_header(&row(&["0", "5"]), &[row(&["1", "2"])]));
        assert!(!looks_like_header(&row(&["ham", "Go now"]), &[row(&["ham", "Ok"]), row(&["spam", "Win"])]));
        assert_eq!(recognise(b"ham\tGo, now\nspam\tfree\n").delimiter, b'\t');
        assert_eq!(recognise(b"a;1,5\nb;2\n").delimiter, b';');
    }

    proptest! {
        #[test]
        fn records_cover_the_file_in_order(body in "[a,\"\r\n ]{0,60}") {
            let lines = split(body.as_bytes(), COMMA, 1000);
            let mut at = 0;
            for range in lines.records {
                prop_assert!(range.start >= at && range.end > range.start);
                prop_assert!(body.as_bytes()[at..range.start].iter().all(|b| matches!(b, b'\r' | b'\n')));
                at = range.end;
            }
            prop_assert!(body.as_bytes()[at..].iter().all(|b| matches!(b, b'\r' | b'\n')));
        }
    }
}
