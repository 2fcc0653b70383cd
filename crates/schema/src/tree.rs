//! `ringfence.tree/1`: the identity of an artifact.
//!
//! The digest of an artifact is the SHA-256 of the RFC 8785 JSON of its tree: files sorted by path, each with size and
//! SHA-256. Paths are NFC, relative, with `/` between parts; nothing else about a file counts.

use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::{canon, digest::Digest, finding::printable};

/// Most files in one artifact.
pub const FILES_MAX: usize = 1_000_000;
/// Longest path in bytes.
pub const PATH_BYTES_MAX: usize = 1_024;

/// One file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeEntry {
    /// Relative NFC path.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the content.
    pub sha256: Digest,
}

/// The files of an artifact, sorted by path, each path once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tree {
    schema: TreeSchema,
    files: Vec<TreeEntry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum TreeSchema {
    #[serde(rename = "ringfence.tree/1")]
    One,
}

impl Tree {
    /// Sorts and checks `files`.
    pub fn new(mut files: Vec<TreeEntry>) -> Result<Self, TreeError> {
        if files.len() > FILES_MAX {
            return Err(TreeError::TooManyFiles { files: files.len() });
        }
        for file in &files {
            if !is_safe_path(&file.path) {
                return Err(TreeError::UnsafePath { path: printable(&file.path, 120) });
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        if let Some(pair) = files.windows(2).find(|pair| pair[0].path == pair[1].path) {
            return Err(TreeError::DuplicatePath { path: pair[0].path.clone() });
        }
        Ok(Self { schema: TreeSchema::One, files })
    }

    /// The files in order.
    pub fn files(&self) -> &[TreeEntry] {
        &self.files
    }

    /// The artifact's identity.
    pub fn digest(&self) -> Digest {
        // A tree is plain strings, integers and lists: it always has a canonical form.
        Digest::of(&canon::to_canonical(self).unwrap_or_default())
    }

    /// Bytes of all files together.
    pub fn size(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size))
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wire {
            #[serde(rename = "schema")]
            _schema: TreeSchema,
            files: Vec<TreeEntry>,
        }
        Self::new(Wire::deserialize(deserializer)?.files).map_err(serde::de::Error::custom)
    }
}

/// Whether `path` is relative, NFC, without `.`/`..`/empty parts, control characters, backslashes or drive letters.
pub fn is_safe_path(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= PATH_BYTES_MAX
        && is_nfc(path)
        && !path.chars().any(|character| character.is_control() || character == '\\' || character == ':')
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

/// The NFC form of `path`.
pub fn normalise(path: &str) -> String {
    path.nfc().collect()
}

/// Why a list of files is no artifact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// More than [`FILES_MAX`] files.
    #[error("{files} files, limit is {FILES_MAX}")]
    TooManyFiles {
        /// How many there were.
        files: usize,
    },
    /// An absolute, escaping, non-NFC or unprintable path.
    #[error("path `{path}` is not a plain relative path")]
    UnsafePath {
        /// The path, fit to print.
        path: String,
    },
    /// The same path twice.
    #[error("path `{path}` occurs twice")]
    DuplicatePath {
        /// The path.
        path: String,
    },
}
