//! One namespace on disk: its directories, keys, index and open packs.
//!
//! ```text
//! STORE/lock
//! STORE/NAMESPACE/packs/ID       sealed chunks; ID is the id of the pack's key
//! STORE/NAMESPACE/index/ID       sealed copies of packs' tables
//! STORE/NAMESPACE/manifests/ID   sealed manifests
//! ```
//! A pack is live if its wrapped key was given: which keys those are is decided in the catalog's transaction, not here.
//! What the index segments do not cover, or no longer say, is read from the packs' own tables.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    io::Read as _,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use ringfence_trust::{
    entropy::Entropy,
    ident::ChunkId,
    keys::{
        ChunkIdKey, CutKey, FreshPackKey, KeyError, KeyId, ManifestKey, Namespace, NamespaceKey, PackKey, Purpose,
        ShredGroup, WrappedKey,
    },
    seal::{BLOB_OVERHEAD_BYTES, OpenError, PackContext, open_blob, seal_blob},
};

use crate::{
    cut::GearTable,
    disk::{Disk, DiskError, Effect, is_temporary},
    error::{Damage, StoreError},
    index::{Index, PackTable, Place, decode_segment, encode_segment},
    manifest::{BODY_BYTES_MAX, Manifest, ManifestId, SIGNATURE_BYTES_MAX},
    pack::{OpenPack, PackWriter, locator_mask},
    wire::{Reader, padme},
};

/// The unwrapped keys of one namespace.
#[derive(Debug)]
pub struct GroupKeys {
    /// Wraps the keys of packs.
    pub namespace: NamespaceKey,
    /// Names chunks.
    pub chunk_id: ChunkIdKey,
    /// Decides where content is cut.
    pub cut: CutKey,
    /// Seals manifests and index segments.
    pub manifest: ManifestKey,
}

/// One of the three kinds of files, by the name of its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Pack,
    Index,
    Manifest,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Pack, Self::Index, Self::Manifest];

    const fn dir(self) -> &'static str {
        match self {
            Self::Pack => "packs",
            Self::Index => "index",
            Self::Manifest => "manifests",
        }
    }

    /// What a sealed blob of this kind is bound to.
    const fn format(self) -> &'static [u8] {
        match self {
            Self::Pack => b"ringfence.pack/1",
            Self::Index => b"ringfence.index/1",
            Self::Manifest => b"ringfence.manifest/1",
        }
    }
}

pub(crate) struct Group {
    pub(crate) namespace: Namespace,
    pub(crate) disk: Disk,
    pub(crate) keys: GroupKeys,
    pub(crate) gear: Box<GearTable>,
    dir: PathBuf,
    live: RwLock<Live>,
    open: Mutex<OpenPacks>,
}

/// What was committed, as far as this process knows.
#[derive(Default)]
struct Live {
    packs: BTreeMap<KeyId, WrappedKey>,
    index: Index,
}

/// Packs that are open, oldest first.
#[derive(Default)]
struct OpenPacks {
    packs: HashMap<KeyId, Arc<OpenPack>>,
    order: VecDeque<KeyId>,
}

/// What opening found out about index segments.
#[derive(Default)]
pub(crate) struct IndexState {
    /// Segments that do not open, and why.
    pub(crate) damaged: Vec<(String, Damage)>,
    /// Packs whose tables had to be read from themselves.
    pub(crate) rebuilt: Vec<PackTable>,
}

impl Group {
    /// Makes missing directories and loads the index for `packs`.
    pub(crate) fn open(
        dir: PathBuf,
        disk: Disk,
        keys: GroupKeys,
        packs: BTreeMap<KeyId, WrappedKey>,
    ) -> Result<(Self, IndexState), StoreError> {
        disk.make_dir(&dir)?;
        for kind in Kind::ALL {
            disk.make_dir(&dir.join(kind.dir()))?;
        }
        disk.sync_dir(&dir)?;
        let live = RwLock::new(Live { packs, index: Index::default() });
        let (namespace, gear) = (keys.namespace.namespace(), keys.cut.gear());
        let group = Self { namespace, disk, keys, gear, dir, live, open: Mutex::default() };
        let state = group.load_index()?;
        Ok((group, state))
    }

