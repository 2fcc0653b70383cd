//! Putting files into the store.
//!
//! The caller's thread reads each file and computes its SHA-256, unless it comes from another version; a second thread cuts,
//! names, seals and writes, and a third makes full packs durable. Between the first two lies a queue of [`QUEUE_PIECES`]
//! buffers, so memory stays the same however large a file is. The first error ends the writer for good: after a failed fsync
//! nobody knows what is on the disk, and nothing was committed anyway.

use std::{
    collections::{BTreeSet, HashSet},
    io::{self, Read},
    mem,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
};

use ringfence_schema::{
    Digest, Tree,
    digest::Hasher,
    finding::printable,
    tree::{FILES_MAX, TreeEntry, TreeError, is_safe_path},
};
use ringfence_trust::{
    entropy::Entropy,
    ident::chunk_id,
    keys::{KeyId, Namespace, WrappedKey},
};

use crate::{
    cut::{Cuts, Cutter},
    disk::temporary_name,
    error::{CutError, Signer, StoreError},
    group::{Group, Kind},
    index::PackTable,
    manifest::{Draft, FileChunks, ManifestId},
    pack::PackWriter,
    publish::Publisher,
    read::FileReader,
    store::Lease,
};

/// Size and digest of a file that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileRecord {
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the content.
    pub sha256: Digest,
}

/// What a version cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PutStats {
    /// Bytes of all files.
    pub bytes: u64,
    /// Chunks in all files, each occurrence counted.
    pub chunks: u64,
    /// Chunks that were not in the namespace before.
    pub new_chunks: u64,
    /// Bytes of those.
    pub new_bytes: u64,
    /// Bytes of the files that were written: packs, index, manifest.
    pub stored_bytes: u64,
}

/// A version in the making. Dropped without [`Writer::finish`], it leaves garbage for the sweep.
pub struct Writer {
    group: Arc<Group>,
    queue: SyncSender<Message>,
    /// Buffers that come back from the other thread.
    spare: Receiver<Vec<u8>>,
    /// Taken when it was waited for.
    packer: Option<JoinHandle<Result<Option<Packed>, StoreError>>>,
    paths: HashSet<String>,
    /// A file that comes in pieces.
    part: Option<Part>,
    parent: Option<ManifestId>,
    lease: Lease,
    stopped: bool,
}

/// A file of which some has come.
struct Part {
    path: String,
    hasher: Hasher,
    begin: Option<Cutter>,
    buffer: Vec<u8>,
    filled: usize,
}

/// A version that is on disk and not yet committed.
///
/// The caller stores [`Sealed::keys`] and what names [`Sealed::manifest`] in one transaction, then calls
/// [`crate::Store::adopt`]. Until it is adopted or dropped, no sweep can start.
pub struct Sealed {
    /// The manifest's name.
    pub manifest: ManifestId,
    /// The artifact.
    pub tree: Tree,
    /// The wrapped keys of the new packs: rows for the key ledger.
    pub keys: Vec<WrappedKey>,
    /// Packs committed earlier that this version shares chunks with: their keys must still be in the ledger in the
    /// transaction that commits it.
    pub relies_on: BTreeSet<KeyId>,
    /// What it cost.
    pub stats: PutStats,
    namespace: Namespace,
    tables: Vec<PackTable>,
    lease: Lease,
}

impl Sealed {
    /// The namespace that it was written to.
    pub fn namespace(&self) -> Namespace {
        self.namespace
    }

    pub(crate) fn into_parts(self) -> (Namespace, Vec<WrappedKey>, Vec<PackTable>, Lease) {
        (self.namespace, self.keys, self.tables, self.lease)
    }
}

impl Writer {
    pub(crate) fn start(group: Arc<Group>, entropy: Box<dyn Entropy + Send>, lease: Lease) -> Result<Self, StoreError> {
        let (queue, pieces) = sync_channel(QUEUE_PIECES);
        let (used, spare) = channel();
        let packer = Packer::new(group.clone(), entropy);
        let packer = thread::Builder::new()
            .name("store-packer".to_owned())
            .spawn(move || packer.run(&pieces, &used))
            .map_err(StoreError::Thread)?;
        let (packer, paths) = (Some(packer), HashSet::new());
        Ok(Self { group, queue, spare, packer, paths, part: None, parent: None, lease, stopped: false })
    }

    /// Names the version that this one was made from.
    pub fn parent(&mut self, parent: ManifestId) {
        self.parent = Some(parent);
    }

