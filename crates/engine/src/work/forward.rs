//! Forward passes by ONNX Runtime, where the user points at it: a child of its own, beside the one that attacks.
//!
//! The library is the user's choice and is loaded before the child gives its rights up; the model is a stranger's and is read
//! afterwards, by our bounded reader first. Whatever a model makes of the library, there is no file, network, key or report within its
//! reach: it answers rows of numbers through a socket, which the attacking child compares with its own
//! (see [`ringfence_attack::Accelerated`]).
//!
//! A question is a tensor: its rank (4 bytes, little endian), its dimensions (8 bytes each) and its numbers (f32). A reply is a
//! kind (1 byte) and a tensor, or a length (4 bytes) and words.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use ringfence_attack::{Accelerated, Examples};
use ringfence_nn::{Compiled, Library, Model, Tensor};
use ringfence_sandbox::worker;
use ringfence_schema::finding::printable;

use super::{Files, widest};
use crate::error::ExitClass;

/// The child's whole life; `library` is what it loads. Its descriptors are the model's and the socket; it answers how the library
/// was built.
pub fn main(library: &Path) -> ExitClass {
    // It runs code that the user chose, and nothing of anybody else's: afterwards no file could be opened.
    let library = Library::load(library);
    if worker::confine_library(&widest()).is_err() {
        return ExitClass::Incomplete;
    }
    let served = worker::serve(|_, descriptors, _| {
        let mut files = Files::new(descriptors.into_iter().map(File::from).collect());
        let model = files.model()?;
        let socket = files.next()?;
        let library = library.map_err(|error| error.to_string())?;
        let build = library.build();
        let compiled = library.open(&model).map_err(|error| error.to_string())?;
        answer(socket, compiled).map_err(|error| error.to_string())?;
        Ok(printable(build, WORDS_CHARS_MAX).into_bytes())
    });
    if served.is_ok() { ExitClass::Done } else { ExitClass::Incomplete }
}

/// Answers until the other side has gone.
fn answer(mut socket: impl Read + Write, mut compiled: Compiled) -> io::Result<()> {
    while let Some(x) = read_tensor(&mut socket)? {
        match compiled.forward(&x) {
            Ok(scores) => {
                socket.write_all(&[ANSWER])?;
                write_tensor(&mut socket, &scores)?;
            }
            Err(error) => {
                let words = printable(&error.to_string(), WORDS_CHARS_MAX);
                let length = u32::try_from(words.len()).map_err(io::Error::other)?;
                socket.write_all(&[FAILED])?;
                socket.write_all(&length.to_le_bytes())?;
                socket.write_all(words.as_bytes())?;
            }
        }
    }
    Ok(())
}

/// The model with the library behind `socket` for its scores.
pub(super) fn accelerated(model: Model, examples: &Examples, socket: File) -> Result<Accelerated<'static>, String> {
    let socket = Mutex::new(socket);
    let scores = move |x: &Tensor<f32>| {
        let mut socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
        ask(&mut *socket, x).unwrap_or_else(|error| Err(format!("the child that runs ONNX Runtime ended ({error})")))
    };
    Accelerated::new(model, examples, scores).map_err(|error| error.to_string())
}

fn ask(socket: &mut (impl Read + Write), x: &Tensor<f32>) -> io::Result<Result<Tensor<f32>, String>> {
    write_tensor(socket, x)?;
    let mut kind = [0];
    socket.read_exact(&mut kind)?;
    if kind == [ANSWER] {
        return Ok(Ok(read_tensor(socket)?.ok_or(io::ErrorKind::UnexpectedEof)?));
    }
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    let mut words = vec![0; length.min(4 * WORDS_CHARS_MAX)];
    socket.read_exact(&mut words)?;
    Ok(Err(printable(&String::from_utf8_lossy(&words), WORDS_CHARS_MAX)))
}

fn write_tensor(to: &mut impl Write, tensor: &Tensor<f32>) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(4 + tensor.shape.len() * 8 + tensor.data.len() * 4);
    bytes.extend(u32::try_from(tensor.shape.len()).map_err(io::Error::other)?.to_le_bytes());
    bytes.extend(tensor.shape.iter().flat_map(|dim| (*dim as u64).to_le_bytes()));
    bytes.extend(tensor.data.iter().flat_map(|value| value.to_le_bytes()));
    to.write_all(&bytes)
}

/// `None` where the other side has gone.
fn read_tensor(from: &mut impl Read) -> io::Result<Option<Tensor<f32>>> {
    let mut rank = [0; 4];
    match from.read_exact(&mut rank) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let too_large = || io::Error::from(io::ErrorKind::InvalidData);
    let rank = usize::try_from(u32::from_le_bytes(rank)).ok().filter(|rank| *rank <= RANK_MAX).ok_or_else(too_large)?;
    let mut shape = Vec::with_capacity(rank);
    for _ in 0..rank {
        let mut dim = [0; 8];
        from.read_exact(&mut dim)?;
        shape.push(usize::try_from(u64::from_le_bytes(dim)).map_err(io::Error::other)?);
    }
    let count = shape.iter().try_fold(1_usize, |count, dim| count.checked_mul(*dim));
    let count = count.filter(|count| *count <= VALUES_MAX).ok_or_else(too_large)?;
    let mut bytes = vec![0; count * 4];
    from.read_exact(&mut bytes)?;
    let values = bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
    Ok(Some(Tensor { shape, data: values }))
}

const ANSWER: u8 = 0;
const FAILED: u8 = 1;
/// Dimensions of a tensor that travels, and its numbers: more than any batch that is asked about.
const RANK_MAX: usize = 16;
const VALUES_MAX: usize = 1 << 29;
/// Longest sentence about a failure or a build, in characters.
pub(super) const WORDS_CHARS_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn tensors_travel() {
        let tensor = Tensor { shape: vec![2, 3], data: vec![0.5, -1.0, f32::MAX, 0.0, f32::MIN_POSITIVE, 7.25] };
        let mut bytes = Vec::new();
        write_tensor(&mut bytes, &tensor).unwrap();
        let mut reader = Cursor::new(&bytes);
        assert_eq!(read_tensor(&mut reader).unwrap(), Some(tensor));
        assert_eq!(read_tensor(&mut reader).unwrap(), None);
        assert!(read_tensor(&mut Cursor::new(&bytes[..bytes.len() - 1])).is_err());
    }

    #[test]
    fn what_is_too_large_is_not_made_room_for() {
        let claim = |dims: &[u64]| {
            let mut bytes = u32::try_from(dims.len()).unwrap().to_le_bytes().to_vec();
            bytes.extend(dims.iter().flat_map(|dim| dim.to_le_bytes()));
            read_tensor(&mut Cursor::new(bytes)).unwrap_err().kind()
        };
        assert_eq!(claim(&[1 << 20, 1 << 20]), io::ErrorKind::InvalidData);
        assert_eq!(claim(&[u64::MAX, 2]), io::ErrorKind::InvalidData);
        assert_eq!(claim(&[1; 17]), io::ErrorKind::InvalidData);
    }
}
