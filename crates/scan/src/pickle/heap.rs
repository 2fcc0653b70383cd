//! What the machine knows of a value: eight bytes at most, whatever the value's real size.
//!
//! A [`Value`] is what the machine looks at; [`Packed`] is how stack and containers keep it, [`Narrow`] how the memo does.
//! Texts and byte strings are offsets into the stream and are read again when they matter. Containers are numbers into
//! a [`Heap`] that remembers the recent ones and the first items of each; older ones are only known to be containers.
//! So memory stays bounded, and a value never expands.

/// A number of 40 bits: offsets in files up to 512 GiB, numbers of kept texts, and the whole numbers that sizes need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Wide(u64);

impl Wide {
    /// `None` beyond 40 bits.
    #[inline]
    pub(super) fn new(value: u64) -> Option<Self> {
        (value < 1 << 40).then_some(Self(value))
    }

    pub(super) fn number(self) -> u64 {
        self.0
    }

    /// An offset in the stream.
    pub(super) fn offset(offset: u64) -> Option<Self> {
        if offset < KEPT { Self::new(offset) } else { None }
    }

    /// The number of a text that stands nowhere in the stream.
    pub(super) fn kept(index: usize) -> Option<Self> {
        Self::new(KEPT | u64::try_from(index).ok().filter(|index| *index < KEPT)?)
    }

    /// The number of a kept text, if it is one.
    pub(super) fn as_kept(self) -> Option<usize> {
        let number = self.number();
        (number & KEPT != 0).then(|| usize::try_from(number & !KEPT).ok()).flatten()
    }
}

/// Set in the numbers of kept texts, clear in offsets.
const KEPT: u64 = 1 << 39;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing is stored here (memo only).
    Hole,
    None,
    Bool(bool),
    /// A whole number from 0 to 2^40.
    Int(Wide),
    /// Any other number.
    Number,
    /// A text; where its opcode stands, or the number of a kept one.
    Text(Wide),
    /// A byte string; likewise.
    Bytes(Wide),
    /// A text or byte string that is not looked at (beyond 512 GiB, or out of band).
    Opaque,
    Tuple(u32),
    List(u32),
    Dict(u32),
    Set,
    /// An imported object; its number among the names.
    Global(u32),
    /// What an allowed callable made; the callable's number.
    Made(u32),
    /// A NumPy element type.
    Dtype(ItemType),
    /// What a loader made of a persistent id.
    Persistent,
    /// What something unknown made.
    Unknown,
}

impl Value {
    /// Whether it is of a plain type of the language, which has no state that could be set.
    pub(super) fn is_plain(self) -> bool {
        !matches!(
            self,
            Self::Hole
                | Self::Opaque
                | Self::Global(_)
                | Self::Made(_)
                | Self::Dtype(_)
                | Self::Persistent
                | Self::Unknown
        )
    }
}

/// What is known of a NumPy element type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemType {
    /// So many bytes.
    Bytes(u16),
    /// Python objects.
    Object,
    /// Unclear.
    Unclear,
}

/// A value in eight bytes: its kind in the lowest one, what belongs to it in the five above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packed(u64);

/// A [`Packed`] value without the two bytes that it never uses, as the memo keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, packed(2))]
pub(super) struct Narrow {
    low: u32,
    high: u16,
}

const _: () = assert!(size_of::<Narrow>() == 6, "a memo entry costs six bytes");

impl From<Packed> for Narrow {
    #[inline]
    fn from(packed: Packed) -> Self {
        Self { low: (packed.0 & 0xffff_ffff) as u32, high: (packed.0 >> 32 & 0xffff) as u16 }
    }
}

impl From<Narrow> for Packed {
    #[inline]
    fn from(narrow: Narrow) -> Self {
        Self(u64::from(narrow.low) | u64::from(narrow.high) << 32)
    }
}

impl Packed {
    pub(super) const HOLE: Self = Self(0);
    const TUPLE: u8 = 8;
    const LIST: u8 = 9;
    const DICT: u8 = 10;
    /// Set in the kinds of containers, among others, and clear in those of numbers, texts and the like.
    const CONTAINER: u64 = 1 << 3;
    /// Set in the kinds of what can be called, only.
    const CALLABLE: u64 = 1 << 4;

    /// Whether there may be a container among these values.
    #[inline]
    fn may_contain(items: &[Self]) -> bool {
        items.iter().fold(0, |bits, item| bits | item.0) & Self::CONTAINER != 0
    }

    /// Whether anything of these values can be called, as far as is known.
    #[inline]
    pub(super) fn may_call(items: &[Self]) -> bool {
        items.iter().fold(0, |bits, item| bits | item.0) & Self::CALLABLE != 0
    }

    fn kind(self) -> u8 {
        (self.0 & 0xff) as u8
    }

