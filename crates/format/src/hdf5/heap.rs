//! Heaps: global ones with what variable-length elements refer to (§III.E), fractal ones with the links and attributes of objects that
//! have many (§III.G), and the version 2 B-trees that index those (§III.A.2).

use std::{
    collections::{HashMap, HashSet},
    io::{Read, Seek},
    rc::Rc,
};

use super::{DEPTH_MAX, Datatype, Flaw, Reader, Step, Stop, datatype::bytes_for, optional};
use crate::slice::Slice;

/// Most records of one version 2 B-tree.
const RECORDS_MAX: usize = 200_000;
/// Global heap collections that are kept in memory, in bytes.
const COLLECTIONS_BYTES_MAX: usize = 64 << 20;
/// All that the elements of one call refer to, in bytes.
const REFERRED_BYTES_MAX: usize = 256 << 20;
/// Objects of one collection.
const OBJECTS_MAX: usize = 1_000_000;
/// Most elements of variable length that are followed at once.
const ELEMENTS_MAX: usize = 1_000_000;
/// Rows of a fractal heap's table.
const ROWS_MAX: u32 = 64;

/// A collection of a global heap: the bytes, and start and length of each object by its index.
pub(super) struct Collection {
    bytes: Vec<u8>,
    objects: HashMap<u64, (usize, usize)>,
}

/// A fractal heap's header.
struct Heap {
    id_bytes: usize,
    is_filtered: bool,
    has_checksums: bool,
    width: u64,
    start_bytes: u64,
    direct_bytes_max: u64,
    offset_bytes: usize,
    length_bytes: usize,
    root: Option<u64>,
    rows: u32,
    huge: Option<u64>,
    tiny_is_long: bool,
}

/// A version 2 B-tree's header.
struct Tree {
    kind: u8,
    node_bytes: u64,
    record_bytes: u64,
    depth: u32,
    root: Option<u64>,
    records: u64,
    /// Bytes of a count of records.
    count_bytes: usize,
    /// Bytes of a total below a node of each level, from level 1.
    total_bytes: Vec<usize>,
}

