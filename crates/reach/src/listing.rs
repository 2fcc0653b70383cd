//! What a source holds: files with the hashes that the source itself gives, under one pinned revision.
//!
//! Names come from strangers: [`checked_files`] refuses, by name, whatever could land outside its folder, hide, collide on
//! another file system, or mean a device. [`diff`] compares two looks at a source, as `outdated` shows them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use ringfence_schema::{
    Digest, Hasher, digest,
    finding::printable,
    tree::{is_safe_path, normalise},
};
use serde::{Deserialize, Serialize};

use crate::{error::ReachError, source::Source, url::Url};

/// Most files of one source.
pub const FILES_MAX: usize = 100_000;
/// Deepest folder.
const DEPTH_MAX: usize = 32;
/// Longest name of one file or folder in bytes: what common file systems take.
const PART_BYTES_MAX: usize = 255;

/// The SHA-1 of a git blob: `blob SIZE`, a zero byte, and the content (git's object format).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GitBlob([u8; 20]);

impl GitBlob {
    pub(crate) fn from_digest(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Reads 40 lower-case hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        digest::from_hex(text)?.try_into().ok().map(Self)
    }
}

impl fmt::Display for GitBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&digest::hex(&self.0))
    }
}

impl fmt::Debug for GitBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for GitBlob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GitBlob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("not 40 lower-case hexadecimal digits"))
    }
}

/// What a listing is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Revision {
    /// A commit of a repository: 40 hexadecimal digits.
    Commit(String),
    /// The hash that stood beside the link.
    Sha256(Digest),
    /// The number of a published version.
    Version(String),
    /// Nothing pins the source: the SHA-256 of this very listing, to notice changes by.
    Listing(Digest),
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit(text) | Self::Version(text) => f.write_str(text),
            Self::Sha256(digest) => write!(f, "{digest}"),
            Self::Listing(digest) => write!(f, "listing-{digest}"),
        }
    }
}

/// One file of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteFile {
    /// Relative path, checked and NFC.
    pub path: String,
    /// Bytes, if the source says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// SHA-256, if the source says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Git's name for the content, if the source keeps it in git itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_blob: Option<GitBlob>,
    /// The entity tag at the time of listing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Where its bytes are. Not written: links may carry credentials, and a listing that was read back has to be asked for
    /// again before anything is fetched.
    #[serde(skip)]
    pub(crate) place: Place,
}

impl RemoteFile {
    /// The link to its bytes, where there is one.
    pub fn url(&self) -> Option<&Url> {
        match &self.place {
            Place::Hub { url, .. } | Place::Web(url) | Place::S3(url) => Some(url),
            Place::Local(_) | Place::Unknown => None,
        }
    }

    /// Whether two looks saw the same content, as far as the source says.
    fn same(&self, other: &Self) -> bool {
        let hashes = (self.sha256, self.git_blob) == (other.sha256, other.git_blob);
        let hashed = self.sha256.is_some() || self.git_blob.is_some();
        hashes && self.size == other.size && (hashed || self.etag == other.etag)
    }
}

/// Where a file's bytes are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// Behind the Hub's `resolve`, at this commit.
    Hub {
        url: Url,
        commit: String,
    },
    Web(Url),
    S3(Url),
    Local(PathBuf),
    /// The listing was read back from a record.
    #[default]
    Unknown,
}

/// The files of a source at one revision, sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listing {
    schema: ListingSchema,
    /// The source with its revision pinned: asking for it again gives this listing, or an error.
    pub source: Source,
    /// What it was resolved to.
    pub revision: Revision,
    /// Its files.
    pub files: Vec<RemoteFile>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum ListingSchema {
    #[serde(rename = "ringfence.listing/1")]
    One,
}

impl Listing {
    /// Checks the files' names and sorts them.
    pub(crate) fn new(source: Source, revision: Option<Revision>, files: Vec<RemoteFile>) -> Result<Self, ReachError> {
        let files = checked_files(files)?;
        let revision = revision.unwrap_or_else(|| Revision::Listing(fingerprint(&files)));
        Ok(Self { schema: ListingSchema::One, source, revision, files })
    }

    /// Bytes of all files together, as far as they are known.
    pub fn size(&self) -> u64 {
        self.files.iter().filter_map(|file| file.size).fold(0, u64::saturating_add)
    }

    /// The file at `path`.
    pub fn file(&self, path: &str) -> Option<&RemoteFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

impl<'de> Deserialize<'de> for Listing {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wire {
            #[serde(rename = "schema")]
            _schema: ListingSchema,
            source: Source,
            revision: Revision,
            files: Vec<RemoteFile>,
        }
        let wire = Wire::deserialize(deserializer)?;
        Self::new(wire.source, Some(wire.revision), wire.files).map_err(serde::de::Error::custom)
    }
}

