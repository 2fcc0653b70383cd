//! FlatBuffers: a bounded reader of foreign tables without a schema compiler.
//!
//! [`root`] finds the first table; [`Table`] reads scalars, texts, tables and vectors by the position of their field in the
//! schema (0, 1, 2 …), as the format's generated code does, but with every offset checked against the buffer.
//!
//! Source: the FlatBuffers internals document: little-endian; a table begins with a signed offset back to its vtable, which
//! holds the table's field positions; references are unsigned 32-bit offsets forward from where they stand.
//!
//! Loaders of these files often skip verification: an offset that leaves the buffer is memory unsafety there, so it is an
//! error here and never a default.

#![deny(clippy::indexing_slicing)]

/// Why a reference cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlatbufferError {
    /// The buffer is shorter than its first offset and identifier.
    #[error("the buffer has {length} bytes, fewer than a header")]
    Short {
        /// Its length in bytes.
        length: usize,
    },
    /// Something that should lie in the buffer does not.
    #[error("{what} at byte {offset} lies outside of the buffer")]
    Outside {
        /// What it is.
        what: &'static str,
        /// Where it should begin.
        offset: u64,
    },
    /// A table or its vtable contradicts itself.
    #[error("the table at byte {offset} has an impossible layout")]
    Layout {
        /// Where the table begins.
        offset: usize,
    },
}

/// One table in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table<'a> {
    buffer: &'a [u8],
    at: usize,
    vtable: usize,
    vspan: usize,
    span: usize,
}

/// A vector of elements of one width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vector<'a> {
    buffer: &'a [u8],
    /// Where the first element begins.
    pub at: usize,
    /// How many elements there are.
    pub length: usize,
    width: usize,
}

/// The four bytes behind the first offset, with which many schemas name their files.
pub fn identifier(buffer: &[u8]) -> Option<[u8; 4]> {
    buffer.get(4..8)?.try_into().ok()
}

/// The root table.
///
/// # Errors
/// Every variant of [`FlatbufferError`].
pub fn root(buffer: &[u8]) -> Result<Table<'_>, FlatbufferError> {
    if buffer.len() < 8 {
        return Err(FlatbufferError::Short { length: buffer.len() });
    }
    let at = u32_at(buffer, 0, "the root offset")? as usize;
    Table::at(buffer, at)
}

impl<'a> Table<'a> {
    fn at(buffer: &'a [u8], at: usize) -> Result<Self, FlatbufferError> {
        let back = u32_at(buffer, at, "a table")?.cast_signed();
        let layout = FlatbufferError::Layout { offset: at };
        let vtable = i64::try_from(at).ok().and_then(|at| at.checked_sub(i64::from(back))).ok_or(layout)?;
        let vtable = usize::try_from(vtable).map_err(|_| layout)?;
        let vspan = usize::from(u16_at(buffer, vtable, "a vtable")?);
        let span = usize::from(u16_at(buffer, vtable.saturating_add(2), "a vtable")?);
        let fits = |start: usize, bytes: usize| start.checked_add(bytes).is_some_and(|end| end <= buffer.len());
        if vspan < 4 || !vspan.is_multiple_of(2) || span < 4 {
            return Err(layout);
        }
        if !fits(vtable, vspan) || !fits(at, span) {
            return Err(FlatbufferError::Outside { what: "a table", offset: at as u64 });
        }
        Ok(Self { buffer, at, vtable, vspan, span })
    }

    /// Where the table begins.
    pub fn offset(&self) -> u64 {
        self.at as u64
    }

    /// Where field `index` lies, `None` where it is absent.
    fn place(&self, index: usize, width: usize) -> Result<Option<usize>, FlatbufferError> {
        let entry = 4 + 2 * index;
        if entry + 2 > self.vspan {
            return Ok(None);
        }
        let inside = usize::from(u16_at(self.buffer, self.vtable + entry, "a vtable")?);
        match inside {
            0 => Ok(None),
            inside if inside >= 4 && inside + width <= self.span => Ok(Some(self.at + inside)),
            _ => Err(FlatbufferError::Layout { offset: self.at }),
        }
    }

    /// How many fields the vtable has room for: more than a schema knows are unread.
    pub fn field_count(&self) -> usize {
        (self.vspan - 4) / 2
    }

