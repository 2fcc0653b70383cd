//! Who moves the pages of the write-ahead log into the file, and when.
//!
//! SQLite has whoever commits do it, while everybody waits. Here a second connection does, on the thread of a caller that has
//! been answered, while others go on writing. Under load some pages always come after those that are being moved, so the
//! log grows; before it is too long, writing waits once until all of them are moved, and it begins again.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicUsize, Ordering},
    },
};

use rusqlite::hooks::Wal;

use crate::{
    db::Db,
    error::{At as _, CatalogError},
};

/// Pages from which on they are moved, and again after as many more: SQLite's own measure.
const PAGES: usize = 1_000;
/// Pages from which on writing waits for it: 64 MiB.
const PAGES_MAX: usize = 16_384;

/// What is due after a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// Moving pages while others write.
    Beside,
    /// Moving all of them before anybody writes.
    Whole,
}

/// The write-ahead log of a file that is written here.
pub(crate) struct Log {
    path: PathBuf,
    /// Its pages after the last commit.
    pages: Arc<AtomicUsize>,
    /// How many there were when somebody last set about moving them.
    moved: AtomicUsize,
    /// The second connection, from when it is needed first.
    mover: Mutex<Option<Db>>,
}

impl Log {
    /// Takes the place of SQLite's own measure on the connection that writes.
    pub(crate) fn of(writer: &mut Db) -> Result<Self, CatalogError> {
        let pages = Arc::new(AtomicUsize::new(0));
        let told = pages.clone();
        let hook = move |_: &mut Wal, pages: i32| {
            told.store(usize::try_from(pages).unwrap_or(0), Ordering::Release);
            Ok(())
        };
        writer.conn.wal_hook(Some(hook)).at(&writer.path)?;
        Ok(Self { path: writer.path.clone(), pages, moved: AtomicUsize::new(0), mover: Mutex::default() })
    }

    /// What is due, which whoever asks has to do. Asked by one at a time, after each commit.
    pub(crate) fn due(&self) -> Due {
        let (pages, moved) = (self.pages.load(Ordering::Acquire), self.moved.load(Ordering::Acquire));
        // Fewer than were moved: the log has begun again.
        let moved = if pages < moved { 0 } else { moved };
        let due = match pages {
            PAGES_MAX.. => Due::Whole,
            _ if pages >= moved + PAGES => Due::Beside,
            _ => Due::Nothing,
        };
        self.moved.store(if due == Due::Nothing { moved } else { pages }, Ordering::Release);
        due
    }

    /// Waits until nobody moves pages, and keeps everybody from it as long as the guard lives.
    pub(crate) fn wait(&self) -> MutexGuard<'_, Option<Db>> {
        self.mover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves pages while others write; not where somebody does so already.
    pub(crate) fn move_beside(&self) -> Result<(), CatalogError> {
        let mut mover = match self.mover.try_lock() {
            Ok(mover) => mover,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        let db = match mover.take() {
            Some(db) => db,
            None => Db::open(&self.path)?,
        };
        let done = db.move_log();
        *mover = Some(db);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Log {
        Log { path: PathBuf::new(), pages: Arc::default(), moved: AtomicUsize::new(0), mover: Mutex::default() }
    }

    #[test]
    fn pages_are_moved_each_time_that_enough_have_come() {
        let log = log();
        let after = |pages: usize| {
            log.pages.store(pages, Ordering::Release);
            log.due()
        };
        assert_eq!([0, 999].map(after), [Due::Nothing; 2]);
        assert_eq!(after(1_003), Due::Beside);
        assert_eq!([1_004, 2_002].map(after), [Due::Nothing; 2]);
        assert_eq!(after(2_003), Due::Beside);
        // The log has begun again.
        assert_eq!([7, 999].map(after), [Due::Nothing; 2]);
        assert_eq!(after(1_000), Due::Beside);
        assert_eq!(after(16_384), Due::Whole);
        // A reader was in the way.
        assert_eq!(after(16_400), Due::Whole);
        assert_eq!(after(3), Due::Nothing);
    }
}
