//! The root of an RFC 6962 Merkle tree (section 2.1) over SHA-256, built in one pass.

use ringfence_schema::{Digest, Hasher};

/// A tree that only its right edge is kept of: one subtree per set bit of the size.
#[derive(Default)]
pub(crate) struct Tree {
    edge: Vec<(u64, Digest)>,
}

impl Tree {
    /// Appends a leaf.
    pub(crate) fn push(&mut self, leaf: &Digest) {
        let mut node = (1, hash(&[&[0], leaf.as_bytes()]));
        while let Some((size, left)) = self.edge.pop_if(|(size, _)| *size == node.0) {
            node = (size + node.0, hash(&[&[1], left.as_bytes(), node.1.as_bytes()]));
        }
        self.edge.push(node);
    }

    /// The root; of no leaves, the hash of nothing.
    pub(crate) fn root(&self) -> Digest {
        let mut edge = self.edge.iter().rev().map(|(_, digest)| *digest);
        let Some(last) = edge.next() else { return Digest::of(b"") };
        edge.fold(last, |right, left| hash(&[&[1], left.as_bytes(), right.as_bytes()]))
    }
}

fn hash(parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 6962, word for word.
    fn by_definition(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest::of(b""),
            [leaf] => hash(&[&[0], leaf.as_bytes()]),
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                let (left, right) = leaves.split_at(split);
                hash(&[&[1], by_definition(left).as_bytes(), by_definition(right).as_bytes()])
            }
        }
    }

    #[test]
    fn equals_the_definition() {
        let leaves: Vec<Digest> = (0..70_u8).map(|n| Digest::of(&[n])).collect();
        let mut tree = Tree::default();
        for size in 0..leaves.len() {
            assert_eq!(tree.root(), by_definition(&leaves[..size]), "{size} leaves");
            tree.push(&leaves[size]);
        }
    }
}
