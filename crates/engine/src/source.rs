//! Files of a stranger, as they lie outside: opened once, links not followed, bounded.

use std::{
    fs::{self, File, OpenOptions},
    io::Read,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;
use ringfence_schema::tree;

use crate::error::EngineError;

/// Most files of one artifact.
const FILES_MAX: usize = 100_000;
/// Most files that one scan looks at.
const SEEN_MAX: usize = 4_000_000;
/// Deepest folder.
const DEPTH_MAX: usize = 64;

/// A file to be read: where it is, and what it is called inside the artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) place: PathBuf,
    pub(crate) path: String,
}

/// The files of an artifact: `path` itself, or everything below it, sorted by name. A link, device or pipe is refused by
/// name, because what it stands for could change between two looks.
pub(crate) fn files(path: &Path) -> Result<Vec<Found>, EngineError> {
    let kind = path.symlink_metadata().map_err(EngineError::io(path))?.file_type();
    if kind.is_dir() {
        let mut found = Vec::new();
        walk(path, Path::new(""), 0, &mut found)?;
        found.sort_by(|a, b| a.path.cmp(&b.path));
        if found.is_empty() {
            return Err(EngineError::incomplete(path.display().to_string(), "the folder holds no files"));
        }
        return Ok(found);
    }
    // What the user names may be a link: following it once, here, is what they asked for.
    let place = fs::canonicalize(path).map_err(EngineError::io(path))?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    let path = name_inside(Path::new(name), path)?;
    Ok(vec![Found { place, path }])
}

fn walk(root: &Path, below: &Path, depth: usize, found: &mut Vec<Found>) -> Result<(), EngineError> {
    let here = root.join(below);
    if depth > DEPTH_MAX {
        return Err(EngineError::incomplete(
            here.display().to_string(),
            format!("nested deeper than {DEPTH_MAX} folders"),
        ));
    }
    for entry in fs::read_dir(&here).map_err(EngineError::io(&here))? {
        let entry = entry.map_err(EngineError::io(&here))?;
        let (inner, place) = (below.join(entry.file_name()), entry.path());
        let kind = entry.file_type().map_err(EngineError::io(&place))?;
        if kind.is_dir() {
            walk(root, &inner, depth + 1, found)?;
        } else if kind.is_file() {
            let path = name_inside(&inner, &place)?;
            found.push(Found { place, path });
        } else {
            return Err(EngineError::incomplete(
                place.display().to_string(),
                "neither a file nor a folder; links are not followed",
            ));
        }
        if found.len() > FILES_MAX {
            return Err(EngineError::incomplete(root.display().to_string(), format!("more than {FILES_MAX} files")));
        }
    }
    Ok(())
}

/// Something that was come upon on the way through a folder that is only looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Where it is, as the user would say it.
    pub(crate) place: PathBuf,
    /// Why it cannot be looked into.
    pub(crate) refused: Option<String>,
}

/// Everything to look at below `path`, sorted by name, whatever it is called: nothing of it is kept, so a link is followed
/// where it leads to a file, and what is no file is named instead of ending the walk.
pub(crate) fn everything(path: &Path) -> Result<Vec<Seen>, EngineError> {
    if !fs::metadata(path).map_err(EngineError::io(path))?.is_dir() {
        return Ok(vec![Seen { place: path.to_owned(), refused: None }]);
    }
    let root = fs::canonicalize(path).map_err(EngineError::io(path))?;
    let mut seen = Vec::new();
    let mut folders = vec![(path.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let mut refuse = |place: PathBuf, why: String| seen.push(Seen { place, refused: Some(why) });
        if depth > DEPTH_MAX {
            refuse(folder, format!("nested deeper than {DEPTH_MAX} folders"));
            continue;
        }
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                refuse(folder, error.to_string());
                continue;
            }
        };
        for entry in entries {
            let place = match &entry {
                Ok(entry) => entry.path(),
                Err(error) => {
                    seen.push(Seen { place: folder.clone(), refused: Some(error.to_string()) });
                    break;
                }
            };
            let is_link = place.is_symlink();
            match fs::metadata(&place) {
                Ok(facts) if facts.is_dir() && !is_link => folders.push((place, depth + 1)),
                // Its files are come upon where they are.
                Ok(facts) if facts.is_dir() && fs::canonicalize(&place).is_ok_and(|to| to.starts_with(&root)) => {}
                Ok(facts) => {
                    let refused = if facts.is_file() {
                        None
                    } else if facts.is_dir() {
                        Some("a link to a folder elsewhere, which was not followed".to_owned())
                    } else {
                        Some("neither a file nor a folder".to_owned())
                    };
                    seen.push(Seen { place, refused });
                }
                Err(error) => seen.push(Seen { place, refused: Some(error.to_string()) }),
            }
            if seen.len() > SEEN_MAX {
                return Err(EngineError::incomplete(path.display().to_string(), format!("more than {SEEN_MAX} files")));
            }
        }
    }
    if seen.is_empty() {
        return Err(EngineError::incomplete(path.display().to_string(), "the folder holds no files"));
    }
    seen.sort_by(|a, b| a.place.cmp(&b.place));
    Ok(seen)
}

/// Opens a file to look at it; a link to a file is followed.
pub(crate) fn open_linked(place: &Path) -> Result<File, EngineError> {
    open(&fs::canonicalize(place).map_err(EngineError::io(place))?)
}

fn name_inside(path: &Path, place: &Path) -> Result<String, EngineError> {
    let text = path.to_str().map(tree::normalise).filter(|text| tree::is_safe_path(text));
    text.ok_or_else(|| {
        EngineError::incomplete(
            place.display().to_string(),
            "its name is not plain UTF-8 text, or holds `\\`, `:` or control characters",
        )
    })
}

/// Opens a regular file without following a link and without waiting for a pipe's other end.
pub(crate) fn open(place: &Path) -> Result<File, EngineError> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(place).map_err(EngineError::io(place))?;
    if file.metadata().map_err(EngineError::io(place))?.is_file() {
        Ok(file)
    } else {
        Err(EngineError::incomplete(place.display().to_string(), "not a regular file"))
    }
}

/// A reader that fails where a file grows beyond what was announced.
pub(crate) struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Bounded<R> {
    /// At most `bytes_max` bytes of `inner`.
    pub(crate) fn new(inner: R, bytes_max: u64) -> Self {
        Self { inner, left: bytes_max }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left =
            self.left.checked_sub(count as u64).ok_or_else(|| std::io::Error::other("larger than the limit"))?;
        Ok(count)
    }
}
