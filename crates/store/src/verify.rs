//! Proving that what is stored is what was put.
//!
//! Two kinds of work, shared out over all cores: each live pack is opened to its last byte and its chunks' ids are
//! recomputed; each file of each given manifest is read as a user would read it and its SHA-256 compared. Damage is
//! collected, not returned at the first occurrence, so that one report names everything that is lost.

use std::{
    collections::HashSet,
    num::NonZero,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use ringfence_schema::digest::Hasher;
use ringfence_trust::{ident::root_of, keys::KeyId};

use crate::{
    error::{Damage, StoreError},
    group::{Group, Kind},
    manifest::{Manifest, ManifestId},
    read::FileReader,
};

/// A stored file that is not what was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedFile {
    /// The file, relative to the store's directory.
    pub file: String,
    /// What is wrong.
    pub damage: Damage,
}

/// What [`crate::Store::verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Packs opened to their last byte.
    pub packs: u64,
    /// Chunks whose id was recomputed.
    pub chunks: u64,
    /// Plain bytes in them.
    pub bytes: u64,
    /// Files whose SHA-256 was recomputed; one that several manifests share is read once.
    pub files: u64,
    /// What is damaged, in the order of file names. Empty: nothing is.
    pub damaged: Vec<DamagedFile>,
}

impl Verified {
    /// Whether nothing is damaged.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty()
    }

    fn add(&mut self, other: Self) {
        self.packs += other.packs;
        self.chunks += other.chunks;
        self.bytes += other.bytes;
        self.files += other.files;
        self.damaged.extend(other.damaged);
    }
}

enum Job<'a> {
    Index(&'a Group, String),
    Pack(&'a Group, KeyId),
    File(&'a Arc<Group>, &'a Manifest, &'a str),
}

pub(crate) fn verify(groups: &[Arc<Group>], ids: &[ManifestId]) -> Result<Verified, StoreError> {
    let mut verified = Verified::default();
    let manifests = open_manifests(groups, ids, &mut verified)?;
    let mut jobs = Vec::new();
    for group in groups {
        jobs.extend(group.names(Kind::Index)?.into_iter().map(|name| Job::Index(group, name)));
        jobs.extend(group.packs().into_iter().map(|pack| Job::Pack(group, pack)));
    }
    let mut seen = HashSet::new();
    for (group, manifest) in &manifests {
        for (entry, chunks) in manifest.files() {
            let ids: Vec<_> = (0..chunks.count()).filter_map(|at| manifest.chunk(chunks, at)).map(|c| c.id).collect();
            if seen.insert((group.namespace, entry.sha256, ids)) {
                jobs.push(Job::File(group, manifest, &entry.path));
            }
        }
    }
    verified.add(share_out(&jobs)?);
    verified.damaged.sort_by_cached_key(|damaged| (damaged.file.clone(), damaged.damage.to_string()));
    // A damaged pack is met once by itself and again through every file in it.
    verified.damaged.dedup();
    Ok(verified)
}

fn open_manifests<'a>(
    groups: &'a [Arc<Group>],
    ids: &[ManifestId],
    verified: &mut Verified,
) -> Result<Vec<(&'a Arc<Group>, Manifest)>, StoreError> {
    let mut manifests = Vec::new();
    for id in ids {
        // One that is in neither namespace is reported as missing from the last.
        let Some(group) = groups.iter().find(|group| group.has_manifest(*id)).or(groups.last()) else { continue };
        if let Some(manifest) = sound(group.manifest(*id), verified)? {
            let inconsistent = manifest.chunks().iter().find(|chunk| {
                !chunk.values.is_empty() && root_of(&group.keys.chunk_id, &chunk.values) != Some(chunk.id)
            });
            if let Some(chunk) = inconsistent {
                let file = group.shown(Kind::Manifest, &id.to_string());
                verified.damaged.push(DamagedFile { file, damage: Damage::Chunk { chunk: chunk.id } });
            }
            manifests.push((group, manifest));
        }
    }
    Ok(manifests)
}

/// Runs the jobs on all cores. The first error that is not damage ends it.
fn share_out(jobs: &[Job<'_>]) -> Result<Verified, StoreError> {
    let (next, total) = (AtomicUsize::new(0), Mutex::new(Ok(Verified::default())));
    let work = || {
        let mut own = Ok(Verified::default());
        while let (Some(job), Ok(verified)) = (jobs.get(next.fetch_add(1, Ordering::Relaxed)), &mut own) {
            if let Err(error) = job.run(verified) {
                own = Err(error);
                next.store(jobs.len(), Ordering::Relaxed);
            }
        }
        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
        match (own, total.as_mut()) {
            (Ok(own), Ok(total)) => total.add(own),
            (Err(error), Ok(_)) => *total = Err(error),
            (_, Err(_)) => {}
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(jobs.len());
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    total.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Job<'_> {
    fn run(&self, verified: &mut Verified) -> Result<(), StoreError> {
        match self {
            Self::Index(group, name) => {
                sound(group.index_segment(name), verified)?;
            }
            Self::Pack(group, id) => {
                let table = group.pack(id).and_then(|pack| pack.table(&group.mask(id)).map(|table| (pack, table)));
                let Some((pack, table)) = sound(table, verified)? else { return Ok(()) };
                verified.packs += 1;
                if !group.agrees(&table) {
                    let file = group.shown(Kind::Pack, &id.to_string());
                    verified.damaged.push(DamagedFile { file, damage: Damage::OtherTable });
                }
                for result in pack.verify(&group.keys.chunk_id, &table) {
                    if let Some(bytes) = sound(result, verified)? {
                        verified.chunks += 1;
                        verified.bytes += bytes;
                    }
                }
            }
            Self::File(group, manifest, path) => {
                let digest = sound(digest(group, manifest, path), verified)?;
                verified.files += u64::from(digest.is_some());
                if digest == Some(false) {
                    let file = group.shown(Kind::Manifest, &manifest.id().to_string());
                    verified
                        .damaged
                        .push(DamagedFile { file, damage: Damage::FileDigest { path: (*path).to_owned() } });
                }
            }
        }
        Ok(())
    }
}

/// Whether a file's content has the SHA-256 of its manifest.
fn digest(group: &Arc<Group>, manifest: &Manifest, path: &str) -> Result<bool, StoreError> {
    let mut reader = FileReader::new(group.clone(), manifest, path)?;
    let mut hasher = Hasher::new();
    loop {
        let bytes = reader.rest_of_chunk()?;
        if bytes.is_empty() {
            break;
        }
        hasher.update(bytes);
        let count = bytes.len();
        reader.skip(count);
    }
    Ok(hasher.finish() == manifest.file(path)?.0.sha256)
}

/// Moves damage into the report; `None` if there was some.
fn sound<T>(result: Result<T, StoreError>, verified: &mut Verified) -> Result<Option<T>, StoreError> {
    let (file, damage) = match result {
        Ok(value) => return Ok(Some(value)),
        Err(StoreError::Damaged { file, damage }) => (file, damage),
        Err(StoreError::ChunkMissing { path, chunk }) => (path.clone(), Damage::ChunkMissing { path, chunk }),
        Err(error) => return Err(error),
    };
    let damaged = DamagedFile { file, damage };
    verified.damaged.push(damaged);
    Ok(None)
}
