//! The links of old groups: a version 1 B-tree of symbol table nodes and a local heap with the names (§III.A to §III.D).

use std::io::{Read, Seek};

use super::{DEPTH_MAX, Flaw, Link, Reader, Step, Target, data::ExternalFile, header::text};
use crate::slice::Slice;

/// Most links of one group, and most nodes of one tree.
const NODES_MAX: usize = 200_000;

/// Bytes behind the fixed part of an entry of a symbol table node: kind of cache, reserved, scratch.
const ENTRY_TAIL_BYTES: u64 = 24;

/// A node of a version 1 B-tree, its keys as they stand.
pub(super) struct Leaf {
    pub(super) key: Vec<u8>,
    pub(super) child: u64,
}

impl<S: Read + Seek + ?Sized> Reader<'_, S> {
    /// The links of the group with this symbol table message.
    pub(super) fn old_links(&mut self, body: &[u8], offset: u64) -> Step<Vec<Link>> {
        let mut slice = Slice::new(body);
        let tree = self.address(&mut slice).flatten();
        let heap = self.address(&mut slice).flatten();
        let (Some(tree), Some(heap)) = (tree, heap) else {
            return self.stop(Flaw::Broken { what: "symbol table", offset });
        };
        let names = self.local_heap(heap)?;
        let key_bytes = self.superblock.length_bytes;
        let mut links = Vec::new();
        for leaf in self.old_tree(tree, 0, key_bytes)? {
            self.symbols(leaf.child, &names, &mut links)?;
            if links.len() > NODES_MAX {
                return self.stop(Flaw::Limit { what: "links" });
            }
        }
        Ok(links)
    }

    fn symbols(&mut self, address: u64, names: &[u8], links: &mut Vec<Link>) -> Step<()> {
        let what = "symbol table node";
        let entry_bytes = 2 * self.superblock.address_bytes as u64 + ENTRY_TAIL_BYTES;
        let head = self.signed(what, *b"SNOD", address, 8)?;
        let mut slice = Slice::new(&head);
        let count = slice.skip(2).and_then(|()| slice.number(2));
        let count = self.sound(count, what, address)?;
        let body = self.bytes(what, address.saturating_add(8), count * entry_bytes)?;
        let mut slice = Slice::new(&body);
        for _ in 0..count {
            let start = self.place(address).saturating_add(8 + slice.at() as u64);
            let entry = self.symbol(&mut slice, names);
            let (name, target) = self.sound(entry, what, address)?;
            links.push(Link { name, target, offset: start });
        }
        Ok(())
    }

    fn symbol(&self, slice: &mut Slice<'_>, names: &[u8]) -> Option<(String, Target)> {
        let name_at = usize::try_from(self.address(slice)?.unwrap_or(u64::MAX)).ok();
        let header = self.address(slice)?;
        let cache = slice.number(4)?;
        slice.skip(4)?;
        let soft = slice.size(4)?;
        slice.skip(12)?;
        let name = text(names.get(name_at?..)?);
        let target = match header {
            _ if cache == 2 => Target::Soft(text(names.get(soft..)?)),
            Some(header) => Target::Hard(header),
            None => return None,
        };
        Some((name, target))
    }

    /// The data segment of a local heap.
    pub(super) fn local_heap(&mut self, address: u64) -> Step<Vec<u8>> {
        let what = "local heap";
        let bytes = 8 + 2 * self.superblock.length_bytes + self.superblock.address_bytes;
        let head = self.signed(what, *b"HEAP", address, bytes as u64)?;
        let mut slice = Slice::new(&head);
        let size = slice.skip(4).and_then(|()| self.number(&mut slice));
        let data = size.and_then(|_| self.number(&mut slice)).and_then(|_| self.address(&mut slice)).flatten();
        let (size, data) = self.sound(size.zip(data), what, address)?;
        self.bytes(what, data, size)
    }

    /// The children of the lowest level of a version 1 B-tree with keys of `key_bytes`.
    pub(super) fn old_tree(&mut self, root: u64, kind: u8, key_bytes: usize) -> Step<Vec<Leaf>> {
        let what = "B-tree node";
        let address_bytes = self.superblock.address_bytes;
        let mut leaves = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let mut open = vec![(root, 0_u32)];
        while let Some((address, depth)) = open.pop() {
            if !seen.insert(address) || depth > DEPTH_MAX {
                return self.broken("B-tree", address);
            }
            let head = self.signed(what, *b"TREE", address, 8 + 2 * address_bytes as u64)?;
            let mut slice = Slice::new(&head);
            let fields = slice.byte().zip(slice.byte()).zip(slice.number(2));
            let ((found, level), count) = self.sound(fields, what, address)?;
            if found != kind {
                return self.broken(what, address);
            }
            let pair_bytes = (key_bytes + address_bytes) as u64;
            let body = self.bytes(what, address.saturating_add(8 + 2 * address_bytes as u64), count * pair_bytes)?;
            let mut slice = Slice::new(&body);
            for _ in 0..count {
                let key = slice.take(key_bytes).map(<[u8]>::to_vec);
                let child = self.address(&mut slice).flatten();
                let (key, child) = self.sound(key.zip(child), what, address)?;
                if level > 0 {
                    open.push((child, depth + 1));
                } else {
                    leaves.push(Leaf { key, child });
                }
            }
            if seen.len() > NODES_MAX || leaves.len() > NODES_MAX {
                return self.stop(Flaw::Limit { what: "nodes of a B-tree" });
            }
        }
        Ok(leaves)
    }

    /// An external file list (§IV.A.2.h); the names stand in a local heap.
    pub(super) fn external_files(&mut self, body: &[u8], offset: u64) -> Step<Vec<ExternalFile>> {
        let mut slice = Slice::new(body);
        let count = slice.skip(6).and_then(|()| slice.number(2));
        let heap = self.address(&mut slice).flatten();
        let (Some(count), Some(heap)) = (count, heap) else {
            return self.stop(Flaw::Broken { what: "external file list", offset });
        };
        // A list whose names cannot be read is still a list.
        let names = super::optional(self.local_heap(heap)).map_err(super::Stop::Io)?.unwrap_or_default();
        let mut files = Vec::new();
        for _ in 0..count.max(1) {
            let entry = self.number(&mut slice).zip(self.number(&mut slice)).zip(self.number(&mut slice));
            let Some(((name, offset), bytes)) = entry else { break };
            let name = usize::try_from(name).ok().and_then(|at| names.get(at..)).map(text).unwrap_or_default();
            files.push(ExternalFile { name, offset, bytes });
        }
        if files.is_empty() {
            files.push(ExternalFile { name: String::new(), offset: 0, bytes: 0 });
        }
        Ok(files)
    }
}
