//! SafeTensors files, read tolerantly for an auditor and strictly for everyone else.
//!
//! [`audit`] reads the header as loosely as it can and returns an [`Audit`]: the tensors, the metadata, and a [`Flaw`]
//! for each thing that a strict loader refuses or never looks at. [`Audit::table`] is the strict view: it exists only
//! for files without a flaw. [`write()`] makes new files.
//!
//! Format: 8 bytes length (little-endian), that many bytes of JSON, then the data; the tensors must cover the data
//! without holes or overlaps (huggingface/safetensors, "Format").

#![deny(clippy::indexing_slicing)]

use std::{
    collections::HashSet,
    io::{self, Read, Seek, SeekFrom},
};

mod json;
mod write;

use json::Json;
pub use write::{TensorInput, write};

/// Longest header that is read, in bytes (the reference loader's limit).
pub const HEADER_BYTES_MAX: u64 = 100_000_000;
/// Most tensors that are listed.
pub const TENSORS_MAX: usize = 1_000_000;
/// Most dimensions of a tensor.
pub const DIMENSIONS_MAX: usize = 64;
/// Flaws that are kept.
pub const FLAWS_MAX: usize = 1_000;

/// Why no header could be read at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SafetensorsError {
    /// Shorter than the length field, or no `{` behind it.
    #[error("not a safetensors file")]
    NotSafetensors,
    /// The stated header length is beyond [`HEADER_BYTES_MAX`].
    #[error("header says {claimed} bytes, limit is {HEADER_BYTES_MAX}")]
    HeaderTooLarge {
        /// The stated length.
        claimed: u64,
    },
    /// The stated header is longer than the file.
    #[error("header says {claimed} bytes, the file has {available}")]
    HeaderTruncated {
        /// The stated length.
        claimed: u64,
        /// Bytes behind the length field.
        available: u64,
    },
    /// The header is not JSON of the expected outline.
    #[error("header is not a JSON object: {reason}")]
    NotJson {
        /// What the JSON reader said.
        reason: String,
    },
    /// The source failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A tensor as the header describes it. Offsets count from the start of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Name.
    pub name: String,
    /// Element type such as `F32`.
    pub dtype: String,
    /// Dimensions.
    pub shape: Vec<u64>,
    /// First byte.
    pub start: u64,
    /// Byte behind the last.
    pub end: u64,
}

/// Something that a strict loader refuses, or that no loader looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// A name twice in the header: readers differ in which they take.
    DuplicateKey {
        /// The name.
        name: String,
    },
    /// An entry is no object with `dtype`, `shape` and `data_offsets` of the right kinds.
    Malformed {
        /// Tensor.
        name: String,
        /// Which part.
        field: &'static str,
    },
    /// A number is negative, fractional or beyond 2^63.
    Number {
        /// Tensor.
        name: String,
        /// Which part.
        field: &'static str,
    },
    /// A field that the format does not have.
    UnknownField {
        /// Tensor.
        name: String,
        /// The field.
        field: String,
    },
    /// An element type that the format does not have.
    UnknownType {
        /// Tensor.
        name: String,
        /// The type.
        dtype: String,
    },
    /// Type and shape need other bytes than the offsets give.
    SizeDiffers {
        /// Tensor.
        name: String,
        /// Bytes by type and shape; `None` where that is too large a number.
        expected: Option<u64>,
        /// Bytes by offsets.
        found: u64,
    },
    /// The data lies outside the file, or ends before it begins.
    OutOfBounds {
        /// Tensor.
        name: String,
    },
    /// Two tensors share bytes.
    Overlap {
        /// The later tensor.
        name: String,
    },
    /// Bytes between tensors that belong to none.
    Hole {
        /// First byte.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// Bytes behind the last tensor.
    Trailing {
        /// First byte.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// Metadata that is no map from text to text.
    Metadata {
        /// The key, or nothing where the whole is of another kind.
        key: Option<String>,
    },
    /// Bytes behind the JSON other than the spaces that align it.
    Padding {
        /// First byte.
        offset: u64,
    },
}

/// Everything that was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Tensors by rising offset, malformed ones left out.
    pub tensors: Vec<Tensor>,
    /// `__metadata__`, in order.
    pub metadata: Vec<(String, String)>,
    /// Flaws in the order in which they were met, at most [`FLAWS_MAX`].
    pub flaws: Vec<Flaw>,
    /// Whether there were more tensors or flaws than the limits.
    pub truncated: bool,
    /// First byte of the data.
    pub data_offset: u64,
}

