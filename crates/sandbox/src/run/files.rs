//! Which input files are read and what happens in `/out`, as the kernel tells (inotify(7)).
//!
//! The watches lie on the folders themselves, reached through descriptors, so they work across mount namespaces and a job
//! cannot point them elsewhere. Nothing here makes the job wait: the kernel's queue is bounded, it is emptied once a second,
//! changes of one path in between count once, and what was too much is counted ([`Files::untold`]). A file in `/out` that
//! was written, up to [`HASHED_BYTES_MAX`], is hashed when it is noticed, as far as a budget of bytes per second allows.
#![deny(clippy::indexing_slicing)]

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

use nix::{
    dir::{Dir, Type},
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::{
        inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor},
        stat::Mode,
    },
};
use ringfence_schema::{
    Digest, Hasher,
    event::{Change, FileChange},
    finding::printable,
};

/// The watches of one run.
pub(super) struct Files {
    queue: Inotify,
    watched: BTreeMap<WatchDescriptor, Folder>,
    /// Folders whose entries are looked up for size and digest.
    output: Option<OwnedFd>,
    read: BTreeSet<String>,
    untold: u64,
    hash_budget: u64,
}

/// A watched folder: which tree it belongs to, and its path in it (`""`, or ending with `/`).
#[derive(Clone)]
struct Folder {
    tree: Tree,
    prefix: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tree {
    Input,
    Output,
}

impl Files {
    /// Watches the input folder and the output folder. An error means that this kernel has no watch left for us.
    pub(super) fn watch(input: Option<&OwnedFd>, output: Option<&OwnedFd>) -> io::Result<Self> {
        let queue = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let output = output.map(OwnedFd::try_clone).transpose()?;
        let mut files = Self {
            queue,
            watched: BTreeMap::new(),
            output,
            read: BTreeSet::new(),
            untold: 0,
            hash_budget: HASHED_BYTES_PER_LOOK,
        };
        if let Some(input) = input {
            files.add(
                input.try_clone()?,
                &Folder { tree: Tree::Input, prefix: String::new() },
                &mut BTreeMap::new(),
            )?;
        }
        if let Some(output) = &files.output {
            let output = output.try_clone()?;
            files.add(output, &Folder { tree: Tree::Output, prefix: String::new() }, &mut BTreeMap::new())?;
        }
        Ok(files)
    }

    /// What happened since the last look, at most [`CHANGES_PER_LOOK`], in order of paths.
    pub(super) fn look(&mut self) -> Vec<FileChange> {
        self.hash_budget = self.hash_budget.saturating_add(HASHED_BYTES_PER_LOOK).min(HASHED_BYTES_MAX);
        let mut changes = BTreeMap::new();
        for _ in 0..READS_PER_LOOK {
            match self.queue.read_events() {
                Ok(events) => events.into_iter().for_each(|event| self.take(event, &mut changes)),
                // Empty; any other error would only come again.
                Err(_) => break,
            }
        }
        let mut told = Vec::new();
        for ((output, path), change) in changes {
            if told.len() >= CHANGES_PER_LOOK {
                self.untold = self.untold.saturating_add(1);
            } else {
                told.push(self.describe(output, &path, change));
            }
        }
        told
    }

    /// Changes that were not told: too many at a time, or more than the kernel's queue holds.
    pub(super) fn untold(&self) -> u64 {
        self.untold
    }

