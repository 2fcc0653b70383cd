//! The trust root `ringfence.root/1`: who may sign what in one vault, and for which part of its trail.
//!
//! A [`RootDocument`] says it; signed by enough root keys it becomes a [`TrustRoot`], the file that users pin. Each later
//! epoch names its predecessor and is signed by enough keys of both, so that trust passes on without a third party.
//! Keys count within a range of trail indexes; a revocation takes effect at an index and is never withdrawn.
//! Absent on purpose: any notion of time, and any trust in a root because of where it was found (see [`crate::pins`]).

#![deny(clippy::indexing_slicing)]

use std::collections::BTreeSet;

use ringfence_schema::{
    Digest, Timestamp,
    canon::{self, CanonError},
};
use serde::{Deserialize, Serialize};

use crate::{
    checkpoint::{self, Checkpoint, CheckpointError},
    dsse::{self, DsseError, Envelope, PayloadType},
    id::VaultId,
    keys::KeyRole,
    note::Note,
    sign::{SigningKey, VerifyingKey},
};

/// Largest root file in bytes.
pub const ROOT_BYTES_MAX: usize = 1 << 20;
/// Most root keys.
pub const ROOT_KEYS_MAX: usize = 16;
/// Most keys with a role, past ones included.
pub const ROLE_KEYS_MAX: usize = 1_024;
/// Most revocations.
pub const REVOCATIONS_MAX: usize = 1_024;
/// Most predicate types of one key.
pub const PREDICATES_MAX: usize = 64;
/// Longest predicate type or reason in bytes.
pub const TEXT_BYTES_MAX: usize = 256;
/// Greatest index or epoch: the greatest integer that every JSON reader keeps exact (RFC 8785 §3.2.2.3).
pub const INDEX_MAX: u64 = (1 << 53) - 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum RootSchema {
    #[serde(rename = "ringfence.root/1")]
    One,
}

/// A key and what it may sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleKey {
    /// The key.
    pub key: VerifyingKey,
    /// Its role, any but [`KeyRole::Root`].
    pub role: KeyRole,
    /// The in-toto predicate types that it may sign, sorted; empty for `log` and `ref`.
    pub predicates: Vec<String>,
    /// First trail index for which it counts.
    pub from: u64,
    /// First trail index for which it counts no more.
    pub until: Option<u64>,
}

/// The end of trust in a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// The key.
    pub key: VerifyingKey,
    /// First trail index for which it counts no more.
    pub from: u64,
    /// Why, for people.
    pub reason: String,
}

/// The epoch before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predecessor {
    /// SHA-256 of its file.
    pub sha256: Digest,
    /// How many of its root keys must sign this epoch.
    pub threshold: u32,
    /// Its root keys, sorted.
    pub roots: Vec<VerifyingKey>,
}

/// What a trust root says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootDocument {
    schema: RootSchema,
    /// The vault.
    pub vault: VaultId,
    /// Counts roots of the vault, from 1.
    pub epoch: u64,
    /// When it was made, by the signer's clock; for people.
    pub issued_ms: Timestamp,
    /// Whether one person holds everything; rails that need several people do not apply then.
    pub solo: bool,
    /// How many root keys must sign.
    pub threshold: u32,
    /// The root keys, sorted.
    pub roots: Vec<VerifyingKey>,
    /// Keys with a role, sorted by key.
    pub keys: Vec<RoleKey>,
    /// Revoked keys, sorted by key.
    pub revocations: Vec<Revocation>,
    /// The epoch before; none in epoch 1.
    pub predecessor: Option<Predecessor>,
}

