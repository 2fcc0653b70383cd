//! A dataset in memory: its bytes, where each record lies in them, and its cells.
//!
//! [`Table::read`] takes a stranger's bytes (gzip or not), recognises CSV, JSONL or IDX, and finds the records.
//! [`Table::visit`] hands out one record's cells, parsed from the bytes each time, so that memory stays near the size of
//! the data. What must stay true: every byte of the file belongs to the header, to exactly one record, or to the filler
//! between records, so that a record can be cut out without touching any other byte.
//!
//! Absent on purpose: Parquet, JSON arrays, UTF-16, and reading in pieces (a dataset beyond [`BYTES_MAX`] is refused).

#![deny(clippy::indexing_slicing)]

pub(crate) mod delimited;
pub(crate) mod json;
pub(crate) mod number;

use std::{
    borrow::Cow,
    collections::HashMap,
    io::{Read, Seek, SeekFrom},
    ops::Range,
};

use ringfence_format::{
    codec::{self, Codec, End},
    idx::Idx,
};
use ringfence_schema::{Finding, Place, Severity, finding::printable};

use crate::{
    error::ScreenError,
    options::{Header, Options},
    rules,
};
use delimited::Dialect;

/// Most bytes of a dataset after decompression.
pub const BYTES_MAX: u64 = 4 << 30;
/// Most data records.
pub const RECORDS_MAX: usize = 20_000_000;
/// Most columns, pixels or JSON paths of a record.
pub const COLUMNS_MAX: usize = 65_536;
/// Most bytes of one CSV or JSONL record. A longer one is filtered unread.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// The container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    Csv(Dialect),
    Jsonl,
    Idx,
}

impl Format {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Csv(_) => "csv",
            Self::Jsonl => "jsonl",
            Self::Idx => "idx",
        }
    }
}

/// One value of a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell<'a> {
    Missing,
    Number(f64),
    Boolean(bool),
    Text(Cow<'a, str>),
}

/// What is wrong with the form of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// More or fewer cells than columns.
    Ragged { cells: usize, columns: usize },
    /// Quotes that loaders read differently.
    AmbiguousQuotes,
    /// Not UTF-8.
    NotUtf8,
    /// The same key twice in one object.
    DuplicateKey(String),
    /// Cannot be read at all.
    Unreadable(String),
}

impl Flaw {
    /// Whether the record's cells cannot be trusted at all.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(self, Self::Unreadable(_))
    }
}

/// A dataset in memory.
pub(crate) struct Table {
    pub(crate) format: Format,
    pub(crate) compressed: bool,
    pub(crate) bytes: Vec<u8>,
    /// Where each record lies in `bytes`, with its line end.
    pub(crate) records: Vec<Range<usize>>,
    pub(crate) names: Vec<String>,
    pub(crate) named: bool,
    pub(crate) findings: Vec<Finding>,
    pub(crate) complete: bool,
    /// Dimensions of an IDX item.
    pub(crate) item_dims: Vec<usize>,
    pub(crate) labels: Option<Vec<u8>>,
    paths: HashMap<String, usize>,
}

impl Table {
    /// Reads the whole of `reader` from its start.
    pub(crate) fn read(reader: &mut (impl Read + Seek), options: &Options) -> Result<Self, ScreenError> {
        reader.seek(SeekFrom::Start(0))?;
        let content = inflate(reader)?;
        let mut table = Self {
            format: Format::Jsonl,
            compressed: content.compressed,
            bytes: content.bytes,
            records: Vec::new(),
            names: Vec::new(),
            named: false,
            findings: Vec::new(),
            complete: true,
            item_dims: Vec::new(),
            labels: None,
            paths: HashMap::new(),
        };
        if content.trailing {
            let message = "bytes lie behind the last gzip member";
            table.findings.push(finding(&rules::FORM_HIDDEN, message, Place::default()));
        }
        match recognise(&table.bytes)? {
            Kind::Idx => table.index_idx(options)?,
            Kind::Jsonl => table.index_jsonl()?,
            Kind::Csv => table.index_csv(options.header)?,
        }
        if table.records.is_empty() {
            return Err(ScreenError::Empty);
        }
        Ok(table)
    }

    /// Number of data records.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// The bytes of a record, with its line end.
    pub(crate) fn raw(&self, record: usize) -> &[u8] {
        self.records.get(record).and_then(|range| self.bytes.get(range.clone())).unwrap_or(&[])
    }

