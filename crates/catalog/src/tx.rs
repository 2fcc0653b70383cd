//! What one commit may write.
//!
//! Deciding rows have no setter of their own: they change as the `rows` of [`Tx::append`], in the same call that writes
//! the entry which lists them.

use std::collections::BTreeMap;

use ringfence_schema::{
    Digest, Timestamp,
    trail::{Change, Entry, EntryKind, Outcome},
};
use ringfence_trust::{
    keys::{KeyId, KeyState, WrappedKey},
    merkle::{self, ProofError},
};

use crate::{
    db::Db,
    erasure,
    error::{At as _, CatalogError},
    fold::Undo,
    subtree,
    view::{Head, LedgerKey, View, sql_number, state_text},
};

/// Largest blob in bytes.
pub const BLOB_BYTES_MAX: usize = 64 << 20;
/// Largest sealed openings of an entry, in bytes.
pub const OPENINGS_BYTES_MAX: usize = 1 << 20;
/// Largest sealed value of a deciding row, in bytes.
pub const ROW_BYTES_MAX: usize = 1 << 20;
/// Longest key of a deciding row, id or kind of a blob, in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// Commitment under which an entry names its sealed openings.
pub const OPENINGS_COMMIT: &str = "openings";
/// Commitment under which the first entry after a checkpoint names its note.
pub const CHECKPOINT_COMMIT: &str = "checkpoint";

/// A table of deciding rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// What a name and version of an artifact stands for.
    Ref,
    /// The vault's policy.
    Policy,
    /// People, with their roles and factors.
    Person,
    /// Their sessions.
    Session,
    /// Tokens of people and programs.
    Token,
    /// Requests that wait for the approval of others.
    Request,
    /// Times in which somebody did without the approval of others.
    Emergency,
    /// Findings that were waived.
    Waiver,
    /// Keys and evidence that no longer count.
    Revocation,
    /// Trust roots.
    Root,
    /// Alerts that somebody has acknowledged.
    Acknowledgement,
    /// Entries of which openings were erased.
    Erasure,
    /// What is done by itself, and when.
    Schedule,
    /// Groups of a directory.
    Group,
    /// Runs that wait for a machine.
    Queue,
}

impl Table {
    /// Its name in the trail.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ref => "ref",
            Self::Policy => "policy",
            Self::Person => "person",
            Self::Session => "session",
            Self::Token => "token",
            Self::Request => "request",
            Self::Emergency => "emergency",
            Self::Waiver => "waiver",
            Self::Revocation => "revocation",
            Self::Root => "root",
            Self::Acknowledgement => "acknowledgement",
            Self::Erasure => erasure::TABLE,
            Self::Schedule => "schedule",
            Self::Group => "group",
            Self::Queue => "queue",
        }
    }
}

/// A change of a deciding row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// In which table.
    pub table: Table,
    /// Which row; opaque, at most [`NAME_BYTES_MAX`].
    pub key: Vec<u8>,
    /// The new sealed value; `None` removes the row.
    pub value: Option<Vec<u8>>,
}

/// An entry as the caller knows it; `changes`, `state` and two commitments are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The vault.
    pub vault: String,
    /// When, by the caller's clock.
    pub time: Timestamp,
    /// What it is.
    pub kind: EntryKind,
    /// Which action, such as `admit`.
    pub action: String,
    /// Opaque id of who acts.
    pub actor: String,
    /// The intent that an outcome closes.
    pub of: Option<u64>,
    /// What came of it.
    pub outcome: Option<Outcome>,
    /// Salted commitments by name, without [`OPENINGS_COMMIT`] and [`CHECKPOINT_COMMIT`].
    pub commits: BTreeMap<String, Digest>,
}

/// An entry that changes no rows, with its sealed openings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The entry.
    pub draft: Draft,
    /// At most [`OPENINGS_BYTES_MAX`].
    pub openings: Option<Vec<u8>>,
}

/// A commit on its way. Dropped with an error, it leaves nothing.
pub struct Tx<'w> {
    db: &'w Db,
    head: &'w mut Head,
    undo: &'w mut Vec<Undo>,
    effects: &'w mut Effects,
}