impl<S: Read + Seek + ?Sized> Reader<'_, S> {
    /// What elements of variable length refer to, each thing once, with its place in the file.
    pub fn referred(&mut self, datatype: &Datatype, raw: &[u8]) -> std::io::Result<Vec<(u64, Vec<u8>)>> {
        let mut found = Vec::new();
        let (Ok(size), false) = (usize::try_from(datatype.size), datatype.slots.is_empty()) else { return Ok(found) };
        if size == 0 {
            return Ok(found);
        }
        let address_bytes = self.superblock.address_bytes;
        let (mut seen, mut referred) = (HashSet::new(), 0_usize);
        for element in raw.chunks(size) {
            for slot in &datatype.slots {
                let at = usize::try_from(*slot).unwrap_or(usize::MAX);
                let mut slice = Slice::new(element.get(at..).unwrap_or_default());
                let fields = slice.number(4).zip(slice.number(address_bytes)).zip(slice.number(4));
                let Some(((count, address), index)) = fields else { continue };
                if count == 0 || address == 0 {
                    continue;
                }
                if !seen.insert((address, index)) {
                    continue;
                }
                if found.len() >= ELEMENTS_MAX || referred > REFERRED_BYTES_MAX {
                    self.flaw(Flaw::Limit { what: "elements of variable length" });
                    return Ok(found);
                }
                if let Some(object) = optional(self.global_object(address, index))? {
                    referred = referred.saturating_add(object.1.len());
                    found.push(object);
                }
            }
        }
        Ok(found)
    }

    fn global_object(&mut self, address: u64, index: u64) -> Step<(u64, Vec<u8>)> {
        let collection = self.collection(address)?;
        let found = collection.objects.get(&index);
        let found = found.and_then(|(start, bytes)| Some((*start, collection.bytes.get(*start..start + bytes)?)));
        match found {
            Some((start, bytes)) => Ok((self.place(address).saturating_add(start as u64), bytes.to_vec())),
            None => self.broken("global heap object", address),
        }
    }

    fn collection(&mut self, address: u64) -> Step<Rc<Collection>> {
        if let Some(collection) = self.collections.get(&address) {
            return Ok(Rc::clone(collection));
        }
        let what = "global heap";
        let length_bytes = self.superblock.length_bytes;
        let head = self.signed(what, *b"GCOL", address, 8 + length_bytes as u64)?;
        let mut slice = Slice::new(&head);
        let bytes = slice.skip(4).and_then(|()| self.number(&mut slice));
        let bytes = self.sound(bytes, what, address)?;
        let bytes = self.bytes(what, address, bytes)?;
        let mut slice = Slice::new(&bytes);
        let mut objects = HashMap::new();
        let mut sound = slice.skip(8 + length_bytes);
        while sound.is_some() && slice.left() >= 8 + length_bytes && objects.len() < OBJECTS_MAX {
            let Some(index) = slice.number(2) else { break };
            if index == 0 {
                break;
            }
            sound = slice.skip(6).and_then(|()| {
                let size = slice.size(length_bytes)?;
                objects.entry(index).or_insert((slice.at(), size));
                slice.take(size)?;
                let padding = size.next_multiple_of(8) - size;
                slice.skip(padding.min(slice.left()))
            });
        }
        if sound.is_none() {
            return self.broken(what, address);
        }
        let collection = Rc::new(Collection { bytes, objects });
        if self.kept > COLLECTIONS_BYTES_MAX {
            self.collections.clear();
            self.kept = 0;
        }
        self.kept += collection.bytes.len();
        self.collections.insert(address, Rc::clone(&collection));
        Ok(collection)
    }

    /// The objects of the fractal heap at `heap` whose ids stand in the records of the tree at `tree`, `before` bytes into each.
    pub(super) fn heap_objects(&mut self, heap: u64, tree: u64, before: usize) -> Step<Vec<(Vec<u8>, u64)>> {
        let heap = self.fractal_heap(heap)?;
        let mut objects = Vec::new();
        for record in self.records(tree)? {
            let id = record.get(before..).and_then(|rest| rest.get(..heap.id_bytes)).map(<[u8]>::to_vec);
            let id = self.sound(id, "B-tree record", tree)?;
            // An object that cannot be read leaves the others readable; the flaw is recorded.
            objects.extend(optional(self.heap_object(&heap, &id)).map_err(Stop::Io)?);
        }
        Ok(objects)
    }

    fn fractal_heap(&mut self, address: u64) -> Step<Heap> {
        let what = "fractal heap";
        let (address_bytes, length_bytes) = (self.superblock.address_bytes, self.superblock.length_bytes);
        let bytes = 14 + 12 * length_bytes + 3 * address_bytes + 8;
        let head = self.signed(what, *b"FRHP", address, bytes as u64)?;
        let heap = self.heap_header(&head);
        let heap = self.sound(heap, what, address)?;
        if heap.is_filtered {
            let offset = self.place(address);
            return self.stop(Flaw::Unread { what: "filtered fractal heap", offset });
        }
        Ok(heap)
    }

    fn heap_header(&self, head: &[u8]) -> Option<Heap> {
        let mut slice = Slice::new(head);
        let skip_lengths = |slice: &mut Slice<'_>, count: usize| slice.skip(count * self.superblock.length_bytes);
        (slice.byte()? == 0).then_some(())?;
        let id_bytes = slice.size(2)?;
        let filter_bytes = slice.number(2)?;
        let flags = slice.byte()?;
        let object_bytes_max = slice.number(4)?;
        skip_lengths(&mut slice, 1)?;
        let huge = self.address(&mut slice)?;
        skip_lengths(&mut slice, 1)?;
        self.address(&mut slice)?;
        skip_lengths(&mut slice, 8)?;
        let width = slice.number(2)?;
        let start_bytes = self.number(&mut slice)?;
        let direct_bytes_max = self.number(&mut slice)?;
        let bits = slice.size(2)?;
        slice.skip(2)?;
        let root = self.address(&mut slice)?;
        let rows = u32::try_from(slice.number(2)?).ok()?;
        let is_sane =
            start_bytes.is_power_of_two() && direct_bytes_max.is_power_of_two() && start_bytes <= direct_bytes_max;
        if !is_sane || width == 0 || bits > 64 || rows > ROWS_MAX || !(1..=64).contains(&id_bytes) {
            return None;
        }
        let log = |value: u64| 63_u32.saturating_sub(value.leading_zeros());
        let length_bytes = usize::try_from(log(direct_bytes_max).div_ceil(8)).ok()?.min(bytes_for(object_bytes_max));
        Some(Heap {
            id_bytes,
            is_filtered: filter_bytes > 0,
            has_checksums: flags & 2 != 0,
            width,
            start_bytes,
            direct_bytes_max,
            offset_bytes: bits.div_ceil(8),
            length_bytes,
            root,
            rows,
            huge,
            tiny_is_long: id_bytes > 18,
        })
    }

    fn heap_object(&mut self, heap: &Heap, id: &[u8]) -> Step<(Vec<u8>, u64)> {
        let what = "heap object";
        let mut slice = Slice::new(id);
        let first = slice.byte().unwrap_or(0);
        match first >> 4 & 3 {
            0 => {
                let place = slice.number(heap.offset_bytes).zip(slice.number(heap.length_bytes));
                let (offset, bytes) = self.sound(place, what, heap.root.unwrap_or(0))?;
                let address = self.managed(heap, offset, bytes)?;
                Ok((self.bytes(what, address, bytes)?, self.place(address)))
            }
            1 => self.huge_object(heap, &mut slice),
            2 => {
                let mut bytes = usize::from(first & 0x0f) + 1;
                if heap.tiny_is_long {
                    bytes = usize::from(first & 0x0f) << 8 | usize::from(slice.byte().unwrap_or(0));
                    bytes += 1;
                }
                let body = slice.take(bytes).map(<[u8]>::to_vec);
                let place = heap.root.unwrap_or(0);
                Ok((self.sound(body, what, place)?, self.place(place)))
            }
            _ => self.broken(what, heap.root.unwrap_or(0)),
        }
    }

    /// An object too large for the heap: the id says where it is, or a tree does.
    fn huge_object(&mut self, heap: &Heap, slice: &mut Slice<'_>) -> Step<(Vec<u8>, u64)> {
        let what = "huge heap object";
        let direct = self.superblock.address_bytes + self.superblock.length_bytes;
        let place = if heap.id_bytes > direct {
            self.address(slice).flatten().zip(self.number(slice))
        } else {
            let key = slice.number(heap.id_bytes.saturating_sub(1).min(8));
            let tree = self.sound(heap.huge, what, 0)?;
            let records = self.records(tree)?;
            records.iter().find_map(|record| {
                let mut slice = Slice::new(record);
                let place = self.address(&mut slice)?.zip(self.number(&mut slice));
                (self.number(&mut slice) == key).then_some(place)?
            })
        };
        let (address, bytes) = self.sound(place, what, heap.huge.unwrap_or(0))?;
        Ok((self.bytes(what, address, bytes)?, self.place(address)))
    }

    /// Address of the managed object at `offset` of the heap's own space: down the doubling table.
    fn managed(&mut self, heap: &Heap, offset: u64, bytes: u64) -> Step<u64> {
        let what = "fractal heap block";
        let Some(mut address) = heap.root else { return self.broken(what, 0) };
        let (mut rows, mut base) = (heap.rows, 0_u64);
        for _ in 0..DEPTH_MAX {
            if rows == 0 {
                let size = heap.direct_bytes_max.max(heap.start_bytes);
                let end = (offset - base).checked_add(bytes);
                if end.is_none_or(|end| end > size) {
                    return self.broken(what, address);
                }
                let frame = 5 + self.superblock.address_bytes + heap.offset_bytes + 4 * usize::from(heap.has_checksums);
                self.signed(what, *b"FHDB", address, frame as u64)?;
                return Ok(address.saturating_add(offset - base));
            }
            let child = self.child(heap, address, rows, base, offset)?;
            (address, rows, base) = child;
        }
        self.broken(what, address)
    }

    /// The child of an indirect block in which `offset` lies: its address, rows (0 for a direct block) and first offset.
    fn child(&mut self, heap: &Heap, address: u64, rows: u32, base: u64, offset: u64) -> Step<(u64, u32, u64)> {
        let what = "fractal heap indirect block";
        let address_bytes = self.superblock.address_bytes as u64;
        let entries = u64::from(rows) * heap.width;
        let frame = 1 + address_bytes + heap.offset_bytes as u64;
        let block = self.signed(what, *b"FHIB", address, 4 + frame + entries * address_bytes)?;
        let mut start = base;
        for row in 0..rows {
            let size = heap.start_bytes.checked_shl(row.saturating_sub(1)).filter(|size| *size > 0);
            let size = self.sound(size, what, address)?;
            let end = heap.width.checked_mul(size).and_then(|bytes| start.checked_add(bytes));
            let end = self.sound(end, what, address)?;
            if offset >= end {
                start = end;
                continue;
            }
            let column = offset.saturating_sub(start) / size;
            let at = frame + (u64::from(row) * heap.width + column) * address_bytes;
            let mut slice = Slice::new(&block);
            let child = usize::try_from(at).ok().and_then(|at| slice.skip(at)).and_then(|()| self.address(&mut slice));
            let child = self.sound(child.flatten(), what, address)?;
            let first = start + column * size;
            // Indirect blocks of a row cover as much as that row's blocks: their own rows follow from it.
            let below = if size <= heap.direct_bytes_max { 0 } else { rows_of(heap, size) };
            return Ok((child, below, first));
        }
        self.broken(what, address)
    }

    /// The records of a version 2 B-tree.
    pub(super) fn records(&mut self, address: u64) -> Step<Vec<Vec<u8>>> {
        let tree = self.tree_header(address)?;
        let mut records = Vec::new();
        let Some(root) = tree.root else { return Ok(records) };
        let mut seen = HashSet::new();
        let mut open = vec![(root, tree.depth, tree.records)];
        while let Some((address, level, count)) = open.pop() {
            if !seen.insert(address) {
                return self.broken("B-tree", address);
            }
            let what = "B-tree node";
            let signature = if level > 0 { *b"BTIN" } else { *b"BTLF" };
            let node = self.signed(what, signature, address, tree.node_bytes)?;
            let mut slice = Slice::new(&node);
            let head = slice.byte().zip(slice.byte());
            if head.is_none_or(|(_, kind)| kind != tree.kind) {
                return self.broken(what, address);
            }
            for _ in 0..count {
                let record = usize::try_from(tree.record_bytes).ok().and_then(|bytes| slice.take(bytes));
                let record = record.map(<[u8]>::to_vec);
                records.push(self.sound(record, what, address)?);
            }
            if records.len() > RECORDS_MAX {
                return self.stop(Flaw::Limit { what: "records of a B-tree" });
            }
            for _ in 0..if level > 0 { count + 1 } else { 0 } {
                let child = self.address(&mut slice).flatten().zip(slice.number(tree.count_bytes));
                let total = usize::try_from(level).ok().and_then(|level| tree.total_bytes.get(level.checked_sub(2)?));
                let skipped = slice.skip(total.copied().unwrap_or(0));
                let (child, below) = self.sound(child.filter(|_| skipped.is_some()), what, address)?;
                open.push((child, level - 1, below));
            }
        }
        Ok(records)
    }

    fn tree_header(&mut self, address: u64) -> Step<Tree> {
        let what = "B-tree header";
        let bytes = 4 + 12 + self.superblock.address_bytes + 2 + self.superblock.length_bytes;
        let head = self.signed(what, *b"BTHD", address, bytes as u64)?;
        let tree = self.tree_fields(&head);
        self.sound(tree, what, address)
    }

    fn tree_fields(&self, head: &[u8]) -> Option<Tree> {
        let mut slice = Slice::new(head);
        slice.skip(1)?;
        let kind = slice.byte()?;
        let node_bytes = slice.number(4)?;
        let record_bytes = slice.number(2)?;
        let depth = u32::try_from(slice.number(2)?).ok()?;
        slice.skip(2)?;
        let root = self.address(&mut slice)?;
        let records = slice.number(2)?;
        if record_bytes == 0 || depth > DEPTH_MAX || node_bytes < NODE_FRAME_BYTES + record_bytes {
            return None;
        }
        let leaf_records = (node_bytes - NODE_FRAME_BYTES) / record_bytes;
        let count_bytes = bytes_for(leaf_records);
        let (mut total, mut total_bytes) = (leaf_records, Vec::new());
        for level in 1..=depth {
            let below = if level > 1 { bytes_for(total) } else { 0 };
            if level > 1 {
                total_bytes.push(below);
            }
            let pointer = (self.superblock.address_bytes + count_bytes + below) as u64;
            let here = node_bytes.checked_sub(NODE_FRAME_BYTES + pointer)? / (record_bytes + pointer);
            total = here.checked_add(1)?.checked_mul(total)?.checked_add(here)?;
        }
        Some(Tree { kind, node_bytes, record_bytes, depth, root, records, count_bytes, total_bytes })
    }
}

/// Signature, version, kind and checksum of a node.
const NODE_FRAME_BYTES: u64 = 10;

/// Rows of an indirect block that covers `size` bytes: the first two rows hold `width` starting blocks each, and every further row
/// doubles what the rows before it hold.
fn rows_of(heap: &Heap, size: u64) -> u32 {
    let first = heap.width.saturating_mul(heap.start_bytes).max(1);
    let mut rows = 1;
    let mut covered = first;
    while covered < size && rows < ROWS_MAX {
        covered = covered.saturating_mul(2);
        rows += 1;
    }
    rows
}