    /// Hands the cells of `record` to `take` as (column, cell), and says what is wrong with the record's form.
    pub(crate) fn visit(&self, record: usize, take: &mut dyn FnMut(usize, Cell<'_>)) -> Option<Flaw> {
        let raw = self.raw(record);
        if !matches!(self.format, Format::Idx) && raw.len() > RECORD_BYTES_MAX {
            return Some(Flaw::Unreadable(format!("{} bytes, limit is {RECORD_BYTES_MAX}", raw.len())));
        }
        match &self.format {
            Format::Idx => {
                if let Ok(idx) = Idx::parse(&self.bytes) {
                    let values = idx.values(record);
                    values.enumerate().for_each(|(column, value)| take(column, Cell::Number(value)));
                }
                if let Some(label) = self.labels.as_deref().and_then(|labels| idx_label(labels, record)) {
                    take(self.names.len().saturating_sub(1), Cell::Number(label));
                }
                None
            }
            Format::Csv(dialect) => delimited::visit(raw, *dialect, self.names.len(), take),
            Format::Jsonl => match json::parse(raw) {
                Err(flaw) => Some(flaw),
                Ok(json::Line { value, duplicate }) => {
                    json::flatten(&value, &mut |path, cell| {
                        if let Some(column) = self.paths.get(path) {
                            take(*column, cell);
                        }
                    });
                    duplicate.map(Flaw::DuplicateKey)
                }
            },
        }
    }

    fn index_idx(&mut self, options: &Options) -> Result<(), ScreenError> {
        let idx = Idx::parse(&self.bytes)?;
        let (start, item, count) = (idx.header().bytes(), idx.item_bytes(), idx.len());
        let columns = idx.header().item_elements().unwrap_or(0);
        let trailing = idx.trailing();
        self.item_dims = idx.header().item_dims().iter().filter_map(|dim| usize::try_from(*dim).ok()).collect();
        within("records", count, RECORDS_MAX)?;
        within("columns", columns, COLUMNS_MAX - 1)?;
        self.format = Format::Idx;
        self.records = (0..count).map(|i| start + i * item..start + (i + 1) * item).collect();
        self.names = (0..columns).map(|pixel| format!("pixel {pixel}")).collect();
        if trailing > 0 {
            self.findings.push(finding(
                &rules::FORM_HIDDEN,
                &format!("{trailing} bytes lie behind the last item"),
                Place { offset: Some((self.bytes.len() - trailing) as u64), ..Place::default() },
            ));
        }
        if let Some(labels) = &options.idx_labels {
            let labels = inflate(&mut labels.as_slice())?.bytes;
            let parsed = Idx::parse(&labels)?;
            if parsed.len() != count || parsed.header().item_elements() != Some(1) {
                return Err(ScreenError::LabelsMismatch { records: count, labels: parsed.len() });
            }
            self.labels = Some(labels);
            self.names.push("label".to_owned());
            self.named = true;
        }
        Ok(())
    }

    fn index_jsonl(&mut self) -> Result<(), ScreenError> {
        let start = if self.bytes.starts_with(BOM) { BOM.len() } else { 0 };
        let mut blank = 0_u64;
        let mut at = start;
        while let Some(rest) = self.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let end = memchr::memchr(b'\n', rest).map_or(self.bytes.len(), |line| at + line + 1);
            let line = self.bytes.get(at..end).unwrap_or(&[]);
            if line.iter().all(u8::is_ascii_whitespace) {
                blank += 1;
            } else {
                within("records", self.records.len() + 1, RECORDS_MAX)?;
                self.records.push(at..end);
            }
            at = end;
        }
        if blank > 0 {
            self.findings.push(finding(&rules::FORM_BLANK, &format!("{blank} blank lines"), Place::default()));
        }
        self.named = true;
        for range in &self.records {
            let raw = self.bytes.get(range.clone()).unwrap_or(&[]);
            if raw.len() > RECORD_BYTES_MAX {
                continue;
            }
            let Ok(line) = json::parse(raw) else { continue };
            let (paths, names) = (&mut self.paths, &mut self.names);
            json::flatten(&line.value, &mut |path, _| {
                if !paths.contains_key(path) && names.len() <= COLUMNS_MAX {
                    paths.insert(path.to_owned(), names.len());
                    names.push(path.to_owned());
                }
            });
            within("columns", self.names.len(), COLUMNS_MAX)?;
        }
        Ok(())
    }

    fn index_csv(&mut self, header: Header) -> Result<(), ScreenError> {
        let start = if self.bytes.starts_with(BOM) { BOM.len() } else { 0 };
        let body = self.bytes.get(start..).unwrap_or(&[]);
        let dialect = delimited::recognise(body);
        let lines = delimited::split(body, dialect, RECORDS_MAX.saturating_add(1));
        within("records", lines.records.len(), RECORDS_MAX)?;
        self.records = lines.records.iter().map(|range| range.start + start..range.end + start).collect();
        if lines.blank > 0 {
            let message = format!("{} blank lines", lines.blank);
            self.findings.push(finding(&rules::FORM_BLANK, &message, Place::default()));
        }
        if lines.unclosed {
            self.complete = false;
            let place = Place { offset: self.records.last().map(|range| range.start as u64), ..Place::default() };
            self.findings.push(finding(&rules::FORM_UNREADABLE, "a quote is never closed", place));
        }
        self.format = Format::Csv(dialect);
        let first = delimited::texts(self.raw(0), dialect);
        let named = match header {
            Header::Present => true,
            Header::Absent => false,
            Header::Guess => {
                let sample: Vec<_> =
                    (1..self.len().min(HEADER_SAMPLE)).map(|i| delimited::texts(self.raw(i), dialect)).collect();
                delimited::looks_like_header(&first, &sample)
            }
        };
        within("columns", first.len(), COLUMNS_MAX)?;
        self.named = named;
        if named {
            self.names = first.into_iter().map(|name| name.trim().to_owned()).collect();
            self.records.remove(0);
        } else {
            // A ragged first line must not decide the width of the table.
            let widths: Vec<usize> =
                (0..self.len().min(HEADER_SAMPLE)).map(|i| delimited::texts(self.raw(i), dialect).len()).collect();
            let width = most_common(&widths).unwrap_or(first.len());
            within("columns", width, COLUMNS_MAX)?;
            self.names = (0..width).map(|column| column.to_string()).collect();
        }
        Ok(())
    }
}

