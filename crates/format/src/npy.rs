//! NumPy's array files (format versions 1 to 3, numpy.lib.format).
//!
//! [`Header::read`] parses the header: a Python literal, read here by a small bounded parser that knows dictionaries,
//! tuples, lists, texts, whole numbers, truth values and `None`, and nothing that computes. What else stands there is
//! [`NpyError::NotLiteral`]: NumPy refuses it too, older readers evaluated it.
//!
//! Absent on purpose: the array's numbers; a reader that needs them finds them at [`Header::data_offset`].

#![deny(clippy::indexing_slicing)]

use std::io::{self, Read};

mod literal;

pub use literal::Literal;

/// First bytes of every file.
pub const MAGIC: [u8; 6] = *b"\x93NUMPY";
/// Longest header that is read, in bytes (NumPy's own default limit is 10,000).
pub const HEADER_BYTES_MAX: u64 = 1 << 20;
/// Most dimensions (NumPy allows 64).
pub const DIMENSIONS_MAX: usize = 64;

/// Why a header was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NpyError {
    /// Other first bytes.
    #[error("not an npy file")]
    NotNpy,
    /// A version that does not exist yet.
    #[error("npy version {major}.{minor} is not known")]
    Version {
        /// Major version.
        major: u8,
        /// Minor version.
        minor: u8,
    },
    /// Longer than [`HEADER_BYTES_MAX`].
    #[error("header of {bytes} bytes, limit is {HEADER_BYTES_MAX}")]
    HeaderTooLarge {
        /// Its stated length.
        bytes: u64,
    },
    /// The file ends inside the header.
    #[error("the file ends inside the header")]
    Truncated,
    /// The header is not a plain Python literal.
    #[error("header is not a literal, first oddity at byte {offset}")]
    NotLiteral {
        /// Offset in the file.
        offset: u64,
    },
    /// A literal, but not a dictionary with `descr`, `fortran_order` and `shape` of the right kinds.
    #[error("header lacks a proper `{field}`")]
    Field {
        /// Which.
        field: &'static str,
    },
    /// The source failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What the header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Major and minor version.
    pub version: (u8, u8),
    /// Element type as NumPy writes it.
    pub descr: Literal,
    /// Column-major order.
    pub fortran_order: bool,
    /// Dimensions.
    pub shape: Vec<u64>,
    /// Keys that the format does not have.
    pub extra_keys: Vec<String>,
    /// First byte behind the header.
    pub data_offset: u64,
}

impl Header {
    /// Reads a header from the start of a file.
    pub fn read(source: &mut (impl Read + ?Sized)) -> Result<Self, NpyError> {
        let mut start = [0; 8];
        read_exact(source, &mut start).map_err(|error| match error {
            NpyError::Truncated => NpyError::NotNpy,
            other => other,
        })?;
        let [magic @ .., major, minor] = start;
        if magic != MAGIC {
            return Err(NpyError::NotNpy);
        }
        let (bytes, prefix) = match (major, minor) {
            (1, 0) => {
                let mut length = [0; 2];
                read_exact(source, &mut length)?;
                (u64::from(u16::from_le_bytes(length)), 10)
            }
            (2 | 3, 0) => {
                let mut length = [0; 4];
                read_exact(source, &mut length)?;
                (u64::from(u32::from_le_bytes(length)), 12)
            }
            _ => return Err(NpyError::Version { major, minor }),
        };
        if bytes > HEADER_BYTES_MAX {
            return Err(NpyError::HeaderTooLarge { bytes });
        }
        let mut text = Vec::new();
        source.take(bytes).read_to_end(&mut text)?;
        if (text.len() as u64) < bytes {
            return Err(NpyError::Truncated);
        }
        let literal = literal::parse(&text).map_err(|at| NpyError::NotLiteral { offset: prefix + at as u64 })?;
        Self::from_literal(literal, (major, minor), prefix + bytes)
    }

