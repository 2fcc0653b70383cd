//! PaddlePaddle's combined parameters (`.pdiparams`): tensors one after the other, each with its own small header.
//!
//! [`read`] walks them by their lengths alone; no tensor is read into memory.
//!
//! Source: PaddlePaddle's `dense_tensor_serialize.cc` and `tensor_util.cc`: version (4 bytes, 0), number of LoD levels (8), each
//! level's length (8) and content, the tensor's version (4, 0), length (4) and content of a `TensorDesc`, the numbers.

#![deny(clippy::indexing_slicing)]

use std::io::{self, Read, Seek, SeekFrom};

use crate::schema::{Schema, survey};

/// Tensors of one file.
pub const TENSORS_MAX: usize = 1 << 20;
/// Bytes of one `TensorDesc`.
const DESCRIPTION_BYTES_MAX: u32 = 4_096;
/// Levels of detail of one tensor.
const LEVELS_MAX: u64 = 16;

/// One tensor's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tensor {
    /// Where its numbers begin.
    pub offset: u64,
    /// How many bytes they are.
    pub bytes: u64,
}

/// How a walk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parameters {
    /// The tensors in file order.
    pub tensors: Vec<Tensor>,
    /// Where the walk stopped, and why, if it did not reach the end of the file.
    pub stopped: Option<(u64, &'static str)>,
}

/// Whether a file begins with one of these tensors.
///
/// # Errors
/// Those of the source.
pub fn is_likely(source: &mut (impl Read + Seek + ?Sized)) -> io::Result<bool> {
    let whole = source.seek(SeekFrom::End(0))?;
    Ok(whole > 16 && tensor(source, 0, whole)?.is_ok())
}

/// Walks all tensors.
///
/// # Errors
/// Those of the source.
pub fn read(source: &mut (impl Read + Seek + ?Sized)) -> io::Result<Parameters> {
    let whole = source.seek(SeekFrom::End(0))?;
    let mut tensors = Vec::new();
    let mut at = 0;
    while at < whole {
        if tensors.len() >= TENSORS_MAX {
            return Ok(Parameters { tensors, stopped: Some((at, "more tensors than are followed")) });
        }
        match tensor(source, at, whole)? {
            Ok(tensor) => {
                at = tensor.offset + tensor.bytes;
                tensors.push(tensor);
            }
            Err(why) => return Ok(Parameters { tensors, stopped: Some((at, why)) }),
        }
    }
    Ok(Parameters { tensors, stopped: None })
}

fn tensor(source: &mut (impl Read + Seek + ?Sized), at: u64, whole: u64) -> io::Result<Result<Tensor, &'static str>> {
    let head = crate::zip::bytes_at(source, at, 12)?;
    let (Some(version), Some(levels)) = (head.first_chunk::<4>(), head.last_chunk::<8>()) else {
        return Ok(Err("it ends inside a header"));
    };
    let levels = u64::from_le_bytes(*levels);
    if *version != [0; 4] || head.len() != 12 || levels > LEVELS_MAX {
        return Ok(Err("no tensor begins here"));
    }
    let mut at = at + 12;
    for _ in 0..levels {
        let size = crate::zip::bytes_at(source, at, 8)?;
        let Some(size) = size.first_chunk::<8>().map(|size| u64::from_le_bytes(*size)).filter(|size| *size < whole)
        else {
            return Ok(Err("a level of detail lies outside of the file"));
        };
        at += 8 + size;
    }
    let head = crate::zip::bytes_at(source, at, 8)?;
    let (Some([0, 0, 0, 0]), Some(size)) =
        (head.first_chunk::<4>(), head.get(4..).and_then(|rest| rest.first_chunk::<4>()))
    else {
        return Ok(Err("a tensor's header is broken"));
    };
    let size = u32::from_le_bytes(*size);
    if size > DESCRIPTION_BYTES_MAX {
        return Ok(Err("a tensor's description is too long"));
    }
    let description = crate::zip::bytes_at(source, at + 8, u64::from(size))?;
    let offset = at + 8 + u64::from(size);
    let bytes = bytes_of(&description);
    Ok(match bytes.filter(|bytes| offset.checked_add(*bytes).is_some_and(|end| end <= whole)) {
        Some(bytes) => Ok(Tensor { offset, bytes }),
        None => Err("a tensor does not fit into the file"),
    })
}

/// The bytes that a `TensorDesc` asks for.
fn bytes_of(description: &[u8]) -> Option<u64> {
    let view = Schema::paddle().view("VarType.TensorDesc", description)?;
    if !survey(&view).is_exact() {
        return None;
    }
    // `VarType.Type` of framework.proto.
    let width = match view.number("data_type")? {
        0 | 20 | 21 | 32 | 33 => 1,
        1 | 4 | 22 => 2,
        2 | 5 => 4,
        3 | 6 | 19 | 23 => 8,
        24 => 16,
        _ => return None,
    };
    view.numbers("dims").try_fold(width, |product: u64, dim| product.checked_mul(dim))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn walks_tensors_to_the_end() {
        let one = [&[0; 16][..], &[4, 0, 0, 0, 0x08, 5, 0x10, 2], &[1; 8]].concat();
        let two = [one.as_slice(), &one].concat();
        let read_all = read(&mut Cursor::new(&two)).unwrap();
        assert_eq!(read_all.tensors, [Tensor { offset: 24, bytes: 8 }, Tensor { offset: 56, bytes: 8 }]);
        assert_eq!(read_all.stopped, None);
        for length in 1..one.len() {
            let cut = read(&mut Cursor::new(one.get(..length).unwrap())).unwrap();
            assert!(cut.stopped.is_some(), "{length}");
        }
    }
}
