//! The store as its callers see it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use ringfence_trust::{
    entropy::Entropy,
    keys::{KeyError, KeyId, Namespace, Purpose, WrappedKey},
};

use crate::{
    disk::{Disk, DiskError, Effect, parent},
    error::{Damage, StoreError},
    group::{Group, GroupKeys, Kind},
    index::PackTable,
    manifest::{Manifest, ManifestId},
    read::{FileReader, read_range},
    shred::{self, Shred},
    sweep::{Live, Swept, sweep},
    verify::{Verified, verify},
    write::{Sealed, Writer},
};

/// The unwrapped keys of both namespaces.
#[derive(Debug)]
pub struct StoreKeys {
    /// Where a stranger's bytes wait.
    pub quarantine: GroupKeys,
    /// What a gate has let in.
    pub admitted: GroupKeys,
}

/// What opening found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// Chunks in the index.
    pub chunks: usize,
    /// Packs whose chunk tables had to be read from themselves, because no index segment listed them.
    pub rebuilt: usize,
    /// Index segments that did not open, and why.
    pub damaged_index: Vec<(String, Damage)>,
}

/// A directory of sealed files. See the crate's page for what holds.
pub struct Store {
    groups: [Arc<Group>; 2],
    rebuilt: [Vec<PackTable>; 2],
    opened: Opened,
    disk: Disk,
    lock: PathBuf,
}

impl Store {
    /// Opens the store in `dir`, whose parent must exist; an empty one is made. `packs` are the wrapped pack keys of the
    /// key ledger, of both namespaces: they say which packs are committed.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] names a pack whose index segment is lost and that cannot tell its own chunks either.
    pub fn open(dir: &Path, disk: Disk, keys: StoreKeys, packs: Vec<WrappedKey>) -> Result<Self, StoreError> {
        disk.make_dir(dir)?;
        disk.sync_dir(parent(dir))?;
        let mut by_namespace: BTreeMap<Namespace, BTreeMap<KeyId, WrappedKey>> = BTreeMap::new();
        for wrapped in packs {
            let Purpose::Pack(namespace, _) = wrapped.purpose else {
                let source = KeyError::Purpose { purpose: wrapped.purpose };
                return Err(StoreError::PackKey { pack: wrapped.id, source });
            };
            by_namespace.entry(namespace).or_default().insert(wrapped.id, wrapped);
        }
        let mut opened = Opened::default();
        let mut open = |namespace: Namespace, keys: GroupKeys| {
            if keys.namespace.namespace() != namespace {
                return Err(StoreError::NoFiles { namespace: keys.namespace.namespace() });
            }
            let packs = by_namespace.remove(&namespace).unwrap_or_default();
            let (group, state) = Group::open(dir.join(namespace.name()), disk.clone(), keys, packs)?;
            opened.chunks += group.chunk_count();
            opened.rebuilt += state.rebuilt.len();
            opened.damaged_index.extend(state.damaged);
            Ok((Arc::new(group), state.rebuilt))
        };
        let (quarantine, quarantine_rebuilt) = open(Namespace::Quarantine, keys.quarantine)?;
        let (admitted, admitted_rebuilt) = open(Namespace::Admitted, keys.admitted)?;
        disk.sync_dir(dir)?;
        Ok(Self {
            groups: [quarantine, admitted],
            rebuilt: [quarantine_rebuilt, admitted_rebuilt],
            opened,
            lock: dir.join("lock"),
            disk,
        })
    }

    /// What opening found out.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Starts a version in `namespace`. Waits while a sweep is at work.
    pub fn writer(&self, namespace: Namespace, entropy: impl Entropy + Send + 'static) -> Result<Writer, StoreError> {
        let lease = self.lock(fs::File::lock_shared)?;
        Writer::start(self.group(namespace)?.clone(), Box::new(entropy), lease)
    }

    /// Makes a version readable through this store, once the catalog's transaction with [`Sealed::keys`] is committed.
    pub fn adopt(&self, sealed: Sealed) {
        let (namespace, keys, tables, _lease) = sealed.into_parts();
        if let Ok(group) = self.group(namespace) {
            group.adopt(keys, &tables);
        }
    }

    /// Drops every trace of packs from memory, unwrapped keys included, after their rows in the key ledger were destroyed.
    pub fn forget(&self, packs: &[KeyId]) -> Result<(), StoreError> {
        self.groups.iter().try_for_each(|group| group.forget(packs))
    }

