//! `TensorProto`: where its numbers lie, and how to decode them.
//!
//! A payload lies in `raw_data`, in one of the typed fields, or in another file. Typed fields may come in several pieces,
//! packed or one by one, so [`Payload`] names the first byte and decoding walks the message again.

use super::{OnnxError, Property, field};
use crate::protobuf::{Bytes, Field, Value};

/// A `TensorProto`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Tensor<'a> {
    /// Its name; empty for constants.
    pub name: &'a str,
    /// Its shape as stored, not checked: see [`Tensor::elements`].
    pub dims: Vec<i64>,
    /// Its element type.
    pub data_type: DataType,
    /// Free text.
    pub doc_string: &'a str,
    /// Whether the numbers lie in this file.
    pub location: DataLocation,
    /// For numbers elsewhere: `location`, `offset`, `length`, `checksum`.
    pub external: Vec<Property<'a>>,
    /// Free properties.
    pub metadata: Vec<Property<'a>>,
    /// Whether the tensor claims to be a segment of a larger one.
    pub segmented: bool,
    /// Where the field that holds the message begins.
    pub offset: usize,
    /// The message itself.
    pub message: Bytes<'a>,
    pub(super) raw: Option<Bytes<'a>>,
    typed: Option<Typed>,
    /// Typed fields of more than one kind are present.
    mixed: bool,
}

/// Where a tensor's numbers lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// In `raw_data`: little-endian elements, one after the other.
    Raw(Bytes<'a>),
    /// In a typed field.
    Typed {
        /// The field's number: 4 `float_data`, 5 `int32_data`, 6 `string_data`, 7 `int64_data`, 10 `double_data`, 11 `uint64_data`.
        field: u32,
        /// Where the first piece's content begins; its tag, for an integer that is not packed.
        offset: usize,
        /// Bytes of content in all pieces.
        bytes: usize,
        /// How many pieces there are; 1 for the usual packed field.
        pieces: usize,
    },
    /// In another file, named by [`Tensor::external`].
    External,
    /// Nowhere: the tensor has no elements, or lacks them.
    Absent,
    /// In several places at once; loaders differ in which they believe.
    Ambiguous,
}

