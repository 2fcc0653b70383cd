//! The file layer: every effect that this crate has on a file system goes through [`Disk`].
//!
//! [`Disk::create`] makes a file under a temporary name, [`NewFile::publish`] gives it its final one: write, fsync,
//! rename, fsync of the directory, always in this order, and there is no other way to a final name. A failed fsync is an
//! error that callers must treat as the end of what they were writing: the kernel may have dropped the dirty pages, so
//! a second fsync that succeeds proves nothing (fsync(2), and LWN 752063). It is never retried here.
//!
//! [`Disk::recorded`] logs all effects in a [`Recording`], from which tests rebuild what a directory can look like after a
//! crash at any moment.
//!
//! Absent on purpose: overwriting, appending to a published file, renaming between directories.

use std::{
    ffi::OsString,
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

mod behind;
mod recording;

pub use behind::Behind;
pub(crate) use behind::timed;
pub use recording::{CrashState, CrashStates, Fault, Recording};

/// A way to the file system.
#[derive(Clone, Default)]
pub struct Disk {
    recording: Option<Recording>,
}

impl Disk {
    /// The file system itself.
    pub fn real() -> Self {
        Self::default()
    }

    /// The file system, with every effect logged in `recording`. An fsync is logged and not done: what would be durable
    /// is the recording's business here, and nobody waits for a disk.
    pub fn recorded(recording: &Recording) -> Self {
        Self { recording: Some(recording.clone()) }
    }

    /// Makes the directory `path` (mode 0700); one that exists already is left as it is. Its name is durable only after
    /// [`Disk::sync_dir`] of its parent, which a caller must also ask for if it existed: whoever made it may have died.
    pub fn make_dir(&self, path: &Path) -> Result<(), DiskError> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
            Err(error) => return Err(DiskError::new(Effect::MakeDir, path, error)),
        }
        if let Some(recording) = &self.recording {
            recording.make_dir(path);
        }
        Ok(())
    }

    /// Makes a new file `name` (mode 0600) in `dir` under a temporary name that [`is_temporary`] recognises.
    pub fn create(&self, dir: &Path, name: &str) -> Result<NewFile, DiskError> {
        let temporary = dir.join(temporary_name(name));
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(|error| DiskError::new(Effect::Create, &temporary, error))?;
        let number = self.recording.as_ref().map_or(0, |recording| recording.create(&temporary));
        Ok(NewFile { disk: self.clone(), number, file, bytes: 0, behind: None, temporary, published: dir.join(name) })
    }

    /// Opens `path` for reading.
    pub fn open(&self, path: &Path) -> Result<fs::File, DiskError> {
        fs::File::open(path).map_err(|error| DiskError::new(Effect::Open, path, error))
    }

    /// Removes the file `path`.
    pub fn remove(&self, path: &Path) -> Result<(), DiskError> {
        fs::remove_file(path).map_err(|error| DiskError::new(Effect::Remove, path, error))?;
        if let Some(recording) = &self.recording {
            recording.remove(path);
        }
        Ok(())
    }

    /// Makes the names in `path` durable.
    pub fn sync_dir(&self, path: &Path) -> Result<(), DiskError> {
        let synced = match &self.recording {
            Some(recording) => recording.sync_dir(path),
            None => fs::File::open(path).and_then(|dir| dir.sync_all()),
        };
        synced.map_err(|error| DiskError::new(Effect::SyncDir, path, error))
    }

    /// The names in the directory `path`, sorted; more than `names_max` is an error.
    pub fn list(&self, path: &Path, names_max: usize) -> Result<Vec<OsString>, DiskError> {
        let failed = |error| DiskError::new(Effect::List, path, error);
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            if names.len() == names_max {
                return Err(failed(io::Error::other(format!("more than {names_max} names"))));
            }
            names.push(entry.map_err(failed)?.file_name());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Opens, and makes if need be, the file that processes lock against each other. It never carries data, so it
    /// needs no fsync and is no part of a recording.
    pub fn lock_file(&self, path: &Path) -> Result<fs::File, DiskError> {
        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|error| DiskError::new(Effect::Lock, path, error))
    }
}

/// A file that does not yet have its final name. Dropped without [`NewFile::publish`], it stays behind as garbage that
/// the sweep at the next start removes.
pub struct NewFile {
    disk: Disk,
    number: usize,
    file: fs::File,
    /// Written so far.
    bytes: u64,
    /// Where it is one that is read once and then removed.
    behind: Option<Behind>,
    temporary: PathBuf,
    published: PathBuf,
}

impl NewFile {
    /// Keeps it out of memory, where memory is dear: it is read once, and then removed.
    #[must_use]
    pub fn passing(mut self) -> Self {
        self.behind = Some(Behind::writer());
        self
    }

    /// Appends `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        let failed = |error| DiskError::new(Effect::Write, &self.published, error);
        if let Some(recording) = &self.disk.recording {
            recording.write(self.number, bytes).map_err(failed)?;
        }
        let mut file = &self.file;
        match &mut self.behind {
            Some(behind) => behind.pass(file, self.bytes, bytes.len(), || file.write_all(bytes)),
            None => file.write_all(bytes),
        }
        .map_err(failed)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Makes the content durable, gives the file its final name, and makes that durable too.
    pub fn publish(self) -> Result<(), DiskError> {
        self.sync()?;
        if let Some(behind) = &self.behind {
            behind.end(&self.file);
        }
        fs::rename(&self.temporary, &self.published)
            .map_err(|error| DiskError::new(Effect::Rename, &self.published, error))?;
        if let Some(recording) = &self.disk.recording {
            recording.rename(&self.temporary, &self.published);
        }
        self.disk.sync_dir(parent(&self.published))
    }

    fn sync(&self) -> Result<(), DiskError> {
        let synced = match &self.disk.recording {
            Some(recording) => recording.sync_file(self.number),
            None => self.file.sync_all(),
        };
        synced.map_err(|error| DiskError::new(Effect::Sync, &self.published, error))
    }
}

/// Whether `name` is one that a [`NewFile`] has before it is published.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY_PREFIX)
}

/// The name that a [`NewFile`] has before it is published as `name`.
pub(crate) fn temporary_name(name: &str) -> String {
    format!("{TEMPORARY_PREFIX}{name}")
}

/// What was to be done to the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// A directory.
    MakeDir,
    /// A new file.
    Create,
    /// Opening for reading.
    Open,
    /// Reading.
    Read,
    /// Appending to a new file.
    Write,
    /// fsync of a new file.
    Sync,
    /// The final name.
    Rename,
    /// fsync of a directory.
    SyncDir,
    /// Removing a file.
    Remove,
    /// Listing a directory.
    List,
    /// Opening or locking the lock file.
    Lock,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MakeDir => "make directory",
            Self::Create => "create",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "make durable",
            Self::Rename => "give its final name to",
            Self::SyncDir => "make durable the names in",
            Self::Remove => "remove",
            Self::List => "list",
            Self::Lock => "lock",
        })
    }
}

/// The file system refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {effect} `{}`: {source}", path.display())]
pub struct DiskError {
    /// What was tried.
    pub effect: Effect,
    /// On which file or directory.
    pub path: PathBuf,
    /// What the operating system said.
    pub source: io::Error,
}

impl DiskError {
    pub(crate) fn new(effect: Effect, path: &Path, source: io::Error) -> Self {
        Self { effect, path: path.to_owned(), source }
    }
}

/// The directory that holds the name of `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

const TEMPORARY_PREFIX: &str = "tmp-";
