//! The byte stream of a pickle: buffered, bounded, and able to look back.
//!
//! The machine keeps texts as offsets instead of copies, so [`Input::read_at`] must be cheap for recent offsets: it
//! answers from the buffer where it can.
//!
//! An input can have a fence: the end of a frame that CPython's C unpickler holds in its buffer. What begins before the
//! fence and ends behind it makes that unpickler drop the rest of its buffer and read anew from the fence
//! (`_Unpickler_ReadImpl` and `_Unpickler_Readline` in `Modules/_pickle.c`); with a fence, so does this one.

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
    /// Whether a line end follows; only the last line of a source may lack it.
    pub(super) whole: bool,
}

/// See the module.
pub(super) struct Input<'s> {
    source: &'s mut dyn Source,
    buffer: Vec<u8>,
    at: usize,
    /// How much of the buffer may be read before a closer look is needed: all of it, or up to the fence.
    near: usize,
    /// Offset of the buffer's first byte.
    base: u64,
    /// End of the frame in the C unpickler's buffer; [`u64::MAX`] where there is none.
    fence: u64,
    /// Length of the source.
    end: u64,
    /// Whether the source itself failed.
    pub(super) failed: bool,
}

impl<'s> Input<'s> {
    pub(super) fn new(source: &'s mut dyn Source, start: u64) -> Self {
        let (end, failed) = source.seek(SeekFrom::End(0)).map_or((0, true), |end| (end, false));
        Self { source, buffer: Vec::new(), at: 0, near: 0, base: start, fence: u64::MAX, end, failed }
    }

    /// Sets the fence, or takes it away with [`u64::MAX`].
    pub(super) fn set_fence(&mut self, fence: u64) {
        self.fence = fence;
        self.find_near();
    }

    pub(super) fn fence(&self) -> u64 {
        self.fence
    }

    /// Continues at `offset`, anywhere in the source.
    pub(super) fn go_to(&mut self, offset: u64) {
        let inside = offset.checked_sub(self.base).and_then(|inside| usize::try_from(inside).ok());
        if let Some(inside) = inside.filter(|inside| *inside <= self.buffer.len()) {
            self.at = inside;
        } else {
            self.base = offset;
            self.buffer.clear();
            self.at = 0;
        }
        self.find_near();
    }

    pub(super) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    pub(super) fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.offset())
    }

    /// The bytes that can be read without a closer look and lie before `end`, and the offset of the first one.
    #[inline]
    pub(super) fn at_hand(&self, end: u64) -> (&[u8], u64) {
        let end = usize::try_from(end.saturating_sub(self.base)).unwrap_or(usize::MAX).min(self.near);
        (self.buffer.get(self.at..end).unwrap_or_default(), self.offset())
    }

    /// Goes on by `count` of the bytes at hand.
    #[inline]
    pub(super) fn advance(&mut self, count: usize) {
        self.at += count;
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Option<u8> {
        if self.at >= self.near && !self.reach(1) {
            return None;
        }
        let byte = self.buffer.get(self.at).copied();
        self.at += 1;
        byte
    }

    /// Reads the next byte if it is at hand and is `wanted`.
    #[inline]
    pub(super) fn next_is(&mut self, wanted: u8) -> bool {
        let is = self.at < self.near && self.buffer.get(self.at) == Some(&wanted);
        self.at += usize::from(is);
        is
    }

    /// The next `count` bytes, at most [`TAKE_BYTES_MAX`].
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Option<&[u8]> {
        if self.near.saturating_sub(self.at) < count && (count > TAKE_BYTES_MAX || !self.reach(count)) {
            return None;
        }
        let start = self.at;
        self.at += count;
        self.buffer.get(start..self.at)
    }

    /// The next `count` bytes, which stay unread, whatever the fence; fewer than that is `None`.
    #[inline]
    pub(super) fn peek(&mut self, count: usize) -> Option<&[u8]> {
        if self.buffer.len() - self.at < count && (count > TAKE_BYTES_MAX || !self.fill(count)) {
            return None;
        }
        self.buffer.get(self.at..self.at + count)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N).and_then(|bytes| bytes.first_chunk().copied())
    }

    /// Steps over `count` bytes; `false` where the source ends before.
    #[inline]
    pub(super) fn skip(&mut self, count: u64) -> bool {
        if count <= self.near.saturating_sub(self.at) as u64 {
            self.at += usize::try_from(count).unwrap_or(0);
            return true;
        }
        self.step_behind_fence(count);
        self.skip_joined(count)
    }

    /// Like [`Self::skip`], but what the fence cuts is joined: the C unpickler reads byte strings so.
    pub(super) fn skip_joined(&mut self, count: u64) -> bool {
        if count > self.remaining() {
            return false;
        }
        let target = self.offset() + count;
        self.go_to(target);
        true
    }

    /// Steps over a line and its line end; `None` at the end of the source.
    pub(super) fn line(&mut self) -> Option<Line> {
        self.step_behind_fence(0);
        let start = self.offset();
        let mut from = self.at;
        loop {
            let near = self.buffer.get(from..self.near).unwrap_or_default();
            if let Some(length) = memchr::memchr(b'\n', near) {
                self.at = from + length + 1;
                return Some(Line { start, length: self.offset() - start - 1, whole: true });
            }
            let ahead = self.base + self.near as u64;
            if ahead == self.fence && start < self.fence {
                self.go_to(self.fence);
                self.set_fence(u64::MAX);
                return self.line();
            }
            self.at = self.near;
            if !self.fill(1) {
                return (ahead > start).then_some(Line { start, length: ahead - start, whole: false });
            }
            from = self.at;
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

    /// Makes `count` bytes available, behind the fence if they are not before it; `false` where the source ends before.
    #[cold]
    fn reach(&mut self, count: usize) -> bool {
        self.step_behind_fence(count as u64);
        self.buffer.len() - self.at >= count || self.fill(count)
    }

    fn step_behind_fence(&mut self, count: u64) {
        let offset = self.offset();
        if offset >= self.fence {
            self.set_fence(u64::MAX);
        } else if offset.saturating_add(count) > self.fence {
            self.go_to(self.fence);
            self.set_fence(u64::MAX);
        }
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
        if from < self.end {
            let read = self
                .source
                .seek(SeekFrom::Start(from))
                .and_then(|_| self.source.take(wanted as u64).read_to_end(&mut self.buffer));
            self.failed |= read.is_err();
        }
        self.find_near();
        self.buffer.len() >= count
    }

    fn find_near(&mut self) {
        let fence = usize::try_from(self.fence.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.near = self.buffer.len().min(fence);
    }
}
