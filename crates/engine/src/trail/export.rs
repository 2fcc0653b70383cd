//! The trail as others read it: JSON lines, CSV, OCSF, syslog, Parquet.
//!
//! Pure functions turn an entry into a line; each line names the entry's index and the SHA-256 of its leaf, so that whoever
//! holds a mirror can hold the line against the signed tree. What commitments stand for may hold a stranger's text (names of
//! files, artifacts, hosts); each shape escapes it in its own way, and control characters never get out.

mod csv;
mod ocsf;
mod parquet;
mod syslog;

use std::{
    fs,
    io::{BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use ringfence_schema::{finding::printable, trail::EntryKind};
use serde_json::{Value, json};

use super::{
    ShownEntry,
    search::{Decided, Filter},
};
use crate::{bundle::sync_folder, error::EngineError, vault::Vault};

/// Longest text of a person or a stranger in one field, in characters.
const TEXT_CHARS_MAX: usize = 1_000;
/// Bytes that are collected before they are handed on.
const BATCH_BYTES: usize = 1 << 16;

/// How entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One JSON object a line: what `trail ls --format json` lists, with `decision` and `subject`.
    Jsonl,
    /// RFC 4180 with a header; no cell begins a formula.
    Csv,
    /// Events of the Open Cybersecurity Schema Framework 1.5, class API Activity (6003), one JSON object a line.
    Ocsf,
    /// RFC 5424 messages, one a line, facility 13 (log audit).
    Syslog,
    /// Apache Parquet, with the columns of the CSV.
    Parquet,
}

/// An export in the making: what goes out first, for each entry, and last.
enum Press {
    Lines(Shape),
    Table(Box<parquet::Table>),
}

impl Press {
    fn of(shape: Shape) -> Self {
        if shape == Shape::Parquet { Self::Table(Box::default()) } else { Self::Lines(shape) }
    }

    /// What stands before the first entry.
    fn begin(&mut self) -> Vec<u8> {
        match self {
            Self::Lines(Shape::Csv) => csv::HEADER.into(),
            Self::Lines(_) => Vec::new(),
            Self::Table(table) => table.begin(),
        }
    }

    /// An entry: a line with its end, or what a table has to say by now.
    fn entry(&mut self, shown: &ShownEntry) -> Result<Vec<u8>, EngineError> {
        let json = |value: &Value| -> Result<String, EngineError> {
            let text = serde_json::to_string(value).map_err(|error| EngineError::incomplete("export", error))?;
            Ok(visible(&text) + "\n")
        };
        let line = match self {
            Self::Table(table) => return Ok(table.row(shown)),
            Self::Lines(Shape::Csv) => csv::line(shown),
            Self::Lines(Shape::Ocsf) => json(&ocsf::event(shown))?,
            Self::Lines(Shape::Syslog) => syslog::message(shown) + "\n",
            Self::Lines(Shape::Jsonl | Shape::Parquet) => json(&whole(shown)?)?,
        };
        Ok(line.into_bytes())
    }

    /// What stands after the last entry.
    fn end(self) -> Vec<u8> {
        match self {
            Self::Lines(_) => Vec::new(),
            Self::Table(table) => table.end(),
        }
    }
}

/// A JSON text in which characters that nobody sees, or that turn what stands around them, are escapes: outside of strings
/// there are none, so it says the same.
fn visible(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        let hidden = matches!(c, '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if hidden {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    text
}

/// What `trail ls` shows, and what follows from it.
fn whole(shown: &ShownEntry) -> Result<Value, EngineError> {
    let mut value = serde_json::to_value(shown).map_err(|error| EngineError::incomplete("export", error))?;
    if let Value::Object(fields) = &mut value {
        fields.insert("schema".to_owned(), json!("ringfence.trail-line/1"));
        fields.insert("decision".to_owned(), json!(Decided::of(&shown.entry).word()));
        fields.insert("subject".to_owned(), json!(shown.subject()));
    }
    Ok(value)
}

/// Why it failed or was denied, if the openings say so.
fn reason(shown: &ShownEntry) -> String {
    let opened = |name: &str| shown.openings.get(name).map(|opening| &opening.value);
    if let Some(error) = opened("error").and_then(Value::as_str) {
        return printable(error, TEXT_CHARS_MAX);
    }
    if shown.entry.kind != EntryKind::Denial {
        return String::new();
    }
    let reasons = opened("policy").and_then(|policy| policy.get("reasons")).and_then(Value::as_array);
    let says: Vec<&str> = reasons.into_iter().flatten().filter_map(|reason| reason.get("says")?.as_str()).collect();
    printable(&says.join("; "), TEXT_CHARS_MAX)
}

/// One sentence for people.
fn sentence(shown: &ShownEntry) -> String {
    let mut text = format!("{} {} by {}", shown.entry.action, shown.word(), shown.entry.actor);
    if !shown.subject().is_empty() {
        text.push_str(&format!(": {}", shown.subject()));
    }
    let reason = reason(shown);
    if !reason.is_empty() {
        text.push_str(&format!(" ({reason})"));
    }
    printable(&text, 2 * TEXT_CHARS_MAX)
}

impl Vault<'_> {
    /// Hands the entries that `filter` admits to `out` in `shape`, piece by piece; see [`Vault::search`]. Returns how many
    /// entries.
    pub fn export_trail(
        &self,
        filter: &Filter,
        last: Option<u64>,
        shape: Shape,
        out: &mut dyn FnMut(&[u8]) -> Result<(), EngineError>,
    ) -> Result<u64, EngineError> {
        let mut press = Press::of(shape);
        let mut lines = press.begin();
        let count = self.search(filter, last, &mut |shown| {
            lines.extend(press.entry(shown)?);
            if lines.len() >= BATCH_BYTES {
                out(&lines)?;
                lines.clear();
            }
            Ok(())
        })?;
        lines.extend(press.end());
        out(&lines)?;
        Ok(count)
    }

    /// The same into a file (mode 0600), which appears under its name once it is whole and on disk.
    pub fn export_trail_file(
        &self,
        filter: &Filter,
        last: Option<u64>,
        shape: Shape,
        file: &Path,
    ) -> Result<u64, EngineError> {
        let name =
            file.file_name().ok_or_else(|| EngineError::Usage { what: format!("`{}` is no file", file.display()) })?;
        let part = file.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
        let write = || -> Result<u64, EngineError> {
            // What the trail keeps sealed is in it: for this user only.
            let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
            let made = made.map_err(EngineError::io(&part))?;
            let mut made = BufWriter::new(made);
            let count = self.export_trail(filter, last, shape, &mut |lines| {
                made.write_all(lines).map_err(EngineError::io(&part))
            })?;
            let made = made.into_inner().map_err(|error| EngineError::io(&part)(error.into_error()))?;
            made.sync_all().map_err(EngineError::io(&part))?;
            fs::rename(&part, file).map_err(EngineError::io(file))?;
            Ok(count)
        };
        let written = write();
        if written.is_err() {
            // The first error is the one to tell.
            let _ = fs::remove_file(&part);
        }
        let count = written?;
        sync_folder(file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