    /// Reads `content` to its end and stores it as `path`. After an error the writer refuses everything.
    ///
    /// # Errors
    /// [`StoreError::Tree`] for an unsafe or repeated path, [`StoreError::Cut`] for offsets that do not fit,
    /// [`StoreError::Input`] if `content` cannot be read, and whatever ended the writing thread.
    pub fn file(&mut self, path: &str, content: &mut dyn Read, cuts: Cuts) -> Result<FileRecord, StoreError> {
        self.whole(|writer| {
            if writer.part.is_some() {
                return Err(StoreError::WriterStopped);
            }
            writer.put(path, content, cuts)
        })
    }

    /// Stores a file of another version, whole and under its own path. After an error the writer refuses everything.
    ///
    /// Its SHA-256 is not computed once more: each chunk is checked against its id on the way, and the manifest lists ids and
    /// SHA-256 under one signature, which is the caller's to check.
    ///
    /// # Errors
    /// As [`Writer::file`], and [`StoreError::Damaged`] for what is not what the manifest says.
    pub fn copy(&mut self, from: FileReader<'_>, cuts: Cuts) -> Result<FileRecord, StoreError> {
        self.whole(|writer| {
            if writer.part.is_some() {
                return Err(StoreError::WriterStopped);
            }
            writer.put_again(from, cuts)
        })
    }

    /// Begins a file whose content comes in pieces, with [`Writer::append`] and [`Writer::end`]; it is cut every
    /// [`crate::ALIGNED_CHUNK_BYTES`]. After an error the writer refuses everything.
    ///
    /// # Errors
    /// [`StoreError::Tree`] for an unsafe or repeated path, [`StoreError::WriterStopped`] where another one is open.
    pub fn begin(&mut self, path: &str) -> Result<(), StoreError> {
        self.whole(|writer| {
            if writer.part.is_some() {
                return Err(StoreError::WriterStopped);
            }
            writer.claim(path)?;
            let cut = |source| StoreError::Cut { path: path.to_owned(), source };
            // Whatever comes from a network waits for a gate, and is cut by content when it is sealed again behind it.
            let begin = Some(Cutter::new(Cuts::At(Vec::new())).map_err(cut)?);
            let buffer = writer.buffer();
            writer.part = Some(Part { path: path.to_owned(), hasher: Hasher::new(), begin, buffer, filled: 0 });
            Ok(())
        })
    }

