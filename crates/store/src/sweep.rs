//! Removing what nothing committed needs.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use ringfence_trust::keys::KeyId;

use crate::{
    error::StoreError,
    group::{Group, Kind},
    manifest::ManifestId,
};

/// What the catalog holds: all of it, of both namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// The manifests that a reference, a run or the trail still names.
    pub manifests: Vec<ManifestId>,
    /// The ids of all pack keys in the key ledger.
    pub packs: Vec<KeyId>,
}

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Unpublished files removed.
    pub temporary: usize,
    /// Packs removed because the ledger has no key for them.
    pub packs: usize,
    /// Index segments removed because they list no live pack.
    pub index_segments: usize,
    /// Manifests removed because nothing names them.
    pub manifests: usize,
    /// Packs that have a key but no chunk of a live manifest. The caller may destroy their keys; the next sweep removes
    /// the files. Left out if a live manifest is missing or cannot be read, because then nobody knows what it needs.
    pub unreferenced: Vec<KeyId>,
}

pub(crate) fn sweep(groups: &[Arc<Group>], live: &Live) -> Result<Swept, StoreError> {
    let mut swept = Swept::default();
    let packs: BTreeSet<String> = live.packs.iter().map(KeyId::to_string).collect();
    let manifests: BTreeSet<String> = live.manifests.iter().map(ManifestId::to_string).collect();
    let all_there = live.manifests.iter().all(|id| groups.iter().any(|group| group.has_manifest(*id)));
    for group in groups {
        for kind in Kind::ALL {
            let names = group.temporary_names(kind)?;
            swept.temporary += names.len();
            group.remove(kind, &names)?;
        }
        // In the reverse order of writing, so that a crash in between leaves nothing that points into the void.
        swept.manifests += remove_others(group, Kind::Manifest, &manifests)?;
        let mut stale = Vec::new();
        for name in group.names(Kind::Index)? {
            // A segment that does not open is left for `verify` to name and `reindex` to replace.
            let Ok(tables) = group.index_segment(&name) else { continue };
            if !tables.iter().any(|table| packs.contains(&table.pack.to_string())) {
                stale.push(name);
            }
        }
        swept.index_segments += stale.len();
        group.remove(Kind::Index, &stale)?;
        swept.packs += remove_others(group, Kind::Pack, &packs)?;
        if all_there {
            swept.unreferenced.extend(unreferenced(group, live)?);
        }
    }
    Ok(swept)
}

fn remove_others(group: &Group, kind: Kind, keep: &BTreeSet<String>) -> Result<usize, StoreError> {
    let mut names = group.names(kind)?;
    names.retain(|name| !keep.contains(name));
    group.remove(kind, &names)?;
    Ok(names.len())
}

fn unreferenced(group: &Group, live: &Live) -> Result<Vec<KeyId>, StoreError> {
    let mut needed = HashSet::new();
    for id in live.manifests.iter().filter(|id| group.has_manifest(**id)) {
        match group.manifest(*id) {
            Ok(manifest) => {
                let places = manifest.chunks().iter().filter_map(|chunk| group.place(&chunk.id));
                needed.extend(places.map(|place| place.pack));
            }
            Err(StoreError::Damaged { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
    let known: BTreeSet<KeyId> = group.packs().into_iter().collect();
    Ok(live.packs.iter().filter(|pack| known.contains(pack) && !needed.contains(*pack)).copied().collect())
}
