//! A file that lies elsewhere, looked at by a keyless child: it asks for pieces over a socket, the parent fetches them.
//!
//! A request is an offset (8 bytes, little endian) and a length (4 bytes); an answer is a length and so many bytes, or
//! [`FAILED`] alone. Neither side trusts the other: the parent bounds what it fetches, the child gets bytes and no words.

use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::net::UnixStream,
};

/// Most bytes of one answer.
const PIECE_BYTES_MAX: u32 = 64 << 10;
/// Stands for an answer's length where there is none.
const FAILED: u32 = u32::MAX;

/// Answers `socket` from `file` until the other side closes it. What went wrong with the file comes back then: the child
/// only hears that there is no answer.
pub(crate) fn serve(mut socket: &UnixStream, file: &mut (impl Read + Seek)) -> io::Result<()> {
    let mut piece = Vec::new();
    let mut first_failure = None;
    loop {
        let mut request = [0; 12];
        match socket.read_exact(&mut request) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return first_failure.map_or(Ok(()), Err),
            other => other?,
        }
        let [offset @ .., a, b, c, d] = request;
        let (offset, length) = (u64::from_le_bytes(offset), u32::from_le_bytes([a, b, c, d]));
        piece.clear();
        let found = file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| file.by_ref().take(u64::from(length.min(PIECE_BYTES_MAX))).read_to_end(&mut piece));
        match found {
            Ok(_) => {
                socket.write_all(&u32::try_from(piece.len()).unwrap_or(0).to_le_bytes())?;
                socket.write_all(&piece)?;
            }
            Err(error) => {
                first_failure.get_or_insert(error);
                socket.write_all(&FAILED.to_le_bytes())?;
            }
        }
    }
}

/// The child's side: reads anywhere, a piece at a time.
pub(crate) struct Elsewhere<S> {
    socket: S,
    size: u64,
    position: u64,
    piece: Vec<u8>,
    start: u64,
}

impl<S: Read + Write> Elsewhere<S> {
    /// A file of `size` bytes behind `socket`.
    pub(crate) fn new(socket: S, size: u64) -> Self {
        Self { socket, size, position: 0, piece: Vec::new(), start: 0 }
    }

    /// What is already here of the file from the position on.
    fn here(&self) -> &[u8] {
        let skip = self.position.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| self.piece.get(skip..)).unwrap_or_default()
    }

    fn ask(&mut self) -> io::Result<()> {
        let length = u32::try_from(self.size - self.position).unwrap_or(u32::MAX).min(PIECE_BYTES_MAX);
        self.socket.write_all(&self.position.to_le_bytes())?;
        self.socket.write_all(&length.to_le_bytes())?;
        let mut answer = [0; 4];
        self.socket.read_exact(&mut answer)?;
        let count = u32::from_le_bytes(answer);
        if count == FAILED || count > length {
            return Err(io::Error::other("the source gave no answer for this part"));
        }
        self.piece.resize(count as usize, 0);
        self.socket.read_exact(&mut self.piece)?;
        self.start = self.position;
        Ok(())
    }
}

impl<S: Read + Write> Read for Elsewhere<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        if self.here().is_empty() {
            self.ask()?;
        }
        let mut here = self.here();
        let count = here.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl<S> Seek for Elsewhere<S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(change) => self.size.checked_add_signed(change),
            SeekFrom::Current(change) => self.position.checked_add_signed(change),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Cursor, thread};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_are_the_file(content in prop::collection::vec(any::<u8>(), 0..200_000), places in prop::collection::vec((any::<u32>(), 0_usize..90_000), 0..12)) {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let served = content.clone();
            let server = thread::spawn(move || serve(&ours, &mut Cursor::new(served)));
            let mut elsewhere = Elsewhere::new(theirs, content.len() as u64);
            for (offset, length) in places {
                let offset = usize::try_from(offset).unwrap() % (content.len() + 10);
                elsewhere.seek(SeekFrom::Start(offset as u64)).unwrap();
                let mut got = Vec::new();
                elsewhere.by_ref().take(length as u64).read_to_end(&mut got).unwrap();
                let from = offset.min(content.len());
                prop_assert_eq!(&got[..], &content[from..(from + length).min(content.len())]);
            }
            drop(elsewhere);
            server.join().unwrap().unwrap();
        }
    }
}
