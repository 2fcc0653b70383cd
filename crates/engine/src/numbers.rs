//! Version numbers that are spoken for.
//!
//! A run chooses the number of what it makes when it begins, and its row is committed hours later. [`Numbers`] holds what was
//! chosen meanwhile, so that two runs, uploads or releases of one name in this process never write the same row.
//!
//! Absent on purpose: holding numbers for other processes, and over a restart. What was under way then is over.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ringfence_schema::ArtifactName;

use crate::{error::EngineError, vault::Vault};

/// The numbers that somebody in this process is about to use.
#[derive(Debug, Default)]
pub(crate) struct Numbers(Mutex<BTreeSet<(ArtifactName, u64)>>);

impl Numbers {
    fn taken(&self) -> MutexGuard<'_, BTreeSet<(ArtifactName, u64)>> {
        // Whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number that nobody else in this process gets while this lives. It is to live until its row is committed.
#[must_use]
pub(crate) struct Number<'n> {
    numbers: &'n Numbers,
    own: (ArtifactName, u64),
}

impl Number<'_> {
    /// The number.
    pub(crate) fn get(&self) -> u64 {
        self.own.1
    }
}

impl Drop for Number<'_> {
    fn drop(&mut self) {
        self.numbers.taken().remove(&self.own);
    }
}

impl Vault<'_> {
    /// The next free version number of an artifact.
    pub(crate) fn free_version(&self, name: &ArtifactName) -> Result<Number<'_>, EngineError> {
        let numbers = &self.numbers;
        // Held while the rows are read: whoever gives a number back has committed its row before.
        let mut taken = numbers.taken();
        let stored = self.versions()?.into_iter().filter(|version| version.artifact == *name);
        let spoken_for = taken.iter().filter(|(other, _)| other == name).map(|(_, number)| *number);
        let last = stored.map(|version| version.version).chain(spoken_for).max();
        let own = (name.clone(), last.unwrap_or(0) + 1);
        taken.insert(own.clone());
        drop(taken);
        Ok(Number { numbers, own })
    }
}
