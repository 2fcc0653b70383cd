//! What a login leaves on this machine: one file per server, in `servers/` in the configuration folder.
//!
//! It holds the session's token, so it is this user's alone (mode 0600), is replaced whole or not at all, and is not read
//! where others can read it. The token is in no message, listing or error.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use ringfence_engine::{
    EngineError,
    reach::{ReachError, Secret, Url, server::Server},
    schema::Timestamp,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Largest file, in bytes: a token and a few certificates.
const FILE_BYTES_MAX: u64 = 1 << 20;
const FOLDER: &str = "servers";

/// How one is known at a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Known {
    /// By a session, which a logout ends.
    Session,
    /// By an API token, which a logout only forgets.
    Token,
}

/// A login at a server.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Session {
    schema: Schema,
    /// `https://HOST:PORT`.
    pub(crate) server: String,
    /// The authority below which its certificate has to lie (PEM); Mozilla's roots without it.
    pub(crate) authority: Option<String>,
    /// The id of its vault, whose trust root was pinned at the login.
    pub(crate) vault: String,
    /// Login name of whoever logged in.
    pub(crate) name: String,
    /// By what.
    pub(crate) known: Known,
    /// When it ends at the latest, where that is known.
    pub(crate) until: Option<Timestamp>,
    #[serde(with = "wiped")]
    token: Zeroizing<String>,
}

/// Text that is wiped when it is dropped.
mod wiped {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use zeroize::Zeroizing;

    pub(super) fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
        String::deserialize(deserializer).map(Zeroizing::new)
    }
}

#[derive(Serialize, Deserialize)]
enum Schema {
    #[serde(rename = "ringfence.session/1")]
    One,
}

/// What a login found out.
pub(crate) struct Entry {
    /// Below whose certificates the server's has to lie.
    pub(crate) authority: Option<String>,
    /// The id of its vault.
    pub(crate) vault: String,
    /// Login name.
    pub(crate) name: String,
    /// By what.
    pub(crate) known: Known,
    /// When it ends at the latest.
    pub(crate) until: Option<Timestamp>,
    /// What proves it.
    pub(crate) token: Zeroizing<String>,
}

impl Session {
    /// A login at the server at `origin`.
    pub(crate) fn new(origin: &Url, entry: Entry) -> Self {
        let Entry { authority, vault, name, known, until, token } = entry;
        Self { schema: Schema::One, server: origin.origin(), authority, vault, name, known, until, token }
    }

    /// The login at `origin`, if there is one.
    pub(crate) fn load(config: &Path, origin: &Url) -> Result<Option<Self>, EngineError> {
        let path = path(config, origin);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(EngineError::io(path)(error)),
        };
        let facts = file.metadata().map_err(EngineError::io(&path))?;
        if facts.mode() & 0o077 != 0 {
            let (path, mode) = (path.display(), facts.mode() & 0o777);
            return Err(EngineError::NotPermitted {
                what: format!("key file `{path}` has mode {mode:04o}: others could read the session in it"),
            });
        }
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(EngineError::io(&path))?;
        let session: Self = serde_json::from_slice(&bytes)
            .map_err(|error| EngineError::incomplete(path.display().to_string(), error))?;
        if session.server != origin.origin() {
            return Err(EngineError::tampered(path.display().to_string(), "it is the session of another server"));
        }
        Ok(Some(session))
    }

    /// Keeps it; an earlier one at the same server is replaced.
    pub(crate) fn save(&self, config: &Path, origin: &Url) -> Result<(), EngineError> {
        let path = path(config, origin);
        let folder = config.join(FOLDER);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(EngineError::io(&folder))?;
        let mut text = Zeroizing::new(
            serde_json::to_vec_pretty(self)
                .map_err(|error| EngineError::incomplete(path.display().to_string(), error))?,
        );
        text.push(b'\n');
        let fresh = path.with_extension(format!("new-{}", std::process::id()));
        // A crash may have left one of a process with the same number.
        let _ = fs::remove_file(&fresh);
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(&folder)?.sync_all()
        });
        written.map_err(|error| {
            // What is left of it holds a token.
            let _ = fs::remove_file(&fresh);
            EngineError::io(path)(error)
        })
    }

    /// Forgets the login at `origin`.
    pub(crate) fn remove(config: &Path, origin: &Url) -> Result<(), EngineError> {
        let path = path(config, origin);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(EngineError::io(path)(error)),
            _ => Ok(()),
        }
    }

    /// The way to the server.
    pub(crate) fn open(&self, origin: Url) -> Result<Server, ReachError> {
        let token = Secret::new("session", self.token.clone())?;
        Server::new(origin, self.authority.as_deref().map(str::as_bytes), Some(token))
    }
}

/// `HOST_PORT.json`; nothing of a host is special to a file system but the brackets and colons of IPv6, which go.
fn path(config: &Path, origin: &Url) -> PathBuf {
    let plain = |character: char| {
        if character.is_ascii_alphanumeric() || matches!(character, '.' | '-') { character } else { '_' }
    };
    let host: String = origin.host().chars().map(plain).collect();
    config.join(FOLDER).join(format!("{host}_{}.json", origin.port()))
}
