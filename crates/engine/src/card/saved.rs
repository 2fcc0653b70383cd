//! Pages of reports that lie in files: who wrote them, nobody knows.

use std::path::Path;

use ringfence_schema::{
    finding::printable, privacy::PrivacyReport, report::AttackReport, since::SinceReport, strict, theft::TheftReport,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{attack_page, privacy_page, since_page, theft_page};
use crate::{error::EngineError, files::read_small};

/// Largest report that is drawn, in bytes.
pub const REPORT_BYTES_MAX: u64 = 64 << 20;
/// Reports that have a page.
const KINDS: [&str; 4] = ["ringfence.attack/1", "ringfence.privacy/1", "ringfence.theft/1", "ringfence.since/1"];

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
    match KINDS.iter().position(|known| *known == kind) {
        Some(0) => read::<AttackReport>(document).map(|report| attack_page(&report)),
        Some(1) => read::<PrivacyReport>(document).map(|report| privacy_page(&report)),
        Some(2) => read::<TheftReport>(document).map(|report| theft_page(&report)),
        Some(_) => read::<SinceReport>(document).map(|report| since_page(&report)),
        None => Err(format!("its `schema` is `{}`, pages exist of {}", printable(&kind, 60), KINDS.join(", "))),
    }
    .map_err(wrong)
}

fn read<T: DeserializeOwned>(document: Value) -> Result<T, String> {
    serde_json::from_value(document).map_err(|error| printable(&error.to_string(), 300))
}
