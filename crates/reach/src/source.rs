//! What people write to say where something comes from.
//!
//! | text | meaning |
//! |---|---|
//! | `hf://ORG/MODEL[@REVISION]`, `hf://datasets/ORG/NAME[@REVISION]` | a repository of the Hugging Face Hub |
//! | `https://HOST/PATH[#sha256=HEX]` | one file |
//! | `file:/PATH` | a local file or folder |
//! | `s3://BUCKET[/PREFIX]` | the objects below a prefix |
//! | `kaggle://OWNER/MODEL/FRAMEWORK/VARIATION/VERSION[#sha256=HEX]` | one version of a Kaggle model, as an archive |
//! | `tfhub://PUBLISHER/…/VERSION[#sha256=HEX]` | one version of a TensorFlow Hub model, as an archive |
//!
//! Each part is checked when it is parsed; a [`Source`] prints as the text that it was parsed from, in one spelling.

use std::{fmt, path::PathBuf, str::FromStr};

use ringfence_schema::{Digest, finding::printable};
use serde::{Deserialize, Serialize, de};

use crate::url::Url;

/// Longest text in bytes.
pub const SOURCE_BYTES_MAX: usize = 4_096;
/// Longest name of an owner, model or revision in bytes.
const NAME_BYTES_MAX: usize = 255;
/// Most parts of a TensorFlow Hub handle.
const HANDLE_PARTS_MAX: usize = 8;

/// Which kind of repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HubKind {
    /// A model.
    Model,
    /// A dataset.
    Dataset,
}

impl HubKind {
    /// The path segment of the Hub's interface.
    pub(crate) const fn segment(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }
}

/// A repository of the Hub.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HubSource {
    /// Model or dataset.
    pub kind: HubKind,
    /// `org/name`, or `name` alone for the oldest repositories.
    pub id: String,
    /// Branch, tag or commit; the default branch when absent.
    pub revision: Option<String>,
}

/// One file by link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebSource {
    /// Where it is.
    pub url: Url,
    /// What its SHA-256 must be.
    pub sha256: Option<Digest>,
}

/// The objects below a prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct S3Source {
    /// The bucket.
    pub bucket: String,
    /// Beginning of the keys, without a leading `/`; may be empty.
    pub prefix: String,
}

/// One version of a model in a catalogue that hands out archives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchiveSource {
    /// Which catalogue.
    pub catalogue: Catalogue,
    /// The handle with its version, `/` between the parts.
    pub handle: String,
    /// What the archive's SHA-256 must be.
    pub sha256: Option<Digest>,
}

/// A catalogue that hands out archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Catalogue {
    /// kaggle.com/models
    Kaggle,
    /// tfhub.dev, which redirects to Kaggle
    TfHub,
}

/// Where something comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Source {
    /// `hf://`
    Hub(HubSource),
    /// `https://` and, where the policy allows it, `http://`
    Web(WebSource),
    /// `file:`
    File(PathBuf),
    /// `s3://`
    S3(S3Source),
    /// `kaggle://`, `tfhub://`
    Archive(ArchiveSource),
}

/// Why a text names no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names no source: {why}")]
pub struct NotASource {
    /// What was given, fit to print and without a query.
    pub text: String,
    /// What is wrong.
    pub why: &'static str,
}

impl Source {
    /// The source without revision and hash: what [`crate::TrustedSources`] judges.
    pub fn name(&self) -> String {
        let whole = match self {
            Self::Hub(hub) => return Self::Hub(HubSource { revision: None, ..hub.clone() }).to_string(),
            Self::Web(web) => return format!("{}{}", web.url.origin(), web.url.path()),
            other => other.to_string(),
        };
        whole.split('#').next().unwrap_or_default().to_owned()
    }
}

impl FromStr for Source {
    type Err = NotASource;

