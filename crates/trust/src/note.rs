//! Signed notes as their bytes (C2SP signed-note), before anybody asks whose signatures they are.
//!
//! A [`Note`] is a text and its [`SignatureLine`]s; what is read is written the same. [`crate::checkpoint`] reads the notes of
//! one log alone and knows every signer; here strangers' lines are kept as they are, because notes pass through the hands of
//! witnesses whom not every reader knows. Absent on purpose: keys. [`VerifierKey`](crate::vkey::VerifierKey) checks lines.

#![deny(clippy::indexing_slicing)]

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ringfence_schema::Digest;

use crate::checkpoint::{Checkpoint, is_name};

/// Largest note with cosignatures, in bytes: 32 ML-DSA-44 lines and some.
pub const COSIGNED_BYTES_MAX: usize = 128 << 10;
/// Most signature lines of such a note.
pub const LINES_MAX: usize = 64;

/// Length of a key id in bytes.
pub const KEY_ID_BYTES: usize = 4;
/// Longest signature behind a key id in bytes: a timestamp and ML-DSA-44's 2,420 bytes, with room for algorithms to come.
const SIGNATURE_BYTES_MAX: usize = 8_192;
/// Text in front of a signature: an em dash and a space.
const PREFIX: &str = "\u{2014} ";

/// A signed text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    lines: Vec<SignatureLine>,
}

/// One signature, by somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureLine {
    name: String,
    id: [u8; KEY_ID_BYTES],
    signature: Vec<u8>,
}

/// Why bytes are no note of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// Over [`COSIGNED_BYTES_MAX`].
    #[error("a note of {bytes} bytes, limit is {COSIGNED_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// More than [`LINES_MAX`] signatures.
    #[error("more than {LINES_MAX} signature lines")]
    TooManyLines,
    /// Not the one spelling of a note.
    #[error("no signed note: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
}

impl Note {
    /// Reads a note with at least one signature line. Its text is that of a checkpoint: at least three lines, none of them
    /// empty, in visible characters and spaces.
    ///
    /// # Errors
    /// [`NoteError`] for everything that [`Self::to_string`](ToString::to_string) does not write.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > COSIGNED_BYTES_MAX {
            return Err(NoteError::TooLarge { bytes: bytes.len() });
        }
        let malformed = |what| NoteError::Malformed { what };
        let note = std::str::from_utf8(bytes).map_err(|_| malformed("not UTF-8"))?;
        let middle = note.find("\n\n").ok_or_else(|| malformed("no signatures"))?;
        let (text, rest) = note.split_at(middle + 1);
        if text.chars().any(|character| character.is_control() && character != '\n') {
            return Err(malformed("control characters in the text"));
        }
        let lines = parse_lines(rest.strip_prefix('\n').unwrap_or_default())?;
        let note = Self { text: text.to_owned(), lines };
        note.checkpoint()?;
        Ok(note)
    }

    /// The checkpoint that the text says, whoever signed it. Lines behind the third are the log's own business.
    ///
    /// # Errors
    /// [`NoteError::Malformed`]; never for a note that was parsed.
    pub fn checkpoint(&self) -> Result<Checkpoint, NoteError> {
        let malformed = |what| NoteError::Malformed { what };
        let mut lines = self.text.split_terminator('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(malformed("not three lines of text"));
        };
        if !is_name(origin) || lines.any(str::is_empty) {
            return Err(malformed("no origin, or an empty line"));
        }
        let size = size.parse().ok().filter(|number: &u64| number.to_string() == size);
        let root = STANDARD.decode(root).ok().and_then(|raw| raw.try_into().ok()).map(Digest::from_bytes);
        Ok(Checkpoint {
            origin: origin.to_owned(),
            size: size.ok_or_else(|| malformed("the size is no decimal number"))?,
            root: root.ok_or_else(|| malformed("the root is not 32 bytes in base64"))?,
        })
    }

    /// The signed text, with its last line end.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in order.
    pub fn lines(&self) -> &[SignatureLine] {
        &self.lines
    }

    /// Adds the lines that are not there yet, in place of older ones of the same name and key id, as far as there is room.
    pub fn merge(&mut self, lines: impl IntoIterator<Item = SignatureLine>) {
        for line in lines {
            let room = self.lines.len() < LINES_MAX;
            match self.lines.iter_mut().find(|known| known.name == line.name && known.id == line.id) {
                Some(known) => *known = line,
                None if room => self.lines.push(line),
                None => {}
            }
        }
    }

    /// The same text with those lines alone that `keep` wants.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&SignatureLine) -> bool) -> Self {
        Self { text: self.text.clone(), lines: self.lines.iter().filter(|line| keep(line)).cloned().collect() }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl SignatureLine {
    /// A line of `name`'s key with this id.
    pub(crate) fn new(name: &str, id: [u8; KEY_ID_BYTES], signature: Vec<u8>) -> Self {
        Self { name: name.to_owned(), id, signature }
    }

    /// Whose key it claims to be of.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id: a hint of 32 bits, no proof.
    pub fn id(&self) -> [u8; KEY_ID_BYTES] {
        self.id
    }

    /// What follows the id.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}

impl fmt::Display for SignatureLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raw = [self.id.as_slice(), &self.signature].concat();
        write!(f, "{PREFIX}{} {}", self.name, STANDARD.encode(raw))
    }
}

/// Reads signature lines, each with its line end: what a witness answers, and the end of a note. At least one.
///
/// # Errors
/// [`NoteError`] for anything else.
pub fn parse_lines(text: &str) -> Result<Vec<SignatureLine>, NoteError> {
    if text.len() > COSIGNED_BYTES_MAX {
        return Err(NoteError::TooLarge { bytes: text.len() });
    }
    let malformed = |what| NoteError::Malformed { what };
    let text = text.strip_suffix('\n').ok_or_else(|| malformed("no signatures"))?;
    let mut lines = Vec::new();
    for line in text.split('\n') {
        if lines.len() == LINES_MAX {
            return Err(NoteError::TooManyLines);
        }
        lines.push(parse_line(line).ok_or_else(|| malformed("a line is no signature"))?);
    }
    Ok(lines)
}

fn parse_line(line: &str) -> Option<SignatureLine> {
    let (name, encoded) = line.strip_prefix(PREFIX)?.split_once(' ')?;
    let raw = STANDARD.decode(encoded).ok()?;
    let (id, signature) = raw.split_first_chunk::<KEY_ID_BYTES>()?;
    let fits = is_name(name) && (1..=SIGNATURE_BYTES_MAX).contains(&signature.len());
    fits.then(|| SignatureLine::new(name, *id, signature.to_vec()))
}
