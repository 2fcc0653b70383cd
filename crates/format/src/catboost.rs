//! CatBoost's binary models: `CBM1`, the length of a FlatBuffers table, the table, and parts that it names (catboost's `model.fbs` and
//! `model.cpp`).
//!
//! [`read`] checks the way to the texts of the table (root, vtables, vectors) and returns a [`Model`]; where a part is of the kind that
//! holds counters its frames are walked, so that every byte of an ordinary model is accounted for.

#![deny(clippy::indexing_slicing)]

use std::io::{self, Read, Seek, SeekFrom};

use crate::slice::{Order, Slice, number};

/// First bytes of every file.
pub const MAGIC: [u8; 4] = *b"CBM1";
/// Longest table that is read, in bytes.
pub const CORE_BYTES_MAX: u64 = 512 << 20;
/// Most entries of the table's map and list.
pub const ENTRIES_MAX: usize = 100_000;
/// Most frames of a part.
pub const FRAMES_MAX: u64 = 1_000_000;
/// The part whose frames are counters.
pub const COUNTERS: &str = "static_provider_v1";

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatBoostError {
    /// Other first bytes, or shorter than the length field.
    #[error("not a CatBoost model")]
    NotCatBoost,
    /// The table is longer than the file.
    #[error("the core claims {claimed} bytes, {left} are left")]
    Claim {
        /// What the file says.
        claimed: u64,
        /// What follows.
        left: u64,
    },
    /// The table is longer than [`CORE_BYTES_MAX`].
    #[error("a core of {claimed} bytes, limit is {CORE_BYTES_MAX}")]
    TooLarge {
        /// What the file says.
        claimed: u64,
    },
    /// An offset of the table leads outside of it.
    #[error("the core's tables contradict themselves")]
    Broken,
    /// The source failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What the table says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    /// Version of the format.
    pub version: String,
    /// Names and texts about the training.
    pub notes: Vec<(String, Vec<u8>)>,
    /// Names of the parts that follow.
    pub parts: Vec<String>,
    /// First byte that is not accounted for.
    pub stop: u64,
    /// Bytes of the file.
    pub length: u64,
}

/// Reads the table of `source` and the frames behind it.
pub fn read(source: &mut (impl Read + Seek + ?Sized)) -> Result<Model, CatBoostError> {
    let length = source.seek(SeekFrom::End(0))?;
    source.seek(SeekFrom::Start(0))?;
    let mut head = [0; 8];
    if length < 8 {
        return Err(CatBoostError::NotCatBoost);
    }
    source.read_exact(&mut head)?;
    let [magic @ .., _, _, _, _] = head;
    if magic != MAGIC {
        return Err(CatBoostError::NotCatBoost);
    }
    let claimed = number(head.get(4..).unwrap_or_default(), Order::Little);
    let left = length - 8;
    if claimed > left {
        return Err(CatBoostError::Claim { claimed, left });
    }
    if claimed > CORE_BYTES_MAX {
        return Err(CatBoostError::TooLarge { claimed });
    }
    let mut core = Vec::new();
    (&mut *source).take(claimed).read_to_end(&mut core)?;
    let mut model = table(&core).ok_or(CatBoostError::Broken)?;
    model.length = length;
    model.stop = 8 + claimed;
    if model.parts.iter().any(|part| part == COUNTERS) {
        model.stop = frames(source, model.stop, length)?;
    }
    Ok(model)
}

/// A count, and as many frames, each with its length; where they end.
fn frames(source: &mut (impl Read + Seek + ?Sized), start: u64, length: u64) -> io::Result<u64> {
    let mut field = |at: u64| -> io::Result<Option<u64>> {
        let mut bytes = [0; 4];
        if at.checked_add(4).is_none_or(|end| end > length) {
            return Ok(None);
        }
        source.seek(SeekFrom::Start(at))?;
        source.read_exact(&mut bytes)?;
        Ok(Some(u64::from(u32::from_le_bytes(bytes))))
    };
    let Some(count) = field(start)?.filter(|count| *count <= FRAMES_MAX) else { return Ok(start) };
    let mut at = start + 4;
    for _ in 0..count {
        let Some(bytes) = field(at)? else { return Ok(start) };
        at = at.saturating_add(4).saturating_add(bytes);
        if at > length {
            return Ok(start);
        }
    }
    Ok(at)
}

/// `TModelCore`: format version, trees, notes, names of parts.
fn table(core: &[u8]) -> Option<Model> {
    let root = follow(core, 0)?;
    let version = text(core, field(core, root, 0)?)?;
    field(core, root, 1)?;
    let mut notes = Vec::new();
    if let Some(map) = field(core, root, 2) {
        for entry in vector(core, map)? {
            let key = text(core, field(core, entry, 0)?)?;
            notes.push((String::from_utf8_lossy(key).into_owned(), text(core, field(core, entry, 1)?)?.to_vec()));
        }
    }
    let mut parts = Vec::new();
    if let Some(list) = field(core, root, 3) {
        for part in vector(core, list)? {
            parts.push(String::from_utf8_lossy(sized(core, part)?).into_owned());
        }
    }
    Some(Model { version: String::from_utf8_lossy(version).into_owned(), notes, parts, stop: 0, length: 0 })
}

fn at(core: &[u8], place: usize, bytes: usize) -> Option<u64> {
    let mut slice = Slice::new(core.get(place..)?);
    slice.number(bytes)
}

/// Where the offset at `place` leads.
fn follow(core: &[u8], place: usize) -> Option<usize> {
    let target = place.checked_add(usize::try_from(at(core, place, 4)?).ok()?)?;
    (target < core.len()).then_some(target)
}

/// Place of field `index` of the table at `table`; `None` also where it is left out.
fn field(core: &[u8], table: usize, index: usize) -> Option<usize> {
    let back = i64::from(u32::try_from(at(core, table, 4)?).ok()?.cast_signed());
    let vtable = usize::try_from(i64::try_from(table).ok()?.checked_sub(back)?).ok()?;
    let bytes = usize::try_from(at(core, vtable, 2)?).ok()?;
    let slot = 4 + 2 * index;
    if slot + 2 > bytes {
        return None;
    }
    let offset = usize::try_from(at(core, vtable.checked_add(slot)?, 2)?).ok()?;
    (offset > 0).then_some(table.checked_add(offset)?)
}

/// The text that the offset at `place` leads to.
fn text(core: &[u8], place: usize) -> Option<&[u8]> {
    sized(core, follow(core, place)?)
}

fn sized(core: &[u8], place: usize) -> Option<&[u8]> {
    let bytes = usize::try_from(at(core, place, 4)?).ok()?;
    let start = place.checked_add(4)?;
    core.get(start..start.checked_add(bytes)?)
}

/// Places of the items that the vector behind `place` leads to.
fn vector(core: &[u8], place: usize) -> Option<Vec<usize>> {
    let start = follow(core, place)?;
    let count = usize::try_from(at(core, start, 4)?).ok()?;
    if count > ENTRIES_MAX || count > core.len() / 4 {
        return None;
    }
    (0..count).map(|index| follow(core, start.checked_add(4 + 4 * index)?)).collect()
}