    fn from_str(text: &str) -> Result<Self, NotASource> {
        let wrong = |why| NotASource { text: printable(text.split('?').next().unwrap_or_default(), 120), why };
        if text.len() > SOURCE_BYTES_MAX {
            return Err(wrong("it is longer than 4,096 bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err(wrong("it holds a control character"));
        }
        if let Some(rest) = text.strip_prefix("hf://") {
            return hub(rest).map(Self::Hub).map_err(wrong);
        }
        if let Some(rest) = text.strip_prefix("s3://") {
            return s3(rest).map(Self::S3).map_err(wrong);
        }
        if let Some(rest) = text.strip_prefix("file:") {
            return local(rest).map(Self::File).map_err(wrong);
        }
        if let Some(rest) = text.strip_prefix("kaggle://") {
            return archive(Catalogue::Kaggle, rest).map(Self::Archive).map_err(wrong);
        }
        if let Some(rest) = text.strip_prefix("tfhub://") {
            return archive(Catalogue::TfHub, rest).map(Self::Archive).map_err(wrong);
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            let (link, sha256) = with_hash(text).map_err(wrong)?;
            let url = Url::parse(link).map_err(|error| wrong(error.why))?;
            return Ok(Self::Web(WebSource { url, sha256 }));
        }
        Err(wrong("it begins with none of `hf://`, `https://`, `file:/`, `s3://`, `kaggle://`, `tfhub://`"))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = |f: &mut fmt::Formatter<'_>, sha256: &Option<Digest>| match sha256 {
            Some(digest) => write!(f, "#sha256={}", digest.hex()),
            None => Ok(()),
        };
        match self {
            Self::Hub(hub) => {
                let kind = if hub.kind == HubKind::Dataset { "datasets/" } else { "" };
                write!(f, "hf://{kind}{}", hub.id)?;
                hub.revision.as_ref().map_or(Ok(()), |revision| write!(f, "@{revision}"))
            }
            Self::Web(web) => {
                f.write_str(&web.url.to_text())?;
                hash(f, &web.sha256)
            }
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::S3(s3) if s3.prefix.is_empty() => write!(f, "s3://{}", s3.bucket),
            Self::S3(s3) => write!(f, "s3://{}/{}", s3.bucket, s3.prefix),
            Self::Archive(archive) => {
                let scheme = if archive.catalogue == Catalogue::Kaggle { "kaggle" } else { "tfhub" };
                write!(f, "{scheme}://{}", archive.handle)?;
                hash(f, &archive.sha256)
            }
        }
    }
}

impl Serialize for Source {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Whether `revision` is the full name of a commit, which cannot come to mean something else.
pub fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hub(rest: &str) -> Result<HubSource, &'static str> {
    let (id, revision) = rest.split_once('@').map_or((rest, None), |(id, revision)| (id, Some(revision)));
    let (kind, id) = match id.split_once('/') {
        Some(("datasets", id)) => (HubKind::Dataset, id),
        Some(("models", id)) => (HubKind::Model, id),
        Some(("spaces", _)) => return Err("spaces are programs, neither models nor datasets"),
        _ => (HubKind::Model, id),
    };
    if id.split('/').count() > 2 || !id.split('/').all(is_repository_name) {
        return Err("a repository is `name` or `org/name` of letters, digits, `-`, `_` and `.`");
    }
    if revision.is_some_and(|revision| !is_revision(revision)) {
        return Err("a revision is a branch, tag or commit, without `..`");
    }
    Ok(HubSource { kind, id: id.to_owned(), revision: revision.map(str::to_owned) })
}

/// The Hub's own rule: no `--`, `..`, nor `-` or `.` at either end.
fn is_repository_name(name: &str) -> bool {
    (1..=96).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && !name.contains("--")
        && !name.contains("..")
        && !name.starts_with(['-', '.'])
        && !name.ends_with(['-', '.'])
}

/// A git reference name that needs no care in a path (git-check-ref-format, narrowed to ASCII).
pub(crate) fn is_revision(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b'+'))
        && !text.starts_with('-')
        && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with('.'))
        && !text.contains("..")
}

fn s3(rest: &str) -> Result<S3Source, &'static str> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    // AWS: "General purpose bucket naming rules"; dots are allowed there, but break the certificate of the host name.
    let fine = (3..=63).contains(&bucket.len())
        && bucket.bytes().all(|byte| letters(byte) || matches!(byte, b'-' | b'.'))
        && bucket.starts_with(|c: char| c.is_ascii_alphanumeric())
        && bucket.ends_with(|c: char| c.is_ascii_alphanumeric())
        && !bucket.contains("..")
        && bucket.parse::<std::net::Ipv4Addr>().is_err();
    if !fine {
        return Err("a bucket is 3 to 63 lower-case letters, digits, `-` and `.`");
    }
    if prefix.len() > 1_024 || prefix.starts_with('/') {
        return Err("a prefix is at most 1,024 bytes and does not begin with `/`");
    }
    Ok(S3Source { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

fn local(rest: &str) -> Result<PathBuf, &'static str> {
    let path = match rest.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        Some(_) => return Err("`file://` takes no host"),
        None => rest,
    };
    if !path.starts_with('/') {
        return Err("`file:` takes an absolute path");
    }
    if path.split('/').any(|part| part == "..") {
        return Err("the path holds `..`");
    }
    Ok(PathBuf::from(path))
}

fn archive(catalogue: Catalogue, rest: &str) -> Result<ArchiveSource, &'static str> {
    let (handle, sha256) = with_hash(rest)?;
    let parts: Vec<&str> = handle.split('/').collect();
    let fine = |part: &&str| {
        is_revision(part) && part.len() <= NAME_BYTES_MAX && !part.contains('+') && !part.starts_with('.')
    };
    if !parts.iter().all(fine) {
        return Err("the parts of a handle are letters, digits, `-`, `_` and `.`");
    }
    let version = parts.last().is_some_and(|last| last.len() <= 9 && last.bytes().all(|b| b.is_ascii_digit()));
    if !version {
        return Err("it must end with the number of a version");
    }
    match catalogue {
        Catalogue::Kaggle if parts.len() != 5 => Err("it must be `OWNER/MODEL/FRAMEWORK/VARIATION/VERSION`"),
        Catalogue::TfHub if !(3..=HANDLE_PARTS_MAX).contains(&parts.len()) => Err("it must be `PUBLISHER/…/VERSION`"),
        _ => Ok(ArchiveSource { catalogue, handle: handle.to_owned(), sha256 }),
    }
}

/// Takes `#sha256=HEX` off the end.
fn with_hash(text: &str) -> Result<(&str, Option<Digest>), &'static str> {
    let Some((text, fragment)) = text.split_once('#') else { return Ok((text, None)) };
    let hex = fragment.strip_prefix("sha256=").ok_or("after `#` only `sha256=` may stand")?;
    let digest = format!("sha256:{}", hex.to_ascii_lowercase()).parse();
    digest.map(|digest| (text, Some(digest))).map_err(|_| "a SHA-256 has 64 hexadecimal digits")
}