    /// Whether field `index` is there.
    ///
    /// # Errors
    /// [`FlatbufferError::Layout`].
    pub fn has(&self, index: usize) -> Result<bool, FlatbufferError> {
        Ok(self.place(index, 1)?.is_some())
    }

    /// An unsigned byte, 0 where absent.
    ///
    /// # Errors
    /// As for every field: [`FlatbufferError::Layout`] and [`FlatbufferError::Outside`].
    pub fn u8(&self, index: usize) -> Result<u8, FlatbufferError> {
        let place = self.place(index, 1)?;
        Ok(place.and_then(|at| self.buffer.get(at).copied()).unwrap_or(0))
    }

    /// A signed byte, 0 where absent.
    ///
    /// # Errors
    /// As [`Table::u8`].
    pub fn i8(&self, index: usize) -> Result<i8, FlatbufferError> {
        self.u8(index).map(u8::cast_signed)
    }

    /// Thirty-two bits, 0 where absent.
    ///
    /// # Errors
    /// As [`Table::u8`].
    pub fn u32(&self, index: usize) -> Result<u32, FlatbufferError> {
        self.place(index, 4)?.map_or(Ok(0), |at| u32_at(self.buffer, at, "a field"))
    }

    /// Thirty-two bits with a sign, 0 where absent.
    ///
    /// # Errors
    /// As [`Table::u8`].
    pub fn i32(&self, index: usize) -> Result<i32, FlatbufferError> {
        self.u32(index).map(u32::cast_signed)
    }

    /// Sixty-four bits, 0 where absent.
    ///
    /// # Errors
    /// As [`Table::u8`].
    pub fn u64(&self, index: usize) -> Result<u64, FlatbufferError> {
        let Some(at) = self.place(index, 8)? else { return Ok(0) };
        let bytes = self.buffer.get(at..).and_then(|rest| rest.first_chunk::<8>());
        bytes
            .map(|bytes| u64::from_le_bytes(*bytes))
            .ok_or(FlatbufferError::Outside { what: "a field", offset: at as u64 })
    }

    /// The place that field `index` refers to.
    fn reference(&self, index: usize, what: &'static str) -> Result<Option<usize>, FlatbufferError> {
        self.place(index, 4)?.map(|at| follow(self.buffer, at, what)).transpose()
    }

    /// A nested table.
    ///
    /// # Errors
    /// Every variant but [`FlatbufferError::Short`].
    pub fn table(&self, index: usize) -> Result<Option<Table<'a>>, FlatbufferError> {
        self.reference(index, "a table")?.map(|at| Table::at(self.buffer, at)).transpose()
    }

    /// A vector of elements of `width` bytes.
    ///
    /// # Errors
    /// As [`Table::table`].
    pub fn vector(&self, index: usize, width: usize) -> Result<Option<Vector<'a>>, FlatbufferError> {
        self.reference(index, "a vector")?.map(|at| vector(self.buffer, at, width)).transpose()
    }

    /// A vector of references to tables, texts or vectors; empty where absent.
    ///
    /// # Errors
    /// As [`Table::table`].
    pub fn references(&self, index: usize) -> Result<Vector<'a>, FlatbufferError> {
        Ok(self.vector(index, 4)?.unwrap_or(Vector { buffer: self.buffer, at: 0, length: 0, width: 4 }))
    }

    /// The bytes of a text, empty where absent.
    ///
    /// # Errors
    /// As [`Table::table`].
    pub fn text(&self, index: usize) -> Result<&'a [u8], FlatbufferError> {
        Ok(self.vector(index, 1)?.map_or(&[], |vector| vector.bytes()))
    }

    /// The bytes of a vector of bytes, `None` where absent.
    ///
    /// # Errors
    /// As [`Table::table`].
    pub fn blob(&self, index: usize) -> Result<Option<Vector<'a>>, FlatbufferError> {
        self.vector(index, 1)
    }
}