    /// The manifests on disk, committed or not, in the order of their ids.
    pub fn list(&self, namespace: Namespace) -> Result<Vec<ManifestId>, StoreError> {
        let names = self.group(namespace)?.names(Kind::Manifest)?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Opens a manifest of either namespace. Its signature is not judged here.
    pub fn manifest(&self, id: ManifestId) -> Result<Manifest, StoreError> {
        let [quarantine, admitted] = &self.groups;
        if quarantine.has_manifest(id) { quarantine.manifest(id) } else { admitted.manifest(id) }
    }

    /// A file of an artifact, as a reader that can seek.
    pub fn read<'m>(&self, manifest: &'m Manifest, path: &str) -> Result<FileReader<'m>, StoreError> {
        FileReader::new(self.group(manifest.namespace())?.clone(), manifest, path)
    }

    /// `length` bytes of a file from `offset` on. Opens only the segments of 64 KiB that the range touches.
    pub fn read_at(&self, manifest: &Manifest, path: &str, offset: u64, length: usize) -> Result<Vec<u8>, StoreError> {
        read_range(self.group(manifest.namespace())?, manifest, path, offset, length)
    }

    /// Opens every byte of every committed pack, every index segment and the given manifests, and recomputes each
    /// file's SHA-256. Uses all cores. What is damaged is listed in the result; an error means that it could not finish.
    pub fn verify(&self, manifests: &[ManifestId]) -> Result<Verified, StoreError> {
        verify(&self.groups, manifests)
    }

    /// Removes what nothing committed needs: unpublished files, packs without a key in the ledger, manifests that are not
    /// live, index segments that list no live pack. `live` is called under a lock that excludes writers of all
    /// processes, so that it reads a catalog in which every finished version is either committed or given up.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while a writer is at work or a [`Sealed`] is not adopted or dropped yet.
    pub fn sweep(&self, live: impl FnOnce() -> Result<Live, crate::error::Outside>) -> Result<Swept, StoreError> {
        let _lease = self.lock_for_sweep()?;
        let live = live().map_err(StoreError::LiveUnknown)?;
        sweep(&self.groups, &live)
    }

    /// Plans to make unreadable whatever no manifest of `live` needs, and seals again what shares a pack with it. `live` is
    /// called under a lock that excludes sweeps, not writers: see [`Shred::doomed`] and [`Self::takes_from`].
    ///
    /// # Errors
    /// [`StoreError::Busy`] where the ledger holds other packs than this store was told of; [`StoreError::Damaged`] for
    /// what is needed and cannot be read: nobody knows then what else is.
    pub fn shred(
        &self,
        mut entropy: impl Entropy,
        live: impl FnOnce() -> Result<Live, crate::error::Outside>,
    ) -> Result<Shred, StoreError> {
        let lease = self.lock(fs::File::lock_shared)?;
        let live = live().map_err(StoreError::LiveUnknown)?;
        shred::shred(&self.groups, &mut entropy, &live, lease)
    }

    /// Whether `manifest`, which was committed after `shred` was planned, needs something that is to go with it.
    pub fn takes_from(&self, shred: &Shred, manifest: ManifestId) -> Result<bool, StoreError> {
        let manifest = self.manifest(manifest)?;
        Ok(shred.takes(self.group(manifest.namespace())?, &manifest))
    }

    /// Follows a committed [`Shred`]: what was destroyed is forgotten, unwrapped keys included, and its files are removed
    /// with those of `manifests`, which nothing names any more.
    pub fn shredded(&self, shred: Shred, manifests: &[ManifestId]) -> Result<(), StoreError> {
        shred::shredded(&self.groups, shred, manifests)
    }

    /// Writes index segments for the packs that had none when the store was opened, and removes those that did not open.
    pub fn reindex(&mut self, entropy: &mut dyn Entropy) -> Result<(), StoreError> {
        let _lease = self.lock_for_sweep()?;
        for (group, rebuilt) in self.groups.iter().zip(&mut self.rebuilt) {
            group.write_index(entropy, rebuilt)?;
            rebuilt.clear();
            let mut damaged = Vec::new();
            for name in group.names(Kind::Index)? {
                match group.index_segment(&name) {
                    Err(StoreError::Damaged { .. }) => damaged.push(name),
                    other => drop(other?),
                }
            }
            group.remove(Kind::Index, &damaged)?;
        }
        Ok(())
    }

    fn group(&self, namespace: Namespace) -> Result<&Arc<Group>, StoreError> {
        let group = self.groups.iter().find(|group| group.namespace == namespace);
        group.ok_or(StoreError::NoFiles { namespace })
    }

    fn lock(&self, how: fn(&fs::File) -> std::io::Result<()>) -> Result<Lease, StoreError> {
        let file = self.disk.lock_file(&self.lock)?;
        how(&file).map_err(|error| DiskError::new(Effect::Lock, &self.lock, error))?;
        Ok(Lease { _file: file })
    }

    fn lock_for_sweep(&self) -> Result<Lease, StoreError> {
        let file = self.disk.lock_file(&self.lock)?;
        match file.try_lock() {
            Ok(()) => Ok(Lease { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(StoreError::Busy),
            Err(fs::TryLockError::Error(error)) => Err(DiskError::new(Effect::Lock, &self.lock, error).into()),
        }
    }
}

/// Holds the store's lock until it is dropped; the operating system lets go of it when a process dies.
pub(crate) struct Lease {
    _file: fs::File,
}
