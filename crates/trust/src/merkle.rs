//! The Merkle tree of RFC 6962 §2.1 (RFC 9162 §2.1) over SHA-256.
//!
//! [`Frontier`] grows with the trail and knows its root; [`inclusion_proof`] and [`consistency_proof`] are made from
//! leaf hashes, [`inclusion_proof_by`] and [`consistency_proof_by`] from whole subtrees wherever they are kept, a number of
//! them that grows with the logarithm of the tree; [`verify_inclusion`] and [`verify_consistency`] need nothing but the
//! proof. Leaves and nodes are hashed with different prefixes, so no node passes for a leaf.

#![deny(clippy::indexing_slicing)]

use std::ops::Range;

use ringfence_schema::{Digest, Hasher};
use serde::{Deserialize, Serialize};

/// Most hashes in one proof: a tree of 2^64 leaves needs no more.
pub const PROOF_HASHES_MAX: usize = 65;

/// The hash of a leaf: SHA-256 of `0x00` and its bytes.
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    hash(&[&[0], leaf])
}

/// The hash of an inner node: SHA-256 of `0x01` and both children.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    hash(&[&[1], left.as_bytes(), right.as_bytes()])
}

/// The root of a tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Digest {
    Digest::of(&[])
}

fn hash(parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finish()
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The leaf is not in a tree of this size, or the old tree is larger than the new one.
    #[error("{index} is not within a tree of {size} entries")]
    OutOfRange {
        /// Index of the leaf, or size of the old tree.
        index: u64,
        /// Size of the tree.
        size: u64,
    },
    /// More or fewer hashes than the place needs.
    #[error("a proof of {hashes} hashes does not fit")]
    Length {
        /// How many there are.
        hashes: usize,
    },
    /// The proof leads to another root.
    #[error("the proof leads to another root")]
    Root,
    /// Sizes and hashes that no tree has.
    #[error("{hashes} subtree hashes are not those of a tree of {size} entries")]
    Frontier {
        /// Size of the tree.
        size: u64,
        /// How many hashes there are.
        hashes: usize,
    },
}

/// The right edge of a tree: the roots of its whole subtrees, largest first. Enough to append and to know the root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "FrontierWire")]
pub struct Frontier {
    size: u64,
    subtrees: Vec<Digest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FrontierWire {
    size: u64,
    subtrees: Vec<Digest>,
}

impl TryFrom<FrontierWire> for Frontier {
    type Error = ProofError;

    fn try_from(wire: FrontierWire) -> Result<Self, ProofError> {
        Self::from_parts(wire.size, wire.subtrees)
    }
}

impl Frontier {
    /// The tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// The edge of a tree of `size` leaves; there is one subtree for each bit set in `size`.
    pub fn from_parts(size: u64, subtrees: Vec<Digest>) -> Result<Self, ProofError> {
        if size.count_ones() as usize != subtrees.len() {
            return Err(ProofError::Frontier { size, hashes: subtrees.len() });
        }
        Ok(Self { size, subtrees })
    }

    /// The tree over these leaf hashes.
    pub fn from_leaves<'a>(leaves: impl IntoIterator<Item = &'a Digest>) -> Self {
        let mut frontier = Self::new();
        for leaf in leaves {
            frontier.append(*leaf);
        }
        frontier
    }

    /// Adds a leaf by its hash and tells its index.
    pub fn append(&mut self, leaf: Digest) -> u64 {
        self.append_telling(leaf, |_, _| ())
    }

    /// The same, and tells every whole subtree above the leaf that this completes: its level, which is the logarithm of how
    /// many leaves it has, and its root. Its number among those of its level is `index >> level`.
    pub fn append_telling(&mut self, leaf: Digest, mut completed: impl FnMut(u32, &Digest)) -> u64 {
        let index = self.size;
        let mut node = leaf;
        // Each trailing one of the old size is a whole subtree that the new leaf completes to the next level.
        for level in 1..=index.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                node = node_hash(&left, &node);
                completed(level, &node);
            }
        }
        self.subtrees.push(node);
        self.size += 1;
        index
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the whole subtrees, largest first.
    pub fn subtrees(&self) -> &[Digest] {
        &self.subtrees
    }

    /// The root over all leaves.
    pub fn root(&self) -> Digest {
        self.subtrees.iter().rev().copied().reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }
}

/// The root of the tree over these leaf hashes.
pub fn root_of(leaves: &[Digest]) -> Digest {
    Frontier::from_leaves(leaves).root()
}

/// Where the left half of a tree of `count` leaves ends: at the largest power of two below `count`.
fn split(count: u64) -> u64 {
    // For 2 and more; smaller trees are not split.
    1 << (count.max(2) - 1).ilog2()
}

/// The root over the leaves of `range`, a subtree of some tree of RFC 6962, from the whole subtrees that it is made of.
fn range_root<E>(range: Range<u64>, subtree: &mut impl FnMut(u32, u64) -> Result<Digest, E>) -> Result<Digest, E> {
    let (mut from, mut edge) = (range.start, Vec::new());
    // INVARIANT: `from` is a multiple of every power of two that is not larger than what is left.
    while from < range.end {
        let level = (range.end - from).ilog2();
        edge.push(subtree(level, from >> level)?);
        from += 1 << level;
    }
    Ok(edge.into_iter().rev().reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root))
}

