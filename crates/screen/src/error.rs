//! What can stop a screening. Problems of single records are decisions, not errors.

use std::io;

use ringfence_format::idx::IdxError;

/// Why a dataset could not be screened, filtered or turned into examples.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScreenError {
    /// The reader or writer failed.
    #[error("could not read or write the dataset: {0}")]
    Io(#[from] io::Error),
    /// A gzip stream that breaks off or fails its checksum.
    #[error("gzip stream is damaged after {good} bytes of content")]
    BrokenGzip {
        /// Bytes that could be inflated.
        good: u64,
    },
    /// More bytes (after decompression) than are read into memory.
    #[error("dataset is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// More records, columns or classes than the limit.
    #[error("dataset has more than {limit} {what}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// None of the formats.
    #[error("not CSV, JSONL or IDX: {detail}")]
    Unrecognised {
        /// What was seen.
        detail: &'static str,
    },
    /// There is no record at all.
    #[error("dataset has no records")]
    Empty,
    /// A broken IDX file.
    #[error("{0}")]
    Idx(#[from] IdxError),
    /// The named column does not exist.
    #[error("no column `{name}`; there are {known}")]
    NoSuchColumn {
        /// The name that was asked for.
        name: String,
        /// The first columns, fit to print.
        known: String,
    },
    /// A labels file that does not belong to the images.
    #[error("{labels} labels for {records} records")]
    LabelsMismatch {
        /// Items in the images file.
        records: usize,
        /// Items in the labels file.
        labels: usize,
    },
    /// Examples need a label column and there is none.
    #[error("no label column is known")]
    NoLabel,
    /// Examples need numbers.
    #[error("record {record} has no number in column `{column}`")]
    NotNumeric {
        /// The record.
        record: u64,
        /// The column.
        column: String,
    },
    /// Labelled texts need a text and a label.
    #[error("record {record} has no readable text in column `{column}`")]
    NotText {
        /// The record.
        record: u64,
        /// The column.
        column: String,
    },
    /// A record without a label.
    #[error("record {record} has no label")]
    Unlabelled {
        /// The record.
        record: u64,
    },
    /// The given shape does not fit the number of columns.
    #[error("shape {shape:?} does not fit {columns} numeric columns")]
    Shape {
        /// The shape that was asked for.
        shape: Vec<usize>,
        /// Numeric columns without the label.
        columns: usize,
    },
    /// A record to drop that does not exist.
    #[error("record {record} does not exist, there are {records}")]
    NoSuchRecord {
        /// The record that was asked for.
        record: u64,
        /// Records in the dataset.
        records: u64,
    },
}
