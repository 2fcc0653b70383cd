//! Data sets and what is written beside training: IDX, Parquet, Arrow, SQLite, MATLAB 5, TensorFlow's records, and the
//! blocks of OCDBT, the database that Orbax keeps JAX checkpoints in.

use std::io;

use ringfence_format::{
    codec::{self, Codec, End},
    idx,
    sstable::{crc32c, mask},
};

use super::Order;
use crate::{
    audit::Audit,
    rules::id,
    source::{Source, Window, bytes_at, length},
};

/// Records, elements or blocks of one file that are walked.
const PARTS_MAX: u32 = 1_000_000;
/// Longest record or block whose checksum is computed, in bytes; longer ones are only measured.
const CHECKSUM_BYTES_MAX: u64 = 16 << 20;
/// Header of a MATLAB 5 file, in bytes.
const MATLAB_HEADER_BYTES: u64 = 128;
/// Header of a block of OCDBT: magic and length; and the checksum behind it, in bytes.
const OCDBT_FRAME_BYTES: u64 = 16;
/// Records whose header is this long: a length and its checksum, in bytes.
const RECORD_HEADER_BYTES: u64 = 12;

/// Behind the numbers.
pub(super) fn numbers(source: &mut dyn Source) -> io::Result<Option<u64>> {
    Ok(idx_end(&bytes_at(source, 0, 64)?))
}

/// Where the numbers of an IDX file end; `None` for other bytes.
pub(super) fn idx_end(head: &[u8]) -> Option<u64> {
    let header = idx::Header::parse(head).ok()?;
    let elements = header.dims.iter().try_fold(1_u64, |product, dim| product.checked_mul(u64::from(*dim)))?;
    let bytes = elements.checked_mul(header.element.bytes() as u64)?;
    (bytes > 0).then_some(())?;
    bytes.checked_add(header.bytes() as u64)
}

/// Where the voxels of a NIfTI-1 image end (`nifti1.h`); `None` for other bytes.
pub(super) fn nifti_end(head: &[u8]) -> Option<u64> {
    const HEADER_BYTES: u64 = 348;
    (head.get(344..348) == Some(b"n+1\0")).then_some(())?;
    let order = if Order::Little.u32(head, 0) == Some(HEADER_BYTES) { Order::Little } else { Order::Big };
    (order.u32(head, 0) == Some(HEADER_BYTES)).then_some(())?;
    let count = order.u16(head, 40).filter(|count| (1..=7).contains(count))?;
    let voxels = (1..=count)
        .try_fold(1_u64, |product, dim| product.checked_mul(order.u16(head, 40 + 2 * usize::try_from(dim).ok()?)?))?;
    let bits = voxels.checked_mul(order.u16(head, 72)?)?;
    // Where the voxels begin stands there as a float.
    let start = f32::from_bits(u32::try_from(order.u32(head, 108)?).ok()?);
    let is_offset = (352.0..16_777_216.0).contains(&start) && start.fract() == 0.0;
    let start = is_offset.then(|| format!("{start:.0}").parse::<u64>().ok())??;
    start.checked_add(bits.div_ceil(8))
}

/// A footer between its length and the magic at both ends (Parquet's `README.md`, "File format"; Arrow's "IPC File
/// Format"; Feather 1 has the same frame).
pub(super) fn framed(source: &mut dyn Source, magic: &[u8]) -> io::Result<Option<u64>> {
    let whole = length(source)?;
    let closing = magic.len() as u64;
    let Some(at) = whole.checked_sub(closing + 4) else { return Ok(None) };
    let tail = bytes_at(source, at, closing + 4)?;
    let Some(footer) = Order::Little.u32(&tail, 0) else { return Ok(None) };
    let fits = tail.get(4..) == Some(magic) && footer > 0 && footer + closing <= at;
    Ok(fits.then_some(whole))
}

/// Pages times their size (SQLite's `fileformat2.html` §1.3).
pub(super) fn sqlite(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let head = bytes_at(source, 0, 100)?;
    let (Some(size), Some(pages)) = (Order::Big.u16(&head, 16), Order::Big.u32(&head, 28)) else { return Ok(None) };
    let size = if size == 1 { 65_536 } else { size };
    if !size.is_power_of_two() || size < 512 {
        return Ok(None);
    }
    let is_counted = Order::Big.u32(&head, 24) == Order::Big.u32(&head, 92) && pages > 0;
    let whole = length(source)?;
    Ok(if is_counted { size.checked_mul(pages) } else { (whole % size == 0).then_some(whole) })
}

