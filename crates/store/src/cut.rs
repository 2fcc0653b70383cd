//! Where files are cut into chunks.
//!
//! [`Cuts::At`] cuts at the offsets that the caller names (the starts of tensors), and between them every
//! [`ALIGNED_CHUNK_BYTES`] counted from the last one: a tensor that moves in the file keeps its chunks. [`Cuts::Content`]
//! cuts where a gear hash of the last 64 bytes says so, which finds the same places again after insertions. The gear
//! table comes from the vault's secret cut key, so lengths of chunks tell nobody which known file they belong to
//! (ePrint 2025/558 shows what unkeyed cutting leaks).
//!
//! The gear hash and the skipped minimum are from Xia et al., "FastCDC", USENIX ATC 2016, §3.2 and §3.3; the two masks
//! around the average size are its normalised chunking, §3.4.

use std::array;

use crate::error::CutError;

/// How to cut a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cuts {
    /// At these offsets in bytes, strictly rising, none beyond the end of the file.
    At(Vec<u64>),
    /// By content.
    Content,
}

impl Cuts {
    /// Most offsets in one file.
    pub const OFFSETS_MAX: usize = 1 << 20;

    pub(crate) fn last_offset(&self) -> u64 {
        match self {
            Self::At(offsets) => offsets.last().copied().unwrap_or(0),
            Self::Content => 0,
        }
    }
}

/// Longest chunk between two named offsets.
pub const ALIGNED_CHUNK_BYTES: u64 = 1 << 20;
/// Shortest chunk cut by content, but for the last of a file.
pub const CONTENT_CHUNK_BYTES_MIN: usize = 16 << 10;
/// The usual length of a chunk cut by content.
pub const CONTENT_CHUNK_BYTES_USUAL: usize = 64 << 10;
/// Longest chunk cut by content.
pub const CONTENT_CHUNK_BYTES_MAX: usize = 256 << 10;

/// The secret table of the gear hash.
pub(crate) type GearTable = [u64; 256];

/// Finds the ends of chunks in the bytes of one file, which arrive in pieces.
pub(crate) enum Cutter {
    At { offsets: std::vec::IntoIter<u64>, next: Option<u64>, position: u64, left: u64 },
    Content { length: usize, hash: u64 },
}

impl Cutter {
    pub(crate) fn new(cuts: Cuts) -> Result<Self, CutError> {
        match cuts {
            Cuts::Content => Ok(Self::Content { length: 0, hash: 0 }),
            Cuts::At(offsets) => {
                if offsets.len() > Cuts::OFFSETS_MAX {
                    return Err(CutError::TooMany { offsets: offsets.len() });
                }
                if let Some(pair) = offsets.array_windows::<2>().find(|[before, after]| before >= after) {
                    return Err(CutError::NotRising { before: pair[0], after: pair[1] });
                }
                let mut offsets = offsets.into_iter();
                let next = offsets.by_ref().find(|offset| *offset > 0);
                Ok(Self::At { offsets, next, position: 0, left: ALIGNED_CHUNK_BYTES.min(next.unwrap_or(u64::MAX)) })
            }
        }
    }

    /// Takes the next bytes of the file up to the end of the current chunk: `Some(n)` if the chunk ends after `n ≥ 1`
    /// of them (the others are to be given again), `None` if all of them belong to it.
    pub(crate) fn take(&mut self, bytes: &[u8], table: &GearTable) -> Option<usize> {
        match self {
            Self::At { offsets, next, position, left } => {
                let available = bytes.len() as u64;
                if available < *left {
                    *left -= available;
                    *position += available;
                    return None;
                }
                let taken = *left;
                *position += taken;
                if *next == Some(*position) {
                    *next = offsets.next();
                }
                *left = ALIGNED_CHUNK_BYTES.min(next.map_or(u64::MAX, |next| next - *position));
                usize::try_from(taken).ok()
            }
            Self::Content { length, hash } => take_by_content(length, hash, bytes, table),
        }
    }
}

fn take_by_content(length: &mut usize, hash: &mut u64, bytes: &[u8], table: &GearTable) -> Option<usize> {
    let skipped = CONTENT_CHUNK_BYTES_MIN.saturating_sub(GEAR_WINDOW_BYTES).saturating_sub(*length).min(bytes.len());
    let start = *length;
    let mut position = skipped;
    // Three stretches: no cut below the minimum, a strict mask up to the usual length, a lax one up to the maximum.
    for (end, mask) in
        [(CONTENT_CHUNK_BYTES_MIN, NEVER), (CONTENT_CHUNK_BYTES_USUAL, STRICT), (CONTENT_CHUNK_BYTES_MAX, LAX)]
    {
        let stretch = bytes.get(position..end.saturating_sub(start).min(bytes.len())).unwrap_or_default();
        if let Some(index) = first_cut(stretch, hash, mask, table) {
            (*length, *hash) = (0, 0);
            return Some(position + index + 1);
        }
        position += stretch.len();
    }
    if start + position == CONTENT_CHUNK_BYTES_MAX {
        (*length, *hash) = (0, 0);
        return Some(position);
    }
    *length = start + position;
    None
}

