//! What is kept of a dataset so that its next version can be held against it: which records, and how values are spread.

use std::collections::BTreeSet;

use rayon::prelude::*;
use ringfence_schema::{
    Digest,
    report::{
        ColumnSketch, DatasetSketch, SKETCH_BUCKETS, SKETCH_COLUMNS_MAX, SKETCH_MARKS, SKETCH_RECORDS_MAX, Spread,
    },
};

use crate::{
    dataset::{Dataset, fnv},
    table::Cell,
};

/// The smallest hashes of distinct records, seen one by one.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    smallest: BTreeSet<u64>,
}

impl Sample {
    /// Takes a record's canonical hash.
    pub(crate) fn push(&mut self, hash: &Digest) {
        let prefix = hash.as_bytes().iter().take(PREFIX_BYTES).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        if self.smallest.len() < SKETCH_RECORDS_MAX || self.smallest.last().is_some_and(|last| prefix < *last) {
            self.smallest.insert(prefix);
            if self.smallest.len() > SKETCH_RECORDS_MAX {
                self.smallest.pop_last();
            }
        }
    }
}

/// The sketch of `data`, whose records `sample` has seen.
pub(crate) fn sketch(data: &Dataset, sample: Sample) -> DatasetSketch {
    let mut columns = if data.table.item_dims.is_empty() { numbers(data) } else { pictures(data) };
    columns.extend(words(data, SKETCH_COLUMNS_MAX - columns.len().min(SKETCH_COLUMNS_MAX)));
    columns.truncate(SKETCH_COLUMNS_MAX);
    DatasetSketch { total: data.len() as u64, records: sample.smallest.into_iter().collect(), columns }
}

fn numbers(data: &Dataset) -> Vec<ColumnSketch> {
    if data.numbers.columns == 0 {
        return Vec::new();
    }
    let chosen = data.numeric.iter().enumerate().take(SKETCH_COLUMNS_MAX);
    let columns = chosen.filter_map(|(at, column)| {
        let values: Vec<f32> = sampled(data).map(|record| data.numbers.row(record)[at]).collect();
        quantiles(data.column(*column), values)
    });
    columns.collect()
}

/// Mean and deviation of the values of each item: single places of images say little about the whole.
fn pictures(data: &Dataset) -> Vec<ColumnSketch> {
    if data.numbers.columns == 0 {
        return Vec::new();
    }
    let figures: Vec<(f32, f32)> = sampled(data)
        .map(|record| {
            let row = data.numbers.row(record);
            let count = row.len() as f32;
            let mean = row.iter().sum::<f32>() / count;
            (mean, (row.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / count).sqrt())
        })
        .collect();
    let (means, deviations) = figures.into_iter().unzip();
    [quantiles("brightness".to_owned(), means), quantiles("contrast".to_owned(), deviations)]
        .into_iter()
        .flatten()
        .collect()
}

/// Words of texts, and values of columns with few of them, by the buckets of their hashes.
fn words(data: &Dataset, most: usize) -> Vec<ColumnSketch> {
    let chosen: Vec<usize> = data.text.iter().chain(&data.categorical).copied().take(most).collect();
    let empty = || vec![(0_u64, [0_u64; SKETCH_BUCKETS]); chosen.len()];
    let records: Vec<usize> = sampled(data).collect();
    let counts = records
        .par_chunks(PIECE_RECORDS)
        .map(|piece| {
            let mut counts = empty();
            for record in piece {
                data.table.visit(*record, &mut |column, cell| {
                    let at = chosen.iter().position(|one| *one == column);
                    if let (Some((values, buckets)), Cell::Text(text)) = (at.and_then(|at| counts.get_mut(at)), cell) {
                        *values += 1;
                        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
                            buckets[bucket(word)] += 1;
                        }
                    }
                });
            }
            counts
        })
        .reduce(empty, |mut all, piece| {
            for ((values, buckets), (more, others)) in all.iter_mut().zip(piece) {
                *values += more;
                buckets.iter_mut().zip(others).for_each(|(all, count)| *all += count);
            }
            all
        });
    let shares = chosen.iter().zip(counts).map(|(column, (values, buckets))| {
        let whole = buckets.iter().sum::<u64>().max(1) as f64;
        let spread = Spread::Buckets(buckets.iter().map(|count| *count as f64 / whole).collect());
        ColumnSketch { name: data.column(*column), values, spread }
    });
    shares.collect()
}

/// Records spread evenly over the dataset: enough for a distribution.
fn sampled(data: &Dataset) -> impl Iterator<Item = usize> {
    (0..data.len()).step_by(data.len().div_ceil(SAMPLED_RECORDS).max(1))
}

fn quantiles(name: String, values: Vec<f32>) -> Option<ColumnSketch> {
    let mut values: Vec<f32> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_by(f32::total_cmp);
    let last = values.len().checked_sub(1)?;
    let marks = (0..SKETCH_MARKS).filter_map(|mark| values.get(last * mark / (SKETCH_MARKS - 1)));
    let spread = Spread::Quantiles(marks.map(|value| f64::from(*value)).collect());
    Some(ColumnSketch { name, values: values.len() as u64, spread })
}

#[expect(clippy::cast_possible_truncation, reason = "a remainder below the number of buckets")]
fn bucket(word: &str) -> usize {
    // The low bits of this hash depend on the last byte most of all.
    let hash = fnv(word.to_lowercase().as_bytes());
    ((hash ^ hash >> 32) % SKETCH_BUCKETS as u64) as usize
}

/// Bytes of a hash that are kept: whole numbers of 48 bits are exact in every reader of JSON.
const PREFIX_BYTES: usize = 6;
/// Records from which distributions are taken.
const SAMPLED_RECORDS: usize = 65_536;
const PIECE_RECORDS: usize = 1_024;