/// What the queue must know when the closure is done.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each set in one place")]
pub(crate) struct Effects {
    /// Entries were appended, so a checkpoint is due.
    pub(crate) appended: bool,
    /// Wraps were destroyed, so old pages must leave the write-ahead log.
    pub(crate) destroyed: bool,
    /// The next entry is the first one after a checkpoint.
    pub(crate) chain: bool,
    /// A write failed half-way; whatever the closure says, it must not be committed.
    pub(crate) torn: bool,
}

impl<'w> Tx<'w> {
    pub(crate) fn new(db: &'w Db, head: &'w mut Head, undo: &'w mut Vec<Undo>, effects: &'w mut Effects) -> Self {
        Self { db, head, undo, effects }
    }

    /// Everything that can be read, as this commit leaves it.
    pub fn view(&self) -> View<'_> {
        View::new(self.db)
    }

    /// The index that the next entry will have.
    pub fn next_index(&self) -> u64 {
        self.head.frontier.size()
    }

    /// Root over the deciding rows, as this commit leaves them.
    pub(crate) fn state(&self) -> Digest {
        self.head.fold.root()
    }

    /// Appends an entry with its sealed `openings`, and changes the deciding `rows` that it lists. Returns its index.
    ///
    /// `genesis` comes first and only first; an outcome closes an intent that is open; only these two change rows.
    pub fn append(&mut self, draft: Draft, openings: Option<&[u8]>, rows: Vec<RowChange>) -> Result<u64, CatalogError> {
        let index = self.next_index();
        Self::check_rules(index, &draft, &rows)?;
        if let Some(of) = draft.of {
            let sql = "SELECT 1 FROM open_intent WHERE idx = ?1";
            if self.view().one(sql, [sql_number(of)], |_| Ok(()))?.is_none() {
                return Err(CatalogError::Rule { index, what: rules::NOT_OPEN });
            }
        }
        if self.effects.torn {
            return Err(CatalogError::Torn { path: self.db.path.clone() });
        }
        limit("openings", openings.map_or(0, <[u8]>::len), OPENINGS_BYTES_MAX)?;
        let mut commits = draft.commits;
        if let Some(openings) = openings {
            commits.insert(OPENINGS_COMMIT.to_owned(), Digest::of(openings));
        }
        if let Some(note) = self.head.note.filter(|_| self.effects.chain) {
            commits.insert(CHECKPOINT_COMMIT.to_owned(), note);
        }
        let mut changes: Vec<Change> = rows.iter().map(change).collect();
        changes.sort();
        // From here on, whatever fails must be undone with the whole closure, even if that goes on.
        self.effects.torn = true;
        let undo = self.head.fold.apply(&changes).map_err(|error| CatalogError::Rule { index, what: error.words() })?;
        self.undo.push(undo);
        let entry = Entry {
            vault: draft.vault,
            time: draft.time,
            kind: draft.kind,
            action: draft.action,
            actor: draft.actor,
            of: draft.of,
            outcome: draft.outcome,
            commits,
            changes,
            state: self.head.fold.root(),
        };
        let leaf = entry.to_leaf()?;
        let row = (sql_number(index), &leaf, openings);
        self.execute("INSERT INTO trail (idx, leaf, openings) VALUES (?1, ?2, ?3)", row)?;
        match entry.of {
            Some(of) => self.execute("DELETE FROM open_intent WHERE idx = ?1", [sql_number(of)])?,
            None if entry.kind == EntryKind::Intent => {
                self.execute("INSERT INTO open_intent (idx) VALUES (?1)", [sql_number(index)])?
            }
            None => 0,
        };
        for row in rows {
            self.write_row(&row)?;
        }
        let mut completed = Vec::new();
        subtree::append(&mut self.head.frontier, merkle::leaf_hash(&leaf), |level, number, root| {
            completed.push((level, sql_number(number), *root.as_bytes()));
        });
        for row in completed {
            self.execute(subtree::INSERT, row)?;
        }
        *self.effects = Effects { appended: true, chain: false, torn: false, ..*self.effects };
        Ok(index)
    }

    fn check_rules(index: u64, draft: &Draft, rows: &[RowChange]) -> Result<(), CatalogError> {
        let rule = |what| Err(CatalogError::Rule { index, what });
        if let Some(what) = rules::of_shape(index, draft.kind, draft.of, draft.outcome, !rows.is_empty()) {
            return rule(what);
        }
        if [OPENINGS_COMMIT, CHECKPOINT_COMMIT].iter().any(|name| draft.commits.contains_key(*name)) {
            return rule("it names a commitment that is filled in here");
        }
        for row in rows {
            limit("key of a row", row.key.len(), NAME_BYTES_MAX)?;
            limit("row", row.value.as_ref().map_or(0, Vec::len), ROW_BYTES_MAX)?;
        }
        Ok(())
    }

    /// Puts other sealed openings in place of those of earlier entries, of which fields are to be erased for good, and returns
    /// the row that says so. The row must be among those of the outcome that is appended next; without it the trail does
    /// not verify. After the commit no page of the file or of its write-ahead log holds what stood there.
    ///
    /// # Errors
    /// [`CatalogError::TooLarge`] over [`erasure::ENTRIES_MAX`] entries; [`CatalogError::Proof`] for one that is not there
    /// or has no openings.
    pub fn erase(&mut self, entries: &[(u64, Vec<u8>)]) -> Result<RowChange, CatalogError> {
        limit("erasure", entries.len(), erasure::ENTRIES_MAX)?;
        for (index, openings) in entries {
            limit("openings", openings.len(), OPENINGS_BYTES_MAX)?;
            let which = sql_number(*index);
            // `secure_delete` zeroes what an update frees; writing zeros first covers a build without it.
            self.execute("UPDATE trail SET openings = zeroblob(length(openings)) WHERE idx = ?1", [which])?;
            let sql = "UPDATE trail SET openings = ?2 WHERE idx = ?1 AND openings IS NOT NULL";
            if self.execute(sql, (which, openings))? != 1 {
                self.effects.torn = true;
                return Err(ProofError::OutOfRange { index: *index, size: self.next_index() }.into());
            }
        }
        self.effects.destroyed = true;
        let value = Some(erasure::encode(entries));
        Ok(RowChange { table: Table::Erasure, key: self.next_index().to_be_bytes().to_vec(), value })
    }

    fn write_row(&mut self, row: &RowChange) -> Result<(), CatalogError> {
        let table = row.table.name();
        match &row.value {
            Some(value) => {
                let sql = "INSERT INTO state (tbl, key, value) VALUES (?1, ?2, ?3) \
                           ON CONFLICT (tbl, key) DO UPDATE SET value = excluded.value";
                self.execute(sql, (table, &row.key, value))?
            }
            None => self.execute("DELETE FROM state WHERE tbl = ?1 AND key = ?2", (table, &row.key))?,
        };
        Ok(())
    }

    /// Adds a key to the ledger, or a wrap by another key to one that is there.
    ///
    /// # Errors
    /// [`CatalogError::KeyExists`] for a second wrap by the same key, or of another purpose;
    /// [`CatalogError::KeyDestroyed`] where a tombstone stands.
    pub fn put_key(&mut self, wrapped: &WrappedKey) -> Result<(), CatalogError> {
        let id = wrapped.id;
        match self.view().key(id)? {
            None => {
                let row = (id.to_string(), wrapped.purpose.to_string(), state_text(KeyState::Active));
                self.execute("INSERT INTO ledger (id, purpose, state) VALUES (?1, ?2, ?3)", row)?;
            }
            Some(LedgerKey { state: KeyState::Destroyed, .. }) => return Err(CatalogError::KeyDestroyed { id }),
            Some(known) => {
                let fits = known.purpose == wrapped.purpose
                    && known.wraps.iter().all(|wrap| wrap.wrapped_by != wrapped.wrapped_by);
                if !fits {
                    return Err(CatalogError::KeyExists { id });
                }
            }
        }
        let row = serde_json::to_vec(wrapped)
            .map_err(|error| CatalogError::Storage { path: self.db.path.clone(), what: error.to_string() })?;
        let sql = "INSERT INTO wrap (id, wrapped_by, row) VALUES (?1, ?2, ?3)";
        self.execute(sql, (id.to_string(), wrapped.wrapped_by.to_string(), row))?;
        Ok(())
    }

    /// Puts a key under another wrapping key: adds `wrapped` and removes all other wraps of the same key.
    pub fn rewrap_key(&mut self, wrapped: &WrappedKey) -> Result<(), CatalogError> {
        self.put_key(wrapped)?;
        self.erase_wraps("id = ?1 AND wrapped_by <> ?2", (wrapped.id.to_string(), wrapped.wrapped_by.to_string()))
    }

    /// Lets a key seal nothing more.
    pub fn retire_key(&mut self, id: KeyId) -> Result<(), CatalogError> {
        self.move_key(id, KeyState::Retired)
    }

    /// Destroys a key: its wraps are overwritten and removed, a tombstone stays. After the commit no page of the file or
    /// of its write-ahead log holds them; see [`crate::Catalog::scrub`].
    pub fn destroy_key(&mut self, id: KeyId) -> Result<(), CatalogError> {
        self.move_key(id, KeyState::Destroyed)?;
        self.erase_wraps("id = ?1", [id.to_string()])
    }

    fn move_key(&mut self, id: KeyId, next: KeyState) -> Result<(), CatalogError> {
        let known = self.view().key(id)?.ok_or(CatalogError::KeyUnknown { id })?;
        if known.state == KeyState::Destroyed {
            return Err(CatalogError::KeyDestroyed { id });
        }
        let row = (id.to_string(), state_text(next));
        self.execute("UPDATE ledger SET state = ?2 WHERE id = ?1", row)?;
        Ok(())
    }

    fn erase_wraps(&mut self, which: &str, parameters: impl rusqlite::Params + Clone) -> Result<(), CatalogError> {
        // `secure_delete` zeroes what a deletion frees; writing zeros first covers a build without it.
        let overwrite = format!("UPDATE wrap SET row = zeroblob(length(row)) WHERE {which}");
        self.execute(&overwrite, parameters.clone())?;
        self.execute(&format!("DELETE FROM wrap WHERE {which}"), parameters)?;
        self.effects.destroyed = true;
        Ok(())
    }

    /// Stores sealed bytes under a kind and an id that are free.
    pub fn put_blob(&mut self, kind: &str, id: &str, bytes: &[u8]) -> Result<(), CatalogError> {
        limit("kind of a blob", kind.len(), NAME_BYTES_MAX)?;
        limit("id of a blob", id.len(), NAME_BYTES_MAX)?;
        limit("blob", bytes.len(), BLOB_BYTES_MAX)?;
        let sql = "INSERT INTO blob (kind, id, bytes) VALUES (?1, ?2, ?3) ON CONFLICT (kind, id) DO NOTHING";
        match self.execute(sql, (kind, id, bytes))? {
            0 => Err(CatalogError::BlobExists { kind: kind.to_owned(), id: id.to_owned() }),
            _ => Ok(()),
        }
    }

    /// Removes a blob; whether there was one.
    pub fn remove_blob(&mut self, kind: &str, id: &str) -> Result<bool, CatalogError> {
        Ok(self.execute("DELETE FROM blob WHERE kind = ?1 AND id = ?2", [kind, id])? > 0)
    }

    pub(crate) fn execute(&mut self, sql: &str, parameters: impl rusqlite::Params) -> Result<usize, CatalogError> {
        let Db { conn, path } = self.db;
        let done = conn.prepare_cached(sql).and_then(|mut statement| statement.execute(parameters)).at(path);
        self.effects.torn |= done.is_err();
        done
    }
}

