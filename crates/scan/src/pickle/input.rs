//! The byte stream of a pickle: buffered, bounded, and able to look back.
//!
//! The machine keeps texts as offsets instead of copies, so [`Input::read_at`] must be cheap for recent offsets: it
//! answers from the buffer where it can.

use std::io::{Read as _, SeekFrom};

use crate::source::Source;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;
/// Longest piece that [`Input::take`] hands out.
pub(super) const TAKE_BYTES_MAX: usize = 64 << 10;

/// A line of the text opcodes, without its line end.
pub(super) struct Line {
    /// Offset of its first byte.
    pub(super) start: u64,
    /// Its length in bytes.
    pub(super) length: u64,
}

/// See the module.
pub(super) struct Input<'s> {
    source: &'s mut dyn Source,
    buffer: Vec<u8>,
    at: usize,
    /// Offset of the buffer's first byte.
    base: u64,
    /// Length of the source.
    end: u64,
    /// Whether the source itself failed.
    pub(super) failed: bool,
}

impl<'s> Input<'s> {
    pub(super) fn new(source: &'s mut dyn Source, start: u64) -> Self {
        let (end, failed) = source.seek(SeekFrom::End(0)).map_or((0, true), |end| (end, false));
        Self { source, buffer: Vec::new(), at: 0, base: start, end, failed }
    }

    pub(super) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    pub(super) fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.offset())
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Option<u8> {
        if self.at >= self.buffer.len() && !self.fill(1) {
            return None;
        }
        let byte = self.buffer.get(self.at).copied();
        self.at += 1;
        byte
    }

    /// The next `count` bytes, at most [`TAKE_BYTES_MAX`].
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Option<&[u8]> {
        if self.buffer.len() - self.at < count && (count > TAKE_BYTES_MAX || !self.fill(count)) {
            return None;
        }
        let start = self.at;
        self.at += count;
        self.buffer.get(start..self.at)
    }

    /// The next `count` bytes, which stay unread; fewer than that is `None`.
    #[inline]
    pub(super) fn peek(&mut self, count: usize) -> Option<&[u8]> {
        if self.buffer.len() - self.at < count && (count > TAKE_BYTES_MAX || !self.fill(count)) {
            return None;
        }
        self.buffer.get(self.at..self.at + count)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N).and_then(|bytes| bytes.first_chunk().copied())
    }

    /// Steps over `count` bytes; `false` where the source ends before.
    #[inline]
    pub(super) fn skip(&mut self, count: u64) -> bool {
        if count > self.remaining() {
            return false;
        }
        let inside = (self.buffer.len() - self.at) as u64;
        if count <= inside {
            self.at += usize::try_from(count).unwrap_or(0);
        } else {
            self.base = self.offset() + count;
            self.buffer.clear();
            self.at = 0;
        }
        true
    }

    /// Steps over a line and its line end; `None` where the source ends before one.
    pub(super) fn line(&mut self) -> Option<Line> {
        let start = self.offset();
        loop {
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            if let Some(length) = memchr::memchr(b'\n', rest) {
                self.at += length + 1;
                return Some(Line { start, length: self.offset() - start - 1 });
            }
            self.at = self.buffer.len();
            if !self.fill(1) {
                return None;
            }
        }
    }

    /// Up to `count` bytes from `offset`; the position stays.
    pub(super) fn read_at(&mut self, offset: u64, count: usize) -> Vec<u8> {
        let wanted = offset.checked_sub(self.base).and_then(|start| usize::try_from(start).ok());
        let whole = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX).min(count);
        if let Some(bytes) = wanted.and_then(|start| self.buffer.get(start..start.checked_add(whole)?)) {
            return bytes.to_vec();
        }
        let mut bytes = Vec::new();
        let read = self
            .source
            .seek(SeekFrom::Start(offset))
            .and_then(|_| self.source.take(count as u64).read_to_end(&mut bytes));
        self.failed |= read.is_err();
        bytes
    }

    /// Makes `count` bytes available; `false` where the source ends before.
    #[cold]
    fn fill(&mut self, count: usize) -> bool {
        self.base += self.at as u64;
        self.buffer.drain(..self.at.min(self.buffer.len()));
        self.at = 0;
        let have = self.buffer.len();
        let wanted = BUFFER_BYTES.max(count) - have;
        let from = self.base + have as u64;
        let read = self
            .source
            .seek(SeekFrom::Start(from))
            .and_then(|_| self.source.take(wanted as u64).read_to_end(&mut self.buffer));
        self.failed |= read.is_err();
        self.buffer.len() >= count
    }
}
