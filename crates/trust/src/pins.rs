//! What this user holds outside any vault: one trust root and one checkpoint per vault.
//!
//! [`Pins`] is a directory of plain files, `<vault>.root.json` and `<vault>.checkpoint`, replaced atomically and durably. It
//! takes a root only if none is held, or as the successor of the one held, and a checkpoint only if it is consistent
//! with the one held. That is how a vault that was rolled back or rewritten as a whole shows.

#![deny(clippy::indexing_slicing)]

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::{fcntl::OFlag, unistd::geteuid};
use ringfence_schema::Digest;

use crate::{
    checkpoint::{self, Checkpoint, CheckpointError, NOTE_BYTES_MAX},
    durable,
    id::VaultId,
    keys::KeyRole,
    merkle::{self, ProofError},
    root::{ROOT_BYTES_MAX, RootError, TrustRoot},
};

/// Most pinned vaults that are listed.
pub const VAULTS_MAX: usize = 10_000;

const ROOT_SUFFIX: &str = ".root.json";
const CHECKPOINT_SUFFIX: &str = ".checkpoint";
const LOCK_NAME: &str = ".lock";

/// Why something was not pinned or not found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The system refused.
    #[error("pins at `{path}`: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else owns the directory or may change it.
    #[error("pins directory `{path}` belongs to user {owner} with mode {mode:04o}: others could change it")]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// A pinned file is larger than what it holds can be.
    #[error("pin `{path}` has more than {limit} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// More than [`VAULTS_MAX`] vaults.
    #[error("more than {VAULTS_MAX} pinned vaults")]
    TooMany,
    /// A root file does not hold.
    #[error("pinned root of vault `{vault}`: {error}")]
    Root {
        /// The vault.
        vault: VaultId,
        /// Why.
        error: RootError,
    },
    /// A checkpoint does not hold.
    #[error("checkpoint of vault `{vault}`: {error}")]
    Checkpoint {
        /// The vault.
        vault: VaultId,
        /// Why.
        error: CheckpointError,
    },
    /// No root is pinned for the vault.
    #[error("no trust root is pinned for vault `{vault}`")]
    Unknown {
        /// The vault.
        vault: VaultId,
    },
    /// An older root than the one that is held.
    #[error("root of epoch {given} is older than the pinned one of epoch {held}")]
    OlderEpoch {
        /// Epoch held.
        held: u64,
        /// Epoch given.
        given: u64,
    },
    /// Another root of the same epoch.
    #[error("another root of epoch {epoch} is pinned for vault `{vault}`")]
    OtherRoot {
        /// The vault.
        vault: VaultId,
        /// The epoch.
        epoch: u64,
    },
    /// A shorter trail than the one that was seen.
    #[error("the trail has {given} entries, but one with {held} was seen before")]
    OlderCheckpoint {
        /// Entries held.
        held: u64,
        /// Entries given.
        given: u64,
    },
    /// A trail that is no continuation of the one that was seen.
    #[error("the trail of {given} entries does not continue the one of {held} entries that was seen before: {error}")]
    Inconsistent {
        /// Entries held.
        held: u64,
        /// Entries given.
        given: u64,
        /// Why.
        error: ProofError,
    },
}

/// The user's pins.
#[derive(Debug, Clone)]
pub struct Pins {
    dir: PathBuf,
}

