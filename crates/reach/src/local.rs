//! `file:`: what lies on this machine already, listed like any other source. Links, devices and pipes are refused by name,
//! because what they stand for can change between two looks.

use std::{
    fs::{self, File, Metadata},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use ringfence_schema::finding::printable;

use crate::{
    error::ReachError,
    listing::{FILES_MAX, Listing, PathFault, Place, RemoteFile},
    source::Source,
};

/// Deepest folder that is walked.
const DEPTH_MAX: usize = 32;

/// The file, or the files below the folder, at `path`.
pub(crate) fn listing(path: &Path) -> Result<Listing, ReachError> {
    let mut files = Vec::new();
    let about = fs::symlink_metadata(path).map_err(io(path))?;
    if about.is_dir() {
        walk(path, "", 0, &mut files)?;
    } else {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        files.push(entry(path, name.to_owned(), &about)?);
    }
    Listing::new(Source::File(path.to_owned()), None, files)
}

/// Opens a listed file, and makes sure that it is no link.
pub(crate) fn open(path: &Path) -> Result<File, ReachError> {
    let before = fs::symlink_metadata(path).map_err(io(path))?;
    let file = File::open(path).map_err(io(path))?;
    let after = file.metadata().map_err(io(path))?;
    if !before.is_file() || (before.dev(), before.ino()) != (after.dev(), after.ino()) {
        return Err(ReachError::Changed { path: path.display().to_string(), what: "it became something else".into() });
    }
    Ok(file)
}

fn walk(folder: &Path, prefix: &str, depth: usize, files: &mut Vec<RemoteFile>) -> Result<(), ReachError> {
    if depth > DEPTH_MAX {
        return Err(ReachError::Path { path: printable(prefix, 120), fault: PathFault::TooDeep });
    }
    for found in fs::read_dir(folder).map_err(io(folder))? {
        let found = found.map_err(io(folder))?;
        let place = found.path();
        let name = found.file_name();
        let Some(name) = name.to_str() else {
            let path = printable(&place.display().to_string(), 120);
            return Err(ReachError::Path { path, fault: PathFault::Unsafe });
        };
        let inside = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        let about = fs::symlink_metadata(&place).map_err(io(&place))?;
        if about.is_dir() {
            walk(&place, &inside, depth + 1, files)?;
        } else {
            files.push(entry(&place, inside, &about)?);
        }
        if files.len() > FILES_MAX {
            return Err(ReachError::TooMany { what: "files", limit: FILES_MAX });
        }
    }
    Ok(())
}

fn entry(place: &Path, path: String, about: &Metadata) -> Result<RemoteFile, ReachError> {
    if !about.is_file() {
        return Err(ReachError::Path { path: printable(&path, 120), fault: PathFault::NotAFile });
    }
    let etag = Some(format!("\"{:x}-{:x}-{:x}\"", about.ino(), about.mtime(), about.mtime_nsec()));
    Ok(RemoteFile {
        path,
        size: Some(about.len()),
        sha256: None,
        git_blob: None,
        etag,
        place: Place::Local(place.to_owned()),
    })
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> ReachError + '_ {
    move |error| ReachError::Io { what: path.display().to_string(), error }
}
