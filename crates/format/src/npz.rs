//! Numeric arrays in and out of NPZ files: zip archives of npy members, as NumPy's `savez` writes them.
//!
//! Reading takes numbers only; object arrays, which would need unpickling, are refused by name. Writing is deterministic:
//! stored members without a date.
#![deny(clippy::indexing_slicing)]

use std::io::{self, Read, Seek};

use crate::{
    npy::{self, Header, Literal, NpyError},
    zip::{self, ZipError},
};

/// Most arrays in one file.
pub const ARRAYS_MAX: usize = 256;
/// Most elements of one array.
pub const ELEMENTS_MAX: u64 = 1 << 31;

/// Why an NPZ was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NpzError {
    /// Not an archive.
    #[error(transparent)]
    Zip(#[from] ZipError),
    /// A member is no array.
    #[error("array `{name}`: {error}")]
    Npy {
        /// Which member.
        name: String,
        /// Why.
        error: NpyError,
    },
    /// An array that holds something other than numbers, or is stored in a way that is not read here.
    #[error("array `{name}`: {what}")]
    Unsupported {
        /// Which member.
        name: String,
        /// What it is.
        what: String,
    },
    /// Too many arrays.
    #[error("{arrays} arrays, limit is {ARRAYS_MAX}")]
    TooMany {
        /// How many there are.
        arrays: usize,
    },
    /// The source failed or ended.
    #[error("array `{name}`: {error}")]
    Io {
        /// Which member.
        name: String,
        /// What the source said.
        error: io::Error,
    },
}

/// A numeric array.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Name without `.npy`.
    pub name: String,
    /// Shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// Values in row-major order.
    pub values: Vec<f64>,
}

/// Reads every array of an NPZ.
pub fn read(source: &mut (impl Read + Seek)) -> Result<Vec<Array>, NpzError> {
    let archive = zip::read(source)?;
    if archive.members.len() > ARRAYS_MAX {
        return Err(NpzError::TooMany { arrays: archive.members.len() });
    }
    let mut arrays = Vec::new();
    for member in &archive.members {
        let full = member.name_lossy();
        let name = full.strip_suffix(".npy").unwrap_or(&full).to_owned();
        let unsupported = |what: &str| NpzError::Unsupported { name: name.clone(), what: what.to_owned() };
        let failed = |error| NpzError::Io { name: name.clone(), error };
        let mut content = member.open(source).map_err(failed)?.ok_or_else(|| unsupported("unknown compression"))?;
        let header = Header::read(&mut content).map_err(|error| NpzError::Npy { name: name.clone(), error })?;
        arrays.push(array(&name, &header, &mut content)?);
    }
    Ok(arrays)
}

fn array(name: &str, header: &Header, content: &mut impl Read) -> Result<Array, NpzError> {
    let unsupported = |what: String| NpzError::Unsupported { name: name.to_owned(), what };
    let Literal::Text(code) = &header.descr else { return Err(unsupported("a record type".into())) };
    if header.fortran_order && header.shape.len() > 1 {
        return Err(unsupported("column-major order; save it with `numpy.ascontiguousarray`".into()));
    }
    let decode = decoder(code).ok_or_else(|| unsupported(format!("element type `{code}` is no number")))?;
    let count = header.shape.iter().try_fold(1_u64, |count, dimension| count.checked_mul(*dimension));
    let count = count
        .filter(|count| *count <= ELEMENTS_MAX)
        .ok_or_else(|| unsupported(format!("over {ELEMENTS_MAX} elements")))?;
    let width = npy::code_bytes(code).unwrap_or(8);
    let mut values = Vec::new();
    let mut item = vec![0; usize::try_from(width).unwrap_or(8)];
    // Nothing is reserved by the header's word: the list grows with bytes that are really there.
    let mut content = io::BufReader::with_capacity(1 << 16, content);
    for _ in 0..count {
        content.read_exact(&mut item).map_err(|error| NpzError::Io { name: name.to_owned(), error })?;
        values.push(decode(&item));
    }
    let shape = header.shape.iter().map(|dimension| usize::try_from(*dimension).unwrap_or(usize::MAX)).collect();
    Ok(Array { name: name.to_owned(), shape, values })
}

