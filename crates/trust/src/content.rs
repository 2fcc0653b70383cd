//! What a detached signature is compared with: a listing of files, and their digests on demand.
//!
//! [`Content`] has two makers: a [`Folder`] on disk, read beneath its root without following any link, and an artifact's
//! [`Tree`], whose digests are on record. [`hash_all`] uses every core. Hashing is SHA-256 of AWS-LC (it uses the
//! processor's instructions), BLAKE2b-512 and BLAKE3.

#![deny(clippy::indexing_slicing)]

use std::{
    fs::{self, File},
    io,
    ops::Range,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use aws_lc_rs::digest;
use blake2::Digest as _;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use ringfence_schema::{Tree, finding::printable};

/// Most files in one folder with all below it.
pub const FILES_MAX: usize = 500_000;
/// Deepest folder below the root.
pub const DEPTH_MAX: usize = 64;
/// Longest path inside the root in bytes.
pub const PATH_BYTES_MAX: usize = 4_096;
/// Bytes read at a time: large enough to amortise the call, small enough to stay in the second-level cache.
const READ_BYTES: usize = 256 << 10;
/// Most threads that hash.
const THREADS_MAX: usize = 64;

/// How bytes are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// BLAKE2b with 64 bytes of output (RFC 7693).
    Blake2b,
    /// BLAKE3 with 32 bytes of output.
    Blake3,
}

impl HashAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Blake2b, Self::Blake3];

    /// The name in model signatures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Blake2b => "blake2b",
            Self::Blake3 => "blake3",
        }
    }

    /// Length of a digest in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 32,
            Self::Blake2b => 64,
        }
    }
}

/// What stands under a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A symbolic link. It is never followed.
    Link,
    /// A pipe, socket or device.
    Special,
}

/// One path of a listing. Folders are not listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative, `/` between parts.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// What it is.
    pub kind: EntryKind,
}

/// Why content could not be listed or hashed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// A file or folder could not be read.
    #[error("`{path}`: {source}")]
    Io {
        /// Where, fit to print.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// More than [`FILES_MAX`] files, or deeper than [`DEPTH_MAX`].
    #[error("more than {FILES_MAX} files, or folders nested deeper than {DEPTH_MAX}")]
    TooMany,
    /// A name that is not UTF-8, or longer than [`PATH_BYTES_MAX`].
    #[error("`{path}`: a name that is not UTF-8, or too long")]
    Name {
        /// The path, fit to print.
        path: String,
    },
    /// The file became shorter while it was read.
    #[error("`{path}` changed while it was read")]
    Changed {
        /// The path, fit to print.
        path: String,
    },
    /// Only whole-file SHA-256 digests are on record, and the signature needs another.
    #[error("`{path}`: only its SHA-256 is on record, and the signature needs {needs}")]
    NotOnRecord {
        /// The path, fit to print.
        path: String,
        /// What it needs.
        needs: &'static str,
    },
    /// The path is not in the listing.
    #[error("`{path}` is not there")]
    Missing {
        /// The path, fit to print.
        path: String,
    },
}

/// Files that can be listed and hashed.
pub trait Content: Sync {
    /// Every file and link, sorted by path.
    fn entries(&self) -> &[Entry];

    /// The digest of `range` of a file's bytes.
    fn hash(&self, entry: &Entry, algorithm: HashAlgorithm, range: Range<u64>) -> Result<Vec<u8>, ContentError>;

    /// A whole small file, for what is parsed; fails where only digests are on record.
    fn read(&self, entry: &Entry, bytes_max: u64) -> Result<Vec<u8>, ContentError>;

    /// The entry with this path.
    fn find(&self, path: &str) -> Option<&Entry> {
        let entries = self.entries();
        entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok().and_then(|at| entries.get(at))
    }
}

/// One thing to hash.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// Of which file.
    pub entry: &'a Entry,
    /// Which of its bytes.
    pub range: Range<u64>,
}

