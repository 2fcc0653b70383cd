//! Takes the files out of `/out` after everything of the run is dead.
//!
//! Whatever lies there was made by a stranger: links are not followed, only regular files with a single name are read,
//! names must be plain, sizes and counts are bounded, and every step goes through a descriptor of the folder before it.
//! What is not taken is named, with the reason.
#![deny(clippy::indexing_slicing)]

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
};

use nix::{
    dir::Dir,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::Mode,
};
use ringfence_schema::{finding::printable, tree::is_safe_path};

use super::RunLimits;

/// What becomes of an entry.
pub(super) enum Entry<'a> {
    /// A file to be taken: its path below `/out`, its size, and its bytes.
    File(&'a str, u64, &'a mut File),
    /// An entry that is not taken: its path, fit to print, and why.
    Skipped(String, String),
}

/// How many entries were taken, and how many not.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    /// Taken.
    pub(super) taken: u64,
    /// Skipped.
    pub(super) skipped: u64,
}

/// Walks the folder behind `output` in order of names and hands every entry to `each`.
pub(super) fn collect(
    output: OwnedFd,
    limits: &RunLimits,
    each: &mut dyn FnMut(Entry<'_>) -> io::Result<()>,
) -> io::Result<Counts> {
    let mut walk = Walk { limits, bytes: 0, entries: 0, counts: Counts::default(), each };
    walk.folder(output, "", 0)?;
    Ok(walk.counts)
}

struct Walk<'a, 'b> {
    limits: &'a RunLimits,
    bytes: u64,
    entries: u64,
    counts: Counts,
    each: &'b mut dyn FnMut(Entry<'_>) -> io::Result<()>,
}

impl Walk<'_, '_> {
    fn folder(&mut self, folder: OwnedFd, prefix: &str, depth: usize) -> io::Result<()> {
        let handle = folder.try_clone()?;
        let mut names: Vec<Vec<u8>> = Vec::new();
        for entry in Dir::from_fd(folder)?.iter() {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                self.entries += 1;
                if self.entries > self.limits.output_files.min(ENTRIES_MAX) {
                    self.skip(prefix, "more entries than the limit: the rest was not looked at")?;
                    break;
                }
                names.push(name);
            }
        }
        names.sort();
        for name in names {
            self.entry(handle.as_fd(), &name, prefix, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, folder: BorrowedFd<'_>, name: &[u8], prefix: &str, depth: usize) -> io::Result<()> {
        let path = format!("{prefix}{}", String::from_utf8_lossy(name));
        if std::str::from_utf8(name).is_err() || !is_safe_path(&path) {
            return self.skip(&path, "its name is not a plain path");
        }
        let file = match open(folder, name) {
            Ok(file) => File::from(file),
            Err(nix::errno::Errno::ELOOP) => return self.skip(&path, "a symbolic link"),
            Err(error) => return self.skip(&path, &format!("cannot be opened: {}", error.desc())),
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            if depth + 1 >= DEPTH_MAX {
                return self.skip(&path, "folders are nested too deep");
            }
            return self.folder(file.into(), &format!("{path}/"), depth + 1);
        }
        if !metadata.is_file() {
            return self.skip(&path, "neither a file nor a folder");
        }
        if metadata.nlink() != 1 {
            return self.skip(&path, "a file with several names");
        }
        self.bytes = self.bytes.saturating_add(metadata.len());
        if self.bytes > self.limits.output_bytes {
            return self.skip(&path, "more bytes than the limit");
        }
        self.counts.taken += 1;
        let mut file = file;
        (self.each)(Entry::File(&path, metadata.len(), &mut file))
    }

    fn skip(&mut self, path: &str, reason: &str) -> io::Result<()> {
        self.counts.skipped += 1;
        (self.each)(Entry::Skipped(printable(path, PATH_CHARS_MAX), reason.to_owned()))
    }
}

/// Opens one name in a folder without following anything; a fifo without a writer does not block.
fn open(folder: BorrowedFd<'_>, name: &[u8]) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW)
        .mode(Mode::empty())
        .resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS
                | ResolveFlag::RESOLVE_NO_XDEV,
        );
    openat2(folder, std::ffi::OsStr::from_bytes(name), how)
}

/// Most folders within folders.
const DEPTH_MAX: usize = 32;
/// Most entries, whatever the limits of the run say.
const ENTRIES_MAX: u64 = 1_000_000;
/// Longest printed path in characters.
const PATH_CHARS_MAX: usize = 1_024;
