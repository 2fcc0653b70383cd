//! Reading, always within one snapshot: either a read transaction of its own, or the transaction of a commit.

use std::{ops::Range, path::Path};

use ringfence_schema::{Digest, trail::Entry};
use ringfence_trust::{
    checkpoint::{self, Checkpoint},
    keys::{KeyId, KeyState, Purpose, WrappedKey},
    merkle::{self, Frontier, ProofError},
};
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::{
    db::{Db, VERSION_OUTBOX, VERSION_SUBTREES},
    error::{At as _, CatalogError},
    fold::Fold,
    tx::Table,
};

/// Most entries that one call returns.
pub const ENTRIES_MAX: u64 = 4_096;

/// An entry with what lies beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its place in the trail, counted from 0.
    pub index: u64,
    /// The entry.
    pub entry: Entry,
    /// The leaf's bytes, which proofs are about.
    pub leaf: Vec<u8>,
    /// The sealed openings of its commitments, if there are any.
    pub openings: Option<Vec<u8>>,
}

/// A deciding row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRow {
    /// Its key within the table.
    pub key: Vec<u8>,
    /// Its sealed value.
    pub value: Vec<u8>,
}

/// A key of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerKey {
    /// Its name.
    pub id: KeyId,
    /// What it is for.
    pub purpose: Purpose,
    /// What it may still do.
    pub state: KeyState,
    /// Its wraps, by the name of the wrapping key; none once it is destroyed.
    pub wraps: Vec<WrappedKey>,
}

/// What can be read.
#[derive(Clone, Copy)]
pub struct View<'c> {
    conn: &'c Connection,
    path: &'c Path,
}

impl<'c> View<'c> {
    pub(crate) fn new(db: &'c Db) -> Self {
        Self { conn: &db.conn, path: &db.path }
    }

