//! The trail as static files that any log client reads: C2SP tlog-tiles (<https://c2sp.org/tlog-tiles>).
//!
//! ```text
//! checkpoint                       the signed head (see [`crate::checkpoint`])
//! tile/0/x001/x234/067             hashes of the 256 entries from 1234067 × 256 on
//! tile/1/000.p/17                  roots of the first 17 whole tiles of level 0
//! tile/entries/000                 the entries themselves, each behind its length (`uint16`, big-endian)
//! ```
//!
//! [`Part`] names a file and knows its [`Part::path`]; [`parts_at`] lists the unfinished ones of a tree. [`Tower`] takes the
//! hashes of entries one by one, gives out each tile when it is whole, and knows the root at any moment, in a few pages of
//! memory for any number of entries. [`tile_bytes`] and [`push_entry`] write contents, [`read_tile`] and [`read_bundle`] read them.
//!
//! Reading is strict: exactly as many hashes or entries as the width says, and nothing behind them. Absent on purpose: files.

#![deny(clippy::indexing_slicing)]

use std::fmt;

use ringfence_schema::{Digest, trail::LEAF_BYTES_MAX};

use crate::merkle::Frontier;

/// Hashes in a whole tile, and entries in a whole bundle.
pub const WIDTH: u16 = 256;
/// Largest tile in bytes.
pub const TILE_BYTES_MAX: usize = WIDTH as usize * Digest::BYTES;
/// Largest bundle in bytes.
pub const BUNDLE_BYTES_MAX: usize = WIDTH as usize * (LENGTH_BYTES + LEAF_BYTES_MAX);
/// Highest level that a tree of 2^64 entries has.
pub const LEVEL_MAX: u8 = 7;
/// Name of the file with the signed head.
pub const CHECKPOINT_PATH: &str = "checkpoint";

/// Length of an entry's length in bytes.
const LENGTH_BYTES: usize = 2;
/// Longest path in bytes: `tile/entries/`, twenty digits as seven groups, `.p/255`.
const PATH_BYTES_MAX: usize = 64;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Entries; as many as the tile of level 0 with the same index has hashes.
    Entries,
    /// Hashes of this level, 0 to [`LEVEL_MAX`]: level 0 has those of entries, each further level those of whole tiles below.
    Hashes(u8),
}

/// One file of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// What it holds.
    pub kind: Kind,
    /// Its place within its level, from 0.
    pub index: u64,
    /// How many hashes or entries, 1 to [`WIDTH`].
    pub width: u16,
}

/// Why bytes are no tile or bundle, or a text is no path of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TileError {
    /// Not the one spelling of a place in the tree.
    #[error("no path of a tile")]
    Path,
    /// Another number of bytes than its hashes have.
    #[error("{bytes} bytes are not {width} hashes")]
    Length {
        /// How many bytes there are.
        bytes: usize,
        /// How many hashes there should be.
        width: u16,
    },
    /// The file ends within an entry.
    #[error("it ends within entry {position} of its {width}")]
    Truncated {
        /// Which entry, counted from 0 within the bundle.
        position: u16,
        /// How many there should be.
        width: u16,
    },
    /// Bytes behind the last entry.
    #[error("{bytes} bytes follow its {width} entries")]
    Trailing {
        /// How many.
        bytes: usize,
        /// How many entries there should be.
        width: u16,
    },
    /// An entry that 16 bits cannot measure.
    #[error("an entry of {bytes} bytes, limit is {LEAF_BYTES_MAX}")]
    EntryTooLarge {
        /// Its size.
        bytes: usize,
    },
}

impl Part {
    /// The tile of `level` with this index and width.
    pub const fn hashes(level: u8, index: u64, width: u16) -> Self {
        Self { kind: Kind::Hashes(level), index, width }
    }

    /// The bundle with this index and width.
    pub const fn entries(index: u64, width: u16) -> Self {
        Self { kind: Kind::Entries, index, width }
    }

    /// Whether nothing can be added to it any more.
    pub const fn is_whole(&self) -> bool {
        self.width == WIDTH
    }

    /// The same place, whole.
    #[must_use]
    pub const fn whole(self) -> Self {
        Self { width: WIDTH, ..self }
    }

    /// Its path below the log's prefix, `/` between parts.
    pub fn path(&self) -> String {
        let mut path = match self.kind {
            Kind::Entries => "tile/entries/".to_owned(),
            Kind::Hashes(level) => format!("tile/{level}/"),
        };
        let mut groups = vec![self.index % 1_000];
        let mut rest = self.index / 1_000;
        while rest > 0 {
            groups.push(rest % 1_000);
            rest /= 1_000;
        }
        for (place, group) in groups.iter().enumerate().rev() {
            path.push_str(&if place > 0 { format!("x{group:03}/") } else { format!("{group:03}") });
        }
        if !self.is_whole() {
            path.push_str(&format!(".p/{}", self.width));
        }
        path
    }