    /// The next bytes of the file that was begun. After an error the writer refuses everything.
    ///
    /// # Errors
    /// [`StoreError::WriterStopped`] where none is open, and whatever ended the writing thread.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.whole(|writer| {
            let mut part = writer.part.take().ok_or(StoreError::WriterStopped)?;
            part.hasher.update(bytes);
            let mut rest = bytes;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(part.buffer.len() - part.filled));
                part.buffer[part.filled..part.filled + now.len()].copy_from_slice(now);
                part.filled += now.len();
                rest = later;
                if part.filled == part.buffer.len() {
                    let buffer = mem::replace(&mut part.buffer, writer.buffer());
                    let filled = mem::take(&mut part.filled);
                    writer.send(Message::Piece(Piece { begin: part.begin.take(), buffer, filled, end: None }))?;
                }
            }
            writer.part = Some(part);
            Ok(())
        })
    }

    /// Ends the file that was begun. After an error the writer refuses everything.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub fn end(&mut self) -> Result<FileRecord, StoreError> {
        self.whole(|writer| {
            let Part { path, hasher, begin, buffer, filled } = writer.part.take().ok_or(StoreError::WriterStopped)?;
            let size = hasher.len();
            let sha256 = hasher.finish();
            let end = Some(TreeEntry { path, size, sha256 });
            writer.send(Message::Piece(Piece { begin, buffer, filled, end }))?;
            Ok(FileRecord { size, sha256 })
        })
    }

    /// Gives the version up and removes what was written of it; what cannot be removed is left for the sweep.
    pub fn discard(mut self) {
        // A thread that has ended already has nothing more to remove than the sweep.
        if self.queue.send(Message::Discard).is_ok() {
            let _ = self.join_packer();
        }
    }

    /// Does something after which, if it failed, nothing more is done.
    fn whole<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.stopped {
            return Err(StoreError::WriterStopped);
        }
        self.stopped = true;
        let done = act(self)?;
        self.stopped = false;
        Ok(done)
    }

    fn buffer(&self) -> Vec<u8> {
        let mut buffer = self.spare.try_recv().unwrap_or_default();
        buffer.resize(PIECE_BYTES, 0);
        buffer
    }

    fn claim(&mut self, path: &str) -> Result<(), StoreError> {
        if !is_safe_path(path) {
            return Err(TreeError::UnsafePath { path: printable(path, 120) }.into());
        }
        if self.paths.len() == FILES_MAX {
            return Err(TreeError::TooManyFiles { files: FILES_MAX + 1 }.into());
        }
        if !self.paths.insert(path.to_owned()) {
            return Err(TreeError::DuplicatePath { path: path.to_owned() }.into());
        }
        Ok(())
    }

    fn put(&mut self, path: &str, content: &mut dyn Read, cuts: Cuts) -> Result<FileRecord, StoreError> {
        self.claim(path)?;
        let cut = |source| StoreError::Cut { path: path.to_owned(), source };
        let last_offset = cuts.last_offset();
        let mut begin = Some(Cutter::new(cuts).map_err(cut)?);
        let mut hasher = Hasher::new();
        loop {
            let mut buffer = self.buffer();
            let (filled, ended) =
                fill(content, &mut buffer).map_err(|source| StoreError::Input { path: path.to_owned(), source })?;
            hasher.update(buffer.get(..filled).unwrap_or_default());
            if !ended {
                self.send(Message::Piece(Piece { begin: begin.take(), buffer, filled, end: None }))?;
                continue;
            }
            let size = hasher.len();
            if last_offset > size {
                return Err(cut(CutError::OutOfBounds { offset: last_offset, size }));
            }
            let sha256 = hasher.finish();
            let end = Some(TreeEntry { path: path.to_owned(), size, sha256 });
            self.send(Message::Piece(Piece { begin: begin.take(), buffer, filled, end }))?;
            return Ok(FileRecord { size, sha256 });
        }
    }

    fn put_again(&mut self, mut from: FileReader<'_>, cuts: Cuts) -> Result<FileRecord, StoreError> {
        let entry = from.entry().clone();
        let (path, size, sha256) = (entry.path.clone(), entry.size, entry.sha256);
        self.claim(&path)?;
        let cut = |source| StoreError::Cut { path, source };
        let last_offset = cuts.last_offset();
        if last_offset > size {
            return Err(cut(CutError::OutOfBounds { offset: last_offset, size }));
        }
        let mut begin = Some(Cutter::new(cuts).map_err(cut)?);
        from.restart();
        // From its start on, whatever is taken begins with its chunk.
        while let Some((buffer, _)) = from.take_chunk(self.spare.try_recv().unwrap_or_default())? {
            let filled = buffer.len();
            self.send(Message::Piece(Piece { begin: begin.take(), buffer, filled, end: None }))?;
        }
        self.send(Message::Piece(Piece { begin, buffer: Vec::new(), filled: 0, end: Some(entry) }))?;
        Ok(FileRecord { size, sha256 })
    }

    /// Ends the version: the last pack, the index, then the manifest, each durable before the next. `sign` gets
    /// [`crate::Manifest::statement`].
    pub fn finish(mut self, sign: &Signer<'_>) -> Result<Sealed, StoreError> {
        if mem::replace(&mut self.stopped, true) || self.part.is_some() {
            return Err(StoreError::WriterStopped);
        }
        self.send(Message::Finish)?;
        let packed = self.join_packer()?.ok_or(StoreError::WriterStopped)?;
        let Packed { draft, tables, keys, relies_on, mut stats, mut entropy } = packed;
        let Self { group, parent, lease, .. } = self;
        stats.stored_bytes += group.write_index(&mut *entropy, &tables)?;
        let id = ManifestId::random(&mut *entropy);
        let (manifest, content) = draft.finish(id, group.namespace, parent, sign)?;
        stats.stored_bytes += group.write_manifest(&mut *entropy, id, &content)?;
        let (namespace, tree) = (group.namespace, manifest.into_tree());
        Ok(Sealed { manifest: id, tree, keys, relies_on, stats, namespace, tables, lease })
    }

    /// Hands a message over; if the other thread has ended, returns its error.
    fn send(&mut self, message: Message) -> Result<(), StoreError> {
        if self.queue.send(message).is_ok() {
            return Ok(());
        }
        // The queue is closed because the thread has ended, so this does not wait.
        self.join_packer()?;
        Err(StoreError::WriterStopped)
    }

    fn join_packer(&mut self) -> Result<Option<Packed>, StoreError> {
        let packer = self.packer.take().ok_or(StoreError::WriterStopped)?;
        packer.join().unwrap_or(Err(StoreError::WriterStopped))
    }
}

