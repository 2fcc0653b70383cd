//! The leaves of the append-only log.
//!
//! A leaf holds who, what, when and the decision in clear, and everything that could tell more (names, digests, requests)
//! as salted commitments: `SHA-256("ringfence.commit/1" ‖ length of salt ‖ salt ‖ canonical JSON)`. The openings lie sealed beside it.
//! Rows that decide (refs, policies, people) are folds of the `changes` of outcomes; `state` is the root over all of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    canon::{CanonError, CborError, Value, from_cbor, to_canonical, to_cbor, value_to_canonical},
    digest::{Digest, Hasher, hex},
    time::Timestamp,
};

/// Largest leaf: C2SP tlog-tiles prefixes entries with 16 bits.
pub const LEAF_BYTES_MAX: usize = 65_535;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// The first entry of a vault.
    Genesis,
    /// Decided and about to be done; written before the effect.
    Intent,
    /// What came of an intent.
    Outcome,
    /// Decided against.
    Denial,
    /// Decided, and done by being recorded: somebody looked. Nothing of it can be left half done, so no outcome follows.
    Access,
}

/// What came of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was not done.
    Failed,
    /// Found open after a crash, and not done.
    Abandoned,
    /// Found open after a crash, with an effect outside that nobody here can see.
    Unknown,
}

/// A change of one deciding row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Change {
    /// Table, such as `ref`.
    pub table: String,
    /// Key within the table, opaque.
    #[serde(with = "hex_bytes")]
    pub key: Vec<u8>,
    /// SHA-256 of the row's stored (sealed) value; `None`: the row is gone.
    pub value: Option<Digest>,
}

mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&crate::digest::hex(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        crate::digest::from_hex(&text).ok_or_else(|| de::Error::custom("not hexadecimal"))
    }
}

/// One entry of the trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The vault.
    pub vault: String,
    /// When, by the writer's clock.
    pub time: Timestamp,
    /// What it is.
    pub kind: EntryKind,
    /// Which action, such as `admit`.
    pub action: String,
    /// Opaque id of who acts.
    pub actor: String,
    /// Index of the intent that an outcome closes.
    pub of: Option<u64>,
    /// What came of it.
    pub outcome: Option<Outcome>,
    /// Salted commitments by name: `request`, `evidence`, `policy`, `entities`, `result` …
    pub commits: BTreeMap<String, Digest>,
    /// Changes of deciding rows, sorted.
    pub changes: Vec<Change>,
    /// Root of the deciding rows after this entry.
    pub state: Digest,
}

