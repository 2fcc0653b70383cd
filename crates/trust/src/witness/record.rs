//! What a witness remembers: the logs that it was told of, and the largest checkpoint of each that it cosigned.
//!
//! A folder with the key (`witness.key`) and one file for each log (`logs/<SHA-256 of the origin>.json`), which holds the log's
//! keys and its checkpoint and is replaced as a whole, durably. A lock is held from reading it to having replaced it, so
//! several processes may serve one folder. Nothing is kept in memory: what is on disk is what was cosigned.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use nix::{fcntl::OFlag, unistd::geteuid};
use ringfence_schema::{
    Digest,
    canon::{self, CanonError},
};
use serde::{Deserialize, Serialize};

use super::request::{AddCheckpoint, RequestError};
use crate::{
    checkpoint::{self, Checkpoint},
    durable,
    entropy::Entropy,
    keys::KeyRole,
    merkle::{self, ProofError},
    note::{Note, SignatureLine},
    root::{ROOT_BYTES_MAX, RootError, TrustRoot},
    sign::VerifyingKey as SignKey,
    vkey::{Algorithm, CosignerKey, VerifierKey, VkeyError},
};

/// Most logs of one witness.
pub const RECORDED_LOGS_MAX: usize = 10_000;
/// Most keys of one log that are told one by one.
const KEYS_MAX: usize = 16;
/// Largest file of a log in bytes: a trust root in base64, keys, a checkpoint.
const FILE_BYTES_MAX: usize = ROOT_BYTES_MAX / 3 * 4 + (256 << 10);

const KEY_FILE: &str = "witness.key";
const LOGS_FOLDER: &str = "logs";
const LOCK_NAME: &str = ".lock";
const FILE_SUFFIX: &str = ".json";

/// Who signs a log's checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogKeys {
    /// The log keys of a vault's trust root, each within its range; boxed, because it is large.
    Root(Box<TrustRoot>),
    /// These keys, all of one name, for any size.
    Keys(Vec<VerifierKey>),
}

/// A log and how far it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// The first line of its checkpoints.
    pub origin: String,
    /// Who signs them.
    pub keys: LogKeys,
    /// The largest one that was cosigned, with the log's signatures; none yet where there was none.
    pub latest: Option<Note>,
}

/// Why a witness cannot do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// The system refused.
    #[error("`{path}`: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may change the folder.
    #[error("`{path}` belongs to user {owner} with mode {mode:04o}: others could change it")]
    Unsafe {
        /// The folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// There is a witness in the folder already.
    #[error("there is a witness in `{path}` already")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// The witness's key.
    #[error(transparent)]
    Key(#[from] VkeyError),
    /// What is known of a log cannot be read: it was damaged or changed by somebody.
    #[error("`{path}` is damaged: {what}; nothing is cosigned for that log")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Keys that are those of no log, or do not follow the ones that are known.
    #[error("log keys: {what}")]
    Keys {
        /// What is wrong.
        what: String,
    },
    /// More than [`RECORDED_LOGS_MAX`].
    #[error("more than {RECORDED_LOGS_MAX} logs")]
    TooMany,
}

/// Why a checkpoint is not cosigned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No question that can be read.
    #[error(transparent)]
    Malformed(#[from] RequestError),
    /// The old size is larger than the new one.
    #[error("the old size {old} is larger than the checkpoint's {size}")]
    Backwards {
        /// The old size.
        old: u64,
        /// The checkpoint's.
        size: u64,
    },
    /// Nobody told the witness of this log.
    #[error("log `{origin}` is not known here")]
    UnknownLog {
        /// The first line of the checkpoint.
        origin: String,
    },
    /// No signature by a key of the log.
    #[error("no signature by a key of log `{origin}` that counts")]
    Unsigned {
        /// The log.
        origin: String,
    },
    /// The log went on, or back: another size than the one that was cosigned last.
    #[error("log `{origin}` has {latest} entries here, not {old}")]
    Conflict {
        /// The log.
        origin: String,
        /// Size of the latest cosigned checkpoint.
        latest: u64,
        /// The old size that was said.
        old: u64,
    },
    /// The same number of entries, and other ones.
    #[error("log `{origin}` shows two histories of {size} entries")]
    Forked {
        /// The log.
        origin: String,
        /// The size of both.
        size: u64,
    },
    /// Not a continuation of what was cosigned.
    #[error("log `{origin}`: {size} entries do not continue the {latest} that were cosigned: {error}")]
    Inconsistent {
        /// The log.
        origin: String,
        /// The checkpoint's size.
        size: u64,
        /// Size of the latest cosigned checkpoint.
        latest: u64,
        /// Why.
        error: ProofError,
    },
    /// The witness itself cannot.
    #[error(transparent)]
    Unable(#[from] WitnessError),
}

impl Refusal {
    /// The HTTP status that says so (C2SP tlog-witness, "add-checkpoint").
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(RequestError::TooLarge { .. }) => 413,
            Self::Malformed(_) | Self::Backwards { .. } => 400,
            Self::UnknownLog { .. } => 404,
            Self::Unsigned { .. } => 403,
            Self::Conflict { .. } | Self::Forked { .. } => 409,
            Self::Inconsistent { .. } => 422,
            Self::Unable(_) => 500,
        }
    }

    /// The size that a conflict answers with.
    pub const fn size(&self) -> Option<u64> {
        match self {
            Self::Conflict { latest: size, .. } | Self::Forked { size, .. } => Some(*size),
            _ => None,
        }
    }
}

