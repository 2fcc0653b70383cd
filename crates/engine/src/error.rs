//! What can go wrong in a use case, sorted by who can do something about it.
//!
//! Every variant knows its exit class (DESIGN.md, "Exit codes"); the remedy is the command line's.

use std::{io, path::PathBuf};

use ringfence_access::Action;
use ringfence_schema::Timestamp;

use crate::team::RequestView;

/// Why a use case ended without its result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The request itself makes no sense.
    #[error("{what}")]
    Usage {
        /// What is wrong with it.
        what: String,
    },
    /// A plan or configuration file says something that cannot be.
    #[error("`{}`: {what}", file.display())]
    Plan {
        /// The file.
        file: PathBuf,
        /// What is wrong, with its place.
        what: String,
    },
    /// A gate said no.
    #[error("{gate} refused for `{subject}`: {}", reasons.join("; "))]
    Refused {
        /// Which gate.
        gate: &'static str,
        /// What was to pass.
        subject: String,
        /// Why, in plain words.
        reasons: Vec<String>,
    },
    /// Everything is in order but for the approval of others, who can be asked ([`crate::Vault::ask`]).
    #[error("`{action}` of `{subject}` needs the approval of {needed} other people{}", detail(note))]
    NeedsApproval {
        /// To do what.
        action: Action,
        /// With what.
        subject: String,
        /// How many other people must approve, all told.
        needed: u32,
        /// What is to be said of the request that was brought, if one was.
        note: String,
    },
    /// Others were asked to approve; nothing was done.
    #[error("request `{}` waits for the approval of {} other people", request.id, request.document.needed)]
    Asked {
        /// The request.
        request: Box<RequestView>,
    },
    /// A named thing is not there.
    #[error("{what} `{name}` does not exist")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Somebody or something else has this name.
    #[error("the {what} `{name}` is taken")]
    Taken {
        /// What kind of name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// It was here, and its keys were destroyed on purpose.
    #[error("`{what}` was destroyed at {at} by {by}, and nothing opens it any more: {reason}")]
    Destroyed {
        /// The version.
        what: String,
        /// When.
        at: Timestamp,
        /// Opaque id of who did it.
        by: String,
        /// Why.
        reason: String,
    },
    /// There is no vault where one was looked for.
    #[error("no vault at `{}`", path.display())]
    NoVault {
        /// Where.
        path: PathBuf,
    },
    /// A vault is already there.
    #[error("there is already a vault at `{}`", path.display())]
    VaultExists {
        /// Where.
        path: PathBuf,
    },
    /// The file system said no.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// Which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something could not be read or finished. Never clean.
    #[error("{what}: {why}")]
    Incomplete {
        /// What.
        what: String,
        /// Why.
        why: String,
    },
    /// The passphrase or key file does not open this vault.
    #[error("the passphrase or key does not open the vault at `{}`", path.display())]
    WrongKey {
        /// Where the vault is.
        path: PathBuf,
    },
    /// Not allowed to do this.
    #[error("not permitted: {what}")]
    NotPermitted {
        /// What.
        what: String,
    },
    /// Whoever asks has not shown who they are. It does not say what was wrong.
    #[error("not signed in, or what was presented is not good")]
    NotSignedIn,
    /// Too many wrong attempts.
    #[error("too many wrong attempts: nothing is checked before {until}")]
    Locked {
        /// When the next one is looked at.
        until: Timestamp,
    },
    /// Too much at once.
    #[error("{what}; try again in a moment")]
    Busy {
        /// What there is too much of.
        what: &'static str,
    },
    /// Bytes for another place of an upload than where it goes on.
    #[error("the upload goes on at byte {offset} of file {file}")]
    Elsewhere {
        /// Which file comes next.
        file: usize,
        /// How much of it is there, in bytes.
        offset: u64,
    },
    /// Something was changed that nobody may change.
    #[error("`{what}` was tampered with: {detail}")]
    Tampered {
        /// What: a file, a row, an entry.
        what: String,
        /// How it shows.
        detail: String,
    },
    /// A source could not be reached, or did not keep its word.
    #[error(transparent)]
    Reach(#[from] ringfence_reach::ReachError),
    /// The user stopped it.
    #[error("interrupted")]
    Interrupted,
}

/// The exit codes of the command, as DESIGN.md lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitClass {
    /// Done and clean.
    Done = 0,
    /// Done, and the answer is no.
    No = 1,
    /// Usage.
    Usage = 2,
    /// Could not finish.
    Incomplete = 3,
    /// Not permitted.
    NotPermitted = 4,
    /// Tampering.
    Tampered = 5,
    /// Interrupted.
    Interrupted = 130,
}

impl EngineError {
    /// Wraps an I/O error with its path.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// Something that could not be read or finished.
    pub fn incomplete(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Incomplete { what: what.into(), why: why.to_string() }
    }

    /// Something that was changed.
    pub fn tampered(what: impl Into<String>, detail: impl ToString) -> Self {
        Self::Tampered { what: what.into(), detail: detail.to_string() }
    }

    /// Its exit class.
    pub fn exit_class(&self) -> ExitClass {
        match self {
            Self::Usage { .. }
            | Self::Plan { .. }
            | Self::NotFound { .. }
            | Self::Taken { .. }
            | Self::VaultExists { .. }
            | Self::Elsewhere { .. } => ExitClass::Usage,
            Self::Refused { .. } | Self::Destroyed { .. } => ExitClass::No,
            Self::Reach(error) => of_reach(error),
            Self::NoVault { .. } | Self::Io { .. } | Self::Incomplete { .. } | Self::Busy { .. } => {
                ExitClass::Incomplete
            }
            Self::NeedsApproval { .. }
            | Self::Asked { .. }
            | Self::WrongKey { .. }
            | Self::NotPermitted { .. }
            | Self::NotSignedIn
            | Self::Locked { .. } => ExitClass::NotPermitted,
            Self::Tampered { .. } => ExitClass::Tampered,
            Self::Interrupted => ExitClass::Interrupted,
        }
    }
}

fn detail(note: &str) -> String {
    if note.is_empty() { String::new() } else { format!(": {note}") }
}

/// What the policy refuses is an answer; other bytes than the source's own hash says are tampering.
fn of_reach(error: &ringfence_reach::ReachError) -> ExitClass {
    use ringfence_reach::ReachError;
    match error {
        // Last: what was destroyed.
        ReachError::Denied(_) | ReachError::Untrusted(_) | ReachError::Problem { status: 410, .. } => ExitClass::No,
        // A gate gives its reasons.
        ReachError::Problem { status: 403, reasons, .. } if !reasons.is_empty() => ExitClass::No,
        ReachError::Problem { status: 401 | 403, .. } => ExitClass::NotPermitted,
        ReachError::Problem { status: 408 | 429 | 500.., .. } => ExitClass::Incomplete,
        ReachError::Problem { .. } | ReachError::Source(_) | ReachError::Setting { .. } => ExitClass::Usage,
        ReachError::HashMismatch { .. } | ReachError::Changed { .. } | ReachError::Path { .. } => ExitClass::Tampered,
        _ => ExitClass::Incomplete,
    }
}
