//! The memo: values by number, eight bytes each.
//!
//! Dense where picklers write it, sparse where an attacker does.

use std::collections::HashMap;

use super::heap::Packed;

/// Most entries.
const ENTRIES_MAX: u64 = 64 << 20;
/// How far ahead of its end the dense part grows, in entries.
const DENSE_AHEAD: u64 = 4_096;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Memo {
    dense: Vec<Packed>,
    sparse: HashMap<u64, Packed>,
    /// Entries that are there.
    count: u64,
}

impl Memo {
    pub(super) fn clear(&mut self) {
        self.dense.clear();
        self.sparse.clear();
        self.count = 0;
    }

    /// How many entries there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= ENTRIES_MAX
    }

    /// Puts `value` under the number `index` if that is the next number and the number of entries, as picklers have it.
    #[inline]
    #[must_use]
    pub(super) fn append(&mut self, index: u64, value: Packed) -> bool {
        let is_next = index == self.count
            && index == self.dense.len() as u64
            && index < ENTRIES_MAX
            && self.sparse.is_empty();
        if is_next {
            self.dense.push(value);
            self.count += 1;
        }
        is_next
    }

    pub(super) fn put(&mut self, index: u64, value: Packed) {
        let length = self.dense.len() as u64;
        if index == length {
            self.dense.push(value);
            self.count += 1;
            if !self.sparse.is_empty() && self.sparse.remove(&index).is_some() {
                self.count -= 1;
            }
            return;
        }
        if index < length + DENSE_AHEAD {
            let at = usize::try_from(index).unwrap_or(0);
            if self.dense.len() <= at {
                self.dense.resize(at + 1, Packed::HOLE);
            }
            if let Some(entry) = self.dense.get_mut(at) {
                self.count += u64::from(*entry == Packed::HOLE);
                *entry = value;
            }
        } else if self.sparse.insert(index, value).is_none() {
            self.count += 1;
        }
    }

    #[inline]
    pub(super) fn get(&self, index: u64) -> Option<Packed> {
        let dense = usize::try_from(index).ok().and_then(|index| self.dense.get(index)).copied();
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
