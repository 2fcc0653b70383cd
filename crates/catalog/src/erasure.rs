//! What was erased of entries, so that erasing can be told from tampering.
//!
//! An entry's leaf names the digest of the sealed openings beside it. When fields of these are erased, the openings that
//! are left are sealed anew, and a deciding row lists the entry with their digest. The leaf stays as it was, and with it
//! every proof; the row changes only together with an outcome that lists it. Rows stand under the index of that outcome,
//! big-endian, so that of several the last one counts.
//!
//! A row's value is not sealed, for whoever verifies has no key: for each entry its index (8 bytes, big-endian) and the
//! SHA-256 of what now lies beside it.

use std::collections::BTreeMap;

use ringfence_schema::Digest;

use crate::{error::CatalogError, view::View};

/// The table's name.
pub(crate) const TABLE: &str = "erasure";
/// Most entries of which one act erases something.
pub const ENTRIES_MAX: usize = 8_192;

const INDEX_BYTES: usize = size_of::<u64>();
const ITEM_BYTES: usize = INDEX_BYTES + Digest::BYTES;

pub(crate) fn encode(entries: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut row = Vec::with_capacity(entries.len() * ITEM_BYTES);
    for (index, openings) in entries {
        row.extend_from_slice(&index.to_be_bytes());
        row.extend_from_slice(Digest::of(openings).as_bytes());
    }
    row
}

/// The digests of what lies beside entries of which something was erased. Rows that say nothing readable are left out: what
/// they are about does not verify then.
pub(crate) fn stored(view: &View<'_>) -> Result<BTreeMap<u64, Digest>, CatalogError> {
    let sql = "SELECT value FROM state WHERE tbl = ?1 ORDER BY key";
    let rows = view.many(sql, [TABLE], |row| row.get::<_, Vec<u8>>(0))?;
    let mut left = BTreeMap::new();
    for row in rows {
        let (items, []) = row.as_chunks::<ITEM_BYTES>() else { continue };
        for item in items {
            if let (Some(index), Some(digest)) = (item.first_chunk(), item.last_chunk()) {
                left.insert(u64::from_be_bytes(*index), Digest::from_bytes(*digest));
            }
        }
    }
    Ok(left)
}
