//! What the detectors work on: columns with their kinds, the label of each record, numbers as a matrix, texts.
//!
//! [`Dataset::build`] reads every record twice: once for the profile (which finds the label column and the kinds), once to
//! take out what the detectors need. Both passes run on all cores in fixed pieces, so the result never depends on timing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rayon::prelude::*;
use ringfence_schema::finding::printable;

use crate::{
    error::ScreenError,
    options::{Label, Meter, Options},
    table::{Cell, Flaw, Table, within},
};

/// Most label values; a column with more is no label.
pub const CLASSES_MAX: usize = 4096;
/// Most numbers (records times numeric columns) that the detectors work on.
pub const NUMBERS_MAX: usize = 1 << 29;
/// Most categorical values of a column that become features.
pub(crate) const CATEGORIES_MAX: usize = 64;
/// Names that a label column has by custom.
pub(crate) const LABEL_NAMES: &[&str] =
    &["label", "labels", "class", "target", "y", "category", "species", "sentiment"];
/// The class of a record without a label.
pub(crate) const UNLABELLED: u32 = u32::MAX;

/// What one column holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stats {
    pub(crate) numbers: u64,
    pub(crate) booleans: u64,
    pub(crate) texts: u64,
    pub(crate) fractions: u64,
    pub(crate) characters: u64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// First and last number, and whether each was greater than the one before: row numbers do that.
    first: f64,
    last: f64,
    rising: bool,
    /// Hashes of values in the records that the stride hits, at most [`DISTINCT_MAX`] and one more.
    distinct: BTreeSet<u64>,
}

impl Stats {
    pub(crate) fn present(&self) -> u64 {
        self.numbers + self.booleans + self.texts
    }

    /// The kind in the words of the report.
    pub(crate) fn kind(&self) -> &'static str {
        match (self.numbers > 0, self.booleans > 0, self.texts > 0) {
            (false, false, false) => "empty",
            (true, false, false) if self.fractions == 0 => "integer",
            (true, false, false) => "number",
            (false, true, false) => "boolean",
            (false, _, true) => "text",
            _ => "mixed",
        }
    }

    fn is_numeric(&self) -> bool {
        self.numbers > 0 && self.numbers * 50 >= self.present() * 49
    }

    fn is_row_number(&self, records: usize) -> bool {
        self.rising && self.fractions == 0 && self.numbers == records as u64 && records > 2
    }

    fn is_free_text(&self) -> bool {
        self.texts > 0
            && self.texts * 2 > self.present()
            && (self.distinct.len() > CATEGORIES_MAX || self.characters > TEXT_CHARS_MEAN * self.texts)
    }

    fn add(&mut self, cell: &Cell<'_>, sampled: bool) {
        let hash = match cell {
            Cell::Missing => return,
            Cell::Number(value) => {
                self.min = if self.numbers == 0 { *value } else { self.min.min(*value) };
                self.max = if self.numbers == 0 { *value } else { self.max.max(*value) };
                (self.first, self.rising) =
                    if self.numbers == 0 { (*value, true) } else { (self.first, self.rising && *value > self.last) };
                self.last = *value;
                self.numbers += 1;
                self.fractions += u64::from(value.fract() != 0.0);
                value.to_bits()
            }
            Cell::Boolean(value) => {
                self.booleans += 1;
                u64::from(*value)
            }
            Cell::Text(text) => {
                self.texts += 1;
                self.characters += text.len() as u64;
                if sampled { fnv(text.trim().as_bytes()) } else { 0 }
            }
        };
        if sampled && self.distinct.len() <= DISTINCT_MAX {
            self.distinct.insert(hash);
        }
    }

    fn merge(&mut self, next: Self) {
        if next.numbers > 0 {
            if self.numbers == 0 {
                (self.min, self.max, self.first, self.rising) = (next.min, next.max, next.first, next.rising);
            } else {
                self.min = self.min.min(next.min);
                self.max = self.max.max(next.max);
                self.rising = self.rising && next.rising && next.first > self.last;
            }
            self.last = next.last;
        }
        self.numbers += next.numbers;
        self.booleans += next.booleans;
        self.texts += next.texts;
        self.fractions += next.fractions;
        self.characters += next.characters;
        for value in next.distinct {
            if self.distinct.len() <= DISTINCT_MAX {
                self.distinct.insert(value);
            }
        }
    }
}

