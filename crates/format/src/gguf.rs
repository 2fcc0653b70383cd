//! GGUF model files, versions 1 to 3, both byte orders (ggml's `docs/gguf.md`).
//!
//! [`read`] walks the header as loosely as it can and returns a [`Gguf`]: metadata, tensor table, and a [`Flaw`] for each thing that
//! a strict loader refuses or that none looks at. Whatever was read before the header breaks is kept.
//!
//! Metadata texts are kept whole up to [`TEXT_BYTES_MAX`]; of arrays of texts, which hold whole vocabularies, only the long ones
//! and those of keys that name templates. The tensors' numbers stay where they are.

#![deny(clippy::indexing_slicing)]

use std::{
    collections::HashSet,
    io::{self, Read, Seek, SeekFrom},
};

use crate::{
    slice::{Order, number},
    stream::Stream,
};

mod layout;

pub use layout::{Tensor, check, kind_name};

/// First bytes of every file.
pub const MAGIC: [u8; 4] = *b"GGUF";
/// Most metadata entries that are read.
pub const ENTRIES_MAX: u64 = 100_000;
/// Most tensors that are read.
pub const TENSORS_MAX: u64 = 200_000;
/// Longest key or tensor name, in bytes (the format's limit for keys).
pub const NAME_BYTES_MAX: u64 = 65_535;
/// Longest text that is kept, in bytes.
pub const TEXT_BYTES_MAX: u64 = 4 << 20;
/// Shortest text of an array that is kept, in bytes.
pub const ARRAY_TEXT_BYTES_MIN: u64 = 64;
/// Texts of one array that are kept.
pub const ARRAY_TEXTS_MAX: usize = 10_000;
/// All texts that are kept, in bytes.
pub const KEPT_BYTES_MAX: u64 = 64 << 20;
/// Most items that all arrays have together.
pub const ITEMS_MAX: u64 = 64 << 20;
/// Deepest nesting of arrays.
pub const DEPTH_MAX: u32 = 4;
/// Most dimensions of a tensor that are read; ggml knows four.
pub const DIMENSIONS_MAX: u32 = 8;
/// Flaws that are kept.
pub const FLAWS_MAX: usize = 1_000;
/// Alignment of the data where the metadata says none, in bytes.
pub const ALIGNMENT_BYTES: u64 = 32;

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// Other first bytes.
    #[error("not a GGUF file")]
    NotGguf,
    /// The source failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Something that a strict loader refuses, or that none looks at. Offsets count from the start of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// A version that does not exist.
    Version {
        /// Which.
        version: u32,
    },
    /// A count or length that cannot fit into what is left of the file.
    Claim {
        /// Of what.
        what: &'static str,
        /// What the file says.
        claimed: u64,
        /// Bytes that are left.
        left: u64,
        /// Where it says so.
        offset: u64,
    },
    /// The file ends inside the header.
    Truncated {
        /// Where reading stopped.
        offset: u64,
    },
    /// A key or name longer than [`NAME_BYTES_MAX`], the specification's limit.
    LongName {
        /// Of what.
        what: &'static str,
        /// The length.
        bytes: u64,
        /// Where.
        offset: u64,
    },
    /// More than this reader takes.
    Limit {
        /// Of what.
        what: &'static str,
        /// Where.
        offset: u64,
    },
    /// A metadata key or tensor name twice.
    Duplicate {
        /// The name.
        name: String,
    },
    /// A key or name that is no text, or has control characters.
    Name {
        /// As far as it can be shown.
        name: String,
        /// Where.
        offset: u64,
    },
    /// A value type that does not exist, or an array in arrays too deep.
    ValueType {
        /// The key.
        key: String,
        /// Its number.
        kind: u32,
    },
    /// A truth value that is neither 0 nor 1.
    Truth {
        /// The key.
        key: String,
    },
    /// An alignment that is no power of two, or not between 1 and 64 KiB.
    Alignment {
        /// The value.
        value: u64,
    },
    /// An element type that is not known.
    TensorType {
        /// The tensor.
        name: String,
        /// Its number.
        kind: u32,
    },
    /// Dimensions whose product is too large, zero, or no multiple of the type's block; or too many of them.
    Shape {
        /// The tensor.
        name: String,
        /// The dimensions.
        dimensions: Vec<u64>,
    },
    /// Data that does not begin at a multiple of the alignment.
    Misaligned {
        /// The tensor.
        name: String,
    },
    /// Data outside of the file.
    OutOfBounds {
        /// The tensor.
        name: String,
    },
    /// Two tensors share bytes.
    Overlap {
        /// The later one.
        name: String,
    },
    /// Bytes that belong to no tensor, more than alignment needs.
    Hole {
        /// First byte.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// Bytes behind the last tensor, more than alignment needs.
    Trailing {
        /// First byte.
        offset: u64,
        /// How many.
        bytes: u64,
    },
}