/// Why a root is not made, not read or not followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// Over [`ROOT_BYTES_MAX`].
    #[error("trust root of {bytes} bytes, limit is {ROOT_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not a valid envelope, or a signature does not hold.
    #[error("trust root: {0}")]
    Envelope(#[from] DsseError),
    /// Not the canonical JSON of a root document.
    #[error("trust root: {0}")]
    Canon(#[from] CanonError),
    /// A document that contradicts itself.
    #[error("trust root: {what}")]
    Invalid {
        /// What is wrong.
        what: &'static str,
    },
    /// Too few signatures.
    #[error("trust root signed by {signed} of the {threshold} {whose} root keys that must sign")]
    Threshold {
        /// How many of them signed.
        signed: usize,
        /// How many must.
        threshold: u32,
        /// `own` or `predecessor's`.
        whose: &'static str,
    },
    /// Not the next epoch of this vault's root.
    #[error("trust root is no successor: {what}")]
    NotASuccessor {
        /// What does not follow.
        what: &'static str,
    },
}

/// Why a key's signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignerRefusal {
    /// The root does not list the key.
    #[error("the trust root does not know the key")]
    UnknownKey,
    /// The key has another role.
    #[error("the key has role `{role}`")]
    Role {
        /// The role that it has.
        role: KeyRole,
    },
    /// The key may not sign this predicate type.
    #[error("the key may not sign this type of statement")]
    Predicate,
    /// The index is outside the key's range.
    #[error("the key does not count at trail index {index}")]
    Range {
        /// The index.
        index: u64,
    },
    /// The key was revoked at or before the index.
    #[error("the key is revoked from trail index {from}")]
    Revoked {
        /// Where the revocation begins.
        from: u64,
    },
}

impl RootDocument {
    /// The first root of a vault. Lists are sorted here; everything is checked when it is signed.
    pub fn first(
        vault: VaultId,
        issued_ms: Timestamp,
        solo: bool,
        threshold: u32,
        roots: Vec<VerifyingKey>,
        keys: Vec<RoleKey>,
    ) -> Self {
        let mut document = Self {
            schema: RootSchema::One,
            vault,
            epoch: 1,
            issued_ms,
            solo,
            threshold,
            roots,
            keys,
            revocations: Vec::new(),
            predecessor: None,
        };
        document.sort();
        document
    }

    /// Puts the lists into the order that files have.
    pub fn sort(&mut self) {
        self.roots.sort();
        self.keys.iter_mut().for_each(|key| key.predicates.sort());
        self.keys.sort_by_key(|key| key.key);
        self.revocations.sort_by_key(|revocation| revocation.key);
    }

    /// Sorts, signs and checks: `signers` must hold enough root keys of this epoch and of the predecessor.
    pub fn sign(mut self, signers: &[&SigningKey]) -> Result<TrustRoot, RootError> {
        self.sort();
        // Before it is written: canonical JSON would round an integer beyond INDEX_MAX.
        self.check()?;
        TrustRoot::open(&dsse::seal(PayloadType::Root, &canon::to_canonical(&self)?, signers)?)
    }

    fn check(&self) -> Result<(), RootError> {
        let invalid = |what| Err(RootError::Invalid { what });
        if !(1..=INDEX_MAX).contains(&self.epoch) {
            return invalid("the epoch is out of range");
        }
        if (self.epoch == 1) != self.predecessor.is_none() {
            return invalid("every epoch but the first has a predecessor");
        }
        check_roots(self.threshold, &self.roots)?;
        if let Some(predecessor) = &self.predecessor {
            check_roots(predecessor.threshold, &predecessor.roots)?;
        }
        if self.keys.len() > ROLE_KEYS_MAX || self.revocations.len() > REVOCATIONS_MAX {
            return invalid("too many keys or revocations");
        }
        if !rising(self.keys.iter().map(|key| key.key)) || !rising(self.revocations.iter().map(|entry| entry.key)) {
            return invalid("keys or revocations are not sorted, or occur twice");
        }
        let root_keys: BTreeSet<_> = self.roots.iter().chain(self.predecessor.iter().flat_map(|p| &p.roots)).collect();
        for key in &self.keys {
            key.check()?;
            if root_keys.contains(&key.key) {
                return invalid("a root key has another role too");
            }
        }
        if self.revocations.iter().any(|entry| entry.from > INDEX_MAX || !is_text(&entry.reason)) {
            return invalid("a revocation is out of range");
        }
        Ok(())
    }
}

