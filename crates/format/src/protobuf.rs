//! The protocol buffers wire format: a bounded pull reader for foreign bytes, and a small writer.
//!
//! * [`Reader`] walks one message field by field and reports the byte offset of everything that it meets, so that an
//!   auditor can point at it. It knows no schema: fields that a schema does not name come out like all others.
//! * [`Bytes`] is a length-delimited value with its place; [`Bytes::message`] descends into it, at most [`DEPTH_MAX`] deep.
//! * [`Writer`] appends fields to a buffer.
//!
//! Source: the protocol buffers encoding guide (base 128 varints, tags, length-delimited records). Groups (wire types 3 and 4)
//! are deprecated, but loaders still skip them: they come out as [`Value::Group`]. Nothing is copied, nothing is allocated, and
//! every length is checked against what is left.
//! [`is_plausible`] walks the outermost fields of a source that may be large, to tell messages from other bytes.
//!
//! Absent on purpose: streaming. A message is one slice, as in every loader of these files, at most [`MESSAGE_BYTES_MAX`] long.

#![deny(clippy::indexing_slicing)]

use std::io::{self, Read, Seek, SeekFrom};

/// The longest message that we read, in bytes: the limit of the format's own implementations.
pub const MESSAGE_BYTES_MAX: usize = 0x7fff_ffff;

/// The deepest nesting of messages that we follow: that of the format's own implementations, so that nothing which they load
/// is out of reach.
pub const DEPTH_MAX: usize = 100;

/// The longest varint, in bytes: ten groups of seven bits hold 64 bits.
pub const VARINT_BYTES_MAX: usize = 10;

/// Why bytes are not a well-formed message. Offsets count from the start of the outermost message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtobufError {
    /// The outermost message is longer than [`MESSAGE_BYTES_MAX`].
    #[error("message of {length} bytes, limit is {MESSAGE_BYTES_MAX}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The message ends inside a field.
    #[error("message ends inside the field at byte {offset}")]
    Truncated {
        /// Where the field begins.
        offset: usize,
    },
    /// A varint does not end after ten bytes, or holds more than 64 bits.
    #[error("varint at byte {offset} does not fit 64 bits")]
    Varint {
        /// Where the varint begins.
        offset: usize,
    },
    /// A length reaches beyond the enclosing message.
    #[error("field at byte {offset} claims {claimed} bytes, its message has {left} left")]
    Length {
        /// Where the field begins.
        offset: usize,
        /// The length that the field claims, in bytes.
        claimed: u64,
        /// What is left of the enclosing message, in bytes.
        left: usize,
    },
    /// Field number 0, or one beyond 2^29 - 1.
    #[error("field number {number} at byte {offset} is outside the format")]
    FieldNumber {
        /// Where the field begins.
        offset: usize,
        /// The number as read.
        number: u64,
    },
    /// The end of a group that never began, or one of the unassigned wire types.
    #[error("wire type {wire} at byte {offset} is not read")]
    WireType {
        /// Where the field begins.
        offset: usize,
        /// The wire type: 4 ends a group, 6 and 7 are unassigned.
        wire: u8,
    },
    /// Messages nest deeper than [`DEPTH_MAX`].
    #[error("message at byte {offset} is nested deeper than {DEPTH_MAX}")]
    Depth {
        /// Where the message begins.
        offset: usize,
    },
}

/// Reads the fields of one message, in order.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
    depth: usize,
}

/// One field as it lies in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The number that the schema gives it, 1 to 2^29 - 1.
    pub number: u32,
    /// Where its tag begins, in bytes from the start of the outermost message.
    pub offset: usize,
    /// Where the field ends, exclusive.
    pub end: usize,
    /// Its value, by wire type.
    pub value: Value<'a>,
}

