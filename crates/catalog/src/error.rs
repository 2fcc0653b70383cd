//! What can go wrong, sorted by who is at fault: the file, the machine, or the caller.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ringfence_schema::trail::LeafError;
use ringfence_trust::{keys::KeyId, merkle::ProofError};
use rusqlite::ErrorCode;

/// Why a catalog was not opened, read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    // The file
    /// There is no file.
    #[error("there is no catalog at `{path}`")]
    Missing {
        /// Where.
        path: PathBuf,
    },
    /// A new catalog was to be made where something is.
    #[error("`{path}` is there already")]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// Not a file of this kind, or its first page is damaged.
    #[error("`{path}` is not a catalog of Ringfence: {what}")]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What it lacks.
        what: String,
    },
    /// Written by a later version of this program.
    #[error("`{path}` has format version {found}, this program reads up to {known}")]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that is known here.
        known: u32,
    },
    /// Others may read or write it.
    #[error("`{path}` has mode {mode:o}, it must be open to its owner only (600)")]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file contradicts itself or holds what cannot be there.
    #[error("`{path}` is damaged: {what}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },

    // The machine
    /// No space left.
    #[error("no space left to write `{path}`")]
    NoSpace {
        /// Which file.
        path: PathBuf,
    },
    /// Another process holds the file.
    #[error("`{path}` is in use by another process")]
    Busy {
        /// Which file.
        path: PathBuf,
    },
    /// The file system or SQLite failed otherwise.
    #[error("`{path}`: {what}")]
    Storage {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The transaction that several commits shared failed; nothing of this commit was kept.
    #[error("not committed: {0}")]
    NotCommitted(Arc<CatalogError>),
    /// The checkpoint was not signed, or is not of this trail.
    #[error("the checkpoint was not signed: {what}")]
    Signer {
        /// What is wrong.
        what: String,
    },

    // The caller
    /// A commit went on after one of its writes had failed.
    #[error("`{path}`: a commit went on after one of its writes had failed")]
    Torn {
        /// Which file.
        path: PathBuf,
    },
    /// Opened for reading only.
    #[error("`{path}` is open for reading only")]
    ReadOnly {
        /// Which file.
        path: PathBuf,
    },
    /// An entry that the trail's rules do not allow at this place.
    #[error("trail entry {index}: {what}")]
    Rule {
        /// The index that it would have had.
        index: u64,
        /// Which rule.
        what: &'static str,
    },
    /// An entry that cannot be written.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// Something over its limit.
    #[error("{what} of {bytes} bytes, limit is {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// An entry or a tree size that is not there.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// A key that is in the ledger already.
    #[error("key `{id}` is in the ledger already")]
    KeyExists {
        /// Which key.
        id: KeyId,
    },
    /// A key that is not in the ledger.
    #[error("key `{id}` is not in the ledger")]
    KeyUnknown {
        /// Which key.
        id: KeyId,
    },
    /// A key of which only the tombstone is left.
    #[error("key `{id}` was destroyed")]
    KeyDestroyed {
        /// Which key.
        id: KeyId,
    },
    /// An alert that is listed already.
    #[error("the alert is in the trail already")]
    AlertExists,
    /// A sink that has no queue.
    #[error("nothing was ever queued for sink `{name}`")]
    SinkUnknown {
        /// Its name.
        name: String,
    },
    /// A cursor beyond the end of its queue.
    #[error("sink `{name}` cannot have taken record {up_to}, the newest is {last}")]
    Cursor {
        /// The sink.
        name: String,
        /// Where the cursor was to go.
        up_to: u64,
        /// The newest record.
        last: u64,
    },
    /// A blob that is there already.
    #[error("{kind} `{id}` is there already")]
    BlobExists {
        /// Its kind.
        kind: String,
        /// Its id.
        id: String,
    },
}

impl CatalogError {
    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }

    pub(crate) fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let path = path.to_owned();
        let what = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::NoSpace { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            Some(ErrorCode::NotADatabase) => Self::Foreign { path, what },
            // A schema that does not parse, and values of other types than their column's, come from the file.
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::Unknown | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
                Self::Damaged { path, what }
            }
            Some(_) => Self::Storage { path, what },
            None => match error {
                rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::Utf8Error(..)
                | rusqlite::Error::QueryReturnedNoRows => Self::Damaged { path, what },
                _ => Self::Storage { path, what },
            },
        }
    }

    pub(crate) fn io(path: &Path, error: &std::io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::Missing { path },
            std::io::ErrorKind::AlreadyExists => Self::Exists { path },
            std::io::ErrorKind::StorageFull => Self::NoSpace { path },
            _ => Self::Storage { path, what: error.to_string() },
        }
    }
}

/// Gives an SQLite error the name of the file.
pub(crate) trait At<T> {
    fn at(self, path: &Path) -> Result<T, CatalogError>;
}

impl<T> At<T> for rusqlite::Result<T> {
    fn at(self, path: &Path) -> Result<T, CatalogError> {
        self.map_err(|error| CatalogError::sqlite(path, &error))
    }
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, path: &Path) -> Result<T, CatalogError> {
        self.map_err(|error| CatalogError::io(path, &error))
    }
}
