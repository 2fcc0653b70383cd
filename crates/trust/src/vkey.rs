//! Verifier keys of logs and witnesses: C2SP signed-note's `<name>+<id>+<key>`, and what they check (C2SP tlog-cosignature).
//!
//! | type | algorithm | who | signs |
//! |---|---|---|---|
//! | `0x01` | Ed25519 | logs | the text of the checkpoint |
//! | `0x04` | Ed25519 | witnesses | `cosignature/v1`, the moment, the text |
//! | `0x06` | ML-DSA-44 (FIPS 204) | both | name, moment, origin, size and root; no further line of the text |
//!
//! [`CosignerKey`] is the secret half of the last two. Absent on purpose: clocks; the moment is an argument.

#![deny(clippy::indexing_slicing)]

use std::{
    fmt,
    fs::OpenOptions,
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    str::FromStr,
};

use aws_lc_rs::signature::{
    ED25519, Ed25519KeyPair, KeyPair as _, ML_DSA_44, ML_DSA_44_SIGNING, PqdsaKeyPair, UnparsedPublicKey,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use nix::{fcntl::OFlag, unistd::geteuid};
use ringfence_schema::{
    Hasher,
    digest::{from_hex, hex},
};
use zeroize::Zeroizing;

use crate::{
    checkpoint::{Checkpoint, is_name},
    durable,
    entropy::Entropy,
    note::{KEY_ID_BYTES, Note, SignatureLine},
    secret::{SECRET_BYTES, Secret},
    sign,
};

/// Longest verifier key in characters: a name and ML-DSA-44's 1,312 bytes in base64.
pub const VKEY_BYTES_MAX: usize = 2_100;
/// Greatest moment of a cosignature, in seconds since 1970 (tlog-cosignature, "Format").
pub const TIME_S_MAX: u64 = (1 << 63) - 1;

/// Length of an ML-DSA-44 public key in bytes (FIPS 204, table 2).
const ML_DSA_44_KEY_BYTES: usize = 1_312;
/// Length of an ML-DSA-44 signature in bytes (FIPS 204, table 2).
const ML_DSA_44_SIGNATURE_BYTES: usize = 2_420;
/// Length of the moment in front of a cosignature in bytes.
const TIME_BYTES: usize = 8;
/// What the file of a secret key begins with, as in Go's `note` package.
const SECRET_PREFIX: &str = "PRIVATE+KEY+";
/// Longest file of a secret key in bytes.
const SECRET_FILE_BYTES_MAX: usize = 1_024;
/// The only mode of that file that is accepted.
const SECRET_MODE: u32 = 0o600;

/// What a key signs, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// A log's Ed25519 signature of the text, type `0x01`.
    Log,
    /// A witness's Ed25519 cosignature, type `0x04`.
    Ed25519,
    /// An ML-DSA-44 cosignature, type `0x06`; logs may sign with it too.
    MlDsa44,
}

impl Algorithm {
    const ALL: [Self; 3] = [Self::Log, Self::Ed25519, Self::MlDsa44];

    const fn type_byte(self) -> u8 {
        match self {
            Self::Log => 0x01,
            Self::Ed25519 => 0x04,
            Self::MlDsa44 => 0x06,
        }
    }

    const fn key_bytes(self) -> usize {
        match self {
            Self::Log | Self::Ed25519 => sign::PUBLIC_KEY_BYTES,
            Self::MlDsa44 => ML_DSA_44_KEY_BYTES,
        }
    }

    /// Whether a log may sign its checkpoints so.
    pub const fn is_logs(self) -> bool {
        matches!(self, Self::Log | Self::MlDsa44)
    }

    /// Whether a witness may cosign so.
    pub const fn is_witnesses(self) -> bool {
        matches!(self, Self::Ed25519 | Self::MlDsa44)
    }
}

