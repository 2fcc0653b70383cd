//! RFC 4180: CRLF, quotes where they are needed, doubled within.
//!
//! A cell whose text a spreadsheet would take for a formula begins with an apostrophe instead; control characters and invisible
//! ones are written out.

use ringfence_schema::finding::printable;

use super::{TEXT_CHARS_MAX, reason};
use crate::trail::{Decided, ShownEntry};

/// The first line.
pub(super) const HEADER: &str = "index,leaf,time,kind,action,actor,decision,outcome,of,subject,reason,state\r\n";

/// What begins a formula in some spreadsheet, full-width forms included.
const FORMULA: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// An entry as one record.
pub(super) fn line(shown: &ShownEntry) -> String {
    let entry = &shown.entry;
    let cells = [
        shown.index.to_string(),
        shown.leaf.to_string(),
        entry.time.to_string(),
        format!("{:?}", entry.kind).to_lowercase(),
        entry.action.clone(),
        entry.actor.clone(),
        Decided::of(entry).word().to_owned(),
        shown.word().to_owned(),
        entry.of.map(|of| of.to_string()).unwrap_or_default(),
        shown.subject().to_owned(),
        reason(shown),
        entry.state.to_string(),
    ];
    cells.map(|text| cell(&text)).join(",") + "\r\n"
}

/// One cell, safe to open.
pub(super) fn cell(text: &str) -> String {
    // Some programs skip blanks before they look for a formula.
    let formula = text.starts_with(FORMULA) || text.trim_start().starts_with(FORMULA);
    let mut shown = printable(text, TEXT_CHARS_MAX);
    if formula {
        shown.insert(0, '\'');
    }
    if shown.contains(['"', ',', '\'', ';']) || shown.trim() != shown {
        format!("\"{}\"", shown.replace('"', "\"\""))
    } else {
        shown
    }
}
