//! One problem: rule, severity, place, evidence, why it matters and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::waiver::WaiverRef;

/// How bad a finding is, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Unusual, harmless by itself.
    Low,
    /// Should not be admitted without a look.
    Medium,
    /// Very likely harmful.
    High,
    /// Harm on use.
    Critical,
}

impl Severity {
    /// All of them, rising.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];
}

/// What a scan concludes about a file or a set of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything was read and nothing was found.
    Clean,
    /// Something could not be read, parsed or finished. Never clean.
    Incomplete,
    /// Something that benign files do not need.
    Suspicious,
    /// Something that does harm.
    Malicious,
}

impl Verdict {
    /// The verdict on two things together: the worse one, where `incomplete` is worse than `clean`
    /// and known harm outweighs what was left unread.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let rank = |verdict| match verdict {
            Self::Clean => 0,
            Self::Incomplete => 1,
            Self::Suspicious => 2,
            Self::Malicious => 3,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

macro_rules! lowercase_display {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", format!("{self:?}").to_lowercase())
            }
        }
    )*};
}
lowercase_display!(Severity, Verdict);

/// Where a finding is. Every part that is known is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Path of the file as the user named it, or inside the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Member of an archive, tensor or node, outermost first, joined by `!`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// First byte, counted from the start of the innermost member or file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// How many bytes from `offset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Data record, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names are a stranger's choice, and this is for a terminal.
        f.write_str(&printable(self.file.as_deref().unwrap_or("-"), PATH_CHARS_MAX))?;
        if let Some(member) = &self.member {
            write!(f, "!{}", printable(member, PATH_CHARS_MAX))?;
        }
        match (self.offset, self.length) {
            (Some(offset), Some(length)) => write!(f, " bytes {offset:#x}..{:#x}", offset.saturating_add(length))?,
            (Some(offset), None) => write!(f, " byte {offset:#x}")?,
            _ => {}
        }
        if let Some(record) = self.record {
            write!(f, " record {record}")?;
        }
        Ok(())
    }
}

/// Characters of a name that are shown.
const PATH_CHARS_MAX: usize = 4_096;

/// One problem that a control found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable rule id, such as `RF-PKL-003`.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, in one lower-case sentence without a full stop.
    pub message: String,
    /// Where.
    pub place: Place,
    /// What was seen there: opcodes, names, values; printable and bounded by the control that made it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// Why it matters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// The waiver that covers it, if one does. The finding stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived: Option<WaiverRef>,
}

/// Makes foreign text fit to print: control, bidirectional and other invisible characters are escaped,
/// and the whole is cut to `chars_max` characters.
pub fn printable(text: &str, chars_max: usize) -> String {
    let mut out = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == chars_max {
            out.push('…');
            break;
        }
        let hidden = character.is_control()
            || matches!(character,
                '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}');
        if hidden { out.extend(character.escape_unicode()) } else { out.push(character) }
    }
    out
}
