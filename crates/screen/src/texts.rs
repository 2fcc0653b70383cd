//! Labelled texts, for attacks on classifiers of texts.

#![deny(clippy::indexing_slicing)]

use std::io::{Read, Seek};

use crate::{
    error::ScreenError,
    options::{Header, Label, Options},
    table::{Cell, Format, Table, delimited, json},
};

/// A text and its label, both as the file has them; the label without blanks around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledText {
    /// The text.
    pub text: String,
    /// The label: a word or a number.
    pub label: String,
}

/// Reads two columns of a CSV or JSONL file (gzip or not): texts are taken as they are, also those that look like a number or like
/// "no value".
///
/// # Errors
/// As [`crate::screen`]; a column that does not exist, a record that lacks one of them, is not UTF-8 or not readable.
pub fn texts(reader: &mut (impl Read + Seek), text: &str, label: &str) -> Result<Vec<LabelledText>, ScreenError> {
    // Whoever names columns by words has a file with a header.
    let header = if text.parse::<usize>().is_ok() { Header::Guess } else { Header::Present };
    let table = Table::read(reader, &Options { label: Label::Absent, header, ..Options::default() })?;
    let place = |name: &str| {
        table.names.iter().position(|known| known == name).ok_or_else(|| crate::dataset::no_such_column(&table, name))
    };
    let (text, label) = ((place(text)?, text), (place(label)?, label));
    (0..table.len())
        .map(|record| {
            let lacks = |column: &str| ScreenError::NotText { record: record as u64, column: column.to_owned() };
            let (mut own, mut class) = (None, None);
            match &table.format {
                Format::Csv(dialect) => delimited::fields(table.raw(record), *dialect, &mut |column, bytes| {
                    if column == text.0 {
                        own = String::from_utf8(bytes.to_vec()).ok();
                    }
                    if column == label.0 {
                        class = String::from_utf8(bytes.to_vec()).ok();
                    }
                }),
                Format::Jsonl => {
                    if let Ok(line) = json::parse(table.raw(record))
                        && line.duplicate.is_none()
                    {
                        json::flatten(&line.value, &mut |path, cell| {
                            if path == text.1 {
                                own = written(&cell);
                            }
                            if path == label.1 {
                                class = written(&cell);
                            }
                        });
                    }
                }
                Format::Idx => {}
            }
            let class = class.map(|class| class.trim().to_owned()).filter(|class| !class.is_empty());
            Ok(LabelledText { text: own.ok_or_else(|| lacks(text.1))?, label: class.ok_or_else(|| lacks(label.1))? })
        })
        .collect()
}

/// A JSON value as it would stand in a table.
fn written(cell: &Cell<'_>) -> Option<String> {
    match cell {
        Cell::Missing => None,
        Cell::Number(number) => Some(number.to_string()),
        Cell::Boolean(value) => Some(value.to_string()),
        Cell::Text(text) => Some(text.clone().into_owned()),
    }
}
