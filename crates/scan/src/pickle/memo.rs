//! The memo: values by number, six bytes each.
//!
//! Dense where picklers write it, sparse where an attacker does.

use std::collections::HashMap;

use super::heap::{Narrow, Packed};

/// Most entries.
const ENTRIES_MAX: usize = 64 << 20;
/// How far ahead of its end the dense part grows, in entries.
const DENSE_AHEAD: u64 = 4_096;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Memo {
    dense: Vec<Narrow>,
    /// Numbers of the dense part that were never put.
    holes: usize,
    sparse: HashMap<u64, Packed>,
    /// Whether there are holes, or anything sparse.
    is_uneven: bool,
}

impl Memo {
    pub(super) fn clear(&mut self) {
        self.dense.clear();
        self.holes = 0;
        self.sparse.clear();
        self.is_uneven = false;
    }

    /// How many entries there are.
    pub(super) fn count(&self) -> u64 {
        (self.dense.len() - self.holes + self.sparse.len()) as u64
    }

    pub(super) fn is_full(&self) -> bool {
        self.count() >= ENTRIES_MAX as u64
    }

    /// The number that is both the next one and the number of entries, as it always is where picklers write the stream
    /// and there is room.
    #[inline]
    pub(super) fn next(&self) -> Option<usize> {
        let next = self.dense.len();
        (next < ENTRIES_MAX && !self.is_uneven).then_some(next)
    }

    /// Puts `value` under the number that [`Self::next`] told.
    #[inline]
    pub(super) fn append(&mut self, value: Packed) {
        self.dense.push(value.into());
    }

    pub(super) fn put(&mut self, index: u64, value: Packed) {
        if index < self.dense.len() as u64 + DENSE_AHEAD {
            self.put_dense(index, value);
        } else {
            self.sparse.insert(index, value);
        }
        self.is_uneven = self.holes > 0 || !self.sparse.is_empty();
    }

    fn put_dense(&mut self, index: u64, value: Packed) {
        let (at, length) = (usize::try_from(index).unwrap_or(0), self.dense.len());
        if at >= length {
            self.dense.resize(at + 1, Packed::HOLE.into());
            self.holes += at + 1 - length;
        }
        if let Some(entry) = self.dense.get_mut(at) {
            if Packed::from(*entry) == Packed::HOLE {
                self.holes = self.holes.saturating_sub(1);
                // The dense part has grown over it.
                self.sparse.remove(&index);
            }
            *entry = value.into();
        }
    }

    #[inline]
    pub(super) fn get(&self, index: u64) -> Option<Packed> {
        let dense = usize::try_from(index).ok().and_then(|index| self.dense.get(index)).copied();
        let dense = dense.map(Packed::from);
        match dense {
            Some(Packed::HOLE) | None => self.get_sparse(index),
            found => found,
        }
    }

    #[cold]
    fn get_sparse(&self, index: u64) -> Option<Packed> {
        self.sparse.get(&index).copied()
    }
}
