//! Pictures: what does nothing when it is opened.
//!
//! A picture must end where its format says: what follows is looked at as a content of its own.

use std::io;

use crate::{
    audit::Audit,
    detect::Kind,
    rules::id,
    source::{Source, bytes_at, length},
};

/// Blocks of a picture that are walked.
const BLOCKS_MAX: u32 = 1_000_000;
/// How much of a JPEG's end is searched for its end marker, in bytes.
const JPEG_TAIL_BYTES: u64 = 64;

impl Audit<'_> {
    pub(crate) fn picture(&mut self, source: &mut dyn Source, kind: Kind) -> io::Result<&'static str> {
        let (name, end) = match kind {
            Kind::Png => ("png", png_end(source)?),
            Kind::Jpeg => ("jpeg", jpeg_end(source)?),
            Kind::Gif => ("gif", gif_end(source)?),
            Kind::Webp => ("webp", stated_end(source, 4, 8)?),
            _ => ("bmp", stated_end(source, 2, 0)?),
        };
        let whole = length(source)?;
        match end {
            Some(end) if end == whole => {}
            Some(end) if end < whole => {
                self.note(id::GEN_UNKNOWN, &format!("{} bytes follow the picture", whole - end), Some(end));
                self.inspect_rest(source, end)?;
            }
            _ => {
                self.note(id::GEN_UNKNOWN, "the picture has no proper end", None);
                if ringfence_format::zip::read(source).is_ok_and(|archive| !archive.members.is_empty()) {
                    self.zip(source)?;
                } else {
                    self.carve(source)?;
                }
            }
        }
        Ok(name)
    }
}

/// Behind the IEND chunk (PNG §11.2.5).
fn png_end(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let mut at = 8;
    for _ in 0..BLOCKS_MAX {
        let head = bytes_at(source, at, 8)?;
        let (Some(size), Some(kind)) = (head.first_chunk::<4>(), head.get(4..8)) else { return Ok(None) };
        at += 12 + u64::from(u32::from_be_bytes(*size));
        if kind == b"IEND" {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// The end marker must be the last thing but for a few zero bytes.
fn jpeg_end(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let whole = length(source)?;
    let start = whole.saturating_sub(JPEG_TAIL_BYTES);
    let tail = bytes_at(source, start, JPEG_TAIL_BYTES)?;
    let Some(at) = memchr::memmem::rfind(&tail, b"\xff\xd9") else { return Ok(None) };
    let is_blank = tail.get(at + 2..).unwrap_or_default().iter().all(|byte| *byte == 0);
    Ok(is_blank.then_some(whole))
}

/// Behind the trailer (GIF89a §27).
fn gif_end(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let head = bytes_at(source, 0, 13)?;
    let table = |flags: u8| if flags & 0x80 != 0 { 3 << (u64::from(flags & 7) + 1) } else { 0 };
    let Some(flags) = head.get(10) else { return Ok(None) };
    let mut at = 13 + table(*flags);
    for _ in 0..BLOCKS_MAX {
        match bytes_at(source, at, 10)?.as_slice() {
            [0x3b, ..] => return Ok(Some(at + 1)),
            [0x21, ..] => at += 2,
            [0x2c, _, _, _, _, _, _, _, _, flags] => at += 11 + table(*flags),
            _ => return Ok(None),
        }
        for _ in 0..BLOCKS_MAX {
            let size = bytes_at(source, at, 1)?.first().copied().unwrap_or(0);
            at += 1 + u64::from(size);
            if size == 0 {
                break;
            }
        }
    }
    Ok(None)
}

/// A little-endian length field at `field`, counted from `base`.
fn stated_end(source: &mut dyn Source, field: u64, base: u64) -> io::Result<Option<u64>> {
    let bytes = bytes_at(source, field, 4)?;
    Ok(bytes.first_chunk::<4>().map(|size| u64::from(u32::from_le_bytes(*size)) + base))
}