/// A text of the metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Its first byte in the file.
    pub offset: u64,
    /// The text, which should be UTF-8.
    pub bytes: Vec<u8>,
}

/// A metadata entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Where the entry begins.
    pub offset: u64,
    /// Its value, as a number where it is one.
    pub number: Option<u64>,
    /// Its text, or those of its texts that are kept.
    pub texts: Vec<Text>,
    /// Items of an array; 1 otherwise.
    pub count: u64,
}

/// Everything that was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gguf {
    /// Version, as the file says.
    pub version: u32,
    /// Whether numbers are big-endian.
    pub big_endian: bool,
    /// Metadata in order.
    pub entries: Vec<Entry>,
    /// Tensors by rising offset.
    pub tensors: Vec<Tensor>,
    /// Alignment of the data, in bytes.
    pub alignment: u64,
    /// First byte of the data; `None` where the header breaks off.
    pub data_offset: Option<u64>,
    /// Where reading stopped, or the data begins.
    pub stop: u64,
    /// Flaws in the order in which they were met, at most [`FLAWS_MAX`].
    pub flaws: Vec<Flaw>,
    /// Whether there were more flaws.
    pub truncated: bool,
}

impl Gguf {
    fn flaw(&mut self, flaw: Flaw) {
        if self.flaws.len() < FLAWS_MAX {
            self.flaws.push(flaw);
        } else {
            self.truncated = true;
        }
    }
}

/// Reads the header of `source` and checks it against the file's length.
pub fn read(source: &mut (impl Read + Seek + ?Sized)) -> Result<Gguf, GgufError> {
    let length = source.seek(SeekFrom::End(0))?;
    source.seek(SeekFrom::Start(0))?;
    let mut walk = Walk {
        input: Stream::new(source, length),
        order: Order::Little,
        wide: 8,
        items: 0,
        kept: 0,
        out: Gguf { alignment: ALIGNMENT_BYTES, ..Gguf::default() },
    };
    if walk.bytes(4)?.as_deref() != Some(&MAGIC) {
        return Err(GgufError::NotGguf);
    }
    let whole = walk.header()?.is_some();
    let Walk { mut out, input: Stream { at, .. }, .. } = walk;
    out.stop = at;
    if whole {
        let data = at.next_multiple_of(out.alignment.max(1));
        out.data_offset = Some(data);
        layout::check(&mut out, data, length);
    }
    Ok(out)
}

struct Walk<'s, S: Read + Seek + ?Sized> {
    input: Stream<'s, S>,
    order: Order,
    /// Bytes of a count: 4 in version 1, else 8.
    wide: usize,
    items: u64,
    kept: u64,
    out: Gguf,
}

