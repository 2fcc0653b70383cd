//! Apache Parquet: the columns of the CSV export, with types, for warehouses.
//!
//! What is written is the plainest of what the format has: one data page a column and row group, values PLAIN, nothing
//! compressed, no column optional, so that no page has levels. Source: `README.md`, `Encodings.md` and
//! `parquet.thrift` of apache/parquet-format 2.10; its metadata are in Thrift's compact protocol.
//!
//! Text is a stranger's (names of files, artifacts): it stands as it is but for control and invisible characters, which
//! are written out, as in the other shapes. Nothing in here is a formula to a spreadsheet before somebody makes it one.

use ringfence_schema::finding::printable;

use super::{TEXT_CHARS_MAX, reason};
use crate::trail::{Decided, ShownEntry};

/// What every file begins and ends with.
pub(super) const MAGIC: &[u8] = b"PAR1";
/// Entries of one row group: what is held in memory until it is written.
const GROUP_ROWS: usize = 4_096;

/// Types as `parquet.thrift` numbers them.
const INT64: i64 = 2;
const BYTE_ARRAY: i64 = 6;
const PLAIN: i64 = 0;
const RLE: i64 = 3;
/// `ConvertedType`: what the bytes or the number stand for, for readers that know no logical types.
const UTF8: i64 = 0;
const TIMESTAMP_MILLIS: i64 = 9;
const UINT_64: i64 = 14;

/// A column: its name and what is in it.
struct Column {
    name: &'static str,
    holds: Holds,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Text,
    Count,
    Moment,
}

const fn column(name: &'static str, holds: Holds) -> Column {
    Column { name, holds }
}

/// As in the CSV; an entry that is of no other has `of` equal to its own index.
const COLUMNS: [Column; 12] = [
    column("index", Holds::Count),
    column("leaf", Holds::Text),
    column("time", Holds::Moment),
    column("kind", Holds::Text),
    column("action", Holds::Text),
    column("actor", Holds::Text),
    column("decision", Holds::Text),
    column("outcome", Holds::Text),
    column("of", Holds::Count),
    column("subject", Holds::Text),
    column("reason", Holds::Text),
    column("state", Holds::Text),
];

/// A file in the making.
#[derive(Default)]
pub(super) struct Table {
    /// The values of each column of the present row group, encoded.
    values: [Vec<u8>; COLUMNS.len()],
    rows: usize,
    /// Where the next byte of the file will stand.
    at: usize,
    groups: Vec<Group>,
}

/// A row group that is written.
struct Group {
    rows: usize,
    /// Where each column's page begins, and how many bytes it has with its header.
    chunks: [(usize, usize); COLUMNS.len()],
}

impl Table {
    /// The first bytes of the file.
    pub(super) fn begin(&mut self) -> Vec<u8> {
        self.at = MAGIC.len();
        MAGIC.to_vec()
    }

    /// Takes an entry; the bytes are empty until a row group is full.
    pub(super) fn row(&mut self, shown: &ShownEntry) -> Vec<u8> {
        let entry = &shown.entry;
        let text = |text: &str| {
            let text = printable(text, TEXT_CHARS_MAX);
            let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
            [&length.to_le_bytes(), text.as_bytes()].concat()
        };
        let count = |number: u64| number.to_le_bytes().to_vec();
        let row = [
            count(shown.index),
            text(&shown.leaf.to_string()),
            count(entry.time.millis()),
            text(&format!("{:?}", entry.kind).to_lowercase()),
            text(&entry.action),
            text(&entry.actor),
            text(Decided::of(entry).word()),
            text(shown.word()),
            count(entry.of.unwrap_or(shown.index)),
            text(shown.subject()),
            text(&reason(shown)),
            text(&entry.state.to_string()),
        ];
        for (column, value) in self.values.iter_mut().zip(row) {
            column.extend(value);
        }
        self.rows += 1;
        if self.rows == GROUP_ROWS { self.group() } else { Vec::new() }
    }

    /// What is left, and the footer.
    pub(super) fn end(mut self) -> Vec<u8> {
        let mut bytes = if self.rows == 0 { Vec::new() } else { self.group() };
        let footer = self.footer();
        let length = u32::try_from(footer.len()).unwrap_or(u32::MAX);
        bytes.extend(footer);
        bytes.extend(length.to_le_bytes());
        bytes.extend(MAGIC);
        bytes
    }

    /// The row group that was collected.
    fn group(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut chunks = [(0, 0); COLUMNS.len()];
        for (values, chunk) in self.values.iter_mut().zip(&mut chunks) {
            let values = std::mem::take(values);
            let mut header = Compact::default();
            // PageHeader: type DATA_PAGE, both sizes, DataPageHeader.
            header.number(1, 0, Wide::I32).number(2, signed(values.len()), Wide::I32);
            header.number(3, signed(values.len()), Wide::I32);
            header.inside(5, |page| {
                page.number(1, signed(self.rows), Wide::I32).number(2, PLAIN, Wide::I32);
                page.number(3, RLE, Wide::I32).number(4, RLE, Wide::I32);
            });
            let header = header.end();
            *chunk = (self.at + bytes.len(), header.len() + values.len());
            bytes.extend(header);
            bytes.extend(values);
        }
        self.at += bytes.len();
        self.groups.push(Group { rows: std::mem::take(&mut self.rows), chunks });
        bytes
    }

