//! Making unreadable what no live manifest needs.
//!
//! A pack goes with its key, whole. Where a pack also holds chunks that a live version needs, these are opened and sealed
//! again in a new pack first. So afterwards every chunk that any key opens is one that a live version names; the plan is
//! made from the packs' own tables, because the index lists a chunk that lies in two packs once.
//!
//! What must stay true: nothing is lost if the caller gives up before its transaction: the new packs have no key in the
//! ledger and are garbage. Once it is committed nothing needs the old ones.

use std::{collections::HashSet, sync::Arc};

use ringfence_trust::{
    entropy::Entropy,
    ident::ChunkId,
    keys::{KeyId, Namespace, WrappedKey},
};

use crate::{
    error::StoreError,
    group::{Group, Kind},
    index::{PackTable, Place},
    manifest::{ChunkEntry, Manifest, ManifestId, segments},
    pack::PackWriter,
    publish::Publisher,
    store::Lease,
    sweep::Live,
};

/// What is to be destroyed, and what was sealed again for that: on disk, not yet committed.
///
/// In one transaction the caller sees that nothing of which [`crate::Store::takes_from`] speaks was committed, stores
/// [`Shred::keys`], and destroys the ledger's rows of [`Shred::doomed`]; then it calls [`crate::Store::shredded`].
pub struct Shred {
    /// Packs whose keys are to be destroyed, in order.
    pub doomed: Vec<KeyId>,
    /// The wrapped keys of new packs: rows for the key ledger.
    pub keys: Vec<WrappedKey>,
    /// Plain bytes that others share and that were sealed again.
    pub resealed_bytes: u64,
    parts: Vec<Part>,
    _lease: Lease,
}

/// Of one namespace.
struct Part {
    namespace: Namespace,
    doomed: Vec<KeyId>,
    keys: Vec<WrappedKey>,
    tables: Vec<PackTable>,
}

impl Shred {
    /// Whether a version that was committed since the plan was made reads chunks from packs that are to go.
    pub(crate) fn takes(&self, group: &Group, manifest: &Manifest) -> bool {
        let Some(part) = self.parts.iter().find(|part| part.namespace == group.namespace) else { return false };
        let doomed: HashSet<KeyId> = part.doomed.iter().copied().collect();
        let moved: HashSet<ChunkId> = part.tables.iter().flat_map(|table| &table.entries).map(|e| e.chunk).collect();
        let lost = |chunk: &ChunkEntry| {
            !moved.contains(&chunk.id) && group.place(&chunk.id).is_some_and(|place| doomed.contains(&place.pack))
        };
        manifest.chunks().iter().any(lost)
    }
}

pub(crate) fn shred(
    groups: &[Arc<Group>],
    entropy: &mut dyn Entropy,
    live: &Live,
    lease: Lease,
) -> Result<Shred, StoreError> {
    let ledger: HashSet<KeyId> = live.packs.iter().copied().collect();
    let known: HashSet<KeyId> = groups.iter().flat_map(|group| group.packs()).collect();
    if ledger != known {
        // Another process has committed since this store was opened, or another thread is just about to adopt.
        return Err(StoreError::Busy);
    }
    let mut done = Shred { doomed: Vec::new(), keys: Vec::new(), resealed_bytes: 0, parts: Vec::new(), _lease: lease };
    for group in groups {
        let (doomed, moving) = plan(group, live)?;
        if doomed.is_empty() {
            continue;
        }
        done.resealed_bytes += moving.iter().map(|(_, place)| u64::from(place.length)).sum::<u64>();
        let (keys, tables) = reseal(group, entropy, &moving)?;
        done.doomed.extend(&doomed);
        done.keys.extend(keys.iter().cloned());
        done.parts.push(Part { namespace: group.namespace, doomed, keys, tables });
    }
    done.doomed.sort();
    Ok(done)
}

type Moving = Vec<(ChunkId, Place)>;

