//! IDX, the array container of MNIST and its relatives.
//!
//! [`Idx::parse`] reads the header and hands out the items (images, labels) as slices of the input; [`Header::encode`]
//! writes a header back, so that a file can be rewritten with fewer items. The layout is the one on the MNIST page: two
//! zero bytes, an element type, the number of dimensions, each dimension as a big-endian `u32`, then the elements in
//! row-major order, big-endian. What must stay true: a length is believed only after it was checked against the bytes
//! that are there, and bytes behind the last element are reported, never skipped.
//!
//! Absent on purpose: gzip (see [`crate::gzip`]), and any judgement about the values.

#![deny(clippy::indexing_slicing)]

/// The type of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// Unsigned byte, code `0x08`.
    U8,
    /// Signed byte, code `0x09`.
    I8,
    /// Two bytes, signed, code `0x0b`.
    I16,
    /// Four bytes, signed, code `0x0c`.
    I32,
    /// IEEE 754 single, code `0x0d`.
    F32,
    /// IEEE 754 double, code `0x0e`.
    F64,
}

impl Element {
    /// The code in the third byte of the file.
    pub const fn code(self) -> u8 {
        match self {
            Self::U8 => 0x08,
            Self::I8 => 0x09,
            Self::I16 => 0x0b,
            Self::I32 => 0x0c,
            Self::F32 => 0x0d,
            Self::F64 => 0x0e,
        }
    }

    /// Size in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::I16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::U8, Self::I8, Self::I16, Self::I32, Self::F32, Self::F64].into_iter().find(|e| e.code() == code)
    }
}

/// What stands before the elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Type of every element.
    pub element: Element,
    /// Dimensions; the first counts the items. 1 to [`DIMENSIONS_MAX`] of them.
    pub dims: Vec<u32>,
}

impl Header {
    /// Reads a header from the start of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, IdxError> {
        let [zero_a, zero_b, code, count, rest @ ..] = bytes else {
            return Err(IdxError::Truncated { wanted: MAGIC_BYTES as u64, present: bytes.len() as u64 });
        };
        if *zero_a != 0 || *zero_b != 0 {
            return Err(IdxError::NotIdx);
        }
        let element = Element::from_code(*code).ok_or(IdxError::UnknownElement { code: *code })?;
        let dimensions = usize::from(*count);
        if dimensions == 0 || dimensions > DIMENSIONS_MAX {
            return Err(IdxError::Dimensions { count: dimensions });
        }
        let dims: Vec<u32> = rest
            .chunks_exact(4)
            .take(dimensions)
            .filter_map(|four| four.try_into().ok().map(u32::from_be_bytes))
            .collect();
        if dims.len() < dimensions {
            let wanted = (MAGIC_BYTES + 4 * dimensions) as u64;
            return Err(IdxError::Truncated { wanted, present: bytes.len() as u64 });
        }
        Ok(Self { element, dims })
    }

    /// The header as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0, 0, self.element.code(), u8::try_from(self.dims.len()).unwrap_or(u8::MAX)];
        for dim in &self.dims {
            out.extend_from_slice(&dim.to_be_bytes());
        }
        out
    }

    /// Length of the encoded header in bytes.
    pub fn bytes(&self) -> usize {
        MAGIC_BYTES + 4 * self.dims.len()
    }

    /// How many items the file claims to hold.
    pub fn items(&self) -> u32 {
        self.dims.first().copied().unwrap_or(0)
    }

    /// Dimensions of one item; empty for a file of labels.
    pub fn item_dims(&self) -> &[u32] {
        self.dims.get(1..).unwrap_or(&[])
    }

    /// Elements of one item, or `None` where the product does not fit.
    pub fn item_elements(&self) -> Option<usize> {
        self.item_dims().iter().try_fold(1_usize, |all, dim| all.checked_mul(usize::try_from(*dim).ok()?))
    }
}

/// A whole IDX file in memory.
#[derive(Debug, Clone)]
pub struct Idx<'a> {
    header: Header,
    items: &'a [u8],
    item_bytes: usize,
    trailing: usize,
}

impl<'a> Idx<'a> {
    /// Reads `bytes` as one IDX file. Items without elements (a dimension of 0) are refused, because any count of them
    /// fits into no bytes at all.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, IdxError> {
        let header = Header::parse(bytes)?;
        let too_large = || IdxError::TooLarge { dims: header.dims.clone() };
        let item_elements = header.item_elements().ok_or_else(too_large)?;
        let item_bytes = item_elements.checked_mul(header.element.bytes()).ok_or_else(too_large)?;
        if item_bytes == 0 {
            return Err(IdxError::EmptyItem { dims: header.dims.clone() });
        }
        let count = usize::try_from(header.items()).map_err(|_| too_large())?;
        let length = item_bytes.checked_mul(count).ok_or_else(too_large)?;
        let wanted = length.checked_add(header.bytes()).ok_or_else(too_large)?;
        let truncated = IdxError::Truncated { wanted: wanted as u64, present: bytes.len() as u64 };
        let items = bytes.get(header.bytes()..wanted).ok_or(truncated)?;
        Ok(Self { trailing: bytes.len() - wanted, items, item_bytes, header })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.items.len() / self.item_bytes
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes of one item.
    pub fn item_bytes(&self) -> usize {
        self.item_bytes
    }

    /// Bytes behind the last element: no reader of the format looks at them.
    pub fn trailing(&self) -> usize {
        self.trailing
    }

