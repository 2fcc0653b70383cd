//! Element types (§IV.A.2.d), as far as an auditor needs them: size, class, and where elements refer to a heap.

use super::DEPTH_MAX;
use crate::slice::Slice;

/// Most members of a compound type, or names of an enumeration.
const MEMBERS_MAX: usize = 65_536;
/// Most references to a heap in one element.
const SLOTS_MAX: usize = 10_000;

/// What an element is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A number, or a time.
    Number,
    /// A text of fixed length.
    Text,
    /// Bytes without a meaning.
    Opaque,
    /// Several values.
    Compound,
    /// A reference to an object or region.
    Reference,
    /// A text or sequence of variable length.
    Variable,
}

/// An element type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datatype {
    /// What an element is.
    pub class: Class,
    /// Bytes of an element.
    pub size: u64,
    /// Offsets in an element at which a length and a place in a global heap stand.
    pub slots: Vec<u64>,
    /// Whether an element can hold any bytes: texts, opaque data, single bytes, or something that contains them.
    pub is_bytes: bool,
}

impl Datatype {
    /// Parses a type at the start of `bytes`; `None` where it is broken.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        parse(&mut Slice::new(bytes), 0)
    }
}

// The recursion is bounded by DEPTH_MAX.
fn parse(slice: &mut Slice<'_>, depth: u32) -> Option<Datatype> {
    if depth > DEPTH_MAX {
        return None;
    }
    let head = slice.byte()?;
    let (class, version) = (head & 0x0f, head >> 4);
    let bits = slice.number(3)?;
    let size = slice.number(4)?;
    let plain = |class, is_bytes| Datatype { class, size, slots: Vec::new(), is_bytes };
    Some(match class {
        0 | 4 => {
            slice.skip(4)?;
            plain(Class::Number, size == 1)
        }
        1 => {
            slice.skip(12)?;
            plain(Class::Number, false)
        }
        2 => {
            slice.skip(2)?;
            plain(Class::Number, false)
        }
        3 => plain(Class::Text, true),
        5 => {
            slice.skip(usize::try_from(bits & 0xff).ok()?.next_multiple_of(8))?;
            plain(Class::Opaque, true)
        }
        6 => compound(slice, version, usize::try_from(bits & 0xffff).ok()?, size, depth)?,
        7 => plain(Class::Reference, false),
        8 => {
            let base = parse(slice, depth + 1)?;
            let names = usize::try_from(bits & 0xffff).ok()?;
            for _ in 0..names.min(MEMBERS_MAX) {
                name(slice, version < 3)?;
            }
            slice.skip(names.checked_mul(usize::try_from(base.size).ok()?)?)?;
            plain(Class::Number, false)
        }
        9 => {
            let base = parse(slice, depth + 1)?;
            let is_bytes = bits & 0x0f == 1 || base.is_bytes;
            Datatype { class: Class::Variable, size, slots: vec![0], is_bytes }
        }
        10 => array(slice, version, size, depth)?,
        // Complex numbers, since version 5.
        11 => {
            parse(slice, depth + 1)?;
            plain(Class::Number, false)
        }
        _ => return None,
    })
}

/// A name that ends with a zero byte, padded to eight bytes in old versions.
fn name(slice: &mut Slice<'_>, padded: bool) -> Option<()> {
    let mut bytes = 1_usize;
    while slice.byte()? != 0 {
        bytes += 1;
    }
    slice.skip(if padded { bytes.next_multiple_of(8) - bytes } else { 0 })
}

fn compound(slice: &mut Slice<'_>, version: u8, members: usize, size: u64, depth: u32) -> Option<Datatype> {
    let mut out = Datatype { class: Class::Compound, size, slots: Vec::new(), is_bytes: false };
    let offset_bytes = if version < 3 { 4 } else { bytes_for(size) };
    for _ in 0..members.min(MEMBERS_MAX) {
        name(slice, version < 3)?;
        let offset = slice.number(offset_bytes)?;
        let mut repeat = 1_u64;
        if version == 1 {
            let rank = usize::from(slice.byte()?).min(4);
            slice.skip(11)?;
            for index in 0..4 {
                let dimension = slice.number(4)?;
                repeat = if index < rank { repeat.checked_mul(dimension)? } else { repeat };
            }
        }
        let member = parse(slice, depth + 1)?;
        out.is_bytes |= member.is_bytes;
        repeated(&mut out.slots, &member, offset, repeat);
    }
    Some(out)
}

fn array(slice: &mut Slice<'_>, version: u8, size: u64, depth: u32) -> Option<Datatype> {
    let rank = usize::from(slice.byte()?);
    slice.skip(if version < 3 { 3 } else { 0 })?;
    let mut count = 1_u64;
    for _ in 0..rank {
        count = count.checked_mul(slice.number(4)?)?;
    }
    slice.skip(if version < 3 { 4 * rank } else { 0 })?;
    let base = parse(slice, depth + 1)?;
    let mut out = Datatype { class: base.class, size, slots: Vec::new(), is_bytes: base.is_bytes };
    repeated(&mut out.slots, &base, 0, count);
    Some(out)
}

/// Adds the slots of `count` elements in a row from `offset`.
fn repeated(slots: &mut Vec<u64>, element: &Datatype, offset: u64, count: u64) {
    for index in 0..if element.slots.is_empty() { 0 } else { count } {
        let start = offset.saturating_add(index.saturating_mul(element.size));
        for slot in &element.slots {
            if slots.len() >= SLOTS_MAX {
                return;
            }
            slots.push(start.saturating_add(*slot));
        }
    }
}

/// Bytes that a number up to `value` needs.
pub(super) fn bytes_for(value: u64) -> usize {
    let bits = 64 - value.leading_zeros();
    usize::try_from(bits.div_ceil(8)).unwrap_or(8).max(1)
}