/// Reads until `buffer` is full or the content ends: how many bytes that were, and whether it ended.
fn fill(content: &mut dyn Read, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
    let mut filled = 0;
    while filled < buffer.len() {
        match content.read(&mut buffer[filled..]) {
            Ok(0) => return Ok((filled, true)),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((filled, false))
}

enum Message {
    Piece(Piece),
    Finish,
    Discard,
}

/// Bytes of one file, in order.
struct Piece {
    /// Present in a file's first piece.
    begin: Option<Cutter>,
    buffer: Vec<u8>,
    filled: usize,
    /// Present in a file's last piece.
    end: Option<TreeEntry>,
}

/// What the second thread leaves.
struct Packed {
    draft: Draft,
    tables: Vec<PackTable>,
    keys: Vec<WrappedKey>,
    relies_on: BTreeSet<KeyId>,
    stats: PutStats,
    entropy: Box<dyn Entropy + Send>,
}

/// The second thread: cuts, names, seals, writes.
struct Packer {
    group: Arc<Group>,
    publisher: Publisher,
    pack: Option<PackWriter>,
    cutter: Option<Cutter>,
    file: FileChunks,
    /// The beginning of a chunk whose end is not there yet.
    pending: Vec<u8>,
    packed: Packed,
}

impl Packer {
    fn new(group: Arc<Group>, entropy: Box<dyn Entropy + Send>) -> Self {
        let packed = Packed {
            draft: Draft::default(),
            tables: Vec::new(),
            keys: Vec::new(),
            relies_on: BTreeSet::new(),
            stats: PutStats::default(),
            entropy,
        };
        let publisher = Publisher::new(group.clone());
        Self { group, publisher, pack: None, cutter: None, file: FileChunks::default(), pending: Vec::new(), packed }
    }

    /// `None` if the writer was dropped or gave the version up.
    fn run(mut self, pieces: &Receiver<Message>, used: &Sender<Vec<u8>>) -> Result<Option<Packed>, StoreError> {
        while let Ok(message) = pieces.recv() {
            match message {
                Message::Finish => {
                    for (table, bytes) in self.publisher.finish(self.pack)? {
                        self.packed.tables.push(table);
                        self.packed.stats.stored_bytes += bytes;
                    }
                    return Ok(Some(self.packed));
                }
                Message::Discard => return self.remove().map(|()| None),
                Message::Piece(piece) => {
                    if let Some(cutter) = piece.begin {
                        self.cutter = Some(cutter);
                    }
                    self.cut(piece.buffer.get(..piece.filled).unwrap_or_default())?;
                    if let Some(entry) = piece.end {
                        let rest = mem::take(&mut self.pending);
                        if !rest.is_empty() {
                            self.chunk(&rest)?;
                        }
                        self.packed.draft.file(entry, mem::take(&mut self.file));
                    }
                    // The writer may be gone already; then nobody wants the buffer.
                    let _ = used.send(piece.buffer);
                }
            }
        }
        Ok(None)
    }

    /// Removes the packs of a version that was given up: nobody has their keys.
    fn remove(self) -> Result<(), StoreError> {
        let published = self.publisher.finish(None)?;
        let mut names: Vec<String> = published.iter().map(|(table, _)| table.pack.to_string()).collect();
        names.extend(self.pack.as_ref().map(|pack| temporary_name(&pack.id().to_string())));
        drop(self.pack);
        self.group.remove(Kind::Pack, &names)
    }

    fn cut(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let cut = self.cutter.as_mut().and_then(|cutter| cutter.take(rest, &self.group.gear));
            let Some((chunk, after)) = cut.and_then(|taken| rest.split_at_checked(taken)) else {
                self.pending.extend_from_slice(rest);
                break;
            };
            rest = after;
            if self.pending.is_empty() {
                self.chunk(chunk)?;
            } else {
                let mut whole = mem::take(&mut self.pending);
                whole.extend_from_slice(chunk);
                self.chunk(&whole)?;
                whole.clear();
                self.pending = whole;
            }
        }
        Ok(())
    }

    fn chunk(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let (id, values) = chunk_id(&self.group.keys.chunk_id, bytes);
        self.packed.stats.chunks += 1;
        self.packed.stats.bytes += bytes.len() as u64;
        if let Some(place) = self.group.place(&id) {
            self.packed.relies_on.insert(place.pack);
        } else if !self.packed.draft.knows(&id) {
            self.packed.stats.new_chunks += 1;
            self.packed.stats.new_bytes += bytes.len() as u64;
            self.pack_with_room(bytes.len())?.add(id, bytes)?;
        }
        // INVARIANT: the cutter makes no chunk longer than CHUNK_BYTES_MAX.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.packed.draft.chunk(&mut self.file, id, length, values);
        Ok(())
    }

    fn pack_with_room(&mut self, length: usize) -> Result<&mut PackWriter, StoreError> {
        if let Some(full) = self.pack.take_if(|pack| !pack.fits(length)) {
            self.publisher.hand_over(full)?;
        }
        match &mut self.pack {
            Some(pack) => Ok(pack),
            none => {
                let (pack, wrapped) = self.group.new_pack(&mut *self.packed.entropy)?;
                self.packed.keys.push(wrapped);
                Ok(none.insert(pack))
            }
        }
    }
}

/// Bytes that go from thread to thread at once.
const PIECE_BYTES: usize = 1 << 20;
/// Most pieces that wait.
const QUEUE_PIECES: usize = 4;
