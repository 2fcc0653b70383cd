//! Sound, films, images and fonts: RIFF, TIFF 6.0, Ogg (RFC 3533), MP3, FLAC (RFC 9639), MP4, icons, OpenType and WOFF.

use std::{collections::HashSet, io};

use super::{Extents, Order};
use crate::source::{Source, bytes_at, length};

/// Chunks, pages, directories or tables of one file that are walked.
const PARTS_MAX: u32 = 1_000_000;
/// Tables of a font that are read.
const TABLES_MAX: u64 = 512;
/// Directories of a TIFF file that are read.
const DIRECTORIES_MAX: usize = 4_096;
/// Fields of a TIFF file that are read, in all directories together.
const FIELDS_MAX: u64 = 1 << 17;
/// Bytes of a TIFF file that are read as offsets and lengths.
const OFFSETS_BYTES_MAX: u64 = 32 << 20;

/// Behind the last chunk: the outer length and the inner ones must agree.
pub(super) fn riff(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let Some(size) = Order::Little.u32(&bytes_at(source, 4, 4)?, 0) else { return Ok(None) };
    let end = 8 + size;
    let mut at = 12;
    for _ in 0..PARTS_MAX {
        if at >= end {
            // The pad byte of the last chunk may or may not be counted.
            return Ok((at <= end + 1).then_some(end.max(at.min(length(source)?))));
        }
        let head = bytes_at(source, at, 8)?;
        let is_name = head.get(..4).is_some_and(|name| name.iter().all(|byte| matches!(byte, 0x20..=0x7e)));
        let Some(size) = Order::Little.u32(&head, 4).filter(|_| is_name) else { return Ok(None) };
        at += 8 + size + size % 2;
    }
    Ok(None)
}

/// Directories, values, strips and tiles (TIFF 6.0 §2, §15; EXIF's and GPS's directories).
pub(super) fn tiff(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let head = bytes_at(source, 0, 8)?;
    let order = if head.starts_with(b"II") { Order::Little } else { Order::Big };
    let Some(first) = order.u32(&head, 4) else { return Ok(None) };
    let mut extents = Extents::default();
    extents.add(0, 8);
    let mut open = vec![first];
    let mut seen = HashSet::new();
    let (mut fields_left, mut bytes_left) = (FIELDS_MAX, OFFSETS_BYTES_MAX);
    while let Some(at) = open.pop() {
        if at == 0 || !seen.insert(at) {
            continue;
        }
        if seen.len() > DIRECTORIES_MAX {
            return Ok(None);
        }
        let Some(count) = order.u16(&bytes_at(source, at, 2)?, 0) else { return Ok(None) };
        let Some(left) = fields_left.checked_sub(count) else { return Ok(None) };
        fields_left = left;
        extents.add(at, 2 + 12 * count + 4);
        let fields = bytes_at(source, at + 2, 12 * count + 4)?;
        let (mut starts, mut lengths) = (Vec::new(), Vec::new());
        for field in fields.chunks_exact(12) {
            let (Some(tag), Some(kind), Some(number)) = (order.u16(field, 0), order.u16(field, 2), order.u32(field, 4))
            else {
                return Ok(None);
            };
            let width = match kind {
                3 | 8 => 2,
                4 | 9 | 11 | 13 => 4,
                5 | 10 | 12 => 8,
                _ => 1,
            };
            let bytes = width * number;
            let start = order.u32(field, 8).filter(|_| bytes > 4);
            if let Some(start) = start {
                extents.add(start, bytes);
            }
            let numbers = match tag {
                // Strips and tiles: where they are, and how long.
                273 | 324 | 513 => &mut starts,
                279 | 325 | 514 => &mut lengths,
                // Directories inside.
                330 | 34_665 | 34_853 | 40_965 => &mut open,
                _ => continue,
            };
            let Some(left) = bytes_left.checked_sub(bytes) else { return Ok(None) };
            bytes_left = left;
            let values = match start {
                Some(start) => bytes_at(source, start, bytes)?,
                None => field.get(8..).unwrap_or_default().to_vec(),
            };
            let step = if width == 2 { 2 } else { 4 };
            let one = |value: &[u8]| if step == 2 { order.u16(value, 0) } else { order.u32(value, 0) };
            let most = usize::try_from(number).unwrap_or(usize::MAX);
            numbers.extend(values.chunks_exact(step).take(most).filter_map(one));
        }
        if starts.len() != lengths.len() {
            return Ok(None);
        }
        starts.into_iter().zip(lengths).for_each(|(start, bytes)| extents.add(start, bytes));
        let Some(next) = fields.len().checked_sub(4).and_then(|last| order.u32(&fields, last)) else { return Ok(None) };
        open.push(next);
    }
    extents.accounted(source)
}

/// Behind the last page.
pub(super) fn ogg(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let mut at = 0;
    for _ in 0..PARTS_MAX {
        let page = bytes_at(source, at, 27 + 255)?;
        if !page.starts_with(b"OggS\0") {
            return Ok((at > 0).then_some(at));
        }
        let count = page.get(26).copied().unwrap_or(0);
        let Some(segments) = page.get(27..27 + usize::from(count)) else { return Ok(None) };
        at += 27 + u64::from(count) + segments.iter().map(|bytes| u64::from(*bytes)).sum::<u64>();
    }
    Ok(None)
}