/// A field's value by wire type; its meaning is the schema's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0: integers, booleans, enumerations.
    Varint(u64),
    /// Wire type 1: 64 little-endian bits.
    Fixed64(u64),
    /// Wire type 2: text, bytes, messages, packed numbers.
    Bytes(Bytes<'a>),
    /// Wire type 3 up to the matching wire type 4: the fields in between.
    Group(Bytes<'a>),
    /// Wire type 5: 32 little-endian bits.
    Fixed32(u32),
}

/// A length-delimited value and its place in the outermost message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes<'a> {
    /// The content, without tag and length.
    pub data: &'a [u8],
    /// Where the content begins, in bytes from the start of the outermost message.
    pub offset: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Starts reading an outermost message.
    ///
    /// # Errors
    /// [`ProtobufError::TooLong`] beyond [`MESSAGE_BYTES_MAX`].
    pub fn new(message: &'a [u8]) -> Result<Self, ProtobufError> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(ProtobufError::TooLong { length: message.len() });
        }
        Ok(Self { rest: message, offset: 0, depth: 0 })
    }

    /// Where the next field begins, in bytes from the start of the outermost message.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The next field, or `None` at the end of the message.
    ///
    /// # Errors
    /// Every variant but [`ProtobufError::TooLong`] and [`ProtobufError::Depth`]; the reader is of no use afterwards.
    pub fn next_field(&mut self) -> Result<Option<Field<'a>>, ProtobufError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let offset = self.offset;
        let tag = self.varint(offset)?;
        let number = u32::try_from(tag >> 3)
            .ok()
            .filter(|number| (1..=FIELD_NUMBER_MAX).contains(number))
            .ok_or(ProtobufError::FieldNumber { offset, number: tag >> 3 })?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint(offset)?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array(offset)?)),
            2 => Value::Bytes(self.delimited(offset)?),
            3 => Value::Group(self.group(number, offset)?),
            5 => Value::Fixed32(u32::from_le_bytes(self.array(offset)?)),
            wire => return Err(ProtobufError::WireType { offset, wire: u8::try_from(wire).unwrap_or(u8::MAX) }),
        };
        Ok(Some(Field { number, offset, end: self.offset, value }))
    }

    fn varint(&mut self, field: usize) -> Result<u64, ProtobufError> {
        let start = self.offset;
        let mut value = 0u64;
        for (index, byte) in self.rest.iter().copied().enumerate().take(VARINT_BYTES_MAX) {
            let bits = u64::from(byte & 0x7f);
            if index == VARINT_BYTES_MAX - 1 && bits > 1 {
                return Err(ProtobufError::Varint { offset: start });
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                self.take(index + 1, field)?;
                return Ok(value);
            }
        }
        if self.rest.len() < VARINT_BYTES_MAX {
            Err(ProtobufError::Truncated { offset: field })
        } else {
            Err(ProtobufError::Varint { offset: start })
        }
    }

    fn delimited(&mut self, field: usize) -> Result<Bytes<'a>, ProtobufError> {
        let claimed = self.varint(field)?;
        let left = self.rest.len();
        let length = usize::try_from(claimed).ok().filter(|length| *length <= left).ok_or(ProtobufError::Length {
            offset: field,
            claimed,
            left,
        })?;
        let offset = self.offset;
        Ok(Bytes { data: self.take(length, field)?, offset, depth: self.depth })
    }

    /// Up to the end of group `number`; groups inside it are skipped with it.
    fn group(&mut self, number: u32, field: usize) -> Result<Bytes<'a>, ProtobufError> {
        let (start, content) = (self.offset, self.rest);
        let mut open = vec![number];
        loop {
            let offset = self.offset;
            if self.rest.is_empty() {
                return Err(ProtobufError::Truncated { offset: field });
            }
            let tag = self.varint(offset)?;
            let inner = u32::try_from(tag >> 3).unwrap_or(0);
            match tag & 7 {
                0 => drop(self.varint(offset)?),
                1 => drop(self.take(8, offset)?),
                2 => drop(self.delimited(offset)?),
                3 if open.len() + self.depth >= DEPTH_MAX => return Err(ProtobufError::Depth { offset }),
                3 => open.push(inner),
                4 if open.pop() == Some(inner) => {}
                5 => drop(self.take(4, offset)?),
                wire => return Err(ProtobufError::WireType { offset, wire: u8::try_from(wire).unwrap_or(u8::MAX) }),
            }
            if open.is_empty() {
                let data = content.get(..offset - start).unwrap_or_default();
                return Ok(Bytes { data, offset: start, depth: self.depth });
            }
        }
    }

    fn array<const N: usize>(&mut self, field: usize) -> Result<[u8; N], ProtobufError> {
        let taken = self.take(N, field)?;
        taken.try_into().map_err(|_| ProtobufError::Truncated { offset: field })
    }

    fn take(&mut self, length: usize, field: usize) -> Result<&'a [u8], ProtobufError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ProtobufError::Truncated { offset: field })?;
        self.rest = rest;
        self.offset += length;
        Ok(taken)
    }
}