/// Which byte of `stretch` is the first after which the hash has no bit of `mask`. Four at once: what each adds depends on the
/// bytes alone, so the chain from hash to hash is a quarter as long.
fn first_cut(stretch: &[u8], hash: &mut u64, mask: u64, table: &GearTable) -> Option<usize> {
    let (fours, rest) = stretch.as_chunks::<4>();
    for (number, four) in fours.iter().enumerate() {
        let mut added = 0_u64;
        let hashes: [u64; 4] = array::from_fn(|at| {
            added = (added << 1).wrapping_add(table[usize::from(four[at])]);
            (*hash << (at + 1)).wrapping_add(added)
        });
        *hash = hashes[3];
        if let Some(at) = hashes.iter().position(|hash| hash & mask == 0).filter(|_| mask != NEVER) {
            return Some(number * 4 + at);
        }
    }
    for (number, byte) in rest.iter().enumerate() {
        *hash = (*hash << 1).wrapping_add(table[usize::from(*byte)]);
        if *hash & mask == 0 && mask != NEVER {
            return Some(fours.len() * 4 + number);
        }
    }
    None
}

/// The gear hash forgets a byte after this many more.
const GEAR_WINDOW_BYTES: usize = 64;
const NEVER: u64 = 0;
/// 18 high bits: one place in 256 KiB. The high bits depend on the whole window.
const STRICT: u64 = !0 << (64 - 18);
/// 14 high bits: one place in 16 KiB.
const LAX: u64 = !0 << (64 - 14);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table() -> GearTable {
        let stream = noise(256 * 8, 0);
        std::array::from_fn(|index| u64::from_le_bytes(stream[index * 8..][..8].try_into().unwrap()))
    }

    fn noise(bytes: usize, seed: u64) -> Vec<u8> {
        let mut noise = vec![0; bytes];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut noise);
        noise
    }

    fn lengths(cuts: Cuts, bytes: &[u8], piece: usize) -> Vec<usize> {
        let (mut cutter, table) = (Cutter::new(cuts).unwrap(), table());
        let (mut lengths, mut current) = (vec![], 0);
        for piece in bytes.chunks(piece) {
            let mut rest = piece;
            while !rest.is_empty() {
                let Some(taken) = cutter.take(rest, &table) else { break };
                lengths.push(current + taken);
                (current, rest) = (0, &rest[taken..]);
            }
            current += rest.len();
        }
        if current > 0 {
            lengths.push(current);
        }
        lengths
    }

    #[test]
    fn named_offsets_start_new_chunks() {
        let bytes = vec![0; 3_000_000];
        assert_eq!(
            lengths(Cuts::At(vec![0, 100, 101, 2_500_000, 3_000_000]), &bytes, 999_999),
            [100, 1, 1 << 20, 1 << 20, 2_500_000 - 101 - (2 << 20), 500_000]
        );
        assert_eq!(lengths(Cuts::At(vec![]), &bytes, 7), [1 << 20, 1 << 20, 3_000_000 - (2 << 20)]);
    }

    #[test]
    fn wrong_offsets_are_refused() {
        assert!(matches!(Cutter::new(Cuts::At(vec![5, 5])), Err(CutError::NotRising { before: 5, after: 5 })));
        let offsets = (0..=Cuts::OFFSETS_MAX as u64).collect();
        assert!(matches!(Cutter::new(Cuts::At(offsets)), Err(CutError::TooMany { .. })));
    }

    #[test]
    fn content_cuts_come_back_after_an_insertion() {
        let old = noise(4 << 20, 1);
        let new = [b"a few bytes more".as_slice(), &old].concat();
        let ends = |lengths: Vec<usize>, shift: usize| -> Vec<usize> {
            lengths
                .iter()
                .scan(0, |sum, length| {
                    *sum += length;
                    Some(*sum)
                })
                .map(|end| end - shift)
                .collect()
        };
        let (old_ends, new_ends) =
            (ends(lengths(Cuts::Content, &old, 1 << 20), 0), ends(lengths(Cuts::Content, &new, 1 << 20), 16));
        let kept = old_ends.iter().filter(|end| new_ends.contains(end)).count();
        assert!(kept + 3 >= old_ends.len(), "{kept} of {}", old_ends.len());
        let mean = old.len() / old_ends.len();
        assert!((48 << 10..100 << 10).contains(&mean), "mean {mean}");
    }

    #[test]
    fn the_first_cut_is_the_first_by_definition() {
        let (table, bytes) = (table(), noise(1 << 20, 3));
        for (skipped, mask) in (0..64).flat_map(|skipped| [(skipped, LAX), (skipped, STRICT), (skipped, !0 << 60)]) {
            let stretch = &bytes[skipped * 16_001..];
            let mut expected = 0_u64;
            let by_definition = stretch.iter().position(|byte| {
                expected = (expected << 1).wrapping_add(table[usize::from(*byte)]);
                expected & mask == 0
            });
            assert_eq!(first_cut(stretch, &mut 0, mask, &table), by_definition);
            // What one call leaves is what the next goes on with.
            let (mut hash, (begin, rest)) = (0, stretch.split_at(skipped));
            let found = first_cut(begin, &mut hash, mask, &table);
            assert_eq!(found.or_else(|| Some(skipped + first_cut(rest, &mut hash, mask, &table)?)), by_definition);
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(size in 0..800_000_usize, seed: u64, piece in 1..70_000_usize) {
            let bytes = noise(size, seed);
            let whole = lengths(Cuts::Content, &bytes, usize::MAX);
            prop_assert_eq!(&lengths(Cuts::Content, &bytes, piece), &whole);
            let (last, full) = whole.split_last().map_or((0, &[][..]), |(last, full)| (*last, full));
            prop_assert!(last <= CONTENT_CHUNK_BYTES_MAX);
            prop_assert!(full.iter().all(|n| (CONTENT_CHUNK_BYTES_MIN..=CONTENT_CHUNK_BYTES_MAX).contains(n)));
        }
    }
}
