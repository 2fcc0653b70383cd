//! Universal Binary JSON (draft 12), as XGBoost writes its models.
//!
//! [`read`] walks one document and returns a [`Document`]: the keys of the outermost object, its texts with the path of keys to each,
//! and a [`Flaw`] for each thing that a loader stumbles over or does not look at. Numbers are counted, not kept.
//!
//! UBJSON has no signature: [`is_likely`] looks for an object whose first key has a plausible length.

#![deny(clippy::indexing_slicing)]

use std::io::{self, Read, Seek, SeekFrom};

use crate::{
    slice::{Order, number},
    stream::Stream,
};

/// Deepest nesting; loaders recurse, and a model needs less than ten.
pub const DEPTH_MAX: u32 = 256;
/// Most values of a document, items of typed arrays left out.
pub const VALUES_MAX: u64 = 50_000_000;
/// Longest key or text that is kept, in bytes.
pub const TEXT_BYTES_MAX: u64 = 4 << 20;
/// Shortest text that is kept, in bytes.
pub const TEXT_BYTES_MIN: u64 = 4;
/// All texts that are kept, in bytes.
pub const KEPT_BYTES_MAX: u64 = 64 << 20;
/// Longest path, in bytes.
pub const PATH_BYTES_MAX: usize = 300;
/// Typed arrays that are kept.
pub const RUNS_MAX: usize = 200_000;
/// Flaws that are kept.
pub const FLAWS_MAX: usize = 1_000;

/// Something that a loader stumbles over or does not look at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// A negative length or count.
    Negative {
        /// Where.
        offset: u64,
        /// The value.
        value: i64,
    },
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
    /// A byte that begins no value, or a type without a count.
    Marker {
        /// Where.
        offset: u64,
        /// The byte.
        marker: u8,
    },
    /// A key twice in one object.
    Duplicate {
        /// The path of the key.
        path: String,
    },
    /// More than is followed or kept.
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

/// A text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Keys on the way to it, joined by `/`.
    pub path: String,
    /// Its first byte.
    pub offset: u64,
    /// Its bytes, which should be UTF-8.
    pub bytes: Vec<u8>,
}

/// A typed array of whole numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Keys on the way to it, joined by `/`.
    pub path: String,
    /// Marker of its items.
    pub kind: u8,
    /// First byte of its items.
    pub offset: u64,
    /// Their length in bytes.
    pub bytes: u64,
}

impl Run {
    /// The numbers in `bytes`, which begin with the run's first.
    pub fn numbers<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = i64> + use<'a> {
        let kind = self.kind;
        bytes.chunks_exact(whole(kind).unwrap_or(1)).map(move |item| signed(kind, item))
    }
}

/// What was seen of a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// Keys of the outermost object.
    pub keys: Vec<String>,
    /// Texts in order.
    pub texts: Vec<Text>,
    /// Typed arrays of whole numbers, at most [`RUNS_MAX`].
    pub runs: Vec<Run>,
    /// Values of any kind.
    pub values: u64,
    /// Flaws in the order in which they were met, at most [`FLAWS_MAX`].
    pub flaws: Vec<Flaw>,
    /// Byte behind what was read.
    pub stop: u64,
}

impl Document {
    fn flaw(&mut self, flaw: Flaw) {
        if self.flaws.len() < FLAWS_MAX {
            self.flaws.push(flaw);
        }
    }
}

/// Whether `start`, the first bytes of a file, look like an object whose first key is a plain word, or lies about its length.
pub fn is_likely(start: &[u8]) -> bool {
    let Some((b'{', rest)) = start.split_first() else { return false };
    let (rest, typed) = match rest {
        [b'$', _, b'#', rest @ ..] | [b'#', rest @ ..] => (rest, true),
        rest => (rest, false),
    };
    // A count comes before the first key.
    let rest = if typed { integer(rest).map(|(_, rest)| rest).unwrap_or_default() } else { rest };
    let Some((length, text)) = integer(rest) else { return false };
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b' ');
    let word = text.iter().take_while(|byte| is_word(byte)).count();
    match usize::try_from(length) {
        Ok(length) if length <= 64 => length > 0 && word >= length,
        _ => word >= 3,
    }
}

