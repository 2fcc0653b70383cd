//! A run that goes on, as others on this machine may follow and stop it.
//!
//! While a run lives, `live/RUN.sock` in the vault's folder takes one word per connection: `watch` is answered with the
//! telemetry so far and everything that follows, as JSON lines, `so-far` with the first part alone; an [`Order`] is carried out and answered `ok`. The folder
//! is the user's alone and the kernel names the peer, so nobody else gets an answer. Followers see what is in the
//! telemetry, never keys or data; one that is slow is dropped, and holds up nobody.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::Shutdown,
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::DirBuilderExt as _,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::getuid,
};
use ringfence_schema::alert::TelemetryLine;
use serde::{Deserialize, Serialize};

use crate::error::EngineError;

/// What a follower may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Kill it; outputs so far are not kept.
    Stop,
    /// Halt every process of it.
    Freeze,
    /// Let it go on.
    Thaw,
}

impl Order {
    /// Every order.
    pub const ALL: [Self; 3] = [Self::Stop, Self::Freeze, Self::Thaw];

    /// `stop`, `freeze` or `thaw`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
        }
    }
}

/// The telemetry of a run in the making, with its socket.
pub(super) struct Live {
    shared: Arc<Shared>,
    socket: Option<(PathBuf, JoinHandle<()>)>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    dropped: u64,
    ended: bool,
    followers: usize,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Lines are appended whole: what a thread that died left behind is still good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// Opens the socket of `run` in `vault`; `obey` carries out orders. Telemetry is kept even where the socket cannot
    /// be had, and the second value says why not.
    pub(super) fn begin(vault: &Path, run: &str, obey: impl Fn(Order) + Send + 'static) -> (Self, Option<io::Error>) {
        let shared = Arc::new(Shared::default());
        match listen(vault, run) {
            Ok((path, listener)) => {
                let theirs = Arc::clone(&shared);
                let thread = thread::spawn(move || serve(&listener, &theirs, &obey));
                (Self { shared, socket: Some((path, thread)) }, None)
            }
            Err(error) => (Self { shared, socket: None }, Some(error)),
        }
    }

    /// Adds a line, within [`TELEMETRY_BYTES_MAX`]; what does not fit is counted.
    pub(super) fn add(&self, line: &TelemetryLine) {
        let Ok(bytes) = serde_json::to_vec(line) else { return };
        let mut state = self.shared.state();
        // The last tenth is for alerts: a job that floods its output cannot hide them.
        let room = match line {
            TelemetryLine::Event(_) => TELEMETRY_BYTES_MAX / 10 * 9,
            TelemetryLine::Alert { .. } => TELEMETRY_BYTES_MAX,
        };
        if state.lines.len() + bytes.len() < room {
            state.lines.extend(bytes);
            state.lines.push(b'\n');
            self.shared.changed.notify_all();
        } else {
            state.dropped += 1;
        }
    }

    /// All lines so far.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.shared.state().lines.clone()
    }

    /// How many lines did not fit.
    pub(super) fn dropped(&self) -> u64 {
        self.shared.state().dropped
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        self.shared.changed.notify_all();
        if let Some((path, thread)) = self.socket.take() {
            let _ = fs::remove_file(path);
            // It ends within [`LOOK_MS`]; followers take what is left on threads of their own.
            let _ = thread.join();
        }
    }
}

fn folder(vault: &Path) -> PathBuf {
    vault.join("live")
}

/// `action` with a short path to `file` in `vault`'s folder of sockets: their addresses hold 107 bytes only.
fn with_short_path<T>(vault: &Path, run: &str, action: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let folder = fs::File::open(folder(vault))?;
    action(Path::new(&format!("/proc/self/fd/{}/{run}.sock", folder.as_raw_fd())))
}

fn listen(vault: &Path, run: &str) -> io::Result<(PathBuf, UnixListener)> {
    let folder = folder(vault);
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    for (run, path) in sockets(vault) {
        // Nobody answers: its run was killed.
        if with_short_path(vault, &run, |short| UnixStream::connect(short)).is_err() {
            let _ = fs::remove_file(path);
        }
    }
    let listener = with_short_path(vault, run, |short| UnixListener::bind(short))?;
    listener.set_nonblocking(true)?;
    Ok((folder.join(format!("{run}.sock")), listener))
}

/// Names and paths of the sockets that lie there, dead or alive.
fn sockets(vault: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder(vault)).into_iter().flatten().flatten().take(SOCKETS_MAX);
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((name.strip_suffix(".sock")?.to_owned(), entry.path()))
        })
        .collect();
    found.sort();
    found
}