    /// FileMetaData: version, schema, rows, row groups, who made it.
    fn footer(&self) -> Vec<u8> {
        let mut file = Compact::default();
        file.number(1, 1, Wide::I32);
        file.list(2, COLUMNS.len() + 1, |element, at| match at.checked_sub(1).and_then(|at| COLUMNS.get(at)) {
            None => {
                element.text(4, "entries").number(5, signed(COLUMNS.len()), Wide::I32);
            }
            Some(column) => column.element(element),
        });
        file.number(3, signed(self.groups.iter().map(|group| group.rows).sum()), Wide::I64);
        file.list(4, self.groups.len(), |group, at| {
            if let Some(known) = self.groups.get(at) {
                known.write(group);
            }
        });
        file.text(6, concat!("ringfence ", env!("CARGO_PKG_VERSION")));
        file.end()
    }
}

impl Column {
    fn physical(&self) -> i64 {
        if self.holds == Holds::Text { BYTE_ARRAY } else { INT64 }
    }

    /// SchemaElement: type, REQUIRED, name, converted type.
    fn element(&self, element: &mut Compact) {
        let converted = match self.holds {
            Holds::Text => UTF8,
            Holds::Count => UINT_64,
            Holds::Moment => TIMESTAMP_MILLIS,
        };
        element.number(1, self.physical(), Wide::I32).number(3, 0, Wide::I32).text(4, self.name);
        element.number(6, converted, Wide::I32);
    }
}

impl Group {
    /// RowGroup: its columns, its bytes, its rows.
    fn write(&self, group: &mut Compact) {
        group.list(1, COLUMNS.len(), |chunk, at| {
            let (Some((from, length)), Some(column)) = (self.chunks.get(at), COLUMNS.get(at)) else { return };
            // ColumnChunk: where it is, and ColumnMetaData: type, encodings, path, codec, values, sizes, its page.
            chunk.number(2, signed(*from), Wide::I64).inside(3, |meta| {
                meta.number(1, column.physical(), Wide::I32).numbers(2, &[PLAIN, RLE]).texts(3, &[column.name]);
                meta.number(4, 0, Wide::I32).number(5, signed(self.rows), Wide::I64);
                meta.number(6, signed(*length), Wide::I64).number(7, signed(*length), Wide::I64);
                meta.number(9, signed(*from), Wide::I64);
            });
        });
        group.number(2, signed(self.chunks.iter().map(|(_, length)| length).sum()), Wide::I64);
        group.number(3, signed(self.rows), Wide::I64);
    }
}

/// Lengths and positions of files that fit a disk.
fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// How wide a number is: Thrift tells them apart, though both are written as varints.
#[derive(Clone, Copy)]
enum Wide {
    I32 = 5,
    I64 = 6,
}

/// Types of the compact protocol.
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// A struct in Thrift's compact protocol (`thrift-compact-protocol.md`), its fields in ascending order.
#[derive(Default)]
struct Compact {
    bytes: Vec<u8>,
    last: u8,
}

impl Compact {
    /// The head of field `id`; ids are at most 15 apart here.
    fn field(&mut self, id: u8, kind: u8) {
        self.bytes.push((id.wrapping_sub(self.last) << 4) | kind);
        self.last = id;
    }

    fn number(&mut self, id: u8, number: i64, wide: Wide) -> &mut Self {
        self.field(id, wide as u8);
        self.varint(zigzag(number));
        self
    }

    fn text(&mut self, id: u8, text: &str) -> &mut Self {
        self.field(id, BINARY);
        self.binary(text);
        self
    }

    fn inside(&mut self, id: u8, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.field(id, STRUCT);
        self.structure(fill);
        self
    }

    fn list(&mut self, id: u8, length: usize, mut fill: impl FnMut(&mut Self, usize)) -> &mut Self {
        self.list_head(id, length, STRUCT);
        for at in 0..length {
            self.structure(|element| fill(element, at));
        }
        self
    }

    fn numbers(&mut self, id: u8, numbers: &[i64]) -> &mut Self {
        self.list_head(id, numbers.len(), Wide::I32 as u8);
        for number in numbers {
            self.varint(zigzag(*number));
        }
        self
    }

    fn texts(&mut self, id: u8, texts: &[&str]) -> &mut Self {
        self.list_head(id, texts.len(), BINARY);
        for text in texts {
            self.binary(text);
        }
        self
    }

    fn list_head(&mut self, id: u8, length: usize, kind: u8) {
        self.field(id, LIST);
        if let Ok(short @ 0..15) = u8::try_from(length) {
            self.bytes.push((short << 4) | kind);
        } else {
            self.bytes.push(0xf0 | kind);
            self.varint(length as u64);
        }
    }

    fn structure(&mut self, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes.extend(inner.end());
    }

    fn binary(&mut self, text: &str) {
        self.varint(text.len() as u64);
        self.bytes.extend(text.as_bytes());
    }

    fn varint(&mut self, mut number: u64) {
        while number > 0x7f {
            self.bytes.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.bytes.push(number.to_le_bytes()[0]);
    }

    /// The struct with its stop.
    fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

/// Small numbers of either sign as small numbers.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}
