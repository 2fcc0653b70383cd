//! The style sheet and the script: built in, named by what they contain, so that browsers may keep them for good.

use std::sync::LazyLock;

use ringfence_engine::schema::Digest;

use super::paths;

/// The style sheet.
pub const STYLE: &str = include_str!("../../assets/app.css");
/// The script.
pub const SCRIPT: &str = include_str!("../../assets/app.js");
/// What both are answered with: an address never has other bytes.
pub const CACHE_CONTROL: &str = "public, max-age=31536000, immutable";

static STYLE_PATH: LazyLock<String> = LazyLock::new(|| versioned(paths::STYLE, STYLE));
static SCRIPT_PATH: LazyLock<String> = LazyLock::new(|| versioned(paths::SCRIPT, SCRIPT));

/// Address of the style sheet, with its version as a query.
pub fn style_path() -> &'static str {
    &STYLE_PATH
}

/// Address of the script, with its version as a query.
pub fn script_path() -> &'static str {
    &SCRIPT_PATH
}

fn versioned(path: &str, content: &str) -> String {
    let hex = Digest::of(content.as_bytes()).hex();
    format!("{path}?v={}", hex.get(..12).unwrap_or_default())
}
