//! The deciding rows as the trail's entries make them: a sorted map from row to digest, and the root over it.
//!
//! The writer keeps one in memory, so that an entry's `state` needs no read of the table; `verify` makes another one from
//! nothing but the entries.

use std::collections::BTreeMap;

use ringfence_schema::{
    Digest,
    trail::{Change, state_root},
};

type RowKey = (String, Vec<u8>);

/// The deciding rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fold {
    rows: BTreeMap<RowKey, Digest>,
    root: Digest,
}

/// How to take changes back.
#[derive(Debug)]
pub(crate) struct Undo {
    before: Vec<(RowKey, Option<Digest>)>,
    root: Digest,
}

/// Why changes do not apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoldError {
    /// Not sorted by table and key, or a row twice.
    Order,
    /// A row is removed that is not there.
    NoSuchRow,
}

impl FoldError {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Order => "its changes are not sorted, or name a row twice",
            Self::NoSuchRow => "it removes a row that is not there",
        }
    }
}

impl Default for Fold {
    fn default() -> Self {
        Self::from_rows(BTreeMap::new())
    }
}

impl Fold {
    /// The fold that ends in these rows.
    pub(crate) fn from_rows(rows: BTreeMap<RowKey, Digest>) -> Self {
        let root = root_over(&rows);
        Self { rows, root }
    }

    /// The root over the rows.
    pub(crate) fn root(&self) -> Digest {
        self.root
    }

    /// The rows in order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&str, &[u8], &Digest)> {
        parts(&self.rows)
    }

    /// The digest of a row's value.
    pub(crate) fn row(&self, table: &str, key: &[u8]) -> Option<&Digest> {
        self.rows.get(&(table.to_owned(), key.to_owned()))
    }

    /// Applies all changes or none.
    pub(crate) fn apply(&mut self, changes: &[Change]) -> Result<Undo, FoldError> {
        let rising = changes.iter().zip(changes.iter().skip(1)).all(|(a, b)| (&a.table, &a.key) < (&b.table, &b.key));
        if !rising {
            return Err(FoldError::Order);
        }
        let removes_nothing =
            |change: &Change| change.value.is_none() && self.row(&change.table, &change.key).is_none();
        if changes.iter().any(removes_nothing) {
            return Err(FoldError::NoSuchRow);
        }
        let root = self.root;
        let mut before = Vec::with_capacity(changes.len());
        for change in changes {
            let key = (change.table.clone(), change.key.clone());
            let old = match change.value {
                Some(value) => self.rows.insert(key.clone(), value),
                None => self.rows.remove(&key),
            };
            before.push((key, old));
        }
        if !changes.is_empty() {
            self.root = root_over(&self.rows);
        }
        Ok(Undo { before, root })
    }

    /// Takes back what was applied last.
    pub(crate) fn undo(&mut self, undo: Undo) {
        for (key, old) in undo.before.into_iter().rev() {
            match old {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        self.root = undo.root;
    }
}

fn parts(rows: &BTreeMap<RowKey, Digest>) -> impl Iterator<Item = (&str, &[u8], &Digest)> {
    rows.iter().map(|((table, key), value)| (table.as_str(), key.as_slice(), value))
}

fn root_over(rows: &BTreeMap<RowKey, Digest>) -> Digest {
    state_root(parts(rows))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn change() -> impl Strategy<Value = Change> {
        let table = prop::sample::select(vec!["ref", "policy", "role"]);
        (table, prop::collection::vec(0..3u8, 0..3), prop::option::of(any::<[u8; 32]>())).prop_map(
            |(table, key, value)| Change { table: table.to_owned(), key, value: value.map(Digest::from_bytes) },
        )
    }

    fn sorted(mut changes: Vec<Change>) -> Vec<Change> {
        changes.sort();
        changes.dedup_by(|a, b| (&a.table, &a.key) == (&b.table, &b.key));
        changes
    }

    proptest! {
        #[test]
        fn follows_a_plain_map(entries in prop::collection::vec(prop::collection::vec(change(), 0..5), 0..12)) {
            let mut fold = Fold::default();
            let mut model = BTreeMap::new();
            for changes in entries {
                let changes = sorted(changes);
                let possible =
                    changes.iter().all(|c| c.value.is_some() || model.contains_key(&(c.table.clone(), c.key.clone())));
                prop_assert_eq!(fold.apply(&changes).is_ok(), possible);
                if possible {
                    for change in changes {
                        let key = (change.table, change.key);
                        match change.value {
                            Some(value) => model.insert(key, value),
                            None => model.remove(&key),
                        };
                    }
                }
                prop_assert_eq!(&fold, &Fold::from_rows(model.clone()));
            }
        }

        #[test]
        fn undo_restores(first in prop::collection::vec(change(), 0..6), second in prop::collection::vec(change(), 0..6)) {
            let mut fold = Fold::default();
            let first: Vec<_> = sorted(first).into_iter().filter(|change| change.value.is_some()).collect();
            fold.apply(&first).unwrap();
            let before = fold.clone();
            if let Ok(undo) = fold.apply(&sorted(second)) {
                fold.undo(undo);
            }
            prop_assert_eq!(fold, before);
        }

        #[test]
        fn unsorted_changes_are_refused(changes in prop::collection::vec(change(), 2..6)) {
            let order = changes.windows(2).all(|pair| (&pair[0].table, &pair[0].key) < (&pair[1].table, &pair[1].key));
            let refused = Fold::default().apply(&changes).err() == Some(FoldError::Order);
            prop_assert_eq!(refused, !order);
        }
    }
}
