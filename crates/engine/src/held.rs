//! The checkpoint that this user holds outside the vault, and how it follows the trail.
//!
//! * [`Vault::check_held`]: at the start, the trail must lead on from what is held, by a proof.
//! * [`Vault::hold`]: nobody is told that an act was done, refused or failed before a checkpoint over its entry is held, on disk. The
//!   proof is made from stored hashes, and threads that end acts at the same time share one checkpoint.
//! * [`Vault::follow`]: a recorded read waits only for its record; what is held follows at most [`BEHIND_MAX`] entries
//!   behind.
//!
//! What must stay true: everything that this process has recorded continues what was held when it opened the vault. That
//! is proven at the start, and the catalog builds upon nothing that does not continue what it built upon before. So what
//! is held may be behind after a crash, and never beside the trail.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use ringfence_catalog::CatalogError;
use ringfence_trust::{
    checkpoint::{self, Checkpoint},
    pins::PinError,
};

use crate::{
    error::EngineError,
    vault::{Vault, catalog_error, pin_error},
};

/// Most entries of recorded reads that what is held may be behind, counted while the vault is open.
pub(crate) const BEHIND_MAX: u64 = 1_024;
/// Attempts to hold the newest checkpoint while other processes do the same.
const RACES_MAX: u32 = 16;

/// What this process knows to be held. Whoever advances it has the lock.
#[derive(Default)]
pub(crate) struct Held(Mutex<Option<Checkpoint>>);

impl Held {
    fn turn(&self) -> MutexGuard<'_, Option<Checkpoint>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vault<'_> {
    /// Compares the trail's end with its signatures, and proves that it continues the checkpoint that this user holds.
    pub(crate) fn check_held(&self) -> Result<(), EngineError> {
        let held = self.pinned()?;
        let verdict = self
            .catalog
            .verify_head(&|note| self.root.verify_checkpoint(note), held.as_ref())
            .map_err(|error| catalog_error(&error))?;
        crate::trail::as_error(&verdict)
    }

    /// Holds a checkpoint over entry `index`, or a newer one.
    ///
    /// # Errors
    /// [`EngineError::Tampered`] where the trail does not continue what is held.
    pub(crate) fn hold(&self, index: u64) -> Result<(), EngineError> {
        let mut known = self.held.turn();
        // Whoever had the turn before has held it for us.
        if known.as_ref().is_some_and(|known| known.size > index) { Ok(()) } else { self.advance(&mut known) }
    }

    /// Holds the newest checkpoint.
    pub(crate) fn hold_newest(&self) -> Result<(), EngineError> {
        self.advance(&mut self.held.turn())
    }

    /// Holds the newest checkpoint if entry `index` is too far ahead of what is held, and nobody else is about to.
    pub(crate) fn follow(&self, index: u64) -> Result<(), EngineError> {
        let mut known = match self.held.0.try_lock() {
            Ok(known) => known,
            Err(TryLockError::Poisoned(left)) => left.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        let behind = index.saturating_sub(known.as_ref().map_or(0, |known| known.size));
        if behind < BEHIND_MAX { Ok(()) } else { self.advance(&mut known) }
    }

    /// Whether [`Self::follow`] would have something to do for entry `index`.
    pub(crate) fn lags(&self, index: u64) -> bool {
        let known = self.held.0.try_lock();
        known.is_ok_and(|known| index.saturating_sub(known.as_ref().map_or(0, |known| known.size)) >= BEHIND_MAX)
    }

    fn advance(&self, known: &mut Option<Checkpoint>) -> Result<(), EngineError> {
        let mut held = match known.take() {
            Some(known) => Some(known),
            None => self.pinned()?,
        };
        for _ in 0..RACES_MAX {
            match self.advance_from(held.as_ref())? {
                Ok(now) => {
                    *known = now;
                    return Ok(());
                }
                // Another process of the same user was quicker, and holds one that is newer still.
                Err(PinError::OlderCheckpoint { .. }) => {
                    *known = self.pinned()?;
                    return Ok(());
                }
                // Another process has advanced it since: that was a proof from elsewhere.
                Err(PinError::Inconsistent { given, held: size, error }) => {
                    let now = self.pinned()?;
                    if now == held {
                        return Err(pin_error(&PinError::Inconsistent { given, held: size, error }));
                    }
                    held = now;
                }
                Err(error) => return Err(pin_error(&error)),
            }
        }
        // Whoever was quicker each time holds one that is at least as new.
        Ok(())
    }

    /// Holds the newest checkpoint, if what is held is `held`.
    fn advance_from(&self, held: Option<&Checkpoint>) -> Result<Result<Option<Checkpoint>, PinError>, EngineError> {
        let newest =
            self.catalog.read(|view| view.newest_note()).map_err(|error: CatalogError| catalog_error(&error))?;
        let Some(note) = newest else { return Ok(Ok(None)) };
        // Its signature is checked where it is held.
        let size =
            checkpoint::parse_unverified(note.as_bytes()).map_err(|error| EngineError::tampered("trail", error))?.size;
        let proof = match held {
            Some(held) if held.size < size && held.size > 0 => {
                self.catalog.prove_consistency(held.size, size).map_err(|error| catalog_error(&error))?
            }
            _ => Vec::new(),
        };
        Ok(self.pins.advance(self.id(), note.as_bytes(), &proof).map(Some))
    }

    fn pinned(&self) -> Result<Option<Checkpoint>, EngineError> {
        self.pins.checkpoint(self.id()).map_err(|error| pin_error(&error))
    }
}