/// Behind the last record: each length and each content has a checksum.
pub(super) fn records(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let whole = length(source)?;
    let mut at = 0;
    for _ in 0..PARTS_MAX {
        if at == whole {
            return Ok(Some(at));
        }
        let head = bytes_at(source, at, RECORD_HEADER_BYTES)?;
        let Some(size) = record_bytes(&head).filter(|size| *size <= whole) else {
            return Ok((at > 0).then_some(at));
        };
        let end = at + RECORD_HEADER_BYTES + size + 4;
        if end > whole {
            return Ok(None);
        }
        if size <= CHECKSUM_BYTES_MAX {
            let content = bytes_at(source, at + RECORD_HEADER_BYTES, size)?;
            let stated = Order::Little.u32(&bytes_at(source, end - 4, 4)?, 0);
            if stated != Some(mask(crc32c(&content, None)).into()) {
                return Ok(None);
            }
        }
        at = end;
    }
    Ok(None)
}

/// Length of the record that begins here, if its checksum holds.
pub(super) fn record_bytes(head: &[u8]) -> Option<u64> {
    let field = head.get(..8)?;
    let stated = Order::Little.u32(head, 8)?;
    (stated == u64::from(mask(crc32c(field, None)))).then(|| field.first_chunk().copied().map(u64::from_le_bytes))?
}

impl Audit<'_> {
    /// Behind the last element ("MAT-File Format", level 5); packed elements are unpacked and searched.
    pub(super) fn matlab_end(&mut self, source: &mut dyn Source) -> io::Result<Option<u64>> {
        let whole = length(source)?;
        let order = if bytes_at(source, 126, 2)? == b"IM" { Order::Little } else { Order::Big };
        let mut at = MATLAB_HEADER_BYTES;
        for _ in 0..PARTS_MAX {
            let tag = bytes_at(source, at, 8)?;
            let (Some(kind), Some(size)) = (order.u32(&tag, 0), order.u32(&tag, 4)) else {
                return Ok((at > MATLAB_HEADER_BYTES).then_some(at));
            };
            // A matrix or a packed one; nothing else stands outside of them.
            if !matches!(kind, 14 | 15) || at + 8 + size > whole {
                return Ok((at > MATLAB_HEADER_BYTES).then_some(at));
            }
            if kind == 15 {
                let mut window = Window::new(source, at + 8, size)?;
                self.packed_part(&mut window, Codec::Zlib, "element", at)?;
            }
            at += 8 + size;
            if kind == 14 {
                at = at.next_multiple_of(8).min(whole);
            }
            if at == whole {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Behind the last block (tensorstore's `ocdbt/format`): magic, length, version, compression, content, checksum.
    pub(super) fn ocdbt_end(&mut self, source: &mut dyn Source) -> io::Result<Option<u64>> {
        let whole = length(source)?;
        let mut at = 0;
        for _ in 0..PARTS_MAX {
            let head = bytes_at(source, at, OCDBT_FRAME_BYTES)?;
            let size = head.get(4..12).and_then(|field| field.first_chunk().copied()).map(u64::from_le_bytes);
            let Some(size) = size.filter(|size| is_ocdbt(&head) && (19..=whole - at).contains(size)) else {
                return Ok((at > 0).then_some(at));
            };
            if size <= CHECKSUM_BYTES_MAX {
                let block = bytes_at(source, at, size - 4)?;
                let stated = Order::Little.u32(&bytes_at(source, at + size - 4, 4)?, 0);
                if stated != Some(crc32c(&block, None).into()) {
                    return Ok(None);
                }
            }
            match head.get(12..14) {
                Some([0, 0]) => {}
                Some([0, 1]) => {
                    let mut window = Window::new(source, at + 14, size - 18)?;
                    self.packed_part(&mut window, Codec::Zstd, "block", at)?;
                }
                _ => return Ok(None),
            }
            at += size;
            if at == whole {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Unpacks a part and searches it.
    fn packed_part(&mut self, source: &mut dyn Source, codec: Codec, what: &str, at: u64) -> io::Result<()> {
        source.seek(io::SeekFrom::Start(0))?;
        let inflated = codec::inflate(source, codec, self.room())?;
        let bytes = inflated.bytes.len() as u64;
        self.inflated = self.inflated.saturating_add(bytes);
        if inflated.end != End::Whole {
            self.note(id::GEN_WRAPPER, &format!("the packed {what} does not end where it should"), Some(at));
        }
        let mut content = io::Cursor::new(inflated.bytes);
        self.within(&format!("{what}@{at:#x}"), |audit| {
            audit.carve(&mut content)?;
            audit.other_data(&mut content, 0, bytes)
        })
    }
}

/// A manifest, a node of the tree or of its versions.
pub(super) fn is_ocdbt(head: &[u8]) -> bool {
    matches!(head, [0x0c, 0xdb, 0x3a, 0x2a, ..] | [0x0c, 0xdb, 0x20, 0xde, ..] | [0x0c, 0xdb, 0x12, 0x34, ..])
}