/// A checkpoint that is on the witness's disk as the largest of its log. Only [`Witness::record`] makes one.
#[derive(Debug)]
pub struct Recorded {
    note: Note,
    checkpoint: Checkpoint,
}

impl Recorded {
    /// What was recorded.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

/// A witness and its folder.
#[derive(Debug)]
pub struct Witness {
    folder: PathBuf,
    key: CosignerKey,
}

impl Witness {
    /// Makes a witness with a fresh key in `folder`, which is made (mode 0700) if it is missing.
    ///
    /// # Errors
    /// [`WitnessError::Exists`], [`WitnessError::Unsafe`], [`WitnessError::Key`], [`WitnessError::Io`].
    pub fn create(
        folder: &Path,
        name: &str,
        algorithm: Algorithm,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, WitnessError> {
        let io = |source| WitnessError::Io { path: folder.to_owned(), source };
        let key = CosignerKey::generate(entropy, name, algorithm)?;
        durable::create_directory(folder).map_err(io)?;
        check_owner(folder)?;
        durable::create_directory(&folder.join(LOGS_FOLDER)).map_err(io)?;
        match key.write(&folder.join(KEY_FILE)) {
            Err(VkeyError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                Err(WitnessError::Exists { path: folder.to_owned() })
            }
            written => Ok(written.map(|()| Self { folder: folder.to_owned(), key })?),
        }
    }

    /// Opens the witness in `folder`.
    ///
    /// # Errors
    /// [`WitnessError::Unsafe`], [`WitnessError::Key`], [`WitnessError::Io`].
    pub fn open(folder: &Path) -> Result<Self, WitnessError> {
        check_owner(folder)?;
        Ok(Self { folder: folder.to_owned(), key: CosignerKey::read(&folder.join(KEY_FILE))? })
    }

    /// The key that its cosignatures are checked with.
    pub fn verifier_key(&self) -> &VerifierKey {
        self.key.verifier_key()
    }

    /// Tells the witness of a log, or that a known one has other keys: the next epoch of its trust root, or any keys where
    /// keys were told. What was cosigned stays. Returns the log's origin.
    ///
    /// # Errors
    /// [`WitnessError::Keys`] where the keys are those of no log, or the root does not follow the one that is known.
    pub fn add_log(&self, keys: LogKeys) -> Result<String, WitnessError> {
        let origin = keys.origin()?;
        let _lock = self.lock()?;
        let path = self.path(&origin);
        let latest = match self.read(&path)? {
            Some(known) => {
                keys.check_follows(&known.keys)?;
                known.latest
            }
            None if self.files()?.len() >= RECORDED_LOGS_MAX => return Err(WitnessError::TooMany),
            None => None,
        };
        self.write(&LogState { origin: origin.clone(), keys, latest })?;
        Ok(origin)
    }

    /// The logs that it knows, sorted by origin.
    ///
    /// # Errors
    /// [`WitnessError::Damaged`], [`WitnessError::Io`].
    pub fn logs(&self) -> Result<Vec<LogState>, WitnessError> {
        let mut logs = Vec::new();
        for path in self.files()? {
            logs.extend(self.read(&path)?);
        }
        logs.sort_by(|a, b| a.origin.cmp(&b.origin));
        Ok(logs)
    }

    /// Judges a question, and puts the checkpoint on disk as the largest of its log. From here on nothing smaller and nothing
    /// else is cosigned, whether or not the answer reaches anybody.
    ///
    /// # Errors
    /// [`Refusal`]; then nothing was changed.
    pub fn record(&self, asked: &AddCheckpoint) -> Result<Recorded, Refusal> {
        let checkpoint = asked.note.checkpoint().map_err(RequestError::from)?;
        let (origin, size) = (checkpoint.origin.clone(), checkpoint.size);
        let _lock = self.lock()?;
        let path = self.path(&origin);
        let Some(mut log) = self.read(&path)? else { return Err(Refusal::UnknownLog { origin }) };
        let signed = log.keys.signed(&asked.note, &checkpoint);
        if signed.is_empty() {
            return Err(Refusal::Unsigned { origin });
        }
        let old = asked.old_size;
        if old > size {
            return Err(Refusal::Backwards { old, size });
        }
        let before = log.checkpoint();
        let latest = before.as_ref().map_or(0, |before| before.size);
        if old != latest {
            return Err(Refusal::Conflict { origin, latest, old });
        }
        let before_root = before.as_ref().map_or_else(merkle::empty_root, |before| before.root);
        if old == size && checkpoint.root != before_root {
            return Err(Refusal::Forked { origin, size });
        }
        merkle::verify_consistency(old, &before_root, size, &checkpoint.root, &asked.proof)
            .map_err(|error| Refusal::Inconsistent { origin, size, latest, error })?;
        // Lines of strangers are not kept, so that nobody can make the file grow.
        let note = asked.note.filtered(|line| signed.contains(&line.to_string()));
        if before.as_ref() != Some(&checkpoint) {
            log.latest = Some(note.clone());
            self.write(&log)?;
        }
        Ok(Recorded { note, checkpoint })
    }

    /// Cosigns what was recorded, at the moment `now_s` in seconds since 1970.
    ///
    /// # Errors
    /// [`WitnessError::Key`].
    pub fn cosign(&self, recorded: &Recorded, now_s: u64) -> Result<SignatureLine, WitnessError> {
        Ok(self.key.cosign(&recorded.note, now_s)?)
    }

    fn path(&self, origin: &str) -> PathBuf {
        let name = Digest::of(origin.as_bytes()).hex() + FILE_SUFFIX;
        self.folder.join(LOGS_FOLDER).join(name)
    }

    fn files(&self) -> Result<BTreeSet<PathBuf>, WitnessError> {
        let folder = self.folder.join(LOGS_FOLDER);
        let io = |source| WitnessError::Io { path: folder.clone(), source };
        let mut files = BTreeSet::new();
        for entry in fs::read_dir(&folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.to_str().is_some_and(|path| path.ends_with(FILE_SUFFIX)) {
                files.insert(path);
            }
            if files.len() > RECORDED_LOGS_MAX {
                return Err(WitnessError::TooMany);
            }
        }
        Ok(files)
    }

    fn read(&self, path: &Path) -> Result<Option<LogState>, WitnessError> {
        let io = |source| WitnessError::Io { path: path.to_owned(), source };
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
        let damaged = |what: String| WitnessError::Damaged { path: path.to_owned(), what };
        if bytes.len() > FILE_BYTES_MAX {
            return Err(damaged(format!("more than {FILE_BYTES_MAX} bytes")));
        }
        let mut wire: Wire = canon::from_canonical(&bytes).map_err(|error| damaged(error.to_string()))?;
        let check = wire.check.take();
        if check.is_none() || canon::digest_of(&wire).ok() != check {
            return Err(damaged("its check does not hold".to_owned()));
        }
        let state = wire.read().map_err(|error| damaged(error.to_string()))?;
        if self.path(&state.origin) != path {
            return Err(damaged("it is another log's".to_owned()));
        }
        Ok(Some(state))
    }

    fn write(&self, state: &LogState) -> Result<(), WitnessError> {
        let path = self.path(&state.origin);
        let damaged = |error: CanonError| WitnessError::Damaged { path: path.clone(), what: error.to_string() };
        let mut wire = Wire::of(state);
        wire.check = Some(canon::digest_of(&wire).map_err(damaged)?);
        let bytes = canon::to_canonical(&wire).map_err(damaged)?;
        durable::replace(&path, &bytes).map_err(|source| WitnessError::Io { path, source })
    }

    /// Held from reading what was cosigned to having written what is.
    fn lock(&self) -> Result<File, WitnessError> {
        let path = self.folder.join(LOCK_NAME);
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
            .open(&path);
        opened.and_then(|file| file.lock().map(|()| file)).map_err(|source| WitnessError::Io { path, source })
    }
}

fn check_owner(folder: &Path) -> Result<(), WitnessError> {
    let facts = fs::metadata(folder).map_err(|source| WitnessError::Io { path: folder.to_owned(), source })?;
    if facts.uid() == geteuid().as_raw() && facts.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(WitnessError::Unsafe { path: folder.to_owned(), owner: facts.uid(), mode: facts.mode() & 0o7777 })
}

impl LogState {
    /// The largest checkpoint that was cosigned.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.latest.as_ref().and_then(|note| note.checkpoint().ok())
    }
}

impl LogKeys {
    fn origin(&self) -> Result<String, WitnessError> {
        let wrong = |what: &str| WitnessError::Keys { what: what.to_owned() };
        match self {
            Self::Root(root) => Ok(checkpoint::origin(root.vault())),
            Self::Keys(keys) => {
                let first =
                    keys.first().filter(|_| keys.len() <= KEYS_MAX).ok_or_else(|| wrong("none, or too many"))?;
                if !keys.iter().all(|key| key.algorithm().is_logs()) {
                    return Err(wrong("a witness's key does not sign for a log"));
                }
                if !keys.iter().all(|key| key.name() == first.name()) {
                    return Err(wrong("keys of several logs"));
                }
                Ok(first.name().to_owned())
            }
        }
    }

