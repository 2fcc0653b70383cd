//! Reads untrusted datasets: form, hygiene, duplicates, label errors, poisoning.
//!
//! [`screen`] reads a CSV, JSONL or IDX file (gzip or not) and answers with a [`ScreenReport`]: which records to filter or
//! review and why, triggers that explain several records at once, and the dataset as a whole, named by an RFC 6962 root over
//! canonical record hashes. [`filter`] writes the same file without the dropped records, every other byte unchanged.
//! [`examples`] turns labelled numbers into tensors, [`texts`] hands out labelled texts.
//!
//! * `table`: bounded readers; `record`, `merkle`: canonical names; `dataset`: columns, labels, numbers.
//! * `checks`, `hygiene`: what needs no model.
//! * `numeric`: nearest neighbours, views with parts hidden, triggers in numbers and images. `text`: the same for texts.
//! * `sketch`: what a later version is held against.
//! * `calibrate`: which contradicted labels are wrong with enough certainty. `rules`: every rule in plain words.
//!
//! What must stay true: the same input gives the same bytes out, whatever the number of threads; what could not be read is
//! told and never counts as clean; a detector that could not run says why; nothing here executes or loads what it reads.
//!
//! Absent on purpose, until later: Parquet, near duplicates, natural images through an embedding model, datasets without
//! labels beyond hygiene and duplicates, and reading in pieces (a file is held in memory, up to [`BYTES_MAX`]). Clean-label
//! attacks without a repeated patch (gradient matching, feature collisions) are not found at data level by any known method.

#![forbid(unsafe_code)]

mod calibrate;
mod checks;
mod dataset;
mod error;
mod examples;
mod filter;
mod hygiene;
mod merkle;
mod numeric;
mod options;
mod record;
mod report;
mod rules;
mod sketch;
mod table;
mod text;
mod texts;

use std::{
    collections::BTreeMap,
    io::{Read, Seek},
};

use ringfence_schema::{
    finding::printable,
    report::{DatasetProfile, ScreenReport, ScreenSchema},
};

pub use dataset::{CLASSES_MAX, NUMBERS_MAX};
pub use error::ScreenError;
pub use examples::{ExampleOptions, Examples, Scale, examples};
pub use filter::filter;
pub use options::{Header, Label, Options, Progress};
pub use rules::{RULES_VERSION, Rule, rules, rules_digest};
pub use table::{BYTES_MAX, COLUMNS_MAX, RECORD_BYTES_MAX, RECORDS_MAX};
pub use texts::{LabelledText, texts};

use dataset::{Dataset, UNLABELLED};
use options::Meter;
use report::Book;
use table::Table;

/// Screens the dataset in `reader`, from its start. `tell` hears of progress.
///
/// # Errors
/// What cannot be recognised, exceeds a limit, or names a column that does not exist; see [`ScreenError`]. Problems of
/// single records are decisions in the report instead.
pub fn screen(
    reader: &mut (impl Read + Seek),
    options: &Options,
    tell: &mut dyn FnMut(Progress),
) -> Result<ScreenReport, ScreenError> {
    let mut meter = Meter::new(tell);
    meter.at("reading", 0, 1);
    let table = Table::read(reader, options)?;
    meter.at("reading", 1, 1);
    let data = Dataset::build(table, options, &mut meter)?;
    let mut book = Book::default();
    let names = checks::names(&data, &mut book, &mut meter);
    checks::form(&data, &mut book);
    checks::texts(&data, &mut book, &mut meter);
    let columns = checks::columns(&data, !data.table.item_dims.is_empty(), &mut book);
    detect(&data, options, &names.twins, &mut book, &mut meter);
    book.findings.extend(data.table.findings.iter().cloned());
    let (decisions, candidates, findings, detectors) = book.close();
    Ok(ScreenReport {
        schema: ScreenSchema::One,
        records: data.len() as u64,
        decisions,
        candidates,
        dataset: DatasetProfile {
            format: data.table.format.name().to_owned(),
            columns,
            label: data.label.map(|label| data.column(label)),
            classes: class_counts(&data),
            root: Some(names.root),
            exact_duplicates: names.duplicates,
            detectors,
            findings,
            complete: data.table.complete,
            sketch: Some(Box::new(sketch::sketch(&data, names.sample))),
        },
    })
}

/// Runs the detectors that need labels, on texts or on numbers.
fn detect(data: &Dataset, options: &Options, twins: &[u32], book: &mut Book, meter: &mut Meter<'_>) {
    if data.label.is_none() {
        book.detector("label errors", Err("no label column"));
        book.detector("triggers", Err("no label column"));
        return;
    }
    if data.label_guessed {
        let column = data.label.map(|label| data.column(label)).unwrap_or_default();
        book.finding(&rules::LABEL_GUESSED, &format!("column `{column}` was taken for the label"));
    }
    if data.text.is_empty() {
        numeric::detect(data, options, twins, book, meter);
    } else {
        text::detect(data, twins, book, meter);
    }
}

fn class_counts(data: &Dataset) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for class in data.y.iter().filter(|class| **class != UNLABELLED) {
        let name = data.classes.get(*class as usize).map(|name| printable(name, CLASS_CHARS_MAX)).unwrap_or_default();
        *counts.entry(name).or_default() += 1;
    }
    counts
}

const CLASS_CHARS_MAX: usize = 200;
