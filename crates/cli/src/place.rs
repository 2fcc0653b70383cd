//! Where things are, from the environment and the XDG base directory specification.

use std::{
    env, fs,
    io::{self, IsTerminal as _, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::SystemTime,
};

use ringfence_engine::{
    Asked, EngineError, Passphrase,
    reach::{self, Reach, ReachError, Secrets},
    schema::Timestamp,
};

/// Longest answer of a passphrase file or command in bytes.
const SECRET_BYTES_MAX: usize = 1_024;

/// `$XDG_DATA_HOME/ringfence`, where the vault is unless told otherwise.
pub(crate) fn data_folder() -> Result<PathBuf, EngineError> {
    base("XDG_DATA_HOME", ".local/share")
}

/// `$XDG_CONFIG_HOME/ringfence`, where pins and the key file are.
pub(crate) fn config_folder() -> Result<PathBuf, EngineError> {
    base("XDG_CONFIG_HOME", ".config")
}

fn base(variable: &str, below_home: &str) -> Result<PathBuf, EngineError> {
    // The specification ignores relative values.
    let given = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || env::var_os("HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    given.or_else(|| home().map(|home| home.join(below_home))).map(|folder| folder.join("ringfence")).ok_or_else(|| {
        EngineError::Usage { what: format!("neither `{variable}` nor `HOME` is set to an absolute path") }
    })
}

/// This program, to be started again for keyless work.
pub(crate) fn program() -> Result<PathBuf, EngineError> {
    env::current_exe().map_err(EngineError::io("/proc/self/exe"))
}

/// The clock.
pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// The way out: `reach.toml` in the configuration folder, or its defaults; secrets from the places that it names.
pub(crate) fn reach(config: &Path) -> Result<Reach, ReachError> {
    let path = config.join("reach.toml");
    let wrong = |why: String| ReachError::Setting { name: "reach.toml", why };
    let settings: reach::Settings = match fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).map_err(|error| wrong(error.to_string()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => reach::Settings::default(),
        Err(error) => return Err(wrong(error.to_string())),
    };
    let secrets = Secrets::gather(&settings.hub.token, settings.s3.profile.as_deref(), &|name| env::var(name).ok())?;
    Reach::new(settings, secrets)
}

/// Whether the environment says where a passphrase comes from.
pub(crate) fn passphrase_is_given() -> bool {
    env::var_os("RINGFENCE_PASSPHRASE_FILE").is_some() || env::var_os("RINGFENCE_PASSPHRASE_COMMAND").is_some()
}

/// The passphrase: from `RINGFENCE_PASSPHRASE_COMMAND`, `RINGFENCE_PASSPHRASE_FILE` or the person at the terminal.
pub(crate) fn passphrase(asked: Asked) -> io::Result<Passphrase> {
    let text = if let Some(command) = env::var_os("RINGFENCE_PASSPHRASE_COMMAND") {
        let output =
            Command::new("/bin/sh").arg("-c").arg(command).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(io::Error::other(format!("the passphrase command ended with {}", output.status)));
        }
        one_line(output.stdout)?
    } else if let Some(file) = env::var_os("RINGFENCE_PASSPHRASE_FILE") {
        let mut bytes = Vec::new();
        // One byte more than fits, so that a longer file is refused rather than cut.
        fs::File::open(Path::new(&file))?.take(SECRET_BYTES_MAX as u64 + 2).read_to_end(&mut bytes)?;
        one_line(bytes)?
    } else {
        if !io::stdin().is_terminal() {
            return Err(io::Error::other("no terminal to ask for the passphrase"));
        }
        let first = rpassword::prompt_password("Passphrase: ")?;
        if asked == Asked::Create && rpassword::prompt_password("Again: ")? != first {
            return Err(io::Error::other("the two passphrases differ"));
        }
        first
    };
    Passphrase::new(text).map_err(io::Error::other)
}

fn one_line(bytes: Vec<u8>) -> io::Result<String> {
    if bytes.len() > SECRET_BYTES_MAX {
        return Err(io::Error::other(format!("the passphrase is longer than {SECRET_BYTES_MAX} bytes")));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| io::Error::other("the passphrase is not UTF-8"))?;
    let end = text.trim_end_matches(['\n', '\r']).len();
    text.truncate(end);
    Ok(text)
}