    pub(crate) fn conn(&self) -> &'c Connection {
        self.conn
    }

    pub(crate) fn path(&self) -> &'c Path {
        self.path
    }

    pub(crate) fn damaged(&self, what: impl Into<String>) -> CatalogError {
        CatalogError::damaged(self.path, what)
    }

    /// Whether the file is of a version that has an outbox; one that is only read keeps its version.
    pub(crate) fn has_outbox(&self) -> Result<bool, CatalogError> {
        Ok(self.version()? >= VERSION_OUTBOX)
    }

    /// Whether the file is of a version that keeps subtrees.
    pub(crate) fn has_subtrees(&self) -> Result<bool, CatalogError> {
        Ok(self.version()? >= VERSION_SUBTREES)
    }

    fn version(&self) -> Result<u32, CatalogError> {
        let version: Option<u32> = self.one("PRAGMA user_version", [], |row| row.get(0))?;
        Ok(version.unwrap_or_default())
    }

    /// How many entries the trail has.
    pub fn size(&self) -> Result<u64, CatalogError> {
        let last: Option<i64> = self.one("SELECT max(idx) FROM trail", [], |row| row.get(0))?.flatten();
        Ok(last.and_then(|last| u64::try_from(last).ok()).map_or(0, |last| last + 1))
    }

    /// Root over the deciding rows, as the newest entry has it.
    pub fn state(&self) -> Result<Option<Digest>, CatalogError> {
        let newest = self.size()?.checked_sub(1).map(|last| self.entry(last)).transpose()?.flatten();
        Ok(newest.map(|newest| newest.entry.state))
    }

    /// Entry number `index`.
    pub fn entry(&self, index: u64) -> Result<Option<StoredEntry>, CatalogError> {
        Ok(self.entries(index..index.saturating_add(1))?.pop())
    }

    /// The entries of `range` that exist, at most [`ENTRIES_MAX`] of them.
    pub fn entries(&self, range: Range<u64>) -> Result<Vec<StoredEntry>, CatalogError> {
        let end = range.end.min(range.start.saturating_add(ENTRIES_MAX));
        let sql = "SELECT idx, leaf, openings FROM trail WHERE idx >= ?1 AND idx < ?2 ORDER BY idx";
        let rows = self.many(sql, [sql_number(range.start), sql_number(end)], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, Option<Vec<u8>>>(2)?))
        })?;
        let read = |(index, leaf, openings): (i64, Vec<u8>, Option<Vec<u8>>)| {
            // Not negative: the range begins at 0.
            let index = u64::try_from(index).unwrap_or(0);
            let entry = Entry::from_leaf(&leaf).map_err(|error| self.damaged(format!("entry {index}: {error}")))?;
            Ok(StoredEntry { index, entry, leaf, openings })
        };
        rows.into_iter().map(read).collect()
    }

    /// Hands the bytes of each entry of `range` to `each`, in order, one at a time in memory; for trails of any length.
    ///
    /// # Errors
    /// What `each` returns; [`CatalogError::Damaged`] where an entry of the range is missing.
    pub fn for_each_leaf<E: From<CatalogError>>(
        &self,
        range: Range<u64>,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = "SELECT idx, leaf FROM trail WHERE idx >= ?1 AND idx < ?2 ORDER BY idx";
        let mut statement = self.conn.prepare_cached(sql).at(self.path)?;
        let mut rows = statement.query([sql_number(range.start), sql_number(range.end)]).at(self.path)?;
        let mut expected = range.start;
        while let Some(row) = rows.next().at(self.path)? {
            let index: i64 = row.get(0).at(self.path)?;
            if index != sql_number(expected) {
                break;
            }
            let leaf = row.get_ref(1).at(self.path)?.as_blob().map_err(rusqlite::Error::from).at(self.path)?;
            each(expected, leaf)?;
            expected += 1;
        }
        if expected < range.end { Err(self.damaged(format!("entry {expected} is missing")).into()) } else { Ok(()) }
    }

    /// The bytes of entry `index`, whatever they are.
    pub(crate) fn leaf(&self, index: u64) -> Result<Option<Vec<u8>>, CatalogError> {
        self.one("SELECT leaf FROM trail WHERE idx = ?1", [sql_number(index)], |row| row.get(0))
    }

    /// Intents without an outcome, oldest first.
    pub fn open_intents(&self) -> Result<Vec<StoredEntry>, CatalogError> {
        let indexes = self.many("SELECT idx FROM open_intent ORDER BY idx", [], |row| row.get::<_, i64>(0))?;
        let open = |index: i64| {
            let index = u64::try_from(index).map_err(|_| self.damaged("an open intent below 0"))?;
            self.entry(index)?.ok_or_else(|| self.damaged(format!("open intent {index} is not in the trail")))
        };
        indexes.into_iter().map(open).collect()
    }

    /// The note of the newest checkpoint.
    pub fn newest_note(&self) -> Result<Option<String>, CatalogError> {
        self.one("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1", [], |row| row.get(0))
    }

    /// The note of the checkpoint over the first `size` entries, if there was one at that moment.
    pub fn note(&self, size: u64) -> Result<Option<String>, CatalogError> {
        self.one("SELECT note FROM checkpoint WHERE size = ?1", [sql_number(size)], |row| row.get(0))
    }

    /// The note of the first checkpoint that covers entry `index`.
    pub fn covering_note(&self, index: u64) -> Result<Option<String>, CatalogError> {
        let sql = "SELECT note FROM checkpoint WHERE size > ?1 ORDER BY size LIMIT 1";
        self.one(sql, [sql_number(index)], |row| row.get(0))
    }

    /// The hashes of the first `size` leaves.
    pub fn leaf_hashes(&self, size: u64) -> Result<Vec<Digest>, CatalogError> {
        let sql = "SELECT leaf FROM trail WHERE idx >= 0 AND idx < ?1 ORDER BY idx";
        let hash = |row: &Row<'_>| Ok(merkle::leaf_hash(row.get_ref(0)?.as_blob()?));
        let hashes = self.many(sql, [sql_number(size)], hash)?;
        if hashes.len() as u64 == size {
            Ok(hashes)
        } else {
            Err(ProofError::OutOfRange { index: size, size: hashes.len() as u64 }.into())
        }
    }

    /// RFC 6962 proof that entry `index` is among the first `size` entries. Reads some hundreds of rows, however long the
    /// trail is.
    ///
    /// # Errors
    /// [`CatalogError::Proof`] where there are not so many; [`CatalogError::Damaged`] where rows are missing.
    pub fn prove_inclusion(&self, index: u64, size: u64) -> Result<Vec<Digest>, CatalogError> {
        self.has_entries(size)?;
        merkle::inclusion_proof_by(index, size, |level, number| self.subtree(level, number))
    }

    /// RFC 6962 proof that the first `old_size` entries are the beginning of the first `size`. As cheap as
    /// [`Self::prove_inclusion`], with the same errors.
    pub fn prove_consistency(&self, old_size: u64, size: u64) -> Result<Vec<Digest>, CatalogError> {
        self.has_entries(size)?;
        merkle::consistency_proof_by(old_size, size, |level, number| self.subtree(level, number))
    }

    fn has_entries(&self, size: u64) -> Result<(), CatalogError> {
        let there = self.size()?;
        if size <= there { Ok(()) } else { Err(ProofError::OutOfRange { index: size, size: there }.into()) }
    }

    /// The sealed value of a deciding row.
    pub fn row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, CatalogError> {
        let sql = "SELECT value FROM state WHERE tbl = ?1 AND key = ?2";
        self.one(sql, (table.name(), key), |row| row.get(0))
    }

    /// The deciding rows of a table, by key.
    pub fn rows(&self, table: Table) -> Result<Vec<StoredRow>, CatalogError> {
        let sql = "SELECT key, value FROM state WHERE tbl = ?1 ORDER BY key";
        self.many(sql, [table.name()], |row| Ok(StoredRow { key: row.get(0)?, value: row.get(1)? }))
    }

    /// A key of the ledger.
    pub fn key(&self, id: KeyId) -> Result<Option<LedgerKey>, CatalogError> {
        let sql = "SELECT id, purpose, state FROM ledger WHERE id = ?1";
        let found = self.one(sql, [id.to_string()], ledger_row)?;
        found.map(|row| self.ledger_key(row)).transpose()
    }

    /// Every key of the ledger with its wraps, tombstones included, by id.
    pub fn keys(&self) -> Result<Vec<LedgerKey>, CatalogError> {
        let rows = self.many("SELECT id, purpose, state FROM ledger ORDER BY id", [], ledger_row)?;
        rows.into_iter().map(|row| self.ledger_key(row)).collect()
    }

    fn ledger_key(&self, (id, purpose, state): (String, String, String)) -> Result<LedgerKey, CatalogError> {
        let unreadable = || self.damaged("a row of the key ledger is unreadable");
        let id: KeyId = id.parse().map_err(|_| unreadable())?;
        let purpose: Purpose = purpose.parse().map_err(|_| unreadable())?;
        let state = key_state(&state).ok_or_else(unreadable)?;
        let sql = "SELECT row FROM wrap WHERE id = ?1 ORDER BY wrapped_by";
        let rows = self.many(sql, [id.to_string()], |row| row.get::<_, Vec<u8>>(0))?;
        let wraps: Vec<WrappedKey> =
            rows.iter().map(|row| serde_json::from_slice(row)).collect::<Result<_, _>>().map_err(|_| unreadable())?;
        let fits = wraps.iter().all(|wrap| wrap.id == id && wrap.purpose == purpose);
        if fits && (state == KeyState::Destroyed) == wraps.is_empty() {
            Ok(LedgerKey { id, purpose, state, wraps })
        } else {
            Err(self.damaged(format!("the ledger contradicts itself about key {id}")))
        }
    }

    /// The bytes of a blob.
    pub fn blob(&self, kind: &str, id: &str) -> Result<Option<Vec<u8>>, CatalogError> {
        self.one("SELECT bytes FROM blob WHERE kind = ?1 AND id = ?2", [kind, id], |row| row.get(0))
    }

    /// The ids of all blobs of a kind, sorted.
    pub fn blob_ids(&self, kind: &str) -> Result<Vec<String>, CatalogError> {
        self.many("SELECT id FROM blob WHERE kind = ?1 ORDER BY id", [kind], |row| row.get(0))
    }

    pub(crate) fn one<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, CatalogError> {
        let mut statement = self.conn.prepare_cached(sql).at(self.path)?;
        statement.query_row(parameters, read).optional().at(self.path)
    }

    pub(crate) fn many<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, CatalogError> {
        let mut statement = self.conn.prepare_cached(sql).at(self.path)?;
        let rows = statement.query_map(parameters, read).at(self.path)?;
        rows.collect::<rusqlite::Result<_>>().at(self.path)
    }
}

