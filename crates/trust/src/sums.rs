//! Lists of SHA-256 digests as `sha256sum` writes them (`SHA256SUMS`), and as it writes them with `--tag`.
//!
//! Lines are `DIGEST  NAME` (text), `DIGEST *NAME` (binary) or `SHA256 (NAME) = DIGEST`; with `\` in front, `\\`, `\n` and `\r` in the name
//! are escapes (GNU coreutils manual, "cksum output modes"). Every line must be one of these: a line that is skipped is a file
//! that is not checked. A name stands once and is a plain path. Such a list says what belongs together, not who made it.

#![deny(clippy::indexing_slicing)]

use std::collections::BTreeMap;

use ringfence_schema::{Digest, digest::hex, finding::printable};

use crate::{
    content::{Content, ContentError, EntryKind, HashAlgorithm, Job, hash_all},
    oms::Differences,
};

/// Largest list in bytes.
pub const SUMS_BYTES_MAX: usize = 64 << 20;
/// Most files in a list.
pub const SUMS_MAX: usize = 1_000_000;
/// Length of a digest in hexadecimal digits.
const DIGITS: usize = 64;

/// Why a list is not read, or its files are not what it says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SumsError {
    /// Over a limit, or empty.
    #[error("list of checksums: {what}")]
    Amount {
        /// What is wrong.
        what: &'static str,
    },
    /// A line of no known form.
    #[error("list of checksums, line {line}: not a SHA-256 digest with a name")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// A name that leaves the folder, or is not in its one spelling.
    #[error("list of checksums, line {line}: `{name}` is not a plain path")]
    UnsafeName {
        /// Counted from 1.
        line: usize,
        /// The name, fit to print.
        name: String,
    },
    /// A name that stands twice.
    #[error("list of checksums, line {line}: `{name}` stands twice")]
    TwiceListed {
        /// Counted from 1.
        line: usize,
        /// The name, fit to print.
        name: String,
    },
    /// A listed name is a link or special file.
    #[error("`{path}` is a link or a special file, which is not followed")]
    Link {
        /// The path, fit to print.
        path: String,
    },
    /// Files are not what the list says.
    #[error("files differ from the list of checksums: {0}")]
    Differs(Differences),
    /// Files could not be read.
    #[error("list of checksums: {0}")]
    Content(#[from] ContentError),
}

/// Reads a list: name → digest.
pub fn parse(list: &[u8]) -> Result<BTreeMap<String, Digest>, SumsError> {
    if list.len() > SUMS_BYTES_MAX {
        return Err(SumsError::Amount { what: "larger than 64 MiB" });
    }
    let text = std::str::from_utf8(list).map_err(|_| SumsError::Amount { what: "not UTF-8" })?;
    let mut sums = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let (name, digest) = entry(line).ok_or(SumsError::Line { line: number })?;
        // `./NAME` is how `find | xargs sha256sum` writes it; it is the same file in one step.
        let name = name.strip_prefix("./").map_or(name.clone(), str::to_owned);
        if !crate::oms::is_plain(&name) {
            return Err(SumsError::UnsafeName { line: number, name: printable(&name, 120) });
        }
        if sums.insert(name.clone(), digest).is_some() {
            return Err(SumsError::TwiceListed { line: number, name: printable(&name, 120) });
        }
        if sums.len() > SUMS_MAX {
            return Err(SumsError::Amount { what: "more than 1,000,000 files" });
        }
    }
    if sums.is_empty() { Err(SumsError::Amount { what: "it lists no file" }) } else { Ok(sums) }
}

/// A list in the form of `sha256sum`, sorted by name.
pub fn to_list(sums: &BTreeMap<String, Digest>) -> String {
    let line = |(name, digest): (&String, &Digest)| {
        let escaped = name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
        let mark = if escaped == *name { "" } else { "\\" };
        format!("{mark}{}  {escaped}\n", digest.hex())
    };
    sums.iter().map(line).collect()
}

/// Checks every listed file; yields the paths that are there but not listed, sorted.
pub fn verify(content: &dyn Content, sums: &BTreeMap<String, Digest>) -> Result<Vec<String>, SumsError> {
    let (mut differences, mut jobs, mut expected) = (Differences::default(), Vec::new(), Vec::new());
    for (name, digest) in sums {
        match content.find(name) {
            None => differences.missing.push(name.clone()),
            Some(entry) if entry.kind != EntryKind::File => {
                return Err(SumsError::Link { path: printable(&entry.path, 120) });
            }
            Some(entry) => {
                jobs.push(Job { entry, range: 0..entry.size });
                expected.push(digest);
            }
        }
    }
    for ((job, expected), found) in jobs.iter().zip(expected).zip(hash_all(content, HashAlgorithm::Sha256, &jobs)?) {
        if hex(&found) != expected.hex() {
            differences.changed.push(job.entry.path.clone());
        }
    }
    if differences != Differences::default() {
        return Err(SumsError::Differs(differences));
    }
    Ok(content.entries().iter().map(|entry| entry.path.clone()).filter(|path| !sums.contains_key(path)).collect())
}

fn entry(line: &str) -> Option<(String, Digest)> {
    let (escaped, line) = line.strip_prefix('\\').map_or((false, line), |rest| (true, rest));
    let (name, digits) = if let Some(tagged) = line.strip_prefix("SHA256 (") {
        tagged.rsplit_once(") = ")?
    } else {
        let (digits, rest) = line.split_at_checked(DIGITS)?;
        (rest.strip_prefix("  ").or_else(|| rest.strip_prefix(" *"))?, digits)
    };
    let digest = format!("sha256:{}", digits.to_ascii_lowercase()).parse().ok()?;
    Some((if escaped { unescape(name)? } else { name.to_owned() }, digest))
}

fn unescape(name: &str) -> Option<String> {
    let (mut out, mut characters) = (String::new(), name.chars());
    while let Some(character) = characters.next() {
        out.push(match character {
            '\\' => match characters.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            other => other,
        });
    }
    Some(out)
}
