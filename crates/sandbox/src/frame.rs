//! Frames on a pipe: one byte of kind, four bytes of length (little endian), the payload.
//!
//! Both sides of every pipe of this crate use them. Reading is bounded: a length above the caller's limit is an error
//! before anything is allocated, and a payload is read in pieces, so a lying length costs no memory.
#![deny(clippy::indexing_slicing)]

use std::io::{self, Read, Write};

/// Largest piece of a file or record in one frame, in bytes.
pub(crate) const PIECE_BYTES: usize = 256 << 10;
/// Bytes before the payload.
pub(crate) const HEADER_BYTES: usize = 5;

/// One frame.
pub(crate) struct Frame {
    /// What the payload is; each protocol has its own list.
    pub(crate) kind: u8,
    /// The bytes.
    pub(crate) payload: Vec<u8>,
}

/// Writes one frame.
pub(crate) fn write(out: &mut impl Write, kind: u8, payload: &[u8]) -> io::Result<()> {
    out.write_all(&header(kind, payload.len())?)?;
    out.write_all(payload)
}

/// The bytes before a payload of `length` bytes.
pub(crate) fn header(kind: u8, length: usize) -> io::Result<[u8; HEADER_BYTES]> {
    let length = u32::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let [a, b, c, d] = length.to_le_bytes();
    Ok([kind, a, b, c, d])
}

/// Reads one frame of at most `payload_max` bytes; `None` at a clean end.
pub(crate) fn read(input: &mut impl Read, payload_max: usize) -> io::Result<Option<Frame>> {
    let mut head = [0; HEADER_BYTES];
    let mut filled = 0;
    while let Some(rest) = head.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let [kind, length @ ..] = head;
    let length = bounded(length, payload_max)?;
    let mut payload = Vec::new();
    if input.take(length as u64).read_to_end(&mut payload)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(Frame { kind, payload }))
}

fn bounded(length: [u8; 4], payload_max: usize) -> io::Result<usize> {
    let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
    if length > payload_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("frame of {length} bytes, limit is {payload_max}"),
        ));
    }
    Ok(length)
}

/// Collects frames from bytes that arrive in pieces.
#[derive(Default)]
pub(crate) struct Assembler {
    bytes: Vec<u8>,
}

impl Assembler {
    /// Adds what was read.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one; `limit` says how long a frame of a kind may be (`None`: unknown kind).
    pub(crate) fn next(&mut self, limit: impl Fn(u8) -> Option<usize>) -> io::Result<Option<Frame>> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let [kind, length @ ..] = *head;
        let Some(payload_max) = limit(kind) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("unknown frame kind {kind}")));
        };
        let length = bounded(length, payload_max)?;
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let frame = Frame { kind, payload: payload.to_vec() };
        self.bytes.drain(..HEADER_BYTES + length);
        Ok(Some(frame))
    }

    /// Whether a frame has begun but not ended.
    pub(crate) fn is_partial(&self) -> bool {
        !self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut pipe = Vec::new();
        write(&mut pipe, 7, b"hello").unwrap();
        write(&mut pipe, 8, b"").unwrap();
        let mut input = pipe.as_slice();
        let first = read(&mut input, 5).unwrap().unwrap();
        assert_eq!((first.kind, first.payload.as_slice()), (7, b"hello".as_slice()));
        assert_eq!(read(&mut input, 0).unwrap().unwrap().kind, 8);
        assert!(read(&mut input, 0).unwrap().is_none());
    }

    #[test]
    fn a_long_or_cut_frame_is_refused() {
        let mut pipe = Vec::new();
        write(&mut pipe, 1, &[0; 10]).unwrap();
        assert!(read(&mut pipe.as_slice(), 9).is_err());
        pipe.pop();
        assert!(read(&mut pipe.as_slice(), 10).is_err());
        let mut assembler = Assembler::default();
        assembler.push(&[1, 255, 255, 255, 255]);
        assert!(assembler.next(|_| Some(100)).is_err());
    }

    #[test]
    fn an_assembler_waits_for_the_rest() {
        let mut pipe = Vec::new();
        write(&mut pipe, 3, b"abc").unwrap();
        let mut assembler = Assembler::default();
        for byte in &pipe[..pipe.len() - 1] {
            assembler.push(&[*byte]);
            assert!(assembler.next(|_| Some(3)).unwrap().is_none());
        }
        assembler.push(b"c");
        assert_eq!(assembler.next(|_| Some(3)).unwrap().unwrap().payload, b"abc");
        assert!(!assembler.is_partial());
    }
}