/// Packs that hold something which nobody needs, and the chunks in them that somebody does.
fn plan(group: &Group, live: &Live) -> Result<(Vec<KeyId>, Moving), StoreError> {
    let mut needed = HashSet::new();
    for id in live.manifests.iter().filter(|id| group.has_manifest(**id)) {
        // One that cannot be read might need anything: its damage is the answer.
        needed.extend(group.manifest(*id)?.chunks().iter().map(|chunk| chunk.id));
    }
    let (mut doomed, mut moving) = (Vec::new(), Vec::new());
    for pack in group.packs() {
        let table = group.pack(&pack).and_then(|open| open.table(&group.mask(&pack)));
        let table = match table {
            Ok(table) => table,
            // What is damaged and serves nobody can go all the same.
            Err(StoreError::Damaged { .. }) if !serves(group, &pack, &needed) => {
                doomed.push(pack);
                continue;
            }
            Err(error) => return Err(error),
        };
        let serves = |(chunk, place): &(ChunkId, Place)| needed.contains(chunk) && group.place(chunk) == Some(*place);
        let wanted: Moving = table.places().filter(serves).collect();
        if wanted.len() < table.entries.len() {
            doomed.push(pack);
            moving.extend(wanted);
        }
    }
    Ok((doomed, moving))
}

fn serves(group: &Group, pack: &KeyId, needed: &HashSet<ChunkId>) -> bool {
    needed.iter().any(|chunk| group.place(chunk).is_some_and(|place| place.pack == *pack))
}

/// Opens chunks and seals them in new packs, durable with their index.
fn reseal(
    group: &Arc<Group>,
    entropy: &mut dyn Entropy,
    moving: &Moving,
) -> Result<(Vec<WrappedKey>, Vec<PackTable>), StoreError> {
    let mut publisher = Publisher::new(group.clone());
    let (mut keys, mut open, mut buffer) = (Vec::new(), None::<PackWriter>, Vec::new());
    for (id, place) in moving {
        let chunk = ChunkEntry { id: *id, length: place.length, values: Vec::new() };
        let whole = 0..segments(place.length);
        group.pack(&place.pack)?.read_chunk(&group.keys.chunk_id, &chunk, place, whole, &mut buffer)?;
        if let Some(full) = open.take_if(|pack| !pack.fits(buffer.len())) {
            publisher.hand_over(full)?;
        }
        let pack = match &mut open {
            Some(pack) => pack,
            none => {
                let (pack, wrapped) = group.new_pack(entropy)?;
                keys.push(wrapped);
                none.insert(pack)
            }
        };
        pack.add(*id, &buffer)?;
    }
    let tables: Vec<PackTable> = publisher.finish(open)?.into_iter().map(|(table, _)| table).collect();
    if !tables.is_empty() {
        group.write_index(entropy, &tables)?;
    }
    Ok((keys, tables))
}

/// Makes what was committed visible, forgets what was destroyed, and removes its files and those of `manifests`. A file
/// that stays behind is garbage, and goes with the next sweep.
pub(crate) fn shredded(groups: &[Arc<Group>], shred: Shred, manifests: &[ManifestId]) -> Result<(), StoreError> {
    for part in shred.parts {
        let Some(group) = groups.iter().find(|group| group.namespace == part.namespace) else { continue };
        group.adopt(part.keys, &part.tables);
        // Reads the index again, in which chunks are now found in their new packs.
        group.forget(&part.doomed)?;
        let doomed: HashSet<KeyId> = part.doomed.iter().copied().collect();
        let mut stale = Vec::new();
        for name in group.names(Kind::Index)? {
            let Ok(tables) = group.index_segment(&name) else { continue };
            // Those of a version that is not committed yet list packs that nobody knows, and stay.
            if tables.iter().all(|table| doomed.contains(&table.pack)) {
                stale.push(name);
            }
        }
        group.remove(Kind::Index, &stale)?;
        let there = group.names(Kind::Pack)?;
        let packs: Vec<String> = part.doomed.iter().map(KeyId::to_string).filter(|pack| there.contains(pack)).collect();
        group.remove(Kind::Pack, &packs)?;
    }
    for group in groups {
        let there: Vec<String> =
            manifests.iter().filter(|id| group.has_manifest(**id)).map(ManifestId::to_string).collect();
        group.remove(Kind::Manifest, &there)?;
    }
    Ok(())
}