    fn number(self) -> u32 {
        (self.0 >> 8 & 0xffff_ffff) as u32
    }

    /// The number of a container that has items.
    #[inline]
    fn container(self) -> Option<u32> {
        matches!(self.kind(), Self::TUPLE | Self::LIST | Self::DICT).then(|| self.number())
    }
}

impl From<Value> for Packed {
    #[inline]
    fn from(value: Value) -> Self {
        let (kind, rest) = match value {
            Value::Hole => (0, 0),
            Value::None => (1, 0),
            Value::Bool(value) => (2, u64::from(value)),
            Value::Int(number) => (3, number.0),
            Value::Number => (4, 0),
            Value::Text(text) => (5, text.0),
            Value::Bytes(bytes) => (6, bytes.0),
            Value::Opaque => (7, 0),
            Value::Set => (11, 0),
            Value::Tuple(number) => (Self::TUPLE, u64::from(number)),
            Value::List(number) => (Self::LIST, u64::from(number)),
            Value::Dict(number) => (Self::DICT, u64::from(number)),
            Value::Global(number) => (16, u64::from(number)),
            Value::Made(number) => (17, u64::from(number)),
            Value::Dtype(ItemType::Bytes(count)) => (12, u64::from(count)),
            Value::Dtype(ItemType::Object) => (13, 0),
            Value::Dtype(ItemType::Unclear) => (14, 0),
            Value::Persistent => (15, 0),
            Value::Unknown => (18, 0),
        };
        Self(u64::from(kind) | rest << 8)
    }
}

impl From<Packed> for Value {
    #[inline]
    fn from(packed: Packed) -> Self {
        let wide = Wide(packed.0 >> 8);
        match packed.kind() {
            0 => Self::Hole,
            1 => Self::None,
            2 => Self::Bool(wide.0 != 0),
            3 => Self::Int(wide),
            4 => Self::Number,
            5 => Self::Text(wide),
            6 => Self::Bytes(wide),
            7 => Self::Opaque,
            Packed::TUPLE => Self::Tuple(packed.number()),
            Packed::LIST => Self::List(packed.number()),
            Packed::DICT => Self::Dict(packed.number()),
            11 => Self::Set,
            12 => Self::Dtype(ItemType::Bytes((wide.0 & 0xffff) as u16)),
            13 => Self::Dtype(ItemType::Object),
            14 => Self::Dtype(ItemType::Unclear),
            15 => Self::Persistent,
            16 => Self::Global(packed.number()),
            17 => Self::Made(packed.number()),
            _ => Self::Unknown,
        }
    }
}

/// Items of a container that are remembered; for dictionaries keys and values alternate.
pub(super) const ITEMS_MAX: usize = 32;
/// Containers that are remembered.
const SLOTS: u32 = 1 << 12;

/// Items of a container that lie beside what else is known of it.
const FIRST: usize = 5;

/// A recent container, in one cache line.
#[derive(Debug)]
struct Slot {
    id: u32,
    depth: u32,
    /// Items put in, also those not remembered.
    count: u64,
    /// Nodes when everything shared is written out, as printing or hashing does.
    weight: u64,
    first: [Packed; FIRST],
}

/// Recent containers, in a ring.
#[derive(Debug, Default)]
pub(super) struct Heap {
    slots: Vec<Slot>,
    /// The items behind the first ones, by slot; what was left there by an older container is in nobody's way.
    more: Vec<Vec<Packed>>,
    next: u32,
    /// Deepest nesting so far.
    pub(super) depth: u32,
    /// Largest expansion so far.
    pub(super) weight: u64,
}

impl Heap {
    /// A new container; the number wraps after 2^32 of them.
    #[inline]
    pub(super) fn make(&mut self) -> u32 {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        match self.slots.get_mut((id % SLOTS) as usize) {
            // What else is there is not looked at where the count is zero.
            Some(slot) => (slot.id, slot.depth, slot.count, slot.weight) = (id, 1, 0, 1),
            None => self.slots.push(Slot { id, depth: 1, count: 0, weight: 1, first: [Packed::HOLE; FIRST] }),
        }
        id
    }

    /// A new container of few items.
    #[inline]
    pub(super) fn make_of<const N: usize>(&mut self, items: [Packed; N]) -> u32 {
        const { assert!(N <= FIRST) };
        let (weight, depth) = self.measure(self.next, &items);
        let id = self.make();
        if let Some(slot) = self.slots.get_mut((id % SLOTS) as usize) {
            (slot.depth, slot.count, slot.weight) = (depth.saturating_add(1), N as u64, weight.saturating_add(1));
            slot.first.iter_mut().zip(items).for_each(|(place, item)| *place = item);
            if slot.depth > self.depth {
                self.depth = slot.depth;
            }
            if slot.weight > self.weight {
                self.weight = slot.weight;
            }
        }
        id
    }