impl<'a> Bytes<'a> {
    /// A whole message that begins at offset 0.
    pub fn whole(data: &'a [u8]) -> Self {
        Self { data, offset: 0, depth: 0 }
    }

    /// Reads the content as a message.
    ///
    /// # Errors
    /// [`ProtobufError::Depth`] where this would be the [`DEPTH_MAX`]th level below the outermost message.
    pub fn message(&self) -> Result<Reader<'a>, ProtobufError> {
        if self.depth >= DEPTH_MAX {
            return Err(ProtobufError::Depth { offset: self.offset });
        }
        Ok(Reader { rest: self.data, offset: self.offset, depth: self.depth + 1 })
    }

    /// Reads the content as packed varints, one value a call of the iterator; it ends after the first error.
    pub fn varints(&self) -> impl Iterator<Item = Result<u64, ProtobufError>> + use<'a> {
        let mut reader = Reader { rest: self.data, offset: self.offset, depth: self.depth };
        let mut failed = false;
        std::iter::from_fn(move || {
            if failed || reader.rest.is_empty() {
                return None;
            }
            let value = reader.varint(reader.offset);
            failed = value.is_err();
            Some(value)
        })
    }

    /// Where the content ends, exclusive, in bytes from the start of the outermost message.
    pub fn end(&self) -> usize {
        self.offset + self.data.len()
    }
}

/// Whether the outermost fields of `source` are well-formed: up to its end, or the first [`PLAUSIBLE_FIELDS`] of them.
///
/// # Errors
/// Those of the source.
pub fn is_plausible(source: &mut (impl Read + Seek + ?Sized)) -> io::Result<bool> {
    let whole = source.seek(SeekFrom::End(0))?;
    let mut at = 0;
    for count in 0..PLAUSIBLE_FIELDS {
        if at >= whole {
            return Ok(at == whole && count > 0);
        }
        source.seek(SeekFrom::Start(at))?;
        let mut head = Vec::new();
        source.take(2 * VARINT_BYTES_MAX as u64).read_to_end(&mut head)?;
        let Some(step) = first_field(&head, whole - at) else { return Ok(false) };
        at += step;
    }
    Ok(true)
}

/// How long the field is that `head` begins with, where it fits into `left` bytes. A group counts by its tag alone: its fields
/// and its end follow as if they were fields.
fn first_field(head: &[u8], left: u64) -> Option<u64> {
    let mut reader = Reader::new(head).ok()?;
    let tag = reader.varint(0).ok()?;
    u32::try_from(tag >> 3).ok().filter(|number| (1..=FIELD_NUMBER_MAX).contains(number))?;
    let tag_bytes = reader.offset as u64;
    let body = match tag & 7 {
        0 => {
            reader.varint(0).ok()?;
            reader.offset as u64 - tag_bytes
        }
        1 => 8,
        2 => {
            let length = reader.varint(0).ok()?;
            (reader.offset as u64 - tag_bytes).checked_add(length)?
        }
        3 | 4 => 0,
        5 => 4,
        _ => return None,
    };
    tag_bytes.checked_add(body).filter(|step| *step <= left)
}

/// Outermost fields that [`is_plausible`] walks.
pub const PLAUSIBLE_FIELDS: usize = 256;

/// Appends fields to a message, in the order of the calls.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty message.
    pub fn new() -> Self {
        Self::default()
    }

    /// The message so far.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// A varint field. Negative integers go as their two's complement, as the format's `int64` does.
    pub fn varint(&mut self, number: u32, value: u64) -> &mut Self {
        self.tag(number, 0);
        append_varint(&mut self.bytes, value);
        self
    }

    /// A signed integer as the format's `int64`.
    pub fn int(&mut self, number: u32, value: i64) -> &mut Self {
        self.varint(number, value.cast_unsigned())
    }

    /// A 32-bit float field.
    pub fn float(&mut self, number: u32, value: f32) -> &mut Self {
        self.tag(number, 5);
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// A length-delimited field.
    pub fn bytes(&mut self, number: u32, value: &[u8]) -> &mut Self {
        self.tag(number, 2);
        append_varint(&mut self.bytes, value.len() as u64);
        self.bytes.extend_from_slice(value);
        self
    }

    /// A text field.
    pub fn text(&mut self, number: u32, value: &str) -> &mut Self {
        self.bytes(number, value.as_bytes())
    }

    /// A nested message.
    pub fn message(&mut self, number: u32, build: impl FnOnce(&mut Writer)) -> &mut Self {
        let mut inner = Writer::new();
        build(&mut inner);
        self.bytes(number, &inner.bytes)
    }

    /// Integers as a packed field.
    pub fn packed_ints(&mut self, number: u32, values: &[i64]) -> &mut Self {
        let mut packed = Vec::new();
        for value in values {
            append_varint(&mut packed, value.cast_unsigned());
        }
        self.bytes(number, &packed)
    }

    fn tag(&mut self, number: u32, wire: u64) {
        append_varint(&mut self.bytes, u64::from(number) << 3 | wire);
    }
}