/// Why there is no key, or a signature does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VkeyError {
    /// Not `<name>+<id>+<key>` with the id of that name and key, or of another algorithm.
    #[error("not a verifier key: `<name>+<id>+<key>`, of Ed25519 or ML-DSA-44")]
    NotAKey,
    /// A name that signed notes do not allow.
    #[error("a name is 1 to 255 visible ASCII characters without `+`")]
    Name,
    /// A line by this key that does not hold.
    #[error("the signature of `{name}` does not hold")]
    Invalid {
        /// The key's name.
        name: String,
    },
    /// A moment over [`TIME_S_MAX`].
    #[error("a moment beyond what cosignatures can say")]
    Time,
    /// The library refused to sign or the seed; not caused by input.
    #[error("the signature library failed")]
    Library,
    /// The file of a secret key is not readable, or not this user's alone.
    #[error("key file `{path}`: {what}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The system refused.
    #[error("key file `{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The public half of a log's or a witness's key, with its name.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    algorithm: Algorithm,
    public: Vec<u8>,
    id: [u8; KEY_ID_BYTES],
}

impl VerifierKey {
    /// The key with this name and these bytes.
    ///
    /// # Errors
    /// [`VkeyError::Name`], and [`VkeyError::NotAKey`] for a key of another length than the algorithm has.
    pub fn new(name: &str, algorithm: Algorithm, public: &[u8]) -> Result<Self, VkeyError> {
        if !is_name(name) {
            return Err(VkeyError::Name);
        }
        if public.len() != algorithm.key_bytes() {
            return Err(VkeyError::NotAKey);
        }
        let mut hasher = Hasher::new();
        hasher.update(name.as_bytes());
        hasher.update(&[b'\n', algorithm.type_byte()]);
        hasher.update(public);
        let id = hasher.finish().as_bytes().first_chunk().copied().unwrap_or_default();
        Ok(Self { name: name.to_owned(), algorithm, public: public.to_vec(), id })
    }

    /// The name: of a log's key, the origin of its checkpoints.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs, and how.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The bare public key. Keys with the same one are the same key, whatever they are called.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The first 4 bytes of SHA-256 over name, line end, type and key.
    pub fn id(&self) -> [u8; KEY_ID_BYTES] {
        self.id
    }

    /// Whether a line claims to be by this key.
    pub fn claims(&self, line: &SignatureLine) -> bool {
        line.name() == self.name && line.id() == self.id
    }

    /// Checks a line that claims to be by this key, and says which moment it is of; a log's Ed25519 lines say none.
    ///
    /// # Errors
    /// [`VkeyError::Invalid`].
    pub fn verify(&self, note: &Note, line: &SignatureLine) -> Result<Option<u64>, VkeyError> {
        let checked = if self.claims(line) { self.check(note, line.signature()) } else { None };
        let time_s = checked.ok_or_else(|| VkeyError::Invalid { name: self.name.clone() })?;
        Ok((self.algorithm != Algorithm::Log).then_some(time_s))
    }

    /// The moment of a signature that holds, 0 where it says none.
    fn check(&self, note: &Note, signature: &[u8]) -> Option<u64> {
        if self.algorithm == Algorithm::Log {
            UnparsedPublicKey::new(&ED25519, &self.public).verify(note.text().as_bytes(), signature).ok()?;
            return Some(0);
        }
        let (time, signature) = signature.split_first_chunk::<TIME_BYTES>()?;
        let time_s = u64::from_be_bytes(*time);
        if time_s > TIME_S_MAX {
            return None;
        }
        let checkpoint = note.checkpoint().ok()?;
        let message = message(self.algorithm, &self.name, time_s, note.text(), &checkpoint)?;
        if self.algorithm == Algorithm::MlDsa44 {
            if signature.len() != ML_DSA_44_SIGNATURE_BYTES {
                return None;
            }
            UnparsedPublicKey::new(&ML_DSA_44, &self.public).verify(&message, signature).ok()?;
        } else {
            UnparsedPublicKey::new(&ED25519, &self.public).verify(&message, signature).ok()?;
        }
        Some(time_s)
    }
}

