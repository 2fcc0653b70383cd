//! A file that lies elsewhere, looked at by a keyless child: it asks for pieces over a socket, the parent fetches them.
//!
//! A request is an offset (8 bytes, little endian) and a length (4 bytes); an answer is a length and so many bytes, or
//! [`FAILED`] alone. Neither side trusts the other: the parent bounds what it fetches, the child gets bytes and no words. So a
//! child looks through files of any size without their ever being in memory whole.

use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    thread,
};

/// Most bytes of one answer.
const PIECE_BYTES_MAX: u32 = 1 << 20;
/// Bytes of the first answer, and of each after a leap.
const PIECE_BYTES: u32 = 64 << 10;
/// Stands for an answer's length where there is none.
const FAILED: u32 = u32::MAX;

/// What can be served to a child.
pub(crate) trait Served: Read + Seek + Send {}

impl<T: Read + Seek + Send> Served for T {}

/// Gives `call` descriptors through which a child reads `files`, and serves them until nobody holds those any more.
///
/// # Errors
/// Why a piece could not be had, which matters more than what the child made of it.
pub(crate) fn beside<T>(files: Vec<&mut dyn Served>, call: impl FnOnce(Vec<OwnedFd>) -> T) -> io::Result<T> {
    thread::scope(|scope| {
        let (mut serving, mut theirs) = (Vec::new(), Vec::new());
        for file in files {
            let (ours, other) = UnixStream::pair()?;
            theirs.push(other.into());
            serving.push(scope.spawn(move || serve(&ours, file)));
        }
        let answer = call(theirs);
        for one in serving {
            one.join().unwrap_or_else(|_| Err(io::Error::other("a thread ended in the middle")))?;
        }
        Ok(answer)
    })
}

/// Answers `socket` from `file` until the other side closes it. What went wrong with the file comes back then: the child
/// only hears that there is no answer.
pub(crate) fn serve(socket: &UnixStream, file: &mut (impl Read + Seek + ?Sized)) -> io::Result<()> {
    let mut first_failure = None;
    let over = answer_all(socket, file, &mut first_failure);
    first_failure.map_or(Ok(()), Err)?;
    match over {
        // A child may end with an answer on its way.
        Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => Ok(()),
        over => over,
    }
}

fn answer_all(
    mut socket: &UnixStream,
    file: &mut (impl Read + Seek + ?Sized),
    first_failure: &mut Option<io::Error>,
) -> io::Result<()> {
    let mut piece = Vec::new();
    loop {
        let mut request = [0; 12];
        match socket.read_exact(&mut request) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        let [offset @ .., a, b, c, d] = request;
        let (offset, length) = (u64::from_le_bytes(offset), u32::from_le_bytes([a, b, c, d]));
        piece.clear();
        let found = file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| (&mut *file).take(u64::from(length.min(PIECE_BYTES_MAX))).read_to_end(&mut piece));
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
    /// Most bytes of one piece; more than the usual where what is read is near.
    most: u32,
    /// A piece that was asked for and has not been taken yet: its offset and length.
    coming: Option<(u64, u32)>,
}

impl<S: Read + Write> Elsewhere<S> {
    /// A file of `size` bytes behind `socket`, each byte of which costs something.
    pub(crate) fn new(socket: S, size: u64) -> Self {
        Self { socket, size, position: 0, piece: Vec::new(), start: 0, most: PIECE_BYTES, coming: None }
    }

    /// A file on this machine: whoever reads on gets larger pieces, each asked for while the one before is looked at.
    pub(crate) fn near(socket: S, size: u64) -> Self {
        Self { most: PIECE_BYTES_MAX, ..Self::new(socket, size) }
    }

    /// What is already here of the file from the position on.
    fn here(&self) -> &[u8] {
        let skip = self.position.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| self.piece.get(skip..)).unwrap_or_default()
    }

    fn end(&self) -> u64 {
        self.start + self.piece.len() as u64
    }

    /// Gets what is at the position.
    fn fetch(&mut self) -> io::Result<()> {
        let reads_on = self.position == self.end() && !self.piece.is_empty();
        let usual = if reads_on { u32::try_from(self.piece.len()).unwrap_or(PIECE_BYTES_MAX) } else { 0 };
        let length = usual.saturating_mul(2).clamp(PIECE_BYTES, self.most);
        self.receive()?;
        if self.here().is_empty() {
            self.ask(self.position, length)?;
            self.receive()?;
        }
        if reads_on && self.most > PIECE_BYTES && self.end() < self.size {
            self.ask(self.end(), length)?;
        }
        Ok(())
    }

    fn ask(&mut self, offset: u64, most: u32) -> io::Result<()> {
        let length = u32::try_from(self.size - offset).unwrap_or(u32::MAX).min(most);
        let mut request = [0; 12];
        request[..8].copy_from_slice(&offset.to_le_bytes());
        request[8..].copy_from_slice(&length.to_le_bytes());
        self.socket.write_all(&request)?;
        self.coming = Some((offset, length));
        Ok(())
    }

    /// Takes the piece that is coming, if one is.
    fn receive(&mut self) -> io::Result<()> {
        let Some((offset, length)) = self.coming.take() else { return Ok(()) };
        let mut answer = [0; 4];
        self.socket.read_exact(&mut answer)?;
        let count = u32::from_le_bytes(answer);
        if count == FAILED || count > length {
            return Err(io::Error::other("the source gave no answer for this part"));
        }
        self.piece.resize(count as usize, 0);
        self.socket.read_exact(&mut self.piece)?;
        self.start = offset;
        Ok(())
    }
}

impl<S: Read + Write> Read for Elsewhere<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        if self.here().is_empty() {
            self.fetch()?;
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
        fn pieces_are_the_file(content in prop::collection::vec(any::<u8>(), 0..400_000), places in prop::collection::vec((any::<u32>(), 0_usize..150_000), 0..12), near: bool) {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let served = content.clone();
            let server = thread::spawn(move || serve(&ours, &mut Cursor::new(served)));
            let size = content.len() as u64;
            let mut elsewhere = if near { Elsewhere::near(theirs, size) } else { Elsewhere::new(theirs, size) };
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

    /// Fails from some byte on.
    struct Torn(Cursor<Vec<u8>>, u64);

    impl Read for Torn {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.position() + buffer.len() as u64 > self.1 {
                return Err(io::Error::other("torn"));
            }
            self.0.read(buffer)
        }
    }

    impl Seek for Torn {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    #[test]
    fn a_file_that_fails_is_why_whatever_the_child_made_of_it() {
        let mut torn = Torn(Cursor::new(vec![7; 4 << 20]), 2 << 20);
        let read = beside(vec![&mut torn], |mut theirs| {
            let socket = UnixStream::from(theirs.remove(0));
            io::copy(&mut Elsewhere::near(socket, 4 << 20), &mut io::sink()).unwrap_err().to_string()
        });
        assert_eq!(read.unwrap_err().to_string(), "torn");
        // One that is left in the middle, with an answer on its way, is no failure.
        let read = beside(vec![&mut Cursor::new(vec![7; 4 << 20])], |mut theirs| {
            let mut elsewhere = Elsewhere::near(UnixStream::from(theirs.remove(0)), 4 << 20);
            elsewhere.read_exact(&mut vec![0; 1 << 20]).unwrap();
        });
        read.unwrap();
    }
}