/// What the writer keeps in memory: the end of the trail and the deciding rows.
#[derive(Debug)]
pub(crate) struct Head {
    /// The tree's right edge.
    pub(crate) frontier: Frontier,
    /// The deciding rows.
    pub(crate) fold: Fold,
    /// Digest of the newest checkpoint's note.
    pub(crate) note: Option<Digest>,
}

impl Head {
    /// Reads it, and refuses a file whose parts contradict each other: nothing must be built upon those.
    pub(crate) fn load(view: &View<'_>) -> Result<Self, CatalogError> {
        let frontier = stored_edge(view)?.ok_or_else(|| view.damaged("the tree's edge is missing or unreadable"))?;
        if frontier.size() != view.size()? {
            return Err(view.damaged("the trail has another length than its tree"));
        }
        let note = view.newest_note()?;
        match note.as_deref().map(|note| checkpoint::parse_unverified(note.as_bytes())) {
            None if frontier.size() == 0 => {}
            Some(Ok(Checkpoint { size, root, .. })) if size == frontier.size() && root == frontier.root() => {}
            _ => return Err(view.damaged("the newest checkpoint is not of this trail")),
        }
        let fold = stored_fold(view)?;
        let last = frontier.size().checked_sub(1).map(|last| view.entry(last)).transpose()?.flatten();
        if fold.root() != last.map_or_else(|| Fold::default().root(), |last| last.entry.state) {
            return Err(view.damaged("the deciding rows are not those that the trail's last entry signs"));
        }
        Ok(Self { frontier, fold, note: note.map(|note| Digest::of(note.as_bytes())) })
    }
}

