//! Carries artifacts to and from another machine's vault, through its server's API.
//!
//! [`up`] declares files with their digests and brings them where the server says that it goes on; [`down`] takes files out
//! in ranges. Both go on after a cut, again and again as long as something arrives in between, and both ends hash what
//! they get: the server compares what came with what was declared, [`down`] what came with the digests of the tree.
//!
//! What must stay true: a file that came stands under its name only when all of it is what its digest says; nothing that
//! was there before is overwritten; memory does not grow with a file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek as _, SeekFrom},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

mod landing;

use nix::fcntl::OFlag;
use ringfence_reach::{
    ReachError,
    server::{Incoming, Method, Patience, Server},
};
use ringfence_schema::{ArtifactName, Digest, Hasher, Tree, tree::TreeEntry};
use serde::Deserialize;
use serde_json::Value;

use self::landing::{Landing, Memory, Place};
use crate::{
    bundle::{self, sync_folder},
    error::EngineError,
    record::Reading,
    settings::Progress,
    source,
    transfer::{Declaration, DownloadView, UPLOAD_FILES_MAX, UploadState, UploadView},
};

/// Bytes of one request that brings something. What has come of one that breaks off stays, so it may be long; between two, the
/// line is empty until the server has answered.
pub const UPLOAD_PIECE_BYTES_MAX: u64 = 256 << 20;
/// Most failures in a row between which nothing arrived.
const FAILURES_MAX: u32 = 8;
/// Pause after the second of them, in milliseconds; doubled each time. After the first there is none: a line that broke
/// is there again at once more often than not.
const BACKOFF_MS: u64 = 100;
/// Longest pause, in milliseconds.
const BACKOFF_MS_MAX: u64 = 10_000;
/// Pause between two questions whether an upload is admitted by now, in milliseconds.
const POLL_MS: u64 = 1_000;
/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// What is to be brought.
#[derive(Debug, Clone)]
pub struct Load<'a> {
    /// File or folder.
    pub path: &'a Path,
    /// A dataset's separate labels file.
    pub labels: Option<&'a Path>,
    /// Its name in the vault.
    pub name: ArtifactName,
    /// How a dataset is read.
    pub reading: Reading,
    /// Controls to leave out.
    pub exempt: crate::Exemptions,
    /// Whether to wait until it is inspected and admitted, or until it is in quarantine.
    pub wait: bool,
}

/// What a server answers to whoever wants to take something out.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Offer {
    /// It may be read.
    Download(DownloadView),
    /// Others were asked to approve it.
    Waiting {
        /// The request.
        request: Value,
    },
}

/// Brings `load` into the vault behind `server`, and says what became of it.
///
/// # Errors
/// [`EngineError::Reach`] for what the server refuses and for a network that stays away; [`EngineError::Usage`] for files that
/// changed meanwhile.
pub fn up(server: &Server, progress: &dyn Progress, load: &Load<'_>) -> Result<UploadState, EngineError> {
    let (declaration, places) = declared(progress, load)?;
    up_declared(server, progress, &declaration, &places, load.wait)
}

