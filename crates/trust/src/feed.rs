//! Signed advisory feeds (`ringfence.feed/1`, see [`ringfence_schema::osv::feed`]): made, opened, and held against the newest
//! one that was seen.
//!
//! What must stay true: no record is read before the signature over all of them holds; an older feed, or another one under a
//! serial that was seen, is refused; a feed that has expired is used, and says so ([`Feed::expired`]).

#![deny(clippy::indexing_slicing)]

use ringfence_schema::{
    Timestamp,
    canon::{self, CanonError},
    evidence::Statement,
    finding::printable,
    osv::{
        self, Advisory, OsvError,
        feed::{FeedHead, Seen},
    },
};

use crate::{
    content::{HashAlgorithm, hash_bytes},
    dsse::{self, DsseError, PayloadType},
    sign::{SigningKey, VerifyingKey},
};

/// Largest feed in bytes.
pub const FEED_BYTES_MAX: usize = 256 << 20;
/// Largest envelope in front of it in bytes.
pub const ENVELOPE_BYTES_MAX: usize = 64 << 10;
/// Most records.
pub const RECORDS_MAX: usize = 1_000_000;
/// How far a publisher's clock may run ahead, in milliseconds: 10 minutes.
pub const CLOCK_SKEW_MS_MAX: u64 = 600_000;

