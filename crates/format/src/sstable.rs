//! Sorted tables of keys and values (LevelDB's table format), as TensorFlow's checkpoints use them for their index.
//!
//! [`read`] yields every entry in file order, with what is odd about the table as [`Flaw`]s: wrong checksums, keys out of
//! order, bytes that belong to no block.
//!
//! Source: LevelDB's `table_format.md`. A file is data blocks, a meta index, an index and a 48-byte footer; a block is
//! prefix-compressed entries and restart points, followed by a compression byte and a masked CRC-32C. Blocks compressed with
//! Snappy are reported, not read: TensorFlow writes its indices plain.

#![deny(clippy::indexing_slicing)]

/// The last eight bytes of a table, little-endian.
pub const MAGIC: u64 = 0xdb47_7524_8b80_fb57;
/// Bytes of the footer.
pub const FOOTER_BYTES: usize = 48;
/// Bytes behind each block: compression and checksum.
const TRAILER_BYTES: usize = 5;
/// Entries that are kept.
pub const ENTRIES_MAX: usize = 1 << 20;
/// Blocks that are read.
const BLOCKS_MAX: usize = 1 << 16;
/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 1 << 16;
/// Bytes that all keys together may take.
const KEYS_BYTES_MAX: usize = 256 << 20;
/// Flaws that are kept.
const FLAWS_MAX: usize = 64;

/// Why bytes are no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SstableError {
    /// The footer is missing or its magic number is another one.
    #[error("there is no table footer")]
    Footer,
    /// The index block cannot be read.
    #[error("the index block at byte {offset} cannot be read")]
    Index {
        /// Where it should begin.
        offset: u64,
    },
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The whole key.
    pub key: Vec<u8>,
    /// The value.
    pub value: &'a [u8],
    /// Where the value begins in the file.
    pub offset: u64,
}

/// Something a reader of tables may stumble over or skip.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// The block's checksum is wrong.
    Checksum {
        /// Where the block begins.
        offset: u64,
    },
    /// The block is compressed or its entries break off.
    Unreadable {
        /// Where the block begins.
        offset: u64,
        /// Why.
        reason: &'static str,
    },
    /// A key is not greater than the one before it: look-ups miss it, walks see it.
    Order {
        /// Where its value begins.
        offset: u64,
    },
    /// Bytes that belong to no block.
    Gap {
        /// Where they begin.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// More entries than are kept.
    TooMany,
}

/// A table's content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Table<'a> {
    /// Entries in file order.
    pub entries: Vec<Entry<'a>>,
    /// What is odd, at most 64.
    pub flaws: Vec<Flaw>,
}

/// Where a block lies.
#[derive(Debug, Clone, Copy)]
struct Handle {
    offset: usize,
    size: usize,
}

/// Whether the last bytes of a file are a table's footer.
pub fn is_footer(tail: &[u8]) -> bool {
    tail.last_chunk::<8>().is_some_and(|magic| u64::from_le_bytes(*magic) == MAGIC)
}

/// Reads a whole table.
///
/// # Errors
/// [`SstableError::Footer`] and [`SstableError::Index`]; what is wrong with single blocks is a [`Flaw`].
pub fn read(file: &[u8]) -> Result<Table<'_>, SstableError> {
    let footer = file.last_chunk::<FOOTER_BYTES>().filter(|tail| is_footer(*tail)).ok_or(SstableError::Footer)?;
    let mut cursor = &footer[..];
    let meta = handle(&mut cursor).ok_or(SstableError::Footer)?;
    let index = handle(&mut cursor).ok_or(SstableError::Footer)?;
    let mut table = Table::default();
    let mut covered = vec![(file.len() - FOOTER_BYTES, file.len())];
    let unread = SstableError::Index { offset: index.offset as u64 };
    let index_entries = table.block(file, index, &mut covered).ok_or(unread)?;
    if let Some(entries) = table.block(file, meta, &mut covered) {
        // Filters and the like are named here; TensorFlow writes none.
        table.flaws.extend(
            entries.first().map(|entry| Flaw::Unreadable { offset: entry.offset, reason: "a meta block is not read" }),
        );
    }
    let mut key_bytes = 0_usize;
    for entry in index_entries.iter().take(BLOCKS_MAX) {
        let mut value = entry.value;
        let Some(handle) = handle(&mut value) else {
            table.flaw(Flaw::Unreadable { offset: entry.offset, reason: "an index entry is no block handle" });
            continue;
        };
        let Some(entries) = table.block(file, handle, &mut covered) else { continue };
        for entry in entries {
            key_bytes = key_bytes.saturating_add(entry.key.len());
            if table.entries.len() >= ENTRIES_MAX || key_bytes > KEYS_BYTES_MAX {
                table.flaw(Flaw::TooMany);
                return Ok(table);
            }
            if table.entries.last().is_some_and(|before| before.key >= entry.key) {
                table.flaw(Flaw::Order { offset: entry.offset });
            }
            table.entries.push(entry);
        }
    }
    if index_entries.len() > BLOCKS_MAX {
        table.flaw(Flaw::TooMany);
    }
    table.gaps(covered);
    Ok(table)
}