/// The digests of all `jobs`, in their order, on every core.
pub fn hash_all(
    content: &dyn Content,
    algorithm: HashAlgorithm,
    jobs: &[Job<'_>],
) -> Result<Vec<Vec<u8>>, ContentError> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(jobs.len()).clamp(1, THREADS_MAX);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((at, job)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            jobs.get(at).map(|job| (at, job))
        } {
            done.push((at, content.hash(job.entry, algorithm, job.range.clone())));
        }
        done
    };
    let mut done = if threads == 1 {
        work()
    } else {
        thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            // A thread that panicked leaves its jobs out, which is noticed below.
            running.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
        })
    };
    done.sort_by_key(|(at, _)| *at);
    if done.len() != jobs.len() {
        return Err(ContentError::TooMany);
    }
    done.into_iter().map(|(_, digest)| digest).collect()
}

/// A folder on disk, or a single file.
#[derive(Debug)]
pub struct Folder {
    root: OwnedFd,
    entries: Vec<Entry>,
}

impl Folder {
    /// Lists everything below `root`. Names that are not UTF-8 are refused, links and special files are listed as such.
    pub fn open(root: &Path) -> Result<Self, ContentError> {
        let mut entries = Vec::new();
        walk(root, &PathBuf::new(), 0, &mut entries)?;
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let directory = File::open(root).map_err(|source| io_error(&root.to_string_lossy(), source))?;
        Ok(Self { root: directory.into(), entries })
    }

    /// A single file: a listing with one entry under the file's own name. The folder that holds it is the root.
    pub fn of_file(path: &Path) -> Result<Self, ContentError> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| ContentError::Name { path: printable(&path.to_string_lossy(), 120) })?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let facts = fs::symlink_metadata(path).map_err(|source| io_error(name, source))?;
        let directory = File::open(parent).map_err(|source| io_error(&parent.to_string_lossy(), source))?;
        Ok(Self { root: directory.into(), entries: vec![entry(name.to_owned(), &facts)] })
    }

    fn file(&self, entry: &Entry) -> Result<File, ContentError> {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let opened = openat2(&self.root, entry.path.as_str(), how);
        let file: File = opened.map_err(|errno| io_error(&entry.path, errno.into()))?.into();
        if !file.metadata().map_err(|source| io_error(&entry.path, source))?.is_file() {
            return Err(ContentError::Changed { path: printable(&entry.path, 120) });
        }
        Ok(file)
    }
}

impl Content for Folder {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn hash(&self, entry: &Entry, algorithm: HashAlgorithm, range: Range<u64>) -> Result<Vec<u8>, ContentError> {
        let file = self.file(entry)?;
        let mut state = State::new(algorithm);
        let (mut at, mut buffer) = (range.start, vec![0; READ_BYTES]);
        while at < range.end {
            let want = usize::try_from(range.end - at).unwrap_or(READ_BYTES).min(READ_BYTES);
            let space = buffer.get_mut(..want).unwrap_or_default();
            let count = match file.read_at(space, at) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(io_error(&entry.path, error)),
            };
            if count == 0 {
                return Err(ContentError::Changed { path: printable(&entry.path, 120) });
            }
            state.update(space.get(..count).unwrap_or_default());
            at += count as u64;
        }
        // Bytes that were appended since the listing are part of the file that a loader would see.
        let size = file.metadata().map_err(|source| io_error(&entry.path, source))?.len();
        if size != entry.size {
            return Err(ContentError::Changed { path: printable(&entry.path, 120) });
        }
        Ok(state.finish())
    }

    fn read(&self, entry: &Entry, bytes_max: u64) -> Result<Vec<u8>, ContentError> {
        use io::Read as _;
        let mut bytes = Vec::new();
        let read = self.file(entry)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes);
        let count = read.map_err(|source| io_error(&entry.path, source))?;
        if count as u64 > bytes_max {
            return Err(io_error(&entry.path, io::Error::other(format!("larger than {bytes_max} bytes"))));
        }
        Ok(bytes)
    }
}

/// Artifacts in a vault: the digests that were taken when they came in.
#[derive(Debug)]
pub struct OnRecord<'a> {
    tree: &'a Tree,
    entries: Vec<Entry>,
}

