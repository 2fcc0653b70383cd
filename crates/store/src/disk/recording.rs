//! A log of file-system effects, and every directory that a crash may leave of them.
//!
//! A [`Recording`] is filled by [`Disk::recorded`](super::Disk::recorded). [`Recording::barrier`] marks the moments when
//! something outside (the catalog) declared what was written so far to be committed. [`Recording::crash_states`] then
//! gives, for each prefix of the log, the directories that POSIX allows after a crash there:
//!
//! - bytes written since a file's last fsync may be lost, kept, torn in the middle or before the last, or replaced by zeros;
//! - names made, renamed or removed since their directory's last fsync may each be durable or not; a rename is atomic;
//! - fsync of a file does not make its name durable, fsync of a directory does not make its files' bytes durable.
//!
//! With up to [`SUBSETS_OF_MAX`] undecided names all subsets are tried; with more, a fixed selection. The same states
//! come in the same order each time, without repetition. A [`Fault`] makes the layer misbehave on purpose: tests use it
//! to show that a missing fsync is caught and that a failing one stops the writer.
//!
//! This is support for tests of this and other crates; it keeps every written byte in memory.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::parent;

/// A deliberate misbehaviour; occurrences are counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The `nth` fsync of a file is left out and success is reported.
    SkipFileSync {
        /// Which one.
        nth: usize,
    },
    /// The `nth` fsync of a directory is left out and success is reported.
    SkipDirSync {
        /// Which one.
        nth: usize,
    },
    /// The `nth` fsync of a file reports an input/output error.
    FailFileSync {
        /// Which one.
        nth: usize,
    },
    /// The `nth` fsync of a directory reports an input/output error.
    FailDirSync {
        /// Which one.
        nth: usize,
    },
    /// The disk is full once this many bytes were written.
    DiskFull {
        /// How many bytes fit.
        bytes: u64,
    },
}

/// The log. Clones share it.
#[derive(Clone)]
pub struct Recording(Arc<Mutex<Log>>);

struct Log {
    root: PathBuf,
    operations: Vec<Operation>,
    fault: Option<Fault>,
    files: usize,
    file_syncs: usize,
    dir_syncs: usize,
    written: u64,
}

#[derive(Clone)]
enum Operation {
    MakeDir(PathBuf),
    Create(PathBuf),
    Write { file: usize, bytes: Vec<u8> },
    SyncFile { file: usize },
    Rename { from: PathBuf, to: PathBuf },
    Remove(PathBuf),
    SyncDir(PathBuf),
    Barrier(u64),
}

impl Recording {
    /// An empty log of what happens below the existing directory `root`.
    pub fn new(root: &Path) -> Self {
        Self::with_fault(root, None)
    }

    /// The same, with a deliberate misbehaviour.
    pub fn with_fault(root: &Path, fault: Option<Fault>) -> Self {
        let log =
            Log { root: root.to_owned(), operations: vec![], fault, files: 0, file_syncs: 0, dir_syncs: 0, written: 0 };
        Self(Arc::new(Mutex::new(log)))
    }

    /// Marks that commit `number` happened outside: what was published before must survive every later crash.
    pub fn barrier(&self, number: u64) {
        self.log().operations.push(Operation::Barrier(number));
    }

    /// How many fsyncs of files and of directories were asked for so far.
    pub fn syncs(&self) -> (usize, usize) {
        let log = self.log();
        (log.file_syncs, log.dir_syncs)
    }

    /// How many effects and barriers were logged so far.
    pub fn len(&self) -> usize {
        self.log().operations.len()
    }

