//! Looks at files of a job while it runs, without being fooled, held up or kept busy.
//!
//! Every name is opened below the folder's descriptor without following anything (`openat2` with `RESOLVE_BENEATH` and
//! `RESOLVE_NO_SYMLINKS`), without blocking on a FIFO, and only a regular file with a single name is read. A look takes a
//! bounded number of entries and bytes, wherever the last one stopped: a folder with a million files is gone through in
//! minutes, at the same small price per second. Nothing is held open between looks but the folders on the way, so that
//! the space of what a job removes is free at once.
#![deny(clippy::indexing_slicing)]

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{FileExt, MetadataExt},
        },
    },
    time::Instant,
};

use nix::{
    dir::{Dir, OwningIter, Type},
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::Mode,
};
use ringfence_schema::event::{Progress, Told};

use super::{
    Nonsense,
    pace::Bucket,
    tfevents::{self, EventFile},
    trainer_state::{self, Histories},
};

/// Which folder of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Outputs: event files and trainer states.
    Output,
    /// Temporary files: event files.
    Scratch,
}

/// How thorough a look is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// The job runs.
    Passing,
    /// Everything is dead.
    Last,
}

/// Takes what a file says, or what is wrong with it.
pub(super) type Tell<'a> = &'a mut dyn FnMut(Told, Result<Progress, Nonsense>);

/// A folder that a job writes to.
pub(super) struct Folder {
    root: OwnedFd,
    kind: Kind,
    /// Folders that are being gone through, outermost first, with their paths.
    walk: Vec<(OwningIter, String)>,
    files: BTreeMap<String, Followed>,
    histories: Histories,
    bytes: Option<Bucket>,
}

/// A file that is looked at again and again.
enum Followed {
    Events { inode: u64, offset: u64, reader: EventFile },
    State { done: Option<Stamp>, tried: Option<Stamp> },
}

/// A file with the same stamp has the same content, as far as honest programs go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Folder {
    /// The folder behind `root`; `None` if the kernel gives no second descriptor for it.
    pub(super) fn new(root: BorrowedFd<'_>, kind: Kind) -> Option<Self> {
        let root = root.try_clone_to_owned().ok()?;
        Some(Self {
            root,
            kind,
            walk: Vec::new(),
            files: BTreeMap::new(),
            histories: Histories::default(),
            bytes: None,
        })
    }

    /// Looks for new files, and for what is new in those that are known.
    pub(super) fn look(&mut self, effort: Effort, now: Instant, tell: Tell<'_>) {
        let entries = match effort {
            Effort::Passing => ENTRIES_PER_LOOK,
            Effort::Last => {
                self.walk.clear();
                ENTRIES_AT_LAST
            }
        };
        self.find(entries, tell);
        let mut bucket = match (effort, self.bytes.take()) {
            (Effort::Last, _) => Bucket::new(0, BYTES_AT_LAST, now),
            (Effort::Passing, bucket) => bucket.unwrap_or_else(|| Bucket::new(BYTES_PER_SECOND, BYTES_AT_ONCE, now)),
        };
        let Self { root, files, histories, .. } = self;
        let share = bucket.level(now) / (files.len() as u64).max(1);
        files.retain(|path, followed| {
            let Some(file) = open_file(root.as_fd(), path) else { return false };
            match followed {
                Followed::Events { inode, offset, reader } => {
                    follow_events(&file, path, (inode, offset, reader), (&mut bucket, share, now), tell);
                }
                Followed::State { done, tried } => {
                    read_state(file, path, histories, (done, tried), (&mut bucket, effort, now), tell);
                }
            }
            true
        });
        self.bytes = Some(bucket);
    }

    /// Goes on with the walk for at most `entries` entries.
    fn find(&mut self, entries: usize, tell: Tell<'_>) {
        if self.walk.is_empty() {
            let Some(root) = open(self.root.as_fd(), ".", OFlag::O_DIRECTORY) else { return };
            self.enter(root, String::new());
        }
        for _ in 0..entries {
            let depth = self.walk.len();
            let Some((folder, path)) = self.walk.last_mut() else { return };
            let Some(Ok(entry)) = folder.next() else {
                self.walk.pop();
                continue;
            };
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name == "." || name == ".." {
                continue;
            }
            match entry.file_type() {
                Some(Type::Directory) if depth < DEPTH_MAX => {
                    let below = format!("{path}{name}");
                    if let Some(inner) = open(self.root.as_fd(), &below, OFlag::O_DIRECTORY) {
                        self.enter(inner, format!("{below}/"));
                    }
                }
                Some(Type::File) | None if is_told_in(name) => {
                    let below = format!("{path}{name}");
                    self.follow(name, below, tell);
                }
                _ => {}
            }
        }
    }

    fn enter(&mut self, folder: OwnedFd, path: String) {
        if let Ok(folder) = Dir::from_fd(folder) {
            self.walk.push((folder.into_iter(), path));
        }
    }

    fn follow(&mut self, name: &str, path: String, tell: Tell<'_>) {
        let (told, followed) = if name.starts_with(tfevents::FILE_PREFIX) {
            (Told::Tensorboard, Followed::Events { inode: 0, offset: 0, reader: EventFile::new(&path) })
        } else if name == trainer_state::FILE_NAME && self.kind == Kind::Output {
            (Told::TrainerState, Followed::State { done: None, tried: None })
        } else {
            return;
        };
        if self.files.contains_key(&path) {
            return;
        }
        if self.files.len() >= FILES_MAX {
            tell(told, Err(Nonsense::Many));
            return;
        }
        self.files.insert(path, followed);
    }
}

