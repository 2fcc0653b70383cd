//! Documents of configuration as one stream of events: JSON and YAML, read in bounded memory.
//!
//! * [`json`] reads any length in one pass and keeps nothing; [`yaml`] reads a text that is in memory, tags included.
//! * Both tell a [`Sink`] the same [`Event`]s, so whoever looks for something says so once for both.
//!
//! What holds: an event comes before anything behind it was read, so a break later in the document hides nothing; a
//! text longer than [`TEXT_BYTES_MAX`] is cut, which the event says; nesting beyond [`DEPTH_MAX`] is an error.
//!
//! Absent on purpose: a tree. A file of a gigabyte costs what its deepest path costs.

use std::io;

pub mod json;
pub mod yaml;

/// Longest text of one event, in bytes; what is longer is cut.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting.
pub const DEPTH_MAX: usize = 512;

/// One piece of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A map begins.
    MapStart,
    /// The innermost map ends.
    MapEnd,
    /// A list begins.
    ListStart,
    /// The innermost list ends.
    ListEnd,
    /// A key of the innermost map; its value follows.
    Key(&'a str),
    /// A text, unescaped; in YAML every plain scalar too.
    Text {
        /// At most [`TEXT_BYTES_MAX`] bytes of it.
        text: &'a str,
        /// More followed.
        cut: bool,
    },
    /// A number, a truth value or null, as written.
    Plain(&'a str),
    /// The tag of the value or key that follows (YAML only): `tag:yaml.org,2002:python/name:os.system`.
    Tag(&'a str),
    /// A reference to an earlier value (YAML only).
    Alias,
    /// Another document follows in the same file.
    Next,
}

/// Whoever is told.
pub trait Sink {
    /// Takes the piece that begins at byte `at`.
    fn event(&mut self, event: Event<'_>, at: u64);
}

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The text is not of this kind from here on.
    #[error("not well-formed at byte {at}: {reason}")]
    Malformed {
        /// Where, in bytes.
        at: u64,
        /// What was wrong.
        reason: String,
    },
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX} at byte {at}")]
    TooDeep {
        /// Where, in bytes.
        at: u64,
    },
    /// More events than [`yaml::EVENTS_MAX`].
    #[error("more than {} values", yaml::EVENTS_MAX)]
    TooMany,
    /// The source failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}