fn change(row: &RowChange) -> Change {
    let value = row.value.as_deref().map(Digest::of);
    Change { table: row.table.name().to_owned(), key: row.key.clone(), value }
}

pub(crate) fn limit(what: &'static str, bytes: usize, limit: usize) -> Result<(), CatalogError> {
    if bytes > limit { Err(CatalogError::TooLarge { what, bytes, limit }) } else { Ok(()) }
}

/// Which entries may stand where; the writer refuses the others, and `verify` names them.
pub(crate) mod rules {
    use super::{EntryKind, Outcome};

    /// The rule on what an outcome closes.
    pub(crate) const NOT_OPEN: &str = "it closes no open intent";

    /// The rule that an entry breaks by itself.
    pub(crate) fn of_shape(
        index: u64,
        kind: EntryKind,
        of: Option<u64>,
        outcome: Option<Outcome>,
        changes: bool,
    ) -> Option<&'static str> {
        if (index == 0) != (kind == EntryKind::Genesis) {
            return Some("`genesis` comes first, and only first");
        }
        let closes = kind == EntryKind::Outcome;
        if of.is_some() != closes || outcome.is_some() != closes {
            return Some("an outcome, and nothing else, says what it closes and how");
        }
        if changes && !matches!(kind, EntryKind::Outcome | EntryKind::Genesis) {
            return Some("only an outcome or `genesis` changes rows");
        }
        None
    }
}
