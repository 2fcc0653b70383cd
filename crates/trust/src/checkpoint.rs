//! Signed heads of the trail: C2SP `tlog-checkpoint` in a C2SP `signed-note`, with Ed25519 signatures (type `0x01`).
//!
//! ```text
//! ringfence/4f5a…              the origin: `ringfence/` and the vault's id
//! 42                           how many entries
//! r6nV…=                       root, base64
//!
//! — ringfence/4f5a… kQ8y…=     key hash (4 bytes) and signature, base64
//! ```
//!
//! Reading is strict: no extension lines, one spelling of every field, and every signature line by a known key and valid,
//! so any changed byte shows. Checkpoints that were cosigned have lines of others too, which only [`verify_cosigned`] passes on.

#![deny(clippy::indexing_slicing)]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ringfence_schema::{Digest, Hasher};

use crate::{
    id::VaultId,
    keys::KeyRole,
    note::{Note, NoteError},
    sign::{SIGNATURE_BYTES, SignError, Signature, SigningKey, VerifyingKey},
};

/// Largest note in bytes.
pub const NOTE_BYTES_MAX: usize = 8_192;
/// Most signature lines in one note.
pub const SIGNATURES_MAX: usize = 16;

/// Signed-note's identifier of Ed25519 signatures.
const TYPE_ED25519: u8 = 0x01;
/// Length of a key hash in bytes.
const KEY_HASH_BYTES: usize = 4;
/// Text in front of a signature: an em dash and a space.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// Size and root of the trail at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose trail; see [`origin`].
    pub origin: String,
    /// How many entries.
    pub size: u64,
    /// The Merkle root over them.
    pub root: Digest,
}

/// Why a note is no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Over [`NOTE_BYTES_MAX`].
    #[error("checkpoint of {bytes} bytes, limit is {NOTE_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not the one spelling of a checkpoint.
    #[error("checkpoint: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// Another trail's checkpoint.
    #[error("checkpoint is not of `{expected}`")]
    Origin {
        /// The origin that was expected.
        expected: String,
    },
    /// A signature line by a key that is not known here.
    #[error("checkpoint signed by a key that is not known")]
    UnknownKey,
    /// Not a note that may have cosignatures.
    #[error("checkpoint: {0}")]
    Note(#[from] NoteError),
    /// A signature does not hold.
    #[error("checkpoint: {0}")]
    Signature(#[from] SignError),
    /// A key of another role than `log`.
    #[error("a key of role `{role}` does not sign checkpoints")]
    Role {
        /// The key's role.
        role: KeyRole,
    },
    /// A name that signed notes do not allow.
    #[error("an origin is 1 to 255 visible ASCII characters without `+`")]
    Name,
}

/// The origin of a vault's checkpoints, which is also the name of its log keys.
pub fn origin(vault: &VaultId) -> String {
    format!("ringfence/{vault}")
}

/// The key hash of signed-note: the first 4 bytes of SHA-256 over name, line end, type and public key.
pub fn key_hash(name: &str, key: &VerifyingKey) -> [u8; KEY_HASH_BYTES] {
    let mut hasher = Hasher::new();
    hasher.update(name.as_bytes());
    hasher.update(&[b'\n', TYPE_ED25519]);
    hasher.update(key.as_bytes());
    let digest = hasher.finish();
    digest.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// The key as signed-note's `<name>+<hash>+<key>`, which log clients take as the log's verifier key.
pub fn verifier_key(name: &str, key: &VerifyingKey) -> String {
    let mut typed = vec![TYPE_ED25519];
    typed.extend_from_slice(key.as_bytes());
    format!("{name}+{}+{}", ringfence_schema::digest::hex(&key_hash(name, key)), STANDARD.encode(typed))
}

impl Checkpoint {
    /// A checkpoint of `vault`'s trail.
    pub fn new(vault: &VaultId, size: u64, root: Digest) -> Self {
        Self { origin: origin(vault), size, root }
    }

    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.as_bytes()))
    }
}

/// Signs a checkpoint with every key; the lines stand in the keys' order.
pub fn sign(checkpoint: &Checkpoint, keys: &[&SigningKey]) -> Result<String, CheckpointError> {
    if !is_name(&checkpoint.origin) {
        return Err(CheckpointError::Name);
    }
    if keys.is_empty() || keys.len() > SIGNATURES_MAX {
        return Err(CheckpointError::Malformed { what: "no signature, or too many" });
    }
    let text = checkpoint.text();
    let mut note = format!("{text}\n");
    for key in keys {
        if key.role() != KeyRole::Log {
            return Err(CheckpointError::Role { role: key.role() });
        }
        let mut raw = key_hash(&checkpoint.origin, &key.verifying_key()).to_vec();
        raw.extend_from_slice(key.sign(text.as_bytes())?.as_bytes());
        for part in [SIGNATURE_PREFIX, &checkpoint.origin, " ", &STANDARD.encode(raw), "\n"] {
            note.push_str(part);
        }
    }
    Ok(note)
}

