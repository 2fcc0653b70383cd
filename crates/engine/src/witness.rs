//! Being a witness of other people's trails: `ringfence witness`. No vault is needed.
//!
//! The rules are [`Witness`]'s in `trust`; here are its files and keys as people name them, and [`answer`], which turns a body
//! into an answer, so that the server moves bytes only.

use std::path::{Path, PathBuf};

use ringfence_schema::{Timestamp, digest::hex, finding::printable};
use ringfence_trust::{
    entropy::{self, SystemEntropy},
    root::TrustRoot,
    vkey::VkeyError,
    witness::{AddCheckpoint, Refusal, SIZE_CONTENT_TYPE, WitnessError},
};
pub use ringfence_trust::{
    vkey::{Algorithm, VerifierKey},
    witness::{BODY_BYTES_MAX, LogKeys, LogState, Witness},
};

use crate::{error::EngineError, vault::read_small};

/// Length of a random name in bytes.
const NAME_BYTES: usize = 8;
/// Longest line of talk, in characters.
const TALK_CHARS_MAX: usize = 240;

/// How people name a log's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogSource {
    /// The file of a vault's trust root.
    Root(PathBuf),
    /// Verifier keys, `<name>+<id>+<key>`.
    Keys(Vec<String>),
}

/// What a witness answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The content type.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
    /// What happened, in one line for the operator.
    pub talk: String,
}

/// Makes a witness in `folder`; without a name it gets a random one.
///
/// # Errors
/// [`EngineError::Usage`] where there is one already, or for a name that cannot be; [`EngineError::Io`].
pub fn create(folder: &Path, name: Option<&str>, algorithm: Algorithm) -> Result<Witness, EngineError> {
    let entropy = &mut SystemEntropy::new();
    let random = format!("witness/{}", hex(&entropy::bytes::<NAME_BYTES>(entropy)));
    Witness::create(folder, name.unwrap_or(&random), algorithm, entropy).map_err(|error| of_witness(&error))
}

/// Opens the witness in `folder`.
///
/// # Errors
/// [`EngineError::Io`], [`EngineError::NotPermitted`] where others could change it.
pub fn open(folder: &Path) -> Result<Witness, EngineError> {
    Witness::open(folder).map_err(|error| of_witness(&error))
}

/// Tells a witness of a log, or of its newer keys, and returns the log's origin.
///
/// # Errors
/// [`EngineError::Usage`] for what is no log's key, [`EngineError::Tampered`] for a trust root that does not hold.
pub fn add_log(witness: &Witness, source: &LogSource) -> Result<String, EngineError> {
    let keys = match source {
        LogSource::Root(file) => {
            let root = TrustRoot::open(&read_small(file)?)
                .map_err(|error| EngineError::tampered(file.display().to_string(), error))?;
            LogKeys::Root(Box::new(root))
        }
        LogSource::Keys(texts) => {
            let read =
                |text: &String| text.parse().map_err(|error: VkeyError| EngineError::Usage { what: error.to_string() });
            LogKeys::Keys(texts.iter().map(read).collect::<Result<_, _>>()?)
        }
    };
    witness.add_log(keys).map_err(|error| of_witness(&error))
}

/// The logs that a witness knows.
///
/// # Errors
/// [`EngineError::Tampered`] where what it knows of one is damaged; [`EngineError::Io`].
pub fn logs(witness: &Witness) -> Result<Vec<LogState>, EngineError> {
    witness.logs().map_err(|error| of_witness(&error))
}

/// Answers a body of `add-checkpoint` at the moment `now`. When it returns a cosignature, the checkpoint is on disk.
pub fn answer(witness: &Witness, body: &[u8], now: Timestamp) -> Reply {
    let done = AddCheckpoint::parse(body).map_err(Refusal::from).and_then(|asked| {
        let recorded = witness.record(&asked)?;
        let line = witness.cosign(&recorded, now.millis() / 1_000)?;
        Ok((line, recorded))
    });
    match done {
        Ok((line, recorded)) => {
            let seen = recorded.checkpoint();
            let talk = format!("cosigned {}: {} entries, {}", seen.origin, seen.size, seen.root);
            Reply { status: 200, content_type: "text/plain; charset=utf-8", body: format!("{line}\n"), talk }
        }
        Err(refusal) => {
            let talk =
                format!("refused with {}: {}", refusal.status(), printable(&refusal.to_string(), TALK_CHARS_MAX));
            match refusal.size() {
                Some(size) => {
                    Reply { status: refusal.status(), content_type: SIZE_CONTENT_TYPE, body: format!("{size}\n"), talk }
                }
                None => Reply {
                    status: refusal.status(),
                    content_type: "text/plain; charset=utf-8",
                    // What is wrong with the witness itself is its operator's business.
                    body: match &refusal {
                        Refusal::Unable(_) => "the witness cannot answer\n".to_owned(),
                        other => printable(&other.to_string(), TALK_CHARS_MAX) + "\n",
                    },
                    talk,
                },
            }
        }
    }
}

fn of_witness(error: &WitnessError) -> EngineError {
    use std::io::Error;
    match error {
        WitnessError::Io { path, source } | WitnessError::Key(VkeyError::Io { path, source }) => {
            EngineError::Io { path: path.clone(), source: Error::new(source.kind(), source.to_string()) }
        }
        WitnessError::Unsafe { .. } | WitnessError::Key(VkeyError::File { .. }) => {
            EngineError::NotPermitted { what: error.to_string() }
        }
        WitnessError::Damaged { path, what } => EngineError::tampered(path.display().to_string(), what),
        other => EngineError::Usage { what: other.to_string() },
    }
}
