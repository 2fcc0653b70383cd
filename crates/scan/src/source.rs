//! Where bytes come from: anything seekable, and a part of it.

use std::io::{self, Read, Seek, SeekFrom};

/// A seekable source; what every reader of this crate takes.
pub(crate) trait Source: Read + Seek {}

impl<T: Read + Seek + ?Sized> Source for T {}

/// `length` bytes of a source from `start`, as a source of their own.
pub(crate) struct Window<'a> {
    source: &'a mut dyn Source,
    start: u64,
    length: u64,
    at: u64,
}

impl<'a> Window<'a> {
    /// A window on `source`, cut to what is there.
    pub(crate) fn new(source: &'a mut dyn Source, start: u64, length: u64) -> io::Result<Self> {
        let whole = source.seek(SeekFrom::End(0))?;
        let start = start.min(whole);
        Ok(Self { source, start, length: length.min(whole - start), at: 0 })
    }
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let Some(buffer) = buffer.get_mut(..wanted).filter(|buffer| !buffer.is_empty()) else { return Ok(0) };
        self.source.seek(SeekFrom::Start(self.start + self.at))?;
        let read = self.source.read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(delta) => self.length.checked_add_signed(delta),
            SeekFrom::Current(delta) => self.at.checked_add_signed(delta),
        };
        self.at = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

/// Length of a source in bytes.
pub(crate) fn length(source: &mut dyn Source) -> io::Result<u64> {
    source.seek(SeekFrom::End(0))
}

/// Up to `bytes` bytes from `offset`; fewer at the end.
pub(crate) fn bytes_at(source: &mut dyn Source, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
    source.seek(SeekFrom::Start(offset))?;
    let mut out = Vec::new();
    source.take(bytes).read_to_end(&mut out)?;
    Ok(out)
}

/// Longest row of blanks that an editor, a transfer or padding leaves behind a content, in bytes.
const BLANK_BYTES_MAX: u64 = 4_096;

/// Whether nothing but a few line breaks, spaces or zeros follows from `offset` on.
pub(crate) fn is_blank_from(source: &mut dyn Source, offset: u64) -> io::Result<bool> {
    let rest = bytes_at(source, offset, BLANK_BYTES_MAX + 1)?;
    Ok(rest.len() as u64 <= BLANK_BYTES_MAX && rest.iter().all(|byte| matches!(byte, 0 | b'\n' | b'\r' | b' ')))
}

/// A source as a plain reader, for readers that know nothing of seeking.
pub(crate) struct AsRead<'a>(pub(crate) &'a mut dyn Source);

impl Read for AsRead<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}