/// `None`: the header cannot be followed any further; a flaw says why.
type Step<T> = Result<Option<T>, io::Error>;

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
    fn bytes(&mut self, count: u64) -> Step<Vec<u8>> {
        let bytes = self.input.take(count)?;
        if bytes.is_none() {
            self.out.flaw(Flaw::Truncated { offset: self.input.at });
        }
        Ok(bytes)
    }

    fn skip(&mut self, count: u64) -> Step<()> {
        let skipped = self.input.skip(count)?;
        if skipped.is_none() {
            self.out.flaw(Flaw::Truncated { offset: self.input.at });
        }
        Ok(skipped)
    }

    fn number(&mut self, width: usize) -> Step<u64> {
        let Some(bytes) = self.input.head(width)? else {
            self.out.flaw(Flaw::Truncated { offset: self.input.at });
            return Ok(None);
        };
        Ok(Some(number(bytes.get(..width).unwrap_or_default(), self.order)))
    }

    fn small(&mut self) -> Step<u32> {
        Ok(self.number(4)?.and_then(|value| u32::try_from(value).ok()))
    }

    /// A count of things that take at least `least` bytes each.
    fn count(&mut self, what: &'static str, least: u64) -> Step<u64> {
        let offset = self.input.at;
        let claimed = step!(self.number(self.wide));
        let left = self.input.left();
        if claimed > left / least.max(1) {
            self.out.flaw(Flaw::Claim { what, claimed, left, offset });
            return Ok(None);
        }
        Ok(Some(claimed))
    }

    #[expect(clippy::unnecessary_wraps, reason = "callers return what it returns")]
    fn limit<T>(&mut self, what: &'static str) -> Step<T> {
        self.out.flaw(Flaw::Limit { what, offset: self.input.at });
        Ok(None)
    }

    fn header(&mut self) -> Step<()> {
        let mut version = step!(self.small());
        // A version in the upper half is one of the other byte order.
        if version.trailing_zeros() >= 16 && version != 0 {
            version = version.swap_bytes();
            self.order = Order::Big;
            self.out.big_endian = true;
        }
        self.out.version = version;
        if !(1..=3).contains(&version) {
            self.out.flaw(Flaw::Version { version });
            return Ok(None);
        }
        self.wide = if version == 1 { 4 } else { 8 };
        let wide = self.wide as u64;
        // Name, dimensions, type and offset; key, type and one byte.
        let tensors = self.count("tensors", wide + 4 + 4 + 8)?;
        let entries = self.count("metadata entries", wide + 4 + 1)?;
        let (Some(tensors), Some(entries)) = (tensors, entries) else { return Ok(None) };
        if entries > ENTRIES_MAX {
            return self.limit("metadata entries");
        }
        if tensors > TENSORS_MAX {
            return self.limit("tensors");
        }
        let mut names = HashSet::new();
        for _ in 0..entries {
            let entry = step!(self.entry());
            if !names.insert(entry.key.clone()) {
                self.out.flaw(Flaw::Duplicate { name: entry.key.clone() });
            }
            if entry.key == "general.alignment" {
                self.align(entry.number.unwrap_or(0));
            }
            self.out.entries.push(entry);
        }
        names.clear();
        for _ in 0..tensors {
            let tensor = step!(self.tensor());
            if !names.insert(tensor.name.clone()) {
                self.out.flaw(Flaw::Duplicate { name: tensor.name.clone() });
            }
            self.out.tensors.push(tensor);
        }
        Ok(Some(()))
    }

    fn align(&mut self, value: u64) {
        if value.is_power_of_two() && value <= 1 << 16 {
            self.out.alignment = value;
        } else {
            self.out.flaw(Flaw::Alignment { value });
        }
    }

    fn name(&mut self, what: &'static str) -> Step<String> {
        let offset = self.input.at;
        let length = step!(self.count(what, 1));
        if length > NAME_BYTES_MAX {
            let offset = self.input.at;
            self.out.flaw(Flaw::LongName { what, bytes: length, offset });
            return Ok(None);
        }
        let bytes = step!(self.bytes(length));
        let name = String::from_utf8_lossy(&bytes).into_owned();
        if name.chars().any(|character| character.is_control() || character == char::REPLACEMENT_CHARACTER) {
            self.out.flaw(Flaw::Name { name: name.clone(), offset });
        }
        Ok(Some(name))
    }

    fn entry(&mut self) -> Step<Entry> {
        let offset = self.input.at;
        let key = step!(self.name("bytes of a key"));
        let kind = step!(self.small());
        let mut entry = Entry { key, offset, number: None, texts: Vec::new(), count: 1 };
        step!(self.value(kind, &mut entry, 0));
        Ok(Some(entry))
    }

    // The recursion is bounded by DEPTH_MAX.
    fn value(&mut self, kind: u32, entry: &mut Entry, depth: u32) -> Step<()> {
        match (kind, width(kind)) {
            (_, Some(bytes)) => {
                let value = step!(self.number(bytes));
                if kind == TRUTH && value > 1 {
                    self.out.flaw(Flaw::Truth { key: entry.key.clone() });
                }
                entry.number = Some(value);
            }
            (TEXT, _) => step!(self.text(entry, true)),
            (ARRAY, _) if depth < DEPTH_MAX => {
                let kind = step!(self.small());
                let least = width(kind).map_or(self.wide as u64, |bytes| bytes as u64);
                let count = step!(self.count("items of an array", least));
                entry.count = count;
                self.items = self.items.saturating_add(count);
                if self.items > ITEMS_MAX {
                    return self.limit("items of arrays");
                }
                return self.items(kind, count, entry, depth);
            }
            _ => {
                self.out.flaw(Flaw::ValueType { key: entry.key.clone(), kind });
                return Ok(None);
            }
        }
        Ok(Some(()))
    }

    fn items(&mut self, kind: u32, count: u64, entry: &mut Entry, depth: u32) -> Step<()> {
        if let Some(bytes) = width(kind) {
            return self.skip(count.saturating_mul(bytes as u64));
        }
        for _ in 0..count {
            match kind {
                TEXT => step!(self.text(entry, false)),
                _ => step!(self.value(kind, entry, depth + 1)),
            }
        }
        Ok(Some(()))
    }

    fn text(&mut self, entry: &mut Entry, alone: bool) -> Step<()> {
        let bytes = step!(self.count("bytes of a text", 1));
        let offset = self.input.at;
        let wanted = alone || bytes >= ARRAY_TEXT_BYTES_MIN || entry.key.contains("template");
        if !wanted {
            return self.skip(bytes);
        }
        self.kept = self.kept.saturating_add(bytes);
        if bytes > TEXT_BYTES_MAX || self.kept > KEPT_BYTES_MAX || entry.texts.len() >= ARRAY_TEXTS_MAX {
            self.out.flaw(Flaw::Limit { what: "bytes of texts", offset });
            return self.skip(bytes);
        }
        let bytes = step!(self.bytes(bytes));
        entry.texts.push(Text { offset, bytes });
        Ok(Some(()))
    }

    fn tensor(&mut self) -> Step<Tensor> {
        let name = step!(self.name("bytes of a tensor's name"));
        let count = step!(self.small());
        if count > DIMENSIONS_MAX {
            self.out.flaw(Flaw::Shape { name, dimensions: vec![u64::from(count)] });
            return Ok(None);
        }
        let mut dimensions = Vec::new();
        for _ in 0..count {
            dimensions.push(step!(self.number(self.wide)));
        }
        let kind = step!(self.small());
        let offset = step!(self.number(8));
        Ok(Some(Tensor { name, dimensions, kind, start: offset, bytes: None }))
    }
}

/// Number of the type of truth values.
const TRUTH: u32 = 7;
/// Number of the type of texts.
const TEXT: u32 = 8;
/// Number of the type of arrays.
const ARRAY: u32 = 9;

/// Bytes of a value that is a number.
fn width(kind: u32) -> Option<usize> {
    Some(match kind {
        0 | 1 | TRUTH => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        _ => return None,
    })
}
