//! A buffered source that counts what decoders take, can be peeked into and takes back what they read too far.

use std::io::{self, BufRead, Read};

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 64 << 10;
/// Consumed bytes that are kept, so that they can be given back; decoders take at most 40 too many.
const HISTORY_BYTES: usize = 64;

/// See the module.
pub(super) struct Input<'s, R: ?Sized> {
    source: &'s mut R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    taken: u64,
    /// The error of the source, kept apart from what decoders make of it.
    pub(super) failure: Option<io::Error>,
}

impl<'s, R: Read + ?Sized> Input<'s, R> {
    pub(super) fn new(source: &'s mut R) -> Self {
        Self { source, buffer: vec![0; BUFFER_BYTES], start: 0, end: 0, taken: 0, failure: None }
    }

    /// Bytes consumed so far.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// The next bytes, `count` where there are as many.
    pub(super) fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.end - self.start < count && self.refill()? > 0 {}
        Ok(self.ready())
    }

    /// Takes back the last `count` bytes that were consumed.
    pub(super) fn give_back(&mut self, count: usize) {
        let count = count.min(self.start);
        self.start -= count;
        self.taken = self.taken.saturating_sub(count as u64);
    }

    fn ready(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Reads more behind what is ready; 0 at the end of the source.
    fn refill(&mut self) -> io::Result<usize> {
        let keep = self.start.saturating_sub(HISTORY_BYTES);
        self.buffer.copy_within(keep..self.end, 0);
        self.start -= keep;
        self.end -= keep;
        let free = self.buffer.get_mut(self.end..).unwrap_or_default();
        loop {
            match self.source.read(free) {
                Ok(read) => {
                    self.end += read;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let copy = io::Error::new(error.kind(), error.to_string());
                    self.failure = Some(error);
                    return Err(copy);
                }
            }
        }
    }
}

impl<R: Read + ?Sized> BufRead for Input<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.refill()?;
        }
        Ok(self.ready())
    }

    fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.taken += count as u64;
    }
}

impl<R: Read + ?Sized> Read for Input<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}
