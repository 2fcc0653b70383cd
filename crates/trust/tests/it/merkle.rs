//! The Merkle tree against published vectors, a naive definition, and hostile proofs.

use proptest::prelude::*;
use ringfence_schema::Digest;
use ringfence_trust::merkle::{
    Frontier, ProofError, consistency_proof, empty_root, inclusion_proof, leaf_hash, node_hash, root_of,
    verify_consistency, verify_inclusion,
};
use serde_json::Value;

use crate::support::{published, unhex};

fn digest(value: &Value) -> Digest {
    format!("sha256:{}", value.as_str().unwrap()).parse().unwrap()
}

fn digests(value: &Value) -> Vec<Digest> {
    value.as_array().unwrap().iter().map(digest).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn leaves(count: usize) -> Vec<Digest> {
    (0..count).map(|index| leaf_hash(&index.to_be_bytes())).collect()
}

/// RFC 6962 §2.1 word for word.
fn naive_root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(b""),
        [one] => *one,
        more => {
            let middle = (0..20).map(|power| 1 << power).filter(|power| *power < more.len()).max().unwrap();
            node_hash(&naive_root(&more[..middle]), &naive_root(&more[middle..]))
        }
    }
}

#[test]
fn published_roots_and_proofs() {
    let file = published("merkle.json");
    let roots = digests(&file["roots"]);
    let hashes: Vec<_> =
        file["leaves"].as_array().unwrap().iter().map(|leaf| leaf_hash(&unhex(leaf.as_str().unwrap()))).collect();
    assert_eq!(empty_root(), digest(&file["empty_root"]));
    let mut frontier = Frontier::new();
    for (index, leaf) in hashes.iter().enumerate() {
        assert_eq!(frontier.append(*leaf), index as u64);
        assert_eq!(frontier.root(), roots[index]);
    }
    let root_at = |size: u64| roots[usize::try_from(size).unwrap() - 1];
    let first = |size: u64| &hashes[..usize::try_from(size).unwrap()];
    for vector in file["inclusion"].as_array().unwrap() {
        let (index, size) = (number(&vector["index"]), number(&vector["size"]));
        let proof = inclusion_proof(first(size), index).unwrap();
        assert_eq!(proof, digests(&vector["proof"]));
        let leaf = hashes[usize::try_from(index).unwrap()];
        verify_inclusion(&leaf, index, size, &proof, &root_at(size)).unwrap();
    }
    for vector in file["consistency"].as_array().unwrap() {
        let (old, new) = (number(&vector["old"]), number(&vector["new"]));
        let proof = consistency_proof(first(new), old).unwrap();
        assert_eq!(proof, digests(&vector["proof"]));
        verify_consistency(old, &root_at(old), new, &root_at(new), &proof).unwrap();
    }
}

#[test]
fn every_proof_of_small_trees_holds() {
    let all = leaves(40);
    let roots: Vec<_> = (0..=all.len()).map(|size| naive_root(&all[..size])).collect();
    for size in 0..=all.len() {
        let (tree, root, wide) = (&all[..size], &roots[size], size as u64);
        assert_eq!(root_of(tree), *root);
        for (index, leaf) in tree.iter().enumerate() {
            let proof = inclusion_proof(tree, index as u64).unwrap();
            verify_inclusion(leaf, index as u64, wide, &proof, root).unwrap();
            for other in (0..wide).filter(|other| *other != index as u64) {
                verify_inclusion(leaf, other, wide, &proof, root).unwrap_err();
            }
        }
        assert!(inclusion_proof(tree, wide).is_err());
        for old in 0..=size {
            let proof = consistency_proof(tree, old as u64).unwrap();
            verify_consistency(old as u64, &roots[old], wide, root, &proof).unwrap();
            for (other, root_of_other) in roots.iter().enumerate().filter(|(other, _)| *other != old && old != 0) {
                verify_consistency(old as u64, root_of_other, wide, root, &proof).unwrap_err();
                verify_consistency(other as u64, &roots[old], wide, root, &proof).unwrap_err();
            }
        }
        assert!(consistency_proof(tree, wide + 1).is_err());
    }
}

#[test]
fn hostile_sizes_end_quickly() {
    let proof = vec![leaf_hash(b"x"); 70];
    for (index, size) in [(0, u64::MAX), (u64::MAX - 1, u64::MAX), (1 << 63, u64::MAX)] {
        assert!(verify_inclusion(&proof[0], index, size, &proof, &proof[0]).is_err());
        assert!(verify_consistency(index.max(1), &proof[0], size, &proof[0], &proof).is_err());
    }
    assert_eq!(verify_inclusion(&proof[0], 0, 0, &[], &proof[0]), Err(ProofError::OutOfRange { index: 0, size: 0 }));
}

#[test]
fn a_frontier_is_rebuilt_from_its_parts_only() {
    let frontier = Frontier::from_leaves(&leaves(11));
    let text = serde_json::to_string(&frontier).unwrap();
    assert_eq!(serde_json::from_str::<Frontier>(&text).unwrap(), frontier);
    assert!(Frontier::from_parts(12, frontier.subtrees().to_vec()).is_err());
    assert!(serde_json::from_str::<Frontier>(&text.replace("\"size\":11", "\"size\":12")).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn changed_proofs_are_refused(size in 2_usize..300, place in any::<prop::sample::Index>(), spot in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let tree = leaves(size);
        let root = naive_root(&tree);
        prop_assert_eq!(Frontier::from_leaves(&tree).root(), root);
        let index = place.index(size);
        let mut proof = inclusion_proof(&tree, index as u64).unwrap();
        let consistency = consistency_proof(&tree, index as u64).unwrap();
        prop_assert!(verify_consistency(index as u64, &naive_root(&tree[..index]), size as u64, &root, &consistency).is_ok());

        let mut longer = proof.clone();
        longer.push(root);
        prop_assert!(verify_inclusion(&tree[index], index as u64, size as u64, &longer, &root).is_err());
        prop_assert!(verify_inclusion(&tree[index], index as u64, size as u64, &proof[1..], &root).is_err());

        let changed = spot.index(proof.len());
        let mut raw = *proof[changed].as_bytes();
        raw[spot.index(32)] ^= 1 << bit;
        proof[changed] = Digest::from_bytes(raw);
        prop_assert_eq!(verify_inclusion(&tree[index], index as u64, size as u64, &proof, &root), Err(ProofError::Root));

        if !consistency.is_empty() {
            let mut consistency = consistency;
            let changed = spot.index(consistency.len());
            let mut raw = *consistency[changed].as_bytes();
            raw[spot.index(32)] ^= 1 << bit;
            consistency[changed] = Digest::from_bytes(raw);
            let old = naive_root(&tree[..index]);
            prop_assert_eq!(verify_consistency(index as u64, &old, size as u64, &root, &consistency), Err(ProofError::Root));
        }
    }
}