/// Whether a tensor's numbers lie in this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataLocation {
    /// In this message.
    Default,
    /// In another file.
    External,
    /// A code that the specification does not have.
    Other(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Typed {
    field: u32,
    offset: usize,
    bytes: usize,
    pieces: usize,
}

impl<'a> Tensor<'a> {
    pub(super) fn empty(message: Bytes<'a>, offset: usize) -> Self {
        Self {
            name: "",
            dims: Vec::new(),
            data_type: DataType::Undefined,
            doc_string: "",
            location: DataLocation::Default,
            external: Vec::new(),
            metadata: Vec::new(),
            segmented: false,
            offset,
            message,
            raw: None,
            typed: None,
            mixed: false,
        }
    }

    /// Accounts for one piece of a typed field; says whether it was one.
    pub(super) fn add_typed(&mut self, field: &Field<'a>) -> bool {
        let number = field.number;
        let (offset, bytes) = match (encoding(number), field.value) {
            (Some(_), Value::Bytes(packed)) => (packed.offset, packed.data.len()),
            (Some(Encoding::Varint), Value::Varint(_)) => (field.offset, field.end - field.offset),
            (Some(Encoding::Fixed32), Value::Fixed32(_)) => (field.end - 4, 4),
            (Some(Encoding::Fixed64), Value::Fixed64(_)) => (field.end - 8, 8),
            _ => return false,
        };
        match &mut self.typed {
            Some(typed) if typed.field == number => {
                typed.bytes = typed.bytes.saturating_add(bytes);
                typed.pieces += 1;
            }
            Some(_) => self.mixed = true,
            None => self.typed = Some(Typed { field: number, offset, bytes, pieces: 1 }),
        }
        true
    }

    /// Where the numbers lie.
    pub fn payload(&self) -> Payload<'a> {
        match (self.location, self.raw, self.typed) {
            (DataLocation::External, None, None) => Payload::External,
            (DataLocation::Default, Some(raw), None) => Payload::Raw(raw),
            (DataLocation::Default, None, Some(typed)) if !self.mixed => {
                Payload::Typed { field: typed.field, offset: typed.offset, bytes: typed.bytes, pieces: typed.pieces }
            }
            (DataLocation::Default, None, None) => Payload::Absent,
            _ => Payload::Ambiguous,
        }
    }

    /// Byte offset of the first number in the file, where it lies in the file at all.
    pub fn payload_offset(&self) -> Option<usize> {
        match self.payload() {
            Payload::Raw(raw) => Some(raw.offset),
            Payload::Typed { offset, .. } => Some(offset),
            _ => None,
        }
    }

    /// How many elements the shape has.
    ///
    /// # Errors
    /// [`OnnxError::Shape`] where a dimension is negative or the product does not fit.
    pub fn elements(&self) -> Result<usize, OnnxError> {
        self.dims
            .iter()
            .try_fold(1usize, |product, dim| product.checked_mul(usize::try_from(*dim).ok()?))
            .ok_or_else(|| OnnxError::Shape { name: self.name.to_owned(), offset: self.offset })
    }

    /// Decodes `FLOAT`, `DOUBLE`, `FLOAT16` and `BFLOAT16` elements; `f64` holds all of them exactly.
    ///
    /// # Errors
    /// [`OnnxError::Elements`] where payload and shape disagree, [`OnnxError::Data`] for other types and places.
    pub fn floats(&self) -> Result<Vec<f64>, OnnxError> {
        let convert: fn(u64) -> f64 = match self.data_type {
            DataType::Float => |bits| f64::from(f32::from_bits(low32(bits))),
            DataType::Double => f64::from_bits,
            DataType::Float16 => |bits| f64::from(half(low16(bits))),
            DataType::Bfloat16 => |bits| f64::from(f32::from_bits(u32::from(low16(bits)) << 16)),
            _ => return Err(self.data("its elements are not floating-point numbers")),
        };
        self.decode(convert)
    }

    /// Decodes integer and boolean elements of at most 64 bits, one byte or more each.
    ///
    /// # Errors
    /// As [`Tensor::floats`]; `UINT64` beyond `i64` wraps.
    pub fn integers(&self) -> Result<Vec<i64>, OnnxError> {
        let convert: fn(u64) -> i64 = match self.data_type {
            DataType::Int64 | DataType::Uint64 => u64::cast_signed,
            DataType::Int32 => |bits| i64::from(low32(bits).cast_signed()),
            DataType::Uint32 => |bits| i64::from(low32(bits)),
            DataType::Int16 => |bits| i64::from(low16(bits).cast_signed()),
            DataType::Uint16 => |bits| i64::from(low16(bits)),
            DataType::Int8 => |bits| i64::from(low8(bits).cast_signed()),
            DataType::Uint8 => |bits| i64::from(low8(bits)),
            DataType::Bool => |bits| i64::from(low8(bits) != 0),
            _ => return Err(self.data("its elements are not integers")),
        };
        self.decode(convert)
    }

    fn decode<T>(&self, convert: fn(u64) -> T) -> Result<Vec<T>, OnnxError> {
        let expected = self.elements()?;
        let width = self.data_type.bytes().ok_or_else(|| self.data("its element type has no fixed width"))?;
        let values: Vec<T> = match self.payload() {
            Payload::Raw(raw) => {
                if expected.checked_mul(width) != Some(raw.data.len()) {
                    return Err(self.count(raw.data.len() / width, expected));
                }
                raw.data.chunks_exact(width).map(|chunk| convert(little_endian(chunk))).collect()
            }
            Payload::Typed { field: number, .. } if Some(number) == self.data_type.typed_field() => {
                self.decode_typed(number, expected, convert)?
            }
            Payload::Typed { .. } => return Err(self.data("its numbers lie in the field of another type")),
            Payload::Absent => Vec::new(),
            Payload::External => return Err(self.data("its numbers lie in another file, which is not opened")),
            Payload::Ambiguous => return Err(self.data("its numbers lie in several places at once")),
        };
        if values.len() == expected { Ok(values) } else { Err(self.count(values.len(), expected)) }
    }

    fn decode_typed<T>(&self, number: u32, expected: usize, convert: fn(u64) -> T) -> Result<Vec<T>, OnnxError> {
        let mut values = Vec::new();
        let mut reader = self.message.message()?;
        while let Some(field) = reader.next_field()? {
            if field.number != number {
                continue;
            }
            match (encoding(number), field.value) {
                (Some(Encoding::Varint), Value::Bytes(packed)) => {
                    for value in packed.varints() {
                        values.push(convert(value?));
                    }
                }
                (Some(encoding), Value::Bytes(packed)) => {
                    values.extend(packed.data.chunks_exact(encoding.width()).map(|c| convert(little_endian(c))));
                }
                (_, Value::Varint(bits) | Value::Fixed64(bits)) => values.push(convert(bits)),
                (_, Value::Fixed32(bits)) => values.push(convert(u64::from(bits))),
                (None, Value::Bytes(_)) | (_, Value::Group(_)) => {}
            }
            if values.len() > expected {
                return Err(self.count(values.len(), expected));
            }
        }
        Ok(values)
    }

    pub(super) fn data(&self, what: &'static str) -> OnnxError {
        OnnxError::Data { name: self.name.to_owned(), offset: self.offset, what }
    }

    pub(super) fn count(&self, found: usize, expected: usize) -> OnnxError {
        OnnxError::Elements { name: self.name.to_owned(), offset: self.offset, found, expected }
    }
}

