//! MessagePack documents (the MessagePack specification), as Flax, msgpack-numpy and others keep weights in them.
//!
//! [`read`] walks one document and returns a [`Document`]: its leaves that may hold something, each with the path of keys to it, and a
//! [`Flaw`] for each thing that a loader stumbles over or does not look at. Numbers are counted, not kept.
//!
//! MessagePack has no signature. [`is_likely`] is a first guess; a [`Document`] that is [`whole`](Document::whole) is the proof.

#![deny(clippy::indexing_slicing)]

use std::{
    collections::HashSet,
    io::{self, Read, Seek, SeekFrom},
};

use crate::{
    slice::{Order, Slice, number},
    stream::Stream,
};

/// Deepest nesting; Python's reader stops at 1,024, Flax's trees need ten.
pub const DEPTH_MAX: u32 = 256;
/// Most values of a document.
pub const VALUES_MAX: u64 = 50_000_000;
/// Most leaves that are kept.
pub const LEAVES_MAX: usize = 200_000;
/// Longest key that is kept, in bytes.
pub const KEY_BYTES_MAX: u64 = 4_096;
/// Shortest text that is a leaf worth keeping, in bytes.
pub const TEXT_BYTES_MIN: u64 = 12;
/// Keys that are remembered to find repeated ones.
pub const KEYS_MAX: usize = 100_000;
/// Longest path, in bytes.
pub const PATH_BYTES_MAX: usize = 300;
/// First bytes of a document that is nothing but nesting.
const NESTED_BYTES: usize = 1_024;
/// Flaws that are kept.
pub const FLAWS_MAX: usize = 1_000;

/// What a leaf is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text of at least [`TEXT_BYTES_MIN`] bytes.
    Text,
    /// A byte string.
    Bytes,
    /// An extension of this type.
    Extension(i8),
}

/// A value whose bytes may hold something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// What it is.
    pub kind: Kind,
    /// Keys and indexes on the way to it, joined by `/`.
    pub path: String,
    /// First byte of its content.
    pub offset: u64,
    /// Its length, in bytes.
    pub bytes: u64,
}

/// Something that a loader stumbles over or does not look at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// A length or count that cannot fit into what is left of the file.
    Claim {
        /// What the document says.
        claimed: u64,
        /// Bytes that are left.
        left: u64,
        /// Where.
        offset: u64,
    },
    /// The file ends inside a value.
    Truncated {
        /// Where.
        offset: u64,
    },
    /// Nested deeper than [`DEPTH_MAX`].
    Depth {
        /// Where.
        offset: u64,
    },
    /// The byte that no value begins with.
    Reserved {
        /// Where.
        offset: u64,
    },
    /// A key twice in one map.
    Duplicate {
        /// The path of the key.
        path: String,
    },
    /// More values or leaves than are followed.
    Limit {
        /// Where.
        offset: u64,
    },
    /// Bytes behind the document.
    Trailing {
        /// First byte.
        offset: u64,
        /// How many.
        bytes: u64,
    },
}

/// What was seen of a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// Keys of the outermost map.
    pub keys: Vec<String>,
    /// Leaves in order.
    pub leaves: Vec<Leaf>,
    /// Values of any kind.
    pub values: u64,
    /// Flaws in the order in which they were met, at most [`FLAWS_MAX`].
    pub flaws: Vec<Flaw>,
    /// Byte behind what was read.
    pub stop: u64,
}

impl Document {
    /// Whether the document was followed to its end.
    pub fn whole(&self) -> bool {
        self.flaws.iter().all(|flaw| matches!(flaw, Flaw::Duplicate { .. } | Flaw::Trailing { .. }))
    }

    fn flaw(&mut self, flaw: Flaw) {
        if self.flaws.len() < FLAWS_MAX {
            self.flaws.push(flaw);
        }
    }
}