    /// Reads the index from disk and puts it in the place of the one in memory.
    fn load_index(&self) -> Result<IndexState, StoreError> {
        let (mut state, mut index) = (IndexState::default(), Index::default());
        let packs: BTreeSet<KeyId> = self.packs().into_iter().collect();
        for name in self.names(Kind::Index)? {
            match self.index_segment(&name) {
                Ok(tables) => {
                    for table in tables.iter().filter(|table| packs.contains(&table.pack)) {
                        index.insert(table);
                    }
                }
                Err(StoreError::Damaged { file, damage }) => state.damaged.push((file, damage)),
                Err(error) => return Err(error),
            }
        }
        for pack in packs {
            if !index.contains_pack(&pack) {
                let table = self.pack(&pack)?.table(&self.mask(&pack))?;
                index.insert(&table);
                state.rebuilt.push(table);
            }
        }
        self.live_mut().index = index;
        Ok(state)
    }

    /// Drops every trace of packs from memory. What they shared with others is found there from now on.
    pub(crate) fn forget(&self, packs: &[KeyId]) -> Result<(), StoreError> {
        let mut live = self.live_mut();
        let known = packs.iter().filter(|pack| live.packs.remove(*pack).is_some()).count();
        drop(live);
        let mut open = self.open_packs();
        open.packs.retain(|pack, _| !packs.contains(pack));
        open.order.retain(|pack| !packs.contains(pack));
        drop(open);
        if known > 0 {
            self.load_index()?;
        }
        Ok(())
    }

    /// The ids of all live packs, in order.
    pub(crate) fn packs(&self) -> Vec<KeyId> {
        self.live().packs.keys().copied().collect()
    }

    /// Where a chunk lies, if a live pack has it.
    pub(crate) fn place(&self, chunk: &ChunkId) -> Option<Place> {
        self.live().index.place(chunk)
    }

    /// Whether the index remembers a pack's chunks as the pack itself lists them, but for chunks that it found elsewhere.
    pub(crate) fn agrees(&self, table: &PackTable) -> bool {
        let live = self.live();
        table.places().all(|(chunk, place)| {
            live.index.place(&chunk).is_some_and(|known| known == place || known.pack != place.pack)
        })
    }

    pub(crate) fn chunk_count(&self) -> usize {
        self.live().index.len()
    }

    /// Makes what was committed visible.
    pub(crate) fn adopt(&self, keys: Vec<WrappedKey>, tables: &[PackTable]) {
        let mut live = self.live_mut();
        live.packs.extend(keys.into_iter().map(|key| (key.id, key)));
        for table in tables {
            live.index.insert(table);
        }
    }

    /// Opens a live pack, or finds it open.
    pub(crate) fn pack(&self, id: &KeyId) -> Result<Arc<OpenPack>, StoreError> {
        if let Some(pack) = self.open_packs().packs.get(id) {
            return Ok(pack.clone());
        }
        let name = id.to_string();
        let missing = || StoreError::Damaged { file: self.shown(Kind::Pack, &name), damage: Damage::Missing };
        let wrapped = self.live().packs.get(id).cloned().ok_or_else(missing)?;
        let key: PackKey =
            self.keys.namespace.unwrap(&wrapped).map_err(|source| StoreError::PackKey { pack: *id, source })?;
        let path = self.path(Kind::Pack, &name);
        let file = self.disk.open(&path).map_err(|error| self.gone(Kind::Pack, &name, error))?;
        let shown = self.shown(Kind::Pack, &name);
        let pack = OpenPack::new(file, path, shown.clone(), &key, &self.context())
            .map_err(|_| StoreError::Cipher { file: shown })?;
        let pack = Arc::new(pack);
        let mut open = self.open_packs();
        if open.order.len() >= OPEN_PACKS_MAX
            && let Some(oldest) = open.order.pop_front()
        {
            open.packs.remove(&oldest);
        }
        if open.packs.insert(*id, pack.clone()).is_none() {
            open.order.push_back(*id);
        }
        Ok(pack)
    }

