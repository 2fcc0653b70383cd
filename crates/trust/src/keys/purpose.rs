//! What keys are for, where they belong, and what they may still do.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de};

/// A part of the vault with keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// Where a stranger's bytes wait.
    Quarantine,
    /// What a gate has let in.
    Admitted,
    /// No packs: trail details and the seeds of signing keys.
    Control,
}

impl Namespace {
    /// Every namespace.
    pub const ALL: [Self; 3] = [Self::Quarantine, Self::Admitted, Self::Control];

    /// Its name in files and in what seals are bound to.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quarantine => "quarantine",
            Self::Admitted => "admitted",
            Self::Control => "control",
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is deduplicated together and destroyed together, within a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShredGroup(pub u32);

impl ShredGroup {
    /// The group of everything that was given no other.
    pub const FIRST: Self = Self(0);
}

/// Whose signing key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyRole {
    /// Signs trust roots; never listed among a root's role keys.
    Root,
    /// Signs checkpoints of the trail.
    Log,
    /// Signs manifests and what refs point at.
    Ref,
    /// Signs evidence.
    Evidence,
    /// Signs released bundles.
    Release,
}

impl KeyRole {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Root, Self::Log, Self::Ref, Self::Evidence, Self::Release];

    /// Its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Log => "log",
            Self::Ref => "ref",
            Self::Evidence => "evidence",
            Self::Release => "release",
        }
    }
}

impl fmt::Display for KeyRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a wrapped key is for; bound into its wrap. Written `pack/admitted/0`, `detail/control`, `signing/log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// A [`super::NamespaceKey`].
    Namespace(Namespace),
    /// A [`super::PackKey`].
    Pack(Namespace, ShredGroup),
    /// A [`super::ChunkIdKey`].
    ChunkId(Namespace, ShredGroup),
    /// A [`super::CutKey`].
    Cut(Namespace, ShredGroup),
    /// A [`super::ManifestKey`].
    Manifest(Namespace, ShredGroup),
    /// A [`super::DetailKey`].
    Detail,
    /// A [`crate::sign::SigningKey`].
    Signing(KeyRole),
}

impl Purpose {
    /// The namespace whose key wraps keys of this purpose.
    pub const fn namespace(self) -> Namespace {
        match self {
            Self::Namespace(namespace)
            | Self::Pack(namespace, _)
            | Self::ChunkId(namespace, _)
            | Self::Cut(namespace, _)
            | Self::Manifest(namespace, _) => namespace,
            Self::Detail | Self::Signing(_) => Namespace::Control,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(namespace) => write!(f, "namespace/{namespace}"),
            Self::Pack(namespace, group) => write!(f, "pack/{namespace}/{}", group.0),
            Self::ChunkId(namespace, group) => write!(f, "chunk-id/{namespace}/{}", group.0),
            Self::Cut(namespace, group) => write!(f, "cut/{namespace}/{}", group.0),
            Self::Manifest(namespace, group) => write!(f, "manifest/{namespace}/{}", group.0),
            Self::Detail => f.write_str("detail/control"),
            Self::Signing(role) => write!(f, "signing/{role}"),
        }
    }
}

/// A text that names no [`Purpose`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a known purpose of a key")]
pub struct NotAPurpose;

impl FromStr for Purpose {
    type Err = NotAPurpose;

    fn from_str(text: &str) -> Result<Self, NotAPurpose> {
        let (kind, rest) = text.split_once('/').ok_or(NotAPurpose)?;
        let namespace = |name: &str| Namespace::ALL.into_iter().find(|known| known.name() == name).ok_or(NotAPurpose);
        let grouped = || {
            let (name, group) = rest.split_once('/').ok_or(NotAPurpose)?;
            Ok((namespace(name)?, ShredGroup(group.parse().map_err(|_| NotAPurpose)?)))
        };
        let purpose = match kind {
            "namespace" => Self::Namespace(namespace(rest)?),
            "pack" => grouped().map(|(namespace, group)| Self::Pack(namespace, group))?,
            "chunk-id" => grouped().map(|(namespace, group)| Self::ChunkId(namespace, group))?,
            "cut" => grouped().map(|(namespace, group)| Self::Cut(namespace, group))?,
            "manifest" => grouped().map(|(namespace, group)| Self::Manifest(namespace, group))?,
            "detail" => Self::Detail,
            "signing" => Self::Signing(KeyRole::ALL.into_iter().find(|role| role.name() == rest).ok_or(NotAPurpose)?),
            _ => return Err(NotAPurpose),
        };
        // One spelling each: `+1`, `007` or `detail/quarantine` are refused.
        if purpose.to_string() == text { Ok(purpose) } else { Err(NotAPurpose) }
    }
}

impl Serialize for Purpose {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Purpose {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What a key in the ledger may still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Seals and opens.
    Active,
    /// Opens what it sealed, and seals nothing more.
    Retired,
    /// Its wraps are gone; what it sealed cannot be opened.
    Destroyed,
}

impl KeyState {
    /// Whether new things may be sealed.
    pub fn may_seal(self) -> bool {
        self == Self::Active
    }

    /// Whether old things may be opened.
    pub fn may_open(self) -> bool {
        self != Self::Destroyed
    }

    /// Whether a key may go from this state to `next`; there is no way back.
    pub fn may_become(self, next: Self) -> bool {
        matches!((self, next), (Self::Active, Self::Retired) | (Self::Active | Self::Retired, Self::Destroyed))
    }
}
