//! Group commit: whatever waits at the same time shares one SQLite transaction, one checkpoint and one `fsync`.
//!
//! A closure runs on its caller's thread, under the writer's lock and within a savepoint of its own. Entries that change
//! no rows are handed over as data: whoever comes first takes the lock for all who have come by then, so that thousands of
//! them cost one turn of the lock. Whoever finds nobody waiting behind it ends the batch for all; the others leave the
//! transaction open and wait for that. So there is no thread to stop, a closure may borrow, and the queue is as long as
//! there are callers. Who must not wait at all leaves word to be told ([`Queue::hand`]); whoever is the first to do so is
//! given the turn to take, to be taken where waiting does no harm.
//!
//! What must stay true: nothing is built upon a trail that does not continue the one that was built upon before, or whose
//! end the log key did not sign; whoever waits is answered, also if somebody panics.

use std::{
    error::Error,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ringfence_schema::Digest;
use ringfence_trust::{checkpoint, merkle};

use crate::{
    db::{BUSY_MS_MAX, Db},
    error::{At as _, CatalogError},
    log::{Due, Log},
    tx::{Effects, Record, Tx},
    view::{Head, View, sql_number},
};

/// Most closures, and entries handed over, after which a transaction is ended.
const BATCH_MAX: usize = 1_024;

/// Why a checkpoint was not signed.
pub type SignerFailure = Box<dyn Error + Send + Sync>;
/// Signs the checkpoint over so many entries with this root, and returns the note.
pub type CheckpointSigner = Box<dyn Fn(u64, Digest) -> Result<String, SignerFailure> + Send>;

/// Where an entry that changes no rows stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Its place in the trail.
    pub index: u64,
    /// Root over the deciding rows at that place.
    pub state: Digest,
}

/// Is told what became of entries. Called under the writer's lock: it must not wait, nor use the catalog.
pub type Tell = Box<dyn FnOnce(Result<Recorded, CatalogError>) + Send>;

/// The writing side of a catalog.
pub(crate) struct Queue {
    waiting: AtomicUsize,
    gathering: Mutex<Gathering>,
    writer: Mutex<Writer>,
    log: Log,
}

/// What has been handed over since somebody was here last.
#[derive(Default)]
struct Gathering {
    group: Arc<Group>,
    handed: Vec<(Record, Option<Tell>)>,
    /// Somebody who waits for it takes it along.
    has_taker: bool,
}

/// What callers who handed over entries wait for together.
#[derive(Default)]
struct Group {
    done: OnceLock<Vec<Answer>>,
}

/// What became of what one caller handed over, until it is fetched.
type Answer = Mutex<Option<Result<Recorded, CatalogError>>>;

/// A group on its way. Dropped, it answers whoever waits.
struct Taken {
    group: Arc<Group>,
    /// Of each caller: whom to tell, if it does not wait.
    callers: Vec<Option<Tell>>,
    results: Vec<Result<Recorded, CatalogError>>,
}

struct Writer {
    db: Db,
    signer: CheckpointSigner,
    head: Head,
    /// Size and root of the trail as it was last found or written on disk.
    known: (u64, Digest),
    /// SQLite's count of changes by other connections when `head` was read.
    data_version: i64,
    batch: Option<Batch>,
    transactions: u64,
    scrub_due: bool,
}

/// What shares a transaction. Dropped, it answers whoever waits.
struct Batch {
    ticket: Arc<Ticket>,
    groups: Vec<Taken>,
    members: usize,
    effects: Effects,
}

/// What came of a transaction.
type Outcome = Result<(), Arc<CatalogError>>;

/// What the closures of a batch wait for.
type Ticket = OnceLock<Outcome>;

impl Queue {
    pub(crate) fn new(mut db: Db, signer: CheckpointSigner) -> Result<Self, CatalogError> {
        let head = Head::load(&View::new(&db))?;
        let data_version = data_version(&db)?;
        let log = Log::of(&mut db)?;
        let known = (head.frontier.size(), head.frontier.root());
        let writer = Writer { db, signer, head, known, data_version, batch: None, transactions: 0, scrub_due: false };
        Ok(Self { waiting: AtomicUsize::new(0), gathering: Mutex::default(), writer: Mutex::new(writer), log })
    }