/// Whether `start`, the first bytes of a file, look like a map that begins with a printable key, or like one extension.
pub fn is_likely(start: &[u8]) -> bool {
    // A list may hold maps, as tables of records and of words do.
    let inner = match start {
        [0x91..=0x9f, rest @ ..] | [0xdc, _, _, rest @ ..] | [0xdd, _, _, _, _, rest @ ..] => rest,
        _ => start,
    };
    let key = match inner {
        [0x81..=0x8f, rest @ ..] | [0xde, _, _, rest @ ..] | [0xdf, _, _, _, _, rest @ ..] => rest,
        // One list in another, on and on.
        [0x91, 0x91, 0x91, 0x91, ..] if start.iter().take(NESTED_BYTES).all(|byte| *byte == 0x91) => return true,
        // Flax keeps a lone array as extension 1 of three values: shape, type, bytes.
        [0xc7, _, 1, 0x93, ..] | [0xc8, _, _, 1, 0x93, ..] | [0xc9, _, _, _, _, 1, 0x93, ..] => return true,
        _ => return false,
    };
    let (length, text) = match key {
        [marker @ 0xa1..=0xbf, rest @ ..] => (usize::from(marker & 0x1f), rest),
        [0xd9 | 0xc4, length, rest @ ..] => (usize::from(*length), rest),
        _ => return false,
    };
    let is_name = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    length > 0 && text.get(..length).is_some_and(|key| key.iter().all(is_name)) && text.get(length) != Some(&0xc1)
}

/// Walks the document that begins at the start of `source`.
pub fn read(source: &mut (impl Read + Seek + ?Sized)) -> io::Result<Document> {
    let length = source.seek(SeekFrom::End(0))?;
    source.seek(SeekFrom::Start(0))?;
    let mut walk = Walk { input: Stream::new(source, length), path: String::new(), out: Document::default() };
    let whole = walk.value(0)?.is_some();
    let Walk { mut out, input, .. } = walk;
    out.stop = input.at;
    if whole && input.left() > 0 {
        out.flaw(Flaw::Trailing { offset: input.at, bytes: input.left() });
    }
    Ok(out)
}

struct Walk<'s, S: Read + Seek + ?Sized> {
    input: Stream<'s, S>,
    path: String,
    out: Document,
}

/// `None`: the document cannot be followed any further; a flaw says why.
type Step<T> = io::Result<Option<T>>;

/// Takes the value, or stops where there is none.
macro_rules! step {
    ($value:expr) => {
        match $value? {
            Some(value) => value,
            None => return Ok(None),
        }
    };
}