impl Pins {
    /// The pins in `dir`, which is made (mode 0700) if it is missing.
    pub fn open(dir: &Path) -> Result<Self, PinError> {
        let io = |source| PinError::Io { path: dir.to_owned(), source };
        durable::create_directory(dir).map_err(io)?;
        let facts = fs::metadata(dir).map_err(io)?;
        if facts.uid() != geteuid().as_raw() || facts.mode() & 0o022 != 0 {
            let (owner, mode) = (facts.uid(), facts.mode() & 0o7777);
            return Err(PinError::Unsafe { path: dir.to_owned(), owner, mode });
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// The root that is pinned for `vault`.
    pub fn find(&self, vault: &VaultId) -> Result<Option<TrustRoot>, PinError> {
        let Some(file) = read(&self.path(vault, ROOT_SUFFIX), ROOT_BYTES_MAX)? else { return Ok(None) };
        let failed = |error| PinError::Root { vault: *vault, error };
        let root = TrustRoot::open(&file).map_err(failed)?;
        if root.vault() != vault {
            return Err(failed(RootError::Invalid { what: "it is another vault's" }));
        }
        Ok(Some(root))
    }

    /// The vaults with a pinned root, sorted.
    pub fn vaults(&self) -> Result<Vec<VaultId>, PinError> {
        let io = |source| PinError::Io { path: self.dir.clone(), source };
        let mut vaults = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            let vault = name.to_str().and_then(|name| name.strip_suffix(ROOT_SUFFIX)?.parse::<VaultId>().ok());
            vaults.extend(vault);
            if vaults.len() > VAULTS_MAX {
                return Err(PinError::TooMany);
            }
        }
        vaults.sort();
        Ok(vaults)
    }

    /// Pins `root`: the first of its vault, because the user says so, or the successor of the one held. A root that is
    /// held already is fine; one that skips epochs is pinned by pinning those between first.
    pub fn save(&self, root: &TrustRoot) -> Result<(), PinError> {
        let _lock = self.lock()?;
        let vault = *root.vault();
        if let Some(held) = self.find(&vault)? {
            if held.file() == root.file() {
                return Ok(());
            }
            if root.epoch() < held.epoch() {
                return Err(PinError::OlderEpoch { held: held.epoch(), given: root.epoch() });
            }
            if root.epoch() == held.epoch() {
                return Err(PinError::OtherRoot { vault, epoch: held.epoch() });
            }
            held.succeed(root.file()).map_err(|error| PinError::Root { vault, error })?;
        }
        self.write(&vault, ROOT_SUFFIX, root.file())
    }

    /// The last checkpoint that was seen of `vault`'s trail.
    pub fn checkpoint(&self, vault: &VaultId) -> Result<Option<Checkpoint>, PinError> {
        match self.find(vault)? {
            Some(root) => self.held_checkpoint(&root),
            None => Ok(None),
        }
    }

    fn held_checkpoint(&self, root: &TrustRoot) -> Result<Option<Checkpoint>, PinError> {
        let vault = root.vault();
        let Some(note) = read(&self.path(vault, CHECKPOINT_SUFFIX), NOTE_BYTES_MAX)? else { return Ok(None) };
        // What was seen was seen, also if its key was revoked since.
        checkpoint::verify(&note, &checkpoint::origin(vault), &root.keys_ever(KeyRole::Log))
            .map(Some)
            .map_err(|error| PinError::Checkpoint { vault: *vault, error })
    }

    /// Checks `note` against the pinned root and the checkpoint held, and then holds it. `proof` shows that the trail
    /// held is the beginning of the one given; it is empty for the first checkpoint and for the same size.
    pub fn advance(&self, vault: &VaultId, note: &[u8], proof: &[Digest]) -> Result<Checkpoint, PinError> {
        let _lock = self.lock()?;
        let root = self.find(vault)?.ok_or(PinError::Unknown { vault: *vault })?;
        let failed = |error| PinError::Checkpoint { vault: *vault, error };
        let given = root.verify_checkpoint(note).map_err(failed)?;
        if let Some(held) = self.held_checkpoint(&root)? {
            let (held_size, given_size) = (held.size, given.size);
            if given_size < held_size {
                return Err(PinError::OlderCheckpoint { held: held_size, given: given_size });
            }
            merkle::verify_consistency(held_size, &held.root, given_size, &given.root, proof)
                .map_err(|error| PinError::Inconsistent { held: held_size, given: given_size, error })?;
        }
        self.write(vault, CHECKPOINT_SUFFIX, note)?;
        Ok(given)
    }

    fn path(&self, vault: &VaultId, suffix: &str) -> PathBuf {
        self.dir.join(format!("{vault}{suffix}"))
    }

    fn write(&self, vault: &VaultId, suffix: &str, bytes: &[u8]) -> Result<(), PinError> {
        let path = self.path(vault, suffix);
        durable::replace(&path, bytes).map_err(|source| PinError::Io { path, source })
    }

    /// Held while reading, judging and writing, so that two processes cannot undo each other.
    fn lock(&self) -> Result<File, PinError> {
        let path = self.dir.join(LOCK_NAME);
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
            .open(&path);
        opened.and_then(|file| file.lock().map(|()| file)).map_err(|source| PinError::Io { path, source })
    }
}

/// A file's content of at most `limit` bytes; `None` if there is no such file.
fn read(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, PinError> {
    let io = |source| PinError::Io { path: path.to_owned(), source };
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() > limit { Err(PinError::TooLarge { path: path.to_owned(), limit }) } else { Ok(Some(bytes)) }
}