/// A file's bytes, inflated if it was gzip.
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    pub(crate) compressed: bool,
    /// Bytes behind the last gzip member.
    pub(crate) trailing: bool,
}

/// Reads all of `reader`, inflating gzip members, up to [`BYTES_MAX`].
pub(crate) fn inflate(reader: &mut impl Read) -> Result<Content, ScreenError> {
    let mut magic = Vec::new();
    reader.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut magic)?;
    let compressed = magic == GZIP_MAGIC;
    let mut whole = magic.as_slice().chain(reader);
    if compressed {
        let inflated = codec::inflate(&mut whole, Codec::Gzip, BYTES_MAX)?;
        return match inflated.end {
            End::TooLarge => Err(ScreenError::TooLarge { limit: BYTES_MAX }),
            End::Broken => Err(ScreenError::BrokenGzip { good: inflated.bytes.len() as u64 }),
            end => Ok(Content { bytes: inflated.bytes, compressed, trailing: end == End::Trailing }),
        };
    }
    let mut bytes = Vec::new();
    if whole.take(BYTES_MAX + 1).read_to_end(&mut bytes)? as u64 > BYTES_MAX {
        return Err(ScreenError::TooLarge { limit: BYTES_MAX });
    }
    Ok(Content { bytes, compressed, trailing: false })
}

/// The label of `record` in a parsed labels file.
pub(crate) fn idx_label(labels: &[u8], record: usize) -> Option<f64> {
    Idx::parse(labels).ok()?.values(record).next()
}

/// A finding of `rule` with this message and place.
pub(crate) fn finding(rule: &rules::Rule, message: &str, place: Place) -> Finding {
    Finding {
        rule: rule.id.to_owned(),
        severity: rule.severity.unwrap_or(Severity::Info),
        message: printable(message, MESSAGE_CHARS_MAX),
        place,
        evidence: Vec::new(),
        why: rule.why.to_owned(),
        remedy: rule.remedy.to_owned(),
        waived: None,
    }
}

pub(crate) fn within(what: &'static str, count: usize, limit: usize) -> Result<(), ScreenError> {
    if count > limit { Err(ScreenError::TooMany { what, limit }) } else { Ok(()) }
}

enum Kind {
    Idx,
    Jsonl,
    Csv,
}

fn recognise(bytes: &[u8]) -> Result<Kind, ScreenError> {
    let unrecognised = |detail| Err(ScreenError::Unrecognised { detail });
    if let [0, 0, 0x08..=0x0e, 1..=8, ..] = bytes {
        return Ok(Kind::Idx);
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return unrecognised("UTF-16 text; UTF-8 is read");
    }
    let sample = bytes.get(..bytes.len().min(RECOGNISE_BYTES)).unwrap_or(&[]);
    if memchr::memchr(0, sample).is_some() {
        return unrecognised("there are zero bytes near the start");
    }
    let text = sample.strip_prefix(BOM).unwrap_or(sample).trim_ascii_start();
    match text.first() {
        Some(b'{') => Ok(Kind::Jsonl),
        Some(b'[') => unrecognised("a JSON array; one object a line is read"),
        Some(_) => Ok(Kind::Csv),
        None if bytes.len() > sample.len() => unrecognised("only blanks near the start"),
        None => Err(ScreenError::Empty),
    }
}

/// The value that occurs most; the smallest of several.
fn most_common(values: &[usize]) -> Option<usize> {
    let mut counts: HashMap<usize, usize> = HashMap::new();
    for value in values {
        *counts.entry(*value).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(value, count)| (*count, std::cmp::Reverse(*value))).map(|(value, _)| value)
}

const BOM: &[u8] = b"\xef\xbb\xbf";
const GZIP_MAGIC: &[u8] = b"\x1f\x8b";
const RECOGNISE_BYTES: usize = 8192;
const HEADER_SAMPLE: usize = 200;
const MESSAGE_CHARS_MAX: usize = 400;