fn serve(listener: &UnixListener, shared: &Arc<Shared>, obey: &dyn Fn(Order)) {
    loop {
        let mut waits = [PollFd::new(std::os::fd::AsFd::as_fd(listener), PollFlags::POLLIN)];
        let _ = poll(&mut waits, PollTimeout::from(LOOK_MS));
        if shared.state().ended {
            return;
        }
        let Ok((stream, _)) = listener.accept() else { continue };
        // Whoever fails or stays silent is let go; the run does not depend on it.
        let _ = answer(stream, shared, obey);
    }
}

fn answer(mut stream: UnixStream, shared: &Arc<Shared>, obey: &dyn Fn(Order)) -> io::Result<()> {
    let peer = getsockopt(&stream, PeerCredentials)?;
    if peer.uid() != getuid().as_raw() {
        return Ok(());
    }
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_millis(WORD_MS)))?;
    stream.set_write_timeout(Some(Duration::from_millis(FOLLOWER_STALL_MS)))?;
    let mut word = String::new();
    BufReader::new((&stream).take(WORD_BYTES_MAX)).read_line(&mut word)?;
    let word = word.trim_end();
    if let Some(order) = Order::ALL.into_iter().find(|order| order.name() == word) {
        obey(order);
        return stream.write_all(b"ok\n");
    }
    let until = match word {
        "watch" => Until::End,
        "so-far" => Until::Now,
        _ => return stream.write_all(b"unknown\n"),
    };
    let shared = Arc::clone(shared);
    if shared.state().followers >= FOLLOWERS_MAX {
        return stream.write_all(b"full\n");
    }
    shared.state().followers += 1;
    thread::spawn(move || {
        let _ = tell(&mut stream, &shared, until);
        shared.state().followers -= 1;
    });
    Ok(())
}

/// How much a follower wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    End,
    Now,
}

/// Sends everything from the beginning, as far as is wanted or the follower takes it.
fn tell(stream: &mut UnixStream, shared: &Shared, until: Until) -> io::Result<()> {
    let mut sent = 0;
    loop {
        let (piece, ended) = {
            let mut state = shared.state();
            while state.lines.len() == sent && !state.ended && until == Until::End {
                state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let end = state.lines.len().min(sent + PIECE_BYTES);
            (state.lines.get(sent..end).unwrap_or_default().to_vec(), state.ended || until == Until::Now)
        };
        if piece.is_empty() && ended {
            return Ok(());
        }
        stream.write_all(&piece)?;
        sent += piece.len();
    }
}

/// The runs of the vault in `vault` that are going on.
pub fn live_runs(vault: &Path) -> Vec<String> {
    let alive = |run: &String| with_short_path(vault, run, |short| UnixStream::connect(short)).is_ok();
    sockets(vault).into_iter().map(|(run, _)| run).filter(alive).collect()
}

fn connect(vault: &Path, run: &str, word: &str) -> Result<UnixStream, EngineError> {
    let not_there = || EngineError::NotFound { what: "live run", name: run.to_owned() };
    if !run.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(not_there());
    }
    let mut stream =
        with_short_path(vault, run, |short| UnixStream::connect(short)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => not_there(),
            _ => EngineError::io(folder(vault).join(run))(error),
        })?;
    stream.write_all(format!("{word}\n").as_bytes()).map_err(EngineError::io(folder(vault).join(run)))?;
    Ok(stream)
}

/// Tells the live run `run` of the vault in `vault` to do something.
pub(super) fn order(vault: &Path, run: &str, order: Order) -> Result<(), EngineError> {
    let stream = connect(vault, run, order.name())?;
    stream
        .set_read_timeout(Some(Duration::from_millis(ANSWER_MS)))
        .map_err(EngineError::io(folder(vault).join(run)))?;
    let mut said = String::new();
    let read = BufReader::new(stream.take(WORD_BYTES_MAX)).read_line(&mut said);
    match (read, said.trim_end()) {
        (Ok(_), "ok") => Ok(()),
        (Ok(_), "") => Err(EngineError::NotFound { what: "live run", name: run.to_owned() }),
        (Ok(_), other) => Err(EngineError::incomplete(format!("run {run}"), format!("it answered `{other}`"))),
        (Err(error), _) => Err(EngineError::incomplete(format!("run {run}"), error)),
    }
}

/// The telemetry of a live run, line by line as it comes; it ends with the run.
pub struct Follow {
    lines: BufReader<UnixStream>,
    run: String,
}

/// Ends a [`Follow`] that waits on another thread, when it is dropped.
pub struct Unfollow(UnixStream);