/// What a cosignature signs (tlog-cosignature, "Ed25519 signed message" and "ML-DSA-44 signed message").
fn message(algorithm: Algorithm, name: &str, time_s: u64, text: &str, checkpoint: &Checkpoint) -> Option<Vec<u8>> {
    if algorithm != Algorithm::MlDsa44 {
        return Some(format!("cosignature/v1\ntime {time_s}\n{text}").into_bytes());
    }
    let mut message = b"subtree/v1\n\0".to_vec();
    let short = |text: &str| Some([&[u8::try_from(text.len()).ok()?], text.as_bytes()].concat());
    message.extend(short(name)?);
    message.extend(time_s.to_be_bytes());
    message.extend(short(&checkpoint.origin)?);
    // A checkpoint is the subtree from the first entry on.
    message.extend(0_u64.to_be_bytes());
    message.extend(checkpoint.size.to_be_bytes());
    message.extend(checkpoint.root.as_bytes());
    Some(message)
}

impl FromStr for VerifierKey {
    type Err = VkeyError;

    fn from_str(text: &str) -> Result<Self, VkeyError> {
        let read = || {
            let (name, rest) = text.split_once('+')?;
            let (id, encoded) = rest.split_once('+')?;
            let typed = STANDARD.decode(encoded).ok()?;
            let (kind, public) = typed.split_first()?;
            let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.type_byte() == *kind)?;
            let key = Self::new(name, algorithm, public).ok()?;
            (from_hex(id)? == key.id && key.to_string() == text).then_some(key)
        };
        if text.len() > VKEY_BYTES_MAX { None } else { read() }.ok_or(VkeyError::NotAKey)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = [&[self.algorithm.type_byte()], self.public.as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, hex(&self.id), STANDARD.encode(typed))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}+…", self.name, hex(&self.id))
    }
}

/// A witness's secret key.
pub struct CosignerKey {
    seed: Secret,
    pair: Pair,
    public: VerifierKey,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    MlDsa44(PqdsaKeyPair),
}

impl CosignerKey {
    /// A fresh random key.
    ///
    /// # Errors
    /// [`VkeyError::Name`]; [`VkeyError::NotAKey`] for [`Algorithm::Log`]; [`VkeyError::Library`].
    pub fn generate(entropy: &mut dyn Entropy, name: &str, algorithm: Algorithm) -> Result<Self, VkeyError> {
        Self::from_seed(name, algorithm, Secret::random(entropy))
    }

