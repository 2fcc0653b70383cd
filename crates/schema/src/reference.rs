//! How people name artifacts: `dataset/digits`, `dataset/digits@3`, `model/net@released`, `model/net@sha256:…`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de};

use crate::digest::Digest;

/// What kind of thing an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArtifactKind {
    /// Records to train or test with.
    Dataset,
    /// A pre-trained or released model.
    Model,
    /// What a run produced, before it is released.
    Checkpoint,
    /// Programs and scripts.
    Code,
}

impl fmt::Display for ArtifactKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dataset => "dataset",
            Self::Model => "model",
            Self::Checkpoint => "checkpoint",
            Self::Code => "code",
        })
    }
}

/// A kind and a name: 1 to 64 characters of `a-z`, `0-9`, `.`, `_`, `-`, the first a letter or digit.
///
/// ASCII lower case only, so that no two names look or fold alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactName {
    kind: ArtifactKind,
    name: String,
}

impl ArtifactName {
    /// Longest name in characters.
    pub const NAME_CHARS_MAX: usize = 64;

    /// Checks `name` and joins it with `kind`.
    pub fn new(kind: ArtifactKind, name: &str) -> Result<Self, NotAReference> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let valid = name.len() <= Self::NAME_CHARS_MAX
            && name.bytes().next().is_some_and(plain)
            && name.bytes().all(|byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'));
        if valid { Ok(Self { kind, name: name.to_owned() }) } else { Err(NotAReference::name(name)) }
    }

    /// The kind.
    pub fn kind(&self) -> ArtifactKind {
        self.kind
    }

    /// The name without its kind.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for ArtifactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl FromStr for ArtifactName {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        let (kind, name) = text.split_once('/').ok_or_else(|| NotAReference::name(text))?;
        let kind = match kind {
            "dataset" => ArtifactKind::Dataset,
            "model" => ArtifactKind::Model,
            "checkpoint" => ArtifactKind::Checkpoint,
            "code" => ArtifactKind::Code,
            _ => return Err(NotAReference::name(text)),
        };
        Self::new(kind, name)
    }
}

/// Which version of an artifact is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// The newest one.
    Latest,
    /// The n-th one, counted from 1.
    Version(u64),
    /// The one that carries a label, such as `released`.
    Label(String),
    /// The one with this tree digest.
    Digest(Digest),
}

/// An artifact and which version of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// The artifact.
    pub artifact: ArtifactName,
    /// The version.
    pub selector: Selector,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.artifact)?;
        match &self.selector {
            Selector::Latest => Ok(()),
            Selector::Version(version) => write!(f, "@{version}"),
            Selector::Label(label) => write!(f, "@{label}"),
            Selector::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

impl FromStr for Reference {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        let (artifact, selector) = match text.split_once('@') {
            None => (text, Selector::Latest),
            Some((artifact, selector)) => (artifact, parse_selector(selector)?),
        };
        Ok(Self { artifact: artifact.parse()?, selector })
    }
}

fn parse_selector(text: &str) -> Result<Selector, NotAReference> {
    if text.starts_with("sha256:") {
        return text.parse().map(Selector::Digest).map_err(|_| NotAReference::selector(text));
    }
    if text.bytes().next().is_some_and(|first| first.is_ascii_digit()) {
        let version = text.parse().ok().filter(|version| *version > 0 && !text.starts_with('0'));
        return version.map(Selector::Version).ok_or_else(|| NotAReference::selector(text));
    }
    ArtifactName::new(ArtifactKind::Model, text)
        .map(|label| Selector::Label(label.name))
        .map_err(|_| NotAReference::selector(text))
}

/// A text that names no artifact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAReference {
    /// The part before `@` is not `kind/name`.
    #[error("`{0}` is not `dataset/NAME`, `model/NAME`, `checkpoint/NAME` or `code/NAME` in lower-case ASCII")]
    Name(String),
    /// The part behind `@` is no version, label or digest.
    #[error("`{0}` is no version number, label or `sha256:` digest")]
    Selector(String),
}

impl NotAReference {
    fn name(text: &str) -> Self {
        Self::Name(crate::finding::printable(text, 80))
    }

    fn selector(text: &str) -> Self {
        Self::Selector(crate::finding::printable(text, 80))
    }
}

macro_rules! serde_by_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}
serde_by_text!(ArtifactName, Reference);
