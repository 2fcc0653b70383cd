//! Object headers (§IV.A.1) and the messages in them (§IV.A.2).

use std::io::{Read, Seek};

use super::{
    Attribute, Dataset, Datatype, Flaw, Layout, Link, MESSAGES_MAX, Object, Reader, Step, Stop, Target, data, optional,
};
use crate::slice::Slice;

/// Bytes of an old header's prefix with its padding.
const OLD_PREFIX_BYTES: u64 = 16;
/// Longest prefix of a new header: signature, version, flags, times, limits, size.
const NEW_PREFIX_BYTES: u64 = 4 + 2 + 16 + 4 + 8;
/// Continuation blocks of one header.
const BLOCKS_MAX: usize = 10_000;

/// A message: its type, flags, body and place.
struct Message {
    kind: u16,
    flags: u8,
    body: Vec<u8>,
    offset: u64,
}

/// How the messages of a block are written.
#[derive(Debug, Clone, Copy)]
enum Form {
    Old,
    /// With or without the order of creation.
    New {
        ordered: bool,
    },
}

impl<S: Read + Seek + ?Sized> Reader<'_, S> {
    /// The object at `address` and its links.
    pub(super) fn object(&mut self, path: &str, address: u64) -> Step<(Object, Vec<Link>)> {
        let messages = self.messages(address)?;
        let mut object = Object {
            path: path.to_owned(),
            offset: self.place(address),
            attributes: Vec::new(),
            links: Vec::new(),
            dataset: None,
            comment: None,
        };
        let mut links = Vec::new();
        let (mut datatype, mut dimensions, mut layout) = (None, Vec::new(), None);
        let (mut filters, mut external) = (Vec::new(), Vec::new());
        for message in &messages {
            // A broken message leaves the others readable.
            let done: Step<()> = (|| {
                match message.kind {
                    0x0001 => dimensions = self.dataspace(message)?,
                    0x0002 => links.extend(self.dense_links(message)?),
                    0x0003 => datatype = Some(self.datatype(message, 0)?),
                    0x0006 => links.push(self.link(&message.body, message.offset)?),
                    0x0007 => external = self.external_files(&message.body, message.offset)?,
                    0x0008 => layout = Some(self.layout(&message.body, message.offset)?),
                    0x000b => filters = self.filters(message)?,
                    0x000c => object.attributes.push(self.attribute(&message.body, message.offset)?),
                    0x000d => object.comment = Some(text(&message.body)),
                    0x0011 => links.extend(self.old_links(&message.body, message.offset)?),
                    0x0015 => object.attributes.extend(self.dense_attributes(message)?),
                    // Nothing, fill values, group info, times, heaps of shared messages (what points there is reported where it
                    // points), counts, tree sizes, drivers, file space.
                    0x0000 | 0x0004 | 0x0005 | 0x000a | 0x000e..=0x0010 | 0x0012..=0x0014 | 0x0016..=0x0018 => {}
                    _ => return self.stop(Flaw::Unread { what: "header message", offset: message.offset }),
                }
                Ok(())
            })();
            optional(done).map_err(Stop::Io)?;
        }
        if let (Some(datatype), Some(layout)) = (datatype, layout) {
            object.dataset = Some(Dataset { datatype, dimensions, layout, filters, external });
        } else if !external.is_empty() {
            let datatype = Datatype { class: super::Class::Opaque, size: 1, slots: Vec::new(), is_bytes: true };
            object.dataset = Some(Dataset { datatype, dimensions, layout: Layout::Nowhere, filters, external });
        }
        Ok((object, links))
    }

    /// Every message of the header at `address`, continuation blocks included.
    fn messages(&mut self, address: u64) -> Step<Vec<Message>> {
        let what = "object header";
        let left = self.length.saturating_sub(self.place(address));
        let head = self.bytes(what, address, left.min(NEW_PREFIX_BYTES))?;
        let mut slice = Slice::new(&head);
        let prefix = if head.starts_with(b"OHDR") { new_prefix(&mut slice) } else { old_prefix(&mut slice) };
        let (form, skip, bytes) = self.sound(prefix, what, address)?;
        let mut blocks = vec![(address.saturating_add(skip), bytes)];
        let mut messages = Vec::new();
        let mut next = 0;
        while let Some((address, bytes)) = blocks.get(next).copied() {
            next += 1;
            let is_old = matches!(form, Form::Old);
            let block = if next == 1 || is_old {
                self.bytes(what, address, bytes)?
            } else {
                // Signature and checksum frame a continuation of the new form.
                let mut block = self.signed(what, *b"OCHK", address, bytes)?;
                block.truncate(block.len().saturating_sub(4));
                block
            };
            let shift = if next == 1 || is_old { 0 } else { 4 };
            let start = self.place(address).saturating_add(shift);
            for message in block_messages(&block, form, start) {
                if message.kind == 0x0010 {
                    let mut slice = Slice::new(&message.body);
                    let place = self.address(&mut slice).flatten().zip(self.number(&mut slice));
                    let place = self.sound(place, "continuation", address)?;
                    if blocks.contains(&place) || blocks.len() >= BLOCKS_MAX {
                        return self.broken("continuation", address);
                    }
                    blocks.push(place);
                }
                if messages.len() >= MESSAGES_MAX {
                    return self.stop(Flaw::Limit { what: "messages" });
                }
                messages.push(message);
            }
        }
        Ok(messages)
    }

    /// Address of the header in which a shared message stands; heaps of shared messages are not read.
    fn shared(&mut self, body: &[u8], offset: u64) -> Step<u64> {
        let mut slice = Slice::new(body);
        let version = slice.byte().unwrap_or(0);
        let kind = slice.byte().unwrap_or(0);
        if version == 3 && kind == 1 {
            return self.stop(Flaw::Unread { what: "shared message heap", offset });
        }
        let skipped = if version == 1 { slice.skip(6) } else { Some(()) };
        let address = skipped.and_then(|()| self.address(&mut slice)).flatten();
        match address {
            Some(address) => Ok(address),
            None => self.stop(Flaw::Broken { what: "shared message", offset }),
        }
    }

    fn datatype(&mut self, message: &Message, depth: u32) -> Step<Datatype> {
        if message.flags & SHARED == 0 {
            return match Datatype::parse(&message.body) {
                Some(datatype) => Ok(datatype),
                None => self.stop(Flaw::Broken { what: "datatype", offset: message.offset }),
            };
        }
        let address = self.shared(&message.body, message.offset)?;
        self.named_type(address, message.offset, depth)
    }

    /// The type in the header at `address`.
    fn named_type(&mut self, address: u64, offset: u64, depth: u32) -> Step<Datatype> {
        let flaw = Flaw::Broken { what: "named datatype", offset };
        if depth > 1 {
            return self.stop(flaw);
        }
        let messages = self.messages(address)?;
        match messages.iter().find(|message| message.kind == 0x0003) {
            Some(message) => self.datatype(message, depth + 1),
            None => self.stop(flaw),
        }
    }

    fn dataspace(&mut self, message: &Message) -> Step<Vec<u64>> {
        if message.flags & SHARED != 0 {
            return self.stop(Flaw::Unread { what: "shared dataspace", offset: message.offset });
        }
        match dimensions(&message.body, self.superblock.length_bytes) {
            Some(dimensions) => Ok(dimensions),
            None => self.stop(Flaw::Broken { what: "dataspace", offset: message.offset }),
        }
    }

    fn filters(&mut self, message: &Message) -> Step<Vec<data::Filter>> {
        if message.flags & SHARED != 0 {
            return self.stop(Flaw::Unread { what: "shared filters", offset: message.offset });
        }
        match data::filters(&message.body) {
            Some(filters) => Ok(filters),
            None => self.stop(Flaw::Broken { what: "filters", offset: message.offset }),
        }
    }

    fn dense_links(&mut self, message: &Message) -> Step<Vec<Link>> {
        let mut slice = Slice::new(&message.body);
        let flags = slice.skip(1).and_then(|()| slice.byte());
        let skipped = flags.and_then(|flags| slice.skip(if flags & 1 != 0 { 8 } else { 0 }));
        let heap = skipped.and_then(|()| self.address(&mut slice));
        let tree = heap.and_then(|_| self.address(&mut slice));
        match (heap, tree) {
            (Some(Some(heap)), Some(Some(tree))) => {
                // Records of the name index: a hash, then the id.
                let bodies = self.heap_objects(heap, tree, 4)?;
                bodies.iter().map(|(body, offset)| self.link(body, *offset)).collect()
            }
            (Some(_), Some(_)) => Ok(Vec::new()),
            _ => self.stop(Flaw::Broken { what: "link info", offset: message.offset }),
        }
    }

    fn dense_attributes(&mut self, message: &Message) -> Step<Vec<Attribute>> {
        let mut slice = Slice::new(&message.body);
        let flags = slice.skip(1).and_then(|()| slice.byte());
        let skipped = flags.and_then(|flags| slice.skip(if flags & 1 != 0 { 2 } else { 0 }));
        let heap = skipped.and_then(|()| self.address(&mut slice));
        let tree = heap.and_then(|_| self.address(&mut slice));
        match (heap, tree) {
            (Some(Some(heap)), Some(Some(tree))) => {
                let bodies = self.heap_objects(heap, tree, 0)?;
                bodies.iter().map(|(body, offset)| self.attribute(body, *offset)).collect()
            }
            (Some(_), Some(_)) => Ok(Vec::new()),
            _ => self.stop(Flaw::Broken { what: "attribute info", offset: message.offset }),
        }
    }

    /// A link message (§IV.A.2.g).
    fn link(&mut self, body: &[u8], offset: u64) -> Step<Link> {
        match self.link_of(body) {
            Some((name, target)) => Ok(Link { name, target, offset }),
            None => self.stop(Flaw::Broken { what: "link", offset }),
        }
    }

    fn link_of(&self, body: &[u8]) -> Option<(String, Target)> {
        let mut slice = Slice::new(body);
        if slice.byte()? != 1 {
            return None;
        }
        let flags = slice.byte()?;
        let class = if flags & 0x08 != 0 { slice.byte()? } else { 0 };
        slice.skip(if flags & 0x04 != 0 { 8 } else { 0 })?;
        slice.skip(usize::from(flags & 0x10 != 0))?;
        let length = slice.size(1 << (flags & 3))?;
        let name = text(slice.take(length)?);
        let target = match class {
            0 => Target::Hard(self.address(&mut slice)??),
            1 => {
                let length = slice.size(2)?;
                Target::Soft(text(slice.take(length)?))
            }
            EXTERNAL => {
                let length = slice.size(2)?;
                // A byte of flags, the file, the path, each ended by a zero byte.
                let value = slice.take(length)?;
                let mut parts = value.get(1..)?.split(|byte| *byte == 0);
                Target::External { file: text(parts.next()?), path: text(parts.next().unwrap_or_default()) }
            }
            class => Target::User(class),
        };
        Some((name, target))
    }

    /// An attribute message (§IV.A.2.m).
    fn attribute(&mut self, body: &[u8], offset: u64) -> Step<Attribute> {
        let parts = attribute_parts(body);
        let flaw = Flaw::Broken { what: "attribute", offset };
        let Some(parts) = parts else { return self.stop(flaw) };
        let datatype = if parts.flags & 1 != 0 {
            let address = self.shared(parts.datatype, offset)?;
            self.named_type(address, offset, 0)?
        } else {
            match Datatype::parse(parts.datatype) {
                Some(datatype) => datatype,
                None => return self.stop(flaw),
            }
        };
        // A shared dataspace only hides how many elements there are: all of what is left is kept.
        let count = if parts.flags & 2 != 0 {
            None
        } else {
            dimensions(parts.dataspace, self.superblock.length_bytes)
                .and_then(|dimensions| dimensions.iter().try_fold(1_u64, |product, count| product.checked_mul(*count)))
        };
        let wanted =
            count.and_then(|count| count.checked_mul(datatype.size)).and_then(|bytes| usize::try_from(bytes).ok());
        let raw = parts.rest.get(..wanted.unwrap_or(usize::MAX).min(parts.rest.len())).unwrap_or_default().to_vec();
        if wanted.is_some_and(|wanted| wanted > raw.len()) {
            self.flaw(flaw);
        }
        Ok(Attribute { name: text(parts.name), datatype, raw, offset })
    }
}

