//! Where fetched bytes land: beside the thread that fetches them, one hashes them and another writes them.
//!
//! Nothing here waits for the disk, as scp, curl and rsync do not: what is fetched stays where it came from, and a disk that
//! writes 200 MB/s would halve the speed of a fast line. Whoever needs it to outlive a power failure runs `sync -f` on it.
//!
//! What must stay true: the very buffers that were hashed are written, in their order; whatever was handed over is in the
//! file when [`Landing::finish`] returns.

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
/// Most pieces that wait to be hashed, and most that wait to be written.
const PIECES_WAITING: usize = 2;

/// A buffer, and how much of it is filled.
type Piece = (Vec<u8>, usize);

/// See the module. Memory: at most `2 * PIECES_WAITING + 3` pieces.
pub(super) struct Landing<'scope> {
    pieces: SyncSender<Piece>,
    /// Buffers that come back.
    spare: Receiver<Vec<u8>>,
    hashing: ScopedJoinHandle<'scope, Hasher>,
    writing: ScopedJoinHandle<'scope, io::Result<()>>,
    bytes: u64,
}

impl<'scope> Landing<'scope> {
    /// Goes on at the end of `file`, all of which `hasher` has seen.
    pub(super) fn start<'env>(scope: &'scope Scope<'scope, 'env>, file: &'scope File, hasher: Hasher) -> Self {
        let (pieces, coming) = sync_channel(PIECES_WAITING);
        let (hashed, going) = sync_channel(PIECES_WAITING);
        let (used, spare) = channel();
        let bytes = hasher.len();
        let hashing = scope.spawn(move || hash(hasher, &coming, &hashed));
        let writing = scope.spawn(move || write(file, bytes, &going, &used));
        Self { pieces, spare, hashing, writing, bytes }
    }

    /// Waits until all is written: its digest.
    pub(super) fn finish(self) -> io::Result<Digest> {
        drop(self.pieces);
        let hashed = joined(self.hashing)?;
        joined(self.writing)??;
        Ok(hashed.finish())
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

/// Ends early where nothing more is written.
fn hash(mut hasher: Hasher, coming: &Receiver<Piece>, hashed: &SyncSender<Piece>) -> Hasher {
    for (piece, filled) in coming {
        hasher.update(piece.get(..filled).unwrap_or_default());
        if hashed.send((piece, filled)).is_err() {
            break;
        }
    }
    hasher
}

fn write(file: &File, mut at: u64, going: &Receiver<Piece>, used: &Sender<Vec<u8>>) -> io::Result<()> {
    let mut behind = Behind::writer();
    for (piece, filled) in going {
        let bytes = piece.get(..filled).unwrap_or_default();
        behind.pass(file, at, bytes.len(), || { file }.write_all(bytes))?;
        at += filled as u64;
        // Nobody wants the buffer any more when the last one is here.
        let _ = used.send(piece);
    }
    Ok(())
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> io::Result<T> {
    thread.join().map_err(|_| io::Error::other("a thread ended in the middle"))
}