/// Appends a varint in its shortest form.
pub fn append_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push((value & 0x7f) as u8);
}

/// The largest field number of the format.
const FIELD_NUMBER_MAX: u32 = (1 << 29) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &[u8]) -> Result<Vec<(u32, usize, usize)>, ProtobufError> {
        let mut reader = Reader::new(message)?;
        let mut found = Vec::new();
        while let Some(field) = reader.next_field()? {
            found.push((field.number, field.offset, field.end));
        }
        Ok(found)
    }

    #[test]
    fn reads_what_it_writes_with_offsets() {
        let mut writer = Writer::new();
        writer.varint(1, 300).text(2, "ab").float(3, 1.5).int(1 << 20, -1);
        let message = writer.finish();
        assert_eq!(fields(&message).unwrap(), [(1, 0, 3), (2, 3, 7), (3, 7, 12), (1 << 20, 12, message.len())]);
        let mut reader = Reader::new(&message).unwrap();
        assert_eq!(reader.next_field().unwrap().unwrap().value, Value::Varint(300));
    }

    #[test]
    fn refuses_what_is_malformed() {
        let cases: &[(&[u8], ProtobufError)] = &[
            (&[0x08], ProtobufError::Truncated { offset: 0 }),
            (&[0x08, 0x80], ProtobufError::Truncated { offset: 0 }),
            (&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2], ProtobufError::Varint { offset: 1 }),
            (&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], ProtobufError::Varint { offset: 1 }),
            (&[0x0a, 5, 1], ProtobufError::Length { offset: 0, claimed: 5, left: 1 }),
            (&[0x00, 1], ProtobufError::FieldNumber { offset: 0, number: 0 }),
            (&[0x0b], ProtobufError::Truncated { offset: 0 }),
            (&[0x0b, 0x14], ProtobufError::WireType { offset: 1, wire: 4 }),
            (&[0x0c], ProtobufError::WireType { offset: 0, wire: 4 }),
            (&[0x0e], ProtobufError::WireType { offset: 0, wire: 6 }),
            (&[0x08, 1, 0x0d, 1, 2], ProtobufError::Truncated { offset: 2 }),
        ];
        for (message, expected) in cases {
            assert_eq!(fields(message).unwrap_err(), *expected, "{message:?}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let mut message = Vec::new();
        for _ in 0..=DEPTH_MAX + 1 {
            let mut outer = Writer::new();
            outer.bytes(1, &message);
            message = outer.finish();
        }
        let mut reader = Reader::new(&message).unwrap();
        let mut depth = 0;
        let error = loop {
            let Some(Field { value: Value::Bytes(bytes), .. }) = reader.next_field().unwrap() else { unreachable!() };
            match bytes.message() {
                Ok(inner) => reader = inner,
                Err(error) => break error,
            }
            depth += 1;
        };
        assert_eq!(depth, DEPTH_MAX);
        assert!(matches!(error, ProtobufError::Depth { .. }));
    }

    #[test]
    fn packed_varints_stop_at_the_first_error() {
        let mut writer = Writer::new();
        writer.packed_ints(1, &[1, -1, 300]);
        let message = writer.finish();
        let Some(Field { value: Value::Bytes(bytes), .. }) = Reader::new(&message).unwrap().next_field().unwrap()
        else {
            unreachable!()
        };
        let values: Vec<u64> = bytes.varints().map(Result::unwrap).collect();
        assert_eq!(values, [1, u64::MAX, 300]);
        let broken = Bytes { data: &[1, 0x80], offset: 0, depth: 0 };
        assert_eq!(broken.varints().collect::<Vec<_>>(), [Ok(1), Err(ProtobufError::Truncated { offset: 1 })]);
    }
}