    /// The part that lies at `path`.
    ///
    /// # Errors
    /// [`TileError::Path`] for every text that [`Self::path`] does not make.
    pub fn parse(path: &str) -> Result<Self, TileError> {
        let read = || {
            let rest = path.strip_prefix("tile/")?;
            let (kind, rest) = rest.split_once('/')?;
            let kind = if kind == "entries" { Kind::Entries } else { Kind::Hashes(kind.parse().ok()?) };
            let (place, width) = match rest.split_once(".p/") {
                Some((place, width)) => (place, width.parse().ok()?),
                None => (rest, WIDTH),
            };
            let mut index = 0_u64;
            for group in place.split('/') {
                let digits: u64 = group.strip_prefix('x').unwrap_or(group).parse().ok()?;
                index = index.checked_mul(1_000)?.checked_add(digits)?;
            }
            Some(Self { kind, index, width })
        };
        // Whatever was read leniently is written strictly, and must come out the same.
        let part = if path.len() > PATH_BYTES_MAX { None } else { read() }.ok_or(TileError::Path)?;
        let level_fits = !matches!(part.kind, Kind::Hashes(level) if level > LEVEL_MAX);
        let fits = level_fits && (1..=WIDTH).contains(&part.width) && part.path() == path;
        if fits { Ok(part) } else { Err(TileError::Path) }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

/// The parts of a tree of `size` entries that are not whole, level by level from the bundle up: at most one for each level.
pub fn parts_at(size: u64) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut nodes = size;
    for level in 0..=LEVEL_MAX {
        let (index, width) = (nodes / u64::from(WIDTH), nodes % u64::from(WIDTH));
        // Less than 256.
        let width = u16::try_from(width).unwrap_or(0);
        if width > 0 && level == 0 {
            parts.push(Part::entries(index, width));
        }
        if width > 0 {
            parts.push(Part::hashes(level, index, width));
        }
        nodes = index;
    }
    parts
}

/// A tile that became whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeTile {
    /// Where it belongs.
    pub part: Part,
    /// Its [`WIDTH`] hashes.
    pub hashes: Vec<Digest>,
}

/// The unfinished tiles of a growing tree, lowest level first: all that is needed to go on, and to know the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tower {
    size: u64,
    levels: Vec<Vec<Digest>>,
}

impl Tower {
    /// The tree without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many entries there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds an entry by its leaf hash; `whole` gets each tile that this completes, lowest level first.
    ///
    /// # Errors
    /// Whatever `whole` returns; the tower must not be used any further then.
    pub fn append<E>(&mut self, leaf: Digest, mut whole: impl FnMut(WholeTile) -> Result<(), E>) -> Result<(), E> {
        self.size += 1;
        let (mut node, mut nodes) = (leaf, self.size);
        for level in 0..=LEVEL_MAX {
            let index = usize::from(level);
            if self.levels.len() == index {
                self.levels.push(Vec::with_capacity(usize::from(WIDTH)));
            }
            let Some(hashes) = self.levels.get_mut(index) else { break };
            hashes.push(node);
            if hashes.len() < usize::from(WIDTH) {
                break;
            }
            nodes /= u64::from(WIDTH);
            node = Frontier::from_leaves(hashes.iter()).root();
            let hashes = std::mem::replace(hashes, Vec::with_capacity(usize::from(WIDTH)));
            whole(WholeTile { part: Part::hashes(level, nodes - 1, WIDTH), hashes })?;
        }
        Ok(())
    }

    /// The tiles that are not whole, each with its hashes, as [`parts_at`] lists them without the bundle.
    pub fn unfinished(&self) -> impl Iterator<Item = (Part, &[Digest])> {
        let parts = parts_at(self.size).into_iter();
        parts.filter_map(|part| match part.kind {
            Kind::Hashes(level) => Some((part, self.levels.get(usize::from(level))?.as_slice())),
            Kind::Entries => None,
        })
    }

    /// The Merkle root (RFC 6962, section 2.1) over all entries.
    pub fn root(&self) -> Digest {
        // Each level holds the roots of whole subtrees of one size, and higher levels come first in the tree.
        let subtrees: Vec<Digest> = self
            .levels
            .iter()
            .rev()
            .flat_map(|level| Frontier::from_leaves(level.iter()).subtrees().to_vec())
            .collect();
        // INVARIANT: the widths are the digits of `size` to the base 256, so there is a subtree for each bit set in it.
        Frontier::from_parts(self.size, subtrees)
            .map_or_else(|_| crate::merkle::empty_root(), |frontier| frontier.root())
    }
}

/// The content of a tile.
pub fn tile_bytes(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// The hashes of a tile of `width`.
///
/// # Errors
/// [`TileError::Length`].
pub fn read_tile(bytes: &[u8], width: u16) -> Result<Vec<Digest>, TileError> {
    let (hashes, rest) = bytes.as_chunks::<{ Digest::BYTES }>();
    if rest.is_empty() && hashes.len() == usize::from(width) {
        Ok(hashes.iter().copied().map(Digest::from_bytes).collect())
    } else {
        Err(TileError::Length { bytes: bytes.len(), width })
    }
}

/// Adds an entry to the content of a bundle.
///
/// # Errors
/// [`TileError::EntryTooLarge`].
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), TileError> {
    let length = u16::try_from(entry.len()).map_err(|_| TileError::EntryTooLarge { bytes: entry.len() })?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries of a bundle of `width`, in order.
///
/// # Errors
/// [`TileError::Truncated`] and [`TileError::Trailing`].
pub fn read_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    let mut entries = Vec::with_capacity(usize::from(width.min(WIDTH)));
    let mut rest = bytes;
    for position in 0..width {
        let truncated = TileError::Truncated { position, width };
        let (length, behind) = rest.split_first_chunk::<LENGTH_BYTES>().ok_or(truncated)?;
        let (entry, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(truncated)?;
        entries.push(entry);
        rest = behind;
    }
    if rest.is_empty() { Ok(entries) } else { Err(TileError::Trailing { bytes: rest.len(), width }) }
}