    fn take(&mut self, event: InotifyEvent, changes: &mut Changes) {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            self.untold = self.untold.saturating_add(1);
            return;
        }
        let Some(folder) = self.watched.get(&event.wd).cloned() else { return };
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            self.watched.remove(&event.wd);
            return;
        }
        let Some(name) = event.name.as_deref() else { return };
        let path = format!("{}{}", folder.prefix, name.to_string_lossy());
        if event.mask.contains(AddWatchFlags::IN_ISDIR) {
            let made = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
            if folder.tree == Tree::Output && event.mask.intersects(made) {
                self.enter(&format!("{path}/"), changes);
            }
            return;
        }
        let change = if folder.tree == Tree::Input {
            if self.read.len() >= READ_PATHS_MAX || !self.read.insert(path.clone()) {
                return;
            }
            Change::Read
        } else if event.mask.contains(AddWatchFlags::IN_MOVED_TO) {
            Change::Renamed
        } else if event.mask.intersects(AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM) {
            Change::Removed
        } else {
            Change::Written
        };
        self.note(changes, folder.tree, path, change);
    }

    fn note(&mut self, changes: &mut Changes, tree: Tree, path: String, change: Change) {
        let key = (tree == Tree::Output, path);
        if changes.len() >= CHANGES_HELD_MAX && !changes.contains_key(&key) {
            self.untold = self.untold.saturating_add(1);
        } else {
            changes.insert(key, change);
        }
    }

    /// Watches a new folder of `/out`; what is in it already was made before the watch.
    fn enter(&mut self, prefix: &str, changes: &mut Changes) {
        let Some(output) = &self.output else { return };
        // It may be gone again, or be no folder any more.
        let Ok(folder) = open(output.as_fd(), prefix.trim_end_matches('/'), OFlag::O_DIRECTORY) else { return };
        if self.add(folder, &Folder { tree: Tree::Output, prefix: prefix.to_owned() }, changes).is_err() {
            self.untold = self.untold.saturating_add(1);
        }
    }

    /// Watches `folder` and the folders below it; notes the files that `/out` has in them.
    fn add(&mut self, folder: OwnedFd, place: &Folder, changes: &mut Changes) -> io::Result<()> {
        let mut open_folders = vec![(folder, place.clone())];
        let mut entries = 0_usize;
        while let Some((folder, place)) = open_folders.pop() {
            if self.watched.len() >= WATCHES_MAX || place.prefix.matches('/').count() > DEPTH_MAX {
                self.untold = self.untold.saturating_add(1);
                continue;
            }
            let flags = match place.tree {
                Tree::Input => AddWatchFlags::IN_OPEN,
                Tree::Output => {
                    AddWatchFlags::IN_CLOSE_WRITE
                        | AddWatchFlags::IN_CREATE
                        | AddWatchFlags::IN_MOVE
                        | AddWatchFlags::IN_DELETE
                }
            };
            let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
            let watch = self.queue.add_watch(path.as_str(), flags | AddWatchFlags::IN_ONLYDIR)?;
            self.watched.insert(watch, place.clone());
            let handle = folder.try_clone()?;
            for entry in Dir::from_fd(folder)?.iter() {
                let entry = entry?;
                let name = entry.file_name();
                if name == c"." || name == c".." {
                    continue;
                }
                entries += 1;
                if entries > ENTRIES_MAX {
                    self.untold = self.untold.saturating_add(1);
                    return Ok(());
                }
                let path = format!("{}{}", place.prefix, name.to_string_lossy());
                if entry.file_type() == Some(Type::Directory) {
                    let name = OsStr::from_bytes(name.to_bytes());
                    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
                    if let Ok(inner) = nix::fcntl::openat(&handle, name, flags, Mode::empty()) {
                        open_folders.push((inner, Folder { tree: place.tree, prefix: format!("{path}/") }));
                    }
                } else if place.tree == Tree::Output && entry.file_type() == Some(Type::File) {
                    self.note(changes, place.tree, path, Change::Written);
                }
            }
        }
        Ok(())
    }

    fn describe(&mut self, output: bool, path: &str, change: Change) -> FileChange {
        let root = if output { "/out" } else { "/in" };
        let shown = printable(&format!("{root}/{path}"), PATH_CHARS_MAX);
        let mut told = FileChange { path: shown, change, size: None, sha256: None };
        if output && matches!(change, Change::Written | Change::Renamed) {
            // Gone again, or not a file: there is nothing to add.
            if let Ok((size, sha256)) = self.size_and_digest(path) {
                told.size = Some(size);
                told.sha256 = sha256;
            }
        }
        told
    }

    fn size_and_digest(&mut self, path: &str) -> io::Result<(u64, Option<Digest>)> {
        let output = self.output.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let file = File::from(open(output.as_fd(), path, OFlag::O_NONBLOCK)?);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let size = metadata.len();
        if size > self.hash_budget {
            return Ok((size, None));
        }
        self.hash_budget = self.hash_budget.saturating_sub(size);
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; READ_BYTES];
        // It may grow meanwhile: then the digest would be of something that never was.
        let mut content = file.take(size.saturating_add(1));
        loop {
            match content.read(&mut buffer)? {
                0 => break,
                count => hasher.update(buffer.get(..count).unwrap_or_default()),
            }
        }
        let whole = hasher.len() == size;
        Ok((size, whole.then(|| hasher.finish())))
    }
}

/// Latest change per path; `true` stands for `/out`.
type Changes = BTreeMap<(bool, String), Change>;

/// Opens a path below `folder` without following anything.
fn open(folder: BorrowedFd<'_>, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
    let how =
        OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | flags).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS
                | ResolveFlag::RESOLVE_NO_XDEV,
        );
    openat2(folder, path, how)
}

