//! `ringfence.feed/1`: advisories that travel as one signed file.
//!
//! The first line is a DSSE envelope, the rest OSV records, one a line. The envelope's statement has predicate type
//! [`FEED_PREDICATE`], the SHA-256 of the rest as its one subject, and a [`FeedHead`]. A reader keeps [`Seen`] of the newest feed:
//! an older serial is refused, and one that has expired says that newer advisories may be missing. `trust` signs and opens.

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    evidence::{STATEMENT_TYPE, Statement, Subject},
    time::Timestamp,
};

/// Predicate type of a feed.
pub const FEED_PREDICATE: &str = "urn:ringfence:feed:1";
/// Longest life of a feed in milliseconds: 366 days.
pub const LIFETIME_MS_MAX: u64 = 366 * 86_400_000;
/// Longest name in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// What a feed says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedHead {
    /// Whose feed it is; serials are compared within one name.
    pub feed: String,
    /// Rises with every issue; at least 1.
    pub serial: u64,
    /// When it was issued.
    pub issued_ms: Timestamp,
    /// From when a newer one is due.
    pub expires_ms: Timestamp,
    /// How many records follow.
    pub records: u64,
}

/// The newest feed that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Its name.
    pub feed: String,
    /// Its serial.
    pub serial: u64,
    /// SHA-256 of its records.
    pub records: Digest,
}

impl FeedHead {
    /// Whether its name, serial and lifetime are within bounds.
    pub fn is_valid(&self) -> bool {
        !self.feed.is_empty()
            && self.feed.len() <= NAME_BYTES_MAX
            && self.serial > 0
            && self.expires_ms > self.issued_ms
            && self.expires_ms <= self.issued_ms.plus_millis(LIFETIME_MS_MAX)
    }

    /// The statement that is signed.
    pub fn to_statement(&self, records: Digest) -> Statement {
        Statement {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: vec![Subject::new("records", records)],
            predicate_type: FEED_PREDICATE.to_owned(),
            // Texts and numbers always have a JSON form.
            predicate: serde_json::to_value(self).unwrap_or_default(),
        }
    }

    /// Reads a statement: the head and the digest of the records; `None` if it is another statement or out of bounds.
    pub fn from_statement(statement: &Statement) -> Option<(Self, Digest)> {
        let ours = statement.statement_type == STATEMENT_TYPE && statement.predicate_type == FEED_PREDICATE;
        let [subject] = statement.subject.as_slice() else { return None };
        let head: Self = serde_json::from_value(statement.predicate.clone()).ok().filter(|_| ours)?;
        head.is_valid().then_some((head, subject.sha256()?))
    }
}
