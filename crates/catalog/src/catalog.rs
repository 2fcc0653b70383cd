//! Opening a catalog, committing to it, reading from it.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ringfence_schema::Digest;
use ringfence_trust::checkpoint::{Checkpoint, CheckpointError};

use crate::{
    db::Db,
    error::{At as _, CatalogError},
    queue::{CheckpointSigner, Queue, Tell},
    tx::{Record, Tx},
    verify::{self, TrailVerdict},
    view::{StoredEntry, View},
};

/// Most idle connections that are kept for reading: as many as read at the same time in a busy server, because to open one
/// costs more than what is read. Each keeps at most [`crate::db::READER_CACHE_KIB`] of pages.
const READERS_MAX: usize = 32;

/// The vault's rows and its trail. Shared by reference between threads.
pub struct Catalog {
    path: PathBuf,
    /// Dropped before the queue: only a connection that may write, closed last, folds the write-ahead log into the file.
    readers: Mutex<Vec<Db>>,
    queue: Option<Queue>,
}

impl Catalog {
    /// Makes a catalog without entries, with mode 0600.
    ///
    /// # Errors
    /// [`CatalogError::Exists`] where there is something other than an empty file.
    pub fn create(path: &Path, signer: CheckpointSigner) -> Result<Self, CatalogError> {
        Self::writable(Db::create(path)?, signer)
    }

    /// Opens a catalog for reading and writing. A file that is not ours, of a newer version, open to others, or whose
    /// end contradicts itself is refused by name.
    ///
    /// This compares the end of the trail with its checkpoint, but checks no signature; see [`Self::verify_head`].
    pub fn open(path: &Path, signer: CheckpointSigner) -> Result<Self, CatalogError> {
        Self::writable(Db::open(path)?, signer)
    }

    fn writable(db: Db, signer: CheckpointSigner) -> Result<Self, CatalogError> {
        let path = db.path.clone();
        Ok(Self { path, readers: Mutex::default(), queue: Some(Queue::new(db, signer)?) })
    }

    /// Opens a catalog without the means to change it, however damaged its content; for `trail verify`.
    pub fn open_read_only(path: &Path) -> Result<Self, CatalogError> {
        let db = Db::open_read_only(path)?;
        Ok(Self { path: path.to_owned(), readers: Mutex::new(vec![db]), queue: None })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` in a transaction and returns its value once all that it wrote, with the trail's new checkpoint, is on
    /// disk. If it fails or panics, nothing of it stays, and other commits are not touched.
    ///
    /// `work` runs on this thread, under the writer's lock: it must not commit to the same catalog.
    ///
    /// # Errors
    /// What `work` returns; [`CatalogError::NotCommitted`] if the transaction that it shared failed;
    /// [`CatalogError::ReadOnly`].
    pub fn commit<T, E: From<CatalogError>>(&self, work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        self.queue()?.commit(work)
    }

    /// Appends an entry that changes no rows, and returns its index once it is on disk under a signed checkpoint. Many
    /// callers at once cost little more than one: their entries share a transaction.
    ///
    /// # Errors
    /// As [`Tx::append`]; [`CatalogError::NotCommitted`] if the transaction failed; [`CatalogError::ReadOnly`].
    pub fn record(&self, record: Record) -> Result<u64, CatalogError> {
        Ok(self.queue()?.record(record)?.index)
    }

    /// The same without waiting: `tell` is called, on whatever thread writes it, once it is on disk or cannot be. Whoever is
    /// answered `true` has to see to it that [`Self::take_along`] is called soon, on a thread that may wait.
    ///
    /// # Errors
    /// [`CatalogError::ReadOnly`]; `tell` is not called then.
    pub fn hand(&self, record: Record, tell: Tell) -> Result<bool, CatalogError> {
        Ok(self.queue()?.hand(record, tell))
    }

    /// Writes what was handed over and is not written yet.
    ///
    /// # Errors
    /// [`CatalogError::ReadOnly`]. What becomes of the entries is told to whoever handed them over.
    pub fn take_along(&self) -> Result<(), CatalogError> {
        self.queue().map(Queue::take_along)
    }

    /// Reads in one snapshot.
    pub fn read<T, E: From<CatalogError>>(&self, work: impl FnOnce(View<'_>) -> Result<T, E>) -> Result<T, E> {
        let pooled = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let db = pooled.map_or_else(|| Db::open_read_only(&self.path), Ok)?;
        let result = {
            // A deferred transaction takes its snapshot with the first statement and gives it back when dropped.
            let _snapshot = db.conn.unchecked_transaction().at(&self.path)?;
            work(View::new(&db))
        };
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS_MAX {
            readers.push(db);
        }
        result
    }

    /// How many entries the trail has.
    pub fn size(&self) -> Result<u64, CatalogError> {
        self.read(|view| view.size())
    }

    /// Entry number `index`.
    pub fn entry(&self, index: u64) -> Result<Option<StoredEntry>, CatalogError> {
        self.read(|view| view.entry(index))
    }

    /// The entries of `range` that exist, at most [`crate::view::ENTRIES_MAX`] of them.
    pub fn entries(&self, range: std::ops::Range<u64>) -> Result<Vec<StoredEntry>, CatalogError> {
        self.read(|view| view.entries(range))
    }

    /// Intents without an outcome, oldest first: what a crash left behind.
    pub fn open_intents(&self) -> Result<Vec<StoredEntry>, CatalogError> {
        self.read(|view| view.open_intents())
    }

    /// See [`View::prove_inclusion`].
    pub fn prove_inclusion(&self, index: u64, size: u64) -> Result<Vec<Digest>, CatalogError> {
        self.read(|view| view.prove_inclusion(index, size))
    }

    /// See [`View::prove_consistency`].
    pub fn prove_consistency(&self, old_size: u64, size: u64) -> Result<Vec<Digest>, CatalogError> {
        self.read(|view| view.prove_consistency(old_size, size))
    }

    /// Checks the whole trail; see [`verify`]. `check` verifies a note's signatures, such as
    /// [`ringfence_trust::root::TrustRoot::verify_checkpoint`]; `held` is what the user last saw of this trail.
    pub fn verify(
        &self,
        check: &dyn Fn(&[u8]) -> Result<Checkpoint, CheckpointError>,
        held: Option<&Checkpoint>,
    ) -> Result<TrailVerdict, CatalogError> {
        self.read(|view| verify::whole(&view, check, held))
    }

    /// Checks the end of the trail only, in time that hardly grows with it: the newest checkpoint's signature, the tree's
    /// edge, the deciding rows, and that `held` leads to it, by a proof from stored hashes. For every start.
    pub fn verify_head(
        &self,
        check: &dyn Fn(&[u8]) -> Result<Checkpoint, CheckpointError>,
        held: Option<&Checkpoint>,
    ) -> Result<TrailVerdict, CatalogError> {
        self.read(|view| verify::head(&view, check, held))
    }

    /// How many SQLite transactions this value has committed.
    pub fn transactions(&self) -> Result<u64, CatalogError> {
        Ok(self.queue()?.transactions())
    }

    /// Makes sure that the pages which held destroyed keys are gone from the write-ahead log, which happens after every
    /// commit that destroys unless a reader is in the way. Whether nothing is left to do.
    pub fn scrub(&self) -> Result<bool, CatalogError> {
        self.queue()?.scrub()
    }

    fn queue(&self) -> Result<&Queue, CatalogError> {
        self.queue.as_ref().ok_or_else(|| CatalogError::ReadOnly { path: self.path.clone() })
    }
}