/// Largest file that is hashed while the run goes on, in bytes; also what the budget saves up.
pub(super) const HASHED_BYTES_MAX: u64 = 64 << 20;
/// Bytes that each look adds to the budget: about 3 ms of one core.
const HASHED_BYTES_PER_LOOK: u64 = 4 << 20;
/// Most changes told at one look.
const CHANGES_PER_LOOK: usize = 64;
/// Most changes gathered at one look.
const CHANGES_HELD_MAX: usize = 16_384;
/// Most reads of the queue at one look, 4 KiB each.
const READS_PER_LOOK: usize = 256;
/// Most input paths of which the first reading is told.
const READ_PATHS_MAX: usize = 4_096;
/// Most folders that are watched.
const WATCHES_MAX: usize = 1_024;
/// Most folders within folders.
const DEPTH_MAX: usize = 32;
/// Most entries that are looked at when a folder is entered.
const ENTRIES_MAX: usize = 16_384;
/// Longest printed path in characters.
const PATH_CHARS_MAX: usize = 1_024;
/// Size of one read, in bytes.
const READ_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder() -> (tempfile::TempDir, OwnedFd) {
        let folder = tempfile::tempdir().unwrap();
        let handle = File::open(folder.path()).unwrap().into();
        (folder, handle)
    }

    fn told(files: &mut Files) -> Vec<(String, Change, Option<u64>)> {
        files.look().into_iter().map(|change| (change.path, change.change, change.size)).collect()
    }

    #[test]
    fn what_happens_in_the_output_is_told_once_a_look() {
        let (out, handle) = folder();
        let mut files = Files::watch(None, Some(&handle)).unwrap();
        fs::create_dir_all(out.path().join("a/b")).unwrap();
        fs::write(out.path().join("a/b/deep"), "1").unwrap();
        for _ in 0..100 {
            fs::write(out.path().join("often"), "12345").unwrap();
        }
        fs::write(out.path().join("temporary"), "123").unwrap();
        fs::rename(out.path().join("temporary"), out.path().join("final")).unwrap();
        let changes = files.look();
        let digest = changes.iter().find(|change| change.path == "/out/often").and_then(|change| change.sha256);
        assert_eq!(digest, Some(Digest::of(b"12345")));
        let mut seen: Vec<_> = changes.into_iter().map(|change| (change.path, change.change, change.size)).collect();
        seen.retain(|(path, ..)| path != "/out/temporary");
        let expected = [
            ("/out/a/b/deep", Change::Written, Some(1)),
            ("/out/final", Change::Renamed, Some(3)),
            ("/out/often", Change::Written, Some(5)),
        ];
        assert_eq!(seen, expected.map(|(path, change, size)| (path.to_owned(), change, size)));
        fs::remove_file(out.path().join("final")).unwrap();
        assert_eq!(told(&mut files), [("/out/final".to_owned(), Change::Removed, None)]);
        assert_eq!(files.untold(), 0);
    }

    #[test]
    fn an_input_is_told_when_it_is_first_read() {
        let (input, handle) = folder();
        fs::create_dir(input.path().join("set")).unwrap();
        fs::write(input.path().join("set/one"), "1").unwrap();
        let mut files = Files::watch(Some(&handle), None).unwrap();
        for _ in 0..3 {
            fs::read(input.path().join("set/one")).unwrap();
        }
        assert_eq!(told(&mut files), [("/in/set/one".to_owned(), Change::Read, None)]);
        fs::read(input.path().join("set/one")).unwrap();
        assert_eq!(told(&mut files), []);
    }

    #[test]
    fn a_flood_is_bounded_and_counted_and_links_are_not_followed() {
        let (out, handle) = folder();
        let mut files = Files::watch(None, Some(&handle)).unwrap();
        for index in 0..1_000 {
            fs::write(out.path().join(format!("f{index}")), "").unwrap();
        }
        assert_eq!(files.look().len(), CHANGES_PER_LOOK);
        assert_eq!(files.untold(), 1_000 - CHANGES_PER_LOOK as u64);
        fs::write(out.path().join("x"), "").unwrap();
        fs::remove_file(out.path().join("x")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", out.path().join("x")).unwrap();
        let change = files.look().into_iter().find(|change| change.path == "/out/x");
        assert_eq!(change.and_then(|change| change.size), None);
        File::create(out.path().join("large")).unwrap().set_len(HASHED_BYTES_MAX + 1).unwrap();
        let change = files.look().into_iter().find(|change| change.path == "/out/large").unwrap();
        assert_eq!((change.size, change.sha256), (Some(HASHED_BYTES_MAX + 1), None));
    }
}
