//! As much CBOR (RFC 8949) as authenticators speak: definite lengths, integers, strings, arrays, maps.
//!
//! The reader borrows, allocates nothing, and walks what it is not asked for. It tolerates another order of keys and heads
//! that are longer than needed, because authenticators write such; it refuses tags and indefinite lengths, which CTAP2 §8
//! forbids. The writer emits CTAP2's canonical form when it is called in that order.

#![deny(clippy::indexing_slicing)]

/// Deepest nesting that is walked; CTAP2 allows four levels.
const DEPTH_MAX: usize = 8;
/// Most entries of a map that is read key by key.
const ENTRIES_MAX: u64 = 16;

/// Not CBOR, or none that an authenticator writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotCbor;

/// What is left to read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

/// A key of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key<'a> {
    Integer(i64),
    Text(&'a str),
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next `count` bytes as they are.
    pub(super) fn take(&mut self, count: u64) -> Result<&'a [u8], NotCbor> {
        let count = usize::try_from(count).map_err(|_| NotCbor)?;
        let (taken, rest) = self.0.split_at_checked(count).ok_or(NotCbor)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Major type and argument. Floats and other simple values of major type 7 keep their bits as the argument.
    fn head(&mut self) -> Result<(u8, u64), NotCbor> {
        let first = self.take(1)?.first().copied().ok_or(NotCbor)?;
        let argument = match first & 0x1f {
            small @ 0..=23 => u64::from(small),
            info @ 24..=27 => {
                let bytes = self.take(1 << (info - 24))?;
                bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
            }
            _ => return Err(NotCbor),
        };
        Ok((first >> 5, argument))
    }

    /// The number of entries of a map whose entries follow.
    pub(super) fn map(&mut self) -> Result<u64, NotCbor> {
        match self.head()? {
            (5, entries) if entries <= ENTRIES_MAX => Ok(entries),
            _ => Err(NotCbor),
        }
    }

    pub(super) fn key(&mut self) -> Result<Key<'a>, NotCbor> {
        match self.head()? {
            (3, length) => self.text_of(length).map(Key::Text),
            head => integer(head).map(Key::Integer),
        }
    }

    pub(super) fn text(&mut self) -> Result<&'a str, NotCbor> {
        let (3, length) = self.head()? else { return Err(NotCbor) };
        self.text_of(length)
    }

    fn text_of(&mut self, length: u64) -> Result<&'a str, NotCbor> {
        std::str::from_utf8(self.take(length)?).map_err(|_| NotCbor)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], NotCbor> {
        let (2, length) = self.head()? else { return Err(NotCbor) };
        self.take(length)
    }

    pub(super) fn integer(&mut self) -> Result<i64, NotCbor> {
        integer(self.head()?)
    }

    /// Walks over a map of any content.
    pub(super) fn skip_map(&mut self) -> Result<(), NotCbor> {
        let mut ahead = *self;
        let (5, _) = ahead.head()? else { return Err(NotCbor) };
        self.skip()
    }

    /// Walks over one item.
    pub(super) fn skip(&mut self) -> Result<(), NotCbor> {
        self.skip_at(0)
    }

    fn skip_at(&mut self, depth: usize) -> Result<(), NotCbor> {
        if depth > DEPTH_MAX {
            return Err(NotCbor);
        }
        match self.head()? {
            (0 | 1 | 7, _) => Ok(()),
            (2, length) => self.take(length).map(drop),
            (3, length) => self.text_of(length).map(drop),
            // A count beyond what is there ends at the end of the bytes: every item takes at least one.
            (4, items) => (0..items).try_for_each(|_| self.skip_at(depth + 1)),
            (5, entries) => (0..entries).try_for_each(|_| {
                self.skip_at(depth + 1)?;
                self.skip_at(depth + 1)
            }),
            _ => Err(NotCbor),
        }
    }
}

/// The integer of a head of major type 0 or 1.
fn integer(head: (u8, u64)) -> Result<i64, NotCbor> {
    match head {
        (0, number) => i64::try_from(number).map_err(|_| NotCbor),
        (1, number) => i64::try_from(number).map(|number| -1 - number).map_err(|_| NotCbor),
        _ => Err(NotCbor),
    }
}

/// Appends the shortest head.
fn head(major: u8, argument: usize, out: &mut Vec<u8>) {
    let major = major << 5;
    #[expect(clippy::cast_possible_truncation, reason = "each arm's range fits its type")]
    match argument {
        0..=23 => out.push(major | argument as u8),
        24..=0xff => out.extend([major | 0x18, argument as u8]),
        0x100..=0xffff => {
            out.push(major | 0x19);
            out.extend((argument as u16).to_be_bytes());
        }
        _ => {
            out.push(major | 0x1a);
            out.extend((argument as u32).to_be_bytes());
        }
    }
}

/// Appends the head of a map.
pub(super) fn write_map(entries: usize, out: &mut Vec<u8>) {
    head(5, entries, out);
}

/// Appends an integer between −2³² and 2³²−1.
pub(super) fn write_integer(number: i64, out: &mut Vec<u8>) {
    let magnitude = usize::try_from(if number < 0 { -1 - number } else { number }).unwrap_or_default();
    head(u8::from(number < 0), magnitude, out);
}

/// Appends a text string.
pub(super) fn write_text(text: &str, out: &mut Vec<u8>) {
    head(3, text.len(), out);
    out.extend(text.as_bytes());
}

/// Appends a byte string.
pub(super) fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    head(2, bytes.len(), out);
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::{Key, NotCbor, Reader, write_integer};

    #[test]
    fn integers_come_back() {
        for number in [0, 23, 24, 255, 256, 65_535, 65_536, -1, -7, -24, -25, -257] {
            let mut bytes = Vec::new();
            write_integer(number, &mut bytes);
            assert_eq!(Reader::new(&bytes).key(), Ok(Key::Integer(number)));
        }
    }

    #[test]
    fn what_no_authenticator_writes_is_refused() {
        for (bytes, what) in [
            (&b""[..], "nothing"),
            (b"\x5f\x41a\xff", "indefinite bytes"),
            (b"\xbf\xff", "indefinite map"),
            (b"\xc0\x00", "a tag"),
            (b"\x42a", "truncated bytes"),
            (b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff\x00", "more items than bytes"),
            (b"\x61\xff", "text that is not UTF-8"),
            (b"\x1c", "a reserved head"),
            (b"\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x00", "too deep"),
        ] {
            assert_eq!(Reader::new(bytes).skip(), Err(NotCbor), "{what}");
        }
        assert_eq!(Reader::new(b"\xa1\x00\x82\xf5\xfb\0\0\0\0\0\0\0\0").skip(), Ok(()));
        assert_eq!(Reader::new(b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff").integer(), Err(NotCbor));
        assert_eq!(Reader::new(b"\xb8\x20").map(), Err(NotCbor));
    }
}