impl DataLocation {
    pub(super) fn from_code(code: i64) -> Self {
        match code {
            0 => Self::Default,
            1 => Self::External,
            other => Self::Other(other),
        }
    }
}

/// `TensorProto.DataType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum DataType {
    Undefined,
    Float,
    Uint8,
    Int8,
    Uint16,
    Int16,
    Int32,
    Int64,
    String,
    Bool,
    Float16,
    Double,
    Uint32,
    Uint64,
    Complex64,
    Complex128,
    Bfloat16,
    Float8E4M3Fn,
    Float8E4M3Fnuz,
    Float8E5M2,
    Float8E5M2Fnuz,
    Uint4,
    Int4,
    Float4E2M1,
    Float8E8M0,
    /// A code that this reader does not know.
    Other(i64),
}

impl DataType {
    /// The type with this code.
    pub fn from_code(code: i64) -> Self {
        usize::try_from(code).ok().and_then(|index| NAMED.get(index)).map_or(Self::Other(code), |(named, _)| *named)
    }

    /// Its code in a file.
    pub fn code(self) -> i64 {
        match self {
            Self::Other(code) => code,
            named => NAMED.iter().zip(0..).find(|((entry, _), _)| *entry == named).map_or(0, |(_, code)| code),
        }
    }

    /// Its name in the specification.
    pub fn name(self) -> &'static str {
        NAMED.iter().find(|(entry, _)| *entry == self).map_or("unknown", |(_, name)| *name)
    }

    /// Bytes of one element in `raw_data`; `None` for text, for elements below one byte and for unknown types.
    pub fn bytes(self) -> Option<usize> {
        Some(match self {
            Self::Uint8
            | Self::Int8
            | Self::Bool
            | Self::Float8E4M3Fn
            | Self::Float8E4M3Fnuz
            | Self::Float8E5M2
            | Self::Float8E5M2Fnuz
            | Self::Float8E8M0 => 1,
            Self::Uint16 | Self::Int16 | Self::Float16 | Self::Bfloat16 => 2,
            Self::Float | Self::Int32 | Self::Uint32 => 4,
            Self::Double | Self::Int64 | Self::Uint64 | Self::Complex64 => 8,
            Self::Complex128 => 16,
            _ => return None,
        })
    }

    /// The typed field that holds elements of this type where `raw_data` does not.
    pub(super) fn typed_field(self) -> Option<u32> {
        Some(match self {
            Self::Float | Self::Complex64 => field::tensor::FLOAT_DATA,
            Self::Double | Self::Complex128 => field::tensor::DOUBLE_DATA,
            Self::Int64 => field::tensor::INT64_DATA,
            Self::Uint32 | Self::Uint64 => field::tensor::UINT64_DATA,
            Self::String => field::tensor::STRING_DATA,
            Self::Undefined | Self::Other(_) => return None,
            _ => field::tensor::INT32_DATA,
        })
    }
}

