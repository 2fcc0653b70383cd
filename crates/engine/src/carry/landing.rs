//! Where fetched bytes land: they are written and hashed beside the thread that fetches them.
//!
//! Nothing here waits for the disk, as scp, curl and rsync do not: what is fetched stays where it came from, and a disk that
//! writes 200 MB/s would halve the speed of a fast line. Whoever needs it to outlive a power failure runs `sync -f` on it.
//!
//! What must stay true: bytes are hashed as they are written, in their order; whatever was handed over is in the file when
//! [`Landing::finish`] returns.

use std::{
    fs::File,
    io::{self, Write as _},
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread::{Scope, ScopedJoinHandle},
};

use ringfence_schema::{Digest, Hasher};
use ringfence_store::disk::Behind;

/// Bytes that go from thread to thread at once.
pub(super) const PIECE_BYTES: usize = 1 << 20;
/// Most pieces that wait to be written.
const PIECES_WAITING: usize = 2;

/// See the module. Memory: at most `PIECES_WAITING + 2` pieces.
pub(super) struct Landing<'scope> {
    pieces: SyncSender<(Vec<u8>, usize)>,
    /// Buffers that come back.
    spare: Receiver<Vec<u8>>,
    writing: ScopedJoinHandle<'scope, io::Result<Hasher>>,
    bytes: u64,
}

impl<'scope> Landing<'scope> {
    /// Goes on at the end of `file`, all of which `hasher` has seen.
    pub(super) fn start<'env>(scope: &'scope Scope<'scope, 'env>, file: &'scope File, hasher: Hasher) -> Self {
        let (pieces, coming) = sync_channel(PIECES_WAITING);
        let (used, spare) = channel();
        let bytes = hasher.len();
        let writing = scope.spawn(move || write(file, hasher, &coming, &used));
        Self { pieces, spare, writing, bytes }
    }

    /// Waits until all is written: its digest.
    pub(super) fn finish(self) -> io::Result<Digest> {
        drop(self.pieces);
        Ok(joined(self.writing)?.finish())
    }
}

impl Place for Landing<'_> {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn room(&mut self) -> Vec<u8> {
        self.spare.try_recv().unwrap_or_else(|_| vec![0; PIECE_BYTES])
    }

    /// Where it cannot, [`Self::finish`] says why.
    fn take(&mut self, room: Vec<u8>, filled: usize) -> Result<(), Ended> {
        self.bytes += filled as u64;
        self.pieces.send((room, filled)).map_err(|_| Ended)
    }
}

/// Where what comes goes.
pub(super) trait Place {
    /// How many bytes there are, those included that are about to be written.
    fn bytes(&self) -> u64;
    /// Room for [`PIECE_BYTES`].
    fn room(&mut self) -> Vec<u8>;
    /// Takes the first `filled` bytes of `room`.
    fn take(&mut self, room: Vec<u8>, filled: usize) -> Result<(), Ended>;
}

/// Nothing more is taken.
pub(super) struct Ended;

/// A file that is kept in memory.
#[derive(Default)]
pub(super) struct Memory {
    hasher: Hasher,
    bytes: Vec<u8>,
    spare: Vec<u8>,
}

impl Memory {
    /// What came, and its digest.
    pub(super) fn finish(self) -> (Vec<u8>, Digest) {
        (self.bytes, self.hasher.finish())
    }
}

impl Place for Memory {
    fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn room(&mut self) -> Vec<u8> {
        let mut room = std::mem::take(&mut self.spare);
        room.resize(PIECE_BYTES, 0);
        room
    }

    fn take(&mut self, room: Vec<u8>, filled: usize) -> Result<(), Ended> {
        let bytes = room.get(..filled).unwrap_or_default();
        self.hasher.update(bytes);
        self.bytes.extend_from_slice(bytes);
        self.spare = room;
        Ok(())
    }
}

fn write(
    file: &File,
    mut hasher: Hasher,
    coming: &Receiver<(Vec<u8>, usize)>,
    used: &Sender<Vec<u8>>,
) -> io::Result<Hasher> {
    let mut behind = Behind::writer();
    for (piece, filled) in coming {
        let bytes = piece.get(..filled).unwrap_or_default();
        behind.pass(file, hasher.len(), bytes.len(), || { file }.write_all(bytes))?;
        hasher.update(bytes);
        // Nobody wants the buffer any more when the last one is here.
        let _ = used.send(piece);
    }
    Ok(hasher)
}

fn joined<T>(thread: ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread ended in the middle")))
}
