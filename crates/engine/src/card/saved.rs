//! Pages of reports that lie in files: who wrote them, nobody knows.

use std::path::Path;

use ringfence_schema::{
    finding::printable, privacy::PrivacyReport, report::AttackReport, since::SinceReport, strict, text::TextReport,
    theft::TheftReport,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{attack_page, privacy_page, since_page, text_page, theft_page};
use crate::{error::EngineError, files::read_small};

/// Largest report that is drawn, in bytes.
pub const REPORT_BYTES_MAX: u64 = 64 << 20;
/// Reports that have a page.
const KINDS: [(&str, Drawing); 5] = [
    ("ringfence.attack/1", |document| read::<AttackReport>(document).map(|report| attack_page(&report))),
    ("ringfence.privacy/1", |document| read::<PrivacyReport>(document).map(|report| privacy_page(&report))),
    ("ringfence.theft/1", |document| read::<TheftReport>(document).map(|report| theft_page(&report))),
    ("ringfence.since/1", |document| read::<SinceReport>(document).map(|report| since_page(&report))),
    ("ringfence.text-attack/1", |document| read::<TextReport>(document).map(|report| text_page(&report))),
];

/// Draws a document, or says what it lacks.
type Drawing = fn(Value) -> Result<String, String>;

/// The page of the JSON document in `file`, which `attack` or one of its like has written.
///
/// # Errors
/// [`EngineError::Incomplete`] for a file beyond [`REPORT_BYTES_MAX`], what is no JSON, a key that stands twice, and a document of another
/// kind or without what its kind has.
pub fn saved_page(file: &Path) -> Result<String, EngineError> {
    let name = || printable(&file.display().to_string(), 200);
    let wrong = |why: String| EngineError::incomplete(name(), why);
    let bytes = read_small(file, REPORT_BYTES_MAX)?;
    let document = strict::value(&bytes, bytes.len()).map_err(|error| wrong(printable(&error.to_string(), 300)))?;
    let kind = document.get("schema").and_then(Value::as_str).unwrap_or_default().to_owned();
    let drawn = if let Some((_, draw)) = KINDS.iter().find(|(known, _)| *known == kind) {
        draw(document)
    } else {
        let kinds = KINDS.map(|(known, _)| known).join(", ");
        Err(format!("its `schema` is `{}`, pages exist of {kinds}", printable(&kind, 60)))
    };
    drawn.map_err(wrong)
}

fn read<T: DeserializeOwned>(document: Value) -> Result<T, String> {
    serde_json::from_value(document).map_err(|error| printable(&error.to_string(), 300))
}