/// The pictures of an icon or cursor.
pub(super) fn icon(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let Some(count) = Order::Little.u16(&bytes_at(source, 4, 2)?, 0).filter(|count| *count > 0) else {
        return Ok(None);
    };
    let mut extents = Extents::default();
    extents.add(0, 6 + 16 * count);
    for entry in bytes_at(source, 6, 16 * count)?.chunks_exact(16) {
        let (Some(bytes), Some(start)) = (Order::Little.u32(entry, 8), Order::Little.u32(entry, 12)) else {
            return Ok(None);
        };
        extents.add(start, bytes);
    }
    extents.accounted(source)
}

/// The tables of a font.
pub(super) fn font(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let Some(count) = Order::Big.u16(&bytes_at(source, 4, 2)?, 0).filter(|count| (1..=TABLES_MAX).contains(count))
    else {
        return Ok(None);
    };
    let mut extents = Extents::default();
    extents.add(0, 12 + 16 * count);
    for entry in bytes_at(source, 12, 16 * count)?.chunks_exact(16) {
        let (Some(start), Some(bytes)) = (Order::Big.u32(entry, 8), Order::Big.u32(entry, 12)) else { return Ok(None) };
        extents.add(start, bytes);
    }
    extents.accounted(source)
}

/// The whole length as the header states it (WOFF 1.0 §3, WOFF 2.0 §3).
pub(super) fn woff(source: &mut dyn Source) -> io::Result<Option<u64>> {
    Ok(Order::Big.u32(&bytes_at(source, 8, 4)?, 0).filter(|length| *length > 48))
}

/// Behind the last box (ISO/IEC 14496-12 §4.2); a box of length 0 goes on to the end.
pub(super) fn boxes(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let whole = length(source)?;
    let mut at = 0;
    for _ in 0..PARTS_MAX {
        let head = bytes_at(source, at, 16)?;
        let is_name = head.get(4..8).is_some_and(|name| name.iter().all(|byte| matches!(byte, 0x20..=0x7e | 0xa9)));
        let Some(size) = Order::Big.u32(&head, 0).filter(|_| is_name) else { return Ok((at > 0).then_some(at)) };
        let size = match size {
            0 => whole - at,
            1 => head.get(8..16).and_then(|field| field.first_chunk().copied()).map_or(0, u64::from_be_bytes),
            size => size,
        };
        let Some(end) = at.checked_add(size).filter(|end| size >= 8 && *end <= whole) else { return Ok(None) };
        at = end;
        if at == whole {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Length of the frame of MPEG audio, layer III, that begins here (ISO/IEC 11172-3 §2.4.2.3, 13818-3 §2.4.2.3).
fn frame_bytes(head: &[u8]) -> Option<u64> {
    const FIRST: [u64; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const SECOND: [u64; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    const RATES: [u64; 3] = [44_100, 48_000, 32_000];
    let [0xff, kind, rates, _, ..] = head else { return None };
    // Bits 3 and 4: 3 is version 1, 2 is version 2, 0 is version 2.5; bits 1 and 2: 1 is layer III.
    let (version, layer) = (kind >> 3 & 3, kind >> 1 & 3);
    if kind & 0xe0 != 0xe0 || version == 1 || layer != 1 {
        return None;
    }
    let kilobits =
        if version == 3 { FIRST } else { SECOND }.get(usize::from(rates >> 4)).copied().filter(|rate| *rate > 0)?;
    // Version 2 halves the rates of version 1, version 2.5 quarters them; both have half as many samples in a frame.
    let (samples, slower) = match version {
        3 => (144, 1),
        2 => (72, 2),
        _ => (72, 4),
    };
    let rate = RATES.get(usize::from(rates >> 2 & 3))? / slower;
    Some(samples * kilobits * 1_000 / rate + u64::from(rates >> 1 & 1))
}

/// Length of the tag in front of a sound (ID3v2.4 §3.1), with its head.
fn tag_bytes(head: &[u8]) -> Option<u64> {
    let size: &[u8; 4] = head.strip_prefix(b"ID3")?.get(3..7)?.first_chunk()?;
    let is_size = size.iter().all(|byte| *byte < 0x80);
    is_size.then(|| 10 + size.iter().fold(0, |sum, byte| sum << 7 | u64::from(*byte)))
}

/// A tag, or two frames in a row.
pub(super) fn is_mp3(head: &[u8]) -> bool {
    let next = |at: u64| usize::try_from(at).ok().and_then(|at| head.get(at..)).and_then(frame_bytes);
    tag_bytes(head).is_some() || frame_bytes(head).and_then(next).is_some()
}

/// Behind the last frame, or the old tag that follows it (ID3v1: 128 bytes).
pub(super) fn mp3(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let whole = length(source)?;
    let mut at = tag_bytes(&bytes_at(source, 0, 10)?).unwrap_or(0);
    let first = at;
    for _ in 0..PARTS_MAX {
        let head = bytes_at(source, at, 4)?;
        let Some(size) = frame_bytes(&head) else {
            let end = if head.starts_with(b"TAG") { at + 128 } else { at };
            return Ok((at > first).then_some(end));
        };
        // The last frame is often cut.
        at = (at + size).min(whole);
    }
    Ok(None)
}

/// Frames of FLAC do not say where they end (RFC 9639 §9): after sound blocks of metadata the rest of the file is theirs.
pub(super) fn flac(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let mut at = 4;
    for _ in 0..PARTS_MAX {
        let head = bytes_at(source, at, 4)?;
        let (Some(kind), Some(size)) = (head.first(), Order::Big.u32(&head, 0)) else { return Ok(None) };
        at += 4 + (size & 0x00ff_ffff);
        if kind & 0x80 != 0 {
            let is_frame = matches!(bytes_at(source, at, 2)?.as_slice(), [0xff, 0xf8 | 0xf9]);
            return if is_frame { length(source).map(Some) } else { Ok(None) };
        }
    }
    Ok(None)
}