/// Whether a file of this name may tell of progress.
fn is_told_in(name: &str) -> bool {
    name.starts_with(tfevents::FILE_PREFIX) || name == trainer_state::FILE_NAME
}

fn follow_events(
    file: &File,
    path: &str,
    (inode, offset, reader): (&mut u64, &mut u64, &mut EventFile),
    (bucket, share, now): (&mut Bucket, u64, Instant),
    tell: Tell<'_>,
) {
    let Ok(metadata) = file.metadata() else { return };
    if *inode != metadata.ino() || metadata.len() < *offset {
        (*inode, *offset, *reader) = (metadata.ino(), 0, EventFile::new(path));
    }
    let mut left = share.max(PIECE_BYTES as u64);
    let mut buffer = vec![0; PIECE_BYTES];
    while left >= PIECE_BYTES as u64 {
        *offset += reader.pass_over(metadata.len().saturating_sub(*offset));
        let more = metadata.len().saturating_sub(*offset).min(PIECE_BYTES as u64);
        if more == 0 || !bucket.take(more, now) {
            return;
        }
        left -= PIECE_BYTES as u64;
        let Ok(count) = file.read_at(&mut buffer, *offset) else { return };
        if count == 0 {
            return;
        }
        *offset += count as u64;
        let outcome = reader.push(buffer.get(..count).unwrap_or_default(), &mut |progress| {
            tell(Told::Tensorboard, Ok(progress));
        });
        if let Err(nonsense) = outcome {
            tell(Told::Tensorboard, Err(nonsense));
        }
    }
}

fn read_state(
    file: File,
    path: &str,
    histories: &mut Histories,
    (done, tried): (&mut Option<Stamp>, &mut Option<Stamp>),
    (bucket, effort, now): (&mut Bucket, Effort, Instant),
    tell: Tell<'_>,
) {
    let Ok(metadata) = file.metadata() else { return };
    let stamp = Some(Stamp {
        inode: metadata.ino(),
        size: metadata.len(),
        seconds: metadata.mtime(),
        nanoseconds: metadata.mtime_nsec(),
    });
    if *done == stamp || metadata.len() == 0 {
        return;
    }
    let most = trainer_state::BYTES_MAX as u64;
    if metadata.len() > most {
        *done = stamp;
        tell(Told::TrainerState, Err(Nonsense::Long));
        return;
    }
    if !bucket.take(metadata.len(), now) {
        return;
    }
    let mut bytes = Vec::new();
    if file.take(most).read_to_end(&mut bytes).is_err() {
        return;
    }
    match histories.news(path, &bytes) {
        // It may be in the middle of being written: nonsense only if it stays like this.
        Err(Nonsense::Json) if *tried != stamp && effort == Effort::Passing => *tried = stamp,
        Err(nonsense) => {
            *done = stamp;
            tell(Told::TrainerState, Err(nonsense));
        }
        Ok(news) => {
            *done = stamp;
            for progress in news {
                tell(Told::TrainerState, Ok(progress));
            }
        }
    }
}

/// The regular file with a single name at `path`.
fn open_file(root: BorrowedFd<'_>, path: &str) -> Option<File> {
    let file = File::from(open(root, path, OFlag::O_NONBLOCK)?);
    let metadata = file.metadata().ok()?;
    (metadata.is_file() && metadata.nlink() == 1).then_some(file)
}

/// Opens `path` below `root` for reading, following nothing.
fn open(root: BorrowedFd<'_>, path: &str, flags: OFlag) -> Option<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW)
        .mode(Mode::empty())
        .resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS
                | ResolveFlag::RESOLVE_NO_XDEV,
        );
    openat2(root, std::ffi::OsStr::from_bytes(path.as_bytes()), how).ok()
}

/// Folders within folders that are looked into.
const DEPTH_MAX: usize = 4;
/// Entries per look.
const ENTRIES_PER_LOOK: usize = 512;
/// Entries of the last look.
const ENTRIES_AT_LAST: usize = 65_536;
/// Most files that are followed, in each folder.
const FILES_MAX: usize = 64;
/// Bytes per second that are read in the long run, in each folder.
const BYTES_PER_SECOND: u64 = 1 << 20;
/// Bytes that are read at once.
const BYTES_AT_ONCE: u64 = 8 << 20;
/// Bytes of the last look.
const BYTES_AT_LAST: u64 = 32 << 20;
/// One read.
const PIECE_BYTES: usize = 16 << 10;
