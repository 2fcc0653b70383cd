//! The key file `ringfence.key/1`: four lines of text, always the same length.
//!
//! ```text
//! ringfence.key/1
//! id 32 hexadecimal digits
//! key 64 hexadecimal digits
//! check 16 hexadecimal digits: the first 8 bytes of the SHA-256 of the lines above
//! ```

#![deny(clippy::indexing_slicing)]

use std::{
    fs::{File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::{fcntl::OFlag, unistd::geteuid};
use ringfence_schema::Digest;
use zeroize::Zeroizing;

use super::KeyId;
use crate::{
    durable::sync_parent,
    secret::{SECRET_BYTES, Secret},
};

/// The first line.
const MAGIC: &str = "ringfence.key/1";
/// Hexadecimal digits of the check.
const CHECK_DIGITS: usize = 16;
/// Size of a key file in bytes: labels, digits, and four line ends.
const FILE_BYTES: usize =
    MAGIC.len() + "id ".len() + 2 * KeyId::BYTES + "key ".len() + 2 * SECRET_BYTES + "check ".len() + CHECK_DIGITS + 4;
/// The only mode that is accepted.
const MODE: u32 = 0o600;

/// Why a key file was not read or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The system refused.
    #[error("key file `{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory, device or link.
    #[error("key file `{path}` is not a regular file")]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Others may read or change it.
    #[error("key file `{path}` has mode {mode:04o}, must be 0600")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Somebody else owns it.
    #[error("key file `{path}` belongs to user {owner}, not to user {user}")]
    Owner {
        /// The file.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who asks.
        user: u32,
    },
    /// Not the size of a key file.
    #[error("key file `{path}` has {bytes} bytes, must have {FILE_BYTES}")]
    Size {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// Not the text of a key file, or damaged.
    #[error("key file `{path}` is damaged or not a key file")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// Reads the key file at `path`.
pub(super) fn read(path: &Path) -> Result<(KeyId, Secret), KeyFileError> {
    let io = |source| KeyFileError::Io { path: path.to_owned(), source };
    let (mut file, bytes) = open_private(path)?;
    if bytes != FILE_BYTES as u64 {
        return Err(KeyFileError::Size { path: path.to_owned(), bytes });
    }
    let mut text = Zeroizing::new([0; FILE_BYTES]);
    file.read_exact(text.as_mut_slice()).map_err(io)?;
    parse(text.as_slice()).ok_or_else(|| KeyFileError::Damaged { path: path.to_owned() })
}

/// Opens a regular file that belongs to this user, with mode 0600; with its size in bytes.
pub(crate) fn open_private(path: &Path) -> Result<(File, u64), KeyFileError> {
    let file = OpenOptions::new()
        .read(true)
        // Not through a link, and not waiting for a writer of a named pipe.
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits())
        .open(path)
        .map_err(|source| KeyFileError::Io { path: path.to_owned(), source })?;
    let bytes = check(path, &file)?;
    Ok((file, bytes))
}

/// Judges the opened file, not its name, so that nobody can swap it in between. Answers with its size.
fn check(path: &Path, file: &File) -> Result<u64, KeyFileError> {
    let path = path.to_owned();
    let facts = match file.metadata() {
        Ok(facts) => facts,
        Err(source) => return Err(KeyFileError::Io { path, source }),
    };
    let (mode, user) = (facts.mode() & 0o7777, geteuid().as_raw());
    if !facts.is_file() {
        return Err(KeyFileError::NotAFile { path });
    }
    if facts.uid() != user {
        return Err(KeyFileError::Owner { path, owner: facts.uid(), user });
    }
    if mode != MODE {
        return Err(KeyFileError::Mode { path, mode });
    }
    Ok(facts.len())
}

/// Writes a new key file at `path`.
pub(super) fn create(path: &Path, id: KeyId, secret: &Secret) -> Result<(), KeyFileError> {
    create_private(path, &format(id, secret))
}

/// Writes a new file at `path` with mode 0600; it and its directory are on disk when this returns.
pub(crate) fn create_private(path: &Path, bytes: &[u8]) -> Result<(), KeyFileError> {
    let io = |source| KeyFileError::Io { path: path.to_owned(), source };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
        .open(path)
        .map_err(io)?;
    let written = file
        // A umask may have taken more than others' rights.
        .set_permissions(Permissions::from_mode(MODE))
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_parent(path));
    written.map_err(|source| {
        // What is half written opens nothing; the first error is the one to report.
        let _ = std::fs::remove_file(path);
        io(source)
    })
}

fn format(id: KeyId, secret: &Secret) -> Zeroizing<Vec<u8>> {
    // The capacity is the final size: growing would leave copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(FILE_BYTES));
    text.extend_from_slice(format!("{MAGIC}\nid {id}\nkey ").as_bytes());
    for byte in secret.expose() {
        text.extend([byte >> 4, byte & 0xf].map(|nibble| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }));
    }
    text.push(b'\n');
    let check = check_digits(&text);
    text.extend_from_slice(b"check ");
    text.extend_from_slice(check.as_bytes());
    text.push(b'\n');
    text
}

fn check_digits(lines: &[u8]) -> String {
    Digest::of(lines).hex().chars().take(CHECK_DIGITS).collect()
}

/// Reads a key file's bytes; `None` if they are anything else.
pub(super) fn parse(bytes: &[u8]) -> Option<(KeyId, Secret)> {
    let rest = bytes.strip_prefix(MAGIC.as_bytes())?.strip_prefix(b"\nid ")?;
    let (id, rest) = rest.split_at_checked(2 * KeyId::BYTES)?;
    let rest = rest.strip_prefix(b"\nkey ")?;
    let (key, rest) = rest.split_at_checked(2 * SECRET_BYTES)?;
    let check = rest.strip_prefix(b"\ncheck ")?.strip_suffix(b"\n")?;
    let lines = bytes.get(..bytes.len().checked_sub("check ".len() + check.len() + 1)?)?;
    if check != check_digits(lines).as_bytes() {
        return None;
    }
    let id = std::str::from_utf8(id).ok()?.parse().ok()?;
    // Decoded in place: a collected vector may leave copies behind as it grows.
    let mut secret = Secret::empty();
    for (byte, pair) in secret.expose_mut().iter_mut().zip(key.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *byte = nibble(high)? << 4 | nibble(low)?;
    }
    Some((id, secret))
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{FILE_BYTES, format, parse};
    use crate::{entropy::SeededEntropy, keys::KeyId, secret::Secret};

    #[test]
    fn every_changed_bit_is_refused() {
        let mut entropy = SeededEntropy::new(1);
        let (id, secret) = (KeyId::random(&mut entropy), Secret::random(&mut entropy));
        let text = format(id, &secret);
        assert_eq!(text.len(), FILE_BYTES);
        let (id_again, secret_again) = parse(&text).unwrap();
        assert!(id_again == id && secret_again == secret);
        for position in 0..text.len() {
            for bit in 0..8 {
                let mut changed = text.to_vec();
                changed[position] ^= 1 << bit;
                assert!(parse(&changed).is_none(), "bit {bit} of byte {position}");
            }
        }
        assert!(parse(&text[..text.len() - 1]).is_none());
    }
}