impl<'a> Vector<'a> {
    /// The bytes of all elements.
    pub fn bytes(&self) -> &'a [u8] {
        self.buffer.get(self.at..self.at + self.length * self.width).unwrap_or_default()
    }

    /// The elements as signed 32-bit numbers; only of a vector of width 4.
    pub fn i32s(&self) -> impl Iterator<Item = i32> + use<'a> {
        self.bytes().as_chunks::<4>().0.iter().map(|chunk| i32::from_le_bytes(*chunk))
    }

    /// The elements as signed 64-bit numbers; only of a vector of width 8.
    pub fn i64s(&self) -> impl Iterator<Item = i64> + use<'a> {
        self.bytes().as_chunks::<8>().0.iter().map(|chunk| i64::from_le_bytes(*chunk))
    }

    /// The tables that the elements refer to; it ends after the first that cannot be read.
    pub fn tables(&self) -> impl Iterator<Item = Result<Table<'a>, FlatbufferError>> + use<'a> {
        let buffer = self.buffer;
        self.places().map(move |at| Table::at(buffer, follow(buffer, at, "a table")?))
    }

    /// The texts that the elements refer to.
    pub fn texts(&self) -> impl Iterator<Item = Result<&'a [u8], FlatbufferError>> + use<'a> {
        let buffer = self.buffer;
        self.places().map(move |at| Ok(vector(buffer, follow(buffer, at, "a text")?, 1)?.bytes()))
    }

    fn places(&self) -> impl Iterator<Item = usize> + use<'a> {
        let (start, width) = (self.at, self.width);
        (0..self.length).map(move |index| start + index * width)
    }
}

fn vector(buffer: &[u8], at: usize, width: usize) -> Result<Vector<'_>, FlatbufferError> {
    let length = u32_at(buffer, at, "a vector")? as usize;
    let start = at.saturating_add(4);
    let fits =
        length.checked_mul(width).and_then(|bytes| start.checked_add(bytes)).is_some_and(|end| end <= buffer.len());
    if fits {
        Ok(Vector { buffer, at: start, length, width })
    } else {
        Err(FlatbufferError::Outside { what: "a vector", offset: at as u64 })
    }
}

fn follow(buffer: &[u8], at: usize, what: &'static str) -> Result<usize, FlatbufferError> {
    let offset = u32_at(buffer, at, what)? as usize;
    at.checked_add(offset)
        .filter(|target| *target < buffer.len() && offset > 0)
        .ok_or(FlatbufferError::Outside { what, offset: at as u64 + offset as u64 })
}

fn u32_at(buffer: &[u8], at: usize, what: &'static str) -> Result<u32, FlatbufferError> {
    let bytes = buffer.get(at..).and_then(|rest| rest.first_chunk::<4>());
    bytes.map(|bytes| u32::from_le_bytes(*bytes)).ok_or(FlatbufferError::Outside { what, offset: at as u64 })
}

fn u16_at(buffer: &[u8], at: usize, what: &'static str) -> Result<u16, FlatbufferError> {
    let bytes = buffer.get(at..).and_then(|rest| rest.first_chunk::<2>());
    bytes.map(|bytes| u16::from_le_bytes(*bytes)).ok_or(FlatbufferError::Outside { what, offset: at as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Root offset 12, identifier, vtable (two fields: a number, absent), table, as a compiler would lay it out.
    fn sample() -> Vec<u8> {
        let mut bytes = vec![16, 0, 0, 0];
        bytes.extend(b"TEST");
        bytes.extend([8, 0, 8, 0, 4, 0, 0, 0]);
        bytes.extend([8, 0, 0, 0, 42, 0, 0, 0]);
        bytes
    }

    #[test]
    fn reads_a_table() {
        let bytes = sample();
        let table = root(&bytes).unwrap();
        assert_eq!(identifier(&bytes), Some(*b"TEST"));
        assert_eq!(table.u32(0), Ok(42));
        assert_eq!((table.u32(1), table.u32(9)), (Ok(0), Ok(0)));
        assert_eq!(table.field_count(), 2);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = sample();
        for length in 0..bytes.len() {
            let cut = bytes.get(..length).unwrap();
            assert!(root(cut).is_err(), "{length}");
        }
    }

    #[test]
    fn a_reference_out_of_the_buffer_is_an_error() {
        let table = sample();
        let table = root(&table).unwrap();
        assert!(matches!(table.vector(0, 4), Err(FlatbufferError::Outside { .. })));
    }
}