/// A marker and its whole number, and what follows.
fn integer(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (marker, rest) = bytes.split_first()?;
    let width = whole(*marker)?;
    Some((signed(*marker, rest.get(..width)?), rest.get(width..)?))
}

/// Bytes of a whole number.
fn whole(marker: u8) -> Option<usize> {
    Some(match marker {
        b'i' | b'U' => 1,
        b'I' => 2,
        b'l' => 4,
        b'L' => 8,
        _ => return None,
    })
}

/// Bytes of a value of fixed size behind its marker.
fn width(marker: u8) -> Option<u64> {
    Some(match marker {
        b'Z' | b'N' | b'T' | b'F' => 0,
        b'i' | b'U' | b'C' => 1,
        b'I' => 2,
        b'l' | b'd' => 4,
        b'L' | b'D' => 8,
        _ => return None,
    })
}

fn signed(marker: u8, bytes: &[u8]) -> i64 {
    let value = number(bytes, Order::Big);
    let bits = 64 - 8 * bytes.len().clamp(1, 8);
    // `U` is the only type without a sign.
    let shift = u32::try_from(bits).unwrap_or(0);
    if marker == b'U' { value.cast_signed() } else { (value << shift).cast_signed() >> shift }
}

/// Walks the document that begins at the start of `source`.
pub fn read(source: &mut (impl Read + Seek + ?Sized)) -> io::Result<Document> {
    let length = source.seek(SeekFrom::End(0))?;
    source.seek(SeekFrom::Start(0))?;
    let mut walk = Walk { input: Stream::new(source, length), path: String::new(), kept: 0, out: Document::default() };
    let whole = match walk.byte()? {
        Some(marker) => walk.value(marker, 0)?.is_some(),
        None => false,
    };
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
    kept: u64,
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

/// Type and count of a container, as far as it states them.
struct Header {
    kind: Option<u8>,
    count: Option<u64>,
    /// The first marker behind the header, already read.
    next: Option<u8>,
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

    /// A marker that is no no-op.
    fn marker(&mut self) -> Step<u8> {
        loop {
            let marker = step!(self.byte());
            if marker != b'N' {
                return Ok(Some(marker));
            }
        }
    }

    fn skip(&mut self, count: u64, offset: u64) -> Step<()> {
        match self.input.skip(count)? {
            None => self.stop(Flaw::Claim { claimed: count, left: self.input.left(), offset }),
            done => Ok(done),
        }
    }

    /// A whole number that is a length or count.
    fn length(&mut self, marker: u8) -> Step<u64> {
        let offset = self.input.at;
        let Some(width) = whole(marker) else { return self.stop(Flaw::Marker { offset, marker }) };
        let Some(bytes) = self.input.head(width)? else { return self.stop(Flaw::Truncated { offset }) };
        let value = signed(marker, bytes.get(..width).unwrap_or_default());
        match u64::try_from(value) {
            Ok(value) => Ok(Some(value)),
            Err(_) => self.stop(Flaw::Negative { offset, value }),
        }
    }

    // The recursion is bounded by DEPTH_MAX.
    fn value(&mut self, marker: u8, depth: u32) -> Step<()> {
        let offset = self.input.at;
        self.out.values += 1;
        if depth > DEPTH_MAX {
            return self.stop(Flaw::Depth { offset });
        }
        if self.out.values > VALUES_MAX {
            return self.stop(Flaw::Limit { offset });
        }
        if let Some(bytes) = width(marker) {
            return self.skip(bytes, offset);
        }
        match marker {
            b'S' | b'H' => self.text(),
            b'[' => self.array(depth),
            b'{' => self.object(depth),
            _ => self.stop(Flaw::Marker { offset, marker }),
        }
    }

    fn text(&mut self) -> Step<()> {
        let marker = step!(self.byte());
        let bytes = step!(self.length(marker));
        let offset = self.input.at;
        self.kept = self.kept.saturating_add(bytes);
        if bytes < TEXT_BYTES_MIN {
            return self.skip(bytes, offset);
        }
        if bytes > self.input.left() || bytes <= TEXT_BYTES_MAX && self.kept <= KEPT_BYTES_MAX {
            let text = step!(self.take(bytes));
            self.out.texts.push(Text { path: self.path.clone(), offset, bytes: text });
            return Ok(Some(()));
        }
        self.out.flaw(Flaw::Limit { offset });
        self.skip(bytes, offset)
    }

    fn take(&mut self, bytes: u64) -> Step<Vec<u8>> {
        let offset = self.input.at;
        match self.input.take(bytes)? {
            None => self.stop(Flaw::Claim { claimed: bytes, left: self.input.left(), offset }),
            taken => Ok(taken),
        }
    }

    /// `$` type and `#` count, in this order, each optional; a type needs a count.
    fn header(&mut self) -> Step<Header> {
        let mut header = Header { kind: None, count: None, next: None };
        let offset = self.input.at;
        let mut marker = step!(self.marker());
        if marker == b'$' {
            header.kind = Some(step!(self.byte()));
            marker = step!(self.byte());
            if marker != b'#' {
                return self.stop(Flaw::Marker { offset, marker });
            }
        }
        if marker == b'#' {
            let marker = step!(self.byte());
            let count = step!(self.length(marker));
            let left = self.input.left();
            // Items of `Z`, `T` and `F` take no bytes: such a count costs the loader memory and the file nothing.
            if count > left {
                return self.stop(Flaw::Claim { claimed: count, left, offset });
            }
            header.count = Some(count);
        } else {
            header.next = Some(marker);
        }
        Ok(Some(header))
    }

    fn array(&mut self, depth: u32) -> Step<()> {
        let header = step!(self.header());
        let offset = self.input.at;
        if let (Some(kind), Some(count)) = (header.kind, header.count)
            && let Some(width) = width(kind)
        {
            let bytes = count.saturating_mul(width);
            step!(self.skip(bytes, offset));
            if whole(kind).is_some() && self.out.runs.len() < RUNS_MAX {
                self.out.runs.push(Run { path: self.path.clone(), kind, offset, bytes });
            }
            return Ok(Some(()));
        }
        if let Some(count) = header.count {
            for _ in 0..count {
                let marker = match header.kind {
                    Some(kind) => kind,
                    None => step!(self.marker()),
                };
                step!(self.value(marker, depth + 1));
            }
            return Ok(Some(()));
        }
        let mut marker = header.next.unwrap_or(b']');
        while marker != b']' {
            step!(self.value(marker, depth + 1));
            marker = step!(self.marker());
        }
        Ok(Some(()))
    }

    fn object(&mut self, depth: u32) -> Step<()> {
        let header = step!(self.header());
        let mut left = header.count;
        let mut next = header.next;
        let mut names = std::collections::HashSet::new();
        loop {
            match left {
                Some(0) => return Ok(Some(())),
                Some(count) => left = Some(count - 1),
                None => {}
            }
            let marker = match next.take() {
                Some(marker) => marker,
                None => step!(self.marker()),
            };
            if left.is_none() && marker == b'}' {
                return Ok(Some(()));
            }
            let length = step!(self.length(marker));
            if length > TEXT_BYTES_MAX && length <= self.input.left() {
                return self.stop(Flaw::Limit { offset: self.input.at });
            }
            let bytes = step!(self.take(length));
            let key =
                String::from_utf8_lossy(bytes.get(..bytes.len().min(PATH_BYTES_MAX)).unwrap_or_default()).into_owned();
            let before = self.path.len();
            if before + key.len() < PATH_BYTES_MAX {
                if before > 0 {
                    self.path.push('/');
                }
                self.path.push_str(&key);
            }
            if depth == 0 && self.out.keys.len() < FLAWS_MAX {
                self.out.keys.push(key.clone());
            }
            if !names.insert(key) {
                self.out.flaw(Flaw::Duplicate { path: self.path.clone() });
            }
            let marker = match header.kind {
                Some(kind) => kind,
                None => step!(self.marker()),
            };
            step!(self.value(marker, depth + 1));
            self.path.truncate(before);
        }
    }
}