    /// The bytes of item `index`, as stored.
    pub fn item(&self, index: usize) -> Option<&'a [u8]> {
        let start = index.checked_mul(self.item_bytes)?;
        self.items.get(start..start.checked_add(self.item_bytes)?)
    }

    /// The elements of item `index` as numbers; empty where there is no such item.
    pub fn values(&self, index: usize) -> impl Iterator<Item = f64> + 'a {
        let element = self.header.element;
        self.item(index).unwrap_or(&[]).chunks_exact(element.bytes()).map(move |raw| decode(element, raw))
    }
}

/// Why bytes are not an IDX file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdxError {
    /// The first two bytes are not zero.
    #[error("not an IDX file: the first two bytes are not zero")]
    NotIdx,
    /// The third byte names no element type.
    #[error("element type {code:#04x} is not one of 08, 09, 0b, 0c, 0d, 0e")]
    UnknownElement {
        /// The third byte.
        code: u8,
    },
    /// No dimension, or too many.
    #[error("{count} dimensions, 1 to {DIMENSIONS_MAX} are allowed")]
    Dimensions {
        /// The fourth byte.
        count: usize,
    },
    /// Fewer bytes than the header claims.
    #[error("header wants {wanted} bytes, the file has {present}")]
    Truncated {
        /// Bytes that the header claims.
        wanted: u64,
        /// Bytes that are there.
        present: u64,
    },
    /// An item of no elements.
    #[error("dimensions {dims:?} leave items without elements")]
    EmptyItem {
        /// The dimensions.
        dims: Vec<u32>,
    },
    /// The product of the dimensions does not fit into the address space.
    #[error("dimensions {dims:?} are too large")]
    TooLarge {
        /// The dimensions.
        dims: Vec<u32>,
    },
}

fn decode(element: Element, raw: &[u8]) -> f64 {
    // `chunks_exact` hands out pieces of exactly the element's size.
    let value = match element {
        Element::U8 => raw.try_into().ok().map(u8::from_be_bytes).map(f64::from),
        Element::I8 => raw.try_into().ok().map(i8::from_be_bytes).map(f64::from),
        Element::I16 => raw.try_into().ok().map(i16::from_be_bytes).map(f64::from),
        Element::I32 => raw.try_into().ok().map(i32::from_be_bytes).map(f64::from),
        Element::F32 => raw.try_into().ok().map(f32::from_be_bytes).map(f64::from),
        Element::F64 => raw.try_into().ok().map(f64::from_be_bytes),
    };
    value.unwrap_or(f64::NAN)
}

/// Most dimensions that a file may have.
pub const DIMENSIONS_MAX: usize = 8;

const MAGIC_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_the_format_page_shows() {
        let file = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 7, 8, 9, 10];
        let idx = Idx::parse(&file).unwrap();
        assert_eq!((idx.len(), idx.item_bytes(), idx.trailing()), (2, 2, 0));
        assert_eq!(idx.values(1).collect::<Vec<_>>(), [9.0, 10.0]);
        assert_eq!(idx.header().encode(), file[..16]);
        assert_eq!(idx.values(2).count(), 0);
    }

    #[test]
    fn refuses_what_does_not_add_up() {
        assert_eq!(Idx::parse(b"PK\x03\x04").unwrap_err(), IdxError::NotIdx);
        assert_eq!(Idx::parse(&[0, 0, 7, 1, 0, 0, 0, 0]).unwrap_err(), IdxError::UnknownElement { code: 7 });
        assert_eq!(Idx::parse(&[0, 0, 8, 9]).unwrap_err(), IdxError::Dimensions { count: 9 });
        assert_eq!(Idx::parse(&[0, 0, 8, 1, 0, 0]).unwrap_err(), IdxError::Truncated { wanted: 8, present: 6 });
        let claims_4_gib = [0, 0, 8, 1, 255, 255, 255, 255, 1];
        assert!(matches!(Idx::parse(&claims_4_gib), Err(IdxError::Truncated { .. })));
        assert!(matches!(Idx::parse(&[0, 0, 8, 2, 0, 0, 0, 9, 0, 0, 0, 0]), Err(IdxError::EmptyItem { .. })));
        let overflow: Vec<u8> = [0, 0, 14, 8].into_iter().chain([255; 32]).collect();
        assert!(matches!(Idx::parse(&overflow), Err(IdxError::TooLarge { .. })));
    }

    #[test]
    fn every_element_type_is_big_endian() {
        for (code, raw, value) in [
            (0x09_u8, vec![0xff], -1.0),
            (0x0b, vec![0xff, 0xfe], -2.0),
            (0x0c, vec![0, 0, 1, 0], 256.0),
            (0x0d, 1.5_f32.to_be_bytes().to_vec(), 1.5),
            (0x0e, (-0.25_f64).to_be_bytes().to_vec(), -0.25),
        ] {
            let file: Vec<u8> = [0, 0, code, 1, 0, 0, 0, 1].into_iter().chain(raw).chain([42]).collect();
            let idx = Idx::parse(&file).unwrap();
            assert_eq!(idx.values(0).collect::<Vec<_>>(), [value], "type {code:#x}");
            assert_eq!(idx.trailing(), 1);
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), magic in any::<bool>()) {
            let bytes = if magic { [&[0, 0, 8, 2][..], &bytes].concat() } else { bytes };
            if let Ok(idx) = Idx::parse(&bytes) {
                prop_assert_eq!(idx.len() * idx.item_bytes() + idx.header().bytes() + idx.trailing(), bytes.len());
            }
        }
    }
}
