//! Advisories in the OSV schema (<https://ossf.github.io/osv-schema/>, 1.7), and which of what we hold they affect.
//!
//! [`parse`] reads one record, [`matches`] compares records with packages of recorded environments and with models. A package
//! is compared by the order of its ecosystem's versions ([`version`]: PEP 440 and SemVer); where that order is not known here,
//! only listed versions are certain, and a range makes a [`Certainty::Possible`] match, never none. A model is named by
//! `pkg:huggingface/ORG/NAME@REVISION` or by SHA-256 digests of its files (`docs/format.md`, "Advisory feed").

pub mod feed;
mod matching;
pub mod version;

use std::str::FromStr as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use matching::{Because, Certainty, Match, Matched, Model, Package, matches};

use crate::{
    finding::Severity,
    strict::{self, StrictError},
};

/// Largest record in bytes.
pub const RECORD_BYTES_MAX: usize = 4 << 20;
/// Most packages, ranges, events or versions in one record, each.
pub const ENTRIES_MAX: usize = 100_000;
/// Longest name, version or vector in bytes.
pub const NAME_BYTES_MAX: usize = 1_024;

/// Why a record was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OsvError {
    /// Not JSON of the expected shape.
    #[error("advisory: {0}")]
    Json(#[from] StrictError),
    /// A version of the schema that is not known here.
    #[error("advisory of schema version `{version}`, known is 1")]
    Version {
        /// What it says, fit to print.
        version: String,
    },
    /// Too many entries, or a name that is empty or too long.
    #[error("advisory: {what}")]
    Bounds {
        /// What is out of bounds.
        what: &'static str,
    },
}

/// One advisory. Fields that nothing here reads are not kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Advisory {
    /// Version of the schema; 1.0.0 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<String>,
    /// Its name, such as `PYSEC-2022-42992`.
    pub id: String,
    /// When it last changed (RFC 3339).
    pub modified: String,
    /// When it was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<String>,
    /// When it was withdrawn: it affects nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<String>,
    /// The same problem elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// One line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// The whole story, in Markdown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
    /// Ratings of all it affects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub severity: Vec<Rating>,
    /// What it affects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub affected: Vec<Affected>,
    /// Where to read on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Link>,
    /// What the database adds.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub database_specific: Value,
}

/// A rating by some scale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rating {
    /// `CVSS_V2`, `CVSS_V3`, `CVSS_V4` or another scale.
    #[serde(rename = "type")]
    pub kind: String,
    /// The vector, or a word of that scale.
    pub score: String,
}

/// One affected package or model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Affected {
    /// Which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageName>,
    /// Ratings for this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub severity: Vec<Rating>,
    /// Ranges of versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<Range>,
    /// Versions one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
    /// What the ecosystem adds; `sha256` lists digests of a model's files in hexadecimal.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub ecosystem_specific: Value,
    /// What the database adds; `sha256` likewise.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub database_specific: Value,
}

/// Name of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageName {
    /// Such as `PyPI`.
    pub ecosystem: String,
    /// Its name there.
    pub name: String,
    /// Package URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purl: Option<String>,
}

/// A range of versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// `ECOSYSTEM`, `SEMVER` or `GIT`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Repository of a `GIT` range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Where it begins and ends.
    pub events: Vec<Event>,
}

/// One edge of a range; exactly one field is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// First affected version; `0` is before every version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introduced: Option<String>,
    /// First version that is not affected any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// Last affected version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_affected: Option<String>,
    /// Upper bound of the range's meaning; `*` is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
}

/// A reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Such as `ADVISORY`, `FIX`, `WEB`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where; never opened by this program.
    pub url: String,
}

/// Reads one record.
pub fn parse(json: &[u8]) -> Result<Advisory, OsvError> {
    let advisory: Advisory = strict::from_json(json, RECORD_BYTES_MAX)?;
    if let Some(version) = advisory.schema_version.as_deref().filter(|version| !version.starts_with("1.")) {
        return Err(OsvError::Version { version: crate::finding::printable(version, 40) });
    }
    let bounds = |what| Err(OsvError::Bounds { what });
    if !is_name(&advisory.id) {
        return bounds("its id is empty or too long");
    }
    if advisory.affected.len() > ENTRIES_MAX {
        return bounds("too many affected packages");
    }
    for affected in &advisory.affected {
        let names = affected.package.iter().flat_map(|package| [&package.ecosystem, &package.name]);
        if !names.chain(&affected.versions).all(|name| is_name(name)) {
            return bounds("a name or version is empty or too long");
        }
        let events: usize = affected.ranges.iter().map(|range| range.events.len()).sum();
        if affected.versions.len() > ENTRIES_MAX || affected.ranges.len() > ENTRIES_MAX || events > ENTRIES_MAX {
            return bounds("too many ranges, events or versions");
        }
    }
    Ok(advisory)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX
}

impl Advisory {
    /// The highest CVSS base score of `ratings`, else of the whole advisory: version 3 and 4 vectors, 0 to 10.
    pub fn score(&self, ratings: &[Rating]) -> Option<f64> {
        let best = |ratings: &[Rating]| ratings.iter().filter_map(Rating::score).reduce(f64::max);
        best(ratings).or_else(|| best(&self.severity))
    }

    /// How bad it is: by score, else by the word in `database_specific.severity`, else `high`: unrated is not harmless.
    pub fn severity(&self, ratings: &[Rating]) -> Severity {
        if let Some(score) = self.score(ratings) {
            return match score {
                ..=0.0 => Severity::Info,
                ..4.0 => Severity::Low,
                ..7.0 => Severity::Medium,
                ..9.0 => Severity::High,
                _ => Severity::Critical,
            };
        }
        let word = self.database_specific.get("severity").and_then(Value::as_str).unwrap_or_default();
        match word.to_ascii_uppercase().as_str() {
            "LOW" => Severity::Low,
            "MODERATE" | "MEDIUM" => Severity::Medium,
            "CRITICAL" => Severity::Critical,
            _ => Severity::High,
        }
    }
}

impl Rating {
    /// The score of a CVSS 3 or 4 vector; `None` for other scales and broken vectors.
    pub fn score(&self) -> Option<f64> {
        let known = matches!(self.kind.as_str(), "CVSS_V3" | "CVSS_V4") && self.score.len() <= NAME_BYTES_MAX;
        let vector = cvss::Cvss::from_str(&self.score).ok().filter(|_| known)?;
        Some(vector.score()).filter(|score| score.is_finite())
    }
}
