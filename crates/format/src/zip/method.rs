//! Members that are neither stored nor deflated, as Python's `zipfile` reads them: bzip2, LZMA and, from 3.14, zstd.

use std::io::{self, BufReader, Read};

use bzip2::bufread::BzDecoder;
use lzma_rust2::LzmaReader;
use ruzstd::decoding::StreamingDecoder;

use super::Member;
use crate::codec::WINDOW_BYTES_MAX;

/// Methods of APPNOTE §4.4.5 that [`open`] reads.
pub(super) const BZIP2: u16 = 12;
pub(super) const LZMA: u16 = 14;
pub(super) const ZSTD: u16 = 93;
/// With LZMA: the stream ends with a marker and its size is not stated (§5.8.9).
const FLAG_MARKER: u16 = 2;

/// A reader over the unpacked content of `raw`; `None` where the method is not read or its header makes no sense.
pub(super) fn open<'a>(member: &Member, mut raw: impl Read + 'a) -> io::Result<Option<Box<dyn Read + 'a>>> {
    Ok(match member.method {
        BZIP2 => Some(Box::new(BzDecoder::new(BufReader::new(raw)))),
        LZMA => {
            // Version of the packer, length of the properties, properties (§5.8.8).
            let mut head = [0; 9];
            if read_whole(&mut raw, &mut head)?.is_none() {
                return Ok(None);
            }
            let [_, _, 5, 0, properties, size @ ..] = head else { return Ok(None) };
            let dictionary = u32::from_le_bytes(size);
            let memory = lzma_rust2::lzma_get_memory_usage_by_props(dictionary, properties);
            if memory.is_err() || memory.is_ok_and(|kib| u64::from(kib) << 10 > WINDOW_BYTES_MAX) {
                return Ok(None);
            }
            let size = if member.flags & FLAG_MARKER != 0 { u64::MAX } else { member.size };
            let reader = LzmaReader::new_with_props(BufReader::new(raw), size, properties, dictionary, None);
            reader.ok().map(|reader| Box::new(reader) as Box<dyn Read + 'a>)
        }
        ZSTD => StreamingDecoder::new_with_max_window_size(BufReader::new(raw), WINDOW_BYTES_MAX)
            .ok()
            .map(|reader| Box::new(reader) as Box<dyn Read + 'a>),
        _ => None,
    })
}

fn read_whole(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<Option<()>> {
    match source.read_exact(buffer) {
        Ok(()) => Ok(Some(())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