/// `PATH(index, leaves)` of a tree of `size` leaves: the hashes from the leaf's sibling up to the root's child.
///
/// `subtree` tells the root of whole subtree number `n` of a level, counted from 0 at the leaves: the one over the leaves
/// from `n << level` to `(n + 1) << level`. It is asked for O(log² size) of them at most, and only for those within `size`.
///
/// # Errors
/// [`ProofError::OutOfRange`], and what `subtree` returns.
pub fn inclusion_proof_by<E: From<ProofError>>(
    index: u64,
    size: u64,
    mut subtree: impl FnMut(u32, u64) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    if index >= size {
        return Err(ProofError::OutOfRange { index, size }.into());
    }
    let (mut rest, mut proof) = (0..size, Vec::new());
    while rest.end - rest.start > 1 {
        let middle = rest.start + split(rest.end - rest.start);
        if index < middle {
            proof.push(range_root(middle..rest.end, &mut subtree)?);
            rest.end = middle;
        } else {
            proof.push(range_root(rest.start..middle, &mut subtree)?);
            rest.start = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// `PROOF(old_size, leaves)` of a tree of `size` leaves: why the tree over the first `old_size` of them is the beginning
/// of the tree over all. Empty for an empty old tree and for equal sizes. `subtree` is as in [`inclusion_proof_by`].
///
/// # Errors
/// [`ProofError::OutOfRange`], and what `subtree` returns.
pub fn consistency_proof_by<E: From<ProofError>>(
    old_size: u64,
    size: u64,
    mut subtree: impl FnMut(u32, u64) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    if old_size > size {
        return Err(ProofError::OutOfRange { index: old_size, size }.into());
    }
    if old_size == 0 || old_size == size {
        return Ok(Vec::new());
    }
    let (mut rest, mut proof) = (0..size, Vec::new());
    // Whether `rest` still begins where the old tree does; then its root is the old root, which the verifier has.
    let mut whole = true;
    while old_size < rest.end {
        let middle = rest.start + split(rest.end - rest.start);
        if old_size <= middle {
            proof.push(range_root(middle..rest.end, &mut subtree)?);
            rest.end = middle;
        } else {
            proof.push(range_root(rest.start..middle, &mut subtree)?);
            rest.start = middle;
            whole = false;
        }
    }
    if !whole {
        proof.push(range_root(rest, &mut subtree)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The whole subtrees over these leaf hashes, for the proofs above.
fn of_leaves(leaves: &[Digest]) -> impl FnMut(u32, u64) -> Result<Digest, ProofError> {
    |level, number| {
        let first = usize::try_from(number << level).ok();
        let over = first.and_then(|first| leaves.get(first..first.checked_add(1 << level)?));
        over.map(root_of).ok_or(ProofError::OutOfRange { index: number << level, size: leaves.len() as u64 })
    }
}

/// [`inclusion_proof_by`] over all these leaf hashes.
pub fn inclusion_proof(leaves: &[Digest], index: u64) -> Result<Vec<Digest>, ProofError> {
    inclusion_proof_by(index, leaves.len() as u64, of_leaves(leaves))
}

/// [`consistency_proof_by`] over all these leaf hashes.
pub fn consistency_proof(leaves: &[Digest], old_size: u64) -> Result<Vec<Digest>, ProofError> {
    consistency_proof_by(old_size, leaves.len() as u64, of_leaves(leaves))
}

/// Checks that the leaf with this hash is number `index` in the tree of `size` leaves with this `root` (RFC 9162 §2.1.3.2).
pub fn verify_inclusion(
    leaf: &Digest,
    index: u64,
    size: u64,
    proof: &[Digest],
    root: &Digest,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange { index, size });
    }
    let length = ProofError::Length { hashes: proof.len() };
    let (mut place, mut last) = (index, size - 1);
    let mut node = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(length);
        }
        if place & 1 == 1 || place == last {
            node = node_hash(sibling, &node);
            // At the right edge there are levels without a sibling.
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            node = node_hash(&node, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    match (last, node == *root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(length),
    }
}

/// Checks that the tree of `old_size` leaves with `old_root` is the beginning of the tree of `new_size` leaves with
/// `new_root` (RFC 9162 §2.1.4.2). An empty tree is the beginning of every tree; its proof has no hashes.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Digest,
    new_size: u64,
    new_root: &Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    if old_size > new_size {
        return Err(ProofError::OutOfRange { index: old_size, size: new_size });
    }
    let length = ProofError::Length { hashes: proof.len() };
    if old_size == 0 || old_size == new_size {
        let expected = if old_size == 0 { empty_root() } else { *new_root };
        return match (proof.is_empty(), *old_root == expected) {
            (true, true) => Ok(()),
            (true, false) => Err(ProofError::Root),
            (false, _) => Err(length),
        };
    }
    let (mut place, mut last) = (old_size - 1, new_size - 1);
    // Levels where the old edge is a right child add nothing: the old tree holds both halves.
    let whole = place.trailing_ones();
    place >>= whole;
    last >>= whole;
    let mut hashes = proof.iter();
    let first = if old_size.is_power_of_two() { old_root } else { hashes.next().ok_or(length)? };
    let (mut old, mut new) = (*first, *first);
    for sibling in hashes {
        if last == 0 {
            return Err(length);
        }
        if place & 1 == 1 || place == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    match (last, old == *old_root && new == *new_root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(length),
    }
}