    fn from_seed(name: &str, algorithm: Algorithm, seed: Secret) -> Result<Self, VkeyError> {
        let (pair, public) = match algorithm {
            Algorithm::Log => return Err(VkeyError::NotAKey),
            Algorithm::Ed25519 => {
                let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_| VkeyError::Library)?;
                let public = pair.public_key().as_ref().to_vec();
                (Pair::Ed25519(pair), public)
            }
            Algorithm::MlDsa44 => {
                let pair =
                    PqdsaKeyPair::from_seed(&ML_DSA_44_SIGNING, seed.expose()).map_err(|_| VkeyError::Library)?;
                let public = pair.public_key().as_ref().to_vec();
                (Pair::MlDsa44(pair), public)
            }
        };
        Ok(Self { seed, pair, public: VerifierKey::new(name, algorithm, &public)? })
    }

    /// The public half.
    pub fn verifier_key(&self) -> &VerifierKey {
        &self.public
    }

    /// Says that at `time_s` (seconds since 1970) the note's checkpoint was the largest consistent one that was seen of its
    /// log. Whoever calls this has made sure of it: see [`crate::witness`].
    pub(crate) fn cosign(&self, note: &Note, time_s: u64) -> Result<SignatureLine, VkeyError> {
        let checkpoint = note.checkpoint().map_err(|_| VkeyError::Library)?;
        let public = &self.public;
        if time_s > TIME_S_MAX {
            return Err(VkeyError::Time);
        }
        let message =
            message(public.algorithm, &public.name, time_s, note.text(), &checkpoint).ok_or(VkeyError::Name)?;
        let mut signature = time_s.to_be_bytes().to_vec();
        match &self.pair {
            Pair::Ed25519(pair) => {
                signature.extend(pair.try_sign(&message).map_err(|_| VkeyError::Library)?.as_ref());
            }
            Pair::MlDsa44(pair) => {
                let mut bytes = vec![0; ML_DSA_44_SIGNATURE_BYTES];
                pair.sign(&message, &mut bytes).map_err(|_| VkeyError::Library)?;
                signature.extend(bytes);
            }
        }
        Ok(SignatureLine::new(&public.name, public.id, signature))
    }

    /// Writes the key to a new file of mode 0600: one line, `PRIVATE+KEY+<name>+<id>+<type and seed>`.
    ///
    /// # Errors
    /// [`VkeyError::Io`]; also where there is a file already.
    pub fn write(&self, path: &Path) -> Result<(), VkeyError> {
        let io = |source| VkeyError::Io { path: path.to_owned(), source };
        // The capacities are the final sizes: growing would leave copies behind.
        let mut typed = Zeroizing::new([0; 1 + SECRET_BYTES]);
        if let Some((kind, seed)) = typed.split_first_mut() {
            *kind = self.public.algorithm.type_byte();
            seed.copy_from_slice(self.seed.expose());
        }
        let encoded = Zeroizing::new(STANDARD.encode(typed.as_slice()));
        let head = format!("{SECRET_PREFIX}{}+{}+", self.public.name, hex(&self.public.id));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(SECRET_MODE)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
            .open(path)
            .map_err(io)?;
        let parts = [head.as_bytes(), encoded.as_bytes(), b"\n"];
        let written = parts.iter().try_for_each(|part| file.write_all(part)).and_then(|()| file.sync_all());
        written.and_then(|()| durable::sync_parent(path)).map_err(|source| {
            // What is half written is no key; the first error is the one to report.
            let _ = std::fs::remove_file(path);
            io(source)
        })
    }

    /// Reads the file that [`Self::write`] wrote, which must be this user's alone.
    ///
    /// # Errors
    /// [`VkeyError::File`] and [`VkeyError::Io`].
    pub fn read(path: &Path) -> Result<Self, VkeyError> {
        let io = |source| VkeyError::Io { path: path.to_owned(), source };
        let wrong = |what: &str| VkeyError::File { path: path.to_owned(), what: what.to_owned() };
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(io)?;
        let facts = file.metadata().map_err(io)?;
        if !facts.is_file() || facts.uid() != geteuid().as_raw() || facts.mode() & 0o7777 != SECRET_MODE {
            return Err(wrong("it must be a file of mode 0600 that belongs to you"));
        }
        let mut text = Zeroizing::new(String::with_capacity(SECRET_FILE_BYTES_MAX));
        file.take(SECRET_FILE_BYTES_MAX as u64).read_to_string(&mut text).map_err(io)?;
        Self::parse(&text).ok_or_else(|| wrong("it is damaged, or no key of a witness"))
    }

    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(SECRET_PREFIX)?.strip_suffix('\n')?;
        let (name, rest) = rest.split_once('+')?;
        let (id, encoded) = rest.split_once('+')?;
        let typed = Zeroizing::new(STANDARD.decode(encoded).ok()?);
        let (kind, bytes) = typed.split_first()?;
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.type_byte() == *kind)?;
        let mut seed = Secret::empty();
        *seed.expose_mut() = bytes.try_into().ok()?;
        let key = Self::from_seed(name, algorithm, seed).ok()?;
        (hex(&key.public.id) == id).then_some(key)
    }
}

impl fmt::Debug for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CosignerKey").field("public", &self.public).field("seed", &self.seed).finish_non_exhaustive()
    }
}