impl<S: Read + Seek + ?Sized> Walk<'_, S> {
    #[expect(clippy::unnecessary_wraps, reason = "callers return what it returns")]
    fn stop<T>(&mut self, flaw: Flaw) -> Step<T> {
        self.out.flaw(flaw);
        Ok(None)
    }

    fn byte(&mut self) -> Step<u8> {
        match self.input.byte()? {
            None => self.stop(Flaw::Truncated { offset: self.input.at }),
            byte => Ok(byte),
        }
    }

    fn number(&mut self, width: usize) -> Step<u64> {
        match self.input.head(width)? {
            None => self.stop(Flaw::Truncated { offset: self.input.at }),
            Some(bytes) => Ok(Some(number(bytes.get(..width).unwrap_or_default(), Order::Big))),
        }
    }

    fn skip(&mut self, count: u64, offset: u64) -> Step<()> {
        match self.input.skip(count)? {
            None => self.stop(Flaw::Claim { claimed: count, left: self.input.left(), offset }),
            done => Ok(done),
        }
    }

    // The recursion is bounded by DEPTH_MAX.
    fn value(&mut self, depth: u32) -> Step<()> {
        let offset = self.input.at;
        self.out.values += 1;
        if self.out.values > VALUES_MAX {
            return self.stop(Flaw::Limit { offset });
        }
        let marker = step!(self.byte());
        self.value_of(marker, offset, depth)
    }

    /// The value whose first byte is `marker`.
    fn value_of(&mut self, marker: u8, offset: u64, depth: u32) -> Step<()> {
        if depth > DEPTH_MAX {
            return self.stop(Flaw::Depth { offset });
        }
        match marker {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => Ok(Some(())),
            0xc1 => self.stop(Flaw::Reserved { offset }),
            0xca..=0xd3 => {
                let bytes = match marker {
                    0xcc | 0xd0 => 1,
                    0xcd | 0xd1 => 2,
                    0xca | 0xce | 0xd2 => 4,
                    _ => 8,
                };
                self.skip(bytes, offset)
            }
            0x80..=0x8f => self.map(u64::from(marker & 0x0f), offset, depth),
            0xde => {
                let count = step!(self.number(2));
                self.map(count, offset, depth)
            }
            0xdf => {
                let count = step!(self.number(4));
                self.map(count, offset, depth)
            }
            0x90..=0x9f => self.array(u64::from(marker & 0x0f), offset, depth),
            0xdc => {
                let count = step!(self.number(2));
                self.array(count, offset, depth)
            }
            0xdd => {
                let count = step!(self.number(4));
                self.array(count, offset, depth)
            }
            _ => {
                let (kind, bytes) = step!(self.length(marker));
                self.leaf(kind, bytes, offset)
            }
        }
    }

    /// Kind and length of a text, byte string or extension.
    fn length(&mut self, marker: u8) -> Step<(Kind, u64)> {
        let (kind, bytes) = match marker {
            0xa0..=0xbf => (Kind::Text, u64::from(marker & 0x1f)),
            0xd9 => (Kind::Text, step!(self.number(1))),
            0xda => (Kind::Text, step!(self.number(2))),
            0xdb => (Kind::Text, step!(self.number(4))),
            0xc4 => (Kind::Bytes, step!(self.number(1))),
            0xc5 => (Kind::Bytes, step!(self.number(2))),
            0xc6 => (Kind::Bytes, step!(self.number(4))),
            _ => {
                let bytes = match marker {
                    0xc7 => step!(self.number(1)),
                    0xc8 => step!(self.number(2)),
                    0xc9 => step!(self.number(4)),
                    // 0xd4 to 0xd8: 1, 2, 4, 8, 16 bytes.
                    _ => 1 << (marker - 0xd4).min(4),
                };
                let kind = step!(self.byte());
                (Kind::Extension(i8::from_be_bytes([kind])), bytes)
            }
        };
        Ok(Some((kind, bytes)))
    }

    fn leaf(&mut self, kind: Kind, bytes: u64, offset: u64) -> Step<()> {
        let start = self.input.at;
        step!(self.skip(bytes, offset));
        if kind == Kind::Text && bytes < TEXT_BYTES_MIN {
            return Ok(Some(()));
        }
        if self.out.leaves.len() >= LEAVES_MAX {
            return self.stop(Flaw::Limit { offset });
        }
        self.out.leaves.push(Leaf { kind, path: self.path.clone(), offset: start, bytes });
        Ok(Some(()))
    }

    /// Whether `count` values of at least one byte can follow.
    fn fits(&mut self, count: u64, offset: u64) -> Step<()> {
        let left = self.input.left();
        if count > left {
            return self.stop(Flaw::Claim { claimed: count, left, offset });
        }
        Ok(Some(()))
    }

    fn array(&mut self, count: u64, offset: u64, depth: u32) -> Step<()> {
        step!(self.fits(count, offset));
        for _ in 0..count {
            step!(self.value(depth + 1));
        }
        Ok(Some(()))
    }

    fn map(&mut self, count: u64, offset: u64, depth: u32) -> Step<()> {
        step!(self.fits(count.saturating_mul(2), offset));
        let mut names = HashSet::new();
        for _ in 0..count {
            let key = step!(self.key(depth));
            let before = self.path.len();
            if let Some(key) = key {
                let is_new = names.len() >= KEYS_MAX || names.insert(key.clone());
                if depth == 0 && self.out.keys.len() < KEYS_MAX {
                    self.out.keys.push(key.clone());
                }
                if self.path.len() + key.len() < PATH_BYTES_MAX {
                    if before > 0 {
                        self.path.push('/');
                    }
                    self.path.push_str(&key);
                }
                if !is_new {
                    self.out.flaw(Flaw::Duplicate { path: self.path.clone() });
                }
            }
            step!(self.value(depth + 1));
            self.path.truncate(before);
        }
        Ok(Some(()))
    }

    /// The key, where it is a short text; other keys are walked like values.
    fn key(&mut self, depth: u32) -> Step<Option<String>> {
        let offset = self.input.at;
        let marker = step!(self.byte());
        let is_text = matches!(marker, 0xa0..=0xbf | 0xd9..=0xdb | 0xc4..=0xc6);
        if !is_text {
            return Ok(self.value_of(marker, offset, depth + 1)?.map(|()| None));
        }
        let (kind, bytes) = step!(self.length(marker));
        if bytes > KEY_BYTES_MAX {
            return Ok(self.leaf(kind, bytes, offset)?.map(|()| None));
        }
        match self.input.take(bytes)? {
            None => self.stop(Flaw::Claim { claimed: bytes, left: self.input.left(), offset }),
            Some(key) => Ok(Some(Some(String::from_utf8_lossy(&key).into_owned()))),
        }
    }
}

