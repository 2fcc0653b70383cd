//! Group commit: closures that wait at the same time share one SQLite transaction, one checkpoint and one `fsync`.
//!
//! Each closure runs on its caller's thread, under the writer's lock and within a savepoint of its own. Whoever finds
//! nobody waiting behind it ends the batch for all; the others leave the transaction open and wait for that. So there is
//! no thread to stop, a closure may borrow, and the queue is as long as there are callers.

use std::{
    error::Error,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ringfence_schema::Digest;
use ringfence_trust::checkpoint;

use crate::{
    db::{BUSY_MS_MAX, Db},
    error::{At as _, CatalogError},
    tx::{Effects, Tx},
    view::{Head, View, sql_number},
};

/// Most closures in one transaction.
const BATCH_MAX: usize = 1_024;

/// Why a checkpoint was not signed.
pub type SignerFailure = Box<dyn Error + Send + Sync>;
/// Signs the checkpoint over so many entries with this root, and returns the note.
pub type CheckpointSigner = Box<dyn Fn(u64, Digest) -> Result<String, SignerFailure> + Send>;

/// The writing side of a catalog.
pub(crate) struct Queue {
    waiting: AtomicUsize,
    writer: Mutex<Writer>,
}

struct Writer {
    db: Db,
    signer: CheckpointSigner,
    head: Head,
    /// SQLite's count of changes by other connections when `head` was read.
    data_version: i64,
    batch: Option<Batch>,
    transactions: u64,
    scrub_due: bool,
}

/// Closures that share a transaction.
struct Batch {
    ticket: Arc<Ticket>,
    members: usize,
    effects: Effects,
}

/// What the members of a batch wait for.
#[derive(Default)]
struct Ticket {
    outcome: Mutex<Option<Result<(), Arc<CatalogError>>>>,
    settled: Condvar,
}

impl Queue {
    pub(crate) fn new(db: Db, signer: CheckpointSigner) -> Result<Self, CatalogError> {
        let head = Head::load(&View::new(&db))?;
        let data_version = data_version(&db)?;
        let writer = Writer { db, signer, head, data_version, batch: None, transactions: 0, scrub_due: false };
        Ok(Self { waiting: AtomicUsize::new(0), writer: Mutex::new(writer) })
    }

    /// Runs `work` and returns when what it wrote is on disk.
    pub(crate) fn commit<T, E: From<CatalogError>>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let mut writer = self.lock();
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        let ticket = writer.join()?;
        let result = writer.run(work);
        // Somebody who waits here will take the lock next and look again, so an open batch is never forgotten.
        if self.waiting.load(Ordering::Acquire) == 0 || writer.is_full() {
            writer.settle();
        }
        drop(writer);
        match result {
            Ok(Ok(value)) => ticket.wait().map(|()| value).map_err(|error| CatalogError::NotCommitted(error).into()),
            Ok(Err(error)) => Err(error),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// How many SQLite transactions were committed.
    pub(crate) fn transactions(&self) -> u64 {
        self.lock().transactions
    }

    /// See [`crate::Catalog::scrub`].
    pub(crate) fn scrub(&self) -> Result<bool, CatalogError> {
        let mut writer = self.lock();
        if writer.batch.is_none() && writer.scrub_due {
            writer.scrub()?;
        }
        Ok(!writer.scrub_due)
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        // Closures cannot poison it, because their panics are caught below; what else panics here is our own fault, and
        // the open transaction is rolled back by the next batch.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Takes part in the open batch, or begins one.
    fn join(&mut self) -> Result<Arc<Ticket>, CatalogError> {
        if self.batch.is_none() {
            self.begin()?;
        }
        let batch = self.batch.get_or_insert_with(|| Batch {
            ticket: Arc::default(),
            members: 0,
            effects: Effects { chain: true, ..Effects::default() },
        });
        batch.members += 1;
        Ok(batch.ticket.clone())
    }

    fn begin(&mut self) -> Result<(), CatalogError> {
        if self.roll_back() {
            self.data_version = -1;
        }
        self.sql("BEGIN IMMEDIATE")?;
        let begun = data_version(&self.db).and_then(|version| {
            if version != self.data_version {
                // Another process has written since; the write lock now keeps it out.
                self.head = Head::load(&View::new(&self.db))?;
                self.data_version = version;
            }
            Ok(())
        });
        if begun.is_err() {
            self.roll_back();
        }
        begun
    }

    /// Runs a closure in a savepoint. If it fails or panics, only what it did is taken back.
    fn run<T, E: From<CatalogError>>(
        &mut self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> std::thread::Result<Result<T, E>> {
        let Some(mut batch) = self.batch.take() else {
            return Ok(Err(CatalogError::damaged(&self.db.path, "no transaction is open").into()));
        };
        if let Err(error) = self.sql("SAVEPOINT member") {
            self.batch = Some(batch);
            return Ok(Err(error.into()));
        }
        let frontier = self.head.frontier.clone();
        let before = batch.effects;
        let mut undo = Vec::new();
        let mut tx = Tx::new(&self.db, &mut self.head, &mut undo, &mut batch.effects);
        let mut result = catch_unwind(AssertUnwindSafe(|| work(&mut tx)));
        if batch.effects.torn && matches!(result, Ok(Ok(_))) {
            result = Ok(Err(CatalogError::Torn { path: self.db.path.clone() }.into()));
        }
        if !matches!(result, Ok(Ok(_))) {
            self.head.frontier = frontier;
            undo.into_iter().rev().for_each(|undo| self.head.fold.undo(undo));
            batch.effects = before;
            // SQLite ends the whole transaction by itself on some errors; `settle` finds that out.
            let _ = self.sql("ROLLBACK TO member");
        }
        if let Err(error) = self.sql("RELEASE member")
            && matches!(result, Ok(Ok(_)))
        {
            result = Ok(Err(error.into()));
        }
        self.batch = Some(batch);
        result
    }

    fn is_full(&self) -> bool {
        self.batch.as_ref().is_none_or(|batch| batch.members >= BATCH_MAX)
    }

    /// Ends the batch: checkpoint, commit, and the same answer for every member.
    fn settle(&mut self) {
        let Some(batch) = self.batch.take() else { return };
        let outcome = self.try_settle(batch.effects).map_err(Arc::new);
        if outcome.is_err() {
            self.roll_back();
            match Head::load(&View::new(&self.db)) {
                Ok(head) => self.head = head,
                // Forces another attempt by the next batch, which fails if this cannot be read then either.
                Err(_) => self.data_version = -1,
            }
        } else {
            self.transactions += 1;
            self.scrub_due |= batch.effects.destroyed;
            if self.scrub_due {
                // Done again after the next commit if a reader is in the way.
                let _ = self.scrub();
            }
        }
        batch.ticket.settle(outcome);
    }

    fn try_settle(&mut self, effects: Effects) -> Result<(), CatalogError> {
        if self.db.conn.is_autocommit() {
            let what = "the transaction ended before its time".to_owned();
            return Err(CatalogError::Storage { path: self.db.path.clone(), what });
        }
        let mut signed = None;
        if effects.appended {
            signed = Some(self.write_checkpoint()?);
        }
        self.sql("COMMIT")?;
        self.head.note = signed.or(self.head.note);
        Ok(())
    }

    fn write_checkpoint(&self) -> Result<Digest, CatalogError> {
        let (size, root) = (self.head.frontier.size(), self.head.frontier.root());
        let refuse = |what: String| CatalogError::Signer { what };
        let note = (self.signer)(size, root).map_err(|error| refuse(error.to_string()))?;
        let said = checkpoint::parse_unverified(note.as_bytes()).map_err(|error| refuse(error.to_string()))?;
        if (said.size, said.root) != (size, root) {
            return Err(refuse("the note speaks of another tree".to_owned()));
        }
        let path = &self.db.path;
        let sql = "INSERT INTO checkpoint (size, note) VALUES (?1, ?2)";
        self.db.conn.prepare_cached(sql).at(path)?.execute((sql_number(size), &note)).at(path)?;
        let hashes: Vec<u8> = self.head.frontier.subtrees().iter().flat_map(Digest::as_bytes).copied().collect();
        let sql = "UPDATE edge SET size = ?1, hashes = ?2 WHERE id = 0";
        self.db.conn.prepare_cached(sql).at(path)?.execute((sql_number(size), hashes)).at(path)?;
        Ok(Digest::of(note.as_bytes()))
    }

    /// Moves the write-ahead log into the file and empties it, if no reader is in the way right now.
    fn scrub(&mut self) -> Result<(), CatalogError> {
        let Db { conn, path } = &self.db;
        conn.busy_timeout(Duration::ZERO).at(path)?;
        let busy = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)).at(path);
        conn.busy_timeout(Duration::from_millis(BUSY_MS_MAX)).at(path)?;
        self.scrub_due = busy? != 0;
        Ok(())
    }

    /// Ends an open transaction without effect; whether there was one.
    fn roll_back(&self) -> bool {
        let open = !self.db.conn.is_autocommit();
        if open {
            let _ = self.sql("ROLLBACK");
        }
        open
    }

    fn sql(&self, statement: &str) -> Result<(), CatalogError> {
        let path = &self.db.path;
        self.db.conn.prepare_cached(statement).at(path)?.execute([]).at(path).map(drop)
    }
}

impl Ticket {
    fn settle(&self, outcome: Result<(), Arc<CatalogError>>) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.settled.notify_all();
    }

    fn wait(&self) -> Result<(), Arc<CatalogError>> {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &*outcome {
                Some(outcome) => return outcome.clone(),
                None => outcome = self.settled.wait(outcome).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

fn data_version(db: &Db) -> Result<i64, CatalogError> {
    db.conn.pragma_query_value(None, "data_version", |row| row.get(0)).at(&db.path)
}