fn check_roots(threshold: u32, roots: &[VerifyingKey]) -> Result<(), RootError> {
    let invalid = |what| Err(RootError::Invalid { what });
    if roots.len() > ROOT_KEYS_MAX || threshold == 0 || threshold as usize > roots.len() {
        return invalid("the threshold does not fit the root keys");
    }
    if !rising(roots.iter()) {
        return invalid("root keys are not sorted, or occur twice");
    }
    Ok(())
}

fn rising<T: Ord>(items: impl Iterator<Item = T>) -> bool {
    items.is_sorted_by(|a, b| a < b)
}

fn is_text(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control)
}

impl RoleKey {
    fn check(&self) -> Result<(), RootError> {
        let invalid = |what| Err(RootError::Invalid { what });
        let signs_statements = matches!(self.role, KeyRole::Evidence | KeyRole::Release);
        if self.role == KeyRole::Root {
            return invalid("a root key is listed among the keys with a role");
        }
        if signs_statements == self.predicates.is_empty() {
            return invalid("`evidence` and `release` keys have predicate types, others have none");
        }
        if self.predicates.len() > PREDICATES_MAX
            || !rising(self.predicates.iter())
            || !self.predicates.iter().all(|predicate| !predicate.is_empty() && is_text(predicate))
        {
            return invalid("predicate types are too many or too long, not sorted, or occur twice");
        }
        if self.from > INDEX_MAX || self.until.is_some_and(|until| until > INDEX_MAX || until < self.from) {
            return invalid("a key's range of trail indexes is out of range");
        }
        Ok(())
    }
}

/// A root document whose signatures and inner rules were checked. Whether to trust it is another question: it is
/// trusted when the user named it, or when it follows a trusted one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRoot {
    document: RootDocument,
    file: Vec<u8>,
}

impl TrustRoot {
    /// Checks a root file: its form, and that enough root keys of this epoch, and of the named predecessor, signed it.
    pub fn open(file: &[u8]) -> Result<Self, RootError> {
        if file.len() > ROOT_BYTES_MAX {
            return Err(RootError::TooLarge { bytes: file.len() });
        }
        let envelope = Envelope::parse(file)?;
        // The document names the keys that must have signed it, so it is read before they are checked.
        let document: RootDocument = canon::from_canonical(envelope.unverified_payload())?;
        document.check()?;
        let before = document.predecessor.as_ref();
        let known: Vec<_> = document.roots.iter().chain(before.iter().flat_map(|p| &p.roots)).copied().collect();
        let opened = envelope.verify(PayloadType::Root, &known)?;
        let count = |roots: &[VerifyingKey]| opened.signers().iter().filter(|signer| roots.contains(signer)).count();
        let enough = |roots: &[VerifyingKey], threshold: u32, whose| {
            let signed = count(roots);
            if signed < threshold as usize { Err(RootError::Threshold { signed, threshold, whose }) } else { Ok(()) }
        };
        enough(&document.roots, document.threshold, "own")?;
        if let Some(before) = before {
            enough(&before.roots, before.threshold, "predecessor's")?;
        }
        Ok(Self { document, file: file.to_vec() })
    }

    /// Checks that `file` is the next epoch after this root, signed by enough keys of both.
    pub fn succeed(&self, file: &[u8]) -> Result<Self, RootError> {
        let next = Self::open(file)?;
        let broken = |what| Err(RootError::NotASuccessor { what });
        let (old, new) = (&self.document, &next.document);
        if new.vault != old.vault {
            return broken("it is another vault's");
        }
        if new.epoch != old.epoch + 1 {
            return broken("its epoch is not the next one");
        }
        let predecessor = Predecessor { sha256: self.digest(), threshold: old.threshold, roots: old.roots.clone() };
        if new.predecessor.as_ref() != Some(&predecessor) {
            return broken("it names another predecessor");
        }
        // An earlier beginning of a revocation is fine: more was found out.
        let kept = |entry: &Revocation| new.revocation(&entry.key).is_some_and(|now| now.from <= entry.from);
        if !old.revocations.iter().all(kept) {
            return broken("it withdraws a revocation");
        }
        Ok(next)
    }