/// Why bytes are no entry, or an entry cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeafError {
    /// Not deterministic CBOR.
    #[error("trail leaf: {0}")]
    Cbor(#[from] CborError),
    /// CBOR of another shape.
    #[error("trail leaf has no valid `{field}`")]
    Field {
        /// Which.
        field: &'static str,
    },
    /// Over [`LEAF_BYTES_MAX`].
    #[error("trail leaf of {bytes} bytes, limit is {LEAF_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

impl Entry {
    /// The leaf's bytes: deterministic CBOR.
    pub fn to_leaf(&self) -> Result<Vec<u8>, LeafError> {
        let text = |text: &str| Value::Text(text.to_owned());
        let bytes = |digest: &Digest| Value::Bytes(digest.as_bytes().to_vec());
        let commits = self.commits.iter().map(|(name, value)| (name.clone(), bytes(value))).collect();
        let changes = self.changes.iter().map(|change| {
            let value = change.value.as_ref().map_or(Value::Null, bytes);
            Value::Array(vec![text(&change.table), Value::Bytes(change.key.clone()), value])
        });
        let fields = [
            ("v", Value::Unsigned(1)),
            ("vault", text(&self.vault)),
            ("time", Value::Unsigned(self.time.millis())),
            ("kind", text(kind_text(self.kind))),
            ("action", text(&self.action)),
            ("actor", text(&self.actor)),
            ("of", self.of.map_or(Value::Null, Value::Unsigned)),
            ("outcome", self.outcome.map_or(Value::Null, |outcome| text(outcome_text(outcome)))),
            ("commits", Value::Map(commits)),
            ("changes", Value::Array(changes.collect())),
            ("state", bytes(&self.state)),
        ];
        let leaf = to_cbor(&Value::Map(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()));
        if leaf.len() > LEAF_BYTES_MAX { Err(LeafError::TooLarge { bytes: leaf.len() }) } else { Ok(leaf) }
    }

    /// Reads a leaf; unknown, missing and ill-typed fields are refused.
    pub fn from_leaf(leaf: &[u8]) -> Result<Self, LeafError> {
        if leaf.len() > LEAF_BYTES_MAX {
            return Err(LeafError::TooLarge { bytes: leaf.len() });
        }
        let Value::Map(mut fields) = from_cbor(leaf)? else { return Err(LeafError::Field { field: "map" }) };
        let mut take = |field: &'static str| fields.remove(field).ok_or(LeafError::Field { field });
        if take("v")? != Value::Unsigned(1) {
            return Err(LeafError::Field { field: "v" });
        }
        let entry = Self {
            vault: as_text(take("vault")?, "vault")?,
            time: Timestamp::from_millis(as_number(&take("time")?, "time")?),
            kind: parse_kind(&as_text(take("kind")?, "kind")?)?,
            action: as_text(take("action")?, "action")?,
            actor: as_text(take("actor")?, "actor")?,
            of: optional(take("of")?, |value| as_number(&value, "of"))?,
            outcome: optional(take("outcome")?, |value| parse_outcome(&as_text(value, "outcome")?))?,
            commits: as_commits(take("commits")?)?,
            changes: as_changes(take("changes")?)?,
            state: as_digest(&take("state")?, "state")?,
        };
        if fields.is_empty() { Ok(entry) } else { Err(LeafError::Field { field: "unknown" }) }
    }
}

fn kind_text(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Genesis => "genesis",
        EntryKind::Intent => "intent",
        EntryKind::Outcome => "outcome",
        EntryKind::Denial => "denial",
        EntryKind::Access => "access",
    }
}

fn parse_kind(text: &str) -> Result<EntryKind, LeafError> {
    [EntryKind::Genesis, EntryKind::Intent, EntryKind::Outcome, EntryKind::Denial, EntryKind::Access]
        .into_iter()
        .find(|kind| kind_text(*kind) == text)
        .ok_or(LeafError::Field { field: "kind" })
}

fn outcome_text(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Failed => "failed",
        Outcome::Abandoned => "abandoned",
        Outcome::Unknown => "unknown",
    }
}

fn parse_outcome(text: &str) -> Result<Outcome, LeafError> {
    [Outcome::Done, Outcome::Failed, Outcome::Abandoned, Outcome::Unknown]
        .into_iter()
        .find(|outcome| outcome_text(*outcome) == text)
        .ok_or(LeafError::Field { field: "outcome" })
}

fn optional<T>(value: Value, read: impl FnOnce(Value) -> Result<T, LeafError>) -> Result<Option<T>, LeafError> {
    if value == Value::Null { Ok(None) } else { read(value).map(Some) }
}

fn as_text(value: Value, field: &'static str) -> Result<String, LeafError> {
    if let Value::Text(text) = value { Ok(text) } else { Err(LeafError::Field { field }) }
}

fn as_number(value: &Value, field: &'static str) -> Result<u64, LeafError> {
    if let Value::Unsigned(number) = value { Ok(*number) } else { Err(LeafError::Field { field }) }
}

fn as_digest(value: &Value, field: &'static str) -> Result<Digest, LeafError> {
    let Value::Bytes(bytes) = value else { return Err(LeafError::Field { field }) };
    let raw: [u8; Digest::BYTES] = bytes.as_slice().try_into().map_err(|_| LeafError::Field { field })?;
    Ok(Digest::from_bytes(raw))
}

fn as_commits(value: Value) -> Result<BTreeMap<String, Digest>, LeafError> {
    let Value::Map(commits) = value else { return Err(LeafError::Field { field: "commits" }) };
    commits.into_iter().map(|(name, value)| Ok((name, as_digest(&value, "commits")?))).collect()
}

