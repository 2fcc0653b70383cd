//! The channel on which a job may tell its progress in JSON lines: a FIFO, and a stream socket where sockets are allowed.
//!
//! Both lead one way. The FIFO is opened for reading by the supervisor alone; of every connection the supervisor closes
//! its own direction at once, and descriptors that somebody sends along are never taken. A job that writes faster than
//! [`LINES_BYTES_PER_SECOND`] is not read beyond that, faster than [`TAKEN_BYTES_PER_SECOND`] and it waits.
#![deny(clippy::indexing_slicing)]

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            fs::{OpenOptionsExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    time::Instant,
};

use nix::{libc, sys::stat::Mode, unistd::mkfifo};
use ringfence_schema::event::Progress;

use super::{Nonsense, pace::Bucket, record};

/// What the keeper makes in the sandbox.
pub(in crate::run) struct Ends {
    /// Where the job finds the FIFO.
    pub(in crate::run) pipe_path: PathBuf,
    /// Its reading end.
    pub(in crate::run) pipe: OwnedFd,
    /// Where the job finds the socket.
    pub(in crate::run) socket_path: Option<PathBuf>,
    /// It, listening.
    pub(in crate::run) socket: Option<OwnedFd>,
}

/// Whether a job may make sockets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::run) enum Sockets {
    /// It may.
    Allowed,
    /// The filter refuses them.
    Refused,
}

/// Makes the channel in `folder`, writable for its owner and, with `group`, for that group.
pub(in crate::run) fn make(folder: &Path, group: Option<u32>, sockets: Sockets) -> io::Result<Ends> {
    let pipe_path = folder.join(PIPE_NAME);
    mkfifo(&pipe_path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    if let Some(group) = group {
        std::os::unix::fs::chown(&pipe_path, None, Some(group))?;
        fs::set_permissions(&pipe_path, fs::Permissions::from_mode(0o620))?;
    }
    // For writing too: then there is always a writer, and the end of one is not the end of the channel.
    let pipe =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(&pipe_path)?;
    let (mut socket_path, mut socket) = (None, None);
    if sockets == Sockets::Allowed {
        let path = folder.join(SOCKET_NAME);
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        (socket_path, socket) = (Some(path), Some(listener.into()));
    }
    Ok(Ends { pipe_path, pipe: pipe.into(), socket_path, socket })
}

/// The supervisor's end.
pub(super) struct Channel {
    pipe: Option<(File, Lines)>,
    listener: Option<UnixListener>,
    peers: Vec<(UnixStream, Lines)>,
    lines: Bucket,
    taken: Bucket,
}

impl Channel {
    /// A channel on which nobody can speak yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            pipe: None,
            listener: None,
            peers: Vec::new(),
            lines: Bucket::new(LINES_BYTES_PER_SECOND, LINES_BYTES_PER_SECOND * 4, now),
            taken: Bucket::new(TAKEN_BYTES_PER_SECOND, TAKEN_BYTES_PER_SECOND, now),
        }
    }

    /// Listens on the reading end of a FIFO.
    pub(super) fn pipe(&mut self, descriptor: OwnedFd) {
        self.pipe = Some((descriptor.into(), Lines::default()));
    }

    /// Listens on a listening socket.
    pub(super) fn socket(&mut self, descriptor: OwnedFd) {
        self.listener = Some(descriptor.into());
    }

    /// What to poll; nothing while too much was taken.
    pub(super) fn descriptors(&mut self, now: Instant) -> Vec<BorrowedFd<'_>> {
        if self.taken.level(now) < PIECE_BYTES as u64 {
            return Vec::new();
        }
        let pipe = self.pipe.iter().map(|(pipe, _)| pipe.as_fd());
        let peers = self.peers.iter().map(|(peer, _)| peer.as_fd());
        pipe.chain(self.listener.as_ref().map(AsFd::as_fd)).chain(peers).collect()
    }

    /// Takes what waits; `each` gets the progress of a line, or what was wrong with how many.
    pub(super) fn read(&mut self, now: Instant, each: Each<'_>) {
        self.accept(each);
        let Self { pipe, peers, lines, taken, .. } = self;
        if let Some((pipe, partial)) = pipe {
            // A FIFO that this process can write to has no end.
            let _ = take(pipe, partial, (lines, taken), now, each);
        }
        peers.retain_mut(|(peer, partial)| take(peer, partial, (lines, taken), now, each) == Rest::More);
    }

    fn accept(&mut self, each: Each<'_>) {
        let Some(listener) = &self.listener else { return };
        for _ in 0..PEERS_MAX {
            let Ok((peer, _)) = listener.accept() else { return };
            let usable = peer.set_nonblocking(true).and_then(|()| peer.shutdown(Shutdown::Write));
            if usable.is_err() {
                continue;
            }
            if self.peers.len() < PEERS_MAX {
                self.peers.push((peer, Lines::default()));
            } else {
                each(Err((Nonsense::Many, 1)));
            }
        }
    }
}