/// How one element of a typed field is encoded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Varint,
    Fixed32,
    Fixed64,
    Text,
}

impl Encoding {
    pub(super) fn width(self) -> usize {
        match self {
            Self::Fixed32 => 4,
            Self::Fixed64 => 8,
            Self::Varint | Self::Text => 1,
        }
    }
}

/// The encoding of a payload field, `None` for other fields.
pub(super) fn encoding(number: u32) -> Option<Encoding> {
    Some(match number {
        field::tensor::FLOAT_DATA => Encoding::Fixed32,
        field::tensor::DOUBLE_DATA => Encoding::Fixed64,
        field::tensor::INT32_DATA | field::tensor::INT64_DATA | field::tensor::UINT64_DATA => Encoding::Varint,
        field::tensor::STRING_DATA => Encoding::Text,
        _ => return None,
    })
}

/// At most eight little-endian bytes as an integer.
pub(super) fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn low32(bits: u64) -> u32 {
    (bits & 0xffff_ffff) as u32
}

fn low16(bits: u64) -> u16 {
    (bits & 0xffff) as u16
}

fn low8(bits: u64) -> u8 {
    (bits & 0xff) as u8
}

/// An IEEE 754 binary16 number.
pub fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f32::from(bits & 0x3ff);
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

/// Every named type with its name in the specification; the index is the code.
const NAMED: [(DataType, &str); 25] = [
    (DataType::Undefined, "UNDEFINED"),
    (DataType::Float, "FLOAT"),
    (DataType::Uint8, "UINT8"),
    (DataType::Int8, "INT8"),
    (DataType::Uint16, "UINT16"),
    (DataType::Int16, "INT16"),
    (DataType::Int32, "INT32"),
    (DataType::Int64, "INT64"),
    (DataType::String, "STRING"),
    (DataType::Bool, "BOOL"),
    (DataType::Float16, "FLOAT16"),
    (DataType::Double, "DOUBLE"),
    (DataType::Uint32, "UINT32"),
    (DataType::Uint64, "UINT64"),
    (DataType::Complex64, "COMPLEX64"),
    (DataType::Complex128, "COMPLEX128"),
    (DataType::Bfloat16, "BFLOAT16"),
    (DataType::Float8E4M3Fn, "FLOAT8E4M3FN"),
    (DataType::Float8E4M3Fnuz, "FLOAT8E4M3FNUZ"),
    (DataType::Float8E5M2, "FLOAT8E5M2"),
    (DataType::Float8E5M2Fnuz, "FLOAT8E5M2FNUZ"),
    (DataType::Uint4, "UINT4"),
    (DataType::Int4, "INT4"),
    (DataType::Float4E2M1, "FLOAT4E2M1"),
    (DataType::Float8E8M0, "FLOAT8E8M0"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_ieee() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x0001, 2f32.powi(-24)), (0x7bff, 65504.0), (0x8000, -0.0)]
        {
            assert_eq!(half(bits).to_bits(), f32::to_bits(value), "{bits:#x}");
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
    }

    #[test]
    fn codes_round_trip() {
        for code in -1..40 {
            assert_eq!(DataType::from_code(code).code(), code);
        }
    }
}