    /// A root gives way only to its successor: whoever can write files here must not be able to bring other keys.
    fn check_follows(&self, known: &Self) -> Result<(), WitnessError> {
        let wrong = |what: String| WitnessError::Keys { what };
        match (known, self) {
            (Self::Root(known), Self::Root(new)) if known.file() == new.file() => Ok(()),
            (Self::Root(known), Self::Root(new)) => {
                known.succeed(new.file()).map(drop).map_err(|error: RootError| wrong(error.to_string()))
            }
            (Self::Root(_), Self::Keys(_)) => Err(wrong("this log is known by its trust root".to_owned())),
            (Self::Keys(_), _) => Ok(()),
        }
    }

    /// The lines of `note`, as text, that are by keys of the log which count for `checkpoint`, and hold.
    fn signed(&self, note: &Note, checkpoint: &Checkpoint) -> BTreeSet<String> {
        let of_root: Vec<VerifierKey>;
        let keys = match self {
            Self::Keys(keys) => keys,
            Self::Root(root) => {
                let keys = root.keys_at(KeyRole::Log, checkpoint.size.saturating_sub(1));
                let typed = |key: &SignKey| VerifierKey::new(&checkpoint.origin, Algorithm::Log, key.as_bytes()).ok();
                of_root = keys.iter().filter_map(typed).collect();
                &of_root
            }
        };
        let holds = |line: &&SignatureLine| keys.iter().any(|key| key.verify(note, line).is_ok());
        note.lines().iter().filter(holds).map(ToString::to_string).collect()
    }
}

/// The file of a log.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    schema: WireSchema,
    /// SHA-256 of the same without it: a bit that fell over must not look like another history.
    check: Option<Digest>,
    origin: String,
    /// The trust root's file in base64.
    root: Option<String>,
    keys: Vec<String>,
    latest: Option<String>,
}