    /// Starts a new pack with a fresh key.
    pub(crate) fn new_pack(&self, entropy: &mut dyn Entropy) -> Result<(PackWriter, WrappedKey), StoreError> {
        let key: FreshPackKey = PackKey::generate(entropy);
        let pack = key.id();
        let purpose = Purpose::Pack(self.namespace, ShredGroup::FIRST);
        let wrapped = self
            .keys
            .namespace
            .wrap(entropy, purpose, FIRST_VERSION, &key)
            .map_err(|source: KeyError| StoreError::PackKey { pack, source })?;
        let file = self.disk.create(&self.dir.join(Kind::Pack.dir()), &pack.to_string())?;
        // What is admitted is likely to be taken out by many.
        let file = if self.namespace == Namespace::Quarantine { file.passing() } else { file };
        let writer = PackWriter::new(file, key, &self.context())
            .map_err(|_| StoreError::Cipher { file: self.shown(Kind::Pack, &pack.to_string()) })?;
        Ok((writer, wrapped))
    }

    /// What hides the locator of a pack of this group.
    pub(crate) fn mask(&self, pack: &KeyId) -> [u8; 32] {
        locator_mask(&self.keys.chunk_id, pack)
    }

    /// Writes index segments for `tables`. Returns their size in bytes.
    pub(crate) fn write_index(&self, entropy: &mut dyn Entropy, tables: &[PackTable]) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for tables in tables.chunks(SEGMENT_PACKS_MAX) {
            let name = KeyId::random(entropy).to_string();
            bytes += self.write_blob(Kind::Index, &name, entropy, &encode_segment(tables))?;
        }
        Ok(bytes)
    }

    /// Writes a manifest's content. Returns its size in bytes.
    pub(crate) fn write_manifest(
        &self,
        entropy: &mut dyn Entropy,
        id: ManifestId,
        content: &[u8],
    ) -> Result<u64, StoreError> {
        self.write_blob(Kind::Manifest, &id.to_string(), entropy, content)
    }

    pub(crate) fn index_segment(&self, name: &str) -> Result<Vec<PackTable>, StoreError> {
        let content = self.read_blob(Kind::Index, name)?;
        decode_segment(&content).map_err(|error| self.damaged(Kind::Index, name, error.into()))
    }

    pub(crate) fn manifest(&self, id: ManifestId) -> Result<Manifest, StoreError> {
        let name = id.to_string();
        let content = self.read_blob(Kind::Manifest, &name)?;
        Manifest::decode(id, self.namespace, &content)
            .map_err(|error| self.damaged(Kind::Manifest, &name, error.into()))
    }

    pub(crate) fn has_manifest(&self, id: ManifestId) -> bool {
        self.path(Kind::Manifest, &id.to_string()).exists()
    }

    /// The published files of a kind, sorted. Names that this crate does not give are left out.
    pub(crate) fn names(&self, kind: Kind) -> Result<Vec<String>, StoreError> {
        Ok(self.all_names(kind)?.into_iter().filter(|name| name.parse::<KeyId>().is_ok()).collect())
    }

    /// The unpublished files of a kind.
    pub(crate) fn temporary_names(&self, kind: Kind) -> Result<Vec<String>, StoreError> {
        Ok(self.all_names(kind)?.into_iter().filter(|name| is_temporary(name)).collect())
    }

    fn all_names(&self, kind: Kind) -> Result<Vec<String>, StoreError> {
        let names = self.disk.list(&self.dir.join(kind.dir()), NAMES_MAX)?;
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    /// Removes files of a kind and makes that durable.
    pub(crate) fn remove(&self, kind: Kind, names: &[String]) -> Result<(), StoreError> {
        for name in names {
            self.disk.remove(&self.path(kind, name))?;
        }
        if !names.is_empty() {
            self.disk.sync_dir(&self.dir.join(kind.dir()))?;
        }
        Ok(())
    }

    /// Seals `content` behind its length, with zeros that bring the file to a Padmé length.
    fn write_blob(&self, kind: Kind, name: &str, entropy: &mut dyn Entropy, content: &[u8]) -> Result<u64, StoreError> {
        let size = padme((LENGTH_BYTES + content.len() + BLOB_OVERHEAD_BYTES) as u64);
        let mut plain = Vec::with_capacity(content.len() + content.len() / 8 + LENGTH_BYTES);
        plain.extend_from_slice(&(content.len() as u64).to_be_bytes());
        plain.extend_from_slice(content);
        plain.resize(usize::try_from(size).unwrap_or(usize::MAX) - BLOB_OVERHEAD_BYTES, 0);
        let cipher = |_| StoreError::Cipher { file: self.shown(kind, name) };
        let blob = seal_blob(&self.keys.manifest, entropy, &self.binding(kind, name), &plain).map_err(cipher)?;
        let mut file = self.disk.create(&self.dir.join(kind.dir()), name)?;
        file.write(&blob)?;
        file.publish()?;
        Ok(size)
    }

    fn read_blob(&self, kind: Kind, name: &str) -> Result<Vec<u8>, StoreError> {
        let path = self.path(kind, name);
        let failed = |error| StoreError::from(DiskError::new(Effect::Read, &path, error));
        let file = self.disk.open(&path).map_err(|error| self.gone(kind, name, error))?;
        let mut blob = Vec::new();
        file.take(BLOB_FILE_BYTES_MAX + 1).read_to_end(&mut blob).map_err(failed)?;
        if blob.len() as u64 > BLOB_FILE_BYTES_MAX {
            return Err(self.damaged(kind, name, Damage::Size { bytes: blob.len() as u64 }));
        }
        let mut plain = open_blob(&self.keys.manifest, &self.binding(kind, name), &blob)
            .map_err(|_: OpenError| self.damaged(kind, name, Damage::Seal))?;
        let malformed = |error: crate::wire::Malformed| self.damaged(kind, name, error.into());
        let mut reader = Reader::new(&plain);
        let length = reader.u64("length").map_err(malformed)?;
        let inside = usize::try_from(length).ok().filter(|length| *length <= plain.len() - LENGTH_BYTES);
        let length = inside.ok_or_else(|| malformed(reader.malformed("length")))?;
        plain.truncate(LENGTH_BYTES + length);
        plain.drain(..LENGTH_BYTES);
        Ok(plain)
    }

    fn binding<'a>(&'a self, kind: Kind, name: &'a str) -> [&'a [u8]; 4] {
        let vault = self.keys.namespace.vault().as_bytes().as_slice();
        [kind.format(), vault, self.namespace.name().as_bytes(), name.as_bytes()]
    }

    fn context(&self) -> PackContext {
        PackContext { vault: *self.keys.namespace.vault(), namespace: self.namespace }
    }

    fn path(&self, kind: Kind, name: &str) -> PathBuf {
        self.dir.join(kind.dir()).join(name)
    }

    /// A file's name as errors give it.
    pub(crate) fn shown(&self, kind: Kind, name: &str) -> String {
        format!("{}/{}/{name}", self.namespace, kind.dir())
    }

    fn damaged(&self, kind: Kind, name: &str, damage: Damage) -> StoreError {
        StoreError::Damaged { file: self.shown(kind, name), damage }
    }

    /// A file that should be there and is not is damage; any other failure is the disk's.
    fn gone(&self, kind: Kind, name: &str, error: DiskError) -> StoreError {
        if error.source.kind() == std::io::ErrorKind::NotFound {
            self.damaged(kind, name, Damage::Missing)
        } else {
            error.into()
        }
    }

    fn live(&self) -> RwLockReadGuard<'_, Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn live_mut(&self) -> RwLockWriteGuard<'_, Live> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_packs(&self) -> MutexGuard<'_, OpenPacks> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Most packs that are kept open.
const OPEN_PACKS_MAX: usize = 128;
/// Most packs that one index segment lists; the largest such segment is 151 MB long.
const SEGMENT_PACKS_MAX: usize = 64;
/// Most files in one directory.
const NAMES_MAX: usize = 1 << 20;
/// A pack has one key for ever.
const FIRST_VERSION: u32 = 1;
const LENGTH_BYTES: usize = 8;
/// Largest sealed manifest or index segment: the largest content with a Padmé step of at most 12 %.
const BLOB_FILE_BYTES_MAX: u64 = (BODY_BYTES_MAX + SIGNATURE_BYTES_MAX) as u64 / 8 * 9 + 4_096;