    /// What items add to the weight of container `id`, and how deep the deepest of them is.
    #[inline]
    fn measure(&self, id: u32, items: &[Packed]) -> (u64, u32) {
        let (mut weight, mut depth) = (items.len() as u64, 0);
        for item in items {
            if let Some(inner) = item.container() {
                let (inner_weight, inner_depth) =
                    self.slot(inner).filter(|_| inner != id).map_or((1, 1), |slot| (slot.weight, slot.depth));
                weight = weight.saturating_add(inner_weight);
                depth = depth.max(inner_depth);
            }
        }
        (weight, depth)
    }

    fn slot(&self, id: u32) -> Option<&Slot> {
        self.slots.get((id % SLOTS) as usize).filter(|slot| slot.id == id)
    }

    /// Puts `items` into container `id`.
    #[inline]
    pub(super) fn extend(&mut self, id: u32, items: &[Packed]) {
        let (weight, depth) =
            if Packed::may_contain(items) { self.measure(id, items) } else { (items.len() as u64, 0) };
        let Some(slot) = self.slots.get_mut((id % SLOTS) as usize).filter(|slot| slot.id == id) else { return };
        let have = usize::try_from(slot.count).unwrap_or(ITEMS_MAX).min(ITEMS_MAX);
        slot.count = slot.count.saturating_add(items.len() as u64);
        slot.weight = slot.weight.saturating_add(weight);
        slot.depth = slot.depth.max(depth.saturating_add(1));
        if slot.depth > self.depth {
            self.depth = slot.depth;
        }
        if slot.weight > self.weight {
            self.weight = slot.weight;
        }
        if have == 0 && items.len() <= FIRST {
            // The usual case.
            for (place, item) in slot.first.iter_mut().zip(items) {
                *place = *item;
            }
        } else if have < ITEMS_MAX {
            self.remember(id, have, items);
        }
    }

    /// Remembers `items` behind the `have` that are remembered already.
    fn remember(&mut self, id: u32, have: usize, items: &[Packed]) {
        let index = (id % SLOTS) as usize;
        let Some(slot) = self.slots.get_mut(index) else { return };
        let room = slot.first.get_mut(have..).unwrap_or_default();
        room.iter_mut().zip(items).for_each(|(place, item)| *place = *item);
        let behind = items.get(room.len()..).unwrap_or_default();
        if behind.is_empty() {
            return;
        }
        if self.more.len() <= index {
            self.more.resize_with(index + 1, Vec::new);
        }
        if let Some(more) = self.more.get_mut(index) {
            let have = have.saturating_sub(FIRST);
            more.truncate(have);
            more.extend(behind.iter().take(ITEMS_MAX - FIRST - have));
        }
    }

    /// All items of a container, if it is recent and small.
    pub(super) fn items(&self, id: u32) -> Option<Vec<Value>> {
        self.slot(id).filter(|slot| slot.count <= ITEMS_MAX as u64).map(|_| self.first_items(id))
    }

    /// The first items of a container, if it is recent.
    pub(super) fn first_items(&self, id: u32) -> Vec<Value> {
        let Some(slot) = self.slot(id) else { return Vec::new() };
        let count = usize::try_from(slot.count).unwrap_or(ITEMS_MAX).min(ITEMS_MAX);
        let more = self.more.get((id % SLOTS) as usize).map(Vec::as_slice).unwrap_or_default();
        slot.first.iter().chain(more).take(count).copied().map(Value::from).collect()
    }

    /// How many items a container has, if it is recent.
    pub(super) fn count(&self, id: u32) -> Option<u64> {
        self.slot(id).map(|slot| slot.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_bits_that_are_asked_for() {
        let wide = Wide((1 << 40) - 1);
        let plain = [Value::Hole, Value::None, Value::Bool(true), Value::Int(wide), Value::Number, Value::Text(wide)];
        let others = [Value::Bytes(wide), Value::Opaque, Value::Set, Value::Persistent, Value::Dtype(ItemType::Object)];
        let containers = [Value::Tuple(u32::MAX), Value::List(u32::MAX), Value::Dict(u32::MAX)];
        let callables = [Value::Global(u32::MAX), Value::Made(u32::MAX), Value::Unknown];
        for value in plain.into_iter().chain(others).chain(containers).chain(callables) {
            let packed = Packed::from(value);
            assert_eq!(Value::from(Packed::from(Narrow::from(packed))), value);
            assert_eq!(Packed::may_call(&[packed]), callables.contains(&value), "{value:?}");
            let is_simple = plain.contains(&value) || matches!(value, Value::Bytes(_) | Value::Opaque);
            assert!(Packed::may_contain(&[packed]) || !containers.contains(&value), "{value:?}");
            assert!(!Packed::may_contain(&[packed]) || !is_simple, "{value:?}");
        }
    }
}
