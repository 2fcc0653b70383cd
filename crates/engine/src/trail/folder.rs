//! The files of a mirrored trail, read as what they are: a stranger's.
//!
//! [`Folder::read`] follows no link in the last part of a path, waits for no pipe, and reads no more than a file of its kind
//! may have. What is wrong with a file is an answer ([`Content`]); only what the system refuses is an error.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use nix::{fcntl::OFlag, libc};
use ringfence_trust::{
    note::COSIGNED_BYTES_MAX,
    tiles::{BUNDLE_BYTES_MAX, CHECKPOINT_PATH, Kind, Part, TILE_BYTES_MAX, WIDTH},
};

use crate::error::EngineError;

/// Most names that are looked at in one folder of unfinished tiles.
const NAMES_MAX: usize = 1_024;

/// The folder of a mirror.
pub(super) struct Folder {
    path: PathBuf,
}

/// What lies at a path.
pub(super) enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Nothing.
    Missing,
    /// Something that is no file of a mirror, in words.
    Odd(String),
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The note of its checkpoint.
    pub(super) fn note(&self) -> Result<Content, EngineError> {
        self.read(CHECKPOINT_PATH, COSIGNED_BYTES_MAX)
    }

    /// A tile or bundle under its own path.
    pub(super) fn part(&self, part: Part) -> Result<Content, EngineError> {
        let bytes_max = match part.kind {
            Kind::Entries => BUNDLE_BYTES_MAX,
            Kind::Hashes(_) => TILE_BYTES_MAX,
        };
        self.read(&part.path(), bytes_max)
    }

    /// The unfinished parts in the place of `part`, whatever their widths, narrowest first.
    pub(super) fn unfinished(&self, part: Part) -> Result<Vec<Part>, EngineError> {
        let folder = self.path.join(format!("{}.p", part.whole().path()));
        let names = match fs::read_dir(&folder) {
            Ok(names) => names,
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(error) => return Err(EngineError::io(folder)(error)),
        };
        let mut found = Vec::new();
        for name in names.take(NAMES_MAX) {
            let name = name.map_err(EngineError::io(&folder))?.file_name();
            // Names that no client asks for are nobody's business.
            let width: Option<u16> = name.to_str().and_then(|name| name.parse().ok());
            let there = width.filter(|width| (1..WIDTH).contains(width)).map(|width| Part { width, ..part });
            found.extend(there.filter(|there| Path::new(&there.path()).file_name() == Some(&name)));
        }
        found.sort();
        Ok(found)
    }

    fn read(&self, path: &str, bytes_max: usize) -> Result<Content, EngineError> {
        let path = self.path.join(path);
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = match fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(&path) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(Content::Missing),
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Ok(Content::Odd("it is a link".into())),
            Err(error) => return Err(EngineError::io(path)(error)),
        };
        if !file.metadata().map_err(EngineError::io(&path))?.is_file() {
            return Ok(Content::Odd("it is no file".into()));
        }
        let mut bytes = Vec::new();
        file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(EngineError::io(&path))?;
        if bytes.len() > bytes_max {
            return Ok(Content::Odd(format!("it is larger than {bytes_max} bytes")));
        }
        Ok(Content::Bytes(bytes))
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