/// A hash over what the source says of its files.
fn fingerprint(files: &[RemoteFile]) -> Digest {
    let mut hasher = Hasher::new();
    for file in files {
        // A list of plain strings and numbers always has a JSON form.
        hasher.update(&serde_json::to_vec(file).unwrap_or_default());
        hasher.update(b"\n");
    }
    hasher.finish()
}

/// What is wrong with a file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathFault {
    /// Absolute, with `.` or `..`, a drive letter, a backslash, a control character, or too long.
    #[error("which is not a plain relative path")]
    Unsafe,
    /// Too many folders, or a part that file systems cut.
    #[error("which is nested too deep or has a part that is too long")]
    TooDeep,
    /// Characters that do not show, or turn the direction of writing.
    #[error("which holds characters that do not show")]
    Hidden,
    /// A device on Windows, or a name that Windows changes.
    #[error("which means something else on Windows")]
    Windows,
    /// Inside a git repository's own folder.
    #[error("which lies in git's own folder")]
    Git,
    /// Two names that are one on file systems that fold case or compose characters.
    #[error("which is the same as another on some file systems")]
    Duplicate,
    /// A link, device or pipe.
    #[error("which is neither a file nor a folder")]
    NotAFile,
    /// A name that is both a file and a folder.
    #[error("which is also the folder of another file")]
    FileAndFolder,
}

/// Brings paths to NFC, refuses hostile ones by name, and sorts.
pub(crate) fn checked_files(mut files: Vec<RemoteFile>) -> Result<Vec<RemoteFile>, ReachError> {
    if files.len() > FILES_MAX {
        return Err(ReachError::TooMany { what: "files", limit: FILES_MAX });
    }
    let fault = |path: &str, fault| ReachError::Path { path: printable(path, 120), fault };
    let mut folded = BTreeSet::new();
    let mut folders = BTreeSet::new();
    for file in &mut files {
        file.path = normalise(&file.path);
        check_path(&file.path).map_err(|found| fault(&file.path, found))?;
        let fold = fold(&file.path);
        let mut at = fold.as_str();
        while let Some((folder, _)) = at.rsplit_once('/') {
            folders.insert(folder.to_owned());
            at = folder;
        }
        if !folded.insert(fold) {
            return Err(fault(&file.path, PathFault::Duplicate));
        }
    }
    if let Some(both) = folded.intersection(&folders).next() {
        return Err(fault(both, PathFault::FileAndFolder));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Judges one path, which is NFC already.
pub fn check_path(path: &str) -> Result<(), PathFault> {
    if !is_safe_path(path) {
        return Err(PathFault::Unsafe);
    }
    if printable(path, path.len()) != path {
        return Err(PathFault::Hidden);
    }
    let parts: Vec<&str> = path.split('/').collect();
    if parts.len() > DEPTH_MAX || parts.iter().any(|part| part.len() > PART_BYTES_MAX) {
        return Err(PathFault::TooDeep);
    }
    for part in parts {
        if part.eq_ignore_ascii_case(".git") {
            return Err(PathFault::Git);
        }
        let stem = part.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
        let numbered = |head: &str| {
            stem.strip_prefix(head).is_some_and(|tail| tail.chars().count() == 1 && tail.chars().all(is_port))
        };
        let device = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem.as_str());
        if device || numbered("COM") || numbered("LPT") || part.ends_with(['.', ' ']) {
            return Err(PathFault::Windows);
        }
        if part.contains(['<', '>', '"', '|', '?', '*']) {
            return Err(PathFault::Windows);
        }
    }
    Ok(())
}

/// Windows counts the superscript digits as digits of a port's name.
const fn is_port(character: char) -> bool {
    matches!(character, '0'..='9' | '¹' | '²' | '³')
}

/// What a file system that folds case makes of a path.
fn fold(path: &str) -> String {
    // `ß` and `ẞ`, `K` and the Kelvin sign meet only when folded both ways.
    normalise(&path.to_uppercase().to_lowercase())
}

/// What changed between two looks at a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ListingDiff {
    /// Paths that are new.
    pub added: Vec<String>,
    /// Paths that are gone.
    pub removed: Vec<String>,
    /// Paths whose content, as far as the source says, is another.
    pub changed: Vec<String>,
    /// How many are the same.
    pub unchanged: usize,
}

impl ListingDiff {
    /// Whether the two looks saw the same.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// Compares an earlier look with a later one.
pub fn diff(old: &Listing, new: &Listing) -> ListingDiff {
    let before: BTreeMap<&str, &RemoteFile> = old.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let after: BTreeMap<&str, &RemoteFile> = new.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let mut diff = ListingDiff::default();
    for (path, file) in &after {
        match before.get(path) {
            None => diff.added.push((*path).to_owned()),
            Some(old) if old.same(file) => diff.unchanged += 1,
            Some(_) => diff.changed.push((*path).to_owned()),
        }
    }
    diff.removed = before.keys().filter(|path| !after.contains_key(*path)).map(|path| (*path).to_owned()).collect();
    diff
}