impl Audit {
    /// The tensors, if a strict loader would take the file.
    pub fn table(&self) -> Option<&[Tensor]> {
        (self.flaws.is_empty() && !self.truncated).then_some(&self.tensors)
    }

    fn flaw(&mut self, flaw: Flaw) {
        if self.flaws.len() < FLAWS_MAX {
            self.flaws.push(flaw);
        } else {
            self.truncated = true;
        }
    }
}

/// Whether `start`, the first bytes of a file of `length` bytes, look like a safetensors file.
pub fn is_likely(start: &[u8], length: u64) -> bool {
    let Some(field) = start.first_chunk::<8>() else { return false };
    let claimed = u64::from_le_bytes(*field);
    let mut signs = start.get(8..).unwrap_or_default().iter().filter(|byte| !byte.is_ascii_whitespace());
    let (brace, next) = (signs.next(), signs.next());
    // A hostile length is still this format: text cannot begin with these bytes, a brace at byte 8 hardly by chance.
    brace == Some(&b'{')
        && matches!(next, None | Some(b'"' | b'}'))
        && (claimed <= length || field.iter().any(|byte| !matches!(byte, 0x20..0x7f | b'\t' | b'\n' | b'\r')))
}

/// Reads the header of `source` and checks it against the file's length.
pub fn audit(source: &mut (impl Read + Seek + ?Sized)) -> Result<Audit, SafetensorsError> {
    let length = source.seek(SeekFrom::End(0))?;
    source.seek(SeekFrom::Start(0))?;
    let mut field = [0; 8];
    if length < 8 {
        return Err(SafetensorsError::NotSafetensors);
    }
    source.read_exact(&mut field)?;
    let claimed = u64::from_le_bytes(field);
    let available = length - 8;
    if claimed > available {
        return Err(SafetensorsError::HeaderTruncated { claimed, available });
    }
    if claimed > HEADER_BYTES_MAX {
        return Err(SafetensorsError::HeaderTooLarge { claimed });
    }
    let mut header = Vec::new();
    source.take(claimed).read_to_end(&mut header)?;
    if header.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(SafetensorsError::NotSafetensors);
    }
    let (value, used) =
        json::parse(&header).map_err(|error| SafetensorsError::NotJson { reason: error.to_string() })?;
    let Json::Object(entries) = value else { return Err(SafetensorsError::NotSafetensors) };
    let mut audit = Audit { data_offset: 8 + claimed, ..Audit::default() };
    if header.get(used..).unwrap_or_default().iter().any(|byte| *byte != b' ') {
        audit.flaw(Flaw::Padding { offset: 8 + used as u64 });
    }
    read_entries(entries, length, &mut audit);
    check_cover(length, &mut audit);
    Ok(audit)
}

fn read_entries(entries: Vec<(String, Json)>, length: u64, audit: &mut Audit) {
    let mut names = HashSet::new();
    for (name, value) in entries {
        if !names.insert(name.clone()) {
            audit.flaw(Flaw::DuplicateKey { name: name.clone() });
        }
        if name == "__metadata__" {
            read_metadata(value, audit);
        } else if audit.tensors.len() < TENSORS_MAX {
            if let Some(tensor) = read_tensor(name, value, length, audit) {
                audit.tensors.push(tensor);
            }
        } else {
            audit.truncated = true;
        }
    }
}

fn read_metadata(value: Json, audit: &mut Audit) {
    let Json::Object(entries) = value else { return audit.flaw(Flaw::Metadata { key: None }) };
    let mut names = HashSet::new();
    for (key, value) in entries {
        if !names.insert(key.clone()) {
            audit.flaw(Flaw::DuplicateKey { name: key.clone() });
        }
        match value {
            Json::Text(text) => audit.metadata.push((key, text)),
            _ => audit.flaw(Flaw::Metadata { key: Some(key) }),
        }
    }
}