fn as_changes(value: Value) -> Result<Vec<Change>, LeafError> {
    let wrong = LeafError::Field { field: "changes" };
    let Value::Array(items) = value else { return Err(wrong) };
    let change = |item| {
        let Value::Array(parts) = item else { return Err(wrong.clone()) };
        let [Value::Text(table), Value::Bytes(key), value]: [Value; 3] = parts.try_into().map_err(|_| wrong.clone())?
        else {
            return Err(wrong.clone());
        };
        let value = if value == Value::Null { None } else { Some(as_digest(&value, "changes")?) };
        Ok(Change { table, key, value })
    };
    items.into_iter().map(change).collect()
}

/// A committed value with its salt: whoever holds it can show what a commitment in a leaf stands for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// 32 random bytes, hexadecimal.
    pub salt: String,
    /// The committed value.
    pub value: serde_json::Value,
}

impl Opening {
    /// The commitment that this opens.
    pub fn commitment(&self) -> Result<Digest, CanonError> {
        Ok(commitment(&self.salt, &value_to_canonical(&self.value)?))
    }
}

fn commitment(salt: &str, canonical: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(b"ringfence.commit/1");
    // The salt's length is in front, so that salt and value cannot trade bytes.
    hasher.update(&(salt.len() as u64).to_be_bytes());
    hasher.update(salt.as_bytes());
    hasher.update(canonical);
    hasher.finish()
}

/// Values on their way into an entry: each is encoded once, for its commitment and for the openings.
#[derive(Debug, Default)]
pub struct Salted {
    fields: BTreeMap<String, (String, Vec<u8>)>,
}

impl Salted {
    /// Adds a value in its canonical form (RFC 8785) under a name, salted with 32 random bytes. The last one of a name counts.
    pub fn put(&mut self, name: &str, salt: [u8; 32], canonical: Vec<u8>) {
        self.fields.insert(name.to_owned(), (hex(&salt), canonical));
    }

    /// Adds a value with the salt that it has.
    pub fn keep(&mut self, name: &str, opening: &Opening) -> Result<(), CanonError> {
        self.fields.insert(name.to_owned(), (opening.salt.clone(), value_to_canonical(&opening.value)?));
        Ok(())
    }

    /// The commitments, by name.
    pub fn commits(&self) -> BTreeMap<String, Digest> {
        self.fields.iter().map(|(name, (salt, value))| (name.clone(), commitment(salt, value))).collect()
    }

    /// The RFC 8785 form of the [`Opening`]s by name.
    pub fn openings(&self) -> Result<Vec<u8>, CanonError> {
        // Of ASCII names the order of bytes is that of UTF-16 code units; ours are.
        if !self.fields.keys().all(|name| name.is_ascii()) {
            let opening = |(name, (salt, value)): (&String, &(String, Vec<u8>))| {
                Ok((name.clone(), Opening { salt: salt.clone(), value: serde_json::from_slice(value)? }))
            };
            return to_canonical(&self.fields.iter().map(opening).collect::<Result<BTreeMap<_, _>, CanonError>>()?);
        }
        let mut out = vec![b'{'];
        for (number, (name, (salt, value))) in self.fields.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            serde_json::to_writer(&mut out, name)?;
            out.extend_from_slice(b":{\"salt\":");
            serde_json::to_writer(&mut out, salt)?;
            out.extend_from_slice(b",\"value\":");
            out.extend_from_slice(value);
            out.push(b'}');
        }
        out.push(b'}');
        Ok(out)
    }
}

/// The root over the deciding rows: SHA-256 over `(table, key, value digest)` in order, each with its length in front.
///
/// `rows` must be sorted by table and key; each row once.
pub fn state_root<'a>(rows: impl Iterator<Item = (&'a str, &'a [u8], &'a Digest)>) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(b"ringfence.state/1");
    for (table, key, value) in rows {
        for part in [table.as_bytes(), key, value.as_bytes()] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
    }
    hasher.finish()
}
