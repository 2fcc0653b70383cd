//! What can go wrong, sorted by who is at fault: the caller's input, the disk, what is stored, the keys.

use std::io;

use ringfence_schema::tree::TreeError;
use ringfence_trust::{
    ident::ChunkId,
    keys::{KeyError, KeyId, Namespace},
};

use crate::{cut::Cuts, disk::DiskError, manifest::ManifestId, wire::Malformed};

/// An error from outside this crate: the closure that signs, or the one that reads the catalog.
pub type Outside = Box<dyn std::error::Error + Send + Sync>;

/// Signs a manifest's statement: returns a signature or an envelope of at most 64 KiB.
pub type Signer<'a> = dyn Fn(&[u8]) -> Result<Vec<u8>, Outside> + 'a;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The offsets given for a file do not fit it.
    #[error("cannot cut `{path}`: {source}")]
    Cut {
        /// The file inside the artifact.
        path: String,
        /// What is wrong with them.
        source: CutError,
    },
    /// The paths do not make a tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The bytes to be stored could not be read.
    #[error("cannot read the content of `{path}`: {source}")]
    Input {
        /// The file inside the artifact.
        path: String,
        /// What its reader said.
        source: io::Error,
    },
    /// The artifact needs a larger manifest than is read back.
    #[error("manifest of {bytes} bytes, limit is {limit}")]
    ManifestTooLarge {
        /// How large it would be.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The namespace keeps no files.
    #[error("namespace `{namespace}` keeps no files")]
    NoFiles {
        /// The namespace.
        namespace: Namespace,
    },
    /// The artifact has no such file.
    #[error("manifest `{manifest}` has no file `{path}`")]
    UnknownFile {
        /// The manifest.
        manifest: ManifestId,
        /// The path asked for.
        path: String,
    },
    /// A range beyond the end of a file.
    #[error("bytes {offset} and {length} more are not inside `{path}` of {size} bytes")]
    OutOfRange {
        /// The file inside the artifact.
        path: String,
        /// First byte asked for.
        offset: u64,
        /// How many.
        length: usize,
        /// The file's size.
        size: u64,
    },
    /// An earlier error ended this writer; nothing of it was committed.
    #[error("the writer was stopped by an earlier error")]
    WriterStopped,
    /// The closure that signs refused.
    #[error("the manifest was not signed: {0}")]
    NotSigned(#[source] Outside),
    /// The closure that lists what is live failed.
    #[error("cannot tell what is live: {0}")]
    LiveUnknown(#[source] Outside),
    /// A writer is at work, in this process or another.
    #[error("the store is being written to")]
    Busy,
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A stored file is not what was stored.
    #[error("`{file}` is damaged: {damage}")]
    Damaged {
        /// The file, relative to the store's directory.
        file: String,
        /// What is wrong.
        damage: Damage,
    },
    /// A chunk of a file is in no pack that can be opened.
    #[error("chunk `{chunk}` of `{path}` is in no pack of this store")]
    ChunkMissing {
        /// The file inside the artifact.
        path: String,
        /// The chunk.
        chunk: ChunkId,
    },
    /// A key of the ledger does not open.
    #[error("the key of pack `{pack}`: {source}")]
    PackKey {
        /// The pack.
        pack: KeyId,
        /// Why.
        source: KeyError,
    },
    /// The cipher refused to work; not caused by input.
    #[error("the cipher failed on `{file}`")]
    Cipher {
        /// The file, relative to the store's directory.
        file: String,
    },
    /// The system gave no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// Why offsets do not fit a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CutError {
    /// More than [`Cuts::OFFSETS_MAX`].
    #[error("{offsets} offsets, limit is {limit}", limit = Cuts::OFFSETS_MAX)]
    TooMany {
        /// How many.
        offsets: usize,
    },
    /// An offset that is not larger than the one before.
    #[error("offset {after} follows {before}")]
    NotRising {
        /// The one before.
        before: u64,
        /// The offset.
        after: u64,
    },
    /// An offset beyond the end.
    #[error("offset {offset} is beyond the end at {size}")]
    OutOfBounds {
        /// The offset.
        offset: u64,
        /// The file's size in bytes.
        size: u64,
    },
}

/// What is wrong with a stored file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// It is not there.
    #[error("it is missing")]
    Missing,
    /// Shorter or longer than it was written.
    #[error("its size is {bytes} bytes, which no such file has")]
    Size {
        /// Its size now.
        bytes: u64,
    },
    /// It does not begin as such a file does.
    #[error("it does not begin with `{expected}`")]
    Header {
        /// What it should begin with.
        expected: &'static str,
    },
    /// It does not authenticate as a whole, or was sealed under another name or key.
    #[error("it failed authentication")]
    Seal,
    /// The list of its chunks does not authenticate.
    #[error("its chunk table failed authentication")]
    Table,
    /// A segment of a chunk does not authenticate, or is not the bytes that the chunk's id or manifest names.
    #[error("segment {segment} of chunk `{chunk}` failed authentication")]
    Segment {
        /// The chunk.
        chunk: ChunkId,
        /// The segment, counted from 0 inside the chunk.
        segment: u32,
    },
    /// A chunk's segments authenticate, but together they are not the chunk of this id.
    #[error("chunk `{chunk}` has other content than its id says")]
    Chunk {
        /// The chunk.
        chunk: ChunkId,
    },
    /// It opened, and its content does not parse.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A pack lists other chunks than the index remembers.
    #[error("its chunk table is not the one in the index")]
    OtherTable,
    /// A file of the artifact does not have the SHA-256 that its manifest says.
    #[error("`{path}` does not have the SHA-256 that the manifest says")]
    FileDigest {
        /// The file inside the artifact.
        path: String,
    },
    /// A file of the artifact needs a chunk that no readable pack has.
    #[error("chunk `{chunk}` of `{path}` is in no pack of this store")]
    ChunkMissing {
        /// The file inside the artifact.
        path: String,
        /// The chunk.
        chunk: ChunkId,
    },
}
