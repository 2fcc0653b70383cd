//! A home of its own for each test, and the command run in it.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// Folders that vanish with the test: home, XDG folders, a folder to work in.
pub(crate) struct Home {
    root: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self::in_folder(tempfile::Builder::new().prefix("ringfence-cli-").tempdir().unwrap())
    }

    /// A home that lives as long as the process, for what several tests look at. Nothing drops it at the end, so it lies
    /// below the target directory, and the next process removes it.
    pub(crate) fn shared() -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        for left in fs::read_dir(target).unwrap().flatten() {
            let owner = left
                .file_name()
                .to_str()
                .and_then(|name| name.strip_prefix("shared-")?.split('-').next()?.parse::<u32>().ok());
            if owner.is_some_and(|owner| !Path::new("/proc").join(owner.to_string()).exists()) {
                fs::remove_dir_all(left.path()).unwrap();
            }
        }
        let prefix = format!("shared-{}-", std::process::id());
        Self::in_folder(tempfile::Builder::new().prefix(&prefix).tempdir_in(target).unwrap())
    }

    fn in_folder(root: TempDir) -> Self {
        for folder in ["home", "data", "config", "cache", "run", "tmp", "work"] {
            fs::DirBuilder::new().mode(0o700).create(root.path().join(folder)).unwrap();
        }
        Self { root }
    }

    /// A home in which a vault was made.
    pub(crate) fn with_vault() -> Self {
        let home = Self::new();
        home.run(&["init"]).exits(0);
        home
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// Where commands are run.
    pub(crate) fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    pub(crate) fn vault(&self) -> PathBuf {
        self.root.path().join("data/ringfence")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.root.path().join("config/ringfence")
    }

    /// The command with nothing of the caller's environment but a search path.
    pub(crate) fn command<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        let at = |folder: &str| self.root.path().join(folder);
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", at("home"))
            .env("XDG_DATA_HOME", at("data"))
            .env("XDG_CONFIG_HOME", at("config"))
            .env("XDG_CACHE_HOME", at("cache"))
            .env("TMPDIR", at("tmp"))
            .current_dir(self.work())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Done {
        self.done(self.command(args))
    }

    pub(crate) fn done(&self, mut command: Command) -> Done {
        let said = format!("{command:?}");
        Done { root: self.root.path().to_owned(), said, output: command.output().unwrap() }
    }

    /// A file in the folder where commands are run.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::File::create(&path).unwrap().write_all(bytes.as_ref()).unwrap();
        path
    }

    /// The last line of every outcome that opens a vault: what is committed, as JSON.
    pub(crate) fn list(&self) -> Value {
        self.run(&["ls", "--format", "json"]).exits(0).json()
    }
}

/// A command that ended.
pub(crate) struct Done {
    root: PathBuf,
    said: String,
    output: Output,
}

impl Done {
    /// Fails unless the command ended by itself with `code`.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.output.status.code(),
            Some(code),
            "{} ended with {}\n--- standard output\n{}\n--- standard error\n{}",
            self.said,
            self.output.status,
            self.out(),
            self.err()
        );
        for trace in ["panicked", "fault of ringfence itself", "stack backtrace"] {
            assert!(!self.err().contains(trace), "{}: {}", self.said, self.err());
        }
        self
    }

    pub(crate) fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    pub(crate) fn raw(&self) -> &[u8] {
        &self.output.stdout
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8(self.output.stdout.clone()).expect("output is UTF-8")
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).expect("talk is UTF-8")
    }

    /// Standard output as one JSON document, which must begin by saying what it is.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let text = self.out();
        let begin: String = text.chars().filter(|c| !c.is_whitespace()).take(21).collect();
        assert_eq!(begin, "{\"schema\":\"ringfence.", "{}", self.said);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}: {text}", self.said))
    }

    /// Exit code and both streams, without what differs from run to run.
    pub(crate) fn shown(&self) -> String {
        let code = self.code().map_or_else(|| self.output.status.to_string(), |code| code.to_string());
        let both = format!("exit {code}\n--- stdout\n{}--- stderr\n{}", self.out(), self.err());
        settled(&both.replace(&*self.root.to_string_lossy(), "[home]"))
    }
}

/// Text without random ids, digests and moments.
pub(crate) fn settled(text: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    let settle = |word: &mut String, out: &mut String| {
        let is_hex =
            word.len() >= 12 && word.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
        if is_hex && has_digit {
            out.push_str("[hex]");
        } else {
            out.push_str(word);
        }
        word.clear();
    };
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            word.push(character);
        } else {
            settle(&mut word, &mut out);
            out.push(character);
        }
    }
    settle(&mut word, &mut out);
    out
}

/// Every file below `folder` with its content.
pub(crate) fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.insert(entry.path(), fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

/// Every file of a vault that holds something: not SQLite's shared memory and empty log, which a mere reader makes.
pub(crate) fn vault_contents(vault: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = contents(vault);
    found.retain(|path, bytes| {
        let name = path.to_string_lossy();
        !(name.ends_with("-shm") || (name.ends_with("-wal") && bytes.is_empty()))
    });
    found
}

/// The examples of this repository.
pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// Copies a folder of plain files.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    for (path, bytes) in contents(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, bytes).unwrap();
    }
}

/// `count` rows of two clearly different classes, four columns and a label.
pub(crate) fn small_table(count: usize) -> String {
    let mut text = "a,b,c,d,label\n".to_owned();
    for row in 0..count {
        let class = row % 2;
        let base = if class == 0 { 1 } else { 12 };
        let cell = |column: usize| base + (row * 7 + column * 3) % 4;
        text.push_str(&format!("{},{},{},{},{class}\n", cell(0), cell(1), cell(2), cell(3)));
    }
    text
}