/// How one element of a little-endian or single-byte type becomes a number.
fn decoder(code: &str) -> Option<fn(&[u8]) -> f64> {
    fn bytes<const N: usize>(item: &[u8]) -> [u8; N] {
        item.try_into().unwrap_or([0; N])
    }
    Some(match code.trim_start_matches(['<', '|', '=']) {
        "f4" => |item| f64::from(f32::from_le_bytes(bytes(item))),
        "f8" => |item| f64::from_le_bytes(bytes(item)),
        "i1" => |item| f64::from(i8::from_le_bytes(bytes(item))),
        "u1" | "b1" => |item| f64::from(u8::from_le_bytes(bytes(item))),
        "i2" => |item| f64::from(i16::from_le_bytes(bytes(item))),
        "u2" => |item| f64::from(u16::from_le_bytes(bytes(item))),
        "i4" => |item| f64::from(i32::from_le_bytes(bytes(item))),
        "u4" => |item| f64::from(u32::from_le_bytes(bytes(item))),
        "i8" => |item| i64::from_le_bytes(bytes(item)) as f64,
        "u8" => |item| u64::from_le_bytes(bytes(item)) as f64,
        _ => return None,
    })
}

/// An array to be written, `f32` or `f64`.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// Written as `<f4`.
    Single(&'a [f32]),
    /// Written as `<f8`.
    Double(&'a [f64]),
}

/// An NPZ of these arrays: name, shape, values in row-major order. Sizes beyond 4 GiB do not fit the plain zip format and
/// yield an error.
pub fn write(arrays: &[(&str, &[usize], Values<'_>)]) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::other("larger than 4 GiB");
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, shape, values) in arrays {
        let member = npy_member(shape, *values);
        let size = u32::try_from(member.len()).map_err(|_| too_large())?;
        let offset = u32::try_from(out.len()).map_err(|_| too_large())?;
        let file = format!("{name}.npy");
        let length = u16::try_from(file.len()).map_err(|_| too_large())?;
        // Version needed, flags, method, time, date (1980-01-01), checksum, sizes, name length, extra length.
        let mut common = Vec::new();
        for field in [20_u16, 0, 0, 0, 0x21] {
            common.extend(field.to_le_bytes());
        }
        for field in [zip::checksum(&member), size, size] {
            common.extend(field.to_le_bytes());
        }
        common.extend(length.to_le_bytes());
        common.extend(0_u16.to_le_bytes());
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(file.as_bytes());
        out.extend(member);
        directory.extend(b"PK\x01\x02");
        directory.extend(20_u16.to_le_bytes());
        directory.extend(&common);
        // Comment length, disk, internal and external attributes, offset.
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(file.as_bytes());
    }
    let count = u16::try_from(arrays.len()).map_err(|_| too_large())?;
    let start = u32::try_from(out.len()).map_err(|_| too_large())?;
    let length = u32::try_from(directory.len()).map_err(|_| too_large())?;
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0; 2]);
    Ok(out)
}

/// One npy member, version 1.0 (NEP 1), its header padded to 64 bytes.
fn npy_member(shape: &[usize], values: Values<'_>) -> Vec<u8> {
    let code = match values {
        Values::Single(_) => "<f4",
        Values::Double(_) => "<f8",
    };
    let mut dimensions: String = shape.iter().map(|dimension| format!("{dimension}, ")).collect();
    if shape.len() > 1 {
        dimensions.truncate(dimensions.len().saturating_sub(2));
    } else {
        dimensions = dimensions.trim_end().to_owned();
    }
    let mut header = format!("{{'descr': '{code}', 'fortran_order': False, 'shape': ({dimensions}), }}");
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend(u16::try_from(header.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend(header.as_bytes());
    match values {
        Values::Single(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Values::Double(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::{Values, read, write};

    #[test]
    fn what_is_written_reads_back() {
        let file = write(&[
            ("gx", &[2, 3], Values::Single(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.5])),
            ("loss", &[], Values::Double(&[0.25])),
            ("y", &[2], Values::Double(&[3.0, 4.0])),
        ])
        .expect("small");
        let arrays = read(&mut Cursor::new(file)).expect("our own file");
        let seen: Vec<_> = arrays.iter().map(|array| (array.name.as_str(), array.shape.as_slice())).collect();
        assert_eq!(seen, [("gx", &[2, 3][..]), ("loss", &[]), ("y", &[2])]);
        assert_eq!(arrays[0].values, [0.0, 1.0, 2.0, 3.0, 4.0, 5.5]);
        assert_eq!(arrays[1].values, [0.25]);
    }

    #[test]
    fn a_truncated_file_is_an_error() {
        let file = write(&[("x", &[4], Values::Single(&[1.0; 4]))]).expect("small");
        for length in 0..file.len() {
            let result = read(&mut Cursor::new(&file[..length]));
            assert!(
                !matches!(result, Ok(arrays) if arrays.iter().any(|array| array.values.len() == 4 && length < 100))
            );
        }
    }
}