    /// Whether nothing was logged.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every directory that a crash may leave, prefix by prefix of what was logged so far.
    pub fn crash_states(&self) -> CrashStates {
        CrashStates {
            operations: self.log().operations.clone(),
            next: 0,
            simulation: Simulation::default(),
            ready: VecDeque::new(),
            seen: HashSet::new(),
            started: false,
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, make: impl FnOnce(&Log) -> Operation) {
        let mut log = self.log();
        let operation = make(&log);
        log.operations.push(operation);
    }

    pub(super) fn make_dir(&self, path: &Path) {
        self.push(|log| Operation::MakeDir(log.relative(path)));
    }

    pub(super) fn create(&self, path: &Path) -> usize {
        let mut log = self.log();
        let operation = Operation::Create(log.relative(path));
        log.operations.push(operation);
        log.files += 1;
        log.files - 1
    }

    pub(super) fn write(&self, file: usize, bytes: &[u8]) -> io::Result<()> {
        let mut log = self.log();
        log.written = log.written.saturating_add(bytes.len() as u64);
        if matches!(log.fault, Some(Fault::DiskFull { bytes }) if log.written > bytes) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        log.operations.push(Operation::Write { file, bytes: bytes.to_vec() });
        Ok(())
    }

    pub(super) fn sync_file(&self, file: usize) -> io::Result<()> {
        let mut log = self.log();
        let current = log.file_syncs;
        log.file_syncs += 1;
        match log.fault {
            Some(Fault::SkipFileSync { nth }) if nth == current => {}
            Some(Fault::FailFileSync { nth }) if nth == current => return Err(injected()),
            _ => log.operations.push(Operation::SyncFile { file }),
        }
        Ok(())
    }

    pub(super) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut log = self.log();
        let current = log.dir_syncs;
        log.dir_syncs += 1;
        match log.fault {
            Some(Fault::SkipDirSync { nth }) if nth == current => {}
            Some(Fault::FailDirSync { nth }) if nth == current => return Err(injected()),
            _ => {
                let path = log.relative(path);
                log.operations.push(Operation::SyncDir(path));
            }
        }
        Ok(())
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) {
        self.push(|log| Operation::Rename { from: log.relative(from), to: log.relative(to) });
    }

    pub(super) fn remove(&self, path: &Path) {
        self.push(|log| Operation::Remove(log.relative(path)));
    }
}

impl Log {
    fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap_or(path).to_owned()
    }
}

/// What an injected fsync failure says.
fn injected() -> io::Error {
    io::Error::other("injected input/output error")
}

/// One directory that a crash may leave.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CrashState {
    /// The last barrier before the crash.
    pub barrier: Option<u64>,
    dirs: Vec<PathBuf>,
    files: Vec<(PathBuf, Remains)>,
}

/// What is left of a file: `kept` bytes of what was written, then `zeros`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Remains {
    data: Arc<Vec<u8>>,
    kept: usize,
    zeros: usize,
}

impl CrashState {
    /// Writes the state into the existing empty directory `dir`.
    pub fn materialise(&self, dir: &Path) -> io::Result<()> {
        for path in &self.dirs {
            fs::create_dir(dir.join(path))?;
        }
        for (path, remains) in &self.files {
            let mut bytes: Vec<u8> = remains.data.iter().take(remains.kept).copied().collect();
            bytes.resize(remains.kept + remains.zeros, 0);
            fs::write(dir.join(path), bytes)?;
        }
        Ok(())
    }
}

/// Iterator over [`CrashState`]s.
pub struct CrashStates {
    operations: Vec<Operation>,
    next: usize,
    simulation: Simulation,
    ready: VecDeque<CrashState>,
    seen: HashSet<CrashState>,
    started: bool,
}

impl Iterator for CrashStates {
    type Item = CrashState;

    fn next(&mut self) -> Option<CrashState> {
        loop {
            if let Some(state) = self.ready.pop_front() {
                if self.seen.insert(state.clone()) {
                    return Some(state);
                }
                continue;
            }
            if self.started {
                let operation = self.operations.get(self.next)?;
                self.simulation.apply(operation);
                self.next += 1;
            }
            self.started = true;
            self.ready = self.simulation.states().into();
        }
    }
}

/// The file system as far as it is known to be durable, and what is undecided.
#[derive(Default)]
struct Simulation {
    barrier: Option<u64>,
    files: Vec<Written>,
    /// What processes see now: the file behind each name.
    visible: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, Node>,
    undecided: Vec<Change>,
}

#[derive(Default, Clone)]
struct Written {
    data: Arc<Vec<u8>>,
    synced: usize,
}

#[derive(Clone, Copy)]
enum Node {
    Dir,
    File(usize),
}

/// A change of one directory that a crash keeps or loses as a whole.
#[derive(Clone)]
struct Change {
    unlinked: Option<PathBuf>,
    linked: Option<(PathBuf, Node)>,
}

impl Change {
    fn directory(&self) -> &Path {
        let path = self.linked.as_ref().map(|(path, _)| path).or(self.unlinked.as_ref());
        path.map_or(Path::new(""), |path| parent_in_root(path))
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        if let Some(path) = &self.unlinked {
            names.remove(path);
        }
        if let Some((path, node)) = &self.linked {
            names.insert(path.clone(), *node);
        }
    }
}