    /// Runs `work` and returns when what it wrote is on disk.
    pub(crate) fn commit<T, E: From<CatalogError>>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut writer = self.turn();
        let ticket = writer.join(1)?.ticket.clone();
        let result = writer.run(work);
        self.leave(writer);
        match result {
            Ok(Ok(value)) => {
                ticket.wait().clone().map(|()| value).map_err(|error| CatalogError::NotCommitted(error).into())
            }
            Ok(Err(error)) => Err(error),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Writes an entry and returns where it stands when it is on disk.
    pub(crate) fn record(&self, entry: Record) -> Result<Recorded, CatalogError> {
        let (group, place, takes) = {
            let mut gathering = self.gathering();
            gathering.handed.push((entry, None));
            // Also where somebody who does not wait was first: that one's turn may be taken late.
            let takes = !std::mem::replace(&mut gathering.has_taker, true);
            (gathering.group.clone(), gathering.handed.len() - 1, takes)
        };
        if takes {
            self.take_along();
        }
        let answer = group.done.wait().get(place);
        let answer = answer.and_then(|answer| answer.lock().unwrap_or_else(PoisonError::into_inner).take());
        answer.unwrap_or_else(|| Err(CatalogError::NotCommitted(Arc::new(unanswered()))))
    }

    /// Has an entry written and `tell` called once it is on disk, or will not be. Whoever is answered `true` has to see to
    /// it that [`Self::take_along`] is called soon; nothing is written before somebody does.
    pub(crate) fn hand(&self, entry: Record, tell: Tell) -> bool {
        let mut gathering = self.gathering();
        gathering.handed.push((entry, Some(tell)));
        gathering.handed.len() == 1
    }

    fn gathering(&self) -> MutexGuard<'_, Gathering> {
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what has been handed over by the time that it is this thread's turn.
    pub(crate) fn take_along(&self) {
        let mut writer = self.turn();
        let Gathering { group, handed, .. } = std::mem::take(&mut *self.gathering());
        if handed.is_empty() {
            // Somebody else was quicker, and whoever waits behind counts on the batch being ended.
            return self.leave(writer);
        }
        let (entries, callers): (Vec<_>, Vec<_>) = handed.into_iter().unzip();
        let mut taken = Taken { group, results: Vec::with_capacity(callers.len()), callers };
        if let Err(error) = writer.join(entries.len()) {
            taken.results = entries.iter().map(|_| Err(error.clone())).collect();
            taken.answer(&Ok(()));
            return;
        }
        let mut panicked = None;
        for Record { draft, openings } in entries {
            let written = writer.run(|tx| {
                let index = tx.append(draft, openings.as_deref(), Vec::new())?;
                Ok(Recorded { index, state: tx.state() })
            });
            taken.results.push(written.unwrap_or_else(|panic| {
                panicked = Some(panic);
                Err(unanswered())
            }));
        }
        writer.hold_until_settled(taken);
        self.leave(writer);
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
    }

    /// Waits for the writer.
    fn turn(&self) -> MutexGuard<'_, Writer> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let writer = self.lock();
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        writer
    }

