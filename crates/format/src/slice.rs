//! A cursor on foreign bytes: every read is checked, nothing is copied.

/// Order of the bytes of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

/// Bytes and a place in them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Slice<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    pub(crate) fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(drop)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// A little-endian number of `width` bytes, at most 8.
    pub(crate) fn number(&mut self, width: usize) -> Option<u64> {
        let bytes = self.take(width)?;
        Some(number(bytes, Order::Little))
    }

    /// Like [`Self::number`], as an index.
    pub(crate) fn size(&mut self, width: usize) -> Option<usize> {
        usize::try_from(self.number(width)?).ok()
    }
}

/// The unsigned number in up to 8 bytes.
pub(crate) fn number(bytes: &[u8], order: Order) -> u64 {
    let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    match order {
        Order::Little => bytes.iter().rev().fold(0, add),
        Order::Big => bytes.iter().fold(0, add),
    }
}