impl Drop for Unfollow {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl Follow {
    /// What ends this from elsewhere.
    ///
    /// # Errors
    /// [`EngineError::Io`] where the system has no more descriptors.
    pub fn unfollow(&self) -> Result<Unfollow, EngineError> {
        self.lines.get_ref().try_clone().map(Unfollow).map_err(EngineError::io(&self.run))
    }
}

/// Follows the live run `run` of the vault in `vault` from its beginning.
pub fn follow(vault: &Path, run: &str) -> Result<Follow, EngineError> {
    Ok(Follow { lines: BufReader::new(connect(vault, run, "watch")?), run: run.to_owned() })
}

/// What there is of it by now.
pub(crate) fn so_far(vault: &Path, run: &str) -> Result<Follow, EngineError> {
    Ok(Follow { lines: BufReader::new(connect(vault, run, "so-far")?), run: run.to_owned() })
}

impl Iterator for Follow {
    type Item = Result<TelemetryLine, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        let limit = LINE_BYTES_MAX;
        match (&mut self.lines).take(limit).read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(parse_line(&line).ok_or_else(|| {
                EngineError::incomplete(format!("run {}", self.run), "a line of its telemetry could not be read")
            })),
            Err(error) => Some(Err(EngineError::incomplete(format!("run {}", self.run), error))),
        }
    }
}

/// One line of telemetry.
pub(crate) fn parse_line(line: &[u8]) -> Option<TelemetryLine> {
    serde_json::from_slice(line).ok()
}

/// Most telemetry that is kept of a run, in bytes.
const TELEMETRY_BYTES_MAX: usize = 32 << 20;
/// Most followers at a time.
const FOLLOWERS_MAX: usize = 16;
/// Most sockets that are looked at.
const SOCKETS_MAX: usize = 1_000;
/// How often the end of the run is looked for, in milliseconds.
const LOOK_MS: u16 = 100;
/// How long a peer may take to say its word, in milliseconds.
const WORD_MS: u64 = 500;
/// How long an answer to an order may take, in milliseconds.
const ANSWER_MS: u64 = 5_000;
/// How long a follower may take for a piece before it is dropped, in milliseconds.
const FOLLOWER_STALL_MS: u64 = 10_000;
/// Longest word or answer in bytes.
const WORD_BYTES_MAX: u64 = 64;
/// Bytes that are sent at a time.
const PIECE_BYTES: usize = 64 << 10;
/// Longest line of telemetry in bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use ringfence_schema::event::{Claimed, RunEvent, Source};

    use super::*;

    fn line(at_ms: u64, bytes: usize) -> TelemetryLine {
        let text = "x".repeat(bytes);
        let claimed = Claimed::Line { stream: "stdout".into(), text };
        TelemetryLine::Event(RunEvent { at_ms, source: Source::Claimed(claimed) })
    }

    #[test]
    fn followers_get_everything_and_orders_arrive() {
        let vault = tempfile::tempdir().expect("a folder");
        let (told, orders) = mpsc::channel();
        let (live, problem) = Live::begin(vault.path(), "r-1", move |order| told.send(order).expect("heard"));
        assert!(problem.is_none(), "{problem:?}");
        live.add(&line(1, 10));
        assert_eq!(live_runs(vault.path()), ["r-1"]);
        let mut following = follow(vault.path(), "r-1").expect("it lives");
        let elsewhere = follow(vault.path(), "r-1").expect("it lives");
        let unfollow = elsewhere.unfollow().expect("a descriptor");
        let reader = thread::spawn(move || elsewhere.count());
        assert_eq!(so_far(vault.path(), "r-1").expect("it lives").count(), 1);
        assert_eq!(following.next().expect("a line").expect("good"), line(1, 10));
        drop(unfollow);
        assert!(reader.join().expect("it ends") <= 1, "it waits no longer");
        live.add(&line(2, 500_000));
        order(vault.path(), "r-1", Order::Stop).expect("obeyed");
        assert_eq!(orders.recv().expect("an order"), Order::Stop);
        drop(live);
        let rest: Vec<_> = following.map(|line| line.expect("good")).collect();
        assert_eq!(rest, [line(2, 500_000)]);
        assert!(live_runs(vault.path()).is_empty());
        assert!(matches!(follow(vault.path(), "r-1"), Err(EngineError::NotFound { .. })));
        assert!(matches!(order(vault.path(), "../r-1", Order::Stop), Err(EngineError::NotFound { .. })));
    }

    #[test]
    fn a_flood_leaves_room_for_alerts_and_is_counted() {
        let vault = tempfile::tempdir().expect("a folder");
        let (live, _) = Live::begin(vault.path(), "r-2", |_| {});
        for at_ms in 0..70 {
            live.add(&line(at_ms, 500_000));
        }
        assert!(live.bytes().len() <= TELEMETRY_BYTES_MAX / 10 * 9 && live.dropped() > 0);
    }
}