/// Why a feed was not made or is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// Over a limit.
    #[error("feed: {what}")]
    TooLarge {
        /// What is over which limit.
        what: &'static str,
    },
    /// Not an envelope by known signers.
    #[error("feed: {0}")]
    Envelope(#[from] DsseError),
    /// Not canonical JSON.
    #[error("feed: {0}")]
    Canon(#[from] CanonError),
    /// Another kind of statement, or a head out of bounds.
    #[error("feed: its envelope does not hold the head of a feed")]
    Head,
    /// The records are not those that were signed.
    #[error("feed `{feed}`: its records are not those that were signed")]
    Records {
        /// Its name, fit to print.
        feed: String,
    },
    /// Another feed than the one that was seen.
    #[error("feed `{given}`, expected `{held}`")]
    OtherFeed {
        /// The name that is held, fit to print.
        held: String,
        /// The name that was given, fit to print.
        given: String,
    },
    /// An older feed than the one that was seen.
    #[error("feed `{feed}` has serial {given}, but {held} was seen before")]
    Rollback {
        /// Its name, fit to print.
        feed: String,
        /// The serial that is held.
        held: u64,
        /// The serial that was given.
        given: u64,
    },
    /// Another content under a serial that was seen: its publisher tells different people different things.
    #[error("feed `{feed}` was seen with serial {serial} and other records")]
    Forked {
        /// Its name, fit to print.
        feed: String,
        /// The serial.
        serial: u64,
    },
    /// Issued later than now.
    #[error("feed `{feed}` was issued at {issued}, which is in the future")]
    NotYet {
        /// Its name, fit to print.
        feed: String,
        /// When it says it was issued.
        issued: Timestamp,
    },
    /// A record that is to be signed cannot be read.
    #[error("feed, line {line}: {error}")]
    Record {
        /// Line of the records, counted from 1.
        line: usize,
        /// Why.
        error: OsvError,
    },
}

/// A feed that somebody pinned signed.
#[derive(Debug)]
pub struct Feed {
    /// What it says of itself.
    pub head: FeedHead,
    /// What to keep, so that no older one is accepted later.
    pub seen: Seen,
    /// Whether a newer one is due: newer advisories may be missing, which is an alert.
    pub expired: bool,
    /// Its advisories.
    pub advisories: Vec<Advisory>,
    /// Lines of the records (from 1) that could not be read, and why. A feed with such lines is incomplete.
    pub unread: Vec<(usize, OsvError)>,
    /// Who signed it.
    pub signers: Vec<VerifyingKey>,
}

/// Signs `records` (OSV records in JSON, one a line) and yields the file. `head.records` is counted here.
pub fn seal(head: &FeedHead, records: &[u8], keys: &[&SigningKey]) -> Result<Vec<u8>, FeedError> {
    if records.len() > FEED_BYTES_MAX - ENVELOPE_BYTES_MAX {
        return Err(FeedError::TooLarge { what: "more than 256 MiB of records" });
    }
    let mut count = 0;
    for (line, record) in lines(records) {
        osv::parse(record).map_err(|error| FeedError::Record { line, error })?;
        count += 1;
    }
    let head = FeedHead { records: count, ..head.clone() };
    if !head.is_valid() || count > RECORDS_MAX as u64 {
        return Err(FeedError::Head);
    }
    let statement = head.to_statement(digest(records));
    let mut file = dsse::seal(PayloadType::InToto, &canon::to_canonical(&statement)?, keys)?;
    file.push(b'\n');
    file.extend_from_slice(records);
    Ok(file)
}

/// Opens a feed that pinned `signers` signed, at `now`, against the newest one that was `seen`.
pub fn open(file: &[u8], signers: &[VerifyingKey], seen: Option<&Seen>, now: Timestamp) -> Result<Feed, FeedError> {
    if file.len() > FEED_BYTES_MAX {
        return Err(FeedError::TooLarge { what: "the file is larger than 256 MiB" });
    }
    let end = file.iter().take(ENVELOPE_BYTES_MAX + 1).position(|byte| *byte == b'\n');
    let end = end.ok_or(FeedError::TooLarge { what: "the first line is no envelope of at most 64 KiB" })?;
    let (envelope, rest) = file.split_at_checked(end).unwrap_or_default();
    let records = rest.get(1..).unwrap_or_default();
    let opened = dsse::open(envelope, PayloadType::InToto, signers)?;
    let statement: Statement = canon::from_canonical(opened.payload())?;
    let (head, expected) = FeedHead::from_statement(&statement).ok_or(FeedError::Head)?;
    let name = || printable(&head.feed, 120);
    if digest(records) != expected {
        return Err(FeedError::Records { feed: name() });
    }
    if head.issued_ms > now.plus_millis(CLOCK_SKEW_MS_MAX) {
        return Err(FeedError::NotYet { feed: name(), issued: head.issued_ms });
    }
    if let Some(held) = seen {
        if held.feed != head.feed {
            return Err(FeedError::OtherFeed { held: printable(&held.feed, 120), given: name() });
        }
        if head.serial < held.serial {
            return Err(FeedError::Rollback { feed: name(), held: held.serial, given: head.serial });
        }
        if head.serial == held.serial && expected != held.records {
            return Err(FeedError::Forked { feed: name(), serial: head.serial });
        }
    }
    let (mut advisories, mut unread) = (Vec::new(), Vec::new());
    for (line, record) in lines(records) {
        if advisories.len() == RECORDS_MAX {
            return Err(FeedError::TooLarge { what: "more than 1,000,000 records" });
        }
        match osv::parse(record) {
            Ok(advisory) => advisories.push(advisory),
            Err(error) => unread.push((line, error)),
        }
    }
    if (advisories.len() + unread.len()) as u64 != head.records {
        return Err(FeedError::Records { feed: name() });
    }
    let seen = Seen { feed: head.feed.clone(), serial: head.serial, records: expected };
    let expired = now >= head.expires_ms;
    Ok(Feed { head, seen, expired, advisories, unread, signers: opened.signers().to_vec() })
}

fn lines(records: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    records
        .split(|byte| *byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(|(at, line)| (at + 1, line))
}

fn digest(records: &[u8]) -> ringfence_schema::Digest {
    let raw = hash_bytes(HashAlgorithm::Sha256, records);
    raw.try_into().map_or_else(|_| ringfence_schema::Digest::of(records), ringfence_schema::Digest::from_bytes)
}