fn read_tensor(name: String, value: Json, length: u64, audit: &mut Audit) -> Option<Tensor> {
    let Json::Object(fields) = value else {
        audit.flaw(Flaw::Malformed { name, field: "entry" });
        return None;
    };
    let (mut dtype, mut shape, mut offsets) = (None, None, None);
    let mut seen = HashSet::new();
    for (field, value) in fields {
        if !seen.insert(field.clone()) {
            audit.flaw(Flaw::DuplicateKey { name: format!("{name}.{field}") });
        }
        match (field.as_str(), value) {
            ("dtype", Json::Text(text)) => dtype = Some(text),
            ("shape", Json::Array(items)) => shape = numbers(&name, "shape", &items, audit),
            ("data_offsets", Json::Array(items)) => offsets = numbers(&name, "data_offsets", &items, audit),
            ("dtype" | "shape" | "data_offsets", _) => {}
            _ => audit.flaw(Flaw::UnknownField { name: name.clone(), field }),
        }
    }
    let missing = match (&dtype, &shape, offsets.as_deref()) {
        (None, _, _) => Some("dtype"),
        (_, None, _) => Some("shape"),
        (_, Some(shape), _) if shape.len() > DIMENSIONS_MAX => Some("shape"),
        (_, _, Some([_, _])) => None,
        _ => Some("data_offsets"),
    };
    if let Some(field) = missing {
        audit.flaw(Flaw::Malformed { name, field });
        return None;
    }
    let offsets = offsets?;
    let (start, end) = (*offsets.first()?, *offsets.last()?);
    let tensor = Tensor {
        name,
        dtype: dtype?,
        shape: shape?,
        start: start.saturating_add(audit.data_offset),
        end: end.saturating_add(audit.data_offset),
    };
    check_tensor(&tensor, length, audit);
    Some(tensor)
}

fn numbers(name: &str, field: &'static str, items: &[Json], audit: &mut Audit) -> Option<Vec<u64>> {
    let number = |item: &Json| if let Json::Unsigned(number) = item { Some(*number) } else { None };
    let numbers: Option<Vec<u64>> = items.iter().map(number).collect();
    if numbers.is_none() {
        audit.flaw(Flaw::Number { name: name.to_owned(), field });
    }
    numbers
}

fn check_tensor(tensor: &Tensor, length: u64, audit: &mut Audit) {
    let name = || tensor.name.clone();
    if tensor.start > tensor.end || tensor.end > length {
        audit.flaw(Flaw::OutOfBounds { name: name() });
        return;
    }
    let found = tensor.end - tensor.start;
    let Some(bits) = type_bits(&tensor.dtype) else {
        audit.flaw(Flaw::UnknownType { name: name(), dtype: tensor.dtype.clone() });
        return;
    };
    let elements = tensor.shape.iter().try_fold(1_u64, |product, dimension| product.checked_mul(*dimension));
    let expected = elements.and_then(|elements| elements.checked_mul(bits)).map(|bits| bits.div_ceil(8));
    if expected != Some(found) {
        audit.flaw(Flaw::SizeDiffers { name: name(), expected, found });
    }
}

/// Bits of one element.
fn type_bits(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "F4" => 4,
        "F6_E2M3" | "F6_E3M2" => 6,
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E4M3FNUZ" | "F8_E5M2FNUZ" => 8,
        "U16" | "I16" | "F16" | "BF16" => 16,
        "U32" | "I32" | "F32" => 32,
        "U64" | "I64" | "F64" | "C64" => 64,
        "C128" => 128,
        _ => return None,
    })
}

/// Sorts the tensors and looks for holes, overlaps and trailing bytes.
fn check_cover(length: u64, audit: &mut Audit) {
    audit.tensors.sort_by(|a, b| (a.start, a.end, &a.name).cmp(&(b.start, b.end, &b.name)));
    let mut reached = audit.data_offset;
    let mut flaws = Vec::new();
    for tensor in audit.tensors.iter().filter(|tensor| tensor.start <= tensor.end && tensor.end <= length) {
        if tensor.start < reached && tensor.end > tensor.start {
            flaws.push(Flaw::Overlap { name: tensor.name.clone() });
        } else if tensor.start > reached {
            flaws.push(Flaw::Hole { offset: reached, bytes: tensor.start - reached });
        }
        reached = reached.max(tensor.end);
    }
    if reached < length {
        flaws.push(Flaw::Trailing { offset: reached, bytes: length - reached });
    }
    for flaw in flaws {
        audit.flaw(flaw);
    }
}