/// Flag of a message whose body only says where it stands.
const SHARED: u8 = 2;
/// Class of links into other files.
const EXTERNAL: u8 = 64;

struct AttributeParts<'a> {
    flags: u8,
    name: &'a [u8],
    datatype: &'a [u8],
    dataspace: &'a [u8],
    rest: &'a [u8],
}

fn attribute_parts(body: &[u8]) -> Option<AttributeParts<'_>> {
    let mut slice = Slice::new(body);
    let version = slice.byte()?;
    let flags = slice.byte()?;
    let (name, datatype, dataspace) = (slice.size(2)?, slice.size(2)?, slice.size(2)?);
    slice.skip(usize::from(version == 3))?;
    if !(1..=3).contains(&version) {
        return None;
    }
    let mut part = |bytes: usize| {
        let part = slice.take(bytes)?;
        slice.skip(if version == 1 { bytes.next_multiple_of(8) - bytes } else { 0 })?;
        Some(part)
    };
    let (name, datatype, dataspace) = (part(name)?, part(datatype)?, part(dataspace)?);
    let flags = if version == 1 { 0 } else { flags };
    Some(AttributeParts { flags, name, datatype, dataspace, rest: slice.take(slice.left())? })
}

/// Dimensions of a dataspace; none for a scalar, one of nothing for a null space (§IV.A.2.b).
fn dimensions(body: &[u8], length_bytes: usize) -> Option<Vec<u64>> {
    let mut slice = Slice::new(body);
    let version = slice.byte()?;
    let rank = slice.byte()?;
    slice.skip(1)?;
    match version {
        1 => slice.skip(5)?,
        2 if slice.byte()? == 2 => return Some(vec![0]),
        2 => {}
        _ => return None,
    }
    (0..rank).map(|_| slice.number(length_bytes)).collect()
}