/// Takes the progress of a line, or what was wrong with how many lines.
type Each<'a> = &'a mut dyn FnMut(Result<Progress, (Nonsense, u64)>);

/// Whether more may come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    More,
    End,
}

fn take(
    source: &mut impl Read,
    partial: &mut Lines,
    (lines, taken): (&mut Bucket, &mut Bucket),
    now: Instant,
    each: Each<'_>,
) -> Rest {
    let mut buffer = vec![0; PIECE_BYTES];
    // Not for ever: who writes without end must not keep the supervisor from its other duties.
    for _ in 0..READS_AT_A_TIME {
        if taken.level(now) < PIECE_BYTES as u64 {
            break;
        }
        match source.read(&mut buffer) {
            Ok(0) => {
                partial.end(each);
                return Rest::End;
            }
            Ok(count) => {
                taken.take((count as u64).max(READ_COST_BYTES), now);
                partial.push(buffer.get(..count).unwrap_or_default(), lines, now, each);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(_) => return Rest::End,
        }
    }
    Rest::More
}

/// Cuts bytes into lines of bounded length.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
    /// The present line is not read, for this reason.
    lost: Option<Nonsense>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], allowance: &mut Bucket, now: Instant, each: Each<'_>) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.lost.is_none() && !allowance.take(piece.len() as u64, now) {
                self.lost = Some(Nonsense::Fast);
            }
            if self.lost.is_none() && self.partial.len() + piece.len() > record::LINE_BYTES_MAX {
                self.lost = Some(Nonsense::Long);
            }
            if self.lost.is_none() {
                self.partial.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") {
                self.end(each);
            }
        }
    }

    /// The line is whole.
    fn end(&mut self, each: Each<'_>) {
        let line = self.partial.trim_ascii();
        match self.lost.take() {
            Some(lost) => each(Err((lost, 1))),
            None if line.is_empty() => {}
            None => each(record::line(line).map_err(|nonsense| (nonsense, 1))),
        }
        self.partial.clear();
    }
}

/// Name of the FIFO.
const PIPE_NAME: &str = "progress";
/// Name of the socket.
const SOCKET_NAME: &str = "progress.socket";
/// Most connections at a time.
const PEERS_MAX: usize = 16;
/// Bytes per second that are read as lines; four times as many at once.
const LINES_BYTES_PER_SECOND: u64 = 256 << 10;
/// Bytes per second that are taken at all; a job that writes more waits.
const TAKEN_BYTES_PER_SECOND: u64 = 16 << 20;
/// One read.
const PIECE_BYTES: usize = 64 << 10;
/// What a read costs at least, so that many small ones are not free.
const READ_COST_BYTES: u64 = 1 << 10;
/// Reads of one source before the supervisor looks elsewhere.
const READS_AT_A_TIME: usize = 8;