/// What `load` is: its files in the order of their paths, each hashed, and where each is.
pub(crate) fn declared(progress: &dyn Progress, load: &Load<'_>) -> Result<(Declaration, Vec<PathBuf>), EngineError> {
    let mut found = source::files(load.path)?;
    let mut reading = load.reading.clone();
    if let Some(labels) = load.labels {
        let more = source::files(labels)?;
        reading.labels = more.first().map(|file| file.path.clone());
        found.extend(more);
    }
    if found.len() > UPLOAD_FILES_MAX {
        let what = format!("{} files; a server takes {UPLOAD_FILES_MAX} at once: pack them into archives", found.len());
        return Err(EngineError::Usage { what });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    let total = found.iter().filter_map(|file| fs::metadata(&file.place).ok()).map(|facts| facts.len()).sum();
    progress.begin("hashing", Some(total));
    let (mut files, mut places, mut done) = (Vec::new(), Vec::new(), 0);
    for file in found {
        let mut hasher = Hasher::new();
        pass(&mut source::open(&file.place)?, &mut |piece| {
            hasher.update(piece);
            done += piece.len() as u64;
            progress.advance(done, &file.path);
            Ok(())
        })
        .map_err(EngineError::io(&file.place))?;
        files.push(TreeEntry { path: file.path, size: hasher.len(), sha256: hasher.finish() });
        places.push(file.place);
    }
    progress.end("");
    let (name, exempt) = (load.name.clone(), load.exempt);
    Ok((Declaration { name, files, reading, exempt }, places))
}

/// Brings what was declared.
pub(crate) fn up_declared(
    server: &Server,
    progress: &dyn Progress,
    declaration: &Declaration,
    places: &[PathBuf],
    wait: bool,
) -> Result<UploadState, EngineError> {
    let body = serde_json::to_value(declaration).map_err(|error| EngineError::incomplete("declaration", error))?;
    let mut retry = Retry::default();
    let begun: UploadView =
        retry.until(|| server.act(Method::Post, "/api/v1/uploads", Some(&body), Patience::Brief))?;
    let path = format!("/api/v1/uploads/{}", begun.id);
    progress.begin("sending", Some(begun.bytes));
    let open = |file: usize| {
        let place = places.get(file).ok_or_else(|| EngineError::incomplete("upload", "a file is missing"))?;
        source::open(place)
    };
    let whole = bring(server, progress, &path, begun, &declaration.files, &open)?;
    progress.end("");
    progress.begin(if wait { "admitting" } else { "receiving" }, None);
    let ended = admitted(server, &path, whole, wait)?;
    progress.end("");
    Ok(ended)
}

/// Sends what is missing, from where the server says that it goes on.
pub(crate) fn bring(
    server: &Server,
    progress: &dyn Progress,
    path: &str,
    begun: UploadView,
    files: &[TreeEntry],
    open: &dyn Fn(usize) -> Result<File, EngineError>,
) -> Result<UploadView, EngineError> {
    let (mut view, mut retry) = (begun, Retry::default());
    while view.state == UploadState::Open {
        let Some(file) = files.get(view.file) else {
            return Err(EngineError::incomplete("the server's answer", "it wants a file that there is not"));
        };
        let before: u64 = files.iter().take(view.file).map(|file| file.size).sum();
        let length = file.size.saturating_sub(view.offset).min(UPLOAD_PIECE_BYTES_MAX);
        let mut content = open(view.file)?;
        content.seek(SeekFrom::Start(view.offset)).map_err(EngineError::io(&file.path))?;
        let mut told = Told { inner: content, done: before + view.offset, progress, note: &file.path };
        let target = format!("{path}/files/{}?from={}", view.file, view.offset);
        match server.send(&target, &mut told, length) {
            Ok(next) => view = moved(&mut retry, &view, next),
            Err(error) if is_passing(&error) => {
                retry.wait(error)?;
                // Where it goes on is the server's to say.
                let next = retry.until(|| server.read(path))?;
                view = moved(&mut retry, &view, next);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(view)
}

fn moved(retry: &mut Retry, before: &UploadView, next: UploadView) -> UploadView {
    if (next.file, next.offset) != (before.file, before.offset) || next.state != before.state {
        *retry = Retry::default();
    }
    next
}

/// Has it admitted, and waits for that even where the connection does not; or, without `wait`, until it is in quarantine.
fn admitted(server: &Server, path: &str, whole: UploadView, wait: bool) -> Result<UploadState, EngineError> {
    let (mut view, mut retry) = (whole, Retry::default());
    let target = format!("{path}/{}", if wait { "finish" } else { "receive" });
    loop {
        match view.state {
            UploadState::Whole => match server.act(Method::Post, &target, None, Patience::Long) {
                Ok(next) => view = next,
                Err(error) if is_passing(&error) => {
                    retry.wait(error)?;
                    view = retry.until(|| server.read(path))?;
                }
                Err(error) => return Err(error.into()),
            },
            UploadState::Admitting { ref version } if wait || version.is_none() => {
                thread::sleep(Duration::from_millis(POLL_MS));
                view = Retry::default().until(|| server.read(path))?;
            }
            UploadState::Open => {
                return Err(EngineError::incomplete("the server's answer", "bytes are missing that it had"));
            }
            ended => return Ok(ended),
        }
    }
}

/// Asks at `path` to take an artifact out, or for others' approval of that.
pub fn ask(server: &Server, path: &str) -> Result<Offer, EngineError> {
    Ok(server.act(Method::Post, path, None, Patience::Brief)?)
}

/// Takes the files of `download` out to `destination`, a folder that must not exist. What an earlier attempt left of the
/// same content is gone on with.
///
/// # Errors
/// [`EngineError::Tampered`] where what came is not what its digest says; [`EngineError::Usage`] where `destination` exists.
pub fn down(
    server: &Server,
    progress: &dyn Progress,
    download: &DownloadView,
    destination: &Path,
) -> Result<u64, EngineError> {
    free(destination)?;
    let (part, bytes) = gather(server, progress, download, destination, &download.tree)?;
    free(destination)?;
    fs::rename(&part, destination).map_err(EngineError::io(destination))?;
    over(server, download);
    Ok(bytes)
}

/// Takes the bundle of a release out to `destination`, where an earlier bundle gives way to it as it does to one that is
/// written beside its vault. `released` is the released artifact, by which what an earlier attempt left is found; `genuine`
/// judges the files that came before they stand there.
///
/// # Errors
/// [`EngineError::Tampered`] where what came is not what its digest says; [`EngineError::Usage`] where `destination` is
/// something else than a bundle; those of `genuine`.
pub fn down_bundle(
    server: &Server,
    progress: &dyn Progress,
    download: &DownloadView,
    released: &Digest,
    destination: &Path,
    genuine: &dyn Fn(&Path) -> Result<(), EngineError>,
) -> Result<u64, EngineError> {
    free_for_bundle(destination)?;
    let (part, bytes) = gather(server, progress, download, destination, released)?;
    if let Err(error) = genuine(&part) {
        // Going on with it would be of no use.
        let _ = fs::remove_dir_all(&part);
        return Err(error);
    }
    bundle::put(&part, destination)?;
    over(server, download);
    Ok(bytes)
}

/// It ends by itself in time.
fn over(server: &Server, download: &DownloadView) {
    let _ = server.act::<Value>(Method::Delete, &format!("/api/v1/downloads/{}", download.id), None, Patience::Brief);
}

/// Brings the files into a hidden folder beside `destination` that is named after `content`; that folder, and how many bytes.
fn gather(
    server: &Server,
    progress: &dyn Progress,
    download: &DownloadView,
    destination: &Path,
    content: &Digest,
) -> Result<(PathBuf, u64), EngineError> {
    // Paths come from the server: a tree's are relative and stay inside.
    let tree =
        Tree::new(download.files.clone()).map_err(|error| EngineError::tampered("the server's answer", error))?;
    if tree.digest() != download.tree || tree.files() != download.files {
        return Err(EngineError::tampered("the server's answer", "the files do not make the tree that it names"));
    }
    let name = destination.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let part = destination.with_file_name(format!(".{name}.{}.part", content.short()));
    make_folders(&part)?;
    progress.begin("receiving", Some(tree.size()));
    let mut done = 0;
    for (number, file) in tree.files().iter().enumerate() {
        let target = part.join(&file.path);
        if let Some(inner) = target.parent() {
            make_folders(inner)?;
        }
        let path = format!("/api/v1/downloads/{}/files/{number}", download.id);
        fetch(server, &path, file, &target, &mut |fetched| progress.advance(done + fetched, &file.path))?;
        done += file.size;
    }
    progress.end("");
    sync_folder(&part)?;
    Ok((part, tree.size()))
}

/// Refuses a place where something is that is no bundle.
pub fn free_for_bundle(destination: &Path) -> Result<(), EngineError> {
    bundle::may_stand_at(destination)
}

/// Refuses a place where something is.
pub fn free(destination: &Path) -> Result<(), EngineError> {
    if destination.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(EngineError::Usage { what: format!("`{}` exists; name a folder that does not", destination.display()) })
}

fn make_folders(path: &Path) -> Result<(), EngineError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(EngineError::io(path))
}

/// Fetches the rest of a file into `target`, however often the connection breaks.
fn fetch(
    server: &Server,
    path: &str,
    file: &TreeEntry,
    target: &Path,
    advance: &mut dyn FnMut(u64),
) -> Result<(), EngineError> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits();
    let opened = OpenOptions::new().read(true).write(true).create(true).mode(0o600).custom_flags(flags).open(target);
    let mut out = opened.map_err(EngineError::io(target))?;
    if out.try_lock().is_err() {
        return Err(EngineError::Busy { what: "another process is fetching the same" });
    }
    let mut there = out.metadata().map_err(EngineError::io(target))?.len();
    if there > file.size {
        there = 0;
    }
    let mut digest = fetch_rest(server, path, file, (&mut out, target, there), advance)?;
    if digest != file.sha256 && there > 0 {
        // What an earlier attempt left was of another file: of an older proof that a release is in the trail, say.
        digest = fetch_rest(server, path, file, (&mut out, target, 0), advance)?;
    }
    if digest == file.sha256 {
        return Ok(());
    }
    drop(out);
    // Whatever it is, going on with it would be of no use.
    let _ = fs::remove_file(target);
    Err(EngineError::tampered(&file.path, "what came is not what its digest says"))
}

/// Keeps the first `there` bytes of a file and fetches the rest: the digest of all of it.
fn fetch_rest(
    server: &Server,
    path: &str,
    file: &TreeEntry,
    (out, target, there): (&mut File, &Path, u64),
    advance: &mut dyn FnMut(u64),
) -> Result<Digest, EngineError> {
    out.set_len(there).map_err(EngineError::io(target))?;
    out.rewind().map_err(EngineError::io(target))?;
    let mut hasher = Hasher::new();
    pass(out, &mut |piece| {
        hasher.update(piece);
        advance(hasher.len());
        Ok(())
    })
    .map_err(EngineError::io(target))?;
    let out: &File = out;
    thread::scope(|scope| {
        let mut landing = Landing::start(scope, out, hasher);
        let received = receive(server, path, file, &mut landing, advance);
        let written = landing.finish().map_err(EngineError::io(target));
        // What could not be written is why nothing more was received.
        written.and_then(|digest| received.map(|()| digest))
    })
}

/// Fetches a file whole into memory, however often the connection breaks; its size was checked against what there may be.
///
/// # Errors
/// [`EngineError::Tampered`] where what came is not what its digest says.
pub(crate) fn fetch_whole(
    server: &Server,
    path: &str,
    file: &TreeEntry,
    advance: &mut dyn FnMut(u64),
) -> Result<Vec<u8>, EngineError> {
    let mut memory = Memory::default();
    receive(server, path, file, &mut memory, advance)?;
    let (bytes, digest) = memory.finish();
    if digest == file.sha256 {
        Ok(bytes)
    } else {
        Err(EngineError::tampered(&file.path, "what came is not what its digest says"))
    }
}

/// Asks for what is missing until all of it has come.
fn receive(
    server: &Server,
    path: &str,
    file: &TreeEntry,
    landing: &mut impl Place,
    advance: &mut dyn FnMut(u64),
) -> Result<(), EngineError> {
    let mut retry = Retry::default();
    while landing.bytes() < file.size {
        let before = landing.bytes();
        let came = server.fetch(path, before..file.size, &file.sha256);
        let came = came.and_then(|mut incoming| land(&mut incoming, landing, advance));
        if landing.bytes() > before {
            retry = Retry::default();
        }
        match came {
            Ok(Line::Gone) => return Ok(()),
            Ok(Line::Ended) if landing.bytes() >= file.size => {}
            // It ended early without an error: as good as a cut.
            Ok(Line::Ended) => {
                let reason = "it ended before the file did".to_owned();
                retry.wait(ReachError::Connection { host: server.origin(), reason })?;
            }
            Err(error) if is_passing(&error) => retry.wait(error)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// How an answer ended that did not fail.
enum Line {
    Ended,
    /// Nobody takes any more.
    Gone,
}

/// Hands on what comes until it ends; what came before it broke off is kept.
fn land(incoming: &mut Incoming, landing: &mut impl Place, advance: &mut dyn FnMut(u64)) -> Result<Line, ReachError> {
    loop {
        let (mut room, mut filled) = (landing.room(), 0);
        let ended = loop {
            let free = room.get_mut(filled..).unwrap_or_default();
            if free.is_empty() {
                break None;
            }
            match incoming.read(free) {
                Ok(0) => break Some(Ok(Line::Ended)),
                Ok(count) => filled += count,
                Err(error) => break Some(Err(error)),
            }
        };
        if landing.take(room, filled).is_err() {
            return Ok(Line::Gone);
        }
        advance(landing.bytes());
        if let Some(ended) = ended {
            return ended;
        }
    }
}

/// Reads `from` to its end, piece by piece.
fn pass(from: &mut impl Read, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => take(buffer.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A reader whose progress is shown.
struct Told<'p> {
    inner: File,
    done: u64,
    progress: &'p dyn Progress,
    note: &'p str,
}

impl Read for Told<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.done += count as u64;
        self.progress.advance(self.done, self.note);
        Ok(count)
    }
}

/// Counts failures in a row.
#[derive(Default)]
pub(crate) struct Retry {
    failures: u32,
}

impl Retry {
    /// Waits before the next attempt, or gives up with `error`.
    pub(crate) fn wait(&mut self, error: ReachError) -> Result<(), EngineError> {
        self.failures += 1;
        if self.failures > FAILURES_MAX {
            return Err(error.into());
        }
        let doubled = self.failures.checked_sub(2).map_or(0, |more| BACKOFF_MS << more.min(16));
        let asked = match &error {
            ReachError::Busy { retry_after_s: Some(seconds), .. } => seconds.saturating_mul(1_000),
            _ => 0,
        };
        thread::sleep(Duration::from_millis(doubled.max(asked).min(BACKOFF_MS_MAX)));
        Ok(())
    }

    /// Asks until there is an answer that another attempt would not change.
    pub(crate) fn until<T>(&mut self, ask: impl Fn() -> Result<T, ReachError>) -> Result<T, EngineError> {
        loop {
            match ask() {
                Err(error) if is_passing(&error) => self.wait(error)?,
                other => return Ok(other?),
            }
        }
    }
}

/// Whether it may go better the next time. A conflict is one: the upload goes on somewhere else than was thought.
pub(crate) fn is_passing(error: &ReachError) -> bool {
    error.is_passing() || matches!(error, ReachError::Problem { status: 408 | 409 | 429 | 503, .. })
}
