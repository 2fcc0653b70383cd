//! A vault around a store: keys that are the same after every start, and a ledger that plays the catalog.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use ringfence_schema::Digest;
use ringfence_store::{
    Cuts, GroupKeys, Manifest, ManifestId, Sealed, Store, StoreError, StoreKeys,
    disk::{Disk, Recording},
};
use ringfence_trust::{
    VaultId,
    entropy::SeededEntropy,
    keys::{ChunkIdKey, CutKey, ManifestKey, Namespace, NamespaceKey, WrappedKey},
};
use tempfile::TempDir;

/// A file of an artifact: path, content, cuts.
pub(crate) type File = (String, Vec<u8>, Cuts);

pub(crate) fn file(path: &str, content: impl Into<Vec<u8>>) -> File {
    (path.to_owned(), content.into(), Cuts::Content)
}

/// What the catalog knows after a commit.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) keys: Vec<WrappedKey>,
    pub(crate) versions: Vec<(ManifestId, Vec<File>)>,
}

impl Ledger {
    pub(crate) fn manifests(&self) -> Vec<ManifestId> {
        self.versions.iter().map(|(id, _)| *id).collect()
    }

    pub(crate) fn live(&self) -> ringfence_store::Live {
        ringfence_store::Live { manifests: self.manifests(), packs: self.keys.iter().map(|key| key.id).collect() }
    }

    /// Reads every file of every version and compares it with what was put.
    pub(crate) fn check(&self, store: &Store) -> Result<(), String> {
        for (id, files) in &self.versions {
            let manifest = store.manifest(*id).map_err(|error| error.to_string())?;
            for (path, content, _) in files {
                let read = read(store, &manifest, path).map_err(|error| error.to_string())?;
                if &read != content {
                    return Err(format!("wrong bytes in `{path}`"));
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn read(store: &Store, manifest: &Manifest, path: &str) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    store.read(manifest, path).map_err(std::io::Error::other)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(crate) struct Vault {
    pub(crate) root: TempDir,
    pub(crate) disk: Disk,
    pub(crate) ledger: Ledger,
    puts: u64,
}

impl Vault {
    /// One that waits for the disk, as outside tests.
    pub(crate) fn durable() -> Self {
        Self::on(Disk::real(), tempfile::tempdir().unwrap())
    }

    /// One that waits for no disk.
    pub(crate) fn new() -> Self {
        let root = scratch();
        Self::on(quick(root.path()), root)
    }

    pub(crate) fn on(disk: Disk, root: TempDir) -> Self {
        Self { root, disk, ledger: Ledger::default(), puts: 0 }
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.root.path().join("store")
    }

    pub(crate) fn open(&self) -> Store {
        open(self.root.path(), self.disk.clone(), &self.ledger).unwrap()
    }

    /// Puts a version without committing it.
    pub(crate) fn put(&mut self, store: &Store, namespace: Namespace, files: &[File]) -> Result<Sealed, StoreError> {
        self.puts += 1;
        let mut writer = store.writer(namespace, SeededEntropy::new(self.puts))?;
        for (path, content, cuts) in files {
            let record = writer.file(path, &mut content.as_slice(), cuts.clone())?;
            assert_eq!((record.size, record.sha256), (content.len() as u64, Digest::of(content)));
        }
        writer.finish(&|statement| Ok(Digest::of(statement).as_bytes().to_vec()))
    }

    pub(crate) fn commit(&mut self, store: &Store, sealed: Sealed, files: &[File]) {
        self.ledger.keys.extend(sealed.keys.iter().cloned());
        self.ledger.versions.push((sealed.manifest, files.to_vec()));
        store.adopt(sealed);
    }

    pub(crate) fn add(&mut self, store: &Store, namespace: Namespace, files: &[File]) -> ManifestId {
        let sealed = self.put(store, namespace, files).unwrap();
        let id = sealed.manifest;
        self.commit(store, sealed, files);
        id
    }

    /// Every file below the store's directory, sorted.
    pub(crate) fn stored(&self) -> Vec<PathBuf> {
        let (mut files, mut dirs) = (vec![], vec![self.dir()]);
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { dirs.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files
    }

    /// Those of one kind of one namespace.
    pub(crate) fn stored_in(&self, dir: &str) -> Vec<PathBuf> {
        let dir = self.dir().join(dir);
        self.stored().into_iter().filter(|path| path.starts_with(&dir)).collect()
    }
}

pub(crate) fn open(root: &Path, disk: Disk, ledger: &Ledger) -> Result<Store, StoreError> {
    Store::open(&root.join("store"), disk, keys(), ledger.keys.clone())
}

/// A directory that vanishes; in memory where the system has a place for that, since a crash test makes thousands.
pub(crate) fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// A file layer that waits for no disk.
pub(crate) fn quick(root: &Path) -> Disk {
    Disk::recorded(&Recording::new(root))
}

/// The same keys each time.
pub(crate) fn keys() -> StoreKeys {
    let mut entropy = SeededEntropy::new(u64::MAX);
    let vault = VaultId::random(&mut entropy);
    let mut group = |namespace| GroupKeys {
        namespace: NamespaceKey::generate(&mut entropy, &vault, namespace),
        chunk_id: ChunkIdKey::generate(&mut entropy),
        cut: CutKey::generate(&mut entropy),
        manifest: ManifestKey::generate(&mut entropy),
    };
    StoreKeys { quarantine: group(Namespace::Quarantine), admitted: group(Namespace::Admitted) }
}

/// Bytes that nothing else repeats.
pub(crate) fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    use ringfence_trust::entropy::Entropy as _;
    let mut noise = vec![0; bytes];
    SeededEntropy::new(seed ^ 0x5eed).fill(&mut noise);
    noise
}
