//! MXNet's lists of arrays (`.params`): a header, dense arrays one behind the other, and their names.
//!
//! [`read`] walks them by their lengths alone; no array is read into memory.
//!
//! Source: MXNet's `ndarray.cc`: list magic and a reserved word (8 bytes each), the number of arrays (8); each array its magic
//! (4), storage type (4), rank (4), dimensions (8 each), device (4 and 4), type (4) and numbers; then the number of names (8), each
//! a length (8) and text. Arrays of the first two versions and sparse ones end the walk.

#![deny(clippy::indexing_slicing)]

use std::io::{self, Read, Seek, SeekFrom};

/// What a list begins with.
pub const MAGIC: [u8; 16] = [0x12, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Arrays and names of one list.
pub const ITEMS_MAX: u64 = 1 << 20;
/// What dense arrays begin with: versions two and three.
const ARRAY_MAGIC: [u32; 2] = [0xf993_fac9, 0xf993_faca];
/// Dimensions of one array.
const RANK_MAX: u32 = 64;
/// Longest name, in bytes.
const NAME_BYTES_MAX: u64 = 1 << 16;

/// One array's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Array {
    /// Where its numbers begin.
    pub offset: u64,
    /// How many bytes they are.
    pub bytes: u64,
}

/// How a walk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct List {
    /// The arrays in file order.
    pub arrays: Vec<Array>,
    /// Where the walk stopped, and why, if it did not end with the file.
    pub stopped: Option<(u64, &'static str)>,
}

/// Walks a list.
///
/// # Errors
/// Those of the source.
pub fn read(source: &mut (impl Read + Seek + ?Sized)) -> io::Result<List> {
    let whole = source.seek(SeekFrom::End(0))?;
    let mut walk = Walk { source, at: MAGIC.len() as u64, whole };
    let mut arrays = Vec::new();
    let stopped = walk.list(&mut arrays)?.err().map(|why| (walk.at, why));
    Ok(List { arrays, stopped })
}

struct Walk<'s, S: ?Sized> {
    source: &'s mut S,
    at: u64,
    whole: u64,
}

impl<S: Read + Seek + ?Sized> Walk<'_, S> {
    fn list(&mut self, arrays: &mut Vec<Array>) -> io::Result<Result<(), &'static str>> {
        let Some(count) = self.u64()?.filter(|count| *count <= ITEMS_MAX) else {
            return Ok(Err("the number of arrays is impossible"));
        };
        for _ in 0..count {
            let start = self.at;
            if let Some(array) = self.array()? {
                arrays.push(array);
            } else {
                self.at = start;
                return Ok(Err("an array cannot be read"));
            }
        }
        let Some(names) = self.u64()?.filter(|names| *names == 0 || *names == count) else {
            return Ok(Err("the number of names is impossible"));
        };
        for _ in 0..names {
            let length = self.u64()?.filter(|length| *length <= NAME_BYTES_MAX && self.at + length <= self.whole);
            let Some(length) = length else { return Ok(Err("a name cannot be read")) };
            self.at += length;
        }
        Ok(if self.at == self.whole { Ok(()) } else { Err("bytes follow the list") })
    }

    fn array(&mut self) -> io::Result<Option<Array>> {
        let (Some(magic), Some(storage), Some(rank)) = (self.u32()?, self.u32()?, self.u32()?) else { return Ok(None) };
        if !ARRAY_MAGIC.contains(&magic) || storage != 0 || rank > RANK_MAX {
            return Ok(None);
        }
        let mut elements = Some(1_u64);
        for _ in 0..rank {
            let dim = self.u64()?;
            elements = elements.zip(dim).and_then(|(elements, dim)| elements.checked_mul(dim));
        }
        let (Some(_), Some(_), Some(kind)) = (self.u32()?, self.u32()?, self.u32()?) else { return Ok(None) };
        // `mshadow::TypeFlag`.
        let width = match kind {
            3 | 5 | 7 => 1,
            2 | 8 | 12 => 2,
            0 | 4 => 4,
            1 | 6 => 8,
            _ => return Ok(None),
        };
        let bytes = elements.and_then(|elements| elements.checked_mul(width));
        let Some((bytes, end)) =
            bytes.and_then(|bytes| Some((bytes, self.at.checked_add(bytes)?))).filter(|(_, end)| *end <= self.whole)
        else {
            return Ok(None);
        };
        let array = Array { offset: self.at, bytes };
        self.at = end;
        Ok(Some(array))
    }

    fn u32(&mut self) -> io::Result<Option<u32>> {
        let bytes = crate::zip::bytes_at(self.source, self.at, 4)?;
        self.at += bytes.len() as u64;
        Ok(bytes.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes)))
    }

    fn u64(&mut self) -> io::Result<Option<u64>> {
        let bytes = crate::zip::bytes_at(self.source, self.at, 8)?;
        self.at += bytes.len() as u64;
        Ok(bytes.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn walks_a_list_to_its_end() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(1_u64.to_le_bytes());
        for word in [ARRAY_MAGIC[0], 0, 1] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(2_u64.to_le_bytes());
        for word in [1_u32, 0, 0] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend([0; 8]);
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'w']);
        let read_all = read(&mut Cursor::new(&bytes)).unwrap();
        assert_eq!((read_all.arrays.len(), read_all.stopped), (1, None));
        for length in MAGIC.len()..bytes.len() {
            assert!(read(&mut Cursor::new(bytes.get(..length).unwrap())).unwrap().stopped.is_some(), "{length}");
        }
    }
}