/// Numbers of all records, row by row; a missing one is NaN.
#[derive(Debug, Default)]
pub(crate) struct Matrix {
    pub(crate) columns: usize,
    pub(crate) data: Vec<f32>,
}

impl Matrix {
    pub(crate) fn row(&self, record: usize) -> &[f32] {
        &self.data[record * self.columns..(record + 1) * self.columns]
    }
}

/// A dataset as the detectors see it.
pub(crate) struct Dataset {
    pub(crate) table: Table,
    pub(crate) stats: Vec<Stats>,
    pub(crate) flaws: BTreeMap<usize, Flaw>,
    pub(crate) label: Option<usize>,
    pub(crate) label_guessed: bool,
    /// Values of the label, sorted; numbers by value.
    pub(crate) classes: Vec<String>,
    /// Class of each record, or [`UNLABELLED`].
    pub(crate) y: Vec<u32>,
    /// Table columns behind the matrix's columns.
    pub(crate) numeric: Vec<usize>,
    pub(crate) numbers: Matrix,
    /// Table columns that hold one of few words, and each record's word (0: none).
    pub(crate) categorical: Vec<usize>,
    pub(crate) categories: Vec<Vec<u16>>,
    /// Table columns of free text.
    pub(crate) text: Vec<usize>,
}

