//! Labelled numbers as tensors, for training and for attacks.

use std::io::{Read, Seek};

use crate::{
    dataset::{Dataset, UNLABELLED},
    error::ScreenError,
    options::{Header, Label, Meter, Options},
    table::Table,
};

/// Choices for [`examples`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExampleOptions {
    /// Where the labels are.
    pub label: Label,
    /// Whether the first line of a CSV file names the columns.
    pub header: Header,
    /// Shape of one record, such as `[channels, height, width]`; without it IDX says its own and anything else is flat.
    pub shape: Option<Vec<usize>>,
    /// How values are scaled.
    pub scale: Scale,
    /// Label values in the order of their indexes, where another dataset fixed it; sorted values of this one otherwise.
    pub classes: Option<Vec<String>>,
    /// As [`Options::idx_labels`].
    pub idx_labels: Option<Vec<u8>>,
}

/// How values are scaled.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Scale {
    /// The least value of the dataset becomes 0, the greatest 1. [`Examples::range`] tells them, for other datasets.
    #[default]
    Observed,
    /// `low` becomes 0 and `high` 1.
    Range {
        /// The value that becomes 0.
        low: f32,
        /// The value that becomes 1.
        high: f32,
    },
    /// As they are.
    Raw,
}

/// Labelled numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Examples {
    /// Values, record by record, `[records, …shape]`.
    pub x: Vec<f32>,
    /// Shape of one record.
    pub shape: Vec<usize>,
    /// Class index of each record.
    pub y: Vec<usize>,
    /// Label values by index; numbers are sorted by value, before words.
    pub classes: Vec<String>,
    /// The raw values that became 0 and 1.
    pub range: (f32, f32),
}

/// Reads a dataset whose columns, the label aside, are all numeric.
///
/// # Errors
/// As [`crate::screen`]; no label column (unless [`Label::Absent`] says so: then there are no labels and no classes), a record
/// without a label or with a label that is not in the given classes, a cell that is no number, or a shape that does not fit.
pub fn examples(reader: &mut (impl Read + Seek), options: &ExampleOptions) -> Result<Examples, ScreenError> {
    let reading = Options {
        label: options.label.clone(),
        header: options.header,
        shape: None,
        idx_labels: options.idx_labels.clone(),
    };
    let table = Table::read(reader, &reading)?;
    let data = Dataset::build(table, &reading, &mut Meter::new(&mut |_| {}))?;
    let labelled = options.label != Label::Absent;
    if labelled && data.label.is_none() {
        return Err(ScreenError::NoLabel);
    }
    let columns = data.numbers.columns;
    if let Some(column) = data.text.first().or(data.categorical.first()) {
        return Err(ScreenError::NotNumeric { record: 0, column: data.column(*column) });
    }
    if columns == 0 {
        return Err(ScreenError::TooMany { what: "numbers", limit: crate::NUMBERS_MAX });
    }
    if let Some(at) = data.numbers.data.iter().position(|value| value.is_nan()) {
        let column = data.numeric.get(at % columns).copied().unwrap_or(0);
        return Err(ScreenError::NotNumeric { record: (at / columns) as u64, column: data.column(column) });
    }
    let shape = shape_of(&data, options)?;
    let (classes, y) = if labelled { labels(&data, options)? } else { (Vec::new(), Vec::new()) };
    let (x, range) = scaled(data.numbers.data, options.scale);
    Ok(Examples { x, shape, y, classes, range })
}

fn shape_of(data: &Dataset, options: &ExampleOptions) -> Result<Vec<usize>, ScreenError> {
    let columns = data.numbers.columns;
    let shape = options
        .shape
        .clone()
        .unwrap_or_else(|| if data.table.item_dims.is_empty() { vec![columns] } else { data.table.item_dims.clone() });
    let size = shape.iter().try_fold(1_usize, |all, dim| all.checked_mul(*dim));
    if size == Some(columns) { Ok(shape) } else { Err(ScreenError::Shape { shape, columns }) }
}

fn labels(data: &Dataset, options: &ExampleOptions) -> Result<(Vec<String>, Vec<usize>), ScreenError> {
    let classes = options.classes.clone().unwrap_or_else(|| data.classes.clone());
    let index: Vec<Option<usize>> =
        data.classes.iter().map(|own| classes.iter().position(|class| class == own)).collect();
    let mut y = Vec::with_capacity(data.len());
    for (record, class) in (0_u64..).zip(&data.y) {
        let found = if *class == UNLABELLED { None } else { index.get(*class as usize).copied().flatten() };
        y.push(found.ok_or(ScreenError::Unlabelled { record })?);
    }
    Ok((classes, y))
}

fn scaled(mut x: Vec<f32>, scale: Scale) -> (Vec<f32>, (f32, f32)) {
    let (low, high) = match scale {
        Scale::Raw => (0.0, 1.0),
        Scale::Range { low, high } => (low, high),
        Scale::Observed => {
            x.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)))
        }
    };
    let width = if high > low { high - low } else { 1.0 };
    if scale != Scale::Raw {
        for value in &mut x {
            *value = (*value - low) / width;
        }
    }
    (x, (low, high))
}
