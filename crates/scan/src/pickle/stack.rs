//! The machine's stack and the marks on it.
//!
//! The floor is where the values above the topmost mark begin: what takes values from the stack takes none from below
//! it. Nothing here decides anything; whoever finds the stack empty says what that means.

use super::heap::Packed;

/// Most values on the stack.
const VALUES_MAX: usize = 8 << 20;
/// Most marks that are open at once.
const MARKS_MAX: usize = 1 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Stack {
    values: Vec<Packed>,
    marks: Vec<usize>,
    // INVARIANT: the last mark, or 0. No mark, and so no floor, lies above the number of values.
    floor: usize,
}

impl Stack {
    pub(super) fn clear(&mut self) {
        self.values.clear();
        self.marks.clear();
        self.floor = 0;
    }

    /// Whether `count` more values have room.
    #[inline]
    pub(super) fn has_room(&self, count: usize) -> bool {
        VALUES_MAX - self.values.len() >= count
    }

    /// Puts a value on top; `false` where there is no room.
    #[inline]
    #[must_use]
    pub(super) fn push(&mut self, value: Packed) -> bool {
        let has_room = self.has_room(1);
        if has_room {
            self.values.push(value);
        }
        has_room
    }

    /// Sets memory aside for up to `count` more values, if so many have room.
    pub(super) fn reserve(&mut self, count: usize) -> bool {
        let has_room = self.has_room(count);
        if has_room {
            self.values.reserve(count);
        }
        has_room
    }

    /// Puts a value on top where memory is set aside for it.
    #[inline]
    pub(super) fn put(&mut self, value: Packed) {
        // INVARIANT: there is, as whoever calls this reserved it.
        debug_assert!(self.values.len() < self.values.capacity());
        if self.values.len() < self.values.capacity() {
            self.values.push(value);
        }
    }

    /// Puts a mark on top where memory is set aside for it.
    #[inline]
    pub(super) fn put_mark(&mut self) -> bool {
        let has_room = self.marks.len() < self.marks.capacity().min(MARKS_MAX);
        if has_room {
            self.floor = self.values.len();
            self.marks.push(self.floor);
        }
        has_room
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Packed> {
        if self.values.len() > self.floor { self.values.pop() } else { None }
    }

    #[inline]
    pub(super) fn top(&self) -> Option<Packed> {
        if self.values.len() > self.floor { self.values.last().copied() } else { None }
    }

    /// Puts a mark on top; `false` where there is no room.
    #[inline]
    #[must_use]
    pub(super) fn mark(&mut self) -> bool {
        let has_room = self.marks.len() < MARKS_MAX;
        if has_room {
            self.floor = self.values.len();
            self.marks.push(self.floor);
        }
        has_room
    }

    /// Whether a mark is on top, and no value.
    #[inline]
    pub(super) fn ends_with_mark(&self) -> bool {
        self.values.len() == self.floor && !self.marks.is_empty()
    }

    /// Takes the topmost mark away and says where the values above it begin.
    #[inline]
    pub(super) fn pop_mark(&mut self) -> Option<usize> {
        let from = self.marks.pop()?;
        self.floor = self.marks.last().copied().unwrap_or(0);
        Some(from)
    }

    /// Where the values above the topmost mark begin, and the value below that mark.
    #[inline]
    pub(super) fn group(&self) -> Option<(usize, Packed)> {
        let (from, outer) = match *self.marks.as_slice() {
            [.., outer, from] => (from, outer),
            [from] => (from, 0),
            [] => return None,
        };
        let index = from.checked_sub(1).filter(|index| *index >= outer)?;
        Some((from, *self.values.get(index)?))
    }

    /// Where the topmost `count` values begin, if so many lie above the floor.
    #[inline]
    pub(super) fn topmost(&self, count: usize) -> Option<usize> {
        self.values.len().checked_sub(count).filter(|from| *from >= self.floor)
    }

    /// The topmost `N` values, if so many lie above the floor.
    #[inline]
    pub(super) fn last<const N: usize>(&self) -> Option<[Packed; N]> {
        let above = self.values.get(self.floor..)?;
        above.last_chunk().copied()
    }

    /// Takes the topmost `count` values away, of those that are there.
    #[inline]
    pub(super) fn drop_last(&mut self, count: usize) {
        self.values.truncate(self.values.len().saturating_sub(count));
    }

    /// The values from `from` on.
    #[inline]
    pub(super) fn from(&self, from: usize) -> &[Packed] {
        self.values.get(from..).unwrap_or_default()
    }

    /// The value before `from`, if it lies above the floor.
    #[inline]
    pub(super) fn below(&self, from: usize) -> Option<Packed> {
        let index = from.checked_sub(1).filter(|index| *index >= self.floor)?;
        self.values.get(index).copied()
    }

    /// Takes away the values from `from` on.
    #[inline]
    pub(super) fn truncate(&mut self, from: usize) {
        self.values.truncate(from);
    }
}
