//! Roots of whole subtrees of the trail's tree, kept so that a proof reads a few hundred rows instead of every entry.
//!
//! Kept are the subtrees of 256, 65,536 … entries: one row for 256 entries. What lies between is hashed from these, and
//! below the first level from the entries. Nothing is believed because it stands here: a proof that a wrong hash leads to
//! holds against no signed root, and `verify` compares every row with what the entries make of it.

use std::collections::BTreeMap;

use ringfence_schema::Digest;
use ringfence_trust::merkle::{self, Frontier, ProofError};
use rusqlite::Connection;

use crate::{
    db::Db,
    error::{At as _, CatalogError},
    view::{View, sql_number},
};

/// Every so many levels of the tree one is kept; the entries themselves are level 0.
const LEVELS_BETWEEN: u32 = 8;

/// Whether subtrees of this level are kept.
pub(crate) fn is_kept(level: u32) -> bool {
    level > 0 && level.is_multiple_of(LEVELS_BETWEEN)
}

/// Subtrees by level and number.
pub(crate) type Subtrees = BTreeMap<(u32, u64), Digest>;

/// Takes note of what the leaf with this hash completes.
pub(crate) fn append(frontier: &mut Frontier, leaf: Digest, mut keep: impl FnMut(u32, u64, &Digest)) -> u64 {
    let index = frontier.size();
    frontier.append_telling(leaf, |level, root| {
        if is_kept(level) {
            keep(level, index >> level, root);
        }
    })
}

pub(crate) const INSERT: &str = "INSERT INTO subtree (level, number, hash) VALUES (?1, ?2, ?3)";

/// Writes the rows of a trail that was begun before there were any.
pub(crate) fn fill(db: &Db, conn: &Connection) -> Result<(), CatalogError> {
    let path = &db.path;
    let mut statement = conn.prepare("SELECT leaf FROM trail ORDER BY idx").at(path)?;
    let mut rows = statement.query([]).at(path)?;
    let (mut frontier, mut found) = (Frontier::new(), Subtrees::new());
    while let Some(row) = rows.next().at(path)? {
        let leaf = row.get_ref(0).at(path)?.as_blob().map_err(rusqlite::Error::from).at(path)?;
        append(&mut frontier, merkle::leaf_hash(leaf), |level, number, root| {
            found.insert((level, number), *root);
        });
    }
    for ((level, number), root) in found {
        conn.prepare_cached(INSERT).at(path)?.execute((level, sql_number(number), root.as_bytes())).at(path)?;
    }
    Ok(())
}

/// Every row that is kept.
pub(crate) fn stored(view: &View<'_>) -> Result<BTreeMap<(i64, i64), Vec<u8>>, CatalogError> {
    let rows = view.many("SELECT level, number, hash FROM subtree", [], |row| {
        Ok(((row.get(0)?, row.get(1)?), row.get::<_, Vec<u8>>(2)?))
    })?;
    Ok(rows.into_iter().collect())
}

impl View<'_> {
    /// The root over the entries from `number << level` to `(number + 1) << level`.
    ///
    /// # Errors
    /// [`CatalogError::Damaged`] where a row that it needs is not there.
    pub(crate) fn subtree(&self, level: u32, number: u64) -> Result<Digest, CatalogError> {
        let kept = if self.has_subtrees()? { level - level % LEVELS_BETWEEN } else { 0 };
        let above = level - kept;
        let out_of_range = || CatalogError::from(ProofError::OutOfRange { index: number, size: u64::MAX >> level });
        let first = number.checked_shl(above).filter(|first| first >> above == number).ok_or_else(out_of_range)?;
        let last = first.checked_add(1 << above).ok_or_else(out_of_range)?;
        let mut frontier = Frontier::new();
        if kept == 0 {
            self.for_each_leaf(first..last, |_, leaf| {
                frontier.append(merkle::leaf_hash(leaf));
                Ok::<_, CatalogError>(())
            })?;
        } else {
            let sql = "SELECT hash FROM subtree WHERE level = ?1 AND number >= ?2 AND number < ?3 ORDER BY number";
            let range = (kept, sql_number(first), sql_number(last));
            for hash in self.many(sql, range, |row| row.get::<_, [u8; Digest::BYTES]>(0))? {
                frontier.append(Digest::from_bytes(hash));
            }
        }
        if frontier.size() == last - first {
            Ok(frontier.root())
        } else {
            Err(self.damaged(format!("hashes of level {kept} between entries are missing")))
        }
    }
}
