//! A file read once from front to back, with its place and its end known.

use std::io::{self, BufReader, Read, Seek};

/// Bytes that are read ahead.
const BUFFER_BYTES: usize = 64 << 10;

/// A source and how far it was read.
pub(crate) struct Stream<'s, S: Read + Seek + ?Sized> {
    input: BufReader<&'s mut S>,
    /// Bytes that were read.
    pub(crate) at: u64,
    /// Bytes that there are.
    pub(crate) length: u64,
}

impl<'s, S: Read + Seek + ?Sized> Stream<'s, S> {
    /// `source` stands at its start and is `length` bytes long.
    pub(crate) fn new(source: &'s mut S, length: u64) -> Self {
        Self { input: BufReader::with_capacity(BUFFER_BYTES, source), at: 0, length }
    }

    pub(crate) fn left(&self) -> u64 {
        self.length.saturating_sub(self.at)
    }

    /// The next `count` bytes; `None` where there are fewer.
    pub(crate) fn take(&mut self, count: u64) -> io::Result<Option<Vec<u8>>> {
        if count > self.left() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        (&mut self.input).take(count).read_to_end(&mut bytes)?;
        self.at += bytes.len() as u64;
        Ok(Some(bytes).filter(|bytes| bytes.len() as u64 == count))
    }

    /// Up to 8 bytes without an allocation; `None` where there are fewer.
    pub(crate) fn head(&mut self, count: usize) -> io::Result<Option<[u8; 8]>> {
        let mut bytes = [0; 8];
        let Some(wanted) = bytes.get_mut(..count).filter(|_| count as u64 <= self.left()) else { return Ok(None) };
        self.input.read_exact(wanted)?;
        self.at += count as u64;
        Ok(Some(bytes))
    }

    pub(crate) fn byte(&mut self) -> io::Result<Option<u8>> {
        Ok(self.head(1)?.and_then(|bytes| bytes.first().copied()))
    }

    pub(crate) fn skip(&mut self, count: u64) -> io::Result<Option<()>> {
        if count > self.left() {
            return Ok(None);
        }
        self.input.seek_relative(i64::try_from(count).map_err(io::Error::other)?)?;
        self.at += count;
        Ok(Some(()))
    }
}