impl Simulation {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::MakeDir(path) => self.change(None, Some((path.clone(), Node::Dir))),
            Operation::Create(path) => {
                let file = self.files.len();
                self.files.push(Written::default());
                self.visible.insert(path.clone(), file);
                self.change(None, Some((path.clone(), Node::File(file))));
            }
            Operation::Write { file, bytes } => {
                if let Some(written) = self.files.get_mut(*file) {
                    Arc::make_mut(&mut written.data).extend_from_slice(bytes);
                }
            }
            Operation::SyncFile { file } => {
                if let Some(written) = self.files.get_mut(*file) {
                    written.synced = written.data.len();
                }
            }
            Operation::Rename { from, to } => {
                if let Some(file) = self.visible.remove(from) {
                    self.visible.insert(to.clone(), file);
                    self.change(Some(from.clone()), Some((to.clone(), Node::File(file))));
                }
            }
            Operation::Remove(path) => {
                self.visible.remove(path);
                self.change(Some(path.clone()), None);
            }
            Operation::SyncDir(dir) => {
                let undecided = std::mem::take(&mut self.undecided);
                for change in undecided {
                    if change.directory() == dir {
                        change.apply(&mut self.durable);
                    } else {
                        self.undecided.push(change);
                    }
                }
            }
            Operation::Barrier(number) => self.barrier = Some(*number),
        }
    }

    fn change(&mut self, unlinked: Option<PathBuf>, linked: Option<(PathBuf, Node)>) {
        self.undecided.push(Change { unlinked, linked });
    }

    fn states(&self) -> Vec<CrashState> {
        let mut states = Vec::new();
        for kept in selections(self.undecided.len()) {
            let mut names = self.durable.clone();
            for (change, _) in self.undecided.iter().zip(&kept).filter(|(_, kept)| **kept) {
                change.apply(&mut names);
            }
            states.extend(LOSSES.iter().map(|loss| self.state(&names, *loss)));
        }
        states
    }

    /// The state with `names`; those below a directory that is lost are lost with it.
    fn state(&self, names: &BTreeMap<PathBuf, Node>, loss: Loss) -> CrashState {
        let mut state = CrashState { barrier: self.barrier, dirs: vec![], files: vec![] };
        let mut dirs = HashSet::from([PathBuf::new()]);
        // A directory sorts before what is below it, so its own fate is known by then.
        for (path, node) in names {
            if !dirs.contains(parent_in_root(path)) {
                continue;
            }
            match node {
                Node::Dir => {
                    dirs.insert(path.clone());
                    state.dirs.push(path.clone());
                }
                Node::File(file) => {
                    let written = self.files.get(*file).cloned().unwrap_or_default();
                    state.files.push((path.clone(), loss.remains(&written)));
                }
            }
        }
        state
    }
}

/// What becomes of bytes that no fsync covers.
#[derive(Clone, Copy)]
enum Loss {
    All,
    None,
    SecondHalf,
    LastByte,
    Zeroed,
}

impl Loss {
    fn remains(self, written: &Written) -> Remains {
        let unsynced = written.data.len() - written.synced;
        let (kept, zeros) = match self {
            Self::All => (0, 0),
            Self::None => (unsynced, 0),
            Self::SecondHalf => (unsynced / 2, 0),
            Self::LastByte => (unsynced.saturating_sub(1), 0),
            Self::Zeroed => (0, unsynced),
        };
        Remains { data: written.data.clone(), kept: written.synced + kept, zeros }
    }
}

/// Which of `count` undecided changes a crash keeps: all subsets of few; of many none, all, and all but each one.
fn selections(count: usize) -> Vec<Vec<bool>> {
    if count <= SUBSETS_OF_MAX {
        return (0..1_usize << count).map(|bits| (0..count).map(|bit| bits >> bit & 1 == 1).collect()).collect();
    }
    let mut selections = vec![vec![false; count], vec![true; count]];
    for lost in 0..count {
        selections.push((0..count).map(|index| index != lost).collect());
        selections.push((0..count).map(|index| index < lost).collect());
    }
    selections
}

fn parent_in_root(path: &Path) -> &Path {
    if path.components().nth(1).is_none() { Path::new("") } else { parent(path) }
}

const LOSSES: [Loss; 5] = [Loss::All, Loss::None, Loss::SecondHalf, Loss::LastByte, Loss::Zeroed];
/// Up to this many undecided changes, all subsets are tried.
const SUBSETS_OF_MAX: usize = 4;