    /// A document for the next epoch that says the same, to be changed and signed with keys of both epochs.
    pub fn next_document(&self, issued_ms: Timestamp) -> RootDocument {
        let predecessor = Predecessor {
            sha256: self.digest(),
            threshold: self.document.threshold,
            roots: self.document.roots.clone(),
        };
        RootDocument {
            epoch: self.document.epoch.saturating_add(1),
            issued_ms,
            predecessor: Some(predecessor),
            ..self.document.clone()
        }
    }

    /// What it says.
    pub fn document(&self) -> &RootDocument {
        &self.document
    }

    /// The file, as it is pinned and exported.
    pub fn file(&self) -> &[u8] {
        &self.file
    }

    /// SHA-256 of the file.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.file)
    }

    /// The vault.
    pub fn vault(&self) -> &VaultId {
        &self.document.vault
    }

    /// The epoch.
    pub fn epoch(&self) -> u64 {
        self.document.epoch
    }

    /// Whether a statement of this predicate type, signed by `key` and recorded at this trail index, counts.
    pub fn may_sign(&self, key: &VerifyingKey, predicate_type: &str, index: u64) -> Result<(), SignerRefusal> {
        let entry = self.entry(key)?;
        if !matches!(entry.role, KeyRole::Evidence | KeyRole::Release) {
            return Err(SignerRefusal::Role { role: entry.role });
        }
        if !entry.predicates.iter().any(|predicate| predicate == predicate_type) {
            return Err(SignerRefusal::Predicate);
        }
        self.counts_at(entry, index)
    }

    /// Whether `key` has `role` at this trail index.
    pub fn has_role(&self, key: &VerifyingKey, role: KeyRole, index: u64) -> Result<(), SignerRefusal> {
        let entry = self.entry(key)?;
        if entry.role == role { self.counts_at(entry, index) } else { Err(SignerRefusal::Role { role: entry.role }) }
    }

    /// The keys that have `role` at this trail index.
    pub fn keys_at(&self, role: KeyRole, index: u64) -> Vec<VerifyingKey> {
        let counts = |entry: &&RoleKey| entry.role == role && self.counts_at(entry, index).is_ok();
        self.document.keys.iter().filter(counts).map(|entry| entry.key).collect()
    }

    /// The keys that have or had `role`, whatever the index.
    pub fn keys_ever(&self, role: KeyRole) -> Vec<VerifyingKey> {
        self.document.keys.iter().filter(|entry| entry.role == role).map(|entry| entry.key).collect()
    }

    /// Checks a checkpoint of this vault's trail: signed by a log key that counts for its last entry.
    pub fn verify_checkpoint(&self, note: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let size = checkpoint::parse_unverified(note)?.size;
        let keys = self.keys_at(KeyRole::Log, size.saturating_sub(1));
        checkpoint::verify(note, &checkpoint::origin(self.vault()), &keys)
    }

    /// As [`Self::verify_checkpoint`], for a note that others may have cosigned; their lines are in it, unchecked.
    pub fn verify_cosigned(&self, note: &[u8]) -> Result<(Checkpoint, Note), CheckpointError> {
        let size = Note::parse(note)?.checkpoint()?.size;
        let keys = self.keys_at(KeyRole::Log, size.saturating_sub(1));
        checkpoint::verify_cosigned(note, &checkpoint::origin(self.vault()), &keys)
    }

    fn entry(&self, key: &VerifyingKey) -> Result<&RoleKey, SignerRefusal> {
        self.document.keys.iter().find(|entry| entry.key == *key).ok_or(SignerRefusal::UnknownKey)
    }

    fn counts_at(&self, entry: &RoleKey, index: u64) -> Result<(), SignerRefusal> {
        if index < entry.from || entry.until.is_some_and(|until| index >= until) {
            return Err(SignerRefusal::Range { index });
        }
        match self.document.revocation(&entry.key) {
            Some(revocation) if index >= revocation.from => Err(SignerRefusal::Revoked { from: revocation.from }),
            _ => Ok(()),
        }
    }
}

impl RootDocument {
    fn revocation(&self, key: &VerifyingKey) -> Option<&Revocation> {
        self.revocations.iter().find(|entry| entry.key == *key)
    }
}