impl Dataset {
    /// Profiles `table` and takes out what detectors need.
    pub(crate) fn build(table: Table, options: &Options, meter: &mut Meter<'_>) -> Result<Self, ScreenError> {
        meter.at("profile", 0, table.len());
        let (stats, flaws) = profile(&table);
        let (label, label_guessed) = find_label(&table, &stats, &options.label)?;
        let mut dataset = Self {
            label,
            label_guessed,
            classes: Vec::new(),
            y: Vec::new(),
            numeric: Vec::new(),
            numbers: Matrix::default(),
            categorical: Vec::new(),
            categories: Vec::new(),
            text: Vec::new(),
            flaws,
            stats,
            table,
        };
        meter.at("profile", dataset.table.len(), dataset.table.len());
        if let Some(label) = label {
            dataset.read_labels(label)?;
        }
        dataset.choose_columns();
        dataset.read_numbers();
        dataset.read_categories();
        Ok(dataset)
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// The name of a class, fit to print.
    pub(crate) fn class(&self, class: u32) -> String {
        self.classes.get(class as usize).map_or_else(|| "-".to_owned(), |name| printable(name, NAME_CHARS_MAX))
    }

    /// The name of a column, fit to print.
    pub(crate) fn column(&self, column: usize) -> String {
        self.table.names.get(column).map_or_else(|| column.to_string(), |name| printable(name, NAME_CHARS_MAX))
    }

    /// The free text of a record, its columns joined by line ends.
    pub(crate) fn text_of(&self, record: usize) -> String {
        let mut out = String::new();
        self.table.visit(record, &mut |column, cell| {
            if let (true, Cell::Text(text)) = (self.text.contains(&column), cell) {
                if !out.is_empty() {
                    out.push('\n');
                }
                out.push_str(&text);
            }
        });
        out
    }

    fn read_labels(&mut self, label: usize) -> Result<(), ScreenError> {
        let values: Vec<Option<Value>> = (0..self.len())
            .into_par_iter()
            .map(|record| {
                let mut found = None;
                self.table.visit(record, &mut |column, cell| {
                    if column == label {
                        found = Value::of(&cell);
                    }
                });
                found
            })
            .collect();
        let classes: BTreeSet<&Value> = values.iter().flatten().collect();
        within("label values", classes.len(), CLASSES_MAX)?;
        let index: HashMap<&Value, u32> = classes.iter().copied().zip(0..).collect();
        self.y = values.iter().map(|value| value.as_ref().map_or(UNLABELLED, |value| index[value])).collect();
        self.classes = classes.iter().map(std::string::ToString::to_string).collect();
        Ok(())
    }

    fn choose_columns(&mut self) {
        let records = self.len();
        for (column, stats) in self.stats.iter().enumerate() {
            if Some(column) == self.label
                || (self.table.format != crate::table::Format::Idx && stats.is_row_number(records))
            {
                continue;
            }
            if stats.is_numeric() {
                self.numeric.push(column);
            } else if stats.is_free_text() {
                self.text.push(column);
            } else if stats.texts + stats.booleans > 0 {
                self.categorical.push(column);
            }
        }
    }

    fn read_numbers(&mut self) {
        let columns = self.numeric.len();
        if columns == 0 || self.len().checked_mul(columns).is_none_or(|numbers| numbers > NUMBERS_MAX) {
            return;
        }
        let mut place = vec![usize::MAX; self.table.names.len()];
        self.numeric.iter().enumerate().for_each(|(at, column)| place[*column] = at);
        let mut data = vec![f32::NAN; self.len() * columns];
        data.par_chunks_mut(columns).enumerate().for_each(|(record, row)| {
            self.table.visit(record, &mut |column, cell| {
                if let (Cell::Number(value), Some(at)) = (cell, place.get(column).filter(|at| **at != usize::MAX)) {
                    #[expect(clippy::cast_possible_truncation, reason = "features are single precision")]
                    let value = value as f32;
                    row[*at] = if value.is_finite() { value } else { f32::NAN };
                }
            });
        });
        self.numbers = Matrix { columns, data };
    }

    fn read_categories(&mut self) {
        if self.categorical.is_empty() {
            return;
        }
        let rows: Vec<Vec<Option<Value>>> = (0..self.len())
            .into_par_iter()
            .map(|record| {
                let mut row = vec![None; self.categorical.len()];
                self.table.visit(record, &mut |column, cell| {
                    if let Some(at) = self.categorical.iter().position(|one| *one == column) {
                        row[at] = Value::of(&cell);
                    }
                });
                row
            })
            .collect();
        self.categories = (0..self.categorical.len())
            .map(|at| {
                let mut counts: BTreeMap<&Value, usize> = BTreeMap::new();
                rows.iter().filter_map(|row| row[at].as_ref()).for_each(|value| *counts.entry(value).or_default() += 1);
                let mut common: Vec<(&Value, usize)> = counts.into_iter().collect();
                common.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
                let index: HashMap<&Value, u16> =
                    common.iter().take(CATEGORIES_MAX).map(|(value, _)| *value).zip(1_u16..).collect();
                rows.iter().map(|row| row[at].as_ref().and_then(|v| index.get(v)).copied().unwrap_or(0)).collect()
            })
            .collect();
    }
}

/// A label or category: numbers sort before words and by value.
#[derive(Debug, Clone)]
enum Value {
    Number(f64),
    Word(String),
}

impl Value {
    fn of(cell: &Cell<'_>) -> Option<Self> {
        match cell {
            Cell::Missing => None,
            // -0 and 0 are one label.
            Cell::Number(value) => Some(Self::Number(*value + 0.0)),
            Cell::Boolean(value) => Some(Self::Word(value.to_string())),
            Cell::Text(text) => Some(Self::Word(text.trim().to_owned())),
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(value) => value.fmt(f),
            Self::Word(word) => word.fmt(f),
        }
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Word(a), Self::Word(b)) => a.cmp(b),
            (Self::Number(_), Self::Word(_)) => std::cmp::Ordering::Less,
            (Self::Word(_), Self::Number(_)) => std::cmp::Ordering::Greater,
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Value {}

impl std::hash::Hash for Value {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match self {
            Self::Number(value) => value.to_bits().hash(state),
            Self::Word(word) => word.hash(state),
        }
    }
}

/// What one piece of the records says of each column, and the records with flaws.
type Part = (Vec<Stats>, Vec<(usize, Flaw)>);

fn profile(table: &Table) -> (Vec<Stats>, BTreeMap<usize, Flaw>) {
    let stride = (table.len() / SAMPLED_RECORDS).max(1);
    let pieces: Vec<usize> = (0..table.len()).step_by(PIECE_RECORDS).collect();
    let parts: Vec<Part> = pieces
        .into_par_iter()
        .map(|start| {
            let mut stats = vec![Stats::default(); table.names.len()];
            let mut flaws = Vec::new();
            for record in start..(start + PIECE_RECORDS).min(table.len()) {
                let sampled = record.is_multiple_of(stride);
                let flaw = table.visit(record, &mut |column, cell| {
                    if let Some(stats) = stats.get_mut(column) {
                        stats.add(&cell, sampled);
                    }
                });
                flaws.extend(flaw.map(|flaw| (record, flaw)));
            }
            (stats, flaws)
        })
        .collect();
    let mut stats = vec![Stats::default(); table.names.len()];
    let mut flaws = BTreeMap::new();
    for (part, found) in parts {
        stats.iter_mut().zip(part).for_each(|(all, part)| all.merge(part));
        flaws.extend(found);
    }
    (stats, flaws)
}

/// That there is no column `name`, and which there are.
pub(crate) fn no_such_column(table: &Table, name: &str) -> ScreenError {
    let known: Vec<String> = table.names.iter().take(20).map(|name| printable(name, 40)).collect();
    ScreenError::NoSuchColumn { name: printable(name, 80), known: known.join(", ") }
}

/// The label column, and whether it was guessed.
fn find_label(table: &Table, stats: &[Stats], choice: &Label) -> Result<(Option<usize>, bool), ScreenError> {
    match choice {
        Label::Absent => return Ok((None, false)),
        Label::Column(name) => {
            let column = table.names.iter().position(|column| column == name.trim());
            return Ok((Some(column.ok_or_else(|| no_such_column(table, name))?), false));
        }
        Label::Guess => {}
    }
    if table.labels.is_some() {
        return Ok((Some(table.names.len() - 1), false));
    }
    if table.format == crate::table::Format::Idx {
        return Ok((None, false));
    }
    let class_like = |column: &usize| stats.get(*column).is_some_and(|stats| is_class_like(stats, table.len()));
    let custom = LABEL_NAMES.iter().find_map(|name| {
        table.names.iter().position(|column| table.named && column.trim().eq_ignore_ascii_case(name)).filter(class_like)
    });
    if custom.is_some() {
        return Ok((custom, true));
    }
    if table.format == crate::table::Format::Jsonl {
        return Ok((None, false));
    }
    let last = table.names.len().checked_sub(1).filter(|last| *last > 0);
    let (last, first) = (last.filter(class_like), Some(0).filter(|_| table.names.len() > 1).filter(class_like));
    Ok(match (last, first) {
        // Where both could be labels, the one whose values are more evenly used is: pixels are mostly background.
        (Some(last), Some(first)) if evenness(table, first) > 0.5 && evenness(table, last) < 0.5 => (Some(first), true),
        (Some(last), _) => (Some(last), true),
        (None, first) => (first, first.is_some()),
    })
}

fn is_class_like(stats: &Stats, records: usize) -> bool {
    let distinct = stats.distinct.len();
    let sampled = records.min(SAMPLED_RECORDS);
    (2..=CLASSES_GUESSED_MAX).contains(&distinct)
        && distinct * 4 <= sampled
        && stats.fractions == 0
        && stats.present() * 2 > records as u64
        && stats.characters <= TEXT_CHARS_MEAN * stats.texts.max(1)
}

/// Entropy of a column's values over that of evenly used ones, on a sample.
fn evenness(table: &Table, wanted: usize) -> f64 {
    let stride = (table.len() / SAMPLED_RECORDS).max(1);
    let mut counts: BTreeMap<Value, u64> = BTreeMap::new();
    for record in (0..table.len()).step_by(stride) {
        table.visit(record, &mut |column, cell| {
            if let (true, Some(value)) = (column == wanted, Value::of(&cell)) {
                *counts.entry(value).or_default() += 1;
            }
        });
    }
    let total: u64 = counts.values().sum();
    let entropy: f64 = counts.values().map(|count| *count as f64 / total as f64).map(|p| -p * p.ln()).sum();
    entropy / (counts.len().max(2) as f64).ln()
}

/// FNV-1a, for telling sampled values apart; never for a decision.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

const PIECE_RECORDS: usize = 1024;
const SAMPLED_RECORDS: usize = 4096;
const DISTINCT_MAX: usize = 1024;
const CLASSES_GUESSED_MAX: usize = 1000;
const TEXT_CHARS_MEAN: u64 = 40;
const NAME_CHARS_MAX: usize = 60;