/// Form, bytes before the first message and bytes of the first block.
fn old_prefix(slice: &mut Slice<'_>) -> Option<(Form, u64, u64)> {
    (slice.byte()? == 1).then_some(())?;
    slice.skip(7)?;
    let bytes = slice.number(4)?;
    Some((Form::Old, OLD_PREFIX_BYTES, bytes))
}

fn new_prefix(slice: &mut Slice<'_>) -> Option<(Form, u64, u64)> {
    slice.skip(4)?;
    (slice.byte()? == 2).then_some(())?;
    let flags = slice.byte()?;
    slice.skip(if flags & 0x20 != 0 { 16 } else { 0 })?;
    slice.skip(if flags & 0x10 != 0 { 4 } else { 0 })?;
    let bytes = slice.number(1 << (flags & 3))?;
    Some((Form::New { ordered: flags & 4 != 0 }, slice.at() as u64, bytes))
}

/// The messages of a block that begins at `start` of the file; what does not make a message at its end is a gap.
fn block_messages(block: &[u8], form: Form, start: u64) -> Vec<Message> {
    let mut slice = Slice::new(block);
    let mut messages = Vec::new();
    while slice.left() > 0 && messages.len() < MESSAGES_MAX {
        let offset = start.saturating_add(slice.at() as u64);
        let Some(message) = message(&mut slice, form, offset) else { break };
        messages.push(message);
    }
    messages
}

fn message(slice: &mut Slice<'_>, form: Form, offset: u64) -> Option<Message> {
    let kind = u16::try_from(slice.number(if matches!(form, Form::Old) { 2 } else { 1 })?).ok()?;
    let bytes = slice.size(2)?;
    let flags = slice.byte()?;
    slice.skip(match form {
        Form::Old => 3,
        Form::New { ordered } => 2 * usize::from(ordered),
    })?;
    Some(Message { kind, flags, body: slice.take(bytes)?.to_vec(), offset })
}

/// A text up to its first zero byte.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}