    /// Ends the batch unless somebody behind will.
    fn leave(&self, mut writer: MutexGuard<'_, Writer>) {
        // Somebody who waits here will take the lock next and look again, so an open batch is never forgotten.
        if self.waiting.load(Ordering::Acquire) == 0 || writer.is_full() {
            writer.settle(&self.log);
            // Nothing is lost where moving fails: the pages stay where they are, and a later commit tries again.
            match self.log.due() {
                Due::Nothing => {}
                Due::Beside => {
                    drop(writer);
                    let _ = self.log.move_beside();
                }
                Due::Whole => drop(writer.db.move_log()),
            }
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
            writer.scrub(&self.log)?;
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
    /// So many more take part in the open batch, or begin one.
    fn join(&mut self, members: usize) -> Result<&mut Batch, CatalogError> {
        if self.batch.is_none() {
            self.begin()?;
        }
        let batch = self.batch.get_or_insert_with(|| Batch {
            ticket: Arc::default(),
            groups: Vec::new(),
            members: 0,
            effects: Effects { chain: true, ..Effects::default() },
        });
        batch.members += members;
        Ok(batch)
    }

    /// Answers a group together with the batch.
    fn hold_until_settled(&mut self, taken: Taken) {
        if let Some(batch) = &mut self.batch {
            batch.groups.push(taken);
        }
    }

    fn begin(&mut self) -> Result<(), CatalogError> {
        if self.roll_back() {
            self.data_version = -1;
        }
        self.sql("BEGIN IMMEDIATE")?;
        let begun = data_version(&self.db).and_then(|version| {
            if version != self.data_version {
                // Another process has written since; the write lock now keeps it out.
                self.reload()?;
                self.data_version = version;
            }
            Ok(())
        });
        if begun.is_err() {
            self.roll_back();
        }
        begun
    }

    /// Reads the end of the trail again, which must continue what was known of it and be signed by the key that signs here.
    fn reload(&mut self) -> Result<(), CatalogError> {
        let view = View::new(&self.db);
        let head = Head::load(&view)?;
        let (size, root) = (head.frontier.size(), head.frontier.root());
        let (known_size, known_root) = self.known;
        if (size, root) != self.known {
            let continues = size >= known_size
                && merkle::verify_consistency(
                    known_size,
                    &known_root,
                    size,
                    &root,
                    &view.prove_consistency(known_size, size)?,
                )
                .is_ok();
            if !continues {
                let what = format!("its trail does not continue the one of {known_size} entries that was here before");
                return Err(view.damaged(what));
            }
            // A key signs the same in the same way every time.
            let signed = (self.signer)(size, root).map_err(|error| CatalogError::Signer { what: error.to_string() })?;
            if head.note != Some(Digest::of(signed.as_bytes())) {
                return Err(view.damaged("its newest checkpoint is not by the key that signs here"));
            }
        }
        (self.head, self.known) = (head, (size, root));
        Ok(())
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
    fn settle(&mut self, log: &Log) {
        let Some(mut batch) = self.batch.take() else { return };
        let outcome = self.try_settle(batch.effects).map_err(Arc::new);
        if outcome.is_err() {
            self.roll_back();
            if self.reload().is_err() {
                // Forces another attempt by the next batch, which fails if this cannot be read then either.
                self.data_version = -1;
            }
        } else {
            self.known = (self.head.frontier.size(), self.head.frontier.root());
            self.transactions += 1;
            self.scrub_due |= batch.effects.destroyed;
            if self.scrub_due {
                // Done again after the next commit if a reader is in the way.
                let _ = self.scrub(log);
            }
        }
        batch.end(&outcome);
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
    fn scrub(&mut self, log: &Log) -> Result<(), CatalogError> {
        // Whoever moves pages right now would be in the way as a reader is; it never waits for the writer.
        let _moved = log.wait();
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

impl Batch {
    fn end(&mut self, outcome: &Outcome) {
        let _ = self.ticket.set(outcome.clone());
        self.groups.drain(..).for_each(|mut group| group.answer(outcome));
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.end(&Err(Arc::new(unanswered())));
    }
}

impl Taken {
    /// Tells every caller what became of its entries; the first time counts.
    fn answer(&mut self, outcome: &Outcome) {
        let mut results = self.results.drain(..).map(|result| {
            let recorded = result?;
            outcome.clone().map(|()| recorded).map_err(CatalogError::NotCommitted)
        });
        let answers = self.callers.drain(..).map(|caller| {
            let result = results.next().unwrap_or_else(|| Err(CatalogError::NotCommitted(Arc::new(unanswered()))));
            match caller {
                Some(tell) => {
                    tell(result);
                    Mutex::new(None)
                }
                None => Mutex::new(Some(result)),
            }
        });
        let _ = self.group.done.set(answers.collect());
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.group.done.get().is_none() {
            self.answer(&Err(Arc::new(unanswered())));
        }
    }
}

/// For those whose batch ended without a word: its transaction is rolled back by the next one.
fn unanswered() -> CatalogError {
    CatalogError::Storage { path: PathBuf::new(), what: "the transaction was given up".to_owned() }
}

fn data_version(db: &Db) -> Result<i64, CatalogError> {
    db.conn.pragma_query_value(None, "data_version", |row| row.get(0)).at(&db.path)
}