impl<'a> OnRecord<'a> {
    /// The files of `tree`.
    pub fn new(tree: &'a Tree) -> Self {
        let entry = |file: &ringfence_schema::TreeEntry| Entry {
            path: file.path.clone(),
            size: file.size,
            kind: EntryKind::File,
        };
        Self { tree, entries: tree.files().iter().map(entry).collect() }
    }
}

impl Content for OnRecord<'_> {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn hash(&self, entry: &Entry, algorithm: HashAlgorithm, range: Range<u64>) -> Result<Vec<u8>, ContentError> {
        let path = || printable(&entry.path, 120);
        if algorithm != HashAlgorithm::Sha256 {
            return Err(ContentError::NotOnRecord { path: path(), needs: algorithm.name() });
        }
        if range != (0..entry.size) {
            return Err(ContentError::NotOnRecord { path: path(), needs: "digests of its parts" });
        }
        let files = self.tree.files();
        let at = files.binary_search_by(|file| file.path.cmp(&entry.path)).ok();
        let file = at.and_then(|at| files.get(at)).ok_or_else(|| ContentError::Missing { path: path() })?;
        Ok(file.sha256.as_bytes().to_vec())
    }

    fn read(&self, entry: &Entry, _bytes_max: u64) -> Result<Vec<u8>, ContentError> {
        Err(ContentError::NotOnRecord { path: printable(&entry.path, 120), needs: "its bytes" })
    }
}

/// Digest of bytes at hand.
pub fn hash_bytes(algorithm: HashAlgorithm, bytes: &[u8]) -> Vec<u8> {
    let mut state = State::new(algorithm);
    state.update(bytes);
    state.finish()
}

enum State {
    Sha256(digest::Context),
    Blake2b(Box<blake2::Blake2b512>),
    Blake3(Box<blake3::Hasher>),
}

impl State {
    fn new(algorithm: HashAlgorithm) -> Self {
        match algorithm {
            HashAlgorithm::Sha256 => Self::Sha256(digest::Context::new(&digest::SHA256)),
            HashAlgorithm::Blake2b => Self::Blake2b(Box::default()),
            HashAlgorithm::Blake3 => Self::Blake3(Box::default()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(state) => state.update(bytes),
            Self::Blake2b(state) => state.update(bytes),
            Self::Blake3(state) => drop(state.update(bytes)),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha256(state) => state.finish().as_ref().to_vec(),
            Self::Blake2b(state) => state.finalize().to_vec(),
            Self::Blake3(state) => state.finalize().as_bytes().to_vec(),
        }
    }
}

fn walk(root: &Path, below: &Path, depth: usize, entries: &mut Vec<Entry>) -> Result<(), ContentError> {
    let here = root.join(below);
    if depth > DEPTH_MAX {
        return Err(ContentError::TooMany);
    }
    let failed = |source| io_error(&here.to_string_lossy(), source);
    for found in fs::read_dir(&here).map_err(failed)? {
        let found = found.map_err(failed)?;
        let inner = below.join(found.file_name());
        let facts = fs::symlink_metadata(found.path()).map_err(|source| io_error(&inner.to_string_lossy(), source))?;
        if facts.is_dir() {
            walk(root, &inner, depth + 1, entries)?;
            continue;
        }
        let path = inner.to_str().filter(|path| path.len() <= PATH_BYTES_MAX);
        let path = path.ok_or_else(|| ContentError::Name { path: printable(&inner.to_string_lossy(), 120) })?;
        entries.push(entry(path.to_owned(), &facts));
        if entries.len() > FILES_MAX {
            return Err(ContentError::TooMany);
        }
    }
    Ok(())
}

fn entry(path: String, facts: &fs::Metadata) -> Entry {
    let kind = match facts.file_type() {
        kind if kind.is_file() => EntryKind::File,
        kind if kind.is_symlink() => EntryKind::Link,
        _ => EntryKind::Special,
    };
    Entry { path, size: facts.len(), kind }
}

fn io_error(path: &str, source: io::Error) -> ContentError {
    ContentError::Io { path: printable(path, 120), source }
}