impl<'a> Table<'a> {
    fn flaw(&mut self, flaw: Flaw) {
        if self.flaws.len() < FLAWS_MAX {
            self.flaws.push(flaw);
        }
    }

    /// The entries of one block; `None`, with a flaw, where it cannot be read.
    fn block(&mut self, file: &'a [u8], handle: Handle, covered: &mut Vec<(usize, usize)>) -> Option<Vec<Entry<'a>>> {
        let offset = handle.offset as u64;
        let end = handle.offset.checked_add(handle.size);
        let body = end.and_then(|end| file.get(handle.offset..end));
        let trailer = end.and_then(|end| file.get(end..)).and_then(|rest| rest.first_chunk::<TRAILER_BYTES>());
        let (Some(body), Some([compression, checksum @ ..])) = (body, trailer) else {
            self.flaw(Flaw::Unreadable { offset, reason: "it lies outside of the file" });
            return None;
        };
        covered.push((handle.offset, handle.offset + handle.size + TRAILER_BYTES));
        if unmask(u32::from_le_bytes(*checksum)) != crc32c(body, Some(*compression)) {
            self.flaw(Flaw::Checksum { offset });
        }
        if *compression != 0 {
            self.flaw(Flaw::Unreadable { offset, reason: "it is compressed" });
            return None;
        }
        let entries = entries(body, handle.offset);
        if entries.is_none() {
            self.flaw(Flaw::Unreadable { offset, reason: "its entries break off" });
        }
        entries
    }

    fn gaps(&mut self, mut covered: Vec<(usize, usize)>) {
        covered.sort_unstable();
        let mut at = 0;
        for (start, end) in covered {
            if start > at {
                self.flaw(Flaw::Gap { offset: at as u64, bytes: (start - at) as u64 });
            }
            at = at.max(end);
        }
    }
}

/// Prefix-compressed entries, then restart points and their number.
fn entries(body: &[u8], start: usize) -> Option<Vec<Entry<'_>>> {
    let (rest, count) = body.split_last_chunk::<4>()?;
    let restarts = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(4)?;
    let content = rest.get(..rest.len().checked_sub(restarts)?)?;
    let mut cursor = content;
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut key = Vec::new();
    let mut key_bytes = 0_usize;
    while !cursor.is_empty() {
        let shared = varint(&mut cursor)?;
        let fresh = varint(&mut cursor)?;
        let length = varint(&mut cursor)?;
        let (added, rest) = cursor.split_at_checked(fresh)?;
        let offset = (start + content.len() - rest.len()) as u64;
        let (value, rest) = rest.split_at_checked(length)?;
        cursor = rest;
        if shared > key.len() || shared.saturating_add(fresh) > KEY_BYTES_MAX {
            return None;
        }
        key.truncate(shared);
        key.extend_from_slice(added);
        key_bytes = key_bytes.saturating_add(key.len());
        if entries.len() >= ENTRIES_MAX || key_bytes > KEYS_BYTES_MAX {
            return None;
        }
        entries.push(Entry { key: key.clone(), value, offset });
    }
    Some(entries)
}

fn handle(cursor: &mut &[u8]) -> Option<Handle> {
    Some(Handle { offset: varint(cursor)?, size: varint(cursor)? })
}

fn varint(cursor: &mut &[u8]) -> Option<usize> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = cursor.split_first()?;
        *cursor = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return usize::try_from(value).ok();
        }
    }
    None
}

/// LevelDB rotates checksums, so that a checksum of data with checksums stays a good one.
fn unmask(masked: u32) -> u32 {
    masked.wrapping_sub(0xa282_ead8).rotate_left(15)
}

/// A checksum as these files store it.
pub fn mask(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli) of `bytes` and perhaps one byte more.
pub fn crc32c(bytes: &[u8], more: Option<u8>) -> u32 {
    let step = |crc: u32, byte: u8| {
        let [low, ..] = crc.to_le_bytes();
        (crc >> 8) ^ CRC_TABLE.get(usize::from(low ^ byte)).copied().unwrap_or(0)
    };
    !bytes.iter().copied().chain(more).fold(u32::MAX, step)
}

static CRC_TABLE: [u32; 256] = crc_table();

#[expect(clippy::indexing_slicing, reason = "evaluated while compiling, the index is below 256")]
const fn crc_table() -> [u32; 256] {
    let mut table = [0_u32; 256];
    let mut byte = 0_u8;
    loop {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte as usize] = crc;
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720 appendix B.4: 32 bytes of zeros, and the usual check value.
        assert_eq!(crc32c(&[0; 32], None), 0x8a91_36aa);
        assert_eq!(crc32c(b"12345678", Some(b'9')), 0xe306_9283);
        assert_eq!(unmask(mask(0xe306_9283)), 0xe306_9283);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        assert_eq!(read(b"").unwrap_err(), SstableError::Footer);
        let mut bytes = vec![0xff; 40];
        bytes.extend(MAGIC.to_le_bytes());
        assert_eq!(read(&bytes).unwrap_err(), SstableError::Footer);
        bytes = vec![0; 40];
        bytes.extend(MAGIC.to_le_bytes());
        assert!(matches!(read(&bytes), Err(SstableError::Index { .. })));
    }
}