    fn from_literal(literal: Literal, version: (u8, u8), data_offset: u64) -> Result<Self, NpyError> {
        let Literal::Dict(entries) = literal else { return Err(NpyError::Field { field: "descr" }) };
        let (mut descr, mut fortran_order, mut shape, mut extra_keys) = (None, None, None, Vec::new());
        for (key, value) in entries {
            match (key, value) {
                (Literal::Text(key), value) if key == "descr" => descr = Some(value),
                (Literal::Text(key), Literal::Bool(value)) if key == "fortran_order" => fortran_order = Some(value),
                (Literal::Text(key), Literal::Tuple(items)) if key == "shape" => shape = dimensions(&items),
                (key, _) => extra_keys.push(format!("{key:?}")),
            }
        }
        Ok(Self {
            version,
            descr: descr.ok_or(NpyError::Field { field: "descr" })?,
            fortran_order: fortran_order.ok_or(NpyError::Field { field: "fortran_order" })?,
            shape: shape.ok_or(NpyError::Field { field: "shape" })?,
            extra_keys,
            data_offset,
        })
    }

    /// Whether the elements are Python objects, which the file then holds as a pickle.
    pub fn has_objects(&self) -> bool {
        has_objects(&self.descr)
    }

    /// Bytes of the array's data, if the element type has a known size and the product fits.
    pub fn data_bytes(&self) -> Option<u64> {
        self.shape.iter().try_fold(item_bytes(&self.descr)?, |bytes, dimension| bytes.checked_mul(*dimension))
    }
}

/// Bytes of one element of a type code such as `<f8`, `|b1`, `<U5`, `|V16`; `None` where it has no fixed size.
pub fn code_bytes(code: &str) -> Option<u64> {
    let code = code.trim_start_matches(['<', '>', '|', '=']);
    let kind = code.chars().next()?;
    let digits = code.get(kind.len_utf8()..)?.split('[').next()?;
    let number: u64 = if digits.is_empty() { return one_letter_bytes(kind) } else { digits.parse().ok()? };
    match kind {
        'b' | 'i' | 'u' | 'f' | 'c' | 'S' | 'a' | 'V' | 'M' | 'm' | 'O' => Some(number),
        'U' => number.checked_mul(4),
        _ => None,
    }
}

/// Sizes of NumPy's single-letter codes.
fn one_letter_bytes(kind: char) -> Option<u64> {
    Some(match kind {
        '?' | 'b' | 'B' | 'c' => 1,
        'h' | 'H' | 'e' => 2,
        'i' | 'I' | 'f' => 4,
        'l' | 'L' | 'q' | 'Q' | 'd' | 'F' | 'p' | 'P' | 'M' | 'm' | 'O' => 8,
        'D' | 'g' => 16,
        'G' => 32,
        'S' | 'U' | 'V' | 'a' => 0,
        _ => return None,
    })
}

fn has_objects(descr: &Literal) -> bool {
    match descr {
        Literal::Text(code) => code.contains('O'),
        Literal::List(items) | Literal::Tuple(items) => items.iter().any(|field| match field {
            // (name, type) or (name, type, shape): only the type counts.
            Literal::Tuple(parts) | Literal::List(parts) => parts.get(1).is_none_or(has_objects),
            other => has_objects(other),
        }),
        _ => true,
    }
}

fn item_bytes(descr: &Literal) -> Option<u64> {
    match descr {
        Literal::Text(code) => code_bytes(code),
        Literal::List(fields) => fields.iter().try_fold(0_u64, |sum, field| {
            let Literal::Tuple(parts) = field else { return None };
            let one = item_bytes(parts.get(1)?)?;
            let count = match parts.get(2) {
                None => 1,
                Some(Literal::Tuple(items)) => dimensions(items)?.into_iter().try_fold(1_u64, u64::checked_mul)?,
                Some(Literal::Int(count)) => u64::try_from(*count).ok()?,
                Some(_) => return None,
            };
            sum.checked_add(one.checked_mul(count)?)
        }),
        _ => None,
    }
}

fn dimensions(items: &[Literal]) -> Option<Vec<u64>> {
    if items.len() > DIMENSIONS_MAX {
        return None;
    }
    let dimension = |item: &Literal| match item {
        Literal::Int(value) => u64::try_from(*value).ok(),
        _ => None,
    };
    items.iter().map(dimension).collect()
}

fn read_exact(source: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> Result<(), NpyError> {
    source.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => NpyError::Truncated,
        _ => NpyError::Io(error),
    })
}
