//! The subset of CBOR that trail leaves use: unsigned integers, byte and text strings, arrays, text-keyed maps, booleans
//! and null, in the deterministic encoding of RFC 8949 §4.2.1 (shortest heads, sorted keys, definite lengths).

use std::collections::BTreeMap;

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 16;

/// A CBOR data item of the subset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Major type 0.
    Unsigned(u64),
    /// Major type 2.
    Bytes(Vec<u8>),
    /// Major type 3.
    Text(String),
    /// Major type 4.
    Array(Vec<Value>),
    /// Major type 5; keys are sorted by their encoded bytes when written.
    Map(BTreeMap<String, Value>),
    /// Simple values 20 and 21.
    Bool(bool),
    /// Simple value 22.
    Null,
}

/// Why bytes are not a deterministic encoding of the subset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CborError {
    /// The bytes end inside an item.
    #[error("ends inside an item at byte {offset}")]
    Truncated {
        /// Where.
        offset: usize,
    },
    /// An item of a type that is not used here.
    #[error("unsupported item at byte {offset}")]
    Unsupported {
        /// Where.
        offset: usize,
    },
    /// A head that is longer than needed, unsorted or repeated keys, or text that is not UTF-8.
    #[error("not the deterministic encoding at byte {offset}")]
    NotDeterministic {
        /// Where.
        offset: usize,
    },
    /// Bytes after the item.
    #[error("{bytes} bytes after the end")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// Nested deeper than the limit.
    #[error("nested deeper than {DEPTH_MAX} at byte {offset}")]
    TooDeep {
        /// Where.
        offset: usize,
    },
}

/// The deterministic encoding of `value`.
pub fn to_cbor(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

/// Reads one item that fills `bytes` and is encoded deterministically.
pub fn from_cbor(bytes: &[u8]) -> Result<Value, CborError> {
    let mut reader = Reader { bytes, offset: 0 };
    let value = reader.item(0)?;
    match bytes.len() - reader.offset {
        0 => Ok(value),
        left => Err(CborError::Trailing { bytes: left }),
    }
}

fn head(major: u8, argument: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    #[expect(clippy::cast_possible_truncation, reason = "each arm's range fits its type")]
    match argument {
        0..=23 => out.push(major | argument as u8),
        24..=0xff => out.extend([major | 0x18, argument as u8]),
        0x100..=0xffff => {
            out.push(major | 0x19);
            out.extend((argument as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 0x1a);
            out.extend((argument as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 0x1b);
            out.extend(argument.to_be_bytes());
        }
    }
}

fn text(text: &str, out: &mut Vec<u8>) {
    head(3, text.len() as u64, out);
    out.extend(text.as_bytes());
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Unsigned(number) => head(0, *number, out),
        Value::Bytes(bytes) => {
            head(2, bytes.len() as u64, out);
            out.extend(bytes);
        }
        Value::Text(string) => text(string, out),
        Value::Array(items) => {
            head(4, items.len() as u64, out);
            for item in items {
                write(item, out);
            }
        }
        Value::Map(entries) => {
            head(5, entries.len() as u64, out);
            // Encoded order: shorter keys first, then bytewise, because the head holds the length.
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
            for (key, item) in sorted {
                text(key, out);
                write(item, out);
            }
        }
        Value::Bool(false) => out.push(0xf4),
        Value::Bool(true) => out.push(0xf5),
        Value::Null => out.push(0xf6),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8], CborError> {
        let truncated = CborError::Truncated { offset: self.offset };
        let count = usize::try_from(count).map_err(|_| truncated)?;
        let end = self.offset.checked_add(count).ok_or(truncated)?;
        let taken = self.bytes.get(self.offset..end).ok_or(truncated)?;
        self.offset = end;
        Ok(taken)
    }

    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let offset = self.offset;
        let first = self.take(1)?.first().copied().unwrap_or_default();
        let (major, info) = (first >> 5, first & 0x1f);
        if major == 7 {
            return Ok((major, u64::from(info)));
        }
        let (argument, least) = match info {
            0..=23 => return Ok((major, u64::from(info))),
            24 => (self.number(1)?, 24),
            25 => (self.number(2)?, 0x100),
            26 => (self.number(4)?, 0x1_0000),
            27 => (self.number(8)?, 0x1_0000_0000),
            _ => return Err(CborError::Unsupported { offset }),
        };
        if argument < least { Err(CborError::NotDeterministic { offset }) } else { Ok((major, argument)) }
    }

    fn number(&mut self, bytes: u64) -> Result<u64, CborError> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn text(&mut self, length: u64) -> Result<String, CborError> {
        let offset = self.offset;
        let bytes = self.take(length)?.to_vec();
        String::from_utf8(bytes).map_err(|_| CborError::NotDeterministic { offset })
    }

    fn item(&mut self, depth: usize) -> Result<Value, CborError> {
        let offset = self.offset;
        if depth > DEPTH_MAX {
            return Err(CborError::TooDeep { offset });
        }
        Ok(match self.head()? {
            (0, number) => Value::Unsigned(number),
            (2, length) => Value::Bytes(self.take(length)?.to_vec()),
            (3, length) => Value::Text(self.text(length)?),
            (4, length) => {
                // No allocation by a stranger's count: the list grows as items are really there.
                let mut items = Vec::new();
                for _ in 0..length {
                    items.push(self.item(depth + 1)?);
                }
                Value::Array(items)
            }
            (5, length) => self.map(length, depth)?,
            (7, 20) => Value::Bool(false),
            (7, 21) => Value::Bool(true),
            (7, 22) => Value::Null,
            _ => return Err(CborError::Unsupported { offset }),
        })
    }

    fn map(&mut self, length: u64, depth: usize) -> Result<Value, CborError> {
        let mut entries = BTreeMap::new();
        let mut before: Option<String> = None;
        for _ in 0..length {
            let offset = self.offset;
            let (3, key_length) = self.head()? else { return Err(CborError::Unsupported { offset }) };
            let key = self.text(key_length)?;
            let rising = before.as_ref().is_none_or(|b| (b.len(), b.as_str()) < (key.len(), key.as_str()));
            if !rising {
                return Err(CborError::NotDeterministic { offset });
            }
            let value = self.item(depth + 1)?;
            before = Some(key.clone());
            entries.insert(key, value);
        }
        Ok(Value::Map(entries))
    }
}
