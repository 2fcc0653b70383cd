//! Credentials, and where they come from.
//!
//! A [`Secret`] zeroises on drop, prints `[redacted]`, and is neither cloned nor written. [`Secrets::gather`] is told what
//! the environment holds rather than asking for it, so tests are exact and nothing is picked up by accident. A secret is
//! sent to the one origin it belongs to; a redirect elsewhere goes without it.

use std::{fmt, fs::File, io::Read as _, path::PathBuf, process::Command, process::Stdio};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::ReachError;

/// Longest token, key or command output in bytes.
const SECRET_BYTES_MAX: u64 = 8_192;
/// Largest credentials file in bytes.
const PROFILES_BYTES_MAX: u64 = 1 << 20;

/// A token or key.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes `text` without the blanks around it; visible ASCII only, because it goes into a header.
    pub fn new(name: &'static str, text: Zeroizing<String>) -> Result<Self, ReachError> {
        let trimmed = text.trim();
        if trimmed.is_empty()
            || trimmed.len() as u64 > SECRET_BYTES_MAX
            || !trimmed.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(ReachError::Setting { name, why: "it is empty, too long or not plain ASCII".into() });
        }
        Ok(Self(Zeroizing::new(trimmed.to_owned())))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Where the Hub's token comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenSource {
    /// `HF_TOKEN`; else the file that `HF_TOKEN_PATH` names or `hf auth login` wrote; else none.
    #[default]
    Environment,
    /// Anonymous.
    None,
    /// The first line of a file.
    File(PathBuf),
    /// The standard output of a program with its arguments; no shell.
    Command(Vec<String>),
}

/// Keys for S3.
pub struct S3Keys {
    /// Who.
    pub id: Secret,
    /// The signing secret.
    pub key: Secret,
    /// For temporary credentials.
    pub session: Option<Secret>,
}

impl fmt::Debug for S3Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("S3Keys [redacted]")
    }
}

/// What this machine may show to sources.
#[derive(Debug, Default)]
pub struct Secrets {
    /// For the Hub's endpoint.
    pub hub: Option<Secret>,
    /// For S3; anonymous when absent.
    pub s3: Option<S3Keys>,
}

impl Secrets {
    /// Looks where the settings point. `environment` answers for environment variables.
    pub fn gather(
        token: &TokenSource,
        s3_profile: Option<&str>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ReachError> {
        Ok(Self { hub: hub_token(token, environment)?, s3: s3_keys(s3_profile, environment)? })
    }
}

fn hub_token(source: &TokenSource, environment: &dyn Fn(&str) -> Option<String>) -> Result<Option<Secret>, ReachError> {
    match source {
        TokenSource::None => Ok(None),
        TokenSource::File(path) => from_file("hub.token", path).map(Some),
        TokenSource::Command(words) => from_command("hub.token.command", words).map(Some),
        TokenSource::Environment => {
            if let Some(token) = environment("HF_TOKEN").filter(|token| !token.trim().is_empty()) {
                return Secret::new("HF_TOKEN", Zeroizing::new(token)).map(Some);
            }
            let home = || environment("HOME").map(|home| PathBuf::from(home).join(".cache"));
            let folder = || {
                environment("HF_HOME").map(PathBuf::from).or_else(|| {
                    let cache = environment("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?;
                    Some(cache.join("huggingface"))
                })
            };
            let place = environment("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| Some(folder()?.join("token")));
            match place.filter(|place| place.is_file()) {
                Some(place) => Secret::new("HF_TOKEN_PATH", read(&place, SECRET_BYTES_MAX)?).map(Some),
                None => Ok(None),
            }
        }
    }
}

/// The first line of a file.
pub(crate) fn from_file(name: &'static str, path: &std::path::Path) -> Result<Secret, ReachError> {
    let text = read(path, SECRET_BYTES_MAX)?;
    Secret::new(name, Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

/// The standard output of a program.
pub(crate) fn from_command(name: &'static str, words: &[String]) -> Result<Secret, ReachError> {
    let wrong = |why: String| ReachError::Setting { name, why };
    let (program, arguments) = words.split_first().ok_or_else(|| wrong("it is empty".into()))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| wrong(error.to_string()))?;
    let mut text = Zeroizing::new(String::new());
    let outcome = match child.stdout.take() {
        Some(output) => output.take(SECRET_BYTES_MAX).read_to_string(&mut text),
        None => Ok(0),
    };
    let status = child.wait().map_err(|error| wrong(error.to_string()))?;
    outcome.map_err(|error| wrong(error.to_string()))?;
    if !status.success() {
        return Err(wrong(format!("it ended with {status}")));
    }
    Secret::new(name, text)
}

fn s3_keys(profile: Option<&str>, environment: &dyn Fn(&str) -> Option<String>) -> Result<Option<S3Keys>, ReachError> {
    let variable = |name: &str| environment(name).filter(|value| !value.is_empty()).map(Zeroizing::new);
    if profile.is_none()
        && let (Some(id), Some(key)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"))
    {
        return keys(id, key, variable("AWS_SESSION_TOKEN")).map(Some);
    }
    let home = environment("HOME").map(|home| PathBuf::from(home).join(".aws/credentials"));
    let place = environment("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or(home);
    let Some(place) = place.filter(|place| place.is_file()) else {
        return match profile {
            Some(_) => Err(ReachError::Setting { name: "s3.profile", why: "there is no credentials file".into() }),
            None => Ok(None),
        };
    };
    let wanted = profile.map(str::to_owned).or_else(|| environment("AWS_PROFILE"));
    let text = read(&place, PROFILES_BYTES_MAX)?;
    let find = |name| profile_value(&text, wanted.as_deref().unwrap_or("default"), name);
    match (find("aws_access_key_id"), find("aws_secret_access_key")) {
        (Some(id), Some(key)) => keys(id, key, find("aws_session_token")).map(Some),
        _ if wanted.is_some() => {
            Err(ReachError::Setting { name: "s3.profile", why: "the credentials file has no keys for it".into() })
        }
        _ => Ok(None),
    }
}

fn keys(
    id: Zeroizing<String>,
    key: Zeroizing<String>,
    session: Option<Zeroizing<String>>,
) -> Result<S3Keys, ReachError> {
    Ok(S3Keys {
        id: Secret::new("AWS_ACCESS_KEY_ID", id)?,
        key: Secret::new("AWS_SECRET_ACCESS_KEY", key)?,
        session: session.map(|session| Secret::new("AWS_SESSION_TOKEN", session)).transpose()?,
    })
}

/// The value of `name` in section `[profile]` of an INI file.
fn profile_value(text: &str, profile: &str, name: &str) -> Option<Zeroizing<String>> {
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = section.trim() == profile;
        } else if inside
            && let Some((key, value)) = line.split_once('=')
            && key.trim() == name
        {
            return Some(Zeroizing::new(value.trim().to_owned()));
        }
    }
    None
}

fn read(path: &std::path::Path, bytes_max: u64) -> Result<Zeroizing<String>, ReachError> {
    let mut text = Zeroizing::new(String::new());
    File::open(path)
        .and_then(|file| file.take(bytes_max).read_to_string(&mut text))
        .map_err(|error| ReachError::Io { what: path.display().to_string(), error })?;
    Ok(text)
}
