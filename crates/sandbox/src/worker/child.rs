//! The child's side of a call: read one request, emit records, answer.
#![deny(clippy::indexing_slicing)]

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
};

use super::{ERROR_BYTES_MAX, KIND_ANSWER, KIND_ERROR, KIND_RECORD, KIND_REQUEST};
use crate::{frame, sys};

/// Sends records to the parent.
pub struct Emit<'a> {
    output: &'a mut File,
}

impl Emit<'_> {
    /// Sends one record. An error means that the parent is gone or that the record is longer than a frame can say.
    pub fn record(&mut self, record: &[u8]) -> io::Result<()> {
        frame::write(self.output, KIND_RECORD, record)
    }
}

/// Reads the request from standard input, calls `handler` with it and the descriptors in the parent's order, and sends
/// its answer. Call [`super::confine`] first.
///
/// Errors are those of the pipes and of a malformed request; the handler's own error travels to the parent.
pub fn serve(handler: impl FnOnce(&[u8], Vec<OwnedFd>, &mut Emit<'_>) -> Result<Vec<u8>, String>) -> io::Result<()> {
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let request = frame::read(&mut input, REQUEST_BYTES_MAX)?.filter(|frame| frame.kind == KIND_REQUEST);
    let request = request.ok_or(io::ErrorKind::UnexpectedEof)?;
    let (descriptors, body) = adopt_descriptors(&request.payload)?;
    match handler(body, descriptors, &mut Emit { output: &mut output }) {
        Ok(answer) => frame::write(&mut output, KIND_ANSWER, &answer)?,
        Err(message) => {
            let text = message.as_bytes();
            frame::write(&mut output, KIND_ERROR, text.get(..ERROR_BYTES_MAX).unwrap_or(text))?;
        }
    }
    output.flush()
}

fn adopt_descriptors(payload: &[u8]) -> io::Result<(Vec<OwnedFd>, &[u8])> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let (count, mut rest) = payload.split_first_chunk::<4>().ok_or_else(malformed)?;
    let mut descriptors = Vec::new();
    for _ in 0..u32::from_le_bytes(*count) {
        let (number, tail) = rest.split_first_chunk::<4>().ok_or_else(malformed)?;
        descriptors.push(sys::adopt(i32::from_le_bytes(*number))?);
        rest = tail;
    }
    Ok((descriptors, rest))
}

/// Longest request that a child reads, in bytes; the parent's limit is usually lower.
const REQUEST_BYTES_MAX: usize = 64 << 20;