/// An array as Flax writes it: shape, type and bytes in one extension; a scalar has no shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    /// Dimensions.
    pub shape: Vec<u64>,
    /// Type of its elements, as NumPy names it.
    pub dtype: String,
    /// First byte of its elements, counted from the extension's first.
    pub start: u64,
    /// Bytes of its elements.
    pub bytes: u64,
}

/// Reads the start of an array extension; `None` where it is none.
pub fn array(head: &[u8]) -> Option<Array> {
    let mut slice = Slice::new(head);
    let shape = match slice.byte()? {
        0x93 => {
            let rank = match slice.byte()? {
                marker @ 0x90..=0x9f => usize::from(marker & 0x0f),
                0xdc => usize::try_from(big(&mut slice, 2)?).ok()?,
                _ => return None,
            };
            (0..rank).map(|_| unsigned(&mut slice)).collect::<Option<Vec<u64>>>()?
        }
        // A scalar: type and bytes.
        0x92 => Vec::new(),
        _ => return None,
    };
    let length = match slice.byte()? {
        marker @ 0xa0..=0xbf => u64::from(marker & 0x1f),
        0xd9 | 0xc4 => big(&mut slice, 1)?,
        _ => return None,
    };
    let dtype = String::from_utf8_lossy(slice.take(usize::try_from(length).ok()?)?).into_owned();
    let bytes = match slice.byte()? {
        marker @ 0xa0..=0xbf => u64::from(marker & 0x1f),
        0xc4 | 0xd9 => big(&mut slice, 1)?,
        0xc5 | 0xda => big(&mut slice, 2)?,
        0xc6 | 0xdb => big(&mut slice, 4)?,
        _ => return None,
    };
    Some(Array { shape, dtype, start: slice.at() as u64, bytes })
}

fn big(slice: &mut Slice<'_>, width: usize) -> Option<u64> {
    slice.take(width).map(|bytes| number(bytes, Order::Big))
}

fn unsigned(slice: &mut Slice<'_>) -> Option<u64> {
    match slice.byte()? {
        small @ 0x00..=0x7f => Some(u64::from(small)),
        0xcc | 0xd0 => big(slice, 1),
        0xcd | 0xd1 => big(slice, 2),
        0xce | 0xd2 => big(slice, 4),
        0xcf | 0xd3 => big(slice, 8),
        _ => None,
    }
}
