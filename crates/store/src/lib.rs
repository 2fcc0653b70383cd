//! Bytes: sealed, deduplicated, versioned, on a local disk.
//!
//! * [`Store`]: opened with keys and with the wrapped keys of all committed packs; [`Store::writer`], [`Store::read`],
//!   [`Store::read_at`], [`Store::verify`], [`Store::sweep`], [`Store::shred`].
//! * [`Writer`]: files go in, in one pass each; [`Writer::finish`] yields [`Sealed`].
//! * [`Manifest`]: one version of an artifact; [`ManifestId`] names it.
//! * [`Cuts`]: where a file is cut into chunks.
//! * [`disk::Disk`]: the only way to the file system, and its recording for crash tests.
//!
//! `docs/format-store.md` specifies every file. What must stay true:
//!
//! * A version is committed by its caller, in one transaction of the catalog that stores [`Sealed::keys`] beside whatever
//!   names [`Sealed::manifest`]. Packs, index and manifest are durable before, in this order. What no committed key opens
//!   is garbage, never corruption.
//! * Chunks are shared within a namespace and never across: what one namespace holds cannot be asked through another.
//! * Damage anywhere is an error that names the file, never a wrong byte: each segment is authenticated by its pack's key
//!   *and* checked against the keyed hash that the manifest names.
//! * A published file never changes.
//!
//! Memory: a writer holds one pack's table, a few MiB of buffers, and the manifest in the making (32 bytes per 64 KiB); a
//! reader holds one chunk and its manifest; the store holds its whole index, about 100 bytes per chunk.
//! Absent on purpose: compression, references and versions (the catalog's), judging signatures (the engine's), and
//! compaction to save room: a pack goes when nothing in it is live, or when something in it is to be destroyed.

#![forbid(unsafe_code)]

mod cut;
pub mod disk;
mod error;
mod group;
mod index;
mod manifest;
mod pack;
mod publish;
mod read;
mod shred;
mod store;
mod sweep;
mod verify;
mod wire;
mod write;

pub use cut::{ALIGNED_CHUNK_BYTES, CONTENT_CHUNK_BYTES_MAX, CONTENT_CHUNK_BYTES_MIN, CONTENT_CHUNK_BYTES_USUAL, Cuts};
pub use error::{CutError, Damage, Outside, Signer, StoreError};
pub use group::GroupKeys;
pub use index::check_index_segment;
pub use manifest::{Manifest, ManifestId, NotAManifestId};
pub use pack::PACK_BYTES_MAX;
pub use read::FileReader;
pub use shred::Shred;
pub use store::{Opened, Store, StoreKeys};
pub use sweep::{Live, Swept};
pub use verify::{DamagedFile, Verified};
pub use wire::Malformed;
pub use write::{FileRecord, PutStats, Sealed, Writer};