/// The tree's edge from its row, if that is one.
pub(crate) fn stored_edge(view: &View<'_>) -> Result<Option<Frontier>, CatalogError> {
    let parts = view.one("SELECT size, hashes FROM edge WHERE id = 0", [], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
    })?;
    Ok(parts.and_then(|(size, hashes)| {
        let (hashes, rest) = hashes.as_chunks::<{ Digest::BYTES }>();
        let hashes = hashes.iter().copied().map(Digest::from_bytes).collect();
        if rest.is_empty() { Frontier::from_parts(u64::try_from(size).ok()?, hashes).ok() } else { None }
    }))
}

/// The fold that the stored rows pretend to be the end of.
pub(crate) fn stored_fold(view: &View<'_>) -> Result<Fold, CatalogError> {
    let rows = view.many("SELECT tbl, key, value FROM state", [], |row| {
        Ok(((row.get(0)?, row.get(1)?), Digest::of(row.get_ref(2)?.as_blob()?)))
    })?;
    Ok(Fold::from_rows(rows.into_iter().collect()))
}

/// SQLite counts up to `i64::MAX`; nothing here comes near it.
pub(crate) fn sql_number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn state_text(state: KeyState) -> &'static str {
    match state {
        KeyState::Active => "active",
        KeyState::Retired => "retired",
        KeyState::Destroyed => "destroyed",
    }
}

fn key_state(text: &str) -> Option<KeyState> {
    [KeyState::Active, KeyState::Retired, KeyState::Destroyed].into_iter().find(|state| state_text(*state) == text)
}

fn ledger_row(row: &Row<'_>) -> rusqlite::Result<(String, String, String)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}