/// Checks that `note` is a checkpoint of `origin` whose every signature line is by one of `known` and holds.
pub fn verify(note: &[u8], origin: &str, known: &[VerifyingKey]) -> Result<Checkpoint, CheckpointError> {
    let (checkpoint, text, lines) = parse(note)?;
    if checkpoint.origin != origin {
        return Err(CheckpointError::Origin { expected: origin.to_owned() });
    }
    let mut used: Vec<&VerifyingKey> = Vec::new();
    for line in lines {
        let (hash, signature) = parse_signature(line, origin)?;
        // A key hash has 32 bits only: keys that share one are all tried.
        let mut candidates = known.iter().filter(|key| key_hash(origin, key) == hash).peekable();
        let first = candidates.peek().copied().ok_or(CheckpointError::UnknownKey)?;
        let key = candidates.find(|key| key.verify(text.as_bytes(), &signature).is_ok());
        let key = key.ok_or_else(|| SignError::Invalid { key: first.fingerprint() })?;
        if used.contains(&key) {
            return Err(CheckpointError::Malformed { what: "two signatures by one key" });
        }
        used.push(key);
    }
    Ok(checkpoint)
}

/// Checks a note that others may have cosigned: of the lines in the name of `origin` every one must be by one of `known` and
/// hold, as in [`verify`]; lines in other names come back as they are, for a [`Policy`](crate::witness::Policy) to count.
pub fn verify_cosigned(
    note: &[u8],
    origin: &str,
    known: &[VerifyingKey],
) -> Result<(Checkpoint, Note), CheckpointError> {
    let note = Note::parse(note)?;
    let own = note.filtered(|line| line.name() == origin).to_string();
    Ok((verify(own.as_bytes(), origin, known)?, note))
}

/// What a note claims, before any signature is checked: to find out which root it needs, never to act upon.
pub fn parse_unverified(note: &[u8]) -> Result<Checkpoint, CheckpointError> {
    parse(note).map(|(checkpoint, _, _)| checkpoint)
}

/// Whether signed notes allow a name: 1 to 255 visible ASCII characters without `+`.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+')
}

/// The checkpoint, the signed text, and the signature lines.
fn parse(note: &[u8]) -> Result<(Checkpoint, &str, Vec<&str>), CheckpointError> {
    if note.len() > NOTE_BYTES_MAX {
        return Err(CheckpointError::TooLarge { bytes: note.len() });
    }
    let malformed = |what| CheckpointError::Malformed { what };
    let note = std::str::from_utf8(note).map_err(|_| malformed("not UTF-8"))?;
    let middle = note.find("\n\n").ok_or_else(|| malformed("no signatures"))?;
    let (text, signatures) = note.split_at(middle + 1);
    let signatures = signatures.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n'));
    let signatures: Vec<_> = signatures.ok_or_else(|| malformed("no signatures"))?.split('\n').collect();
    if signatures.len() > SIGNATURES_MAX {
        return Err(malformed("too many signatures"));
    }
    let mut lines = text.split_terminator('\n');
    let (Some(origin), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next()) else {
        return Err(malformed("not three lines of text"));
    };
    if !is_name(origin) {
        return Err(CheckpointError::Name);
    }
    let size = size.parse().ok().filter(|number: &u64| number.to_string() == size);
    let root = STANDARD.decode(root).ok().and_then(|raw| raw.try_into().ok()).map(Digest::from_bytes);
    let checkpoint = Checkpoint {
        origin: origin.to_owned(),
        size: size.ok_or_else(|| malformed("the size is no decimal number"))?,
        root: root.ok_or_else(|| malformed("the root is not 32 bytes in base64"))?,
    };
    Ok((checkpoint, text, signatures))
}

fn parse_signature(line: &str, origin: &str) -> Result<([u8; KEY_HASH_BYTES], Signature), CheckpointError> {
    let malformed = CheckpointError::Malformed { what: "a line is no signature of this origin" };
    let encoded = line
        .strip_prefix(SIGNATURE_PREFIX)
        .and_then(|rest| rest.strip_prefix(origin))
        .and_then(|rest| rest.strip_prefix(' '))
        .ok_or_else(|| malformed.clone())?;
    let raw = STANDARD.decode(encoded).map_err(|_| malformed.clone())?;
    let (hash, signature) = raw.split_first_chunk::<KEY_HASH_BYTES>().ok_or_else(|| malformed.clone())?;
    let signature: [u8; SIGNATURE_BYTES] = signature.try_into().map_err(|_| malformed)?;
    Ok((*hash, Signature::from_bytes(signature)))
}