#[derive(Serialize, Deserialize)]
enum WireSchema {
    #[serde(rename = "ringfence.witness-log/1")]
    One,
}

impl Wire {
    fn of(state: &LogState) -> Self {
        let (root, keys) = match &state.keys {
            LogKeys::Root(root) => (Some(STANDARD.encode(root.file())), Vec::new()),
            LogKeys::Keys(keys) => (None, keys.iter().map(ToString::to_string).collect()),
        };
        let latest = state.latest.as_ref().map(ToString::to_string);
        Self { schema: WireSchema::One, check: None, origin: state.origin.clone(), root, keys, latest }
    }

    fn read(self) -> Result<LogState, WitnessError> {
        let wrong = |what: String| WitnessError::Keys { what };
        let keys = match self.root {
            Some(root) if self.keys.is_empty() => {
                let file = STANDARD.decode(root).map_err(|error| wrong(error.to_string()))?;
                LogKeys::Root(Box::new(TrustRoot::open(&file).map_err(|error| wrong(error.to_string()))?))
            }
            Some(_) => return Err(wrong("both a trust root and keys".to_owned())),
            None => LogKeys::Keys(self.keys.iter().map(|key| key.parse()).collect::<Result<_, VkeyError>>()?),
        };
        if keys.origin()? != self.origin {
            return Err(wrong("keys of another log".to_owned()));
        }
        let read = |text: String| Note::parse(text.as_bytes()).map_err(|error| wrong(error.to_string()));
        let latest = self.latest.map(read).transpose()?;
        let of_this = |note: &Note| note.checkpoint().is_ok_and(|checkpoint| checkpoint.origin == self.origin);
        if latest.as_ref().is_some_and(|note| !of_this(note)) {
            return Err(wrong("a checkpoint of another log".to_owned()));
        }
        Ok(LogState { origin: self.origin, keys, latest })
    }
}
